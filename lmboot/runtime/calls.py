"""A worker's protocol: calls to bytes, a worker's bytes to answers; pure.

One frame is one line of UTF-8 JSON, at most 16 MiB; one call, then one answer to it:

    {"id": 1, "function": "hooks:before", "args": [...], "named": {...}}       to the worker
    {"id": 1, "value": ...}                                          what the function returned
    {"id": 1, "raised": {"type": "ValueError", "message": "...", "traceback": "..."}}

A worker may write anything. Whatever is no answer to the call under way is a Breach, the first of
which is the worker's end: it has no second chance, because a call has no second answer.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lmboot.errors import UsageFault
from lmboot.strictjson import MAX_DEPTH, MAX_INTEGER, Broken, Budget, decode, quick
from lmboot.text import brief, plain

MAX_FRAME_BYTES = 16 << 20
MAX_VALUES = 100_000  # of one frame; read in half a second at worst
GREETING = b'{"id":0}\n'  # answered by null: the worker is there

_FUNCTION = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*:[A-Za-z_]\w*", re.ASCII)
_FIELDS_RAISED = ("type", "message", "traceback")
_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode


class Breach(Exception):
    """What a worker wrote is no answer to its call."""


@dataclass(frozen=True, slots=True)
class Returned:
    """What the function returned."""

    value: Any


@dataclass(frozen=True, slots=True)
class Raised:
    """What the function raised, as its worker tells it, made harmless for a screen."""

    kind: str
    message: str
    traceback: str


def request(number: int, function: str, args: Sequence[Any], named: Mapping[str, Any]) -> bytes:
    """Return a call's frame; raise UsageFault for what can't be told as strict JSON."""
    if not _FUNCTION.fullmatch(function):
        raise UsageFault(
            f"{brief(function, 80)!r} is no name of a function",
            hint="Write it as module:function.",
        )
    message = {"id": number, "function": function, "args": [*args], "named": {**named}}
    try:
        found = flaw(message)
        frame = b"" if found else _encode(message).encode() + b"\n"
    except UnicodeEncodeError:
        found, frame = "half of a surrogate pair", b""
    if len(frame) > MAX_FRAME_BYTES:
        found = f"they are longer than {MAX_FRAME_BYTES:,} bytes"
    if found:
        raise UsageFault(f"the arguments of {function} can't be told: {found}")
    return frame


def flaw(message: object) -> str:
    """Return what keeps a message from being strict JSON within the limits; "" if nothing does.

    Level by level, so that neither depth nor a value that contains itself can exhaust anything.
    """
    level, count = [message], 0
    for depth in range(MAX_DEPTH + 1):
        count += len(level)
        if count > MAX_VALUES:
            return f"there are more than {MAX_VALUES:,} values"
        below: list[object] = []
        for value in level:
            if depth == MAX_DEPTH and isinstance(value, list | tuple | dict):
                return f"there are more than {MAX_DEPTH} levels"
            if isinstance(value, list | tuple):
                below += value
            elif isinstance(value, dict):
                if not all(isinstance(key, str) for key in value):
                    return "a key is no text"
                below += value.values()
            elif not _is_plain(value):
                return f"{type(value).__name__} is no JSON value, or out of its range"
        level = below
    return ""


def _is_plain(value: object) -> bool:
    if isinstance(value, int):  # a bool too
        return -MAX_INTEGER <= value <= MAX_INTEGER
    if isinstance(value, float):
        return math.isfinite(value)
    return value is None or isinstance(value, str)


class Line:
    """Puts one line together from pieces; holds no more than one may have."""

    def __init__(self) -> None:
        self._pending = bytearray()

    def feed(self, data: bytes) -> bytes | None:
        """Return the line once it is whole, without its end; raise Breach if more follows."""
        end = data.find(b"\n")
        if len(self._pending) + len(data) > MAX_FRAME_BYTES:
            raise Breach(f"it wrote more than {MAX_FRAME_BYTES:,} bytes")
        if end < 0:
            self._pending += data
            return None
        if end != len(data) - 1:
            raise Breach("something follows its answer")
        if not self._pending:
            return data[:-1]
        line = bytes(self._pending) + data[:-1]
        self._pending.clear()
        return line


def answer(line: bytes, number: int) -> Returned | Raised:
    """Return the answer to the call of this number that a line is; raise Breach."""
    members = _members(line)
    if type(members.get("id")) is not int or members["id"] != number:
        raise Breach("it answered a call that was not made")
    if members.keys() == {"id", "value"}:
        return Returned(members["value"])
    raised = members.get("raised")
    if members.keys() != {"id", "raised"} or not isinstance(raised, dict):
        raise Breach("its answer has other fields than an answer has")
    kind, message, traceback = (raised.pop(name, None) for name in _FIELDS_RAISED)
    texts = (kind, message, traceback)
    if raised or not all(isinstance(text, str) for text in texts):
        raise Breach("its exception has other fields than an exception has")
    return Raised(brief(kind, 80), brief(message), plain(traceback[:20_000]))


def _members(line: bytes) -> dict[str, Any]:
    """Return the members of the one object that a line is; raise Breach."""
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError:
        raise Breach("its answer is not UTF-8") from None
    few = text.count(",") < MAX_VALUES  # so many values at most, however long the texts
    if few and (members := quick(text, MAX_FRAME_BYTES)) is not None and text.startswith("{"):
        return members
    if not text.startswith("{"):
        raise Breach("its answer is not a JSON object")
    try:
        decoded = decode(text, budget=Budget(MAX_VALUES))
    except Broken as broken:
        raise Breach(f"its answer can't be read: {brief(broken.message)}") from None
    if decoded.problems:
        first = decoded.problems[0]
        raise Breach(f"its answer can't be read: {brief(f'{first.where}: {first.message}')}")
    if text[decoded.end :]:
        raise Breach("something follows the object")
    return decoded.value
