"""The supervisor's end of its socket to lmboot, and the two ways in which a launch ends early.

Standard library only: the supervisor's.
"""

from __future__ import annotations

import contextlib
import json
import socket
import sys
from collections.abc import Iterable
from typing import Any

assert sys.platform != "win32"  # noqa: S101 nobody imports it there

from lmboot.spawning import out_of_the_way


class Fault(Exception):
    """The runtime could not be set up; nothing of the payload has run."""


class Abandoned(Exception):
    """lmboot is gone, or wants no runtime any more."""


class Control:
    """The socket to lmboot."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self._pending = b""
        self._descriptors: list[int] = []

    def tell(self, descriptors: Iterable[int] = (), **message: Any) -> None:
        """Send one message; nobody listening is no error here."""
        data = json.dumps(message).encode() + b"\n"
        with contextlib.suppress(OSError):
            socket.send_fds(self.connection, [data], list(descriptors))

    def take(self) -> list[dict[str, Any]]:
        """Return the messages that have come, waiting for some; raise Abandoned at the end."""
        try:
            data, descriptors, _, _ = socket.recv_fds(self.connection, 1 << 16, 32)
        except OSError:
            data, descriptors = b"", []
        self._descriptors += map(out_of_the_way, descriptors)
        if not data:
            raise Abandoned
        *lines, self._pending = (self._pending + data).split(b"\n")
        return [json.loads(line) for line in lines]

    def descriptors(self) -> list[int]:
        """Hand over the descriptors that have come."""
        taken, self._descriptors = self._descriptors, []
        return taken
