r"""The audit log's form, and the judgement of one; pure.

A log is lines of ASCII JSON. Each record has its number, the code (`mac`) of the one before it,
and as its last member its own: HMAC-SHA256(key, prev || the record without `mac`), the keys
sorted, no spaces. Guests' text can't break a line, since JSON has newlines only as `\n`.

The chain shows that nothing was changed, left out or put in. That nothing was cut off the end is
shown by the head, which is kept apart: the last record's number and code, signed. Whoever has the
key can forge all of it, so this is evidence against everybody but the user and his programs.
"""

from __future__ import annotations

import hmac
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property, lru_cache
from typing import Any, ClassVar, Literal, Self

from lmboot.strictjson import encoder

BEGINNING = "0" * 64  # what stands for the code before the first record

Kind = Literal[
    "genesis",
    "intent",
    "outcome",
    "consent",
    "route",
    "grant",
    "revoke",
    "event",
    "denied-summary",
    "emulated-summary",
    "close",
]
Code = Literal[
    "edited",
    "deleted",
    "reordered",
    "inserted",
    "truncated",
    "replaced",
    "damaged-line",
    "missing-head",
    "removed",
]
Record = dict[str, Any]

_encoded = encoder(sort_keys=True)
_LINE = re.compile(rb'(\{.*),"mac":"([0-9a-f]{64})"\}', re.DOTALL)


def canonical(value: object) -> bytes:
    """Return a value as the JSON that is signed; may raise TypeError, ValueError, RecursionError.

    What JSON does not know is written as its type and its text.
    """
    return _any(value).encode("ascii")


def _foreign(value: object) -> object:
    if isinstance(value, bytes | bytearray):
        return {"bytes": value.hex()}
    return {type(value).__name__: str(value)}


_any = encoder(sort_keys=True, allow_nan=True, default=_foreign)


def _code(key: bytes, message: bytes) -> str:
    """Return HMAC-SHA256 in hexadecimal digits."""
    code = _keyed(key).copy()
    code.update(message)
    return code.hexdigest()


@lru_cache(maxsize=4)
def _keyed(key: bytes) -> hmac.HMAC:
    return hmac.new(key, digestmod="sha256")  # a half of each code's work, done once


def key_id(key: bytes) -> str:
    """Return a name for a key that does not betray it."""
    return hmac.digest(key, b"lmboot-key", "sha256").hex()[:16]


def digest(key: bytes, value: object) -> str:
    """Return a value's fingerprint; keyed, so that short secrets can't be found by trying."""
    return _code(key, b"lmboot-args" + canonical(value))[:32]


def sealed(key: bytes, prev: str, record: Record) -> tuple[bytes, str]:
    """Return a record's line and its code; `prev` is the code of the record before it."""
    body = _encoded({**record, "prev": prev}).encode("ascii")
    mac = _code(key, prev.encode() + body)
    return b'%b,"mac":"%b"}\n' % (body[:-1], mac.encode()), mac


@dataclass(frozen=True, slots=True, kw_only=True)
class Signed:
    """What is kept as JSON with a signature, `sign`, that binds all of it to a key."""

    PURPOSE: ClassVar[bytes]  # what was signed for one can't stand for another
    sign: str = ""

    def signed(self, key: bytes) -> Self:
        """Return this with the signature that it is to have."""
        fields = canonical({**asdict(self), "sign": ""})
        return replace(self, sign=hmac.digest(key, self.PURPOSE + fields, "sha256").hex())

    def is_genuine(self, key: bytes) -> bool:
        """Say whether whoever has the key signed exactly this."""
        there = self.sign.encode(errors="replace")
        return hmac.compare_digest(self.signed(key).sign.encode(), there)

    def text(self) -> str:
        """Return what is kept."""
        return canonical(asdict(self)).decode()


