from __future__ import annotations

import tkinter as tk

import pytest

from lmboot.gui.entryline import LONGEST, EntryLine
from lmboot.gui.history import History
from lmboot.gui.widgets import Box
from tests.gui.tkroot import clipped, keys, mapped, settle, wait_until

HINTS = [
    (":ai TEXT", "to the model", "Tab"),
    (":ai+ TEXT", "with the last lines", ""),
    (":quit", "the end", ""),
]


@pytest.fixture
def entry(base: Box) -> EntryLine:
    made = EntryLine(base)
    made.pack(fill="x", side="bottom")
    settle(base)
    return made


@pytest.fixture
def sent(entry: EntryLine) -> list[str]:
    lines: list[str] = []
    entry.on_send = lambda target, text: lines.append(f"{target} {text}")
    return lines


def above(entry: EntryLine) -> list[str]:
    """Return the words above the line."""
    settle(entry)
    kinds = ("TLabel", "TButton")
    return [
        str(each["text"])
        for each in mapped(entry.winfo_toplevel())
        if each.winfo_class() in kinds and str(each["text"]) not in ("Send", "")
    ]


def write(entry: EntryLine, text: str) -> None:
    names = {":": "colon", " ": "space", "+": "plus"}
    for letter in text:
        name = names.get(letter, letter)
        keys(entry.entry, f"<Key-{name}>", f"<KeyRelease-{name}>")


# -- hints ---------------------------------------------------------------------------------


@pytest.fixture
def hinting(entry: EntryLine) -> EntryLine:
    entry.hints = lambda text: [each for each in HINTS if each[0].startswith(text)]
    return entry


def open_hints(entry: EntryLine, text: str = ":") -> None:
    write(entry, text)
    wait_until(entry, lambda: ":quit" in above(entry) or ":ai TEXT" in above(entry))


def test_hints_come_when_a_word_with_a_colon_is_typed(hinting: EntryLine) -> None:
    write(hinting, ":")
    at_once = above(hinting)

    wait_until(hinting, lambda: above(hinting))
    write(hinting, "q")

    assert at_once == []
    assert above(hinting) == [":quit", "the end"]


def test_hints_go_when_the_word_has_no_colon(hinting: EntryLine) -> None:
    open_hints(hinting)

    write(hinting, "ai hello")

    assert above(hinting) == []


def test_other_words_have_no_hints(hinting: EntryLine) -> None:
    asked: list[str] = []
    hinting.hints = lambda text: asked.append(text) or HINTS  # type: ignore[func-returns-value]
    write(hinting, "ab")
    end = hinting.after(250, lambda: None)
    wait_until(hinting, lambda: end not in hinting.tk.splitlist(hinting.tk.call("after", "info")))

    assert asked == []


def test_enter_sends_while_no_hint_was_moved_to(hinting: EntryLine, sent: list[str]) -> None:
    open_hints(hinting)

    keys(hinting.entry, "<Return>")

    assert sent == [":rt :"]
    assert above(hinting) == []


def test_enter_takes_the_hint_that_was_moved_to(hinting: EntryLine, sent: list[str]) -> None:
    open_hints(hinting)
    keys(hinting.entry, "<Down>", "<Down>")
    marks = above(hinting)

    keys(hinting.entry, "<Return>")

    assert marks[marks.index("›") + 1] == ":ai+ TEXT"
    assert hinting.typed == ":ai+ "
    assert sent == []
    assert above(hinting) == []


def test_a_command_that_takes_nothing_is_taken_without_a_space(hinting: EntryLine) -> None:
    open_hints(hinting)

    keys(hinting.entry, "<Down>", "<Down>", "<Down>", "<Down>", "<Tab>")

    assert hinting.typed == ":quit"


def test_up_is_the_historys_until_down_went_into_the_hints(hinting: EntryLine) -> None:
    asked: list[int] = []
    hinting.history = lambda _, step: asked.append(step)
    open_hints(hinting)

    keys(hinting.entry, "<Up>", "<Down>", "<Up>", "<Up>")

    assert asked == [-1, -1]


def test_escape_closes_the_hints_and_nothing_else(hinting: EntryLine, root: tk.Tk) -> None:
    told: list[str] = []
    root.bind("<Escape>", lambda _: told.append("window"))
    open_hints(hinting)

    keys(hinting.entry, "<Escape>")
    closed, first = above(hinting), list(told)
    keys(hinting.entry, "<Escape>")

    root.unbind("<Escape>")
    assert closed == []
    assert first == []
    assert told == ["window"]
    assert hinting.typed == ":"


def test_a_hint_that_is_due_does_not_outlive_its_line(hinting: EntryLine, root: tk.Tk) -> None:
    write(hinting, ":")

    hinting.destroy()
    settle(root)  # the fixture sees timers that stayed


# -- searching what was typed --------------------------------------------------------------


@pytest.fixture
def searching(entry: EntryLine) -> EntryLine:
    entry.search = History(["cat a", "ls", "cat b"]).containing
    entry.typed = "draft"
    keys(entry.entry, "<Control-r>")
    return entry


