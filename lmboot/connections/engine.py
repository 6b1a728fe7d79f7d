"""llama.cpp for a local `.gguf`, in a process of its own; to every later layer one more server.

Loading holds the interpreter's lock and a native abort ends the process, so neither may happen
here. The child listens on a free port of this machine only, wants a key that it was told over
stdin, and ends when its stdin closes, so it can't outlive lmboot.

Run on Linux. Windows and macOS have no process-death signal and Windows no process groups: there
the closed stdin is what ends the child, and a `llama-server` under a child that had to be killed
is not reached.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import json
import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from time import monotonic
from typing import Any, Literal

from lmboot.errors import EngineFailed, FileUnreadable
from lmboot.gguf import Header, read_header
from lmboot.text import brief, plain

Backend = Literal["xllamacpp", "llama-server"]

DEFAULT_CONTEXT = 8192  # room for primer, payload and a talk; a model's own 128k would fill memory
MAX_THREADS = 8  # beyond, memory is the limit and not arithmetic
SMALL_MODEL_BYTES = 64 << 20  # below, threads wait for each other longer than they work
GRACE_SECONDS = 0.5
TERMINATE_SECONDS = 0.7
STOP_SECONDS = 2.0

_CHILD = Path(__file__).with_name("engine_child.py")
_KILL = getattr(signal, "SIGKILL", signal.SIGTERM)  # Windows has one way only
_TAIL_BYTES = 64 << 10
_LINE_BYTES = 64 << 10
_POLL_SECONDS = 0.01
# The package by its own name: lmboot's is nobody's yet where pip looks.
PACKAGE = "pip install 'xllamacpp>=2026.10'"
_INSTALL = (
    f"Run `{PACKAGE}` in lmboot's environment (`.venv/bin/pip`), or put llama-server on the PATH."
)
_UPDATE = "update with `pip install -U xllamacpp` in lmboot's environment (`.venv/bin/pip`)"
_OWN_SECRETS = frozenset({"LLM_API_KEY", "LM_API_TOKEN", "HF_TOKEN"})

_CAUSE = re.compile(r"error|fail|abort|assert|invalid|unsupported|not supported|too old", re.I)
# True of every failed load, so they explain none.
_NO_CAUSE = re.compile(
    r"exiting due to|common_fit_params|Failed to init server|failed to load model(?:$|[ ,'])"
    r"|failed to create_?\s?context|ended with status"
)
_LOG_PREFIX = re.compile(
    r"^(?:[\d.]+ )?(?:[EWI] )?(?:(?:srv|cmn)\s+)?(?:\w+: )?(?:error loading model: )?"
)
# What llama.cpp says -> what it means, what to do.
_MEANINGS = (
    (
        re.compile(r"unknown model architecture: '([^']{1,60})'"),
        "this llama.cpp does not know the model's architecture, {}",
        f"Choose another model, or {_UPDATE}.",
    ),
    (
        re.compile(r"failed to allocate|cannot allocate|out of ?memory|bad_alloc", re.I),
        "there is not enough memory for this model and context",
        "Choose a smaller model or a smaller context, or close other programs.",
    ),
    (
        re.compile(r"ModuleNotFoundError: No module named 'xllamacpp'"),
        "xllamacpp is not installed",
        _INSTALL,
    ),
    (
        re.compile(r"ImportError: (.{1,200})"),
        "xllamacpp can't be loaded on this machine: {}",
        "Put a llama-server that was built for this machine on the PATH.",
    ),
)


def available() -> Backend | None:
    """Say what the engine would run on; nothing is loaded to find out."""
    if importlib.util.find_spec("xllamacpp") is not None:
        return "xllamacpp"
    return "llama-server" if shutil.which("llama-server") else None


class Engine:
    """One loaded model. `url` is the base address without `/v1`; requests need `api_key`.

    `died` is set when the process has ended, for whatever reason; `fault` then says why, and is
    None when `stop` ended it. `load_seconds` counts from the start of the process.
    """

    url: str
    api_key: str
    load_seconds: float
    header: Header

    def __init__(self, process: asyncio.subprocess.Process, header: Header, api_key: str) -> None:
        self.header = header
        self.api_key = api_key
        self.died = asyncio.Event()
        self.fault: EngineFailed | None = None
        self._process = process
        self._tail = b""
        self._stopping: asyncio.Task[bool] | None = None
        self._stderr = asyncio.create_task(self._keep_stderr())
        self._watch = asyncio.create_task(self._watch_process())

    @classmethod
    async def start(
        cls,
        path: str | os.PathLike[str],
        *,
        alias: str,
        context: int | None = None,
        threads: int | None = None,
        backend: Backend | None = None,
        clock: Callable[[], float] = monotonic,
    ) -> Engine:
        """Load a model and return when it answers; there is no time limit, but cancelling works.

        Raise FileUnreadable at once for a file that is no whole model, EngineFailed if llama.cpp
        is missing or can't load it. `context` is by default the model's own, 8192 at most.
        """
        file_name, header = await asyncio.to_thread(_check_file, path)
        api_key = secrets.token_urlsafe(32)
        order = {
            "model": file_name,
            "alias": alias,
            "api_key": api_key,
            "context": context or min(header.context_length or DEFAULT_CONTEXT, DEFAULT_CONTEXT),
            "threads": threads or threads_for(header),
            "program": _program(backend or available()),
        }
        started = clock()
        engine = cls(await _spawn(), header, api_key)
        try:
            engine.url = await engine._load(order)
        except BaseException:
            await engine.stop()
            raise
        engine.load_seconds = clock() - started
        return engine

    @property
    def pid(self) -> int:
        """Return the child's process id."""
        return self._process.pid

    async def stop(self) -> bool:
        """End the process and all that it started; say whether it was verified gone in time.

        Whatever is being answered is dropped. May be called again, and by several at once.
        """
        if self._stopping is None:
            self._stopping = asyncio.create_task(self._stop())
        return await asyncio.shield(self._stopping)

    async def _load(self, order: dict[str, Any]) -> str:
        """Hand over the order and return the address, once the child tells it."""
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None and stdout is not None  # noqa: S101, PT018 - both are pipes
        with contextlib.suppress(ConnectionError):  # it died already: the next line tells
            stdin.write(json.dumps(order).encode() + b"\n")
            await stdin.drain()
        try:
            return str(json.loads(await stdout.readline())["url"])
        except (ValueError, KeyError, TypeError):
            pass
        await self.stop()
        raise self._explanation("could not load the model")

    async def _keep_stderr(self) -> None:
        """Drain stderr, so that the child never waits for us, and keep its end."""
        stderr = self._process.stderr
        assert stderr is not None  # noqa: S101 - a pipe
        while chunk := await stderr.read(_TAIL_BYTES):
            self._tail = (self._tail + chunk)[-_TAIL_BYTES:]

    async def _watch_process(self) -> None:
        await self._process.wait()
        if self._stopping is None:
            _signal_tree(self._process, _KILL)  # a llama-server must not stay without its keeper
            await self._stderr
            self.fault = self._explanation("ended while it was in use")
        self.died.set()

    async def _stop(self) -> bool:
        deadline = monotonic() + STOP_SECONDS
        assert self._process.stdin is not None  # noqa: S101 - a pipe
        self._process.stdin.close()
        if not await self._gone(GRACE_SECONDS):
            _signal_tree(self._process, signal.SIGTERM)
            if not await self._gone(TERMINATE_SECONDS):
                _signal_tree(self._process, _KILL)
        clean = await self._gone(deadline - monotonic())
        if clean:  # the pipes are at their end now, and close
            await asyncio.gather(self._stderr, self._watch)
        else:
            self._stderr.cancel()
            self._watch.cancel()
            self.died.set()
        return clean

    async def _gone(self, seconds: float) -> bool:
        """Wait for the end of the process and its group; say whether it came."""
        try:
            async with asyncio.timeout(seconds):
                await self._process.wait()
                while _tree_alive(self._process):  # noqa: ASYNC110 - no event tells of it
                    await asyncio.sleep(_POLL_SECONDS)
        except TimeoutError:
            return False
        return True

    def _explanation(self, what: str) -> EngineFailed:
        text = self._tail.decode(errors="replace").replace(self.api_key, "***")
        return explain(what, self._process.returncode, text)


