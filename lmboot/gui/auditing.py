"""The audit logs in the window, at work: which is shown, verified, kept elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lmboot.gui import bordermessages as b

if TYPE_CHECKING:
    from lmboot.gui.records import RecordsPane
    from lmboot.gui.window import Window

KINDS = [("Text", "*.txt"), ("JSON lines", "*.jsonl")]


class Auditing:
    """Has the worker read what is looked at, and shows what it tells."""

    def __init__(self, window: Window) -> None:
        self._window = window
        self.log = ""  # the one that is shown
        self._wanted = ""  # what was chosen; "" is the newest, whichever that is
        self._newest = ""
        self._chosen: b.Record | None = None

    def begin(self) -> None:
        """Take the messages of logs."""
        self._window.take(
            {
                b.Runs: self._runs,
                b.Records: self._records,
                b.Details: self._details,
                b.Judged: self._judged,
            }
        )

    @property
    def _pane(self) -> RecordsPane:
        return self._window.frame.logs.records

    def look(self, shown: bool) -> None:
        """Have the log read while it is on the screen."""
        wanted = self._wanted
        if shown:
            self._wire()
            self._window.post(lambda stage: stage.records.follow(wanted))
        else:
            self._window.post(lambda stage: stage.records.pause())

    def _wire(self) -> None:
        pane = self._pane
        pane.on_run, pane.on_choose = self._choose_run, self._choose
        pane.on_verify, pane.on_export = self.verify, self.export

    def _choose_run(self, name: str) -> None:
        self._wanted = "" if name == self._newest else name
        self.look(True)

    def _runs(self, message: b.Runs) -> None:
        self._newest = message.runs[0][0] if message.runs else ""
        self._pane.show_runs(message.runs)
        if not message.runs:
            self._pane.show_verdict("No program has run yet: there is no log.", "muted")

    def _records(self, message: b.Records) -> None:
        if message.first:
            self.log, self._chosen = message.log, None
            self._pane.begin(message.log)
            if not message.log:
                self._pane.show_verdict("No program has run yet: there is no log.", "muted")
        if message.log == self.log and message.rows:
            self._pane.add(message.rows)
            self._pane.show_head(message.head)

    def _choose(self, record: b.Record) -> None:
        self._chosen = record
        log, at = self.log, record.at
        self._window.post(lambda stage: stage.records.details(log, at))

    def _details(self, message: b.Details) -> None:
        chosen = self._chosen
        if chosen is not None and (message.log, message.at) == (self.log, chosen.at):
            self._pane.show_details(message.text)

    def verify(self) -> None:
        """Have the log that is shown be judged."""
        log = self.log
        if log:
            self._pane.show_verdict("Verifying…", "muted")
            self._window.post(lambda stage: stage.records.verify(log))

    def _judged(self, message: b.Judged) -> None:
        words = "\n".join(message.words)
        self._window.log("audit" if message.whole else "error", words)
        if message.log != self.log:
            return
        self._pane.show_verdict(words, "ok" if message.whole else "bad")
        if message.bad is not None:
            self._pane.see(message.bad)

    def export(self) -> None:
        """Let the user choose a file for the whole log that is shown."""
        log = self.log
        if not log:
            return
        name = f"{log.removesuffix('.jsonl')}.txt"
        path = self._window.talking.ask_path("Export the audit log", name, KINDS)
        if path:
            self._window.post(lambda stage: stage.export_records(log, path))
