"""One run: a job in a given back end, from its values to the proof that nothing of it is left."""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import secrets
import socket
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

from lmboot.errors import SandboxFault
from lmboot.process import (
    Child,
    Ended,
    Order,
    Output,
    StartFailed,
    Supervisor,
    new_file_in_memory,
    unprivileged_user,
    write_once,
)
from lmboot.runtime.backends import CHANNEL, PAYLOAD, STDIN, Backend, Plan
from lmboot.runtime.broker import Audit, Broker
from lmboot.runtime.operations import Operation
from lmboot.runtime.policy import Limits, Route
from lmboot.runtime.routes import Routes
from lmboot.workspace import CopyReport, Workspace, copy_out, write_files

PAGE = 4096
MB = 1 << 20
NONCE_BYTES = 32  # what the launcher inside reads first, and repeats
MAX_FILES_IN_RUNTIME = 100_000
ROOM_FOR_OTHERS = 512  # processes and threads that a person may start while a runtime runs


@dataclass(frozen=True, slots=True)
class Job:
    """What to run: `files` are (checked path, content), `argv` is FILE and its arguments."""

    files: tuple[tuple[str, bytes], ...]
    argv: tuple[str, ...]
    limits: Limits
    routes: Mapping[str, Route]


class Standby:
    """A sandbox that stands, with its launcher inside waiting for a payload."""

    def __init__(self, plan: Plan, release: AsyncExitStack, workspace: Workspace | None) -> None:
        self.plan = plan
        self.workspace = workspace
        self.release = release  # everything that this run holds
        self.unpacks = True  # the launcher inside writes the files, in the runtime's own name
        self.beside: int | None = 0  # processes of the runtime's user that are not the runtime's
        self.channel, self._theirs = socket.socketpair()
        self.payload = new_file_in_memory()
        self.child: Child

    @classmethod
    async def set_up(cls, backend: Backend, disk_bytes: int) -> Standby:
        """Set up a sandbox; raise StartFailed."""
        async with AsyncExitStack() as release:
            workspace, user = None, unprivileged_user() if backend.isolates else None
            if backend.on_disk:
                workspace = await asyncio.to_thread(Workspace.create, owner=user)
                release.push_async_callback(asyncio.to_thread, workspace.remove)
            place = str(workspace.path) if workspace else ""
            plan = backend.plan(disk_bytes=disk_bytes, workspace=place)
            if workspace is not None:
                await asyncio.to_thread(workspace.place, plan.files)
            standby = cls(plan, release, workspace)
            release.callback(os.close, standby.payload)
            release.callback(standby.channel.close)
            standby.unpacks = backend.isolates
            if plan.info is None:  # no space of its own, in which only its processes would count
                # Its supervisor and the guard; or whatever the person runs now or soon.
                standby.beside = _tasks_and_room(os.geteuid()) if user is None else 2
            enclosed = backend.isolates and plan.info is None
            supervisor = await Supervisor.start(user, enclosed=enclosed)
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
            channel=os.dup(self.channel.fileno()),
            nonce=nonce,
            cwd=self.plan.cwd,
            folders=self.plan.folders,
            bounds=self.plan.bounds,
            info=self.plan.info,
        )

    async def begin(self, job: Job) -> bytes:
        """Give it the payload and let that run; raise StartFailed if it can't be set up.

        Returns what the runtime has sent to the broker already.
        """
        if self.workspace is not None and not self.unpacks:
            await asyncio.to_thread(_write, self.workspace, job)
        library, unpack, beside = self.plan.library, self.unpacks, self.beside
        write_once(self.payload, packed(job, library, unpack=unpack, beside=beside))
        return await self.child.begin(self.channel, watched(job.limits))


class Runtime:
    """A running job."""

    def __init__(self, standby: Standby, job: Job, already: bytes) -> None:
        self._standby, self._already = standby, already
        self._child = standby.child
        self._job = job

    def broker(self, routes: Routes, operations: Iterable[Operation], audit: Audit) -> Broker:
        """Return the broker at the other end of its socket; there is one of it."""
        channel, already = self._standby.channel, self._already
        return Broker(channel, routes, operations, audit, already=already)

    def events(self) -> AsyncIterator[Output | Ended]:
        """Yield what the runtime writes, then Ended. What is not asked for is not read."""
        return self._child.events()

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
        source = os.open(self._standby.workspace.app, os.O_RDONLY | os.O_DIRECTORY)
        try:
            return await asyncio.to_thread(copy_out, source, files, folder)
        finally:
            os.close(source)

    async def close(self) -> None:
        """Kill what is left and release everything, the workspace too; idempotent."""
        await self._standby.release.aclose()


class Box:
    """A back end with a sandbox standing ready; serves one job.

    All that a launch needs and that does not depend on the payload is done ahead: what remains is
    to unpack the files and to run one of them.
    """

    def __init__(self, backend: Backend) -> None:
        self.backend = backend
        self._disk_bytes = 0
        self._standby: Standby | None = None

    @classmethod
    async def open(cls, backend: Backend, limits: Limits | None = None) -> Box:
        """Set up a sandbox for a job with these limits; raise SandboxFault."""
        box = cls(backend)
        await box._stand(_disk_bytes(limits or Limits()))
        return box

    async def launch(self, job: Job) -> Runtime:
        """Start the job; raise SandboxFault if it could not be set up (nothing ran then)."""
        _check_size(job)
        standby = await self._stand(_disk_bytes(job.limits))
        try:
            already = await standby.begin(job)
        except (StartFailed, OSError) as failure:
            await self.close()
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
            self._standby = await Standby.set_up(self.backend, disk_bytes)
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


def _write(workspace: Workspace, job: Job) -> None:
    """Write the job's files to a workspace on disk."""
    folder = os.open(workspace.app, os.O_RDONLY | os.O_DIRECTORY)
    try:
        write_files(folder, job.files)
    finally:
        os.close(folder)


def packed(job: Job, library: str, *, unpack: bool, beside: int | None = 0) -> bytes:
    """Return all that the launcher inside needs, as netstrings; `unpack`: the files too."""
    routes = " ".join(f"{name}={route}" for name, route in job.routes.items())
    header = "\n".join([library, routes, *rlimits(job.limits, beside=beside)])
    strings = [header.encode(), b"%d" % len(job.argv), *(part.encode() for part in job.argv)]
    for path, content in job.files if unpack else ():
        strings += [path.encode(), content]
    return netstrings(strings)


def _disk_bytes(limits: Limits) -> int:
    return max(PAGE, int(limits.disk_mb * MB))


def watched(limits: Limits) -> dict[str, float | None]:
    """Return the limits that the supervisor watches, in bytes and seconds."""
    return {
        "memory": limits.memory_mb * MB,
        "cpu": limits.cpu_seconds,
        "wall": limits.wall_seconds,
        "processes": max(1, limits.processes),
        "inodes": MAX_FILES_IN_RUNTIME,
    }


def rlimits(limits: Limits, *, beside: int | None) -> list[str]:
    """Return what the kernel bounds for each process by itself: `NAME soft hard` lines.

    `beside` are processes that NPROC counts and that are not the runtime's; None: nobody knows
    how many.
    """
    cpu = math.ceil(limits.cpu_seconds) + 1  # the supervisor, which sees the whole tree, is first
    space = 2 * int(limits.memory_mb * MB) + 512 * MB  # addresses: far more than what is used
    values = {"AS": space, "FSIZE": _disk_bytes(limits), "NOFILE": 256, "CORE": 0}
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
            hint="Raise disk_mb in the settings, or ask the model for a smaller program.",
        )
