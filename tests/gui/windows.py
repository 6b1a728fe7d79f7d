"""The real window with nobody behind it: a test tells it what a worker would, and reads it.

with Stand() as stand:
    reach(stand, State.REVIEW)
    assert stand.title == "lmboot — review"
    stand.press("Back")
    assert stand.calls == [("answer", ANSWER, False)]
"""

from __future__ import annotations

import inspect
import tkinter as tk
from collections.abc import Callable
from tkinter import ttk
from types import TracebackType
from typing import Any, NamedTuple, cast

from lmboot.app.desk import Desk
from lmboot.connections.interface import Model
from lmboot.gui import messages as m
from lmboot.gui.backstage import Backstage
from lmboot.gui.lastline import Run
from lmboot.gui.look import Look
from lmboot.gui.memory import Memory
from lmboot.gui.modelrows import model_row
from lmboot.gui.outbox import Outbox
from lmboot.gui.recordreader import RecordReader
from lmboot.gui.state import Action, State
from lmboot.gui.window import Window
from lmboot.gui.worker import Job, Worker
from lmboot.settings import Settings
from tests.gui.tkroot import drawn_words, mapped, settle, wait_until

SERVER = "http://127.0.0.1:1234"
LOADED = Model(
    id="acme/tiny-4b",
    name="tiny-4b",
    server=SERVER,
    kind="lmstudio",
    state="loaded",
    context=32_768,
    quantization="Q4_K_M",
    architecture="qwen2",
    size_bytes=4_700_000_000,
)
LARGE = Model(
    id="acme/large-70b", name="large-70b", server=SERVER, kind="lmstudio", state="available"
)
SEED = Model(id="seed", name="seed", server="", kind="seed", state="available", context=2048)
SEED_FILE = Model(
    id="/models/mein Modell.gguf",
    name="mein Modell.gguf",
    server="/models/mein Modell.gguf",
    kind="file",
    state="available",
)
ROWS = [model_row(model) for model in (LOADED, LARGE, SEED)]
ANSWER = object()  # stands for the future that waits for the user's answer
FILES = (
    ("data/notes.json", "0.1 kB", '["oak"]\n'),
    ("main.py", "2.1 kB", "".join(f"print({number})\n" for number in range(200))),
)
READY = m.Ready(
    {**Settings().by_name(), "path": "settings.toml", "transcripts_path": "transcripts"},
    history="",
    has_lms=False,
)
LISTED = m.Listed(ROWS, 2, [(SERVER, "LM Studio")], [])
ONLY_SEED = m.Listed(ROWS[-1:], 0, [], [])
WRITING = m.Writing(12_400, 812, 41.2, 0.83, 0, [("README.md", 120), ("main.py", 640)])
REFUSED = m.Refused(
    [
        ("path_escapes", "files[2].path", "The path leaves the folder: ../x", 3),
        ("missing", "manifest.name", "A name is missing", None),
    ],
    reply="{\n",
    shown="{\n",
)
CONSENT = m.ConsentWanted(
    name="notebook",
    summary="notebook · 2 files",
    question="Write 2 files and run  python3 main.py  in bubblewrap?",
    files=FILES,
    facts=[
        ("Program", "notebook 1.2"),
        ("Written by", "acme/tiny-4b"),
        ("Command", "python3 main.py"),
        ("Sandbox", "bubblewrap"),
        ("SHA-256", "9c41e7d0 52ab6f18 53f0a9e1 c2d4b6a7 9c41e7d0 52ab6f18 53f0a9e1 c2d4b6a7"),
    ],
    routes=[("fs.open", "EMULATE"), ("query_model", "HOST"), ("all others", "DENY")],
    borders=["No network of its own", "Your files stay invisible"],
    warnings=["main.py calls native code (ctypes)"],
    flags={"main.py": [5]},
    first="main.py",
    agreed_before=False,
    sandbox="bubblewrap",
    reply='{"manifest": …}',
    answer=ANSWER,
)
STARTED = m.Happened("started", "runtime started in bubblewrap", {})


def ended(code: int) -> m.Happened:
    return m.Happened("ended", f"runtime ended with status {code}", {"code": code})


AHEAD = ("desk.choose", "prepare")  # a model is opened, and what a first session needs is imported
USED = Memory(seen=True)  # lmboot was used before


class Mark(NamedTuple):
    """No message of a worker's: once it was handled, all before it was too."""


