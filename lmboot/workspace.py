"""Folders that a payload's files live in, and the way out of one; confined to open descriptors.

Everything here holds for a folder in which a stranger is at work: no link is followed, no name
believed, no amount unbounded. Nothing is ever resolved by path beneath such a folder.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import secrets
import stat
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from threading import Thread

from platformdirs import user_cache_path

from lmboot import system
from lmboot.errors import SandboxFault, UsageFault
from lmboot.paths import collision_key, problem_with
from lmboot.removal import FOLDER, entries_of, make_usable, remove_tree

MAX_COPIED_FILES = 10_000
MAX_COPIED_BYTES = 1 << 30
MAX_SEEN_ENTRIES = 200_000
CHUNK = 1 << 20
MAX_REAPED = 64  # dead runs in one go: each is a descriptor until it is gone
PASSABLE = Path("/run/lmboot/workspaces")  # root's, for runs as somebody else

_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | system.O_NOFOLLOW | system.O_CLOEXEC
# NONBLOCK: a FIFO that nobody writes to must not hold us.
_FILE = os.O_RDONLY | system.O_NOFOLLOW | system.O_NONBLOCK | system.O_CLOEXEC | system.O_NOCTTY


# ---------------------------------------------------------------- a folder of our own


class Workspace:
    """A fresh private folder for one run, removed with it; `app` and `tmp` are in it.

    It is the run's own user's, where that is another one than lmboot's.
    """

    def __init__(self, base: Path, name: str, lock: int, owner: int | None) -> None:
        self._base = base
        self._name = name
        self._lock = lock
        self._owner = owner
        self.path = base / name
        self.app = self.path / "app"
        self.tmp = self.path / "tmp"

    @classmethod
    def create(cls, base: Path | None = None, *, owner: int | None = None) -> Workspace:
        """Make one in the user's private folder; what dead runs left there is removed meanwhile.

        With an `owner` (lmboot is root then) it is where he can go, and his.
        """
        if owner is None:
            base = private_folder(base or user_cache_path("lmboot") / "workspaces")
        else:
            base = _passable_folder(base or PASSABLE)
        with _locked(base / "lock"):
            _reap(base)
            name = f"run-{secrets.token_hex(8)}"
            lock = os.open(base / f"{name}.lock", _NEW, 0o600)
            system.lock(lock, wait=True)
            workspace = cls(base, name, lock, owner)
            for folder in (workspace.path, workspace.app, workspace.tmp):
                folder.mkdir(mode=0o700)
                workspace._give(folder)
        return workspace

    def place(self, files: Mapping[str, bytes]) -> None:
        """Write files beneath it that are none of the run's own; before the run begins."""
        for name, content in files.items():
            path = self.path / name
            for folder in reversed(path.relative_to(self.path).parents[:-1]):
                (self.path / folder).mkdir(mode=0o700, exist_ok=True)
                self._give(self.path / folder)
            path.write_bytes(content)
            self._give(path)

    def write(self, files: Iterable[tuple[str, bytes]]) -> None:
        """Write the run's own files, whose paths were checked."""
        folder = os.open(self.app, FOLDER)
        try:
            write_files(folder, files)
        finally:
            os.close(folder)

    def copy_out(self, known: Mapping[str, bytes], target: Path) -> CopyReport:
        """Copy what the run has written to a new or empty folder."""
        folder = os.open(self.app, FOLDER)
        try:
            return copy_out(folder, known, target)
        finally:
            os.close(folder)

    def _give(self, path: Path) -> None:
        if self._owner is not None:
            system.chown(path, self._owner)

    def remove(self) -> bool:
        """Remove it with all that is in it; say whether nothing is left. Idempotent.

        What can't be removed now is removed at a later start.
        """
        if self._lock < 0:
            return not self.path.exists()
        gone = _discard(self._base, self._name)
        os.close(self._lock)
        self._lock = -1
        return gone


