"""What keeps a tree of processes together where it has no process space of its own; Linux.

Orphans come to the subreaper above them. Landlock keeps the signals of a process, and of all that
come from it, among themselves: so one signal to everybody reaches the whole tree at once, however
fast it forks, and nobody else. Standard library only: this is the supervisor's.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import struct
import sys
import time

from lmboot import system

assert sys.platform != "win32"  # noqa: S101 nobody imports it there

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER, PR_SET_NO_NEW_PRIVS = 1, 36, 38
CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 444, 445, 446
SCOPE_SIGNAL = 2
PATH_BENEATH, REFER = 1, 1 << 13
LINGER_SECONDS = 30.0  # how long a guard goes on killing


def become_subreaper() -> bool:
    """Have orphans beneath this process become its children; False where that can't be done."""
    import ctypes  # slow to import; this process is started ahead of need

    control = getattr(ctypes.CDLL(None), "prctl", None)  # Linux's own
    return control is not None and control(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0


def enclose() -> None:
    """Keep the signals of this process and of all that it starts among themselves, or raise."""
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    handled = struct.pack("=QQQ", REFER, 0, SCOPE_SIGNAL)
    size, none = ctypes.c_size_t(len(handled)), ctypes.c_uint32()
    rules = libc.syscall(ctypes.c_long(CREATE_RULESET), handled, size, none)
    # To move files from folder to folder is the one right that is refused unless it is granted.
    root = os.open("/", system.O_PATH | system.O_CLOEXEC)
    everywhere = struct.pack("=Qi", REFER, root)
    put_on = (
        rules >= 0
        and libc.syscall(ctypes.c_long(ADD_RULE), rules, PATH_BENEATH, everywhere, none) == 0
        and libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
        and libc.syscall(ctypes.c_long(RESTRICT_SELF), rules, none) == 0
    )
    if not put_on:
        number = ctypes.get_errno()
        raise OSError(number, f"Landlock can't enclose the supervisor: {os.strerror(number)}")
    os.close(rules)
    os.close(root)
    with contextlib.suppress(PermissionError):
        os.kill(os.getppid(), 0)  # before anybody relies on it: a signal to all must not be one
        raise OSError("Landlock does not keep the supervisor's signals in")


def kill_everybody() -> None:
    """Kill all processes of this enclosure but this one, at once: nobody forks in between."""
    with contextlib.suppress(OSError):
        os.kill(-1, signal.SIGKILL)


def leave_a_guard(connection: socket.socket) -> None:
    """Go on as an enclosed child; this process stays, to end what that child may leave behind.

    The guard ends with 0 when nothing is left. It does not keep `connection`, whose end tells
    that the child is gone; a guard that is killed takes the child along, by SIGTERM.
    """
    import ctypes

    enclose()
    child = os.fork()
    if child == 0:
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(signal.SIGTERM), 0, 0, 0)
        become_subreaper()
        enclose()  # once more: its signals to everybody are not meant for the guard
        return
    connection.close()
    os.waitpid(child, 0)
    os._exit(0 if _sweep() else 1)


def _sweep() -> bool:
    """Kill until no child is left; say whether that came true."""
    deadline = time.monotonic() + LINGER_SECONDS
    with contextlib.suppress(ChildProcessError):
        while time.monotonic() < deadline:
            kill_everybody()
            if os.waitpid(-1, os.WNOHANG) == (0, 0):
                time.sleep(0.01)
        return False
    return True
