"""`lmboot audit`: the table, the verdict, and the exit codes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lmboot.runtime.audit import AuditLog
from lmboot.runtime.vault import Vault
from tests.cli.program import Bench
from tests.runtime.audits import MemoryKeychain


@pytest.fixture
def vault(bench: Bench) -> Vault:
    return Vault(Path(bench.env["XDG_STATE_HOME"]) / "lmboot" / "audit", MemoryKeychain())


def logged(vault: Vault, run: str = "a1b2", path: str = "notes/a.txt") -> Path:
    """Return the log of a run that read a file and was denied another."""
    with AuditLog(vault, run, posture={"net_ip": "enforced"}, payload="ab" * 32) as log:
        log.note("consent", "boot", decision="agreed", payload="ab" * 32)
        log.outcome(log.intent("fs.read_text", "HOST", 1, {"path": path}), "allow", "granted", 12)
        log.denied("fetch", "DENY", 1, {"url": "https://example.org/"}, "not in the policy")
    return log.path


def tampered(log: Path) -> None:
    log.write_bytes(log.read_bytes().replace(b"granted", b"gr\x1b[2Jd", 1))


async def test_a_run_is_shown_as_a_table(bench: Bench, vault: Vault) -> None:
    logged(vault)

    done = await bench.run("audit", "show", "last")

    rows = [line.split()[2:] for line in done.out.splitlines()]
    assert (done.code, done.err) == (0, "")
    assert rows[0][:2] == ["genesis", "abababababab" + "ab" * 26]
    assert rows[1][:3] == ["consent", "boot", "agreed"]
    assert rows[2] == ["fs.read_text", "HOST", "intent", '{"path":', '"notes/a.txt"}']
    assert rows[3] == ["fs.read_text", "HOST", "allow", "granted"]
    assert rows[4] == ["fetch", "DENY", "deny", "not", "in", "the", "policy"]
    assert rows[5][0] == "close"


async def test_as_json_every_record_is_a_line(bench: Bench, vault: Vault) -> None:
    log = logged(vault)

    done = await bench.run("audit", "show", "a1", "--json")

    assert done.objects == [json.loads(line) for line in log.read_text().splitlines()]


async def test_hostile_text_is_made_visible(bench: Bench, vault: Vault) -> None:
    logged(vault, path="\x1b[2J\u202egpj.exe\n2026-01-01 00:00:00  forged")

    done = await bench.run("audit", "show", "last")

    assert "<U+001B>[2J<U+202E>gpj.exe" in done.out
    assert len(done.out.splitlines()) == 6
    assert not set(done.out) & {"\x1b", "\u202e"}


async def test_a_whole_log_is_0(bench: Bench, vault: Vault) -> None:
    log = logged(vault)

    said = await bench.run("audit", "verify", "a1b2")
    told = await bench.run("audit", "verify", str(log), "--json")

    assert (said.code, told.code) == (0, 0)
    assert "is whole: 6 records of the run a1b2" in said.out
    verdict = json.loads(told.out)
    assert (verdict["whole"], verdict["records"], verdict["problem"]) == (True, 6, None)


async def test_a_damaged_log_is_1_and_says_where(bench: Bench, vault: Vault) -> None:
    tampered(logged(vault))

    said = await bench.run("audit", "verify", "last")
    told = await bench.run("audit", "verify", "last", "--json")

    assert (said.code, told.code) == (1, 1)
    assert "is damaged at record 3: " in said.out
    assert json.loads(told.out)["problem"]["seq"] == 3


async def test_a_damaged_log_is_shown_with_a_warning(bench: Bench, vault: Vault) -> None:
    tampered(logged(vault))

    shown = await bench.run("audit", "show", "last")
    as_json = await bench.run("audit", "show", "last", "--json")

    assert (shown.code, as_json.code) == (0, 0)
    assert "damaged at record 3" in shown.err
    assert "\x1b" not in shown.out + shown.err + as_json.out
    assert as_json.objects[3] == {"kind": "damaged line"}


async def test_records_that_were_forged_can_not_upset_the_table(
    bench: Bench, vault: Vault
) -> None:
    log = logged(vault)
    forged = [
        {"ts": 5, "kind": [], "op": {"a": "\x1b"}, "route": None, "reason": 1},
        {"ts": "9999-12-31T23:59:59+00:00", "kind": "\x1b[2J", "args": {"\u202e": "\x9b"}},
        {"ts": "\ud800", "kind": "intent", "op": "\ud800"},
    ]
    lines = [json.dumps(each) for each in forged] + ["[" * 100_000, "[]", "7", "\udcff", ""]
    log.write_bytes("\n".join(lines).encode(errors="replace"))

    done = await bench.run("audit", "show", "last")

    assert done.code == 0
    assert not [c for c in done.out if ord(c) < 32 and c != "\n"]


async def test_an_open_intent_is_told_and_is_no_damage(bench: Bench, vault: Vault) -> None:
    with AuditLog(vault, "r1", posture={}, payload=None) as log:
        log.intent("fs.write_text", "HOST", 1, {"path": "a"})

    done = await bench.run("audit", "verify", "r1")

    assert done.code == 0
    assert "open intent, record 1: fs.write_text (HOST)" in done.out


@pytest.mark.parametrize("command", ["show", "verify"])
@pytest.mark.parametrize("wanted", ["last", "nothing", "", "/nonexistent", "/"])
async def test_what_is_not_there_is_2(bench: Bench, command: str, wanted: str) -> None:
    done = await bench.run("audit", command, wanted)

    assert (done.code, done.out) == (2, "")
    assert done.err


async def test_a_log_without_its_key_is_2_but_can_be_read(bench: Bench, vault: Vault) -> None:
    log = logged(vault)
    (log.parent / "key").unlink()

    verified = await bench.run("audit", "verify", "last")
    shown = await bench.run("audit", "show", "last")

    assert (verified.code, shown.code) == (2, 0)
    assert "not verified" in shown.err


async def test_without_a_name_all_are_judged_and_one_that_is_gone_is_named(
    bench: Bench, vault: Vault
) -> None:
    first, last = logged(vault, "a1"), logged(vault, "b2")
    whole = await bench.run("audit", "verify")
    for log in (last, last.with_name(f"{last.name}.head")):
        log.unlink()

    said = await bench.run("audit", "verify")
    told = await bench.run("audit", "verify", "--json")
    of_last = await bench.run("audit", "verify", "last")
    of_first = await bench.run("audit", "verify", "a1")
    shown = await bench.run("audit", "show", "last")

    assert (whole.code, "no log is missing: 2 are kept" in whole.out) == (0, True)
    assert (said.code, told.code, of_last.code, of_first.code, shown.code) == (1, 1, 1, 0, 2)
    assert f"{first.name} is whole" in said.out
    assert f"{last.name}: missing: the log of run number 2 is gone" in said.out
    assert told.objects[-1]["gaps"][0]["log"] == last.name
    assert f"{last.name} is gone" in shown.err
    assert shown.out == ""


async def test_if_the_list_of_all_is_gone_the_last_may_not_be_the_last(
    bench: Bench, vault: Vault
) -> None:
    logged(vault)
    for row in vault.folder.glob("*.row"):
        row.unlink()

    shown = await bench.run("audit", "show", "last")
    verified = await bench.run("audit", "verify", "last")

    assert (shown.code, verified.code) == (0, 1)
    assert "the list of all logs is gone" in shown.err
    assert "the list of all logs is gone" in verified.out
