"""Start a payload's FILE where descriptors have no numbers to be handed over by: on Windows.

The twin of `start.py`, which lies beside it and does what is the same. LMBOOT_PIPES are two
handles of pipes to the host: to read from, to write to. The host says a nonce, we answer READY
with it; it says GO and how many bytes follow, which are what `start.py` finds in its descriptor.
RUN is told when all of that is in place, FAULT when it can't be: then nothing has run. From there
on, the pipes are the way to the broker. Never run on Windows by those who wrote it. Python 3.9+.
"""

import importlib
import os
import sys
import time
from collections.abc import Callable
from typing import Any

if sys.platform == "win32":
    import msvcrt

NAMES = {"PATH", "LANG", "HOME", "TMPDIR", "TEMP", "TMP", "SYSTEMROOT"}
NONCE_BYTES = 32  # what the data begins with, for a launcher that has no other way to learn it


def line(descriptor: int) -> bytes:
    """Read up to the end of a line, and not one byte further."""
    found = b""
    while not found.endswith(b"\n"):
        byte = os.read(descriptor, 1)
        if not byte:
            os._exit(1)  # the host has hung up
        found += byte
    return found[:-1]


def exactly(descriptor: int, count: int) -> bytes:
    """Read so many bytes."""
    parts = []
    while count:
        part = os.read(descriptor, min(count, 1 << 16))
        if not part:
            os._exit(1)
        parts.append(part)
        count -= len(part)
    return b"".join(parts)


def prepare(
    reading: int, writing: int, unpack: Callable[[bytes], tuple[str, list[str]]]
) -> tuple[str, list[str]]:
    """Wait for the payload and unpack it; return (folder of the host's library, limits)."""
    os.write(writing, b"READY %b\n" % line(reading))
    word, _, count = line(reading).partition(b" ")
    if word != b"GO":
        os._exit(1)
    data = exactly(reading, int(count))
    try:
        library, limits = unpack(data[NONCE_BYTES:])
    except Exception as error:  # noqa: BLE001 whatever it is: the host must hear of it
        os.write(writing, f"FAULT {error!r:.300}\n".encode("ascii", "replace"))
        os._exit(1)
    os.environ["LMBOOT_FD"] = f"{reading},{writing}"
    os.write(writing, b"RUN\n")
    return library, limits


def waits(descriptor: int, seconds: float) -> bool:
    """Say whether bytes wait, or come in time; at a pipe of Windows one can only look."""
    if sys.platform == "win32":
        import _winapi

        deadline = time.monotonic() + seconds
        while True:
            try:
                if _winapi.PeekNamedPipe(msvcrt.get_osfhandle(descriptor), 0)[0]:
                    return True
            except OSError:
                return True  # it has ended: reading tells
            if time.monotonic() >= deadline:
                return False
            time.sleep(0.005)
    else:
        raise OSError("elsewhere a socket is waited for")


if __name__ == "__main__" and sys.platform == "win32":
    folder = os.path.dirname(os.path.abspath(__file__))
    sys.path.insert(0, folder)
    start: Any = importlib.import_module("start")
    sys.path.remove(folder)
    sys.modules["_pipes"] = sys.modules["__main__"]  # by which guest_sys finds `waits`
    for name in set(os.environ) - NAMES:
        if not name.startswith("LMBOOT_"):
            del os.environ[name]  # Windows has added it
    into, out = map(int, os.environ.pop("LMBOOT_PIPES").split(","))
    reading = msvcrt.open_osfhandle(into, os.O_RDONLY | os.O_BINARY)
    writing = msvcrt.open_osfhandle(out, os.O_WRONLY | os.O_BINARY)
    library, _ = prepare(reading, writing, start.unpack)  # what limits it is its job
    path, names = start.program(sys.argv[0], library)
    try:
        with open(path, "rb") as file:
            source = file.read()
        exec(compile(source, path, "exec", dont_inherit=True), names)
    except SystemExit:
        raise
    except BaseException as error:
        start.report(start.without_us(error))
        raise
