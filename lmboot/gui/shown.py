"""Makes visible what a screen would hide or obey, before any text reaches Tk; pure.

Tk drops what follows a NUL in one insert, and raises for a lone surrogate; controls that reorder
or hide would show another program than the one that runs.
"""

from __future__ import annotations

import re

from lmboot.text import brief

_PICTURES = 0x2400  # ␀ and on: one for each control character up to U+001F
_DELETE = "\u2421"
# What hides or reorders; newline and tab are layout and stay.
_HIDDEN = (
    "\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180e\u200b-\u200f"
    "\u2028-\u202e\u2060-\u206f\u3164\ufeff\uffa0\ufff0-\ufffb\U0001bca0-\U0001bca3"
    "\U0001d173-\U0001d17a\U000e0000-\U000e00ff\U000e01f0-\U000e0fff\ud800-\udfff"
)
# Variation selectors draw nothing, but common emoji carry one: only a review writes them out.
_SELECTORS = "\u180b-\u180d\u180f\ufe00-\ufe0f\U000e0100-\U000e01ef"
# What the signs below are made of: left as it is, it could pose as one of them.
_SIGNS = "\u2400-\u241f\u2421⟦"

_TO_SHOW = re.compile(f"[{_HIDDEN}]")
_TO_REVIEW = re.compile(f"[{_HIDDEN}{_SELECTORS}{_SIGNS}]")
_WRITTEN_OUT = re.compile("([\u2400-\u241f\u2421])|⟦U\\+([0-9A-F]{4,6})⟧")


def visible(text: str) -> str:
    """Return what may be inserted: controls as pictures, hidden characters as ⟦U+202E⟧.

    A lone surrogate becomes U+FFFD. Newlines and tabs stay.
    """
    return _TO_SHOW.sub(_sign, text)


def sentence(text: str, limit: int) -> str:
    """Return one short line that begins as a sentence does; a name at its start stays as it is."""
    line = brief(text, limit)
    return line[:1].upper() + line[1:] if line.partition(" ")[0].isalpha() else line


def for_review(text: str) -> str:
    """Return the text with all that hides written out, so that `unescape` gives it back.

    No two texts look the same in review: the signs themselves are written out where the text
    has them already, and so are lone surrogates.
    """
    return _TO_REVIEW.sub(_exact_sign, text)


def unescape(shown: str) -> str:
    """Return the text that `for_review` was given."""
    return _WRITTEN_OUT.sub(_original, shown)


def _sign(match: re.Match[str]) -> str:
    character = match[0]
    return "\ufffd" if "\ud800" <= character <= "\udfff" else _picture(character)


def _exact_sign(match: re.Match[str]) -> str:
    return _picture(match[0])


def _picture(character: str) -> str:
    code = ord(character)
    if code < 0x20:
        return chr(_PICTURES + code)
    return _DELETE if character == "\x7f" else f"⟦U+{code:04X}⟧"


def _original(match: re.Match[str]) -> str:
    picture, code = match[1], match[2]
    if code:
        return chr(int(code, 16))
    return "\x7f" if picture == _DELETE else chr(ord(picture) - _PICTURES)