class Calls:
    """Stands for the worker's side: notes what it is asked, refuses what the real one has not."""

    def __init__(self, real: type, noted: list[tuple[object, ...]], front: str = "") -> None:
        self._real, self._noted, self._front = real, noted, front

    def __getattr__(self, name: str) -> Callable[..., None]:
        method = inspect.getattr_static(self._real, name)
        alone = isinstance(method, staticmethod)

        def note(*arguments: object) -> None:
            whole = arguments if alone else (self, *arguments)
            inspect.signature(method.__func__ if alone else method).bind(*whole)
            self._noted.append((self._front + name, *arguments))

        return note


class Stage(Calls):
    """Stands for the backstage, its desk and its reader of logs."""

    def __init__(self, noted: list[tuple[object, ...]]) -> None:
        super().__init__(Backstage, noted)
        self.desk = Calls(Desk, noted, "desk.")
        self.records = Calls(RecordReader, noted, "records.")


class Idler(Worker):
    """A worker without a thread: what is posted is carried out at once, by a stand-in."""

    def __init__(self, outbox: Outbox[m.Message]) -> None:
        super().__init__(outbox)
        self.calls: list[tuple[object, ...]] = []
        self._stage = cast(Backstage, Stage(self.calls))

    def start(self) -> None:
        """Do nothing by itself."""

    def post(self, job: Job) -> None:
        job(self._stage)