def private_folder(path: Path) -> Path:
    """Return the folder, made if need be; raise SandboxFault unless it is the user's alone."""
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != system.user():
        raise SandboxFault(f"{path} is not a folder of yours", hint=f"Move {path} away.")
    if found.st_mode & 0o077:
        path.chmod(0o700)
    return path


def _passable_folder(path: Path) -> Path:
    """Return a folder of root's that others can go through, but not look into."""
    path.mkdir(mode=0o711, parents=True, exist_ok=True)
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != 0:
        raise SandboxFault(f"{path} is not a folder of root's", hint=f"Move {path} away.")
    for folder in (path, path.parent):
        folder.chmod(0o711)  # whatever the umask was
    return path


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    descriptor = os.open(
        path, os.O_RDWR | os.O_CREAT | system.O_NOFOLLOW | system.O_CLOEXEC, 0o600
    )
    try:
        system.lock(descriptor, wait=True)
        yield
    finally:
        os.close(descriptor)


def _reap(base: Path) -> None:
    """Have the folders of runs whose lmboot is dead removed: their locks can be taken.

    A run can leave so much that nobody should wait for it, neither a start nor lmboot's end: what
    is not gone by then is gone at a later start.
    """
    dead = list(itertools.islice(_dead(base), MAX_REAPED))
    if not dead:
        return
    try:
        Thread(target=_discard_all, args=(base, dead), name="reaper", daemon=True).start()
    except RuntimeError:  # no thread can be had
        for lock, _ in dead:
            os.close(lock)


def _dead(base: Path) -> Iterator[tuple[int, str]]:
    """Yield the locks of dead runs, taken, and their names."""
    for path in base.glob("run-*.lock"):
        with contextlib.suppress(OSError):
            descriptor = os.open(path, os.O_RDWR | system.O_NOFOLLOW | system.O_CLOEXEC)
            try:
                system.lock(descriptor, wait=False)
            except OSError:
                os.close(descriptor)
            else:
                yield descriptor, path.stem


def _discard_all(base: Path, runs: Iterable[tuple[int, str]]) -> None:
    for lock, name in runs:
        with contextlib.suppress(OSError):
            _discard(base, name)
        os.close(lock)


def _discard(base: Path, name: str) -> bool:
    """Remove a run's folder, then its lock file; the lock stays while something is left."""
    folder = os.open(base, FOLDER)
    try:
        if not remove_tree(folder, name):
            return False
        os.unlink(f"{name}.lock", dir_fd=folder)
    finally:
        os.close(folder)
    return True


def write_files(folder: int, files: Iterable[tuple[str, bytes]]) -> None:
    """Write new files, whose paths were checked, beneath an open folder: 0600, folders 0700."""
    for path, content in files:
        parent, name = _open_parent(folder, path)
        try:
            descriptor = os.open(name, _NEW, 0o600, dir_fd=parent)
            with open(descriptor, "wb") as file:
                file.write(content)
        finally:
            os.close(parent)


def _open_parent(folder: int, path: str) -> tuple[int, str]:
    """Open the folder of a path, made if need be, part by part; return it and the name."""
    *parts, name = path.split("/")
    current = os.dup(folder)
    try:
        for part in parts:
            with contextlib.suppress(FileExistsError):
                os.mkdir(part, 0o700, dir_fd=current)
            below = os.open(part, FOLDER, dir_fd=current)
            os.close(current)
            current = below
    except OSError:
        os.close(current)
        raise
    return current, name


# ---------------------------------------------------------------- the way out


@dataclass(frozen=True, slots=True)
class CopyReport:
    """What was copied out, and what was not.

    `refused` are (name, end of a sentence); `unlisted` counts what is beyond the bounds of the
    list; `problem` is a sentence when the copying itself broke off (a full disk).
    """

    copied: tuple[str, ...] = ()
    refused: tuple[tuple[str, str], ...] = ()
    unlisted: int = 0
    problem: str | None = None


