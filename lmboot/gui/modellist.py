"""The list of models, what is known about the chosen one, and the button that starts it all."""

from __future__ import annotations

import tkinter as tk
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from tkinter import ttk
from typing import Literal

from lmboot.gui.slices import Slices
from lmboot.gui.styles import CELL
from lmboot.gui.widgets import Box, CutLabel, Scroller, Slim, fitting, nothing

# id, name, state, quantization, size, context: all as they are shown. The list draws a state's
# sign ("● loaded") itself, as the dot beside the name, which stays when it hides columns.
Row = tuple[str, str, str, str, str, str]
COLUMNS: tuple[
    tuple[str, str, int, Literal["w", "e"]], ...
] = (  # key, heading, width, anchor; the list hides the last ones first when it is narrow
    ("#0", "Model", 150, "w"),
    ("size", "Size", 64, "e"),
    ("quant", "Quant", 70, "w"),
    ("state", "State", 82, "w"),
    ("context", "Context", 62, "e"),
)
NOTE = "Ctrl+B  ·  you review before anything runs"
ORDER = ("state", "quant", "size", "context")
LEAST_NAME, LEAST_ROWS = 142, 6
DOT = 10  # of a state, before the name
BESIDE = 12  # what is known of a model, for its scroll bar
MOST_DETAILS = 1000  # pixels, until the window says how many there are
UNITS = {"kB": 1e3, "KB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12, "k": 1e3, "K": 1e3, "M": 1e6}


def sort_key(cell: str) -> tuple[int, float, str]:
    """Order cells as a person would: "900 MB" before "4.7 GB", what is unknown ("—") last."""
    number, _, unit = cell.partition(" ")
    if unit == "" and cell[-1:] in UNITS:
        number, unit = cell[:-1], cell[-1]
    try:
        return 0, float(number.replace("\u202f", "").replace(",", "")) * UNITS.get(unit, 1.0), ""
    except ValueError:
        return (2, 0.0, "") if cell in ("", "—") else (1, 0.0, cell.casefold())


def _place(key: str) -> int:
    """Return where a column's cell stands in a row, the id aside."""
    return 0 if key == "#0" else ORDER.index(key) + 1


class ModelList(Box):
    """The models, to be filtered, sorted and chosen; the choice stays with its id."""

    def __init__(self, parent: Box) -> None:
        super().__init__(parent, "panel")
        self.on_select: Callable[[str], None] = nothing
        self.on_activate: Callable[[str], None] = nothing
        self._rows: list[Row] = []
        self._shown: list[Row] = []  # those that the filter leaves, as they are sorted
        self._wanted = ""  # the chosen id, also while a filter hides it
        self._sort: tuple[int, bool] | None = None
        self._quiet = False
        self._hint_wanted, self._roomy = False, True
        self.filter = self._make_filter()
        self._hint = self.label("or drop a .gguf file here", "faint", "Small")
        self._empty = self.label("No model has these words.", "faint", "Small")
        self.tree = self._make_tree()
        self._slices = Slices(self.tree)

    def _make_filter(self) -> ttk.Entry:
        entry = ttk.Entry(self, style="panel.TEntry", font="Text")
        entry.pack(fill="x", padx=self.look.px(16), pady=self.look.pad(12, 6))
        style = self.look.label_style("faint", "Text", "raised")
        hint = ttk.Label(entry, text="Filter models", style=style)
        hint.bind("<Button-1>", lambda _: entry.focus_set())

        def changed(_: object = None) -> None:
            if entry.get():
                hint.place_forget()
            else:
                hint.place(x=self.look.px(10), rely=0.5, anchor="w")
            self._fill()

        def clear(_: object) -> None:
            entry.delete(0, "end")
            changed()

        entry.bind("<KeyRelease>", changed)
        entry.bind("<Escape>", clear)
        entry.bind("<Down>", lambda _: self.tree.focus_set())
        hint.place(x=self.look.px(10), rely=0.5, anchor="w")
        return entry

    def _make_tree(self) -> ttk.Treeview:
        frame = Box(self)
        frame.pack(fill="both", expand=True, padx=self.look.px(6))
        tree = ttk.Treeview(
            frame, columns=ORDER, selectmode="browse", height=LEAST_ROWS, style="panel.Treeview"
        )
        bar = Slim(frame, tree.yview)
        tree.configure(yscrollcommand=bar.moved)
        for key, title, width, anchor in COLUMNS:
            press = partial(self._sort_by, _place(key))
            tree.heading(key, text=title, anchor=anchor, command=press)
            wide = self.look.room(width)
            tree.column(key, width=wide, minwidth=self.look.px(30), stretch=False, anchor=anchor)
        tree.pack(fill="both", expand=True)
        tree.bind("<<TreeviewSelect>>", lambda _: self._selected())
        tree.bind("<Return>", lambda _: self._activated())
        tree.bind("<Double-1>", self._double)
        tree.bind("<Configure>", lambda event: self._fit(event.width))
        self.look.follow(tree, lambda: self._zoomed(tree))
        tree.bind("<FocusIn>", lambda _: self._focus_something())
        return tree

    def show_hint(self, visible: bool) -> None:
        """Show or hide the row that says that a file can be dropped."""
        self._hint_wanted = visible
        self.fit(roomy=self._roomy)

    def fit(self, *, roomy: bool) -> None:
        """Leave out what only explains where the rows need its room."""
        self._roomy = roomy
        if self._hint_wanted and roomy:
            self._hint.pack(side="bottom", pady=self.look.pad(4, 10), before=self.tree.master)
        else:
            self._hint.pack_forget()

    def show(self, rows: Sequence[Row]) -> None:
        """Show these models; what was chosen stays chosen if its id is still there."""
        self._rows = list(rows)
        self._fill()

    @property
    def selected(self) -> str:
        """Return the id of the chosen model, "" without one."""
        chosen = self.tree.selection()
        return str(chosen[0]) if chosen else ""

    def select(self, model: str) -> None:
        """Choose a model by its id, now or as soon as it is shown."""
        self._wanted = model
        self._restore()

    def _fill(self) -> None:
        sought = self.filter.get().casefold().split()
        rows = [
            row for row in self._rows if all(word in " ".join(row).casefold() for word in sought)
        ]
        if self._sort:
            column, down = self._sort
            rows.sort(key=lambda row: sort_key(row[column + 1]), reverse=down)
        self._quiet = True
        self.tree.delete(*self.tree.get_children())
        for row in rows:
            self.tree.insert("", "end", row[0], image=self._dot(row[2]))
        self._shown = rows
        self._write_all()
        self._say_empty(bool(self._rows) and not rows)
        self._restore()

    def _write_all(self) -> None:
        """Write the cells of all rows, those of many bit by bit."""
        self._slices.start(self._write(self._shown))

    def _write(self, rows: Sequence[Row]) -> Iterator[None]:
        """Write the cells, cut to what their columns have room for."""
        names = self.tree.column("#0", "width") - self.look.px(2 * CELL + DOT)
        rooms = [self.tree.column(key, "width") - 2 * self.look.px(CELL) for key in ORDER]
        for model, name, state, *others in rows:
            words = state.removeprefix("● ").removeprefix("○ ").removeprefix("? "), *others
            pairs = zip(words, rooms, strict=True)
            cells = [fitting(self.tree, cell, room) for cell, room in pairs]
            self.tree.item(model, text=fitting(self.tree, "  " + name, names), values=cells)
            yield

    def _dot(self, state: str) -> tk.PhotoImage:
        loaded = state.endswith("loaded")
        return self.look.dot("ok" if loaded else "faint", hollow=not loaded)

    def _say_empty(self, all_hidden: bool) -> None:
        if all_hidden:
            self._empty.place(relx=0.5, rely=0.4, anchor="center")
        else:
            self._empty.place_forget()

    def _restore(self) -> None:
        """Choose the wanted id again, without telling anybody what they know."""
        self._quiet = True
        there = self.tree.exists(self._wanted) if self._wanted else False
        if there and self.selected != self._wanted:
            self.tree.selection_set(self._wanted)
            self.tree.focus(self._wanted)
            self.tree.see(self._wanted)
        self.tree.after_idle(self._listen)

    def _listen(self) -> None:
        self._quiet = False

    def _selected(self) -> None:
        if self.selected and self.selected != self._wanted:
            self._wanted = self.selected
            self.on_select(self._wanted)

    def _activated(self) -> None:
        self._selected()  # Tk tells of a choice late, and it comes first
        if self.selected:
            self.on_activate(self.selected)

    def _double(self, event: tk.Event[ttk.Treeview]) -> None:
        if self.tree.identify_region(event.x, event.y) in ("tree", "cell"):
            self._activated()

    def _focus_something(self) -> None:
        """Let the keyboard start somewhere: without a focused row its arrows do nothing."""
        rows = self.tree.get_children()
        if rows and not self.tree.focus():
            self.tree.focus(rows[0])

    def _sort_by(self, column: int) -> None:
        """Sort by a column: up, then down, then as the rows were given."""
        before = self._sort
        if before is None or before[0] != column:
            self._sort = column, False
        else:
            self._sort = None if before[1] else (column, True)
        for key, title, _, _ in COLUMNS:
            at = _place(key)
            mark = (
                ""
                if self._sort is None or self._sort[0] != at
                else " ↓"
                if self._sort[1]
                else " ↑"
            )
            self.tree.heading(key, text=title + mark)
        self._fill()

    def _zoomed(self, tree: ttk.Treeview) -> None:
        for key, _, width, _ in COLUMNS:
            tree.column(key, width=self.look.room(width))
        if tree.winfo_width() > 1:
            self._fit(tree.winfo_width())

    def _fit(self, width: int) -> None:
        """Hide the least important columns when there is no room for them beside the name."""
        wide = self.look.room
        room = width - wide(LEAST_NAME) - self.look.px(14)  # nothing stands under the scroll bar
        kept: set[str] = set()
        for key, _, length, _ in COLUMNS[1:]:
            if room < wide(length):
                break
            room -= wide(length)
            kept.add(key)
        columns = [key for key in ORDER if key in kept]
        if columns != list(self.tk.splitlist(self.tree["displaycolumns"])):
            self.tree.configure(displaycolumns=columns)
        self.tree.column("#0", width=max(1, wide(LEAST_NAME) + room))
        self._write_all()


class Details(Box):
    """What is known about the chosen model, and the button that starts it all."""

    def __init__(self, parent: Box) -> None:
        super().__init__(parent, "panel", padding=parent.look.pads(16, 12, 16 - BESIDE, 12))
        self.on_bootstrap: Callable[[], None] = nothing
        self._facts = Scroller(self, pad=(0, 0, BESIDE, 0))
        self._facts.pack(fill="x")
        self._shown: tuple[tuple[str, str], ...] = ()
        Box(self, height=self.look.px(10)).pack()
        self.button_bootstrap = self.button("Bootstrap", lambda: self.on_bootstrap(), "Accent")
        self.button_bootstrap.pack(fill="x", padx=self.look.pad(0, BESIDE))
        self._note = self.label(
            NOTE, "faint", "Small", wrap=True, anchor="center", justify="center"
        )
        self.fit(MOST_DETAILS, note=True)

    def show(self, facts: Sequence[tuple[str, str]]) -> None:
        """Show pairs of a name and a value."""
        if tuple(facts) == self._shown:
            return
        self._shown = tuple(facts)
        self._facts.inside.clear()
        for name, value in facts:
            self._fact(name, value)

    def _fact(self, name: str, value: str) -> None:
        row = Box(self._facts.inside)
        row.pack(fill="x", pady=self.look.px(2))
        row.label(name, "faint", width=9).pack(side="left", anchor="n")
        words = CutLabel(row, lines=2)
        words.pack(side="left", fill="x", expand=True)
        words.say(value)

    def fit(self, height: int, *, note: bool) -> None:
        """Ask for at most so many pixels: the facts scroll, and the note can be left out."""
        look, shown = self.look, [self.button_bootstrap, *[self._note] * note]
        rest = look.px(2 * 12 + 10 + 8 * note) + sum(each.winfo_reqheight() for each in shown)
        self._facts.ask(height - rest)
        if note:
            self._note.pack(fill="x", padx=look.pad(0, BESIDE), pady=look.pad(8, 0))
        else:
            self._note.pack_forget()

    def show_button(self, label: str = "Bootstrap", *, enabled: bool = True) -> None:
        """Say what the button does, and whether it can."""
        self.button_bootstrap.configure(text=label)
        self.button_bootstrap.state(["!disabled" if enabled else "disabled"])

    def fill_button(self, filled: bool) -> None:
        """Fill the button, or draw it plain while another one is the screen's filled one."""
        kind = "Accent" if filled else "Plain"
        self.button_bootstrap.configure(style=f"{self.surface}.{kind}.TButton")
