"""One line that tells how a model loads and a payload streams."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic

from rich.console import Console
from rich.status import Status

from lmboot.bootstrap.handshake import Accepted, Asked, Refused, Repairing, Said, Step, Streaming
from lmboot.bootstrap.progress import Progress
from lmboot.text import brief, reveal

_RATE_AFTER = 0.5  # seconds; a rate of less is noise
_FRAME = 0.1  # seconds between two updates of the line


class ProgressLine:
    """A spinner with words on a terminal."""

    def __init__(self, console: Console, clock: Callable[[], float] = monotonic) -> None:
        """Draw on `console`; nothing is drawn before the first word."""
        self._console, self._clock = console, clock
        self._status: Status | None = None
        self._started = self._shown = 0.0
        self._pieces = 0

    def status(self, text: str) -> None:
        """Show what is going on."""
        if self._status is None:
            self._status = self._console.status(reveal(text), spinner_style="cyan")
            self._status.start()
        else:
            self._status.update(reveal(text))

    def step(self, step: Step) -> None:
        """Show one step of the asking."""
        if isinstance(step, Asked):
            self._started, self._pieces = 0.0, 0
            self.status("waiting for the first token")
        elif isinstance(step, Streaming):
            self._stream(step)
        elif isinstance(step, Said):
            self.note(step.text)
        elif isinstance(step, Repairing):
            self._repairing(step)
        elif isinstance(step, Accepted | Refused):
            self.stop()

    def _stream(self, step: Streaming) -> None:
        now = self._clock()
        self._started = self._started or now
        self._pieces += 1
        if now - self._shown < _FRAME:
            return
        self._shown = now
        self.status(describe(step.progress, self._pieces, now - self._started))

    def _repairing(self, step: Repairing) -> None:
        text = "the answer was cut off; asking again with more room"
        if not step.longer:
            first = step.problems[0]
            text = f"asking to mend it: {first.where}: {first.message}"
        self.note(text)

    def note(self, text: str) -> None:
        """Print a line above that stays."""
        self._console.print(f"    {reveal(text)}", markup=False, style="yellow")

    def stop(self) -> None:
        """Take the line away."""
        if self._status is not None:
            self._status.stop()
            self._status = None


def describe(progress: Progress, pieces: int, seconds: float) -> str:
    """Return the words for a stream: tokens, tokens a second, thinking, files so far."""
    words = [f"{pieces:,} tokens"]
    if seconds > _RATE_AFTER:
        words.append(f"{pieces / seconds:,.0f} tokens/s")
    if progress.thinking:
        words.append(f"thinking {progress.thinking:,} characters")
    files = [f"{brief(file.path, 40)} {file.size:,}" for file in progress.files if file.path]
    if len(files) > 3:
        words.append(f"{len(files)} files")
    return "  ·  ".join([*words, *files[-3:]])
