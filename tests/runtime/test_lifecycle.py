"""The end of a run in every form: nothing is left, and it is soon."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from lmboot import cgroups
from lmboot.errors import SandboxFault
from lmboot.process import UIDS, Ended, Output
from lmboot.runtime.backends import landlock, short_base
from lmboot.runtime.launcher import Launcher
from lmboot.runtime.run import Box
from lmboot.workspace import Workspace
from tests import leaks
from tests.runtime.guests import Guest, in_each, job, run, started

pytestmark = pytest.mark.sandbox
EVERY = in_each("bubblewrap", "landlock", "podman", "none")
ROOT = Path(__file__).parents[2]

IGNORE_ALL = """
    import os, signal, sys, time
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    """


@EVERY
async def test_a_runtime_that_reads_its_input_ends_with_it(sandbox: str) -> None:
    program = """
        import sys
        print("ready")
        for line in sys.stdin:
            pass
        print("bye")
        sys.exit(5)
        """
    async with started(program, sandbox=sandbox) as guest:
        await guest.until(b"ready\n")
        began = time.monotonic()

        await guest.stop()

    assert (guest.text, guest.code) == ("ready\nbye\n", 5)
    assert time.monotonic() - began < 1.5  # long before the first signal, unless the machine is


@EVERY
async def test_a_runtime_that_ignores_its_input_gets_a_termination_signal(sandbox: str) -> None:
    program = """
        import signal, sys, time
        def end(*_):
            print("terminated")
            sys.exit(9)
        signal.signal(signal.SIGTERM, end)
        print("ready")
        while True:
            time.sleep(60)
        """
    async with started(program, sandbox=sandbox) as guest:
        await guest.until(b"ready\n")

        await guest.stop()

    assert (guest.text, guest.code) == ("ready\nterminated\n", 9)


@EVERY
async def test_a_runtime_that_ignores_everything_is_killed_within_two_seconds(
    sandbox: str,
) -> None:
    async with started(
        IGNORE_ALL + "\n    print('ready')\n    time.sleep(60)", sandbox=sandbox
    ) as guest:
        await guest.until(b"ready\n")
        began = time.monotonic()

        await guest.stop()
        took = time.monotonic() - began

    assert guest.ended == Ended(137, None, clean=True)
    assert took < 2.0  # the contract's own figure


@EVERY
async def test_a_stopped_runtime_is_killed(sandbox: str) -> None:
    program = "import os, signal; print('ready'); os.kill(os.getpid(), signal.SIGSTOP)"
    if sandbox == "none":
        program = program.replace("os.getpid()", "0")
    async with started(program, sandbox=sandbox) as guest:
        await guest.until(b"ready\n")

        await guest.stop()

    assert guest.ended is not None
    assert guest.ended.clean


DAEMON = (
    IGNORE_ALL
    + """
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            os.closerange(0, 100)
            time.sleep(600)
        os._exit(0)
    os.wait()
    print("ready")
    """
)


@EVERY
async def test_a_daemon_of_its_own_session_is_gone_after_a_stop(sandbox: str) -> None:
    async with started(DAEMON + "\n    time.sleep(600)", sandbox=sandbox) as guest:
        await guest.until(b"ready\n")

        await guest.stop()

    assert guest.ended is not None
    assert guest.ended.clean


@EVERY
async def test_a_daemon_is_gone_when_the_runtime_ends_by_itself(sandbox: str) -> None:
    guest = await run(DAEMON, sandbox=sandbox)

    assert guest.ended == Ended(0, None, clean=True)


@EVERY
async def test_the_end_is_told_though_a_grandchild_holds_the_pipe(sandbox: str) -> None:
    began = time.monotonic()

    guest = await run(
        IGNORE_ALL
        + """
    print("before")
    if os.fork() == 0:
        time.sleep(600)
    """,
        sandbox=sandbox,
    )

    assert (guest.text, guest.ended) == ("before\n", Ended(0, None, clean=True))
    assert time.monotonic() - began < 10


@EVERY
async def test_sixty_descendants_are_gone(sandbox: str) -> None:
    program = (
        IGNORE_ALL
        + """
    for _ in range(12):
        if os.fork() == 0:
            os.setsid()
            for _ in range(3):
                os.fork()
            time.sleep(600)
    print("ready")
    time.sleep(600)
    """
    ).replace("range(12)", "range(7)")
    async with started(program, sandbox=sandbox) as guest:
        await guest.until(b"ready\n")
        assert await asyncio.to_thread(leaks.wait_until, lambda: len(leaks.processes()) >= 56)

        await guest.stop()

    assert guest.ended is not None
    assert guest.ended.clean


@EVERY
async def test_a_runtime_that_closes_its_stdout_is_still_running(sandbox: str) -> None:
    program = """
        import os, sys
        print("ready")
        os.close(1)
        line = sys.stdin.readline()
        os.write(2, line.encode())
        """
    async with started(program, sandbox=sandbox) as guest:
        await guest.until(b"ready\n")
        assert guest.ended is None

        await guest.runtime.send(b"still here\n")

        await guest.finish()
    assert (guest.errors, guest.code) == ("still here\n", 0)


# ---------------------------------------------------------------- output and input without end


async def test_output_without_end_waits_for_its_reader() -> None:
    program = """
        import os, sys
        total = 0
        while True:
            total += os.write(1, bytes(65536))
            os.write(2, b"%d\\n" % total)
        """
    async with started(program) as guest:
        events = guest.runtime.events()
        first = await anext(events)
        await asyncio.sleep(0.3)  # nobody reads: the guest must come to a standstill
        written = 0
        async for event in events:
            if isinstance(event, Output) and event.stream == "err":
                written = int(event.data.split()[-1])
                break
        await guest.runtime.end("output_mb")

    assert isinstance(first, Output)
    assert written < 1 << 20


async def test_everything_that_was_written_before_the_end_is_read() -> None:
    guest = await run("import os; os.write(1, b'x' * 60_000); os.write(2, b'y' * 60_000)")

    assert (len(guest.out), len(guest.err)) == (60_000, 60_000)


async def test_a_megabyte_of_output_without_a_newline_arrives() -> None:
    guest = await run("print('x' * (4 << 20), end='')")

    assert len(guest.out) == 4 << 20


@EVERY
async def test_a_runtime_that_never_reads_does_not_hold_its_user_up(sandbox: str) -> None:
    async with started("import time; print('ready'); time.sleep(60)", sandbox=sandbox) as guest:
        await guest.until(b"ready\n")

        taken = [await guest.runtime.send(b"x" * 65536) for _ in range(160)]

        assert taken[0] is True
        assert taken[-1] is False
        assert sum(taken) * 65536 < 2 << 20
        await guest.stop()


async def test_what_was_sent_while_the_runtime_was_busy_arrives_whole() -> None:
    program = """
        import sys, time
        print("ready")
        time.sleep(0.3)
        data = sys.stdin.buffer.read()
        print(len(data), hash(data) == hash(bytes(range(250)) * 4000))
        """
    async with started(program) as guest:
        await guest.until(b"ready\n")
        assert await guest.runtime.send(bytes(range(250)) * 4000)
        await guest.runtime.send(b"")
        reading = asyncio.create_task(guest.until(b"True\n"))
        await asyncio.to_thread(time.sleep, 0.5)
        await guest.runtime.stop()
        await reading

    assert guest.text.endswith("1000000 True\n")


async def test_sending_to_a_closed_stdin_is_refused_and_no_error() -> None:
    async with started("import os; os.close(0); print('closed'); input()") as guest:
        await guest.until(b"closed\n")

        assert not await guest.runtime.send(b"x")
        assert not await guest.runtime.send(b"x")

        await guest.finish()
        assert not await guest.runtime.send(b"x")


# ---------------------------------------------------------------- when something is killed

PARENT = """
import asyncio, sys
from lmboot.runtime.launcher import Job, Launcher
from lmboot.runtime.policy import Limits