def test_letters_look_for_a_line_and_enter_takes_it(searching: EntryLine, sent: list[str]) -> None:
    write(searching, "cat")
    words = above(searching)
    keys(searching.entry, "<Control-r>")
    found = searching.typed

    keys(searching.entry, "<Return>")

    assert words == ["search: cat"]
    assert found == searching.typed == "cat a"
    assert sent == []
    assert above(searching) == []


def test_escape_gives_the_draft_back(searching: EntryLine) -> None:
    write(searching, "ls")
    found = searching.typed

    keys(searching.entry, "<Escape>")

    assert found == "ls"
    assert searching.typed == "draft"
    assert above(searching) == []


def test_a_letter_less_looks_for_more(searching: EntryLine) -> None:
    write(searching, "ls")

    keys(searching.entry, "<BackSpace>", "<BackSpace>", "<Key-c>")

    assert searching.typed == "cat b"
    assert above(searching) == ["search: c"]


def test_a_key_that_moves_leaves_the_search_with_what_was_found(searching: EntryLine) -> None:
    write(searching, "ls")

    keys(searching.entry, "<Home>", "<Key-x>")

    assert searching.typed == "xls"
    assert above(searching) == []


def test_the_second_enter_sends_what_was_found(searching: EntryLine, sent: list[str]) -> None:
    write(searching, "ls")

    keys(searching.entry, "<Return>", "<Return>")

    assert sent == [":rt ls"]


def test_a_line_that_is_disabled_gets_its_draft_back(searching: EntryLine) -> None:
    write(searching, "ls")

    searching.enable(False)

    assert searching.typed == "draft"
    assert above(searching) == []


# -- pasting -------------------------------------------------------------------------------


def paste(entry: EntryLine, text: str) -> None:
    entry.clipboard_clear()
    entry.clipboard_append(text)
    keys(entry.entry, "<<Paste>>")


def press(entry: EntryLine, words: str) -> None:
    settle(entry)
    button = next(
        each
        for each in mapped(entry.winfo_toplevel())
        if each.winfo_class() == "TButton" and str(each["text"]) == words
    )
    keys(button, "<Return>")


@pytest.mark.parametrize("text", ["one", "one\n", "one\r\n\n"])
def test_one_line_is_pasted_without_a_question(entry: EntryLine, text: str) -> None:
    entry.typed = "ab"
    entry.entry.icursor(1)

    paste(entry, text)

    assert entry.typed == "aoneb"
    assert above(entry) == []


def test_more_lines_wait_for_an_answer(entry: EntryLine, sent: list[str]) -> None:
    entry.typed = "ab"

    paste(entry, "one\ntwo\nthree\n")

    assert sent == []
    assert entry.typed == "ab"
    assert above(entry) == ["3 lines pasted", "Send all", "Join", "Cancel"]
    assert clipped(entry.winfo_toplevel()) == []


def test_all_lines_are_sent_with_what_stands_around_them(
    entry: EntryLine, sent: list[str]
) -> None:
    entry.typed = "ab"
    entry.entry.icursor(1)
    paste(entry, "one\n\ntwo")

    press(entry, "Send all")

    assert sent == [":rt aone", ":rt twob"]
    assert entry.typed == ""
    assert above(entry) == []


def test_the_caller_may_send_the_lines_another_way(entry: EntryLine) -> None:
    told: list[list[str]] = []
    entry.on_paste = told.append
    paste(entry, "one\r\n\r\ntwo")

    press(entry, "Send all")

    assert told == [["one", "", "two"]]


def test_lines_can_be_joined(entry: EntryLine, sent: list[str]) -> None:
    paste(entry, "one\n  two\n\nthree")

    press(entry, "Join")

    assert entry.typed == "one two three"
    assert sent == []


@pytest.mark.parametrize("key", ["<Escape>", "<Tab><Return>"])
def test_a_paste_can_be_left(entry: EntryLine, sent: list[str], root: tk.Tk, key: str) -> None:
    entry.typed = "ab"
    paste(entry, "one\ntwo")
    if key == "<Escape>":
        focus = root.focus_get()
        assert focus is not None
        keys(focus, key)
    else:
        press(entry, "Cancel")

    assert above(entry) == []
    assert entry.typed == "ab"
    assert sent == []
    assert root.focus_get() is entry.entry


def test_enter_after_a_paste_sends_nothing(entry: EntryLine, sent: list[str], root: tk.Tk) -> None:
    paste(entry, "one\ntwo")
    focus = root.focus_get()
    assert focus is not None

    keys(focus, "<Return>")
    keys(entry.entry, "<KeyRelease-Return>")

    assert sent == []
    assert entry.typed == "one two"


def test_what_no_line_takes_is_not_pasted(entry: EntryLine) -> None:
    paste(entry, "x" * (LONGEST + 1))

    assert entry.typed == ""
    assert above(entry) == ["65,537 characters are more than a line takes", "Cancel"]


def test_what_is_selected_gives_way_to_what_is_pasted(entry: EntryLine) -> None:
    entry.typed = "abc"
    entry.entry.selection_range(1, 2)

    paste(entry, "XY")

    assert entry.typed == "aXYc"


def test_nothing_is_pasted_into_a_disabled_line(entry: EntryLine) -> None:
    entry.enable(False)

    paste(entry, "one\ntwo")

    assert entry.typed == ""
    assert above(entry) == []
