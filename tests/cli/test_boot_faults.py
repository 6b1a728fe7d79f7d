"""A machine on which something is broken: the session goes on, and says so once."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.program import ECHO, Bench, Done

AROUND = ["bwrap", "--dev-bind", "/", "/"]
TALKATIVE = ECHO + "    print('x' * 5000, flush=True)\n"


def places(bench: Bench, *names: str) -> list[str]:
    """Make the folders of these names; return their paths."""
    paths = [bench.env[f"XDG_{name.upper()}_HOME"] for name in names]
    for path in paths:
        Path(path).mkdir(exist_ok=True)
    return paths


async def session(bench: Bench) -> Done:
    return await bench.boot(TALKATIVE, lines=[f":rt {number}" for number in range(3)])


def works(done: Done) -> bool:
    said = [text for text in done.pane("rt") if text.startswith("you said")]
    return done.code == 0 and said == ["you said 0", "you said 1", "you said 2"]


@pytest.mark.parametrize("room", [4096, 3 * 4096])
async def test_on_a_full_disk_the_session_goes_on_and_says_so_once(
    bench: Bench, room: int
) -> None:
    data, state = places(bench, "data", "state")
    full = [word for path in (data, state) for word in ("--size", str(room), "--tmpfs", path)]
    bench.prefix = [*AROUND, *full, "--"]

    done = await session(bench)

    assert works(done)
    assert done.events.count("error") == 1
    assert "No space left" in done.event("error")["text"]


async def test_where_nothing_can_be_written_the_session_goes_on(bench: Bench) -> None:
    names = places(bench, "config", "data", "state", "cache")
    locked = [word for path in names for word in ("--ro-bind", path, path)]
    bench.prefix = [*AROUND, *locked, "--"]

    done = await session(bench)

    assert works(done)
    assert done.err.count("could not be kept") == 1
    assert [each["text"] for each in done.objects if each.get("event") == "error"] == [
        "the transcript can't be written (Read-only file system); the session goes on"
    ]


async def test_a_file_where_a_folder_belongs_is_no_end(bench: Bench) -> None:
    file = bench.payload(ECHO)
    bench.env |= {"XDG_DATA_HOME": file, "XDG_STATE_HOME": file}

    done = await session(bench)

    assert works(done)


async def test_without_a_home_everything_works(bench: Bench) -> None:
    for name in ("HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME"):
        bench.env[name] = "/proc/nowhere"
    done = await session(bench)

    assert works(done)


async def test_a_settings_file_with_an_error_is_set_aside_and_said_once(bench: Bench) -> None:
    bench.settings.write_text("[limits]\nmemory = 1\n")

    first = await session(bench)
    second = await session(bench)

    assert works(first)
    assert works(second)
    (sentence,) = first.err.splitlines()
    assert "limits.memory" in sentence
    assert "settings.toml.bad" in sentence
    assert bench.settings.with_name("settings.toml.bad").exists()
    assert second.err == ""


async def test_settings_lower_the_limits_of_every_runtime(bench: Bench) -> None:
    bench.settings.write_text("[limits]\nwall_seconds = 0.5\n")

    done = await bench.boot("print('ready', flush=True)\nwhile True: pass", lines=[":rt x"])

    assert (done.code, done.event("limit")["limit"]) == (5, "wall")
    assert done.event("ended")["code"] == 137


async def test_a_kept_payload_that_was_damaged_is_neither_trusted_nor_fatal(bench: Bench) -> None:
    await session(bench)
    (file,) = bench.kept
    file.write_text(json.dumps({**json.loads(file.read_text()), "agreed": True})[:-20])

    again = await bench.run("boot", "--payload", str(bench.folder / "payload.json"), "--json")

    assert again.code == 2
    assert json.loads(file.read_text())["agreed"] is False
