"""The two lines at the window's edges: the server above, what is going on below."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from tkinter import ttk

from lmboot.gui.widgets import Action, Box, CutLabel, fitting, nothing

PADDING = 2 * 16 + 14 + 14 + 3 * 4  # of the line and between what stands in it
LEAST_WORDS = 60  # pixels at scale 1; a word that is cut shorter says nothing
FIELD_WIDTHS = (23, 16, 12)  # in characters, the first one that leaves room for the words


class ServerLine(Box):
    """Where the models come from: an address, how it stands there, and ways to others."""

    def __init__(self, parent: Box) -> None:
        super().__init__(parent, "panel", padding=parent.look.pads(16, 8))
        self.on_address: Callable[[str], None] = nothing
        self.on_open: Callable[[], None] = nothing
        self.on_refresh: Callable[[], None] = nothing
        self.on_settings: Callable[[], None] = nothing
        self._brand()
        self.field = self.combobox(width=23, font="Text")
        self.field.bind("<Return>", lambda _: self.on_address(self.address))
        self.field.bind("<<ComboboxSelected>>", lambda _: self.on_address(self.address))
        self._buttons()
        self.field.pack(side="left")
        self._words, self._said = self.label("", "muted"), ""
        self._words.pack(side="left", padx=self.look.pad(14, 0))
        self.look.follow(self, lambda: self._fit(self.winfo_width()))
        self.bind("<Configure>", lambda event: self._fit(event.width))

    def _fit(self, width: int) -> None:
        """Take room from the field where it is narrow: the state's words need it more.

        What still has none is cut; where little would be left, the dot stands for the words.
        """
        self._words.configure(text=self._said)
        things = [each for each in self.winfo_children() if isinstance(each, ttk.Widget)]
        for characters in FIELD_WIDTHS:
            self.field.configure(width=characters)
            need = sum(each.winfo_reqwidth() for each in things) + self.look.px(PADDING)
            if need <= width:
                return
        if width > 1:
            least = self.look.room(LEAST_WORDS)
            dot = self.look.px(10)
            room = self._words.winfo_reqwidth() - dot - need + width
            words = fitting(self, self._said, room) if room >= least else ""
            self._words.configure(text=words)

    def _brand(self) -> None:
        mark = self.look.strokes("accent", (1.5, 1.5), (6, 6), (1.5, 10.5), width=2.4)
        name = self.label(" lmboot", "text", "Strong", image=mark)
        name.pack(side="left", padx=self.look.pad(0, 14))

    def _buttons(self) -> None:
        """Pack the buttons before field and words: where it is narrow, those give way."""
        settings = self.button("Settings", lambda: self.on_settings(), "Ghost")
        self._refresh = self.button("Refresh", lambda: self.on_refresh(), "Ghost")
        self._open = self.button("Open .gguf…", lambda: self.on_open())
        for button in (settings, self._refresh, self._open):
            button.pack(side="right", padx=self.look.pad(4, 0))

    def allow(self, *, opening: bool, refreshing: bool) -> None:
        """Let a file be opened, and the models be listed anew, or not."""
        self._open.state(["!disabled" if opening else "disabled"])
        self._refresh.state(["!disabled" if refreshing else "disabled"])

    @property
    def address(self) -> str:
        """Return what stands in the field."""
        return str(self.field.get()).strip()

    @address.setter
    def address(self, address: str) -> None:
        self.field.set(address)

    def offer(self, addresses: Sequence[str]) -> None:
        """List addresses to choose from."""
        self.field.configure(values=list(addresses))

    def show_state(self, colour: str, words: str, *, hollow: bool = False) -> None:
        """Show how the server stands; a hollow dot is one that does not answer."""
        self._said = "  " + words
        self._words.configure(image=self.look.dot(colour, hollow=hollow))
        self._fit(self.winfo_width())


class StatusLine(Box):
    """What is going on, in words; figures; and what can be done about it now."""

    def __init__(self, parent: Box) -> None:
        super().__init__(parent, "panel", padding=parent.look.pads(16, 6))
        self._word = self.label("", "text", "Strong")
        self._word.pack(side="left")
        strut = Box(self)  # one height with buttons and without
        strut.pack(side="right")
        self.look.follow(strut, lambda: self._keep_height(strut))
        self._actions = Box(self)
        self._actions.pack(side="right")
        self._figures = CutLabel(self, "muted")
        self._figures.pack(side="left", fill="x", expand=True, padx=self.look.pad(14, 0))
        self._shown: list[tuple[str, bool]] = []
        self._buttons: list[ttk.Button] = []

    def _keep_height(self, strut: Box) -> None:
        strut.configure(height=self.look.linespace + self.look.px(14))

    def show(self, colour: str, word: str, figures: str = "", *, hollow: bool = False) -> None:
        """Say what is going on."""
        self._word.configure(image=self.look.dot(colour, hollow=hollow), text="  " + word)
        self._figures.say(figures)

    def set_actions(self, actions: Sequence[Action]) -> None:
        """Show buttons, the first one leftmost; one called Stop, Kill… is drawn as a danger."""
        can_now = [(label, can) for label, _, can in actions]
        if can_now != self._shown:
            self._shown = can_now
            self._make_buttons(actions)
        for button, (_, press, _) in zip(self._buttons, actions, strict=True):
            button.configure(command=press)

    def _make_buttons(self, actions: Sequence[Action]) -> None:
        self._actions.clear()
        self._buttons = []
        for label, press, can in actions:
            danger = label.partition(" ")[0] in ("Stop", "Kill")
            button = self._actions.button(label, press, "Danger" if danger else "Plain")
            button.state(["!disabled" if can else "disabled"])
            button.pack(side="left", padx=self.look.pad(8, 0))
            self._buttons.append(button)


class NoticeBar(Box):
    """A sentence above the status line that goes away by itself; hidden when there is none."""

    def __init__(self, parent: Box) -> None:
        super().__init__(parent, "raised")
        self.hairline("top")
        inside = Box(self, padding=self.look.pads(16, 8, 8, 8))
        inside.pack(fill="x")
        inside.button("×", self.hide, "Ghost").pack(side="right", anchor="n")
        self._words = inside.label("", "text", wrap=True)
        self._words.pack(side="left", fill="x", expand=True)
        self.words = ""

    def show(self, words: str) -> None:
        """Show a sentence in place of the one before."""
        self.words = words
        self._words.configure(text=words)
        if not self.winfo_manager():
            self.pack(side="bottom", fill="x")

    def hide(self) -> None:
        """Take it away."""
        self.words = ""
        self.pack_forget()
