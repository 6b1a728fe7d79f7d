"""One run: a job in a given back end, from its values to the proof that nothing of it is left."""

from __future__ import annotations

import asyncio
import math
import os
import secrets
import socket
from collections.abc import AsyncIterator, Iterable, Mapping
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
    in_memory,
    unprivileged_user,
)
from lmboot.runtime.backends import CHANNEL, PAYLOAD, Backend
from lmboot.runtime.policy import Limits, Route
from lmboot.workspace import CopyReport, Workspace, copy_out, write_files

PAGE = 4096
MB = 1 << 20
MAX_FILES_IN_RUNTIME = 100_000


@dataclass(frozen=True, slots=True)
class Job:
    """What to run: `files` are (checked path, content), `argv` is FILE and its arguments."""

    files: tuple[tuple[str, bytes], ...]
    argv: tuple[str, ...]
    limits: Limits
    routes: Mapping[str, Route]


class Runtime:
    """A running job."""

    def __init__(
        self, child: Child, job: Job, channel: socket.socket, workspace: Workspace | None
    ) -> None:
        self._child = child
        self._job = job
        self._channel = channel  # the host's end of LMBOOT_FD, for the broker
        self._workspace = workspace

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
        source = self._child.folders[0]
        return await asyncio.to_thread(copy_out, source, dict(self._job.files), folder)

    async def close(self) -> None:
        """Kill what is left and release everything, the workspace too; idempotent."""
        self._channel.close()
        await self._child.close()
        if self._workspace is not None:
            await asyncio.to_thread(self._workspace.remove)


class Box:
    """A back end with its supervisor started: ready for one job."""

    def __init__(self, backend: Backend, supervisor: Supervisor) -> None:
        self.backend = backend
        self._supervisor = supervisor

    @classmethod
    async def open(cls, backend: Backend) -> Box:
        """Start the supervisor, as an unprivileged user when lmboot is root."""
        uid = unprivileged_user() if backend.isolates else None
        return cls(backend, await Supervisor.start(uid))

    async def launch(self, job: Job) -> Runtime:
        """Start the job; raise SandboxFault if it could not be set up (nothing ran then)."""
        _check_size(job)
        workspace = None if self.backend.isolates else await asyncio.to_thread(_written, job)
        ours, theirs = socket.socketpair()
        try:
            child = await self._supervisor.launch(self._order(job, workspace, ours, theirs))
        except BaseException as failure:
            ours.close()
            if workspace is not None:
                workspace.remove()
            if isinstance(failure, StartFailed):
                means, hint = self.backend.remedy(failure.text)
                raise SandboxFault(means, hint=hint) from None
            raise
        if workspace is not None:
            child.folders.append(os.open(workspace.app, os.O_RDONLY | os.O_DIRECTORY))
        return Runtime(child, job, ours, workspace)

    async def close(self) -> None:
        """End the supervisor; idempotent."""
        await self._supervisor.close()

    def _order(
        self, job: Job, workspace: Workspace | None, ours: socket.socket, theirs: socket.socket
    ) -> Order:
        plan = self.backend.plan(
            job.argv,
            disk_bytes=int(job.limits.disk_mb * MB),
            routes=job.routes,
            workspace=str(workspace.path) if workspace else "",
        )
        nonce = secrets.token_hex(16)
        header = "\n".join(
            [nonce, plan.library, *rlimits(job.limits, shared=workspace is not None)]
        )
        files = [] if workspace is not None else job.files
        payload = netstrings([header.encode(), *_flat(files)])
        contents = {**plan.contents, PAYLOAD: payload}
        return Order(
            argv=plan.argv,
            env=plan.env,
            descriptors={
                CHANNEL: theirs.detach(),
                **{number: in_memory(data) for number, data in contents.items()},
            },
            channel=os.dup(ours.fileno()),
            nonce=nonce,
            limits=watched(job.limits),
            cwd=plan.cwd,
            folders=plan.folders,
            info=plan.info,
        )


def _written(job: Job) -> Workspace:
    """Return a workspace on disk that holds the job's files, all of them or none."""
    workspace = Workspace.create()
    folder = os.open(workspace.app, os.O_RDONLY | os.O_DIRECTORY)
    try:
        write_files(folder, job.files)
    except OSError as error:
        workspace.remove()
        raise SandboxFault(
            f"the payload could not be written: {error.strerror}",
            hint="Make room on the disk, or use a sandbox, which has its own.",
        ) from None
    finally:
        os.close(folder)
    return workspace


def watched(limits: Limits) -> dict[str, float | None]:
    """Return the limits that the supervisor watches, in bytes and seconds."""
    return {
        "memory": limits.memory_mb * MB,
        "cpu": limits.cpu_seconds,
        "wall": limits.wall_seconds,
        "processes": max(1, limits.processes),
        "inodes": MAX_FILES_IN_RUNTIME,
    }


def rlimits(limits: Limits, *, shared: bool) -> list[str]:
    """Return what the kernel bounds for each process by itself: `NAME soft hard` lines.

    `shared`: the user is the person's own, whose other processes NPROC would count.
    """
    cpu = math.ceil(limits.cpu_seconds) + 1  # the supervisor, which sees the whole tree, is first
    space = 2 * int(limits.memory_mb * MB) + 512 * MB  # addresses: far more than what is used
    values = {"AS": space, "FSIZE": int(limits.disk_mb * MB), "NOFILE": 256, "CORE": 0}
    if not shared:
        values["NPROC"] = max(1, int(limits.processes))
    return [*(f"{name} {value} {value}" for name, value in values.items()), f"CPU {cpu} {cpu + 1}"]


def netstrings(strings: Iterable[bytes]) -> bytes:
    """Return `5:hello,0:,`: strings that no content can be mistaken for the end of."""
    return b"".join(b"%d:%b," % (len(string), string) for string in strings)


def _flat(files: Iterable[tuple[str, bytes]]) -> list[bytes]:
    return [part for path, content in files for part in (path.encode(), content)]


def _check_size(job: Job) -> None:
    """Refuse a payload that can't fit: every file takes whole pages of its disk."""
    pages = sum(-(-len(content) // PAGE) for _, content in job.files)
    if pages * PAGE > job.limits.disk_mb * MB:
        raise SandboxFault(
            f"the payload needs {pages * PAGE:,} bytes of disk, and its limit is "
            f"{job.limits.disk_mb:g} MB",
            hint="Raise disk_mb in the settings, or ask the model for a smaller program.",
        )
