"""What a setting is chosen or typed with: every control has a value and can say what is wrong."""

from __future__ import annotations

import math
import tkinter as tk
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from tkinter import ttk
from typing import Any

from lmboot.gui import styles
from lmboot.gui.widgets import Box, Value, calling, nothing, showable
from lmboot.text import brief

WHEEL = ("<MouseWheel>", "<Button-4>", "<Button-5>")


class Control(Box, ABC):
    """One setting; `takes_keys` is the widget that has the keyboard for it."""

    takes_keys: ttk.Widget

    def __init__(self, parent: Box) -> None:
        super().__init__(parent)
        self._wrong = self.label("", "bad", "Small", wrap=True, width=1)

    @property
    @abstractmethod
    def value(self) -> Any:
        """What was chosen or typed, None for nothing; ValueError says why it can't be taken."""

    def take_keys(self) -> None:
        """Put the keyboard here."""
        self.takes_keys.focus_set()

    def tell(self, sentence: str) -> None:
        """Say below the control what is wrong with it; "" says that nothing is."""
        self._wrong.configure(text=sentence)
        self.takes_keys.state(["invalid" if sentence else "!invalid"])
        if sentence:
            self._wrong.pack(side="bottom", fill="x", pady=self.look.pad(3, 0))
        else:
            self._wrong.pack_forget()


class Segments(Control):
    """A few words on one track; the arrows choose, Tab goes to the chosen one."""

    def __init__(self, parent: Box, value: str, choices: Mapping[str, str]) -> None:
        """Take what can be chosen as values and their words."""
        super().__init__(parent)
        self.on_choose: Callable[[str], object] = nothing
        track = Box(self, card="Track", padding=self.look.px(2))
        track.pack(anchor="w")
        self._chosen = Value(self, value)
        self._segments = {
            each: self._segment(track, each, words) for each, words in choices.items()
        }
        self._show()

    def _segment(self, track: Box, value: str, words: str) -> ttk.Radiobutton:
        segment = ttk.Radiobutton(track, text=words, value=value, **self._chosen.option())
        segment.configure(style="Choice.TRadiobutton", command=self._chose)
        for key, step in (("Left", -1), ("Up", -1), ("Right", 1), ("Down", 1)):
            segment.bind(f"<{key}>", calling(self._step, step))
        segment.pack(side="left")
        return segment

    @property
    def value(self) -> str:
        """What was chosen."""
        return self._chosen.get()

    def choose(self, value: str) -> None:
        """Choose one of them, as a click does."""
        self._chosen.set(value)
        self._chose()

    def _chose(self) -> None:
        self._show()
        self.on_choose(self.value)

    def _show(self) -> None:
        """Let Tab find the chosen one only."""
        for value, segment in self._segments.items():
            segment.configure(takefocus=value == self.value)
        self.takes_keys = self._segments[self.value]

    def _step(self, step: int) -> str:
        values = list(self._segments)
        self.choose(values[(values.index(self.value) + step) % len(values)])
        self.takes_keys.focus_set()
        return "break"


class Percent(Control):
    """A share out of a list; `nothing` is the first entry's words where there can be none."""

    def __init__(
        self, parent: Box, value: float | None, choices: tuple[int, ...], nothing: str = ""
    ) -> None:
        super().__init__(parent)
        chosen = None if value is None else round(value * 100)
        shares = sorted({*choices, *([] if chosen is None else [chosen])})
        self._values: dict[str, float | None] = {nothing: None} if nothing else {}
        self._values |= {f"{share} %": share / 100 for share in shares}
        self.takes_keys = self._box = self.combobox(
            values=list(self._values), state="readonly", width=11, font="Text"
        )
        self._box.configure(height=len(self._values))
        self._box.set(nothing if chosen is None else f"{chosen} %")
        self._box.pack(anchor="w")
        for sequence in WHEEL:  # the column scrolls; nothing is chosen by the way
            self._box.bind(sequence, self._pass_on)

    @property
    def value(self) -> float | None:
        """What was chosen, 1.5 for 150 %."""
        return self._values[self._box.get()]

    def _pass_on(self, event: tk.Event[ttk.Combobox]) -> str:
        if event.num in (4, 5):
            self.event_generate(f"<Button-{event.num}>")
        else:
            self.event_generate("<MouseWheel>", delta=event.delta)
        return "break"


class Typed(Control):
    """A line of text, empty for none; `faint` is shown in an empty one, `unit` after it."""

    def __init__(
        self, parent: Box, value: object, faint: str = "", *, width: int = 28, unit: str = ""
    ) -> None:
        super().__init__(parent)
        self._variable = Value(self, "" if value is None else showable(str(value)))
        self._variable.watch(lambda: self._changed())
        style = f"{self.surface}.TEntry"
        row = Box(self)
        row.pack(fill="x")
        self.takes_keys = self._entry = ttk.Entry(
            row, width=width, font="Text", style=style, **self._variable.option("textvariable")
        )
        self._entry.pack(side="left")
        if unit:
            row.label(unit, "muted").pack(side="left", padx=self.look.pad(8, 0))
        hint = self.look.label_style("faint", "Text", "raised")
        self._hint = ttk.Label(self._entry, text=faint, style=hint, cursor="xterm")
        self._hint.bind("<Button-1>", lambda _: self._entry.focus_set())
        self._changed()

    @property
    def value(self) -> Any:
        """What was typed."""
        return self._variable.get().strip() or None

    def take_keys(self) -> None:
        """Put the keyboard here, so that typing replaces what stands there."""
        super().take_keys()
        self._entry.selection_range(0, "end")
        self._entry.icursor("end")

    def _changed(self) -> None:
        self.tell("")
        if self._variable.get():
            self._hint.place_forget()
        else:
            self._hint.place(x=self.look.px(9), y=self.look.px(6))  # where typing begins


class Number(Typed):
    """A number, shown only where it is not the one that holds anyhow: that one is `faint`."""

    def __init__(
        self,
        parent: Box,
        value: float | None,
        usual: float | None,
        *,
        unit: str = "",
        whole: bool = False,
        without: str = "",
    ) -> None:
        """Take the usual number; where it is None there is none, called `without`."""
        self._whole = whole
        shown = None if value in (None, usual) else _figure(value)
        faint = without if usual is None else _figure(usual)
        super().__init__(parent, shown, faint, width=10, unit=unit)

    @property
    def value(self) -> float | int | None:
        """What was typed, as an int where it is whole."""
        typed = super().value
        if typed is None:
            return None
        number = _number(typed)
        if number.is_integer():
            return int(number)
        if self._whole:
            raise ValueError("Only a whole number can stand here.")
        return number


def _number(typed: str) -> float:
    """Return what was typed as a number; spaces between thousands are passed over."""
    try:
        number = float("".join(typed.split()))
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise ValueError(f"“{brief(typed, 24)}” is no number.")
    return number


def _figure(number: float | None) -> str:
    """Return a number without a fraction where it has none."""
    return str(int(number) if number is not None and number == int(number) else number)


class Check(Control):
    """Yes or no, with words that say what yes means."""

    def __init__(self, parent: Box, value: bool, words: str) -> None:
        super().__init__(parent)
        styles.checks(self.look)
        self.on_change: Callable[[bool], object] = nothing
        self._on = Value(self, int(value))
        self.takes_keys = self.box = ttk.Checkbutton(
            self, text=words, style=f"{self.surface}.TCheckbutton", **self._on.option()
        )
        self.box.configure(command=lambda: self.on_change(self.value))
        self.takes_keys.pack(anchor="w")

    @property
    def value(self) -> bool:
        """Whether it is ticked."""
        return self._on.get() == "1"
