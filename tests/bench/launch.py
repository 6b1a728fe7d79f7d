"""From the last byte of a payload to the runtime's first line, sandbox included.

The other side is a bare Popen([python3, FILE]) to its first line. Both sides run in one go,
interleaved; the figure is the ratio of the medians. All back ends that are usable here are timed,
each against its own rounds of the other side; `python tests/bench/launch.py landlock` times one.
"""

from __future__ import annotations

import asyncio
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from lmboot.runtime.launcher import Job, Launcher, Output
from lmboot.runtime.policy import Limits, effective_routes

ROUNDS = 30
SANDBOXES = ("bubblewrap", "landlock", "wasm", "podman")  # at most 1.5, 2.0; two are reported
PROGRAM = (
    b"import sys\nprint('AI-RT> ready', flush=True)\nfor line in sys.stdin:\n    print(line)\n"
)


async def sandboxed(sandbox: str) -> tuple[float, float]:
    """Return the seconds of one launch, and of one with all that is done ahead of it."""
    began = time.perf_counter()
    launcher = await Launcher.prepare(sandbox)
    ahead = time.perf_counter() - began
    try:
        began = time.perf_counter()
        job = Job((("main.py", PROGRAM),), ("main.py",), Limits(), effective_routes(None))
        runtime = await launcher.launch(job)
        async for event in runtime.events():
            if isinstance(event, Output) and b"\n" in event.data:
                took = time.perf_counter() - began
                break
    finally:
        await launcher.close()
    return took, ahead + took


def bare() -> float:
    """Return the seconds of one bare start."""
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        path = Path(folder, "main.py")
        path.write_bytes(PROGRAM)
        process = subprocess.Popen(
            ["/usr/bin/python3", path], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        with process:
            assert process.stdout is not None
            process.stdout.readline()
            took = time.perf_counter() - began
            process.kill()
    return took


async def rounds(count: int, sandbox: str) -> tuple[list[tuple[float, float]], list[float]]:
    """Return the seconds of both sides, interleaved, after one round that warms the caches."""
    ours, theirs = [], []
    for _ in range(count + 1):
        ours.append(await sandboxed(sandbox))
        theirs.append(await asyncio.to_thread(bare))
    return ours[1:], theirs[1:]


def measured(sandbox: str) -> dict[str, float]:
    """Return milliseconds and ratios, `cold` with nothing done ahead."""
    ours, theirs = asyncio.run(rounds(ROUNDS, sandbox))
    launch, cold = (statistics.median(side) * 1e3 for side in zip(*ours, strict=True))
    popen = statistics.median(theirs) * 1e3
    return {
        "lmboot_ms": launch,
        "cold_ms": cold,
        "popen_ms": popen,
        "ratio": launch / popen,
        "cold_ratio": cold / popen,
    }


def main(*sandboxes: str) -> dict[str, float]:
    """Run the benchmark; return every figure by its back end and name."""
    return {
        f"{sandbox}_{name}": value
        for sandbox in sandboxes or SANDBOXES
        for name, value in measured(sandbox).items()
    }


if __name__ == "__main__":
    print(main(*sys.argv[1:]))
