"""What the attacks share: a cache of their own, every back end, and nothing left behind."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

import pytest

from lmboot.errors import SandboxFault
from lmboot.runtime.posture import choose
from tests import portable
from tests.attacks.cases import FULL
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
def _clean(own_cache: Path, request: pytest.FixtureRequest) -> Iterator[None]:
    """See that nothing is left behind by a test that starts something."""
    if request.node.get_closest_marker("sandbox") is None:
        yield
        return
    with nothing_left():
        yield


@pytest.fixture(params=(guests.INSTEAD,) if guests.INSTEAD else FULL)
def sandbox(
    own_cache: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> str:
    """Run an attack in every back end that takes its program; one not usable here is skipped.

    `--require=sandbox` turns that into a failure. LMBOOT_TEST_SANDBOX names one to try instead. A
    program that the portable sandbox takes too is given `tests.attacks.probes.EVERYWHERE`.
    """
    name = str(request.param)
    if name == "wasm":
        portable.lend(own_cache)
    if why_not := unusable(name):
        pytest.skip(f"{name}: {why_not}")
    monkeypatch.setattr(guests, "SANDBOX", name)
    return name


@cache
def unusable(name: str) -> str:
    """Return why a back end can't be used on this machine; nothing where it can."""
    with ThreadPoolExecutor(1) as elsewhere:  # this thread's loop is the tests'
        try:
            elsewhere.submit(asyncio.run, choose(name, no_border=False)).result()
        except SandboxFault as fault:
            return str(fault)
    return ""
