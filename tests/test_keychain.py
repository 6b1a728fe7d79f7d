"""The system's keyring as lmboot sees it: one that works, and every way in which one does not."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import keyring
import keyring.backend
import keyring.backends.fail
import keyring.errors
import pytest

from lmboot import keychain
from lmboot.keychain import SystemKeychain


class InMemory(keyring.backend.KeyringBackend):
    """A keyring in memory; removing what is not there fails, as everywhere."""

    priority = 1

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.kept: dict[tuple[str, str], str] = {}

    def get_password(self, service: str, username: str) -> str | None:
        return self.kept.get((service, username))

    def set_password(self, service: str, username: str, password: str) -> None:
        self.kept[service, username] = password

    def delete_password(self, service: str, username: str) -> None:
        if not self.kept.pop((service, username), None):
            raise keyring.errors.PasswordDeleteError


@pytest.fixture(autouse=True)
def backend(monkeypatch: pytest.MonkeyPatch) -> Iterator[InMemory]:
    monkeypatch.setattr(keychain, "_hung", threading.Event())
    before = keyring.get_keyring()
    ours = InMemory()
    keyring.set_keyring(ours)
    yield ours
    keyring.set_keyring(before)


def test_what_is_kept_under_the_service_lmboot_is_recalled_until_it_is_forgotten(
    backend: InMemory,
) -> None:
    chain = SystemKeychain()

    assert chain.keep("audit-key", "00ff")
    assert backend.kept == {("lmboot", "audit-key"): "00ff"}
    assert chain.recall("audit-key") == "00ff"
    chain.forget("audit-key")
    assert chain.recall("audit-key") is None


def test_what_was_never_kept_can_be_forgotten() -> None:
    SystemKeychain().forget("audit-key")


def test_without_a_keyring_nothing_is_kept() -> None:
    keyring.set_keyring(keyring.backends.fail.Keyring())  # type: ignore[no-untyped-call]
    chain = SystemKeychain()

    assert not chain.keep("audit-key", "00ff")
    assert chain.recall("audit-key") is None
