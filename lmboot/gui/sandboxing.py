"""The choice of a sandbox, at work: what is usable is told by the worker, the wish is kept."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lmboot.gui import bordermessages as b

if TYPE_CHECKING:
    from lmboot.gui.window import Window


class Sandboxing:
    """Shows the switch once it is known what is usable here."""

    def __init__(self, window: Window) -> None:
        self._window = window
        self._known: b.Sandboxes | None = None

    def begin(self) -> None:
        """Take the message that tells it."""
        self._window.take({b.Sandboxes: self._told})

    def _told(self, message: b.Sandboxes) -> None:
        self._known = message
        self.show()

    def show(self) -> None:
        """Show it below the steps ahead."""
        if self._known is None:
            return
        welcome, wanted = self._window.frame.session.welcome, self._window.memory.container
        part = welcome.sandbox(wanted)
        part.on_container = self.use_container
        part.show(*self._known)

    def use_container(self, wanted: bool) -> None:
        """Have the next program run in a container, or not; that is kept for the next time."""
        window = self._window
        window.memory = window.memory._replace(container=wanted)
        window.post(lambda stage: stage.use_container(wanted))
        self.show()
