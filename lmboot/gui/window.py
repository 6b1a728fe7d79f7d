"""The window at work: one state, the messages that change it, and what each state shows.

Everything here returns at once: waiting is the worker's, and what it tells is drained a little
at a time, so that no flood takes the keyboard away.
"""

from __future__ import annotations

import gc
import tkinter as tk
from collections.abc import Callable, Mapping
from functools import cached_property, partial
from time import monotonic, strftime
from typing import TYPE_CHECKING, Any

from lmboot.gui import commands
from lmboot.gui import memory as memories
from lmboot.gui import messages as m
from lmboot.gui.asking import Asking
from lmboot.gui.choosing import Choosing
from lmboot.gui.frame import Frame, build_frame
from lmboot.gui.leaving import Leaving
from lmboot.gui.look import Look
from lmboot.gui.outbox import Item, Outbox
from lmboot.gui.pages import ASKING, REVIEWING, Pages
from lmboot.gui.reading import Reading
from lmboot.gui.setting import Setting
from lmboot.gui.shown import sentence, visible
from lmboot.gui.standing import Standing
from lmboot.gui.state import FIRST, Action, Event, State, Trigger, after, enabled
from lmboot.gui.talking import Talking
from lmboot.gui.widgets import Action as Button
from lmboot.gui.worker import Job, Worker
from lmboot.text import brief

if TYPE_CHECKING:
    from lmboot.gui.bordering import Bordering

BUSY_MS, AWAKE_MS, IDLE_MS = 8, 25, 100  # between two looks into the outbox
AWAKE_SECONDS = 3.0  # how long it is looked often after the last thing that happened
COMPLETE_MS = 700  # until then the worker needs the processor more, to list the models
CLOCK_SECONDS = 0.25
NOTICE_SECONDS = 20.0
MOST_NOTICE = 500  # characters; the log has all
PAYLOAD = "payload"

BUTTONS = (  # of the status line, in this order, as far as the state allows them
    Action.CANCEL,
    Action.INTERRUPT,
    Action.STOP,
    Action.KILL,
    Action.KEEP_FILES,
    Action.RESTART,
    Action.BACK,
)
ELSEWHERE = {State.INVALID, *REVIEWING}  # their page has the buttons
ALIVE = {State.RUNNING, State.REPLACING}  # one runtime, whose time goes on


