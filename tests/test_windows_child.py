"""The twin of `process.Child`: its pipes, threads and process are real, and its job is a fake."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import sys
import textwrap
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from lmboot.process import Ended, Output, StartFailed
from lmboot.runtime.backends import Plan
from lmboot.runtime.policy import Limits
from lmboot.runtime.run import Job, packed
from lmboot.windows import KILLED
from lmboot.windows_child import Child, Pipe
from tests import leaks
from tests.held import Started, begun, outcome

GUEST = Path(__file__).parents[1] / "lmboot/runtime/guest"
# What `pipes.py` does on Windows, with descriptors in place of handles.
LAUNCH = """
import os, sys
sys.path.insert(0, sys.argv[1])
import pipes, start
library, _ = pipes.prepare(int(sys.argv[2]), int(sys.argv[3]), start.unpack)
path, names = start.program(sys.argv[0], library)
exec(compile(open(path).read(), path, "exec"), names)
"""


def started(folder: Path, program: str, limits: Limits) -> Started:
    files = (("main.py", textwrap.dedent(program).encode()),)
    plan = Plan(argv=(), env={}, library=str(GUEST), contents={})
    payload = packed(Job(files, ("main.py",), limits, {}), plan, unpack=True)
    argv = [sys.executable, "-I", "-S", "-u", "-c", LAUNCH, str(GUEST), "{into}", "{out}"]
    return Started(argv, folder, payload)


@contextlib.asynccontextmanager
async def child(
    folder: Path, program: str, limits: Limits | None = None
) -> AsyncIterator[tuple[Child, Started]]:
    limits = limits or Limits()
    app = folder / "app"
    app.mkdir()
    before = leaks.descriptors()
    process = started(app, program, limits)
    async with begun(process, {str(app): 1 << 20}, limits) as made:
        yield made, process
    assert leaks.wait_until(lambda: leaks.descriptors() <= before)


async def test_what_it_writes_comes_before_its_end(tmp_path: Path) -> None:
    program = """
        import sys
        sys.stdout.write("x" * 300_000)
        sys.stderr.write("oh")
        sys.exit(7)
        """
    async with child(tmp_path, program) as (made, _):
        assert await outcome(made) == (b"x" * 300_000, b"oh", Ended(7, None, clean=True))
        assert made.gone


async def test_lines_arrive_in_the_order_in_which_they_were_sent(tmp_path: Path) -> None:
    lines = [b"%d\n" % number for number in range(300)]
    async with child(tmp_path, "import sys; print(sys.stdin.read(), end='')") as (made, _):
        for line in lines:
            assert await made.send(line)
        stopping = asyncio.create_task(made.stop())
        out, _, _ = await outcome(made)
        await stopping

    assert out.splitlines(keepends=True) == lines


async def test_lines_go_in_and_the_job_has_its_limits(tmp_path: Path) -> None:
    limits = Limits(memory_mb=64, processes=5, cpu_seconds=9)
    async with child(tmp_path, "print(input() + input())", limits) as (made, started):
        assert started.job.limits == {"memory": 64 << 20, "processes": 5, "cpu": 9}
        assert await made.send(b"a\n")
        assert await made.send(b"b\n")
        out, _, ended = await outcome(made)

    assert (out, ended) == (b"ab\n", Ended(0, None, clean=True))


async def test_what_is_not_asked_for_is_not_read(tmp_path: Path) -> None:
    program = """
        import os, time
        os.set_blocking(1, False)
        written = 0
        try:
            while True:
                written += os.write(1, bytes(1 << 16))
        except BlockingIOError:
            open("written", "w").write(str(written))
        time.sleep(60)
        """
    async with child(tmp_path, program) as (made, _):
        note = tmp_path / "app/written"
        assert await asyncio.to_thread(leaks.wait_until, note.exists, 30.0)
        assert int(note.read_text() or 0) < 1 << 21  # what a pipe holds, and no more
        await made.end("output")


async def test_a_stdin_that_nobody_reads_takes_a_mebibyte_and_then_no_more(tmp_path: Path) -> None:
    async with child(tmp_path, "import time; time.sleep(60)") as (made, _):
        taken = 0
        while await made.send(bytes(1 << 18)):
            taken += 1
            assert taken < 20
        await made.stop()

    assert taken >= 4


async def test_stop_lets_it_end_by_itself_when_stdin_ends(tmp_path: Path) -> None:
    program = "import sys; sys.stdout.write('ready\\n'); sys.exit(3 + len(sys.stdin.read()))"
    async with child(tmp_path, program) as (made, _):
        events = made.events()
        assert await anext(events) == Output("out", b"ready\n")
        await made.stop()
        rest = [event async for event in events]

    assert rest == [Ended(3, None, clean=True)]


async def test_stop_ends_what_does_not(tmp_path: Path) -> None:
    async with child(tmp_path, "import time; time.sleep(600)") as (made, _):
        await made.stop()
        made.interrupt()

        assert await outcome(made) == (b"", b"", Ended(KILLED, None, clean=True))
        assert not await made.send(b"x")


@pytest.mark.parametrize(
    ("message", "cpu", "limits", "expected"),
    [
        (10, 0.0, Limits(), "memory"),
        (1, 0.0, Limits(), "cpu"),
        (None, 99.0, Limits(cpu_seconds=5), "cpu"),
        (None, 0.0, Limits(wall_seconds=0.2), "wall"),
    ],
)
async def test_a_limit_ends_it_and_is_named(
    message: int | None, cpu: float, limits: Limits, expected: str, tmp_path: Path
) -> None:
    async with child(tmp_path, "import time; time.sleep(600)", limits) as (made, started):
        started.job.messages += [] if message is None else [message]
        started.job.cpu = cpu

        assert (await outcome(made))[2] == Ended(KILLED, expected, clean=True)


async def test_a_folder_that_holds_too_much_ends_it(tmp_path: Path) -> None:
    program = "open('f', 'wb').write(bytes(2 << 20)); import time; time.sleep(600)"
    async with child(tmp_path, program) as (made, _):
        assert (await outcome(made))[2] == Ended(KILLED, "disk", clean=True)


async def test_the_channel_goes_both_ways_and_its_end_is_seen(tmp_path: Path) -> None:
    program = """
        import os
        reading, writing = map(int, os.environ["LMBOOT_FD"].split(","))
        os.write(writing, b"asked\\n")
        print(os.read(reading, 100).decode(), flush=True)
        """
    async with child(tmp_path, program) as (made, started):
        loop = asyncio.get_running_loop()
        started.channel.setblocking(False)
        async with asyncio.timeout(30):
            assert await loop.sock_recv(started.channel, 100) == b"asked\n"
            await loop.sock_sendall(started.channel, b"answered")
            out, _, _ = await outcome(made)
            assert await loop.sock_recv(started.channel, 100) == b""

    assert out == b"answered\n"


async def test_a_payload_that_can_t_be_unpacked_is_a_failed_start(tmp_path: Path) -> None:
    app = tmp_path / "app"
    app.mkdir()
    (app / "main.py").touch()  # in the way of the payload's

    with pytest.raises(StartFailed, match="FileExistsError"):
        async with begun(started(app, "print(1)", Limits()), {}, Limits()):
            pass


def test_a_launcher_that_says_something_else_is_not_believed() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(b"READY other\n")

        with pytest.raises(StartFailed, match="no proper sign of life"):
            Pipe(ours.fileno(), ours.fileno()).await_ready("nonce")


def test_a_launcher_that_ends_is_noticed_at_once() -> None:
    ours, theirs = socket.socketpair()
    theirs.close()

    with ours, pytest.raises(StartFailed, match="or ended"):
        Pipe(ours.fileno(), ours.fileno()).line(60.0)
