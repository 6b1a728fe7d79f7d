"""The broker over a real socket pair; cases 72 to 81 and 84 of the hostile ones, by number."""

from __future__ import annotations

import asyncio
import json
import os
import random
import resource
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import pytest

from lmboot.errors import RuntimeFault, UsageFault
from lmboot.runtime.broker import Broker
from lmboot.runtime.channel import IN_FLIGHT
from lmboot.runtime.operations import (
    EMULATED_TIME,
    Argument,
    Context,
    Env,
    Flag,
    Notify,
    Refused,
    RouteChanged,
    Text,
    Texts,
    Time,
    Whole,
    checked,
)
from lmboot.runtime.policy import ROUTES, Route
from lmboot.runtime.quota import Quota, QuotaSpent
from lmboot.runtime.routes import below
from tests.runtime.brokers import Raising, Record, Waiting, all_routes, codes, scene, until


def descriptors() -> list[str]:
    return os.listdir("/proc/self/fd")


async def test_an_operation_is_performed_recorded_and_answered_with_its_route() -> None:
    async with scene(Time(clock=lambda: 86_400.0)) as it:
        answer = await it.guest.call("time")

        assert answer["result"]["unix"] == 86_400.0
        assert (answer["route"], answer["emulated"], answer["version"]) == ("HOST", False, 1)
        assert it.audit.intents == [("time", "HOST", 1, {})]
        assert it.audit.outcomes == {0: "ok"}


async def test_the_record_has_the_bytes_of_request_and_answer() -> None:
    def size(told: dict[str, Any]) -> int:
        return len(json.dumps(told, ensure_ascii=False, separators=(",", ":")).encode()) + 1

    env = Env(granted={"A"}, variables={"A": "é" * 1000})
    async with scene(env, Raising(RuntimeError())) as it:
        requests = [{"op": "env", "args": {"name": "A"}}, {"op": "tokenize", "args": {}}]
        lines = [
            json.dumps({"id": at, **each}).encode() + b"\n" for at, each in enumerate(requests, 1)
        ]
        for line in lines:
            await it.guest.write(line)
        answers = [await it.guest.answer() for _ in lines]

        assert codes(answers) == ["ok", "failed"]
        sizes = [len(line) + size(told) for line, told in zip(lines, answers, strict=True)]
        assert it.audit.sizes == dict(enumerate(sizes))
        assert sizes[0] > 2000


async def test_the_first_line_is_the_table() -> None:
    async with scene(Time(), routes=all_routes("DENY", time="EMULATE", fetch="EMULATE")) as it:
        told = await it.guest.line()

        assert (told["push"], told["version"]) == ("routes", 1)
        assert told["routes"]["time"] == "EMULATE"
        assert told["routes"]["fetch"] == "EMULATE"  # by the guest's own library
        assert told["routes"]["env"] == "DENY"


@pytest.mark.case(93)
async def test_case_93_what_is_emulated_knows_nothing_of_the_host() -> None:
    shown: list[str] = []
    operations = Time(), Env(granted={"HOME", "PATH"}), Notify(shown.append)
    async with scene(*operations, routes=all_routes("EMULATE")) as it:
        answers = [
            await it.guest.call("time"),
            await it.guest.call("env", name="HOME"),
            await it.guest.call("env", name="PATH"),
            await it.guest.call("notify", text="hello"),
        ]

        assert [answer["result"] for answer in answers] == [
            {"unix": EMULATED_TIME, "utc_offset_seconds": 0},
            "/app",
            None,
            {"shown": False},
        ]
        assert {(answer["route"], answer["emulated"]) for answer in answers} == {("EMULATE", True)}
        assert shown == []


async def test_a_variable_is_told_when_it_is_granted_and_not_otherwise() -> None:
    env = Env(granted={"LANG", "UNSET"}, variables={"LANG": "C", "TOKEN": "secret"})
    async with scene(env) as it:
        assert (await it.guest.call("env", name="LANG"))["result"] == "C"
        assert (await it.guest.call("env", name="UNSET"))["result"] is None
        refused = await it.guest.call("env", name="TOKEN")

        assert codes([refused]) == ["not_granted"]
        assert "secret" not in str(refused)


