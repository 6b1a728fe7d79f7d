"""A reply of 10 MB, read in pieces of four characters and judged, against one of 1 MB.

What grows with the square of the length would show here: the time may grow 11-fold at most. The
replies have three texts beside a small program: a large program's syntax tree has a bound of its
own, which would make the smaller reply the slower one.
"""

from __future__ import annotations

import asyncio
import json
from functools import partial

from lmboot.bootstrap.judge import judge
from lmboot.bootstrap.progress import Progress
from tests.bench.measure import medians, timed

ROUNDS = 5
SMALL, LARGE = 1_000_000, 10_000_000
PIECE = 4
LINE = 'The quick brown fox said "jump" \\ and it was naïve.\n\tThe dog did not.\n'


def reply(size: int) -> str:
    """Return a valid reply of about so many characters."""
    shell = "for line in iter(input, ''):\n    print(line, flush=True)\n"
    line = len(json.dumps(LINE, ensure_ascii=False)) - 2
    text = LINE * (size // 3 // line)
    files = {"main.py": shell, "one.txt": text, "two.txt": text, "three.txt": text}
    payload = {
        "manifest": {"name": "large"},
        "files": [{"path": path, "content": content} for path, content in files.items()],
        "entrypoint": "python main.py",
    }
    return json.dumps(payload, ensure_ascii=False)


def feed(text: str) -> None:
    """Read a reply as it would come."""
    progress = Progress()
    for start in range(0, len(text), PIECE):
        progress.feed(text[start : start + PIECE])
    if not progress.closed:
        raise AssertionError


def check(text: str) -> None:
    """Judge a reply."""
    if not judge(text).ok:
        raise AssertionError


async def _seconds(*work: partial[None]) -> float:
    return timed(lambda: [each() for each in work])


async def figures(rounds: int) -> dict[str, float]:
    """Return seconds and the ratios."""
    small, large = reply(SMALL), reply(LARGE)
    works = [(partial(feed, text), partial(check, text)) for text in (small, large)]
    both_small, both, judged_small, judged = await medians(
        rounds,
        lambda: _seconds(*works[0]),
        lambda: _seconds(*works[1]),
        lambda: _seconds(works[0][1]),
        lambda: _seconds(works[1][1]),
    )
    return {
        "small_s": both_small,
        "large_s": both,
        "ratio": both / both_small,
        "judge_small_s": judged_small,
        "judge_large_s": judged,
        "judge_ratio": judged / judged_small,
        "feeds_a_second": LARGE / PIECE / (both - judged),
        "at_most": 11.0,
    }


def main() -> dict[str, float]:
    """Run the benchmark."""
    return asyncio.run(figures(ROUNDS))
