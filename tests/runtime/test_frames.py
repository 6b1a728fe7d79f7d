"""What a guest writes on the channel; cases 72 to 76 and 79 of the hostile ones."""

from __future__ import annotations

import json
from time import process_time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmboot.runtime.frames import (
    MAX_FAULTS,
    MAX_FRAME_BYTES,
    MAX_VALUES,
    Closed,
    Fault,
    Frames,
    Request,
    Untold,
    error,
    fitting,
    push,
    reply,
)

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
ARGUMENTS = st.dictionaries(st.text(max_size=8), VALUES, max_size=3)
NAMES = st.from_regex(r"[a-z][a-z0-9_.]{0,63}", fullmatch=True)


def line(number: Any = 1, op: Any = "time", args: Any = None, **more: Any) -> bytes:
    args = {} if args is None else args
    return json.dumps({"id": number, "op": op, "args": args, **more}).encode() + b"\n"


def only(data: bytes) -> Request | Fault | Closed:
    """Return the one event of these bytes, and see that a good line is still understood."""
    frames = Frames()
    (event,) = frames.feed(data)
    assert frames.feed(line(2**53)) == [Request(2**53, "time", {})]
    return event


def codes(events: list[Request | Fault | Closed]) -> list[str]:
    return [event.op if isinstance(event, Request) else event.code for event in events]


@given(st.lists(st.tuples(NAMES, ARGUMENTS), max_size=4), st.data())
def test_requests_come_out_the_same_at_every_split(
    asked: list[tuple[str, dict[str, Any]]], data: Any
) -> None:
    stream = b"".join(line(number, *each) for number, each in enumerate(asked, 1))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=5)))
    pieces = [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    wanted = [Request(number, *each) for number, each in enumerate(asked, 1)]

    for parts in (pieces, [bytes([byte]) for byte in stream]):
        frames = Frames()
        assert [event for part in parts for event in frames.feed(part)] == wanted
        assert not frames.partial


@given(st.lists(st.binary(max_size=200), max_size=6))
def test_any_bytes_give_the_same_events_whole_or_byte_by_byte(parts: list[bytes]) -> None:
    stream = b"".join(parts)
    whole, frames = Frames().feed(stream), Frames()

    assert [event for byte in stream for event in frames.feed(bytes([byte]))] == whole
    assert all(isinstance(event, Request | Fault | Closed) for event in whole)


@given(st.binary(max_size=40), st.integers(0, 60), st.integers(0, 6))
def test_a_damaged_request_is_a_request_or_a_fault_that_may_be_shown(
    junk: bytes, at: int, cut: int
) -> None:
    good = line(1, "fs.read_text", {"path": "naïve/a.txt", "n": [1, 2.5]})

    for event in Frames().feed(good[:at] + junk + good[at + cut :] + b"\n"):
        if not isinstance(event, Request):
            assert event.code
            assert event.message.isprintable()
            assert len(event.message) <= 300


@pytest.mark.parametrize("wrong", ["1", True, 1.0, -1, 0, 2**70, 2**53 + 1, None, [1], {}])
@pytest.mark.case(74)
def test_case_74_an_id_of_another_type_is_a_typed_fault(wrong: Any) -> None:
    event = only(line(wrong))

    assert isinstance(event, Fault)
    assert event.code in ("bad_id", "number")
    assert event.id is None


@pytest.mark.parametrize("wrong", [[], "x", 1, True, None])
@pytest.mark.case(74)
def test_case_74_arguments_that_are_no_object_are_a_typed_fault(wrong: Any) -> None:
    data = json.dumps({"id": 7, "op": "time", "args": wrong}).encode() + b"\n"

    event = only(data)

    assert event == Fault(7, "bad_arguments", "args is not an object")


@pytest.mark.parametrize("missing", ["id", "op", "args"])
def test_a_field_that_is_missing_is_a_fault(missing: str) -> None:
    members = {"id": 1, "op": "time", "args": {}}
    del members[missing]

    assert isinstance(only(json.dumps(members).encode() + b"\n"), Fault)


@pytest.mark.parametrize(
    "more", [{"route": "HOST"}, {"emulated": False}, {"ok": True}, {"hello": 1}, {"v": 1}]
)
@pytest.mark.case(79)
def test_case_79_a_request_that_claims_more_is_refused(more: dict[str, Any]) -> None:
    event = only(line(**more))

    assert isinstance(event, Fault)
    assert (event.id, event.code) == (1, "unknown_field")


@pytest.mark.case(75)
def test_case_75_an_id_is_never_used_again_and_the_fault_does_not_carry_it() -> None:
    frames = Frames()

    events = frames.feed(line(5) + line(5) + line(4) + line(6))

    assert codes(events) == ["time", "bad_id", "bad_id", "time"]
    assert isinstance(events[1], Fault)
    assert events[1].id is None


def test_case_75_the_id_of_a_refused_request_is_used_up_too() -> None:
    assert codes(Frames().feed(line(1, "NO") + line(1))) == ["bad_operation", "bad_id"]


@pytest.mark.case(75)
def test_case_75_a_guest_that_writes_replies_or_greets_is_refused() -> None:
    frames = Frames()

    events = frames.feed(reply(1, 1, "HOST", emulated=False, version=1) + b'{"hello":1}\n' * 2)

    assert codes(events) == ["unknown_field", "bad_id", "bad_id"]


@pytest.mark.parametrize(
    "name",
    [
        *("__class__", "fs.read_text\u0000", "../fs", "Time", "time ", " time", "", "1a", "ｔime"),
        *("fs.rеad_text", "a" * 65, "a" * 1_000_000, "\x1b]0;x\x07", "a\n", 7, None, ["time"]),
    ],
)
@pytest.mark.case(20, 76)
def test_case_76_another_name_is_a_fault_with_a_harmless_text(name: Any) -> None:
    event = only(line(3, name))

    assert isinstance(event, Fault)
    assert (event.id, event.code) == (3, "bad_operation")
    assert event.message.isprintable()
    assert len(event.message) < 130


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", "syntax"),
        ("[]", "syntax"),
        ('\ufeff{"id":1}', "syntax"),
        ('{"id":1', "truncated"),
        ('{"id":1,}', "syntax"),
        ("{'id':1}", "syntax"),
        ('{"id":1,"op":"time","args":{}} {}', "syntax"),
        ('{"id":1,"op":"time","args":{}}x', "syntax"),
        ('{"id":1,"id":2,"op":"time","args":{}}', "duplicate_key"),
        ('{"id":1,"op":"time","args":{"a":1,"a":1}}', "duplicate_key"),
        ('{"id":1,"op":"time","args":{"a":NaN}}', "number"),
        ('{"id":1,"op":"time","args":{"a":-Infinity}}', "number"),
        ('{"id":1,"op":"time","args":{"a":1e999}}', "number"),
        ('{"id":1,"op":"time","args":{"a":9007199254740993}}', "number"),
        ('{"id":1,"op":"time","args":{"a":' + "9" * 5000 + "}}", "number"),
        ('{"id":1,"op":"time","args":{"a":"\\ud800"}}', "text"),
        ('{"id":1,"op":"time","args":{"a":"\x01"}}', "syntax"),
        ('{"id":1,"op":"time","args":{"a":' + "[" * 31 + "]" * 31 + "}}", "too_deep"),
        ("{" * 100_000, "syntax"),
        ('{"a":' * 100_000, "too_deep"),
        ('{"a":[' + "0," * MAX_VALUES + "0]}", "too_big"),
    ],
)
def test_what_is_no_strict_json_is_a_fault(text: str, code: str) -> None:
    event = only(text.encode() + b"\n")

    assert isinstance(event, Fault)
    assert (event.id, event.code) == (None, code)


