from __future__ import annotations

import errno
import platform
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from lmboot.runtime.seccomp import (
    ABSENT,
    ALLOW,
    ARCHES,
    ATTRIBUTES,
    DENIED,
    ERRNO,
    F_NOTIFY,
    KILL_PROCESS,
    OF_ONESELF,
    QUIET,
    TIOCLINUX,
    TIOCSTI,
    UNSEPARATED,
    build,
)

LOAD, EQUAL, AT_LEAST, ANY_BIT, RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
CLONE_NEWUSER, CLONE_VM, SIGCHLD = 0x10000000, 0x100, 17


def verdict(program: bytes, number: int, audit: int, *arguments: int) -> int:
    """Run the program on one system call, as the kernel would."""
    words = struct.pack("=IIQ6Q", number, audit, 0, *(*arguments, *[0] * (6 - len(arguments))))
    lines = list(struct.iter_unpack("=HBBI", program))
    at = accumulator = 0
    while True:
        code, then, otherwise, value = lines[at]
        at += 1
        if code == LOAD:
            (accumulator,) = struct.unpack_from("=I", words, value)
        elif code == RETURN:
            return int(value)
        else:
            tests = {
                EQUAL: accumulator == value,
                AT_LEAST: accumulator >= value,
                ANY_BIT: bool(accumulator & value),
            }
            at += then if tests[code] else otherwise


@pytest.mark.parametrize("machine", ARCHES)
@pytest.mark.parametrize(
    ("table", "code"), [(DENIED, errno.EPERM), (ABSENT, errno.ENOSYS)], ids=["denied", "absent"]
)
def test_a_call_of_the_tables_gets_its_error(
    machine: str, table: dict[str, tuple[int | None, int | None]], code: int
) -> None:
    arch = ARCHES[machine]
    numbers = {name: row[arch.column] for name, row in table.items()}

    got = {
        name: verdict(build(machine), number, arch.audit)
        for name, number in numbers.items()
        if number is not None
    }

    assert got == dict.fromkeys(got, ERRNO | code)
    assert len(got) >= len(table) - 9  # nine old calls exist on x86_64 alone


@pytest.mark.parametrize("machine", ARCHES)
@pytest.mark.parametrize(
    ("table", "code"),
    [(UNSEPARATED, errno.EPERM), (ATTRIBUTES, errno.EOPNOTSUPP), (QUIET, 0)],
    ids=["unseparated", "attributes", "quiet"],
)
def test_a_call_of_the_second_tables_gets_its_error_where_nothing_separates(
    machine: str, table: dict[str, tuple[int | None, int | None]], code: int
) -> None:
    arch = ARCHES[machine]
    program, separated = build(machine, separated=False), build(machine)
    numbers = [row[arch.column] for row in table.values() if row[arch.column] is not None]

    got = {verdict(program, number, arch.audit) for number in numbers if number is not None}

    assert got == {ERRNO | code}
    assert {verdict(separated, n, arch.audit) for n in numbers if n is not None} == {ALLOW}


@pytest.mark.parametrize("machine", ARCHES)
def test_some_calls_are_for_the_caller_itself_alone(machine: str) -> None:
    arch = ARCHES[machine]
    program = build(machine, separated=False)

    for row in OF_ONESELF.values():
        number = row[arch.column]
        assert number is not None
        assert verdict(program, number, arch.audit, 0) == ALLOW
        assert verdict(program, number, arch.audit, 4711) == ERRNO | errno.EPERM
        assert verdict(program, number, arch.audit, 0xFFFFFFFF) == ERRNO | errno.EPERM


@pytest.mark.parametrize("machine", ARCHES)
def test_the_second_tables_add_and_take_nothing_away(machine: str) -> None:
    arch = ARCHES[machine]
    one, two = build(machine), build(machine, separated=False)

    refused = [n for n in range(500) if verdict(one, n, arch.audit) != ALLOW]

    assert all(verdict(one, n, arch.audit) == verdict(two, n, arch.audit) for n in refused)


@pytest.mark.parametrize("machine", ARCHES)
def test_what_no_table_names_is_allowed(machine: str) -> None:
    arch = ARCHES[machine]
    named = {row[arch.column] for table in (DENIED, ABSENT) for row in table.values()}
    named |= {arch.socket, arch.socketpair}

    others = [number for number in range(500) if number not in named]

    assert all(verdict(build(machine), number, arch.audit) == ALLOW for number in others)


@pytest.mark.parametrize("machine", ARCHES)
@pytest.mark.parametrize("family", [0, 1, 2, 10, 16, 17, 29, 31, 38, 40, 44])
def test_no_family_of_sockets_can_be_made(machine: str, family: int) -> None:
    arch = ARCHES[machine]

    got = verdict(build(machine), arch.socket, arch.audit, family)

    assert got == ERRNO | errno.EAFNOSUPPORT


@pytest.mark.parametrize("machine", ARCHES)
def test_a_pair_of_sockets_is_of_the_unix_family(machine: str) -> None:
    arch = ARCHES[machine]

    got = [verdict(build(machine), arch.socketpair, arch.audit, family) for family in (1, 2, 40)]

    assert got == [ALLOW, ERRNO | errno.EAFNOSUPPORT, ERRNO | errno.EAFNOSUPPORT]


