"""A display as a stranger sees it: which windows stand there, whose they are, who has the keys."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from Xlib import X
from Xlib.display import Display
from Xlib.error import XError
from Xlib.ext import res
from Xlib.protocol.event import ClientMessage

FIRST_KEY, KEYS = 8, 248  # the codes that X has for keys
DEEPEST = 3  # the screen, a window manager's frame, what is in it


@dataclass(frozen=True)
class Window:
    """One window on the screen; a dialog is any but a program's first."""

    number: int
    title: str
    dialog: bool


class XServer:
    """A connection to a display, to look around and to say what a window manager would say."""

    def __init__(self, name: str) -> None:
        self._display = Display(name)
        self._display.set_error_handler(_nothing)
        self._root = self._display.screen().root

    def close(self) -> None:
        """End the connection."""
        self._display.close()

    def managed(self) -> bool:
        """Say whether a window manager is at work."""
        check = self._property(self._root, "_NET_SUPPORTING_WM_CHECK")
        screen = self._atom("WM_S0")
        return bool(check) and self._display.get_selection_owner(screen) != X.NONE

    def windows(self, process: int) -> list[Window]:
        """Return a program's windows as they are on the screen now, its first one first."""
        ours = [each for each in self._named() if self._owner(each) == process]
        found = [window for each in ours if (window := self._read(each))]
        return sorted(found, key=lambda window: (window.dialog, window.number))

    def _named(self) -> Iterator[Any]:
        """Yield what has a class: programs' windows, not their frames and not their menus."""
        layer = [self._root]
        for _ in range(DEEPEST):
            layer = [child for each in layer for child in self._children(each)]
            yield from (each for each in layer if self._property(each, "WM_CLASS"))

    def _children(self, window: Any) -> list[Any]:
        try:
            return list(window.query_tree().children)
        except XError:
            return []  # it went in the meantime, here and below

    def _owner(self, window: Any) -> int:
        try:
            asked = {"client": window.id, "mask": res.LocalClientPIDMask}
            (answer,) = self._display.res_query_client_ids([asked]).ids
        except (XError, ValueError):
            return 0
        return int(answer.value[0])

    def _read(self, window: Any) -> Window | None:
        try:
            attributes = window.get_attributes()
        except XError:
            return None
        if attributes.override_redirect or attributes.map_state != X.IsViewable:
            return None
        kind = self._property(window, "WM_CLASS").split(b"\0")
        follows = bool(self._property(window, "WM_TRANSIENT_FOR"))
        title = self._property(window, "_NET_WM_NAME").decode("utf-8", "replace")
        return Window(window.id, title, follows or b"Toplevel" in kind)

    def _property(self, window: Any, name: str) -> bytes:
        try:
            found = window.get_full_property(self._atom(name), X.AnyPropertyType)
        except XError:
            return b""
        return bytes(found.value) if found else b""

    def _atom(self, name: str) -> int:
        return int(self._display.intern_atom(name))

    def has_keyboard(self, windows: list[Window]) -> bool:
        """Say whether what is typed goes to one of these, and a manager has done with giving it.

        While a manager is at it, it may take the keyboard back for a moment.
        """
        focus = self._display.get_input_focus().focus
        ours = {window.number for window in windows}
        told = self._property(self._root, "_NET_ACTIVE_WINDOW")[:4]
        settled = int.from_bytes(told, sys.byteorder) in ours or not self.managed()
        return settled and any(number in ours for number in self._upwards(focus))

    def _upwards(self, window: Any) -> Iterator[int]:
        while not isinstance(window, int) and window.id != self._root.id:
            yield window.id
            try:
                window = window.query_tree().parent
            except XError:
                return

    def give_keyboard(self, window: Window) -> None:
        """Let what is typed go to a window."""
        self._object(window).set_input_focus(X.RevertToParent, X.CurrentTime)
        self._display.sync()

    def place(self, window: Window) -> tuple[int, int]:
        """Return where on the screen the contents of a window begin."""
        found = self._root.translate_coords(self._object(window), 0, 0)
        return int(found.x), int(found.y)

    def _object(self, window: Window) -> Any:
        return self._display.create_resource_object("window", window.number)

    def teach_keyboard(self, text: str) -> None:
        """Give a key of its own to each character that has none.

        Tools that type do so too, but give one key to a character after the other, faster than
        a program under load looks which one it has just now.
        """
        rows = self._display.get_keyboard_mapping(FIRST_KEY, KEYS)
        known = {keysym for row in rows for keysym in row}
        spare = [key for key, row in enumerate(rows, FIRST_KEY) if not any(row)]
        for character in dict.fromkeys(text):
            if character.isprintable() and _keysym(character) not in known:
                assert spare, f"no key is left for {character!r}"
                pair = [_keysym(each) for each in _cases(character)]
                self._display.change_keyboard_mapping(spare.pop(), [pair])
                known.update(pair)
        self._display.sync()

    def ask_to_close(self, window: Window) -> None:
        """Say what a click on the cross of a window's frame says."""
        found = self._object(window)
        data = (32, [self._atom("WM_DELETE_WINDOW"), X.CurrentTime, 0, 0, 0])
        found.send_event(
            ClientMessage(window=found, client_type=self._atom("WM_PROTOCOLS"), data=data)
        )
        self._display.sync()


def _cases(character: str) -> tuple[str, str]:
    """Return what a key gives alone and with Shift, as only pairs of letters are typed right."""
    small, large = character.lower(), character.upper()
    return (small, large) if len(small) == len(large) == 1 else (character, character)


def _keysym(character: str) -> int:
    """Return a character's number on keyboards, by the library that xdotool asks."""
    return int(ctypes.CDLL("libxkbcommon.so.0").xkb_utf32_to_keysym(ord(character)))


def _nothing(*_: object) -> None:
    """Overhear what the server complains about: windows that went are no news here."""
