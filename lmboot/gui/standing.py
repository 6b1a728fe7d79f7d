"""How a state stands at the window's edges: in the line below the pages, and in the title."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lmboot.gui.pages import TALKING
from lmboot.gui.state import State, status
from lmboot.text import brief

if TYPE_CHECKING:
    from lmboot.gui.window import Window

COLOURS = {
    State.LOOKING: "faint",
    State.NO_SERVER: "bad",
    State.NO_MODEL: "warn",
    State.IDLE: "ok",
    State.LOADING: "accent",
    State.STREAMING: "violet",
    State.STALLED: "warn",
    State.INVALID: "bad",
    State.REVIEW: "warn",
    State.REPLACING: "warn",
    State.WRITING: "accent",
    State.RUNNING: "ok",
    State.STOPPING: "warn",
    State.ENDED: "faint",
    State.CRASHED: "bad",
    State.CLOSING: "faint",
}
HOLLOW = {State.LOOKING, State.NO_SERVER, State.ENDED, State.CLOSING}


class Standing:
    """Says what is going on, in words and by a colour."""

    def __init__(self, window: Window) -> None:
        self._window = window

    def show(self) -> None:
        """Show it as it is now; called a few times a second."""
        state = self._window.state
        word, figures = self._words()
        word, hollow = word[0].upper() + word[1:], state in HOLLOW
        self._window.frame.status.show(COLOURS[state], word, figures, hollow=hollow)

    def _words(self) -> tuple[str, str]:
        """Return the word of the state, and what is to be said beside it."""
        window = self._window
        whole = status(window.state, window.facts)
        if window.state is State.STREAMING:
            return "streaming", whole  # which is all figures
        if window.state is State.NO_MODEL and window.choosing.locked:
            return "token wanted", brief(window.choosing.locked)
        word, _, figures = whole.partition(" · ")
        return word.removeprefix("○ ").removeprefix("● "), figures

    def show_title(self) -> None:
        """Say it in the title, when all else is done: whoever reads it finds the window so."""
        window = self._window
        about = window.facts.get("runtime", "") if window.state in TALKING else ""
        parts = ("lmboot", window.state.value, brief(about))
        title = " — ".join(each for each in parts if each)
        if title != window.root.title():
            window.root.title(title)
