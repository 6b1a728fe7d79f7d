"""A model that is open for as long as somebody needs it."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine

from lmboot.app.models import EngineConnection
from lmboot.connections.interface import Connection, Model


class Opened:
    """A model that is being opened, or open; closed when the last who needs it lets go."""

    def __init__(self, model: Model, opening: Coroutine[None, None, Connection]) -> None:
        """Begin to open it; whoever makes this needs it."""
        self.model = model
        self.task = asyncio.create_task(opening)
        self.task.add_done_callback(lambda task: task.cancelled() or task.exception())
        self._needed = 1

    @property
    def failed(self) -> bool:
        """Say whether it could not be opened, or is not there any more."""
        done = self.task.done()
        return done and (self.task.cancelled() or bool(self.task.exception()) or self.died)

    @property
    def died(self) -> bool:
        """Say whether it was open, and its engine has ended by itself since."""
        opened = self.task.done() and not (self.task.cancelled() or self.task.exception())
        connection = self.task.result() if opened else None
        return isinstance(connection, EngineConnection) and connection.died

    async def connection(self) -> Connection:
        """Return the connection once it is there; raise why it is not."""
        return await asyncio.shield(self.task)

    def need(self) -> None:
        """Have it kept open for one more."""
        self._needed += 1

    async def let_go(self) -> None:
        """Need it no more."""
        self._needed -= 1
        if self._needed:
            return
        self.task.cancel()
        done = await asyncio.gather(self.task, return_exceptions=True)
        if not isinstance(done[0], BaseException):
            await done[0].close()
