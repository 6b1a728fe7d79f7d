"""Files dropped onto the window: what is taken from them, and real drags from another program."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import tkinter as tk
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lmboot.gui.drop import files_in
from tests.gui import xdnd
from tests.gui.desktop import App, Desktop

PROGRAM = """
import json, sys, tkinter as tk
from lmboot.gui.drop import accept_files

root = tk.Tk(className="Lmboot")
root.geometry("400x300+100+100")
tk.Text(root, width=30, height=5).pack()
tk.Entry(root).pack()

def took(files):
    print(json.dumps(files), flush=True)
    if any("bad" in file for file in files):
        raise ValueError("bad file")

exec(sys.argv[1])
print(json.dumps(accept_files(root, took)), flush=True)
root.title("ready")
root.mainloop()
"""
TEXT, ENTRY, EMPTY = (50, 50), (200, 95), (20, 250)
SPLIT = tk.Tcl().splitlist


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ("/tmp/a.gguf", ["/tmp/a.gguf"]),
        ("/tmp/a.gguf /tmp/b.gguf", ["/tmp/a.gguf", "/tmp/b.gguf"]),
        ("{/tmp/my model.gguf} /tmp/b.gguf", ["/tmp/my model.gguf", "/tmp/b.gguf"]),
        ("{/tmp/a {brace}.gguf}", ["/tmp/a {brace}.gguf"]),
        (r"/tmp/one\{brace", ["/tmp/one{brace"]),
        (r"/tmp/a\ \}\ \"quote\".gguf", ['/tmp/a } "quote".gguf']),
        ("{/tmp/a\nline.gguf}", ["/tmp/a\nline.gguf"]),
        ("/tmp/größe/模型🦙.gguf", ["/tmp/größe/模型🦙.gguf"]),
        ("/tmp/50%20off.gguf", ["/tmp/50%20off.gguf"]),  # a path is not decoded once more
        ("{/tmp/[exit] $HOME.gguf}", ["/tmp/[exit] $HOME.gguf"]),
        ("file:///tmp/my%20model.gguf", ["/tmp/my model.gguf"]),
        ("file:///tmp/gr%C3%B6%C3%9Fe%25.gguf", ["/tmp/größe%.gguf"]),
        ("file:/tmp/a.gguf", ["/tmp/a.gguf"]),
        ("FILE:///tmp/a.gguf", ["/tmp/a.gguf"]),
        ("file:///tmp/a#b?c.gguf", ["/tmp/a#b?c.gguf"]),
        ("file://localhost/tmp/a.gguf", ["/tmp/a.gguf"]),
        (f"file://{socket.gethostname()}/tmp/a.gguf", ["/tmp/a.gguf"]),
        (f"{socket.gethostname()}/tmp/a.gguf", ["/tmp/a.gguf"]),  # what tkdnd makes of it
        ("file:///tmp/%FF.gguf", ["/tmp/\udcff.gguf"]),  # as Python names what is not UTF-8
        ("/tmp/a.gguf https://example.org/b.gguf", ["/tmp/a.gguf"]),
        ("", []),
        ("hello world", []),
        ("a.gguf ./b.gguf ../c.gguf", []),
        ("https://example.org/a.gguf", []),
        ("file://elsewhere/tmp/a.gguf", []),
        ("file:", []),
        ("file://", []),
        ("file://[::1", []),
        ("file:///tmp/%00.gguf", []),
        ("{/tmp/never closed", []),
        ("{/tmp/a}b", []),
    ],
)
def test_paths_are_taken_and_all_else_is_left(data: str, expected: list[str]) -> None:
    assert files_in(data, SPLIT) == expected


@pytest.fixture(scope="module", params=["with a window manager", "without one"])
def desktop(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Desktop]:
    manager = request.param == "with a window manager"
    with Desktop(tmp_path_factory.mktemp("desktop"), manager=manager) as desktop:
        yield desktop


@pytest.fixture
def home(desktop: Desktop, tmp_path: Path) -> Path:
    desktop.home = tmp_path
    return tmp_path


def started(desktop: Desktop, prelude: str = "") -> App:
    app = desktop.start(command=[sys.executable, "-c", PROGRAM, prelude])
    app.wait_title("ready")
    return app


def taken(app: App, times: int) -> list[Any]:
    """Return what came out of so many drops, when they have arrived."""
    app.wait_until(lambda: len(app.output().splitlines()) > times, f"{times} drops")
    return [json.loads(line) for line in app.output().splitlines()[1:]]


def end(app: App) -> None:
    app.close()
    assert app.wait_end() == 0


def test_real_files_arrive_wherever_they_are_let_go(desktop: Desktop, home: Path) -> None:
    first, second = home / "größtes Modell {1} [x] $HOME 50%.gguf", home / "模型 🦙.gguf"
    for path in (first, second):
        path.write_bytes(b"GGUF")

    app = started(desktop)
    answers = [app.drop(*place, first, second) for place in (TEXT, ENTRY, EMPTY)]

    assert answers == ["XdndActionCopy"] * 3
    arrived = taken(app, 3)
    assert arrived == [[str(first), str(second)]] * 3
    assert all(Path(path).read_bytes() == b"GGUF" for files in arrived for path in files)
    end(app)
    assert app.errors() == ""


def test_what_is_no_file_is_refused_and_the_next_file_is_taken(
    desktop: Desktop, home: Path
) -> None:
    app = started(desktop)
    x, y = (300, 250)

    text = xdnd.drop(desktop.display, x, y, b"/etc/passwd", ["UTF8_STRING", "text/plain"])
    page = xdnd.drop(desktop.display, x, y, b"https://example.org/a.gguf\r\n")
    rubbish = xdnd.drop(desktop.display, x, y, b'\xff\xfe{ \\ "\r\n')

    assert (text, page, rubbish) == ("", "", "")
    assert app.drop(*EMPTY, "/tmp/a.gguf") == "XdndActionCopy"
    assert taken(app, 1) == [["/tmp/a.gguf"]]
    end(app)
    assert app.errors() == ""


def test_a_fault_in_what_is_done_with_a_file_does_not_end_dropping(
    desktop: Desktop, home: Path
) -> None:
    app = started(desktop)

    answers = [app.drop(*EMPTY, name) for name in ("/tmp/bad.gguf", "/tmp/good.gguf")]

    assert answers == ["XdndActionCopy"] * 2
    assert taken(app, 2) == [["/tmp/bad.gguf"], ["/tmp/good.gguf"]]
    end(app)
    assert "ValueError: bad file" in app.errors()


def test_a_program_that_hands_nothing_over_does_no_harm(desktop: Desktop, home: Path) -> None:
    app = started(desktop)

    assert xdnd.drop(desktop.display, 300, 250, None) == ""

    assert app.drop(*EMPTY, "/tmp/a.gguf") == "XdndActionCopy"
    assert taken(app, 1) == [["/tmp/a.gguf"]]
    assert [window.title for window in app.windows()] == ["ready"]  # and no box with an error
    end(app)
    assert app.errors() == ""


SHOW_LATER = """
def show():
    root.update()
    print("seen" if root.winfo_ismapped() else "hidden", file=sys.stderr)
    root.deiconify()

