"""Waiting for one of several things: bytes, time, an interrupt; in two ways, by the system.

`Selecting` where the system can wait for pipes and sockets at once. `Threads` everywhere, so on
Windows too, at a tenth more for an operation: what blocks has a thread of its own, which reads one
piece ahead and no more until it was taken; so whoever writes faster than is read is held up, as by
the pipe alone. Standard library only.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable

CHUNK = 1 << 16


class Waiting:
    """One who waits. `interrupted` stays until whoever looks at it takes it back."""

    def __init__(self, heard: Callable[[], None]) -> None:
        """Call `heard` at each interrupt, whatever is being waited for."""
        self.interrupted = False
        self._heard = heard

    def wait(self, source: int | None, seconds: float | None) -> bool:
        """Wait for a source, an interrupt, or so long; say whether it was the source."""
        deadline = None if seconds is None else time.monotonic() + seconds
        while True:
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            if self._look(source, left if left is None else min(left, threading.TIMEOUT_MAX / 2)):
                return True
            if self.interrupted or left == 0:
                return False

    def take(self, source: int, most: int) -> bytes:
        """Return at most so many bytes of what was waited for; b"" at the end."""
        raise NotImplementedError

    def _look(self, source: int | None, seconds: float | None) -> bool:
        """Say whether a source has something, or its end; sleep if not, until something wakes."""
        raise NotImplementedError

    def _interrupt(self) -> None:
        self.interrupted = True
        self._heard()


if sys.platform != "win32":

    class Selecting(Waiting):
        """Waits by the system's own means; SIGINT is the interrupt."""

        def __init__(self, heard: Callable[[], None]) -> None:
            """Take SIGINT over; in the main thread."""
            super().__init__(heard)
            self._woken, waker = os.pipe()
            for end in (self._woken, waker):
                os.set_blocking(end, False)
            signal.set_wakeup_fd(waker, warn_on_full_buffer=False)
            signal.signal(signal.SIGINT, lambda *_: self._interrupt())

        def take(self, source: int, most: int) -> bytes:
            """Return at most so many bytes of what was waited for; b"" at the end."""
            return os.read(source, most)

        def _look(self, source: int | None, seconds: float | None) -> bool:
            sources = [self._woken] if source is None else [source, self._woken]
            readable = select.select(sources, [], [], seconds)[0]
            if self._woken in readable:
                with contextlib.suppress(BlockingIOError):
                    os.read(self._woken, CHUNK)
            return source in readable


class Threads(Waiting):
    """Waits for threads; a byte that comes on `interrupts` is one, and its end calls `ended`."""

    def __init__(
        self,
        sources: Iterable[int],
        interrupts: int,
        heard: Callable[[], None],
        ended: Callable[[], None],
    ) -> None:
        """Begin to read from all of these."""
        super().__init__(heard)
        self._bell = Bell()
        self._intakes = {source: Intake(source, self._bell) for source in sources}
        self._interrupts, self._ended = interrupts, ended
        _in_background(self._heed)

    def take(self, source: int, most: int) -> bytes:
        """Return at most so many bytes of what was waited for; b"" at the end."""
        return self._intakes[source].take(most)

    def _look(self, source: int | None, seconds: float | None) -> bool:
        intake = None if source is None else self._intakes[source]
        if not (intake and intake.ready):
            self._bell.wait(seconds)
        return intake is not None and intake.ready

    def _heed(self) -> None:
        while _read(self._interrupts):
            self._interrupt()
            self._bell.ring()
        self._ended()


class Bell:
    """Wakes the one who waits; if it rang before he does, he does not wait."""

    def __init__(self) -> None:
        """Be silent."""
        self._silence = threading.Lock()
        self._silence.acquire()

    def ring(self) -> None:
        """Wake; from any thread."""
        with contextlib.suppress(RuntimeError):  # it rings already
            self._silence.release()

    def wait(self, seconds: float | None) -> None:
        """Wait until it rings, or so long."""
        self._silence.acquire(timeout=-1 if seconds is None else seconds)


class Intake:
    """The reading end of a pipe, read one piece ahead."""

    def __init__(self, descriptor: int, bell: Bell) -> None:
        """Begin to read; ring whenever something is there, or the end is."""
        self._descriptor, self._bell = descriptor, bell
        self._piece: bytes | None = None  # None: nothing has come; empty: the end
        self._taken = threading.Lock()
        self._taken.acquire()
        _in_background(self._fill)

    @property
    def ready(self) -> bool:
        """Whether `take` has something to give, be it the end."""
        return self._piece is not None

    def take(self, most: int) -> bytes:
        """Return at most so many bytes of what is there; b"" at the end."""
        piece = self._piece or b""
        taken, rest = piece[:most], piece[most:]
        if rest:
            self._piece = rest
        elif taken:
            self._piece = None
            self._taken.release()
        return taken

    def _fill(self) -> None:
        while True:
            piece = _read(self._descriptor)
            self._piece = piece
            self._bell.ring()
            if not piece:
                return
            self._taken.acquire()


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, CHUNK)
    except OSError:  # the other end broke off
        return b""


def _in_background(action: Callable[[], None]) -> None:
    threading.Thread(target=action, daemon=True).start()
