"""How long Tk's thread was busy without a look at what waits: the stalls that a user feels."""

from __future__ import annotations

import time
import tkinter as tk
from collections.abc import Callable
from itertools import pairwise

from tests.gui.tkroot import wait_until

BEAT_MS = 5
# The goal is a frame; a busy machine makes even the time of one thread longer. What these tests
# are against took seconds.
LENIENT = 0.1


def longest_stall(
    root: tk.Misc, do: Callable[[], object], until: Callable[[], object], seconds: float = 30.0
) -> float:
    """Return the most seconds of this thread's own time between two beats, `do` included.

    The processor's time is counted, not the clock's: other processes are no stalls of ours.
    """
    beats = [time.thread_time()]
    timer = ""

    def beat() -> None:
        nonlocal timer
        beats.append(time.thread_time())
        timer = root.after(BEAT_MS, beat)

    beat()
    do()
    wait_until(root, until, seconds)
    root.update()
    beats.append(time.thread_time())
    root.after_cancel(timer)
    return max(after - before for before, after in pairwise(beats))
