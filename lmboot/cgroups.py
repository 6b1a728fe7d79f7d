"""Control groups: limits that the kernel keeps for a whole tree of processes; Linux.

`find` says where groups can be made, by making some: whose user this is proves nothing. A `Group`
is one run's: made before any right is given up, held by its open files, entered by the first
process of the runtime's tree, removed by the keeper (`keeper.py`). Standard
library only: the supervisor's.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import sys
import time
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from lmboot import system

PREFIX = "lmboot-"
PAGE = 4096
GONE_SECONDS = 5.0  # for a group to become empty, and to be let go by the kernel
_TRIED_BYTES, _TRIED_PIDS = 64 << 20, 64


class Place(NamedTuple):
    """A folder in which groups can be made; `uses`: of memory, pids, cpu, kill."""

    folder: str
    version: int
    uses: tuple[str, ...] = ()


# By version and use: the file that shows that it can be had.
SIGNS = {
    (1, "memory"): "memory.limit_in_bytes",
    (1, "pids"): "pids.max",
    (1, "cpu"): "cpu.shares",
    (2, "memory"): "memory.max",
    (2, "pids"): "pids.max",
    (2, "cpu"): "cpu.weight",
    (2, "kill"): "cgroup.kill",
}
# Where a limit is written, in this order; what is not there can't be exceeded.
LIMITS = {
    (1, "memory"): ("memory.limit_in_bytes", "memory.memsw.limit_in_bytes"),
    (2, "memory"): ("memory.max",),
    (1, "pids"): ("pids.max",),
    (2, "pids"): ("pids.max",),
}
# Nothing is swapped out, where it would not count; a tree that is out of memory dies as one.
_SETTINGS = {
    (1, "memory"): {"memory.swappiness": b"0"},
    (2, "memory"): {"memory.swap.max": b"0", "memory.oom.group": b"1"},
    # As much of the processors as one program has, however many the tree is.
    (1, "cpu"): {"cpu.shares": b"1024"},
    (2, "cpu"): {"cpu.weight": b"100"},
}
EVENTS = {1: "memory.oom_control", 2: "memory.events"}
_IN_MEMORY = {1: (b"rss", b"shmem"), 2: (b"anon", b"shmem")}  # of memory.stat: not on any disk


class NoGroup(Exception):
    """A group can't be made, entered or limited as it must be."""


# ---------------------------------------------------------------- where groups can be made


def candidates(mounts: str, membership: str) -> list[Place]:
    """Return where groups may be made, from /proc/self/mountinfo and /proc/self/cgroup.

    Version 1: in one's own group of each controller. Version 2: there and in all groups above,
    the nearest first, because a group that holds processes gives its own no controllers.
    """
    own = dict(_memberships(membership))
    found = []
    for line in mounts.splitlines():
        left, _, right = line.partition(" - ")
        fields, (kind, *_, options) = left.split(), right.split() or [""]
        if kind == "cgroup2" and "" in own:
            below = _beneath(own[""], fields[3])
            found += [Place(f"{_unescaped(fields[4])}{path}", 2) for path in _upwards(below)]
        for name in ("memory", "pids", "cpu") if kind == "cgroup" else ():
            if name in options.split(",") and name in own:
                below = _beneath(own[name], fields[3])
                found += [Place(f"{_unescaped(fields[4])}{path}", 1) for path in below[:1]]
    return list(dict.fromkeys(found))


def _memberships(text: str) -> Iterator[tuple[str, str]]:
    """Yield (controller, path of one's own group); the controller is empty for version 2."""
    for line in text.splitlines():
        _, controllers, path = line.split(":", 2)
        for name in controllers.split(","):
            yield name, path


def _beneath(path: str, root: str) -> list[str]:
    """Return [path beneath a mount of `root`]; none where that does not show it."""
    if "/.." in path:
        return []
    base = root.rstrip("/")
    return [path[len(base) :].rstrip("/")] if f"{path}/".startswith(f"{base}/") else []


def _upwards(paths: list[str]) -> Iterator[str]:
    for path in paths:
        while path:
            yield path
            path = path.rpartition("/")[0]
        yield ""


def _unescaped(path: str) -> str:
    return path.encode().decode("unicode_escape") if "\\" in path else path


def find(mounts: str | None = None, membership: str | None = None) -> tuple[Place, ...]:
    """Return where groups can be made now, by trying; what dead runs have left there is removed.

    One place of version 2, because a process is in one group of that; of version 1, one for each
    controller that version 2 does not give.
    """
    try:
        mounts = _text("/proc/self/mountinfo") if mounts is None else mounts
        membership = _text("/proc/self/cgroup") if membership is None else membership
    except OSError:  # no Linux, or no /proc
        return ()
    tried = [_tried(place) for place in candidates(mounts, membership)]
    second = [place for place in tried if place.version == 2 and place.uses]
    taken = sorted(second, key=lambda place: -len(place.uses))[:1]  # of equals the nearest
    for place in tried:
        new = set(place.uses) - {use for each in taken for use in each.uses}
        if place.version == 1 and new:
            taken.append(place)
    return tuple(taken)


