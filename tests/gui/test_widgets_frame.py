from __future__ import annotations

import shutil
import subprocess
import tkinter as tk
from collections.abc import Callable, Iterator
from pathlib import Path
from tkinter import ttk

import pytest

from lmboot.gui.frame import Frame, build_frame
from lmboot.gui.lastline import Run
from lmboot.gui.look import Look
from lmboot.gui.modellist import NOTE
from lmboot.gui.textstyle import FOLDED, Style
from lmboot.gui.widgets import nothing
from tests.gui import tkroot

ROWS = (
    ("1", "qwen2.5-7b-instruct", "● loaded", "Q4_K_M", "4.7 GB", "32,768"),
    ("2", "llama-3.1-8b-instruct", "○ available", "Q5_K_M", "5.7 GB", "131,072"),
    ("3", "phi-3-mini-4k", "? unknown", "—", "2.2 GB", "—"),
    ("4", "seed", "○ available", "F16", "4.1 MB", "2,048"),
)
BORDERS = ("No network of its own", "Your files stay invisible", "512 MB memory, 64 processes")
CODE = '"""Answers."""\n\n\ndef answer(line: str) -> str:\n    return line.upper()\n'
TALK = (
    ("sys", "Runtime started in bubblewrap: 3 files, sha256 9c41 e7d0"),
    ("rt", "notebook 1.2 ready"),
    ("you", ":ai what else would a carpenter write down today?"),
    (
        "ai",
        "Two things, most likely: the length of the shelf before the planks are cut, and glue.",
    ),
    ("rt!", "warning: sync skipped, fetch is denied"),
)
PRESSES = (("Stop", nothing, True), ("Interrupt", nothing, False))


def everywhere(frame: Frame) -> None:
    frame.menus.set({"File": [("Open .gguf…", "Ctrl+O", nothing), None], "Help": []})
    frame.server.address = "http://127.0.0.1:1234"
    frame.server.show_state("ok", "connected")
    frame.models.show(ROWS)
    frame.models.select("1")
    frame.models.show_hint(True)
    frame.details.show([("Model", "qwen2.5-7b-instruct"), ("State", "loaded")])
    frame.status.show("ok", "Ready", "5 models")


def idle(frame: Frame) -> None:
    kept = [("notebook 1.2", "3 files  ·  2 days ago", ("Start again", nothing, True))]
    frame.session.welcome.show("qwen2.5-7b-instruct", "Loaded.", kept=kept)


def no_server(frame: Frame) -> None:
    frame.session.show("card")
    actions = [("Retry now", nothing, True), ("Change address", nothing, True)]
    frame.session.card.show(
        "LM Studio did not answer",
        ["Nothing answers at 127.0.0.1:1234 (connection refused). lmboot goes on trying."],
        [*actions, ("How to start it", nothing, True)],
        command="lms server start",
    )
    frame.session.card.focus_first()


def crashed(frame: Frame) -> None:
    frame.session.show("card")
    quote = "Traceback (most recent call last):\nMemoryError"
    actions = [("Run again", nothing, True), ("Open log", nothing, True)]
    frame.session.card.show("Runtime stopped", ["Killed by signal 9."], actions, quote=quote)


def talking(frame: Frame) -> None:
    frame.show_side(False)
    frame.session.show("talk")
    runs = [Run("green ", Style(2)), Run("long " * 60), Run("\n", FOLDED), Run("goes on\n")]
    talk = [(pane, [Run(words + "\n")]) for pane, words in TALK]
    frame.session.transcript.insert_batch([*talk, ("rt", runs)])
    frame.session.entry.typed = ":r"
    frame.session.entry.show_hints([(":rt TEXT", "one line to the program", "Tab")])
    frame.status.set_actions(PRESSES)


def streaming(frame: Frame) -> None:
    frame.tabs.show("Payload")
    frame.payload.start("Writing the payload")
    frame.payload.show_facts(
        [("812", "of 4096 tokens"), ("~41", "tokens / s"), ("0:20", "elapsed")]
    )
    frame.payload.show_progress(0.2)
    frame.payload.show_speeds([2, 30, 41, 40, 43])
    frame.payload.show_files([("README.md", "0.1 KB", True), ("main.py", "writing", False)])
    frame.payload.show_manifest([("Name", "notebook")])
    frame.payload.append('{"manifest": {"name": "notebook", "version": 1}, ')
    frame.details.show_button("Bootstrapping…", enabled=False)
    frame.status.set_actions([("Cancel", nothing, True)])


