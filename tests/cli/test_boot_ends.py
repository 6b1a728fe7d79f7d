"""However a session ends, it ends soon, says why, and leaves nothing behind."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal

import psutil
import pytest

from lmboot.cli.boot import _on_signals
from tests.cli.conftest import living
from tests.cli.program import ECHO, Bench, becomes
from tests.connections.lookalike import Lookalike

SILENT = "input()"
ENDLESS = "while True: print('x' * 1000, flush=True)"
SIGNALS = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]


def words_of(pid: int) -> list[str]:
    with contextlib.suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).cmdline()
    return []


def boot(bench: Bench, program: str) -> tuple[str, ...]:
    return ("boot", "--payload", bench.payload(program), "--yes", "--json")


@pytest.mark.parametrize("number", SIGNALS)
async def test_a_signal_stops_the_runtime_and_ends_with_130(
    bench: Bench, number: signal.Signals
) -> None:
    async with bench.started(*boot(bench, ECHO)) as session:
        await session.until("ready")
        session.kill(number)

        done = await session.over()

    assert (done.code, done.events[-1]) == (130, "ended")
    assert "interrupted" in done.err


class WithoutSignals(asyncio.SelectorEventLoop):
    """A loop as Windows has it: it takes no handlers of signals."""

    def add_signal_handler(self, *_: object) -> None:
        raise NotImplementedError


def test_a_loop_that_takes_no_signals_hears_of_them_too() -> None:
    async def ended(number: signal.Signals) -> None:
        told = asyncio.Event()
        _on_signals(told.set)
        os.kill(os.getpid(), number)
        async with asyncio.timeout(60):
            await told.wait()

    before = {number: signal.getsignal(number) for number in SIGNALS}
    try:
        for number in SIGNALS:
            with asyncio.Runner(loop_factory=WithoutSignals) as runner:
                runner.run(ended(number))
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


async def test_a_signal_counts_before_the_runtime_has_said_anything(bench: Bench) -> None:
    async with bench.started(*boot(bench, SILENT)) as session:
        await session.until("started")
        session.kill(signal.SIGTERM)

        done = await session.over()

    assert done.code == 130


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_signal_breaks_off_the_asking_and_the_request(
    bench: Bench, number: signal.Signals
) -> None:
    async with Lookalike("stall", reply="{" * 100) as server:
        command = ("boot", "--server", server.base, "--model", "acme/tiny-4b", "--yes", "--json")
        async with bench.started(*command) as session:
            await server.asked()
            session.kill(number)
            done = await session.over()
        async with asyncio.timeout(10):
            await server.disconnected()

    assert (done.code, done.out) == (130, "")
    assert bench.kept == []


async def test_more_signals_are_no_more_than_one(bench: Bench) -> None:
    stubborn = "import signal\nsignal.signal(15, signal.SIG_IGN)\nprint('ready', flush=True)\n"
    async with bench.started(*boot(bench, stubborn + "while True: signal.pause()")) as session:
        await session.until("ready")
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGTERM):
            session.kill(number)
            await asyncio.sleep(0.3)

        done = await session.over()

    assert done.code == 130


async def test_when_nobody_reads_on_the_session_ends(bench: Bench) -> None:
    read, write = os.pipe()
    async with bench.started(*boot(bench, ENDLESS), stdout=write) as session:
        os.close(write)
        await asyncio.to_thread(os.read, read, 100)
        os.close(read)

        done = await session.over()

    assert done.code == 130


async def test_a_reader_that_stands_still_does_not_hold_up_the_end(bench: Bench) -> None:
    read, write = os.pipe()
    async with bench.started(*boot(bench, ENDLESS), stdout=write) as session:
        os.close(write)
        await asyncio.to_thread(os.read, read, 100)
        session.kill(signal.SIGTERM)

        done = await session.over()

    os.close(read)
    assert done.code == 130


async def test_a_reader_that_stands_still_stops_the_runtime_and_loses_nothing(
    bench: Bench,
) -> None:
    # Each line in one piece: half a line that stands still is shown as it is.
    program = "import os\nfor i in range(30_000): os.write(1, b'%d %b\\n' % (i, b'x' * 100))"
    async with bench.started(*boot(bench, program)) as session:
        await session.until('"0 x')

        done = await session.end()

    numbers = [int(text.split()[0]) for text in done.pane("rt")]
    assert numbers == list(range(30_000))


async def test_when_lmboot_is_killed_nothing_lives_on(bench: Bench) -> None:
    before = living()
    daemons = "import os\nfor _ in range(3):\n    if os.fork() == 0: os.setsid()\n"
    program = daemons + "print('ready', flush=True)\nimport time\ntime.sleep(1000)"
    async with bench.started(*boot(bench, program)) as session:
        await session.until("ready")
        assert len(living() - before) > 3
        session.kill(signal.SIGKILL)
        await session.process.wait()

        assert await becomes(lambda: living() <= before)


async def test_when_lmboot_is_killed_its_engine_goes_too(bench: Bench) -> None:
    before = living()
    async with bench.started("boot", "--model", "seed", "--yes", "--json") as session:
        await session.until("ready")
        session.kill(signal.SIGKILL)
        await session.process.wait()

        assert await becomes(lambda: living() <= before)


async def test_an_engine_that_dies_is_told_and_the_runtime_goes_on(bench: Bench) -> None:
    async with bench.started("boot", "--model", "seed", "--yes", "--json") as session:
        await session.until("ready")
        (engine,) = [pid for pid in living() if "engine_child" in " ".join(words_of(pid))]
        os.kill(engine, signal.SIGKILL)
        await session.say(":ai hello", ":rt calc 1+1")
        await session.until('"text": "2"')
        done = await session.end()

    assert (done.code, done.events) == (3, ["payload", "started", "error", "ended"])


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
async def test_streams_that_were_closed_harm_nothing(bench: Bench, closed: str) -> None:
    bench.prefix = ["sh", "-c", f'exec "$@" {closed}', "sh"]

    async with bench.started(*boot(bench, ECHO)) as session:
        done = await session.end()

    assert done.code == 0
    assert done.events[-1:] == ([] if ">&-" in closed.split() else ["ended"])


async def test_input_from_a_file_is_taken_like_a_pipes(bench: Bench) -> None:
    file = bench.folder / "lines"
    file.write_text(":rt one\r\n:rt two")
    with file.open("rb") as lines:
        async with bench.started(*boot(bench, ECHO), stdin=lines) as session:
            done = await session.over()

    assert done.pane("rt") == ["ready", "you said one", "you said two"]


async def test_input_that_does_not_block_is_waited_for(bench: Bench) -> None:
    read, write = os.pipe()
    os.set_blocking(read, False)
    async with bench.started(*boot(bench, ECHO), stdin=read) as session:
        os.close(read)
        await session.until("ready")
        os.write(write, b":rt one\n")
        await session.until("you said one")
        os.close(write)
        done = await session.over()

    assert done.code == 0


async def test_a_reader_that_has_seen_enough_is_no_error(bench: Bench) -> None:
    read, write = os.pipe()
    os.close(read)
    async with bench.started("primer", stdout=write) as session:
        os.close(write)
        done = await session.over()

    assert (done.code, done.err) == (130, "")
