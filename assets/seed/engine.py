"""A seed model behind a real engine in a child process: for the figures and for the tests.

A process of its own, because the engine's constructor holds the interpreter for as long as it
loads, and because it writes to standard error what nobody wants to read.
"""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

PATH = Path(__file__).with_name("seed.gguf")
TIMEOUT_SECONDS = 120.0
CHILD = """
import sys, xllamacpp
params = xllamacpp.CommonParams()
params.model.path, params.n_parallel, params.ui = sys.argv[1], 1, False
params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 2
server = xllamacpp.Server(params)
print(server.listening_address, flush=True)
sys.stdin.read()
"""

Message = tuple[str, str]  # role, text


class Engine:
    """A running engine; a context manager that ends it."""

    def __init__(self, path: Path = PATH) -> None:
        self._child = subprocess.Popen(
            [sys.executable, "-c", CHILD, str(path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert self._child.stdout is not None
        self.url = self._child.stdout.readline().strip()
        if not self.url:
            raise RuntimeError(f"the engine could not load {path}")

    def __enter__(self) -> Engine:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._child.communicate()  # it ends when its standard input does

    def post(self, path: str, **body: object) -> Any:
        """Return the server's JSON answer."""
        request = urllib.request.Request(
            self.url + path, json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as response:
            return json.load(response)

    def chat(self, messages: Sequence[Message], **options: object) -> str:
        """Return the answer to a conversation, at temperature 0 unless told otherwise."""
        body = {"temperature": 0, "max_tokens": 1500, **options}
        talk = [{"role": role, "content": text} for role, text in messages]
        answer = self.post("/v1/chat/completions", messages=talk, **body)
        return str(answer["choices"][0]["message"]["content"])

    def ask(self, text: str, system: str | None = None, **options: object) -> str:
        """Return the answer to one message, with a system text or without."""
        messages = [("system", system)] if system else []
        return self.chat([*messages, ("user", text)], **options)
