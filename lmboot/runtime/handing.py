"""What the host may hand to a worker by descriptor, and as what it arrives inside.

A descriptor of a file is more than its content: whoever runs as the file's owner can change its
mode, and open it anew for writing through /proc. In some sandboxes the inside is that owner. So a
file never goes in itself: a copy does, in memory that nobody can write to. Pipes, and files in
memory of a fixed size, have nothing behind them, and go in as they are. (Who has one end of a pipe
may get the other one in the same way.)
"""

from __future__ import annotations

import functools
import os
import stat
from collections.abc import Sequence

from lmboot import system
from lmboot.errors import UsageFault
from lmboot.process import new_file_in_memory, write_once

MAX_DESCRIPTORS = 8
MAX_COPIED_BYTES = 64 << 20  # of all files of a call


def handed(descriptors: Sequence[int]) -> list[int]:
    """Return a descriptor to send for each of these, to be closed by the caller.

    Regular files must be open for reading only; they are read from their beginning. Raises
    UsageFault for what is neither, with nothing left open. May block: it reads files.
    """
    if len(descriptors) > MAX_DESCRIPTORS:
        raise UsageFault(f"a call takes at most {MAX_DESCRIPTORS} descriptors")
    ready: list[int] = []
    left = MAX_COPIED_BYTES
    try:
        for descriptor in descriptors:
            ready.append(_handed(descriptor, left))
            left -= 0 if _goes_itself(descriptor) else os.fstat(ready[-1]).st_size
    except BaseException as failure:
        close_all(ready)
        if isinstance(failure, OSError):
            raise UsageFault(
                f"a descriptor can't be read: {failure.strerror or failure}"
            ) from None
        raise
    return ready


def close_all(descriptors: Sequence[int]) -> None:
    """Close descriptors that `handed` returned."""
    for descriptor in descriptors:
        os.close(descriptor)


def _handed(descriptor: int, left: int) -> int:
    if _goes_itself(descriptor):
        return os.dup(descriptor)
    flags = system.flags_of(descriptor)
    if flags & system.O_PATH or not stat.S_ISREG(os.fstat(descriptor).st_mode):
        raise UsageFault(
            f"descriptor {descriptor} is neither a file nor a pipe",
            hint="Hand over regular files, pipes, or files in memory that are sealed in size.",
        )
    if flags & system.O_ACCMODE != os.O_RDONLY:
        raise UsageFault(
            f"descriptor {descriptor} is a file that is open for writing",
            hint="Open it for reading only; what is to come back, the function returns.",
        )
    return _copy(descriptor, left)


def _goes_itself(descriptor: int) -> bool:
    """Say whether it is a pipe without a name, or a file in memory whose size is sealed."""
    found = os.fstat(descriptor)
    if system.flags_of(descriptor) & system.O_PATH:
        return False
    if stat.S_ISFIFO(found.st_mode):
        return found.st_dev == _device_of_pipes()
    return system.is_of_fixed_size(descriptor)


@functools.cache
def _device_of_pipes() -> int:
    """Return where pipes lie that have no name; nothing else does, and nobody can mount it."""
    reading, writing = os.pipe()
    try:
        return os.fstat(reading).st_dev
    finally:
        close_all((reading, writing))


def _copy(descriptor: int, left: int) -> int:
    """Return a file in memory with this file's content, which nobody can change."""
    content, at = bytearray(), 0
    while data := system.pread(descriptor, 1 << 20, at):
        content += data
        at += len(data)
        if at > left:
            raise UsageFault(
                f"the files of a call may have {MAX_COPIED_BYTES >> 20} MB together",
                hint="Hand over the part that is needed, or its text as an argument.",
            )
    copy = new_file_in_memory()
    try:
        write_once(copy, bytes(content))
    except BaseException:
        os.close(copy)
        raise
    return copy
