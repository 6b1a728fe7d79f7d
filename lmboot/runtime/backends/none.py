"""No border at all: the runtime has its user's rights. Only ever after typed consent.

What remains is what a process can be told about itself: a scrubbed environment, limits, an end.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from lmboot.runtime.backends import Plan, environment

_GUEST = Path(__file__).parents[1] / "guest"


@dataclass(frozen=True, slots=True)
class Unconfined:
    """The bare machine."""

    name: ClassVar[str] = "none"
    isolates: ClassVar[bool] = False
    on_disk: ClassVar[bool] = True
    short_paths: ClassVar[bool] = False

    python: str = sys.executable
    guest: str = str(_GUEST)

    def plan(self, *, disk_bytes: int, workspace: str) -> Plan:
        """Return what to start in a workspace, a folder with `app` and `tmp`.

        `disk_bytes` bounds each file (a limit of the process), not their sum.
        """
        del disk_bytes
        home, temporary = f"{workspace}/app", f"{workspace}/tmp"
        flags = ("-I", "-S", "-B", "-u", "-X", "utf8")
        return Plan(
            argv=(self.python, *flags, f"{self.guest}/start.py"),
            env=environment(home=home, temporary=temporary, path="/usr/bin:/bin"),
            library=self.guest,
            contents={},
            cwd=home,
        )

    def remedy(self, said: str) -> tuple[str, str]:
        """Return (what a failure to start means, what to do)."""
        return f"the runtime could not be started: {said}", "Run `lmboot doctor`."
