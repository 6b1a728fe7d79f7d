"""Ask a SQLite file in a granted folder; SQLite itself never opens anything.

The file is read through the folder's descriptor into memory, asked there, and, where writing was
granted, replaced whole: no path is resolved twice, and no journal, no temporary file and no
attached database can lie anywhere. The SQL is a stranger's: an authorizer allows what is listed
here, and rows, bytes, time and memory are bounded. Calls block and are meant for a thread.

Refusals are OperationRefused with the codes of `confined` and: busy, not_a_database, not_granted,
sql, bad_argument, too_large, timeout.
"""

from __future__ import annotations

import base64
import contextlib
import errno
import functools
import math
import os
import signal
import sqlite3
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from lmboot.errors import OperationRefused
from lmboot.runtime.confined import Folder
from lmboot.text import brief

if sys.platform != "win32":
    import fcntl

Parameter = int | float | str | None
Value = int | float | str | dict[str, str] | None

_MAGIC = b"SQLite format 3\0"
_VERSIONS = slice(18, 20)  # of the header: 1 for a rollback journal, 2 for a write-ahead log
_BLOCK = 4096
_HEAP_BYTES = 256 << 20  # of SQLite in this process, all queries together
_SHARED_FIRST, _SHARED_SIZE = 0x40000002, 510  # the bytes that SQLite locks
_STEPS = 1000  # of SQLite's machine between two looks at the clock
_LEASE_TRIES, _LEASE_SECONDS = 10, 0.01

_LIMITS = {
    # One function can't be interrupted; some cost the square of a text: half a second for this.
    sqlite3.SQLITE_LIMIT_LENGTH: 256 << 10,
    sqlite3.SQLITE_LIMIT_SQL_LENGTH: 64 << 10,
    sqlite3.SQLITE_LIMIT_COLUMN: 200,
    sqlite3.SQLITE_LIMIT_EXPR_DEPTH: 100,
    sqlite3.SQLITE_LIMIT_COMPOUND_SELECT: 50,
    sqlite3.SQLITE_LIMIT_VDBE_OP: 25_000,
    sqlite3.SQLITE_LIMIT_FUNCTION_ARG: 64,
    sqlite3.SQLITE_LIMIT_ATTACHED: 0,
    sqlite3.SQLITE_LIMIT_LIKE_PATTERN_LENGTH: 100,  # patterns cost the square of the text
    sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER: 1000,
    sqlite3.SQLITE_LIMIT_TRIGGER_DEPTH: 10,
    sqlite3.SQLITE_LIMIT_WORKER_THREADS: 0,
}
_READING = frozenset(
    {sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_FUNCTION, sqlite3.SQLITE_RECURSIVE}
)
_WRITING = _READING | {
    sqlite3.SQLITE_INSERT, sqlite3.SQLITE_UPDATE, sqlite3.SQLITE_DELETE,
    sqlite3.SQLITE_CREATE_TABLE, sqlite3.SQLITE_DROP_TABLE, sqlite3.SQLITE_ALTER_TABLE,
    sqlite3.SQLITE_CREATE_INDEX, sqlite3.SQLITE_DROP_INDEX, sqlite3.SQLITE_REINDEX,
    sqlite3.SQLITE_CREATE_VIEW, sqlite3.SQLITE_DROP_VIEW, sqlite3.SQLITE_ANALYZE,
}  # fmt: skip
# Pragmas that tell what there is, and change nothing whatever their argument.
_PRAGMAS = frozenset(
    {"table_info", "table_xinfo", "table_list", "index_list", "index_info", "foreign_key_list"}
)
# printf can be told to take ten seconds over one number.
_FUNCTIONS_DENIED = frozenset({"load_extension", "fts3_tokenizer", "printf", "format"})
_SCHEMAS = frozenset({"sqlite_master", "sqlite_temp_master"})
_MAX_TRIMMED = 100  # characters to trim: SQLite tries each of them at each place
_CODES = {
    sqlite3.SQLITE_AUTH: "not_granted",
    sqlite3.SQLITE_READONLY: "not_granted",
    sqlite3.SQLITE_INTERRUPT: "timeout",
    sqlite3.SQLITE_TOOBIG: "too_large",
    sqlite3.SQLITE_NOMEM: "too_large",
    sqlite3.SQLITE_FULL: "too_large",
    sqlite3.SQLITE_NOTADB: "not_a_database",
    sqlite3.SQLITE_CORRUPT: "not_a_database",
}


