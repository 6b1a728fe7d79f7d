from __future__ import annotations

import pytest

from lmboot.session import COMMANDS, HELP, Command, Conversation, Router


@pytest.mark.parametrize(
    ("line", "command"),
    [
        (":ai hello", Command("ai", "hello")),
        (":ai+ why?", Command("ai+", "why?")),
        (":rt  two spaces ", Command("rt", " two spaces ")),
        (":rt", Command("rt", "")),
        (":rt :quit", Command("rt", ":quit")),
        (":quit", Command("quit")),
        (":help", Command("help")),
        (":save  out ", Command("save", "out")),
        (":nonsense x", Command("unknown", ":nonsense")),
        (":", Command("unknown", ":")),
        ("bare", Command("rt", "bare")),
        ("", Command("rt", "")),
    ],
)
def test_a_line_means_what_its_first_word_says(line: str, command: Command) -> None:
    assert Router().read(line) == command


def test_a_bare_line_goes_to_the_pane_last_used() -> None:
    router = Router()

    verbs = [router.read(line).verb for line in ("a", ":ai x", "b", ":help", "c", ":rt y", "d")]

    assert verbs == ["rt", "ai", "ai", "help", "ai", "rt", "rt"]


def test_every_command_is_explained() -> None:
    explained = {line.split()[0] for line in HELP if line.startswith(":")}

    assert explained | {":help"} == set(COMMANDS)


def test_a_conversation_keeps_the_newest_turns_that_fit() -> None:
    conversation = Conversation()
    for number in range(5):
        conversation.add(f"question {number}", "x" * 300)

    assert conversation.fitting(10_000) == conversation.turns
    assert [question for question, _ in conversation.fitting(260)] == ["question 3", "question 4"]
    assert conversation.fitting(0) == []
