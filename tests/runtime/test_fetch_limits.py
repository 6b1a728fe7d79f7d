"""How often, and how much, one run may fetch."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from lmboot.errors import OperationRefused
from lmboot.runtime.fetching import Fetched, FetchLimits
from lmboot.runtime.granted import FETCH_SECONDS, FETCHED_BYTES, MOST_FETCHES, Fetch
from lmboot.runtime.grants import Grants
from lmboot.runtime.operations import Context, RouteChanged
from lmboot.runtime.quota import Quota, Rate, TooOften
from tests.runtime.brokers import codes, scene
from tests.runtime.persons import Clock

ONE = FetchLimits().body_bytes


@dataclass
class Going:
    """A request that nothing holds back, but a route that changed."""

    permit = None
    changed: bool = False
    commits: int = 0

    def commit(self) -> None:
        if self.changed:
            raise RouteChanged
        self.commits += 1

    def redirected(self, url: str) -> None:
        raise AssertionError(url)


@dataclass
class World:
    """What there is to fetch: so many bytes, or a refusal."""

    size: int = 10
    refusal: str = ""
    asked: list[str] = field(default_factory=list)

    async def get(self, url: str, policy: object, redirected: object) -> Fetched:
        self.asked.append(url)
        if self.refusal:
            raise OperationRefused("no", code=self.refusal)
        return Fetched(200, {}, b"x" * self.size)


def fetching(world: World, clock: Clock | None = None, volume: int = FETCHED_BYTES) -> Fetch:
    rate = Rate(MOST_FETCHES, FETCH_SECONDS, clock or Clock())
    return Fetch(Grants(), world.get, rate, Quota(volume))


async def code(fetch: Fetch, context: Context | None = None) -> str:
    try:
        await fetch.perform({"url": "https://example.org/"}, context or Going())
    except OperationRefused as refused:
        return refused.code
    return "ok"


async def test_thirty_a_minute_are_fetched_and_the_next_one_a_minute_after_the_first() -> None:
    world, clock = World(), Clock()
    fetch = fetching(world, clock)
    for _ in range(MOST_FETCHES):
        assert await code(fetch) == "ok"
        clock.now += 1

    assert await code(fetch) == "rate"
    assert len(world.asked) == MOST_FETCHES
    clock.now += FETCH_SECONDS - MOST_FETCHES
    assert await code(fetch) == "ok"
    assert await code(fetch) == "rate"


async def test_what_was_refused_as_too_often_does_not_count_and_nothing_is_committed() -> None:
    world, clock, context = World(), Clock(), Going()
    fetch = fetching(world, clock)
    for _ in range(MOST_FETCHES):
        await code(fetch)
    for _ in range(5):
        assert await code(fetch, context) == "rate"
    assert context.commits == 0
    clock.now += FETCH_SECONDS

    assert [await code(fetch) for _ in range(MOST_FETCHES)] == ["ok"] * MOST_FETCHES


async def test_a_run_fetches_so_much_in_all_and_no_more() -> None:
    world, clock = World(size=ONE), Clock()
    fetch = fetching(world, clock, volume=3 * ONE)

    assert [await code(fetch) for _ in range(4)] == ["ok", "ok", "ok", "quota"]
    assert len(world.asked) == 3


async def test_what_an_answer_did_not_use_is_given_back() -> None:
    fetch = fetching(World(size=7))
    for _ in range(3):
        await code(fetch)

    assert fetch.volume.taken == 21


@pytest.mark.parametrize(
    ("refusal", "counted"),
    [
        ("no_such_host", 0),
        ("address_refused", 0),
        ("no_connection", 0),
        ("not_granted", 0),
        ("bad_url", 0),
        ("too_large", ONE),
        ("timeout", ONE),
        ("bad_answer", ONE),
    ],
)
async def test_what_broke_off_counts_whole_and_what_never_began_not_at_all(
    refusal: str, counted: int
) -> None:
    fetch = fetching(World(refusal=refusal))

    assert await code(fetch) == refusal
    assert fetch.volume.taken == counted


async def test_a_route_that_changed_costs_no_volume() -> None:
    world = World()
    fetch = fetching(world)

    assert await code(fetch, Going(changed=True)) == "route_changed"
    assert (fetch.volume.taken, world.asked) == (0, [])


def test_the_refusal_says_how_long_to_wait() -> None:
    clock = Clock()
    rate = Rate(2, 60, clock)
    rate.take()
    clock.now += 20
    rate.take()

    with pytest.raises(TooOften, match="at most 2 in 60 s; the next one is possible in 40 s"):
        rate.take()


async def test_the_guest_is_told_the_code() -> None:
    fetch = fetching(World())
    async with scene(fetch) as it:
        answers = [
            await it.guest.call("fetch", url="https://example.org/")
            for _ in range(MOST_FETCHES + 1)
        ]

    assert codes(answers) == ["ok"] * MOST_FETCHES + ["rate"]
    assert "at most 30 in 60 s" in answers[-1]["error"]["message"]
