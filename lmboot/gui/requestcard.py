"""What a program asks for, and who may answer: it stands outside the panes and takes no keys."""

from __future__ import annotations

import tkinter as tk
from collections.abc import Callable
from tkinter import ttk
from typing import TYPE_CHECKING

from lmboot.gui.widgets import Box, CutLabel, Flow, nothing

if TYPE_CHECKING:
    from lmboot.runtime.asking import Scope

STRIP = 4  # in the colour of a warning, along the left edge


class RequestCard(Box):
    """One request: its words, what it means, and four answers.

    Those that grant are pale until `arm`: a click that was meant for what stood there before must
    not grant. It never takes the keyboard by itself.
    """

    def __init__(self, parent: Box) -> None:
        super().__init__(parent, "raised")
        self.on_answer: Callable[[Scope], object] = nothing
        look = self.look
        self.hairline("top")
        strip = tk.Frame(self, width=look.px(STRIP), borderwidth=0)
        strip.pack(side="left", fill="y")
        look.follow(strip, lambda: self._paint(strip))
        inside = Box(self, padding=look.pads(14, 10, 16, 12))
        inside.pack(fill="both", expand=True)
        head = Box(inside)
        head.pack(fill="x")
        self._left = head.label("", "muted", "Small")
        self._left.pack(side="right", anchor="n", padx=look.pad(12, 0))
        self._title = head.label("", "text", "Strong", wrap=True)
        self._title.pack(side="left", fill="x", expand=True)
        self._what = CutLabel(inside, lines=2, font="Mono")
        self._means = inside.label("", "muted", wrap=True)
        self._means.pack(fill="x", pady=look.pad(4, 8))
        self._row = Flow(inside)
        self._row.pack(fill="x")
        scopes: tuple[Scope, ...] = ("no", "once", "while", "always")
        self._buttons = {scope: self._button(scope) for scope in scopes}

    def _paint(self, strip: tk.Frame) -> None:
        strip.configure(background=self.look["warn"])

    def _button(self, scope: Scope) -> ttk.Button:
        button = self._row.button("", lambda: self.on_answer(scope))
        self._row.add(button)
        return button

    def show(
        self, title: str, what: str, means: str, answers: dict[Scope, str], waiting: int
    ) -> None:
        """Show a request; `answers` are the buttons' words by what they stand for.

        `waiting` is how many others wait behind it.
        """
        self._title.configure(text=title)
        self._means.configure(text=means)
        self._what.say(what)
        if what:
            self._what.pack(fill="x", pady=self.look.pad(4, 0), before=self._means)
        else:
            self._what.pack_forget()
        for scope, button in self._buttons.items():
            button.configure(text=answers[scope])
        self.show_waiting(waiting)
        self.arm(False)

    def show_waiting(self, waiting: int) -> None:
        """Say how many others wait."""
        self._left.configure(text=f"{waiting} more wait{'s' * (waiting == 1)}" if waiting else "")

    def arm(self, armed: bool) -> None:
        """Let the buttons that grant be pressed, or not."""
        for scope, button in self._buttons.items():
            if scope != "no":
                button.state(["!disabled" if armed else "disabled"])

    def focus_no(self) -> None:
        """Put the keyboard on the answer that grants nothing."""
        self._buttons["no"].focus_set()

    @property
    def has_keys(self) -> bool:
        """Say whether one of the answers has the keyboard."""
        return self.focus_get() in self._buttons.values()
