"""An audit log's records as people read them: in rows, in words, and in a file of their own."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from lmboot.files import write_whole
from lmboot.runtime.chain import Record, Verdict
from lmboot.runtime.row import Gap
from lmboot.runtime.vault import read_log
from lmboot.text import brief, reveal

_DAMAGED: Record = {"kind": "damaged line"}


def export(log: Path, target: Path) -> None:
    """Copy a log as far as it is written: to a .jsonl file to the byte, else as rows of text.

    The file is there whole or not at all; may raise OSError and FileUnreadable.
    """
    data = read_log(log)
    whole = data[: data.rfind(b"\n") + 1]  # the last line may be on its way
    if target.suffix == ".jsonl":
        write_whole(target, whole)
    else:
        write_whole(target, "".join(f"{reveal(row_of(each))}\n" for each in records(whole)))


def in_words(name: str, verdict: Verdict) -> Iterator[str]:
    """Yield the lines that tell a verdict."""
    if verdict.problem:
        problem = verdict.problem
        yield f"{name} is damaged at record {problem.seq}: {problem.code}: {problem.message}"
        if problem.code not in ("replaced", "removed"):
            yield f"the {verdict.records} records before that are as they were written"
    else:
        yield f"{name} is whole: {verdict.records} records of the run {verdict.run}"
        if not verdict.closed:
            yield "it was not closed: its lmboot still runs, or ended without a word"
            yield f"records whose loss could not be seen, at its end: {verdict.beyond_head}"
    for each in verdict.open_intents:
        yield f"open intent, record {each.seq}: {each.op} ({each.route}) may have happened or not"


def gaps_in_words(gaps: Iterable[Gap]) -> Iterator[str]:
    """Yield the lines that tell what is wrong with the row of all logs."""
    for gap in gaps:
        yield f"{gap.log}: {gap.code}: {gap.message}" if gap.log else f"{gap.code}: {gap.message}"


def records(data: bytes) -> Iterator[Record]:
    """Yield every line as a record, believed or not."""
    for line in data.splitlines():
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):
            record = _DAMAGED
        yield record if isinstance(record, dict) else _DAMAGED


class Cells(NamedTuple):
    """What a table shows of a record; what hides in it is written out."""

    seq: int
    time: str
    kind: str
    op: str
    route: str
    decision: str
    words: str


def cells_of(record: Record) -> Cells:
    """Return a record's cells, -1 for a number that it does not have."""
    seq = record.get("seq")
    words = (("kind", 16), ("op", 40), ("route", 8), ("decision", 16))
    kind, op, route, decision = (_text(record, name, limit) for name, limit in words)
    number = seq if isinstance(seq, int) else -1
    return Cells(number, _time(record), kind, op, route, decision, _reason(record))


def row_of(record: Record) -> str:
    """Return one row of the table: time, operation, route, decision, reason."""
    cells = cells_of(record)
    plain = cells.kind in ("intent", "outcome")
    what = cells.op if plain else f"{cells.kind} {cells.op}".strip()
    decision = cells.decision or (cells.kind if plain else "")
    columns = f"{cells.time:19}  {what:28}  {cells.route:8}  {decision:8}"
    return f"{columns}  {cells.words}".rstrip()


def _reason(record: Record) -> str:
    """Return the reason, or what a record that has none tells instead."""
    reason, hops = _text(record, "reason", 160), record.get("hops")
    if isinstance(hops, list) and hops:
        return brief(reveal(" -> ".join([reason, *map(str, hops)]).strip()), 160)
    if reason:
        return reason
    for name in ("args", "ops", "payload", "count"):
        if record.get(name) not in (None, "", {}):
            return brief(_short(record[name]), 160)
    return ""


def _short(value: Any) -> str:
    try:
        return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    except (ValueError, RecursionError):
        return "…"


def _text(record: Record, name: str, limit: int) -> str:
    value = record.get(name)
    return brief(reveal(value), limit) if isinstance(value, str) else ""


def _time(record: Record) -> str:
    """Return the record's time as it was on this machine's clock."""
    try:
        return f"{datetime.fromisoformat(str(record.get('ts'))).astimezone():%Y-%m-%d %H:%M:%S}"
    except (ValueError, OverflowError, OSError):
        return "?"
