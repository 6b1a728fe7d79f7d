"""What a granted folder does where there is no /proc, and no openat2: as on macOS.

    unshare --map-root-user --mount python -m tests.runtime.without_proc FOLDER

An empty file system covers /proc, and a filter answers openat2 with "no such call": both for real.
FOLDER is granted, tried, and what came of it printed as JSON. `test_confined.py` runs it.
"""

from __future__ import annotations

import ctypes
import json
import os
import struct
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

from lmboot.errors import LmbootError, OperationRefused
from lmboot.runtime.beneath import by_openat2
from lmboot.runtime.confined import Folder
from lmboot.runtime.handing import close_all, handed
from lmboot.runtime.operations import Refused
from lmboot.runtime.programs import located

OPENAT2, ENOSYS = 437, 38
NO_NEW_PRIVS, SET_SECCOMP, MODE_FILTER = 38, 22, 2


def cover_proc() -> None:
    """Hide /proc from this process for good."""
    libc = ctypes.CDLL(None, use_errno=True)
    done = libc.mount(b"none", b"/", None, 0x44000, None) == 0  # private, and all beneath
    done = done and libc.mount(b"none", b"/proc", b"tmpfs", 0, None) == 0
    assert done, os.strerror(ctypes.get_errno())
    assert not os.listdir("/proc")


def refuse_openat2() -> None:
    """Have the kernel answer that it has no openat2."""
    load, equal, answer = 0x20, 0x15, 0x06
    program = b"".join(
        struct.pack("=HBBI", *instruction)
        for instruction in (
            (load, 0, 0, 0),
            (equal, 0, 1, OPENAT2),
            (answer, 0, 0, 0x00050000 | ENOSYS),
            (answer, 0, 0, 0x7FFF0000),
        )
    )

    class Program(ctypes.Structure):
        _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p))

    libc = ctypes.CDLL(None, use_errno=True)
    given = Program(len(program) // 8, program)
    assert libc.prctl(NO_NEW_PRIVS, *map(ctypes.c_ulong, (1, 0, 0, 0))) == 0
    assert libc.prctl(SET_SECCOMP, ctypes.c_ulong(MODE_FILTER), ctypes.byref(given)) == 0


def told(action: Callable[[], object]) -> object:
    """Return what an action gives, or the code of its refusal."""
    try:
        return action()
    except (OperationRefused, Refused) as refused:
        return refused.code
    except LmbootError as fault:
        return str(fault)


def still_open() -> int:
    """Return how many descriptors are open."""

    def is_open(number: int) -> bool:
        try:
            os.fstat(number)
        except OSError:
            return False
        return True

    return sum(map(is_open, range(256)))


def granted(path: Path) -> dict[str, object]:
    """Return what comes of everything that can be done with a granted folder."""
    with Folder.open(path, writable=True) as folder:
        return {
            "list": told(folder.list),
            "read": told(lambda: folder.read_text("deep/b.txt").text),
            "stat": told(lambda: folder.stat("a.txt")["size"]),
            "new": told(lambda: folder.write_text("new/c.txt", "new")),
            "again": told(lambda: folder.write_text("new/c.txt", "newer")),
            "over": told(lambda: folder.write_text("a.txt", "over", overwrite=True)),
            "remove": told(lambda: folder.remove("gone.txt")),
            "link": told(lambda: folder.read_text("link")),
            "beneath a link": told(lambda: folder.read_text("out/canary")),
            "fifo": told(lambda: folder.read_text("fifo")),
            "socket": told(lambda: folder.read_text("socket")),
            "left": sorted(os.listdir(path)),
        }


def main() -> None:
    """Try it all."""
    root = Path(sys.argv[1])
    pipe, (reading, writing) = root / "fifo", os.pipe()
    cover_proc()
    refuse_openat2()
    before = still_open()
    found = granted(root)
    for path in ("/dev", "/proc", "/sys", str(root / "out"), str(root / "a.txt"), "a\0b"):
        found[path.replace(str(root), "")] = told(partial(Folder.open, Path(path)))
    found["openat2"] = by_openat2_says(root)
    found["program"] = told(lambda: located("/usr/bin/env"))
    found["pipe"] = told(lambda: close_all(handed([reading])))
    with open(os.open(pipe, os.O_RDWR | os.O_NONBLOCK)) as named:
        found["named pipe"] = told(lambda: close_all(handed([named.fileno()])))
    found["leaked"] = still_open() - before
    os.close(writing)
    print(json.dumps(found))


def by_openat2_says(root: Path) -> int | None:
    """Return the error of the call, which is to be that it does not exist."""
    folder = os.open(root, os.O_RDONLY)
    try:
        os.close(by_openat2(folder, "a.txt", os.O_RDONLY))
    except OSError as error:
        return error.errno
    finally:
        os.close(folder)
    return None


if __name__ == "__main__":
    main()
