"""A payload that was rejected: what is wrong with it, and the text that it came in."""

from __future__ import annotations

from collections.abc import Sequence

from lmboot.gui.codeview import CodeView
from lmboot.gui.widgets import Action, Box, Flow, Scroller

MOST = 100  # problems that are shown: a hundred are mended before the next are read
LIST = 170  # the most that the list of problems is high
Problem = tuple[str, str, str, int | None]  # code, place ("files[2].path"), words, line


class ProblemsPane(Box):
    """The problems above, the raw text below, and what can be done about it."""

    def __init__(self, parent: Box) -> None:
        super().__init__(parent, "main")
        look = self.look
        foot = self.bar("bottom", pad=(20, 12))
        self._actions = Flow(foot, right=True)
        self._actions.pack(fill="x")
        head = Box(self, padding=look.pads(24, 16, 24, 8))
        head.pack(fill="x")
        self._title = head.label("", "text", "Title", wrap=True)
        self._title.pack(fill="x")
        self._sentence = head.label("", "muted", wrap=True)
        self._sentence.pack(fill="x", pady=look.pad(4, 0))
        self._list = Scroller(self, "main", pad=(24, 4))
        self._list.pack_propagate(False)
        self.bind("<Configure>", lambda event: self._fit(event.height))
        self._list.pack(fill="x")
        self.hairline("top")
        self.raw = CodeView(self)
        self.raw.pack(fill="both", expand=True)
        look.follow(self, lambda: self._fit(self.winfo_height()))

    def _fit(self, height: int) -> None:
        """Leave the text below some room too."""
        self._list.configure(height=min(self.look.room(LIST), max(1, height // 3)))

    def show(
        self,
        title: str,
        sentence: str,
        problems: Sequence[Problem],
        raw: str,
        actions: Sequence[Action],
    ) -> None:
        """Show why a payload was rejected; a problem with a line leads to it in the text."""
        self._title.configure(text=title)
        self._sentence.configure(text=sentence)
        self._list.inside.clear()
        for problem in problems[:MOST]:
            self._problem(*problem)
        if len(problems) > MOST:
            more = f"… and {len(problems) - MOST:,} more"
            self._list.inside.label(more, "muted").pack(anchor="w", pady=self.look.px(4))
        flags = [line for _, _, _, line in problems if line]
        self.raw.show("payload.json", raw, flags)
        self._show_actions(actions)

    def focus_first(self) -> None:
        """Put the keyboard on the first button."""
        for button in self._actions.winfo_children()[:1]:
            button.focus_set()

    def _problem(self, code: str, place: str, words: str, line: int | None) -> None:
        look, row = self.look, Box(self._list.inside)
        row.pack(fill="x", pady=look.px(4))
        row.label(image=look.cross()).pack(side="left", anchor="n", pady=look.pad(3, 0))
        if line:
            see = row.button(f"line {line}", lambda: self.raw.see_line(line), "Ghost")
            see.pack(side="right", anchor="n")
        column = Box(row)
        column.pack(side="left", fill="x", expand=True, padx=look.pad(10, 0))
        column.label(words, wrap=True).pack(fill="x")
        where = "  ·  ".join(part for part in (place, code) if part)
        column.label(where, "faint", "MonoSmall", wrap=True).pack(fill="x", pady=look.pad(2, 0))

    def _show_actions(self, actions: Sequence[Action]) -> None:
        self._actions.clear()
        for text, press, can in actions:
            button = self._actions.button(text, press)
            button.state(["!disabled" if can else "disabled"])
            self._actions.add(button)