@dataclass(frozen=True, slots=True)
class QueryLimits:
    """The ceiling of one query; `bytes` is of what is answered, `file_bytes` of the database."""

    rows: int = 1000
    bytes: int = 1 << 20
    seconds: float = 2.0
    file_bytes: int = 64 << 20


@dataclass(frozen=True, slots=True)
class Answer:
    """Rows of plain values (a BLOB is {"base64": ...}); `more`: there were others, left out."""

    columns: tuple[str, ...]
    rows: tuple[tuple[Value, ...], ...]
    changed: int
    more: bool


def query(
    folder: Folder,
    relative: str,
    sql: str,
    parameters: Sequence[Parameter] | Mapping[str, Parameter] = (),
    *,
    writable: bool = False,
    limits: QueryLimits | None = None,
) -> Answer:
    """Execute one statement; with `writable` it may change the file, or make a new one.

    A file that another program has open is not changed, and not read while that one writes.
    """
    limits = limits or QueryLimits()
    _check_parameters(parameters)
    with folder.turn, contextlib.closing(_empty()) as connection:
        before = _load(connection, folder, relative, writable, limits)
        _bound(connection, limits, writable)
        with _told():
            answer = _execute(connection, sql, parameters, limits)
            connection.set_authorizer(None)  # serializing asks by pragmas
        if writable:
            _store(connection, folder, relative, before, limits)
    return answer


# ---------------------------------------------------------------- the file


def _empty() -> sqlite3.Connection:
    connection = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
    connection.text_factory = lambda data: data.decode("utf-8", "replace")
    return connection


def _load(
    connection: sqlite3.Connection,
    folder: Folder,
    relative: str,
    writable: bool,
    limits: QueryLimits,
) -> bytes | None:
    """Read the file into the connection; return what it held, None where there is no file yet."""
    if writable and not folder.exists(relative):
        return None
    for ending in ("-wal", "-journal"):
        if folder.exists(relative + ending):
            raise _busy("another program is at work on the database, or was cut off")
    with folder.opened(relative) as descriptor:
        if writable:
            _check_alone(descriptor)
        with _locked(descriptor):
            data = _read(descriptor, limits.file_bytes)
    if data:
        with _told():
            connection.deserialize(_without_log(data))
    return data


def _read(descriptor: int, limit: int) -> bytes:
    with open(os.dup(descriptor), "rb") as file:
        data = file.read(limit + 1)
    if len(data) > limit:
        raise OperationRefused(f"the database is larger than {limit:,} bytes", code="too_large")
    if data and not data.startswith(_MAGIC):
        raise OperationRefused("the file is no SQLite database", code="not_a_database")
    return data


def _without_log(data: bytes) -> bytes:
    """Return a database that needs no write-ahead log; there is none, as `_load` has seen."""
    return data[: _VERSIONS.start] + b"\1\1" + data[_VERSIONS.stop :]


@contextlib.contextmanager
def _locked(descriptor: int) -> Iterator[None]:
    """Hold SQLite's own lock for reading; who writes holds the other one."""
    if sys.platform != "win32":
        try:
            fcntl.lockf(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB, _SHARED_SIZE, _SHARED_FIRST)
        except OSError:
            raise _busy("another program is writing to the database") from None
        try:
            yield
        finally:
            fcntl.lockf(descriptor, fcntl.LOCK_UN, _SHARED_SIZE, _SHARED_FIRST)
    else:
        raise _busy("whether another program is writing can't be told on Windows")


def _check_alone(descriptor: int) -> None:
    """Refuse unless nobody else has the file open: he would go on with the one we replace.

    The system grants a write lease only on such a file; it is given back at once.
    """
    if sys.platform == "linux":
        # What breaks a lease is told by SIGIO, which would end us, unless another one is chosen.
        fcntl.fcntl(descriptor, fcntl.F_SETSIG, signal.SIGURG)
        for _ in range(_LEASE_TRIES):
            try:
                fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_WRLCK)
                fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)
            except OSError as error:
                if error.errno != errno.EAGAIN:
                    break
                time.sleep(_LEASE_SECONDS)  # a process that was just forked has all that we have
            else:
                return
    raise _busy("another program has the database open, or it can't be told")


def _store(
    connection: sqlite3.Connection,
    folder: Folder,
    relative: str,
    before: bytes | None,
    limits: QueryLimits,
) -> None:
    with _told():
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
        data = connection.serialize() if pages else b""  # it can't be told to write nothing
    if before:
        data = data[: _VERSIONS.start] + before[_VERSIONS] + data[_VERSIONS.stop :]
    if data == (before or b""):
        return
    folder.write_bytes(
        relative,
        data,
        overwrite=before is not None,
        limit=limits.file_bytes,
        charge=_difference(before or b"", data),
    )


