"""What removes a run's control group when its supervisor is gone: a process with its old rights.

Standard library only: the supervisor's.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys

from lmboot.cgroups import Group, signal_each

assert sys.platform != "win32"  # noqa: S101 nobody imports it there

PR_SET_PDEATHSIG = 1


def leave_a_keeper(group: Group, connection: socket.socket) -> None:
    """Go on as a child; this process stays, and removes the group when that child has ended.

    The keeper, a subreaper, keeps the rights that the child gives up. It ends with 0 when nothing
    is left, and hands a SIGTERM on; killed, it takes the child along (`die_with_parent`).
    """
    child = os.fork()
    if child == 0:
        return
    connection.close()
    signal.signal(signal.SIGTERM, lambda *_: signal_each([child], signal.SIGTERM))
    os.waitpid(child, 0)
    group.kill()  # when the child was killed, it could not; what it leaves comes to this process
    with contextlib.suppress(ChildProcessError):
        while True:
            os.wait()
    os._exit(0 if group.remove() else 1)


def die_with_parent() -> None:
    """Have the kernel ask this process to end (SIGTERM) when its parent is gone."""
    import ctypes

    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(signal.SIGTERM), 0, 0, 0)
