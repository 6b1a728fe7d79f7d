"""A child of `lmboot.windows_child` on this system: its process is real, its job is not.

What `windows_process.Supervisor` does on Windows, with descriptors in place of handles.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import subprocess
import threading
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path

from lmboot.process import Ended, Output, new_file_in_memory, write_once
from lmboot.runtime.policy import Limits
from lmboot.runtime.run import watched
from lmboot.windows import KILLED
from lmboot.windows_child import Child, Pipe

INTO_CHILD = (0, 4, 5)  # of the pipes: stdin, what the broker says, interrupts


class FakeJob:
    """Holds one process; tells what a test has it tell."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        self.limits: dict[str, float | None] = {}
        self.messages: list[int] = []
        self.cpu = 0.0

    def limit(self, *, memory: float | None, processes: float | None, cpu: float | None) -> None:
        self.limits = {"memory": memory, "processes": processes, "cpu": cpu}

    def terminate(self) -> None:
        self._process.kill()

    def next_message(self, milliseconds: int) -> int | None:
        time.sleep(milliseconds / 1000 / 10)
        return self.messages.pop() if self.messages else None

    def cpu_seconds(self) -> float:
        return self.cpu

    def active(self) -> int:
        return int(self._process.poll() is None)


class Started:
    """A process as the supervisor would have started it, and what goes with it.

    `argv` may say `{into}` and `{out}`, the numbers of its channel; with six pipes, the last is
    for interrupts. `payload` is what it unpacks.
    """

    def __init__(
        self,
        argv: Sequence[str],
        folder: Path,
        payload: bytes,
        *,
        pipes: int = 5,
        env: Mapping[str, str] | None = None,
    ) -> None:
        pairs = [os.pipe() for _ in range(pipes)]
        self.ends = [pair[1] if n in INTO_CHILD else pair[0] for n, pair in enumerate(pairs)]
        child = [pair[0] if n in INTO_CHILD else pair[1] for n, pair in enumerate(pairs)]
        out, *into = map(str, child[3:])
        channel = ",".join((into[0], out, *into[1:]))
        self.process = subprocess.Popen(
            [word.format(into=into[0], out=out) for word in argv],
            stdin=child[0],
            stdout=child[1],
            stderr=child[2],
            pass_fds=child[3:],
            cwd=folder,
            env=None if env is None else {**env, "LMBOOT_PIPES": channel},
        )
        for descriptor in child:
            os.close(descriptor)
        self.job = FakeJob(self.process)
        self.channel, self.theirs = socket.socketpair()
        self.payload = new_file_in_memory()
        write_once(self.payload, b"n" * 32 + payload)
        self._closing = threading.Lock()

    def child(self, bounds: Mapping[str, int]) -> Child:
        """Return it once its launcher waits."""
        link = Pipe(self.ends[3], self.ends[4])
        link.await_ready("nonce")
        return Child(
            self,
            asyncio.get_running_loop(),
            self.job,
            (self.ends[0], self.ends[1], self.ends[2]),
            link,
            self.theirs,
            self.payload,
            bounds,
            *self.ends[5:],
        )

    def exit_code(self) -> int | None:
        code = self.process.poll()
        return KILLED if code is not None and code < 0 else code

    def close_end(self, descriptor: int) -> None:
        with self._closing:
            if descriptor not in self.ends:
                return
            self.ends.remove(descriptor)
        os.close(descriptor)

    async def close(self) -> None:
        if self.payload < 0:
            return
        self.process.wait()
        self.theirs.close()
        self.channel.close()
        os.close(self.payload)
        self.payload = -1
        for descriptor in list(self.ends):
            self.close_end(descriptor)


@contextlib.asynccontextmanager
async def begun(
    started: Started,
    bounds: Mapping[str, int],
    limits: Limits,
    engine: Mapping[str, float] | None = None,
) -> AsyncIterator[Child]:
    """Let it run; whatever becomes of it, it is released at the end."""
    made = started.child(bounds)
    try:
        assert await made.begin(started.channel, watched(limits, engine or {})) == b""
        yield made
    finally:
        await made.close()
        await made.close()


async def outcome(of: Child) -> tuple[bytes, bytes, Ended]:
    """Return what a child has written, and its end."""
    written = {"out": b"", "err": b""}
    async with asyncio.timeout(60):
        async for event in of.events():
            if isinstance(event, Output):
                written[event.stream] += event.data
            else:
                return written["out"], written["err"], event
    raise AssertionError("its events always close with Ended")
