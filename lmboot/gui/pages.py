"""What each state brings to the front; once it is there, the user's own choice of a tab counts."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from lmboot.gui.choosing import WAITING
from lmboot.gui.shown import sentence
from lmboot.gui.state import Action, State, card, enabled
from lmboot.gui.widgets import Action as Button
from lmboot.text import brief

if TYPE_CHECKING:
    from lmboot.gui.window import Window

ASKING = {State.LOADING, State.STREAMING, State.STALLED}
REVIEWING = {State.REVIEW, State.REPLACING}
TALKING = {State.WRITING, State.RUNNING, State.STOPPING, State.ENDED, State.CRASHED}
TABS = {
    **dict.fromkeys(ASKING, "Payload"),
    **dict.fromkeys((State.INVALID, *REVIEWING), "Files"),
    **dict.fromkeys((*TALKING, *WAITING, State.IDLE), "Session"),
}
WHAT = (
    "Bootstrap asks it for a small program. You read it, and if you agree, it runs in a sandbox "
    "and you talk to it."
)
SEED = "A tiny demonstration that comes with lmboot."


class Pages:
    """Fills the tabs' places. `turn` says that the next `show` is the first of a state."""

    def __init__(self, window: Window) -> None:
        self._window = window
        self._tab = ""
        self._card: object = None

    def turn(self) -> None:
        """Go to the state's tab with the next showing."""
        self._tab = TABS.get(self._window.state, "")

    def show(self) -> None:
        """Show what the state is about."""
        window, frame, state = self._window, self._window.frame, self._window.state
        if state in WAITING or (window.choosing.locked and state is State.IDLE):
            self._show_waiting()
        elif state is State.IDLE:
            self._show_welcome()
        elif state in TALKING:
            frame.session.show("talk")
            window.talking.wire()
            frame.session.entry.enable(enabled(state, Action.SEND))
        elif state is State.INVALID and self._tab:
            self._show_problems()
        elif state in REVIEWING:
            frame.files.show("review")
        frame.show_side(state not in TALKING | REVIEWING)
        if self._tab:
            frame.tabs.show(self._tab)
            self._tab = ""
            # What is not there yet would not take the keyboard.
            if state is State.IDLE or state in WAITING:
                window.root.after_idle(self._focus)  # in its time: the window is to be seen soon
            else:
                window.root.update_idletasks()
                self._focus()  # before the next key: what is typed meanwhile would be lost

    def _focus(self) -> None:
        """Put the keyboard where a state begins; never on the button that agrees."""
        frame, state = self._window.frame, self._window.state
        if state is State.INVALID:
            frame.files.problems.focus_first()
        elif state in REVIEWING:
            frame.files.review.code.text.focus_set()
        elif state is State.RUNNING or (state in TALKING and self._lost()):
            frame.session.entry.focus_entry()  # where it is closed, it opens with the next state
        elif state is State.IDLE and self._lost():
            frame.details.button_bootstrap.focus_set()

    def _lost(self) -> bool:
        """Say whether what had the keyboard is not on the screen any more."""
        focused = self._window.root.focus_lastfor()
        return focused is None or not focused.winfo_viewable()

    def _show_waiting(self) -> None:
        window, session = self._window, self._window.frame.session
        if window.choosing.locked:
            session.token.on_token = window.choosing.give_token
            session.show("token")
            why = sentence(window.choosing.why_locked, 300)
            session.token.show(brief(window.choosing.locked, 80), why)
            return
        words = card(window.state, window.facts | {"retry": "a few seconds"})
        ways = self._ways_on()
        session.show("card")
        shown = words, [label for label, _, _ in ways]
        if shown == self._card:
            return  # drawn anew, its buttons would lose the keyboard
        self._card = shown
        session.card.show(
            words.happened.removesuffix("."),
            [words.means, words.to_do.replace("`", "")],
            ways,
            command="lms server start" if window.state is State.NO_SERVER else "",
        )

    def _ways_on(self) -> list[Button]:
        """Return what helps while there is no server."""
        window, ways = self._window, list[Button]()
        chosen = window.choosing.chosen
        if chosen is not None and enabled(window.state, Action.BOOTSTRAP):
            bootstrap = partial(window.act, Action.BOOTSTRAP)
            ways.append((f"Bootstrap the {chosen.name}", bootstrap, True))
        if window.has_lms and enabled(window.state, Action.START_SERVER):
            start = partial(window.act, Action.START_SERVER)
            ways.append(("Start LM Studio's server", start, True))
        if enabled(window.state, Action.REFRESH):
            ways.append(("Retry now", partial(window.act, Action.REFRESH), True))
        return ways

    def _show_welcome(self) -> None:
        window, chosen = self._window, self._window.choosing.chosen
        if chosen is None:
            return
        kept = [
            (brief(name, 60), brief(facts, 120), ("Run", partial(window.run_kept, sha256), True))
            for name, facts, sha256 in window.choosing.kept.get(chosen.id, ())
        ]
        words = f"{SEED} {WHAT}" if chosen.model.kind == "seed" else WHAT
        window.frame.session.show("welcome")
        window.frame.session.welcome.show(chosen.name, words, kept=kept)

    def _show_problems(self) -> None:
        window = self._window
        window.frame.files.show("problems")
        words = card(window.state, window.facts)
        actions = (Action.REPAIR, Action.RETRY, Action.SAVE_REPLY, Action.BACK)
        title = words.happened.partition(":")[0]  # what is wrong stands below
        window.asking.show_problems(title, words.means, window.buttons(actions))
