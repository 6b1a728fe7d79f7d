"""The audit folder: the key, how far each log had come, and which logs are kept.

Key and heads stand in the system's keyring where there is one. The head stands beside the log as
well, since the keyring is too slow to be told of every record and may be locked tomorrow.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import secrets
import stat
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from lmboot import system
from lmboot.errors import AuditFault, FileUnreadable
from lmboot.keychain import Keychain, SystemKeychain
from lmboot.runtime.chain import BEGINNING, Head, Verdict, key_id, verify

if sys.platform != "win32":
    import fcntl

KEPT = 100  # logs that are kept,
KEPT_BYTES = 256 << 20  # as long as they take no more than that together
RESERVE_BYTES = 64 << 10
_KEY = "audit-key"
_KEY_BYTES = 32
# Windows has no links that anybody may make, but would write each newline as two bytes.
_AS_IT_IS = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)


@dataclass(frozen=True, slots=True)
class Vault:
    """The audit logs of one user, in a folder that nobody else may look into."""

    folder: Path
    keychain: Keychain = field(default_factory=SystemKeychain)

    # ---- for whoever writes a log

    def prepare(self) -> None:
        """Make the folder, private; what is too old or too much is removed."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            _make_private(self.folder)
        except OSError as error:
            raise _unusable(self.folder, error.strerror) from error
        self._prune()

    def key(self) -> bytes:
        """Return the key, made on the first use. Blocks while the keyring is asked."""
        try:
            with _alone(self.folder / "lock"):
                return self._kept_key() or self._new_key()
        except OSError as error:
            raise _unusable(self.folder / "key", error.strerror) from error

    def create(self, name: str) -> int:
        """Return the descriptor of a new log, to which can only be appended."""
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL | _AS_IT_IS
        try:
            return os.open(self.folder / name, flags, 0o600)
        except OSError as error:
            raise _unusable(self.folder / name, error.strerror) from error

    def remove(self, name: str) -> None:
        """Remove a log and all that is kept of it; may raise OSError."""
        (self.folder / name).unlink(missing_ok=True)
        self._head_file(name).unlink(missing_ok=True)
        self._reserve(name).unlink(missing_ok=True)
        self.keychain.forget(_head_name(name))

    def keep_head(self, head: Head) -> None:
        """Keep beside the log how far it has come, whole or not at all; may raise OSError."""
        new = self.folder / f".{head.log}.new"
        try:
            _write_private(new, head.text().encode(), os.O_TRUNC)
            new.replace(self._head_file(head.log))
        except OSError:
            new.unlink(missing_ok=True)
            raise

    def reserve(self, name: str) -> None:
        """Take some room on the disk that the end of a log may need; may raise OSError."""
        _write_private(self._reserve(name), bytes(RESERVE_BYTES), os.O_TRUNC)

    def release(self, name: str) -> bool:
        """Give that room back; say whether there was any."""
        try:
            self._reserve(name).unlink()
        except OSError:
            return False
        return True

    def keep_head_apart(self, head: Head) -> None:
        """Keep it in the keyring, where there is one; this may take long."""
        self.keychain.keep(_head_name(head.log), head.text())

    # ---- for whoever reads one

    def find(self, wanted: str) -> Path:
        """Return the log that is meant: `last`, the beginning of a run or of a name, or a file."""
        logs = self.logs()
        begun = [log for log in logs if wanted and _is_meant(log.name, wanted)]
        exact = [log for log in begun if _run_of(log.name) == wanted]
        found = logs[-1:] if wanted == "last" else exact or begun
        if len(found) == 1:
            return found[0]
        if (
            not found and wanted != "last" and os.path.exists(wanted)
        ):  # unlike Path's: any text will do
            return Path(wanted)
        raise _not_found(wanted, found)

    def logs(self) -> list[Path]:
        """Return every log that is there or, by its head, was there, the oldest first."""
        if not self.folder.is_dir():
            return []
        lost = (head.with_suffix("") for head in self.folder.glob("*.jsonl.head"))
        return sorted({*self.folder.glob("*.jsonl"), *lost})

    def verify(self, log: Path) -> Verdict:
        """Judge a log with the key and the head that are kept here."""
        ours = log.parent.resolve() == self.folder.resolve()
        heads = self._heads(log)  # before the log, which may still grow
        data = b"" if ours and not log.exists() else read_log(log)
        keys = self._readable_keys()
        if not keys:
            raise FileUnreadable(
                f"there is no key to verify {log} with",
                hint="A log can be verified where it was written, by the user who ran lmboot.",
            )
        named = (key for key in keys if key_id(key).encode() in data[:4096])
        signed = (key for key in keys if any(head.is_genuine(key) for head in heads))
        key = next(itertools.chain(named, signed), keys[0])
        return verify(data, key, _furthest(heads, key), name=log.name if ours else None)

    # ---- inside

    def _kept_key(self) -> bytes | None:
        return next(self._keys(), None)

    def _keys(self) -> Iterator[bytes]:
        """Yield the keys that are kept: the keyring's, the file's."""
        with contextlib.suppress(ValueError):
            key = bytes.fromhex(self.keychain.recall(_KEY) or "")
            if len(key) == _KEY_BYTES:
                yield key
        with contextlib.suppress(FileNotFoundError):
            yield _read_key(self.folder / "key")

    def _new_key(self) -> bytes:
        key = secrets.token_bytes(_KEY_BYTES)
        if not self.keychain.keep(_KEY, key.hex()):
            self._write_key(key)
        return key

    def _write_key(self, key: bytes) -> None:
        file = self.folder / "key"
        try:
            # An empty key after a loss of power would have every later run denied.
            _write_private(file, key, os.O_EXCL, synced=True)
        except FileExistsError:
            raise
        except OSError:
            file.unlink(missing_ok=True)
            raise

    def _readable_keys(self) -> list[bytes]:
        try:
            return list(self._keys())
        except (AuditFault, OSError) as error:
            raise FileUnreadable(
                f"the key can't be read: {error}", hint="Mend its permissions: 0600, and yours."
            ) from error

    def _heads(self, log: Path) -> list[Head]:
        """Return whatever is kept of how far a log had come, believed or not."""
        texts = [self.keychain.recall(_head_name(log.name))]
        for file in (self._head_file(log.name), Path(f"{log}.head")):
            with contextlib.suppress(OSError, UnicodeDecodeError):
                texts.append(file.read_text("utf-8"))
        return [head for head in (Head.read(text) for text in texts if text) if head]

    def _head_file(self, log: str) -> Path:
        return self.folder / f"{log}.head"

    def _reserve(self, log: str) -> Path:
        return self.folder / f".{log}.reserve"

    def _prune(self) -> None:
        taken = 0
        for number, log in enumerate(reversed(self.logs()), 1):
            with contextlib.suppress(OSError):  # another lmboot may remove the same ones
                taken += log.stat().st_size if log.exists() else 0
                if (number >= KEPT or taken > KEPT_BYTES) and not _is_being_written(log.name):
                    self.remove(log.name)


