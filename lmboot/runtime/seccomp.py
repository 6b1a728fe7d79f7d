"""The system calls that a runtime may not make, as a classic BPF program; pure.

What no table names is allowed: a Python program needs hundreds of calls, and what they could
reach is already out of sight. The tables close what namespaces leave open: kernel interfaces with
a record of holes, sockets of every family (the way out is an inherited socketpair), namespaces
within namespaces, and memory that no process is charged for.

Where no namespace separates the runtime from the host, a second set of tables closes what would
act on the user's other processes, on the memory that they share, and on the files that they own.
"""

from __future__ import annotations

import errno
import struct
from dataclasses import dataclass

ALLOW = 0x7FFF0000
KILL_PROCESS = 0x80000000
ERRNO = 0x00050000

AF_UNIX = 1
TIOCSTI, TIOCLINUX = 0x5412, 0x541C  # both type into a terminal as if its user did
F_NOTIFY = 0x402  # inotify's older sister
# CLONE_NEW: TIME, NS, CGROUP, UTS, IPC, USER, PID and NET.
NAMESPACES = 0x80 | 0x20000 | 0x2000000 | 0x4000000 | 0x8000000 | 0x10000000 | 0x60000000
X32_BIT = 0x40000000

_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_NUMBER_AT, _ARCH_AT, _ARGUMENTS_AT = 0, 4, 16  # in struct seccomp_data

# name: (number on x86_64, number on aarch64); None where the architecture has no such call.
DENIED: dict[str, tuple[int | None, int | None]] = {
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "process_madvise": (440, 440),
    "process_mrelease": (448, 448),
    "kcmp": (312, 272),
    "pidfd_getfd": (438, 438),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
    "bpf": (321, 280),
    "userfaultfd": (323, 282),
    "perf_event_open": (298, 241),
    "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "unshare": (272, 97),
    "setns": (308, 268),
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "chroot": (161, 51),
    "move_mount": (429, 429),
    "open_tree": (428, 428),
    "fsopen": (430, 430),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fspick": (433, 433),
    "mount_setattr": (442, 442),
    "name_to_handle_at": (303, 264),
    "open_by_handle_at": (304, 265),
    "kexec_load": (246, 104),
    "kexec_file_load": (320, 294),
    "init_module": (175, 105),
    "finit_module": (313, 273),
    "delete_module": (176, 106),
    "create_module": (174, None),
    "get_kernel_syms": (177, None),
    "query_module": (178, None),
    "swapon": (167, 224),
    "swapoff": (168, 225),
    "reboot": (169, 142),
    "acct": (163, 89),
    "quotactl": (179, 60),
    "quotactl_fd": (443, 443),
    "syslog": (103, 116),
    "nfsservctl": (180, 42),
    "settimeofday": (164, 170),
    "clock_settime": (227, 112),
    "adjtimex": (159, 171),
    "clock_adjtime": (305, 266),
    "iopl": (172, None),
    "ioperm": (173, None),
    "modify_ldt": (154, None),
    "personality": (135, 92),
    "uselib": (134, None),
    "vhangup": (153, 58),
    "lookup_dcookie": (212, 18),
    "move_pages": (279, 239),
    "mbind": (237, 235),
    "migrate_pages": (256, 238),
    "set_mempolicy": (238, 237),
    "get_mempolicy": (239, 236),
    "set_mempolicy_home_node": (450, 450),
    "fanotify_init": (300, 262),
    "fanotify_mark": (301, 263),
    # These would tell which programs the user starts: /usr is the host's own, whoever looks at it.
    "inotify_init": (253, None),
    "inotify_init1": (294, 26),
    "cachestat": (451, 451),
}

# Answered as if the kernel were older: callers have a second way (clone3 hides its flags).
ABSENT: dict[str, tuple[int | None, int | None]] = {
    "clone3": (435, 435),
    "memfd_create": (319, 279),
    "memfd_secret": (447, 447),
    "shmget": (29, 194),
    "msgget": (68, 186),
    "semget": (64, 190),
}


# The following only where the runtime is not separated from the host's processes and files.

