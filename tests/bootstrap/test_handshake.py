from __future__ import annotations

import json
from contextlib import aclosing
from typing import Any

import pytest

from lmboot.bootstrap import prompts
from lmboot.bootstrap.handshake import (
    FIRST_ANSWER,
    Accepted,
    Asked,
    Refused,
    Repairing,
    Said,
    Step,
    Streaming,
    bootstrap,
    reload_hint,
)
from lmboot.bootstrap.judge import judge
from lmboot.connections.interface import Finished, Kind, Notice, Thinking
from lmboot.errors import ConnectionLost, ContextOverflow
from lmboot.runtime.policy import Limits
from tests.fakes import GOOD, REPLY, ScriptedConnection, model

PROSE = "I'd rather not."
NEEDS_NUMPY = json.dumps({**GOOD, "files": [{"path": "a.py", "content": "import numpy\n"}]})
HALF = REPLY[:40]


async def steps_of(connection: ScriptedConnection, **options: Any) -> list[Step]:
    return [step async for step in bootstrap(connection, **options)]


def kinds(steps: list[Step]) -> list[str]:
    """Return the names of the steps, those of streaming left out."""
    return [type(step).__name__ for step in steps if not isinstance(step, Streaming)]


def end_of(steps: list[Step]) -> Accepted | Refused:
    last = steps[-1]
    assert isinstance(last, Accepted | Refused)
    return last


# ---------------------------------------------------------------- the first answer


async def test_a_valid_answer_is_accepted_at_once() -> None:
    connection = ScriptedConnection()
    connection.enqueue([REPLY[:10], REPLY[10:]])

    steps = await steps_of(connection)

    assert kinds(steps) == ["Asked", "Accepted"]
    assert end_of(steps).reply == REPLY


async def test_the_question_is_primer_and_trigger_with_the_schema_and_no_chance() -> None:
    connection = ScriptedConnection()
    connection.enqueue([REPLY])

    await steps_of(connection, trigger="### GO ###")

    (ask,) = connection.asks
    assert [message.text for message in ask.messages] == [prompts.PRIMER, "### GO ###"]
    assert (ask.schema, ask.temperature) == (prompts.SCHEMA, 0.0)


