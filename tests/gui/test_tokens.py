from __future__ import annotations

import time

import pytest

from lmboot.gui.tokens import LEXERS, MOST_COLOURED, tokens

HOSTILE = {  # regular expressions that go back over what they took need hours for some of these
    "spaces": "a" + " " * 60_000 + "b",
    "tabs": "[" + "\t" * 60_000 + "'",
    "equals": " = " * 20_000,
    "quotes": "'" * 60_000,
    "brackets": "[(" * 30_000,
    "backslashes": "a \\\n" * 15_000,
    "dots": "a." * 30_000,
}


def coloured(path: str, text: str) -> list[tuple[str, str]]:
    return [(text[start:end], name) for start, end, name in tokens(path, text) if name]


def test_the_parts_of_a_program_have_colours() -> None:
    found = coloured("main.py", "def f():\n    return 'x'  # why\n")

    assert found == [
        ("def", "violet"),
        ("f", "accent"),
        ("return", "violet"),
        ("'", "ok"),
        ("x", "ok"),
        ("'", "ok"),
        ("# why", "faint"),
    ]


@pytest.mark.parametrize(
    ("path", "text"),
    [("a.json", '{"a": 1}'), ("a.toml", "a = 1"), ("a.ini", "[a]\nb = 1")],
)
def test_each_kind_of_file_has_its_colours(path: str, text: str) -> None:
    assert coloured(path, text)


@pytest.mark.parametrize("path", ["README.md", "noext", "x.py.txt", ""])
def test_what_is_not_known_has_none(path: str) -> None:
    assert list(tokens(path, "def f(): return 1")) == []


def test_a_long_file_has_none() -> None:
    assert list(tokens("main.py", "x = 1\n" * MOST_COLOURED)) == []


@pytest.mark.parametrize("suffix", LEXERS)
@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_no_text_keeps_a_step_long(suffix: str, text: str) -> None:
    longest, last = 0.0, time.thread_time()

    for _ in tokens("a" + suffix, text):
        longest, last = max(longest, time.thread_time() - last), time.thread_time()

    assert longest < 0.1
