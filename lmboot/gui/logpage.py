"""The log's tab: what lmboot said, and what is on file of each run."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING

from lmboot.gui.controls import Segments
from lmboot.gui.log import LogPane
from lmboot.gui.widgets import Box, Stack, nothing

if TYPE_CHECKING:
    from lmboot.gui.records import RecordsPane

PARTS = {"messages": "Messages", "audit": "Audit"}


class LogPage(Box):
    """Two parts on one page; `on_audit` is told when the second one comes into sight or leaves."""

    def __init__(self, parent: Box) -> None:
        super().__init__(parent, "main")
        self.on_audit: Callable[[bool], object] = nothing
        head = Box(self, padding=self.look.pads(16, 10, 16, 0))
        head.pack(fill="x")
        self.part = Segments(head, "messages", PARTS)
        self.part.pack(side="left")
        self._actions = Box(head)
        self.part.on_choose = self._turn
        self._stack = Stack(self, "main")
        self._stack.pack(fill="both", expand=True)
        self.messages = LogPane(self._stack)
        self._stack.add("messages", self.messages)

    @cached_property
    def records(self) -> RecordsPane:
        """The table of records; made when it is first wanted."""
        from lmboot.gui.records import RecordsPane

        pane = RecordsPane(self._stack, self._actions)
        pane.bind("<Map>", lambda _: self.on_audit(True))
        pane.bind("<Unmap>", lambda _: self.on_audit(False))
        self._stack.add("audit", pane)
        return pane

    @property
    def shown(self) -> str:
        """Return which part is in front: "messages" or "audit"."""
        return self._stack.shown

    def _turn(self, part: str) -> None:
        if part == "audit":
            self.records.update_idletasks()
            self._actions.pack(side="right")
        else:
            self._actions.pack_forget()
        self._stack.show(part)
