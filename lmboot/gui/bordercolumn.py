"""What stands between a runtime and this machine, beside the session: routes, grants, sandbox."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from tkinter import ttk

from lmboot.gui.bordermessages import Border, Grant, Route
from lmboot.gui.controls import Segments
from lmboot.gui.routes import Routes
from lmboot.gui.widgets import Box, CutLabel, Flow, Scroller, nothing
from lmboot.runtime.kinds import may

WIDTH, NARROW_WIDTH, NARROW, LEAST = 350, 250, 860, 600  # at scale 1, the last two of the page
PREFIX = {"partial": "Only in part: ", "absent": "Not enforced: "}
NONE_GRANTED = "Nothing of this machine. The program sees only its own folder."
FOLDER_NOTE = "It may {}. Names that begin with a dot stay hidden."
HOST_NOTE = "Addresses of this host, over https or http. “.example.org” means all beneath it."


class Grants(Box):
    """What was granted, each with a way to take it back, and two ways to grant more."""

    def __init__(self, parent: Box) -> None:
        super().__init__(parent)
        self.on_revoke: Callable[[Grant], object] = nothing
        self.on_folder: Callable[[bool], object] = nothing
        self.on_host: Callable[[str], object] = nothing
        self._list = Box(self)
        self._list.pack(fill="x")
        self._shown: tuple[Grant, ...] | None = None
        self._times: list[ttk.Label] = []
        self._ways = Flow(self)
        for words, ask in (
            ("Grant a folder…", self._ask_folder),
            ("Grant a host…", self._ask_host),
        ):
            self._ways.add(self._ways.button(words, ask))
        self._ways.pack(fill="x", pady=self.look.pad(8, 0))
        self._form: Box | None = None

    def show(self, grants: Sequence[Grant]) -> None:
        """Show what is granted now; what only grows older keeps its row."""
        timeless = tuple(grant._replace(seconds=None) for grant in grants)
        if timeless != self._shown:
            self._shown = timeless
            self._list.clear()
            self._times = [self._row(grant) for grant in grants]
            if not grants:
                self._list.label(NONE_GRANTED, "faint", wrap=True).pack(fill="x")
        for grant, label in zip(grants, self._times, strict=True):
            label.configure(text=time_left(grant))

    def _row(self, grant: Grant) -> ttk.Label:
        row = Box(self._list, card="RaisedCard", padding=self.look.pads(12, 6, 4, 8))
        row.pack(fill="x", pady=self.look.px(3))
        revoke = row.button("Revoke", lambda: self.on_revoke(grant), "Ghost")
        revoke.pack(side="right", anchor="n")
        what = CutLabel(row, font="Mono")
        what.say(grant.what)
        what.pack(fill="x", pady=self.look.pad(5, 2))
        words = row.label("", "muted", "Small", wrap=True)
        words.pack(fill="x")
        return words

    # ------------------------------------------------------------------ granting more

    def _ask_folder(self) -> None:
        form = self._open_form()
        form.label("Which folder, and what may be done there?", wrap=True).pack(fill="x")
        choice = Segments(form, "read", {"read": "Read", "write": "Change too"})
        choice.pack(fill="x", pady=self.look.pad(8, 6))
        note = form.label(_folder_note("read"), "faint", "Small", wrap=True)
        note.pack(fill="x")
        choice.on_choose = lambda kind: note.configure(text=_folder_note(kind))
        self._buttons(form, "Choose folder…", lambda: self.on_folder(choice.value == "write"))
        choice.take_keys()

    def _ask_host(self) -> None:
        form = self._open_form()
        form.label("Which host may it fetch from?", wrap=True).pack(fill="x")
        field = ttk.Entry(form, style="raised.TEntry", font="Mono", width=1)
        field.pack(fill="x", pady=self.look.pad(8, 6))
        form.label(HOST_NOTE, "faint", "Small", wrap=True).pack(fill="x")

        def grant() -> bool:
            host = str(field.get()).strip()
            if host:
                self.on_host(host)
            return bool(host)

        press = self._buttons(form, "Grant", grant)
        field.bind("<Return>", lambda _: press())
        field.bind("<Escape>", self._escape)
        field.focus_set()

    def _open_form(self) -> Box:
        """Make room for a question in the place of the two buttons."""
        self.close_form()
        self._ways.pack_forget()
        self._form = Box(self, card="RaisedCard", padding=self.look.pads(14, 12))
        self._form.pack(fill="x", pady=self.look.pad(8, 0))
        return self._form

    def _buttons(self, form: Box, words: str, do: Callable[[], object]) -> Callable[[], None]:
        def press() -> None:
            if do() is not False:
                self.close_form()

        row = Flow(form)
        row.pack(fill="x", pady=self.look.pad(10, 0))
        row.add(row.button(words, press))
        row.add(row.button("Not now", self.close_form, "Ghost"))
        return press

    def _escape(self, _: object) -> str:
        self.close_form()
        return "break"

    def close_form(self) -> None:
        """Take the question away."""
        if self._form is not None:
            form, self._form = self._form, None
            had_keys = str(form.focus_get() or "").startswith(str(form))
            self._ways.pack(fill="x", pady=self.look.pad(8, 0))
            if had_keys:
                self._ways.winfo_children()[0].focus_set()
            form.destroy()


class BorderColumn(Box):
    """Routes, grants and what the sandbox enforces, as they are now."""

    def __init__(self, parent: Box) -> None:
        super().__init__(parent, "panel")
        self.on_flip: Callable[[str, str], object] = nothing
        self._border: Border | None = None
        self._all = False
        self.hairline("left")
        self.column = Scroller(self, "panel", pad=(18, 12, 16, 18), width=WIDTH)
        self.column.pack(fill="both", expand=True)
        inside = self.column.inside
        self._trouble = inside.label("", "warn", wrap=True)
        inside.caption("Who performs what")
        self.routes = Routes(inside, lambda op, route: self.on_flip(op, route))
        self.routes.pack(fill="x")
        self._more = inside.button("", self._toggle_all, "Ghost")
        self._more.configure(padding=self.look.pads(4, 5))
        self._more.pack(anchor="w", pady=self.look.pad(2, 0))
        inside.caption("What it was granted", before=16, after=6)
        self.grants = Grants(inside)
        self.grants.pack(fill="x")
        self._sandbox = inside.caption("", before=20, after=4)
        self._posture = Box(inside)
        self._posture.pack(fill="x")
        self._enforced: object = None

    def show(self, border: Border) -> None:
        """Show a border as it is now; only what has changed is drawn anew."""
        self._border = border
        self._show_routes(border.routes)
        self.grants.show(border.grants)
        enforced = border.backend, border.posture
        if enforced != self._enforced:
            self._enforced = enforced
            self._sandbox.configure(text=f"What the sandbox enforces: {border.backend}")
            self._show_posture(border.posture)
        self._show_trouble(border.unrecorded)

    def _show_trouble(self, words: str) -> None:
        self._trouble.configure(text=words)
        if words and not self._trouble.winfo_manager():
            first = self.column.inside.winfo_children()[1]
            self._trouble.pack(fill="x", pady=self.look.pad(0, 12), before=first)
        elif not words:
            self._trouble.pack_forget()

    def _show_routes(self, routes: Sequence[Route]) -> None:
        rows = [each for each in routes if self._all or _matters(each)]
        if [each.op for each in rows] != self.routes.names:
            self.routes.show([(each.op, each.route) for each in rows])
        for each in rows:
            self.routes.update_route(each.op, each.route, [word for word, _ in each.held])
        others = sum(not _matters(each) for each in routes)
        words = "Show fewer" if self._all else f"and {others} more, all DENY"
        self._more.configure(text=words)
        if others and not self._more.winfo_manager():
            self._more.pack(anchor="w", pady=self.look.pad(2, 0), after=self.routes)
        elif not others:
            self._more.pack_forget()

    def _toggle_all(self) -> None:
        self._all = not self._all
        if self._border is not None:
            self._show_routes(self._border.routes)

    def _show_posture(self, posture: Sequence[tuple[str, str]]) -> None:
        self._posture.clear()
        for level, words in posture:
            row = Box(self._posture)
            row.pack(fill="x", pady=self.look.px(3))
            show_level(row, level, words)

    def fit(self, page: int) -> bool:
        """Take a width that leaves the page's text its room; say whether there is any."""
        narrow = page < self.look.room(NARROW)
        self.column.set_width(NARROW_WIDTH if narrow else WIDTH)
        return page >= self.look.room(LEAST)


