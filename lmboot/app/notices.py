"""What a session tells beside the lines that are taken in turn."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine


class Notices:
    """What is under way to be shown; whoever stops waiting for it does not stop the showing."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self._under_way: set[asyncio.Task[None]] = set()

    def soon(self, showing: Coroutine[None, None, None]) -> asyncio.Task[None]:
        """Let something be shown; return what ends when it was."""
        task = asyncio.create_task(showing)
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)
        return task

    async def in_turn(self, showing: Coroutine[None, None, None]) -> None:
        """Let something be shown, and wait until it was: a slow reader slows whoever tells it."""
        await asyncio.shield(self.soon(showing))

    async def all_shown(self) -> None:
        """Wait until nothing is under way."""
        await asyncio.gather(*self._under_way)
