"""The channel's protocol: bytes of a guest in, requests and faults out; answers to bytes; pure.

One frame is one line of UTF-8 JSON, at most 1 MiB before its newline:

    {"id": 1, "op": "time", "args": {}}                                          from the guest
    {"id": 1, "ok": true, "result": ..., "route": "HOST", "emulated": false, "version": 1}
    {"id": 1, "ok": false, "error": {"code": "denied", "message": "..."}, "version": 1}
    {"push": "routes", "routes": {"time": "HOST", ...}, "version": 2}            unasked

A guest may write anything: whatever is no request becomes a Fault, and too much of that Closed.
Nothing of a guest's raises. `id` null in an error: the line was refused before it had a usable id.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from lmboot.runtime.policy import Route
from lmboot.strictjson import MAX_INTEGER, Broken, Budget, decode, encoder, quick
from lmboot.text import brief

MAX_FRAME_BYTES = 1 << 20
ROOM_BYTES = MAX_FRAME_BYTES - 1024  # for a result; the rest of its frame is less than that
MAX_FAULTS = 20
MAX_VALUES = 10_000  # of one frame: no operation takes more, and so many are read in little time

_OPERATION = re.compile(r"[a-z][a-z0-9_.]{0,63}")
_FIELDS = frozenset({"id", "op", "args"})
_encode = encoder(ascii_only=False)
_encode_ascii = encoder()


@dataclass(frozen=True, slots=True)
class Request:
    """What a guest asks for: well formed, and nothing more is known of it.

    `size` is that of its line in bytes.
    """

    id: int
    op: str
    args: dict[str, Any]
    size: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Fault:
    """A line that is no request; `id` is its own if that was usable. The message may be shown."""

    id: int | None
    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Closed:
    """The last event: the guest has broken the protocol too often, or too badly."""

    code: str
    message: str


class Untold(Exception):
    """A result can't be told; the message may be shown."""

    def __init__(self, code: str, message: str) -> None:
        """Take why, in one word and in a sentence."""
        super().__init__(message)
        self.code, self.message = code, message


class Frames:
    """Turns a guest's bytes into requests; holds one unfinished line at most."""

    def __init__(self) -> None:
        self._pending = bytearray()
        self._last_id = 0
        self._faults = 0
        self.closed = False

    @property
    def partial(self) -> bool:
        """Whether a line has begun and not ended."""
        return bool(self._pending)

    def feed(self, data: bytes) -> list[Request | Fault | Closed]:
        """Return what these bytes complete, in order; after Closed nothing more, ever."""
        events: list[Request | Fault | Closed] = []
        if self.closed:
            return events
        for line in self._lines(data):
            event = self._oversized() if line is None else self._event(line)
            events.append(event)
            if isinstance(event, Fault):
                self._faults += 1
            if self._faults >= MAX_FAULTS and not self.closed:
                events.append(Closed("too_many_faults", f"{MAX_FAULTS} lines were no requests"))
            if isinstance(events[-1], Closed):
                self._close()
                break
        return events

    def _lines(self, data: bytes) -> Iterator[bytes | None]:
        """Yield each line that ends in these bytes; None for one that is too long."""
        if not self._pending and 0 <= data.find(b"\n") == len(data) - 1 < MAX_FRAME_BYTES:
            yield data[:-1]  # one line, as most come
            return
        start = 0
        while (end := data.find(b"\n", start)) >= 0:
            whole = len(self._pending) + end - start
            yield None if whole > MAX_FRAME_BYTES else bytes(self._pending) + data[start:end]
            self._pending.clear()
            start = end + 1
        if len(self._pending) + len(data) - start > MAX_FRAME_BYTES:
            yield None
        else:
            self._pending += data[start:]

    def _oversized(self) -> Closed:
        return Closed("too_large", f"a line is longer than {MAX_FRAME_BYTES:,} bytes")

    def _close(self) -> None:
        self.closed = True
        self._pending = bytearray()

    def _event(self, line: bytes) -> Request | Fault:
        try:
            members = _members(line)
        except _Refused as refused:
            return Fault(None, refused.code, refused.message)
        number = members.get("id")
        if type(number) is not int or not 0 < number <= MAX_INTEGER:
            return Fault(None, "bad_id", "the id is not a whole number from 1 to 2^53")
        if number <= self._last_id:  # no id in the answer: it may be another request's
            return Fault(None, "bad_id", "the id does not follow the last one")
        self._last_id = number
        try:
            return _request(number, members, len(line) + 1)
        except _Refused as refused:
            return Fault(number, refused.code, refused.message)


