"""The building blocks of every pane: boxes that know their surface, and scrolling."""

from __future__ import annotations

import re
import tkinter as tk
from bisect import bisect_right
from collections.abc import Callable
from functools import partial
from itertools import count
from tkinter import ttk
from typing import Any, Literal

from lmboot.gui.look import Look
from lmboot.gui.styles import RING, popdown

Side = Literal["left", "right", "top", "bottom"]
Action = tuple[str, Callable[[], None], bool]  # what a button says, does, and whether it can

MOST_UNSEEN = 200  # characters of a text whose room is not known yet

_NUMBERS = count()


def nothing(*_: object) -> None:
    """Stand in for a callback that nobody has set yet."""


def calling(action: Callable[..., str | None], *values: object) -> Callable[[object], str | None]:
    """Return what takes an event and calls an action with these values instead of it."""
    return lambda _event: action(*values)


def showable(text: str) -> str:
    """Return what Tk shows whole: after a NUL it drops the rest, a lone surrogate raises.

    What is shown was made harmless before; this is the net under it, and it loses no character.
    """
    text = text.replace("\0", "\u2400")
    return re.sub("[\ud800-\udfff]", "\ufffd", text)


def fitting(widget: tk.Misc, text: str, room: int, font: str = "Text") -> str:
    """Return as much of a text as so many pixels take; what is cut ends in an ellipsis."""
    measure = partial(widget.tk.call, "font", "measure", font, "-displayof", widget)
    if int(measure(text)) <= room:
        return text
    kept = bisect_right(range(len(text)), room, key=lambda end: int(measure(text[:end] + "…")))
    return text[: max(0, kept - 1)] + "…"


class Value:
    """A variable of Tk's, by its name, as long as its owner is there.

    tkinter's own objects for them call Tk when Python collects them, in whatever thread that is.
    """

    def __init__(self, owner: tk.Misc, value: object) -> None:
        self._owner, self.name = owner, f"lmboot{next(_NUMBERS)}"
        self.set(value)
        owner.bind("<Destroy>", self._forget, add=True)

    def option(self, name: str = "variable") -> dict[str, Any]:
        """Return the option that ties a widget to it; types know tkinter's objects only."""
        return {name: self.name}

    def get(self) -> str:
        """Return the value as text; a box that is ticked is "1"."""
        return str(self._owner.getvar(self.name))

    def set(self, value: object) -> None:
        """Change it, on the screen too."""
        self._owner.setvar(self.name, str(value))

    def watch(self, changed: Callable[[], object]) -> None:
        """Have a function called after every change."""
        call = self._owner.register(lambda *_: changed())
        self._owner.tk.call("trace", "add", "variable", self.name, "write", call)

    def _forget(self, event: tk.Event[tk.Misc]) -> None:
        if event.widget is self._owner:
            self._owner.tk.call("unset", self.name)


