"""What of an operation's arguments may stand in the audit log; pure.

Secrets and bodies are left out, hidden characters written out, and everything is bounded. When in
doubt a text is left out: the record has a keyed digest of the arguments as they were.
"""

from __future__ import annotations

import re
import string
from collections.abc import Mapping
from itertools import islice
from math import isfinite
from typing import Any

from lmboot.strictjson import encoder
from lmboot.text import reveal

MOST_BYTES = 2048  # of a preview as JSON
LONGEST_TEXT = 256
MOST_ITEMS = 16
DEEPEST = 4
_SCANNED = 4096  # characters of a text in which secrets are looked for; the rest is left out

GONE = "[redacted]"
_WORDS = (
    r"pass(?:word|wd|phrase|code)|(?<!max_)token|secret|api[_-]?key|auth(?!or(?!i[sz]))|cookie"
    r"|credential|private[_-]?key|signature|session[_-]?id|bearer"
)
_SECRET_KEY = re.compile(rf"{_WORDS}|^pwd$|^pin$|^otp$|^key$", re.IGNORECASE)
_BODY_KEYS = frozenset(
    [
        "body",
        "content",
        "contents",
        "data",
        "html",
        "input",
        "messages",
        "payload",
        "prompt",
        "stdin",
        "text",
    ]
)
# `password=x`, `"token": "x"`; of a header the whole line, since a cookie has several parts.
_NAMED = re.compile(
    rf"""((?:{_WORDS})[\w-]{{0,20}}["']?\s{{0,4}}[=:]\s{{0,4}}["']?)[^\s&"',;]+""", re.IGNORECASE
)
_HEADER = re.compile(r"((?:cookie|authorization)\s{0,4}:)[^\r\n]+", re.IGNORECASE)
_SCHEME = re.compile(r"\b(bearer|basic|digest|negotiate)\s+[^\s\"',;]+", re.IGNORECASE)
_USER = re.compile(r"(//)[^/\s@]+@")
_PREFIXED = re.compile(r"\b(?:sk|pk|rk|gh[opsu]|xox[abpr]|hf|glpat|AKIA|eyJ)[\w-]{12,}")
_RUN = re.compile(r"[\w+/=-]{24,}", re.ASCII)
_UNBROKEN = re.compile(r"[A-Za-z0-9]{32,}")
_HARMLESS = re.compile(r"[\w./-]{0,13}", re.ASCII)  # no pattern here fits: so are most names
_encoded = encoder(sort_keys=True)
_OF_A_RUN = string.ascii_letters + string.digits + "_+/=-."


def preview(arguments: object) -> Any:
    """Return arguments as they may be shown: JSON of at most MOST_BYTES bytes."""
    shown = _shown(arguments, DEEPEST)
    text = _encoded(shown)
    # Within a text each character may need two bytes: what is cut must not break the bound.
    return shown if len(text) <= MOST_BYTES else {"cut": text[: MOST_BYTES // 2 - 16]}


def one_line(text: str, limit: int = LONGEST_TEXT) -> str:
    """Return a text without secrets, its hidden characters written out, at most so long."""
    if len(text) <= limit and _HARMLESS.fullmatch(text):
        return text
    scanned = redacted(text[:_SCANNED])
    if len(text) > _SCANNED:  # a secret that is cut in two is not recognised
        scanned = scanned.rstrip(_OF_A_RUN)
    safe = reveal(scanned.replace("\n", "\\n").replace("\t", "\\t"))
    if len(text) <= _SCANNED and len(safe) <= limit:
        return safe
    return f"{safe[:limit]}… ({len(text)} characters)"


def redacted(text: str) -> str:
    """Return a text without what looks like a password, a token or a key."""
    for pattern in (_HEADER, _NAMED):
        text = pattern.sub(rf"\1{GONE}", text)
    text = _SCHEME.sub(rf"\1 {GONE}", text)
    text = _USER.sub(rf"\1{GONE}@", text)
    return _RUN.sub(_judged, _PREFIXED.sub(GONE, text))


def _judged(match: re.Match[str]) -> str:
    """Keep a long run of characters only if it can be words: a path, a name with hyphens."""
    run = match[0]
    if _UNBROKEN.search(run) and not run.isalpha():
        return GONE
    kinds = (any(map(kind, run)) for kind in (str.isdigit, str.islower, str.isupper))
    return GONE if len(run) >= 32 and all(kinds) else run


def _shown(value: object, depth: int) -> Any:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return one_line(value)
    if isinstance(value, int | float):
        return value if abs(value) <= 2**53 and isfinite(value) else "[number]"
    if isinstance(value, Mapping):
        return _members(value, depth) if depth else size_of(value)
    if isinstance(value, list | tuple):
        return _items(value, depth) if depth else size_of(value)
    return size_of(value)


def _members(value: Mapping[Any, object], depth: int) -> dict[str, Any]:
    shown = {
        one_line(str(name), 64): _member(str(name), value[name], depth)
        for name in islice(value, MOST_ITEMS)
    }
    if len(value) > MOST_ITEMS:
        shown["…"] = f"{len(value) - MOST_ITEMS} more"
    return shown


def _member(name: str, value: object, depth: int) -> Any:
    if _SECRET_KEY.search(name):
        return GONE
    if name.lower() in _BODY_KEYS and isinstance(value, str | bytes | list | tuple | Mapping):
        return size_of(value)
    return _shown(value, depth - 1)


def _items(value: list[Any] | tuple[Any, ...], depth: int) -> list[Any]:
    if len(value) == 2 and isinstance(value[0], str) and _SECRET_KEY.search(value[0]):
        return [one_line(value[0]), GONE]  # a header as a pair
    shown = [_shown(item, depth - 1) for item in value[:MOST_ITEMS]]
    return shown if len(value) <= MOST_ITEMS else [*shown, f"{len(value) - MOST_ITEMS} more"]


def size_of(value: object) -> str:
    """Return what may be said of something that is not shown."""
    if isinstance(value, str):
        return f"[{len(value)} characters]"
    if isinstance(value, bytes | bytearray):
        return f"[{len(value)} bytes]"
    if isinstance(value, Mapping | list | tuple):
        return f"[{len(value)} items]"
    return f"[{type(value).__name__}]"
