"""The client against the scripted look-alike: real sockets, every cruelty that is known."""

from __future__ import annotations

import asyncio
import json
import logging
import subprocess
import sys
from collections.abc import Awaitable, Callable, Mapping
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import httpx
import pytest
import respx

from lmboot.connections.interface import (
    Ask,
    Connection,
    Event,
    Finished,
    Kind,
    Message,
    Model,
    Notice,
    Text,
    Thinking,
)
from lmboot.connections.openai_http import OpenAIConnection
from lmboot.errors import (
    ConnectionFault,
    ConnectionLost,
    ContextOverflow,
    NoServer,
    NoSuchModel,
    NothingLoaded,
    ServerRefused,
    TokenRefused,
)
from tests.connections.lookalike import SCRIPTS, Lookalike, Served, running

ASK = Ask(
    [Message("system", "primer"), Message("user", "go")],
    max_tokens=1_000,
    schema={"type": "object"},
)
Result = TypeVar("Result")
REPLY = '{"größe": "🙂 naïve"}'


def model_of(server: Lookalike) -> Model:
    return Model("acme/tiny-4b", "Tiny", server.base, "lmstudio", "loaded", context_loaded=32_768)


async def ask(
    server: Lookalike, *, token: str | None = None, times: int = 1, ask: Ask = ASK
) -> list[Event]:
    connection = OpenAIConnection(model_of(server), token)
    try:
        for _ in range(times):
            events = [event async for event in connection.stream(ask)]
    finally:
        await connection.close()
    return events


def text_of(events: list[Event]) -> str:
    return "".join(event.text for event in events if isinstance(event, Text))


def notices_of(events: list[Event]) -> list[str]:
    return [event.text for event in events if isinstance(event, Notice)]


@pytest.mark.parametrize(
    "script",
    ["plain", "dribble", "pings", "odd_chunks", "no_done", "json_body", "system_refused",
     "grammar_refused", "no_stream", "fussy", "other_model"],
)  # fmt: skip
async def test_the_answer_comes_whole_whatever_the_server_does_to_it(script: str) -> None:
    async with Lookalike(script, reply=REPLY) as server:
        events = await ask(server)

    assert text_of(events) == REPLY
    assert isinstance(events[-1], Finished)
    assert events[-1].reason == "stop"


async def test_a_good_answer_has_the_servers_counts_and_an_enforced_schema() -> None:
    async with Lookalike(reply=REPLY) as server:
        events = await ask(server)

    assert events[-1] == Finished("stop", 11, 7, "acme/tiny-4b", schema_enforced=True)
    assert notices_of(events) == []


async def test_a_whole_answer_followed_by_silence_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lmboot.connections.openai_http.AFTER_FINISH_SECONDS", 0.01)
    async with Lookalike("silent_end", reply=REPLY) as server:
        events = await ask(server)
        await server.disconnected()

    assert text_of(events) == REPLY


@pytest.mark.parametrize("script", ["cut", "ends_early"])
async def test_a_broken_connection_keeps_the_text_that_had_come(script: str) -> None:
    async with Lookalike(script, reply="0123456789") as server:
        with pytest.raises(ConnectionLost) as caught:
            await ask(server)

    assert caught.value.text == "01234"
    assert caught.value.hint


async def test_leaving_the_stream_closes_the_socket() -> None:
    async with Lookalike("stall") as server:
        connection = OpenAIConnection(model_of(server))
        async with aclosing(connection.stream(ASK)) as events:
            async for _ in events:
                break
        await server.disconnected()
        await connection.close()

    assert server.disconnects == 1


@pytest.mark.parametrize("script", ["stall", "hold", "whitespace"])
async def test_cancelling_the_task_closes_the_socket(script: str) -> None:
    async with Lookalike(script) as server:
        connection = OpenAIConnection(model_of(server))
        task = asyncio.ensure_future(_drain(connection))
        await server.asked()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await server.disconnected()
        await connection.close()


async def _drain(connection: OpenAIConnection) -> None:
    async for event in connection.stream(ASK):
        if isinstance(event, Finished):
            await asyncio.Event().wait()


async def test_a_connection_can_be_used_again_after_a_cancelled_answer() -> None:
    async with Lookalike(["stall", "plain"], reply=REPLY) as server:
        connection = OpenAIConnection(model_of(server))
        async with aclosing(connection.stream(ASK)) as events:
            await anext(events)
        again = [event async for event in connection.stream(ASK)]
        await connection.close()

    assert text_of(again) == REPLY


