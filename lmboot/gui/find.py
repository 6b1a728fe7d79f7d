"""The bar that finds words, or a pattern, in a text."""

from __future__ import annotations

import tkinter as tk
from bisect import bisect_left
from collections.abc import Callable, Iterator
from tkinter import ttk

from lmboot.gui.search import Place, Rows, Search, pattern, words
from lmboot.gui.slices import Slices
from lmboot.gui.widgets import Box

MARKED_AT_ONCE = 100
MARKS = {"found": "warn:30:main", "found-now": "warn:60:main"}


class FindBar(Box):
    """Looks while one types, in rows kept in Python: Tk's own search is slow over many.

    It looks bit by bit, so that a long text keeps nobody waiting. What goes over the end of a row
    is not found, nor what stands beyond the first thousand characters of one by a pattern.
    """

    def __init__(
        self, parent: Box, text: tk.Text, rows: Callable[[], Rows], *, newest: bool = False
    ) -> None:
        """`rows` gives the text's rows; `newest` begins at the last place, not at the view's."""
        super().__init__(parent, card="RaisedCard", padding=parent.look.pads(8, 6))
        self._text, self._rows, self._newest = text, rows, newest
        self._search: Search | None = None
        self._now: Place | None = None
        self._steps = 0
        self._last = ""
        self.regex = False
        self._slices = Slices(self)
        self._make()
        self._bind_keys()
        parent.bind("<Configure>", lambda _: self._fit(), add=True)
        self.look.follow(self, self._paint)

    def _make(self) -> None:
        self.entry = ttk.Entry(self, style="raised.TEntry", font="Text", width=22)
        self.toggle = self.button(".*", self.toggle_regex, "Ghost")
        self._count = self.label("", "muted", "Small", width=11, anchor="center")
        back = self.button("↑", lambda: self.go(-1), "Ghost")
        on = self.button("↓", lambda: self.go(1), "Ghost")
        off = self.button("×", self.close, "Ghost")
        for part in (off, on, back, self._count, self.toggle):
            part.pack(side="right")
        self.entry.pack(fill="x", expand=True)

    def _bind_keys(self) -> None:
        self.entry.bind("<KeyRelease>", self._typed)
        self.entry.bind("<Return>", lambda _: self.go(1))
        self.entry.bind("<Shift-Return>", lambda _: self.go(-1))
        for sequence in ("<Control-f>", "<Control-F>"):
            self._text.bind(sequence, self.open)
        for field in (self.entry, self._text):
            field.bind("<F3>", lambda _: self.go(1))
            field.bind("<Shift-F3>", lambda _: self.go(-1))
        for part in (self.entry, self.toggle):
            part.bind("<Escape>", self.close)
            for sequence in ("<Alt-r>", "<Alt-R>"):
                part.bind(sequence, self.toggle_regex)

    def _paint(self) -> None:
        for tag, colour in MARKS.items():
            self._text.tag_configure(tag, background=self.look[colour])
        self._text.tag_raise("sel")

    @property
    def count(self) -> str:
        """Return "3/41" as it is shown, "" before anything was sought, "…" while it is."""
        return str(self._count.cget("text"))

    def open(self, _: object = None) -> str:
        """Show the bar and put the keyboard into it."""
        self._place()
        self.entry.focus_set()
        self.entry.selection_range(0, "end")
        self.search(self.entry.get())
        return "break"

    def _place(self) -> None:
        gap = self.look.px(12)
        room = self.master.winfo_width() - 2 * gap
        wide = room if 1 < room < self.winfo_reqwidth() else ""
        self.place(relx=1, x=-gap, y=gap, width=wide, anchor="ne")
        self.tkraise()

    def _fit(self) -> None:
        if self.winfo_manager():
            self._place()

    def close(self, _: object = None) -> str:
        """Hide the bar and its marks; what was found last becomes the selection."""
        if self._search and self._now:
            self._text.tag_remove("sel", "1.0", "end")
            self._text.tag_add("sel", *self._ends(self._search.rows, self._now))
        self._forget()
        self.place_forget()
        self._text.focus_set()
        return "break"

    def toggle_regex(self, _: object = None) -> str:
        """Take what is sought for a regular expression, or for words again."""
        self.regex = not self.regex
        self.toggle.state(["selected" if self.regex else "!selected"])
        self.search(self.entry.get())
        return "break"

    def search(self, sought: str) -> None:
        """Mark every place; letters match in either case unless one is a capital."""
        self._forget()
        self._last = sought
        if not sought:
            return
        wanted = pattern(sought) if self.regex else words(sought)
        if wanted is None:
            self._count.configure(text="no pattern")
            return
        self._search = Search(self._rows(), wanted, trusted=not self.regex)
        self._go_on()

    def go(self, step: int) -> str:
        """Go to the next place (1) or the one before (-1), around the ends."""
        if not self.winfo_manager():
            self._place()
        sought = self.entry.get()
        if self._search is None or sought != self._last:
            self.search(sought)
        self._steps += step
        self._go_on()
        return "break"

    def restart(self) -> None:
        """Begin anew, as the rows are others; nothing while the bar is hidden."""
        self._forget()
        if self.winfo_manager():
            self.search(self.entry.get())

    def refresh(self) -> None:
        """Look at rows that have come; nothing while the bar is hidden."""
        if self.winfo_manager():
            self._go_on()

    def _typed(self, _: object) -> None:
        if self.entry.get() != self._last:
            self.search(self.entry.get())

    def _forget(self) -> None:
        self._slices.stop()
        for tag in MARKS:
            self._text.tag_remove(tag, "1.0", "end")
        self._search, self._now, self._last = None, None, ""
        self._steps = 0
        self._count.configure(text="")

    # -- bit by bit ------------------------------------------------------------------------

    def _go_on(self) -> None:
        if self._search is not None:
            self._slices.start(self._work(self._search))
            if self._slices.busy:
                self._count.configure(text="…")

    def _work(self, search: Search) -> Iterator[None]:
        """Search and mark what is left, then go to a place."""
        first = search.resume() - search.rows.dropped + 1
        self._text.tag_remove("found", f"{first}.0", "end")
        marked = len(search.found)
        for _ in search.steps():
            if len(search.found) >= marked + MARKED_AT_ONCE:
                marked = self._mark(search, marked)
            yield
        self._mark(search, marked)
        self._choose(search.found)
        self._show(search)

    def _mark(self, search: Search, start: int) -> int:
        """Mark the places from one on; return how many there are."""
        found = search.found[start:]
        ends = [end for place in found for end in self._ends(search.rows, place)]
        if ends:
            self._text.tag_add("found", ends[0], *ends[1:])
        return len(search.found)

    def _choose(self, found: list[Place]) -> None:
        """Go on from the place that one was at; where it has gone, from there."""
        steps, self._steps = self._steps, 0
        if not found:
            self._now = None
            return
        at = bisect_left(found, self._now or self._start())
        if self._now is None:
            at = min(at, len(found) - 1)
        elif steps > 0 and found[at : at + 1] != [self._now]:
            steps -= 1
        self._now = found[(at + steps) % len(found)]

    def _start(self) -> Place:
        """Return where the first of all steps begins."""
        rows = self._rows()
        row = len(rows) if self._newest else int(self._text.index("@0,0").split(".")[0]) - 1
        return Place(rows.dropped + row, 0, 0)

    def _show(self, search: Search) -> None:
        self._text.tag_remove("found-now", "1.0", "end")
        words_of = "too slow" if search.slow else "nothing"
        if self._now is not None:
            ends = self._ends(search.rows, self._now)
            self._text.tag_add("found-now", *ends)
            self._text.see(ends[0])
            more = "+" if search.full else ""
            if not search.slow:
                words_of = f"{search.found.index(self._now) + 1}/{len(search.found)}{more}"
        self._count.configure(text=words_of)

    def _ends(self, rows: Rows, place: Place) -> tuple[str, str]:
        """Return where a place begins and ends, as Tk counts."""
        row = place.row - rows.dropped
        text = rows[row] if 0 <= row < len(rows) else ""
        left, right = columns(text[: place.start]), columns(text[: place.end])
        return f"{row + 1}.{left}", f"{row + 1}.{right}"


def columns(text: str) -> int:
    """Return how many columns Tk counts: before 9.0 a character beyond U+FFFF is two."""
    if tk.TkVersion >= 9:
        return len(text)
    return len(text.encode("utf-16-le", "surrogatepass")) // 2
