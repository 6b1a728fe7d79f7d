"""Whole sessions in the portable sandbox, as a person has them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import portable
from tests.cli.program import Bench

pytestmark = [pytest.mark.sandbox, pytest.mark.timeout(portable.SECONDS)]


@pytest.fixture(autouse=True)
def _portable(cache: Path) -> None:
    portable.lend(cache)


@pytest.mark.engine
async def test_the_seed_model_s_runtime_works_in_it(bench: Bench) -> None:
    lines = [":rt help", ":rt write a.txt hello there", ":rt cat a.txt", ":rt py 6 * 7", ":quit"]

    done = await bench.run(
        *("boot", "--model", "seed", "--sandbox", "wasm", "--yes", "--json"), lines=lines
    )

    ready, listed, *answers = done.pane("rt")
    assert (done.code, done.event("ended")["code"]) == (0, 0)
    assert ready == "AI-RT> ready"
    assert "write PATH TEXT" in listed
    assert answers == ["wrote a.txt", "hello there", "42"]
    assert "runtime started in wasm" in done.pane("sys")


async def test_an_endless_loop_ends_with_the_session_and_its_files_are_kept(
    bench: Bench, tmp_path: Path
) -> None:
    file = bench.payload("open('made', 'w').write('x')\nprint('ready')\nwhile True: pass")
    words = ("boot", "--payload", file, "--sandbox", "wasm", "--yes", "--json")

    done = await bench.run(*words, "--keep", str(tmp_path / "kept"), lines=[":quit"])

    assert (done.code, done.event("ended")["code"]) == (0, 143)
    assert "unclean" not in done.events
    assert (tmp_path / "kept" / "made").read_text() == "x"


async def test_the_borders_routes_hold_in_it(bench: Bench) -> None:
    asks = """
import sys
from guest_sys import call
print("ready")
for line in sys.stdin:
    try:
        print(sorted(call(line.strip())))
    except OSError as error:
        print(type(error).__name__, error)
"""
    file = bench.payload(asks, routes={"time": "HOST", "fs.list": "EMULATE"})
    words = ("boot", "--payload", file, "--sandbox", "wasm", "--yes", "--json")

    lines = [":grant time", ":rt time", ":route time DENY", ":rt time", ":rt fs.list", ":rt fetch"]
    done = await bench.run(*words, lines=lines)

    _, granted, denied, empty, fetch = done.pane("rt")
    assert "unix" in granted
    assert (denied, empty) == ("Denied time is denied", "[]")
    assert fetch.startswith("Denied")


@pytest.mark.parametrize("level", ["low", "high"])  # alone, and inside bubblewrap
async def test_no_program_of_the_host_s_is_asked_for_or_run_in_it(
    bench: Bench, level: str
) -> None:
    """There is nothing that it could run in, whatever was granted."""
    asks = """
import sys
from guest_sys import call
print("ready")
for line in sys.stdin:
    try:
        print(call("spawn", argv=[line.strip()]))
    except OSError as error:
        print(type(error).__name__, error)
"""
    file = bench.payload(asks, routes={"spawn": "HOST"}, sandbox_level=level)
    named = ["--sandbox", "wasm"] if level == "low" else []
    lines = [":rt /usr/bin/sort", ":grant spawn /usr/bin/sort", ":rt /usr/bin/sort"]

    done = await bench.run("boot", "--payload", file, *named, "--yes", "--json", lines=lines)

    refused = "HostUnavailable spawn: the runtime's sandbox has no processes, so no program can be"
    assert done.pane("rt")[1:] == [f"{refused} run in one more"] * 2
    assert not any("asked for" in line for line in done.pane("sys"))
