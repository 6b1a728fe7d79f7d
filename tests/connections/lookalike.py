"""A server that looks like LM Studio and is as cruel as real ones are: scripted, local, recording.

    async with Lookalike("cut", reply="Hello") as server:
        ...  # server.base, server.chats, await server.disconnected()

Also a program, `python -m tests.connections.lookalike --script NAME --reply TEXT`: it prints one
line of JSON with its base address and serves until its standard input is closed. Tests that are
no coroutines start it with `running()`. SCRIPTS has the names.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

PIECE_SECONDS = 0.05  # slow enough to be watched, fast enough for a test


@dataclass(frozen=True)
class Served:
    """One model that the look-alike has."""

    id: str = "acme/tiny-4b"
    loaded: bool = True
    context_loaded: int = 32_768
    context_max: int = 262_144
    embedding: bool = False


EMBEDDER = Served("text-embedding-nomic-embed-text-v1.5", loaded=False, embedding=True)
MODELS = (Served(), Served("acme/large-70b", loaded=False), EMBEDDER)


@dataclass(frozen=True)
class Request:
    """One request as it came."""

    method: str
    path: str
    headers: dict[str, str]
    body: dict[str, Any]


@dataclass
class Exchange:
    """One chat request on the wire, with what a script needs to answer it."""

    writer: asyncio.StreamWriter
    body: dict[str, Any]
    reply: str
    server: Lookalike
    finished: bool = False
    byte_by_byte: bool = False

    async def document(self, status: int, value: object, kind: str = "application/json") -> None:
        """Answer with a whole body."""
        body = value.encode() if isinstance(value, str) else json.dumps(value).encode()
        head = f"HTTP/1.1 {status} X\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n"
        self.writer.write(f"{head}Connection: close\r\n\r\n".encode() + body)
        self.finished = True
        await self.writer.drain()

    async def start(self) -> None:
        """Begin a stream."""
        self.writer.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
            b"Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
        )
        await self.writer.drain()

    async def raw(self, text: str) -> None:
        """Send bytes of the stream as they are."""
        data = text.encode()
        pieces = [bytes([byte]) for byte in data] if self.byte_by_byte else [data]
        for piece in pieces:
            self.writer.write(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
            await self.writer.drain()
            await asyncio.sleep(0)

    async def event(self, value: object) -> None:
        """Send one event."""
        await self.raw(f"data: {json.dumps(value, ensure_ascii=False)}\n\n")

    async def delta(self, delta: dict[str, Any], finish: str | None = None) -> None:
        """Send one chunk of the answer."""
        choice = {"index": 0, "delta": delta, "finish_reason": finish}
        name = self.body.get("model")
        await self.event({"object": "chat.completion.chunk", "model": name, "choices": [choice]})

    async def say(self, text: str, key: str = "content") -> None:
        """Send a text in pieces."""
        step = self.server.piece_characters
        for start in range(0, len(text), step):
            await self.delta({key: text[start : start + step]})

    async def end(self, reason: str = "stop", usage: dict[str, int] | None = None) -> None:
        """Send finish reason, the usage that was asked for, [DONE], and the stream's end."""
        await self.delta({}, reason)
        if self.body.get("stream_options", {}).get("include_usage"):
            counted = usage or {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18}
            await self.event({"choices": [], "usage": counted})
        self.finished = True
        await self.raw("data: [DONE]\n\n")
        self.writer.write(b"0\r\n\r\n")
        await self.writer.drain()

    def refused(self, message: str) -> dict[str, Any]:
        """Return an error body as LM Studio writes it."""
        return {"error": {"message": message, "type": "invalid_request_error", "code": None}}


Script = Callable[[Exchange], Awaitable[None]]
SCRIPTS: dict[str, Script] = {}


def script(function: Script) -> Script:
    """Add a script under its function's name."""
    SCRIPTS[getattr(function, "__name__", "")] = function
    return function


