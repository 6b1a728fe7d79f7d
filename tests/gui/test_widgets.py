from __future__ import annotations

import sys
import tkinter as tk

import pytest

from lmboot.gui.bars import ServerLine, StatusLine
from lmboot.gui.cards import Card, Welcome
from lmboot.gui.entryline import EntryLine
from lmboot.gui.log import LogPane
from lmboot.gui.modellist import Details, ModelList, sort_key
from lmboot.gui.payload import StreamPane
from lmboot.gui.reader import Reader
from lmboot.gui.tabs import Tabs
from lmboot.gui.widgets import Box, Flow, Scroller, Stack, nothing, showable
from tests.gui.tkroot import keys, mapped, settle, wait_until

ROWS = [
    ("a", "qwen2.5-7b", "● loaded", "Q4_K_M", "4.7 GB", "32,768"),
    ("b", "llama-3.1-8b", "○ available", "Q5_K_M", "900 MB", "131,072"),
    ("c", "phi-3-mini", "? unknown", "—", "—", "—"),
]


def shown(widget: tk.Misc) -> list[str]:
    """Return the words of all labels and buttons on the screen."""
    kinds = ("TLabel", "TButton")
    return [str(each["text"]) for each in mapped(widget) if each.winfo_class() in kinds]


@pytest.fixture
def models(base: Box) -> ModelList:
    made = ModelList(base)
    made.pack(fill="both", expand=True)
    made.show(ROWS)
    settle(base)
    return made


def names(models: ModelList) -> list[str]:
    return [str(row) for row in models.tree.get_children()]


def test_nothing_that_tk_would_lose_or_refuse_reaches_it() -> None:
    assert showable("one\0two\ud800three") == "one␀two\ufffdthree"


def test_a_choice_outlives_new_rows(models: ModelList, base: Box) -> None:
    told: list[str] = []
    models.on_select = told.append
    models.select("b")
    settle(base)

    models.show([("x", "another", "", "", "", ""), *reversed(ROWS)])
    settle(base)

    assert models.selected == "b"
    assert told == []


def test_a_choice_comes_back_with_its_row(models: ModelList) -> None:
    models.select("b")
    models.show(ROWS[:1])
    gone = models.selected

    models.show(ROWS)

    assert gone == ""
    assert models.selected == "b"


def test_choosing_with_the_keyboard_is_told(models: ModelList, root: tk.Tk) -> None:
    told: list[str] = []
    models.on_select = told.append
    models.on_activate = lambda model: told.append(f"go {model}")
    models.select("a")

    keys(models.tree, "<Down>", "<Return>")

    assert told == ["b", "go b"]


def test_the_filter_looks_at_every_cell(models: ModelList, base: Box) -> None:
    models.filter.insert(0, "q5 llama")
    keys(models.filter, "<KeyRelease-a>")
    few = names(models)

    keys(models.filter, "<Escape>")

    assert few == ["b"]
    assert names(models) == ["a", "b", "c"]


def test_a_heading_sorts_up_then_down_then_not_at_all(models: ModelList) -> None:
    orders = []
    for _ in range(3):
        models.tree.tk.call(str(models.tree.heading("size")["command"]))
        orders.append(names(models))

    assert orders == [["b", "a", "c"], ["c", "a", "b"], ["a", "b", "c"]]


def test_sizes_are_sorted_by_what_they_mean() -> None:
    cells = ["—", "4.7 GB", "900 MB", "32,768", "8k", "Q8_0"]

    assert sorted(cells, key=sort_key) == ["8k", "32,768", "900 MB", "4.7 GB", "Q8_0", "—"]


@pytest.mark.skipif(sys.platform != "linux", reason="looks at what X has drawn")
def test_headings_stand_where_their_columns_stand(scaled: Box) -> None:
    from tests.gui.pixels import inked

    tree, px = _list_of_h(scaled).tree, scaled.look.px

    def gap(key: str, edge: int) -> int:
        """Return how far the heading's edge, left (0) or right (1), is from its cell's."""
        left, top, wide, high = map(int, tree.bbox("a", key))
        wide = min(wide, px(100))
        heading = inked(tree, left, px(4), wide, px(16))
        return heading[edge] - inked(tree, left, top + px(8), wide, high - px(16))[edge]

    gaps = [gap("#0", 0), gap("state", 0), gap("quant", 0), gap("size", 1), gap("context", 1)]

    # a letter begins somewhat later than a dot, and in a smaller font somewhat sooner
    assert [each for each in gaps if abs(each) > scaled.look.scale] == []


def _list_of_h(parent: Box) -> ModelList:
    """Return a list whose headings and cells are the same letter, with edges that are upright."""
    made, px = ModelList(parent), parent.look.px
    made.pack(fill="both", expand=True)
    made.show([("a", "H", "H", "H", "H", "H")])
    for key in ("#0", "state", "quant", "size", "context"):
        made.tree.heading(key, text="H")
    parent.look.root.geometry(f"{px(500)}x{px(220)}+0+0")
    settle(parent)
    return made


