"""LM Studio's own command, `lms`: whether it is there, and its server's start."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
from pathlib import Path

from lmboot.errors import NoServer
from lmboot.text import brief

_SECONDS = 60.0  # it may have to start LM Studio itself
_HINT = "Start it in LM Studio: Developer tab, Start server."


def command() -> str | None:
    """Return the path of `lms`, None where LM Studio has not put one."""
    name = "lms.exe" if os.name == "nt" else "lms"
    own = Path.home() / ".lmstudio" / "bin" / name
    return shutil.which("lms") or (str(own) if os.access(own, os.X_OK) else None)


async def start_server() -> None:
    """Run `lms server start`; raise NoServer when that is not possible or fails."""
    lms = command()
    if lms is None:
        raise NoServer("LM Studio's command `lms` was not found", hint=_HINT)
    try:
        process = await asyncio.create_subprocess_exec(
            *(lms, "server", "start"),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        async with asyncio.timeout(_SECONDS):
            said, _ = await process.communicate()
    except OSError as error:
        raise NoServer(f"`lms server start` can't be run: {error.strerror}", hint=_HINT) from error
    except TimeoutError:
        process.kill()
        await process.wait()
        raise NoServer(f"`lms server start` did not end in {_SECONDS:g} s", hint=_HINT) from None
    if process.returncode:
        words = brief(said.decode(errors="replace"), 300) or f"status {process.returncode}"
        raise NoServer(f"`lms server start` failed: {words}", hint=_HINT)
