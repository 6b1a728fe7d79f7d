"""The small plain process between lmboot and one runtime: starts it, watches it, ends it.

Started as `python -I -S supervisor.py FD [user=UID] [enclosed]`. Standard library only; of lmboot
it imports two modules that are its own parts. FD is a stream socket to lmboot: one JSON object a
line in both directions, descriptors beside it.

    lmboot says     launch (with descriptors)   begin   interrupt   stop   end
    it answers      ready   started (with descriptors)   fault   gone

`started`: the sandbox stands and the launcher in it waits for the payload, so that this too costs
nothing later; with `begin` the limits and their clocks are on.

The end of that socket means that lmboot is gone: the whole tree is killed at once. UID is the
unprivileged user that it becomes first (lmboot runs as root). It is the subreaper of everything
that it starts, so "no child is left" proves that the tree is gone. `enclosed` is for a tree that
has no process space, whose first process would take all others along: see `enclosure.py`.

Other systems than Linux lack what `become_subreaper`, `_children` and `_facts` use; each says what
it returns then.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import select
import signal
import socket
import sys
import time
from collections.abc import Iterable
from typing import Any, NamedTuple

if __name__ == "__main__":
    # As the last one; -I leaves it out.
    sys.path.append(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from lmboot.enclosure import become_subreaper, kill_everybody, leave_a_guard
from lmboot.holdings import Holdings

READY_SECONDS = 20.0  # from spawning to the launcher's READY; a cold disk needs about one
ENDING_SECONDS = 1.0  # from the closing of a process's descriptors to its status
TERM_SECONDS = 0.5  # from the closing of stdin to SIGTERM
KILL_SECONDS = 0.7  # from SIGTERM to SIGKILL
GONE_SECONDS = 0.7  # from SIGKILL to the verdict; the three stay below the contract's 2.0 s
LINGER_SECONDS = 30.0  # how long it goes on killing what it had to report as not gone
QUICKEST_LOOK, SLOWEST_LOOK = 0.05, 0.25
FILL_BYTES_PER_SECOND = 2 << 30  # how fast a runtime is taken to be able to fill memory
ABOVE_TARGETS = 64  # where received descriptors wait, clear of the numbers that they will get
NEVER = float("inf")
TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


class Fault(Exception):
    """The runtime could not be set up; nothing of the payload has run."""


class Abandoned(Exception):
    """lmboot is gone, or wants no runtime any more."""


class Facts(NamedTuple):
    """What /proc tells about one process; times in ticks."""

    born: int
    own: int
    waited: int  # what the children that it waited for had used
    running: bool


# ---------------------------------------------------------------- what the system is asked for


def become(uid: int) -> None:
    """Become the unprivileged user for good, or raise."""
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)
    with contextlib.suppress(PermissionError):
        os.setresuid(0, 0, 0)
        raise Fault("root's rights could not be given up")


def _children(pid: int) -> list[int]:
    """Return the children of a process; none when it is gone, or where nobody can tell."""
    found: list[int] = []
    try:
        for task in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{task}/children") as file:
                found += map(int, file.read().split())
    except OSError:
        pass  # a task that ends while it is being read has no children any more
    return found


def _descendants(pid: int, most: float = NEVER) -> list[int]:
    """Return the processes beneath one; the walk ends once there are more than `most`.

    Whoever forks faster than this walks would otherwise be walked through without end.
    """
    found = _children(pid)
    for child in found:  # grows while it is walked
        if len(found) > most:
            break
        found += _children(child)
    return found


def _facts(pid: int) -> Facts | None:
    """Return what is known of a process; None when it is gone, or where nobody can tell."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
    except OSError:
        return None
    times = [int(field) for field in fields[11:15]]
    return Facts(int(fields[19]), sum(times[:2]), sum(times[2:]), fields[0] == b"R")


