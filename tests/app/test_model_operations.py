"""What a runtime asks of the session's model: one account, taken before and settled after."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest

from lmboot.app.model_operations import INJECTED_BYTES, RUN_TOKENS, of_the_model
from lmboot.connections.dialects import estimate_tokens
from lmboot.connections.interface import Finished, Message, NextToken, Text, Thinking
from lmboot.errors import ConnectionLost, ServerRefused
from lmboot.runtime.asking import Answer, Question
from lmboot.runtime.quota import Quota
from tests.fakes import ScriptedConnection
from tests.runtime.brokers import codes, until
from tests.runtime.persons import Asked, asked

HELD = ("query_model", "inject_prompt", "logits", "reload_model")
PROMPT = "oak " * 30


class Telling(ScriptedConnection):
    """A scripted model that counts, and tells what may come next, unless `lost`."""

    lost = False
    counts = 0

    async def count_tokens(self, messages: Sequence[Message]) -> int:
        self.counts += 1
        return 7

    async def next_tokens(self, text: str, most: int) -> list[NextToken]:
        if self.lost:
            raise ConnectionLost("the server has gone")
        return [NextToken("a", 0.5)]


class Desk:
    """A model, what it is asked for by a guest, and the account of the run."""

    def __init__(self, it: Asked, model: Telling, account: Quota, injected: list[str]) -> None:
        self.it, self.model, self.account, self.injected = it, model, account, injected

    async def call(self, op: str, **args: Any) -> dict[str, Any]:
        return await self.it.scene.guest.call(op, **args)

    async def spent(self, op: str, **args: Any) -> tuple[str, int]:
        """Return what an operation came to, and by how much the account grew."""
        before = self.account.taken
        (code,) = codes([await self.call(op, **args)])
        return code, self.account.taken - before


@asynccontextmanager
async def desk(*granted: str) -> AsyncIterator[Desk]:
    model, injected = Telling(), list[str]()
    operations = of_the_model(lambda: model, injected.append)
    account = next(each.account for each in operations if each.name == "query_model")  # type: ignore[attr-defined]  # of one of them
    async with asked(*operations) as it:
        for kind in granted:
            it.grants.add(kind, kind)
        yield Desk(it, model, account, injected)


def estimated(text: str) -> int:
    return estimate_tokens([Message("user", text)])


@pytest.mark.parametrize(
    ("op", "args"),
    [
        ("query_model", {"prompt": "x"}),
        ("tokenize", {"text": "x"}),
        ("logits", {"text": "x"}),
        ("inject_prompt", {"text": "x"}),
        ("reload_model", {}),
    ],
)
async def test_nothing_goes_to_the_model_without_a_grant(op: str, args: dict[str, str]) -> None:
    async with desk() as it:
        await it.it.scene.guest.ask(op, **args)
        await until(lambda: it.it.person.questions)
        it.it.person.answer(Answer("no"))

        assert codes([await it.it.scene.guest.answer()]) == ["not_granted"]
        assert (it.model.asks, it.model.counts, it.injected) == ([], 0, [])
        assert it.account.taken == 0


async def test_a_no_to_asking_the_model_is_one_to_counting_tokens() -> None:
    async with desk() as it:
        await it.it.scene.guest.ask("query_model", prompt="x")
        await until(lambda: it.it.person.questions)
        it.it.person.answer(Answer("no"))
        answers = [await it.it.scene.guest.answer(), await it.call("tokenize", text="x")]

        assert codes(answers) == ["not_granted"] * 2
        assert it.model.counts == 0


async def test_to_count_tokens_is_granted_with_the_asking_of_the_model() -> None:
    async with desk() as it:
        await it.it.scene.guest.ask("tokenize", text="x")
        await until(lambda: it.it.person.questions)
        assert it.it.person.asked == [Question("tokenize")]
        it.it.person.answer(Answer("while"))
        assert (await it.it.scene.guest.answer())["result"] == {"tokens": 7}
        it.model.enqueue(["yes"])

        assert codes([await it.call("query_model", prompt="x")]) == ["ok"]
        assert [each.kind for each in it.it.grants.shown()] == ["query_model"]


async def test_an_answer_costs_what_the_server_says() -> None:
    async with desk(*HELD) as it:
        it.model.enqueue(["oak", Finished("stop", prompt_tokens=31, answer_tokens=2)])

        assert await it.spent("query_model", prompt=PROMPT, max_tokens=2048) == ("ok", 33)


@pytest.mark.parametrize("told", [Finished("stop"), Finished("stop", 0, 0)])
async def test_where_the_server_says_nothing_it_costs_an_estimate_of_all_that_came(
    told: Finished,
) -> None:
    async with desk(*HELD) as it:
        it.model.enqueue([Thinking("a tree" * 5), Text("oak"), told])
        code, spent = await it.spent("query_model", prompt=PROMPT, max_tokens=2048)

        assert code == "ok"
        assert spent == estimated(PROMPT) + estimated("a tree" * 5 + "oak")


@pytest.mark.parametrize("fault", [ConnectionLost("gone"), ServerRefused("no such model")])
async def test_what_the_server_did_not_take_costs_nothing(
    fault: ConnectionLost | ServerRefused,
) -> None:
    async with desk(*HELD) as it:
        it.model.enqueue([fault])
        it.model.lost = True

        assert await it.spent("query_model", prompt=PROMPT, max_tokens=2048) == ("failed", 0)
        assert await it.spent("logits", text=PROMPT) == ("failed", 0)


async def test_what_broke_off_costs_its_prompt_and_what_had_come() -> None:
    async with desk(*HELD) as it:
        it.model.enqueue(["oak, I ", ConnectionLost("gone")])
        code, spent = await it.spent("query_model", prompt=PROMPT, max_tokens=2048)

        assert code == "failed"
        assert spent == estimated(PROMPT) + estimated("oak, I ")


async def test_what_is_withdrawn_costs_what_it_had_used_and_a_question_nothing() -> None:
    async with desk() as it:
        await it.it.scene.guest.ask("query_model", prompt=PROMPT)
        await until(lambda: it.it.person.questions)
        assert it.account.taken == 0
        it.model.enqueue(["oak", asyncio.Event(), " tree"])
        it.it.person.answer(Answer("while"))
        await until(lambda: it.model.asks)
        it.it.scene.broker.flip("query_model", "DENY")

        assert codes([await it.it.scene.guest.answer()]) == ["route_changed"]
        assert estimated(PROMPT) <= it.account.taken <= estimated(PROMPT) + estimated("oak")


async def test_an_answer_longer_than_it_was_to_be_is_paid_for_whole() -> None:
    async with desk(*HELD) as it:
        it.model.enqueue(["x", Finished("stop", 10, RUN_TOKENS)])
        code, spent = await it.spent("query_model", prompt="x", max_tokens=1)

        assert (code, spent) == ("ok", RUN_TOKENS + 10)
        assert codes([await it.call("tokenize", text="")]) == ["quota"]


async def test_all_of_them_share_one_account() -> None:
    async with desk(*HELD) as it:
        assert await it.spent("tokenize", text=PROMPT) == ("ok", 7)
        assert await it.spent("logits", text=PROMPT) == ("ok", estimated(PROMPT) + 1)
        assert await it.spent("inject_prompt", text=PROMPT) == ("ok", estimated(PROMPT))
        it.account.reserve(RUN_TOKENS - it.account.taken)
        calls = [("query_model", "prompt"), ("tokenize", "text"), ("logits", "text")]
        answers = [await it.call(op, **{name: "x"}) for op, name in calls]
        answers.append(await it.call("inject_prompt", text="x"))

        assert codes(answers) == ["quota"] * 4
        assert (it.model.asks, it.model.counts, it.injected) == ([], 1, [PROMPT])


async def test_a_prompt_counts_before_it_is_sent() -> None:
    async with desk(*HELD) as it:
        answer = await it.call("query_model", prompt="x" * 3 * RUN_TOKENS, max_tokens=1)

        assert codes([answer]) == ["quota"]
        assert it.model.asks == []
        assert it.account.taken == 0


async def test_what_is_asked_for_at_the_same_time_is_never_more_than_there_is() -> None:
    """Sixteen at once, each of which may use an eighth: nine fit, and none is sent twice."""
    waits = asyncio.Event()
    async with desk(*HELD) as it:
        for _ in range(16):
            it.model.enqueue([waits, "x", Finished("stop", 1, 1)])
            await it.it.scene.guest.ask("query_model", prompt="x", max_tokens=2048)
        refused = [await it.it.scene.guest.answer() for _ in range(7)]
        assert codes(refused) == ["quota"] * 7
        assert len(it.model.asks) == 9
        assert it.account.taken == 9 * (2048 + estimated("x")) <= RUN_TOKENS
        waits.set()
        answers = [await it.it.scene.guest.answer() for _ in range(9)]

        assert codes(answers) == ["ok"] * 9
        assert it.account.taken == 18


async def test_what_is_put_into_the_conversation_has_a_bound_of_its_own() -> None:
    text = "x" * 4096
    async with desk(*HELD) as it:
        answers = [await it.call("inject_prompt", text=text) for _ in range(5)]

        assert codes(answers) == ["ok"] * (INJECTED_BYTES // 4096) + ["quota"]
        assert len(it.injected) == 4
        assert it.account.taken == 4 * estimated(text)