def check_target(folder: Path) -> None:
    """Raise UsageFault unless files can be copied to that folder: it must be new or empty."""
    try:
        with os.scandir(folder) as entries:
            occupied = next(entries, None) is not None
    except FileNotFoundError:
        return
    except OSError as error:
        raise UsageFault(f"{folder}: {error.strerror}", hint="Name another folder.") from None
    if occupied:
        raise UsageFault(f"{folder} is not empty", hint="Name a new or an empty folder.")


def copy_out(source: int, known: Mapping[str, bytes], target: Path) -> CopyReport:
    """Copy what is new or changed beneath an open folder to a new or empty one.

    Regular files only; names by the rules of `lmboot.paths`; no link followed; no half file left.
    """
    check_target(target)
    progress = _Progress()
    try:
        target.mkdir(parents=True, exist_ok=True)
        into = os.open(target, FOLDER)
    except OSError as error:
        return CopyReport(problem=f"{target}: {error.strerror}")
    try:
        for path in _regular_files(source, progress):
            _copy_one(source, path, known, into, progress)
    except _TargetFailed as failure:
        progress.problem = f"{target}: {failure}"
    finally:
        os.close(into)
    return progress.report()


@dataclass
class _Progress:
    copied: list[str] = field(default_factory=list)
    refused: list[tuple[str, str]] = field(default_factory=list)
    keys: dict[str, str] = field(default_factory=dict)
    copied_bytes: int = 0
    seen: int = 0
    unlisted: int = 0
    problem: str | None = None

    def refuse(self, path: str, why: str) -> None:
        if len(self.refused) < MAX_COPIED_FILES:
            self.refused.append((os.fsencode(path).decode("utf-8", "backslashreplace"), why))
        else:
            self.unlisted += 1

    def report(self) -> CopyReport:
        return CopyReport(tuple(self.copied), tuple(self.refused), self.unlisted, self.problem)


class _TargetFailed(Exception):
    """The copy can't be written: nothing more will fit."""


def _regular_files(source: int, progress: _Progress) -> Iterator[str]:
    """Yield the paths of the regular files beneath a folder, by the rules; note all others."""
    waiting = [""]
    while waiting:
        folder = waiting.pop()
        try:
            descriptor = _open_beneath(source, folder)
        except OSError as error:
            progress.refuse(folder, f"can't be opened: {error.strerror}")
            continue
        try:
            for name in entries_of(descriptor):
                progress.seen += 1
                path = f"{folder}/{name}" if folder else name
                if progress.seen > MAX_SEEN_ENTRIES:
                    progress.unlisted += 1
                    continue
                mode = os.stat(name, dir_fd=descriptor, follow_symlinks=False).st_mode
                problem = _refusal(path, mode, progress)
                if problem is not None:
                    progress.refuse(path, problem)
                elif stat.S_ISDIR(mode):
                    waiting.append(path)
                else:
                    yield path
        finally:
            os.close(descriptor)


def _refusal(path: str, mode: int, progress: _Progress) -> str | None:
    """Return why an entry is not copied, as the end of a sentence."""
    problem = problem_with(path)
    if problem is not None:
        return problem
    if stat.S_ISDIR(mode):
        return None
    if not stat.S_ISREG(mode):
        return "is no regular file"
    other = progress.keys.setdefault(collision_key(path), path)
    return None if other == path else f"is the same file as {other!r} on some systems"


def _open_beneath(source: int, folder: str) -> int:
    """Open a folder beneath an open one, part by part, following no link."""
    current = os.dup(source)
    for part in filter(None, folder.split("/")):
        try:
            _make_readable(current, part)
            below = os.open(part, FOLDER, dir_fd=current)
        finally:
            os.close(current)
        current = below
    return current


def _make_readable(parent: int, name: str) -> None:
    """Undo a `chmod 000` where we may; where not, the opening tells."""
    with contextlib.suppress(OSError, NotImplementedError):
        make_usable(parent, name)


