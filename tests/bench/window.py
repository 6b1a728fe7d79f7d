"""From the start of the window's process to the window, and to the models that are listed in it.

Both are seen from outside: X tells another program that a real window was mapped, and that its
title says "ready". A look-alike of LM Studio answers at once; home and settings are new each time.
The other side is a bare `tk.Tk()`, mapped. There is no window manager: it would add the same to
both sides, and so flatter the ratios.
"""

from __future__ import annotations

import statistics
import sys
import time
from contextlib import closing
from pathlib import Path

from tests.bench.display import Watch, desktop, gone, new_home
from tests.connections.lookalike import running
from tests.gui.desktop import Desktop

ROUNDS = 15
PAUSE_SECONDS = 0.2  # for the machine to calm down after the round before
BARE = (sys.executable, "-c", "import tkinter; tkinter.Tk().mainloop()")
WINDOW = (str(Path(sys.executable).with_name("lmboot")),)  # as the user starts it


def start(
    screen: Desktop, watch: Watch, command: tuple[str, ...], server: str = ""
) -> tuple[float, float]:
    """Return the seconds until a window was mapped; with a server also until it was "ready"."""
    new_home(screen)
    time.sleep(PAUSE_SECONDS)
    watch.forget()
    began = time.perf_counter()
    app = screen.start(command=command, env={"LMSTUDIO_BASE_URL": server} if server else {})
    window, mapped = watch.mapped()
    ready = watch.titled(watch.follow(window), "ready") if server else mapped
    assert ready, "waited in vain for the title"
    app.kill()
    gone(screen)
    return mapped - began, ready - began


def rounds(count: int) -> list[list[float]]:
    """Return the seconds of all: bare, mapped, ready; the first round only warms the caches."""
    with (
        running("plain") as server,
        desktop(manager=False) as screen,
        closing(Watch(screen.display)) as watch,
    ):
        taken = [
            [start(screen, watch, BARE)[0], *start(screen, watch, WINDOW, server)]
            for _ in range(count + 1)
        ]
    return [list(side) for side in zip(*taken[1:], strict=True)]


def main() -> dict[str, float]:
    """Run the benchmark; return milliseconds and ratios."""
    bare, mapped, ready = (statistics.median(side) * 1e3 for side in rounds(ROUNDS))
    return {
        "bare_ms": bare,
        "mapped_ms": mapped,
        "ready_ms": ready,
        "mapped_ratio": mapped / bare,
        "mapped_at_most": 2.5,
        "ready_ratio": ready / bare,
        "ready_at_most": 6.0,
    }
