"""Programs that try many ways out in one run, each told as `name: outcome`.

An outcome is an error's name, LEAK where nothing was refused, or ABSENT where the back end's
Python has no such call at all.
"""

from __future__ import annotations

import os
import textwrap

from lmboot.runtime import seccomp
from tests.attacks.cases import COLUMNS, FULL
from tests.runtime import guests

# What the fixture `sandbox` is to be given where its own is not what a test needs.
EVERYWHERE = (guests.INSTEAD,) if guests.INSTEAD else COLUMNS
WITH_SOCKETS = (guests.INSTEAD,) if guests.INSTEAD else FULL

TRY = """
import errno, os, sys
def attempt(name, action):
    try:
        action()
    except OSError as error:
        print(f"{name}: {errno.errorcode.get(error.errno, error)}")
    except (AttributeError, ImportError, NotImplementedError):
        print(f"{name}: ABSENT")
    else:
        print(f"{name}: LEAK")
class Lacking:
    def __getattr__(self, name):
        raise ImportError(name)
def have(name):
    try:
        return __import__(name)
    except ImportError:
        return Lacking()
def call(name, number, *arguments):
    def action():
        ctypes = have("ctypes")
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.syscall(ctypes.c_long(number), *map(ctypes.c_long, arguments)) < 0:
            raise OSError(ctypes.get_errno(), "")
    attempt(name, action)
"""
REFUSED = {
    *("EACCES", "EPERM", "ENOENT", "EROFS", "ESRCH", "ENOSYS", "EAFNOSUPPORT", "ENOTCAPABLE"),
    *("ENXIO", "ENOTTY", "ABSENT"),
}
PARTIAL_PYTHON = {"wasm"}  # the back ends whose Python lacks parts of its library


async def outcomes(program: str, *arguments: str) -> dict[str, str]:
    """Run a program of attempts in the back end of this test; return the outcome of each."""
    guest = await guests.run({"main.py": TRY + textwrap.dedent(program)}, *arguments)
    assert guest.errors == ""
    found = dict(line.split(": ", 1) for line in guest.text.splitlines())
    assert found
    assert "ABSENT" not in found.values() or guests.SANDBOX in PARTIAL_PYTHON, found
    return found


def leaks(found: dict[str, str]) -> list[str]:
    """Return the attempts that nothing refused."""
    return [name for name, outcome in found.items() if outcome == "LEAK"]


def numbers(*tables: dict[str, tuple[int | None, int | None]]) -> dict[str, int]:
    """Return the system calls of tables by their numbers on this machine."""
    column = seccomp.ARCHES[os.uname().machine].column
    rows = {name: row[column] for table in tables for name, row in table.items()}
    return {name: number for name, number in rows.items() if number is not None}
