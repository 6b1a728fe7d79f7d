"""Operations through the broker against a bare echo of JSON lines; the client is one process.

Both servers live in this process and loop, and both sides are in one run. The broker is what a
session has: real grants and their gate, an audit log on disk (written, not fsynced), and a granted
folder with a file of 1 KiB. `ratio` is the median of a call by the median of an echo of the same
request; wanted: at most 3 for each operation. `a_second` are operations one after another,
`window_a_second` with 16 under way; wanted: at least 5,000. `library` is `guest_sys.call`.
"""

from __future__ import annotations

import asyncio
import json
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

from lmboot import runtime
from lmboot.runtime.audit import AuditLog
from lmboot.runtime.broker import Broker
from lmboot.runtime.channel import IN_FLIGHT
from lmboot.runtime.granted import operations
from lmboot.runtime.grants import Grants
from lmboot.runtime.operations import Time
from lmboot.runtime.permits import Permits
from lmboot.runtime.vault import Vault
from tests.bench.audit import NoKeychain
from tests.bench.measure import medians
from tests.runtime.brokers import all_routes
from tests.runtime.persons import Person

ROUNDS = 7
CALLS = 2000
LIBRARY = Path(runtime.__file__).parent / "guest"
OPERATIONS = {
    "time": ("time", {}),
    "stat": ("fs.stat", {"path": "notes/a.txt"}),
    "read": ("fs.read_text", {"path": "notes/a.txt"}),
}

CLIENT = """
import json, os, sys, time, statistics
how, count, op, args, window = sys.argv[1], int(sys.argv[2]), *map(json.loads, sys.argv[3:])
fd = int(os.environ["LMBOOT_FD"])
def line(number):
    return json.dumps({"id": number, "op": op, "args": args}).encode() + b"\\n"
lines = [line(number) for number in range(1, count + 1)]
if how == "library":
    import guest_sys
elif how == "broker":
    os.read(fd, 65536)  # the table
taken, began, got, last = [], time.perf_counter(), 0, b""
if window > 1:
    os.write(fd, b"".join(lines[:window]))
    sent = window
    while got < count:
        last = os.read(fd, 65536)
        answers = last.count(b"\\n")
        got += answers
        if more := lines[sent : sent + answers]:
            os.write(fd, b"".join(more))
            sent += len(more)
else:
    for each in lines:
        at = time.perf_counter()
        if how == "library":
            guest_sys.call(op, **args)
        else:
            os.write(fd, each)
            while not (last := os.read(fd, 65536)).endswith(b"\\n"):
                pass
        taken.append(time.perf_counter() - at)
if how != "library" and b'"ok":true' not in last.replace(b" ", b""):
    sys.exit(f"refused: {last!r}")
all_of_it = (time.perf_counter() - began) / count
print(statistics.median(taken) if taken else all_of_it, all_of_it)
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


class Bench:
    """A granted folder, a log, and what each side took of all of the time, by its name."""

    def __init__(self, folder: Path, grants: Grants, log: AuditLog) -> None:
        """Take what every side shares."""
        self.folder, self.grants, self.log = folder, grants, log
        self.whole: dict[str, list[float]] = {}

    async def client(
        self, how: str, operation: str, connection: socket.socket, window: int = 1
    ) -> float:
        """Run the client to its end; return the median seconds of a call."""
        descriptor = connection.fileno()
        op, args = OPERATIONS[operation]
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", CLIENT, how, str(CALLS)),
            *map(json.dumps, (op, args, window)),
            env={
                "LMBOOT_FD": str(descriptor),
                "LMBOOT_ROUTES": f"{op}=HOST",
                "PYTHONPATH": str(LIBRARY),
            },
            pass_fds=[descriptor],
            stdout=subprocess.PIPE,
        )
        connection.close()
        out, _ = await process.communicate()
        median, whole = map(float, out.split())
        self.whole.setdefault(f"{how} {operation} {window}", []).append(whole)
        return median

    async def echoed(self, operation: str) -> float:
        """Measure the echo."""
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        loop = asyncio.get_running_loop()
        transport, _ = await loop.connect_accepted_socket(Echo, ours)
        try:
            return await self.client("echo", operation, theirs)
        finally:
            transport.close()

    async def brokered(self, operation: str, how: str = "broker", window: int = 1) -> float:
        """Measure the broker."""
        ours, theirs = socket.socketpair()
        performed = [Time(), *operations(self.grants)]
        gate = Permits(self.grants, Person(absent=True))
        broker = Broker(ours, all_routes(), performed, self.log, gate=gate)
        served = asyncio.create_task(broker.serve())
        try:
            return await self.client(how, operation, theirs, window)
        finally:
            await served

    async def of(self, operation: str) -> dict[str, float]:
        """Return one operation's figures."""
        echo, broker, library, window = await medians(
            ROUNDS,
            lambda: self.echoed(operation),
            lambda: self.brokered(operation),
            lambda: self.brokered(operation, "library"),
            lambda: self.brokered(operation, window=IN_FLIGHT),
        )
        in_turn = sorted(self.whole[f"broker {operation} 1"][1:])[ROUNDS // 2]
        return {
            f"{operation}_echo_us": echo * 1e6,
            f"{operation}_us": broker * 1e6,
            f"{operation}_library_us": library * 1e6,
            f"{operation}_ratio": broker / echo,
            f"{operation}_a_second": 1 / in_turn,
            f"{operation}_window_a_second": 1 / window,
        }


async def figures(folder: Path) -> dict[str, float]:
    """Return microseconds, ratios, operations a second."""
    (folder / "notes").mkdir()
    (folder / "notes" / "a.txt").write_text("z" * 1024)
    grants = Grants()
    await grants.add_folder(folder / "notes", "read", name="notes")
    grants.add("time", "time")
    found: dict[str, float] = {}
    vault = Vault(folder / "audit", NoKeychain())
    for operation in OPERATIONS:  # a log has no room for the calls of all
        with AuditLog(vault, operation, posture={}, payload=None) as log:
            found |= await Bench(folder, grants, log).of(operation)
    grants.close()
    return {**found, "at_most_ratio": 3.0, "at_least_a_second": 5000.0}


def main() -> dict[str, float]:
    """Run the benchmark."""
    with tempfile.TemporaryDirectory() as folder:
        return asyncio.run(figures(Path(folder)))
