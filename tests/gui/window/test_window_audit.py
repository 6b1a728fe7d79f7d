"""The audit log in the real window: a table of any length, a filter, a verdict, an export."""

from __future__ import annotations

import tkinter as tk
from collections.abc import Iterator
from tkinter import filedialog, ttk

import pytest

from lmboot.gui import bordermessages as b
from lmboot.gui.records import MOST, SPARE, RecordsPane
from tests.gui.tkroot import clipped, keys, outside, settle
from tests.gui.windows import Stand, reach, texts

NEW, OLD = "20261121-110107123456-47-3fa9c1d2.jsonl", "20261120-110107123456-46-77aa0c1e.jsonl"
RUNS = b.Runs([(NEW, "today"), (OLD, "yesterday")])
OPS = ("fs.read_text", "fetch", "env", "time")


def record(number: int) -> b.Record:
    kind, decision = ("outcome", "deny") if number % 3 else ("intent", "")
    op, time = OPS[number % 4], f"2026-11-21 12:{number // 60 % 60:02d}:{number % 60:02d}"
    return b.Record(number * 100, number, time, kind, op, "HOST", decision, f"note {number}")


ROWS = [record(number) for number in range(1000)]


@pytest.fixture
def stand(session_root: tk.Tk) -> Iterator[Stand]:
    """A window that shows the log of the run that goes on."""
    with Stand() as stand:
        reach(stand, "running")
        audit(stand)
        stand.forget_calls()
        yield stand


def audit(stand: Stand) -> None:
    stand.window.frame.tabs.show("Log")
    settle(stand.root)
    stand.window.frame.logs.part.choose("audit")
    settle(stand.root)
    stand.tell(RUNS, b.Records(NEW, (), "", first=True), b.Records(NEW, ROWS, "3fa9c1d27b44"))


def pane(stand: Stand) -> RecordsPane:
    return stand.window.frame.logs.records


def shown(stand: Stand) -> list[str]:
    """The numbers of the records on the screen."""
    tree = pane(stand).table.tree
    return [str(tree.set(row, "seq")) for row in tree.get_children()]


def type_filter(stand: Stand, words: str) -> None:
    pane(stand).filter.delete(0, "end")
    pane(stand).filter.insert(0, words)
    keys(pane(stand).filter, "<KeyRelease>")
    stand.wait(lambda: not pane(stand).busy)


def pick(stand: Stand, box: ttk.Combobox, value: str) -> None:
    box.set(value)
    box.event_generate("<<ComboboxSelected>>")
    settle(stand.root)
    stand.wait(lambda: not pane(stand).busy)


def test_a_log_is_read_only_while_it_is_looked_at(session_root: tk.Tk) -> None:
    with Stand() as stand:
        reach(stand, "running")
        audit(stand)
        assert stand.calls == [("records.follow", "")]
        stand.window.frame.tabs.show("Session")
        settle(stand.root)

        assert stand.calls[1:] == [("records.pause",)]


def test_the_newest_records_are_in_sight_and_stay_so(stand: Stand) -> None:
    assert shown(stand)[-1] == "999"
    stand.tell(b.Records(NEW, [record(1000)], "aaaa"))

    assert shown(stand)[-1] == "1000"
    assert "head aaaa" in texts(pane(stand))
    assert "1,001 records" in texts(pane(stand))


def test_who_looks_at_older_ones_is_left_there(stand: Stand) -> None:
    keys(pane(stand).table.tree, "<Home>")
    before = shown(stand)
    assert before[0] == "0"

    stand.tell(b.Records(NEW, [record(1000)], "aaaa"))

    assert shown(stand) == before


def test_only_the_rows_on_the_screen_are_tks(stand: Stand) -> None:
    stand.tell(b.Records(NEW, [record(number) for number in range(1000, 100_000)], "x"))
    tree = pane(stand).table.tree

    assert "100,000 records" in texts(pane(stand))
    assert shown(stand)[-1] == "99999"
    assert len(tree.get_children()) == pane(stand).table.rows < 40
    type_filter(stand, "note 77777")
    assert shown(stand) == ["77777"]


def test_of_too_many_the_newest_are_kept_and_the_rest_is_told(stand: Stand) -> None:
    whole = MOST + SPARE
    type_filter(stand, "note")
    pane(stand).table.choose(999)
    for start in range(1000, whole, 50_000):
        some = [ROWS[0]._replace(seq=seq) for seq in range(start, min(start + 50_000, whole))]
        stand.tell(b.Records(NEW, some, "x"))
    stand.wait(lambda: not pane(stand).busy)

    assert f"{MOST:,} records; {SPARE:,} older ones are in the file" in texts(pane(stand))
    assert pane(stand).table.chosen is None  # it is among those
    keys(pane(stand).table.tree, "<End>")
    assert shown(stand)[-1] == str(whole - 1)
    keys(pane(stand).table.tree, "<Home>")
    assert shown(stand)[0] == str(SPARE)


def test_the_keyboard_goes_through_all_rows(stand: Stand) -> None:
    tree = pane(stand).table.tree
    keys(tree, "<Home>", "<Down>", "<Down>")
    assert [tree.set(row, "seq") for row in tree.selection()] == ["2"]
    assert stand.calls[-1] == ("records.details", NEW, 200)

    keys(tree, "<Next>", "<End>", "<Up>")

    assert [tree.set(row, "seq") for row in tree.selection()] == ["998"]


def test_what_is_chosen_stays_chosen_out_of_sight(stand: Stand) -> None:
    table = pane(stand).table
    keys(table.tree, "<Home>")
    table._scrolled(500)
    assert table.tree.selection() == ()
    table._scrolled(-500)

    assert [table.tree.set(row, "seq") for row in table.tree.selection()] == ["0"]


