"""The one client for every server that speaks OpenAI's chat completions over HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from typing import Any

import httpx

from lmboot.connections.addresses import is_local
from lmboot.connections.answers import AnswerReader
from lmboot.connections.dialects import (
    DIALECTS,
    Step,
    as_dicts,
    context_warning,
    estimate_tokens,
    remedy,
    request_body,
    sends_schema,
)
from lmboot.connections.fields import count, mapping, rows
from lmboot.connections.interface import (
    Ask,
    Event,
    Message,
    Model,
    NextToken,
    Notice,
    Text,
    Thinking,
)
from lmboot.connections.listing import Server, list_models
from lmboot.connections.probabilities import next_tokens_in
from lmboot.connections.refusals import ServerSaid, fault_of, report_of_body, step_down
from lmboot.connections.reloading import reload_in_lmstudio
from lmboot.connections.transport import (
    FOREIGN,
    encoded,
    fault_of_transport,
    fetch,
    open_client,
    read_at_most,
)
from lmboot.errors import ConnectionFault, ServerRefused

AFTER_FINISH_SECONDS = 5.0  # for the count of tokens; KoboldCpp sends none and no [DONE]
_COUNT_SECONDS = 5.0
_ONE_SECONDS = 60.0  # for one token after a prompt that has to be read first
_MAX_ERROR_BYTES = 64 << 10

_SAID: dict[Step, str] = {
    "schema": "the server refused the JSON schema; asked again without it",
    "system": "the model's template has no system role; its text was put before the first message",
    "extras": "the server can't stream; asked again for the whole answer at once",
}


class OpenAIConnection:
    """A `Connection` to one model of one server.

    `base` is where the server is, if the row does not say (a file's row has a path there).
    What a server refused once is left out of later requests too.
    """

    def __init__(self, model: Model, token: str | None = None, *, base: str | None = None) -> None:
        self._model = model
        self._base = base or model.server
        self._token = token
        self._local = is_local(self._base)
        self._without: set[Step] = set()
        self._asking = 0
        self._client = open_client(self._base, token)

    @property
    def model(self) -> Model:
        """Return the row of the model list that this connection was opened for."""
        return self._model

    @property
    def local(self) -> bool:
        """Say whether the server runs on this machine."""
        return self._local

    @property
    def enforces_schema(self) -> bool:
        """Say whether `Ask.schema` will constrain the answer, as far as is known."""
        return DIALECTS[self._model.kind].enforces_schema and not self._without & {
            "schema",
            "extras",
        }

    async def stream(self, ask: Ask) -> AsyncGenerator[Event, None]:
        """Ask, and yield what comes until `Finished`; leaving it closes the socket.

        What the server refuses before the first content is left out, once each, and said.
        """
        async with self._exchange():
            warning = await self._warning(ask)
            if warning is not None:
                yield Notice(warning)
            async with aclosing(self._climb_down(ask)) as events:
                async for event in events:
                    yield event

    async def count_tokens(self, messages: Sequence[Message]) -> int:
        """Return how many tokens a prompt takes: llama.cpp's own count, elsewhere an estimate."""
        if DIALECTS[self._model.kind].label == "llama.cpp":
            try:
                async with self._exchange():
                    exact = await self._counted(messages) or await self._tokenized(messages)
            except ConnectionFault:
                exact = None
            if exact is not None:
                return exact
        return estimate_tokens(messages)

    async def warm(self, messages: Sequence[Message]) -> None:
        """Read a prompt's beginning into the cache, where the model is loaded and idle."""
        try:
            if not self._asking:
                async with self._exchange():
                    await self._read_ahead(messages)
        except (ConnectionFault, ServerSaid):
            return

    async def next_tokens(self, text: str, most: int) -> list[NextToken]:
        """Return what may follow a text, the most probable first; nothing if that is not told."""
        native = DIALECTS[self._model.kind].label == "llama.cpp"
        body: dict[str, Any] = {"prompt": text, "temperature": 0}
        if native:
            path, more = "/completion", {"n_predict": 1, "n_probs": most}
        else:
            path, more = "/v1/completions", {"max_tokens": 1, "logprobs": most}
            body["model"] = self._model.id
        async with self._exchange():
            reply = await fetch(self._client, "POST", path, body=body | more, seconds=_ONE_SECONDS)
        return next_tokens_in(reply.json, most) if reply.status == 200 else []

    async def reload(self) -> None:
        """Have LM Studio load the model anew; ServerRefused for every other server."""
        self._check_idle()
        if self._model.kind != "lmstudio":
            label = DIALECTS[self._model.kind].label
            raise ServerRefused(
                f"{label} can't be told to load a model anew", hint=remedy(self._model)
            )
        async with self._exchange():
            self._model = await reload_in_lmstudio(self._client, self._model, self._token)

    def _check_idle(self) -> None:
        if self._asking:
            raise ServerRefused("the model is answering", hint="Wait until it has ended.")

    async def move(self, base: str, token: str | None) -> None:
        """Go on asking at another address: the server was started anew."""
        client, self._base, self._token = self._client, base, token
        self._client = open_client(base, token)
        await client.aclose()

    async def close(self) -> None:
        """Release the sockets."""
        await self._client.aclose()

    @asynccontextmanager
    async def _exchange(self) -> AsyncGenerator[None, None]:
        """Count what is going on; drop the sockets when the only exchange is cancelled.

        A request that is cancelled while it begins or ends can keep its socket and its place in
        httpx's pool for good, and without a place every later request would wait for ever.
        """
        self._asking += 1
        try:
            yield
        except asyncio.CancelledError:
            if self._asking == 1:  # else another answer comes through the same pool
                client, self._client = self._client, open_client(self._base, self._token)
                await client.aclose()
            raise
        finally:
            self._asking -= 1

    # ------------------------------------------------------------------ asking

    async def _warning(self, ask: Ask) -> str | None:
        """Say that the loaded context is too small; counted only where the estimate is over."""
        guess = estimate_tokens(ask.messages)
        if not context_warning(self._model, prompt_tokens=guess, max_tokens=ask.max_tokens):
            return None
        counted = await self.count_tokens(ask.messages)
        return context_warning(self._model, prompt_tokens=counted, max_tokens=ask.max_tokens)

    async def _climb_down(self, ask: Ask) -> AsyncGenerator[Event, None]:
        while True:
            content_came = False
            try:
                async with aclosing(self._attempt(ask)) as events:
                    async for event in events:
                        content_came = content_came or isinstance(event, Text | Thinking)
                        yield event
            except ServerSaid as error:
                refused = error
            else:
                return
            step = None if content_came else self._next_step(refused, ask)
            if step is None:
                raise self._fault(refused, ask)
            self._without.add(step)
            yield Notice(f"{_SAID[step]} ({refused.report.said})")

    def _next_step(self, refused: ServerSaid, ask: Ask) -> Step | None:
        step = step_down(
            refused.report,
            sent_schema=sends_schema(ask, model=self._model, without=self._without),
            sent_system="system" not in self._without
            and any(message.role == "system" for message in ask.messages),
        )
        return None if step in self._without else step

    def _fault(self, refused: ServerSaid, ask: Ask) -> ConnectionFault:
        needed = estimate_tokens(ask.messages) + ask.max_tokens
        return fault_of(refused.report, self._model, needed_tokens=needed)

    async def _attempt(self, ask: Ask) -> AsyncGenerator[Event, None]:
        """Send one request and yield its answer; ServerSaid where the server reports an error."""
        body = request_body(ask, model=self._model, without=self._without)
        reader = AnswerReader(self._expected_name(), secret=self._token)
        async with aclosing(self._received(body, reader)) as chunks:
            async for chunk in chunks:
                for event in reader.feed(chunk):
                    yield event
                if reader.answer.over:
                    break
        enforced = "response_format" in body and self.enforces_schema
        for event in reader.close(schema_enforced=enforced):
            yield event

    def _expected_name(self) -> str | None:
        """Return the name that the answer should bear; our own engine's is no matter."""
        return None if self._model.kind in ("file", "seed") else self._model.id

    async def _received(
        self, body: dict[str, Any], reader: AnswerReader
    ) -> AsyncGenerator[bytes, None]:
        """Yield the bytes of an answer; a break after the answer is whole counts as its end."""
        request = self._client.stream(
            "POST",
            "v1/chat/completions",
            content=encoded(body),
            headers={
                "Content-Type": "application/json",
                "Accept": "text/event-stream, application/json",
            },
        )
        arrived = False
        try:
            async with request as response:
                arrived = True
                await self._check(response)
                chunks = response.aiter_raw()
                while (chunk := await _next(chunks, whole=reader.answer.ended)) is not None:
                    yield chunk
        except FOREIGN as error:
            if reader.answer.ended:
                return
            raise self._broken(error, reader, arrived=arrived) from error

    async def _check(self, response: httpx.Response) -> None:
        if response.status_code == 200:
            return
        body = await read_at_most(response, _MAX_ERROR_BYTES)
        report = report_of_body(body, status=response.status_code, secret=self._token)
        raise ServerSaid(report)

    def _broken(self, error: Exception, reader: AnswerReader, *, arrived: bool) -> ConnectionFault:
        if arrived:
            return reader.answer.lost("the connection broke before the answer ended")
        return fault_of_transport(error, self._base)

    # ------------------------------------------------------------------ counting and warming

    async def _counted(self, messages: Sequence[Message]) -> int | None:
        body = {"model": self._model.id, "messages": as_dicts(messages)}
        path = "/v1/chat/completions/input_tokens"
        reply = await fetch(self._client, "POST", path, body=body, seconds=_COUNT_SECONDS)
        return count(mapping(reply.json).get("input_tokens")) if reply.status == 200 else None

    async def _tokenized(self, messages: Sequence[Message]) -> int | None:
        body: dict[str, Any] = {"messages": as_dicts(messages)}
        reply = await fetch(
            self._client, "POST", "/apply-template", body=body, seconds=_COUNT_SECONDS
        )
        prompt = mapping(reply.json).get("prompt")
        if reply.status != 200 or not isinstance(prompt, str):
            return None
        body = {"content": prompt, "add_special": True, "parse_special": True}
        reply = await fetch(self._client, "POST", "/tokenize", body=body, seconds=_COUNT_SECONDS)
        tokens = mapping(reply.json).get("tokens")
        return len(tokens) if reply.status == 200 and isinstance(tokens, list) else None

    async def _read_ahead(self, messages: Sequence[Message]) -> None:
        if not await self._is_loaded_and_idle():
            return
        async with aclosing(self._attempt(Ask(messages, max_tokens=1))) as events:
            async for _ in events:
                pass

    async def _is_loaded_and_idle(self) -> bool:
        """Say whether a short request would neither load a model nor wait behind another one."""
        kind = self._model.kind
        if kind in ("lmstudio", "ollama", "llamacpp"):
            listed = await list_models(Server(self._base, kind, self._local), self._token)
            if not any(row.id == self._model.id and row.state == "loaded" for row in listed):
                return False
        elif kind not in ("file", "seed", "vllm"):
            return False
        if DIALECTS[kind].label != "llama.cpp":
            return True
        slots = rows((await fetch(self._client, "GET", "/slots")).json)
        return not any(slot.get("is_processing") is True for slot in slots)


async def _next(chunks: AsyncIterator[bytes], *, whole: bool) -> bytes | None:
    """Return the next bytes, None at the end or when a whole answer is followed by silence."""
    try:
        async with asyncio.timeout(AFTER_FINISH_SECONDS if whole else None):
            return await anext(chunks, None)
    except TimeoutError:
        return None
