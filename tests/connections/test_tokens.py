"""Tokens: where they come from, whom they go to, and where they are never seen."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import keyring
import keyring.backend
import keyring.backends.fail
import keyring.backends.null
import keyring.errors
import pytest

from lmboot import keychain
from lmboot.connections import tokens
from lmboot.connections.tokens import remember, token_for
from lmboot.keychain import keyring_name

BASE = "http://127.0.0.1:1234"


class MemoryKeyring(keyring.backend.KeyringBackend):
    """A keyring in memory; `failing` is called before every answer."""

    priority = 1

    def __init__(self, failing: Callable[[], None] = lambda: None) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.kept: dict[tuple[str, str], str] = {}
        self._failing = failing

    def get_password(self, service: str, username: str) -> str | None:
        self._failing()
        return self.kept.get((service, username))

    def set_password(self, service: str, username: str, password: str) -> None:
        self._failing()
        self.kept[service, username] = password


@pytest.fixture(autouse=True)
def _fresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(tokens, "_session", {})
    monkeypatch.setattr(keychain, "_hung", threading.Event())
    before = keyring.get_keyring()
    keyring.set_keyring(MemoryKeyring())
    yield
    keyring.set_keyring(before)


def use(backend: keyring.backend.KeyringBackend) -> None:
    keyring.set_keyring(backend)


def test_the_environments_token_goes_to_the_server_that_was_named() -> None:
    assert token_for(BASE, named=True, environ={"LLM_API_KEY": " sk-1\n"}) == "sk-1"


@pytest.mark.parametrize("variable", ["LLM_API_KEY", "LM_API_TOKEN"])
def test_the_environments_token_goes_to_no_server_that_was_only_found(variable: str) -> None:
    assert token_for(BASE, named=False, kind="lmstudio", environ={variable: "sk-1"}) is None


def test_lm_studios_token_goes_to_lm_studio_only() -> None:
    environ = {"LM_API_TOKEN": "sk-lm-1"}

    assert token_for(BASE, named=True, kind="lmstudio", environ=environ) == "sk-lm-1"
    assert token_for(BASE, named=True, kind="vllm", environ=environ) is None
    assert token_for(BASE, named=True, environ=environ) is None


def test_the_general_variable_comes_first() -> None:
    environ = {"LM_API_TOKEN": "sk-lm-1", "LLM_API_KEY": "sk-1"}

    assert token_for(BASE, named=True, kind="lmstudio", environ=environ) == "sk-1"


def test_an_empty_variable_is_no_token() -> None:
    assert token_for(BASE, named=True, environ={"LLM_API_KEY": " "}) is None


def test_a_remembered_token_is_found_again_for_that_server_only() -> None:
    assert remember(BASE, " sk-1\n") == "keyring"
    assert token_for(BASE, named=False, environ={}) == "sk-1"
    assert token_for("http://127.0.0.1:9", named=False, environ={}) is None


@pytest.mark.parametrize("backend", [keyring.backends.fail.Keyring, keyring.backends.null.Keyring])
def test_without_a_keyring_a_token_lasts_for_this_session_and_that_is_told(
    backend: Callable[[], keyring.backend.KeyringBackend],
) -> None:
    use(backend())

    assert remember(BASE, "sk-1") == "session"
    assert token_for(BASE, named=False, environ={}) == "sk-1"
    assert keyring_name() is None


@pytest.mark.parametrize(
    "error",
    [
        keyring.errors.NoKeyringError("none"),
        keyring.errors.KeyringLocked("locked"),
        keyring.errors.PasswordSetError("no"),
        OSError("no bus"),
        RuntimeError("anything"),
    ],
)
def test_a_keyring_that_fails_is_as_none(error: Exception) -> None:
    def fail() -> None:
        raise error

    use(MemoryKeyring(fail))

    assert token_for(BASE, named=False, environ={}) is None
    assert remember(BASE, "sk-1") == "session"


def test_a_keyring_that_keeps_nothing_is_not_trusted() -> None:
    class Forgetful(MemoryKeyring):
        def set_password(self, service: str, username: str, password: str) -> None:
            pass

    use(Forgetful())

    assert remember(BASE, "sk-1") == "session"


def test_a_keyring_that_hangs_is_waited_for_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keychain, "_SECONDS", 0.01)
    asked: list[None] = []
    answer = threading.Event()

    def hang() -> None:
        asked.append(None)
        answer.wait()

    use(MemoryKeyring(hang))

    assert token_for(BASE, named=False, environ={}) is None
    assert token_for(BASE, named=False, environ={}) is None
    assert remember(BASE, "sk-1") == "session"
    assert len(asked) == 1
    answer.set()


def test_a_new_token_in_the_keyring_replaces_the_sessions() -> None:
    use(keyring.backends.fail.Keyring())  # type: ignore[no-untyped-call]
    remember(BASE, "sk-old")
    use(MemoryKeyring())

    assert remember(BASE, "sk-new") == "keyring"
    assert token_for(BASE, named=False, environ={}) == "sk-new"


def test_the_keyring_is_named_for_the_doctor() -> None:
    assert keyring_name() == "test_tokens"
