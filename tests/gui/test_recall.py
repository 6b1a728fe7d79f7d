from __future__ import annotations

from lmboot.gui.history import History
from lmboot.gui.recall import Recall

LINES = ("cat a", "ls", "cat b", "Make")


def recall() -> Recall:
    return Recall(History(LINES).containing, "draft")


def test_each_letter_narrows_the_search() -> None:
    found = recall()
    seen = []
    for letter in "at a":
        found.write(letter)
        seen.append(found.line)

    assert seen == ["Make", "cat b", "cat b", "cat a"]
    assert found.words == "search: at a"


def test_older_goes_back_and_stays_at_the_oldest() -> None:
    found = recall()
    found.write("cat")
    lines = [found.line]
    for _ in range(3):
        found.older()
        lines.append(found.line)

    assert lines == ["cat b", "cat a", "cat a", "cat a"]


def test_what_nothing_has_leaves_the_line_and_says_so() -> None:
    found = recall()
    found.write("cat")
    found.write("x")
    words = found.words

    found.erase()

    assert words == "search: catx  ·  nothing has it"
    assert found.words == "search: cat"
    assert found.line == "cat b"


def test_nothing_sought_is_the_draft() -> None:
    found = recall()
    found.older()
    found.write("l")
    found.erase()
    found.erase()

    assert found.line == "draft"
    assert found.words == "search: "
