"""A desktop of its own for tests: a screen, a window manager, and lmboot on it as a program.

    with Desktop(tmp_path) as desktop:
        desktop.write_settings(theme="dark")
        app = desktop.start()
        app.wait_title("lmboot")
        app.key("ctrl+b")
        app.close()
        assert app.wait_end() == 0

Every program, and whatever it starts, is gone when the block is left, also by an exception.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar, cast

import psutil
import pytest

from tests.gui import xdnd
from tests.gui.kin import Kin, family
from tests.gui.xserver import Window, XServer

ROOT = Path(__file__).resolve().parents[2]
SCREEN = "1400x1000x24"
PATIENCE = 60.0 if os.environ.get("CI") else 20.0
TYPING_MS = 15  # between two keys, as a fast typist
PROGRAMS = ("Xvfb", "import", "openbox", "setpriv", "xdotool")
_UNTIL_WE_DIE = ("setpriv", "--pdeathsig", "TERM")  # a screen that goes takes its programs along
_KEPT = ("PATH", "COVERAGE_PROCESS_START", "CI")
_OPENBOX = """\
<?xml version="1.0" encoding="UTF-8"?>
<openbox_config xmlns="http://openbox.org/3.4/rc">
  <focus><focusNew>yes</focusNew></focus>
  <placement><policy>Smart</policy><monitor>Any</monitor></placement>
  <desktops><number>1</number><popupTime>0</popupTime></desktops>
  <keyboard/>
  <menu/>
