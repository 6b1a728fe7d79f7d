"""The order of the tests: the window's come last; their display is a child of this process."""

from __future__ import annotations

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the window's tests behind those that look for, or end, whatever this process started."""
    items.sort(key=lambda item: "gui" in item.path.parts)
