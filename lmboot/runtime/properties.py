"""What a back end enforces, property by property: in words, and from what a probe tells; pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from lmboot.runtime.policy import Limits

Level = Literal["enforced", "partial", "absent"]
Properties = Mapping[str, Level]
SandboxLevel = Literal["low", "medium", "high"]

PROPERTIES = (
    "fs_read",
    "fs_write",
    "net_ip",
    "net_loopback",
    "unix_abstract",
    "unix_path",
    "gui_dbus",
    "host_name",
    "proc_view",
    "signals",
    "syscalls",
    "pids",
    "mem_total",
    "disk_total",
    "cpu_rate",
    "wall_clock",
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
    "unix_abstract": "can't reach abstract sockets",
    "unix_path": "can't reach sockets in the file system",
    "gui_dbus": "can't reach your desktop (X11, Wayland, D-Bus)",
    "host_name": "can't resolve names, nor learn this machine's",
    "proc_view": "can't see other processes",
    "signals": "can't signal other processes",
    "syscalls": "can't use risky system calls",
    "pids": "its processes are limited",
    "mem_total": "its memory is limited as a whole",
    "disk_total": "its disk space is limited as a whole",
    "cpu_rate": "has no more of the processors than one program",
    "wall_clock": "ends when its time is up",
    "tree_kill": "ends with all its processes",
    "env": "sees no environment of yours",
    "fds": "has no open files of yours",
    "own_paths": "has an /app, a /tmp and a /dev/shm of its own",
}
PARTLY = {  # what remains possible where the words above hold in part
    "fs_read": "can learn of a path that it guesses whether it is there, its size and its date",
    "fs_write": "can set in /proc what every process may set of itself",
    "host_name": "does know it, and what else the kernel tells everybody",
    "proc_view": "can find out which process numbers are taken, and by which user",
    "pids": "by looking: more of them may be there for a moment",
    "mem_total": "by looking: it may use more for a moment",
    "disk_total": "by looking: it may use more for a moment",
    "cpu_rate": "by its sum: it may have all of them until its CPU time is used up",
    "own_paths": "its HOME and its TMPDIR name two, which may lie elsewhere; there is no third",
}


def in_words(name: str, level: str) -> str:
    """Return what a property means; with what remains possible where it holds in part."""
    remains = f" ({PARTLY[name]})" if level == "partial" and name in PARTLY else ""
    return IN_WORDS[name] + remains


# Without all of these, as far as said here, there is no border to speak of, and nothing is run.
# In part is enough where what is left are names and numbers, and no content: a back end without
# namespaces can refuse to open what it can't hide; and what a process sets of itself alone.
REQUIRED: Mapping[str, Level] = {
    "fs_read": "partial",
    "fs_write": "partial",
    "net_ip": "enforced",
    "net_loopback": "enforced",
    "unix_abstract": "enforced",
    "proc_view": "partial",
    "signals": "enforced",
    "wall_clock": "enforced",
    "tree_kill": "enforced",
    "env": "enforced",
    "fds": "enforced",
}
# What a payload can ask for beyond that, because it is to handle what must not get out. Nothing is
# in the open, not even names; what can be had without a right that a user may lack is contained
# and not only watched. Memory may be watched: to contain it takes a control group, which most
# users can't make, and so does a share of the processors. Where /app lies is no border.
MEDIUM: Mapping[str, Level] = {
    **dict.fromkeys(("fs_read", "fs_write", "proc_view", "unix_path", "gui_dbus"), "enforced"),
    **dict.fromkeys(("host_name", "syscalls", "pids", "disk_total"), "enforced"),
    "mem_total": "partial",
}
WALLS: Mapping[SandboxLevel, int] = {"low": 1, "medium": 1, "high": 2}
ABSENT: Properties = dict.fromkeys(PROPERTIES, "absent")

_WRITES = (
    *("write_usr", "write_root", "write_dev"),
    *("chmod_canary", "touch_canary", "mark_canary"),
)
_READS = ("read_canary", "read_home", "read_passwd", "watch_home", "link_canary")
# The attempts that each rests on; `syscalls` on all whose names begin with `call_`.
PROOFS: Mapping[str, tuple[str, ...]] = {
    "fs_read": (*_READS, "stat_passwd"),
    "fs_write": (*_WRITES, "write_proc"),
    "net_ip": ("inet", "inet6", "vsock", "netlink"),
    "net_loopback": ("tcp_loopback", "tcp6_loopback"),
    "unix_abstract": ("unix_abstract",),
    "unix_path": ("unix_path",),
    "gui_dbus": ("desktop",),
    "host_name": ("machine_id", "host_name"),
    "proc_view": ("read_host", "pids"),
    "signals": ("kill_host", "renice_host", "limit_host"),
    "syscalls": (),
    "pids": ("forks",),
    "mem_total": ("memory", "ended"),
    "disk_total": ("disk", "shm", "tmp"),
    "cpu_rate": ("processors", "thread"),
    "wall_clock": ("clock",),
    "tree_kill": ("left",),
    "env": ("env",),
    "fds": ("fds",),
    "own_paths": ("folder",),
}

PROBE_LIMITS = Limits(memory_mb=128, cpu_seconds=20, wall_seconds=20, processes=12, disk_mb=4)
SCRATCH_MB = 16
WATCHED = "watched"  # the outcome of an attempt that the supervisor put an end to
SHARED = "share"  # of `processors`: the kernel gives the whole tree the share of one program

_ALLOWED_NAMES = {"PATH", "LANG", "HOME", "TMPDIR", "TEMP", "TMP", "SYSTEMROOT"}  # Windows' are 3


def lacking(properties: Properties) -> list[str]:
    """Return what is required and not there, or not as far as it must be; pure."""
    return _below(REQUIRED, properties)


def short_of(level: SandboxLevel, properties: Properties, *, walls: int) -> list[str]:
    """Return what a sandbox lacks of a level that a payload asks for, by name; pure.

    Low is what is always required; medium leaves nothing in the open; high is all of that by two
    walls, one inside the other, so that a hole in one of them is not the end.
    """
    least = REQUIRED if level == "low" else {**REQUIRED, **MEDIUM}
    second = ["a second wall"] if walls < WALLS[level] else []
    return _below(least, properties) + second


def _below(least: Properties, properties: Properties) -> list[str]:
    ranks: tuple[Level, ...] = ("absent", "partial", "enforced")
    return [
        name
        for name, wanted in least.items()
        if ranks.index(properties[name]) < ranks.index(wanted)
    ]


@dataclass(frozen=True, slots=True)
class Outcomes:
    """What became of each attempt of a probe, by its name; what was not tried has no outcome."""

    tried: Mapping[str, str]

    def closed(self, *names: str) -> bool:
        """Say whether each of these was tried and refused."""
        return all(not self.tried.get(name, "ok").startswith("ok") for name in names)

    def refused(self, *names: str) -> Level:
        """Return `enforced` if all of these were refused."""
        return _level(self.closed(*names))

    def listed(self, name: str) -> list[Any]:
        """Return what an attempt found; nothing when it was refused."""
        outcome = self.tried.get(name, "")
        return list(json.loads(outcome[3:].replace("'", '"'))) if outcome.startswith("ok") else []

    def within(self, name: str, most: float) -> Level:
        """Return whether an attempt was bounded: at once, by somebody who looked, or not.

        Bounded at once is, too, what does not exist there at all.
        """
        word, _, number = self.tried.get(name, "").partition(" ")
        if word == "ENOSYS" or (word == "ok" and int(number) <= most):
            return "enforced"
        return "partial" if word == WATCHED else "absent"


def judge(
    tried: Mapping[str, str],
    *,
    visited: bool,
    limit: str | None,
    clean: bool,
    channel: int,
    contained: bool = False,
) -> Properties:
    """Return what the outcomes prove; what was not tried counts as absent.

    `visited`: somebody came to one of the host's servers. `limit` is what ended the probe, and
    `clean` whether nothing was left of it; `channel` the one descriptor that it may have.
    `contained`: nobody looked at its memory, so that the limit was the kernel's.
    """
    found = Outcomes(tried)
    levels: dict[str, Level] = {
        **_of_files(found),
        **_of_sockets(found, visited=visited),
        **_of_processes(found),
        "mem_total": _of_memory(found, limit, contained=contained),
        "cpu_rate": _of_processors(found),
        "wall_clock": _level(found.tried.get("clock") == "wall"),
        "tree_kill": _level(clean),
        "env": _level(_is_scrubbed(set(found.listed("env")))),
        "fds": _level(found.listed("fds") in ([0, 1, 2], [0, 1, 2, channel])),
    }
    return {name: levels[name] for name in PROPERTIES}


def _of_files(found: Outcomes) -> Properties:
    disk = found.within("disk", PROBE_LIMITS.disk_mb)
    scratch = {found.within("shm", SCRATCH_MB), found.within("tmp", SCRATCH_MB)}
    folder = found.tried.get("folder", "")
    own = folder == "ok /app" and found.tried.get("shm") != "ok 0"
    return {
        "fs_read": _graded(found.closed(*_READS), wholly=found.closed("stat_passwd")),
        "fs_write": _graded(found.closed(*_WRITES), wholly=found.closed("write_proc")),
        "disk_total": disk if scratch == {"enforced"} or disk == "absent" else "partial",
        "own_paths": _graded(folder.startswith("ok"), wholly=own),
    }


def _of_sockets(found: Outcomes, *, visited: bool) -> Properties:
    loopback = found.closed(*PROOFS["net_loopback"]) and not visited
    return {
        "net_ip": found.refused(*PROOFS["net_ip"]),
        "net_loopback": _level(loopback),
        "unix_abstract": found.refused("unix_abstract"),
        "unix_path": found.refused("unix_path"),
        "gui_dbus": found.refused("desktop"),
        "host_name": _graded(found.closed("machine_id"), wholly=found.closed("host_name")),
    }


def _of_processes(found: Outcomes) -> Properties:
    alone = 0 < len(found.listed("pids")) <= 3
    unread = found.closed("read_host") and (alone or found.closed("pids"))
    calls = [outcome for name, outcome in found.tried.items() if name.startswith("call_")]
    return {
        # Who can't even ask for a process by its number learns nothing.
        "proc_view": _graded(unread, wholly=alone or found.tried.get("kill_host") == "ENOSYS"),
        "signals": found.refused(*PROOFS["signals"]),
        "syscalls": _level(bool(calls) and all(call in ("EPERM", "ENOSYS") for call in calls)),
        "pids": found.within("forks", PROBE_LIMITS.processes),
    }


def _of_memory(found: Outcomes, limit: str | None, *, contained: bool) -> Level:
    """Return how memory is bounded; who only looks, lets it be exceeded for a moment."""
    if found.tried.get("memory") == "ENOMEM":
        return "enforced"
    return _graded(limit == "memory", wholly=contained)


def _of_processors(found: Outcomes) -> Level:
    """Return how its part of the processors is bounded; who has one thread has no more of them."""
    one_thread = found.tried.get("forks") == found.tried.get("thread") == "ENOSYS"
    said = found.tried.get("processors")
    return _graded(one_thread or said in (SHARED, "cpu"), wholly=one_thread or said == SHARED)


def _is_scrubbed(names: set[str]) -> bool:
    """Say whether an environment holds something, and nothing that is not a runtime's."""
    return bool(names) and all(
        name in _ALLOWED_NAMES or name.startswith("LMBOOT_") for name in names
    )


def _graded(basis: bool, *, wholly: bool) -> Level:
    return "enforced" if basis and wholly else "partial" if basis else "absent"


def _level(proven: bool) -> Level:
    return "enforced" if proven else "absent"
