"""What this process and its runs hold on to: all must be let go of, however long they run."""

from __future__ import annotations

import asyncio
import gc
import os
import threading
from dataclasses import dataclass, fields
from pathlib import Path

import psutil

from tests.leaks import descriptors, folders, groups, processes

SETTLE_SECONDS = 20.0  # others may run sandboxes too, whose processes come and go
MAX_GROWTH_BYTES = 12 << 20  # an allocator's fluctuation; a leak in a thousand rounds is more
_POLL_SECONDS = 0.05


@dataclass(frozen=True)
class Held:
    """What is held at one moment, by name or number."""

    descriptors: frozenset[int]
    processes: frozenset[int]
    folders: frozenset[Path]
    groups: frozenset[str]
    threads: frozenset[str]
    tasks: int

    def beyond(self, before: Held) -> dict[str, str]:
        """Return what is held now and was not before."""
        now, then = vars(self), vars(before)
        sets = [field.name for field in fields(self) if field.name != "tasks"]
        more = {name: str(sorted(now[name] - then[name])) for name in sets}
        more["descriptors"] = _opened(self.descriptors - before.descriptors)
        more["tasks"] = str(self.tasks - before.tasks) if self.tasks > before.tasks else ""
        return {name: what for name, what in more.items() if what not in ("", "[]")}


def held() -> Held:
    """Return what is held now; call it inside a running loop."""
    threads = (each.name for each in threading.enumerate())
    return Held(
        frozenset(descriptors()),
        frozenset(processes()),
        frozenset(folders()),
        frozenset(groups()),
        frozenset(name for name in threads if not name.startswith("asyncio_")),  # the loop's pool
        len(asyncio.all_tasks()),
    )


async def nothing_beyond(before: Held) -> None:
    """Wait until nothing is held that was not before; raise AssertionError if that stays so."""
    more = held().beyond(before)
    for _ in range(int(SETTLE_SECONDS / _POLL_SECONDS)):
        if not more:
            return
        await asyncio.sleep(_POLL_SECONDS)
        more = held().beyond(before)
    raise AssertionError(f"still held: {more}")


def memory_bytes() -> int:
    """Return this process's resident memory, garbage aside."""
    gc.collect()
    return int(psutil.Process().memory_info().rss)


def flat(before_bytes: int) -> int:
    """Return the kilobytes that memory has grown by; raise AssertionError for a leak."""
    grown = memory_bytes() - before_bytes
    if grown > MAX_GROWTH_BYTES:
        raise AssertionError(f"memory has grown by {grown:,} bytes")
    return grown >> 10


def _opened(numbers: frozenset[int]) -> str:
    names = []
    for number in sorted(numbers):
        try:
            names.append(os.readlink(f"/proc/self/fd/{number}"))
        except OSError:
            continue
    return str(names)
