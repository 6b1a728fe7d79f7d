"""Payloads to run in tests, and what became of them."""

from __future__ import annotations

import asyncio
import contextlib
import os
import textwrap
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field

import pytest

from lmboot.process import Ended, Output
from lmboot.runtime.launcher import Launcher
from lmboot.runtime.policy import Limits, Route
from lmboot.runtime.run import Job, Runtime

SANDBOX = "bubblewrap"  # where nothing else is said
# A back end that not every machine has, to try in place of those that tests name.
INSTEAD = os.environ.get("LMBOOT_TEST_SANDBOX")
SECONDS = 60.0  # nothing here takes as long; a hang must end


def in_each(*names: str) -> pytest.MarkDecorator:
    """Run a test in each of these back ends; or in the one that the environment names instead."""
    return pytest.mark.parametrize("sandbox", [INSTEAD] if INSTEAD else names)


@dataclass
class Guest:
    """A running payload, and what it has written so far."""

    runtime: Runtime
    out: bytes = b""
    err: bytes = b""
    ended: Ended | None = None
    _events: AsyncIterator[Output | Ended] = field(init=False)

    def __post_init__(self) -> None:
        self._events = self.runtime.events()

    @property
    def text(self) -> str:
        return self.out.decode()

    @property
    def errors(self) -> str:
        return self.err.decode()

    @property
    def code(self) -> int:
        assert self.ended is not None
        return self.ended.code

    async def until(self, marker: bytes) -> Guest:
        """Read until the marker was printed."""
        async with asyncio.timeout(SECONDS):
            while marker not in self.out + self.err:
                assert self.ended is None, f"{marker!r} never came: {self.out!r} {self.err!r}"
                await self._take()
        return self

    async def finish(self) -> Guest:
        """Read to the end."""
        async with asyncio.timeout(SECONDS):
            while self.ended is None:
                await self._take()
        return self

    async def stop(self) -> Guest:
        """Stop it while reading what it still writes."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self.runtime.stop())
            group.create_task(self.finish())
        return self

    async def _take(self) -> None:
        event = await anext(self._events)
        if isinstance(event, Ended):
            self.ended = event
        elif event.stream == "out":
            self.out += event.data
        else:
            self.err += event.data


def job(
    program: str | Mapping[str, str | bytes],
    *arguments: str,
    limits: Limits | None = None,
    routes: Mapping[str, Route] | None = None,
) -> Job:
    """Return a job: one program, or files of which the first is run."""
    files = {"main.py": program} if isinstance(program, str) else program
    contents = tuple(
        (path, text if isinstance(text, bytes) else textwrap.dedent(text).encode())
        for path, text in files.items()
    )
    return Job(contents, (contents[0][0], *arguments), limits or Limits(), routes or {})


@contextlib.asynccontextmanager
async def started(
    program: str | Mapping[str, str | bytes],
    *arguments: str,
    limits: Limits | None = None,
    routes: Mapping[str, Route] | None = None,
    sandbox: str | None = None,
) -> AsyncIterator[Guest]:
    """Start a payload; whatever becomes of it, it is released at the end."""
    sandbox = sandbox or SANDBOX
    launcher = await Launcher.prepare(sandbox, no_border=sandbox == "none", limits=limits)
    try:
        yield Guest(await launcher.launch(job(program, *arguments, limits=limits, routes=routes)))
    finally:
        await launcher.close()


async def run(
    program: str | Mapping[str, str | bytes],
    *arguments: str,
    lines: bytes = b"",
    limits: Limits | None = None,
    routes: Mapping[str, Route] | None = None,
    sandbox: str | None = None,
) -> Guest:
    """Run a payload to its end with these lines as its input."""
    async with started(
        program, *arguments, limits=limits, routes=routes, sandbox=sandbox
    ) as guest:
        if lines:
            await guest.runtime.send(lines)
        return await guest.finish()
