"""What every model looks like to the rest of lmboot, whichever server or engine is behind it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, runtime_checkable

Kind = Literal[
    "lmstudio",
    "ollama",
    "llamacpp",
    "koboldcpp",
    "jan",
    "vllm",
    "gpt4all",
    "openai",
    "file",
    "seed",
]
State = Literal["loaded", "available", "unknown"]


@dataclass(frozen=True, slots=True)
class Model:
    """One row of a model list; None where the server does not say.

    `context` is the loaded context in tokens, else the model's maximum; `context_loaded` is the
    loaded one only. `server` is the base address without `/v1`, a path for a file.
    """

    id: str
    name: str
    server: str
    kind: Kind
    state: State = "unknown"
    context: int | None = None
    quantization: str | None = None
    architecture: str | None = None
    size_bytes: int | None = None
    context_loaded: int | None = None


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation."""

    role: Literal["system", "user", "assistant"]
    text: str


@dataclass(frozen=True, slots=True)
class Ask:
    """One question to a model; `schema` is a JSON Schema that the answer should obey.

    `max_tokens` counts thinking too. The connection leaves out what its server can't take.
    """

    messages: Sequence[Message]
    max_tokens: int
    temperature: float = 0.0
    schema: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Text:
    """A piece of the answer, to be joined as it is."""

    text: str


@dataclass(frozen=True, slots=True)
class Thinking:
    """A piece of the model's thinking from a field of its own (`reasoning_content`, `reasoning`).

    Thinking inside the content (`<think>`) is not told apart here but where a reply is judged.
    """

    text: str


@dataclass(frozen=True, slots=True)
class Notice:
    """Something the user should know about this answer: a fall-back, another model answering."""

    text: str


@dataclass(frozen=True, slots=True)
class Finished:
    """The answer is whole as far as the server is concerned; always the last event.

    `reason` is the server's finish reason (`stop`, `length`, ...). Token counts are the server's,
    None where it gives none. `schema_enforced` says whether the schema really constrained it.
    """

    reason: str
    prompt_tokens: int | None = None
    answer_tokens: int | None = None
    model: str | None = None
    schema_enforced: bool = False


Event = Text | Thinking | Notice | Finished


class Connection(Protocol):
    """lmboot's end of one model. Closing the iterator of `stream` closes the socket.

    `model` is the row that was chosen. `local` is False when the server is another machine.
    Every failure is a `ConnectionFault`.
    """

    @property
    def model(self) -> Model:
        """Return the row of the model list that this connection was opened for."""
        ...

    @property
    def local(self) -> bool:
        """Say whether the server runs on this machine."""
        ...

    @property
    def enforces_schema(self) -> bool:
        """Say whether `Ask.schema` will constrain the answer, as far as is known."""
        ...

    def stream(self, ask: Ask) -> AsyncGenerator[Event, None]:
        """Ask, and yield what comes until `Finished`; raise ConnectionLost if it does not come."""
        ...

    async def count_tokens(self, messages: Sequence[Message]) -> int:
        """Return how many tokens a prompt takes: exact where the server tells, else estimated."""
        ...

    async def warm(self, messages: Sequence[Message]) -> None:
        """Read a prompt's beginning into the cache; never makes a server load or evict a model."""
        ...

    async def close(self) -> None:
        """Release the sockets, and stop the engine if this connection owns one."""
        ...


@dataclass(frozen=True, slots=True)
class NextToken:
    """One token that may come next, and how probable it is: from 0 to 1."""

    text: str
    probability: float


@runtime_checkable
class Raw(Protocol):
    """A connection that can show what is beneath an answer; failures are ConnectionFaults."""

    async def next_tokens(self, text: str, most: int) -> list[NextToken]:
        """Return what may follow a text, the most probable first, without a chat template.

        Nothing where the server does not tell.
        """
        ...


@runtime_checkable
class Reloading(Protocol):
    """A connection that can have its model loaded anew; failures are ConnectionFaults."""

    async def reload(self) -> None:
        """Load the model anew with the context it had, and return when it answers.

        ServerRefused where the server can't be told to, or the model is answering.
        """
        ...
