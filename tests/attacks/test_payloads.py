"""What a payload can hold: cases 1 to 27. Whole replies, judged as the program judges them."""

from __future__ import annotations

import json
import os
import resource
from pathlib import Path
from typing import Any

import pytest

from lmboot.bootstrap.judge import Verdict, judge, judge_bytes
from lmboot.runtime.policy import effective_routes
from tests import portable
from tests.attacks.probes import EVERYWHERE
from tests.cli.conftest import bench, cache
from tests.cli.program import Bench
from tests.runtime.guests import run

pytestmark = pytest.mark.attack
__all__ = ["bench", "cache"]  # fixtures

MAIN = {"path": "main.py", "content": "print(1)\n"}
GOOD: dict[str, Any] = {"manifest": {"name": "x"}, "files": [MAIN], "entrypoint": "python main.py"}
TEXT = json.dumps(GOOD)


def with_files(*paths: str) -> str:
    files = [MAIN, *({"path": path, "content": ""} for path in paths)]
    return json.dumps({**GOOD, "files": files})


def with_routes(routes: Any) -> str:
    return json.dumps({**GOOD, "manifest": {"name": "x", "routes": routes}})


def with_entrypoint(entrypoint: Any) -> str:
    return json.dumps({**GOOD, "entrypoint": entrypoint})


def codes(verdict: Verdict) -> set[str]:
    assert verdict.ok == (not verdict.problems) == (verdict.payload is not None)
    return {problem.code for problem in verdict.problems}


def numbered(table: dict[int, list[Any]]) -> list[Any]:
    """Return a parameter for each attempt, by its case's number."""
    return [
        pytest.param(attempt, id=f"{number}-{position}")
        for number, attempts in table.items()
        for position, attempt in enumerate(attempts)
    ]


PATHS = {
    1: ["../x", "a/../../x", "a/..", "..", "./../x", "a/./b"],
    2: ["/etc/cron.d/x", "/x", "//x"],
    3: ["C:\\x", "C:x", "c:/x", "Z:"],
    4: ["\\\\host\\share\\x", "//host/x", "\\\\?\\C:\\x", "\\\\.\\pipe\\x", "a\\b"],
    5: ["CON", "nul.txt", "COM1.py", "LPT¹", "aux/", "aux/x", "a/prn", "CONOUT$"],
    6: ["main.py:stream", "x:y", "x::$DATA"],
    7: ["a.", "a ", "a./b", "a /b", "..."],
    8: ["a\0b", "\0", "main.py\0.txt"],
    9: ["e\u0301.txt", "\u1100\u1161.txt"],
    11: ["．．／etc", "．．/x", "a／b", "ａ／．．"],
}


@pytest.mark.case(1, 2, 3, 4, 5, 6, 7, 8, 9, 11)
@pytest.mark.parametrize("path", numbered(PATHS))
def test_a_path_that_leads_elsewhere_on_any_system_is_refused(path: str) -> None:
    assert codes(judge(with_files(path))) == {"path"}


COLLIDING = {
    9: [("\u00e9.txt", "e\u0301.txt")],
    10: [("Main.py", "MAIN.PY"), ("straße", "STRASSE"), ("\u212a.py", "k.py"), ("ﬁ", "FI")],
    12: [("a", "a/b"), ("a/b", "a"), ("A/b", "a"), ("main.py/x", "y")],
}


@pytest.mark.case(9, 10, 12)
@pytest.mark.parametrize("paths", numbered(COLLIDING))
def test_two_names_that_are_one_somewhere_are_refused(paths: tuple[str, str]) -> None:
    assert codes(judge(with_files(*paths))) & {"path", "path_collision"}


@pytest.mark.case(13)
@pytest.mark.parametrize(
    ("field", "value"),
    [("symlink", "/etc"), ("mode", 0o4755), ("link", "x"), ("device", [1, 3]), ("owner", 0)],
)
def test_case_13_a_file_has_a_path_and_a_content_and_nothing_else(field: str, value: Any) -> None:
    reply = json.dumps({**GOOD, "files": [MAIN, {"path": "x", "content": "", field: value}]})

    assert codes(judge(reply)) == {"unknown_key"}


