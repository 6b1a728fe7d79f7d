from __future__ import annotations

import asyncio
import random
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmboot.runtime.quota import Quota, QuotaSpent


def test_exactly_what_is_left_can_be_taken_and_nothing_after_it() -> None:
    quota = Quota(10)
    quota.reserve(4)
    quota.reserve(6)

    with pytest.raises(QuotaSpent):
        quota.reserve(1)
    assert quota.taken == 10


def test_what_is_left_will_do_where_it_is_enough() -> None:
    quota = Quota(10, "all is gone")
    quota.reserve(7)

    with pytest.raises(QuotaSpent, match="all is gone"):
        quota.reserve(5, least=4)
    assert quota.reserve(2, least=1).amount == 2
    with quota.spending(5, least=1) as spent:
        assert (spent.most, quota.taken) == (1, 10)
        spent.used = 3
    assert quota.taken == 12
    with pytest.raises(QuotaSpent):
        quota.reserve(5, least=0)


def test_what_was_not_used_comes_back_once() -> None:
    quota = Quota(10)
    reservation = quota.reserve(10)
    reservation.settle(3)
    reservation.settle(0)

    assert quota.taken == 3


def test_what_is_never_settled_counts_as_spent() -> None:
    quota = Quota(10)
    quota.reserve(7)

    with pytest.raises(QuotaSpent):
        quota.reserve(4)


def test_nobody_can_settle_for_less_than_nothing() -> None:
    quota = Quota(10)

    with pytest.raises(ValueError, match="less than nothing"):
        quota.reserve(5).settle(-1)
    assert quota.taken == 5


def test_what_was_used_beyond_the_reservation_is_gone_as_well() -> None:
    quota = Quota(10)
    quota.reserve(5).settle(12)

    assert quota.taken == 12
    with pytest.raises(QuotaSpent):
        quota.reserve(0)


@pytest.mark.parametrize("error", [None, OSError, asyncio.CancelledError])
def test_whatever_an_effect_ends_with_it_has_cost_what_it_used(
    error: type[BaseException] | None,
) -> None:
    quota = Quota(10)
    with pytest.raises(error) if error else nullcontext(), quota.spending(8) as spent:
        assert quota.taken == 8
        spent.used = 3
        if error:
            raise error

    assert quota.taken == 3


def test_an_effect_that_did_not_begin_costs_nothing() -> None:
    quota = Quota(10)
    with quota.spending(8):
        pass

    assert quota.taken == 0
    with pytest.raises(QuotaSpent), quota.spending(11):
        raise AssertionError("there was no room for it")


def test_a_negative_amount_is_refused() -> None:
    with pytest.raises(ValueError, match="negative"):
        Quota(1).reserve(-1)


@given(st.integers(0, 100), st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60))))
def test_the_total_is_never_exceeded(total: int, uses: list[tuple[int, int]]) -> None:
    quota, used = Quota(total), 0
    for amount, actual in uses:
        try:
            reservation = quota.reserve(amount)
        except QuotaSpent:
            assert used + amount > total
            continue
        reservation.settle(min(actual, amount))
        used += min(actual, amount)

    assert used == quota.taken <= total


@pytest.fixture
def _hasty() -> Iterator[None]:
    """Let threads take turns as often as they can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("_hasty")
@pytest.mark.case(84)
def test_case_84_sixty_four_writers_race_for_one_mebibyte() -> None:
    """Threads that each want 48 KiB, of which some write less: the sum is never above."""
    quota, written, peak = Quota(1 << 20), [], []

    def write(number: int) -> None:
        chance = random.Random(number)
        for _ in range(50):
            amount = chance.randrange(48 << 10)
            try:
                reservation = quota.reserve(amount)
            except QuotaSpent:
                continue
            actual = chance.randrange(amount + 1) if number % 2 else amount
            peak.append(quota.taken)
            reservation.settle(actual)
            written.append(actual)

    with ThreadPoolExecutor(64) as pool:
        list(pool.map(write, range(64)))

    assert max(peak) <= 1 << 20
    assert sum(written) == quota.taken <= 1 << 20
    assert quota.taken > 900 << 10  # and they did race for the last of it


async def test_case_84_tasks_that_wait_between_asking_and_using_share_it_too() -> None:
    quota, written = Quota(1 << 20), []

    async def write(size: int) -> None:
        try:
            reservation = quota.reserve(size)
        except QuotaSpent:
            return
        await asyncio.sleep(0)
        written.append(size)
        reservation.settle(size)

    await asyncio.gather(*(write(32 << 10) for _ in range(64)))

    assert sum(written) == quota.taken == 1 << 20
