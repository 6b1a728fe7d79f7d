"""The proof of a sandbox: a program that tries to get out, run through the plan that payloads get.

A back end is usable only if that program comes back with the nonce and with the denials. That it
is installed proves nothing, and neither does that it exits with 0.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import platform
import secrets
import socket
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from platformdirs import user_cache_path

from lmboot.cgroups import Place
from lmboot.errors import SandboxFault
from lmboot.process import Ended
from lmboot.runtime import seccomp
from lmboot.runtime.backends import CHANNEL, Backend
from lmboot.runtime.properties import (
    ABSENT,
    PROBE_LIMITS,
    WATCHED,
    Properties,
    judge,
    lacking,
)
from lmboot.runtime.run import Box, Job
from lmboot.workspace import private_folder

PROBE_SECONDS = 30.0
_TOO_MUCH = int(PROBE_LIMITS.memory_mb * 2.5) << 20  # more than a group may have, files and all
_PROBED_CALLS = ("ptrace", "keyctl", "add_key", "io_uring_setup", "unshare", "bpf", "memfd_create")
PROBE = Path(__file__).parent / "guest" / "probe.py"


@dataclass(frozen=True, slots=True)
class Posture:
    """One back end as it is on this machine; `reason` and `remedy` say why it is not usable.

    Of one that is, `reason` says what no property tells, if there is something.
    `grouped`: the proof is of runs that have a control group. `tried` is what came of each
    attempt of the probe, the proof itself.
    """

    name: str
    usable: bool
    reason: str = ""
    remedy: str = ""
    properties: Properties = field(default_factory=lambda: dict(ABSENT))
    grouped: bool = False
    tried: Mapping[str, str] = field(default_factory=dict)


async def prove(backend: Backend, places: Sequence[Place] = ()) -> Posture:
    """Run the probe in a back end and judge what it brings back.

    With control groups if that works; what they do not give then is what the proof lacks.
    """
    if places:
        posture = await _prove(backend, places)
        if posture.usable:
            return posture
    return await _prove(backend, ())


async def _prove(backend: Backend, places: Sequence[Place]) -> Posture:
    with _bait() as bait:
        try:
            async with asyncio.timeout(PROBE_SECONDS):
                tried, ended, contained = await _probe(backend, bait, places)
        except SandboxFault as fault:
            return Posture(backend.name, usable=False, reason=str(fault), remedy=fault.hint)
        except TimeoutError:
            tried, ended, contained = None, Ended(0, None, clean=False), False
        visited = bait.visited()
    if tried is None:
        return _unusable(backend.name, "its probe brought nothing back")
    properties = judge(
        tried,
        visited=visited,
        limit=ended.limit,
        clean=ended.clean,
        channel=CHANNEL,
        contained=contained,
    )
    tried["ended"] = f"by {'the kernel' if contained else 'looking'}: {ended.limit}"
    tried["left"] = "nothing" if ended.clean else "something"
    missing = lacking(properties)
    if missing:
        why = f"it does not enforce {', '.join(missing)}"
        return _unusable(backend.name, why, properties, tried)
    return Posture(
        backend.name,
        usable=True,
        reason=getattr(backend, "remark", ""),
        properties=properties,
        grouped=bool(places),
        tried=tried,
    )


async def _probe(
    backend: Backend, bait: _Bait, places: Sequence[Place]
) -> tuple[dict[str, str] | None, Ended, bool]:
    """Return all outcomes, the last end, and whether that was the kernel's doing.

    An attempt at which a limit ended the probe was watched; the others are tried once more. In a
    group nobody looks at the memory, at first: who ends it then is the kernel, or nobody.
    """
    watched: dict[str, str] = {}
    contained = any("memory" in place.uses for place in places)
    contained = contained or getattr(backend, "limited", False)  # by groups that are not ours
    while True:
        box = await Box.open(backend, PROBE_LIMITS, places)
        unwatched = ("memory",) if contained else ()
        said, ended = await _listen(box, _probe_job(bait, watched, unwatched))
        word, _, attempt = (
            said.rstrip().rpartition(b"\n")[2].decode(errors="replace").partition(" ")
        )
        if word == "trying" and attempt not in watched and ended.limit in ("processes", "disk"):
            watched[attempt] = WATCHED
        elif contained and ended.limit != "memory":
            contained = False
        else:
            tried = _tried(said, bait.nonce)
            return tried and {**tried, **watched}, ended, contained


def _unusable(
    name: str,
    why: str,
    properties: Properties = ABSENT,
    tried: Mapping[str, str] | None = None,
) -> Posture:
    return Posture(
        name,
        usable=False,
        reason=f"{name} starts on this machine, but {why}",
        remedy="Run `lmboot doctor`; if bubblewrap is not your distribution's own, reinstall it.",
        properties=dict(properties),
        tried=tried or {},
    )


def _probe_job(bait: _Bait, without: Iterable[str], unwatched: tuple[str, ...]) -> Job:
    column = seccomp.ARCHES[platform.machine()].column if _known_machine() else None
    tables = {**seccomp.DENIED, **seccomp.ABSENT}
    calls = {} if column is None else {name: tables[name][column] for name in _PROBED_CALLS}
    given = {
        **bait.arguments,
        **calls,
        "processes": int(PROBE_LIMITS.processes),
        "disk_mb": int(PROBE_LIMITS.disk_mb),
        "too_much": _TOO_MUCH,
        "without": ",".join(without),
    }
    argv = ("probe.py", *(f"{name}={value}" for name, value in given.items()))
    return Job((("probe.py", PROBE.read_bytes()),), argv, PROBE_LIMITS, {}, unwatched)


def _known_machine() -> bool:
    return sys.platform == "linux" and platform.machine() in seccomp.ARCHES


async def _listen(box: Box, job: Job) -> tuple[bytes, Ended]:
    """Return what the probe printed, and its end."""
    said = b""
    try:
        runtime = await box.launch(job)
        async for event in runtime.events():
            if isinstance(event, Ended):
                return said, event
            if event.stream == "out" and len(said) < 1 << 16:
                said += event.data
    finally:
        await box.close()
    raise AssertionError("a runtime's events always close with Ended")


def _tried(said: bytes, nonce: str) -> dict[str, str] | None:
    """Return the probe's outcomes; None unless they are whole and of this probe."""
    try:
        found = json.loads(said.splitlines()[-1])
        tried = found["tried"] if found["nonce"] == nonce else None
    except (ValueError, LookupError, TypeError):
        return None
    return {str(name): str(outcome) for name, outcome in tried.items()} if tried else None


