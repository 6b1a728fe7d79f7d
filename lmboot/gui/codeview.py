"""Files to be read: line numbers beside the text, colours, and no column out of sight."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from lmboot.gui.find import columns
from lmboot.gui.fold import fold
from lmboot.gui.reader import Reader
from lmboot.gui.widgets import Box, nothing, showable

GUTTER = 62
MOST_COLOURED = 64 << 10  # characters; more would take longer than a click should
LEXERS = {".py": "PythonLexer", ".json": "JsonLexer", ".toml": "TOMLLexer", ".ini": "IniLexer"}
KINDS = (  # what a token's type begins with, and its colour; the first that fits counts
    ("Token.Comment", "faint"),
    ("Token.Literal.String.Doc", "faint"),
    ("Token.Literal.String", "ok"),
    ("Token.Literal.Number", "warn"),
    ("Token.Keyword", "violet"),
    ("Token.Operator.Word", "violet"),
    ("Token.Name.Function", "accent"),
    ("Token.Name.Class", "accent"),
    ("Token.Name.Decorator", "accent"),
    ("Token.Name.Tag", "accent"),
    ("Token.Name.Builtin", "cyan"),
)
COLOURS = ("faint", "ok", "warn", "violet", "accent", "cyan")


class Row(NamedTuple):
    """One row on the screen: where its text begins in the file, and the line's number."""

    start: int
    text: str
    number: int  # 0 on the rows that only go on a folded line


class CodeView(Reader):
    """One file. Lines wrap: what stands far to the right is not out of sight."""

    def __init__(self, parent: Box) -> None:
        self._rows: list[Row] = []
        self._flags: frozenset[int] = frozenset()
        self._path = ""
        self.on_end: Callable[[str], None] = nothing  # the file's last line is on the screen
        super().__init__(parent, gutter=GUTTER, wrap="char")
        self.text.bind("<Map>", lambda _: self.draw_soon())

    def paint(self) -> None:
        """Take the colours of the palette."""
        super().paint()
        for name in COLOURS:
            self.text.tag_configure(name, foreground=self.look[name])
        self.text.tag_configure("flag", background=self.look["warn:14:main"])
        self.text.tag_raise("sel")
        self.draw_soon()

    def show(self, path: str, text: str, flags: Sequence[int] = ()) -> None:
        """Show a file from its start; lines whose numbers are in `flags` are marked."""
        self._path, self._flags = path, frozenset(flags)
        self._rows = list(_rows(showable(text)))
        parts: list[str | tuple[str, ...]] = []
        for at, row in enumerate(self._rows):
            if at:
                parts += ["\n", () if row.number else ("fold",)]
            parts += [row.text, ()]
        self.text.delete("1.0", "end")
        first, *others = parts
        self.text.insert("end", first, *others)  # type: ignore[arg-type] # text and tags in turn
        self._colour(path, text)
        self._flag()
        self.text.yview_moveto(0)
        self.draw_soon()

    def see_line(self, line: int) -> None:
        """Bring a line of the file onto the screen."""
        for at, row in enumerate(self._rows, 1):
            if row.number == line:
                self.text.see(f"{at}.0")
                return

    def _draw(self) -> None:
        """Draw the numbers, and see by the way whether the end is on the screen."""
        super()._draw()
        ended = self.text.winfo_viewable() and self.text.dlineinfo("end-1c") is not None
        if self._path and ended:
            self.on_end(self._path)

    def draw_row(self, number: int, top: Sequence[int], bottom: int, first: bool) -> None:
        """Draw a line's number."""
        if number <= len(self._rows) and self._rows[number - 1].number:
            line = self._rows[number - 1].number
            self.gutter.create_text(
                self.look.px(GUTTER - 16),
                top[1] + top[3] / 2,
                text=str(line),
                anchor="e",
                font="MonoSmall",
                fill=self.look["warn" if line in self._flags else "faint"],
            )

    def _flag(self) -> None:
        line = 0
        for at, row in enumerate(self._rows, 1):
            line = row.number or line
            if line in self._flags:
                self.text.tag_add("flag", f"{at}.0", f"{at + 1}.0")

    def _colour(self, path: str, text: str) -> None:
        ranges: dict[str, list[str]] = {name: [] for name in COLOURS}
        for start, end, name in _tokens(path, text):
            ranges[name] += self._places(start, end)
        for name, places in ranges.items():
            if places:
                self.text.tag_add(name, places[0], *places[1:])

    def _places(self, start: int, end: int) -> Iterator[str]:
        """Yield from and to, as Tk counts, of a part of the file; one pair for each row."""
        at = self._row_of(start)
        while at < len(self._rows) and self._rows[at].start < end:
            row = self._rows[at]
            left, right = max(0, start - row.start), min(len(row.text), end - row.start)
            if left < right:
                yield f"{at + 1}.{columns(row.text[:left])}"
                yield f"{at + 1}.{columns(row.text[:right])}"
            at += 1

    def _row_of(self, offset: int) -> int:
        low, high = 0, len(self._rows)
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if self._rows[middle].start <= offset else (low, middle)
        return low


def _rows(text: str) -> Iterator[Row]:
    start, number, row_text, fresh = 0, 1, "", True
    for piece in fold(text):
        if piece.shown != "\n":
            row_text = piece.shown
            continue
        yield Row(start, row_text, number if fresh else 0)
        start += len(row_text) + len(piece.raw)
        fresh = bool(piece.raw)
        number += fresh
        row_text = ""
    yield Row(start, row_text, number if fresh else 0)


def _tokens(path: str, text: str) -> Iterator[tuple[int, int, str]]:
    """Yield (from, to, colour) of what has one; a kind of file that is not known has none."""
    name = next((name for suffix, name in LEXERS.items() if path.endswith(suffix)), "")
    if not name or len(text) > MOST_COLOURED:
        return
    from pygments import lexers  # dear, and nobody needs it before a review

    lexer = getattr(lexers, name)()
    for start, kind, value in lexer.get_tokens_unprocessed(text):
        colour = next((colour for begin, colour in KINDS if str(kind).startswith(begin)), "")
        if colour:
            yield start, start + len(value), colour
