"""The whole program on a screen: real keys, real engine, real sandbox."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from lmboot.assets import asset
from tests.cli.program import ECHO, payload
from tests.connections.lookalike import Served
from tests.gui.desktop import Desktop
from tests.gui.driver import agree, at, panes, quit_politely, review, run, say, stop, wait_for
from tests.gui.server import Server

pytestmark = [pytest.mark.sandbox, pytest.mark.engine]

SLOW = """\
import time
print("ready", flush=True)
while True:
    try:
        time.sleep(0.05)
    except KeyboardInterrupt:
        print("interrupted", flush=True)
"""
FORKS = """\
import os, time
for _ in range(3):
    if os.fork() == 0:
        os.setsid()
        time.sleep(1000)
print("ready", flush=True)
time.sleep(1000)
"""


@pytest.fixture
def desktop(tmp_path: Path) -> Iterator[Desktop]:
    with Desktop(tmp_path) as desktop:
        yield desktop
        assert desktop.living() == []


def test_a_newcomer_gets_from_the_seed_model_to_a_talk_and_out_again(desktop: Desktop) -> None:
    app = desktop.start()
    app.wait_title("ready")  # the seed model is chosen, no server is needed
    app.key("space")  # the button Bootstrap has the keyboard
    app.wait_title("review")
    agree(app)
    app.wait_title("running — seed-shell")
    wait_for(app, "rt", "AI-RT> ready")

    say(app, ":rt help")
    wait_for(app, "rt", "calc EXPR")
    say(app, ":ai what can you do?")
    wait_for(app, "ai", "demonstration")
    say(app, ":rt calc 6*7")
    wait_for(app, "rt", "42")
    say(app, ":quit")

    app.wait_title("ended")
    wait_for(app, "sys", "runtime ended")
    quit_politely(app)


def test_what_was_agreed_to_can_be_run_again_at_once(desktop: Desktop) -> None:
    with Server("plain", replies=[payload(ECHO)]) as server:
        app = desktop.start(env=at(server))
        run(app)
        stop(app)

        say(app, ":restart")

        app.wait_title("running — test")
        say(app, "once more")
        wait_for(app, "rt", "you said once more")
        assert len(server.look.chats) <= 2  # warming, and the one question
        stop(app)
        quit_politely(app)


def test_a_reply_that_is_no_payload_is_mended_when_the_user_wants(desktop: Desktop) -> None:
    replies = ["no"] * 4 + [payload(ECHO)]  # warming, the question, two rounds of repair
    with Server("plain", replies=replies) as server:
        app = desktop.start(env=at(server))
        app.wait_title("ready")
        app.key("ctrl+b")
        app.wait_title("rejected")
        asked = len(server.look.chats)

        app.key("space")  # the button that asks the model to mend it has the keyboard

        app.wait_title("review")
        since = [chat["messages"] for chat in server.look.chats[asked:]]
        question = next(turns for turns in since if len(turns) > 2)  # the others only warm
        assert [turn["role"] for turn in question] == ["system", "user", "assistant", "user"]
        assert question[2]["content"] == "no"
        agree(app)
        app.wait_title("running")
        stop(app)
        quit_politely(app)


def test_an_asking_can_be_cancelled_while_it_loads(desktop: Desktop) -> None:
    with Server("hold", replies=[payload(ECHO)], models=[Served(loaded=False)]) as server:
        app = desktop.start(env=at(server))
        app.wait_title("ready")
        app.key("ctrl+b")
        app.wait_title("loading")
        server.asked()

        app.key("Escape")

        app.wait_title("ready")
        server.disconnected()
        quit_politely(app)


def test_an_asking_can_be_cancelled_while_it_streams(desktop: Desktop) -> None:
    with Server("trickle", replies=[payload(ECHO)]) as server:
        app = desktop.start(env=at(server))
        app.wait_title("ready")
        app.key("ctrl+b")
        app.wait_title("streaming")

        app.key("Escape")

        app.wait_title("ready")
        server.disconnected()
        quit_politely(app)


def test_ctrl_c_interrupts_the_runtime_and_stop_ends_it(desktop: Desktop) -> None:
    with Server("plain", replies=[payload(SLOW)]) as server:
        app = desktop.start(env=at(server))
        run(app)
        wait_for(app, "rt", "ready")

        app.key("ctrl+c")
        wait_for(app, "rt", "interrupted")
        app.key("ctrl+period")

        app.wait_title("ended")
        quit_politely(app)


def test_a_crash_is_told_as_such(desktop: Desktop) -> None:
    with Server(
        "plain", replies=[payload("print('soon', flush=True)\nraise SystemExit(3)")]
    ) as server:
        app = desktop.start(env=at(server))
        review(app)
        agree(app)

        app.wait_title("crashed")

        wait_for(app, "sys", "runtime ended with status 3")
        quit_politely(app)


def test_closing_asks_while_something_runs_and_leaves_nothing(desktop: Desktop) -> None:
    with Server("plain", replies=[payload(FORKS)]) as server:
        app = desktop.start(env=at(server))
        run(app)
        wait_for(app, "rt", "ready")

        app.close()
        app.wait_dialog("lmboot")
        app.key("Escape")
        app.wait_until(lambda: len(app.windows()) == 1, "the question to go")
        assert "running" in app.title()
        app.close()
        app.wait_dialog("lmboot")
        app.close()

        assert app.wait_end() == 0
        assert app.errors() == ""


def test_a_model_file_is_named_on_the_command_line(desktop: Desktop) -> None:
    app = desktop.start(str(asset("seed/seed.gguf")))
    app.wait_title("ready")
    run(app)
    wait_for(app, "rt", "AI-RT> ready")
    stop(app)
    quit_politely(app)


def test_a_model_file_is_dropped_onto_the_window(desktop: Desktop, tmp_path: Path) -> None:
    file = tmp_path / "mein schönes Modell.gguf"
    file.symlink_to(asset("seed/seed.gguf"))
    app = desktop.start()
    app.wait_title("ready")

    assert app.drop(200, 300, file) != ""
    run(app)

    wait_for(app, "rt", "AI-RT> ready")
    stop(app)
    quit_politely(app)


def test_a_file_that_is_no_model_is_told_and_nothing_else_happens(
    desktop: Desktop, tmp_path: Path
) -> None:
    file = tmp_path / "no.gguf"
    file.write_bytes(b"PK\x03\x04" + bytes(100))
    app = desktop.start()
    app.wait_title("ready")
    app.drop(200, 300, file)
    app.wait_title("ready")
    quit_politely(app)


def test_a_server_that_wants_a_token_is_given_it_right_there(desktop: Desktop) -> None:
    with Server("plain", replies=[payload(ECHO)], token="open-sesame") as server:
        app = desktop.start(env=at(server))
        app.wait_title("no model")

        say(app, "open-sesame")

        app.wait_title("ready")
        run(app)
        say(app, "hello")
        wait_for(app, "rt", "you said hello")
        stop(app)
        quit_politely(app)


WANTS = """\
import guest_sys
for line in iter(input, ""):
    try:
        print(guest_sys.call("env", name=line), flush=True)
    except OSError as error:
        print(type(error).__name__, error, flush=True)
"""


def test_what_a_program_wants_is_asked_of_the_person_at_the_window(desktop: Desktop) -> None:
    with Server("plain", replies=[payload(WANTS, routes={"env": "HOST"})]) as server:
        app = desktop.start(env={**at(server), "TREE": "oak", "BUSH": "elder"})
        run(app)
        say(app, ":rt TREE")

        def answered(*keys: str, text: str) -> bool:
            app.key(*keys)
            return text in "".join(panes(app, "rt"))

        app.wait_until(lambda: answered("Escape", text="is not granted"), "the refusal")
        say(app, ":rt BUSH")
        # The keyboard on No, from there to Once; before that is armed, no key grants anything.
        granting = ("ctrl+j", "Tab", "space")
        app.wait_until(lambda: answered(*granting, text="elder"), "the grant")
        assert "oak" not in "".join(panes(app, "rt"))
        stop(app)
        quit_politely(app)
