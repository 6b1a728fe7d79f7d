"""What a worker may try on its host: its protocol, its descriptors, its end. Real sandboxes."""

# ruff: noqa: ASYNC240 (nothing else is in the loop)

from __future__ import annotations

import asyncio
import contextlib
import os
from pathlib import Path

import psutil
import pytest

from lmboot.errors import CallFailed, CallLimit, WorkerFault
from lmboot.process import Output
from lmboot.runtime.policy import Limits
from lmboot.runtime.worker import Worker
from tests import leaks
from tests.runtime.brokers import until
from tests.runtime.workers import SECONDS, Printed, working

pytestmark = [pytest.mark.attack, pytest.mark.sandbox]

PARTS = """
    import array, os, signal, socket, sys, threading, time

    CHANNEL = 3
    channel = socket.socket(fileno=os.dup(CHANNEL))

    def number():
        import inspect
        frame = inspect.currentframe()
        while "asked" not in frame.f_locals:
            frame = frame.f_back
        return frame.f_locals["asked"]["id"]

    def write(text, then="return"):
        channel.sendall(text.replace("$", str(number())).encode("latin-1"))
        if then == "wait":
            time.sleep(600)
        if then == "end":
            os._exit(0)

    def fine():
        return "fine"
    """


async def breached(text: str, then: str = "wait", why: str = "broke the protocol") -> None:
    """See that a worker which writes this in place of an answer is ended, and no other."""
    async with working(PARTS) as it, working(PARTS) as other:
        waiting = asyncio.create_task(it.call("m:write", text, then, seconds=SECONDS))
        assert [await other.call("m:fine") for _ in range(20)] == ["fine"] * 20

        with pytest.raises(WorkerFault, match=why):
            await waiting

        assert await it.call("m:fine") == "fine"
        assert (it.replaced, other.replaced) == (1, 0)


@pytest.mark.parametrize(
    "text",
    [
        "garbage\n",
        "\n",
        "null\n",
        "[]\n",
        "\xff\xfe\x00\n",
        '{"id":$}\n',
        '{"id":$,"value":NaN}\n',
        '{"id":$,"value":1e999}\n',
        '{"id":$,"value":9007199254740993}\n',
        '{"id":$,"value":"\\ud800"}\n',
        '{"id":$,"value":0,"value":1}\n',
        '{"id":$,"value":0,"route":"HOST"}\n',
        '{"id":$,"raised":{"type":1}}\n',
        '{"id":0,"value":null}\n',
        '{"id":true,"value":null}\n',
        '{"id":$$,"value":null}\n',
        '{"id":$,"value":0}\n{"id":$,"value":0}\n',
        '{"id":$,"value":' + "[" * 33 + "]" * 33 + "}\n",
        '{"id":$,"value":' + "[" * 200_000 + "\n",
        '{"id":$,"value":' + '{"":' * 200_000 + "\n",
        '{"id":$,"value":[' + "0," * 100_000 + "0]}\n",
        '{"id":1,"op":"time","args":{}}\n',
    ],
    ids=lambda text: text[:30].encode("unicode_escape").decode(),
)
async def test_what_is_no_answer_ends_the_worker(text: str) -> None:
    await breached(text)


async def test_half_an_answer_and_silence_ends_by_the_limit() -> None:
    async with working(PARTS) as it:
        with pytest.raises(CallLimit) as failed:
            await it.call("m:write", '{"id":$,"va', "wait", seconds=0.3)

        assert failed.value.limit == "seconds"
        assert await it.call("m:fine") == "fine"


async def test_half_an_answer_and_an_end_is_no_answer() -> None:
    await breached('{"id":$,"value":0}', "end", "the worker ended")


async def test_an_answer_by_hand_and_the_true_one_are_one_too_many() -> None:
    """Whichever of the two is heard first: the second is unasked."""
    async with working(PARTS) as it:
        for _ in range(10):
            with contextlib.suppress(WorkerFault):
                await it.call("m:write", '{"id":$,"value":"forged"}\n')
            life = it._life
            assert life is not None
            await until(lambda life=life: life.over is not None)
            assert "broke the protocol" in str(await life.fault("m:write"))
            assert await it.call("m:fine") == "fine"

        assert it.replaced == 10


async def test_what_is_said_unasked_ends_the_worker_at_once() -> None:
    source = (
        PARTS
        + """
    def later():
        def speak():
            time.sleep(0.1)
            channel.sendall(b'{"id":3,"value":"forged"}\\n')
        threading.Thread(target=speak).start()
    """
    )
    async with working(source) as it:
        await it.call("m:later")
        life = it._life
        assert life is not None
        await until(lambda: life.over is not None)

        assert "nothing was asked" in str(await life.fault("m:later"))
        assert await it.call("m:fine") == "fine"