class Box(ttk.Frame):
    """A frame that knows the surface it shows, so that its children can match it."""

    def __init__(
        self,
        parent: Box | None,
        surface: str = "",
        *,
        look: Look | None = None,
        card: str = "",
        master: tk.Misc | None = None,
        **options: Any,
    ) -> None:
        """Make a box in another one; one without a parent stands in `master`, or in the window."""
        under: str = parent.surface if parent else "main"
        own = card.removesuffix("Card").lower() if card.endswith("Card") else under
        self.surface: str = surface or own
        self.look = look or _look_of(parent)
        style = f"{under}.{card}.TFrame" if card else f"{self.surface}.TFrame"
        super().__init__(parent or master or self.look.root, style=style, **options)

    def label(
        self,
        text: str = "",
        colour: str = "text",
        font: str = "Text",
        *,
        wrap: bool = False,
        **options: Any,
    ) -> ttk.Label:
        """Return a label that is not placed yet; a wrapped one follows the width it gets."""
        style = self.look.label_style(colour, font, self.surface)
        label = ttk.Label(self, text=text, style=style, compound="left", **options)
        if wrap:
            label.bind("<Configure>", lambda event: _wrap(label, event.width))
        return label

    def recolour(self, label: ttk.Label, colour: str, font: str = "Text") -> None:
        """Give one of this box's labels another colour."""
        label.configure(style=self.look.label_style(colour, font, self.surface))

    def button(self, text: str, command: Callable[[], object], kind: str = "Plain") -> ttk.Button:
        """Return a button that is not placed yet; one screen has at most one "Accent"."""
        style = f"{self.surface}.{kind}.TButton"
        button = ttk.Button(self, text=text, style=style, command=command)
        button.bind("<Return>", lambda _: button.invoke())
        button.bind("<Control-Return>", nothing)  # else Tk takes it for the one above
        return button

    def combobox(self, **options: Any) -> ttk.Combobox:
        """Return a field with a list, not placed yet; the list follows the palette too."""
        box = ttk.Combobox(self, style=f"{self.surface}.TCombobox", **options)
        self.look.follow(box, lambda: popdown(self.look, box))
        return box

    def hairline(self, side: Side) -> None:
        """Pack a line along one side."""
        one = max(1, self.look.px(1))
        line = ttk.Frame(self, style="Line.TFrame", width=one, height=one)
        line.pack(side=side, fill="x" if side in ("top", "bottom") else "y")

    def bar(
        self,
        side: Side,
        surface: str = "panel",
        *,
        pad: tuple[float, ...] = (16, 8),
        width: float = 0,
    ) -> Box:
        """Pack a panel along one side, a hairline after it; a width that is given is kept."""
        box = Box(self, surface, padding=self.look.pads(*pad), width=self.look.px(width))
        box.pack(side=side, fill="x" if side in ("top", "bottom") else "y")
        box.pack_propagate(not width)
        self.hairline(side)
        return box

    def caption(self, text: str, *, before: float = 0, after: float = 4) -> ttk.Label:
        """Pack the small heading of a group."""
        label = self.label(text, "muted", "Caption", wrap=True)
        label.pack(fill="x", pady=self.look.pad(before, after))
        return label

    def fact(self, name: str, value: str, *, font: str = "Text", width: int = 9) -> None:
        """Pack a line "name  value"."""
        row = Box(self)
        row.pack(fill="x", pady=self.look.px(2))
        row.label(name, "faint", width=width).pack(side="left", anchor="n")
        row.label(value, "text", font, wrap=True).pack(side="left", fill="x", expand=True)

    def tick(self, words: str) -> None:
        """Fill this box with a tick and what it stands for."""
        mark = self.label(image=self.look.check())
        mark.pack(side="left", anchor="n", pady=self.look.pad(3, 0))
        label = self.label(words, wrap=True)
        label.pack(side="left", fill="x", expand=True, padx=self.look.pad(8, 0))

    def clear(self) -> None:
        """Remove everything inside."""
        for child in self.winfo_children():
            child.destroy()


def _wrap(label: ttk.Label, width: int) -> None:
    """Wrap a label at its width. A pixel up or down changes nothing: its layout may answer so."""
    if not width - 4 <= int(str(label.cget("wraplength") or 0)) <= width:
        label.configure(wraplength=width - 2)


class CutLabel(ttk.Label):
    """A text of strangers in one or more lines; what has no room there is an ellipsis.

    It asks for no width of its own: place it where it is given some.
    """

    def __init__(
        self, parent: Box, colour: str = "text", *, lines: int = 1, font: str = "Text"
    ) -> None:
        style = parent.look.label_style(colour, font, parent.surface)
        super().__init__(parent, style=style, width=1)
        self._said, self._lines, self._font = "", lines, font
        self.bind("<Configure>", lambda event: self._fit(event.width))
        parent.look.follow(self, lambda: self._fit(self.winfo_width()))

    def say(self, text: str) -> None:
        """Show a text."""
        self._said = text
        self._fit(self.winfo_width())

    def _fit(self, width: int) -> None:
        if width <= 1:  # not on the screen yet
            self.configure(text=self._said[:MOST_UNSEEN])
            return
        text = fitting(self, self._said, self._lines * (width - 4), self._font)
        self.configure(text=text, wraplength=width - 2 if self._lines > 1 else 0)


