"""The engine: a real llama.cpp with random weights, and an imitated llama-server."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import httpx
import psutil
import pytest
import pytest_asyncio

from lmboot.connections.engine import Engine, available, explain, threads_for
from lmboot.errors import EngineFailed, FileUnreadable
from lmboot.gguf import Header
from tests.connections.tiny_gguf import write_tiny_gguf

pytestmark = [
    pytest.mark.engine,
    pytest.mark.skipif(sys.platform == "win32", reason="written for processes and signals"),
]
needs_xllamacpp = pytest.mark.skipif(available() != "xllamacpp", reason="the extra is missing")

FAKE_SERVER = '''\
#!{python}
"""Imitates llama-server: loads for a moment, wants its key, knows one model."""
import argparse, http.server, json, os, sys

parser = argparse.ArgumentParser()
for word in ("-m", "-c", "-t", "-np", "--host", "--port", "--alias"):
    parser.add_argument(word)
options = parser.parse_args()
mode = os.environ.get("FAKE_SERVER", "")
if mode == "fails":
    sys.exit("0.00.004 E llama_model_load: error loading model: the weights are made of cheese")
health = iter([503, 503])


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        key = "Bearer " + os.environ["LLAMA_API_KEY"]
        open_to_all = self.path == "/health" or mode == "keyless"
        status = 200 if open_to_all or self.headers.get("Authorization") == key else 401
        self.send_response(next(health, 200) if self.path == "/health" else status)
        self.end_headers()
        body = {{"data": [{{"id": options.alias, "argv": sys.argv, "pid": os.getpid(),
                 "ui": os.environ.get("LLAMA_ARG_UI")}}]}}
        self.wfile.write(json.dumps(body).encode() if status == 200 else b"{{}}")


http.server.ThreadingHTTPServer((options.host, int(options.port)), Handler).serve_forever()
'''


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_gguf(tmp_path_factory.mktemp("model") / "tiny.gguf")


@pytest_asyncio.fixture(loop_scope="function")
async def engine(model: Path) -> AsyncIterator[Engine]:
    started = await Engine.start(model, alias="tiny")
    yield started
    assert await started.stop()


@pytest.fixture
def on_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put the imitated llama-server on the PATH, alone."""
    program = tmp_path / "llama-server"
    program.write_text(FAKE_SERVER.format(python=sys.executable))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    return program


def header(size_bytes: int) -> Header:
    return Header(3, "llama", None, None, None, None, 0, False, size_bytes)


async def wait_until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - what other processes do sends no event
            await asyncio.sleep(0.005)


def get(engine: Engine, path: str, **headers: str) -> httpx.Response:
    return httpx.get(engine.url + path, headers=headers, timeout=20, trust_env=False)


def authorized(engine: Engine) -> dict[str, str]:
    return {"Authorization": f"Bearer {engine.api_key}"}


def descendants() -> list[psutil.Process]:
    found: list[psutil.Process] = psutil.Process().children(recursive=True)
    return found


# --- with the real llama.cpp -------------------------------------------------------------------


@needs_xllamacpp
async def test_it_serves_who_knows_the_key_and_only_them(engine: Engine) -> None:
    refused = get(engine, "/v1/models")
    answered = get(engine, "/v1/models", **authorized(engine))

    assert refused.status_code == 401
    assert [row["id"] for row in answered.json()["data"]] == ["tiny"]
    assert engine.url.startswith("http://127.0.0.1:")
    assert engine.load_seconds > 0
    assert engine.header.name == "tiny"


@needs_xllamacpp
async def test_it_has_no_web_page_and_lets_no_web_page_in(engine: Engine) -> None:
    page = get(engine, "/")
    stranger = get(engine, "/health", Origin="https://example.com")

    assert page.status_code in (401, 404)
    assert "Access-Control-Allow-Origin" not in stranger.headers


@needs_xllamacpp
async def test_it_answers_a_chat(engine: Engine) -> None:
    question = {"messages": [{"role": "user", "content": "hello"}], "max_tokens": 5}

    async with httpx.AsyncClient(base_url=engine.url, headers=authorized(engine)) as client:
        reply = await client.post("/v1/chat/completions", json=question, timeout=20)

    assert reply.json()["usage"]["completion_tokens"] <= 5
    assert reply.json()["model"] == "tiny"


@needs_xllamacpp
async def test_its_context_is_the_models_own_where_that_is_smaller(engine: Engine) -> None:
    slots = get(engine, "/slots", **authorized(engine)).json()

    assert [slot["n_ctx"] for slot in slots] == [256]


@needs_xllamacpp
async def test_the_key_is_in_no_command_line_and_no_environment(engine: Engine) -> None:
    process = psutil.Process(engine.pid)

    assert engine.api_key not in " ".join(process.cmdline())
    assert engine.api_key not in "".join(process.environ().values())


