"""Windows' twin of `workspace.Workspace`: folders can't be held open there, so paths have to do.

Nothing is done in the folder while a stranger is at work in it: files are written before the run
begins, and copied out or removed when the last of its processes is gone. What leads elsewhere, a
junction or a link, is neither followed nor copied. Never run on Windows by those who wrote it.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import stat
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from platformdirs import user_cache_path

from lmboot import system
from lmboot.errors import SandboxFault
from lmboot.paths import collision_key, problem_with
from lmboot.workspace import (
    CHUNK,
    MAX_COPIED_BYTES,
    MAX_COPIED_FILES,
    MAX_SEEN_ENTRIES,
    CopyReport,
    check_target,
    private_folder,
)


class Workspace:
    """A fresh folder for one run, removed with it; `app` and `tmp` are in it.

    It lies in the user's own cache: that nobody else may enter it is what the profile of a user
    is for on Windows.
    """

    def __init__(self, base: Path, name: str, lock: int) -> None:
        """Take over what `create` has made."""
        self._base, self._name, self._lock = base, name, lock
        self.path = base / name
        self.app, self.tmp = self.path / "app", self.path / "tmp"

    @classmethod
    def create(cls, base: Path | None = None, *, owner: int | None = None) -> Workspace:
        """Make one, after removing what dead runs left there."""
        if owner is not None:
            raise SandboxFault("Windows has no users to run as", hint="Use --sandbox auto.")
        base = private_folder(base or user_cache_path("lmboot") / "workspaces")
        _reap(base)
        name = f"run-{secrets.token_hex(8)}"
        lock = os.open(base / f"{name}.lock", os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        system.lock(lock, wait=True)
        workspace = cls(base, name, lock)
        for folder in (workspace.path, workspace.app, workspace.tmp):
            folder.mkdir()
        return workspace

    def place(self, files: Mapping[str, bytes]) -> None:
        """Write files beneath it that are none of the run's own; before the run begins."""
        _write(self.path, files.items())

    def write(self, files: Iterable[tuple[str, bytes]]) -> None:
        """Write the run's own files, whose paths were checked."""
        _write(self.app, files)

    def copy_out(self, known: Mapping[str, bytes], target: Path) -> CopyReport:
        """Copy what the run has written to a new or empty folder."""
        return copy_out(self.app, known, target)

    def remove(self) -> bool:
        """Remove it with all that is in it; say whether nothing is left. Idempotent."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1
            _discard(self._base, self._name)
        return not self.path.exists()


def copy_out(source: Path, known: Mapping[str, bytes], target: Path) -> CopyReport:
    """Copy what is new or changed beneath a folder to a new or empty one.

    Regular files only; names by the rules of `lmboot.paths`; nothing followed; no half file left.
    """
    check_target(target)
    copied: list[str] = []
    refused: list[tuple[str, str]] = []
    keys: dict[str, str] = {}
    room = MAX_COPIED_BYTES
    for count, path in enumerate(_files(source, refused)):
        other = keys.setdefault(collision_key(path), path)
        if count >= MAX_COPIED_FILES:
            return CopyReport(tuple(copied), tuple(refused), unlisted=1)
        if other != path:
            refused.append((path, f"is the same file as {other!r} on some systems"))
            continue
        try:
            found = (source / path).lstat()
            if found.st_size > room or found.st_nlink > 1:
                refused.append((path, "is too large, or has another name"))
            elif not _is_known(source / path, known.get(path), found.st_size):
                room -= found.st_size
                _copy(source / path, target / path)
                copied.append(path)
        except OSError as error:
            return CopyReport(tuple(copied), tuple(refused), problem=f"{path}: {error.strerror}")
    return CopyReport(tuple(copied), tuple(refused))


def _files(source: Path, refused: list[tuple[str, str]]) -> Iterator[str]:
    """Yield the paths of regular files, with / between parts; note all others."""
    waiting, seen = [""], 0
    while waiting:
        folder = waiting.pop()
        with os.scandir(source / folder) as entries:
            for entry in entries:
                seen += 1
                path = f"{folder}/{entry.name}" if folder else entry.name
                found = entry.stat(follow_symlinks=False)
                problem = problem_with(path) or _problem_of(found)
                if seen > MAX_SEEN_ENTRIES:
                    return
                if problem is not None:
                    refused.append((path, problem))
                elif stat.S_ISDIR(found.st_mode):
                    waiting.append(path)
                else:
                    yield path


def _problem_of(found: os.stat_result) -> str | None:
    if system.leads_elsewhere(found):
        return "leads elsewhere"
    if not (stat.S_ISREG(found.st_mode) or stat.S_ISDIR(found.st_mode)):
        return "is no regular file"
    return None


def _is_known(path: Path, content: bytes | None, size: int) -> bool:
    return content is not None and len(content) == size and path.read_bytes() == content


def _copy(source: Path, target: Path) -> None:
    """Copy a file under a passing name, and give it its own when it is whole."""
    target.parent.mkdir(parents=True, exist_ok=True)
    passing = target.with_name(f".lmboot-{secrets.token_hex(8)}")
    try:
        with source.open("rb") as reading, passing.open("xb") as writing:
            shutil.copyfileobj(reading, writing, CHUNK)
        passing.rename(target)
    except OSError:
        with contextlib.suppress(OSError):
            passing.unlink()
        raise


def _write(folder: Path, files: Iterable[tuple[str, bytes]]) -> None:
    for name, content in files:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("xb") as file:
            file.write(content)


def _reap(base: Path) -> None:
    """Remove the folders of runs whose lmboot is dead: their locks can be taken."""
    for path in base.glob("run-*.lock"):
        with contextlib.suppress(OSError):
            descriptor = os.open(path, os.O_RDWR)
            try:
                system.lock(descriptor, wait=False)
            finally:
                os.close(descriptor)
            _discard(base, path.stem)


def _discard(base: Path, name: str) -> None:
    """Remove a run's folder, then its lock file; the lock stays while something is left."""
    _remove_tree(base / name)
    if not (base / name).exists():
        with contextlib.suppress(OSError):
            (base / f"{name}.lock").unlink()


def _remove_tree(folder: Path) -> None:
    """Remove a folder; what leads elsewhere is removed itself, not what it leads to."""
    with contextlib.suppress(OSError, RecursionError):  # what is left is tried again later
        with os.scandir(folder) as entries:
            for entry in entries:
                with contextlib.suppress(OSError):
                    _remove(entry)
        folder.rmdir()


def _remove(entry: os.DirEntry[str]) -> None:
    found = entry.stat(follow_symlinks=False)
    if stat.S_ISDIR(found.st_mode) and not system.leads_elsewhere(found):
        _remove_tree(Path(entry.path))
    elif stat.S_ISDIR(found.st_mode):
        os.rmdir(entry.path)  # a junction
    else:
        if not entry.is_symlink():  # elsewhere than on Windows that would change its target
            os.chmod(entry.path, stat.S_IWRITE)  # what is read-only can't be removed there
        os.unlink(entry.path)
