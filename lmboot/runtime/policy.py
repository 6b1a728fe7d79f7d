"""What a runtime may use and do, as values: limits and routes; pure.

A manifest can lower what is here, never raise it. An operation that no table names is DENY.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields, replace
from typing import Literal

Route = Literal["EMULATE", "HOST", "DENY"]
ROUTES: tuple[Route, ...] = ("EMULATE", "HOST", "DENY")
Rule = Literal["DENY", "EMULATE", "ASK", "HOST"]  # what a policy says of one operation
RULES: tuple[Rule, ...] = ("DENY", "EMULATE", "ASK", "HOST")

OPERATIONS: dict[str, Route] = {
    # operation: the freest route by which anybody performs it. All are emulated, in the guest's
    # library or in the broker.
    "fs.open": "HOST",
    "fs.read_text": "HOST",
    "fs.write_text": "HOST",
    "fs.list": "HOST",
    "fs.stat": "HOST",
    "fs.remove": "HOST",
    "fetch": "HOST",
    "spawn": "HOST",
    "code.exec_python": "EMULATE",  # code of a runtime's own is run where the runtime is
    "query_model": "HOST",
    "inject_prompt": "HOST",
    "tokenize": "HOST",
    "logits": "HOST",
    "reload_model": "HOST",
    "database_query": "HOST",
    "env": "HOST",
    "time": "HOST",
    "notify": "HOST",
}
ASKING_THE_MODEL = ("query_model", "inject_prompt", "logits")  # these count as one of max_depth
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


def ceiling_of(rules: Mapping[str, Rule]) -> dict[str, Route]:
    """Return the most that a policy allows for every operation; ASK where it says nothing.

    ASK and HOST allow the same route. They differ in what becomes of a request that nothing
    grants: by ASK the person is asked, by HOST it is refused (`unasked`). Neither grants anything.
    """
    said = {op: rules.get(op, "ASK") for op in OPERATIONS}
    return {op: "HOST" if rule == "ASK" else rule for op, rule in said.items()}


def nothing_by_host() -> dict[str, Rule]:
    """Return the policy that holds where it can't be told what the user's own says."""
    return dict.fromkeys(OPERATIONS, "EMULATE")


def unasked(rules: Mapping[str, Rule]) -> frozenset[str]:
    """Return the operations for which a policy lets nobody be asked."""
    return frozenset(op for op, rule in rules.items() if rule == "HOST")


def effective_routes(
    routes: Mapping[str, Route] | None,
    *permitted: Collection[str] | None,
    max_depth: int = 1,
) -> dict[str, Route]:
    """Return the route of every known operation, cut down to each list in `permitted`.

    Routes None: EMULATE, since each has an emulator. A list None: no cut; a list empty:
    everything is DENY. A short name counts as the operation that it stands for, whose own name
    wins. To ask the model counts one: with `max_depth` 0 what would do so is DENY.
    """
    asked: Mapping[str, Route]
    if routes is None:
        asked = dict.fromkeys(OPERATIONS, "EMULATE")
    else:
        asked = {ALIASES[name]: route for name, route in routes.items() if name in ALIASES}
        asked = {**asked, **routes}
    lists = [
        {ALIASES.get(name, name) for name in names} for names in permitted if names is not None
    ]
    routes_of = {name: asked.get(name, "DENY") for name in OPERATIONS}
    denied = {name for name in OPERATIONS if any(name not in names for names in lists)}
    if max_depth < 1:
        denied |= {name for name in ASKING_THE_MODEL if routes_of[name] == "HOST"}
    return {name: "DENY" if name in denied else route for name, route in routes_of.items()}
