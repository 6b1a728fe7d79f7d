"""An answer that is cancelled at any moment leaves no socket, and takes no place from the next."""

from __future__ import annotations

import asyncio

from lmboot.connections.interface import Ask, Message, Model, Text
from lmboot.connections.openai_http import OpenAIConnection
from tests.connections.lookalike import MODELS, Lookalike
from tests.leaks import descriptors

REPLY = "Hello."
TURNS = 150  # of the loop: more than an answer takes, and more than httpx's pool has places


async def read(connection: OpenAIConnection) -> str:
    events = [event async for event in connection.stream(Ask((Message("user", "hi"),), 99))]
    return "".join(event.text for event in events if isinstance(event, Text))


async def cancelled(connection: OpenAIConnection, turns: int) -> bool:
    """Ask, and cancel after so many turns of the loop; say whether it was in time."""
    task = asyncio.create_task(read(connection))
    for _ in range(turns):
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    return task.cancelled()


async def test_a_cancelled_answer_leaves_nothing_whenever_it_is_cancelled() -> None:
    async with Lookalike(reply=REPLY) as server:
        before = descriptors()
        row = Model(MODELS[0].id, "tiny", server.base, "lmstudio", "loaded", 32_768)
        connection = OpenAIConnection(row)

        in_time = [await cancelled(connection, turns) for turns in range(TURNS)]

        assert any(in_time)
        async with asyncio.timeout(20):
            assert await read(connection) == REPLY
            while descriptors() > before:  # noqa: ASYNC110 - the look-alike's ends close later
                await asyncio.sleep(0.01)
        await connection.close()