async def test_a_notice_is_shown_without_what_a_screen_obeys() -> None:
    shown: list[str] = []
    async with scene(Notify(shown.append)) as it:
        assert (await it.guest.call("notify", text="a\x1b]0;title\x07b\u202ec"))["result"] == {
            "shown": True
        }
        assert shown == ["abc"]


async def test_notices_that_nobody_reads_are_not_answered_and_few_wait() -> None:
    reads, waiting = asyncio.Event(), list[str]()

    async def show(text: str) -> None:
        waiting.append(text)
        await reads.wait()

    async with scene(Notify(show)) as it:
        for number in range(100):
            await it.guest.ask("notify", text=str(number))
        await until(lambda: len(waiting) >= IN_FLIGHT)
        assert len(waiting) == IN_FLIGHT
        assert it.audit.outcomes == {}

        reads.set()

        assert codes([await it.guest.answer() for _ in range(100)]) == ["ok"] * 100
        assert sorted(waiting, key=int) == [str(number) for number in range(100)]


@pytest.mark.parametrize("op", ["time", "reload_model", "made.up"])
async def test_what_is_denied_or_unknown_is_refused_and_noted(op: str) -> None:
    async with scene(Time(), routes=all_routes("DENY")) as it:
        answer = await it.guest.call(op)

        assert codes([answer]) == ["denied"]
        assert answer["route"] == "DENY"
        assert it.audit.intents == []
        assert it.audit.denials == [(op, "DENY", 1, "denied")]


async def test_a_host_operation_that_nobody_built_is_unavailable() -> None:
    async with scene() as it:
        assert codes([await it.guest.call("fetch")]) == ["unavailable"]


async def test_what_the_guest_s_library_emulates_is_not_emulated_here() -> None:
    async with scene(routes=all_routes("EMULATE")) as it:
        assert codes([await it.guest.call("fs.list")]) == ["denied"]


@pytest.mark.parametrize(
    "error",
    [
        ValueError("/home/person/secret"),
        OSError(2, "No such file", "/home/person/secret"),
        RecursionError(),
        MemoryError(),
        asyncio.CancelledError(),
        TimeoutError(),
    ],
)
async def test_whatever_an_operation_raises_is_one_answer_without_a_path(
    error: BaseException,
) -> None:
    async with scene(Raising(error), Time()) as it:
        answer = await it.guest.call("tokenize")

        assert codes([answer]) == ["failed"]
        assert "person" not in str(answer)
        assert codes([await it.guest.call("time")]) == ["ok"]
        assert len(it.audit.outcomes) == 2


async def test_a_reason_that_an_operation_gives_is_told() -> None:
    async with scene(Raising(Refused("quota", "the quota is spent"))) as it:
        answer = await it.guest.call("tokenize")

        assert answer["error"] == {"code": "quota", "message": "the quota is spent"}
        assert answer["route"] == "HOST"


async def test_a_quota_that_is_spent_is_told_as_such() -> None:
    async with scene(Raising(QuotaSpent())) as it:
        assert codes([await it.guest.call("tokenize")]) == ["quota"]


@pytest.mark.case(96)
async def test_case_96_what_can_not_be_recorded_is_not_done() -> None:
    shown: list[str] = []
    async with scene(Notify(shown.append)) as it:
        it.audit.full = True
        answers = [await it.guest.call("notify", text="x"), await it.guest.call("made.up")]
        it.audit.full = False

        assert codes(answers) == ["not_recorded", "denied"]
        assert "person" not in str(answers)
        assert shown == []
        assert codes([await it.guest.call("notify", text="x")]) == ["ok"]


async def test_an_outcome_that_can_not_be_recorded_does_not_undo_what_was_done() -> None:
    fetch = Waiting()
    async with scene(fetch) as it:
        await it.guest.ask("fetch")
        await until(lambda: fetch.begun)
        it.audit.full = True
        fetch.gate.set()

        assert codes([await it.guest.answer()]) == ["ok"]


