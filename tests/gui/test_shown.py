from __future__ import annotations

import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmboot.gui.shown import for_review, sentence, unescape, visible
from lmboot.text import reveal

# Hypothesis leaves lone surrogates out unless they are asked for.
ANYTHING = st.text(st.characters(exclude_categories=()))
SIGNS = st.text(
    st.sampled_from("⟦⟧U+0027E6\u2400\u241f\u2421\u2420\x00\x1f\x7f\u202e\ufe0f\ud800\ufffd\n\t")
)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain\ttext\n", "plain\ttext\n"),
        ("one\0two", "one␀two"),
        ("a\rb\x1b[31m\x7f", "a␍b␛[31m␡"),
        ("\x9b1m", "⟦U+009B⟧1m"),
        ("\ud800", "\ufffd"),
        ("if a\u202e:", "if a⟦U+202E⟧:"),
        ("a\u200bb\u2066", "a⟦U+200B⟧b⟦U+2066⟧"),
        ("\U000e0041", "⟦U+E0041⟧"),
        ("日本 ❤\ufe0f ⟦x⟧", "日本 ❤\ufe0f ⟦x⟧"),
    ],
)
def test_what_a_screen_hides_or_obeys_is_visible(text: str, shown: str) -> None:
    assert visible(text) == shown


def test_no_character_that_draws_nothing_is_left_in_a_review() -> None:
    left = []
    for code in range(sys.maxunicode + 1):
        character = chr(code)
        hidden = unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp")
        hidden = hidden or reveal(character) != character or "VARIATION SEL" in name(character)
        if hidden and character not in "\n\t" and character in for_review(character):
            left.append(hex(code))

    assert left == []


def name(character: str) -> str:
    return unicodedata.name(character, "")


def test_what_the_terminal_reveals_the_window_does_too() -> None:
    for code in range(sys.maxunicode + 1):
        character = chr(code)
        if reveal(character) != character:
            assert visible(character) != character, hex(code)


@given(ANYTHING | SIGNS)
def test_what_is_reviewed_is_what_runs(text: str) -> None:
    assert unescape(for_review(text)) == text


@given(SIGNS, SIGNS)
def test_no_two_texts_look_the_same_in_review(one: str, other: str) -> None:
    assert (for_review(one) == for_review(other)) == (one == other)


@given(ANYTHING, st.integers(0, 20))
def test_showing_does_not_depend_on_where_a_text_was_cut(text: str, cut: int) -> None:
    assert visible(text[:cut]) + visible(text[cut:]) == visible(text)
    assert for_review(text[:cut]) + for_review(text[cut:]) == for_review(text)


@given(ANYTHING)
def test_what_is_shown_can_be_given_to_tk(text: str) -> None:
    for shown in (visible(text), for_review(text)):
        shown.encode()
        assert "\0" not in shown
        assert visible(shown) == shown
        assert shown.count("\n") == text.count("\n")


def test_a_review_tells_a_sign_from_what_it_stands_for() -> None:
    assert for_review("␀") == "⟦U+2400⟧"
    assert for_review("⟦U+202E⟧") == "⟦U+27E6⟧U+202E⟧"
    assert for_review("❤\ufe0f") == "❤⟦U+FE0F⟧"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("nothing answers", "Nothing answers"),
        ("LM Studio answers", "LM Studio answers"),
        ("seed.gguf: a GGUF model", "seed.gguf: a GGUF model"),
        ("http://127.0.0.1 is gone", "http://127.0.0.1 is gone"),
        ("two\n lines\0", "Two lines"),
        ("long " * 9, "Long long…"),
        ("", ""),
    ],
)
def test_a_sentence_begins_as_one_unless_a_name_stands_there(text: str, shown: str) -> None:
    assert sentence(text, 10 if text.startswith("long") else 100) == shown
