"""What one run was granted: by whom it may be used, for how long, and how it is taken back.

A grant is found by the question that asked for it. Everything here belongs to the thread of the
event loop, but `Held.holds`, which may be asked from any.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from itertools import chain, count
from pathlib import Path
from time import monotonic
from typing import Literal

from lmboot.errors import OperationRefused, UsageFault
from lmboot.paths import problem_with
from lmboot.runtime.asking import WHILE_MINUTES, Answer, Question
from lmboot.runtime.confined import RUN_BYTES, Folder
from lmboot.runtime.kinds import KINDS, includes
from lmboot.runtime.operations import VARIABLE
from lmboot.runtime.quota import Quota
from lmboot.runtime.urls import FetchPolicy, host_named
from lmboot.text import brief

Scope = Literal["run", "once", "while", "always"]  # run: typed by the user, until the run ends


@dataclass(frozen=True, slots=True)
class Grant:
    """One grant as it is shown: `name` takes it back, `path` is a folder's.

    `seconds_left` is None where no time ends it.
    """

    kind: str
    name: str
    path: str
    scope: Scope
    seconds_left: float | None = None


@dataclass(eq=False, slots=True)
class Held:
    """One grant while it holds; `until` is a time of the clock, None: no time ends it."""

    kind: str
    name: str
    scope: Scope
    path: str = ""
    folder: Folder | None = None
    until: float | None = None
    clock: Callable[[], float] = monotonic
    ended: bool = False
    timer: asyncio.TimerHandle | None = None

    def holds(self) -> bool:
        """Say whether it is granted still; from any thread."""
        return not self.ended and (self.until is None or self.clock() < self.until)

    def done(self) -> None:
        """Take note that the request is answered: what was granted for it alone ends."""
        if self.scope == "once":
            self.end()

    def end(self) -> None:
        """Let it hold no longer; idempotent."""
        self.ended = True
        if self.folder is not None:
            self.folder.close()
        if self.timer is not None:
            self.timer.cancel()

    def covers(self, kind: str, name: str) -> bool:
        """Say whether it is what a question of this kind asks for."""
        if kind == "fetch" == self.kind:
            return FetchPolicy(frozenset({self.name})).names(name)
        return includes(self.kind, kind) and name == self.name

    @property
    def shown(self) -> Grant:
        """Return it as a value."""
        left = None if self.until is None else max(0.0, self.until - self.clock())
        return Grant(self.kind, self.name, self.path, self.scope, left)


@dataclass(slots=True)
class Grants:
    """What one run was granted so far; it changes while it runs.

    `fetch` is what any address must obey, and hosts that need no grant. `on_end` is told of each
    grant that ended before the run, and why: "expired" or "revoked".
    """

    fetch: FetchPolicy = field(default_factory=FetchPolicy)
    written: Quota = field(default_factory=lambda: Quota(RUN_BYTES))  # of all folders together
    clock: Callable[[], float] = monotonic
    on_end: Callable[[Held, str], None] = lambda held, why: None
    _held: list[Held] = field(default_factory=list)

    # ------------------------------------------------------------ what there is

    def shown(self) -> list[Grant]:
        """Return every grant that holds now, the oldest first."""
        return [held.shown for held in self._holding()]

    def covering(self, question: Question) -> Held | None:
        """Return a grant that holds and is what a question asks for."""
        kind, name = question.kind, question.name
        for held in self._holding():
            if held.covers(kind, name):
                return held
        return None

    def has_folder(self, name: str) -> bool:
        """Say whether a folder was granted by this name."""
        return any(held.name == name and held.folder for held in self._holding())

    @property
    def folders(self) -> Mapping[str, Folder]:
        """The folders by their names for the runtime; one that may be written goes first."""
        by_rank = sorted(self._holding(), key=lambda held: held.kind == "write")
        return {held.name: held.folder for held in by_rank if held.folder is not None}

    @property
    def policy(self) -> FetchPolicy:
        """What may be fetched now."""
        hosts = {held.name for held in self._holding() if held.kind == "fetch"}
        return replace(self.fetch, hosts=self.fetch.hosts | hosts)

    def _holding(self) -> list[Held]:
        """Return what holds; what has expired meanwhile is ended and told."""
        if not all(map(Held.holds, self._held)):
            for held in [each for each in self._held if not each.holds()]:
                self._end(held, "expired")
        return self._held

    # ------------------------------------------------------------ what comes

    async def add_folder(
        self, path: Path, kind: str, *, name: str = "", scope: Scope = "run"
    ) -> Held:
        """Grant a folder to read or to write. Raises UsageFault where it can't be used.

        Without a name it has that of its last part, with a number where that is taken.
        """
        if name:
            named(kind, name)
        whole, folder = await asyncio.to_thread(self._opened, str(path), kind == "write")
        other = self.folders.get(name)
        if other is not None and other.identity != folder.identity:
            folder.close()
            raise UsageFault(
                f"another folder is granted by the name {brief(name, 60)!r}",
                hint=f"Give this one a name of its own, or take that one back: `:revoke {name}`.",
            )
        name = name or self._free(Path(whole).name or "root")
        return self._put(Held(kind, name, scope, whole, folder))

    def _opened(self, path: str, writable: bool) -> tuple[str, Folder]:
        """Open a folder; return its whole path too. Blocks."""
        whole = os.path.abspath(os.path.expanduser(path))
        return whole, Folder.open(Path(whole), writable, quota=self.written)

    def _free(self, stem: str) -> str:
        names = chain([stem], (f"{stem}-{number}" for number in count(2)))
        return next(name for name in names if name not in self.folders)

    def add(self, kind: str, name: str, scope: Scope = "run") -> Held:
        """Grant something that is no folder. Raises UsageFault where there is no such thing."""
        return self._put(Held(kind, named(kind, name), scope))

    async def answer(self, question: Question, answer: Answer) -> Held:
        """Grant what was asked for, for as long as was answered. Raises UsageFault.

        What is granted once is nobody's but the caller's, who ends it.
        """
        if answer.scope == "no":
            raise ValueError("no grants nothing")
        until = self.clock() + WHILE_MINUTES * 60 if answer.scope == "while" else None
        held = Held(question.kind, question.name, answer.scope, until=until, clock=self.clock)
        if question.kind in KINDS and KINDS[question.kind].is_folder:
            held.path, held.folder = await self._folder_in_time(question, answer)
        return held if answer.scope == "once" else self._put(held)

    async def _folder_in_time(self, question: Question, answer: Answer) -> tuple[str, Folder]:
        """Open the folder in a thread; nobody waits any more: let go of it."""
        opening = asyncio.create_task(asyncio.to_thread(self._folder_for, question, answer))
        try:
            return await asyncio.shield(opening)
        except asyncio.CancelledError:
            opening.add_done_callback(_let_go)
            raise

    def _folder_for(self, question: Question, answer: Answer) -> tuple[str, Folder]:
        writable = question.kind == "write"
        for held in self._held:
            if not question.chooses_folder and held.folder and held.name == question.what:
                return held.path, held.folder.again(writable=writable)
        if not answer.folder:
            raise UsageFault("no folder was named", hint="Name the folder that is meant.")
        return self._opened(answer.folder, writable)

    def _put(self, held: Held) -> Held:
        held.clock = self.clock
        self._held.append(held)
        if held.until is not None:
            loop, left = asyncio.get_running_loop(), held.until - self.clock()
            held.timer = loop.call_later(left, self._holding)
        return held

    # ------------------------------------------------------------ what goes

    def remove(self, name: str, kind: str = "") -> list[Held]:
        """Take back every grant of this name, or those of one kind; return them."""
        kinds = (kind,) if kind else KINDS
        found = [held for held in self._holding() if held.name == name and held.kind in kinds]
        for held in found:
            self._end(held, "revoked")
        return found

    def _end(self, held: Held, why: str) -> None:
        self._held.remove(held)
        held.end()
        self.on_end(held, why)

    def close(self) -> None:
        """Let go of everything."""
        for held in self._held:
            held.end()
        self._held.clear()


def _let_go(opening: asyncio.Task[tuple[str, Folder]]) -> None:
    if not opening.cancelled() and opening.exception() is None:
        opening.result()[1].close()


def named(kind: str, name: str) -> str:
    """Return the name by which something is granted. Raises UsageFault where that can't be.

    A host that could never be fetched from is none; nor is every host at once.
    """
    if kind not in KINDS:
        raise _no(kind, "thing that can be granted", f"There are: {', '.join(KINDS)}.")
    if not KINDS[kind].of and name != kind:
        raise _no(name, f"part of {kind}", f"Grant it as a whole: `:grant {kind}`.")
    if kind == "env" and not VARIABLE.fullmatch(name):
        raise _no(name, "variable", "Name one, such as EDITOR.")
    if kind == "spawn" and (os.path.normpath(name) != name or not os.path.isabs(name)):
        raise _no(name, "program", "Name it by its whole path, such as /usr/bin/sort.")
    if KINDS[kind].is_folder and (problem_with(name) or "/" in name):
        raise _no(name, "name of a folder", "Name it in one word.")
    return _host(name) if kind == "fetch" else name


def _host(name: str) -> str:
    try:
        return host_named(name)
    except OperationRefused as refused:
        raise UsageFault(
            f"{brief(name, 60)!r} can't be granted: {refused}",
            hint="Name one, such as example.org, or .example.org for it and all beneath it.",
        ) from refused


def _no(name: str, what: str, hint: str) -> UsageFault:
    return UsageFault(f"{brief(name, 60)!r} is no {what}", hint=hint)
