"""A real Tk for the tests, on a display that they start themselves when there is none."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
import tkinter as tk
from collections.abc import Callable, Iterator
from contextlib import contextmanager

SCREEN = "2200x1500x24"
PATIENCE = 20.0 if os.environ.get("CI") else 4.0


@contextmanager
def display() -> Iterator[str]:
    """Give the name of a display; one that had to be started ends with the block."""
    there = os.environ.get("DISPLAY")
    if there:
        yield there
        return
    server = shutil.which("Xvfb")
    if server is None:
        yield ""
        return
    read, write = os.pipe()
    command = [server, "-displayfd", str(write), "-screen", "0", SCREEN, "-nolisten", "tcp"]
    quiet = subprocess.DEVNULL  # also for a reader of ours: it must not wait for the server
    with subprocess.Popen(command, pass_fds=[write], stdout=quiet, stderr=quiet) as process:
        os.close(write)
        with os.fdopen(read) as pipe:
            os.environ["DISPLAY"] = f":{pipe.readline().strip()}"
        try:
            yield os.environ["DISPLAY"]
        finally:
            del os.environ["DISPLAY"]
            process.terminate()


def wait_until(root: tk.Misc, condition: Callable[[], object], seconds: float = PATIENCE) -> None:
    """Keep Tk going until something is so; fail when it does not come to be."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        root.update()
        time.sleep(0.002)


def settle(root: tk.Misc) -> None:
    """Let Tk lay out and draw what was asked for; layouts may take more than one turn."""
    for _ in range(4):
        root.update()


def mapped(widget: tk.Misc) -> Iterator[tk.Misc]:
    """Yield every widget that is on the screen."""
    if widget.winfo_ismapped():
        yield widget
        for child in widget.winfo_children():
            yield from mapped(child)


def texts_on(canvas: tk.Canvas) -> list[int]:
    """Return the texts on a canvas, in the order in which they were drawn."""
    return [item for item in canvas.find_all() if canvas.tk.call(canvas, "type", item) == "text"]


def drawn_words(canvas: tk.Canvas) -> list[str]:
    """Return the words on a canvas, in the order in which they were drawn."""
    return [str(canvas.tk.call(canvas, "itemcget", it, "-text")) for it in texts_on(canvas)]


def clipped(root: tk.Misc) -> list[str]:
    """Name each text that needs more width than it has."""
    found = []
    for widget in mapped(root):
        wordy = widget.winfo_class() in ("TLabel", "TButton", "TRadiobutton", "TCheckbutton")
        if wordy and widget.winfo_reqwidth() > widget.winfo_width() + 1:
            found.append(f"{widget}: {widget['text']}")
    return found


def outside(root: tk.Misc) -> list[str]:
    """Name each text that is not wholly in the window; what can be scrolled to is left out.

    What finds no room at all, Tk takes off the screen.
    """
    found = []
    for box in mapped(root):
        for widget in box.winfo_children():
            wordy = widget.winfo_class() in ("TLabel", "TButton", "TEntry", "TCombobox")
            placed = widget.winfo_manager() in ("pack", "grid", "place")
            if wordy and placed and not _in_canvas(widget) and not _seen(widget):
                found.append(f"{widget}: {widget.winfo_geometry()}")
    return found


def _seen(widget: tk.Misc) -> bool:
    return widget.winfo_ismapped() and _inside(widget, widget.winfo_toplevel())


def _in_canvas(widget: tk.Misc) -> bool:
    above = widget.master
    return above is not None and (above.winfo_manager() == "canvas" or _in_canvas(above))


def _inside(widget: tk.Misc, outer: tk.Misc) -> bool:
    left, top = (
        widget.winfo_rootx() - outer.winfo_rootx(),
        widget.winfo_rooty() - outer.winfo_rooty(),
    )
    right, bottom = left + widget.winfo_width(), top + widget.winfo_height()
    return 0 <= left < right <= outer.winfo_width() and 0 <= top < bottom <= outer.winfo_height()


def keys(widget: tk.Misc, *sequences: str) -> None:
    """Press keys on a widget that has the keyboard."""
    widget.focus_force()
    widget.update()
    for sequence in sequences:
        widget.event_generate(sequence, when="tail")
    widget.update()
