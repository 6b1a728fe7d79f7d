"""What the broker's tests share: a record of its audit, operations that wait, a guest's end."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from lmboot.runtime.broker import Audit, Broker, Gate
from lmboot.runtime.operations import Argument, Context, Operation, Text
from lmboot.runtime.policy import OPERATIONS, Route
from lmboot.runtime.routes import Routes


@dataclass
class Record:
    """An audit log in memory; `full` makes every write fail."""

    intents: list[tuple[str, str, int, object]] = field(default_factory=list)
    outcomes: dict[int, str] = field(default_factory=dict)
    sizes: dict[int, int] = field(default_factory=dict)
    emulations: list[tuple[str, str, int, object]] = field(default_factory=list)
    hops: dict[int, tuple[str, ...]] = field(default_factory=dict)
    denials: list[tuple[str, str, int, str]] = field(default_factory=list)
    notes: list[tuple[str, str, str, str]] = field(default_factory=list)
    full: bool = False

    def intent(self, op: str, route: str, version: int, args: object) -> int:
        self._room()
        self.intents.append((op, route, version, args))
        return len(self.intents) - 1

    def outcome(
        self,
        intent: int,
        decision: str,
        reason: str = "",
        bytes: int = 0,  # noqa: A002 (the audit log's word)
        ms: float = 0.0,
        hops: Sequence[str] = (),
    ) -> None:
        self._room()
        assert ms >= 0
        self.hops[intent] = tuple(hops)
        self.sizes[intent] = bytes
        self.outcomes[intent] = reason or decision

    def emulated(self, op: str, route: str, version: int, args: object) -> None:
        self._room()
        self.emulations.append((op, route, version, args))

    def denied(self, op: str, route: str, version: int, args: object, reason: str) -> None:
        self.denials.append((op, route, version, reason))

    def note(
        self,
        kind: str,
        op: str,
        *,
        decision: str = "",
        reason: str = "",
        route: str = "",
        version: int | None = None,
    ) -> None:
        self._room()
        self.notes.append((kind, op, decision, reason))

    def faults(self) -> list[str]:
        return [code for _, _, decision, code in self.notes if decision == "fault"]

    def _room(self) -> None:
        if self.full:
            raise OSError(28, "No space left on device", "/home/person/audit.jsonl")


@dataclass
class Waiting:
    """An operation that waits for `gate` before its commit, and for `after` behind it."""

    name: str = "fetch"
    cancellable: bool = True
    emulates: bool = False
    commits: bool = True
    arguments: Mapping[str, Argument] = field(default_factory=lambda: {"url": Text(default="u")})
    begun: int = 0
    effects: int = 0
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    after: asyncio.Event | None = None

    async def perform(self, args: dict[str, Any], context: Context) -> Any:
        self.begun += 1
        await self.gate.wait()
        if self.commits:
            context.commit()
        self.effects += 1
        if self.after is not None:
            await self.after.wait()
        return args["url"]

    async def emulate(self, args: dict[str, Any]) -> Any:
        return "emulated"


@dataclass
class Raising:
    """An operation that raises what it was given."""

    error: BaseException
    name: str = "tokenize"
    cancellable: bool = True
    emulates: bool = False
    arguments: Mapping[str, Argument] = field(default_factory=dict)

    async def perform(self, args: dict[str, Any], context: Context) -> Any:
        raise self.error

    async def emulate(self, args: dict[str, Any]) -> Any:
        raise self.error


class Guest:
    """The other end of the channel, as a program would use it that knows only the protocol."""

    def __init__(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        self.socket = connection
        self.pushes: list[dict[str, Any]] = []
        self._loop = asyncio.get_running_loop()
        self._pending = b""
        self._last = 0

    async def write(self, data: bytes) -> None:
        await self._loop.sock_sendall(self.socket, data)

    async def ask(self, op: str, **args: Any) -> int:
        """Send a request and return its id."""
        self._last += 1
        frame = json.dumps({"id": self._last, "op": op, "args": args})
        await self.write(frame.encode() + b"\n")
        return self._last

    async def line(self) -> dict[str, Any]:
        """Return the next line; raise EOFError at the end."""
        while b"\n" not in self._pending:
            async with asyncio.timeout(10):
                data = await self._loop.sock_recv(self.socket, 1 << 16)
            if not data:
                raise EOFError
            self._pending += data
        line, _, self._pending = self._pending.partition(b"\n")
        told: dict[str, Any] = json.loads(line)
        return told

    async def answer(self) -> dict[str, Any]:
        """Return the next answer; what is pushed before it is kept aside."""
        while "push" in (told := await self.line()):
            self.pushes.append(told)
        return told

    async def call(self, op: str, **args: Any) -> dict[str, Any]:
        """Ask, and return the answer."""
        number = await self.ask(op, **args)
        told = await self.answer()
        assert told["id"] == number
        return told


@dataclass
class Scene:
    """A broker that serves, its guest's end, and its audit."""

    broker: Broker
    guest: Guest
    audit: Record
    served: asyncio.Task[str]


def all_routes(
    route: Route = "HOST", dotted: Mapping[str, Route] | None = None, **others: Route
) -> Routes:
    """Return routes under a ceiling and a manifest of HOST, with the user's own as given."""
    free: dict[str, Route] = {op: "HOST" for op in OPERATIONS}
    live: dict[str, Route] = {op: route for op in OPERATIONS}
    return Routes(free, free, {**live, **(dotted or {}), **others})


@asynccontextmanager
async def scene(
    *operations: Operation,
    routes: Routes | None = None,
    partial_seconds: float = 10.0,
    already: bytes = b"",
    gate: Gate | None = None,
    audit: Audit | None = None,
) -> AsyncIterator[Scene]:
    """Serve these operations, recorded by `audit` if given; afterwards everything has ended."""
    ours, theirs = socket.socketpair()
    record = Record()
    broker = Broker(
        ours,
        routes or all_routes(),
        operations,
        audit or record,
        partial_seconds=partial_seconds,
        already=already,
        gate=gate,
    )
    served = asyncio.create_task(broker.serve())
    try:
        yield Scene(broker, Guest(theirs), record, served)
    finally:
        theirs.close()
        broker.close()
        async with asyncio.timeout(10):
            await served
    assert ours.fileno() == -1


async def until(condition: Any, seconds: float = 10.0) -> None:
    """Wait for something to become true."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 (what it waits for is a plain value)
            await asyncio.sleep(0.001)


def codes(answers: Iterable[dict[str, Any]]) -> list[str]:
    """Return each answer's code, or ok."""
    return ["ok" if each["ok"] else each["error"]["code"] for each in answers]