@pytest.mark.parametrize("piece", ["b'x' * 65536", "b'\\n' * 65536", "b'{\"id\":1}\\n' * 6000"])
async def test_a_flood_costs_neither_memory_nor_time(piece: str) -> None:
    source = PARTS + f"\n    def flood():\n        while True:\n            channel.send({piece})"
    async with working(source) as it, working(PARTS) as other:
        await asyncio.gather(it.call("m:fine"), other.call("m:fine"))
        before = psutil.Process().memory_info().rss
        for _ in range(3):
            with pytest.raises(WorkerFault, match="broke the protocol"):
                await it.call("m:flood", seconds=SECONDS)
            assert await other.call("m:fine", seconds=5) == "fine"

        assert psutil.Process().memory_info().rss < before + (64 << 20)
        assert await it.call("m:fine") == "fine"


async def test_a_flood_of_output_ends_by_its_limit_and_costs_no_memory() -> None:
    source = (
        PARTS + "\n    def flood():\n        while True:\n            os.write(1, bytes(65536))"
    )
    most = 0

    def take(_: Output) -> None:
        nonlocal most
        most = max(most, psutil.Process().memory_info().rss)

    async with working(source, output=take) as it, working(PARTS) as other:
        before = psutil.Process().memory_info().rss
        flooding = asyncio.create_task(it.call("m:flood", seconds=SECONDS))
        assert [await other.call("m:fine", seconds=5) for _ in range(50)] == ["fine"] * 50

        with pytest.raises(CallLimit) as failed:
            await flooding

        assert failed.value.limit == "output_mb"
        assert most < before + (32 << 20)


async def test_a_pipe_made_large_and_filled_does_not_hold_up_the_answer() -> None:
    source = (
        PARTS
        + """
    def fill():
        import fcntl
        for number in (1, 2):
            fcntl.fcntl(number, fcntl.F_SETPIPE_SZ, 1 << 20)
            os.write(number, b"x" * (1 << 20))
        return "filled"
    """
    )
    printed = Printed()
    async with working(source, output=printed) as it:
        assert await it.call("m:fill") == "filled"

    assert (len(printed.out), len(printed.err)) == (1 << 20, 1 << 20)


# ---------------------------------------------------------------- descriptors


async def test_case_77_descriptors_that_a_worker_sends_are_thrown_away() -> None:
    source = (
        PARTS
        + """
    def send():
        folder = os.open(".", os.O_RDONLY)
        sent = array.array("i", [folder] * 8)
        beside = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, sent)]
        line = b'{"id":%d,"value":"sent"}\\n' % number()
        for at in range(len(line) - 1):
            channel.sendmsg([line[at:at + 1]], beside)
        channel.sendmsg([line[-1:]], beside)
        time.sleep(600)
    """
    )
    async with working(source) as it:
        assert it._spare is not None
        await asyncio.shield(it._spare)  # it has descriptors too
        before = leaks.descriptors()

        assert await it.call("m:send", seconds=SECONDS) == "sent"

        assert leaks.descriptors() == before


@pytest.mark.parametrize("mode", [0o644, 0o666])
async def test_a_file_that_was_handed_over_can_t_be_changed(tmp_path: Path, mode: int) -> None:
    """Not though its user runs the worker, through /proc, or by whatever takes a descriptor."""
    source = """
        import fcntl, os, stat

        def spoil(descriptors):
            number, = descriptors
            path = f"/proc/self/fd/{number}"
            attempts = {
                "write": lambda: os.write(number, b"x"),
                "truncate": lambda: os.ftruncate(number, 0),
                "allocate": lambda: os.posix_fallocate(number, 0, 1 << 20),
                "open anew": lambda: os.write(os.open(path, os.O_WRONLY), b"x"),
                "truncate by name": lambda: os.truncate(path, 0),
                "mode": lambda: os.fchmod(number, 0o777),
                "mode by name": lambda: os.chmod(path, 0o777),
                "times": lambda: os.utime(number, (0, 0)),
                "attribute": lambda: os.setxattr(number, "user.x", b"x"),
                "link": lambda: os.link(path, "linked", follow_symlinks=True),
                "seek": lambda: os.lseek(number, 3, os.SEEK_SET),
                "folder above": lambda: os.listdir(f"{path}/.."),
                "name": lambda: os.readlink(path),
            }
            found = {}
            for name, attempt in attempts.items():
                try:
                    found[name] = str(attempt())
                except OSError as error:
                    found[name] = "refused"
            return [found, os.pread(number, 100, 0).decode()]
        """
    path = tmp_path / "file"
    path.write_bytes(b"content")
    path.chmod(mode)
    os.utime(path, (1, 1))
    tmp_path.chmod(0o755)
    with path.open("rb") as opened:
        async with working(source) as it:
            found, content = await it.call("m:spoil", descriptors=[opened.fileno()])
        offset = opened.tell()

    assert path.read_bytes() == b"content"
    assert found["write"] == found["truncate"] == found["open anew"] == "refused"
    assert found["folder above"] == "refused"
    assert str(tmp_path) not in found["name"]
    assert (content, offset) == ("content", 0)
    assert (path.stat().st_mode & 0o777, path.stat().st_mtime) == (mode, 1)
    assert (os.listxattr(path), path.stat().st_nlink) == ([], 1)


