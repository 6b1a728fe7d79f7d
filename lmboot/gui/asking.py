"""The tabs Payload and Files at work: the reply as it comes, what is wrong with it, the review."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from lmboot.gui import commands
from lmboot.gui import messages as m
from lmboot.gui.state import Action, Event, State, after
from lmboot.gui.widgets import Action as Button
from lmboot.text import brief

if TYPE_CHECKING:
    from lmboot.gui.window import Window

STALL_SECONDS = 15.0
ARMED_MS = 1000  # a click that was meant for what stood there before must not agree
MOST_SPEEDS = 60
MOST_PROBLEMS = 30  # an X server ends a program one of whose windows is 32,768 high
_SHORT, _LONG = 120, 400  # characters of a stranger's text


class Asking:
    """Shows how a payload comes about; `reply` is the last one, as it came."""

    def __init__(self, window: Window) -> None:
        self._window = window
        self.reply = ""
        self._question: m.ConsentWanted | None = None
        self._refused: m.Refused | None = None
        self._last_piece = 0.0
        self._speeds: deque[float] = deque(maxlen=MOST_SPEEDS)
        self._arming = ""
        self._ready_panes = False
        window.take(
            {
                m.Asked: self._asked,
                m.Writing: self._writing,
                m.Refused: self._take_refused,
                m.ConsentWanted: self._take_question,
            }
        )

    # ------------------------------------------------------------------ the reply comes

    def _asked(self, message: m.Asked) -> None:
        if message.mending:
            self._window.say(message.mending)
        self.begin("was asked again" if message.mending else "was asked")
        self._last_piece = self._window.clock()
        self._window.go(Event.ASKED)

    def begin(self, what: str = "is asked") -> None:
        """Show that nothing has come yet."""
        facts = self._window.facts
        self._window.frame.payload.start(f"{facts['model']} {what}; nothing has come yet")
        facts.pop("tokens", None)  # of the asking before
        self._speeds.clear()

    def _writing(self, message: m.Writing) -> None:
        window, pane = self._window, self._window.frame.payload
        self._last_piece = self._window.clock()
        rate = "—" if message.rate is None else f"~{message.rate:.0f}"
        window.facts |= {
            "size": f"{message.characters / 1000:.1f} kB",
            "tokens": f"{message.tokens:,}",
            "rate": rate,
            "first": f"{message.first:.1f} s",
        }
        window.go(Event.PIECE)
        pane.show_title(f"{window.facts['model']} writes")
        facts = [(rate, "tokens / s"), (f"{message.tokens:,}", "tokens")]
        facts += [(window.facts["size"], "received"), (window.facts["first"], "until the first")]
        if message.thinking:
            facts.append((f"{message.thinking:,}", "characters thought"))
        pane.show_facts(facts)
        if message.rate is not None:
            self._speeds.append(message.rate)
            pane.show_speeds(tuple(self._speeds))
        last = len(message.files) - 1
        pane.show_files(
            [
                (brief(path, _SHORT) or "…", f"{size:,}", number < last)
                for number, (path, size) in enumerate(message.files)
            ]
        )

    def append(self, text: str) -> None:
        """Show a piece of the reply."""
        self._last_piece = self._window.clock()
        self._window.frame.payload.append(text)
        if self._window.state is State.STALLED:
            self._window.go(Event.PIECE)

    def tick(self) -> None:
        """See whether anything has come lately."""
        quiet = self._window.clock() - self._last_piece
        self._window.facts["quiet"] = f"{quiet:.0f} s"
        if quiet >= STALL_SECONDS:
            self._window.go(Event.QUIET)

    # ------------------------------------------------------------------ it was refused

    def _take_refused(self, message: m.Refused) -> None:
        window = self._window
        self.reply, self._refused = message.reply, message
        count = len(message.problems)
        _, place, words, _ = message.problems[0]
        window.facts |= {
            "problems": f"{count} problem{'s' * (count != 1)}",
            "problem": f"{place}: {words}".rstrip("."),
        }
        window.frame.payload.end()
        window.frame.notice.hide()  # it told of the asking
        window.log("error", f"payload rejected: {window.facts['problem']}")
        window.go(Event.REFUSED)

    def show_problems(self, title: str, sentence: str, buttons: list[Button]) -> None:
        """Show what is wrong with the reply."""
        if self._refused is not None:
            refused = self._refused
            pane = self._window.frame.files.problems
            problems: list[tuple[str, str, str, int | None]] = [
                (brief(code, _SHORT), brief(place, _SHORT), brief(words, _LONG), line)
                for code, place, words, line in refused.problems[:MOST_PROBLEMS]
            ]
            if left := len(refused.problems) - len(problems):
                problems.append(("", "", f"and {left} more", None))
            pane.show(title, sentence, problems, refused.shown, buttons)

    # ------------------------------------------------------------------ it is to be reviewed

    def _take_question(self, message: m.ConsentWanted) -> None:
        window = self._window
        if after(window.state, Event.CONSENT_WANTED) is window.state:
            self._decline(message)
            return
        self._question = message
        self.reply = message.reply
        window.facts |= {"payload": message.summary, "sandbox": message.sandbox}
        window.frame.payload.end()
        window.frame.notice.hide()  # it told of the asking
        digest = dict(message.facts)["SHA-256"]
        window.log("consent", f"asked for: {message.summary}, SHA-256 {digest}")
        self._show_review(message)
        window.go(Event.CONSENT_WANTED)

    def _decline(self, message: m.ConsentWanted) -> None:
        """Answer no: it came while the program was being ended, and nobody could be asked."""
        self._window.log("consent", f"not asked for while stopping: {message.summary}")
        self._window.say(f"{message.summary}: came while stopping, is among the kept payloads now")
        self._window.post(lambda stage: stage.answer(message.answer, False))

    def _show_review(self, message: m.ConsentWanted) -> None:
        pane = self._window.frame.files.review
        pane.on_agree = lambda: self._window.act(Action.WRITE_AND_RUN)
        pane.on_back = lambda: self._window.act(Action.BACK)
        pane.show(
            message.files,
            question=message.question,
            facts=message.facts,
            routes=message.routes,
            borders=message.borders,
            warnings=message.warnings,
            flags=message.flags,
            first=message.first,
            agreed_before=message.agreed_before,
        )
        pane.on_all_seen = lambda: commands.refresh(self._window)
        self.forget_timers()
        if not message.agreed_before:
            pane.allow(False)
            self._arming = self._window.root.after(ARMED_MS, self._arm)

    def _arm(self) -> None:
        self._arming = ""
        self._window.frame.files.review.allow(True)
        commands.refresh(self._window)

    def forget_timers(self) -> None:
        """Leave nothing waiting behind."""
        if self._arming:
            self._window.root.after_cancel(self._arming)
            self._arming = ""

    @property
    def can_agree(self) -> bool:
        """Say whether all was seen, and the moment of arming has passed."""
        return self._question is not None and self._window.frame.files.review.can_agree

    def answer(self, agreed: bool) -> None:
        """Answer the question that waits."""
        question, self._question = self._question, None
        self.forget_timers()
        if question is not None:
            window = self._window
            if agreed:
                window.facts["runtime"] = question.name
            window.log("consent", f"{'given' if agreed else 'refused'}: {question.summary}")
            window.post(lambda stage: stage.answer(question.answer, agreed))
