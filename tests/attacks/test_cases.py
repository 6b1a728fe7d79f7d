"""Every hostile case has a test, in every back end, or a reason that agrees with the posture."""

from __future__ import annotations

import pytest

from lmboot.runtime import posture
from lmboot.runtime.posture import BACKENDS
from lmboot.runtime.properties import MEDIUM, PROPERTIES, REQUIRED, short_of
from tests import portable
from tests.attacks.cases import (
    BESIDE_THE_CASES,
    BY_CONTROL_GROUP,
    BY_HAND,
    COLUMNS,
    EXEMPT,
    INSIDE,
    NOT_HERE,
    SECTIONS,
    WORDS,
)
from tests.attacks.census import census
from tests.attacks.probes import EVERYWHERE
from tests.attacks.table import BEGIN, END, FAILED, README, Results, block, replaced

pytestmark = pytest.mark.timeout(300)  # all tests are collected, once


def test_the_cases_are_numbered_without_a_gap_and_each_is_in_one_section() -> None:
    assert list(WORDS) == list(range(1, len(WORDS) + 1))
    assert sorted(number for section in SECTIONS for number in section.numbers) == list(WORDS)


@pytest.mark.parametrize("number", WORDS)
def test_a_case_is_held_by_a_test(number: int) -> None:
    if number in NOT_HERE:
        return
    assert census().get(number), f"no test carries @pytest.mark.case({number})"


def test_no_test_carries_a_number_that_is_no_case() -> None:
    assert set(census()) - set(WORDS) == set()


@pytest.mark.parametrize("number", sorted(INSIDE))
def test_what_can_be_tried_from_inside_is_tried_in_every_back_end(number: int) -> None:
    """By a test that is given the back end, or names it: pytest itself says which it collects."""
    tried = {each.backend for each in census()[number]}
    wanted = {
        name
        for name in COLUMNS
        if (number, name) not in EXEMPT or EXEMPT[number, name].level != "n/a"
    }
    assert wanted - tried == set()


@pytest.mark.parametrize("number", sorted(set(WORDS) - INSIDE - set(NOT_HERE)))
def test_what_is_beside_any_sandbox_has_a_test_that_needs_no_certain_one(number: int) -> None:
    assert None in {each.backend for each in census()[number]}


@pytest.mark.parametrize(
    ("number", "backend"), [key for key, exempt in EXEMPT.items() if exempt.tried]
)
def test_what_is_tried_though_it_is_partial_is_run_as_in_any_back_end(
    number: int, backend: str
) -> None:
    def tests(name: str) -> set[str]:
        return {each.test.replace(name, "") for each in census()[number] if each.backend == name}

    assert EXEMPT[number, backend].level == "partial"
    assert tests(backend) >= tests("bubblewrap") != set()


@pytest.mark.parametrize(("number", "backend"), EXEMPT)
def test_an_exemption_says_why_and_what_remains_is_in_the_posture(
    number: int, backend: str
) -> None:
    """And a level that leaves nothing in the open is not met by it."""
    exempt = EXEMPT[number, backend]

    assert backend in (*COLUMNS, *BY_HAND)
    assert exempt.reason
    assert number in INSIDE
    assert (exempt.level == "n/a") == (exempt.property == "")
    if exempt.property:
        proven = {**dict.fromkeys(PROPERTIES, "enforced"), exempt.property: exempt.level}
        missing = short_of("medium", proven, walls=1)  # type: ignore[arg-type]  # levels, as text
        assert missing == [exempt.property]


def test_the_table_in_readme_has_every_case_and_every_back_end() -> None:
    """As `python -m tests.attacks.table` writes it where every case is held or exempt."""
    assert block() in README.read_text("utf-8"), "run `python -m tests.attacks.table`"


def test_a_case_that_was_not_held_or_not_tried_shows_in_the_table() -> None:
    results = Results()

    assert block(results.verdict).count(FAILED) > 20
    assert replaced(f"a{BEGIN}old{END}b", f"{BEGIN}new{END}") == f"a{BEGIN}new{END}b"


@pytest.mark.attack
@pytest.mark.sandbox
async def test_an_exemption_agrees_with_the_posture_of_its_back_end(sandbox: str) -> None:
    """What is held in part may be enforced for another user: root has a user for each run."""
    proven = await posture.prove(BACKENDS[sandbox].find())

    for (number, backend), exempt in EXEMPT.items():
        if backend == sandbox and exempt.property:
            assert proven.properties[exempt.property] == exempt.level, number


@pytest.mark.attack
@pytest.mark.sandbox
@pytest.mark.timeout(portable.SECONDS)
@pytest.mark.parametrize("sandbox", EVERYWHERE, indirect=True)
async def test_what_a_proof_calls_partial_is_named_by_a_case_of_the_table(sandbox: str) -> None:
    """The table calls no back end better than its own posture does."""
    proven = await posture.prove(BACKENDS[sandbox].find())
    partial = {name for name, level in proven.properties.items() if level == "partial"}
    named = {exempt.property for (_, backend), exempt in EXEMPT.items() if backend == sandbox}

    assert proven.usable, proven.reason
    assert partial - named - set(BESIDE_THE_CASES) <= (
        set() if proven.grouped else set(BY_CONTROL_GROUP)
    )


def test_what_stands_beside_the_cases_is_required_of_no_level() -> None:
    """Only what no level of a sandbox asks for may hold in part without a case that says so."""
    assert set(BESIDE_THE_CASES) <= set(PROPERTIES) - {*REQUIRED, *MEDIUM}
    assert set(BY_CONTROL_GROUP) <= set(PROPERTIES) - set(BESIDE_THE_CASES)
