"""Nothing may outlive a test: no process, no folder, no descriptor."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple, cast

import psutil
from platformdirs import user_cache_path

from lmboot import cgroups
from lmboot.process import UIDS
from lmboot.runtime.backends import short_base
from lmboot.workspace import PASSABLE

PATIENCE_SECONDS = 5.0  # for what is already dying
SHIM = "containerd-shim"  # with its version behind it
FRESH_SECONDS = 1.0  # others may come and go
OTHERS_SECONDS = 20.0  # for the runs of others, who may be at work on this machine


class Facts(NamedTuple):
    """What the kernel tells of a process in one line."""

    parent: int
    state: str
    name: str


def table() -> dict[int, Facts]:
    """Return every process, from one look: what psutil would ask for takes five times as long."""
    found = {}
    for name in filter(str.isdecimal, os.listdir("/proc")):
        with contextlib.suppress(OSError), open(f"/proc/{name}/stat", errors="replace") as file:
            before, _, after = file.read().rpartition(")")
            state, parent, *_ = after.split(None, 2)
            found[int(name)] = Facts(int(parent), state, before.partition("(")[2])
    return found


def beneath(roots: Iterable[int], there: Mapping[int, Facts]) -> set[int]:
    """Return the descendants of processes."""
    children: dict[int, list[int]] = {}
    for pid, facts in there.items():
        children.setdefault(facts.parent, []).append(pid)
    found: set[int] = set()
    ahead = [*roots]
    while ahead:
        new = children.get(ahead.pop(), [])
        found.update(new)
        ahead += new
    return found


def processes() -> set[int]:
    """Return the processes beneath this one and in docker, and orphans of users of runs alone."""
    there = table()
    own = beneath([os.getpid()], there)
    others = there.keys() - own if os.geteuid() == 0 else set()
    users = {pid: user for pid in others if (user := _user_of(pid)) in UIDS}
    return own | served(there) | {pid for pid in users if _is_orphan(pid, there, users)}


def _user_of(pid: int) -> int | None:
    """Return the real user of a process; None when it has ended."""
    with contextlib.suppress(OSError), open(f"/proc/{pid}/status", "rb") as file:
        return int(file.read().partition(b"\nUid:")[2].split(None, 1)[0])
    return None


def _is_orphan(pid: int, there: Mapping[int, Facts], users: Collection[int]) -> bool:
    """Say whether it runs and no lmboot stands above it: another may be at work on this machine.

    A zombie whose parent is gone is nobody's leak: the system's first process collects it.
    """
    if there[pid].state == "Z":
        return False
    above = there[pid].parent
    while above > 1 and above in users:
        above = there[above].parent
    return above <= 1


def served(there: Mapping[int, Facts] | None = None) -> set[int]:
    """Return the processes of runs that are in docker's containers: nobody's children here."""
    there = table() if there is None else there
    shims = [pid for pid, facts in there.items() if facts.name.startswith(SHIM[:15])]
    return {pid for pid in beneath(shims, there) if _is_of_a_run(pid, there)}


def _is_of_a_run(pid: int, there: Mapping[int, Facts]) -> bool:
    return there[pid].state != "Z" and _user_of(pid) in {os.geteuid(), *UIDS} - {0}


def folders() -> set[Path]:
    """Return what runs and probes leave on disk when they fail to clean up.

    What a process that is none of ours holds is its own affair.
    """
    places = user_cache_path("lmboot") / "workspaces", PASSABLE, short_base()
    runs = {path for place in places for path in place.glob("run-*")}
    return {
        *(runs - _held_by_others(runs)),
        *_of_probes(),
        *Path("/dev/shm").glob("libpod_rootless*"),  # what podman would lock with
    }


def _of_probes() -> set[Path]:
    """Return what probes of this process and those beneath it have laid out."""
    places = user_cache_path("lmboot"), Path(tempfile.gettempdir())
    found = {path for place in places for path in place.glob("lmboot-probe-*-*")}
    return found and {path for path in found if path.name.split("-")[2] in map(str, _ours())}


def _ours() -> set[int]:
    return {os.getpid(), *beneath([os.getpid()], table())}


def _held_by_others(runs: set[Path]) -> set[Path]:
    """Return the runs, folders and locks, whose locks only processes of others have."""
    if not runs:
        return set()
    holders: dict[int, set[int]] = {}
    for line in Path("/proc/locks").read_text().splitlines():
        words = line.split()
        if words[1] == "FLOCK":
            holders.setdefault(int(words[5].rpartition(":")[2]), set()).add(int(words[4]))
    found, ours = set(), _ours()
    for lock in (path for path in runs if path.suffix == ".lock"):
        with contextlib.suppress(OSError):
            if (taken := holders.get(lock.stat().st_ino, set())) and not taken & ours:
                found |= {lock, lock.with_suffix("")}
    return found


def groups() -> set[str]:
    """Return the control groups of runs that nobody holds any more."""
    listed = Path("/proc/self/mountinfo"), Path("/proc/self/cgroup")
    if not all(path.exists() for path in listed):
        return set()
    places = cgroups.candidates(*(path.read_text() for path in listed))
    found = (path for place in places for path in Path(place.folder).glob(f"{cgroups.PREFIX}*"))
    return {str(path) for path in found if _is_left(str(path))}


def descriptors() -> set[int]:
    """Return the open descriptors of this process, those of an event loop aside."""
    found = set()
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            kind = os.readlink(f"/proc/self/fd/{name}")
            if "eventpoll" not in kind and not kind.startswith("/proc/"):
                found.add(int(name))
    return found


def wait_until(condition: Callable[[], bool], seconds: float = PATIENCE_SECONDS) -> bool:
    """Wait for a condition; say whether it came true."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