@script
async def plain(chat: Exchange) -> None:
    """Answer as a good server does; one document if no stream was asked for."""
    if not chat.body.get("stream"):
        await json_body(chat)
        return
    await chat.start()
    await chat.delta({"role": "assistant", "content": None})
    await chat.say(chat.reply)
    await chat.end()


@script
async def json_body(chat: Exchange) -> None:
    """Send one document though a stream was asked for."""
    message = {"role": "assistant", "content": chat.reply}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    usage = {"prompt_tokens": 11, "completion_tokens": 7}
    await chat.document(200, {"model": chat.body["model"], "choices": [choice], "usage": usage})


@script
async def dribble(chat: Exchange) -> None:
    """Send every byte alone, so that characters and line endings are cut."""
    chat.byte_by_byte = True
    await plain(chat)


@script
async def pings(chat: Exchange) -> None:
    """Send comments and event names between the chunks."""
    await chat.start()
    for character in chat.reply:
        await chat.raw(": ping\r\n\r\nevent: message\r\n")
        await chat.delta({"content": character})
    await chat.end()


@script
async def odd_chunks(chat: Exchange) -> None:
    """Send chunks without choices and with null in every place."""
    await chat.start()
    oddities: list[object] = [
        {"choices": []},
        {"choices": None},
        {"choices": [{"delta": None}]},
        {},
    ]
    for odd in oddities:
        await chat.event(odd)
    await chat.delta({"content": None, "reasoning_content": None, "tool_calls": None})
    await chat.say(chat.reply)
    await chat.end()


@script
async def no_done(chat: Exchange) -> None:
    """Give a finish reason and no [DONE]."""
    await chat.start()
    await chat.say(chat.reply)
    await chat.delta({}, "stop")
    chat.finished = True
    chat.writer.write(b"0\r\n\r\n")


@script
async def silent_end(chat: Exchange) -> None:
    """Give a finish reason and then nothing, with the connection left open."""
    await chat.start()
    await chat.say(chat.reply)
    await chat.delta({}, "stop")
    await asyncio.Event().wait()


