from __future__ import annotations

import re
import sys
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmboot.gui.search import (
    LONGEST_MATCHED,
    MOST_FOUND,
    Place,
    Search,
    TooSlow,
    limited,
    pattern,
    words,
)

CATASTROPHES = (
    ("(a+)+$", "a" * 40 + "b"),
    ("(x|x|x)*y", "x" * 1000),
    (r"(\w+\s?)*$", "word " * 100 + "!"),
    ("a*a*a*a*a*b", "a" * 1000),
)


class Window:
    """Rows that fall out at the start."""

    def __init__(self, *rows: str) -> None:
        self.rows, self.dropped = list(rows), 0

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, row: int) -> str:
        return self.rows[row]

    def drop(self, count: int) -> None:
        del self.rows[:count]
        self.dropped += count


def run(search: Search) -> list[Place]:
    search.resume()
    for _ in search.steps():
        pass
    return search.found


def sought(rows: Window, text: str) -> Search:
    return Search(rows, words(text), trusted=True)


def test_each_place_is_told_by_row_and_characters() -> None:
    search = sought(Window("one two", "", "😀 TWO two"), "two")

    assert run(search) == [Place(0, 4, 7), Place(2, 2, 5), Place(2, 6, 9)]


def test_a_capital_means_it() -> None:
    assert run(sought(Window("two TWO"), "TWO")) == [Place(0, 4, 7)]


def test_what_means_something_in_a_pattern_means_itself_in_words() -> None:
    assert run(sought(Window("a.b axb"), "a.b")) == [Place(0, 0, 3)]


def test_a_letter_that_grows_in_small_is_found_where_it_stands() -> None:
    assert run(sought(Window("İİ needle"), "needle")) == [Place(0, 3, 9)]


@given(st.lists(st.sampled_from(["a", "ab", "", "ba"]), min_size=1, max_size=9), st.data())
def test_a_search_that_goes_on_finds_what_a_new_one_would(
    texts: list[str], data: st.DataObject
) -> None:
    rows = Window(texts[0])
    search = sought(rows, "a")
    for text in texts[1:]:
        if data.draw(st.booleans()):
            run(search)
        if data.draw(st.booleans()):
            rows.rows[-1] += "a"  # the last row may still grow
        rows.rows.append(text)
        rows.drop(data.draw(st.integers(0, len(rows) - 1)))

    again = sought(rows, "a")

    assert run(search) == run(again)


def test_a_search_that_was_broken_off_goes_on_where_it_was() -> None:
    search = sought(Window(*["a"] * 10), "a")
    search.resume()
    for _, _ in zip(range(4), search.steps(), strict=False):
        pass

    assert [place.row for place in run(search)] == list(range(10))


def test_only_so_many_places_are_told() -> None:
    search = sought(Window(*["aaaa"] * 1000), "a")

    assert len(run(search)) == MOST_FOUND
    assert search.full


@pytest.mark.parametrize(
    "text", ["(", "[", "*", "(?P<", "a{9999999999999}", "(" * 500, "x" * 5000]
)
def test_what_is_no_pattern_is_none(text: str) -> None:
    assert pattern(text) is None


@pytest.mark.parametrize(
    ("text", "flags"), [(r"\S+", re.IGNORECASE), ("[[a]", re.IGNORECASE), ("A.c", 0)]
)
def test_a_pattern_with_a_capital_means_it(text: str, flags: int) -> None:
    found = pattern(text)

    assert found is not None
    assert found.flags & re.IGNORECASE == flags


def test_a_pattern_that_fits_nothing_finds_nothing() -> None:
    search = Search(Window("abc"), re.compile("x*"), trusted=False)

    assert run(search) == []


@pytest.mark.skipif(sys.platform == "win32", reason="nothing there interrupts a match")
@pytest.mark.parametrize(("text", "row"), CATASTROPHES)
def test_a_pattern_that_would_take_for_ever_ends(text: str, row: str) -> None:
    wanted = pattern(text)
    assert wanted is not None
    search = Search(Window("a", row, "a"), wanted, trusted=False)
    start = time.thread_time()

    run(search)

    assert search.slow
    assert time.thread_time() - start < 0.2


def test_only_so_much_of_a_row_is_matched() -> None:
    search = Search(Window("-" * LONGEST_MATCHED + "b"), re.compile("b"), trusted=False)

    assert run(search) == []


@pytest.mark.skipif(sys.platform == "win32", reason="there is no such clock")
def test_what_was_limited_leaves_no_alarm_behind() -> None:
    with pytest.raises(TooSlow), limited(0.01):
        re.match("(a+)+$", "a" * 40 + "b")
    with limited(0.01):
        pass

    end = time.thread_time() + 0.05
    while time.thread_time() < end:
        pass
