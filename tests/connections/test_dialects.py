"""What is sent to which server, and when two names mean one model."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from lmboot.connections.dialects import (
    DIALECTS,
    context_warning,
    estimate_tokens,
    merge_system,
    request_body,
    same_model,
)
from lmboot.connections.interface import Ask, Kind, Message, Model

ASK = Ask(
    [Message("system", "primer"), Message("user", "go")],
    max_tokens=100,
    temperature=0.1,
    schema={"type": "object"},
)
MODEL = Model("tiny", "Tiny", "http://127.0.0.1:1234", "lmstudio")


def body_for(kind: Kind) -> dict[str, object]:
    return request_body(ASK, model=replace(MODEL, kind=kind))


def test_lm_studio_gets_the_schema_the_stream_and_the_usage() -> None:
    assert body_for("lmstudio") == {
        "model": "tiny",
        "messages": [
            {"role": "system", "content": "primer"},
            {"role": "user", "content": "go"},
        ],
        "max_tokens": 100,
        "temperature": 0.1,
        "stream": True,
        "stream_options": {"include_usage": True},
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "payload", "strict": True, "schema": {"type": "object"}},
        },
    }


def test_gpt4all_gets_nothing_that_it_rejects() -> None:
    assert set(body_for("gpt4all")) == {"model", "messages", "max_tokens", "temperature"}


def test_koboldcpp_gets_neither_schema_nor_stream_options() -> None:
    assert set(body_for("koboldcpp")) == {
        "model", "messages", "max_tokens", "temperature", "stream",
    }  # fmt: skip


@pytest.mark.parametrize("kind", DIALECTS)
def test_json_object_is_sent_to_no_server(kind: Kind) -> None:
    assert "json_object" not in json.dumps(body_for(kind))


def test_a_refused_schema_is_not_sent_again() -> None:
    assert "response_format" not in request_body(ASK, model=MODEL, without={"schema"})


def test_a_refused_system_role_is_not_sent_again() -> None:
    body = request_body(ASK, model=MODEL, without={"system"})

    assert body["messages"] == [{"role": "user", "content": "primer\n\ngo"}]


def test_system_text_goes_to_the_first_user_turn_only() -> None:
    turns = [
        Message("system", "a"),
        Message("assistant", "x"),
        Message("user", "b"),
        Message("user", "c"),
        Message("system", "d"),
    ]

    assert merge_system(turns) == [
        Message("assistant", "x"),
        Message("user", "a\n\nd\n\nb"),
        Message("user", "c"),
    ]


def test_system_text_without_a_user_turn_becomes_one() -> None:
    assert merge_system([Message("system", "a")]) == [Message("user", "a")]


@pytest.mark.parametrize(
    ("asked", "answered"),
    [
        ("acme/tiny-4b", "acme/tiny-4b"),
        ("acme/tiny-4b", "ACME/Tiny-4B"),
        ("acme/tiny-4b", "tiny-4b"),
        ("acme/tiny-4b", "acme/tiny-4b:2"),
        ("acme/tiny-4b@q4_k_m", "acme/tiny-4b"),
        ("tiny", "/models/acme/tiny.gguf"),
        ("C:\\models\\tiny.gguf", "tiny"),
        ("llama3", "llama3:latest"),
        ("tiny", "koboldcpp/tiny"),
        ("tiny", ""),
    ],
)
def test_an_alias_path_instance_or_tag_is_the_same_model(asked: str, answered: str) -> None:
    assert same_model(asked, answered)
    assert same_model(answered, asked)


@pytest.mark.parametrize(
    ("asked", "answered"),
    [
        ("tiny", "large"),
        ("acme/tiny", "other/tiny"),
        ("qwen3:4b", "qwen3:8b"),
        ("tiny", "tiny-instruct"),
    ],
)
def test_another_name_is_another_model(asked: str, answered: str) -> None:
    assert not same_model(asked, answered)


def test_an_estimate_is_rather_too_high_than_too_low() -> None:
    assert estimate_tokens([Message("user", "x" * 30), Message("user", "é")]) == 10 + 8 + 1 + 8


def test_a_prompt_that_fills_the_loaded_context_is_said_with_the_remedy() -> None:
    loaded = replace(MODEL, context_loaded=4_096)

    said = context_warning(loaded, prompt_tokens=5_000, max_tokens=4_000)

    assert said is not None
    assert "4,096" in said
    assert "lms load tiny --context-length 16384" in said


def test_an_answer_that_may_be_cut_off_is_said() -> None:
    loaded = replace(MODEL, context_loaded=4_096)

    assert "cut off" in (context_warning(loaded, prompt_tokens=3_000, max_tokens=2_000) or "")


@pytest.mark.parametrize("loaded", [None, 8_192, 5_000])
def test_nothing_is_said_where_there_is_room_or_nothing_is_known(loaded: int | None) -> None:
    model = replace(MODEL, context_loaded=loaded)

    assert context_warning(model, prompt_tokens=3_000, max_tokens=2_000) is None


def test_a_model_name_in_a_remedy_is_quoted_for_the_shell() -> None:
    hostile = replace(MODEL, id="x; rm -rf ~", context_loaded=10)

    said = context_warning(hostile, prompt_tokens=100, max_tokens=1) or ""

    assert "'x; rm -rf ~'" in said