async def test_what_was_handed_over_is_gone_after_the_call_and_with_programs_it_starts() -> None:
    source = """
        import os, subprocess, sys
        def start(descriptors):
            words = [sys.executable, "-c", f"import os; os.fstat({descriptors[0]})"]
            return subprocess.run(words, close_fds=False, stderr=subprocess.DEVNULL).returncode
        def closed(number):
            try:
                os.fstat(number)
            except OSError:
                return True
        def which(descriptors):
            return descriptors[0]
        """
    reading, writing = os.pipe()
    async with working(source) as it:
        assert await it.call("m:start", descriptors=[reading]) == 1
        number = await it.call("m:which", descriptors=[reading])
        assert await it.call("m:closed", number)
    os.close(reading)
    os.close(writing)


# ---------------------------------------------------------------- processes


@pytest.mark.parametrize(
    "statement",
    [
        "os.kill(os.getpid(), signal.SIGSTOP)",
        "[signal.signal(n, signal.SIG_IGN) for n in (2, 15)]; time.sleep(600)",
        "os.close(CHANNEL); channel.close(); time.sleep(600)",
        "signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65)); time.sleep(600)",
        "threading.Thread(target=time.sleep, args=[600]).start(); time.sleep(600)",
        "os.setsid() if os.fork() == 0 else 0; os.fork(); os.fork(); time.sleep(600)",
    ],
)
async def test_a_worker_that_holds_on_is_ended_with_all_it_has_started(statement: str) -> None:
    source = PARTS + f"\n    def hold():\n        {statement}"
    async with working(source) as it:
        mine = set(psutil.Process().children(recursive=True))

        with pytest.raises(WorkerFault):
            await it.call("m:hold", seconds=0.5)

        assert await it.call("m:fine") == "fine"
        left = mine & set(psutil.Process().children(recursive=True))
        assert len(left) < len(mine)  # the sandbox that stood ready has become the worker's


async def test_a_daemon_that_keeps_the_channel_does_not_hide_the_worker_s_end() -> None:
    source = (
        PARTS
        + """
    def leave():
        if os.fork() == 0:
            os.setsid()
            time.sleep(600)
        os._exit(5)
    """
    )
    async with working(source) as it:
        with pytest.raises(WorkerFault, match="status 5"):
            await it.call("m:leave", seconds=SECONDS)

        assert await it.call("m:fine") == "fine"


async def test_a_child_that_answers_for_its_parent_ends_both() -> None:
    source = (
        PARTS
        + """
    def haunt():
        if os.fork() == 0:
            while True:
                time.sleep(0.02)
                channel.send(b'{"id":1,"value":"forged"}\\n')
    """
    )
    async with working(source) as it:
        await it.call("m:haunt")
        life = it._life
        assert life is not None
        await until(lambda: life.over is not None)

        assert await it.call("m:fine") == "fine"
        assert it.replaced == 1


async def test_a_bomb_of_processes_ends_at_the_worker_s_own_limit() -> None:
    source = (
        PARTS
        + """
    def bomb():
        while True:
            try:
                if os.fork() == 0:
                    time.sleep(600)
            except OSError:
                raise RuntimeError("no more") from None
    """
    )
    async with working(source, limits=Limits(processes=16)) as it:
        with pytest.raises((CallFailed, CallLimit)):
            await it.call("m:bomb", seconds=SECONDS)
        assert len(psutil.Process().children(recursive=True)) < 40


async def test_nothing_of_the_host_can_be_reached_from_a_function() -> None:
    source = """
        import os, socket
        def look(path):
            found = {}
            for name, attempt in {
                "read": lambda: open(path).read(),
                "socket": lambda: socket.socket(),
                "environment": lambda: sorted(os.environ),
            }.items():
                try:
                    found[name] = attempt()
                except OSError:
                    found[name] = "refused"
            return found
        """
    async with working(source) as it:
        found = await it.call("m:look", str(Path.home() / ".profile"))

    assert (found["read"], found["socket"]) == ("refused", "refused")
    assert set(found["environment"]) <= {"HOME", "LANG", "LMBOOT_ROUTES", "PATH", "TMPDIR"}


async def test_two_workers_do_not_meet(sandbox: str) -> None:
    source = (
        "def write(): open('x', 'w').close()\ndef look():\n    import os; return os.listdir('.')"
    )
    first, second = await asyncio.gather(
        *(Worker.start({"m.py": source.encode()}, sandbox=sandbox) for _ in "ab")
    )
    try:
        await first.call("m:write")

        assert "x" in await first.call("m:look")
        assert "x" not in await second.call("m:look")
    finally:
        await asyncio.gather(first.close(), second.close())
