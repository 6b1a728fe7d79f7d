"""What is held by a job on Windows, as lmboot speaks to it: `process.Child`'s twin, in threads.

Whatever blocks has a thread of the child's own: two for its output, one for its stdin, two for its
channel, one for interrupts, one that watches. Nothing here is Windows' own: the job is a `Job`; so
all of it is tested on any system, with pipes and processes that are real and a job that is not.

What Windows lacks: signals. `interrupt` is a byte on a pipe of its own, where an engine listens;
across an AppContainer's border it does nothing. `stop` ends the job when the time for a SIGTERM's
answer is over.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import threading
import time
from collections.abc import AsyncIterator, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Literal, Protocol

from lmboot import windows
from lmboot.pipes import CHUNK, MAX_UNREAD_BYTES
from lmboot.process import BEGIN_SECONDS, Ended, Output, StartFailed
from lmboot.system import leads_elsewhere

QUIET_SECONDS = 1.2  # from the closing of stdin to the end of the job: there is no SIGTERM
GONE_SECONDS = 0.7  # from then to the verdict; both stay below the contract's 2.0 s
LOOK_SECONDS = 0.1
DISK_LOOK_SECONDS = 1.0
READY_SECONDS = 20.0
MOST_WAITING_BYTES = 1 << 17  # of what nobody has taken yet: more than two pieces


class Job(Protocol):
    """What holds a tree of processes: `windows.Job`."""

    def limit(self, *, memory: float | None, processes: float | None, cpu: float | None) -> None:
        """Bound all in it together: bytes, a number, seconds."""

    def terminate(self) -> None:
        """End all in it at once."""

    def next_message(self, milliseconds: int) -> int | None:
        """Wait for what it tells; None when it told nothing."""

    def cpu_seconds(self) -> float:
        """Return what all in it have used."""

    def active(self) -> int:
        """Return how many processes are in it."""


class Held(Protocol):
    """What a child was started from, and what goes with it."""

    def exit_code(self) -> int | None:
        """Return the status of the runtime's first process; None while it runs."""

    def close_end(self, descriptor: int) -> None:
        """Close one of the host's ends of a pipe, once; from any thread."""

    async def close(self) -> None:
        """Release everything; idempotent."""


class Limits:
    """What is watched here, because no job bounds it: time, and what lies in the folders; pure.

    `now` is in seconds; a limit that is None is none.
    """

    def __init__(self, limits: Mapping[str, float | None], born: float) -> None:
        """Begin to count at `born`."""
        self._limits, self._born = limits, born

    def exceeded(
        self, now: float, *, cpu: float, held: Mapping[str, int], bounds: Mapping[str, int]
    ) -> str | None:
        """Return the name of a limit that is exceeded; `held` and `bounds` are bytes by folder."""
        ceilings = {"wall": now - self._born, "cpu": cpu}
        for name, used in ceilings.items():
            ceiling = self._limits.get(name)
            if ceiling is not None and used > ceiling:
                return name
        return "disk" if any(held.get(name, 0) > most for name, most in bounds.items()) else None


def held_in(folder: str) -> int:
    """Return how many bytes the files beneath a folder have; no link is followed."""
    held = 0
    waiting = [folder]
    while waiting:
        with contextlib.suppress(OSError), os.scandir(waiting.pop()) as entries:
            for entry in entries:
                with contextlib.suppress(OSError):
                    found = entry.stat(follow_symlinks=False)
                    held += found.st_size
                    if entry.is_dir(follow_symlinks=False) and not leads_elsewhere(found):
                        waiting.append(entry.path)
    return held


