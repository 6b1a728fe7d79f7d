"""An answer's stream through lmboot, against a bare httpx read of the same stream.

Through lmboot: connection and progress, from the request to the last piece. Bare: `aiter_raw()` of
the same request to its end, nothing decoded. Both with the engine and the seed model; `ratio` is
that of the throughputs for an answer of some thousand pieces (tokens), which a schema asks for,
`payload_ratio` that for its payload by way of the handshake. `*_cpu_us` is the processor time that
the reading process itself spends on a piece, which other programs on the machine blur less.

`fast_*` is the upper end: a server that sends what it has prepared as fast as a socket takes it,
which no model does. There the figures are pieces a second.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from functools import partial
from time import perf_counter, process_time

import httpx

from assets.seed.texts import PAYLOAD
from lmboot.app.models import EngineConnection, seed_row
from lmboot.assets import asset
from lmboot.bootstrap import prompts
from lmboot.bootstrap.handshake import Accepted, Asked, Streaming, bootstrap
from lmboot.bootstrap.progress import Progress
from lmboot.connections.dialects import request_body
from lmboot.connections.engine import Engine
from lmboot.connections.interface import Ask, Connection, Message, Model, Text
from lmboot.connections.openai_http import OpenAIConnection
from lmboot.connections.transport import encoded
from tests.bench.measure import Side, medians

LONG_ROUNDS, PAYLOAD_ROUNDS, FAST_ROUNDS = 9, 40, 5
CONTEXT = 8192
FAST_PIECES = 20_000
QUESTION = Ask((Message("user", "go"),), 1 << 16)
FILE = {
    "type": "object",
    "properties": {"path": {"enum": ["a.py"]}, "content": {"enum": ["print(1)"]}},
    "required": ["path", "content"],
    "additionalProperties": False,
}
LONG = {
    "type": "object",
    "properties": {"files": {"type": "array", "items": FILE, "minItems": 100, "maxItems": 100}},
    "required": ["files"],
    "additionalProperties": False,
}

# Answers every request with the same bytes; in a process of its own, so that it takes no turns.
FAST_SERVER = """
import socketserver, sys
body = sys.stdin.buffer.read()
head = "HTTP/1.1 200 OK\\r\\nContent-Type: text/event-stream\\r\\nContent-Length: %d\\r\\n\\r\\n"

class Answer(socketserver.BaseRequestHandler):
    def handle(self):
        try:
            while self.request.recv(1 << 20):
                self.request.sendall((head % len(body)).encode() + body)
        except ConnectionError:
            pass  # the reader left after [DONE]

