"""Asks a model for a payload until one is valid or the rounds are used up.

`bootstrap` yields what happens as plain steps, so that a terminal, a window and a test are three
readers of one thing. It ends with `Accepted` or `Refused`; a connection's faults pass through.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field

from lmboot.bootstrap import prompts
from lmboot.bootstrap.judge import Verdict, judge
from lmboot.bootstrap.payload import Payload
from lmboot.bootstrap.progress import Progress
from lmboot.connections.interface import (
    Ask,
    Connection,
    Event,
    Finished,
    Message,
    Notice,
    Text,
    Thinking,
)
from lmboot.errors import ConnectionLost, ContextOverflow
from lmboot.runtime.policy import Limits
from lmboot.strictjson import Problem

FIRST_ANSWER = 8192  # tokens; more is asked for only after this proved too little
LEAST_ANSWER = 512  # no payload was ever shorter than that by much
SCARCE_ANSWER = 2048
UNKNOWN_ROOM = 8192  # a server that tells no context is taken to have this much for an answer
REPAIR_ROUNDS = 2
_MARGIN = 16


@dataclass(frozen=True, slots=True)
class Asked:
    """A request goes out; `round` counts from 0, `max_tokens` is the room for the answer."""

    round: int
    max_tokens: int


@dataclass(frozen=True, slots=True)
class Streaming:
    """A piece came; `progress` is the same object all the time, `text` the new piece."""

    progress: Progress
    text: str
    thinking: bool = False


@dataclass(frozen=True, slots=True)
class Said:
    """Something the user should know."""

    text: str


@dataclass(frozen=True, slots=True)
class Repairing:
    """The model is asked to mend its answer, or (longer) to give it whole."""

    problems: tuple[Problem, ...]
    longer: bool = False


@dataclass(frozen=True, slots=True)
class Accepted:
    """The end: a valid payload, with the verdict and the reply that it came from."""

    payload: Payload
    verdict: Verdict
    reply: str


@dataclass(frozen=True, slots=True)
class Refused:
    """The end: no valid payload after all rounds; the last reply and what is wrong with it."""

    verdict: Verdict
    reply: str


Step = Asked | Streaming | Said | Repairing | Accepted | Refused


@dataclass(slots=True)
class _Answer:
    text: list[str] = field(default_factory=list)
    thinking: list[str] = field(default_factory=list)
    finished: Finished | None = None

    @property
    def reply(self) -> str:
        """Return the content, or the thinking's field when the content is empty (LM Studio)."""
        content = "".join(self.text)
        return content if content.strip() else "".join(self.thinking)

    @property
    def cut_off(self) -> bool:
        return self.finished is not None and self.finished.reason == "length"