def test_a_line_that_is_no_utf_8_is_a_fault() -> None:
    assert codes(Frames().feed(b'{"id":1,"op":"\xff"}\n' + line(1))) == ["encoding", "time"]


def test_the_deepest_that_is_allowed_is_read() -> None:
    deepest: Any = 1
    for _ in range(30):
        deepest = [deepest]

    assert only(line(1, "time", {"a": deepest})) == Request(1, "time", {"a": deepest})


def padded(size: int) -> bytes:
    empty = len(line(1, "time", {"text": ""})) - 1
    return line(1, "time", {"text": "x" * (size - empty)})


def test_a_line_of_exactly_the_largest_size_is_read() -> None:
    assert codes(Frames().feed(padded(MAX_FRAME_BYTES))) == ["time"]


@pytest.mark.parametrize("piece", [1 << 14, 1 << 22])
@pytest.mark.case(72)
def test_case_72_one_byte_more_closes_and_nothing_after_it_counts(piece: int) -> None:
    frames, events = Frames(), []
    data = padded(MAX_FRAME_BYTES + 1) + line(2)
    for start in range(0, len(data), piece):
        events += frames.feed(data[start : start + piece])

    assert codes(events) == ["too_large"]
    assert isinstance(events[0], Closed)
    assert frames.closed
    assert frames.feed(line(3)) == []


@pytest.mark.case(72)
def test_case_72_a_line_without_an_end_is_held_up_to_its_limit_only() -> None:
    frames = Frames()

    assert frames.feed(b"x" * MAX_FRAME_BYTES) == []
    assert frames.partial
    assert codes(frames.feed(b"x")) == ["too_large"]
    assert frames.feed(b"x" * (64 << 20)) == []
    assert not frames.partial


