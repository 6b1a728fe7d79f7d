"""Windows' own names for what holds a runtime there: structures, constants, and the calls.

Written by the Windows SDK's headers (winnt.h, winbase.h, userenv.h), 64-bit, and never run on
Windows by those who wrote it. Structures and values are pure and tested by size and content.
Standard library only.
"""

from __future__ import annotations

import ctypes
import math
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from ctypes import Structure, c_int64, c_size_t, c_uint16, c_uint32, c_uint64, c_void_p, c_wchar_p
from dataclasses import dataclass

# What a job bounds: winnt.h, JOB_OBJECT_LIMIT_*. BREAKAWAY_OK (0x800) and SILENT_BREAKAWAY_OK
# (0x1000) are what is left out on purpose.
LIMIT_JOB_TIME, LIMIT_ACTIVE_PROCESS = 0x4, 0x8
LIMIT_PROCESS_MEMORY, LIMIT_JOB_MEMORY = 0x100, 0x200
LIMIT_DIE_ON_UNHANDLED_EXCEPTION, LIMIT_KILL_ON_JOB_CLOSE = 0x400, 0x2000
ALL_UI_RESTRICTIONS = 0xFF  # handles, clipboard, settings, display, atoms, desktops, logging off
CPU_RATE_ENABLE, CPU_RATE_HARD_CAP = 0x1, 0x4
CPU_RATE = 90_00  # hundredths of a percent of all processors: the machine is to answer its user

ACCOUNTING, UI_RESTRICTIONS, COMPLETION_PORT, EXTENDED_LIMITS, CPU_RATE_CONTROL = 1, 4, 7, 9, 15
MESSAGES = {  # JOB_OBJECT_MSG_*: what a job tells, as the name of a limit
    1: "cpu",
    2: "cpu",
    9: "memory",
    10: "memory",
}

CREATE_SUSPENDED, CREATE_NEW_PROCESS_GROUP, CREATE_UNICODE_ENVIRONMENT = 0x4, 0x200, 0x400
EXTENDED_STARTUPINFO_PRESENT, CREATE_NO_WINDOW = 0x0008_0000, 0x0800_0000
DETACHED_PROCESS = 0x8
USE_STD_HANDLES = 0x100
ATTRIBUTE_HANDLE_LIST, ATTRIBUTE_SECURITY_CAPABILITIES = 0x0002_0002, 0x0002_0009

TICKS_PER_SECOND = 10_000_000  # of a LARGE_INTEGER that is a time
WAIT_TIMEOUT = 0x102
ALREADY_EXISTS = 0x8007_00B7  # HRESULT_FROM_WIN32(ERROR_ALREADY_EXISTS)
KILLED = 137  # what a job is ended with: as a shell shows a SIGKILL


class BasicLimits(Structure):
    """JOBOBJECT_BASIC_LIMIT_INFORMATION."""

    _fields_ = (
        ("per_process_user_time", c_int64),
        ("per_job_user_time", c_int64),
        ("limit_flags", c_uint32),
        ("minimum_working_set", c_size_t),
        ("maximum_working_set", c_size_t),
        ("active_process_limit", c_uint32),
        ("affinity", c_size_t),
        ("priority_class", c_uint32),
        ("scheduling_class", c_uint32),
    )


class ExtendedLimits(Structure):
    """JOBOBJECT_EXTENDED_LIMIT_INFORMATION."""

    _fields_ = (
        ("basic", BasicLimits),
        ("io_counters", c_uint64 * 6),
        ("process_memory_limit", c_size_t),
        ("job_memory_limit", c_size_t),
        ("peak_process_memory", c_size_t),
        ("peak_job_memory", c_size_t),
    )


class CpuRate(Structure):
    """JOBOBJECT_CPU_RATE_CONTROL_INFORMATION."""

    _fields_ = (("control_flags", c_uint32), ("rate", c_uint32))


class CompletionPort(Structure):
    """JOBOBJECT_ASSOCIATE_COMPLETION_PORT."""

    _fields_ = (("key", c_void_p), ("port", c_void_p))


class Accounting(Structure):
    """JOBOBJECT_BASIC_ACCOUNTING_INFORMATION."""

    _fields_ = (
        ("user_time", c_int64),
        ("kernel_time", c_int64),
        ("period_user_time", c_int64),
        ("period_kernel_time", c_int64),
        ("page_faults", c_uint32),
        ("processes", c_uint32),
        ("active_processes", c_uint32),
        ("terminated_processes", c_uint32),
    )


