"""Addresses: what people write, what is made of it, what is refused."""

from __future__ import annotations

import socket

import httpx
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lmboot.connections.addresses import (
    host_of,
    is_local,
    is_loopback,
    named_server,
    normalise_base,
)
from lmboot.errors import UsageFault


@pytest.mark.parametrize(
    ("written", "base"),
    [
        ("http://127.0.0.1:1234", "http://127.0.0.1:1234"),
        ("http://127.0.0.1:1234/", "http://127.0.0.1:1234"),
        ("http://127.0.0.1:1234/v1", "http://127.0.0.1:1234"),
        ("http://127.0.0.1:1234/v1/", "http://127.0.0.1:1234"),
        ("http://127.0.0.1:1234//v1//", "http://127.0.0.1:1234"),
        ("http://127.0.0.1:1234/v1/v1", "http://127.0.0.1:1234"),
        ("http://127.0.0.1:1234/v1/chat/completions", "http://127.0.0.1:1234"),
        ("http://127.0.0.1:1234/v1/models", "http://127.0.0.1:1234"),
        ("http://127.0.0.1:1234/api/v0", "http://127.0.0.1:1234"),
        ("127.0.0.1:1234", "http://127.0.0.1:1234"),
        ("localhost:1234", "http://localhost:1234"),
        ("  LAN-Box.local:1234 \n", "http://lan-box.local:1234"),
        ("https://models.example/proxy/v1", "https://models.example/proxy"),
        ("https://models.example/lm/one", "https://models.example/lm/one"),
        ("http://[::1]:1234/v1", "http://[::1]:1234"),
        ("[fe80::1]:1234", "http://[fe80::1]:1234"),
        ("http://bücher.example", "http://xn--bcher-kva.example"),
        ("HTTP://Box", "http://box"),
    ],
)
def test_an_address_is_brought_to_one_form(written: str, base: str) -> None:
    assert normalise_base(written) == base
    assert normalise_base(base) == base


@pytest.mark.parametrize(
    "written",
    [
        "",
        "http://",
        "ftp://box",
        "file:///etc/passwd",
        "http://user:secret@box",
        "http://box?x=1",
        "http://box/#x",
        "http://box:99999",
        "http://box:port",
        "http://bo x",
        "http://[::1",
        "http://[zzz]",
        "http://box/ä\u202e",
        "http://-box",
        "http://" + "a" * 300,
        "http://box/a b",
        "http://\x00",
    ],
)
def test_what_is_no_address_is_refused_with_a_hint(written: str) -> None:
    with pytest.raises(UsageFault) as caught:
        normalise_base(written)

    assert caught.value.hint
    assert "secret" not in str(caught.value)


@settings(deadline=None)
@given(st.text(max_size=40) | st.from_regex(r"(https?://)?[^/]{1,20}(:[0-9]{1,6})?(/.*)?"))
@example("http://a..b")
@example("http://[fe80::1%25eth0]:1")
@example("http://" + "a" * 64)
@example("http://a:0")
@example("http://x/%zz")
def test_any_text_is_refused_or_becomes_an_address_that_the_client_takes(written: str) -> None:
    try:
        base = normalise_base(written)
    except UsageFault:
        return
    assert normalise_base(base) == base
    assert httpx.URL(base + "/v1/models").host
    host_of(base).encode("idna")


def test_the_option_takes_precedence_over_the_environment() -> None:
    environ = {"LMSTUDIO_BASE_URL": "b:1", "LLM_BASE_URL": "c:1"}

    assert named_server("a:1/v1", environ) == "http://a:1"


def test_lm_studios_variable_takes_precedence_over_the_general_one() -> None:
    environ = {"LMSTUDIO_BASE_URL": "b:1", "LLM_BASE_URL": "c:1"}

    assert named_server(None, environ) == "http://b:1"


def test_an_empty_variable_names_nothing() -> None:
    environ = {"LMSTUDIO_BASE_URL": " ", "LLM_BASE_URL": "c:1"}

    assert named_server(None, environ) == "http://c:1"
    assert named_server("", {}) is None


def test_a_bad_variable_is_named_in_the_error() -> None:
    with pytest.raises(UsageFault, match="LLM_BASE_URL"):
        named_server(None, {"LLM_BASE_URL": "ftp://x"})


@pytest.mark.parametrize(
    "base", ["http://127.0.0.1:1", "http://127.9.9.9", "http://[::1]:1", "http://localhost:1",
             "http://a.localhost", "http://0.0.0.0:1"]
)  # fmt: skip
def test_loopback_is_this_machine(base: str) -> None:
    assert is_loopback(base)
    assert is_local(base)


@pytest.mark.parametrize(
    "base", ["http://203.0.113.9:1234", "http://models.example", "http://x.y"]
)
def test_another_machine_is_not_this_one(base: str) -> None:
    assert not is_local(base)


def test_this_machines_own_name_is_this_machine() -> None:
    assert is_local(f"http://{socket.gethostname().lower()}:1234")
