from __future__ import annotations

import tkinter as tk

import pytest

from lmboot.gui.codeview import CodeView
from lmboot.gui.problems import ProblemsPane
from lmboot.gui.review import ReviewPane
from lmboot.gui.routes import Pills
from lmboot.gui.styles import ROUTES
from lmboot.gui.widgets import Box, nothing
from lmboot.runtime import policy
from tests.gui.tkroot import drawn_words, keys, mapped, settle, wait_until

LONG = "".join(f"line_{number} = {number}\n" for number in range(1, 200))
FILES = (("data/a.json", "1 kB", '{"a": 1}'), ("main.py", "9 kB", LONG))


@pytest.fixture
def pane(base: Box) -> ReviewPane:
    made = ReviewPane(base)
    made.pack(fill="both", expand=True)
    base.focus_force()  # where no window manager gives the window the keyboard
    settle(base)
    return made


def ask(pane: ReviewPane, *, agreed_before: bool = False) -> list[str]:
    told: list[str] = []
    pane.on_all_seen = lambda: told.append("seen")
    pane.on_agree = lambda: told.append("agreed")
    pane.on_back = lambda: told.append("back")
    show(pane, agreed_before=agreed_before)
    settle(pane)
    return told


def show(pane: ReviewPane, *, agreed_before: bool = False) -> None:
    pane.show(
        FILES,
        question="Write 2 files?",
        facts=[("Runtime", "notebook")],
        routes=[("fetch", "DENY")],
        borders=["No network"],
        warnings=["main.py opens sockets (socket)"],
        agreed_before=agreed_before,
    )


def read_all(pane: ReviewPane) -> None:
    pane.files.select("main.py")
    settle(pane)
    pane.code.text.yview_moveto(1)
    settle(pane)


def test_agreeing_waits_until_each_file_was_seen_to_its_end(pane: ReviewPane) -> None:
    told = ask(pane)
    pane.agree()
    pane.files.select("main.py")
    settle(pane)
    early = pane.can_agree

    pane.code.text.yview_moveto(1)
    wait_until(pane, lambda: pane.can_agree)
    pane.agree()

    assert not early
    assert told == ["seen", "agreed"]


def test_another_payload_must_be_seen_anew(pane: ReviewPane) -> None:
    ask(pane)
    read_all(pane)
    could = pane.can_agree

    ask(pane)

    assert could
    assert not pane.can_agree


def test_a_file_of_the_review_before_is_never_shown_in_the_next(pane: ReviewPane) -> None:
    told = ask(pane)
    read_all(pane)
    told.clear()

    show(pane)
    at_once = pane.code.text.get("1.0", "end-1c")
    settle(pane)

    assert at_once == ""
    assert pane.code.text.get("1.0", "end-1c") == FILES[0][2]
    assert told == []


def test_a_review_without_files_shows_none_of_the_one_before(pane: ReviewPane) -> None:
    ask(pane)

    pane.show((), question="", facts=[], routes=[], borders=[])
    settle(pane)

    assert pane.code.text.get("1.0", "end-1c") == ""


def test_what_was_agreed_to_before_need_not_be_seen_again(pane: ReviewPane) -> None:
    ask(pane, agreed_before=True)

    assert pane.can_agree


def test_the_caller_may_forbid_agreeing(pane: ReviewPane) -> None:
    ask(pane)
    read_all(pane)

    pane.allow(False)
    could = pane.can_agree
    pane.allow(True)

    assert not could
    assert pane.can_agree


def test_enter_goes_back_and_never_agrees(pane: ReviewPane) -> None:
    told = ask(pane, agreed_before=True)
    focus = pane.focus_get()
    assert focus is not None

    keys(focus, "<Return>")

    assert told == ["back"]


@pytest.fixture
def code(base: Box) -> CodeView:
    made = CodeView(base)
    made.pack(fill="both", expand=True)
    settle(base)
    return made


def whole(code: CodeView) -> None:
    wait_until(code, lambda: not code.busy)
    settle(code)


def numbers(code: CodeView) -> list[str]:
    whole(code)
    return drawn_words(code.gutter)


def test_line_numbers_stand_beside_the_text_and_are_not_copied(code: CodeView) -> None:
    code.show("main.py", "one\ntwo\n")

    keys(code.text, "<<SelectAll>>", "<<Copy>>")

    assert numbers(code) == ["1", "2", "3"]
    assert code.clipboard_get() == "one\ntwo\n"


