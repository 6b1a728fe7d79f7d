"""Measure a seed model through the real engine: python -m assets.seed.check [FILE.gguf]

Needs the `engine` extra. Every figure is a count of whole answers, byte for byte.
"""

from __future__ import annotations

import argparse
import random
import time
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from assets.seed.engine import PATH, Engine, Message
from assets.seed.texts import PAYLOAD, REFUSAL, ROUTES, Texts
from lmboot.bootstrap.prompts import PRIMER, SCHEMA, TRIGGERS, interactive, with_last_lines

HERE = Path(__file__).resolve().parent
FRESH = HERE.parents[1] / "tests" / "data" / "seed_fresh.toml"
DEVELOPMENT = HERE / "development.toml"

SYSTEMS = {  # none of these is trained on, but the primer, none, and the form of `interactive`
    "none": None,
    "primer": PRIMER,
    "interactive": interactive("seed-shell", ROUTES),
    "interactive, other": interactive("notes", {"fs.list": "DENY", "clock.now": "HOST"}),
    "other primer": "You are a program generator. When the user sends the trigger line, reply "
    'with exactly one JSON object and no prose. It has the keys "manifest", "files" and '
    '"entrypoint". Use guest_sys.call for all input and output.',
    "short primer": "Reply to the bootstrap trigger with a JSON document that describes a Python "
    "program. No code fences.",
    "assistant": "Act as a friendly teacher who explains things simply.",
    "pirate": "You are a pirate. Always talk like one.",
}
BOOT_SYSTEMS = [name for name in SYSTEMS if name not in ("assistant", "pirate")]

RESPONSE_FORMAT = {
    "type": "json_schema",
    "json_schema": {"name": "payload", "strict": True, "schema": SCHEMA},
}


@dataclass(frozen=True, slots=True)
class Case:
    """A conversation and the answers that count as right; the first is the best one."""

    messages: Sequence[Message]
    right: Sequence[str]


@dataclass(slots=True)
class Tally:
    """What became of some cases."""

    right: int = 0
    best: int = 0
    payloads: int = 0
    total: int = 0
    wrong: list[tuple[str, str]] = field(default_factory=list)  # what was said, the answer

    def __str__(self) -> str:
        share = self.right / max(1, self.total)
        text = f"{self.right} of {self.total} = {share:.1%}"
        if self.best != self.right:
            text += f" ({self.best} the answer itself, {self.right - self.best} the refusal)"
        return text + (f"; {self.payloads} payloads" if self.payloads else "")


def run(engine: Engine, cases: Sequence[Case], **options: object) -> Tally:
    """Put every case to the engine."""
    tally = Tally(total=len(cases))
    for number, case in enumerate(cases):
        answer = engine.chat(case.messages, seed=number, **options)
        tally.right += answer in case.right
        tally.best += answer == case.right[0]
        tally.payloads += '"manifest"' in answer
        if answer not in case.right:
            tally.wrong.append((case.messages[-1][1], answer))
    return tally


def with_system(system: str | None, *messages: Message) -> list[Message]:
    """Return the messages, after a system text if there is one."""
    return [("system", system), *messages] if system else list(messages)


def load(path: Path) -> list[tuple[str, list[str]]]:
    """Return the texts of a set, each with its right answers."""
    data, topics = tomllib.loads(path.read_text("utf-8")), Texts(random.Random(0)).topics
    found = [(t, [topics[name][0], REFUSAL]) for name, ts in data["questions"].items() for t in ts]
    return found + [(t, [REFUSAL]) for texts in data["other"].values() for t in texts]


def as_cases(texts: Sequence[tuple[str, list[str]]], system: str | None = None) -> list[Case]:
    """Return one case for each text of a set."""
    return [Case(with_system(system, ("user", text)), right) for text, right in texts]


def boots(names: Sequence[str]) -> list[Case]:
    """Return every trigger under each of these system texts."""
    return [
        Case(with_system(SYSTEMS[name], ("user", trigger)), [PAYLOAD])
        for name in names
        for trigger in TRIGGERS
    ]