@dataclass(frozen=True, slots=True)
class Head(Signed):
    """How far a log had come."""

    PURPOSE: ClassVar[bytes] = b"lmboot-head"
    log: str
    run: str
    seq: int
    mac: str
    count: int

    @classmethod
    def read(cls, text: str) -> Head | None:
        """Return the head that was kept, None for anything else."""
        try:
            head = cls(**json.loads(text))
        except (TypeError, ValueError, RecursionError):
            return None
        kinds = {type(head.seq), type(head.count)} == {int}
        return head if kinds and isinstance(head.mac, str) and isinstance(head.sign, str) else None


@dataclass(frozen=True, slots=True)
class Problem:
    """The first thing that is wrong with a log; `seq` is the record's number that was due."""

    seq: int
    code: Code
    message: str


@dataclass(frozen=True, slots=True)
class OpenIntent:
    """Something that was about to happen when the log ended: nobody knows whether it did."""

    seq: int
    op: str
    route: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """What can be said of a log; `beyond_head` records at its end could be cut unnoticed."""

    problem: Problem | None
    records: int
    run: str = ""
    closed: bool = False
    open_intents: tuple[OpenIntent, ...] = ()
    beyond_head: int = 0

    @property
    def whole(self) -> bool:
        """Say that nothing is wrong; a log that a crash left unclosed is whole."""
        return self.problem is None


class _Line:
    """One line of a log, not yet believed."""

    def __init__(self, text: bytes) -> None:
        found = _LINE.fullmatch(text)
        self._body = found[1] + b"}" if found else b""
        self._mac = found[2] if found else b""

    @property
    def mac(self) -> str:
        return self._mac.decode()

    @cached_property
    def record(self) -> Record:
        """Return what the line says, nothing where it is no record."""
        try:
            record = json.loads(self._body)
        except (ValueError, RecursionError):
            return {}
        return record if isinstance(record, dict) else {}

    def follows(self, prev: str, key: bytes) -> bool:
        """Say whether this very line was written behind the record with the code `prev`."""
        mac = hmac.digest(key, prev.encode() + self._body, "sha256").hex().encode()
        return bool(self._body) and hmac.compare_digest(mac, self._mac)

    def is_ours(self, key: bytes) -> bool:
        """Say whether lmboot wrote this line, wherever it belongs."""
        prev = self.record.get("prev")
        return isinstance(prev, str) and prev.isascii() and self.follows(prev, key)


def first_record(data: bytes, key: bytes) -> Record | None:
    """Return a log's first record if it was signed with this key; `data` holds its line."""
    line = _Line(data.partition(b"\n")[0])
    return line.record if line.follows(BEGINNING, key) else None


def code_of(data: bytes, number: int) -> str:
    """Return the code of the record with that number, "" where there is none."""
    lines = data.split(b"\n", number + 1)
    return _Line(lines[number]).mac if number < len(lines) - 1 else ""


def verify(data: bytes, key: bytes, head: Head | None, *, name: str | None = None) -> Verdict:
    """Judge a log by its bytes; `name` is the file's, where it is known to be the first one."""
    *texts, rest = data.split(b"\n")
    lines = [_Line(text) for text in texts]
    whole = _whole_lines(lines, key)
    ours = {index for index, line in enumerate(lines) if index < whole or line.is_ours(key)}
    genuine = head if head and head.is_genuine(key) and name in (None, head.log) else None
    log, run = (genuine.log, genuine.run) if genuine else (name, None)
    problem = (
        _other_log(lines, ours, {"log": log, "run": run, "key": key_id(key)})
        or _broken_chain(lines, whole, ours, genuine)
        or _cut(whole, rest)
        or _no_head(whole, head, genuine)
        or _short(lines, genuine)
    )
    return _verdict([line.record for line in lines[:whole]], problem, genuine)


def _whole_lines(lines: Sequence[_Line], key: bytes) -> int:
    """Return how many records from the first on are what was written, where it was written."""
    prev = BEGINNING
    for number, line in enumerate(lines):
        if not line.follows(prev, key) or line.record.get("seq") != number:
            return number
        prev = line.mac
    return len(lines)


