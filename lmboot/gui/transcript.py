"""What was said in a session: a text to be read, and who said it, beside the text.

Prefix, time and bar are drawn on a canvas of their own: no text of a guest can imitate or move
them, and what is copied is the text alone.
"""

from __future__ import annotations

import tkinter as tk
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from time import strftime
from typing import Any

from lmboot.gui.drawing import readable
from lmboot.gui.find import FindBar, columns
from lmboot.gui.lastline import Run
from lmboot.gui.look import Look
from lmboot.gui.menus import Item
from lmboot.gui.reader import Reader
from lmboot.gui.textstyle import Style, mixed_colour, tags
from lmboot.gui.widgets import Box, calling, nothing, showable

PANES = {"you": "accent", "ai": "violet", "rt": "ok", "rt!": "warn", "sys": "faint"}
MOST_LINES = 10_000
# A guest chooses how many colours Tk has to draw: it takes the square of those in a row, and
# some milliseconds to forget a thousand. The newest rows keep theirs.
MOST_IN_ROW, STEP, MOST_STEPS = 40, 500, 16
NAMED = (  # a terminal's 16 colours as this palette has them; black and white must be legible
    *("faint", "bad", "ok", "warn", "accent", "violet", "cyan", "muted"),
    *("faint", "bad", "ok", "warn", "accent", "violet", "cyan", "text"),
)
TINT = 16  # percent of a colour in a background: whatever is written on it stays legible
OWN = {"fold", "cut", "rule"}  # what is no colour
RULE = Style(mark="rule")
BAND = ("background", "lmargincolor", "rmargincolor")
GUTTER, PREFIX_END, BAR, MARGIN = 118, 106, 113, 10


class Line:
    """One row of the text: whose, since when, and whether it only goes on a folded line."""

    __slots__ = ("colours", "fold", "pane", "rule", "text", "time")

    def __init__(self, pane: str, time: str, fold: bool) -> None:
        """Begin an empty row."""
        self.pane, self.time, self.fold, self.text = pane, time, fold, ""
        self.colours = 0  # how often a tag begins in it
        self.rule = False


class _Texts:
    """The texts of a pane's rows, to be searched."""

    def __init__(self, pane: TranscriptPane) -> None:
        self._pane = pane

    @property
    def dropped(self) -> int:
        return self._pane.dropped

    def __len__(self) -> int:
        return len(self._pane.lines)

    def __getitem__(self, row: int) -> str:
        return self._pane.lines[row].text


