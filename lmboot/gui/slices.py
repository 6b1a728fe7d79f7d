"""Long work in Tk's thread, done bit by bit: in between, keys are heard and windows drawn."""

from __future__ import annotations

import tkinter as tk
from collections.abc import Iterator
from time import perf_counter

BUDGET_SECONDS = 0.006  # of a tick; with what Tk draws after it, a frame of 16 ms is kept
PAUSE_MS = 2  # for whatever waits; 0 would leave idle callbacks, and so all drawing, no turn


class Slices:
    """Goes on with one iterator in slices of some milliseconds, as long as its widget lives."""

    def __init__(self, widget: tk.Misc) -> None:
        """Begin with nothing to do."""
        self._widget, self._timer = widget, ""
        self._work: Iterator[object] | None = None
        widget.bind("<Destroy>", self._destroyed, add=True)

    @property
    def busy(self) -> bool:
        """Say whether something is left to do."""
        return self._work is not None

    def start(self, work: Iterator[object]) -> None:
        """Do this instead of what was left: the first slice now, the others by and by.

        Each step of the iterator has to be a small one.
        """
        self.stop()
        self._work = work
        self._go_on()

    def stop(self) -> None:
        """Leave undone what was not done yet."""
        if self._timer:
            self._widget.after_cancel(self._timer)
        self._timer, self._work = "", None

    def _go_on(self) -> None:
        work, self._timer, self._work = self._work, "", None
        end = perf_counter() + BUDGET_SECONDS
        for _ in work or ():
            if perf_counter() >= end:
                self._work = work
                self._timer = self._widget.after(PAUSE_MS, self._go_on)
                return

    def _destroyed(self, event: tk.Event[tk.Misc]) -> None:
        if event.widget is self._widget:
            self.stop()