async def main():
    launcher = await Launcher.prepare(sys.argv[1], no_border=True)
    program = sys.argv[2].encode()
    runtime = await launcher.launch(Job((("main.py", program),), ("main.py",), Limits(), {}))
    async for event in runtime.events():
        print(event, flush=True)

asyncio.run(main())
"""
DAEMON_FOREVER = """
import os, signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        time.sleep(600)
    os._exit(0)
print("ready")
time.sleep(600)
"""


def remove_what_the_dead_left() -> None:
    """Do what whoever comes next does: a workspace on disk outlives the death of lmboot."""
    for base in (None, short_base()):
        Workspace.create(base).remove()
    if os.geteuid() == 0:
        Workspace.create(owner=UIDS[0]).remove()


@EVERY
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGABRT])
def test_nothing_survives_the_death_of_lmboot(sandbox: str, number: int) -> None:
    before = leaks.processes()
    lmboot = subprocess.Popen(
        [sys.executable, "-c", PARENT, sandbox, DAEMON_FOREVER],
        stdout=subprocess.PIPE,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    with lmboot:
        assert lmboot.stdout is not None
        assert b"ready" in lmboot.stdout.readline()
        tree = leaks.processes() - before

        lmboot.send_signal(number)
        lmboot.wait()

        assert len(tree) >= 3
        assert leaks.wait_until(lambda: not any(map(_lives, tree)), 2.0)
    remove_what_the_dead_left()


def _lives(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.mark.parametrize(
    ("sandbox", "which"), [("bubblewrap", -1), ("landlock", -1), ("landlock", -2), ("podman", -1)]
)
async def test_nothing_survives_the_death_of_the_supervisor(sandbox: str, which: int) -> None:
    """Landlock's has a guard before it: each of the two is enough."""
    await kill_a_supervisor(sandbox, which)