server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Answer)
print(server.server_address[1], flush=True)
server.serve_forever()
"""


async def bootstrapped(connection: Connection) -> float:
    """Return the seconds from the request to the last piece of a payload, through lmboot."""
    began = last = 0.0
    async with aclosing(bootstrap(connection, repairs=0)) as steps:
        async for step in steps:
            if isinstance(step, Asked):
                began = perf_counter()
            elif isinstance(step, Streaming):
                last = perf_counter()
            elif isinstance(step, Accepted):
                return last - began
    raise AssertionError("the model gave no payload")


async def read_bare(client: httpx.AsyncClient, body: bytes) -> float:
    """Return the seconds from the request to the end of the stream, by httpx alone."""
    began = perf_counter()
    headers = {"Content-Type": "application/json", "Connection": "close"}
    async with client.stream(
        "POST", "/v1/chat/completions", content=body, headers=headers
    ) as response:
        response.raise_for_status()
        async for _ in response.aiter_raw():
            pass
    return perf_counter() - began


async def payload_asked_for(connection: Connection) -> Ask:
    """Return the question that the handshake asks."""
    messages = (Message("system", prompts.PRIMER), Message("user", prompts.TRIGGER))
    room = CONTEXT - await connection.count_tokens(messages) - 16
    return Ask(messages, room // 2, 0.0, prompts.SCHEMA)


async def read(connection: Connection, ask: Ask, pieces: list[int]) -> float:
    """Return the seconds that connection and progress take for an answer; count its pieces."""
    began = perf_counter()
    progress, count = Progress(), 0
    async with aclosing(connection.stream(ask)) as events:
        async for event in events:
            if isinstance(event, Text):
                progress.feed(event.text)
                count += 1
    pieces.append(count)
    return perf_counter() - began


class CpuTime:
    """Counts the processor time of this process that one side of a benchmark takes."""

    def __init__(self, side: Side) -> None:
        self._side = side
        self.seconds: list[float] = []

    async def __call__(self) -> float:
        """Run the side."""
        began = process_time()
        took = await self._side()
        self.seconds.append(process_time() - began)
        return took


async def long_answer(connection: Connection, client: httpx.AsyncClient) -> dict[str, float]:
    """Return the figures of a long answer."""
    ask = Ask((Message("user", "go"),), CONTEXT // 2, 0.0, LONG)
    body = encoded(request_body(ask, model=connection.model))
    pieces: list[int] = []
    sides = (
        CpuTime(lambda: read(connection, ask, pieces)),
        CpuTime(lambda: read_bare(client, body)),
    )
    ours, bare = await medians(LONG_ROUNDS, *sides)
    cpu = [statistics.median(side.seconds) / pieces[0] * 1e6 for side in sides]
    return {
        "pieces": pieces[0],
        "lmboot_s": ours,
        "bare_s": bare,
        "ratio": bare / ours,
        "at_least": 0.97,
        "lmboot_cpu_us": cpu[0],
        "bare_cpu_us": cpu[1],
    }


async def payload(connection: Connection, client: httpx.AsyncClient) -> dict[str, float]:
    """Return the figures of the seed model's payload."""
    body = encoded(request_body(await payload_asked_for(connection), model=connection.model))
    ours, bare = await medians(
        PAYLOAD_ROUNDS, lambda: bootstrapped(connection), lambda: read_bare(client, body)
    )
    return {"payload_ms": ours * 1e3, "payload_bare_ms": bare * 1e3, "payload_ratio": bare / ours}


async def with_engine() -> dict[str, float]:
    """Return the figures with the engine and the seed model."""
    row = replace(seed_row(), state="loaded", context_loaded=CONTEXT)
    start = partial(Engine.start, asset("seed/seed.gguf"), alias=row.id, context=CONTEXT)
    engine = await start()
    connection = EngineConnection(row, engine, start)
    headers = {"Authorization": f"Bearer {engine.api_key}"}
    async with httpx.AsyncClient(base_url=engine.url, headers=headers, timeout=None) as client:
        try:
            return await long_answer(connection, client) | await payload(connection, client)
        finally:
            await connection.close()


def stream_of(pieces: int) -> bytes:
    """Return a whole stream: the payload over and over, in pieces of four characters."""
    text = PAYLOAD * (4 * pieces // len(PAYLOAD) + 1)
    chunk = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "fast"}
    events = [
        {**chunk, "choices": [{"index": 0, "delta": delta, "finish_reason": reason}]}
        for delta, reason in [
            *(({"content": text[at : at + 4]}, None) for at in range(0, 4 * pieces, 4)),
            ({}, "stop"),
        ]
    ]
    lines = [f"data: {json.dumps(event)}\n\n" for event in events]
    return "".join([*lines, "data: [DONE]\n\n"]).encode()


@asynccontextmanager
async def fast_server(pieces: int) -> AsyncIterator[str]:
    """Run the fast server and give its base address."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", FAST_SERVER, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        process.stdin.write(stream_of(pieces))
        process.stdin.close()
        yield f"http://127.0.0.1:{int(await process.stdout.readline())}"
    finally:
        process.kill()
        await process.wait()


async def with_fast_server() -> dict[str, float]:
    """Return the rates with the fast server."""
    pieces: list[int] = []
    async with fast_server(FAST_PIECES) as base:
        connection = OpenAIConnection(Model("fast", "fast", base, "openai"))
        async with httpx.AsyncClient(base_url=base, timeout=None) as client:
            ours, bare = await medians(
                FAST_ROUNDS,
                lambda: read(connection, QUESTION, pieces),
                lambda: read_bare(client, b"{}"),
            )
        await connection.close()
    assert set(pieces) == {FAST_PIECES}
    return {"fast_pieces_a_second": FAST_PIECES / ours, "fast_bare_a_second": FAST_PIECES / bare}


def main() -> dict[str, float]:
    """Run the benchmark."""
    return asyncio.run(with_engine()) | asyncio.run(with_fast_server())
