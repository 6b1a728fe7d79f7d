"""What the thread that works tells the one that draws: plain values, ready to be shown.

Named tuples: this is imported before the window is mapped. Texts are as strangers wrote them
unless it is said that they are harmless.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from lmboot.gui.bordermessages import Late
    from lmboot.gui.modelrows import ModelRow


class Ready(NamedTuple):
    """The worker is there; `settings` are the values that the settings window shows."""

    settings: Mapping[str, Any]
    history: str
    has_lms: bool


class Looking(NamedTuple):
    """Servers are being looked for."""


class Listed(NamedTuple):
    """The models there are; `served` of them by `servers`, which are (address, kind)."""

    rows: Sequence[ModelRow]
    served: int
    servers: Sequence[tuple[str, str]]
    complaints: Sequence[str]


class Unreachable(NamedTuple):
    """No server answers; the next try is in some seconds."""

    server: str
    reason: str
    seconds: float


class Locked(NamedTuple):
    """A server wants a token; `reason` is what it, or the last token given, led to."""

    server: str
    reason: str


class Added(NamedTuple):
    """A file was opened: its row."""

    row: ModelRow


class Opened(NamedTuple):
    """A model is ready to be asked; its row as it is now."""

    row: ModelRow


class KeptPayloads(NamedTuple):
    """What a model wrote before: (name, facts, SHA-256) each."""

    model_id: str
    payloads: Sequence[tuple[str, str, str]]


class Said(NamedTuple):
    """Something for the log; a `passing` one only says what is going on now."""

    kind: str
    text: str
    passing: bool = False


class Complained(NamedTuple):
    """Something failed: what happened, what it means, and what to do."""

    text: str


class Asked(NamedTuple):
    """A request went to the model; `round` counts from 0, `mending` is why it was asked again."""

    round: int
    mending: str


class Writing(NamedTuple):
    """How far the model is with its reply; `files` are (path, characters)."""

    characters: int
    tokens: int
    rate: float | None
    first: float
    thinking: int
    files: Sequence[tuple[str, int]]


class Refused(NamedTuple):
    """The reply held no valid payload; `problems` are (code, place, words, line).

    `shown` is the reply with all that hides written out.
    """

    problems: Sequence[tuple[str, str, str, int | None]]
    reply: str
    shown: str


class ConsentWanted(NamedTuple):
    """A payload to be reviewed, made harmless: what ReviewPane shows, and the answer's way back.

    `files` are (path, size, text), `flags` line numbers by path; `answer` is for the worker.
    """

    name: str
    summary: str
    question: str
    files: Sequence[tuple[str, str, str]]
    facts: Sequence[tuple[str, str]]
    routes: Sequence[tuple[str, str]]
    borders: Sequence[str]
    warnings: Sequence[str]
    flags: Mapping[str, Sequence[int]]
    first: str
    agreed_before: bool
    sandbox: str
    reply: str
    answer: Any


class Happened(NamedTuple):
    """An event of the session by its name in the contract."""

    event: str
    text: str
    details: Mapping[str, Any]


class Over(NamedTuple):
    """A session is over; `text` is empty unless it failed."""

    text: str
    rejected: bool


class Done(NamedTuple):
    """Something that the user asked for was done; `text` says what."""

    text: str


class Closed(NamedTuple):
    """The worker has ended everything; nothing more comes."""


Message: TypeAlias = (
    "Ready | Looking | Listed | Unreachable | Locked | Added | Opened | KeptPayloads | Said"
    " | Complained | Asked | Writing | Refused | ConsentWanted | Happened | Over | Done | Closed"
    " | Late"
)
