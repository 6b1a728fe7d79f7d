"""The system's keyring, asked with patience that ends; a failing one is as none.

Secrets stand there under the service `lmboot`, each by a name.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol, TypeVar

if TYPE_CHECKING:
    from keyring.backend import KeyringBackend

SERVICE = "lmboot"
_SECONDS = 20.0  # time to type the password that unlocks it; a dead D-Bus never answers

_T = TypeVar("_T")

_hung = threading.Event()  # once it did not answer, it is not asked again


class Keychain(Protocol):
    """Where secrets are kept by name; every method may block for as long as a keyring does."""

    def recall(self, name: str) -> str | None:
        """Return a secret, None where it was never kept or can't be had."""

    def keep(self, name: str, secret: str) -> bool:
        """Keep a secret; say whether it is really there now."""

    def forget(self, name: str) -> None:
        """Remove a secret if it is there."""


class SystemKeychain:
    """The keyring of the system; without one, nothing is ever kept."""

    def recall(self, name: str) -> str | None:
        """Return a secret, None where it was never kept or can't be had."""
        secret = ask(lambda backend: backend.get_password(SERVICE, name))
        return secret if isinstance(secret, str) else None

    def keep(self, name: str, secret: str) -> bool:
        """Keep a secret; say whether it is really there now."""
        return bool(ask(lambda backend: _store(backend, name, secret)))

    def forget(self, name: str) -> None:
        """Remove a secret if it is there."""
        ask(lambda backend: backend.delete_password(SERVICE, name))


def warm() -> None:
    """Begin to load what a keyring needs, ahead of the first question; returns at once."""
    threading.Thread(target=_backend_or_none, name="keyring", daemon=True).start()


def keyring_name() -> str | None:
    """Return the name of the system's keyring, None where there is none that can be used."""
    return ask(lambda backend: type(backend).__module__.rpartition(".")[2])


def ask(question: Callable[[KeyringBackend], _T]) -> _T | None:
    """Return the keyring's answer; None where there is no keyring, or it fails or hangs."""
    if _hung.is_set():
        return None
    answers: list[_T] = []

    def put() -> None:
        try:
            backend = _backend_or_none()
            if backend is not None:
                answers.append(question(backend))
        except Exception:  # noqa: BLE001, S110 - a back end is a stranger's plugin: anything comes
            pass

    # A thread of its own, since a call to a dead D-Bus can't be cancelled, only left behind.
    thread = threading.Thread(target=put, name="keyring", daemon=True)
    thread.start()
    thread.join(_SECONDS)
    if thread.is_alive():
        _hung.set()
    return answers[0] if answers else None


def _store(backend: KeyringBackend, name: str, secret: str) -> bool:
    backend.set_password(SERVICE, name, secret)
    # Some accept everything and keep nothing.
    return backend.get_password(SERVICE, name) == secret


def _backend_or_none() -> KeyringBackend | None:
    try:
        return _backend()
    except Exception:  # noqa: BLE001 - a back end is a stranger's plugin: anything comes
        return None


def _backend() -> KeyringBackend | None:
    import keyring  # slow: it looks through every installed package
    from keyring.backends import fail, null

    backend = keyring.get_keyring()
    return None if isinstance(backend, (fail.Keyring, null.Keyring)) else backend
