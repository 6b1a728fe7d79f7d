"""lmboot's side of a supervised process: asyncio in front, `supervisor.py` behind.

A `Supervisor` is started ahead of need and launches one `Child`. Nothing is read from a child
before its consumer asks for it, so a consumer that can't keep up slows the child, not lmboot.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import socket
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal

from lmboot import census, cgroups, system
from lmboot.handles import LOST_SECONDS, end_all, end_marked, handles
from lmboot.pipes import CHUNK, Inlet, Outlet
from lmboot.service import Request
from lmboot.windows import Container

if sys.platform != "win32":
    import fcntl

BEGIN_SECONDS = 20.0  # for the payload to be unpacked; a full one takes a fraction of a second
DRAIN_SECONDS = 0.5  # for what is left in the pipes when somebody still holds them open
EXIT_SECONDS = 35.0  # a supervisor that could not end its tree goes on trying for 30
UIDS = range(61184, 65520)  # systemd's range for users that exist as long as one service
KILLED = 128 + 9  # the status of a process that SIGKILL ended

_SCRIPT = Path(__file__).with_name("supervisor.py")


class StartFailed(Exception):
    """The child could not be set up; nothing of it has run. `text` is what is known of why."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text


@dataclass(frozen=True, slots=True)
class Output:
    """What the child wrote to one stream, raw, at most 64 KiB."""

    stream: Literal["out", "err"]
    data: bytes


@dataclass(frozen=True, slots=True)
class Ended:
    """The last event: `code` is the child's own status, 128 + n for signal n.

    `limit` names the limit that ended it, if one did; `clean` False: not all of the tree is gone.
    `cpu_seconds` is what the tree has used, None where nobody can tell; a measure, which makes no
    end another one.
    """

    code: int
    limit: str | None
    clean: bool
    cpu_seconds: float | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Order:
    """What a supervisor is to start. Its descriptors are ours to give: they are closed here.

    `descriptors` maps the child's numbers (from 3) to ours; `stdin` is the number at which the
    launcher inside finds what it makes its 0. `channel` is the host's end of the
    socket on which the launcher inside answers READY and `nonce`. `folders` are opened inside
    before anything runs, and may hold `bounds` bytes each (none: they bound themselves); `info`
    is where a sandbox tells the first process of its inside; `nested`: that is its one child;
    `mark` is what only the sandbox's processes may write to, by which macOS tells them;
    `container` is what holds them on Windows, where `windows_process.py` takes the order; without
    one, only `engine` is started there: an engine around the runtime, which is the border itself.
    `scaffold`: what is started sets the sandbox up and stays around it, until it is taken down;
    nobody reads `info` then, but when its reader is gone, so is the supervisor.
    `request`: a service starts the sandbox, which runs `argv`; its first process tells on `info`
    what it ends with.
    """

    argv: tuple[str, ...]
    env: Mapping[str, str]
    descriptors: Mapping[int, int]
    stdin: int
    channel: int
    nonce: str
    cwd: str = "/"
    folders: tuple[str, ...] = ()
    bounds: tuple[int, ...] = ()
    info: int | None = None
    scaffold: bool = False
    nested: bool = False
    mark: str | None = None
    container: Container | None = None
    engine: bool = False
    request: Request | None = None


