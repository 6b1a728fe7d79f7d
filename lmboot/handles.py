"""Hold on to processes, to end them although whoever watched them is gone."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import time
from collections.abc import Iterable

from lmboot import census, system

LOST_SECONDS = 1.0  # for a tree to die when its supervisor was killed


def handles(pids: Iterable[int]) -> list[int]:
    """Return handles of processes, so that they can be killed when the supervisor can't."""
    found: list[int] = []
    for pid in pids:
        with contextlib.suppress(OSError):
            if sys.platform == "linux":
                found.append(os.pidfd_open(pid))
    return found


def end_all(held: Iterable[int]) -> bool:
    """Kill processes by their handles; say whether they are gone within a second."""
    left = set(held)
    if sys.platform == "linux":
        poller = select.poll()
        for handle in left:
            poller.register(handle, select.POLLIN)
            with contextlib.suppress(OSError):
                signal.pidfd_send_signal(handle, signal.SIGKILL)
        while left:
            ended = poller.poll(LOST_SECONDS * 1000)
            if not ended:
                return False
            for handle, _ in ended:
                poller.unregister(handle)
                left.discard(handle)
    return not left


def end_marked(mark: str, _: object) -> bool:
    """Do the same with those of a mark; where there are marks, there are no handles."""
    deadline = time.monotonic() + LOST_SECONDS
    with contextlib.suppress(OSError):  # nobody can tell what is left
        while left := census.marked(mark):
            for pid in left:
                with contextlib.suppress(OSError):
                    os.kill(pid, system.KILL)
            if time.monotonic() > deadline:
                return False
            time.sleep(0.01)
        return True
    return False