def _look_of(parent: Box | None) -> Look:
    if parent is None:
        raise TypeError("a box without a parent needs a look")
    return parent.look


class Slim(ttk.Scrollbar):
    """A scroll bar that lies over the edge of what it scrolls, only when there is more to see."""

    def __init__(self, parent: Box, command: Callable[..., Any]) -> None:
        style = f"{parent.surface}.Vertical.TScrollbar"
        super().__init__(parent, command=command, style=style, takefocus=False)
        self.on_move: Callable[[], None] = nothing
        self._inset, self._ring = parent.look.px(3), parent.look.px(RING)

    def moved(self, first: str | float, last: str | float) -> None:
        """Take what `yscrollcommand` reports."""
        self.set(first, last)
        if float(last) - float(first) < 1:
            ring = self._ring  # of the text beneath, which stays in sight
            self.place(relx=1, x=-self._inset, y=ring, relheight=1, height=-2 * ring, anchor="ne")
        else:
            self.place_forget()
        self.on_move()


class Scroller(Box):
    """A column that scrolls when the window is too small for it; put things into `inside`.

    What there may be thousands of belongs into a text: X ends a program whose windows are higher
    than some 30,000 pixels.

    Without a width it takes what it is given; centred, `inside` stands in the middle.
    """

    def __init__(
        self,
        parent: Box,
        surface: str = "",
        *,
        pad: tuple[float, ...] = (20, 12),
        width: float = 0,
        centred: bool = False,
    ) -> None:
        super().__init__(parent, surface)
        look, self._centred, self._width = self.look, centred, width
        self._most = 0
        self._canvas = tk.Canvas(self, height=1, highlightthickness=0)
        self._bar = Slim(self, self._canvas.yview)
        step = look.px(40)
        self._canvas.configure(yscrollcommand=self._bar.moved, yscrollincrement=step)
        self._canvas.pack(fill="both", expand=True)
        self.inside = Box(self, padding=look.pads(*pad))
        self._window = self._canvas.create_window(0, 0, window=self.inside, anchor="nw")
        self._bar.tkraise()
        look.follow(self._canvas, self._paint)
        self._canvas.bind("<Configure>", lambda _: self._measure())
        self.inside.bind("<Configure>", lambda _: self._measure())
        for sequence, steps in (("<Button-4>", -1), ("<Button-5>", 1)):
            self.bind_class(str(self), sequence, calling(self._scroll, steps))
        wheel = "<MouseWheel>"
        self.bind_class(str(self), wheel, lambda e: self._scroll(-1 if e.delta > 0 else 1))
        self.bind_class(str(self), "<<TraverseIn>>", lambda event: self.see(event.widget))

    def _paint(self) -> None:
        wide = self.look.room(self._width) or 1
        self._canvas.configure(background=self.look[self.surface], width=wide)

    def see(self, widget: tk.Misc) -> None:
        """Scroll until a widget inside is on the screen, as when Tab goes to it."""
        top = widget.winfo_rooty() - self.inside.winfo_rooty()
        low = top + widget.winfo_height()
        first, high = int(self._canvas.canvasy(0)), self._canvas.winfo_height()
        room = self.look.px(24)  # half a step and more: Tk rounds to whole ones
        if not first <= top <= low <= first + high:
            wanted = top - room if top < first else low + room - high
            self._canvas.yview_moveto(max(0, wanted) / max(self.inside.winfo_reqheight(), high))

    def page(self, pages: int) -> None:
        """Scroll by pages, down or (negative) up."""
        if self.inside.winfo_reqheight() > self._canvas.winfo_height():
            self._canvas.yview_scroll(pages, "pages")

    def set_width(self, width: float) -> None:
        """Take another width, given for scale 1; it zooms."""
        self._width = width
        self._paint()

    def ask(self, most: int) -> None:
        """Ask for the height of what is inside, up to so many pixels; else it asks for none."""
        self._most = max(1, most)
        self._measure()

    def _measure(self) -> None:
        """Fit `inside` to the canvas, and let the wheel scroll over everything in it."""
        wide, high = self._canvas.winfo_width(), self._canvas.winfo_height()
        need = self.inside.winfo_reqheight()
        if self._most:
            self._canvas.configure(height=min(need, self._most))
        left = top = 0
        if self._centred:
            width = min(wide, self.look.room(self._width))
            left, top = (wide - width) // 2, max(0, round((high - need) * 0.46))
            wide = width
        self._canvas.itemconfigure(self._window, width=wide)
        self._canvas.coords(self._window, left, top)
        self._canvas.configure(scrollregion=(0, 0, 1, max(need, high)))
        self._listen()

    def _listen(self) -> None:
        waiting: list[tk.Misc] = [self._canvas, self.inside]
        while waiting:
            widget = waiting.pop()
            tags = widget.bindtags()
            if str(self) not in tags[1:]:
                widget.bindtags((tags[0], str(self), *tags[1:]))
            waiting += widget.winfo_children()

    def _scroll(self, steps: int) -> None:
        if self.inside.winfo_reqheight() > self._canvas.winfo_height():
            self._canvas.yview_scroll(steps, "units")


