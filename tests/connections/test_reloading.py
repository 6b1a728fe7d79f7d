"""A model is loaded anew where its server can be told to, and nowhere else."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import httpx
import pytest
import respx

from lmboot.connections.interface import Kind, Model, Raw, Reloading
from lmboot.connections.openai_http import OpenAIConnection
from lmboot.connections.reloading import key_of
from lmboot.errors import ServerRefused

BASE = "http://127.0.0.1:1234"
MODEL = Model("mine", "Tiny", BASE, "lmstudio", "loaded", context_loaded=8192)
LISTED = {"models": [{"key": "acme/tiny", "loaded_instances": [{"id": "mine"}]}]}


def api(mock: respx.MockRouter, what: str, status: int, body: Any) -> respx.Route:
    return mock.post(f"{BASE}/api/v1/models/{what}").mock(httpx.Response(status, json=body))


def body_of(route: respx.Route) -> Any:
    return json.loads(route.calls[0].request.content)


@respx.mock
async def test_lm_studio_unloads_and_loads_it_by_its_key_with_the_context_it_had() -> None:
    respx.get(f"{BASE}/api/v1/models").mock(httpx.Response(200, json=LISTED))
    unload = api(respx.mock, "unload", 200, {"instance_id": "mine"})
    load = api(respx.mock, "load", 200, {"instance_id": "acme/tiny", "status": "loaded"})
    connection = OpenAIConnection(MODEL)
    await connection.reload()
    await connection.close()

    assert body_of(unload) == {"instance_id": "mine"}
    assert body_of(load) == {"model": "acme/tiny", "context_length": 8192}
    assert connection.model.id == "acme/tiny"  # what it is called by from now on


@respx.mock
@pytest.mark.parametrize("status", [200, 404, 500])
async def test_a_server_that_does_not_do_it_is_told_with_what_it_said(status: int) -> None:
    respx.get(f"{BASE}/api/v1/models").mock(httpx.Response(200, json=LISTED))
    api(respx.mock, "unload", status, {"error": "Unexpected endpoint or method."})
    connection = OpenAIConnection(MODEL)
    with pytest.raises(ServerRefused, match=r"did not unload the model.*Unexpected"):
        await connection.reload()
    await connection.close()


@pytest.mark.parametrize("kind", ["ollama", "llamacpp", "vllm", "openai", "gpt4all"])
async def test_other_servers_can_not_be_told_to(kind: Kind) -> None:
    connection = OpenAIConnection(replace(MODEL, kind=kind))
    with pytest.raises(ServerRefused) as refused:
        await connection.reload()
    await connection.close()

    assert refused.value.hint


def test_a_model_is_found_by_its_key_and_by_the_name_it_is_loaded_by() -> None:
    listed = [
        {"key": "a", "loaded_instances": []},
        {"key": "b", "loaded_instances": [{"id": "c"}]},
    ]

    assert key_of(listed, "a") == ("a", False)
    assert key_of(listed, "c") == ("b", True)
    assert key_of(listed, "d") == key_of(None, "d") == ("d", False)


@respx.mock
@pytest.mark.parametrize(
    ("kind", "path"), [("llamacpp", "/completion"), ("vllm", "/v1/completions")]
)
async def test_one_token_is_asked_for_to_learn_what_it_is_chosen_from(
    kind: Kind, path: str
) -> None:
    listed = [{"token": "a", "logprob": -0.5}]
    body = {"completion_probabilities": [{"top_logprobs": listed}]}
    route = respx.post(f"{BASE}{path}").mock(httpx.Response(200, json=body))
    connection = OpenAIConnection(replace(MODEL, kind=kind))
    found = await connection.next_tokens("Hello", 5)
    await connection.close()

    assert [token.text for token in found] == ["a"]
    assert body_of(route)["prompt"] == "Hello"
    assert isinstance(connection, Raw)
    assert isinstance(connection, Reloading)


@respx.mock
async def test_a_server_that_does_not_tell_gives_nothing() -> None:
    respx.post(f"{BASE}/v1/completions").mock(httpx.Response(400, json={"error": "no logprobs"}))
    connection = OpenAIConnection(MODEL)

    assert await connection.next_tokens("Hello", 5) == []
    await connection.close()
