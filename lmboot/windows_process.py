"""Windows' twin of `process.Supervisor`: what starts a runtime, in lmboot's own process.

There is no supervisor of its own here. The job that holds the runtime ends with its last handle,
so it ends when lmboot does, whatever ends that; nothing is left to a process in between. Never run
on Windows by those who wrote it.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterable, Sequence

from lmboot import system, windows
from lmboot.cgroups import Place
from lmboot.process import Order, StartFailed
from lmboot.windows_child import Child, Pipe, read_from

__all__ = ["Child"]

INTO_CHILD = (0, 4, 5)  # of its pipes: stdin, what the broker says, interrupts

if sys.platform == "win32":
    import msvcrt

    class Supervisor:
        """What stands ready to launch; it serves one launch."""

        def __init__(self) -> None:
            """Hold nothing yet."""
            self._release = contextlib.ExitStack()
            self._ends: list[int] = []
            self._closing = threading.Lock()
            self._process = 0

        @classmethod
        async def start(
            cls,
            uid: int | None = None,
            *,
            enclosed: bool = False,
            places: Sequence[Place] = (),
            service: str | None = None,
        ) -> Supervisor:
            """Return one; what Windows has no like of is refused: its job takes their place."""
            if uid is not None or enclosed or places or service:
                raise StartFailed("Windows has no users to run as, enclosures or control groups")
            return cls()

        async def launch(self, order: Order) -> Child:
            """Start the child and return it once its launcher waits; raise StartFailed."""
            try:
                return await asyncio.to_thread(self._launch, order, asyncio.get_running_loop())
            except OSError as error:
                raise StartFailed(str(error)) from None

        def _launch(self, order: Order, loop: asyncio.AbstractEventLoop) -> Child:
            number = int(order.env["LMBOOT_FD"])
            socket.close(order.channel)  # by which elsewhere its supervisor hears the launcher
            theirs = socket.socket(fileno=order.descriptors[number])
            self._release.callback(theirs.close)
            payload = order.descriptors[number + 1]
            self._release.callback(os.close, payload)
            profile, job = self._contain(order), windows.Job(1 if order.engine else math.inf)
            self._release.callback(job.close)
            ours, inherited = self._pipes(6 if order.engine else 5)
            try:
                process = self._start(order, profile, job, inherited)
            finally:
                _close_all(inherited)
            link = Pipe(ours[3], ours[4])
            try:
                link.await_ready(order.nonce)
            except (OSError, StartFailed) as failure:
                job.terminate()
                said = read_from(ours[2]).decode("utf-8", "replace").strip()
                raise StartFailed(f"{failure}: {said}") from None
            bounds = dict(zip(order.folders, order.bounds, strict=True))
            stdio = (ours[0], ours[1], ours[2])
            self._process = process
            return Child(self, loop, job, stdio, link, theirs, payload, bounds, *ours[5:])

        def _contain(self, order: Order) -> windows.Profile | None:
            """Make the container, and let it at what is granted to it; an engine has none."""
            if order.container is None:
                if order.engine:
                    return None
                raise StartFailed("only what an AppContainer or an engine holds is started here")
            profile = windows.Profile(order.container.name)
            self._release.callback(profile.remove)
            icacls = os.path.join(os.environ["SYSTEMROOT"], "System32", "icacls.exe")
            sid = profile.text
            undo = list(windows.revocations(order.container, sid, icacls=icacls))
            self._release.callback(_try_all, undo)
            _run_all(windows.grants(order.container, sid, icacls=icacls))
            return profile

        def _pipes(self, count: int) -> tuple[list[int], list[int]]:
            """Return our ends and the child's: stdin, stdout, stderr, channel out, channel in.

            With a sixth, interrupts. The child's ends, and nothing else, can be inherited.
            """
            pairs = [os.pipe() for _ in range(count)]
            ours = [pair[1] if n in INTO_CHILD else pair[0] for n, pair in enumerate(pairs)]
            child = [pair[0] if n in INTO_CHILD else pair[1] for n, pair in enumerate(pairs)]
            for descriptor in child:
                os.set_handle_inheritable(msvcrt.get_osfhandle(descriptor), True)
            self._ends = list(ours)
            for end in ours:
                self._release.callback(self.close_end, end)
            return ours, child

        def close_end(self, descriptor: int) -> None:
            """Close one of our ends, once; from any thread."""
            with self._closing:
                if descriptor not in self._ends:
                    return
                self._ends.remove(descriptor)
            _close_all([descriptor])

        def _start(
            self,
            order: Order,
            profile: windows.Profile | None,
            job: windows.Job,
            child: list[int],
        ) -> int:
            """Start the process in its container, if it has one, and its job; return its handle.

            It has not run one instruction before it is in the job: nothing of it can be outside.
            """
            handles = [msvcrt.get_osfhandle(descriptor) for descriptor in child]
            out, *into = handles[3:]
            pipes = ",".join(map(str, (into[0], out, *into[1:])))
            process, thread, _ = windows.create_suspended(
                order.argv,
                {**order.env, "LMBOOT_PIPES": pipes},
                order.cwd,
                std=(handles[0], handles[1], handles[2]),
                others=(out, *into),
                container=profile,
            )
            self._release.callback(windows.close, process)
            try:
                job.take(process)
                windows.resume(thread)
            except OSError:
                windows.terminate(process)  # it is in no job that would end it
                raise
            finally:
                windows.close(thread)
            return process

        def exit_code(self) -> int | None:
            """Return the status of the runtime's first process; None while it runs."""
            return windows.exit_code(self._process)

        async def close(self) -> None:
            """End all that it has started, and take back what was granted; idempotent."""
            await asyncio.to_thread(self._release.close)


def _run_all(commands: Iterable[tuple[str, ...]]) -> None:
    """Run commands one after another; OSError for one that can't be run or fails."""
    for argv in commands:
        done = subprocess.run(
            argv, capture_output=True, check=False, creationflags=system.NO_WINDOW
        )
        if done.returncode != 0:
            raise OSError(f"{argv[0]} failed for {argv[1]} with status {done.returncode}")


def _try_all(commands: Iterable[tuple[str, ...]]) -> None:
    """Run commands, each whatever became of the others."""
    for argv in commands:
        with contextlib.suppress(OSError):
            _run_all([argv])


def _close_all(descriptors: Iterable[int]) -> None:
    for descriptor in descriptors:
        with contextlib.suppress(OSError):
            os.close(descriptor)
