"""The look-alike of LM Studio for tests that are no coroutines, on a loop in a thread of its own.

    with Server("hold", replies=[payload(ECHO)]) as server:
        ...  # server.base for lmboot; server.asked() when it has asked; server.release()

What it can do to a client is in `tests.connections.lookalike.SCRIPTS`. For a window these matter:
"plain" answers at once, "hold" loads a model until it is released, "trickle" streams slowly until
then, "pause" and "stall" stop in the middle, "cut" breaks the connection there. `models = []`
lists nothing, a token is demanded when one is given, and two replies make the first one garbage
and the second one good.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Sequence
from types import TracebackType
from typing import Any

from tests.connections.lookalike import MODELS, Lookalike, Served
from tests.gui.desktop import PATIENCE


class Server:
    """A running look-alike; `look` is it, to be read at any time."""

    def __init__(
        self,
        *scripts: str,
        replies: Sequence[str] = ("Hello from the look-alike.",),
        models: Sequence[Served] = MODELS,
        token: str | None = None,
    ) -> None:
        self.look = Lookalike(scripts or "plain", reply=replies, models=models, token=token)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="look-alike")

    def __enter__(self) -> Server:
        self._thread.start()
        self._do(self.look.__aenter__(), "the server")
        self.base = self.look.base
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._do(self.look.__aexit__(kind, error, traceback), "its end")
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _do(self, something: Coroutine[Any, Any, object], what: str) -> None:
        future = asyncio.run_coroutine_threadsafe(something, self._loop)
        try:
            future.result(PATIENCE)
        except TimeoutError:
            future.cancel()
            raise AssertionError(f"waited in vain for {what}") from None

    def play(self, *scripts: str, replies: Sequence[str] = ()) -> None:
        """Answer the next chats so; replies that are not given stay as they are."""
        self.look.scripts = list(scripts)
        self.look.replies = list(replies) or self.look.replies

    def release(self) -> None:
        """Let the requests go on that the scripts hold, and all that come later."""
        self._loop.call_soon_threadsafe(self.look.release)

    def asked(self, times: int = 1) -> list[dict[str, Any]]:
        """Wait until so many chat requests have come, and return the bodies of all."""
        self._do(self.look.asked(times), f"{times} chats; there were {len(self.look.chats)}")
        return list(self.look.chats)

    def disconnected(self, times: int = 1) -> None:
        """Wait until so many clients have left before their answer ended."""
        self._do(self.look.disconnected(times), f"{times} clients to leave")