def review(frame: Frame) -> None:
    frame.show_side(False)
    frame.tabs.show("Files")
    frame.files.show("review")
    frame.files.review.show(
        [("data/seed.json", "0.1 KB", '["oak"]\n'), ("main.py", "0.7 KB", CODE * 12)],
        question="Write 2 files and run  python main.py  in the sandbox?",
        facts=[("Runtime", "notebook 1.2"), ("SHA-256", "9c41e7d052ab6f18 53f0a9e1c2d4b6a7")],
        routes=[("fs.open", "EMULATE"), ("query_model", "HOST"), ("code.exec_python", "DENY")],
        borders=BORDERS,
        warnings=["main.py calls native code (ctypes)"],
        flags={"main.py": [5]},
        first="main.py",
    )


def problems(frame: Frame) -> None:
    frame.tabs.show("Files")
    frame.files.show("problems")
    found = [("path_escapes", "files[2].path", "The path leaves the folder: ../x", 3)]
    actions = [("Save…", nothing, True), ("Retry", nothing, True), ("Repair", nothing, True)]
    frame.files.problems.show("Payload rejected", "Nothing was written.", found, CODE, actions)


def log(frame: Frame) -> None:
    frame.tabs.show("Log")
    frame.log.add([("12:00:01", "server", "5 models"), ("12:00:04", "error", "no memory " * 20)])


STATES: dict[str, Callable[[Frame], None]] = {
    each.__name__: each
    for each in (idle, no_server, crashed, talking, streaming, review, problems, log)
}
SIZES = {"usual": (1040, 700), "least": (720, 480)}


@pytest.fixture(params=[1.0, 2.0], ids=["scale-1", "scale-2"])
def frame(request: pytest.FixtureRequest, session_root: tk.Tk) -> Iterator[Frame]:
    """A window of its own: a scale belongs to a root for good."""
    root = tk.Tk(className="Lmboot")
    raised: list[object] = []
    root.report_callback_exception = lambda kind, error, where: raised.append(error)
    root.withdraw()
    made = build_frame(root, Look(root, "light", request.param))
    everywhere(made)
    yield made
    root.destroy()
    assert raised == []


def picture(frame: Frame, path: Path) -> None:
    """Take a picture of the window, where the machine has a program for it."""
    camera = shutil.which("import")
    if camera:
        window = frame.root.winfo_toplevel().frame()
        subprocess.run([camera, "-window", window, str(path)], check=True, timeout=30)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("state", STATES)
def test_nothing_is_cut_off_in_any_state(
    frame: Frame, tmp_path: Path, state: str, size: str
) -> None:
    look, root = frame.look, frame.root
    wide, high = (look.px(length) for length in SIZES[size])
    root.geometry(f"{wide}x{high}+0+0")
    STATES[state](frame)
    root.deiconify()
    tkroot.settle(root)

    for theme in ("light", "dark"):
        look.use(theme)
        tkroot.settle(root)
        picture(frame, tmp_path / f"{state}-{theme}-{look.scale}-{size}.png")

        assert tkroot.clipped(root) == []


def test_a_window_comes_to_rest(frame: Frame) -> None:
    """Layouts that answer each other could go on for ever."""
    frame.root.deiconify()
    for state in STATES.values():
        state(frame)
        tkroot.settle(frame.root)
    tkroot.settle(frame.root)
    changes: list[str] = []
    frame.root.bind_all("<Configure>", lambda event: changes.append(str(event.widget)))

    tkroot.settle(frame.root)

    assert changes == []


