"""Which models there are, and how one is opened: servers that run, files, the seed model."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from lmboot.app.view import Chooser, Says
from lmboot.assets import asset
from lmboot.bootstrap import prompts
from lmboot.connections.addresses import named_server
from lmboot.connections.engine import Engine
from lmboot.connections.interface import Ask, Connection, Event, Message, Model, Notice
from lmboot.connections.listing import Server, find_model, list_models
from lmboot.connections.openai_http import OpenAIConnection
from lmboot.connections.servers import discover, identify
from lmboot.connections.tokens import remember, token_for
from lmboot.errors import (
    ConnectionFault,
    ConnectionLost,
    FileUnreadable,
    LmbootError,
    NoServer,
    NoSuchModel,
    NothingLoaded,
    TokenRefused,
    UsageFault,
)
from lmboot.gguf import read_header
from lmboot.text import brief

SEED = "seed"
TOKEN_NAMES = ("LLM_API_KEY", "LM_API_TOKEN")


@dataclass(slots=True)
class Found:
    """What a look around found: the models, each server's token, what went wrong.

    `locked` are the servers that were found and want a token, or another one.
    """

    models: list[Model] = field(default_factory=list)
    tokens: dict[str, str | None] = field(default_factory=dict)
    locked: dict[str, TokenRefused] = field(default_factory=dict)
    complaints: list[LmbootError] = field(default_factory=list)


async def look_around(server: str | None, environ: Mapping[str, str] = os.environ) -> Found:
    """Return every model of the named server, else of every server that runs here, and the seed.

    A named server that fails raises; one that was only found is a complaint.
    """
    base = named_server(server, environ)
    found = Found()
    if base is not None:
        await _list_named(base, environ, found)
    else:
        servers = await discover()
        await asyncio.gather(*(_list_found(each, found) for each in servers))
        order = {each.base: place for place, each in enumerate(servers)}
        found.models.sort(key=lambda model: order[model.server])
    if server is None:
        found.models.append(seed_row())
    return found


async def _list_named(base: str, environ: Mapping[str, str], found: Found) -> None:
    """List the server that the user named, with the environment's token, else the one kept."""
    try:
        server = await identify(base, environ.get("LLM_API_KEY", "").strip() or None)
        token = None
        if any(environ.get(name) for name in TOKEN_NAMES):  # else the keyring, if it is wanted
            token = await asyncio.to_thread(
                token_for, base, named=True, kind=server.kind, environ=environ
            )
        found.models += await _list(server, token, found)
    except TokenRefused:
        kept = await asyncio.to_thread(token_for, base, named=False)
        if kept is None:
            raise
        found.models += await _list(await identify(base, kept), kept, found)


async def _list(server: Server, token: str | None, found: Found) -> list[Model]:
    models = await list_models(server, token)
    found.tokens[server.base] = token
    return models


async def _list_found(server: Server, found: Found) -> None:
    """List a server that nobody named: it gets a token only if one was kept for it."""
    try:
        try:
            found.models += await _list(server, None, found)
        except TokenRefused:
            token = await asyncio.to_thread(token_for, server.base, named=False)
            if token is None:
                raise
            found.models += await _list(server, token, found)
    except ConnectionFault as error:
        found.complaints.append(error)
        if isinstance(error, TokenRefused):
            found.locked[server.base] = error


def seed_row() -> Model:
    """Return the row of the seed model."""
    return replace(
        _row(asset("seed/seed.gguf")), id=SEED, name="seed model", server="", kind="seed"
    )


def file_row(path: Path) -> Model:
    """Return the row of a file by its header; its name must be a text, or nothing can show it."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        raise FileUnreadable(
            f"the name of {brief(str(path))} is not valid Unicode; llama.cpp can't open it",
            hint="Rename it.",
        ) from None
    return _row(path)


def _row(path: Path) -> Model:
    header = read_header(path)
    return Model(
        id=str(path),
        name=header.name or path.stem,
        server=str(path),
        kind="file",
        state="available",
        context=header.context_length,
        quantization=header.quantization,
        architecture=header.architecture,
        size_bytes=header.size_bytes,
    )


def is_file(choice: str) -> bool:
    """Say whether a choice names a file, not a server's model."""
    return choice.lower().endswith((".gguf", ".4dllm")) or os.path.isabs(choice)


