"""Which back ends there are, on which system, and in which order `auto` takes them; data.

A back end of its own is one line in BACKENDS, and one word in ORDER where `auto` may take it.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, cast

from lmboot.runtime.backends import Backend


class Finder(Protocol):
    """A module with a back end."""

    def find(self) -> Backend:
        """Return the back end as it is on this machine; raise SandboxFault with the remedy."""
        ...


class FinderOfImage(Protocol):
    """A module with a back end that runs an image."""

    def find(self, image: str | None) -> Backend:
        """Return it, for an image or for this machine's own /usr; raise SandboxFault."""
        ...


@dataclass(frozen=True, slots=True)
class Entry:
    """One back end: its module below `lmboot.runtime.backends`, imported when it is looked for.

    `systems` are values of sys.platform; `walls` is how many borders stand one inside the other;
    `takes_image`: it can run an image of the user's in place of this machine's own /usr.
    """

    module: str
    systems: tuple[str, ...] = ("linux",)
    walls: int = 1
    takes_image: bool = False

    def find(self, image: str | None = None) -> Backend:
        """Return the back end as it is on this machine; raise SandboxFault with the remedy."""
        module = importlib.import_module(f"lmboot.runtime.backends.{self.module}")
        if self.takes_image:
            return cast(FinderOfImage, module).find(image)
        return cast(Finder, module).find()


BACKENDS: dict[str, Entry] = {
    "bubblewrap": Entry("bubblewrap"),
    "landlock": Entry("landlock"),
    "podman": Entry("container", takes_image=True),
    "docker": Entry("docker"),
}

# What `auto` takes: the first that is usable. What is not named here (firejail, none) is only
# ever taken by its name, and a system that is not named has nothing to choose from.
ORDER: Mapping[str, tuple[str, ...]] = {
    "linux": ("bubblewrap", "landlock", "wasm", "podman", "docker"),
    "darwin": ("wasm", "podman", "docker", "seatbelt"),
    "win32": ("wasm", "podman", "docker", "appcontainer"),
}


def order(system: str, backends: Mapping[str, Entry], *, walls: int = 1) -> list[str]:
    """Return the names that `auto` tries on a system, for so many walls; pure.

    More than one wall costs time, so such a back end is tried only where it is asked for, after
    those of the order: those of the order that have the walls, then all others.
    """
    there = [name for name in ORDER.get(system, ()) if name in backends]
    if walls > 1:
        there += [name for name in backends if name not in there]
    return [
        name
        for name in there
        if backends[name].walls >= walls and system in backends[name].systems
    ]
