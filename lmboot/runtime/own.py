"""lmboot's own files: what no runtime may reach through a folder that was granted to it.

Whoever can change them changes what lmboot believes: the policy, what was granted for always, the
evidence, the program itself. Who can read them reads what was said in other sessions.
"""

from __future__ import annotations

import os
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from pathlib import Path

import platformdirs

import lmboot
from lmboot.runtime.compiled import EVERYBODYS
from lmboot.workspace import PASSABLE

_Identity = tuple[int, int]


def things() -> list[Path]:
    """Return where lmboot keeps what is the user's and its own, there or not.

    The settings by themselves, too: that file may be a link to where somebody keeps such files.
    """
    of_the_user = (
        platformdirs.user_config_path,
        platformdirs.user_data_path,
        platformdirs.user_state_path,
        platformdirs.user_cache_path,
    )
    own = [where("lmboot", appauthor=False) for where in of_the_user]
    others = [platformdirs.user_cache_path("lmboot"), PASSABLE.parent, EVERYBODYS.parent]
    return [*own, own[0] / "settings.toml", *others]


def program() -> list[Path]:
    """Return the folders that lmboot is run from, and all that it imports."""
    paths = sysconfig.get_paths()
    imported = ("stdlib", "platstdlib", "purelib", "platlib", "scripts")
    environment = [sys.prefix] if sys.prefix != sys.base_prefix else []
    found = [*environment, *(paths[name] for name in imported)]
    return [Path(lmboot.__file__).parent, *map(Path, dict.fromkeys(found))]


def reached_from(folder: Path, places: Iterable[Path]) -> Path | None:
    """Return the first of some places that a folder is, lies in, or leads to; None where none is.

    Names that begin with a dot lead nowhere. Folders are compared by what they are, not by their
    names: one may be mounted twice, and `Library` may be `library`.
    """
    wanted = _identity(folder)
    above = {each for path in (folder, *folder.parents) if (each := _identity(path))}
    for place in places:
        real = Path(os.path.realpath(place))
        if _identity(real) in above or any(each == wanted for each in _leading_to(real)):
            return place
    return None


def _leading_to(place: Path) -> Iterator[_Identity]:
    """Yield the folders above a place from which visible names lead there, and itself."""
    for path in (place, *place.parents):
        if identity := _identity(path):
            yield identity
        if path.name.startswith("."):
            return


def _identity(path: Path) -> _Identity | None:
    """Return what a folder is known by; None where there is none."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino
