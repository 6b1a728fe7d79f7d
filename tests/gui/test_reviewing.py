"""What a person reads before agreeing: all of it, and nothing that could be taken for less."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmboot.bootstrap.judge import judge
from lmboot.bootstrap.review import Review, warnings_about
from lmboot.gui.messages import ConsentWanted
from lmboot.gui.reviewing import shown_review
from lmboot.gui.shown import unescape, visible
from lmboot.runtime.launcher import IN_WORDS, in_words
from lmboot.runtime.policy import Limits
from tests.fakes import GOOD

ENFORCED = dict.fromkeys(IN_WORDS, "enforced")
ANSWER = object()


def review_of(payload: dict[str, Any] | None = None, **others: Any) -> Review:
    verdict = judge(json.dumps(payload or GOOD))
    assert verdict.payload is not None
    about = Review(
        payload=verdict.payload,
        verdict=verdict,
        model="tiny",
        sandbox="bubblewrap",
        command="python3 a.py",
        limits=Limits(memory_mb=256),
        routes=verdict.payload.routes,
        warnings=warnings_about(verdict.payload, verdict),
        properties=ENFORCED,
    )
    return replace(about, **others)


def shown(payload: dict[str, Any] | None = None, **others: Any) -> ConsentWanted:
    return shown_review(review_of(payload, **others), "the reply", ANSWER)


def program(*contents: str, **manifest: Any) -> dict[str, Any]:
    files = [{"path": f"{number}.py", "content": text} for number, text in enumerate(contents)]
    return {
        "manifest": {"name": "shell", **manifest},
        "files": files,
        "entrypoint": "python 0.py",
    }


# ---------------------------------------------------------------- facts


def test_the_facts_say_what_it_is_who_wrote_it_and_how_it_will_run() -> None:
    review = review_of(program("print(1)\n", version="1.2"))

    facts = dict(shown_review(review, "", ANSWER).facts)

    assert list(facts) == ["Program", "Written by", "Command", "Sandbox", "Limits", "SHA-256"]
    assert facts["Program"] == "shell 1.2"
    assert facts["Written by"] == "tiny"
    assert facts["Command"] == "python3 a.py"
    assert facts["Sandbox"] == "bubblewrap"
    assert facts["Limits"].startswith("memory 256 MB")
    assert facts["SHA-256"].replace(" ", "") == review.payload.sha256
    assert {len(part) for part in facts["SHA-256"].split(" ")} == {8}


def test_without_a_version_the_name_stands_alone() -> None:
    assert dict(shown().facts)["Program"] == "shell"


@pytest.mark.parametrize(("count", "words"), [(1, "1 file"), (2, "2 files"), (256, "256 files")])
def test_the_question_says_how_much_is_written_what_is_run_and_where(
    count: int, words: str
) -> None:
    wanted = shown(program(*[""] * count))

    assert wanted.question == f"Write {words} and run  python3 a.py  in bubblewrap?"
    assert wanted.summary == f"shell · {words}"
    assert len(wanted.files) == count


def test_the_reply_the_answers_way_back_and_an_earlier_agreement_are_handed_on() -> None:
    wanted = shown(agreed_before=True)

    assert (wanted.reply, wanted.agreed_before, wanted.sandbox) == (
        "the reply",
        True,
        "bubblewrap",
    )
    assert wanted.answer is ANSWER


def test_files_come_in_the_models_order_with_their_size_in_bytes_and_the_one_to_run() -> None:
    wanted = shown(program("é" * 1000, "x" * 120_000, ""))

    assert [(path, size) for path, size, _ in wanted.files] == [
        ("0.py", "2.0 kB"),
        ("1.py", "0.1 MB"),
        ("2.py", "0 B"),
    ]
    assert wanted.first == "0.py"


# ---------------------------------------------------------------- routes


def test_what_is_permitted_or_asked_for_is_named_and_the_rest_is_one_row() -> None:
    routes = {"open": "EMULATE", "fetch": "HOST", "spawn": "DENY", "logits": "EMULATE"}

    wanted = shown(program("", routes=routes))

    assert wanted.routes == [
        ("fs.open", "EMULATE"),
        ("fetch", "HOST"),
        ("spawn", "DENY"),
        ("logits", "EMULATE"),
        ("all others", "DENY"),
    ]


def test_where_nothing_is_permitted_that_is_one_row() -> None:
    wanted = shown(routes={"open": "DENY", "fetch": "DENY"})

    assert wanted.routes == [("everything", "DENY")]


def test_where_everything_is_permitted_nothing_is_left_over() -> None:
    wanted = shown(routes={"open": "EMULATE", "fetch": "HOST"})

    assert wanted.routes == [("open", "EMULATE"), ("fetch", "HOST")]


# ---------------------------------------------------------------- borders and warnings


def test_every_border_that_is_enforced_is_a_sentence_and_no_warning() -> None:
    wanted = shown()

    assert [border.casefold() for border in wanted.borders] == [
        words.casefold() for words in IN_WORDS.values()
    ]
    assert all(border[0].isupper() for border in wanted.borders)
    assert wanted.warnings == []


@pytest.mark.parametrize("key", IN_WORDS)
@pytest.mark.parametrize(
    ("level", "words"), [("partial", "only partly enforced"), ("absent", "not enforced")]
)
def test_what_is_not_enforced_is_a_warning_and_no_border(key: str, level: str, words: str) -> None:
    wanted = shown(properties={**ENFORCED, key: level})

    assert wanted.warnings == [f"{words} by bubblewrap: “{in_words(key, level)}”"]
    assert len(wanted.borders) == len(IN_WORDS) - 1


def test_what_is_not_known_to_be_enforced_is_not() -> None:
    wanted = shown(properties={}, sandbox="none")

    assert wanted.borders == []
    assert len(wanted.warnings) == len(IN_WORDS)


def test_what_is_worth_a_second_look_is_told() -> None:
    wanted = shown(
        program("import subprocess, numpy\neval('1')\n", "a\u202eb", routes={"fetch": "HOST"})
    )

    words = "\n".join(wanted.warnings)
    for expected in (
        "0.py starts programs (subprocess)",
        "0.py runs text as code (eval)",
        "numpy",
        "1.py has characters that a screen hides: 1 x U+202E",
        "fetch is asked for from the host",
    ):
        assert expected in words
    assert words.count("numpy") == 1


def test_what_was_mended_or_passed_over_in_the_reply_is_told() -> None:
    reply = json.dumps({**program("x = 1\n"), "extra": 1})[:-1] + ",}"
    verdict = judge(reply)
    assert verdict.payload is not None

    wanted = shown(verdict=verdict, payload=None)

    assert any("extra: lmboot does not know this key" in each for each in wanted.warnings)
    assert any(
        each.startswith("mended in the reply: trailing_comma at ") for each in wanted.warnings
    )


def test_of_very_many_notes_the_first_are_told() -> None:
    verdict = judge(json.dumps({**GOOD, **{f"key{number}": 1 for number in range(500)}}))

    assert len(shown(verdict=verdict).warnings) == 20


# ---------------------------------------------------------------- flags


HIDING = ("\0", "\x1b[31m", "\r", "\u202e", "\u200b", "\ufeff", "\u2028", "\U000e0041", "\ufe0f")


@pytest.mark.parametrize("text", [*HIDING, "\U000e0101", "⟦U+0041⟧", "␀"])
def test_a_line_of_which_something_is_written_out_is_flagged(text: str) -> None:
    wanted = shown(program(f"one\ntwo {text}\nthree\n{text}", "clean\n"))

    assert wanted.flags == {"0.py": [2, 4], "1.py": []}


@pytest.mark.parametrize("text", ["", "plain\n\ttabs\n", "é 漢字 🙂 ünï\n", "\n" * 10])
def test_a_line_that_is_shown_as_it_is_has_no_flag(text: str) -> None:
    assert shown(program(text)).flags == {"0.py": []}


# ---------------------------------------------------------------- hostile texts


def every_text(value: object) -> list[str]:
    """Return every text in what is shown, wherever it stands."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        return [text for pair in value.items() for text in every_text(pair)]
    if isinstance(value, list | tuple):
        return [text for each in value for text in every_text(each)]
    return []


@pytest.mark.parametrize("text", [*HIDING, "\ud800", "x" * 1_000_000])
def test_whatever_strangers_wrote_is_harmless_where_it_is_shown(text: str) -> None:
    harmless = text.encode("utf-8", "replace").decode()
    wanted = shown(
        program(harmless, version=harmless[:1000]),
        model=f"model {text}",
        command=f"python3 0.py '{text}'",
        warnings=(f"a warning {text}",),
    )

    for each in every_text(tuple(wanted)[:-2]):
        assert each == visible(each)
    for short in (wanted.name, wanted.summary, wanted.question):
        assert "\n" not in short
        assert len(short) < 500


@given(st.text(st.characters(codec="utf-8"), max_size=80))
def test_no_two_programs_look_the_same(content: str) -> None:
    ((path, _, text),) = shown(program(content)).files

    assert (unescape(path), unescape(text)) == ("0.py", content)
    flags = shown(program(content)).flags["0.py"]
    assert all(number <= content.count("\n") + 1 for number in flags)
    assert bool(flags) == (text != content)
