"""The host's end of a runtime's socket: frames in and out, with back-pressure both ways.

Bytes are received into a small buffer and by nothing but recv: descriptors that a guest sends
along are thrown away by the kernel. What can't be worked on yet is not read.
"""

from __future__ import annotations

import asyncio
import os
import select
import socket
import sys
from collections import deque
from collections.abc import Callable

from lmboot.runtime.frames import Closed, Fault, Frames, Request

PIECE_BYTES = 16 << 10  # so few that a flood of tiny frames can't hold the loop for long
UNREAD_BYTES = 64 << 10  # of answers that the guest has not read; above it nothing is begun
IN_FLIGHT = 16  # requests at once; more are not taken, and soon not read
LINGER_SECONDS = 1.0  # for a guest to read the last answers

Event = Request | Fault | Closed


class Channel(asyncio.BufferedProtocol):
    """Gives every event to `take`, in order, and only while fewer than 16 requests are under way.

    `busy` tells how many these are; `drained` is called when a guest that left its answers unread
    has read them. `ended` becomes the reason when all is over: hung_up, lost, or a Closed's code.
    """

    def __init__(
        self,
        take: Callable[[Event], None],
        busy: Callable[[], int],
        drained: Callable[[], None],
        *,
        partial_seconds: float,
    ) -> None:
        self._take, self._busy, self._drained = take, busy, drained
        self._partial_seconds = partial_seconds
        self._loop = asyncio.get_running_loop()
        self.ended: asyncio.Future[str] = self._loop.create_future()
        self._gone = asyncio.Event()  # the socket is closed
        self.full = False  # whether the guest leaves its answers unread
        self._frames = Frames()
        self._events: deque[Event] = deque()
        self._buffer = bytearray(PIECE_BYTES)
        self._transport: asyncio.Transport | None = None
        self._descriptor = -1  # of the transport's socket, for as long as that is reading
        self._timer: asyncio.TimerHandle | None = None
        self._soon = False  # whether more will be taken in the loop's next turn
        self._at_end = False  # the guest has said its last

    async def open(self, connection: socket.socket, already: bytes = b"") -> None:
        """Begin; the socket is the channel's from now on. `already` was received before."""
        connection.setblocking(False)
        await self._loop.connect_accepted_socket(lambda: self, connection)
        if already:
            self._feed(already)

    def send(self, frame: bytes) -> None:
        """Send a frame, or queue what does not go at once; nothing happens once it is over."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(frame)

    def go_on(self) -> None:
        """Take what there is room for; read on when all of it was taken."""
        self._take_some()
        if self._transport is None or self._transport.is_closing():
            return
        if self._at_end:
            if not self._events and not self._busy():
                self.end("hung_up")
        elif self._events or not self._has_room():
            self._transport.pause_reading()
        elif not self._transport.is_reading():
            self._transport.resume_reading()
            if self._timer is not None:  # the guest has its time from now on
                self._stop_timer()
                self._start_timer()

    def _take_some(self) -> None:
        """Take what there is room for, a few at a time: others want the loop too."""
        for _ in range(IN_FLIGHT):
            if not (self._events and self._has_room()):
                return
            self._take(self._events.popleft())
        if self._events and not self._soon:
            self._soon = True
            self._loop.call_soon(self._go_on_again)

    def _go_on_again(self) -> None:
        self._soon = False
        self.go_on()

    def end(self, reason: str) -> None:
        """Hang up; the guest has a second to read the last answers. Idempotent."""
        self._at_end = True
        self._events.clear()
        self._stop_timer()
        if not self.ended.done():
            self.ended.set_result(reason)
        if self._transport is not None and not self._transport.is_closing():
            self._transport.close()
            if self._transport.get_write_buffer_size():
                self._loop.call_later(LINGER_SECONDS, self._transport.abort)

    async def wait_closed(self) -> None:
        """Wait until the socket is closed: a second at most, once it has ended."""
        if self._transport is not None:
            await self._gone.wait()

    def _has_room(self) -> bool:
        return not self.full and self._busy() < IN_FLIGHT

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport; asyncio calls this and what follows."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 what a stream socket has
        transport.set_write_buffer_limits(UNREAD_BYTES)
        self._transport = transport
        if sys.platform != "win32":  # where a socket is no descriptor
            self._descriptor = transport.get_extra_info("socket").fileno()

    def get_buffer(self, sizehint: int) -> bytearray:
        """Return where to receive to."""
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Take what was received, and what has come since: a guest asks again at once."""
        self._feed(bytes(memoryview(self._buffer)[:nbytes]))
        for _ in range(IN_FLIGHT):
            if not (data := self._received()):
                break
            self._feed(data)

    def _received(self) -> bytes:
        """Return what can be read without waiting; the end, and what is wrong, asyncio is told."""
        if self._descriptor < 0 or self._transport is None or not self._transport.is_reading():
            return b""
        try:
            return os.read(self._descriptor, PIECE_BYTES)
        except OSError:
            return b""

    def eof_received(self) -> bool:
        """Go on answering what was asked: a guest may close one half."""
        if self._nobody_left():
            self.end("hung_up")
        self._at_end = True
        self._stop_timer()
        self._loop.call_soon(self.go_on)  # once the transport has done its part
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        """Note that nobody is left."""
        self._gone.set()
        self.end("lost" if exc else "hung_up")

    def pause_writing(self) -> None:
        """Begin nothing while the guest does not read."""
        self.full = True

    def resume_writing(self) -> None:
        """Go on where it was left."""
        self.full = False
        self._drained()
        self.go_on()

    def _feed(self, data: bytes) -> None:
        if b"\n" in data:
            self._stop_timer()  # the line that it was for has ended
        self._events.extend(self._frames.feed(data))
        if self._frames.partial and self._timer is None:
            self._start_timer()
        self.go_on()

    def _nobody_left(self) -> bool:
        """Say whether the guest has closed both halves: nobody waits for an answer then."""
        assert self._transport is not None  # noqa: S101 it has just told us of the end
        if sys.platform != "win32":
            poll = select.poll()
            poll.register(self._transport.get_extra_info("socket").fileno(), 0)
            return any(flags & select.POLLHUP for _, flags in poll.poll(0))
        else:
            return False  # it is told when an answer can't be written

    def _start_timer(self) -> None:
        self._timer = self._loop.call_later(self._partial_seconds, self._too_slow)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _too_slow(self) -> None:
        """End it for a line that does not; while we do not read, that is not the guest's fault."""
        if self._transport is not None and self._transport.is_reading():
            self._events.append(Closed("too_slow", "a line was begun and not ended"))
            self.go_on()
        else:
            self._start_timer()
