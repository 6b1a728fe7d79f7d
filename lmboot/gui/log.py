"""What happened, row by row, with a filter."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from tkinter import ttk

from lmboot.gui.reader import Reader
from lmboot.gui.widgets import Box, showable

Entry = tuple[str, str, str]  # time, kind, words
MOST_ROWS = 10_000
COLOURS = {"error": "bad", "warning": "warn", "request": "warn", "consent": "ok"}


class LogPane(Box):
    """Rows of (time, kind, words); those in COLOURS have colours of their own."""

    def __init__(self, parent: Box, *, most_rows: int = MOST_ROWS) -> None:
        super().__init__(parent, "main")
        self._rows: deque[Entry] = deque(maxlen=most_rows)
        self._in_text = 0
        head = self.bar("top", "main", pad=(16, 10))
        head.label("Filter", "faint").pack(side="left", padx=self.look.pad(0, 8))
        self.filter = ttk.Entry(head, style="main.TEntry", font="Text", width=28)
        self._count = head.label("", "faint", "Small")
        self._count.pack(side="right")
        self.filter.pack(side="left")
        self.reader = Reader(self, font="MonoSmall")
        self.reader.pack(fill="both", expand=True)
        self.filter.bind("<KeyRelease>", lambda _: self._refill())
        self.look.follow(head, self._paint)

    def _paint(self) -> None:
        text = self.reader.text
        text.configure(tabs=(self.look.room(86), self.look.room(186)))
        text.tag_configure("faint", foreground=self.look["faint"])
        text.tag_configure("muted", foreground=self.look["muted"])
        text.tag_configure("row", lmargin2=self.look.room(186))
        for kind, colour in COLOURS.items():
            text.tag_configure(kind, foreground=self.look[colour])
        text.tag_raise("sel")

    def add(self, rows: Iterable[Entry]) -> None:
        """Add rows at the end, in one insert."""
        new = [(time, kind, showable(words)) for time, kind, words in rows]
        self._rows.extend(new)
        self._insert([row for row in new if self._wanted(row)])

    def clear(self) -> None:
        """Forget all rows."""
        self._rows.clear()
        self._refill()

    def _wanted(self, row: Entry) -> bool:
        return all(word in " ".join(row).lower() for word in self.filter.get().lower().split())

    def _refill(self) -> None:
        self.reader.text.delete("1.0", "end")
        self._in_text = 0
        self._insert([row for row in self._rows if self._wanted(row)])

    def _insert(self, rows: list[Entry]) -> None:
        text = self.reader.text
        at_end = text.yview()[1] >= 1
        parts: list[object] = []
        for time, kind, words in rows:
            tag = kind if kind in COLOURS else "muted"
            flat = words.replace("\n", "\n\t\t")
            parts += [f"{time}\t", ("faint", "row"), f"{kind}\t", (tag, "row")]
            parts += [f"{flat}\n", ("row",)]
        if parts:
            text.insert("end", *parts)  # type: ignore[arg-type] # text and tags in turn
        self._in_text += len(rows)
        self._trim()
        if at_end:
            text.see("end")
        shown, kept = min(self._in_text, len(self._rows)), len(self._rows)
        self._count.configure(text=f"{shown} of {kept} rows" if shown != kept else f"{kept} rows")

    def _trim(self) -> None:
        surplus = self._in_text - (self._rows.maxlen or MOST_ROWS)
        if surplus > MOST_ROWS // 10:
            self._refill()
