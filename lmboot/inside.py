"""Which process is the first of a sandbox's own process space, and its end; Linux.

The supervisor's part. Only the kernel is believed: it tells who wrote to a socket, and which
numbers a process has. Standard library only.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import struct
import sys

assert sys.platform != "win32"  # noqa: S101 nobody imports it there

_CREDENTIALS = struct.Struct("3i")  # the kernel's struct ucred: process, user, group


def ask_who_writes(channel: int, wanted: bool) -> None:
    """Have the kernel tell, or no longer tell, who wrote what comes on a socket."""
    if sys.platform == "linux":
        with _socket(channel) as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, wanted)
    else:
        raise OSError("only Linux tells who wrote to a socket")


def receive(channel: int) -> tuple[bytes, int]:
    """Return what has come and the process that wrote it; 0 where that was not asked for."""
    with _socket(channel) as connection:
        data, notes, _, _ = connection.recvmsg(4096, socket.CMSG_SPACE(_CREDENTIALS.size))
    writers = [note for _, _, note in notes if len(note) == _CREDENTIALS.size]
    return data, _CREDENTIALS.unpack(writers[0])[0] if writers else 0


def _socket(channel: int) -> socket.socket:
    return socket.socket(fileno=os.dup(channel))


def first_of_its_space(pid: int) -> int:
    """Return the process with which a process's space ends; 0 when that space is ours."""
    while len(numbers := _numbers(pid)) > 1:
        if numbers[-1] == 1:
            return pid
        pid = _parent(pid)
    return 0


def _numbers(pid: int) -> list[int]:
    """Return a process's numbers, from our own space to its innermost; none when it is gone."""
    with contextlib.suppress(OSError), open(f"/proc/{pid}/status", "rb") as file:
        for line in file:
            if line.startswith(b"NSpid:"):
                return [int(number) for number in line.split()[1:]]
    return []


def _parent(pid: int) -> int:
    """Return a process's parent; 0 when it is gone."""
    with contextlib.suppress(OSError), open(f"/proc/{pid}/stat", "rb") as file:
        return int(file.read().rpartition(b")")[2].split()[1])
    return 0


def hold(pid: int) -> int:
    """Return what stands for a process as long as it lives, whoever gets its number then."""
    if sys.platform == "linux":
        return os.pidfd_open(pid)
    else:
        raise OSError("only Linux has process spaces")


def kill_held(handle: int, number: int = signal.SIGKILL) -> None:
    """Kill what it stands for; with 0, only see that this can be done. Raises OSError."""
    if sys.platform == "linux":
        signal.pidfd_send_signal(handle, number)