class _Refused(Exception):
    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code, self.message = code, message


def _members(line: bytes) -> dict[str, Any]:
    """Return the members of the one object that a line is; raise _Refused."""
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError:
        raise _Refused("encoding", "the line is not UTF-8") from None
    if (members := quick(text)) is not None:
        return members
    if not text.startswith("{"):
        raise _Refused("syntax", "the line is not a JSON object")
    try:
        decoded = decode(text, budget=Budget(MAX_VALUES))
    except Broken as broken:
        raise _Refused(broken.code, brief(f"can't be read: {broken.message}")) from None
    if text[decoded.end :].strip(" \t\r"):
        raise _Refused("syntax", "something follows the object")
    if decoded.problems:
        first = decoded.problems[0]
        raise _Refused(first.code, brief(f"{first.where}: {first.message}"))
    return decoded.value


def _request(number: int, members: dict[str, Any], size: int) -> Request:
    """Return the request that an object with a valid id is; raise _Refused."""
    if not members.keys() <= _FIELDS:
        unknown = min(members.keys() - _FIELDS)
        raise _Refused("unknown_field", f"there is no field {brief(unknown, 60)!r}")
    op, args = members.get("op"), members.get("args")
    if not isinstance(op, str) or not _OPERATION.fullmatch(op):
        shown = brief(op, 60) if isinstance(op, str) else "no text"
        raise _Refused("bad_operation", f"this is no name of an operation: {shown!r}")
    if not isinstance(args, dict):
        raise _Refused("bad_arguments", "args is not an object")
    return Request(number, op, args, size)


def reply(number: int, result: Any, route: Route, *, emulated: bool, version: int) -> bytes:
    """Return a result's frame; raise Untold for one that is no JSON, or too large for a frame."""
    message = {"id": number, "ok": True, "result": result, "route": route}
    message |= {"emulated": emulated, "version": version}
    try:
        frame = _frame(message)
    except (TypeError, ValueError, RecursionError):
        raise Untold("failed", "the result can't be written as JSON") from None
    if len(frame) > MAX_FRAME_BYTES:
        raise Untold("too_large", f"the result is longer than {MAX_FRAME_BYTES:,} bytes")
    return frame


def fitting(text: str) -> str:
    """Return a text, or the beginning of it, that a frame has room for however it is escaped."""
    while 6 * len(text) > ROOM_BYTES and len(_frame(text)) > ROOM_BYTES:  # 6: `\u0001`
        text = text[: len(text) // 2]
    return text


def error(
    number: int | None, code: str, message: str, *, route: Route | None = None, version: int
) -> bytes:
    """Return an error's frame; the message is cut to one short line."""
    told = {"code": code, "message": brief(message)}
    shown = {} if route is None else {"route": route}
    return _frame({"id": number, "ok": False, "error": told, **shown, "version": version})


def push(routes: Mapping[str, Route], version: int) -> bytes:
    """Return the frame that tells the guest the whole table of routes."""
    return _frame({"push": "routes", "routes": dict(routes), "version": version})


def _frame(message: dict[str, Any] | str) -> bytes:
    """Return one line; half a surrogate pair in it is escaped, since UTF-8 can't have it."""
    try:
        return _encode(message).encode("utf-8") + b"\n"
    except UnicodeEncodeError:
        return _encode_ascii(message).encode("ascii") + b"\n"
