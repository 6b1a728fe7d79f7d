"""A question in a small window of its own that stops nothing else."""

from __future__ import annotations

import tkinter as tk
from collections.abc import Callable, Sequence
from functools import partial

from lmboot.gui.look import Look
from lmboot.gui.widgets import Box

Answer = tuple[str, str, Callable[[], object]]  # label, kind of button, what it does


class Question:
    """Closes with any answer; Escape is the last one, and it has the keyboard."""

    def __init__(
        self, root: tk.Tk, look: Look, title: str, words: str, answers: Sequence[Answer]
    ) -> None:
        self._root = root
        self._top = top = tk.Toplevel(root, background=look["panel"])
        top.title("lmboot")
        top.transient(root)
        top.resizable(False, False)
        box = Box(None, "panel", look=look, master=top, padding=look.pads(28, 24))
        box.pack(fill="both", expand=True)
        box.label(title, "text", "Title").pack(anchor="w", pady=look.pad(0, 8))
        box.label(words, "muted", wraplength=look.px(400)).pack(anchor="w", pady=look.pad(0, 18))
        self._answers(box, answers)
        top.bind("<Escape>", lambda _: self._take(answers[-1][2]))
        top.protocol("WM_DELETE_WINDOW", lambda: self._take(answers[-1][2]))
        self._place(root)

    def _answers(self, box: Box, answers: Sequence[Answer]) -> None:
        row = Box(box)
        row.pack(fill="x")
        for label, kind, do in reversed(answers):
            button = row.button(label, partial(self._take, do), kind)
            button.pack(side="right", padx=box.look.pad(8, 0))
            if do is answers[-1][2]:
                button.focus_set()

    def _place(self, root: tk.Tk) -> None:
        self._top.update_idletasks()
        left = root.winfo_rootx() + (root.winfo_width() - self._top.winfo_reqwidth()) // 2
        top = root.winfo_rooty() + root.winfo_height() // 3
        self._top.geometry(f"+{max(0, left)}+{max(0, top)}")

    @property
    def open(self) -> bool:
        """Say whether it still waits for an answer."""
        return bool(self._top.winfo_exists())

    def close(self) -> None:
        """Take it away without an answer."""
        if self.open:
            (self._root.focus_lastfor() or self._root).focus_set()  # else Tk 8.6 may crash later
            self._top.destroy()

    def _take(self, do: Callable[[], object]) -> None:
        self.close()
        do()
