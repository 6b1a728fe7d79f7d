"""The window put together: server, models, tabs and status, with nobody behind them yet."""

from __future__ import annotations

import tkinter as tk
from collections.abc import Callable
from functools import cached_property
from tkinter import ttk
from typing import TYPE_CHECKING, TypeVar

from lmboot.gui.bars import NoticeBar, ServerLine, StatusLine
from lmboot.gui.cards import Card, Welcome
from lmboot.gui.entryline import EntryLine
from lmboot.gui.look import Look
from lmboot.gui.menus import Menus
from lmboot.gui.modellist import Details, ModelList
from lmboot.gui.tabs import Tabs
from lmboot.gui.widgets import Box, Stack, nothing

if TYPE_CHECKING:  # what no first sight of the window needs is imported later
    from lmboot.gui.bordercolumn import BorderColumn
    from lmboot.gui.log import LogPane
    from lmboot.gui.logpage import LogPage
    from lmboot.gui.payload import StreamPane
    from lmboot.gui.requestcard import RequestCard
    from lmboot.gui.tokencard import TokenCard
    from lmboot.gui.transcript import TranscriptPane

Part = TypeVar("Part", bound=Box)

EMPTY = "What a model writes is shown here, file by file, before anything of it runs."
SIZE, LEAST = (1040, 700), (720, 480)
ROOMY = 470  # from this height on the side has room for what only explains, too
SIDE, LEAST_SIDE, MOST_SIDE = 396, 262, 0.37


class SessionPage(Stack):
    """The first tab: a card, the steps ahead, a token's question, or the talk itself.

    Their names are "card", "welcome", "token" and "talk".
    """

    def __init__(self, parent: Box) -> None:
        super().__init__(parent, "main")
        # whether the question for a token came onto the screen, or left it
        self.on_asking: Callable[[bool], None] = nothing
        self.welcome, self.card = Welcome(self), Card(self)
        self._talk = Box(self, "main")
        for name, page in (("welcome", self.welcome), ("card", self.card), ("talk", self._talk)):
            self.add(name, page)
        self._talk.bind("<Map>", lambda _: self.transcript)
        self._bordered = False  # whether there is a border to be shown,
        self.border_wanted = True  # and whether the user wants to see it
        self.bind("<Configure>", lambda _: self._fit_border())

    @cached_property
    def token(self) -> TokenCard:
        """The card that asks for a token; made when a server first wants one."""
        from lmboot.gui.tokencard import TokenCard

        card = TokenCard(self)
        card.bind("<Map>", lambda _: self.on_asking(True))
        card.bind("<Unmap>", lambda _: self.on_asking(False))
        self.add("token", card)
        return card

    @cached_property
    def border(self) -> BorderColumn:
        """What stands between the runtime and this machine; made when there is a first one."""
        from lmboot.gui.bordercolumn import BorderColumn

        return BorderColumn(self._talk)

    def show_border(self, there: bool) -> None:
        """Show the border's column, where the user wants it and there is room, or take it away."""
        self._bordered = there
        self._fit_border()

    @property
    def border_shown(self) -> bool:
        """Say whether the border's column is there."""
        return "border" in self.__dict__ and bool(self.border.winfo_manager())

    def _fit_border(self) -> None:
        if not self._bordered:
            if "border" in self.__dict__:
                self.border.pack_forget()
            return
        room = self.border.fit(self.winfo_width())
        if room and self.border_wanted:
            self.border.pack(side="right", fill="y", before=self._talk.pack_slaves()[0])
        else:
            self.border.pack_forget()

    @cached_property
    def entry(self) -> EntryLine:
        """The line to write in; with the transcript it is made when first asked for."""
        entry = EntryLine(self._talk)
        entry.pack(side="bottom", fill="x")
        self._talk.hairline("bottom")
        return entry

    @cached_property
    def transcript(self) -> TranscriptPane:
        """What was said."""
        from lmboot.gui.transcript import TranscriptPane

        self.entry.lift()  # packed first, so that it keeps its room
        transcript = TranscriptPane(self._talk)
        transcript.pack(fill="both", expand=True)
        return transcript


class FilesPage(Stack):
    """The third tab: nothing yet, a review, or what is wrong ("empty", "review", "problems")."""

    def __init__(self, parent: Box) -> None:
        from lmboot.gui.problems import ProblemsPane
        from lmboot.gui.review import ReviewPane

        super().__init__(parent, "main")
        self.empty, self.review, self.problems = Card(self), ReviewPane(self), ProblemsPane(self)
        self.empty.show("No payload yet", [EMPTY])
        pages = (("empty", self.empty), ("review", self.review), ("problems", self.problems))
        for name, page in pages:
            self.add(name, page)


