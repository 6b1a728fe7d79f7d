"""From the click on Bootstrap to the first token, with a model that was chosen some time before.

Warm: the engine was started and the primer read into its cache when the model was chosen; the
bench waits until that is done, where a user would go on reading. Cold: the click starts both.
"""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from time import perf_counter

from lmboot.app.models import choose, open_model, warm
from lmboot.bootstrap.handshake import Streaming, bootstrap
from lmboot.connections.interface import Connection
from tests.bench.measure import medians
from tests.fakes import FakeView

ROUNDS = 10


async def opened() -> Connection:
    """Start the engine with the seed model as a session does."""
    model, token = await choose("seed", None)
    return await open_model(model, token, context=8192, says=FakeView())


async def first_token(connection: Connection) -> None:
    """Ask for a payload and leave at its first token."""
    async with aclosing(bootstrap(connection)) as steps:
        async for step in steps:
            if isinstance(step, Streaming):
                return


async def after_warming() -> float:
    """Return the seconds from the click, with everything done before it."""
    connection = await opened()
    try:
        await warm(connection)
        clicked = perf_counter()
        await first_token(connection)
        return perf_counter() - clicked
    finally:
        await connection.close()


async def from_cold() -> float:
    """Return the seconds from the click, with everything still to do."""
    clicked = perf_counter()
    connection = await opened()
    try:
        await first_token(connection)
        return perf_counter() - clicked
    finally:
        await connection.close()


async def figures(rounds: int) -> dict[str, float]:
    """Return milliseconds and the ratio."""
    warmed, cold = await medians(rounds, after_warming, from_cold)
    return {"warm_ms": warmed * 1e3, "cold_ms": cold * 1e3, "ratio": warmed / cold, "at_most": 0.4}


def main() -> dict[str, float]:
    """Run the benchmark."""
    return asyncio.run(figures(ROUNDS))
