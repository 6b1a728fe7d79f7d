"""The full record of a session on disk, as the JSON lines that `--json` prints."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

KEPT = 20  # sessions whose transcripts are kept


class Transcript:
    """Takes everything that is shown. On a full disk it ends itself and says so once."""

    def __init__(self, file: BinaryIO | None, path: Path, complaint: str | None = None) -> None:
        """Write to `file`; None when there is none to write to."""
        self.path = path
        self._file = file
        self._complaint = complaint

    @classmethod
    def begin(cls, folder: Path) -> Transcript:
        """Open a new private file in `folder`, and remove the oldest beyond KEPT."""
        stamp = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
        path = folder / f"{stamp}-{os.getpid()}.jsonl"
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            _prune(folder)
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
            return cls(os.fdopen(os.open(path, flags, 0o600), "wb"), path)
        except OSError as error:
            return cls(None, path, _sentence(error))

    def write(self, line: str) -> str | None:
        """Append a line; return the complaint that the user is to see, at most once."""
        if self._file is not None:
            try:
                self._file.write(line.encode(errors="replace") + b"\n")
            except OSError as error:
                self._drop(error)
        complaint, self._complaint = self._complaint, None
        return complaint

    def close(self) -> None:
        """Flush and close."""
        if self._file is not None:
            try:
                self._file.close()
            except OSError as error:
                self._drop(error)
            self._file = None

    def _drop(self, error: OSError) -> None:
        file, self._file = self._file, None
        self._complaint = _sentence(error)
        if file is not None:
            os.close(os.dup(file.fileno()))
            try:
                file.close()
            except OSError:
                return  # what was buffered is lost, which the complaint says


def _sentence(error: OSError) -> str:
    return f"the transcript can't be written ({error.strerror}); the session goes on without it"


def _prune(folder: Path) -> None:
    for old in sorted(folder.glob("*.jsonl"))[: -KEPT + 1]:
        old.unlink(missing_ok=True)
