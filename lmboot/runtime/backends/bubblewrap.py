"""bubblewrap: namespaces, a file system built up from nothing, a system call filter. Linux."""

from __future__ import annotations

import os
import platform
import stat
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from lmboot.errors import SandboxFault
from lmboot.runtime import seccomp
from lmboot.runtime.backends import (
    CHANNEL,
    INFO,
    LIBRARY,
    PAYLOAD,
    SECCOMP,
    START,
    Plan,
    environment,
)

TRUSTED_FOLDERS = ("/usr/bin", "/bin", "/usr/local/bin")
OLDEST_PYTHON = (3, 9)
SCRATCH_BYTES = 16 << 20  # /tmp and /dev/shm each

_GUEST = Path(__file__).parents[1] / "guest"
_INSIDE = "/run/lmboot"


@dataclass(frozen=True, slots=True)
class Bubblewrap:
    """bubblewrap as it is on this machine, with the interpreter that it will start."""

    name: ClassVar[str] = "bubblewrap"
    isolates: ClassVar[bool] = True

    binary: str
    version: tuple[int, ...]
    python: str
    prefix: str | None  # where the interpreter's files lie if not under /usr
    links: tuple[tuple[str, str | None], ...]  # (/lib, usr/lib): a link; (/lib, None): a folder
    filter: bytes
    start: bytes  # guest/start.py
    library: bytes  # guest/guest_sys.py

    def plan(
        self, argv: tuple[str, ...], *, disk_bytes: int, routes: Mapping[str, str], workspace: str
    ) -> Plan:
        """Return what to start; `workspace` is not used: the sandbox has its own, in memory."""
        del workspace
        return Plan(
            argv=(
                self.binary,
                *self._namespaces(),
                *self._read_only(),
                *_writable(disk_bytes),
                *("--file", str(START), f"{_INSIDE}/start.py"),
                *("--file", str(LIBRARY), f"{_INSIDE}/lib/guest_sys.py"),
                *("--remount-ro", "/", "--chdir", "/app"),
                *("--info-fd", str(INFO), "--seccomp", str(SECCOMP), "--"),
                *(self.python, "-I", "-S", "-B", "-u", "-X", "utf8", f"{_INSIDE}/start.py"),
                *argv,
            ),
            env=environment(home="/app", temporary="/tmp", path="/usr/bin", routes=routes),  # noqa: S108
            library=f"{_INSIDE}/lib",
            contents={SECCOMP: self.filter, START: self.start, LIBRARY: self.library},
            info=INFO,
            folders=("/app", "/tmp", "/dev/shm"),  # noqa: S108 (the sandbox's own)
        )

    def _namespaces(self) -> tuple[str, ...]:
        nested = ("--disable-userns",) if self.version >= (0, 8) else ()
        return (
            *("--unshare-all", "--unshare-user", *nested, "--die-with-parent", "--new-session"),
            *("--cap-drop", "ALL", "--uid", "65534", "--gid", "65534", "--hostname", "lmboot"),
        )

    def _read_only(self) -> tuple[str, ...]:
        arguments = ["--ro-bind", "/usr", "/usr"]
        for name, target in self.links:
            arguments += ["--symlink", target, name] if target else ["--ro-bind", name, name]
        arguments += ["--ro-bind-try", "/etc/ld.so.cache", "/etc/ld.so.cache"]
        if self.prefix is not None:
            arguments += ["--ro-bind", self.prefix, self.prefix]
        return tuple(arguments)

    def remedy(self, said: str) -> tuple[str, str]:
        """Return (what a failure to start means, what to do)."""
        return said, "Run `lmboot doctor`."


def _writable(disk_bytes: int) -> tuple[str, ...]:
    """Return the mounts that are or contain something writable.

    Nothing is mounted, made or linked beneath /app: what the payload controls is no part of a
    path that bubblewrap follows (CVE-2026-87766).
    """
    return (
        *("--proc", "/proc", "--remount-ro", "/proc"),
        *("--dev", "/dev", "--size", str(SCRATCH_BYTES), "--tmpfs", "/dev/shm"),  # noqa: S108
        *("--remount-ro", "/dev", "--size", str(SCRATCH_BYTES), "--tmpfs", "/tmp"),  # noqa: S108
        *("--size", str(disk_bytes), "--tmpfs", "/app"),
    )


def find() -> Bubblewrap:
    """Return bubblewrap as it is here; raise SandboxFault with the remedy where it can't be used."""
    binary = _binary()
    python, prefix = _interpreter()
    machine = platform.machine()
    if machine not in seccomp.ARCHES:
        raise SandboxFault(f"there is no system call filter for {machine} yet")
    return Bubblewrap(
        binary=binary,
        version=_version(binary),
        python=python,
        prefix=prefix,
        links=_links(),
        filter=seccomp.build(machine),
        start=(_GUEST / "start.py").read_bytes(),
        library=(_GUEST / "guest_sys.py").read_bytes(),
    )


def _binary() -> str:
    """Return bubblewrap's path: from root's folders only, whatever PATH says."""
    for folder in TRUSTED_FOLDERS:
        path = os.path.join(folder, "bwrap")
        try:
            found = os.stat(path)
        except OSError:
            continue
        if found.st_uid != 0 or found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            raise SandboxFault(
                f"{path} can be changed by others than root, so it is not trusted",
                hint=f"Run `sudo chown root: {path} && sudo chmod 755 {path}`.",
            )
        return path
    raise SandboxFault("bubblewrap is not installed", hint="Run `sudo apt install bubblewrap`.")


def _version(binary: str) -> tuple[int, ...]:
    said = subprocess.run(
        [binary, "--version"], capture_output=True, text=True, timeout=10, env={}
    )
    numbers = said.stdout.split()[-1:] or ["0"]
    return tuple(int(part) for part in numbers[0].split(".") if part.isdigit())


def _interpreter() -> tuple[str, str | None]:
    """Return the path of a Python that is new enough, and its prefix if not under /usr."""
    system = "/usr/bin/python3"
    if os.path.exists(system):
        line = "import sys; print(sys.version_info >= (3, 9))"
        said = subprocess.run(
            [system, "-I", "-S", "-c", line], capture_output=True, text=True, timeout=10, env={}
        )
        if said.stdout.strip() == "True":
            return system, None
    prefix = os.path.realpath(sys.base_prefix)
    return os.path.join(prefix, "bin", "python3"), None if prefix == "/usr" else prefix


def _links() -> tuple[tuple[str, str | None], ...]:
    found: list[tuple[str, str | None]] = []
    for name in ("/lib", "/lib64", "/bin"):
        if os.path.islink(name):
            found.append((name, os.readlink(name).lstrip("/")))
        elif os.path.isdir(name):
            found.append((name, None))
    return tuple(found)
