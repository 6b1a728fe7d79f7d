"""Who performs an operation: three words on one track, of which one is chosen."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from functools import partial
from tkinter import ttk

from lmboot.gui.styles import ROUTES
from lmboot.gui.widgets import Box, Value

Flip = Callable[[str], object]


class Pills(Box):
    """The route of one operation. The words say what the colours say.

    Without `on_flip` it can be read, not changed: agreeing is all or nothing. With it, a click, or
    Space on a word that the arrows went to, asks for a route; shown is always the one that holds.
    """

    def __init__(self, parent: Box, route: str, on_flip: Flip | None = None) -> None:
        """Show a route."""
        super().__init__(parent, card="Track", padding=parent.look.px(2))
        self._value, self._route, self._on_flip = Value(self, route), route, on_flip
        self._segments = {word: self._segment(word) for word in ROUTES}
        self.show(route)

    def _segment(self, word: str) -> ttk.Radiobutton:
        style = f"{word}.TRadiobutton"
        segment = ttk.Radiobutton(
            self, text=word, value=word, style=style, takefocus=False, **self._value.option()
        )
        segment.pack(side="left", expand=True, fill="x")
        if self._on_flip is None:
            segment.state(["disabled"])
            return segment
        segment.configure(command=partial(self._flip, word))
        segment.bind("<Return>", lambda _: segment.invoke())
        for key, step in (("Left", -1), ("Up", -1), ("Right", 1), ("Down", 1)):
            segment.bind(f"<{key}>", partial(self._go, word, step))
        return segment

    @property
    def route(self) -> str:
        """Return the route that is shown."""
        return self._value.get()

    def show(self, route: str, held: Collection[str] = ()) -> None:
        """Show the route that holds; those in `held` are pale: to ask for them changes nothing."""
        self._route = route
        self._value.set(route)
        for word, segment in self._segments.items():
            if self._on_flip is not None:
                segment.configure(takefocus=word == route)
                segment.state(["readonly" if word in held else "!readonly"])

    def _flip(self, word: str) -> None:
        """Ask for a route; Tk shows it as chosen at once, which it is not yet."""
        self._value.set(self._route)
        if word != self._route and self._on_flip is not None:
            self._on_flip(word)

    def _go(self, word: str, step: int, _: object) -> str:
        """Take the keyboard to a neighbour. That chooses nothing: HOST lies between two others."""
        words = list(ROUTES)
        at = min(max(words.index(word) + step, 0), len(words) - 1)
        self._segments[words[at]].focus_set()
        return "break"

    @property
    def chosen(self) -> ttk.Radiobutton:
        """Return the word of the route that holds."""
        return self._segments[self._route]

    @property
    def whole_width(self) -> int:
        """Return the width that all three words need."""
        words = sum(segment.winfo_reqwidth() for segment in self._segments.values())
        return words + 2 * self.look.px(2)

    def shorten(self, short: bool) -> None:
        """Show only the chosen word, or all three in their order."""
        for word, segment in self._segments.items():
            segment.pack_forget()
            if not short or word == self.route:
                segment.pack(side="left", expand=True, fill="x")


class Routes(Box):
    """Operations and their routes; a narrow column puts the pills under the names.

    Where not even the pills have room, what was not chosen is left out, of what can only be read.
    """

    def __init__(self, parent: Box, on_flip: Callable[[str, str], object] | None = None) -> None:
        """Show routes; `on_flip` gets the operation and the route that a person asks for."""
        super().__init__(parent)
        self._on_flip = on_flip
        self._rows: dict[str, tuple[ttk.Label, Pills]] = {}
        self._arranged: tuple[bool, bool] | None = None
        self.columnconfigure(0, weight=1)
        self.bind("<Configure>", lambda event: self._arrange(event.width))

    def show(self, routes: Sequence[tuple[str, str]]) -> None:
        """Show pairs of an operation and its route."""
        self.clear()
        self._rows = {
            name: (self.label(name, "text", "MonoSmall", wrap=True), self._pills(name, to))
            for name, to in routes
        }
        self._arranged = None
        self._arrange(self.winfo_width())

    def update_route(self, name: str, route: str, held: Collection[str]) -> None:
        """Show another route of an operation that is among the rows."""
        self._rows[name][1].show(route, held)

    @property
    def first(self) -> ttk.Widget:
        """Return what takes the keyboard for the first operation; the box itself without any."""
        pills = next(iter(self._rows.values()), None)
        return pills[1].chosen if pills else self

    @property
    def names(self) -> list[str]:
        """Return the operations that are shown."""
        return list(self._rows)

    def _pills(self, name: str, route: str) -> Pills:
        return Pills(self, route, self._on_flip and partial(self._on_flip, name))

    def _arrange(self, width: int) -> None:
        gap, rows = self.look.px(12), list(self._rows.values())
        need = [name.winfo_reqwidth() + gap + pills.whole_width for name, pills in rows]
        stacked = max(need, default=0) > width > 1
        widest = max((pills.whole_width for _, pills in rows), default=0)
        short = widest > width > 1 and self._on_flip is None
        if (stacked, short) == self._arranged:
            return
        self._arranged, px = (stacked, short), self.look.px
        for number, (name, pills) in enumerate(rows):
            pills.shorten(short)
            if stacked:
                name.grid(row=2 * number, column=0, sticky="ew", pady=self.look.pad(3, 2))
                pills.grid(row=2 * number + 1, column=0, sticky="ew", pady=self.look.pad(0, 5))
            else:
                name.grid(row=2 * number, column=0, sticky="ew", pady=px(3))
                pills.grid(row=2 * number, column=1, sticky="e", pady=px(3))
