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
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, get_args

from platformdirs import user_cache_path

from lmboot import __version__, cgroups
from lmboot.cgroups import Place
from lmboot.errors import ConsentImpossible, SandboxFault, UsageFault
from lmboot.process import Ended
from lmboot.runtime import seccomp
from lmboot.runtime.backends import CHANNEL, NOT_BUILT, Backend, bubblewrap, none
from lmboot.runtime.properties import (
    ABSENT,
    PROBE_LIMITS,
    PROPERTIES,
    WALLS,
    WATCHED,
    Level,
    Properties,
    SandboxLevel,
    judge,
    lacking,
    short_of,
)
from lmboot.runtime.registry import BACKENDS, order
from lmboot.runtime.remedies import LEVEL_REMEDIES, install
from lmboot.runtime.run import Box, Job
from lmboot.workspace import private_folder

PROBE_SECONDS = 30.0
_TOO_MUCH = int(PROBE_LIMITS.memory_mb * 2.5) << 20  # more than a group may have, files and all
_PROBED_CALLS = ("ptrace", "keyctl", "add_key", "io_uring_setup", "unshare", "bpf", "memfd_create")
_PROBE = Path(__file__).parent / "guest" / "probe.py"


@dataclass(frozen=True, slots=True)
class Posture:
    """One back end as it is on this machine; `reason` and `remedy` say why it is not usable.

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


async def survey() -> list[Posture]:
    """Probe every back end of this version, now."""
    places = await asyncio.to_thread(cgroups.find)
    return [*[await _survey(name, places) for name in BACKENDS], _UNCONFINED]


_UNCONFINED = Posture("none", usable=True, reason="no border: the runtime has your own rights")


async def _survey(name: str, places: Sequence[Place]) -> Posture:
    try:
        backend = await asyncio.to_thread(BACKENDS[name].find)
    except SandboxFault as fault:
        return Posture(name, usable=False, reason=str(fault), remedy=fault.hint)
    posture = await prove(backend, places)
    _remember(backend, posture, places)
    return posture


class Chosen(NamedTuple):
    """The back end to use, what was proven of it, and where its runs get their control group."""

    backend: Backend
    properties: Properties
    places: Sequence[Place] = ()


async def choose(sandbox: str, *, no_border: bool, level: SandboxLevel = "low") -> Chosen:
    """Return the back end to use; raise where there is none, or none by that name.

    `auto` never means `none`, and a back end that was named is never replaced by another. `level`
    is what a payload asks for; consent to `none` is consent to that, too, if it is low.
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
        if level != "low":
            raise _too_low("none", level, short_of(level, ABSENT, walls=0))
        places = await asyncio.to_thread(cgroups.find)
        return Chosen(none.Unconfined(), ABSENT, places)
    names = [sandbox] if sandbox != "auto" else order(sys.platform, BACKENDS, walls=WALLS[level])
    faults: dict[str, SandboxFault] = {}
    places = await asyncio.to_thread(cgroups.find)
    for name in names:
        try:
            return await _proven(name, places, level)
        except SandboxFault as fault:
            faults[name] = fault
    raise _together(faults, level)


async def _proven(name: str, places: Sequence[Place], level: SandboxLevel) -> Chosen:
    """Return a back end with its proof, be it remembered; raise where it is not usable."""
    backend = await asyncio.to_thread(BACKENDS[name].find)
    posture = _remembered(backend, places) or await prove(backend, places)
    _remember(backend, posture, places)
    if not posture.usable:
        raise SandboxFault(posture.reason, hint=posture.remedy)
    if missing := short_of(level, posture.properties, walls=walls(name)):
        raise _too_low(name, level, missing)
    return Chosen(backend, posture.properties, places if posture.grouped else ())


def walls(name: str) -> int:
    """Return how many borders a back end has, one inside the other."""
    return BACKENDS[name].walls if name in BACKENDS else 0


def _too_low(name: str, level: SandboxLevel, missing: Sequence[str]) -> SandboxFault:
    return SandboxFault(
        f"the payload asks for sandbox level {level}, and {name} does not give all of that here: "
        f"{', '.join(missing)}",
        hint=f"{LEVEL_REMEDIES[level]} Or ask for a payload that needs no more than level low.",
    )


