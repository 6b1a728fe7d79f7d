"""What a person reads before agreeing: each file, who performs what, what the sandbox enforces."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from tkinter import ttk

from lmboot.gui.codeview import CodeView
from lmboot.gui.reader import Reader
from lmboot.gui.routes import Routes
from lmboot.gui.widgets import Box, Scroller, Slim, nothing, showable

File = tuple[str, str, str]  # path, size in words, what it holds as it is to be shown
SIZES = 66  # the column of the files' sizes
FILES, ASIDE, NARROW_FILES, NARROW_ASIDE = 196, 354, 150, 250
NARROW = 860  # below this width the columns beside the text become slim
MOST_FILES, MOST_ASIDE = 0.25, 0.36  # of the width


class FileList(Box):
    """The files of a payload as a tree; a tick says that a file's end was on the screen."""

    def __init__(self, parent: Box) -> None:
        super().__init__(parent, "panel", padding=parent.look.pads(4, 8))
        self.on_select: Callable[[str], None] = nothing
        self.tree = ttk.Treeview(
            self, style="panel.Treeview", columns="size", show="tree", selectmode="browse"
        )
        self.tree.configure(height=1)
        self.tree.column("size", anchor="e", stretch=False)
        bar = Slim(self, self.tree.yview)
        self.tree.configure(yscrollcommand=bar.moved)
        self.tree.pack(fill="both", expand=True)
        self.tree.bind("<<TreeviewSelect>>", lambda _: self._selected())

    def show(self, files: Sequence[File]) -> None:
        """List the files by their folders, none of them seen."""
        self.tree.delete(*self.tree.get_children())
        for path, size, _ in files:
            folder = ""
            *parts, name = path.split("/")
            for part in parts:
                folder = self._folder(folder, part)
            dot = self.look.point("faint")
            words = "  " + showable(name)
            self.tree.insert(folder, "end", path, text=words, values=(size,), image=dot)

    def set_width(self, width: float, *, sizes: bool) -> None:
        """Take a width, given for scale 1, with the column of sizes or without; it zooms."""
        self.configure(width=self.look.room(width))
        self.tree.configure(displaycolumns=("size",) if sizes else ())
        self.tree.column("size", width=self.look.room(SIZES))
        name = self.look.room(width - SIZES * sizes) - self.look.px(14)
        self.tree.column("#0", width=max(1, name))

    def _folder(self, parent: str, name: str) -> str:
        folder = f"{parent or ''}{name}/"  # a file's path never ends like this
        if not self.tree.exists(folder):
            self.tree.insert(parent, "end", folder, text=name + "/", open=True)
        return folder

    def select(self, path: str) -> None:
        """Choose a file."""
        self.tree.selection_set(path)
        self.tree.focus(path)
        self.tree.see(path)

    def tick(self, path: str) -> None:
        """Mark a file as seen."""
        self.tree.item(path, image=self.look.check())

    def _selected(self) -> None:
        chosen = self.tree.selection()
        if chosen and not chosen[0].endswith("/"):
            self.on_select(chosen[0])


class Warnings(Reader):
    """Sentences under a title; a text, as there may be thousands of them."""

    def __init__(self, parent: Box) -> None:
        look = parent.look
        super().__init__(parent, font="Text", padx=look.px(16), pady=look.px(10))

    def paint(self) -> None:
        """Take the colours of the palette."""
        super().paint()
        self.text.tag_configure("title", font="Strong", foreground=self.look["warn"])
        self.text.tag_raise("sel")

    def show(self, sentences: Sequence[str]) -> None:
        """Show these."""
        title = f"{len(sentences)} warnings" if len(sentences) > 1 else "1 warning"
        rows = "".join(f"\n{showable(sentence)}" for sentence in sentences)
        self.text.delete("1.0", "end")
        self.text.insert("end", title, ("title",), rows, ())
        self.text.yview_moveto(0)


