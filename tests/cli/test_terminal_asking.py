"""What a runtime asks for, answered at a real terminal; and what answers nothing."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from tests.cli.program import Bench
from tests.cli.terminal import CTRL_C, Terminal, terminal
from tests.cli.test_boot_border import ASKS, log_of, records

ASKED = "The runtime asks for"
ARMED = ("once,", "while,", "always")  # what the prompt says once it can be answered
READ = 'fs.read_text {"path": "notes/a.txt"}'
ROUTES = {"fs.read_text": "HOST", "fs.write_text": "HOST", "env": "HOST", "fs.list": "HOST"}
At = Callable[[], AbstractContextManager[Terminal]]


@pytest.fixture
def notes(bench: Bench) -> Path:
    folder = bench.folder / "my notes"
    folder.mkdir()
    (folder / "a.txt").write_text("oak in autumn")
    return folder


@pytest.fixture
def at(bench: Bench) -> At:
    """Return what starts a session with a program that asks what it is told to."""

    @contextmanager
    def start() -> Iterator[Terminal]:
        file = bench.payload(ASKS, routes=ROUTES)
        command = ["-m", "lmboot", "boot", "--payload", file, "--yes"]
        with terminal(command, bench.env, bench.folder) as screen:
            screen.until("runtime started", "ready", "»")
            yield screen
            assert "Traceback" not in screen.text

    return start


def answer(screen: Terminal, line: str) -> None:
    screen.until(*ARMED)
    screen.enter(line)


def leave(screen: Terminal) -> None:
    screen.enter(":quit")
    assert screen.over() == 0


def test_a_folder_is_granted_by_an_answer_and_can_be_seen_and_taken_back(
    at: At, bench: Bench, notes: Path
) -> None:
    with at() as screen:
        screen.enter(READ)
        screen.until(ASKED)
        answer(screen, f"while {notes}")
        screen.until("as notes/, for 15 minutes", "oak in autumn")
        screen.enter(READ)
        screen.until("oak in autumn")
        screen.enter(":grant")
        screen.until("read    notes/", "15 min left")
        screen.enter(":revoke notes")
        screen.until("is taken back")
        screen.enter(READ)
        screen.until(ASKED)
        answer(screen, "no")
        screen.until("no folder", "was granted")
        leave(screen)

    grants = [(each["op"], each["decision"]) for each in records(log_of(bench), "grant", "revoke")]
    assert grants == [
        ("fs.read_text", "while"), ("read", "revoked"), ("fs.read_text", "no"),
    ]  # fmt: skip
    asked = [each for each in records(log_of(bench), "event") if each["decision"] == "asked"]
    assert len(asked) == 2


def test_once_is_once_and_no_is_not_asked_again(at: At) -> None:
    with at() as screen:
        screen.enter('env {"name": "HOME"}')
        screen.until(ASKED)
        answer(screen, "once")
        screen.until('/home"')
        screen.enter('env {"name": "HOME"}')
        screen.until(ASKED)
        answer(screen, "no")
        screen.until("not granted")
        screen.enter('env {"name": "HOME"}')
        screen.until("not granted")
        leave(screen)

    assert screen.text.count("is not granted") == 2


def test_always_holds_in_the_next_session_and_is_revoked_there(
    at: At, bench: Bench, notes: Path
) -> None:
    with at() as screen:
        screen.enter(READ)
        screen.until(ASKED)
        answer(screen, f"always {notes}")
        screen.until("for always", "oak in autumn")
        leave(screen)
    (kept,) = (Path(bench.env["XDG_DATA_HOME"]) / "lmboot" / "grants").glob("*.json")
    assert kept.stat().st_mode & 0o777 == 0o600
    assert json.loads(kept.read_text())["grants"] == [
        {"kind": "read", "name": "notes", "path": str(notes)}
    ]

    with at() as again:
        assert "for always" in again.text
        again.enter(READ)
        again.until("oak in autumn")
        again.enter(":revoke notes")
        again.until("is taken back")
        leave(again)

    assert ASKED not in again.text
    assert json.loads(kept.read_text())["grants"] == []


def test_control_c_at_a_question_means_no_and_disturbs_nobody(at: At) -> None:
    with at() as screen:
        screen.enter('env {"name": "HOME"}')
        screen.until(ASKED)
        screen.type(CTRL_C)
        screen.until("not granted")
        screen.enter('env {"name": "NO_SUCH_ONE"}')
        screen.until(ASKED)
        answer(screen, "once")
        screen.until("null")
        leave(screen)


def test_what_was_being_typed_when_the_question_came_answers_nothing(at: At) -> None:
    """The line is begun, then the question appears, then the line is ended."""
    with at() as screen:
        screen.enter('env {"name": "HOME"}')
        screen.until(ASKED)
        screen.enter("once")  # too soon: it was meant for something else
        answer(screen, "nonsense")
        screen.until("answer")
        answer(screen, ":rt routes")
        screen.enter("no")
        screen.until("not granted", "Denied routes")
        leave(screen)


def test_a_folder_has_to_be_named(at: At, notes: Path) -> None:
    with at() as screen:
        screen.enter(READ)
        screen.until(ASKED, "everything in the", "databases too", "Allow it?", "Name it")
        answer(screen, "once")
        screen.until("which folder")
        screen.enter("once /no/such/folder")
        screen.until("No such file", ASKED)
        answer(screen, f"once {notes}")
        screen.until("oak in autumn")
        leave(screen)


def test_a_stricter_route_takes_the_question_from_the_screen(at: At) -> None:
    with at() as screen:
        screen.enter('env {"name": "HOME"}')
        screen.until(ASKED)
        answer(screen, ":route env DENY")
        screen.until("env is DENY now", "route was changed")
        screen.enter("once")
        screen.until("Denied once")
        leave(screen)


def test_leaving_with_a_question_open_ends_it(at: At, bench: Bench) -> None:
    with at() as screen:
        screen.enter('env {"name": "HOME"}')
        screen.until(ASKED)
        leave(screen)

    (outcome,) = records(log_of(bench), "outcome")
    assert outcome["reason"] == "closed"