def test_a_row_is_chosen_by_a_click_and_says_all(stand: Stand) -> None:
    table = pane(stand).table
    x, y, wide, high = map(int, table.tree.bbox(table.tree.get_children()[2]))
    for event in ("<Button-1>", "<ButtonRelease-1>"):
        table.tree.event_generate(event, x=x + wide // 2, y=y + high // 2)
        settle(stand.root)
    number = int(shown(stand)[2])
    assert stand.calls == [("records.details", NEW, number * 100)]

    stand.tell(b.Details(NEW, number * 100, '{\n  "seq": 1\n}'), b.Details(OLD, 1, "another's"))

    assert pane(stand).details.text.get("1.0", "end-1c") == '{\n  "seq": 1\n}'


@pytest.mark.parametrize(
    ("words", "numbers"),
    [
        ("intent 999", [999]),
        ("FETCH deny 997", [997]),
        ("nothing of this", []),
    ],
)
def test_words_filter_the_rows(stand: Stand, words: str, numbers: list[int]) -> None:
    type_filter(stand, words)

    assert shown(stand) == list(map(str, numbers))
    type_filter(stand, "")
    assert "1,000 records" in texts(pane(stand))


def test_kind_operation_and_decision_filter_the_rows(stand: Stand) -> None:
    choices = pane(stand).choices
    assert choices["op"]["values"] == ("All operations", "env", "fetch", "fs.read_text", "time")
    pick(stand, choices["op"], "fetch")
    pick(stand, choices["kind"], "intent")
    wanted = [number for number in range(1000) if number % 4 == 1 and number % 3 == 0]
    assert shown(stand)[:3] == list(map(str, wanted[:3]))
    pick(stand, choices["decision"], "deny")

    assert shown(stand) == []
    assert "0 of 1,000 records" in texts(pane(stand))


def test_what_comes_is_filtered_too(stand: Stand) -> None:
    type_filter(stand, "note 100")
    before = shown(stand)
    stand.tell(b.Records(NEW, [record(1000), record(2000)], "x"))

    assert shown(stand) == [*before, "1000"]


def test_another_log_is_chosen_and_begins_anew(stand: Stand) -> None:
    type_filter(stand, "note 5")
    pane(stand).runs.current(1)
    pane(stand).runs.event_generate("<<ComboboxSelected>>")
    settle(stand.root)
    assert stand.calls[-1] == ("records.follow", OLD)

    stand.tell(b.Records(OLD, (), "", first=True), b.Records(OLD, ROWS[:3], "bb"))
    stand.tell(b.Records(NEW, ROWS, "cc"))  # what was still on its way

    assert shown(stand) == ["0", "1", "2"]
    assert "head bb" in texts(pane(stand))
    pane(stand).runs.current(0)
    pane(stand).runs.event_generate("<<ComboboxSelected>>")
    settle(stand.root)
    assert stand.calls[-1] == ("records.follow", "")


def test_a_verdict_is_told_and_leads_to_what_is_wrong(stand: Stand) -> None:
    stand.press("Verify")
    assert stand.calls[-1] == ("records.verify", NEW)
    stand.tell(b.Judged(NEW, True, ("this log is whole: 1000 records of the run x",)))
    assert "this log is whole: 1000 records of the run x" in texts(pane(stand))

    stand.tell(b.Judged(NEW, False, ("this log is damaged at record 500: edited",), 500))

    assert "this log is damaged at record 500: edited" in texts(pane(stand))
    assert "500" in shown(stand)
    assert "damaged at record 500" in stand.log


def test_the_verdict_on_another_log_is_not_this_ones(stand: Stand) -> None:
    stand.tell(b.Judged(OLD, False, ("this log is damaged at record 1: edited",), 1))

    assert "this log is damaged at record 1: edited" not in texts(pane(stand))


def test_the_whole_log_is_exported_to_where_the_user_says(
    stand: Stand, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = iter(["", "/tmp/log.jsonl"])
    monkeypatch.setattr(filedialog, "asksaveasfilename", lambda **_: next(chosen))
    stand.press("Export…")
    assert stand.calls == []
    stand.press("Export…")

    assert stand.calls == [("export_records", NEW, "/tmp/log.jsonl")]


def test_where_nothing_ever_ran_that_is_said(session_root: tk.Tk) -> None:
    with Stand() as stand:
        reach(stand, "ready")
        stand.window.frame.tabs.show("Log")
        settle(stand.root)
        stand.window.frame.logs.part.choose("audit")
        stand.tell(b.Runs([]))
        stand.press("Verify")

        assert "No program has run yet: there is no log." in texts(pane(stand))
        assert [call for call in stand.calls if call[0] == "records.verify"] == []


def test_by_the_keyboard_one_comes_from_the_filter_to_the_rows(stand: Stand) -> None:
    pane(stand).filter.focus_set()
    settle(stand.root)
    stand.key("<F6>")

    assert stand.focused is pane(stand).table.tree


@pytest.mark.parametrize("scale", [1.0, 2.0])
@pytest.mark.parametrize("size", [(720, 480), (1040, 700)])
def test_it_has_room_in_any_window(
    session_root: tk.Tk, scale: float, size: tuple[int, int]
) -> None:
    with Stand(scale=scale) as stand:
        stand.size(*size)
        reach(stand, "running")
        audit(stand)
        assert clipped(stand.root) == []
        assert outside(pane(stand)) == []
        pane(stand).table.choose(990)
        stand.tell(b.Details(NEW, 99_000, "{\n}\n" * 20), b.Judged(NEW, True, ("whole",)))

        assert len(shown(stand)) >= 2
        assert "990" in shown(stand)
