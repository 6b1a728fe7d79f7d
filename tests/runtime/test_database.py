"""Asking a granted SQLite file: nothing but the file, and no more than was granted.

sandbox.md has no case of its own for it; 82 to 84 hold for the file as for any other.
"""

from __future__ import annotations

import hashlib
import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from lmboot.errors import OperationRefused
from lmboot.runtime.confined import Folder
from lmboot.runtime.database import Answer, QueryLimits, query
from lmboot.runtime.quota import Quota
from tests.leaks import descriptors


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder with a database, beside one that must not be reached."""
    folder = tmp_path / "granted"
    folder.mkdir()
    for path in (folder / "a.db", tmp_path / "secret.db"):
        make(path, "CREATE TABLE t(n INTEGER, s TEXT); INSERT INTO t VALUES (1, 'x'), (2, 'y')")
    return folder


@pytest.fixture
def granted(root: Path) -> Iterator[Folder]:
    """The folder, granted for writing."""
    before = descriptors()
    with Folder.open(root, writable=True) as folder:
        yield folder
    assert descriptors() <= before


def make(path: Path, script: str) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(script)


def content(path: Path) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute("SELECT * FROM t").fetchall()


def refused(folder: Folder, sql: str, path: str = "a.db", **more: object) -> str:
    with pytest.raises(OperationRefused) as error:
        query(folder, path, sql, **more)  # type: ignore[arg-type]
    return error.value.code


# ---------------------------------------------------------------- what works


def test_rows_come_with_their_columns(granted: Folder) -> None:
    found = query(granted, "a.db", "SELECT n, s AS name FROM t WHERE n > ? ORDER BY n", [0])

    assert found == Answer(("n", "name"), ((1, "x"), (2, "y")), 0, False)


def test_parameters_may_have_names(granted: Folder) -> None:
    assert query(granted, "a.db", "SELECT :a || :b", {"a": "x", "b": 1}).rows == (("x1",),)


def test_every_value_is_one_that_json_can_hold(granted: Folder) -> None:
    found = query(granted, "a.db", "SELECT NULL, 1.5, x'00ff', 9e999, CAST(x'ff' AS TEXT)")

    assert found.rows == ((None, 1.5, {"base64": "AP8="}, "inf", "�"),)


def test_the_schema_can_be_asked_for(granted: Folder) -> None:
    assert query(granted, "a.db", "PRAGMA table_info(t)").rows[0][1] == "n"
    assert query(granted, "a.db", "SELECT name FROM pragma_table_info('t')").rows[1] == ("s",)
    assert query(granted, "a.db", "SELECT name FROM sqlite_schema").rows == (("t",),)


def test_writing_changes_the_file(granted: Folder, root: Path) -> None:
    found = query(granted, "a.db", "INSERT INTO t VALUES (3, ?)", ["z"], writable=True)

    assert found.changed == 1
    assert content(root / "a.db") == [(1, "x"), (2, "y"), (3, "z")]
    assert os.listdir(root) == ["a.db"]


def test_writing_makes_a_new_file(granted: Folder, root: Path) -> None:
    query(granted, "new.db", "CREATE TABLE t(a)", writable=True)
    query(granted, "new.db", "INSERT INTO t VALUES (7)", writable=True)

    assert content(root / "new.db") == [(7,)]


def test_a_database_with_a_write_ahead_log_stays_one(granted: Folder, root: Path) -> None:
    make(root / "wal.db", "PRAGMA journal_mode=WAL; CREATE TABLE t(n)")
    query(granted, "wal.db", "INSERT INTO t VALUES (1)", writable=True)

    assert query(granted, "wal.db", "SELECT n FROM t").rows == ((1,),)
    with closing(sqlite3.connect(root / "wal.db")) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_asking_leaves_the_file_untouched(granted: Folder, root: Path) -> None:
    before = hashlib.sha256((root / "a.db").read_bytes()), (root / "a.db").stat().st_ino
    query(granted, "a.db", "SELECT * FROM t", writable=True)

    assert (root / "a.db").stat().st_ino == before[1]
    assert hashlib.sha256((root / "a.db").read_bytes()).digest() == before[0].digest()


# ---------------------------------------------------------------- what was not granted

WRITES = [
    "INSERT INTO t VALUES (9, 'z')", "UPDATE t SET n = 0", "DELETE FROM t", "DROP TABLE t",
    "CREATE TABLE u(x)", "CREATE TEMP TABLE u(x)", "ALTER TABLE t ADD COLUMN z",
    "CREATE VIEW v AS SELECT 1", "ANALYZE", "REPLACE INTO t VALUES (1, 'q')",
    "INSERT INTO t SELECT * FROM t RETURNING n", "WITH x AS (SELECT 1) DELETE FROM t",
]  # fmt: skip
NEVER = [
    "ATTACH '{secret}' AS s", "ATTACH ':memory:' AS s", "DETACH main", "VACUUM",
    "VACUUM INTO '{out}'", "SELECT load_extension('{out}')", "SELECT load_extension('x', 'y')",
    "PRAGMA journal_mode = WAL", "PRAGMA query_only = OFF", "PRAGMA writable_schema = ON",
    "PRAGMA temp_store_directory = '/'", "PRAGMA database_list", "PRAGMA user_version = 7",
    "PRAGMA hard_heap_limit = 0", "PRAGMA trusted_schema = ON", "PRAGMA max_page_count = 9999999",
    "BEGIN", "COMMIT", "SAVEPOINT x", "CREATE VIRTUAL TABLE f USING fts5(x)",
    "CREATE TRIGGER g AFTER INSERT ON t BEGIN SELECT 1; END", "CREATE TEMP VIEW v AS SELECT 1",
    "SELECT * FROM pragma_database_list", "SELECT fts3_tokenizer('simple')",
    "UPDATE sqlite_master SET sql = 'x'", "DELETE FROM sqlite_schema", "SELECT printf('%d', 1)",
    "INSERT INTO sqlite_temp_master VALUES (1, 1, 1, 1, 1)", "SELECT format('%.*c', 1, 'x')",
]  # fmt: skip


@pytest.mark.parametrize("sql", WRITES)
def test_without_the_grant_nothing_is_written(granted: Folder, root: Path, sql: str) -> None:
    assert refused(granted, sql) == "not_granted"
    assert content(root / "a.db") == [(1, "x"), (2, "y")]


@pytest.mark.parametrize("writable", [False, True])
@pytest.mark.parametrize("sql", NEVER)
def test_nothing_else_is_reached_or_loosened(
    granted: Folder, root: Path, sql: str, writable: bool
) -> None:
    names = {"secret": root.parent / "secret.db", "out": root.parent / "out"}

    assert refused(granted, sql.format(**names), writable=writable) in ("not_granted", "sql")
    assert not (root.parent / "out").exists()
    assert content(root / "a.db") == [(1, "x"), (2, "y")]


def test_a_folder_granted_for_reading_is_not_written(root: Path) -> None:
    with Folder.open(root) as folder:
        assert refused(folder, "DELETE FROM t", writable=True) == "read_only"
        assert query(folder, "a.db", "SELECT 1").rows == ((1,),)
    assert len(content(root / "a.db")) == 2


@pytest.mark.parametrize(
    ("path", "code"),
    [("../secret.db", "bad_path"), ("link.db", "link"), ("none.db", "not_found"),
     ("hard.db", "link"), (".hidden.db", "hidden"), ("file:a.db?mode=rwc", "bad_path"),
     ("a.db\0", "bad_path"), ("text.db", "not_a_database"), (":memory:", "bad_path")],
)  # fmt: skip
def test_only_a_file_beneath_the_folder_is_asked(
    granted: Folder, root: Path, path: str, code: str
) -> None:
    """Cases 82 and 83."""
    (root / "link.db").symlink_to("../secret.db")
    os.link(root.parent / "secret.db", root / "hard.db")
    (root / ".hidden.db").write_bytes((root / "a.db").read_bytes())
    (root / "text.db").write_text("no database at all" * 10)

    assert refused(granted, "SELECT * FROM t", path) == code


@pytest.mark.parametrize("path", ["new.db", "sub/deep/new.db"])
def test_a_file_that_is_not_there_is_an_empty_database_where_it_may_be_made(
    granted: Folder, root: Path, path: str
) -> None:
    """It is there once something is in it."""
    assert query(granted, path, "SELECT 1", writable=True).rows == ((1,),)
    assert refused(granted, "SELECT * FROM t", path, writable=True) == "sql"
    assert not (root / path).exists()

    query(granted, path, "CREATE TABLE t(n)", writable=True)
    query(granted, path, "INSERT INTO t VALUES (7)", writable=True)
    assert content(root / path) == [(7,)]


@pytest.mark.parametrize("at", [20, 100, 4096 + 5])
def test_a_damaged_file_is_refused_or_answers(granted: Folder, root: Path, at: int) -> None:
    data = bytearray((root / "a.db").read_bytes())
    data[at : at + 40] = b"\xff" * 40
    (root / "bad.db").write_bytes(data)

    assert refused(granted, "SELECT * FROM t", "bad.db") in ("not_a_database", "sql")


@pytest.mark.parametrize("sql", ["", "SELECT", "SELECT 1; DELETE FROM t", "SELECT '\ud800'", "\0"])
def test_what_is_no_single_statement_is_refused_or_does_nothing(
    granted: Folder, root: Path, sql: str
) -> None:
    if sql:
        assert refused(granted, sql, writable=True) == "sql"
    else:
        assert query(granted, "a.db", sql).rows == ()
    assert len(content(root / "a.db")) == 2


@pytest.mark.parametrize("parameters", ["text", [b"x"], [[1]], {"a": {}}])
def test_parameters_are_plain(granted: Folder, parameters: object) -> None:
    assert refused(granted, "SELECT ?", parameters=parameters) == "bad_argument"
    assert refused(granted, "SELECT ?", parameters=[1 << 70]) == "sql"
    assert refused(granted, "SELECT ?", parameters=[]) == "sql"


# ---------------------------------------------------------------- bounds

NUMBERS = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT "


def test_rows_and_bytes_are_bounded_and_that_is_said(granted: Folder) -> None:
    found = query(granted, "a.db", NUMBERS + "x FROM c", limits=QueryLimits(rows=10))
    assert (len(found.rows), found.more) == (10, True)
    found = query(granted, "a.db", NUMBERS + "zeroblob(1000) FROM c")
    assert (len(found.rows), found.more) == (1000, True)
    found = query(granted, "a.db", NUMBERS + "zeroblob(10000) FROM c")
    assert (len(found.rows), found.more) == ((1 << 20) // 10_000, True)


@pytest.mark.parametrize(
    "sql",
    [
        NUMBERS + "count(*) FROM c",
        NUMBERS + "sum(instr(hex(zeroblob(60000)), hex(zeroblob(30000)) || 'x')) FROM c",
        NUMBERS + "sum(length(replace(hex(zeroblob(60000)), '0', '1'))) FROM c",
        NUMBERS + "sum(hex(zeroblob(60000)) LIKE '%0_%0_%0_%0_%1') FROM c",
        "SELECT count(*) FROM "
        + ", ".join(f"json_each('[{'1,' * 200}1]') j{n}" for n in range(9)),
    ],
)
def test_time_is_bounded(granted: Folder, sql: str) -> None:
    began = time.monotonic()

    assert refused(granted, sql, limits=QueryLimits(seconds=0.3)) == "timeout"
    assert time.monotonic() - began < 2


def test_trimming_is_as_sqlite_does_it_within_its_bound(granted: Folder) -> None:
    found = query(granted, "a.db", "SELECT trim('xxaxx', 'x'), ltrim(115, 1), rtrim(NULL, 'x')")

    assert found.rows == (("a", "5", None),)
    assert refused(granted, "SELECT trim('a', hex(zeroblob(100)))") == "sql"


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT randomblob(2000000000)",
        "SELECT replace(hex(zeroblob(400000)), '0', 'aaaaaaaaaa')",
        NUMBERS + "count(DISTINCT randomblob(1000000)) FROM c",
        NUMBERS + "group_concat(hex(randomblob(10000))) FROM c",
        "SELECT " + ",".join(["randomblob(1000000)"] * 200) + " FROM t a, t b ORDER BY random()",
    ],
)
def test_memory_is_bounded(granted: Folder, sql: str) -> None:
    assert refused(granted, sql) in ("too_large", "timeout")


def test_the_file_is_bounded(granted: Folder, root: Path) -> None:
    limits = QueryLimits(file_bytes=64 << 10)
    fill = "INSERT INTO t SELECT 1, hex(randomblob(10000)) FROM t, t b, t c"

    assert refused(granted, fill, writable=True, limits=limits) == "too_large"
    assert len(content(root / "a.db")) == 2
    query(granted, "a.db", fill, writable=True)
    assert refused(granted, "SELECT 1", limits=limits) == "too_large"


def test_what_changes_is_what_is_spent(root: Path) -> None:
    make(root / "big.db", "CREATE TABLE t(n); INSERT INTO t SELECT zeroblob(900000)")
    quota = Quota(20_000)
    with Folder.open(root, writable=True, quota=quota) as folder:
        query(folder, "big.db", "INSERT INTO t VALUES (1)", writable=True)
        assert refused(
            folder, "INSERT INTO t VALUES (randomblob(30000))", "big.db", writable=True
        ) == ("quota")
    assert len(content(root / "big.db")) == 2


# ---------------------------------------------------------------- others at work

OTHER = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("SELECT * FROM t").fetchall()
for statement in sys.argv[2:]:
    connection.execute(statement)
print("ready", flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize(
    ("statements", "readable"),
    [
        ([], True),
        (["BEGIN IMMEDIATE"], True),
        (["BEGIN EXCLUSIVE"], False),
        (["PRAGMA journal_mode=WAL", "INSERT INTO t VALUES (9, 'in the log')"], False),
        (["BEGIN", "PRAGMA cache_size=1", "UPDATE t SET n = 5"], False),
    ],
)
def test_another_programs_database_is_not_torn(
    granted: Folder, root: Path, statements: list[str], readable: bool
) -> None:
    command = [sys.executable, "-c", OTHER, str(root / "a.db"), *statements]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"ready\n"
        if readable:
            assert len(query(granted, "a.db", "SELECT * FROM t").rows) == 2
        else:
            assert refused(granted, "SELECT * FROM t") == "busy"
        assert refused(granted, "DELETE FROM t", writable=True) == "busy"
        other.communicate()


def test_many_at_once_lose_nothing(granted: Folder, root: Path) -> None:
    def insert(number: int) -> int:
        return query(
            granted, "a.db", "INSERT INTO t VALUES (?, '')", [number], writable=True
        ).changed

    with ThreadPoolExecutor(16) as pool:
        assert sum(pool.map(insert, range(64))) == 64

    assert len(content(root / "a.db")) == 66