@pytest.mark.case(72)
async def test_case_72_a_line_that_is_too_long_closes_the_channel() -> None:
    async with scene(Time()) as it:
        with pytest.raises(OSError):  # noqa: PT011 (EPIPE or ECONNRESET)
            await it.guest.write(b"x" * (4 << 20))

        assert await it.served == "too_large"
        assert it.audit.notes == [("event", "channel", "end", "too_large")]


@pytest.mark.case(72)
async def test_case_72_a_flood_of_tiny_requests_is_answered_in_order_and_in_little_memory() -> (
    None
):
    """What can't be worked on is not read, and what is not read can't be sent."""
    count = 20_000
    async with scene(Time(), routes=all_routes("EMULATE")) as it:
        flood = b"".join(b'{"id":%d,"op":"time","args":{}}\n' % n for n in range(1, count + 1))
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        sending = asyncio.create_task(it.guest.write(flood))
        await until(lambda: it.broker._channel.full)
        await asyncio.sleep(0.05)
        begun = len(it.audit.emulations)
        await asyncio.sleep(0.1)
        assert len(it.audit.emulations) == begun < count  # nobody reads the answers
        assert not sending.done()
        numbers = [(await it.guest.answer())["id"] for _ in range(count)]
        await sending
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before

    assert sorted(numbers) == list(range(1, count + 1))
    assert grown < 20 << 10  # KiB; mostly this test's own


async def test_sixteen_requests_are_under_way_and_the_rest_is_not_read() -> None:
    fetch = Waiting()
    async with scene(fetch) as it:
        for _ in range(IN_FLIGHT * 3):
            await it.guest.ask("fetch")
        await until(lambda: fetch.begun == IN_FLIGHT)
        await asyncio.sleep(0.02)
        assert fetch.begun == IN_FLIGHT
        fetch.gate.set()

        answers = [await it.guest.answer() for _ in range(IN_FLIGHT * 3)]
        assert codes(answers) == ["ok"] * IN_FLIGHT * 3


@pytest.mark.case(73)
async def test_case_73_a_line_that_drips_closes_its_channel_and_no_other() -> None:
    async with (
        scene(Time(), partial_seconds=0.15) as slow,
        scene(Time(), partial_seconds=0.15) as other,
    ):
        began = time.monotonic()
        while not slow.served.done():
            with suppress(OSError):  # it may just have been closed
                await slow.guest.write(b" ")
            await asyncio.sleep(0.01)

        assert time.monotonic() - began > 0.14
        assert await slow.served == "too_slow"
        assert codes([await other.guest.call("time")]) == ["ok"]


async def test_a_guest_that_is_silent_between_lines_is_left_alone() -> None:
    async with scene(Time(), partial_seconds=0.02) as it:
        for _ in range(3):
            await asyncio.sleep(0.05)
            assert codes([await it.guest.call("time")]) == ["ok"]


async def test_a_line_that_comes_in_two_pieces_leaves_no_clock_behind() -> None:
    async with scene(Time(), partial_seconds=0.1) as it:
        await it.guest.write(b'{"id":1,"op":"ti')
        await asyncio.sleep(0.02)
        await it.guest.write(b'me","args":{}}\n')
        assert (await it.guest.answer())["id"] == 1
        await asyncio.sleep(0.15)
        await it.guest.write(b'{"id":2,"op":"time","args":{}}\n')

        assert (await it.guest.answer())["id"] == 2


async def test_a_line_that_waits_for_us_is_not_the_guest_s_fault() -> None:
    fetch = Waiting()
    async with scene(fetch, partial_seconds=0.05) as it:
        for _ in range(IN_FLIGHT):
            await it.guest.ask("fetch")
        await it.guest.write(b'{"id":99,"op":"fe')
        await asyncio.sleep(0.2)
        await it.guest.write(b'tch","args":{}}\n')
        fetch.gate.set()

        answers = [await it.guest.answer() for _ in range(IN_FLIGHT + 1)]
        assert answers[-1]["id"] == 99