@dataclass(slots=True)
class _Handshake:
    connection: Connection
    limits: Limits
    repairs_left: int
    trigger: str
    round: int = 0
    all_of_it: bool = False
    fallback: Accepted | None = None

    async def run(self, mend: Refused | None) -> AsyncGenerator[Step, None]:
        messages = self._question()
        if mend is not None:
            yield Repairing(mend.verdict.problems)
            messages = await self._repair(mend.reply, mend.verdict.problems)
        while True:
            room = await self._room(messages)
            if not self.round and room < SCARCE_ANSWER:
                yield Said(self._scarce(room))
            answer = _Answer()
            async with aclosing(self._ask(messages, room, answer)) as asking:
                async for each in asking:
                    yield each
            verdict = judge(answer.reply, self.limits)
            step = self._next(verdict, answer)
            yield step
            if not isinstance(step, Repairing):
                return
            if not step.longer:
                self.round += 1
                messages = await self._repair(answer.reply, step.problems)

    def _question(self) -> list[Message]:
        return [Message("system", prompts.PRIMER), Message("user", self.trigger)]

    async def _repair(self, reply: str, problems: Sequence[Problem]) -> list[Message]:
        """Return the conversation with the bad reply in it, or without when it does not fit."""
        text = prompts.repair([f"{each.where}: {each.message}" for each in problems[:20]])
        full = [*self._question(), Message("assistant", reply), Message("user", text)]
        context = self._context()
        if reply.strip() and (context is None or await self._left(full, context) >= SCARCE_ANSWER):
            return full
        return [Message("system", prompts.PRIMER), Message("user", f"{self.trigger}\n\n{text}")]

    def _context(self) -> int | None:
        model = self.connection.model
        return model.context_loaded or model.context

    async def _left(self, messages: Sequence[Message], context: int) -> int:
        return context - await self.connection.count_tokens(messages) - _MARGIN

    async def _room(self, messages: Sequence[Message]) -> int:
        """Return the tokens left for an answer; raise ContextOverflow if they are too few."""
        context = self._context()
        if context is None:
            return UNKNOWN_ROOM
        room = await self._left(messages, context)
        if room < LEAST_ANSWER:
            raise ContextOverflow(
                f"the model is loaded with a context of {context:,} tokens, which leaves "
                f"{max(room, 0):,} for the answer; a payload needs {LEAST_ANSWER:,} or more",
                hint=reload_hint(self.connection),
            )
        return room

    def _scarce(self, room: int) -> str:
        return (
            f"the loaded context leaves only {room:,} tokens for the answer, which is enough for "
            f"a small payload only. {reload_hint(self.connection)}"
        )

    async def _ask(
        self, messages: Sequence[Message], room: int, answer: _Answer
    ) -> AsyncGenerator[Step, None]:
        max_tokens = room if self.all_of_it else min(max(room // 2, LEAST_ANSWER), FIRST_ANSWER)
        yield Asked(self.round, max_tokens)
        progress = Progress()
        request = Ask(messages, max_tokens, 0.0, prompts.SCHEMA)
        try:
            async with aclosing(self.connection.stream(request)) as events:
                async for event in events:
                    if step := self._take(event, answer, progress):
                        yield step
                    if progress.closed and self.connection.enforces_schema:
                        return
        except ConnectionLost as lost:
            lost.text = lost.text or answer.reply
            raise

    def _take(self, event: Event, answer: _Answer, progress: Progress) -> Step | None:
        """Put an event into the answer; return what is to be shown of it."""
        if isinstance(event, Text):
            answer.text.append(event.text)
            progress.feed(event.text)
            return Streaming(progress, event.text)
        if isinstance(event, Thinking):
            answer.thinking.append(event.text)
            progress.think(event.text)
            return Streaming(progress, event.text, thinking=True)
        if isinstance(event, Notice):
            return Said(event.text)
        answer.finished = event
        return None

    def _next(self, verdict: Verdict, answer: _Answer) -> Repairing | Accepted | Refused:
        imports = tuple(note for note in verdict.notes if note.code == "import")
        if verdict.payload and not (imports and self.repairs_left and not self.fallback):
            return Accepted(verdict.payload, verdict, answer.reply)
        if verdict.payload:  # valid, but it could not run: one round for its imports
            self.fallback = Accepted(verdict.payload, verdict, answer.reply)
            self.repairs_left -= 1
            return Repairing(imports)
        if answer.cut_off and not self.all_of_it:
            self.all_of_it = True
            return Repairing(verdict.problems, longer=True)
        if self.fallback:
            return self.fallback
        if answer.cut_off or not self.repairs_left:
            return Refused(verdict, answer.reply)
        self.repairs_left -= 1
        return Repairing(verdict.problems)


async def bootstrap(
    connection: Connection,
    *,
    trigger: str = prompts.TRIGGER,
    repairs: int = REPAIR_ROUNDS,
    limits: Limits | None = None,
    mend: Refused | None = None,
) -> AsyncGenerator[Step, None]:
    """Ask for a payload and yield every step; the last is Accepted or Refused.

    With `mend`, the end of an earlier asking, the model is asked to mend that reply first.
    Closing the iterator cancels the request. ContextOverflow is raised before anything is sent.
    """
    handshake = _Handshake(connection, limits or Limits(), repairs, trigger)
    async with aclosing(handshake.run(mend)) as steps:
        async for step in steps:
            yield step


def reload_hint(connection: Connection) -> str:
    """Return how the user gives this model a larger context."""
    model = connection.model
    hints = {
        "lmstudio": f"Reload it with a larger one: lms load {model.id} --context-length 16384",
        "ollama": "Set OLLAMA_CONTEXT_LENGTH=16384 and start Ollama again.",
        "llamacpp": "Start llama-server with -c 16384.",
        "koboldcpp": "Start KoboldCpp with --contextsize 16384.",
        "vllm": "Start vLLM with --max-model-len 16384.",
    }
    return hints.get(model.kind, "Load the model with a larger context, for example 16384 tokens.")
