"""The back ends: each turns a job's values into what to start; nothing here starts anything."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Protocol

# The runtime's descriptors beside 0, 1 and 2. The launcher inside is told of the channel's and
# finds the next two behind it. Stdin is among them because a sandbox's own processes keep what is
# given to them as 0, so that nobody would learn that the runtime has closed it.
CHANNEL, PAYLOAD, STDIN, SECCOMP, INFO, START, LIBRARY = range(3, 10)

NOT_BUILT = ("podman", "docker", "landlock", "wasm", "firejail", "seatbelt", "appcontainer")


@dataclass(frozen=True, slots=True)
class Plan:
    """What to start: a pure value, so that it can be compared.

    `library` is where the host's library lies for the runtime. `contents` maps the runtime's
    descriptor numbers to the bytes that they hold; `info` is the number on which a sandbox tells
    its first process; `folders` are the writable file systems, the workspace first; `cwd` is
    where a back end without an inside starts.
    """

    argv: tuple[str, ...]
    env: Mapping[str, str]
    library: str
    contents: Mapping[int, bytes]
    cwd: str = "/"
    info: int | None = None
    folders: tuple[str, ...] = ()


class Backend(Protocol):
    """One way to run a job."""

    name: ClassVar[str]
    isolates: ClassVar[bool]  # False: the runtime has its user's rights, and his folders

    def plan(self, *, disk_bytes: int, workspace: str) -> Plan:
        """Return what to start: up to the launcher inside, which then waits for a payload."""
        ...

    def remedy(self, said: str) -> tuple[str, str]:
        """Return (what a failure to start means, what to do), from what the back end said."""
        ...


def environment(*, home: str, temporary: str, path: str) -> dict[str, str]:
    """Return a runtime's environment, to which its launcher adds the routes; none is inherited."""
    return {
        "PATH": path,
        "LANG": "C.UTF-8",
        "HOME": home,
        "TMPDIR": temporary,
        "LMBOOT_FD": str(CHANNEL),
    }
