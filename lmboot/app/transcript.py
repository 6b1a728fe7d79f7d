"""The full record of a session on disk, as the JSON lines that `--json` prints."""

from __future__ import annotations

import os
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

KEPT = 20  # sessions whose transcripts are kept,
KEPT_BYTES = 512 << 20  # as long as they take no more than that together


class Transcript:
    """Takes everything that is shown; the file is made by the first line, private to the user.

    On a full disk it ends itself: the session goes on, and the user is told once.
    """

    def __init__(self, folder: Path) -> None:
        """Write into a new file of `folder`, whose oldest files beyond the bounds are removed."""
        stamp = datetime.now(UTC).strftime("%Y%m%d-%H%M%S-%f")  # a window has many in a second
        self.path = folder / f"{stamp}-{os.getpid()}.jsonl"
        self._file: BinaryIO | None = None
        self._over = False

    def write(self, line: str) -> str | None:
        """Append a line; return the complaint that the user is to see, at most once."""
        if self._over:
            return None
        try:
            if self._file is None:
                self._file = _new_file(self.path)
            self._file.write(line.encode(errors="replace") + b"\n")
        except OSError as error:
            self.close()
            return _complaint(error)
        return None

    def flushed(self) -> Path | None:
        """Write what is buffered; return the file, None when nothing was ever written."""
        if self._file is not None:
            with suppress(OSError):  # told when the next line is written
                self._file.flush()
        return self.path if self.path.exists() else None

    def close(self) -> str | None:
        """Write what is buffered and close; nothing is taken any more. Returns a complaint."""
        self._over = True
        file, self._file = self._file, None
        try:
            if file is not None:
                file.close()
        except OSError as error:
            return _complaint(error)
        return None


def _complaint(error: OSError) -> str:
    return f"the transcript can't be written ({error.strerror}); the session goes on"


def _new_file(path: Path) -> BinaryIO:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    _prune(path.parent)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
    return os.fdopen(os.open(path, flags, 0o600), "wb")


def _prune(folder: Path) -> None:
    """Remove the oldest transcripts beyond the bounds."""
    taken = 0
    for number, old in enumerate(sorted(folder.glob("*.jsonl"), reverse=True), 1):
        with suppress(OSError):  # another lmboot may remove the same ones
            taken += old.stat().st_size
            if number >= KEPT or taken > KEPT_BYTES:
                old.unlink()
