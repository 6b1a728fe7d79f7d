"""The menus, and the keys that stand beside their items; one table for both."""

from __future__ import annotations

import sys
import tkinter as tk
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from lmboot.gui.state import Action

if TYPE_CHECKING:
    from lmboot.gui.menus import Item
    from lmboot.gui.window import Window

MAC = sys.platform == "darwin"
MOD = "Command" if MAC else "Control"
SHOWN_MOD = "⌘" if MAC else "Ctrl+"
ESCAPE = "Escape"  # means more than one item, and a field has its own use for it
TAG = "LmbootKeys"  # comes before a field's class, which would take some of the keys


KEY_NAMES = {
    "period": ".",
    "comma": ",",
    "equal": "+",
    "minus": "-",
    "Escape": "Esc",
    "Return": "Enter",
}


class Command(NamedTuple):
    """One item: its label, its keys ("Mod+b F5"), and an action or a function."""

    label: str
    keys: str
    does: Action | Callable[[Window], object]


Line = Command | None

MENUS: dict[str, tuple[Line, ...]] = {
    "File": (
        Command("Open .gguf…", "Mod+o", Action.OPEN_GGUF),
        Command("Refresh models", "F5 Mod+r", Action.REFRESH),
        None,
        Command("Save transcript…", "Mod+s", lambda window: window.talking.save_transcript()),
        Command("Save reply…", "", Action.SAVE_REPLY),
        Command("Keep files…", "", Action.KEEP_FILES),
        None,
        Command("Settings…", "Mod+comma", Action.SETTINGS),
        Command("Quit", "Mod+q", lambda window: window.leaving.ask()),
    ),
    "Edit": (
        Command("Copy", "", lambda window: window.reading.copy()),
        Command("Copy with prefixes", "Mod+Shift+C", lambda window: window.reading.copy_lines()),
        Command("Select all", "", lambda window: window.reading.select_all()),
        None,
        Command("Find…", "Mod+f", lambda window: window.reading.find()),
        Command("Find next", "F3", lambda window: window.reading.find_next(1)),
        Command("Find previous", "Shift+F3", lambda window: window.reading.find_next(-1)),
    ),
    "View": (
        Command("Session", "Mod+1", lambda window: window.frame.tabs.show("Session")),
        Command("Payload", "Mod+2", lambda window: window.frame.tabs.show("Payload")),
        Command("Files", "Mod+3", lambda window: window.frame.tabs.show("Files")),
        Command("Log", "Mod+4", lambda window: window.frame.tabs.show("Log")),
        None,
        Command(
            "Models", "Mod+m", lambda window: window.frame.show_side(not window.frame.side_shown)
        ),
        Command("Routes and grants", "Mod+g", lambda window: window.bordering.toggle()),
        Command("Answer a request", "Mod+j", lambda window: window.bordering.consenting.focus()),
        Command("Next pane", "F6", lambda window: window.reading.next_pane()),
        Command("Clear session", "Mod+k", lambda window: window.frame.session.transcript.clear()),
        None,
        Command("Larger", "Mod+equal Mod+plus", lambda window: window.reading.zoom(1)),
        Command("Smaller", "Mod+minus", lambda window: window.reading.zoom(-1)),
        Command("Usual size", "Mod+0", lambda window: window.reading.zoom(0)),
    ),
    "Session": (
        Command("Bootstrap", "Mod+b", Action.BOOTSTRAP),
        Command("Write & run", "Mod+Return", Action.WRITE_AND_RUN),
        Command("Ask model to repair", "", Action.REPAIR),
        Command("Ask again", "", Action.RETRY),
        Command("Cancel", ESCAPE, Action.CANCEL),
        None,
        Command("Write a line", "Mod+l", lambda window: window.reading.focus_entry()),
        Command("Interrupt", "", Action.INTERRUPT),
        Command("Stop", "Mod+period", Action.STOP),
        Command("Kill now", "Mod+Shift+K", Action.KILL),
        Command("Run again", "", Action.RESTART),
        Command("Back", "", Action.BACK),
    ),
    "Help": (
        Command("How it works", "F1", lambda window: window.reading.show_help()),
        Command("About lmboot", "", lambda window: window.reading.show_about()),
    ),
}


def fill_menus(window: Window) -> None:
    """Fill the menus."""
    menus: dict[str, list[Item]] = {}
    for name, lines in MENUS.items():
        menus[name] = [line and _item(window, line) for line in lines]
    window.frame.menus.set(menus)


def bind_keys(window: Window) -> None:
    """Bind every key, for fields too."""
    for lines in MENUS.values():
        for line in lines:
            if line is not None:
                _bind(window, line)
    window.root.bind("<Escape>", lambda _: window.step_back())


def _item(window: Window, line: Command) -> Item:
    return line.label, shown(line.keys), _doing(window, line)


def _doing(window: Window, command: Command) -> Callable[[], object]:
    does = command.does
    if isinstance(does, Action):
        return lambda: window.act(does)
    return lambda: does(window)


def _bind(window: Window, command: Command) -> None:
    do = _doing(window, command)

    def press(_: tk.Event[tk.Misc]) -> str:
        do()
        return "break"

    for keys in command.keys.split():
        for sequence in sequences(keys) if keys != ESCAPE else ():
            window.root.bind(sequence, press)
            window.root.bind_class(TAG, sequence, press)


def sequences(keys: str) -> list[str]:
    """Return what Tk calls "Mod+b": with Caps Lock on, the capital is the key that comes."""
    *modifiers, key = keys.replace("Mod", MOD).split("+")
    letter = len(key) == 1 and key.isalpha()
    names = [key.lower(), key.upper()] if letter and "Shift" not in modifiers else [key]
    return [f"<{'-'.join([*modifiers, 'Key-' + name])}>" for name in names]


def shown(keys: str) -> str:
    """Return what a menu shows of "Mod+b F5": the first of them, as it is called on a keyboard."""
    first = keys.split(" ")[0]
    *modifiers, key = first.split("+")
    name = KEY_NAMES.get(key, key.upper() if len(key) == 1 else key)
    return "".join(SHOWN_MOD if each == "Mod" else f"{each}+" for each in modifiers) + name


def first_in(field: tk.Misc) -> None:
    """Have the keys come before what a field's class does with them, after what is its own."""
    own, *others = field.bindtags()
    if TAG not in others:
        field.bindtags((own, TAG, *others))


def refresh(window: Window) -> None:
    """Let those items be chosen that can do something now."""
    for name, lines in MENUS.items():
        for line in lines:
            if line is not None and isinstance(line.does, Action):
                window.frame.menus.enable(name, line.label, window.can(line.does))