@pytest.mark.parametrize(
    ("context", "room"),
    [
        (None, 4096),
        (4096, (4096 - 1016) // 2),
        (9000, (9000 - 1016) // 2),
        (1 << 20, FIRST_ANSWER),
    ],
)
async def test_the_first_question_takes_half_of_the_room_but_not_more_than_8192(
    context: int | None, room: int
) -> None:
    connection = ScriptedConnection(model(context))
    connection.enqueue([REPLY])

    steps = await steps_of(connection)

    assert [step.max_tokens for step in steps if isinstance(step, Asked)] == [room]


async def test_every_piece_is_shown_and_the_progress_knows_the_files() -> None:
    connection = ScriptedConnection()
    connection.enqueue([Thinking("Hm."), "<think>Well</think>", REPLY])

    steps = await steps_of(connection)

    streamed = [step for step in steps if isinstance(step, Streaming)]
    assert [(step.text, step.thinking) for step in streamed] == [
        ("Hm.", True),
        ("<think>Well</think>", False),
        (REPLY, False),
    ]
    assert [file.path for file in streamed[-1].progress.files] == ["a.py"]
    assert streamed[-1].progress.thinking > 3


async def test_json_in_the_thinking_counts_when_the_content_is_empty() -> None:
    connection = ScriptedConnection()
    connection.enqueue([Thinking(REPLY), "  \n"])

    steps = await steps_of(connection)

    assert kinds(steps) == ["Asked", "Accepted"]


async def test_json_in_the_thinking_does_not_count_beside_an_answer() -> None:
    connection = ScriptedConnection()
    connection.enqueue([Thinking(REPLY), PROSE])

    steps = await steps_of(connection, repairs=0)

    assert kinds(steps) == ["Asked", "Refused"]


async def test_what_the_connection_has_to_say_is_passed_on() -> None:
    connection = ScriptedConnection()
    connection.enqueue([Notice("another model answers"), REPLY])

    steps = await steps_of(connection)

    assert Said("another model answers") in steps


async def test_the_limits_of_the_policy_hold() -> None:
    wish = {"name": "shell", "limits": {"memory_mb": 400}}
    connection = ScriptedConnection()
    connection.enqueue([json.dumps({**GOOD, "manifest": wish})])

    end = end_of(await steps_of(connection, limits=Limits(memory_mb=100)))

    assert isinstance(end, Accepted)
    assert end.payload.manifest["limits"] == {"memory_mb": 100}
    assert [note.code for note in end.verdict.notes] == ["limit"]


# ---------------------------------------------------------------- repair rounds


@pytest.mark.parametrize("bad", [0, 1, 2, 5])
async def test_the_model_may_mend_its_answer_as_often_as_was_said(bad: int) -> None:
    connection = ScriptedConnection()
    for _ in range(bad):
        connection.enqueue([PROSE])
    connection.enqueue([REPLY])

    steps = await steps_of(connection, repairs=bad)

    assert kinds(steps) == ["Asked", *["Repairing", "Asked"] * bad, "Accepted"]
    assert [step.round for step in steps if isinstance(step, Asked)] == list(range(bad + 1))


@pytest.mark.parametrize("repairs", [0, 1, 2, 5])
async def test_when_the_rounds_are_used_up_the_last_answer_is_refused(repairs: int) -> None:
    connection = ScriptedConnection()
    for number in range(repairs + 1):
        connection.enqueue([f"{PROSE} {number}"])

    steps = await steps_of(connection, repairs=repairs)

    assert len(connection.asks) == repairs + 1
    assert end_of(steps).reply == f"{PROSE} {repairs}"
    assert end_of(steps).verdict.codes == {"no_object"}


async def test_two_repairs_are_the_default() -> None:
    connection = ScriptedConnection()
    for _ in range(3):
        connection.enqueue([PROSE])

    await steps_of(connection)

    assert len(connection.asks) == 3


async def test_a_repair_question_holds_the_bad_answer_and_its_problems() -> None:
    bad = json.dumps({**GOOD, "entrypoint": "bash a.py"})
    connection = ScriptedConnection()
    connection.enqueue([bad])
    connection.enqueue([REPLY])

    await steps_of(connection)

    roles = [(message.role, message.text) for message in connection.asks[1].messages]
    assert roles[:3] == [
        ("system", prompts.PRIMER),
        ("user", prompts.TRIGGER),
        ("assistant", bad),
    ]
    assert roles[3][0] == "user"
    assert "- entrypoint: it must begin with python" in roles[3][1]


@pytest.mark.parametrize(
    ("context", "bad"), [(32_768, ""), (32_768, "  \n"), (5000, PROSE * 1000)]
)
async def test_a_bad_answer_that_is_empty_or_does_not_fit_is_left_out_of_the_question(
    context: int, bad: str
) -> None:
    connection = ScriptedConnection(model(context))
    connection.enqueue([bad])
    connection.enqueue([REPLY])

    steps = await steps_of(connection)

    assert kinds(steps) == ["Asked", "Repairing", "Asked", "Accepted"]
    assert [message.role for message in connection.asks[1].messages] == ["system", "user"]
    text = connection.asks[1].messages[1].text
    assert text.startswith(prompts.TRIGGER)
    assert "reply: " in text


# ---------------------------------------------------------------- answers that were cut off


async def test_a_cut_answer_is_asked_for_again_with_all_the_room_and_costs_no_round() -> None:
    connection = ScriptedConnection(model(20_000))
    connection.enqueue([HALF], "length")
    connection.enqueue([REPLY])

    steps = await steps_of(connection, repairs=0)

    assert kinds(steps) == ["Asked", "Repairing", "Asked", "Accepted"]
    assert [ask.max_tokens for ask in connection.asks] == [8192, 20_000 - 1016]
    assert connection.asks[0].messages == connection.asks[1].messages
    assert [step.longer for step in steps if isinstance(step, Repairing)] == [True]


async def test_an_answer_that_is_cut_twice_is_refused_whatever_rounds_are_left() -> None:
    connection = ScriptedConnection()
    connection.enqueue([HALF], "length")
    connection.enqueue([HALF], "length")

    steps = await steps_of(connection, repairs=5)

    assert kinds(steps) == ["Asked", "Repairing", "Asked", "Refused"]
    assert end_of(steps).verdict.codes == {"truncated"}


async def test_after_a_cut_answer_all_rounds_are_still_there() -> None:
    connection = ScriptedConnection()
    connection.enqueue([HALF], "length")
    for _ in range(2):
        connection.enqueue([PROSE])
    connection.enqueue([REPLY])

    steps = await steps_of(connection, repairs=2)

    assert isinstance(end_of(steps), Accepted)


async def test_an_answer_cut_in_a_repair_round_is_asked_for_whole_with_the_same_question() -> None:
    connection = ScriptedConnection()
    connection.enqueue([PROSE])
    connection.enqueue([HALF], "length")
    connection.enqueue([REPLY])

    steps = await steps_of(connection, repairs=1)

    assert isinstance(end_of(steps), Accepted)
    assert connection.asks[1].messages == connection.asks[2].messages
    assert connection.asks[2].max_tokens > connection.asks[1].max_tokens


async def test_halves_are_never_glued() -> None:
    connection = ScriptedConnection()
    connection.enqueue([REPLY[:40]], "length")
    connection.enqueue([REPLY[40:]])

    steps = await steps_of(connection, repairs=0)

    assert isinstance(end_of(steps), Refused)
    assert end_of(steps).reply == REPLY[40:]


@pytest.mark.parametrize("reason", ["length", "stop", "tool_calls", "content_filter"])
async def test_a_whole_and_valid_answer_is_taken_whatever_its_reason(reason: str) -> None:
    connection = ScriptedConnection()
    connection.enqueue([REPLY], reason)

    steps = await steps_of(connection, repairs=0)

    assert kinds(steps) == ["Asked", "Accepted"]


# ---------------------------------------------------------------- imports that are not there


async def test_imports_that_are_not_there_are_worth_one_round() -> None:
    connection = ScriptedConnection()
    connection.enqueue([NEEDS_NUMPY])
    connection.enqueue([REPLY])

    steps = await steps_of(connection)

    assert kinds(steps) == ["Asked", "Repairing", "Asked", "Accepted"]
    assert "numpy" in connection.asks[1].messages[-1].text
    assert end_of(steps).reply == REPLY


async def test_without_a_round_left_such_a_payload_is_accepted_with_its_note() -> None:
    connection = ScriptedConnection()
    connection.enqueue([NEEDS_NUMPY])

    end = end_of(await steps_of(connection, repairs=0))

    assert isinstance(end, Accepted)
    assert [note.code for note in end.verdict.notes] == ["import"]


@pytest.mark.parametrize("second", [PROSE, HALF])
async def test_a_worse_second_answer_falls_back_to_the_valid_first(second: str) -> None:
    connection = ScriptedConnection()
    connection.enqueue([NEEDS_NUMPY])
    connection.enqueue([second])

    steps = await steps_of(connection)

    assert kinds(steps) == ["Asked", "Repairing", "Asked", "Accepted"]
    assert end_of(steps).reply == NEEDS_NUMPY


async def test_the_same_imports_again_are_accepted() -> None:
    connection = ScriptedConnection()
    connection.enqueue([NEEDS_NUMPY])
    connection.enqueue([NEEDS_NUMPY])

    steps = await steps_of(connection, repairs=5)

    assert kinds(steps) == ["Asked", "Repairing", "Asked", "Accepted"]


async def test_a_repair_that_is_cut_twice_falls_back_to_the_valid_first() -> None:
    connection = ScriptedConnection()
    connection.enqueue([NEEDS_NUMPY])
    connection.enqueue([HALF], "length")
    connection.enqueue([HALF], "length")

    steps = await steps_of(connection)

    assert end_of(steps).reply == NEEDS_NUMPY


# ---------------------------------------------------------------- mending an earlier end


def refused(reply: str) -> Refused:
    return Refused(judge(reply), reply)


async def test_mending_begins_with_the_refused_reply_and_its_problems() -> None:
    bad = json.dumps({**GOOD, "entrypoint": "bash a.py"})
    connection = ScriptedConnection()
    connection.enqueue([REPLY])

    steps = await steps_of(connection, mend=refused(bad), trigger="### GO ###")

    assert kinds(steps) == ["Repairing", "Asked", "Accepted"]
    assert steps[0] == Repairing(judge(bad).problems)
    (ask,) = connection.asks
    assert [(each.role, each.text) for each in ask.messages[:3]] == [
        ("system", prompts.PRIMER),
        ("user", "### GO ###"),
        ("assistant", bad),
    ]
    assert "- entrypoint: it must begin with python" in ask.messages[3].text


@pytest.mark.parametrize(("context", "bad"), [(32_768, ""), (32_768, " \n"), (5000, PROSE * 1000)])
async def test_a_refused_reply_that_is_empty_or_does_not_fit_is_mended_without_it(
    context: int, bad: str
) -> None:
    connection = ScriptedConnection(model(context))
    connection.enqueue([REPLY])

    steps = await steps_of(connection, mend=refused(bad))

    assert kinds(steps) == ["Repairing", "Asked", "Accepted"]
    assert [each.role for each in connection.asks[0].messages] == ["system", "user"]
    assert "reply: " in connection.asks[0].messages[1].text


@pytest.mark.parametrize("repairs", [0, 2])
async def test_mending_has_all_its_rounds(repairs: int) -> None:
    connection = ScriptedConnection()
    for number in range(repairs + 1):
        connection.enqueue([f"{PROSE} {number}"])

    steps = await steps_of(connection, mend=refused(HALF), repairs=repairs)

    assert kinds(steps) == ["Repairing", "Asked", *["Repairing", "Asked"] * repairs, "Refused"]
    assert [step.round for step in steps if isinstance(step, Asked)] == list(range(repairs + 1))
    assert end_of(steps).reply == f"{PROSE} {repairs}"


async def test_a_mended_reply_that_is_cut_off_is_asked_for_whole_with_the_same_question() -> None:
    connection = ScriptedConnection()
    connection.enqueue([HALF], "length")
    connection.enqueue([REPLY])

    steps = await steps_of(connection, mend=refused(PROSE), repairs=0)

    assert kinds(steps) == ["Repairing", "Asked", "Repairing", "Asked", "Accepted"]
    assert connection.asks[0].messages == connection.asks[1].messages
    assert connection.asks[1].max_tokens > connection.asks[0].max_tokens


async def test_what_a_mending_ends_with_can_be_mended_again() -> None:
    connection = ScriptedConnection()
    connection.enqueue([PROSE])
    connection.enqueue([REPLY])
    end = end_of(await steps_of(connection, mend=refused(HALF), repairs=0))
    assert isinstance(end, Refused)

    steps = await steps_of(connection, mend=end, repairs=0)

    assert isinstance(end_of(steps), Accepted)
    assert connection.asks[1].messages[2].text == PROSE


async def test_a_context_that_has_no_room_for_mending_is_told_before_anything_is_sent() -> None:
    connection = ScriptedConnection(model(1000))

    with pytest.raises(ContextOverflow):
        await steps_of(connection, mend=refused(PROSE))

    assert connection.asks == []


# ---------------------------------------------------------------- room


@pytest.mark.parametrize("context", [100, 1000, 1000 + 16 + 511])
async def test_a_context_that_is_too_small_is_told_before_anything_is_sent(context: int) -> None:
    connection = ScriptedConnection(model(context))

    with pytest.raises(ContextOverflow) as fault:
        await steps_of(connection)

    assert connection.asks == []
    assert f"{context:,} tokens" in str(fault.value)
    assert "lms load tiny" in fault.value.hint


async def test_the_maximum_counts_where_the_loaded_context_is_not_known() -> None:
    connection = ScriptedConnection(model(None, context=1200))

    with pytest.raises(ContextOverflow):
        await steps_of(connection)


async def test_scarce_room_is_said_and_the_model_is_asked_all_the_same() -> None:
    connection = ScriptedConnection(model(1000 + 16 + 2047))
    connection.enqueue([REPLY])

    steps = await steps_of(connection)

    assert kinds(steps) == ["Said", "Asked", "Accepted"]
    assert "2,047 tokens" in str(steps[0])


@pytest.mark.parametrize("kind", ["lmstudio", "ollama", "llamacpp", "koboldcpp", "vllm", "openai"])
def test_every_server_has_a_way_to_a_larger_context(kind: Kind) -> None:
    row = model()
    hint = reload_hint(ScriptedConnection(type(row)("id", "n", "http://s", kind)))

    assert "16384" in hint


# ---------------------------------------------------------------- the stream


@pytest.mark.parametrize(("enforced", "reply"), [(True, REPLY), (False, REPLY + " And so on.")])
async def test_a_stream_is_closed_at_the_brace_only_where_the_schema_is_enforced(
    enforced: bool, reply: str
) -> None:
    connection = ScriptedConnection(enforces_schema=enforced)
    connection.enqueue([REPLY, " And so on."])

    end = end_of(await steps_of(connection))

    assert isinstance(end, Accepted)
    assert (connection.closed, end.reply) == (int(enforced), reply)


async def test_closing_the_iterator_closes_the_stream() -> None:
    connection = ScriptedConnection()
    connection.enqueue([REPLY[:5], REPLY[5:10], REPLY[10:]])

    async with aclosing(bootstrap(connection)) as steps:
        async for step in steps:
            if isinstance(step, Streaming):
                break

    assert connection.closed == 1


async def test_what_had_come_when_the_connection_was_lost_is_kept() -> None:
    connection = ScriptedConnection()
    connection.enqueue([HALF, ConnectionLost("cut")])

    with pytest.raises(ConnectionLost) as fault:
        await steps_of(connection)

    assert fault.value.text == HALF


async def test_an_early_stop_needs_no_finish_reason() -> None:
    connection = ScriptedConnection(enforces_schema=True)
    connection.enqueue([REPLY, Finished("length")])

    steps = await steps_of(connection)

    assert kinds(steps) == ["Asked", "Accepted"]