root.withdraw()
root.after(0, show)
"""


def test_a_window_that_is_hidden_stays_hidden_and_takes_files_once_it_is_shown(
    desktop: Desktop, home: Path
) -> None:
    app = started(desktop, SHOW_LATER)

    assert app.drop(*EMPTY, "/tmp/a.gguf") == "XdndActionCopy"
    assert taken(app, 1) == [["/tmp/a.gguf"]]
    end(app)
    assert app.errors() == "hidden\n"


NO_TARGETS = """
root.tk.call("namespace", "eval", "tkdnd", "proc drop_target {args} {error {no targets}}")
root.tk.call("package", "provide", "tkdnd", "2")
"""
NO_FILE = """
import tkinterdnd2.TkinterDnD as library
library._require = lambda root: open("/nowhere/libtkdnd.so")
"""
BROKEN = {  # what is wrong with the library, and what is said of it
    "sys.modules['tkinterdnd2'] = None": "tkinterdnd2",
    "import platform; platform.machine = lambda: 'vax'": "not supported",
    "import tkinterdnd2.TkinterDnD as t; t.__file__ = '/no/t.py'": "can't find package tkdnd",
    NO_TARGETS: "no targets",
    NO_FILE: "No such file",
}


@pytest.mark.parametrize("fault", BROKEN)
def test_without_a_library_that_works_a_line_says_why_and_the_window_lives(
    desktop: Desktop, home: Path, fault: str
) -> None:
    app = started(desktop, fault)

    (why,) = (json.loads(line) for line in app.output().splitlines())
    assert why.startswith("files can't be dropped onto the window: ")
    assert BROKEN[fault] in why
    assert "\n" not in why
    end(app)
    assert app.errors() == ""


def test_the_library_is_not_imported_before_it_is_asked_for() -> None:
    program = "import lmboot.gui.drop, sys; sys.exit('tkinterdnd2' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
