"""What the session's place shows when there is no session: what is wrong, or what will happen."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from lmboot.gui.widgets import Action, Box, Flow, Scroller

if TYPE_CHECKING:
    from lmboot.gui.sandboxpart import SandboxPart

STEPS = (
    (
        "It writes",
        "The model answers one prompt with a small program: a manifest and a few files.",
    ),
    (
        "You review",
        "You see every file, every permission and every limit. "
        "Nothing is written before you agree.",
    ),
    (
        "You talk",
        "The program starts in a sandbox: no network, none of your files, a folder of its own. "
        ":rt  reaches the program,  :ai  the model,  :quit  ends the program.",
    ),
)


class Card(Scroller):
    """One thing to know and what can be done about it: a title, sentences, buttons."""

    def __init__(self, parent: Box) -> None:
        super().__init__(parent, "main", width=528, pad=(24, 24), centred=True)

    def show(
        self,
        title: str,
        sentences: Sequence[str],
        actions: Sequence[Action] = (),
        *,
        command: str = "",
        quote: str = "",
        filled: bool = False,
    ) -> None:
        """Show a card; `command` can be copied, `quote` is what a program wrote last.

        The first action is filled when the caller says so: then it must be the screen's only one.
        """
        self.inside.clear()
        card = Box(self.inside, card="PanelCard", padding=self.look.pads(32, 28))
        card.pack(fill="x")
        self._words(card, title, sentences)
        if quote:
            box = self._inset(card)
            text = box.label(quote, "muted", "MonoSmall", wrap=True)
            text.pack(fill="x", pady=self.look.px(6))
        if command:
            self._command(self._inset(card), command)
        self._buttons(card, actions, filled)

    def focus_first(self) -> None:
        """Put the keyboard on the first button."""
        for widget in self.inside.winfo_children()[-1].winfo_children()[-1].winfo_children()[:1]:
            widget.focus_set()

    def _words(self, card: Box, title: str, sentences: Sequence[str]) -> None:
        card.label(title, "text", "Title", wrap=True).pack(fill="x", pady=self.look.pad(0, 10))
        for sentence in sentences:
            card.label(sentence, "muted", wrap=True).pack(fill="x", pady=self.look.pad(0, 8))

    def _inset(self, card: Box) -> Box:
        box = Box(card, card="MainCard", padding=self.look.pads(14, 6, 6, 6))
        box.pack(fill="x", pady=self.look.pad(8, 8))
        return box

    def _command(self, box: Box, command: str) -> None:
        def copy() -> None:
            self.clipboard_clear()
            self.clipboard_append(command)

        box.button("Copy", copy, "Ghost").pack(side="right")
        box.label(command, "text", "Mono").pack(side="left")

    def _buttons(self, card: Box, actions: Sequence[Action], filled: bool) -> None:
        row = Flow(card)
        row.pack(fill="x", pady=self.look.pad(8, 0))
        for number, (text, press, can) in enumerate(actions):
            kind = "Ghost" if number > 1 else "Accent" if filled and not number else "Plain"
            button = row.button(text, press, kind)
            button.state(["!disabled" if can else "disabled"])
            row.add(button)


class Welcome(Scroller):
    """What Bootstrap will do with the chosen model, in three steps."""

    def __init__(self, parent: Box) -> None:
        super().__init__(parent, "main", pad=(32, 24))
        self._shown: object = None
        self._body = Box(self.inside)
        self._body.pack(fill="x")
        self._sandbox: SandboxPart | None = None

    def sandbox(self, container: bool) -> SandboxPart:
        """Return the part below that says where it will run; made when that is first known."""
        from lmboot.gui.sandboxpart import SandboxPart

        if self._sandbox is None:
            self._sandbox = SandboxPart(self.inside, container)
            self._sandbox.pack(fill="x")
        return self._sandbox

    def show(
        self,
        title: str,
        sentence: str,
        *,
        steps: Sequence[tuple[str, str]] = STEPS,
        kept: Sequence[tuple[str, str, Action]] = (),
    ) -> None:
        """Show the steps, and kept payloads (name, facts, action)."""
        shown = (title, sentence, tuple(steps), tuple(k[:2] for k in kept))
        if shown == self._shown:
            return
        self._shown = shown
        inside, pad = self._body, self.look.pad
        inside.clear()
        inside.label(title, "text", "Title", wrap=True).pack(fill="x")
        inside.label(sentence, "muted", wrap=True).pack(fill="x", pady=pad(4, 14))
        for number, (name, words) in enumerate(steps, 1):
            self._step(number, name, words)
        if kept:
            inside.caption("Kept payloads of this model", before=20, after=6)
            for entry in kept:
                self._kept(*entry)

    def _step(self, number: int, name: str, words: str) -> None:
        look, row = self.look, Box(self._body)
        row.pack(fill="x", pady=look.px(7))
        badge = look.shape("select", radius=13, core=(0, 0))
        row.label(str(number), "accent", "Strong", image=badge).pack(side="left", anchor="n")
        row.winfo_children()[0]["compound"] = "center"
        column = Box(row, padding=look.pads(14, 0))
        column.pack(side="left", fill="x", expand=True)
        column.label(name, "text", "Strong").pack(anchor="w")
        column.label(words, "muted", wrap=True).pack(fill="x", pady=look.pad(2, 0))

    def _kept(self, name: str, facts: str, action: Action) -> None:
        look = self.look
        card = Box(self._body, card="PanelCard", padding=look.pads(14, 6, 6, 6))
        card.pack(fill="x", pady=look.px(3))
        text, press, can = action
        button = card.button(text, press, "Ghost")
        button.state(["!disabled" if can else "disabled"])
        button.pack(side="right")
        card.label(name, "text", "Strong").pack(side="left", padx=look.pad(0, 14))
        card.label(facts, "muted", wrap=True).pack(side="left", fill="x", expand=True)
