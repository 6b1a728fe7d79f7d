from __future__ import annotations

import json
from dataclasses import astuple
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmboot.bootstrap.progress import Progress, ThinkFilter

TWO: dict[str, Any] = {
    "manifest": {"name": "x", "routes": {"fs.list": "EMULATE"}, "files": [{"path": "no"}]},
    "files": [
        {"path": "a.py", "content": 'print("{\\"files\\": [")\n'},
        {"content": "é🙂\u2028}" * 3, "path": "lib/ü.py"},
    ],
    "entrypoint": "python a.py",
}
PLAIN = json.dumps(TWO)
REPLIES = {
    "plain": (PLAIN, 0),
    "indented": (json.dumps(TWO, indent=2, ensure_ascii=False), 0),
    "fenced": (f"Here:\n```json\n{PLAIN}\n```\n", 0),
    "thought": (f'<think>Say {{"files": [{{}}]}}?</think>\n{PLAIN}', 24),
    "closing tag only": (f"hm</think>{PLAIN}", 0),
    "tags inside": (PLAIN.replace("print", "<think>print</think>"), 0),
}


def fed(pieces: list[str]) -> Progress:
    progress = Progress()
    for piece in pieces:
        progress.feed(piece)
    return progress


def summary(progress: Progress) -> tuple[Any, ...]:
    files = [astuple(file) for file in progress.files]
    return files, progress.thinking, progress.closed, progress.characters


@pytest.mark.parametrize("name", REPLIES)
def test_every_reply_shows_its_two_files_and_its_end(name: str) -> None:
    reply, _ = REPLIES[name]

    progress = fed([reply])

    assert [file.path for file in progress.files] == ["a.py", "lib/ü.py"]
    assert progress.closed


@pytest.mark.parametrize("name", REPLIES)
def test_it_does_not_matter_where_a_reply_is_cut(name: str) -> None:
    reply, _ = REPLIES[name]
    whole = summary(fed([reply]))

    for cut in range(len(reply) + 1):
        assert summary(fed([reply[:cut], reply[cut:]])) == whole
    assert summary(fed(list(reply))) == whole


@given(st.sampled_from(sorted(REPLIES)), st.lists(st.integers(0, 400), max_size=20))
def test_it_does_not_matter_how_often_a_reply_is_cut(name: str, cuts: list[int]) -> None:
    reply, _ = REPLIES[name]
    edges = [0, *sorted(min(cut, len(reply)) for cut in cuts), len(reply)]

    pieces = [reply[start:end] for start, end in pairwise(edges)]

    assert summary(fed(pieces)) == summary(fed([reply]))


@given(st.text(alphabet='{}[]",:\\<think>/ a', max_size=80), st.integers(0, 80))
def test_no_text_breaks_it_and_no_cut_changes_it(text: str, cut: int) -> None:
    assert summary(fed([text[:cut], text[cut:]])) == summary(fed([text]))


def test_nothing_is_closed_before_the_last_brace() -> None:
    assert not fed([PLAIN[:-1]]).closed
    assert fed([PLAIN]).closed


@pytest.mark.parametrize("text", ["{}", "{ braces } in prose", '{"a": {"files": [{}]}}', ""])
def test_what_has_no_files_never_counts_as_closed(text: str) -> None:
    assert not fed([text]).closed


def test_a_file_is_there_before_its_path_is_known() -> None:
    progress = fed(['{"files": [{"content": "12345'])

    assert [astuple(file) for file in progress.files] == [("", 5)]


def test_thinking_is_counted_in_the_content_and_in_its_own_field() -> None:
    progress = Progress()
    progress.think("12345")
    progress.feed("<think>abc</think>")

    assert 5 + 3 <= progress.thinking <= 5 + len("<think>abc</think>")
    assert progress.characters == len("<think>abc</think>")


def test_a_key_without_an_end_takes_no_memory() -> None:
    progress = fed(['{"files": [{"'])
    for _ in range(100):
        progress.feed("x" * 10_000)

    assert sum(map(len, progress._string)) < 20_000


# ---------------------------------------------------------------- thinking in an answer of :ai

ANSWERS = {
    "Hello.": "Hello.",
    "": "",
    "  \n": "  \n",
    "<think>hm</think>\n\nHello.": "Hello.",
    " \n<think>hm</think>Hello <think>b</think>": "Hello <think>b</think>",
    "<thin>Hello": "<thin>Hello",
    "<": "<",
    "<think>never said": "",
    "<think></think>": "",
    "<think>a</thin</think>b": "b",
    "a <think>b</think>": "a <think>b</think>",
}


def shown(pieces: list[str]) -> str:
    thinking = ThinkFilter()
    return "".join([*(thinking.feed(piece) for piece in pieces), thinking.end()])


@pytest.mark.parametrize("answer", ANSWERS)
def test_thinking_is_no_part_of_what_is_shown_wherever_it_is_cut(answer: str) -> None:
    for cut in range(len(answer) + 1):
        assert shown([answer[:cut], answer[cut:]]) == ANSWERS[answer]
    assert shown(list(answer)) == ANSWERS[answer]


@given(st.text(alphabet="<think>/ \na", max_size=40), st.lists(st.integers(0, 40), max_size=5))
def test_no_answer_is_shown_differently_when_it_comes_in_pieces(
    answer: str, cuts: list[int]
) -> None:
    edges = [0, *sorted(min(cut, len(answer)) for cut in cuts), len(answer)]
    pieces = [answer[start:end] for start, end in pairwise(edges)]

    assert shown(pieces) == shown([answer])


def test_an_answer_is_shown_as_soon_as_it_is_none_of_thinking() -> None:
    thinking = ThinkFilter()

    assert [thinking.feed(piece) for piece in ("He", "llo")] == ["He", "llo"]