class Window:
    """Joins the frame to the worker. `facts` fill the words of the states.

    `clock` is in seconds and never runs back.
    """

    def __init__(
        self,
        root: tk.Tk,
        look: Look,
        memory: memories.Memory,
        *,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self.root, self.look, self.memory, self.clock = root, look, memory, clock
        self.frame: Frame = build_frame(root, look)
        self.frame.on_audit = lambda shown: self.bordering.auditing.look(shown)
        self.outbox: Outbox[m.Message] = Outbox()
        self.worker = Worker(self.outbox)
        self.state = FIRST
        self.facts: dict[str, str] = {}
        self.has_lms = False
        self.closed = False
        self._handlers: dict[type, Callable[[Any], None]] = {}
        self._since = self._lively = clock()
        self._retry_at = self._clock_at = 0.0
        self._timer = self._later = ""
        self._notice_until = 0.0
        self.take(
            {
                m.Said: self._said,
                m.Complained: self._complained,
                m.Over: self._over,
                m.Done: lambda message: self.say(message.text),
            }
        )
        self.choosing: Choosing = Choosing(self)
        self.asking: Asking = Asking(self)
        self.talking: Talking = Talking(self)
        self.reading: Reading = Reading(self)
        self.setting: Setting = Setting(self)
        self.leaving: Leaving = Leaving(self)
        self.pages: Pages = Pages(self)
        self.standing: Standing = Standing(self)
        commands.fill_menus(self)
        root.report_callback_exception = self._broken
        self.show()

    # ------------------------------------------------------------------ the two threads

    def take(self, handlers: Mapping[type, Callable[[Any], None]]) -> None:
        """Have messages of these types handed to these functions."""
        self._handlers.update(handlers)

    def _handler(self, kind: type) -> Callable[[Any], None]:
        """Return what a message is handed to; who comes in with the first runtime is made then."""
        if kind not in self._handlers:
            self.bordering.begin()
        return self._handlers[kind]

    @cached_property
    def bordering(self) -> Bordering:
        """What is shown and changed of a runtime's border."""
        from lmboot.gui.bordering import Bordering

        return Bordering(self)

    def post(self, job: Job) -> None:
        """Have the worker do something."""
        self._lively = self.clock()
        self.worker.post(job)

    def place(self) -> None:
        """Take the size and place of the last time, where the screen has them."""
        screen = self.root.winfo_screenwidth(), self.root.winfo_screenheight()
        if geometry := memories.fitting(self.memory.geometry, *screen):
            self.root.geometry(geometry)

    def start(self, file: str = "") -> None:
        """Begin to work once the window is there; with a file, open that."""
        if self._timer:
            return  # it was only iconified
        self.worker.start()
        commands.bind_keys(self)  # none could come before
        self.choosing.look()
        if file:
            self.choosing.open_file(file)
        if self.memory.container:
            self.post(lambda stage: stage.use_container(True))
        self.root.after_idle(self.look.finish)
        self._timer = self.root.after(BUSY_MS, self._tick)
        self._later = self.root.after(COMPLETE_MS, self._complete)

    def _complete(self) -> None:
        """Do what the first sight did not need."""
        self._later = ""
        gc.enable()  # `start` had it wait
        from lmboot.gui.drop import accept_files

        self.worker.post(lambda stage: stage.prepare())
        self.frame.make_all()
        why_not = accept_files(self.root, self.choosing.dropped)
        self.frame.models.show_hint(not why_not)
        if why_not:
            self.log("note", why_not)

    def _tick(self) -> None:
        """Show a little of what waits; the rest after whatever the user does meanwhile."""
        self._timer = ""
        more = True  # also when something below raised: it must go on
        try:
            more = self._drain()
            self._show_times()
            if not self.closed:
                self.standing.show_title()
        finally:
            if not self.closed:
                self._timer = self.root.after(self._pause(more), self._tick)

    def _pause(self, more: bool) -> int:
        if more or self._later:  # the models are on their way
            return BUSY_MS
        return AWAKE_MS if self.clock() - self._lively < AWAKE_SECONDS else IDLE_MS

    def _drain(self) -> bool:
        drained = self.outbox.drain()
        for message in drained.messages:
            self._guarded(self._handler(type(message)), message)
        if drained.messages or drained.items:
            self._lively = self.clock()
        reply = [each for each in drained.items if each.stream == PAYLOAD]
        talk = [each for each in drained.items if each.stream != PAYLOAD]
        if reply:
            texts = (x.run.text if isinstance(x, Item) else f"{x.text}\n" for x in reply)
            self._guarded(self.asking.append, "".join(texts))
        if talk:
            self._guarded(self.talking.insert, talk)
        return drained.more

    def _guarded(self, show: Callable[[Any], None], what: Any) -> None:
        """Show one thing; that it can't be must not cost what comes after it."""
        try:
            show(what)
        except Exception as error:  # noqa: BLE001 - an error of lmboot's own, told and survived
            self._broken(type(error), error, None)

    def stop_ticking(self) -> None:
        """Look into the outbox no more, and leave no timer behind."""
        self.closed = True
        for part in (self.choosing, self.asking):
            part.forget_timers()
        if "bordering" in self.__dict__:
            self.bordering.consenting.forget_timers()
        for timer in (self._timer, self._later):
            if timer:
                self.root.after_cancel(timer)

    def _show_times(self) -> None:
        """Keep the times on the screen right, a few times a second."""
        now = self.clock()
        if now < self._clock_at:
            return
        self._clock_at = now + CLOCK_SECONDS
        if self.state is not State.ENDED and self.state is not State.CRASHED:
            self.facts["elapsed"] = duration(now - self._since)
        seconds = round(self._retry_at - now)
        self.facts["retry"] = f"{seconds} s" if seconds > 0 else "a moment"
        if self.state is State.STREAMING or self.state is State.STALLED:
            self.asking.tick()
        if self.frame.notice.words and now > self._notice_until:
            self.frame.notice.hide()
        if self.leaving.overdue:
            self.leaving.destroy()
            return
        self.standing.show()

    # ------------------------------------------------------------------ states

    def go(self, trigger: Trigger) -> bool:
        """Follow a trigger; say whether that led to another state."""
        before, self.state = self.state, after(self.state, trigger)
        if self.state is before:
            return False
        goes_on = {before, self.state} <= ASKING or {before, self.state} <= ALIVE
        if not goes_on:
            self._since = self.clock()
        self._lively = self.clock()
        self.pages.turn()
        self.show()
        return True

    def show(self) -> None:
        """Show what the state is, says and allows."""
        self._clock_at = 0.0
        self.pages.show()
        self.standing.show()
        self.frame.details.show_button(enabled=self.can(Action.BOOTSTRAP))
        opening, refreshing = self.can(Action.OPEN_GGUF), self.can(Action.REFRESH)
        self.frame.server.allow(opening=opening, refreshing=refreshing)
        commands.refresh(self)
        own = () if self.state in ELSEWHERE else BUTTONS
        self.frame.status.set_actions(self.buttons(own))

    def can(self, action: Action) -> bool:
        """Say whether the state allows this now, and there is what it needs."""
        if action is Action.BOOTSTRAP and self.choosing.chosen is None:
            return False
        if action is Action.WRITE_AND_RUN and not self.asking.can_agree:
            return False
        return enabled(self.state, action)

    def buttons(self, actions: tuple[Action, ...]) -> list[Button]:
        """Return those of these actions that the state knows, as buttons."""
        return [
            (action.value, partial(self.act, action), True)
            for action in actions
            if enabled(self.state, action)
        ]

    # ------------------------------------------------------------------ what the user does

    def act(self, action: Action) -> None:
        """Do what a button, a menu or a key stands for, if the state allows it."""
        if self.can(action) and not self.closed:
            _DO[action](self)
            if not self.closed:
                self.standing.show_title()

    def step_back(self) -> None:
        """Refuse what a program asks for, call off an asking, or go back from what is shown."""
        if "bordering" in self.__dict__ and self.bordering.consenting.refuse():
            return
        if enabled(self.state, Action.CANCEL):
            self.act(Action.CANCEL)
        elif self.state in ELSEWHERE:
            self.act(Action.BACK)

    def _bootstrap(self) -> None:
        chosen = self.choosing.chosen
        if chosen is None:
            return
        generation = self.outbox.begin()
        self._begin_anew()
        model = chosen.model
        self.post(lambda stage: stage.bootstrap(generation, model))
        self.asking.begin()
        self.go(Action.BOOTSTRAP if self.state is not State.INVALID else Action.RETRY)

    def _begin_anew(self) -> None:
        """Put a line into the transcript between two sessions; what was told is of the old one."""
        self.talking.divide()
        self.frame.notice.hide()
        self.memory = self.memory._replace(seen=True)

    def _repair(self) -> None:
        generation = self.outbox.begin()
        self.frame.notice.hide()
        self.post(lambda stage: stage.mend(generation))
        self.asking.begin("is asked to repair it")
        self.go(Action.REPAIR)

    def _restart(self) -> None:
        generation = self.outbox.begin()
        self._begin_anew()
        self.facts["payload"] = self.facts.get("runtime", "")  # another may have come since
        self.post(lambda stage: stage.run_again(generation))
        self.go(Action.RESTART)

    def run_kept(self, sha256: str) -> None:
        """Run a payload that the chosen model wrote before."""
        if not enabled(self.state, Action.BOOTSTRAP):
            return
        generation = self.outbox.begin()
        self._begin_anew()
        self.facts |= {"payload": f"payload {sha256[:12]}", "runtime": f"payload {sha256[:12]}"}
        self.post(lambda stage: stage.run_kept(generation, sha256))
        self.go(Event.AGREED_BEFORE)

    def _cancel(self) -> None:
        self.talking.stopping = True
        if self.state in ASKING:
            self.outbox.begin()  # nothing of it is shown any more
            self.frame.payload.end()
            self.say(f"stopped at your request after {self.facts.get('tokens', 'no')} tokens")
        self.post(lambda stage: stage.desk.cancel())
        self.go(Action.CANCEL)

    def _agree(self) -> None:
        self.asking.answer(True)
        self.go(Action.WRITE_AND_RUN)

    def _back(self) -> None:
        if self.state in (State.REVIEW, State.REPLACING):
            self.asking.answer(False)
        elif self.state in (State.ENDED, State.CRASHED):
            self.outbox.begin()
            self.post(lambda stage: stage.desk.cancel())
        self.go(Action.BACK)

    def _stop(self) -> None:
        self.talking.stopping = True
        self.post(lambda stage: stage.desk.stop())
        self.go(Action.STOP)

    def _refresh(self) -> None:
        self.go(Action.REFRESH)
        self.choosing.look()

    def _start_server(self) -> None:
        if self.has_lms:
            self.say("starting LM Studio's server")
            self.post(lambda stage: stage.desk.start_server())

    # ------------------------------------------------------------------ what is told

    def _said(self, message: m.Said) -> None:
        if not message.passing:
            self.log(message.kind, message.text)

    def _complained(self, message: m.Complained) -> None:
        self.log("error", message.text)
        self.say(message.text)

    def _over(self, message: m.Over) -> None:
        """Follow a session's end to where nothing runs."""
        if message.rejected:
            return  # told as such, with its problems
        if message.text:
            self.log("error", message.text)
            self.say(message.text)
        if self.state is State.REPLACING:
            self.go(Event.FAILED)  # nobody waits for the answer any more
        if self.state is State.STOPPING:
            self.go(Event.CANCELLED)
        elif self.state in (State.ENDED, State.CRASHED):
            self.go(Action.BACK)  # there is no session any more to keep files of
        elif self.state is State.RUNNING:
            self.facts["reason"] = message.text or "its session ended"
            self.go(Event.CRASHED)
        else:
            self.go(Event.FAILED)

    def retry_in(self, seconds: float) -> None:
        """Count down to the next look for servers."""
        self._retry_at = self.clock() + seconds

    def log(self, kind: str, words: str) -> None:
        """Add a row to the log."""
        self.frame.log.add([(strftime("%H:%M:%S"), brief(kind), visible(words))])

    def say(self, words: str) -> None:
        """Show a passing sentence above the status line."""
        self.frame.notice.show(sentence(words, MOST_NOTICE))
        self._notice_until = self.clock() + NOTICE_SECONDS

    def _broken(self, kind: type[BaseException], error: BaseException, where: object) -> None:
        """Tell an error of lmboot's own, which must not end the window."""
        self.log("error", f"an error in lmboot itself: {kind.__name__}: {error}")
        self.say(f"an error in lmboot itself: {kind.__name__}: {error}. Please report it.")


_DO: dict[Action, Callable[[Window], None]] = {
    Action.REFRESH: Window._refresh,
    Action.OPEN_GGUF: lambda window: window.choosing.open_dialog(),
    Action.START_SERVER: Window._start_server,
    Action.SETTINGS: lambda window: window.setting.open(),
    Action.BOOTSTRAP: Window._bootstrap,
    Action.RETRY: Window._bootstrap,
    Action.CANCEL: Window._cancel,
    Action.REPAIR: Window._repair,
    Action.SAVE_REPLY: lambda window: window.talking.save_reply(),
    Action.WRITE_AND_RUN: Window._agree,
    Action.BACK: Window._back,
    Action.INTERRUPT: lambda window: window.post(lambda stage: stage.desk.interrupt()),
    Action.STOP: Window._stop,
    Action.KILL: lambda window: window.post(lambda stage: stage.desk.kill()),
    Action.RESTART: Window._restart,
    Action.KEEP_FILES: lambda window: window.talking.keep_files(),
    Action.CLOSE: lambda window: window.leaving.close(),
}


def duration(seconds: float) -> str:
    """Return a time span in words: "8 s", "3:12 min"."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes}:{rest:02d} min"
