"""Take what the host hands on, put the filter on, and become `start.py`; a container's first step.

    python admit.py DOOR FILTER PROGRAM ARGUMENT...

DOOR is a socket of the host's: whoever connects first gets the descriptors that are to be 3 and
up here, the first of them the channel. FILTER is a file that holds the system call filter. Nothing
of a payload is here yet, and nothing else listens. Standard library only, Python 3.9+.
"""

import fcntl
import os
import socket
import sys

assert sys.platform == "linux"  # noqa: S101 the only system that has such containers

FIRST, MOST = 3, 16  # where descriptors go, and how many there may be
ABOVE = 64  # where they wait, clear of the numbers that they will get
ENVIRONMENT = ("PATH", "LANG", "HOME", "TMPDIR", "LMBOOT_FD")
PR_SET_SECCOMP, MODE_FILTER = 22, 2


def take(door: str) -> None:
    """Put the descriptors that the host hands on into their places."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(door)
        _, given, _, _ = socket.recv_fds(connection, 1, MOST)
    if not given:
        sys.exit("the host has handed nothing on")
    waiting = [fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, ABOVE) for descriptor in given]
    os.closerange(FIRST, ABOVE)
    for number, descriptor in enumerate(waiting, FIRST):
        os.dup2(descriptor, number)


def refuse_calls(path: str) -> None:
    """Put the filter on; it can't be taken off."""
    import ctypes

    class SockFprog(ctypes.Structure):
        """The kernel's struct sock_fprog."""

        _fields_ = [("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p)]

    with open(path, "rb") as file:
        program = file.read()
    held = SockFprog(len(program) // 8, program)
    libc = ctypes.CDLL(None, use_errno=True)
    mode, nothing = ctypes.c_ulong(MODE_FILTER), ctypes.c_ulong(0)
    if libc.prctl(PR_SET_SECCOMP, mode, ctypes.byref(held), nothing, nothing) != 0:
        raise OSError(ctypes.get_errno(), "the filter is refused")


def main(arguments: list[str]) -> None:
    """Become the program that the arguments name."""
    door, filter_path, *command = arguments
    take(door)
    try:
        refuse_calls(filter_path)
    except (ImportError, OSError) as error:
        os.write(FIRST, f"FAULT {error!r:.300}\n".encode())
        os._exit(1)
    python = sys.executable or "/proc/self/exe"
    flags = ("-I", "-S", "-B", "-u", "-X", "utf8")
    own = {name: os.environ[name] for name in ENVIRONMENT}  # and nothing that an image sets
    os.execve(python, [python, *flags, *command], own)  # noqa: S606 (no shell: the aim)


if __name__ == "__main__":
    main(sys.argv[1:])