def _check_file(path: str | os.PathLike[str]) -> tuple[str, Header]:
    """Return the name that the child will open, and the header."""
    file_name = os.path.abspath(path)
    header = read_header(file_name)
    try:
        file_name.encode()
    except UnicodeEncodeError:
        raise FileUnreadable(
            f"The name of {brief(file_name)} is not valid Unicode; llama.cpp can't open it.",
            hint="Rename it.",
        ) from None
    return file_name, header


def threads_for(header: Header) -> int:
    """Return how many threads suit the model, of the processors that this process may use."""
    if header.size_bytes < SMALL_MODEL_BYTES:
        return 1
    affinity = getattr(os, "sched_getaffinity", None)  # Linux only
    return min(len(affinity(0)) if affinity else os.cpu_count() or 1, MAX_THREADS)


def _program(backend: Backend | None) -> str | None:
    """Return the server program to run; None for xllamacpp, which runs inside the child."""
    if backend == "xllamacpp":
        return None
    program = shutil.which("llama-server")
    if program is None:
        raise EngineFailed(
            "xllamacpp is not installed, so there is no llama.cpp to load the model with.",
            hint=_INSTALL,
        )
    return program


async def _spawn() -> asyncio.subprocess.Process:
    try:
        # -P: the script's folder holds modules of ours, which must not pass for the library's.
        return await asyncio.create_subprocess_exec(
            sys.executable,
            "-P",
            str(_CHILD),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            limit=_LINE_BYTES,
            env=_environment(),
            **_spawn_options(),
        )
    except OSError as exc:
        raise EngineFailed(
            f"The engine's process could not be started: {brief(exc.strerror or str(exc))}.",
            hint="Close other programs, and check the installation with `lmboot doctor`.",
        ) from exc