async def choose(
    choice: str | None,
    server: str | None,
    ask: Chooser | None = None,
    environ: Mapping[str, str] = os.environ,
) -> tuple[Model, str | None]:
    """Return the model to open and its server's token.

    Without a choice it is LLM_MODEL, else the user's pick; with nobody to ask, the one that is
    loaded, else the only one there is.
    """
    choice = choice or environ.get("LLM_MODEL") or None
    if choice == SEED:
        return seed_row(), None
    if choice and choice.lower().endswith(".4dllm"):
        raise UsageFault(
            "this version of lmboot can't open .4dllm packages yet",
            hint="Give it a .gguf file or a server's model.",
        )
    if choice and is_file(choice):
        return await asyncio.to_thread(file_row, Path(choice)), None
    found = await _look_around_asking(server, ask, environ)
    served = [model for model in found.models if model.kind != "seed"]
    if ask is not None and choice is None and found.models:
        model = await ask.pick(found.models)
    elif not served:
        raise _nothing_served(found, named_server(server, environ))
    else:
        model = find_model(served, choice) if choice else _obvious(served)
    return model, found.tokens.get(model.server)


async def _look_around_asking(
    server: str | None, ask: Chooser | None, environ: Mapping[str, str]
) -> Found:
    """Look around; where the named server wants a token, ask for it right there."""
    while True:
        try:
            return await look_around(server, environ)
        except TokenRefused:
            base = named_server(server, environ)
            if ask is None or base is None:
                raise
            token = await ask.token(base)
            if not token:
                raise
            if await asyncio.to_thread(remember, base, token) == "session":
                ask.note("this system has no keyring: the token is kept for this session only")
            environ = {name: environ[name] for name in environ if name not in TOKEN_NAMES}


def _nothing_served(found: Found, server: str | None) -> LmbootError:
    if found.complaints:
        return found.complaints[0]
    if server is not None:
        return NothingLoaded(
            f"the server at {server} lists no models",
            hint="Download or load one there, then try again.",
        )
    return NoServer(
        "no model server was found on this machine",
        hint="Start LM Studio's server (Developer tab, or `lms server start`), name one with "
        "--server URL, or try the built-in demonstration: --model seed",
    )


def _obvious(models: list[Model]) -> Model:
    loaded = [model for model in models if model.state == "loaded"]
    for only in (loaded, models):
        if len(only) == 1:
            return only[0]
    listed = ", ".join(model.id for model in models[:20])
    raise NoSuchModel(
        "more than one model is there; say which", hint=f"Use --model with one of: {listed}"
    )


async def open_model(model: Model, token: str | None, *, context: int, says: Says) -> Connection:
    """Open a connection to a model; a file and the seed model get an engine of their own."""
    if model.kind not in ("file", "seed"):
        return OpenAIConnection(model, token)
    path = asset("seed/seed.gguf") if model.kind == "seed" else Path(model.server)
    says.status(f"loading {model.name}")
    context = min(model.context or context, context)
    start = partial(Engine.start, path, alias=model.id, context=context)
    engine = await start()
    says.note(f"{model.name} loaded in {engine.load_seconds:.1f} s")
    loaded = replace(model, state="loaded", context_loaded=context)
    return EngineConnection(loaded, engine, start)


async def warm(connection: Connection) -> None:
    """Read the primer into a loaded model's cache, so that Bootstrap answers at once."""
    messages = [Message("system", prompts.PRIMER), Message("user", prompts.TRIGGER)]
    await connection.warm(messages)


class EngineConnection(OpenAIConnection):
    """A connection that owns the engine behind it: closing it ends the engine."""

    def __init__(
        self, model: Model, engine: Engine, start: Callable[[], Awaitable[Engine]]
    ) -> None:
        """Connect to an engine that runs; `start` makes another one if it dies."""
        super().__init__(model, engine.api_key, base=engine.url)
        self._engine, self._start = engine, start
        self._failed = False  # whether it was told that the engine died

    @property
    def died(self) -> bool:
        """Say whether the engine has ended by itself."""
        return self._engine.fault is not None

    async def stream(self, ask: Ask) -> AsyncGenerator[Event, None]:
        """Ask as any connection does; an engine that died fails one question, then is replaced."""
        if self._failed:
            yield Notice("the engine had died; it is started anew")
            await self._restart()
        try:
            async with aclosing(super().stream(ask)) as events:
                async for event in events:
                    yield event
        except (ConnectionLost, NoServer) as error:
            if self._engine.fault is None:
                raise
            self._failed = True
            raise self._engine.fault from error

    async def reload(self) -> None:
        """Load the model anew, in an engine of its own; nothing is answered meanwhile."""
        self._check_idle()
        await self._restart()

    async def _restart(self) -> None:
        await self._engine.stop()
        self._engine, self._failed = await self._start(), False
        await self.move(self._engine.url, self._engine.api_key)

    async def close(self) -> None:
        """Release the sockets and end the engine."""
        await super().close()
        await self._engine.stop()
