"""The way in: `lmboot` and `python -m lmboot`."""

from __future__ import annotations

import sys


def main() -> None:
    """Open the window, or run the command line, and exit with its code.

    The window comes first: nothing is imported for it here that it does not need at once.
    """
    words = sys.argv[1:]
    if is_window(words):
        from lmboot.gui.start import open_window

        if open_window(*words):
            sys.exit(0)
    from lmboot.cli.main import run

    sys.exit(run(words))


def is_window(words: list[str]) -> bool:
    """Say whether this asks for the window: nothing at all, or one model file."""
    return not words or (len(words) == 1 and words[0].lower().endswith(".gguf"))


if __name__ == "__main__":
    main()
