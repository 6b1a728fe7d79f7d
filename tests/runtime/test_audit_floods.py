"""What a guest that asks without end leaves on file, through a real broker, gate and log."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from lmboot.runtime.asking import Answer
from lmboot.runtime.audit import RECORDED_A_SECOND
from lmboot.runtime.granted import operations
from lmboot.runtime.grants import Grants
from lmboot.runtime.operations import Env, Notify, Operation, Time
from lmboot.runtime.permits import Permits
from lmboot.runtime.policy import Route
from lmboot.runtime.vault import Vault
from tests.runtime.audits import Logs, MemoryKeychain, records
from tests.runtime.brokers import Guest, all_routes, codes, scene, until
from tests.runtime.persons import Person, Wanting, asked

FLOOD = 3000
NO = Answer("no")


@pytest.fixture
def logs(tmp_path: Path) -> Logs:
    return Logs(Vault(tmp_path / "audit", MemoryKeychain()))


async def flooded(logs: Logs, route: Route, op: str, **args: Any) -> tuple[Path, Counter[str]]:
    """Ask the same thing over and over, with nobody to ask; the log's clock stands still."""
    grants = Grants()
    gate = Permits(grants, Person(absent=True))
    own: list[Operation] = [Time(), Env(), Notify(lambda _: None), *operations(grants)]
    with logs.open() as log:
        async with scene(*own, routes=all_routes(route), gate=gate, audit=log) as it:
            asking = asyncio.create_task(pour(it.guest, op, args))
            answers = codes([await it.guest.answer() for _ in range(FLOOD)])
            await asking
    grants.close()
    return log.path, Counter(answers)


async def pour(guest: Guest, op: str, args: dict[str, Any]) -> None:
    for _ in range(FLOOD):
        await guest.ask(op, **args)


FLOODS: list[tuple[Route, str, dict[str, str], str, str]] = [
    ("EMULATE", "notify", {"text": "x" * 4000}, "ok", "emulated"),
    ("EMULATE", "time", {}, "ok", "emulated"),
    ("EMULATE", "env", {"name": "HOME"}, "ok", "emulated"),
    ("HOST", "notify", {"text": "x" * 4000}, "not_granted", "deny"),
    ("HOST", "fetch", {"url": "http://a.org/" + "x/" * 500}, "not_granted", "deny"),
    ("HOST", "fetch", {"url": "http://127.0.0.1/"}, "address_refused", "deny"),
    ("HOST", "fs.read_text", {"path": "notes/a"}, "not_granted", "deny"),
    ("HOST", "fs.stat", {"path": "../a"}, "bad_path", "deny"),
    ("DENY", "fetch", {"url": "http://a.org/"}, "denied", "deny"),
]


@pytest.mark.parametrize(("route", "op", "args", "code", "decision"), FLOODS)
@pytest.mark.case(122)
async def test_case_122_what_has_no_effect_is_counted_and_takes_next_to_nothing(
    logs: Logs, route: Route, op: str, args: dict[str, str], code: str, decision: str
) -> None:
    log, answers = await flooded(logs, route, op, **args)

    told = [each for each in records(log) if each.get("decision") == decision]
    counted = sum(each.get("count", 0) for each in told)
    single = [each for each in told if each["kind"] == "outcome"]
    assert answers == {code: FLOOD}
    assert (len(single), counted) == (RECORDED_A_SECOND, FLOOD - RECORDED_A_SECOND)
    assert {each["op"] for each in single} == {op}
    assert not [each for each in records(log) if each["kind"] == "intent"]
    assert records(log)[-1]["denied" if decision == "deny" else "emulated"] == FLOOD
    summaries = len(told) - len(single)
    assert log.stat().st_size < 4096 * (RECORDED_A_SECOND + 3) + 1024 * summaries
    assert logs.verdict(log).whole


async def test_a_request_that_waits_for_the_person_is_on_file_and_one_after_a_no_is_a_denial() -> (
    None
):
    async with asked(Wanting()) as it:
        await it.scene.guest.ask("query_model")
        await until(lambda: it.person.questions)
        assert it.scene.audit.intents == [("query_model", "HOST", 1, {})]
        assert it.scene.audit.outcomes == {}
        it.person.answer(NO)
        assert codes([await it.scene.guest.answer()]) == ["not_granted"]
        assert codes([await it.scene.guest.call("query_model")]) == ["not_granted"]

        assert len(it.scene.audit.intents) == len(it.scene.audit.outcomes) == 1
        assert it.scene.audit.denials == [("query_model", "HOST", 1, "not_granted")]


async def test_what_is_granted_has_its_intent_and_its_outcome_however_often(logs: Logs) -> None:
    grants = Grants()
    grants.add("time", "time")
    gate = Permits(grants, Person(absent=True))
    count = RECORDED_A_SECOND * 5
    with logs.open() as log:
        async with scene(Time(), gate=gate, audit=log) as it:
            assert codes([await it.guest.call("time") for _ in range(count)]) == ["ok"] * count
    grants.close()

    kinds = Counter(each["kind"] for each in records(log.path))
    assert (kinds["intent"], kinds["outcome"]) == (count, count)
    assert logs.verdict(log.path).open_intents == ()