@pytest.mark.parametrize("number", ['"1"', "true", "1.0", "-1", str(2**70), "null"])
@pytest.mark.case(74)
async def test_case_74_wrong_types_are_typed_errors(number: str) -> None:
    async with scene(Time()) as it:
        await it.guest.write(b'{"id":%b,"op":"time","args":{}}\n' % number.encode())
        await it.guest.write(b'{"id":1,"op":"time","args":[]}\n')
        answers = [await it.guest.answer() for _ in range(2)]

        assert answers[0]["id"] is None
        assert codes(answers) in (["bad_id", "bad_arguments"], ["number", "bad_arguments"])
        assert it.audit.faults() == codes(answers)


@pytest.mark.case(75)
async def test_case_75_twenty_faults_end_the_channel_and_are_recorded() -> None:
    async with scene(Time()) as it:
        await it.guest.write(b'{"hello":1}\n' * 30)
        answers = [await it.guest.answer() for _ in range(21)]

        assert codes(answers) == ["bad_id"] * 20 + ["too_many_faults"]
        assert await it.served == "too_many_faults"
        assert len(it.audit.faults()) == 20
        with pytest.raises(EOFError):
            await it.guest.line()


@pytest.mark.case(76)
async def test_case_76_a_wild_name_is_refused_and_nothing_of_it_reaches_the_log() -> None:
    async with scene(Time()) as it:
        for name in ("__class__", "fs.read_text\u0000", "../fs", "\x1b[2J" + "x" * 900_000):
            answer = await it.guest.call(name)
            assert codes([answer]) == ["bad_operation"]
            assert answer["error"]["message"].isprintable()
        assert it.audit.faults() == ["bad_operation"] * 4


@pytest.mark.case(77)
async def test_case_77_descriptors_that_come_along_are_thrown_away() -> None:
    async with scene(Time()) as it:
        await it.guest.call("time")
        folder = os.open("/", os.O_RDONLY | os.O_DIRECTORY)
        before = descriptors()
        for number in range(100, 400):
            frame = b'{"id":%d,"op":"time","args":{}}\n' % number
            socket.send_fds(it.guest.socket, [frame], [folder] * 50)
            assert (await it.guest.answer())["id"] == number
            assert descriptors() == before
        os.close(folder)


@pytest.mark.case(78)
async def test_case_78_a_guest_that_closes_its_sending_half_gets_its_answers() -> None:
    fetch = Waiting()
    async with scene(fetch) as it:
        await it.guest.ask("fetch", url="late")
        it.guest.socket.shutdown(socket.SHUT_WR)
        await until(lambda: fetch.begun)
        fetch.gate.set()

        assert (await it.guest.answer())["result"] == "late"
        assert await it.served == "hung_up"


@pytest.mark.parametrize("said", [b"", b'{"id":1,"op":"fetch","args":{}}\n', b'{"id":1,'])
@pytest.mark.case(78)
async def test_case_78_a_guest_that_vanishes_ends_what_it_had_asked(said: bytes) -> None:
    fetch = Waiting()
    async with scene(fetch) as it:
        await it.guest.line()  # what is left unread would be a reset
        await it.guest.write(said)
        await asyncio.sleep(0.01)
        it.guest.socket.close()

        assert await it.served in ("hung_up", "lost")
        assert fetch.begun == said.count(b"\n")
        assert fetch.effects == 0
        assert list(it.audit.outcomes.values()) == ["closed"] * fetch.begun


@pytest.mark.case(78)
async def test_case_78_two_writers_that_mix_their_lines_harm_this_channel_only() -> None:
    async with scene(Time()) as mixed, scene(Time()) as other:
        await mixed.guest.write(
            b'{"id":1,"op":{"id":1,"op":"time","args":{}}\n"time","args":{}}\n'
        )
        answers = [await mixed.guest.answer() for _ in range(2)]

        assert codes(answers) == ["syntax", "syntax"] or "ok" not in codes(answers)
        assert codes([await other.guest.call("time")]) == ["ok"]


