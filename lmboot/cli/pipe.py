"""The front end of scripts: lines in, lines out, as text or as JSON; nothing is asked."""

from __future__ import annotations

import asyncio
import os
import select
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from itertools import chain

from lmboot.app.view import Shown
from lmboot.bootstrap.handshake import Repairing, Said, Step
from lmboot.bootstrap.review import Review
from lmboot.cli.faults import told
from lmboot.cli.output import Writer
from lmboot.errors import LmbootError
from lmboot.runtime.asking import Answer, Question
from lmboot.text import plain, reveal

_AHEAD = 64  # lines that are read before they can be taken
_CHUNK = 1 << 16


class PipeView:
    """Prints one object or one line for each thing shown; progress and messages go to stderr."""

    def __init__(self, *, as_json: bool, on_broken: Callable[[], object]) -> None:
        """Begin to write; call it inside a running loop."""
        self._as_json = as_json
        self._writer = Writer(on_broken)
        self._answer = ""

    @property
    def unwritable(self) -> OSError | None:
        """Return why standard output can't be written; a reader that has gone is no reason."""
        error = self._writer.error
        return None if isinstance(error, BrokenPipeError) else error

    async def show(self, shown: Shown) -> None:
        """Print it; wait while standard output can't keep up."""
        if self._as_json:
            await self._writer.put(shown.as_json().encode(errors="replace") + b"\n")
        elif text := self._as_text(shown):
            await self._writer.put(text.encode(errors="replace"))

    def _as_text(self, shown: Shown) -> str:
        """Return whole lines, each with its pane; an answer's pieces wait for their newline."""
        if shown.pane == "ai":
            *lines, self._answer = (self._answer + shown.text).split("\n")
            return "".join(f"ai| {plain(line)}\n" for line in lines)
        before = self._rest_of_answer()
        return before + "".join(
            f"{shown.pane}| {plain(each)}\n" for each in shown.text.split("\n")
        )

    def _rest_of_answer(self) -> str:
        rest, self._answer = self._answer, ""
        return f"ai| {plain(rest)}\n" if rest else ""

    async def step(self, step: Step) -> None:
        """Tell on stderr what the user should know."""
        if isinstance(step, Said):
            self.note(step.text)
        elif isinstance(step, Repairing):
            what = "the answer was cut off; asked again with more room"
            problems = "; ".join(f"{each.where}: {each.message}" for each in step.problems[:3])
            self.note(what if step.longer else f"asked to mend its answer: {problems}")

    def status(self, text: str) -> None:
        """A script does not want to know."""

    def note(self, text: str) -> None:
        """Print a line on stderr."""
        sys.stderr.write(reveal(f"lmboot: {text}\n"))

    async def answered(self) -> None:
        """Keep its last line back: a newline is added only when something follows."""

    def complain(self, error: LmbootError) -> None:
        """Print a failure on stderr."""
        sys.stderr.write(told(error))

    async def consent(self, review: Review) -> bool:
        """Nobody can be asked here."""
        return False

    async def ask(self, question: Question) -> Answer:
        """Grant nothing."""
        return Answer("no")

    async def consent_without_border(self, review: Review) -> bool:
        """Nobody can be asked here."""
        return False

    def hurry(self) -> None:
        """Let a reader that stands still not hold up the end."""
        self._writer.hurry()

    async def close(self) -> None:
        """Write what is left."""
        if rest := self._rest_of_answer():
            await self._writer.put(rest.encode(errors="replace"))
        await self._writer.close()


async def lines_of(descriptor: int) -> AsyncIterator[str]:
    """Yield a file's lines without their ends; at most a few are read ahead of need."""
    loop, queue = asyncio.get_running_loop(), asyncio.Queue[bytes]()
    room = threading.Semaphore(_AHEAD)

    def read() -> None:
        for line in chain(_whole_lines(descriptor), [b""]):
            room.acquire()
            try:
                loop.call_soon_threadsafe(queue.put_nowait, line)
            except RuntimeError:
                return  # the session is over; nobody reads on

    threading.Thread(target=read, name="input", daemon=True).start()
    while line := await queue.get():
        room.release()
        yield line.decode(errors="replace").rstrip("\r\n")


def _whole_lines(descriptor: int) -> Iterator[bytes]:
    """Yield lines, the last one perhaps without its end.

    Not by a file object: its lock, held while a read waits, would abort the interpreter's exit.
    """
    begun: list[bytes] = []
    while data := _read(descriptor):
        *ends, rest = data.split(b"\n")
        for end in ends:
            yield b"".join([*begun, end, b"\n"])
            begun.clear()
        begun.append(rest)
    if last := b"".join(begun):
        yield last


def _read(descriptor: int) -> bytes:
    while True:
        try:
            return os.read(descriptor, _CHUNK)
        except BlockingIOError:  # somebody else made it so; it is not ours alone
            select.select([descriptor], [], [])
        except OSError:  # a terminal that has gone
            return b""


async def no_lines() -> AsyncIterator[str]:
    """Yield nothing: the end of file at once."""
    nothing: tuple[str, ...] = ()
    for line in nothing:
        yield line
