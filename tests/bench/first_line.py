"""From the last byte of a payload to the first line of its runtime on the screen.

Between them lie judging, the review, keeping the payload, the launch in the sandbox, and showing.
A look-alike server streams the seed model's payload; its sandbox was set up meanwhile, as always.
Two figures: the session itself (`lmboot_ms`), and the whole command as a user runs it, from the
last byte that the server sent to the line on the command's standard output (`command_ms`). The
other side is a bare Popen([python3, FILE]) of the same file to its first line.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter

from assets.seed.texts import PAYLOAD
from lmboot.app.boot import Boot
from lmboot.app.options import Options
from lmboot.app.places import Places
from lmboot.app.view import Shown
from lmboot.bootstrap.handshake import Step, Streaming
from lmboot.cli.pipe import no_lines
from lmboot.settings import Settings
from tests.bench.measure import medians
from tests.connections.lookalike import Exchange, Lookalike, script
from tests.fakes import FakeView

ROUNDS = 20
PAUSE_SECONDS = 0.1
ROOT = Path(__file__).parents[2]
SHELL = ROOT / "assets" / "seed" / "guest_shell.py"
LIBRARY = ROOT / "lmboot" / "runtime" / "guest"


class Watcher(FakeView):
    """A front end that notes when the last piece came, and when the first line was shown."""

    last_piece = first_line = 0.0

    async def show(self, shown: Shown) -> None:
        """Note the first line of the runtime."""
        if shown.pane == "rt" and not self.first_line:
            self.first_line = perf_counter()
        await super().show(shown)

    async def step(self, step: Step) -> None:
        """Note the last piece of the answer."""
        if isinstance(step, Streaming):
            self.last_piece = perf_counter()

    async def lines(self) -> AsyncIterator[str]:
        """Say nothing, and end the session when the first line was shown."""
        await self.until(lambda: self.first_line > 0)
        async for line in no_lines():
            yield line


class Noting(Lookalike):
    """A look-alike that notes when it has sent the payload's last byte."""

    def __init__(self) -> None:
        super().__init__("noted", reply=PAYLOAD)
        self.last_byte = 0.0


@script
async def noted(chat: Exchange) -> None:
    """Answer as a good server does, and note when the text's last piece goes out.

    Before it there is a pause: a model is slower than the reading of what it writes.
    """
    await chat.start()
    await chat.say(chat.reply[:-1])
    await asyncio.sleep(PAUSE_SECONDS)
    assert isinstance(chat.server, Noting)
    chat.server.last_byte = perf_counter()
    await chat.say(chat.reply[-1])
    await chat.end()


async def session(server: Noting) -> float:
    """Return the seconds inside one session."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        places = Places(
            *(home / name for name in ("settings.toml", "payloads", "transcripts", "audit"))
        )
        view = Watcher()
        options = Options(server=server.base, yes=True, paced=False)
        await Boot(options, view, Settings(), places).run(view.lines())
    return view.first_line - view.last_piece


async def command(server: Noting) -> float:
    """Return the seconds of one command, with the user's folders elsewhere but for the cache."""
    with tempfile.TemporaryDirectory() as folder:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "lmboot", "boot", "--server", server.base, "--yes", "--json"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "XDG_DATA_HOME": folder, "XDG_STATE_HOME": folder},
        )
        assert process.stdout is not None
        async for line in process.stdout:
            if line.startswith(b'{"pane": "rt"'):
                took = perf_counter() - server.last_byte
                break
        await process.communicate(b"")  # the end of its input ends the session
    return took


def popen() -> float:
    """Return the seconds of one bare start."""
    began = perf_counter()
    with bare() as process:
        assert process.stdout is not None
        process.stdout.readline()
        return perf_counter() - began


@contextmanager
def bare() -> Iterator[subprocess.Popen[bytes]]:
    """Start the file with the host's library on its path, and nothing around it."""
    with subprocess.Popen(
        ["/usr/bin/python3", SHELL],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={"PYTHONPATH": str(LIBRARY)},
    ) as process:
        yield process
        process.kill()


async def figures(rounds: int) -> dict[str, float]:
    """Return milliseconds and the ratios."""
    server = Noting()
    async with server:
        inside, whole, other = await medians(
            rounds,
            lambda: session(server),
            lambda: command(server),
            lambda: asyncio.to_thread(popen),
        )
    return {
        "lmboot_ms": inside * 1e3,
        "command_ms": whole * 1e3,
        "popen_ms": other * 1e3,
        "ratio": inside / other,
        "command_ratio": whole / other,
        "at_most": 1.6,
    }


def main() -> dict[str, float]:
    """Run the benchmark."""
    return asyncio.run(figures(ROUNDS))
