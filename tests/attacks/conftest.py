"""What every test of the sandbox shares: a cache of its own, and nothing left behind."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.leaks import nothing_left
from tests.runtime import guests


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Keep the user's own cache out of it; one for the session, so that one proof serves all."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder))
        yield folder


@pytest.fixture(autouse=True)
def _clean(own_cache: Path) -> Iterator[None]:
    with nothing_left():
        yield


@pytest.fixture(params=["bubblewrap", "landlock"], autouse=True)
def sandbox(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Run every attack in each back end that may be chosen by itself."""
    monkeypatch.setattr(guests, "SANDBOX", request.param)
    return str(request.param)
