"""What a person should know before agreeing to a payload; pure."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields

from lmboot.bootstrap.imports import parse
from lmboot.bootstrap.judge import Verdict
from lmboot.bootstrap.payload import Payload
from lmboot.runtime.policy import Limits, Route
from lmboot.runtime.routes import Routes
from lmboot.text import hidden_in

_RISKY_MODULES = {
    "ctypes": "calls native code",
    "multiprocessing": "starts processes",
    "pickle": "can run code while it reads",
    "marshal": "can crash the interpreter",
    "socket": "opens sockets",
    "subprocess": "starts programs",
}
_RISKY_CALLS = {
    "eval": "runs text as code",
    "exec": "runs text as code",
    "compile": "turns text into code",
    "__import__": "imports by name",
    "fork": "starts processes",
    "system": "starts programs",
    "popen": "starts programs",
    "kill": "sends signals",
    "rmtree": "removes whole folders",
}
_TOO_LONG = 512 << 10
_UNITS = {"mb": "MB", "seconds": "s"}


@dataclass(frozen=True, slots=True)
class Review:
    """Everything shown before consent. `agreed_before`: these very bytes were agreed to.

    `routes` are those that it starts with; `properties` says of each property of the sandbox
    whether it is enforced, partial or absent.
    """

    payload: Payload
    verdict: Verdict
    model: str
    sandbox: str
    command: str
    limits: Limits
    routes: Mapping[str, Route]
    warnings: tuple[str, ...]
    agreed_before: bool = False
    properties: Mapping[str, str] = field(default_factory=dict)


def sandbox_in_words(review: Review) -> str:
    """Return what it will run in, with the level if the payload asks for one."""
    level = review.payload.sandbox_level
    return review.sandbox if level is None else f"{review.sandbox}, as asked: level {level}"


def broker_in_words(payload: Payload) -> str:
    """Return what a payload wants of its broker; "" where it would run without one."""
    return "required: it does not start where nothing can be recorded" * payload.requires_broker


def limits_in_words(limits: Limits) -> str:
    """Return the limits in words; those that are not set are left out."""
    named = ((field.name, getattr(limits, field.name)) for field in fields(limits))
    return ", ".join(_in_words(name, value) for name, value in named if value is not None)


def _in_words(name: str, value: float) -> str:
    what, _, unit = name.partition("_")
    return f"{what} {value:g} {_UNITS.get(unit, unit)}".rstrip()


def warnings_about(
    payload: Payload, verdict: Verdict, routes: Routes | None = None
) -> tuple[str, ...]:
    """Return one sentence for each thing worth a second look.

    `routes` are those that it would start with; None: nothing but the payload is judged.
    """
    found = [sentence for path, content in payload.files for sentence in _in_file(path, content)]
    found += [note.message for note in verdict.notes if note.code == "import"]
    return (*found, *_about_routes(payload, routes))


def _about_routes(payload: Payload, routes: Routes | None) -> Iterator[str]:
    """Yield what is asked for from the host, and what was asked for and will not be had."""
    named = "routes" in payload.manifest
    for operation, route in payload.routes.items():
        held_back = routes.held_back(operation, route) if routes else ""
        but = f", but {held_back}" if held_back else ""
        if route == "HOST":
            yield f"{operation} is asked for from the host{but}"
        elif but and named:
            yield f"{operation} is asked for{but}"


def _in_file(path: str, content: str) -> Iterator[str]:
    hidden = hidden_in(content)
    if hidden:
        listed = ", ".join(f"{count} x {code}" for code, count in sorted(hidden.items())[:5])
        yield f"{path} has characters that a screen hides: {listed}"
    if path.endswith(".py") and len(content) <= _TOO_LONG:
        tree = parse(content)
        if tree is None:
            yield f"{path} is not valid Python"
        else:
            yield from (f"{path} {sentence}" for sentence in sorted(set(_risky(tree))))


def _risky(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name.split(".")[0] for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module.split(".")[0]]
        elif isinstance(node, ast.Call):
            name = getattr(node.func, "id", getattr(node.func, "attr", ""))
            if name in _RISKY_CALLS:
                yield f"{_RISKY_CALLS[name]} ({name})"
        yield from (f"{_RISKY_MODULES[n]} ({n})" for n in names if n in _RISKY_MODULES)
