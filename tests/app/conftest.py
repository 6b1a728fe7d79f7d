"""What the tests of the desk share: folders of their own, no server but those they start."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import keyring
import keyring.backends.null
import pytest

from lmboot import keychain
from lmboot.connections import servers, tokens
from tests.app.bureau import Bureau, at_work, places_in


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One cache for the session, so that one proof of the sandbox serves all."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def own_world(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Keep the user's folders, servers and keyring out of it."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
    monkeypatch.setattr(servers, "DEFAULT_PORTS", {})
    monkeypatch.setattr(tokens, "_session", {})
    monkeypatch.setattr(keychain, "_hung", threading.Event())
    before = keyring.get_keyring()
    keyring.set_keyring(keyring.backends.null.Keyring())  # type: ignore[no-untyped-call]
    yield
    keyring.set_keyring(before)


@pytest.fixture
async def bureau(tmp_path: Path, own_world: None) -> AsyncIterator[Bureau]:
    async with at_work(Bureau(places_in(tmp_path))) as bureau:
        yield bureau
