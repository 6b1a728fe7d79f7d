"""The back end without namespaces: what is refused where it can't be hidden, and the tree's end."""
# ruff: noqa: ASYNC220, ASYNC240, E501 (nothing else runs in its loop; programs stay unbroken)

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
import re
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from lmboot.errors import SandboxFault
from lmboot.process import UIDS, Ended
from lmboot.runtime import seccomp
from lmboot.runtime.backends import Plan, landlock
from lmboot.runtime.backends.landlock import DEVICES, LIBRARIES, Landlock
from lmboot.runtime.policy import Limits
from lmboot.runtime.posture import prove
from lmboot.workspace import PASSABLE
from tests import leaks
from tests.runtime.guests import run, started

GUEST = Path(landlock.__file__).parents[1] / "guest"

# Every attempt is a line `name: outcome`, where the outcome is an error's name or LEAK.
TRY = """
import errno, os, sys
def attempt(name, action):
    try:
        action()
    except OSError as error:
        print(f"{name}: {errno.errorcode.get(error.errno, error)}")
    else:
        print(f"{name}: LEAK")
"""


async def outcomes(program: str, *arguments: str) -> dict[str, str]:
    guest = await run({"main.py": TRY + textwrap.dedent(program)}, *arguments, sandbox="landlock")
    assert guest.errors == ""
    return dict(line.rsplit(": ", 1) for line in guest.text.splitlines())


# ---------------------------------------------------------------- the plan, as a value


def a_landlock(prefix: str | None = None) -> Landlock:
    return Landlock(
        version=7,
        python="/usr/bin/python3",
        prefix=prefix,
        filter=b"FILTER",
        confine=b"CONFINE",
        start=b"START",
        library=b"LIBRARY",
    )


def test_the_launcher_is_told_exactly_this() -> None:
    plan = a_landlock().plan(disk_bytes=64 << 20, workspace="/w")

    assert plan == Plan(
        argv=(
            *("/usr/bin/python3", "-I", "-S", "-B", "/w/launch/confine.py", "6"),
            *("look=/usr", "look=/bin"),
            *(f"look={path}" for path in LIBRARIES),
            *("look=/etc/ld.so.cache", "look=/w/launch"),
            *(f"use={path}" for path in DEVICES),
            *("own=/w/app", "own=/w/tmp", "--"),
            *("/usr/bin/python3", "-I", "-S", "-B", "-u", "-X", "utf8", "/w/launch/start.py"),
        ),
        env={
            "PATH": "/usr/bin",
            "LANG": "C.UTF-8",
            "HOME": "/w/app",
            "TMPDIR": "/w/tmp",
            "LMBOOT_FD": "3",
        },
        library="/w/launch/lib",
        contents={6: b"FILTER"},
        cwd="/w/app",
        info=None,
        folders=("/w/app", "/w/tmp"),
        files={
            "launch/confine.py": b"CONFINE",
            "launch/start.py": b"START",
            "launch/lib/guest_sys.py": b"LIBRARY",
        },
        bounds=(64 << 20, 16 << 20),
        enclosed=True,
    )


def test_nothing_but_the_workspace_can_be_written_to() -> None:
    argv = a_landlock("/opt/python").plan(disk_bytes=1, workspace="/w").argv

    assert [word for word in argv if word.startswith("own=")] == ["own=/w/app", "own=/w/tmp"]
    assert all(word.startswith("use=/dev/") for word in argv if word.startswith("use="))
    assert "look=/opt/python" in argv


