from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmboot.gui.history import ENTRIES, History, dump, load


def test_up_goes_back_and_down_returns_to_the_draft() -> None:
    history, walk = History(["draw", "two", "drag"]), ["dra"]
    for step in (history.older, history.older, history.older, history.newer, history.newer):
        walk.append(step(walk[-1]))

    assert walk == ["dra", "drag", "draw", "draw", "drag", "dra"]


def test_an_empty_draft_walks_through_everything() -> None:
    history = History(["one", "two"])

    assert history.older("") == "two"
    assert history.older("two") == "one"
    assert history.older("one") == "one"
    assert history.newer("one") == "two"
    assert history.newer("two") == ""
    assert history.newer("") == ""


def test_a_text_that_was_changed_begins_a_new_walk() -> None:
    history = History(["cat a", "ls", "cat b"])

    assert history.older("") == "cat b"
    assert history.older("cat") == "cat b"
    assert history.older("cat b") == "cat a"
    assert history.newer("cat a!") == "cat a!"


def test_the_same_line_is_not_offered_twice_running() -> None:
    history, walk = History(["lo", "ls", "x", "ls"]), ["l"]

    for step in (history.older, history.older, history.newer, history.newer):
        walk.append(step(walk[-1]))

    assert walk == ["l", "ls", "lo", "ls", "l"]


def test_a_line_is_remembered_once_in_a_row_and_ends_the_walk() -> None:
    history = History()
    for line in ("ls", "ls", " ", "", "cat", "ls", "x" * 100_000):
        history.add(line)

    assert history.entries == ("ls", "cat", "ls")
    assert history.older("") == "ls"
    history.add("new")
    assert history.older("") == "new"


def test_only_the_newest_thousand_are_kept() -> None:
    history = History(str(number) for number in range(ENTRIES + 5))

    assert len(history.entries) == ENTRIES
    assert history.entries[0] == "5"


@given(st.lists(st.text(st.characters(exclude_categories=()))), st.lists(st.text()))
def test_what_was_saved_is_loaded(one: list[str], other: list[str]) -> None:
    histories = {"ai": History(one), "rt": History(other)}

    loaded = load(dump(histories))

    assert {pane: loaded.get(pane, History()).entries for pane in histories} == {
        pane: history.entries for pane, history in histories.items()
    }


def test_damaged_lines_are_left_out() -> None:
    good = '{"pane": "rt", "text": "ls"}'
    bad = ["{", "3", "null", '{"pane": "rt"}', '{"pane": 1, "text": "x"}', "[" * 100_000, "\x00"]

    loaded = load("\n".join([*bad, good]))

    assert {pane: history.entries for pane, history in loaded.items()} == {"rt": ("ls",)}


@pytest.mark.parametrize(
    ("text", "skip", "line"),
    [
        ("cat", 0, "cat b"),
        ("cat", 1, "cat a"),
        ("cat", 2, None),
        ("CAT", 0, None),
        ("make", 0, "Make"),
        ("", 0, None),
        ("nowhere", 0, None),
    ],
)
def test_a_line_is_found_by_what_it_contains(text: str, skip: int, line: str | None) -> None:
    history = History(["cat a", "cat b", "ls", "cat b", "Make"])

    assert history.containing(text, skip) == line


def test_looking_for_a_line_does_not_end_a_walk() -> None:
    history = History(["one", "two"])
    newest = history.older("")

    history.containing("o")

    assert history.older(newest) == "one"
