"""Opens the window, or says in one line why there is none."""

from __future__ import annotations

import gc
import os
import signal
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lmboot.gui.window import Window

NO_TK = (
    "lmboot: the window needs Tk, and this Python has none (Debian, Ubuntu: sudo apt-get install "
    "python3-tk; Fedora: sudo dnf install python3-tkinter; macOS: brew install python-tk)"
)
NO_DISPLAY = "lmboot: there is no display for the window"
INSTEAD = "; here is the terminal session\n"
# How long the window waits until a thread that works must let it have its turn. The usual 5 ms can
# become many times that: a thread that writes often gives the turn away and takes it right back,
# and whoever waits begins to count anew each time.
SWITCH_SECONDS = 0.0001


def open_window(file: str = "") -> bool:
    """Show the window until it is closed; False, after a line on stderr, where that can't be."""
    if not _may_have_display():
        return _no_window(NO_DISPLAY)
    try:
        import tkinter as tk
    except ImportError:
        return _no_window(NO_TK)
    from lmboot.gui.look import before_root

    before_root()
    try:
        root = tk.Tk(className="Lmboot")
    except tk.TclError:
        return _no_window(NO_DISPLAY)
    _run(root, file)
    return True


def _may_have_display() -> bool:
    """Say whether it is worth while to load Tk."""
    return sys.platform in ("win32", "darwin") or bool(os.environ.get("DISPLAY"))


def _no_window(why: str) -> bool:
    sys.stderr.write(why + INSTEAD)
    return False


def _run(root, file: str) -> None:  # type: ignore[no-untyped-def] # tkinter is not imported yet
    from lmboot.gui import memory
    from lmboot.gui.early import early, own_folder
    from lmboot.gui.look import Look, system_theme
    from lmboot.gui.window import Window

    gc.disable()  # nothing made from here on is garbage; the window enables it when it is settled
    sys.setswitchinterval(SWITCH_SECONDS)
    root.withdraw()
    seen = early(os.path.join(own_folder("config"), "settings.toml"))
    remembered = memory.load(os.path.join(own_folder("state"), memory.NAME))
    theme = system_theme(root) if seen.theme == "system" else seen.theme
    window = Window(root, Look(root, theme, seen.scale), remembered)
    window.place()
    root.deiconify()
    root.bind("<Map>", lambda event: window.start(file) if event.widget is root else None)
    _end_on_signals(window)
    if sys.platform == "darwin":
        _follow_the_mac(window)
    root.mainloop()
    root.destroy()
    window.worker.join(1.0)


def _follow_the_mac(window: Window) -> None:
    """Answer what macOS asks of a program; not tried there yet."""
    from lmboot.gui.state import Action

    root = window.root
    root.createcommand("::tk::mac::Quit", window.leaving.ask)
    root.createcommand("::tk::mac::ShowPreferences", lambda: window.act(Action.SETTINGS))
    root.createcommand("::tk::mac::OpenDocument", lambda *files: window.choosing.dropped([*files]))


def _end_on_signals(window: Window) -> None:
    """Close in order when told to; the mainloop looks at signals with its next timer."""
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), lambda *_: window.leaving.leave())
