"""Bytes of an answer -> events, by equality; whole, byte by byte, and cut at every place."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lmboot.connections.answers import MAX_BLANKS, AnswerReader
from lmboot.connections.interface import Event, Finished, Notice, Text, Thinking
from lmboot.connections.refusals import ServerSaid
from lmboot.errors import ConnectionLost, NoServer


def chunk(delta: dict[str, Any] | None = None, finish: str | None = None, **more: Any) -> str:
    choice = {"index": 0, "delta": delta or {}, "finish_reason": finish}
    return "data: " + json.dumps({"model": "tiny", "choices": [choice], **more}) + "\n\n"


def say(text: str | None) -> str:
    return chunk({"content": text})


STOP = chunk(finish="stop")
DONE = "data: [DONE]\n\n"


def read(*chunks: str | bytes, asked: str | None = "tiny") -> list[Event]:
    reader = AnswerReader(asked, secret="sk-secret")
    events: list[Event] = []
    for piece in chunks:
        events += reader.feed(piece.encode() if isinstance(piece, str) else piece)
    return [*events, *reader.close()]


def test_a_stream_gives_its_pieces_and_then_finished() -> None:
    usage = {"prompt_tokens": 7, "completion_tokens": 2}
    last = "data: " + json.dumps({"choices": [], "usage": usage}) + "\n\n"

    events = read(
        chunk({"role": "assistant", "content": None}), say("a"), say("b"), STOP, last, DONE
    )

    assert events == [Text("a"), Text("b"), Finished("stop", 7, 2, "tiny")]


STREAM = (": ping\r\n\r\n" + say("Grö") + say("ße 🙂") + STOP + DONE).encode()


@pytest.mark.parametrize("cut", range(len(STREAM) + 1))
def test_events_do_not_depend_on_where_the_bytes_are_cut(cut: int) -> None:
    assert read(STREAM[:cut], STREAM[cut:]) == [
        Text("Grö"),
        Text("ße 🙂"),
        Finished("stop", model="tiny"),
    ]


def test_a_finish_reason_without_done_is_a_whole_answer() -> None:
    assert read(say("x"), STOP) == [Text("x"), Finished("stop", model="tiny")]


def test_done_without_a_finish_reason_is_a_whole_answer() -> None:
    assert read(say("x"), DONE) == [Text("x"), Finished("stop", model="tiny")]


def test_an_end_without_done_and_finish_reason_is_a_lost_connection_that_keeps_the_text() -> None:
    with pytest.raises(ConnectionLost) as caught:
        read(say("half "), say("a word"))

    assert caught.value.text == "half a word"


def test_an_empty_body_is_a_lost_connection() -> None:
    with pytest.raises(ConnectionLost):
        read("")


def test_choices_that_are_empty_null_or_missing_are_passed_over() -> None:
    odd = [{"choices": []}, {"choices": None}, {}, {"choices": [None]}, {"choices": [{}]}]
    lines = "".join(f"data: {json.dumps(value)}\n\n" for value in odd)

    assert read(lines, say(None), say(""), STOP) == [Finished("stop", model="tiny")]


@pytest.mark.parametrize("field", ["reasoning_content", "reasoning"])
def test_a_thinking_field_is_thinking_and_never_text(field: str) -> None:
    events = read(chunk({field: "hm", "content": ""}), say("{}"), STOP)

    assert events == [Thinking("hm"), Text("{}"), Finished("stop", model="tiny")]


def test_think_tags_inside_the_content_are_left_there() -> None:
    assert read(say("<think>hm</think>{}"), STOP)[0] == Text("<think>hm</think>{}")


def test_thinking_that_eats_max_tokens_is_said() -> None:
    events = read(chunk({"reasoning_content": "hm"}), chunk(finish="length"))

    assert events[1:] == [
        Notice("the model spent all of max_tokens on thinking"),
        Finished("length", model="tiny"),
    ]


def test_a_long_answer_after_thinking_says_nothing_of_thinking() -> None:
    events = read(chunk({"reasoning": "hm"}), say("x"), chunk(finish="length"))

    assert not any(isinstance(event, Notice) for event in events)


@pytest.mark.parametrize(
    "error",
    [
        'data: {"error": "it broke"}',
        'data: {"error": {"message": "it broke", "code": 500}}',
        'event: error\ndata: {"error": {"message": "it broke"}}',
        'event: error\ndata: {"message": "it broke"}',
        'event: error\ndata: "it broke"',
        "event: error\ndata: it broke",
        'error: {"message": "it broke"}',
        'data: {"error": "it broke", "choices": []}',
        'data: {"type": "error", "error": {"type": "unknown", "message": "it broke"}}',
        'data: {"object": "error", "message": "it broke"}',
    ],
)
def test_an_error_in_the_stream_is_the_servers_word_in_every_form(error: str) -> None:
    with pytest.raises(ServerSaid) as caught:
        read(say("x"), error + "\n\n", DONE)

    assert "it broke" in caught.value.report.said


def test_text_that_came_in_one_piece_with_an_error_is_given_before_it() -> None:
    reader = AnswerReader("tiny")
    events: list[Event] = []

    with pytest.raises(ServerSaid):
        events.extend(reader.feed((say("kept") + 'data: {"error": "x"}\n\n').encode()))

    assert events == [Text("kept")]


def test_a_null_error_is_no_error() -> None:
    assert read(chunk({"content": "x"}, error=None), STOP)[0] == Text("x")


COMPLETION = {
    "model": "tiny",
    "choices": [
        {"message": {"content": "hi", "reasoning_content": "hm"}, "finish_reason": "stop"}
    ],
    "usage": {"prompt_tokens": 3, "completion_tokens": 1},
}


@pytest.mark.parametrize("cut", [0, 1, 5, 50])
def test_a_json_body_in_place_of_a_stream_is_the_whole_answer(cut: int) -> None:
    body = "\n" + json.dumps(COMPLETION)

    assert read(body[:cut], body[cut:]) == [
        Thinking("hm"),
        Text("hi"),
        Finished("stop", 3, 1, "tiny"),
    ]


def test_a_json_error_in_place_of_a_stream_is_raised_though_the_status_was_200() -> None:
    with pytest.raises(ServerSaid, match="Unexpected endpoint"):
        read('{"error": "Unexpected endpoint or method. (POST /chat/completions)"}')


@pytest.mark.parametrize(
    "body",
    ["<html>hello</html>", "Ollama is running", '{"hello": 1}', "[]", '{"choices": []}', "{"],
)
def test_anything_else_on_the_port_is_told_apart_from_a_model_server(body: str) -> None:
    with pytest.raises(NoServer, match="something else"):
        read(body)


@pytest.mark.parametrize("data", ["not json", "[1, 2]", "null", '{"a": ' + "[" * 100_000])
def test_a_damaged_chunk_is_a_lost_connection_that_keeps_the_text(data: str) -> None:
    with pytest.raises(ConnectionLost, match="damaged") as caught:
        read(say("kept"), f"data: {data}\n\n")

    assert caught.value.text == "kept"


def test_another_model_that_answers_is_said_once() -> None:
    events = read(say("a"), say("b"), STOP, asked="acme/large")

    assert events[0] == Notice("another model answers: tiny, not acme/large")
    assert sum(isinstance(event, Notice) for event in events) == 1


def test_nothing_is_compared_when_no_model_was_asked_for_by_name() -> None:
    assert read(say("a"), STOP, asked=None)[0] == Text("a")


def test_zero_usage_counts_as_unknown() -> None:
    usage = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}

    assert read(chunk({"content": ""}, "stop", usage=usage)) == [Finished("stop", model="tiny")]


@pytest.mark.parametrize("blank", [" ", "\n\t", "\n" * 50])
def test_endless_blanks_end_the_answer_as_too_long(blank: str) -> None:
    reader = AnswerReader("tiny")
    list(reader.feed(say('{"a":').encode()))
    fed = 0
    while not reader.answer.over:
        list(reader.feed(say(blank).encode()))
        fed += len(blank)

    *_, notice, finished = reader.close()

    assert MAX_BLANKS <= fed < MAX_BLANKS + 50
    assert isinstance(notice, Notice)
    assert finished == Finished("length", model="tiny")


def test_blanks_with_words_between_them_are_no_runaway() -> None:
    piece = say(" " * (MAX_BLANKS - 1) + "x")

    assert read(piece, piece, piece, STOP)[-1] == Finished("stop", model="tiny")


def test_nothing_after_done_is_read() -> None:
    assert read(say("x"), DONE, say("y")) == [Text("x"), Finished("stop", model="tiny")]


def test_a_character_cut_into_surrogate_halves_is_joined_across_chunks() -> None:
    first, second = (chunk({"content": half}) for half in ("\ud83d", "\ude42!"))

    assert read(first, second, STOP)[0] == Text("🙂!")


def test_half_a_character_alone_is_replaced() -> None:
    assert read(say("\ude42 and \ud83d x"), STOP)[0] == Text("\ufffd and \ufffd x")


def test_a_token_that_a_server_repeats_is_not_shown() -> None:
    with pytest.raises(ServerSaid) as caught:
        read('{"error": {"message": "Incorrect key: sk-secret"}}')

    assert "sk-secret" not in repr(caught.value) + caught.value.report.text


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "choices",
                    "delta",
                    "message",
                    "content",
                    "error",
                    "usage",
                    "prompt_tokens",
                    "finish_reason",
                    "model",
                    "reasoning",
                    "detail",
                    "object",
                    "type",
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@settings(deadline=None)
@given(st.lists(JSON, max_size=4), st.booleans())
def test_no_json_of_any_shape_gets_past_the_known_faults(values: list[Any], stream: bool) -> None:
    body = "".join(f"data: {json.dumps(value)}\n\n" for value in values)
    try:
        events = read(body if stream else json.dumps(values[0] if values else None))
    except (ServerSaid, NoServer, ConnectionLost):
        return
    assert isinstance(events[-1], Finished)


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_no_bytes_at_all_get_past_the_known_faults(data: bytes) -> None:
    try:
        events = read(data)
    except (ServerSaid, NoServer, ConnectionLost):
        return
    assert isinstance(events[-1], Finished)
