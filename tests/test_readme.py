"""What README says to people who write programs by hand is what lmboot's own code says."""

from __future__ import annotations

import importlib.util
import inspect
import json
import re
from collections.abc import Mapping
from dataclasses import fields
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any, get_args

import pytest

from lmboot import runtime
from lmboot.app.model_operations import of_the_model
from lmboot.bootstrap.judge import judge
from lmboot.bootstrap.payload import _Manifest, _Payload
from lmboot.runtime.granted import operations
from lmboot.runtime.grants import Grants
from lmboot.runtime.operations import (
    Argument,
    Env,
    Files,
    Flag,
    Notify,
    Operation,
    Text,
    Texts,
    Time,
    Values,
    Whole,
)
from lmboot.runtime.policy import OPERATIONS, ROUTES, Limits, Route
from lmboot.runtime.properties import SandboxLevel
from lmboot.runtime.spawning import Spawn
from tests.runtime.guests import started

README = (Path(__file__).parents[1] / "README.md").read_text("utf-8")
GUEST = Path(runtime.__file__).parent / "guest" / "guest_sys.py"
BY_THE_GUEST_ALONE = {"code.exec_python": "code.exec_python(code: str)"}
TYPES: Mapping[type[Argument], str] = {
    Text: "str",
    Whole: "int",
    Flag: "bool",
    Texts: "list[str]",
    Values: "list",
    Files: "dict[str, str]",
}
TRIED: Mapping[str, Mapping[str, Any]] = {  # arguments by which each can be emulated
    "fs.open": {"path": "a.txt"},
    "fs.write_text": {"path": "a.txt", "text": "hello"},
    "fs.read_text": {"path": "a.txt"},
    "fs.list": {},
    "fs.stat": {"path": "a.txt"},
    "fs.remove": {"path": "a.txt"},
    "database_query": {"path": "b.db", "sql": "select 1 as a"},
    "fetch": {"url": "https://example.org"},
    "spawn": {"argv": ["true"]},
    "code.exec_python": {"code": "print(1)"},
    "query_model": {"prompt": "a"},
    "inject_prompt": {"text": "a"},
    "tokenize": {"text": "a"},
    "logits": {"text": "a"},
    "reload_model": {},
    "env": {"name": "HOME"},
    "time": {},
    "notify": {"text": "a"},
}


def between(name: str) -> str:
    """Return what stands in README between the two marks of a name."""
    found = re.findall(rf"<!-- {name}:begin -->\n(.*?)<!-- {name}:end -->", README, re.DOTALL)
    assert len(found) == 1
    return str(found[0])


def manifest() -> str:
    """Return README's payload, as it would stand in a file."""
    return between("manifest").removeprefix("```json\n").removesuffix("```\n")


@cache
def rows() -> dict[str, tuple[str, str]]:
    """Return how each operation of README's table is called, and its result."""
    cells = [line.strip("| ").split(" | ") for line in between("operations").splitlines()[2:]]
    table = {call.strip("`").partition("(")[0]: (call, result) for call, result, *_ in cells}
    assert len(table) == len(cells)
    return table


@cache
def of_the_host() -> dict[str, Operation]:
    """Return everything that lmboot can be asked for, on nothing."""
    grants = Grants()
    spawn = Spawn(grants, "there is no sandbox", Limits(), lambda _: None)
    own: list[Operation] = [Time(), Env(), Notify(lambda _: None), spawn, *operations(grants)]
    return {each.name: each for each in [*own, *of_the_model(lambda: None, lambda _: None)]}


@cache
def library() -> ModuleType:
    """Return the guest's library without a broker."""
    spec = importlib.util.spec_from_file_location("guest_sys_of_readme", GUEST)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def signature(operation: Operation) -> str:
    """Return how an operation is called, as README writes it."""
    arguments = ", ".join(_argument(*each) for each in operation.arguments.items())
    return f"{operation.name}({arguments})"


