"""What is really drawn on an X display, pixel by pixel."""

from __future__ import annotations

import tkinter as tk
from contextlib import closing

from Xlib import X
from Xlib.display import Display


def rows(widget: tk.Misc, left: int, top: int, width: int, height: int) -> list[list[str]]:
    """Return a part of a widget as rows of colours, #rrggbb; it must be on the screen."""
    for _ in range(3):  # a question to the display takes its answer after all that was drawn
        widget.winfo_pointerxy()
        widget.update()
    with closing(Display(widget.winfo_screen())) as display:
        window = display.create_resource_object("window", widget.winfo_id())
        data = window.get_image(left, top, width, height, X.ZPixmap, 0xFFFFFFFF).data
    cells = [
        f"#{data[at + 2]:02x}{data[at + 1]:02x}{data[at]:02x}" for at in range(0, len(data), 4)
    ]
    return [cells[at : at + width] for at in range(0, len(cells), width)]


def inked(widget: tk.Misc, left: int, top: int, width: int, height: int) -> tuple[int, int]:
    """Return the first and the last column where anything is drawn."""
    part = rows(widget, left, top, width, height)
    back = part[0][0]
    found = [left + x for x in range(width) if any(row[x] != back for row in part)]
    return found[0], found[-1]
