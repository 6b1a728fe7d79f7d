"""One session: the lines of the user on one side, the runtime and the model on the other.

The rules of pace (what a line's answer is, how long quiet lasts) are the contract's; a terminal
and a window don't pace, a pipe does.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import aclosing
from pathlib import Path
from time import monotonic

from lmboot.app.border import Border
from lmboot.app.keeping import keep_folder, told
from lmboot.app.notices import Notices
from lmboot.app.transcript import Transcript
from lmboot.app.view import Pane, Shown, View
from lmboot.bootstrap import prompts
from lmboot.bootstrap.progress import ThinkFilter
from lmboot.connections.interface import Ask, Connection, Message, Notice, Text
from lmboot.errors import LmbootError, PayloadRejected, RuntimeFault, UsageFault
from lmboot.lines import LineReader, Piece
from lmboot.runtime.launcher import Ended, Output, Runtime
from lmboot.session import HELP, Command, Conversation, Router, estimated_tokens
from lmboot.text import brief, plain

HALF_LINE_SECONDS = 0.1
FLUSH_SECONDS = 0.2  # as much of a transcript is lost when lmboot is killed
QUIET_SECONDS = 0.3
CHAT_TOKENS = 2048
CHAT_TEMPERATURE = 0.0
LAST_LINES = 20
_LIMIT_HINT = "Ask the model for less, or raise what the manifest or your settings lowered."
_UNCLEAN_HINT = "Look for what is left with `ps -ef`, and end it."
_CRASH_HINT = "Its own messages are in the panes rt and rt!."
_PANES: dict[str, Pane] = {"out": "rt", "err": "rt!"}


class Talk:
    """A session with at most one runtime at a time; `failure` is what it will end with."""

    def __init__(
        self,
        view: View,
        transcript: Transcript,
        *,
        wait_seconds: float,
        is_trigger: Callable[[str], bool],
        bootstrap_anew: Callable[[], Coroutine[None, None, None]],
        live: bool = False,
    ) -> None:
        """Begin without a runtime; `run` gives it one, a trigger calls `bootstrap_anew`.

        `live`: the model answers while other lines are taken, one question after another.
        """
        self.failure: LmbootError | None = None
        self.connection: Connection | None = None
        self.keep: Path | None = None
        self.runtime: Runtime | None = None
        self.ended: Ended | None = None
        self.border: Border | None = None
        self._view, self._transcript = view, transcript
        self._wait_seconds, self._is_trigger = wait_seconds, is_trigger
        self._bootstrap_anew, self._live = bootstrap_anew, live
        self._saving: asyncio.TimerHandle | None = None
        self._answers: set[asyncio.Task[None]] = set()
        self._one_answer = asyncio.Lock()
        self._router, self.conversation = Router(), Conversation()
        self._system = ""
        self._leaving = False
        self._readers: dict[str, LineReader] = {}
        self._last_lines: deque[str] = deque(maxlen=LAST_LINES)
        self._pump: asyncio.Task[None] | None = None
        self._chatting: asyncio.Task[None] | None = None
        self._notices = Notices()
        self._turn = asyncio.Lock()
        self._changed = asyncio.Event()
        self._last_output = 0.0
        self._outputs = {"out": 0, "err": 0}
        self._lines = self._bytes = 0
        self._output_limit = 0.0

    async def show(
        self, pane: Pane, text: str, event: str | None = None, **details: object
    ) -> None:
        """Show something, and write it to the transcript."""
        await self._show(Shown(pane, text, event, details=details))

    async def _show(self, shown: Shown) -> None:
        complaint = self._write(shown)
        await self._view.show(shown)
        await self._tell(complaint)

    def _write(self, shown: Shown) -> str | None:
        """Write it to the transcript, and see that it gets to the disk; return a complaint."""
        if self._saving is None:
            loop = asyncio.get_running_loop()
            self._saving = loop.call_later(FLUSH_SECONDS, self._flush_transcript)
        return self._transcript.write(shown.as_json())

    async def _tell(self, complaint: str | None) -> None:
        if complaint:
            await self._view.show(Shown("sys", complaint, "error"))

    def transcript(self) -> Path | None:
        """Return the file of the transcript, with all that was shown in it; None without one."""
        return self._transcript.flushed()

    def _flush_transcript(self) -> None:
        self._saving = None
        self._transcript.flushed()

    async def run(
        self, runtime: Runtime, system: str, output_mb: float, border: Border | None = None
    ) -> None:
        """Take a runtime that was launched; `system` is the text that `:ai` begins with."""
        self.runtime, self.ended, self._system = runtime, None, system
        self.border = border
        self._readers = {"out": LineReader(), "err": LineReader()}
        self._outputs = {"out": 0, "err": 0}
        self._lines = self._bytes = 0
        self._output_limit = output_mb * (1 << 20)
        self._pump = asyncio.create_task(self._read_runtime(runtime))

    def say(self, text: str, event: str | None = None, **details: object) -> None:
        """Show something on `sys` soon."""
        self._notices.soon(self.show("sys", text, event, **details))

    async def note(self, text: str) -> None:
        """Show what the runtime notes, and wait for that; it counts as if it were printed."""
        await self._notices.in_turn(self._note(f"the runtime notes: {text}"))

    async def _note(self, line: str) -> None:
        await self.show("sys", line)
        if self.runtime is not None:
            await self._count(self.runtime, len(line.encode()) + 1)

    async def _read_runtime(self, runtime: Runtime) -> None:
        async for event in runtime.events():
            if isinstance(event, Output):
                await self._take_output(runtime, event)
            else:
                await self._take_end(event)
        self._changed.set()

    async def _take_output(self, runtime: Runtime, output: Output) -> None:
        self._outputs[output.stream] += 1
        self._last_output = monotonic()
        reader = self._readers[output.stream]
        async with self._turn:
            await self._show_pieces(output.stream, reader.feed(output.data))
        self._changed.set()
        if reader.pending:
            loop = asyncio.get_running_loop()
            outputs = self._outputs[output.stream]
            loop.call_later(HALF_LINE_SECONDS, self._flush_soon, output.stream, outputs)
        await self._count(runtime, len(output.data))

    async def _count(self, runtime: Runtime, count: int) -> None:
        """End a runtime that has told more than it may."""
        self._bytes += count
        if self._bytes > self._output_limit and not self.ended:
            self._output_limit = float("inf")
            await runtime.end("output")

    def _flush_soon(self, stream: str, outputs: int) -> None:
        if outputs == self._outputs[stream]:  # quiet since then
            self._flushing = asyncio.ensure_future(self._flush(stream))

    async def _flush(self, stream: str) -> None:
        async with self._turn:
            await self._show_pieces(stream, self._readers[stream].flush())

    async def _show_pieces(self, stream: str, pieces: list[Piece]) -> None:
        for piece in pieces:
            self._lines += not piece.partial
            self._last_lines.append(piece.text)
            await self._show(Shown(_PANES[stream], piece.text, partial=piece.partial))

    async def _take_end(self, ended: Ended) -> None:
        async with self._turn:
            for stream, reader in self._readers.items():
                await self._show_pieces(stream, reader.end())
        self.ended = ended
        if self.border is not None:
            self.border.end(ended)
        if ended.limit:
            text = f"the runtime went over its limit of {ended.limit} and was ended"
            await self.fail(RuntimeFault(text, hint=_LIMIT_HINT), "limit", limit=ended.limit)
        if not ended.clean:
            text = "UNCLEAN: not every process of the runtime could be ended in time"
            await self.fail(RuntimeFault(text, hint=_UNCLEAN_HINT), "unclean")
        status = f" with status {ended.code}" if ended.code else ""
        if ended.code and not (ended.limit or self._leaving):
            await self.fail(RuntimeFault(f"the runtime ended by itself{status}", hint=_CRASH_HINT))
        await self.show("sys", f"runtime ended{status}", "ended", code=ended.code)
        if self.keep is not None:
            await self._copy_out(self.keep)

    async def fail(self, error: LmbootError, event: str | None = None, **details: object) -> None:
        """Tell a failure; the session goes on and ends with its code, a runtime's first."""
        if self.failure is None or isinstance(error, RuntimeFault):
            self.failure = error
        if event:
            await self.show("sys", str(error), event, **details)
        self._view.complain(error)

    async def ready(self) -> None:
        """Wait until the first line may be taken: first output and quiet, or the time is up."""
        if self.runtime is None:
            return
        if not await self._until(
            lambda: any(self._outputs.values()), "the runtime printed nothing"
        ):
            return
        await self._until_quiet()

    async def take(self, line: str, *, paced: bool = False) -> bool:
        """Carry out one line of the user's; say whether the session goes on."""
        await self.show("you", line)
        command = self._router.read(line)
        if command.verb == "quit":
            return False
        await self._carry_out(command, paced=paced)
        return True

    async def _carry_out(self, command: Command, *, paced: bool) -> None:
        if command.verb == "rt":
            await self._to_runtime(command.text, paced=paced)
        elif command.verb in ("ai", "ai+"):
            await (self._answer_aside(command) if self._live else self._to_model(command))
        elif command.verb in ("route", "grant", "revoke"):
            await self.to_border(command.verb, command.text)
        elif command.verb == "save":
            await self._save(command.text)
        elif command.verb == "help":
            for line in HELP:
                await self.show("sys", line)
        else:
            await self.show("sys", f"there is no command {brief(command.text, 40)}; see :help")

    async def _to_runtime(self, text: str, *, paced: bool) -> None:
        if self.runtime is None or self.ended:
            await self.show("sys", "the runtime has ended; there is nobody to take this line")
            return
        lines = self._lines
        if not await self.runtime.send(text.encode(errors="replace") + b"\n"):
            await self.show("sys", "the runtime does not read its input; the line was not sent")
            return
        if paced and await self._until(
            lambda: self._lines > lines, "the runtime did not answer with a line"
        ):
            await self._until_quiet()

    async def _until(self, ready: Callable[[], bool], otherwise: str) -> bool:
        """Wait for a condition or the runtime's end; say so on `sys` when the time is up."""
        try:
            async with asyncio.timeout(self._wait_seconds):
                while not ready() and self.ended is None:
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            await self.show("sys", f"{otherwise} within {self._wait_seconds:g} seconds", "wait")
            return False
        return True

    async def _until_quiet(self) -> None:
        """Wait for QUIET_SECONDS without output, but no longer than for an answer."""
        over = monotonic() + self._wait_seconds
        while self.ended is None:
            left = self._last_output + QUIET_SECONDS - monotonic()
            if left <= 0:
                return
            if monotonic() > over:
                text = f"the runtime was not quiet within {self._wait_seconds:g} seconds"
                await self.show("sys", text, "wait")
                return
            await asyncio.sleep(left)

    async def _to_model(self, command: Command) -> None:
        if self._is_trigger(command.text):
            await self._guarded(self._interruptible(self._bootstrap_anew()))
        elif self.connection is None:
            await self.show("sys", "there is no model in this session")
        elif not command.text:
            await self.show("sys", "there is nothing to send; write :ai and your text")
        else:
            chat = self._chat(self.connection, command)
            await self._guarded(self._interruptible(chat))

    async def _answer_aside(self, command: Command) -> None:
        """Have the model answer in its turn, while the next lines are taken."""

        async def in_turn() -> None:
            async with self._one_answer:
                await self._to_model(command)

        answer = asyncio.create_task(in_turn())
        self._answers.add(answer)
        answer.add_done_callback(self._answers.discard)

    async def _guarded(self, doing: Awaitable[None]) -> None:
        """Turn a failure into an event; the session goes on and ends with its code."""
        try:
            await doing
        except PayloadRejected as error:  # told as `refused` already, with its problems
            await self.fail(error)
        except LmbootError as error:
            await self.fail(error, "error")

    def interrupt(self) -> bool:
        """Break off what the model answers, else the runtime's work; say whether there was any."""
        if self._chatting is not None:
            return self._chatting.cancel()
        if self.runtime is not None and self.ended is None:
            self.runtime.interrupt()
            return True
        return False

    async def _interruptible(self, doing: Coroutine[None, None, None]) -> None:
        self._chatting = asyncio.create_task(doing)
        try:
            await self._chatting
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            await self.show("sys", "interrupted")
        finally:
            self._chatting = None

    async def _chat(self, connection: Connection, command: Command) -> None:
        text = asked = self.conversation.with_injected(command.text)
        if command.verb == "ai+":
            text = prompts.with_last_lines(text, [plain(line) for line in self._last_lines])
        answer, thinking = [], ThinkFilter()
        ask = Ask(self._messages(connection, text), CHAT_TOKENS, CHAT_TEMPERATURE)
        async with aclosing(connection.stream(ask)) as events:
            async for event in events:
                if isinstance(event, Text) and (shown := thinking.feed(event.text)):
                    answer.append(shown)
                    await self.show("ai", shown)
                elif isinstance(event, Notice):
                    await self.show("sys", event.text)
        if rest := thinking.end():
            answer.append(rest)
            await self.show("ai", rest)
        if not answer:
            await self.show("sys", "the model answered nothing")
        await self._end_answer(answer)
        self.conversation.add(asked, "".join(answer))

    async def _end_answer(self, answer: list[str]) -> None:
        """End its line; in the transcript too, where the next answer may follow at once."""
        if self._live and not "".join(answer[-1:]).endswith("\n"):
            await self._tell(self._write(Shown("ai", "\n")))
        await self._view.answered()

    def _messages(self, connection: Connection, text: str) -> list[Message]:
        """Return the system text, as many turns as the context allows, and the new text."""
        context = connection.model.context_loaded or connection.model.context or 4096
        taken = (
            estimated_tokens(self._system)
            + estimated_tokens(text)
            + min(CHAT_TOKENS, context // 4)
        )
        messages = [Message("system", self._system)] if self._system else []
        for question, reply in self.conversation.fitting(context - taken):
            messages += [Message("user", question), Message("assistant", reply)]
        return [*messages, Message("user", text)]

    async def to_border(self, verb: str, text: str) -> None:
        """Show routes or grants, or change one: what `:route`, `:grant` and `:revoke` do."""
        if self.border is None or self.ended:
            await self.show("sys", "no runtime runs that could use anything of this machine")
        else:
            await self.border.take(verb, text, self.show)
            await self._notices.all_shown()

    async def _save(self, name: str) -> None:
        if not name:
            await self.show("sys", "say where to: :save DIR")
            return
        try:
            self.keep = folder = keep_folder(name)
        except LmbootError as error:
            await self.show("sys", f"{error}. {error.hint}")
            return
        if self.ended:
            await self._copy_out(folder)
        else:
            await self.show("sys", f"what the runtime wrote goes to {folder} when it has ended")

    async def _copy_out(self, folder: Path) -> None:
        self.keep = None
        if self.runtime is None:
            return
        try:
            report = await self.runtime.copy_out(folder)
        except UsageFault as error:  # something was put there in the meantime
            await self.fail(error, "error")
            return
        for line in told(report, folder):
            await self.show("sys", line)
        if report.problem:
            await self.fail(RuntimeFault(report.problem, hint="Free some space."), "error")

    async def stop(self) -> None:
        """Stop the runtime in the contract's sequence and show what it still writes.

        What it wrote can still be copied out, until `release`.
        """
        self._leaving = True
        if self.runtime is not None and self._pump is not None:
            if self.ended is None:
                await self.runtime.stop()
            await asyncio.shield(self._pump)  # whoever stops waiting does not stop the showing
        self._leaving = False

    async def kill(self) -> None:
        """End the runtime and all its processes now, without asking it."""
        self._leaving = True
        if self.runtime is not None and self.ended is None:
            await self.runtime.end("")

    async def release(self) -> None:
        """Stop the runtime and let go of what it wrote."""
        await self.stop()
        if self.runtime is not None:
            runtime, self.runtime = self.runtime, None
            border, self.border = self.border, None
            if border is not None:
                await border.close()
                await self._notices.all_shown()
            await runtime.close()

    async def close(self) -> None:
        """Break off what the model answers, stop the runtime, and end the transcript."""
        for answer in self._answers:
            answer.cancel()
        await asyncio.gather(*self._answers, return_exceptions=True)
        await self.release()
        if self._saving is not None:
            self._saving.cancel()
        if complaint := self._transcript.close():
            await self._view.show(Shown("sys", complaint, "error"))
