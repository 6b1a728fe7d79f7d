"""The account of the programs that are run for one runtime; pure."""

from __future__ import annotations

from contextlib import ExitStack

import pytest

from lmboot.runtime.policy import Limits
from lmboot.runtime.quota import QuotaSpent
from lmboot.runtime.shares import MOST_LIVE, OUTPUT_BYTES, WALL_SECONDS, Share, Shares


def live(shares: Shares, count: int, held: ExitStack) -> list[Limits]:
    return [held.enter_context(shares.one()).limits for _ in range(count)]


@pytest.mark.parametrize("processes", [1, 2, 3, 4, 5, 64])
def test_all_that_may_live_at_once_never_have_more_than_the_run(processes: int) -> None:
    run = Limits(memory_mb=500, cpu_seconds=10, processes=processes, output_mb=3, disk_mb=7)
    shares = Shares(run)
    with ExitStack() as held:
        each = live(shares, shares.most_live, held)

    assert shares.most_live == min(MOST_LIVE, processes)
    for name in ("memory_mb", "cpu_seconds", "processes", "output_mb", "disk_mb"):
        assert sum(getattr(limits, name) for limits in each) <= getattr(run, name)
        assert all(getattr(limits, name) > 0 for limits in each)


def test_its_wall_clock_is_the_runs_or_a_minute() -> None:
    with Shares(Limits()).one() as long, Shares(Limits(wall_seconds=5)).one() as short:
        assert (long.limits.wall_seconds, short.limits.wall_seconds) == (WALL_SECONDS, 5)


def test_what_was_used_up_is_gone_for_all_that_come_after() -> None:
    shares, given = Shares(Limits(cpu_seconds=1)), []
    for used in (0.25, 0.2, 0.25, 0.25):
        with shares.one() as share:
            share.begin()
            share.end(used)
        given.append(share.limits.cpu_seconds)
    with shares.one() as last:
        last.begin()

    assert [*given, last.limits.cpu_seconds] == [0.25, 0.25, 0.25, 0.25, 0.05]
    with pytest.raises(QuotaSpent, match="limit of CPU time"), shares.one():
        pytest.fail("nothing was left")


def test_what_nobody_can_tell_counts_whole_and_what_never_began_not_at_all() -> None:
    shares = Shares(Limits(cpu_seconds=4))
    with shares.one():
        pass
    assert shares._cpu.taken == 0
    with shares.one() as share:
        share.begin()
        share.end(None)
    assert shares._cpu.taken == 1000


def test_output_is_used_up_as_well_and_takes_no_cpu_time_along() -> None:
    shares = Shares(Limits(output_mb=2))
    for _ in range(4):
        with shares.one() as share:
            _print(share, OUTPUT_BYTES)
    with pytest.raises(QuotaSpent, match="limit of output"), shares.one():
        pytest.fail("nothing was left")
    assert shares._cpu.taken == 0


def test_one_program_prints_no_more_than_its_bound_however_much_the_run_may() -> None:
    with Shares(Limits(output_mb=1000)).one() as share:
        assert share.output.most == OUTPUT_BYTES


def _print(share: Share, size: int) -> None:
    share.output.used += min(size, share.output.most)
