"""Reads audit logs for the window, bit by bit and as they grow; lives in the worker's thread."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Coroutine, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from lmboot.app.records import cells_of, gaps_in_words, in_words, records
from lmboot.errors import FileUnreadable
from lmboot.gui import bordermessages as b
from lmboot.gui import messages as m
from lmboot.gui.outbox import Outbox
from lmboot.gui.shown import for_review, visible
from lmboot.runtime.vault import Vault

PIECE = 256 << 10  # bytes that are read at once; some 600 records
LOOK_SECONDS = 0.4  # between two looks at what has grown
RUNS_SECONDS = 2.0  # between two looks for other logs
PAUSE_SECONDS = 0.005  # after each piece: the window shows it meanwhile
MOST_DETAILS = 64 << 10  # characters of one record
HEAD = 12  # digits of the last code


class RecordReader:
    """Follows one log while it is looked at. What is told belongs to the log by its name."""

    def __init__(self, outbox: Outbox[m.Message], folder: Path) -> None:
        """Read the logs of the audit folder; nothing is read yet."""
        self._tell, self._folder = outbox.tell, folder
        self._vault = Vault(folder)
        self._wanted = ""  # a log by its name; "" means the newest, whichever that is
        self._log, self._at, self._rest = "", 0, b""
        self._runs: list[str] = []
        self._following: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    # ------------------------------------------------------------------ what is asked of it

    def follow(self, name: str = "") -> None:
        """Tell a log from its start, then what comes to it; the newest one where none is named."""
        self.pause()
        if name != self._wanted:
            self._log, self._wanted = "", name
        self._following = asyncio.create_task(self._follow())

    def pause(self) -> None:
        """Read no more until `follow`, which then goes on."""
        if self._following is not None:
            self._following.cancel()
            self._following = None

    def details(self, name: str, at: int) -> None:
        """Tell all that the record says whose line begins there."""

        async def read() -> None:
            text = await asyncio.to_thread(_details, self._folder / name, at)
            self._tell(b.Details(name, at, text))

        self._start(read())

    def verify(self, name: str) -> None:
        """Judge a log as `lmboot audit verify` does, and tell it in words."""

        async def judge() -> None:
            self._tell(await asyncio.to_thread(self._judge, name))

        self._start(judge())

    async def close(self) -> None:
        """Break off what goes on."""
        self.pause()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # ------------------------------------------------------------------ how

    def _start(self, doing: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(doing)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _follow(self) -> None:
        loop, look_at = asyncio.get_running_loop(), 0.0
        while True:
            if loop.time() >= look_at:
                await self._look_for_runs()
                look_at = loop.time() + RUNS_SECONDS
            if not (self._log and await self._read_on()):
                await asyncio.sleep(LOOK_SECONDS)
            await asyncio.sleep(PAUSE_SECONDS)

    async def _look_for_runs(self) -> None:
        """List the logs, and turn to the one that is wanted."""
        logs = await asyncio.to_thread(self._vault.logs)
        names = [log.name for log in reversed(logs)]
        if names != self._runs or not names:
            self._runs = names
            self._tell(b.Runs([(name, called(name)) for name in names]))
        wanted = self._wanted if self._wanted in names else next(iter(names), "")
        if wanted != self._log:
            self._log, self._at, self._rest = wanted, 0, b""
            self._tell(b.Records(wanted, (), "", first=True))

    async def _read_on(self) -> bool:
        """Tell the records of another piece; say whether there was one."""
        at, log = self._at, self._log
        data = await asyncio.to_thread(_piece, self._folder / log, at + len(self._rest))
        if not data:
            return False
        whole, rest = _whole_lines(self._rest + data)
        rows, head = await asyncio.to_thread(_rows, whole, at)
        self._at, self._rest = at + len(whole), rest  # all at once: it may be broken off
        if rows:
            self._tell(b.Records(log, rows, head))
        return True

    def _judge(self, name: str) -> b.Judged:
        try:
            verdict, gaps = self._vault.verify(self._folder / name), self._vault.gaps()
        except FileUnreadable as error:
            return b.Judged(name, False, (visible(error.in_full),))
        bad = verdict.problem.seq if verdict.problem else None
        lines = [*in_words("this log", verdict), *gaps_in_words(gaps)]
        words = tuple(visible(line) for line in lines)
        return b.Judged(name, verdict.whole and not gaps, words, bad)


def called(name: str) -> str:
    """Return what a log is called: when its run began on this machine's clock, and its name."""
    stamp = name[:15]
    try:
        began = datetime.strptime(stamp, "%Y%m%d-%H%M%S").replace(tzinfo=UTC).astimezone()
    except (ValueError, OverflowError, OSError):
        return visible(name)
    return visible(f"{began:%Y-%m-%d %H:%M:%S}  ·  {_run(name)[:8]}")


def _run(name: str) -> str:
    return name.removesuffix(".jsonl").split("-", 3)[-1]


def _piece(log: Path, at: int) -> bytes:
    """Return what follows in a log; nothing where it has gone."""
    with contextlib.suppress(OSError), log.open("rb") as file:
        file.seek(at)
        return file.read(PIECE)
    return b""


def _whole_lines(data: bytes) -> tuple[bytes, bytes]:
    """Return the lines that are whole, and the rest; a line without an end is told in parts."""
    end = data.rfind(b"\n") + 1
    if not end and len(data) > MOST_DETAILS * 16:
        return data, b""
    return data[:end], data[end:]


def _rows(whole: bytes, at: int) -> tuple[list[b.Record], str]:
    """Return the rows of whole lines that begin at a place, and the last one's short code."""
    rows: list[b.Record] = []
    mac: object = ""
    for line, record in _with_lines(whole):
        seq, time, *others = cells_of(record)
        rows.append(b.Record(at, seq, time, *(visible(each) for each in others)))
        at += len(line)
        mac = record.get("mac")
    return rows, visible(str(mac)[:HEAD]) if mac else ""


def _with_lines(whole: bytes) -> Iterator[tuple[bytes, dict[str, Any]]]:
    for line in whole.splitlines(keepends=True):
        yield line, next(records(line), {})


def _details(log: Path, at: int) -> str:
    """Return a record's line set out to be read; one that is none, as it is."""
    with contextlib.suppress(OSError), log.open("rb") as file:
        file.seek(at)
        line = file.readline(MOST_DETAILS * 16)
        try:
            text = json.dumps(json.loads(line), indent=2)  # ASCII: nothing in it can hide
        except (ValueError, RecursionError):
            text = for_review(line.decode("utf-8", "replace").rstrip("\n"))
        return text if len(text) <= MOST_DETAILS else f"{text[:MOST_DETAILS]}…"
    return "the log has gone"
