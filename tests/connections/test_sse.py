"""The reader of server-sent events: equality, at every cut, and by property."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lmboot.connections.sse import ServerSentEvent, SseReader
from lmboot.errors import ServerRefused

ONE = ServerSentEvent("one")
TWO = ServerSentEvent("two")

STREAM = (
    '\ufeffdata: {"a": "Größe 🙂"}\r\n\r\n: ping\r\n\r\nevent: error\rdata:x\r\r'
    'data: one\ndata: two\n\nid: 7\nretry: 10\ndata\n\nerror: {"m": 1}\n\ndata: [DONE]'
).encode()
EVENTS = [
    ServerSentEvent('{"a": "Größe 🙂"}'),
    ServerSentEvent("x", "error"),
    ServerSentEvent("one\ntwo"),
    ServerSentEvent(""),
    ServerSentEvent('{"m": 1}', "error"),
    ServerSentEvent("[DONE]"),
]


def read(*chunks: bytes) -> list[ServerSentEvent]:
    reader = SseReader()
    return [event for chunk in chunks for event in reader.feed(chunk)] + reader.close()


def test_a_whole_stream_gives_its_events_in_order() -> None:
    assert read(STREAM) == EVENTS


@pytest.mark.parametrize("cut", range(len(STREAM) + 1))
def test_events_do_not_depend_on_where_the_bytes_are_cut(cut: int) -> None:
    assert read(STREAM[:cut], STREAM[cut:]) == EVENTS


def test_events_do_not_depend_on_bytes_coming_one_by_one() -> None:
    assert read(*(bytes([byte]) for byte in STREAM)) == EVENTS


@settings(deadline=None)
@given(st.lists(st.integers(0, len(STREAM)), max_size=12))
def test_events_do_not_depend_on_any_set_of_cuts(cuts: list[int]) -> None:
    places = [0, *sorted(cuts), len(STREAM)]
    chunks = [STREAM[a:b] for a, b in itertools.pairwise(places)]

    assert read(*chunks) == EVENTS


@settings(deadline=None)
@given(st.binary(max_size=300), st.integers(0, 300))
def test_any_bytes_at_all_are_read_the_same_way_whole_and_cut(data: bytes, cut: int) -> None:
    assert read(data) == read(data[:cut], data[cut:])


@pytest.mark.parametrize("ending", ["\n", "\r", "\r\n"])
def test_every_line_ending_ends_a_line(ending: str) -> None:
    data = f"data: one{ending}{ending}data: two{ending}{ending}".encode()

    assert read(data) == [ONE, TWO]


def test_an_event_is_given_as_soon_as_its_blank_line_is_there() -> None:
    assert SseReader().feed(b"data: one\r\n\r") == [ONE]


def test_only_one_space_after_the_colon_is_dropped() -> None:
    assert read(b"data:  x\n\n") == [ServerSentEvent(" x")]


def test_an_event_without_data_is_not_given() -> None:
    assert read(b"event: ping\n\ndata: one\n\n") == [ONE]


def test_broken_utf8_is_replaced_and_not_raised() -> None:
    assert read(b"data: \xff\n\n") == [ServerSentEvent("\ufffd")]


@pytest.mark.parametrize(
    "line", [b"data: " + b"x" * 100, b"data: xxxxx\n" * 20, b":" + b"x" * 100]
)
def test_an_event_over_the_ceiling_is_refused(line: bytes) -> None:
    reader = SseReader(max_event_bytes=64)

    def feed_in_sevens() -> None:
        for start in range(0, len(line), 7):
            reader.feed(line[start : start + 7])

    with pytest.raises(ServerRefused, match="64 bytes"):
        feed_in_sevens()


def test_pings_may_go_on_for_ever() -> None:
    reader = SseReader(max_event_bytes=64)

    for _ in range(1_000):
        assert reader.feed(b": still reading the prompt\n") == []

    assert reader.feed(b"data: one\n\n") == [ONE]


def test_a_long_event_in_tiny_chunks_arrives_whole() -> None:
    reader = SseReader()
    reader.feed(b"data: ")

    for _ in range(200_000):
        reader.feed(b"y")

    assert reader.feed(b"\n\n") == [ServerSentEvent("y" * 200_000)]
