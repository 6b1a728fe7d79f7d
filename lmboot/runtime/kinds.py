"""What can be granted: each kind, the operations that it lets through, and the words for it; pure.

One grant may let several operations through. What a person agrees to is said by the kind, so that
nobody grants more than was read: `opens` names for each operation the words that say it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of grant.

    `opens`: each operation that it lets through, and where `may` says so. `may` goes on from "the
    runtime may", with {} for what is named. `of` is what a command names of it, empty where the
    kind is all there is to name; `this` is the same where a question shows it. `note` is what else
    whoever is asked should know.
    """

    opens: Mapping[str, str]
    may: str
    of: str = ""
    this: str = ""
    note: str = ""

    @property
    def is_folder(self) -> bool:
        """Say whether it is a folder that is granted."""
        return self.of == "DIR"


_READING = {
    "fs.list": "everything",
    "fs.stat": "everything",
    "fs.read_text": "read",
    "database_query": "databases",
}
KINDS: Mapping[str, Kind] = {
    "read": Kind(_READING, "read everything in {}, databases too", "DIR", "this folder"),
    "write": Kind(
        {**_READING, "fs.open": "add", "fs.write_text": "change", "fs.remove": "remove"},
        "read, change and remove everything in {} and add to it, databases too",
        "DIR",
        "this folder",
    ),
    "fetch": Kind(
        {"fetch": "fetch"},
        "fetch from {}",
        "HOST",
        "this host",
        "What it knows could leave this machine so.",
    ),
    "spawn": Kind(
        {"spawn": "run"}, "run {} in a sandbox of its own", "PROGRAM", "this program of yours"
    ),
    "env": Kind(
        {"env": "from your environment"},
        "read {} from your environment",
        "NAME",
        "this variable",
        "It may hold a secret.",
    ),
    "query_model": Kind(
        {"query_model": "ask the model", "tokenize": "count tokens"},
        "ask the model of this session, and have it count tokens",
        note="Its texts go to the model's server.",
    ),
    "inject_prompt": Kind(
        {"inject_prompt": "add texts"}, "add texts to what you say to the model, marked as its own"
    ),
    "logits": Kind(
        {"logits": "likely"},
        "see what the model finds likely to follow a text",
        note="Its texts go to the model's server.",
    ),
    "reload_model": Kind(
        {"reload_model": "loaded anew"},
        "have the model loaded anew",
        note="That may take minutes.",
    ),
    "time": Kind({"time": "clock"}, "read the clock and the time zone of this machine"),
    "notify": Kind({"notify": "show"}, "show you texts, said to be from it"),
}
_KIND_OF = {op: name for name, kind in reversed(list(KINDS.items())) for op in kind.opens}
UNKNOWN = "What it could do then is not known to this version of lmboot."


def kind_of(op: str) -> str:
    """Return the kind of grant that an operation needs: the least that lets it through."""
    return _KIND_OF.get(op, op)


def includes(kind: str, other: str) -> bool:
    """Say whether a grant of a kind is one of another too, as a folder to write is to read."""
    both = kind in KINDS and other in KINDS
    return kind == other or (both and KINDS[other].opens.keys() <= KINDS[kind].opens.keys())


def may(kind: str, what: str = "it") -> str:
    """Return what a grant of a kind permits, going on from "the runtime may"."""
    return KINDS[kind].may.format(what) if kind in KINDS else f"use {kind} {what}"


def consent(op: str, *, chooses_folder: bool = False) -> str:
    """Return in sentences what whoever grants an operation agrees to.

    To grant it once is to grant that one request; for longer it is all that the kind lets through.
    """
    kind = KINDS.get(kind_of(op))
    if kind is None:
        return UNKNOWN
    words = kind.may.format("the folder that you choose" if chooses_folder else kind.this)
    several = len(kind.opens) > 1
    begin = "Once is this request alone; for longer, it may" if several else "It could"
    return f"{begin} {words}. {kind.note}".rstrip()
