"""Evidence, and the choice of a sandbox: cases 94 to 102 and beyond, end to end. The audit log and
the proof are tested part by part in tests/runtime, by the same numbers.
"""

# ruff: noqa: ASYNC240 (small files of the test's own; nothing else runs in its loop)

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from lmboot.runtime import posture
from lmboot.runtime.backends import bubblewrap
from lmboot.runtime.backends.bubblewrap import Bubblewrap
from tests.cli.conftest import bench, cache
from tests.cli.program import Bench
from tests.cli.test_boot_border import ASKS, log_of

pytestmark = pytest.mark.attack
__all__ = ["bench", "cache"]  # fixtures

HOST = {"time": "HOST", "notify": "HOST", "env": "HOST"}


async def recorded(bench: Bench, *lines: str) -> Path:
    """Return the log of a session in which a runtime asked for these."""
    file = bench.payload(ASKS, routes=HOST)
    done = await bench.run("boot", "--payload", file, "--yes", "--json", lines=lines)
    assert done.code == 0
    return log_of(bench)


@pytest.mark.sandbox
@pytest.mark.case(94)
async def test_case_94_whatever_is_done_to_the_log_of_a_session_is_seen(bench: Bench) -> None:
    log = await recorded(bench, ":grant time", ":rt time", ":rt time", ":rt notify {}")
    whole = log.read_bytes()
    lines = whole.splitlines(keepends=True)
    swapped = [lines[0], lines[2], lines[1], *lines[3:]]
    damages = {
        "edited": whole.replace(b'"HOST"', b'"DENY"', 1),
        "deleted": b"".join([*lines[:2], *lines[3:]]),
        "reordered": b"".join(swapped),
        "inserted": b"".join([*lines[:3], lines[2], *lines[3:]]),
        "cut": b"".join(lines[:-2]),
        "replaced": lines[0],
        "emptied": b"",
    }
    assert (await bench.run("audit", "verify", str(log))).code == 0
    for name, damage in damages.items():
        log.write_bytes(damage)
        done = await bench.run("audit", "verify", str(log))
        assert done.code == 1, name
    log.write_bytes(whole)
    assert (await bench.run("audit", "verify", str(log))).code == 0


@pytest.mark.sandbox
@pytest.mark.case(95, 127)
async def test_cases_95_127_nothing_that_a_guest_says_forges_a_record_or_keeps_a_secret(
    bench: Bench,
) -> None:
    token = "sk-" + "a1B2" * 12
    forged = '\n{"seq":99,"kind":"grant","op":"fetch"}\n\x1b[2J'
    log = await recorded(
        bench,
        ":rt notify " + json.dumps({"text": forged + token}),
        ":rt env " + json.dumps({"name": forged}),
        ":rt " + "made.up" + " " + json.dumps({"password": "hunter2" + token}),
    )
    text = log.read_bytes()
    kinds = [json.loads(line)["kind"] for line in text.splitlines()]
    assert "grant" not in kinds
    assert token.encode() not in text
    assert b"hunter2" not in text
    assert b"\x1b" not in text
    assert (await bench.run("audit", "verify", str(log))).code == 0


NOTIFIES = """\
from guest_sys import call
for number in range(5000):
    call("notify", text="x" * 1000)
print("asked", flush=True)
"""


@pytest.mark.sandbox
@pytest.mark.case(122)
async def test_case_122_a_payload_without_routes_can_not_fill_the_log_by_asking(
    bench: Bench,
) -> None:
    file = bench.payload(NOTIFIES)
    done = await bench.run("boot", "--payload", file, "--yes", "--json")
    assert done.pane("rt")[-1] == "asked"

    log = log_of(bench)
    told = [json.loads(line) for line in log.read_bytes().splitlines()]
    single = [each for each in told if each["kind"] == "outcome"]
    counted = sum(each["count"] for each in told if each["kind"] == "emulated-summary")
    seconds = told[-1]["mono"] - told[0]["mono"]
    assert len(single) + counted == told[-1]["emulated"] == 5000
    assert len(single) <= 20 * (seconds + 1)
    assert (await bench.run("audit", "verify", str(log))).code == 0


