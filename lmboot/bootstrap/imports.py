"""What a payload's Python files import that its world lacks, read off the syntax tree; pure."""

from __future__ import annotations

import ast
import sys
import warnings
from collections.abc import Iterable, Iterator

from lmboot.strictjson import Problem
from lmboot.text import brief

_NO_DISPLAY = frozenset({"tkinter", "turtle", "turtledemo", "idlelib"})
_HOSTS = frozenset({"guest_sys"})
_TOO_LONG = 512 << 10  # a syntax tree takes a hundred times its text; programs are not that long
_TOO_MUCH = 2 << 20


def lacking_imports(files: Iterable[tuple[str, str]]) -> list[Problem]:
    """Return a note for each module that a file imports and that will not be there."""
    files = list(files)
    own = {part.removesuffix(".py") for path, _ in files for part in path.split("/")}
    notes: list[Problem] = []
    left = _TOO_MUCH
    for index, (path, content) in enumerate(files):
        if not path.endswith(".py") or len(content) > min(left, _TOO_LONG):
            continue
        left -= len(content)
        for name in sorted(set(_imported(content)) - own - _HOSTS):
            if name in _NO_DISPLAY:
                notes.append(_note(index, f"it imports {name}, but there is no display"))
            elif name not in sys.stdlib_module_names:
                sentence = f"it imports {brief(name, 60)}, which is not in the standard library"
                notes.append(_note(index, sentence))
    return notes


def _note(index: int, sentence: str) -> Problem:
    return Problem("import", f"files[{index}].content", sentence)


def parse(content: str) -> ast.Module | None:
    """Return the syntax tree of a hostile text, None when it is no Python."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ast.parse(content)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _imported(content: str) -> Iterator[str]:
    """Yield the top-level modules that a program can't do without."""
    tree = parse(content)
    waiting: list[ast.AST] = [tree] if tree else []
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.split(".")[0]
        elif isinstance(node, ast.Try) and any(map(_catches_import_error, node.handlers)):
            waiting += [*node.handlers, *node.orelse, *node.finalbody]
        else:
            waiting += ast.iter_child_nodes(node)


def _catches_import_error(handler: ast.ExceptHandler) -> bool:
    kinds = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
    names = {getattr(kind, "id", "BaseException") for kind in kinds}
    known = {"ImportError", "ModuleNotFoundError", "Exception", "BaseException"}
    return not names.isdisjoint(known)
