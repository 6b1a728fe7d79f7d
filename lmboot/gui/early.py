"""What must be known before the window is mapped, read from the settings without their model.

`lmboot.settings` says what is wrong with a file, but it costs more than the window's first sight;
so this looks at three values only, and where one is wrong it takes none of them.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from os import PathLike

THEMES = ("system", "dark", "light")
SCALES, ZOOMS = (0.8, 3.0), (0.8, 2.5)  # as `lmboot.settings` has them; a test compares both


_XDG = {"config": ("XDG_CONFIG_HOME", ".config"), "state": ("XDG_STATE_HOME", ".local/state")}


def own_folder(kind: str) -> str:
    """Return the user's "config" or "state" folder of lmboot, as `platformdirs` has it.

    Importing that costs a third of the window's first sight, so the usual case on Linux is
    spelled out here.
    """
    variable, usual = _XDG[kind]
    base, home = os.environ.get(variable, ""), os.environ.get("HOME", "")
    if not os.path.isabs(base) and os.path.isabs(home):
        base = os.path.join(home, usual)
    if sys.platform not in ("win32", "darwin") and os.path.isabs(base):
        return os.path.join(base, "lmboot")
    import platformdirs

    of_kind = {"config": platformdirs.user_config_dir, "state": platformdirs.user_state_dir}
    return of_kind[kind]("lmboot", appauthor=False)


class Early(NamedTuple):
    """What the first sight depends on; scale None is the display's own."""

    theme: str = "system"
    scale: float | None = None
    zoom: float = 1.0


def early(file: str | PathLike[str]) -> Early:
    """Return these three as a settings file has them; the defaults where anything is wrong."""
    try:
        with open(file, "rb") as stream:
            data = stream.read()
    except (OSError, ValueError):  # ValueError: no file has such a name
        return Early()
    import tomllib  # here, because most people have no such file

    try:
        return _taken(**tomllib.loads(data.decode()).get("window", {}))
    except (ValueError, TypeError, RecursionError):
        return Early()


def _taken(
    theme: object = "system", scale: Any = None, zoom: Any = 1.0, **_others: object
) -> Early:
    if theme not in THEMES:
        raise ValueError("no such theme")
    return Early(
        str(theme), None if scale is None else _within(scale, *SCALES), _within(zoom, *ZOOMS)
    )


def _within(value: Any, least: float, most: float) -> float:
    if isinstance(value, bool) or not least <= value <= most:
        raise ValueError("outside of what is allowed")
    return float(value)
