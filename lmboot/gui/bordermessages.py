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


class Record(NamedTuple):
    """One row of an audit log; `at` is where its line begins, `seq` -1 where it has no number."""

    at: int
    seq: int
    time: str
    kind: str
    op: str
    route: str
    decision: str
    words: str


class Runs(NamedTuple):
    """The audit logs that there are, (name, words) each, the newest first."""

    runs: Sequence[tuple[str, str]]


class Records(NamedTuple):
    """More rows of a log; `first`: it begins anew. `head` is the short code of the last row."""

    log: str
    rows: Sequence[Record]
    head: str
    first: bool = False


class Details(NamedTuple):
    """All that one record says."""

    log: str
    at: int
    text: str


class Judged(NamedTuple):
    """What verifying a log came to; `bad` is the number of the first record that is not right."""

    log: str
    whole: bool
    words: Sequence[str]
    bad: int | None = None


class Sandbox(NamedTuple):
    """A sandbox that is usable; without a `name`, `trouble` says why there is none."""

    name: str
    posture: Sequence[tuple[str, str]]
    trouble: str = ""


class Sandboxes(NamedTuple):
    """What the next program can run in: the best of this machine, and a container."""

    usual: Sandbox
    container: Sandbox


class Preparing(NamedTuple):
    """A sandbox is being made ready, once; until then it is not known what can be run in."""

    words: str


Late = Bordered | Wanted | Withdrawn | Runs | Records | Details | Judged | Sandboxes | Preparing