def _verdict(records: list[Record], problem: Problem | None, head: Head | None) -> Verdict:
    return Verdict(
        problem=problem,
        records=len(records),
        run=str(records[0].get("run", "")) if records else "",
        closed=bool(records) and records[-1].get("kind") == "close",
        open_intents=_open_intents(records),
        beyond_head=max(0, len(records) - head.count) if head else len(records),
    )


def _open_intents(records: list[Record]) -> tuple[OpenIntent, ...]:
    waiting: dict[int, Record] = {}
    for record in records:
        if record.get("kind") == "intent":
            waiting[record["seq"]] = record
        elif record.get("kind") == "outcome":
            waiting.pop(record.get("intent", -1), None)
    return tuple(
        OpenIntent(seq, str(record.get("op", "")), str(record.get("route", "")))
        for seq, record in waiting.items()
    )


def _other_log(
    lines: Sequence[_Line], ours: set[int], wanted: Mapping[str, str | None]
) -> Problem | None:
    """Say whether this is another log than is to stand here, going by what its first line says.

    A first line that was merely edited, or that is not the first, is judged with the chain.
    """
    if not lines or (ours and 0 not in ours):
        return None
    first = lines[0].record
    differs = any(first.get(name) != value for name, value in wanted.items() if value)
    if not differs or (ours and first.get("kind") != "genesis"):
        return None
    runs = {lines[index].record.get("run") for index in ours}
    if wanted["run"] in runs:
        return Problem(0, "inserted", f"a record of the run {first.get('run')} stands here")
    return Problem(0, "replaced", "this is not the log that was written here")


def _broken_chain(
    lines: Sequence[_Line], whole: int, ours: set[int], head: Head | None
) -> Problem | None:
    """Say what happened to the first record that is not what was written there."""
    if whole == len(lines):
        return None
    prev = lines[whole - 1].mac if whole else BEGINNING
    after = [lines[index] for index in ours if index > whole]
    later = any(line.record.get("prev") == prev for line in after)
    if whole in ours:
        run = lines[0].record.get("run") if whole else head and head.run
        copied = any(line.mac == lines[whole].mac for line in after)
        return _misplaced(lines[whole].record, whole, run, later=later, copied=copied)
    if later:
        return Problem(whole, "inserted", "a line stands here that was never written")
    if not lines[whole].record:
        return Problem(whole, "damaged-line", "the line is no record")
    return Problem(whole, "edited", "the record is not what was written")


def _misplaced(record: Record, at: int, run: object, *, later: bool, copied: bool) -> Problem:
    """Judge a record that lmboot wrote, but not there; `later` says that the right one follows."""
    seq = record.get("seq")
    if run is not None and record.get("run") != run:
        return Problem(at, "inserted", f"record {seq} of another run stands here")
    if copied or (isinstance(seq, int) and seq < at):
        return Problem(at, "inserted", f"record {seq} stands here, and at its own place")
    if later:
        return Problem(at, "reordered", f"record {seq} stands here, record {at} comes later")
    return Problem(at, "deleted", f"record {seq} stands here, record {at} is gone")


def _cut(whole: int, rest: bytes) -> Problem | None:
    if rest:
        return Problem(whole, "truncated", "the last line is cut off")
    return None


def _no_head(whole: int, head: Head | None, genuine: Head | None) -> Problem | None:
    if genuine:
        return None
    if head:
        return Problem(
            whole, "missing-head", "what is kept of the log's end was edited, or is another's"
        )
    return Problem(whole, "missing-head", "how far the log had come is kept nowhere")


def _short(lines: Sequence[_Line], head: Head | None) -> Problem | None:
    if head is None or not head.count:
        return None
    if len(lines) < head.count:
        gone = head.count - len(lines)
        return Problem(len(lines), "truncated", f"{gone} records are gone from the end")
    if lines[head.seq].mac != head.mac:
        return Problem(head.seq, "replaced", "the log was written anew from here on")
    return None
