"""What a runtime asks for, put to the person at the terminal's prompt.

Only a line that was begun after its question stood there for a moment answers it: not what the
runtime prints, and not what was being typed for something else. A line with a colon is a command
as always, so nothing is out of reach while a question stands.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from time import monotonic
from typing import get_args

from prompt_toolkit.buffer import Buffer
from prompt_toolkit.formatted_text import FormattedText
from prompt_toolkit.utils import get_cwidth

from lmboot.runtime.asking import WHILE_MINUTES, Answer, Question, Scope
from lmboot.text import plain

ARMED_SECONDS = 0.7  # a key pressed sooner was meant for what stood there before
PROMPT = "» "
_CHOICE = "once, while, always or no"
_ARMED: FormattedText = FormattedText([("bold", f"{_CHOICE} {PROMPT}")])
_EXPLAINED = f"while: for {WHILE_MINUTES} minutes; always: for this payload"
_HELP = f"answer {_CHOICE} ({_EXPLAINED}); `:rt TEXT` talks to the runtime"
_WHICH = "say which folder is meant, behind the word: once DIR"
_SCOPES: dict[str, Scope] = {"n": "no", **{scope: scope for scope in get_args(Scope)}}


@dataclass(eq=False, slots=True)
class _Standing:
    """A question, and when it was first seen."""

    question: Question
    answer: asyncio.Future[Answer]
    seen: float | None = None


@dataclass(slots=True)
class Asking:
    """The questions of one terminal, one after the other; `redraw` draws the prompt anew.

    `columns` tells how wide the terminal is now: what stands above the line that is typed is cut
    off there, and nobody may agree to half a sentence.
    """

    buffer: Buffer
    redraw: Callable[[], None]
    clock: Callable[[], float] = monotonic
    columns: Callable[[], int] = lambda: 80
    _waiting: deque[_Standing] = field(default_factory=deque)
    _begun: float | None = None  # when the line that is being typed was begun

    def __post_init__(self) -> None:
        """Take note of when a line is begun."""
        self.buffer.on_text_changed += self._typed

    async def ask(self, question: Question) -> Answer:
        """Wait for the answer; cancelled, the question goes from the screen."""
        standing = _Standing(question, asyncio.get_running_loop().create_future())
        self._waiting.append(standing)
        self.redraw()
        try:
            return await standing.answer
        finally:
            self._waiting.remove(standing)
            self.redraw()

    def prompt(self) -> FormattedText:
        """Return what stands before the cursor now; called each time that it is drawn."""
        standing = self._first
        if standing is None:
            return FormattedText([("", PROMPT)])
        if standing.seen is None:
            standing.seen = self.clock()
            asyncio.get_running_loop().call_later(ARMED_SECONDS, self.redraw)
        folder = " Name it: once DIR." if standing.question.chooses_folder else ""
        told = folded(f"{plain(standing.question.words)}{folder}", self.columns() - 1)
        words = FormattedText([("bold", f"{told}\n")])
        armed = self._armed(standing, self.clock())
        return FormattedText([*words, *(_ARMED if armed else [("", PROMPT)])])

    def take(self, line: str) -> str | None:
        """Take a line that was typed; None: it answers nothing, else what to say of it."""
        begun, self._begun = self._begun, None
        standing = self._first
        if standing is None or begun is None or not self._armed(standing, begun):
            return None if line else ""
        if line.startswith(":"):
            return None
        word, _, folder = line.strip().partition(" ")
        scope = _SCOPES.get(word.lower())
        if scope is None or (folder and not standing.question.chooses_folder):
            return _HELP if line else ""
        if standing.question.chooses_folder and scope != "no" and not folder.strip():
            return _WHICH
        standing.answer.set_result(Answer(scope, folder.strip()))
        return ""

    def refuse(self) -> bool:
        """Answer the question that stands there with no; say whether there is one."""
        self._begun = None
        standing = self._first
        if standing is None or standing.seen is None:
            return False
        standing.answer.set_result(Answer("no"))
        return True

    @property
    def _first(self) -> _Standing | None:
        return next((each for each in self._waiting if not each.answer.done()), None)

    def _armed(self, standing: _Standing, moment: float) -> bool:
        return standing.seen is not None and moment >= standing.seen + ARMED_SECONDS

    def _typed(self, buffer: Buffer) -> None:
        if not buffer.text:
            self._begun = None
        elif self._begun is None:
            self._begun = self.clock()


def folded(text: str, width: int) -> str:
    """Return a line as several of at most `width` columns, broken between words if it can be."""
    lines = [""]
    for word in text.split():
        for piece in _pieces(word, max(width, 2)):
            joined = f"{lines[-1]} {piece}" if lines[-1] else piece
            fits = get_cwidth(joined) <= width
            lines[-1:] = [joined] if fits else [lines[-1], piece]
    return "\n".join(lines).lstrip("\n")


def _pieces(word: str, width: int) -> list[str]:
    """Break a word that is wider than a line; a character may take two columns."""
    pieces, room = [""], width
    for character in word:
        columns = get_cwidth(character)
        if columns > room:
            pieces.append("")
            room = width
        pieces[-1] += character
        room -= columns
    return pieces
