"""The live terminal, typed into and read as a person does it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from lmboot.app.view import Shown
from lmboot.cli.terminal import TerminalView
from tests.cli.program import ECHO, Bench, payload
from tests.cli.terminal import CTRL_C, CTRL_D, TAB, UP, Terminal, terminal
from tests.connections.lookalike import running

ASK = "Write and run it?"
PROMPT = "»"
MODEL = ["--model", "acme/tiny-4b"]
At = Callable[..., AbstractContextManager[Terminal]]


@pytest.fixture
def at(bench: Bench) -> At:
    """Return what starts lmboot on a terminal."""

    @contextmanager
    def start(*arguments: str) -> Iterator[Terminal]:
        command = ["-m", "lmboot", *arguments]
        with terminal(command, bench.env, bench.folder) as screen:
            yield screen
            ours = [line for line in screen.text.splitlines() if "rt!" not in line]
            assert not any("Traceback" in line or "Exception" in line for line in ours)

    return start


def agreed(screen: Terminal) -> None:
    screen.until(ASK)
    screen.enter("y")
    screen.until("runtime started", "ready", PROMPT)


def test_a_payload_is_reviewed_then_run_and_talked_to(at: At, bench: Bench) -> None:
    files = {"main.py": ECHO, "notes.txt": "a\u202eb"}
    file = bench.payload(files, version="1.2", routes={"fs.list": "EMULATE"})
    with at("boot", "--payload", file) as screen:
        review = screen.until(ASK)
        screen.enter("2")
        screen.until("a<U+202E>b", ASK)
        screen.enter("what?")
        screen.until(ASK)
        screen.enter("y")
        screen.until("runtime started in bubblewrap", "ready")
        screen.enter("hello")
        screen.until("you said hello")
        screen.enter(":ai hi")
        screen.until("there is no model")
        screen.enter(":frobnicate")
        screen.until("no command :frobnicate")
        screen.enter(":quit")
        code = screen.over()

    for shown in (
        "main.py", "print", "notes.txt", "test 1.2", "python3 main.py", "bubblewrap",
        "EMULATE fs.list", "memory 512 MB", "SHA-256", "characters that a screen hides",
    ):  # fmt: skip
        assert shown in review
    assert (code, "runtime ended" in screen.text) == (0, True)


def test_without_consent_nothing_is_written_or_run(at: At, bench: Bench) -> None:
    file = bench.payload("print('r' + 'an')")
    with at("boot", "--payload", file) as screen:
        screen.until(ASK)
        screen.enter("n")
        code = screen.over()

    assert (code, "ran" in screen.text) == (0, False)
    assert [json.loads(each.read_text())["agreed"] for each in bench.kept] == [False]


@pytest.mark.parametrize(("key", "code"), [(CTRL_C, 130), (CTRL_D, 0)])
def test_a_question_can_be_left(at: At, bench: Bench, key: str, code: int) -> None:
    file = bench.payload("print('r' + 'an')")
    with at("boot", "--payload", file) as screen:
        screen.until(ASK)
        screen.type(key)

        assert screen.over() == code
    assert "ran" not in screen.text


def test_bytes_agreed_to_before_need_no_second_reading(at: At, bench: Bench) -> None:
    file = bench.payload(ECHO)
    with at("boot", "--payload", file) as screen:
        agreed(screen)
        screen.type(CTRL_D)
        assert screen.over() == 0
    piped = subprocess.run(
        [sys.executable, "-m", "lmboot", "boot", "--payload", file],
        input="hello\n",
        text=True,
        capture_output=True,
        env=bench.env,
        check=True,
    )
    with at("boot", "--payload", file) as again:
        again.until("runtime started", "ready", PROMPT)
        again.enter(":quit")
        assert again.over() == 0
    Path(file).write_text(payload(ECHO + "# another"))
    with at("boot", "--payload", file) as other:
        other.until(ASK)
        other.type(CTRL_C)
        assert other.over() == 130

    assert ASK not in again.text
    assert "rt| you said hello" in piped.stdout


@pytest.mark.parametrize(("typed", "runs"), [("no border", True), ("yes", False), ("", False)])
def test_running_without_a_sandbox_wants_the_very_words(
    at: At, bench: Bench, typed: str, runs: bool
) -> None:
    file = bench.payload(ECHO)
    with at("boot", "--payload", file, "--sandbox", "none", "--yes") as screen:
        screen.until("can do whatever you can", "to run it all the same")
        screen.enter(typed)
        if runs:
            screen.until("runtime started in none", "ready")
            screen.enter(":quit")

        assert screen.over() == 0
    assert ("runtime started" in screen.text) == runs


CATCHES = """\
import sys
print("ready", flush=True)
while True:
    try:
        line = sys.stdin.readline()
        if not line:
            break
        print("you said " + line.strip(), flush=True)
        if line.strip() == "work":
            while True:
                pass
    except KeyboardInterrupt:
        print("caught it", flush=True)