def show_level(row: Box, level: str, words: str) -> None:
    """Fill a box with a sign and the words of one property: what holds, holds in part, or not."""
    if level == "enforced":
        row.tick(words[:1].upper() + words[1:])
        return
    look, partly = row.look, level == "partial"
    sign = look.strokes("warn", (2, 6), (10, 6)) if partly else look.cross()
    row.label(image=sign).pack(side="left", anchor="n", pady=look.pad(3, 0))
    whole = PREFIX["partial" if partly else "absent"] + words
    label = row.label(whole, "warn" if partly else "bad", wrap=True)
    label.pack(side="left", fill="x", expand=True, padx=look.pad(8, 0))


def _matters(route: Route) -> bool:
    """Say whether an operation is not just denied for good."""
    return route.route != "DENY" or {word for word, _ in route.held} != {"EMULATE", "HOST"}


def _folder_note(kind: str) -> str:
    """Return what a folder that is granted so lets happen."""
    return FOLDER_NOTE.format(may(kind, "this folder"))


def time_left(grant: Grant) -> str:
    """Return what a grant permits, and for how long."""
    permits = may(grant.kind)
    words = f"{permits[:1].upper()}{permits[1:]}  ·  {grant.scope}"
    if grant.seconds is None:
        return words
    minutes, seconds = divmod(max(0, grant.seconds), 60)
    return f"{words}, {minutes}:{seconds:02d} min left"
