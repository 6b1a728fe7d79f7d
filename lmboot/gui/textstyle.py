"""How a piece of text looks, as a value, and what a terminal's colour sequence makes of it; pure.

Every colour becomes one of 64, so that a hostile stream can't make Tk keep a tag for each of 16
million: the 16 of a terminal, which the theme draws, and 48 mixed ones.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

COLOURS = 64
_NAMED = 16
_SHADES = (4, 4, 3)  # of red, green and blue; the eye tells blues apart least
_GREYS = ((48, 0), (128, 8), (208, 7), (256, 15))  # up to which level, which of the 16
_GREY_SPREAD = 24  # what differs less is grey to the eye, and would be tinted by the mixing


class Style(NamedTuple):
    """The look of a run; colours are 0 to 63, None is the pane's own. `mark` is lmboot's own."""

    foreground: int | None = None
    background: int | None = None
    bold: bool = False
    underline: bool = False
    inverse: bool = False
    mark: str = ""


PLAIN = Style()
FOLDED = Style(mark="fold")  # a newline that only the screen has
CUT = Style(mark="cut")  # a row of lmboot's, in place of the rest of a line

_GRAPHIC = re.compile("[0-9:;]*")
_EXTENDED = {38: "foreground", 48: "background", 58: ""}
_SIMPLE: dict[int, dict[str, Any]] = {
    1: {"bold": True},
    4: {"underline": True},
    7: {"inverse": True},
    21: {"underline": True},
    22: {"bold": False},
    24: {"underline": False},
    27: {"inverse": False},
    39: {"foreground": None},
    49: {"background": None},
    **{30 + number: {"foreground": number} for number in range(8)},
    **{40 + number: {"background": number} for number in range(8)},
    **{90 + number: {"foreground": 8 + number} for number in range(8)},
    **{100 + number: {"background": 8 + number} for number in range(8)},
}


def styled(style: Style, parameters: str) -> Style:
    """Return the style after `ESC [ parameters m`; what is not understood changes nothing."""
    if not _GRAPHIC.fullmatch(parameters):
        return style
    codes = iter(parameters.split(";"))
    for code in codes:
        style = _after(style, code, codes)
    return style


def _after(style: Style, code: str, following: Iterator[str]) -> Style:
    first, *details = (int(each) if each else 0 for each in code.split(":"))
    if first == 0:
        return PLAIN
    if first in _EXTENDED:
        colour = _with_colons(details) if details else _with_semicolons(following)
        name = _EXTENDED[first]
        change: dict[str, Any] = {name: colour} if name and colour is not None else {}
        return style._replace(**change)
    if first == 4 and details:  # 4:0 is none, 4:3 a curly one
        return style._replace(underline=details[0] != 0)
    return style._replace(**_SIMPLE.get(first, {}))


def _with_semicolons(following: Iterator[str]) -> int | None:
    """Take a colour's parameters out of what follows: `5;n` or `2;r;g;b`."""
    kind = _number(following)
    if kind == 5:
        return _of_256(_number(following))
    return _mixed([_number(following) for _ in range(3)]) if kind == 2 else None


def _number(following: Iterator[str]) -> int:
    text = next(following, "")
    return int(text) if text.isdigit() else 0


def _with_colons(details: list[int]) -> int | None:
    """Return the colour of `5:n`, `2:r:g:b` or `2:space:r:g:b`."""
    kind, *values = details
    if kind == 5 and values:
        return _of_256(values[0])
    if kind != 2 or len(values) < 3:
        return None
    return _mixed(values[:3] if len(values) == 3 else values[1:4])


def _of_256(number: int) -> int | None:
    if number < _NAMED:
        return number
    if number > 255:
        return None
    if number >= 232:
        return _mixed([8 + 10 * (number - 232)] * 3)
    cube = number - _NAMED
    return _mixed([level and 55 + 40 * level for level in (cube // 36, cube // 6 % 6, cube % 6)])


def _mixed(levels: list[int]) -> int | None:
    """Return the nearest of the 64 to red, green and blue of 0 to 255 each."""
    if max(levels) > 255:
        return None
    if max(levels) - min(levels) <= _GREY_SPREAD:
        return next(colour for limit, colour in _GREYS if sum(levels) // 3 < limit)
    colour = 0
    for level, shades in zip(levels, _SHADES, strict=True):
        colour = colour * shades + (level * (shades - 1) + 127) // 255
    return _NAMED + colour


def mixed_colour(colour: int) -> str:
    """Return one of the colours 16 to 63 as #rrggbb; the first 16 are the theme's."""
    levels = []
    rest = colour - _NAMED
    for shades in reversed(_SHADES):
        rest, shade = divmod(rest, shades)
        levels.append(shade * 255 // (shades - 1))
    blue, green, red = levels
    return f"#{red:02x}{green:02x}{blue:02x}"


def tags(style: Style) -> tuple[str, ...]:
    """Return the names of a style's tags: `fg3 bg12 bold underline fold cut`.

    Inverse swaps the colours; the pane's own ones are `fg-back` and `bg-fore` then.
    """
    front, back = style.foreground, style.background
    names = [f"fg{front}" * (front is not None), f"bg{back}" * (back is not None)]
    if style.inverse:
        names = [
            "fg-back" if back is None else f"fg{back}",
            "bg-fore" if front is None else f"bg{front}",
        ]
    names += ["bold" * style.bold, "underline" * style.underline, style.mark]
    return tuple(name for name in names if name)
