"""The pure parts of a run: packing, limits, the accounts of CPU time."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmboot.census import TICKS_PER_SECOND, CpuLedger, CpuTime, Facts
from lmboot.runtime.backends import Plan
from lmboot.runtime.guest import start
from lmboot.runtime.policy import Limits
from lmboot.runtime.run import MB, netstrings, packed, rlimits, watched
from tests.runtime.guests import job

STRINGS = st.lists(st.binary(max_size=60), max_size=12)


@given(STRINGS)
def test_what_is_packed_is_unpacked(strings: list[bytes]) -> None:
    assert start.netstrings(netstrings(strings)) == strings


@given(STRINGS, st.data())
def test_a_cut_is_noticed_or_falls_between_two_strings(
    strings: list[bytes], data: st.DataObject
) -> None:
    whole = netstrings(strings)
    cut = data.draw(st.integers(0, len(whole)))

    try:
        found = start.netstrings(whole[:cut])
    except ValueError:
        return
    assert found == strings[: len(found)]
    assert netstrings(found) == whole[:cut]


@given(st.binary(max_size=200))
def test_anything_else_is_refused_or_has_one_reading(data: bytes) -> None:
    try:
        found = start.netstrings(data)
    except ValueError:
        return
    assert b"".join(found) in data.replace(b"", b"") or sum(map(len, found)) <= len(data)


def a_plan() -> Plan:
    return Plan(argv=(), env={}, library="/lib", contents={})


def test_a_job_is_packed_as_the_launcher_inside_reads_it() -> None:
    packing = packed(
        job({"a.py": "x", "d/b": b"\0"}, "arg", "", routes={"fetch": "DENY", "env": "EMULATE"}),
        a_plan(),
        unpack=True,
    )

    header, *rest = start.netstrings(packing)
    assert rest == [b"3", b"a.py", b"arg", b"", b"a.py", b"x", b"d/b", b"\0"]
    assert header.decode().split("\n")[:2] == ["/lib", "fetch=DENY env=EMULATE"]


def test_files_on_disk_are_not_packed() -> None:
    packing = packed(job({"a.py": "x"}), a_plan(), unpack=False)

    assert start.netstrings(packing)[1:] == [b"1", b"a.py"]


def test_the_limits_of_a_process() -> None:
    limits = Limits(memory_mb=100, cpu_seconds=1.5, processes=7.9, disk_mb=2)

    assert rlimits(limits, beside=0) == [
        f"AS {(2 * 100 + 512) * MB} {(2 * 100 + 512) * MB}",
        f"FSIZE {2 * MB} {2 * MB}",
        "NOFILE 256 256",
        "CORE 0 0",
        "NPROC 7 7",
        "CPU 3 4",
    ]
    assert not any(line.startswith("NPROC") for line in rlimits(limits, beside=None))


def test_an_engine_bounds_memory_and_takes_its_own_part_beside_it() -> None:
    limits = Limits(memory_mb=100, cpu_seconds=2)

    assert rlimits(limits, beside=0, engine=True)[0] == f"MEMORY {100 * MB} {100 * MB}"
    seen = watched(limits, {"memory": 5 * MB, "cpu": 1})
    assert (seen["memory"], seen["cpu"]) == (105 * MB, 3)


def test_no_limit_is_rounded_to_nothing() -> None:
    tiny = Limits(memory_mb=0.001, cpu_seconds=0.001, processes=0.1, disk_mb=0.0001)

    assert "FSIZE 4096 4096" in rlimits(tiny, beside=0)
    assert "NPROC 1 1" in rlimits(tiny, beside=0)
    assert watched(tiny, {})["processes"] == 1


def test_no_wall_clock_is_no_limit() -> None:
    assert watched(Limits(), {})["wall"] is None


# ---------------------------------------------------------------- CPU time


def facts(born: int, own: int, waited: int = 0, *, running: bool = False) -> Facts:
    return Facts(born, own, waited, running)


def test_time_is_counted_while_it_passes() -> None:
    ledger = CpuLedger()

    sums = [ledger.update({1: facts(0, own)}, 5) for own in (0, 5, 10)]

    assert sums == [0, 5, 10]


def test_time_of_a_child_that_was_waited_for_counts_once() -> None:
    ledger = CpuLedger()
    ledger.update({1: facts(0, 1), 2: facts(1, 40)}, 5)

    assert ledger.update({1: facts(0, 1, waited=43)}, 5) == 44


def test_time_of_a_child_that_nobody_waited_for_is_not_lost() -> None:
    ledger = CpuLedger()
    ledger.update({1: facts(0, 1), 2: facts(1, 10)}, 5)
    ledger.update({1: facts(0, 1), 2: facts(1, 40)}, 5)

    assert ledger.update({1: facts(0, 1)}, 5) == 41
    assert ledger.update({1: facts(0, 2)}, 5) == 42


def test_a_number_that_was_given_to_another_process_is_another_process() -> None:
    ledger = CpuLedger()
    ledger.update({1: facts(0, 0), 2: facts(1, 30)}, 5)
    ledger.update({1: facts(0, 0), 2: facts(1, 31)}, 5)

    assert ledger.update({1: facts(0, 0), 2: facts(9, 2)}, 5) == 33


def test_lives_too_short_to_be_measured_are_charged_by_how_often_they_are_met() -> None:
    ledger = CpuLedger()
    total = 0

    for turn in range(100):  # a new busy child at every look: somebody is always running
        total = ledger.update({1: facts(0, 0), 1000 + turn: facts(turn, 0, running=True)}, 25)

    assert total == pytest.approx(100 * 25, rel=0.05)


def test_short_lives_that_are_waited_for_are_charged_once() -> None:
    ledger = CpuLedger()
    total = 0

    for turn in range(100):
        tree = {1: facts(0, 0, waited=25 * turn), 1000 + turn: facts(turn, 0, running=True)}
        total = ledger.update(tree, 25)

    assert total == pytest.approx(99 * 25, rel=0.05)


# ---------------------------------------------------------------- and of a tree in all


def test_what_a_group_counts_is_told_without_the_setting_up() -> None:
    counts = iter([2.0, 2.5, 3.25])
    time = CpuTime(lambda: next(counts))
    time.begin()

    assert [time.so_far({1: facts(0, 900)}, 1.0), time.in_all(9.0)] == [0.5, 1.25]


@pytest.mark.parametrize(("waited", "told"), [(0.0, 60.0), (59.0, 60.0), (61.5, 61.5)])
def test_without_a_group_neither_who_was_seen_nor_who_was_waited_for_is_lost(
    waited: float, told: float
) -> None:
    time = CpuTime(lambda: None)
    time.begin()
    tree = {1: facts(0, 20 * TICKS_PER_SECOND, waited=40 * TICKS_PER_SECOND)}

    assert time.so_far(tree, 1.0) == 60
    assert time.in_all(waited) == told
