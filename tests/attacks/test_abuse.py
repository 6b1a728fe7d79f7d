"""Using too much, and not ending: cases 55 to 71, in every back end."""
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
from lmboot.text import plain
from tests import leaks
from tests.bench.quit import main as leave
from tests.runtime.guests import job, run, started
from tests.runtime.test_lifecycle import (
    DAEMON_FOREVER,
    PARENT,
    ROOT,
    remove_what_the_dead_left,
)

pytestmark = [
    pytest.mark.attack,
    pytest.mark.sandbox,
    pytest.mark.usefixtures("sandbox"),
]


@pytest.mark.case(55)
async def test_case_55_fork_bomb() -> None:
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

    assert guest.ended is not None
    assert guest.ended.clean
    # The kernel holds it (beside are the supervisor and the sandbox's own), or it is ended at once.
    assert most <= 64 + 8 or (guest.ended.limit == "processes" and most < 2000)


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
@pytest.mark.case(56)
async def test_case_56_memory_bomb(program: str) -> None:
    own = psutil.Process().memory_info().rss

    guest = await run(program, limits=Limits(memory_mb=256))

    assert guest.ended is not None
    assert guest.ended.clean
    # Which comes first depends on the machine's other work: what is seen, or what is refused.
    refused = ("MemoryError", "BlockingIOError")  # the memory, the fork
    assert guest.ended.limit in ("memory", "processes") or any(
        word in guest.errors for word in refused
    )
    assert psutil.Process().memory_info().rss < own + (64 << 20)


@pytest.mark.parametrize(
    "program",
    [
        "import mmap\nm = mmap.mmap(-1, 300 << 20)\nfor i in range(300): m[i << 20 : (i + 1) << 20] = bytes([1]) * (1 << 20)",
        "import os\nfor n in range(100):\n    try: os.memfd_create('x')\n    except OSError: print('refused')",
    ],
    ids=["shared mapping", "files in memory"],
)
@pytest.mark.case(56)
async def test_case_56_memory_by_other_names(program: str) -> None:
    guest = await run(program + "\nimport time; time.sleep(1)", limits=Limits(memory_mb=128))

    assert guest.ended is not None
    assert guest.ended.limit == "memory" or guest.text == "refused\n" * 100


@pytest.mark.case(57)
@pytest.mark.parametrize(
    "content", ["file.write(bytes(1 << 20))", "file.truncate(1 << 20), file.write(b'x' * 4096)"]
)
async def test_case_57_filling_the_disk(content: str) -> None:
    """Where the disk is bounded there is an error; where it is watched, the run is ended."""
    guest = await run(
        f"""
        import os, shutil, time
        for folder, most in ((os.environ["HOME"], 8), (os.environ["TMPDIR"], 16), ("/dev/shm", 16)):
            kept, error = 0, ""
            try:
                for n in range(6000):
                    with open(f"{{folder}}/{{n}}", "wb", buffering=0) as file:
                        {content}
                    kept += os.stat(f"{{folder}}/{{n}}").st_blocks * 512
                    if kept > (most + 1) << 20:
                        time.sleep(3)
                        print("LEAK", folder, kept)
                        break
            except OSError as failure:
                error = failure.strerror
            print(folder, kept >> 20 <= most, error)
        """,
        limits=Limits(disk_mb=8),
    )

    assert "LEAK" not in guest.text
    assert guest.ended is not None
    assert guest.ended.limit == "disk" or guest.text.count("True") == 3, guest.text


@pytest.mark.case(57)
async def test_case_57_one_file_of_a_tebibyte_and_folders_without_end() -> None:
    guest = await run(
        """
        import os
        with open("hole", "wb") as file:
            try:
                file.truncate(1 << 40)
                print("LEAK")
            except OSError as error:
                print("refused")
        depth = 0
        try:
            while depth < 10_000:
                os.mkdir("d")
                os.chdir("d")
                depth += 1
        except OSError:
            pass
        print("done")
        """
    )

    assert guest.ended is not None
    assert guest.ended.clean
    assert guest.ended.limit == "disk" or guest.text == "refused\ndone\n"


