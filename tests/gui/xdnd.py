"""A program that files are dragged out of, as file managers are: XDND, version 5.

    done = drop(":99", 200, 150, uri_list("/tmp/a model.gguf"))

It finds the window under the mouse that takes drops, asks it, lets go of what it drags, hands
the data over when asked for it, and says what the window says has become of it.
"""

from __future__ import annotations

import select
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from Xlib import X, Xatom
from Xlib.display import Display
from Xlib.protocol.event import ClientMessage, SelectionNotify

VERSION = 5
PATIENCE = 15.0  # the oldest tkdnd that lmboot takes waits ten for data that does not come


def uri_list(*paths: str | Path) -> bytes:
    """Return paths as file managers put them: URIs, a line each."""
    return "".join(f"{Path(path).as_uri()}\r\n" for path in paths).encode()


def drop(
    display: str, x: int, y: int, data: bytes | None, kinds: Sequence[str] = ("text/uri-list",)
) -> str:
    """Drag data to a place on the screen and let go; return "XdndActionCopy", or "" if refused.

    Without data the drag looks as any other, but nothing is handed over when it is asked for.
    """
    with closing(Display(display)) as connection:
        return _Drag(connection, data, kinds).to(x, y)


class _Drag:
    """One drag, from the window that it begins in to the word that it is over."""

    def __init__(self, display: Any, data: bytes | None, kinds: Sequence[str]) -> None:
        self._display = display
        self._root = display.screen().root
        self._data = data
        self._kinds = [self._atom(kind) for kind in kinds]
        self._window = self._root.create_window(
            0, 0, 1, 1, 0, X.CopyFromParent, event_mask=X.PropertyChangeMask
        )

    def _atom(self, name: str) -> int:
        return int(self._display.intern_atom(name))

    def to(self, x: int, y: int) -> str:
        self._root.warp_pointer(x, y)
        target, version = self._target(x, y)
        self._take_selection()
        more = len(self._kinds) > 3
        self._window.change_property(self._atom("XdndTypeList"), Xatom.ATOM, 32, self._kinds)
        first = [*self._kinds, 0, 0][:3]
        self._tell(target, "XdndEnter", version << 24 | more, *first)
        copy = self._atom("XdndActionCopy")
        self._tell(target, "XdndPosition", 0, x << 16 | y, self._time, copy)
        _, accepts, _, _, _ = self._answer("XdndStatus")
        if not accepts & 1:
            self._tell(target, "XdndLeave")
            return ""
        self._tell(target, "XdndDrop", 0, self._time)
        # the bit that says "accepted" is another one with tkdnd than with the standard
        _, _, action, _, _ = self._answer("XdndFinished")
        return str(self._display.get_atom_name(action)) if action else ""

    def _target(self, x: int, y: int) -> tuple[Any, int]:
        """Wait for a window that takes drops there, and return it and its version.

        With a window manager's frame around it, it is inside of that.
        """
        end = time.monotonic() + PATIENCE
        while not (found := self._aware(x, y)):
            assert time.monotonic() < end, f"nothing at {x}, {y} takes drops"
            time.sleep(0.02)
        return found

    def _aware(self, x: int, y: int) -> tuple[Any, int] | None:
        aware, window = self._atom("XdndAware"), self._root
        while window:
            if version := window.get_full_property(aware, Xatom.ATOM):
                return window, min(VERSION, int(version.value[0]))
            window = window.translate_coords(self._root, x, y).child
        return None

    def _take_selection(self) -> None:
        """Own what is dragged, from the server's now on: a change of one's own tells the time."""
        self._window.change_property(self._atom("LMBOOT_NOW"), Xatom.INTEGER, 32, [0])
        self._time = int(self._next(X.PropertyNotify).time)
        self._window.set_selection_owner(self._atom("XdndSelection"), self._time)

    def _tell(self, target: Any, name: str, *words: int) -> None:
        data = [self._window.id, *words, 0, 0, 0, 0][:5]
        target.send_event(
            ClientMessage(window=target, client_type=self._atom(name), data=(32, data))
        )

    def _answer(self, name: str) -> tuple[int, ...]:
        """Wait for a message of the target, and hand over the data in the meantime."""
        wanted = self._atom(name)
        while True:
            event = self._next(X.ClientMessage)
            if event.client_type == wanted:
                return tuple(int(word) for word in event.data[1])

    def _next(self, kind: int) -> Any:
        end = time.monotonic() + PATIENCE
        while True:
            self._display.flush()
            left = end - time.monotonic()
            if not self._display.pending_events() and not _readable(self._display, left):
                raise AssertionError("the target does not answer")
            while self._display.pending_events():
                event = self._display.next_event()
                if event.type == X.SelectionRequest:
                    self._hand_over(event)
                elif event.type == kind:
                    return event

    def _hand_over(self, event: Any) -> None:
        if self._data is None:
            return
        known = event.target in self._kinds
        if known:
            event.requestor.change_property(event.property, event.target, 8, self._data)
        event.requestor.send_event(
            SelectionNotify(
                time=event.time,
                requestor=event.requestor,
                selection=event.selection,
                target=event.target,
                property=event.property if known else X.NONE,
            )
        )


def _readable(display: Any, seconds: float) -> bool:
    return bool(select.select([display.fileno()], [], [], max(seconds, 0))[0])
