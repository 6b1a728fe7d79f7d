"""`lmboot boot`: settle what was asked for, choose the front end, run the session."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

from lmboot.app.boot import Boot, Options, Rejection
from lmboot.app.places import places
from lmboot.app.talk import keep_folder
from lmboot.app.view import Shown, View
from lmboot.bootstrap.payload import MAX_REPLY_BYTES
from lmboot.cli.check import verdict_lines
from lmboot.cli.files import read_file
from lmboot.cli.pipe import PipeView, lines_of, no_lines
from lmboot.errors import ConnectionLost, Interrupted, LmbootError
from lmboot.settings import load
from lmboot.text import reveal


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
    cancel = _cancel_on_signals()
    if options.can_ask:
        from lmboot.cli.terminal import TerminalView

        view = TerminalView()
        return await _session(options, view, view.lines(), view.close)
    pipe = PipeView(as_json=as_json, on_broken=cancel)
    lines = no_lines() if from_stdin else lines_of(sys.stdin.buffer)
    return await _session(options, pipe, lines, pipe.close)


async def _session(
    options: Options,
    view: View,
    lines: AsyncIterator[str],
    close: Callable[[], Coroutine[Any, Any, None]],
) -> LmbootError | None:
    mine = places()
    boot = Boot(options, view, load(mine.settings), mine)
    try:
        return await boot.run(lines)
    except asyncio.CancelledError:
        raise Interrupted("interrupted") from None
    except LmbootError as error:
        if isinstance(error, Rejection):
            _show_reply(error)
        else:
            await view.show(Shown("sys", str(error), "error"))
            _show_text(getattr(error, "text", "") if isinstance(error, ConnectionLost) else "")
        raise
    finally:
        await close()


def _show_reply(rejection: Rejection) -> None:
    """Show what the model answered, and everything that is wrong with it."""
    _show_text(rejection.reply or "")
    for line in verdict_lines(rejection.verdict):
        sys.stderr.write(reveal(line) + "\n")


def _show_text(text: str) -> None:
    if text:
        sys.stderr.write(reveal(f"--- what the model answered\n{text[:_SHOWN]}\n---\n"))


_SHOWN = 64 << 10


def _cancel_on_signals() -> Callable[[], None]:
    """End the session in order on Ctrl+C, a hang-up or a polite kill; return what does it."""
    task = asyncio.current_task()
    assert task is not None  # noqa: S101 - we are inside one
    loop = asyncio.get_running_loop()
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)
        try:
            loop.add_signal_handler(number or signal.SIGINT, task.cancel)
        except NotImplementedError:  # Windows: Ctrl+C arrives as KeyboardInterrupt
            break
    return lambda: None if task.done() else _cancel(task)


def _cancel(task: asyncio.Task[Any]) -> None:
    task.cancel()
