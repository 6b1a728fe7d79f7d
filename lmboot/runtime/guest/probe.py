"""Try to get out, and tell what happened: the payload that proves a sandbox. Python 3.9+.

Arguments are NAME=VALUE: what the host put up for this purpose. The last line printed is JSON:
{"nonce": ..., "tried": {attempt: outcome}}, where an outcome is "ok ..." or an error's name.
`trying ATTEMPT` is printed before each that may be this program's end where a limit is watched
instead of contained; what it has gained, it then keeps for a moment, so that it is seen.
"""

import ctypes
import errno
import importlib
import json
import os
import platform
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any

_PORTABLE = sys.platform == "wasi"
_ON_LINUX: bool = sys.platform == "linux"
SEEN_SECONDS = 2.0  # far more than lies between two looks of whoever watches

# What a system does not have, nothing can be tried with: that attempt was refused.
POSIX: Any = os
FAMILIES: Any = socket
POSIX_KILL = 9
# Of the addresses that are nobody's: connecting a datagram socket to one sends nothing.
OUTSIDE: Any = {socket.AF_INET: ("192.0.2.1", 9), socket.AF_INET6: ("2001:db8::1", 9)}

given = dict(argument.split("=", 1) for argument in sys.argv[1:])


def outcome(attempt: Callable[[], object]) -> str:
    """Run one attempt; return "ok" with its result, or the name of what stopped it.

    ENOSYS too where this Python has nothing by which it could be tried.
    """
    try:
        return f"ok {attempt()}"
    except OSError as error:
        return errno.errorcode.get(error.errno or 0, "ENOSYS" if _PORTABLE else "OSError")
    except MemoryError:
        return "ENOMEM"
    except (AttributeError, ImportError, NameError):
        if _ON_LINUX:  # it has all that is tried: this is a bug
            raise
        return "ENOSYS"


def read(path: str) -> str:
    with open(path) as file:
        return file.read(64)


def the_host_s(path: str, identity: str) -> int:
    """Return the size of a file of the host's; a container's own is another file."""
    found = os.stat(path)
    if f"{found.st_dev}:{found.st_ino}" != identity:
        raise FileNotFoundError(errno.ENOENT, "")
    return found.st_size


def users() -> int:
    return the_host_s("/etc/passwd", given["users"])


def read_users() -> str:
    text = read("/etc/passwd")
    users()
    return text


def write(path: str) -> None:
    with open(path, "w") as file:
        file.write("x")


def connect(family: int, address: object) -> None:
    with socket.socket(family) as connection:
        connection.settimeout(2)
        connection.connect(address)  # type: ignore[arg-type]  # its form is the family's


def reach_desktop() -> str:
    """Return the first of the desktop's sockets that can be connected to."""
    refused: OSError = FileNotFoundError(errno.ENOENT, "")
    family = FAMILIES.AF_UNIX
    for address in given["desktop"].split("\n"):
        try:
            connect(family, "\0" + address[1:] if address.startswith("@") else address)
        except OSError as error:
            refused = refused if error.errno is None else error
        else:
            return address
    raise refused


def name_of_host() -> str:
    """Return what this machine is called, if that is the host's own name and no common one."""
    name = platform.node()
    if name != given["host"] or name in ("lmboot", "localhost", ""):
        raise FileNotFoundError(errno.ENOENT, "")
    return name


def read_machine_id() -> str:
    text = read("/etc/machine-id")
    the_host_s("/etc/machine-id", given["machine"])
    return text


def thread() -> None:
    try:
        started = threading.Thread(target=int)
        started.start()
    except RuntimeError:  # as Python says it where there are none
        raise OSError(errno.ENOSYS, "") from None
    started.join()


def make(family: int, kind: int = socket.SOCK_DGRAM) -> None:
    with socket.socket(family, kind) as made:
        if (
            sys.platform != "linux"
        ):  # where a socket is refused nothing until it is to go somewhere
            made.connect(OUTSIDE.get(family, ("192.0.2.1", 9)))


def syscall(number: int, *arguments: int) -> None:
    library = ctypes.CDLL(None, use_errno=True)
    if library.syscall(ctypes.c_long(number), *map(ctypes.c_long, arguments)) < 0:
        raise OSError(ctypes.get_errno(), "")


