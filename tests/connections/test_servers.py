"""Telling servers apart: only what a server proves counts, the most specific first."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import httpx
import pytest
import respx
from hypothesis import given, settings
from hypothesis import strategies as st

from lmboot.connections.interface import Kind
from lmboot.connections.listing import Server
from lmboot.connections.servers import (
    FINGERPRINTS,
    discover,
    identify,
    lmstudio_home,
    lmstudio_ports,
)
from lmboot.connections.transport import Reply
from lmboot.errors import NoServer, TokenRefused
from tests.connections.lookalike import Lookalike

BASE = "http://127.0.0.1:4321"
LLAMA = {"Server": "llama.cpp"}
KOBOLD = {"result": "KoboldCpp", "version": "1.100", "protected": False}
LISTED: dict[Kind, dict[str, Any]] = {
    "llamacpp": {"data": [{"id": "m", "owned_by": "llamacpp"}], "models": [{"name": "m"}]},
    "vllm": {"data": [{"id": "m", "owned_by": "vllm", "max_model_len": 4096}]},
    "gpt4all": {"data": [{"id": "m", "owned_by": "humanity"}]},
    "openai": {"data": [{"id": "m", "owned_by": "somebody"}]},
}


def identified(
    pages: dict[str, Any], *, other: httpx.Response | None = None, base: str = BASE
) -> Server:
    with respx.mock(assert_all_called=False) as router:
        for path, page in pages.items():
            answer = page if isinstance(page, httpx.Response) else httpx.Response(200, json=page)
            router.get(base + path).mock(return_value=answer)
        router.route().mock(return_value=other or httpx.Response(404))
        return asyncio.run(identify(base))


@pytest.mark.parametrize(
    ("pages", "kind"),
    [
        ({"/lmstudio-greeting": {"lmstudio": True}}, "lmstudio"),
        ({"/api/extra/version": KOBOLD}, "koboldcpp"),
        ({"/": httpx.Response(200, text="Ollama is running")}, "ollama"),
        ({"/health": httpx.Response(200, headers=LLAMA, json={"status": "ok"})}, "llamacpp"),
        ({"/health": httpx.Response(503, headers=LLAMA, json={"error": {}})}, "llamacpp"),
        ({"/props": {"build_info": "b1", "default_generation_settings": {}}}, "llamacpp"),
        ({"/v1/models": LISTED["llamacpp"]}, "llamacpp"),
        ({"/v1/models": LISTED["vllm"]}, "vllm"),
        ({"/v1/models": LISTED["gpt4all"]}, "gpt4all"),
        ({"/openapi.json": {"info": {"title": "Jan API Server"}}}, "jan"),
        (
            {"/openapi.json": {"info": {"title": "🦙 llama.cpp Python API"}}},
            "openai",
        ),
        ({"/v1/models": LISTED["openai"]}, "openai"),
        ({"/v1/models": {"object": "list", "data": []}}, "openai"),
    ],
)
def test_every_known_server_is_known_by_what_only_it_answers(
    pages: dict[str, Any], kind: Kind
) -> None:
    assert identified(pages) == Server(BASE, kind, local=True)


def test_an_lm_studio_without_the_greeting_is_known_by_its_words() -> None:
    unknown = httpx.Response(200, json={"error": "Unexpected endpoint or method. (GET /)"})

    assert identified({}, other=unknown).kind == "lmstudio"


def test_an_lm_studio_that_wants_a_token_for_everything_is_still_known() -> None:
    refusal = {"error": {"message": "An LM Studio API token is required"}}

    assert identified({}, other=httpx.Response(401, json=refusal)).kind == "lmstudio"


def test_koboldcpp_that_imitates_ollama_is_koboldcpp() -> None:
    ollama = {"/": httpx.Response(200, text="Ollama is running"), "/api/tags": {"models": []}}

    assert identified({**ollama, "/api/extra/version": KOBOLD}).kind == "koboldcpp"


@pytest.mark.parametrize(
    "other",
    [
        httpx.Response(200, text="<html>a web site</html>"),
        httpx.Response(200, json={"version": "1"}),
        httpx.Response(200, json=[]),
        httpx.Response(404),
        httpx.Response(302, headers={"Location": "/login"}),
    ],
)
def test_something_else_on_the_port_is_no_server(other: httpx.Response) -> None:
    with pytest.raises(NoServer) as caught:
        identified({}, other=other)

    assert caught.value.hint


def test_an_unknown_server_that_wants_a_token_says_so() -> None:
    with pytest.raises(TokenRefused):
        identified({}, other=httpx.Response(401))


def test_a_known_server_that_wants_a_token_is_still_known() -> None:
    pages = {"/health": httpx.Response(200, headers=LLAMA)}

    assert identified(pages, other=httpx.Response(401)).kind == "llamacpp"


def test_a_server_on_another_machine_is_not_local() -> None:
    base = "http://203.0.113.5:1234"

    assert identified({"/lmstudio-greeting": {"lmstudio": True}}, base=base) == Server(
        base, "lmstudio", local=False
    )


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["lmstudio", "error", "result", "data", "id", "owned_by", "info"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@settings(deadline=None)
@given(ANYTHING)
def test_no_json_of_any_shape_breaks_a_fingerprint(value: Any) -> None:
    reply = Reply(200, {}, json.dumps(value).encode())

    assert all(fingerprint.proves(reply) in (True, False) for fingerprint in FINGERPRINTS)


async def test_nobody_at_the_address_is_no_server() -> None:
    async with Lookalike() as lookalike:
        base = lookalike.base

    with pytest.raises(NoServer, match="nothing answers"):
        await identify(base)


async def test_an_endless_answer_does_not_hold_up_the_question() -> None:
    async with _Endless() as base:
        with pytest.raises(NoServer):
            await identify(base)


async def test_a_port_that_speaks_another_language_is_no_server() -> None:
    async with _Endless(b"SSH-2.0-OpenSSH_9.9\r\n", endless=False) as base:
        with pytest.raises(NoServer, match="something else"):
            await identify(base)


async def test_the_named_server_gets_the_token() -> None:
    async with Lookalike(token="sk-lm-right") as lookalike:
        await identify(lookalike.base, "sk-lm-right")

    assert {request.headers.get("authorization") for request in lookalike.requests} == {
        "Bearer sk-lm-right"
    }


async def test_servers_are_found_on_open_ports_without_any_token(tmp_path: Path) -> None:
    async with Lookalike() as closed:
        pass
    async with Lookalike(token="sk-lm-right") as lookalike:
        found = await discover(tmp_path, [closed.port, lookalike.port])

    assert found == [Server(lookalike.base, "lmstudio")]
    assert not any("authorization" in request.headers for request in lookalike.requests)


async def test_an_open_port_alone_is_no_server(tmp_path: Path) -> None:
    async with _Endless(b"SSH-2.0-OpenSSH_9.9\r\n", endless=False) as base:
        assert await discover(tmp_path, [int(base.rpartition(":")[2])]) == []


async def test_lm_studio_is_found_on_the_port_of_its_own_configuration(tmp_path: Path) -> None:
    async with Lookalike() as lookalike:
        _configure(tmp_path / ".lmstudio", {"port": lookalike.port})
        found = await discover(tmp_path, [])

    assert found == [Server(lookalike.base, "lmstudio")]


def test_a_pointer_leads_to_lm_studios_folder(tmp_path: Path) -> None:
    (tmp_path / ".lmstudio-home-pointer").write_text(f"{tmp_path}/elsewhere\n")
    _configure(tmp_path / "elsewhere", {"port": 4711})

    assert lmstudio_ports(tmp_path) == [4711]


def test_lm_studios_old_folder_counts_where_it_exists(tmp_path: Path) -> None:
    assert lmstudio_home(tmp_path) == tmp_path / ".lmstudio"

    (tmp_path / ".cache/lm-studio").mkdir(parents=True)

    assert lmstudio_home(tmp_path) == tmp_path / ".cache/lm-studio"


@pytest.mark.parametrize("config", ["", "{", "[]", {"port": "x"}, {"port": 0}, {"port": 70_000}])
def test_a_damaged_configuration_names_no_port(tmp_path: Path, config: object) -> None:
    _configure(tmp_path / ".lmstudio", config)

    assert lmstudio_ports(tmp_path) == []


@pytest.mark.parametrize("pointer", [b"\x00", b"\xff\xfe", b" \n", b"/no/such/place"])
def test_a_damaged_pointer_is_no_error(tmp_path: Path, pointer: bytes) -> None:
    (tmp_path / ".lmstudio-home-pointer").write_bytes(pointer)

    assert lmstudio_ports(tmp_path) == []


def _configure(home: Path, config: object) -> None:
    folder = home / ".internal"
    folder.mkdir(parents=True)
    text = config if isinstance(config, str) else json.dumps(config)
    (folder / "http-server-config.json").write_text(text)


class _Endless:
    """A port that answers every request with these bytes, for ever if asked to."""

    def __init__(
        self, data: bytes = b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 1000, *, endless: bool = True
    ) -> None:
        self._data = data
        self._endless = endless
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> str:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(self._data)
            while self._endless:
                writer.write(b"x" * 100_000)
                await writer.drain()
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()
