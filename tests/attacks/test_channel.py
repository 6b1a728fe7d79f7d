"""What a program can do to the broker from inside, over each back end's own channel.

The broker's parts are attacked in tests/runtime, by bytes; here the bytes come out of a sandbox:
through an inherited socket, podman's kept descriptors, or the portable sandbox's door.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest

from lmboot.runtime.broker import PARTIAL_SECONDS, Broker
from lmboot.runtime.channel import IN_FLIGHT
from lmboot.runtime.operations import Time
from tests import leaks, portable
from tests.attacks.probes import EVERYWHERE, WITH_SOCKETS
from tests.runtime.brokers import Record, all_routes, codes, scene, until
from tests.runtime.guests import Guest, started

pytestmark = [
    pytest.mark.attack,
    pytest.mark.sandbox,
    pytest.mark.usefixtures("sandbox"),
    pytest.mark.timeout(portable.SECONDS),
]
everywhere = pytest.mark.parametrize("sandbox", EVERYWHERE, indirect=True)
with_sockets = pytest.mark.parametrize("sandbox", WITH_SOCKETS, indirect=True)

RAW = r"""
import json, os, sys
if sys.platform == "wasi":
    import _host
    def say(data):
        return _host.call(b">" + data)[:1] == b"+"
    def hear():
        said = _host.call(b"<")
        return said[1:] if said[:1] == b"+" else b""
else:
    import socket
    channel = socket.socket(fileno=int(os.environ["LMBOOT_FD"]))
    def say(data):
        try:
            channel.sendall(data)
        except OSError:
            return False
        return True
    def hear():
        try:
            return channel.recv(65536)
        except OSError:
            return b""
pending = b""
def answer():
    global pending
    while True:
        while b"\n" not in pending:
            data = hear()
            if not data:
                return None
            pending += data
        line, _, pending = pending.partition(b"\n")
        told = json.loads(line)
        if "push" not in told:
            return told
def code(told):
    return "end" if told is None else "ok" if told["ok"] else told["error"]["code"]
"""
GOOD = r'b"{\"id\":%d,\"op\":\"time\",\"args\":{}}\n"'


@dataclass
class Line:
    """A guest that has its channel in its own hands, and the broker at the other end."""

    guest: Guest
    broker: Broker
    record: Record
    served: asyncio.Task[str]


@asynccontextmanager
async def line(program: str, partial_seconds: float = PARTIAL_SECONDS) -> AsyncIterator[Line]:
    """Run a program in the back end of the test, with `say`, `hear` and `answer`."""
    record = Record()
    async with started(RAW + program, routes=all_routes().table()) as guest:
        channel, already = guest.runtime.channel
        broker = Broker(
            *(channel, all_routes(), [Time()], record),
            already=already,
            partial_seconds=partial_seconds,
        )
        served = asyncio.create_task(broker.serve())
        try:
            yield Line(guest, broker, record, served)
        finally:
            broker.close()
            await served


async def lines_of(
    program: str, partial_seconds: float = PARTIAL_SECONDS
) -> tuple[list[str], Line]:
    """Run a program to its end; return what it printed, and what it had to do with."""
    async with line(program, partial_seconds) as it:
        await it.guest.finish()
        assert (it.guest.errors, it.guest.code) == ("", 0)
        await it.served
        return it.guest.text.splitlines(), it


@everywhere
@pytest.mark.case(72)
async def test_case_72_a_line_without_end_costs_its_channel_and_not_the_program() -> None:
    said, it = await lines_of(
        """
while say(b"x" * 65536):
    pass
print("closed", code(answer()) in ("end", "too_large"))
"""
    )

    assert said == ["closed True"]
    assert await it.served == "too_large"
    assert it.record.intents == []


@everywhere
@pytest.mark.case(72, 125, 126)
async def test_cases_72_125_126_who_floods_and_reads_nothing_waits_and_nobody_else() -> None:
    """What can't be worked on is not read; the flood stands still until the program is ended."""
    program = f"""
print("begins", flush=True)
number = 0
while True:
    frames = b"".join({GOOD} % n for n in range(number + 1, number + 201))
    number += 200
    if not say(frames):
        break
"""
    async with line(program) as it, scene(Time()) as beside:
        await it.guest.until(b"begins")
        await until(lambda: it.broker._channel is not None and it.broker._channel.full, 60)
        begun = len(it.record.intents)
        for _ in range(50):
            assert codes([await beside.guest.call("time")]) == ["ok"]
        assert len(it.record.intents) <= begun + IN_FLIGHT
        assert it.broker._under_way() <= IN_FLIGHT
        await it.guest.stop()

        assert it.guest.ended is not None
        assert it.guest.ended.clean


