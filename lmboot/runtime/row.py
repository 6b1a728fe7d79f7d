"""The row of all logs of one key, and the judgement of it: which are to be there; pure.

A log and its head can be removed together, and nothing of them would be missed. So each log's
first record has its number and how far the one before had come, and the row names all that are
kept. It is signed; that it was not put back as it was earlier is told by its number and signature,
which the keyring has where there is one.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal, NamedTuple

from lmboot.runtime.chain import BEGINNING, Record, Signed


class Entry(NamedTuple):
    """A log that is kept; numbers grow by one with each run."""

    number: int
    log: str


@dataclass(frozen=True, slots=True)
class Row(Signed):
    """The logs that are kept, the oldest first; `last` is the newest one's number.

    `anew` is the log at which it began once more, since the row before could not be believed.
    """

    PURPOSE: ClassVar[bytes] = b"lmboot-row"
    key: str
    last: int = 0
    logs: tuple[Entry, ...] = ()
    anew: str = ""

    def with_next(self, log: str, gone: Collection[str]) -> Row:
        """Return the row with one more log, and without those that lmboot removes."""
        kept = tuple(entry for entry in self.logs if entry.log not in gone)
        anew = "" if self.anew in gone else self.anew
        return replace(
            self, last=self.last + 1, logs=(*kept, Entry(self.last + 1, log)), anew=anew, sign=""
        )

    @classmethod
    def read(cls, text: str) -> Row | None:
        """Return the row that was kept, None for anything else."""
        try:
            row = cls(**json.loads(text))
            logs = tuple(Entry(int(number), str(log)) for number, log in row.logs)
            return replace(row, last=int(row.last), logs=logs, sign=str(row.sign))
        except (TypeError, ValueError, RecursionError):
            return None


class Before(NamedTuple):
    """The log before, as it was when the next one began: so many records, the last one's code."""

    log: str
    records: int = 0
    mac: str = BEGINNING


@dataclass(frozen=True, slots=True)
class Begun:
    """What a log's first record says of its place in the row."""

    log: str
    number: int
    before: Before | None

    @classmethod
    def read(cls, record: Record) -> Begun | None:
        """Return that; None for a log that was begun when there was no row."""
        number, before = record.get("number"), record.get("before")
        if not isinstance(number, int):
            return None
        link = Before(**before) if isinstance(before, dict) else None
        return cls(str(record.get("log")), number, link)

    def fields(self) -> dict[str, Any]:
        """Return what the first record has of it."""
        return {"number": self.number, "before": self.before and self.before._asdict()}


Code = Literal["missing", "rewound", "row"]


@dataclass(frozen=True, slots=True)
class Gap:
    """Something that is wrong with the row; `log` is the one that it is about."""

    code: Code
    log: str
    message: str


def with_orphan(row: Row, begun: Iterable[Begun]) -> Row:
    """Return the row with a log that goes on where it ends: its lmboot ended before it was in."""
    last = row.logs[-1].log if row.logs else None
    for each in begun:
        if each.number == row.last + 1 and (each.before and each.before.log) == last:
            return row.with_next(each.log, ())
    return row


def judge(
    row: Row | None,
    apart: tuple[int, str] | None,
    begun: Iterable[Begun],
    there: Collection[str],
) -> Iterator[Gap]:
    """Yield what is wrong with the row of one key.

    `row` is genuine, or None; `apart` the number and signature that the keyring has of it; `begun`
    what the logs say that this key has signed; `there` the names of the logs whose file is there.
    """
    newest = max(begun, key=lambda each: each.number, default=None)
    if row is None:
        if newest or apart:
            log = newest.log if newest else ""
            yield Gap("row", log, "the list of all logs is gone, or was edited: some may be gone")
        return
    if apart and (row.last < apart[0] or (row.last == apart[0] and row.sign != apart[1])):
        yield Gap("row", "", "an older list of all logs was put back: later logs may be gone")
    elif newest and newest.number > row.last:
        why = "it ended while it began, or an older list was put back"
        yield Gap("row", newest.log, f"this log is not in the list of all logs: {why}")
    if row.anew:
        yield Gap(
            "row", row.anew, "the list of all logs begins anew here: earlier ones may be gone"
        )
    for entry in row.logs:
        if entry.log not in there:
            yield Gap("missing", entry.log, f"the log of run number {entry.number} is gone")
