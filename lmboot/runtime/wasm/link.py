"""What joins the portable sandbox's host process to lmboot: a socket, or three pipes.

A socket where descriptors keep their numbers in a child: LMBOOT_FD, as `start.py` knows it. Pipes
where a child gets handles: LMBOOT_PIPES, as `pipes.py` knows it, and one more, on which each byte
is an interrupt and whose end means that lmboot is gone. All that differs between the two is here.
"""

from __future__ import annotations

import contextlib
import os
import select
import sys
import threading
from collections.abc import Callable, Mapping
from typing import Protocol

from lmboot.runtime.guest.pipes import NONCE_BYTES, exactly, line
from lmboot.runtime.guest.start import read_all
from lmboot.runtime.wasm.waiting import Threads, Waiting

if sys.platform == "win32":
    import msvcrt

    def opened(number: int, flags: int) -> int:
        """Return a descriptor of what was handed over under a number: of a handle."""
        return msvcrt.open_osfhandle(number, flags | os.O_BINARY)
else:

    def opened(number: int, flags: int) -> int:
        """Return a descriptor of what was handed over under a number: it is one."""
        del flags
        return number


class Link(Protocol):
    """Both ends of the channel, and the beginning that goes over it."""

    reading: int
    writing: int

    def nonce(self) -> bytes:
        """Return what the host wants to hear with READY."""

    def payload(self) -> bytes:
        """Wait for GO, return what comes with it; end when something else comes."""

    def settle(self, heard: Callable[[], None]) -> Waiting:
        """Let go of what only the beginning needed; return who waits from here on.

        0 is the program's stdin then; `heard` is called at each interrupt.
        """


if sys.platform != "win32":
    from lmboot.runtime.wasm.waiting import Selecting

    class BySocket:
        """A socket; behind its number the payload's file, and behind that what is to be stdin."""

        def __init__(self, number: int) -> None:
            """Take the number."""
            self.reading = self.writing = number

        def nonce(self) -> bytes:
            """Return it: the payload's file begins with it."""
            return os.read(self.reading + 1, NONCE_BYTES)

        def payload(self) -> bytes:
            """Wait for GO, return the rest of the file; end when something else comes."""
            if os.read(self.reading, 16) != b"GO\n":
                os._exit(1)
            return read_all(self.reading + 1)[NONCE_BYTES:]

        def settle(self, heard: Callable[[], None]) -> Waiting:
            """Have the program's stdin as 0; return who waits from here on."""
            os.dup2(self.reading + 2, 0)
            os.close(self.reading + 1)
            os.close(self.reading + 2)
            if sys.platform == "darwin":
                threading.Thread(target=end_with, args=[os.getppid()], daemon=True).start()
            return Selecting(heard)


if sys.platform == "darwin":

    def end_with(supervisor: int) -> None:
        """End this process when its supervisor has: nobody else could, who has no handle of it.

        By macOS' documents (kqueue), and never run there.
        """
        gone = select.kevent(
            supervisor, select.KQ_FILTER_PROC, select.KQ_EV_ADD, select.KQ_NOTE_EXIT
        )
        with contextlib.suppress(OSError):  # it is gone already, as when launchd is the parent
            if supervisor != 1:
                select.kqueue().control([gone], 1)
        os._exit(1)


class ByPipes:
    """Three pipes: to read from, to write to, and for interrupts. Stdin is 0 already."""

    def __init__(self, numbers: str) -> None:
        """Take `READING,WRITING,INTERRUPTS`."""
        reading, writing, interrupts = map(int, numbers.split(","))
        self.reading = opened(reading, os.O_RDONLY)
        self.writing = opened(writing, os.O_WRONLY)
        self._interrupts = opened(interrupts, os.O_RDONLY)

    def nonce(self) -> bytes:
        """Return it: the first line."""
        return line(self.reading)

    def payload(self) -> bytes:
        """Wait for GO, return what follows it; end when something else comes."""
        word, _, count = line(self.reading).partition(b" ")
        if word != b"GO":
            os._exit(1)
        return exactly(self.reading, int(count))[NONCE_BYTES:]

    def settle(self, heard: Callable[[], None]) -> Waiting:
        """Return who waits from here on; when lmboot is gone, this process ends."""
        sources = (0, self.reading)
        return Threads(sources, self._interrupts, heard, ended=lambda: os._exit(1))


def link(environment: Mapping[str, str]) -> Link:
    """Return what an environment tells of."""
    if sys.platform != "win32" and "LMBOOT_PIPES" not in environment:
        return BySocket(int(environment["LMBOOT_FD"]))
    return ByPipes(environment["LMBOOT_PIPES"])
