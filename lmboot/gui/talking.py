"""The session tab at work: the line to write in, what was typed before, what comes of it."""

from __future__ import annotations

from time import strftime
from typing import TYPE_CHECKING

from lmboot.gui import messages as m
from lmboot.gui.commands import first_in
from lmboot.gui.lastline import Run
from lmboot.gui.outbox import Item, Skipped
from lmboot.gui.pages import ASKING
from lmboot.gui.state import Action, Event, enabled

if TYPE_CHECKING:
    from lmboot.gui.history import History
    from lmboot.gui.window import Window

LOCAL = {":clear": "clear", ":stop": "stop", ":restart": "restart"}  # the window's own commands
CUT = "The whole line is in the transcript: Ctrl+S saves it."
WORDS = {
    "memory": "it used more memory than it may",
    "cpu": "it computed longer than it may",
    "wall": "its time was up",
    "processes": "it started more processes than it may",
    "disk": "it wrote more than its disk holds",
    "output": "it printed more than it may",
    "unclean": "not all of its processes could be ended",
}


class Talking:
    """Sends lines, shows what comes, and knows how the runtime ended."""

    def __init__(self, window: Window) -> None:
        self._window = window
        self.histories: dict[str, History] = {}
        self._limit = ""
        self._wired = False
        self.stopping = False
        window.take({m.Happened: self._happened})

    # ------------------------------------------------------------------ what comes

    def insert(self, items: list[Item | Skipped]) -> None:
        """Put what was drained into the transcript, in one go; no more comes until it is drawn."""
        window = self._window
        window.outbox.hold()
        try:
            window.frame.session.transcript.insert_batch(_by_pane(items))
        finally:
            window.root.after_idle(window.outbox.go_on)

    def _happened(self, message: m.Happened) -> None:
        window, event = self._window, message.event
        window.log(event, message.text)
        if event == "started":
            self._limit, self.stopping = "", False
            self._follow()
            window.facts["sandbox"] = message.text.rpartition(" in ")[2]
            window.go(Event.STARTED)
        elif event == "limit":
            self._limit = str(message.details.get("limit", ""))
        elif event == "unclean":
            self._limit = event
        elif event == "route" and {"withdrawn", "too_late"} & message.details.keys():
            window.say(message.text)
        elif event == "grant" and "but" in message.details:
            window.say(f"Granted, but {message.details['but']}")
        elif event == "error" and window.state in ASKING:
            window.go(Event.FAILED)  # a trigger that was typed into a session
        elif event == "ended":
            self._ended(int(message.details.get("code", 0)))

    def _ended(self, code: int) -> None:
        """Tell an end from a crash: what was asked to end may do so with any status."""
        facts = self._window.facts
        facts["code"] = str(code)
        if self._limit:
            facts["reason"] = WORDS.get(self._limit, f"it went over its limit of {self._limit}")
        elif code > 128:
            facts["reason"] = f"killed by signal {code - 128}"
        else:
            facts["reason"] = f"status {code}"
        crashed = bool(self._limit) or (code != 0 and not self.stopping)
        self._window.go(Event.CRASHED if crashed else Event.ENDED)

    def _follow(self) -> None:
        """Show the newest line and follow what comes, wherever one was reading."""
        focused = self._window.root.focus_lastfor()
        self._window.frame.session.transcript.jump_to_latest()
        if focused is not None:
            focused.focus_set()

    def divide(self) -> None:
        """Begin another session below what was said in the one before."""
        self.stopping = False
        transcript = self._window.frame.session.transcript
        if transcript.lines:
            transcript.rule(f"another session, {strftime('%H:%M:%S')}")

    # ------------------------------------------------------------------ what is typed

    def wire(self) -> None:
        """Take the entry over; it is made when the session is first shown."""
        if self._wired:
            return
        self._wired = True
        entry = self._window.frame.session.entry
        entry.on_send = self.send
        entry.history = self._recall
        entry.complete = self._complete
        entry.search = self._search
        entry.hints = self._hints
        first_in(entry.entry)
        transcript = self._window.frame.session.transcript
        transcript.on_cut = lambda _: self._window.say(CUT)
        for widget in (entry.entry, transcript.text):
            widget.bind("<Control-c>", self._window.reading.copy_or_interrupt)

    def send(self, target: str, text: str) -> None:
        """Hand over a line; a bare one goes to the target that is shown."""
        window = self._window
        if not enabled(window.state, Action.SEND):
            return
        self._history(target).add(text)
        self._follow()
        word = text.split(" ", 1)[0]
        if word in LOCAL:
            self._do(LOCAL[word])
            return
        if text.startswith("::"):
            line = f"{target} {text[1:]}"
        elif text.startswith(":"):
            line = text
        else:
            line = f"{target} {text}"
        if word in (":ai", ":ai+", ":rt"):
            window.frame.session.entry.show_target(":rt" if word == ":rt" else ":ai")
        if word == ":quit":
            self._quit()
            return
        window.post(lambda stage: stage.desk.send(line))

    def _quit(self) -> None:
        """End the runtime by the line that was typed; where it has ended, leave the session."""
        window = self._window
        if enabled(window.state, Action.STOP):
            self.stopping = True
            window.post(lambda stage: stage.desk.send(":quit"))
            window.go(Action.STOP)
        else:
            window.act(Action.BACK)

    def _do(self, what: str) -> None:
        window = self._window
        if what == "clear":
            window.frame.session.transcript.clear()
            return
        action = Action.STOP if what == "stop" else Action.RESTART
        if window.can(action):
            window.act(action)
        else:
            window.say(f":{what}: not while it is {window.state.value}")

    def _history(self, target: str) -> History:
        from lmboot.gui.history import History

        return self.histories.setdefault(target, History())

    def _recall(self, typed: str, step: int) -> str | None:
        mine = self._history(self._window.frame.session.entry.target.get())
        return mine.older(typed) if step < 0 else mine.newer(typed)

    def _search(self, text: str, skip: int) -> str | None:
        return self._history(self._window.frame.session.entry.target.get()).containing(text, skip)

    @staticmethod
    def _hints(before: str) -> list[tuple[str, str, str]]:
        from lmboot.gui.completion import hints

        return hints(before)

    def _complete(self, typed: str, cursor: int) -> str | None:
        """Return the text with as much added as all options share; None without an option."""
        from lmboot.gui.completion import complete

        target = self._window.frame.session.entry.target.get()
        found = complete(typed[:cursor], self._history(target).entries)
        if not found.options:
            return None
        done = found.options[0] + " " if len(found.options) == 1 else found.common
        return typed[: found.start] + done + typed[cursor:]

    # ------------------------------------------------------------------ what is kept

    def keep_files(self) -> None:
        """Let the user choose a folder for what the runtime wrote."""
        from tkinter import filedialog

        window = self._window
        folder = filedialog.askdirectory(
            parent=window.root,
            title="Keep what the program wrote: choose a new or empty folder",
            initialdir=window.memory.folder or None,
            mustexist=False,
        )
        if folder:
            window.memory = window.memory._replace(folder=str(folder).rpartition("/")[0])
            window.post(lambda stage: stage.desk.send(f":save {folder}"))

    def save_transcript(self) -> None:
        """Let the user choose a file for all that was said."""
        path = self.ask_path(
            "Save the transcript", "session.txt", [("Text", "*.txt"), ("JSON lines", "*.jsonl")]
        )
        if path:
            self._window.post(lambda stage: stage.save_transcript(path))

    def save_reply(self) -> None:
        """Let the user choose a file for the model's reply, as it came."""
        reply = self._window.asking.reply
        path = self.ask_path(
            "Save the model's reply", "reply.txt", [("Text", "*.txt"), ("All files", "*")]
        )
        if path:
            self._window.post(lambda stage: stage.save_text(path, reply))

    def ask_path(self, title: str, name: str, kinds: list[tuple[str, str]]) -> str:
        """Let the user choose a file to write; "" when none is wanted."""
        from tkinter import filedialog

        window = self._window
        return str(
            filedialog.asksaveasfilename(
                parent=window.root,
                title=title,
                initialfile=name,
                initialdir=window.memory.folder or None,
                filetypes=kinds,
            )
            or ""
        )


def _by_pane(items: list[Item | Skipped]) -> list[tuple[str, list[Run]]]:
    """Return runs with the pane they are for; what was skipped is told by the window itself."""
    batch: list[tuple[str, list[Run]]] = []
    for item in items:
        pane, run = (
            ("sys", Run(item.text + "\n"))
            if isinstance(item, Skipped)
            else (item.stream, item.run)
        )
        if not batch or batch[-1][0] != pane:
            batch.append((pane, []))
        batch[-1][1].append(run)
    return batch
