"""The order of the tests, what a back end is exempt from, and what may not be skipped.

The window's tests come last; their display is a child of this process. `--require=sandbox` makes a
skipped test of the sandbox a failure: a machine that promised one must not pass without it.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import pytest

from tests.attacks.cases import EXEMPT, FULL

REQUIRABLE = {
    "sandbox": ("attack", "sandbox")
}  # what can be promised: the markers that rest on it


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add --require."""
    parser.addoption(
        "--require",
        action="append",
        default=[],
        choices=sorted(REQUIRABLE),
        help="count a skipped test of this as failed",
    )


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Put the window's tests behind those that look for, or end, whatever this process started.

    What a back end can't hold of a case is not tried in it: `tests.attacks.cases` says what.
    A test of several back ends is tried in the first one always, in all with the attacks.
    """
    everywhere = {_function(item) for item in items if backend_of(item) == FULL[0]}
    for item in items:
        if backend_of(item) not in (None, FULL[0]) and _function(item) in everywhere:
            item.add_marker("attack")
    exempt = [item for item in items if is_exempt(item)]
    config.hook.pytest_deselected(items=exempt)
    items[:] = [item for item in items if item not in exempt]
    items.sort(key=lambda item: "gui" in item.path.parts)


def is_exempt(item: pytest.Item) -> bool:
    """Say whether the back end that a test is for can't pass it, by a case that it holds."""
    exempt = [EXEMPT.get((number, backend_of(item) or "")) for number in cases_of(item)]
    return any(each is not None and not each.tried for each in exempt)


def _function(item: pytest.Item) -> str:
    return item.nodeid.partition("[")[0]


def backend_of(item: pytest.Item) -> str | None:
    """Return the back end that a test is for, None for a test of the host's own."""
    given = getattr(item, "callspec", None)
    return None if given is None else given.params.get("sandbox")


def cases_of(item: pytest.Item) -> set[int]:
    """Return the cases that a test holds in the back end that it is given."""
    return {
        number
        for mark in item.iter_markers("case")
        for number in mark.args
        if "sandbox" not in mark.kwargs
    }


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Count a skipped test as failed where what it needs was promised."""
    report = yield
    wanted = {mark for each in item.config.getoption("require") for mark in REQUIRABLE[each]}
    promised = any(item.get_closest_marker(mark) for mark in wanted)
    if report.skipped and promised and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"skipped, though a sandbox was promised: {_reason(report.longrepr)}"
    return report


def _reason(skipped: Any) -> str:
    return str(skipped[2] if isinstance(skipped, tuple) else skipped)