@pytest.mark.parametrize(
    ("version", "means", "hint"),
    [
        (-errno.ENOSYS, "has no Landlock", "6.12"),
        (-errno.EOPNOTSUPP, "switched off", "lsm="),
        (1, "is version 1", "6.12"),
        (5, "can't keep signals in", "6.12"),
    ],
)
def test_a_kernel_that_can_t_do_it_is_told_with_the_remedy(
    version: int, means: str, hint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(landlock, "version", lambda: version)

    with pytest.raises(SandboxFault, match=re.escape(means)) as caught:
        landlock.find()

    assert hint in caught.value.hint


@pytest.mark.parametrize("said", ["No module named '_ctypes'", "x: Permission denied"])
def test_a_python_that_can_t_confine_itself_is_told_with_the_remedy(said: str) -> None:
    means, hint = a_landlock().remedy(said)

    assert said in means
    assert "apt install python3" in hint


# ---------------------------------------------------------------- the launcher, by itself


def confined(*grants: str, program: str) -> subprocess.CompletedProcess[str]:
    """Run a line of Python behind the launcher, without a supervisor, as a user of its own."""
    reading, writing = os.pipe()
    reading = _clear_of_what_is_kept(reading)
    os.write(writing, seccomp.build(os.uname().machine, separated=False))
    os.close(writing)
    user = ["setpriv", f"--reuid={UIDS[0]}", f"--regid={UIDS[0]}", "--clear-groups", "--"]
    words = ["/usr/bin/python3", "-I", "-S", "-c", (GUEST / "confine.py").read_text()]
    program = program.replace("READING", str(reading))
    argv = [*words, str(reading), *grants, "--", *words[:3], "-c", program]
    try:
        return subprocess.run(
            [*(user if os.geteuid() == 0 else []), *argv],
            pass_fds=[reading],
            env={"PATH": "/usr/bin"},
            capture_output=True,
            text=True,
            check=False,
        )
    finally:
        os.close(reading)


def _clear_of_what_is_kept(descriptor: int) -> int:
    moved = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, 20)
    os.close(descriptor)
    return moved


SYSTEM = ("look=/usr", "look=/lib", "look=/lib64", "look=/bin")


@pytest.mark.sandbox
def test_what_no_argument_names_can_t_be_opened(tmp_path: Path) -> None:
    done = confined(*SYSTEM, "look=/nonexistent", program="print(1); open('/etc/passwd')")

    assert done.stdout == "1\n"
    assert "PermissionError" in done.stderr


@pytest.mark.sandbox
def test_the_filter_s_descriptor_does_not_reach_the_program() -> None:
    done = confined(*SYSTEM, program="import os; print(os.fstat(2).st_ino > 0); os.fstat(READING)")

    assert done.stdout == "True\n"
    assert "Bad file descriptor" in done.stderr


@pytest.mark.sandbox
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can try it as root")
def test_root_is_not_confined_but_refused() -> None:
    words = [sys.executable, "-I", "-S", str(GUEST / "confine.py"), "0", "--", "/bin/true"]

    done = subprocess.run(words, capture_output=True, text=True, check=False)

    assert done.returncode == 1
    assert "this is still root" in done.stderr


# ---------------------------------------------------------------- the proof


@pytest.mark.sandbox
async def test_landlock_proves_itself_here() -> None:
    proven = await prove(landlock.find())

    in_part = {name for name, level in proven.properties.items() if level == "partial"}
    assert (proven.usable, proven.reason, proven.remedy) == (True, "", "")
    assert "absent" not in proven.properties.values()
    watched = {"mem_total", "cpu_rate"}  # without a control group
    in_the_open = {"fs_read", "proc_view", "host_name"}
    assert in_part - {"pids", "disk_total"} == {*in_the_open, *watched, "own_paths"}
    assert ("pids" in in_part) == (os.geteuid() != 0)  # a user of its own has a number of its own


@pytest.mark.sandbox
async def test_without_the_filter_landlock_is_not_enough() -> None:
    backend = replace(landlock.find(), filter=b"\x06\x00\x00\x00\x00\x00\xff\x7f")

    proven = await prove(backend)

    assert not proven.usable
    assert proven.properties["syscalls"] == "absent"
    assert proven.properties["net_ip"] == "absent"
    assert proven.properties["gui_dbus"] == "absent"  # its sockets have paths


