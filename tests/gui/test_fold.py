from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from lmboot.gui.fold import FOLD, LONGEST, WIDTH, Piece, cut_words, fold, squeeze, unfold

LINES = st.text(st.sampled_from("ab\n\r\u2028\u0085 "), max_size=60)


@given(LINES, st.integers(1, 8))
def test_unfolding_gives_back_the_text(text: str, width: int) -> None:
    assert unfold(fold(text, width)) == text


@given(LINES, st.integers(1, 8))
def test_no_row_is_wider_than_the_width(text: str, width: int) -> None:
    shown = "".join(piece.shown for piece in fold(text, width))

    assert max(len(row) for row in shown.split("\n")) <= width


@given(LINES, st.integers(1, 8))
def test_only_lines_that_go_on_are_folded(text: str, width: int) -> None:
    folds = sum(max(len(line) - 1, 0) // width for line in text.split("\n"))

    assert fold(text, width).count(FOLD) == folds


def test_a_line_is_folded_where_it_goes_on() -> None:
    assert fold("abcde\nf", 2) == [
        Piece("ab", "ab"),
        FOLD,
        Piece("cd", "cd"),
        FOLD,
        Piece("e", "e"),
        Piece("\n", "\n"),
        Piece("f", "f"),
    ]


@given(LINES, st.integers(1, 8))
def test_what_was_squeezed_can_still_be_copied(text: str, longest: int) -> None:
    assert unfold(squeeze(text, longest)) == text


def test_a_line_that_is_too_long_is_one_row_that_tells_its_length() -> None:
    line = "x" * (LONGEST + 1)

    pieces = squeeze(f"a\n{line}\n{line[1:]}")

    assert pieces[2] == Piece("[20,001 characters in one line]", line)
    assert pieces[4] == Piece("x" * WIDTH, "x" * WIDTH)
    assert cut_words(1, 20_001).startswith("… 1 more of 20,001 characters")


def test_a_megabyte_in_one_line_is_a_thousand_rows() -> None:
    assert len(fold("x" * 1_000_000)) == 1999
