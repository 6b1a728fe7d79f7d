"""What the rest of lmboot uses to run a payload: a Launcher, and the Runtime that it gives."""

from __future__ import annotations

from lmboot.errors import SandboxFault, UsageFault
from lmboot.process import Ended, Output
from lmboot.runtime.backends import NOT_BUILT, bubblewrap
from lmboot.runtime.run import Box, Job, Runtime

__all__ = ["Ended", "Job", "Launcher", "Output", "Runtime"]


class Launcher:
    """A sandbox that was proven to work here, with everything started that can be ahead of need.

    It serves one launch.
    """

    def __init__(self, box: Box) -> None:
        self._box = box

    @property
    def backend(self) -> str:
        """The name of the back end."""
        return self._box.backend.name

    @classmethod
    async def prepare(cls, sandbox: str = "auto", *, no_border: bool = False) -> Launcher:
        """Choose the back end and start its supervisor; raise SandboxFault where none is usable."""
        if sandbox in NOT_BUILT:
            raise SandboxFault(
                f"the back end {sandbox} is not built yet in this version",
                hint="Use --sandbox auto, which takes the best one of this machine.",
            )
        if sandbox not in ("auto", "bubblewrap"):
            raise UsageFault(f"there is no back end {sandbox!r}")
        return cls(await Box.open(bubblewrap.find()))

    async def launch(self, job: Job) -> Runtime:
        """Start the job; raise SandboxFault if it could not be set up (nothing ran then)."""
        return await self._box.launch(job)

    async def close(self) -> None:
        """Release everything; a runtime that it launched is killed. Idempotent."""
        await self._box.close()
