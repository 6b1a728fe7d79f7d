"""Where the next program will run: a switch for containers, and what the sandbox enforces."""

from __future__ import annotations

from collections.abc import Callable

from lmboot.gui.bordercolumn import show_level
from lmboot.gui.bordermessages import Sandbox
from lmboot.gui.controls import Check
from lmboot.gui.widgets import Box, nothing


class SandboxPart(Box):
    """A switch with the reason for how it stands, and the posture of the sandbox to be used."""

    def __init__(self, parent: Box, container: bool) -> None:
        super().__init__(parent)
        self.on_container: Callable[[bool], object] = nothing
        self.caption("Where it runs", before=20, after=6)
        card = Box(self, card="PanelCard", padding=self.look.pads(16, 8, 16, 12))
        card.pack(fill="x")
        self.switch = Check(card, container, "Run in container")
        self.switch.pack(fill="x")
        self.switch.on_change = lambda on: self.on_container(on)
        self._words = card.label("", "muted", wrap=True)
        self._words.pack(fill="x", pady=self.look.pad(2, 0))
        self._title = self.caption("", before=20, after=6)
        self._posture = Box(self)
        self._posture.pack(fill="x")
        self._shown: object = None

    def show(self, usual: Sandbox, container: Sandbox) -> None:
        """Show what is usable here, and what of it will be used."""
        on = self.switch.value
        shown = usual, container, on
        if shown == self._shown:
            return
        self._shown = shown
        can_switch = on or bool(container.name)
        self.switch.takes_keys.state(["!disabled" if can_switch else "disabled"])
        used = container if on else usual
        self._words.configure(text=" ".join(_words(on, usual, container)))
        self.recolour_words("muted" if used.name else "bad")
        self._show_posture(used)

    def wait(self, words: str) -> None:
        """Show what is being made ready, in place of what is not known until then."""
        self._shown = None
        self.switch.takes_keys.state(["disabled"])
        self._words.configure(text=words)
        self.recolour_words("muted")
        self._title.configure(text="")
        self._posture.clear()

    def recolour_words(self, colour: str) -> None:
        """Say by a colour, too, that nothing could run."""
        self._words.configure(style=self.look.label_style(colour, "Text", "panel"))

    def _show_posture(self, used: Sandbox) -> None:
        self._posture.clear()
        if not used.name:
            self._title.configure(text="")
            return
        self._title.configure(text=f"What the sandbox enforces here: {used.name}")
        for number, (level, words) in enumerate(used.posture):
            cell = Box(self._posture, padding=self.look.pads(0, 3, 16, 3))
            cell.grid(row=number // 2, column=number % 2, sticky="new")
            self._posture.columnconfigure(number % 2, weight=1, uniform="half")
            show_level(cell, level, words)


def _words(on: bool, usual: Sandbox, container: Sandbox) -> list[str]:
    """Return how the switch stands, and why."""
    if on and container.name:
        return [f"On: the next program runs in a container of {container.name}."]
    if on:
        return ["On, but the next program could not start.", container.trouble]
    if not usual.name:
        runs = f"Off, and no sandbox is usable: {usual.trouble}"
    else:
        runs = f"Off: the next program runs in {usual.name}, the best sandbox of this machine."
    return [runs] if container.name else [runs, f"No container is available: {container.trouble}"]
