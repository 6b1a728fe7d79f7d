"""The live terminal: a prompt that stays below what appears, and a review before anything runs."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shutil
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path

from prompt_toolkit import PromptSession
from prompt_toolkit.application import get_app_or_none, in_terminal
from prompt_toolkit.auto_suggest import AutoSuggestFromHistory
from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document
from prompt_toolkit.history import FileHistory, InMemoryHistory
from prompt_toolkit.output.defaults import create_output
from prompt_toolkit.utils import get_cwidth
from rich.console import Console

from lmboot.app.view import Declined, Pane, Shown
from lmboot.bootstrap.handshake import Step
from lmboot.bootstrap.review import Review
from lmboot.cli.asking import Asking
from lmboot.cli.faults import told
from lmboot.cli.listing import table
from lmboot.cli.progress import ProgressLine
from lmboot.cli.review import show_review
from lmboot.connections.interface import Model
from lmboot.errors import Interrupted, LmbootError
from lmboot.runtime.asking import Answer, Question
from lmboot.session import COMMANDS
from lmboot.text import plain, reveal

_COLOURS: dict[Pane, str] = {"you": "2", "ai": "36", "rt": "32", "rt!": "33", "sys": "35"}
_BAD = {"unclean": "31"}  # events whose line is drawn in a colour of its own, to be seen
_INDENT = len("sys │ ")
_PARTS = re.compile(r"\n|[^\S\n]+|\S+")
_ROOM = 64 << 10  # characters that wait for the screen; more, and the runtime waits
_FRAME_SECONDS = 0.03  # screen updates closer than that can't be told apart
_NO_BORDER = "no border"


def _take_ctrl_d() -> Callable[[], None]:
    """Have the terminal hand over Ctrl+D as any other key; return what undoes that.

    Pressed while no prompt stands there (output is being drawn, the model answers), it would be
    an end of file to the terminal, which the next prompt never gets to read.
    """
    if sys.platform != "win32" and sys.stdin.isatty():
        import termios

        descriptor = sys.stdin.fileno()

        def put(key: bytes) -> None:
            with contextlib.suppress(termios.error):  # the terminal is gone
                mode = termios.tcgetattr(descriptor)
                mode[6][termios.VEOF] = key
                termios.tcsetattr(descriptor, termios.TCSANOW, mode)

        before = termios.tcgetattr(descriptor)[6][termios.VEOF]
        put(bytes([os.fpathconf(descriptor, "PC_VDISABLE")]))
        return lambda: put(before)
    return lambda: None


class _Commands(Completer):
    """Completes the first word of a line that begins with a colon."""

    def get_completions(
        self, document: Document, complete_event: CompleteEvent
    ) -> list[Completion]:
        """Return the commands that begin as the line does."""
        text = document.text_before_cursor
        if not text.startswith(":") or " " in text:
            return []
        return [
            Completion(command, -len(text)) for command in COMMANDS if command.startswith(text)
        ]


class TerminalView:
    """Shows a session in a terminal; `interrupt` is what Ctrl+C does while a runtime runs."""

    def __init__(self, history: Path | None = None) -> None:
        """Prompt on standard error when standard output goes elsewhere."""
        self._console = Console(stderr=True, highlight=False)
        self._progress = ProgressLine(self._console)
        self._prompt: PromptSession[str] = PromptSession(
            history=FileHistory(str(history)) if history else InMemoryHistory(),
            completer=_Commands(),
            auto_suggest=AutoSuggestFromHistory(),
            output=create_output(sys.stdout if sys.stdout.isatty() else sys.stderr),
        )
        output = self._prompt.output
        self._asking = Asking(
            self._prompt.default_buffer, self._redraw, columns=lambda: output.get_size().columns
        )
        self._give_ctrl_d_back = _take_ctrl_d()
        self._waiting: list[str] = []
        self._length = 0
        self._column = 0  # of the model's answer; 0 when none is being written
        self._drawn = asyncio.Event()
        self._drawn.set()
        self._drawing: asyncio.Task[None] | None = None
        self.on_interrupt: Callable[[], object] = lambda: None

    # ------------------------------------------------------------------ what appears

    async def show(self, shown: Shown) -> None:
        """Put it above the prompt; wait while too much waits for the screen."""
        if shown.pane == "you":
            return  # it stands there already, as it was typed
        if shown.pane == "ai":
            self._say(shown.text)
        else:
            self.end_answer()
            for line in shown.text.split("\n"):
                self._write(f"{_prefix(shown.pane)}{_coloured(plain(line), shown.event)}\n")
        while self._length > _ROOM:
            self._drawn.clear()
            await self._drawn.wait()

    def _say(self, text: str) -> None:
        """Show a piece of the model's answer at once, broken between words at the edge."""
        width = shutil.get_terminal_size().columns
        for part in _PARTS.findall(plain(text)):
            if part == "\n":
                self._write("\n" if self._column else f"{_prefix('ai')}\n")
                self._column = 0
                continue
            if not self._column:
                self._write(_prefix("ai"))
                self._column = _INDENT
            elif self._column + get_cwidth(part) > width and not part.isspace():
                self._write(f"\n{_prefix(None)}")
                self._column = _INDENT
            self._write(part)
            self._column += get_cwidth(part)

    def end_answer(self) -> None:
        """End the line of the model's answer, which may have no newline."""
        if self._column:
            self._write("\n")
            self._column = 0

    def _write(self, text: str) -> None:
        """Write at once while no prompt stands there, else soon, together with what comes."""
        self._waiting.append(text)
        self._length += len(text)
        if not _prompting():
            self._flush()
        elif self._drawing is None or self._drawing.done():
            self._drawing = asyncio.create_task(self._draw())

    async def _draw(self) -> None:
        while self._waiting:
            async with in_terminal():
                self._flush()
            await asyncio.sleep(_FRAME_SECONDS)

    def _flush(self) -> None:
        sys.stdout.write("".join(self._waiting))
        sys.stdout.flush()
        self._waiting.clear()
        self._length = 0
        self._drawn.set()

    async def answered(self) -> None:
        """End the line of the answer."""
        self.end_answer()

    async def step(self, step: Step) -> None:
        """Show how the asking goes on, in one line that changes."""
        self._progress.step(step)

    def status(self, text: str) -> None:
        """Show what is going on."""
        self._progress.status(text)

    def note(self, text: str) -> None:
        """Print a line that stays."""
        self._progress.note(text)

    async def wanted(self, model: Model) -> None:
        """Wait for Enter."""
        await self._settle()
        answer = await self._ask(f"Enter bootstraps {reveal(model.name)}, q leaves ")
        if answer in ("q", "quit", ":quit"):
            raise Declined

    def complain(self, error: LmbootError) -> None:
        """Show a failure."""
        self._progress.stop()
        for line in told(error).rstrip("\n").split("\n"):
            self._write(f"{_prefix('sys')}{line}\n")

    # ------------------------------------------------------------------ what is asked

    async def pick(self, models: Sequence[Model]) -> Model:
        """List the models and let the user give a number."""
        await self._settle()
        header, *rows = table(list(models))
        self._console.print(f"    {reveal(header)}", markup=False, style="dim")
        for number, row in enumerate(rows, 1):
            self._console.print(f"{number:>3} {reveal(row)}", markup=False)
        while True:
            answer = await self._ask(f"Which model? [1-{len(models)}, q to leave] ")
            if answer in ("q", "quit", ":quit"):
                raise Declined
            if answer.isascii() and answer.isdigit() and 1 <= int(answer) <= len(models):
                return models[int(answer) - 1]

    async def token(self, server: str) -> str | None:
        """Ask for a token without showing it."""
        await self._settle()
        question = f"{reveal(server)} wants a token (nothing to leave): "
        try:
            return (await _answer_to(question, is_password=True)) or None
        except (EOFError, KeyboardInterrupt):
            return None

    async def consent(self, review: Review) -> bool:
        """Show the payload; a file is read in the pager by its number."""
        await self._settle()
        show_review(self._console, review)
        while True:
            answer = await self._ask(
                "Write and run it? [y]es, [n]o, or a file's number to read it "
            )
            if answer in ("y", "yes"):
                return True
            if answer in ("n", "no", "q", ":quit"):
                return False
            if answer.isascii() and answer.isdigit():
                await asyncio.to_thread(self._page, review, int(answer) - 1)

    def _page(self, review: Review, index: int) -> None:
        files = review.payload.files
        if 0 <= index < len(files):
            path, content = files[index]
            with self._console.pager(styles=True):
                self._console.print(reveal(f"{path}\n\n{content}"), markup=False)

    async def ask(self, question: Question) -> Answer:
        """Put it above the prompt, behind those that stand there, and wait for the answer."""
        return await self._asking.ask(question)

    def _redraw(self) -> None:
        if self._prompt.app.is_running:
            self._prompt.app.invalidate()

    async def consent_without_border(self, review: Review) -> bool:
        """Make the user type what it means."""
        await self._settle()
        self._console.print(
            "Without a sandbox the program can do whatever you can: read and remove your files, "
            "use your network. What lmboot would do for it (HOST) is denied.",
            style="bold red",
        )
        return await self._ask(f"Type `{_NO_BORDER}` to run it all the same: ") == _NO_BORDER

    async def _ask(self, question: str) -> str:
        try:
            answer = await _answer_to(question)
        except EOFError:
            raise Declined from None
        except KeyboardInterrupt:
            raise Interrupted("interrupted") from None
        return answer.strip().lower()

    # ------------------------------------------------------------------ what is typed

    async def lines(self) -> AsyncIterator[str]:
        """Yield what the user types until Ctrl+D; Ctrl+C goes to the runtime.

        What answers a question is none of these lines, and Ctrl+C at a question means no.
        """
        while True:
            self.end_answer()
            try:
                line = await self._prompt.prompt_async(self._asking.prompt, handle_sigint=False)
            except KeyboardInterrupt:
                if not self._asking.refuse():
                    self.on_interrupt()
                continue
            except EOFError:
                return
            if (complaint := self._asking.take(line)) is None:
                yield line
            elif complaint:
                self._write(f"{_prefix('sys')}{complaint}\n")

    async def _settle(self) -> None:
        """Take the progress line away and draw everything that waits."""
        self._progress.stop()
        self.end_answer()
        if self._drawing is not None:
            await self._drawing

    async def close(self) -> None:
        """Draw what is left, and leave the terminal as it was."""
        try:
            await self._settle()
        finally:
            self._give_ctrl_d_back()


async def _answer_to(question: str, *, is_password: bool = False) -> str:
    """Ask; Ctrl+C is a key here, and the session's own handler of the signal stays in force."""
    return await PromptSession[str]().prompt_async(
        question, is_password=is_password, handle_sigint=False
    )


def _prefix(pane: Pane | None) -> str:
    """Return what stands before a line; for None, before the rest of one."""
    return f"\x1b[{_COLOURS[pane or 'ai']}m{pane or '':>3} │\x1b[0m "


def _coloured(line: str, event: str | None) -> str:
    """Return a line as it is drawn, in red where it tells of what must not be missed."""
    colour = _BAD.get(event or "")
    return f"\x1b[{colour}m{line}\x1b[0m" if colour else line


def _prompting() -> bool:
    app = get_app_or_none()
    return app is not None and app.is_running