def _argument(name: str, argument: Argument) -> str:
    default: object = [] if argument.default == () else argument.default
    return f"{name}: {TYPES[type(argument)]}" + (f" = {default!r}" if default is not None else "")


async def emulated(op: str) -> Any:
    """Return what a program gets for an operation that is emulated."""
    if op in library()._EMULATORS:
        return library()._EMULATORS[op](**TRIED[op])
    return await of_the_host()[op].emulate(dict(TRIED[op]))


def shape(value: Any) -> Any:
    """Return the kind of a result: what its members are called, and of which kind each is."""
    if isinstance(value, dict):
        return {name: shape(member) for name, member in value.items()}
    if isinstance(value, list):
        return [shape(member) for member in value[:1]]
    return "number" if type(value) in (int, float) else type(value).__name__


def test_the_manifest_in_readme_is_accepted_without_a_word() -> None:
    verdict = judge(manifest())

    assert (verdict.problems, verdict.repairs, verdict.notes) == ((), (), ())


def test_the_manifest_in_readme_has_every_key() -> None:
    """And the table below it; `runtime_name` is but another name of one."""
    written = json.loads(manifest())
    known = set(_Manifest.model_fields)

    assert set(re.findall(r"`([a-z_]+)`", "".join(_key_cells()))) == known
    assert set(written["manifest"]) == known - {"runtime_name"}
    assert set(written) == set(_Payload.model_fields)
    assert set(written["manifest"]["limits"]) == {field.name for field in fields(Limits)}
    verdict = judge(manifest())
    assert verdict.payload is not None
    assert verdict.payload.limits_within(Limits()) == Limits(**written["manifest"]["limits"])
    assert set(written["manifest"]["routes"].values()) == set(ROUTES)
    for level in get_args(SandboxLevel):
        assert judge(manifest().replace('"medium"', f'"{level}"')).ok


def _key_cells() -> list[str]:
    table = README.partition("| key | says |")[2].partition("\n\n")[0]
    return [line.split("|")[1] for line in table.splitlines()[2:]]


@pytest.mark.sandbox
async def test_the_program_of_the_manifest_runs() -> None:
    payload = judge(manifest()).payload
    assert payload is not None
    emulating: dict[str, Route] = dict.fromkeys(payload.routes, "EMULATE")
    async with started(
        dict(payload.files),
        *payload.argv[1:],
        limits=payload.limits_within(Limits()),
        routes=emulating,
    ) as guest:
        await guest.until(b"which note?\n")
        await guest.runtime.send(b"a.txt\n")
        await guest.until(b"no file a.txt\n")
        await guest.stop()

    assert guest.errors == ""
    assert guest.ended is not None
    assert (guest.ended.limit, guest.ended.clean) == (None, True)


def test_the_table_of_operations_has_all_of_them_once() -> None:
    assert set(rows()) == set(OPERATIONS)
    assert set(of_the_host()) | set(BY_THE_GUEST_ALONE) == set(OPERATIONS)


@pytest.mark.parametrize("op", sorted(OPERATIONS))
def test_an_operation_is_called_as_the_table_says(op: str) -> None:
    call = BY_THE_GUEST_ALONE.get(op) or signature(of_the_host()[op])

    assert rows()[op][0] == f"`{call}`"


@pytest.mark.parametrize("op", sorted(OPERATIONS))
def test_what_emulates_an_operation_takes_the_same_arguments(op: str) -> None:
    emulator = library()._EMULATORS.get(op)
    if emulator is None:
        assert of_the_host()[op].emulates
        return
    names = re.findall(r"(\w+): ", rows()[op][0])
    assert list(inspect.signature(emulator).parameters) == names


@pytest.mark.parametrize("op", sorted(OPERATIONS))
async def test_a_result_has_the_shape_that_the_table_says(op: str) -> None:
    written = json.loads(rows()[op][1].strip("`").replace("{...}", '{"content-type": ""}'))
    library()._EMULATORS["fs.write_text"]("a.txt", "hello")

    assert shape(await emulated(op)) == shape(written)
