"""The menus: what they hold is the caller's, how they look is not."""

from __future__ import annotations

import tkinter as tk
from collections.abc import Callable, Mapping, Sequence
from typing import Literal

from lmboot.gui.look import Look

# a label, the keys shown beside it, what it does; None is a line between
Item = tuple[str, str, Callable[[], object]] | None


class Menus:
    """The menu bar of one window. Keys are only shown here: binding them is the caller's."""

    def __init__(self, root: tk.Tk, look: Look) -> None:
        self._look = look
        self._bar = tk.Menu(root)
        self._menus: dict[str, tk.Menu] = {}
        root.configure(menu=self._bar)
        look.follow(self._bar, self._paint)

    def set(self, menus: Mapping[str, Sequence[Item]]) -> None:
        """Fill the bar: the menus by their names, in this order."""
        self._bar.delete(0, "end")
        for menu in self._menus.values():
            menu.destroy()
        self._menus = {name: self._make(items) for name, items in menus.items()}
        for name, menu in self._menus.items():
            self._bar.add_cascade(label=name, menu=menu, underline=0)
        self._paint()

    def enable(self, menu: str, label: str, enabled: bool) -> None:
        """Let an item be chosen, or not."""
        self._menus[menu].entryconfigure(label, state="normal" if enabled else "disabled")

    def _make(self, items: Sequence[Item]) -> tk.Menu:
        menu = tk.Menu(self._bar, tearoff=False)
        for item in items:
            if item is None:
                menu.add_separator()
            else:
                label, keys, command = item
                menu.add_command(label=label, accelerator=keys, command=command)
        return menu

    def _paint(self) -> None:
        for menu in (self._bar, *self._menus.values()):
            paint(menu, self._look)


class Popup:
    """A menu that comes where it is asked for, with what can be done there and then."""

    def __init__(self, parent: tk.Misc, look: Look) -> None:
        self.menu = tk.Menu(parent, tearoff=False)
        look.follow(self.menu, lambda: paint(self.menu, look))

    def show(self, items: Sequence[tuple[Item, bool]], x: int, y: int) -> None:
        """Show items, those that can be chosen and those that can't, at a place of the screen."""
        self.menu.delete(0, "end")
        for item, can in items:
            if item is None:
                self.menu.add_separator()
                continue
            label, keys, command = item
            state: Literal["normal", "disabled"] = "normal" if can else "disabled"
            self.menu.add_command(label=label, accelerator=keys, command=command, state=state)
        self.menu.tk_popup(x, y)


def paint(menu: tk.Menu, look: Look) -> None:
    """Give a menu the colours of the palette."""
    menu.configure(
        background=look["panel"],
        foreground=look["text"],
        activebackground=look["select"],
        activeforeground=look["text"],
        disabledforeground=look["faint"],
        font="TkMenuFont",
        relief="flat",
        borderwidth=0,
        activeborderwidth=look.px(3),
    )
