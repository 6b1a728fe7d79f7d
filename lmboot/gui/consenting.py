"""Requests of the program that runs, at work: one is asked after the other, and each can end."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from lmboot.gui import bordermessages as b
from lmboot.gui.asking import ARMED_MS
from lmboot.runtime.kinds import consent
from lmboot.text import brief

if TYPE_CHECKING:
    from lmboot.gui.window import Window
    from lmboot.runtime.asking import Scope

FOLDER = "A folder for the program: {op}"


class Consenting:
    """Shows one request at a time; those that nobody waits for any more vanish."""

    def __init__(self, window: Window) -> None:
        self._window = window
        self._waiting: deque[b.Wanted] = deque()
        self._arming = ""

    def begin(self) -> None:
        """Take the messages of requests."""
        self._window.take({b.Wanted: self._wanted, b.Withdrawn: self._withdrawn})

    def _wanted(self, request: b.Wanted) -> None:
        self._window.log("request", f"{request.op} {request.what}".strip())
        self._waiting.append(request)
        if len(self._waiting) == 1:
            self._show()
        else:
            self._window.frame.request.show_waiting(len(self._waiting) - 1)

    def _withdrawn(self, message: b.Withdrawn) -> None:
        """Forget a request that was answered, here or by its end."""
        if not any(each.number == message.number for each in self._waiting):
            return
        first = self._waiting[0]
        self._waiting = deque(each for each in self._waiting if each.number != message.number)
        if first.number == message.number:
            self._window.log("request", f"withdrawn: {first.op} {first.what}".strip())
            self._show()
        else:
            self._window.frame.request.show_waiting(len(self._waiting) - 1)

    def _show(self) -> None:
        """Show the request whose turn it is; its answers are armed a moment later."""
        self.forget_timers()
        window = self._window
        if not self._waiting:
            self._hide()
            return
        request, card = self._waiting[0], window.frame.request
        card.on_answer = self.answer
        card.bind("<Map>", lambda _: self._begin_arming())
        program = brief(window.facts.get("runtime", ""), 60) or "The program"
        waiting = len(self._waiting) - 1
        title = f"{program} asks for {request.op}"
        means = consent(request.op, chooses_folder=request.chooses_folder)
        card.show(title, request.what, means, _answers(request), waiting)
        window.frame.show_request(True)
        self._begin_arming()

    def _hide(self) -> None:
        frame = self._window.frame
        had_keys = frame.request.has_keys
        frame.show_request(False)
        if had_keys:
            self._window.reading.focus_entry()

    def _begin_arming(self) -> None:
        """Wait until whoever clicks has seen what there is; anew when it comes onto the screen."""
        self.forget_timers()
        self._window.frame.request.arm(False)
        self._arming = self._window.root.after(ARMED_MS, self._arm)

    def _arm(self) -> None:
        self._arming = ""
        self._window.frame.request.arm(True)

    def answer(self, scope: Scope) -> None:
        """Answer the request that is shown; one that grants a folder has it chosen first."""
        if not self._waiting:
            return
        request, folder = self._waiting[0], ""
        if scope != "no" and request.chooses_folder:
            folder = self._choose_folder(request)
            if not folder or request not in self._waiting:
                return  # none was chosen, or nobody waits any more
        self._waiting.remove(request)
        what = f"{request.op} {request.what} {folder}".strip()
        self._window.log("consent", f"{scope}: {what}")
        self._window.post(lambda stage: stage.allow(request.answer, scope, folder))
        self._show()

    def _choose_folder(self, request: b.Wanted) -> str:
        from tkinter import filedialog

        window = self._window
        chosen = filedialog.askdirectory(
            parent=window.root,
            title=FOLDER.format(op=request.op),
            initialdir=window.memory.folder or None,
            mustexist=True,
        )
        return str(chosen or "")

    def refuse(self) -> bool:
        """Answer no to the request that is shown; say whether there was one."""
        there = bool(self._waiting)
        self.answer("no")
        return there

    def focus(self) -> None:
        """Put the keyboard on the request."""
        if self._waiting:
            self._window.frame.request.focus_no()
        else:
            self._window.say("no program asks for anything")

    def forget_timers(self) -> None:
        """Call nothing later any more."""
        if self._arming:
            self._window.root.after_cancel(self._arming)
        self._arming = ""


def _answers(request: b.Wanted) -> dict[Scope, str]:
    more = "…" if request.chooses_folder else ""
    return {
        "no": "No",
        "once": f"Once{more}",
        "while": f"For {request.minutes} minutes{more}",
        "always": f"Always for this payload{more}",
    }