class Flow(Box):
    """Things side by side that go on below where there is no room, like words."""

    def __init__(self, parent: Box, *, gap: float = 8, right: bool = False) -> None:
        super().__init__(parent)
        self._gap, self._right = self.look.px(gap), right
        self._things: list[tk.Widget] = []
        self.bind("<Configure>", lambda event: self._arrange(event.width))

    def add(self, thing: tk.Widget) -> None:
        """Add a child of this box."""
        self._things.append(thing)
        thing.bind("<Configure>", lambda _: self._measure(), add=True)
        self._measure()

    def _measure(self) -> None:
        """Ask for the room of one row; what has another size now may have to move."""
        wide = sum(each.winfo_reqwidth() + self._gap for each in self._things) - self._gap
        self.configure(width=wide)
        if self.winfo_width() > 1:
            self._arrange(self.winfo_width())
        else:
            self.configure(height=max(each.winfo_reqheight() for each in self._things))

    def clear(self) -> None:
        """Remove everything inside."""
        super().clear()
        self._things.clear()
        self.configure(width=1, height=1)

    def _arrange(self, width: int) -> None:
        rows: list[list[tk.Widget]] = [[]]
        left = width
        for thing in self._things:
            need = thing.winfo_reqwidth()
            if rows[-1] and need > left:
                rows.append([])
                left = width
            rows[-1].append(thing)
            left -= need + self._gap
        top = 0
        for row in rows:
            top += self._place(row, width, top) + self._gap
        if self.winfo_reqheight() != top - self._gap > 0:
            self.configure(height=top - self._gap)

    def _place(self, row: list[tk.Widget], width: int, top: int) -> int:
        """Place one row and return its height."""
        whole = sum(thing.winfo_reqwidth() + self._gap for thing in row) - self._gap
        x = max(0, width - whole) if self._right else 0
        high = max((thing.winfo_reqheight() for thing in row), default=0)
        for thing in row:
            wide = thing.winfo_reqwidth()
            thing.place(x=x, y=top, width=width if wide > width else "")  # "": as it asks for
            x += wide + self._gap
        return high


class Stack(Box):
    """Several boxes in one place; one of them is shown."""

    def __init__(self, parent: Box, surface: str = "") -> None:
        super().__init__(parent, surface)
        self._pages: dict[str, Box] = {}
        self.shown = ""

    def add(self, name: str, page: Box) -> None:
        """Add a page whose parent is this box; the first one is shown."""
        self._pages[name] = page
        if not self.shown:
            self.show(name)

    def show(self, name: str) -> None:
        """Show one page instead of another."""
        if name == self.shown:
            return
        if self.shown:
            self._pages[self.shown].pack_forget()
        self._pages[name].pack(fill="both", expand=True)
        self.shown = name