def _sum_of_lines(path: str, names: tuple[bytes, ...]) -> int:
    """Return the sum of the named lines of a file of /proc, in bytes."""
    with open(path, "rb") as file:
        lines = file.read().split(b"\n")
    return sum(int(line.split()[1]) for line in lines if line.startswith(names)) * 1024


def _resident(pid: int) -> int:
    """Return an upper bound of a process's memory: what it shares is not divided."""
    try:
        return _sum_of_lines(f"/proc/{pid}/status", (b"VmRSS:", b"VmSwap:"))
    except OSError:
        return 0


def _proportional(pid: int) -> int:
    """Return a process's share of memory: of a page that n processes share, the n-th part."""
    try:
        return _sum_of_lines(f"/proc/{pid}/smaps_rollup", (b"Pss:", b"SwapPss:"))
    except OSError:
        return _resident(pid)  # it has made itself unreadable: the upper bound counts


def _signal(pid: int, number: int) -> None:
    """Signal a process that was just seen in the tree; nothing when it is gone."""
    with contextlib.suppress(OSError):
        os.kill(pid, number)


# ---------------------------------------------------------------- the tree's CPU time


class CpuLedger:
    """The CPU time of a tree of processes, from a look at it every now and then.

    A process's time moves to its parent when that waits for it, and vanishes when the parent
    ignores SIGCHLD. So what the dead had used is estimated, and counts as far as it is more than
    what turned up in their parents.
    """

    def __init__(self) -> None:
        self._seen: dict[tuple[int, int], Facts] = {}
        self._fresh: set[tuple[int, int]] = set()
        self._used_by_dead = 0
        self._turned_up = 0

    def update(self, tree: dict[int, Facts], elapsed: int) -> int:
        """Take in the tree `elapsed` ticks after the last look; return its ticks in all."""
        alive = {(pid, facts.born): facts for pid, facts in tree.items()}
        for key, facts in self._seen.items():
            if key not in alive:
                self._used_by_dead += self._estimate(key, facts, elapsed)
        for key, facts in alive.items():
            before = self._seen.get(key)
            self._turned_up += facts.waited - (before.waited if before else 0)
        self._fresh = alive.keys() - self._seen.keys()
        self._seen = alive
        vanished = max(0, self._used_by_dead - self._turned_up)
        return vanished + sum(facts.own + facts.waited for facts in alive.values())

    def _estimate(self, key: tuple[int, int], last: Facts, elapsed: int) -> int:
        """Estimate what a dead process had used in all, from when it was last seen.

        A life shorter than the gap between two looks is met with probability life : gap; charging
        the whole gap to each that is met, running, is right on average.
        """
        used = last.own + last.waited
        return max(used, elapsed) if key in self._fresh and last.running else used


# ---------------------------------------------------------------- the process itself


class Control:
    """The socket to lmboot."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self._pending = b""
        self._descriptors: list[int] = []

    def tell(self, descriptors: Iterable[int] = (), **message: Any) -> None:
        """Send one message; nobody listening is no error here."""
        data = json.dumps(message).encode() + b"\n"
        with contextlib.suppress(OSError):
            socket.send_fds(self.connection, [data], list(descriptors))

    def take(self) -> list[dict[str, Any]]:
        """Return the messages that have come, waiting for some; raise Abandoned at the end."""
        try:
            data, descriptors, _, _ = socket.recv_fds(self.connection, 1 << 16, 32)
        except OSError:
            data, descriptors = b"", []
        self._descriptors += map(_out_of_the_way, descriptors)
        if not data:
            raise Abandoned
        *lines, self._pending = (self._pending + data).split(b"\n")
        return [json.loads(line) for line in lines]

    def descriptors(self) -> list[int]:
        """Hand over the descriptors that have come."""
        taken, self._descriptors = self._descriptors, []
        return taken


def _out_of_the_way(descriptor: int) -> int:
    """Move a descriptor above those numbers that the runtime's will have; close it on exec."""
    moved = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, ABOVE_TARGETS)
    os.close(descriptor)
    return moved


