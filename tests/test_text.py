from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmboot.text import brief, hidden_in, plain, reveal


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "plain"),
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b]0;title\x07x", "x"),
        ("\x1b]52;c;aGk=\x1b\\x", "x"),
        ("\x1b]8;;http://x", ""),
        ("\x9b31mred", "red"),
        ("\x90dcs\x9cx", "x"),
        ("\x1bcx", "x"),
        ("a\x00b\x08c\rd", "abcd"),
        ("\u202eevil\u2066", "evil"),
        ("tab\tnew\nline", "tab\tnew\nline"),
    ],
)
@pytest.mark.case(61)
def test_what_a_screen_would_obey_is_taken_out_whole(text: str, shown: str) -> None:
    assert plain(text) == shown


@given(st.text())
@pytest.mark.case(61)
def test_plain_text_holds_nothing_that_a_screen_obeys_or_hides(text: str) -> None:
    for character in plain(text):
        hidden = unicodedata.category(character) in ("Cc", "Cf", "Cs") and character not in "\t\n"
        assert not hidden or character not in reveal(character)


@given(st.text())
def test_revealing_hides_nothing_and_changes_nothing_else(text: str) -> None:
    assert sum(hidden_in(text).values()) == reveal(text).count("<U+") - text.count("<U+")
    assert hidden_in(reveal(text)) == {}


def test_a_brief_text_is_one_short_line() -> None:
    assert brief("a\n b\r\n\tc") == "a b c"
    assert len(brief("x" * 10_000)) == 300
    assert brief("\x1b[2J\u202ehello") == "hello"
