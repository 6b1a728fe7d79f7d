from __future__ import annotations

import itertools
import sys
import tkinter as tk

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lmboot.gui.ansi import Ansi
from lmboot.gui.lastline import Run
from lmboot.gui.textstyle import CUT, FOLDED, Style
from lmboot.gui.transcript import PANES, TranscriptPane
from lmboot.gui.widgets import Box
from tests.gui.stalls import LENIENT, longest_stall
from tests.gui.tkroot import drawn_words, keys, settle, wait_until


class Clock:
    """Another second at each look."""

    def __init__(self) -> None:
        self.seconds = itertools.count()

    def __call__(self) -> str:
        return f"12:00:{next(self.seconds):02}"


def make(base: Box, most_lines: int = 10_000) -> TranscriptPane:
    pane = TranscriptPane(base, most_lines=most_lines, clock=Clock())
    pane.pack(fill="both", expand=True)
    settle(base)
    return pane


@pytest.fixture
def pane(base: Box) -> TranscriptPane:
    return make(base)


def content(pane: TranscriptPane) -> str:
    return pane.text.get("1.0", "end-1c")


def gutter(pane: TranscriptPane) -> list[str]:
    """Return the words drawn beside the text."""
    settle(pane)
    return drawn_words(pane.gutter)


def selected(pane: TranscriptPane) -> str:
    return pane.text.get("sel.first", "sel.last")


def test_each_source_has_lines_of_its_own(pane: TranscriptPane) -> None:
    pane.append("rt", [Run("half")])
    pane.append("rt", [Run(" line\nnext")])
    pane.append("ai", [Run("an answer\n")])
    pane.append("rt", [Run("more\n")])

    assert content(pane) == "half line\nnext\nan answer\nmore"
    assert [line.pane for line in pane.lines] == ["rt", "rt", "ai", "rt"]


def test_prefixes_stand_beside_the_text_and_not_in_it(pane: TranscriptPane) -> None:
    pane.append("you", [Run(":rt hello\n")])
    pane.append("rt", [Run("12:00:00 sys consent was given\n")])

    assert gutter(pane) == ["you", "12:00:00", "rt", "12:00:01"]
    assert content(pane) == ":rt hello\n12:00:00 sys consent was given"


def test_a_line_keeps_its_prefix_when_an_empty_one_comes_before(pane: TranscriptPane) -> None:
    pane.append("rt", [Run("\n\nthird")])

    assert content(pane) == "\n\nthird"
    assert gutter(pane).count("rt") == 3


def test_a_batch_is_one_insert(pane: TranscriptPane, monkeypatch: pytest.MonkeyPatch) -> None:
    inserts: list[int] = []
    insert = tk.Text.insert

    def counted(text: tk.Text, index: str, chars: str, *args: str) -> None:
        inserts.append(len(args))
        insert(text, index, chars, *args)

    monkeypatch.setattr(tk.Text, "insert", counted)

    pane.insert_batch([("rt", [Run("a", Style(1)), Run("b\n")]), ("ai", [Run("c\n" * 50)])])

    assert len(inserts) == 1
    assert len(pane.lines) == 51


def test_a_run_takes_back_what_it_writes_over(pane: TranscriptPane) -> None:
    pane.append("rt", [Run("10 %")])

    pane.append("rt", [Run("20 %", back=4)])
    pane.append("rt", [Run("😀 done", back=4), Run("!", back=1)])

    assert content(pane) == "😀 don!"


def test_a_run_never_takes_back_another_line(pane: TranscriptPane) -> None:
    pane.append("sys", [Run("consent\n")])
    pane.append("rt", [Run("ab")])

    pane.append("rt", [Run("", back=50)])

    assert content(pane) == "consent\n"


def test_nothing_is_lost_after_a_nul_and_a_surrogate_does_not_raise(pane: TranscriptPane) -> None:
    pane.append("rt", [Run("one\0two\ud800three\n"), Run("four")])

    assert content(pane) == "one␀two\ufffdthree\nfour"


@settings(
    deadline=None,
    max_examples=60,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(sorted(PANES)), st.text(alphabet="ab\n\r\b\x1b[3m😀", max_size=12)
        ),
        max_size=12,
    )
)
def test_what_tk_shows_is_what_the_lines_say(
    pane: TranscriptPane, written: list[tuple[str, str]]
) -> None:
    streams = {name: Ansi() for name in PANES}
    pane.clear()
    before = ""
    for name, text in written:
        ended = streams[before].break_off() if before and before != name else []
        if ended:
            pane.append(before, ended)
        pane.append(name, streams[name].feed(text))
        before = name

    assert content(pane).split("\n") == [line.text for line in pane.lines] or not pane.lines