@pytest.mark.case(14)
def test_case_14_four_hundred_thousand_files_are_refused_in_bounded_memory() -> None:
    """More of them can't come: a reply is cut at 16 MiB."""
    each = '{"path":"%d","content":""}'
    files = ",".join(each % number for number in range(400_000))
    reply = '{"manifest":{"name":"x"},"files":[' + files + '],"entrypoint":"python 1.py"}'
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    assert "too_big" in codes(judge(reply))
    assert len(reply) < 16 << 20
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < before + (512 << 10)  # KiB


@pytest.mark.case(15)
def test_case_15_one_string_without_end_is_refused_by_its_size() -> None:
    assert codes(judge(with_entrypoint("x" * (17 << 20)))) == {"too_big"}
    one = {"path": "x", "content": "x" * ((4 << 20) + 1)}
    assert codes(judge(json.dumps({**GOOD, "files": [MAIN, one]}))) == {"too_big"}


@pytest.mark.case(16)
@pytest.mark.parametrize("opening", ['{"manifest":', '{"manifest":[' + "[" * 100_000, "["])
def test_case_16_json_without_a_floor_is_an_answer_not_a_crash(opening: str) -> None:
    assert codes(judge(opening * 100_000 if len(opening) < 50 else opening)) <= {
        *("too_deep", "truncated", "no_object", "syntax")
    }


VALUES: dict[int, list[Any]] = {
    17: [
        TEXT.replace('"name": "x"', '"name": "x", "routes": {}, "routes": {"fetch": "HOST"}'),
        TEXT.replace('"path": "main.py"', '"path": "main.py", "path": "other.py"'),
        TEXT[:-1] + ', "files": []}',
    ],
    18: [
        TEXT.replace('"name": "x"', f'"name": "x", "max_depth": {number}')
        for number in ("NaN", "Infinity", "-Infinity", "1e999", "9" * 5000, "9007199254740993")
    ]
    + [TEXT.replace('"x"', '"\\ud800"'), TEXT.replace("print(1)", "\\udfff")],
    19: [
        with_routes({"fetch": value})
        for value in ("host", "HOST ", " HOST", "Ｈost", "HOST\n", ["HOST"], None, True, 1, "")
    ],
    20: [
        with_routes({name: "HOST"}) for name in ("fs.rеad_text", "ｆetch", "fetch\u200b", "Fetch")
    ],
    21: [
        with_entrypoint(f"python main.py{tail}")
        for tail in ("; rm -rf ~", " $(id)", " `id`", "\nid", " && id", " | id", " > /etc/x", " *")
    ],
    22: [
        with_entrypoint(f"python {words}")
        for words in ("-c 'print(1)'", "--help", "-m http.server", "-i main.py", "-", "-- main.py")
    ],
    23: [
        with_entrypoint(f"python {word}")
        for word in ("other.py", "/etc/passwd", "../main.py", ".", "main", "MAIN.PY", "./main.py")
    ],
}


@pytest.mark.case(17, 18, 19, 20, 21, 22, 23)
@pytest.mark.parametrize("reply", numbered(VALUES))
def test_what_has_two_readings_has_none(reply: str) -> None:
    assert codes(judge(reply)) <= {
        *("duplicate_key", "number", "limit", "type", "text", "route", "entrypoint")
    }
    assert not judge(reply).ok


@pytest.mark.case(19, 20)
def test_cases_19_20_what_no_table_knows_is_denied() -> None:
    routes = effective_routes({"fs.rеad_text": "HOST", "made.up": "HOST"})

    assert "HOST" not in routes.values()


