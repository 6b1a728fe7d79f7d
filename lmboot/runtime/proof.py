"""The proof of a sandbox: a program that tries to get out, run through the plan that payloads get.

A back end is usable only if that program comes back with the nonce and with the denials. That it
is installed proves nothing, and neither does that it exits with 0.
"""

from __future__ import annotations

import asyncio
import json
import platform
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from lmboot.cgroups import Place
from lmboot.errors import SandboxFault
from lmboot.process import Ended
from lmboot.runtime import seccomp
from lmboot.runtime.backends import CHANNEL, Backend
from lmboot.runtime.bait import Bait, bait_laid_out
from lmboot.runtime.policy import Limits
from lmboot.runtime.properties import (
    ABSENT,
    PROBE_LIMITS,
    SHARED,
    WATCHED,
    Properties,
    judge,
    lacking,
)
from lmboot.runtime.run import Box, Job

PROBE_SECONDS = 30.0
_TOO_MUCH = int(PROBE_LIMITS.memory_mb * 2.5) << 20  # more than a group may have, files and all
_PROBED_CALLS = ("ptrace", "keyctl", "add_key", "io_uring_setup", "unshare", "bpf", "memfd_create")
_REMEDY = "`lmboot doctor --probe` shows what got through; --sandbox auto takes one that holds."
_REMEDIES = {"bubblewrap": "If bubblewrap is not your distribution's own, reinstall it. "}
PROBE = Path(__file__).parent / "guest" / "probe.py"
_SHORT_SECONDS = 0.3  # of the clock, and of the processors, for programs that do not end
_WAITS = b"import time\nwhile True:\n    time.sleep(60)\n"
_SPINS = b"""\
import os
if hasattr(os, "fork"):
    os.fork()
while True:
    pass
"""


@dataclass(frozen=True, slots=True)
class Posture:
    """One back end as it is on this machine; `reason` and `remedy` say why it is not usable.

    Of one that is, `reason` says what no property tells, if there is something.
    `grouped`: the proof is of runs that have a control group. `tried` is what came of each
    attempt of the probe, the proof itself.
    """

    name: str
    usable: bool
    reason: str = ""
    remedy: str = ""
    properties: Properties = field(default_factory=lambda: dict(ABSENT))
    grouped: bool = False
    tried: Mapping[str, str] = field(default_factory=dict)


async def prove(backend: Backend, places: Sequence[Place] = ()) -> Posture:
    """Run the probe in a back end and judge what it brings back.

    With control groups if that works; what they do not give then is what the proof lacks.
    """
    if places:
        posture = await _prove(backend, places)
        if posture.usable:
            return posture
    return await _prove(backend, ())


async def _prove(backend: Backend, places: Sequence[Place]) -> Posture:
    with bait_laid_out() as bait:
        try:
            async with asyncio.timeout(PROBE_SECONDS):
                tried, ended, contained = await _probe(backend, bait, places)
                tried = tried and {**tried, **await _of_time(backend, places)}
        except SandboxFault as fault:
            return Posture(backend.name, usable=False, reason=str(fault), remedy=fault.hint)
        except TimeoutError:
            tried, ended, contained = None, Ended(0, None, clean=False), False
        visited = bait.visited()
    if tried is None:
        return _unusable(backend.name, "its probe brought nothing back")
    properties = judge(
        tried,
        visited=visited,
        limit=ended.limit,
        clean=ended.clean,
        channel=CHANNEL,
        contained=contained,
    )
    who = "the kernel" if contained else "looking"
    tried["ended"] = f"by {who}: {ended.limit}" if ended.limit else "by no limit"
    tried["left"] = "nothing" if ended.clean else "something"
    missing = lacking(properties)
    if missing:
        why = f"it does not enforce {', '.join(missing)}"
        return _unusable(backend.name, why, properties, tried)
    return Posture(
        backend.name,
        usable=True,
        reason=getattr(backend, "remark", ""),
        properties=properties,
        grouped=bool(places),
        tried=tried,
    )


