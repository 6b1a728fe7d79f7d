"""Which test holds which case, read from the tests' own text: nothing is imported or run."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

TESTS = Path(__file__).parents[1]


class Held(NamedTuple):
    """A test that holds a case, in one back end only if it names that."""

    test: str
    backend: str | None


def census(folder: Path = TESTS) -> dict[int, list[Held]]:
    """Return the tests of every case that any test in a folder carries the number of."""
    found: dict[int, list[Held]] = defaultdict(list)
    for module in sorted(folder.rglob("test_*.py")):
        for function, number, backend in _marks(ast.parse(module.read_text("utf-8"))):
            name = f"{module.relative_to(folder)}::{function}"
            found[number].append(Held(name, backend))
    return dict(found)


def _marks(tree: ast.Module) -> Iterator[tuple[str, int, str | None]]:
    """Yield (test, case, back end) of each mark on a test, or within its parameters."""
    for function in ast.walk(tree):
        if not isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        for decorator in function.decorator_list:
            for call in filter(_is_mark, ast.walk(decorator)):
                assert isinstance(call, ast.Call)
                named = {each.arg: ast.literal_eval(each.value) for each in call.keywords}
                for number in map(ast.literal_eval, call.args):
                    yield function.name, number, named.get("sandbox")


def _is_mark(node: ast.AST) -> bool:
    return (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr == "case"
        and isinstance(node.func.value, ast.Attribute)
        and node.func.value.attr == "mark"
    )
