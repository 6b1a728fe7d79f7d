"""The tabs at the right of the window."""

from __future__ import annotations

from collections.abc import Callable
from tkinter import ttk

from lmboot.gui.widgets import Box, nothing

NAMES = ("Session", "Payload", "Files", "Log")


class Tabs(Box):
    """A notebook; `pages` are the boxes by their tabs' names."""

    def __init__(self, parent: Box, names: tuple[str, ...] = NAMES) -> None:
        super().__init__(parent, "main")
        self.on_change: Callable[[str], None] = nothing
        self._book = ttk.Notebook(self)
        self._book.pack(fill="both", expand=True)
        self._book.enable_traversal()
        self.pages: dict[str, Box] = {}
        for name in names:
            page = Box(self, "main")
            self._book.add(page, text=name)
            page.hairline("top")
            self.pages[name] = page
        self._book.bind("<<NotebookTabChanged>>", lambda _: self.on_change(self.current))

    @property
    def current(self) -> str:
        """Return the name of the tab that is shown."""
        return list(self.pages)[int(self.tk.call(self._book, "index", "current"))]

    def show(self, name: str) -> None:
        """Show a tab; `on_change` is told if it was another one."""
        self.tk.call(self._book, "select", self._number(name))

    def _number(self, name: str) -> int:
        return list(self.pages).index(name)
