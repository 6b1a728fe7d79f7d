"""The rig for tests of the window from outside, with a small program in the window's place."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.gui import desktop as rig
from tests.gui.desktop import App, Desktop, wait_until
from tests.gui.kin import Kin

PROGRAM = """
import sys, tkinter as tk

root = tk.Tk(className="Lmboot")
root.geometry("600x300")
text = tk.StringVar()
text.trace_add("write", lambda *_: root.title(f"typed: {text.get()}"))
entry = tk.Entry(root, textvariable=text, width=60)
entry.place(x=20, y=20)
entry.focus_set()

def seen(_):  # before, it takes no keys
    entry.unbind("<Visibility>")
    root.title("ready")

entry.bind("<Visibility>", seen)
button = tk.Button(root, text="Press", command=lambda: root.title("pressed"))
button.place(x=300, y=200, width=100, height=40)
root.bind("<Control-b>", lambda _: root.title("control b"))
root.bind("<F5>", lambda _: root.title("f5"))

def ask(_):
    box = tk.Toplevel(root)
    box.title("Are you sure?")
    box.transient(root)
    box.bind("<Return>", lambda _: (box.destroy(), root.title("answered")))
    box.focus_force()

root.bind("<Control-d>", ask)
exec(sys.argv[1])
root.mainloop()
"""
LEAVE_AN_ORPHAN = """
import subprocess
nap = "import os, time; os.setsid(); time.sleep(600)"
lose = f"import subprocess, sys; print(subprocess.Popen([sys.executable, '-c', {nap!r}],"
lose += "stdout=subprocess.DEVNULL).pid)"
print(subprocess.check_output([sys.executable, "-c", lose], text=True), flush=True)
"""


@pytest.fixture(params=["with a window manager", "without one"])
def desktop(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Desktop]:
    with Desktop(tmp_path, manager=request.param == "with a window manager") as desktop:
        yield desktop


@pytest.fixture
def bare(tmp_path: Path) -> Iterator[Desktop]:
    with Desktop(tmp_path, manager=False) as desktop:
        yield desktop


def started(desktop: Desktop, *prelude: str) -> App:
    app = desktop.start("\n".join(prelude), command=[sys.executable, "-c", PROGRAM])
    app.wait_title("ready")
    return app


def test_what_is_typed_arrives_letter_by_letter(desktop: Desktop) -> None:
    text = """:ai größe ÄÖÜ € 日本 "quotes" 'x' | -- $HOME \\n"""
    app = started(desktop)

    app.type(text)

    app.wait_until(lambda: app.title() == f"typed: {text}", "the text")


def test_keys_and_clicks_reach_the_program(desktop: Desktop) -> None:
    app = started(desktop)

    app.key("ctrl+b")
    app.wait_title("^control b$")
    app.key("F5")
    app.wait_title("^f5$")
    app.click(350, 220)

    assert app.wait_title("^pressed$") == "pressed"


def test_a_dialog_is_found_and_answered(desktop: Desktop) -> None:
    app = started(desktop)

    app.key("ctrl+d")
    box = app.wait_dialog("sure")
    app.wait_until(lambda: desktop.server.has_keyboard([box]), "the dialog's keyboard")
    app.key("Return")

    app.wait_title("^answered$")
    app.wait_until(lambda: len(app.windows()) == 1, "the dialog to go")


def test_a_polite_close_lets_the_program_end_itself(desktop: Desktop) -> None:
    app = started(desktop, "import atexit; atexit.register(print, 'bye')")

    app.close()

    assert app.wait_end() == 0
    assert (app.output(), app.errors()) == ("bye\n", "")
    assert desktop.living() == []


def test_a_program_may_refuse_to_close(desktop: Desktop) -> None:
    app = started(desktop, "root.protocol('WM_DELETE_WINDOW', lambda: root.title('not yet'))")

    app.close()

    assert app.wait_title("not yet")
    assert app.process.poll() is None


def test_a_kill_leaves_no_time_for_words(bare: Desktop) -> None:
    app = started(bare)

    app.kill()

    assert app.wait_end() == -signal.SIGKILL
    assert app.windows() == []
    assert bare.living() == []


def test_a_picture_shows_what_is_on_the_screen(desktop: Desktop, tmp_path: Path) -> None:
    blank = colours(desktop.screenshot(tmp_path / "blank.png"))
    app = started(desktop)
    app.type("words")
    app.wait_title("typed: words")

    shown = colours(app.screenshot(tmp_path / "shown.png"))

    assert blank == (1, "1400x1000")
    assert shown[0] > 10
    assert shown[1] == "1400x1000"


def colours(picture: Path) -> tuple[int, str]:
    """Return how many colours a picture has, and its size."""
    command = ["identify", "-format", "%k %wx%h", str(picture)]
    count, size = subprocess.run(command, capture_output=True, text=True).stdout.split()
    return int(count), size


def test_two_programs_on_one_screen_are_told_apart(bare: Desktop) -> None:
    apps = [started(bare), started(bare)]

    apps[1].key("ctrl+b")

    apps[1].wait_title("control b")
    assert apps[0].title() == "ready"
    assert [len(app.windows()) for app in apps] == [1, 1]


def test_a_wait_in_vain_tells_title_and_errors(
    bare: Desktop, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = started(bare, "print('oh dear', file=sys.stderr, flush=True)")
    monkeypatch.setattr(rig, "PATIENCE", 0.2)

    with pytest.raises(AssertionError) as failure:
        app.wait_title("never")

    for words in ("a title like 'never'", "it runs", "['ready']", "oh dear"):
        assert words in str(failure.value)


def test_nobody_waits_for_a_program_that_has_ended(bare: Desktop) -> None:
    app = bare.start(command=[sys.executable, "-c", "raise SystemExit('no display')"])

    with pytest.raises(AssertionError, match=r"(?s)ended with 1.*no display"):
        app.wait_title("ready")


def test_orphans_are_seen_and_end_with_the_desktop(tmp_path: Path) -> None:
    with Desktop(tmp_path, manager=False) as desktop:
        app = started(desktop, LEAVE_AN_ORPHAN)
        orphan = int(app.output())
        app.close()
        app.wait_end()

        assert [each.pid for each in desktop.living()] == [orphan]

    assert not psutil.pid_exists(orphan)


def test_all_is_gone_even_when_a_test_fails(tmp_path: Path) -> None:
    before = {child.pid for child in psutil.Process().children(recursive=True)}
    desktop = Desktop(tmp_path)

    def fails() -> None:
        with desktop:
            started(desktop, LEAVE_AN_ORPHAN)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fails()

    assert {child.pid for child in psutil.Process().children(recursive=True)} <= before
    number = desktop.display.removeprefix(":")
    assert not Path(f"/tmp/.X{number}-lock").exists()
    assert not Path(f"/tmp/.X11-unix/X{number}").exists()


def test_all_is_gone_even_when_the_tests_are_killed(tmp_path: Path) -> None:
    tests = "import sys; from tests.gui.test_desktop import *; stand(Path(sys.argv[1]))"
    env = {**os.environ, "PYTHONPATH": str(rig.ROOT)}

    with Kin() as kin:
        command = [sys.executable, "-c", tests, str(tmp_path)]
        process = kin.start(command, env=env, folder=tmp_path, name="tests")
        wait_until((tmp_path / "tests.out").read_text, "the program on its desktop")
        assert len(kin.living()) == 4
        process.kill()
        wait_until(lambda: not kin.living(), "the end of them all")


def stand(folder: Path) -> None:
    """Be a test that does not end: a screen, a window manager and a program."""
    with Desktop(folder) as desktop:
        print(started(desktop).title(), flush=True)
        signal.pause()


def test_processes_of_others_are_left_alone(tmp_path: Path) -> None:
    with subprocess.Popen(["sleep", "600"]) as before, Kin():
        with subprocess.Popen(["sleep", "600"]) as meanwhile:
            with Kin() as kin:
                assert kin.living() == []
            assert (before.poll(), meanwhile.poll()) == (None, None)
            meanwhile.terminate()
        before.terminate()


def test_lmboot_itself_runs_in_folders_of_its_own(bare: Desktop) -> None:
    file = bare.write_settings(theme="dark", server="localhost:1", scale=1.5)
    program = "import lmboot.app.places as p; s = p.places(); print(s.settings, s.transcripts)"

    places = bare.start(program, command=[sys.executable, "-c"])
    version = bare.start("--version", scale=2, env={"LANG": "C"})

    assert (places.wait_end(), version.wait_end()) == (0, 0)
    assert version.output().startswith("lmboot")
    assert places.output().split()[0] == str(file)
    assert tomllib.loads(file.read_text()) == {
        "window": {"theme": "dark", "server": "localhost:1", "scale": 1.5}
    }


def test_the_newest_transcript_is_read_as_far_as_it_is_whole(bare: Desktop) -> None:
    app = bare.start("pass", command=[sys.executable, "-c"])
    assert app.transcripts() == []
    folder = bare.home / "state" / "lmboot" / "transcripts"
    folder.mkdir(parents=True)
    for number, name in enumerate(("b.jsonl", "a.jsonl")):
        (folder / name).write_text(json.dumps({"text": name}) + '\n{"text": "hal')
        os.utime(folder / name, (number, number))

    assert app.transcripts() == [{"text": "a.jsonl"}]
    assert app.wait_end() == 0


def test_waiting_returns_what_was_found() -> None:
    found = iter([0, "", [], 7])

    assert wait_until(lambda: next(found), "seven") == 7
