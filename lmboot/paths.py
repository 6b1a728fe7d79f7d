"""The rules for a path that a stranger wrote; pure. They are the same on every system.

A path that passes here names one file beneath the workspace on Linux, macOS and Windows alike.
Bounds: 400 bytes, 100 a part, 16 folder levels.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable

from lmboot.text import is_hidden

MAX_PATH_BYTES = 400
MAX_PART_BYTES = 100
MAX_FOLDERS = 16

_DEVICES = frozenset(
    ["con", "prn", "aux", "nul", "conin$", "conout$"]
    + [f"{name}{digit}" for name in ("com", "lpt") for digit in "0123456789¹²³"]
)


def problem_with(path: str) -> str | None:
    """Return what is wrong with a path, as the end of a sentence; None when nothing is."""
    if path.isascii():
        return _problem(path)
    if any("\ud800" <= character <= "\udfff" for character in path):
        return "has half of a surrogate pair"
    if unicodedata.normalize("NFC", path) != path:
        return "is not in Unicode's NFC form"
    return _problem(path) or _problem_of_lookalikes(path)


def _problem_of_lookalikes(path: str) -> str | None:
    """Judge the path as a system sees it that takes fullwidth dots and slashes for plain ones."""
    compatible = unicodedata.normalize("NFKC", path)
    hidden_slash = "has a slash" if compatible.count("/") != path.count("/") else None
    problem = hidden_slash or _problem(compatible)
    return problem and f"{problem} (in a look-alike character)"


def _problem(path: str) -> str | None:
    if not path:
        return "is empty"
    if len(path.encode()) > MAX_PATH_BYTES:
        return f"is longer than {MAX_PATH_BYTES} bytes"
    plain = path.isascii() and path.isprintable()  # said in one look
    if not plain and any(is_hidden(character) for character in path):
        return "has a control, bidirectional or zero-width character"
    if "\\" in path:
        return "has a backslash; parts are divided by /"
    if ":" in path:
        return "has a colon"
    if path.startswith("/"):
        return "is absolute; it must be relative, without a / before it"
    parts = path.split("/")
    if len(parts) - 1 > MAX_FOLDERS:
        return f"lies deeper than {MAX_FOLDERS} folders"
    return next(filter(None, map(_problem_with_part, parts)), None)


def _problem_with_part(part: str) -> str | None:
    if not part:
        return "has an empty part"
    if part in (".", ".."):
        return f"has the part {part}, which could lead out of its folder"
    if part[-1] in ". ":
        return "has a part that ends with a dot or a space"
    if len(part.encode()) > MAX_PART_BYTES:
        return f"has a part of more than {MAX_PART_BYTES} bytes"
    if part.split(".")[0].rstrip(" ").casefold() in _DEVICES:
        return "has a part that is a device name on Windows"
    return None


def collision_key(path: str) -> str:
    """Return a key that is equal for paths that some file system would take for one file."""
    folded = unicodedata.normalize(
        "NFKC", unicodedata.normalize("NFKC", path.casefold()).casefold()
    )
    return "".join(c for c in folded if not "\ufe00" <= c <= "\ufe0f")


def collisions(paths: Iterable[str]) -> list[tuple[int, str]]:
    """Return (index, end of a sentence) for each path that can't stand beside an earlier one."""
    files: dict[str, str] = {}
    folders: dict[str, str] = {}
    found: list[tuple[int, str]] = []
    for index, path in enumerate(paths):
        key = collision_key(path)
        parts = key.split("/")
        above = ["/".join(parts[:n]) for n in range(1, len(parts))]
        blocking = next((files[folder] for folder in above if folder in files), None)
        if key in files:
            found.append((index, f"is the same file as {files[key]!r}"))
        elif key in folders:
            found.append((index, f"is the folder of {folders[key]!r}"))
        elif blocking is not None:
            found.append((index, f"lies beneath the file {blocking!r}"))
        files.setdefault(key, path)
        for folder in above:
            folders.setdefault(folder, path)
    return found