def test_copying_leaves_folds_out(pane: TranscriptPane) -> None:
    pane.append("rt", [Run("aaa"), Run("\n", FOLDED), Run("bbb\nccc")])

    keys(pane.text, "<<SelectAll>>", "<<Copy>>")

    assert content(pane) == "aaa\nbbb\nccc"
    assert pane.clipboard_get() == "aaabbb\nccc"
    assert pane.whole_text() == "aaabbb\nccc"


def test_a_folded_line_has_one_prefix(pane: TranscriptPane) -> None:
    pane.append("rt", [Run("aaa"), Run("\n", FOLDED), Run("bbb\n")])

    assert gutter(pane) == ["rt", "12:00:00"]


def test_a_line_of_another_source_is_no_fold_of_the_one_before(pane: TranscriptPane) -> None:
    pane.append("rt", [Run("half"), Run("\n", FOLDED)])
    pane.append("ai", [Run("answer\n")])

    assert pane.whole_text(prefixes=True) == "12:00:00 rt  half\n12:00:01 ai  answer"


def test_lines_can_be_copied_with_their_prefixes(pane: TranscriptPane) -> None:
    pane.append("you", [Run("hello\n")])
    pane.append("rt", [Run("world\n")])
    pane.text.tag_add("sel", "1.2", "2.1")

    assert pane.selected_lines() == "12:00:00 you hello\n12:00:01 rt  world"


def test_the_oldest_lines_fall_out(base: Box) -> None:
    pane = make(base, most_lines=100)

    for number in range(250):
        pane.append("rt", [Run(f"{number}\n")])

    lines = content(pane).split("\n")
    assert len(lines) <= 100
    assert lines == [line.text for line in pane.lines]
    assert lines[-1] == "249"


def test_the_view_stays_at_the_end_only_when_it_is_there(pane: TranscriptPane) -> None:
    pane.append("rt", [Run("line\n" * 200)])
    settle(pane)
    followed = pane.text.dlineinfo("end-1c") is not None
    pane.text.yview_moveto(0)
    settle(pane)

    pane.append("rt", [Run("more\n" * 5)])
    settle(pane)

    assert followed
    assert pane.text.yview()[0] == 0


def test_what_was_missed_is_counted_until_it_is_seen(pane: TranscriptPane, base: Box) -> None:
    pane.append("rt", [Run("line\n" * 200)])
    settle(base)
    pane.text.yview_moveto(0)
    settle(base)
    pane.append("rt", [Run("more\n" * 5)])
    settle(base)
    chip = next(each for each in pane.winfo_children() if each.winfo_class() == "TButton")
    words, there = str(chip["text"]), chip.winfo_ismapped()

    pane.text.yview_moveto(1)

    wait_until(pane, lambda: not chip.winfo_ismapped())
    assert there
    assert words == "↓ Jump to latest (5)"


def test_a_selection_holds_the_view(pane: TranscriptPane) -> None:
    pane.append("rt", [Run("line\n" * 200)])
    settle(pane)
    pane.text.tag_add("sel", "199.0", "199.2")
    top = pane.text.index("@0,0")

    pane.append("rt", [Run("more\n" * 50)])
    settle(pane)
    held = pane.text.index("@0,0")
    pane.jump_to_latest()
    settle(pane)

    assert held == top
    assert pane.text.dlineinfo("end-1c") is not None


def test_finding_counts_and_goes_around(pane: TranscriptPane) -> None:
    pane.append("rt", [Run("one two\n😀 TWO\nthree two\n")])
    bar = pane.find_bar
    keys(pane.text, "<Control-f>")

    bar.entry.insert(0, "two")
    keys(bar.entry, "<KeyRelease-o>")
    counts = [bar.count]
    for _ in range(2):
        bar.go(1)
        counts.append(bar.count)
    bar.close()

    assert counts == ["3/3", "1/3", "2/3"]
    assert selected(pane) == "TWO"


def test_finding_a_capital_means_it(pane: TranscriptPane) -> None:
    pane.append("rt", [Run("two TWO\n")])

    pane.find_bar.search("TWO")
    exact = pane.find_bar.count
    pane.find_bar.search("nowhere")

    assert exact == "1/1"
    assert pane.find_bar.count == "nothing"


def test_only_so_many_tags_are_kept_for_all_colours(pane: TranscriptPane) -> None:
    for front in range(64):
        for back in range(0, 64, 7):
            pane.append("rt", [Run("x", Style(front, back, bold=True, inverse=True))])
    pane.append("rt", [Run("cut", CUT)])

    assert len(pane.text.tag_names()) < 150