class Supervisor:
    """One runtime's life, from the order to launch it to the proof that nothing of it is left."""

    def __init__(self, control: Control, *, enclosed: bool) -> None:
        self._control = control
        self._enclosed = enclosed
        self._inbox: list[dict[str, Any]] = []
        self._woken = _wake_on_child()
        self._main = 0  # the child that we started: the sandbox's outer process, or the runtime
        self._init: int | None = None  # the first process of the sandbox's own process space
        self._init_handle: int | None = None
        self._code: int | None = None
        self._limit: str | None = None
        self._limits: dict[str, float | None] = {}
        self._folders: list[int] = []
        self._holdings: Holdings | None = None  # None: the folders are bounded file systems
        self._ledger = CpuLedger()
        self._born: float | None = None  # when the payload was let in
        self._looked = 0.0
        self._look_at = self._term_at = self._kill_at = NEVER

    def serve(self) -> None:
        """Serve one runtime; return when nothing of it is left, or nothing more can be done."""
        fault = None
        try:
            self._launch(self._order())
            self._watch()
        except Fault as found:
            fault = str(found)
        except Abandoned:
            pass
        except Exception as bug:  # noqa: BLE001 whatever it is, the tree must not outlive it
            fault = f"the supervisor failed: {bug!r}"
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # what it asks for is being done
        clean = self._kill_all(GONE_SECONDS)
        if fault is not None:
            self._control.tell(event="fault", text=fault, clean=clean)
        else:
            self._control.tell(event="gone", code=self._code, limit=self._limit, clean=clean)
        if not clean:
            self._kill_all(LINGER_SECONDS)

    def _order(self) -> dict[str, Any]:
        while not self._inbox:
            self._wait(None)
        return self._inbox.pop(0)

    # -- launching

    def _launch(self, order: dict[str, Any]) -> None:
        *given, channel = self._control.descriptors()
        os.chdir(order["cwd"])
        targets: list[int] = order["targets"]
        info, info_for_child = os.pipe()
        placed = list(zip(given, targets, strict=True))
        if order["info"] is not None:
            placed.append((_out_of_the_way(info_for_child), order["info"]))
        self._spawn(order, placed)
        for descriptor, _ in placed:
            os.close(descriptor)
        self._await_ready(channel, order["nonce"])
        if order["info"] is not None:
            self._find_inside(info)
        self._open_folders(order["folders"])
        if order["bounds"]:
            self._holdings = Holdings(dict(zip(self._folders, order["bounds"], strict=True)))
        pids = [pid for pid in (self._init, self._main) if pid]
        self._control.tell(self._folders[:1], event="started", pids=pids)
        os.close(channel)

    def _spawn(self, order: dict[str, Any], placed: list[tuple[int, int]]) -> None:
        changed = {signal.SIGPIPE, signal.SIGXFSZ, signal.SIGCHLD, signal.SIGINT, signal.SIGTERM}
        try:
            self._main = os.posix_spawn(
                order["argv"][0],
                order["argv"],
                order["env"],
                file_actions=[(os.POSIX_SPAWN_DUP2, source, target) for source, target in placed],
                setsid=True,
                setsigmask=(),
                setsigdef=changed,
            )
        except OSError as error:
            raise Fault(f"{order['argv'][0]}: {error.strerror}") from None

    def _await_ready(self, channel: int, nonce: str) -> None:
        """Wait until the launcher inside has everything in place and holds before the payload."""
        deadline = time.monotonic() + READY_SECONDS
        line = b""
        while not line.endswith(b"\n"):
            if self._wait(deadline - time.monotonic(), channel):
                data = os.read(channel, 4096)
                line += data
                if not data:  # all that held the other end are gone, or will not use it
                    self._wait(ENDING_SECONDS)
                    raise Fault(f"the sandbox ended with status {self._code}")
            elif self._code is not None:
                raise Fault(f"the sandbox ended with status {self._code}")
            elif time.monotonic() > deadline:
                raise Fault(f"the sandbox was not ready within {READY_SECONDS:.0f} s")
        word, _, text = line.decode("utf-8", "replace").strip().partition(" ")
        if word != "READY" or text != nonce:
            raise Fault(text if word == "FAULT" else "the sandbox gave no proper sign of life")

    def _find_inside(self, info: int) -> None:
        """Learn the first process of the sandbox's process space; only it can be believed.

        A back end that only says that it isolates starts the runtime as its own child.
        """
        os.set_blocking(info, False)
        try:
            pid = json.loads(os.read(info, 1 << 16))["child-pid"]
            self._init_handle = os.pidfd_open(pid)
        except (OSError, ValueError, KeyError, TypeError):
            raise Fault("the sandbox did not tell where its inside is") from None
        if pid not in _children(self._main):
            raise Fault("the sandbox told of an inside that is not its own")
        self._init = pid

    def _open_folders(self, folders: list[str]) -> None:
        """Hold on to the runtime's writable file systems, so that they outlive it."""
        try:
            inside = "" if self._init is None else f"/proc/{_children(self._init)[0]}/root"
            flags = os.O_DIRECTORY | os.O_RDONLY
            self._folders = [os.open(inside + folder, flags) for folder in folders]
        except (OSError, IndexError) as error:
            raise Fault(f"the sandbox's own folders can't be reached: {error}") from None

    # -- watching

    def _watch(self) -> None:
        """Watch until the runtime has ended or must be ended."""
        while self._code is None and self._limit is None:
            now = time.monotonic()
            if now >= self._look_at:
                self._look_at = now + self._look(now)
            if now >= self._term_at:
                self._term_at = NEVER
                self._signal_guests(signal.SIGTERM)
            if now >= self._kill_at:
                return
            next_due = min(self._look_at, self._term_at, self._kill_at)
            self._wait(None if next_due == NEVER else next_due - time.monotonic())
            self._obey()

    def _obey(self) -> None:
        now = time.monotonic()
        for message in self._inbox:
            if message["do"] == "interrupt":
                self._signal_guests(signal.SIGINT)
            elif message["do"] == "begin":
                self._limits = message["limits"]
                self._born = self._looked = now
                self._look_at = now + QUICKEST_LOOK
            elif message["do"] == "stop" and self._kill_at == NEVER:
                self._term_at = now + TERM_SECONDS
                self._kill_at = self._term_at + KILL_SECONDS
            elif message["do"] == "end":
                self._limit = message["limit"]
        self._inbox.clear()

    def _guests(self, most: float = NEVER) -> list[int]:
        """Return the runtime's processes, without those of the sandbox around them."""
        return _descendants(self._init if self._init is not None else os.getpid(), most)

    def _signal_guests(self, number: int) -> None:
        for pid in self._guests():
            _signal(pid, number)

    def _look(self, now: float) -> float:
        """Compare the tree with its limits; return the seconds until the next look."""
        elapsed, self._looked = now - self._looked, now
        most = self._limits.get("processes") or NEVER
        guests = self._guests(most)
        if len(guests) > most:  # at once: to measure each would take time in which they fork
            self._limit = "processes"
            return QUICKEST_LOOK
        # Orphans are waited for by the sandbox's first process; without a sandbox, by this one.
        watched = [self._init or os.getpid(), *guests]
        tree = {pid: facts for pid in watched if (facts := _facts(pid))}
        used = {
            "cpu": self._ledger.update(tree, round(elapsed * TICKS_PER_SECOND)) / TICKS_PER_SECOND,
            "memory": self._memory(guests),
            "wall": now - (self._born or now),
            "inodes": self._inodes(now, guests),
        }
        for name, amount in used.items():
            ceiling = self._limits.get(name)
            if ceiling is not None and amount > ceiling:
                self._limit = "disk" if name == "inodes" else name
        room = (self._limits.get("memory") or 0) - used["memory"]
        return min(max(room / FILL_BYTES_PER_SECOND, QUICKEST_LOOK), SLOWEST_LOOK)

    def _inodes(self, now: float, guests: list[int]) -> float:
        """Return how many files there are; more than any limit when they are too big."""
        if self._holdings is None:
            return max(map(_inodes, self._folders), default=0)
        return self._holdings.entries(now, guests)

    def _memory(self, guests: list[int]) -> int:
        """Return the tree's memory; exact (and slow to find) only when it may be too much."""
        bound = sum(map(_resident, guests))
        ceiling = self._limits.get("memory")
        return bound if ceiling is None or bound <= ceiling else sum(map(_proportional, guests))

    # -- ending

    def _kill_all(self, seconds: float) -> bool:
        """Kill the whole tree; say whether nothing of it is left within that time."""
        deadline = time.monotonic() + seconds
        if self._init_handle is not None:
            with contextlib.suppress(OSError):  # it takes all of its process space along
                signal.pidfd_send_signal(self._init_handle, signal.SIGKILL)
        while self._reap():
            if self._main and self._code is None:
                with contextlib.suppress(OSError):
                    os.killpg(self._main, signal.SIGKILL)
            if self._enclosed:
                kill_everybody()
            for pid in _descendants(os.getpid()):
                _signal(pid, signal.SIGKILL)
            if time.monotonic() > deadline:
                return False
            select.select([self._woken], [], [], 0.01)
            _drain(self._woken)
        return True

    def _reap(self) -> bool:
        """Collect the dead; say whether children are left."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return False
            if pid == 0:
                return True
            if pid == self._main:
                code = os.waitstatus_to_exitcode(status)
                self._code = code if code >= 0 else 128 - code
                if self._code == 128 + signal.SIGXCPU and self._limit is None:
                    self._limit = "cpu"

    def _wait(self, seconds: float | None, other: int | None = None) -> bool:
        """Wait for lmboot, a child's end or `other`; say whether `other` has something."""
        sources = [self._control.connection.fileno(), self._woken]
        sources += [] if other is None else [other]
        timeout = None if seconds is None else max(0.0, seconds)
        readable = select.select(sources, [], [], timeout)[0]
        if self._woken in readable:
            _drain(self._woken)
            self._reap()
        if sources[0] in readable:
            self._inbox += self._control.take()
        return other in readable


