"""What every container of lmboot's is, whoever makes it; values, nothing here starts anything."""

from __future__ import annotations

from pathlib import Path

from lmboot.runtime.backends import SCRATCH_BYTES, STDIN, environment
from lmboot.runtime.backends.bubblewrap import system_folders

# Beside the channel, the payload and stdin, which lie before them.
LIFE, OUT, ERR = range(STDIN + 1, STDIN + 4)

GUEST = Path(__file__).parents[1] / "guest"
INSIDE = "/run/lmboot"  # where lmboot's own files lie for the runtime
WRITABLE = ("/app", "/tmp", "/dev/shm")
FLAGS = ("-I", "-S", "-B", "-u", "-X", "utf8")  # of the interpreter inside
OPEN_FILES = 256

NO_PYTHON = (
    "the image holds no python3 that can be started",
    "Use an image with Python 3.9 or newer, such as docker.io/library/python:3-slim.",
)


def sizes(disk_bytes: int) -> dict[str, int]:
    """Return how many bytes each of the writable folders may hold."""
    return dict(zip(WRITABLE, (disk_bytes, SCRATCH_BYTES, SCRATCH_BYTES), strict=True))


def shown(folders: tuple[str, ...], prefix: str | None) -> tuple[str, ...]:
    """Return what a container that is no image has of this machine, each in its own place."""
    return ("/usr", *folders, *(() if prefix is None else (prefix,)))


def folders_of_the_system() -> tuple[str, ...]:
    """Return those that belong to the libraries of /usr, beside it."""
    return tuple(path for path, _ in system_folders())


def own_environment(*, of_image: bool) -> dict[str, str]:
    """Return the runtime's environment; an image has more folders for programs."""
    path = "/usr/local/bin:/usr/bin:/bin" if of_image else "/usr/bin"
    return environment(home="/app", temporary="/tmp", path=path)
