"""Removes a folder in which a stranger was at work, or still is; on open descriptors alone.

No link is followed, no name believed, no depth costs more than another.
"""

from __future__ import annotations

import errno
import itertools
import os
import secrets
import stat
import time
from collections.abc import Iterator

from lmboot import system

REMOVE_SECONDS = 20.0
FOLDER = os.O_RDONLY | system.O_DIRECTORY | system.O_NOFOLLOW | system.O_CLOEXEC


def remove_tree(parent: int, name: str, *, seconds: float = REMOVE_SECONDS) -> bool:
    """Remove a folder beneath an open one, following no link; say whether it is gone.

    Its time is bounded; another call takes up where one had to leave off.
    """
    deadline = time.monotonic() + seconds
    try:
        root = _open_to_empty(parent, name)
    except FileNotFoundError:
        return True
    except OSError:
        return False
    try:
        if not _empty(root, deadline):
            return False
    except OSError:
        return False
    finally:
        os.close(root)
    os.rmdir(name, dir_fd=parent)
    return True


def _empty(root: int, deadline: float) -> bool:
    """Empty a folder; say whether the time was enough.

    Folders in it are dissolved one by one, those in them moving up to the root first, so that
    depth costs neither stack nor descriptors.
    """
    while names := list(itertools.islice(entries_of(root), 1000)):
        for name in names:
            if time.monotonic() > deadline:
                return False
            if not _unlink(root, name) and not _dissolve(root, name, deadline):
                return False
    return True


def _dissolve(root: int, name: str, deadline: float) -> bool:
    folder = _open_to_empty(root, name)
    try:
        for entry in entries_of(folder):
            if time.monotonic() > deadline:
                return False
            if not _unlink(folder, entry):
                make_usable(folder, entry)
                moved = secrets.token_hex(16)
                os.rename(entry, moved, src_dir_fd=folder, dst_dir_fd=root)
    finally:
        os.close(folder)
    try:
        os.rmdir(name, dir_fd=root)
    except OSError as error:
        if error.errno != errno.ENOTEMPTY:  # a listing may miss what changes under it: once more
            raise
    return True


def _open_to_empty(parent: int, name: str) -> int:
    make_usable(parent, name)
    return os.open(name, FOLDER, dir_fd=parent)


def make_usable(parent: int, name: str) -> None:
    """Give ourselves all rights to a folder that its owner may have locked; never to a link."""
    if not system.O_PATH:
        os.chmod(name, 0o700, dir_fd=parent, follow_symlinks=False)
        return
    handle = os.open(name, system.O_PATH | system.O_NOFOLLOW | system.O_CLOEXEC, dir_fd=parent)
    try:
        if stat.S_ISDIR(os.fstat(handle).st_mode):
            os.chmod(f"/proc/self/fd/{handle}", 0o700)
    finally:
        os.close(handle)


def entries_of(folder: int) -> Iterator[str]:
    """Yield the names in an open folder."""
    with os.scandir(folder) as entries:
        for entry in entries:
            yield entry.name


def _unlink(folder: int, name: str) -> bool:
    """Remove whatever is no folder; False when it is one."""
    try:
        os.unlink(name, dir_fd=folder)
    except OSError as error:
        if error.errno not in (errno.EISDIR, errno.EPERM):
            raise
        return False
    return True