@pytest.mark.skipif(not cgroups.find(), reason="no control groups can be had here")
@EVERY
async def test_nothing_survives_the_death_of_the_keeper(sandbox: str) -> None:
    await kill_a_supervisor(sandbox, 0)


async def kill_a_supervisor(sandbox: str, which: int) -> None:
    """Kill one of the processes that a run has around it, and see that all is gone."""
    async with started(DAEMON_FOREVER, sandbox=sandbox) as guest:
        await guest.until(b"ready\n")
        below = [c for c in psutil.Process().children(recursive=True) if _lives(c.pid)]
        supervisors = [process for process in below if _is_supervisor(process)]

        supervisors[which].kill()

        await guest.finish()
        assert guest.ended == Ended(137, None, clean=True)
        assert leaks.wait_until(lambda: not any(_lives(process.pid) for process in below), 2.0)


def _is_supervisor(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.Error):
        return any("supervisor.py" in word for word in process.cmdline())
    return False


async def test_a_sandbox_that_died_while_it_waited_is_replaced() -> None:
    launcher = await Launcher.prepare()
    try:
        children = psutil.Process().children()
        next(c for c in children if "supervisor.py" in " ".join(c.cmdline())).kill()
        await asyncio.to_thread(
            leaks.wait_until, lambda: not any(map(_lives, [c.pid for c in children]))
        )

        guest = await Guest(await launcher.launch(job("print('fine')"))).finish()
    finally:
        await launcher.close()

    assert guest.text == "fine\n"


async def test_a_launcher_that_is_never_used_leaves_nothing() -> None:
    for _ in range(5):
        launcher = await Launcher.prepare()
        await launcher.close()
        await launcher.close()


async def test_many_runs_cost_no_descriptors() -> None:
    await run("print(1)")
    before = leaks.descriptors()

    for number in range(30):
        async with started("print('ready'); input()") as guest:
            if number % 3:
                await guest.until(b"ready")
            if number % 2:
                await guest.stop()

    assert leaks.descriptors() == before


@EVERY
async def test_closing_twice_and_without_an_end_is_fine(sandbox: str) -> None:
    async with started("import time; time.sleep(600)", sandbox=sandbox) as guest:
        await guest.runtime.close()
        await guest.runtime.close()


async def test_a_setting_up_that_is_cancelled_leaves_nothing() -> None:
    backend = landlock.find()
    for turns in range(12):
        opening = asyncio.create_task(Box.open(backend))
        for _ in range(turns):
            await asyncio.sleep(0)
        opening.cancel()
        await asyncio.wait([opening])
        if not opening.cancelled():
            await opening.result().close()


async def test_a_launch_that_is_cancelled_leaves_nothing() -> None:
    for delay in (0, 0.001, 0.01, 0.05):
        launcher = await Launcher.prepare()
        launching = asyncio.create_task(launcher.launch(job("import time; time.sleep(600)")))
        await asyncio.sleep(delay)
        launching.cancel()
        await asyncio.wait([launching])
        await launcher.close()


async def test_two_runs_at_once_do_not_meet() -> None:
    program = "import os; print(os.listdir('/proc')[-1:], os.path.exists('x')); open('x', 'w')"

    guests = await asyncio.gather(*(run(program) for _ in range(4)))

    assert [guest.errors for guest in guests] == [""] * 4
    assert all("False" in guest.text for guest in guests)


async def test_a_payload_that_can_t_be_unpacked_runs_not_at_all() -> None:
    with pytest.raises(SandboxFault, match="File exists"):
        await run({"main.py": "print('ran')", "a": "", "a/b": ""})
