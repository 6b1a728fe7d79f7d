"""Give up rights for good, then become another program: Landlock and a system call filter.

    python confine.py FILTER RIGHTS=PATH... -- PROGRAM ARGUMENT...

FILTER is the descriptor that holds the filter. RIGHTS is `look` (read, list, execute), `use` (read
and write one file, such as /dev/null) or `own` (everything a folder of one's own allows); what no
argument names can't be opened. A path that does not exist is left out: nothing is granted by it.
`hidden` in place of all these: a sandbox around this process has hidden what is not to be opened,
and only the filter is put on.
The program gets descriptors 0 to 5 and the environment that this one was given, nothing else.
Whatever fails here is said on stderr, and nothing has run. Standard library only, Python 3.9+.
"""

import ctypes
import os
import signal
import stat
import struct
import sys
from collections.abc import Iterable

# Numbers that are the same on every architecture since these calls exist.
CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 444, 445, 446
VERSION_FLAG, PATH_BENEATH = 1, 1
PR_SET_PDEATHSIG, PR_SET_SECCOMP, PR_SET_NO_NEW_PRIVS = 1, 22, 38
MODE_FILTER = 2

OLDEST_ABI = 6  # Linux 6.12: before, signals and abstract sockets are out of its reach
EXECUTE, WRITE_FILE, READ_FILE, READ_DIR, REMOVE_DIR, REMOVE_FILE = (1 << n for n in range(6))
MAKE_CHAR, MAKE_DIR, MAKE_REG, MAKE_SOCK, MAKE_FIFO, MAKE_BLOCK = (1 << n for n in range(6, 12))
MAKE_SYM, REFER, TRUNCATE, IOCTL_DEV = (1 << n for n in range(12, 16))
ALL_OF_FILES = (1 << 16) - 1
ALL_OF_TCP = 1 | 2  # to bind and to connect
ALL_SCOPES = 1 | 2  # abstract sockets and signals

OF_ONE_FILE = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE
RIGHTS = {
    "look": EXECUTE | READ_FILE | READ_DIR,
    "use": READ_FILE | WRITE_FILE,
    # Devices can't be made by this user anyhow; they are left out so that nothing rests on it.
    "own": ALL_OF_FILES & ~(MAKE_CHAR | MAKE_BLOCK | IOCTL_DEV),
}
KEPT_DESCRIPTORS = 6  # the program's 0 to 2, its channel, its payload, its stdin to be

libc = ctypes.CDLL(None, use_errno=True)


class SockFprog(ctypes.Structure):
    """The kernel's struct sock_fprog."""

    _fields_ = [("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p)]


def call(what: str, function: object, *arguments: object) -> int:
    """Call into libc; end the process with a sentence when the kernel refuses."""
    result = function(*arguments)  # type: ignore[operator]  # a function of libc
    if result < 0:
        sys.exit(f"{what}: {os.strerror(ctypes.get_errno())}")
    return int(result)


def syscall(what: str, number: int, *arguments: object) -> int:
    """Make a system call that libc has no function for."""
    return call(what, libc.syscall, ctypes.c_long(number), *arguments)


def prctl(what: str, option: int, *arguments: object) -> None:
    """Set something of this process; what is not given is 0, as the kernel wants it."""
    padded = [*arguments, *[ctypes.c_ulong(0)] * (4 - len(arguments))]
    call(what, libc.prctl, ctypes.c_int(option), *padded)


def version() -> int:
    """Return the kernel's version of Landlock."""
    nothing = ctypes.c_void_p()
    flag = ctypes.c_uint32(VERSION_FLAG)
    return syscall("this kernel has no Landlock", CREATE_RULESET, nothing, ctypes.c_size_t(), flag)


def ruleset() -> int:
    """Return a set of rules under which everything that Landlock knows is refused."""
    handled = struct.pack("=QQQ", ALL_OF_FILES, ALL_OF_TCP, ALL_SCOPES)
    size, none = ctypes.c_size_t(len(handled)), ctypes.c_uint32()
    return syscall("Landlock takes no rules", CREATE_RULESET, handled, size, none)


def grant(rules: int, rights: int, path: str) -> None:
    """Allow a folder with all beneath it, or one file."""
    try:
        place = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    if not stat.S_ISDIR(os.fstat(place).st_mode):
        rights &= OF_ONE_FILE
    rule = struct.pack("=Qi", rights, place)
    none = ctypes.c_uint32()
    syscall(f"Landlock refuses {path}", ADD_RULE, rules, ctypes.c_int(PATH_BENEATH), rule, none)
    os.close(place)


def restrict(grants: Iterable[str]) -> None:
    """Keep this process, and all that come from it, to these grants; for good."""
    found = version()
    if found < OLDEST_ABI:
        sys.exit(f"Landlock of this kernel is version {found}, and {OLDEST_ABI} is needed")
    rules = ruleset()
    for words in grants:
        rights, _, path = words.partition("=")
        grant(rules, RIGHTS[rights], path)
    syscall("Landlock can't be put on", RESTRICT_SELF, rules, ctypes.c_uint32())
    os.close(rules)


def refuse_calls(program: bytes) -> None:
    """Put the filter on; it can't be taken off."""
    filter_program = SockFprog(len(program) // 8, program)
    mode = ctypes.c_ulong(MODE_FILTER)
    prctl("the filter is refused", PR_SET_SECCOMP, mode, ctypes.byref(filter_program))


def main(arguments: list[str]) -> None:
    """Confine this process and run the program that the arguments name."""
    if 0 in os.getresuid():
        sys.exit("this is still root, whom no sandbox of this kind can hold")
    at = arguments.index("--")
    with open(int(arguments[0]), "rb") as file:  # before there are rules about opening
        program = file.read()
    prctl("the runtime can't be tied", PR_SET_PDEATHSIG, ctypes.c_ulong(signal.SIGKILL))
    prctl("rights can't be given up", PR_SET_NO_NEW_PRIVS, ctypes.c_ulong(1))
    if arguments[1:at] != ["hidden"]:
        restrict(arguments[1:at])
    os.closerange(KEPT_DESCRIPTORS, 4096)
    refuse_calls(program)
    os.execve(arguments[at + 1], arguments[at + 1 :], os.environ)  # noqa: S606 (no shell: the aim)


if __name__ == "__main__":
    main(sys.argv[1:])
