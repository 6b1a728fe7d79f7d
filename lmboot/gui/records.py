"""The audit log of a run: its records in a table, a filter, what each says, and a verdict."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from tkinter import ttk

from lmboot.gui.bordermessages import Record
from lmboot.gui.reader import Reader
from lmboot.gui.slices import Slices
from lmboot.gui.virtualtable import Column, Line, VirtualTable
from lmboot.gui.widgets import Box, Flow, nothing, showable

COLUMNS = (
    Column("seq", "No.", 58, "e"),
    Column("time", "Time", 82),
    Column("kind", "Record", 84),
    Column("op", "Operation", 128),
    Column("route", "Route", 82),
    Column("decision", "Decision", 92),
    Column("words", "Details", 160, gives=True),
)
SHED = ("route", "seq", "time")
MOST = 250_000  # records that are kept to be shown; the newest ones
SPARE = MOST // 10  # forgotten at once
STEP = 400  # records that are looked at between two looks at the clock
EVERY = {"kind": "All records", "op": "All operations", "decision": "All decisions"}
COLOURS = {"deny": "bad", "UNCLEAN": "bad", "error": "warn"}  # of a decision,
KIND_COLOURS = {  # else of a kind; the words say the same
    **{"consent": "ok", "grant": "accent", "revoke": "accent", "route": "accent"},
    **{"denied-summary": "bad", "damaged line": "bad"},
}
DETAILS_ROWS, MOST_OF_HEIGHT = 10, 0.4  # what the details take at most


class RecordsPane(Box):
    """Shows what it is given; what a click wants is told to whoever set the callbacks."""

    def __init__(self, parent: Box, actions: Box) -> None:
        """Put the buttons into `actions`, which stands above."""
        super().__init__(parent, "main")
        self.on_run: Callable[[str], object] = nothing
        self.on_choose: Callable[[Record], object] = nothing
        self.on_verify: Callable[[], object] = nothing
        self.on_export: Callable[[], object] = nothing
        self._rows: list[Record] = []
        self._dropped = 0  # rows that are not kept any more; rows are counted from the first ever
        self._view: list[int] | None = None  # of those that the filter leaves; None: all
        self._runs: dict[str, str] = {}
        self._seen: dict[str, set[str]] = {name: set() for name in EVERY}
        for words, press in (("Verify", self._verify), ("Export…", self._export)):
            actions.button(words, press).pack(side="left", padx=self.look.pad(8, 0))
        self._make_head()
        self._verdict = self.label("", "text", wrap=True, padding=self.look.pads(16, 0, 16, 8))
        self._make_foot()
        self._make_details()
        self.table = VirtualTable(self, COLUMNS, self._line, shed=SHED)
        self.table.pack(fill="both", expand=True, padx=self.look.px(10))
        self.table.on_choose = lambda row: self.on_choose(self._record(row))
        self._slices = Slices(self)

    def _make_head(self) -> None:
        head = Flow(self, gap=8)
        head.pack(fill="x", padx=self.look.px(16), pady=self.look.pad(8, 8))
        self.runs = head.combobox(state="readonly", width=28, font="Text")
        self.runs.bind("<<ComboboxSelected>>", lambda _: self._run_chosen())
        self.filter = ttk.Entry(head, style="main.TEntry", font="Text", width=18)
        self.filter.bind("<KeyRelease>", lambda _: self._typed())
        self.filter.bind("<Escape>", lambda _: self._clear_filter())
        self._hint = ttk.Label(
            self.filter, text="Filter", style=self.look.label_style("faint", "Text", "raised")
        )
        self._hint.bind("<Button-1>", lambda _: self.filter.focus_set())
        self.choices = {name: self._choice(head, name) for name in EVERY}
        for thing in (self.runs, self.filter, *self.choices.values()):
            head.add(thing)
        self._show_hint()

    def _choice(self, head: Flow, name: str) -> ttk.Combobox:
        box = head.combobox(state="readonly", width=14, font="Text", values=(EVERY[name],))
        box.set(EVERY[name])
        box.bind("<<ComboboxSelected>>", lambda _: self.refilter())
        return box

    def _verify(self) -> None:
        self.on_verify()

    def _export(self) -> None:
        self.on_export()

    def _typed(self) -> None:
        self._show_hint()
        self.refilter()

    def _clear_filter(self) -> str:
        self.filter.delete(0, "end")
        self._typed()
        return "break"

    def _show_hint(self) -> None:
        if self.filter.get():
            self._hint.place_forget()
        else:
            self._hint.place(x=self.look.px(10), rely=0.5, anchor="w")

    def _make_foot(self) -> None:
        foot = self.bar("bottom", "main", pad=(16, 6))
        self._head = foot.label("", "muted", "MonoSmall")
        self._head.pack(side="right")
        self._count = foot.label("", "faint", "Small")
        self._count.pack(side="left")

    def _make_details(self) -> None:
        self._below = Box(self, "main")
        self._below.hairline("top")
        padx = self.look.px(14)
        self.details = Reader(self._below, font="MonoSmall", height=DETAILS_ROWS, padx=padx)
        self.details.pack(fill="both", expand=True)
        self.bind("<Configure>", lambda _: self._fit_details())

    def _fit_details(self) -> None:
        """Leave the table the larger part of what the others leave."""
        others = [each for each in self.pack_slaves() if each not in (self.table, self._below)]
        rest = self.winfo_height() - sum(each.winfo_reqheight() for each in others)
        rows = int(MOST_OF_HEIGHT * rest / (self.look.linespace + self.look.px(5)))
        self.details.text.configure(height=max(2, min(DETAILS_ROWS, rows)))

    # ------------------------------------------------------------------ the log

    def show_runs(self, runs: Sequence[tuple[str, str]]) -> None:
        """List the logs that can be chosen, by name and words."""
        self._runs = dict(runs)
        self.runs.configure(values=[words for _, words in runs], height=min(20, len(runs) or 1))

    def _run_chosen(self) -> None:
        self.runs.selection_clear()
        name = list(self._runs)[self.runs.current()]
        self.on_run(name)

    def begin(self, log: str) -> None:
        """Begin another log, of which nothing is known yet."""
        self.runs.set(self._runs.get(log, showable(log)))
        self._slices.stop()
        self._rows, self._dropped, self._view = [], 0, None
        for name, box in self.choices.items():
            self._seen[name] = set()
            box.configure(values=(EVERY[name],))
            box.set(EVERY[name])
        self.filter.delete(0, "end")
        self._show_hint()
        self.table.restart()
        self.show_details("")
        self.show_verdict("", "text")
        self.show_head("")
        self._show()

    def add(self, rows: Sequence[Record]) -> None:
        """Add records at the end; who looks at the end follows."""
        follow = self.table.at_end and self.table.chosen is None
        first = self._dropped + len(self._rows)
        self._rows += rows
        self._learn(rows)
        if self._view is not None and not self._slices.busy:
            wanted = self._filter()
            self._view += [first + at for at, row in enumerate(rows) if wanted(row)]
        self._trim()
        self._show(follow=follow)

    def _learn(self, rows: Sequence[Record]) -> None:
        """Offer what occurs to be filtered by."""
        for name, box in self.choices.items():
            new = {getattr(row, name) for row in rows} - self._seen[name] - {""}
            if new:
                self._seen[name] |= new
                box.configure(values=(EVERY[name], *sorted(self._seen[name])[:60]))

    def _trim(self) -> None:
        """Forget the oldest rows when there are too many: the file has them."""
        if len(self._rows) < MOST + SPARE:
            return
        excess = len(self._rows) - MOST
        del self._rows[:excess]
        self._dropped += excess
        if self._view is not None:
            excess = bisect_left(self._view, self._dropped)
            del self._view[:excess]
        self.table.drop_first(excess)

    # ------------------------------------------------------------------ the filter

    def refilter(self) -> None:
        """Look for the rows that are wanted now, bit by bit where there are many."""
        self.table.restart()
        self._view = [] if self._filtered else None
        if self._view is None:
            self._slices.stop()
            self._show()
        else:
            self._slices.start(self._sift(self._view))

    @property
    def _filtered(self) -> bool:
        chosen = any(box.get() != EVERY[name] for name, box in self.choices.items())
        return chosen or bool(self.filter.get().strip())

    def _filter(self) -> Callable[[Record], bool]:
        """Return what says of a record whether it is wanted."""
        words = self.filter.get().casefold().split()
        fixed = [(name, box.get()) for name, box in self.choices.items()]
        fixed = [(name, value) for name, value in fixed if value != EVERY[name]]

        def wanted(row: Record) -> bool:
            if any(getattr(row, name) != value for name, value in fixed):
                return False
            text = " ".join(map(str, row[1:])).casefold() if words else ""
            return all(word in text for word in words)

        return wanted

    def _sift(self, view: list[int]) -> Iterator[None]:
        wanted, at = self._filter(), self._dropped
        while at < self._dropped + len(self._rows):
            at = max(at, self._dropped)
            rows = self._rows[at - self._dropped : at - self._dropped + STEP]
            view += [at + number for number, row in enumerate(rows) if wanted(row)]
            at += len(rows)
            if len(view) <= 2 * self.table.rows:
                self._show()
            yield
        self._show()

    @property
    def busy(self) -> bool:
        """Say whether rows are still being looked for."""
        return self._slices.busy

    # ------------------------------------------------------------------ what is shown

    def _record(self, row: int) -> Record:
        """Return the record in a row of the table."""
        return self._rows[row if self._view is None else self._view[row] - self._dropped]

    def _line(self, row: int) -> Line:
        record = self._record(row)
        colour = COLOURS.get(record.decision) or KIND_COLOURS.get(record.kind, "")
        number = str(record.seq) if record.seq >= 0 else "?"
        time = record.time.rpartition(" ")[2]
        return Line((number, time, *record[3:]), colour)

    def _show(self, *, follow: bool = False) -> None:
        kept = len(self._rows)
        shown = kept if self._view is None else len(self._view)
        self.table.show(shown, follow=follow)
        words = f"{shown:,} of {kept:,} records" if shown != kept else f"{kept:,} records"
        if self._dropped:
            words += f"; {self._dropped:,} older ones are in the file"
        self._count.configure(text=words)

    def see(self, place: int) -> None:
        """Choose the record at a place in the log, where it is kept and the filter leaves it."""
        row = place - self._dropped
        if self._view is not None:
            row = bisect_left(self._view, place)
            row = row if place in self._view[row : row + 1] else -1
        if 0 <= row < self.table.count:
            self.table.choose(row)

    def show_head(self, head: str) -> None:
        """Show the beginning of the last record's code."""
        self._head.configure(text=f"head {head}" if head else "")

    def show_verdict(self, words: str, colour: str) -> None:
        """Say what verifying came to; "" for nothing yet."""
        self.recolour(self._verdict, colour)
        self._verdict.configure(text=showable(words))
        if words:
            self._verdict.pack(fill="x", before=self.table)
        else:
            self._verdict.pack_forget()
        self._fit_details()

    def show_details(self, text: str) -> None:
        """Show all that the chosen record says; "" takes it away."""
        self.details.text.delete("1.0", "end")
        self.details.text.insert("1.0", showable(text))
        self._fit_details()
        if text:
            self._below.pack(side="bottom", fill="x", before=self.table)
        else:
            self._below.pack_forget()
