"""The payload while the model writes it: the text as it comes, and what it is so far."""

from __future__ import annotations

import re
import tkinter as tk
from collections.abc import Iterator, Sequence
from itertools import islice
from tkinter import ttk

from lmboot.gui.find import columns
from lmboot.gui.fold import WIDTH
from lmboot.gui.reader import Reader
from lmboot.gui.widgets import Box, Scroller, showable

MOST_LINES = 20_000
CHART_FROM = 620  # the narrowest pane with room for the chart
ASIDE, ASIDE_FROM = 232, 400  # the column beside the text, and the narrowest pane with room for it
JSON = re.compile(
    r'(?P<accent>"[A-Za-z_0-9]+"(?=\s*:))|(?P<faint>\\[nt])'
    r'|(?P<violet>"(?:EMULATE|HOST|DENY)")|(?P<warn>(?<![\w"])-?\d+(?:\.\d+)?(?![\w"]))'
)
COLOURS = ("accent", "faint", "violet", "warn")
FOLDS = re.compile(rf"[^\n]{{{WIDTH}}}(?=[^\n])")
# Tk takes the square of a row's colours to draw it, and of all colours to forget them.
MOST_IN_ROW, MOST_AT_ONCE, MOST_BEFORE_FADING = 48, 500, 1500
SURPLUS = 100  # rows that are let go at once


