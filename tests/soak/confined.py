"""A folder whose entries turn into links while it is read and written: nothing may get out.

Case 82 of sandbox.md: two threads swap a file and a folder for links to what lies outside, as
fast as they can; others read, write and remove through the granted folder.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

from lmboot.errors import OperationRefused
from lmboot.runtime.beneath import Opener, by_openat2, by_walking
from lmboot.runtime.confined import Folder
from lmboot.runtime.quota import Quota

SECONDS = 60.0
CANARY = "canary"


def main(seconds: float = SECONDS) -> dict[str, float]:
    """Race for that long, half of it each way; return how often, raise where one got out."""
    figures: dict[str, float] = {}
    for name, opener in (("openat2", by_openat2), ("walking", by_walking)):
        with tempfile.TemporaryDirectory() as folder:
            found = race(Path(folder), opener, seconds / 2)
        figures |= {f"{name} {what}": count for what, count in found.items()}
        if found["escapes"]:
            raise AssertionError(f"{name}: {found}")
    return figures


def race(base: Path, opener: Opener, seconds: float) -> dict[str, float]:
    """Swap and use; return how many swaps, reads, refusals, and escapes there were."""
    outside, inside = base / "outside", base / "inside"
    outside.mkdir()
    (outside / "file").write_text(CANARY)
    (inside / "sub").mkdir(parents=True)
    (inside / "sub" / "file").write_text("mine")
    figures = dict.fromkeys(("swaps", "reads", "writes", "refused", "escapes"), 0.0)
    done = threading.Event()
    with Folder.open(inside, writable=True, quota=Quota(sys.maxsize), opener=opener) as folder:
        jobs: list[Callable[[], None]] = [
            lambda: _swap(inside / "sub", outside, figures),
            lambda: _swap(inside / "plain", outside / "file", figures),
            lambda: _read(folder, figures),
            lambda: _write(folder, figures),
        ]
        threads = [threading.Thread(target=_repeat, args=(job, done)) for job in jobs]
        for thread in threads:
            thread.start()
        time.sleep(seconds)
        done.set()
        for thread in threads:
            thread.join()
    figures["escapes"] += (outside / "file").read_text() != CANARY
    figures["escapes"] += len(os.listdir(outside)) != 1
    return figures


def _repeat(job: Callable[[], None], done: threading.Event) -> None:
    while not done.is_set():
        job()


def _swap(path: Path, target: Path, figures: dict[str, float]) -> None:
    """Let a name be a link for a moment, then what it was; the writers may come in between."""
    aside = path.with_name(path.name + ".aside")
    link = path.with_name(path.name + ".link")
    link.symlink_to(target)
    for step in (
        lambda: path.rename(aside),
        lambda: link.rename(path),
        lambda: path.unlink() if path.is_symlink() else shutil.rmtree(path),
        lambda: aside.rename(path),
    ):
        with contextlib.suppress(OSError):
            step()
    link.unlink(missing_ok=True)
    figures["swaps"] += 1


def _read(folder: Folder, figures: dict[str, float]) -> None:
    for path in ("sub/file", "plain"):
        try:
            figures["escapes"] += folder.read_text(path).text == CANARY
            figures["reads"] += 1
        except OperationRefused:
            figures["refused"] += 1


_numbers = itertools.count()


def _write(folder: Folder, figures: dict[str, float]) -> None:
    name = f"sub/new{next(_numbers)}"
    for act in (
        lambda: folder.write_text("sub/file", "mine", overwrite=True),
        lambda: folder.write_text("plain", "mine", overwrite=True),
        lambda: folder.write_text(name, "mine"),
        lambda: folder.remove(name),
    ):
        try:
            act()
            figures["writes"] += 1
        except OperationRefused:
            figures["refused"] += 1
