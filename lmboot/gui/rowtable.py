"""Where each row of a text begins, read bit by bit: long lines are folded into rows; pure.

Nothing is copied and a row costs eight bytes, so that a file of a million lines can be shown.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right

from lmboot.gui.fold import WIDTH


class RowTable:
    """The rows of a text as far as it was read; rows are counted from 0, lines from 1."""

    def __init__(self, text: str = "", width: int = WIDTH) -> None:
        """Begin with one row, of which nothing was read yet."""
        self.text, self._width = text, width
        self._starts = array("I", [0])  # of each row, in the text
        self._firsts = array("I", [0])  # the row that each line begins with
        self.whole = False  # everything was read
        self.dropped = 0  # no row ever falls out

    def __len__(self) -> int:
        """Return how many rows are known; the last one is still to be read unless all is whole."""
        return len(self._starts)

    def __getitem__(self, row: int) -> str:
        """Return what was read of a row, without its newline."""
        start = self._starts[row]
        if row + 1 < len(self._starts):
            return self.text[start : self._starts[row + 1] - bool(self.line_of(row + 1))]
        return self.text[start:] if self.whole else ""

    @property
    def lines(self) -> int:
        """Return how many lines are known, the last one perhaps in part."""
        return len(self._firsts)

    @property
    def read(self) -> int:
        """Return how many characters were read."""
        return len(self.text) if self.whole else self._starts[-1]

    def take(self, most: int, most_rows: int) -> list[str]:
        """Read on, about `most` characters and `most_rows` rows, and return their text.

        It comes in pieces, and between two of them stands a fold. A text that ends in a fold has
        an empty piece last, so that what is taken next goes on in a new row.
        """
        pieces: list[str] = []
        begin = at = self._starts[-1]
        stop, stop_row = at + most, len(self) + most_rows
        while not self.whole and at < stop and len(self) < stop_row:
            end = self.text.find("\n", at, at + self._width + 1)
            if end < 0 and at + self._width < len(self.text):
                at += self._width
                pieces.append(self.text[begin:at])
                begin = at
            elif end < 0:
                self.whole, at = True, len(self.text)
                break
            else:
                at = end + 1
                self._firsts.append(len(self))
            self._starts.append(at)
        return [*pieces, self.text[begin:at]]

    def line_of(self, row: int) -> int:
        """Return the number of the line that begins with a row; 0 where one only goes on."""
        at = bisect_left(self._firsts, row)
        return at + 1 if at < self.lines and self._firsts[at] == row else 0

    def first_row(self, line: int) -> int | None:
        """Return the row that a line begins with; None while it is not known."""
        return self._firsts[line - 1] if 0 < line <= self.lines else None

    def place(self, offset: int) -> tuple[int, str]:
        """Return the row of a place in the text, and what stands before it in that row."""
        row = bisect_right(self._starts, offset) - 1
        return row, self.text[self._starts[row] : offset]
