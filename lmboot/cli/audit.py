"""`lmboot audit`: read what a run was allowed and denied, and whether that is the whole truth."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

from lmboot.app.places import places
from lmboot.errors import FileUnreadable
from lmboot.runtime.chain import Record, Verdict
from lmboot.runtime.vault import Vault, read_log
from lmboot.text import brief, reveal

_DAMAGED: Record = {"kind": "damaged line"}


def _vault() -> Vault:
    return Vault(places().audit)


def _say(text: str) -> None:
    sys.stdout.write(reveal(text) + "\n")


def show_log(wanted: str, as_json: bool) -> int:
    """Show a log's records, the oldest first; what is wrong with it is said on stderr."""
    vault = _vault()
    log = vault.find(wanted)
    for record in _records(read_log(log)):
        if as_json:
            sys.stdout.write(json.dumps(record) + "\n")
        else:
            _say(row_of(record))
    sys.stdout.flush()
    sys.stderr.write(reveal(_doubt(vault, log)))
    return 0


def verify_log(wanted: str, as_json: bool) -> int:
    """Say whether a log is whole; 1 when it is not."""
    vault = _vault()
    log = vault.find(wanted)
    verdict = vault.verify(log)
    if as_json:
        shown = {"log": str(log), "whole": verdict.whole, **asdict(verdict)}
        sys.stdout.write(json.dumps(shown) + "\n")
    else:
        _say("\n".join(in_words(log.name, verdict)))
    return 0 if verdict.whole else 1


def in_words(name: str, verdict: Verdict) -> Iterator[str]:
    """Yield the lines that tell a verdict."""
    if verdict.problem:
        problem = verdict.problem
        yield f"{name} is damaged at record {problem.seq}: {problem.code}: {problem.message}"
        if problem.code != "replaced":
            yield f"the {verdict.records} records before that are as they were written"
    else:
        yield f"{name} is whole: {verdict.records} records of the run {verdict.run}"
        if not verdict.closed:
            yield "it was not closed: its lmboot still runs, or ended without a word"
            yield f"records whose loss could not be seen, at its end: {verdict.beyond_head}"
    for each in verdict.open_intents:
        yield f"open intent, record {each.seq}: {each.op} ({each.route}) may have happened or not"


def _doubt(vault: Vault, log: Path) -> str:
    """Return what a reader of the log must know, nothing if it is whole."""
    try:
        verdict = vault.verify(log)
    except FileUnreadable as error:
        return f"lmboot: this log is not verified: {error}\n"
    return "" if verdict.whole else "".join(f"lmboot: {x}\n" for x in in_words(log.name, verdict))


def _records(data: bytes) -> Iterator[Record]:
    """Yield every line as a record, believed or not."""
    for line in data.splitlines():
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):
            record = _DAMAGED
        yield record if isinstance(record, dict) else _DAMAGED


def row_of(record: Record) -> str:
    """Return one row of the table: time, operation, route, decision, reason."""
    kind = _text(record, "kind", 16)
    plain = kind in ("intent", "outcome")
    what = _text(record, "op", 40) if plain else f"{kind} {_text(record, 'op', 40)}".strip()
    decision = _text(record, "decision", 16) or (kind if plain else "")
    columns = f"{_time(record):19}  {what:28}  {_text(record, 'route', 8):8}  {decision:8}"
    return f"{columns}  {_reason(record)}".rstrip()


def _reason(record: Record) -> str:
    """Return the reason, or what a record that has none tells instead."""
    if reason := _text(record, "reason", 160):
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
