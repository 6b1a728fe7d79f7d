"""firejail: a program of root's that hides files and cuts the network off. Linux; the weakest.

What it brings: a process space, network and queues of their own, and a view of the disk on which
what it was told of is covered up. Of its own filter little is expected: ours is put on inside, by
`guest/confine.py`. It is never chosen by itself: to start anything it is root for a moment, on
behalf of everybody on the machine, and it covers up where others build up from nothing.
"""

from __future__ import annotations

import os
import platform
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from lmboot import system
from lmboot.errors import SandboxFault
from lmboot.runtime import seccomp
from lmboot.runtime.backends import (
    CHANNEL,
    PAYLOAD,
    SCRATCH_BYTES,
    SECCOMP,
    STDIN,
    Plan,
    environment,
)
from lmboot.runtime.backends.bubblewrap import interpreter
from lmboot.runtime.backends.programs import TRUSTED_FOLDERS, answer_of, trusted_program
from lmboot.text import brief

OLDEST, OLDEST_TEXT = (0, 9, 72), "0.9.72"  # the first that lets descriptors through
NEEDED = (
    frozenset(  # of what lies in /; firejail has its own ways with etc, dev, proc, run and tmp
        (
            "usr",
            "bin",
            "sbin",
            "lib",
            "lib32",
            "lib64",
            "libx32",
            "etc",
            "dev",
            "proc",
            "run",
            "tmp",
        )
    )
)

_GUEST = Path(__file__).parents[1] / "guest"


@dataclass(frozen=True, slots=True)
class Firejail:
    """firejail as it is on this machine, with the interpreter that it will start."""

    name: ClassVar[str] = "firejail"
    isolates: ClassVar[bool] = True
    on_disk: ClassVar[bool] = True
    short_paths: ClassVar[bool] = False

    binary: str
    version: tuple[int, ...]
    python: str
    covered: tuple[str, ...]  # what lies in / and is none of the runtime's business
    filter: bytes
    confine: bytes  # guest/confine.py
    start: bytes  # guest/start.py
    library: bytes  # guest/guest_sys.py

    def plan(self, *, disk_bytes: int, workspace: str) -> Plan:
        """Return what to start in a workspace, a folder with `app`, `tmp` and the plan's files."""
        home, temporary = f"{workspace}/app", f"{workspace}/tmp"
        env = environment(home=home, temporary=temporary, path="/usr/bin")
        python = (self.python, "-I", "-S", "-B")
        return Plan(
            argv=(
                *(self.binary, "--quiet", "--noprofile", *_APART, *self._view(workspace)),
                f"--keep-fd={CHANNEL},{PAYLOAD},{STDIN},{SECCOMP}",
                # firejail starts a shell with this line, quoted by itself: it must not stay, for
                # what the runtime is told by signals would end it, and with it everything.
                *("--", "exec", "/usr/bin/env", "-i"),
                *(f"{name}={value}" for name, value in env.items()),
                *(*python, f"{workspace}/launch/confine.py", str(SECCOMP), "hidden", "--"),
                *(*python, "-u", "-X", "utf8", f"{workspace}/launch/start.py"),
            ),
            env={},  # firejail would hand it on, with additions of its own
            library=f"{workspace}/launch/lib",
            contents={SECCOMP: self.filter},
            files={
                "launch/confine.py": self.confine,
                "launch/start.py": self.start,
                "launch/lib/guest_sys.py": self.library,
            },
            cwd=home,
            nested=True,
            folders=(home, temporary),
            bounds=(disk_bytes, SCRATCH_BYTES),
        )

    def _view(self, workspace: str) -> tuple[str, ...]:
        """Return what is covered up, and what alone can be written to: `app` and `tmp`."""
        return (
            *(f"--blacklist=/{name}" for name in self.covered),
            # What is named in /run and /tmp is all that remains of them.
            *("--whitelist=/run/lmboot-has-nothing-there", f"--whitelist={workspace}"),
            *("--read-only=/tmp", "--read-only=/dev/shm", f"--read-only={workspace}"),
            *(f"--read-write={workspace}/{name}" for name in ("app", "tmp")),
        )

    def remedy(self, said: str) -> tuple[str, str]:
        """Return (what a failure to start means, what to do)."""
        return f"firejail could not set up the sandbox: {brief(said)}", _hint(said)


