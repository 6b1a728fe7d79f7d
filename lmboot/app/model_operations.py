"""What a runtime may ask of the session's model, each time by a grant of the person's.

The model is the one that the user chose; an answer is data for the program, and nothing in it is
ever taken for a payload, a route or a command. All answers of a run share one budget of tokens.
Each run asks anew, once for each of these: they cost time and perhaps money, they change what the
user's own conversation holds, and a model that runs elsewhere takes the text off this machine.
To count tokens costs nothing and tells a number: nobody is asked for that.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any, ClassVar

from lmboot.bootstrap.progress import ThinkFilter
from lmboot.connections.interface import Ask, Connection, Message, Raw, Reloading
from lmboot.connections.interface import Text as Piece
from lmboot.errors import ConnectionFault, ServerRefused
from lmboot.runtime.asking import Question
from lmboot.runtime.operations import Argument, Context, Refused, Text, Whole
from lmboot.runtime.quota import Quota

RUN_TOKENS = 20_000  # of all answers of one run
MOST_TOKENS = 2048  # of one answer
INJECTED_BYTES = 16 << 10  # of one run, in the conversation with the user
MOST_NEXT = 20
PROMPT = Text(most=64 << 10)

Model = Callable[[], Connection | None]


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
    budget: Quota = field(default_factory=lambda: Quota(RUN_TOKENS))
    name: ClassVar[str] = "query_model"
    arguments: ClassVar[Mapping[str, Argument]] = {
        "prompt": PROMPT,
        "max_tokens": Whole(1, MOST_TOKENS, default=512),
    }
    cancellable: ClassVar[bool] = True

    async def perform(self, args: dict[str, Any], context: Context) -> dict[str, Any]:
        """Ask, and return the whole answer."""
        connection = _connected(self.model)
        self.budget.reserve(args["max_tokens"])
        context.commit()
        ask = Ask([Message("user", args["prompt"])], args["max_tokens"])
        try:
            return {"text": await _answer(connection, ask)}
        except ConnectionFault as fault:
            raise Refused("failed", str(fault)) from fault


async def _answer(connection: Connection, ask: Ask) -> str:
    thinking, pieces = ThinkFilter(), list[str]()
    async with aclosing(connection.stream(ask)) as events:
        async for event in events:
            if isinstance(event, Piece):
                pieces.append(thinking.feed(event.text))
    return "".join(pieces) + thinking.end()


@dataclass
class Tokenize:
    """How many tokens a text takes for the session's model: its own count, or an estimate."""

    model: Model
    name: ClassVar[str] = "tokenize"
    arguments: ClassVar[Mapping[str, Argument]] = {"text": PROMPT}
    emulates: ClassVar[bool] = False
    cancellable: ClassVar[bool] = True

    async def perform(self, args: dict[str, Any], context: Context) -> dict[str, int]:
        """Count them."""
        connection = _connected(self.model)
        return {"tokens": await connection.count_tokens([Message("user", args["text"])])}

    async def emulate(self, args: dict[str, Any]) -> Any:
        """Refuse: the broker is not asked for that."""
        raise Refused("denied", "tokenize is emulated by the guest's library")


@dataclass
class InjectPrompt(_OfTheModel):
    """A text for the user's own conversation: it goes along, marked, with what he says next."""

    model: Model
    add: Callable[[str], None]
    budget: Quota = field(default_factory=lambda: Quota(INJECTED_BYTES))
    name: ClassVar[str] = "inject_prompt"
    arguments: ClassVar[Mapping[str, Argument]] = {"text": Text()}
    cancellable: ClassVar[bool] = False

    async def perform(self, args: dict[str, Any], context: Context) -> dict[str, bool]:
        """Add it, where the user sees it."""
        _connected(self.model)
        self.budget.reserve(len(args["text"].encode(errors="replace")))
        context.commit()
        self.add(args["text"])
        return {"added": True}


@dataclass
class Logits(_OfTheModel):
    """The tokens that may follow a text, without a chat template, and how probable each is."""

    model: Model
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
            context.commit()
            try:
                found = await connection.next_tokens(args["text"], args["top"])
            except ConnectionFault as fault:
                raise Refused("failed", str(fault)) from fault
        if not found:
            raise Refused("unavailable", "this session's model server does not tell probabilities")
        return {"tokens": [{"text": each.text, "probability": each.probability} for each in found]}


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
