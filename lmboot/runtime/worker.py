"""A worker: Python functions in a sandbox, called like functions, for as long as there is need.

    worker = await Worker.start({"hooks.py": source}, limits)
    text = await worker.call("hooks:before", "hello", seconds=2)
    await worker.close()

One socket for the calls. A worker's process has the runtime's inherited socketpair for calls from
the host and their answers, one at a time (`calls`), and nothing else passes there. What a function
asks of its host meanwhile goes the other way, so it goes another way: over a second socketpair,
handed in at the start, with the broker's own protocol and the broker at its end. So neither side
ever has to tell a question from an answer, and a function may wait for the broker in mid-call.

Promises. A call is made once: it is answered, or raises, and is never repeated. Whatever a worker
does ends that worker at worst, and the call that it was given; the next call gets a new one, which
has none of the old one's memory or files (`replaced` counts that). Values are strict JSON both
ways, 16 MiB a call. A worker that is gone has taken everything it started along.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import count
from pathlib import Path
from time import monotonic
from typing import Any

from lmboot.errors import CallFailed, SandboxFault, UsageFault, WorkerFault
from lmboot.process import Output
from lmboot.runtime import calls, posture
from lmboot.runtime.calls import Raised
from lmboot.runtime.handing import close_all, handed
from lmboot.runtime.life import Life, Operations, Over, Take, to_the_end
from lmboot.runtime.policy import Limits, Route
from lmboot.runtime.run import Box, Job

CALL_SECONDS = 30.0
MAX_WAITING = 64  # calls that wait for their turn, the one under way among them
MAX_LOST = 5  # lives in a row that end without one answer; then there is a rest
REST_SECONDS = 5.0

_SERVE = Path(__file__).parent / "guest" / "serve.py"
_INSIDE = "_lmboot"  # a folder of the workspace, out of the way of the worker's own modules


class Worker:
    """Serves calls one at a time, in their order; several may wait.

    `replaced` is how often a new process has taken the place of one that had ended.
    """

    def __init__(
        self,
        chosen: posture.Chosen,
        job: Job,
        output: Take,
        operations: Operations | None,
        clock: Callable[[], float],
    ) -> None:
        self.backend = chosen.backend.name
        self.replaced = 0
        self._chosen, self._job = chosen, job
        self._output, self._operations, self._clock = output, operations, clock
        self._numbers = count(1)
        self._turn = asyncio.Lock()
        self._waiting = 0
        self._life: Life | None = None
        self._spare: asyncio.Task[Box] | None = None
        self._lost, self._rest_until = 0, 0.0
        self._closed = False

    @classmethod
    async def start(
        cls,
        files: Mapping[str, bytes] | Iterable[tuple[str, bytes]],
        limits: Limits | None = None,
        *,
        sandbox: str = "auto",
        no_border: bool = False,
        routes: Mapping[str, Route] | None = None,
        output: Take | None = None,
        operations: Operations | None = None,
        clock: Callable[[], float] = monotonic,
    ) -> Worker:
        """Start a worker with these files (checked path, content) as its workspace.

        `limits` are one process's with all that it starts, for its whole life; `output_mb` is one
        call's. `output` gets what is printed, at the latest before the call returns; nothing of
        it is kept. `operations` serves the second socket, once for each life, until that hangs
        up: a broker's `serve`, usually; `routes` is what `guest_sys` goes by (default: all DENY).
        Raises SandboxFault where no sandbox is usable, WorkerFault when the process does not
        answer, UsageFault and ConsentImpossible as `posture.choose` does.
        """
        contents = tuple(files.items() if isinstance(files, Mapping) else files)
        if any(path.split("/")[0] == _INSIDE for path, _ in contents):
            raise UsageFault(f"a worker's files can't lie in {_INSIDE}/: lmboot's own do")
        chosen = await posture.choose(sandbox, no_border=no_border)
        program = f"{_INSIDE}/serve.py"
        own = (program, _SERVE.read_bytes())
        job = Job((own, *contents), (program,), limits or Limits(), routes or {})
        worker = cls(chosen, job, output or _ignore, operations, clock)
        try:
            await worker._begin()
        except BaseException:
            await worker.close()
            raise
        return worker

    async def call(
        self,
        function: str,
        *args: Any,
        seconds: float = CALL_SECONDS,
        named: Mapping[str, Any] | None = None,
        descriptors: Sequence[int] = (),
    ) -> Any:
        """Call `module:function` with positional and named arguments; return what it returns.

        `seconds` is what it may take once it is its turn. `descriptors` are pipes, files in memory
        of a sealed size, or files open for reading, of which copies are made (see `handing`); the
        function gets the argument `descriptors`, a list of numbers that are closed when it ends.

        Raises CallFailed for its exception, CallLimit for a limit, WorkerFault when the worker is
        lost, SandboxFault when there is no new one; UsageFault for what can't be told or handed
        over: nothing was called then. Whoever cancels a call that is under way ends the worker.
        """
        if not seconds > 0:
            raise UsageFault(f"{function} can't be called for {seconds} seconds")
        number = next(self._numbers)
        frame = calls.request(number, function, args, named or {})
        if self._waiting >= MAX_WAITING:
            raise WorkerFault(
                f"{function} was not called: {MAX_WAITING} calls wait already",
                hint="Wait for some of them, or use several workers.",
            )
        self._waiting += 1
        given: Sequence[int] = ()
        try:
            if descriptors:
                given = await _handed(descriptors)
            async with self._turn:
                return await self._converse(function, number, frame, given, seconds)
        finally:
            self._waiting -= 1
            close_all(given)

    async def close(self) -> None:
        """End it and all that it started; a call that is under way fails. Idempotent."""
        self._closed = True
        await to_the_end(self._release())

    async def _release(self) -> None:
        if self._life is not None:
            await self._life.close()  # the call that is under way fails, and gives up its turn
        async with self._turn:
            if self._life is not None:  # one that has begun meanwhile
                await self._life.close()
            spare, self._spare = self._spare, None
            if spare is not None:
                with contextlib.suppress(SandboxFault):
                    await (await spare).close()

    async def _converse(
        self, function: str, number: int, frame: bytes, given: Sequence[int], seconds: float
    ) -> Any:
        """Have one call answered, whose turn it is."""
        life = await self._living(function)
        try:
            answer = await life.exchange(number, frame, given, seconds)
        except asyncio.CancelledError:
            await life.close()
            raise
        except Over as over:
            self._count(over)
            raise await life.fault(function) from None
        self._lost = 0
        if isinstance(answer, Raised):
            text = f"{function} raised {answer.kind}: {answer.message}"
            raise CallFailed(text, kind=answer.kind, traceback=answer.traceback)
        return answer.value

    async def _living(self, function: str) -> Life:
        """Return the life that answers; a new one if the last is over, unless too many were."""
        life = self._life
        if life is not None and life.over is None and not self._closed:
            return life
        if life is not None:
            await life.close()
        self._check_open(function)
        if self._clock() < self._rest_until:
            raise WorkerFault(
                f"{function} was not called: {self._lost} processes in a row gave no answer",
                hint=f"It is tried again within {REST_SECONDS:g} seconds.",
            )
        life = await self._begin()
        self._check_open(function)  # else `close` would have to wait for the call
        self.replaced += 1
        return life

    def _check_open(self, function: str) -> None:
        if self._closed:
            raise WorkerFault(f"{function} was not called: the worker is closed", hint="")

    async def _begin(self) -> Life:
        """Begin a new life in the sandbox that stands ready, and have the next one set up."""
        try:
            box = await self._box()
            life = await Life.begin(box, self._job, self._output, self._operations)
        except SandboxFault:
            posture.forget()
            raise
        except WorkerFault:
            self._count(Over())
            raise
        self._life = life
        self._prepare()
        return life

    async def _box(self) -> Box:
        """Return the sandbox that was set up ahead, or else one that is set up now.

        Whoever is cancelled while he waits leaves it to the next call, or to `close`.
        """
        if self._spare is None or (self._spare.done() and self._spare.exception()):
            self._prepare()
        assert self._spare is not None  # noqa: S101 it was just made
        box = await asyncio.shield(self._spare)
        self._spare = None
        return box

    def _prepare(self) -> None:
        backend, _, places = self._chosen
        self._spare = asyncio.create_task(Box.open(backend, self._job.limits, places))

    def _count(self, over: Over) -> None:
        """Count a life that ended without an answer by its own doing."""
        if over.limit != "seconds" and not over.unwanted:
            self._lost += 1
            if self._lost >= MAX_LOST:
                self._rest_until = self._clock() + REST_SECONDS


def _ignore(_: Output) -> None:
    """Do nothing with what is printed."""


async def _handed(descriptors: Sequence[int]) -> list[int]:
    """Return what is to be sent for these descriptors, without a file holding up the loop."""
    work = asyncio.create_task(asyncio.to_thread(handed, descriptors))
    try:
        return await asyncio.shield(work)
    except asyncio.CancelledError:
        await asyncio.wait([work])
        if work.exception() is None:
            close_all(work.result())
        raise
