"""What stands between one runtime and its host: the broker, its live routes, the audit log.

Where no log can be written the runtime still runs, but nothing is done for it: an operation that
can't be recorded is denied.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Protocol, cast

from lmboot.app.model_operations import Model, QueryModel, Tokenize
from lmboot.app.view import Pane
from lmboot.errors import AuditFault, LmbootError, UsageFault
from lmboot.runtime.audit import AuditLog
from lmboot.runtime.broker import Audit, Broker, Flip
from lmboot.runtime.granted import Grants
from lmboot.runtime.launcher import Runtime
from lmboot.runtime.operations import Env, Notify, Operation, Time
from lmboot.runtime.policy import ALIASES, OPERATIONS, Route
from lmboot.runtime.routes import Routes
from lmboot.runtime.vault import Vault
from lmboot.text import brief

CEILING: Mapping[str, Route] = dict.fromkeys(OPERATIONS, "HOST")  # no policy forbids any by name


def agreed_routes(asked: Mapping[str, Route]) -> Routes:
    """Return the routes of a start, for a payload that asked for these."""
    return Routes.agreed(CEILING, asked)


class Show(Protocol):
    """Shows something in a pane, with an event and its details."""

    async def __call__(
        self, pane: Pane, text: str, event: str | None = None, **details: object
    ) -> None:
        """Show it."""


class Unrecorded:
    """Stands where there is no log: every intent is refused, all else is not written."""

    def __init__(self, fault: AuditFault) -> None:
        """Take what is raised for each intent."""
        self._fault = fault

    def intent(self, op: str, route: str, version: int, args: object) -> Any:
        """Refuse it."""
        raise self._fault

    def outcome(self, intent: Any, decision: str, reason: str = "", *, ms: float = 0.0) -> None:
        """Write nothing; there is none without an intent."""

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
        model: Model,
        show: Callable[[str], None],
    ) -> None:
        """Take the log, or why there is none.

        `model` gives the session's connection, `show` gets what the runtime tells the person.
        `backend` and `properties` are what `open` was told of the sandbox.
        """
        self.fault = log if isinstance(log, AuditFault) else None
        self._log = log if isinstance(log, AuditLog) else None
        self._audit: Audit = Unrecorded(log) if isinstance(log, AuditFault) else log
        self.backend, self.properties = "", dict[str, str]()
        self.grants = Grants()
        own: list[Operation] = [
            Time(), Env(), Notify(show), QueryModel(model), Tokenize(model)
        ]  # fmt: skip
        self._operations = [*own, *self.grants.operations()]
        self._routes = routes
        self._broker: Broker | None = None
        self._serving: asyncio.Task[str] | None = None

    @classmethod
    async def open(
        cls,
        folder: Path,
        asked: Mapping[str, Route],
        *,
        payload: str,
        backend: str,
        properties: Mapping[str, str],
        agreed: str,
        model: Model,
        show: Callable[[str], None],
    ) -> Border:
        """Begin a log for a payload (its hash) that asked for these routes, with the consent.

        Not to be cancelled: whoever has no use for it any more closes it.
        """

        def begin() -> AuditLog | AuditFault:
            posture = {"backend": backend, **properties}
            try:
                run = secrets.token_hex(8)
                log = AuditLog(Vault(folder), run, posture=posture, payload=payload)
                log.note("consent", "run", decision="agreed", reason=agreed, payload=payload)
            except AuditFault as fault:
                return fault
            return log

        border = cls(await asyncio.to_thread(begin), agreed_routes(asked), model, show)
        border.backend, border.properties = backend, dict(properties)
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
        self._broker = runtime.broker(self._routes, self._operations, self._audit)
        self._serving = asyncio.create_task(self._broker.serve())

    def flip(self, op: str, route: Route) -> Flip:
        """Set the user's own route of an operation, at once.

        UsageFault for unknown names; RuntimeFault where a freer route could not be recorded.
        """
        if self._broker is None:
            raise UsageFault("no runtime runs whose routes could be changed")
        return self._broker.flip(op, route)

    async def take(self, verb: str, text: str, show: Show) -> None:
        """Carry out what the user typed behind `:route`, `:grant` or `:revoke`."""
        do = {"route": self._route, "grant": self._grant, "revoke": self._revoke}[verb]
        try:
            if text or verb == "revoke":
                await do(text, show)
            else:
                for line in self._routes_shown() if verb == "route" else self._grants_shown():
                    await show("sys", line)
        except LmbootError as error:
            await show("sys", f"{error}. {error.hint}".rstrip())

    def _routes_shown(self) -> list[str]:
        return [f"{route:<7} {op}" for op, route in sorted(self.routes.table().items())]

    def _grants_shown(self) -> list[str]:
        folders = [
            f"{'write' if folder.writable else 'read':<7} {name}/"
            for name, folder in self.grants.folders.items()
        ]
        hosts = [f"fetch   {host}" for host in sorted(self.grants.fetch.hosts)]
        return folders + hosts or ["nothing of this machine is granted"]

    async def _route(self, text: str, show: Show) -> None:
        op, _, wanted = text.partition(" ")
        wanted = wanted.strip().upper()
        self.flip(op, cast(Route, wanted))
        op = ALIASES.get(op, op)
        route = self.routes.effective(op)
        more = "" if route == wanted else ": the payload asked for no more, or nobody performs it"
        await show("sys", f"{op} is {route} now{more}", "route", op=op, route=route)

    async def _grant(self, text: str, show: Show) -> None:
        kind, _, what = text.partition(" ")
        what = what.strip()
        if kind not in ("read", "write", "fetch") or not what:
            raise UsageFault(
                "say what is granted", hint=":grant read DIR, :grant write DIR, :grant fetch HOST"
            )
        # On file before it holds: where that can't be, nothing is granted.
        self._audit.note("grant", kind, decision="granted", reason=what)
        if kind == "fetch":
            self.grants.add_host(what)
            words = f"the runtime may fetch from {what}"
        else:
            add = partial(self.grants.add_folder, Path(what), writable=kind == "write")
            words = f"the runtime may {kind} {what}, as {await asyncio.to_thread(add)}/"
        await show("sys", words, "grant", grant=kind, what=what)

    async def _revoke(self, text: str, show: Show) -> None:
        if not self.grants.remove(text.rstrip("/")):
            raise UsageFault(f"nothing is granted by the name {brief(text, 60)!r}")
        with contextlib.suppress(AuditFault):  # what is taken back is taken back in any case
            self._audit.note("revoke", "grant", decision="revoked", reason=text)
        await show("sys", f"{text} is taken back", "grant", grant="none", what=text)

    async def close(self) -> None:
        """Hang up, and end the log; idempotent. Whether its end was written, `verify` tells."""
        if self._broker is not None and self._serving is not None:
            self._broker.close()
            await self._serving
        self.grants.close()
        if self._log is not None:
            with contextlib.suppress(AuditFault):
                await asyncio.to_thread(self._log.close)
