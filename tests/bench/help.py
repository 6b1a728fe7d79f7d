"""`lmboot --help`, as it is installed, against an interpreter that does nothing."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

from tests.bench.measure import medians, timed

ROUNDS = 40


def _environment() -> dict[str, str]:
    """Return ours without what makes an interpreter work otherwise than it usually does."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}


async def _seconds(*command: str) -> float:
    return await asyncio.to_thread(
        timed,
        lambda: subprocess.run(command, stdout=subprocess.DEVNULL, check=True, env=_environment()),
    )


async def figures(rounds: int) -> dict[str, float]:
    """Return milliseconds and the ratio."""
    installed = str(Path(sys.executable).with_name("lmboot"))
    ours, bare = await medians(
        rounds,
        lambda: _seconds(installed, "--help"),
        lambda: _seconds(sys.executable, "-c", "pass"),
    )
    return {"lmboot_ms": ours * 1e3, "bare_ms": bare * 1e3, "ratio": ours / bare, "at_most": 5.0}


def main() -> dict[str, float]:
    """Run the benchmark."""
    return asyncio.run(figures(ROUNDS))
