"""Writing a file of the user's so that nobody ever finds half of it."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path


def write_whole(file: Path, what: str | bytes) -> None:
    """Write a private file so that it is there whole or not at all; may raise OSError."""
    data = what.encode() if isinstance(what, str) else what
    descriptor, name = tempfile.mkstemp(dir=file.parent, prefix=".new-")
    try:
        with os.fdopen(descriptor, "wb") as new:
            new.write(data)
        Path(name).replace(file)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