def _inodes(folder: int) -> int:
    """Return how many files a file system holds: its size does not bound their number."""
    held = os.fstatvfs(folder)
    return held.f_files - held.f_ffree


def _wake_on_child() -> int:
    """Return a descriptor that becomes readable whenever a child has ended."""
    woken, waker = os.pipe()
    os.set_blocking(woken, False)
    os.set_blocking(waker, False)
    signal.set_wakeup_fd(waker, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    return woken


def _drain(descriptor: int) -> None:
    with contextlib.suppress(BlockingIOError):
        os.read(descriptor, 4096)


def _abandon(*_: object) -> None:
    raise Abandoned


def main(arguments: list[str]) -> None:
    """Run the supervisor on the socket, as the user, that the arguments name."""
    control = Control(socket.socket(fileno=int(arguments[0])))
    control.connection.set_inheritable(False)
    os.chdir("/")
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    enclosed = "enclosed" in arguments
    try:
        become_subreaper()  # before: Python's own files may lie where the other user can't read
        for argument in arguments[1:]:
            if argument.startswith("user="):
                become(int(argument[5:]))
        if enclosed:
            leave_a_guard(control.connection)
    except (OSError, Fault) as error:
        control.tell(event="fault", text=str(error), clean=True)
        return
    signal.signal(signal.SIGTERM, _abandon)
    supervisor = Supervisor(control, enclosed=enclosed)
    control.tell(event="ready")
    supervisor.serve()


if __name__ == "__main__":
    main(sys.argv[1:])
