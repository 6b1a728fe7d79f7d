"""What of a guest's arguments is shown in the audit log, and what never is."""

from __future__ import annotations

import json
from base64 import urlsafe_b64encode as b64
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmboot.runtime.redaction import MOST_BYTES, one_line, preview
from lmboot.runtime.scrubbing import GONE, scrubbed, scrubbed_argv, scrubbed_sql

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
    shown = scrubbed(text)

    assert GONE in shown
    for secret in ("hunter2", "secretish", "dTpw", " abc", SECRET, "abcdefghijklm", "0123456789"):
        assert secret not in shown


@pytest.mark.parametrize(
    "text",
    [
        "https://example.org/docs/index.html",
        "documents/projects/reports/the-annual-summary-of-the-year-2026.txt",
        "notes/übersicht.txt",
        "a" * 60,
        "authors: Ada",
    ],
)
def test_words_and_paths_are_shown(text: str) -> None:
    assert scrubbed(text) == text


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


# ---------------------------------------------------------------- the places of secrets


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("http://x.org/?pwd=hunter2&page=2", "http://x.org/?pwd=[redacted]&page=[redacted]"),
        ("http://x.org/?api%5Fkey=hunter2#top", "http://x.org/?api%5Fkey=[redacted]"),
        ("http://x.org/?token%3Dhunter2", "http://x.org/?[redacted]"),
        ("http://x.org/?hunter2;a=b=hunter2", "http://x.org/?[redacted]&a=[redacted]"),
        ("http://bob:hunter2@x.org:8080/a", "http://[redacted]@x.org:8080/a"),
        ("http://bob:hun/ter2@x.org/a", "http://[redacted]@x.org/a"),
        ("http://bob:hun?te#r2@x.org/a", "http://[redacted]@x.org/a"),
        ("http://bob:1/hunter2@x.org/a", "http://[redacted]@x.org/a"),
        ("//bob:hunter2@x.org/a", "//[redacted]@x.org/a"),
        ("https://medium.com/@ada/notes-1", "https://medium.com/@ada/notes-1"),
        ("https://x.org/bot12:AAExyz-hunter2/send", "https://x.org/[redacted]/send"),
        ("https://x.org/bot12%3AAAExyz-hunter2/send", "https://x.org/[redacted]/send"),
        ("https://x.org/bot12:hunterhunter/send", "https://x.org/[redacted]/send"),
        ("https://x.org/d/0123456789abcdef0123", "https://x.org/d/[redacted]"),
        ("https://x.org/123e4567-e89b-12d3-a456-426614174000", "https://x.org/[redacted]"),
        ("https://x.org/hooks/T0/B0/aB3dE5gH7jK9mN1pQ", "https://x.org/hooks/T0/B0/[redacted]"),
        ("https://x.org/%61B3dE5gH7jK9mN1pQ", "https://x.org/[redacted]"),
        ("https://x.org/%2561B3dE5gH7jK9mN1pQ", "https://x.org/[redacted]"),
        ("https://x.org/AKIAABCDEFGHIJKLMNOP/a", "https://x.org/[redacted]/a"),
        ("data:text/plain;base64,aHVudGVyMg==", "data:[redacted]"),
        ("https://docs.python.org/3.11/whatsnew/3.11.html",) * 2,
        ("https://x.org/2026/11/the-annual-summary-of-everything.html",) * 2,
        ("https://x.org/wiki/Internationalization_and_localization",) * 2,
        ("http://[2606:4700::1]:8080/",) * 2,
    ],
)  # fmt: skip
def test_of_an_address_stays_where_it_leads_and_no_secret(url: str, shown: str) -> None:
    assert preview({"url": url}) == {"url": shown}
    if "//bob" not in url:
        assert scrubbed(f"see {url}") == f"see {shown}" or url.startswith("data:")


@pytest.mark.parametrize(
    ("sql", "shown"),
    [
        ("select a from t where n = 5", "select a from t where n = 5"),
        ("insert into t values('it''s', \"hunter2\")", "insert into t values('[5]', \"[7]\")"),
        ("insert into t values(x'68756e746572', 4111111111111111)",
         "insert into t values('[12]', [number])"),
        ("select 'hunter2", "select '[7]'"),
        ("select 1 -- hunter2\n, 2", "select 1 /*…*/\n, 2"),
        ("select /* it's hunter2", "select /*…*/"),
        ("select [it's], `it's`, 'hunter2'", "select [it's], `it's`, '[7]'"),
        ("update u set password='hunter2', n=1", f"update u set password={GONE}, n=1"),
    ],
)  # fmt: skip
def test_of_sql_stays_what_is_done_and_the_size_of_its_texts(sql: str, shown: str) -> None:
    assert scrubbed_sql(sql) == shown
    assert preview({"sql": sql, "parameters": ["hunter2"]}) == {
        "sql": shown.replace("\n", "\\n"),
        "parameters": "[1 items]",
    }


