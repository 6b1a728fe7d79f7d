"""What a runtime may ask of the session's model: an answer, and how many tokens a text takes.

The model is the one that the user chose; an answer is data for the program, and nothing in it is
ever taken for a payload, a route or a command. All answers of a run share one budget of tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any, ClassVar

from lmboot.bootstrap.progress import ThinkFilter
from lmboot.connections.interface import Ask, Connection, Message
from lmboot.connections.interface import Text as Piece
from lmboot.errors import ConnectionFault
from lmboot.runtime.operations import Argument, Context, Refused, Text, Whole
from lmboot.runtime.quota import Quota

RUN_TOKENS = 20_000  # of all answers of one run
MOST_TOKENS = 2048  # of one answer
PROMPT = Text(most=64 << 10)

Model = Callable[[], Connection | None]


def _connected(model: Model) -> Connection:
    connection = model()
    if connection is None:
        raise Refused("unavailable", "there is no model in this session")
    return connection


@dataclass
class QueryModel:
    """An answer of the session's model to one prompt, without the conversation around it."""

    model: Model
    budget: Quota = field(default_factory=lambda: Quota(RUN_TOKENS))
    name: ClassVar[str] = "query_model"
    arguments: ClassVar[Mapping[str, Argument]] = {
        "prompt": PROMPT,
        "max_tokens": Whole(1, MOST_TOKENS, default=512),
    }
    emulates: ClassVar[bool] = False
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

    async def emulate(self, args: dict[str, Any]) -> Any:
        """Refuse: nobody can stand in for a model."""
        raise Refused("denied", "query_model is not emulated")


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
        """Refuse: nobody can stand in for a model."""
        raise Refused("denied", "tokenize is not emulated")