class Stand:
    """One window in a root of its own: a scale belongs to a root for good."""

    def __init__(self, *, scale: float = 1.0, theme: str = "light", memory: Memory = USED) -> None:
        self.root = tk.Tk(className="Lmboot")
        self.root.withdraw()
        self.look = Look(self.root, theme, scale)
        self.seconds = 0.0  # only a test lets time pass
        self.window = Window(self.root, self.look, memory, clock=self._clock)
        self.window.worker = self._worker = Idler(self.window.outbox)
        self.errors: list[BaseException] = []
        self.may_fail = False
        self._marks = 0
        self.window.take({Mark: self._marked})
        self._tell_error = self.root.report_callback_exception
        self.root.report_callback_exception = self._failed

    def _clock(self) -> float:
        return 1000.0 + self.seconds

    def _marked(self, _: Mark) -> None:
        self._marks += 1

    def _failed(self, kind: Any, error: BaseException, where: Any) -> None:
        self.errors.append(error)
        self._tell_error(kind, error, where)

    def __enter__(self) -> Stand:
        self.root.deiconify()
        wait_until(self.root, self.root.winfo_viewable)
        self.root.focus_force()
        self.window.start()
        self.tell(READY)
        self.forget_calls()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        log = self.log
        self.window.stop_ticking()  # a timer would outlive its root in this process
        self.root.destroy()
        if error is None and not self.may_fail:
            assert self.errors == []
            assert "an error in lmboot itself" not in log

    def timers(self) -> list[str]:
        """The names of the functions that Tk will call later."""
        call = self.root.tk.call
        split = self.root.tk.splitlist
        scripts = [
            str(split(call("after", "info", each))[0]) for each in split(call("after", "info"))
        ]
        return [script.lstrip("0123456789") for script in scripts]

    # ------------------------------------------------------------------ what is done to it

    def tell(self, *messages: m.Message, generation: int | None = None) -> None:
        """Tell messages of the session that is shown, and wait until they were handled."""
        marks = self._marks
        for message in messages:
            self.window.outbox.tell(message, generation=generation)
        self.window.outbox.tell(Mark())  # type: ignore[arg-type] # a message of the test's own
        wait_until(self.root, lambda: self._marks > marks)
        settle(self.root)

    def put(self, stream: str, *runs: Run | str, generation: int | None = None) -> None:
        """Put text into a stream as the worker's views do."""
        whole = [Run(run) if isinstance(run, str) else run for run in runs]
        self.window.outbox.put(stream, whole, lambda: None, generation=generation)
        self.tell()

    def wait(self, condition: Callable[[], object]) -> None:
        """Let the window work until something is so."""
        wait_until(self.root, condition)

    def press(self, label: str) -> None:
        """Press the button with that label, which must be on the screen."""
        self.button(label).invoke()
        settle(self.root)

    def key(self, *sequences: str) -> None:
        """Press keys on whatever has the keyboard."""
        for sequence in sequences:
            self.focused.event_generate(sequence, when="tail")
            settle(self.root)

    def type(self, text: str) -> None:
        """Write a line and send it."""
        entry = self.window.frame.session.entry
        entry.typed = text
        entry.entry.focus_set()
        settle(self.root)
        self.key("<Return>")

    def read_all(self) -> None:
        """Go through each file of the review to its end."""
        pane = self.window.frame.files.review
        for path, _, _ in FILES:
            pane.files.select(path)
            settle(self.root)
            self.wait(lambda: not pane.code.busy)
            pane.code.text.yview_moveto(1.0)
            settle(self.root)
        self.wait(lambda: pane.all_seen)

    def size(self, wide: int, high: int) -> None:
        """Give the window a size, for scale 1."""
        px = self.look.px
        self.root.geometry(f"{px(wide)}x{px(high)}+0+0")
        settle(self.root)

    def forget_calls(self) -> None:
        """Begin to note anew what the worker is asked."""
        settle(self.root)
        self._worker.calls.clear()

    # ------------------------------------------------------------------ what is seen of it

    @property
    def calls(self) -> list[tuple[object, ...]]:
        """What the worker was asked to do, what is done ahead of need aside."""
        return [call for call in self._worker.calls if call[0] not in AHEAD]

    @property
    def opened(self) -> list[object]:
        """The models that were opened ahead of need."""
        return [call[1] for call in self._worker.calls if call[0] == "desk.choose"]

    @property
    def state(self) -> str:
        return self.window.state.value

    @property
    def title(self) -> str:
        return str(self.root.title())

    @property
    def status(self) -> str:
        """The words of the line at the window's foot, without its buttons."""
        found = [each for each in mapped(self.window.frame.status) if isinstance(each, ttk.Label)]
        return " · ".join(words for each in found if (words := str(each["text"]).strip()))

    @property
    def notice(self) -> str:
        return self.window.frame.notice.words

    @property
    def page(self) -> str:
        """The tab in front, and which of its pages."""
        frame = self.window.frame
        tab = frame.tabs.current
        pages = {"Session": lambda: frame.session.shown, "Files": lambda: frame.files.shown}
        return f"{tab}: {pages[tab]()}" if tab in pages else tab

    @property
    def focused(self) -> tk.Misc:
        """The widget that has the keyboard."""
        return self.root.focus_get() or self.root

    @property
    def keyboard(self) -> str:
        """What has the keyboard: a button by its words, else where it is."""
        frame, focused = self.window.frame, self.focused
        if isinstance(focused, ttk.Button):
            return str(focused["text"])
        if frame.session.shown == "token" and focused is frame.session.token.field:
            return "the token's field"
        known = {
            frame.models.filter: "the filter",
            frame.models.tree: "the models",
            frame.session.entry.entry: "the line to write in",
            frame.session.transcript.text: "the transcript",
            frame.files.review.files.tree: "the files",
            frame.files.review.code.text: "the file",
            frame.files.problems.raw.text: "the reply",
            frame.payload.reader.text: "the stream",
            self.root: "the window",
        }
        return known.get(focused, str(focused))

    def button(self, label: str) -> ttk.Button:
        """The button on the screen with that label."""
        (found,) = [each for each in self._buttons() if each["text"] == label]
        return found

    def _buttons(self) -> list[ttk.Button]:
        return [each for each in mapped(self.root) if isinstance(each, ttk.Button)]

    @property
    def buttons(self) -> list[str]:
        """The buttons on the screen that can be pressed, those aside that every state has."""
        always = {"Open .gguf…", "Refresh", "Settings", "×", "Copy"}
        can = [str(each["text"]) for each in self._buttons() if each.instate(["!disabled"])]
        return [label for label in can if label not in always]

    def _menu(self, name: str) -> str:
        call, bar = self.root.tk.call, str(self.root["menu"])
        places = range(int(call(bar, "index", "end")) + 1)
        cascades = [place for place in places if call(bar, "type", place) == "cascade"]
        (found,) = [each for each in cascades if call(bar, "entrycget", each, "-label") == name]
        return str(call(bar, "entrycget", found, "-menu"))

    def menu(self, name: str) -> dict[str, bool]:
        """The items of a menu, and which can be chosen."""
        call, menu = self.root.tk.call, self._menu(name)
        places = range(int(call(menu, "index", "end")) + 1)
        items = [place for place in places if call(menu, "type", place) == "command"]
        return {
            str(call(menu, "entrycget", item, "-label")): (
                str(call(menu, "entrycget", item, "-state")) == "normal"
            )
            for item in items
        }

    def choose(self, name: str, label: str) -> None:
        """Choose an item of a menu, if it can be chosen."""
        self.root.tk.call(self._menu(name), "invoke", label)
        settle(self.root)

    @property
    def menus(self) -> list[str]:
        """The items that can be chosen now, of those that depend on the state."""
        items = self.menu("File") | self.menu("Session")
        free = {"Save transcript…", "Quit", "Write a line", "Settings…"}
        return [label for label, can in items.items() if can and label not in free]

    @property
    def transcript(self) -> str:
        return self.window.frame.session.transcript.whole_text()

    @property
    def log(self) -> str:
        return str(self.window.frame.log.reader.text.get("1.0", "end-1c"))


