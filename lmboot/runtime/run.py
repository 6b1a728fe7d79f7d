"""One run: a job in a given back end, from its values to the proof that nothing of it is left."""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import secrets
import socket
import sys
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

from lmboot.cgroups import Place
from lmboot.errors import SandboxFault
from lmboot.process import (
    Ended,
    Order,
    Output,
    StartFailed,
    new_file_in_memory,
    unprivileged_user,
    write_once,
)
from lmboot.runtime.backends import (
    CHANNEL,
    PAYLOAD,
    SCRATCH_BYTES,
    STDIN,
    Backend,
    Plan,
    short_base,
    workspaces,
)
from lmboot.runtime.broker import Audit, Broker, Gate
from lmboot.runtime.operations import Operation
from lmboot.runtime.policy import Limits, Route
from lmboot.runtime.routes import Routes
from lmboot.system import user as user_of_lmboot
from lmboot.workspace import CopyReport, copy_out

if sys.platform == "win32":
    from lmboot.windows_process import Child, Supervisor
    from lmboot.windows_workspace import Workspace
else:
    from lmboot.process import Child, Supervisor
    from lmboot.workspace import Workspace

PAGE = 4096
MB = 1 << 20
NONCE_BYTES = 32  # what the launcher inside reads first, and repeats
MAX_FILES_IN_RUNTIME = 20_000
ROOM_FOR_OTHERS = 512  # processes and threads that a person may start while a runtime runs


@dataclass(frozen=True, slots=True)
class Job:
    """What to run: `files` are (checked path, content), `argv` is FILE and its arguments.

    `unwatched` are limits that nobody looks at, so that it shows whether the kernel keeps them.
    """

    files: tuple[tuple[str, bytes], ...]
    argv: tuple[str, ...]
    limits: Limits
    routes: Mapping[str, Route]
    unwatched: tuple[str, ...] = ()


