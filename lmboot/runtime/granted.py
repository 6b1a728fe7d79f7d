"""Operations on what the user granted: folders and addresses; nothing is granted by itself.

A path begins with the name of a granted folder: `notes/today.txt` is `today.txt` in the one that
was granted as `notes`; the empty path lists the names. Results have the shape that the guest's own
emulators give, so that a program need not know who performed its call.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from itertools import chain, count
from pathlib import Path
from typing import Any, ClassVar

from lmboot.errors import UsageFault
from lmboot.runtime.confined import MAX_FILE_BYTES, RUN_BYTES, Folder
from lmboot.runtime.database import query
from lmboot.runtime.fetching import fetch
from lmboot.runtime.operations import (
    Argument,
    Context,
    Flag,
    Operation,
    Refused,
    Text,
    Values,
)
from lmboot.runtime.quota import Quota
from lmboot.runtime.urls import FetchPolicy
from lmboot.text import brief

PATH = Text(most=500)
_HOST = re.compile(r"\*|\.?[A-Za-z0-9-]{1,63}(\.[A-Za-z0-9-]{1,63}){0,20}|[0-9a-f:.]{2,45}")
URL = Text(most=8192)
ANYWHERE = Text(most=500, default="")


@dataclass(slots=True)
class Grants:
    """What one run was granted so far; its members may be exchanged while it runs."""

    folders: dict[str, Folder] = field(default_factory=dict)
    fetch: FetchPolicy = field(default_factory=FetchPolicy)
    written: Quota = field(default_factory=lambda: Quota(RUN_BYTES))  # of all folders together

    def add_folder(self, path: Path, *, writable: bool) -> str:
        """Grant a folder; return the name that it has for the runtime. Raises UsageFault."""
        path = Path(os.path.abspath(path.expanduser()))
        folder = Folder.open(path, writable, quota=self.written)
        stem = path.name or "root"
        names = chain([stem], (f"{stem}-{number}" for number in count(2)))
        name = next(name for name in names if name not in self.folders)
        self.folders[name] = folder
        return name

    def add_host(self, host: str) -> None:
        """Let addresses of a host be fetched; `.name` means all beneath it. Raises UsageFault."""
        if not _HOST.fullmatch(host):
            raise UsageFault(
                f"{brief(host, 60)!r} is no host", hint="Name one, such as example.org."
            )
        self.fetch = replace(self.fetch, hosts=self.fetch.hosts | {host.lower()})

    def remove(self, name: str) -> bool:
        """Take back a folder by its name, or a host; say whether there was such a grant."""
        if name in self.fetch.hosts:
            self.fetch = replace(self.fetch, hosts=self.fetch.hosts - {name})
            return True
        folder = self.folders.pop(name, None)
        if folder is not None:
            folder.close()
        return folder is not None

    def close(self) -> None:
        """Let go of every folder."""
        for folder in self.folders.values():
            folder.close()
        self.folders.clear()

    def operations(self) -> list[Operation]:
        """Return all operations that work on these grants."""
        return [*(_OnFiles(self, *row) for row in _ON_FILES), Fetch(self)]

    def place(self, path: str) -> tuple[Folder, str]:
        """Return the folder that a path names, and the rest of it; raise Refused."""
        name, _, rest = path.strip("/").partition("/")
        folder = self.folders.get(name)
        if folder is None:
            raise Refused("not_granted", f"no folder {brief(name, 60)!r} was granted")
        return folder, rest


Work = Callable[[Grants, dict[str, Any]], Any]


def _list(grants: Grants, args: dict[str, Any]) -> Any:
    if not args["path"].strip("/"):
        return sorted(f"{name}/" for name in grants.folders)
    folder, rest = grants.place(args["path"])
    return folder.list(rest)


def _read_text(grants: Grants, args: dict[str, Any]) -> Any:
    folder, rest = grants.place(args["path"])
    part = folder.read_text(rest)
    if part.next_offset < part.size:
        raise Refused("too_large", "the file is larger than what one reading takes")
    return part.text


def _write_text(grants: Grants, args: dict[str, Any]) -> Any:
    folder, rest = grants.place(args["path"])
    folder.write_text(rest, args["text"], overwrite=args["overwrite"])
    return len(args["text"])


def _stat(grants: Grants, args: dict[str, Any]) -> Any:
    folder, rest = grants.place(args["path"])
    return folder.stat(rest)


def _remove(grants: Grants, args: dict[str, Any]) -> Any:
    folder, rest = grants.place(args["path"])
    folder.remove(rest)


def _open(grants: Grants, args: dict[str, Any]) -> Any:
    """Make sure that a file exists, as the emulator does."""
    folder, rest = grants.place(args["path"])
    if not folder.exists(rest):
        folder.write_text(rest, "")
    return f"ok, handle: host.{args['path']}"


def _database_query(grants: Grants, args: dict[str, Any]) -> Any:
    """Execute one statement on a file; it may change that where the folder may be written."""
    folder, rest = grants.place(args["path"])
    answer = query(folder, rest, args["sql"], args["parameters"], writable=folder.writable)
    return {
        "columns": list(answer.columns),
        "rows": [list(row) for row in answer.rows],
        "changed": answer.changed,
        "more": answer.more,
    }


# name, arguments, what does it, whether it may change anything
_ON_FILES: tuple[tuple[str, Mapping[str, Argument], Work, bool], ...] = (
    ("fs.list", {"path": ANYWHERE}, _list, False),
    ("fs.read_text", {"path": PATH}, _read_text, False),
    ("fs.stat", {"path": PATH}, _stat, False),
    (
        "fs.write_text",
        {"path": PATH, "text": Text(most=MAX_FILE_BYTES), "overwrite": Flag(default=True)},
        _write_text,
        True,
    ),
    ("fs.remove", {"path": PATH}, _remove, True),
    ("fs.open", {"path": PATH}, _open, True),
    (
        "database_query",
        {"path": PATH, "sql": Text(most=64 << 10), "parameters": Values(most=1000, default=())},
        _database_query,
        True,
    ),
)


class _OnFiles:
    """One operation on granted folders, done in a thread; the broker does not emulate it."""

    emulates: ClassVar[bool] = False
    cancellable: ClassVar[bool] = False

    def __init__(
        self,
        grants: Grants,
        name: str,
        arguments: Mapping[str, Argument],
        work: Work,
        changes: bool,
    ) -> None:
        self.name, self.arguments = name, arguments
        self._grants, self._work, self._changes = grants, work, changes

    async def perform(self, args: dict[str, Any], context: Context) -> Any:
        """Do it; what changes a file commits before it touches the disk."""
        return await asyncio.to_thread(self._do, args, context)

    def _do(self, args: dict[str, Any], context: Context) -> Any:
        if self._changes:
            context.commit()
        return self._work(self._grants, args)

    async def emulate(self, args: dict[str, Any]) -> Any:
        """Refuse: the broker is not asked for that."""
        raise Refused("denied", f"{self.name} is emulated by the guest's library")


@dataclass
class Fetch:
    """The text behind an address of a granted host."""

    grants: Grants
    get: Callable[..., Any] = fetch
    name: ClassVar[str] = "fetch"
    arguments: ClassVar[Mapping[str, Argument]] = {"url": URL}
    emulates: ClassVar[bool] = False
    cancellable: ClassVar[bool] = True

    async def perform(self, args: dict[str, Any], context: Context) -> dict[str, Any]:
        """Ask for it, and tell status, headers and text."""
        context.commit()
        answer = await self.get(args["url"], self.grants.fetch)
        return {"status": answer.status, "headers": dict(answer.headers), "text": answer.text}

    async def emulate(self, args: dict[str, Any]) -> Any:
        """Refuse: there is nothing behind an address that does not exist."""
        raise Refused("denied", "fetch is not emulated")
