"""Files that the kernel has in memory: opened and read in the event loop, without waiting.

Nothing here can wait for a disk, a network or another process: what would is a BlockingIOError
before anything has happened, and is then done in a thread. On Linux only; elsewhere all is.
"""

from __future__ import annotations

import ctypes
import functools
import os
import sys

from lmboot import system
from lmboot.runtime.beneath import by_openat2

_RESOLVE_CACHED = 0x20  # Linux 5.12: EAGAIN, also for what has to be looked up on the disk
# What answers by itself. Not so FUSE, NFS, SMB, 9P, Ceph and whatever is not known here: there the
# answer may be another machine's or another program's, and it may never come.
_LOCAL = frozenset(
    {
        0xEF53,  # ext2, ext3, ext4
        0x58465342,  # xfs
        0x9123683E,  # btrfs
        0xF2F52010,  # f2fs
        0x2FC12FC1,  # zfs
        0xCA451A4E,  # bcachefs
        0x01021994,  # tmpfs
        0x794C7630,  # overlay
    }
)


def is_local(descriptor: int) -> bool:
    """Say whether a folder lies on a file system of this machine's own, going by its kind."""
    if not system.LINUX:
        return False
    found = (ctypes.c_long * 64)()  # the kind is the first member, everywhere on Linux
    known: bool = _libc().fstatfs(descriptor, found) == 0 and found[0] & 0xFFFFFFFF in _LOCAL
    return known


@functools.cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None)


def open_cached(root: int, path: str, flags: int) -> int:
    """Open as `open_beneath` does; BlockingIOError where the way there is not in memory.

    Whatever else is in the way is that too: to be told why, open it patiently.
    """
    try:
        return by_openat2(root, path, flags, _RESOLVE_CACHED)
    except OSError:
        raise BlockingIOError from None


def read_cached(descriptor: int, count: int, offset: int) -> bytes:
    """Read so many bytes or all that are there; BlockingIOError where one is not in memory."""
    if sys.platform == "linux":
        data = bytearray(count)
        try:
            taken = os.preadv(descriptor, [data], offset, os.RWF_NOWAIT)
        except OSError:  # EOPNOTSUPP too: many file systems can't tell, and can't be asked twice
            raise BlockingIOError from None
        if taken == count or taken >= os.fstat(descriptor).st_size - offset:
            return bytes(memoryview(data)[:taken])
    raise BlockingIOError
