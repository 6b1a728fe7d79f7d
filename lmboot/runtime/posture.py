"""What a back end enforces, property by property, proven by trying to get out of it now.

A back end is usable only if a small program, run through the very plan that payloads get, comes
back with the nonce and with the denials. That it is installed proves nothing, and neither does
that it exits with 0.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
import platform
import secrets
import socket
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Protocol, get_args

from platformdirs import user_cache_path

from lmboot import __version__
from lmboot.errors import ConsentImpossible, SandboxFault, UsageFault
from lmboot.process import Ended
from lmboot.runtime import seccomp
from lmboot.runtime.backends import CHANNEL, NOT_BUILT, Backend, bubblewrap, landlock, none, wasm
from lmboot.runtime.properties import (
    ABSENT,
    PROBE_LIMITS,
    PROPERTIES,
    WATCHED,
    Level,
    Properties,
    judge,
    lacking,
)
from lmboot.runtime.run import Box, Job
from lmboot.workspace import private_folder

PROBE_SECONDS = 30.0
_TOO_MUCH = int(PROBE_LIMITS.memory_mb * 1.5) << 20
_PROBED_CALLS = ("ptrace", "keyctl", "add_key", "io_uring_setup", "unshare", "bpf", "memfd_create")
_PROBE = Path(__file__).parent / "guest" / "probe.py"


@dataclass(frozen=True, slots=True)
class Posture:
    """One back end as it is on this machine; `reason` and `remedy` say why it is not usable."""

    name: str
    usable: bool
    reason: str = ""
    remedy: str = ""
    properties: Properties = field(default_factory=lambda: dict(ABSENT))


def _say_nothing(text: str) -> None:
    """Tell nobody what takes its time."""


async def survey(say: Callable[[str], None] = _say_nothing) -> list[Posture]:
    """Probe every back end of this version, now; `say` is told what takes long, beforehand."""
    return [*[await _survey(name, say) for name in BACKENDS], _UNCONFINED]


class _Finder(Protocol):
    """A module with a back end."""

    def find(self) -> Backend: ...


# In the order in which `auto` takes the first that is usable. The portable one is young: it comes
# first only where nothing else is built.
_LINUX: Mapping[str, _Finder] = {"bubblewrap": bubblewrap, "landlock": landlock, "wasm": wasm}
_ELSEWHERE: Mapping[str, _Finder] = {"wasm": wasm, "bubblewrap": bubblewrap, "landlock": landlock}
BACKENDS = _LINUX if sys.platform.startswith("linux") else _ELSEWHERE

_UNCONFINED = Posture("none", usable=True, reason="no border: the runtime has your own rights")


async def _find(name: str, say: Callable[[str], None]) -> Backend:
    """Return a back end as it is here; one that has to be made ready first, is."""
    finder = BACKENDS[name]
    prepare = getattr(finder, "prepare", None)
    if prepare is not None:
        await prepare(say)
    return await asyncio.to_thread(finder.find)


async def _survey(name: str, say: Callable[[str], None]) -> Posture:
    try:
        backend = await _find(name, say)
    except SandboxFault as fault:
        return Posture(name, usable=False, reason=str(fault), remedy=fault.hint)
    posture = await prove(backend)
    _remember(backend, posture)
    return posture


class Chosen(NamedTuple):
    """The back end to use, and what was proven of it."""

    backend: Backend
    properties: Properties


async def choose(
    sandbox: str, *, no_border: bool, say: Callable[[str], None] = _say_nothing
) -> Chosen:
    """Return the back end to use; raise where there is none, or none by that name.

    `auto` never means `none`, and a back end that was named is never replaced by another.
    """
    if sandbox in NOT_BUILT:
        raise SandboxFault(
            f"this version of lmboot has no {sandbox} back end yet",
            hint="Use --sandbox auto: it takes the best one that works on this machine.",
        )
    if sandbox not in ("auto", "none", *BACKENDS):
        raise UsageFault(f"there is no sandbox {sandbox!r}", hint="Use --sandbox auto.")
    if sandbox == "none":
        if not no_border:
            raise ConsentImpossible(
                "--sandbox none lets the runtime do whatever you can do, and was not agreed to",
                hint="Add --no-border if that is what you want.",
            )
        return Chosen(none.Unconfined(), ABSENT)
    faults: dict[str, SandboxFault] = {}
    for name in BACKENDS if sandbox == "auto" else [sandbox]:
        try:
            return await _proven(name, say)
        except SandboxFault as fault:
            faults[name] = fault
    raise _together(faults)


async def _proven(name: str, say: Callable[[str], None]) -> Chosen:
    """Return a back end with its proof, be it remembered; raise where it is not usable."""
    backend = await _find(name, say)
    posture = _remembered(backend) or await prove(backend)
    _remember(backend, posture)
    if not posture.usable:
        raise SandboxFault(posture.reason, hint=posture.remedy)
    return Chosen(backend, posture.properties)


def _together(faults: Mapping[str, SandboxFault]) -> SandboxFault:
    """Return one fault for all: every reason, and the remedy of the back end to be preferred."""
    first, *others = faults.values()
    if not others:
        return first
    reasons = "; ".join(f"{name}: {fault}" for name, fault in faults.items())
    return SandboxFault(f"no sandbox is usable here; {reasons}", hint=first.hint)


# ---------------------------------------------------------------- the proof


async def prove(backend: Backend) -> Posture:
    """Run the probe in a back end and judge what it brings back."""
    with _bait() as bait:
        try:
            async with asyncio.timeout(PROBE_SECONDS):
                tried, ended = await _probe(backend, bait)
        except SandboxFault as fault:
            return Posture(backend.name, usable=False, reason=str(fault), remedy=fault.hint)
        except TimeoutError:
            tried, ended = None, Ended(0, None, clean=False)
        visited = bait.visited()
    if tried is None:
        return _unusable(backend.name, "its probe brought nothing back")
    limit, clean = ended.limit, ended.clean
    properties = judge(tried, visited=visited, limit=limit, clean=clean, channel=CHANNEL)
    missing = lacking(properties)
    if missing:
        return _unusable(backend.name, f"it does not enforce {', '.join(missing)}", properties)
    return Posture(backend.name, usable=True, properties=properties)


async def _probe(backend: Backend, bait: _Bait) -> tuple[dict[str, str] | None, Ended]:
    """Return all outcomes, and the last end.

    An attempt at which a limit ended the probe was watched; the others are tried once more.
    """
    watched: dict[str, str] = {}
    while True:
        box = await Box.open(backend, PROBE_LIMITS)
        said, ended = await _listen(box, _probe_job(bait, without=watched))
        word, _, attempt = (
            said.rstrip().rpartition(b"\n")[2].decode(errors="replace").partition(" ")
        )
        if word != "trying" or attempt in watched or ended.limit not in ("processes", "disk"):
            tried = _tried(said, bait.nonce)
            return tried and {**tried, **watched}, ended
        watched[attempt] = WATCHED


def _unusable(name: str, why: str, properties: Properties = ABSENT) -> Posture:
    return Posture(
        name,
        usable=False,
        reason=f"{name} starts on this machine, but {why}",
        remedy="Run `lmboot doctor`; if bubblewrap is not your distribution's own, reinstall it.",
        properties=dict(properties),
    )


def _probe_job(bait: _Bait, without: Iterable[str]) -> Job:
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
    return Job((("probe.py", _PROBE.read_bytes()),), argv, PROBE_LIMITS, {})


def _known_machine() -> bool:
    return platform.machine() in seccomp.ARCHES


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
    """What the host puts up for the probe to go for: a secret, a server, two sockets."""

    def __init__(self, folder: Path, secret: Path) -> None:
        self.nonce = secrets.token_hex(16)
        abstract = f"lmboot-{secrets.token_hex(8)}"
        self._servers = [
            _listening(socket.AF_INET, ("127.0.0.1", 0)),
            _listening(socket.AF_UNIX, str(folder / "socket")),
            _listening(socket.AF_UNIX, f"\0{abstract}"),
        ]
        self.arguments = {
            "nonce": self.nonce,
            "canary": secret,
            "home": os.path.expanduser("~"),  # Path.home() raises where there is none
            "port": self._servers[0].getsockname()[1],
            "socket": folder / "socket",
            "abstract": abstract,
            "pid": os.getpid(),
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


# ---------------------------------------------------------------- what was proven before


def _cache_path(name: str) -> Path:
    return user_cache_path("lmboot") / f"posture-{name}.json"


def _key(backend: Backend) -> dict[str, Any]:
    """Return all that a proof rests on; it holds no longer than until the next boot."""
    binary = getattr(backend, "binary", "")
    found = os.stat(binary) if binary else None
    with contextlib.suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return {
        "lmboot": __version__,
        "kernel": platform.release(),
        "boot": boot,
        "uid": os.geteuid(),
        "binary": [binary, found.st_mtime_ns, found.st_size] if found else None,
        "backend": hashlib.sha256(repr(backend).encode()).hexdigest(),
        "probe": hashlib.sha256(_PROBE.read_bytes()).hexdigest(),
    }


def _remembered(backend: Backend) -> Posture | None:
    """Return what was proven since the machine started; None when that is nothing or damaged."""
    try:
        descriptor = os.open(_cache_path(backend.name), os.O_RDONLY | os.O_NOFOLLOW)
        with open(descriptor, "rb") as file:
            found = os.fstat(descriptor)
            if found.st_uid != os.geteuid() or found.st_mode & 0o022:
                return None
            kept = json.loads(file.read(1 << 16))
        if kept["key"] != _key(backend) or kept["posture"]["usable"] is not True:
            return None
        posture = Posture(**kept["posture"])
    except (OSError, ValueError, LookupError, TypeError):
        return None
    levels = set(get_args(Level))
    complete = set(posture.properties) == set(PROPERTIES)
    return posture if complete and set(posture.properties.values()) <= levels else None


def _remember(backend: Backend, posture: Posture) -> None:
    """Keep a proof until the next boot; a failure is not kept: its remedy must work at once."""
    path = _cache_path(backend.name)
    with contextlib.suppress(OSError, SandboxFault):
        private_folder(path.parent)
        if not posture.usable:
            path.unlink(missing_ok=True)
            return
        passing = path.with_name(f"posture-{secrets.token_hex(8)}")
        with open(os.open(passing, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            json.dump({"key": _key(backend), "posture": asdict(posture)}, file)
        passing.replace(path)


def forget() -> None:
    """Forget all that was proven: a launch failed that should not have."""
    for name in BACKENDS:
        with contextlib.suppress(OSError):
            _cache_path(name).unlink(missing_ok=True)
