"""Server-sent events: bytes in, events out; pure.

The reader takes what servers really send: any line ending, comments and pings, a byte order mark,
UTF-8 cut anywhere, a last event without its blank line, and llama.cpp's old `error:` field.
"""

from __future__ import annotations

from dataclasses import dataclass

from lmboot.errors import ServerRefused

MAX_EVENT_BYTES = 8 << 20  # a chunk of an answer has a few hundred bytes

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class ServerSentEvent:
    """One event; `name` is `message` where the server gives none."""

    data: str
    name: str = "message"


class SseReader:
    """Turn the bytes of a stream into events, in linear time, whatever way they are cut."""

    def __init__(self, max_event_bytes: int = MAX_EVENT_BYTES) -> None:
        self._max_event_bytes = max_event_bytes
        self._line: list[bytes] = []
        self._data: list[str] = []
        self._name = ""
        self._held_bytes = 0
        self._first_line = True
        self._after_cr = False

    def feed(self, chunk: bytes) -> list[ServerSentEvent]:
        """Return the events that `chunk` completes; ServerRefused when one is too big."""
        if not chunk:
            return []
        *ended, rest = self._with_one_line_ending(chunk).split(b"\n")
        events: list[ServerSentEvent] = []
        for piece in ended:
            self._hold(piece)
            events += self._end_line()
        self._hold(rest)
        return events

    def close(self) -> list[ServerSentEvent]:
        """Return the event that the end of the stream completes, if one was begun."""
        return self._end_line() + self._dispatch()

    def _with_one_line_ending(self, chunk: bytes) -> bytes:
        if self._after_cr and chunk.startswith(b"\n"):
            chunk = chunk[1:]  # the second half of a CRLF that was cut
            self._after_cr = False
        if chunk:
            self._after_cr = chunk.endswith(b"\r")
        return chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n")

    def _hold(self, piece: bytes) -> None:
        if not piece:
            return
        self._line.append(piece)
        self._held_bytes += len(piece)
        if self._held_bytes > self._max_event_bytes:
            raise ServerRefused(
                f"the server sent one event of more than {self._max_event_bytes:,} bytes",
                hint="Ask again; if it happens again, the server or a proxy before it is broken.",
            )

    def _end_line(self) -> list[ServerSentEvent]:
        line = b"".join(self._line)
        self._line.clear()
        if self._first_line:
            line = line.removeprefix(_BYTE_ORDER_MARK)
            self._first_line = False
        if not line:
            return self._dispatch()
        field, _, value = line.decode("utf-8", "replace").partition(":")
        self._take(field, value.removeprefix(" "), size=len(line))
        return []

    def _take(self, field: str, value: str, *, size: int) -> None:
        if field in ("data", "error"):
            self._data.append(value)
        else:
            self._held_bytes -= size  # comments and pings may go on forever
        if field == "event":
            self._name = value
        elif field == "error":
            self._name = "error"

    def _dispatch(self) -> list[ServerSentEvent]:
        data, name = self._data, self._name or "message"
        self._data, self._name, self._held_bytes = [], "", 0
        return [ServerSentEvent("\n".join(data), name)] if data else []