HOSTILE = {"wide": "W" * 4000, "words": "WWWW " * 800, "option": "-displayof" * 400}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_no_text_of_strangers_takes_the_models_rows(
    frame: Frame, tmp_path: Path, text: str
) -> None:
    look, root = frame.look, frame.root
    root.geometry("{}x{}+0+0".format(*(look.px(length) for length in SIZES["least"])))
    frame.models.show([(str(number), text, text, text, text, text) for number in range(20)])
    frame.server.show_state("ok", text)
    names = ("Model", "State", "Context", "Family", "From")
    frame.details.show([(name, text) for name in names])
    frame.status.show("ok", "Ready", text)
    root.deiconify()
    tkroot.settle(root)
    picture(frame, tmp_path / f"{text[:5]}-{look.scale}.png")

    tree, row = frame.models.tree, frame.models.tree.bbox("5")
    assert row
    assert int(row[1]) + int(row[3]) <= tree.winfo_height()
    assert tree.item("5", "text").endswith("…")
    assert tkroot.clipped(root) == []
    assert tkroot.outside(root) == []


def test_what_is_known_of_a_model_can_be_scrolled_to_in_a_low_window(frame: Frame) -> None:
    frame.root.geometry("{}x{}+0+0".format(*(frame.look.px(each) for each in SIZES["least"])))
    frame.root.deiconify()
    frame.details.show([(name, "words") for name in ("Model", "State", "Context", "Family")])
    tkroot.settle(frame.root)
    names = [each for each in tkroot.mapped(frame.details) if each.winfo_class() == "TLabel"]
    last = max(names, key=lambda each: each.winfo_rooty())
    before = last.winfo_rooty()

    last.event_generate("<Button-5>")
    tkroot.settle(frame.root)

    assert last.winfo_rooty() < before


def test_a_high_window_shows_all_that_is_known(frame: Frame) -> None:
    frame.root.geometry("{}x{}+0+0".format(*(frame.look.px(each) for each in SIZES["usual"])))
    frame.root.deiconify()
    frame.details.show([(name, "words") for name in ("Model", "State", "Context", "Family")])
    tkroot.settle(frame.root)

    low = frame.details.winfo_rooty() + frame.details.winfo_height()
    labels = [each for each in tkroot.mapped(frame.details) if each.winfo_class() == "TLabel"]
    words = [str(each.cget("text")) for each in labels if isinstance(each, ttk.Label)]
    assert words == [
        "Model",
        "words",
        "State",
        "words",
        "Context",
        "words",
        "Family",
        "words",
        NOTE,
    ]
    assert max(each.winfo_rooty() + each.winfo_height() for each in labels) <= low
    assert "or drop a .gguf file here" in shown_words(frame.models)


def test_the_usual_window_has_room_for_the_models_states(frame: Frame) -> None:
    frame.root.geometry("{}x{}+0+0".format(*(frame.look.px(each) for each in SIZES["usual"])))
    frame.root.deiconify()
    tkroot.settle(frame.root)

    shown = frame.root.tk.splitlist(frame.models.tree["displaycolumns"])

    assert shown == ("state", "quant", "size")


def shown_words(widget: tk.Misc) -> list[str]:
    return [
        str(each.cget("text")) for each in tkroot.mapped(widget) if isinstance(each, ttk.Label)
    ]


def filled(frame: Frame) -> list[str]:
    """Return the words of the filled buttons on the screen."""
    tkroot.settle(frame.root)
    buttons = [each for each in tkroot.mapped(frame.root) if each.winfo_class() == "TButton"]
    return [str(each["text"]) for each in buttons if ".Accent." in str(each["style"])]


def test_the_question_for_a_token_has_the_only_filled_button(frame: Frame) -> None:
    frame.root.deiconify()
    before = filled(frame)
    frame.session.token.show("http://127.0.0.1:1234", "It refused the one before.")
    frame.session.show("token")
    asked = filled(frame)
    frame.tabs.show("Log")
    elsewhere = filled(frame)
    frame.tabs.show("Session")
    again = filled(frame)

    frame.session.show("welcome")

    assert before == elsewhere == filled(frame) == ["Bootstrap"]
    assert asked == again == ["Use the token"]


def test_the_models_leave_and_come_back_with_their_width(frame: Frame) -> None:
    frame.root.geometry(f"{frame.look.px(1040)}x{frame.look.px(700)}")
    frame.root.deiconify()
    tkroot.settle(frame.root)
    wide = frame.models.winfo_width()

    frame.show_side(False)
    tkroot.settle(frame.root)
    hidden = frame.models.winfo_viewable()
    frame.show_side(True)
    tkroot.settle(frame.root)

    assert not hidden
    assert frame.side_shown
    assert frame.models.winfo_width() == wide