class Lines:
    """Takes lines from pieces of bytes, and keeps what comes behind them; pure."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self.rest = b""

    def take(self) -> bytes | None:
        """Return the first line without its end; None when it is not whole yet."""
        line, end, rest = self.rest.partition(b"\n")
        if not end:
            return None
        self.rest = rest
        return line

    def feed(self, data: bytes) -> None:
        """Take a piece; StartFailed at the end of all, and for a line that has none."""
        self.rest += data
        if not data or len(self.rest) > MOST_WAITING_BYTES:
            raise StartFailed("the sandbox ended, or gave no proper sign of life")


class Child:
    """A child: its beginning, its output, its stdin, its end."""

    def __init__(
        self,
        held: Held,
        loop: asyncio.AbstractEventLoop,
        job: Job,
        stdio: tuple[int, int, int],
        link: Pipe,
        theirs: socket.socket,
        payload: int,
        bounds: Mapping[str, int],
        interrupts: int | None = None,
    ) -> None:
        """Take over a process whose launcher waits; on `interrupts`, a pipe, it hears of them."""
        self._held, self._loop, self._job = held, loop, job
        self._link, self._theirs = link, theirs
        self._payload, self._bounds = payload, bounds
        self._interrupts = interrupts
        self._threads = ThreadPoolExecutor(6, "lmboot-runtime")
        self._writer = ThreadPoolExecutor(1, "lmboot-stdin")  # one: what comes first goes first
        self._streams: dict[Literal["out", "err"], int] = {"out": stdio[1], "err": stdio[2]}
        self._stdin, self._unread = stdio[0], 0
        self._stdin_open = True
        self._gone: asyncio.Future[Ended] = loop.create_future()
        self._limit: str | None = None
        self._limits: Limits | None = None
        self._closing = threading.Event()
        self.folders: list[int] = []
        self._threads.submit(self._watch)

    @property
    def gone(self) -> bool:
        """Whether the child has ended."""
        return self._gone.done()

    async def begin(self, channel: socket.socket, limits: Mapping[str, float | None]) -> bytes:
        """Let the launcher inside go on; raise StartFailed with its reason if it does not."""
        del channel  # what comes from there is handed on by us
        names = ("memory", "processes", "cpu")
        await asyncio.to_thread(self._job.limit, **{name: limits.get(name) for name in names})
        answer = await asyncio.to_thread(self._hand_over)
        if answer != b"RUN":
            text = answer.decode("utf-8", "replace").removeprefix("FAULT").strip()
            raise StartFailed(text or "the runtime's launcher ended")
        self._limits = Limits(limits, time.monotonic())
        self._threads.submit(self._to_guest)
        self._threads.submit(self._from_guest)
        return b""

    def _hand_over(self) -> bytes:
        os.lseek(self._payload, 0, os.SEEK_SET)
        with open(os.dup(self._payload), "rb") as file:
            data = file.read()
        self._link.write(b"GO %d\n" % len(data))
        self._link.write(data)
        return self._link.line(BEGIN_SECONDS)

    async def events(self) -> AsyncIterator[Output | Ended]:
        """Yield what the child writes, then Ended. What is not asked for is not read."""
        reading = {self._reading(stream): stream for stream in self._streams}
        while reading:
            done, _ = await asyncio.wait(reading, return_when=asyncio.FIRST_COMPLETED)
            for future in done:
                stream, data = reading.pop(future), future.result()
                if data:
                    yield Output(stream, data)
                    reading[self._reading(stream)] = stream
        yield await asyncio.shield(self._gone)

    def read(self) -> Output | None:
        """Return None: here, what a pipe holds can't be had without waiting for it.

        Only who calls functions in a runtime asks for it, and Windows has no workers.
        """
        return None

    def _reading(self, stream: Literal["out", "err"]) -> asyncio.Future[bytes]:
        read = partial(read_from, self._streams[stream])
        return self._loop.run_in_executor(self._threads, read)

    async def send(self, data: bytes) -> bool:
        """Queue bytes for stdin; False when that is closed, or over 1 MiB waits already."""
        if not self._stdin_open or self._unread > MAX_UNREAD_BYTES:
            return False
        self._unread += len(data)
        writing = self._loop.run_in_executor(self._writer, write_to, self._stdin, data)
        writing.add_done_callback(partial(self._written, len(data)))
        return True

    def _written(self, count: int, done: asyncio.Future[bool]) -> None:
        self._unread -= count
        if done.cancelled() or not done.result():
            self._stdin_open = False
        if not (self._stdin_open or self._unread):
            self._held.close_end(self._stdin)

    def interrupt(self) -> None:
        """Interrupt the program in an engine; across a container's border nothing can be said."""
        if self._interrupts is not None and not self.gone:
            self._loop.run_in_executor(self._threads, write_to, self._interrupts, b"!")

    async def stop(self) -> None:
        """Close stdin; give it time to end by itself; end the job. Returns when it is gone."""
        self._close_stdin()
        await asyncio.wait([self._gone], timeout=QUIET_SECONDS)
        self._job.terminate()
        await asyncio.shield(self._gone)

    async def end(self, limit: str) -> None:
        """End the job because of a limit that the caller judges."""
        self._limit = self._limit or limit
        self._job.terminate()
        await asyncio.shield(self._gone)

    async def close(self) -> None:
        """End what is left and release everything; idempotent."""
        self._closing.set()
        with contextlib.suppress(OSError):
            self._job.terminate()
        await asyncio.shield(self._gone)
        self._stdin_open = False
        with contextlib.suppress(OSError):
            self._theirs.shutdown(socket.SHUT_RDWR)
        for threads in (self._threads, self._writer):
            threads.shutdown(wait=False, cancel_futures=True)
        await self._held.close()

    def _close_stdin(self) -> None:
        self._stdin_open = False
        if not self._unread:  # else it is closed by whoever writes to it, when that is done
            self._held.close_end(self._stdin)

    # -- what its threads do

    def _watch(self) -> None:
        """Watch until nothing of it is left, or it can't be ended; then tell."""
        with contextlib.suppress(OSError):
            self._await_end()
        code = self._held.exit_code()
        if self._job_is_used():
            self._job.terminate()
        clean = self._await_empty()
        ended = Ended(windows.KILLED if code is None else code, self._limit, clean)
        with contextlib.suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(self._tell, ended)

    def _await_end(self) -> None:
        disk_at = 0.0
        held: dict[str, int] = {}
        while self._held.exit_code() is None:
            message = self._job.next_message(int(LOOK_SECONDS * 1000))
            limit = windows.MESSAGES.get(message or 0)
            now = time.monotonic()
            if now >= disk_at:
                held = {folder: held_in(folder) for folder in self._bounds}
                disk_at = now + DISK_LOOK_SECONDS
            if self._limits is not None and limit is None:
                limit = self._limits.exceeded(
                    now, cpu=self._job.cpu_seconds(), held=held, bounds=self._bounds
                )
            if limit is not None:
                self._limit = self._limit or limit
                self._job.terminate()
            if self._closing.is_set():
                return

    def _job_is_used(self) -> bool:
        with contextlib.suppress(OSError):
            return self._job.active() > 0
        return False

    def _await_empty(self) -> bool:
        """Wait until no process is in the job; say whether that came true in time."""
        deadline = time.monotonic() + GONE_SECONDS
        while self._job_is_used():
            if time.monotonic() > deadline:
                return False
            self._job.next_message(10)
        return True

    def _tell(self, ended: Ended) -> None:
        if not self._gone.done():
            self._gone.set_result(ended)

    def _from_guest(self) -> None:
        """Hand on what the guest says to the broker, until one of them hangs up."""
        with contextlib.suppress(OSError):
            while data := self._link.read():
                self._theirs.sendall(data)
        with contextlib.suppress(OSError):
            self._theirs.shutdown(socket.SHUT_WR)

    def _to_guest(self) -> None:
        """Hand on what the broker says to the guest, until one of them hangs up."""
        with contextlib.suppress(OSError):
            while data := self._theirs.recv(CHUNK):
                self._link.write(data)
        self._held.close_end(self._link.writing)


