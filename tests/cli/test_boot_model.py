"""A session with a model server that is scripted to do whatever servers do."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from lmboot.bootstrap.prompts import PRIMER, TRIGGER
from tests.cli.program import ECHO, Bench, Done, payload
from tests.connections.lookalike import EMBEDDER, Lookalike, Served

MODEL = "acme/tiny-4b"
GOOD = payload(ECHO)
NUMPY = payload("import numpy\n" + ECHO)


async def boot(
    bench: Bench, server: Lookalike, *options: str, lines: Sequence[str] = (), model: str = MODEL
) -> Done:
    command = ("boot", "--server", server.base, "--model", model, "--yes", "--json")
    return await bench.run(*command, *options, lines=lines)


def sent(server: Lookalike, number: int = -1) -> list[tuple[str, str]]:
    messages = server.chats[number]["messages"]
    return [(message["role"], message["content"]) for message in messages]


# ---------------------------------------------------------------- what works

WORKING = {
    # script: how many requests are refused before lmboot knows what the server can't do
    "plain": 0, "dribble": 0, "pings": 0, "odd_chunks": 0, "json_body": 0, "think": 0,
    "no_done": 0, "system_refused": 1, "grammar_refused": 1, "no_stream": 1, "fussy": 2,
}  # fmt: skip


@pytest.mark.parametrize("script", WORKING)
async def test_whatever_a_server_does_a_good_payload_runs(bench: Bench, script: str) -> None:
    replies = [GOOD] * (WORKING[script] + 1)
    async with Lookalike(script, reply=[*replies, "Hello."]) as server:
        done = await boot(bench, server, lines=[":rt x", ":ai hi"])

    assert done.code == 0, done.err
    assert done.pane("rt") == ["ready", "you said x"]
    assert "".join(done.pane("ai")) == "Hello."
    assert done.events == ["payload", "started", "ended"]


async def test_what_is_sent_is_primer_and_trigger_and_then_neither(bench: Bench) -> None:
    async with Lookalike(reply=[GOOD, "Hello.", "Bye."]) as server:
        await boot(bench, server, lines=[":ai one", ":rt x", ":ai+ two"])

    assert sent(server, 0) == [("system", PRIMER), ("user", TRIGGER)]
    assert server.chats[0]["stream"] is True
    assert server.chats[0]["max_tokens"] == 8192
    system, *turns = sent(server, 2)
    assert turns[:2] == [("user", "one"), ("assistant", "Hello.")]
    assert "interactive mode" in system[1]
    assert turns[2][1].splitlines()[0] == "two"
    assert turns[2][1].splitlines()[-2:] == ["ready", "you said x"]
    assert not any(text in str(server.chats[1:]) for text in (PRIMER[:40], TRIGGER, "guest_sys"))


async def test_a_payload_where_thinking_belongs_is_found(bench: Bench) -> None:
    async with Lookalike("reasoning_json", reply=[GOOD, "Hello."]) as server:
        done = await boot(bench, server, lines=[":ai hi"])

    assert (done.code, done.pane("rt", "ai")) == (0, ["ready"])
    assert "the model answered nothing" in done.pane("sys")


async def test_another_model_that_answers_is_said(bench: Bench) -> None:
    async with Lookalike("other_model", reply=GOOD) as server:
        done = await boot(bench, server)

    assert done.code == 0
    assert "other/model" in done.err


async def test_the_address_may_end_in_v1_and_goes_before_the_environment(bench: Bench) -> None:
    async with Lookalike(reply=GOOD) as server:
        bench.env |= {"LMSTUDIO_BASE_URL": "http://127.0.0.1:9", "LLM_MODEL": MODEL}
        options = ("--server", f"{server.base}/v1/", "--yes", "--json")
        done = await bench.run("boot", *options)
        bench.env |= {"LMSTUDIO_BASE_URL": f"{server.base}/v1"}
        by_environment = await bench.run("boot", "--yes", "--json")

    assert (done.code, by_environment.code) == (0, 0)


async def test_the_loaded_model_is_taken_when_none_is_named(bench: Bench) -> None:
    async with Lookalike(reply=GOOD) as server:
        done = await bench.run("boot", "--server", server.base, "--yes", "--json")

    assert done.code == 0
    assert server.chats[0]["model"] == MODEL


async def test_a_token_goes_to_the_server_that_was_named(bench: Bench) -> None:
    async with Lookalike(reply=GOOD, token="sk-lm-1") as server:
        bench.env["LM_API_TOKEN"] = "sk-lm-1"
        done = await boot(bench, server)
        bench.env["LM_API_TOKEN"] = "sk-lm-wrong"
        refused = await boot(bench, server)

    assert (done.code, refused.code) == (0, 3)
    assert "token" in refused.err
    assert "sk-lm-wrong" not in refused.err + refused.out


async def test_a_payload_needs_no_model_but_takes_one_that_is_named(bench: Bench) -> None:
    async with Lookalike(reply="Hello.") as server:
        file = bench.payload(ECHO)
        command = ("boot", "--payload", file, "--server", server.base, "--model", MODEL)
        done = await bench.run(*command, "--yes", "--json", lines=[":ai hi"])

    assert (done.code, "".join(done.pane("ai"))) == (0, "Hello.")
    assert len(server.chats) == 1


# ---------------------------------------------------------------- rounds


@pytest.mark.parametrize("repairs", [0, 5])
async def test_a_model_that_never_obeys_is_asked_as_often_as_was_said(
    bench: Bench, repairs: int
) -> None:
    async with Lookalike(reply="I'd rather not.") as server:
        done = await boot(bench, server, "--repair", str(repairs))

    assert (done.code, len(server.chats)) == (1, repairs + 1)
    assert done.events == ["refused"]
    assert [problem["code"] for problem in done.event("refused")["problems"]] == ["no_object"]
    assert "I'd rather not." in done.err
    assert bench.kept == []


async def test_two_rounds_are_the_default_and_the_answer_may_come_in_the_last(
    bench: Bench,
) -> None:
    bad = GOOD.replace("python main.py", "sh main.py")
    async with Lookalike(reply=[bad, "Sorry!", GOOD]) as server:
        done = await boot(bench, server)

    assert (done.code, len(server.chats)) == (0, 3)
    assert "must begin with python" in sent(server, 1)[-1][1]


async def test_a_cut_answer_is_asked_for_once_more_whole_and_costs_no_round(bench: Bench) -> None:
    async with Lookalike(["length", "plain"], reply=GOOD) as server:
        done = await boot(bench, server, "--repair", "0")
    async with Lookalike("length", reply=GOOD) as always:
        refused = await boot(bench, always, "--repair", "5")

    assert (done.code, len(server.chats)) == (0, 2)
    assert server.chats[1]["max_tokens"] > server.chats[0]["max_tokens"]
    assert (refused.code, refused.events, len(always.chats)) == (1, ["refused"], 2)
    assert refused.event("refused")["problems"][0]["code"] == "truncated"


async def test_imports_that_are_not_there_are_worth_one_round_and_run_all_the_same(
    bench: Bench,
) -> None:
    async with Lookalike(reply=NUMPY) as server:
        done = await boot(bench, server, lines=[":rt x"])

    assert len(server.chats) == 2
    assert done.events == ["payload", "started", "ended"]
    assert (done.code, done.event("ended")["code"]) == (5, 1)
    assert any("numpy" in line for line in done.pane("rt!"))


# ---------------------------------------------------------------- what does not work

FAILING = {
    "cut": "connection",
    "ends_early": "",
    "error_string": "crashed",
    "error_object": "out of memory",
    "error_event": "out of memory",
    "nothing_loaded": "no model",
    "load_fails": "load",
    "model_gone": MODEL,
    "overflow": "context",
    "html": "",
}


@pytest.mark.parametrize("script", FAILING)
async def test_whatever_goes_wrong_ends_with_3_and_one_sentence(bench: Bench, script: str) -> None:
    async with Lookalike(script, reply=GOOD) as server:
        done = await boot(bench, server)

    assert (done.code, done.events) == (3, ["error"])
    first = next(line for line in done.err.splitlines() if line.startswith("lmboot: "))
    assert FAILING[script].lower() in done.err.lower(), first
    assert bench.kept == []


@pytest.mark.parametrize("script", ["empty", "eats_thinking"])
async def test_an_answer_of_nothing_is_refused(bench: Bench, script: str) -> None:
    async with Lookalike(script) as server:
        done = await boot(bench, server, "--repair", "1")

    assert (done.code, done.events, len(server.chats)) == (1, ["refused"], 2)


async def test_what_had_come_is_shown_when_the_connection_is_lost(bench: Bench) -> None:
    async with Lookalike("cut", reply=GOOD) as server:
        done = await boot(bench, server)

    assert GOOD[: len(GOOD) // 2] in done.err


@pytest.mark.parametrize("script", ["cut", "nothing_loaded", "error_string"])
async def test_an_ai_that_fails_is_an_event_and_the_session_goes_on(
    bench: Bench, script: str
) -> None:
    async with Lookalike(["plain", script, "plain"], reply=[GOOD, "Hel", "Hello."]) as server:
        done = await boot(bench, server, lines=[":ai one", ":rt x", ":ai two"])

    assert (done.code, done.events) == (3, ["payload", "started", "error", "ended"])
    assert done.pane("rt") == ["ready", "you said x"]
    assert "".join(done.pane("ai")).endswith("Hello.")
    assert done.err.count("lmboot: ") >= 1


async def test_a_runtime_that_fails_counts_more_than_a_model_that_does(bench: Bench) -> None:
    crash = payload("print('ready', flush=True)\ninput()\nraise SystemExit(9)")
    async with Lookalike(["plain", "cut"], reply=[crash, "x"]) as server:
        done = await boot(bench, server, lines=[":ai one", ":rt x"])

    assert done.code == 5


async def test_a_new_bootstrap_that_is_refused_leaves_the_session(bench: Bench) -> None:
    async with Lookalike(reply=[GOOD, "No."]) as server:
        done = await boot(bench, server, "--repair", "0", lines=[f":ai {TRIGGER}", ":rt x"])

    assert (done.code, done.events) == (1, ["payload", "started", "refused", "ended"])
    assert done.pane("rt") == ["ready", "you said x"]


async def test_a_context_that_is_too_small_is_told_before_anything_is_sent(bench: Bench) -> None:
    async with Lookalike(models=[Served(context_loaded=1024)]) as server:
        done = await boot(bench, server)

    assert (done.code, server.chats) == (3, [])
    assert "1,024" in done.err
    assert "lms load" in done.err


@pytest.mark.parametrize("models", [[], [EMBEDDER]])
async def test_a_server_without_models_is_told(bench: Bench, models: list[Served]) -> None:
    async with Lookalike(models=models) as server:
        done = await bench.run("boot", "--server", server.base, "--yes", "--json")
        named = await boot(bench, server)

    assert (done.code, named.code) == (3, 3)
    assert "no models" in done.err


@pytest.mark.parametrize("name", ["acme/other", EMBEDDER.id, "ACME"])
async def test_a_model_that_is_not_listed_is_told_with_those_that_are(
    bench: Bench, name: str
) -> None:
    async with Lookalike() as server:
        done = await boot(bench, server, model=name)

    assert (done.code, server.chats) == (3, [])
    assert MODEL in done.err
    assert "acme/large-70b" in done.err


async def test_which_of_two_is_meant_must_be_said(bench: Bench) -> None:
    both = [Served("a", loaded=False), Served("b", loaded=False)]
    async with Lookalike(models=both) as server:
        done = await bench.run("boot", "--server", server.base, "--yes", "--json")

    assert done.code == 3
    assert "a, b" in done.err


@pytest.mark.parametrize("greeting", [b"", b"\x00\xff" * 100])
async def test_something_else_on_the_port_is_told(bench: Bench, greeting: bytes) -> None:
    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(greeting)
        writer.close()
        await asyncio.gather(writer.wait_closed(), return_exceptions=True)

    async with await asyncio.start_server(greet, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        options = ("--server", f"http://127.0.0.1:{port}", "--model", "x", "--yes", "--json")
        done = await bench.run("boot", *options)

    assert (done.code, done.events) == (3, ["error"])
    assert f"127.0.0.1:{port}" in done.err


async def test_nobody_at_the_address_is_told(bench: Bench) -> None:
    done = await bench.run("boot", "--server", "http://127.0.0.1:9", "--yes")

    assert done.code == 3
    assert "127.0.0.1:9" in done.err


@pytest.mark.parametrize(("content", "code"), [(None, 2), (b"", 2), (b"GGUF" + b"\xff" * 99, 2)])
async def test_a_file_that_is_no_model_is_told(
    bench: Bench, content: bytes | None, code: int
) -> None:
    file = bench.folder / "model.gguf"
    if content is not None:
        file.write_bytes(content)

    done = await bench.run("boot", "--model", str(file), "--yes", "--json")

    assert (done.code, done.events) == (code, ["error"])
    assert "model.gguf" in done.err


async def test_a_wish_above_the_settings_is_lowered_and_noted(bench: Bench) -> None:
    bench.settings.write_text("[limits]\noutput_mb = 0.001\n")
    greedy = payload("print('x' * 5000, flush=True)\ninput()", limits={"output_mb": 200})
    async with Lookalike(reply=greedy) as server:
        done = await boot(bench, server)

    assert (done.code, done.event("limit")["limit"]) == (5, "output")


async def test_a_trigger_of_ones_own_is_sent_and_a_passphrase_guards_it(bench: Bench) -> None:
    bench.settings.write_text('trigger = "GO"\npassphrase = "please"\n')
    async with Lookalike(reply=[GOOD, "No.", GOOD]) as server:
        done = await boot(bench, server, lines=[":ai GO", ":ai GO please"])

    assert sent(server, 0)[1] == ("user", "GO")
    assert done.events == ["payload", "started", "payload", "ended", "started", "ended"]
    assert "".join(done.pane("ai")) == "No."


async def test_the_record_of_a_session_is_whole(bench: Bench) -> None:
    async with Lookalike(reply=[GOOD, "Hello."]) as server:
        done = await boot(bench, server, lines=[":rt x", ":ai hi"])

    folder = Path(bench.env["XDG_STATE_HOME"]) / "lmboot" / "transcripts"
    (file,) = folder.glob("*.jsonl")
    assert [json.loads(line) for line in file.read_text().splitlines()] == done.objects
