"""A person at a real pseudo-terminal: types, and reads what stands there."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

SECONDS = 40.0
CTRL_C, CTRL_D, TAB, UP = "\x03", "\x04", "\t", "\x1b[A"
_WHERE_IS_THE_CURSOR, _HERE = b"\x1b[6n", b"\x1b[40;1R"
_SEQUENCE = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07]*\x07|[()][AB0]|[=>78])")
# The child must own its terminal, or Ctrl+C would reach nobody.
_OWN_TERMINAL = """\
import fcntl, os, sys, termios
os.setsid()
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.argv[1], sys.argv[1:])
"""


class Terminal:
    """One program on a terminal of 100 columns; `text` is all that it wrote, without escapes."""

    def __init__(self, process: subprocess.Popen[bytes], descriptor: int) -> None:
        self.process = process
        self._descriptor = descriptor
        self._raw = b""
        self._read = 0

    @property
    def text(self) -> str:
        return _SEQUENCE.sub("", self._raw.decode(errors="replace")).replace("\r", "")

    @property
    def end_of_file(self) -> bytes:
        """The key that ends a file on this terminal."""
        key = termios.tcgetattr(self._descriptor)[6][termios.VEOF]
        assert isinstance(key, bytes)
        return key

    def type(self, text: str) -> None:
        """Press keys."""
        os.write(self._descriptor, text.encode())

    def enter(self, line: str) -> None:
        self.type(line + "\r")

    def until(self, *texts: str) -> str:
        """Read until each of these stood there, in this order, after what was waited for last."""
        deadline = time.monotonic() + SECONDS
        begun = self._read
        for text in texts:
            while (found := self.text.find(text, self._read)) < 0:
                if not self._take(deadline):
                    raise AssertionError(f"{text!r} never came after {self.text[begun:]!r}")
            self._read = found + len(text)
        return self.text[begun : self._read]

    def over(self) -> int:
        """Read to the end; return the exit code."""
        deadline = time.monotonic() + SECONDS
        while self._take(deadline):
            pass
        return self.process.wait(SECONDS)

    def _take(self, deadline: float) -> bool:
        ready, _, _ = select.select(
            [self._descriptor], [], [], max(0, deadline - time.monotonic())
        )
        if not ready:
            return False
        try:
            data = os.read(self._descriptor, 1 << 16)
        except OSError:  # the other end was closed
            return False
        if _WHERE_IS_THE_CURSOR in data:
            os.write(self._descriptor, _HERE)
        self._raw += data
        return bool(data)


@contextmanager
def terminal(command: list[str], env: Mapping[str, str], folder: Path) -> Iterator[Terminal]:
    """Start a program on a terminal of its own; it is gone when this is left."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 100, 0, 0))
    wrapped = [sys.executable, "-I", "-S", "-c", _OWN_TERMINAL, sys.executable, *command]
    process = subprocess.Popen(
        wrapped,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env={**env, "TERM": "xterm-256color", "PAGER": "cat"},
        cwd=folder,
    )
    os.close(theirs)
    try:
        yield Terminal(process, ours)
    finally:
        process.kill()
        process.wait()
        os.close(ours)
