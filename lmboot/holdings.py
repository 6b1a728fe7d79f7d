"""How much a runtime keeps in folders that share their disk with others; the supervisor's.

Standard library only: this is imported by a process that has nothing else.
"""

from __future__ import annotations

import contextlib
import os
import stat
import sys
import time
from collections.abc import Iterable, Iterator

from lmboot import system

assert sys.platform != "win32"  # noqa: S101 nobody imports it there

DISK_SHARE = 0.1  # of the time may be spent on walking through folders
MAX_LEVELS = 64  # of folders within folders; whoever nests deeper has something to hide
TOO_MUCH = float("inf")


class Uncountable(Exception):
    """A folder can't be walked through to its end."""


class Holdings:
    """How much is kept in folders that nothing bounds, from a walk through them now and then."""

    def __init__(self, bounds: dict[int, int]) -> None:
        self._bounds = bounds
        self._entries = 0.0
        self._next = 0.0

    def entries(self, now: float, pids: Iterable[int]) -> float:
        """Return how many files there are, TOO_MUCH when a folder holds more than it may.

        The walk may take its share of the time, no more; in between, the last answer holds.
        """
        if now >= self._next:
            self._entries = self._walk(pids)
            self._next = now + (time.monotonic() - now) / DISK_SHARE
        return self._entries

    def _walk(self, pids: Iterable[int]) -> float:
        entries = 0
        try:
            unnamed = sum(_unnamed(pids, self._bounds).values())
            for folder, bound in self._bounds.items():
                sizes = dict(_sizes(folder, MAX_LEVELS))
                entries += len(sizes)
                if sum(sizes.values()) + unnamed > bound:
                    return TOO_MUCH
        except Uncountable:
            return TOO_MUCH
        return entries


def _sizes(folder: int, levels: int) -> Iterator[tuple[int, int]]:
    """Yield (inode, bytes on disk) of all beneath an open folder, following no link."""
    if levels == 0:
        raise Uncountable
    with os.scandir(folder) as entries:
        for entry in entries:
            try:
                found = entry.stat(follow_symlinks=False)
                yield found.st_ino, system.size_on_disk(found)
                if stat.S_ISDIR(found.st_mode):
                    yield from _sizes_in(folder, entry.name, levels)
            except (FileNotFoundError, NotADirectoryError):
                continue  # it changes while it is walked through
            except OSError:
                raise Uncountable from None


def _sizes_in(parent: int, name: str, levels: int) -> Iterator[tuple[int, int]]:
    flags = os.O_RDONLY | system.O_DIRECTORY | system.O_NOFOLLOW | system.O_CLOEXEC
    folder = os.open(name, flags, dir_fd=parent)
    try:
        yield from _sizes(folder, levels - 1)
    finally:
        os.close(folder)


def _unnamed(pids: Iterable[int], folders: Iterable[int]) -> dict[tuple[int, int], int]:
    """Return the sizes of files that processes hold open and that are in no folder any more.

    A process that can't be looked into, and a file beneath the folders that nothing but a mapping
    holds (nobody can tell its size), are Uncountable. Only Linux tells of any.
    """
    if not system.LINUX:
        return {}
    sizes: dict[tuple[int, int], int] = {}
    places = [f"{os.readlink(f'/proc/self/fd/{folder}')}/".encode() for folder in folders]
    mapped = set()
    for pid in pids:
        try:
            sizes.update(_unnamed_and_open(pid))
            mapped |= _unnamed_and_mapped(pid, places)
        except PermissionError:
            if _has_memory(pid):  # it has made itself unreadable; without memory, it is dying
                raise Uncountable from None
        except OSError:
            continue  # it is gone
    if mapped - {inode for _, inode in sizes}:
        raise Uncountable
    return sizes


def _unnamed_and_open(pid: int) -> Iterator[tuple[tuple[int, int], int]]:
    with os.scandir(f"/proc/{pid}/fd") as entries:
        for entry in entries:
            with contextlib.suppress(FileNotFoundError):
                found = entry.stat()
                if stat.S_ISREG(found.st_mode) and found.st_nlink == 0:
                    yield (found.st_dev, found.st_ino), system.size_on_disk(found)


def _unnamed_and_mapped(pid: int, places: list[bytes]) -> set[int]:
    """Return the inodes of mapped files that had their last name in one of these places."""
    with open(f"/proc/{pid}/maps", "rb") as file:
        lines = [line.split(None, 5) for line in file if line.endswith(b" (deleted)\n")]
    return {int(line[4]) for line in lines if line[5].startswith(tuple(places))}


def _has_memory(pid: int) -> bool:
    with contextlib.suppress(OSError), open(f"/proc/{pid}/status", "rb") as file:
        return b"VmSize:" in file.read()
    return False


def filled(folder: int) -> int:
    """Return how many bytes a file system in memory holds."""
    held = os.fstatvfs(folder)
    return (held.f_blocks - held.f_bfree) * held.f_frsize


def inodes(folder: int) -> int:
    """Return how many files a file system holds: its size does not bound their number."""
    held = os.fstatvfs(folder)
    return held.f_files - held.f_ffree
