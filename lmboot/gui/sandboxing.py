"""The choice of a sandbox, at work: what is usable is told by the worker, the wish is kept."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lmboot.gui import bordermessages as b

if TYPE_CHECKING:
    from lmboot.gui.sandboxpart import SandboxPart
    from lmboot.gui.window import Window


class Sandboxing:
    """Shows the switch once it is known what is usable here."""

    def __init__(self, window: Window) -> None:
        self._window = window
        self._known: b.Sandboxes | None = None

    def begin(self) -> None:
        """Take the messages that tell it."""
        self._window.take({b.Sandboxes: self._told, b.Preparing: self._preparing})

    def _told(self, message: b.Sandboxes) -> None:
        self._known = message
        self.show()

    def _preparing(self, message: b.Preparing) -> None:
        self._known = None
        self._part().wait(message.words)

    def _part(self) -> SandboxPart:
        part = self._window.frame.session.welcome.sandbox(self._window.memory.container)
        part.on_container = self.use_container
        return part

    def show(self) -> None:
        """Show it below the steps ahead."""
        if self._known is not None:
            self._part().show(*self._known)

    def use_container(self, wanted: bool) -> None:
        """Have the next program run in a container, or not; that is kept for the next time."""
        window = self._window
        window.memory = window.memory._replace(container=wanted)
        window.post(lambda stage: stage.use_container(wanted))
        self.show()
