"""Finds words or patterns in rows that come and go, a row at a time; pure.

A pattern can take longer than anybody lives: `(a+)+b` on thirty letters a. Only so much of a row
is looked at, and where the system has a clock of the processor's time that can interrupt (not on
Windows), a row that takes too long ends the search. On Windows such a pattern stops the window.
"""

from __future__ import annotations

import gc
import re
import signal
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple, Protocol

MOST_FOUND = 2_000  # more are counted by nobody, and each is a range that Tk keeps
LONGEST = 20_000  # characters of a row that are searched for words
LONGEST_MATCHED = 1_000  # and for a pattern: what is folded has no more
LONGEST_PATTERN = 1_000
MOST_SECONDS = 0.01  # for one row


class TooSlow(Exception):
    """A pattern took too long for one row."""


class Rows(Protocol):
    """What is searched: rows that may fall out at the start, where `dropped` counts them."""

    @property
    def dropped(self) -> int:
        """Return how many rows fell out."""

    def __len__(self) -> int:
        """Return how many are left."""

    def __getitem__(self, row: int) -> str:
        """Return one of those that are left, counted from 0."""


class Place(NamedTuple):
    """Where something stands: the row of all that ever were, and from and to in characters."""

    row: int
    start: int
    end: int


class Search:
    """Everything in some rows that fits; `steps` goes on, after `resume`, where it ended."""

    def __init__(self, rows: Rows, pattern: re.Pattern[str], *, trusted: bool) -> None:
        """Search nothing yet; a trusted pattern is one that takes no longer than its row is."""
        self.rows, self._pattern, self._trusted = rows, pattern, trusted
        self._next = rows.dropped
        self.found: list[Place] = []
        self.slow = False

    @property
    def full(self) -> bool:
        """Say whether there may be more than are told."""
        return len(self.found) >= MOST_FOUND

    def resume(self) -> int:
        """Forget what has gone, and what is in the last row, which may have changed since.

        Return the row, of all that ever were, with which the search goes on.
        """
        self._next = max(self._next, self.rows.dropped)
        self.found = [each for each in self.found if self.rows.dropped <= each.row < self._next]
        return self._next

    def steps(self) -> Iterator[None]:
        """Search row by row what was not searched yet."""
        while not (self.full or self.slow):
            self._next = max(self._next, self.rows.dropped)
            last = self.rows.dropped + len(self.rows) - 1
            if self._next <= last:
                self._look_at(self._next)
            if self._next >= last:
                return
            self._next += 1
            yield

    def _look_at(self, row: int) -> None:
        text = self.rows[row - self.rows.dropped]
        try:
            if self._trusted:
                self._add(row, text[:LONGEST])
            else:
                with limited(MOST_SECONDS):
                    self._add(row, text[:LONGEST_MATCHED])
        except TooSlow:
            self.slow = True

    def _add(self, row: int, text: str) -> None:
        for match in self._pattern.finditer(text):
            if match.end() > match.start() and not self.full:
                self.found.append(Place(row, match.start(), match.end()))


def words(sought: str) -> re.Pattern[str]:
    """Return what finds these characters; letters in either case unless one is a capital."""
    return re.compile(re.escape(sought), 0 if sought != sought.lower() else re.IGNORECASE)


def pattern(sought: str) -> re.Pattern[str] | None:
    """Return what finds this regular expression, with cases as for words; None when it is none."""
    capitals = re.sub(r"\\.", "", sought)  # \S is none
    try:
        with warnings.catch_warnings(), limited(5 * MOST_SECONDS):
            warnings.simplefilter("ignore")  # "[[" will mean something else some day
            short = sought[: LONGEST_PATTERN + 1]
            flags = 0 if capitals != capitals.lower() else re.IGNORECASE
            return re.compile(short, flags) if short == sought else None
    except (re.error, OverflowError, RecursionError, TooSlow):
        return None


@contextmanager
def limited(seconds: float) -> Iterator[None]:
    """Raise TooSlow in what takes longer, where the system can; only Python's first thread can.

    The regular expressions look for signals while they match, so that even one match ends. No
    garbage is collected meanwhile: that would count, and what is raised in it is lost.
    """
    if sys.platform != "win32" and threading.current_thread() is threading.main_thread():
        armed = True

        def ring(*_: object) -> None:
            if armed:
                raise TooSlow

        collecting = gc.isenabled()
        before = signal.signal(signal.SIGVTALRM, ring)
        try:
            gc.disable()
            signal.setitimer(signal.ITIMER_VIRTUAL, seconds)
            yield
        finally:
            armed = False
            signal.setitimer(signal.ITIMER_VIRTUAL, 0)
            signal.signal(signal.SIGVTALRM, before)
            if collecting:
                gc.enable()
    else:
        yield
