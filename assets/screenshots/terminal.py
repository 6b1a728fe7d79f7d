"""Draws README's picture: the real terminal session, driven by keys. Needs tmux.

.venv/bin/python assets/screenshots/terminal.py
"""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import TerminalTheme
from rich.text import Text

TMUX = shutil.which("tmux") or sys.exit("tmux is not installed")
COLUMNS, LINES = 96, 30
SECONDS = 30
THEME = TerminalTheme(
    (27, 30, 36),
    (214, 219, 228),
    [(27, 30, 36), (224, 108, 117), (126, 200, 140), (229, 192, 123),
     (97, 175, 239), (198, 120, 221), (86, 190, 200), (171, 178, 191)],
)  # fmt: skip
# What is typed, and what must then stand on the screen.
STEPS = (
    ("y", "AI-RT> ready"),
    (":rt calc 6 * 7", "│ 42"),
    (":rt write notes.txt it stays in memory", "wrote notes.txt"),
    (":rt ls", "│ notes.txt"),
    (":rt fetch https://example.org", "│ error:"),
    (":ai is this safe?", "ai │"),
)


def tmux(*words: str) -> str:
    """Run one tmux command on a server of our own."""
    done = subprocess.run([TMUX, "-L", "lmboot-picture", *words], capture_output=True, text=True)
    return done.stdout


def wait_for(text: str) -> None:
    """Wait until the screen shows a text."""
    deadline = time.monotonic() + SECONDS
    while text not in tmux("capture-pane", "-p"):
        if time.monotonic() > deadline:
            sys.exit(f"the screen never showed {text!r}:\n{tmux('capture-pane', '-p')}")
        time.sleep(0.1)


def session(folder: str) -> str:
    """Drive a session and return its last screen with its colours."""
    homes = [f"XDG_{kind}_HOME={folder}" for kind in ("DATA", "STATE", "CONFIG", "CACHE")]
    program = f"{sys.executable} -m lmboot boot --model seed"
    command = f"env {' '.join(homes)} {program}; read -r _"
    tmux("new-session", "-d", "-x", str(COLUMNS), "-y", str(LINES), command)
    wait_for("Write and run it?")
    for typed, shown in STEPS:
        tmux("send-keys", "-l", typed)
        tmux("send-keys", "Enter")
        wait_for(shown)
    time.sleep(1)  # the answer's last words
    screen = tmux("capture-pane", "-p", "-e")
    tmux("kill-server")
    return screen


def main() -> None:
    """Write the picture beside this script."""
    os.environ.setdefault("TERM", "xterm-256color")
    with tempfile.TemporaryDirectory() as folder:
        screen = session(folder)
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True)
    console.print(Text.from_ansi(screen.rstrip("\n")))
    target = Path(__file__).with_name("terminal.svg")
    console.save_svg(str(target), title="lmboot", theme=THEME)


if __name__ == "__main__":
    main()
