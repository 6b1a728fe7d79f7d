"""What all users of one run share: a sum, taken before an effect and given back in part after it,
and a pace.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Lock
from time import monotonic

from lmboot.runtime.operations import Refused

_TOO_MUCH = "this is more than what is left for this runtime"


class QuotaSpent(Refused):
    """There is less left than was asked for; nothing was taken."""

    def __init__(self, text: str = _TOO_MUCH) -> None:
        super().__init__("quota", text)


class Quota:
    """So many bytes, calls or tokens in all; safe from any thread and task.

    There is no way to look first: `reserve` decides and takes in one step. `spent` is the
    sentence for whoever finds too little left.
    """

    def __init__(self, total: int, spent: str = _TOO_MUCH) -> None:
        self.total, self._spent = total, spent
        self._taken = 0
        self._lock = Lock()

    @property
    def taken(self) -> int:
        """What is spent or reserved now; it may differ by the time that it is read."""
        return self._taken

    def reserve(self, amount: int, *, least: int | None = None) -> Reservation:
        """Take an amount, or raise QuotaSpent; taking exactly what is left is allowed.

        With `least`, what is left will do where it is that much: the reservation's `amount` tells.
        """
        if amount < 0:
            raise ValueError("an amount is never negative")
        with self._lock:
            left = self.total - self._taken
            if (amount if least is None else least) > left:
                raise QuotaSpent(self._spent)
            amount = min(amount, left)
            self._taken += amount
        return Reservation(self, amount)

    @contextmanager
    def spending(self, most: int, *, least: int | None = None) -> Iterator[Spent]:
        """Take the most that one effect may use; afterwards only what it did use is gone."""
        reservation = self.reserve(most, least=least)
        spent = Spent(reservation.amount)
        try:
            yield spent
        finally:
            reservation.settle(spent.used)

    def _give_back(self, amount: int) -> None:
        with self._lock:
            self._taken -= amount


class Reservation:
    """What was taken for one effect. One that is never settled counts as spent whole."""

    def __init__(self, quota: Quota, amount: int) -> None:
        self._quota = quota
        self.amount = amount
        self._open = Lock()  # held from the first settling on

    def settle(self, actual: int) -> None:
        """Give back what was not used; once only. What was used beyond it is gone as well."""
        if actual < 0:
            raise ValueError("nobody uses less than nothing")
        if self._open.acquire(blocking=False):
            self._quota._give_back(self.amount - actual)


@dataclass(slots=True)
class Spent:
    """How much one effect may use and has used so far.

    Whoever causes it keeps `used` true, however it ends.
    """

    most: int
    used: int = 0


class TooOften(Refused):
    """There were so many already that this one has to wait; it was not counted."""

    def __init__(self, most: int, seconds: float, wait: float) -> None:
        super().__init__(
            "rate", f"at most {most} in {seconds:g} s; the next one is possible in {wait:.0f} s"
        )


class Rate:
    """At most so many in any stretch of so many seconds; safe from any thread and task."""

    def __init__(self, most: int, seconds: float, clock: Callable[[], float] = monotonic) -> None:
        self.most, self.seconds, self._clock = most, seconds, clock
        self._times: deque[float] = deque(maxlen=most)
        self._lock = Lock()

    def take(self) -> None:
        """Count one, or raise TooOften."""
        with self._lock:
            now = self._clock()
            if len(self._times) == self.most:
                wait = self._times[0] + self.seconds - now
                if wait > 0:
                    raise TooOften(self.most, self.seconds, wait)
            self._times.append(now)  # the oldest of them is forgotten