@pytest.mark.parametrize("claim", ['"route":"HOST"', '"emulated":false', '"version":9'])
@pytest.mark.case(79)
async def test_case_79_nobody_can_claim_a_route(claim: str) -> None:
    async with scene(Time(), routes=all_routes("DENY")) as it:
        await it.guest.write(b'{"id":1,"op":"time","args":{},%b}\n' % claim.encode())

        assert codes([await it.guest.answer()]) == ["unknown_field"]


@pytest.mark.parametrize("cancellable", [True, False])
@pytest.mark.parametrize("commits", [True, False])
@pytest.mark.case(80)
async def test_case_80_a_flip_between_admission_and_effect_prevents_the_effect(
    cancellable: bool, commits: bool
) -> None:
    fetch = Waiting(cancellable=cancellable, commits=commits)
    async with scene(fetch) as it:
        number = await it.guest.ask("fetch")
        await until(lambda: fetch.begun)
        flip = it.broker.flip("fetch", "DENY")
        fetch.gate.set()
        answer = await it.guest.answer()

        assert codes([answer]) == ["route_changed"]
        assert (answer["route"], answer["version"]) == ("DENY", 2)
        assert (flip.withdrawn, flip.too_late) == ((number,), ())
        assert fetch.effects == (0 if commits or cancellable else 1)
        assert it.audit.outcomes == {0: "route_changed"}


@pytest.mark.case(80)
async def test_case_80_a_flip_before_the_first_step_prevents_even_that() -> None:
    fetch = Waiting()
    async with scene(fetch) as it:
        admit = it.broker._admit

        def admit_and_flip(request: Any) -> None:
            admit(request)
            it.broker.flip("fetch", "DENY")

        it.broker._admit = admit_and_flip  # type: ignore[method-assign]  # the barrier
        await it.guest.ask("fetch")

        assert codes([await it.guest.answer()]) == ["route_changed"]
        assert fetch.begun == 0


@pytest.mark.case(80)
async def test_case_80_a_commit_in_a_thread_right_behind_the_flip_is_refused() -> None:
    """The thread is between two of the flip's own steps: the routes are swapped, no more."""
    fetch, outcomes = Waiting(), []
    async with scene(fetch) as it:
        await it.guest.ask("fetch")
        await until(lambda: fetch.begun)
        (flight,) = it.broker._flights.values()
        withdraw = it.broker._withdraw

        def commit_first(op: str, route: Route) -> Any:
            with ThreadPoolExecutor(1) as pool:
                outcomes.append(pool.submit(flight.commit).exception())
            return withdraw(op, route)

        it.broker._withdraw = commit_first  # type: ignore[method-assign]  # the barrier
        it.broker.flip("fetch", "DENY")

        assert [type(outcome) for outcome in outcomes] == [RouteChanged]
        assert codes([await it.guest.answer()]) == ["route_changed"]


async def test_a_flip_after_the_commit_cancels_what_can_be_and_reports_the_rest() -> None:
    fetch = Waiting(after=asyncio.Event())
    write = Waiting("fs.write_text", cancellable=False, after=asyncio.Event())
    async with scene(fetch, write) as it:
        asked = [await it.guest.ask("fetch"), await it.guest.ask("fs.write_text")]
        fetch.gate.set()
        write.gate.set()
        await until(lambda: fetch.effects and write.effects)
        flips = [it.broker.flip("fetch", "DENY"), it.broker.flip("write", "DENY")]
        assert write.after is not None
        write.after.set()
        answers = {answer["id"]: answer for answer in [await it.guest.answer() for _ in asked]}

        assert codes(answers[number] for number in asked) == ["route_changed", "ok"]
        assert (flips[0].withdrawn, flips[0].too_late) == ((asked[0],), ())
        assert (flips[1].withdrawn, flips[1].too_late) == ((), (asked[1],))
        done = answers[asked[1]]
        assert (done["route"], done["version"]) == ("HOST", 1)  # what it truly was


