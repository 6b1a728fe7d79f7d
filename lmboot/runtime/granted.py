"""Operations on what the user granted: folders and addresses; nothing is granted by itself.

A path begins with the name of a granted folder: `notes/today.txt` is `today.txt` in the one that
was granted as `notes`; the empty path lists the names. Results have the shape that the guest's own
emulators give, so that a program need not know who performed its call.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

from lmboot.errors import OperationRefused
from lmboot.paths import problem_with
from lmboot.runtime.asking import Question
from lmboot.runtime.confined import MAX_READ_BYTES, Folder, Part
from lmboot.runtime.database import query
from lmboot.runtime.fetching import FetchLimits, fetch
from lmboot.runtime.frames import MAX_FRAME_BYTES, fitting
from lmboot.runtime.grants import Grants, Held
from lmboot.runtime.operations import (
    Argument,
    Context,
    Flag,
    Operation,
    Refused,
    Text,
    Values,
    Whole,
)
from lmboot.runtime.quota import Quota, Rate
from lmboot.runtime.urls import FetchPolicy, host_to_grant
from lmboot.text import brief

PATH = Text(most=500)
URL = Text(most=8192)
ANYWHERE = Text(most=500, default="")
# Of a file, in bytes of its UTF-8; length 0: all of the rest, or it is too_large for an answer.
PIECE: Mapping[str, Argument] = {
    "offset": Whole(0, 2**53, default=0),
    "length": Whole(0, MAX_READ_BYTES, default=0),
}

MOST_FETCHES, FETCH_SECONDS = 30, 60.0
FETCHED_BYTES = 64 << 20  # of one run, unpacked
_CAME_IN_PART = ("bad_answer", "timeout", "too_large")  # nobody knows how much it was

Work = Callable[[Folder, str, dict[str, Any]], Any]


def operations(grants: Grants) -> list[Operation]:
    """Return all operations that work on these grants."""
    return [*(_OnFiles(grants, *row) for row in _ON_FILES), Fetch(grants)]


def _split(path: str) -> tuple[str, str]:
    """Return the name of a granted folder, and the rest of the path."""
    name, _, rest = path.strip("/").partition("/")
    return name, rest


def _list(folder: Folder, rest: str, args: dict[str, Any]) -> Any:
    return folder.list(rest)


def _read_text(folder: Folder, rest: str, args: dict[str, Any]) -> Any:
    length = args["length"] or MAX_READ_BYTES
    return _told(folder.read_text(rest, args["offset"], length), args)


def _read_text_at_once(folder: Folder, rest: str, args: dict[str, Any]) -> Any:
    length = args["length"] or MAX_READ_BYTES
    return _told(folder.read_text_at_once(rest, args["offset"], length), args)


def _told(part: Part, args: dict[str, Any]) -> str:
    """Return all that was asked for; of a piece as much as an answer takes, but never nothing.

    The next piece begins behind the bytes of this one; behind the last one comes an empty text.
    """
    if args["length"]:
        return fitting(part.text)
    if part.next_offset < part.size:
        raise Refused("too_large", "the file is too large for one answer; read it by pieces")
    return part.text


def _write_text(folder: Folder, rest: str, args: dict[str, Any]) -> Any:
    folder.write_text(rest, args["text"], overwrite=args["overwrite"])
    return len(args["text"])


def _stat(folder: Folder, rest: str, args: dict[str, Any]) -> Any:
    return folder.stat(rest)


def _stat_at_once(folder: Folder, rest: str, args: dict[str, Any]) -> Any:
    return folder.stat_at_once(rest)


def _remove(folder: Folder, rest: str, args: dict[str, Any]) -> Any:
    folder.remove(rest)


def _open(folder: Folder, rest: str, args: dict[str, Any]) -> Any:
    """Make sure that a file exists, and is one that can be read, as the emulator does."""
    if folder.exists(rest):
        with folder.opened(rest):
            pass
    else:
        folder.write_text(rest, "")
    return f"ok, handle: host.{args['path']}"


def _database_query(folder: Folder, rest: str, args: dict[str, Any]) -> Any:
    """Execute one statement on a file; it may change that where the folder may be written."""
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
    ("fs.read_text", {"path": PATH, **PIECE}, _read_text, False),
    ("fs.stat", {"path": PATH}, _stat, False),
    (
        "fs.write_text",
        {"path": PATH, "text": Text(most=MAX_FRAME_BYTES), "overwrite": Flag(default=True)},
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


_AT_ONCE: Mapping[str, Work] = {"fs.read_text": _read_text_at_once, "fs.stat": _stat_at_once}


class _OnFiles:
    """One operation on granted folders; the guest's library emulates it.

    It is done in a thread, but for what can be had without waiting.
    """

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

    def needs(self, args: dict[str, Any]) -> Question | None:
        """Ask for the folder that a path begins with: which one it is, the person says.

        A folder that may only be read so far is not chosen anew where it is to be written.
        """
        name, _ = _split(args["path"])
        if not name and self.name == "fs.list":
            return None
        known = self._grants.has_folder(name)
        if not known and (problem := problem_with(name)):
            raise Refused("bad_path", f"the name of the folder {problem}")
        return Question(self.name, name, chooses_folder=not known)

    def at_once(self, args: dict[str, Any], context: Context) -> Any:
        """Look at what the kernel has in memory; what is more takes a thread."""
        work = _AT_ONCE.get(self.name)
        if work is None:
            raise BlockingIOError
        name, rest = _split(args["path"])
        return work(self._folder(name, context), rest, args)

    async def perform(self, args: dict[str, Any], context: Context) -> Any:
        """Do it; what changes a file commits before it touches the disk."""
        name, rest = _split(args["path"])
        if not name and self.name == "fs.list":
            return sorted(f"{name}/" for name in self._grants.folders)
        folder = self._folder(name, context)
        return await asyncio.to_thread(self._do, folder, rest, args, context)

    def _folder(self, name: str, context: Context) -> Folder:
        permit = context.permit
        folder = permit.folder if isinstance(permit, Held) else self._grants.folders.get(name)
        if folder is None:
            raise Refused("not_granted", f"no folder {brief(name, 60)!r} was granted")
        return folder

    def _do(self, folder: Folder, rest: str, args: dict[str, Any], context: Context) -> Any:
        if self._changes:
            context.commit()
        return self._work(folder, rest, args)

    async def emulate(self, args: dict[str, Any]) -> Any:
        """Refuse: the broker is not asked for that."""
        raise Refused("denied", f"{self.name} is emulated by the guest's library")


@dataclass
class Fetch:
    """The text behind an address of a granted host; of one run so many a minute, and so much.

    What broke off counts as if as much had come as one answer may have.
    """

    grants: Grants
    get: Callable[..., Any] = fetch
    rate: Rate = field(default_factory=lambda: Rate(MOST_FETCHES, FETCH_SECONDS))
    volume: Quota = field(default_factory=lambda: Quota(FETCHED_BYTES))
    name: ClassVar[str] = "fetch"
    arguments: ClassVar[Mapping[str, Argument]] = {"url": URL}
    emulates: ClassVar[bool] = False
    cancellable: ClassVar[bool] = True

    def needs(self, args: dict[str, Any]) -> Question | None:
        """Ask for the host of the address; what no such grant would open is refused."""
        host = host_to_grant(args["url"], self.grants.fetch)
        return None if host is None else Question(self.name, host)

    async def perform(self, args: dict[str, Any], context: Context) -> dict[str, Any]:
        """Ask for it, and tell status, headers and text."""
        self.rate.take()
        taken = self.volume.reserve(FetchLimits().body_bytes)
        try:
            context.commit()
            policy = self._policy(context)
            answer = await self.get(args["url"], policy, redirected=context.redirected)
        except OperationRefused as refused:
            if refused.code not in _CAME_IN_PART:
                taken.settle(0)
            raise
        taken.settle(len(answer.body))
        return {"status": answer.status, "headers": dict(answer.headers), "text": answer.text}

    def _policy(self, context: Context) -> FetchPolicy:
        """Return what is granted to all, and to this request alone."""
        policy, permit = self.grants.policy, context.permit
        more = {permit.name} if isinstance(permit, Held) else set()
        return replace(policy, hosts=policy.hosts | more)

    async def emulate(self, args: dict[str, Any]) -> Any:
        """Refuse: the broker is not asked for that."""
        raise Refused("denied", "fetch is emulated by the guest's library")
