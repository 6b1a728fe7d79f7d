"""Requests, damaged at random and cut anywhere, through the channel's protocol, then to brokers.

Nothing may raise, nothing may take long, a request that was not written is never read, and one
that was is never lost while the channel stands. Memory stays flat. A hundredth as many go over
real sockets to brokers, one channel after another, beside a run that is served all the while.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import socket
from time import process_time
from typing import Any

from lmboot.runtime.frames import Closed, Fault, Frames, Request
from lmboot.runtime.operations import Time
from lmboot.strictjson import MAX_INTEGER
from tests.runtime.brokers import Guest, codes, scene
from tests.soak.held import flat, memory_bytes

ROUNDS = 1_000_000
WARM = 20_000  # frames until all is loaded that takes memory
MAX_SECONDS = 1.0  # of processor time, for one frame of a few hundred bytes

REQUESTS: list[tuple[str, dict[str, Any]]] = [
    ("time", {}),
    ("fs.read_text", {"path": "naïve/a b.txt", "offset": 0, "size": 65536}),
    ("fs.write_text", {"path": "a.txt", "text": 'x = "</>"\n\t😀\\' * 9}),
    ("spawn", {"argv": ["/usr/bin/true", "", "-c"], "deep": [[[{"a": [1.5, -2, None, True]}]]]}),
]
PIECES = [
    *(b'"', b"\\", b"{", b"}", b"[", b"]", b":", b",", b"0", b"-", b"e", b"\n", b"\r", b"\0"),
    *(b"\xff", b"\xc3", b"\xed\xa0\x80", b"\xef\xbb\xbf", b"null", b"true", b"NaN", b"1e999"),
    *(b"\\u0000", b"\\ud800", b'"id":', b'"op":"time"', b'"args":{}', b"[" * 40, b"9" * 20),
]


def frame(number: int, rng: random.Random) -> tuple[bytes, Request]:
    """Return a good line and the request that it is."""
    op, args = rng.choice(REQUESTS)
    members = {"id": number, "op": op, "args": args}
    line = json.dumps(members, ensure_ascii=rng.random() < 0.5).encode() + b"\n"
    return line, Request(number, op, dict(args))


def damaged(line: bytes, rng: random.Random) -> bytes:
    """Return a line with a few random changes; it may be several by now."""
    for _ in range(rng.randrange(1, 4)):
        at = rng.randrange(len(line))
        to = min(len(line), at + rng.choice((0, 1, 1, 2, 8)))
        line = line[:at] + rng.choice((b"", rng.choice(PIECES), line[at:to] * 2)) + line[to:]
        line = line or b"\n"
    return line


def feed(frames: Frames, data: bytes, rng: random.Random) -> list[Request | Fault | Closed]:
    """Feed bytes in random pieces; return all events."""
    events: list[Request | Fault | Closed] = []
    at = 0
    while at < len(data):
        to = at + rng.choice((1, 7, 60, 500, 16384))
        events += frames.feed(data[at:to])
        at = to
    return events


def id_of(event: Request | Fault | Closed) -> int:
    """Return the id that an event has used up, or 0."""
    return 0 if isinstance(event, Closed) else event.id or 0


def parsed(count: int, rng: random.Random) -> dict[str, float]:
    """Feed `count` frames, a tenth of them damaged; return what came of them."""
    frames, number, slowest = Frames(), 0, 0.0
    figures = {"frames": count, "requests": 0, "faults": 0, "closed": 0}
    for _ in range(count):
        number += 1
        line, wanted = frame(number, rng)
        good = rng.random() < 0.9
        data = line if good else damaged(line, rng) + b"\n"
        began = process_time()
        events = feed(frames, data, rng)
        slowest = max(slowest, process_time() - began)
        if good and events != [wanted]:
            raise AssertionError(f"{data!r} became {events!r}")
        if not good:
            number = max(number, *map(id_of, events))  # a damaged id uses up those before it
        figures["requests"] += sum(isinstance(event, Request) for event in events)
        figures["faults"] += sum(isinstance(event, Fault) for event in events)
        if frames.closed or number > MAX_INTEGER // 2:
            figures["closed"] += frames.closed
            frames, number = Frames(), 0
    if slowest > MAX_SECONDS:
        raise AssertionError(f"a frame took {slowest:.1f} s")
    return {**figures, "slowest_ms": slowest * 1e3}


async def served(count: int, rng: random.Random) -> dict[str, float]:
    """Send `count` frames to brokers, most of them damaged; a run beside them is answered."""
    sent, channels, ends = 0, 0, {"hung_up", "lost", "too_many_faults", "too_large"}
    async with scene(Time()) as other:
        while sent < count:
            channels += 1
            async with scene(Time()) as wild:
                for number in range(1, rng.randrange(2, 60)):
                    line, _ = frame(number, rng)
                    with contextlib.suppress(ConnectionError):  # it was closed for its faults
                        await wild.guest.write(damaged(line, rng) if rng.random() < 0.8 else line)
                    sent += 1
                if codes([await other.guest.call("time")]) != ["ok"]:
                    raise AssertionError("a run beside the damaged one was not served")
                with contextlib.suppress(OSError):
                    wild.guest.socket.shutdown(socket.SHUT_WR)
                reading = asyncio.create_task(_read_all(wild.guest))
                reason = await asyncio.wait_for(wild.served, 30)
                await reading
                if reason not in ends:
                    raise AssertionError(f"a channel ended with {reason}")
    return {"sent": sent, "channels": channels}


async def _read_all(guest: Guest) -> None:
    with contextlib.suppress(EOFError, ConnectionError):
        while True:
            await guest.line()


def main(count: int = ROUNDS) -> dict[str, float]:
    """Run both; raise AssertionError for whatever should not have come of it."""
    rng = random.Random(72)
    parsed(min(count, WARM), rng)
    asyncio.run(served(min(count, WARM) // 100, rng))
    before = memory_bytes()
    figures = parsed(count, rng) | asyncio.run(served(count // 100, rng))
    return {**figures, "grown_kb": flat(before)}
