from __future__ import annotations

import importlib.util
import json
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from lmboot import runtime
from lmboot.bootstrap import prompts
from lmboot.bootstrap.judge import judge
from lmboot.runtime.policy import ALIASES, OPERATIONS, ROUTES

GUEST_SYS = Path(runtime.__file__).parent / "guest" / "guest_sys.py"


def obeys(value: Any, schema: dict[str, Any]) -> bool:
    """Say whether a value obeys the few keywords that the schema uses."""
    kinds: dict[str, Any] = {"object": dict, "array": list, "string": str}
    if not isinstance(value, kinds[schema["type"]]) or value not in schema.get("enum", [value]):
        return False
    if schema["type"] == "array":
        return len(value) >= schema.get("minItems", 0) and all(
            obeys(item, schema["items"]) for item in value
        )
    if schema["type"] == "string":
        return True
    others = schema.get("additionalProperties", False)
    known = schema.get("properties", {})
    return set(schema.get("required", [])) <= value.keys() and all(
        obeys(member, known[key]) if key in known else bool(others) and obeys(member, others)
        for key, member in value.items()
    )


def example() -> dict[str, Any]:
    """Return the example that the primer shows."""
    start = prompts.PRIMER.index('{"manifest"')
    value, _ = json.JSONDecoder().raw_decode(prompts.PRIMER, start)
    return dict(value)


def test_the_example_of_the_primer_obeys_the_schema_and_is_accepted() -> None:
    assert obeys(example(), prompts.SCHEMA)
    assert judge(json.dumps(example())).ok


@pytest.mark.parametrize("key", ["manifest", "files", "entrypoint"])
def test_the_schema_wants_every_required_key(key: str) -> None:
    value = example()
    del value[key]

    assert not obeys(value, prompts.SCHEMA)


@pytest.mark.parametrize(
    "change",
    [
        {"files": []},
        {"files": [{"path": "a.py"}]},
        {"files": [{"path": "a.py", "content": "", "mode": "x"}]},
        {"entrypoint": ["python", "a.py"]},
        {"more": ""},
        {"manifest": {"name": "x", "version": "1", "routes": {"fs.list": "ALLOW"}}},
    ],
)
def test_what_the_rules_refuse_the_schema_refuses_too(change: dict[str, Any]) -> None:
    assert not obeys({**example(), **change}, prompts.SCHEMA)


def test_the_schema_has_only_keywords_that_every_server_takes() -> None:
    used = set(re.findall(r'"([A-Za-z$]+)":', json.dumps(prompts.SCHEMA)))

    names = {"manifest", "name", "version", "routes", "files", "path", "content", "entrypoint"}
    keywords = {"type", "properties", "additionalProperties", "required", "enum", "items"}
    assert used - names - keywords == {"minItems"}


def test_every_trigger_is_exact_and_the_default_is_the_first() -> None:
    assert prompts.TRIGGER == prompts.TRIGGERS[0] == "### RUNTIME_BOOTSTRAP ###"
    assert prompts.TRIGGERS[1:] == ("### BOOTSTRAP_RUNTIME ###", "BOOTSTRAP_AI_RUNTIME_NOW")
    assert prompts.TRIGGER in prompts.PRIMER


def guest_sys(monkeypatch: pytest.MonkeyPatch, routes: str) -> ModuleType:
    """Load the guest's library as a runtime with these routes would."""
    monkeypatch.setenv("LMBOOT_ROUTES", routes)
    spec = importlib.util.spec_from_file_location("guest_sys", GUEST_SYS)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def promised() -> list[tuple[str, list[str]]]:
    """Return (operation, names of its arguments) as the primer has them."""
    calls = re.findall(r'call\("([a-z._]+)"((?:, \w+=[^,)]+)*)\)', prompts.GUEST_API)
    return [(name, re.findall(r"(\w+)=", arguments)) for name, arguments in calls]


def test_the_promises_are_found() -> None:
    assert [name for name, _ in promised()] == [
        "fs.open",
        "fs.read_text",
        "fs.write_text",
        "fs.list",
        "fs.remove",
        "fetch",
    ]


@pytest.mark.parametrize(("name", "arguments"), promised())
def test_the_guest_library_does_what_the_primer_promises(
    monkeypatch: pytest.MonkeyPatch, name: str, arguments: list[str]
) -> None:
    library = guest_sys(monkeypatch, " ".join(f"{each}=EMULATE" for each in OPERATIONS))
    library.call("fs.write_text", path="p", text="t")
    path = "" if name == "fs.list" else "p"
    values = {"path": path, "text": "t", "url": "http://u"}

    library.call(name, **{key: values[key] for key in arguments})


def test_routes_tells_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    library = guest_sys(monkeypatch, "fs.list=EMULATE fetch=DENY")

    assert library.routes() == {"fs.list": "EMULATE", "fetch": "DENY"}


def test_the_library_and_the_policy_know_the_same_operations(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    library = guest_sys(monkeypatch, "")

    by_broker = {"env", "time", "notify"}
    assert set(library._EMULATORS) == set(OPERATIONS) - by_broker
    assert library.ALIASES == ALIASES
    assert set(ROUTES) == {"EMULATE", "HOST", "DENY"}


@pytest.mark.parametrize("wrong", ["", "..", "/", "a/../b", "./"])
def test_a_name_that_leads_elsewhere_is_refused(
    monkeypatch: pytest.MonkeyPatch, wrong: str
) -> None:
    library = guest_sys(monkeypatch, "fs.open=EMULATE")

    with pytest.raises(OSError, match="not a file name"):
        library.open(wrong)


def test_the_repair_question_lists_every_problem_on_its_line() -> None:
    text = prompts.repair(["a: b", "c: d"])

    assert text.splitlines()[1:3] == ["- a: b", "- c: d"]


def test_the_interactive_text_holds_name_and_routes_and_no_primer() -> None:
    text = prompts.interactive("my shell", {"fs.list": "EMULATE"})

    assert "my shell" in text
    assert "fs.list EMULATE" in text
    assert "RUNTIME_BOOTSTRAP" not in text


def test_the_modelfile_carries_the_primer_as_it_is() -> None:
    text = prompts.modelfile()

    assert prompts.PRIMER in text
    assert text.count('"""') == 2
    assert '"""' not in prompts.PRIMER
