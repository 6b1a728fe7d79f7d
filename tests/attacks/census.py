"""Which test holds which case in which back end, as pytest collects them; nothing is run.

`python -m tests.attacks.census` prints it as JSON.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import defaultdict
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[2]


class Held(NamedTuple):
    """A test that holds a case, in the back end that it is given; None: in none, on the host."""

    test: str
    backend: str | None


@cache
def census() -> dict[int, list[Held]]:
    """Return the tests of every case that any test carries the number of, in their back ends."""
    words = [sys.executable, "-m", "tests.attacks.census"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(words, capture_output=True, check=False, cwd=ROOT, env=environment)
    assert done.returncode == 0, done.stdout.decode() + done.stderr.decode()
    found: dict[int, list[Held]] = defaultdict(list)
    for number, test, backend in json.loads(done.stdout.splitlines()[-1]):
        found[number].append(Held(test, backend))
    return dict(found)


class _Collected:
    """Notes every test that is left when all is collected."""

    def __init__(self) -> None:
        self.rows: list[tuple[int, str, str | None]] = []

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Note them; what a back end is exempt from has been left out."""
        self.rows = [
            (number, item.nodeid, where_tried(item, mark))
            for item in session.items
            for mark in item.iter_markers("case")
            for number in mark.args
        ]


def where_tried(item: pytest.Item, mark: pytest.Mark) -> str | None:
    """Return the back end that a test tries a case in: the one it names, or is given."""
    given = getattr(item, "callspec", None)
    backend: str | None = given.params.get("sandbox") if given else None
    named: str | None = mark.kwargs.get("sandbox", backend)
    return named


def main() -> int:
    """Print the census in the last line."""
    collected = _Collected()
    words = ["--collect-only", "-qq", "-m", "case", "-p", "no:cacheprovider"]
    code = pytest.main(words, plugins=[collected])
    print()
    print(json.dumps(collected.rows))
    return int(code)


if __name__ == "__main__":
    sys.exit(main())
