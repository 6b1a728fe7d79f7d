"""Payloads that are kept by their hash, with the model and the time; one JSON file each.

A file is written whole or not at all, and what is read back must have the hash that its name
says: a payload that was changed on disk counts as damaged, never as agreed to.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lmboot.bootstrap.payload import Payload, judge_object
from lmboot.errors import FileUnreadable, UsageFault
from lmboot.files import write_whole

_LEAST_PREFIX = 4
# Whatever a file of another shape leads to counts as damaged.
_UNREADABLE = (OSError, AttributeError, LookupError, RecursionError, TypeError, ValueError)


@dataclass(frozen=True, slots=True)
class Kept:
    """One kept payload; `time` is seconds since 1970, `agreed` says that a person agreed to it."""

    payload: Payload
    model: str
    time: float
    agreed: bool


class Library:
    """The kept payloads in one folder, which is made when the first is kept."""

    def __init__(self, folder: Path) -> None:
        """Look at `folder`; nothing is read or made yet."""
        self.folder = folder

    def keep(self, payload: Payload, model: str, *, agreed: bool) -> None:
        """Keep a payload; an agreement once given stays. Raises FileUnreadable on a full disk."""
        agreed = agreed or self.agreed(payload)
        record = {"payload": payload.normalised(), "model": model, "time": time.time()}
        try:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            write_whole(self._file(payload.sha256), json.dumps({**record, "agreed": agreed}))
        except OSError as error:
            raise FileUnreadable(
                f"the payload could not be kept in {self.folder}: {error.strerror}",
                hint="Free some space or mend the folder's permissions; the session can go on.",
            ) from error

    def agreed(self, payload: Payload) -> bool:
        """Say whether a person agreed to exactly these bytes before."""
        try:
            return self._read(self._file(payload.sha256)).agreed
        except FileUnreadable:
            return False

    def all(self) -> Iterator[tuple[str, Kept | None]]:
        """Yield (hash, payload), the newest first; None for one that is damaged."""
        files = self.folder.glob("*.json") if self.folder.is_dir() else ()
        for file in sorted(files, key=_modified, reverse=True):
            try:
                yield file.stem, self._read(file)
            except FileUnreadable:
                yield file.stem, None

    def of(self, model: str) -> Iterator[Kept]:
        """Yield what one model wrote, the newest first."""
        return (kept for _, kept in self.all() if kept and kept.model == model)

    def find(self, prefix: str) -> Kept:
        """Return the payload whose hash begins with `prefix` (4 digits or more)."""
        return self._read(self._file(self._only(prefix)))

    def remove(self, prefix: str) -> str:
        """Forget the payload whose hash begins with `prefix`; return its whole hash."""
        name = self._only(prefix)
        self._file(name).unlink()
        return name

    def _only(self, prefix: str) -> str:
        prefix = prefix.lower().rstrip("…")
        names = [file.stem for file in self.folder.glob("*.json")] if self.folder.is_dir() else []
        found = [name for name in names if name.startswith(prefix)]
        if len(prefix) >= _LEAST_PREFIX and len(found) == 1:
            return found[0]
        sentence = (
            f"{len(found)} kept payloads begin with" if found else "no kept payload begins with"
        )
        hint = "See `lmboot payloads list`; give at least four digits of one hash."
        raise UsageFault(f"{sentence} {prefix[:64]!r}", hint=hint)

    def _file(self, name: str) -> Path:
        return self.folder / f"{name}.json"

    def _read(self, file: Path) -> Kept:
        try:
            record = json.loads(file.read_text("utf-8"))
            payload = judge_object(record["payload"]).payload
            if payload is None or payload.sha256 != file.stem:
                raise _damaged(file)
            return Kept(
                payload, str(record["model"]), float(record["time"]), record["agreed"] is True
            )
        except _UNREADABLE as error:
            raise _damaged(file) from error


def _damaged(file: Path) -> FileUnreadable:
    sentence = f"the kept payload {file.stem[:12]} can't be read or is not what its hash says"
    return FileUnreadable(sentence, hint="Remove it: lmboot payloads remove " + file.stem[:12])


def _modified(file: Path) -> float:
    try:
        return file.stat().st_mtime
    except OSError:
        return 0.0


def row_of(name: str, kept: Kept | None) -> dict[str, Any]:
    """Return one row of `payloads list --json`."""
    if kept is None:
        return {"sha256": name, "damaged": True}
    return {
        "sha256": name,
        "damaged": False,
        "name": kept.payload.name,
        "model": kept.model,
        "time": kept.time,
        "agreed": kept.agreed,
        "files": len(kept.payload.files),
        "entrypoint": kept.payload.entrypoint,
    }
