"""The portable sandbox as it is joined to lmboot on Windows: by pipes, in a job, with no wall.

The engine, the host process and what runs inside are real; the handles are descriptors here, and
the job is not Windows'.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import psutil
import pytest

from lmboot.errors import SandboxFault
from lmboot.process import Ended, Output, StartFailed
from lmboot.runtime import posture, proof
from lmboot.runtime.backends import none, wasm
from lmboot.runtime.backends.wasm import ENGINE, MB
from lmboot.runtime.broker import Broker
from lmboot.runtime.operations import Time
from lmboot.runtime.policy import Limits, Route
from lmboot.runtime.run import Box, packed
from lmboot.windows import KILLED
from lmboot.windows_child import Child
from lmboot.windows_workspace import Workspace
from tests import leaks, portable, windows_here
from tests.held import Started, begun
from tests.runtime.brokers import Record, all_routes
from tests.runtime.guests import Guest as Finished
from tests.runtime.guests import job

pytestmark = [pytest.mark.sandbox, pytest.mark.timeout(portable.SECONDS)]
SECONDS = 60.0


@pytest.fixture(scope="module", autouse=True)
def _engine(own_cache: Path) -> None:
    portable.lend(own_cache)


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave a program that is stopped the time that a busy machine needs to end by itself."""
    monkeypatch.setattr("lmboot.windows_child.QUIET_SECONDS", SECONDS)


