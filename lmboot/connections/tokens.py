"""Tokens for servers: from the environment or the system's keyring, never from a file of ours.

An environment's token goes only to the server that the user named; one that was merely found on
a port gets none. Where the system has no keyring, a token lives as long as this process.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Literal

from lmboot.connections.interface import Kind
from lmboot.keychain import SystemKeychain

Kept = Literal["keyring", "session"]

_session: dict[str, str] = {}
_keychain = SystemKeychain()


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
    if _keychain.keep(base, token):
        _session.pop(base, None)
        return "keyring"
    _session[base] = token
    return "session"


def _from_environment(kind: Kind | None, environ: Mapping[str, str]) -> str | None:
    names = ("LLM_API_KEY", "LM_API_TOKEN") if kind == "lmstudio" else ("LLM_API_KEY",)
    found = (environ.get(name, "").strip() for name in names)
    return next((token for token in found if token), None)


def _from_keyring(base: str) -> str | None:
    token = _keychain.recall(base)
    return token.strip() or None if token else None
