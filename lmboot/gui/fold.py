"""How much of a line is shown, and the words for the rest of it; pure.

Tk stalls on long lines, not on many: a million characters in one line block it for seconds, the
same in rows of a thousand for milliseconds.
"""

from __future__ import annotations

WIDTH = 1000  # columns of a row
LONGEST = 20_000  # characters of a line that are shown; nobody reads more in a pane


def cut_words(more: int, whole: int) -> str:
    """Return the row that stands for the rest of a line that came bit by bit."""
    return f"… {more:,} more of {whole:,} characters in one line; the transcript has them all"
