"""What a front end that stays open is told between its sessions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from lmboot.app.models import Found
from lmboot.app.view import Says, View
from lmboot.connections.interface import Model
from lmboot.errors import LmbootError

if TYPE_CHECKING:
    from lmboot.bootstrap.library import Kept


class Lobby(Says, Protocol):
    """What is told between sessions."""

    def looking(self) -> None:
        """Tell that servers are being looked for."""
        ...

    def listed(self, found: Found) -> None:
        """Show the models there are; the seed model and opened files are among them."""
        ...

    def unreachable(self, server: str | None, error: LmbootError, seconds: float) -> None:
        """Tell that no server answers, and in how many seconds the next try is."""
        ...

    def locked(self, server: str, error: LmbootError) -> None:
        """Tell that a server wants a token, and what it said."""
        ...

    def added(self, model: Model) -> None:
        """Show the row of a file that was opened."""
        ...

    def opened(self, model: Model) -> None:
        """Tell that a model is ready to be asked."""
        ...

    def kept(self, model: Model, payloads: list[Kept]) -> None:
        """Show the payloads that a model wrote before, the newest first."""
        ...

    def complain(self, error: LmbootError) -> None:
        """Tell a failure that has no session to be shown in."""
        ...

    def over(self, view: View, failure: LmbootError | None) -> None:
        """Tell that a view's session is over; nothing of it runs any more."""
        ...