def _copy_one(
    source: int, path: str, known: Mapping[str, bytes], into: int, progress: _Progress
) -> None:
    folder, _, name = path.rpartition("/")
    try:
        parent = _open_beneath(source, folder)
        try:
            descriptor = _open_file(parent, name)
        finally:
            os.close(parent)
    except OSError as error:
        progress.refuse(path, f"can't be opened: {error.strerror}")
        return
    try:
        _copy_opened(descriptor, path, known, into, progress)
    finally:
        os.close(descriptor)


def _open_file(parent: int, name: str) -> int:
    """Open a file for reading, lifting a `chmod 000` of its owner, who is ourselves."""
    try:
        return os.open(name, _FILE, dir_fd=parent)
    except PermissionError:
        if not system.O_PATH:
            raise
        handle = os.open(name, system.O_PATH | system.O_NOFOLLOW | system.O_CLOEXEC, dir_fd=parent)
        try:
            if stat.S_ISREG(os.fstat(handle).st_mode):
                os.chmod(f"/proc/self/fd/{handle}", 0o600)
        finally:
            os.close(handle)
        return os.open(name, _FILE, dir_fd=parent)


def _copy_opened(
    descriptor: int, path: str, known: Mapping[str, bytes], into: int, progress: _Progress
) -> None:
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode):
        progress.refuse(path, "is no regular file")
    elif path in known and _holds(descriptor, found.st_size, known[path]):
        return  # as the payload had it
    elif len(progress.copied) >= MAX_COPIED_FILES:
        progress.refuse(path, f"is one of more than {MAX_COPIED_FILES:,} files")
    elif progress.copied_bytes + system.size_on_disk(found) > MAX_COPIED_BYTES:
        progress.refuse(path, f"does not fit into the {MAX_COPIED_BYTES >> 20} MB that are kept")
    else:
        progress.copied_bytes += _write_copy(descriptor, found.st_size, path, into)
        progress.copied.append(path)


def _holds(descriptor: int, size: int, content: bytes) -> bool:
    return size == len(content) and system.pread(descriptor, size + 1, 0) == content


def _write_copy(descriptor: int, size: int, path: str, into: int) -> int:
    """Copy a file under a passing name and give it its own when it is whole; holes stay holes."""
    passing = f".lmboot-{secrets.token_hex(8)}"
    try:
        parent, name = _open_parent(into, path)
    except OSError as error:
        raise _TargetFailed(error.strerror) from None
    try:
        copy = os.open(passing, _NEW, 0o666, dir_fd=parent)
        try:
            written = _copy_data(descriptor, copy, size)
        finally:
            os.close(copy)
        os.rename(passing, name, src_dir_fd=parent, dst_dir_fd=parent)
    except OSError as error:
        with contextlib.suppress(OSError):
            os.unlink(passing, dir_fd=parent)
        raise _TargetFailed(error.strerror) from None
    finally:
        os.close(parent)
    return written


def _copy_data(source: int, copy: int, size: int) -> int:
    """Copy the parts of a file that are not holes; return how many bytes they are."""
    os.ftruncate(copy, size)
    written = at = 0
    while at < size:
        start = _seek(source, at, "SEEK_DATA", at)
        if start is None:
            break
        end = _seek(source, start, "SEEK_HOLE", size) or size
        at = start
        while at < min(end, size):
            data = system.pread(source, min(CHUNK, end - at), at)
            if not data:
                return written
            count = system.pwrite(copy, data, at)
            at += count
            written += count
    return written


def _seek(descriptor: int, at: int, kind: str, otherwise: int) -> int | None:
    """Return where data or a hole begins; None when no data follows."""
    if not hasattr(os, kind):
        return otherwise
    try:
        return os.lseek(descriptor, at, getattr(os, kind))
    except OSError as error:
        if error.errno == errno.ENXIO:
            return None
        return otherwise
