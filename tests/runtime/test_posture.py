"""The proof of a sandbox: what counts, what does not, and how long it is believed."""
# ruff: noqa: ASYNC240 (small files of the test's own; nothing else runs in its loop)

from __future__ import annotations

import asyncio
import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from platformdirs import user_cache_path

from lmboot import cgroups
from lmboot.errors import ConsentImpossible, SandboxFault, UsageFault
from lmboot.process import Ended
from lmboot.runtime import posture, properties
from lmboot.runtime.backends import bubblewrap, container, landlock
from lmboot.runtime.launcher import Launcher
from lmboot.runtime.posture import choose, prove, survey
from lmboot.runtime.properties import (
    IN_WORDS,
    PARTLY,
    PROPERTIES,
    REQUIRED,
    Properties,
    in_words,
    lacking,
)
from lmboot.runtime.properties import judge as judge_outcomes
from lmboot.runtime.registry import BACKENDS, built_for
from tests import portable

GOOD = {
    **dict.fromkeys(
        [
            *("read_canary", "read_home", "read_passwd", "stat_passwd", "watch_home"),
            *("link_canary", "chmod_canary", "touch_canary", "mark_canary", "read_host"),
            *("write_usr", "write_root", "write_dev"),
        ],
        "ENOENT",
    ),
    **dict.fromkeys(
        ["inet", "inet6", "vsock", "netlink", "tcp_loopback", "tcp6_loopback"], "EAFNOSUPPORT"
    ),
    **dict.fromkeys(["unix_abstract", "unix_path", "desktop"], "EAFNOSUPPORT"),
    **dict.fromkeys(["machine_id", "host_name"], "ENOENT"),
    "write_proc": "EROFS",
    "processors": "share",
    "clock": "wall",
    **dict.fromkeys(["kill_host", "renice_host", "limit_host"], "ESRCH"),
    "folder": "ok /app",
    "pids": "ok [1, 2]",
    "env": "ok ['HOME', 'LANG', 'LMBOOT_FD', 'PATH', 'TMPDIR']",
    "fds": "ok [0, 1, 2, 3]",
    "forks": "ok 10",
    "disk": "ok 3",
    "shm": "ok 16",
    "tmp": "ok 15",
    "call_ptrace": "EPERM",
    "call_memfd_create": "ENOSYS",
}
END = Ended(137, "memory", clean=True)
BY_A_GROUP = {"mem_total", "cpu_rate"}  # what is held in part where no group can be made


def judge(tried: dict[str, str], ended: Ended, *, visited: bool) -> Properties:
    limit, clean = ended.limit, ended.clean
    return judge_outcomes(tried, visited=visited, limit=limit, clean=clean, channel=3)


def test_all_denials_prove_all_properties() -> None:
    proven = judge(GOOD, END, visited=False)

    assert set(proven) == set(PROPERTIES)
    assert {name: level for name, level in proven.items() if level != "enforced"} == {
        "mem_total": "partial"
    }


@pytest.mark.parametrize(
    ("attempt", "outcome", "lost"),
    [
        ("read_canary", "ok secret", "fs_read"),
        ("read_passwd", "ok root", "fs_read"),
        ("write_dev", "ok None", "fs_write"),
        ("vsock", "ok None", "net_ip"),
        ("tcp_loopback", "ok None", "net_loopback"),
        ("unix_abstract", "ok None", "unix_abstract"),
        ("unix_path", "ok None", "unix_path"),
        ("desktop", "ok /run/user/1000/bus", "gui_dbus"),
        ("machine_id", "ok 0123", "host_name"),
        ("clock", "nothing", "wall_clock"),
        ("processors", "nothing", "cpu_rate"),
        ("pids", "ok [1, 2, 3, 4711]", "proc_view"),
        ("read_host", "ok python", "proc_view"),
        ("watch_home", "ok None", "fs_read"),
        ("chmod_canary", "ok None", "fs_write"),
        ("limit_host", "ok (1, 1)", "signals"),
        ("folder", "ENOENT", "own_paths"),
        ("kill_host", "ok None", "signals"),
        ("call_ptrace", "ok None", "syscalls"),
        ("call_ptrace", "EFAULT", "syscalls"),
        ("forks", "ok 20", "pids"),
        ("env", "ok ['PATH', 'SECRET']", "env"),
        ("env", "ok []", "env"),
        ("fds", "ok [0, 1, 2, 3, 7]", "fds"),
        ("disk", "ok 8", "disk_total"),
    ],
)
def test_one_way_out_costs_its_property_alone(attempt: str, outcome: str, lost: str) -> None:
    proven = judge({**GOOD, attempt: outcome}, END, visited=False)

    assert [name for name, level in proven.items() if level == "absent"] == [lost]


