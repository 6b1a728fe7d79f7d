from __future__ import annotations

import pytest

from lmboot.gui.rates import Rate


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_there_is_no_rate_before_there_is_enough_to_tell() -> None:
    clock = Clock()
    rate = Rate(clock)

    assert rate.per_second() is None
    rate.add()
    clock.now += 0.4
    rate.add()
    assert rate.per_second() is None
    clock.now += 0.1
    assert rate.per_second() == pytest.approx(2.0)


def test_a_steady_stream_has_its_rate_from_beginning_to_end() -> None:
    clock = Clock()
    rate = Rate(clock)
    rate.add()
    for _ in range(100):
        clock.now += 0.125
        rate.add()
        assert rate.per_second() in (None, 8.0)
    assert rate.total == 101


def test_only_the_last_two_seconds_count() -> None:
    clock = Clock()
    rate = Rate(clock)
    rate.add()
    clock.now += 1
    rate.add(1000)
    clock.now += 1.5
    rate.add(4)
    assert rate.per_second() == 502.0

    clock.now += 1.0
    assert rate.per_second() == 2.0
    clock.now += 60
    assert rate.per_second() == 0.0


def test_many_small_pieces_take_little_memory_and_all_count() -> None:
    clock = Clock()
    rate = Rate(clock)
    rate.add()
    for _ in range(20_000):
        clock.now += 0.0001
        rate.add()

    assert rate.per_second() == pytest.approx(10_000, rel=0.05)
    assert len(rate._slots) <= 41
