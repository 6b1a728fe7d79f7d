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
    with subprocess.Popen(command, pass_fds=[write], stderr=subprocess.DEVNULL) as process:
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


def drawn_words(canvas: tk.Canvas) -> list[str]:
    """Return the words on a canvas, in the order in which they were drawn."""
    call = canvas.tk.call
    texts = [item for item in canvas.find_all() if call(canvas, "type", item) == "text"]
    return [str(call(canvas, "itemcget", item, "-text")) for item in texts]


def clipped(root: tk.Misc) -> list[str]:
    """Name each text that needs more width than it has."""
    found = []
    for widget in mapped(root):
        wordy = widget.winfo_class() in ("TLabel", "TButton", "TRadiobutton", "TCheckbutton")
        if wordy and widget.winfo_reqwidth() > widget.winfo_width() + 1:
            found.append(f"{widget}: {widget['text']}")
    return found


def keys(widget: tk.Misc, *sequences: str) -> None:
    """Press keys on a widget that has the keyboard."""
    widget.focus_force()
    widget.update()
    for sequence in sequences:
        widget.event_generate(sequence, when="tail")
    widget.update()
