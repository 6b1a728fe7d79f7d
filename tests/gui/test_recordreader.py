"""Audit logs as the worker reads them for the window: real ones, from start to end."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import keyring
import keyring.backends.null
import pytest

from lmboot.app.records import export, in_words
from lmboot.errors import FileUnreadable
from lmboot.gui import bordermessages as b
from lmboot.gui import messages as m
from lmboot.gui import recordreader
from lmboot.gui.outbox import Budget, Outbox
from lmboot.gui.recordreader import RecordReader, called
from lmboot.runtime.audit import AuditLog
from lmboot.runtime.vault import Vault

ALL = Budget(1 << 30, 1 << 30, 1e9)
SECONDS = 60.0


@pytest.fixture(autouse=True)
def _no_keyring(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keyring, "get_keyring", keyring.backends.null.Keyring)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "audit"


def new_log(folder: Path, run: str = "a1b2c3") -> AuditLog:
    return AuditLog(Vault(folder), run, posture={"backend": "none"}, payload="0" * 64)


class Listener:
    """A reader, and what it told."""

    def __init__(self, folder: Path) -> None:
        self.outbox = Outbox[m.Message]()
        self.reader = RecordReader(self.outbox, folder)
        self.rows: list[b.Record] = []
        self.log = self.head = ""
        self.runs: list[tuple[str, str]] = []
        self.others: list[m.Message] = []

    def look(self) -> None:
        for each in self.outbox.drain(ALL).messages:
            if isinstance(each, b.Records):
                self.rows = [] if each.first else [*self.rows, *each.rows]
                self.log, self.head = each.log, each.head
            elif isinstance(each, b.Runs):
                self.runs = list(each.runs)
            else:
                self.others.append(each)

    async def until(self, ready: Callable[[], object]) -> None:
        async with asyncio.timeout(SECONDS):
            while not ready():
                await asyncio.sleep(0.005)  # what is told comes by no event
                self.look()


@pytest.fixture
async def listener(folder: Path) -> AsyncIterator[Listener]:
    listener = Listener(folder)
    yield listener
    await listener.reader.close()


async def test_a_log_is_told_from_its_start_and_as_it_grows(
    folder: Path, listener: Listener
) -> None:
    with new_log(folder) as log:
        log.note("route", "fetch", decision="DENY", reason="user: HOST -> DENY", route="DENY")
        listener.reader.follow()
        await listener.until(lambda: len(listener.rows) == 2)
        intent = log.intent("fs.read_text", "HOST", 2, {"path": "notes/a.txt"})
        log.outcome(intent, "ok", bytes=3)
        await listener.until(lambda: len(listener.rows) == 4)
        assert listener.head == log.head

    await listener.until(lambda: len(listener.rows) == 5)
    assert [row.kind for row in listener.rows] == [
        *("genesis", "route", "intent", "outcome", "close"),
    ]
    assert [row.seq for row in listener.rows] == list(range(5))
    assert listener.rows[1][3:] == ("route", "fetch", "DENY", "DENY", "user: HOST -> DENY")
    assert listener.rows[2].words == '{"path": "notes/a.txt"}'


async def test_how_a_run_ended_is_told_in_words(folder: Path, listener: Listener) -> None:
    with new_log(folder) as log:
        log.run_ended(137, "memory", clean=False)
    listener.reader.follow()
    await listener.until(lambda: len(listener.rows) == 3)

    assert listener.rows[1][3:] == (
        *("event", "run", "", "UNCLEAN"),
        "with status 137, over its limit of memory; "
        "not every process of it could be ended in time",
    )


async def test_a_log_that_is_gone_is_told_by_verifying_another(
    folder: Path, listener: Listener
) -> None:
    with new_log(folder, "first") as gone:
        pass
    with new_log(folder, "second") as log:
        pass
    gone.path.unlink()
    gone.path.with_name(f"{gone.path.name}.head").unlink()

    listener.reader.verify(log.path.name)
    await listener.until(lambda: listener.others)

    (judged,) = listener.others
    assert isinstance(judged, b.Judged)
    assert not judged.whole
    assert judged.words[0].startswith("this log is whole")
    assert judged.words[1] == f"{gone.path.name}: missing: the log of run number 1 is gone"


async def test_what_has_paused_goes_on_where_it_was(folder: Path, listener: Listener) -> None:
    with new_log(folder) as log:
        listener.reader.follow()
        await listener.until(lambda: len(listener.rows) == 1)
        listener.reader.pause()
        log.note("event", "one")
        listener.reader.follow()
        await listener.until(lambda: len(listener.rows) == 2)

    assert [row.op for row in listener.rows] == ["", "one"]


async def test_the_newest_run_is_followed_and_an_older_one_can_be_chosen(
    folder: Path, listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recordreader, "RUNS_SECONDS", 0.0)
    with new_log(folder, "first1") as old:
        old.note("event", "old")
    listener.reader.follow()
    await listener.until(lambda: len(listener.rows) == 3)

    with new_log(folder, "second") as new:
        await listener.until(lambda: listener.log == new.path.name and listener.rows)
        assert [name for name, _ in listener.runs] == [new.path.name, old.path.name]
        listener.reader.follow(old.path.name)
        await listener.until(lambda: listener.log == old.path.name and len(listener.rows) == 3)

    assert listener.rows[1].op == "old"
    assert listener.runs[1][1].endswith("·  first1")


async def test_where_nothing_ever_ran_that_is_told(listener: Listener) -> None:
    listener.runs = [("x", "x")]
    listener.reader.follow()

    await listener.until(lambda: listener.runs == [])


async def test_a_long_log_comes_whole_in_pieces(
    folder: Path, listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wherever a piece ends, no record is lost, torn or told twice."""
    monkeypatch.setattr(recordreader, "PIECE", 97)  # less than a line
    monkeypatch.setattr(recordreader, "PAUSE_SECONDS", 0.0)
    with new_log(folder) as log:
        for number in range(60):
            log.note("event", f"event-{number}")
    listener.reader.follow()
    await listener.until(lambda: len(listener.rows) == 62)

    assert [row.seq for row in listener.rows] == list(range(62))
    text = log.path.read_bytes()
    assert all(text[row.at : row.at + 1] == b"{" for row in listener.rows)


