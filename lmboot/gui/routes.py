"""Who performs an operation: three words on one track, of which one is chosen."""

from __future__ import annotations

import tkinter as tk
from collections.abc import Sequence
from tkinter import ttk

from lmboot.gui.styles import ROUTES
from lmboot.gui.widgets import Box


class Pills(Box):
    """The route of one operation. The words say what the colours say."""

    def __init__(self, parent: Box, route: str) -> None:
        """Show a route that can be read, not changed: agreeing is all or nothing."""
        super().__init__(parent, card="Track", padding=parent.look.px(2))
        self._value = tk.StringVar(self, route)
        for word in ROUTES:
            style = f"{word}.TRadiobutton"
            segment = ttk.Radiobutton(
                self, text=word, value=word, variable=self._value, style=style, takefocus=False
            )
            segment.state(["disabled"])
            segment.pack(side="left", expand=True, fill="x")

    @property
    def route(self) -> str:
        """Return the route that is shown."""
        return self._value.get()


class Routes(Box):
    """Operations and their routes; a narrow column puts the pills under the names."""

    def __init__(self, parent: Box) -> None:
        super().__init__(parent)
        self._rows: list[tuple[ttk.Label, Pills]] = []
        self._stacked: bool | None = None
        self.columnconfigure(0, weight=1)
        self.bind("<Configure>", lambda event: self._arrange(event.width))

    def show(self, routes: Sequence[tuple[str, str]]) -> None:
        """Show pairs of an operation and its route."""
        self.clear()
        self._rows = [
            (self.label(name, "text", "MonoSmall"), Pills(self, to)) for name, to in routes
        ]
        self._stacked = None
        self._arrange(self.winfo_width())

    def _arrange(self, width: int) -> None:
        gap = self.look.px(12)
        need = [name.winfo_reqwidth() + gap + pills.winfo_reqwidth() for name, pills in self._rows]
        stacked = max(need, default=0) > width > 1
        if stacked == self._stacked:
            return
        self._stacked, px = stacked, self.look.px
        for number, (name, pills) in enumerate(self._rows):
            if stacked:
                name.grid(row=2 * number, column=0, sticky="w", pady=self.look.pad(3, 2))
                pills.grid(row=2 * number + 1, column=0, sticky="ew", pady=self.look.pad(0, 5))
            else:
                name.grid(row=2 * number, column=0, sticky="w", pady=px(3))
                pills.grid(row=2 * number, column=1, sticky="e", pady=px(3))
