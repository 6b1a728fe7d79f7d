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
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol, get_args

from platformdirs import user_cache_path

from lmboot import __version__
from lmboot.errors import ConsentImpossible, SandboxFault, UsageFault
from lmboot.process import Ended
from lmboot.runtime import seccomp
from lmboot.runtime.backends import CHANNEL, NOT_BUILT, Backend, bubblewrap, landlock, none
from lmboot.runtime.policy import Limits
from lmboot.runtime.run import Box, Job
from lmboot.workspace import private_folder

Level = Literal["enforced", "partial", "absent"]
Properties = Mapping[str, Level]

PROPERTIES = (
    "fs_read",
    "fs_write",
    "net_ip",
    "net_loopback",
    "unix_abstract",
    "unix_path",
    "proc_view",
    "signals",
    "syscalls",
    "pids",
    "mem_total",
    "disk_total",
    "tree_kill",
    "env",
    "fds",
    "own_paths",
)
IN_WORDS = {  # of a property that is enforced; the program is what they speak of
    "fs_read": "can't read your files",
    "fs_write": "can't write outside its folder",
    "net_ip": "has no network",
    "net_loopback": "can't reach servers on this machine",
    "unix_abstract": "can't reach abstract sockets (X11, D-Bus)",
    "unix_path": "can't reach sockets in the file system",
    "proc_view": "can't see other processes",
    "signals": "can't signal other processes",
    "syscalls": "can't use risky system calls",
    "pids": "its processes are limited",
    "mem_total": "its memory is limited as a whole",
    "disk_total": "its disk space is limited as a whole",
    "tree_kill": "ends with all its processes",
    "env": "sees no environment of yours",
    "fds": "has no open files of yours",
    "own_paths": "has an /app, a /tmp and a /dev/shm of its own",
}
PARTLY = {  # what remains possible where the words above hold in part
    "fs_read": "can learn of a path that it guesses whether it is there, its size and its date",
    "proc_view": "can find out which process numbers are taken, and by which user",
    "pids": "by looking: more of them may be there for a moment",
    "mem_total": "by looking: it may use more for a moment",
    "disk_total": "by looking: it may use more for a moment",
    "own_paths": "they lie elsewhere: its HOME and its TMPDIR name two, and there is no third",
}


def in_words(name: str, level: str) -> str:
    """Return what a property means; with what remains possible where it holds in part."""
    remains = f" ({PARTLY[name]})" if level == "partial" and name in PARTLY else ""
    return IN_WORDS[name] + remains


# Without all of these, as far as said here, there is no border to speak of, and nothing is run.
# In part is enough where what is left are names and numbers, and no content: a back end without
# namespaces can refuse to open what it can't hide.
REQUIRED: Mapping[str, Level] = {
    "fs_read": "partial",
    "fs_write": "enforced",
    "net_ip": "enforced",
    "net_loopback": "enforced",
    "unix_abstract": "enforced",
    "proc_view": "partial",
    "signals": "enforced",
    "tree_kill": "enforced",
    "env": "enforced",
    "fds": "enforced",
}
ABSENT: Properties = dict.fromkeys(PROPERTIES, "absent")

PROBE_SECONDS = 30.0
PROBE_LIMITS = Limits(memory_mb=128, cpu_seconds=20, wall_seconds=20, processes=12, disk_mb=4)
SCRATCH_MB = 16
WATCHED = "watched"  # the outcome of an attempt that the supervisor put an end to
_TOO_MUCH = int(PROBE_LIMITS.memory_mb * 1.5) << 20
_CHANGES = (
    *("write_usr", "write_root", "write_dev"),
    *("chmod_canary", "touch_canary", "mark_canary"),
)
_ALLOWED_NAMES = {"PATH", "LANG", "HOME", "TMPDIR"}
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


async def survey() -> list[Posture]:
    """Probe every back end of this version, now."""
    return [*[await _survey(name) for name in BACKENDS], _UNCONFINED]


class _Finder(Protocol):
    """A module with a back end."""

    def find(self) -> Backend: ...


# In the order in which `auto` takes the first that is usable.
BACKENDS: Mapping[str, _Finder] = {"bubblewrap": bubblewrap, "landlock": landlock}

_UNCONFINED = Posture("none", usable=True, reason="no border: the runtime has your own rights")


