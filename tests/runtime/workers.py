"""Workers to call in tests."""

from __future__ import annotations

import contextlib
import textwrap
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

from lmboot.process import Output
from lmboot.runtime.policy import Limits
from lmboot.runtime.worker import Worker
from tests.runtime import guests

SECONDS = 60.0  # nothing here takes as long; a hang must end


@dataclass
class Printed:
    """What a worker has printed so far."""

    out: bytes = b""
    err: bytes = b""
    pieces: list[Output] = field(default_factory=list)

    def __call__(self, output: Output) -> None:
        self.pieces.append(output)
        if output.stream == "out":
            self.out += output.data
        else:
            self.err += output.data


@contextlib.asynccontextmanager
async def working(
    source: str = "", sandbox: str | None = None, *, limits: Limits | None = None, **more: Any
) -> AsyncIterator[Worker]:
    """Start a worker whose module `m` is this source; whatever becomes of it, it is closed."""
    worker = await Worker.start(
        {"m.py": textwrap.dedent(source).encode()},
        limits,
        sandbox=sandbox or guests.SANDBOX,
        **more,
    )
    try:
        yield worker
    finally:
        await worker.close()
