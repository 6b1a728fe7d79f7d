"""What the user does to read: find, copy, zoom, go from pane to pane, get help."""

from __future__ import annotations

import tkinter as tk
from typing import TYPE_CHECKING

from lmboot import __version__
from lmboot.gui.state import Action, enabled

if TYPE_CHECKING:
    from lmboot.gui.window import Window

ZOOM_STEPS = (0.8, 0.9, 1.0, 1.1, 1.25, 1.5, 1.75, 2.0, 2.5)
HELP = (
    "A model answers one prompt with a small program: a manifest and a few files.",
    "You see every file before anything is written. If you agree, it runs in a sandbox: no "
    "network, none of your files, and a limit on memory, time and disk.",
    "Then you talk. :rt reaches the program, :ai the model, :ai+ the model with the program's "
    "last lines. :save keeps what it wrote, :quit ends it. A bare line goes where the last one "
    "went; a line that begins with :: is sent with one colon. :clear, :stop and :restart are the "
    "window's own.",
    "Ctrl+C copies what is selected, else interrupts. Esc cancels an asking. Tab completes, Up "
    "and Down go through what you typed, Ctrl+F finds.",
)


class Reading:
    """Works on whatever pane is in front."""

    def __init__(self, window: Window) -> None:
        self._window = window
        self.factor = 1.0

    # ------------------------------------------------------------------ copy and find

    def copy(self) -> bool:
        """Copy what is selected in the widget that has the keyboard; say whether there was any."""
        focused = self._window.root.focus_get()
        if isinstance(focused, tk.Text) and focused.tag_ranges("sel"):
            focused.event_generate("<<Copy>>")
            return True
        if isinstance(focused, tk.Entry) and focused.selection_present():
            focused.event_generate("<<Copy>>")
            return True
        return bool(self._window.frame.session.transcript.copy())

    def copy_or_interrupt(self, _: object = None) -> str:
        """Do what Ctrl+C means in a session."""
        if not self.copy():
            self._window.act(Action.INTERRUPT)
        return "break"

    def copy_lines(self) -> None:
        """Copy the selected lines with time and source."""
        transcript = self._window.frame.session.transcript
        transcript.copy(transcript.selected_lines())

    def select_all(self) -> None:
        """Select the whole text in front."""
        focused = self._window.root.focus_get()
        if focused is not None:
            focused.event_generate("<<SelectAll>>")

    def find(self) -> None:
        """Open the bar that finds words in the session."""
        frame = self._window.frame
        if frame.session.shown == "talk":
            frame.tabs.show("Session")
            frame.session.transcript.find_bar.open()

    def find_next(self, step: int) -> None:
        """Go on to the next place."""
        self._window.frame.session.transcript.find_bar.go(step)

    # ------------------------------------------------------------------ focus and size

    def focus_entry(self) -> None:
        """Put the keyboard where one writes."""
        frame = self._window.frame
        if enabled(self._window.state, Action.SEND):
            frame.tabs.show("Session")
            frame.session.entry.focus_entry()
        else:
            frame.models.filter.focus_set()

    def next_pane(self) -> None:
        """Put the keyboard into the next of: models, Bootstrap, what the page in front has."""
        frame = self._window.frame
        stops = self._on_the_page()
        if frame.side_shown:
            stops = [frame.models.tree, frame.details.button_bootstrap, *stops]
        focused = self._window.root.focus_get()
        at = stops.index(focused) if focused in stops else -1
        if stops:
            stops[(at + 1) % len(stops)].focus_set()

    def _on_the_page(self) -> list[tk.Misc]:
        """Return what can be read or written in on the page in front."""
        frame = self._window.frame
        tab, session, files = frame.tabs.current, frame.session, frame.files
        if tab == "Session":
            if session.shown != "talk":
                return []
            aside = [session.border.routes.first] if session.border_shown else []
            return [session.transcript.text, session.entry.entry, *aside]
        if tab == "Payload":
            return [frame.payload.reader.text]
        if tab == "Log":
            if frame.logs.shown == "audit":
                return [frame.logs.records.filter, frame.logs.records.table.tree]
            return [frame.log.filter, frame.log.reader.text]
        pages: dict[str, list[tk.Misc]] = {
            "review": [files.review.files.tree, files.review.code.text],
            "problems": [files.problems.raw.text],
        }
        return pages.get(files.shown, [])

    def zoom(self, step: int) -> None:
        """Make the texts larger (1), smaller (-1), or as usual (0)."""
        near = min(ZOOM_STEPS, key=lambda each: abs(each - self.factor))
        at = min(max(ZOOM_STEPS.index(near) + step, 0), len(ZOOM_STEPS) - 1)
        self.use_zoom(ZOOM_STEPS[at] if step else 1.0)
        self._window.say(f"text size {self.factor:.0%}")

    def use_zoom(self, factor: float) -> None:
        """Make the texts so many times as large as usual."""
        if factor != self.factor:
            self.factor = factor
            self._window.look.zoom(factor)

    # ------------------------------------------------------------------ help

    def show_help(self) -> None:
        """Say how it works."""
        self._tell("How it works", "\n\n".join(HELP))

    def show_about(self) -> None:
        """Say what this is."""
        words = (
            f"Version {__version__}. Runs what a local model writes, in a sandbox, after you have "
            "read it and agreed. Screen readers can't see Tk's widgets: `lmboot boot` is the same "
            "in a terminal."
        )
        self._tell("lmboot", words)

    def _tell(self, title: str, words: str) -> None:
        from lmboot.gui.question import Question

        window = self._window
        Question(window.root, window.look, title, words, [("Close", "Plain", lambda: None)])
