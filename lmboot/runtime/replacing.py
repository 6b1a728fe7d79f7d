"""Put a file in its place whole: nobody ever sees half of it, whatever becomes of us meanwhile."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets

from lmboot import system

_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | system.O_NOFOLLOW | system.O_CLOEXEC


def put_whole(parent: int, name: str, data: bytes, *, mode: int | None, overwrite: bool) -> None:
    """Write a file without a name, or with a passing one, and name it when it is whole.

    `mode` None: as new files have it. May raise OSError: FileExistsError if it must not replace.
    """
    passing = f".lmboot-{secrets.token_hex(8)}"
    descriptor, named = _new_file(parent, passing)
    try:
        _write(descriptor, data)
        if mode is not None:
            system.fchmod(descriptor, mode)
        _name(parent, descriptor, None if not named else passing, name, overwrite)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(passing, dir_fd=parent)
        raise
    finally:
        os.close(descriptor)


def _new_file(parent: int, passing: str) -> tuple[int, bool]:
    """Open a file that vanishes if we do; where the system can't, one with the passing name."""
    if system.O_TMPFILE and system.path_of(parent):  # it gets its name through /proc
        try:
            flags = os.O_WRONLY | system.O_TMPFILE | system.O_CLOEXEC
            return os.open(".", flags, 0o666, dir_fd=parent), False
        except OSError as error:
            if error.errno not in (errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL):
                raise
    return os.open(passing, _NEW, 0o666, dir_fd=parent), True


def _write(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def _name(parent: int, descriptor: int, passing: str | None, name: str, overwrite: bool) -> None:
    """Give a whole file its name: over what is there, or only where nothing is."""
    source = passing or f"/proc/self/fd/{descriptor}"
    if not overwrite:
        os.link(source, name, src_dir_fd=parent, dst_dir_fd=parent)
        if passing:
            os.unlink(passing, dir_fd=parent)
        return
    if passing is None:
        passing = f".lmboot-{secrets.token_hex(8)}"
        os.link(source, passing, src_dir_fd=parent, dst_dir_fd=parent)
    os.rename(passing, name, src_dir_fd=parent, dst_dir_fd=parent)
