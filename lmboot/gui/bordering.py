"""The border's column at work: what a click changes, and what is told of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lmboot.gui import bordermessages as b
from lmboot.gui.auditing import Auditing
from lmboot.gui.consenting import Consenting
from lmboot.gui.sandboxing import Sandboxing
from lmboot.runtime.kinds import may

if TYPE_CHECKING:
    from lmboot.gui.window import Window


class Bordering:
    """Shows the border of the runtime that runs; all changes are the worker's."""

    def __init__(self, window: Window) -> None:
        self._window = window
        self.border: b.Border | None = None
        self.consenting: Consenting = Consenting(window)
        self.auditing: Auditing = Auditing(window)
        self.sandboxing: Sandboxing = Sandboxing(window)

    def begin(self) -> None:
        """Take the messages that come with a runtime."""
        self._window.take({b.Bordered: self._bordered})
        self.consenting.begin()
        self.auditing.begin()
        self.sandboxing.begin()

    def _bordered(self, message: b.Bordered) -> None:
        session, self.border = self._window.frame.session, message.border
        if message.border is not None:
            self._wire()
            session.border.show(message.border)
        elif "border" in session.__dict__:
            session.border.grants.close_form()
        session.show_border(message.border is not None)

    def _wire(self) -> None:
        column = self._window.frame.session.border
        column.on_flip = self.flip
        column.grants.on_revoke = lambda grant: self._change(
            "revoke", f"{grant.kind} {grant.name}"
        )
        column.grants.on_folder = self._grant_folder
        column.grants.on_host = lambda host: self._change("grant", f"fetch {host}")

    def toggle(self) -> None:
        """Show the column if it is hidden, hide it if it is shown."""
        session = self._window.frame.session
        session.border_wanted = not session.border_wanted
        session.show_border(self.border is not None)
        if self.border is None:
            self._window.say("routes and grants are shown while a program runs")

    def flip(self, op: str, route: str) -> None:
        """Ask for a route; where the payload or the policy holds it back, say so."""
        routes = self.border.routes if self.border else ()
        held = {each.op: dict(each.held) for each in routes}
        if why := held.get(op, {}).get(route):
            self._window.say(f"{op} can't be {route}: {why}")
        self._change("route", f"{op} {route}")

    def _grant_folder(self, writable: bool) -> bool:
        """Let the user choose a folder; say whether one was chosen."""
        from tkinter import filedialog

        window = self._window
        kind = "write" if writable else "read"
        folder = filedialog.askdirectory(
            parent=window.root,
            title=f"The program may {may(kind, 'the folder that you choose')}",
            initialdir=window.memory.folder or None,
            mustexist=True,
        )
        if folder:
            self._change("grant", f"{kind} {folder.rstrip('/')}/")
        return bool(folder)

    def _change(self, verb: str, text: str) -> None:
        self._window.post(lambda stage: stage.change_border(verb, text))
