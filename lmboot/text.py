"""Which characters a screen hides or obeys, and how to show them; pure.

Whatever a model, guest, file or server wrote passes through here before a person sees it.
"""

from __future__ import annotations

import re
import unicodedata

ZWNJ, ZWJ = "\u200c", "\u200d"

# Letters that occupy a place but draw nothing; their category (Lo, Mn) does not give them away.
_BLANK = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u3164\uffa0")
_HIDDEN_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
_HIDDEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180e\u200b-\u200f"
    "\u2028-\u202e\u2060-\u206f\u3164\ufeff\uffa0\ufff9-\ufffb\U000e0000-\U000e007f"
    "\ud800-\udfff]"
)
# A whole escape sequence: CSI, the string sequences (OSC, DCS, SOS, PM, APC) with or without their
# end, the two-character ones; each in its 7-bit and its 8-bit form.
_ESCAPE = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]?"
    r"|(?:\x1b[PX\]^_]|[\x90\x98\x9d-\x9f])[^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c)?"
    r"|\x1b[ -/]*[0-~]?"
)


def is_hidden(character: str) -> bool:
    """Say whether a character draws nothing or reorders others; newline and tab count too."""
    return unicodedata.category(character) in _HIDDEN_CATEGORIES or character in _BLANK


def hidden_in(text: str) -> dict[str, int]:
    """Count the hidden characters of a text, newlines and tabs aside: {"U+202E": 2}."""
    counts: dict[str, int] = {}
    for match in _HIDDEN.finditer(text):
        code = f"U+{ord(match[0]):04X}"
        counts[code] = counts.get(code, 0) + 1
    return counts


def reveal(text: str) -> str:
    """Return the text with every hidden character written out as <U+202E>."""
    return _HIDDEN.sub(lambda match: f"<U+{ord(match[0]):04X}>", text)


def plain(text: str) -> str:
    """Return what may be shown: escape sequences removed whole, hidden characters removed."""
    return _HIDDEN.sub("", _ESCAPE.sub("", text))


def brief(text: str, limit: int = 300) -> str:
    """Return a stranger's text as one short line that can stand inside a message of ours."""
    line = " ".join(plain(text[: limit * 4].replace("\r", "\n")).split())
    return line if len(line) <= limit else line[: limit - 1] + "…"
