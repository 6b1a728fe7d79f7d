"""One life of a worker: a sandboxed process that answers calls, from its launch to its end.

It is over at the first sign that it should be: the process has ended, has written what is no
answer, or went over a limit. From that moment it is being killed, whoever waits for what.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from lmboot import system
from lmboot.errors import CallLimit, SandboxFault, WorkerFault
from lmboot.process import KILLED, Ended, Output
from lmboot.runtime import calls
from lmboot.runtime.calls import Raised, Returned
from lmboot.runtime.policy import Limits
from lmboot.runtime.run import MB, Box, Job, Runtime
from lmboot.text import brief

START_SECONDS = 20.0  # from the launch to the first answer; a cold disk needs about one
LAST_WORDS_SECONDS = 1.0  # from the channel's end to the process's own
SERVING_SECONDS = 2.0  # for the operations to end when nobody is left to ask for any
PIECE_BYTES = 1 << 16
INLINE_BYTES = 1 << 16  # longer answers are read beside the loop
TAIL_BYTES = 4000  # of what was written to stderr last, for a message

_FIELDS = {"memory": "memory_mb", "cpu": "cpu_seconds", "wall": "wall_seconds", "disk": "disk_mb"}

Operations = Callable[[socket.socket], Coroutine[Any, Any, object]]
Take = Callable[[Output], None]


class Over(Exception):
    """Why a life is over: the `breach` that it committed, or the `limit` that it went over.

    `limit` is the name of one that this module judges, `amount` how much that is. `unwanted`: the
    host has ended it. None of the three: it ended by itself, or by a limit of its supervisor's.
    """

    def __init__(
        self, *, breach: str = "", limit: str = "", amount: float = 0, unwanted: bool = False
    ) -> None:
        super().__init__(breach or limit)
        self.breach, self.limit, self.amount, self.unwanted = breach, limit, amount, unwanted


class Life:
    """A process that answers calls, one at a time; it holds its box until it has ended."""

    def __init__(self, box: Box, runtime: Runtime, limits: Limits, take: Take) -> None:
        """Begin to listen to a runtime that was launched in this box."""
        self._box, self._runtime, self._take_output = box, runtime, take
        self._limits, self._printed_bytes = limits, 0
        self._loop = asyncio.get_running_loop()
        self._line = calls.Line()
        self._answer: asyncio.Future[bytes] | None = None  # while a call is under way
        self._room: asyncio.Future[None] | None = None  # while a call does not fit into the socket
        self._serving: asyncio.Task[object] | None = None
        self._tail = b""
        self._ended = Ended(KILLED, None, clean=True)
        self.over: Over | None = None
        self.ending: asyncio.Task[None] | None = None
        self._socket, already = runtime.channel
        self._loop.add_reader(self._socket, self._hear)
        self._pumping = asyncio.create_task(self._pump())
        if already:
            self._end(Over(breach="it spoke before it was asked"))

    @classmethod
    async def begin(
        cls, box: Box, job: Job, take: Take, operations: Operations | None = None
    ) -> Life:
        """Launch the job in a box, which is the life's from now on; return it once it answers.

        Raises SandboxFault when it could not be set up, WorkerFault when it does not answer.
        """
        if not system.can_send:
            await to_the_end(box.close())
            raise SandboxFault(
                "no functions can be called in a sandbox on this system yet",
                hint="Use lmboot on Linux or macOS for what has modules or tools of its own.",
            )
        try:
            runtime = await box.launch(job)
        except BaseException:
            await to_the_end(box.close())
            raise
        life = cls(box, runtime, job.limits, take)
        try:
            await life._greet(operations)
        except Over:
            raise await life.fault("the start of a worker") from None
        except BaseException:
            await life.close()
            raise
        return life

    async def _greet(self, operations: Operations | None) -> None:
        """Give it the socket for operations, if there are any, and wait for its first answer."""
        descriptors: list[int] = []
        if operations is not None:
            ours, theirs = socket.socketpair()
            self._serving = asyncio.create_task(operations(ours))
            descriptors = [theirs.detach()]
        try:
            first = await self.exchange(0, calls.GREETING, descriptors, START_SECONDS)
        finally:
            for descriptor in descriptors:
                os.close(descriptor)
        if first != Returned(None):
            self._end(Over(breach="its first answer is none"))
            raise self._reason()

    async def exchange(
        self, number: int, frame: bytes, descriptors: Sequence[int], seconds: float
    ) -> Returned | Raised:
        """Have one call answered; raise Over when that is the end of this life.

        All that it printed until its answer has been taken by then. A caller that is cancelled
        has to close this life: its answer would be another call's.
        """
        if self.over is not None:
            raise self.over
        self._printed_bytes = 0
        self._answer = self._loop.create_future()
        try:
            async with asyncio.timeout(seconds):
                await self._send(frame, descriptors)
                line = await self._answer
        except TimeoutError:
            self._answer = None
            self._end(Over(limit="seconds", amount=seconds))
            raise self._reason() from None
        finally:
            self._answer = None
        self._take_what_is_there()
        return await self._read(line, number)

    async def _read(self, line: bytes, number: int) -> Returned | Raised:
        try:
            if len(line) > INLINE_BYTES:
                return await asyncio.to_thread(calls.answer, line, number)
            return calls.answer(line, number)
        except calls.Breach as breach:
            self._end(Over(breach=str(breach)))
            raise self._reason() from None

    async def fault(self, what: str) -> WorkerFault:
        """Return what to tell of this life's end, once it has come; `what` was under way.

        Raises what the taker of its output raised, if that was the end: a fault of the host's.
        """
        await self.close()
        if bug := self._pumping.exception():
            raise bug
        over, ended = self._reason(), self._ended
        unclean = "" if ended.clean else "; not all that it had started could be ended"
        if over.breach:
            return WorkerFault(f"{what}: the worker broke the protocol: {over.breach}{unclean}")
        if over.unwanted:
            return WorkerFault(f"{what}: the worker was closed{unclean}")
        limit, amount = over.limit, over.amount
        if ended.limit and not limit:
            limit = _FIELDS.get(ended.limit, ended.limit)
            amount = getattr(self._limits, limit)
        if limit:
            text = f"{what} went over its limit ({limit}: {amount:g}), which ended its worker"
            return CallLimit(text + unclean, limit=limit)
        said = brief(self._tail.decode("utf-8", "replace")[-300:])
        told = f": {said}" if said else ""
        return WorkerFault(f"{what}: the worker ended {_status(ended.code)}{unclean}{told}")

    async def close(self) -> None:
        """Kill it if it lives, and release everything; idempotent."""
        self._end(Over(unwanted=True))
        assert self.ending is not None  # noqa: S101 `_end` has begun it
        await to_the_end(self.ending)

    # -- talking

    async def _send(self, frame: bytes, descriptors: Sequence[int]) -> None:
        """Send a frame, with the descriptors at its beginning; a dead worker is told elsewhere."""
        rest = memoryview(frame)
        with contextlib.suppress(OSError):
            while rest and self.over is None:
                try:
                    if descriptors:
                        sent = system.send_fds(self._socket, rest, list(descriptors))
                    else:
                        sent = self._socket.send(rest)
                except BlockingIOError:
                    await self._wait_for_room()
                else:
                    rest, descriptors = rest[sent:], ()

    async def _wait_for_room(self) -> None:
        self._room = self._loop.create_future()
        self._loop.add_writer(self._socket, _settle, self._room)
        try:
            await self._room
        finally:
            self._loop.remove_writer(self._socket)
            self._room = None

    def _hear(self) -> None:
        """Take what has come: nothing but recv, so that descriptors are thrown away."""
        try:
            data = self._socket.recv(PIECE_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._end(Over())
        elif self._answer is None or self._answer.done():
            self._end(Over(breach="it answered though nothing was asked"))
        else:
            try:
                line = self._line.feed(data)
            except calls.Breach as breach:
                self._end(Over(breach=str(breach)))
            else:
                if line is not None:
                    self._answer.set_result(line)

    async def _pump(self) -> None:
        """Take what it prints until it has ended."""
        try:
            async for event in self._runtime.events():
                if isinstance(event, Output):
                    self._print(event)
                else:
                    self._ended = event
        finally:
            self._end(Over())

    def _take_what_is_there(self) -> None:
        while self.over is None and (output := self._runtime.printed()) is not None:
            self._print(output)

    def _print(self, output: Output) -> None:
        self._printed_bytes += len(output.data)
        if output.stream == "err":
            self._tail = (self._tail + output.data)[-TAIL_BYTES:]
        if self._printed_bytes > self._limits.output_mb * MB:
            self._end(Over(limit="output_mb", amount=self._limits.output_mb))
        elif self.over is None or not self.over.unwanted:
            self._take_output(output)

    # -- ending

    def _reason(self) -> Over:
        assert self.over is not None  # noqa: S101 who asks has ended it, or was told
        return self.over

    def _end(self, over: Over) -> None:
        """Begin its end; what comes first is the reason."""
        if self.over is not None:
            return
        self.over = over
        self._loop.remove_reader(self._socket)
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(over)
        if self._room is not None:
            _settle(self._room)
        self.ending = asyncio.create_task(self._finish())

    async def _finish(self) -> None:
        """Kill the process and all that it started; release what this life holds."""
        try:
            reason = self._reason()
            if not (reason.breach or reason.limit or reason.unwanted):
                await asyncio.wait([self._pumping], timeout=LAST_WORDS_SECONDS)
            await self._runtime.end(reason.limit)
            await asyncio.wait([self._pumping])
        finally:
            await self._box.close()
            if self._serving is not None:
                await asyncio.wait([self._serving], timeout=SERVING_SECONDS)
                self._serving.cancel()


def _settle(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


def _status(code: int) -> str:
    """Return how a process ended, in words."""
    with contextlib.suppress(ValueError):
        return f"by {signal.Signals(code - 128).name}"
    return f"with status {code}"


async def to_the_end(work: Coroutine[Any, Any, None] | asyncio.Task[None]) -> None:
    """Wait for work that must be done though its caller is cancelled, who then hears of it."""
    task = asyncio.ensure_future(work)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        raise
