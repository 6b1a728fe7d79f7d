"""What is on file and on the screen of a run's end, with a runtime that the test plays."""

from __future__ import annotations

import asyncio
import socket
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lmboot.app.border import BREACHES, Beside, Border, agreed_routes
from lmboot.app.records import row_of
from lmboot.app.talk import Talk
from lmboot.app.transcript import Transcript
from lmboot.app.view import Pane
from lmboot.errors import AuditFault
from lmboot.runtime.audit import AuditLog
from lmboot.runtime.broker import Broker
from lmboot.runtime.chain import Record
from lmboot.runtime.policy import Limits, Route
from lmboot.runtime.vault import Vault
from tests.fakes import FakeRuntime, FakeView, unheard
from tests.runtime.audits import MemoryKeychain, records

ALONE = Beside(
    model=lambda: None,
    tell=lambda text, event=None, **details: None,
    note=unheard,
    inject=lambda text: None,
    ask=None,
    sandbox="not here",
    limits=Limits(),
)


async def _never() -> None:
    raise AssertionError("no trigger was typed")


async def end_on_file(folder: Path, runtime: FakeRuntime) -> tuple[Record, list[str]]:
    """Return the record of a run's end, and the kinds of all records."""
    log = AuditLog(Vault(folder / "audit", MemoryKeychain()), "r1", posture={}, payload=None)
    talk = Talk(
        FakeView(),
        Transcript(folder / "transcripts"),
        wait_seconds=5.0,
        is_trigger=lambda text: False,
        bootstrap_anew=_never,
    )
    await talk.run(runtime, "", 256, Border(log, agreed_routes({}, {}), ALONE))  # type: ignore[arg-type]  # a fake
    await talk.close()
    found = records(log.path)
    (end,) = [each for each in found if each.get("op") == "run"]
    return end, [each["kind"] for each in found]


@pytest.mark.parametrize(
    ("code", "limit", "clean", "words"),
    [
        (0, None, True, "with status 0, with no limit reached; nothing of it is left"),
        (3, None, True, "with status 3, with no limit reached; nothing of it is left"),
        (137, "memory", True, "with status 137, over its limit of memory; nothing of it is left"),
        (137, None, False, "with no limit reached; not every process of it could be ended"),
    ],
)
async def test_how_a_run_ended_is_the_last_before_the_logs_end(
    tmp_path: Path, code: int, limit: str | None, clean: bool, words: str
) -> None:
    class Ending(FakeRuntime):
        async def stop(self) -> None:
            self.finish(code, limit=limit, clean=clean)

    end, kinds = await end_on_file(tmp_path, Ending())

    assert kinds == ["genesis", "event", "close"]
    assert (end["code"], end["limit"], end["clean"]) == (code, limit, clean)
    shown = " ".join(row_of(end).split())
    assert f"event run {'ended' if clean else 'UNCLEAN'} with status" in shown
    assert words in shown


async def test_an_end_that_can_not_be_recorded_ends_the_session_all_the_same(
    tmp_path: Path,
) -> None:
    border = Border(AuditFault("no room"), agreed_routes({}, {}), ALONE)
    talk = Talk(
        FakeView(),
        Transcript(tmp_path),
        wait_seconds=5.0,
        is_trigger=lambda text: False,
        bootstrap_anew=_never,
    )

    await talk.run(FakeRuntime(), "", 256, border)  # type: ignore[arg-type]  # a fake
    await talk.close()

    assert talk.ended is not None


# ---------------------------------------------------------------- a breach is told


class Lined:
    """A runtime of which there is nothing but its line to the host; `guest` is its end."""

    def __init__(self) -> None:
        self._host, self.guest = socket.socketpair()

    def broker(self, *given: Any, gate: Any) -> Broker:
        return Broker(self._host, *given, gate=gate, partial_seconds=0.05)


BROKEN = {
    "too_large": b"x" * (1 << 20) + b"x",
    "too_many_faults": b"{}\n" * 20,
    "too_slow": b'{"id": 1',
}


@pytest.mark.parametrize("breach", sorted(BREACHES))
async def test_a_channel_that_is_closed_for_a_breach_is_told_once(breach: str) -> None:
    told: list[str] = []
    session = replace(ALONE, tell=lambda text, event=None, **details: told.append(text))
    runtime, border = Lined(), Border(AuditFault("no room"), agreed_routes({}, {}), session)
    loop = asyncio.get_running_loop()
    runtime.guest.setblocking(False)

    border.serve(runtime)  # type: ignore[arg-type]  # a fake
    await loop.sock_sendall(runtime.guest, BROKEN[breach])
    while await loop.sock_recv(runtime.guest, 1 << 16):
        pass
    await border.close()

    (words,) = told
    assert words == f"{BREACHES[breach]}: nothing more is done for it; it runs on"
    runtime.guest.close()


@pytest.mark.parametrize("last", ["guest", "host"])
async def test_a_channel_that_ends_as_it_should_is_not_told(last: str) -> None:
    told: list[str] = []
    session = replace(ALONE, tell=lambda text, event=None, **details: told.append(text))
    runtime, border = Lined(), Border(AuditFault("no room"), agreed_routes({}, {}), session)

    border.serve(runtime)  # type: ignore[arg-type]  # a fake
    if last == "guest":
        runtime.guest.close()
    await border.close()
    runtime.guest.close()

    assert told == []


# ---------------------------------------------------------------- a grant that does nothing


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        ("time", "the runtime may read the clock and the time zone of this machine, until the run "
         "ends"),
        ("fetch example.org", "the runtime may fetch from example.org, until the run ends, but "
         "nothing comes of it: the payload asked for no more than EMULATE"),
        ("env LANG", "the runtime may read LANG from your environment, until the run ends, but "
         "nothing comes of it: the policy allows no more than DENY"),
        ("spawn /usr/bin/sort", "the runtime may run /usr/bin/sort in a sandbox of its own, until "
         "the run ends, but nothing comes of it: no program of this machine is run"),
    ],
)  # fmt: skip
async def test_what_is_granted_is_told_with_what_stands_in_its_way(
    tmp_path: Path, typed: str, words: str
) -> None:
    told: list[tuple[str, dict[str, object]]] = []
    session = replace(
        ALONE,
        tell=lambda text, event=None, **details: told.append((text, details)),
        sandbox="no program of this machine is run",
    )
    asked: dict[str, Route] = {"time": "HOST", "spawn": "HOST", "env": "HOST", "fetch": "EMULATE"}
    log = AuditLog(Vault(tmp_path / "audit", MemoryKeychain()), "r1", posture={}, payload=None)
    border = Border(log, agreed_routes(asked, {"env": "DENY"}), session)

    async def show(pane: Pane, text: str, event: str | None = None, **details: object) -> None:
        raise AssertionError(text)

    await border.take("grant", typed, show)
    await border.close()

    ((text, details),) = told
    assert text == words
    assert details.get("but") == (words.partition(", but ")[2] or None)