# ---------------------------------------------------------------- what can't be hidden is refused


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Path]:
    """A file of the user that runs the tests, where everybody may go."""
    folder = Path(f"/var/tmp/lmboot-own-{os.getpid()}")
    folder.mkdir(mode=0o755)
    path = folder / "file"
    path.write_text("canary")
    path.chmod(0o644)
    yield path
    path.unlink()
    folder.rmdir()


@pytest.mark.sandbox
@pytest.mark.case(28, 30, sandbox="landlock")
async def test_the_user_s_files_can_be_neither_read_nor_listed_nor_changed(own: Path) -> None:
    before = own.stat()

    found = await outcomes(
        """
        import shutil
        path, folder = sys.argv[1], os.path.dirname(sys.argv[1])
        attempt("read", lambda: open(path).read())
        attempt("write", lambda: open(path, "w"))
        attempt("append", lambda: open(path, "a"))
        attempt("truncate", lambda: os.truncate(path, 0))
        attempt("list", lambda: os.listdir(folder))
        attempt("create", lambda: os.mkdir(folder + "/new"))
        attempt("remove", lambda: os.unlink(path))
        attempt("move", lambda: os.rename(path, path + "2"))
        attempt("take", lambda: os.rename(path, "taken"))
        attempt("put", lambda: os.rename("main.py", folder + "/main.py"))
        attempt("link", lambda: os.link(path, "linked"))
        attempt("lead", lambda: (os.symlink(path, "led"), open("led").read()))
        attempt("go", lambda: (os.chdir(folder), open("file").read()))
        attempt("own", lambda: os.chown(path, -1, os.getgid()))
        attempt("mark", lambda: os.setxattr(path, "user.x", b"x"))
        attempt("marks", lambda: os.listxattr(path))
        attempt("handle", lambda: open(f"/proc/self/fd/{os.open(path, os.O_PATH)}").read())
        """,
        str(own),
    )

    assert set(found.values()) <= {"EACCES", "EXDEV", "EPERM", "ENOTSUP"}, found
    assert own.read_text() == "canary"
    assert (own.stat().st_ctime_ns, own.stat().st_nlink) == (before.st_ctime_ns, 1)


@pytest.mark.sandbox
@pytest.mark.case(30, sandbox="landlock")
async def test_modes_and_times_stay_what_they_are_though_nothing_is_said(own: Path) -> None:
    """Landlock has no rules for them, so the filter says yes and does nothing."""
    before = own.stat()

    found = await outcomes(
        """
        attempt("chmod", lambda: os.chmod(sys.argv[1], 0o777))
        attempt("utime", lambda: os.utime(sys.argv[1], (0, 0)))
        attempt("fchmod", lambda: os.chmod(os.open("/usr/bin/python3", os.O_RDONLY), 0o777))
        """,
        str(own),
    )

    after = own.stat()
    assert set(found.values()) == {"LEAK"}
    assert (after.st_mode, after.st_mtime_ns, after.st_ctime_ns) == (
        before.st_mode,
        before.st_mtime_ns,
        before.st_ctime_ns,
    )


@pytest.mark.sandbox
async def test_files_can_be_copied_moved_and_run_in_the_workspace() -> None:
    guest = await run(
        """
        import os, shutil, subprocess, tempfile
        shutil.copy2("main.py", "copy.py")
        shutil.copytree(".", tempfile.mkdtemp() + "/all")
        os.makedirs("a/b")
        os.replace("copy.py", os.path.join(tempfile.gettempdir(), "moved.py"))
        os.link("main.py", "a/linked")
        os.truncate("a/linked", 0)
        with open(os.open("x.sh", os.O_CREAT | os.O_WRONLY, 0o700), "w") as file:
            file.write("#!/bin/sh\\necho from a script")
        print(subprocess.run(["./x.sh"], capture_output=True, text=True).stdout)
        shutil.rmtree("a")
        open("/dev/null", "w").write("x")
        print(len(open("/dev/urandom", "rb").read(4)), sorted(os.listdir(".")))
        """,
        sandbox="landlock",
    )

    assert guest.errors == ""
    assert guest.text == "from a script\n\n4 ['main.py', 'x.sh']\n"


