"""A model's reply, judged as a whole: its payload, or every problem with it; pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from lmboot.bootstrap.imports import lacking_imports
from lmboot.bootstrap.parser import Found, find
from lmboot.bootstrap.payload import MAX_REPLY_BYTES, Judged, Payload, judge_object
from lmboot.runtime.policy import Limits
from lmboot.strictjson import Broken, Places, Problem, Repair


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is to be said of one reply; `payload` is there exactly when `problems` is empty."""

    payload: Payload | None = None
    problems: tuple[Problem, ...] = ()
    repairs: tuple[Repair, ...] = ()
    notes: tuple[Problem, ...] = ()
    codes: frozenset[str] = field(init=False)

    def __post_init__(self) -> None:
        """Collect the codes of the problems."""
        object.__setattr__(self, "codes", frozenset(problem.code for problem in self.problems))

    @property
    def ok(self) -> bool:
        """Say whether the reply was accepted."""
        return not self.problems

    def as_json(self) -> dict[str, Any]:
        """Return the shape that `check --json` prints."""
        return {
            "ok": self.ok,
            "problems": [problem._asdict() for problem in self.problems],
            "repairs": [repair._asdict() for repair in self.repairs],
            "notes": [note._asdict() for note in self.notes],
            "payload": self.payload.normalised() if self.payload else None,
        }


def judge(reply: str, limits: Limits | None = None) -> Verdict:
    """Judge a reply by the contract's rules; `limits` are the policy's. Takes linear time."""
    if len(reply) > MAX_REPLY_BYTES or len(reply.encode(errors="replace")) > MAX_REPLY_BYTES:
        return _refused("too_big", "reply", f"it is larger than {MAX_REPLY_BYTES >> 20} MiB")
    text = reply.removeprefix("\ufeff")
    try:
        found = find(text)
    except Broken as broken:
        return _refused(broken.code, "reply", broken.message)
    judged = [_judged(candidate, limits) for candidate in found.candidates]
    valid = {each.payload.sha256: (each, each.payload) for each in judged if each.payload}
    if len(valid) > 1:
        sentence = f"it holds {len(valid)} valid payloads that differ; which one is meant?"
        return _refused("ambiguous", "reply", sentence)
    if valid:
        best, payload = valid.popitem()[1]
        return _accepted(best, payload, judged, found, Places(text))
    return _nothing_valid(judged, found, Places(text))


def judge_bytes(reply: bytes, limits: Limits | None = None) -> Verdict:
    """Judge a reply that was read from a file: UTF-8, with or without a byte order mark."""
    try:
        return judge(reply.decode(), limits)
    except UnicodeDecodeError as error:
        return _refused("text", "reply", f"it is not UTF-8 text (byte {error.start})")


def _judged(candidate: tuple[int, Any], limits: Limits | None) -> Judged:
    _, decoded = candidate
    result = judge_object(decoded.value, limits)
    result.repairs[:0] = decoded.repairs
    if decoded.problems:
        places = {problem.where for problem in decoded.problems}
        others = [problem for problem in result.problems if problem.where not in places]
        result.problems[:] = [*decoded.problems, *others]
        result.payload = None
    return result


def _accepted(
    best: Judged, payload: Payload, judged: list[Judged], found: Found, places: Places
) -> Verdict:
    notes = [*best.notes, *lacking_imports(payload.files)]
    notes += [_broken_note(broken, places) for broken in found.broken]
    notes += [
        Problem("other_object", each.problems[0].where, "another object in the reply is not valid")
        for each in judged
        if each.problems
    ]
    return Verdict(payload, (), tuple(best.repairs), tuple(notes))


def _broken_note(broken: Broken, places: Places) -> Problem:
    sentence = f"another object in the reply is broken: {broken.message}"
    return Problem("other_object", places(broken.position), sentence)


def _nothing_valid(judged: list[Judged], found: Found, places: Places) -> Verdict:
    """Return the refusal that helps most: what is wrong with what is there, or what is not."""
    if judged:
        last = judged[-1]
        broken = tuple(_problem(each, places) for each in found.broken)
        return Verdict(None, (*last.problems, *broken), tuple(last.repairs), tuple(last.notes))
    broken_here = found.broken or ([found.strange[1]] if found.strange else [])
    if broken_here:
        return Verdict(None, tuple(_problem(each, places) for each in broken_here))
    if found.open:
        return _refused("truncated", "reply", "it ends inside the model's thinking")
    if found.blank:
        return _refused("empty", "reply", "the model answered nothing")
    keys = '"manifest", "files" and "entrypoint"'
    return _refused("no_object", "reply", f"it has no JSON object with {keys}")


def _problem(broken: Broken, places: Places) -> Problem:
    return Problem(broken.code, places(broken.position), broken.message)


def _refused(code: str, where: str, message: str) -> Verdict:
    return Verdict(None, (Problem(code, where, message),))