class ReviewPane(Box):
    """Everything to be read, and two buttons. Agreeing waits until each file was in view."""

    def __init__(self, parent: Box) -> None:
        super().__init__(parent, "main")
        self.on_back: Callable[[], None] = nothing
        self.on_agree: Callable[[], None] = nothing
        self.on_all_seen: Callable[[], None] = nothing
        self._texts: dict[str, str] = {}
        self._flags: Mapping[str, Sequence[int]] = {}
        self._seen: set[str] = set()
        self._allowed = True
        self._warnings = 0
        self._make_consent()
        self._make_aside()
        self.files = FileList(self)
        self.files.pack(side="left", fill="y")
        self.files.pack_propagate(False)
        self.hairline("left")
        self._below = Box(self, "main")
        self._below.hairline("top")
        self._notes = Warnings(self._below)
        self._notes.pack(fill="both", expand=True)
        self.code = CodeView(self)
        self.code.pack(fill="both", expand=True)
        self.files.on_select = self.show_file
        self.code.on_end = self._saw
        self.bind("<Configure>", lambda event: self._fit(event.width))
        self.look.follow(self, lambda: self._fit(self.winfo_width()))

    def _make_consent(self) -> None:
        look, bar = self.look, self.bar("bottom", pad=(20, 12))
        self._agree = bar.button("Write & run", lambda: self.on_agree(), "Accent")
        self._agree.pack(side="right", padx=look.pad(8, 0))
        self._back = bar.button("Back", lambda: self.on_back())
        self._back.pack(side="right", padx=look.pad(8, 0))
        self._question = bar.label("", "text", "Strong", wrap=True)
        self._question.pack(fill="x")
        self._progress = bar.label("", "muted", "Small", wrap=True)
        self._progress.pack(fill="x", pady=look.pad(4, 0))

    def _make_aside(self) -> None:
        self._aside = Scroller(self, "main", pad=(20, 12), width=ASIDE)
        self._aside.pack(side="right", fill="y")
        self.hairline("right")
        inside = self._aside.inside
        self._facts = Box(inside)
        self._facts.pack(fill="x")
        inside.caption("Who performs what", before=14)
        self._routes = Routes(inside)
        self._routes.pack(fill="x")
        inside.caption("What the sandbox enforces", before=18)
        self._borders = Box(inside)
        self._borders.pack(fill="x")

    def show(
        self,
        files: Sequence[File],
        *,
        question: str,
        facts: Sequence[tuple[str, str]],
        routes: Sequence[tuple[str, str]],
        borders: Sequence[str],
        warnings: Sequence[str] = (),
        flags: Mapping[str, Sequence[int]] | None = None,
        first: str = "",
        agreed_before: bool = False,
    ) -> None:
        """Show a payload; `first` is the file to begin with, `flags` lines to be marked.

        `facts` are the rows at the right: name, command line, limits, SHA-256. What was agreed to
        before, to the byte, need not be seen again.
        """
        self._texts = {path: text for path, _, text in files}
        self._flags, self._allowed = flags or {}, True
        self._seen = set(self._texts) if agreed_before else set()
        self.code.show("", "")  # Tk tells of a choice late, and till then the old file stays
        self._question.configure(text=question)
        self._show_facts(facts)
        self._routes.show(routes)
        self._show_borders(borders)
        self._show_warnings(warnings)
        self.files.show(files)
        for path in self._seen:
            self.files.tick(path)
        self._show_progress()
        if files:
            self.files.select(first if first in self._texts else files[0][0])
        self._back.focus_set()  # never the button that agrees

    def show_file(self, path: str) -> None:
        """Show one of the files from its start."""
        self.code.show(path, self._texts[path], self._flags.get(path, ()))

    def allow(self, allowed: bool) -> None:
        """Let the user agree, or not, whatever was seen."""
        self._allowed = allowed
        self._show_progress()

    @property
    def all_seen(self) -> bool:
        """Say whether each file's end was on the screen."""
        return set(self._texts) <= self._seen

    @property
    def can_agree(self) -> bool:
        """Say whether the button that agrees can be pressed."""
        return not self._agree.instate(["disabled"])

    def agree(self) -> None:
        """Do what the button does, for a key; nothing while it is disabled."""
        self._agree.invoke()

    def _saw(self, path: str) -> None:
        if path in self._texts and path not in self._seen:
            self._seen.add(path)
            self.files.tick(path)
            self._show_progress()
            if self.all_seen:
                self.on_all_seen()

    def _show_progress(self) -> None:
        left = len(set(self._texts) - self._seen)
        ready = self._allowed and not left
        self._agree.state(["!disabled" if ready else "disabled"])
        words = "Nothing is written and nothing runs before you agree."
        if left:
            seen = len(self._texts) - left
            words = f"{seen} of {len(self._texts)} files seen: read each one to its end first."
        self._progress.configure(text=words)

    def _show_facts(self, facts: Sequence[tuple[str, str]]) -> None:
        self._facts.clear()
        for name, value in facts:
            self._facts.fact(
                name, value, font="Mono" if name in ("Command", "SHA-256") else "Text"
            )

    def _show_borders(self, borders: Sequence[str]) -> None:
        self._borders.clear()
        for words in borders:
            row = Box(self._borders)
            row.pack(fill="x", pady=self.look.px(3))
            row.tick(words)

    def _show_warnings(self, warnings: Sequence[str]) -> None:
        self._below.pack_forget()
        self._warnings = len(warnings)
        if not warnings:
            return
        self._notes.show(warnings)
        self._fit_warnings()
        self._below.pack_propagate(False)
        self._below.pack(side="bottom", fill="x", before=self.code)

    def _fit_warnings(self) -> None:
        rows = min(self._warnings, 4)  # more of them scroll
        height = rows * (self.look.linespace + self.look.px(5)) + self.look.linespace
        self._below.configure(height=height + self.look.px(28))

    def _fit(self, width: int) -> None:
        """Leave the text its room: it is what has to be read."""
        narrow = 1 < width < self.look.room(NARROW)
        aside, files = float(ASIDE), float(FILES)
        if narrow:
            unit = self.look.scale * self.look.factor
            aside = min(NARROW_ASIDE, width * MOST_ASIDE / unit)
            files = min(NARROW_FILES, width * MOST_FILES / unit)
        self._aside.set_width(aside)
        self.files.set_width(files, sizes=not narrow)
        self._fit_warnings()