_APART = (
    *("--net=none", "--ipc-namespace", "--hostname=lmboot"),
    *("--private-dev", "--private-tmp", "--private-etc=ld.so.cache"),
    *("--caps.drop=all", "--nonewprivs", "--nogroups", "--seccomp"),
    *("--dbus-user=none", "--dbus-system=none", "--x11=none"),
    *("--deterministic-shutdown", "--deterministic-exit-code"),
)


def find() -> Firejail:
    """Return firejail as it is here; raise SandboxFault with the remedy where it isn't."""
    machine = platform.machine()
    if machine not in seccomp.ARCHES:
        raise SandboxFault(
            f"lmboot has no system call filter for {machine} yet, and runs nothing without one",
            hint="Use a machine with an x86_64 or aarch64 processor.",
        )
    if system.is_root():
        raise SandboxFault(
            "firejail starts those whom the machine's list of users names, and as root lmboot "
            "runs everything as a user that nobody is",
            hint="Run lmboot as an ordinary user, or use --sandbox auto.",
        )
    binary = _binary()
    version = _version(binary)
    python, prefix = interpreter()
    if prefix is not None:
        raise SandboxFault(
            f"firejail covers up {prefix}, where the only Python lies that could be started",
            hint="Run `sudo apt install python3`: a Python under /usr is taken first.",
        )
    return Firejail(
        binary=binary,
        version=version,
        python=python,
        covered=covered(os.listdir("/")),
        filter=seccomp.build(machine),
        confine=(_GUEST / "confine.py").read_bytes(),
        start=(_GUEST / "start.py").read_bytes(),
        library=(_GUEST / "guest_sys.py").read_bytes(),
    )


def covered(names: Iterable[str]) -> tuple[str, ...]:
    """Return which of the names in / are to be covered up: all but what a program needs; pure.

    Names that firejail takes for a pattern stay as they are, so it will refuse them and start
    nothing.
    """
    return tuple(sorted(name for name in names if name not in NEEDED))


def _binary(folders: Iterable[str] = TRUSTED_FOLDERS) -> str:
    """Return firejail's path: from root's folders only, root's own, and root for a moment."""
    path = trusted_program("firejail", folders)
    if path is None:
        raise SandboxFault(
            "firejail is not installed",
            hint="Use --sandbox auto, or run `sudo apt install firejail`.",
        )
    if not os.stat(path).st_mode & stat.S_ISUID:
        raise SandboxFault(
            f"{path} may not do as root what it does, so it can't hide anything",
            hint=f"Run `sudo chmod u+s {path}`, or use --sandbox auto.",
        )
    return path


def _version(binary: str) -> tuple[int, ...]:
    """Return (0, 9, 72); raise SandboxFault where it is older, or does not say how old it is."""
    said, failure = answer_of([binary, "--version"])
    if failure:
        raise SandboxFault(f"{binary} does not start: {brief(failure)}", hint=_hint(failure))
    words = (said.splitlines() or [""])[0].split()
    version = tuple(int(part) for part in words[-1].split(".") if part.isdigit()) if words else ()
    if version < OLDEST:
        raise SandboxFault(
            f"{binary} is too old: it closes the descriptors by which a runtime is spoken to",
            hint=f"Install firejail {OLDEST_TEXT} or newer.",
        )
    return version


def _hint(said: str) -> str:
    """Return what to do when firejail refuses to start with these words."""
    if "not allowed to use" in said:
        return "Ask root to add you: `sudo firecfg --add-users $USER`."
    if "getpwuid" in said:
        return "Run lmboot as a user that this machine's list of users names."
    return "Use --sandbox auto: firejail is the weakest of all."
