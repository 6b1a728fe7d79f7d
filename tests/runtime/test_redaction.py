"""What of a guest's arguments is shown in the audit log, and what never is."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmboot.runtime.redaction import GONE, MOST_BYTES, one_line, preview, redacted

NAMES = (
    "token password Authorization api_key apiKey API-KEY x-api-key secret client_secret cookie"
    " auth Set-Cookie passphrase access_token pin pwd private_key session_id credentials bearer"
)
SECRET = "kT9vQ2xLm4Zr8WbN6pYs3HdF7cJg5AeU"


@pytest.mark.parametrize("name", NAMES.split())
@pytest.mark.parametrize("value", ["x", 1234, ["a", "b"], {"deep": "x"}, None, True])
@pytest.mark.case(127)
def test_nothing_under_a_secrets_name_is_shown(name: str, value: object) -> None:
    assert preview({name: value, "path": "a"}) == {name: GONE, "path": "a"}
    assert preview({"headers": [{name: value}]}) == {"headers": [{name: GONE}]}


@pytest.mark.parametrize("name", ["max_tokens", "author", "authors", "path", "url", "passage"])
def test_names_that_only_look_like_a_secrets_are_shown(name: str) -> None:
    assert preview({name: 12}) == {name: 12}


@pytest.mark.parametrize("name", ["body", "text", "content", "data", "prompt", "messages"])
def test_of_a_body_only_the_size_is_shown(name: str) -> None:
    assert preview({name: "hello"}) == {name: "[5 characters]"}
    assert preview({name: b"hello"}) == {name: "[5 bytes]"}
    assert preview({name: [{"role": "user"}]}) == {name: "[1 items]"}


@pytest.mark.parametrize(
    "text",
    [
        f"Bearer {SECRET}",
        "bearer abc",
        "Authorization: Basic dTpw",
        "Cookie: a=b; c=secretish",
        "https://user:hunter2@example.org/",
        "https://example.org/?token=hunter2&x=1",
        "password=hunter2",
        '{"password": "hunter2"}',
        "sk-live-abcdefghijklm",
        "ghp_abcdefghijklmnop",
        "eyJhbGciOiJIUzI1.eyJzdWIiOiIxMjM0.abc",
        "0123456789abcdef0123456789abcdef",
        f"see {SECRET}+/{SECRET}==",
    ],
)
@pytest.mark.case(127)
def test_what_looks_like_a_secret_is_left_out_of_a_text(text: str) -> None:
    shown = redacted(text)

    assert GONE in shown
    for secret in ("hunter2", "secretish", "dTpw", " abc", SECRET, "abcdefghijklm", "0123456789"):
        assert secret not in shown


@pytest.mark.parametrize(
    "text",
    [
        "https://example.org/docs/index.html?page=12",
        "documents/projects/reports/the-annual-summary-of-the-year-2026.txt",
        "notes/übersicht.txt",
        "a" * 60,
        "authors: Ada",
    ],
)
def test_words_and_paths_are_shown(text: str) -> None:
    assert redacted(text) == text


def test_a_header_as_a_pair_is_left_out() -> None:
    shown = preview({"headers": [["Accept", "text/html"], ["Authorization", "Basic dTpw"]]})

    assert shown == {"headers": [["Accept", "text/html"], ["Authorization", GONE]]}


@given(st.integers(0, 5000), st.integers(0, 5000))
def test_a_secret_is_left_out_wherever_a_long_text_is_cut(before: int, after: int) -> None:
    shown = one_line("word " * (before // 5) + "." * (before % 5) + SECRET + " word" * after)

    assert not any(SECRET[at : at + 8] in shown for at in range(len(SECRET) - 8))


@given(st.integers(33, 9000))
def test_of_a_secret_that_is_longer_than_what_is_looked_at_nothing_is_shown(length: int) -> None:
    secret = (SECRET * (length // len(SECRET) + 1))[:length]

    assert SECRET[:8] not in json.dumps(preview({"url": f"see {secret}"}))


@given(st.text(st.characters(), max_size=9000))
def test_every_text_becomes_one_short_line_that_can_be_seen(text: str) -> None:
    shown = one_line(text)

    assert len(shown) < 300
    assert shown.isprintable() or not set(shown) & set("\r\n\t\x00\x1b\x7f\x9b\u2028\u2029\u202e")


ANYTHING: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=30) | st.dictionaries(st.text(), inner, max_size=30),
    max_leaves=200,
)


@given(ANYTHING)
def test_a_preview_is_json_of_bounded_size(arguments: object) -> None:
    shown = json.dumps(preview(arguments), allow_nan=False, separators=(",", ":"))

    assert len(shown) <= MOST_BYTES
    assert json.loads(shown) == preview(arguments)


@given(ANYTHING, st.sampled_from(["token", "body"]))
def test_no_depth_hides_a_secret(around: object, name: str) -> None:
    shown = json.dumps(preview([{"a": [around, {name: "hunter2"}]}, {name: {"x": "hunter2"}}]))

    assert "hunter2" not in shown


def test_a_text_of_many_megabytes_is_looked_at_only_at_its_beginning() -> None:
    assert one_line("A1" * 10_000_000).endswith("(20000000 characters)")
