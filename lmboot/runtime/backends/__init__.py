"""The back ends: each turns a job's values into what to start; nothing here starts anything."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Protocol

from lmboot import system
from lmboot.service import Request
from lmboot.windows import Container

# The runtime's descriptors beside 0, 1 and 2. The launcher inside is told of the channel's and
# finds the next two behind it. Stdin is among them because a sandbox's own processes keep what is
# given to them as 0, so that nobody would learn that the runtime has closed it.
CHANNEL, PAYLOAD, STDIN, SECCOMP, INFO, START, LIBRARY = range(3, 10)

MAX_SHORT = 20  # podman wants its folder's path within 50 characters
SCRATCH_BYTES = 16 << 20  # what a runtime may keep in TMPDIR, beside its workspace


@dataclass(frozen=True, slots=True)
class Plan:
    """What to start: a pure value, so that it can be compared.

    `library` is where the host's library lies for the runtime. `contents` maps the runtime's
    descriptor numbers to the bytes that they hold; `info` is the number on which a sandbox tells
    its first process; `nested`: that is the one child of what is started; `mark` is a path that
    nobody but the runtime's processes may write to, by which macOS tells them; `container` holds
    them on Windows; none of these: the processes are the host's. `folders` are where the runtime
    can write, the workspace first; `cwd` is where a back end without an inside starts.

    `scaffold`: what is started would stay around the sandbox; nothing is told on `info` then, but
    the sandbox's first process ends when nobody listens there.

    Only where the workspace is a folder on disk: `files` are to be in it beforehand, by their
    paths beneath it; `bounds` is how many bytes each of `folders` may hold.

    `grouped` False: the back end puts the runtime into control groups of its own making.
    `enclosed`: the tree has no process space of its own, so its signals are to be kept in.
    `request`: a service starts the sandbox, in which `argv` and `env` are what it runs; its first
    process tells on `info` what it ends with.
    `engine` is what an engine around the runtime takes for itself, beside the runtime's limits
    (`memory` in bytes, `cpu` in seconds); with one, the launcher is told the runtime's memory,
    which the engine bounds, and not its addresses.
    """

    argv: tuple[str, ...]
    env: Mapping[str, str]
    library: str
    contents: Mapping[int, bytes]
    cwd: str = "/"
    info: int | None = None
    nested: bool = False
    mark: str | None = None
    container: Container | None = None
    folders: tuple[str, ...] = ()
    files: Mapping[str, bytes] = field(default_factory=dict)
    bounds: tuple[int, ...] = ()
    grouped: bool = True
    scaffold: bool = False
    enclosed: bool = False
    engine: Mapping[str, float] = field(default_factory=dict)
    request: Request | None = None

    @property
    def apart(self) -> bool:
        """Whether the runtime has a process space of its own."""
        return self.nested or self.info is not None


class Backend(Protocol):
    """One way to run a job."""

    isolates: ClassVar[bool]  # False: the runtime has its user's rights, and his folders
    on_disk: ClassVar[bool]  # whether it needs a folder of the host's for each run
    short_paths: ClassVar[bool]  # whether sockets are made in that folder

    @property
    def name(self) -> str:
        """The name that it is chosen by."""
        ...

    def plan(self, *, disk_bytes: int, workspace: str) -> Plan:
        """Return what to start: up to the launcher inside, which then waits for a payload."""
        ...

    def remedy(self, said: str) -> tuple[str, str]:
        """Return (what a failure to start means, what to do), from what the back end said."""
        ...


def workspaces(backend: str) -> Path | None:
    """Return where a back end's workspaces must lie; None: where all others are.

    firejail shows all of a home in which it is to show something; of /tmp it shows just that.
    """
    if backend == "firejail":
        return Path(f"/tmp/lmboot-{system.user()}")
    return None


def short_base() -> Path:
    """Return where workspaces can lie whose paths must be short: sockets are made in them."""
    given = os.environ.get("XDG_RUNTIME_DIR", "")
    if given.startswith("/") and len(given) <= MAX_SHORT and os.path.isdir(given):
        return Path(given, "lmboot")
    return Path(tempfile.gettempdir(), f"lmboot-{system.user()}")


def environment(*, home: str, temporary: str, path: str) -> dict[str, str]:
    """Return a runtime's environment, to which its launcher adds the routes; none is inherited."""
    return {
        "PATH": path,
        "LANG": "C.UTF-8",
        "HOME": home,
        "TMPDIR": temporary,
        "LMBOOT_FD": str(CHANNEL),
    }
