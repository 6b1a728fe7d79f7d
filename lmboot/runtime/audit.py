"""The audit log of one run: what is about to happen is on file before it does.

`intent` returns when the operating system has the record; where it can't have it, AuditFault is
raised and the caller denies. Nothing is synced to the disk before the end: a crash of lmboot loses
no record, a loss of power may lose the last ones, which `audit verify` then tells.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import platform
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Literal

from lmboot import __version__
from lmboot.errors import AuditFault
from lmboot.runtime.chain import BEGINNING, Head, Kind, digest, key_id, sealed
from lmboot.runtime.redaction import addresses, one_line, preview
from lmboot.runtime.vault import MOST_BYTES, RESERVE_BYTES, Vault, first_head

HEAD_RECORDS = 200  # after so many the head is kept again,
HEAD_SECONDS = 1.0  # or after this time, the keyring's too
RECORDED_A_SECOND = 20  # denials, and as many emulated calls; more are only counted
_ROOM = RESERVE_BYTES  # kept free below that for outcomes and the end
_COUNTED_NAMES = 16  # operations that a summary tells apart
_END_SECONDS = 2.0  # for a keyring that is slow when a session ends
_RUN = re.compile(r"[A-Za-z0-9_-]{1,64}")

Noted = Literal["consent", "route", "grant", "revoke", "event"]


@dataclass(frozen=True, slots=True)
class Intent:
    """Something that is on file as about to happen; its outcome belongs to it."""

    seq: int
    op: str
    route: str
    version: int | None


@dataclass(frozen=True, slots=True)
class Clocks:
    """What time it is: of the day, and one that never runs back; both in seconds."""

    day: Callable[[], float] = time.time
    mono: Callable[[], float] = time.monotonic


class AuditLog:
    """One run's log. May be used from several threads; no record of theirs is torn or lost."""

    def __init__(
        self,
        vault: Vault,
        run: str,
        *,
        posture: Mapping[str, Any],
        payload: str | None,
        versions: Mapping[str, str] | None = None,
        clocks: Clocks | None = None,
    ) -> None:
        """Begin a log with what binds it: the run, the sandbox's posture, the payload's hash.

        Blocks while the keyring is asked, up to 20 seconds; raises AuditFault.
        """
        if not _RUN.fullmatch(run):
            raise ValueError(f"a run's name has letters, digits, - and _; {run!r} has not")
        self._vault, self._run, self._clocks = vault, run, clocks or Clocks()
        vault.prepare()
        self._key = vault.key()
        stamp = datetime.fromtimestamp(self._clocks.day(), UTC).strftime("%Y%m%d-%H%M%S%f")
        self.path = vault.folder / f"{stamp}-{os.getpid()}-{run}.jsonl"
        self._lock = threading.RLock()  # guards what follows
        self._seq, self._prev, self._size, self._kept = 0, BEGINNING, 0, 0
        self._broken = ""
        self._denied = _Flood("denied-summary", "deny")
        self._emulated = _Flood("emulated-summary", "emulated")
        self._changed, self._ending = threading.Event(), threading.Event()
        self._keeper = threading.Thread(target=self._keep_up, name="audit", daemon=True)
        self._descriptor = vault.create(self.path.name)
        try:
            self._begin(posture, payload, versions or _versions())
        except BaseException:
            os.close(self._descriptor)
            vault.remove(self.path.name)
            raise
        self._keeper.start()

    def __enter__(self) -> AuditLog:
        """Return the log; leaving closes it."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the log."""
        self.close()

    @property
    def head(self) -> str:
        """Return the beginning of the last record's code, to be shown."""
        return self._prev[:12]

    # ---- what is recorded

    def intent(self, op: str, route: str, version: int | None, args: object) -> Intent:
        """Record what is about to happen; raise AuditFault where that can't be, and deny then."""
        fields = {**_about(op, route, version), **self._arguments(args)}
        return Intent(self._write("intent", fields), op, route, version)

    def outcome(
        self,
        intent: Intent,
        decision: str,
        reason: str = "",
        bytes: int = 0,  # noqa: A002 - so it is called in the record
        ms: float = 0.0,
        hops: Sequence[str] = (),
    ) -> None:
        """Record what became of an intent; raise AuditFault where that can't be told.

        The effect has happened then, and the log has it as an open intent. `hops` are addresses
        that redirects led to; the last one may be what was refused.
        """
        about = _about(intent.op, intent.route, intent.version)
        fields = {**about, "decision": one_line(decision, 32), "reason": one_line(reason)}
        measures = {"bytes": bytes, "ms": round(ms, 3), "intent": intent.seq}
        led = {"hops": addresses(hops)} if hops else {}
        self._write("outcome", {**fields, **measures, **led}, room=0)

    def emulated(self, op: str, route: str, version: int | None, args: object) -> None:
        """Record a call that has no effect here, by one record; a flood of these is counted.

        Raises AuditFault where that can't be.
        """
        if self._has_a_record(self._emulated, op):
            about = {**_about(op, route, version), "decision": "emulated", "reason": ""}
            self._write("outcome", {**about, **self._arguments(args)})

    def denied(self, op: str, route: str, version: int | None, args: object, reason: str) -> None:
        """Record what was denied before it came to an intent; a flood of these is counted.

        Never raises: the denial stands, and what can't be written now is counted for later.
        """
        if not self._has_a_record(self._denied, op):
            return
        try:
            about = {**_about(op, route, version), "decision": "deny", "reason": one_line(reason)}
            self._write("outcome", {**about, **self._arguments(args)})
        except AuditFault:
            self._count(self._denied, op)

    def note(
        self,
        kind: Noted,
        op: str,
        *,
        decision: str = "",
        reason: str = "",
        route: str = "",
        version: int | None = None,
        args: object = None,
        payload: str | None = None,
    ) -> None:
        """Record a consent, a change of a route, a grant, its end, or an event; may raise.

        `payload` is the hash of what was agreed to: ours, so it is not redacted.
        """
        fields = {**_about(op, route, version)}
        fields |= {"decision": one_line(decision, 32), "reason": one_line(reason)}
        fields |= {"payload": payload} if payload else {}
        self._write(kind, {**fields, **(self._arguments(args) if args is not None else {})})

    def run_ended(self, code: int, limit: str | None, *, clean: bool) -> None:
        """Record how the run ended, also where nothing else can be written; may raise AuditFault.

        `code` is 128 + n for a signal; not `clean`: a process of it could not be ended in time.
        """
        words = _of_an_end(code, limit, clean=clean)
        decision = "ended" if clean else "UNCLEAN"
        told = {"decision": decision, "reason": words, "code": code, "limit": limit}
        self._write("event", {"op": "run", **told, "clean": clean}, room=0)

    def close(self) -> None:
        """Record the end and release everything; raise AuditFault where it can't be recorded.

        Blocks until the disk has it, and up to two seconds for the keyring.
        """
        with self._lock:
            if self._ending.is_set():
                return
            self._ending.set()
            self._changed.set()
            try:
                self._end()
            finally:
                self._broken = "it is closed"
                os.close(self._descriptor)
                self._vault.release(self.path.name)
        self._keeper.join(_END_SECONDS)

    # ---- how

    def _begin(
        self, posture: Mapping[str, Any], payload: str | None, versions: Mapping[str, str]
    ) -> None:
        # A head of nothing first: with one, a log that vanishes is missed.
        with self._telling_why():
            self._vault.keep_head(first_head(self.path.name, self._run, self._key))
            self._vault.reserve(self.path.name)
        fields: dict[str, Any] = {
            "log": self.path.name,
            "key": key_id(self._key),
            "payload": payload,
        }
        fields |= {"posture": posture, "versions": versions}
        with self._telling_why():
            self._row = self._vault.enlist(
                self._key,
                self.path.name,
                lambda begun: self._write("genesis", {**fields, **begun.fields()}),
            )
            self._keep_head()

    def _end(self) -> None:
        with contextlib.suppress(AuditFault):  # the count of all denials is in the last record too
            self._summarise(room=0)
        totals = {"denied": self._denied.total, "emulated": self._emulated.total}
        self._write("close", {"count": self._seq + 1, **totals}, room=0)
        with self._telling_why():
            self._keep_head()
            os.fsync(self._descriptor)

    def _arguments(self, args: object) -> dict[str, Any]:
        try:
            return {"args": preview(args), "args_digest": digest(self._key, args)}
        except (TypeError, ValueError, RecursionError) as error:
            raise AuditFault(f"the arguments can't be recorded: {error}") from error

    def _write(self, kind: Kind, fields: Mapping[str, Any], room: int = _ROOM) -> int:
        """Append a record and return its number, or leave the log as it was and raise."""
        with self._lock:
            if self._seq - self._kept >= HEAD_RECORDS:
                with self._telling_why():
                    self._keep_head()
            number, now = self._seq, self._clocks
            record = {"seq": number, "run": self._run, "kind": kind, **fields}
            record |= {"ts": _stamp(now.day()), "mono": round(now.mono(), 6)}
            line, mac = sealed(self._key, self._prev, record)
            if self._size + len(line) > MOST_BYTES - room:
                raise AuditFault("the audit log is full", hint="Start the runtime anew.")
            self._put(line, urgent=not room)
            self._seq, self._prev = self._seq + 1, mac
            self._broken = ""
        if not self._changed.is_set():
            self._changed.set()
        return number

    def _put(self, line: bytes, *, urgent: bool) -> None:
        """Append a line whole or not at all; what tells of something done may use the reserve.

        The log counts as broken from before the write until the caller knows it is done: a signal
        in between must not lead to two records with one number.
        """
        if self._broken:
            raise AuditFault(f"the audit log can't be written: {self._broken}")
        self._broken = "a record was interrupted"
        reason = self._tried(line)
        if reason and urgent and self._vault.release(self.path.name):
            reason = self._tried(line)
        if reason:
            self._broken = ""
            raise AuditFault(f"the audit log can't be written: {reason}")
        self._size += len(line)

    def _tried(self, line: bytes) -> str:
        """Write a line; return why that failed, having taken back what was written of it."""
        try:
            if os.write(self._descriptor, line) == len(line):
                return ""
            reason = os.strerror(errno.ENOSPC)
        except OSError as error:
            reason = error.strerror or str(error)
        with self._telling_why():
            os.ftruncate(self._descriptor, self._size)
        return reason

    @contextlib.contextmanager
    def _telling_why(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise AuditFault(f"the audit log can't be written: {error.strerror}") from error

    def _now(self) -> Head:
        head = Head(self.path.name, self._run, self._seq - 1, self._prev, self._seq)
        return head.signed(self._key)

    def _keep_head(self) -> None:
        self._vault.keep_head(self._now())
        self._kept = self._seq

    def _has_a_record(self, flood: _Flood, op: str) -> bool:
        """Say whether one more of these is to have a record of its own; if not, it is counted."""
        with self._lock:
            admitted = flood.admits(self._clocks.mono())
        if not admitted:
            self._count(flood, op)
        return admitted

    def _count(self, flood: _Flood, op: str) -> None:
        with self._lock:
            flood.count(one_line(op, 64))
        self._changed.set()

    def _summarise(self, room: int = _ROOM) -> None:
        """Record how much had no record of its own; keep a count where that fails.

        What is kept free for outcomes and the end is not taken by these before the end.
        """
        with self._lock:
            for flood in (self._denied, self._emulated):
                if flood.waiting:
                    counts = {"count": flood.waiting, "ops": dict(flood.names)}
                    self._write(flood.kind, {"decision": flood.decision, **counts}, room)
                    flood.told()

    def _keep_up(self) -> None:
        """Keep head and summaries no older than HEAD_SECONDS, in a thread of its own."""
        self._vault.keep_row_apart(self._row)
        ended = False
        while not ended:
            self._changed.wait()
            self._ending.wait(HEAD_SECONDS)
            self._changed.clear()
            with self._lock:
                ended = self._ending.is_set()
                if not ended:
                    self._catch_up()
                head = self._now()
            self._vault.keep_head_apart(head)

    def _catch_up(self) -> None:
        """Tell and keep what is due; a full disk is told by the next intent."""
        with contextlib.suppress(AuditFault):
            self._summarise()
        with contextlib.suppress(OSError):
            self._keep_head()


class _Flood:
    """Counts what comes beyond so many a second; what is counted waits to be told."""

    def __init__(self, kind: Kind, decision: str) -> None:
        self.kind, self.decision = kind, decision
        self.names: Counter[str] = Counter()
        self.waiting = self.total = 0
        self._second, self._written = 0.0, 0

    def admits(self, now: float) -> bool:
        """Say whether one more may have a record of its own."""
        self.total += 1
        if now - self._second >= 1.0:
            self._second, self._written = now, 0
        self._written += 1
        return self._written <= RECORDED_A_SECOND

    def count(self, name: str) -> None:
        """Count one that has none; names beyond a few are counted together."""
        self.waiting += 1
        known = name in self.names or len(self.names) < _COUNTED_NAMES
        self.names[name if known else "…"] += 1

    def told(self) -> None:
        """Begin anew."""
        self.waiting = 0
        self.names.clear()


@functools.lru_cache(maxsize=64)  # of names that the channel bounds, and settings of ours
def _about(op: str, route: str, version: int | None) -> Mapping[str, Any]:
    return {"op": one_line(op, 64), "route": one_line(route, 32), "version": version}


def _of_an_end(code: int, limit: str | None, *, clean: bool) -> str:
    why = f"over its limit of {limit}" if limit else "with no limit reached"
    left = "nothing of it is left" if clean else "not every process of it could be ended in time"
    return f"with status {code}, {why}; {left}"


def _stamp(seconds: float) -> str:
    whole = int(seconds // 1)
    return f"{_second(whole)}.{int((seconds - whole) * 1e6):06d}+00:00"


@functools.lru_cache(maxsize=4)
def _second(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def _versions() -> dict[str, str]:
    return {"lmboot": __version__, "python": platform.python_version()}
