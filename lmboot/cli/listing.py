"""`lmboot models`: every model that can be bootstrapped, a row each."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

from lmboot.app.models import look_around
from lmboot.cli.faults import told
from lmboot.connections.interface import Model
from lmboot.text import brief

_KEYS = (
    "id", "name", "server", "kind", "state",
    "context", "quantization", "architecture", "size_bytes",
)  # fmt: skip


def list_all(server: str | None, as_json: bool) -> int:
    """Print the models; servers that could not be listed are told on stderr."""
    found = asyncio.run(look_around(server))
    for complaint in found.complaints:
        sys.stderr.write(told(complaint))
    if as_json:
        sys.stdout.write(json.dumps([row(model) for model in found.models]) + "\n")
        return 0
    for line in table(found.models):
        sys.stdout.write(line + "\n")
    return 0


def row(model: Model) -> dict[str, Any]:
    """Return a model's row as the contract has it."""
    return {key: getattr(model, key) for key in _KEYS} | {"server": model.server or None}


def table(models: list[Model]) -> list[str]:
    """Return the models as aligned lines."""
    rows = [("MODEL", "STATE", "QUANT", "SIZE", "CONTEXT", "SERVER")]
    rows += [
        (
            brief(model.id, 60),
            model.state,
            model.quantization or "-",
            _size(model.size_bytes),
            f"{model.context:,}" if model.context else "-",
            model.server or "lmboot itself",
        )
        for model in models
    ]
    widths = [max(len(each[column]) for each in rows) for column in range(6)]
    return ["  ".join(map(str.ljust, each, widths)).rstrip() for each in rows]


def _size(size: int | None) -> str:
    if size is None:
        return "-"
    return f"{size / 1e9:.1f} GB" if size >= 1e8 else f"{size / 1e6:.1f} MB"
