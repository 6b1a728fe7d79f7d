from __future__ import annotations

import json
from typing import Any

import pytest

from lmboot.bootstrap.judge import judge
from lmboot.bootstrap.review import broker_in_words, warnings_about
from lmboot.runtime.policy import Route, ceiling_of
from lmboot.runtime.routes import Routes
from tests.fakes import GOOD


def warnings_of(content: str, path: str = "a.py", **manifest: Any) -> tuple[str, ...]:
    files = [{"path": "a.py", "content": ""}] if path != "a.py" else []
    files.append({"path": path, "content": content})
    reply = {**GOOD, "manifest": {"name": "x", **manifest}, "files": files}
    verdict = judge(json.dumps(reply))
    assert verdict.payload is not None
    return warnings_about(verdict.payload, verdict)


@pytest.mark.parametrize("content", ["", "print(1)\n", "import os, sys, json\nopen('a').read()\n"])
def test_an_ordinary_program_needs_no_second_look(content: str) -> None:
    assert warnings_of(content) == ()


@pytest.mark.parametrize(
    ("content", "named"),
    [
        ("eval('1')", "(eval)"),
        ("exec('1')", "(exec)"),
        ("__import__('os')", "(__import__)"),
        ("import os\nos.system('ls')", "(system)"),
        ("import os\nos.fork()", "(fork)"),
        ("import subprocess as s", "(subprocess)"),
        ("from socket import socket", "(socket)"),
        ("import shutil\nshutil.rmtree('/')", "(rmtree)"),
        ("import ctypes.util", "(ctypes)"),
        ("def f():\n    import pickle", "(pickle)"),
    ],
)
def test_a_risky_call_or_module_is_named(content: str, named: str) -> None:
    (warning,) = warnings_of(content)

    assert warning.startswith("a.py ")
    assert named in warning


def test_the_same_call_twice_is_one_warning() -> None:
    assert len(warnings_of("eval('1')\neval('2')\n")) == 1


@pytest.mark.parametrize("hidden", ["\u202e", "\u200b", "\x00", "\ufeff", "\x1b"])
def test_characters_that_a_screen_hides_are_counted(hidden: str) -> None:
    found = warnings_of(f"text {hidden}{hidden}", "notes.txt")

    assert found == (f"notes.txt has characters that a screen hides: 2 x U+{ord(hidden):04X}",)


def test_a_file_that_is_no_python_is_told() -> None:
    assert warnings_of("def f(:\n") == ("a.py is not valid Python",)


def test_other_files_are_not_read_as_python() -> None:
    assert warnings_of("def f(: eval(", "notes.txt") == ()


def test_imports_that_are_not_there_are_warnings_too() -> None:
    (warning,) = warnings_of("import numpy")

    assert "numpy" in warning


def test_operations_on_the_host_are_warnings() -> None:
    found = warnings_of("", routes={"fs.read_text": "HOST", "fs.list": "EMULATE"})

    assert found == ("fs.read_text is asked for from the host",)


def test_a_hostile_file_costs_neither_the_review_nor_its_time() -> None:
    deep = "(" * 50_000

    assert warnings_of(deep) == ("a.py is not valid Python",)


def test_what_is_asked_for_and_will_not_be_had_is_told_with_the_reason() -> None:
    asked: dict[str, Route] = {"fetch": "HOST", "time": "HOST", "env": "EMULATE"}
    reply = {**GOOD, "manifest": {"name": "x", "routes": asked}}
    verdict = judge(json.dumps(reply))
    assert verdict.payload is not None
    ceiling = ceiling_of({"fetch": "EMULATE", "env": "DENY"})
    routes = Routes.agreed(ceiling, verdict.payload.routes)

    found = warnings_about(verdict.payload, verdict, routes)

    assert [each for each in found if "asked for" in each] == [
        "fetch is asked for from the host, but the policy allows no more than EMULATE",
        "env is asked for, but the policy allows no more than DENY",
        "time is asked for from the host",
    ]


def test_what_was_not_asked_for_by_name_is_not_missed() -> None:
    verdict = judge(json.dumps({**GOOD, "manifest": {"name": "x"}}))
    assert verdict.payload is not None
    routes = Routes.agreed(ceiling_of({"fetch": "DENY"}), verdict.payload.routes)

    assert warnings_about(verdict.payload, verdict, routes) == warnings_about(
        verdict.payload, verdict
    )


@pytest.mark.parametrize("manifest", [{}, {"requires_broker": False}, {"requires_broker": True}])
def test_that_a_broker_is_required_is_said(manifest: dict[str, bool]) -> None:
    payload = judge(json.dumps({**GOOD, "manifest": {"name": "x", **manifest}})).payload
    assert payload is not None

    required = manifest.get("requires_broker", False)
    assert broker_in_words(payload).startswith("required") == required