</openbox_config>
"""  # an empty keyboard: none of the window manager's keys can swallow one of lmboot's

Found = TypeVar("Found")


def wait_until(
    condition: Callable[[], Found],
    what: str,
    tell: Callable[[], str] = str,
    over: Callable[[], bool] = lambda: False,
) -> Found:
    """Wait for a condition and return what it found; `over` says that waiting longer is vain."""
    end = time.monotonic() + PATIENCE
    while True:
        last = over() or time.monotonic() > end
        if found := condition():  # looked at once more after the end: it may have come just now
            return found
        if last:
            raise AssertionError(f"waited in vain for {what}\n{tell()}")
        time.sleep(0.02)


class App:
    """One program on a desktop: what a user could do to it, and what a user could see of it."""

    def __init__(self, desktop: Desktop, process: subprocess.Popen[bytes], name: str) -> None:
        self.process = process
        self._desktop = desktop
        self._home = desktop.home
        self._out = self._home / f"{name}.out"
        self._err = self._home / f"{name}.err"

    def wait_until(self, condition: Callable[[], Found], what: str) -> Found:
        """Wait for a condition; give up at once when the program has ended without it."""
        return wait_until(condition, what, self._tell, lambda: self.process.poll() is not None)

    def _tell(self) -> str:
        titles = [window.title for window in self.windows()]
        code = self.process.poll()
        state = "it runs" if code is None else f"it ended with {code}"
        shown = "\n".join(str(each) for each in self.transcripts()[-8:])
        return (
            f"{state}; windows: {titles}; shown last:\n{shown}\nstandard error:\n{self.errors()}"
        )

    def windows(self) -> list[Window]:
        """Return its windows on the screen, the main one first."""
        return self._desktop.server.windows(self.process.pid)

    def _main(self) -> Window | None:
        return next((window for window in self.windows() if not window.dialog), None)

    def main(self) -> Window:
        """Wait for its main window, and return it."""
        return cast(Window, self.wait_until(self._main, "a window"))

    def title(self) -> str:
        """Return the title of its main window, "" while there is none."""
        window = self._main()
        return window.title if window else ""

    def wait_title(self, pattern: str) -> str:
        """Wait until the title of its main window has a match, and return it."""

        def fitting() -> str:
            title = self.title()
            return title if re.search(pattern, title) else ""

        return self.wait_until(fitting, f"a title like {pattern!r}")

    def wait_dialog(self, pattern: str) -> Window:
        """Wait for another window of its own with such a title."""

        def fitting() -> list[Window]:
            others = (window for window in self.windows() if window.dialog)
            return [window for window in others if re.search(pattern, window.title)]

        return self.wait_until(fitting, f"a dialog like {pattern!r}")[0]

    def _take_keyboard(self) -> None:
        """Wait until a window of its own has the keyboard; without a manager, see to it."""
        desktop, main = self._desktop, self.main()
        if not desktop.manager and not desktop.server.has_keyboard(self.windows()):
            desktop.server.give_keyboard(main)
        self.wait_until(lambda: desktop.server.has_keyboard(self.windows()), "the keyboard")

    def key(self, *keys: str) -> None:
        """Press keys as xdotool names them ("ctrl+b", "Return"), when it has the keyboard."""
        self._take_keyboard()
        self._desktop.xdotool("key", "--clearmodifiers", "--delay", str(TYPING_MS), *keys)

    def type(self, text: str) -> None:
        """Type a text into what has the keyboard; a desktop has keys for 19 strange letters."""
        self._take_keyboard()
        self._desktop.server.teach_keyboard(text)
        self._desktop.xdotool("type", "--clearmodifiers", "--delay", str(TYPING_MS), "--", text)

    def click(self, x: int, y: int, *, button: int = 1, times: int = 1) -> None:
        """Click at a place of its main window, counted from the upper left of its contents."""
        self.point(x, y)
        self._desktop.xdotool("click", "--repeat", str(times), "--delay", "40", str(button))

    def point(self, x: int, y: int) -> None:
        """Move the mouse to a place of its main window."""
        window = str(self.main().number)
        self._desktop.xdotool("mousemove", "--sync", "--window", window, str(x), str(y))

    def drop(self, x: int, y: int, *paths: str | Path) -> str:
        """Drag files from a file manager to a place of its main window; "" if they are refused."""
        left, top = self._desktop.server.place(self.main())
        return xdnd.drop(self._desktop.display, left + x, top + y, xdnd.uri_list(*paths))

    def close(self) -> None:
        """Ask its main window to close, as a click on the cross does; it may ask back."""
        self._desktop.server.ask_to_close(self.main())

    def wait_end(self) -> int:
        """Wait until it has ended by itself, and return its exit code."""
        wait_until(lambda: self.process.poll() is not None, "its end", self._tell)
        return self.process.wait()

    def kill(self) -> None:
        """End it as a crash would; what it started is left to itself until the block ends."""
        self.process.kill()
        self.process.wait()

    def family(self) -> list[psutil.Process]:
        """Return the program and all beneath it, as far as they run."""
        return [] if self.process.poll() is not None else family(psutil.Process(self.process.pid))

    def screenshot(self, path: Path) -> Path:
        """Keep a picture of the whole screen, and return its path."""
        return self._desktop.screenshot(path)

    def picture(self, path: Path, window: Window | None = None) -> Path:
        """Keep a picture of a window without its frame, of the main one at first."""
        return self._desktop.screenshot(path, str((window or self.main()).number))

    def transcripts(self) -> list[dict[str, Any]]:
        """Return the newest transcript as far as it is on the disk; [] before there is any."""
        files = list((self._home / "state" / "lmboot" / "transcripts").glob("*.jsonl"))
        if not files:
            return []
        text = max(files, key=lambda file: file.stat().st_mtime_ns).read_text("utf-8")
        whole = text[: text.rfind("\n") + 1]  # it may be in the middle of the next line
        return [json.loads(line) for line in whole.splitlines()]

    def output(self) -> str:
        """Return what it wrote to its standard output so far."""
        return self._out.read_text("utf-8", "replace")

    def errors(self) -> str:
        """Return what it wrote to its standard error so far."""
        return self._err.read_text("utf-8", "replace")


class Desktop:
    """A screen that only its own programs stand on; `home` may be changed between two starts."""

    def __init__(self, folder: Path, *, manager: bool = True, screen: str = SCREEN) -> None:
        self.home = folder / "home"
        self.home.mkdir()
        self._folder = folder
        self.manager, self._screen = manager, screen
        self._count = 0
        self._stack = ExitStack()
        self._kin = Kin()

    def __enter__(self) -> Desktop:
        missing = [name for name in PROGRAMS if shutil.which(name) is None]
        if missing:
            pytest.skip(f"not installed: {', '.join(missing)}")
        with ExitStack() as stack:
            self.display = self._start_screen(stack)
            self.server = XServer(self.display)
            stack.callback(self.server.close)
            if self.manager:
                self._start_manager(stack)
            stack.enter_context(self._kin)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stack.close()

    def _start_screen(self, stack: ExitStack) -> str:
        read, write = os.pipe()
        server = [
            "Xvfb",
            "-displayfd",
            str(write),
            "-screen",
            "0",
            self._screen,
            "-nolisten",
            "tcp",
        ]
        command = [*_UNTIL_WE_DIE, *server]
        with os.fdopen(read) as pipe:
            process = subprocess.Popen(command, pass_fds=[write], stderr=subprocess.DEVNULL)
            stack.callback(_end, process)
            os.close(write)
            number = pipe.readline().strip()
        assert number, "Xvfb did not start"
        return f":{number}"

    def _start_manager(self, stack: ExitStack) -> None:
        config = self._folder / "openbox.xml"
        config.write_text(_OPENBOX)
        command = ["openbox", "--sm-disable", "--config-file", str(config)]
        with (self._folder / "openbox.err").open("wb") as err:
            process = subprocess.Popen(command, env=self.environment(), stdout=err, stderr=err)
        stack.callback(_end, process)
        wait_until(self.server.managed, "openbox", over=lambda: process.poll() is not None)

    def environment(self) -> dict[str, str]:
        """Return the variables of a program here: folders of its own, and nobody's keyring."""
        env = {name: os.environ[name] for name in _KEPT if name in os.environ}
        for name in ("cache", "config", "data", "state"):
            env[f"XDG_{name.upper()}_HOME"] = str(self.home / name)
        return env | {
            "DISPLAY": self.display,
            "HOME": str(self.home),
            "LANG": "C.UTF-8",
            "PYTHONPATH": str(ROOT),
            "PYTHON_KEYRING_BACKEND": "keyring.backends.null.Keyring",
        }

    def write_settings(self, **window: object) -> Path:
        """Write settings.toml with these keys of [window] and nothing else, and return it."""
        file = self.home / "config" / "lmboot" / "settings.toml"
        file.parent.mkdir(parents=True, exist_ok=True)
        lines = [f"{name} = {json.dumps(value)}" for name, value in window.items()]
        file.write_text("\n".join(["[window]", *lines, ""]), "utf-8")
        return file

    def start(
        self,
        *arguments: str,
        env: Mapping[str, str] | None = None,
        scale: float | None = None,
        command: Sequence[str] = (sys.executable, "-m", "lmboot"),
    ) -> App:
        """Start lmboot, or another command, with these arguments."""
        self._count += 1
        name = f"{self._count}-{Path(command[0]).name}"
        scaled = {"LMBOOT_SCALE": str(scale)} if scale else {}
        whole = self.environment() | scaled | dict(env or {})
        process = self._kin.start([*command, *arguments], env=whole, folder=self.home, name=name)
        return App(self, process, name)

    def living(self) -> list[psutil.Process]:
        """Return all processes that were started here and still run, orphans included."""
        return self._kin.living()

    def xdotool(self, *words: str) -> str:
        """Run xdotool here, and return what it printed."""
        return self._tool("xdotool", *words)

    def screenshot(self, path: Path, window: str = "root") -> Path:
        """Keep a picture of the whole screen, or of a window, and return its path."""
        self._tool("import", "-silent", "-window", window, str(path))
        return path

    def _tool(self, *command: str) -> str:
        done = subprocess.run(
            command, env=self.environment(), capture_output=True, text=True, timeout=PATIENCE
        )
        assert done.returncode == 0, f"{command}: {done.stderr}"
        return done.stdout


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a server in good order: one that is killed leaves its lock behind."""
    process.terminate()
    try:
        process.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
