"""Who performs an operation for a guest now: three tables, the strictest of them counts; pure.

The policy's ceiling, what the manifest asked for, and what the user has set while the runtime
runs. An operation that one of the three does not name is DENY in it. Above all of them stands what
can be performed at all; without a border between runtime and host, the host performs nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from lmboot.errors import UsageFault
from lmboot.runtime.policy import ALIASES, OPERATIONS, ROUTES, Route
from lmboot.text import brief

_RANK: dict[Route, int] = {"DENY": 0, "EMULATE": 1, "HOST": 2}


@dataclass(frozen=True, slots=True)
class Routes:
    """One state of all routes; a flip makes the next one."""

    ceiling: Mapping[str, Route]
    manifest: Mapping[str, Route]
    live: Mapping[str, Route]
    version: int = 1
    bordered: bool = True
    _effective: Mapping[str, Route] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        for name in ("ceiling", "manifest", "live"):  # a copy: nobody can change it behind us
            object.__setattr__(self, name, MappingProxyType(dict(getattr(self, name))))
        tables = (self.ceiling, self.manifest, self.live)
        effective: dict[str, Route] = {}
        for op, performed in OPERATIONS.items():
            possible: Route = performed if self.bordered else "EMULATE"
            routes = [possible, *(table.get(op, "DENY") for table in tables)]
            effective[op] = min(routes, key=_RANK.__getitem__)
        object.__setattr__(self, "_effective", effective)

    @classmethod
    def agreed(
        cls, ceiling: Mapping[str, Route], manifest: Mapping[str, Route], *, bordered: bool = True
    ) -> Routes:
        """Return the routes of a start: the user has agreed to what both others allow.

        Without a border, what the host would perform is DENY, until the user sets EMULATE.
        """
        routes = cls(ceiling, manifest, live=ceiling)
        if bordered:
            return routes
        denied: dict[str, Route] = {
            op: "DENY" for op, route in routes.table().items() if route == "HOST"
        }
        return replace(routes, live={**ceiling, **denied}, bordered=False)

    def effective(self, op: str) -> Route:
        """Return who performs an operation; DENY when nobody knows it."""
        return self._effective.get(op, "DENY")

    def table(self) -> dict[str, Route]:
        """Return the effective route of every known operation."""
        return dict(self._effective)

    def held_back(self, op: str, wanted: Route) -> str:
        """Return what keeps an operation from a route whatever the user sets; "" for nothing."""
        if op in OPERATIONS and below(OPERATIONS[op], wanted):
            return "the host never performs it"
        if not self.bordered and wanted == "HOST":
            return "without a border the host performs nothing"
        for table, words in (
            (self.ceiling, "the policy allows"),
            (self.manifest, "the payload asked for"),
        ):
            most = table.get(op, "DENY")
            if below(most, wanted):
                return f"{words} no more than {most}"
        return ""

    def unused(self, ops: Iterable[str]) -> str:
        """Return why a grant of these lets nothing through now; "" where it does.

        It goes on from "but": with the `:route` that changes that, or what rules it out.
        """
        why = {op: self.held_back(op, "HOST") for op in ops}
        if any(self.effective(op) == "HOST" for op in why):
            return ""
        if free := [f"`:route {op} HOST`" for op in why if not why[op]]:
            return f"not before {' or '.join(free)}"
        freest = max(why, key=lambda op: _RANK[self.effective(op)])  # one reason will do
        return f"nothing comes of it: {why[freest]}"

    def flip(self, op: str, route: Route) -> Routes:
        """Return the next version, with the user's own setting of one operation changed.

        The two other tables still count. Raises UsageFault for a name that nobody knows.
        """
        op = ALIASES.get(op, op)
        if op not in OPERATIONS:
            raise UsageFault(f"there is no operation {brief(op, 60)!r}")
        if route not in ROUTES:
            raise UsageFault(f"a route is one of {', '.join(ROUTES)}")
        return replace(self, live={**self.live, op: route}, version=self.version + 1)


def stricter(old: Routes, new: Routes, op: str) -> bool:
    """Say whether an operation may do less in the new state than in the old."""
    return below(new.effective(op), old.effective(op))


def below(route: Route, other: Route) -> bool:
    """Say whether a route is stricter than another: DENY < EMULATE < HOST."""
    return _RANK[route] < _RANK[other]
