"""What a runtime may use and do, as values: limits and routes; pure.

A manifest can lower what is here, never raise it. An operation that no table names is DENY.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields, replace
from typing import Literal

Route = Literal["EMULATE", "HOST", "DENY"]
ROUTES: tuple[Route, ...] = ("EMULATE", "HOST", "DENY")

OPERATIONS: dict[str, bool] = {
    # operation: whether there is an emulator for it, in the guest's library or in the broker
    "fs.open": True,
    "fs.read_text": True,
    "fs.write_text": True,
    "fs.list": True,
    "fs.stat": True,
    "fs.remove": True,
    "fetch": False,
    "spawn": True,
    "code.exec_python": True,
    "query_model": False,
    "inject_prompt": False,
    "tokenize": False,
    "logits": False,
    "reload_model": False,
    "database_query": False,
    "env": True,
    "time": True,
    "notify": True,
}
ALIASES = {
    "open": "fs.open",
    "read": "fs.read_text",
    "write": "fs.write_text",
    "list": "fs.list",
    "stat": "fs.stat",
    "remove": "fs.remove",
    "reload_weights": "reload_model",
}


@dataclass(frozen=True, slots=True)
class Limits:
    """The ceiling of one run; MB = 2^20 bytes; `wall_seconds` None means no wall clock.

    `memory_mb` is the whole tree's, shared pages counted once; `cpu_seconds` the tree's;
    `output_mb` what it may print; `disk_mb` what it may keep in the workspace.
    """

    memory_mb: float = 512
    cpu_seconds: float = 600
    wall_seconds: float | None = None
    processes: float = 64
    output_mb: float = 256
    disk_mb: float = 64


def lowered(limits: Limits, asked: Mapping[str, float]) -> tuple[Limits, list[str]]:
    """Return the limits with every lower wish granted, and the names of those too high."""
    too_high: list[str] = []
    for field in fields(limits):
        wish, ceiling = asked.get(field.name), getattr(limits, field.name)
        if wish is None:
            continue
        if ceiling is not None and wish > ceiling:
            too_high.append(field.name)
        else:
            limits = replace(limits, **{field.name: wish})
    return limits, too_high


def effective_routes(
    routes: Mapping[str, Route] | None, *permitted: Collection[str] | None
) -> dict[str, Route]:
    """Return the route of every known operation, cut down to each list in `permitted`.

    Routes None: what has an emulator is EMULATE, all others DENY. A list None: no cut; a list
    empty: everything is DENY. A short name counts as the operation that it stands for, whose own
    name wins. EMULATE without an emulator is DENY: nobody could perform it.
    """
    asked: Mapping[str, Route]
    if routes is None:
        asked = {name: "EMULATE" for name, emulated in OPERATIONS.items() if emulated}
    else:
        asked = {ALIASES[name]: route for name, route in routes.items() if name in ALIASES}
        asked = {**asked, **routes}
    lists = [
        {ALIASES.get(name, name) for name in names} for names in permitted if names is not None
    ]
    return {name: _effective(name, asked, lists) for name in OPERATIONS}


def _effective(name: str, asked: Mapping[str, Route], lists: list[set[str]]) -> Route:
    route = asked.get(name, "DENY")
    if any(name not in names for names in lists):
        return "DENY"
    return "DENY" if route == "EMULATE" and not OPERATIONS[name] else route
