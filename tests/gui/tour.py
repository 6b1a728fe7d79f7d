"""A walk through every state of the real program that can be held, with a picture of each."""

from __future__ import annotations

import json
import subprocess
from itertools import cycle
from pathlib import Path
from time import monotonic

from lmboot.bootstrap.prompts import TRIGGER
from tests.gui.desktop import App, Desktop
from tests.gui.driver import at, quit_politely, say, wait_for
from tests.gui.server import Server

NOTEBOOK = '''\
"""A notebook that answers line by line."""
import json
import signal
import sys

from guest_sys import call

signal.signal(signal.SIGTERM, signal.SIG_IGN)
notes = json.loads(open("data/seed.json").read())


def answer(line):
    verb, _, rest = line.partition(" ")
    if verb == "add":
        notes.append(rest)
        return f"added #{len(notes)}  {rest}"
    if verb == "sync":
        return call("fetch", url=rest)
    if verb == "list":  # one line a note
        return "\\n".join(f"#{n}  {note}" for n, note in enumerate(notes, 1))
    return "add, list or sync?"


print("notebook 1.2 ready", flush=True)
for line in sys.stdin:
    try:
        print(answer(line.strip()), flush=True)
    except OSError as error:
        print(f"warning: {error}", file=sys.stderr, flush=True)
while True:
    signal.pause()
'''
ROUTES = {"fs.open": "EMULATE", "fs.write_text": "EMULATE", "fetch": "DENY"}


def notebook(code: str = NOTEBOOK, name: str = "notebook", **files: str) -> str:
    """Return a reply as a good model writes it."""
    manifest = {"name": name, "version": "1.2", "routes": ROUTES}
    whole = {
        "README.md": f"# {name}\n",
        "data/seed.json": '["sharpen the plane"]\n',
        "main.py": code,
    }
    listed = [{"path": path, "content": text} for path, text in (whole | files).items()]
    return json.dumps(
        {"manifest": manifest, "files": listed, "entrypoint": "python main.py"}, indent=1
    )


ANSWER = (
    "Two things, most likely: the length of the shelf before the planks are cut, and the glue "
    "that has to dry overnight."
)
NOWHERE = 600, 16  # right of the menus
ADDRESS = 180, 56  # where the server's address stands, at scale 1
LIVELY = 5  # pictures of what never comes to rest
REJECTED = notebook().replace('"README.md"', '"../README.md"').replace('"1.2"', "1.2, 7")
CRASHES = 'print("soon", flush=True)\nraise MemoryError("no room for the notes")\n'
HIDES = NOTEBOOK + '\nprivate = "a\u202eb\u200bc"  # what is hidden is written out\n'

# what a picture shows -> the title of the main window then
TITLES = {
    "first use": "lmboot — ready",
    "no server": "lmboot — no server",
    "found later": "lmboot — ready",
    "token": "lmboot — no model",
    "token refused": "lmboot — no model",
    "ready": "lmboot — ready",
    "loading": "lmboot — loading",
    "streaming": "lmboot — streaming",
    "stalled": "lmboot — stalled",
    "rejected": "lmboot — rejected",
    "review": "lmboot — review",
    "review of hidden": "lmboot — review",
    "running": "lmboot — running — notebook",
    "hints": "lmboot — running — notebook",
    "words found": "lmboot — running — notebook",
    "log": "lmboot — running — notebook",
    "audit": "lmboot — running — notebook",
    "record": "lmboot — running — notebook",
    "settings": "lmboot — running — notebook",
    "question": "lmboot — running — notebook",
    "help": "lmboot — running — notebook",
    "replacing": "lmboot — replacing",
    "stopping": "lmboot — stopping — notebook",
    "ended": "lmboot — ended — notebook",
    "kept": "lmboot — ready",
    "crashed": "lmboot — crashed — notebook",
}


