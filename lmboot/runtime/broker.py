"""Performs what a guest asks of its host: by the live routes, recorded, and never more than that.

Every request is admitted by the route of its operation, recorded before its effect, looked at
again when the effect is due, and answered with the route that it truly took. Whatever goes wrong
with one request is its answer; whatever goes wrong with the channel ends this run's channel only.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from threading import Lock
from time import monotonic
from typing import Any, Literal, Protocol

from lmboot.errors import OperationRefused, RuntimeFault
from lmboot.runtime import frames
from lmboot.runtime.channel import Channel, Event
from lmboot.runtime.frames import Closed, Fault, Request
from lmboot.runtime.operations import Operation, Permit, Ready, Refused, RouteChanged, checked
from lmboot.runtime.policy import ALIASES, Route
from lmboot.runtime.routes import Routes, below, stricter

PARTIAL_SECONDS = 10.0  # for a line to end that has begun
CLOSE_SECONDS = 0.5  # for operations to end that can't be cancelled


class Audit(Protocol):
    """Where everything is recorded. An intent that raises is an operation that is not done."""

    def intent(self, op: str, route: str, version: int, args: object) -> Any:
        """Record what is about to be done; what is returned stands for it in its outcome."""

    def outcome(
        self,
        intent: Any,
        decision: str,
        reason: str = "",
        bytes: int = 0,  # noqa: A002 - so it is called in the record
        ms: float = 0.0,
        hops: Sequence[str] = (),
    ) -> None:
        """Record how an intent ended: "ok" or "error" and its code.

        `bytes` is the size of request and answer together, `hops` where redirects led.
        """

    def emulated(self, op: str, route: str, version: int, args: object) -> None:
        """Record what is about to be emulated; what raises is not done."""

    def denied(self, op: str, route: str, version: int, args: object, reason: str) -> None:
        """Record a request that was refused at its admission; never raises."""

    def note(
        self,
        kind: Literal["route", "event", "grant", "revoke"],
        op: str,
        *,
        decision: str = "",
        reason: str = "",
        route: str = "",
        version: int | None = None,
    ) -> None:
        """Record what is no operation: a flip, a fault, the channel's end."""


class Gate(Protocol):
    """Who judges what a request needs beyond its route."""

    async def permit(self, operation: Operation, args: dict[str, Any]) -> Permit | None:
        """Return what the request may rest on, asking the person if need be; raise Refused.

        None: it needs nothing. Cancelled when nobody waits for the answer any more.
        """

    def permit_at_once(self, operation: Operation, args: dict[str, Any]) -> Permit | None:
        """Do the same, or raise BlockingIOError where that takes the person's answer."""


@dataclass(frozen=True, slots=True)
class Flip:
    """What a flip did: the new version, which requests it withdrew, which were done already."""

    version: int
    withdrawn: tuple[int, ...]
    too_late: tuple[int, ...]