@dataclass
class Guest:
    """A guest, the process beside it, and where its files are."""

    child: Child
    process: Started
    workspace: Workspace
    out: bytes = b""
    err: bytes = b""
    events: AsyncIterator[Output | Ended] = field(init=False)

    def __post_init__(self) -> None:
        self.events = self.child.events()

    async def until(self, marker: bytes) -> None:
        """Read until the marker was printed."""
        async with asyncio.timeout(SECONDS):
            while marker not in self.out:
                ended = await self._take()
                assert ended is None, f"{marker!r} never came: {self.out!r} {self.err!r}"

    async def finish(self) -> Ended:
        """Read to the end."""
        async with asyncio.timeout(SECONDS):
            while (ended := await self._take()) is None:
                pass
        return ended

    async def stop(self) -> Ended:
        """Stop it while what it still writes is read."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self.child.stop())
            finishing = group.create_task(self.finish())
        return finishing.result()

    async def _take(self) -> Ended | None:
        event = await anext(self.events)
        if isinstance(event, Ended):
            return event
        if event.stream == "out":
            self.out += event.data
        else:
            self.err += event.data
        return None


def launched(
    workspace: Workspace,
    program: str | Mapping[str, str | bytes],
    limits: Limits,
    routes: Mapping[str, Route] | None = None,
) -> Started:
    """Start the host process as on Windows: by the plan of a machine without a wall."""
    backend = replace(wasm.find(), wall=None)
    plan = backend.plan(disk_bytes=int(limits.disk_mb * MB), workspace=str(workspace.path))
    workspace.place(plan.files)
    payload = packed(job(program, limits=limits, routes=routes), plan, unpack=True)
    return Started(plan.argv, Path(plan.cwd), payload, pipes=6, env=plan.env)


@contextlib.asynccontextmanager
async def inside(
    folder: Path,
    program: str | Mapping[str, str | bytes],
    limits: Limits | None = None,
    routes: Mapping[str, Route] | None = None,
) -> AsyncIterator[Guest]:
    limits = limits or Limits()
    before = leaks.descriptors()
    workspace = Workspace.create(folder / "workspaces")
    process = launched(workspace, program, limits, routes)
    async with begun(process, {}, limits, ENGINE) as child:
        yield Guest(child, process, workspace)
    assert workspace.remove()
    assert leaks.wait_until(lambda: leaks.descriptors() <= before)


# ---------------------------------------------------------------- the conversation


async def test_the_whole_conversation_goes_over_pipes(patient: None, tmp_path: Path) -> None:
    files = {
        "main.py": """
            import os, sys, time
            from shop import till
            began = time.monotonic()
            time.sleep(0.05)
            print(till.SUM, time.monotonic() - began >= 0.05, os.getcwd(), sys.argv)
            print(sorted(os.environ), os.environ["PATH"])
            print(os.read(0, 3), input()[::-1], sys.stdin.read())
            open("kept.txt", "w").write("kept")
            sys.stderr.write("oh")
            sys.exit(7)
            """,
        "shop/till.py": "SUM = 3",
    }
    async with inside(tmp_path, files) as guest:
        assert guest.process.job.limits == {
            "memory": Limits().memory_mb * MB + ENGINE["memory"],
            "processes": Limits().processes,
            "cpu": Limits().cpu_seconds + ENGINE["cpu"],
        }
        assert await guest.child.send("abchä\n".encode())
        assert await guest.child.send("dé".encode())
        ended = await guest.stop()
        kept = (guest.workspace.app / "kept.txt").read_bytes()

    assert guest.out.decode().splitlines() == [
        "3 True /app ['main.py']",
        "['HOME', 'LANG', 'LMBOOT_FD', 'LMBOOT_ROUTES', 'PATH', 'TMPDIR'] /usr/bin",
        "b'abc' äh dé",
    ]
    assert (guest.err, ended, kept) == (b"oh", Ended(7, None, clean=True), b"kept")


async def test_too_little_memory_is_a_fault_and_nothing_has_run(tmp_path: Path) -> None:
    with pytest.raises(StartFailed, match="MB of memory"):
        async with inside(tmp_path, "print()", Limits(memory_mb=8)):
            pass


async def test_what_the_host_says_instead_of_go_ends_it(tmp_path: Path) -> None:
    workspace = Workspace.create(tmp_path / "workspaces")
    process = launched(workspace, "print()", Limits())
    os.write(process.ends[4], b"nonce\nSTOP\n")

    status = await asyncio.to_thread(process.process.wait, SECONDS)

    assert (status, os.read(process.ends[3], 100)) == (1, b"READY nonce\n")
    await process.close()
    assert workspace.remove()


# ---------------------------------------------------------------- the broker


async def test_the_broker_is_asked_and_a_route_is_flipped_meanwhile(tmp_path: Path) -> None:
    program = """
        import guest_sys
        print(guest_sys.call("time")["unix"] > 1e9, guest_sys.write("a", "bc"))
        input()
        print(guest_sys.routes()["time"])
        guest_sys.call("time")
        """
    table = all_routes("HOST", {"fs.write_text": "EMULATE"})
    async with inside(tmp_path, program, routes=table.table()) as guest:
        broker = Broker(guest.process.channel, table, [Time()], Record())
        serving = asyncio.create_task(broker.serve())
        await guest.until(b"True 2\n")
        broker.flip("time", "DENY")
        await guest.child.send(b"\n")
        await guest.finish()
        broker.close()
        await serving

    assert guest.out == b"True 2\nDENY\n"
    assert guest.err.rstrip().endswith(b"Denied: time is denied")


async def test_a_broker_that_hangs_up_in_the_middle_leaves_nobody_waiting(tmp_path: Path) -> None:
    program = """
        import guest_sys
        print(guest_sys.call("time")["unix"] > 1e9)
        input()
        try:
            guest_sys.call("time")
        except OSError as error:
            print(type(error).__name__)
        """
    table = all_routes("HOST")
    async with inside(tmp_path, program, routes=table.table()) as guest:
        broker = Broker(guest.process.channel, table, [Time()], Record())
        serving = asyncio.create_task(broker.serve())
        await guest.until(b"True\n")
        broker.close()
        await serving
        await guest.child.send(b"\n")
        await guest.finish()

    assert guest.out in (b"True\nHostError\n", b"True\nHostUnavailable\n")


async def test_without_a_broker_the_program_goes_on(tmp_path: Path) -> None:
    program = """
        import guest_sys
        try:
            guest_sys.call("time")
        except OSError as error:
            print(type(error).__name__)
        print(input())
        """
    async with inside(tmp_path, program, routes={"time": "HOST"}) as guest:
        guest.process.channel.close()
        await guest.until(b"HostUnavailable\n")
        await guest.child.send(b"still here\n")
        ended = await guest.finish()

    assert (guest.out, ended.code) == (b"HostUnavailable\nstill here\n", 0)


# ---------------------------------------------------------------- back-pressure


async def test_what_nobody_reads_is_held_up_and_takes_no_memory(tmp_path: Path) -> None:
    program = """
        import sys
        piece = b"x" * (1 << 16)
        for number in range(1, 2000):
            with open("tried", "w") as file:
                file.write(str(number))
            sys.stdout.buffer.write(piece)
        """
    async with inside(tmp_path, program) as guest:
        tried = guest.workspace.app / "tried"
        assert await asyncio.to_thread(leaks.wait_until, tried.exists, SECONDS)
        before = rss(guest)
        while await guest.child.send(bytes(1 << 18)):
            pass
        taken = await asyncio.to_thread(flood, guest.process.channel)  # its broker's end
        after = rss(guest)
        await guest.child.end("output")

        assert int(tried.read_text()) <= 3  # what a pipe holds
        assert taken < 4 * MB
        assert after - before < 16 * MB


def rss(guest: Guest) -> int:
    return int(psutil.Process(guest.process.process.pid).memory_info().rss)


def flood(channel: socket.socket) -> int:
    """Send until nobody takes anything for two seconds; return how many bytes were taken."""
    channel.settimeout(2.0)
    taken = 0
    with contextlib.suppress(TimeoutError):
        while taken < 64 * MB:
            taken += channel.send(bytes(1 << 16))
    return taken


# ---------------------------------------------------------------- interrupts and ends


@pytest.mark.parametrize(
    "program", ["input()", "import time; time.sleep(1000)", "while True: pass"]
)
async def test_an_interrupt_comes_over_a_pipe_of_its_own(program: str, tmp_path: Path) -> None:
    async with inside(tmp_path, f"print('ready')\n{program}") as guest:
        await guest.until(b"ready\n")
        guest.child.interrupt()
        ended = await guest.finish()

    assert ended == Ended(130, None, clean=True)
    assert guest.err.rstrip().endswith(b"KeyboardInterrupt")


async def test_an_interrupt_can_be_caught_and_the_next_one_too(tmp_path: Path) -> None:
    program = """
        for number in range(2):
            try:
                print("ready", number)
                input()
            except KeyboardInterrupt:
                print("caught", number)
        print(input())
        """
    async with inside(tmp_path, program) as guest:
        for number in range(2):
            await guest.until(b"ready %d\n" % number)
            guest.child.interrupt()
        await guest.until(b"caught 1\n")
        await guest.child.send(b"done\n")
        ended = await guest.finish()

    assert guest.out == b"ready 0\ncaught 0\nready 1\ncaught 1\ndone\n"
    assert (guest.err, ended) == (b"", Ended(0, None, clean=True))


async def test_stop_ends_what_does_not_end_by_itself(tmp_path: Path) -> None:
    async with inside(tmp_path, "print('ready')\nwhile True: pass") as guest:
        await guest.until(b"ready\n")
        ended = await guest.stop()

    assert ended == Ended(KILLED, None, clean=True)


@pytest.mark.parametrize(
    "program", ["input()", "import time; time.sleep(1000)", "while True: pass"]
)
async def test_without_lmboot_the_host_process_ends(program: str, tmp_path: Path) -> None:
    async with inside(tmp_path, f"print('ready')\n{program}") as guest:
        await guest.until(b"ready\n")
        guest.process.close_end(guest.process.ends[-1])  # as when lmboot was killed
        ended = await guest.finish()

    assert ended == Ended(1, None, clean=True)


async def test_without_lmboot_it_does_not_wait_for_a_payload(tmp_path: Path) -> None:
    workspace = Workspace.create(tmp_path / "workspaces")
    process = launched(workspace, "print()", Limits())
    process.close_end(process.ends[4])

    status = await asyncio.to_thread(process.process.wait, SECONDS)

    assert status == 1
    await process.close()
    assert workspace.remove()


async def test_a_limit_of_the_job_ends_it_and_is_named(tmp_path: Path) -> None:
    async with inside(tmp_path, "print('ready')\ninput()") as guest:
        await guest.until(b"ready\n")
        guest.process.job.messages.append(10)
        ended = await guest.finish()

    assert ended == Ended(KILLED, "memory", clean=True)


# ---------------------------------------------------------------- the whole way of Windows


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> windows_here.Machine:
    return windows_here.install(monkeypatch)


async def test_a_run_goes_the_whole_way_of_windows(
    patient: None, machine: windows_here.Machine, tmp_path: Path
) -> None:
    before = leaks.descriptors()
    program = "print(input()); open('new.txt', 'w').write('new'); raise SystemExit(4)"
    box = await Box.open(replace(wasm.find(), wall=None))
    try:
        runtime = await box.launch(job(program))
        guest = Finished(runtime)
        assert await runtime.send(b"hello\n")
        await guest.finish()
        report = await runtime.copy_out(tmp_path / "kept")
    finally:
        await box.close()

    assert (guest.text, guest.errors, guest.code) == ("hello\n", "", 4)
    assert guest.ended == Ended(4, None, clean=True)
    assert report.copied == ("new.txt",)
    assert [(each.processes, each.closed) for each in machine.jobs] == [(1, True)]
    assert sorted(map(abs, machine.closed)) == sorted([*machine.started] * 2)  # thread and process
    assert leaks.wait_until(lambda: leaks.descriptors() <= before)


async def test_it_proves_itself_on_the_way_of_windows(
    machine: windows_here.Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(proof, "_known_machine", lambda: False)  # its calls have other numbers

    proven = await posture.prove(replace(wasm.find(), wall=None))

    in_part = {name: level for name, level in proven.properties.items() if level != "enforced"}
    assert (proven.usable, proven.remedy, in_part) == (True, "", {"own_paths": "partial"})
    assert machine.jobs[-1].closed


async def test_what_has_neither_container_nor_engine_is_not_started(
    machine: windows_here.Machine,
) -> None:
    with pytest.raises(SandboxFault, match="only what an AppContainer or an engine holds"):
        await Box.open(none.Unconfined())

    assert machine.started == {}


async def test_a_host_process_that_can_t_begin_is_told_with_what_it_said(
    machine: windows_here.Machine,
) -> None:
    with pytest.raises(SandboxFault, match="or ended: Traceback") as caught:
        await Box.open(replace(wasm.find(), wall=None, engine="/nowhere"))

    assert "Remove /nowhere" in caught.value.hint
    assert machine.jobs[-1].closed
