from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmboot.gui.ansi import Ansi
from lmboot.gui.lastline import Run
from lmboot.gui.textstyle import FOLDED, Style
from tests.gui.screen import Cells, drawn, text_of

RED = Style(foreground=1)
SAMPLE = (
    "plain \x1b[1;31mred\x1b[m\r\nbar 1%\rbar 2%\b\b99\n\x1b]0;title\x07\x1b]52;c;aGk=\x1b\\"
    "\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\\x1bP1$r\x1b\\\x9b32mgreen\x9d0;t\x9c\x1b(B\x07"
    "\x1b[2J\x1b[10;10H\x1b[?25l日本\x1b[38;5;196mx\x1b[0m\x1b[3\nz\0\u202e"
)
SHOWN = "plain red\nbar 99\nlinkgreen日本x\nz␀⟦U+202E⟧"
PIECES = st.sampled_from(
    [
        *"a日1;m[]P(\\\u0301",
        *"\x1b\x9b\x9d\x9c\x07\x18\x85\0\r\n\b",
        "31m",
    ]
)


def fed(*parts: str) -> Cells:
    ansi, cells = Ansi(), Cells()
    for part in parts:
        cells = drawn(ansi.feed(part), cells)
    return cells


def shown(text: str) -> str:
    return text_of(Ansi().feed(text))


def test_the_screen_does_not_depend_on_where_the_text_was_cut() -> None:
    whole = fed(SAMPLE)

    assert "".join(each for each, _ in whole) == SHOWN
    for first in range(len(SAMPLE) + 1):
        assert fed(SAMPLE[:first], SAMPLE[first:]) == whole
        assert fed(SAMPLE[:first], SAMPLE[first : first + 3], SAMPLE[first + 3 :]) == whole
    assert fed(*SAMPLE) == whole


@given(st.lists(PIECES, max_size=40), st.integers(0, 40))
@pytest.mark.case(60, 61)
def test_hostile_text_does_not_depend_on_the_cut_either(pieces: list[str], cut: int) -> None:
    assert fed("".join(pieces[:cut]), "".join(pieces[cut:])) == fed("".join(pieces))


@given(st.text() | st.lists(PIECES).map("".join))
def test_nothing_that_a_screen_obeys_comes_out(text: str) -> None:
    for character in shown(text):
        assert character in "\n\t" or unicodedata.category(character) not in ("Cc", "Cf", "Cs")


def test_colours_go_on_over_lines_and_chunks_until_they_are_reset() -> None:
    ansi = Ansi()

    assert ansi.feed("a\x1b[31mb\nc") == [Run("a"), Run("b", RED), Run("\n"), Run("c", RED)]
    assert ansi.feed("d\x1b[0me") == [Run("d", RED), Run("e")]


@pytest.mark.parametrize(
    "sequence",
    [
        "\x1b[2J", "\x1b[10;10H", "\x1b[?1049h", "\x1b[>4;2m", "\x1b[6n", "\x1b[3 q", "\x1bc",
        "\x1b7", "\x1b(B", "\x1b#8", "\x1b=", "\x1b]0;evil\x07", "\x1b]0;evil\x1b\\",
        "\x1b]52;c;cm0gLXJm\x07", "\x1b]8;;file:///x\x1b\\", "\x1bP+q544e\x1b\\", "\x1b_x\x1b\\",
        "\x1b^x\x1b\\", "\x1bXx\x1b\\", "\x9b2J", "\x9d0;evil\x9c", "\x90q\x9c", "\x85", "\x07",
        "\x1b\x1b[2J", "\x1b[1\x1b[2J", "\x1b [", "\x1b ]", "\x1b \x1b[2J",
    ],
)  # fmt: skip
@pytest.mark.case(61)
def test_everything_else_is_swallowed_whole(sequence: str) -> None:
    assert shown(f"a{sequence}b") == "ab"


def test_a_sequence_that_breaks_off_does_not_eat_what_follows() -> None:
    assert shown("\x1b[31\nb") == "\nb"
    assert shown("\x1b\nb") == "\nb"
    assert shown("\x1b]0;title\x18b") == "b"
    assert shown("a\x1b") == "a"


@pytest.mark.case(61)
def test_a_sequence_without_end_has_a_ceiling() -> None:
    assert shown("\x1b[" + "1" * 300 + "\nb") == "1" * 44 + "\nb"
    assert shown("\x1b" + " " * 300 + "b") == " " * 44 + "b"
    assert shown("\x1b]" + "x" * (64 << 10) + "after") == "after"


@pytest.mark.parametrize(
    "text",
    ["\x1b", "\x1b[", "\x1b]", "\x9b", "\x1b[31m", "\b", "\r", "\rx", "\bx", "\u0301", "\0", "x"],
)
@pytest.mark.case(59)
def test_a_megabyte_of_anything_in_one_line_is_bounded(text: str) -> None:
    """Twenty rows of a thousand columns are shown of it, whatever it is."""
    out = shown(text * ((1 << 20) // len(text)))

    assert len(out) <= 20_020
    assert max(len(row) for row in out.split("\n")) <= 1000


def test_a_half_line_is_broken_off_for_another_stream() -> None:
    ansi = Ansi()
    ansi.feed("\x1b[31mname? ")

    assert ansi.break_off() == [Run("\n", FOLDED)]
    assert ansi.feed("\rx") == [Run("x", RED)]
