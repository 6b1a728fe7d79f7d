"""What a test starts, and all that those processes start: nobody is lost, everybody ends."""

from __future__ import annotations

import contextlib
import ctypes
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import psutil

PR_SET_CHILD_SUBREAPER = 36
PR_GET_CHILD_SUBREAPER = 37
SECONDS_TO_DIE = 5.0  # after a SIGKILL; a process in the kernel's hands takes a moment


class Kin:
    """Processes that end with the block, with whatever they left behind.

    On Linux orphans fall to this process while the block lasts. They are told from its own
    children by their session: what is started here gets a new one, which its kin cannot leave
    for that of this process.
    """

    def __init__(self) -> None:
        self._started: list[subprocess.Popen[bytes]] = []
        self._strangers: set[int] = set()

    def __enter__(self) -> Kin:
        self._strangers = {child.pid for child in psutil.Process().children()}
        self._adopted_before = _adopts()
        _adopt(True)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.end()
        _adopt(self._adopted_before)

    def start(
        self, command: Sequence[str], *, env: Mapping[str, str], folder: Path, name: str
    ) -> subprocess.Popen[bytes]:
        """Start a program that writes to NAME.out and NAME.err in a folder."""
        with (
            (folder / f"{name}.out").open("wb") as out,
            (folder / f"{name}.err").open("wb") as err,
        ):
            process = subprocess.Popen(
                command,
                env=env,
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                start_new_session=True,
            )
        self._started.append(process)
        return process

    def living(self) -> list[psutil.Process]:
        """Return what still runs of all that was started, orphans included."""
        roots = [child for child in psutil.Process().children() if self._is_ours(child)]
        return [each for root in roots for each in family(root)]

    def _is_ours(self, child: psutil.Process) -> bool:
        if child.pid in {each.pid for each in self._started}:
            return True
        with contextlib.suppress(ProcessLookupError):
            return child.pid not in self._strangers and os.getsid(child.pid) != os.getsid(0)
        return False

    def end(self) -> None:
        """Kill them all, and collect what is left of them."""
        living = self.living()
        for each in living:
            with contextlib.suppress(psutil.NoSuchProcess):
                each.kill()
        for process in self._started:
            process.wait(SECONDS_TO_DIE)
        psutil.wait_procs(living, SECONDS_TO_DIE)
        if self.living():  # what they still started, and what they lost, as they died
            self.end()


def family(process: psutil.Process) -> list[psutil.Process]:
    """Return a process and all beneath it, those aside that have ended."""
    try:
        everybody = [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []
    return [each for each in everybody if _runs(each)]


def _runs(process: psutil.Process) -> bool:
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def _adopts() -> bool:
    if sys.platform != "linux":
        return False
    answer = ctypes.c_int()
    _prctl(PR_GET_CHILD_SUBREAPER, ctypes.byref(answer))
    return bool(answer.value)


def _adopt(orphans: bool) -> None:
    if sys.platform == "linux":
        _prctl(PR_SET_CHILD_SUBREAPER, ctypes.c_ulong(orphans))


def _prctl(option: int, argument: Any) -> None:
    ctypes.CDLL(None).prctl(option, argument, 0, 0, 0)
