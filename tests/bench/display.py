"""A desktop for benchmarks, and what a stranger hears of its windows, to the millisecond.

Nothing here asks the program that is measured: a window is there when X says so to others, and a
title has changed when X tells of it.
"""

from __future__ import annotations

import re
import select
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
from Xlib import XK, X
from Xlib.display import Display
from Xlib.error import XError
from Xlib.ext import xtest

from tests.gui.desktop import PATIENCE, PROGRAMS, App, Desktop, wait_until


@contextmanager
def desktop(*, manager: bool = True) -> Iterator[Desktop]:
    """Give a desktop that is empty; RuntimeError where its programs are not installed."""
    if missing := [name for name in PROGRAMS if shutil.which(name) is None]:
        raise RuntimeError(f"not installed: {', '.join(missing)}")
    with tempfile.TemporaryDirectory() as folder, Desktop(Path(folder), manager=manager) as found:
        yield found


def new_home(desktop: Desktop) -> Path:
    """Give the next program folders that nothing has written to yet."""
    home = Path(tempfile.mkdtemp(dir=desktop.home.parent))
    desktop.home = home
    return home


class Watch:
    """A connection of its own to a display, that hears of windows and presses keys."""

    def __init__(self, name: str) -> None:
        """Hear of every window that appears from now on."""
        self._display = Display(name)
        self._display.set_error_handler(lambda *_: None)  # a window that went is no news here
        root = self._display.screen().root
        root.change_attributes(event_mask=X.SubstructureNotifyMask)
        self._title = self._display.intern_atom("_NET_WM_NAME")
        self._display.sync()

    def close(self) -> None:
        """End the connection."""
        self._display.close()

    def forget(self) -> None:
        """Hear no more of what has happened so far."""
        self._display.sync()
        while self._display.pending_events():
            self._display.next_event()

    def mapped(self) -> tuple[Any, float]:
        """Wait for a real window to appear: return it, and when that was heard."""
        found = self._heard(
            lambda event: event.type == X.MapNotify and not event.override and event.window,
            PATIENCE,
        )
        assert found[0], "waited in vain for a window"
        return found

    def titled(self, window: Any, pattern: str, seconds: float = PATIENCE) -> float:
        """Wait until a followed window's title has a match; return when, 0.0 if it was in vain."""
        if re.search(pattern, self._title_of(window)):
            return time.perf_counter()
        return self._heard(
            lambda event: (
                event.type == X.PropertyNotify
                and event.atom == self._title
                and re.search(pattern, self._title_of(window))
            ),
            seconds,
        )[1]

    def follow(self, window: Any) -> Any:
        """Hear of a window's titles from now on; take its number or itself, return itself."""
        if isinstance(window, int):
            window = self._display.create_resource_object("window", window)
        window.change_attributes(event_mask=X.PropertyChangeMask)
        self._display.sync()
        return window

    def _title_of(self, window: Any) -> str:
        with suppress(XError):
            found = window.get_full_property(self._title, X.AnyPropertyType)
            return bytes(found.value).decode() if found else ""
        return ""

    def _heard(self, wanted: Callable[[Any], Any], seconds: float) -> tuple[Any, float]:
        """Read events until one is wanted: what was found in it, and when; (None, 0.0) in vain."""
        end = time.monotonic() + seconds
        while True:
            while self._display.pending_events():
                event, now = self._display.next_event(), time.perf_counter()
                if found := wanted(event):
                    return found, now
            left = max(0.0, end - time.monotonic())
            if not select.select([self._display.fileno()], [], [], left)[0]:
                return None, 0.0

    def press(self, *names: str) -> float:
        """Press keys together ("Control_L", "period"); return when the last one went down."""
        codes = [self._display.keysym_to_keycode(XK.string_to_keysym(name)) for name in names]
        for code in codes:
            now = time.perf_counter()
            xtest.fake_input(self._display, X.KeyPress, code)
        for code in reversed(codes):
            xtest.fake_input(self._display, X.KeyRelease, code)
        self._display.sync()
        return now


def agree(app: App) -> None:
    """Read what lies there for review to its end, and agree to it."""

    def agreed() -> bool:
        app.key("ctrl+End", "ctrl+Return")
        return "review" not in app.title()

    app.wait_title("review")
    app.wait_until(agreed, "the consent to be taken")


def gone(desktop: Desktop) -> None:
    """Wait until nothing that was started there runs any more."""
    wait_until(lambda: not desktop.living(), "its programs to end")


class Others:
    """How busy the machine is beside this benchmark: what was measured next to others is told."""

    def __init__(self) -> None:
        """Begin to count."""
        self._began, self._busy = time.monotonic(), _busy()

    def processors(self) -> float:
        """Return how many processors others kept busy since the beginning, on average."""
        return max(0.0, _busy() - self._busy) / (time.monotonic() - self._began)


def _busy() -> float:
    """Return the seconds that processors spent on others than this process and its children."""
    whole = psutil.cpu_times()
    mine = [psutil.Process(), *psutil.Process().children(recursive=True)]
    return whole.user + whole.nice + whole.system - sum(map(_seconds, mine))


def _seconds(process: psutil.Process) -> float:
    with suppress(psutil.Error):
        return float(sum(process.cpu_times()[:4]))  # with its children that have ended
    return 0.0