@dataclass(slots=True, eq=False)
class _Flight:
    """One request on its way; it is what an operation knows as its context."""

    broker: Broker
    request: Request
    operation: Operation
    args: dict[str, Any]
    route: Route
    intent: Any  # None: it is emulated, and has no outcome
    permit: Permit | None = None  # the grant that it rests on
    asking: bool = False  # whether a person is to be asked for one, or is
    began: float = field(default_factory=monotonic)
    version: int = 0  # of the routes at the commit; 0: not committed
    stopped: OperationRefused | None = None  # why it must not go on
    task: asyncio.Task[None] | None = None  # once it runs
    hops: list[str] = field(default_factory=list)

    def commit(self) -> None:
        self.broker._commit(self)

    def redirected(self, url: str) -> None:
        self.hops.append(url)

    def stop(self, reason: OperationRefused) -> None:
        """Let it not begin, not commit, and not wait any longer if it can be cancelled."""
        self.stopped = reason
        if self.task is not None and (self.operation.cancellable or self.asking):
            self.task.cancel()

    def at_once(self, ready: Ready | None) -> Any:
        """Do it here and now, or raise BlockingIOError where it might have to wait."""
        if ready is None or self.asking or self.route != "HOST":
            raise BlockingIOError
        result = ready.at_once(self.args, self)
        if not self.version:
            self.commit()
        return result

    async def go(self) -> Any:
        """Do it, unless the route became stricter since the admission, or does on the way."""
        self.task = asyncio.current_task()
        if self.stopped:
            raise self.stopped
        if self.route == "EMULATE":
            result = await self.operation.emulate(self.args)
        else:
            if self.asking:
                await self._be_permitted()
            result = await self.operation.perform(self.args, self)
        if not self.version:
            self.commit()  # to tell its result is all the effect that it has
        return result

    async def _be_permitted(self) -> None:
        """Get hold of the grant that it needs; while a person is asked, it can be stopped."""
        try:
            self.permit = await self.broker._gate.permit(self.operation, self.args)
        finally:
            self.asking = False
        if self.stopped:
            raise self.stopped


class _Open:
    """The gate where none is given: each operation judges by itself what it may do."""

    async def permit(self, operation: Operation, args: dict[str, Any]) -> Permit | None:
        return None

    def permit_at_once(self, operation: Operation, args: dict[str, Any]) -> Permit | None:
        return None


