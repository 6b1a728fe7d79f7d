"""The audit folder: the key, how far each log had come, and which logs are kept.

Key and heads stand in the system's keyring where there is one. The head stands beside the log as
well, since the keyring is too slow to be told of every record and may be locked tomorrow.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import secrets
import sys
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from lmboot import system
from lmboot.errors import AuditFault, FileUnreadable
from lmboot.keychain import Keychain, SystemKeychain
from lmboot.runtime.chain import (
    BEGINNING,
    Head,
    Problem,
    Verdict,
    code_of,
    first_record,
    key_id,
    verify,
)
from lmboot.runtime.private import (
    AS_IT_IS,
    alone,
    make_private,
    must_be_private,
    unusable,
    write_private,
)
from lmboot.runtime.row import Before, Begun, Gap, Row, judge, with_orphan

KEPT = 100  # logs that are kept,
KEPT_BYTES = 1 << 30  # as long as they take no more than that together,
RECENT = 16  # but so many of the newest ones whatever they take
MOST_BYTES = KEPT_BYTES // RECENT  # of one; a guest that asks without end is denied from there on
RESERVE_BYTES = 64 << 10
_READ_BYTES = 256 << 20  # of one that is judged: earlier versions wrote so much
_FIRST_LINE = 64 << 10  # bytes of a log in which its first record ends
_NAME = re.compile(r"[\w-]{1,200}\.jsonl", re.ASCII)
_KEY = "audit-key"
_KEY_BYTES = 32


@dataclass(frozen=True, slots=True)
class Vault:
    """The audit logs of one user, in a folder that nobody else may look into."""

    folder: Path
    keychain: Keychain = field(default_factory=SystemKeychain)

    # ---- for whoever writes a log

    def prepare(self) -> None:
        """Make the folder, private."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            make_private(self.folder)
        except OSError as error:
            raise unusable(self.folder, error.strerror) from error

    def key(self) -> bytes:
        """Return the key, made on the first use. Blocks while the keyring is asked."""
        try:
            with alone(self.folder / "lock"):
                return self._kept_key() or self._new_key()
        except OSError as error:
            raise unusable(self.folder / "key", error.strerror) from error

    def create(self, name: str) -> int:
        """Return the descriptor of a new log, to which can only be appended."""
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL | AS_IT_IS
        try:
            return os.open(self.folder / name, flags, 0o600)
        except OSError as error:
            raise unusable(self.folder / name, error.strerror) from error

    def remove(self, name: str) -> None:
        """Remove a log and all that is kept of it; may raise OSError."""
        (self.folder / name).unlink(missing_ok=True)
        self._head_file(name).unlink(missing_ok=True)
        self._reserve(name).unlink(missing_ok=True)
        self.keychain.forget(_head_name(name))

    def keep_head(self, head: Head) -> None:
        """Keep beside the log how far it has come, whole or not at all; may raise OSError."""
        self._keep(self._head_file(head.log), head.text())

    def _keep(self, file: Path, text: str, *, synced: bool = False) -> None:
        new = file.with_name(f".{file.name}.new")
        try:
            write_private(new, text.encode(), os.O_TRUNC, synced=synced)
            new.replace(file)
        except OSError:
            new.unlink(missing_ok=True)
            raise

    def reserve(self, name: str) -> None:
        """Take some room on the disk that the end of a log may need; may raise OSError."""
        write_private(self._reserve(name), bytes(RESERVE_BYTES), os.O_TRUNC)

    def release(self, name: str) -> bool:
        """Give that room back; say whether there was any."""
        try:
            self._reserve(name).unlink()
        except OSError:
            return False
        return True

    def enlist(self, key: bytes, log: str, begin: Callable[[Begun], object]) -> Row:
        """Put a new log into the row of all; `begin` writes its first record. May raise OSError.

        What is too old or too much is removed, and leaves the row.
        """
        with alone(self.folder / "lock"):
            row = self._row_to_go_on(key, log)
            begin(Begun(log, row.last + 1, self._before(row, key)))
            gone = self._too_many(log, self._foreign(row.key))
            row = row.with_next(log, {each.name for each in gone}).signed(key)
            self._keep(self._row_file(row.key), row.text(), synced=True)
        for each in gone:
            with contextlib.suppress(OSError):  # it is not in the row any more
                self.remove(each.name)
        return row

    def keep_row_apart(self, row: Row) -> None:
        """Keep in the keyring, where there is one, how far the row has come; may take long."""
        self.keychain.keep(_row_name(row.key), f"{row.last} {row.sign}")

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
        """Return every log that is there or, by head or row, was there, the oldest first."""
        if not self.folder.is_dir():
            return []
        lost = (head.with_suffix("") for head in self.folder.glob("*.jsonl.head"))
        listed = (self.folder / entry.log for row in self._rows() for entry in row.logs)
        named = (log for log in listed if _NAME.fullmatch(log.name) and log.parent == self.folder)
        return sorted({*self.folder.glob("*.jsonl"), *lost, *named})

    def gaps(self) -> list[Gap]:
        """Return what is wrong with the row of all logs: which are gone, which were put back.

        Reads every log; raises FileUnreadable where there is no key.
        """
        keys = self._readable_keys()
        if not keys and self.logs():
            raise _no_key(self.folder)
        with contextlib.ExitStack() as alone_here:
            with contextlib.suppress(OSError):  # or not alone: another lmboot may begin a log now
                alone_here.enter_context(alone(self.folder / "lock"))
            gaps = [gap for key in keys for gap in self._gaps(key)]
        return [*gaps, *(gap for key in keys for gap in self._rewound(key))]

    def unlinked(self) -> list[str]:
        """Return the names of logs that say nothing of others: lmboot had no row then."""
        there = (log for log in self.logs() if log.exists())
        return [log.name for log in there if b'"number":' not in _first_line(log)]

    def verify(self, log: Path) -> Verdict:
        """Judge a log with the key and the head that are kept here."""
        ours = log.parent.resolve() == self.folder.resolve()
        heads = self._heads(log)  # before the log, which may still grow
        data = b"" if ours and not log.exists() else read_log(log)
        if ours and not log.exists() and not heads:
            why = "the log is gone, and what was kept of its end"
            return Verdict(Problem(0, "removed", why), 0)
        keys = self._readable_keys()
        if not keys:
            raise _no_key(log)
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
            write_private(file, key, os.O_EXCL, synced=True)
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

    def _too_many(self, new: str, spared: Collection[str]) -> list[Path]:
        """Return the logs to remove beside a new one: those that are too old, or too much."""
        taken, gone = 0, []
        others = [log for log in self.logs() if log.name not in (new, *spared)]
        for number, log in enumerate(reversed(others), 1):
            with contextlib.suppress(OSError):
                taken += log.stat().st_size
            too_much = taken > KEPT_BYTES and number >= RECENT
            if (number >= KEPT or too_much) and not _is_being_written(log.name):
                gone.append(log)
        return gone

    # ---- the row

    def _row_file(self, key: str) -> Path:
        return self.folder / f"{key}.row"

    def _rows(self) -> Iterator[Row]:
        """Yield every row that is kept here, believed or not."""
        for file in sorted(self.folder.glob("*.row")):
            with contextlib.suppress(OSError, UnicodeDecodeError):
                if row := Row.read(file.read_text("utf-8")):
                    yield row

    def _foreign(self, key: str) -> set[str]:
        """Return what stands in rows of other keys: nobody here could sign that it was removed."""
        return {entry.log for row in self._rows() if row.key != key for entry in row.logs}

    def _genuine_row(self, key: bytes) -> Row | None:
        wanted = key_id(key)
        return next(
            (row for row in self._rows() if row.key == wanted and row.is_genuine(key)), None
        )

    def _row_to_go_on(self, key: bytes, new: str) -> Row:
        """Return the row that a new log follows; begun anew where it can't be believed."""
        row, apart = self._genuine_row(key), self._apart(key)
        begun = self._begun(key, {entry.log for entry in row.logs} if row else ())
        row = row and with_orphan(row, begun)
        if not any(gap.code == "row" for gap in judge(row, apart, begun, ())):
            return row or Row(key_id(key))
        if row is not None and row.anew and not (apart and row.last < apart[0]):
            return row  # that is known already
        numbers = [each.number for each in begun]
        last = max([row.last if row else 0, apart[0] if apart else 0, *numbers])
        return replace(row or Row(key_id(key)), last=last, anew=new)

    def _apart(self, key: bytes) -> tuple[int, str] | None:
        number, _, sign = (self.keychain.recall(_row_name(key_id(key))) or "").partition(" ")
        return (int(number), sign) if number.isdecimal() else None

    def _begun(self, key: bytes, known: Collection[str] = ()) -> list[Begun]:
        """Return what the logs of a key that are there say of their places, but the known ones."""
        logs = (log for log in self.folder.glob("*.jsonl") if log.name not in known)
        firsts = (first_record(_first_line(log), key) for log in logs)
        return [begun for first in firsts if first and (begun := Begun.read(first))]

    def _before(self, row: Row, key: bytes) -> Before | None:
        if not row.logs:
            return None
        log = row.logs[-1].log
        head = _furthest(self._heads(self.folder / log), key)
        known = head is not None and head.is_genuine(key) and head.log == log
        return Before(log, head.count, head.mac) if head and known else Before(log)

    def _gaps(self, key: bytes) -> Iterator[Gap]:
        there = {log.name for log in self.folder.glob("*.jsonl")}
        return judge(self._genuine_row(key), self._apart(key), self._begun(key), there)

    def _rewound(self, key: bytes) -> Iterator[Gap]:
        for each in self._begun(key):
            before = each.before
            if before and before.records and (self.folder / before.log).exists():
                data = read_log(self.folder / before.log)
                if code_of(data, before.records - 1) != before.mac:
                    why = f"it had other records when {each.log} began"
                    yield Gap("rewound", before.log, why)


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
            data = file.read(_READ_BYTES + 1)
    except OSError as error:
        raise FileUnreadable(
            f"{log} can't be read: {error.strerror}", hint="Check the name and the permissions."
        ) from error
    if len(data) > _READ_BYTES:
        raise FileUnreadable(f"{log} is too large for an audit log", hint="Check the name.")
    return data


