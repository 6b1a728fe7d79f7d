"""The seed model's payload in tokens, and what it would be without the host's library.

Without `guest_sys` a payload has to spell out its own shim: here that is the library, without its
docstrings, as one more file of the payload. The engine counts, with the seed model's tokenizer,
which knows its own payload well (`seed_*`); `bytes_ratio` is nearer to what others' would give.
"""

from __future__ import annotations

import ast
import asyncio
import json
from typing import Any

from assets.seed.texts import PAYLOAD
from lmboot.app.models import seed_row
from lmboot.assets import asset
from lmboot.connections.engine import Engine
from lmboot.connections.transport import fetch, open_client
from lmboot.runtime.backends import bubblewrap


def spelled_out() -> str:
    """Return the payload with the library as one of its files."""
    payload: dict[str, Any] = json.loads(PAYLOAD)
    library = without_docstrings(bubblewrap.find().library.decode())
    payload["files"].append({"path": "guest_sys.py", "content": library})
    return json.dumps(payload, indent=1)


def without_docstrings(source: str) -> str:
    """Return a program as a model would write it that saves on tokens."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        documented = ast.Module | ast.FunctionDef | ast.ClassDef
        if isinstance(node, documented) and ast.get_docstring(node) is not None:
            node.body = node.body[1:] or [ast.Pass()]
    return ast.unparse(tree) + "\n"


async def counts(*texts: str) -> list[int]:
    """Return how many tokens the texts are."""
    engine = await Engine.start(asset("seed/seed.gguf"), alias=seed_row().id)
    try:
        async with open_client(engine.url, engine.api_key) as client:
            replies = [
                await fetch(client, "POST", "/tokenize", body={"content": text}) for text in texts
            ]
    finally:
        await engine.stop()
    return [len(json.loads(reply.body)["tokens"]) for reply in replies]


def main() -> dict[str, float]:
    """Count; return tokens, bytes and their ratios."""
    texts = PAYLOAD, spelled_out()
    short, long = asyncio.run(counts(*texts))
    sizes = [len(text.encode()) for text in texts]
    return {
        "seed_tokens": short,
        "seed_spelled_out_tokens": long,
        "seed_ratio": short / long,
        "bytes": sizes[0],
        "spelled_out_bytes": sizes[1],
        "bytes_ratio": sizes[0] / sizes[1],
    }
