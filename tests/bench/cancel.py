"""Cancel and Stop, by real keys, in the whole program: until it is seen, and until all is quiet.

Seen is the title's change, as X tells of it: wanted within 100 ms. Quiet is when no connection to
the server is open, no process of a runtime or a sandbox is left, and nothing is staged on the
disk: wanted within 2.5 s. The server loads for ever, then streams for ever; the runtime has three
children that left its session and heed nothing. Median and maximum of all rounds.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from tests.bench.display import Others, Watch, agree, desktop, gone, new_home
from tests.cli.program import payload
from tests.connections.lookalike import Served
from tests.gui.desktop import App, Desktop, wait_until
from tests.gui.server import Server

ROUNDS = 15
LOOK_SECONDS = 0.01  # between two looks whether all is quiet
PAUSE_SECONDS = 0.3  # in the middle of what is cancelled
STUBBORN = """\
import os, signal, time
for _ in range(3):
    if os.fork() == 0:
        os.setsid()
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        time.sleep(1000)
print("ready", flush=True)
time.sleep(1000)
"""


class Took(NamedTuple):
    """Seconds from the key until it was seen, and until all was quiet."""

    seen: float
    quiet: float


class Case:
    """A program with its server; `leave` is what every round is about."""

    def __init__(self, screen: Desktop, watch: Watch, server: Server, home: Path) -> None:
        self._watch, self._server, self._home = watch, server, home
        self.app: App = screen.start(env={"LMSTUDIO_BASE_URL": server.base})
        self.app.wait_title("ready")
        self._window = watch.follow(self.app.main().number)

    def leave(self, at: str, then: str, *keys: str) -> Took:
        """Wait for a title, press keys, and wait for another title, and for quiet."""
        self.app.wait_title(at)
        time.sleep(PAUSE_SECONDS)
        assert not self._quiet(), f"nothing is there to be cancelled: {at}"
        pressed = self._watch.press(*keys)
        seen = self._watch.titled(self._window, then)
        assert seen, self.app.title()
        wait_until(self._quiet, "quiet", self.app.title)
        return Took(seen - pressed, time.perf_counter() - pressed)

    def _quiet(self) -> bool:
        time.sleep(LOOK_SECONDS)
        port = urlsplit(self._server.base).port or 0
        return not (connections(port) or staged(self._home) or self.app.family()[1:])


def connections(port: int) -> int:
    """Return how many connections to a port of this machine are open in a program."""
    wanted, found = f":{port:04X}", 0
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        _, _, remote, _, _, _, _, _, _, inode, *_ = line.split()
        found += remote.endswith(wanted) and inode != "0"
    return found


def staged(home: Path) -> list[Path]:
    """Return what is written for a runtime, and what is only half written."""
    workspaces = home / "cache" / "lmboot" / "workspaces"
    return [*workspaces.glob("*"), *(home / "data" / "lmboot").rglob(".new-*")]


def loading(case: Case) -> Took:
    """Cancel a model that is being loaded."""
    case.app.key("ctrl+b")
    return case.leave("loading", "ready", "Escape")


def streaming(case: Case) -> Took:
    """Cancel an answer."""
    case.app.key("ctrl+b")
    return case.leave("streaming", "ready", "Escape")


def running(case: Case) -> Took:
    """Stop a runtime; it is started from a review the first time, then again."""
    if "ended" in case.app.title():
        case.app.type(":restart")
        case.app.key("Return")
    else:
        case.app.key("ctrl+b")
        agree(case.app)
    took = case.leave("running", "stopping|ended", "Control_L", "period")
    case.app.wait_title("ended")
    return took


def rounds(
    screen: Desktop, watch: Watch, do: Callable[[Case], Took], server: Server, count: int
) -> list[Took]:
    """Do the same several times in one program."""
    home = new_home(screen)
    with server:
        case = Case(screen, watch, server, home)
        taken = [do(case) for _ in range(count)]
        case.app.close()
        assert case.app.wait_end() == 0
        assert case.app.errors() == "", case.app.errors()
    gone(screen)
    return taken


def figures(name: str, taken: list[Took]) -> dict[str, float]:
    """Return milliseconds and seconds."""
    seen, quiet = zip(*taken, strict=True)
    return {
        f"{name}_seen_ms": statistics.median(seen) * 1e3,
        f"{name}_seen_max_ms": max(seen) * 1e3,
        f"{name}_quiet_s": statistics.median(quiet),
        f"{name}_quiet_max_s": max(quiet),
    }


def main(count: int = ROUNDS) -> dict[str, float]:
    """Run the benchmark."""
    reply = payload(STUBBORN)
    cases: dict[str, tuple[Callable[[Case], Took], Server]] = {
        "loading": (loading, Server("hold", replies=[reply], models=[Served(loaded=False)])),
        "streaming": (streaming, Server("trickle", replies=[reply])),
        "running": (running, Server("plain", replies=[reply])),
    }
    others, found = Others(), dict[str, float]()
    with desktop() as screen, closing(Watch(screen.display)) as watch:
        for name, (do, server) in cases.items():
            found |= figures(name, rounds(screen, watch, do, server, count))
    limits = {"seen_max_ms_at_most": 100.0, "quiet_max_s_at_most": 2.5}
    return found | limits | {"others_cpus": others.processors()}
