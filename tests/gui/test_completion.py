from __future__ import annotations

import pytest

from lmboot.gui import talking
from lmboot.gui.completion import LOCAL, MOST, Completion, complete, hints
from lmboot.session import COMMANDS

LINES = ("write report.txt one", "cat report.txt", "cat readme")


@pytest.mark.parametrize(
    ("before", "start", "options", "common"),
    [
        (":", 0, (*COMMANDS, *LOCAL), ":"),
        (":a", 0, (":ai", ":ai+"), ":ai"),
        (":q", 0, (":quit",), ":quit"),
        (":x", 0, (), ""),
        ("cat re", 4, ("readme", "report.txt"), "re"),
        (":rt cat rep", 8, ("report.txt",), "report.txt"),
        ("cat report.txt", 4, (), ""),
        ("cat ", 4, (), ""),
        ("", 0, (), ""),
        ("say :a", 4, (), ""),
    ],
)
def test_tab_completes_commands_then_words_of_the_history(
    before: str, start: int, options: tuple[str, ...], common: str
) -> None:
    completion = complete(before, LINES)

    assert completion == Completion(start, options)
    assert completion.common == common


def test_only_so_many_words_are_offered_the_newest_first() -> None:
    options = complete("w", [f"w{number}" for number in range(100)]).options

    assert options == tuple(f"w{number}" for number in range(99, 99 - MOST, -1))


def test_every_command_is_explained_while_it_is_typed() -> None:
    shown = hints(":")

    assert [command for command, _, _ in shown] == [*COMMANDS, *LOCAL]
    assert all(words for _, words, _ in shown)
    assert [key for _, _, key in shown[:2]] == ["Tab", ""]
    assert [command for command, _, _ in hints(":s")] == [":save", ":stop"]


@pytest.mark.parametrize("text", ["", "help", ":rt help", ":unknown", "a :"])
def test_what_is_no_command_is_not_explained(text: str) -> None:
    assert hints(text) == []


def test_the_window_carries_out_what_is_offered() -> None:
    assert set(LOCAL) == set(talking.LOCAL)
