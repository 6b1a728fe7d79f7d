r"""The last line of a stream, the only one that may still change; pure.

A progress bar writes over its line with `\r` and `\b`. Only the last row is held for that, at
most a thousand columns; a long line is folded into rows, and cut after twenty of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from typing import NamedTuple

from lmboot.gui.fold import LONGEST, WIDTH, cut_words
from lmboot.gui.textstyle import CUT, FOLDED, PLAIN, Style

_Cell = tuple[str, Style]


class Run(NamedTuple):
    """Text of one style. Take `back` characters from the stream's end, then put the text there."""

    text: str
    style: Style = PLAIN
    back: int = 0


class LastLine:
    """Turns writing into runs. `back` never reaches over a newline or a fold."""

    def __init__(self, width: int = WIDTH, longest: int = LONGEST) -> None:
        """Begin an empty line; `longest` characters of one line are shown."""
        self._width, self._longest = width, longest
        self._runs: list[Run] = []
        self._parts: list[str] = []  # of the run that is being gathered
        self._style = PLAIN
        self._new_line()

    def _new_line(self) -> None:
        self._above = 0  # characters of the line in the rows above the last
        self._cut = 0  # characters of the line that are not shown
        self._cutting = False
        self._new_row()

    def _new_row(self) -> None:
        self._row: list[_Cell] = []  # in segments, until something is written over
        self._cells: list[_Cell] | None = None  # then one by one
        self._length = self._cursor = 0
        self._given = self._changed = 0  # how much was given out, and from where it is wrong

    def write(self, text: str, style: Style = PLAIN) -> None:
        """Write text that has no newline at the cursor, over what is there."""
        start = 0
        while start < len(text) and not self._cutting:
            if self._cursor == self._width:
                self._wrap()
                continue
            part = text[start : start + self._width - self._cursor]
            self._put(part, style)
            start += len(part)
        self._cut += len(text) - start

    def _wrap(self) -> None:
        self.break_off()
        self._cutting = self._above >= self._longest

    def break_off(self) -> None:
        """Go on in a new row: what stands in this one can't be written over any more."""
        self._settle()
        if self._length:
            self._above += self._length
            self._emit("\n", FOLDED)
            self._new_row()

    def newline(self) -> None:
        """End the line, wherever the cursor is."""
        self._settle()
        if self._cut:
            self._emit(cut_words(self._cut, self._above + self._cut), CUT)
        self._emit("\n", PLAIN)
        self._new_line()

    def carriage_return(self) -> None:
        """Go to the start of the row."""
        self._cursor = 0

    def backspace(self) -> None:
        """Go back one column, not over the start of the row."""
        self._cursor = max(0, self._cursor - 1)

    def take(self) -> list[Run]:
        """Return what was written since the last time."""
        self._settle()
        self._end_run()
        runs, self._runs = self._runs, []
        return runs

    def _put(self, part: str, style: Style) -> None:
        if self._cursor == self._length and self._cells is None:
            self._row.append((part, style))
            self._emit(part, style)
            self._length = self._cursor = self._given = self._changed = self._length + len(part)
            return
        if self._cells is None:
            self._cells = [(each, look) for text, look in self._row for each in text]
        end = self._cursor + len(part)
        self._cells[self._cursor : end] = [(each, style) for each in part]
        self._changed = min(self._changed, self._cursor)
        self._cursor, self._length = end, len(self._cells)

    def _settle(self) -> None:
        """Give out what was written over, from the first column that changed."""
        if self._cells is None or self._changed == self._length:
            return
        back = self._given - self._changed
        for text, style in _joined(self._cells[self._changed :]):
            self._emit(text, style, back)
            back = 0
        self._given = self._changed = self._length

    def _emit(self, text: str, style: Style, back: int = 0) -> None:
        if back:
            self._end_run()
            self._runs.append(Run(text, style, back))
            return
        if style != self._style:
            self._end_run()
            self._style = style
        self._parts.append(text)

    def _end_run(self) -> None:
        if self._parts:
            self._runs.append(Run("".join(self._parts), self._style))
            self._parts.clear()


def _joined(cells: list[_Cell]) -> Iterator[_Cell]:
    for style, group in groupby(cells, key=lambda cell: cell[1]):
        yield "".join(cell[0] for cell in group), style
