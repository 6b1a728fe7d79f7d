"""An empty call of a worker against a bare echo of JSON lines by a bare Python child.

Both children hang on the same kind of socket pair, and both sides are measured in this process and
loop. `echo_us` blocks in recv, as the least that one can do; `loop_us` is the same echo awaited
with asyncio's own `sock_recv`. What a call adds: the sandbox, strict reading, a limit of time, the
output that has to be taken before it returns. `replace_ms` is a call to a worker that was lost.
"""

from __future__ import annotations

import asyncio
import json
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from time import perf_counter

from lmboot.errors import WorkerFault
from lmboot.runtime.worker import Worker

WARM, CALLS, ROUNDS, LOSSES = 200, 1000, 7, 10
SANDBOXES = ("bubblewrap", "landlock")
SOURCE = b"import os\ndef empty(): pass\ndef end(): os._exit(1)\n"
LINE = json.dumps({"id": 1, "function": "m:empty", "args": [], "named": {}}).encode() + b"\n"

ECHO = """
import json, socket, sys
channel = socket.socket(fileno=int(sys.argv[1]))
while data := channel.recv(65536):
    told = json.loads(data)
    channel.sendall(json.dumps({"id": told["id"], "value": None}).encode() + b"\\n")
"""


@asynccontextmanager
async def echoing() -> AsyncIterator[socket.socket]:
    """Start the bare child; give the socket to it."""
    ours, theirs = socket.socketpair()
    words = [sys.executable, "-I", "-S", "-c", ECHO, str(theirs.fileno())]
    child = subprocess.Popen(words, pass_fds=[theirs.fileno()])  # noqa: ASYNC220 (a fork)
    theirs.close()
    try:
        yield ours
    finally:
        ours.close()
        child.wait()


def blocking(connection: socket.socket, count: int) -> list[float]:
    """Return the seconds of each echo."""
    connection.setblocking(True)
    taken = []
    for _ in range(count):
        began = perf_counter()
        connection.sendall(LINE)
        json.loads(connection.recv(65536))
        taken.append(perf_counter() - began)
    return taken


async def awaiting(connection: socket.socket, count: int) -> list[float]:
    """Return the seconds of each echo, by way of the loop."""
    connection.setblocking(False)
    loop, taken = asyncio.get_running_loop(), []
    for _ in range(count):
        began = perf_counter()
        await loop.sock_sendall(connection, LINE)
        json.loads(await loop.sock_recv(connection, 65536))
        taken.append(perf_counter() - began)
    return taken


async def calling(worker: Worker, count: int) -> list[float]:
    """Return the seconds of each call."""
    taken = []
    for _ in range(count):
        began = perf_counter()
        await worker.call("m:empty")
        taken.append(perf_counter() - began)
    return taken


async def losing(worker: Worker) -> float:
    """Return the median seconds of a call that gets a new process."""
    taken = []
    for _ in range(LOSSES):
        await worker.call("m:empty")
        await asyncio.sleep(0.2)  # the next sandbox has been set up by now
        try:
            await worker.call("m:end")
        except WorkerFault:
            began = perf_counter()
            await worker.call("m:empty")
            taken.append(perf_counter() - began)
    return sorted(taken)[len(taken) // 2]


async def compared(sandbox: str) -> dict[str, float]:
    """Return the figures of one sandbox, in microseconds; the sides take turns."""
    echo: list[float] = []
    loop: list[float] = []
    ours: list[float] = []
    worker = await Worker.start({"m.py": SOURCE}, sandbox=sandbox)
    try:
        async with echoing() as connection:
            for number in range(ROUNDS + 1):
                count = CALLS if number else WARM
                rounds = (
                    blocking(connection, count),
                    await awaiting(connection, count),
                    await calling(worker, count),
                )
                for side, taken in zip((echo, loop, ours), rounds, strict=True):
                    side.extend(taken if number else [])
        replaced = await losing(worker)
    finally:
        await worker.close()
    for side in (echo, loop, ours):
        side.sort()
    return {
        "echo_us": _at(echo, 0.5),
        "loop_us": _at(loop, 0.5),
        "call_us": _at(ours, 0.5),
        "call_p99_us": _at(ours, 0.99),
        "echo_p99_us": _at(echo, 0.99),
        "ratio": _at(ours, 0.5) / _at(echo, 0.5),
        "ratio_to_loop": _at(ours, 0.5) / _at(loop, 0.5),
        "replace_ms": replaced * 1e3,
    }


def _at(taken: list[float], share: float) -> float:
    return taken[int(len(taken) * share)] * 1e6


async def figures() -> dict[str, float]:
    """Return the figures of each sandbox, and what the median of a call is meant to be."""
    found = {name: await compared(name) for name in SANDBOXES}
    rows = {f"{name} {key}": value for name, each in found.items() for key, value in each.items()}
    return {**rows, "call_us_at_most": 150.0}


def main() -> dict[str, float]:
    """Run the benchmark."""
    return asyncio.run(figures())
