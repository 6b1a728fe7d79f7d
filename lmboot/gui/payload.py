"""The payload while the model writes it: the text as it comes, and what it is so far."""

from __future__ import annotations

import re
import tkinter as tk
from collections.abc import Sequence
from tkinter import ttk

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


class StreamText(Reader):
    """What the model writes, as it comes; colours are a help for the eye, no judgement."""

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

    def append(self, text: str) -> None:
        """Add text whose lines were folded; long ones would stall Tk."""
        follow = self._at_end() or self.follow
        self.end()
        start = int(self.text.index("end-1c").split(".")[0])
        self.text.insert("end", showable(text), "", " ", "caret")
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

    def _colour_from(self, start: int) -> None:
        lines = self.text.get(f"{start}.0", "end-1c").split("\n")
        for name in COLOURS:
            self.text.tag_remove(name, f"{start}.0", "end")
        for number, line in enumerate(lines, start):
            for match in JSON.finditer(line):
                place = f"{number}.{match.start()}", f"{number}.{match.end()}"
                self.text.tag_add(str(match.lastgroup), *place)

    def _trim(self) -> None:
        lines = int(self.text.index("end-1c").split(".")[0])
        if lines > MOST_LINES:
            self.text.delete("1.0", f"{lines - MOST_LINES * 9 // 10}.0")


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
        """Add what the model wrote; its lines were folded."""
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
            name = row.label(path, "text", "Mono", wrap=True)
            name.pack(side="left", fill="x", expand=True, padx=self.look.pad(8, 8))

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
