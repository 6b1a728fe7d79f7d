"""How fast something comes, over the last two seconds; pure, the clock is given."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

WINDOW_SECONDS = 2.0
_SOONEST_SECONDS = 0.5  # a rate of less time is one frame's quotient, and jumps
_SLOT_SECONDS = 0.05  # what comes closer together is counted as one


class Rate:
    """Counts tokens as they come; `clock` is in seconds and never runs back."""

    def __init__(self, clock: Callable[[], float]) -> None:
        """Begin before the first one."""
        self._clock = clock
        self._slots: deque[tuple[float, int]] = deque()
        self._started: float | None = None
        self.total = 0

    def add(self, count: int = 1) -> None:
        """Count what came now."""
        now = self._clock()
        self.total += count
        if self._started is None:  # the first one only marks the beginning
            self._started = now
        elif self._slots and now - self._slots[-1][0] < _SLOT_SECONDS:
            since, before = self._slots.pop()
            self._slots.append((since, before + count))
        else:
            self._slots.append((now, count))

    def per_second(self) -> float | None:
        """Return the rate now; None while there is too little to tell."""
        now = self._clock()
        if self._started is None or now - self._started < _SOONEST_SECONDS:
            return None
        while self._slots and self._slots[0][0] <= now - WINDOW_SECONDS:
            self._slots.popleft()
        seconds = min(WINDOW_SECONDS, now - self._started)
        return sum(count for _, count in self._slots) / seconds
