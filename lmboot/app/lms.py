"""LM Studio's own command, `lms`: whether it is there, and its server's start."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import IO

from lmboot.errors import NoServer
from lmboot.text import brief

START_SECONDS = 60.0  # it may have to start LM Studio itself
_MOST_WORDS = 4096
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
    with tempfile.TemporaryFile() as said:  # of a pipe, what it leaves running would hold the end
        status = await _run([lms, "server", "start"], said)
        if status:
            said.seek(0)
            words = brief(said.read(_MOST_WORDS).decode(errors="replace"), 300)
            raise NoServer(f"`lms server start` failed: {words or f'status {status}'}", hint=_HINT)


async def _run(command: list[str], said: IO[bytes]) -> int:
    """Run a command to its end, and return its status; it never outlives this."""
    try:
        process = await asyncio.create_subprocess_exec(
            *command, stdin=subprocess.DEVNULL, stdout=said, stderr=said
        )
    except OSError as error:
        raise NoServer(f"`lms server start` can't be run: {error.strerror}", hint=_HINT) from error
    try:
        async with asyncio.timeout(START_SECONDS):
            return await process.wait()
    except TimeoutError:
        sentence = f"`lms server start` did not end in {START_SECONDS:g} s"
        raise NoServer(sentence, hint=_HINT) from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
