"""The window as a session sees it.

A view lives in the worker's thread and touches no widget: whatever it is told goes into the
outbox, text made harmless and in runs, all else as messages.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Callable, Sequence
from itertools import count
from time import monotonic

from lmboot.app.view import Shown
from lmboot.bootstrap.handshake import Accepted, Refused, Repairing, Said, Step, Streaming
from lmboot.bootstrap.handshake import Asked as AskedStep
from lmboot.bootstrap.progress import Progress
from lmboot.bootstrap.review import Review
from lmboot.errors import ConsentImpossible, LmbootError, PayloadRejected
from lmboot.gui import bordermessages as b
from lmboot.gui import messages as m
from lmboot.gui.ansi import Ansi
from lmboot.gui.lastline import LastLine, Run
from lmboot.gui.outbox import Outbox
from lmboot.gui.rates import Rate
from lmboot.gui.reviewing import shown_review
from lmboot.gui.shown import for_review, visible
from lmboot.runtime.asking import WHILE_MINUTES, Answer, Question
from lmboot.strictjson import Problem
from lmboot.text import brief

PAYLOAD = "payload"  # the stream of the reply; the others are the panes
FIGURES_SECONDS = 0.25
_SHORT = 400
_ASKED = 200
_NUMBERS = count()  # of what was asked, in all sessions
_MOST_PROBLEMS = 100
_LINE = re.compile(r"line (\d+), column \d+")


class WindowView:
    """One session's view; of a session that is not shown any more nothing arrives."""

    def __init__(
        self,
        outbox: Outbox[m.Message],
        generation: int,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        """Speak for the session that the window counts as `generation`."""
        self.generation = generation
        self._outbox, self._clock = outbox, clock
        self._streams = {pane: Ansi() for pane in ("rt", "rt!", "ai")}
        self._writing = ""  # the pane that wrote last
        self._half_answered = False  # the answer's row has not ended
        self._payload = LastLine()
        self._figures = _Figures(clock)
        self._due: asyncio.TimerHandle | None = None  # when what is untold is told
        self._reply = self._mending = ""
        self._told = ""  # the last words on `sys`
        self.refused: Refused | None = None  # what the model can be asked to mend

    def _tell(self, message: m.Message) -> None:
        self._outbox.tell(message, generation=self.generation)

    # ------------------------------------------------------------------ the panes

    async def show(self, shown: Shown) -> None:
        """Put it into its pane; wait while that can't keep up."""
        if shown.event:
            self._tell(m.Happened(shown.event, shown.text, dict(shown.details)))
        if shown.pane == "sys":
            self._told = shown.text
        await self._put(*self._turn_to(shown.pane))
        await self._put(shown.pane, self._runs(shown))

    async def answered(self) -> None:
        """End the line of the answer, unless it has ended already."""
        end = self._streams["ai"].feed("\n")
        if self._half_answered or len(end) > 1:
            await self._put("ai", end)

    def _turn_to(self, pane: str) -> tuple[str, list[Run]]:
        """Another pane writes: what stands in the last one's half line stays as it is."""
        before, self._writing = self._writing, pane
        other = before != pane and before in self._streams
        return before, self._streams[before].break_off() if other else []

    def _runs(self, shown: Shown) -> list[Run]:
        if shown.pane in self._streams:
            end = "" if shown.partial or shown.pane == "ai" else "\n"
            return self._streams[shown.pane].feed(shown.text + end)
        return _lines(shown.text)

    async def _put(self, stream: str, runs: Sequence[Run]) -> None:
        if not runs:
            return
        if stream == "ai":
            self._half_answered = not runs[-1].text.endswith("\n")
        room = asyncio.Event()
        loop = asyncio.get_running_loop()

        def wake() -> None:
            with contextlib.suppress(RuntimeError):  # the loop was closed in the meantime
                loop.call_soon_threadsafe(room.set)

        if not self._outbox.put(stream, runs, wake, generation=self.generation):
            await room.wait()

    # ------------------------------------------------------------------ the asking

    async def step(self, step: Step) -> None:
        """Show how the asking goes on."""
        if isinstance(step, AskedStep):
            self._payload, self._figures = LastLine(), _Figures(self._clock)
            self._tell(m.Asked(step.round, self._mending))
        elif isinstance(step, Streaming):
            await self._stream(step)
        elif isinstance(step, Said):
            self._tell(m.Said("note", step.text))
        else:
            await self._judged(step)

    async def _judged(self, step: Repairing | Accepted | Refused) -> None:
        self._tell_figures()
        if isinstance(step, Repairing):
            self._mending = _why(step)
            self._tell(m.Said("repair", self._mending))
        elif isinstance(step, Accepted):
            self._reply = step.reply
        else:
            self.refused = step
            shown = await asyncio.to_thread(for_review, step.reply)
            self._tell(m.Refused(_problems(step.verdict.problems), step.reply, shown))

    def _tell_figures(self) -> None:
        if self._due is not None:
            self._due.cancel()
            self._due = None
        if last := self._figures.last():
            self._tell(last)

    async def _stream(self, step: Streaming) -> None:
        if figures := self._figures.after(step.progress):
            self._tell(figures)
        elif self._due is None:  # the reply may pause here
            loop = asyncio.get_running_loop()
            self._due = loop.call_later(FIGURES_SECONDS, self._tell_figures)
        if step.thinking:
            return
        _write(self._payload, step.text)
        await self._put(PAYLOAD, self._payload.take())

    # ------------------------------------------------------------------ what is said

    def status(self, text: str) -> None:
        """Say what is going on now."""
        self._tell(m.Said("status", text, passing=True))

    def note(self, text: str) -> None:
        """Put it into the log."""
        self._tell(m.Said("note", text))

    def complain(self, error: LmbootError) -> None:
        """Show a failure in the session, without saying twice what an event has said."""
        self._tell(m.Said("error", error.in_full))
        words = error.hint if self._told == str(error) else error.in_full
        if not words or isinstance(error, PayloadRejected):
            return
        for stream, runs in (self._turn_to("sys"), ("sys", _lines(words))):
            if runs:
                self._outbox.put(stream, runs, lambda: None, generation=self.generation)

    # ------------------------------------------------------------------ what is asked

    async def consent(self, review: Review) -> bool:
        """Show a payload and wait for the user."""
        answer: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._tell(await asyncio.to_thread(shown_review, review, self._reply, answer))
        return await answer

    async def ask(self, question: Question) -> Answer:
        """Ask the person; what is cancelled or of a session gone by is not asked any more."""
        if self.generation != self._outbox.generation:
            return Answer("no")
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        number = next(_NUMBERS)
        op, what = (visible(brief(text, _ASKED)) for text in (question.op, question.what))
        self._tell(b.Wanted(number, op, what, question.chooses_folder, WHILE_MINUTES, answer))
        try:
            return await answer
        finally:
            self._outbox.tell(b.Withdrawn(number))

    async def consent_without_border(self, review: Review) -> bool:
        """Refuse: the window never runs anything without a sandbox."""
        raise ConsentImpossible(
            "the window runs nothing without a sandbox",
            hint="In a terminal: lmboot boot --sandbox none",
        )


def _write(line: LastLine, text: str) -> None:
    for number, part in enumerate(visible(text).split("\n")):
        if number:
            line.newline()
        line.write(part)


def _lines(text: str) -> list[Run]:
    """Return whole lines, folded where Tk could not bear their length."""
    line = LastLine()
    _write(line, text + "\n")
    return line.take()


def _why(step: Repairing) -> str:
    if step.longer:
        return "its reply was cut off; asked again with more room"
    first = step.problems[0]
    more = f" (and {len(step.problems) - 1} more)" if len(step.problems) > 1 else ""
    return f"asked to mend {brief(first.where, 80)}: {brief(first.message, _SHORT)}{more}"


def _problems(problems: Sequence[Problem]) -> list[tuple[str, str, str, int | None]]:
    found = []
    for problem in problems[:_MOST_PROBLEMS]:
        line = _LINE.fullmatch(problem.where)
        words = visible(brief(problem.message, _SHORT))
        place = visible(brief(problem.where, 120))
        found.append((problem.code, place, words, int(line[1]) if line else None))
    return found


class _Figures:
    """Counts the pieces of a reply; they are told a few times a second, not each time."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock, self._rate = clock, Rate(clock)
        self._began, self._next = clock(), 0.0
        self._first = 0.0
        self._untold: Progress | None = None

    def after(self, progress: Progress) -> m.Writing | None:
        """Count a piece; return the figures if it is time to tell them."""
        now = self._clock()
        self._first = self._first or now - self._began
        self._rate.add()
        self._untold = progress
        if now < self._next:
            return None
        self._next = now + FIGURES_SECONDS
        return self.last()

    def last(self) -> m.Writing | None:
        """Return the figures as they are now, None when they were told already."""
        progress, self._untold = self._untold, None
        if progress is None:
            return None
        return m.Writing(
            characters=progress.characters,
            tokens=self._rate.total,
            rate=self._rate.per_second(),
            first=self._first,
            thinking=progress.thinking,
            files=[(visible(brief(file.path, 120)), file.size) for file in progress.files[-40:]],
        )
