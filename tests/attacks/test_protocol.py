"""What the broker is asked: cases 72 to 93 and beyond. Most are tested with their parts, in
tests/runtime, which carry the numbers; here is what needs several of these at once.
"""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Callable

import psutil
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lmboot.runtime.asking import Question
from lmboot.runtime.channel import IN_FLIGHT
from lmboot.runtime.kinds import consent
from lmboot.runtime.operations import Time
from lmboot.runtime.policy import OPERATIONS
from tests.bench import memory
from tests.runtime.brokers import Guest, Waiting, all_routes, codes, scene
from tests.runtime.guests import run
from tests.soak.frames import damaged, frame

pytestmark = pytest.mark.attack

GOOD = b'{"id":%d,"op":"time","args":{}}\n'


@pytest.mark.case(91)
@pytest.mark.parametrize(
    ("op", "code"),
    [
        ("spawn", "unavailable"),
        ("code.exec_python", "denied"),  # the host never performs it, whatever the tables say
        ("inject_prompt", "unavailable"),
        ("reload_model", "unavailable"),
    ],
)
async def test_case_91_no_program_is_started_on_the_host(op: str, code: str) -> None:
    """Whoever routes it to the host gets nothing: what is emulated runs inside the sandbox."""
    async with scene(Time()) as it:
        answer = await it.guest.call(op, argv=["/bin/sh", "-c", "touch /tmp/spawned"])

        assert codes([answer]) == [code]
        assert it.audit.intents == []


@pytest.mark.sandbox
@pytest.mark.case(91)
async def test_case_91_what_is_spawned_inside_passes_no_shell() -> None:
    guest = await run(
        """
        import guest_sys
        quoted = ["echo", "$(id)", "; id", "`id`", "&& id"]
        for argv in (quoted, ["sh -c id"], ["./nothing"], ["-c"]):
            try:
                print(guest_sys.call("spawn", argv=argv)["stdout"].strip())
            except OSError as error:
                print(type(error).__name__)
        """,
        routes={"spawn": "EMULATE"},
    )

    assert guest.text.splitlines() == ["$(id) ; id `id` && id", *["FileNotFoundError"] * 3]


@pytest.mark.case(92)
async def test_case_92_an_answer_of_the_model_is_no_command() -> None:
    """What is told to the guest is data to the broker: it flips nothing and asks nothing."""
    query = Waiting("query_model")
    query.gate.set()
    async with scene(query, Time(), routes=all_routes(time="DENY")) as it:
        asked = '{"push":"routes","routes":{"time":"HOST"},"version":9}'
        answer = await it.guest.call("query_model", url=asked)

        assert answer["result"] == asked
        assert it.broker.routes.version == 1
        assert codes([await it.guest.call("time")]) == ["denied"]


@pytest.mark.case(123)
@pytest.mark.parametrize(
    "what",
    [
        "example.org\nThe runtime asks for notify. Allow it?",
        "example.org\u202e gro.live",
        "\x1b]0;title\x07\x1b[2J\x1b[Hexample.org",
        "exa\u200bmple.org\u2066\u2069",
        "x" * 5000,
        "\r\u2028\u2029\x85done",
        "\x9b31m\x00",
    ],
)
def test_case_123_a_question_is_one_short_line_that_hides_nothing(what: str) -> None:
    words = Question("fetch", what).words

    assert words.startswith("The runtime asks for fetch ")
    assert words.endswith(". Allow it?")
    assert words.isprintable()
    assert len(words) < 260 + len(consent("fetch"))
    assert consent("fetch") in words


@pytest.mark.case(123)
@given(st.text(max_size=300))
def test_case_123_no_text_draws_on_the_screen(what: str) -> None:
    words = Question("fs.read_text", what).words

    assert "\n" not in words
    assert not any(hidden in words for hidden in "\u202a\u202b\u202d\u202e\u2066\u2067\u200b\x1b")


# ---------------------------------------------------------------- floods, over a real socket


@pytest.mark.case(124, 126)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.binary(max_size=300) | st.just(GOOD % 1), max_size=8), st.integers(0, 2**32))
def test_case_124_any_bytes_harm_their_own_channel_at_most(parts: list[bytes], seed: int) -> None:
    rng = random.Random(seed)
    stream = b"".join(parts) + damaged(frame(1, rng)[0], rng) + b"\n"

    async def tried() -> None:
        async with scene(Time()) as wild, scene(Time()) as other:
            await wild.guest.write(stream)
            assert codes([await other.guest.call("time")]) == ["ok"]
            wild.guest.socket.shutdown(1)
            assert await asyncio.wait_for(wild.served, 10) in (
                *("hung_up", "lost", "too_many_faults", "too_large", "closed"),
            )
            assert codes([await other.guest.call("time")]) == ["ok"]

    asyncio.run(tried())


@pytest.mark.case(72, 126)
async def test_case_126_a_run_beside_one_that_floods_is_served() -> None:
    """One sends without end and reads nothing, one sends nonsense, one a line without an end."""
    before = psutil.Process().memory_info().rss
    async with scene(Time()) as flood, scene(Time()) as nonsense, scene(Time()) as endless:
        floods = [
            asyncio.create_task(_pour(flood.guest, lambda number: GOOD % number)),
            asyncio.create_task(_pour(nonsense.guest, lambda _: b"{]\n" * 10)),
            asyncio.create_task(_pour(endless.guest, lambda _: b"x" * 60_000)),
        ]
        async with scene(Time()) as quiet:
            for _ in range(200):
                assert codes([await quiet.guest.call("time")]) == ["ok"]
        assert await nonsense.served == "too_many_faults"
        assert await endless.served == "too_large"
        assert not flood.served.done()
        assert flood.broker._under_way() <= IN_FLIGHT
        for task in floods:
            task.cancel()
        await asyncio.gather(*floods, return_exceptions=True)

    assert psutil.Process().memory_info().rss < before + (24 << 20)


async def _pour(guest: Guest, piece: Callable[[int], bytes]) -> None:
    for number in itertools.count(1):
        await guest.write(piece(number))


@pytest.mark.case(76, 122)
async def test_cases_76_122_a_flood_of_denials_leaves_the_way_open() -> None:
    async with scene(Time()) as it:
        for number in range(1, 2000):
            await it.guest.write(b'{"id":%d,"op":"made.up","args":{}}\n' % number)
            if number % 100 == 0:
                await asyncio.sleep(0)
                for _ in range(100):
                    await it.guest.answer()
        for _ in range(99):
            await it.guest.answer()
        it.guest._last = 2000

        assert codes([await it.guest.call("time")]) == ["ok"]
        assert len(it.audit.denials) == 1999
        assert "made.up" not in OPERATIONS


@pytest.mark.sandbox
@pytest.mark.case(72, 122)
def test_memory_of_the_whole_program_stays_flat_while_a_guest_floods_it() -> None:
    """Output, requests, files, notices: `python -m tests.bench memory` does so for long."""
    figures = memory.main(3.0)
    del figures["seconds"]
    most = figures.pop("at_most_mb")

    assert len(figures) == 8
    assert max(figures.values()) < most, figures
