"""Loading a model anew where its server can be told to: LM Studio from 0.4 on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import httpx

from lmboot.connections.fields import identifier, mapping, rows
from lmboot.connections.interface import Model
from lmboot.connections.refusals import report_of_body
from lmboot.connections.transport import fetch
from lmboot.errors import ServerRefused

LOAD_SECONDS = 600.0  # a large model from a slow disk
_HINT = "Look at it in LM Studio; versions before 0.4 can't be told to."


async def reload_in_lmstudio(client: httpx.AsyncClient, model: Model, secret: str | None) -> Model:
    """Unload a model and load it with the context it had; return its row, which may be renamed.

    Raises ServerRefused where the server does not do it, NoServer where none answers.
    """
    listed = mapping((await fetch(client, "GET", "/api/v1/models")).json).get("models")
    key, loaded = key_of(listed, model.id)
    if loaded:
        await _manage(client, "unload", {"instance_id": model.id}, secret)
    context = model.context_loaded
    wanted = {} if context is None else {"context_length": context}
    name = await _manage(client, "load", {"model": key, **wanted}, secret)
    return replace(model, id=name, state="loaded")


def key_of(listed: object, name: str) -> tuple[str, bool]:
    """Return a model's key, which loads it, and whether it is loaded by this name now; pure."""
    for row in rows(listed):
        names = {identifier(each.get("id")) for each in rows(row.get("loaded_instances"))}
        key = identifier(row.get("key"))
        if key is not None and (name == key or name in names):
            return key, name in names
    return name, False


async def _manage(
    client: httpx.AsyncClient, what: str, body: Mapping[str, Any], secret: str | None
) -> str:
    """Have something done with a model; return the name that the server has it by."""
    path = f"/api/v1/models/{what}"
    reply = await fetch(client, "POST", path, body=body, seconds=LOAD_SECONDS)
    name = identifier(mapping(reply.json).get("instance_id"))
    if reply.status != 200 or name is None:
        said = report_of_body(reply.body, status=reply.status, secret=secret).said
        raise ServerRefused(f"LM Studio did not {what} the model: {said}", hint=_HINT)
    return name
