from __future__ import annotations

import tkinter as tk

import pytest

from lmboot.gui.codeview import CodeView
from lmboot.gui.find import FindBar
from lmboot.gui.lastline import Run
from lmboot.gui.transcript import TranscriptPane
from lmboot.gui.widgets import Box
from tests.gui.stalls import LENIENT, longest_stall
from tests.gui.tkroot import clipped, keys, settle, wait_until


@pytest.fixture
def pane(base: Box) -> TranscriptPane:
    made = TranscriptPane(base, most_lines=1000, clock=lambda: "12:00:00")
    made.pack(fill="both", expand=True)
    settle(base)
    return made


@pytest.fixture
def code(base: Box) -> CodeView:
    made = CodeView(base)
    made.pack(fill="both", expand=True)
    settle(base)
    return made


def typed(bar: FindBar, text: str) -> None:
    bar.entry.delete(0, "end")
    bar.entry.insert(0, text)
    keys(bar.entry, "<KeyRelease-a>")


def marked(text: tk.Text, tag: str = "found") -> list[str]:
    ends = [str(end) for end in text.tag_ranges(tag)]
    return [text.get(*pair) for pair in zip(ends[::2], ends[1::2], strict=True)]


def test_a_pattern_is_sought_while_the_button_is_down(pane: TranscriptPane) -> None:
    pane.append("rt", [Run("one a.c\ntwo abc\n")])
    bar = pane.find_bar
    keys(pane.text, "<Control-f>")
    typed(bar, "a.c")
    as_words = marked(pane.text)

    keys(bar.entry, "<Alt-r>")
    as_pattern, down = marked(pane.text), bar.toggle.instate(["selected"])
    bar.toggle.invoke()

    assert as_words == ["a.c"]
    assert as_pattern == ["a.c", "abc"]
    assert down
    assert bar.count == "1/1"


def test_what_is_no_pattern_says_so_and_finds_nothing(pane: TranscriptPane) -> None:
    pane.append("rt", [Run("a(b\n")])
    bar = pane.find_bar
    bar.open()
    bar.toggle_regex()

    typed(bar, "a(")

    assert bar.count == "no pattern"
    assert marked(pane.text) == []


def test_f3_goes_on_and_back_from_the_text_too(pane: TranscriptPane) -> None:
    pane.append("rt", [Run("a1 a2 a3\n")])
    bar = pane.find_bar
    bar.open()
    typed(bar, "a")
    counts = [bar.count]

    for widget, key in ((bar.entry, "<F3>"), (pane.text, "<F3>"), (pane.text, "<Shift-F3>")):
        keys(widget, key)
        counts.append(bar.count)

    assert counts == ["3/3", "1/3", "2/3", "1/3"]


def test_going_on_finds_what_has_come_and_stays_where_it_was(pane: TranscriptPane) -> None:
    pane.append("rt", [Run("a\nb\na\n")])
    bar = pane.find_bar
    bar.open()
    typed(bar, "a")
    bar.go(-1)
    pane.append("rt", [Run("a\n" * 3)])

    bar.go(1)

    assert bar.count == "2/5"
    assert len(marked(pane.text)) == 5


def test_what_fell_out_is_not_counted(pane: TranscriptPane) -> None:
    pane.append("rt", [Run("needle\n")])
    pane.append("rt", [Run("x\n" * 500 + "needle\n")])
    bar = pane.find_bar
    bar.open()
    typed(bar, "needle")
    before = bar.count
    pane.append("rt", [Run("y\n" * 800)])

    bar.go(1)

    assert before == "2/2"
    assert bar.count == "1/1"
    assert marked(pane.text, "found-now") == ["needle"]


def test_searching_everywhere_keeps_nobody_waiting(code: CodeView, root: tk.Tk) -> None:
    code.show("a.txt", "x = 12345 + y  # why\n" * 200_000)
    wait_until(root, lambda: not code.busy, 30.0)
    bar = code.find_bar
    bar.open()

    nowhere = longest_stall(root, lambda: typed(bar, "zzz"), lambda: bar.count == "nothing")
    often = longest_stall(root, lambda: typed(bar, "y"), lambda: bar.count == "1/2000+")

    assert nowhere < LENIENT
    assert often < LENIENT


def test_a_pattern_that_would_take_for_ever_is_given_up(pane: TranscriptPane, root: tk.Tk) -> None:
    pane.append("rt", [Run("a" * 60 + "b\n")])
    bar = pane.find_bar
    bar.open()
    bar.toggle_regex()

    stall = longest_stall(root, lambda: typed(bar, "(a+)+$"), lambda: bar.count == "too slow")

    assert stall < 0.1


def test_a_file_is_searched_from_what_is_seen(code: CodeView) -> None:
    code.show("a.py", "needle\n" * 3 + "x\n" * 500 + "needle\n" * 2)
    wait_until(code, lambda: not code.busy)
    code.text.yview("300.0")
    settle(code)

    keys(code.text, "<Control-f>")
    typed(code.find_bar, "needle")

    assert code.find_bar.count == "4/5"


def test_a_new_file_is_searched_anew(code: CodeView) -> None:
    code.show("a.py", "needle\n")
    code.find_bar.open()
    typed(code.find_bar, "needle")
    before = code.find_bar.count

    code.show("b.py", "x\n" * 60_000 + "needle needle\n")
    wait_until(code, lambda: not code.busy)

    wait_until(code, lambda: code.find_bar.count == "1/2")
    assert before == "1/1"
    assert marked(code.text) == ["needle", "needle"]


def test_a_hidden_bar_marks_nothing(code: CodeView) -> None:
    code.show("a.py", "needle\n")
    code.find_bar.open()
    typed(code.find_bar, "needle")
    keys(code.find_bar.entry, "<Escape>")

    code.show("b.py", "needle\n")
    wait_until(code, lambda: not code.busy)

    assert marked(code.text) == []
    assert not code.find_bar.winfo_ismapped()


def test_a_bar_fits_into_a_narrow_pane(base: Box, root: tk.Tk) -> None:
    narrow = Box(base, width=330, height=300)
    narrow.pack_propagate(False)
    narrow.pack(side="left")
    code = CodeView(narrow)
    code.pack(fill="both", expand=True)
    code.find_bar.open()
    settle(root)

    narrow.configure(width=300)
    settle(root)

    bar = code.find_bar
    assert 0 < bar.winfo_x() < bar.winfo_x() + bar.winfo_width() < code.winfo_width()
    assert clipped(root) == []


def test_the_menu_of_a_file_finds_too(code: CodeView) -> None:
    code.show("a.py", "needle\n")
    code.text.event_generate("<Button-3>", x=5, y=5, rootx=100, rooty=100)
    menu = next(each for each in code.winfo_children() if isinstance(each, tk.Menu))
    settle(code)
    menu.tk.call("::tk::MenuUnpost", menu)  # gives the keyboard back too

    menu.invoke("end")
    settle(code)

    assert code.find_bar.winfo_ismapped()