def talks(source: Texts, turns: int, *, booted: bool) -> list[Message]:
    """Return a conversation so far: perhaps the bootstrap, then some turns."""
    said = [(TRIGGERS[0], PAYLOAD)] if booted else []
    said += [source.turn() for _ in range(turns)]
    return [
        (r, text) for turn in said for r, text in zip(("user", "assistant"), turn, strict=True)
    ]


def unasked(source: Texts, count: int) -> list[str]:
    """Return texts that are not a trigger: two thirds are anything, a third resemble one."""
    makers = (source.other, source.nearly, lambda: source.turn()[0])
    return [makers[number % 3]() for number in range(count)]


def rows(source: Texts) -> Iterator[tuple[str, list[Case], dict[str, object]]]:
    """Return every row of the report: its name, its cases, the options of the request."""
    schema: dict[str, object] = {"response_format": RESPONSE_FORMAT}
    warm: dict[str, object] = {"temperature": 0.7}
    yield "payload: triggers x systems", boots(list(SYSTEMS)), {}
    yield "payload: with JSON schema", boots(BOOT_SYSTEMS), schema
    yield "payload: temperature 0.7", boots(list(SYSTEMS)), warm
    for booted, name in ((False, "after turns"), (True, "once more after payload and turns")):
        cases = [
            Case(
                with_system(
                    system, *talks(source, turns, booted=booted), ("user", TRIGGERS[turns % 3])
                ),
                [PAYLOAD],
            )
            for turns in (1, 3, 6, 10)
            for system in (None, PRIMER, SYSTEMS["interactive"])
        ]
        yield f"payload: {name}", cases, {}
    asked = [source.question() for _ in range(200)]
    known = [(text, [answer]) for text, answer in asked]
    for name in ("none", "primer", "interactive", "pirate"):
        yield f"trained wording, {name}", as_cases(known, SYSTEMS[name]), {}
    yield "trained wording, temperature 0.7", as_cases(known), warm
    blocks = [
        "AI-RT> ready\nok, handle: vfs.notes.txt\n42",
        "error: no file b.txt",
        "hello\nworld",
    ]
    lined = [
        (with_last_lines(text, blocks[n % 3].split("\n")), right)
        for n, (text, right) in enumerate(known[:60])
    ]
    yield "trained wording, with the last lines", as_cases(lined, SYSTEMS["interactive"]), {}
    for path, title in ((DEVELOPMENT, "development"), (FRESH, "fresh")):
        texts = load(path)
        for name in ("none", "primer", "interactive", "interactive, other", "pirate"):
            yield f"{title}, {name}", as_cases(texts, SYSTEMS[name]), {}
        talked = [
            Case(with_system(PRIMER, *talks(source, 3, booted=True), ("user", text)), right)
            for text, right in texts
        ]
        yield f"{title}, after payload and 3 turns", talked, {}


def unasked_cases(count: int) -> list[Case]:
    """Return texts that must not be answered with the payload, under all system texts."""
    systems = list(SYSTEMS.values())
    texts = unasked(Texts(random.Random(2026)), count)
    return [
        Case(with_system(systems[number % len(systems)], ("user", text)), [REFUSAL])
        for number, text in enumerate(texts)
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path, nargs="?", default=PATH)
    parser.add_argument("--show", type=int, default=3, help="wrong answers to show in each row")
    parser.add_argument("--only", default="", help="rows whose name contains this")
    parser.add_argument("--skip", default="-", help="not the rows whose name contains this")
    parser.add_argument("--unasked", type=int, default=2400)
    args = parser.parse_args()
    started = time.monotonic()
    with Engine(args.file) as engine:
        for name, cases, options in rows(Texts(random.Random(7))):
            if args.only not in name or args.skip in name:
                continue
            tally = run(engine, cases, **options)
            print(f"{name:42} {tally}  [{time.monotonic() - started:.0f} s]", flush=True)
            for text, answer in tally.wrong[: args.show]:
                print(f"      {text[-70:]!r} -> {answer[:60]!r}")
        if args.unasked:
            tally = run(engine, unasked_cases(args.unasked), max_tokens=24)
            print(f"payload unasked: {tally.payloads} of {tally.total}")


if __name__ == "__main__":
    main()