async def _probe(
    backend: Backend, bait: Bait, places: Sequence[Place]
) -> tuple[dict[str, str] | None, Ended, bool]:
    """Return all outcomes, the last end, and whether that was the kernel's doing.

    An attempt at which a limit ended the probe was watched; the others are tried once more. In a
    group nobody looks at the memory, at first: who ends it then is the kernel, or nobody.
    """
    watched: dict[str, str] = {}
    contained = any("memory" in place.uses for place in places)
    contained = contained or getattr(backend, "limited", False)  # by groups that are not ours
    while True:
        box = await Box.open(backend, PROBE_LIMITS, places)
        unwatched = ("memory",) if contained else ()
        said, ended = await _listen(box, _probe_job(bait, watched, unwatched))
        word, _, attempt = (
            said.rstrip().rpartition(b"\n")[2].decode(errors="replace").partition(" ")
        )
        if word == "trying" and attempt not in watched and ended.limit in ("processes", "disk"):
            watched[attempt] = WATCHED
        elif contained and ended.limit != "memory":
            contained = False
        else:
            tried = _tried(said, bait.nonce)
            return tried and {**tried, **watched}, ended, contained


async def _of_time(backend: Backend, places: Sequence[Place]) -> dict[str, str]:
    """Return what ends a program that only waits, and what keeps one that only computes.

    The share of the processors is the kernel's where the run is in a group of their controller:
    that it is, with the weight of one program, has been read back before it began.
    """
    waiting = replace(PROBE_LIMITS, wall_seconds=_SHORT_SECONDS)
    clock, grouped = await _ended_by(backend, places, _WAITS, waiting)
    if grouped and any("cpu" in place.uses for place in places):
        return {"clock": clock, "processors": SHARED}
    spinning = replace(PROBE_LIMITS, cpu_seconds=_SHORT_SECONDS)
    return {"clock": clock, "processors": (await _ended_by(backend, places, _SPINS, spinning))[0]}


async def _ended_by(
    backend: Backend, places: Sequence[Place], program: bytes, limits: Limits
) -> tuple[str, bool]:
    """Return the limit that ended a program cleanly, and whether it was in a group of its own."""
    box = await Box.open(backend, limits, places)
    grouped = box.grouped
    _, ended = await _listen(box, Job((("main.py", program),), ("main.py",), limits, {}))
    return (ended.limit or "nothing") if ended.clean else "something is left", grouped


def _unusable(
    name: str,
    why: str,
    properties: Properties = ABSENT,
    tried: Mapping[str, str] | None = None,
) -> Posture:
    return Posture(
        name,
        usable=False,
        reason=f"{name} starts on this machine, but {why}",
        remedy=_REMEDIES.get(name, "") + _REMEDY,
        properties=dict(properties),
        tried=tried or {},
    )


def _probe_job(bait: Bait, without: Iterable[str], unwatched: tuple[str, ...]) -> Job:
    column = seccomp.ARCHES[platform.machine()].column if _known_machine() else None
    tables = {**seccomp.DENIED, **seccomp.ABSENT}
    calls = {} if column is None else {name: tables[name][column] for name in _PROBED_CALLS}
    given = {
        **bait.arguments,
        **calls,
        "processes": int(PROBE_LIMITS.processes),
        "disk_mb": int(PROBE_LIMITS.disk_mb),
        "too_much": _TOO_MUCH,
        "without": ",".join(without),
    }
    argv = ("probe.py", *(f"{name}={value}" for name, value in given.items()))
    return Job((("probe.py", PROBE.read_bytes()),), argv, PROBE_LIMITS, {}, unwatched)


def _known_machine() -> bool:
    return sys.platform == "linux" and platform.machine() in seccomp.ARCHES


async def _listen(box: Box, job: Job) -> tuple[bytes, Ended]:
    """Return what the probe printed, and its end."""
    said = b""
    try:
        runtime = await box.launch(job)
        async for event in runtime.events():
            if isinstance(event, Ended):
                return said, event
            if event.stream == "out" and len(said) < 1 << 16:
                said += event.data
    finally:
        await box.close()
    raise AssertionError("a runtime's events always close with Ended")


def _tried(said: bytes, nonce: str) -> dict[str, str] | None:
    """Return the probe's outcomes; None unless they are whole and of this probe."""
    try:
        found = json.loads(said.splitlines()[-1])
        tried = found["tried"] if found["nonce"] == nonce else None
    except (ValueError, LookupError, TypeError):
        return None
    return {str(name): str(outcome) for name, outcome in tried.items()} if tried else None
