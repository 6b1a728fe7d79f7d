"""Resource abuse and lifecycle: sandbox.md, cases 55 to 71, against the real sandbox."""
# ruff: noqa: E501, ASYNC240 (programs that are easier to read unbroken; nothing else in the loop)

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from lmboot.process import Ended, Output
from lmboot.runtime.launcher import Job, Launcher
from lmboot.runtime.policy import Limits
from tests import leaks
from tests.runtime.guests import job, run, started
from tests.runtime.test_lifecycle import (
    DAEMON_FOREVER,
    PARENT,
    ROOT,
    remove_what_the_dead_left,
)

pytestmark = [pytest.mark.attack, pytest.mark.sandbox]


async def test_case_55_fork_bomb() -> None:
    before = len(psutil.pids())
    program = """
        import os
        print("start")
        while True:
            try:
                os.fork()
            except OSError:
                pass
        """
    async with started(program) as guest:
        await guest.until(b"start\n")
        most = 0
        for _ in range(20):
            most = max(most, len(leaks.processes()))
            await asyncio.sleep(0.05)

        await guest.stop()

    assert most <= 64 + 4  # and the supervisor with the sandbox's own
    assert guest.ended is not None
    assert guest.ended.clean
    assert leaks.wait_until(lambda: len(psutil.pids()) < before + 50)


@pytest.mark.parametrize(
    "program",
    [
        "x = []\nwhile True: x.append(bytearray(1 << 20))",
        """
        import os
        for _ in range(12):
            if os.fork() == 0:
                break
        held = bytearray(400 << 20)
        import time; time.sleep(60)
        """,
        "import os\nx = ['x' * 1000 for _ in range(200000)]\nwhile True:\n    os.fork() if len(x) % 7 else 0"
        "\n    x += ['y' * 1000 for _ in range(100000)]",
    ],
    ids=["one", "twelve", "copies"],
)
async def test_case_56_memory_bomb(program: str) -> None:
    own = psutil.Process().memory_info().rss

    guest = await run(program, limits=Limits(memory_mb=256))

    assert guest.ended is not None
    assert guest.ended.clean
    assert guest.ended.limit == "memory" or "MemoryError" in guest.errors
    assert psutil.Process().memory_info().rss < own + (64 << 20)


@pytest.mark.parametrize(
    "program",
    [
        "import mmap\nm = mmap.mmap(-1, 300 << 20)\nfor i in range(300): m[i << 20 : (i + 1) << 20] = bytes([1]) * (1 << 20)",
        "import os\nfor n in range(100):\n    try: os.memfd_create('x')\n    except OSError: print('refused')",
    ],
    ids=["shared mapping", "files in memory"],
)
async def test_case_56_memory_by_other_names(program: str) -> None:
    guest = await run(program + "\nimport time; time.sleep(1)", limits=Limits(memory_mb=128))

    assert guest.ended is not None
    assert guest.ended.limit == "memory" or guest.text == "refused\n" * 100


async def test_case_57_filling_the_disk() -> None:
    program = """
        import os
        for folder in ("/app", "/tmp", "/dev/shm"):
            written = 0
            try:
                for n in range(200):
                    with open(f"{folder}/{n}", "wb", buffering=0) as file:
                        written += file.write(bytes(1 << 20))
            except OSError as error:
                print(folder, written >> 20, error.strerror)
        """
    guest = await run(program)

    lines = [line.split(" ", 2) for line in guest.text.splitlines()]
    assert [
        (folder, int(size) <= most)
        for (folder, size, _), most in zip(lines, (64, 16, 16), strict=True)
    ] == [("/app", True), ("/tmp", True), ("/dev/shm", True)]


@pytest.mark.parametrize("folder", ["HOME", "TMPDIR", "/dev/shm"])
async def test_case_57_a_million_files(folder: str, sandbox: str) -> None:
    if (folder, sandbox) == ("/dev/shm", "landlock"):
        folder = "HOME"  # there is no third folder that it can write to
    program = f"""
        import os
        os.chdir(os.environ.get("{folder}", "{folder}"))
        n = 0
        while True:
            os.mkdir(str(n)) if n % 2 else os.close(os.open(str(n), os.O_CREAT))
            n += 1
        """
    guest = await run(program, limits=Limits(wall_seconds=60))

    assert guest.ended is not None
    # Where a folder on disk is in memory, the kernel may find that too much before it is counted.
    assert guest.ended.limit in (("disk", "memory") if sandbox == "landlock" else ("disk",))
    assert (guest.ended.code, guest.ended.clean) == (137, True)


async def test_case_58_output_without_end_or_newline() -> None:
    own = psutil.Process().memory_info().rss
    async with started("import os\nwhile True: os.write(1, b'x' * 65536)") as guest:
        read = 0
        async for event in guest.runtime.events():
            if isinstance(event, Output):
                read += len(event.data)
            if read > 64 << 20:
                break
        await guest.runtime.end("output_mb")

        await guest.finish()

    assert guest.ended is not None
    assert (guest.ended.limit, guest.ended.clean) == ("output_mb", True)
    assert psutil.Process().memory_info().rss < own + (64 << 20)


