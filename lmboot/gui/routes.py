"""Who performs an operation: three words on one track, of which one is chosen."""

from __future__ import annotations

from collections.abc import Sequence
from tkinter import ttk

from lmboot.gui.styles import ROUTES
from lmboot.gui.widgets import Box, Value


class Pills(Box):
    """The route of one operation. The words say what the colours say."""

    def __init__(self, parent: Box, route: str) -> None:
        """Show a route that can be read, not changed: agreeing is all or nothing."""
        super().__init__(parent, card="Track", padding=parent.look.px(2))
        self._value = Value(self, route)
        self._segments: dict[str, ttk.Radiobutton] = {}
        for word in ROUTES:
            style = f"{word}.TRadiobutton"
            segment = ttk.Radiobutton(
                self, text=word, value=word, style=style, takefocus=False, **self._value.option()
            )
            segment.state(["disabled"])
            segment.pack(side="left", expand=True, fill="x")
            self._segments[word] = segment

    @property
    def route(self) -> str:
        """Return the route that is shown."""
        return self._value.get()

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

    Where not even the pills have room, what was not chosen is left out.
    """

    def __init__(self, parent: Box) -> None:
        super().__init__(parent)
        self._rows: list[tuple[ttk.Label, Pills]] = []
        self._arranged: tuple[bool, bool] | None = None
        self.columnconfigure(0, weight=1)
        self.bind("<Configure>", lambda event: self._arrange(event.width))

    def show(self, routes: Sequence[tuple[str, str]]) -> None:
        """Show pairs of an operation and its route."""
        self.clear()
        self._rows = [
            (self.label(name, "text", "MonoSmall", wrap=True), Pills(self, to))
            for name, to in routes
        ]
        self._arranged = None
        self._arrange(self.winfo_width())

    def _arrange(self, width: int) -> None:
        gap = self.look.px(12)
        need = [name.winfo_reqwidth() + gap + pills.whole_width for name, pills in self._rows]
        stacked = max(need, default=0) > width > 1
        short = max((pills.whole_width for _, pills in self._rows), default=0) > width > 1
        if (stacked, short) == self._arranged:
            return
        self._arranged, px = (stacked, short), self.look.px
        for number, (name, pills) in enumerate(self._rows):
            pills.shorten(short)
            if stacked:
                name.grid(row=2 * number, column=0, sticky="ew", pady=self.look.pad(3, 2))
                pills.grid(row=2 * number + 1, column=0, sticky="ew", pady=self.look.pad(0, 5))
            else:
                name.grid(row=2 * number, column=0, sticky="ew", pady=px(3))
                pills.grid(row=2 * number, column=1, sticky="e", pady=px(3))