@pytest.mark.parametrize(
    ("attempt", "outcome", "lessened"),
    [
        ("stat_passwd", "ok 1262", "fs_read"),
        ("write_proc", "ok None", "fs_write"),
        ("host_name", "ok oak", "host_name"),
        ("processors", "cpu", "cpu_rate"),
        ("pids", "EACCES", "proc_view"),
        ("forks", "watched", "pids"),
        ("disk", "watched", "disk_total"),
        ("tmp", "watched", "disk_total"),
        ("shm", "ok 20", "disk_total"),
        ("folder", "ok /home/u/.cache/lmboot/workspaces/run-1/app", "own_paths"),
    ],
)
def test_what_is_closed_but_not_hidden_or_only_watched_holds_in_part(
    attempt: str, outcome: str, lessened: str
) -> None:
    proven = judge({**GOOD, attempt: outcome}, END, visited=False)

    in_part = [name for name, level in proven.items() if level == "partial"]
    assert set(in_part) == {"mem_total", lessened}
    assert "absent" not in proven.values()
    assert lacking(proven) == []


@pytest.mark.parametrize("name", REQUIRED)
@pytest.mark.case(101)
def test_a_required_property_that_is_absent_is_lacking(name: str) -> None:
    proven = {**dict.fromkeys(PROPERTIES, "enforced"), name: "absent"}

    assert lacking(proven) == [name]  # type: ignore[arg-type]  # levels, as text


def test_only_names_and_numbers_may_be_left_in_the_open() -> None:
    in_part = dict.fromkeys(PROPERTIES, "partial")

    left = set(REQUIRED) - set(lacking(in_part))  # type: ignore[arg-type]
    assert left == {"fs_read", "fs_write", "proc_view"}


def test_what_was_not_tried_is_not_proven() -> None:
    proven = judge({}, Ended(0, None, clean=False), visited=False)

    assert set(proven.values()) == {"absent"}


def test_a_visitor_on_the_host_s_server_counts_whatever_the_probe_says() -> None:
    assert judge(GOOD, END, visited=True)["net_loopback"] == "absent"


@pytest.mark.case(101)
def test_an_unclean_end_and_a_limit_that_did_nothing_count() -> None:
    proven = judge(GOOD, Ended(0, None, clean=False), visited=False)

    assert (proven["tree_kill"], proven["mem_total"]) == ("absent", "absent")


# ---------------------------------------------------------------- for real


@pytest.mark.sandbox
async def test_bubblewrap_proves_itself_here() -> None:
    found = {posture.name: posture for posture in await survey()}

    proven = found["bubblewrap"]
    assert (proven.usable, proven.reason, proven.remedy) == (True, "", "")
    properties = proven.properties.items()
    assert {level for name, level in properties if name not in BY_A_GROUP} == {"enforced"}
    assert set(found["none"].properties.values()) == {"absent"}


@pytest.mark.sandbox
async def test_without_the_filter_bubblewrap_is_not_enough() -> None:
    """Sandbox.md finding 1: an empty program that allows all."""
    backend = replace(bubblewrap.find(), filter=b"\x06\x00\x00\x00\x00\x00\xff\x7f")

    proven = await prove(backend)

    assert not proven.usable
    assert "net_ip" in proven.reason
    assert proven.properties["syscalls"] == "absent"


# ---------------------------------------------------------------- choosing


@pytest.mark.parametrize("name", sorted(set(BACKENDS) - set(built_for(sys.platform, BACKENDS))))
async def test_a_back_end_of_another_system_is_refused_by_name(name: str) -> None:
    with pytest.raises(SandboxFault, match=f"{name} is for another system") as caught:
        await Launcher.prepare(name)

    assert "--sandbox auto" in caught.value.hint


async def test_an_unknown_name_is_wrong_usage() -> None:
    with pytest.raises(UsageFault, match="'bubblewarp'"):
        await Launcher.prepare("bubblewarp")


async def test_no_border_needs_its_own_consent() -> None:
    with pytest.raises(ConsentImpossible) as caught:
        await Launcher.prepare("none")

    assert "--no-border" in caught.value.hint


@pytest.mark.case(129)
async def test_consent_to_no_border_does_not_make_auto_mean_none() -> None:
    assert (await choose("auto", no_border=True)).backend.name == "bubblewrap"


@pytest.fixture
def without_bubblewrap(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(bubblewrap._binary, "__defaults__", ((str(tmp_path),),))


@pytest.fixture
def without_wasm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)


@pytest.mark.sandbox
@pytest.mark.usefixtures("without_bubblewrap")
@pytest.mark.case(99)
async def test_landlock_is_taken_where_bubblewrap_does_not_work() -> None:
    assert (await choose("auto", no_border=False)).backend.name == "landlock"


@pytest.mark.usefixtures("without_bubblewrap")
@pytest.mark.case(129)
async def test_a_back_end_that_was_named_is_never_replaced() -> None:
    with pytest.raises(SandboxFault, match="bubblewrap, the sandbox"):
        await Launcher.prepare("bubblewrap")


@pytest.mark.sandbox
@pytest.mark.timeout(portable.SECONDS)
@pytest.mark.usefixtures("without_bubblewrap")
async def test_the_portable_one_is_taken_where_neither_works(
    monkeypatch: pytest.MonkeyPatch, own_cache: Path
) -> None:
    await asyncio.to_thread(portable.lend, own_cache)
    monkeypatch.setattr(landlock, "version", lambda: 5)

    assert (await choose("auto", no_border=False)).backend.name == "wasm"


