"""How the supervisor starts a program: in a session, with descriptors and in groups of its own.

Standard library only: this is imported by a process that has nothing else.
"""

from __future__ import annotations

import fcntl
import os
import signal
import sys
from collections.abc import Callable, Iterable, Mapping

assert sys.platform != "win32"  # noqa: S101 nobody imports it there

ABOVE_TARGETS = 64  # where descriptors wait, clear of the numbers that a program's will get
CHANGED = (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGCHLD, signal.SIGINT, signal.SIGTERM)


def out_of_the_way(descriptor: int) -> int:
    """Move a descriptor above those numbers that the program's will have; close it on exec."""
    moved = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, ABOVE_TARGETS)
    os.close(descriptor)
    return moved


def spawn(
    argv: list[str],
    env: Mapping[str, str],
    placed: Iterable[tuple[int, int]],
    enter: Callable[[], None],
) -> int:
    """Start a program and return its process number; raise OSError when it can't be started.

    `placed` are (our descriptor, its number there); `enter` is called in the new process before
    it is the program, so that whatever it enters holds from the first instruction on.
    """
    told, low = os.pipe()
    telling = out_of_the_way(low)
    pid = os.fork()
    if pid == 0:
        _turn_into(argv, env, placed, enter, telling)
    os.close(telling)
    failure = os.read(told, 16)  # ends with nothing once the program has taken over
    os.close(told)
    if failure:
        os.waitpid(pid, 0)
        raise OSError(int(failure), os.strerror(int(failure)))
    return pid


def _turn_into(
    argv: list[str],
    env: Mapping[str, str],
    placed: Iterable[tuple[int, int]],
    enter: Callable[[], None],
    telling: int,
) -> None:
    """Become the program, or tell why not and end."""
    try:
        enter()
        os.setsid()
        for source, target in placed:
            os.dup2(source, target)
        for number in CHANGED:
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        os.execve(argv[0], argv, env)  # noqa: S606 (no shell: the aim)
    except OSError as error:
        os.write(telling, b"%d" % (error.errno or 0))
    finally:
        os._exit(127)
