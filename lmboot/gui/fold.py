"""Breaks lines that Tk can't bear into rows, so that copying gives back the text; pure.

Tk stalls on long lines, not on many: a million characters in one line block it for seconds, the
same in rows of a thousand for milliseconds.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

WIDTH = 1000  # columns of a row
LONGEST = 20_000  # characters of a line that are shown; nobody reads more in a pane


class Piece(NamedTuple):
    """What is shown, and what it stands for: a fold is a newline for nothing."""

    shown: str
    raw: str


FOLD = Piece("\n", "")


def fold(text: str, width: int = WIDTH) -> list[Piece]:
    """Return the text in pieces, with a fold wherever a line goes on after `width` characters."""
    pieces: list[Piece] = []
    for number, line in enumerate(text.split("\n")):
        if number:
            pieces.append(Piece("\n", "\n"))
        pieces += _folded(line, width)
    return pieces


def _folded(line: str, width: int) -> Iterator[Piece]:
    for start in range(0, len(line), width):
        if start:
            yield FOLD
        part = line[start : start + width]
        yield Piece(part, part)


def squeeze(text: str, longest: int = LONGEST) -> list[Piece]:
    """Return the text folded, and each line that is too long as one row that tells its length."""
    pieces: list[Piece] = []
    for number, line in enumerate(text.split("\n")):
        if number:
            pieces.append(Piece("\n", "\n"))
        if len(line) > longest:
            pieces.append(Piece(f"[{len(line):,} characters in one line]", line))
        else:
            pieces += _folded(line, WIDTH)
    return pieces


def unfold(pieces: Iterable[Piece]) -> str:
    """Return the text that pieces stand for."""
    return "".join(piece.raw for piece in pieces)


def cut_words(more: int, whole: int) -> str:
    """Return the row that stands for the rest of a line that came bit by bit."""
    return f"… {more:,} more of {whole:,} characters in one line; the transcript has them all"
