"""Makes README's pictures of the window: `python assets/screenshots/make.py`, from the repository.

The real program runs on a display of its own with the seed model; what is seen is what happened.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parents[1]))

from tests.gui.desktop import App, Desktop  # noqa: E402
from tests.gui.driver import agree, review, say, wait_for  # noqa: E402

COLOURS = 250  # a palette of that many is a third of the size, and nobody sees it
LINES = (
    (":rt help", "rt", "calc EXPR"),
    (":rt write notes.txt buy oak planks", "rt", "wrote notes.txt"),
    (":rt cat notes.txt", "rt", "buy oak planks"),
    (":rt calc 6 * 7", "rt", "42"),
    (":ai what can you do?", "ai", "."),
)


def picture(desktop: Desktop, app: App, name: str) -> None:
    """Keep what the window shows, without the window manager's frame."""
    file = HERE / name
    window = str(app.main().number)
    desktop.xdotool("mousemove", "1", "1")
    few = ["+dither", "-colors", str(COLOURS), f"PNG8:{file}"]
    command = ["import", "-silent", "-window", window, *few]
    subprocess.run(command, env=desktop.environment(), check=True)
    sys.stdout.write(f"{file.name} {file.stat().st_size / 1000:.0f} kB\n")


def pictures(theme: str) -> None:
    """Go through one session, and keep its review and its talk."""
    with tempfile.TemporaryDirectory() as folder, Desktop(Path(folder)) as desktop:
        desktop.write_settings(theme=theme)
        app = desktop.start()
        review(app)
        app.key("ctrl+Home")
        picture(desktop, app, f"review-{theme}.png")
        agree(app)
        app.wait_title("running")
        wait_for(app, "rt", "AI-RT> ready")
        for line, pane, answer in LINES:
            say(app, line)
            wait_for(app, pane, answer)
        app.wait_until(lambda: len(app.transcripts()) > len(LINES) * 2, "the answers")
        picture(desktop, app, f"session-{theme}.png")
        app.key("ctrl+period")
        app.wait_title("ended")
        app.close()
        app.wait_end()


if __name__ == "__main__":
    for each in ("light", "dark"):
        pictures(each)
