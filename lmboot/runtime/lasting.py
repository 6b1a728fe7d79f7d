"""The grants of one payload that hold until they are revoked, kept in a private file.

What is read back is judged as a stranger's: one thing wrong, and nothing of the file holds. That
keeps out accidents and other users; a program of the user's own can grant whatever it likes.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lmboot import system
from lmboot.errors import FileUnreadable, UsageFault
from lmboot.files import write_whole
from lmboot.runtime.grants import named
from lmboot.runtime.kinds import KINDS
from lmboot.strictjson import Broken, decode

MAX_BYTES = 64 << 10
MAX_ROWS = 200
_FIELDS = {"kind", "name", "path"}
_OPEN = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)


@dataclass(frozen=True, slots=True, order=True)
class Row:
    """One such grant: `path` is a folder's, empty for all else."""

    kind: str
    name: str
    path: str = ""


class Lasting:
    """The file of one payload, named by its SHA-256; there is none before the first grant."""

    def __init__(self, folder: Path, payload: str) -> None:
        self.file = folder / f"{payload}.json"
        self._payload = payload

    def read(self) -> list[Row]:
        """Return what was granted; raise FileUnreadable where the file is not to be trusted."""
        try:
            text = self._text()
        except FileNotFoundError:
            return []
        except OSError as error:
            raise self._fault(error.strerror or "it can't be read") from error
        except UnicodeDecodeError as error:
            raise self._fault("it is no text") from error
        try:
            return rows(text, self._payload)
        except ValueError as error:
            raise self._fault(str(error)) from error

    def add(self, row: Row) -> None:
        """Keep one more; raise FileUnreadable where that can't be."""
        self._write({*self.read(), row})

    def remove(self, row: Row) -> None:
        """Keep one no longer; raise FileUnreadable where that can't be."""
        before = self.read()
        if row in before:
            self._write(set(before) - {row})

    def _write(self, kept: Iterable[Row]) -> None:
        members = [{"kind": r.kind, "name": r.name, "path": r.path} for r in sorted(kept)]
        try:
            self.file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_whole(self.file, json.dumps({"payload": self._payload, "grants": members}))
        except OSError as error:
            raise self._fault(error.strerror or "it can't be written") from error

    def _text(self) -> str:
        """Return what the file holds, if it is the user's own, private, and of sensible size."""
        with open(os.open(self.file, _OPEN), "rb") as file:
            found = os.fstat(file.fileno())
            if not stat.S_ISREG(found.st_mode) or found.st_nlink != 1:
                raise self._fault("it is no regular file")
            if found.st_uid != system.user():
                raise self._fault("it belongs to somebody else")
            if os.name == "posix" and found.st_mode & 0o077:
                raise self._fault("others may read or change it")
            data = file.read(MAX_BYTES + 1)
        if len(data) > MAX_BYTES:
            raise self._fault("it is too large")
        return data.decode()

    def _fault(self, why: str) -> FileUnreadable:
        return FileUnreadable(
            f"what this payload was granted for always is not used: {self.file.name}: {why}",
            hint=f"Remove {self.file}, and grant anew.",
        )


def rows(text: str, payload: str) -> list[Row]:
    """Return what a file's text grants a payload; raise ValueError unless all of it is right."""
    try:
        decoded = decode(text)
    except Broken as broken:
        raise ValueError(broken.message) from broken
    if decoded.problems or text[decoded.end :].strip():
        raise ValueError("it is not one JSON object")
    if set(decoded.value) != {"payload", "grants"} or decoded.value["payload"] != payload:
        raise ValueError("it is not this payload's")
    grants = decoded.value["grants"]
    if not isinstance(grants, list) or len(grants) > MAX_ROWS:
        raise ValueError("it has no list of grants, or too many")
    return [_row(each) for each in grants]


def _row(value: Any) -> Row:
    if not isinstance(value, dict) or set(value) != _FIELDS:
        raise ValueError("a grant has other members than it should")
    if not all(isinstance(part, str) for part in value.values()):
        raise ValueError("a member of a grant is no text")
    row = Row(value["kind"], value["name"], value["path"])
    try:
        is_own_name = named(row.kind, row.name) == row.name
    except UsageFault as fault:
        raise ValueError(str(fault)) from fault
    is_folder = KINDS[row.kind].is_folder
    if not is_own_name or is_folder != bool(row.path) or "\0" in row.path:
        raise ValueError("a grant is not called what it grants, or names no folder")
    if is_folder and (not os.path.isabs(row.path) or os.path.normpath(row.path) != row.path):
        raise ValueError("a folder is not named by its whole path")
    return row
