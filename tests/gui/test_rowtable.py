from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from lmboot.gui.rowtable import RowTable
from tests.gui.folding import folded

TEXTS = st.text(alphabet="ab\n😀", max_size=60)
WIDTH = 5


def taken(table: RowTable, most: int, most_rows: int) -> str:
    """Return what a screen would show: everything that was taken, folds between the pieces."""
    shown = ""
    while not table.whole:
        shown += "\n".join(table.take(most, most_rows))
    return shown


@given(TEXTS, st.integers(1, 20), st.integers(1, 4))
def test_the_rows_do_not_depend_on_how_they_were_taken(
    text: str, most: int, most_rows: int
) -> None:
    table = RowTable(text, WIDTH)

    shown = taken(table, most, most_rows)

    assert shown == folded(text, WIDTH)
    assert [table[row] for row in range(len(table))] == shown.split("\n")


@given(TEXTS, st.integers(1, 20))
def test_each_line_has_a_number_on_its_first_row(text: str, most: int) -> None:
    table = RowTable(text, WIDTH)
    taken(table, most, 3)

    numbers = [table.line_of(row) for row in range(len(table))]
    firsts = [table.first_row(line) for line in range(1, table.lines + 1)]

    assert [number for number in numbers if number] == list(range(1, text.count("\n") + 2))
    assert firsts == [row for row, number in enumerate(numbers) if number]


@given(TEXTS)
def test_a_place_is_told_by_its_row_and_what_is_before_it(text: str) -> None:
    table = RowTable(text, WIDTH)
    taken(table, 7, 7)

    for offset in range(len(text)):
        row, before = table.place(offset)
        assert table[row].startswith(before)
        assert (table[row] + "\n")[len(before)] == text[offset]


def test_a_table_knows_what_it_has_not_read() -> None:
    table = RowTable("one\ntwo\nthree\nfour")

    table.take(5, 100)

    assert not table.whole
    assert table.read == 8
    assert table.first_row(3) == 2
    assert table.first_row(4) is None
    assert table.first_row(0) is None
    assert [table[row] for row in range(len(table))] == ["one", "two", ""]


def test_only_so_many_rows_are_taken_at_once() -> None:
    table = RowTable("\n" * 1000)

    table.take(500, 30)

    assert len(table) == 31
