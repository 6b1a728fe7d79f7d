"""What every test of the program shares: folders of its own, and nothing left behind."""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.cli.program import ROOT, Bench
from tests.leaks import wait_until

PR_SET_CHILD_SUBREAPER = 36
_KEPT = ("PATH", "LANG", "TERM", "COVERAGE_PROCESS_START")


@pytest.fixture(autouse=True)
def _foster() -> Iterator[None]:
    """Be the parent of whatever loses its own during a test, so that nothing can hide."""
    _adopt(True)
    yield
    _adopt(False)
    with contextlib.suppress(ChildProcessError):  # there are no children at all
        while os.waitpid(-1, os.WNOHANG)[0]:
            continue


def _adopt(orphans: bool) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, int(orphans), 0, 0, 0)


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One cache for the session, so that one proof of the sandbox serves all."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def bench(tmp_path: Path, cache: Path) -> Bench:
    env = {name: os.environ[name] for name in _KEPT if name in os.environ}
    for name in ("config", "data", "state"):
        env[f"XDG_{name.upper()}_HOME"] = str(tmp_path / name)
    env |= {
        "XDG_CACHE_HOME": str(cache),
        "HOME": str(tmp_path / "home"),
        "PYTHONPATH": str(ROOT),
        "PYTHON_KEYRING_BACKEND": "keyring.backends.null.Keyring",
    }
    work = tmp_path / "work"
    work.mkdir()
    return Bench(work, env)


def living() -> set[int]:
    """Return the processes beneath this one that still do something."""
    found = set()
    for child in psutil.Process().children(recursive=True):
        try:
            if child.status() != psutil.STATUS_ZOMBIE:
                found.add(child.pid)
        except psutil.NoSuchProcess:
            continue
    return found


@pytest.fixture(autouse=True)
def _nothing_is_left(cache: Path, _foster: None) -> Iterator[None]:
    before = living()
    yield
    workspaces = cache / "lmboot" / "workspaces"
    gone = wait_until(lambda: living() <= before and not list(workspaces.glob("run-*")))
    assert gone, [psutil.Process(pid).cmdline() for pid in living() - before]
