"""An operation through the broker against a bare echo of JSON lines; the client is one process.

Both servers live in this process and loop; the client asks once after another over a socket pair
and takes the median. `library_us` is the same operation by `guest_sys.call`. What the broker adds
to an echo: strict reading, two looks at the routes, a record before and after (in memory here).
"""

from __future__ import annotations

import asyncio
import json
import socket
import subprocess
import sys
from pathlib import Path

from lmboot import runtime
from lmboot.runtime.broker import Broker
from lmboot.runtime.operations import Time
from tests.bench.measure import medians
from tests.runtime.brokers import Record, all_routes

ROUNDS = 7
CALLS = 2000
LIBRARY = Path(runtime.__file__).parent / "guest"

CLIENT = """
import os, sys, time, statistics
how, count, fd = sys.argv[1], int(sys.argv[2]), int(os.environ["LMBOOT_FD"])
if how == "library":
    import guest_sys
    def call(number):
        guest_sys.call("time")
else:
    def call(number):
        os.write(fd, b'{"id":%d,"op":"time","args":{}}\\n' % number)
        while not os.read(fd, 65536).endswith(b"\\n"):
            pass
    if how == "broker":
        os.read(fd, 65536)  # the table
taken = []
for number in range(1, count + 1):
    began = time.perf_counter()
    call(number)
    taken.append(time.perf_counter() - began)
print(statistics.median(taken))
"""


class Echo(asyncio.Protocol):
    """Answers each line with what it says, read and written as JSON: the least that one can do."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        assert isinstance(transport, asyncio.Transport)
        self._transport, self._pending = transport, b""

    def data_received(self, data: bytes) -> None:
        """Answer every line."""
        *lines, self._pending = (self._pending + data).split(b"\n")
        for line in lines:
            told = json.loads(line)
            answer = {"id": told["id"], "ok": True, "result": told["args"]}
            self._transport.write(json.dumps(answer).encode() + b"\n")


async def client(how: str, connection: socket.socket) -> float:
    """Run the client to its end; return the median seconds of a call."""
    descriptor = connection.fileno()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", CLIENT, how, str(CALLS)),
        env={
            "LMBOOT_FD": str(descriptor),
            "LMBOOT_ROUTES": "time=HOST",
            "PYTHONPATH": str(LIBRARY),
        },
        pass_fds=[descriptor],
        stdout=subprocess.PIPE,
    )
    connection.close()
    out, _ = await process.communicate()
    return float(out)


async def echoed() -> float:
    """Measure the echo."""
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    loop = asyncio.get_running_loop()
    transport, _ = await loop.connect_accepted_socket(Echo, ours)
    try:
        return await client("echo", theirs)
    finally:
        transport.close()


async def brokered(how: str) -> float:
    """Measure the broker."""
    ours, theirs = socket.socketpair()
    served = asyncio.create_task(Broker(ours, all_routes(), [Time()], Record()).serve())
    try:
        return await client(how, theirs)
    finally:
        await served


async def figures() -> dict[str, float]:
    """Return microseconds and the ratio."""
    echo, broker, library = await medians(
        ROUNDS, echoed, lambda: brokered("broker"), lambda: brokered("library")
    )
    return {
        "echo_us": echo * 1e6,
        "broker_us": broker * 1e6,
        "library_us": library * 1e6,
        "ratio": broker / echo,
    }


def main() -> dict[str, float]:
    """Run the benchmark."""
    return asyncio.run(figures())
