"""Runs a program of the host's for a runtime: one that was granted, in a second sandbox.

That sandbox is of the same kind as the runtime's own, with no network, and with an `/app` that
holds the files which the runtime passes and nothing else. There is no shell in between. All of a
run's programs together may use as much as the run itself, once: see `shares.py`.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar, Protocol

from lmboot.errors import SandboxFault
from lmboot.paths import collisions, problem_with
from lmboot.process import Ended
from lmboot.runtime.asking import Question
from lmboot.runtime.grants import Grants
from lmboot.runtime.operations import Argument, Context, Files, Refused, Text, Texts
from lmboot.runtime.policy import Limits
from lmboot.runtime.programs import check_options, located, runs_others
from lmboot.runtime.run import Job, Runtime
from lmboot.runtime.shares import Share, Shares

_BECOME = Path(__file__).parent / "guest" / "become.py"


class Sandbox(Protocol):
    """A sandbox that stands ready for one job."""

    async def launch(self, job: Job) -> Runtime:
        """Start the job; raise SandboxFault."""

    async def close(self) -> None:
        """End everything that it has started."""


class Spawn:
    """A granted program, run to its end; four at once, 60 seconds and 1 MiB of output each.

    Each has a fourth of the run's other limits, and all together have them once: when the sum of
    CPU time or of output is used up, nothing more is run (`quota`).
    """

    name: ClassVar[str] = "spawn"
    arguments: ClassVar[Mapping[str, Argument]] = {
        "argv": Texts(256, Text(most=64 << 10)),
        "stdin": Text(most=512 << 10, default=""),
        "files": Files(64, Text(most=512 << 10), default={}),
    }
    emulates: ClassVar[bool] = False
    cancellable: ClassVar[bool] = True

    def __init__(
        self,
        grants: Grants,
        sandbox: Callable[[Limits], Awaitable[Sandbox]] | str,
        limits: Limits,
        tell: Callable[[str], None],
    ) -> None:
        """Take what sets up a sandbox (or why there is none to be had), and the run's limits."""
        self._grants, self._sandbox, self._tell = grants, sandbox, tell
        self._shares = Shares(limits)
        self._live: set[asyncio.Task[dict[str, Any]]] = set()
        self._warned: set[str] = set()

    def needs(self, args: dict[str, Any]) -> Question | None:
        """Ask for a program by where it really lies; of one that runs others nobody is asked."""
        if isinstance(self._sandbox, str):
            raise Refused("unavailable", self._sandbox)
        if not args["argv"]:
            raise Refused("bad_argument", "argv names no program")
        path = args["argv"][0]
        real = located(path)
        check_options(real, args["argv"][1:])
        question = Question(self.name, real)
        if why := runs_others(path) or runs_others(real):
            self._check_typed(question, why)
        return question

    def _check_typed(self, question: Question, why: str) -> None:
        if self._grants.covering(question) is not None:
            return
        if question.what not in self._warned:
            self._warned.add(question.what)
            self._tell(
                f"the runtime asked for {question.what}, which {why}; "
                f"only `:grant spawn {question.what}` allows that"
            )
        raise Refused("not_granted", "a program that runs others is never granted by asking")

    async def perform(self, args: dict[str, Any], context: Context) -> dict[str, Any]:
        """Run it; return its status and what it printed, as the guest's own emulator does."""
        if len(self._live) >= self._shares.most_live:
            raise Refused("busy", f"{self._shares.most_live} programs run already")
        running = asyncio.create_task(self._run(args, context))
        self._live.add(running)
        running.add_done_callback(self._live.discard)
        try:
            return await asyncio.shield(running)
        except asyncio.CancelledError:
            running.cancel()
            raise

    async def _run(self, args: dict[str, Any], context: Context) -> dict[str, Any]:
        with self._shares.one() as share:
            job = self._job(args, share.limits)
            context.commit()
            return await self._run_job(job, share)

    def _job(self, args: dict[str, Any], limits: Limits) -> Job:
        argv, files = args["argv"], args["files"]
        if b"\0" in b"".join(map(_encoded, argv)):
            raise Refused("bad_argument", "a NUL is in argv")
        if wrong := next(filter(None, map(problem_with, files)), None):
            raise Refused("bad_path", f"the path of a file {wrong}")
        if clash := next(iter(collisions(files)), None):
            raise Refused("bad_path", f"the path of a file {clash[1]}")
        stem = f"spawn-{secrets.token_hex(8)}"
        own = ((f"{stem}.py", _BECOME.read_bytes()), (f"{stem}.in", _encoded(args["stdin"])))
        given = tuple((path, _encoded(text)) for path, text in files.items())
        program = located(argv[0])  # once more: it may have changed while a person was asked
        return Job((*own, *given), (f"{stem}.py", program, *argv[1:]), limits, {})

    async def _run_job(self, job: Job, share: Share) -> dict[str, Any]:
        assert not isinstance(self._sandbox, str)  # noqa: S101 - `needs` has seen to that
        try:
            sandbox = await self._sandbox(job.limits)
            try:
                share.begin()
                return await _result(await sandbox.launch(job), share)
            finally:
                await sandbox.close()
        except SandboxFault as fault:
            share.end(0)  # nothing of it ran
            raise Refused("failed", "the second sandbox could not be set up") from fault

    async def close(self) -> None:
        """End what still runs, and wait until nothing of it is left."""
        for running in self._live:
            if not running.cancelling():  # its end is under way, and must not be broken off
                running.cancel()
        await asyncio.gather(*self._live, return_exceptions=True)

    async def emulate(self, args: dict[str, Any]) -> Any:
        """Refuse: the broker is not asked for that."""
        raise Refused("denied", "spawn is emulated by the guest's library")


async def _result(runtime: Runtime, share: Share) -> dict[str, Any]:
    """Return a program's status and output; raise Refused where a limit ended it."""
    printed = {"out": bytearray(), "err": bytearray()}
    ending: asyncio.Task[None] | None = None
    async for event in runtime.events():
        if isinstance(event, Ended):
            if ending is not None:
                await ending
            share.end(event.cpu_seconds)
            return _told(event, printed)
        if ending is not None:
            continue
        printed[event.stream] += event.data
        share.output.used += len(event.data)
        if share.output.used > share.output.most:
            ending = asyncio.create_task(runtime.end("output"))
    raise AssertionError("a runtime's events always close with Ended")


def _told(ended: Ended, printed: Mapping[str, bytearray]) -> dict[str, Any]:
    if ended.limit:
        raise Refused("limit", f"the program went over its limit of {ended.limit} and was ended")
    out, err = (bytes(printed[stream]).decode("utf-8", "replace") for stream in ("out", "err"))
    return {"code": ended.code, "stdout": out, "stderr": err}


def _encoded(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise Refused("bad_argument", "half of a surrogate pair is in a text") from None
