"""Reads what a program writes for a terminal: colours are kept, all other sequences swallowed.

An escape sequence may be cut anywhere; every buffer has a ceiling, and the work is linear. What
comes out holds no control character that Tk would obey, whatever went in.
"""

from __future__ import annotations

import re
from typing import Literal

from lmboot.gui.lastline import LastLine, Run
from lmboot.gui.shown import visible
from lmboot.gui.textstyle import PLAIN, styled

_LONGEST_PARAMETERS = 256  # characters; a colour takes twenty
_LONGEST_STRING = 64 << 10  # a title or a clipboard; what is longer was never meant to end

_TEXT = re.compile("[^\x07\x08\n\r\x1b\x80-\x9f]+")
_ESCAPES = re.compile("\x1b+")
_PARAMETERS = re.compile("[ -?]+")
# BEL, ST, and what breaks off any sequence; ESC ends it and begins another (`ESC \` is ST, too).
_STRING_END = re.compile("[\x07\x18\x1a\x1b\x9c]")
_STRINGS, _STRINGS_8_BIT = "PX]^_", "\x90\x98\x9d\x9e\x9f"

_Mode = Literal["text", "escape", "csi", "string"]


class Ansi:
    """One stream; `feed` it text in any cutting, and put the runs in place one after another."""

    def __init__(self) -> None:
        """Begin with plain text at the start of a line."""
        self._line = LastLine()
        self._style = PLAIN
        self._mode: _Mode = "text"
        self._held = ""
        self._swallowed = 0

    def feed(self, text: str) -> list[Run]:
        """Return what the text changes on the screen."""
        position = 0
        while position < len(text):
            position = self._step(text, position)
        return self._line.take()

    def break_off(self) -> list[Run]:
        """End a half line with a fold, as another stream goes on below it."""
        self._line.break_off()
        return self._line.take()

    def _step(self, text: str, position: int) -> int:
        if self._mode == "text":
            return self._in_text(text, position)
        if self._mode == "escape":
            return self._in_escape(text, position)
        if self._mode == "csi":
            return self._in_csi(text, position)
        return self._in_string(text, position)

    def _enter(self, mode: _Mode) -> None:
        self._mode, self._held, self._swallowed = mode, "", 0

    def _in_text(self, text: str, position: int) -> int:
        match = _TEXT.match(text, position)
        if match is not None:
            self._line.write(visible(match[0]), self._style)
            return match.end()
        self._control(text[position])
        return position + 1

    def _control(self, character: str) -> None:
        """Obey a control character; BEL and the 8-bit ones that begin nothing do nothing."""
        if character == "\n":
            self._line.newline()
        elif character == "\r":
            self._line.carriage_return()
        elif character == "\x08":
            self._line.backspace()
        elif character == "\x1b":
            self._enter("escape")
        elif character == "\x9b":
            self._enter("csi")
        elif character in _STRINGS_8_BIT:
            self._enter("string")

    def _in_escape(self, text: str, position: int) -> int:
        if match := _ESCAPES.match(text, position):
            self._held = ""
            return match.end()
        character = text[position]
        if " " <= character <= "/" and len(self._held) < _LONGEST_PARAMETERS:
            self._held += character
        elif character == "[" and not self._held:
            self._enter("csi")
        elif character in _STRINGS and not self._held:
            self._enter("string")
        else:
            self._enter("text")
            return position + ("0" <= character <= "~")
        return position + 1

    def _in_csi(self, text: str, position: int) -> int:
        room = _LONGEST_PARAMETERS - len(self._held)
        if match := _PARAMETERS.match(text, position, position + room):
            self._held += match[0]
            return match.end()
        character, held = text[position], self._held
        if character == "\x1b":
            self._enter("escape")
            return position + 1
        self._enter("text")
        if not "@" <= character <= "~":  # no sequence: the character counts for itself
            return position
        if character == "m":
            self._style = styled(self._style, held)
        return position + 1

    def _in_string(self, text: str, position: int) -> int:
        end = min(len(text), position + _LONGEST_STRING - self._swallowed)
        match = _STRING_END.search(text, position, end)
        if match is not None:
            self._enter("escape" if match[0] == "\x1b" else "text")
            return match.end()
        self._swallowed += end - position
        if self._swallowed >= _LONGEST_STRING:
            self._enter("text")
        return end
