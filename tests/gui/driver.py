"""What a user of the window does, in words: used by every test that drives the whole program."""

from __future__ import annotations

from tests.gui.desktop import App
from tests.gui.server import Server


def at(server: Server) -> dict[str, str]:
    """Return the environment in which a program finds this server."""
    return {"LMSTUDIO_BASE_URL": server.base}


def panes(app: App, *wanted: str) -> list[str]:
    """Return what was shown in some panes, from the transcript."""
    return [shown["text"] for shown in app.transcripts() if shown["pane"] in wanted]


def wait_for(app: App, pane: str, text: str) -> None:
    """Wait until a text was shown in a pane."""
    app.wait_until(lambda: text in "".join(panes(app, pane)), f"{text!r} in {pane}")


def review(app: App) -> None:
    """Ask for a payload, and wait until it lies there to be read."""
    app.wait_title("ready|no server")
    app.key("ctrl+b")
    app.wait_title("review")


def agree(app: App) -> None:
    """Read to the end and agree; the button is armed only a second after it appeared."""

    def agreed() -> bool:
        app.key("ctrl+End", "ctrl+Return")
        return "review" not in app.title()

    app.wait_until(agreed, "the consent to be taken")


def run(app: App) -> None:
    """Bring a runtime up."""
    review(app)
    agree(app)
    app.wait_title("running")


def say(app: App, line: str) -> None:
    """Type a line."""
    app.type(line)
    app.key("Return")


def stop(app: App) -> None:
    """Stop the runtime."""
    app.key("ctrl+period")
    app.wait_title("ended")


def quit_politely(app: App) -> None:
    """Close the window while nothing runs; it must have nothing to complain about."""
    app.close()
    assert app.wait_end() == 0
    assert app.errors() == ""
