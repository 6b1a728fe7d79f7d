"""The first that runs inside the portable sandbox: it makes the program's world, then starts it.

The sandbox has no descriptors of ours, only a door: `_host.call(request) -> answer`, both bytes.
A request's first byte says what is asked for (host.py's Door lists them). An answer begins with
`+`; `-` means that nobody is there, `!` that the user has interrupted. Python 3.15 on WASI.
"""

import errno
import io
import os
import sys
import time
from collections.abc import Iterable
from importlib.machinery import SourceFileLoader
from typing import Any

import _host

CHUNK = 1 << 16
INTERRUPTED = 130  # the status of a program that SIGINT has ended


def ask(request: bytes) -> bytes:
    """Ask the host process; return its answer."""
    answer: bytes = _host.call(request)
    if answer[:1] == b"!":
        raise KeyboardInterrupt
    if answer[:1] != b"+":
        raise BrokenPipeError(errno.EPIPE, "nobody is at the other end")
    return answer[1:]


class Stream(io.RawIOBase):
    """One of the program's three streams."""

    def __init__(self, number: int) -> None:
        """Take its number."""
        self._number = number
        self.name = f"<{('stdin', 'stdout', 'stderr')[number]}>"

    def fileno(self) -> int:
        """Return the number that it would have elsewhere."""
        return self._number

    def readable(self) -> bool:
        """Say whether it is stdin."""
        return self._number == 0

    def writable(self) -> bool:
        """Say whether it is one of the others."""
        return self._number != 0

    def readinto(self, buffer: Any) -> int:
        """Wait for bytes; return how many came, 0 at the end."""
        data = ask(b"r%d" % min(len(buffer), CHUNK))
        buffer[: len(data)] = data
        return len(data)

    def write(self, data: Any) -> int:
        """Write all of it, waiting for whoever reads it."""
        view = memoryview(data).cast("B")
        for at in range(0, len(view), CHUNK):
            ask(b"%d" % self._number + view[at : at + CHUNK])
        return len(view)


def open_streams() -> None:
    """Give the program its streams, as `python -u -X utf8` has them."""
    raw = [Stream(number) for number in range(3)]
    given = io.TextIOWrapper(io.BufferedReader(raw[0]), "utf-8", "surrogateescape")
    out = io.TextIOWrapper(raw[1], "utf-8", "surrogateescape", write_through=True)
    err = io.TextIOWrapper(raw[2], "utf-8", "backslashreplace", write_through=True)
    for name, stream, mode in (("stdin", given, "r"), ("stdout", out, "w"), ("stderr", err, "w")):
        stream.mode = mode  # type: ignore[misc]  # it can be set, and is set elsewhere too
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)
    _open_numbers(raw)


def _open_numbers(raw: list[Stream]) -> None:
    """Have the streams behind the numbers 0, 1 and 2 too, and a sleep that can be interrupted."""
    read, write, sleep = os.read, os.write, time.sleep

    def read_stream(fd: int, length: int, /) -> bytes:
        return ask(b"r%d" % min(length, CHUNK)) if fd == 0 else read(fd, length)

    def write_stream(fd: int, data: Any, /) -> int:
        return raw[fd].write(data) if fd in (1, 2) else write(fd, data)

    def interruptible_sleep(seconds: Any, /) -> None:
        if seconds > 0:
            ask(b"s%r" % float(seconds))
        else:
            sleep(seconds)

    os.read, os.write, time.sleep = read_stream, write_stream, interruptible_sleep


def settle(folder: str, arguments: Iterable[str]) -> None:
    """Be where the program is to be, with its arguments and its environment."""
    os.environ.pop("PYTHONTZPATH", None)  # the engine's own
    os.chdir(folder)
    sys.argv[:] = arguments


def launcher() -> dict[str, Any]:
    """Return the names of the launcher that every sandbox has."""
    names: dict[str, Any] = {"__name__": "start", "__loader__": SourceFileLoader("start", "start")}
    exec(compile(ask(b"l"), "<start>", "exec"), names)
    return names


library, home, *words = sys.argv[1:]
open_streams()
settle(home, words)
start = launcher()
path, program = start["program"](words[0], library)
try:
    with open(path, "rb") as file:
        source = file.read()
    exec(compile(source, path, "exec", dont_inherit=True), program)
except SystemExit:
    raise
except BaseException as error:  # noqa: BLE001 shown, as the interpreter does
    start["report"](start["without_us"](error))
    sys.exit(INTERRUPTED if isinstance(error, KeyboardInterrupt) else 1)
