"""Files to be read: line numbers beside the text, colours, and no column out of sight."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from itertools import islice

from lmboot.gui.find import FindBar, columns
from lmboot.gui.menus import Item
from lmboot.gui.reader import Reader
from lmboot.gui.rowtable import RowTable
from lmboot.gui.slices import Slices
from lmboot.gui.tokens import COLOURS, tokens
from lmboot.gui.widgets import Box, nothing, showable

GUTTER = 62
SLICE, SLICE_ROWS = 16 << 10, 1000  # characters and rows of one insert
MOST_ROWS = 1_000_000  # each costs Tk some 200 bytes; nobody reads as many
MOST_FLAGS = 100_000
BATCH = 200  # tokens whose colours are given to Tk at once
MOST_RANGES = 64  # colours in one row; drawing a row takes the square of them
FORGOTTEN, FORGOTTEN_COLOURED = 10_000, 5  # rows that are deleted at once


class CodeView(Reader):
    """One file. Lines wrap: what stands far to the right is not out of sight.

    The beginning is there at once, the rest comes bit by bit: `busy` until all of it is there.
    """

    def __init__(self, parent: Box, *, most_rows: int = MOST_ROWS) -> None:
        self._rows = RowTable()
        self._flags: frozenset[int] = frozenset()
        self._flagged = 0  # lines that were looked at for their flags
        self._wanted = 0  # the line that is to be seen as soon as it is there
        self._coloured = False
        self._path = ""
        self._most_rows = most_rows
        self.on_end: Callable[[str], None] = nothing  # the file's last line is on the screen
        super().__init__(parent, gutter=GUTTER, wrap="char")
        self._cover = Box(self)
        self._slices = Slices(self)
        self.text.bind("<Map>", lambda _: self.draw_soon())
        for sequence in ("<Control-f>", "<Control-F>"):
            self.text.bind(sequence, self._find)

    @cached_property
    def find_bar(self) -> FindBar:
        """The bar that finds words in the file, made when it is first asked for."""
        return FindBar(self, self.text, lambda: self._rows)

    def menu_items(self) -> list[tuple[Item, bool]]:
        """Return what the menu of the right button holds; finding too."""
        return [*super().menu_items(), (None, True), (("Find…", "Ctrl+F", self._find), True)]

    def _find(self, _: object = None) -> str:
        return self.find_bar.open()

    @property
    def busy(self) -> bool:
        """Say whether something of the file is still to come, be it a colour."""
        return self._slices.busy

    def paint(self) -> None:
        """Take the colours of the palette."""
        super().paint()
        for name in COLOURS:
            self.text.tag_configure(name, foreground=self.look[name])
        self.text.tag_configure("flag", background=self.look["warn:14:main"])
        self.text.tag_configure("cut", font="Small", foreground=self.look["accent"])
        self.text.tag_raise("sel")
        self.draw_soon()

    def show(self, path: str, text: str, flags: Sequence[int] = ()) -> None:
        """Show a file from its start; lines whose numbers are in `flags` are marked.

        A text of more than `most_rows` rows is cut, says so, and never counts as seen.
        """
        self._path, self._rows = path, RowTable(text)
        self._flags = frozenset(islice(flags, MOST_FLAGS))
        self._flagged = self._wanted = 0
        self._slices.start(self._work())
        if "find_bar" in self.__dict__:
            self.find_bar.restart()

    def see_line(self, line: int) -> None:
        """Bring a line of the file onto the screen; one that is still to come, when it comes."""
        row = self._rows.first_row(line)
        self._wanted = line if row is None else 0
        if row is not None:
            self.text.see(f"{row + 1}.0")

    # -- bit by bit ------------------------------------------------------------------------

    def _work(self) -> Iterator[None]:
        yield from self._forget()
        yield from self._fill()
        if "find_bar" in self.__dict__:
            self.find_bar.refresh()
        yield from self._colour()

    def _forget(self) -> Iterator[None]:
        """Take the old text away from its end on: at once, a long one would take too long.

        Nobody may take it for the new one meanwhile.
        """
        step = FORGOTTEN_COLOURED if self._coloured else FORGOTTEN
        rows = int(self.text.index("end-1c").split(".")[0])
        if rows > step:
            self._cover.place(relwidth=1, relheight=1)
            self._cover.tkraise()
        while rows > step:
            rows -= step
            self.text.delete(f"{rows}.0", "end")
            yield
        self.text.delete("1.0", "end")
        self.text.yview_moveto(0)
        self._coloured = False
        self._cover.place_forget()

    def _fill(self) -> Iterator[None]:
        while not self._rows.whole and len(self._rows) < self._most_rows:
            self._insert(self._rows.take(SLICE, SLICE_ROWS))
            self._flag()
            if self._wanted:
                self.see_line(self._wanted)
            yield
        if not self._rows.whole:
            left = len(self._rows.text) - self._rows.read
            words = f"… {left:,} more characters in too many lines to be shown"
            self.text.insert("end", words, ("cut",))
        self.draw_soon()

    def _insert(self, pieces: Sequence[str]) -> None:
        parts: list[str | tuple[str, ...]] = []
        for at, piece in enumerate(pieces):
            if at:
                parts += ["\n", ("fold",)]
            parts += [showable(piece), ()]
        first, *others = parts
        self.text.insert("end", first, *others)  # type: ignore[arg-type] # text and tags in turn

    def _flag(self) -> None:
        """Mark those lines that have come whole since the last time."""
        lines = self._rows.lines - (not self._rows.whole)
        for line in range(self._flagged + 1, lines + 1):
            if line in self._flags:
                first, after = self._rows.first_row(line), self._rows.first_row(line + 1)
                end = "end" if after is None else f"{after + 1}.0"
                self.text.tag_add("flag", f"{(first or 0) + 1}.0", end)
        self._flagged = lines

    def _colour(self) -> Iterator[None]:
        waiting: dict[str, list[str]] = {}
        for number, (name, first, last) in enumerate(self._ranges(), 1):
            waiting.setdefault(name, []).extend((first, last))
            if number % BATCH == 0:
                self._add(waiting)
            yield
        self._add(waiting)

    def _ranges(self) -> Iterator[tuple[str, str, str]]:
        """Yield colours, and from where to where as Tk counts; "" without a place is a pause."""
        row, count = -1, 0
        for start, end, name in tokens(self._path, self._rows.text):
            (begun, front), (ended, back) = map(self._rows.place, (start, end))
            row, count = begun, count + bool(name) if begun == row else 0
            if name and count < MOST_RANGES:
                yield name, f"{row + 1}.{columns(front)}", f"{ended + 1}.{columns(back)}"
            else:
                yield "", "1.0", "1.0"

    def _add(self, waiting: dict[str, list[str]]) -> None:
        """Give the gathered ranges their colours."""
        waiting.pop("", None)
        for name, (first, *others) in waiting.items():
            self.text.tag_add(name, first, *others)
            self._coloured = True
        waiting.clear()

    # -- beside the text -------------------------------------------------------------------

    def _draw(self) -> None:
        """Draw the numbers, and see by the way whether the end is on the screen."""
        super()._draw()
        ended = self._rows.whole and self.text.winfo_viewable()
        if self._path and ended and self.text.dlineinfo("end-1c") is not None:
            self.on_end(self._path)

    def draw_row(self, number: int, top: Sequence[int], bottom: int, first: bool) -> None:
        """Draw a line's number."""
        line = self._rows.line_of(number - 1)
        if line:
            colour = "warn" if line in self._flags else "faint"
            self.write_beside(self.look.room(GUTTER - 16), top, str(line), colour, "ne")
