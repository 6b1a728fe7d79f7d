"""Where the user writes: to whom, what, and Send; below the transcript, never inside it."""

from __future__ import annotations

import tkinter as tk
from collections.abc import Callable
from tkinter import ttk

from lmboot.gui.widgets import Box, nothing

Hint = tuple[str, str, str]  # a command, what it does, the key that takes it


def _none(*_: object) -> None:
    """Complete nothing, remember nothing."""


class EntryLine(Box):
    """One line of input. History and completion are the caller's: it gives callables."""

    def __init__(self, parent: Box) -> None:
        super().__init__(parent, "main", padding=parent.look.pads(16, 12))
        self.on_send: Callable[[str, str], None] = nothing
        self.on_change: Callable[[str], None] = nothing
        # (what is typed, -1 older or 1 newer) -> what to show instead, None for nothing
        self.history: Callable[[str, int], str | None] = _none
        # (what is typed, cursor) -> what to show instead, None for nothing
        self.complete: Callable[[str, int], str | None] = _none
        self.target = ttk.Combobox(
            self,
            values=[":rt", ":ai"],
            width=4,
            font="Mono",
            style="main.TCombobox",
            state="readonly",
        )
        self.target.set(":rt")
        self.target.pack(side="left", fill="y")
        self._send = self.button("Send", self.submit, "Accent")
        self._send.pack(side="right")
        self.entry = ttk.Entry(self, font="Mono", style="main.TEntry")
        self.entry.pack(fill="both", expand=True, padx=self.look.pad(8, 8))
        self._hints: Box | None = None
        self._bind_keys()

    def _bind_keys(self) -> None:
        entry = self.entry
        entry.bind("<Return>", lambda _: self.submit())
        entry.bind("<Up>", lambda _: self._recall(-1))
        entry.bind("<Down>", lambda _: self._recall(1))
        entry.bind("<Tab>", self._completed)
        entry.bind("<Escape>", lambda _: self.show_hints(()))
        entry.bind("<KeyRelease>", lambda _: self.on_change(self.typed))
        self.target.bind("<<ComboboxSelected>>", lambda _: self.focus_entry())

    @property
    def typed(self) -> str:
        """Return what stands in the line."""
        return self.entry.get()

    @typed.setter
    def typed(self, text: str) -> None:
        self.entry.delete(0, "end")
        self.entry.insert(0, text)
        self.entry.xview("end")

    def submit(self) -> None:
        """Hand over the line and its target, and empty it; an empty line goes nowhere."""
        text = self.typed
        if text and not self.entry.instate(["disabled"]):
            self.typed = ""
            self.show_hints(())
            self.on_send(self.target.get(), text)

    def enable(self, enabled: bool) -> None:
        """Let the user write, or not; what is half typed stays."""
        state = ["!disabled" if enabled else "disabled"]
        for widget in (self.entry, self.target, self._send):
            widget.state(state)

    def show_target(self, target: str) -> None:
        """Show to whom a bare line goes: ":rt" or ":ai"."""
        self.target.set(target)

    def focus_entry(self) -> None:
        """Put the keyboard into the line."""
        self.target.selection_clear()
        self.entry.focus_set()

    def show_hints(self, hints: tuple[Hint, ...] | list[Hint]) -> None:
        """Show commands above the line, the first one as the one that Tab takes; () hides them."""
        if self._hints:
            self._hints.destroy()
            self._hints = None
        if not hints:
            return
        look, page = self.look, self.master
        popup = Box(page if isinstance(page, Box) else self, card="RaisedCard", padding=look.px(6))
        for number, (command, words, key) in enumerate(hints):
            row = Box(popup)
            row.pack(fill="x", pady=look.px(4))
            colour = "text" if number else "accent"
            name = row.label(command, colour, "Mono", width=11)
            name.pack(side="left", padx=look.pad(8, 0))
            row.label(words, "muted" if number else "text").pack(side="left")
            row.label(key, "faint", "Small").pack(side="right", padx=look.pad(24, 8))
        popup.place(in_=self.entry, x=0, y=-look.px(18), anchor="sw")
        self._hints = popup

    def _recall(self, step: int) -> str:
        text = self.history(self.typed, step)
        if text is not None:
            self.typed = text
        return "break"

    def _completed(self, _: tk.Event[ttk.Entry]) -> str | None:
        """Complete; where there is nothing to complete, Tab goes on to the next widget."""
        text = self.complete(self.typed, self.entry.index("insert"))
        if text is None:
            return None
        self.typed = text
        return "break"
