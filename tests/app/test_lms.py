"""LM Studio's own command, in the shape of small programs that behave well and badly."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path
from time import monotonic

import psutil
import pytest

from lmboot.app import lms
from lmboot.errors import LmbootError, NoServer
from tests.leaks import descriptors, nothing_left, wait_until

Make = Callable[[str], Path]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home without LM Studio, and a PATH without its command."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PATH", f"{tmp_path / 'path'}:/usr/bin:/bin")
    return tmp_path / "home"


@pytest.fixture
def program(home: Path, tmp_path: Path) -> Make:
    """Put a program on the PATH."""
    return lambda text: written(tmp_path / "path" / "lms", text)


def written(file: Path, text: str) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f"#!/bin/sh\n{text}\n")
    file.chmod(0o700)
    return file


async def refusal() -> LmbootError:
    with pytest.raises(NoServer) as caught:
        await lms.start_server()
    assert caught.value.hint.startswith("Start it in LM Studio")
    return caught.value


# ---------------------------------------------------------------- where it is


def test_it_is_found_on_the_path(program: Make) -> None:
    file = program("exit 0")

    assert lms.command() == str(file)


def test_it_is_found_where_lm_studio_puts_it(home: Path) -> None:
    file = written(home / ".lmstudio" / "bin" / "lms", "exit 0")

    assert lms.command() == str(file)


def test_the_one_on_the_path_comes_first(home: Path, program: Make) -> None:
    written(home / ".lmstudio" / "bin" / "lms", "exit 0")
    file = program("exit 0")

    assert lms.command() == str(file)


async def test_where_there_is_none_that_is_said(home: Path) -> None:
    assert lms.command() is None
    assert str(await refusal()) == "LM Studio's command `lms` was not found"


def test_one_that_may_not_be_executed_is_none(home: Path) -> None:
    written(home / ".lmstudio" / "bin" / "lms", "exit 0").chmod(0o600)

    assert lms.command() is None


# ---------------------------------------------------------------- starting the server


async def test_it_is_told_to_start_the_server_and_has_no_input(
    program: Make, tmp_path: Path
) -> None:
    program(f'cat > "{tmp_path}/input"; echo "$*" > "{tmp_path}/arguments"')

    await lms.start_server()

    assert (tmp_path / "arguments").read_text() == "server start\n"
    assert (tmp_path / "input").read_text() == ""


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("echo 'the port is taken'; exit 1", "the port is taken"),
        ("echo 'no app' >&2; exit 2", "no app"),
        (r"printf '\033[31mbad\033[0m\r\nworse \342\200\256x\n'; exit 1", "bad worse x"),
        (r"printf '\377\376'; exit 1", "��"),
        ("exit 7", "status 7"),
        ("kill -9 $$", "status -9"),
        ("yes no | head -c 300000; exit 1", "no no no"),
    ],
)
async def test_its_own_words_are_told_when_it_fails(program: Make, text: str, words: str) -> None:
    program(text)

    sentence = str(await refusal())

    assert sentence.startswith(f"`lms server start` failed: {words}")
    assert len(sentence) < 400


@pytest.mark.parametrize("kind", ["no program", "folder"])
async def test_what_can_not_be_executed_is_told(home: Path, kind: str) -> None:
    file = home / ".lmstudio" / "bin" / "lms"
    if kind == "folder":
        file.mkdir(parents=True)
    else:
        written(file, "").write_bytes(b"\x7fELF nothing")

    assert str(await refusal()).startswith("`lms server start` can't be run: ")


async def test_one_that_hangs_is_ended_and_told(
    program: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lms, "START_SECONDS", 0.2)
    program("exec sleep 1000")
    before = len(descriptors())

    with nothing_left():
        sentence = str(await refusal())

    assert sentence == "`lms server start` did not end in 0.2 s"
    assert len(descriptors()) <= before


async def test_what_it_leaves_running_is_not_waited_for(program: Make, tmp_path: Path) -> None:
    """LM Studio itself goes on after the command, and holds the command's output open."""
    program(f'sleep 1000 & echo $! > "{tmp_path}/pid"')
    began = monotonic()

    await lms.start_server()

    assert monotonic() - began < 5
    left = psutil.Process(int((tmp_path / "pid").read_text()))
    assert left.is_running()
    left.kill()


async def test_breaking_off_ends_it(program: Make, tmp_path: Path) -> None:
    program(
        f'echo $$ > "{tmp_path}/pid.new"; mv "{tmp_path}/pid.new" "{tmp_path}/pid"; '
        "exec sleep 1000"
    )
    starting = asyncio.create_task(lms.start_server())
    await asyncio.to_thread(wait_until, (tmp_path / "pid").exists)

    with nothing_left():
        starting.cancel()
        await asyncio.gather(starting, return_exceptions=True)

    assert starting.cancelled()
    pid = int((tmp_path / "pid").read_text())
    assert wait_until(lambda: not os.path.exists(f"/proc/{pid}"))
