"""Valid replies, damaged at random, through the judge and the progress line.

Nothing may raise, nothing may take long, and a reply that was cut off is never accepted.
"""

from __future__ import annotations

import json
import random
from time import process_time

from lmboot.bootstrap.judge import judge
from lmboot.bootstrap.progress import Progress, ThinkFilter

ROUNDS = 1_000_000
MAX_SECONDS = 1.0  # of processor time, for a reply of a few kilobytes
MAX_CHARACTERS = 20_000

PAYLOAD = {
    "manifest": {
        "name": "shell",
        "version": "1.0",
        "routes": {"fs.open": "EMULATE", "fetch": "HOST"},
        "limits": {"memory_mb": 64, "cpu_seconds": 1.5},
    },
    "files": [
        {"path": "main.py", "content": 'import sys\nprint("ready {}[]\\t", flush=True)\n'},
        {"path": "lib/a.py", "content": "x = '</think> naïve 😀'\n"},
    ],
    "entrypoint": "python main.py --flag",
}
WHOLE = [
    json.dumps(PAYLOAD),
    json.dumps(PAYLOAD, indent=1, ensure_ascii=False),
    f'<think>Let me see: {{}} and "x".</think>\n{json.dumps(PAYLOAD)}',
    f"Here it is:\n```json\n{json.dumps(PAYLOAD, indent=2)}",
    json.dumps(PAYLOAD).replace("\\n", "\n"),
]
TAILS = ["", "\n```\nThat is all {really}.", "\r\n", "</think>"]
PIECES = [
    *'"\\{}[]:,0-+.eE\n\r\t \x00\x7f',
    *("<think>", "</think>", "```", "null", "true", "NaN", "1e999", "\\u0000", "\\ud800", "\\x"),
    *("\ud800", "\u202e", "\ufeff", "😀", '"files"', '"manifest":', '{"entrypoint":', "[[[[[[[["),
]


def damaged(text: str, rng: random.Random) -> str:
    """Return a text with a few random changes."""
    for _ in range(rng.randrange(1, 5)):
        at = rng.randrange(len(text) + 1)
        to = min(len(text), at + rng.choice((0, 1, 1, 2, 8, 60)))
        kind = rng.randrange(4)
        if kind == 0:
            new = rng.choice(PIECES)
        elif kind == 1:
            new = ""
        elif kind == 2:
            new = text[at:to] * 2
        else:
            other = rng.randrange(len(text) + 1)
            new = text[other : other + rng.randrange(40)]
        text = text[:at] + new + text[to:]
    return text[:MAX_CHARACTERS]


def cut_off(rng: random.Random) -> str:
    """Return a valid reply that ends before its object does."""
    text = rng.choice(WHOLE)
    return text[: rng.randrange(text.rindex("}"))]


def watch(text: str, rng: random.Random) -> None:
    """Read a text as a front end does, in random pieces."""
    progress, thinking = Progress(), ThinkFilter()
    at = 0
    while at < len(text):
        to = at + rng.choice((1, 4, 4, 30, 500))
        progress.feed(text[at:to])
        thinking.feed(text[at:to])
        at = to
    thinking.end()
    if progress.characters != len(text):
        raise AssertionError(f"{progress.characters} characters of {len(text)} were read")


def main(count: int = ROUNDS) -> dict[str, float]:
    """Judge `count` replies, every fourth of them cut off; return how many were accepted."""
    rng = random.Random(20)
    accepted, slowest = 0, 0.0
    for number in range(count):
        whole = number % 4 != 0
        text = damaged(rng.choice(WHOLE) + rng.choice(TAILS), rng) if whole else cut_off(rng)
        began = process_time()
        watch(text, rng)
        verdict = judge(text)
        took = process_time() - began
        slowest = max(slowest, took)
        accepted += verdict.ok
        if verdict.ok and not whole:
            raise AssertionError(
                f"round {number}: a reply that was cut off was accepted: {text!r}"
            )
        if took > MAX_SECONDS:
            raise AssertionError(f"round {number} took {took:.1f} s: {text!r}")
    return {"judged": count, "accepted": accepted, "slowest_ms": slowest * 1e3}
