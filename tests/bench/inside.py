"""The window as a program that is watched from inside: `python -m tests.bench.inside FILE`.

Nothing of it is changed, but a heartbeat and two ears are added. When it has ended, FILE holds
what they took down, in seconds of the clock that all processes share:

    {"beats": [[when, how late], ...], "keys": [[when, how late], ...], "last_insert": when}

A beat is late by what kept the event loop from it; a key by the time from the X server's stamp on
its press, which is cut to whole milliseconds, until the line to write in has taken it.
"""

from __future__ import annotations

import json
import sys
import tkinter as tk
from array import array
from collections.abc import Callable
from pathlib import Path
from time import monotonic
from typing import Any

from lmboot.gui.start import open_window
from lmboot.gui.talking import Talking
from lmboot.gui.window import Window

BEAT_MS = 5
X_CLOCK = 1 << 32  # X counts milliseconds, and begins anew here


class Inside:
    """Takes down how late everything is; numbers only, so that it weighs little."""

    def __init__(self) -> None:
        self.beats, self.keys = array("d"), array("d")
        self.last_insert = 0.0
        self._due = 0.0

    def watch(self, root: tk.Tk) -> None:
        """Begin, once the window is there."""
        root.bind_all("<Key>", self._key, add=True)  # comes last: the entry has taken it
        self._due = monotonic()
        self._beat(root)

    def _beat(self, root: tk.Tk) -> None:
        now = monotonic()
        self.beats.extend((now, now - self._due))
        self._due = now + BEAT_MS / 1000
        root.after(BEAT_MS, self._beat, root)

    def _key(self, event: tk.Event[tk.Misc]) -> None:
        now = monotonic()
        late = (now * 1000 - event.time) % X_CLOCK
        self.keys.extend((now, late / 1000))

    def figures(self) -> str:
        """Return all as JSON."""
        beats, keys = (
            list(zip(each[::2], each[1::2], strict=True)) for each in (self.beats, self.keys)
        )
        return json.dumps({"beats": beats, "keys": keys, "last_insert": self.last_insert})


def watched(inside: Inside) -> None:
    """Have the window begin to be watched when it begins to work."""

    def also_watch(window: Window) -> None:
        if not inside.beats:
            inside.watch(window.root)

    def also_note(_: Talking) -> None:
        inside.last_insert = monotonic()

    _add(Window, "start", also_watch)
    _add(Talking, "insert", also_note)


def _add(owner: type, name: str, does: Callable[[Any], None]) -> None:
    """Have something done after each call of a method."""
    method = getattr(owner, name)

    def both(self: Any, *arguments: Any) -> None:
        method(self, *arguments)
        does(self)

    setattr(owner, name, both)


if __name__ == "__main__":
    taken = Inside()
    watched(taken)
    open_window()
    Path(sys.argv[1]).write_text(taken.figures())