@pytest.mark.sandbox
@pytest.mark.case(98)
async def test_case_98_a_false_bwrap_first_in_path_is_not_run(bench: Bench) -> None:
    false = bench.folder / "bin" / "bwrap"
    false.parent.mkdir()
    false.write_text(f'#!/bin/sh\ntouch {bench.folder}/taken\nexec /usr/bin/bwrap "$@"\n')
    false.chmod(0o777)
    bench.env["PATH"] = f"{false.parent}:{bench.env['PATH']}"

    done = await bench.run(
        "boot", "--payload", bench.payload("print('fine')"), "--yes", "--json", lines=[":quit"]
    )

    assert done.code == 0
    assert not (bench.folder / "taken").exists()


@pytest.fixture
def wrapper(tmp_path: Path) -> Path:
    """A path for a program that poses as bwrap, where every user may go."""
    for folder in (tmp_path, *tmp_path.parents):
        if "pytest" in str(folder):
            folder.chmod(0o755)
    path = tmp_path / "bwrap"
    path.touch(0o755)
    return path


@pytest.mark.sandbox
@pytest.mark.case(99)
async def test_case_99_where_namespaces_are_forbidden_it_is_said_and_nothing_runs(
    wrapper: Path,
) -> None:
    """As in a container: bubblewrap is there and can't set up its namespaces."""
    said = "bwrap: Creating new namespace failed: Operation not permitted"
    wrapper.write_text(f"#!/bin/sh\necho '{said}' >&2\nexit 1\n")

    proven = await posture.prove(replace(bubblewrap.find(), binary=str(wrapper)))

    assert not proven.usable
    assert "Creating new namespace failed" in proven.reason
    assert proven.remedy
    assert set(proven.properties.values()) == {"absent"}


@pytest.mark.sandbox
@pytest.mark.case(100, 101)
@pytest.mark.parametrize(("more", "lost"), [("--ro-bind /etc /etc", ["fs_read", "host_name"])])
async def test_case_101_a_back_end_that_quietly_allows_more_is_refused(
    wrapper: Path, more: str, lost: list[str]
) -> None:
    """It starts, tells its inside, ends with 0: what it does not hold is found by trying."""
    wrapper.write_text(f'#!/bin/sh\nexec /usr/bin/bwrap {more} "$@"\n')

    proven = await posture.prove(replace(bubblewrap.find(), binary=str(wrapper)))

    assert not proven.usable
    assert "but it does not enforce fs_read" in proven.reason
    assert [name for name, level in proven.properties.items() if level == "absent"] == lost


@pytest.mark.sandbox
@pytest.mark.case(128)
async def test_case_128_a_proof_is_for_this_binary_kernel_user_and_boot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    backend, _, places = await posture.choose("bubblewrap", no_border=False)
    assert isinstance(backend, Bubblewrap)
    assert posture._remembered(backend, places) is not None
    kept = tmp_path / "lmboot" / "posture-bubblewrap.json"
    assert kept.stat().st_mode & 0o077 == 0
    assert posture._remembered(replace(backend, filter=b""), places) is None
    kept.unlink()
    kept.symlink_to("/dev/zero")
    assert posture._remembered(backend, places) is None


def test_a_skipped_attack_is_a_failure_where_a_sandbox_was_promised(tmp_path: Path) -> None:
    """--require=sandbox, in a run of its own."""
    (tmp_path / "test_it.py").write_text(
        "import pytest\n"
        "@pytest.mark.sandbox\ndef test_one() -> None:\n    pytest.skip('no sandbox')\n"
        "def test_two() -> None:\n    pytest.skip('of no matter')\n"
    )
    root = Path(__file__).parents[2]
    command = ["-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", str(root / "pyproject.toml")]
    command += ["-p", "tests.conftest", f"--rootdir={tmp_path}", str(tmp_path / "test_it.py")]
    env = {**os.environ, "PYTHONPATH": str(root)}

    def counts(*more: str) -> str:
        done = subprocess.run(
            [sys.executable, *command, *more],
            capture_output=True,
            text=True,
            env=env,
            cwd=tmp_path,
            check=False,
        )
        return done.stdout.strip().splitlines()[-1]

    assert "2 skipped" in counts()
    assert "1 failed, 1 skipped" in counts("--require=sandbox")