async def test_a_hundred_answers_that_were_left_leave_a_hundred_closed_sockets() -> None:
    async with Lookalike("stall") as server:
        connection = OpenAIConnection(model_of(server))
        for _ in range(100):
            async with aclosing(connection.stream(ASK)) as events:
                await anext(events)
        await server.disconnected(100)
        await connection.close()

    assert server.disconnects == 100


async def test_endless_blanks_are_cut_off_and_the_server_is_left() -> None:
    async with Lookalike("whitespace") as server:
        events = await ask(server)
        await server.disconnected()

    assert isinstance(events[-1], Finished)
    assert events[-1].reason == "length"
    assert any("blanks in a row" in notice for notice in notices_of(events))


@pytest.mark.parametrize(
    ("script", "fault"),
    [
        ("error_string", ServerRefused),
        ("error_object", ServerRefused),
        ("error_event", ServerRefused),
        ("nothing_loaded", NothingLoaded),
        ("load_fails", NothingLoaded),
        ("model_gone", NoSuchModel),
        ("overflow", ContextOverflow),
        ("html", NoServer),
    ],
)
async def test_every_failure_is_its_own_fault_with_a_hint(
    script: str, fault: type[ConnectionFault]
) -> None:
    async with Lookalike(script) as server:
        with pytest.raises(fault) as caught:
            await ask(server)

    assert type(caught.value) is fault
    assert caught.value.hint


async def test_a_wrong_path_that_is_answered_with_200_is_no_silent_nothing() -> None:
    async with Lookalike() as server:
        model = replace(model_of(server), server=server.base + "/wrong")
        connection = OpenAIConnection(model)
        with pytest.raises(NoServer, match="Unexpected endpoint"):
            [event async for event in connection.stream(ASK)]
        await connection.close()


async def test_nobody_at_the_address_is_said_with_what_to_do() -> None:
    async with Lookalike() as server:
        model = model_of(server)
    connection = OpenAIConnection(model)

    with pytest.raises(NoServer, match="nothing answers") as caught:
        [event async for event in connection.stream(ASK)]

    await connection.close()
    assert "Start" in caught.value.hint


async def test_an_overflow_hint_has_the_command_that_loads_with_more() -> None:
    async with Lookalike("overflow") as server:
        with pytest.raises(ContextOverflow) as caught:
            await ask(server)

    assert "lms load acme/tiny-4b --context-length" in caught.value.hint


async def test_a_token_is_asked_for_and_a_right_one_is_taken() -> None:
    async with Lookalike(token="sk-lm-right", reply=REPLY) as server:
        for wrong in (None, "sk-lm-wrong"):
            with pytest.raises(TokenRefused) as caught:
                await ask(server, token=wrong)
            assert "sk-lm" not in str(caught.value) + caught.value.hint
        events = await ask(server, token="sk-lm-right")

    assert text_of(events) == REPLY


@pytest.mark.parametrize("token", ["a b", "a\nb", "tökén", "a\x00"])
def test_a_token_that_no_header_can_carry_is_refused_without_showing_it(token: str) -> None:
    with pytest.raises(TokenRefused) as caught:
        OpenAIConnection(Model("m", "m", "http://127.0.0.1:1", "lmstudio"), token)

    assert token not in str(caught.value)


