"""Every hostile case has a test, in every back end, or a reason that agrees with the posture."""

from __future__ import annotations

import pytest

from lmboot.runtime import posture
from lmboot.runtime.posture import BACKENDS
from lmboot.runtime.properties import PROPERTIES
from tests.attacks.cases import BY_HAND, COLUMNS, EXEMPT, FULL, NOT_HERE, SECTIONS, WORDS
from tests.attacks.census import census
from tests.attacks.table import BEGIN, END, FAILED, README, Results, block, replaced

HELD = census()


def test_the_cases_are_numbered_without_a_gap_and_each_is_in_one_section() -> None:
    assert list(WORDS) == list(range(1, len(WORDS) + 1))
    assert sorted(number for section in SECTIONS for number in section.numbers) == list(WORDS)


@pytest.mark.parametrize("number", WORDS)
def test_a_case_is_held_by_a_test(number: int) -> None:
    if number in NOT_HERE:
        return
    assert HELD.get(number), f"no test carries @pytest.mark.case({number})"


def test_no_test_carries_a_number_that_is_no_case() -> None:
    assert set(HELD) - set(WORDS) == set()


@pytest.mark.parametrize(
    "number", [n for section in SECTIONS if section.sandboxed for n in section.numbers]
)
def test_a_case_about_the_sandbox_is_tried_in_every_back_end(number: int) -> None:
    """By a test in this folder that is given every back end, or by one that names it."""
    named = {each.backend for each in HELD[number]}
    everywhere = any(
        each.backend is None and each.test.startswith("attacks/") for each in HELD[number]
    )
    for backend in COLUMNS:
        exempt = EXEMPT.get((number, backend))
        if exempt is None:
            assert (everywhere and backend in FULL) or backend in named
        elif exempt.level == "partial":
            assert backend in named, f"what remains of {number} in {backend} has no test"


@pytest.mark.parametrize(("number", "backend"), EXEMPT)
def test_an_exemption_says_why_and_is_of_a_case_that_back_ends_have(
    number: int, backend: str
) -> None:
    exempt = EXEMPT[number, backend]

    assert backend in (*COLUMNS, *BY_HAND)
    assert exempt.reason
    assert exempt.property in ("", *PROPERTIES)
    assert any(number in section.numbers for section in SECTIONS if section.sandboxed)


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
