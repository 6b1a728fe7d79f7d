"""Files that are dropped onto the window. The library for it may be missing: then nothing is."""

from __future__ import annotations

import os
import socket
import tkinter as tk
from collections.abc import Callable, Iterable
from urllib.parse import unquote_to_bytes


def accept_files(root: tk.Tk, on_files: Callable[[list[str]], None]) -> str:
    """Call `on_files` with the paths whenever files are dropped anywhere on the window.

    Returns "" if that works, else a line that says why it does not, and nothing has changed.
    A window that is withdrawn stays so; one that waits for its first turn is mapped by this.
    """
    try:
        # only now: it takes its time, and without it all else works
        from tkinterdnd2 import TkinterDnD

        TkinterDnD._require(root)
        _listen(root, on_files)
    except (ImportError, RuntimeError, tk.TclError, OSError) as error:
        return f"files can't be dropped onto the window: {_reason(error)}"
    return ""


def _reason(error: Exception) -> str:
    """Return what went wrong as one line; what Tcl said stands behind tkinterdnd2's own words."""
    said = [str(each) for each in (error, error.__context__) if each is not None]
    return " ".join(" ".join(said).split()) or type(error).__name__


def _listen(root: tk.Tk, on_files: Callable[[list[str]], None]) -> None:
    """Make the whole window a target: what its widgets do not take, it takes."""

    def dropped(data: str) -> str:
        files = files_in(data, root.tk.splitlist)
        if files:
            # the program that they come from waits for the answer, and shall not wait for us
            root.after_idle(on_files, files)
        return "copy" if files else "refuse_drop"

    root.tk.call("tkdnd::drop_target", "register", ".", "DND_Files")
    root.tk.call("bind", ".", "<<Drop>>", f"{root.register(dropped)} %D")


def files_in(data: str, split: Callable[[str], Iterable[object]]) -> list[str]:
    """Return the paths in what was dropped, which `split` takes apart as a Tcl list.

    Paths and file: URIs of this machine are taken; what names no file is left out. Whether a
    path leads anywhere is not looked at.
    """
    try:
        words = [str(word) for word in split(data)]
    except tk.TclError:
        return []
    return [path for path in map(_path, words) if os.path.isabs(path) and "\0" not in path]


def _path(word: str) -> str:
    if word[:5].lower() != "file:":
        return _without_host(word)
    rest = os.fsdecode(unquote_to_bytes(word[5:]))
    return _without_host(rest[2:]) if rest.startswith("//") else rest


def _without_host(word: str) -> str:
    """Return the path of HOST/PATH if the host is this one; also what tkdnd leaves of a URI."""
    host, slash, path = word.partition("/")
    ours = host.casefold() in ("localhost", socket.gethostname().casefold())
    return slash + path if ours else word