def _first_line(log: Path) -> bytes:
    """Return a log's first line, nothing where it can't be read."""
    with contextlib.suppress(OSError), log.open("rb") as file:
        return file.readline(_FIRST_LINE)
    return b""


def _row_name(key: str) -> str:
    return f"audit-row {key}"


def _no_key(what: Path) -> FileUnreadable:
    return FileUnreadable(
        f"there is no key to verify {what} with",
        hint="A log can be verified where it was written, by the user who ran lmboot.",
    )


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
    return (
        sys.platform != "win32" and bool(pid) and pid[0].isdecimal() and system.lives(int(pid[0]))
    )


def _read_key(file: Path) -> bytes:
    """Return the key in a file that only its owner, who is the user, can read."""
    descriptor = os.open(file, os.O_RDONLY | AS_IT_IS)
    try:
        must_be_private(file, os.fstat(descriptor))
        key = os.read(descriptor, _KEY_BYTES + 1)
    finally:
        os.close(descriptor)
    if len(key) != _KEY_BYTES:
        raise unusable(file, "it is no key")
    return key


def _not_found(wanted: str, found: list[Path]) -> FileUnreadable:
    names = ", ".join(log.name for log in found[:5])
    what = f"{wanted!r} could be {names}" if found else f"there is no audit log {wanted!r}"
    return FileUnreadable(what, hint="Give the beginning of a run, a file, or `last`.")
