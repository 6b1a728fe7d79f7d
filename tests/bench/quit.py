"""From `:quit` to the last process, and from the death of lmboot (SIGKILL) to the last process.

The runtime has sixty descendants that left its session and ignore SIGTERM. Seconds, median and
maximum, of every back end that has processes; wanted: at most 2. There is no other side: a bare
Popen would leave all sixty behind. What is left after ten seconds is a failure.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil

from tests import leaks
from tests.cli.program import ROOT, payload
from tests.runtime.test_lifecycle import remove_what_the_dead_left

ROUNDS = 10
DESCENDANTS = 60
SANDBOXES = ("bubblewrap", "landlock", "podman")
START_SECONDS = 60.0
PATIENCE_SECONDS = 10.0
STUBBORN = f"""\
import os, signal, time
for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
    signal.signal(number, signal.SIG_IGN)
for _ in range({DESCENDANTS}):
    if os.fork() == 0:
        os.setsid()
        os.write(1, b"here\\n")
        time.sleep(1000)
time.sleep(1000)
"""

Program = subprocess.Popen[bytes]


def by_quit(program: Program) -> None:
    """End a session as its user does."""
    assert program.stdin is not None
    program.stdin.write(b":quit\n")
    program.stdin.flush()


def by_kill(program: Program) -> None:
    """Let lmboot have no say."""
    program.kill()


WAYS: dict[str, Callable[[Program], None]] = {"quit": by_quit, "killed": by_kill}


@contextlib.contextmanager
def session(sandbox: str, source: str, **manifest: object) -> Iterator[Program]:
    """Run a payload in the whole program, with folders of its own; it is gone at the end."""
    with tempfile.TemporaryDirectory(prefix="lmboot-bench-") as folder:
        file = Path(folder, "payload.json")
        file.write_text(payload(source, **manifest))
        words = ["boot", "--payload", str(file), "--yes", "--sandbox", sandbox, "--wait", "0.1"]
        kept = {f"XDG_{name}_HOME": f"{folder}/{name}" for name in ("CONFIG", "DATA", "STATE")}
        program = subprocess.Popen(
            [sys.executable, "-m", "lmboot", *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=ROOT,
            env={**os.environ, **kept, "PYTHONPATH": str(ROOT)},
        )
        with program:
            try:
                yield program
            finally:
                program.kill()


def seconds_to_the_last(sandbox: str, way: str) -> float:
    """Return how long the tree outlives the wish to end it; raise RuntimeError if some stays."""
    others = leaks.served()
    with session(sandbox, STUBBORN) as program:
        await_descendants(sandbox, program)
        tree = [child.pid for child in psutil.Process(program.pid).children(recursive=True)]
        tree += leaks.served() - others
        if len(tree) < DESCENDANTS:
            raise RuntimeError(f"{sandbox}: only {len(tree)} processes of the tree can be seen")
        handles = [os.pidfd_open(pid) for pid in tree]
        try:
            began = time.perf_counter()
            WAYS[way](program)
            left = wait_for(handles)
            took = time.perf_counter() - began
        finally:
            for handle in handles:
                os.close(handle)
    remove_what_the_dead_left()
    if left:
        raise RuntimeError(f"{sandbox}, {way}: {left} of {len(tree)} processes are left")
    return took


def await_descendants(sandbox: str, program: Program) -> None:
    """Wait until all have said so; raise RuntimeError when they don't.

    A session outlives its runtime, so the end of its output can't be waited for.
    """
    assert program.stdout is not None
    said, deadline = b"", time.monotonic() + START_SECONDS
    while said.count(b"here") < DESCENDANTS:
        left = deadline - time.monotonic()
        piece = b""
        if left > 0 and select.select([program.stdout], [], [], left)[0]:
            piece = os.read(program.stdout.fileno(), 1 << 16)
        if not piece:
            raise RuntimeError(f"{sandbox}: {said.count(b'here')} descendants have started")
        said += piece


def wait_for(handles: list[int]) -> int:
    """Wait until the processes have ended; return how many have not."""
    poller, left = select.poll(), set(handles)
    for handle in handles:
        poller.register(handle, select.POLLIN)
    deadline = time.perf_counter() + PATIENCE_SECONDS
    while left and time.perf_counter() < deadline:
        for handle, _ in poller.poll(100):
            poller.unregister(handle)
            left.discard(handle)
    for handle in left:
        with contextlib.suppress(OSError):
            signal.pidfd_send_signal(handle, signal.SIGKILL)
    return len(left)


def main(rounds: int = ROUNDS, sandboxes: tuple[str, ...] = SANDBOXES) -> dict[str, Any]:
    """Run the benchmark; return seconds by back end and way."""
    figures: dict[str, Any] = {"descendants": DESCENDANTS, "rounds": rounds, "at_most_s": 2.0}
    for sandbox in sandboxes:
        for way in WAYS:
            took = [seconds_to_the_last(sandbox, way) for _ in range(rounds)]
            figures[f"{sandbox}_{way}_s"] = statistics.median(took)
            figures[f"{sandbox}_{way}_max_s"] = max(took)
    return figures