# What acts on other processes of the user, or on objects that they share; chown, of his groups.
UNSEPARATED: dict[str, tuple[int | None, int | None]] = {
    "setpriority": (141, 140),
    "ioprio_set": (251, 30),
    "shmat": (30, 196),
    "shmctl": (31, 195),
    "semop": (65, 193),
    "semtimedop": (220, 192),
    "semctl": (66, 191),
    "msgsnd": (69, 189),
    "msgrcv": (70, 188),
    "msgctl": (71, 187),
    "mq_open": (240, 180),
    "mq_unlink": (241, 181),
    "statmount": (457, 457),
    "listmount": (458, 458),
    "chown": (92, None),
    "fchown": (93, 55),
    "lchown": (94, None),
    "fchownat": (260, 54),
    "file_setattr": (469, 469),
}
# Attributes can be read and set by path where the file itself can't be opened.
ATTRIBUTES: dict[str, tuple[int | None, int | None]] = {
    "setxattr": (188, 5),
    "lsetxattr": (189, 6),
    "fsetxattr": (190, 7),
    "getxattr": (191, 8),
    "lgetxattr": (192, 9),
    "fgetxattr": (193, 10),
    "listxattr": (194, 11),
    "llistxattr": (195, 12),
    "flistxattr": (196, 13),
    "removexattr": (197, 14),
    "lremovexattr": (198, 15),
    "fremovexattr": (199, 16),
    "setxattrat": (463, 463),
    "getxattrat": (464, 464),
    "listxattrat": (465, 465),
    "removexattrat": (466, 466),
    "file_getattr": (468, 468),
}
# Modes and times: Landlock has no rule for them, and the user owns more than the workspace. They
# are answered as if it had been done, as on a file system that keeps none (vfat's `quiet`), so
# that shutil.copy and all that is built on it go on working.
QUIET: dict[str, tuple[int | None, int | None]] = {
    "chmod": (90, None),
    "fchmod": (91, 52),
    "fchmodat": (268, 53),
    "fchmodat2": (452, 452),
    "utime": (132, None),
    "utimes": (235, None),
    "futimesat": (261, None),
    "utimensat": (280, 88),
}
# Allowed for the caller itself (0), and for no other process.
OF_ONESELF: dict[str, tuple[int | None, int | None]] = {
    "prlimit64": (302, 261),
    "sched_setparam": (142, 118),
    "sched_setscheduler": (144, 119),
    "sched_setattr": (314, 274),
    "sched_setaffinity": (203, 122),
}


@dataclass(frozen=True, slots=True)
class Arch:
    """One architecture: its audit number, its column of the tables, and the calls with rules."""

    audit: int
    column: int
    clone: int
    socket: int
    socketpair: int
    ioctl: int
    fcntl: int
    x32: bool  # whether a second set of calls hides behind a bit of the number


ARCHES = {
    "x86_64": Arch(
        0xC000003E, 0, clone=56, socket=41, socketpair=53, ioctl=16, fcntl=72, x32=True
    ),
    "aarch64": Arch(
        0xC00000B7, 1, clone=220, socket=198, socketpair=199, ioctl=29, fcntl=25, x32=False
    ),
}


def build(machine: str, *, separated: bool = True) -> bytes:
    """Return the program for an architecture; raise KeyError for one that has no tables.

    `separated`: namespaces keep the runtime from the host's processes and files.
    """
    arch = ARCHES[machine]
    lines = [_load(_ARCH_AT), _test(_EQUAL, arch.audit, 1, 0), _return(KILL_PROCESS)]
    lines += [_load(_NUMBER_AT)]
    if arch.x32:
        lines += [_test(_AT_LEAST, X32_BIT, 0, 1), _return(KILL_PROCESS)]
    lines += _always(DENIED, arch, errno.EPERM)
    lines += _always(ABSENT, arch, errno.ENOSYS)
    lines += _always({"socket": (arch.socket, arch.socket)}, arch, errno.EAFNOSUPPORT)
    lines += _when(arch.clone, 0, [_test(_ANY_BIT, NAMESPACES, 0, 1)], errno.EPERM)
    typing = [_test(_EQUAL, TIOCSTI, 1, 0), _test(_EQUAL, TIOCLINUX, 0, 1)]
    lines += _when(arch.ioctl, 1, typing, errno.EPERM)
    lines += _when(arch.fcntl, 1, [_test(_EQUAL, F_NOTIFY, 0, 1)], errno.EPERM)
    lines += _when(arch.socketpair, 0, [_test(_EQUAL, AF_UNIX, 1, 0)], errno.EAFNOSUPPORT)
    if not separated:
        lines += _for_unseparated(arch)
    return b"".join([*lines, _return(ALLOW)])


def _for_unseparated(arch: Arch) -> list[bytes]:
    """Return the instructions of the second set of tables."""
    lines = _always(UNSEPARATED, arch, errno.EPERM)
    lines += _always(ATTRIBUTES, arch, errno.EOPNOTSUPP)
    lines += _always(QUIET, arch, 0)
    for row in OF_ONESELF.values():
        number = row[arch.column]
        if number is not None:
            lines += _when(number, 0, [_test(_EQUAL, 0, 1, 0)], errno.EPERM)
    return lines


def _always(table: dict[str, tuple[int | None, int | None]], arch: Arch, code: int) -> list[bytes]:
    """Return instructions that refuse the calls of a table."""
    numbers = [row[arch.column] for row in table.values()]
    pairs = [(_test(_EQUAL, n, 0, 1), _return(ERRNO | code)) for n in numbers if n is not None]
    return [line for pair in pairs for line in pair]


def _when(number: int, argument: int, tests: list[bytes], code: int) -> list[bytes]:
    """Return instructions that refuse a call if the tests on (half) an argument do not skip it.

    They compare the lower 32 bits: what the kernel itself looks at in these calls.
    """
    refusal = [_load(_ARGUMENTS_AT + 8 * argument), *tests, _return(ERRNO | code)]
    return [_test(_EQUAL, number, 0, len(refusal) + 1), *refusal, _load(_NUMBER_AT)]


def _load(offset: int) -> bytes:
    return struct.pack("=HBBI", _LOAD, 0, 0, offset)


def _test(comparison: int, value: int, skip_if: int, skip_else: int) -> bytes:
    return struct.pack("=HBBI", comparison, skip_if, skip_else, value)


def _return(verdict: int) -> bytes:
    return struct.pack("=HBBI", _RETURN, 0, 0, verdict)
