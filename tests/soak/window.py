"""One window used for long: asked, cancelled, run, stopped at random moments; the seed model."""

from __future__ import annotations

import random
import tempfile
import time
from pathlib import Path

import psutil

from tests.gui.desktop import App, Desktop
from tests.gui.driver import agree

ROUNDS = 300
LONGEST = 0.9  # seconds until a round is broken off: within them a seed model's reply is whole
MOST_GROWTH = 24 << 20  # of the program itself, over all rounds
IDLE_PROCESSES = 2  # the program and its engine


def broken_off(app: App, seconds: float) -> None:
    """Ask, and cancel after a while; what is there to be reviewed by then is refused."""
    app.key("ctrl+b")
    time.sleep(seconds)
    app.key("Escape")

    def ready() -> bool:
        if "review" in app.title():
            app.key("Escape")
        return "ready" in app.title()

    app.wait_until(ready, "an end of the asking")


def run_and_stopped(app: App, seconds: float) -> None:
    """Run the program that the model writes, and stop it after a while."""
    app.key("ctrl+b")
    app.wait_title("review")
    agree(app)
    time.sleep(seconds)
    app.wait_title("running")
    app.key("ctrl+period")
    app.wait_title("ended")


def soak(count: int) -> dict[str, float]:
    """Run so many rounds; return how much the program grew, in bytes, and what it held."""
    generator = random.Random(count)
    with tempfile.TemporaryDirectory() as folder, Desktop(Path(folder)) as desktop:
        app = desktop.start()
        app.wait_title("ready")
        program = psutil.Process(app.process.pid)
        run_and_stopped(app, 0)
        before = program.memory_info().rss
        for number in range(count):
            moment = generator.uniform(0, LONGEST)
            if number % 10 == 9:
                run_and_stopped(app, moment / 3)
            else:
                broken_off(app, moment)
        grown = program.memory_info().rss - before
        app.wait_until(lambda: len(app.family()) <= IDLE_PROCESSES + 1, "its children to end")
        open_files = program.num_fds()
        app.close()
        if app.wait_end() or app.errors() or grown > MOST_GROWTH:
            raise AssertionError(f"grown by {grown}, {app.process.returncode}: {app.errors()}")
    return {"rounds": count, "grown_bytes": grown, "descriptors": open_files}


def main(count: int = ROUNDS) -> dict[str, float]:
    """Run `count` rounds."""
    return soak(count)
