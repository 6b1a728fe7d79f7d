from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmboot.bootstrap.judge import Verdict, judge, judge_bytes
from lmboot.runtime.policy import OPERATIONS, Limits

GOOD: dict[str, Any] = {
    "manifest": {"name": "shell"},
    "files": [{"path": "a.py", "content": "print(1)\n"}],
    "entrypoint": "python a.py",
}
TEXT = json.dumps(GOOD)


def with_manifest(**members: Any) -> str:
    return json.dumps({**GOOD, "manifest": {"name": "shell", **members}})


def with_files(*files: Any) -> str:
    return json.dumps({**GOOD, "files": list(files)})


def with_entrypoint(entrypoint: Any) -> str:
    return json.dumps({**GOOD, "entrypoint": entrypoint})


def found(verdict: Verdict) -> set[tuple[str, str]]:
    return {(problem.code, problem.where) for problem in verdict.problems}


# ---------------------------------------------------------------- around the object


@pytest.mark.parametrize(
    "reply",
    [
        TEXT,
        "\ufeff" + TEXT,
        json.dumps(GOOD, indent=2).replace("\n", "\r\n"),
        f"Sure, here it is:\n\n```json\n{TEXT}\n```\nHave fun!",
        f"<think>Do I need {{braces}}?</think>{TEXT}",
        f"<think>Perhaps {TEXT.replace('print(1)', 'print(2)')}?</think>\n{TEXT}",
        f'I need a manifest {{"manifest": oops\n</think>\n{TEXT}',
        f"{TEXT.replace('print(1)', 'print(2)')}\n</think>\n{TEXT}",
        f"As in f(x) {{ return x }} we write {TEXT}",
        f'First {{"a": 1}}, then {TEXT}',
        f"{TEXT}\n{TEXT}",
    ],
)
@pytest.mark.case(27)
def test_what_stands_around_the_object_does_not_matter(reply: str) -> None:
    verdict = judge(reply)

    assert (found(verdict), verdict.ok) == (set(), True)
    assert verdict.payload is not None
    assert verdict.payload.normalised() == GOOD


def test_a_tag_inside_a_file_is_content() -> None:
    reply = with_files({"path": "a.py", "content": "print('</think>', '<think>', '```')"})

    assert judge(reply).ok


