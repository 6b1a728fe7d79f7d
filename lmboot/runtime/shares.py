"""What the programs of the host may use that are run for one runtime: one run's limits in all.

The runtime's own use is not in there: it has its limits, and all of its programs together have as
much once more, however many there are.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from lmboot.runtime.policy import Limits
from lmboot.runtime.quota import Quota, Spent

MOST_LIVE = 4
WALL_SECONDS = 60.0
OUTPUT_BYTES = 1 << 20  # of one program, both streams together
_MB = 1 << 20
_SPENT = "the programs that were run for this runtime have used up its limit of {}"


@dataclass(frozen=True, slots=True)
class Share:
    """What one program may use; `cpu`, in milliseconds, and `output`, in bytes, come out of sums.

    Whoever runs it keeps both true.
    """

    limits: Limits
    cpu: Spent
    output: Spent

    def begin(self) -> None:
        """Count all of its CPU time as used, until it is told what was."""
        self.cpu.used = self.cpu.most

    def end(self, cpu_seconds: float | None) -> None:
        """Count what it used; None: nobody can tell, and all of it stays counted."""
        if cpu_seconds is not None:
            self.cpu.used = math.ceil(cpu_seconds * 1000)


class Shares:
    """A run's limits, divided among the programs that may live at once: `most_live`.

    What a program holds only while it lives (memory, disk, processes) it gives back with its end.
    CPU time and output are used up: each takes the most that it may use out of their sum before
    it starts, and gives back what it did not use. Its wall clock is its own.
    """

    def __init__(self, limits: Limits) -> None:
        """Take the run's limits; with fewer than four processes fewer programs live at once."""
        most = self.most_live = min(MOST_LIVE, max(1, int(limits.processes)))
        self._each = replace(
            limits,
            memory_mb=limits.memory_mb / most,
            disk_mb=limits.disk_mb / most,
            processes=limits.processes // most,
            wall_seconds=min(limits.wall_seconds or WALL_SECONDS, WALL_SECONDS),
        )
        self._cpu = Quota(math.ceil(limits.cpu_seconds * 1000), _SPENT.format("CPU time"))
        self._output = Quota(math.ceil(limits.output_mb * _MB), _SPENT.format("output"))

    @contextmanager
    def one(self) -> Iterator[Share]:
        """Take one program's share, or what is left of it; QuotaSpent where nothing is."""
        cpu_most = math.ceil(self._cpu.total / self.most_live)
        output_most = min(OUTPUT_BYTES, math.ceil(self._output.total / self.most_live))
        with (
            self._cpu.spending(cpu_most, least=1) as cpu,
            self._output.spending(output_most, least=1) as output,
        ):
            limits = replace(self._each, cpu_seconds=cpu.most / 1000, output_mb=output.most / _MB)
            yield Share(limits, cpu, output)
