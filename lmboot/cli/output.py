"""Writes to standard output from a thread, so that a slow reader slows only the runtime."""

from __future__ import annotations

import asyncio
import queue
import sys
import threading
from collections.abc import Callable
from typing import BinaryIO

_QUEUED = 256  # pieces that may wait; more, and whoever shows something waits


class Writer:
    """A bounded queue before a file; `on_broken` is called once when the reader has gone."""

    def __init__(self, on_broken: Callable[[], object], file: BinaryIO | None = None) -> None:
        """Write to standard output, or to `file`; call it inside a running loop."""
        self._file = file or sys.stdout.buffer
        self._queue: queue.Queue[bytes | None] = queue.Queue(_QUEUED)
        self._turn = asyncio.Lock()
        self._on_broken = on_broken
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._run, name="output", daemon=True)
        self._thread.start()

    async def put(self, data: bytes) -> None:
        """Queue data; wait while the queue is full. The order of calls is the order of bytes."""
        async with self._turn:
            try:
                self._queue.put_nowait(data)
            except queue.Full:
                await asyncio.to_thread(self._queue.put, data)

    async def close(self) -> None:
        """Write what is queued and end the thread."""
        async with self._turn:
            await asyncio.to_thread(self._queue.put, None)
        await asyncio.to_thread(self._thread.join)

    def _run(self) -> None:
        works, more = True, True
        while more:
            ready, more = self._ready()
            if works and ready:
                works = self._write(ready)

    def _ready(self) -> tuple[bytes, bool]:
        """Return all that is queued, waiting for the first; and whether more will come."""
        pieces: list[bytes] = []
        while True:
            piece = self._queue.get()
            if piece is None:
                return b"".join(pieces), False
            pieces.append(piece)
            if self._queue.empty():
                return b"".join(pieces), True

    def _write(self, data: bytes) -> bool:
        try:
            self._file.write(data)
            self._file.flush()
        except (OSError, ValueError):
            self._loop.call_soon_threadsafe(self._on_broken)
            return False
        return True