async def test_case_63_input_that_nobody_reads() -> None:
    async with started("import time; print('ready'); time.sleep(60)") as guest:
        await guest.until(b"ready\n")
        began = time.monotonic()

        for _ in range(1000):
            await guest.runtime.send(b"x" * 10_000)

        assert time.monotonic() - began < 5
        await guest.stop()


async def test_case_64_closed_output_does_not_hide_it_from_the_clock() -> None:
    guest = await run(
        "import os, time\nfor n in (0, 1, 2, 3): os.close(n)\ntime.sleep(60)",
        limits=Limits(wall_seconds=0.5),
    )

    assert guest.ended == Ended(137, "wall", clean=True)


async def test_case_65_daemons() -> None:
    program = """
        import os, signal, time
        for n in range(1, 65):
            try:
                signal.signal(n, signal.SIG_IGN)
            except (OSError, ValueError):
                pass
        for _ in range(10):
            if os.fork() == 0:
                os.setsid()
                if os.fork() == 0:
                    os.closerange(0, 256)
                    time.sleep(600)
                os._exit(0)
        print("ready")
        time.sleep(600)
        """
    async with started(program) as guest:
        await guest.until(b"ready\n")
        began = time.monotonic()

        await guest.stop()
        took = time.monotonic() - began

    assert guest.ended == Ended(137, None, clean=True)
    assert took < 2.0


@pytest.mark.parametrize("number", ["SIGSTOP", "SIGTSTP"])
async def test_case_66_stopped_processes(number: str) -> None:
    program = f"""
        import os, signal, time
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        for _ in range(5):
            if os.fork() == 0:
                os.kill(os.getpid(), signal.{number})
                time.sleep(600)
        print("ready")
        os.kill(os.getpid(), signal.{number})
        time.sleep(600)
        """
    async with started(program) as guest:
        await guest.until(b"ready\n")

        await guest.stop()

    assert guest.ended is not None
    assert guest.ended.clean


async def test_case_67_a_grandchild_that_holds_the_pipe_and_floods_it() -> None:
    guest = await run(
        """
        import os, time
        if os.fork() == 0:
            os.setsid()
            while True:
                os.write(1, b"y" * 4096)
        time.sleep(0.1)
        os._exit(3)
        """
    )

    assert guest.ended == Ended(3, None, clean=True)


@pytest.mark.parametrize("sandbox", ["bubblewrap", "landlock", "none"])
def test_case_68_lmboot_killed_in_the_middle(sandbox: str) -> None:
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

        lmboot.kill()

        assert leaks.wait_until(lambda: leaks.processes() - {lmboot.pid} <= before, 1.5)
    remove_what_the_dead_left()


async def test_case_69_stopping_at_every_moment_of_a_launch() -> None:
    await (await Launcher.prepare()).close()
    before = leaks.descriptors()
    for number in range(60):
        launcher = await Launcher.prepare()
        if number % 4:
            launch = asyncio.create_task(launcher.launch(_sleeper()))
            for _ in range(number % 7):
                await asyncio.sleep(0)
            if number % 4 == 2:
                launch.cancel()
            await asyncio.wait([launch])
            if number % 4 == 3:
                await launch.result().stop()
        await launcher.close()

    assert leaks.descriptors() == before


def _sleeper() -> Job:
    return job("import time; time.sleep(600)")


async def test_case_70_timers_of_the_host() -> None:
    guest = await run(
        """
        import shutil, subprocess
        for name, words in (("at", ["now"]), ("crontab", ["-"]), ("systemd-run", ["true"])):
            path = shutil.which(name)
            if path:
                done = subprocess.run([path, *words], input=b"* * * * * true\\n", capture_output=True)
                print(name, "LEAK" if done.returncode == 0 else "refused")
        print("done")
        """
    )

    assert "LEAK" not in guest.text
    assert guest.text.endswith("done\n")
    assert not Path("/var/spool/cron/crontabs/nobody").exists()


async def test_case_71_sixty_processes_that_spin() -> None:
    guest = await run(
        """
        import os, signal
        signal.signal(signal.SIGXCPU, signal.SIG_IGN)
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        try:
            while os.fork(): pass
        except OSError:
            pass
        while True: pass
        """,
        limits=Limits(cpu_seconds=2, wall_seconds=60),
    )

    assert guest.ended == Ended(137, "cpu", clean=True)


async def test_signals_to_the_sandbox_s_own_processes_gain_nothing() -> None:
    guest = await run(
        """
        import contextlib, os, signal
        for number in (signal.SIGSTOP, signal.SIGKILL, signal.SIGTERM):
            for pid in {1, os.getppid()} - {0}:
                with contextlib.suppress(PermissionError):
                    os.kill(pid, number)
        print("still here")
        """
    )

    assert guest.text == "still here\n"


def test_the_supervisor_ends_its_tree_when_it_is_asked_to_end() -> None:
    before = leaks.processes()
    lmboot = subprocess.Popen(
        [sys.executable, "-c", PARENT, "bubblewrap", DAEMON_FOREVER],
        stdout=subprocess.PIPE,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    with lmboot:
        assert lmboot.stdout is not None
        assert b"ready" in lmboot.stdout.readline()
        (supervisor,) = psutil.Process(lmboot.pid).children()

        supervisor.send_signal(signal.SIGTERM)

        assert b"Ended" in lmboot.stdout.read()
        lmboot.wait()
        assert leaks.wait_until(lambda: leaks.processes() <= before)
