"""What a session does about grants: asks, shows, records and keeps them, and takes them back."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from lmboot.errors import AuditFault, LmbootError, UsageFault
from lmboot.runtime.asking import WHILE_MINUTES, Answer, Question
from lmboot.runtime.broker import Audit
from lmboot.runtime.grants import Grant, Grants, Held, Scope, named
from lmboot.runtime.kinds import KINDS, may
from lmboot.runtime.lasting import Lasting, Row
from lmboot.runtime.permits import Ask
from lmboot.runtime.programs import located, runs_others
from lmboot.text import brief

_NAMED = re.compile(r"(?P<folder>.+) as (?P<name>[^/\s]+)")
_OTHERS = ", ".join(kind for kind, facts in KINDS.items() if not facts.of)
_USAGE = (
    ", ".join(f":grant {kind} {facts.of}" for kind, facts in KINDS.items() if facts.of)
    + f", or one of these alone: {_OTHERS}"
)
_SCOPES: dict[Scope, str] = {
    "run": "until the run ends",
    "once": "once",
    "while": f"for {WHILE_MINUTES} minutes",
    "always": "for always, to this payload",
}


class Tell(Protocol):
    """Shows something on `sys` soon, with an event and its details."""

    def __call__(self, text: str, event: str | None = None, **details: object) -> None:
        """Show it."""


class Granting:
    """The person's side of one run's grants; `ask` is None where nobody can be asked."""

    def __init__(
        self, grants: Grants, audit: Audit, tell: Tell, ask: Ask | None, lasting: Lasting | None
    ) -> None:
        """Take note of what becomes of the grants; `lasting` None: none is kept."""
        self._grants, self._audit, self._tell = grants, audit, tell
        self._lasting = lasting
        self._keeping: set[asyncio.Task[None]] = set()
        self._ask = ask
        self.on_end: Callable[[Held], None] = lambda held: None
        self.unused: Callable[[str], str] = lambda kind: ""  # why one of a kind does nothing now
        grants.on_end = self._ended

    async def restore(self) -> None:
        """Grant what this payload was granted for always; tell what can't be."""
        if self._lasting is None:
            return
        try:
            rows = await asyncio.to_thread(self._lasting.read)
        except LmbootError as fault:
            self._tell(fault.in_full)
            return
        for row in rows:
            try:
                await self._restore(row)
            except LmbootError as fault:
                self._tell(f"not granted any more: {row.kind} {row.name}: {fault.in_full}")

    async def _restore(self, row: Row) -> None:
        self._audit.note("grant", row.kind, decision="always", reason=f"{row.name} {row.path}")
        if row.path:
            await self._grants.add_folder(Path(row.path), row.kind, name=row.name, scope="always")
        else:
            self._grants.add(row.kind, row.name, scope="always")
        self._say(Grant(row.kind, row.name, row.path, "always"))

    # ------------------------------------------------------------ what the gate wants of a person

    @property
    def ask(self) -> Ask | None:
        """Return who puts a question to the person; None where nobody can be asked."""
        return self._ask

    def tell(self, text: str) -> None:
        """Say something on `sys`."""
        self._tell(text)

    def record(self, question: Question, answer: Answer | None) -> None:
        """Record a question, or its answer; raise AuditFault where that can't be."""
        what = f"{question.what} -> {answer.folder}" if answer and answer.folder else question.what
        if answer is None:
            self._audit.note("event", question.op, decision="asked", reason=what)
        else:
            self._audit.note("grant", question.op, decision=answer.scope, reason=what)

    def granted(self, held: Held) -> None:
        """Show a grant that was answered for longer than once; keep one that was for always."""
        self._say(held.shown)
        if held.scope == "always":
            self._keep(Lasting.add, held)

    # ------------------------------------------------------------ what the person types

    def lines(self) -> list[str]:
        """Return every grant as a line."""
        shown = [_line(grant) for grant in self._grants.shown()]
        return shown or ["nothing of this machine is granted"]

    async def grant(self, text: str) -> None:
        """Grant what was typed: `KIND WHAT`. Raises a fault that says why not."""
        kind, _, what = text.partition(" ")
        what = what.strip()
        if kind not in KINDS or (KINDS[kind].of and not what):
            raise UsageFault("say what is granted", hint=_USAGE)
        if kind == "spawn":
            what = await asyncio.to_thread(located, what)
        if not KINDS[kind].is_folder:
            what = named(kind, what or kind)
        # On file before it holds: where that can't be, nothing is granted.
        self._audit.note("grant", kind, decision="granted", reason=what)
        if KINDS[kind].is_folder:
            both = _NAMED.fullmatch(what)
            folder, name = (both["folder"], both["name"]) if both else (what, "")
            held = await self._grants.add_folder(Path(folder), kind, name=name)
        else:
            held = self._grants.add(kind, what)
        self._say(held.shown)
        if kind == "spawn" and runs_others(what):
            self._tell(f"mind that {what} runs whatever the runtime tells it to, in its sandbox")

    def revoke(self, text: str) -> list[Grant]:
        """Take back every grant of a name, or of `KIND NAME`, and what is kept; return them."""
        first, _, rest = text.partition(" ")
        kind, name = (first, rest.strip()) if rest and first in KINDS else ("", text)
        return [held.shown for held in self._grants.remove(name.rstrip("/") or name, kind)]

    def _ended(self, held: Held, why: str) -> None:
        """Take note of a grant that ended before the run did."""
        self.on_end(held)
        if held.scope == "always" and why == "revoked":
            self._keep(Lasting.remove, held)
        with contextlib.suppress(AuditFault):  # what is taken back is taken back in any case
            self._audit.note("revoke", held.kind, decision=why, reason=held.name)
        words = "is taken back" if why == "revoked" else "has expired"
        what = held.kind if held.name == held.kind else f"{held.kind} {held.name}"
        self._tell(f"{what} {words}", "grant", grant="none", what=held.name)

    def _say(self, grant: Grant) -> None:
        as_name = f", as {grant.name}/" if grant.path else ""
        words = f"the runtime may {may(grant.kind, grant.path or grant.name)}{as_name}"
        what = grant.path or grant.name
        but = {"but": why} if (why := self.unused(grant.kind)) else {}
        words = ", but ".join([f"{words}, {_SCOPES[grant.scope]}", *but.values()])
        self._tell(words, "grant", grant=grant.kind, what=what, **but)

    def _keep(self, change: Callable[[Lasting, Row], None], held: Held) -> None:
        """Change the file soon; where that can't be, the grant holds for this run only."""
        lasting, row = self._lasting, Row(held.kind, held.name, held.path)
        if lasting is None:
            return

        async def keep() -> None:
            try:
                await asyncio.to_thread(change, lasting, row)
            except LmbootError as fault:
                self._tell(fault.in_full)

        keeping = asyncio.create_task(keep())
        self._keeping.add(keeping)
        keeping.add_done_callback(self._keeping.discard)

    async def close(self) -> None:
        """Wait until what is to be kept is kept."""
        await asyncio.gather(*self._keeping)


def _line(grant: Grant) -> str:
    name = f"{grant.name}/" if grant.path else grant.name
    words = f"{grant.kind:<7} {name}" if name != grant.kind else name
    left = ""
    if grant.seconds_left is not None:
        left = f", {_minutes(grant.seconds_left)} left"
    elif grant.scope == "always":
        left = ", always"
    path = f" ({brief(grant.path, 200)})" if grant.path else ""
    return f"{words}{path}{left}: it may {may(grant.kind)}"


def _minutes(seconds: float) -> str:
    return f"{seconds / 60:.0f} min" if seconds >= 90 else f"{seconds:.0f} s"