"""


def test_control_c_interrupts_the_runtime_which_may_go_on(at: At, bench: Bench) -> None:
    file = bench.payload(CATCHES)
    with at("boot", "--payload", file) as screen:
        agreed(screen)
        screen.enter("work")
        screen.until("you said work", PROMPT)
        screen.type(CTRL_C)
        screen.until("caught it")
        screen.enter("again")
        screen.until("you said again")
        screen.type(CTRL_C)
        screen.until("caught it")
        screen.type(CTRL_D)

        assert screen.over() == 0


def test_control_d_is_not_lost_while_no_prompt_stands_there(at: At) -> None:
    """The answer is whole, and the server keeps the line open for some seconds."""
    with (
        running("silent_end", replies=[payload("print('r' + 'an')")]) as base,
        at("boot", "--server", base, *MODEL) as screen,
    ):
        screen.until("tokens")
        screen.type(CTRL_D)

        assert screen.over() == 0
        assert screen.end_of_file == CTRL_D.encode()
    assert ASK in screen.text
    assert "ran" not in screen.text


def test_control_and_space_is_no_way_out(at: At, bench: Bench) -> None:
    """Input methods of many people are switched on by it."""
    file = bench.payload(ECHO)
    with at("boot", "--payload", file) as screen:
        agreed(screen)
        screen.type("\0")
        screen.enter("hello")
        screen.until("you said", "hello")
        screen.enter(":quit")

        assert screen.over() == 0


def test_control_c_ends_a_runtime_that_does_not_catch_it(at: At, bench: Bench) -> None:
    file = bench.payload(ECHO)
    with at("boot", "--payload", file) as screen:
        agreed(screen)
        screen.type(CTRL_C)
        screen.until("KeyboardInterrupt", "runtime ended")
        screen.enter("anybody?")
        screen.until("the runtime has ended")
        screen.enter(":quit")

        assert screen.over() == 5


def test_commands_are_completed_and_lines_come_back(at: At, bench: Bench) -> None:
    file = bench.payload(ECHO)
    with at("boot", "--payload", file) as screen:
        agreed(screen)
        screen.enter("first")
        screen.until("you said first")
        screen.type(UP)
        screen.until("first")
        screen.enter("")
        screen.until("you said first")
        screen.type(":q")
        screen.until(":quit")
        screen.type(TAB)
        screen.until("uit")
        screen.enter("")

        assert screen.over() == 0


def test_a_model_is_asked_and_talked_to(at: At, bench: Bench) -> None:
    scripts = ["plain", "think", "stall", "cut", "plain"]
    replies = [payload(ECHO), "One.", "Two, " * 20, "Three.", "Four."]
    with (
        running(*scripts, replies=replies) as base,
        at("boot", "--server", base, *MODEL) as screen,
    ):
        agreed(screen)
        screen.enter(":ai hi")
        screen.until("One.", PROMPT)
        screen.enter(":ai more")
        screen.until("Two,")
        screen.type(CTRL_C)
        screen.until("interrupted", PROMPT)
        screen.enter(":ai and?")
        screen.until("lmboot:", PROMPT)
        screen.enter(":rt x")
        screen.until("you said x")
        screen.enter(":ai well?")
        screen.until("Four.")
        screen.enter(":quit")

        assert screen.over() == 3
    assert "Let me see" not in screen.text


def test_control_c_while_the_payload_streams_ends_with_130(at: At) -> None:
    with (
        running("stall", replies=[payload(ECHO)]) as base,
        at("boot", "--server", base, *MODEL) as screen,
    ):
        screen.until("tokens")
        screen.type(CTRL_C)

        assert screen.over() == 130


def test_control_c_breaks_off_only_a_new_bootstrap(at: At) -> None:
    replies = [payload(ECHO), payload(ECHO)]
    with (
        running("plain", "stall", replies=replies) as base,
        at("boot", "--server", base, *MODEL) as screen,
    ):
        agreed(screen)
        screen.enter(":ai ### RUNTIME_BOOTSTRAP ###")
        screen.until("tokens")
        screen.type(CTRL_C)
        screen.until("interrupted", PROMPT)
        screen.enter(":rt x")
        screen.until("you said x")
        screen.enter(":quit")

        assert screen.over() == 0


def test_a_new_payload_is_reviewed_and_may_be_declined(at: At) -> None:
    replies = [payload(ECHO), payload(ECHO + "# new")]
    with running("plain", replies=replies) as base, at("boot", "--server", base, *MODEL) as screen:
        agreed(screen)
        screen.enter(":ai ### RUNTIME_BOOTSTRAP ###")
        screen.until(ASK)
        screen.enter("n")
        screen.until("goes on as it was", PROMPT)
        screen.enter(":rt x")
        screen.until("you said x")
        screen.enter(":ai ### RUNTIME_BOOTSTRAP ###")
        agreed(screen)
        screen.enter(":quit")

        assert screen.over() == 0


def test_without_model_one_is_picked_from_the_list(at: At) -> None:
    with running("plain", replies=[payload(ECHO)]) as base, at("boot", "--server", base) as screen:
        listed = screen.until("Which model?")
        screen.enter("9")
        screen.until("Which model?")
        screen.enter("1")
        screen.until("Enter bootstraps tiny-4b")
        screen.enter("")
        agreed(screen)
        screen.enter(":quit")

        assert screen.over() == 0
    assert "acme/tiny-4b" in listed
    assert "embed" not in listed


def test_the_list_can_be_left(at: At) -> None:
    with running("plain") as base, at("boot", "--server", base) as screen:
        screen.until("Which model?")
        screen.enter("q")

        assert screen.over() == 0


def test_a_token_is_asked_for_where_one_is_wanted(at: At) -> None:
    with (
        running("plain", replies=[payload(ECHO)], token="sk-lm-1") as base,
        at("boot", "--server", base, *MODEL) as screen,
    ):
        screen.until("wants a token")
        screen.enter("sk-lm-1")
        agreed(screen)
        screen.enter(":quit")

        assert screen.over() == 0
    assert "sk-lm-1" not in screen.text


def test_a_wrong_token_is_asked_for_again_and_none_ends_it(at: At) -> None:
    with running(token="sk-lm-1") as base, at("boot", "--server", base, *MODEL) as screen:
        screen.until("wants a token")
        screen.enter("sk-lm-2")
        screen.until("wants a token")
        screen.enter("")

        assert screen.over() == 3


@pytest.mark.case(61, 62)
def test_a_hostile_runtime_can_not_draw_on_the_terminal(at: At, bench: Bench) -> None:
    program = "print('\\x1b]0;title\\x07\\x1b[2J\\x1b[31mred\\u202e!', flush=True)\ninput()"
    file = bench.payload(program)
    with at("boot", "--payload", file) as screen:
        screen.until(ASK)
        screen.enter("y")
        screen.until("runtime started", "red!")
        screen.enter(":quit")

        assert screen.over() == 0
    assert b"\x1b]0;title" not in screen._raw
    assert b"\x1b[31m" not in screen._raw.partition(b"runtime started")[2]


async def test_only_what_must_not_be_missed_is_red(capsys: pytest.CaptureFixture[str]) -> None:
    """Nobody can make the kernel keep a process at will, so this view is shown its event."""
    view = TerminalView()
    for event in ("unclean", "grant", None):
        await view.show(Shown("sys", f"of {event}\x1b[31m", event))
    await view.close()

    red, *others = capsys.readouterr().out.splitlines()
    assert red.endswith("\x1b[31mof unclean\x1b[0m")
    assert len(others) == 2
    assert not any("\x1b[31m" in line for line in others)


def test_plain_lmboot_is_the_terminal_session_and_says_so(at: At) -> None:
    with at() as screen:
        screen.until("Which model?")
        screen.enter("q")

        assert screen.over() == 0