@script
async def cut(chat: Exchange) -> None:
    """Break the connection in the middle of the stream."""
    await chat.start()
    await chat.say(chat.reply[: len(chat.reply) // 2])
    chat.finished = True


@script
async def ends_early(chat: Exchange) -> None:
    """End the stream in good order in the middle of the answer."""
    await cut(chat)
    chat.writer.write(b"0\r\n\r\n")


@script
async def stall(chat: Exchange) -> None:
    """Send half of the answer, then nothing until the client goes."""
    await chat.start()
    await chat.say(chat.reply[: len(chat.reply) // 2])
    await asyncio.Event().wait()


@script
async def hold(chat: Exchange) -> None:
    """Answer nothing until the test calls `release()`."""
    await chat.server.released.wait()
    await plain(chat)


@script
async def pause(chat: Exchange) -> None:
    """Send half of the answer, and the rest when the test calls `release()`."""
    half = len(chat.reply) // 2
    await chat.start()
    await chat.say(chat.reply[:half])
    await chat.server.released.wait()
    await chat.say(chat.reply[half:])
    await chat.end()


@script
async def trickle(chat: Exchange) -> None:
    """Send a piece now and then, but never the last one before the test calls `release()`."""
    released, step, sent = chat.server.released, chat.server.piece_characters, 0
    await chat.start()
    while not released.is_set() and sent + step < len(chat.reply):
        await chat.say(chat.reply[sent : sent + step])
        sent += step
        with suppress(TimeoutError):
            await asyncio.wait_for(released.wait(), PIECE_SECONDS)
    await released.wait()
    await chat.say(chat.reply[sent:])
    await chat.end()


@script
async def error_string(chat: Exchange) -> None:
    """Report an error as a bare string after some text."""
    await chat.start()
    await chat.say("some text")
    await chat.event({"error": "The model has crashed without additional information."})
    chat.finished = True
    chat.writer.write(b"0\r\n\r\n")


@script
async def error_object(chat: Exchange) -> None:
    """Report an error as an object after some text."""
    await chat.start()
    await chat.say("some text")
    await chat.event(chat.refused("out of memory"))
    await chat.end()


@script
async def error_event(chat: Exchange) -> None:
    """Report an error as an event of its own name."""
    await chat.start()
    await chat.raw('event: error\ndata: {"error": {"message": "out of memory"}}\n\n')
    await chat.end()


@script
async def reasoning_json(chat: Exchange) -> None:
    """Put the answer where thinking belongs, and nothing into the content."""
    await chat.start()
    await chat.say(chat.reply, "reasoning_content")
    await chat.end()


@script
async def think(chat: Exchange) -> None:
    """Think inside the content."""
    await chat.start()
    await chat.say(f"<think>\nLet me see.\n</think>\n\n{chat.reply}")
    await chat.end()


@script
async def eats_thinking(chat: Exchange) -> None:
    """Think until max_tokens is used up."""
    await chat.start()
    await chat.say("Let me see. ", "reasoning_content")
    await chat.end("length")


@script
async def length(chat: Exchange) -> None:
    """Cut the answer off at max_tokens."""
    await chat.start()
    await chat.say(chat.reply[: len(chat.reply) // 2])
    await chat.end("length")


@script
async def empty(chat: Exchange) -> None:
    """Succeed with nothing."""
    await chat.start()
    await chat.end(usage={"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0})


@script
async def whitespace(chat: Exchange) -> None:
    """Write line ends and blanks for ever."""
    await chat.start()
    await chat.say('{"manifest":')
    while True:
        await chat.delta({"content": "\n\t\t  "})


@script
async def other_model(chat: Exchange) -> None:
    """Let another model answer than the one that was asked."""
    chat.body = {**chat.body, "model": "other/model"}
    await plain(chat)


@script
async def system_refused(chat: Exchange) -> None:
    """Refuse the system role as some templates do."""
    if any(message["role"] == "system" for message in chat.body["messages"]):
        reason = '"Only user and assistant roles are supported!"'
        said = f"Error rendering prompt with jinja template: {reason}"
        await chat.document(400, chat.refused(said))
        return
    await plain(chat)


@script
async def grammar_refused(chat: Exchange) -> None:
    """Refuse every schema."""
    if "response_format" in chat.body:
        said = "Failed to initialize samplers: failed to parse grammar"
        await chat.document(400, chat.refused(said))
        return
    await plain(chat)


@script
async def no_stream(chat: Exchange) -> None:
    """Refuse to stream, as GPT4All does."""
    if "stream" in chat.body:
        await chat.document(400, chat.refused("'stream' is not supported"))
        return
    await plain(chat)


@script
async def fussy(chat: Exchange) -> None:
    """Refuse the system role, and then every schema in the stream itself."""
    if any(message["role"] == "system" for message in chat.body["messages"]):
        await system_refused(chat)
        return
    if "response_format" not in chat.body:
        await plain(chat)
        return
    await chat.start()
    await chat.event({"error": "failed to parse grammar"})
    await chat.end()


@script
async def nothing_loaded(chat: Exchange) -> None:
    """Have no model ready."""
    said = "No models loaded. Please load a model in the developer page or use the 'lms load'"
    await chat.document(400, chat.refused(f"{said} command."))


@script
async def load_fails(chat: Exchange) -> None:
    """Fail to load the model that was asked for."""
    said = "Model loading aborted due to insufficient system resources."
    name = chat.body["model"]
    await chat.document(404, chat.refused(f'Failed to load model "{name}". Error: {said}'))


@script
async def model_gone(chat: Exchange) -> None:
    """Know no such model any more."""
    await chat.document(404, chat.refused("model_not_found"))


@script
async def overflow(chat: Exchange) -> None:
    """Refuse a prompt that is longer than the context."""
    said = "Trying to keep the first 5000 tokens when context the overflows. However, the model is"
    await chat.document(400, {"error": f"{said} loaded with context length of only 4096 tokens"})


@script
async def html(chat: Exchange) -> None:
    """Answer with a web page."""
    await chat.document(200, "<!doctype html><title>Hello</title>", "text/html")


class Lookalike:
    """A running look-alike; `script`, `reply` and `models` are given for all requests or in order.

    Of a sequence each chat takes the next one, the last one stays; `scripts`, `replies` and
    `models` may be changed at any time. `requests` has all requests,
    `chats` the bodies of the chat requests; `disconnects` counts clients that left early. With
    `record`, chat requests and disconnects also become lines of JSON in that file.
    """

    def __init__(
        self,
        script: str | Sequence[str] = "plain",
        *,
        models: Sequence[Served] = MODELS,
        reply: str | Sequence[str] = "Hello from the look-alike.",
        token: str | None = None,
        native_lists: bool = True,
        piece_characters: int = 8,
        record: Path | None = None,
    ) -> None:
        self.scripts = [script] if isinstance(script, str) else list(script)
        self.replies = [reply] if isinstance(reply, str) else list(reply)
        self.models = list(models)
        self.piece_characters = piece_characters
        self.requests: list[Request] = []
        self.chats: list[dict[str, Any]] = []
        self.disconnects = 0
        self.released = asyncio.Event()
        self._token = token
        self._native_lists = native_lists
        self._record = record
        self._changed = asyncio.Condition()
        self._handlers: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Lookalike:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port: int = self._server.sockets[0].getsockname()[1]
        self.base = f"http://127.0.0.1:{self.port}"
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._server.close()
        for handler in self._handlers:
            handler.cancel()
        await asyncio.gather(*self._handlers, return_exceptions=True)
        await self._server.wait_closed()

    def release(self) -> None:
        """Let the requests go on that the script `hold` holds."""
        self.released.set()

    async def disconnected(self, times: int = 1) -> None:
        """Wait until so many clients have left before their answer ended."""
        async with self._changed:
            await self._changed.wait_for(lambda: self.disconnects >= times)

    async def asked(self, times: int = 1) -> None:
        """Wait until so many chat requests have come."""
        async with self._changed:
            await self._changed.wait_for(lambda: len(self.chats) >= times)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            self._handlers.add(task)
            task.add_done_callback(self._handlers.discard)
        try:
            request = await _read_request(reader)
            self.requests.append(request)
            await self._answer(request, reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # a client that only looked whether the port is open, or left
        finally:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()

    async def _answer(
        self, request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        chat = Exchange(writer, request.body, "", self)
        authorised = f"Bearer {self._token}"
        if request.path == "/lmstudio-greeting":
            await chat.document(200, {"lmstudio": True})
        elif self._token and request.headers.get("authorization") != authorised:
            said = "An LM Studio API token is required to make requests to this server."
            refusal = {"type": "invalid_request", "code": "invalid_api_key", "message": said}
            await chat.document(401, {"error": refusal})
        elif (request.method, request.path) == ("POST", "/v1/chat/completions"):
            await self._chat(chat, reader)
        else:
            await chat.document(200, self._list(request))

    async def _chat(self, chat: Exchange, reader: asyncio.StreamReader) -> None:
        chat.reply = _next_of(self.replies)
        name = _next_of(self.scripts)
        self.chats.append(chat.body)
        await self._tell({"chat": chat.body})
        if chat.body.get("response_format", {}).get("type") == "json_object":
            said = "'response_format.type' must be 'json_schema' or 'text'"
            await chat.document(400, {"error": said})
            return
        answering = asyncio.ensure_future(SCRIPTS[name](chat))
        leaving = asyncio.ensure_future(reader.read(1))
        try:
            await asyncio.wait({answering, leaving}, return_when=asyncio.FIRST_COMPLETED)
            left = not answering.done() or isinstance(answering.exception(), ConnectionError)
            if left and not chat.finished:
                self.disconnects += 1
                await self._tell({"disconnects": self.disconnects})
        finally:
            for task in (answering, leaving):
                task.cancel()
            await asyncio.gather(answering, leaving, return_exceptions=True)

    async def _tell(self, line: dict[str, Any]) -> None:
        if self._record is not None:
            with self._record.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
        async with self._changed:
            self._changed.notify_all()

    def _list(self, request: Request) -> object:
        where = (request.method, request.path)
        if where == ("GET", "/api/v1/models") and self._native_lists:
            return {"models": [_v1_row(model) for model in self.models]}
        if where == ("GET", "/api/v0/models") and self._native_lists:
            return {"object": "list", "data": [_v0_row(model) for model in self.models]}
        if where == ("GET", "/v1/models"):
            ids = [{"id": model.id, "object": "model"} for model in self.models]
            return {"object": "list", "data": ids}
        return {"error": f"Unexpected endpoint or method. ({request.method} {request.path})"}


def _next_of(items: list[str]) -> str:
    return items.pop(0) if len(items) > 1 else items[0]


def _v1_row(model: Served) -> dict[str, Any]:
    config = {"context_length": model.context_loaded, "parallel": 4}
    return {
        "type": "embedding" if model.embedding else "llm",
        "key": model.id,
        "display_name": model.id.rpartition("/")[2],
        "architecture": "qwen3",
        "quantization": {"name": "Q4_K_M", "bits_per_weight": 4},
        "size_bytes": 2_500_000_000,
        "loaded_instances": [{"id": model.id, "config": config}] if model.loaded else [],
        "max_context_length": model.context_max,
        "format": "gguf",
    }


def _v0_row(model: Served) -> dict[str, Any]:
    return {
        "id": model.id,
        "type": "embeddings" if model.embedding else "llm",
        "arch": "qwen3",
        "quantization": "Q4_K_M",
        "state": "loaded" if model.loaded else "not-loaded",
        "max_context_length": model.context_max,
        **({"loaded_context_length": model.context_loaded} if model.loaded else {}),
    }


async def _read_request(reader: asyncio.StreamReader) -> Request:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *lines = head.strip().split("\r\n")
    method, path, _ = first.split(" ")
    named = (line.partition(":") for line in lines)
    headers = {name.lower(): value.strip() for name, _, value in named}
    body = await reader.readexactly(int(headers.get("content-length", 0)))
    return Request(method, path, headers, json.loads(body) if body else {})


@contextmanager
def running(
    *scripts: str,
    replies: Sequence[str] = (),
    token: str | None = None,
    record: Path | None = None,
) -> Iterator[str]:
    """Run the look-alike as a process of its own, and give its base address."""
    command = [sys.executable, "-m", "tests.connections.lookalike"]
    command += [f"--script={name}" for name in scripts]
    command += [f"--reply={reply}" for reply in replies]
    command += [f"--token={token}"] if token else []
    command += [f"--record={record}"] if record else []
    root = Path(__file__).resolve().parents[2]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=root
    ) as program:
        if program.stdout is None:
            raise AssertionError
        yield json.loads(program.stdout.readline())["base"]
        program.communicate(timeout=10)


@dataclass(frozen=True)
class _Options:
    script: list[str]
    reply: list[str]
    token: str | None
    record: Path | None


def _options() -> _Options:
    parser = argparse.ArgumentParser(description="A scripted look-alike of LM Studio's server.")
    parser.add_argument("--script", action="append", choices=sorted(SCRIPTS))
    parser.add_argument("--reply", action="append", default=[], help="an answer, in order")
    parser.add_argument("--reply-file", action="append", default=[], type=Path)
    parser.add_argument("--token")
    parser.add_argument("--record", type=Path, help="append requests and disconnects as JSON")
    given = parser.parse_args()
    texts = [*given.reply, *(path.read_text("utf-8") for path in given.reply_file)]
    replies = texts or ["Hello from the look-alike."]
    return _Options(given.script or ["plain"], replies, given.token, given.record)


async def _main(options: _Options) -> None:
    async with Lookalike(
        options.script, reply=options.reply, token=options.token, record=options.record
    ) as server:
        print(json.dumps({"base": server.base}), flush=True)
        await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(_main(_options()))