async def test_a_flip_to_a_freer_route_disturbs_nothing() -> None:
    fetch = Waiting()
    async with scene(fetch, Time(), routes=all_routes(time="DENY")) as it:
        await it.guest.ask("fetch")
        await until(lambda: fetch.begun)
        flip = it.broker.flip("time", "HOST")
        fetch.gate.set()

        assert (flip.version, flip.withdrawn) == (2, ())
        assert (await it.guest.answer())["version"] == 2  # the one at its commit
        assert codes([await it.guest.call("time")]) == ["ok"]


async def test_a_flip_is_recorded_and_told_to_the_guest() -> None:
    async with scene(Time()) as it:
        assert (await it.guest.line())["version"] == 1
        it.broker.flip("time", "DENY", actor="pane")
        told = await it.guest.line()

        assert (told["push"], told["version"], told["routes"]["time"]) == ("routes", 2, "DENY")
        assert it.audit.notes == [("route", "time", "DENY", "pane: HOST -> DENY")]


async def test_a_flip_that_can_not_be_recorded_happens_only_if_it_is_stricter() -> None:
    async with scene(Time(), routes=all_routes(env="DENY")) as it:
        it.audit.full = True
        with pytest.raises(RuntimeFault):
            it.broker.flip("env", "HOST")
        it.broker.flip("time", "DENY")

        assert it.broker.routes.effective("env") == "DENY"
        assert it.broker.routes.effective("time") == "DENY"


async def test_a_flip_of_an_unknown_name_is_refused_and_changes_nothing() -> None:
    async with scene() as it:
        with pytest.raises(UsageFault):
            it.broker.flip("made.up", "HOST")
        assert it.broker.routes.version == 1


async def test_a_guest_that_does_not_read_is_told_the_newest_table_only() -> None:
    async with scene(Time()) as it:
        for number in range(20_000):
            it.broker.flip("time", ROUTES[number % 3])
            if number % 100 == 0:
                await asyncio.sleep(0)
        versions: list[int] = []
        while not versions or versions[-1] < 20_001:
            versions.append((await it.guest.line())["version"])

        assert versions == sorted(set(versions))
        assert len(versions) < 5_000


