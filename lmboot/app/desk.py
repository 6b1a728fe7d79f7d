"""The main job for a front end that stays open: models come and go, one session follows another.

A `Desk` lives in one event loop. Its methods return at once; what comes of them is told to the
`Lobby`, what happens in a session to that session's own view. The front end decides what the
user may do when; here, what can't be done any more is simply not done.

What only a session needs (the payload's schema above all) is imported when one begins: the models
are listed in half the time without it.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from lmboot.app import lms
from lmboot.app.lobby import Lobby
from lmboot.app.models import (
    TOKEN_NAMES,
    Found,
    file_row,
    look_around,
    open_model,
    seed_row,
    warm,
)
from lmboot.app.opened import Opened
from lmboot.app.options import Options
from lmboot.app.places import Places
from lmboot.app.view import View
from lmboot.connections.addresses import named_server
from lmboot.connections.interface import Connection, Model
from lmboot.connections.tokens import remember
from lmboot.errors import ConnectionFault, LmbootError, NoServer, TokenRefused, UsageFault
from lmboot.settings import Settings

if TYPE_CHECKING:
    from lmboot.app.boot import Boot
    from lmboot.app.border import Border
    from lmboot.bootstrap.handshake import Refused
    from lmboot.bootstrap.library import Kept, Library

MOST_KEPT = 4  # payloads of one model that are offered
FIRST_RETRY, LAST_RETRY = 2.0, 30.0  # seconds until servers are looked for again


class Session:
    """One session: its `Boot`, the lines on their way to it, and the task that runs it."""

    def __init__(self, boot: Boot) -> None:
        """Make it; `task` is set when it runs."""
        self.boot = boot
        self.task: asyncio.Task[None]
        self._cancelled = False
        self._lines: asyncio.Queue[str] = asyncio.Queue()

    @property
    def goes_on(self) -> bool:
        """Say whether its end is still to come."""
        return not self.task.done()

    def cancel(self) -> None:
        """End it in order: a second time would break off what ends the runtime.

        Not at once: a task that never began could not tell its end.
        """
        if not self._cancelled:
            self._cancelled = True
            asyncio.get_running_loop().call_soon(self.task.cancel)

    def send(self, line: str) -> None:
        """Hand over what the user typed."""
        self._lines.put_nowait(line)

    async def lines(self) -> AsyncIterator[str]:
        """Yield what the user types, without an end: the session is ended by cancelling it."""
        while True:
            yield await self._lines.get()


class Desk:
    """See the module; `environ` holds the servers and tokens that the user named."""

    def __init__(
        self,
        lobby: Lobby,
        settings: Settings,
        places: Places,
        environ: Mapping[str, str] = os.environ,
        opener: Callable[..., Coroutine[None, None, Connection]] = open_model,
    ) -> None:
        """Begin with nothing listed, opened or running; `opener` is called as `open_model` is."""
        self.settings, self.places = settings, places
        self.sandbox = "auto"  # what the next program runs in
        self._lobby, self._environ, self._opener = lobby, environ, opener
        self._found, self._files = Found(), dict[str, Model]()
        self._tasks: set[asyncio.Task[None]] = set()  # all of them,
        self._passing: set[asyncio.Task[None]] = set()  # and those that the end breaks off
        self._watching: asyncio.Task[None] | None = None
        self._warming: asyncio.Task[None] | None = None
        self._model: Model | None = None
        self._opened: Opened | None = None
        self._session: Session | None = None
        self._closing = False

    def _start(self, doing: Coroutine[None, None, None]) -> asyncio.Task[None]:
        """Do something that the end breaks off; what goes wrong with it is told."""
        task = self._finish(doing)
        self._passing.add(task)
        task.add_done_callback(self._passing.discard)
        if self._closing:
            task.cancel()
        return task

    def _finish(self, doing: Coroutine[None, None, None]) -> asyncio.Task[None]:
        """Do something that the end waits for; what goes wrong with it is told."""
        task = asyncio.create_task(self._told(doing))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(lambda _: doing.close())  # it may be broken off before it began
        return task

    async def _told(self, doing: Coroutine[None, None, None]) -> None:
        try:
            await doing
        except LmbootError as error:
            self._lobby.complain(error)

    # ------------------------------------------------------------------ which models there are

    def look(self, server: str | None = None) -> None:
        """List the models of `server`, else of all that are found; try on until one answers."""
        if self._watching is not None:
            self._watching.cancel()
        self._watching = self._start(self._watch(server or None))

    async def _watch(self, server: str | None) -> None:
        wait = FIRST_RETRY
        self._lobby.looking()
        try:
            named_server(server, self._environ)
        except UsageFault:  # the models that need no server are there all the same
            self._tell(Found())
            raise
        while problem := await self._look(server):
            self._lobby.unreachable(named_server(server, self._environ), problem, wait)
            await asyncio.sleep(wait)
            wait = min(2 * wait, LAST_RETRY)

    async def _look(self, server: str | None) -> LmbootError | None:
        """Look around once; return why another try is worth while, None when it is not."""
        problem: LmbootError | None = None
        try:
            found = await self._around(server)
        except ConnectionFault as error:
            found, problem = Found(complaints=[error]), error
            base = named_server(server, self._environ) or self.settings.window.server
            if isinstance(error, TokenRefused) and base:
                found.locked[base] = error
        if not (problem or found.tokens):
            problem = found.complaints[0] if found.complaints else _nobody()
        self._tell(found)
        return None if found.locked else problem

    async def _around(self, server: str | None) -> Found:
        """Look where the user says, else first at the server in the settings."""
        own = self.settings.window.server
        if own and named_server(server, self._environ) is None:
            try:
                return await look_around(own, self._environ)
            except NoServer as error:
                self._lobby.note(f"{error}; others are looked for")
        return await look_around(server, self._environ)

    def _tell(self, found: Found) -> None:
        """Show what was found, with the models that need no server."""
        served = [model for model in found.models if model.kind != "seed"]
        self._found = replace(found, models=[*served, *self._files.values(), seed_row()])
        self._lobby.listed(self._found)
        for base, refusal in found.locked.items():
            self._lobby.locked(base, refusal)

    def give_token(self, server: str, token: str, looked_for: str | None) -> None:
        """Keep a token for a server and look again."""

        async def keep() -> None:
            if await asyncio.to_thread(remember, server, token) == "session":
                self._lobby.note("this system has no keyring: the token is kept until lmboot ends")
            self._let_go()
            self._environ = {
                name: value for name, value in self._environ.items() if name not in TOKEN_NAMES
            }
            self.look(looked_for)

        self._start(keep())

    def start_server(self) -> None:
        """Have LM Studio start its server, then look again."""

        async def start() -> None:
            self._lobby.status("starting LM Studio's server")
            await lms.start_server()
            self.look()

        self._start(start())

    def open_file(self, path: str) -> None:
        """Judge a file by its header and list it; whether it loads shows when it is chosen."""

        async def add() -> None:
            if path.lower().endswith(".4dllm"):
                raise UsageFault(
                    "this version of lmboot can't open .4dllm packages yet",
                    hint="Give it a .gguf file.",
                )
            model = await asyncio.to_thread(lambda: file_row(Path(path).absolute()))
            self._files[model.id] = model
            self._lobby.added(model)

        self._start(add())

    # ------------------------------------------------------------------ the model that is open

    def choose(self, model: Model) -> None:
        """Open a model ahead of need, and warm it; the one before is closed."""
        if self._closing or (self._opened and self._opened.model == model and self._usable):
            return
        self._model = model
        self._let_go()
        self._opened = Opened(model, self._open(model))
        self._start(self._greet(self._opened))

    @property
    def _usable(self) -> bool:
        return self._opened is not None and not self._opened.failed

    def _let_go(self) -> None:
        opened, self._opened = self._opened, None
        if opened is not None:
            self._finish(opened.let_go())
        if self._warming is not None:
            self._warming.cancel()

    async def _open(self, model: Model) -> Connection:
        token = self._found.tokens.get(model.server)
        return await self._opener(model, token, context=self.settings.context, says=self._lobby)

    async def _greet(self, opened: Opened) -> None:
        connection = await opened.connection()
        self._lobby.opened(connection.model)
        self._tell_kept(opened.model)
        if not connection.local:
            self._lobby.note(f"{opened.model.id} runs on another machine: {opened.model.server}")
        busy = self._session is not None and self._session.goes_on
        if self.settings.warm and opened is self._opened and not busy:
            self._warming = self._start(warm(connection))

    def _tell_kept(self, model: Model) -> None:
        def read() -> list[Kept]:
            return list(islice(_library(self.places.payloads).of(model.id), MOST_KEPT))

        async def tell() -> None:
            kept = await asyncio.to_thread(read)
            self._lobby.kept(model, kept)

        self._start(tell())

    # ------------------------------------------------------------------ one session

    def bootstrap(self, view: View) -> None:
        """Ask the chosen model for a payload; what it answers is shown before it runs."""
        self._begin(view, Options(ask_again=True))

    def mend(self, view: View, refused: Refused) -> None:
        """Ask the model to mend what an earlier asking ended with."""
        self._begin(view, Options(ask_again=True, mend=refused))

    def run_again(self, view: View) -> None:
        """Run the payload of the last session once more, in a session of its own."""
        if self._session and (payload := self._session.boot.payload):
            origin = self._session.boot.payload_model
            text = json.dumps(payload.normalised()).encode()
            self._begin(view, Options(payload=text, payload_from=origin))
        else:
            self._lobby.over(view, UsageFault("there is no program that could run again"))

    def run_kept(self, view: View, sha256: str) -> None:
        """Run a payload that was kept, without asking the model for it."""
        try:
            kept = _library(self.places.payloads).find(sha256)
        except LmbootError as error:
            self._lobby.over(view, error)
            return
        text = json.dumps(kept.payload.normalised()).encode()
        self._begin(view, Options(payload=text, payload_from=kept.model))

    def _begin(self, view: View, wanted: Options) -> None:
        from lmboot.app.boot import Boot

        if self._model is not None and not self._usable:
            self.choose(self._model)
        opened, before = self._opened, self._session
        if opened is None or self._closing:
            nothing = None if self._closing else UsageFault("no model was chosen yet")
            self._lobby.over(view, nothing)
            return
        options = replace(wanted, sandbox=self.sandbox, can_ask=True, live=True, paced=False)
        connect = opened.connection
        boot = Boot(options, view, self.settings, self.places, open_connection=connect)
        opened.need()
        if before is not None:
            before.cancel()
        self._session = session = Session(boot)
        session.task = self._finish(self._run(before, session, opened, view))

    async def _run(
        self, before: Session | None, session: Session, opened: Opened, view: View
    ) -> None:
        failure: LmbootError | None = None
        try:
            if before is not None:
                await asyncio.wait({before.task})
            await self._stop_warming()
            failure = await session.boot.run(session.lines())
        except LmbootError as error:
            failure = error
        finally:
            self._finish(opened.let_go())
            self._lobby.over(view, failure)
            self._after(opened, failure)
            self._tell_kept(opened.model)

    async def _stop_warming(self) -> None:
        """Break it off: unfinished, it would only stand before the real question."""
        if self._warming is not None:
            self._warming.cancel()
            await asyncio.gather(self._warming, return_exceptions=True)

    def _after(self, opened: Opened, failure: LmbootError | None) -> None:
        """Ask for a token that was refused; start an engine that died anew."""
        if isinstance(failure, TokenRefused):
            self._lobby.locked(opened.model.server, failure)
        if opened.died and opened is self._opened:
            self.choose(opened.model)

    def send(self, line: str) -> None:
        """Hand over a line that the user typed."""
        if self._session is not None:
            self._session.send(line)

    @property
    def border(self) -> Border | None:
        """What stands between the runtime that runs and this machine; None where none runs."""
        talk = self._session.boot.talk if self._session else None
        return talk.border if talk is not None and talk.ended is None else None

    def change(self, verb: str, text: str) -> None:
        """Change a route or a grant as `:route`, `:grant` and `:revoke` do, before other lines."""
        if self._session is not None:
            self._start(self._session.boot.talk.to_border(verb, text))

    def interrupt(self) -> None:
        """Break off what the model answers, else what the runtime does."""
        if self._session is not None:
            self._session.boot.interrupt()

    def stop(self) -> None:
        """End the runtime in the contract's sequence; the session stays."""
        if self._session is not None:
            self._finish(self._session.boot.talk.stop())

    def kill(self) -> None:
        """End the runtime now."""
        if self._session is not None:
            self._finish(self._session.boot.talk.kill())

    def cancel(self) -> None:
        """End the session: an asking, a launch, or what is left of a runtime that ended."""
        if self._session is not None:
            self._session.cancel()

    def transcript(self) -> Path | None:
        """Return the file that all of the session is in so far; None before there is one."""
        return self._session.boot.talk.transcript() if self._session else None

    # ------------------------------------------------------------------ the end

    async def close(self) -> None:
        """End everything and let go of every model."""
        self._closing = True
        for task in self._passing:
            task.cancel()
        self.cancel()
        self._let_go()
        while self._tasks:
            await asyncio.wait(self._tasks)


def _library(folder: Path) -> Library:
    from lmboot.bootstrap.library import Library

    return Library(folder)


def _nobody() -> NoServer:
    return NoServer(
        "no model server was found on this machine",
        hint="Start LM Studio's server (Developer tab, or `lms server start`), or name another "
        "one above.",
    )