@everywhere
@pytest.mark.case(73)
async def test_case_73_a_line_that_drips_costs_its_channel_and_not_the_program() -> None:
    said, it = await lines_of(
        """
import time
say(b'{"id":1,"op":"time","args":{}}\\n')
print(code(answer()))
while say(b" "):
    time.sleep(0.01)
print("closed", code(answer()) in ("end", "too_slow"))
""",
        partial_seconds=0.3,
    )

    assert said == ["ok", "closed True"]
    assert await it.served == "too_slow"
    assert len(it.record.intents) == 1


@everywhere
@pytest.mark.case(74, 79)
async def test_cases_74_79_wrong_types_and_claims_are_told_and_nothing_is_done() -> None:
    said, it = await lines_of(
        r"""
for number in ('"1"', "true", "1.0", "-1", str(2**70), "null"):
    say(b'{"id":%b,"op":"time","args":{}}\n' % number.encode())
    print(code(answer()))
for more in ('"args":[]', '"args":{},"route":"HOST"', '"args":{},"emulated":false',
             '"args":{},"version":9'):
    say(b'{"id":1,"op":"time",%b}\n' % more.encode())
    print(code(answer()))
say(b'{"id":7,"op":"time","args":{}}\n')
print(code(answer()))
"""
    )

    assert len(said) == 11
    assert said[-1] == "ok"
    assert "ok" not in said[:-1]
    assert "end" not in said
    assert len(it.record.intents) == 1
    assert it.record.faults() == said[:-1]


@everywhere
@pytest.mark.case(75)
async def test_case_75_numbers_again_and_answers_as_requests_end_the_channel() -> None:
    said, it = await lines_of(
        r"""
for _ in range(2):
    say(b'{"id":5,"op":"time","args":{}}\n')
    print(code(answer()))
for _ in range(30):
    say(b'{"id":6,"ok":true,"result":1}\n')
while (told := answer()) is not None:
    print(code(told))
"""
    )

    first, again, *others = said
    assert (first, again) == ("ok", "bad_id")
    assert others[-1] == "too_many_faults"
    assert await it.served == "too_many_faults"
    assert len(it.record.intents) == 1


@everywhere
@pytest.mark.case(76, 122)
async def test_cases_76_122_wild_names_and_a_flood_of_them_leave_the_way_open() -> None:
    said, it = await lines_of(
        r"""
names = ["__class__", "fs.read_text\\u0000", "../fs", "\\u001b[2J" + "x" * 900000]
for number, name in enumerate(names, 1):
    say(b'{"id":%d,"op":"%b","args":{}}\n' % (number, name.encode()))
    print(code(answer()))
found = set()
for number in range(10, 1010):
    say(b'{"id":%d,"op":"made.up","args":{}}\n' % number)
    found.add(code(answer()))
print(*found)
say(b'{"id":2000,"op":"time","args":{}}\n')
print(code(answer()))
"""
    )

    assert said == ["bad_operation"] * 4 + ["denied", "ok"]
    assert len(it.record.denials) == 1000
    assert len(it.record.intents) == 1


@with_sockets
@pytest.mark.case(77)
async def test_case_77_descriptors_sent_along_are_thrown_away() -> None:
    program = r"""
folder = os.open(".", os.O_RDONLY)
print("begins", flush=True)
sys.stdin.readline()
for number in range(1, 101):
    socket.send_fds(channel, [b'{"id":%d,"op":"time","args":{}}\n' % number], [folder] * 50)
    assert code(answer()) == "ok"
print("sent", flush=True)
sys.stdin.readline()
"""
    async with line(program) as it:
        await it.guest.until(b"begins")
        before = leaks.descriptors()
        await it.guest.runtime.send(b"\n")
        await it.guest.until(b"sent")

        assert leaks.descriptors() == before
        await it.guest.runtime.send(b"\n")
        await it.guest.finish()
        assert (it.guest.code, len(it.record.intents)) == (0, 100)


@everywhere
@pytest.mark.case(78, 124)
async def test_cases_78_124_two_writers_that_mix_their_lines_harm_themselves_at_most() -> None:
    said, it = await lines_of(
        r"""
say(b'{"id":1,"op":{"id":1,"op":"time","args":{}}\n"time","args":{}}\n')
print(code(answer()), code(answer()))
for wild in (b"\xff\xfe\n", b"[]\n", b"{]\n", b'{"id":1,"id":2}\n', b"\n"):
    say(wild)
say(b'{"id":9,"op":"time","args":{}}\n')
while (told := answer()) is not None and told["id"] != 9:
    assert not told["ok"]
print(code(told))
"""
    )

    assert said == ["truncated syntax", "ok"]
    assert len(it.record.intents) == 1


@with_sockets
@pytest.mark.case(78)
async def test_case_78_who_closes_one_half_gets_what_was_asked_for() -> None:
    said, it = await lines_of(
        r"""
say(b'{"id":1,"op":"time","args":{}}\n')
channel.shutdown(socket.SHUT_WR)
print(code(answer()), code(answer()))
"""
    )

    assert said == ["ok end"]
    assert await it.served == "hung_up"
