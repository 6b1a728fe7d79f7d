"""Files that only the user may read or change: how the audit folder's are made and looked at."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import sys
from collections.abc import Iterator
from pathlib import Path

from lmboot import system
from lmboot.errors import AuditFault

if sys.platform != "win32":
    import fcntl

# Windows has no links that anybody may make, but would write each newline as two bytes.
AS_IT_IS = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)


@contextlib.contextmanager
def alone(lock: Path) -> Iterator[None]:
    """Let no other lmboot make a key meanwhile: two would, and one log could not be verified."""
    descriptor = os.open(lock, os.O_WRONLY | os.O_CREAT | AS_IT_IS, 0o600)
    try:
        if sys.platform != "win32":
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def write_private(file: Path, data: bytes, how: int, *, synced: bool = False) -> None:
    """Write a file of ours whole, or raise OSError; half of it may be left then."""
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | how | AS_IT_IS, 0o600)
    try:
        if os.write(descriptor, data) != len(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        if synced:
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_private(folder: Path) -> None:
    """Close a folder to others; raise OSError or AuditFault where it is none, or not ours."""
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode):
        raise NotADirectoryError(20, "it is no folder")
    if sys.platform != "win32":
        folder.chmod(0o700)
        must_be_private(folder, folder.lstat())


def must_be_private(path: Path, found: os.stat_result) -> None:
    """Raise AuditFault unless it is the user's, and nobody else's to read."""
    if sys.platform != "win32":  # a user's folders there are his by inheritance
        if found.st_uid != system.user():
            raise unusable(path, "it belongs to somebody else")
        if found.st_mode & 0o077:
            raise unusable(path, "others may read it")


def unusable(path: Path, reason: str | None) -> AuditFault:
    """Return the fault that says why no log can be kept."""
    return AuditFault(f"the audit log can't be kept, because of {path}: {reason}")
