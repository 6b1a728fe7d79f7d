"""Turns a review into what the window shows of it, with nothing hidden; pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from lmboot.bootstrap.review import (
    Review,
    broker_in_words,
    limits_in_words,
    sandbox_in_words,
)
from lmboot.gui.messages import ConsentWanted
from lmboot.gui.modelrows import size_words
from lmboot.gui.shown import for_review
from lmboot.runtime.launcher import IN_WORDS, in_words
from lmboot.text import brief

_SHORT = 300
_MOST_NOTES = 20


def shown_review(review: Review, reply: str, answer: Any) -> ConsentWanted:
    """Return everything that a person reads before agreeing."""
    payload = review.payload
    files = [
        (for_review(path), size_words(len(content.encode())), for_review(content))
        for path, content in payload.files
    ]
    count = f"{len(files)} file{'s' * (len(files) != 1)}"
    command = brief(review.command, _SHORT)
    return ConsentWanted(
        name=brief(payload.name, 100),
        summary=f"{brief(payload.name, 60)} · {count}",
        question=f"Write {count} and run  {command}  in {review.sandbox}?",
        files=files,
        facts=list(_facts(review)),
        routes=list(_routes(review)),
        borders=[_sentence(key) for key, level in _levels(review) if level == "enforced"],
        warnings=list(_warnings(review)),
        flags={for_review(path): _flagged(content) for path, content in payload.files},
        first=for_review(payload.argv[0]),
        agreed_before=review.agreed_before,
        sandbox=review.sandbox,
        reply=reply,
        answer=answer,
    )


def _facts(review: Review) -> Iterator[tuple[str, str]]:
    manifest = review.payload.manifest
    version = brief(str(manifest.get("version", "")), 40)
    yield "Program", f"{brief(review.payload.name, 100)} {version}".strip()
    yield "Written by", brief(review.model, _SHORT)
    yield "Command", for_review(review.command)
    yield "Sandbox", sandbox_in_words(review)
    if broker := broker_in_words(review.payload):
        yield "Broker", broker
    yield "Limits", limits_in_words(review.limits)
    digest = review.payload.sha256
    yield "SHA-256", " ".join(digest[at : at + 8] for at in range(0, len(digest), 8))


def _routes(review: Review) -> Iterator[tuple[str, str]]:
    """Yield what is permitted or was asked for by name; the rest is one row."""
    asked = review.payload.manifest.get("routes", {})
    named = {name: to for name, to in review.routes.items() if to != "DENY" or name in asked}
    yield from named.items()
    if len(named) < len(review.routes):
        yield "all others" if named else "everything", "DENY"


def _levels(review: Review) -> Iterator[tuple[str, str]]:
    return ((key, review.properties.get(key, "absent")) for key in IN_WORDS)


def _sentence(key: str) -> str:
    words = IN_WORDS[key]
    return words[0].upper() + words[1:]


def _warnings(review: Review) -> Iterator[str]:
    for key, level in _levels(review):
        if level != "enforced":
            word = "only partly enforced" if level == "partial" else "not enforced"
            yield f"{word} by {review.sandbox}: “{in_words(key, level)}”"
    yield from (for_review(sentence) for sentence in review.warnings)
    verdict = review.verdict
    for note in [each for each in verdict.notes if each.code != "import"][:_MOST_NOTES]:
        yield for_review(f"{note.where}: {note.message}")
    for repair in verdict.repairs[:_MOST_NOTES]:
        yield for_review(f"mended in the reply: {repair.code} at {repair.where}")


def _flagged(content: str) -> list[int]:
    """Return the numbers of the lines of which something is written out, as a screen hides it."""
    if for_review(content) == content:
        return []
    lines = enumerate(content.split("\n"), 1)
    return [number for number, line in lines if for_review(line) != line]