@needs_xllamacpp
async def test_keys_for_other_servers_do_not_reach_it(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LLM_API_KEY", "secret")
    monkeypatch.setenv("LLAMA_ARG_HOST", "0.0.0.0")

    engine = await Engine.start(model, alias="tiny")
    environment = psutil.Process(engine.pid).environ()
    await engine.stop()

    assert not {"LLM_API_KEY", "LLAMA_ARG_HOST"} & set(environment)


@needs_xllamacpp
async def test_stop_ends_it_at_once_and_may_be_called_again(model: Path) -> None:
    engine = await Engine.start(model, alias="tiny")

    async with asyncio.timeout(2):
        assert all(await asyncio.gather(engine.stop(), engine.stop()))

    assert not psutil.pid_exists(engine.pid)
    assert engine.died.is_set()
    assert engine.fault is None
    assert await engine.stop()


@needs_xllamacpp
async def test_stop_does_not_wait_for_an_answer_in_progress(model: Path) -> None:
    engine = await Engine.start(model, alias="tiny", context=32_768)
    question = {
        "messages": [{"role": "user", "content": "hello"}],
        "max_tokens": 30_000,
        "stream": True,
        "ignore_eos": True,
    }

    async with (
        httpx.AsyncClient(timeout=20) as client,
        client.stream(
            "POST", engine.url + "/v1/chat/completions", json=question, headers=authorized(engine)
        ) as reply,
    ):
        chunks = reply.aiter_text()
        assert "data:" in await anext(chunks)
        async with asyncio.timeout(2):
            assert await engine.stop()
        with contextlib.suppress(httpx.TransportError):  # or its server ended it in good order
            async for _ in chunks:
                pass

    assert not psutil.pid_exists(engine.pid)


@needs_xllamacpp
async def test_a_child_that_ignores_the_end_of_input_is_killed(model: Path) -> None:
    engine = await Engine.start(model, alias="tiny")
    os.kill(engine.pid, signal.SIGSTOP)

    async with asyncio.timeout(2):
        assert await engine.stop()

    assert not psutil.pid_exists(engine.pid)


@needs_xllamacpp
async def test_a_crash_is_noticed_and_explained(model: Path) -> None:
    engine = await Engine.start(model, alias="tiny")

    os.kill(engine.pid, signal.SIGKILL)
    async with asyncio.timeout(5):
        await engine.died.wait()

    assert isinstance(engine.fault, EngineFailed)
    assert "signal 9 (SIGKILL)" in str(engine.fault)
    assert await engine.stop()


@needs_xllamacpp
async def test_a_model_that_llama_cpp_does_not_know_is_explained(tmp_path: Path) -> None:
    path = write_tiny_gguf(tmp_path / "new.gguf", architecture="martian")

    with pytest.raises(EngineFailed, match="architecture, martian") as caught:
        await Engine.start(path, alias="new")

    assert "pip install -U" in caught.value.hint
    assert not descendants()


@needs_xllamacpp
async def test_a_model_whose_parts_contradict_each_other_gives_llama_cpps_words(
    tmp_path: Path,
) -> None:
    path = write_tiny_gguf(tmp_path / "odd.gguf")
    path.write_bytes(path.read_bytes().replace(b"blk.1.ffn_up.weight", b"blk.1.ffn_no.weight"))

    with pytest.raises(EngineFailed, match=r"model: check_tensor_dims: tensor 'blk\.1\.ffn_up"):
        await Engine.start(path, alias="odd")


TALKATIVE = """
import ctypes, os, sys, xllamacpp
from lmboot.connections.engine_child import finish_log
library = xllamacpp.xllamacpp.__file__
llama = ctypes.CDLL(library)
log = llama._Z15common_log_mainv
log.restype = ctypes.c_void_p
add = llama._Z14common_log_addP10common_log14ggml_log_levelPKcz
for number in range(5000):
    add(ctypes.c_void_p(log()), 4, b"line %d\\n", ctypes.c_int(number))
finish_log(library)
os._exit(1)
"""


@needs_xllamacpp
def test_llama_cpps_last_words_are_written_before_its_process_ends() -> None:
    """A thread of its own writes them, some time later."""
    done = subprocess.run(
        [sys.executable, "-c", TALKATIVE], capture_output=True, text=True, check=False
    )

    assert [line.partition("line ")[2] for line in done.stderr.splitlines()] == [
        str(number) for number in range(5000)
    ]


async def test_a_file_that_is_no_model_is_refused_before_any_process(tmp_path: Path) -> None:
    path = tmp_path / "junk.gguf"
    path.write_bytes(b"<html>not found</html>")

    with pytest.raises(FileUnreadable, match="web page"):
        await Engine.start(path, alias="junk")


@needs_xllamacpp
async def test_a_cancelled_start_leaves_no_process(model: Path) -> None:
    for turns in (0, 1, 2, 3, 5, 8, 13, 21):
        start = asyncio.create_task(Engine.start(model, alias="tiny"))
        for _ in range(turns):
            await asyncio.sleep(0)
        start.cancel()
        with pytest.raises(asyncio.CancelledError):
            await start
        assert not descendants(), turns


@needs_xllamacpp
async def test_a_start_cancelled_while_the_child_runs_leaves_no_process(model: Path) -> None:
    start = asyncio.create_task(Engine.start(model, alias="tiny"))
    await wait_until(lambda: bool(descendants()))

    start.cancel()
    with pytest.raises(asyncio.CancelledError):
        await start

    assert not descendants()


PARENT = """
    import asyncio, sys
    from lmboot.connections.engine import Engine

    async def main():
        engine = await Engine.start(sys.argv[1], alias="tiny")
        print(engine.pid, flush=True)
        await asyncio.Event().wait()

    asyncio.run(main())
"""


@needs_xllamacpp
async def test_a_killed_parent_takes_the_child_along(model: Path, tmp_path: Path) -> None:
    script = tmp_path / "parent.py"
    script.write_text(textwrap.dedent(PARENT))
    root = str(Path(__file__).parents[2])
    parent = await asyncio.create_subprocess_exec(
        sys.executable,
        str(script),
        str(model),
        stdout=asyncio.subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": root},
    )
    assert parent.stdout is not None
    child = psutil.Process(int(await parent.stdout.readline()))

    parent.kill()
    await parent.wait()

    await wait_until(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE)


# --- with an imitated llama-server -------------------------------------------------------------


async def test_llama_server_is_started_with_the_key_in_its_environment_only(
    model: Path, on_path: Path
) -> None:
    engine = await Engine.start(model, alias="tiny", context=512, backend="llama-server")

    assert get(engine, "/v1/models").status_code == 401
    (row,) = get(engine, "/v1/models", **authorized(engine)).json()["data"]
    assert await engine.stop()

    assert row["id"] == "tiny"
    assert row["ui"] == "0"
    assert ["-m", str(model), "-c", "512"] == row["argv"][1:5]
    assert engine.api_key not in row["argv"]
    assert not psutil.pid_exists(row["pid"])


async def test_llama_server_does_not_outlive_its_killed_keeper(model: Path, on_path: Path) -> None:
    engine = await Engine.start(model, alias="tiny", backend="llama-server")
    (server,) = psutil.Process(engine.pid).children()

    os.kill(engine.pid, signal.SIGKILL)
    await engine.died.wait()

    await wait_until(lambda: not server.is_running() or server.status() == psutil.STATUS_ZOMBIE)


async def test_a_llama_server_that_ends_is_a_crash(model: Path, on_path: Path) -> None:
    engine = await Engine.start(model, alias="tiny", backend="llama-server")
    (server,) = psutil.Process(engine.pid).children()

    server.kill()
    async with asyncio.timeout(5):
        await engine.died.wait()

    assert isinstance(engine.fault, EngineFailed)


@pytest.mark.parametrize(
    ("mode", "words"), [("fails", "made of cheese"), ("keyless", "it is too old")]
)
async def test_a_llama_server_that_fails_or_answers_anyone_is_refused(
    model: Path, on_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str, words: str
) -> None:
    monkeypatch.setenv("FAKE_SERVER", mode)

    with pytest.raises(EngineFailed, match=words):
        await Engine.start(model, alias="tiny", backend="llama-server")

    assert not descendants()


async def test_with_neither_the_sentence_says_what_to_install(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(EngineFailed, match="not installed") as caught:
        await Engine.start(model, alias="tiny", backend="llama-server")

    assert "pip install 'xllamacpp>=" in caught.value.hint


# --- what it chooses and says -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("returncode", "stderr", "words"),
    [
        (1, "0.1 E x: failed to allocate CPU buffer of size 204800000000\n", "not enough memory"),
        (1, "engine error: ModuleNotFoundError: No module named 'xllamacpp'", "is not installed"),
        (1, "engine error: ImportError: libfoo.so.1: no such file", "libfoo.so.1"),
        (-9, "", r"signal 9 \(SIGKILL\); the system does this when memory"),
        (-6, "ggml.c:1: GGML_ASSERT(x) failed\n", r"signal 6 \(SIGABRT\); ggml.c:1: GGML_ASSERT"),
        (1, "", "status 1 and without a word"),
        (1, "all well\nthe last line\x1b[2J", "the last line"),
    ],
)
def test_the_end_of_a_child_becomes_a_sentence(returncode: int, stderr: str, words: str) -> None:
    fault = explain("could not load the model", returncode, stderr)

    assert fault.hint
    with pytest.raises(EngineFailed, match=words):
        raise fault


def test_a_small_model_gets_one_thread_and_a_large_one_no_more_than_there_are_processors() -> None:
    assert threads_for(header(3_000_000)) == 1
    assert 1 <= threads_for(header(4_000_000_000)) <= min(os.cpu_count() or 1, 8)
