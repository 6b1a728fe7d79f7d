"""Which lines answer a question at the terminal, by a clock of the test's own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prompt_toolkit.buffer import Buffer
from prompt_toolkit.formatted_text import to_plain_text
from prompt_toolkit.utils import get_cwidth

from lmboot.cli.asking import ARMED_SECONDS, PROMPT, Asking, folded
from lmboot.runtime.asking import Answer, Question
from tests.runtime.persons import Clock

HOST = Question("fetch", "oak.example")
FOLDER = Question("fs.list", "notes", chooses_folder=True)


class Desk:
    """A prompt without a screen: what is typed goes into its buffer, drawing is asked for."""

    def __init__(self) -> None:
        self.clock, self.buffer = Clock(), Buffer()
        self.drawn = 0
        self.columns = 1000
        self.asking = Asking(self.buffer, self._draw, self.clock, lambda: self.columns)

    def _draw(self) -> None:
        self.drawn += 1

    @property
    def prompt(self) -> str:
        return to_plain_text(self.asking.prompt())

    def wait(self, seconds: float = ARMED_SECONDS) -> None:
        self.clock.now += seconds

    def type(self, line: str) -> str | None:
        self.buffer.text = line
        said = self.asking.take(self.buffer.text)
        self.buffer.reset()
        return said

    @asynccontextmanager
    async def question(self, *questions: Question) -> AsyncIterator[list[asyncio.Task[Answer]]]:
        tasks = [asyncio.create_task(self.asking.ask(each)) for each in questions]
        await asyncio.sleep(0)
        yield tasks
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert self.prompt == PROMPT


def test_without_a_question_every_line_is_a_line() -> None:
    desk = Desk()

    assert [desk.type(line) for line in ("once", "no", ":quit")] == [None] * 3
    assert desk.type("") == ""
    assert desk.prompt == PROMPT


@pytest.mark.parametrize(
    ("line", "scope"),
    [("once", "once"), ("WHILE ", "while"), ("always", "always"), ("no", "no"), ("n", "no")],
)
async def test_a_word_answers(line: str, scope: str) -> None:
    desk = Desk()
    async with desk.question(HOST) as (asked,):
        assert desk.prompt == f"{HOST.words}\n{PROMPT}"
        desk.wait()
        assert desk.prompt == f"{HOST.words}\nonce, while, always or no {PROMPT}"
        assert desk.type(line) == ""

        assert (await asked).scope == scope


@pytest.mark.parametrize("line", ["y", "yes", "ok", "once more", "o", "once /home"])
async def test_another_word_does_not_and_is_not_sent_to_the_runtime(line: str) -> None:
    desk = Desk()
    async with desk.question(HOST) as (asked,):
        assert desk.prompt
        desk.wait()

        assert "answer once, while" in (desk.type(line) or "")
        assert not asked.done()


@pytest.mark.parametrize("line", [":quit", ":rt once", ":grant fetch oak.example"])
async def test_a_command_is_a_command(line: str) -> None:
    desk = Desk()
    async with desk.question(HOST):
        assert desk.prompt
        desk.wait()

        assert desk.type(line) is None


async def test_a_line_that_was_begun_too_soon_is_meant_for_something_else() -> None:
    desk = Desk()
    desk.buffer.text = "on"
    async with desk.question(HOST) as (asked,):
        assert desk.prompt
        desk.wait()
        desk.buffer.text = "once"
        assert desk.asking.take("once") is None  # begun before the question
        desk.buffer.reset()
        assert not asked.done()


async def test_a_question_that_nobody_has_seen_yet_is_not_answered() -> None:
    desk = Desk()
    async with desk.question(HOST) as (asked,):
        desk.wait(60)
        assert desk.type("once") is None
        assert not asked.done()
        assert not desk.asking.refuse()


async def test_a_line_that_was_wiped_and_begun_anew_counts_from_then() -> None:
    desk = Desk()
    desk.buffer.text = "half a line"
    async with desk.question(HOST) as (asked,):
        assert desk.prompt
        desk.wait()
        desk.buffer.text = ""
        assert desk.type("once") == ""

        assert (await asked).scope == "once"


async def test_questions_come_one_after_the_other_and_each_is_armed_anew() -> None:
    desk = Desk()
    async with desk.question(HOST, FOLDER) as (first, second):
        assert "oak.example" in desk.prompt
        desk.wait()
        desk.type("no")
        assert (await first).scope == "no"
        assert "notes" in desk.prompt
        assert desk.type("no") is None  # too soon for this one
        desk.wait()
        assert "which folder" in (desk.type("once") or "")
        assert desk.type("once /home/person/my notes") == ""

        assert await second == Answer("once", "/home/person/my notes")


async def test_control_c_is_a_no() -> None:
    desk = Desk()
    async with desk.question(HOST) as (asked,):
        assert desk.prompt
        assert desk.asking.refuse()

        assert await asked == Answer("no")


async def test_what_a_runtime_names_can_not_draw_on_the_prompt() -> None:
    desk = Desk()
    async with desk.question(Question("fetch", "a\x1b[2J\u202e\nonce, while")):
        first, *others = desk.prompt.split("\n")

        assert "\x1b" not in desk.prompt
        assert "\u202e" not in desk.prompt
        assert others == [PROMPT]
        assert first.startswith("The runtime asks for fetch a")


@pytest.mark.parametrize("columns", [20, 40, 80])
@pytest.mark.parametrize("what", ["notes", "x" * 200, "\u4e2d" * 90])
async def test_all_that_is_agreed_to_stands_there_however_narrow_it_is(
    columns: int, what: str
) -> None:
    desk = Desk()
    desk.columns = columns
    question = Question("fs.list", what, chooses_folder=True)
    async with desk.question(question):
        *lines, last = desk.prompt.split("\n")

        assert max(map(get_cwidth, lines)) < columns
        assert "".join(question.words.split()) in "".join("".join(lines).split())
        assert "everything in the folder" in " ".join(lines)
        assert last == PROMPT


@given(st.text(), st.integers(2, 40))
def test_whatever_is_folded_stays_the_same_words(text: str, width: int) -> None:
    lines = folded(text, width).split("\n")

    assert "".join("".join(lines).split()) == "".join(text.split())
    assert all(get_cwidth(line) <= width for line in lines)
