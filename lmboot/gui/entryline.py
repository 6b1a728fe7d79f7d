"""Where the user writes: to whom, what, and Send; below the transcript, never inside it."""

from __future__ import annotations

import tkinter as tk
from collections.abc import Callable, Sequence
from tkinter import ttk

from lmboot.gui.above import Above, Hint, HintList, Note, Question
from lmboot.gui.recall import Recall
from lmboot.gui.widgets import Box, nothing

HINTS_AFTER_MS = 150
MOVING = ("Left", "Right", "Home", "End", "Prior", "Next", "Insert", "Delete")
LONGEST = 64 << 10  # characters of a line; Tk's field is slow with more, and no history keeps it


def _none(*_: object) -> None:
    """Complete nothing, remember nothing."""


def _no_hints(_: str) -> Sequence[Hint]:
    return ()


class EntryLine(Box):
    """One line of input. History, completion and hints are the caller's: it gives callables."""

    def __init__(self, parent: Box) -> None:
        super().__init__(parent, "main", padding=parent.look.pads(16, 12))
        self.on_send: Callable[[str, str], None] = nothing
        self.on_change: Callable[[str], None] = nothing
        # lines that were pasted and are to be sent, all of them
        self.on_paste: Callable[[list[str]], None] = self._send_each
        # (what is typed, -1 older or 1 newer) -> what to show instead, None for nothing
        self.history: Callable[[str, int], str | None] = _none
        # (a part of a line, how many to pass over) -> a line that was typed before, or None
        self.search: Callable[[str, int], str | None] = _none
        # (what is typed, cursor) -> what to show instead, None for nothing
        self.complete: Callable[[str, int], str | None] = _none
        # what is typed before the cursor -> what could be meant by a word that begins with ":"
        self.hints: Callable[[str], Sequence[Hint]] = _no_hints
        self._make()
        self._above: Above | None = None
        self._recall: Recall | None = None
        self._timer, self._before = "", ""
        self._bind_keys()

    def _make(self) -> None:
        self.target = self.combobox(values=[":rt", ":ai"], width=4, font="Mono", state="readonly")
        self.target.set(":rt")
        self.target.pack(side="left", fill="y")
        self.entry = ttk.Entry(self, font="Mono", style="main.TEntry")  # first: Tab goes so
        self._send = self.button("Send", self.submit, "Accent")
        self._send.pack(side="right")
        self.entry.pack(fill="both", expand=True, padx=self.look.pad(8, 8))

    def _bind_keys(self) -> None:
        entry = self.entry
        entry.bind("<Return>", self._entered)
        entry.bind("<Up>", lambda _: self._moved(-1))
        entry.bind("<Down>", lambda _: self._moved(1))
        entry.bind("<Tab>", self._completed)
        entry.bind("<<PrevWindow>>", self._left)  # else Shift+Tab is a Tab on some systems
        entry.bind("<Escape>", self._escaped)
        for sequence in ("<Control-r>", "<Control-R>"):
            entry.bind(sequence, self._search_older)
        entry.bind("<Key>", self._searched)
        entry.bind("<KeyRelease>", lambda _: self._changed())
        entry.bind("<<Paste>>", lambda _: self._pasted("CLIPBOARD"))
        entry.bind("<<PasteSelection>>", lambda _: self._pasted("PRIMARY"))
        self.target.bind("<<ComboboxSelected>>", lambda _: self.focus_entry())
        self.bind("<Destroy>", self._destroyed, add=True)

    @property
    def typed(self) -> str:
        """Return what stands in the line."""
        return self.entry.get()

    @typed.setter
    def typed(self, text: str) -> None:
        self.entry.delete(0, "end")
        self.entry.insert(0, text)
        self.entry.xview("end")

    def submit(self) -> None:
        """Hand over the line and its target, and empty it; an empty line goes nowhere."""
        text = self.typed
        if not text or self.entry.instate(["disabled"]):
            return
        self.typed = ""
        self._hide()
        self.on_send(self.target.get(), text)

    def enable(self, enabled: bool) -> None:
        """Let the user write, or not; what is half typed stays."""
        if not enabled:
            self._end_search(accept=False)
            self._hide()
        state = ["!disabled" if enabled else "disabled"]
        for widget in (self.entry, self.target, self._send):
            widget.state(state)

    def show_target(self, target: str) -> None:
        """Show to whom a bare line goes: ":rt" or ":ai"."""
        self.target.set(target)

    def focus_entry(self) -> None:
        """Put the keyboard into the line."""
        self.target.selection_clear()
        self.entry.focus_set()

    # -- above the line --------------------------------------------------------------------

    def show_hints(self, hints: Sequence[Hint]) -> None:
        """Show commands above the line, the first one as the one that Tab takes; () hides them."""
        self._hide()
        if hints:
            self._above = HintList(self._page(), self.entry, hints)

    def _page(self) -> Box:
        return self.master if isinstance(self.master, Box) else self

    def _hide(self) -> None:
        self._wait(None)
        if self._above:
            self._above.destroy()
            self._above = None

    def _wait(self, then: Callable[[], object] | None) -> None:
        """Do something in a while, instead of what was to be done."""
        if self._timer:
            self.after_cancel(self._timer)
        self._timer = self.after(HINTS_AFTER_MS, then) if then else ""

    def _destroyed(self, event: tk.Event[tk.Misc]) -> None:
        if event.widget is self:
            self._wait(None)

    # -- hints and history -----------------------------------------------------------------

    def _put(self, text: str) -> None:
        """Change the line without a key; what was typed asks for hints, this does not."""
        self.typed = self._before = text
        self.on_change(text)

    def _changed(self) -> None:
        if self._recall or self._before == self.typed:
            return
        self._before = self.typed
        self.on_change(self.typed)
        if isinstance(self._above, Question):
            return
        if not self._word().startswith(":"):
            self._hide()
        elif self._above:
            self._show_due()
        else:
            self._wait(self._show_due)

    def _show_due(self) -> None:
        self._timer = ""
        self.show_hints(self.hints(self.typed[: self.entry.index("insert")]))

    def _word(self) -> str:
        """Return the word that ends at the cursor."""
        return self.typed[: self.entry.index("insert")].split(" ")[-1]

    def _chosen(self) -> Hint | None:
        return self._above.chosen if isinstance(self._above, HintList) else None

    def _take(self, hint: Hint) -> None:
        """Put a hint's command in the place of the word at the cursor."""
        command, usage, _ = hint[0].partition(" ")
        cursor, text = self.entry.index("insert"), self.typed
        start = cursor - len(self._word())
        self._put(text[:start] + command + usage + text[cursor:])
        self.entry.icursor(start + len(command + usage))
        self._hide()

    def _moved(self, step: int) -> str:
        """Move in the hints once Down went into them; else go through the history."""
        self._end_search(accept=True)
        if isinstance(self._above, HintList) and (step > 0 or self._chosen()):
            self._above.move(step)
            return "break"
        text = self.history(self.typed, step)
        if text is not None:
            self._put(text)
        return "break"

    def _entered(self, _: object) -> str:
        hint = self._chosen()
        if self._recall:
            self._end_search(accept=True)
        elif hint:
            self._take(hint)
        elif not isinstance(self._above, Question):
            self.submit()
        return "break"

    def _completed(self, _: tk.Event[ttk.Entry]) -> str | None:
        """Complete; where there is nothing to complete, Tab goes on to the next widget."""
        self._end_search(accept=True)
        hint = self._chosen()
        if hint:
            self._take(hint)
            return "break"
        text = self.complete(self.typed, self.entry.index("insert"))
        if text is None:
            return None
        self._put(text)
        return "break"

    def _left(self, _: object) -> None:
        """Let the keyboard go back; what was found stays, as with every key that moves."""
        self._end_search(accept=True)

    def _escaped(self, _: object) -> str | None:
        """Close what is open; with nothing open, the key is the window's."""
        if self._recall:
            self._end_search(accept=False)
        elif self._above:
            self._hide()
        else:
            return None
        return "break"

    # -- searching what was typed ----------------------------------------------------------

    def _search_older(self, _: object) -> str:
        """Begin a search, or go on to an older line."""
        if self.entry.instate(["disabled"]):
            return "break"
        if self._recall:
            self._recall.older()
        else:
            self._recall = Recall(self.search, self.typed)
        self._show_search()
        return "break"

    def _show_search(self) -> None:
        if self._recall is None:
            return
        self.typed = self._recall.line
        if not isinstance(self._above, Note):
            self._hide()
            self._above = Note(self._page(), self.entry)
        self._above.show(self._recall.words)

    def _searched(self, event: tk.Event[ttk.Entry]) -> str | None:
        """Take a letter for the search; a key that moves or does something ends it."""
        if self._recall is None:
            return None
        if event.keysym == "BackSpace":
            self._recall.erase()
        elif event.char and event.char.isprintable():
            self._recall.write(event.char)
        else:
            if event.char or event.keysym in MOVING:
                self._end_search(accept=True)
            return None
        self._show_search()
        return "break"

    def _end_search(self, *, accept: bool) -> None:
        """Leave what was found in the line, or give back what stood there."""
        if self._recall:
            recall, self._recall = self._recall, None
            self._put(recall.line if accept else recall.draft)
            self._hide()

    # -- pasting ---------------------------------------------------------------------------

    def _pasted(self, selection: str) -> str | None:
        """Put one line into the line; ask what to do with more."""
        try:
            text = str(self.tk.call("::tk::GetSelection", self.entry, selection))
        except tk.TclError:
            return None
        self._end_search(accept=True)
        lines = _lines(text)
        if self.entry.instate(["disabled"]):
            return "break"
        if len(lines) == 1 and len(text) <= LONGEST:
            self._insert(lines[0])
        else:
            self._ask(lines)
        return "break"

    def _insert(self, text: str) -> None:
        if self.entry.selection_present():
            self.entry.icursor("sel.first")
            self.entry.delete("sel.first", "sel.last")
        self.entry.insert("insert", text)
        self.entry.xview("insert")
        self._changed()

    def _ask(self, lines: list[str]) -> None:
        """Send nothing before the user says so."""
        self._hide()
        count = sum(map(len, lines))
        answers: list[tuple[str, Callable[[], object]]] = []
        if count > LONGEST:
            words = f"{count:,} characters are more than a line takes"
        else:
            words = f"{len(lines)} lines pasted"
            answers = [
                ("Send all", lambda: self._answered(lambda: self.on_paste(self._around(lines)))),
                ("Join", lambda: self._answered(lambda: self._insert(_joined(lines)))),
            ]
        answers.append(("Cancel", self._answered))
        first = len(answers) // 2  # never the one that sends
        self._above = Question(self._page(), self.entry, words, answers, first=first)

    def _answered(self, do: Callable[[], object] = nothing) -> None:
        self._hide()
        self.focus_entry()
        do()

    def _around(self, lines: list[str]) -> list[str]:
        """Return pasted lines with what stands before and after them, and empty the line."""
        cursor, text = self.entry.index("insert"), self.typed
        self.typed = ""
        return (text[:cursor] + "\n".join(lines) + text[cursor:]).split("\n")

    def _send_each(self, lines: list[str]) -> None:
        for line in filter(None, lines):
            self.on_send(self.target.get(), line)


def _lines(text: str) -> list[str]:
    """Return the lines of what was copied; a newline at its end begins no other one."""
    return text.replace("\r\n", "\n").replace("\r", "\n").rstrip("\n").split("\n")


def _joined(lines: list[str]) -> str:
    return " ".join(line.strip() for line in lines if line.strip())
