"""A folder that the user granted to a runtime, and what may be done beneath it.

Paths are text of a stranger's: they pass `lmboot.paths` first, then are resolved from the folder's
open descriptor, and what was opened is judged by that descriptor: a regular file with one name.
Every method may block and is meant for a thread of its own; any number may run at once. But those
`…_at_once` never wait: what they can't do without is a BlockingIOError, and nothing has happened.

Each refusal is an OperationRefused, its code one of: bad_path, hidden, not_found, exists, link,
not_a_file, not_a_folder, other_filesystem, read_only, not_text, too_large, quota, bad_argument,
closed, failed.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, Self

from lmboot import system
from lmboot.errors import OperationRefused, UsageFault
from lmboot.paths import problem_with
from lmboot.runtime import own
from lmboot.runtime.autorun import runs_by_itself
from lmboot.runtime.beneath import Opener, lies_at, open_beneath
from lmboot.runtime.cached import is_local, open_cached, read_cached
from lmboot.runtime.quota import Quota
from lmboot.runtime.replacing import put_whole
from lmboot.text import brief

MAX_READ_BYTES = 1 << 20
AT_ONCE_BYTES = 64 << 10
MAX_FILE_BYTES = 4 << 20
MAX_ENTRIES = 10_000
MAX_SEEN_ENTRIES = 200_000  # of which most may be hidden or links
RUN_BYTES = 64 << 20

_FOLDER = os.O_RDONLY | system.O_DIRECTORY | system.O_NOFOLLOW | system.O_CLOEXEC
_SYSTEM = ("/proc", "/sys", "/dev")  # their files are no files: reading or opening has effects

_CODES = {
    errno.ENOENT: ("not_found", "does not exist"),
    errno.EEXIST: ("exists", "exists already"),
    errno.ELOOP: ("link", "is a link, or lies beneath one"),
    errno.ENOTDIR: ("not_a_folder", "is no folder, or lies beneath a file"),
    errno.EISDIR: ("not_a_file", "is a folder"),
    errno.ENXIO: ("not_a_file", "is no regular file"),
    errno.EXDEV: ("other_filesystem", "lies on another file system"),
    errno.ENOSPC: ("quota", "does not fit on the disk"),
    errno.EDQUOT: ("quota", "does not fit on the disk"),
    errno.EROFS: ("read_only", "lies on a file system that is read-only"),
    errno.EOPNOTSUPP: ("not_a_file", "is no regular file"),  # a socket, where macOS is asked
}


class Part(NamedTuple):
    """A part of a file: its text, where the next part begins, and the size of the whole file."""

    text: str
    next_offset: int
    size: int


class Folder:
    """A granted folder, held by its descriptor until `close`."""

    def __init__(
        self,
        descriptor: int,
        *,
        writable: bool,
        quota: Quota | None = None,
        opener: Opener = open_beneath,
    ) -> None:
        """Take over a descriptor; see `open`."""
        found = os.fstat(descriptor)
        self.identity = found.st_dev, found.st_ino
        self.turn = threading.Lock()  # for what must be alone in reading and then replacing a file
        self._descriptor = descriptor
        self.writable = writable
        self._quota = quota or Quota(RUN_BYTES)
        self._opener = opener
        self._is_local = opener is open_beneath and is_local(descriptor)
        self._lock = threading.Lock()

    @classmethod
    def open(
        cls,
        path: Path,
        writable: bool = False,
        *,
        quota: Quota | None = None,
        opener: Opener = open_beneath,
    ) -> Self:
        """Hold a folder; raise UsageFault where it is a link or no folder, or is the system's.

        Names that begin with a dot can't be reached or seen. All writing takes from `quota`, of
        RUN_BYTES where none is given.
        """
        if not system.can_hold:
            raise UsageFault(
                "folders can't be granted on Windows yet",
                hint="Let the runtime use its own files: `:route fs.read_text EMULATE`.",
            )
        try:
            descriptor = os.open(path, _FOLDER)
        except (OSError, ValueError) as error:  # a ValueError: no path can be written like that
            why = getattr(error, "strerror", "") or "is no path"
            raise UsageFault(
                f"{brief(str(path))}: {why}", hint="Name a folder, not a link."
            ) from None
        try:
            _check_of_the_user(descriptor, path, writable)
            return cls(descriptor, writable=writable, quota=quota, opener=opener)
        except BaseException:
            os.close(descriptor)
            raise

    def again(self, *, writable: bool) -> Self:
        """Hold the same folder once more, wherever its path may lead by now."""
        with self._root() as root, _told(""):
            return type(self)(
                os.dup(root),
                writable=writable,
                quota=self._quota,
                opener=self._opener,
            )

    def close(self) -> None:
        """Let go of the folder; what is under way ends as if it were still held. Idempotent."""
        with self._lock:
            if self._descriptor >= 0:
                os.close(self._descriptor)
            self._descriptor = -1

    def __enter__(self) -> Self:
        """Hold it for a block."""
        return self

    def __exit__(self, *_: object) -> None:
        """Let go."""
        self.close()

    # ------------------------------------------------------------ operations

    def read_text(self, relative: str, offset: int = 0, length: int = MAX_READ_BYTES) -> Part:
        """Return the UTF-8 text from a byte on, cut before a character that is not whole."""
        if offset < 0 or not 0 < length <= MAX_READ_BYTES:
            raise _refusal(relative, "bad_argument", f"is read {MAX_READ_BYTES} bytes at a time")
        with self.opened(relative) as descriptor:
            data = _read(descriptor, offset, length)
            size = max(os.fstat(descriptor).st_size, offset + len(data))
        return _part(relative, data, offset, size, whole=len(data) < length)

    def read_text_at_once(
        self, relative: str, offset: int = 0, length: int = MAX_READ_BYTES
    ) -> Part:
        """Do what `read_text` does, where no more than AT_ONCE_BYTES are to be read."""
        self._check(relative)
        descriptor = self._opened_at_once(relative, os.O_RDONLY)
        try:
            found = os.fstat(descriptor)
            _check_file(relative, found)
            count = min(length, found.st_size - offset)
            if not 0 <= count <= AT_ONCE_BYTES or offset < 0:
                raise BlockingIOError
            data = read_cached(descriptor, count, offset)
        finally:
            os.close(descriptor)
        return _part(relative, data, offset, found.st_size, whole=length > count)

    def write_text(self, relative: str, text: str, overwrite: bool = False) -> int:
        """Make a file, or replace one whole; return its size in bytes. Missing folders are made.

        Nobody ever sees half a file.
        """
        try:
            data = text.encode()
        except UnicodeEncodeError:
            raise _refusal(relative, "not_text", "would hold half of a surrogate pair") from None
        return self.write_bytes(relative, data, overwrite=overwrite)

    def list(self, relative: str = "") -> list[str]:
        """Return the names in a folder, sorted; a folder's own ends with a slash.

        What could not be opened by the rules is not named: links, files with a second name,
        other file systems, what is neither file nor folder.
        """
        with self._folder(relative) as descriptor, os.scandir(descriptor) as entries:
            names = [name for name in map(self._shown, _bounded(entries, relative)) if name]
        if len(names) > MAX_ENTRIES:
            raise _refusal(relative, "too_large", f"has more than {MAX_ENTRIES:,} entries")
        return sorted(names)

    def stat(self, relative: str = "") -> dict[str, str | int | float]:
        """Return kind ("file" or "folder"), size in bytes, and modified in seconds since 1970."""
        self._check(relative, root=True)
        with self._open(relative, system.HANDLE) as descriptor:
            found = os.fstat(descriptor)
        return _described(relative, found)

    def stat_at_once(self, relative: str = "") -> dict[str, str | int | float]:
        """Do what `stat` does."""
        self._check(relative, root=True)
        descriptor = self._opened_at_once(relative, system.HANDLE)
        try:
            found = os.fstat(descriptor)
        finally:
            os.close(descriptor)
        return _described(relative, found)

    def remove(self, relative: str) -> None:
        """Remove a file; what is none is left."""
        self._check(relative, writing=True)
        with self._parent(relative) as (parent, name), _told(relative):
            _check_file(relative, os.stat(name, dir_fd=parent, follow_symlinks=False))
            os.unlink(name, dir_fd=parent)

    # ------------------------------------------------------------ for the other operations

    @contextlib.contextmanager
    def opened(self, relative: str) -> Iterator[int]:
        """Hold the descriptor of a regular file with one name, open for reading."""
        self._check(relative)
        with self._open(relative, os.O_RDONLY) as descriptor:
            _check_file(relative, os.fstat(descriptor))
            yield descriptor

    def write_bytes(
        self,
        relative: str,
        data: bytes,
        *,
        overwrite: bool,
        limit: int = MAX_FILE_BYTES,
        charge: int | None = None,
    ) -> int:
        """Do what `write_text` does, with bytes; `charge` is spent if it is not their number."""
        charge = len(data) if charge is None else charge
        self._check(relative, writing=True)
        if runs_by_itself(relative):
            raise _refusal(relative, "bad_path", "has a name that systems obey unasked")
        if len(data) > limit:
            raise _refusal(relative, "too_large", f"would be larger than {limit:,} bytes")
        taken = self._quota.reserve(charge)
        try:
            with self._parent(relative, make=True) as (parent, name), _told(relative):
                _put(parent, name, data, overwrite=overwrite, relative=relative)
        except BaseException:
            taken.settle(0)
            raise
        return len(data)

    def exists(self, relative: str) -> bool:
        """Say whether anything at all has that name; it need not be a file."""
        self._check(relative)
        try:
            with self._parent(relative) as (parent, name), _told(relative):
                os.stat(name, dir_fd=parent, follow_symlinks=False)
        except OperationRefused as refused:
            if refused.code == "not_found":  # its folder, too, may be yet to be made
                return False
            raise
        return True

    # ------------------------------------------------------------ private

    def _check(self, relative: str, *, writing: bool = False, root: bool = False) -> None:
        if root and not relative:
            return
        problem = problem_with(relative)
        if problem is not None:
            raise _refusal(relative, "bad_path", problem)
        if relative.startswith(".") or "/." in relative:
            raise _refusal(relative, "hidden", "has a part that begins with a dot")
        if writing and not self.writable:
            raise _refusal(relative, "read_only", "lies in a folder that was granted for reading")

    @contextlib.contextmanager
    def _root(self) -> Iterator[int]:
        """Hold a descriptor of one's own: `close` in another thread must not give ours away."""
        with self._lock:
            if self._descriptor < 0:
                raise OperationRefused("the folder is not granted any more", code="closed")
            with _told(""):
                descriptor = os.dup(self._descriptor)
        try:
            yield descriptor
        finally:
            os.close(descriptor)

    @contextlib.contextmanager
    def _open(self, relative: str, flags: int) -> Iterator[int]:
        with self._root() as root:
            with _told(relative):
                descriptor = self._opener(root, relative, flags)
            try:
                with _told(relative):
                    yield descriptor
            finally:
                os.close(descriptor)

    def _opened_at_once(self, relative: str, flags: int) -> int:
        with self._lock:
            if not self._is_local or self._descriptor < 0:
                raise BlockingIOError
            return open_cached(self._descriptor, relative, flags)

    def _folder(self, relative: str) -> contextlib.AbstractContextManager[int]:
        self._check(relative, root=True)
        return self._open(relative, os.O_RDONLY | system.O_DIRECTORY)

    @contextlib.contextmanager
    def _parent(self, relative: str, *, make: bool = False) -> Iterator[tuple[int, str]]:
        """Hold the descriptor of a path's folder, made if need be; the name comes with it."""
        folder, _, name = relative.rpartition("/")
        if make:
            self._make_folders(folder)
        with self._open(folder, os.O_RDONLY | system.O_DIRECTORY) as descriptor:
            yield descriptor, name

    def _make_folders(self, folder: str) -> None:
        above = ""
        for part in filter(None, folder.split("/")):
            with (
                self._open(above, os.O_RDONLY | system.O_DIRECTORY) as parent,
                contextlib.suppress(FileExistsError),
            ):
                os.mkdir(part, dir_fd=parent)
            above = f"{above}/{part}" if above else part

    def _shown(self, entry: os.DirEntry[str]) -> str | None:
        if entry.name.startswith(".") or problem_with(entry.name) is not None:
            return None
        try:
            found = entry.stat(follow_symlinks=False)
        except FileNotFoundError:  # it has gone meanwhile
            return None
        if stat.S_ISDIR(found.st_mode):
            return f"{entry.name}/" if found.st_dev == self.identity[0] else None
        return entry.name if stat.S_ISREG(found.st_mode) and found.st_nlink == 1 else None


