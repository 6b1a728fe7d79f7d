"""The worker's protocol: whatever a worker writes is an answer to its call, or a breach."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmboot.errors import UsageFault
from lmboot.runtime import calls
from lmboot.runtime.calls import Breach, Line, Raised, Returned, answer, request
from lmboot.runtime.guest import serve

PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
ANYTHING = st.recursive(
    PLAIN
    | st.floats()
    | st.integers()
    | st.binary()
    | st.sets(st.integers(), max_size=2)
    | st.text(st.characters(categories=["Cs", "Ll"]), max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.integers(), inner, max_size=2),
    max_leaves=6,
)
RAISED = {"type": "ValueError", "message": "no", "traceback": "Traceback"}


def nested(levels: int) -> Any:
    value: Any = None
    for _ in range(levels):
        value = [value]
    return value


def looped() -> list[Any]:
    value: list[Any] = []
    value += [value, value]
    return value


@given(st.lists(PLAIN, max_size=3), st.dictionaries(st.text(), PLAIN, max_size=3))
def test_a_call_is_one_line_that_says_what_was_asked(args: list[Any], named: Any) -> None:
    frame = request(7, "a.b:c", args, named)

    assert frame.count(b"\n") == 1
    assert frame.endswith(b"\n")
    told = json.loads(frame)
    assert told == {"id": 7, "function": "a.b:c", "args": args, "named": named}


@given(PLAIN)
def test_what_a_function_returns_comes_back_as_it_was(value: Any) -> None:
    frame = serve.encode({"id": 3, "value": value})

    assert answer(frame[:-1], 3) == Returned(value)


@given(ANYTHING)
def test_both_sides_refuse_the_same(value: Any) -> None:
    """Each has the rules in its own words: what one tells, the other must take."""
    message = {"id": 1, "value": value}

    assert bool(calls.flaw(message)) == bool(serve.flaw(message))


@given(ANYTHING)
def test_what_the_worker_s_side_tells_is_never_a_breach(value: Any) -> None:
    try:
        frame = serve.encode({"id": 1, "value": value})
    except ValueError:
        return

    assert isinstance(answer(frame[:-1], 1), Returned)


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (math.nan, "float is no JSON value"),
        (-math.inf, "float is no JSON value"),
        (2**53 + 1, "int is no JSON value"),
        (b"bytes", "bytes is no JSON value"),
        ({1: 2}, "a key is no text"),
        ("\ud800", "surrogate"),
        (nested(32), "more than 32 levels"),
        (looped(), "more than"),
        ([0] * calls.MAX_VALUES, "more than 100,000 values"),
        ("x" * calls.MAX_FRAME_BYTES, "longer than"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_arguments_that_are_not_strict_json_are_refused(value: Any, why: str) -> None:
    with pytest.raises(UsageFault, match=why):
        request(1, "m:f", [value], {})


def test_as_deep_as_may_be_goes_both_ways() -> None:
    assert json.loads(request(1, "m:f", [nested(30)], {}))["args"] == [nested(30)]
    assert answer(serve.encode({"id": 1, "value": nested(31)})[:-1], 1) == Returned(nested(31))
    for value in ([nested(30), {}], [nested(30), []]):
        assert answer(serve.encode({"id": 1, "value": value})[:-1], 1) == Returned(value)
    for value in (nested(32), [nested(30), [nested(30)]]):
        with pytest.raises(ValueError, match="nested deeper"):
            serve.encode({"id": 1, "value": value})


def test_the_limits_of_both_sides_are_the_same() -> None:
    names = ("MAX_FRAME_BYTES", "MAX_VALUES", "MAX_DEPTH", "MAX_INTEGER")

    assert [getattr(calls, name) for name in names] == [getattr(serve, name) for name in names]


@pytest.mark.parametrize("name", ["", "m", "m:", ":f", "m:f()", "m:f\n", "m/x:f", "m:é", "m:f:g"])
def test_a_function_is_named_by_its_module_and_its_name(name: str) -> None:
    with pytest.raises(UsageFault, match="no name of a function"):
        request(1, name, [], {})


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b'{"id":1}',
        b'{"id":2,"value":0}',
        b'{"id":true,"value":0}',
        b'{"id":1.0,"value":0}',
        b'{"id":"1","value":0}',
        b'{"id":1,"value":0,"more":0}',
        b'{"id":1,"value":0,"raised":0}',
        b'{"id":1,"value":0,"value":1}',
        b'{"id":1,"value":NaN}',
        b'{"id":1,"value":Infinity}',
        b'{"id":1,"value":1e999}',
        b'{"id":1,"value":9007199254740993}',
        b'{"id":1,"value":"\\ud800"}',
        b'{"id":1,"value":"\xff"}',
        b'{"id":1,"value":0}}',
        b'{"id":1,"value":0} {"id":2,"value":0}',
        b'{"id":1,"value":' + b"[" * 33 + b"]" * 33 + b"}",
        b'{"id":1,"value":' + b"[" * 100_000,
        b'{"id":1,"value":[' + b"0," * calls.MAX_VALUES + b"0]}",
        b'{"id":1,"raised":null}',
        b'{"id":1,"raised":{}}',
        b'{"id":1,"raised":{"type":"E","message":"m","traceback":1}}',
        b'{"id":1,"raised":{"type":"E","message":"m","traceback":"t","more":"x"}}',
        b"garbage \x00 \x1b[2J",
    ],
    ids=lambda line: line[:40].decode("ascii", "replace"),
)
def test_a_line_that_is_no_answer_is_a_breach(line: bytes) -> None:
    with pytest.raises(Breach):
        answer(line, 1)


@given(st.binary(max_size=200))
def test_no_line_is_anything_but_an_answer_or_a_breach(line: bytes) -> None:
    try:
        found: object = answer(line, 1)
    except Breach as breach:
        found = breach

    assert isinstance(found, Returned | Raised | Breach)
    assert len(str(found)) < 500


def test_an_exception_can_be_shown_on_a_screen() -> None:
    told = {
        "type": "E\x1b[2J",
        "message": "a\nb\u202e" * 1000,
        "traceback": "one\n\x1b]0;x\x07two",
    }

    raised = answer(json.dumps({"id": 1, "raised": told}).encode(), 1)

    assert isinstance(raised, Raised)
    assert (raised.kind, raised.traceback) == ("E", "one\ntwo")
    assert raised.message.startswith("a ba b")
    assert len(raised.message) <= 300


def test_a_long_list_of_numbers_is_read_by_the_quick_reader(monkeypatch: Any) -> None:
    value = [0.5] * 50_000
    frame = serve.encode({"id": 1, "value": value})
    monkeypatch.setattr(calls, "decode", None)

    assert answer(frame[:-1], 1) == Returned(value)


@given(st.integers(1, 30), st.data())
def test_a_line_is_the_same_wherever_it_was_cut(length: int, data: Any) -> None:
    stream = b"x" * length + b"\n"
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=4)))
    pieces = [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    line = Line()

    *before, last = [line.feed(piece) for piece in pieces if piece]

    assert before == [None] * len(before)
    assert last == b"x" * length
    assert line.feed(b"next\n") == b"next"


@pytest.mark.parametrize("data", [b"a\nb", b"a\nb\n", b"\n\n"])
def test_what_follows_a_line_is_a_breach(data: bytes) -> None:
    with pytest.raises(Breach, match="follows"):
        Line().feed(data)


def test_a_line_without_end_is_a_breach_in_time() -> None:
    line, piece = Line(), b"x" * (1 << 20)
    for _ in range(calls.MAX_FRAME_BYTES >> 20):
        assert line.feed(piece) is None

    with pytest.raises(Breach, match="more than"):
        line.feed(b"x")


def test_what_can_t_be_shown_of_an_exception_is_told_as_that() -> None:
    class Rude(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    told = serve.told(Rude())

    assert told == {"type": "Rude", "message": "can't be shown: RuntimeError", "traceback": ""}


def test_what_is_told_of_an_exception_is_bounded_and_text() -> None:
    error = ValueError("\ud800" + "x" * 100_000)
    error.__cause__ = ValueError("y" * 100_000)

    told = serve.told(error)

    assert len(told["message"]) == serve.MAX_MESSAGE
    assert len(told["traceback"]) == serve.MAX_TRACEBACK
    assert isinstance(answer(serve.encode({"id": 1, "raised": told})[:-1], 1), Raised)
    assert told.keys() == RAISED.keys()
