"""What stands above the line to write in: commands to choose from, a search, a question."""

from __future__ import annotations

import tkinter as tk
from collections.abc import Callable, Sequence
from tkinter import ttk

from lmboot.gui.widgets import Box

Hint = tuple[str, str, str]  # a command, what it does, the key that takes it


class Above(Box):
    """A card that stands above a field."""

    def __init__(self, parent: Box, field: tk.Widget) -> None:
        super().__init__(parent, card="RaisedCard", padding=parent.look.px(6))
        self.place(in_=field, x=0, y=-self.look.px(18), anchor="sw")


class HintList(Above):
    """Commands and what they do; the first one is what Tab takes, until one is moved to."""

    def __init__(self, parent: Box, field: tk.Widget, hints: Sequence[Hint]) -> None:
        super().__init__(parent, field)
        self.hints = list(hints)
        self._at = -1
        self._labels = [self._row(*hint) for hint in self.hints]
        self._show()

    def _row(self, command: str, words: str, key: str) -> tuple[ttk.Label, ttk.Label, ttk.Label]:
        look, row = self.look, Box(self)
        row.pack(fill="x", pady=look.px(4))
        mark = row.label("", "accent", "Mono", width=1)
        mark.pack(side="left", padx=look.pad(6, 4))
        name = row.label(command, "text", "Mono", width=11)
        name.pack(side="left")
        does = row.label(words, "muted")
        does.pack(side="left")
        row.label(key, "faint", "Small").pack(side="right", padx=look.pad(24, 8))
        return mark, name, does

    def move(self, step: int) -> None:
        """Go down (1) or up (-1), not over the end; up from the first one leaves the list."""
        self._at = min(max(self._at + step, -1), len(self.hints) - 1)
        self._show()

    @property
    def chosen(self) -> Hint | None:
        """Return the hint that was moved to."""
        return self.hints[self._at] if self._at >= 0 else None

    def _show(self) -> None:
        """Show what Enter or Tab takes: by a sign too, not by colour alone."""
        for number, (mark, name, does) in enumerate(self._labels):
            mark.configure(text="›" if number == self._at else "")
            strong = number == max(0, self._at)
            self.recolour(name, "accent" if strong else "text", "Mono")
            self.recolour(does, "text" if strong else "muted")


class Note(Above):
    """Some words."""

    def __init__(self, parent: Box, field: tk.Widget) -> None:
        super().__init__(parent, field)
        self._label = self.label("", "muted", "Small")
        self._label.pack(padx=self.look.pad(8, 8))

    def show(self, words: str) -> None:
        """Show others."""
        self._label.configure(text=words)


class Question(Above):
    """Some words and buttons; the keyboard begins at the one that `first` counts."""

    def __init__(
        self,
        parent: Box,
        field: tk.Widget,
        words: str,
        answers: Sequence[tuple[str, Callable[[], object]]],
        *,
        first: int = 0,
    ) -> None:
        super().__init__(parent, field)
        self.label(words, "text").pack(side="left", padx=self.look.pad(8, 12))
        self._buttons = [self.button(name, press) for name, press in answers]
        for button in self._buttons:
            button.pack(side="left", padx=self.look.pad(4, 0))
            button.bind("<Escape>", lambda _: self._buttons[-1].invoke())
        self._buttons[first].focus_set()