class SecurityCapabilities(Structure):
    """SECURITY_CAPABILITIES: an AppContainer without a single capability has two fields of 0."""

    _fields_ = (
        ("container", c_void_p),
        ("capabilities", c_void_p),
        ("count", c_uint32),
        ("reserved", c_uint32),
    )


class StartupInfo(Structure):
    """STARTUPINFOW."""

    _fields_ = (
        ("size", c_uint32),
        ("reserved", c_wchar_p),
        ("desktop", c_wchar_p),
        ("title", c_wchar_p),
        ("place_and_look", c_uint32 * 7),
        ("flags", c_uint32),
        ("show_window", c_uint16),
        ("reserved_size", c_uint16),
        ("reserved_bytes", c_void_p),
        ("stdin", c_void_p),
        ("stdout", c_void_p),
        ("stderr", c_void_p),
    )


class StartupInfoEx(Structure):
    """STARTUPINFOEXW."""

    _fields_ = (("info", StartupInfo), ("attributes", c_void_p))


class ProcessInformation(Structure):
    """PROCESS_INFORMATION."""

    _fields_ = (
        ("process", c_void_p),
        ("thread", c_void_p),
        ("pid", c_uint32),
        ("thread_id", c_uint32),
    )


# ---------------------------------------------------------------- values; pure


@dataclass(frozen=True, slots=True)
class Container:
    """An AppContainer for one run, and whom it may touch; it has no capability whatsoever.

    `readable` and `writable` are folders: it is granted rights to these, with all beneath, for as
    long as the run lasts.
    """

    name: str
    readable: tuple[str, ...]
    writable: tuple[str, ...]


def extended_limits(
    *, memory: float | None, processes: float | None, cpu: float | None
) -> ExtendedLimits:
    """Return what a job bounds, from bytes, a number, and seconds; None: not that.

    Whatever else is bounded, nothing in the job outlives its last handle, and a crash asks nobody.
    """
    limits = ExtendedLimits()
    flags = LIMIT_KILL_ON_JOB_CLOSE | LIMIT_DIE_ON_UNHANDLED_EXCEPTION
    if memory is not None:
        flags |= LIMIT_JOB_MEMORY | LIMIT_PROCESS_MEMORY
        limits.job_memory_limit = limits.process_memory_limit = int(memory)
    if processes is not None:
        flags |= LIMIT_ACTIVE_PROCESS
        limits.basic.active_process_limit = max(1, int(processes))
    if cpu is not None:
        flags |= LIMIT_JOB_TIME
        limits.basic.per_job_user_time = int(cpu * TICKS_PER_SECOND)
    limits.basic.limit_flags = flags
    return limits


def creation(*, contained: bool) -> int:
    """Return how a process is created: suspended, with no window, in or out of a container.

    Out of one it has no console either, whose own process would be a second one in its job.
    """
    return (
        CREATE_SUSPENDED
        | CREATE_NEW_PROCESS_GROUP
        | CREATE_UNICODE_ENVIRONMENT
        | EXTENDED_STARTUPINFO_PRESENT
        | (CREATE_NO_WINDOW if contained else DETACHED_PROCESS)
    )


def cpu_rate() -> CpuRate:
    """Return what a job may have of the processors."""
    return CpuRate(CPU_RATE_ENABLE | CPU_RATE_HARD_CAP, CPU_RATE)


def environment_block(env: Mapping[str, str]) -> str:
    """Return an environment as CreateProcessW wants it: `NAME=value`, sorted, each ended by NUL.

    The last NUL is not in it: it ends every wide string that is handed over. ValueError for what
    would be read as more than one variable.
    """
    for name, value in env.items():
        if not name or "=" in name or "\0" in name + value:
            raise ValueError(f"{name!r} can't be an environment's variable")
    return "".join(f"{name}={env[name]}\0" for name in sorted(env, key=str.upper))


def grants(container: Container, sid: str, *, icacls: str) -> Iterator[tuple[str, ...]]:
    """Yield the commands that let the container in, by its SID as text: `S-1-15-2-...`."""
    for rights, folders in (("RX", container.readable), ("M", container.writable)):
        for folder in folders:
            yield icacls, folder, "/grant", f"*{sid}:(OI)(CI)({rights})", "/Q"


