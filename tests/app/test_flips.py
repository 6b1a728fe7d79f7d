"""What the user is told of a flip: the border of a run whose operations wait for the test."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from lmboot.app.border import Border, agreed_routes
from lmboot.app.view import Pane
from lmboot.errors import AuditFault
from lmboot.runtime.broker import Broker
from lmboot.runtime.launcher import Runtime
from tests.app.test_border import ALONE
from tests.runtime.brokers import Guest, Record, Waiting, all_routes, until


@dataclass
class Stage:
    """A border, its guest, an operation that waits, and what was shown."""

    border: Border
    guest: Guest
    write: Waiting
    shown: list[tuple[str, dict[str, object]]] = field(default_factory=list)

    async def show(
        self, pane: Pane, text: str, event: str | None = None, **details: object
    ) -> None:
        self.shown.append((text, details))

    async def ask(self, times: int, *, committed: bool) -> None:
        """Ask so often, and wait until it is committed, or waits before that."""
        if committed:
            self.write.gate.set()
        begun, effects = self.write.begun + times, self.write.effects + times * committed
        for _ in range(times):
            await self.guest.ask(self.write.name)
        await until(lambda: self.write.begun == begun and self.write.effects == effects)
        self.write.gate.clear()


@asynccontextmanager
async def stage() -> AsyncIterator[Stage]:
    """Serve one operation that can't be cancelled; afterwards all has ended."""
    ours, theirs = socket.socketpair()
    write = Waiting("fs.write_text", cancellable=False, after=asyncio.Event())

    class Alone:
        def broker(self, *_: Any, **__: Any) -> Broker:
            return Broker(ours, all_routes(), [write], Record())

    border = Border(AuditFault("no room"), agreed_routes({"fs.write_text": "HOST"}, {}), ALONE)
    border.serve(cast(Runtime, Alone()))
    try:
        yield Stage(border, Guest(theirs), write)
    finally:
        assert write.after is not None
        write.gate.set()
        write.after.set()
        theirs.close()
        await border.close()


@pytest.mark.parametrize(
    ("committed", "waiting", "told", "details"),
    [
        (0, 0, "", {}),
        (0, 2, "; 2 withdrawn", {"withdrawn": 2}),
        (1, 0, "; 1 can't be taken back any more", {"too_late": 1}),
        (1, 2, "; 2 withdrawn, 1 can't be taken back any more", {"withdrawn": 2, "too_late": 1}),
    ],
)
async def test_a_flip_tells_what_became_of_what_was_under_way(
    committed: int, waiting: int, told: str, details: dict[str, int]
) -> None:
    async with stage() as it:
        await it.ask(committed, committed=True)
        await it.ask(waiting, committed=False)

        await it.border.take("route", "fs.write_text DENY", it.show)

        route = {"op": "fs.write_text", "route": "DENY"}
        assert it.shown == [(f"fs.write_text is DENY now{told}", {**route, **details})]


async def test_a_freer_route_withdraws_nothing() -> None:
    async with stage() as it:
        await it.ask(2, committed=False)

        await it.border.take("route", "fs.write_text HOST", it.show)

        assert [text for text, _ in it.shown] == ["fs.write_text is HOST now"]