def test_a_long_line_is_wrapped_and_copied_whole(code: CodeView) -> None:
    text = "x" * 2500 + "\nend"
    code.show("main.py", text)

    keys(code.text, "<<SelectAll>>", "<<Copy>>")

    assert numbers(code) == ["1", "2"]
    assert str(code.text["wrap"]) == "char"
    assert code.clipboard_get() == text


def coloured(code: CodeView, name: str) -> list[str]:
    whole(code)
    ends = code.text.tag_ranges(name)
    pairs = zip(ends[::2], ends[1::2], strict=True)
    return [code.text.get(str(first), str(last)) for first, last in pairs]


def test_python_has_colours(code: CodeView) -> None:
    code.show("main.py", "def f():\n    return '😀' + 'b'  # why\n")

    assert coloured(code, "violet") == ["def", "return"]
    assert coloured(code, "ok") == ["'😀'", "'b'"]
    assert coloured(code, "faint") == ["# why"]


def test_colours_go_on_after_a_fold(code: CodeView) -> None:
    code.show("main.py", "x = '" + "a" * 1500 + "'\ny = 1\n")

    assert "".join(coloured(code, "ok")).replace("\n", "") == "'" + "a" * 1500 + "'"
    assert coloured(code, "warn") == ["1"]


@pytest.mark.parametrize("path", ["README.md", "noext", "x.py.txt"])
def test_what_is_not_known_has_no_colours(code: CodeView, path: str) -> None:
    code.show(path, "def f(): return 1")

    assert all(coloured(code, name) == [] for name in ("violet", "warn"))


def test_an_empty_file_has_one_line(code: CodeView) -> None:
    seen: list[str] = []
    code.on_end = seen.append

    code.show("empty.py", "")

    assert numbers(code) == ["1"]
    assert seen == ["empty.py"]


def test_marked_lines_are_marked_whole(code: CodeView) -> None:
    code.show("main.py", "a\n" + "b" * 1500 + "\nc", [2])

    assert coloured(code, "flag") == ["b" * 1000 + "\n" + "b" * 500 + "\n"]


def test_the_routes_are_the_runtimes(base: Box) -> None:
    assert tuple(ROUTES) == policy.ROUTES


def test_pills_show_a_route_that_a_click_does_not_change(base: Box) -> None:
    pills = Pills(base, "DENY")
    pills.pack()
    settle(base)

    for segment in pills.winfo_children():
        segment.event_generate("<Button-1>")
        segment.event_generate("<ButtonRelease-1>")

    assert pills.route == "DENY"


def test_a_problem_leads_to_its_line(base: Box) -> None:
    pane = ProblemsPane(base)
    pane.pack(fill="both", expand=True)
    pane.show("Rejected", "", [("json", "x", "ends early", 150)], LONG, [("Retry", nothing, True)])
    settle(base)
    link = next(each for each in mapped(pane) if "line 150" in words_of(each))

    keys(link, "<Return>")

    assert pane.raw.text.dlineinfo("150.0") is not None


def words_of(widget: object) -> str:
    return str(widget["text"]) if type(widget).__name__ == "Button" else ""  # type: ignore[index]


def test_the_words_of_a_route_keep_their_order_when_room_comes_back(base: Box) -> None:
    pills = Pills(base, "DENY")
    pills.pack()

    pills.shorten(True)
    assert [str(each["text"]) for each in pills.pack_slaves()] == ["DENY"]
    pills.shorten(False)

    assert [str(each["text"]) for each in pills.pack_slaves()] == ["EMULATE", "HOST", "DENY"]


def test_any_number_of_warnings_can_be_read(pane: ReviewPane) -> None:
    """Labels in a column that was too high for X were the program's end."""
    sentences = [f"{number}: {'W' * 300}" for number in range(3000)]

    pane.show(FILES, question="?", facts=[], routes=[], borders=[], warnings=sentences)
    settle(pane)

    texts = [str(each.get("1.0", "end-1c")) for each in mapped(pane) if isinstance(each, tk.Text)]
    assert "\n".join(["3000 warnings", *sentences]) in texts


def test_only_so_many_problems_are_shown_at_once(base: Box) -> None:
    pane = ProblemsPane(base)
    pane.pack(fill="both", expand=True)

    pane.show("Rejected", "", [("json", "x", "W" * 300, 1)] * 2000, "", [])
    settle(base)

    words = [str(each["text"]) for each in mapped(pane) if each.winfo_class() == "TLabel"]
    assert "… and 1,900 more" in words