@pytest.mark.parametrize(
    ("argv", "shown"),
    [
        ("mysql --password hunter2 db", f"mysql --password {GONE} db"),
        ("mysql --password=hunter2 db", f"mysql --password={GONE} db"),
        ("/usr/bin/mysql -phunter2 -u bob db", f"/usr/bin/mysql -p{GONE} -u bob db"),
        ("sshpass -p hunter2 ls", f"sshpass -p {GONE} ls"),
        ("mkdir -p a/b", "mkdir -p a/b"),
        ("ssh -p 22 host", "ssh -p 22 host"),
        ("curl -u bob:hunter2 x", f"curl -u {GONE} x"),
        ("curl -ubob:hunter2 x", f"curl -u{GONE} x"),
        ("curl -su bob:hunter2 x", f"curl -su {GONE} x"),
        ("curl --user=bob:hunter2 x", f"curl --user={GONE} x"),
        ("curl -d hunter2 x", "curl -d [7 characters] x"),
        ("smbclient -U bob%hunter2 x", f"smbclient -U {GONE} x"),
        ("env PGPASSWORD=hunter2 psql", f"env PGPASSWORD={GONE} psql"),
        ("openssl enc -passin pass:hunter2", f"openssl enc -passin {GONE}"),
        ("openssl enc -k hunter2", f"openssl enc -k {GONE}"),
        ("keytool -storepass hunter2 -list", f"keytool -storepass {GONE} -list"),
        ("pdftotext -upw hunter2 a.pdf", f"pdftotext -upw {GONE} a.pdf"),
        ("pdftk a.pdf input_pw hunter2", f"pdftk a.pdf input_pw {GONE}"),
        ("xfreerdp /u:bob /p:hunter2", f"xfreerdp /u:bob /p:{GONE}"),
        ("gpg --passphrase hunter2 --batch", f"gpg --passphrase {GONE} --batch"),
        ("sort -k 2 -r a.txt", "sort -k 2 -r a.txt"),
        ("curl http://bob:hunter2@x.org/?a=hunter2", f"curl http://{GONE}@x.org/?a={GONE}"),
    ],
)  # fmt: skip
def test_of_a_command_line_stays_what_is_run(argv: str, shown: str) -> None:
    assert scrubbed_argv(argv.split()) == shown.split(" ") or "characters" in shown
    assert " ".join(preview({"argv": argv.split()})["argv"]) == shown


@pytest.mark.parametrize(
    ("argv", "shown"),
    [
        (["curl", "-H", "Authorization: Bearer hunter2"], ["curl", "-H", f"Authorization:{GONE}"]),
        (["curl", "-H", "X-Mine: hunter2 x"], ["curl", "-H", f"X-Mine:{GONE}"]),
        (["curl", "-HX-Mine: hunter2 x"], ["curl", f"-HX-Mine:{GONE}"]),
        (["sh", "-c", "login hunter2 && ls"], ["sh", "-c", "[19 characters]"]),
        (["a", "b" * 5000], ["a", "[5000 characters]"]),
        (["a", "--token", "--token", "x"], ["a", "--token", GONE, "x"]),
    ],
)  # fmt: skip
def test_a_word_with_spaces_is_one_word(argv: list[str], shown: list[str]) -> None:
    assert preview({"argv": argv}) == {"argv": shown}


def test_of_files_names_and_sizes_are_shown() -> None:
    files = {f"f{n}": "x" * n for n in range(20)}

    assert preview({"files": {"a.txt": "hunter2", "b": 5}}) == {
        "files": {"a.txt": "[7 characters]", "b": "[int]"}
    }
    assert preview({"files": files})["files"]["…"] == "20 in all"
    assert preview({"files": ["hunter2"]}) == {"files": "[1 items]"}


SECRETS = st.text(st.characters(min_codepoint=33, max_codepoint=0x2FF), min_size=8, max_size=40)
HEX = st.text("0123456789abcdef", min_size=16, max_size=64)
TOKENS = st.binary(min_size=16, max_size=48).map(lambda data: b64(data).decode().rstrip("="))
# What a careless pattern would take the square of its length for.
LONG = ["-" * 4096, "--password " * 370, "token" * 800, "?a" * 2000, "x'" * 2000, "/*" * 2000]