def _nothing_built(level: SandboxLevel) -> SandboxFault:
    if WALLS[level] > 1:
        return SandboxFault(
            f"the payload asks for sandbox level {level}: two walls, one inside the other; this "
            "version of lmboot has no back end with two for this system",
            hint=LEVEL_REMEDIES[level],
        )
    return SandboxFault(
        f"no sandbox is built for this system ({sys.platform}) yet",
        hint=install(sys.platform, bubblewrap.os_release()),
    )


def _together(faults: Mapping[str, SandboxFault], level: SandboxLevel) -> SandboxFault:
    """Return one fault for all: every reason, and the quickest remedy."""
    if not faults:
        return _nothing_built(level)
    first, *others = faults.values()
    if not others:
        return first
    reasons = "; ".join(f"{name}: {fault}" for name, fault in faults.items())
    return SandboxFault(f"no sandbox is usable here; {reasons}", hint=first.hint)


# ---------------------------------------------------------------- the proof


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
    missing = lacking(properties)
    if missing:
        why = f"it does not enforce {', '.join(missing)}"
        return _unusable(backend.name, why, properties, tried)
    return Posture(
        backend.name, usable=True, properties=properties, grouped=bool(places), tried=tried
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
    return Job((("probe.py", _PROBE.read_bytes()),), argv, PROBE_LIMITS, {}, unwatched)


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


def _key(backend: Backend, places: Sequence[Place]) -> dict[str, Any]:
    """Return all that a proof rests on; it holds no longer than until the next boot."""
    with contextlib.suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return {
        "lmboot": __version__,
        "kernel": platform.release(),
        "boot": boot,
        "uid": os.geteuid(),
        "binary": _identity(getattr(backend, "binary", "")),
        "groups": [list(map(str, place)) for place in places],
        "backend": hashlib.sha256(repr(backend).encode()).hexdigest(),
        "probe": hashlib.sha256(_PROBE.read_bytes()).hexdigest(),
    }


def _identity(binary: str) -> list[Any] | None:
    """Return what tells a program from any other in its place; None without one."""
    if not binary:
        return None
    with open(binary, "rb") as file:
        found = os.fstat(file.fileno())
        beginning = hashlib.sha256(file.read(4 << 20)).hexdigest()
    return [binary, found.st_ino, found.st_ctime_ns, found.st_mtime_ns, found.st_size, beginning]


def _remembered(backend: Backend, places: Sequence[Place] = ()) -> Posture | None:
    """Return what was proven since the machine started; None when that is nothing or damaged."""
    try:
        descriptor = os.open(_cache_path(backend.name), os.O_RDONLY | os.O_NOFOLLOW)
        with open(descriptor, "rb") as file:
            found = os.fstat(descriptor)
            if found.st_uid != os.geteuid() or found.st_mode & 0o022:
                return None
            kept = json.loads(file.read(1 << 16))
        if kept["key"] != _key(backend, places) or kept["posture"]["usable"] is not True:
            return None
        posture = Posture(**kept["posture"])
    except (OSError, ValueError, LookupError, TypeError):
        return None
    levels = set(get_args(Level))
    complete = set(posture.properties) == set(PROPERTIES)
    return posture if complete and set(posture.properties.values()) <= levels else None


def _remember(backend: Backend, posture: Posture, places: Sequence[Place] = ()) -> None:
    """Keep a proof until the next boot; a failure is not kept: its remedy must work at once."""
    path = _cache_path(backend.name)
    with contextlib.suppress(OSError, SandboxFault):
        private_folder(path.parent)
        if not posture.usable:
            path.unlink(missing_ok=True)
            return
        passing = path.with_name(f"posture-{secrets.token_hex(8)}")
        with open(os.open(passing, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            json.dump({"key": _key(backend, places), "posture": asdict(posture)}, file)
        passing.replace(path)


def forget() -> None:
    """Forget all that was proven: a launch failed that should not have."""
    for name in BACKENDS:
        with contextlib.suppress(OSError):
            _cache_path(name).unlink(missing_ok=True)
