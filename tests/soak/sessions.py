"""Whole sessions by pipe with a hand-written payload in bubblewrap, one after the other."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.soak.held import held, nothing_beyond

ROUNDS = 200
SECONDS = 60.0  # for one session, which takes about one
TRANSCRIPTS, AUDITS = 20, 200  # kept of those that were written; each log has its head beside it
PROGRAM = """\
import sys
print("ready", flush=True)
for line in sys.stdin:
    open("note.txt", "a").write(line)
    print("said", line.strip(), flush=True)
"""
PAYLOAD = {
    "manifest": {"name": "echo"},
    "files": [{"path": "echo.py", "content": PROGRAM}],
    "entrypoint": "python echo.py",
}
LINES = b":rt hello\n:rt again\n:quit\n"


async def session(home: Path, payload: Path) -> None:
    """Run one session and check what it said."""
    own = {f"XDG_{name}_HOME": str(home / name.lower()) for name in ("DATA", "STATE", "CACHE")}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "lmboot", "boot", "--payload", str(payload)),
        *("--sandbox", "bubblewrap", "--yes", "--json"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, **own},
    )
    async with asyncio.timeout(SECONDS):
        out, err = await process.communicate(LINES)
    said = [shown["text"] for shown in map(json.loads, out.splitlines()) if shown["pane"] == "rt"]
    if process.returncode != 0 or said != ["ready", "said hello", "said again"]:
        raise AssertionError(f"status {process.returncode}, {said}: {err.decode()}")


async def soak(count: int) -> dict[str, int]:
    """Run so many; return how many files they left in the user's folders."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        payload = home / "payload.json"
        payload.write_text(json.dumps(PAYLOAD))
        await session(home, payload)
        before, files = held(), _files(home)
        for _ in range(count - 1):
            await session(home, payload)
        await nothing_beyond(before)
        more = _files(home) - files
        kept = [name for name in more if not name.endswith((".jsonl", ".jsonl.head"))]
        if kept or len(more) > TRANSCRIPTS + AUDITS:
            raise AssertionError(f"files left behind: {sorted(more)}")
    return {"sessions": count, "files": len(files | more)}


def _files(home: Path) -> set[str]:
    return {str(path.relative_to(home)) for path in home.rglob("*") if path.is_file()}


def main(count: int = ROUNDS) -> dict[str, int]:
    """Run `count` sessions."""
    return asyncio.run(soak(count))
