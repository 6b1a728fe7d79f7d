"""The window's end: asked for once while something runs, then in order, then in any case."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lmboot.gui import messages as m
from lmboot.gui.state import Action, State
from lmboot.text import brief

if TYPE_CHECKING:
    from lmboot.gui.question import Question
    from lmboot.gui.window import Window

MOST_SECONDS = 6.0  # longer than any stop may take; then the thread is left behind
RUNNING = {State.WRITING, State.RUNNING, State.REPLACING}


class Leaving:
    """Closes the window; it goes on being drawn until the worker has ended everything."""

    def __init__(self, window: Window) -> None:
        self._window = window
        self._question: Question | None = None
        self._by = 0.0
        window.take({m.Closed: lambda _: self._worker_ended()})
        window.root.protocol("WM_DELETE_WINDOW", self.ask)

    @property
    def overdue(self) -> bool:
        """Say whether the worker has taken longer than it may."""
        return self._window.state is State.CLOSING and self._window.clock() > self._by

    def _worker_ended(self) -> None:
        """Go with it; where nobody asked it to end, stay, so that the reason can be read."""
        if self._window.state is State.CLOSING:
            self.destroy()
        else:
            self._window.log("error", "nothing can be done any more: close lmboot, start it again")

    def ask(self) -> None:
        """Close, after a question while something runs; asked once more, do not ask back."""
        window = self._window
        asked = self._question is not None and self._question.open
        if window.state is State.CLOSING:
            window.act(Action.KILL)
        elif window.state in RUNNING and not asked:
            self._ask()
        else:
            window.act(Action.CLOSE)

    def _ask(self) -> None:
        from lmboot.gui.question import Question

        window = self._window
        name = brief(window.facts.get("runtime", "The program"), 60)
        self._question = Question(
            window.root,
            window.look,
            "End the program and quit?",
            f"“{name}” still runs. It is stopped first; what it wrote and was not kept is lost.",
            [("Quit", "Danger", self.leave), ("Stay", "Plain", lambda: None)],
        )

    def leave(self) -> None:
        """Close without asking."""
        self._window.act(Action.CLOSE)

    def close(self) -> None:
        """Have everything ended, and say that it is being done."""
        window = self._window
        if self._question is not None:
            self._question.close()
        self._by = window.clock() + MOST_SECONDS
        memory = window.memory._replace(geometry=window.root.geometry())
        histories = window.talking.histories
        window.go(Action.CLOSE)
        window.outbox.begin()  # nobody waits for room any more
        window.post(lambda stage: stage.close(memory, histories))

    def destroy(self) -> None:
        """Leave the main loop; the worker is done, or given up."""
        self._window.stop_ticking()
        self._window.root.quit()