@pytest.fixture
def without_podman(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(container, "trusted_program", lambda name: None)


@pytest.mark.usefixtures("without_bubblewrap", "without_wasm", "without_podman")
@pytest.mark.case(99)
async def test_nothing_is_run_where_no_back_end_works(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(landlock, "version", lambda: 5)
    monkeypatch.setattr(container, "trusted_program", lambda _: None)

    with pytest.raises(SandboxFault, match="is not installed") as caught:
        await Launcher.prepare("auto")

    assert "landlock: Landlock of this kernel is version 5" in str(caught.value)
    assert "wasm: the portable sandbox (WebAssembly, young) is not" in str(caught.value)
    assert "apt install bubblewrap" in caught.value.hint


@pytest.mark.sandbox
@pytest.mark.case(129)
async def test_a_back_end_that_lacks_what_is_required_is_refused_by_name(
    monkeypatch: pytest.MonkeyPatch, fresh: Path
) -> None:
    monkeypatch.setattr(properties, "REQUIRED", {"proc_view": "enforced"})

    with pytest.raises(SandboxFault, match="does not enforce proc_view"):
        await Launcher.prepare("landlock")


@pytest.mark.usefixtures("without_wasm")
async def test_another_system_gets_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lmboot.runtime.posture.sys.platform", "sunos5")

    with pytest.raises(SandboxFault, match="no sandbox is built for this system") as caught:
        await Launcher.prepare("auto")

    assert "pip install" in caught.value.hint


async def test_another_processor_gets_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lmboot.runtime.backends.bubblewrap.platform.machine", lambda: "riscv64")

    with pytest.raises(SandboxFault, match="no system call filter for riscv64"):
        await Launcher.prepare("bubblewrap")


# ---------------------------------------------------------------- what was proven before


@pytest.fixture
def fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return user_cache_path("lmboot") / "posture-bubblewrap.json"


@pytest.mark.sandbox
async def test_a_proof_is_kept_for_the_next_start(fresh: Path) -> None:
    await choose("auto", no_border=False)
    assert fresh.stat().st_mode & 0o777 == 0o600
    kept = json.loads(fresh.read_text())
    kept["posture"]["properties"]["mem_total"] = "absent"  # to see that this is what is read
    fresh.write_text(json.dumps(kept))

    believed = posture._remembered(bubblewrap.find(), cgroups.find())

    assert believed is not None
    assert believed.properties["mem_total"] == "absent"


@pytest.mark.sandbox
@pytest.mark.parametrize(
    "damage",
    [
        lambda kept: kept["key"].update(boot="another"),
        lambda kept: kept["key"].update(kernel="another"),
        lambda kept: kept["key"].update(binary=["/usr/bin/bwrap", 0, 0]),
        lambda kept: kept["posture"].update(usable=False),
        lambda kept: kept["posture"].update(usable=1),
        lambda kept: kept["posture"].update(more="x"),
        lambda kept: kept["posture"]["properties"].pop("fs_read"),
        lambda kept: kept["posture"]["properties"].update(fs_read="maybe"),
        lambda kept: kept.pop("posture"),
    ],
)
@pytest.mark.case(128)
async def test_a_proof_of_something_else_is_not_believed(fresh: Path, damage: object) -> None:
    backend = bubblewrap.find()
    properties = dict.fromkeys(PROPERTIES, "enforced")
    posture._remember(backend, posture.Posture("bubblewrap", usable=True, properties=properties))  # type: ignore[arg-type]
    kept = json.loads(fresh.read_text())
    assert posture._remembered(backend) is not None

    damage(kept)  # type: ignore[operator]
    fresh.write_text(json.dumps(kept))

    assert posture._remembered(backend) is None


@pytest.mark.sandbox
@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b"\xff\xfe", b"{}" * 100_000])
async def test_a_broken_file_of_proofs_is_ignored(fresh: Path, content: bytes) -> None:
    fresh.parent.mkdir(parents=True)
    fresh.write_bytes(content)

    assert posture._remembered(bubblewrap.find()) is None
    assert (await choose("auto", no_border=False)).backend.name == "bubblewrap"


@pytest.mark.sandbox
@pytest.mark.case(128)
async def test_a_file_of_proofs_that_others_can_write_is_ignored(fresh: Path) -> None:
    await choose("auto", no_border=False)
    fresh.chmod(0o666)

    assert posture._remembered(bubblewrap.find()) is None


@pytest.mark.sandbox
async def test_no_cache_folder_is_no_obstacle(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))

    assert (await choose("auto", no_border=False)).backend.name == "bubblewrap"


def test_what_is_required_can_be_proven_and_has_words() -> None:
    assert set(REQUIRED) <= set(PROPERTIES)
    assert set(PARTLY) <= set(IN_WORDS) == set(PROPERTIES)


def test_what_holds_in_part_is_said_with_what_remains() -> None:
    assert in_words("proc_view", "enforced") == "can't see other processes"
    assert in_words("proc_view", "partial") == f"can't see other processes ({PARTLY['proc_view']})"
    assert in_words("env", "partial") == IN_WORDS["env"]