def test_a_narrow_list_keeps_the_name_and_the_size(models: ModelList, root: tk.Tk) -> None:
    root.geometry("280x400")

    wait_until(root, lambda: root.tk.splitlist(models.tree["displaycolumns"]) == ("size",))


def test_a_filter_that_hides_all_models_says_so(models: ModelList, base: Box) -> None:
    words = "No model has these words."
    before = shown(models)
    models.filter.insert(0, "no such model")
    keys(models.filter, "<KeyRelease-l>")
    settle(base)
    hidden = shown(models)

    keys(models.filter, "<Escape>")
    settle(base)

    assert words not in before
    assert words in hidden
    assert words not in shown(models)


def test_the_bootstrap_button_does_nothing_while_it_cannot(base: Box) -> None:
    pressed: list[int] = []
    details = Details(base)
    details.on_bootstrap = lambda: pressed.append(1)
    details.button_bootstrap.invoke()

    details.show_button("Bootstrapping…", enabled=False)
    details.button_bootstrap.invoke()

    assert pressed == [1]


def test_an_address_is_told_when_it_is_entered(base: Box) -> None:
    told: list[str] = []
    line = ServerLine(base)
    line.pack()
    line.on_address = told.append
    line.address = " http://localhost:8080 "

    keys(line.field, "<Return>")

    assert told == ["http://localhost:8080"]


def test_the_status_line_has_one_height_with_buttons_and_without(base: Box) -> None:
    status = StatusLine(base)
    status.pack(fill="x")
    settle(base)
    before = status.winfo_height()

    status.set_actions([("Stop", nothing, True)])
    settle(base)

    assert status.winfo_height() == before


def test_the_same_actions_keep_their_buttons_but_do_what_is_new(base: Box) -> None:
    done: list[str] = []
    status = StatusLine(base)
    status.pack(fill="x")
    status.set_actions([("Stop", lambda: done.append("old"), True)])
    button = status.winfo_children()[2].winfo_children()[0]

    status.set_actions([("Stop", lambda: done.append("new"), True)])
    keys(button, "<Return>")

    assert button.winfo_exists()
    assert done == ["new"]


@pytest.fixture
def entry(base: Box) -> EntryLine:
    made = EntryLine(base)
    made.pack(fill="x", side="bottom")
    settle(base)
    return made


def test_a_line_is_sent_once_with_its_target(entry: EntryLine) -> None:
    sent: list[tuple[str, str]] = []
    entry.on_send = lambda target, text: sent.append((target, text))
    entry.show_target(":ai")
    entry.typed = "hello"

    keys(entry.entry, "<Return>", "<Return>")

    assert sent == [(":ai", "hello")]
    assert entry.typed == ""


def test_a_disabled_line_keeps_what_is_half_typed(entry: EntryLine) -> None:
    sent: list[str] = []
    entry.on_send = lambda _, text: sent.append(text)
    entry.typed = "half"
    entry.enable(False)

    entry.submit()

    assert (entry.typed, sent) == ("half", [])


def test_up_and_down_ask_the_history(entry: EntryLine) -> None:
    asked: list[tuple[str, int]] = []
    entry.typed = "dra"

    def history(typed: str, step: int) -> str | None:
        asked.append((typed, step))
        return "older" if step < 0 else None

    entry.history = history
    keys(entry.entry, "<Up>", "<Down>")

    assert asked == [("dra", -1), ("older", 1)]
    assert entry.typed == "older"


def test_tab_completes_or_leaves(entry: EntryLine, root: tk.Tk) -> None:
    entry.complete = lambda typed, _: ":rt " if typed == ":r" else None
    entry.typed = ":r"

    keys(entry.entry, "<Tab>")
    still = root.focus_get()
    keys(entry.entry, "<Tab>")

    assert entry.typed == ":rt "
    assert still is entry.entry
    assert root.focus_get() is not entry.entry


def test_tab_goes_from_the_target_to_the_field_and_on_to_send(
    entry: EntryLine, root: tk.Tk
) -> None:
    there = [entry.target, entry.entry, button_of(entry, "Send")]
    there[0].focus_force()
    order = [pressed(root, "<Tab>") for _ in there[1:]]

    back = [pressed(root, "<Shift-Tab>") for _ in there[1:]]

    assert order == there[1:]
    assert back == there[1::-1]


def test_going_back_completes_nothing(entry: EntryLine, root: tk.Tk) -> None:
    entry.complete = lambda *_: ":rt "
    entry.typed = ":r"

    keys(entry.entry, "<Shift-Tab>")

    assert entry.typed == ":r"
    assert root.focus_get() is entry.target


def button_of(widget: tk.Misc, words: str) -> tk.Misc:
    return next(each for each in mapped(widget) if shown_one(each) == words)


def pressed(root: tk.Tk, sequence: str) -> tk.Misc | None:
    """Press a key on what has the keyboard, and return what has it then."""
    focus = root.focus_get()
    assert focus is not None
    keys(focus, sequence)
    return root.focus_get()


