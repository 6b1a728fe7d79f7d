"""What the window is told of a runtime's border, made harmless; lives in the worker's thread."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping

from lmboot.app.border import Border
from lmboot.app.sandboxes import CONTAINERS, USUAL, Sandbox, first_usable
from lmboot.gui import bordermessages as b
from lmboot.gui import messages as m
from lmboot.gui.outbox import Outbox
from lmboot.gui.shown import sentence, visible
from lmboot.runtime.policy import OPERATIONS, ROUTES
from lmboot.runtime.posture import Wish
from lmboot.runtime.properties import IN_WORDS, in_words
from lmboot.runtime.routes import Routes
from lmboot.text import brief

LOOK_SECONDS = 0.2  # between two looks: a change by `:route` or by an end of its time shows soon
SOON_SECONDS = 0.02  # after something was to be changed
_SHORT, _LONG = 60, 300  # characters
_SCOPES = {
    "run": "until it ends",
    "once": "this once",
    "while": "for a while",
    "always": "this payload, always",
}
_RANK = {"absent": 0, "partial": 1, "enforced": 2}


class BorderWatch:
    """Tells what the border is like whenever that has changed."""

    def __init__(self, outbox: Outbox[m.Message], border: Callable[[], Border | None]) -> None:
        """Ask `border` for the one of the runtime that runs."""
        self._outbox, self._border = outbox, border
        self._told: b.Border | None = None
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to look, unless that goes on already."""
        if self._task is None:
            self._task = asyncio.create_task(self._watch())

    def stop(self) -> None:
        """Look no more."""
        if self._task is not None:
            self._task.cancel()

    def look_soon(self) -> None:
        """Look once more, a moment from now."""
        asyncio.get_running_loop().call_later(SOON_SECONDS, self.look)

    async def _watch(self) -> None:
        while True:
            self.look()
            await asyncio.sleep(LOOK_SECONDS)

    def look(self) -> None:
        """Tell it if it is not what was told last."""
        border = self._border()
        now = shown_border(border) if border is not None else None
        if now != self._told:
            self._told = now
            self._outbox.tell(b.Bordered(now))


def shown_border(border: Border) -> b.Border:
    """Return all that is shown of a border as it is now."""
    return b.Border(
        backend=border.backend,
        posture=posture(border.properties),
        routes=shown_routes(border.routes),
        grants=tuple(shown_grants(border)),
        unrecorded=brief(border.fault.in_full, _LONG) if border.fault else "",
    )


async def sandboxes(image: str | None, say: Callable[[str], None]) -> b.Sandboxes:
    """Return what the next program can run in; proves what was not proven since the last boot.

    `image` is what the settings have containers made of; `say` is told of what takes long.
    """
    wish = Wish(image=image, say=say)
    usual, container = await first_usable(USUAL, wish), await first_usable(CONTAINERS, wish)
    return b.Sandboxes(_shown_sandbox(usual), _shown_sandbox(container))


def preparing(text: str) -> b.Preparing:
    """Return what a sandbox's being made ready is shown by."""
    return b.Preparing(visible(sentence(text, _LONG)))


def _shown_sandbox(found: Sandbox) -> b.Sandbox:
    trouble = brief(found.fault.in_full, _LONG) if found.fault else ""
    return b.Sandbox(found.name, posture(found.properties) if found.name else (), visible(trouble))


def posture(properties: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """Return each property's level and its words, what is missing first."""
    levels = {name: properties.get(name, "absent") for name in IN_WORDS}
    names = sorted(levels, key=lambda name: _RANK.get(levels[name], 0))
    return tuple((levels[name], in_words(name, levels[name])) for name in names)


def shown_routes(routes: Routes) -> tuple[b.Route, ...]:
    """Return the route of every operation, with those that a flip would not reach."""
    return tuple(b.Route(op, routes.effective(op), tuple(_held(routes, op))) for op in OPERATIONS)


def _held(routes: Routes, op: str) -> Iterator[tuple[str, str]]:
    for wanted in ROUTES:
        if why := routes.held_back(op, wanted):
            yield wanted, why


def shown_grants(border: Border) -> Iterator[b.Grant]:
    """Yield what is granted now."""
    for grant in border.grants.shown():
        what = f"{grant.name}/" if grant.path else grant.name
        left = None if grant.seconds_left is None else int(grant.seconds_left)
        words = visible(brief(what, _SHORT))
        yield b.Grant(grant.kind, grant.name, words, _SCOPES[grant.scope], left)