@pytest.mark.sandbox
@pytest.mark.usefixtures("sandbox")
@pytest.mark.parametrize("sandbox", EVERYWHERE, indirect=True)
@pytest.mark.timeout(portable.SECONDS)
@pytest.mark.case(24, 25)
async def test_cases_24_25_files_that_an_interpreter_obeys_are_inert() -> None:
    shouting = "import os, sys\nos.write(1, b'TAKEN')\n"
    names = (
        "sitecustomize",
        "usercustomize",
        "json",
        "socket",
        "os",
        "site",
        "resource",
        "encodings",
    )
    guest = await run(
        {
            "main.py": "print('fine')",
            **{f"{name}.py": shouting for name in names},
            "x.pth": "import os; os.write(1, b'TAKEN')",
            "pyvenv.cfg": "home = /nowhere\n",
            "python311._pth": ".",
            ".python-version": "2.7",
            "__pycache__/main.cpython-311.pyc": b"\x00" * 32,
            "lmboot_shim.py": shouting,
            "start.py": shouting,
        }
    )

    assert (guest.text, guest.errors, guest.code) == ("fine\n", "", 0)


@pytest.mark.sandbox
@pytest.mark.case(26)
async def test_case_26_a_payload_that_a_runtime_prints_is_not_taken(bench: Bench) -> None:
    other = json.dumps({**GOOD, "files": [{"path": "main.py", "content": "print('second')"}]})
    trigger = "### RUNTIME_BOOTSTRAP ###"
    program = (
        f"print({other!r})\nprint({trigger!r})\nprint(':quit')\nprint('last', flush=True)\ninput()"
    )

    done = await bench.run(
        "boot", "--payload", bench.payload(program), "--yes", "--json", lines=[":rt x"]
    )

    assert done.events.count("payload") == done.events.count("started") == 1
    assert done.pane("rt")[-1] == "last"
    assert "second" not in done.pane("rt")


@pytest.mark.case(26)
def test_case_26_a_payload_within_a_payload_is_content() -> None:
    inner = {**MAIN, "content": TEXT.replace("print(1)", "print(2)")}
    verdict = judge(json.dumps({**GOOD, "files": [inner]}))

    assert verdict.payload is not None
    assert verdict.payload.files == (("main.py", inner["content"]),)


@pytest.mark.case(27)
@pytest.mark.parametrize(
    ("reply", "ok"),
    [
        ("\ufeff" + TEXT, True),
        (f"```json\n{TEXT}\n```", True),
        (f"````\n```\n{TEXT}\n```\n````", True),
        (TEXT + " trailing words", True),
        (TEXT + TEXT.replace("print(1)", "print(2)"), False),
        (TEXT + '{"manifest":', True),
        ("\ufeff\ufeff" + TEXT, True),
    ],
)
def test_case_27_what_stands_around_has_one_meaning(reply: str, ok: bool) -> None:
    verdict = judge(reply)

    assert verdict.ok == ok
    if verdict.payload is not None:
        assert verdict.payload.normalised() == GOOD


@pytest.mark.case(27)
@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-32", "utf-32-be"])
def test_case_27_another_encoding_is_refused(encoding: str) -> None:
    assert not judge_bytes(TEXT.encode(encoding)).ok


@pytest.mark.case(1, 8, 13, 23)
async def test_of_a_payload_that_is_refused_nothing_is_written_or_run(
    bench: Bench, tmp_path: Path
) -> None:
    replies = {
        "path": with_files("../../escaped"),
        "nul": with_files("a\0b"),
        "mode": json.dumps({**GOOD, "files": [{**MAIN, "mode": 0o4755}]}),
        "entrypoint": with_entrypoint("python main.py; touch escaped"),
    }
    for name, reply in replies.items():
        (bench.folder / name).write_text(reply)
        done = await bench.run("boot", "--payload", name, "--yes", "--json")
        assert (done.code, done.events) == (1, ["refused"])

    assert sorted(path.name for path in bench.folder.iterdir()) == sorted(replies)
    assert not any("escaped" in found for _, _, found in os.walk(tmp_path))