@pytest.mark.parametrize("machine", ARCHES)
def test_a_process_may_be_made_but_no_namespace(machine: str) -> None:
    arch = ARCHES[machine]
    flags = [SIGCHLD, CLONE_VM | SIGCHLD, CLONE_NEWUSER | SIGCHLD, 0x20000, 0x40000000, 0x80]

    got = [verdict(build(machine), arch.clone, arch.audit, flag) for flag in flags]

    assert got == [ALLOW, ALLOW, *[ERRNO | errno.EPERM] * 4]


@pytest.mark.parametrize("machine", ARCHES)
def test_nobody_types_into_a_terminal(machine: str) -> None:
    arch = ARCHES[machine]
    requests = [0x5401, TIOCSTI, TIOCLINUX, TIOCSTI | 1 << 32]  # the kernel looks at 32 bits

    got = [verdict(build(machine), arch.ioctl, arch.audit, 0, request) for request in requests]

    assert got == [ALLOW, *[ERRNO | errno.EPERM] * 3]


@pytest.mark.case(104)
@pytest.mark.parametrize("machine", ARCHES)
def test_nobody_is_told_what_happens_in_a_folder(machine: str) -> None:
    arch = ARCHES[machine]
    commands = [3, F_NOTIFY, F_NOTIFY | 1 << 32, 0x406]

    got = [verdict(build(machine), arch.fcntl, arch.audit, 0, command) for command in commands]

    assert got == [ALLOW, *[ERRNO | errno.EPERM] * 2, ALLOW]


@pytest.mark.parametrize("machine", ARCHES)
def test_a_call_of_another_architecture_is_fatal(machine: str) -> None:
    i386, arm = 0x40000003, 0x40000028

    assert verdict(build(machine), 1, i386) == KILL_PROCESS
    assert verdict(build(machine), 1, arm) == KILL_PROCESS


def test_the_second_set_of_calls_of_x86_64_is_fatal() -> None:
    audit = ARCHES["x86_64"].audit

    assert verdict(build("x86_64"), 0x40000000 | 1, audit) == KILL_PROCESS
    assert verdict(build("x86_64"), 0xFFFFFFFF, audit) == KILL_PROCESS


def test_an_unknown_architecture_has_no_program() -> None:
    with pytest.raises(KeyError):
        build("riscv64")


@pytest.mark.parametrize("machine", ARCHES)
def test_the_program_is_one_that_the_kernel_takes(machine: str) -> None:
    lines = list(struct.iter_unpack("=HBBI", build(machine)))

    assert len(lines) <= 4096
    for at, (code, then, otherwise, _) in enumerate(lines):
        if code in (EQUAL, AT_LEAST, ANY_BIT):
            assert at + 1 + max(then, otherwise) < len(lines)


HEADERS = {
    "x86_64": (Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h"), "__NR_"),
    "aarch64": (Path("/usr/include/asm-generic/unistd.h"), "__NR_"),
}


@pytest.mark.parametrize("machine", ARCHES)
def test_the_numbers_are_those_of_the_kernel_s_headers(machine: str) -> None:
    path, prefix = HEADERS[machine]
    if not path.exists():
        pytest.skip("no kernel headers here")
    defined: dict[str, int] = {}
    for line in path.read_text().splitlines():
        words = line.split()
        if len(words) == 3 and words[0] == "#define" and words[2].isdigit():
            defined[words[1].removeprefix("__NR3264_").removeprefix(prefix)] = int(words[2])
    arch = ARCHES[machine]
    rules = {"clone": arch.clone, "socket": arch.socket, "socketpair": arch.socketpair}
    table = {name: row[arch.column] for name, row in {**DENIED, **ABSENT}.items()}

    defined.pop("syscalls", None)  # how many there are
    newest = max(defined.values())  # headers may be older than a call of the tables
    ours = {**rules, "ioctl": arch.ioctl, "fcntl": arch.fcntl, **table}
    known = {name: number for name, number in ours.items() if (number or 0) <= newest}

    assert {name: defined.get(name) for name in known} == known
    assert len(known) > 60


@pytest.mark.skipif(platform.machine() not in ARCHES, reason="no program for this machine")
def test_the_kernel_takes_the_program_and_obeys_it() -> None:
    arch = ARCHES[platform.machine()]
    script = f"""
import ctypes, errno, sys
program = bytes.fromhex({build(platform.machine()).hex()!r})
class Filter(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("lines", ctypes.c_char_p)]
libc = ctypes.CDLL(None, use_errno=True)
assert libc.prctl(38, 1, 0, 0, 0) == 0
assert libc.prctl(22, 2, ctypes.byref(Filter(len(program) // 8, program)), 0, 0) == 0
for number in ({arch.socket}, {DENIED["keyctl"][arch.column]}, {ABSENT["clone3"][arch.column]}):
    assert libc.syscall(number, 0, 0, 0) == -1
    print(errno.errorcode[ctypes.get_errno()])
"""
    done = subprocess.run(
        [sys.executable, "-I", "-c", script], capture_output=True, text=True, check=False
    )

    assert (done.stdout.split(), done.stderr) == (["EAFNOSUPPORT", "EPERM", "ENOSYS"], "")