def _difference(before: bytes, after: bytes) -> int:
    """Return the size of the blocks that changed: one row of a large file is not the file."""
    blocks = range(0, len(after), _BLOCK)
    return sum(
        len(after[at : at + _BLOCK])
        for at in blocks
        if after[at : at + _BLOCK] != before[at : at + _BLOCK]
    )


# ---------------------------------------------------------------- the statement


def _bound(connection: sqlite3.Connection, limits: QueryLimits, writable: bool) -> None:
    for category, value in _LIMITS.items():
        connection.setlimit(category, value)
    with _told():
        (page,) = connection.execute("PRAGMA page_size").fetchone()
        for pragma in (
            f"hard_heap_limit = {_HEAP_BYTES}",
            f"max_page_count = {max(1, limits.file_bytes // page)}",
            "temp_store = MEMORY",
            "trusted_schema = OFF",
            "cell_size_check = ON",
            f"query_only = {'OFF' if writable else 'ON'}",
        ):
            connection.execute(f"PRAGMA {pragma}").fetchall()
    for name, strip in (("trim", str.strip), ("ltrim", str.lstrip), ("rtrim", str.rstrip)):
        connection.create_function(name, 2, functools.partial(_trim, strip), deterministic=True)
    deadline = time.monotonic() + limits.seconds
    connection.set_progress_handler(lambda: time.monotonic() > deadline, _STEPS)
    allowed = _WRITING if writable else _READING
    connection.set_authorizer(
        lambda action, first, second, *_: (
            sqlite3.SQLITE_OK if _may(action, first, second, allowed) else sqlite3.SQLITE_DENY
        )
    )


def _trim(strip: Callable[[str, str], str], text: object, characters: object) -> str | None:
    if text is None or characters is None:
        return None
    if len(str(characters)) > _MAX_TRIMMED:
        raise ValueError(characters)
    return strip(str(text), str(characters))


def _may(action: int, first: str | None, second: str | None, allowed: frozenset[int]) -> bool:
    if action == sqlite3.SQLITE_PRAGMA:
        return (first or "").lower() in _PRAGMAS
    if action == sqlite3.SQLITE_FUNCTION:
        return (second or "").lower() not in _FUNCTIONS_DENIED
    if action == sqlite3.SQLITE_UPDATE and first in _SCHEMAS:
        return True  # what declaring a table-valued function looks like; real ones SQLite refuses
    return action in allowed


def _execute(
    connection: sqlite3.Connection,
    sql: str,
    parameters: Sequence[Parameter] | Mapping[str, Parameter],
    limits: QueryLimits,
) -> Answer:
    cursor = connection.execute(sql, parameters)
    columns = tuple(brief(column[0], 200) for column in cursor.description or ())
    rows: list[tuple[Value, ...]] = []
    left = limits.bytes
    more = False
    for row in cursor:
        left -= sum(map(_size, row))
        more = left < 0 or len(rows) >= limits.rows
        if more:
            break
        rows.append(tuple(map(_plain, row)))
    cursor.close()
    return Answer(columns, tuple(rows), connection.total_changes, more)


def _size(value: object) -> int:
    return len(value) if isinstance(value, str | bytes) else 8


def _plain(value: int | float | str | bytes | None) -> Value:
    """Return what JSON can hold."""
    if isinstance(value, bytes):
        return {"base64": base64.b64encode(value).decode()}
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value


def _check_parameters(parameters: Sequence[Parameter] | Mapping[str, Parameter]) -> None:
    values = parameters.values() if isinstance(parameters, Mapping) else parameters
    if isinstance(parameters, str) or not all(
        value is None or isinstance(value, int | float | str) for value in values
    ):
        raise OperationRefused(
            "parameters are null, numbers and texts, in a list or by name", code="bad_argument"
        )


@contextlib.contextmanager
def _told() -> Iterator[None]:
    """Turn SQLite's answers into ours; what it says is about the SQL and the names in the file."""
    try:
        yield
    except (sqlite3.Error, sqlite3.Warning) as error:
        primary = getattr(error, "sqlite_errorcode", 0) & 0xFF
        raise OperationRefused(
            f"SQLite: {brief(str(error))}", code=_CODES.get(primary, "sql")
        ) from None
    except MemoryError:
        raise OperationRefused("the query needs too much memory", code="too_large") from None
    except (OverflowError, UnicodeEncodeError, ValueError):
        raise OperationRefused("the SQL or a parameter can't be passed on", code="sql") from None


def _busy(why: str) -> OperationRefused:
    return OperationRefused(why, code="busy")
