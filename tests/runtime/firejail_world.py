"""firejail for real, as an ordinary user: `test_plain_user.py` runs it, for root is refused."""

from __future__ import annotations

import os
import signal
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from lmboot.process import Ended
from lmboot.runtime.backends import firejail, workspaces
from lmboot.runtime.policy import Limits
from lmboot.runtime.posture import prove
from tests import leaks
from tests.runtime.guests import run, started

pytestmark = pytest.mark.sandbox


async def test_firejail_proves_itself_here() -> None:
    proven = await prove(firejail.find())

    in_part = {name for name, level in proven.properties.items() if level == "partial"}
    assert (proven.usable, proven.reason, proven.remedy) == (True, "", "")
    assert "absent" not in proven.properties.values()
    watched = {"pids", "mem_total", "disk_total", "cpu_rate"}
    assert in_part == {*watched, "fs_write", "own_paths"}


async def test_without_our_filter_firejail_is_not_enough() -> None:
    """Sandbox.md finding 10."""
    backend = replace(firejail.find(), filter=b"\x06\x00\x00\x00\x00\x00\xff\x7f")

    proven = await prove(backend)

    assert not proven.usable
    assert "net_ip" in proven.reason


async def test_what_is_covered_up_can_t_be_looked_into() -> None:
    guest = await run(
        """
        import os
        for name in sorted(os.listdir("/")):
            try:
                os.listdir("/" + name)
                print(name)
            except (PermissionError, NotADirectoryError):
                pass
        """,
        sandbox="firejail",
    )

    seen = set(guest.text.split())
    assert {"usr", "tmp"} <= seen <= firejail.NEEDED
    assert guest.errors == ""


async def test_a_session_by_lines() -> None:
    guest = await run(
        """
        import os, sys
        import guest_sys
        print(sorted(os.environ), os.getcwd() == os.environ["HOME"], guest_sys.__name__)
        print("got", input(), input())
        sys.exit(3)
        """,
        lines=b"one\ntwo\n",
        sandbox="firejail",
    )

    names = ["HOME", "LANG", "LMBOOT_FD", "LMBOOT_ROUTES", "PATH", "TMPDIR"]
    assert guest.text == f"{names} True guest_sys\ngot one two\n"
    assert guest.ended == Ended(3, None, clean=True)


async def test_nothing_can_be_written_but_in_the_workspace() -> None:
    guest = await run(
        """
        import os
        workspace = os.path.dirname(os.getcwd())
        for path in ("/", "/home", "/tmp", "/dev", "/dev/shm", "/run", "/var/tmp", "/usr", "/etc",
                     workspace, workspace + "/launch", os.path.dirname(workspace)):
            try:
                open(path + "/x", "w")
                print("LEAK", path)
            except OSError:
                pass
        open("x", "w").write("x")
        open(os.environ["TMPDIR"] + "/x", "w").write("x")
        print("done")
        """,
        sandbox="firejail",
    )

    assert (guest.text, guest.errors) == ("done\n", "")


async def test_a_full_disk_ends_it_and_its_folder_goes() -> None:
    guest = await run(
        """
        import time
        for n in range(40):
            open(str(n), "wb").write(bytes(1 << 20))
        time.sleep(20)
        """,
        limits=Limits(disk_mb=8, wall_seconds=30),
        sandbox="firejail",
    )

    folder = workspaces("firejail")
    assert folder is not None
    assert guest.ended == Ended(137, "disk", clean=True), guest.errors
    assert list(folder.glob("run-*")) == []


async def test_sigterm_is_for_the_runtime_not_for_the_sandbox_around_it() -> None:
    program = """
        import signal, sys, time
        def leave(*_):
            time.sleep(0.1)
            print("last words", flush=True)
            sys.exit(4)
        signal.signal(signal.SIGTERM, leave)
        print("ready", flush=True)
        time.sleep(60)
        """
    async with started(program, sandbox="firejail") as guest:
        await guest.until(b"ready\n")
        await guest.stop()

    assert guest.text == "ready\nlast words\n"
    assert guest.ended == Ended(4, None, clean=True)


async def test_daemons_that_ignore_everything_are_gone_at_the_end() -> None:
    program = """
        import os, signal, time
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        for _ in range(20):
            if os.fork() == 0:
                os.setsid()
                os.closerange(0, 64)
                time.sleep(600)
        print("ready", flush=True)
        time.sleep(600)
        """
    async with started(program, sandbox="firejail") as guest:
        await guest.until(b"ready\n")
        await guest.stop()

    assert guest.ended == Ended(137, None, clean=True)
    assert leaks.wait_until(lambda: not leaks.processes())


async def test_nothing_is_left_when_the_supervisor_is_killed() -> None:
    program = "import time\nprint('ready', flush=True)\ntime.sleep(600)"
    async with started(program, sandbox="firejail") as guest:
        await guest.until(b"ready\n")
        (supervisor,) = psutil.Process().children()
        os.kill(supervisor.pid, signal.SIGKILL)
        await guest.finish()

    assert guest.ended == Ended(137, None, clean=True)
    assert leaks.wait_until(lambda: not leaks.processes())


async def test_what_was_written_comes_out(tmp_path: Path) -> None:
    async with started("open('new', 'w').write('kept')", sandbox="firejail") as guest:
        await guest.finish()
        report = await guest.runtime.copy_out(tmp_path / "keep")

    assert report.copied == ("new",)
    assert (tmp_path / "keep/new").read_text() == "kept"