def test_clearing_forgets_everything(pane: TranscriptPane) -> None:
    pane.append("rt", [Run("half")])

    pane.clear()
    pane.append("rt", [Run("new\n")])

    assert content(pane) == "new"


def test_a_change_of_the_palette_reaches_what_is_written(pane: TranscriptPane) -> None:
    pane.append("rt", [Run("green", Style(2))])
    before = str(pane.text.tag_cget("fg2", "foreground"))

    pane.look.use("dark")

    assert str(pane.text.tag_cget("fg2", "foreground")) != before
    assert str(pane.text["background"]) == pane.look["main"]


def ranges(pane: TranscriptPane, tag: str) -> list[str]:
    return [str(end) for end in pane.text.tag_ranges(tag)][::2]


@pytest.mark.parametrize("width", [80, 1000])
def test_no_colours_keep_the_window_waiting(pane: TranscriptPane, width: int) -> None:
    """A guest that colours every letter of long rows had Tk draw for seconds."""
    rows = 40_000 // width
    styles = [Style(at % 7, (at + 3) % 7, bool(at % 2), bool(at % 3)) for at in range(width)]
    runs = [*(Run("x", style) for style in styles), Run("\n", FOLDED)] * rows
    pieces = [runs[at : at + 200] for at in range(0, len(runs), 200)]

    def go_on() -> None:
        if pieces:
            pane.append("rt", pieces.pop())
            pane.after(1, go_on)

    stall = longest_stall(pane, go_on, lambda: not pieces)
    leaving = longest_stall(pane, pane.clear, lambda: True)

    assert stall < LENIENT
    assert leaving < LENIENT


def test_a_row_has_only_so_many_colours_but_all_of_its_text(pane: TranscriptPane) -> None:
    pane.append("rt", [Run("x", Style(at % 7)) for at in range(300)] + [Run("\nnext", Style(1))])

    rows = [place.split(".")[0] for place in ranges(pane, "fg1")]

    assert content(pane) == "x" * 300 + "\nnext"
    assert 3 < rows.count("1") < 20
    assert rows.count("2") == 1


def test_a_bar_that_is_drawn_again_and_again_keeps_its_colour(pane: TranscriptPane) -> None:
    for _ in range(200):
        pane.append("rt", [Run("50 %", Style(2), back=4), Run("#", Style(3), back=0)])
        pane.append("rt", [Run("", back=5), Run("50 %", Style(2))])

    assert ranges(pane, "fg2") == ["1.0"]


def test_a_colour_that_comes_bit_by_bit_is_one(pane: TranscriptPane) -> None:
    for _ in range(300):
        pane.append("rt", [Run("x", Style(2))])

    assert ranges(pane, "fg2") == ["1.0"]
    assert str(pane.text.tag_ranges("fg2")[1]) == "1.300"


def test_only_the_newest_rows_keep_their_colours(pane: TranscriptPane) -> None:
    for _ in range(60):
        pane.append("rt", [Run("x", Style(2)), Run("x\n", Style(3))] * 100)

    rows = [int(place.split(".")[0]) for place in ranges(pane, "fg2")]

    assert rows[-1] == 6000
    assert 3000 < len(rows) < 5000
    assert rows[0] == 6001 - len(rows)


def menu_of(pane: TranscriptPane) -> tk.Menu:
    """Open the menu of the right button, and take it off the screen again."""
    pane.text.event_generate("<Button-3>", x=20, y=20, rootx=200, rooty=200)
    menu = next(each for each in pane.winfo_children() if isinstance(each, tk.Menu))
    settle(pane)
    menu.tk.call("::tk::MenuUnpost", menu)  # gives the keyboard back too
    settle(pane)
    return menu


def entries(menu: tk.Menu) -> dict[str, str]:
    """Return what can be chosen, and whether it can now."""
    last = menu.index("end")
    kinds = [(at, menu.type(at)) for at in range((last or 0) + 1)]
    return {
        str(menu.entrycget(at, "label")): str(menu.entrycget(at, "state"))
        for at, kind in kinds
        if kind == "command"
    }


def test_the_right_button_offers_what_can_be_done(pane: TranscriptPane) -> None:
    pane.append("rt", [Run("hello\n")])
    before = entries(menu_of(pane))
    keys(pane.text, "<Control-a>")

    after = entries(menu_of(pane))

    assert list(before) == ["Copy", "Copy with prefixes", "Select all", "Find…"]
    assert before["Copy"] == before["Copy with prefixes"] == "disabled"
    assert set(after.values()) == {"normal"}


