"""What a runtime sends to the model's server: counted at a server that looks like llama.cpp's."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.cli.program import Bench, Done
from tests.cli.test_boot_border import ASKS

SECRET = "the text that must not leave"
ROUTES = dict.fromkeys(["tokenize", "logits", "query_model"], "HOST")
ANSWERS = {
    "/props": {
        "default_generation_settings": {"n_ctx": 8192}, "total_slots": 1, "build_info": "b1",
    },
    "/v1/models": {"object": "list", "data": [{"id": "tiny", "owned_by": "llamacpp"}]},
    "/health": {"status": "ok"},
    "/v1/chat/completions/input_tokens": {"input_tokens": 5},
    "/completion": {
        "completion_probabilities": [{"top_logprobs": [{"token": "a", "logprob": -0.1}]}],
    },
}  # fmt: skip


class Handler(BaseHTTPRequestHandler):
    """Answers what it is asked for, and keeps what it was sent."""

    def do_GET(self) -> None:
        self._tell()

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        self.server.sent.append((self.path, body))  # type: ignore[attr-defined]  # of this server
        self._tell()

    def _tell(self) -> None:
        answer = ANSWERS.get(self.path)
        data = json.dumps(answer or {"error": "no such thing"}).encode()
        self.send_response(200 if answer else 404)
        self.send_header("Server", "llama.cpp")
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name there
        return


class Counting:
    """The server: `base` is its address, `sent` what was posted to it."""

    def __init__(self) -> None:
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.sent: list[tuple[str, str]] = []
        self._server.sent = self.sent  # type: ignore[attr-defined]  # the handler's way to it
        self.base = f"http://127.0.0.1:{self._server.server_port}"

    @contextmanager
    def running(self) -> Iterator[Counting]:
        thread = threading.Thread(target=self._server.serve_forever)
        thread.start()
        try:
            yield self
        finally:
            self._server.shutdown()
            thread.join()
            self._server.server_close()

    @property
    def with_secret(self) -> list[str]:
        return [path for path, body in self.sent if SECRET in body]


@pytest.fixture
def server() -> Iterator[Counting]:
    with Counting().running() as server:
        yield server


async def talked(bench: Bench, server: Counting, *lines: str) -> Done:
    file = bench.payload(ASKS, routes=ROUTES)
    words = ["boot", "--server", server.base, "--model", "tiny", "--payload", file]
    return await bench.run(*words, "--yes", "--json", lines=lines)


TOKENIZE = f':rt tokenize {{"text": "{SECRET}"}}'


async def test_no_text_goes_to_the_server_without_a_grant(bench: Bench, server: Counting) -> None:
    asks = [
        TOKENIZE,
        f':rt logits {{"text": "{SECRET}"}}',
        f':rt query_model {{"prompt": "{SECRET}"}}',
    ]
    done = await talked(bench, server, *asks, ":grant time", ":grant logits", TOKENIZE)

    assert server.with_secret == []
    tokens, logits, query, again = done.pane("rt")[1:]
    assert tokens == again == "HostError tokenize: tokenize is not granted"
    assert logits.startswith("HostError logits")
    assert query.startswith("HostError query_model")
    assert any("`:grant query_model` allows it" in text for text in done.pane("sys"))


async def test_with_the_grant_of_asking_the_model_tokens_are_counted_there(
    bench: Bench, server: Counting
) -> None:
    lines = [":grant query_model", TOKENIZE, ":revoke query_model", TOKENIZE]
    done = await talked(bench, server, *lines)

    counted, refused = done.pane("rt")[1:]
    assert json.loads(counted) == {"tokens": 5}
    assert refused == "HostError tokenize: tokenize is not granted"
    assert server.with_secret == ["/v1/chat/completions/input_tokens"]