class TranscriptPane(Reader):
    """The session's text with its source beside each line; the oldest lines fall out."""

    def __init__(
        self,
        parent: Box,
        *,
        most_lines: int = MOST_LINES,
        clock: Callable[[], str] = lambda: strftime("%H:%M:%S"),
    ) -> None:
        """`clock` gives the time that a line is marked with."""
        self.lines: list[Line] = []
        self.dropped = 0  # rows that fell out
        self._fresh = 0  # colours since the last step
        self._steps: deque[int] = deque()  # the row, of all that ever were, that each began with
        self._most, self._clock = most_lines, clock
        self._ended, self._folded = True, False  # how the last row ended
        self._chunk: list[str] = []
        self._chunk_tags: tuple[str, ...] = ()
        self._waiting: list[Any] = []  # text and tags in turn: the arguments of the next insert
        self._missed, self._at_end = 0, True
        self._colours: set[str] = set()
        # No padding: a rule's band would end before it. The margins of the tags are its place.
        super().__init__(parent, gutter=GUTTER, spacing1=parent.look.px(4), padx=0)
        self.on_cut: Callable[[int], None] = nothing  # a cut line's row was clicked: its number
        self.text.configure(spacing3=self.look.px(4))
        self._bind_own()
        self._chip = self.button("", self.jump_to_latest)
        self.find_bar = FindBar(self, self.text, lambda: _Texts(self), newest=True)
        self.scroll.on_move = self._moved

    def _bind_own(self) -> None:
        for sequence in ("<Control-Shift-C>", "<Control-Shift-c>"):
            self.text.bind(sequence, self._copy_lines)
        self.text.tag_bind("cut", "<ButtonRelease-1>", self._cut_clicked)
        for sequence, cursor in (("<Enter>", "hand2"), ("<Leave>", "")):
            self.text.tag_bind("cut", sequence, calling(self._point, cursor))

    def _point(self, cursor: str) -> None:
        self.text.configure(cursor=cursor)

    def _cut_clicked(self, event: tk.Event[tk.Text]) -> None:
        """Tell of a click, not of the end of a selection."""
        if not self.text.tag_ranges("sel"):
            self.on_cut(int(self.text.index(f"@{event.x},{event.y}").split(".")[0]))

    # -- writing ---------------------------------------------------------------------------

    def append(self, pane: str, runs: Sequence[Run]) -> None:
        """Add what one source wrote."""
        self.insert_batch([(pane, runs)])

    def insert_batch(self, batch: Iterable[tuple[str, Sequence[Run]]]) -> None:
        """Add what several sources wrote, in one insert unless a run takes something back.

        A source that goes on after another one wrote gets a line of its own.
        """
        follow, before = self._follows(), len(self.lines)
        for pane, runs in batch:
            if self.lines and self.lines[-1].pane != pane:
                self._ended, self._folded = True, False
            for run in runs:
                if run.back:
                    self._take_back(run.back)
                self._put(pane, showable(run.text), run.style)
        self._flush()
        added = len(self.lines) - before
        self._trim()
        self._fade()
        self._after_insert(follow, added)

    def rule(self, text: str) -> None:
        """Put a divider with some words between what was and what comes; it is a row of sys."""
        self.insert_batch([("sys", [Run(text.replace("\n", " ") + "\n", RULE)])])

    def clear(self) -> None:
        """Forget everything that is shown."""
        self.text.delete("1.0", "end")
        self.text.tag_remove("rule", "1.0", "end")  # which the last newline may have
        self.dropped += len(self.lines)
        self.lines.clear()
        self._steps.clear()
        self._ended, self._folded, self._missed = True, False, 0
        self._after_insert(True, 0)

    def _put(self, pane: str, text: str, style: Style) -> None:
        names = tags(style)
        for number, piece in enumerate(text.split("\n")):
            if number:
                if self._ended:
                    self._begin(pane)  # an empty line
                self._ended, self._folded = True, style.mark == "fold"
            if piece:
                if self._ended:
                    self._begin(pane)
                    self.lines[-1].rule = style.mark == "rule"
                self.lines[-1].text += piece
                self._add(piece, (pane, *self._affordable(names)))

    def _affordable(self, names: tuple[str, ...]) -> tuple[str, ...]:
        """Return a run's tags, or none where its row has too many of them already."""
        line, new = self.lines[-1], 0 if names == self._chunk_tags[1:] else len(names)
        if new and line.colours + new > MOST_IN_ROW:
            return tuple(name for name in names if name in OWN)
        line.colours += new
        self._fresh += new
        return names

    def _begin(self, pane: str) -> None:
        """Start a row. The newline before it is inserted now, not when the row above ended."""
        if self.lines:
            mark = "fold" * self._folded or "rule" * self.lines[-1].rule
            self._add("\n", (pane, mark) if mark else (pane,))
        self.lines.append(Line(pane, self._clock(), self._folded))
        self._ended = self._folded = False

    def _add(self, text: str, mine: tuple[str, ...]) -> None:
        if mine != self._chunk_tags:
            self._end_chunk()
            self._chunk_tags = mine
            for tag in mine:
                self._know(tag)
        self._chunk.append(text)

    def _end_chunk(self) -> None:
        if self._chunk:
            self._waiting += ["".join(self._chunk), self._chunk_tags]
            self._chunk.clear()

    def _flush(self) -> None:
        self._end_chunk()
        if self._waiting:
            first, *others = self._waiting
            self.text.insert("end", first, *others)
            self._waiting.clear()
            self._rule_end()

    def _rule_end(self) -> None:
        """Let the last row's rule reach over the newline that Tk keeps after every text."""
        if "rule" in self._colours:
            change = self.text.tag_add if self.lines[-1].rule else self.text.tag_remove
            change("rule", "end-1c", "end")

    def _take_back(self, count: int) -> None:
        """Remove characters from the last row; it never reaches further back."""
        self._flush()
        if self.lines and not self._ended:
            line = self.lines[-1]
            kept = line.text[: max(0, len(line.text) - count)]
            line.colours = line.colours * len(kept) // max(1, len(line.text))
            self.text.delete(f"{len(self.lines)}.{columns(kept)}", "end-1c")
            line.text = kept

    def _trim(self) -> None:
        """Drop the oldest rows, a hundredth of what is kept at once: single cuts are dear."""
        surplus = len(self.lines) - self._most
        if surplus > 0:
            cut = min(len(self.lines) - 1, surplus + self._most // 100)
            self.text.delete("1.0", f"{cut + 1}.0")
            del self.lines[:cut]
            self.dropped += cut

    def _fade(self) -> None:
        """Take the colours from what is far above."""
        if self._fresh < STEP:
            return
        self._fresh = 0
        self._steps.append(self.dropped + len(self.lines))
        if len(self._steps) > MOST_STEPS:
            row = self._steps.popleft() - self.dropped
            for name in self._colours - OWN if row > 0 else ():
                self.text.tag_remove(name, "1.0", f"{row + 1}.0")

    # -- following the end -----------------------------------------------------------------

    def _follows(self) -> bool:
        """Say whether the view is to stay at the end: it is there, and nothing is selected."""
        return self._is_at_end() and not self.text.tag_ranges("sel")

    def _is_at_end(self) -> bool:
        if self.text.winfo_viewable():
            self._at_end = self.text.dlineinfo("end-1c") is not None
        return self._at_end

    def _after_insert(self, follow: bool, added: int) -> None:
        if follow:
            self.text.see("end-1c")
            self._at_end = True
        self._missed = 0 if follow else self._missed + added
        self._show_chip()
        self.draw_soon()

    def _show_chip(self) -> None:
        if self._missed:
            self._chip.configure(text=f"↓ Jump to latest ({self._missed})")
            gap = self.look.px(16)
            self._chip.place(relx=1, rely=1, x=-gap, y=-gap, anchor="se")
        else:
            self._chip.place_forget()

    def jump_to_latest(self) -> None:
        """Show the newest line and follow what comes."""
        self.text.tag_remove("sel", "1.0", "end")
        self._after_insert(True, 0)
        self.text.focus_set()

    def _moved(self) -> None:
        if self._missed and self._is_at_end():
            self._missed = 0
            self._show_chip()
        self.draw_soon()

    # -- copying ---------------------------------------------------------------------------

    def selected_lines(self) -> str:
        """Return the whole lines that are selected, with time and prefix."""
        if not self.text.tag_ranges("sel"):
            return ""
        ends = (self.text.index(f"sel.{end}").split(".")[0] for end in ("first", "last"))
        first, last = map(int, ends)
        return unfolded(self.lines[first - 1 : last], prefixes=True)

    def menu_items(self) -> list[tuple[Item, bool]]:
        """Return what the menu of the right button holds; copying with the sources too."""
        copy, *others = super().menu_items()
        lines = ("Copy with prefixes", "Ctrl+Shift+C", self._copy_lines), copy[1]
        return [
            copy,
            lines,
            *others,
            (None, True),
            (("Find…", "Ctrl+F", self.find_bar.open), True),
        ]

    def _copy_lines(self, _: object = None) -> str:
        self.copy(self.selected_lines())
        return "break"

    def whole_text(self, *, prefixes: bool = False) -> str:
        """Return all that is kept, without the folds."""
        return unfolded(self.lines, prefixes=prefixes)

    # -- looks -----------------------------------------------------------------------------

    def paint(self) -> None:
        """Take the colours of the palette."""
        super().paint()
        look, side = self.look, self.look.px(MARGIN)
        margins: dict[str, Any] = {"lmargin1": side, "lmargin2": side, "rmargin": side}
        self.text.configure(background=look["main"])
        for pane in PANES:
            font = "Mono" if pane.startswith("rt") else "Text"
            colour = {"rt!": "warn", "sys": "muted"}.get(pane, "text")
            self.text.tag_configure(pane, font=font, foreground=look[colour], **margins)
        for tag in self._colours:
            self._paint_tag(tag)
        self.text.tag_raise("sel")
        self.draw_soon()

    def _know(self, tag: str) -> None:
        """Make a tag when it is first used; there are at most some 140."""
        if tag not in self._colours and tag not in PANES:
            self._colours.add(tag)
            self._paint_tag(tag)
            for above in ("found", "found-now", "sel"):
                self.text.tag_raise(above)

    def _paint_tag(self, tag: str) -> None:
        if tag == "bold":
            self.text.tag_configure(tag, font="MonoStrong")
        elif tag == "underline":
            self.text.tag_configure(tag, underline=True)
        elif tag == "cut":
            self.text.tag_configure(tag, font="Small", foreground=self.look["accent"])
        elif tag == "rule":
            band: dict[str, Any] = dict.fromkeys(BAND, self.look["panel"])
            self.text.tag_configure(tag, font="Small", foreground=self.look["faint"], **band)
        elif tag.startswith("fg"):
            self.text.tag_configure(tag, foreground=foreground(self.look, tag[2:]))
        elif tag.startswith("bg"):
            self.text.tag_configure(tag, background=background(self.look, tag[2:]))

    def draw_row(self, number: int, top: Sequence[int], bottom: int, first: bool) -> None:
        """Draw the source of one row; its time too, unless the row above has the same."""
        if number > len(self.lines):
            return
        look, line = self.look, self.lines[number - 1]
        room, colour = look.room, look[PANES[line.pane]]
        if line.rule:
            wide = self.gutter.winfo_width()
            self.gutter.create_rectangle(0, top[1], wide, bottom, fill=look["panel"], outline="")
        gap = 0 if number < len(self.lines) and self.lines[number].fold else look.px(1)
        left = room(BAR)
        self.gutter.create_rectangle(
            *(left, top[1] + gap, left + look.px(3), bottom - gap), fill=colour, outline=""
        )
        if line.fold:
            return
        self.write_beside(room(PREFIX_END), top, line.pane, PANES[line.pane], "ne")
        above = self.lines[number - 2] if number > 1 and not first else None
        if above is None or above.time != line.time or above.pane != line.pane:
            self.write_beside(room(16), top, line.time, "faint")


def unfolded(lines: Sequence[Line], *, prefixes: bool = False) -> str:
    """Return rows as the lines they are of."""
    pieces: list[str] = []
    for line in lines:
        if not line.fold:
            pieces += ["\n" if pieces else "", f"{line.time} {line.pane:<3} " * prefixes]
        pieces.append(line.text)
    return "".join(pieces)


def foreground(look: Look, colour: str) -> str:
    """Return what a tag `fgN` is drawn in. "-back", of inverse text, stays the text's colour."""
    if colour == "-back":
        return look["text"]
    if int(colour) < len(NAMED):
        return look[NAMED[int(colour)]]
    return readable(mixed_colour(int(colour)), on=look["main"], towards=look["text"])


def background(look: Look, colour: str) -> str:
    """Return what a tag `bgN` is drawn in: a tint, so that nothing can be written invisibly."""
    front = "text" if colour == "-fore" else NAMED[int(colour)] if int(colour) < len(NAMED) else ""
    return look[f"{front}:{TINT}:main"] if front else look.tint(mixed_colour(int(colour)), TINT)
