"""The only door from the thread that works to the thread that draws.

Text waits in bounded queues, one a stream: one that is full makes its producer wait, and so slows
the runtime; nothing is thrown away that could have been seen. Messages (state, consent, the end)
have a queue of their own, which is unbounded and goes first.

Every run of the main job has a generation; of an older one nothing comes out any more.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from threading import Event, Lock
from time import monotonic
from typing import Generic, NamedTuple, TypeVar

from lmboot.gui.lastline import Run

Message = TypeVar("Message")

ROOM = 1 << 20  # characters that may wait in one stream
SCROLLBACK = 10_000  # rows that a pane holds
_PIECE = 4096  # characters that are joined to one run; longer ones are cut to four times that
_LARGEST = 4 * _PIECE
LONGEST_HOLD = 0.05  # seconds; the window draws in less, and nothing may hang on it
_OVERHEAD = 64  # what a run costs beside its text, so that a million empty ones are bounded too


class Budget(NamedTuple):
    """What one `drain` may return: more stalls the window, with colours above all."""

    characters: int = 16 << 10
    runs: int = 200
    seconds: float = 0.006


class Item(NamedTuple):
    """A run for one stream of the pane."""

    stream: str
    run: Run


class Skipped(NamedTuple):
    """Rows of one stream that the scrollback could not have held; a row of its own tells it."""

    stream: str
    rows: int

    @property
    def text(self) -> str:
        """Return the words of that row."""
        return f"… {self.rows:,} lines skipped, the full text is in the transcript"


class Drained(NamedTuple, Generic[Message]):
    """What came out, in order; `more` says that text is still waiting."""

    messages: list[Message]
    items: list[Item | Skipped]
    more: bool


class _Waiting(NamedTuple):
    number: int
    generation: int | None
    run: Run


class _Stream:
    """What waits of one stream."""

    def __init__(self) -> None:
        self.queue: deque[_Waiting] = deque()
        self.size = self.rows = self.skipped = 0
        self.wakers: list[Callable[[], None]] = []

    def append(self, waiting: _Waiting) -> None:
        self.queue.append(waiting)
        self._count(waiting, 1)

    def join(self, text: str) -> None:
        """Put text to the newest run."""
        newest = self.queue.pop()
        self._count(newest, -1)
        run = newest.run._replace(text=newest.run.text + text)
        self.append(newest._replace(run=run))

    def take(self, characters: int) -> Run:
        """Take the oldest run, or its first characters."""
        oldest = self.queue.popleft()
        self._count(oldest, -1)
        first, rest = oldest.run.text[:characters], oldest.run.text[characters:]
        if rest:
            self._put_back(oldest, rest)
        return oldest.run._replace(text=first)

    def skip_to(self, rows: int) -> None:
        """Throw away the oldest rows, so that `rows` are left."""
        excess = self.rows - rows
        self.skipped += excess
        while excess > 0:
            oldest = self.queue.popleft()
            self._count(oldest, -1)
            *ended, rest = oldest.run.text.split("\n", excess)
            excess -= len(ended)
            if not excess and rest:
                self._put_back(oldest, rest)

    def keep(self, generation: int) -> None:
        """Forget what is of an older run, and what was skipped of it."""
        kept = [each for each in self.queue if each.generation in (None, generation)]
        self.queue.clear()
        self.size = self.rows = self.skipped = 0
        for each in kept:
            self.append(each)

    def _put_back(self, waiting: _Waiting, rest: str) -> None:
        left = waiting._replace(run=waiting.run._replace(text=rest, back=0))
        self.queue.appendleft(left)
        self._count(left, 1)

    def _count(self, waiting: _Waiting, sign: int) -> None:
        self.size += sign * (len(waiting.run.text) + _OVERHEAD)
        self.rows += sign * waiting.run.text.count("\n")


class Outbox(Generic[Message]):
    """Thread-safe; any thread puts and tells, the one that draws begins and drains.

    `scrollback` is how many rows a pane holds: of a stream that is further behind only the tail
    comes out, after one Skipped.
    """

    def __init__(
        self,
        *,
        room: int = ROOM,
        scrollback: int = SCROLLBACK,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        """Begin empty, with generation 0."""
        self.scrollback = scrollback
        self._room, self._clock = room, clock
        self._lock = Lock()
        self._may_put = Event()
        self._may_put.set()
        self._generation = self._number = 0
        self._messages: deque[tuple[int | None, Message]] = deque()
        self._streams: dict[str, _Stream] = {}
        self._newest: _Stream | None = None

    @property
    def generation(self) -> int:
        """Return the number of the run that is shown."""
        return self._generation

    def begin(self) -> int:
        """Begin another run and return its number; who waits with text of an older one goes on."""
        with self._lock:
            self._generation += 1
            wakers = [waker for stream in self._streams.values() for waker in stream.wakers]
            for stream in self._streams.values():
                stream.keep(self._generation)
                stream.wakers.clear()
            self._messages = deque(each for each in self._messages if self._is_current(each[0]))
        _call(wakers)
        return self._generation

    def put(
        self,
        stream: str,
        runs: Sequence[Run],
        on_room: Callable[[], None],
        *,
        generation: int | None = None,
    ) -> bool:
        """Take text, all of it; return False when the producer must wait before it puts more.

        It takes a moment itself while the window draws; see `hold`.
        `on_room` is called once then, from the thread that drains, when half the room is free;
        it must return at once and not raise, as `loop.call_soon_threadsafe` does on a loop that
        runs. Text without a generation belongs to no run and is always shown.
        """
        if not (self._may_put.is_set() or self._may_put.wait(LONGEST_HOLD)):
            self.go_on()
        with self._lock:
            if not self._is_current(generation):
                return True
            waiting = self._streams.setdefault(stream, _Stream())
            for run in runs:
                self._put(waiting, generation, run)
            if waiting.size <= self._room:
                return True
            waiting.wakers.append(on_room)
            return False

    def tell(self, message: Message, *, generation: int | None = None) -> None:
        """Take a message; it comes out before any text, whatever waits."""
        with self._lock:
            if self._is_current(generation):
                self._messages.append((generation, message))

    def drain(self, budget: Budget = Budget()) -> Drained[Message]:  # noqa: B008 - a plain value
        """Return all messages, and text in the order it was put, within the budget.

        At least one run comes when there is any, however late it is.
        """
        with self._lock:
            messages = [message for _, message in self._messages]
            self._messages.clear()
            for stream in self._streams.values():
                if stream.rows > self.scrollback:
                    stream.skip_to(self.scrollback - 1)  # one row tells of the others
            items = list(self._take(budget))
            wakers = [waker for stream in self._streams.values() for waker in self._freed(stream)]
            more = any(stream.queue for stream in self._streams.values())
        _call(wakers)
        return Drained(messages, items, more)

    def hold(self) -> None:
        """Let whoever puts text wait until `go_on`, though never long: now the window draws.

        Python runs one thread at a time. Each of the many calls of Tk in a drawing gives the turn
        away, and gets it back late from a thread that always has something to do.
        """
        self._may_put.clear()

    def go_on(self) -> None:
        """Let text be put again."""
        self._may_put.set()

    def _is_current(self, generation: int | None) -> bool:
        return generation is None or generation == self._generation

    def _put(self, stream: _Stream, generation: int | None, run: Run) -> None:
        if self._joins(stream, generation, run):
            stream.join(run.text)
            return
        back = run.back
        for start in range(0, len(run.text) or 1, _LARGEST):
            part = run._replace(text=run.text[start : start + _LARGEST], back=back)
            self._number += 1
            stream.append(_Waiting(self._number, generation, part))
            back = 0
        self._newest = stream

    def _joins(self, stream: _Stream, generation: int | None, run: Run) -> bool:
        """Say whether a run continues the one that was put last, so that both can be one."""
        if self._newest is not stream or not stream.queue or run.back:
            return False
        last = stream.queue[-1]
        return (
            last.generation == generation
            and last.run.style == run.style
            and len(last.run.text) + len(run.text) <= _PIECE
        )

    def _take(self, budget: Budget) -> Iterator[Item | Skipped]:
        deadline = self._clock() + budget.seconds
        left, runs = budget.characters, budget.runs
        while oldest := self._oldest():
            name, stream = oldest
            if stream.skipped:
                yield Skipped(name, stream.skipped)
                stream.skipped = 0
                runs -= 1
            run = stream.take(left)
            yield Item(name, run)
            left -= len(run.text)
            runs -= 1
            if left <= 0 or runs <= 0 or self._clock() >= deadline:
                return

    def _oldest(self) -> tuple[str, _Stream] | None:
        waiting = [(name, stream) for name, stream in self._streams.items() if stream.queue]
        return min(waiting, key=lambda each: each[1].queue[0].number, default=None)

    def _freed(self, stream: _Stream) -> list[Callable[[], None]]:
        """Return whom to wake: at half the room, lest each drain wakes them for one piece."""
        if stream.size > self._room // 2:
            return []
        wakers, stream.wakers = stream.wakers, []
        return wakers


def _call(wakers: list[Callable[[], None]]) -> None:
    for wake in wakers:
        wake()