def _furthest(heads: list[Head], key: bytes) -> Head | None:
    """Return the furthest head that is genuine, else any, else None."""
    genuine = [head for head in heads if head.is_genuine(key)]
    return max(genuine, key=lambda head: head.count, default=heads[0] if heads else None)


def first_head(log: str, run: str, key: bytes) -> Head:
    """Return the head of a log that has nothing in it yet."""
    return Head(log, run, -1, BEGINNING, 0).signed(key)


def read_log(log: Path) -> bytes:
    """Return a log's bytes; a file that can't be one by its size is refused."""
    try:
        with log.open("rb") as file:
            data = file.read(KEPT_BYTES + 1)
    except OSError as error:
        raise FileUnreadable(
            f"{log} can't be read: {error.strerror}", hint="Check the name and the permissions."
        ) from error
    if len(data) > KEPT_BYTES:
        raise FileUnreadable(f"{log} is too large for an audit log", hint="Check the name.")
    return data


def _head_name(log: str) -> str:
    return f"audit-head {log}"


def _is_meant(name: str, wanted: str) -> bool:
    """Say whether a log of the name <time>-<pid>-<run>.jsonl is meant."""
    return name.startswith(wanted) or _run_of(name).startswith(wanted)


def _run_of(name: str) -> str:
    return name.removesuffix(".jsonl").split("-", 3)[-1]


def _is_being_written(name: str) -> bool:
    """Say whether the process in a log's name lives; where that can't be asked, the system minds.

    Windows does not let an open file be removed, and there `kill` would end the process.
    """
    pid = name.split("-")[2:3]
    return sys.platform != "win32" and bool(pid) and pid[0].isdecimal() and _lives(int(pid[0]))


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True


@contextlib.contextmanager
def _alone(lock: Path) -> Iterator[None]:
    """Let no other lmboot make a key meanwhile: two would, and one log could not be verified."""
    descriptor = os.open(lock, os.O_WRONLY | os.O_CREAT | _AS_IT_IS, 0o600)
    try:
        if sys.platform != "win32":
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _read_key(file: Path) -> bytes:
    """Return the key in a file that only its owner, who is the user, can read."""
    descriptor = os.open(file, os.O_RDONLY | _AS_IT_IS)
    try:
        _must_be_private(file, os.fstat(descriptor))
        key = os.read(descriptor, _KEY_BYTES + 1)
    finally:
        os.close(descriptor)
    if len(key) != _KEY_BYTES:
        raise _unusable(file, "it is no key")
    return key


def _write_private(file: Path, data: bytes, how: int, *, synced: bool = False) -> None:
    """Write a file of ours whole, or raise OSError; half of it may be left then."""
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | how | _AS_IT_IS, 0o600)
    try:
        if os.write(descriptor, data) != len(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        if synced:
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _make_private(folder: Path) -> None:
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode):
        raise NotADirectoryError(20, "it is no folder")
    if sys.platform != "win32":
        folder.chmod(0o700)
        _must_be_private(folder, folder.lstat())


def _must_be_private(path: Path, found: os.stat_result) -> None:
    if sys.platform != "win32":  # a user's folders there are his by inheritance
        if found.st_uid != system.user():
            raise _unusable(path, "it belongs to somebody else")
        if found.st_mode & 0o077:
            raise _unusable(path, "others may read it")


def _unusable(path: Path, reason: str | None) -> AuditFault:
    return AuditFault(f"the audit log can't be kept, because of {path}: {reason}")


def _not_found(wanted: str, found: list[Path]) -> FileUnreadable:
    names = ", ".join(log.name for log in found[:5])
    what = f"{wanted!r} could be {names}" if found else f"there is no audit log {wanted!r}"
    return FileUnreadable(what, hint="Give the beginning of a run, a file, or `last`.")
