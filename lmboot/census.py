"""What the system tells about a tree of processes: Linux by /proc, macOS by libproc.

Standard library only: this is imported by a process that has nothing else.
"""

from __future__ import annotations

import contextlib
import math
import os
import sys
from collections.abc import Callable
from typing import NamedTuple

from lmboot import libproc

MACOS: bool = sys.platform == "darwin"
if sys.platform != "win32":
    TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
else:
    TICKS_PER_SECOND = 100


class Facts(NamedTuple):
    """What is known of one process; times in ticks."""

    born: int
    own: int
    waited: int  # what the children that it waited for had used
    running: bool


def children(pid: int) -> list[int]:
    """Return the children of a process; none when it is gone, or where nobody can tell."""
    if MACOS:
        return libproc.children(pid)
    found: list[int] = []
    try:
        for task in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{task}/children") as file:
                found += map(int, file.read().split())
    except OSError:
        pass  # a task that ends while it is being read has no children any more
    return found


def descendants(pid: int, most: float = math.inf) -> list[int]:
    """Return the children, theirs, and so on; the walk ends once there are more than `most`.

    Whoever forks faster than this walks would otherwise be walked through without end.
    """
    found = children(pid)
    for child in found:  # grows while it is walked
        if len(found) > most:
            break
        found += children(child)
    return found


def facts_of(pid: int) -> Facts | None:
    """Return what is known of a process; None when it is gone, or where nobody can tell."""
    if MACOS:
        used = libproc.usage(pid)
        return used and facts_from(used, running=libproc.is_running(pid))
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
    except OSError:
        return None
    times = [int(field) for field in fields[11:15]]
    return Facts(int(fields[19]), sum(times[:2]), sum(times[2:]), fields[0] == b"R")


def facts_from(used: libproc.Usage, *, running: bool) -> Facts:
    """Return what macOS knows of a process in Linux's units; pure."""
    own, waited = (
        nanoseconds * TICKS_PER_SECOND // libproc.NANOSECONDS
        for nanoseconds in (used.own, used.waited)
    )
    return Facts(used.born, own, waited, running)


def marked(path: str) -> list[int]:
    """Return the processes of the sandbox that may write to a path, wherever they have gone.

    Only macOS can tell, and only there it is needed: on Linux a subreaper has them all beneath it.
    Raises OSError where this can't be told.
    """
    return libproc.marked(path) if MACOS else []


def users() -> set[int]:
    """Return all users that have a process."""
    if MACOS:
        return libproc.users()
    found = set()
    for entry in os.scandir("/proc"):
        with contextlib.suppress(OSError):
            found.add(entry.stat().st_uid)
    return found


def _sum_of_lines(path: str, names: tuple[bytes, ...]) -> int:
    """Return the sum of the named lines of a file of /proc, in bytes."""
    with open(path, "rb") as file:
        lines = file.read().split(b"\n")
    return sum(int(line.split()[1]) for line in lines if line.startswith(names)) * 1024


def resident(pid: int) -> int:
    """Return an upper bound of a process's memory: what it shares is not divided."""
    if MACOS:
        used = libproc.usage(pid)
        return used.footprint if used else 0
    try:
        return _sum_of_lines(f"/proc/{pid}/status", (b"VmRSS:", b"VmSwap:"))
    except OSError:
        return 0


def proportional(pid: int) -> int:
    """Return a process's share of memory: of a page that n processes share, the n-th part."""
    if MACOS:
        return resident(pid)  # what it shares is not in there
    try:
        return _sum_of_lines(f"/proc/{pid}/smaps_rollup", (b"Pss:", b"SwapPss:"))
    except OSError:
        return resident(pid)  # it has made itself unreadable: the upper bound counts


# ---------------------------------------------------------------- the tree's CPU time


class CpuLedger:
    """The CPU time of a tree of processes, from a look at it every now and then.

    A process's time moves to its parent when that waits for it, and vanishes when the parent
    ignores SIGCHLD. So what the dead had used is estimated, and counts as far as it is more than
    what turned up in their parents.
    """

    def __init__(self) -> None:
        self._seen: dict[tuple[int, int], Facts] = {}
        self._fresh: set[tuple[int, int]] = set()
        self._used_by_dead = 0
        self._turned_up = 0

    def update(self, tree: dict[int, Facts], elapsed: int) -> int:
        """Take in the tree `elapsed` ticks after the last look; return its ticks in all."""
        alive = {(pid, facts.born): facts for pid, facts in tree.items()}
        for key, facts in self._seen.items():
            if key not in alive:
                self._used_by_dead += self._estimate(key, facts, elapsed)
        for key, facts in alive.items():
            before = self._seen.get(key)
            self._turned_up += facts.waited - (before.waited if before else 0)
        self._fresh = alive.keys() - self._seen.keys()
        self._seen = alive
        vanished = max(0, self._used_by_dead - self._turned_up)
        return vanished + sum(facts.own + facts.waited for facts in alive.values())

    def _estimate(self, key: tuple[int, int], last: Facts, elapsed: int) -> int:
        """Estimate what a dead process had used in all, from when it was last seen.

        A life shorter than the gap between two looks is met with probability life : gap; charging
        the whole gap to each that is met, running, is right on average.
        """
        used = last.own + last.waited
        return max(used, elapsed) if key in self._fresh and last.running else used


class CpuTime:
    """The CPU seconds of a tree of processes beneath this one, from when its payload was let in.

    A control group's count where there is one; else the ledger's, which has the tree's beginning
    in it. `counted` returns the group's, None where it counts none.
    """

    def __init__(self, counted: Callable[[], float | None]) -> None:
        self._counted = counted
        self._before = 0.0  # from setting the sandbox up
        self._ledger = CpuLedger()
        self._seen = 0.0  # by the ledger, at its last look

    def begin(self) -> None:
        """Count from here on, where a group counts."""
        self._before = self._counted() or 0.0

    def so_far(self, tree: dict[int, Facts], elapsed: float) -> float:
        """Return what a tree has used that was found `elapsed` seconds after the last look."""
        counted = self._counted()
        if counted is not None:
            return counted - self._before
        ticks = self._ledger.update(tree, round(elapsed * TICKS_PER_SECOND))
        self._seen = ticks / TICKS_PER_SECOND
        return self._seen

    def in_all(self, waited: float) -> float:
        """Return what it had used, once nothing of it is left; `waited`: those waited for, in all.

        Nobody has looked at one that ended soon, but it was waited for; one whose parent did not
        wait for it turns up nowhere, but was looked at. The greater of the two counts.
        """
        counted = self._counted()
        return max(self._seen, waited) if counted is None else counted - self._before
