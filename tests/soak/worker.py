"""Calls without end, some of which lose their worker: nothing stays behind, memory stays flat."""

from __future__ import annotations

import asyncio
import os
import random
from collections import Counter
from collections.abc import Awaitable, Callable

from lmboot.errors import CallFailed, CallLimit, WorkerFault
from lmboot.runtime.worker import Worker
from tests.soak.held import flat, held, memory_bytes, nothing_beyond

CALLS = 100_000
CALLS_A_LOSS = 500
SANDBOXES = ("bubblewrap", "landlock")
SOURCE = b"""
import os, time
def echo(value): return value
def fail(): raise ValueError("no")
def say(): print("x" * 1000)
def read(descriptors): return os.read(descriptors[0], 10).decode()
def end(): os._exit(1)
def crash(): os.kill(os.getpid(), 11)
def hang(): time.sleep(600)
def lie(): os.write(3, b"garbage\\n")
"""
TEXT = "x" * 100_000


async def echoed(worker: Worker, rng: random.Random) -> None:
    """Have a value sent back."""
    value = [rng.random(), {"text": TEXT[: rng.choice((0, 10, 1000, len(TEXT)))]}, None]
    assert await worker.call("m:echo", value) == value


async def failed(worker: Worker, rng: random.Random) -> None:
    """Have an exception raised."""
    call = asyncio.create_task(worker.call("m:fail"))
    await asyncio.wait([call])
    error = call.exception()
    assert isinstance(error, CallFailed)
    assert error.kind == "ValueError"


async def printed(worker: Worker, rng: random.Random) -> None:
    """Have something printed."""
    await worker.call("m:say")


async def handed(worker: Worker, rng: random.Random) -> None:
    """Hand over a file."""
    descriptor = os.open(__file__, os.O_RDONLY)
    try:
        assert await worker.call("m:read", descriptors=[descriptor]) == '"""Calls w'
    finally:
        os.close(descriptor)


async def lost(worker: Worker, rng: random.Random) -> None:
    """Lose the worker, in one of the ways that there are."""
    way = rng.choice(("end", "crash", "lie", "hang", "cancel"))
    seconds = 0.02 if way == "hang" else 60.0
    call = asyncio.create_task(
        worker.call("m:hang" if way == "cancel" else f"m:{way}", seconds=seconds)
    )
    if way == "cancel":
        await asyncio.sleep(rng.uniform(0, 0.02))
        call.cancel()
    await asyncio.wait([call])
    if not call.cancelled():
        assert isinstance(call.exception(), CallLimit if way == "hang" else WorkerFault)


WAYS: tuple[Callable[[Worker, random.Random], Awaitable[None]], ...] = (
    *[echoed] * 7,
    failed,
    printed,
    handed,
)


async def called(sandbox: str, count: int, a_loss: int, rng: random.Random) -> Counter[str]:
    """Call a worker so often; return how often in which way."""
    done = Counter[str]()
    worker = await Worker.start({"m.py": SOURCE}, sandbox=sandbox)
    try:
        for number in range(1, count + 1):
            way = lost if number % a_loss == 0 else rng.choice(WAYS)
            await way(worker, rng)
            done[getattr(way, "__name__", "")] += 1
        await echoed(worker, rng)
        done["replaced"] = worker.replaced
    finally:
        await worker.close()
    return done


async def soak(count: int, a_loss: int) -> dict[str, int]:
    """Call in each sandbox, half of it each; a first round is not counted."""
    rng, done = random.Random(69), Counter[str]()
    for sandbox in SANDBOXES:
        await called(sandbox, max(count // 10, a_loss), a_loss, rng)
    before, memory = held(), memory_bytes()
    for sandbox in SANDBOXES:
        done += await called(sandbox, count // len(SANDBOXES), a_loss, rng)
    await nothing_beyond(before)
    return {**done, "memory_grown_kb": flat(memory)}


def main(count: int = CALLS, a_loss: int = CALLS_A_LOSS) -> dict[str, int]:
    """Call `count` times; every `a_loss`-th call loses its worker."""
    return asyncio.run(soak(count, a_loss))
