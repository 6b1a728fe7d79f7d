"""What of an operation's arguments may stand in the audit log; pure.

Secrets and bodies are left out, hidden characters written out, and everything is bounded. When in
doubt a text is left out: the record has a keyed digest of the arguments as they were.
"""

from __future__ import annotations

import re
import string
from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from math import isfinite
from typing import Any

from lmboot.runtime.scrubbing import (
    GONE,
    SECRET_NAME,
    scrubbed,
    scrubbed_argv,
    scrubbed_sql,
    scrubbed_url,
)
from lmboot.strictjson import encoder
from lmboot.text import reveal

MOST_BYTES = 2048  # of a preview as JSON
LONGEST_TEXT = 256
MOST_ITEMS = 16
DEEPEST = 4
_SCANNED = 4096  # characters of a text in which secrets are looked for; the rest is left out

_LONGEST_WORD = 1024  # of a command line

_BODY_KEYS = frozenset(
    [
        "body",
        "code",
        "content",
        "contents",
        "data",
        "html",
        "input",
        "messages",
        "parameters",
        "payload",
        "prompt",
        "stdin",
        "text",
    ]
)
_HARMLESS = re.compile(r"[\w./-]{0,13}", re.ASCII)  # no pattern here fits: so are most names
_encoded = encoder(sort_keys=True)
_OF_A_RUN = string.ascii_letters + string.digits + "_+/=-."


def preview(arguments: object) -> Any:
    """Return arguments as they may be shown: JSON of at most MOST_BYTES bytes."""
    shown = _shown(arguments, DEEPEST)
    text = _encoded(shown)
    # Within a text each character may need two bytes: what is cut must not break the bound.
    return shown if len(text) <= MOST_BYTES else {"cut": text[: MOST_BYTES // 2 - 16]}


def addresses(urls: Sequence[str]) -> list[str]:
    """Return addresses as they may be shown, MOST_ITEMS of them at most."""
    return [one_line(url, scrub=scrubbed_url) for url in urls[:MOST_ITEMS]]


def one_line(text: str, limit: int = LONGEST_TEXT, scrub: Callable[[str], str] = scrubbed) -> str:
    """Return a text without secrets, its hidden characters written out, at most so long."""
    if len(text) <= limit and _HARMLESS.fullmatch(text):
        return text
    scanned = scrub(text[:_SCANNED])
    if len(text) > _SCANNED:  # a secret that is cut in two is not recognised
        scanned = scanned.rstrip(_OF_A_RUN)
    safe = reveal(scanned.replace("\n", "\\n").replace("\t", "\\t"))
    if len(text) <= _SCANNED and len(safe) <= limit:
        return safe
    return f"{safe[:limit]}… ({len(text)} characters)"


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
    if SECRET_NAME.search(name):
        return GONE
    if name.lower() in _BODY_KEYS and isinstance(value, str | bytes | list | tuple | Mapping):
        return size_of(value)
    if special := _BY_NAME.get(name.lower()):
        return special(value, depth - 1)
    return _shown(value, depth - 1)


def _files(value: object, depth: int) -> Any:
    """Return the names of files, and how large each is."""
    if not isinstance(value, Mapping):
        return size_of(value)
    shown = {one_line(str(name), 64): size_of(value[name]) for name in islice(value, MOST_ITEMS)}
    return shown if len(value) <= MOST_ITEMS else {**shown, "…": f"{len(value)} in all"}


def _sql(value: object, depth: int) -> Any:
    return _scrubbed_by(scrubbed_sql, value)


def _url(value: object, depth: int) -> Any:
    return _scrubbed_by(scrubbed_url, value)


def _scrubbed_by(scrub: Callable[[str], str], value: object) -> Any:
    return one_line(value, scrub=scrub) if isinstance(value, str) else _shown(value, 0)


def _argv(value: object, depth: int) -> Any:
    if not isinstance(value, list | tuple):
        return _shown(value, depth)
    words = [
        each if isinstance(each, str) and len(each) <= _LONGEST_WORD else size_of(each)
        for each in value[:MOST_ITEMS]
    ]
    shown = [one_line(word, scrub=str) for word in scrubbed_argv(words)]
    return shown if len(value) <= MOST_ITEMS else [*shown, f"{len(value) - MOST_ITEMS} more"]


_BY_NAME: Mapping[str, Callable[[object, int], Any]] = {
    "files": _files,
    **dict.fromkeys(("argv", "args", "command", "cmd"), _argv),
    **dict.fromkeys(("sql", "query", "statement"), _sql),
    **dict.fromkeys(("url", "uri", "href", "location", "referer"), _url),
}


def _items(value: list[Any] | tuple[Any, ...], depth: int) -> list[Any]:
    if len(value) == 2 and isinstance(value[0], str) and SECRET_NAME.search(value[0]):
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
