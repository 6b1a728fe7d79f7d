"""bubblewrap: namespaces, a file system built up from nothing, a system call filter. Linux."""

from __future__ import annotations

import contextlib
import os
import platform
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from lmboot.errors import SandboxFault
from lmboot.runtime import seccomp
from lmboot.runtime.backends import (
    INFO,
    LIBRARY,
    SCRATCH_BYTES,
    SECCOMP,
    START,
    Plan,
    environment,
)
from lmboot.runtime.backends.programs import TRUSTED_FOLDERS, printed_by, trusted_program
from lmboot.runtime.remedies import install
from lmboot.text import brief

SYSTEM_PYTHON = "/usr/bin/python3"
OLDEST, OLDEST_TEXT = (0, 7), "0.7"  # the first with --size
OLDEST_PYTHON = (3, 9)

_GUEST = Path(__file__).parents[1] / "guest"
INSIDE = "/run/lmboot"  # where lmboot's own files lie for the runtime


@dataclass(frozen=True, slots=True)
class Bubblewrap:
    """bubblewrap as it is on this machine, with the interpreter that it will start."""

    name: ClassVar[str] = "bubblewrap"
    isolates: ClassVar[bool] = True
    on_disk: ClassVar[bool] = False
    short_paths: ClassVar[bool] = False

    binary: str
    version: tuple[int, ...]
    python: str
    prefix: str | None  # where the interpreter's files lie if not under /usr
    links: tuple[tuple[str, str | None], ...]  # (/lib, usr/lib): a link; (/lib, None): a folder
    filter: bytes
    start: bytes  # guest/start.py
    library: bytes  # guest/guest_sys.py

    def plan(self, *, disk_bytes: int, workspace: str) -> Plan:
        """Return what to start; `workspace` is not used: the sandbox has its own, in memory."""
        del workspace
        given = (
            *("--file", str(START), f"{INSIDE}/start.py"),
            *("--file", str(LIBRARY), f"{INSIDE}/lib/guest_sys.py"),
        )
        flags = ("-I", "-S", "-B", "-u", "-X", "utf8")
        return Plan(
            argv=self.around((self.python, *flags, f"{INSIDE}/start.py"), given, disk_bytes),
            env=environment(home="/app", temporary="/tmp", path="/usr/bin"),
            library=f"{INSIDE}/lib",
            contents={SECCOMP: self.filter, START: self.start, LIBRARY: self.library},
            info=INFO,
            folders=("/app", "/tmp", "/dev/shm"),
        )

    def around(
        self, command: tuple[str, ...], given: tuple[str, ...], disk_bytes: int
    ) -> tuple[str, ...]:
        """Return what runs a command in this sandbox, with what it is `given` mounted there."""
        return (
            self.binary,
            *self._namespaces(),
            *self._read_only(),
            *_writable(disk_bytes),
            *given,
            *("--remount-ro", "/", "--chdir", "/app"),
            *("--info-fd", str(INFO), "--seccomp", str(SECCOMP), "--"),
            *command,
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
        return diagnose(said, kernel())


def _writable(disk_bytes: int) -> tuple[str, ...]:
    """Return the mounts that are or contain something writable.

    Nothing is mounted, made or linked beneath /app: what the payload controls is no part of a
    path that bubblewrap follows (CVE-2026-87766).
    """
    return (
        *("--proc", "/proc", "--remount-ro", "/proc"),
        *("--dev", "/dev", "--size", str(SCRATCH_BYTES), "--tmpfs", "/dev/shm"),
        *("--remount-ro", "/dev", "--size", str(SCRATCH_BYTES), "--tmpfs", "/tmp"),
        *("--size", str(disk_bytes), "--tmpfs", "/app"),
    )


def find() -> Bubblewrap:
    """Return bubblewrap as it is here; raise SandboxFault with the remedy where it isn't."""
    machine = platform.machine()
    if machine not in seccomp.ARCHES:
        raise SandboxFault(
            f"lmboot has no system call filter for {machine} yet, and runs nothing without one",
            hint="Use a machine with an x86_64 or aarch64 processor.",
        )
    binary = _binary()
    version = _version(binary)
    if version < OLDEST:
        raise SandboxFault(
            f"{binary} is too old: it can't bound the size of a file system",
            hint=f"Install bubblewrap {OLDEST_TEXT} or newer.",
        )
    python, prefix = interpreter()
    return Bubblewrap(
        binary=binary,
        version=version,
        python=python,
        prefix=prefix,
        links=system_folders(),
        filter=seccomp.build(machine),
        start=(_GUEST / "start.py").read_bytes(),
        library=(_GUEST / "guest_sys.py").read_bytes(),
    )


def _binary(folders: Iterable[str] = TRUSTED_FOLDERS) -> str:
    """Return bubblewrap's path."""
    path = trusted_program("bwrap", folders)
    if path is None:
        raise SandboxFault(
            "bubblewrap, the sandbox that lmboot uses on Linux, is not installed",
            hint=install(sys.platform, os_release()),
        )
    return path


def os_release() -> str:
    """Return what the distribution says of itself; nothing where it does not."""
    for path in ("/etc/os-release", "/usr/lib/os-release"):
        with contextlib.suppress(OSError, UnicodeError):
            return Path(path).read_text("utf-8")
    return ""


def _version(binary: str) -> tuple[int, ...]:
    """Return (0, 8, 0); () when it does not say, which counts as old."""
    words = printed_by([binary, "--version"]).split()
    return tuple(int(part) for part in words[-1].split(".") if part.isdigit()) if words else ()


def interpreter(oldest: tuple[int, int] = OLDEST_PYTHON) -> tuple[str, str | None]:
    """Return the path of a Python that is new enough, and its prefix if not under /usr."""
    line = f"import sys; print(sys.version_info >= {oldest})"
    if printed_by([SYSTEM_PYTHON, "-I", "-S", "-c", line]) == "True":
        return SYSTEM_PYTHON, None
    prefix = os.path.realpath(sys.base_prefix)
    name = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    outside = not f"{prefix}/".startswith("/usr/")
    return os.path.join(prefix, "bin", name), prefix if outside else None


def system_folders() -> tuple[tuple[str, str | None], ...]:
    """Return how /lib, /lib64 and /bin are here: links into /usr, or folders of their own."""
    return tuple(
        (name, os.readlink(name).lstrip("/") if os.path.islink(name) else None)
        for name in ("/lib", "/lib64", "/bin")
        if os.path.isdir(name)
    )


# ---------------------------------------------------------------- why it did not start


@dataclass(frozen=True, slots=True)
class Kernel:
    """The settings that decide whether an ordinary user may have a namespace."""

    apparmor_restricts: bool = False
    clone_forbidden: bool = False
    no_user_namespaces: bool = False
    container: bool = False


def kernel() -> Kernel:
    """Return the settings of this machine."""
    return Kernel(
        apparmor_restricts=_setting("kernel/apparmor_restrict_unprivileged_userns") == "1",
        clone_forbidden=_setting("kernel/unprivileged_userns_clone") == "0",
        no_user_namespaces=_setting("user/max_user_namespaces") == "0",
        container=os.path.exists("/.dockerenv") or os.path.exists("/run/.containerenv"),
    )


def _setting(name: str) -> str:
    try:
        return Path("/proc/sys", name).read_text().strip()
    except OSError:
        return ""


def diagnose(said: str, settings: Kernel) -> tuple[str, str]:
    """Return (what a failure means, what to do), from what was said and the settings; pure."""
    means = f"bubblewrap could not set up the sandbox: {brief(said)}"
    forbidden = no_namespaces(said, settings, "/usr/bin/bwrap")
    if forbidden is not None:
        return f"{means}; {forbidden[0]}", forbidden[1]
    if "find source path" in said:
        return (
            f"{means}; the sandbox's user can't read the Python that lmboot runs on",
            "Run `sudo apt install python3`: a Python under /usr is taken first.",
        )
    if "Unknown option" in said:
        return f"{means}; it is too old", f"Install bubblewrap {OLDEST_TEXT} or newer."
    return means, "Run `lmboot doctor`, which tries the sandbox and tells what is missing."


def no_namespaces(said: str, settings: Kernel, program: str) -> tuple[str, str] | None:
    """Return (why this machine gives a program no namespaces, what to do); None: it may; pure."""
    if settings.no_user_namespaces:
        return (
            "this system allows no user namespaces (user.max_user_namespaces is 0)",
            "Run `sudo sysctl user.max_user_namespaces=10000`.",
        )
    if settings.clone_forbidden:
        return (
            "this system keeps user namespaces from ordinary users",
            "Run `sudo sysctl kernel.unprivileged_userns_clone=1`.",
        )
    if settings.apparmor_restricts and _is_refusal(said):
        return (
            "AppArmor keeps user namespaces from programs without a profile",
            "Run `sudo sysctl kernel.apparmor_restrict_unprivileged_userns=0`, "
            f"or give {program} an AppArmor profile with `userns,`.",
        )
    if settings.container and _is_refusal(said):
        return (
            "the container around lmboot forbids it",
            "Run lmboot outside, or start the container with "
            "`--security-opt seccomp=unconfined --security-opt systempaths=unconfined`.",
        )
    return None


def _is_refusal(said: str) -> bool:
    return any(
        word in said.lower()
        for word in ("operation not permitted", "permission denied", "no perm")
    )
