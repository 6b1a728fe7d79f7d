"""Which back end a run gets: the first that has proven itself here, or the one that was named.

A proof is remembered until the next boot; a failure is not, as its remedy must work at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
import platform
import secrets
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple, get_args

from platformdirs import user_cache_path

from lmboot import __version__, cgroups, system
from lmboot.cgroups import Place
from lmboot.errors import ConsentImpossible, SandboxFault, UsageFault
from lmboot.runtime.backends import Backend, bubblewrap, none
from lmboot.runtime.proof import PROBE, Posture, prove
from lmboot.runtime.properties import (
    ABSENT,
    PROPERTIES,
    WALLS,
    Level,
    Properties,
    SandboxLevel,
    short_of,
)
from lmboot.runtime.registry import BACKENDS, built_for, order
from lmboot.runtime.remedies import LEVEL_REMEDIES, install
from lmboot.workspace import private_folder

__all__ = ["BACKENDS", "Chosen", "Posture", "Wish", "choose", "forget", "prove", "survey", "walls"]


@dataclass(frozen=True, slots=True)
class Wish:
    """What is asked of a back end beside its name.

    `level` is a payload's; `image` is what a container is made of, in place of this machine's own
    /usr. `say` is told of what takes long, beforehand: some are made ready once, in a minute.
    """

    level: SandboxLevel = "low"
    image: str | None = None
    say: Callable[[str], None] = lambda _: None


NO_WISH = Wish()


async def survey(wish: Wish = NO_WISH) -> list[Posture]:
    """Probe every back end that this version has for this system, now."""
    places = await asyncio.to_thread(cgroups.find)
    return [
        *[await _survey(name, places, wish) for name in built_for(sys.platform, BACKENDS)],
        _UNCONFINED,
    ]


_UNCONFINED = Posture("none", usable=True, reason="no border: the runtime has your own rights")


async def _survey(name: str, places: Sequence[Place], wish: Wish) -> Posture:
    try:
        backend = await _find(name, wish)
    except SandboxFault as fault:
        return Posture(name, usable=False, reason=str(fault), remedy=fault.hint)
    posture = await prove(backend, places)
    _remember(backend, posture, places)
    return posture


class Chosen(NamedTuple):
    """The back end to use, what was proven of it, and where its runs get their control group."""

    backend: Backend
    properties: Properties
    places: Sequence[Place] = ()


async def _find(name: str, wish: Wish) -> Backend:
    """Return a back end as it is here; one that has to be made ready first, is."""
    entry = BACKENDS[name]
    await entry.prepare(wish.say)
    return await asyncio.to_thread(entry.find, wish.image)


async def choose(sandbox: str, *, no_border: bool, wish: Wish = NO_WISH) -> Chosen:
    """Return the back end to use; raise where there is none, or none by that name.

    `auto` never means `none`, and a back end that was named is never replaced by another. Consent
    to `none` is consent to what a payload asks for, too, if its level is low.
    """
    if sandbox not in ("auto", "none", *BACKENDS):
        raise UsageFault(f"there is no sandbox {sandbox!r}", hint="Use --sandbox auto.")
    if sandbox not in ("auto", "none", *built_for(sys.platform, BACKENDS)):
        raise SandboxFault(
            f"{sandbox} is for another system than this one ({sys.platform})",
            hint="Use --sandbox auto: it takes the best one that works on this machine.",
        )
    if sandbox == "none":
        if not no_border:
            raise ConsentImpossible(
                "--sandbox none lets the runtime do whatever you can do, and was not agreed to",
                hint="Add --no-border if that is what you want.",
            )
        if wish.level != "low":
            raise _too_low("none", wish.level, short_of(wish.level, ABSENT, walls=0))
        places = await asyncio.to_thread(cgroups.find)
        return Chosen(none.Unconfined(), ABSENT, places)
    names = (
        [sandbox] if sandbox != "auto" else order(sys.platform, BACKENDS, walls=WALLS[wish.level])
    )
    faults: dict[str, SandboxFault] = {}
    places = await asyncio.to_thread(cgroups.find)
    for name in names:
        try:
            return await _proven(name, places, wish)
        except SandboxFault as fault:
            faults[name] = fault
    raise _together(faults, wish.level)


async def _proven(name: str, places: Sequence[Place], wish: Wish) -> Chosen:
    """Return a back end with its proof, be it remembered; raise where it is not usable."""
    backend = await _find(name, wish)
    posture = _remembered(backend, places) or await prove(backend, places)
    _remember(backend, posture, places)
    if not posture.usable:
        raise SandboxFault(posture.reason, hint=posture.remedy)
    if missing := short_of(wish.level, posture.properties, walls=walls(name)):
        raise _too_low(name, wish.level, missing)
    return Chosen(backend, posture.properties, places if posture.grouped else ())


def walls(name: str) -> int:
    """Return how many borders a back end has, one inside the other."""
    return BACKENDS[name].walls if name in BACKENDS else 0


def no_programs(name: str, image: str | None) -> str:
    """Return why no program of this machine can be run beside a runtime; "" where one can."""
    if name not in BACKENDS:
        return "without a sandbox no program is run for a runtime"
    return BACKENDS[name].no_programs(image)


def _too_low(name: str, level: SandboxLevel, missing: Sequence[str]) -> SandboxFault:
    return SandboxFault(
        f"the payload asks for sandbox level {level}, and {name} does not give all of that here: "
        f"{', '.join(missing)}",
        hint=f"{LEVEL_REMEDIES[level]} Or ask for a payload that needs no more than level low.",
    )


def _nothing_built(level: SandboxLevel) -> SandboxFault:
    if WALLS[level] > 1:
        return SandboxFault(
            f"the payload asks for sandbox level {level}: two walls, one inside the other; this "
            "version of lmboot has no back end with two for this system",
            hint=LEVEL_REMEDIES[level],
        )
    return SandboxFault(
        f"no sandbox is built for this system ({sys.platform}) yet",
        hint=install(sys.platform, bubblewrap.os_release()),
    )


def _together(faults: Mapping[str, SandboxFault], level: SandboxLevel) -> SandboxFault:
    """Return one fault for all: every reason, and the quickest remedy."""
    if not faults:
        return _nothing_built(level)
    first, *others = faults.values()
    if not others:
        return first
    reasons = "; ".join(f"{name}: {fault}" for name, fault in faults.items())
    return SandboxFault(f"no sandbox is usable here; {reasons}", hint=first.hint)


# ---------------------------------------------------------------- what was proven before


def _cache_path(name: str) -> Path:
    return user_cache_path("lmboot") / f"posture-{name}.json"


def _key(backend: Backend, places: Sequence[Place]) -> dict[str, Any]:
    """Return all that a proof rests on; it holds no longer than until the next boot."""
    boot = secrets.token_hex(8)  # where a boot has no name, nothing is remembered
    with contextlib.suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return {
        "lmboot": __version__,
        "kernel": platform.release(),
        "boot": boot,
        "uid": system.user(),
        "binary": _identity(getattr(backend, "binary", "")),
        "groups": [list(map(str, place)) for place in places],
        "backend": hashlib.sha256(repr(backend).encode()).hexdigest(),
        "probe": hashlib.sha256(PROBE.read_bytes()).hexdigest(),
    }


def _identity(binary: str) -> list[Any] | None:
    """Return what tells a program from any other in its place; None without one."""
    if not binary:
        return None
    with open(binary, "rb") as file:
        found = os.fstat(file.fileno())
        beginning = hashlib.sha256(file.read(4 << 20)).hexdigest()
    return [binary, found.st_ino, found.st_ctime_ns, found.st_mtime_ns, found.st_size, beginning]


def _remembered(backend: Backend, places: Sequence[Place] = ()) -> Posture | None:
    """Return what was proven since the machine started; None when that is nothing or damaged."""
    try:
        descriptor = os.open(_cache_path(backend.name), os.O_RDONLY | system.O_NOFOLLOW)
        with open(descriptor, "rb") as file:
            found = os.fstat(descriptor)
            if found.st_uid != system.user() or found.st_mode & 0o022:
                return None
            kept = json.loads(file.read(1 << 16))
        if kept["key"] != _key(backend, places) or kept["posture"]["usable"] is not True:
            return None
        posture = Posture(**kept["posture"])
    except (OSError, ValueError, LookupError, TypeError):
        return None
    levels = set(get_args(Level))
    complete = set(posture.properties) == set(PROPERTIES)
    return posture if complete and set(posture.properties.values()) <= levels else None


def _remember(backend: Backend, posture: Posture, places: Sequence[Place] = ()) -> None:
    """Keep a proof until the next boot; a failure is not kept: its remedy must work at once."""
    path = _cache_path(backend.name)
    with contextlib.suppress(OSError, SandboxFault):
        private_folder(path.parent)
        if not posture.usable:
            path.unlink(missing_ok=True)
            return
        passing = path.with_name(f"posture-{secrets.token_hex(8)}")
        with open(os.open(passing, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            json.dump({"key": _key(backend, places), "posture": asdict(posture)}, file)
        passing.replace(path)


def forget() -> None:
    """Forget all that was proven: a launch failed that should not have."""
    for name in BACKENDS:
        with contextlib.suppress(OSError):
            _cache_path(name).unlink(missing_ok=True)
