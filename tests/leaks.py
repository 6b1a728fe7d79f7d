"""Nothing may outlive a test: no process, no folder, no descriptor."""

from __future__ import annotations

import contextlib
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
from platformdirs import user_cache_path

from lmboot import cgroups
from lmboot.process import UIDS
from lmboot.runtime.backends import short_base
from lmboot.workspace import PASSABLE

PATIENCE_SECONDS = 5.0  # for what is already dying
SHIM = "containerd-shim"  # with its version behind it
OTHERS_SECONDS = 20.0  # for the runs of others, who may be at work on this machine


def processes() -> set[int]:
    """Return the processes beneath this one and in docker, and orphans of users of runs alone."""
    found = {child.pid for child in psutil.Process().children(recursive=True)} | served()
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if os.geteuid() == 0 and process.uids().real in UIDS and _is_orphan(process):
                found.add(process.pid)
    return found


def _is_orphan(process: psutil.Process) -> bool:
    """Say whether it runs and no lmboot stands above it: another may be at work on this machine.

    A zombie whose parent is gone is nobody's leak: the system's first process collects it.
    """
    if process.status() == psutil.STATUS_ZOMBIE:
        return False
    above = [parent for parent in process.parents() if parent.pid != 1]
    return all(parent.uids().real in UIDS for parent in above)


def served() -> set[int]:
    """Return the processes of runs that are in docker's containers: nobody's children here."""
    found: list[psutil.Process] = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.name().startswith(SHIM):
                found += process.children(recursive=True)
    return {each.pid for each in found if _is_of_a_run(each)}


def _is_of_a_run(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.Error):
        zombie = process.status() == psutil.STATUS_ZOMBIE
        return not zombie and process.uids().real in {os.geteuid(), *UIDS} - {0}
    return False


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
    ours = {os.getpid(), *(child.pid for child in psutil.Process().children(recursive=True))}
    found = {path for place in places for path in place.glob("lmboot-probe-*-*")}
    return {path for path in found if path.name.split("-")[2] in map(str, ours)}


def _held_by_others(runs: set[Path]) -> set[Path]:
    """Return the runs, folders and locks, whose locks only processes of others have."""
    holders: dict[int, set[int]] = {}
    for line in Path("/proc/locks").read_text().splitlines():
        words = line.split()
        if words[1] == "FLOCK":
            holders.setdefault(int(words[5].rpartition(":")[2]), set()).add(int(words[4]))
    ours = {os.getpid(), *(child.pid for child in psutil.Process().children(recursive=True))}
    found = set()
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


@contextlib.contextmanager
def nothing_left() -> Iterator[None]:
    """Fail unless all that was started and made inside is gone at the end.

    What somebody else starts or makes later is not looked at: the very things must go.
    """
    before = processes(), folders(), groups()
    yield
    left = processes() - before[0], folders() - before[1], groups() - before[2]

    def gone() -> bool:
        nonlocal left
        left = left[0] & processes(), left[1] & folders(), left[2] & groups()
        return not any(left)

    if not gone() and not wait_until(gone, OTHERS_SECONDS):
        alive = filter(psutil.pid_exists, left[0])
        names = [f"{pid} {psutil.Process(pid).cmdline()}" for pid in alive]
        raise AssertionError(f"left behind: {names}, {left[1]}, {left[2]}")


def _is_left(group: str) -> bool:
    lock = cgroups.locked(group)
    if lock is not None:
        os.close(lock)
    return lock is not None
