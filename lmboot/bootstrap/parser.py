"""Finds the payload in a reply: objects at the top level of a text, outside the thinking; pure.

An object begins at a brace that a key, a closing brace or something like a key follows; other
braces are prose. What can't be read is stepped over as a whole, to the bracket that balances it
or to a `</think>`: nothing is ever searched inside an object, broken or not.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from lmboot.strictjson import Broken, Budget, Decoded, Places, decode

REQUIRED = ("manifest", "files", "entrypoint")

_NEXT = re.compile(r"""<think>|</think>|\{(?=[ \t\r\n]*+(?:["'}]|[A-Za-z_]\w*+[ \t]*+:))""")
_INSIDE = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"|[{}\[\]]|</think>', re.DOTALL)
_LOOKS_RIGHT = re.compile(r"""\{\s*+['"]?(?:manifest|files|entrypoint)\b""")
_FENCE = re.compile(r"\s*+(?:```\w*+\s*+)?")


@dataclass(slots=True)
class Found:
    """What a text holds: candidates that could be read, and those that are broken.

    `open` says that the text ended inside the thinking or an object; `strange` is where the
    first broken object lies that shows none of the required keys; `blank` says: no answer at all.
    """

    candidates: list[tuple[int, Decoded]] = field(default_factory=list)
    broken: list[Broken] = field(default_factory=list)
    strange: tuple[int, Broken] | None = None
    open: bool = False
    blank: bool = False


def find(text: str) -> Found:
    """Return what a reply holds; raise Broken(too_big) when it is more than any payload."""
    found, position, budget, places = Found(), 0, Budget(), Places(text)
    answer = 0  # where the last thinking ended
    while match := _NEXT.search(text, position):
        position = match.end()
        if match[0] == "<think>":
            closing = text.find("</think>", position)
            found.open = closing < 0
            position = answer = len(text) if closing < 0 else closing + len("</think>")
        elif match[0] == "</think>":  # without its opening tag: all before it was thinking
            found, answer = Found(), position
        else:
            position = _object(text, match.start(), found, budget, places)
    found.blank = not text[answer:].strip()
    fence = _FENCE.match(text, answer)
    if found.strange and fence and fence.end() != found.strange[0]:
        found.strange = None  # braces somewhere in prose
    return found


def _object(text: str, start: int, found: Found, budget: Budget, places: Places) -> int:
    """Read the object that begins at `start` into `found`; return where to go on."""
    try:
        decoded = decode(text, start, lenient=True, budget=budget, places=places)
    except Broken as broken:
        if broken.code == "too_big":
            raise
        _note(text, start, broken, found)
        return _step_over(text, start, budget)
    if any(key in decoded.value for key in REQUIRED):
        found.candidates.append((start, decoded))
    return decoded.end


def _note(text: str, start: int, broken: Broken, found: Found) -> None:
    if broken.code == "truncated":
        found.open = True
    if any(key in broken.keys for key in REQUIRED) or _LOOKS_RIGHT.match(text, start):
        found.broken.append(broken)
    elif found.strange is None:
        found.strange = (start, broken)


def _step_over(text: str, start: int, budget: Budget) -> int:
    """Return where a broken object ends: at its balancing bracket, a `</think>`, or the end."""
    depth = 0
    for match in _INSIDE.finditer(text, start):
        budget.spend(match.start())
        if match[0] == "</think>":
            return match.start()
        if match[0] in "{[":
            depth += 1
        elif match[0] in "}]":
            depth -= 1
        if depth == 0:
            return match.end()
    return len(text)
