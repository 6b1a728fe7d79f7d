"""What macOS tells about processes, by its libproc and its sandbox; written by the headers.

It was never run on macOS: what is pure here is tested by values, the rest is as the headers of
the macOS SDK have it (`libproc.h`, `sys/proc_info.h`, `sys/resource.h`, and `sandbox_check`, which
no header has, as Chromium declares it). Standard library only: this is the supervisor's.
"""

from __future__ import annotations

import ctypes
import functools
import os
import struct
from typing import NamedTuple

PROC_ALL_PIDS, PROC_PPID_ONLY = 1, 6
PROC_PIDTBSDINFO, PROC_PIDTASKINFO = 3, 4
RUSAGE_INFO_V2 = 2
SANDBOX_FILTER_NONE, SANDBOX_FILTER_PATH = 0, 1
SANDBOX_CHECK_NO_REPORT = 0x40000000

BSD_INFO = struct.Struct("=12I16s32s5IiQQ")  # struct proc_bsdinfo
TASK_INFO = struct.Struct("=6Q12i")  # struct proc_taskinfo
USAGE = struct.Struct("=16s18Q")  # struct rusage_info_v2
_USER = 5  # of proc_bsdinfo, pbi_uid
_RUNNING = 16  # of proc_taskinfo, pti_numrunning
_OWN, _FOOTPRINT, _BORN, _WAITED = slice(1, 3), 8, 9, slice(11, 13)  # of rusage_info_v2

NANOSECONDS = 10**9
MOST_PIDS = 1 << 17  # more than any macOS has processes


class Usage(NamedTuple):
    """What one process has used: times in nanoseconds, `footprint` in bytes."""

    born: int  # in the machine's own units: to tell processes of one number apart
    own: int
    waited: int  # what the children that it waited for had used
    footprint: int  # its memory, without what it shares


def usage_in(data: bytes, *, numerator: int = 1, denominator: int = 1) -> Usage:
    """Return what a struct rusage_info_v2 holds; times are in units of n/d nanoseconds; pure."""
    fields = USAGE.unpack(data)
    own, waited = (sum(fields[part]) * numerator // denominator for part in (_OWN, _WAITED))
    return Usage(fields[_BORN], own, waited, fields[_FOOTPRINT])


def pids_in(data: bytes) -> list[int]:
    """Return the process numbers of a list as the kernel fills it; 0 stands for none; pure."""
    return [pid for (pid,) in struct.iter_unpack("=i", data[: len(data) // 4 * 4]) if pid > 0]


def user_in(data: bytes) -> int:
    """Return whose a process is, from a struct proc_bsdinfo; pure."""
    return int(BSD_INFO.unpack(data)[_USER])


def is_running_in(data: bytes) -> bool:
    """Say whether a thread is running, from a struct proc_taskinfo; pure."""
    return bool(TASK_INFO.unpack(data)[_RUNNING] > 0)


# ---------------------------------------------------------------- what the system is asked


def children(pid: int) -> list[int]:
    """Return the children of a process; none when it is gone."""
    return _listed(PROC_PPID_ONLY, pid)


def everybody() -> list[int]:
    """Return all processes of the machine."""
    return _listed(PROC_ALL_PIDS, 0)


def users() -> set[int]:
    """Return all users that have a process."""
    found = (_info(pid, PROC_PIDTBSDINFO, BSD_INFO.size) for pid in everybody())
    return {user_in(data) for data in found if data is not None}


def usage(pid: int) -> Usage | None:
    """Return what a process has used; None when it is gone."""
    data = ctypes.create_string_buffer(USAGE.size)
    if _system().proc_pid_rusage(ctypes.c_int(pid), ctypes.c_int(RUSAGE_INFO_V2), data) != 0:
        return None
    numerator, denominator = _timebase()
    return usage_in(data.raw, numerator=numerator, denominator=denominator)


def is_running(pid: int) -> bool:
    """Say whether a process computes at this moment."""
    data = _info(pid, PROC_PIDTASKINFO, TASK_INFO.size)
    return data is not None and is_running_in(data)


def marked(path: str) -> list[int]:
    """Return the processes whose sandbox lets them write to a path, and not look around it.

    Whoever has no sandbox, or one that shows him the folder's neighbours, is not meant: our
    profile is the only one that allows the one and not the other. Raises OSError where the
    system can't tell.
    """
    return [pid for pid in everybody() if _is_marked(pid, path)]


def _is_marked(pid: int, path: str) -> bool:
    around = os.path.dirname(os.path.dirname(path))
    return (
        _denied(pid, None, None)
        and not _denied(pid, b"file-write-data", path)
        and _denied(pid, b"file-read-data", around)
    )


def _denied(pid: int, operation: bytes | None, path: str | None) -> bool:
    """Say whether a process may not do something; with no operation, whether it has a sandbox."""
    try:
        check = _system().sandbox_check
    except AttributeError:
        raise OSError("this macOS does not tell what a sandbox allows") from None
    # What follows the third argument is passed otherwise on Apple's processors: so say which are.
    check.argtypes = [ctypes.c_int, ctypes.c_char_p, ctypes.c_int]
    if path is None:
        return bool(check(pid, operation, SANDBOX_FILTER_NONE | SANDBOX_CHECK_NO_REPORT) > 0)
    kind = SANDBOX_FILTER_PATH | SANDBOX_CHECK_NO_REPORT
    return bool(check(pid, operation, kind, ctypes.c_char_p(os.fsencode(path))) > 0)


def _listed(kind: int, which: int) -> list[int]:
    data = ctypes.create_string_buffer(4 * MOST_PIDS)
    size = _system().proc_listpids(ctypes.c_uint32(kind), ctypes.c_uint32(which), data, len(data))
    return pids_in(data.raw[: max(0, size)])


def _info(pid: int, flavor: int, size: int) -> bytes | None:
    data = ctypes.create_string_buffer(size)
    zero = ctypes.c_uint64(0)
    found = _system().proc_pidinfo(ctypes.c_int(pid), ctypes.c_int(flavor), zero, data, size)
    return data.raw if found == size else None


@functools.cache
def _system() -> ctypes.CDLL:
    return ctypes.CDLL("/usr/lib/libSystem.B.dylib", use_errno=True)


@functools.cache
def _timebase() -> tuple[int, int]:
    """Return how many nanoseconds the unit of the kernel's times is, as a fraction."""
    fraction = (ctypes.c_uint32 * 2)()
    _system().mach_timebase_info(fraction)
    return fraction[0] or 1, fraction[1] or 1