def watch(folder: str) -> None:
    """Ask to be told what happens in a folder."""
    library = ctypes.CDLL(None, use_errno=True)
    watcher = library.inotify_init1(0)
    if watcher < 0:
        raise OSError(ctypes.get_errno(), "")
    number = library.inotify_add_watch(watcher, folder.encode(), 0x100)
    error = ctypes.get_errno()
    os.close(watcher)
    if number < 0:
        raise OSError(error, "")


def change(path: str, action: Callable[[], None]) -> None:
    """Change what is known of a file; an action that claims success and did nothing is refused."""
    before = os.stat(path)
    action()
    after = os.stat(path)
    if (before.st_mode, before.st_mtime) == (after.st_mode, after.st_mtime):
        raise PermissionError(errno.EPERM, "")


def renice(pid: int) -> None:
    """Set a process's priority, to what it is."""
    which = POSIX.PRIO_PROCESS
    POSIX.setpriority(which, pid, POSIX.getpriority(which, pid))


def limit(pid: int) -> None:
    """Ask for a limit of a process's."""
    resource: Any = importlib.import_module("resource")
    resource.prlimit(pid, resource.RLIMIT_NOFILE)


def reach(pid: int) -> None:
    """Get hold of a process as one who may end it."""
    if sys.platform != "win32":
        os.kill(pid, 0)  # on Windows, that would be Ctrl+C
    elif not ctypes.WinDLL("kernel32").OpenProcess(1, False, pid):  # PROCESS_TERMINATE
        raise PermissionError(errno.EPERM, "")


def processes() -> list[int]:
    """Return the processes that can be seen."""
    if sys.platform == "darwin":
        found = (ctypes.c_int * 65536)()
        size = ctypes.CDLL("/usr/lib/libSystem.B.dylib").proc_listpids(1, 0, found, len(found) * 4)
        if size <= 0:
            raise PermissionError(errno.EPERM, "")
        return [pid for pid in found if pid]
    else:
        return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def fork_until_refused() -> int:
    """Return how many children could be had at once beside this process."""
    children: list[Callable[[], object]] = []
    ceiling = int(given["processes"]) + 8
    try:
        while len(children) < ceiling:
            children.append(another())
        time.sleep(SEEN_SECONDS)
    except OSError as error:
        if sys.platform != "win32" and not isinstance(error, BlockingIOError):
            raise
    for end in children:
        end()
    return len(children)


def another() -> Callable[[], object]:
    """Start a process that does nothing; return what ends it."""
    if sys.platform == "win32":
        return subprocess.Popen([sys.executable, "-ISc", "import time; time.sleep(60)"]).kill
    else:
        child = os.fork()
        if child == 0:
            signal.pause()
        return partial(kill, child)


def kill(child: int) -> None:
    os.kill(child, POSIX_KILL)
    POSIX.waitpid(child, 0)


def fill(folder: str, megabytes: int) -> int:
    """Return how many megabytes went in before the disk was full; at most what was asked."""
    paths = [os.path.join(folder, f"filling-{number}") for number in range(megabytes)]
    written = 0
    try:
        for path in paths:
            with open(path, "wb", buffering=0) as file:
                size = file.write(bytes(1 << 20))
            written += size >> 20  # some learn only at the closing that there is no room
        time.sleep(SEEN_SECONDS)
    except OSError:
        pass
    for path in paths:
        if os.path.exists(path):
            os.unlink(path)
    return written


def leave_a_daemon() -> None:
    """Leave a process of another session behind that ignores what it can."""
    if sys.platform == "win32":
        detached = [sys.executable, "-ISc", "import time; time.sleep(600)"]
        for flags in (0x01000008, 0x00000008):  # out of the job, if that is allowed; detached
            try:
                subprocess.Popen(detached, creationflags=flags)
            except OSError:
                continue
            return
    elif os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
                signal.signal(number, signal.SIG_IGN)
            while True:
                signal.pause()
        os._exit(0)
    else:
        os.wait()


def descriptors() -> list[int]:
    """Return those of 0 to 4095 that are open; a channel of two is told by its first.

    No view of the portable sandbox's own is among them.
    """
    found = []
    second = os.environ["LMBOOT_FD"].split(",")[1:]
    for number in range(4096):
        if str(number) in second:
            continue
        try:
            os.fstat(number)
        except OSError:
            continue
        if not (_PORTABLE and is_own_view(number)):
            found.append(number)
    return found