@pytest.mark.sandbox
@pytest.mark.case(29, 32, sandbox="landlock")
async def test_files_of_the_system_and_processes_can_t_be_read_or_listed() -> None:
    found = await outcomes(
        f"""
        for path in ("/etc/passwd", "/etc/machine-id", "/etc/hostname", "/proc/1/cmdline",
                     "/proc/{os.getpid()}/environ", "/proc/{os.getpid()}/status", "/proc/self/mounts",
                     "/proc/self/mem", "/proc/self/net/unix", "/proc/net/tcp", "/proc/meminfo",
                     "/proc/sys/kernel/core_pattern", "/dev/tty", "/dev/ptmx"):
            if os.path.lexists(path):
                attempt(path, lambda: open(path).read(1))
        for path in ("/", "/proc", "/proc/self", "/etc", "/home", "/tmp", "/dev", "/dev/shm", "/sys",
                     "/run", "/var", "/proc/{os.getpid()}/fd", "{PASSABLE}", "..", "../.."):
            attempt("list " + path, lambda: os.listdir(path))
        for path in ("/tmp/lmb-x", "/dev/shm/lmb-x", "/lmb-x", "/usr/lmb-x", "/run/lmb-x", "/etc/lmb-x", "../x", "../launch/x",
                     "../launch/start.py", "/proc/self/oom_score_adj", "/proc/self/comm"):
            attempt("write " + path, lambda: os.open(path, os.O_WRONLY | os.O_CREAT))
        attempt("link", lambda: os.readlink("/proc/{os.getpid()}/exe"))
        """
    )

    assert set(found.values()) <= {"EACCES", "ENXIO", "EPERM"}, found
    assert len(found) > 30


@pytest.mark.sandbox
@pytest.mark.case(34, 35, 108, sandbox="landlock")
async def test_other_processes_of_the_user_can_t_be_touched() -> None:
    victim = subprocess.Popen(["/bin/sleep", "60"])
    with victim:
        before = psutil.Process(victim.pid)
        priority, limits = before.nice(), before.rlimit(psutil.RLIMIT_NOFILE)
        found = await outcomes(
            """
            import ctypes, resource, signal
            pid = int(sys.argv[1])
            for number in (0, signal.SIGKILL, signal.SIGSTOP):
                attempt(f"kill {number}", lambda: os.kill(pid, number))
            attempt("pidfd", lambda: signal.pidfd_send_signal(os.pidfd_open(pid), 9))
            attempt("group", lambda: os.killpg(os.getpgid(pid), 9))
            attempt("limit", lambda: resource.prlimit(pid, resource.RLIMIT_NOFILE, (1, 1)))
            attempt("nice", lambda: os.setpriority(os.PRIO_PROCESS, pid, 19))
            attempt("nice all", lambda: os.setpriority(os.PRIO_USER, 0, 19))
            attempt("bind", lambda: os.sched_setaffinity(pid, [0]))
            attempt("idle", lambda: os.sched_setscheduler(pid, os.SCHED_IDLE, os.sched_param(0)))
            os.sched_setaffinity(0, os.sched_getaffinity(0))
            resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
            """,
            str(victim.pid),
        )
        after = psutil.Process(victim.pid)
        assert (after.nice(), after.rlimit(psutil.RLIMIT_NOFILE)) == (priority, limits)
        assert victim.poll() is None
        victim.kill()

    assert set(found.values()) == {"EPERM"}, found


