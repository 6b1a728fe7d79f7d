"""Model lists: one row a model, whatever the server calls its fields.

The readers are pure. A list only counts if it has the key that it should have: LM Studio answers
unknown paths with status 200. Embedding models are left out; a field of a wrong type is unknown.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import httpx

from lmboot.connections.fields import count, identifier, mapping, rows, words
from lmboot.connections.interface import Kind, Model, State
from lmboot.connections.refusals import Report, report_of_body, server_fault
from lmboot.connections.transport import Reply, fetch, open_client
from lmboot.errors import ConnectionFault, NoSuchModel
from lmboot.text import brief

_SHOWN_IDS = 20

# Where a list has no type: names and families of models that embed and can't chat.
_EMBEDDING_NAME = re.compile(
    r"embed(?:ding)?s?(?:$|[-_.:@/])|embeddinggemma|(?:^|[/:])(?:bge|e5|gte|all-minilm)[-_]", re.I
)
_EMBEDDING_FAMILIES = frozenset({"bert", "nomic-bert", "embedding", "embeddings"})


@dataclass(frozen=True, slots=True)
class Server:
    """One server: where it is, what it is, and whether it runs on this machine."""

    base: str
    kind: Kind
    local: bool = True


async def list_models(server: Server, token: str | None = None) -> list[Model]:
    """Return a server's models in its own order; an empty list where it has none.

    TokenRefused, NoServer or ServerRefused where the list can't be had.
    """
    async with open_client(server.base, token) as client:
        return await _LISTERS.get(server.kind, _list_openai)(client, server)


def find_model(models: Sequence[Model], wanted: str) -> Model:
    """Return the row with this id; NoSuchModel names those that there are.

    Upper and lower case, Ollama's `:latest` and a name without its publisher are overlooked
    where that leaves exactly one.
    """
    for matches in (_same, _nearly, _same_last_part):
        found = [model for model in models if matches(model.id, wanted)]
        if found and (matches is _same or len(found) == 1):
            return found[0]
    ids = ", ".join(model.id for model in models[:_SHOWN_IDS])
    more = f" and {len(models) - _SHOWN_IDS} more" if len(models) > _SHOWN_IDS else ""
    raise NoSuchModel(
        f"no model has the id {brief(wanted, 120)!r}",
        hint=f"There are: {ids}{more}." if models else "No server lists any model.",
    )


def _same(model_id: str, wanted: str) -> bool:
    return model_id == wanted


def _nearly(model_id: str, wanted: str) -> bool:
    return model_id.casefold().removesuffix(":latest") == wanted.casefold()


def _same_last_part(model_id: str, wanted: str) -> bool:
    return model_id.casefold().rpartition("/")[2] == wanted.casefold()


# ---------------------------------------------------------------------- asking, kind by kind


async def _list_lmstudio(client: httpx.AsyncClient, server: Server) -> list[Model]:
    native = mapping(await _json(client, server, "/api/v1/models")).get("models")
    if isinstance(native, list):
        return lmstudio_v1(native, server.base)
    native = mapping(await _json(client, server, "/api/v0/models")).get("data")
    if isinstance(native, list):
        return lmstudio_v0(native, server.base)
    return await _list_openai(client, server)


async def _list_openai(client: httpx.AsyncClient, server: Server) -> list[Model]:
    return openai_rows(await _data(client, server), server)


async def _list_ollama(client: httpx.AsyncClient, server: Server) -> list[Model]:
    listed = mapping(await _json(client, server, "/api/tags")).get("models")
    if not isinstance(listed, list):
        return await _list_openai(client, server)
    loaded = mapping(await _json(client, server, "/api/ps")).get("models")
    return ollama_rows(listed, loaded, server.base)


async def _list_llamacpp(client: httpx.AsyncClient, server: Server) -> list[Model]:
    data = await _data(client, server)
    props = await _json(client, server, "/props") if len(rows(data)) == 1 else None
    return llamacpp_rows(data, props, server)


async def _list_koboldcpp(client: httpx.AsyncClient, server: Server) -> list[Model]:
    data = await _data(client, server)
    context = await _json(client, server, "/api/extra/true_max_context_length")
    return koboldcpp_rows(data, context, server)


_Lister = Callable[[httpx.AsyncClient, Server], Awaitable[list[Model]]]
_LISTERS: dict[Kind, _Lister] = {
    "lmstudio": _list_lmstudio,
    "ollama": _list_ollama,
    "llamacpp": _list_llamacpp,
    "koboldcpp": _list_koboldcpp,
}


async def _data(client: httpx.AsyncClient, server: Server) -> list[Any]:
    """Return the rows of `/v1/models`, which every server has; raise what it says instead."""
    reply = await fetch(client, "GET", "/v1/models")
    data = models_in(reply)
    if data is None:
        raise unlistable(reply, server.base)
    return data


async def _json(client: httpx.AsyncClient, server: Server, path: str) -> object:
    """Return what an endpoint that may be missing answers, None where it is."""
    reply = await fetch(client, "GET", path)
    if reply.status in (401, 403):
        raise unlistable(reply, server.base)
    return reply.json if reply.status == 200 else None


def models_in(reply: Reply) -> list[Any] | None:
    """Return the rows of a `/v1/models` answer, None where it is no list of models."""
    data = mapping(reply.json).get("data")
    if reply.status != 200 or not isinstance(data, list):
        return None
    return data if not data or any(identifier(row.get("id")) for row in rows(data)) else None


def unlistable(reply: Reply, base: str) -> ConnectionFault:
    """Return the fault for an answer that should have been a list of models and is not."""
    report = report_of_body(reply.body, status=reply.status)
    if reply.status == 200:
        report = Report(404, report.text if b"error" in reply.body else "something else answers")
    return server_fault(report, base)


# ---------------------------------------------------------------------- reading, kind by kind


def lmstudio_v1(listed: list[Any], base: str) -> list[Model]:
    """Read `/api/v1/models`; a model that is loaded under another name has that name as id."""
    found = [_lmstudio_v1_row(row, base) for row in rows(listed)]
    return [model for model in found if model is not None]


def _lmstudio_v1_row(row: dict[str, Any], base: str) -> Model | None:
    key = identifier(row.get("key"))
    if key is None or _embeds(key, row.get("type")):
        return None
    instances = [each for each in rows(row.get("loaded_instances")) if identifier(each.get("id"))]
    instance = next((each for each in instances if each["id"] == key), (instances or [{}])[0])
    loaded = count(mapping(instance.get("config")).get("context_length"))
    return Model(
        id=instance.get("id", key),
        name=words(row.get("display_name")) or key,
        server=base,
        kind="lmstudio",
        state="loaded" if instances else "available",
        context=loaded or count(row.get("max_context_length")),
        quantization=_quantization(row.get("quantization")),
        architecture=words(row.get("architecture")),
        size_bytes=count(row.get("size_bytes")),
        context_loaded=loaded,
    )


def lmstudio_v0(listed: list[Any], base: str) -> list[Model]:
    """Read `/api/v0/models`."""
    found = [_lmstudio_v0_row(row, base) for row in rows(listed)]
    return [model for model in found if model is not None]


def _lmstudio_v0_row(row: dict[str, Any], base: str) -> Model | None:
    key = identifier(row.get("id"))
    if key is None or _embeds(key, row.get("type")):
        return None
    states: dict[Any, State] = {"loaded": "loaded", "not-loaded": "available"}
    state = row.get("state")
    loaded = count(row.get("loaded_context_length"))
    return Model(
        id=key,
        name=key,
        server=base,
        kind="lmstudio",
        state=states.get(state, "unknown") if isinstance(state, str) else "unknown",
        context=loaded or count(row.get("max_context_length")),
        quantization=_quantization(row.get("quantization")),
        architecture=words(row.get("arch")),
        context_loaded=loaded,
    )


def openai_rows(listed: list[Any], server: Server) -> list[Model]:
    """Read `/v1/models` of a server that says little: ids, and vLLM's context."""
    found = []
    for row in rows(listed):
        key = identifier(row.get("id"))
        if key is None or _embeds(key, row.get("type")):
            continue
        context = count(row.get("max_model_len")) if server.kind == "vllm" else None
        state: State = "loaded" if server.kind == "vllm" else "unknown"
        found.append(_row(key, server, state, context_loaded=context))
    return found


