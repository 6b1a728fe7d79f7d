"""The control group that a service has put its container into, and whose limits it sets.

Where it lies the kernel tells, and it is looked at in its own files, which everybody may read; so
what the service says that it has done is not believed, but read. Standard library only: the
supervisor's.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable

from lmboot import system
from lmboot.cgroups import EVENTS, LIMITS, PAGE, SIGNS, Group, NoGroup, Place, candidates

assert sys.platform != "win32"  # noqa: S101 nobody imports it there

Update = Callable[[int | None, int | None], None]  # to these bytes, and so many processes


class LentGroup(Group):
    """A group that is another's, and in which nobody else is."""

    def __init__(self, pid: int, update: Update) -> None:
        """Look at the group of a process; raise NoGroup where none bounds it alone.

        `update` has the limits set, or raises NoGroup.
        """
        super().__init__()
        self._update = update
        self._was_killed = False
        try:
            for place in _own(pid):
                self._look_at(place)
        except OSError as error:
            raise NoGroup(f"{error.filename or 'its files'}: {error.strerror}") from None
        if not {"memory", "pids"} <= self.uses:
            raise NoGroup("the service does not bound its memory and its processes")

    def _look_at(self, place: Place) -> None:
        """Open what tells of it."""
        self.folders.append(place.folder)
        for (version, use), sign in SIGNS.items():
            if version != place.version or not os.path.exists(f"{place.folder}/{sign}"):
                continue
            self.uses.add(use)
            for name in LIMITS.get((version, use), ()):
                with contextlib.suppress(FileNotFoundError):  # no swap in this kernel
                    file = os.open(f"{place.folder}/{name}", os.O_RDONLY)
                    self._limits.setdefault(use, []).append(file)
            if use == "memory":
                self._version = version
                self._open("stat", f"{place.folder}/memory.stat")
                self._open("events", f"{place.folder}/{EVENTS[version]}")
            elif use == "pids":
                self._open("pids", f"{place.folder}/pids.current")
            elif use == "cpu" and version == 2:
                self._open("time", f"{place.folder}/cpu.stat")

    def _open(self, name: str, path: str) -> None:
        self._files[name] = os.open(path, os.O_RDONLY)

    def limit(self, *, memory: int | None = None, pids: int | None = None) -> None:
        """Have the limits set; raise NoGroup unless they can be read then."""
        memory = None if memory is None else -(-memory // PAGE) * PAGE
        self._update(memory, pids)
        wanted = {"memory": memory, "pids": pids}
        for use, value in wanted.items():
            for file in [] if value is None else self._limits[use]:
                found = system.pread(file, 64, 0).strip().decode()
                if found != str(value):
                    raise NoGroup(f"its {use} limit reads {found}, not {value}")

    def killed(self) -> bool:
        """Say whether the kernel has killed in it; the group goes with its last process."""
        with contextlib.suppress(OSError):
            self._was_killed = self._was_killed or super().killed()
        return self._was_killed

    def alarms(self) -> tuple[list[int], list[int]]:
        """Return what tells at once; of version 1, only whoever made the group is told."""
        return super().alarms() if self._version == 2 else ([], [])

    def remove(self) -> bool:
        """Leave it: it is the service's."""
        return True


def _own(pid: int) -> list[Place]:
    """Return the groups that a process is in."""
    found = []
    for path in ("/proc/self/mountinfo", f"/proc/{pid}/cgroup"):
        with open(path) as file:
            found.append(file.read())
    places = candidates(*found)
    first = [place for place in places if place.version == 1]
    return first + [place for place in places if place.version == 2][:1]
