"""The rules for an entrypoint: python, one of the files, arguments; no shell ever; pure."""

from __future__ import annotations

import re
import shlex
from collections.abc import Collection

MOST = 64 << 10  # characters; no system takes one argument of twice that, and shlex is quadratic
_SHELL = frozenset(";&|<>$(){}*?#~\\`")
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_QUOTED = re.compile(r"""'[^']*'|"(?:[^"\\]|\\.)*\"""", re.DOTALL)


def entrypoint_problem(entrypoint: str, paths: Collection[str]) -> str | None:
    """Return what is wrong with an entrypoint, as a sentence; None when nothing is."""
    if len(entrypoint) > MOST:
        return f"it has {len(entrypoint):,} characters; at most {MOST:,} are allowed"
    if _CONTROL.search(entrypoint):
        return "it has a newline or another control character; it is one command, without a shell"
    shell = next((c for c in _QUOTED.sub("", entrypoint) if c in _SHELL), None)
    if shell:
        return f"it has {shell!r} outside quotes, but no shell is used: nothing would expand it"
    try:
        words = shlex.split(entrypoint)
    except ValueError:
        return "a quote is not closed"
    return _words_problem(words, paths)


def _words_problem(words: list[str], paths: Collection[str]) -> str | None:
    if not words or words[0] not in ("python", "python3"):
        return "it must begin with python or python3"
    if len(words) == 1:
        return "it must name one of the files after python"
    file = words[1]
    if file.startswith("-"):
        return "no option of the interpreter may stand before the file"
    if file not in paths:
        return "what follows python must be one of the files, as it is written there"
    return None if file.endswith(".py") else "the file to run must end with .py"


def split_entrypoint(entrypoint: str) -> tuple[str, ...]:
    """Return the file and its arguments of an entrypoint that has no problem."""
    return tuple(shlex.split(entrypoint)[1:])
