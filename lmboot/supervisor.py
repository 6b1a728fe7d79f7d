"""The small plain process between lmboot and one runtime: starts it, watches it, ends it.

Started as `python -I -S supervisor.py FD [user=UID] [groups=JSON] [service=PATH] [enclosed]`.
Standard library only; of lmboot it imports the modules that are its own parts. FD is a stream
socket to lmboot: one JSON object a line in both directions, descriptors beside it.

    lmboot says     launch (with descriptors)   begin   interrupt   stop   end
    it answers      ready   started (with descriptors)   fault   gone

A sandbox may come with a scaffold: programs that set it up and would stay around it. It is taken
down as soon as the sandbox stands; what was inside is then a child of this process.

A sandbox may be a service's: docker's, at PATH, to which this process connects while it still may.
Its first process is nobody's child here and is held by its handle; with it, all of its process
space ends. What it ends with, it tells on `info`: see `served.py`.

`started`: the sandbox stands and the launcher in it waits for the payload, so that this too costs
nothing later; with `begin` the limits and their clocks are on, and then it is let go on.

The end of that socket means that lmboot is gone: the whole tree is killed at once. UID is the
unprivileged user that it becomes first (lmboot runs as root). `groups` is [name, places] of a
control group, in which the kernel keeps the limits: see `cgroups.py`. It is the subreaper of
everything that it starts, so "no child is left" proves that the tree is gone. `enclosed` is for a
tree that has no process space, whose first process would take all others along: `enclosure.py`.

On macOS nobody adopts orphans: there the processes of a sandbox are known by their mark, what only
they may write to (`census.marked`). It was written by the book and never run there.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import select
import signal
import socket
import sys
import time
from collections.abc import Iterator
from typing import Any

if __name__ == "__main__":
    # As the last one; -I leaves it out.
    sys.path.append(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

assert sys.platform != "win32"  # noqa: S101 there, `windows_process.py` stands in its place

from lmboot.census import (
    CpuTime,
    children,
    descendants,
    facts_of,
    marked,
    proportional,
    resident,
)
from lmboot.cgroups import Group, NoGroup, Place
from lmboot.control import Abandoned, Control, Fault
from lmboot.enclosure import become_subreaper, kill_everybody, leave_a_guard
from lmboot.holdings import Holdings, filled, inodes
from lmboot.inside import (
    ask_who_writes,
    first_of_its_space,
    hold,
    kill_held,
    receive,
)
from lmboot.keeper import die_with_parent, leave_a_keeper
from lmboot.served import Served
from lmboot.service import NoAnswer, Service
from lmboot.spawning import out_of_the_way, spawn

READY_SECONDS = 20.0  # from spawning to the launcher's READY; a cold disk needs about one
ENDING_SECONDS = 1.0  # from the closing of a process's descriptors to its status
TERM_SECONDS = 0.5  # from the closing of stdin to SIGTERM
KILL_SECONDS = 0.7  # from SIGTERM to SIGKILL
GONE_SECONDS = 0.7  # from SIGKILL to the verdict; the three stay below the contract's 2.0 s
LINGER_SECONDS = 30.0  # how long it goes on killing what it had to report as not gone
QUICKEST_LOOK, SLOWEST_LOOK = 0.05, 0.25
FILL_BYTES_PER_SECOND = 2 << 30  # how fast a runtime is taken to be able to fill memory
NEVER = float("inf")


# ---------------------------------------------------------------- what the system is asked for


def become(uid: int) -> None:
    """Become the unprivileged user for good, or raise."""
    os.setgroups([])
    os.setgid(uid)  # as root, the real and the saved one too
    os.setuid(uid)
    with contextlib.suppress(PermissionError):
        os.setuid(0)
        raise Fault("root's rights could not be given up")


def _signal(pid: int, number: int) -> None:
    """Signal a process that was just seen in the tree; nothing when it is gone."""
    with contextlib.suppress(OSError):
        os.kill(pid, number)


# ---------------------------------------------------------------- the process itself


class Supervisor:
    """One runtime's life, from the order to launch it to the proof that nothing of it is left."""

    def __init__(
        self, control: Control, group: Group | None, served: Served | None, *, enclosed: bool
    ) -> None:
        self._control = control
        self._enclosed = enclosed
        self._group = group
        self._served = served  # None: the sandbox is a child of ours
        self._channel = -1  # the host's end of the launcher's socket
        self._inbox: list[dict[str, Any]] = []
        self._woken = _wake_on_child()
        self._main = 0  # the child that we started: the sandbox's outer process, or the runtime
        self._init: int | None = None  # the first process of the sandbox's own process space
        self._init_handle: int | None = None
        self._mark: str | None = None
        self._code: int | None = None
        self._limit: str | None = None
        self._limits: dict[str, float | None] = {}
        self._folders: list[int] = []
        self._holdings: Holdings | None = None  # None: the folders are bounded file systems
        self._cpu = CpuTime(lambda: self._group.cpu_seconds() if self._group else None)
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
        if self._limit is None and self._group is not None and self._group.killed():
            self._limit = "memory"
        if fault is not None:
            self._control.tell(event="fault", text=fault, clean=clean)
        else:
            # Nobody here waits for a service's processes: what those of a short life used is lost.
            waited = sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2])  # user's and system's
            cpu = self._cpu.in_all(waited) if clean and self._served is None else None
            self._control.tell(
                event="gone", code=self._code, limit=self._limit, clean=clean, cpu=cpu
            )
        if not clean:
            self._kill_all(LINGER_SECONDS)
        if self._served is not None:
            self._served.see_off()

    def _order(self) -> dict[str, Any]:
        while not self._inbox:
            self._wait(None)
        return self._inbox.pop(0)

    # -- launching

    def _launch(self, order: dict[str, Any]) -> None:
        *given, self._channel = self._control.descriptors()
        os.chdir(order["cwd"])
        targets: list[int] = order["targets"]
        info, info_for_child = os.pipe()
        placed = list(zip(given, targets, strict=True))
        if order["info"] is not None:
            placed.append((out_of_the_way(info_for_child), order["info"]))
        if order["scaffold"]:
            ask_who_writes(self._channel, True)
        if self._served is not None:
            theirs = {target: ours for ours, target in placed}
            with _as_fault():
                self._group = self._served.start(order, theirs, info, self._await)
            self._init, self._init_handle = self._served.pid, self._served.handle
        else:
            self._spawn(order, placed)
        for descriptor, _ in placed:
            os.close(descriptor)
        sender = self._await_ready(self._channel, order["nonce"])
        self._find(order, sender, info)
        self._open_folders(order["folders"], inside=order["info"] is not None)
        if order["bounds"]:
            self._holdings = Holdings(dict(zip(self._folders, order["bounds"], strict=True)))
        pids = list({pid for pid in (self._init, self._main) if pid})
        if self._group is not None:
            with _as_fault():
                self._group.check([*pids, *self._guests()])
        self._control.tell(self._folders[:1], event="started", pids=pids)

    def _find(self, order: dict[str, Any], sender: int, info: int) -> None:
        """Learn which processes are the sandbox's, by what the order says of it."""
        if order["scaffold"]:
            ask_who_writes(self._channel, False)
            self._take_scaffold_down(sender)
        elif order["info"] is not None and self._served is None:
            self._find_inside(info)
        elif order["nested"]:
            self._find_nested()
        elif order["mark"] is not None:
            self._find_marked(order["mark"])

    def _spawn(self, order: dict[str, Any], placed: list[tuple[int, int]]) -> None:
        enter = self._group.enter if self._group else lambda: None
        try:
            self._main = spawn(order["argv"], order["env"], placed, enter)
        except OSError as error:
            raise Fault(f"{order['argv'][0]}: {error.strerror}") from None

    def _await(self, descriptor: int, deadline: float | None = None) -> None:
        """Wait until a descriptor has something; raise Fault when nothing can come, or in time."""
        deadline = deadline or time.monotonic() + READY_SECONDS
        while not self._wait(deadline - time.monotonic(), descriptor):
            if self._code is not None:
                raise Fault(f"the sandbox ended with status {self._code}")
            if time.monotonic() > deadline:
                raise Fault(f"the sandbox was not ready within {READY_SECONDS:.0f} s")

    def _await_ready(self, channel: int, nonce: str) -> int:
        """Wait until the launcher inside has everything in place and holds before the payload.

        Returns its process, as the kernel tells, if that was asked for; else 0.
        """
        deadline = time.monotonic() + READY_SECONDS
        line, sender = b"", 0
        while not line.endswith(b"\n"):
            self._await(channel, deadline)
            data, sender = receive(channel)
            line += data
            if not data:  # all that held the other end are gone, or will not use it
                self._wait(ENDING_SECONDS)
                raise Fault(f"the sandbox ended with status {self._code}")
        word, _, text = line.decode("utf-8", "replace").strip().partition(" ")
        if word != "READY" or text != nonce:
            raise Fault(text if word == "FAULT" else "the sandbox gave no proper sign of life")
        return sender

    def _take_scaffold_down(self, sender: int) -> None:
        """End all that is around the sandbox whose launcher is `sender`; it becomes our child."""
        init = first_of_its_space(sender)
        if init not in descendants(os.getpid()):
            raise Fault("the sandbox has no process space of its own")
        self._init_handle = hold(init)
        inside = {init, *descendants(init)}  # they wait for the payload: nobody joins them now
        self._init = self._main = init
        deadline = time.monotonic() + READY_SECONDS
        while init not in children(os.getpid()) or set(descendants(os.getpid())) - inside:
            if self._code is not None or time.monotonic() > deadline:
                raise Fault("the sandbox ended with what had set it up")
            for pid in set(descendants(os.getpid())) - inside:
                _signal(pid, signal.SIGKILL)
            self._wait(0.01)
            self._reap()

    def _find_inside(self, info: int) -> None:
        """Learn the first process of the sandbox's process space; only it can be believed.

        A back end that only says that it isolates starts the runtime as its own child.
        """
        os.set_blocking(info, False)
        try:
            pid = json.loads(os.read(info, 1 << 16))["child-pid"]
            self._init_handle = hold(pid)
        except (OSError, ValueError, KeyError, TypeError):
            raise Fault("the sandbox did not tell where its inside is") from None
        if pid not in children(self._main):
            raise Fault("the sandbox told of an inside that is not its own")
        self._init = pid

    def _find_nested(self) -> None:
        """Learn the same of a sandbox that does not tell: it is its one child."""
        found = children(self._main)
        if len(found) != 1 or first_of_its_space(found[0]) != found[0]:
            raise Fault("the sandbox has not made a process space")
        self._init = found[0]
        with contextlib.suppress(OSError):  # it has just ended: the next look tells
            self._init_handle = hold(self._init)

    def _find_marked(self, mark: str) -> None:
        """Learn what tells the sandbox's processes, and that the one we started has it."""
        try:
            found = marked(mark)
        except OSError as error:
            raise Fault(str(error)) from None
        if self._main not in found:
            raise Fault("the sandbox is not what holds the runtime")
        self._mark = mark

    def _open_folders(self, folders: list[str], *, inside: bool) -> None:
        """Hold on to the runtime's writable file systems, so that they outlive it.

        `inside`: they are the sandbox's own, and nowhere else.
        """
        try:
            root = f"/proc/{children(self._init or 0)[0]}/root" if inside else ""
            flags = os.O_DIRECTORY | os.O_RDONLY
            self._folders = [os.open(root + folder, flags) for folder in folders]
        except (OSError, IndexError) as error:
            raise Fault(f"the sandbox's own folders can't be reached: {error}") from None

    # -- watching

    def _watch(self) -> None:
        """Watch until the runtime has ended or must be ended."""
        while self._code is None and self._limit is None:
            if self._group is not None and self._group.killed():
                self._limit = "memory"  # a part of the tree is dead, so the rest must not go on
                return
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
                self._begin(message["limits"], now)
            elif message["do"] == "stop" and self._kill_at == NEVER:
                self._term_at = now + TERM_SECONDS
                self._kill_at = self._term_at + KILL_SECONDS
            elif message["do"] == "end":
                self._limit = message["limit"]
        self._inbox.clear()

    def _begin(self, limits: dict[str, float | None], now: float) -> None:
        """Put the limits on, then let the launcher inside go on."""
        self._limits = limits
        self._born = self._looked = now
        self._look_at = now + QUICKEST_LOOK
        if self._group is not None:
            memory, processes = limits.get("contained"), limits.get("processes")
            beside = (self._group.processes() or 1) - 1  # of the sandbox around the launcher
            with _as_fault():
                self._group.limit(
                    memory=None if memory is None else int(memory),
                    pids=None if processes is None else int(processes) + beside,
                )
            self._cpu.begin()
        with contextlib.suppress(OSError):  # the launcher is dead: its end is told
            os.write(self._channel, b"GO\n")
        os.close(self._channel)

    def _guests(self, most: float = NEVER) -> list[int]:
        """Return the runtime's processes, without those of the sandbox around them."""
        found = descendants(self._init if self._init is not None else os.getpid(), most)
        return [*found, *(pid for pid in self._strays() if pid not in found)]

    def _strays(self) -> list[int]:
        """Return the runtime's processes that are not beneath this one any more."""
        return [] if self._mark is None else marked(self._mark)

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
        tree = {pid: facts for pid in watched if (facts := facts_of(pid))}
        used = {
            "cpu": self._cpu.so_far(tree, elapsed),
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
            return max(map(inodes, self._folders), default=0)
        return self._holdings.entries(now, guests)

    def _memory(self, guests: list[int]) -> int:
        """Return the tree's memory; exact (and slow to find) only when it may be too much.

        A group counts files in memory too: of those in file systems of its own, all is known.
        """
        own = self._folders if self._holdings is None else []
        counted = self._group.memory() if self._group and own else None
        if counted is not None:
            return counted - sum(map(filled, own))
        bound = sum(map(resident, guests))
        ceiling = self._limits.get("memory")
        return bound if ceiling is None or bound <= ceiling else sum(map(proportional, guests))

    # -- ending

    def _kill_all(self, seconds: float) -> bool:
        """Kill the whole tree; say whether nothing of it is left within that time."""
        deadline = time.monotonic() + seconds
        if self._group is not None:
            self._group.kill()
        if self._init_handle is not None:
            with contextlib.suppress(OSError):  # it takes all of its process space along
                kill_held(self._init_handle)
        while (
            self._reap()
            or self._strays()
            or (self._served and self._served.remains())
            or (self._group and self._group.members())
        ):
            if self._main and self._code is None:
                with contextlib.suppress(OSError):
                    os.killpg(self._main, signal.SIGKILL)
            if self._enclosed:
                kill_everybody()
            for pid in [*descendants(os.getpid()), *self._strays()]:
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
        held = self._served.held() if self._served else []
        timeout = None if seconds is None else max(0.0, seconds)
        alarms = self._group.alarms() if self._group else ([], [])
        readable = select.select([*sources, *held, *alarms[0]], [], alarms[1], timeout)[0]
        if self._served is not None and not set(held).isdisjoint(readable):
            self._code = self._served.status()
        if self._woken in readable:
            _drain(self._woken)
            self._reap()
        if sources[0] in readable:
            self._inbox += self._control.take()
        return other in readable


@contextlib.contextmanager
def _as_fault() -> Iterator[None]:
    """Turn what is wrong with a group, or with a service, into a fault."""
    try:
        yield
    except NoGroup as failure:
        raise Fault(f"its control group failed: {failure}") from None
    except (NoAnswer, OSError) as failure:
        raise Fault(str(failure)) from None


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
    given = dict(argument.partition("=")[::2] for argument in arguments[1:])
    group = served = None
    try:
        become_subreaper()  # before: Python's own files may lie where the other user can't read
        if "groups" in given:
            name, places = json.loads(given["groups"])
            group = Group.make([Place(*place) for place in places], name)
            leave_a_keeper(group, control.connection)
            become_subreaper()
        if "service" in given:
            served = Served(Service(given["service"]))
        if "user" in given:
            become(int(given["user"]))
        if group is not None:
            die_with_parent()
        if "enclosed" in given:
            leave_a_guard(control.connection)
    except (OSError, Fault, NoGroup, NoAnswer) as error:
        control.tell(event="fault", text=str(error), clean=True)
        return
    signal.signal(signal.SIGTERM, _abandon)
    supervisor = Supervisor(control, group, served, enclosed="enclosed" in given)
    control.tell(event="ready")
    supervisor.serve()


if __name__ == "__main__":
    main(sys.argv[1:])
