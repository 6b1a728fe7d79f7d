from __future__ import annotations

import asyncio
import os
import secrets
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from lmboot.census import descendants
from lmboot.process import (
    UIDS,
    Child,
    Ended,
    Order,
    StartFailed,
    Supervisor,
    new_file_in_memory,
    unprivileged_user,
    write_once,
)
from lmboot.runtime.run import ROOM_FOR_OTHERS, _tasks_and_room
from tests.leaks import nothing_left


@pytest.fixture(autouse=True)
def _clean() -> Iterator[None]:
    with nothing_left():
        yield


def order(program: str, *, argv: tuple[str, ...] | None = None) -> tuple[Order, socket.socket]:
    """Return an order for a program that speaks the launcher's part itself."""
    ours, theirs = socket.socketpair()
    nonce = secrets.token_hex(8)
    head = f"import os; os.write(3, b'READY {nonce}\\n'); assert os.read(3, 9) == b'GO\\n'\n"
    made = Order(
        argv=argv or (sys.executable, "-I", "-S", "-u", "-c", head + program),
        env={"PATH": "/usr/bin"},
        descriptors={3: theirs.detach()},
        stdin=4,
        channel=os.dup(ours.fileno()),
        nonce=nonce,
    )
    return made, ours


async def started(program: str) -> tuple[Child, socket.socket]:
    made, channel = order(program)
    supervisor = await Supervisor.start()
    return await supervisor.launch(made), channel


async def test_a_child_waits_until_it_may_begin_and_its_events_end_with_its_end() -> None:
    child, channel = await started(
        "os.write(3, b'RUN\\n'); os.write(1, b'out'); os.write(2, b'err'); os._exit(3)"
    )
    await child.begin(channel, {})

    events = [event async for event in child.events()]

    await child.close()
    channel.close()
    assert {event.data for event in events[:-1] if not isinstance(event, Ended)} == {
        b"out",
        b"err",
    }
    assert events[-1] == Ended(3, None, clean=True)


@pytest.mark.parametrize("ignored", [False, True])
async def test_its_end_tells_how_much_cpu_time_it_and_its_children_have_used(
    *, ignored: bool
) -> None:
    child, channel = await started(
        f"""
import signal, time
if {ignored}:
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the child
os.write(3, b'RUN\\n')
reader, writer = os.pipe()
forked = os.fork() == 0
while time.process_time() < 0.6:
    pass
if not forked:
    os.close(writer)
    os.read(reader, 1)
    {ignored} or os.wait()
"""
    )
    await child.begin(channel, {})

    (ended,) = [event async for event in child.events()]

    await child.close()
    channel.close()
    assert isinstance(ended, Ended)
    assert ended.cpu_seconds is not None
    assert ended.cpu_seconds > 0.9


async def test_a_launcher_that_reports_a_fault_is_a_failed_start() -> None:
    child, channel = await started("os.write(3, b'FAULT no room\\n')")

    with pytest.raises(StartFailed, match="no room"):
        await child.begin(channel, {})

    await child.close()
    channel.close()


async def test_a_launcher_that_ends_instead_is_a_failed_start() -> None:
    child, channel = await started("os._exit(1)")

    with pytest.raises(StartFailed, match="the runtime's launcher ended"):
        await child.begin(channel, {})

    await child.close()
    channel.close()


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (("/nonexistent/program",), "No such file or directory"),
        (("/bin/sh", "-c", "echo why >&2; exit 7"), "ended with status 7: why"),
        (("/bin/sh", "-c", "echo READY wrong >&3"), "no proper sign of life"),
        (("/bin/sh", "-c", "echo FAULT because >&3"), "because"),
        (("/bin/sh", "-c", "kill -9 $$"), "ended with status 137"),
    ],
)
async def test_a_start_that_fails_says_why(argv: tuple[str, ...], said: str) -> None:
    made, channel = order("", argv=argv)
    supervisor = await Supervisor.start()

    with pytest.raises(StartFailed, match=said):
        await supervisor.launch(made)

    await supervisor.close()
    channel.close()


async def test_a_supervisor_that_is_killed_before_the_launch_is_a_failed_start() -> None:
    made, channel = order("")
    supervisor = await Supervisor.start()
    for child in psutil.Process().children():
        child.kill()

    with pytest.raises(StartFailed, match="the supervisor was killed"):
        await supervisor.launch(made)

    await supervisor.close()
    channel.close()


async def test_a_failed_start_closes_every_descriptor_that_it_was_given() -> None:
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        made, channel = order("", argv=("/nonexistent",))
        supervisor = await Supervisor.start()
        with pytest.raises(StartFailed):
            await supervisor.launch(made)
        await supervisor.close()
        channel.close()

    assert len(os.listdir("/proc/self/fd")) == before


async def test_a_child_that_never_gets_ready_dies_with_its_supervisor() -> None:
    made, channel = order("", argv=("/bin/sleep", "600"))
    supervisor = await Supervisor.start()
    launching = asyncio.create_task(supervisor.launch(made))
    await asyncio.sleep(0)

    launching.cancel()
    await asyncio.wait([launching])
    await supervisor.close()

    channel.close()
    assert launching.cancelled()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has rights to give up")
async def test_root_s_supervisor_becomes_somebody_else_for_good() -> None:
    user = unprivileged_user()
    supervisor = await Supervisor.start(user)
    try:
        await supervisor._answer("ready")
        own = Path(f"/proc/{supervisor._process.pid}/status")

        status = own.read_text()  # noqa: ASYNC240 (from memory)
    finally:
        await supervisor.close()
    fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    assert user in UIDS
    assert fields["Uid"] == fields["Gid"] == "\t".join([str(user)] * 4)
    assert fields["Groups"].strip() == ""
    assert {int(fields[name], 16) for name in ("CapPrm", "CapEff", "CapInh", "CapAmb")} == {0}


def test_a_file_in_memory_can_t_be_changed_once_it_is_written() -> None:
    descriptor = new_file_in_memory()
    os.write(descriptor, b"head")
    write_once(descriptor, b"body" * 100_000)

    with pytest.raises(PermissionError):
        os.pwrite(descriptor, b"x", 0)
    with pytest.raises(PermissionError):
        os.ftruncate(descriptor, 0)

    assert os.read(descriptor, 8) == b"headbody"
    os.close(descriptor)


def test_a_walk_through_more_processes_than_there_may_be_ends_early() -> None:
    """Whoever forks faster than the walk goes would never be found out otherwise."""
    nest = (
        "import os\nfor _ in range(6):\n    if os.fork(): break\nos.write(1, b'x'); os.read(0, 1)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", nest], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as chain:
        assert chain.stdout is not None
        assert [chain.stdout.read(1) for _ in range(7)] == [b"x"] * 7

        assert len(descendants(chain.pid)) == 6
        assert [len(descendants(chain.pid, most)) for most in (0, 2, 9)] == [1, 3, 6]


def test_a_plain_users_runtime_has_room_beside_what_he_runs() -> None:
    found = _tasks_and_room(os.geteuid())

    assert found is not None
    assert found > ROOM_FOR_OTHERS
    assert _tasks_and_room(54322) == ROOM_FOR_OTHERS  # nobody's