class Pipe:
    """The host's two ends of a channel."""

    def __init__(self, reading: int, writing: int) -> None:
        self._reading, self.writing = reading, writing
        self._lines = Lines()

    def await_ready(self, nonce: str) -> None:
        """Wait until the launcher inside holds before the payload; raise StartFailed."""
        self.write(f"{nonce}\n".encode())
        if self.line(READY_SECONDS) != f"READY {nonce}".encode():
            raise StartFailed("the sandbox gave no proper sign of life")

    def line(self, seconds: float) -> bytes:
        """Wait for a line; StartFailed when none comes in time."""
        found: list[bytes] = []
        asking = threading.Thread(target=self._ask, args=[found.append], daemon=True)
        asking.start()
        asking.join(seconds)
        if not found:
            raise StartFailed(f"the sandbox said nothing within {seconds:.0f} s, or ended")
        return found[0]

    def _ask(self, take: Callable[[bytes], None]) -> None:
        with contextlib.suppress(OSError, StartFailed):
            while (line := self._lines.take()) is None:
                self._lines.feed(os.read(self._reading, CHUNK))
            take(line)

    def read(self) -> bytes:
        """Wait for bytes; none at the end."""
        kept, self._lines.rest = self._lines.rest, b""
        return kept or read_from(self._reading)

    def write(self, data: bytes) -> None:
        """Write all of it, or raise OSError."""
        if not write_to(self.writing, data):
            raise OSError("the runtime has hung up")


def read_from(descriptor: int) -> bytes:
    """Return what comes, b"" at the end, and when the other side broke off."""
    try:
        return os.read(descriptor, CHUNK)
    except OSError:
        return b""


def write_to(descriptor: int, data: bytes) -> bool:
    """Write all of it; say whether somebody was there to read."""
    try:
        while data:
            data = data[os.write(descriptor, data[:CHUNK]) :]
    except OSError:
        return False
    return True