def _environment() -> dict[str, str]:
    """Return ours, without keys for other servers and without settings meant for other runs."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if name not in _OWN_SECRETS and not name.startswith(("LLAMA_ARG_", "LLAMA_API_"))
    }
    # Threads that spin while they wait crawl (6 tokens a second, not 40) as soon as another
    # program wants one of their cores.
    return {"OMP_WAIT_POLICY": "PASSIVE"} | kept


def _spawn_options() -> dict[str, Any]:
    """Keep a terminal's Ctrl+C from the child: stopping it is our decision."""
    if sys.platform == "win32":
        return {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.CREATE_NO_WINDOW}
    else:  # not after it: mypy tells the platforms apart
        return {"start_new_session": True}


def _signal_tree(process: asyncio.subprocess.Process, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        if sys.platform == "win32":
            process.send_signal(number)
        else:
            os.killpg(process.pid, number)


def _tree_alive(process: asyncio.subprocess.Process) -> bool:
    if sys.platform == "win32":
        return process.returncode is None
    else:  # not after it: mypy tells the platforms apart
        try:
            os.killpg(process.pid, 0)
        except ProcessLookupError:
            return False
        return True


def explain(what: str, returncode: int | None, stderr: str) -> EngineFailed:
    """Turn an ended child into a sentence: a known cause, else its last words, else the signal."""
    for pattern, meaning, hint in _MEANINGS:
        if found := pattern.search(stderr):
            cause = meaning.format(*(brief(group) for group in found.groups()))
            return EngineFailed(f"The engine {what}: {cause}.", hint=hint)
    words = _last_words(stderr)
    if returncode is not None and returncode < 0:
        return _explain_signal(what, -returncode, words)
    cause = words or f"its process ended with status {returncode} and without a word"
    return EngineFailed(
        f"The engine {what}: {cause}.", hint="Try another model file, or run `lmboot doctor`."
    )


def _explain_signal(what: str, number: int, words: str) -> EngineFailed:
    name = signal.Signals(number).name if number in set(signal.Signals) else "unknown"
    killed = name == "SIGKILL"
    cause = "; the system does this when memory runs out" if killed else words and f"; {words}"
    return EngineFailed(
        f"The engine {what}: its process was ended by signal {number} ({name}){cause}.",
        hint="Choose a smaller model or a smaller context, or close other programs."
        if killed
        else f"Try another model file, or {_UPDATE}.",
    )


def _last_words(stderr: str) -> str:
    """Return the one or two lines that tell a cause, without the log's own marks."""
    lines = [line for each in stderr.splitlines() if (line := plain(each).strip())]
    telling = [line for line in lines if _CAUSE.search(line) and not _NO_CAUSE.search(line)]
    chosen = [_LOG_PREFIX.sub("", line) for line in telling[-2:] or lines[-1:]]
    return brief("; ".join(dict.fromkeys(chosen))).rstrip(".")
