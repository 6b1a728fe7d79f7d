"""seatbelt: the sandbox that is a part of macOS, by a profile that denies what it does not name.

Written by what Apple's own and others' profiles say, and never run by those who wrote it: what is
tested is the plan, as a value. The posture's probe decides on the machine whether it holds.

macOS has no limits for a tree of processes, and none for the memory of one: the supervisor looks.
It adopts no orphans either; the runtime's processes are known by what only they may write to.
"""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from lmboot.errors import SandboxFault
from lmboot.runtime.backends import SCRATCH_BYTES, Plan, environment
from lmboot.text import brief

BINARY = "/usr/bin/sandbox-exec"
LIBRARIES = (
    *("/usr/lib", "/System/Library", "/System/Cryptexes"),
    "/System/Volumes/Preboot/Cryptexes",  # not all of Volumes: the users' files are there, too
)
FACTS = (  # what an interpreter asks of the machine; not what processes there are
    *("hw.activecpu", "hw.byteorder", "hw.cachelinesize", "hw.cputype", "hw.cpusubtype"),
    *("hw.logicalcpu", "hw.logicalcpu_max", "hw.machine", "hw.memsize", "hw.ncpu", "hw.pagesize"),
    *("hw.pagesize_compat", "hw.physicalcpu", "hw.physicalcpu_max", "kern.argmax"),
    *("kern.maxfilesperproc", "kern.osproductversion", "kern.osrelease", "kern.ostype"),
    *("kern.osvariant_status", "kern.osversion", "kern.secure_kernel", "kern.usrstack64"),
    *("kern.version", "sysctl.proc_cputype", "vm.loadavg"),
)

_GUEST = Path(__file__).parents[1] / "guest"


@dataclass(frozen=True, slots=True)
class Seatbelt:
    """seatbelt as it is on this machine, with the interpreter that it will start."""

    name: ClassVar[str] = "seatbelt"
    isolates: ClassVar[bool] = True
    on_disk: ClassVar[bool] = True
    short_paths: ClassVar[bool] = False

    binary: str
    python: str
    prefix: str  # where the interpreter's files lie, links resolved
    start: bytes  # guest/start.py
    library: bytes  # guest/guest_sys.py

    def plan(self, *, disk_bytes: int, workspace: str) -> Plan:
        """Return what to start in a workspace, a folder with `app`, `tmp` and the plan's files."""
        home, temporary = f"{workspace}/app", f"{workspace}/tmp"
        text, given = profile(prefix=self.prefix, workspace=workspace)
        return Plan(
            argv=(
                self.binary,
                *(word for name, path in given.items() for word in ("-D", f"{name}={path}")),
                *("-p", text, self.python, "-I", "-S", "-B", "-u", "-X", "utf8"),
                f"{workspace}/launch/start.py",
            ),
            env=environment(home=home, temporary=temporary, path="/usr/bin:/bin"),
            library=f"{workspace}/launch/lib",
            contents={},
            files={"launch/start.py": self.start, "launch/lib/guest_sys.py": self.library},
            cwd=home,
            folders=(home, temporary),
            bounds=(disk_bytes, SCRATCH_BYTES),
            mark=resolved(home),
        )

    def remedy(self, said: str) -> tuple[str, str]:
        """Return (what a failure to start means, what to do)."""
        if "sandbox_apply" in said and "not permitted" in said:
            return (
                "lmboot itself runs in a sandbox of macOS, the outer sandbox, and these can't be "
                f"nested: {brief(said)}",
                "Start lmboot in Terminal, not from an application that is confined.",
            )
        means = f"seatbelt could not set up the sandbox: {brief(said)}"
        return means, "Run `lmboot doctor --probe` and report what it prints; use --sandbox wasm."


def profile(*, prefix: str, workspace: str) -> tuple[str, dict[str, str]]:
    """Return a profile and its parameters, the only way that a path gets into it; pure.

    Every path is there as the system resolves it and as it is spelled, where these differ.
    """
    given: dict[str, str] = {}

    def named(kind: str, role: str, *paths: str) -> str:
        rules = []
        for path in dict.fromkeys(spelled for each in paths for spelled in spellings(each)):
            name = f"{role}{sum(known.startswith(role) for known in given)}"
            given[name] = path
            rules.append(f'({kind} (param "{name}"))')
        return " ".join(rules)

    python = named("subpath", "PYTHON", prefix)
    inside = named("subpath", "W", workspace)
    own = named("subpath", "OWN", f"{workspace}/app", f"{workspace}/tmp")
    roots = named("literal", "ROOT", f"{workspace}/app", f"{workspace}/tmp")
    above = named("literal", "ABOVE", *_above(prefix), *_above(workspace))
    libraries = " ".join(f'(subpath "{path}")' for path in LIBRARIES)
    facts = " ".join(f'(sysctl-name "{name}")' for name in FACTS)
    lines = (
        "(version 1)",
        "(deny default)",
        "(allow process-fork)",
        f"(allow process-exec {python})",
        "(allow process-info* (target same-sandbox))",
        "(allow signal (target same-sandbox))",
        f"(allow sysctl-read {facts})",
        '(allow file-read* (literal "/"))',  # its names: the loader of programs looks there
        f'(allow file-read-metadata (literal "/") {above})',
        f"(allow file-read* file-map-executable {libraries} {python})",
        '(allow file-read* (subpath "/usr/share/zoneinfo"))',
        f"(allow file-read* {inside})",
        f"(allow file-write* {own})",
        f"(deny file-write-unlink {roots})",  # nor moved away and replaced by a link
        "(deny file-write-setugid)",
        '(allow file-read* (literal "/dev/zero"))',
        '(allow file-read* (literal "/dev/random") (literal "/dev/urandom"))',
        '(allow file-read* file-write-data (literal "/dev/null"))',
        "(deny network*)",
    )
    return "\n".join(lines), given


def spellings(path: str) -> list[str]:
    """Return a path as the system resolves it, and as people spell it: /tmp is /private/tmp."""
    plain = path.removeprefix("/private")
    if plain.startswith(("/tmp/", "/var/", "/etc/")):
        return [f"/private{plain}", plain]
    return [path]


def resolved(path: str) -> str:
    """Return a path as the system resolves it."""
    return spellings(path)[0]


def _above(path: str) -> Iterable[str]:
    """Return the folders above one, the nearest first, without the root."""
    while path := os.path.dirname(path).rstrip("/"):
        yield path


def find() -> Seatbelt:
    """Return seatbelt as it is here; raise SandboxFault with the remedy where it isn't."""
    try:
        found = os.stat(BINARY)
    except OSError:
        raise SandboxFault(
            f"this system has no {BINARY}, the sandbox that is a part of macOS",
            hint="Use --sandbox auto.",
        ) from None
    if found.st_uid != 0 or found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise SandboxFault(
            f"{BINARY} can be changed by others than root, so it is not trusted",
            hint=f"Run `sudo chown root:wheel {BINARY} && sudo chmod 755 {BINARY}`.",
        )
    # Apple's own /usr/bin/python3 is a stub that asks its user to install something.
    prefix = os.path.realpath(sys.base_prefix)
    return Seatbelt(
        binary=BINARY,
        python=f"{prefix}/bin/python{sys.version_info[0]}.{sys.version_info[1]}",
        prefix=prefix,
        start=(_GUEST / "start.py").read_bytes(),
        library=(_GUEST / "guest_sys.py").read_bytes(),
    )
