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

from tests.attacks.cases import (
    COLUMNS,
    EXEMPT,
    INSIDE,
    NOT_HERE,
    SECTIONS,
    WORDS,
    Section,
    level,
)
from tests.attacks.census import where_tried

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
        for mark in item.iter_markers("case"):
            for number in mark.args:
                self._outcomes[number, where_tried(item, mark) or ""].add(report.outcome)
        return report

    def verdict(self, number: int, backend: str) -> str:
        """Return what a back end makes of a case, by what its tests came to there.

        A test of the host's own side that failed spoils the case everywhere.
        """
        there, beside = self._outcomes[number, backend], self._outcomes[number, ""]
        expected = level(number, backend)
        tried = "passed" in there or expected == "n/a"
        return expected if tried and "failed" not in there | beside else FAILED


def block(verdict: Verdict = level) -> str:
    """Return the table, between its marks."""
    lines = [BEGIN, *_summary(verdict), "", "<details><summary>Every attack</summary>", ""]
    for section in SECTIONS:
        lines += [*_rows(section, verdict), ""]
    return "\n".join([*lines, *_reasons(), "", "</details>", END])


def _summary(verdict: Verdict) -> list[str]:
    head = ["attacks", "before or beside any sandbox", *COLUMNS]
    lines = [_row(head), f"|{'---|' * len(head)}"]
    for section in SECTIONS:
        beside = [number for number in section.numbers if number not in INSIDE | set(NOT_HERE)]
        inside = [number for number in section.numbers if number in INSIDE]
        cells = [_counted(inside, name, verdict) for name in COLUMNS]
        name = f"{section.name} ({len(section.numbers)})"
        lines.append(_row([name, _counted(beside, "", verdict), *cells]))
    return lines


def _row(cells: list[str]) -> str:
    return f"|{'|'.join(f' {cell} ' if cell else ' ' for cell in cells)}|"


def _counted(numbers: list[int], backend: str, verdict: Verdict) -> str:
    """Return such as `36 held, 3 partial`."""
    found = Counter(verdict(number, backend) for number in numbers)
    return ", ".join(f"{count} {word}" for word, count in found.most_common())


def _rows(section: Section, verdict: Verdict) -> list[str]:
    """Return a section's cases: those beside any sandbox in a line, the others in a table."""
    beside = [n for n in section.numbers if n not in INSIDE | set(NOT_HERE)]
    lines = []
    if beside:
        words = ", ".join(f"{number} {WORDS[number]}" for number in beside)
        failed = [f"{number} {FAILED}" for number in beside if verdict(number, "") == FAILED]
        lines = [f"**{section.name}**, before or beside any sandbox: {words}.", *failed]
    if section.inside:
        head = ["", section.name, *COLUMNS]
        lines += [*([""] if beside else []), _row(head), f"|{'---|' * len(head)}"]
    for number in sorted(section.inside, key=section.numbers.index):
        cells = [verdict(number, name) for name in COLUMNS]
        lines.append(_row([str(number), WORDS[number], *cells]))
    return lines


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
