"""What a runtime may ask of the session's model, each time by a grant of the person's.

The model is the one that the user chose; an answer is data for the program, and nothing in it is
ever taken for a payload, a route or a command. They cost time and perhaps money, they change what
the user's own conversation holds, and what takes a text to the model's server may take it off this
machine: so does the counting of tokens, which needs the grant of asking the model.

All of a run share one account of tokens, prompts and answers alike. What a request may use is
taken before it is sent; afterwards it has cost what the server says, or else an estimate. What
the server did not take costs nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any, ClassVar

from lmboot.bootstrap.progress import ThinkFilter
from lmboot.connections.dialects import estimate_tokens
from lmboot.connections.interface import (
    Ask,
    Connection,
    Event,
    Finished,
    Message,
    NextToken,
    Raw,
    Reloading,
    Thinking,
)
from lmboot.connections.interface import Text as Piece
from lmboot.errors import ConnectionFault, ServerRefused
from lmboot.runtime.asking import Question
from lmboot.runtime.operations import Argument, Context, Operation, Refused, Text, Whole
from lmboot.runtime.quota import Quota

RUN_TOKENS = 20_000  # of all prompts and answers of one run
MOST_TOKENS = 2048  # of one answer
INJECTED_BYTES = 16 << 10  # of one run, in the conversation with the user
MOST_NEXT = 20
PROMPT = Text(most=64 << 10)

Model = Callable[[], Connection | None]


def of_the_model(model: Model, inject: Callable[[str], None]) -> list[Operation]:
    """Return all operations on a session's model, with one account for them."""
    account = Quota(RUN_TOKENS)
    return [
        QueryModel(model, account),
        InjectPrompt(model, inject, account),
        Tokenize(model, account),
        Logits(model, account),
        ReloadModel(model),
    ]


def _connected(model: Model) -> Connection:
    connection = model()
    if connection is None:
        raise Refused("unavailable", "there is no model in this session")
    return connection


class _OfTheModel:
    """What these operations share: a grant by their own name, and the guest's library emulates."""

    name: ClassVar[str]
    emulates: ClassVar[bool] = False
    model: Model

    def needs(self, args: dict[str, Any]) -> Question | None:
        """Ask for the operation as a whole; without a model nobody is asked."""
        _connected(self.model)
        return Question(self.name)

    async def emulate(self, args: dict[str, Any]) -> Any:
        """Refuse: the broker is not asked for that."""
        raise Refused("denied", f"{self.name} is emulated by the guest's library")


@dataclass
class QueryModel(_OfTheModel):
    """An answer of the session's model to one prompt, without the conversation around it."""

    model: Model
    account: Quota
    name: ClassVar[str] = "query_model"
    arguments: ClassVar[Mapping[str, Argument]] = {
        "prompt": PROMPT,
        "max_tokens": Whole(1, MOST_TOKENS, default=512),
    }
    cancellable: ClassVar[bool] = True

    async def perform(self, args: dict[str, Any], context: Context) -> dict[str, Any]:
        """Ask, and return the whole answer."""
        connection = _connected(self.model)
        ask = Ask([Message("user", args["prompt"])], args["max_tokens"])
        answer = _Answer(estimate_tokens(ask.messages))
        with self.account.spending(answer.prompt_tokens + ask.max_tokens) as spent:
            context.commit()
            try:
                await answer.come(connection, ask)
            except ConnectionFault as fault:
                raise Refused("failed", str(fault)) from fault
            finally:
                spent.used = answer.tokens
        return {"text": answer.text}


class _Answer:
    """What has come of an answer, and what it has cost so far."""

    def __init__(self, prompt_tokens: int) -> None:
        """Begin with what the prompt is estimated to take."""
        self.prompt_tokens = prompt_tokens
        self._filter, self._pieces = ThinkFilter(), list[str]()
        self._all = list[str]()  # thinking too: it costs as much
        self._finished: Finished | None = None
        self._refused = False

    async def come(self, connection: Connection, ask: Ask) -> None:
        """Take all of it."""
        try:
            async with aclosing(connection.stream(ask)) as events:
                async for event in events:
                    self._take(event)
        except ConnectionFault:
            self._refused = not self._all
            raise

    def _take(self, event: Event) -> None:
        if isinstance(event, Piece | Thinking):
            self._all.append(event.text)
        if isinstance(event, Piece):
            self._pieces.append(self._filter.feed(event.text))
        elif isinstance(event, Finished):
            self._finished = event

    @property
    def text(self) -> str:
        """Return it without its thinking; once only."""
        return "".join(self._pieces) + self._filter.end()

    @property
    def tokens(self) -> int:
        """Return what it has cost: by the server's count where there is one."""
        if self._refused:
            return 0
        told = self._finished or Finished("")
        come = estimate_tokens([Message("assistant", "".join(self._all))]) if self._all else 0
        return (told.prompt_tokens or self.prompt_tokens) + (told.answer_tokens or come)