def is_own_view(number: int) -> bool:
    """Say whether a descriptor is of a folder that leads nowhere else: all paths begin at one.

    It has no way up, and is /app or /tmp if something can be made in it.
    """
    status = os.fstat(number)
    if not stat.S_ISDIR(status.st_mode):
        return False
    if outcome(lambda: os.open("..", os.O_RDONLY, dir_fd=number)).startswith("ok"):
        return False
    if any(os.path.samestat(status, os.stat(path)) for path in ("/app", "/tmp")):
        return True
    return not outcome(lambda: os.mkdir("lmboot-probe", dir_fd=number)).startswith("ok")


port = int(given["port"])
host = int(given["pid"])
attempts: dict[str, Callable[[], object]] = {
    "read_canary": lambda: read(given["canary"]),
    "read_home": lambda: os.listdir(given["home"]),
    "read_passwd": read_users,
    "stat_passwd": users,
    "watch_home": lambda: watch(given["home"]),
    "chmod_canary": lambda: change(given["canary"], lambda: os.chmod(given["canary"], 0o604)),
    "touch_canary": lambda: change(given["canary"], lambda: os.utime(given["canary"], (0, 0))),
    "mark_canary": lambda: POSIX.setxattr(given["canary"], "user.lmboot", b"x"),
    "link_canary": lambda: os.link(given["canary"], "linked"),
    "write_usr": lambda: write("/usr/lmboot-probe"),
    "write_root": lambda: write("/lmboot-probe"),
    "write_dev": lambda: write("/dev/lmboot-probe"),
    "write_proc": lambda: os.close(os.open("/proc/self/comm", os.O_WRONLY)),
    "tcp_loopback": lambda: connect(socket.AF_INET, ("127.0.0.1", port)),
    "tcp6_loopback": lambda: connect(socket.AF_INET6, ("::1", port)),
    "unix_abstract": lambda: connect(FAMILIES.AF_UNIX, "\0" + given["abstract"]),
    "unix_path": lambda: connect(FAMILIES.AF_UNIX, given["socket"]),
    "desktop": reach_desktop,
    "machine_id": read_machine_id,
    "host_name": name_of_host,
    "inet": lambda: make(socket.AF_INET),
    "inet6": lambda: make(socket.AF_INET6),
    "vsock": lambda: make(40, socket.SOCK_STREAM),
    "netlink": lambda: make(16, socket.SOCK_RAW),
    "kill_host": lambda: reach(host),
    "renice_host": lambda: renice(host),
    "limit_host": lambda: limit(host),
    "read_host": lambda: read(f"/proc/{host}/cmdline"),
    "folder": os.getcwd,
    "thread": thread,
    "socketpair": lambda: socket.socketpair()[0].close(),
    "pids": processes,
    "env": lambda: sorted(os.environ),
    "fds": descriptors,
}
risky: dict[str, Callable[[], object]] = {
    "forks": fork_until_refused,
    "disk": lambda: fill(".", int(given["disk_mb"]) + 4),
    "shm": lambda: fill("/dev/shm", 20),
    "tmp": lambda: fill(os.environ["TMPDIR"], 20),
}
if _PORTABLE:  # its engine refuses more memory; elsewhere, whoever watches ends the program
    attempts["memory"] = lambda: len(bytearray(int(given["too_much"])))
for name in ("ptrace", "keyctl", "add_key", "io_uring_setup", "unshare", "bpf", "memfd_create"):
    if name in given or _PORTABLE:  # which has no calls at all, on whatever system
        number = int(given.get(name, "0"))
        attempts["call_" + name] = partial(syscall, number, 0x10000000, 0, 0, 0)

tried = {name: outcome(attempt) for name, attempt in attempts.items()}
for name, attempt in risky.items():
    if name not in given["without"].split(","):
        print("trying", name)
        tried[name] = outcome(attempt)
outcome(leave_a_daemon)
print(json.dumps({"nonce": given["nonce"], "tried": tried}))
too_much = bytearray(int(given["too_much"]))  # the last attempt: whoever watches ends it here
time.sleep(5)
