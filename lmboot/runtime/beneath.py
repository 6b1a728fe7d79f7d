"""Open what lies beneath an open folder, however the tree changes meanwhile; no link is followed.

Two ways with the same answers: `by_openat2` lets the kernel hold the border, `by_walking` goes
part by part for kernels and filters that have no openat2. Both raise OSError: ELOOP for a link
anywhere in the path, EXDEV where another file system begins, and what open(2) raises otherwise.
The path is relative and was checked by `lmboot.paths`; an empty one is the folder itself.
"""

from __future__ import annotations

import ctypes
import errno
import functools
import os
import platform
import stat
import sys
from collections.abc import Callable
from pathlib import Path
from typing import cast

from lmboot import system

Opener = Callable[[int, str, int], int]

_OPENAT2 = 437  # the same on every architecture that has it, Alpha aside
_ARCHITECTURES = ("x86_64", "aarch64")
_NO_XDEV, _NO_MAGICLINKS, _NO_SYMLINKS, _BENEATH = 0x01, 0x02, 0x04, 0x08
_TRIES = 8  # EAGAIN: something was renamed while the kernel looked
# NONBLOCK: a FIFO that nobody writes to must not hold us; NOCTTY: nor a terminal become ours.
_SAFE = system.O_CLOEXEC | system.O_NOFOLLOW
_PATIENT = system.O_NONBLOCK | system.O_NOCTTY
_PART = system.HANDLE | system.O_NOFOLLOW | system.O_CLOEXEC


class _How(ctypes.Structure):
    _fields_ = (
        ("flags", ctypes.c_uint64),
        ("mode", ctypes.c_uint64),
        ("resolve", ctypes.c_uint64),
    )


_HOW_BYTES = ctypes.sizeof(_How)


def open_beneath(root: int, path: str, flags: int) -> int:
    """Open a path by openat2 where that works here, else part by part."""
    try:
        return by_openat2(root, path, flags)
    except OSError as error:
        # EPERM is what a filter answers; where it is the file's own answer, walking repeats it.
        if error.errno not in (errno.ENOSYS, errno.EPERM):
            raise
    return by_walking(root, path, flags)


def has_openat2(system_name: str, machine: str) -> bool:
    """Say whether a system (a value of sys.platform) may be asked by that number; pure.

    On another one it is another call: nothing must be called by a number that was not meant.
    """
    return system_name == "linux" and machine in _ARCHITECTURES


def by_openat2(root: int, path: str, flags: int, resolve: int = 0) -> int:
    """Open a path in one system call; OSError ENOSYS where there is none.

    `resolve` are conditions of openat2 beside those that always hold.
    """
    if not has_openat2(sys.platform, platform.machine()):
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    how, encoded = _how(flags, resolve), _encoded(path)
    for _ in range(_TRIES):
        descriptor, problem = _call_openat2(root, encoded, how)
        if problem not in (errno.EAGAIN, errno.EINTR):
            break
    if descriptor < 0:
        raise OSError(problem, os.strerror(problem))
    return descriptor


@functools.cache
def _how(flags: int, resolve: int) -> _How:
    # Without NOFOLLOW: with it, a link in the place of a folder would be told as no folder.
    return _How(
        _with_safety(flags) & ~system.O_NOFOLLOW,
        0,
        _BENEATH | _NO_MAGICLINKS | _NO_SYMLINKS | _NO_XDEV | resolve,
    )


def _call_openat2(root: int, path: bytes, how: _How) -> tuple[int, int]:
    descriptor = _syscall()(_OPENAT2, root, path, how, _HOW_BYTES)
    return descriptor, ctypes.get_errno() if descriptor < 0 else 0


@functools.cache
def _syscall() -> Callable[..., int]:
    syscall = ctypes.CDLL(None, use_errno=True).syscall
    syscall.restype = ctypes.c_long
    how = ctypes.POINTER(_How)
    syscall.argtypes = (ctypes.c_long, ctypes.c_int, ctypes.c_char_p, how, ctypes.c_size_t)
    return cast(Callable[..., int], syscall)


def _with_safety(flags: int) -> int:
    # A handle (O_PATH) opens nothing, and openat2 refuses flags that would mean nothing.
    return flags | _SAFE | (0 if flags & system.O_PATH else _PATIENT)


def _encoded(path: str) -> bytes:
    """Return what the kernel gets; C would end the path at a NUL and open another file."""
    if "\0" in path:
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
    return os.fsencode(path or ".")


def by_walking(root: int, path: str, flags: int) -> int:
    """Open a path part by part, each from the descriptor of the one before."""
    _encoded(path)
    *folders, last = path.split("/") if path else ["."]
    mount = _mount(root)
    current = os.dup(root)
    try:
        for part in folders:
            current = _replaced(current, _open_folder(current, part, mount))
        return _open_last(current, last, flags, mount)
    finally:
        os.close(current)


def _replaced(old: int, new: int) -> int:
    os.close(old)
    return new


def _open_folder(parent: int, part: str, mount: tuple[int, str]) -> int:
    descriptor = os.open(part, _PART, dir_fd=parent)
    try:
        mode = os.fstat(descriptor).st_mode
        _stay(not stat.S_ISLNK(mode), errno.ELOOP)
        _stay(stat.S_ISDIR(mode), errno.ENOTDIR)
        _stay(_mount(descriptor) == mount, errno.EXDEV)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def _open_last(parent: int, part: str, flags: int, mount: tuple[int, str]) -> int:
    # As a handle first: opening a link itself, or what lies on another file system, is refused
    # before it can have an effect, and with openat2's answer.
    handle = os.open(part, _PART, dir_fd=parent)
    try:
        _stay(not stat.S_ISLNK(os.fstat(handle).st_mode), errno.ELOOP)
        _stay(_mount(handle) == mount, errno.EXDEV)
    finally:
        os.close(handle)
    descriptor = os.open(part, _with_safety(flags), dir_fd=parent)
    try:
        _stay(_mount(descriptor) == mount, errno.EXDEV)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def lies_at(descriptor: int, path: Path) -> str | None:
    """Return where what was opened by a path really lies; None where that can't be told.

    Where the system does not tell it by descriptor, the path's own answer counts, if it leads
    there even now.
    """
    if real := system.path_of(descriptor):
        return real
    try:
        found = os.path.realpath(path, strict=True)
        return found if os.path.samestat(os.stat(found), os.fstat(descriptor)) else None
    except OSError:
        return None


def _stay(held: bool, problem: int) -> None:
    if not held:
        raise OSError(problem, os.strerror(problem))


def _mount(descriptor: int) -> tuple[int, str]:
    """Return what differs between mounts; the device alone does not tell a bind mount."""
    return os.fstat(descriptor).st_dev, _mount_id(descriptor)


def _mount_id(descriptor: int) -> str:
    try:
        with open(f"/proc/self/fdinfo/{descriptor}", encoding="ascii") as lines:
            return next((line for line in lines if line.startswith("mnt_id:")), "")
    except OSError:
        return ""  # no /proc: the device has to do