def _tried(place: Place) -> Place:
    """Return the place with the uses that a group made there really has."""
    reap(place.folder)
    if not os.access(f"{place.folder}/cgroup.procs", os.W_OK):  # it is left by whoever enters
        return place
    uses = [use for version, use in SIGNS if version == place.version]
    return place._replace(uses=tuple(use for use in uses if _works(place, use)))


def _works(place: Place, use: str) -> bool:
    try:
        group = Group.make([place._replace(uses=(use,))], new_name())
    except NoGroup:
        return False
    try:
        group.limit(memory=_TRIED_BYTES, pids=_TRIED_PIDS)
        group.kill()
    except NoGroup:
        return False
    finally:
        group.remove()
    return True


def new_name() -> str:
    """Return a name for a group that no other has."""
    return f"{PREFIX}{secrets.token_hex(8)}"


def discard(places: Iterable[Place], name: str) -> bool:
    """Kill and remove a group whose keeper was lost; say whether nothing is left."""
    return _removed([f"{place.folder}/{name}" for place in places])


def reap(folder: str) -> None:
    """Remove the groups that dead keepers have left; nobody holds their locks."""
    with contextlib.suppress(OSError):
        for name in os.listdir(folder):
            if name.startswith(PREFIX):
                path = f"{folder}/{name}"
                lock = locked(path)
                if lock is not None:
                    _removed([path])
                    os.close(lock)


# ---------------------------------------------------------------- one run's group


