"""What a text looks like in rows of a width, said in the plainest way."""

from __future__ import annotations

from lmboot.gui.fold import WIDTH


def folded(text: str, width: int = WIDTH) -> str:
    """Return the text with a newline wherever a line goes on after `width` characters."""
    return "\n".join(
        line[start : start + width]
        for line in text.split("\n")
        for start in range(0, max(len(line), 1), width)
    )