@pytest.mark.case(57)
@pytest.mark.parametrize("folder", ["HOME", "TMPDIR", "/dev/shm"])
async def test_case_57_a_million_files(folder: str, sandbox: str) -> None:
    program = f"""
        import os
        folder = os.environ.get("{folder}", "{folder}")
        try:
            os.chdir(folder)
            os.mkdir("first")
        except OSError:  # there is no third folder that it can write to
            os.chdir(os.environ["HOME"])
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
    remove_what_the_dead_left()  # removing takes bounded time: the rest goes at a later start


@pytest.mark.case(58)
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


FLOODS = {
    "carriage returns": "b'x\\r' * 32768",
    "backspaces": "b'x\\b' * 32768",
    "combining marks": "('e' + '\\u0301' * 100).encode() * 300",
    "joiners": "'\\U0001f469\\u200d'.encode() * 8192",
    "overrides": "'\\u202ea\\u2066'.encode() * 8192",
}


@pytest.mark.case(59, 60)
@pytest.mark.parametrize("flood", FLOODS)
async def test_case_59_a_flood_of_control_characters_costs_no_memory(flood: str) -> None:
    """Every byte arrives as it was written; what a pane makes of them is tested with the pane."""
    program = f"import os\npiece = {FLOODS[flood]}\nwhile True: os.write(1, piece)"
    own = psutil.Process().memory_info().rss
    async with started(program) as guest:
        read = 0
        async for event in guest.runtime.events():
            read += len(event.data) if isinstance(event, Output) else 0
            if read > 16 << 20:
                break
        await guest.runtime.end("output_mb")
        await guest.finish()

    assert psutil.Process().memory_info().rss < own + (32 << 20)


@pytest.mark.case(60)
async def test_case_60_bytes_that_are_no_text_arrive_as_they_are() -> None:
    guest = await run(
        """
        import os
        for byte in bytes(range(256)) * 40 + "é😀".encode():
            os.write(1, bytes([byte]))
        """
    )

    assert guest.out == bytes(range(256)) * 40 + "é😀".encode()


@pytest.mark.case(61, 62)
async def test_cases_61_62_what_a_pane_shows_can_neither_draw_nor_pose() -> None:
    wild = (
        "\x1b]52;c;eA==\x07\x1b]0;t\x07\x1b[6n\x1bc\x1bPq\x1b\\\x9b31m\x1b]8;;http://x\x07ok\u202e"
    )
    guest = await run(f"print({wild!r})\nprint('sys| runtime ended')\nprint('[HOST] approved')")

    shown = [plain(line) for line in guest.text.split("\n")]
    assert shown == ["ok", "sys| runtime ended", "[HOST] approved", ""]


READS_LATE = """
import sys, time
try:
    print("ready", flush=True)
    time.sleep(600)
except KeyboardInterrupt:
    print("reads", flush=True)
for number, line in enumerate(sys.stdin.buffer, 1):
    print(number, len(line), flush=True)
"""


@pytest.mark.case(63)
async def test_case_63_input_that_nobody_reads_neither_blocks_nor_grows() -> None:
    """Ten megabytes are sent; some are taken, the rest is refused, and what was taken is whole."""
    own, line = psutil.Process().memory_info().rss, b"x" * 65535 + b"\n"
    async with started(READS_LATE) as guest:
        await guest.until(b"ready\n")
        async with asyncio.timeout(60):
            taken = [await guest.runtime.send(line) for _ in range(160)]
        count = taken.index(False)
        grown = psutil.Process().memory_info().rss - own

        guest.runtime.interrupt()
        await guest.until(f"\n{count} 65536\n".encode())
        await guest.stop()

    assert 0 < count <= (2 << 20) // len(line)  # what waits here, and in pipes on the way
    assert not any(taken[count:])
    assert grown < 64 << 20
    assert f"\n{count + 1} " not in guest.text
    assert guest.ended is not None
    assert guest.ended.clean


@pytest.mark.case(64)
async def test_case_64_closed_output_does_not_hide_it_from_the_clock() -> None:
    guest = await run(
        "import os, time\nfor n in (0, 1, 2, 3): os.close(n)\ntime.sleep(60)",
        limits=Limits(wall_seconds=0.5),
    )

    assert guest.ended == Ended(137, "wall", clean=True)


@pytest.mark.case(65)
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


@pytest.mark.case(65, 68)
def test_cases_65_68_sixty_stubborn_descendants_of_the_whole_program(sandbox: str) -> None:
    """By `:quit`, and by the death of lmboot; what is left after ten seconds is a failure."""
    figures = leave(1, (sandbox,))

    assert figures["descendants"] == 60


@pytest.mark.parametrize("number", ["SIGSTOP", "SIGTSTP"])
@pytest.mark.case(66)
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


@pytest.mark.case(67)
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


@pytest.mark.case(68)
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

        assert leaks.wait_until(lambda: leaks.processes() - {lmboot.pid} <= before, 2.0)
    remove_what_the_dead_left()


@pytest.mark.case(69)
async def test_case_69_stopping_at_every_moment_of_a_launch(sandbox: str) -> None:
    """Some cycles of it; a thousand are in `tests.soak.launch`."""
    await (await Launcher.prepare(sandbox)).close()
    before = leaks.descriptors()
    for number in range(28):
        launcher = await Launcher.prepare(sandbox)
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


@pytest.mark.case(70)
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


@pytest.mark.case(71)
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

    assert guest.ended is not None
    assert (guest.ended.limit in ("cpu", "processes"), guest.ended.clean) == (True, True)


@pytest.mark.case(118)
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


@pytest.mark.case(118)
def test_the_supervisor_ends_its_tree_when_it_is_asked_to_end(sandbox: str) -> None:
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
        (supervisor,) = psutil.Process(lmboot.pid).children()

        supervisor.send_signal(signal.SIGTERM)

        assert b"Ended" in lmboot.stdout.read()
        lmboot.wait()
        assert leaks.wait_until(lambda: leaks.processes() <= before)
    remove_what_the_dead_left()
