"""Launches and stops in every order, some of them broken off: no descriptor, folder or process
stays behind.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections import Counter
from collections.abc import Awaitable, Callable

from lmboot.runtime.launcher import Launcher, Output, Runtime
from tests.runtime.guests import job
from tests.soak.held import flat, held, memory_bytes, nothing_beyond

ROUNDS = 1000
JOB = job("import sys\nprint('ready', flush=True)\nfor line in sys.stdin:\n    print(line)\n")
LONGEST_SECONDS = 0.15  # setting up a sandbox takes about as long


async def spoke(runtime: Runtime) -> None:
    """Wait for the first output."""
    async for event in runtime.events():
        if isinstance(event, Output):
            return
    raise AssertionError("the runtime printed nothing")


async def stopped(rng: random.Random) -> None:
    """Launch, wait for output, stop in order."""
    launcher = await Launcher.prepare("bubblewrap")
    try:
        runtime = await launcher.launch(JOB)
        await spoke(runtime)
        await runtime.stop()
        await runtime.close()
    finally:
        await launcher.close()


async def killed(rng: random.Random) -> None:
    """Launch, and close at once."""
    launcher = await Launcher.prepare("bubblewrap")
    try:
        runtime = await launcher.launch(JOB)
        await runtime.close()
    finally:
        await launcher.close()


async def unused(rng: random.Random) -> None:
    """Prepare, and launch nothing."""
    await (await Launcher.prepare("bubblewrap")).close()


async def broken_off(rng: random.Random) -> None:
    """Cancel somewhere between the beginning and the runtime's first words."""
    task = asyncio.create_task(stopped(rng))
    await asyncio.sleep(rng.uniform(0, LONGEST_SECONDS))
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


WAYS: tuple[Callable[[random.Random], Awaitable[None]], ...] = (
    stopped,
    killed,
    unused,
    broken_off,
)


async def soak(count: int) -> dict[str, int]:
    """Launch so many; return how often each way was gone, and how memory has grown."""
    rng, gone, memory = random.Random(69), Counter[str](), 0
    await stopped(rng)  # proves the sandbox, once
    before = held()
    for number in range(count):
        way = WAYS[number % len(WAYS)]
        await way(rng)
        gone[getattr(way, "__name__", "")] += 1
        if number == count // 5:
            memory = memory_bytes()
    await nothing_beyond(before)
    return {**gone, "memory_grown_kb": flat(memory)}


def main(count: int = ROUNDS) -> dict[str, int]:
    """Launch `count` times."""
    return asyncio.run(soak(count))