def test_hints_go_with_escape(entry: EntryLine, base: Box) -> None:
    entry.show_hints([(":rt TEXT", "to the program", "Tab")])
    settle(base)
    before = shown(base)

    keys(entry.entry, "<Escape>")

    assert ":rt TEXT" in before
    assert ":rt TEXT" not in shown(base)


def test_a_reader_can_be_read_but_not_written(base: Box) -> None:
    reader = Reader(base)
    reader.pack(fill="both", expand=True)
    reader.text.insert("1.0", "one two")

    keys(reader.text, "x", "<BackSpace>", "<Delete>", "<Control-d>", "<Control-k>", "<<Paste>>")
    keys(reader.text, "<<Cut>>", "<<Clear>>", "<<SelectAll>>", "<<Copy>>")

    assert reader.text.get("1.0", "end-1c") == "one two"
    assert base.clipboard_get() == "one two"


def test_a_column_scrolls_only_when_it_must(base: Box, root: tk.Tk) -> None:
    column = Scroller(base, "panel", width=200)
    column.pack(side="left", fill="y")
    label = column.inside.label("top")
    label.pack()
    settle(base)
    label.event_generate("<Button-5>")
    settle(base)
    still = label.winfo_rooty()

    for number in range(80):
        column.inside.label(str(number)).pack()
    settle(base)
    label.event_generate("<Button-5>")
    settle(base)

    assert label.winfo_rooty() < still


def test_buttons_that_do_not_fit_go_on_below(base: Box, root: tk.Tk) -> None:
    flow = Flow(base)
    flow.pack(fill="x")
    buttons = [flow.button(f"Button {number}", nothing) for number in range(4)]
    for button in buttons:
        flow.add(button)
    root.geometry("260x300")

    wait_until(root, lambda: buttons[3].winfo_y() > buttons[0].winfo_y())
    assert flow.winfo_height() >= buttons[3].winfo_y() + buttons[3].winfo_height()


def test_a_stack_shows_one_page(base: Box) -> None:
    stack = Stack(base)
    stack.pack()
    one, two = Box(stack), Box(stack)
    one.label("one").pack()
    two.label("two").pack()
    stack.add("one", one)
    stack.add("two", two)

    stack.show("two")
    settle(base)

    assert shown(base) == ["two"]


def test_tabs_tell_when_another_one_is_shown(base: Box) -> None:
    told: list[str] = []
    tabs = Tabs(base)
    tabs.pack(fill="both", expand=True)
    settle(base)
    tabs.on_change = told.append

    tabs.show("Files")
    settle(base)

    assert tabs.current == "Files"
    assert told == ["Files"]


def test_a_cards_command_can_be_copied(base: Box) -> None:
    card = Card(base)
    card.pack(fill="both", expand=True)
    card.show("No server", ["It is off."], [("Retry", nothing, True)], command="lms server start")
    settle(base)

    copy = next(each for each in mapped(card) if "Copy" in shown_one(each))
    keys(copy, "<Return>")

    assert base.clipboard_get() == "lms server start"


def shown_one(widget: tk.Misc) -> str:
    return str(widget["text"]) if widget.winfo_class() == "TButton" else ""


def test_the_steps_are_not_built_again_for_the_same_model(base: Box) -> None:
    welcome = Welcome(base)
    welcome.show("a", "b")
    before = welcome.inside.winfo_children()

    welcome.show("a", "b")

    assert welcome.inside.winfo_children() == before


def test_a_stream_ends_in_a_caret_until_it_ends(base: Box) -> None:
    stream = StreamPane(base)
    stream.pack(fill="both", expand=True)
    stream.start("Writing")
    stream.append('{"name": ')
    stream.append('"a\0b"')
    live = stream.reader.text.get("1.0", "end-1c")

    stream.end()

    assert live == '{"name": "a␀b" '
    assert stream.reader.text.get("1.0", "end-1c") == '{"name": "a␀b"'
    assert [str(end) for end in stream.reader.text.tag_ranges("accent")] == ["1.1", "1.7"]


def test_a_log_is_filtered_by_words(base: Box) -> None:
    log = LogPane(base)
    log.pack(fill="both", expand=True)
    log.add([("1", "error", "no memory"), ("2", "server", "five\0models")])

    log.filter.insert(0, "MEMORY")
    keys(log.filter, "<KeyRelease-a>")
    few = log.reader.text.get("1.0", "end-1c")
    log.filter.delete(0, "end")
    keys(log.filter, "<KeyRelease-a>")

    assert few == "1\terror\tno memory\n"
    assert log.reader.text.get("1.0", "end-1c").endswith("2\tserver\tfive␀models\n")


def test_a_log_forgets_its_oldest_rows(base: Box) -> None:
    log = LogPane(base, most_rows=50)

    log.add([(str(number), "server", "row") for number in range(3_000)])

    lines = log.reader.text.get("1.0", "end-1c").splitlines()
    assert len(lines) == 50
    assert lines[-1].startswith("2999")
