"""Model lists of every kind of server, in the shapes that their documentation has."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import httpx
import pytest
import respx
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lmboot.connections import listing
from lmboot.connections.interface import Kind, Model
from lmboot.connections.listing import Server, find_model, list_models
from lmboot.errors import ConnectionFault, NoServer, NoSuchModel, ServerRefused, TokenRefused
from tests.connections.lookalike import Lookalike, Served

BASE = "http://127.0.0.1:1234"
UNKNOWN = httpx.Response(200, json={"error": "Unexpected endpoint or method. (GET /x)"})

V1_ROW: dict[str, Any] = {
    "type": "llm",
    "publisher": "acme",
    "key": "acme/tiny-4b",
    "display_name": "Tiny 4B",
    "architecture": "qwen3",
    "quantization": {"name": "Q4_K_M", "bits_per_weight": 4},
    "size_bytes": 2_500_000_000,
    "loaded_instances": [{"id": "acme/tiny-4b", "config": {"context_length": 8192}}],
    "max_context_length": 262_144,
}
V1_MODEL = Model(
    id="acme/tiny-4b",
    name="Tiny 4B",
    server=BASE,
    kind="lmstudio",
    state="loaded",
    context=8192,
    quantization="Q4_K_M",
    architecture="qwen3",
    size_bytes=2_500_000_000,
    context_loaded=8192,
)


def listed(kind: Kind, pages: dict[str, Any], base: str = BASE) -> list[Model]:
    """List a server that answers these paths, and any other path as its kind does."""
    with respx.mock(assert_all_called=False) as router:
        for path, page in pages.items():
            answer = page if isinstance(page, httpx.Response) else httpx.Response(200, json=page)
            router.get(base + path).mock(return_value=answer)
        missing = UNKNOWN if kind == "lmstudio" else httpx.Response(404, json={"error": "no"})
        router.route().mock(return_value=missing)
        return asyncio.run(list_models(Server(base, kind)))


def test_lm_studios_own_list_is_read_whole() -> None:
    assert listed("lmstudio", {"/api/v1/models": {"models": [V1_ROW]}}) == [V1_MODEL]


def test_a_model_that_is_not_loaded_has_its_maximum_as_context() -> None:
    rows = [{**V1_ROW, "loaded_instances": []}]

    assert listed("lmstudio", {"/api/v1/models": {"models": rows}}) == [
        replace(V1_MODEL, state="available", context=262_144, context_loaded=None)
    ]


@pytest.mark.parametrize(
    ("ids", "chosen"),
    [
        (["acme/tiny-4b:2"], "acme/tiny-4b:2"),
        (["mine", "acme/tiny-4b"], "acme/tiny-4b"),
        (["mine", "yours"], "mine"),
    ],
)
def test_a_model_is_one_row_with_the_id_that_reaches_a_loaded_instance(
    ids: list[str], chosen: str
) -> None:
    instances = [{"id": each, "config": {"context_length": 4096}} for each in ids]
    rows = [{**V1_ROW, "loaded_instances": instances}]

    assert [row.id for row in listed("lmstudio", {"/api/v1/models": {"models": rows}})] == [chosen]


def test_without_the_first_native_list_the_second_is_read() -> None:
    row = {
        "id": "acme/tiny-4b",
        "type": "vlm",
        "arch": "qwen3",
        "quantization": "Q4_K_M",
        "state": "loaded",
        "max_context_length": 262_144,
        "loaded_context_length": 8192,
    }
    expected = replace(V1_MODEL, name="acme/tiny-4b", size_bytes=None)

    assert listed("lmstudio", {"/api/v0/models": {"data": [row]}}) == [expected]


def test_without_native_lists_the_ids_are_better_than_nothing() -> None:
    page = {"object": "list", "data": [{"id": "acme/tiny-4b", "object": "model"}]}

    assert listed("lmstudio", {"/v1/models": page}) == [
        Model("acme/tiny-4b", "acme/tiny-4b", BASE, "lmstudio")
    ]


EMBEDDERS = [
    "text-embedding-nomic-embed-text-v1.5",
    "nomic-embed-text:latest",
    "mxbai-embed-large",
    "qwen3-embedding:0.6b",
    "google/embeddinggemma-300m",
    "BAAI/bge-m3",
    "all-minilm-l6",
]


@pytest.mark.parametrize("name", EMBEDDERS)
@pytest.mark.parametrize("kind", ["lmstudio", "ollama", "llamacpp", "koboldcpp", "openai"])
def test_embedding_models_are_in_no_list(kind: Kind, name: str) -> None:
    pages = {
        "/v1/models": {"data": [{"id": name}, {"id": "chat"}]},
        "/api/tags": {"models": [{"name": name}, {"name": "chat"}]},
    }

    assert [row.id for row in listed(kind, pages)] == ["chat"]


def test_the_type_says_what_embeds_where_there_is_one() -> None:
    rows = [
        {**V1_ROW, "type": "embedding"},
        {**V1_ROW, "key": "my-embed-chat", "loaded_instances": []},
    ]

    found = listed("lmstudio", {"/api/v1/models": {"models": rows}})

    assert [row.id for row in found] == ["my-embed-chat"]


def test_an_embedded_systems_coder_is_no_embedding_model() -> None:
    assert len(listed("openai", {"/v1/models": {"data": [{"id": "embedded-coder"}]}})) == 1


def test_ollama_says_what_is_loaded_and_with_which_context() -> None:
    tags = {
        "models": [
            {
                "name": "qwen3:4b",
                "size": 2_600_000_000,
                "details": {"family": "qwen3", "quantization_level": "Q4_K_M"},
            },
            {"name": "llama3:latest", "size": 4_000_000_000, "details": {"family": "llama"}},
        ]
    }
    running = {"models": [{"name": "qwen3:4b", "context_length": 4096}]}

    assert listed("ollama", {"/api/tags": tags, "/api/ps": running}) == [
        Model("qwen3:4b", "qwen3:4b", BASE, "ollama", "loaded", 4096, "Q4_K_M", "qwen3",
              2_600_000_000, 4096),
        Model("llama3:latest", "llama3:latest", BASE, "ollama", "available", None, None, "llama",
              4_000_000_000),
    ]  # fmt: skip


def test_llama_server_gives_one_loaded_model_with_the_context_of_a_slot() -> None:
    pages = {
        "/v1/models": {
            "models": [{"name": "x"}],
            "data": [
                {
                    "id": "/models/tiny.gguf",
                    "owned_by": "llamacpp",
                    "meta": {"n_ctx_train": 32_768, "n_ctx": 8192, "size": 500_000},
                }
            ],
        },
        "/props": {"default_generation_settings": {"n_ctx": 4096}, "build_info": "b1"},
    }

    assert listed("llamacpp", pages) == [
        Model("/models/tiny.gguf", "tiny.gguf", BASE, "llamacpp", "loaded", 4096,
              size_bytes=500_000, context_loaded=4096)
    ]  # fmt: skip


def test_a_llama_router_tells_loaded_from_available() -> None:
    data = [
        {"id": "a", "status": {"value": "loaded"}, "meta": {"n_ctx": 4096}},
        {"id": "b", "status": {"value": "unloaded"}},
        {"id": "c", "status": {"value": "sleeping"}},
    ]

    found = listed("llamacpp", {"/v1/models": {"data": data}})

    assert [(row.state, row.context_loaded) for row in found] == [
        ("loaded", 4096),
        ("available", None),
        ("available", None),
    ]


def test_koboldcpp_has_one_model_and_its_true_context() -> None:
    pages = {
        "/v1/models": {"data": [{"id": "koboldcpp/tiny"}]},
        "/api/extra/true_max_context_length": {"value": 8192},
    }

    assert listed("koboldcpp", pages) == [
        Model("koboldcpp/tiny", "koboldcpp/tiny", BASE, "koboldcpp", "loaded", 8192,
              context_loaded=8192)
    ]  # fmt: skip


def test_koboldcpp_without_a_model_has_none() -> None:
    assert listed("koboldcpp", {"/v1/models": {"data": [{"id": "koboldcpp/inactive"}]}}) == []


def test_vllm_tells_its_context() -> None:
    page = {"data": [{"id": "acme/tiny", "owned_by": "vllm", "max_model_len": 4096}]}

    assert listed("vllm", {"/v1/models": page}) == [
        Model("acme/tiny", "acme/tiny", BASE, "vllm", "loaded", 4096, context_loaded=4096)
    ]


@pytest.mark.parametrize("kind", ["jan", "gpt4all", "openai"])
def test_servers_that_say_little_give_ids_and_nothing_made_up(kind: Kind) -> None:
    assert listed(kind, {"/v1/models": {"data": [{"id": "tiny", "max_model_len": 1}]}}) == [
        Model("tiny", "tiny", BASE, kind)
    ]


@pytest.mark.parametrize("kind", ["lmstudio", "ollama", "llamacpp", "koboldcpp", "openai"])
def test_a_server_without_models_has_an_empty_list(kind: Kind) -> None:
    pages: dict[str, Any] = {
        "/api/v1/models": {"models": []},
        "/api/tags": {"models": []},
        "/v1/models": {"data": []},
    }

    assert listed(kind, pages) == []


def test_fields_of_a_wrong_type_are_unknown_and_not_an_error() -> None:
    row = {
        "key": "tiny",
        "type": 7,
        "display_name": ["x"],
        "architecture": {},
        "quantization": 4,
        "size_bytes": "big",
        "loaded_instances": "yes",
        "max_context_length": -1,
    }

    assert listed("lmstudio", {"/api/v1/models": {"models": [row, "x", None, {}]}}) == [
        Model("tiny", "tiny", BASE, "lmstudio", "available")
    ]


def test_hidden_characters_in_a_name_are_not_shown_and_in_an_id_not_accepted() -> None:
    rows = [
        {**V1_ROW, "display_name": "Ti\u202eny\x1b[31m 4B" + "x" * 1_000},
        {**V1_ROW, "key": "evil\u202e"},
        {**V1_ROW, "key": "k" * 1_000},
    ]

    found = listed("lmstudio", {"/api/v1/models": {"models": rows}})

    assert len(found) == 1
    assert found[0].name.startswith("Tiny 4Bxxx")
    assert len(found[0].name) == 200


@pytest.mark.parametrize(
    ("answer", "fault"),
    [
        (
            httpx.Response(401, json={"error": {"message": "An API token is required"}}),
            TokenRefused,
        ),
        (httpx.Response(401), TokenRefused),
        (httpx.Response(403, text="Invalid host header"), NoServer),
        (httpx.Response(404, text="nothing"), NoServer),
        (httpx.Response(200, text="<html>hello</html>"), NoServer),
        (httpx.Response(200, json={"data": [{"name": "no id"}]}), NoServer),
        (httpx.Response(200, json=["x"]), NoServer),
        (httpx.Response(500, text="oops"), ServerRefused),
        (httpx.Response(302, headers={"Location": "http://elsewhere"}), NoServer),
    ],
)
def test_what_is_no_list_is_a_fault_with_a_hint(
    answer: httpx.Response, fault: type[ConnectionFault]
) -> None:
    with pytest.raises(fault) as caught:
        listed("openai", {"/v1/models": answer})

    assert type(caught.value) is fault
    assert caught.value.hint


@pytest.mark.parametrize(
    "error",
    [
        httpx.ConnectError("refused"),
        httpx.ConnectTimeout("slow"),
        httpx.ReadError("broken"),
        httpx.RemoteProtocolError("illegal status line"),
        httpx.RemoteProtocolError("Server disconnected"),
        httpx.ProxyError("x"),
        httpx.UnsupportedProtocol("x"),
        httpx.InvalidURL("x"),
        httpx.TooManyRedirects("x"),
    ],
)
def test_no_exception_of_httpx_gets_out(error: Exception) -> None:
    with respx.mock as router:
        router.route().mock(side_effect=error)
        with pytest.raises(ConnectionFault):
            asyncio.run(list_models(Server(BASE, "openai")))


def test_a_server_behind_a_path_prefix_is_listed_there() -> None:
    base = "http://127.0.0.1:1234/proxy"
    found = listed("openai", {"/v1/models": {"data": [{"id": "tiny"}]}}, base)

    assert found == [Model("tiny", "tiny", base, "openai")]


async def test_a_real_server_is_listed_with_its_token_only() -> None:
    async with Lookalike(token="sk-lm-right") as lookalike:
        server = Server(lookalike.base, "lmstudio")
        found = await list_models(server, "sk-lm-right")
        with pytest.raises(TokenRefused):
            await list_models(server)

    assert [row.id for row in found] == ["acme/tiny-4b", "acme/large-70b"]


async def test_a_real_old_server_is_listed_by_its_ids() -> None:
    async with Lookalike(native_lists=False, models=[Served("tiny")]) as lookalike:
        found = await list_models(Server(lookalike.base, "lmstudio"))

    assert found == [Model("tiny", "tiny", lookalike.base, "lmstudio")]


ROWS = [Model(name, name, BASE, "ollama") for name in ("acme/Tiny", "llama3:latest", "a/x", "b/x")]


@pytest.mark.parametrize(
    ("wanted", "row"),
    [
        ("acme/Tiny", 0),
        ("acme/tiny", 0),
        ("tiny", 0),
        ("llama3", 1),
        ("llama3:latest", 1),
        ("b/x", 3),
    ],
)
def test_a_model_is_found_by_its_id_or_a_plain_short_form(wanted: str, row: int) -> None:
    assert find_model(ROWS, wanted) is ROWS[row]


@pytest.mark.parametrize("wanted", ["x", "large", "", "acme"])
def test_a_model_that_is_not_listed_is_refused_with_the_ids_that_are(wanted: str) -> None:
    with pytest.raises(NoSuchModel) as caught:
        find_model(ROWS, wanted)

    assert all(row.id in caught.value.hint for row in ROWS)


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(
            ["id", "key", "name", "type", "status", "value", "meta", "details", "n_ctx", "config",
             "loaded_instances", "quantization", "state", "default_generation_settings"]
        ),
        inner,
        max_size=4,
    ),
    max_leaves=12,
)  # fmt: skip


@settings(deadline=None)
@given(st.lists(ANYTHING, max_size=4), ANYTHING)
@example([], [{"name": []}])
def test_no_json_of_any_shape_breaks_a_reader(rows: list[Any], other: Any) -> None:
    server = Server(BASE, "vllm")

    found = [
        *listing.lmstudio_v1(rows, BASE),
        *listing.lmstudio_v0(rows, BASE),
        *listing.openai_rows(rows, server),
        *listing.ollama_rows(rows, other, BASE),
        *listing.llamacpp_rows(rows, other, server),
        *listing.koboldcpp_rows(rows, other, server),
    ]

    assert all(isinstance(row.id, str) and row.id for row in found)
