"""The settings: groups of rows in a window of its own, which never stops the other one."""

from __future__ import annotations

import tkinter as tk
from collections.abc import Callable, Mapping
from tkinter import ttk
from typing import Any

from lmboot.gui.controls import Check, Control, Number, Percent, Segments, Typed
from lmboot.gui.look import Look
from lmboot.gui.widgets import Box, Scroller, showable
from lmboot.runtime.policy import Limits

SIZE, LEAST = (640, 700), (360, 240)
NAMES = 168  # the width of the column of names
THEMES = {"system": "System", "dark": "Dark", "light": "Light"}
SCALES = (80, 90, 100, 110, 125, 150, 175, 200, 225, 250, 300)
ZOOMS = (80, 90, 100, 110, 125, 150, 175, 200, 225, 250)
LIMITS = {  # key: what it is called, its unit
    "memory_mb": ("Memory", "MB"),
    "cpu_seconds": ("Processor time", "seconds"),
    "wall_seconds": ("Running time", "seconds"),
    "processes": ("Processes", ""),
    "output_mb": ("Output", "MB"),
    "disk_mb": ("Files it keeps", "MB"),
}
DEFAULTS: dict[str, Any] = {  # what holds where `values` has nothing
    "window.theme": "system",
    "window.zoom": 1.0,
    "window.remember_input": True,
    "warm": True,
}
LOWERED = "A program gets these at most. They can only be lowered; an empty field keeps its limit."


class Rows(Box):
    """A card of rows, names at the left; where it is narrow the names stand above."""

    def __init__(self, parent: Box) -> None:
        super().__init__(parent, card="PanelCard", padding=parent.look.pads(18, 10))
        self._rows: list[tuple[ttk.Label, Box]] = []
        self._stacked: bool | None = None
        self.bind("<Configure>", lambda event: self._arrange(event.width))

    def cell(self, name: str, note: str = "") -> Box:
        """Add a row and return the box for what belongs to its name; a note stands below."""
        label, cell = self.label(name, "muted", wrap=True), Box(self)
        if note:
            words = cell.label(note, "faint", "Small", wrap=True, width=1)
            words.pack(side="bottom", fill="x", pady=self.look.pad(4, 0))
        self._rows.append((label, cell))
        return cell

    def _arrange(self, width: int) -> None:
        """Put the rows in two columns, or in one where the second would be too slim."""
        names, edges = self.look.px(NAMES), 2 * self.look.px(18)
        need = max(cell.winfo_reqwidth() for _, cell in self._rows)  # sentences ask for none
        stacked = width > 1 and names + need + edges > width
        if stacked == self._stacked:
            return
        self._stacked = stacked
        self.columnconfigure(int(not stacked), weight=1)
        self.columnconfigure(int(stacked), weight=0)
        self.columnconfigure(0, minsize=0 if stacked else names)
        for number, row in enumerate(self._rows):
            self._place(number, *row, stacked=stacked)

    def _place(self, number: int, name: ttk.Label, cell: Box, *, stacked: bool) -> None:
        pad, first = self.look.pad, 2 * number
        if stacked:
            name.grid(row=first, column=0, sticky="ew", pady=pad(7, 2))
            cell.grid(row=first + 1, column=0, sticky="ew", pady=pad(0, 7))
        else:  # the words stand at the height of the words in a field
            name.grid(row=first, column=0, sticky="new", pady=pad(11, 0))
            cell.grid(row=first, column=1, sticky="ew", pady=pad(5, 5))


