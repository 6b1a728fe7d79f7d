from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from lmboot.gui.fold import cut_words
from lmboot.gui.lastline import LastLine, Run
from lmboot.gui.textstyle import CUT, FOLDED, PLAIN, Style
from tests.gui.screen import drawn, text_of

BOLD = Style(bold=True)


def written(text: str, line: LastLine) -> list[Run]:
    """Write a text with its controls, and take what it gives."""
    for part in text:
        if part == "\n":
            line.newline()
        elif part == "\r":
            line.carriage_return()
        elif part == "\b":
            line.backspace()
        else:
            line.write(part, BOLD if part.isupper() else PLAIN)
    return line.take()


def by_hand(text: str) -> str:
    """Return what a terminal without an edge shows."""
    rows: list[list[str]] = [[]]
    cursor = 0
    for part in text:
        if part == "\n":
            rows.append([])
            cursor = 0
        elif part == "\r":
            cursor = 0
        elif part == "\b":
            cursor = max(cursor - 1, 0)
        else:
            rows[-1][cursor : cursor + 1] = [part]
            cursor += 1
    return "\n".join("".join(row) for row in rows)


TEXTS = st.text(st.sampled_from("abXY\r\b\n"), max_size=40)


@given(TEXTS)
def test_a_line_is_written_over_as_on_a_terminal(text: str) -> None:
    assert text_of(written(text, LastLine())) == by_hand(text)


@given(st.lists(TEXTS, max_size=5))
def test_the_screen_does_not_depend_on_when_runs_were_taken(parts: list[str]) -> None:
    line = LastLine(width=7, longest=14)
    taken = [run for part in parts for run in written(part, line)]

    assert drawn(taken) == drawn(written("".join(parts), LastLine(width=7, longest=14)))


@given(TEXTS)
def test_no_row_is_wider_than_the_width(text: str) -> None:
    shown = drawn(written(text, LastLine(width=5, longest=1000)))

    assert all(len(row) <= 5 for row in "".join(each for each, _ in shown).split("\n"))


def test_plain_lines_are_one_run() -> None:
    line = LastLine()

    assert written("one\ntwo\n", line) == [Run("one\ntwo\n")]
    assert written("", line) == []


def test_only_what_changed_is_taken_back() -> None:
    line = LastLine()

    assert written("loading 1", line) == [Run("loading 1")]
    assert written("\b2", line) == [Run("2", PLAIN, back=1)]
    assert written("\rL", line) == [Run("L", BOLD, back=9), Run("oading 2")]
    assert written("\r\n", line) == [Run("\n")]


def test_a_carriage_return_before_a_newline_changes_nothing() -> None:
    assert written("one\r\ntwo\r\n", LastLine()) == [Run("one\ntwo\n")]


def test_a_long_line_is_folded_and_only_its_last_row_can_be_written_over() -> None:
    line = LastLine(width=3, longest=100)

    assert written("abcdefg\rz", line) == [
        Run("abc"),
        Run("\n", FOLDED),
        Run("def"),
        Run("\n", FOLDED),
        Run("g"),
        Run("z", PLAIN, back=1),
    ]


def test_a_line_that_just_fits_is_not_folded() -> None:
    assert written("abc\nd", LastLine(width=3)) == [Run("abc\nd")]


def test_of_a_line_that_is_too_long_the_rest_is_one_row() -> None:
    line = LastLine(width=3, longest=6)

    assert written("abcdefghi", line) == [
        Run("abc"),
        Run("\n", FOLDED),
        Run("def"),
        Run("\n", FOLDED),
    ]
    assert written("j\nk", line) == [Run(cut_words(4, 10), CUT), Run("\nk")]


def test_what_another_stream_wrote_below_is_not_reached() -> None:
    line = LastLine()
    written("name? ", line)
    line.break_off()
    line.break_off()

    assert line.take() == [Run("\n", FOLDED)]
    assert written("\b\b\rx", line) == [Run("x")]
