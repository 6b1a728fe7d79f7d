"""lmboot as a program of its own: started, talked to, and looked at from outside."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
SECONDS = 90.0  # nothing here takes as long; a hang must end
ECHO = """\
import sys
print("ready", flush=True)
for line in sys.stdin:
    print("you said " + line.strip(), flush=True)
"""
_NEVER = ("Traceback", "Exception ignored", "Fatal Python error", "ResourceWarning")


@dataclass(frozen=True)
class Done:
    """What became of one run."""

    code: int
    out: str
    err: str

    @property
    def objects(self) -> list[dict[str, Any]]:
        """Return what `--json` printed."""
        return [json.loads(line) for line in self.out.splitlines()]

    @property
    def events(self) -> list[str]:
        return [each["event"] for each in self.objects if "event" in each]

    def pane(self, *panes: str) -> list[str]:
        return [each["text"] for each in self.objects if each["pane"] in panes]

    def event(self, name: str) -> dict[str, Any]:
        (found,) = [each for each in self.objects if each.get("event") == name]
        return found


class Session:
    """An lmboot that runs."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self._out = b""
        self._errors = asyncio.ensure_future(_all_of(process.stderr))

    async def say(self, *lines: str) -> None:
        """Type lines, and go on."""
        assert self.process.stdin is not None
        self.process.stdin.write("".join(f"{line}\n" for line in lines).encode())
        await self.process.stdin.drain()

    async def until(self, text: str) -> str:
        """Read until a line has a text in it; return that line."""
        assert self.process.stdout is not None
        async with asyncio.timeout(SECONDS):
            while line := await self.process.stdout.readline():
                self._out += line
                if text in line.decode():
                    return line.decode()
        raise AssertionError(f"{text!r} never came: {self._out!r} {await self._errors!r}")

    def kill(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    async def end(self) -> Done:
        """Close its input, and return what became of it."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        return await self.over()

    async def over(self) -> Done:
        """Wait until it has ended by itself; its input stays open."""
        async with asyncio.timeout(SECONDS):
            rest = await _all_of(self.process.stdout)
            errors = await self._errors
            code = await self.process.wait()
        if self.process.stdin is not None:
            self.process.stdin.close()
        done = Done(code, (self._out + rest).decode(), errors.decode())
        assert not any(word in done.err for word in _NEVER), done.err
        return done


async def _all_of(stream: asyncio.StreamReader | None) -> bytes:
    return await stream.read() if stream else b""


@dataclass
class Bench:
    """A place for lmboot to run in: its own folders, its own environment."""

    folder: Path
    env: dict[str, str]
    prefix: list[str] = field(default_factory=list)
    program: list[str] = field(default_factory=lambda: ["-m", "lmboot"])

    @asynccontextmanager
    async def started(self, *arguments: str, **options: Any) -> AsyncIterator[Session]:
        """Start lmboot; it is gone when this is left."""
        process = await asyncio.create_subprocess_exec(
            *(*self.prefix, sys.executable, *self.program, *arguments),
            env=self.env,
            cwd=self.folder,
            limit=64 << 20,
            **{
                "stdin": asyncio.subprocess.PIPE,
                "stdout": asyncio.subprocess.PIPE,
                "stderr": asyncio.subprocess.PIPE,
                **options,
            },
        )
        try:
            yield Session(process)
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()
            process._transport.close()  # type: ignore[attr-defined]

    async def run(self, *arguments: str, lines: Sequence[str] | bytes = ()) -> Done:
        """Run lmboot with these lines as its whole input."""
        data = lines if isinstance(lines, bytes) else "".join(f"{x}\n" for x in lines).encode()
        read, write = os.pipe()
        if len(data) > 60_000:  # more than a pipe holds
            os.close(read)
            os.close(write)
            file = self.folder / "input"
            file.write_bytes(data)
            read = os.open(file, os.O_RDONLY)
        else:
            os.write(write, data)
            os.close(write)
        try:
            async with self.started(*arguments, stdin=read) as session:
                return await session.over()
        finally:
            os.close(read)

    async def boot(self, program: str, *options: str, lines: Sequence[str] | bytes = ()) -> Done:
        """Run a program as a payload, agreed to, with JSON."""
        file = self.payload(program)
        return await self.run("boot", "--payload", file, "--yes", "--json", *options, lines=lines)

    def payload(self, program: str | Mapping[str, str], **manifest: Any) -> str:
        """Write a payload; return its file."""
        file = self.folder / "payload.json"
        file.write_text(payload(program, **manifest))
        return str(file)

    @property
    def kept(self) -> list[Path]:
        return list((Path(self.env["XDG_DATA_HOME"]) / "lmboot" / "payloads").glob("*.json"))

    @property
    def settings(self) -> Path:
        file = Path(self.env["XDG_CONFIG_HOME"]) / "lmboot" / "settings.toml"
        file.parent.mkdir(parents=True, exist_ok=True)
        return file


def payload(program: str | Mapping[str, str], **manifest: Any) -> str:
    """Return a payload's text: one program, or files of which the first is run."""
    files = {"main.py": program} if isinstance(program, str) else program
    return json.dumps(
        {
            "manifest": {"name": "test", **manifest},
            "files": [{"path": path, "content": text} for path, text in files.items()],
            "entrypoint": f"python {next(iter(files))}",
        }
    )


async def becomes(condition: Callable[[], bool], seconds: float = 10.0) -> bool:
    """Wait for a condition outside of this program; say whether it came true."""
    try:
        async with asyncio.timeout(seconds):
            while not condition():  # noqa: ASYNC110 - nobody tells us
                await asyncio.sleep(0.02)
    except TimeoutError:
        return False
    return True
