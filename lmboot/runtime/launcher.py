"""What the rest of lmboot uses to run a payload: a Launcher, and the Runtime that it gives."""

from __future__ import annotations

from lmboot.errors import SandboxFault
from lmboot.process import Ended, Output
from lmboot.runtime import posture
from lmboot.runtime.policy import Limits
from lmboot.runtime.posture import NO_WISH, Wish
from lmboot.runtime.properties import IN_WORDS, Properties, SandboxLevel, in_words, short_of
from lmboot.runtime.run import Box, Job, Runtime
from lmboot.workspace import CopyReport

__all__ = [
    "IN_WORDS",
    "CopyReport",
    "Ended",
    "Job",
    "Launcher",
    "Output",
    "Properties",
    "Runtime",
    "SandboxLevel",
    "Wish",
    "in_words",
]


class Launcher:
    """A back end that was proven to work here, with all started that can be ahead of need.

    It serves one launch. `properties` are what was proven, by their names in IN_WORDS;
    `no_programs` is why no program of this machine can be run beside it, "" where one can.
    """

    def __init__(self, box: Box, properties: Properties, no_programs: str) -> None:
        self._box = box
        self.backend, self.properties = box.backend.name, properties
        self.no_programs = no_programs

    @classmethod
    async def prepare(
        cls,
        sandbox: str = "auto",
        *,
        no_border: bool = False,
        limits: Limits | None = None,
        wish: Wish = NO_WISH,
    ) -> Launcher:
        """Choose the back end and set up a sandbox in it, for a payload that is still to come.

        Raises SandboxFault where none is usable, UsageFault for a name that nobody knows. The
        proof takes about half a second once per boot: call it while the model still answers.
        `limits` are the policy's; a payload with another disk_mb costs a second setting up.
        """
        chosen = await posture.choose(sandbox, no_border=no_border, wish=wish)
        box = await Box.open(chosen.backend, limits, chosen.places)
        return cls(box, chosen.properties, posture.no_programs(box.backend.name, wish.image))

    def short_of(self, level: SandboxLevel) -> list[str]:
        """Return what this one lacks of a level; consent to `none` is consent to level low."""
        walls = posture.walls(self.backend)
        return [] if level == "low" else short_of(level, self.properties, walls=walls)

    async def beside(self, limits: Limits) -> Launcher:
        """Set up one more sandbox of the same kind; raise SandboxFault."""
        return Launcher(await self._box.another(limits), self.properties, self.no_programs)

    async def launch(self, job: Job) -> Runtime:
        """Start the job; raise SandboxFault if it could not be set up (nothing ran then)."""
        try:
            return await self._box.launch(job)
        except SandboxFault:
            posture.forget()
            raise

    async def close(self) -> None:
        """Release everything; a runtime that it launched is killed. Idempotent."""
        await self._box.close()
