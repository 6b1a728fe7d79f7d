"""Writes to standard output from a thread, so that a slow reader slows only the runtime."""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import sys
import threading
from collections.abc import Callable

_ROOM = 1 << 20  # bytes that may wait; more, and whoever shows something waits
_HURRY_SECONDS = 1.0  # for a reader that stands still, once the session was broken off


class Writer:
    """A bounded queue before a descriptor; `on_broken` is called once when the reader has gone.

    Not a file object: its lock, held while a write waits, would abort the interpreter's exit.
    """

    def __init__(self, on_broken: Callable[[], object], descriptor: int | None = None) -> None:
        """Write to standard output, or to `descriptor`; call it inside a running loop.

        `error` is why nothing could be written any more.
        """
        self.error: OSError | None = None
        self._descriptor = sys.stdout.fileno() if descriptor is None else descriptor
        self._on_broken = on_broken
        self._loop = asyncio.get_running_loop()
        self._turn = asyncio.Lock()
        self._room, self._written = asyncio.Event(), asyncio.Event()
        self._filled = threading.Condition()  # guards what follows
        self._waiting = bytearray()
        self._closing = self._broken = False
        threading.Thread(target=self._run, name="output", daemon=True).start()

    async def put(self, data: bytes) -> None:
        """Queue data; wait while the queue is full. The order of calls is the order of bytes."""
        async with self._turn:
            while len(self._waiting) > _ROOM and not self._broken:
                self._room.clear()
                await self._room.wait()
            with self._filled:
                if not self._broken:
                    self._waiting += data
                self._filled.notify()

    def hurry(self) -> None:
        """Drop what the reader does not take within a second."""
        self._loop.call_later(_HURRY_SECONDS, self._give_up)

    async def close(self) -> None:
        """Write what is queued and end the thread."""
        async with self._turn:
            with self._filled:
                self._closing = True
                self._filled.notify()
        await self._written.wait()

    def _give_up(self) -> None:
        self._broken = True
        self._room.set()
        self._written.set()

    def _run(self) -> None:
        while data := self._next():
            self._write(data)
            self._tell(self._room.set)
        self._tell(self._written.set)

    def _next(self) -> bytes:
        """Wait for data and take all of it; nothing when no more will come."""
        with self._filled:
            while not self._waiting and not self._closing:
                self._filled.wait()
            data = bytes(self._waiting)
            self._waiting.clear()
        return data

    def _write(self, data: bytes) -> None:
        view = memoryview(data)
        while view and not self._broken:
            try:
                view = view[os.write(self._descriptor, view) :]
            except BlockingIOError:  # somebody else made it so; it is not ours alone
                select.select([], [self._descriptor], [])
            except OSError as error:
                self._broken, self.error = True, error
                self._tell(self._on_broken)

    def _tell(self, what: Callable[[], object]) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended: nobody waits any more
            self._loop.call_soon_threadsafe(what)
