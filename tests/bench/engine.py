"""From a .gguf to a loaded model that answers, and the same from a script that does no more.

The other side is a bare child that builds the same server and prints its address: no header check,
no key, no keeper. Both load the seed model, interleaved; the figure is the ratio of the medians.
"""

from __future__ import annotations

import asyncio
import statistics
import subprocess
import sys
import time
from pathlib import Path

from lmboot.connections.engine import Engine

ROUNDS = 15
MODEL = Path(__file__).parents[2] / "assets" / "seed" / "seed.gguf"
BARE = """
import os, sys, xllamacpp
chosen = xllamacpp.CommonParams()
chosen.model.path, chosen.n_ctx, chosen.verbosity = sys.argv[1], 8192, 1
chosen.cpuparams.n_threads = chosen.cpuparams_batch.n_threads = 1
server = xllamacpp.Server(chosen)
print(server.listening_address, flush=True)
sys.stdin.read()
os._exit(0)
"""


async def engine() -> tuple[float, float]:
    """Return the seconds that lmboot's engine takes to start, and to stop."""
    began = time.perf_counter()
    started = await Engine.start(MODEL, alias="seed")
    ready = time.perf_counter()
    await started.stop()
    return ready - began, time.perf_counter() - ready


def bare() -> float:
    """Return the seconds that the bare script takes to start."""
    began = time.perf_counter()
    with subprocess.Popen(
        [sys.executable, "-c", BARE, MODEL], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        took = time.perf_counter() - began
        process.kill()
    return took


async def rounds(count: int) -> tuple[list[tuple[float, float]], list[float]]:
    """Return the seconds of both sides, after one round that warms the caches."""
    ours, theirs = [], []
    for _ in range(count + 1):
        ours.append(await engine())
        theirs.append(await asyncio.to_thread(bare))
    return ours[1:], theirs[1:]


def main() -> dict[str, float]:
    """Run the benchmark; return milliseconds and the ratio of the starts."""
    ours, theirs = asyncio.run(rounds(ROUNDS))
    start = statistics.median(took for took, _ in ours) * 1e3
    stop = statistics.median(took for _, took in ours) * 1e3
    other = statistics.median(theirs) * 1e3
    return {"lmboot_ms": start, "stop_ms": stop, "bare_ms": other, "ratio": start / other}


if __name__ == "__main__":
    print(main())