def _check_of_the_user(descriptor: int, path: Path, writable: bool) -> None:
    """Refuse a folder that is the system's or lmboot's own, or of which nobody can tell that."""
    real = lies_at(descriptor, path)
    if real is None:
        raise UsageFault(f"{path} has just been moved", hint="Try again.")
    if f"{real}/".startswith(tuple(f"{folder}/" for folder in _SYSTEM)):
        raise UsageFault(f"{path} belongs to the system", hint="Name a folder of yours.")
    places = [*own.things(), *(own.program() if writable else [])]
    if (place := own.reached_from(Path(real), places)) is not None:
        raise UsageFault(
            f"{path} can't be granted: lmboot's own files are there, in {place}",
            hint="Name a folder without them.",
        )


def _refusal(relative: str, code: str, why: str) -> OperationRefused:
    return OperationRefused(f"{brief(relative, 100) or 'the folder'!r} {why}", code=code)


@contextlib.contextmanager
def _told(relative: str) -> Iterator[None]:
    """Turn the system's answers into ours, which name nothing but what the guest named."""
    try:
        yield
    except OSError as error:
        code, why = _CODES.get(
            error.errno or 0, ("failed", f"can't be used: {os.strerror(error.errno or 0)}")
        )
        raise _refusal(relative, code, why) from None