@dataclass
class Tokenize(_OfTheModel):
    """How many tokens a text takes for the session's model: its own count, or an estimate."""

    model: Model
    account: Quota
    name: ClassVar[str] = "tokenize"
    arguments: ClassVar[Mapping[str, Argument]] = {"text": PROMPT}
    cancellable: ClassVar[bool] = True

    async def perform(self, args: dict[str, Any], context: Context) -> dict[str, int]:
        """Count them."""
        connection = _connected(self.model)
        messages = [Message("user", args["text"])]
        most = estimate_tokens(messages)
        with self.account.spending(most) as spent:
            context.commit()
            spent.used = most
            spent.used = await connection.count_tokens(messages)
            return {"tokens": spent.used}


@dataclass
class InjectPrompt(_OfTheModel):
    """A text for the user's own conversation: it goes along, marked, with what he says next."""

    model: Model
    add: Callable[[str], None]
    account: Quota
    room: Quota = field(default_factory=lambda: Quota(INJECTED_BYTES))
    name: ClassVar[str] = "inject_prompt"
    arguments: ClassVar[Mapping[str, Argument]] = {"text": Text()}
    cancellable: ClassVar[bool] = False

    async def perform(self, args: dict[str, Any], context: Context) -> dict[str, bool]:
        """Add it, where the user sees it."""
        _connected(self.model)
        size = len(args["text"].encode(errors="replace"))
        tokens = estimate_tokens([Message("user", args["text"])])
        with self.account.spending(tokens) as spent, self.room.spending(size) as filled:
            context.commit()
            spent.used, filled.used = tokens, size
            self.add(args["text"])
        return {"added": True}


@dataclass
class Logits(_OfTheModel):
    """The tokens that may follow a text, without a chat template, and how probable each is."""

    model: Model
    account: Quota
    name: ClassVar[str] = "logits"
    arguments: ClassVar[Mapping[str, Argument]] = {
        "text": PROMPT,
        "top": Whole(1, MOST_NEXT, default=10),
    }
    cancellable: ClassVar[bool] = True

    async def perform(self, args: dict[str, Any], context: Context) -> dict[str, Any]:
        """Ask for one token, and tell what it was chosen from."""
        connection = _connected(self.model)
        found = []
        if isinstance(connection, Raw):
            found = await self._next(connection, args, context)
        if not found:
            raise Refused("unavailable", "this session's model server does not tell probabilities")
        return {"tokens": [{"text": each.text, "probability": each.probability} for each in found]}

    async def _next(
        self, connection: Raw, args: dict[str, Any], context: Context
    ) -> list[NextToken]:
        most = estimate_tokens([Message("user", args["text"])]) + 1
        with self.account.spending(most) as spent:
            context.commit()
            spent.used = most
            try:
                return await connection.next_tokens(args["text"], args["top"])
            except ConnectionFault as fault:
                spent.used = 0
                raise Refused("failed", str(fault)) from fault


@dataclass
class ReloadModel(_OfTheModel):
    """The session's model, loaded anew."""

    model: Model
    name: ClassVar[str] = "reload_model"
    arguments: ClassVar[Mapping[str, Argument]] = {}
    cancellable: ClassVar[bool] = False

    async def perform(self, args: dict[str, Any], context: Context) -> dict[str, bool]:
        """Load it anew; return once it answers again."""
        connection = _connected(self.model)
        if not isinstance(connection, Reloading):
            raise Refused("unavailable", "this session's model can't be loaded anew")
        context.commit()
        try:
            await connection.reload()
        except ServerRefused as fault:
            raise Refused("unavailable", str(fault)) from fault
        except ConnectionFault as fault:
            raise Refused("failed", str(fault)) from fault
        return {"reloaded": True}
