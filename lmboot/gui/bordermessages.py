"""What the worker tells the window of a runtime's border: plain values, ready to be shown.

Apart from `messages`: nothing of this is needed before the window is mapped. Texts are harmless.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple


class Route(NamedTuple):
    """Who performs an operation now; `held` are the routes that a flip can't reach, and why."""

    op: str
    route: str
    held: Sequence[tuple[str, str]]


class Grant(NamedTuple):
    """Something that was granted; `kind` is "read", "write", "fetch", "spawn", "env" or an
    operation's own name.

    `name` is what it is taken back by, `what` and `scope` are words; `seconds` are left, None
    where it lasts.
    """

    kind: str
    name: str
    what: str
    scope: str
    seconds: int | None = None


class Border(NamedTuple):
    """What stands between a runtime and its host; `posture` are (level, words).

    `unrecorded` is why nothing can be put on file, and so nothing is done; empty where it can.
    """

    backend: str
    posture: Sequence[tuple[str, str]]
    routes: Sequence[Route]
    grants: Sequence[Grant]
    unrecorded: str


class Bordered(NamedTuple):
    """The border of the runtime that runs is this now; None: none runs."""

    border: Border | None


class Wanted(NamedTuple):
    """The runtime wants what nobody has granted; `what` is its word for it, made harmless.

    `chooses_folder`: who grants it chooses the folder. `answer` is for the worker.
    """

    number: int
    op: str
    what: str
    chooses_folder: bool
    minutes: int
    answer: Any


class Withdrawn(NamedTuple):
    """Nobody waits for the answer to this any more."""

    number: int


Late = Bordered | Wanted | Withdrawn