def texts(root: tk.Misc) -> list[str]:
    """Return every text that is on the screen below a widget."""
    found: list[str] = []
    for widget in mapped(root):
        if isinstance(widget, ttk.Label | ttk.Button):
            found.append(str(widget["text"]))
        elif isinstance(widget, tk.Text):
            found.append(widget.get("1.0", "end-1c"))
        elif isinstance(widget, ttk.Entry):  # a combobox is one too
            found.append(widget.get())
        elif isinstance(widget, tk.Canvas):
            found += drawn_words(widget)
        elif isinstance(widget, ttk.Treeview):
            found += _cells(widget)
    return found


def _cells(tree: ttk.Treeview, parent: str = "") -> list[str]:
    found: list[str] = []
    for row in tree.get_children(parent):
        values = tree.tk.splitlist(tree.item(row, "values"))
        found += [str(tree.item(row, "text")), *map(str, values), *_cells(tree, row)]
    return found


# ---------------------------------------------------------------------- the way into each state


def looking(_: Stand) -> None:
    """Begin so."""


def no_server(stand: Stand) -> None:
    stand.tell(ONLY_SEED, m.Unreachable("", "no model server was found on this machine", 4.0))


def no_model(stand: Stand) -> None:
    stand.tell(m.Listed(ROWS[-1:], 0, [(SERVER, "LM Studio")], []))


def token(stand: Stand) -> None:
    stand.tell(ONLY_SEED, m.Locked(SERVER, "the server refused the request: no token"))


def idle(stand: Stand) -> None:
    stand.tell(LISTED)


def loading(stand: Stand) -> None:
    idle(stand)
    stand.press("Bootstrap")
    stand.tell(m.Asked(0, ""))


def streaming(stand: Stand) -> None:
    loading(stand)
    stand.tell(WRITING)
    stand.put("payload", '{"manifest": {"name": "notebook"}, ')


def stalled(stand: Stand) -> None:
    streaming(stand)
    stand.seconds += 15
    stand.wait(lambda: stand.state == "stalled")


def invalid(stand: Stand) -> None:
    streaming(stand)
    stand.tell(REFUSED, m.Over("no valid payload came", rejected=True))


def review(stand: Stand, consent: m.ConsentWanted = CONSENT) -> None:
    streaming(stand)
    stand.tell(consent)


def writing(stand: Stand) -> None:
    review(stand, CONSENT._replace(agreed_before=True))
    stand.press("Write & run")


def running(stand: Stand) -> None:
    writing(stand)
    stand.tell(STARTED)
    stand.put("sys", "runtime started in bubblewrap\n")
    stand.put("rt", "notebook 1.2 ready\n")


def replacing(stand: Stand) -> None:
    running(stand)
    stand.tell(CONSENT._replace(name="other", summary="other · 2 files"))


def stopping(stand: Stand) -> None:
    running(stand)
    stand.press("Stop")


def over(stand: Stand) -> None:
    stopping(stand)
    stand.tell(ended(143))


def crashed(stand: Stand) -> None:
    running(stand)
    stand.tell(ended(3))


def closing(stand: Stand) -> None:
    idle(stand)
    stand.window.act(Action.CLOSE)
    settle(stand.root)


WAYS: dict[str, tuple[State, Callable[[Stand], None]]] = {
    "looking": (State.LOOKING, looking),
    "no server": (State.NO_SERVER, no_server),
    "no model": (State.NO_MODEL, no_model),
    "token": (State.NO_MODEL, token),
    "ready": (State.IDLE, idle),
    "loading": (State.LOADING, loading),
    "streaming": (State.STREAMING, streaming),
    "stalled": (State.STALLED, stalled),
    "rejected": (State.INVALID, invalid),
    "review": (State.REVIEW, review),
    "replacing": (State.REPLACING, replacing),
    "writing": (State.WRITING, writing),
    "running": (State.RUNNING, running),
    "stopping": (State.STOPPING, stopping),
    "ended": (State.ENDED, over),
    "crashed": (State.CRASHED, crashed),
    "closing": (State.CLOSING, closing),
}


def reach(stand: Stand, name: str) -> None:
    """Bring the window into a state, by messages and by what a user can do."""
    state, way = WAYS[name]
    way(stand)
    assert stand.window.state is state
    stand.forget_calls()