def ollama_rows(listed: list[Any], loaded: object, base: str) -> list[Model]:
    """Read `/api/tags`, with `/api/ps` for what is loaded and with which context."""
    running = {identifier(each.get("name")): each for each in rows(loaded)}
    found = []
    for row in rows(listed):
        key, details = identifier(row.get("name")), mapping(row.get("details"))
        if key is None or _embeds(key, details.get("family")):
            continue
        context = count(mapping(running.get(key)).get("context_length"))
        found.append(
            Model(
                id=key,
                name=key,
                server=base,
                kind="ollama",
                state="loaded" if key in running else "available",
                context=context,
                quantization=_quantization(details.get("quantization_level")),
                architecture=words(details.get("family")),
                size_bytes=count(row.get("size")),
                context_loaded=context,
            )
        )
    return found


def llamacpp_rows(listed: list[Any], props: object, server: Server) -> list[Model]:
    """Read llama-server's `/v1/models`; `props` is its `/props` where it serves one model."""
    defaults = mapping(mapping(props).get("default_generation_settings"))
    found = []
    for row in rows(listed):
        key, meta = identifier(row.get("id")), mapping(row.get("meta"))
        if key is None or _embeds(key, row.get("type")):
            continue
        state = _router_state(row)
        loaded = count(defaults.get("n_ctx")) or count(meta.get("n_ctx"))
        found.append(
            _row(
                key,
                server,
                state,
                context=count(meta.get("n_ctx_train")),
                context_loaded=loaded if state == "loaded" else None,
                size_bytes=count(meta.get("size")),
            )
        )
    return found


def _router_state(row: dict[str, Any]) -> State:
    """Return the state that a router gives; without a router the one model is loaded."""
    if "status" not in row:
        return "loaded"
    value = mapping(row["status"]).get("value")
    return "loaded" if value == "loaded" else "available"


def koboldcpp_rows(listed: list[Any], context: object, server: Server) -> list[Model]:
    """Read KoboldCpp's `/v1/models`, which calls having no model `inactive`."""
    loaded = count(mapping(context).get("value"))
    keys = [identifier(row.get("id")) for row in rows(listed)]
    return [
        _row(key, server, "loaded", context_loaded=loaded)
        for key in keys
        if key is not None and not _embeds(key) and not key.endswith("inactive")
    ]


def _row(
    key: str,
    server: Server,
    state: State,
    *,
    context: int | None = None,
    context_loaded: int | None = None,
    size_bytes: int | None = None,
) -> Model:
    name = PurePosixPath(key.replace("\\", "/")).name if key.endswith(".gguf") else key
    return Model(
        id=key,
        name=name,
        server=server.base,
        kind=server.kind,
        state=state,
        context=context_loaded or context,
        size_bytes=size_bytes,
        context_loaded=context_loaded,
    )


def _embeds(key: str, kind: object = None) -> bool:
    known = isinstance(kind, str) and kind in _EMBEDDING_FAMILIES
    return known or (kind not in ("llm", "vlm") and _EMBEDDING_NAME.search(key) is not None)


def _quantization(value: object) -> str | None:
    return words(mapping(value).get("name") if isinstance(value, dict) else value, 40)
