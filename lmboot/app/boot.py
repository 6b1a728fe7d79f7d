"""The main job, the same for every front end: from a model, or a payload given, to a session."""

from __future__ import annotations

import asyncio
import shlex
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass, field

from lmboot import keychain
from lmboot.app.border import NO_BORDER, Beside, Border, agreed_routes
from lmboot.app.models import choose, open_model, warm
from lmboot.app.options import Options
from lmboot.app.places import Places
from lmboot.app.talk import Talk
from lmboot.app.transcript import Transcript
from lmboot.app.view import Chooser, Declined, View
from lmboot.bootstrap import prompts
from lmboot.bootstrap.handshake import Accepted, Refused, bootstrap
from lmboot.bootstrap.judge import Verdict, judge_bytes
from lmboot.bootstrap.library import Library
from lmboot.bootstrap.payload import Payload
from lmboot.bootstrap.review import Review, warnings_about
from lmboot.connections.interface import Connection
from lmboot.errors import (
    ConsentImpossible,
    FileUnreadable,
    Interrupted,
    LmbootError,
    PayloadRejected,
    SandboxFault,
)
from lmboot.runtime.launcher import Job, Launcher, SandboxLevel, Wish
from lmboot.runtime.policy import Limits
from lmboot.runtime.routes import Routes
from lmboot.settings import Settings
from lmboot.text import brief


