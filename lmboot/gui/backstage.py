"""What the worker can be asked to do: the desk's jobs, and the few files that are the window's."""

from __future__ import annotations

import asyncio
import json
import os
import re
from collections.abc import Callable, Coroutine, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lmboot.app import lms
from lmboot.app.desk import Desk
from lmboot.app.places import places
from lmboot.connections.interface import Model
from lmboot.errors import FileUnreadable, LmbootError
from lmboot.files import write_whole
from lmboot.gui import history as past
from lmboot.gui import memory as memories
from lmboot.gui import messages as m
from lmboot.gui.history import History
from lmboot.gui.lobby import WindowLobby
from lmboot.gui.memory import Memory
from lmboot.gui.outbox import Outbox
from lmboot.settings import Settings, load

if TYPE_CHECKING:
    from lmboot.gui.recordreader import RecordReader
    from lmboot.gui.view import WindowView
    from lmboot.gui.watching import BorderWatch
    from lmboot.runtime.asking import Answer, Scope

HISTORY = "history.jsonl"
_MOST_HISTORY = 4 << 20
_PARTS = re.compile(r"[^\n]*\n|[^\n]+")


class Backstage:
    """Lives in the worker's loop; each method returns at once."""

    def __init__(self, outbox: Outbox[m.Message]) -> None:
        """Read settings and history, and tell that work can begin."""
        self.closed = asyncio.Event()
        self._outbox, self._places = outbox, places()
        self._state = self._places.transcripts.parent
        self._lobby = WindowLobby(outbox)
        self._view: WindowView | None = None
        self._watch: BorderWatch | None = None
        self._container = "podman"
        self._tasks: set[asyncio.Task[None]] = set()
        self._looking: asyncio.Task[None] | None = None  # for sandboxes
        settings = load(self._places.settings)
        self.desk = Desk(self._lobby, settings, self._places)
        if settings.complaint:
            self._lobby.note(settings.complaint)
        self._tell_ready(settings)

    def _tell_ready(self, settings: Settings) -> None:
        history = _read(self._state / HISTORY) if settings.window.remember_input else ""
        values = {
            **settings.by_name(),
            "path": str(self._places.settings),
            "transcripts_path": str(self._places.transcripts),
        }
        self._outbox.tell(m.Ready(values, history, bool(lms.command())))

    def use_settings(self) -> None:
        """Take the settings anew, as they were saved; what runs keeps its own."""
        before, self.desk.settings = self.desk.settings, load(self._places.settings)
        self._tell_ready(self.desk.settings)
        if self.desk.settings.container_image != before.container_image:
            self._look_for_sandboxes()

    def prepare(self) -> None:
        """Import what the first session needs, before the user wants one, and see what it has."""
        import lmboot.app.boot
        import lmboot.gui.view
        import lmboot.gui.watching  # noqa: F401 imported ahead of need

        self._look_for_sandboxes()

    def _look_for_sandboxes(self) -> None:
        """See what the next program can run in; what is being found out already may be wrong."""
        self._stop_looking()
        self._looking = self._do(self._tell_sandboxes(self.desk.settings.container_image))

    def _stop_looking(self) -> None:
        if self._looking is not None:
            self._looking.cancel()

    async def _tell_sandboxes(self, image: str | None) -> None:
        from lmboot.gui.watching import preparing, sandboxes

        found = await sandboxes(image, lambda text: self._outbox.tell(preparing(text)))
        self._container = found.container.name or self._container
        if self.desk.sandbox != "auto":
            self.use_container(True)  # now that it is known which
        self._outbox.tell(found)

    def use_container(self, wanted: bool) -> None:
        """Have the next program run in a container, or in the best sandbox of this machine."""
        self.desk.sandbox = self._container if wanted else "auto"

    @staticmethod
    def prepare_saving() -> None:
        """Import what saving settings needs, before the window needs it."""
        import tomlkit  # noqa: F401 imported ahead of need

    # ------------------------------------------------------------------ sessions

    def bootstrap(self, generation: int, model: Model) -> None:
        """Ask a model for a payload."""
        self.desk.choose(model)
        self.desk.bootstrap(self._new_view(generation))

    def _new_view(self, generation: int) -> WindowView:
        from lmboot.gui.view import WindowView
        from lmboot.gui.watching import BorderWatch

        if self._watch is None:
            self._watch = BorderWatch(self._outbox, lambda: self.desk.border)
        self._watch.start()
        self._view = WindowView(self._outbox, generation)
        return self._view

    def mend(self, generation: int) -> None:
        """Ask for the last reply to be mended."""
        if self._view is not None and (refused := self._view.refused) is not None:
            self.desk.mend(self._new_view(generation), refused)

    def run_again(self, generation: int) -> None:
        """Run the last payload once more."""
        self.desk.run_again(self._new_view(generation))

    def run_kept(self, generation: int, sha256: str) -> None:
        """Run a payload that was kept."""
        self.desk.run_kept(self._new_view(generation), sha256)

    def change_border(self, verb: str, text: str) -> None:
        """Change a route or a grant of the runtime that runs, as a line of that verb would."""
        self.desk.change(verb, text)
        if self._watch is not None:
            self._watch.look_soon()

    @staticmethod
    def answer(question: asyncio.Future[bool], agreed: bool) -> None:
        """Answer a request for consent; one that is not waited for any more needs none."""
        if not question.done():
            question.set_result(agreed)

    @staticmethod
    def allow(question: asyncio.Future[Answer], scope: Scope, folder: str = "") -> None:
        """Answer what a runtime asks for; what is not waited for any more needs no answer."""
        from lmboot.runtime.asking import Answer

        if not question.done():
            question.set_result(Answer(scope, folder))

    @cached_property
    def records(self) -> RecordReader:
        """What reads the audit logs; made when they are first looked at."""
        from lmboot.gui.recordreader import RecordReader

        return RecordReader(self._outbox, self._places.audit)

    def export_records(self, name: str, path: str) -> None:
        """Copy an audit log to a file that the user chose."""
        from lmboot.app.records import export

        self._aside(path, lambda: export(self._places.audit / name, Path(path)))

    # ------------------------------------------------------------------ files

    def _aside(self, what: str, write: Callable[[], object]) -> None:
        """Write something in a thread of its own; tell that it was done, or why not."""

        async def do() -> None:
            try:
                await asyncio.to_thread(write)
            except OSError as error:
                self._lobby.complain(_unwritable(what, error))
            except LmbootError as error:
                self._lobby.complain(error)
            else:
                self._outbox.tell(m.Done(f"{what} was written"))

        self._do(do())

    def _do(self, doing: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(doing)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def save_text(self, path: str, text: str) -> None:
        """Write a text to a file that the user chose."""
        data = text.encode("utf-8", "surrogatepass")
        self._aside(path, lambda: Path(path).write_bytes(data))

    def save_transcript(self, path: str) -> None:
        """Write the whole transcript of the last session: as text, or as it is for .jsonl."""
        source = self.desk.transcript()
        if source is None:
            self._lobby.note("there is no transcript yet")
            return
        self._aside(path, lambda: copy_transcript(source, Path(path)))

    def _remember(self, name: str, text: str) -> None:
        """Keep a file of the window's own; that it can't be written is only noted."""
        try:
            self._state.mkdir(parents=True, exist_ok=True, mode=0o700)
            write_whole(self._state / name, text)
        except OSError as error:
            self._lobby.note(str(_unwritable(name, error)))

    def forget_history(self) -> None:
        """Remove what was typed in earlier sessions."""
        try:
            (self._state / HISTORY).unlink(missing_ok=True)
        except OSError as error:
            self._lobby.complain(_unwritable(HISTORY, error))

    # ------------------------------------------------------------------ the end

    def close(self, memory: Memory, histories: Mapping[str, History]) -> None:
        """End everything and keep what the window remembers; the worker ends with it."""

        async def end() -> None:
            try:
                self._stop_looking()
                self._remember(memories.NAME, memories.dump(memory))
                if self.desk.settings.window.remember_input and histories:
                    self._remember(HISTORY, past.dump(histories))
                if self._watch is not None:
                    self._watch.stop()
                if "records" in self.__dict__:
                    await self.records.close()
                await self.desk.close()
                await asyncio.gather(*self._tasks, return_exceptions=True)
            finally:
                self.closed.set()

        self._closing = asyncio.create_task(end())


def _read(file: Path) -> str:
    try:
        with file.open("rb") as stream:  # of more than that, the newest
            stream.seek(max(0, os.fstat(stream.fileno()).st_size - _MOST_HISTORY))
            return stream.read(_MOST_HISTORY).decode("utf-8", "replace")
    except OSError:
        return ""


def _unwritable(what: str, error: OSError) -> FileUnreadable:
    return FileUnreadable(
        f"{what} could not be written: {error.strerror}",
        hint="Choose another place, or make room there.",
    )


def copy_transcript(source: Path, target: Path) -> None:
    """Copy a transcript: as it is to a .jsonl file, else as lines that begin with their pane."""
    if target.exists() and target.samefile(source):
        return  # the user chose the transcript itself, which writing would empty first
    with source.open("rb") as file, target.open("wb") as new:
        lines = (line for line in file if line.endswith(b"\n"))  # the last is being written yet
        if target.suffix == ".jsonl":
            new.writelines(lines)
            return
        new.writelines(piece.encode() for piece in _as_text(lines))


def _as_text(lines: Iterator[bytes]) -> Iterator[str]:
    pane, begun = "", False  # whose line it is, and whether it has begun and not ended
    for line in lines:
        shown = json.loads(line)
        if begun and shown["pane"] != pane:
            yield "\n"
            begun = False
        pane = shown["pane"]
        end = "" if shown.get("partial") or pane == "ai" else "\n"
        for part in _PARTS.findall(shown["text"] + end):
            yield part if begun else f"{pane}| {part}"
            begun = not part.endswith("\n")
    if begun:
        yield "\n"