class _Bait:
    """What the host puts up for the probe to go for: a secret, a server, sockets."""

    def __init__(self, folder: Path, secret: Path) -> None:
        self.nonce = secrets.token_hex(16)
        abstract = f"lmboot-{secrets.token_hex(8)}"
        self._servers = [_listening(socket.AF_INET, ("127.0.0.1", 0))]
        if sys.platform != "win32":
            self._servers.append(_listening(socket.AF_UNIX, str(folder / "socket")))
        if sys.platform == "linux":
            self._servers.append(_listening(socket.AF_UNIX, f"\0{abstract}"))
        self.arguments = {
            "nonce": self.nonce,
            "canary": secret,
            "home": os.path.expanduser("~"),  # Path.home() raises where there is none
            "port": self._servers[0].getsockname()[1],
            "socket": folder / "socket",
            "abstract": abstract,
            "pid": os.getpid(),
            "users": _identity("/etc/passwd"),
        }

    def visited(self) -> bool:
        """Say whether anybody came to one of the servers."""
        for server in self._servers:
            with contextlib.suppress(BlockingIOError):
                server.accept()[0].close()
                return True
        return False

    def close(self) -> None:
        for server in self._servers:
            server.close()


def _identity(path: str) -> str:
    """Return what tells a file from another of the same path in another file system."""
    try:
        found = os.stat(path)
    except OSError:
        return ""
    return f"{found.st_dev}:{found.st_ino}"


def _listening(family: int, address: Any) -> socket.socket:
    server = socket.socket(family)
    server.bind(address)
    server.listen()
    server.setblocking(False)
    return server


@contextlib.contextmanager
def _bait() -> Iterator[_Bait]:
    with tempfile.TemporaryDirectory(prefix="lmboot-probe-") as name:
        folder = Path(name)
        folder.chmod(0o755)  # what hides the secret must be the sandbox, not the folder's mode
        secret = _secret(folder)
        bait = _Bait(folder, secret)
        try:
            yield bait
        finally:
            bait.close()
            secret.unlink()


def _secret(otherwise: Path) -> Path:
    """Write a file that must not be readable: in the user's home if that can be written to."""
    name = f"canary-{secrets.token_hex(8)}"
    for folder in (user_cache_path("lmboot"), otherwise):
        with contextlib.suppress(OSError, SandboxFault):
            path = private_folder(folder) / name if folder != otherwise else folder / name
            path.write_text(secrets.token_hex(16))
            return path
    raise SandboxFault(f"{otherwise} can't be written to", hint="Make room on the disk.")
