"""A text to be read: selected and copied, with room beside it for what is no part of it."""

from __future__ import annotations

import re
import tkinter as tk
from collections.abc import Sequence
from typing import Any, Literal

from lmboot.gui import fonts
from lmboot.gui.menus import Item, Popup
from lmboot.gui.styles import RING
from lmboot.gui.widgets import Box, Slim

READING = re.compile(
    r"<(?:(?:Double-|Triple-|Shift-|Control-)*(?:Button-1|Key-(?:Prior|Next|Home|End))|B1-\w+|ButtonRelease-1"
    r"|(?:Shift-)?(?:MouseWheel|Button-[4-7])|<(?:Copy|SelectAll|SelectNone|ToggleSelection"
    r"|(?:Prev|Next|Select|Line)\w+)>)>"
)


class Reader(Box):
    """A text to be read: it can be selected and copied, never typed into."""

    def __init__(self, parent: Box, *, gutter: float = 0, **options: Any) -> None:
        super().__init__(parent)
        look, ring = self.look, self.look.px(RING)
        settings: dict[str, Any] = {
            **{"font": "Mono", "relief": "flat", "borderwidth": 0, "height": 1, "width": 1},
            **{
                "wrap": "word",
                "highlightthickness": ring,
                "padx": look.px(10),
                "pady": look.px(8),
            },
            **{"spacing1": look.px(2), "spacing3": look.px(3), "insertwidth": 0, "undo": False},
        }
        self.text = tk.Text(self, **(settings | options))
        self.scroll = Slim(self, self.text.yview)
        self.text.configure(yscrollcommand=self.scroll.moved)
        self._gutter_width = gutter
        self.gutter = tk.Canvas(self, height=1, highlightthickness=0)
        if gutter:
            self.gutter.pack(side="left", fill="y")
        self.text.pack(side="left", fill="both", expand=True)
        self._drawing = ""
        self._read_only()
        self._popup: Popup | None = None
        self._bind_keys()
        if gutter:
            self.text.bind("<Configure>", lambda _: self.draw_soon())
            self.scroll.on_move = self.draw_soon
            self.bind("<Destroy>", self._stop_drawing, add=True)
        look.follow(self, self.paint)

    def _bind_keys(self) -> None:
        self.text.bind("<<Copy>>", self._copy)
        for sequence in ("<Control-a>", "<Control-A>"):  # of Tk's own the start of the line
            self.text.bind(sequence, self.select_all)
        mac = self.tk.call("tk", "windowingsystem") == "aqua"
        for sequence in ("<Button-2>", "<Control-Button-1>") if mac else ("<Button-3>",):
            self.text.bind(sequence, lambda event: self._pop_up(event.x_root, event.y_root))
        for sequence in ("<Menu>", "<Shift-F10>") if not mac else ():
            self.text.bind(sequence, lambda _: self._pop_up_here())

    def select_all(self, _: object = None) -> str:
        """Select the whole text."""
        self.text.tag_add("sel", "1.0", "end")
        return "break"

    def menu_items(self) -> list[tuple[Item, bool]]:
        """Return what the menu of the right button holds, and whether it can be done now."""
        chosen = bool(self.text.tag_ranges("sel"))
        return [
            (("Copy", "Ctrl+C", self.copy), chosen),
            (("Select all", "", self.select_all), True),
        ]

    def _pop_up(self, x: int, y: int) -> str:
        self.text.focus_set()
        if self._popup is None:
            self._popup = Popup(self, self.look)
        self._popup.show(self.menu_items(), x, y)
        return "break"

    def _pop_up_here(self) -> str:
        """Show the menu near the text's cursor, for the keyboard."""
        left, top, *_ = self.text.bbox("insert") or (0, 0)
        return self._pop_up(self.text.winfo_rootx() + left, self.text.winfo_rooty() + top)

    def paint(self) -> None:
        """Take the colours of the palette; overridden by what has more of them."""
        look = self.look
        back = look[self.surface]
        self.text.configure(
            background=back,
            foreground=look["text"],
            highlightbackground=back,
            highlightcolor=look["accent"],
            selectbackground=look["accent:28:main"],
            inactiveselectbackground=look["accent:28:main"],
            selectforeground=look["text"],
        )
        self.gutter.configure(background=back, width=look.room(self._gutter_width))

    def copy_text(self, start: str = "sel.first", end: str = "sel.last") -> str:
        """Return what is selected, or a part of the text, without the newlines of folds."""
        if start == "sel.first" and not self.text.tag_ranges("sel"):
            return ""
        pieces, at, end = [], self.text.index(start), self.text.index(end)
        if self.text.compare(end, "==", "end"):
            end = "end-1c"  # the newline that Tk puts after every text
        while found := self.text.tag_nextrange("fold", at, end):
            pieces.append(self.text.get(at, found[0]))
            at = found[1]
        return "".join(pieces) + self.text.get(at, end)

    def copy(self, text: str | None = None) -> bool:
        """Put what is selected on the clipboard; say whether there was anything."""
        chosen = self.copy_text() if text is None else text
        if chosen:
            self.clipboard_clear()
            self.clipboard_append(chosen)
        return bool(chosen)

    def _copy(self, _: tk.Event[tk.Text]) -> str:
        self.copy()
        return "break"

    def draw_soon(self) -> None:
        """Have the gutter drawn when Tk is idle, once for however many changes."""
        if not self._drawing:
            self._drawing = self.after_idle(self._draw)

    def _stop_drawing(self, event: tk.Event[tk.Misc]) -> None:
        if event.widget is self and self._drawing:
            self.after_cancel(self._drawing)

    def _draw(self) -> None:
        """Draw the gutter beside each row that is on the screen."""
        self._drawing = ""
        self.gutter.delete("all")
        count = int(self.text.index("end-1c").split(".")[0])
        number = int(self.text.index("@0,0").split(".")[0])
        top: Sequence[int] | None = self.text.dlineinfo("@0,0")
        first = True
        while top and number <= count:
            below = self.text.dlineinfo(f"{number + 1}.0") if number < count else None
            bottom = below[1] if below else self._bottom_of(number)
            self.draw_row(number, top, bottom, first)
            top, number, first = below, number + 1, False
        self._cut_gutter()

    def _cut_gutter(self) -> None:
        """Let a part of a row have the same part of what stands beside it."""
        gap = sum(int(str(self.text[side])) for side in ("highlightthickness", "pady"))
        wide, high = self.gutter.winfo_width(), self.gutter.winfo_height()
        for top in (0, high - gap):
            self.gutter.create_rectangle(
                *(0, top, wide, top + gap), fill=self.look[self.surface], outline=""
            )

    def _bottom_of(self, number: int) -> int:
        """Return where a row ends whose successor is not on the screen."""
        last = self.text.dlineinfo(f"{number}.end")
        return last[1] + last[3] if last else self.text.winfo_height()

    def draw_row(self, number: int, top: Sequence[int], bottom: int, first: bool) -> None:
        """Draw beside one row, `first` on the screen; overridden by what has a gutter."""

    def write_beside(
        self,
        left: int,
        top: Sequence[int],
        words: str,
        colour: str,
        anchor: Literal["nw", "ne"] = "nw",
    ) -> None:
        """Write into the gutter on a row's baseline: half a row's height is not its own."""
        high = top[1] + top[4] - fonts.ascent(self, "MonoSmall")
        self.gutter.create_text(
            left, high, text=words, anchor=anchor, font="MonoSmall", fill=self.look[colour]
        )

    def _read_only(self) -> None:
        """Keep those bindings of Text that move and select: `disabled` would stop copying."""
        for sequence in self.text.bind_class("Text"):
            if READING.fullmatch(sequence):
                script = self.text.tk.call("bind", "Text", sequence)
                self.text.tk.call("bind", "LmbootReader", sequence, script)
        tags = ["LmbootReader" if tag == "Text" else tag for tag in self.text.bindtags()]
        self.text.bindtags(tags)