async def test_a_token_is_in_no_log_and_no_repr(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with Lookalike(token="sk-lm-right") as server:
        connection = OpenAIConnection(model_of(server), "sk-lm-right")
        [event async for event in connection.stream(ASK)]
        shown = repr(connection) + repr(connection._client.headers)
        await connection.close()

    assert "sk-lm-right" not in caplog.text + shown


WAITING = {"hold", "pause", "silent_end", "stall", "trickle"}


@pytest.mark.parametrize("script", sorted(SCRIPTS.keys() - WAITING))
async def test_every_cruelty_ends_in_an_answer_or_in_a_fault_of_ours(script: str) -> None:
    async with Lookalike(script, reply=REPLY) as server:
        try:
            events = await ask(server)
        except ConnectionFault as fault:
            assert fault.hint  # noqa: PT017 - either way of ending is right
        else:
            assert isinstance(events[-1], Finished)


# ---------------------------------------------------------------------- asking with less


async def test_a_refused_grammar_is_asked_for_again_without_it_and_said() -> None:
    async with Lookalike("grammar_refused", reply=REPLY) as server:
        events = await ask(server)

    assert ["response_format" in chat for chat in server.chats] == [True, False]
    assert "without it" in notices_of(events)[0]
    assert isinstance(events[-1], Finished)
    assert not events[-1].schema_enforced


async def test_a_refused_system_role_is_merged_and_said() -> None:
    async with Lookalike("system_refused", reply=REPLY) as server:
        events = await ask(server)

    assert server.chats[1]["messages"] == [{"role": "user", "content": "primer\n\ngo"}]
    assert "system role" in notices_of(events)[0]
    assert isinstance(events[-1], Finished)
    assert events[-1].schema_enforced


async def test_what_was_refused_once_is_left_out_at_once_next_time() -> None:
    async with Lookalike("fussy", reply=REPLY) as server:
        events = await ask(server, times=2)

    assert len(server.chats) == 3 + 1
    assert notices_of(events) == []


async def test_a_refusal_after_content_is_not_asked_again() -> None:
    async with Lookalike("error_string") as server:
        with pytest.raises(ServerRefused):
            await ask(server)

    assert len(server.chats) == 1


async def test_enforcement_is_no_longer_promised_after_a_refusal() -> None:
    async with Lookalike("grammar_refused") as server:
        connection = OpenAIConnection(model_of(server))
        before = connection.enforces_schema
        [event async for event in connection.stream(ASK)]
        after = connection.enforces_schema
        await connection.close()

    assert (before, after) == (True, False)


async def test_json_object_is_never_sent() -> None:
    async with Lookalike("fussy") as server:
        await ask(server)

    assert "json_object" not in str(server.chats)


# ---------------------------------------------------------------------- what the user is told


async def test_another_model_that_answers_is_said() -> None:
    async with Lookalike("other_model") as server:
        events = await ask(server)

    assert notices_of(events) == ["another model answers: other/model, not acme/tiny-4b"]


async def test_thinking_that_eats_max_tokens_is_said() -> None:
    async with Lookalike("eats_thinking") as server:
        events = await ask(server)

    assert any(isinstance(event, Thinking) for event in events)
    assert notices_of(events) == ["the model spent all of max_tokens on thinking"]


async def test_json_among_the_thinking_stays_thinking() -> None:
    async with Lookalike("reasoning_json", reply=REPLY) as server:
        events = await ask(server)

    assert "".join(event.text for event in events if isinstance(event, Thinking)) == REPLY
    assert text_of(events) == ""


async def test_a_loaded_context_that_is_too_small_is_said_before_anything_is_sent() -> None:
    async with Lookalike("hold") as server:
        connection = OpenAIConnection(replace(model_of(server), context_loaded=512))
        async with aclosing(connection.stream(ASK)) as events:
            first = await anext(events)
            assert server.chats == []
        await connection.close()

    assert isinstance(first, Notice)
    assert "lms load acme/tiny-4b --context-length 8192" in first.text


async def test_an_empty_success_has_unknown_counts() -> None:
    async with Lookalike("empty") as server:
        events = await ask(server)

    assert events == [Finished("stop", None, None, "acme/tiny-4b", schema_enforced=True)]


async def test_half_a_surrogate_pair_in_a_message_can_be_sent() -> None:
    asked = Ask([Message("user", "a\ud800b")], max_tokens=10)
    async with Lookalike(reply=REPLY) as server:
        events = await ask(server, ask=asked)

    assert text_of(events) == REPLY
    assert server.chats[0]["messages"][0]["content"] == "a?b"


# ---------------------------------------------------------------------- the rest of the promise


async def test_a_server_on_this_machine_is_local_and_another_one_is_not() -> None:
    near = OpenAIConnection(Model("m", "m", "http://127.0.0.1:1", "lmstudio"))
    far = OpenAIConnection(Model("m", "m", "http://203.0.113.7:1234", "lmstudio"))

    assert (near.local, far.local) == (True, False)
    await near.close()
    await far.close()


async def test_a_proxy_of_the_environment_does_not_swallow_this_machines_servers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    async with Lookalike(reply=REPLY) as server:
        assert text_of(await ask(server)) == REPLY


async def test_tokens_are_estimated_where_the_server_cannot_count() -> None:
    async with Lookalike() as server:
        connection: Connection = OpenAIConnection(model_of(server))
        assert await connection.count_tokens([Message("user", "x" * 30)]) == 18
        await connection.close()

    assert server.requests == []


async def test_warming_asks_a_loaded_model_for_one_token() -> None:
    async with Lookalike() as server:
        connection = OpenAIConnection(model_of(server))
        await connection.warm(ASK.messages)
        await connection.close()

    assert [chat["max_tokens"] for chat in server.chats] == [1]


@pytest.mark.parametrize(
    "served", [[], [Served(loaded=False)], [Served("other")]], ids=["none", "unloaded", "other"]
)
async def test_warming_never_makes_the_server_load_a_model(served: list[Served]) -> None:
    async with Lookalike(models=served) as server:
        connection = OpenAIConnection(model_of(server))
        await connection.warm(ASK.messages)
        await connection.close()

    assert server.chats == []


async def test_warming_does_not_disturb_an_answer_under_way() -> None:
    async with Lookalike("stall") as server:
        connection = OpenAIConnection(model_of(server))
        async with aclosing(connection.stream(ASK)) as events:
            await anext(events)
            await connection.warm(ASK.messages)
        await connection.close()

    assert len(server.chats) == 1


@pytest.mark.parametrize("script", ["cut", "overflow", "html", "error_string"])
async def test_a_failed_warming_is_nobodys_concern(script: str) -> None:
    async with Lookalike(script) as server:
        connection = OpenAIConnection(model_of(server))
        await connection.warm(ASK.messages)
        await connection.close()

    assert len(server.chats) == 1


# ---------------------------------------------------------------------- other kinds of server

LLAMA = Model("tiny", "Tiny", "http://127.0.0.1:9931", "llamacpp", "loaded", context_loaded=4_096)
STREAM = (
    b'data: {"model":"tiny","choices":[{"delta":{"content":"hi"},"finish_reason":"stop"}]}\n\n'
    b"data: [DONE]\n\n"
)


async def from_mock(
    model: Model, pages: Mapping[str, object], do: Callable[[OpenAIConnection], Awaitable[Result]]
) -> tuple[Result, list[httpx.Request]]:
    """Do something with a connection to a server that has these pages only."""
    with respx.mock(assert_all_called=False) as router:
        for path, page in pages.items():
            answer = httpx.Response(200, content=page if isinstance(page, bytes) else None)
            if not isinstance(page, bytes):
                answer = httpx.Response(200, json=page)
            router.route(url=model.server + path).mock(return_value=answer)
        router.route().mock(return_value=httpx.Response(404, json={"error": {"message": "no"}}))
        connection = OpenAIConnection(model)
        result = await do(connection)
        await connection.close()
        return result, [call.request for call in router.calls]


async def collect(connection: OpenAIConnection) -> list[Event]:
    return [event async for event in connection.stream(ASK)]


async def count(connection: OpenAIConnection) -> int:
    return await connection.count_tokens([Message("user", "x" * 30)])


async def warm(connection: OpenAIConnection) -> None:
    await connection.warm(ASK.messages)


@pytest.mark.parametrize(
    ("pages", "tokens"),
    [
        ({"/v1/chat/completions/input_tokens": {"input_tokens": 5}}, 5),
        ({"/apply-template": {"prompt": "<x>"}, "/tokenize": {"tokens": [1, 2, 3]}}, 3),
        ({"/apply-template": {"prompt": 1}}, 18),
        ({"/v1/chat/completions/input_tokens": {"input_tokens": "many"}}, 18),
        ({}, 18),
    ],
)
async def test_llama_cpp_counts_tokens_itself_as_far_as_it_can(
    pages: dict[str, object], tokens: int
) -> None:
    assert (await from_mock(LLAMA, pages, count))[0] == tokens


async def test_an_estimate_that_is_over_is_counted_before_anything_is_said() -> None:
    pages = {
        "/v1/chat/completions/input_tokens": {"input_tokens": 5},
        "/v1/chat/completions": STREAM,
    }
    tight = replace(LLAMA, context_loaded=ASK.max_tokens + 10)

    events, _ = await from_mock(tight, pages, collect)

    assert notices_of(events) == []


@pytest.mark.parametrize(("busy", "asks"), [(False, 1), (True, 0)])
async def test_a_busy_llama_server_is_not_warmed(busy: bool, asks: int) -> None:
    pages = {
        "/v1/models": {"data": [{"id": "tiny", "owned_by": "llamacpp"}]},
        "/slots": [{"id": 0, "is_processing": False}, {"id": 1, "is_processing": busy}],
        "/v1/chat/completions": STREAM,
    }

    _, requests = await from_mock(LLAMA, pages, warm)

    assert sum(request.method == "POST" for request in requests) == asks


@pytest.mark.parametrize("kind", ["jan", "gpt4all", "koboldcpp", "openai"])
async def test_servers_that_do_not_tell_what_is_loaded_are_never_warmed(kind: Kind) -> None:
    _, requests = await from_mock(replace(LLAMA, kind=kind), {}, warm)

    assert requests == []


async def test_gpt4all_is_asked_for_a_whole_answer_with_nothing_that_it_rejects() -> None:
    answer = {"choices": [{"message": {"content": "hi"}, "finish_reason": "stop"}]}
    model = replace(LLAMA, kind="gpt4all")

    events, requests = await from_mock(model, {"/v1/chat/completions": answer}, collect)

    assert events == [Text("hi"), Finished("stop")]
    assert set(json.loads(requests[0].content)) == {
        "model", "messages", "max_tokens", "temperature",
    }  # fmt: skip


async def test_koboldcpp_needs_no_done() -> None:
    stream = STREAM.removesuffix(b"data: [DONE]\n\n")
    model = replace(LLAMA, id="koboldcpp/tiny", kind="koboldcpp")

    events, _ = await from_mock(model, {"/v1/chat/completions": stream}, collect)

    assert events == [Text("hi"), Finished("stop", model="tiny")]


async def test_an_engine_of_our_own_may_call_its_model_what_it_likes() -> None:
    own = replace(LLAMA, id="seed", kind="seed")

    events, _ = await from_mock(own, {"/v1/chat/completions": STREAM}, collect)

    assert events == [Text("hi"), Finished("stop", model="tiny", schema_enforced=True)]


async def test_a_server_behind_a_path_prefix_is_asked_there() -> None:
    behind = replace(LLAMA, server="http://127.0.0.1:9931/proxy")

    _, requests = await from_mock(behind, {"/v1/chat/completions": STREAM}, collect)

    assert str(requests[0].url) == "http://127.0.0.1:9931/proxy/v1/chat/completions"


@pytest.mark.parametrize(
    "error",
    [
        httpx.ConnectError("refused"),
        httpx.ConnectTimeout("slow"),
        httpx.ReadError("reset"),
        httpx.ReadTimeout("slow"),
        httpx.WriteError("reset"),
        httpx.RemoteProtocolError("illegal status line"),
        httpx.RemoteProtocolError("Server disconnected without sending a response."),
        httpx.LocalProtocolError("x"),
        httpx.ProxyError("x"),
        httpx.UnsupportedProtocol("x"),
        httpx.DecodingError("x"),
        httpx.TooManyRedirects("x"),
        httpx.InvalidURL("x"),
    ],
)
async def test_no_exception_of_httpx_gets_out(error: Exception) -> None:
    connection = OpenAIConnection(LLAMA)
    with respx.mock as router:
        router.route().mock(side_effect=error)
        with pytest.raises(ConnectionFault) as caught:
            await collect(connection)
        assert await count(connection) == 18
        await warm(connection)
    await connection.close()

    assert caught.value.hint


def test_the_interface_alone_does_not_load_the_http_client() -> None:
    code = "import sys, lmboot.connections.interface; sys.exit('httpx' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_look_alike_is_a_program_too(tmp_path: Path) -> None:
    record = tmp_path / "record.jsonl"

    with running("plain", replies=[REPLY], token="sk-1", record=record) as base:
        events = asyncio.run(_ask_once(replace(LLAMA, server=base), "sk-1"))

    assert text_of(events) == REPLY
    assert json.loads(record.read_text())["chat"]["model"] == "tiny"


async def _ask_once(model: Model, token: str) -> list[Event]:
    connection = OpenAIConnection(model, token)
    try:
        return await collect(connection)
    finally:
        await connection.close()
