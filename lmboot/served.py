"""A container that docker's service holds: asked for, given its descriptors, seen off.

Its first process is nobody's child here, and inherits nothing. The service tells which one it is;
the kernel tells who comes to the door, a socket in a folder of the container's. It is opened for
that one process, once. Standard library only: the supervisor's.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import struct
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import Any

assert sys.platform != "win32"  # noqa: S101 nobody imports it there

from lmboot.cgroups import NoGroup
from lmboot.inside import first_of_its_space, hold, kill_held
from lmboot.lentgroup import LentGroup
from lmboot.service import (
    CONFLICT,
    NO_CONTENT,
    NOT_FOUND,
    OK,
    NoAnswer,
    Service,
    accepted,
    described,
)

_CREDENTIALS = struct.Struct("3i")  # the kernel's struct ucred: process, user, group


class Door:
    """Where a process that inherits nothing gets descriptors; it opens once."""

    def __init__(self, path: str) -> None:
        """Make the folder and listen in it; raise NoAnswer."""
        self._path = path
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.setblocking(False)
        try:
            os.mkdir(os.path.dirname(path), 0o700)
            self._listener.bind(path)
            self._listener.listen(1)
        except OSError as error:
            self._listener.close()
            raise NoAnswer(f"{path}: {error.strerror or error}") from None

    def fileno(self) -> int:
        """Return the descriptor that tells when somebody has come."""
        return self._listener.fileno()

    def hand_over(self, process: int, handle: int, descriptors: Iterable[int]) -> None:
        """Give descriptors to a process, which is held by `handle`; raise NoAnswer.

        Whoever has come first is judged, and nobody after that: the door is gone by then.
        """
        try:
            connection, _ = self._listener.accept()
        except OSError:
            raise NoAnswer("who came to the sandbox's door has left again") from None
        with connection:
            self.close()
            if not _is_from(connection, process) or ended(handle):
                raise NoAnswer("somebody else than the sandbox came to its door")
            with contextlib.suppress(OSError):  # it has hung up: it never gets ready
                socket.send_fds(connection, [b"."], list(descriptors))

    def close(self) -> None:
        """Take the socket and its folder away; idempotent.

        Nothing can be made in a folder that is gone, by nobody who still has it.
        """
        self._listener.close()
        with contextlib.suppress(OSError):
            os.unlink(self._path)
            os.rmdir(os.path.dirname(self._path))


def _is_from(connection: socket.socket, process: int) -> bool:
    """Say whether a process, of this process's user, is at the other end."""
    if sys.platform == "linux":
        size = _CREDENTIALS.size
        peer = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size)
        return _CREDENTIALS.unpack(peer)[:2] == (process, os.getuid())
    else:
        return False


def ended(handle: int) -> bool:
    """Say whether a process has ended, and with it all of the space that it was the first of."""
    return bool(select.select([handle], [], [], 0)[0])


Wait = Callable[[int], None]


class Served:
    """One container: from the question for it to the proof that the service has forgotten it."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._name = ""
        self._told = -1  # where its first process tells its status
        self._watched = -1  # what the service says is the first process
        self.pid = 0  # the first process, which has shown that it is
        self.handle: int | None = None

    def start(
        self, order: Mapping[str, Any], given: Mapping[int, int], told: int, wait: Wait
    ) -> LentGroup | None:
        """Have it started and give its first process what it is to have; raise NoAnswer.

        `given` maps the numbers of a plan to our descriptors; on `told` the first process tells
        its status. `wait` returns when a descriptor has something, and raises where nothing comes
        or nobody wants it any more. Returns its control group, if the service has any.
        """
        request = order["request"]
        self._told = told
        with contextlib.closing(Door(request["door"])) as door:
            pid = self._started(request, order["argv"], order["env"], wait)
            self._watched = hold(pid)
            kill_held(self._watched, 0)  # it is ours to end, or this raises
            wait(door.fileno())
            door.hand_over(pid, self._watched, [given[number] for number in request["handed"]])
            self.pid, self.handle = pid, self._watched
        return self._group() if request["limited"] else None

    def _group(self) -> LentGroup:
        try:
            return LentGroup(self.pid, self.limit)
        except NoGroup:
            if self.handle is not None:
                kill_held(self.handle)  # nobody else knows of it yet
            raise

    def _started(
        self, request: Mapping[str, Any], argv: Iterable[str], env: Mapping[str, str], wait: Wait
    ) -> int:
        """Return the first process, in this machine's numbers."""
        user = (0, 0) if request["as_root"] else (os.getuid(), os.getgid())
        body = described(request["body"], argv, env, *user)
        self._name = request["name"]
        self._answer(wait, "POST", f"/containers/create?name={self._name}", body)
        self._answer(wait, "POST", f"/containers/{self._name}/start")
        pid = self._answer(wait, "GET", f"/containers/{self._name}/json")["State"]["Pid"]
        if pid <= 0 or first_of_its_space(pid) != pid:
            raise NoAnswer("the container's first process is not among this machine's")
        return int(pid)

    def _answer(self, wait: Wait, *question: Any) -> Any:
        self._service.ask(*question)
        wait(self._service.fileno())
        return accepted(self._service.answer())

    def held(self) -> list[int]:
        """Return what becomes readable when all in it have ended."""
        return [] if self._watched < 0 else [self._watched]

    def status(self) -> int:
        """Return what the first process said that it ends with; it says nothing when killed."""
        os.set_blocking(self._told, False)
        try:
            return int(os.read(self._told, 16))
        except (OSError, ValueError):
            return 128 + signal.SIGKILL

    def remains(self) -> bool:
        """Say whether a process of it is left; before one is known, only the service can tell."""
        return not (self.see_off() if self.handle is None else ended(self.handle))

    def limit(self, memory: int | None, pids: int | None) -> None:
        """Have its limits set, bytes (of which none is swapped out) and how many; raise NoGroup.

        What is None is not changed.
        """
        bytes_ = {} if memory is None else {"Memory": memory, "MemorySwap": memory}
        number = {} if pids is None else {"PidsLimit": pids}
        try:
            self._service.told("POST", f"/containers/{self._name}/update", {**bytes_, **number})
        except NoAnswer as failure:
            raise NoGroup(str(failure)) from None

    def see_off(self) -> bool:
        """Have the service end and forget it; say whether that came true. Idempotent."""
        if not self._name:
            return True
        try:
            self._service.ask("DELETE", f"/containers/{self._name}?force=1&v=1")
            status, _ = self._service.answer()
            if status == CONFLICT:  # it is at it already
                self._service.ask("POST", f"/containers/{self._name}/wait?condition=removed")
                status, _ = self._service.answer()
        except NoAnswer:
            return False
        if status in (OK, NO_CONTENT, NOT_FOUND):
            self._name = ""
        return not self._name