@pytest.mark.parametrize(
    ("reply", "code"),
    [
        ("", "empty"),
        (" \n\t", "empty"),
        ("<think>hm</think>\n", "empty"),
        ("I am sorry, but I can't do that.", "no_object"),
        ("Use {x} here", "no_object"),
        ('{"a": 1}', "no_object"),
        ("[]", "no_object"),
        ("<think>on and on", "truncated"),
        (TEXT[:-1], "truncated"),
        (TEXT[: len(TEXT) // 2], "truncated"),
        ("{", "no_object"),
        ('{"manifest"', "truncated"),
        ("{'manifest': {'name': 'x'}}", "syntax"),
        ('{"manifest": {"name": None}}', "syntax"),
        ('{"manifest": {"name": "x"} "files": []}', "syntax"),
        ("{manifest: {}}", "syntax"),
        ('{"a":' * 40, "too_deep"),
        (TEXT + TEXT.replace("print(1)", "print(2)"), "ambiguous"),
    ],
)
@pytest.mark.case(16, 27)
def test_a_reply_without_one_valid_payload_is_refused_with_its_reason(
    reply: str, code: str
) -> None:
    verdict = judge(reply)

    assert verdict.codes == {code}
    assert verdict.payload is None


def test_a_syntax_error_tells_its_line_and_column() -> None:
    verdict = judge('{"manifest": {"name": "x"},\n "files": nope}')

    assert found(verdict) == {("syntax", "line 2, column 11")}


def test_a_broken_candidate_beside_a_valid_one_is_noted() -> None:
    verdict = judge('{"manifest": {"name": "x"} "files": []}\n\nOnce more:\n' + TEXT)

    assert verdict.ok
    assert [note.code for note in verdict.notes] == ["other_object"]


def test_an_invalid_candidate_beside_a_valid_one_is_noted() -> None:
    verdict = judge(with_manifest(routes={"fetch": "host"}) + "\n" + TEXT)

    assert verdict.ok
    assert [note.code for note in verdict.notes] == ["other_object"]


@pytest.mark.case(26)
def test_nothing_is_searched_inside_an_object_that_is_broken() -> None:
    inner = TEXT
    verdict = judge('{"manifest": {"name": "x"} "inner": ' + inner + "}")

    assert verdict.codes == {"syntax"}


@given(st.integers(0, len(TEXT) - 1))
def test_a_cut_off_answer_is_never_accepted(cut: int) -> None:
    assert not judge(TEXT[:cut]).ok


@given(st.text())
def test_any_text_gets_a_verdict(reply: str) -> None:
    verdict = judge(reply)

    assert verdict.ok == (verdict.payload is not None)
    json.dumps(verdict.as_json())


@given(st.binary(max_size=200))
def test_any_bytes_get_a_verdict(reply: bytes) -> None:
    assert not judge_bytes(reply).ok


@pytest.mark.case(27)
def test_bytes_that_are_no_utf_8_are_refused_as_text() -> None:
    assert judge_bytes(TEXT.encode("utf-16")).codes == {"text"}
    assert judge_bytes(b"\xef\xbb\xbf" + TEXT.encode()).ok


@pytest.mark.case(15)
def test_a_reply_beyond_16_mib_is_refused() -> None:
    assert judge("x" * ((16 << 20) + 1)).codes == {"too_big"}


# ---------------------------------------------------------------- repairs and notes


def test_every_repair_is_listed() -> None:
    reply = (
        '{"manifest": {"name": "x", "version": 1.50,},\n'
        ' "files": [{"path": "a.py", "content": "if 1:\r\n\tprint(1)\n"}],\n'
        ' "entrypoint": "python a.py"}'
    )

    verdict = judge(reply)

    assert verdict.payload is not None
    assert verdict.payload.manifest["version"] == "1.50"
    assert verdict.payload.files == (("a.py", "if 1:\n\tprint(1)\n"),)
    assert [repair.code for repair in verdict.repairs] == [
        "trailing_comma",
        "literal_newline",
        "literal_tab",
        "number_as_text",
    ]


def test_unknown_keys_are_noted_and_dropped() -> None:
    members = {**GOOD, "extra": 1, "manifest": {"name": "x", "author": "me"}}
    verdict = judge(json.dumps(members))

    assert verdict.payload is not None
    assert verdict.payload.manifest == {"name": "x"}
    assert {(n.code, n.where) for n in verdict.notes} == {
        ("unknown_key", "extra"),
        ("unknown_key", "manifest.author"),
    }


def test_a_limit_above_the_policy_is_lowered_and_noted() -> None:
    verdict = judge(with_manifest(limits={"memory_mb": 4096, "processes": 8}), Limits())

    assert verdict.payload is not None
    assert verdict.payload.manifest["limits"] == {"memory_mb": 512, "processes": 8}
    assert [(n.code, n.where) for n in verdict.notes] == [("limit", "manifest.limits.memory_mb")]


@pytest.mark.parametrize(
    ("content", "noted"),
    [
        ("import numpy", ["numpy"]),
        ("import os, json\nfrom guest_sys import call", []),
        ("from requests.auth import x", ["requests"]),
        ("try:\n    import readline_x\nexcept ImportError:\n    pass", []),
        ("def f():\n    import torch", ["torch"]),
        ("import tkinter", ["tkinter"]),
        ("import helper\nfrom pkg.b import c\nfrom . import d", []),
        ("not python at all", []),
        ("(" * 5000, []),
        ("-" * 100_000 + "1", []),
    ],
)
def test_imports_that_the_sandbox_lacks_are_noted(content: str, noted: list[str]) -> None:
    others = [{"path": "helper.py", "content": ""}, {"path": "pkg/b.py", "content": ""}]

    notes = judge(with_files({"path": "a.py", "content": content}, *others)).notes

    assert all(note.code == "import" for note in notes)
    assert [name for note in notes for name in noted if name in note.message] == noted
    assert len(notes) == len(noted)


# ---------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("reply", "problems"),
    [
        ('{"manifest": {}}', {("missing", "manifest.name"), ("missing", "files"),
                              ("missing", "entrypoint")}),
        (json.dumps({**GOOD, "manifest": []}), {("type", "manifest")}),
        (with_manifest(name=""), {("text", "manifest.name")}),
        (with_manifest(name="x" * 101), {("text", "manifest.name")}),
        (with_manifest(name="a\u202eb"), {("text", "manifest.name")}),
        (with_manifest(name=7), {("type", "manifest.name")}),
        (with_manifest(version=None), {("type", "manifest.version")}),
        (with_manifest(version=True), {("type", "manifest.version")}),
        (with_manifest(routes=None), {("type", "manifest.routes")}),
        (with_manifest(routes=[]), {("type", "manifest.routes")}),
        (with_manifest(routes={"fetch": "host"}), {("route", "manifest.routes.fetch")}),
        (with_manifest(routes={"fetch": "HOST "}), {("route", "manifest.routes.fetch")}),
        (with_manifest(routes={"fetch": "\uff28ost"}), {("route", "manifest.routes.fetch")}),
        (with_manifest(routes={"fetch": None}), {("route", "manifest.routes.fetch")}),
        (with_manifest(routes={"fetch": ["HOST"]}), {("route", "manifest.routes.fetch")}),
        (with_manifest(routes={"Fetch": "HOST"}), {("route", "manifest.routes.Fetch")}),
        (with_manifest(allowed_ops=["ok", "not ok"]), {("route", "manifest.allowed_ops[1]")}),
        (with_manifest(allowed_ops="fetch"), {("type", "manifest.allowed_ops")}),
        (with_manifest(permissions=[1]), {("type", "manifest.permissions[0]")}),
        (with_manifest(requires_broker=1), {("type", "manifest.requires_broker")}),
        (with_manifest(sandbox_level="max"), {("type", "manifest.sandbox_level")}),
        (with_manifest(limits={"memory_mb": 0}), {("limit", "manifest.limits.memory_mb")}),
        (with_manifest(limits={"memory_mb": -1}), {("limit", "manifest.limits.memory_mb")}),
        (with_manifest(limits={"memory_mb": "9"}), {("limit", "manifest.limits.memory_mb")}),
        (with_manifest(limits={"memory_mb": None}), {("limit", "manifest.limits.memory_mb")}),
        (with_manifest(limits={"memory_mb": True}), {("limit", "manifest.limits.memory_mb")}),
        (with_manifest(limits={"threads": 1}), {("limit", "manifest.limits.threads")}),
        (with_manifest(max_depth=-1), {("limit", "manifest.max_depth")}),
        (with_manifest(max_depth=1.5), {("type", "manifest.max_depth")}),
        (with_manifest(limits={"cpu_seconds": float("nan")}),
         {("number", "manifest.limits.cpu_seconds")}),
        (with_manifest(max_depth=2**53 + 1), {("number", "manifest.max_depth")}),
        (with_files(), {("missing", "files"), ("entrypoint", "entrypoint")}),
        (json.dumps({**GOOD, "files": {}}), {("type", "files"), ("entrypoint", "entrypoint")}),
        (with_files({"path": "a.py", "content": "", "mode": 511}),
         {("unknown_key", "files[0].mode")}),
        (with_files({"path": "a.py"}), {("missing", "files[0].content")}),
        (with_files({"path": "a.py", "content": 1}), {("type", "files[0].content")}),
        (with_files({"path": "a.py", "content": ""}, "b.py"), {("type", "files[1]")}),
        (with_files({"path": "a.py", "content": ""}, {"path": "../x", "content": ""}),
         {("path", "files[1].path")}),
        (with_files({"path": "a.py", "content": ""}, {"path": "A.PY", "content": ""}),
         {("path_collision", "files[1].path")}),
        (with_files({"path": "a.py", "content": "x" * ((4 << 20) + 1)}),
         {("too_big", "files[0].content")}),
        (with_files(*[{"path": f"{n}.py", "content": ""} for n in range(257)]),
         {("too_big", "files"), ("entrypoint", "entrypoint")}),
        (TEXT.replace('"shell"', '"\\ud800"'), {("text", "manifest.name")}),
        (TEXT.replace('"name"', '"name": "y", "name"'), {("duplicate_key", "manifest.name")}),
        (with_entrypoint(["python", "a.py"]), {("type", "entrypoint")}),
    ],
)  # fmt: skip
@pytest.mark.case(13, 14, 15, 17, 18, 19)
def test_what_breaks_a_rule_is_refused_with_code_and_place(
    reply: str, problems: set[tuple[str, str]]
) -> None:
    assert found(judge(reply)) == problems


def test_every_problem_of_a_reply_is_in_one_list() -> None:
    reply = json.dumps({"manifest": {"routes": {"fetch": "host"}}, "files": [{"path": "/x"}]})

    assert found(judge(reply)) == {
        ("route", "manifest.routes.fetch"),
        ("missing", "files[0].content"),
        ("path", "files[0].path"),
        ("missing", "manifest.name"),
        ("missing", "entrypoint"),
    }


# ---------------------------------------------------------------- the entrypoint


@pytest.mark.parametrize(
    ("entrypoint", "argv"),
    [
        ("python a.py", ("a.py",)),
        ("python3 a.py", ("a.py",)),
        ("python a.py -c --help -m", ("a.py", "-c", "--help", "-m")),
        ("  python   a.py  ", ("a.py",)),
        ("python 'a.py' \"x; y\" ''", ("a.py", "x; y", "")),
        ('python a.py "it\'s"', ("a.py", "it's")),
    ],
)
def test_an_entrypoint_is_python_a_file_and_arguments(
    entrypoint: str, argv: tuple[str, ...]
) -> None:
    payload = judge(with_entrypoint(entrypoint)).payload

    assert payload is not None
    assert payload.argv == argv


@pytest.mark.parametrize(
    "entrypoint",
    [
        "", "python", "a.py", "sh a.py", "python -c a.py", "python -m http.server",
        "python -u a.py", "python b.py", "python ./a.py", "python /app/a.py", "python A.py",
        "python a.py; rm -rf ~", "python a.py && ls", "python a.py | cat", "python a.py > x",
        "python a.py $(id)", "python a.py `id`", "python a.py *.txt", "python a.py ~/x",
        "python a.py # x", "python a.py\nls", "python a.py {1,2}", "python a.py 'x",
        "python\ta.py",
        "python a.py \\x", "python3.11 a.py", "python a.txt", "env python a.py", "Python a.py",
    ],
)  # fmt: skip
@pytest.mark.case(21, 22, 23)
def test_anything_else_is_no_entrypoint(entrypoint: str) -> None:
    files = [{"path": "a.py", "content": ""}, {"path": "a.txt", "content": ""}]
    verdict = judge(json.dumps({**GOOD, "files": files, "entrypoint": entrypoint}))

    assert found(verdict) == {("entrypoint", "entrypoint")}


def test_a_shells_characters_are_answered_with_the_sentence_that_there_is_no_shell() -> None:
    problem = judge(with_entrypoint("python a.py; ls")).problems[0]

    assert "no shell" in problem.message


# ---------------------------------------------------------------- the payload itself


def test_the_hash_is_that_of_the_normalised_form_with_sorted_keys_and_no_spaces() -> None:
    payload = judge(json.dumps({**GOOD, "zzz": 1}, indent=3)).payload
    text = json.dumps(GOOD, sort_keys=True, separators=(",", ":"))

    assert payload is not None
    assert payload.sha256 == hashlib.sha256(text.encode()).hexdigest()


@pytest.mark.parametrize("manifest", [{"runtime_name": "r"}, {"name": "r", "runtime_name": "x"}])
def test_a_runtime_may_be_named_by_either_key_and_name_counts(manifest: dict[str, str]) -> None:
    payload = judge(json.dumps({**GOOD, "manifest": manifest})).payload

    assert payload is not None
    assert payload.manifest == {"name": "r"}


@pytest.mark.parametrize("name", ["日本語", "x" * 100, "می\u200cخواهم", "👩\u200d💻", "a b"])
def test_a_name_may_be_of_any_script(name: str) -> None:
    assert judge(with_manifest(name=name)).ok


def test_nul_bidi_and_zero_width_characters_are_allowed_in_content() -> None:
    assert judge(with_files({"path": "a.py", "content": "#\0\u202e\u200b"})).ok


def test_without_routes_what_has_an_emulator_is_emulated_and_all_else_denied() -> None:
    payload = judge(TEXT).payload

    assert payload is not None
    assert payload.routes == dict.fromkeys(OPERATIONS, "EMULATE")
    assert "made.up" not in payload.routes


@pytest.mark.parametrize(
    ("depth", "route"), [({}, "HOST"), ({"max_depth": 1}, "HOST"), ({"max_depth": 0}, "DENY")]
)
@pytest.mark.parametrize("op", ["query_model", "inject_prompt", "logits"])
def test_to_ask_the_model_counts_one_of_the_depth(
    op: str, depth: dict[str, int], route: str
) -> None:
    routes = {op: "HOST", "time": "HOST", "fetch": "EMULATE"}
    payload = judge(with_manifest(routes=routes, **depth)).payload

    assert payload is not None
    assert payload.routes[op] == route
    assert (payload.routes["time"], payload.routes["fetch"]) == ("HOST", "EMULATE")


def test_with_no_depth_the_model_can_still_be_emulated() -> None:
    payload = judge(with_manifest(routes={"query_model": "EMULATE"}, max_depth=0)).payload

    assert payload is not None
    assert payload.routes["query_model"] == "EMULATE"


def test_routes_are_cut_down_to_what_is_allowed() -> None:
    routes = {"fs.read_text": "EMULATE", "fetch": "HOST", "spawn": "HOST"}
    payload = judge(
        with_manifest(routes=routes, allowed_ops=["fetch", "spawn"], permissions=["fetch"])
    ).payload

    assert payload is not None
    assert {name for name, route in payload.routes.items() if route != "DENY"} == {"fetch"}


def test_an_entrypoint_without_end_is_refused_before_it_is_split() -> None:
    """Split as a shell would, it took many minutes."""
    verdict = judge(with_entrypoint("python a.py " + "x" * (8 << 20)))

    assert [problem.code for problem in verdict.problems] == ["entrypoint"]
