"""A person who answers what a runtime asks for, when the test says so."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from lmboot.errors import AuditFault
from lmboot.runtime.asking import Answer, Question
from lmboot.runtime.granted import operations
from lmboot.runtime.grants import Grants, Held
from lmboot.runtime.operations import Context, Operation, Refused
from lmboot.runtime.permits import Ask, Permits
from tests.runtime.brokers import Scene, scene


@dataclass
class Person:
    """What she is asked stands in `questions` until `answer` is called; `absent`: nobody is."""

    absent: bool = False
    full: bool = False  # nothing can be recorded
    questions: deque[tuple[Question, asyncio.Future[Answer]]] = field(default_factory=deque)
    asked: list[Question] = field(default_factory=list)
    withdrawn: list[Question] = field(default_factory=list)
    told: list[str] = field(default_factory=list)
    recorded: list[tuple[str, str, str]] = field(default_factory=list)
    given: list[Held] = field(default_factory=list)

    @property
    def ask(self) -> Ask | None:
        return None if self.absent else self._ask

    async def _ask(self, question: Question) -> Answer:
        self.asked.append(question)
        reply: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        entry = question, reply
        self.questions.append(entry)
        try:
            return await reply
        except asyncio.CancelledError:
            self.questions.remove(entry)
            self.withdrawn.append(question)
            raise

    def answer(self, answer: Answer) -> None:
        self.questions.popleft()[1].set_result(answer)

    def tell(self, text: str) -> None:
        self.told.append(text)

    def record(self, question: Question, answer: Answer | None) -> None:
        if self.full:
            raise AuditFault("no room")
        self.recorded.append((question.op, question.what, answer.scope if answer else "asked"))

    def granted(self, held: Held) -> None:
        self.given.append(held)


@dataclass
class Clock:
    """A time that stands still until it is told to go on, in seconds."""

    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Wanting:
    """An operation that needs a grant of its own, and then waits for `gate` and `after`."""

    name: str = "query_model"
    cancellable: bool = True
    emulates: bool = True
    arguments: dict[str, Any] = field(default_factory=dict)
    begun: int = 0
    effects: int = 0
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    after: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.after.set()

    def needs(self, args: dict[str, Any]) -> Question | None:
        return Question(self.name)

    async def perform(self, args: dict[str, Any], context: Context) -> Any:
        self.begun += 1
        await self.gate.wait()
        if context.permit is None:
            raise Refused("failed", "nobody has permitted this")
        context.commit()
        self.effects += 1
        await self.after.wait()
        return "done"

    async def emulate(self, args: dict[str, Any]) -> Any:
        return "emulated"


@dataclass
class Asked:
    """A broker whose guest has nothing yet, and the person who may grant it something."""

    scene: Scene
    grants: Grants
    person: Person
    clock: Clock


@asynccontextmanager
async def asked(
    *own: Operation, person: Person | None = None, unasked: Collection[str] = ()
) -> AsyncIterator[Asked]:
    """Serve these operations and those on grants, with a person to ask but for `unasked`."""
    person, clock = person or Person(), Clock()
    grants = Grants(clock=clock)
    async with scene(*own, *operations(grants), gate=Permits(grants, person, unasked)) as it:
        grants.on_end = lambda held, why: it.broker.end_permit(held)
        yield Asked(it, grants, person, clock)
    grants.close()
