"""What Tab offers in the input line: commands after a colon, else words typed before; pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

from lmboot.session import COMMANDS, HELP

_WORDS = dict(re.split(r"(?: [A-Z]+)? {2,}", line, maxsplit=1) for line in HELP if line[0] == ":")
_OWN = {
    ":clear": "forget what is shown here",
    ":stop": "stop the runtime, and stay",
    ":restart": "run it once more",
}
LOCAL = tuple(_OWN)  # the window's own, beside the session's
MOST = 20  # options; a longer list is not read, it is typed past


class Completion(NamedTuple):
    """What may take the place of the text from `start` up to the cursor; perhaps nothing."""

    start: int
    options: tuple[str, ...]

    @property
    def common(self) -> str:
        """Return what all options begin with."""
        first, last = min(self.options, default=""), max(self.options, default="")
        same = (place for place, each in enumerate(first) if not last.startswith(each, place))
        return first[: next(same, len(first))]


def hints(before: str) -> list[tuple[str, str, str]]:
    """Return what the word with a colon before the cursor could become: (command, words, key)."""
    if " " in before or not before.startswith(":"):
        return []
    words = {":help": "list the commands", **_WORDS, **_OWN}
    options = complete(before).options
    return [(each, words[each], "" if number else "Tab") for number, each in enumerate(options)]


def complete(before: str, lines: Iterable[str] = ()) -> Completion:
    """Return the options for the text before the cursor; `lines` are a history's, oldest first.

    A first word with a colon is completed to a command, any other word to one that was typed
    before, newest first.
    """
    word = before.split(" ")[-1]
    start = len(before) - len(word)
    if not start and word.startswith(":"):
        return Completion(0, tuple(each for each in (*COMMANDS, *LOCAL) if each.startswith(word)))
    if not word:
        return Completion(start, ())
    return Completion(start, _words_like(word, list(lines)))


def _words_like(word: str, lines: list[str]) -> tuple[str, ...]:
    found: dict[str, None] = {}  # a set in the order of finding
    for line in reversed(lines):
        for each in reversed(line.split()):
            if each.startswith(word) and each != word:
                found[each] = None
        if len(found) >= MOST:
            break
    return tuple(found)[:MOST]