@pytest.mark.parametrize("name", ["argv", "note", "sql", "url"])
@pytest.mark.parametrize("text", LONG, ids=lambda text: text[:4])
def test_texts_that_are_made_to_take_long_are_shown_in_part(name: str, text: str) -> None:
    shown = preview({name: [text] * 16 if name == "argv" else text})

    assert len(json.dumps(shown)) <= MOST_BYTES


PLACES: dict[str, tuple[st.SearchStrategy[str], Callable[[str], dict[str, Any]]]] = {
    "a file": (SECRETS, lambda x: {"files": {"a": x}}),
    "parameters": (SECRETS, lambda x: {"parameters": [x, {"deep": x}]}),
    "named parameters": (SECRETS, lambda x: {"parameters": {"n": x}}),
    "a text in SQL": (
        SECRETS,
        lambda x: {"sql": f"select '{x.replace(chr(39), chr(39) * 2)}', 1"},
    ),
    "a quoted text in SQL": (
        SECRETS,
        lambda x: {"sql": f'select "{x.replace(chr(34), chr(34) * 2)}", 1'},
    ),
    "a blob in SQL": (HEX, lambda x: {"sql": f"select x'{x}'"}),
    "a comment in SQL": (SECRETS, lambda x: {"sql": f"select 1 -- {x}"}),
    "behind an option": (SECRETS, lambda x: {"argv": ["tool", "--password", x, "end"]}),
    "in an option": (SECRETS, lambda x: {"argv": ["tool", f"--api-key={x}", "end"]}),
    "a user": (SECRETS, lambda x: {"argv": ["curl", "-u", f"bob:{x}"]}),
    "attached": (SECRETS, lambda x: {"argv": ["mysql", f"-p{x}"]}),
    "a header": (SECRETS, lambda x: {"argv": ["curl", "-H", f"X-Any: {x}"]}),
    "a variable": (SECRETS, lambda x: {"argv": ["env", f"MY_SECRET={x}", "ls"]}),
    "a script": (SECRETS, lambda x: {"argv": ["sh", "-c", f"login {x}"]}),
    "a query": (SECRETS, lambda x: {"url": f"https://x.org/a?q={quote(x)}&page=2"}),
    "a query as it is": (
        SECRETS.filter(lambda x: not set(x) & set("&;#@")),
        lambda x: {"url": f"https://x.org/a?q={x}&page=2"},
    ),
    "an encoded name": (SECRETS, lambda x: {"url": f"https://x.org/a?api%5Fkey={quote(x)}"}),
    "a fragment": (SECRETS, lambda x: {"url": f"https://x.org/a#{quote(x)}"}),
    "a password": (SECRETS, lambda x: {"url": f"https://bob:{x}@x.org/a"}),
    "an encoded password": (SECRETS, lambda x: {"url": f"https://bob:{quote(x)}@x.org/a"}),
    "a hex part": (HEX, lambda x: {"url": f"https://x.org/hooks/{x}/send"}),
    "a token part": (
        TOKENS.filter(lambda x: any(map(str.isdigit, x)) and x.lower() != x != x.upper()),
        lambda x: {"url": f"https://x.org/hooks/{x}/send"},
    ),
    "a bot": (TOKENS, lambda x: {"url": f"https://x.org/bot123456:{x}/send"}),
    "a pair": (SECRETS, lambda x: {"headers": [["X-Api-Key", x]]}),
}


def said(shown: object) -> str:
    """Return all texts of a preview, one after the other."""
    if isinstance(shown, dict):
        return "\n".join(f"{name}\n{said(value)}" for name, value in shown.items())
    return "\n".join(map(said, shown)) if isinstance(shown, list) else str(shown)


@pytest.mark.parametrize("place", sorted(PLACES))
@given(data=st.data())
def test_a_secret_at_its_place_is_never_shown(place: str, data: st.DataObject) -> None:
    """Not a part of it either, as it is or encoded."""
    secrets, put = PLACES[place]
    secret = data.draw(secrets)
    around = said(preview(put("Q" * 20))) + said(preview(put("Q9" * 20)))

    shown = said(preview(put(secret)))

    for form in (secret, quote(secret)):
        parts = {form[at : at + 6] for at in range(len(form) - 5)}
        assert not [part for part in parts if part in shown and part not in around]
