"""One run: a job in a given back end, from its values to the proof that nothing of it is left."""

from __future__ import annotations

import math
import os
import random
import secrets
import socket
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from lmboot.errors import SandboxFault
from lmboot.process import Child, Ended, Order, Output, StartFailed, Supervisor
from lmboot.runtime.backends import CHANNEL, PAYLOAD, Backend, Plan
from lmboot.runtime.policy import Limits, Route

MB = 1 << 20
UIDS = range(61184, 65520)  # systemd's range for users that exist as long as one service
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

    def __init__(self, child: Child, job: Job, channel: socket.socket) -> None:
        self._child = child
        self._job = job
        self._channel = channel  # the host's end of LMBOOT_FD, for the broker

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

    async def close(self) -> None:
        """Kill what is left and release everything, the workspace too; idempotent."""
        self._channel.close()
        await self._child.close()


class Box:
    """A back end with its supervisor started: ready for one job."""

    def __init__(self, backend: Backend, supervisor: Supervisor) -> None:
        self.backend = backend
        self._supervisor = supervisor

    @classmethod
    async def open(cls, backend: Backend) -> Box:
        """Start the supervisor, as an unprivileged user when lmboot is root."""
        uid = _free_uid() if backend.isolates and os.geteuid() == 0 else None
        return cls(backend, await Supervisor.start(uid))

    async def launch(self, job: Job) -> Runtime:
        """Start the job; raise SandboxFault if it could not be set up (nothing ran then)."""
        disk = int(job.limits.disk_mb * MB)
        _check_size(job, disk)
        plan = self.backend.plan(job.argv, disk_bytes=disk, routes=job.routes, workspace="/app")
        channel, theirs = socket.socketpair()
        nonce = secrets.token_hex(16)
        header = [nonce, plan.library, *rlimits(job.limits)]
        payload = netstrings(["\n".join(header).encode(), *_flat(job.files)])
        order = _order(plan, payload, nonce, (channel, theirs), job.limits)
        try:
            child = await self._supervisor.launch(order)
        except StartFailed as failure:
            channel.close()
            means, hint = self.backend.remedy(failure.text)
            raise SandboxFault(means, hint=hint) from None
        return Runtime(child, job, channel)

    async def close(self) -> None:
        """End the supervisor; idempotent."""
        await self._supervisor.close()


def _order(
    plan: Plan,
    payload: bytes,
    nonce: str,
    channel: tuple[socket.socket, socket.socket],
    limits: Limits,
) -> Order:
    ours, theirs = channel
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
        limits=watched(limits),
        folders=plan.folders,
        info=plan.info,
    )


def watched(limits: Limits) -> dict[str, float | None]:
    """Return the limits that the supervisor watches, in bytes and seconds."""
    return {
        "memory": limits.memory_mb * MB,
        "cpu": limits.cpu_seconds,
        "wall": limits.wall_seconds,
        "processes": max(1, limits.processes),
        "inodes": MAX_FILES_IN_RUNTIME,
    }


def rlimits(limits: Limits) -> list[str]:
    """Return what the kernel bounds for each process by itself: (name, soft, hard) as lines."""
    cpu = math.ceil(limits.cpu_seconds) + 1  # the supervisor, which sees the whole tree, is first
    memory = int(limits.memory_mb * MB)
    disk = int(limits.disk_mb * MB)
    processes = max(1, int(limits.processes))
    space = 2 * memory + 512 * MB  # addresses, not memory: an interpreter alone reserves many
    values = {"AS": space, "FSIZE": disk, "NOFILE": 256, "CORE": 0, "NPROC": processes}
    return [*(f"{name} {value} {value}" for name, value in values.items()), f"CPU {cpu} {cpu + 1}"]


def netstrings(strings: Iterable[bytes]) -> bytes:
    """Return `5:hello,0:,`: strings that no content can be mistaken for the end of."""
    return b"".join(b"%d:%b," % (len(string), string) for string in strings)


def _flat(files: Iterable[tuple[str, bytes]]) -> list[bytes]:
    return [part for path, content in files for part in (path.encode(), content)]


def in_memory(data: bytes) -> int:
    """Return a descriptor of a file that exists nowhere and that nobody can change."""
    import fcntl

    descriptor = os.memfd_create("lmboot", os.MFD_ALLOW_SEALING | os.MFD_CLOEXEC)
    with open(descriptor, "wb", closefd=False) as file:
        file.write(data)
    os.lseek(descriptor, 0, os.SEEK_SET)
    seals = fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL
    fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, seals)
    return descriptor


def _check_size(job: Job, disk: int) -> None:
    size = sum(len(content) for _, content in job.files)
    if size > disk:
        raise SandboxFault(
            f"the payload's {size:,} bytes do not fit into its disk limit of {disk:,}",
            hint="Give it a higher disk_mb.",
        )


def _free_uid() -> int:
    """Return a user that no process runs as, so that two runs can't touch each other."""
    taken = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                taken.add(entry.stat().st_uid)
            except OSError:
                continue
    return random.SystemRandom().choice([uid for uid in UIDS if uid not in taken])
