"""The bar that finds words in a transcript."""

from __future__ import annotations

import tkinter as tk
from collections.abc import Sequence
from tkinter import ttk
from typing import Protocol

from lmboot.gui.widgets import Box

MOST_FOUND = 2_000  # more are counted by nobody, and each is a range that Tk keeps


class _Line(Protocol):
    text: str


class FindBar(Box):
    """Looks while one types, in lines kept in Python: Tk's own search is slow over many."""

    def __init__(self, parent: Box, text: tk.Text, lines: Sequence[_Line]) -> None:
        super().__init__(parent, card="RaisedCard", padding=parent.look.pads(8, 6))
        self._text, self._lines = text, lines
        self._found: list[tuple[str, str]] = []
        self._at = 0
        self.entry = ttk.Entry(self, style="raised.TEntry", font="Text", width=22)
        self.entry.pack(side="left")
        self._count = self.label("", "muted", "Small", width=11, anchor="center")
        self._count.pack(side="left")
        for text_of, press in (
            ("↑", lambda: self.go(-1)),
            ("↓", lambda: self.go(1)),
            ("×", self.close),
        ):
            self.button(text_of, press, "Ghost").pack(side="left")
        self.entry.bind("<KeyRelease>", self._typed)
        self.entry.bind("<Return>", lambda _: self.go(1))
        self.entry.bind("<Shift-Return>", lambda _: self.go(-1))
        self.entry.bind("<Escape>", self.close)
        self._last = ""

    @property
    def count(self) -> str:
        """Return "3/41" as it is shown, "" before anything was sought."""
        return str(self._count.cget("text"))

    def open(self, _: object = None) -> str:
        """Show the bar and put the keyboard into it."""
        gap = self.look.px(12)
        self.place(relx=1, x=-gap, y=gap, anchor="ne")
        self.tkraise()
        self.entry.focus_set()
        self.entry.selection_range(0, "end")
        self.search(self.entry.get())
        return "break"

    def close(self, _: object = None) -> str:
        """Hide the bar and its marks; what was found last becomes the selection."""
        if self._found:
            self._text.tag_remove("sel", "1.0", "end")
            self._text.tag_add("sel", *self._found[self._at])
        self._unmark()
        self._last = ""
        self.place_forget()
        self._text.focus_set()
        return "break"

    def search(self, sought: str) -> None:
        """Mark every place; letters match in either case unless one is a capital."""
        self._unmark()
        self._last = sought
        self._found = list(_places(self._lines, sought)) if sought else []
        ranges = [end for place in self._found for end in place]
        if ranges:
            self._text.tag_add("found", ranges[0], *ranges[1:])
        self._at = len(self._found) - 1  # the newest is the one a reader of an end looks for
        self._show()

    def go(self, step: int) -> None:
        """Go to the next place (1) or the one before (-1), around the ends."""
        self._refresh()
        if self._found:
            self._at = (self._at + step) % len(self._found)
        self._show()

    def _refresh(self) -> None:
        """Look again, as lines may have come and gone, and stay near the same place."""
        at = self._at
        self.search(self.entry.get())
        self._at = min(at, max(0, len(self._found) - 1))

    def _typed(self, _: object) -> None:
        if self.entry.get() != self._last:
            self.search(self.entry.get())

    def _unmark(self) -> None:
        for tag in ("found", "found-now"):
            self._text.tag_remove(tag, "1.0", "end")
        self._found = []

    def _show(self) -> None:
        self._text.tag_remove("found-now", "1.0", "end")
        if not self._found:
            self._count.configure(text="nothing" if self._last else "")
            return
        more = "+" if len(self._found) == MOST_FOUND else ""
        self._count.configure(text=f"{self._at + 1}/{len(self._found)}{more}")
        self._text.tag_add("found-now", *self._found[self._at])
        self._text.see(self._found[self._at][0])


def _places(lines: Sequence[_Line], sought: str) -> list[tuple[str, str]]:
    """Return the first and last index of each place, as Tk counts them, at most MOST_FOUND."""
    exact = sought != sought.lower()
    found: list[tuple[str, str]] = []
    for number, line in enumerate(lines, 1):
        text = line.text if exact else line.text.lower()
        at = text.find(sought)
        while at >= 0 and len(found) < MOST_FOUND:
            start, end = columns(text[:at]), columns(text[: at + len(sought)])
            found.append((f"{number}.{start}", f"{number}.{end}"))
            at = text.find(sought, at + len(sought))
    return found


def columns(text: str) -> int:
    """Return how many columns Tk counts: before 9.0 a character beyond U+FFFF is two."""
    if tk.TkVersion >= 9:
        return len(text)
    return len(text.encode("utf-16-le", "surrogatepass")) // 2