class Group:
    """One run's control groups, one for each place, as if they were one."""

    def __init__(self) -> None:
        """Hold nothing yet; `make` returns a group that stands."""
        self.uses: set[str] = set()
        self.folders: list[str] = []
        self._locks: list[int] = []
        self._files: dict[str, int] = {}
        self._doors: list[int] = []  # cgroup.procs of each
        self._limits: dict[str, list[int]] = {}
        self._version = 0  # of the memory controller
        self._alarm: int | None = None

    @classmethod
    def make(cls, places: Iterable[Place], name: str) -> Group:
        """Make a group in all of these; raise NoGroup, with nothing left."""
        group = cls()
        try:
            for place in places:
                group._add(place, f"{place.folder}/{name}")
        except OSError as error:
            group.remove()
            raise NoGroup(f"{error.filename or 'its files'}: {error.strerror}") from None
        return group

    def _add(self, place: Place, folder: str) -> None:
        self._locks.append(_made(folder))
        self.folders.append(folder)
        self._doors.append(os.open(f"{folder}/cgroup.procs", os.O_WRONLY))
        for use in place.uses:
            self._use(place.version, use, folder)
        if os.path.exists(f"{folder}/cpu.stat") and place.version == 2:
            self._files["time"] = os.open(f"{folder}/cpu.stat", os.O_RDONLY)

    def _use(self, version: int, use: str, folder: str) -> None:
        os.stat(f"{folder}/{SIGNS[version, use]}")
        self.uses.add(use)
        for name, value in _SETTINGS.get((version, use), {}).items():
            with contextlib.suppress(FileNotFoundError):  # no swap in this kernel
                _put(f"{folder}/{name}", value)
        for name in LIMITS.get((version, use), ()):
            with contextlib.suppress(FileNotFoundError):
                file = os.open(f"{folder}/{name}", os.O_RDWR)
                self._limits.setdefault(use, []).append(file)
        if use == "memory":
            self._version = version
            self._files["stat"] = os.open(f"{folder}/memory.stat", os.O_RDONLY)
            self._files["events"] = os.open(f"{folder}/{EVENTS[version]}", os.O_RDONLY)
            self._set_alarm(version, folder)
        elif use == "pids":
            self._files["pids"] = os.open(f"{folder}/pids.current", os.O_RDONLY)
        elif use == "kill":
            self._files["kill"] = os.open(f"{folder}/cgroup.kill", os.O_WRONLY)

    def _set_alarm(self, version: int, folder: str) -> None:
        """Be told as soon as the kernel kills for want of memory."""
        if sys.platform == "linux" and version == 1:
            self._alarm = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
            words = b"%d %d" % (self._alarm, self._files["events"])
            _put(f"{folder}/cgroup.event_control", words)

    # -- entering and limiting

    def enter(self) -> None:
        """Put this very process into it, for good; raise OSError. Root's own files allow it."""
        for door in self._doors:
            os.write(door, b"0")

    def check(self, pids: Iterable[int]) -> None:
        """Raise NoGroup unless these processes are in it, as the kernel tells."""
        for folder in self.folders:
            missing = set(pids) - _members(folder)
            if missing:
                raise NoGroup(f"processes {sorted(missing)} are not in {folder}")

    def limit(self, *, memory: int | None = None, pids: int | None = None) -> None:
        """Set the limits, bytes and how many at once; raise NoGroup unless they can be read back.

        The bytes are all that the tree has in memory, files there and the kernel's part too.
        """
        if memory is not None:
            self._limit("memory", -(-memory // PAGE) * PAGE)
        if pids is not None:
            self._limit("pids", pids)

    def _limit(self, use: str, value: int) -> None:
        for file in self._limits.get(use, ()):
            try:
                system.pwrite(file, b"%d" % value, 0)
                found = system.pread(file, 64, 0).strip()
            except OSError as error:
                raise NoGroup(f"its {use} can't be limited: {error.strerror}") from None
            if found != b"%d" % value:
                raise NoGroup(f"its {use} limit reads {found.decode()}, not {value}")

    # -- looking

    def memory(self) -> int | None:
        """Return the bytes in memory that no disk could take; None where nobody counts them."""
        if "stat" not in self._files:
            return None
        lines = dict(line.split() for line in self._read("stat", 1 << 14).splitlines())
        return sum(int(lines.get(name, 0)) for name in _IN_MEMORY[self._version])

    def cpu_seconds(self) -> float | None:
        """Return the CPU time of the tree, its dead included; None where nobody counts it."""
        if "time" not in self._files:
            return None
        return int(self._read("time").split()[1]) / 1e6

    def processes(self) -> int | None:
        """Return how many there are now, threads counted; None where nobody counts them."""
        return int(self._read("pids")) if "pids" in self._files else None

    def killed(self) -> bool:
        """Say whether the kernel has killed in it for want of memory."""
        if self._alarm is not None:
            with contextlib.suppress(BlockingIOError):
                os.read(self._alarm, 8)
        words = self._read("events").split() if "events" in self._files else []
        return int(words[words.index(b"oom_kill") + 1]) > 0 if b"oom_kill" in words else False

    def alarms(self) -> tuple[list[int], list[int]]:
        """Return what becomes readable, and what becomes exceptional, when the kernel kills."""
        if "events" not in self._files:
            return [], []
        return ([], [self._files["events"]]) if self._alarm is None else ([self._alarm], [])

    def members(self) -> set[int]:
        """Return the processes in it."""
        return {pid for folder in self.folders for pid in _members(folder)}

    def _read(self, name: str, size: int = 4096) -> bytes:
        return system.pread(self._files[name], size, 0)

    # -- ending

    def kill(self) -> None:
        """Kill all in it; where the kernel can't do that in one go, one by one."""
        with contextlib.suppress(OSError):
            if "kill" in self._files:
                system.pwrite(self._files["kill"], b"1", 0)
        signal_each(self.members())

    def remove(self) -> bool:
        """Kill what is in it and remove it, once; say whether nothing is left."""
        self.kill()
        left, self.folders = self.folders, []
        gone = _removed(left)
        alarm = [] if self._alarm is None else [self._alarm]
        files = [file for use in self._limits.values() for file in use]
        for file in {*self._files.values(), *self._locks, *self._doors, *files, *alarm}:
            os.close(file)
        return gone


def _removed(folders: list[str]) -> bool:
    """Kill all in these groups and remove them; say whether they are gone in time.

    The kernel keeps a group for a moment after the last of its processes: it is busy until then.
    """
    deadline = time.monotonic() + GONE_SECONDS
    left = list(folders)
    while left:
        for folder in list(left):
            signal_each(_members(folder))
            try:
                os.rmdir(folder)
                left.remove(folder)
            except FileNotFoundError:
                left.remove(folder)
            except OSError:
                continue
        if left and time.monotonic() > deadline:
            return False
        if left:
            time.sleep(0.005)
    return True


def _members(folder: str) -> set[int]:
    """Return the processes of one group; it is opened anew, as the kernel keeps old lists."""
    try:
        return {int(pid) for pid in _text(f"{folder}/cgroup.procs").split()}
    except OSError:
        return set()


def signal_each(pids: Iterable[int], number: int = system.KILL) -> None:
    """Signal processes that are in a group, or were when somebody looked."""
    for pid in pids:
        if pid > 0:  # 0 stands for one that can't be seen from here
            with contextlib.suppress(OSError):
                os.kill(pid, number)


def _made(folder: str) -> int:
    """Make a group and return its lock; once more if whoever removes dead ones came between."""
    for _ in range(10):
        os.mkdir(folder, 0o755)
        lock = locked(folder, wait=True)
        if lock is not None:
            return lock
    raise OSError(errno.EBUSY, "it is removed again and again", folder)


def locked(folder: str, *, wait: bool = False) -> int | None:
    """Return a descriptor that holds the lock of a folder; None where there is none to be had."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | system.O_DIRECTORY | system.O_NOFOLLOW)
    except OSError:
        return None
    try:
        system.lock(descriptor, wait=wait)
        os.stat(folder)  # it may have been removed by whoever had the lock
    except OSError:
        os.close(descriptor)
        return None
    return descriptor


def _text(path: str) -> str:
    with open(path) as file:
        return file.read()


def _put(path: str, value: bytes) -> None:
    """Write to a file that must be there."""
    descriptor = os.open(path, os.O_WRONLY)
    try:
        os.write(descriptor, value)
    finally:
        os.close(descriptor)
