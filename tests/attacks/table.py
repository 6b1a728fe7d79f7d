"""The table of attacks in README: `python -m tests.attacks.table` tries all and writes it.

Every test that holds a case is run, in every back end; what comes out is written between the two
marks. A case that was not held is FAILED there, and the exit status is 1.
"""

from __future__ import annotations

import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Generator
from pathlib import Path

import pytest

from tests.attacks.cases import COLUMNS, EXEMPT, NOT_HERE, SECTIONS, WORDS, Section, level

README = Path(__file__).parents[2] / "README.md"
BEGIN, END = "<!-- attacks:begin -->", "<!-- attacks:end -->"
FAILED = "**FAILED**"

Verdict = Callable[[int, str], str]  # of a case in a back end, or on the host's own side ("")


class Results:
    """Collects what became of the tests of each case, by back end."""

    def __init__(self) -> None:
        self._outcomes: dict[tuple[int, str], set[str]] = defaultdict(set)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Note the outcome of every phase of every test that holds a case."""
        report = yield
        given = getattr(item, "callspec", None)
        backend = str(given.params.get("sandbox", "")) if given else ""
        for mark in item.iter_markers("case"):
            for number in mark.args:
                where = mark.kwargs.get("sandbox", backend)
                self._outcomes[number, where].add(report.outcome)
        return report

    def verdict(self, number: int, backend: str) -> str:
        """Return what a back end makes of a case, by what its tests came to."""
        outcomes = self._outcomes[number, backend] | self._outcomes[number, ""]
        expected = level(number, backend)
        tried = "passed" in outcomes or expected != "held"
        return expected if tried and "failed" not in outcomes else FAILED


def block(verdict: Verdict = level) -> str:
    """Return the table, between its marks."""
    lines = [BEGIN, *_summary(verdict), "", "<details><summary>Every attack</summary>", ""]
    for section in SECTIONS:
        lines += [*_rows(section, verdict), ""]
    return "\n".join([*lines, *_reasons(), "", "</details>", END])


def _summary(verdict: Verdict) -> list[str]:
    names = list(COLUMNS)
    lines = [f"| attacks | {' | '.join(names)} |", f"|---|{'---|' * len(names)}"]
    for section in SECTIONS:
        cells = [_counted(section, name, verdict) for name in names]
        if not section.sandboxed:
            cells = [_counted(section, "", verdict)] * len(names)
        lines.append(f"| {section.name} ({len(section.numbers)}) | {' | '.join(cells)} |")
    return lines


def _counted(section: Section, backend: str, verdict: Verdict) -> str:
    """Return such as `36 held, 3 partial`."""
    found = Counter(verdict(number, backend) for number in _tried(section))
    return ", ".join(f"{count} {word}" for word, count in found.most_common())


def _tried(section: Section) -> list[int]:
    return [number for number in section.numbers if number not in NOT_HERE]


def _rows(section: Section, verdict: Verdict) -> list[str]:
    if not section.sandboxed:  # the host's own side, whatever the sandbox
        words = ", ".join(f"{number} {WORDS[number]}" for number in _tried(section))
        failed = [str(n) for n in _tried(section) if verdict(n, "") == FAILED]
        return [f"**{section.name}**, before or beside any sandbox: {words}.", *failed]
    names = list(COLUMNS)
    head = [f"| | {section.name} | {' | '.join(names)} |", f"|---|---|{'---|' * len(names)}"]
    return head + [
        f"| {number} | {WORDS[number]} | {' | '.join(verdict(number, name) for name in names)} |"
        for number in section.numbers
    ]


def _reasons() -> list[str]:
    """Return why something is not held, or not tried; what has one reason stands in one line."""
    numbers = defaultdict(list)
    for (number, backend), exempt in sorted(EXEMPT.items()):
        if backend in COLUMNS:
            numbers[backend, exempt.level, exempt.reason].append(str(number))
    said = [
        f"- {level} with {backend}, {', '.join(which)}: {reason}."
        for (backend, level, reason), which in numbers.items()
    ]
    return said + [
        f"- {number} is not tried here: {reason}." for number, reason in NOT_HERE.items()
    ]


def replaced(text: str, new: str) -> str:
    """Return a text with what stands between the marks replaced, the marks included."""
    before, _, rest = text.partition(BEGIN)
    return before + new + rest.partition(END)[2]


def main() -> int:
    """Try every case and write the table; return 1 when one was not held."""
    results = Results()
    pytest.main(
        ["-n", "0", "-m", "case", "--require=sandbox", "-q", "--timeout=300", "--durations=15"],
        plugins=[results],
    )
    table = block(results.verdict)
    README.write_text(replaced(README.read_text("utf-8"), table), "utf-8")
    return int(FAILED in table)


if __name__ == "__main__":
    sys.exit(main())
