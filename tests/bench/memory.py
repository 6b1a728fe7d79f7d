"""The memory of lmboot while a guest floods it: output, requests, files, notices read slowly.

Four runs of a minute each in the whole program; after a tenth of it, by when everything is
loaded, resident memory may not grow by more than 5 MB. That of the supervisor counts too. There
is no other side: the figure is the growth itself.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from typing import Any

import psutil

from tests.bench.quit import Program, session
from tests.runtime.test_lifecycle import remove_what_the_dead_left

SECONDS = 60.0
SLOW_SECONDS = 0.1  # between two looks of a slow reader, who takes a pipe's worth each time
LOOK_SECONDS = 0.1
AT_MOST_MB = 5.0
READY = "import os, time\nprint('ready', flush=True)\n"
FLOODS = {  # as fast as it goes, but output: 256 MB of that would end the run
    "output": READY
    + """
piece = (b"x" * 99 + b"\\n") * 300
while True:
    os.write(1, piece)
    os.write(2, b"\\x1b[31m\\xff\\n" * 500)
    time.sleep(0.01)
""",
    "frames": READY
    + """
channel, number = int(os.environ["LMBOOT_FD"]), 0
import threading
def read():
    while os.read(channel, 1 << 16):
        pass
threading.Thread(target=read, daemon=True).start()
while True:
    number += 2
    os.write(channel, b'{"id":%d,"op":"time","args":{}}\\n' % number)
    os.write(channel, b'{"id":%d,"op":"made.up","args":{"a":"%s"}}\\n' % (number + 1, b"x" * 500))
""",
    "notices": READY
    + """
channel, number = int(os.environ["LMBOOT_FD"]), 0
import threading
def read():
    while os.read(channel, 1 << 16):
        pass
threading.Thread(target=read, daemon=True).start()
while True:
    number += 1
    os.write(channel, b'{"id":%d,"op":"notify","args":{"text":"%s"}}\\n' % (number, b"n" * 4000))
""",
    "files": READY
    + """
number = 0
while True:
    number += 1
    for name in ("a", "b", "c"):
        with open(f"{name}{number % 500}", "wb") as file:
            file.write(bytes(20_000))
    if number % 7 == 0:
        os.remove(f"a{number % 500}")
""",
}


def growth(kind: str, seconds: float, sandbox: str) -> dict[str, float]:
    """Return by how many megabytes lmboot, and its supervisor, grew at most."""
    with session(sandbox, FLOODS[kind], routes={"time": "HOST", "notify": "HOST"}) as program:
        assert program.stdout is not None
        assert program.stdin is not None
        program.stdin.write(b":grant time\n:grant notify\n")
        program.stdin.flush()
        while b"ready" not in (line := program.stdout.readline()):
            if not line:
                raise RuntimeError(f"{kind}: the runtime did not start")
        threading.Thread(target=_drain, args=(program, kind == "notices"), daemon=True).start()
        lmboot = psutil.Process(program.pid)
        watched = {"lmboot": lmboot, "supervisor": lmboot.children()[0]}
        time.sleep(seconds / 10)
        first = {name: process.memory_info().rss for name, process in watched.items()}
        most = dict(first)
        until = time.monotonic() + seconds * 0.9
        while time.monotonic() < until:
            time.sleep(LOOK_SECONDS)
            if program.poll() is not None:
                raise RuntimeError(f"{kind}: the run ended by itself")
            for name, process in watched.items():
                most[name] = max(most[name], process.memory_info().rss)
        if not psutil.Process(program.pid).children(recursive=True)[1:]:
            raise RuntimeError(f"{kind}: the runtime was ended")
    remove_what_the_dead_left()
    return {f"{kind}_{name}_mb": (most[name] - first[name]) / (1 << 20) for name in watched}


def _drain(program: Program, slowly: bool) -> None:
    assert program.stdout is not None
    with contextlib.suppress(OSError, ValueError):  # it is closed when the session is over
        while os.read(program.stdout.fileno(), 1 << 16):
            if slowly:
                time.sleep(SLOW_SECONDS)


def main(seconds: float = SECONDS, sandbox: str = "auto") -> dict[str, Any]:
    """Run the benchmark; raise RuntimeError where a flood ended before its time."""
    figures: dict[str, Any] = {"seconds": seconds, "at_most_mb": AT_MOST_MB}
    for kind in FLOODS:
        figures |= growth(kind, seconds, sandbox)
    return figures
