from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from lmboot.lines import MAX_PIECE, LineReader, Piece

SAMPLE = "one\n\nzwei ä\n日本\nhalf".encode()
WHOLE = [Piece("one"), Piece(""), Piece("zwei ä"), Piece("日本"), Piece("half", partial=True)]


def joined(pieces: list[Piece]) -> str:
    return "".join(piece.text + "\n" * (not piece.partial) for piece in pieces)


def test_lines_do_not_depend_on_where_the_bytes_were_cut() -> None:
    for first in range(len(SAMPLE) + 1):
        for second in range(first, len(SAMPLE) + 1):
            reader = LineReader()

            pieces = reader.feed(SAMPLE[:first]) + reader.feed(SAMPLE[first:second])
            pieces += reader.feed(SAMPLE[second:]) + reader.end()

            assert pieces == WHOLE


@given(st.lists(st.binary(max_size=20)), st.data())
def test_joining_the_pieces_gives_back_what_was_written(
    chunks: list[bytes], data: st.DataObject
) -> None:
    reader, pieces = LineReader(), []
    for chunk in chunks:
        pieces += reader.feed(chunk)
        if data.draw(st.booleans()):
            pieces += reader.flush()
    pieces += reader.end()

    assert joined(pieces) == b"".join(chunks).decode(errors="replace")


def test_a_lone_newline_after_a_half_line_is_an_empty_line() -> None:
    reader = LineReader()

    pieces = reader.feed(b"name? ") + reader.flush() + reader.feed(b"\nhi\n")

    assert pieces == [Piece("name? ", partial=True), Piece(""), Piece("hi")]


def test_a_line_that_is_too_long_comes_in_partial_pieces() -> None:
    reader = LineReader()

    pieces = reader.feed(b"x" * (2 * MAX_PIECE + 5) + b"\n")

    assert [(len(piece.text), piece.partial) for piece in pieces] == [
        (MAX_PIECE, True),
        (MAX_PIECE, True),
        (5, False),
    ]


def test_a_stream_without_newlines_is_read_in_linear_time_and_bounded_memory() -> None:
    reader, pieces = LineReader(), []
    for _ in range(4096):
        pieces += reader.feed(b"\xff" * 1024)

    assert sum(len(piece.text) for piece in pieces + reader.end()) == 4096 * 1024