class Supervisor:
    """A started supervisor that has nothing to do yet; it serves one launch."""

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        link: _Link,
        *,
        guarded: bool = False,
        group: tuple[str, Sequence[cgroups.Place]] = ("", ()),
    ) -> None:
        self._process = process
        self._link = link
        self._guarded = guarded
        self._group = group

    @classmethod
    async def start(
        cls,
        uid: int | None = None,
        *,
        enclosed: bool = False,
        places: Sequence[cgroups.Place] = (),
        service: str | None = None,
    ) -> Supervisor:
        """Start one, as an unprivileged user if `uid` is given.

        `enclosed`: it and all that it starts can signal nobody else, so that one signal to
        everybody ends the whole tree at once (Linux 6.12; else a fault). `places`: where a
        control group of the tree's own is made (else a fault). `service`: the socket of what is to
        start the sandbox in its place.
        """
        ours, theirs = socket.socketpair()
        descriptor = theirs.fileno()
        arguments = [str(descriptor), *([] if uid is None else [f"user={uid}"])]
        group = cgroups.new_name(), places
        arguments += [f"groups={json.dumps(group)}"] if places else []
        arguments += ["enclosed"] if enclosed else []
        arguments += [] if service is None else [f"service={service}"]
        with theirs:
            process = subprocess.Popen(  # noqa: ASYNC220 (a fork; there is nothing to wait for)
                [sys.executable, "-I", "-S", str(_SCRIPT), *arguments],
                pass_fds=[descriptor],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,  # a Ctrl+C in lmboot's terminal is not meant for it
            )
        return cls(process, _Link(ours), guarded=enclosed or bool(places), group=group)

    async def launch(self, order: Order) -> Child:
        """Start the child and return it once its launcher waits; raise StartFailed."""
        pipes = [os.pipe() for _ in range(3)]
        ours = (pipes[0][1], pipes[1][0], pipes[2][0])
        given = {
            0: _ended_pipe(),
            1: pipes[1][1],
            2: pipes[2][1],
            order.stdin: pipes[0][0],
            **order.descriptors,
        }
        try:
            await self._send(order, given)
            started = await self._answer("started")
        except BaseException as failure:
            said = _said(ours[2])
            _close_all(ours)
            if isinstance(failure, StartFailed) and said:
                raise StartFailed(f"{failure.text}: {said}") from None
            raise
        _said(ours[2])  # nothing of the runtime's yet, but of those who made way for it
        return Child(self, self._link, started, ours, mark=order.mark)

    async def _send(self, order: Order, given: dict[int, int]) -> None:
        """Send the order; its descriptors are closed here whatever happens."""
        try:
            await self._answer("ready")
            await self._link.tell(
                [*given.values(), order.channel],
                do="launch",
                argv=order.argv,
                env=dict(order.env),
                targets=list(given),
                info=order.info,
                scaffold=order.scaffold,
                nested=order.nested,
                mark=order.mark,
                nonce=order.nonce,
                cwd=order.cwd,
                folders=order.folders,
                bounds=order.bounds,
                request=None if order.request is None else order.request._asdict(),
            )
        finally:
            _close_all([*given.values(), order.channel])

    def left_nothing(self) -> bool:
        """Say, of a supervisor that was lost, whether all that it started is gone.

        Its guard or its keeper has seen to that; without either there is nobody who could tell.
        """
        with contextlib.suppress(subprocess.TimeoutExpired):
            return not self._guarded or self._process.wait(LOST_SECONDS) == 0
        return False

    async def _answer(self, name: str) -> dict[str, Any]:
        """Wait for an answer; raise StartFailed when another one comes in its place."""
        answer = await self._link.answer(name)
        if answer["event"] != name:
            raise StartFailed(answer.get("text", "the supervisor was killed"))
        return answer

    async def close(self) -> None:
        """End the supervisor, and with it whatever it has started; idempotent."""
        self._link.close()
        try:
            await asyncio.to_thread(self._process.wait, EXIT_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
        if self._process.returncode != 0:  # its keeper was killed, or gave up
            name, places = self._group
            await asyncio.to_thread(cgroups.discard, places, name)


def _ended_pipe() -> int:
    """Return a pipe to read from that is at its end."""
    reading, writing = os.pipe()
    os.close(writing)
    return reading


def _said(stderr: int) -> str:
    """Return what a back end that could not start wrote on its stderr."""
    system.set_blocking(stderr, False)
    try:
        return os.read(stderr, CHUNK).decode("utf-8", "replace").strip()
    except BlockingIOError:
        return ""


class _Link:
    """The socket to a supervisor: JSON lines both ways, descriptors beside them."""

    def __init__(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        self._socket = connection
        self._loop = asyncio.get_running_loop()
        self._pending = b""
        self.answers: dict[str, asyncio.Future[dict[str, Any]]] = {
            name: self._loop.create_future() for name in ("ready", "started", "gone")
        }
        self.descriptors: list[int] = []
        self._loop.add_reader(connection, self._take)

    async def answer(self, name: str) -> dict[str, Any]:
        """Wait for an answer; in its place a fault, or {"event": "lost"} when nobody is left."""
        return await asyncio.shield(self.answers[name])

    async def fault(self) -> str:
        """Return what went wrong after the start; nothing unless that is told soon."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LOST_SECONDS):
                return str((await self.answer("gone")).get("text", ""))
        return ""

    async def tell(self, descriptors: Iterable[int] = (), **message: Any) -> None:
        """Send one message; a supervisor that is gone is told by the answers."""
        data = json.dumps(message).encode() + b"\n"
        with contextlib.suppress(OSError):
            sent = system.send_fds(self._socket, data, list(descriptors))
            if sent < len(data):
                await self._loop.sock_sendall(self._socket, data[sent:])

    def tell_soon(self, **message: Any) -> None:
        """Send one short message now; one that finds no room is lost with its supervisor."""
        with contextlib.suppress(OSError):
            self._socket.send(json.dumps(message).encode() + b"\n")

    def close(self) -> None:
        """Hang up; whoever waits for an answer is told that nobody is left. Idempotent."""
        if self._socket.fileno() >= 0:
            self._loop.remove_reader(self._socket)
            self._socket.close()
            _close_all(self.descriptors)
            self.descriptors = []
        self._settle({"event": "lost"}, *self.answers)

    def _take(self) -> None:
        try:
            data, descriptors = system.recv_fds(self._socket, CHUNK, 8)
        except BlockingIOError:
            return
        except OSError:
            data, descriptors = b"", []
        self.descriptors += descriptors
        if not data:
            self._loop.remove_reader(self._socket)
            self._settle({"event": "lost"}, *self.answers)
            return
        *lines, self._pending = (self._pending + data).split(b"\n")
        for line in lines:
            message = json.loads(line)
            name = message["event"]
            self._settle(message, *(self.answers if name == "fault" else [name]))

    def _settle(self, message: dict[str, Any], *names: str) -> None:
        for name in names:
            if not self.answers[name].done():
                self.answers[name].set_result(message)


class Child:
    """A child: its beginning, its output, its stdin, its end."""

    def __init__(
        self,
        supervisor: Supervisor,
        link: _Link,
        started: dict[str, Any],
        pipes: tuple[int, int, int],
        *,
        mark: str | None = None,
    ) -> None:
        self._supervisor = supervisor
        self._link = link
        self._loop = asyncio.get_running_loop()
        self._handles = handles(started["pids"])
        self._mark = mark
        self._stdin = Inlet(pipes[0])
        self._changed = asyncio.Event()
        self._outlets = [
            Outlet("out", pipes[1], self._changed),
            Outlet("err", pipes[2], self._changed),
        ]
        self._gone: asyncio.Future[Ended] = self._loop.create_future()
        self._last_words = asyncio.create_task(self._await_end())
        self.folders, link.descriptors = link.descriptors, []

    @property
    def gone(self) -> bool:
        """Whether the child has ended."""
        return self._gone.done()

    async def begin(self, channel: socket.socket, limits: Mapping[str, float | None]) -> bytes:
        """Let the launcher inside go on; raise StartFailed with its reason if it does not.

        Returns what the runtime has written to the channel already.
        """
        await self._link.tell(do="begin", limits=dict(limits))  # it says GO when they are on
        answer = b""
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(BEGIN_SECONDS):
                while b"\n" not in answer:
                    data = await self._loop.sock_recv(channel, 4096)
                    answer += data or b"\n"
        answer, _, more = answer.partition(b"\n")
        if answer != b"RUN":
            text = answer.decode("utf-8", "replace").removeprefix("FAULT").strip()
            raise StartFailed(text or await self._link.fault() or "the runtime's launcher ended")
        return more

    async def events(self) -> AsyncIterator[Output | Ended]:
        """Yield what the child writes, then Ended. What is not asked for is not read."""
        while self._outlets:
            output = self.read()
            if output is not None:
                yield output
                await asyncio.sleep(0)  # a child that never stops writing must not keep the loop
            elif self._outlets and not await self._wait_for_output():
                self._close_outlets()
        yield await asyncio.shield(self._gone)

    def read(self) -> Output | None:
        """Return what one stream has now, the streams by turns; forget those that have ended."""
        for outlet in list(self._outlets):
            data = outlet.read()
            if data == b"":
                outlet.close()
                self._outlets.remove(outlet)
            elif data is not None:
                self._outlets.remove(outlet)
                self._outlets.append(outlet)
                return Output(outlet.stream, data)
        return None

    async def send(self, data: bytes) -> bool:
        """Queue bytes for stdin; False when that is closed, or more than 1 MiB waits already."""
        return self._stdin.put(data)

    def interrupt(self) -> None:
        """Send SIGINT to the child's processes, not to a sandbox around them."""
        self._link.tell_soon(do="interrupt")

    async def stop(self) -> None:
        """Close stdin; 500 ms; SIGTERM; 700 ms; kill the whole tree. Returns when it is gone."""
        self._stdin.close()
        self._link.tell_soon(do="stop")
        await asyncio.shield(self._gone)

    async def end(self, limit: str) -> None:
        """Kill the whole tree because of a limit that the caller judges."""
        self._link.tell_soon(do="end", limit=limit)
        await asyncio.shield(self._gone)

    async def close(self) -> None:
        """Kill what is left and release everything; idempotent."""
        self._stdin.close()
        self._close_outlets()
        try:
            await self._supervisor.close()
            await asyncio.shield(self._last_words)
        finally:  # when it is broken off, too
            _close_all(self.folders)
            self.folders = []

    async def _wait_for_output(self) -> bool:
        """Wait until a stream has something; False when the child is gone and nothing comes."""
        self._changed.clear()
        for outlet in self._outlets:
            outlet.arm()
        waiting: asyncio.Future[Any] = asyncio.ensure_future(self._changed.wait())
        try:
            ends: list[asyncio.Future[Any]] = [waiting, self._gone]
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            if waiting.done():
                return True
            await asyncio.wait([waiting], timeout=DRAIN_SECONDS)
            return waiting.done()
        finally:
            waiting.cancel()

    def _close_outlets(self) -> None:
        for outlet in self._outlets:
            outlet.close()
        self._outlets = []

    async def _await_end(self) -> None:
        """Turn the supervisor's last words, or their absence, into the last event."""
        answer = await self._link.answer("gone")
        if answer["event"] == "lost":
            kill = end_all if self._mark is None else partial(end_marked, self._mark)
            clean = await asyncio.to_thread(kill, self._handles)
            clean = clean and await asyncio.to_thread(self._supervisor.left_nothing)
            ended = Ended(KILLED, None, clean)
        else:  # a fault has neither code nor limit
            code = KILLED if answer.get("code") is None else answer["code"]
            ended = Ended(code, answer.get("limit"), answer["clean"], answer.get("cpu"))
        _close_all(self._handles)
        self._stdin.close()
        self._gone.set_result(ended)


def unprivileged_user() -> int | None:
    """Return a user to run as that nobody is, when lmboot is root; None when it is not.

    One for each run: what two runs leave to their user's rights can't touch each other.
    """
    if system.is_root():
        taken = census.users()
        return random.SystemRandom().choice([uid for uid in UIDS if uid not in taken])
    return None


def new_file_in_memory() -> int:
    """Return a descriptor of an empty file that has no name."""
    if sys.platform == "linux":
        return os.memfd_create("lmboot", os.MFD_ALLOW_SEALING | os.MFD_CLOEXEC)
    else:
        with tempfile.TemporaryFile() as file:
            return os.dup(file.fileno())


def write_once(descriptor: int, data: bytes) -> None:
    """Append to such a file; where the system can do it, nobody can change it from here on."""
    os.lseek(descriptor, 0, os.SEEK_END)
    while data:
        data = data[os.write(descriptor, data) :]
    os.lseek(descriptor, 0, os.SEEK_SET)
    if sys.platform == "linux":
        seals = fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL
        fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, seals)


def _close_all(descriptors: Iterable[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)
