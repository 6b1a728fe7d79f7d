"""AppContainer and a job: Windows' own sandbox, in which nothing is allowed that is not granted.

The container has a name and a SID of its own for each run and no capability: no network, no
device, and of files what its SID was granted, or what everybody's applications are (the system's
own, and those in Program Files). The job bounds the tree, which ends with the job's last handle.

Written by Microsoft's documents, and never run by those who wrote it: what is tested is the plan,
as a value, and the sizes of the structures. The posture's probe decides on the machine.
"""

from __future__ import annotations

import ntpath
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from lmboot.errors import SandboxFault
from lmboot.runtime.backends import SCRATCH_BYTES, Plan, environment
from lmboot.text import brief
from lmboot.windows import Container

OLDEST, OLDEST_TEXT = (10, 0), "Windows 10"
LAUNCHERS = ("py.exe", "pyw.exe")  # they put Python into a job of theirs, which it may leave

_GUEST = Path(__file__).parents[1] / "guest"


@dataclass(frozen=True, slots=True)
class AppContainer:
    """AppContainers as they are on this machine, with the interpreter that is started in one."""

    name: ClassVar[str] = "appcontainer"
    isolates: ClassVar[bool] = True
    on_disk: ClassVar[bool] = True
    short_paths: ClassVar[bool] = False

    python: str  # the real python.exe: no launcher, and none of a virtual environment
    prefix: str  # where its files lie
    system_root: str
    pipes: bytes  # guest/pipes.py
    start: bytes  # guest/start.py
    library: bytes  # guest/guest_sys.py

    def plan(self, *, disk_bytes: int, workspace: str) -> Plan:
        """Return what to start in a workspace, a folder with `app`, `tmp` and the plan's files."""
        home, temporary, launch = (ntpath.join(workspace, n) for n in ("app", "tmp", "launch"))
        return Plan(
            argv=(
                *(self.python, "-I", "-S", "-B", "-u", "-X", "utf8"),
                ntpath.join(launch, "pipes.py"),
            ),
            env=windows_environment(self.system_root, home=home, temporary=temporary),
            library=ntpath.join(launch, "lib"),
            contents={},
            files={
                "launch/pipes.py": self.pipes,
                "launch/start.py": self.start,
                "launch/lib/guest_sys.py": self.library,
            },
            cwd=home,
            folders=(home, temporary),
            bounds=(disk_bytes, SCRATCH_BYTES),
            container=Container(
                name=f"lmboot.{ntpath.basename(workspace)}",
                readable=(self.prefix, launch),
                writable=(home, temporary),
            ),
        )

    def remedy(self, said: str) -> tuple[str, str]:
        """Return (what a failure to start means, what to do)."""
        means = f"the AppContainer could not be set up: {brief(said)}"
        if "icacls" in said:
            return means, "Use a Python of your own (python.org, `just for me`)."
        return means, "Run `lmboot doctor --probe` and report what it prints."


def windows_environment(system_root: str, *, home: str, temporary: str) -> dict[str, str]:
    """Return a runtime's environment on Windows, where Python needs the system's folder too."""
    system = ntpath.join(system_root, "System32")
    env = environment(home=home, temporary=temporary, path=f"{system};{system_root}")
    return {**env, "TEMP": temporary, "TMP": temporary, "SYSTEMROOT": system_root}


def find() -> AppContainer:
    """Return what is here; raise SandboxFault with the remedy where it can't be used."""
    if sys.platform == "win32":
        python = ntpath.join(sys.base_prefix, "python.exe")
        return found(
            version=sys.getwindowsversion()[:2],
            python=python,
            there=os.path.exists(python),
            system_root=os.environ.get("SYSTEMROOT", ""),
        )
    else:
        raise SandboxFault("AppContainers are a part of Windows", hint="Use --sandbox auto.")


def found(*, version: tuple[int, ...], python: str, there: bool, system_root: str) -> AppContainer:
    """Return the back end for a machine of these facts, or raise as `find` does."""
    if version < OLDEST:
        raise SandboxFault(
            f"this Windows is older than {OLDEST_TEXT}", hint=f"Use {OLDEST_TEXT} or newer."
        )
    if not there or ntpath.basename(python).lower() in LAUNCHERS:
        raise SandboxFault(
            f"{python} is not there: this Python has no python.exe that could be contained",
            hint="Install Python from python.org, and lmboot in it.",
        )
    if "\\WindowsApps\\" in python:
        raise SandboxFault(
            "a Python from the Microsoft Store is contained already, and can't be once more",
            hint="Install Python from python.org, and lmboot in it.",
        )
    return AppContainer(
        python=python,
        prefix=ntpath.dirname(python),
        system_root=system_root,
        pipes=(_GUEST / "pipes.py").read_bytes(),
        start=(_GUEST / "start.py").read_bytes(),
        library=(_GUEST / "guest_sys.py").read_bytes(),
    )
