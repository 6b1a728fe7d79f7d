"""What the benchmarks share: rounds in which every side has its turn, and the medians of them."""

from __future__ import annotations

import statistics
from collections.abc import Awaitable, Callable
from time import perf_counter

Side = Callable[[], Awaitable[float]]


async def medians(rounds: int, *sides: Side) -> list[float]:
    """Return each side's median in seconds; a first round warms the caches and does not count.

    The sides take turns, and every other round in reverse, so that whatever else the machine does
    meets them all.
    """
    taken: list[list[float]] = [[] for _ in sides]
    for number in range(rounds + 1):
        pairs = list(zip(sides, taken, strict=True))
        for side, seconds in pairs if number % 2 else reversed(pairs):
            seconds.append(await side())
    return [statistics.median(seconds[1:]) for seconds in taken]


def timed(work: Callable[[], object]) -> float:
    """Return the seconds that some work takes."""
    began = perf_counter()
    work()
    return perf_counter() - began
