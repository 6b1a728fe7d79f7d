"""Where the files lie that ship with lmboot: beside the code in an installed one, else in the
checkout's `assets/`.
"""

from __future__ import annotations

from pathlib import Path

from lmboot.errors import FileUnreadable

_PLACES = (Path(__file__).parent / "assets", Path(__file__).parent.parent / "assets")


def asset(name: str) -> Path:
    """Return the path of a shipped file; raise FileUnreadable when the installation lacks it."""
    for place in _PLACES:
        if (place / name).is_file():
            return place / name
    raise FileUnreadable(
        f"lmboot's own file {name} is missing, so this installation is damaged",
        hint="Install lmboot again.",
    )
