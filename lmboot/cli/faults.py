"""How a failure is told on the command line."""

from __future__ import annotations

from lmboot.errors import LmbootError
from lmboot.text import reveal


def told(error: LmbootError) -> str:
    """Return an error as it is printed: what happened, then what to do."""
    hint = f"\n        {error.hint}" if error.hint else ""
    return reveal(f"lmboot: {error}{hint}\n")
