"""Which back ends there are, on which system, and in which order `auto` takes them; data.

A back end of its own is one line in BACKENDS, and one word in ORDER where `auto` may take it.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from lmboot.runtime.backends import Backend


@dataclass(frozen=True, slots=True)
class Entry:
    """One back end: its module below `lmboot.runtime.backends`, imported when it is looked for.

    `systems` are values of sys.platform; `walls` is how many borders stand one inside the other;
    `takes_image`: it can run an image of the user's in place of this machine's own /usr.
    `has_processes`: what runs in it can be any program, and not only lmboot's own Python. `finder`
    is the function of the module that returns it; `prepared`: that has `prepare`, to be awaited
    before it.
    """

    module: str
    systems: tuple[str, ...] = ("linux",)
    walls: int = 1
    takes_image: bool = False
    has_processes: bool = True
    finder: str = "find"
    prepared: bool = False

    async def prepare(self, say: Callable[[str], None]) -> None:
        """Make it ready where that is needed, which `say` is told of; raise SandboxFault."""
        if self.prepared:
            module = importlib.import_module(f"lmboot.runtime.backends.{self.module}")
            await module.prepare(say)

    def no_programs(self, image: str | None = None) -> str:
        """Return why no program of this machine can be run in one more of it; "": one can; pure.

        Judged is the program of this machine, so that and no other of its path must be what runs.
        """
        if not self.has_processes:
            return "the runtime's sandbox has no processes, so no program can be run in one more"
        if self.takes_image and image is not None:
            return "the runtime's sandbox is made of an image, where a program may be another one"
        return ""

    def find(self, image: str | None = None) -> Backend:
        """Return the back end as it is on this machine; raise SandboxFault with the remedy."""
        module = importlib.import_module(f"lmboot.runtime.backends.{self.module}")
        find = getattr(module, self.finder)
        found: Backend = find(image) if self.takes_image else find()
        return found


BACKENDS: dict[str, Entry] = {
    "bubblewrap": Entry("bubblewrap"),
    "landlock": Entry("landlock"),
    "wasm": Entry(
        "wasm", systems=("linux", "darwin", "win32"), has_processes=False, prepared=True
    ),
    "wasm in bubblewrap": Entry(
        "wasm", walls=2, has_processes=False, finder="find_within", prepared=True
    ),
    "podman": Entry("container", takes_image=True),
    "docker": Entry("docker", takes_image=True, prepared=True),
    "firejail": Entry("firejail"),
    "seatbelt": Entry("seatbelt", systems=("darwin",)),
    "appcontainer": Entry("appcontainer", systems=("win32",)),
}

# What `auto` takes: the first that is usable. What is not named here (firejail, none) is only
# ever taken by its name, and a system that is not named has nothing to choose from.
ORDER: Mapping[str, tuple[str, ...]] = {
    "linux": ("bubblewrap", "landlock", "wasm", "podman", "docker"),
    "darwin": ("wasm", "podman", "docker", "seatbelt"),
    "win32": ("wasm", "podman", "docker", "appcontainer"),
}


def built_for(system: str, backends: Mapping[str, Entry]) -> list[str]:
    """Return the names of those that a system may have; pure."""
    return [name for name, entry in backends.items() if system in entry.systems]


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