class Frame:
    """Every part of the window by its name; the caller sets their callbacks."""

    def __init__(self, root: tk.Tk, look: Look) -> None:
        self.root, self.look = root, look
        # whether the audit logs came onto the screen, or left it
        self.on_audit: Callable[[bool], object] = nothing
        look.follow(root, lambda: self._paint())
        self.menus = Menus(root, look)
        self.base = Box(None, "main", look=look)
        self.base.pack(fill="both", expand=True)
        self.server = ServerLine(self.base)
        self.server.pack(fill="x")
        self.base.hairline("top")
        self.status = StatusLine(self.base)
        self.status.pack(side="bottom", fill="x")
        self.base.hairline("bottom")
        self.notice = NoticeBar(self.base)
        self._panes = ttk.Panedwindow(self.base, orient="horizontal")
        self._panes.pack(fill="both", expand=True)
        self._side = self._make_side()
        self.tabs = Tabs(self.base)
        self._panes.add(self._side, weight=0)
        self._panes.add(self.tabs, weight=1)
        self._fill_tabs()
        self._side_wanted = look.px(SIDE)
        self._panes.bind("<ButtonRelease-1>", self._sash_moved)
        self._panes.bind("<Configure>", lambda event: self._fit(event.width))
        self._size()

    def _make_side(self) -> Box:
        side = Box(self.base, "panel", width=self.look.px(SIDE))
        side.pack_propagate(False)
        side.hairline("right")
        self.details = Details(side)
        self.details.pack(side="bottom", fill="x")
        side.hairline("bottom")
        self.models = ModelList(side)
        self.models.pack(fill="both", expand=True)
        for part in (side, self.details, self.models):
            part.bind("<Configure>", lambda _: self._share(side.winfo_height()), add=True)
        return side

    def _share(self, height: int) -> None:
        """Leave the models some rows where it is low: what is known of one scrolls then."""
        if height > 1:
            roomy = height >= self.look.room(ROOMY)
            self.models.fit(roomy=roomy)
            self.details.fit(height - self.models.winfo_reqheight() - 1, note=roomy)

    @cached_property
    def payload(self) -> StreamPane:
        """The payload tab; like the two after it, it is made when first asked for or shown."""
        from lmboot.gui.payload import StreamPane

        return _filling(StreamPane(self.tabs.pages["Payload"]))

    @cached_property
    def files(self) -> FilesPage:
        """The files tab."""
        return _filling(FilesPage(self.tabs.pages["Files"]))

    @cached_property
    def logs(self) -> LogPage:
        """The log tab."""
        from lmboot.gui.logpage import LogPage

        page = _filling(LogPage(self.tabs.pages["Log"]))
        page.on_audit = lambda shown: self.on_audit(shown)
        return page

    @property
    def log(self) -> LogPane:
        """What lmboot said."""
        return self.logs.messages

    @cached_property
    def request(self) -> RequestCard:
        """What a program asks for: outside all panes, where nothing that it writes can come."""
        from lmboot.gui.requestcard import RequestCard

        return RequestCard(self.base)

    def show_request(self, wanted: bool) -> None:
        """Show that card above the status line, or take it away."""
        if wanted:
            self.request.pack(side="bottom", fill="x", before=self._panes)
        elif "request" in self.__dict__:
            self.request.pack_forget()

    def _fill_tabs(self) -> None:
        pages = self.tabs.pages
        self.session = _filling(SessionPage(pages["Session"]))
        self.session.on_asking = lambda asking: self.details.fill_button(not asking)
        pages["Payload"].bind("<Map>", lambda _: self.payload)
        pages["Files"].bind("<Map>", lambda _: self.files)
        pages["Log"].bind("<Map>", lambda _: self.logs)

    def make_all(self) -> None:
        """Make what was left for later; best called soon after the window is there."""
        for part in (self.payload, self.files, self.log, self.session.transcript):
            part.update_idletasks()

    def _size(self) -> None:
        """Take the usual size, or what the screen has."""
        look, root = self.look, self.root
        room = root.winfo_screenwidth(), root.winfo_screenheight()
        wide, high = (min(look.px(want), most) for want, most in zip(SIZE, room, strict=True))
        root.geometry(f"{wide}x{high}")
        least = (min(look.px(want), most) for want, most in zip(LEAST, room, strict=True))
        root.minsize(*least)

    def _paint(self) -> None:
        self.root.configure(background=self.look["main"])

    def _sash_moved(self, _: object) -> None:
        if self.side_shown:
            self._side_wanted = int(self.root.tk.call(self._panes, "sashpos", 0))

    def _fit(self, width: int) -> None:
        """Keep the models from taking the tabs' room in a narrow window."""
        if self.side_shown and width > 1:
            most = max(self.look.px(LEAST_SIDE), round(width * MOST_SIDE))
            self.root.tk.call(self._panes, "sashpos", 0, min(self._side_wanted, most))

    @property
    def side_shown(self) -> bool:
        """Say whether the models are shown."""
        panes = self.root.tk.splitlist(self.root.tk.call(self._panes, "panes"))
        return str(self._side) in map(str, panes)

    def show_side(self, visible: bool) -> None:
        """Show or hide the models: a review and a session need the width."""
        shown = self.side_shown
        if visible and not shown:
            self._panes.insert(0, self._side, weight=0)
            self._fit(self._panes.winfo_width())
        elif shown and not visible:
            self._panes.forget(self._side)


def _filling(part: Part) -> Part:
    part.pack(fill="both", expand=True)
    return part


def build_frame(root: tk.Tk, look: Look) -> Frame:
    """Put the window together while it is withdrawn; map it once, when this returns."""
    return Frame(root, look)
