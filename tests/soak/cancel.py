"""Answers that are left at random points, of a server and of the engine: nothing stays behind."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import replace
from functools import partial

from assets.seed.texts import PAYLOAD
from lmboot.app.models import EngineConnection, seed_row
from lmboot.assets import asset
from lmboot.bootstrap import prompts
from lmboot.connections.engine import Engine
from lmboot.connections.interface import Ask, Connection, Message, Model
from lmboot.connections.openai_http import OpenAIConnection
from tests.connections.lookalike import MODELS, running
from tests.soak.held import flat, held, memory_bytes, nothing_beyond

ROUNDS = 3000
LONGEST_SECONDS = 0.03  # an answer of either takes about as long
ASK = Ask((Message("system", prompts.PRIMER), Message("user", prompts.TRIGGER)), 2048)


async def read(connection: Connection, most: int) -> None:
    """Read an answer; leave it after so many events."""
    async with aclosing(connection.stream(ASK)) as events:
        async for _ in events:
            most -= 1
            if not most:
                return


async def leave(connection: Connection, rng: random.Random) -> bool:
    """Leave one answer: by closing its iterator, or by cancelling; say whether it was in time."""
    if rng.random() < 0.5:
        await read(connection, rng.randrange(1, 60))
        return True
    task = asyncio.create_task(read(connection, 0))
    await asyncio.sleep(rng.uniform(0, LONGEST_SECONDS))
    task.cancel()
    try:
        await task
    except asyncio.CancelledError:
        return True
    return False


async def many(
    connection: Connection, count: int, rng: random.Random, after_some: Callable[[], None]
) -> int:
    """Leave many answers; return how many were left before their end. The next is whole."""
    left = 0
    for number in range(count):
        left += await leave(connection, rng)
        if number == count // 5:
            after_some()
    await read(connection, 0)
    return left


async def soak(connection: Connection, count: int) -> dict[str, int]:
    """Leave many answers of one connection and close it; return how many, and the growth."""
    memory: list[int] = []
    left = await many(connection, count, random.Random(7), lambda: memory.append(memory_bytes()))
    await connection.close()
    return {"asked": count, "left": left, "memory_grown_kb": flat(memory[0])}


async def with_lookalike(count: int) -> dict[str, int]:
    """Leave answers of the look-alike, which is a process of its own."""
    with running("plain", replies=[PAYLOAD]) as base:
        before = held()
        row = Model(MODELS[0].id, "tiny", base, "lmstudio", "loaded", 32_768)
        figures = await soak(OpenAIConnection(row), count)
        await nothing_beyond(before)
    return figures


async def with_engine(count: int) -> dict[str, int]:
    """Leave answers of the engine, and stop it."""
    before = held()
    start = partial(Engine.start, asset("seed/seed.gguf"), alias="seed")
    row = replace(seed_row(), state="loaded", context_loaded=8192)
    figures = await soak(EngineConnection(row, await start(), start), count)
    await nothing_beyond(before)
    return figures


def main(count: int = ROUNDS) -> dict[str, int]:
    """Leave `count` answers of each."""
    server = asyncio.run(with_lookalike(count))
    engine = asyncio.run(with_engine(count))
    return {f"server {name}": value for name, value in server.items()} | {
        f"engine {name}": value for name, value in engine.items()
    }
