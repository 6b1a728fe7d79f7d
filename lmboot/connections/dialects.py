"""What each kind of server can be asked, and how the request is written; pure.

Every server here speaks OpenAI's chat completions; they differ in what they refuse. `json_object`
is sent to none: LM Studio answers it with an error, and it constrains too little anyway.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence, Set
from dataclasses import dataclass
from typing import Any, Literal

from lmboot.connections.interface import Ask, Kind, Message, Model

Step = Literal["schema", "system", "extras"]
"""What a request can go without when a server refuses it."""

_SMALLEST_RELOAD_TOKENS = 8_192  # primer, trigger and a payload of ordinary size
_BYTES_PER_TOKEN = 3  # English has 4, code and other scripts fewer: rather too many than too few
_TOKENS_PER_MESSAGE = 8  # the template's marks around a turn


@dataclass(frozen=True, slots=True)
class Dialect:
    """One kind of server; `remedy` says how to give a model the context `{tokens}`."""

    label: str
    remedy: str
    sends_schema: bool = True
    enforces_schema: bool = False
    streams: bool = True
    counts_usage: bool = True


_LLAMACPP = Dialect(
    "llama.cpp", "Start llama-server again with `-c {tokens}`.", enforces_schema=True
)
_OWN_ENGINE = Dialect(
    "llama.cpp", "Start it with a context of {tokens} tokens.", enforces_schema=True
)

DIALECTS: dict[Kind, Dialect] = {
    "lmstudio": Dialect(
        "LM Studio",
        "Reload it with `lms load {model} --context-length {tokens}`, or set its context length"
        " in LM Studio's window.",
        enforces_schema=True,
    ),
    "ollama": Dialect(
        "Ollama",
        "Start Ollama again with OLLAMA_CONTEXT_LENGTH={tokens} in its environment.",
        enforces_schema=True,
    ),
    "llamacpp": _LLAMACPP,
    "koboldcpp": Dialect(
        "KoboldCpp",
        "Start KoboldCpp again with `--contextsize {tokens}`.",
        sends_schema=False,
        counts_usage=False,
    ),
    "jan": Dialect("Jan", "Set a context size of {tokens} in the model's settings in Jan."),
    "vllm": Dialect(
        "vLLM", "Start vLLM again with `--max-model-len {tokens}`.", enforces_schema=True
    ),
    "gpt4all": Dialect(
        "GPT4All",
        "Set a context length of {tokens} in the model's settings in GPT4All.",
        sends_schema=False,
        streams=False,
        counts_usage=False,
    ),
    "openai": Dialect("the server", "Load the model with a context of {tokens} tokens."),
    "file": _OWN_ENGINE,
    "seed": _OWN_ENGINE,
}


def request_body(ask: Ask, *, model: Model, without: Set[Step] = frozenset()) -> dict[str, Any]:
    """Return the chat request, as far as the server can take it and `without` what it refused."""
    dialect = DIALECTS[model.kind]
    messages = merge_system(ask.messages) if "system" in without else ask.messages
    body: dict[str, Any] = {
        "model": model.id,
        "messages": as_dicts(messages),
        "max_tokens": ask.max_tokens,
        "temperature": ask.temperature,
    }
    if dialect.streams and "extras" not in without:
        body["stream"] = True
        if dialect.counts_usage:
            body["stream_options"] = {"include_usage": True}
    if sends_schema(ask, model=model, without=without):
        described = {"name": "payload", "strict": True, "schema": ask.schema}
        body["response_format"] = {"type": "json_schema", "json_schema": described}
    return body


def sends_schema(ask: Ask, *, model: Model, without: Set[Step]) -> bool:
    """Say whether the request carries the schema."""
    refused = "schema" in without or "extras" in without
    return ask.schema is not None and DIALECTS[model.kind].sends_schema and not refused


def as_dicts(messages: Sequence[Message]) -> list[dict[str, str]]:
    """Return messages as the API has them."""
    return [{"role": message.role, "content": message.text} for message in messages]


def merge_system(messages: Sequence[Message]) -> list[Message]:
    """Return the conversation with its system text at the head of the first user turn."""
    system = "\n\n".join(message.text for message in messages if message.role == "system")
    turns = [message for message in messages if message.role != "system"]
    if not system:
        return turns
    for place, turn in enumerate(turns):
        if turn.role == "user":
            turns[place] = Message("user", f"{system}\n\n{turn.text}")
            return turns
    return [Message("user", system), *turns]


def estimate_tokens(messages: Sequence[Message]) -> int:
    """Return about how many tokens a prompt takes, rather too many than too few."""
    sizes = (len(message.text.encode("utf-8", "replace")) for message in messages)
    return sum(-(-size // _BYTES_PER_TOKEN) + _TOKENS_PER_MESSAGE for size in sizes)


def remedy(model: Model, tokens: int = 0) -> str:
    """Say how to load this model with room for `tokens`, in this server's own words."""
    wanted = _SMALLEST_RELOAD_TOKENS
    while wanted < tokens:
        wanted *= 2
    return DIALECTS[model.kind].remedy.format(model=shlex.quote(model.id), tokens=wanted)


def context_warning(model: Model, *, prompt_tokens: int, max_tokens: int) -> str | None:
    """Say, before sending, that the loaded context is too small, and what to do; None if it isn't.

    Nothing is said where the loaded context is unknown.
    """
    loaded = model.context_loaded
    needed = prompt_tokens + max_tokens
    if loaded is None or needed <= loaded:
        return None
    holds = f"{model.name} is loaded with a context of {loaded:,} tokens"
    if prompt_tokens >= loaded:
        return f"{holds}; the prompt alone takes about {prompt_tokens:,}. {remedy(model, needed)}"
    return (
        f"{holds}; after a prompt of about {prompt_tokens:,} an answer of {max_tokens:,} may be"
        f" cut off. {remedy(model, needed)}"
    )


def same_model(asked: str, answered: str) -> bool:
    """Say whether two names mean one model: an alias, a path, an instance or a tag of it."""
    ours, theirs = _name_parts(asked), _name_parts(answered)
    shared = min(len(ours), len(theirs))
    return not ours or not theirs or ours[-shared:] == theirs[-shared:]


def _name_parts(name: str) -> list[str]:
    parts = [part for part in name.strip().casefold().replace("\\", "/").split("/") if part]
    if not parts:
        return []
    last = parts[-1].partition("@")[0].removesuffix(".gguf")
    stem, _, suffix = last.rpartition(":")
    # LM Studio numbers the instances of a model, Ollama calls an untagged one `latest`.
    parts[-1] = stem if stem and (suffix.isdecimal() or suffix == "latest") else last
    return parts
