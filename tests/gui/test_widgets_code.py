from __future__ import annotations

import tkinter as tk

import pytest

from lmboot.gui import codeview
from lmboot.gui.codeview import CodeView
from lmboot.gui.fonts import ascent
from lmboot.gui.widgets import Box
from tests.gui.stalls import LENIENT, longest_stall
from tests.gui.tkroot import drawn_words, mapped, settle, texts_on, wait_until

MIB = 1 << 20
LONG = "".join(f"line_{number} = {number}\n" for number in range(1, 60_000))
HUGE = {
    "lines": ("main.py", LONG * 4),
    "empty lines": ("main.py", "\n" * MIB),
    "one line": ("main.py", "x" * 4 * MIB),
    "one line of emoji": ("main.py", "😀" * 2 * MIB),
    "a reply in one line": ("payload.json", '{"a": 1, "b": [1, 2]}, ' * (16 * MIB // 23)),
    "many colours": ("main.py", LONG[: 64 << 10]),
    "many colours in one line": ("a.json", '{"a":1,"b":2},' * 4600),
}


@pytest.fixture
def code(base: Box) -> CodeView:
    made = CodeView(base)
    made.pack(fill="both", expand=True)
    settle(base)
    return made


def content(code: CodeView) -> str:
    return code.text.get("1.0", "end-1c")


def whole(code: CodeView) -> None:
    wait_until(code, lambda: not code.busy, 30.0)
    settle(code)


@pytest.mark.parametrize(("path", "text"), HUGE.values(), ids=HUGE)
def test_no_file_keeps_the_window_waiting(code: CodeView, path: str, text: str) -> None:
    showing = longest_stall(code, lambda: code.show(path, text), lambda: not code.busy)
    leaving = longest_stall(code, lambda: code.show("a.py", "x = 1"), lambda: not code.busy)

    assert showing < LENIENT
    assert leaving < LENIENT


def test_the_beginning_is_there_at_once(code: CodeView) -> None:
    code.show("main.py", LONG * 4)
    first = content(code)

    assert code.busy
    assert first.count("\n") > 200
    assert LONG.startswith(first)


def test_nothing_of_a_long_file_is_lost(code: CodeView) -> None:
    text = LONG + "x" * 5000 + "\n\n😀\n" + "y" * 3000

    code.show("main.py", text)
    whole(code)

    assert code.copy_text("1.0", "end") == text


def test_a_file_counts_as_seen_only_when_its_true_end_was_on_the_screen(code: CodeView) -> None:
    seen: list[str] = []
    code.on_end = seen.append
    code.show("main.py", LONG * 4)
    code.text.yview_moveto(1)
    code.update_idletasks()
    too_early, busy = list(seen), code.busy
    whole(code)
    before = list(seen)

    code.text.yview_moveto(1)

    wait_until(code, lambda: seen == ["main.py"])
    assert busy
    assert too_early == before == []


def test_a_file_is_not_seen_when_another_one_took_its_place(code: CodeView) -> None:
    seen: list[str] = []
    code.on_end = seen.append
    code.show("long.py", LONG * 4)

    code.show("short.py", "x = 1\n")
    whole(code)

    assert set(seen) == {"short.py"}
    assert content(code) == "x = 1\n"


def test_an_old_file_is_covered_until_it_is_gone(code: CodeView) -> None:
    code.show("long.py", "\n" * 400_000)
    whole(code)

    code.show("short.py", "x = 1\n")
    code.update_idletasks()
    cover = next(each for each in code.winfo_children() if type(each) is Box)
    covered, there = cover.winfo_ismapped(), content(code)
    whole(code)

    assert covered
    assert "x = 1" not in there
    assert cover not in mapped(code)
    assert content(code) == "x = 1\n"


def test_a_line_is_seen_as_soon_as_it_is_there(code: CodeView) -> None:
    code.show("main.py", LONG)
    code.see_line(50_000)
    there = code.text.dlineinfo("50000.0")

    whole(code)

    assert there is None
    assert code.text.dlineinfo("50000.0") is not None


def test_marks_come_with_their_lines(code: CodeView) -> None:
    code.show("main.py", LONG + "x" * 2500, [2, 50_000, 60_000])

    whole(code)

    ends = [str(end) for end in code.text.tag_ranges("flag")]
    assert ends == ["2.0", "3.0", "50000.0", "50001.0", "60000.0", "60003.0"]


def test_what_has_too_many_rows_is_cut_and_never_counts_as_seen(base: Box) -> None:
    code = CodeView(base, most_rows=5000)
    code.pack(fill="both", expand=True)
    seen: list[str] = []
    code.on_end = seen.append

    code.show("main.py", "\n" * 7000)
    whole(code)
    code.text.yview_moveto(1)
    settle(code)

    last = content(code).splitlines()[-1]
    assert last == "… 2,000 more characters in too many lines to be shown"
    assert seen == []


def test_a_row_has_only_so_many_colours(code: CodeView) -> None:
    code.show("a.json", "[" + "1, " * 4000 + "]")
    whole(code)

    numbers = code.text.tag_ranges("warn")

    rows = [str(end).split(".")[0] for end in numbers[::2]]
    assert 0 < rows.count("1") <= codeview.MOST_RANGES
    assert 0 < rows.count("10") <= codeview.MOST_RANGES


def test_the_numbers_are_those_of_lines_and_not_of_rows(code: CodeView) -> None:
    code.show("main.py", "a\n" + "b" * 1500 + "\nc")
    whole(code)

    assert drawn_words(code.gutter) == ["1", "2", "3"]


def test_nothing_goes_on_when_the_view_has_gone(code: CodeView, root: tk.Tk) -> None:
    code.show("main.py", LONG * 4)

    code.destroy()
    settle(root)

    assert not code.busy


def baselines(code: CodeView) -> list[int]:
    """Return where the numbers stand, from the top of the window."""
    up = ascent(code, "MonoSmall")
    boxes = [code.gutter.bbox(item) for item in texts_on(code.gutter)]
    return [code.gutter.winfo_y() + box[1] + up for box in boxes]


@pytest.mark.parametrize("cut", range(1, 30, 4))
def test_each_number_stands_on_the_baseline_of_its_row(scaled: Box, cut: int) -> None:
    """Tk tells less of a row's height where only a part of it is on the screen."""
    code = CodeView(scaled)
    code.pack(fill="both", expand=True)
    scaled.look.root.geometry(f"600x{400 + cut}+0+0")
    code.show("a.txt", "x\n" * 200)
    settle(code)
    code.text.yview_scroll(cut + 40, "pixels")
    settle(code)
    first = int(code.text.index("@0,0").split(".")[0])
    third, fourth = (code.text.bbox(f"{first + row}.0") for row in (2, 3))
    assert third is not None
    assert fourth is not None

    found = baselines(code)

    start = code.text.winfo_y() + third[1] + ascent(code, "Mono")
    step = fourth[1] - third[1]
    assert found == [start + step * (number - 2) for number in range(len(found))]
    assert len(found) * step >= code.text.winfo_height() - 2 * step
