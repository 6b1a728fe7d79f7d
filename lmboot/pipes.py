"""The ends of a child's pipes, as asyncio waits for them; never more is taken than has room."""

from __future__ import annotations

import asyncio
import os
from typing import Literal

from lmboot import system

CHUNK = 1 << 16
MAX_UNREAD_BYTES = 1 << 20  # what may wait for a child that does not read its stdin


class Outlet:
    """The reading end of one of the child's streams."""

    def __init__(self, stream: Literal["out", "err"], descriptor: int, changed: asyncio.Event):
        system.set_blocking(descriptor, False)
        self.stream = stream
        self._descriptor = descriptor
        self._changed = changed
        self._loop = asyncio.get_running_loop()

    def read(self) -> bytes | None:
        """Return what there is, b"" at the end, None when nothing is there yet."""
        try:
            return os.read(self._descriptor, CHUNK)
        except BlockingIOError:
            return None

    def arm(self) -> None:
        """Set the event once there is something to read."""
        self._loop.add_reader(self._descriptor, self._ready)

    def close(self) -> None:
        self._loop.remove_reader(self._descriptor)
        os.close(self._descriptor)

    def _ready(self) -> None:
        self._loop.remove_reader(self._descriptor)
        self._changed.set()


class Inlet:
    """The writing end of the child's stdin."""

    def __init__(self, descriptor: int) -> None:
        system.set_blocking(descriptor, False)
        self._descriptor = descriptor
        self._waiting = bytearray()
        self._loop = asyncio.get_running_loop()
        self._open = True

    def put(self, data: bytes) -> bool:
        """Queue bytes unless nobody will or does read them; say whether they were taken."""
        if not self._open or len(self._waiting) > MAX_UNREAD_BYTES:
            return False
        self._waiting += data
        self._flush()
        return self._open

    def close(self) -> None:
        """Close it now, with what still waits; idempotent."""
        if self._open:
            self._open = False
            self._loop.remove_writer(self._descriptor)
            os.close(self._descriptor)

    def _flush(self) -> None:
        try:
            while self._waiting:
                del self._waiting[: os.write(self._descriptor, self._waiting[:CHUNK])]
        except BlockingIOError:
            self._loop.add_writer(self._descriptor, self._flush)
        except OSError:
            self.close()
        else:
            self._loop.remove_writer(self._descriptor)