HOSTILE = "a\u202eb\x1b[2J\0\u200bc"


def plant(folder: Path, lines: list[str]) -> None:
    """Leave a log that lmboot did not write."""
    folder.mkdir()
    data = "".join(f"{line}\n" for line in lines)
    (folder / "20261121-120000-1-bad.jsonl").write_bytes(data.encode("latin-1"))


async def test_what_a_stranger_wrote_into_a_log_is_told_harmless(
    folder: Path, listener: Listener
) -> None:
    record = {"kind": HOSTILE, "op": HOSTILE, "reason": HOSTILE, "ts": HOSTILE, "seq": HOSTILE}
    others = ["no record", "[" * 5000, '{"kind": {"x": 1}, "seq": 1e999}', "\xff"]
    plant(folder, [json.dumps(record), *others])
    listener.reader.follow()
    await listener.until(lambda: len(listener.rows) == 5)

    row = listener.rows[0]
    assert row.seq == -1
    assert all("\u202e" not in cell and "\x1b" not in cell for cell in map(str, row))
    assert [each.kind for each in listener.rows[1:3]] == ["damaged line"] * 2
    for each in listener.rows:
        listener.others.clear()
        listener.reader.details(listener.log, each.at)
        await listener.until(lambda: listener.others)
        (told,) = listener.others
        assert isinstance(told, b.Details)
        assert "\u202e" not in told.text
        assert "\x1b" not in told.text


async def test_details_are_the_whole_record(folder: Path, listener: Listener) -> None:
    with new_log(folder) as log:
        log.note("consent", "run", decision="agreed", reason="by reading it")
    listener.reader.follow()
    await listener.until(lambda: len(listener.rows) == 3)
    listener.reader.details(listener.log, listener.rows[1].at)
    await listener.until(lambda: listener.others)

    (told,) = listener.others
    assert isinstance(told, b.Details)
    assert json.loads(told.text) == json.loads(log.path.read_bytes().splitlines()[1])


async def judged(listener: Listener, log: Path) -> b.Judged:
    listener.reader.verify(log.name)
    await listener.until(lambda: listener.others)
    (told,) = listener.others
    assert isinstance(told, b.Judged)
    return told


async def test_a_verdict_is_that_of_the_command(folder: Path, listener: Listener) -> None:
    with new_log(folder) as log:
        log.note("event", "one")
    told = await judged(listener, log.path)

    assert (told.whole, told.bad) == (True, None)
    assert list(told.words) == list(in_words("this log", Vault(folder).verify(log.path)))


async def test_the_first_record_that_is_not_right_is_told(
    folder: Path, listener: Listener
) -> None:
    with new_log(folder) as log:
        log.note("event", "one")
        log.note("event", "two")
    log.path.write_bytes(log.path.read_bytes().replace(b'"one"', b'"eno"'))
    told = await judged(listener, log.path)

    assert (told.whole, told.bad) == (False, 1)
    assert told.words[0].startswith("this log is damaged at record 1: edited")


async def test_a_log_that_has_gone_is_told(folder: Path, listener: Listener) -> None:
    with new_log(folder) as log:
        log.note("event", "one")
    log.path.unlink()
    told = await judged(listener, log.path)

    assert not told.whole
    assert "gone" in told.words[0]


def test_a_log_is_called_by_its_time_and_its_run() -> None:
    assert called("20261121-120000123456-17-a1b2c3d4e5.jsonl").endswith("·  a1b2c3d4")
    assert called("evil\u202e.jsonl") == "evil⟦U+202E⟧.jsonl"


def test_an_export_is_the_log_to_the_byte_or_rows_to_be_read(folder: Path, tmp_path: Path) -> None:
    with new_log(folder) as log:
        log.note("grant", "read", decision="granted", reason="notes")
    whole = log.path.read_bytes()
    with log.path.open("ab") as file:
        file.write(b'{"half')
    for name in ("out.jsonl", "out.txt"):
        export(log.path, tmp_path / name)

    assert (tmp_path / "out.jsonl").read_bytes() == whole
    text = (tmp_path / "out.txt").read_text()
    assert [line.split()[2] for line in text.splitlines()] == ["genesis", "grant", "close"]


def test_what_can_not_be_exported_leaves_what_was_there(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "out.txt").write_text("before")

    with pytest.raises(FileUnreadable):
        export(folder / "gone.jsonl", tmp_path / "out.txt")

    assert (tmp_path / "out.txt").read_text() == "before"
    assert [file.name for file in tmp_path.iterdir()] == ["out.txt"]
