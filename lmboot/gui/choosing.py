"""The left side at work: servers and their models, files from disk, and which one is chosen."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lmboot.gui import memory
from lmboot.gui import messages as m
from lmboot.gui.shown import for_review, unescape
from lmboot.gui.state import Action, Event, State, enabled
from lmboot.text import brief

if TYPE_CHECKING:
    from lmboot.gui.modelrows import ModelRow
    from lmboot.gui.window import Window

DWELL_MS = 250  # a choice that stays that long is opened ahead of need
_SHORT = 40  # characters of a stranger's text in the narrow places at the left and above
ANY_SERVER = "any server here"
USUAL = "the usual addresses"
CLOSED = "○ available"
WAITING = (State.LOOKING, State.NO_SERVER, State.NO_MODEL)


def needs_no_server(row: ModelRow) -> bool:
    """Say whether lmboot runs a model itself."""
    return row.model.kind in ("seed", "file")


class Choosing:
    """Knows the rows and the chosen one; `locked` is a server that wants a token.

    What strangers wrote into a row's id is written out for Tk, which can't take all of it.
    """

    def __init__(self, window: Window) -> None:
        self._window = window
        self.rows: dict[str, ModelRow] = {}
        self.chosen: ModelRow | None = None
        self.locked = self.why_locked = ""
        self.named = ""  # the address that the user gave; "" looks for servers
        self.kept: dict[str, tuple[tuple[str, str, str], ...]] = {}
        self._open_row: ModelRow | None = None
        self._first_listing = True
        self._dwelling = ""
        frame = window.frame
        frame.models.on_select = lambda shown: self.choose(unescape(shown))
        frame.models.on_activate = lambda _: window.act(Action.BOOTSTRAP)
        frame.details.on_bootstrap = lambda: window.act(Action.BOOTSTRAP)
        frame.server.on_address = self.use_address
        frame.server.on_open = lambda: window.act(Action.OPEN_GGUF)
        frame.server.on_refresh = lambda: window.act(Action.REFRESH)
        frame.server.on_settings = lambda: window.act(Action.SETTINGS)
        self._show_address()
        window.take(
            {
                m.Looking: lambda _: self._show_server(
                    "faint", "looking for servers", hollow=True
                ),
                m.Listed: self._listed,
                m.Unreachable: self._unreachable,
                m.Locked: self._lock,
                m.Added: self._added,
                m.Opened: self._opened,
                m.KeptPayloads: self._take_kept,
            }
        )

    # ------------------------------------------------------------------ servers

    def look(self) -> None:
        """List the models anew."""
        server = self.named
        self._window.post(lambda stage: stage.desk.look(server))

    def use_address(self, address: str) -> None:
        """Look for models at an address that the user gave, or anywhere."""
        self.named = "" if address == ANY_SERVER else address
        if self.named:
            self._window.memory = memory.with_address(self._window.memory, self.named)
        self.locked = ""
        self._show_address()
        if enabled(self._window.state, Action.REFRESH):
            self._window.go(Action.REFRESH)
        self.look()

    def _show_address(self) -> None:
        line = self._window.frame.server
        line.address = self.named or ANY_SERVER
        line.offer([ANY_SERVER, *self._window.memory.addresses])

    def _show_server(self, colour: str, words: str, *, hollow: bool = False) -> None:
        self._window.frame.server.show_state(colour, brief(words, _SHORT), hollow=hollow)

    def _unreachable(self, message: m.Unreachable) -> None:
        self._window.facts |= {"server": message.server or USUAL}
        self._window.retry_in(message.seconds)
        named = bool(message.server)
        words = "no answer" if named else "no server found"
        self._show_server("bad" if named else "faint", words, hollow=True)
        self._window.log("server", message.reason)
        self._window.frame.notice.hide()  # it was about that too
        if self._window.state in WAITING or not (self.chosen and needs_no_server(self.chosen)):
            self._window.go(Event.SERVER_GONE)
        self._window.show()

    def _lock(self, message: m.Locked) -> None:
        self.locked, self.why_locked = message.server, message.reason
        self._show_server("warn", f"{message.server} wants a token")
        self._window.frame.notice.hide()  # it was about that too
        self._window.go(Event.NO_MODELS)
        self._window.show()

    def give_token(self, token: str) -> None:
        """Use a token for the server that wants one; none goes on without that server."""
        server, self.locked = self.locked, ""
        if token:
            named = self.named or None
            self._window.post(lambda stage: stage.desk.give_token(server, token, named))
        self._window.show()

    # ------------------------------------------------------------------ models

    def _listed(self, message: m.Listed) -> None:
        self.rows = {row.id: self._as_open(row) for row in message.rows}
        self.locked = "" if message.served else self.locked
        self._show_rows()
        for complaint in message.complaints:
            self._window.log("warning", complaint)
        if message.servers:
            self._tell_servers(message)
        else:
            self._tell_none(message)
        self._choose_one(message)
        self._window.show()

    def _as_open(self, row: ModelRow) -> ModelRow:
        """Return what is known of a row: that lmboot itself has a file open, no list says."""
        known = self._open_row
        return known if known and known.id == row.id and needs_no_server(row) else row

    def _show_rows(self) -> None:
        rows = self.rows.values()
        self._window.frame.models.show([(for_review(row.id), *row.cells[1:]) for row in rows])

    def _select(self, row_id: str) -> None:
        self._window.frame.models.select(for_review(row_id))

    def _tell_servers(self, message: m.Listed) -> None:
        base, kind = message.servers[0]
        more = f" and {len(message.servers) - 1} more" if len(message.servers) > 1 else ""
        self._window.facts |= {"server": base}
        self._show_server("ok", " · ".join(each for each in ("connected", kind + more) if each))
        self._window.log("server", f"{message.served} models at {base}{more}")
        self._window.go(Event.MODELS_LISTED if message.served else Event.NO_MODELS)

    def _tell_none(self, message: m.Listed) -> None:
        """Look no longer; what was complained of is said, and why and when next is told apart."""
        if self._window.state is State.LOOKING:
            self._window.facts |= {"server": self.named or USUAL}
            self._window.go(Event.SERVER_GONE)
        if message.complaints:
            self._window.say(message.complaints[0])

    def _choose_one(self, message: m.Listed) -> None:
        """Keep what the user chose, now or the last time; else take a loaded one, or the first."""
        stays = not enabled(self._window.state, Action.CHOOSE)
        wanted = self.chosen.id if self.chosen and stays else self._window.memory.model
        rows = list(self.rows.values())
        served = rows[: message.served]
        loaded = [row for row in served if "loaded" in row.state]
        if wanted not in self.rows:
            wanted = next((row.id for row in (*loaded, *served, *rows[-1:])), "")
        if not wanted or (stays and self.chosen and self.chosen.id != wanted):
            return  # what is under way goes on with its model, listed or not
        again = self.chosen is not None and self.chosen.id == wanted
        self._select(wanted)
        self._take(self.rows[wanted])
        if not again:
            self._open_soon()
        if self._first_listing:
            self._first_listing = False
            self._welcome()

    def _welcome(self) -> None:
        """Let the first use begin with what is to be done, not with what is missing."""
        window = self._window
        if not window.memory.seen:
            window.go(Action.CHOOSE)
        window.frame.details.button_bootstrap.focus_set()

    def choose(self, row_id: str) -> None:
        """Choose a model as the user did."""
        row = self.rows.get(row_id)
        if row is None or not enabled(self._window.state, Action.CHOOSE):
            self._select(self.chosen.id if self.chosen else "")
            return
        self._window.memory = self._window.memory._replace(model=row.id)
        self._take(row)
        self._open_soon()
        self._window.go(Action.CHOOSE)
        self._window.show()

    def _take(self, row: ModelRow) -> None:
        self.chosen = row
        self._window.facts |= {"model": row.name}
        self._show_details(row)

    def _show_details(self, row: ModelRow) -> None:
        facts = [
            ("Model", row.name),
            ("State", "built in, needs no server" if row.model.kind == "seed" else row.state[2:]),
            ("Context", f"{row.context} tokens" if row.model.context else row.context),
            ("Family", row.model.architecture or "—"),
            ("From", row.server),
        ]
        self._window.frame.details.show([(name, brief(value, _SHORT)) for name, value in facts])

    def _open_soon(self) -> None:
        root = self._window.root
        if self._dwelling:
            root.after_cancel(self._dwelling)
        self._dwelling = root.after(DWELL_MS, self._open)

    def _open(self) -> None:
        self._dwelling = ""
        row = self.chosen
        if row is not None:
            self._window.post(lambda stage: stage.desk.choose(row.model))

    def forget_timers(self) -> None:
        """Leave nothing waiting behind."""
        if self._dwelling:
            self._window.root.after_cancel(self._dwelling)
            self._dwelling = ""

    def _opened(self, message: m.Opened) -> None:
        """Show what is known now: a loaded file's context, its state."""
        row = message.row
        if row.id not in self.rows:
            return
        if self._open_row and self._open_row.id in self.rows and needs_no_server(self._open_row):
            closed = self._open_row._replace(state=CLOSED)
            self.rows[closed.id] = closed
        self.rows[row.id] = self._open_row = row
        self._show_rows()
        if self.chosen and self.chosen.id == row.id:
            self.chosen = row
            self._show_details(row)
        self._window.log("model", f"{row.name} is open")

    def _take_kept(self, message: m.KeptPayloads) -> None:
        self.kept[message.model_id] = tuple(message.payloads)
        self._window.show()

    # ------------------------------------------------------------------ files

    def open_dialog(self) -> None:
        """Let the user pick a file."""
        from tkinter import filedialog

        window = self._window
        path = filedialog.askopenfilename(
            parent=window.root,
            title="Open a .gguf model",
            initialdir=window.memory.folder or None,
            filetypes=[("GGUF models", "*.gguf"), ("All files", "*")],
        )
        if path:
            window.memory = window.memory._replace(folder=path.rpartition("/")[0])
            self.open_file(str(path))

    def open_file(self, path: str) -> None:
        """Have a file judged by its header, and listed."""
        self._window.log("file", f"opening {path}")
        self._window.post(lambda stage: stage.desk.open_file(path))

    def dropped(self, paths: list[str]) -> None:
        """Open what was dropped onto the window, the last one to be chosen."""
        if not enabled(self._window.state, Action.OPEN_GGUF):
            self._window.say("not now: something is under way; drop the file again after it")
            return
        for path in paths:
            self.open_file(path)

    def _added(self, message: m.Added) -> None:
        row = message.row
        seed = [each for each in self.rows.values() if each.model.kind == "seed"]
        others = [each for each in self.rows.values() if each.model.kind != "seed"]
        kept = [each for each in others if each.id != row.id]
        self.rows = {each.id: each for each in (*kept, row, *seed)}
        self._show_rows()
        self._window.say(f"{row.name}: a GGUF model, {row.quantization}, {row.size}")
        if enabled(self._window.state, Action.CHOOSE):
            self._select(row.id)
            self.choose(row.id)