class StreamText(Reader):
    """What the model writes, as it comes; colours are a help for the eye, no judgement.

    Only the newest rows have them, and a long line has them at the start of each of its rows.
    """

    def __init__(self, parent: Box) -> None:
        look = parent.look
        super().__init__(
            parent,
            font="MonoSmall",
            wrap="char",
            padx=look.px(22),
            spacing2=look.px(4),
        )
        self.follow = True
        self._column = 0  # how far the last row is written
        self._fresh = 0  # colours since the oldest ones were taken away
        self.scroll.on_move = self._moved

    def paint(self) -> None:
        """Take the colours of the palette."""
        super().paint()
        self.text.configure(foreground=self.look["muted"])
        for name in COLOURS:
            self.text.tag_configure(name, foreground=self.look[name])
        self.text.tag_configure("caret", background=self.look["accent"])
        self.text.tag_raise("sel")

    def clear(self) -> None:
        """Begin anew."""
        self.text.delete("1.0", "end")
        self.follow = True
        self._column = self._fresh = 0
        self.text.mark_unset("faded")

    def append(self, text: str) -> None:
        """Add a piece of at most some 16 KiB; lines that would stall Tk are folded."""
        follow = self._at_end() or self.follow
        self.end()
        start = int(self.text.index("end-1c").split(".")[0])
        parts: list[str] = []
        for piece in self._folded(showable(text)):
            parts += ["\n", "fold", piece, ""]
        _, _, first, *others = parts
        self.text.insert("end", first, *others, " ", "caret")
        self._colour_from(start)
        self._trim()
        if follow:
            self.text.see("end-1c")

    def end(self) -> None:
        """Take the caret away: nothing more comes."""
        if self.text.tag_nextrange("caret", "1.0"):
            self.text.delete("caret.first", "caret.last")

    def _at_end(self) -> bool:
        return self.text.dlineinfo("end-1c") is not None

    def _moved(self) -> None:
        self.follow = self._at_end()

    def _folded(self, text: str) -> list[str]:
        """Return the text in pieces, with a fold between two; it goes on after what is there."""
        room = WIDTH - self._column
        line = text.find("\n")
        if (len(text) if line < 0 else line) > room:
            text = text[:room] + "\0" + FOLDS.sub("\\g<0>\0", text[room:])
        else:
            text = text[: line + 1] + FOLDS.sub("\\g<0>\0", text[line + 1 :])
        pieces = text.split("\0")
        row = pieces[-1].rpartition("\n")[2]
        self._column = len(row) + self._column * (row == text)
        return pieces

    def _colour_from(self, start: int) -> None:
        """Colour what is new, and the row that it went on with."""
        places: dict[str, list[str]] = {name: [] for name in COLOURS}
        rows = self.text.get(f"{start}.0", "end-1c").split("\n")
        for name, first, last in islice(_colours(start, rows), MOST_AT_ONCE):
            places[name] += first, last
        for name, ends in places.items():
            self.text.tag_remove(name, f"{start}.0", "end")
            if ends:
                self.text.tag_add(name, *ends)
        if len(rows) > 1:
            self._fade(start, sum(map(len, places.values())) // 2)

    def _fade(self, start: int, fresh: int) -> None:
        """Take the colours from what is far above when many are new."""
        self._fresh += fresh
        if self._fresh < MOST_BEFORE_FADING:
            return
        if "faded" in self.text.mark_names():
            for name in COLOURS:
                self.text.tag_remove(name, "1.0", "faded")
        self.text.mark_set("faded", f"{start}.0")
        self._fresh = 0

    def _trim(self) -> None:
        lines = int(self.text.index("end-1c").split(".")[0])
        if lines >= MOST_LINES + SURPLUS:
            self.text.delete("1.0", f"{lines - MOST_LINES + 1}.0")


def _colours(start: int, rows: Sequence[str]) -> Iterator[tuple[str, str, str]]:
    """Yield colours, and from where to where as Tk counts."""
    for number, row in enumerate(rows, start):
        for match in islice(JSON.finditer(row), MOST_IN_ROW):
            left, right = columns(row[: match.start()]), columns(row[: match.end()])
            yield str(match.lastgroup), f"{number}.{left}", f"{number}.{right}"


class StreamPane(Box):
    """Title, figures, progress and speed above; the text; files and manifest beside it."""

    def __init__(self, parent: Box) -> None:
        super().__init__(parent, "main")
        self._head = self.bar("top", "main", pad=(24, 16))
        self._title = self._head.label("", "text", "Title", wrap=True)
        self._title.pack(fill="x", pady=self.look.pad(0, 12))
        self._tiles = Box(self._head)
        self._tiles.pack(fill="x")
        self._values: list[tuple[ttk.Label, ttk.Label]] = []
        self._chart = tk.Canvas(
            self._tiles, width=self.look.px(150), height=self.look.px(36), highlightthickness=0
        )
        self._speeds: tuple[float, ...] = ()
        self._progress = ttk.Progressbar(self._head, maximum=1.0)
        self._column = Box(self)
        self._aside = Scroller(self._column, "panel", pad=(16, 12), width=ASIDE)
        self._aside.pack(side="right", fill="y")
        self._column.hairline("right")
        self.reader = StreamText(self)
        self.reader.pack(fill="both", expand=True)
        self._files = self._group()
        self._manifest = self._group()
        self.look.follow(self._chart, self._draw)
        self._head.bind("<Configure>", lambda event: self._fit(event.width))
        self.look.follow(self._head, lambda: self._fit(self._head.winfo_width()))

    def _fit(self, width: int) -> None:
        """Leave out what stands beside the figures and the text where those need its room."""
        if width < self.look.room(CHART_FROM):
            self._chart.pack_forget()
        else:
            self._chart.pack(side="right", anchor="n")
        if 1 < width < self.look.room(ASIDE_FROM):
            self._column.pack_forget()
        else:
            self._column.pack(side="right", fill="y", before=self.reader)

    def _group(self) -> Box:
        box = Box(self._aside.inside)
        box.pack(fill="x", pady=self.look.pad(0, 20))
        return box

    def start(self, title: str) -> None:
        """Begin anew: an empty text under a title."""
        self.show_title(title)
        self.reader.clear()
        self.show_facts(())
        self.show_files(())
        self.show_manifest(())
        self.show_speeds(())
        self.show_progress(None)

    def show_title(self, title: str) -> None:
        """Say what is being done: loading, reading the prompt, writing."""
        self._title.configure(text=title)

    def append(self, text: str) -> None:
        """Add what the model wrote, at most some 16 KiB at a time."""
        self.reader.append(text)

    def end(self) -> None:
        """Say that nothing more comes."""
        self.reader.end()

    def show_facts(self, facts: Sequence[tuple[str, str]]) -> None:
        """Show figures: ("~41", "tokens / s")."""
        while len(self._values) < len(facts):
            self._values.append(self._tile())
        blank = [("", "")] * (len(self._values) - len(facts))
        for labels, words in zip(self._values, [*facts, *blank], strict=True):
            for label, word in zip(labels, words, strict=True):
                label.configure(text=word)

    def _tile(self) -> tuple[ttk.Label, ttk.Label]:
        tile = Box(self._tiles, padding=self.look.pads(0, 0, 18, 14))
        tile.pack(side="left")
        labels = tile.label("", "text", "Strong"), tile.label("", "faint", "Small")
        for label in labels:
            label.pack(anchor="w")
        return labels

    def show_progress(self, share: float | None) -> None:
        """Show how much is done, 0 to 1; None when nobody knows."""
        if share is None:
            self._progress.pack_forget()
        else:
            self._progress.configure(value=share)
            self._progress.pack(fill="x")

    def show_speeds(self, speeds: Sequence[float]) -> None:
        """Draw the speed of the last while, oldest first."""
        self._speeds = tuple(speeds)
        self._draw()

    def _draw(self) -> None:
        look, wide, high = self.look, self.look.px(150), self.look.px(36)
        self._chart.configure(background=look["main"])
        self._chart.delete("all")
        if len(self._speeds) < 2:
            return
        most, steps = max(*self._speeds, 1e-9) * 1.1, len(self._speeds) - 1
        points = [
            value
            for number, speed in enumerate(self._speeds)
            for value in (number * wide / steps, high * (1 - speed / most))
        ]
        self._chart.create_polygon(0, high, *points, wide, high, fill=look["accent:14:main"])
        line = 1.6 * look.scale
        self._chart.create_line(*points, fill=look["accent"], width=line, joinstyle="round")

    def show_files(self, files: Sequence[tuple[str, str, bool]]) -> None:
        """List files so far: (path, size or word, whether it is whole)."""
        self._files.clear()
        if files:
            self._files.caption("Files so far", after=6)
        for path, size, whole in files:
            row, done = Box(self._files), whole
            row.pack(fill="x", pady=self.look.px(3))
            image = self.look.check() if done else self.look.point("accent")
            words = row.label(size, "muted" if done else "accent", "Small")
            words.pack(side="right", anchor="n")
            row.label(image=image).pack(side="left", anchor="n", pady=self.look.pad(3, 0))
            name = row.label(self._fitting(path, words.winfo_reqwidth()), "text", "Mono")
            name.pack(side="left", padx=self.look.pad(8, 0))

    def _fitting(self, path: str, taken: int) -> str:
        """Return as much of a path's end as has room: wrapped, 256 would be too high for X."""
        room = self.look.room(ASIDE) - self.look.px(16 + 12 + 28) - taken
        most = max(8, room // int(self.tk.call("font", "measure", "Mono", "0")))
        return path if len(path) <= most else "…" + path[1 - most :]

    def show_manifest(self, facts: Sequence[tuple[str, str]]) -> None:
        """Show what the manifest says so far."""
        self._manifest.clear()
        if facts:
            self._manifest.caption("Manifest", after=6)
        for name, value in facts:
            row = Box(self._manifest)
            row.pack(fill="x", pady=self.look.px(3))
            row.label(name, "faint").pack(side="left")
            row.label(value).pack(side="right")
