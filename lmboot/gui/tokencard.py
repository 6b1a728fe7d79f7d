"""Asks for the token that a server wants, right where its models would be."""

from __future__ import annotations

from collections.abc import Callable
from tkinter import ttk

from lmboot.gui.widgets import Box, Scroller, nothing


class TokenCard(Scroller):
    """A field that hides what is typed; `on_token` gets it, "" when the user has none."""

    def __init__(self, parent: Box) -> None:
        super().__init__(parent, "main", width=528, pad=(24, 24), centred=True)
        self.on_token: Callable[[str], None] = nothing
        look = self.look
        card = Box(self.inside, card="PanelCard", padding=look.pads(32, 28))
        card.pack(fill="x")
        self._title = card.label("", "text", "Title", wrap=True)
        self._title.pack(fill="x", pady=look.pad(0, 10))
        self._words = card.label("", "muted", wrap=True)
        self._words.pack(fill="x", pady=look.pad(0, 12))
        self._why = card.label("", "warn", wrap=True)
        self._why.pack(fill="x", pady=look.pad(0, 12))
        self.field = ttk.Entry(card, style="panel.TEntry", font="Mono", show="•")
        self.field.pack(fill="x")
        row = Box(card)
        row.pack(fill="x", pady=look.pad(16, 0))
        row.button("Use the token", self._use, "Accent").pack(side="left")
        row.button("Go on without", lambda: self._give(""), "Ghost").pack(
            side="left", padx=look.px(8)
        )
        self.field.bind("<Return>", lambda _: self._use())
        self.field.bind("<Escape>", lambda _: self._give(""))

    def show(self, server: str, why: str) -> None:
        """Ask for the token of a server, and say what it said."""
        title = f"{server} wants a token"
        if self._title.cget("text") != title:
            self._title.configure(text=title)
            self._words.configure(
                text="It answers only to those who have one. LM Studio: Developer tab, Server "
                "settings. It goes into your system's keyring, never into a file of lmboot's."
            )
            self._why.configure(text=why)
            self.field.delete(0, "end")
            self.update_idletasks()  # what is not there yet takes the keyboard only later
            self.field.focus_set()

    def _use(self) -> None:
        if token := self.field.get().strip():
            self._give(token)

    def _give(self, token: str) -> None:
        self._title.configure(text="")
        self.field.delete(0, "end")
        self.on_token(token)