def test_after_twenty_faults_the_channel_is_closed() -> None:
    events = Frames().feed(b"x\n" * 100 + line(1))

    assert codes(events) == ["syntax"] * MAX_FAULTS + ["too_many_faults"]
    assert isinstance(events[-1], Closed)


def test_faults_among_good_requests_count_too() -> None:
    frames = Frames()
    events = [event for n in range(1, 40) for event in frames.feed(line(n) + b"\n")]

    assert codes(events).count("syntax") == MAX_FAULTS
    assert codes(events)[-1] == "too_many_faults"


@pytest.mark.parametrize(
    "text",
    [
        '{"a":"' + "\\" * (MAX_FRAME_BYTES - 40),
        '{"a":"' + '\\"' * (MAX_FRAME_BYTES // 2 - 40) + '"}',
        '{"a":[' + "[],[" * (MAX_FRAME_BYTES // 4 - 40),
        '{"a":' + "9" * (MAX_FRAME_BYTES - 40) + "}",
        '{"a":0.' + "9" * (MAX_FRAME_BYTES - 40) + "x}",
        "{" + " " * (MAX_FRAME_BYTES - 40),
        '{"a":"' + "\\ud800" * (MAX_FRAME_BYTES // 6 - 40) + '"}',
        "{" + ",".join('"%s":NaN' % ("k" * 90) for _ in range(9000)) + "}",
    ],
)
def test_no_line_takes_long(text: str) -> None:
    began = process_time()
    Frames().feed(text.encode() + b"\n")

    assert process_time() - began < 1.0  # a bound against quadratic time, not a speed


@pytest.mark.parametrize("pieces", [1, 2, 7])
def test_a_request_knows_the_size_of_its_line(pieces: int) -> None:
    whole, frames = line(1, "time", {"a": "é\n"}), Frames()
    step = -(-len(whole) // pieces)
    parts = [whole[at : at + step] for at in range(0, len(whole), step)]

    (event,) = [event for part in parts for event in frames.feed(part)]

    assert isinstance(event, Request)
    assert event.size == len(whole)


def test_a_result_is_told_with_its_true_route() -> None:
    frame = reply(4, {"text": "naïve\n"}, "EMULATE", emulated=True, version=3)

    assert frame.count(b"\n") == 1
    assert json.loads(frame) == {
        "id": 4,
        "ok": True,
        "result": {"text": "naïve\n"},
        "route": "EMULATE",
        "emulated": True,
        "version": 3,
    }


def circle() -> list[Any]:
    endless: list[Any] = []
    endless.append(endless)
    return endless


@pytest.mark.parametrize(
    ("result", "code"),
    [
        ("x" * MAX_FRAME_BYTES, "too_large"),
        (b"bytes", "failed"),
        (float("nan"), "failed"),
        (object(), "failed"),
        (circle(), "failed"),
        ({(1, 2): 3}, "failed"),
    ],
)
def test_a_result_that_can_not_be_told_is_none(result: Any, code: str) -> None:
    with pytest.raises(Untold) as untold:
        reply(4, result, "HOST", emulated=False, version=1)

    assert untold.value.code == code


@given(st.text(alphabet=st.characters(), max_size=30))
def test_any_text_can_be_a_result(text: str) -> None:
    assert json.loads(reply(1, text, "HOST", emulated=False, version=1))["result"] == text


@pytest.mark.parametrize("character", ["x", "\n", "\x01", "é", "\U0001f40e", '"', "\udcff"])
@pytest.mark.parametrize("count", [0, 1, 150_000, 300_000, 600_000, 1 << 20])
def test_as_much_of_a_text_as_surely_fits_is_told(character: str, count: int) -> None:
    told = fitting(character * count)

    assert told == character * len(told)
    assert len(reply(2**53, told, "HOST", emulated=False, version=2**53)) <= MAX_FRAME_BYTES
    assert len(told) == count or len(told) > 50_000


def test_half_a_surrogate_pair_can_be_a_result() -> None:
    told = json.loads(reply(1, "a\udcff", "HOST", emulated=False, version=1))

    assert told["result"] == "a\udcff"


def test_an_error_carries_its_code_and_one_short_line() -> None:
    told = json.loads(error(None, "syntax", "a\nb\x1b[1m" + "c" * 999, version=2))

    assert (told["id"], told["ok"], told["version"]) == (None, False, 2)
    assert told["error"]["message"].isprintable()
    assert len(told["error"]["message"]) == 300


def test_the_table_is_told_whole() -> None:
    told = json.loads(push({"time": "HOST"}, 7))

    assert told == {"push": "routes", "routes": {"time": "HOST"}, "version": 7}
