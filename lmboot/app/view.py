"""What a front end must be able to do, and what it is shown."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol

from lmboot.connections.interface import Model
from lmboot.errors import LmbootError

if TYPE_CHECKING:
    from lmboot.bootstrap.handshake import Step
    from lmboot.bootstrap.review import Review
    from lmboot.runtime.asking import Answer, Question

Pane = Literal["you", "ai", "rt", "rt!", "sys"]
# JSON may hold these as they are, but many readers take them for the end of a line.
_LINE_ENDS = {ord(end): f"\\u{ord(end):04x}" for end in "\x85\u2028\u2029"}


@dataclass(frozen=True, slots=True)
class Shown:
    """One thing that appears in a pane: a line, a half line, a piece of an answer, an event."""

    pane: Pane
    text: str
    event: str | None = None
    partial: bool = False
    details: Mapping[str, Any] = field(default_factory=dict)

    def as_json(self) -> str:
        """Return the line that `--json` prints, without its newline."""
        members: dict[str, Any] = {"pane": self.pane, "text": self.text}
        if self.partial:
            members["partial"] = True
        if self.event:
            members["event"] = self.event
        line = json.dumps({**members, **self.details}, ensure_ascii=False)
        return line if line.isascii() else line.translate(_LINE_ENDS)


class Declined(Exception):
    """The user does not want to go on; nothing was written or run."""


class Says(Protocol):
    """Where it is told what goes on."""

    def status(self, text: str) -> None:
        """Say what is going on now; what is said next takes its place."""
        ...

    def note(self, text: str) -> None:
        """Say something that the user should know, beside the panes."""
        ...


class View(Says, Protocol):
    """A front end. Showing waits until there is room, so a slow one slows the runtime."""

    async def show(self, shown: Shown) -> None:
        """Put something into a pane."""
        ...

    async def step(self, step: Step) -> None:
        """Show how the asking goes on."""
        ...

    async def answered(self) -> None:
        """Take note that the model's answer is whole."""
        ...

    def complain(self, error: LmbootError) -> None:
        """Tell a failure in full: what happened, what it means, what to do."""
        ...

    async def consent(self, review: Review) -> bool:
        """Show a payload and ask whether it may be written and run."""
        ...

    async def consent_without_border(self, review: Review) -> bool:
        """Ask for the typed consent that running without a sandbox needs."""
        ...

    async def ask(self, question: Question) -> Answer:
        """Ask whether a runtime may have what it wants; cancelled when nobody waits any more."""
        ...


class Chooser(View, Protocol):
    """A front end that lets the user choose a model before the session is there."""

    async def pick(self, models: Sequence[Model]) -> Model:
        """Let the user choose a model; raise Declined when none is wanted."""
        ...

    async def token(self, server: str) -> str | None:
        """Ask for the token that a server wants; None when the user has none."""
        ...

    async def wanted(self, model: Model) -> None:
        """Wait until the user wants the model that was picked to be bootstrapped."""
        ...