@pytest.mark.case(81)
async def test_case_81_in_a_storm_of_flips_every_answer_fits_its_version() -> None:
    chance = random.Random(81)
    count = 400
    async with scene(Time(), Env(granted={"LANG"})) as it:
        states = {1: it.broker.routes}

        async def storm() -> None:
            while True:
                flip = it.broker.flip("time", chance.choice(ROUTES))
                states[flip.version] = it.broker.routes
                await asyncio.sleep(0.001)

        storming = asyncio.create_task(storm())
        answers = []
        for _ in range(count // 8):
            for _ in range(8):
                await it.guest.ask("time")
            answers += [await it.guest.answer() for _ in range(8)]
            await asyncio.sleep(0.0005)
        storming.cancel()

        assert len(answers) == count
        assert {"ok", "denied"} <= set(codes(answers)) <= {"ok", "denied", "route_changed"}
        for answer in answers:
            then: Route = states[answer["version"]].effective("time")
            if answer["ok"]:
                assert not below(then, answer["route"])
                assert answer["emulated"] == (answer["route"] == "EMULATE")
            else:
                assert then == answer["route"]


@pytest.mark.case(84)
async def test_case_84_sixty_four_writes_race_for_a_quota_through_the_broker() -> None:
    quota, written = Quota(1 << 20), []

    class Write(Waiting):
        async def perform(self, args: dict[str, Any], context: Context) -> int:
            reservation = quota.reserve(len(args["text"]))
            await asyncio.sleep(0.001)
            context.commit()
            written.append(len(args["text"]))
            reservation.settle(written[-1])
            return written[-1]

    write = Write("fs.write_text", arguments={"text": Text(most=1 << 20)})
    async with scene(write) as it:
        for _ in range(64):
            await it.guest.ask("fs.write_text", text="x" * (32 << 10))
        answers = [await it.guest.answer() for _ in range(64)]

    assert sorted(codes(answers)) == ["ok"] * 32 + ["quota"] * 32
    assert sum(written) == quota.taken == 1 << 20


async def test_a_result_that_is_too_large_is_an_error() -> None:
    fetch = Waiting(arguments={"url": Text(default="x" * (1 << 20))})
    fetch.gate.set()
    async with scene(fetch) as it:
        assert codes([await it.guest.call("fetch")]) == ["too_large"]
        assert it.audit.outcomes == {0: "too_large"}


async def test_what_was_received_before_the_broker_is_not_lost() -> None:
    async with scene(Time(), already=b'{"id":1,"op":"ti') as it:
        await it.guest.write(b'me","args":{}}\n')

        assert (await it.guest.answer())["id"] == 1


async def test_closing_ends_what_is_under_way() -> None:
    fetch, write = Waiting(), Waiting("fs.write_text", cancellable=False)
    async with scene(fetch, write) as it:
        await it.guest.ask("fetch")
        await it.guest.ask("fs.write_text")
        await until(lambda: fetch.begun and write.begun)
        it.broker.close()
        write.gate.set()

        assert await it.served == "closed"
        assert (fetch.effects, write.effects) == (0, 0)
        assert set(it.audit.outcomes.values()) == {"closed"}


async def test_an_operation_that_never_ends_does_not_keep_the_broker() -> None:
    write = Waiting("fs.write_text", cancellable=False)
    async with scene(write) as it:
        await it.guest.ask("fs.write_text")
        await until(lambda: write.begun)
        began = time.monotonic()
        it.broker.close()
        await it.served

        assert time.monotonic() - began < 2.0


@pytest.mark.case(125)
async def test_a_guest_that_never_reads_does_not_keep_the_broker() -> None:
    fetch = Waiting(arguments={"url": Text(default="x" * 500_000)})
    fetch.gate.set()
    async with scene(fetch) as it:
        for _ in range(8):
            await it.guest.ask("fetch")
        await until(lambda: fetch.begun)
        await asyncio.sleep(0.05)
        assert fetch.begun <= IN_FLIGHT
        it.broker.close()

        assert await it.served == "closed"


async def test_a_broker_that_was_closed_before_it_served_serves_nobody() -> None:
    ours, theirs = socket.socketpair()
    broker = Broker(ours, all_routes(), [Time()], Record())
    broker.close()

    assert await broker.serve() == "closed"
    with theirs:
        assert theirs.recv(1 << 16).count(b"\n") == 1  # the table, and the end
        assert theirs.recv(1 << 16) == b""
    assert ours.fileno() == -1


ARGUMENTS: dict[str, Argument] = {
    "text": Text(most=4),
    "size": Whole(0, 10, default=1),
    "deep": Flag(default=False),
    "parts": Texts(2, Text(most=3), default=()),
}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "text is missing"),
        ({"text": 1}, "text is not a text"),
        ({"text": "naïve"}, "text is longer than 4 bytes"),
        ({"text": "ïïï"}, "text is longer than 4 bytes"),
        ({"text": "a", "size": True}, "size is not a whole number"),
        ({"text": "a", "size": 1.0}, "size is not a whole number"),
        ({"text": "a", "size": 11}, "size is not from 0 to 10"),
        ({"text": "a", "deep": 1}, "deep is not true or false"),
        ({"text": "a", "parts": "ab"}, "parts is not a list"),
        ({"text": "a", "parts": ["a", "b", "c"]}, "parts has more than 2 parts"),
        ({"text": "a", "parts": ["a", None]}, "parts has a part (1) that is not a text"),
        ({"text": None}, "text is not a text"),
        ({"text": "a", "route\x1b": 1}, "there is no argument 'route'"),
    ],
)
def test_arguments_that_do_not_fit_are_refused_with_a_reason(
    given: dict[str, Any], message: str
) -> None:
    with pytest.raises(Refused) as caught:
        checked(ARGUMENTS, given)

    assert (caught.value.code, caught.value.args[0]) == ("bad_argument", message)


def test_arguments_that_fit_come_with_their_defaults() -> None:
    assert checked(ARGUMENTS, {"text": "four"}) == {
        "text": "four",
        "size": 1,
        "deep": False,
        "parts": (),
    }