@pytest.mark.sandbox
@pytest.mark.case(35, sandbox="landlock")
async def test_a_signal_to_everybody_reaches_the_runtime_s_own_alone() -> None:
    """Sandbox.md case 35: its other processes die, and nobody outside does."""
    guest = await run(
        """
        import os, signal, time
        child = os.fork()
        if child == 0:
            time.sleep(60)
        os.kill(-1, signal.SIGKILL)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
        for pid in (os.getppid(), 1):
            try:
                os.kill(pid, signal.SIGKILL)
                print("LEAK")
            except PermissionError:
                print("refused")
        """,
        sandbox="landlock",
    )

    assert guest.text == "-9\nrefused\nrefused\n"
    assert guest.ended == Ended(0, None, clean=True)


@pytest.mark.sandbox
@pytest.mark.case(51, 104, sandbox="landlock")
async def test_shared_memory_and_queues_of_the_user_can_t_be_reached() -> None:
    found = await outcomes(
        """
        import ctypes
        libc = ctypes.CDLL(None, use_errno=True)
        def call(name, *arguments):
            def action():
                if getattr(libc, name)(*arguments) < 0:
                    raise OSError(ctypes.get_errno(), "")
            attempt(name, action)
        for name in ("shmat", "shmget", "msgget", "semget", "inotify_init", "inotify_init1"):
            call(name, 0, 0, 0)
        call("shmctl", 0, 13, ctypes.create_string_buffer(256))
        call("mq_open", b"/lmboot", os.O_RDWR | os.O_CREAT, 0o600, None)
        """
    )

    assert set(found.values()) <= {"EPERM", "ENOSYS"}, found


@pytest.mark.sandbox
async def test_what_it_is_and_what_it_may() -> None:
    guest = await run(
        """
        import os
        print(os.getuid(), os.getgid(), os.getgroups(), *os.getresuid())
        for action in (lambda: os.setuid(0), lambda: os.setgroups([0]), lambda: os.chroot("/")):
            try:
                action()
                print("LEAK")
            except PermissionError:
                print("refused")
        """,
        sandbox="landlock",
    )

    first, *others = guest.text.splitlines()
    user = int(first.split()[0])
    assert user in UIDS if os.geteuid() == 0 else user == os.geteuid()
    assert others == ["refused"] * 3


# ---------------------------------------------------------------- limits by looking

MAPPED = """
import ctypes, os
libc = ctypes.CDLL(None)
libc.mmap.restype, libc.mmap.argtypes = ctypes.c_void_p, [ctypes.c_void_p, *[ctypes.c_long] * 5]
for n in range(40):
    file = os.open(str(n), os.O_RDWR | os.O_CREAT)
    os.write(file, bytes(1 << 20))
    libc.mmap(None, 4096, 1, 1, file, 0)  # its first page; nothing else holds on to the file
    os.unlink(str(n))
    os.close(file)
"""


@pytest.mark.sandbox
@pytest.mark.parametrize(
    "program",
    [
        "for n in range(40): open(str(n), 'wb').write(bytes(1 << 20))",
        "import os\nos.makedirs('/'.join('d' * 30))\nos.chdir('/'.join('d' * 30))\n"
        "for n in range(40): open(str(n), 'wb').write(bytes(1 << 20))",
        "import tempfile\nkept = [tempfile.TemporaryFile() for _ in range(40)]\n"
        "for file in kept: file.write(bytes(1 << 20)); file.flush()",
        "import tempfile\nfor n in range(40): tempfile.NamedTemporaryFile(delete=False).write(bytes(1 << 20))",
        "import os\nos.makedirs('/'.join('d' * 80))",
        "import os\nos.mkdir('d', 0)",
        "n = 0\nwhile n < 25_000:\n    open(str(n), 'w').close()\n    n += 1",
        "import ctypes, tempfile\nctypes.CDLL(None).prctl(4, 0, 0, 0, 0)\n"  # PR_SET_DUMPABLE
        "kept = [tempfile.TemporaryFile() for _ in range(40)]\n"
        "for file in kept: file.write(bytes(1 << 20)); file.flush()",
        MAPPED,
    ],
    ids=[
        *("files", "folders", "without names", "TMPDIR", "depth", "unreadable", "number"),
        *("hidden", "mapped"),
    ],
)
@pytest.mark.case(57, sandbox="landlock")
async def test_a_runtime_that_keeps_too_much_is_ended(program: str) -> None:
    guest = await run(
        program + "\nimport time\ntime.sleep(20)",
        limits=Limits(disk_mb=8, wall_seconds=30),
        sandbox="landlock",
    )

    assert guest.ended == Ended(137, "disk", clean=True), guest.errors