def identified(path: Path, what: str) -> str:
    """Return something about a picture, as ImageMagick names it: "%k" is the count of colours."""
    command = ["identify", "-format", what, str(path)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


class Tour:
    """Goes through the states of a program on a desktop; `titles` are those it saw."""

    def __init__(self, desktop: Desktop, pictures: Path, scale: float | None = None) -> None:
        self.titles: dict[str, str] = {}
        self._desktop, self._pictures, self._scale = desktop, pictures, scale

    def picture(self, name: str) -> Path:
        """Return where the picture of a state is kept."""
        return self._pictures / f"{name.replace(' ', '-')}.png"

    def whole(self, *, stalled: bool = False) -> None:
        """Take every picture; a stalled model takes its 15 seconds."""
        self.first_use()
        self.no_server()
        self.token()
        with Server("plain", replies=["Ready."]) as server:
            server.look.piece_characters = 24
            app = self._start(server)
            self.asking(app, server, stalled=stalled)
            self.judging(app, server)
            self.talking(app, server)
            self.ending(app, server)
            quit_politely(app)

    def _start(self, server: Server | None = None, base: str = "") -> App:
        """Start it, and take the mouse to where nothing answers to it."""
        env = at(server) if server else {"LMSTUDIO_BASE_URL": base} if base else {}
        app = self._desktop.start(env=env, scale=self._scale)
        app.point(*NOWHERE)
        return app

    def _shoot(self, app: App, name: str, dialog: str = "", tries: int = LIVELY) -> None:
        """Take a picture when two are the same; what goes on for ever is taken as it is."""
        if dialog:
            app.wait_dialog(dialog)
        self.titles[name] = app.title()
        path, before = self.picture(name), ""
        for _ in range(tries):
            (app.screenshot if dialog else app.picture)(path)
            now = identified(path, "%#")
            if now == before:
                break
            before = now

    def first_use(self) -> None:
        app = self._start()
        app.wait_title("ready")
        self._shoot(app, "first use")
        quit_politely(app)

    def _remember_that_it_was_used(self) -> None:
        """Let it begin as it does for those who know it: with what is missing."""
        (self._desktop.home / "state" / "lmboot" / "window.json").write_text('{"seen": true}')

    def no_server(self) -> None:
        self._remember_that_it_was_used()
        app = self._start(base="http://127.0.0.1:9")
        app.wait_title("no server")
        self._shoot(app, "no server")
        with Server("plain") as server:
            times = self._scale or 1
            app.click(round(ADDRESS[0] * times), round(ADDRESS[1] * times), times=3)
            say(app, server.base)
            app.wait_title("ready")
            app.point(*NOWHERE)
            self._shoot(app, "found later")
            quit_politely(app)

    def token(self) -> None:
        with Server("plain", token="open-sesame") as server:
            app = self._start(server)
            app.wait_title("no model")
            self._shoot(app, "token")
            before = len(server.look.requests) + 1
            say(app, "open sesame")
            app.wait_until(lambda: len(server.look.requests) > before, "another try")
            self._shoot(app, "token refused")
            quit_politely(app)

    def asking(self, app: App, server: Server, *, stalled: bool) -> None:
        app.wait_title("ready")
        self._shoot(app, "ready")
        self._ask(app, server, "hold")
        app.wait_title("loading")
        self._shoot(app, "loading")
        self._cancel(app)
        self._ask(app, server, "trickle")
        app.wait_title("streaming")
        began = monotonic()
        app.wait_until(lambda: monotonic() > began + 3, "some of the reply")
        self._shoot(app, "streaming")
        self._cancel(app)
        if stalled:
            self._ask(app, server, "stall")
            app.wait_title("stalled")
            self._shoot(app, "stalled")
            self._cancel(app)

    def _ask(self, app: App, server: Server, script: str, *replies: str) -> None:
        server.play(script, replies=replies or [notebook()])
        app.key("ctrl+b")

    def _cancel(self, app: App) -> None:
        app.key("Escape")
        app.wait_title("ready")

    def judging(self, app: App, server: Server) -> None:
        self._ask(app, server, "plain", REJECTED)
        app.wait_title("rejected")
        self._shoot(app, "rejected")
        self._cancel(app)
        self._ask(app, server, "plain", notebook(HIDES))
        app.wait_title("review")
        self._shoot(app, "review of hidden")
        self._cancel(app)
        self._ask(app, server, "plain")
        app.wait_title("review")
        self._shoot(app, "review")

    def talking(self, app: App, server: Server) -> None:
        self._agree(app)
        app.wait_title("running")
        app.key("ctrl+l")  # the last key of the consent may have come after it was taken
        server.play("plain", replies=[ANSWER])
        for line in (":rt add buy oak planks", "sync https://example.org/notes", "list"):
            say(app, line)
        wait_for(app, "rt", "#2  buy oak planks")
        say(app, ":ai what else would a carpenter write down today?")
        wait_for(app, "ai", ANSWER[-10:])
        self._shoot(app, "running")
        app.type(":r")
        typed = monotonic()
        app.wait_until(lambda: monotonic() > typed + 0.5, "what can follow")
        self._shoot(app, "hints")
        app.key("BackSpace", "BackSpace", "ctrl+f")
        app.type("oak")
        self._shoot(app, "words found")
        app.key("Escape", "ctrl+4")
        self._shoot(app, "log")
        app.key("F6", "shift+Tab", "Right")  # from the filter to the two parts, and to the second
        self._shoot(app, "audit")
        app.key("F6", "F6", "Home", "Down")  # the filter, the table, its second record
        self._shoot(app, "record")
        app.key("ctrl+1", "ctrl+l", "ctrl+comma")
        self._shoot(app, "settings", dialog="ettings")
        app.key("Escape")
        self._gone(app)
        app.key("F1")
        self._shoot(app, "help", dialog="lmboot")
        app.key("Escape")
        self._gone(app)
        app.close()
        self._shoot(app, "question", dialog="lmboot")
        app.key("Escape")
        self._gone(app)

    def _gone(self, app: App) -> None:
        app.wait_until(lambda: len(app.windows()) == 1, "the dialog to go")

    def _agree(self, app: App) -> None:
        """Read one file after the other to its end, and agree as soon as that can be done."""
        way = cycle(["Up"] * 3 + ["Down"] * 3)

        def agreed() -> bool:
            app.key("ctrl+End", "ctrl+Return")
            if "review" in app.title():
                app.key("F6", next(way), "F6")
            return "review" not in app.title()

        app.wait_until(agreed, "the consent to be taken")

    def ending(self, app: App, server: Server) -> None:
        server.play("plain", replies=[notebook(name="other")])
        say(app, f":ai {TRIGGER}")
        app.wait_title("replacing")
        self._shoot(app, "replacing")
        app.key("Escape")
        app.wait_title("running")
        app.key("ctrl+period")
        app.wait_title("stopping")
        self._shoot(app, "stopping", tries=1)  # two seconds at most
        app.wait_title("ended")
        self._shoot(app, "ended")
        say(app, ":quit")
        app.wait_title("ready")
        self._shoot(app, "kept")
        self._ask(app, server, "plain", notebook(CRASHES))
        app.wait_title("review")
        self._agree(app)
        app.wait_title("crashed")
        self._shoot(app, "crashed")
