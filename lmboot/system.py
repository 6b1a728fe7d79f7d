"""What the systems have under different names, under one; standard library only.

A flag that a system has no use for is 0 there. Nothing of lmboot may rest on such a flag alone:
on Windows folders are not opened at all, and so nothing is resolved beneath one (`can_hold`).
"""

from __future__ import annotations

import contextlib
import os
import socket
import stat
import subprocess
import sys

REPARSE_POINT = 0x400  # Windows' FILE_ATTRIBUTE_REPARSE_POINT
LINUX: bool = sys.platform == "linux"  # by its type not a constant: both ways are checked
KILL = 9  # SIGKILL, which Windows does not name

if sys.platform == "win32":
    import msvcrt

    O_DIRECTORY = O_NOFOLLOW = O_NONBLOCK = O_NOCTTY = O_PATH = O_TMPFILE = 0
    O_CLOEXEC = os.O_NOINHERIT | os.O_BINARY
    O_ACCMODE = 3
    NO_WINDOW = subprocess.CREATE_NO_WINDOW  # of a console's, for a program that the window starts

    def lock(descriptor: int, *, wait: bool) -> None:
        """Lock a file for oneself, until its descriptor is closed; OSError where it is taken."""
        msvcrt.locking(descriptor, msvcrt.LK_LOCK if wait else msvcrt.LK_NBLCK, 1)

    def pread(descriptor: int, count: int, offset: int) -> bytes:
        """Read from a place of a file; the descriptor is at the end of that then."""
        os.lseek(descriptor, offset, os.SEEK_SET)
        return os.read(descriptor, count)

    def pwrite(descriptor: int, data: bytes, offset: int) -> int:
        """Write to a place of a file; the descriptor is at the end of that then."""
        os.lseek(descriptor, offset, os.SEEK_SET)
        return os.write(descriptor, data)

    def fchmod(descriptor: int, mode: int) -> None:
        """Do nothing: a file has no mode here."""

    def chown(path: os.PathLike[str], user: int) -> None:
        """Refuse: a file is given away by its access list here."""
        raise OSError(f"{path} can't be given to another user")

    def set_blocking(descriptor: int, blocking: bool) -> None:
        """Refuse: what reads and writes here has threads for it."""
        raise OSError("a pipe can't be read without waiting on Windows")

    def send_fds(
        connection: socket.socket, data: bytes | memoryview, descriptors: list[int]
    ) -> int:
        """Refuse: nothing here is sent over a socket but bytes."""
        raise OSError("descriptors can't be sent on Windows")

    def recv_fds(connection: socket.socket, size: int, most: int) -> tuple[bytes, list[int]]:
        """Refuse, as `send_fds`."""
        raise OSError("descriptors can't be received on Windows")

    def flags_of(descriptor: int) -> int:
        """Refuse: nobody can tell here how a descriptor was opened."""
        raise OSError("Windows does not tell how a descriptor was opened")

    def path_of(descriptor: int) -> str | None:
        """Return None: nothing is asked for by descriptor here."""
        return None

    def is_of_fixed_size(descriptor: int) -> bool:
        """Say whether it is a file in memory whose size is sealed: there are none."""
        return False

    def user() -> int:
        """Return the number that files have for their owner, whoever that is."""
        return 0

    def is_root() -> bool:
        """Say whether this process may become any user: nobody may here."""
        return False

    def size_on_disk(found: os.stat_result) -> int:
        """Return how many bytes a file takes."""
        return found.st_size

    def python() -> str:
        """Return the interpreter itself; a virtual environment's would start it as its child."""
        return str(getattr(sys, "_base_executable", sys.executable))

else:
    import fcntl

    O_DIRECTORY, O_NOFOLLOW, O_CLOEXEC = os.O_DIRECTORY, os.O_NOFOLLOW, os.O_CLOEXEC
    O_NONBLOCK, O_NOCTTY, O_ACCMODE = os.O_NONBLOCK, os.O_NOCTTY, os.O_ACCMODE
    NO_WINDOW = 0
    if sys.platform == "linux":
        O_PATH, O_TMPFILE = os.O_PATH, os.O_TMPFILE
    else:
        O_PATH = O_TMPFILE = 0
    pread, pwrite, fchmod, set_blocking = os.pread, os.pwrite, os.fchmod, os.set_blocking

    def send_fds(
        connection: socket.socket, data: bytes | memoryview, descriptors: list[int]
    ) -> int:
        """Send bytes and descriptors; return how many of the bytes went."""
        return socket.send_fds(connection, [data], descriptors)

    def recv_fds(connection: socket.socket, size: int, most: int) -> tuple[bytes, list[int]]:
        """Return what has come: bytes, and descriptors that no child will inherit."""
        data, descriptors, _, _ = socket.recv_fds(connection, size, most)
        for descriptor in descriptors:
            os.set_inheritable(descriptor, False)
        return data, descriptors

    def flags_of(descriptor: int) -> int:
        """Return the flags that a descriptor was opened with."""
        return fcntl.fcntl(descriptor, fcntl.F_GETFL)

    def path_of(descriptor: int) -> str | None:
        """Return where that lies what a descriptor is open on; None where nobody tells.

        Linux tells by /proc, which may not be there; macOS does for what has a name.
        """
        try:
            if sys.platform == "darwin":
                told = fcntl.fcntl(descriptor, fcntl.F_GETPATH, bytes(1024))
                return os.fsdecode(told.partition(b"\0")[0])
            else:
                return os.readlink(f"/proc/self/fd/{descriptor}")
        except OSError:
            return None

    def is_of_fixed_size(descriptor: int) -> bool:
        """Say whether it is a file in memory whose size is sealed; only Linux has such files."""
        if sys.platform == "linux":
            wanted = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW
            with contextlib.suppress(OSError):  # no file in memory
                return fcntl.fcntl(descriptor, fcntl.F_GET_SEALS) & wanted == wanted
        return False

    def lock(descriptor: int, *, wait: bool) -> None:
        """Lock a file for oneself, until its descriptor is closed; OSError where it is taken."""
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))

    def chown(path: os.PathLike[str], user: int) -> None:
        """Give a file to a user, and to the group of his number."""
        os.chown(path, user, user)

    def user() -> int:
        """Return whose rights this process has."""
        return os.geteuid()

    def is_root() -> bool:
        """Say whether this process may become any user."""
        return os.geteuid() == 0

    def size_on_disk(found: os.stat_result) -> int:
        """Return how many bytes a file takes."""
        return found.st_blocks * 512

    def python() -> str:
        """Return the interpreter."""
        return sys.executable


def lives(pid: int) -> bool:
    """Say whether there is such a process; where nobody can tell, yes."""
    if sys.platform != "win32":  # where os.kill would end it
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return False
        except (PermissionError, OverflowError):
            return True
    return True


def leads_elsewhere(found: os.stat_result) -> bool:
    """Say whether something is a junction, a link, or another point that leads elsewhere."""
    attributes = getattr(found, "st_file_attributes", 0)
    return bool(attributes & REPARSE_POINT) or stat.S_ISLNK(found.st_mode)


# A handle says what something is and opens nothing, so that it has no effect; where there are
# none it is opened for reading, and a FIFO that nobody writes to must not hold us.
HANDLE = O_PATH or O_NONBLOCK
can_hold = os.open in os.supports_dir_fd
can_send = hasattr(socket, "send_fds")  # descriptors, to another process