@pytest.mark.sandbox
async def test_what_is_within_the_limit_may_stay() -> None:
    guest = await run(
        """
        import os, time
        for n in range(30):
            open(f"{n % 3}", "wb").write(bytes(2 << 20))
            time.sleep(0.02)
        os.link("0", "again")
        time.sleep(0.6)
        print("fine")
        """,
        limits=Limits(disk_mb=8),
        sandbox="landlock",
    )

    assert (guest.text, guest.ended) == ("fine\n", Ended(0, None, clean=True))


# ---------------------------------------------------------------- the end of the tree

STORM = """
    import os, signal, time
    for number in range(1, 32):
        if number not in (signal.SIGKILL, signal.SIGSTOP):
            signal.signal(number, signal.SIG_IGN)
    def storm():
        while True:
            try:
                if os.fork():
                    os._exit(0)  # nobody keeps its number for long
                os.setsid()
                os.closerange(1, 64)
            except OSError:
                pass
    for _ in range(8):
        if os.fork() == 0:
            storm()
    os.write(1, b"ready\\n")
    storm() if STORMS else time.sleep(60)
    """


@pytest.mark.sandbox
@pytest.mark.parametrize("storms", [True, False], ids=["main too", "children"])
@pytest.mark.case(117, sandbox="landlock")
async def test_a_storm_of_forks_leaves_nothing(storms: bool) -> None:
    program = f"STORMS = {storms}\n" + textwrap.dedent(STORM)
    async with started(program, sandbox="landlock", limits=Limits(cpu_seconds=60)) as guest:
        await guest.until(b"ready\n")
        await asyncio.sleep(0.3)
        began = time.monotonic()

        await guest.stop()
        took = time.monotonic() - began

    assert guest.ended is not None
    assert guest.ended.clean
    assert took < 2.0
    assert await asyncio.to_thread(leaks.wait_until, lambda: not leaks.processes(), 2.0)


@pytest.mark.sandbox
async def test_what_was_written_comes_out_and_the_folder_is_gone(tmp_path: Path) -> None:
    program = """
        import os
        os.mkdir("d")
        open("d/new", "w").write("x" * 100)
        os.symlink("/etc/passwd", "link")
        print(os.getcwd())
        """
    async with started({"main.py": program, "kept": "x"}, sandbox="landlock") as guest:
        await guest.finish()
        report = await guest.runtime.copy_out(tmp_path / "keep")

    workspace = Path(guest.text.strip()).parent
    assert report.copied == ("d/new",)
    assert [name for name, _ in report.refused] == ["link"]
    assert not workspace.exists()


@pytest.mark.sandbox
@pytest.mark.case(114, sandbox="landlock")
async def test_two_runs_can_t_reach_each_other() -> None:
    async with started(
        "import os, time; print(os.getcwd(), os.getpid()); time.sleep(60)", sandbox="landlock"
    ) as one:
        await one.until(b"\n")
        folder, pid = one.text.split()
        found = await outcomes(
            """
            attempt("list", lambda: os.listdir(sys.argv[1]))
            attempt("read", lambda: open(sys.argv[1] + "/main.py").read())
            attempt("kill", lambda: os.kill(int(sys.argv[2]), 9))
            """,
            folder,
            pid,
        )
        await one.stop()

    assert set(found.values()) == {"EACCES", "EPERM"}
