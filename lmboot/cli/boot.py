"""`lmboot boot`: settle what was asked for, choose the front end, run the session."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from lmboot.app.boot import Boot, Rejection
from lmboot.app.keeping import keep_folder
from lmboot.app.options import Options
from lmboot.app.places import places
from lmboot.app.view import Shown
from lmboot.bootstrap.payload import MAX_REPLY_BYTES
from lmboot.cli.check import verdict_lines
from lmboot.cli.faults import output_fault
from lmboot.cli.files import read_file
from lmboot.cli.pipe import PipeView, lines_of, no_lines
from lmboot.errors import ConnectionLost, Interrupted, LmbootError
from lmboot.settings import load
from lmboot.text import reveal

if TYPE_CHECKING:
    from lmboot.cli.terminal import TerminalView

_SHOWN = 64 << 10  # characters of an answer that are printed


def boot_from_options(
    *,
    server: str | None,
    model: str | None,
    payload: str | None,
    keep: str | None,
    as_json: bool,
    **others: Any,
) -> int:
    """Run a session and return its exit code; raise what ended it before it began."""
    from_stdin = payload == "-"
    terminal = sys.stdin.isatty() and not as_json
    options = Options(
        server=server,
        model=model,
        payload=read_file(payload, MAX_REPLY_BYTES) if payload is not None else None,
        keep=keep_folder(keep) if keep is not None else None,
        can_ask=terminal,
        paced=not sys.stdin.isatty(),
        **others,
    )
    failure = asyncio.run(_run(options, as_json=as_json, from_stdin=from_stdin))
    return failure.exit_code if failure else 0


async def _run(options: Options, *, as_json: bool, from_stdin: bool) -> LmbootError | None:
    task = asyncio.current_task()
    assert task is not None  # noqa: S101 - we are inside one
    mine = places()
    settings = load(mine.settings)
    if options.can_ask:
        from lmboot.cli.terminal import TerminalView

        terminal = TerminalView()
        boot = Boot(options, terminal, settings, mine, chooser=terminal)
        terminal.on_interrupt = boot.interrupt
        _on_signals(partial(_cancel, task), interrupt=boot.interrupt)
        return await _session(boot, terminal, terminal.lines())
    pipe = PipeView(as_json=as_json, on_broken=partial(_cancel, task))

    def leave() -> None:
        pipe.hurry()
        _cancel(task)

    _on_signals(leave)
    lines = no_lines() if from_stdin else lines_of(sys.stdin.fileno())
    return await _session(Boot(options, pipe, settings, mine), pipe, lines)


def _cancel(task: asyncio.Task[Any]) -> None:
    """End the session in order; asked for again while that goes on, it goes on."""
    if not task.cancelling():
        task.cancel()


async def _session(
    boot: Boot, view: TerminalView | PipeView, lines: AsyncIterator[str]
) -> LmbootError | None:
    try:
        return await boot.run(lines)
    except asyncio.CancelledError:
        if isinstance(view, PipeView) and view.unwritable:
            raise output_fault(view.unwritable) from None
        raise Interrupted("interrupted") from None
    except Rejection as rejection:
        _show_reply(rejection)
        raise
    except LmbootError as error:
        await view.show(Shown("sys", str(error), "error"))
        if isinstance(error, ConnectionLost):
            _show_text(error.text)
        raise
    finally:
        await view.close()


def _show_reply(rejection: Rejection) -> None:
    """Show what the model answered, and everything that is wrong with it."""
    _show_text(rejection.reply or "")
    for line in verdict_lines(rejection.verdict):
        sys.stderr.write(reveal(line) + "\n")


def _show_text(text: str) -> None:
    if text:
        sys.stderr.write(reveal(f"--- what the model answered\n{text[:_SHOWN]}\n---\n"))


def _on_signals(cancel: Callable[[], object], interrupt: Callable[[], bool] | None = None) -> None:
    """End the session in order on Ctrl+C, a hang-up or a polite kill.

    `interrupt` is tried first on Ctrl+C; it says whether there was anything to break off.
    """

    def ctrl_c() -> None:
        if interrupt is None or not interrupt():
            cancel()

    loop = asyncio.get_running_loop()
    handlers = {"SIGINT": ctrl_c, "SIGTERM": cancel, "SIGHUP": cancel}
    for name in set(handlers) & set(dir(signal)):  # Windows has no SIGHUP
        _on_signal(loop, getattr(signal, name), handlers[name])


def _on_signal(
    loop: asyncio.AbstractEventLoop, number: int, handler: Callable[[], object]
) -> None:
    try:
        loop.add_signal_handler(number, handler)
    except NotImplementedError:  # Windows' loop has none; a handler of Python's wakes it
        signal.signal(number, lambda *_: loop.call_soon_threadsafe(handler))
