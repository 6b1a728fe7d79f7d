"""Windows' way to start a runtime, on this system: `windows_process` as it is, and no Windows.

Handles are descriptors and process numbers here; a process is not suspended, and its job is a fake
that knows what it was told. Nothing of an AppContainer is here.
"""

from __future__ import annotations

import importlib.util
import math
import os
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from lmboot import windows_process
from lmboot.runtime import run
from lmboot.windows import KILLED
from lmboot.windows_workspace import Workspace
from tests.held import FakeJob


class Machine:
    """What `lmboot.windows` calls, as far as an engine needs it."""

    def __init__(self) -> None:
        self.started: dict[int, subprocess.Popen[bytes]] = {}
        self.jobs: list[Job] = []
        self.closed: list[int] = []

    def job(self, processes: float = math.inf) -> Job:
        self.jobs.append(Job(self, processes))
        return self.jobs[-1]

    def create_suspended(
        self,
        argv: Sequence[str],
        env: Mapping[str, str],
        cwd: str,
        *,
        std: tuple[int, int, int],
        others: Iterable[int],
        container: None,
    ) -> tuple[int, int, int]:
        assert container is None
        process = subprocess.Popen(
            argv, env=env, cwd=cwd, stdin=std[0], stdout=std[1], stderr=std[2], pass_fds=[*others]
        )
        self.started[process.pid] = process
        return process.pid, -process.pid, process.pid

    def exit_code(self, process: int) -> int | None:
        code = self.started[process].poll()
        return KILLED if code is not None and code < 0 else code

    def calls(self) -> Any:
        """Return it in the place of the module."""
        return SimpleNamespace(
            Job=self.job,
            Profile=None,
            create_suspended=self.create_suspended,
            exit_code=self.exit_code,
            resume=lambda thread: None,
            terminate=lambda process: self.started[process].kill(),
            close=self.closed.append,
        )


class Job(FakeJob):
    """Holds what it takes."""

    def __init__(self, machine: Machine, processes: float) -> None:
        self._machine, self.processes = machine, processes
        self.limits, self.messages, self.cpu = {}, [], 0.0
        self.closed = False

    def take(self, process: int) -> None:
        self._process = self._machine.started[process]

    def close(self) -> None:
        self.terminate()
        self._process.wait()
        self.closed = True


def module(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Return `windows_process` as it is on Windows, before anything is called."""
    handles = SimpleNamespace(get_osfhandle=lambda descriptor: descriptor)
    monkeypatch.setitem(sys.modules, "msvcrt", handles)
    monkeypatch.setattr(os, "set_handle_inheritable", os.set_inheritable, raising=False)
    spec = importlib.util.spec_from_file_location("windows_here", Path(windows_process.__file__))
    assert spec is not None
    assert spec.loader is not None
    found = importlib.util.module_from_spec(spec)
    with monkeypatch.context() as there:
        there.setattr(sys, "platform", "win32")
        spec.loader.exec_module(found)
    return found


def install(monkeypatch: pytest.MonkeyPatch) -> Machine:
    """Have all runs of this test start as on Windows; return what they start on."""
    machine, found = Machine(), module(monkeypatch)
    monkeypatch.setattr(found, "windows", machine.calls())
    monkeypatch.setattr(run, "Supervisor", found.Supervisor)
    monkeypatch.setattr(run, "Workspace", Workspace)
    monkeypatch.setattr(run, "unprivileged_user", lambda: None)
    return machine
