from __future__ import annotations

import json
from pathlib import Path

import pytest

from lmboot.runtime.properties import PROPERTIES
from tests import portable
from tests.cli.program import Bench
from tests.connections.lookalike import Lookalike

pytestmark = pytest.mark.timeout(portable.SECONDS)


@pytest.fixture(autouse=True)
def _portable(cache: Path) -> None:
    portable.lend(cache)


async def test_the_report_has_everything_and_no_path_of_the_users(bench: Bench) -> None:
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
    bubblewrap, landlock, wasm, none = report["sandboxes"]
    assert (wasm["name"], wasm["usable"], wasm["reason"]) == ("wasm", True, "")
    assert landlock["name"] == "landlock"
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
