from __future__ import annotations

import inspect
import re

import pytest

from lmboot import errors
from lmboot.errors import ConnectionLost, LmbootError

CLASSES: list[type[LmbootError]] = [
    each
    for _, each in inspect.getmembers(errors, inspect.isclass)
    if issubclass(each, LmbootError)
]


def drawn() -> dict[str, tuple[int, str | None]]:
    """Return {class: (depth, exit code)} as the docstring draws them."""
    found: dict[str, tuple[int, str | None]] = {}
    for line in (errors.__doc__ or "").splitlines():
        if row := re.match(r"^( *)[*+-] (\w+)(?: +(\d+)(?= ))?", line):
            found[row[2]] = (len(row[1]) // 2, row[3])
    return found


def depth(each: type[LmbootError]) -> int:
    return each.__mro__.index(LmbootError)


def test_the_tree_that_is_drawn_is_the_tree_that_is_there() -> None:
    there = {each.__name__: depth(each) for each in CLASSES}

    assert {name: level for name, (level, _) in drawn().items()} == there


def test_every_class_stands_below_its_base_in_the_drawing() -> None:
    above: list[str] = []
    for name, (level, _) in drawn().items():
        above[level:] = [name]
        base = getattr(errors, name).__base__
        assert level == 0 or base.__name__ == above[level - 1]


@pytest.mark.parametrize("each", CLASSES)
def test_every_class_has_the_exit_code_that_is_drawn(each: type[LmbootError]) -> None:
    _, code = drawn()[each.__name__]

    assert code in (None, str(each.exit_code))
    assert each.exit_code in (1, 2, 3, 4, 5, 130)


@pytest.mark.parametrize("each", CLASSES)
def test_a_hint_that_is_given_wins(each: type[LmbootError]) -> None:
    error = each("what happened", hint="what to do")

    assert (str(error), error.hint, each("x").hint) == ("what happened", "what to do", each.hint)


def test_a_lost_connection_keeps_what_had_come() -> None:
    assert ConnectionLost("lost", text="half").text == "half"
    assert ConnectionLost("lost").text == ""
