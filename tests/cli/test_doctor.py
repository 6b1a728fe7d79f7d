from __future__ import annotations

import json
import os
import platform
import sys
from dataclasses import asdict
from pathlib import Path

import pytest

from lmboot import __version__
from lmboot.app.posture_report import described, without
from lmboot.cli.doctor import _probe_lines, _proof_lines, _sandbox_lines
from lmboot.runtime.posture import Posture
from lmboot.runtime.properties import PROPERTIES
from lmboot.runtime.registry import BACKENDS, built_for
from tests import portable
from tests.cli.program import Bench
from tests.connections.lookalike import Lookalike

pytestmark = pytest.mark.timeout(portable.SECONDS)


@pytest.fixture(autouse=True)
def _portable(cache: Path) -> None:
    portable.lend(cache)


async def test_the_report_has_everything_and_no_path_of_the_users(bench: Bench) -> None:
    bench.env["DOCKER_HOST"] = "unix:///nowhere/docker.sock"
    async with Lookalike() as server:
        bench.env["LLM_BASE_URL"] = server.base
        done = await bench.run("doctor", "--json")

    report = json.loads(done.out)
    assert done.code == 0
    assert set(report) >= {
        "lmboot", "python", "system", "servers", "engine", "seed",
        "sandboxes", "display", "drag_and_drop", "keyring",
    }  # fmt: skip
    assert {"server": server.base, "kind": "lmstudio"} in report["servers"]
    bubblewrap, *others, none = report["sandboxes"]
    by_name = {each["name"]: each for each in others}
    assert list(by_name) == [
        name for name in built_for(sys.platform, BACKENDS) if name != "bubblewrap"
    ]
    assert (by_name["wasm"]["usable"], by_name["wasm"]["reason"]) == (True, "")
    assert (bubblewrap["name"], bubblewrap["usable"]) == ("bubblewrap", True)
    assert set(bubblewrap["properties"]) == set(PROPERTIES)
    assert set(none["properties"].values()) == {"absent"}
    assert (report["seed"], report["keyring"]) == (None, None)
    assert bench.env["HOME"] not in done.out


async def test_a_named_server_that_does_not_answer_is_a_line_and_no_failure(bench: Bench) -> None:
    bench.env["LMSTUDIO_BASE_URL"] = "http://127.0.0.1:9"

    done = await bench.run("doctor")

    assert done.code == 0
    assert "http://127.0.0.1:9" in done.out
    assert "bubblewrap: usable" in done.out


async def test_the_posture_report_can_be_pasted_and_holds_each_attempt_and_nothing_of_the_user(
    bench: Bench,
) -> None:
    bench.env["DOCKER_HOST"] = "unix:///nowhere/docker.sock"

    done = await bench.run("doctor", "--probe", "--json")

    report = json.loads(done.out)
    found = {each["name"]: each for each in report["sandboxes"]}
    assert set(found) == {"none", *built_for(sys.platform, BACKENDS)}
    levels = found["bubblewrap"]["properties"]
    assert set(levels) == set(PROPERTIES)
    assert all(each["proof"] for each in levels.values())
    assert levels["fs_read"]["proof"]["read_canary"] == "ENOENT"
    assert "docker is not installed" in found["docker"]["reason"]
    assert report["root"] is (os.geteuid() == 0)
    for secret in (bench.env["HOME"], bench.env["XDG_CACHE_HOME"], platform.node()):
        assert secret not in done.out
    assert done.code == 0

    lines = list(_probe_lines(report))  # what is printed without --json
    assert lines[0] == f"lmboot {__version__}, CPython {platform.python_version()}"
    assert "sandbox   bubblewrap: usable" in lines
    assert any(line.split()[:2] == ["enforced", "net_ip"] for line in lines)


def test_what_names_the_user_is_replaced_wherever_it_stands() -> None:
    names = {"/home/ada": "~", "ada": "USER", "host.example": "HOST", "host": "HOST"}
    value = {"a": ["/home/ada/x of ada on host.example"], "root": True, "n": 3, "k": None}

    assert without(value, names) == {
        "a": ["~/x of USER on HOST"], "root": True, "n": 3, "k": None
    }  # fmt: skip


def test_what_an_attempt_could_read_is_not_told() -> None:
    tried = {"read_home": "ok ['.ssh', 'diary.txt']", "read_canary": "EACCES", "forks": "ok 10"}
    properties = dict.fromkeys(PROPERTIES, "absent")

    told = described(Posture("x", usable=False, properties=properties, tried=tried))  # type: ignore[arg-type]

    assert told["properties"]["fs_read"]["proof"] == {"read_home": "ok", "read_canary": "EACCES"}
    assert told["properties"]["pids"]["proof"] == {"forks": "ok 10"}


def test_what_no_property_tells_of_a_sandbox_is_told_beside_its_name() -> None:
    usable = Posture("wasm", usable=True, reason="the engine is its one wall")

    for lines in (_sandbox_lines(asdict(usable)), _proof_lines(described(usable))):
        assert next(lines) == "sandbox   wasm: usable: the engine is its one wall"
