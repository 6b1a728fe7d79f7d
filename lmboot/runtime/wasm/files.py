"""Folders of the portable sandbox: kept on disk by the host process, counted to the byte.

The guest has no way to the host's files: it asks for paths within a folder, and what is done
about it is here. Nothing here makes a link, so none can be followed. An answer is a value or an
OSError. Standard library only: this runs beside the guest, without lmboot.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator, Mapping
from typing import Any

_DEVICES = frozenset(
    ["con", "prn", "aux", "nul", "conin$", "conout$"]
    + [f"{name}{digit}" for name in ("com", "lpt") for digit in "0123456789¹²³"]
)
_NOT_IN_A_NAME = frozenset('\\:*?"<>|') | set(map(chr, range(32)))

PAGE = 4096  # what the smallest file takes, so that many small ones are not free
MAX_ENTRIES = 20_000
# No link in the last place of a path; and on Windows, whose ends of lines are others, no change.
_OF_THE_SYSTEM = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
_NEW = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | _OF_THE_SYSTEM


def is_plain(name: str) -> bool:
    """Say whether Windows takes a name for that of one file in its folder, and for nothing else.

    Elsewhere each name is one. There a backslash is a way to another folder, a colon a drive or a
    stream; devices are reached from everywhere; dots and spaces at the end are left out.
    """
    device = name.partition(".")[0].rstrip(" ").casefold() in _DEVICES
    return not device and name[-1:] not in (".", " ") and _NOT_IN_A_NAME.isdisjoint(name)


def _pages(size: int) -> int:
    return -(-size // PAGE) * PAGE


class Folder:
    """A folder that may hold `bytes_at_most`, whole pages counted; more is ENOSPC."""

    def __init__(
        self, root: str, bytes_at_most: int, facts: Any, *, plain: bool = os.name == "nt"
    ) -> None:
        """Take an empty folder that nobody else writes to.

        `facts` makes the engine's answer to `stat` from a kind, a size and a time; `plain`: only
        names that Windows takes for nothing else are there.
        """
        self._root, self._ceiling, self._facts, self._plain = root, bytes_at_most, facts, plain
        self._used = self._entries = 0

    def stat(self, path: str) -> Any:
        """Return what the path is: a file or a folder, its size, its time."""
        found = os.lstat(self._place(path))
        kind = "dir" if stat.S_ISDIR(found.st_mode) else "file"
        return self._facts(kind, found.st_size if kind == "file" else 0, found.st_mtime_ns)

    def list(self, path: str) -> Iterator[tuple[str, str]]:
        """Yield the names in a folder, each with its kind."""
        with os.scandir(self._place(path)) as entries:
            for entry in entries:
                yield entry.name, "dir" if entry.is_dir(follow_symlinks=False) else "file"

    def read(self, path: str) -> bytes:
        """Return all that a file holds."""
        with open(self._place(path), "rb") as file:
            return file.read()

    def write(self, path: str, data: bytes) -> None:
        """Replace all that a file holds; make it if need be."""
        before = self._held(path)
        self._reserve(_pages(len(data)) - (before or 0), 1 if before is None else 0)
        try:
            with open(os.open(self._place(path), _NEW, 0o600), "wb", buffering=0) as file:
                file.write(data)
        finally:
            after = self._held(path)
            self._used += (after or 0) - (before or 0)
            self._entries += (after is not None) - (before is not None)

    def mkdir(self, path: str) -> None:
        """Make a folder."""
        self._reserve(0, 1)
        os.mkdir(self._place(path), 0o700)
        self._entries += 1

    def remove(self, path: str) -> None:
        """Remove a file."""
        held = self._held(path)
        if held is None or stat.S_ISDIR(os.lstat(self._place(path)).st_mode):
            raise OSError(errno.ENOENT if held is None else errno.EISDIR, path)
        os.unlink(self._place(path))
        self._used -= held
        self._entries -= 1

    def rmdir(self, path: str) -> None:
        """Remove an empty folder."""
        os.rmdir(self._place(path))
        self._entries -= 1

    def rename(self, src: str, dst: str) -> None:
        """Move a file or a folder, over what may be replaced by it.

        Two names may be one file's: where a system takes `a` and `A` for the same.
        """
        replaced = None if self._is_same(src, dst) else self._held(dst)
        os.replace(self._place(src), self._place(dst))
        if replaced is not None:
            self._used -= replaced
            self._entries -= 1

    def _place(self, path: str) -> str:
        """Return where the host has it; OSError for what can't be there."""
        if self._plain and not all(map(is_plain, path[1:].split("/"))):
            raise OSError(errno.EINVAL, path)
        return self._root + path

    def _is_same(self, path: str, other: str) -> bool:
        try:
            return os.path.samestat(os.lstat(self._place(path)), os.lstat(self._place(other)))
        except (FileNotFoundError, NotADirectoryError):
            return False

    def _held(self, path: str) -> int | None:
        """Return the bytes that a path takes, 0 for a folder; None where there is nothing."""
        try:
            found = os.lstat(self._place(path))
        except (FileNotFoundError, NotADirectoryError):
            return None
        return 0 if stat.S_ISDIR(found.st_mode) else _pages(found.st_size)

    def _reserve(self, size: int, entries: int) -> None:
        if (size > 0 and self._used + size > self._ceiling) or (
            self._entries + entries > MAX_ENTRIES
        ):
            raise OSError(errno.ENOSPC, "")


class Texts:
    """A folder that can only be read, of files in memory."""

    def __init__(self, files: Mapping[str, bytes], facts: Any) -> None:
        """Take the files by their names."""
        self._files, self._facts = {f"/{name}": data for name, data in files.items()}, facts

    def stat(self, path: str) -> Any:
        """Return what the path is."""
        if path == "/":
            return self._facts("dir", 0, 0)
        return self._facts("file", len(self.read(path)), 0)

    def list(self, path: str) -> list[tuple[str, str]]:
        """Return the names, each with its kind."""
        if path != "/":
            raise OSError(errno.ENOTDIR if path in self._files else errno.ENOENT, path)
        return [(name[1:], "file") for name in self._files]

    def read(self, path: str) -> bytes:
        """Return what a file holds."""
        if path not in self._files:
            raise OSError(errno.EISDIR if path == "/" else errno.ENOENT, path)
        return self._files[path]