async def _survey(name: str) -> Posture:
    try:
        backend = await asyncio.to_thread(BACKENDS[name].find)
    except SandboxFault as fault:
        return Posture(name, usable=False, reason=str(fault), remedy=fault.hint)
    posture = await prove(backend)
    _remember(backend, posture)
    return posture


class Chosen(NamedTuple):
    """The back end to use, and what was proven of it."""

    backend: Backend
    properties: Properties


async def choose(sandbox: str, *, no_border: bool) -> Chosen:
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
            return await _proven(name)
        except SandboxFault as fault:
            faults[name] = fault
    raise _together(faults)


async def _proven(name: str) -> Chosen:
    """Return a back end with its proof, be it remembered; raise where it is not usable."""
    backend = await asyncio.to_thread(BACKENDS[name].find)
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
    properties = judge(tried, ended, visited=visited)
    missing = lacking(properties)
    if missing:
        return _unusable(backend.name, f"it does not enforce {', '.join(missing)}", properties)
    return Posture(backend.name, usable=True, properties=properties)


def lacking(properties: Properties) -> list[str]:
    """Return what is required and not there, or not as far as it must be; pure."""
    ranks: tuple[Level, ...] = ("absent", "partial", "enforced")
    return [
        name
        for name, least in REQUIRED.items()
        if ranks.index(properties[name]) < ranks.index(least)
    ]


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


def judge(tried: Mapping[str, str], ended: Ended, *, visited: bool) -> Properties:
    """Return what the outcomes prove; what was not tried counts as absent; pure."""

    def closed(*names: str) -> bool:
        return all(not tried.get(name, "ok").startswith("ok") for name in names)

    def refused(*names: str) -> Level:
        return _level(closed(*names))

    def listed(name: str) -> list[Any]:
        outcome = tried.get(name, "")
        return list(json.loads(outcome[3:].replace("'", '"'))) if outcome.startswith("ok") else []

    def within(name: str, most: int) -> Level:
        word, _, number = tried.get(name, "").partition(" ")
        if word == "ok" and int(number) <= most:
            return "enforced"
        return "partial" if word == WATCHED else "absent"

    calls = [outcome for name, outcome in tried.items() if name.startswith("call_")]
    names = set(listed("env"))
    alone = 0 < len(listed("pids")) <= 3
    disk = within("disk", int(PROBE_LIMITS.disk_mb))
    scratch = {within("shm", SCRATCH_MB), within("tmp", SCRATCH_MB)}
    return {
        "fs_read": _graded(
            closed("read_canary", "read_home", "read_passwd", "watch_home", "link_canary"),
            wholly=closed("stat_passwd"),
        ),
        "fs_write": refused(*_CHANGES),
        "net_ip": refused("inet", "inet6", "vsock", "netlink"),
        "net_loopback": _level(
            not visited and refused("tcp_loopback", "tcp6_loopback") == "enforced"
        ),
        "unix_abstract": refused("unix_abstract"),
        "unix_path": refused("unix_path"),
        "proc_view": _graded(closed("read_host") and (alone or closed("pids")), wholly=alone),
        "signals": refused("kill_host", "renice_host", "limit_host"),
        "syscalls": _level(bool(calls) and all(call in ("EPERM", "ENOSYS") for call in calls)),
        "pids": within("forks", int(PROBE_LIMITS.processes)),
        # Watched, not contained: between two looks it can be exceeded for a moment.
        "mem_total": "partial" if ended.limit == "memory" else "absent",
        "disk_total": disk if scratch == {"enforced"} or disk == "absent" else "partial",
        "tree_kill": _level(ended.clean),
        "env": _level(
            bool(names)
            and all(name in _ALLOWED_NAMES or name.startswith("LMBOOT_") for name in names)
        ),
        "fds": _level(listed("fds") == [0, 1, 2, CHANNEL]),
        "own_paths": _graded(
            tried.get("folder", "").startswith("ok"), wholly=tried.get("folder") == "ok /app"
        ),
    }


def _graded(basis: bool, *, wholly: bool) -> Level:
    return "enforced" if basis and wholly else "partial" if basis else "absent"


def _level(proven: bool) -> Level:
    return "enforced" if proven else "absent"


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
