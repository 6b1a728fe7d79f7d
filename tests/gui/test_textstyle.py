from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmboot.gui.textstyle import COLOURS, CUT, PLAIN, Style, mixed_colour, styled, tags

RED = Style(foreground=1)


@pytest.mark.parametrize(
    ("parameters", "style"),
    [
        ("", PLAIN),
        ("0", PLAIN),
        ("31", RED),
        ("1;31", Style(1, bold=True)),
        ("31;0;4", Style(underline=True)),
        ("97;100", Style(15, 8)),
        ("7", Style(inverse=True)),
        ("1;22;4;24;7;27;31;39;41;49", PLAIN),
        ("4:3", Style(underline=True)),
        ("4;4:0", PLAIN),
        ("38;5;9", Style(9)),
        ("38;5;9;1", Style(9, bold=True)),
        ("48:5:9", Style(None, 9)),
        ("38;2;255;0;0;1", Style(16 + 36, bold=True)),
        ("38:2:255:0:0", Style(16 + 36)),
        ("38:2::255:0:0", Style(16 + 36)),
        ("58;2;1;2;3;1", Style(bold=True)),
        ("38;2;128;128;130", Style(7)),
        ("38;5;232", Style(0)),
        ("38;5;255", Style(15)),
        ("38;5;196", Style(16 + 36)),
        ("38;5;256", PLAIN),
        ("38;2;300;0;0", PLAIN),
        ("38;5", Style(0)),
        ("38", PLAIN),
        ("3;999;31", RED),
        ("?31", PLAIN),
        (">4;2", PLAIN),
        ("3 1", PLAIN),
        (";;", PLAIN),
    ],
)
def test_colours_and_weights_are_read_as_a_terminal_does(parameters: str, style: Style) -> None:
    assert styled(PLAIN, parameters) == style


def test_what_is_not_understood_changes_nothing() -> None:
    assert styled(RED, "?0") == styled(RED, "5") == styled(RED, "38;9") == RED


@given(st.text(st.sampled_from("0123456789;:"), max_size=256))
def test_no_sequence_makes_a_colour_beyond_the_64(parameters: str) -> None:
    style = styled(PLAIN, parameters)

    for colour in (style.foreground, style.background):
        assert colour is None or 0 <= colour < COLOURS


def test_mixed_colours_are_as_they_were_mixed() -> None:
    for colour in range(16, COLOURS):
        text = mixed_colour(colour)
        red, green, blue = (int(text[place : place + 2], 16) for place in (1, 3, 5))
        if max(red, green, blue) - min(red, green, blue) > 24:
            assert styled(PLAIN, f"38;2;{red};{green};{blue}") == Style(colour)
    assert (mixed_colour(16), mixed_colour(63)) == ("#000000", "#ffffff")


@pytest.mark.parametrize(
    ("style", "names"),
    [
        (PLAIN, ()),
        (Style(3, 12, bold=True, underline=True), ("fg3", "bg12", "bold", "underline")),
        (Style(3, inverse=True), ("fg-back", "bg3")),
        (Style(None, 12, inverse=True), ("fg12", "bg-fore")),
        (CUT, ("cut",)),
    ],
)
def test_a_style_has_few_tags(style: Style, names: tuple[str, ...]) -> None:
    assert tags(style) == names
