"""A sum that all users of one run share: taken before an effect, given back in part after it."""

from __future__ import annotations

from threading import Lock

from lmboot.runtime.operations import Refused


class QuotaSpent(Refused):
    """There is less left than was asked for; nothing was taken."""

    def __init__(self) -> None:
        super().__init__("quota", "this runtime has used up what it may have")


class Quota:
    """So many bytes, calls or tokens in all; safe from any thread and task.

    There is no way to look first: `reserve` decides and takes in one step.
    """

    def __init__(self, total: int) -> None:
        self.total = total
        self._taken = 0
        self._lock = Lock()

    @property
    def taken(self) -> int:
        """What is spent or reserved now; it may differ by the time that it is read."""
        return self._taken

    def reserve(self, amount: int) -> Reservation:
        """Take an amount, or raise QuotaSpent; taking exactly what is left is allowed."""
        if amount < 0:
            raise ValueError("an amount is never negative")
        with self._lock:
            if amount > self.total - self._taken:
                raise QuotaSpent
            self._taken += amount
        return Reservation(self, amount)

    def _give_back(self, amount: int) -> None:
        with self._lock:
            self._taken -= amount


class Reservation:
    """What was taken for one effect. One that is never settled counts as spent whole."""

    def __init__(self, quota: Quota, amount: int) -> None:
        self._quota = quota
        self._amount = amount
        self._open = Lock()  # held from the first settling on

    def settle(self, actual: int) -> None:
        """Give back what was not used; once only. Raises ValueError where more was used."""
        if not 0 <= actual <= self._amount:
            raise ValueError("more was used than was reserved")
        if self._open.acquire(blocking=False):
            self._quota._give_back(self._amount - actual)