class Found(NamedTuple):
    """What there is of all that a test could leave behind."""

    processes: set[int]
    folders: set[Path]
    groups: set[str]


class _Watch:
    """Counts what this process starts and makes: where that is nothing, nobody looks at all."""

    STARTS = frozenset({"os.fork", "os.forkpty", "os.posix_spawn", "subprocess.Popen"})

    def __init__(self) -> None:
        self.count = 0
        self._look = Found(set(), set(), set())
        self._for, self._at = -1, 0.0  # what the count was then, and the time
        sys.addaudithook(self._told)

    def _told(self, event: str, args: tuple[object, ...]) -> None:
        if event in self.STARTS or (event == "os.mkdir" and _is_watched(args[0])):
            self.count += 1

    def found(self) -> Found:
        """Return what there is: by the last look, if nothing was started since and it is fresh."""
        if self._for != self.count or time.monotonic() > self._at + FRESH_SECONDS:
            self._for, self._at = self.count, time.monotonic()
            self._look = Found(processes(), folders(), groups())
        return self._look


def _is_watched(path: object) -> bool:
    return os.path.basename(os.fsdecode(cast(str, path))).startswith(("run-", "lmboot-probe-"))


_watch = _Watch()


@contextlib.contextmanager
def nothing_left() -> Iterator[None]:
    """Fail unless all that was started and made inside is gone at the end.

    What somebody else starts or makes later is not looked at: the very things must go.
    """
    before, count = _watch.found(), _watch.count
    yield
    if _watch.count == count:
        return
    now = _watch.found()
    left = (
        now.processes - before.processes,
        now.folders - before.folders,
        now.groups - before.groups,
    )

    def gone() -> bool:
        nonlocal left
        left = left[0] & processes(), left[1] & folders(), left[2] & groups()
        return not any(left)

    if any(left) and not wait_until(gone, OTHERS_SECONDS):
        alive = filter(psutil.pid_exists, left[0])
        names = [f"{pid} {psutil.Process(pid).cmdline()}" for pid in alive]
        raise AssertionError(f"left behind: {names}, {left[1]}, {left[2]}")


def _is_left(group: str) -> bool:
    lock = cgroups.locked(group)
    if lock is not None:
        os.close(lock)
    return lock is not None