class Standby:
    """A sandbox that stands, with its launcher inside waiting for a payload."""

    def __init__(self, plan: Plan, release: AsyncExitStack, workspace: Workspace | None) -> None:
        self.plan = plan
        self.workspace = workspace
        self.release = release  # everything that this run holds
        self.unpacks = True  # the launcher inside writes the files, in the runtime's own name
        self.beside: int | None = 0  # processes of the runtime's user that are not the runtime's
        self.channel, self._theirs = socket.socketpair()
        self.channel.setblocking(False)
        self.payload = new_file_in_memory()
        self.child: Child

    @classmethod
    async def set_up(
        cls, backend: Backend, disk_bytes: int, places: Sequence[Place] = ()
    ) -> Standby:
        """Set up a sandbox; raise StartFailed."""
        async with AsyncExitStack() as release:
            workspace, user = None, unprivileged_user() if backend.isolates else None
            if backend.on_disk:
                workspace = await _new_workspace(backend, user)
                release.push_async_callback(asyncio.to_thread, workspace.remove)
            place = str(workspace.path) if workspace else ""
            plan = backend.plan(disk_bytes=disk_bytes, workspace=place)
            if workspace is not None:
                await asyncio.to_thread(workspace.place, plan.files)
            standby = cls(plan, release, workspace)
            release.callback(os.close, standby.payload)
            release.callback(standby.channel.close)
            standby.unpacks = backend.isolates
            if not plan.apart or plan.request:  # no space in which only its processes would count
                # Its supervisor and one more; or whatever the person runs now or soon.
                standby.beside = _tasks_and_room(user_of_lmboot()) if user is None else 2
            elif plan.nested:  # but its user is the person's own, with other processes
                standby.beside = _tasks_and_room(user_of_lmboot())
            places = places if plan.grouped else ()
            service = plan.request.socket if plan.request else None
            supervisor = await Supervisor.start(
                user, enclosed=plan.enclosed, places=places, service=service
            )
            release.push_async_callback(supervisor.close)
            standby.child = await supervisor.launch(standby._order())
            release.push_async_callback(standby.child.close)
            standby.release = release.pop_all()
        return standby

    def _order(self) -> Order:
        nonce = secrets.token_hex(NONCE_BYTES // 2)
        os.write(self.payload, nonce.encode())
        os.lseek(self.payload, 0, os.SEEK_SET)
        descriptors = {CHANNEL: self._theirs.detach(), PAYLOAD: os.dup(self.payload)}
        for number, data in self.plan.contents.items():
            descriptors[number] = new_file_in_memory()
            write_once(descriptors[number], data)
        return Order(
            argv=self.plan.argv,
            env=self.plan.env,
            descriptors=descriptors,
            stdin=STDIN,
            channel=self.channel.dup().detach(),
            nonce=nonce,
            cwd=self.plan.cwd,
            folders=self.plan.folders,
            bounds=self.plan.bounds,
            info=self.plan.info,
            scaffold=self.plan.scaffold,
            nested=self.plan.nested,
            mark=self.plan.mark,
            container=self.plan.container,
            engine=bool(self.plan.engine),
            request=self.plan.request,
        )

    async def begin(self, job: Job) -> bytes:
        """Give it the payload and let that run; raise StartFailed if it can't be set up.

        Returns what the runtime has sent to the broker already.
        """
        if self.workspace is not None and not self.unpacks:
            await asyncio.to_thread(self.workspace.write, job.files)
        write_once(self.payload, packed(job, self.plan, unpack=self.unpacks, beside=self.beside))
        limits = {**watched(job.limits, self.plan.engine), **dict.fromkeys(job.unwatched)}
        return await self.child.begin(self.channel, limits)


class Runtime:
    """A running job."""

    def __init__(self, standby: Standby, job: Job, already: bytes) -> None:
        self._standby, self._already = standby, already
        self._child = standby.child
        self._job = job

    def broker(
        self,
        routes: Routes,
        operations: Iterable[Operation],
        audit: Audit,
        *,
        gate: Gate | None = None,
    ) -> Broker:
        """Return the broker at the other end of its socket; there is one of it."""
        channel, already = self.channel
        return Broker(channel, routes, operations, audit, gate=gate, already=already)

    @property
    def channel(self) -> tuple[socket.socket, bytes]:
        """The host's end of its socket, and what has come already; instead of a broker."""
        return self._standby.channel, self._already

    def events(self) -> AsyncIterator[Output | Ended]:
        """Yield what the runtime writes, then Ended. What is not asked for is not read."""
        return self._child.events()

    def printed(self) -> Output | None:
        """Return what it has written already, one stream's; None when nothing is there."""
        return self._child.read()

    async def send(self, data: bytes) -> bool:
        """Queue bytes for stdin; False when that is closed, or more than 1 MiB waits already."""
        return await self._child.send(data)

    def interrupt(self) -> None:
        """Send SIGINT to the runtime's processes."""
        self._child.interrupt()

    async def stop(self) -> None:
        """End it by the contract's sequence, within 2.0 s; events() still yields the rest."""
        await self._child.stop()

    async def end(self, limit: str) -> None:
        """Kill it because of a limit that the caller judges; Ended will name it."""
        await self._child.end(limit)

    async def copy_out(self, folder: Path) -> CopyReport:
        """Copy what the runtime wrote to a new or empty folder, once it has ended.

        Raises UsageFault when the folder is not empty; everything else is in the report.
        """
        files = dict(self._job.files)
        if self._standby.workspace is None or self._child.folders:
            return await asyncio.to_thread(copy_out, self._child.folders[0], files, folder)
        return await asyncio.to_thread(self._standby.workspace.copy_out, files, folder)

    async def close(self) -> None:
        """Kill what is left and release everything, the workspace too; idempotent."""
        await self._standby.release.aclose()


class Box:
    """A back end with a sandbox standing ready; serves one job.

    All that a launch needs and that does not depend on the payload is done ahead: what remains is
    to unpack the files and to run one of them.
    """

    def __init__(self, backend: Backend, places: Sequence[Place] = ()) -> None:
        self.backend = backend
        self._places = places
        self._disk_bytes = 0
        self._standby: Standby | None = None

    @classmethod
    async def open(
        cls, backend: Backend, limits: Limits | None = None, places: Sequence[Place] = ()
    ) -> Box:
        """Set up a sandbox for a job with these limits; raise SandboxFault.

        `places`: where the runtime gets a control group, in which the kernel keeps its limits.
        """
        box = cls(backend, places)
        await box._stand(_disk_bytes(limits or Limits()))
        return box

    @property
    def grouped(self) -> bool:
        """Whether the sandbox that stands is in a control group of lmboot's own."""
        there = self._standby is not None and self._standby.plan.grouped
        return there and bool(self._places)

    async def another(self, limits: Limits) -> Box:
        """Set up one more sandbox of the same kind; raise SandboxFault."""
        return await Box.open(self.backend, limits, self._places)

    async def launch(self, job: Job) -> Runtime:
        """Start the job; raise SandboxFault if it could not be set up (nothing ran then)."""
        _check_size(job)
        waited = self._standby
        standby = await self._stand(_disk_bytes(job.limits))
        try:
            already = await standby.begin(job)
        except (StartFailed, OSError) as failure:
            await self.close()
            self._standby = None
            if standby is waited:  # it may have died meanwhile, and nobody was told yet
                return await self.launch(job)
            raise self._fault(failure) from None
        return Runtime(standby, job, already)

    async def close(self) -> None:
        """End everything that it has started, a runtime too; idempotent."""
        if self._standby is not None:
            await self._standby.release.aclose()

    async def _stand(self, disk_bytes: int) -> Standby:
        """Return the sandbox that stands ready; a new one if that is of another size, or dead."""
        if self._standby is not None:
            if self._disk_bytes == disk_bytes and not self._standby.child.gone:
                return self._standby
            await self.close()
        try:
            self._standby = await Standby.set_up(self.backend, disk_bytes, self._places)
        except (StartFailed, OSError) as failure:
            raise self._fault(failure) from None
        self._disk_bytes = disk_bytes
        return self._standby

    def _fault(self, failure: StartFailed | OSError) -> SandboxFault:
        if isinstance(failure, OSError):  # lmboot's own part: no room, too many open files
            return SandboxFault(
                f"the sandbox could not be set up: {failure.strerror}",
                hint="Make room on the disk and in memory, then try again.",
            )
        means, hint = self.backend.remedy(failure.text)
        return SandboxFault(means, hint=hint)


async def _new_workspace(backend: Backend, user: int | None) -> Workspace:
    """Make a workspace on disk where the back end can use it; broken off, none is left."""
    short = backend.short_paths and user is None
    base = short_base() if short else workspaces(backend.name)
    making = asyncio.create_task(asyncio.to_thread(Workspace.create, base, owner=user))
    try:
        return await asyncio.shield(making)
    except asyncio.CancelledError:
        await asyncio.to_thread((await making).remove)
        raise


def packed(job: Job, plan: Plan, *, unpack: bool, beside: int | None = 0) -> bytes:
    """Return all that the launcher inside needs, as netstrings; `unpack`: the files too."""
    routes = " ".join(f"{name}={route}" for name, route in job.routes.items())
    limits = rlimits(job.limits, beside=beside, engine=bool(plan.engine))
    header = "\n".join([plan.library, routes, *limits])
    strings = [header.encode(), b"%d" % len(job.argv), *(part.encode() for part in job.argv)]
    for path, content in job.files if unpack else ():
        strings += [path.encode(), content]
    return netstrings(strings)


def _disk_bytes(limits: Limits) -> int:
    return max(PAGE, int(limits.disk_mb * MB))


def watched(limits: Limits, engine: Mapping[str, float]) -> dict[str, float | None]:
    """Return what the supervisor watches, in bytes and seconds; an engine's part is beside it."""
    return {
        "memory": limits.memory_mb * MB + engine.get("memory", 0),
        "contained": contained_bytes(limits) + engine.get("memory", 0),
        "cpu": limits.cpu_seconds + engine.get("cpu", 0),
        "wall": limits.wall_seconds,
        "processes": max(1, limits.processes),
        "inodes": MAX_FILES_IN_RUNTIME,
    }


def contained_bytes(limits: Limits) -> int:
    """Return how much a tree may have in memory, for the kernel to keep it to.

    Files in memory are in there, which have bounds of their own, and what the kernel itself needs
    for each process. What is below that and above `memory_mb` is for whoever looks.
    """
    files = _disk_bytes(limits) + 2 * SCRATCH_BYTES
    kernel = 32 * MB + int(max(1, limits.processes) * MB / 2)
    return int(limits.memory_mb * MB) + files + kernel


def rlimits(
    limits: Limits, *, beside: int | None, engine: bool = False, system: str = sys.platform
) -> list[str]:
    """Return what the kernel bounds for each process by itself: `NAME soft hard` lines.

    `beside` are processes that NPROC counts and that are not the runtime's; None: nobody knows
    how many. With an `engine`, which reserves addresses that it never uses, MEMORY stands in the
    place of AS: what it is to give to the runtime.
    """
    cpu = math.ceil(limits.cpu_seconds) + 1  # the supervisor, which sees the whole tree, is first
    space = 2 * int(limits.memory_mb * MB) + 512 * MB  # addresses: far more than what is used
    bound = {"MEMORY": int(limits.memory_mb * MB)} if engine else {"AS": space}
    if system == "darwin":  # it refuses what is less than the libraries that all programs share
        bound.pop("AS", None)
    values = {**bound, "FSIZE": _disk_bytes(limits), "NOFILE": 256, "CORE": 0}
    if beside is not None:
        values["NPROC"] = max(1, int(limits.processes)) + beside
    return [*(f"{name} {value} {value}" for name, value in values.items()), f"CPU {cpu} {cpu + 1}"]


def _tasks_and_room(uid: int) -> int | None:
    """Return how many processes and threads a user has, and may soon have beside a runtime.

    It is no limit of the runtime's, whose processes are counted by the supervisor; it is what
    keeps the machine alive until that looks. None where nobody can tell.
    """
    tasks = ROOM_FOR_OTHERS
    try:
        names = [name for name in os.listdir("/proc") if name.isdigit()]
    except OSError:
        return None
    for name in names:
        with contextlib.suppress(OSError):
            if os.stat(f"/proc/{name}").st_uid == uid:
                tasks += len(os.listdir(f"/proc/{name}/task"))
    return tasks


def netstrings(strings: Iterable[bytes]) -> bytes:
    """Return `5:hello,0:,`: strings that no content can be mistaken for the end of."""
    return b"".join(b"%d:%b," % (len(string), string) for string in strings)


def _check_size(job: Job) -> None:
    """Refuse a payload that can't fit: every file takes whole pages of its disk."""
    pages = sum(-(-len(content) // PAGE) for _, content in job.files)
    if pages * PAGE > job.limits.disk_mb * MB:
        raise SandboxFault(
            f"the payload needs {pages * PAGE:,} bytes of disk, and its limit is "
            f"{job.limits.disk_mb:g} MB",
            hint="Raise disk_mb where the manifest or your settings lowered it, or ask the model "
            "for a smaller program.",
        )