class SettingsWindow:
    """The settings as they are, to be changed. `values` has them by the names that `save` takes.

    `on_save` gets what was changed, None for what was emptied, and returns why it was refused or
    None; then the window goes. A refusal that begins with a setting's name is shown with the name
    it has here, and that setting gets the keyboard. "path" among the values says where the
    file is, "transcripts_path" where the transcripts are.
    """

    def __init__(
        self,
        root: tk.Tk,
        look: Look,
        values: Mapping[str, Any],
        on_save: Callable[[dict[str, Any]], str | None],
        on_forget: Callable[[], None],
    ) -> None:
        self.look, self._root = look, root
        self._values = DEFAULTS | {key: it for key, it in values.items() if it is not None}
        self._on_save, self._on_forget = on_save, on_forget
        self.controls: dict[str, Control] = {}
        self._names: dict[str, str] = {}
        self.window = tk.Toplevel(root)
        self.window.withdraw()
        self.window.title("Settings")
        look.follow(self.window, self._paint)
        self._fill()
        self._before = {name: control.value for name, control in self.controls.items()}
        self._bind()
        self._place()
        self.window.deiconify()
        self.controls["window.theme"].take_keys()

    @property
    def open(self) -> bool:
        """Say whether the window is still there."""
        return bool(self.window.winfo_exists())

    def lift(self) -> None:
        """Bring the window before the others, with the keyboard."""
        self.window.deiconify()
        self.window.lift()
        (self.window.focus_lastfor() or self.window).focus_set()

    def close(self) -> None:
        """Take the window away and give the keyboard back; what was not saved is dropped."""
        # Tk 8.6 keeps a pointer to what had the keyboard when it died: "focus -force" may crash.
        (self._root.focus_lastfor() or self._root).focus_set()
        self.window.destroy()

    def save(self) -> None:
        """Hand over what was changed, unless a field can't be read: then say so beside it."""
        changes = self._changes()
        if changes is None:
            return
        refused = self._on_save(changes) if changes else None
        if refused:
            self._refuse(refused)
        else:
            self.close()

    def _changes(self) -> dict[str, Any] | None:
        values, wrong = {}, []
        for name, control in self.controls.items():
            control.tell("")
            try:
                values[name] = control.value
            except ValueError as error:
                control.tell(str(error))
                wrong.append(control)
        if wrong:
            self._said.configure(text="Nothing was saved yet: see the marked fields.")
            self._show(wrong[0])
            return None
        return {name: each for name, each in values.items() if each != self._before[name]}

    def _refuse(self, sentence: str) -> None:
        """Say why, in the words of this window, and go to the setting that is meant."""
        name = sentence.partition(" ")[0]
        if name in self.controls:
            sentence = f"{self._names[name]} {sentence.partition(' ')[2]}"
            self.controls[name].takes_keys.state(["invalid"])
            self._show(self.controls[name])
        self._said.configure(text=sentence)

    def _show(self, control: Control) -> None:
        control.take_keys()
        self.window.update_idletasks()  # what is wrong stands below it by now
        self._column.see(control)

    def _paint(self) -> None:
        self.window.configure(background=self.look["main"])

    def _fill(self) -> None:
        base = Box(None, "main", look=self.look, master=self.window)
        base.pack(fill="both", expand=True)
        self._column = Scroller(base, "main", pad=(24, 4, 24, 20))
        groups = (self._appearance, self._models, self._sandbox, self._limits, self._privacy)
        for fill in groups:
            fill()
        self._make_bar(base)  # made last, so that Tab comes to it last
        self._column.pack(fill="both", expand=True)

    def _make_bar(self, base: Box) -> None:
        look, bar = self.look, base.bar("bottom", pad=(24, 12))
        buttons = Box(bar)
        buttons.pack(side="right")
        for text, press, kind in (("Cancel", self.close, "Plain"), ("Save", self.save, "Accent")):
            buttons.button(text, press, kind).pack(side="left", padx=look.pad(8, 0))
        self._said = bar.label("", "bad", wrap=True)
        self._said.pack(side="left", fill="x", expand=True)

    def _bind(self) -> None:
        window = self.window
        window.protocol("WM_DELETE_WINDOW", self.close)
        window.bind("<Escape>", lambda _: self.close())
        window.bind("<Control-Return>", self._save_now)
        window.bind("<Prior>", lambda _: self._column.page(-1))
        window.bind("<Next>", lambda _: self._column.page(1))

    def _save_now(self, _: object) -> str:
        self.save()
        return "break"

    def _place(self) -> None:
        """Stand over the middle of the other window, within the screen."""
        window, root, px = self.window, self._root, self.look.px
        screen = window.winfo_screenwidth(), window.winfo_screenheight()
        size = [min(px(want), most - px(80)) for want, most in zip(SIZE, screen, strict=True)]
        over = root.winfo_rootx(), root.winfo_rooty(), root.winfo_width(), root.winfo_height()
        at = [
            max(0, min(over[way] + (over[way + 2] - size[way]) // 2, screen[way] - size[way]))
            for way in (0, 1)
        ]
        window.geometry(f"{size[0]}x{size[1]}+{at[0]}+{at[1]}")
        window.minsize(*(min(px(least), most) for least, most in zip(LEAST, size, strict=True)))
        window.transient(root)

    def _group(self, title: str, sentence: str = "") -> Rows:
        inside, pad = self._column.inside, self.look.pad
        inside.label(title, "text", "Strong").pack(anchor="w", pady=pad(16, 6))
        if sentence:
            inside.label(sentence, "muted", wrap=True).pack(fill="x", pady=pad(0, 8))
        rows = Rows(inside)
        rows.pack(fill="x")
        return rows

    def _row(
        self,
        rows: Rows,
        name: str,
        called: str,
        kind: Callable[..., Control],
        *how: Any,
        note: str = "",
        **options: Any,
    ) -> None:
        """Add the control of one setting; `how` and the options are its kind's."""
        control = kind(rows.cell(called, note), self._values.get(name), *how, **options)
        control.pack(fill="x")
        self.controls[name], self._names[name] = control, called

    def _appearance(self) -> None:
        rows = self._group("Appearance")
        self._row(rows, "window.theme", "Theme", Segments, THEMES)
        note = "Takes effect at the next start."
        self._row(rows, "window.scale", "Scale", Percent, SCALES, "Automatic", note=note)
        self._row(rows, "window.zoom", "Text size", Percent, ZOOMS)
        kept = "Lines kept in the session"
        self._row(rows, "window.scrollback", kept, Number, 10_000, whole=True)

    def _models(self) -> None:
        rows = self._group("Models")
        note = "Tried before any other."
        self._row(rows, "window.server", "Server address", Typed, "look for servers", note=note)
        context = "Context for .gguf files"
        self._row(rows, "context", context, Number, 8192, unit="tokens", whole=True)
        note = "It reads its instructions beforehand, so that its answer starts sooner."
        words = "Warm the chosen model ahead"
        self._row(rows, "warm", "Warming", Check, words, note=note)
        note = "Starts a bootstrap when it is sent, as the built-in ones do."
        self._row(rows, "trigger", "Own trigger", Typed, "none", note=note)

    def _sandbox(self) -> None:
        rows = self._group("Sandbox")
        note = "One of podman's or docker's that you have, with Python in it; never fetched."
        own = "this machine's own programs"
        self._row(rows, "container_image", "Container image", Typed, own, note=note)
        place = self._values.get("path")
        if place:
            words = f"The most that any program may have stands under [routes] in {place}."
            self._sentence(rows, "Routes", words)

    def _limits(self) -> None:
        rows, most = self._group("Limits", LOWERED), Limits()
        for key, (called, unit) in LIMITS.items():
            usual = getattr(most, key)
            self._row(rows, f"limits.{key}", called, Number, usual, unit=unit, without="no limit")

    def _privacy(self) -> None:
        rows = self._group("Privacy")
        note = "Up brings it back in the next session."
        words = "Remember what I type"
        self._row(rows, "window.remember_input", "Typed lines", Check, words, note=note)
        cell = rows.cell("")
        self._forget = cell.button("Forget what was typed", self._forget_typed, "Danger")
        self._forget.pack(anchor="w")
        place = self._values.get("transcripts_path")
        if place:
            self._sentence(rows, "Transcripts", f"Kept in {place} until you delete them.")

    def _sentence(self, rows: Rows, called: str, words: str) -> None:
        """Add a row that only tells something."""
        label = rows.cell(called).label(showable(words), wrap=True, width=1)
        label.pack(fill="x", pady=self.look.px(6))

    def _forget_typed(self) -> None:
        self._on_forget()
        self._forget.configure(text="Forgotten")
        self._forget.state(["disabled"])
