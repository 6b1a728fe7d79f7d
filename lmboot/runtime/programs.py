"""Which programs of this machine may be run for a runtime, judged by descriptor."""

from __future__ import annotations

import os
import re
import stat

from lmboot import system
from lmboot.runtime.operations import Refused
from lmboot.text import is_hidden

WITHIN = "/usr/"  # all that a second sandbox sees of the machine's programs
# What runs what it is told to: with these a grant of one program is a grant of all of them.
_INTERPRETER = re.compile(
    r"(a|ba|c|da|fi|k|mk|pdk|r|tc|ya|z)?sh|busybox|toybox|env|xargs|nice|nohup|time|timeout|setsid"
    r"|stdbuf|script|expect|sudo|su|doas|unshare|nsenter|chroot|strace|ltrace|gdb|parallel|watch"
    r"|(pypy|python|perl|ruby|lua|luajit|php|tclsh|wish|guile|node|java)[0-9.-]*|nodejs|deno|bun"
    r"|irb|jshell|groovy|scala|Rscript|R|octave|julia|[gmn]?awk|original-awk|sed|find|make|gmake"
    r"|ed|ex|r?vim?(\.\w+)?|r?view|emacs\S*|nano|less|more|man|git|ssh|tar|zip|ld[-.].*so.*"
)


def located(path: str) -> str:
    """Return where a program really lies; raise Refused where it must not be run.

    It is a file under /usr, of root's or the user's own, that nobody else can change.
    """
    if not system.LINUX:
        raise Refused("unavailable", "programs of this system can't be run in a second sandbox")
    if any(map(is_hidden, path)) or not os.path.isabs(path) or os.path.normpath(path) != path:
        raise Refused("bad_argument", "a program is named by its whole path, as /usr/bin/sort is")
    try:
        real = os.path.realpath(path, strict=True)
        descriptor = os.open(real, system.O_PATH | system.O_NOFOLLOW | system.O_CLOEXEC)
    except (OSError, ValueError):
        raise Refused("not_found", "there is no such program") from None
    try:
        found, lies = os.fstat(descriptor), system.path_of(descriptor)
    finally:
        os.close(descriptor)
    if lies is None:
        raise Refused("unavailable", "where a program lies can't be told without /proc")
    problem = _problem(found, lies)
    if problem:
        raise Refused("bad_program", f"this program {problem}")
    return real


def _problem(found: os.stat_result, real: str) -> str | None:
    """Return what speaks against a program, as the end of a sentence."""
    if not real.startswith(WITHIN):
        return f"lies outside {WITHIN}, where a sandbox does not see it"
    if not stat.S_ISREG(found.st_mode) or not found.st_mode & 0o111:
        return "is no file that can be run"
    if found.st_uid not in (0, system.user()) or found.st_mode & 0o022:
        return "can be changed by others"
    if found.st_mode & (stat.S_ISUID | stat.S_ISGID):
        return "runs with the rights of another user"
    return None


def runs_others(path: str) -> bool:
    """Say whether a program is a shell, an interpreter, or runs what its arguments name."""
    return _INTERPRETER.fullmatch(os.path.basename(path)) is not None
