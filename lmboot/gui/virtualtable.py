"""A table of any length: only the rows on the screen exist, and are filled as one scrolls."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from tkinter import ttk
from typing import Literal, NamedTuple

from lmboot.gui.styles import CELL
from lmboot.gui.widgets import Box, Slim, calling, fitting, nothing

WHEEL_ROWS = 3
LEAST_THUMB = 0.08


class Column(NamedTuple):
    """A column of so many pixels at scale 1; one that `gives` takes what room is left."""

    key: str
    title: str
    width: int
    anchor: Literal["w", "e"] = "w"
    gives: bool = False


class Line(NamedTuple):
    """What one row shows; `colour` is a name of the palette's, "" for the usual one."""

    cells: Sequence[str]
    colour: str = ""


class VirtualTable(Box):
    """`line_of` is asked for each row that comes onto the screen; rows are counted from 0.

    One row is chosen at most; it stays so while it is out of sight. Who looks at the end follows
    what comes. `shed` are columns to be left out where it is narrow, the first one first.
    """

    def __init__(
        self,
        parent: Box,
        columns: Sequence[Column],
        line_of: Callable[[int], Line],
        *,
        shed: Sequence[str] = (),
    ) -> None:
        super().__init__(parent)
        self.on_choose: Callable[[int], object] = nothing
        self._columns, self._line_of, self._shed = columns, line_of, shed
        self.count = self.top = 0
        self.chosen: int | None = None
        self._there = 0  # rows of Tk's
        self._quiet = False
        self._colours: set[str] = set()
        keys = [column.key for column in columns]
        self.tree = ttk.Treeview(
            self, columns=keys, show="headings", selectmode="browse", style="main.Treeview"
        )
        self.tree.configure(height=1)
        for column in columns:
            self.tree.heading(column.key, text=column.title, anchor=column.anchor)
            self.tree.column(column.key, anchor=column.anchor, stretch=False)
        self._bar = Slim(self, self._drag)
        self.tree.pack(fill="both", expand=True)
        self._listen_to_keys()
        self.look.follow(self, self._paint)

    def _listen_to_keys(self) -> None:
        tree = self.tree
        tree.bind("<Configure>", lambda _: self._fit())
        tree.bind("<<TreeviewSelect>>", lambda _: self._selected())
        tree.bind("<FocusIn>", lambda _: self._focus_something())
        for sequence, rows in (("<Button-4>", -WHEEL_ROWS), ("<Button-5>", WHEEL_ROWS)):
            tree.bind(sequence, calling(self._scrolled, rows))
        tree.bind("<MouseWheel>", lambda e: self._scrolled(-WHEEL_ROWS if e.delta > 0 else 3))
        steps: dict[str, Callable[[], int]] = {
            "<Up>": lambda: -1,
            "<Down>": lambda: 1,
            "<Prior>": lambda: -self.rows,
            "<Next>": lambda: self.rows,
            "<Home>": lambda: -self.count,
            "<End>": lambda: self.count,
        }
        for sequence, step in steps.items():
            tree.bind(sequence, calling(self._go, step))

    # ------------------------------------------------------------------ what it shows

    @property
    def rows(self) -> int:
        """Return how many rows have room on the screen, one at least."""
        height = self.look.linespace + self.look.px(12)
        head = self.look.linespace + self.look.px(8)
        return max(1, (self.tree.winfo_height() - head - 2 * self.look.px(2)) // height)

    @property
    def at_end(self) -> bool:
        """Say whether the last row is on the screen."""
        return self.top + self.rows >= self.count

    def show(self, count: int, *, follow: bool = False) -> None:
        """Show so many rows; with `follow`, the end of them."""
        self.count = count
        if follow:
            self.top = count
        self.draw()

    def restart(self) -> None:
        """Begin anew at the first row, with none chosen."""
        self.top, self.chosen = 0, None

    def drop_first(self, rows: int) -> None:
        """Take note that so many of the first rows are gone: what is in sight stays there."""
        self.top = max(0, self.top - rows)
        if self.chosen is not None:
            self.chosen = self.chosen - rows if self.chosen >= rows else None

    def choose(self, row: int) -> None:
        """Choose a row, bring it onto the screen and tell it."""
        self.chosen = row
        if not self.top <= row < self.top + self.rows:
            self.top = row if row < self.top else row - self.rows + 1
        self.draw()
        self.on_choose(row)

    def draw(self) -> None:
        """Fill the rows on the screen."""
        self.top = max(0, min(self.top, self.count - self.rows))
        shown = min(self.rows, self.count - self.top)
        self._make_rows(shown)
        rooms = self._rooms()
        for item in range(shown):
            self._fill(str(item), self._line_of(self.top + item), rooms)
        self._mark()
        size = self._thumb
        at = self.top / max(1, self.count - self.rows) * (1 - size)
        self._bar.moved(at, at + size)

    @property
    def _thumb(self) -> float:
        """Return the scroll bar's part that is taken: of many rows not so little as to be lost."""
        return min(1.0, max(LEAST_THUMB, self.rows / max(1, self.count)))

    def _make_rows(self, wanted: int) -> None:
        for item in range(self._there, wanted):
            self.tree.insert("", "end", str(item))
        if wanted < self._there:
            self.tree.delete(*map(str, range(wanted, self._there)))
        self._there = wanted

    def _fill(self, item: str, line: Line, rooms: Sequence[int]) -> None:
        cells = [
            fitting(self.tree, cell, room) if len(cell) > 8 else cell
            for cell, room in zip(line.cells, rooms, strict=True)
        ]
        if line.colour and line.colour not in self._colours:
            self._colours.add(line.colour)
            self.tree.tag_configure(line.colour, foreground=self.look[line.colour])
        self.tree.item(item, values=cells, tags=(line.colour,) if line.colour else ())

    def _rooms(self) -> list[int]:
        edges = 2 * self.look.px(CELL)
        return [int(self.tree.column(each.key, "width")) - edges for each in self._columns]

    # ------------------------------------------------------------------ how it is moved

    def _scrolled(self, rows: int) -> str:
        self.top += rows
        self.draw()
        return "break"

    def _drag(self, what: str, amount: str, unit: str = "") -> None:
        if what == "moveto":
            way = max(1e-9, 1 - self._thumb)
            self.top = round(float(amount) / way * (self.count - self.rows))
        else:
            self.top += int(amount) * (self.rows if unit == "pages" else 1)
        self.draw()

    def _go(self, step: Callable[[], int]) -> str:
        if self.count:
            by = step()
            begins = self.chosen is None and abs(by) < self.count  # where one looks
            at = self.top if begins else (self.chosen or 0) + by
            self.choose(max(0, min(at, self.count - 1)))
        return "break"

    def _selected(self) -> None:
        """Take the row that was clicked."""
        chosen = self.tree.selection()
        if chosen and not self._quiet and self.top + int(chosen[0]) != self.chosen:
            self.chosen = self.top + int(chosen[0])
            self.on_choose(self.chosen)

    def _mark(self) -> None:
        """Mark the chosen row if it is on the screen; Tk tells of that late, and it is no news."""
        at = -1 if self.chosen is None else self.chosen - self.top
        there = 0 <= at < self._there
        wanted = (str(at),) if there else ()
        if self.tree.selection() != wanted:
            self._quiet = True
            self.tree.selection_set(wanted)
            self.tree.after_idle(self._listen)
        if there:
            self.tree.focus(str(at))

    def _listen(self) -> None:
        self._quiet = False

    def _focus_something(self) -> None:
        """Let the keyboard be seen: a list without a focused row shows nothing of it."""
        if self._there and not self.tree.focus():
            self.tree.focus("0")

    # ------------------------------------------------------------------ how it looks

    def _paint(self) -> None:
        for colour in self._colours:
            self.tree.tag_configure(colour, foreground=self.look[colour])
        self._fit()

    def _fit(self) -> None:
        """Share the width: the first columns to be shed go where the others would be too slim."""
        width = self.tree.winfo_width() - self.look.px(18)  # nothing stands under the scroll bar
        if width <= 1:
            return
        kept = {column.key: self.look.room(column.width) for column in self._columns}
        for key in self._shed:
            if sum(kept.values()) <= width:
                break
            del kept[key]
        self.tree.configure(
            displaycolumns=[each.key for each in self._columns if each.key in kept]
        )
        spare = width - sum(kept.values())
        for column in self._columns:
            wide = self.look.room(column.width) + (spare if column.gives else 0)
            self.tree.column(column.key, width=max(self.look.px(30), wide), minwidth=1)
        seen = self.chosen is not None and self.top <= self.chosen < self.top + self._there
        if seen and self.chosen is not None and self.chosen >= self.top + self.rows:
            self.top = self.chosen - self.rows + 1
        self.draw()
