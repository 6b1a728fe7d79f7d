"""How a failure is told on the command line."""

from __future__ import annotations

from lmboot.errors import FileUnreadable, LmbootError
from lmboot.text import reveal


def told(error: LmbootError) -> str:
    """Return an error as it is printed: what happened, then what to do."""
    hint = f"\n        {error.hint}" if error.hint else ""
    return reveal(f"lmboot: {error}{hint}\n")


def output_fault(error: OSError) -> LmbootError:
    """Return the error of a standard output that can't be written, for example on a full disk."""
    return FileUnreadable(
        f"standard output can't be written: {error.strerror}",
        hint="Free some space, or send the output elsewhere.",
    )