def _check_file(relative: str, found: os.stat_result) -> None:
    if stat.S_ISLNK(found.st_mode):
        raise _refusal(relative, "link", "is a link")
    if not stat.S_ISREG(found.st_mode):
        raise _refusal(relative, "not_a_file", "is no regular file")
    if found.st_nlink != 1:
        raise _refusal(relative, "link", "has another name, which may lie outside the folder")


def _described(relative: str, found: os.stat_result) -> dict[str, str | int | float]:
    is_folder = stat.S_ISDIR(found.st_mode)
    if not is_folder:
        _check_file(relative, found)
    kind = "folder" if is_folder else "file"
    return {"kind": kind, "size": found.st_size, "modified": found.st_mtime}


def _bounded(entries: Iterator[os.DirEntry[str]], relative: str) -> Iterator[os.DirEntry[str]]:
    for seen, entry in enumerate(entries):
        if seen >= MAX_SEEN_ENTRIES:
            raise _refusal(relative, "too_large", f"has more than {MAX_SEEN_ENTRIES:,} entries")
        yield entry


def _read(descriptor: int, offset: int, length: int) -> bytes:
    data = bytearray()
    while len(data) < length:
        piece = system.pread(descriptor, length - len(data), offset + len(data))
        if not piece:
            break
        data += piece
    return bytes(data)


def _part(relative: str, data: bytes, offset: int, size: int, *, whole: bool) -> Part:
    """Return the text of these bytes; a character that is cut at their end waits."""
    try:
        text, used = data.decode(), len(data)
    except UnicodeDecodeError as error:
        cut = error.reason == "unexpected end of data" and error.start >= len(data) - 3
        if whole or not cut or not error.start:
            raise _refusal(relative, "not_text", "is no UTF-8 text here") from None
        text, used = data[: error.start].decode(), error.start
    return Part(text, offset + used, size)


def _put(parent: int, name: str, data: bytes, *, overwrite: bool, relative: str) -> None:
    mode = _mode_to_keep(parent, name, overwrite=overwrite, relative=relative)
    put_whole(parent, name, data, mode=mode, overwrite=overwrite)


def _mode_to_keep(parent: int, name: str, *, overwrite: bool, relative: str) -> int | None:
    """Return the mode of the file that will be replaced; refuse where it must not be."""
    try:
        found = os.stat(name, dir_fd=parent, follow_symlinks=False)
    except FileNotFoundError:
        return None
    if not overwrite:
        raise _refusal(relative, "exists", "exists already")
    _check_file(relative, found)
    return found.st_mode & 0o666