@dataclass(slots=True)
class Boot:
    """One run of the main job, from the choice of a model to the end of the session.

    `chooser` lets the user choose a model; `open_connection` is for a front end that opens
    models itself, and closes them. `payload` is the one that was launched last, and
    `payload_model` is where it came from.
    """

    options: Options
    view: View
    settings: Settings
    places: Places
    chooser: Chooser | None = None
    open_connection: Callable[[], Awaitable[Connection]] | None = None
    connection: Connection | None = None
    launcher: Launcher | None = None
    payload: Payload | None = None
    payload_model: str = ""
    talk: Talk = field(init=False)

    def __post_init__(self) -> None:
        """Make the session that everything is shown in; it has no runtime yet."""
        self.talk = Talk(
            self.view,
            Transcript(self.places.transcripts),
            wait_seconds=self.options.wait_seconds,
            is_trigger=lambda text: self.settings.is_trigger(text, prompts.TRIGGERS),
            bootstrap_anew=self._anew,
            live=self.options.live,
        )
        self.talk.keep = self.options.keep

    async def run(self, lines: AsyncIterator[str]) -> LmbootError | None:
        """Do it all; return the failure that the session ended with, raise one before it began."""
        try:
            if self.settings.complaint:
                self.view.note(self.settings.complaint)
            await self._prepare()
            try:
                await self._first()
                await self._converse(lines)
            finally:
                await self.talk.close()
        except Declined:
            return None
        else:
            return self.talk.failure
        finally:
            await self._close()

    async def _prepare(self) -> None:
        """Find a sandbox and open the model at the same time: both take their moment."""
        keychain.warm()  # the audit log's key may stand there
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._new_launcher())
                group.create_task(self._open())
        except BaseExceptionGroup as failures:
            raise failures.exceptions[0] from None

    async def _new_launcher(self, level: SandboxLevel = "low") -> None:
        options = self.options
        self.launcher = await Launcher.prepare(
            options.sandbox,
            no_border=options.no_border or options.can_ask,  # asked before it runs
            limits=self.settings.limits,
            wish=Wish(level, self.settings.container_image, self.view.status),
        )

    async def _raise_launcher(self, payload: Payload) -> None:
        """Have the sandbox that the payload asks for, or raise: it can ask for more only.

        A sandbox that was named is not replaced, and one that was found only by a better one.
        """
        before, level = self.launcher, payload.sandbox_level
        if before is not None and level is not None and before.short_of(level):
            await self._new_launcher(level)
            await before.close()

    async def _open(self) -> None:
        options = self.options
        if self.open_connection is not None:
            self.connection = self.talk.connection = await self.open_connection()
            return
        if options.payload is not None and not (options.model or options.server):
            return
        model, token = await choose(options.model, options.server, self.chooser)
        self.connection = await open_model(
            model, token, context=self.settings.context, says=self.view
        )
        self.talk.connection = self.connection
        if not self.connection.local:
            self.view.note(f"{model.id} runs on another machine: {model.server}")
        if self.chooser is not None and options.model is None:
            await self._wanted(self.chooser, self.connection)

    async def _wanted(self, chooser: Chooser, connection: Connection) -> None:
        """Use the time until the user wants the model that was picked: warm it."""
        warming = asyncio.create_task(warm(connection)) if self.settings.warm else None
        try:
            await chooser.wanted(connection.model)
        finally:
            if warming is not None:  # unfinished, it would only stand before the real question
                warming.cancel()
                await asyncio.gather(warming, return_exceptions=True)

    async def _first(self) -> None:
        if self.options.payload is not None:
            verdict = await asyncio.to_thread(
                judge_bytes, self.options.payload, self.settings.limits
            )
            if verdict.payload is None:
                raise await self._refusal(verdict, None)
            await self._accepted(verdict.payload, verdict, self.options.payload_from)
        elif self.connection is not None:
            await self._ask(self.connection, self.options.mend)

    async def _anew(self) -> None:
        """Bootstrap once more: the runtime that runs is ended only when another is agreed to."""
        if self.connection is None:
            await self.talk.show("sys", "there is no model in this session")
            return
        if self.launcher is None:
            await self._new_launcher()
        try:
            await self._ask(self.connection)
        except (Declined, Interrupted):
            await self.talk.show(
                "sys", "nothing was written or run; the session goes on as it was"
            )

    async def _ask(self, connection: Connection, mend: Refused | None = None) -> None:
        steps = bootstrap(
            connection,
            trigger=self.settings.trigger or prompts.TRIGGER,
            repairs=self.options.repairs,
            limits=self.settings.limits,
            mend=mend,
        )
        async with aclosing(steps):
            async for step in steps:
                await self.view.step(step)
                if isinstance(step, Refused):
                    raise await self._refusal(step.verdict, step.reply)
                if isinstance(step, Accepted):
                    await self._accepted(step.payload, step.verdict, connection.model.id)

    async def _refusal(self, verdict: Verdict, reply: str | None) -> LmbootError:
        problems = [problem._asdict() for problem in verdict.problems]
        first = verdict.problems[0]
        sentence = f"no valid payload came: {first.where}: {first.message}"
        if len(problems) > 1:
            sentence += f" (and {len(problems) - 1} more)"
        await self.talk.show("sys", sentence, "refused", problems=problems)
        return Rejection(verdict, reply, sentence)

    async def _accepted(self, payload: Payload, verdict: Verdict, model: str) -> None:
        library = Library(self.places.payloads)
        await self.talk.show("sys", payload.summary, "payload", sha256=payload.sha256)
        await self._raise_launcher(payload)
        review = self._review(payload, verdict, model, library)
        self._keep(library, review, agreed=False)
        read = await self._agree(review)
        if read:
            self._keep(library, review, agreed=True)
        before = "before" if review.agreed_before else "by --yes"
        await self._launch(payload, review, "by reading it" if read else before)

    def _keep(self, library: Library, review: Review, *, agreed: bool) -> None:
        try:
            library.keep(review.payload, review.model, agreed=agreed)
        except FileUnreadable as error:  # a full disk must not stop the session
            self.view.complain(error)

    def _review(self, payload: Payload, verdict: Verdict, model: str, library: Library) -> Review:
        assert self.launcher is not None  # noqa: S101 - prepared before anything is asked
        routes = self._routes(payload, self.launcher)
        return Review(
            payload=payload,
            verdict=verdict,
            model=model,
            sandbox=self.launcher.backend,
            command=f"python3 {shlex.join(payload.argv)}",
            limits=payload.limits_within(self.settings.limits),
            routes=routes.table(),
            warnings=warnings_about(payload, verdict, routes),
            agreed_before=library.agreed(payload),
            properties=self.launcher.properties,
        )

    def _routes(self, payload: Payload, launcher: Launcher) -> Routes:
        return agreed_routes(payload.routes, self.settings.routes, launcher.backend)

    async def _agree(self, review: Review) -> bool:
        """Get consent; return whether a person read and agreed now, raise when there is none."""
        without_border = review.sandbox == "none" and not self.options.no_border
        if without_border and not self.options.can_ask:
            raise ConsentImpossible(
                "running without a sandbox needs typed consent, but there is no terminal",
                hint="In a script, say so with --no-border beside --yes.",
            )
        if without_border and not await self.view.consent_without_border(review):
            raise Declined
        if self.options.yes or (review.agreed_before and not self.options.ask_again):
            return False
        if not self.options.can_ask:
            raise ConsentImpossible(
                f"payload {review.payload.sha256[:12]} was not run: there is no terminal to ask "
                "for consent on",
                hint="Read it with `lmboot payloads show`, or agree beforehand with --yes.",
            )
        if not await self.view.consent(review):
            raise Declined
        return True

    async def _launch(self, payload: Payload, review: Review, agreed: str) -> None:
        launcher, self.launcher = self.launcher, None
        assert launcher is not None  # noqa: S101 - prepared before anything is asked
        files = tuple((path, content.encode()) for path, content in payload.files)
        routes = {name: route for name, route in review.routes.items() if route != "DENY"}
        system = prompts.interactive(brief(payload.name, 100), routes)
        opening = asyncio.create_task(self._new_border(review, launcher, agreed))
        try:
            if payload.requires_broker:
                _check_broker(await asyncio.shield(opening))
            await self.talk.release()
            job = Job(files, payload.argv, review.limits, review.routes)
            runtime = await launcher.launch(job)  # the log is begun meanwhile
            border = await asyncio.shield(opening)
            border.serve(runtime)
            await self.talk.show("sys", f"runtime started in {launcher.backend}", "started")
            if not border.routes.bordered:
                await self.talk.show("sys", NO_BORDER)
            await self.talk.run(runtime, system, review.limits.output_mb, border)
            self.payload, self.payload_model = payload, review.model
        except BaseException:
            await (await opening).close()
            await launcher.close()
            raise

    async def _new_border(self, review: Review, launcher: Launcher, agreed: str) -> Border:
        border = await Border.open(
            self.places.audit,
            self._routes(review.payload, launcher),
            payload=review.payload.sha256,
            backend=launcher.backend,
            properties=launcher.properties,
            agreed=agreed,
            session=self._reached(review.limits, launcher),
            grants=self.places.grants,
        )
        if border.fault is not None and not review.payload.requires_broker:
            self.view.complain(border.fault)
        return border

    def _reached(self, limits: Limits, launcher: Launcher) -> Beside:
        """Return what the border reaches of this session."""

        def inject(text: str) -> None:
            self.talk.conversation.inject(text)
            self.talk.say(f"the runtime adds to your next :ai line: {text}")

        return Beside(
            model=lambda: self.connection,
            tell=self.talk.say,
            note=self.talk.note,
            inject=inject,
            ask=self.view.ask if self.options.can_ask else None,
            sandbox=launcher.no_programs or launcher.beside,
            limits=limits,
            rules=self.settings.routes,
        )

    async def _converse(self, lines: AsyncIterator[str]) -> None:
        if self.options.paced:
            await self.talk.ready()
        async for line in lines:
            if await self.talk.take(line, paced=self.options.paced):
                continue
            if not self.options.live:
                return
            await self.talk.stop()

    def interrupt(self) -> bool:
        """Break off what goes on inside the session; say whether there was anything."""
        return self.talk.interrupt()

    async def _close(self) -> None:
        if self.launcher is not None:
            await self.launcher.close()
        if self.connection is not None and self.open_connection is None:
            await self.connection.close()


def _check_broker(border: Border) -> None:
    """Raise where a payload that requires its broker would have none that does anything."""
    if border.fault is not None:
        raise SandboxFault(
            f"the payload requires the broker, which could do nothing for it: {border.fault}",
            hint=border.fault.hint,
        )


class Rejection(PayloadRejected):
    """No valid payload came; `verdict` and `reply` are what the last round gave."""

    def __init__(self, verdict: Verdict, reply: str | None, sentence: str) -> None:
        """Take what is to be shown."""
        super().__init__(sentence, hint="Try again, or choose a larger model.")
        self.verdict, self.reply = verdict, reply
