"""Turns the bytes that a runtime writes into lines and half lines; pure: no clock here."""

from __future__ import annotations

import codecs
from typing import NamedTuple

MAX_PIECE = 64 << 10  # characters; a longer line comes in partial pieces


class Piece(NamedTuple):
    """A line without its newline, or a part of one."""

    text: str
    partial: bool = False


class LineReader:
    """Reads one stream. Joining the pieces, a newline after each whole one, gives the stream back.

    Bytes that are no UTF-8 become U+FFFD; a character cut in two by chunks stays whole.
    """

    def __init__(self) -> None:
        """Begin at the start of a line."""
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._pending: list[str] = []
        self._length = 0

    @property
    def pending(self) -> bool:
        """Say whether a half line is waiting."""
        return self._length > 0

    def feed(self, data: bytes) -> list[Piece]:
        """Return every line that `data` completes, and the pieces of one that is too long."""
        first, *others = self._decoder.decode(data).split("\n")
        pieces: list[Piece] = []
        self._keep(first, pieces)
        for text in others:
            pieces.append(Piece(self._take()))
            self._keep(text, pieces)
        return pieces

    def flush(self) -> list[Piece]:
        """Return the half line that is waiting; what follows is a piece of its own."""
        return [Piece(self._take(), partial=True)] if self.pending else []

    def end(self) -> list[Piece]:
        """Return what is left when the stream has ended."""
        pieces: list[Piece] = []
        self._keep(self._decoder.decode(b"", final=True), pieces)
        return pieces + self.flush()

    def _keep(self, text: str, pieces: list[Piece]) -> None:
        while self._length + len(text) > MAX_PIECE:
            fits = MAX_PIECE - self._length
            self._pending.append(text[:fits])
            pieces.append(Piece(self._take(), partial=True))
            text = text[fits:]
        if text:
            self._pending.append(text)
            self._length += len(text)

    def _take(self) -> str:
        text = "".join(self._pending)
        self._pending.clear()
        self._length = 0
        return text