def test_the_right_button_keeps_the_selection_and_copies_it(pane: TranscriptPane) -> None:
    pane.append("you", [Run("hello\n")])
    pane.text.tag_add("sel", "1.1", "1.3")

    menu = menu_of(pane)
    menu.invoke(0)
    words = pane.clipboard_get()
    menu.invoke(1)

    assert words == "el"
    assert pane.clipboard_get() == "12:00:00 you hello"


def test_keys_select_all_and_copy_it_with_its_sources(pane: TranscriptPane) -> None:
    pane.append("you", [Run("hello\n")])
    pane.append("rt", [Run("world\n")])

    keys(pane.text, "<Control-a>", "<Control-Shift-C>")

    assert pane.clipboard_get() == "12:00:00 you hello\n12:00:01 rt  world"


def click(pane: TranscriptPane, index: str) -> None:
    settle(pane)
    left, top, *_ = pane.text.bbox(index) or (0, 0)
    pane.text.event_generate("<Motion>", x=left + 2, y=top + 2)
    for sequence in ("<Button-1>", "<ButtonRelease-1>"):
        pane.text.event_generate(sequence, x=left + 2, y=top + 2)
    settle(pane)


def test_a_click_on_what_stands_for_a_cut_line_is_told(pane: TranscriptPane) -> None:
    told: list[int] = []
    pane.on_cut = told.append
    pane.append("rt", [Run("start"), Run("\n", FOLDED), Run("… 5 more", CUT), Run("\nnext\n")])

    for index in ("1.1", "3.1", "2.1"):
        click(pane, index)

    assert told == [2]
    assert pane.lines[1].text == "… 5 more"


def test_the_end_of_a_selection_is_no_click(pane: TranscriptPane) -> None:
    told: list[int] = []
    pane.on_cut = told.append
    pane.append("rt", [Run("… 5 more", CUT)])
    settle(pane)
    left, top, *_ = pane.text.bbox("1.1") or (0, 0)
    right, *_ = pane.text.bbox("1.6") or (0, 0)

    pane.text.event_generate("<Motion>", x=left, y=top + 2)
    pane.text.event_generate("<Button-1>", x=left, y=top + 2)
    pane.text.event_generate("<B1-Motion>", x=right, y=top + 2)
    pane.text.event_generate("<ButtonRelease-1>", x=right, y=top + 2)
    settle(pane)

    assert selected(pane)
    assert told == []


def ruled(pane: TranscriptPane) -> list[str]:
    return [str(end) for end in pane.text.tag_ranges("rule")]


def test_a_divider_is_a_row_of_lmboots_own(pane: TranscriptPane) -> None:
    pane.append("rt", [Run("one\n")])
    pane.rule("run again\n12:03:11")
    at_the_end = ruled(pane)

    pane.append("rt", [Run("two\n"), Run("three")])

    assert content(pane) == "one\nrun again 12:03:11\ntwo\nthree"
    assert [line.pane for line in pane.lines] == ["rt", "sys", "rt", "rt"]
    assert gutter(pane)[2] == "sys"
    assert at_the_end == ruled(pane) == ["2.0", "3.0"]


def test_a_divider_goes_with_its_row(pane: TranscriptPane) -> None:
    pane.rule("run again")

    pane.clear()
    empty = ruled(pane)
    pane.append("rt", [Run("one\n")])

    assert empty == ruled(pane) == []


@pytest.mark.skipif(sys.platform != "linux", reason="looks at what X has drawn")
@pytest.mark.parametrize("after", ["", "one\n"])
def test_the_band_of_a_divider_goes_from_edge_to_edge(scaled: Box, after: str) -> None:
    from tests.gui.pixels import rows

    scaled.look.root.geometry("600x300+0+0")
    pane = make(scaled)
    pane.rule("another session")
    pane.append("rt", [Run(after)])
    settle(pane)
    line = pane.text.dlineinfo("1.0")
    assert line is not None

    ring = int(str(pane.text["highlightthickness"]))
    wide = pane.text.winfo_width() - 2 * ring
    seen = rows(pane.text, ring, line[1] + 1, wide, line[3] - 2)

    band = scaled.look["panel"]
    assert {row[at] for row in seen for at in (0, scaled.look.px(5), -1)} == {band}
    assert "".join(seen[0]) == band * wide


def test_texts_keep_their_distance_from_the_edges(pane: TranscriptPane) -> None:
    pane.append("rt", [Run("word " * 400 + "\n")])
    settle(pane)
    ring = int(str(pane.text["highlightthickness"]))

    lines = [pane.text.dlineinfo(f"1.0 +{row} display lines") for row in range(3)]

    for line in lines:
        assert line is not None
        assert line[0] == ring + pane.look.px(10)
        assert line[0] + line[2] <= pane.text.winfo_width() - ring