def revocations(container: Container, sid: str, *, icacls: str) -> Iterator[tuple[str, ...]]:
    """Yield the commands that undo the grants; the workspace is removed, with what it grants."""
    for folder in container.readable:
        yield icacls, folder, "/remove:g", f"*{sid}", "/Q"


# ---------------------------------------------------------------- the calls


if sys.platform == "win32":
    from ctypes import WinDLL, WinError, byref, get_last_error, sizeof

    _kernel = WinDLL("kernel32", use_last_error=True)
    _userenv = WinDLL("userenv", use_last_error=True)
    _advapi = WinDLL("advapi32", use_last_error=True)
    for _name in ("CreateJobObjectW", "CreateIoCompletionPort"):
        getattr(_kernel, _name).restype = c_void_p
    _kernel.CreateIoCompletionPort.argtypes = [c_void_p, c_void_p, c_size_t, c_uint32]
    _kernel.LocalFree.argtypes = [c_void_p]
    _advapi.FreeSid.argtypes = [c_void_p]
    _advapi.FreeSid.restype = c_void_p

    def _done(result: int) -> None:
        """Raise OSError where a call says that it failed."""
        if not result:
            raise WinError(get_last_error())

    def close(handle: int) -> None:
        """Close a handle."""
        _kernel.CloseHandle(c_void_p(handle))

    class Job:
        """A job object of our own, with a port on which it tells what happens; close it once."""

        def __init__(self, processes: float = math.inf) -> None:
            """Make one that nothing can leave, and that ends with its last handle.

            It never takes more than so many processes, whatever its limits will be.
            """
            self._processes = processes
            self._job = _kernel.CreateJobObjectW(None, None)
            _done(self._job)
            self._port = _kernel.CreateIoCompletionPort(c_void_p(-1), None, 0, 1)
            try:
                _done(self._port)
                told = CompletionPort(self._job, self._port)
                self._set(COMPLETION_PORT, told)
                self._set(UI_RESTRICTIONS, c_uint32(ALL_UI_RESTRICTIONS))
                self._set(CPU_RATE_CONTROL, cpu_rate())
                self.limit(memory=None, processes=None, cpu=None)
            except OSError:
                self.close()
                raise

        def _set(self, kind: int, value: Structure | c_uint32) -> None:
            size = c_uint32(sizeof(value))
            job = c_void_p(self._job)
            _done(_kernel.SetInformationJobObject(job, kind, byref(value), size))

        def limit(
            self, *, memory: float | None, processes: float | None, cpu: float | None
        ) -> None:
            """Bound all in it together, as `extended_limits` says."""
            most = min(self._processes, math.inf if processes is None else processes)
            limits = extended_limits(
                memory=memory, processes=None if most == math.inf else most, cpu=cpu
            )
            self._set(EXTENDED_LIMITS, limits)

        def take(self, process: int) -> None:
            """Take a process in, before it has run; OSError unless it is in this very job then."""
            job, inside = c_void_p(self._job), c_uint32()
            _done(_kernel.AssignProcessToJobObject(job, c_void_p(process)))
            _done(_kernel.IsProcessInJob(c_void_p(process), job, byref(inside)))
            if not inside.value:
                raise OSError("the process is not in its job")

        def cpu_seconds(self) -> float:
            """Return what all in it have used."""
            used = self._accounting()
            return float(used.user_time + used.kernel_time) / TICKS_PER_SECOND

        def active(self) -> int:
            """Return how many processes are in it."""
            return int(self._accounting().active_processes)

        def _accounting(self) -> Accounting:
            found = Accounting()
            size = c_uint32(sizeof(found))
            job = c_void_p(self._job)
            _done(_kernel.QueryInformationJobObject(job, ACCOUNTING, byref(found), size, None))
            return found

        def next_message(self, milliseconds: int) -> int | None:
            """Wait for what it tells, JOB_OBJECT_MSG_*; None when it told nothing."""
            message, key, detail = c_uint32(), c_size_t(), c_void_p()
            port = c_void_p(self._port)
            came = _kernel.GetQueuedCompletionStatus(
                port, byref(message), byref(key), byref(detail), c_uint32(milliseconds)
            )
            return message.value if came else None

        def terminate(self) -> None:
            """End all in it at once."""
            _kernel.TerminateJobObject(c_void_p(self._job), c_uint32(KILLED))

        def close(self) -> None:
            """Give it up; what is left in it ends."""
            for handle in (self._job, self._port):
                if handle:
                    close(handle)
            self._job = self._port = 0

    class Profile:
        """A container's profile with the system, from which it has its SID; remove it once."""

        def __init__(self, name: str) -> None:
            """Make it, or take up one that a run left which was cut off."""
            self._name = name
            self.sid = c_void_p()
            result = _userenv.CreateAppContainerProfile(
                c_wchar_p(name), c_wchar_p(name), c_wchar_p("lmboot"), None, 0, byref(self.sid)
            )
            if result & 0xFFFF_FFFF == ALREADY_EXISTS:
                result = _userenv.DeriveAppContainerSidFromAppContainerName(
                    c_wchar_p(name), byref(self.sid)
                )
            if result != 0:
                raise OSError(f"no AppContainer can be made (0x{result & 0xFFFF_FFFF:08x})")

        @property
        def text(self) -> str:
            """The SID as text."""
            found = c_wchar_p()
            _done(_advapi.ConvertSidToStringSidW(self.sid, byref(found)))
            text = found.value or ""
            _kernel.LocalFree(ctypes.cast(found, c_void_p))
            return text

        def remove(self) -> None:
            """Remove the profile, with the folder that the system keeps for it."""
            _userenv.DeleteAppContainerProfile(c_wchar_p(self._name))
            _advapi.FreeSid(self.sid)

    def create_suspended(
        argv: Sequence[str],
        env: Mapping[str, str],
        cwd: str,
        *,
        std: tuple[int, int, int],
        others: Iterable[int],
        container: Profile | None,
    ) -> tuple[int, int, int]:
        """Start a process that does not run yet; return (process, thread, pid).

        It inherits the handles of `std` (its stdio) and `others`, and not one more. None for a
        container: it has the user's rights.
        """
        handles = (*std, *others)
        values: dict[int, Structure | ctypes.Array[c_void_p]] = {
            ATTRIBUTE_HANDLE_LIST: (c_void_p * len(handles))(*handles)
        }
        if container is not None:
            capabilities = SecurityCapabilities(container.sid, None, 0, 0)
            values[ATTRIBUTE_SECURITY_CAPABILITIES] = capabilities
        count, size = c_uint32(len(values)), c_size_t()
        _kernel.InitializeProcThreadAttributeList(None, count, 0, byref(size))
        attributes = ctypes.create_string_buffer(size.value)
        _done(_kernel.InitializeProcThreadAttributeList(attributes, count, 0, byref(size)))
        try:
            for kind, value in values.items():
                length = c_size_t(sizeof(value))
                _done(
                    _kernel.UpdateProcThreadAttribute(
                        attributes, 0, c_size_t(kind), byref(value), length, None, None
                    )
                )
            startup, started = StartupInfoEx(), ProcessInformation()
            startup.info.size = sizeof(startup)
            startup.info.flags = USE_STD_HANDLES
            startup.info.stdin, startup.info.stdout, startup.info.stderr = std
            startup.attributes = ctypes.addressof(attributes)
            line = ctypes.create_unicode_buffer(subprocess.list2cmdline(argv))
            block = ctypes.create_unicode_buffer(environment_block(env))
            program, flags = c_wchar_p(argv[0]), creation(contained=container is not None)
            _done(
                _kernel.CreateProcessW(
                    *(program, line, None, None, True, c_uint32(flags)),
                    *(block, c_wchar_p(cwd), byref(startup), byref(started)),
                )
            )
        finally:
            _kernel.DeleteProcThreadAttributeList(attributes)
        return started.process, started.thread, started.pid

    def resume(thread: int) -> None:
        """Let a thread that was started suspended run."""
        if _kernel.ResumeThread(c_void_p(thread)) != 1:  # how often it had been suspended
            raise OSError("the process does not begin to run")

    def terminate(process: int) -> None:
        """End one process."""
        _kernel.TerminateProcess(c_void_p(process), c_uint32(KILLED))

    def exit_code(process: int) -> int | None:
        """Return a process's status; None while it runs."""
        if _kernel.WaitForSingleObject(c_void_p(process), c_uint32(0)) == WAIT_TIMEOUT:
            return None
        code = c_uint32()
        _done(_kernel.GetExitCodeProcess(c_void_p(process), byref(code)))
        return int(code.value)
