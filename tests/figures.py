"""Runs modules that measure something, by name, and prints what each returns: a table, or JSON.

A module is one that has `main()`, which returns a dict of figures. `python -m tests.bench` and
`python -m tests.soak` are two folders of them.
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from lmboot.errors import LmbootError

Main = Callable[[], dict[str, Any]]


def programs(folder: Path) -> dict[str, Main]:
    """Return what can be run in a folder of `tests`, by name."""
    names = sorted(path.stem for path in folder.glob("[a-z]*.py"))
    modules = {name: importlib.import_module(f"tests.{folder.name}.{name}") for name in names}
    return {name: module.main for name, module in modules.items() if hasattr(module, "main")}


def run(folder: Path, arguments: Sequence[str] | None = None) -> int:
    """Run the named ones, by default all; return 1 when one of them failed."""
    found = programs(folder)
    parser = argparse.ArgumentParser(prog=f"python -m tests.{folder.name}")
    parser.add_argument("name", nargs="*", help=f"one of: {' '.join(found)}; by default all")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    given = parser.parse_args(arguments)
    if unknown := sorted(set(given.name) - set(found)):
        parser.error(f"there is no {' '.join(unknown)}; there are: {' '.join(found)}")
    figures: dict[str, dict[str, Any]] = {}
    for name in given.name or found:
        sys.stderr.write(f"{name} ...\n")
        figures[name] = _figures(found[name])
        if not given.json:
            sys.stdout.write(table(name, figures[name]))
            sys.stdout.flush()
    if given.json:
        sys.stdout.write(json.dumps(figures, indent=1) + "\n")
    return int(any("failed" in each for each in figures.values()))


def _figures(main: Main) -> dict[str, Any]:
    """Return a program's figures; one that fails must not cost the others theirs."""
    try:
        return main()
    except (AssertionError, LmbootError, OSError, RuntimeError) as error:
        return {"failed": f"{type(error).__name__}: {error}"}


def table(name: str, figures: dict[str, Any]) -> str:
    """Return aligned lines, one a figure."""
    width = max(map(len, figures), default=0)
    lines = [f"{name:12} {key:{width}}  {_shown(value)}" for key, value in figures.items()]
    return "\n".join(lines) + "\n\n"


def _shown(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:,.3f}" if abs(value) < 100 else f"{value:,.0f}"
    return f"{value:,}" if isinstance(value, int) else str(value)
