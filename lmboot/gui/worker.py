"""The thread that works: one event loop with a desk in it, so that nothing blocks the window.

In goes what is posted, out comes what is told through the outbox; no widget is ever seen here.
Everything heavy is imported here too, while the window stands already.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from lmboot.gui.messages import Closed, Complained, Message
from lmboot.gui.outbox import Outbox

if TYPE_CHECKING:
    import asyncio

    from lmboot.gui.backstage import Backstage

Job = Callable[["Backstage"], object]


class Worker:
    """Starts when it is told to; what is posted before that waits."""

    def __init__(self, outbox: Outbox[Message]) -> None:
        """Tell everything through `outbox`."""
        self._outbox = outbox
        self._waiting: deque[Job] = deque()
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._backstage: Backstage | None = None
        self._thread = threading.Thread(target=self._run, name="worker", daemon=True)

    def start(self) -> None:
        """Begin to work."""
        self._thread.start()

    def post(self, job: Job) -> None:
        """Have `job` called with the backstage, in its loop, after what was posted before."""
        with self._lock:
            self._waiting.append(job)
            if self._loop is not None:
                self._loop.call_soon_threadsafe(self._work)

    def join(self, seconds: float) -> bool:
        """Wait for its end; say whether it has come."""
        if self._thread.ident is not None:
            self._thread.join(seconds)
        return not self._thread.is_alive()

    def _run(self) -> None:
        import asyncio

        try:
            asyncio.run(self._main())
        except Exception as error:  # noqa: BLE001 - the last place to tell it: nothing works now
            self._outbox.tell(_broken(error))
        finally:
            self._outbox.tell(Closed())

    async def _main(self) -> None:
        import asyncio

        from lmboot.gui.backstage import Backstage

        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: self._tell_broken(context))
        self._backstage = Backstage(self._outbox)
        with self._lock:
            self._loop = loop
        try:
            self._work()
            await self._backstage.closed.wait()
        finally:
            with self._lock:  # before it is closed: what is posted from now on is not done
                self._loop = None

    def _work(self) -> None:
        while self._waiting:
            job = self._waiting.popleft()
            try:
                job(self._backstage)  # type: ignore[arg-type] # it is there when the loop is
            except Exception as error:  # noqa: BLE001 - an error of lmboot's own must be seen
                self._outbox.tell(_broken(error))

    def _tell_broken(self, context: dict[str, object]) -> None:
        error = context.get("exception")
        self._outbox.tell(_broken(error if isinstance(error, Exception) else context["message"]))


def _broken(error: object) -> Complained:
    kind = f"{type(error).__name__}: " if isinstance(error, Exception) else ""
    return Complained(f"an error in lmboot itself: {kind}{error}. Please report it.")
