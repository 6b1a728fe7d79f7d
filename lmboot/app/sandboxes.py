"""Which sandboxes a program could run in on this machine, and why not in others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from lmboot.errors import LmbootError
from lmboot.runtime.posture import NO_WISH, Wish, choose

USUAL = ("auto",)
CONTAINERS = ("podman", "docker")  # the first one that is usable is taken


class Sandbox(NamedTuple):
    """A sandbox that was proven to work here; without a `name`, why there is none."""

    name: str
    properties: Mapping[str, str]
    fault: LmbootError | None = None


async def first_usable(names: Sequence[str], wish: Wish = NO_WISH) -> Sandbox:
    """Return the first of these that is usable, proven now or since the machine started.

    It is the one that a program would get only if `wish` is the one that this is launched with.
    """
    first: LmbootError | None = None
    for name in names:
        try:
            chosen = await choose(name, no_border=False, wish=wish)
        except LmbootError as fault:
            first = first or fault
        else:
            return Sandbox(chosen.backend.name, dict(chosen.properties))
    return Sandbox("", {}, first)
