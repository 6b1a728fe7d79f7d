"""What stands between one runtime and its host: the broker, its live routes, the audit log.

Where no log can be written the runtime still runs, but nothing is done for it: an operation that
can't be recorded is denied.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, cast

from lmboot.app.granting import Granting, Tell
from lmboot.app.model_operations import Model, of_the_model
from lmboot.app.view import Pane
from lmboot.errors import AuditFault, LmbootError, UsageFault
from lmboot.runtime.audit import AuditLog
from lmboot.runtime.broker import Audit, Broker, Flip
from lmboot.runtime.granted import operations
from lmboot.runtime.grants import Grants
from lmboot.runtime.kinds import KINDS
from lmboot.runtime.lasting import Lasting
from lmboot.runtime.launcher import Ended, Runtime
from lmboot.runtime.operations import Env, Notify, Operation, Time
from lmboot.runtime.permits import Ask, Permits
from lmboot.runtime.policy import ALIASES, Limits, Route, Rule, ceiling_of, unasked
from lmboot.runtime.routes import Routes
from lmboot.runtime.spawning import Sandbox, Spawn
from lmboot.runtime.vault import Vault
from lmboot.text import brief

NO_BORDER = "there is no border: what the host would do for the runtime is denied"
# What a runtime did on its channel to the host that ended it, by the channel's word.
BREACHES: Mapping[str, str] = {
    "too_large": "the runtime sent its host a line without end",
    "too_many_faults": "the runtime sent its host many lines that are no requests",
    "too_slow": "the runtime began a line to its host and did not end it",
}


def agreed_routes(
    asked: Mapping[str, Route], rules: Mapping[str, Rule], backend: str = ""
) -> Routes:
    """Return the routes of a start: what a payload asked for, within the user's policy.

    In the back end `none` the host does nothing.
    """
    return Routes.agreed(ceiling_of(rules), asked, bordered=backend != "none")


class Show(Protocol):
    """Shows something in a pane, with an event and its details."""

    async def __call__(
        self, pane: Pane, text: str, event: str | None = None, **details: object
    ) -> None:
        """Show it."""


@dataclass(frozen=True, slots=True)
class Beside:
    """What a border reaches of the session around it.

    `model` gives its connection, `tell` shows something on `sys`, `note` what the runtime notes:
    it waits until that was shown, and counts it as printed. `inject` adds a text to the
    conversation with the model. `ask` None: nobody can be asked. `sandbox` sets up one more
    sandbox for a program of the host's; where there is none to be had, it is why not. `rules` is
    the policy.
    """

    model: Model
    tell: Tell
    note: Callable[[str], Awaitable[None]]
    inject: Callable[[str], None]
    ask: Ask | None
    sandbox: Callable[[Limits], Awaitable[Sandbox]] | str
    limits: Limits
    rules: Mapping[str, Rule] = field(default_factory=dict)


class Unrecorded:
    """Stands where there is no log: every intent is refused, all else is not written."""

    def __init__(self, fault: AuditFault) -> None:
        """Take what is raised for each intent."""
        self._fault = fault

    def intent(self, op: str, route: str, version: int, args: object) -> Any:
        """Refuse it."""
        raise self._fault

    def outcome(
        self,
        intent: Any,
        decision: str,
        reason: str = "",
        bytes: int = 0,  # noqa: A002 - so it is called in the record
        ms: float = 0.0,
        hops: Sequence[str] = (),
    ) -> None:
        """Write nothing; there is none without an intent."""

    def emulated(self, op: str, route: str, version: int, args: object) -> None:
        """Refuse it: where nothing is recorded, nothing is done."""
        raise self._fault

    def denied(self, op: str, route: str, version: int, args: object, reason: str) -> None:
        """Write nothing."""

    def note(self, kind: str, op: str, **_others: object) -> None:
        """Refuse it: what needs a record is not done."""
        raise self._fault


class Border:
    """One run's border, from before its launch until nothing of it is left."""

    def __init__(
        self,
        log: AuditLog | AuditFault,
        routes: Routes,
        session: Beside,
        lasting: Lasting | None = None,
    ) -> None:
        """Take the log, or why there is none; `lasting` is what the payload was granted for ever.

        `backend` and `properties` are what `open` was told of the sandbox. `grants` can be looked
        at and taken back by who shows them, in the session's own thread.
        """
        self.fault = log if isinstance(log, AuditFault) else None
        self._log = log if isinstance(log, AuditLog) else None
        self._audit: Audit = Unrecorded(log) if isinstance(log, AuditFault) else log
        self.backend, self.properties = "", dict[str, str]()
        self.grants = Grants()
        self.granting = Granting(self.grants, self._audit, session.tell, session.ask, lasting)
        self.granting.unused = self._unused
        self._no_programs = session.sandbox if isinstance(session.sandbox, str) else ""
        self._spawn = Spawn(self.grants, session.sandbox, session.limits, self.granting.tell)
        self._operations = [*_own(session), self._spawn, *operations(self.grants)]
        self._permits = Permits(self.grants, self.granting, unasked(session.rules))
        self._routes = routes
        self._broker: Broker | None = None
        self._tell = session.tell
        self._serving: asyncio.Task[None] | None = None

    @classmethod
    async def open(
        cls,
        folder: Path,
        routes: Routes,
        *,
        payload: str,
        backend: str,
        properties: Mapping[str, str],
        agreed: str,
        session: Beside,
        grants: Path,
    ) -> Border:
        """Begin a log for a payload (its hash) that starts with these routes, with the consent.

        `grants` is the folder of what payloads were granted for always; this one's holds again.
        Not to be cancelled: whoever has no use for it any more closes it.
        """

        def begin() -> AuditLog | AuditFault:
            posture = {"backend": backend, **properties}
            try:
                run = secrets.token_hex(8)
                log = AuditLog(Vault(folder), run, posture=posture, payload=payload)
                log.note("consent", "run", decision="agreed", reason=agreed, payload=payload)
                if not routes.bordered:
                    log.note("event", "border", decision="none", reason=NO_BORDER)
            except AuditFault as fault:
                return fault
            return log

        log = await asyncio.to_thread(begin)
        border = cls(log, routes, session, Lasting(grants, payload))
        border.backend, border.properties = backend, dict(properties)
        await border.granting.restore()
        return border

    @property
    def log(self) -> AuditLog | None:
        """The log of this run; None where none can be written."""
        return self._log

    @property
    def routes(self) -> Routes:
        """The routes as they are now."""
        return self._broker.routes if self._broker else self._routes

    def serve(self, runtime: Runtime) -> None:
        """Answer a runtime that was launched, until it hangs up."""
        self._broker = runtime.broker(
            self._routes, self._operations, self._audit, gate=self._permits
        )
        self.granting.on_end = self._broker.end_permit
        self._serving = asyncio.create_task(self._serve(self._broker))

    async def _serve(self, broker: Broker) -> None:
        """Answer until the channel ends; tell of a runtime that broke its rules, once."""
        if breach := BREACHES.get(await broker.serve()):
            self._tell(f"{breach}: nothing more is done for it; it runs on")

    def flip(self, op: str, route: Route) -> Flip:
        """Set the user's own route of an operation, at once.

        UsageFault for unknown names; RuntimeFault where a freer route could not be recorded.
        """
        if self._broker is None:
            raise UsageFault("no runtime runs whose routes could be changed")
        return self._broker.flip(op, route)

    async def take(self, verb: str, text: str, show: Show) -> None:
        """Carry out what the user typed behind `:route`, `:grant` or `:revoke`."""
        try:
            if verb == "revoke":
                self._revoke(text)
            elif text and verb == "grant":
                await self.granting.grant(text)
            elif text:
                await self._route(text, show)
            else:
                for line in self._routes_shown() if verb == "route" else self.granting.lines():
                    await show("sys", line)
        except LmbootError as error:
            await show("sys", f"{error}. {error.hint}".rstrip())

    def _routes_shown(self) -> list[str]:
        return [f"{route:<7} {op}" for op, route in sorted(self.routes.table().items())]

    async def _route(self, text: str, show: Show) -> None:
        op, _, wanted = text.partition(" ")
        wanted = wanted.strip().upper()
        flip = self.flip(op, cast(Route, wanted))
        op = ALIASES.get(op, op)
        route, why = self.routes.effective(op), self.routes.held_back(op, cast(Route, wanted))
        text = f"{op} is {route} now: {why}" if why else f"{op} is {route} now"
        met = {"withdrawn": len(flip.withdrawn), "too_late": len(flip.too_late)}
        met = {name: count for name, count in met.items() if count}
        await show("sys", text + _met(**met), "route", op=op, route=route, **met)

    def _unused(self, kind: str) -> str:
        """Return why a grant of a kind lets nothing through now, going on from "but"; or ""."""
        if kind == "spawn" and self._no_programs:
            return f"nothing comes of it: {self._no_programs}"
        return self.routes.unused(KINDS[kind].opens if kind in KINDS else (kind,))

    def _revoke(self, text: str) -> None:
        if not text:
            raise UsageFault(
                "say what is taken back",
                hint=":revoke NAME, or :revoke KIND NAME; :grant shows them",
            )
        if not self.granting.revoke(text):
            raise UsageFault(f"nothing is granted by the name {brief(text, 60)!r}")

    def end(self, ended: Ended) -> None:
        """Let nothing more be asked or done: the runtime has ended, and how is recorded."""
        if self._broker is not None:
            self._broker.close()
        if self._log is not None:
            with contextlib.suppress(AuditFault):  # its log then has no end: `verify` tells
                self._log.run_ended(ended.code, ended.limit, clean=ended.clean)

    async def close(self) -> None:
        """Hang up, and end the log; idempotent. Whether its end was written, `verify` tells."""
        if self._broker is not None and self._serving is not None:
            self._broker.close()
            await self._serving
        await self._spawn.close()
        await self.granting.close()
        self.grants.close()
        if self._log is not None:
            with contextlib.suppress(AuditFault):
                await asyncio.to_thread(self._log.close)


def _met(withdrawn: int = 0, too_late: int = 0) -> str:
    """Return what a flip did to operations under way, as the end of a sentence."""
    clauses = [f"{withdrawn} withdrawn"] if withdrawn else []
    clauses += [f"{too_late} can't be taken back any more"] if too_late else []
    return f"; {', '.join(clauses)}" if clauses else ""


def _own(session: Beside) -> list[Operation]:
    """Return the operations that are granted by their name, or a variable's."""
    notify = Notify(session.note)
    return [Time(), Env(), notify, *of_the_model(session.model, session.inject)]
