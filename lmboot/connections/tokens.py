"""Tokens for servers: from the environment or the system's keyring, never from a file of ours.

An environment's token goes only to the server that the user named; one that was merely found on
a port gets none. Where the system has no keyring, a token lives as long as this process.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Literal, TypeVar

from lmboot.connections.interface import Kind

if TYPE_CHECKING:
    from keyring.backend import KeyringBackend

SERVICE = "lmboot"
_KEYRING_SECONDS = 20.0  # time to type the password that unlocks it; a dead D-Bus never answers

Kept = Literal["keyring", "session"]
_T = TypeVar("_T")

_session: dict[str, str] = {}
_hung = threading.Event()  # once it did not answer, it is not asked again


def token_for(
    base: str,
    *,
    named: bool,
    kind: Kind | None = None,
    environ: Mapping[str, str] = os.environ,
) -> str | None:
    """Return the token for a server, None where there is none.

    `named` says that the user gave the address, by --server or the environment: only such a
    server gets LLM_API_KEY, or LM_API_TOKEN if it is LM Studio. Blocks while the keyring is asked.
    """
    if named:
        token = _from_environment(kind, environ)
        if token is not None:
            return token
    return _session.get(base) or _from_keyring(base)


def remember(base: str, token: str) -> Kept:
    """Keep a token for a server and say where: in the keyring, else in this process only."""
    token = token.strip()
    if _ask_keyring(lambda backend: _store(backend, base, token)):
        _session.pop(base, None)
        return "keyring"
    _session[base] = token
    return "session"


def keyring_name() -> str | None:
    """Return the name of the system's keyring, None where there is none that can be used."""
    return _ask_keyring(lambda backend: type(backend).__module__.rpartition(".")[2])


def _from_environment(kind: Kind | None, environ: Mapping[str, str]) -> str | None:
    names = ("LLM_API_KEY", "LM_API_TOKEN") if kind == "lmstudio" else ("LLM_API_KEY",)
    found = (environ.get(name, "").strip() for name in names)
    return next((token for token in found if token), None)


def _from_keyring(base: str) -> str | None:
    token = _ask_keyring(lambda backend: backend.get_password(SERVICE, base))
    return token.strip() or None if isinstance(token, str) else None


def _store(backend: KeyringBackend, base: str, token: str) -> bool:
    backend.set_password(SERVICE, base, token)
    return backend.get_password(SERVICE, base) == token  # some accept everything and keep nothing


def _ask_keyring(question: Callable[[KeyringBackend], _T]) -> _T | None:
    """Return the keyring's answer; None where there is no keyring, or it fails or hangs."""
    if _hung.is_set():
        return None
    answers: list[_T] = []

    def ask() -> None:
        try:
            backend = _backend()
            if backend is not None:
                answers.append(question(backend))
        except Exception:  # noqa: BLE001, S110 - a back end is a stranger's plugin: anything comes
            pass

    # A thread of its own, since a call to a dead D-Bus can't be cancelled, only left behind.
    thread = threading.Thread(target=ask, name="keyring", daemon=True)
    thread.start()
    thread.join(_KEYRING_SECONDS)
    if thread.is_alive():
        _hung.set()
    return answers[0] if answers else None


def _backend() -> KeyringBackend | None:
    import keyring  # slow: it looks through every installed package
    from keyring.backends import fail, null

    backend = keyring.get_keyring()
    return None if isinstance(backend, (fail.Keyring, null.Keyring)) else backend
