"""Draws README's pictures of the window: the real program with the seed model, driven by keys.

.venv/bin/python assets/screenshots/make.py

Needs what the window's tests need: Xvfb, openbox, xdotool and ImageMagick. Better fonts than
DejaVu are taken when they are installed, as by the window itself.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path
from time import monotonic

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1]))  # the tests are no part of an installed lmboot

from tests.gui.desktop import App, Desktop  # noqa: E402
from tests.gui.driver import agree, quit_politely, say, stop, wait_for  # noqa: E402

NOWHERE = 600, 16  # where nothing answers to the mouse
ARMED_SECONDS = 1.5  # after which the button that agrees is armed, once all was seen
COLOURS = 250  # of a palette: enough for the edges of letters
MOST_BYTES = 150_000
# What is typed, and what must then stand in which pane.
TALK = (
    (":rt help", "rt", "calc EXPR"),
    (":rt write notes.txt buy oak planks", "rt", "wrote notes.txt"),
    (":rt cat notes.txt", "rt", "buy oak planks"),
    (":rt calc 6 * 7", "rt", "42"),
    (":ai what can you do?", "ai", "."),
)


def make(theme: str, folder: Path) -> None:
    """Take both pictures in one of the two themes."""
    with Desktop(folder) as desktop:
        desktop.write_settings(theme=theme)
        app = desktop.start()
        app.wait_title("ready")
        app.point(*NOWHERE)
        app.key("ctrl+b")
        app.wait_title("review")
        read(app)
        keep(app, f"review-{theme}", folder)
        agree(app)
        app.wait_title("running")
        talk(app)
        keep(app, f"session-{theme}", folder)
        stop(app)
        quit_politely(app)


def read(app: App) -> None:
    """Go to the end of the one file and back, until the button that agrees is armed."""
    app.key("ctrl+End")
    seen = monotonic()
    app.wait_until(lambda: monotonic() > seen + ARMED_SECONDS, "the button to be armed")
    app.key("ctrl+Home")


def talk(app: App) -> None:
    """Talk with the program and its model."""
    wait_for(app, "rt", "AI-RT> ready")
    for line, pane, answer in TALK:
        say(app, line)
        wait_for(app, pane, answer)


def keep(app: App, name: str, folder: Path) -> None:
    """Take a picture of the window at rest, and keep it beside this script as a small file."""
    picture = at_rest(app, folder)
    target = HERE / f"{name}.png"
    command = ["convert", str(picture), "-strip", "+dither", "-colors", str(COLOURS)]
    subprocess.run([*command, f"PNG8:{target}"], check=True)
    size = target.stat().st_size
    print(f"{target.name}: {size:,} bytes")
    if size > MOST_BYTES:
        sys.exit(f"{target.name} is larger than {MOST_BYTES:,} bytes")


def at_rest(app: App, folder: Path) -> Path:
    """Return a picture of the window that was the same for a while."""
    picture, before, since = folder / "picture.png", b"", monotonic()

    def same_for_a_while() -> bool:
        nonlocal before, since
        app.picture(picture)
        now = pixels(picture)
        if now != before:
            before, since = now, monotonic()
        return monotonic() > since + 0.4

    app.wait_until(same_for_a_while, "the window to come to rest")
    return picture


def pixels(picture: Path) -> bytes:
    """Return what tells two pictures apart, but for the seconds that the status line counts."""
    command = ["convert", str(picture), "-gravity", "south", "-chop", "0x44", "rgb:-"]
    return subprocess.run(command, capture_output=True, check=True).stdout


def main() -> None:
    """Draw all pictures."""
    for theme in ("light", "dark"):
        with tempfile.TemporaryDirectory() as folder:
            make(theme, Path(folder))


if __name__ == "__main__":
    main()