class Broker:
    """One run's broker: `serve` until the guest hangs up, `flip` at any time.

    Everything but an operation's commit belongs to the thread of the event loop.
    """

    def __init__(
        self,
        connection: socket.socket,
        routes: Routes,
        operations: Iterable[Operation],
        audit: Audit,
        *,
        gate: Gate | None = None,
        already: bytes = b"",
        partial_seconds: float = PARTIAL_SECONDS,
    ) -> None:
        self._gate = gate or _Open()
        self._operations = {operation.name: operation for operation in operations}
        every = self._operations.items()
        self._ready = {name: each for name, each in every if isinstance(each, Ready)}
        self._routes = routes
        self._swapping = Lock()
        self._audit = audit
        self._connection, self._already = connection, already
        self._channel = Channel(
            self._take, self._under_way, self._push, partial_seconds=partial_seconds
        )
        self._flights: dict[int, _Flight] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._pushed = 0

    @property
    def routes(self) -> Routes:
        """The routes as they are now."""
        return self._routes

    async def serve(self) -> str:
        """Answer the guest until the channel ends; return why it did, as one word."""
        try:
            await self._channel.open(self._connection, self._already)
            self._push()
            reason = await self._channel.ended
        finally:
            self.close()
            await self._land()
            await self._channel.wait_closed()
        self._note(lambda: self._audit.note("event", "channel", decision="end", reason=reason))
        return reason

    def close(self) -> None:
        """Hang up; `serve` returns soon. Idempotent."""
        self._channel.end("closed")

    def flip(self, op: str, route: Route, *, actor: str = "user") -> Flip:
        """Set the user's own route of one operation, from now on.

        Where that is stricter, what can be cancelled is, and nothing else of it is begun. Raises
        UsageFault for unknown names, RuntimeFault when a freer route could not be recorded.
        """
        old = self._routes
        new = old.flip(op, route)
        name = ALIASES.get(op, op)
        was, becomes = old.effective(name), new.effective(name)
        recorded = self._note(
            lambda: self._audit.note(
                "route",
                name,
                decision=route,
                reason=f"{actor}: {was} -> {becomes}",
                route=becomes,
                version=new.version,
            )
        )
        if not recorded and not stricter(old, new, name):
            raise RuntimeFault(
                "the route was not changed: that could not be recorded",
                hint="Make room where the audit log lies, then try again.",
            )
        with self._swapping:
            self._routes = new
        flip = self._withdraw(name, becomes)
        self._push()
        return flip

    def end_permit(self, permit: Permit) -> None:
        """Stop what rests on a grant that has ended, as far as that is possible."""
        ended = Refused("not_granted", "the grant ended before it was done")
        self._stop([each for each in self._flights.values() if each.permit is permit], ended)

    def _withdraw(self, op: str, route: Route) -> Flip:
        """Stop what is under way by a freer route than this."""
        meant = [
            flight
            for flight in self._flights.values()
            if flight.request.op == op and below(route, flight.route)
        ]
        stopped = self._stop(meant, RouteChanged())
        too_late = tuple(each.request.id for each in meant if each not in stopped)
        return Flip(self._routes.version, tuple(each.request.id for each in stopped), too_late)

    def _stop(self, flights: list[_Flight], reason: OperationRefused) -> list[_Flight]:
        """Stop those that can be cancelled or have not had their effect; return them."""
        stopped = [each for each in flights if each.operation.cancellable or not each.version]
        for flight in stopped:
            flight.stop(reason)
        return stopped

    def _commit(self, flight: _Flight) -> None:
        with self._swapping:  # a flip is either before this or after the effect's beginning
            routes = self._routes
            if flight.stopped:
                raise flight.stopped
            if below(routes.effective(flight.request.op), flight.route):
                raise RouteChanged
            if flight.permit is not None and not flight.permit.holds():
                raise Refused("not_granted", "the grant ended before it was done")
            flight.version = routes.version

    def _push(self) -> None:
        """Tell the guest the newest table; one that does not read is told once it does."""
        if self._pushed < self._routes.version and not self._channel.full:
            self._pushed = self._routes.version
            self._channel.send(frames.push(self._routes.table(), self._routes.version))

    def _under_way(self) -> int:
        return len(self._tasks)

    def _take(self, event: Event) -> None:
        match event:
            case Request():
                self._admit(event)
            case Fault(number, code, message):
                self._note(
                    lambda: self._audit.note("event", "channel", decision="fault", reason=code)
                )
                self._refuse(number, Refused(code, message))
            case Closed(code, message):
                self._refuse(None, Refused(code, message))
                self._channel.end(code)

    def _refuse(
        self, number: int | None, refused: OperationRefused, route: Route | None = None
    ) -> None:
        version = self._routes.version
        self._channel.send(
            frames.error(number, refused.code, str(refused), route=route, version=version)
        )

    def _admit(self, request: Request) -> None:
        """Begin a request, or refuse it; what is refused here leaves no more than a denial."""
        version, route = self._routes.version, self._routes.effective(request.op)
        try:
            operation = self._operation(request.op, route)
            args = checked(operation.arguments, request.args)
            permit, asking = self._permit(operation, args, route)
        except Exception as error:  # noqa: BLE001 an operation's fault is an answer, not our end
            refused, reason = _in_words(error)
            self._audit.denied(request.op, route, version, request.args, reason)
            self._refuse(request.id, refused, route)
            return
        record = self._audit.emulated if route == "EMULATE" else self._audit.intent
        try:
            intent = record(request.op, route, version, request.args)
        except Exception:  # noqa: BLE001 whatever it is: what can't be recorded is not done
            self._refuse(request.id, Refused("not_recorded", "it could not be recorded"), route)
            return
        self._begin(_Flight(self, request, operation, args, route, intent, permit, asking))

    def _permit(
        self, operation: Operation, args: dict[str, Any], route: Route
    ) -> tuple[Permit | None, bool]:
        """Return what a request may rest on, and whether the person is to be asked for that."""
        if route != "HOST":
            return None, False
        try:
            return self._gate.permit_at_once(operation, args), False
        except BlockingIOError:
            return None, True

    def _operation(self, op: str, route: Route) -> Operation:
        """Return who performs an operation by this route; raise Refused."""
        operation = self._operations.get(op)
        if route == "DENY":
            raise Refused("denied", f"{op} is denied")
        if route == "HOST" and operation is None:
            raise Refused("unavailable", f"this lmboot can't perform {op}")
        if operation is None or (route == "EMULATE" and not operation.emulates):
            raise Refused("denied", f"{op} is emulated by the guest's library, not by the host")
        return operation

    def _begin(self, flight: _Flight) -> None:
        """Do a request at once where that is possible, else let it take its time."""
        self._flights[flight.request.id] = flight
        try:
            frame = self._success(flight, flight.at_once(self._ready.get(flight.request.op)))
        except BlockingIOError:
            task = asyncio.get_running_loop().create_task(self._fly(flight))
            self._tasks.add(task)
            task.add_done_callback(self._landed)
        except Exception as error:  # noqa: BLE001 an operation's fault is an answer, not our end
            self._fail(flight, error)
        else:
            self._answer(flight, frame, "ok")

    def _landed(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._channel.go_on()

    async def _fly(self, flight: _Flight) -> None:
        """Do what a request asks for, and answer it."""
        try:
            frame = self._success(flight, await flight.go())
        except asyncio.CancelledError:  # the flight ends here and now, whoever cancelled it
            self._fail(flight, flight.stopped or Refused("failed", "the operation was cancelled"))
        except Exception as error:  # noqa: BLE001 an operation's fault is an answer, not our end
            self._fail(flight, error)
        else:
            self._answer(flight, frame, "ok")

    def _fail(self, flight: _Flight, error: Exception) -> None:
        """Answer a request with what went wrong; what is no refusal is not told."""
        refused, code = _in_words(error)
        self._answer(flight, self._failure(flight, refused), code)

    def _answer(self, flight: _Flight, frame: bytes, code: str) -> None:
        """Send an answer, then record it: the guest need not wait for what is done in any case."""
        if flight.permit is not None:
            flight.permit.done()
        del self._flights[flight.request.id]
        self._channel.send(frame)
        self._record(flight, code, flight.request.size + len(frame))

    def _success(self, flight: _Flight, result: Any) -> bytes:
        emulated, version = flight.route == "EMULATE", flight.version
        try:
            return frames.reply(
                flight.request.id, result, flight.route, emulated=emulated, version=version
            )
        except frames.Untold as untold:
            raise Refused(untold.code, untold.message) from None

    def _failure(self, flight: _Flight, refused: OperationRefused) -> bytes:
        """Return an error with the route that the request took; a changed one is told as it is."""
        changed = isinstance(refused, RouteChanged)
        route = self._routes.effective(flight.request.op) if changed else flight.route
        version = self._routes.version if changed else flight.version or self._routes.version
        number, code = flight.request.id, refused.code
        return frames.error(number, code, str(refused), route=route, version=version)

    def _record(self, flight: _Flight, code: str, size: int) -> None:
        """Record how it ended; what is done is done, so a fault of the audit changes nothing."""
        if flight.intent is None:
            return
        milliseconds = (monotonic() - flight.began) * 1e3
        decision, reason = ("ok", "") if code == "ok" else ("error", code)
        # Where that can't be, the next intent meets the same fault and is denied.
        with suppress(Exception):
            self._audit.outcome(flight.intent, decision, reason, size, milliseconds, flight.hops)

    def _note(self, write: Callable[[], None]) -> bool:
        """Record what has happened, or will in any case; say whether that was possible."""
        try:
            write()
        except Exception:  # noqa: BLE001 whatever it is: who asks decides what it means
            return False
        return True

    async def _land(self) -> None:
        """End what is under way: cancel what can be, and give the rest a moment."""
        for flight in self._flights.values():
            flight.stop(Refused("closed", "the channel was closed"))
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=CLOSE_SECONDS)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


def _in_words(error: Exception) -> tuple[OperationRefused, str]:
    """Return what the guest is told of an error, and what is recorded of it."""
    if isinstance(error, OperationRefused):
        return error, error.code
    return Refused("failed", "the operation failed"), f"failed: {type(error).__name__}"
