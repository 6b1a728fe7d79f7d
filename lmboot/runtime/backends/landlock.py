"""Landlock: a process gives up its own rights, with no tool and no namespace. Linux 6.12.

What bubblewrap hides, Landlock refuses. So the runtime sees the host's paths and finds them
closed; what Landlock has no rules for is refused by the filter (`seccomp.UNSEPARATED`).
"""

from __future__ import annotations

import ctypes
import errno
import platform
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from lmboot import system
from lmboot.errors import SandboxFault
from lmboot.runtime import seccomp
from lmboot.runtime.backends import SCRATCH_BYTES, SECCOMP, Plan, environment
from lmboot.runtime.backends.bubblewrap import interpreter
from lmboot.text import brief

OLDEST = 6  # the first with rules for signals and abstract sockets
LIBRARIES = ("/lib", "/lib32", "/lib64", "/libx32")
DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")

_CREATE_RULESET, _VERSION_FLAG = 444, 1
_GUEST = Path(__file__).parents[1] / "guest"


@dataclass(frozen=True, slots=True)
class Landlock:
    """Landlock as it is on this machine, with the interpreter that it will start."""

    name: ClassVar[str] = "landlock"
    isolates: ClassVar[bool] = True
    on_disk: ClassVar[bool] = True
    short_paths: ClassVar[bool] = False

    version: int
    python: str
    prefix: str | None  # where the interpreter's files lie if not under /usr
    filter: bytes
    confine: bytes  # guest/confine.py
    start: bytes  # guest/start.py
    library: bytes  # guest/guest_sys.py

    def plan(self, *, disk_bytes: int, workspace: str) -> Plan:
        """Return what to start in a workspace, a folder with `app`, `tmp` and the plan's files."""
        home, temporary = f"{workspace}/app", f"{workspace}/tmp"
        python = (self.python, "-I", "-S", "-B")
        return Plan(
            argv=(
                *(*python, f"{workspace}/launch/confine.py", str(SECCOMP)),
                *self._grants(workspace),
                *("--", *python, "-u", "-X", "utf8", f"{workspace}/launch/start.py"),
            ),
            env=environment(home=home, temporary=temporary, path="/usr/bin"),
            library=f"{workspace}/launch/lib",
            contents={SECCOMP: self.filter},
            files={
                "launch/confine.py": self.confine,
                "launch/start.py": self.start,
                "launch/lib/guest_sys.py": self.library,
            },
            cwd=home,
            folders=(home, temporary),
            bounds=(disk_bytes, SCRATCH_BYTES),
            enclosed=True,
        )

    def _grants(self, workspace: str) -> tuple[str, ...]:
        """Return what may be opened, and how: nothing else can be."""
        prefix = () if self.prefix is None else (self.prefix,)
        look = ("/usr", "/bin", *LIBRARIES, "/etc/ld.so.cache", *prefix, f"{workspace}/launch")
        return (
            *(f"look={path}" for path in look),
            *(f"use={path}" for path in DEVICES),
            *(f"own={workspace}/{name}" for name in ("app", "tmp")),
        )

    def remedy(self, said: str) -> tuple[str, str]:
        """Return (what a failure to start means, what to do)."""
        means = f"Landlock could not set up the sandbox: {brief(said)}"
        if "ctypes" in said or "Permission denied" in said or "No such file" in said:
            return means, "Run `sudo apt install python3`: a Python under /usr is taken first."
        return means, "Run `lmboot doctor`, which tries the sandbox and tells what is missing."


def find() -> Landlock:
    """Return Landlock as it is here; raise SandboxFault with the remedy where it isn't."""
    machine = platform.machine()
    found = version()
    if found < OLDEST:
        raise _missing(found)
    if machine not in seccomp.ARCHES:
        raise SandboxFault(
            f"lmboot has no system call filter for {machine} yet, and runs nothing without one",
            hint="Use a machine with an x86_64 or aarch64 processor.",
        )
    python, prefix = interpreter()
    return Landlock(
        version=found,
        python=python,
        prefix=prefix,
        filter=seccomp.build(machine, separated=False),
        confine=(_GUEST / "confine.py").read_bytes(),
        start=(_GUEST / "start.py").read_bytes(),
        library=(_GUEST / "guest_sys.py").read_bytes(),
    )


def version() -> int:
    """Return the kernel's version of Landlock; the negative errno where it has none."""
    if not system.LINUX:
        return -errno.ENOSYS
    libc = ctypes.CDLL(None, use_errno=True)
    flag = ctypes.c_uint32(_VERSION_FLAG)
    found = libc.syscall(ctypes.c_long(_CREATE_RULESET), None, ctypes.c_size_t(0), flag)
    return int(found) if found >= 0 else -ctypes.get_errno()


def _missing(version: int) -> SandboxFault:
    """Return why Landlock can't be used; pure."""
    if version == -errno.EOPNOTSUPP:
        return SandboxFault(
            "Landlock is part of this kernel, but it was switched off at its start",
            hint="Add `landlock` to the list after `lsm=` on the kernel's command line.",
        )
    if version < 0:
        return SandboxFault(
            "this system's kernel has no Landlock, or does not let lmboot use it",
            hint="Use Linux 6.12 or newer, or install bubblewrap.",
        )
    return SandboxFault(
        f"Landlock of this kernel is version {version}: it can't keep signals in yet",
        hint="Use Linux 6.12 or newer, or install bubblewrap.",
    )
