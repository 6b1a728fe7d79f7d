from __future__ import annotations

import tkinter as tk

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lmboot.gui.fold import WIDTH
from lmboot.gui.payload import MOST_LINES, SURPLUS, StreamPane
from lmboot.gui.widgets import Box
from tests.gui.folding import folded
from tests.gui.stalls import LENIENT, longest_stall
from tests.gui.tkroot import clipped, mapped, settle

SLICE = 16 << 10
HOSTILE = ('{"a":1,"b":2},', "1,", '"a":', "x", "\n", "1\n", '"😀": 1, ', "\\n")


@pytest.fixture
def stream(base: Box) -> StreamPane:
    made = StreamPane(base)
    made.pack(fill="both", expand=True)
    settle(base)
    made.start("Writing")
    return made


def content(stream: StreamPane) -> str:
    stream.end()
    return stream.reader.text.get("1.0", "end-1c")


def coloured(stream: StreamPane, name: str) -> list[str]:
    text = stream.reader.text
    ends = [str(end) for end in text.tag_ranges(name)]
    return [text.get(*pair) for pair in zip(ends[::2], ends[1::2], strict=True)]


@pytest.mark.parametrize("unit", HOSTILE)
def test_no_text_keeps_the_window_waiting(stream: StreamPane, root: tk.Tk, unit: str) -> None:
    text = (unit * (1 + 300_000 // len(unit)))[:300_000]
    pieces = [text[at : at + SLICE] for at in range(0, len(text), SLICE)]
    pieces += [text[at : at + 40] for at in range(0, 8_000, 40)]

    def go_on() -> None:
        if pieces:
            stream.append(pieces.pop(0))
            root.after(1, go_on)

    stall = longest_stall(root, go_on, lambda: not pieces)
    leaving = longest_stall(root, lambda: stream.start("Again"), lambda: True)

    assert stall < LENIENT
    assert leaving < LENIENT


@settings(
    deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(st.tuples(st.sampled_from("ab\n"), st.integers(1, 2 * WIDTH)), max_size=8))
def test_rows_do_not_depend_on_how_the_text_came(
    stream: StreamPane, written: list[tuple[str, int]]
) -> None:
    stream.start("Writing")
    text = "".join(character * count for character, count in written)

    for character, count in written:
        stream.append(character * count)

    assert content(stream) == folded(text)
    assert stream.reader.copy_text("1.0", "end") == text


def test_the_parts_of_the_text_have_colours(stream: StreamPane) -> None:
    stream.append('{"na')
    stream.append('me": "😀", "size": 12, "route": "HO')
    stream.append('ST"}')

    assert coloured(stream, "accent") == ['"name"', '"size"', '"route"']
    assert coloured(stream, "warn") == ["12"]
    assert coloured(stream, "violet") == ['"HOST"']


def test_only_the_newest_rows_keep_their_colours(stream: StreamPane) -> None:
    for _ in range(100):
        stream.append('{"a": 1},\n' * 100)

    ends = [str(end) for end in stream.reader.text.tag_ranges("accent")]

    assert 200 <= len(ends) <= 6_200
    assert ends[-1].startswith("10000.")


def test_of_long_paths_the_ends_are_shown(stream: StreamPane, root: tk.Tk) -> None:
    """In rows of their own they made a column higher than X can draw, and that is the end."""
    paths = [f"{'folder/' * 50}file_{number}.py" for number in range(256)]

    stream.show_files([(path, "4,611,686,018", True) for path in paths])
    settle(root)

    labels = [each for each in mapped(stream) if each.winfo_class() == "TLabel"]
    words = [str(each["text"]) for each in labels]
    assert any(each.startswith("…") and each.endswith("255.py") for each in words)
    assert clipped(root) == []


def test_the_oldest_rows_are_let_go(stream: StreamPane) -> None:
    for number in range(0, MOST_LINES + 3000, 500):
        stream.append("".join(f"{each}\n" for each in range(number, number + 500)))

    rows = content(stream).splitlines()

    assert MOST_LINES - 1 <= len(rows) <= MOST_LINES + SURPLUS
    assert rows[-1] == str(MOST_LINES + 2999)
