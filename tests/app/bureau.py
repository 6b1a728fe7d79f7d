"""A desk whose lobby, models and users the test plays; the sandbox behind it is the real one."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from lmboot.app.desk import Desk
from lmboot.app.places import Places
from lmboot.app.view import Says
from lmboot.bootstrap.judge import judge
from lmboot.bootstrap.library import Library
from lmboot.bootstrap.payload import Payload
from lmboot.connections.interface import Connection, Model
from lmboot.errors import LmbootError
from lmboot.settings import Settings
from tests.cli.program import ECHO, payload
from tests.fakes import FakeLobby, FakeView, ScriptedConnection, model
from tests.soak.held import held, nothing_beyond

SECONDS = 60.0  # nothing here takes as long; a hang must end
TINY = model()
LARGE = replace(TINY, id="large", name="Large")
SEED_LIKE = replace(TINY, id="own", kind="seed", server="")
REPLY = payload(ECHO)


@dataclass
class Bureau:
    """The desk, and what a test needs to play its part.

    `openings` are the ids in the order in which models were opened, `connections` what came of
    it. `door` holds every opening until it is set; `failures` are raised by the next ones.
    """

    places: Places
    lobby: FakeLobby = field(default_factory=FakeLobby)
    settings: Settings = field(default_factory=lambda: Settings(warm=False))
    environ: Mapping[str, str] = field(default_factory=dict)
    openings: list[str] = field(default_factory=list)
    connections: list[ScriptedConnection] = field(default_factory=list)
    failures: list[LmbootError] = field(default_factory=list)
    door: asyncio.Event | None = None
    local: bool = True
    desk: Desk = field(init=False)

    def __post_init__(self) -> None:
        self.desk = Desk(self.lobby, self.settings, self.places, self.environ, self.open)

    async def open(self, row: Model, token: str | None, *, context: int, says: Says) -> Connection:
        """Open a model as `open_model` does."""
        self.openings.append(row.id)
        if self.door is not None:
            await self.door.wait()
        if self.failures:
            raise self.failures.pop(0)
        connection = ScriptedConnection(row)
        connection.local = self.local
        self.connections.append(connection)
        return connection

    async def chosen(self, row: Model = TINY) -> ScriptedConnection:
        """Choose a model, wait until it is open, and return its connection."""
        already = len(self.lobby.of("opened"))
        self.desk.choose(row)
        await self.lobby.until(lambda: len(self.lobby.of("opened")) > already)
        return self.connections[-1]

    async def session(self, reply: str = REPLY, view: FakeView | None = None) -> FakeView:
        """Have a session begin with this reply of the model; return its view once it runs."""
        if not self.connections:
            await self.chosen()
        self.connections[-1].enqueue([reply])
        view = view or FakeView()
        self.desk.bootstrap(view)
        await view.until(lambda: "ready" in view.pane("rt"))
        return view

    async def over(self, view: FakeView) -> LmbootError | None:
        """Wait for the end of a view's session, and return the failure that it was told with."""
        await self.lobby.until(lambda: self.ends_of(view))
        (failure,) = self.ends_of(view)
        return failure

    def ends_of(self, view: FakeView) -> list[LmbootError | None]:
        return [failure for each, failure in self.lobby.of("over") if each is view]

    def keep(self, text: str = REPLY, by: str = TINY.id, *, agreed: bool = True) -> Payload:
        """Keep a payload as an earlier session did."""
        found = judge(text).payload
        assert found is not None
        Library(self.places.payloads).keep(found, by, agreed=agreed)
        return found


async def rest() -> None:
    """Wait until nothing goes on any more, or only what never ends by itself has its say."""
    async with asyncio.timeout(SECONDS):
        while others := asyncio.all_tasks() - {asyncio.current_task()}:
            await asyncio.wait(others)


async def turns(count: int) -> None:
    """Let everything that can go on go on so many times."""
    for _ in range(count):
        await asyncio.sleep(0)


def places_in(folder: Path) -> Places:
    return Places(
        *(folder / name for name in ("settings.toml", "payloads", "transcripts", "audit"))
    )


def transcript(file: Path | None) -> list[str]:
    """Return the texts of a transcript."""
    assert file is not None
    return [json.loads(line)["text"] for line in file.read_text().splitlines()]


@asynccontextmanager
async def at_work(bureau: Bureau) -> AsyncIterator[Bureau]:
    """Use a bureau; at the end its desk is closed, and nothing of it is left."""
    before = held()
    yield bureau
    async with asyncio.timeout(SECONDS):
        await bureau.desk.close()
    assert len(asyncio.all_tasks()) <= before.tasks
    assert [each for each in bureau.connections if each.is_open] == []
    await nothing_beyond(before)
