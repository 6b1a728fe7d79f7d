"""Stand-ins written by hand: each keeps the promises of the protocol that it implements."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lmboot.app.models import Found
from lmboot.app.view import Shown, View
from lmboot.bootstrap.handshake import Step
from lmboot.bootstrap.library import Kept
from lmboot.bootstrap.review import Review
from lmboot.connections.interface import Ask, Event, Finished, Message, Model, Text
from lmboot.errors import LmbootError
from lmboot.process import Ended, Output
from lmboot.runtime.asking import Answer, Question
from lmboot.workspace import CopyReport

GOOD: dict[str, Any] = {
    "manifest": {"name": "shell"},
    "files": [{"path": "a.py", "content": "print(1)\n"}],
    "entrypoint": "python a.py",
}
REPLY = json.dumps(GOOD)


def model(loaded: int | None = 32_768, **others: Any) -> Model:
    return Model("tiny", "Tiny", "http://127.0.0.1:1", "lmstudio", context_loaded=loaded, **others)


class ScriptedConnection:
    """A model that answers what was queued: texts, events, a failure to raise, a signal to await.

    `asks` has every question, `closed` counts streams that were closed before their end.
    """

    def __init__(
        self, row: Model | None = None, *, enforces_schema: bool = False, prompt_tokens: int = 1000
    ) -> None:
        self.model = row or model()
        self.local = True
        self.enforces_schema = enforces_schema
        self.asks: list[Ask] = []
        self.closed = self.warmed = 0
        self.is_open = True
        self._prompt_tokens = prompt_tokens
        self._answers: list[list[Event | LmbootError | asyncio.Event]] = []

    def enqueue(
        self, pieces: Iterable[str | Event | LmbootError | asyncio.Event], reason: str = "stop"
    ) -> None:
        """Queue one answer; it ends with `reason` unless it ends otherwise by itself."""
        answer = [Text(piece) if isinstance(piece, str) else piece for piece in pieces]
        ends = answer and isinstance(answer[-1], Finished | LmbootError)
        self._answers.append(answer if ends else [*answer, Finished(reason)])

    async def stream(self, ask: Ask) -> AsyncGenerator[Event, None]:
        self.asks.append(ask)
        answer = self._answers.pop(0)
        over = False
        try:
            for piece in answer:
                await asyncio.sleep(0)
                if isinstance(piece, asyncio.Event):
                    await piece.wait()
                    continue
                if isinstance(piece, LmbootError):
                    raise piece
                over = piece is answer[-1]
                yield piece
        finally:
            self.closed += not over

    async def count_tokens(self, messages: Sequence[Message]) -> int:
        return self._prompt_tokens + sum(
            len(message.text) // 4 for message in messages if message.role == "assistant"
        )

    async def warm(self, messages: Sequence[Message]) -> None:
        self.warmed += 1

    async def close(self) -> None:
        self.is_open = False


@dataclass
class FakeView:
    """A front end that remembers; what it is asked it answers as it was told to."""

    agrees: bool = True
    shown: list[Shown] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    complaints: list[LmbootError] = field(default_factory=list)
    reviews: list[Review] = field(default_factory=list)
    answers: int = 0
    thinks_it_over: asyncio.Event | None = None

    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    async def until(self, ready: Callable[[], bool]) -> None:
        """Wait until something is true of what was shown."""
        async with asyncio.timeout(10):
            while not ready():
                self._changed.clear()
                await self._changed.wait()

    def pane(self, *panes: str) -> list[str]:
        return [each.text for each in self.shown if each.pane in panes]

    @property
    def events(self) -> list[str]:
        return [each.event for each in self.shown if each.event]

    async def show(self, shown: Shown) -> None:
        await asyncio.sleep(0)
        self.shown.append(shown)
        self._changed.set()

    async def step(self, step: Step) -> None:
        self.steps.append(step)
        self._changed.set()

    def status(self, text: str) -> None:
        self.said.append(text)

    def note(self, text: str) -> None:
        self.said.append(text)

    async def answered(self) -> None:
        self.answers += 1
        self._changed.set()

    async def wanted(self, model: Model) -> None:
        return

    def complain(self, error: LmbootError) -> None:
        self.complaints.append(error)
        self._changed.set()

    async def pick(self, models: Sequence[Model]) -> Model:
        return models[0]

    async def token(self, server: str) -> str | None:
        return None

    async def consent(self, review: Review) -> bool:
        self.reviews.append(review)
        self._changed.set()
        if self.thinks_it_over is not None:
            await self.thinks_it_over.wait()
        return self.agrees

    async def ask(self, question: Question) -> Answer:
        """Grant nothing."""
        return Answer("no")

    async def consent_without_border(self, review: Review) -> bool:
        self.reviews.append(review)
        return self.agrees


@dataclass
class FakeLobby:
    """A hall that remembers what it was told, in order: the name of what, and the values."""

    told: list[tuple[Any, ...]] = field(default_factory=list)

    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    async def until(self, ready: Callable[[], object]) -> None:
        """Wait until something is true of what was told."""
        async with asyncio.timeout(20):
            while not ready():
                self._changed.clear()
                await self._changed.wait()

    def of(self, name: str) -> list[Any]:
        """Return what was told under a name: the values where there are several."""
        found = [values for each, *values in self.told if each == name]
        return [values[0] if len(values) == 1 else tuple(values) for values in found]

    def _take(self, name: str, *values: object) -> None:
        self.told.append((name, *values))
        self._changed.set()

    def looking(self) -> None:
        self._take("looking")

    def listed(self, found: Found) -> None:
        self._take("listed", found)

    def unreachable(self, server: str | None, error: LmbootError, seconds: float) -> None:
        self._take("unreachable", server, error, seconds)

    def locked(self, server: str, error: LmbootError) -> None:
        self._take("locked", server, error)

    def added(self, model: Model) -> None:
        self._take("added", model)

    def opened(self, model: Model) -> None:
        self._take("opened", model)

    def kept(self, model: Model, payloads: list[Kept]) -> None:
        self._take("kept", model, payloads)

    def status(self, text: str) -> None:
        self._take("status", text)

    def note(self, text: str) -> None:
        self._take("note", text)

    def complain(self, error: LmbootError) -> None:
        self._take("complain", error)

    def over(self, view: View, failure: LmbootError | None) -> None:
        self._take("over", view, failure)


class FakeRuntime:
    """A runtime whose program is the test: it says when output comes and what a line leads to.

    `answers` maps a line to what is written for it; `sent` has every line that came.
    """

    def __init__(self, answers: dict[str, bytes] | None = None) -> None:
        self.sent: list[bytes] = []
        self.interrupts = 0
        self.stopped = self.closed = False
        self.limit: str | None = None
        self._answers = answers or {}
        self._events: asyncio.Queue[Output | Ended] = asyncio.Queue()

    def write(self, data: bytes | str, *, error: bool = False) -> None:
        """Let the program write."""
        data = data.encode() if isinstance(data, str) else data
        self._events.put_nowait(Output("err" if error else "out", data))

    def finish(self, code: int = 0, *, limit: str | None = None, clean: bool = True) -> None:
        """Let the program end."""
        self._events.put_nowait(Ended(code, limit, clean))

    async def events(self) -> AsyncIterator[Output | Ended]:
        while True:
            event = await self._events.get()
            yield event
            if isinstance(event, Ended):
                return

    async def send(self, data: bytes) -> bool:
        self.sent.append(data)
        answer = self._answers.get(data.decode().rstrip("\n"))
        if answer is not None:
            self.write(answer)
        return True

    def interrupt(self) -> None:
        self.interrupts += 1

    async def stop(self) -> None:
        self.stopped = True
        self.finish()

    async def end(self, limit: str) -> None:
        self.limit = limit
        self.finish(137, limit=limit)

    async def copy_out(self, folder: Path) -> CopyReport:
        return CopyReport()

    async def close(self) -> None:
        self.closed = True


async def unheard(text: str) -> None:
    """Show what a runtime notes to nobody."""
