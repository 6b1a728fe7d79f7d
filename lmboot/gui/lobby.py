"""What the window is told between sessions: which models there are, and what became of a session.

Like a session's view it lives in the worker's thread, and touches no widget. It stands before the
first session does, so it imports nothing that only a session needs.
"""

from __future__ import annotations

from time import localtime, strftime
from typing import TYPE_CHECKING

from lmboot.app.view import View
from lmboot.connections.dialects import DIALECTS
from lmboot.connections.interface import Model
from lmboot.errors import LmbootError, PayloadRejected
from lmboot.gui import messages as m
from lmboot.gui.modelrows import UNKNOWN, model_row
from lmboot.gui.outbox import Outbox
from lmboot.text import brief

if TYPE_CHECKING:
    from lmboot.app.models import Found
    from lmboot.bootstrap.library import Kept


class WindowLobby:
    """What is told between sessions: it belongs to none of them, and always arrives."""

    def __init__(self, outbox: Outbox[m.Message]) -> None:
        """Tell it to the window that drains `outbox`."""
        self._tell = outbox.tell

    def looking(self) -> None:
        """Tell that servers are being looked for."""
        self._tell(m.Looking())

    def listed(self, found: Found) -> None:
        """Tell which models there are."""
        rows = [model_row(model) for model in found.models]
        kinds = {model.server: DIALECTS[model.kind].label for model in found.models}
        servers = [(base, kinds.get(base, "")) for base in found.tokens]
        count = sum(map(_served, found.models))
        complaints = [error.in_full for error in found.complaints]
        self._tell(m.Listed(rows, count, servers, complaints))

    def unreachable(self, server: str | None, error: LmbootError, seconds: float) -> None:
        """Tell that no server answers."""
        self._tell(m.Unreachable(server or "", error.in_full, seconds))

    def locked(self, server: str, error: LmbootError) -> None:
        """Tell that a server wants a token."""
        self._tell(m.Locked(server, str(error)))

    def added(self, model: Model) -> None:
        """Tell of a file that was opened."""
        self._tell(m.Added(model_row(model)))

    def opened(self, model: Model) -> None:
        """Tell that a model is ready."""
        self._tell(m.Opened(model_row(model)))

    def kept(self, model: Model, payloads: list[Kept]) -> None:
        """Tell what a model wrote before."""
        rows = [
            (brief(each.payload.name, 60), _facts(each), each.payload.sha256) for each in payloads
        ]
        self._tell(m.KeptPayloads(model_row(model).id, rows))

    def status(self, text: str) -> None:
        """Say what is going on now."""
        self._tell(m.Said("status", text, passing=True))

    def note(self, text: str) -> None:
        """Put it into the log."""
        self._tell(m.Said("note", text))

    def complain(self, error: LmbootError) -> None:
        """Tell a failure."""
        self._tell(m.Complained(error.in_full))

    def over(self, view: View, failure: LmbootError | None) -> None:
        """Tell that a session is over, to whom still shows it."""
        rejected = isinstance(failure, PayloadRejected)
        text = failure.in_full if failure else ""
        self._tell(m.Over(text, rejected), generation=getattr(view, "generation", None))


def _served(model: Model) -> bool:
    return model.kind not in ("seed", "file")


def _facts(kept: Kept) -> str:
    try:
        day = strftime("%Y-%m-%d %H:%M", localtime(kept.time))
    except (OverflowError, ValueError, OSError):  # a number that no calendar has
        day = UNKNOWN
    count = len(kept.payload.files)
    words = [day, f"{count} file{'s' * (count != 1)}", kept.payload.sha256[:12]]
    return " · ".join([*words, "agreed to" if kept.agreed else "not agreed to yet"])
