"""Ways out and around that the reference does not name: cases 103 to 121, in every back end."""
# ruff: noqa: E501 (programs that are easier to read unbroken)

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from lmboot.process import Ended
from lmboot.runtime.operations import Notify
from lmboot.runtime.policy import Limits
from lmboot.runtime.seccomp import DENIED
from tests.attacks.probes import REFUSED, leaks, numbers, outcomes
from tests.runtime.brokers import Record, all_routes
from tests.runtime.guests import run, started

pytestmark = [
    pytest.mark.attack,
    pytest.mark.sandbox,
    pytest.mark.usefixtures("sandbox"),
]


@pytest.fixture
def canary() -> Iterator[Path]:
    """A file of the user's where everybody may go, and read and write."""
    folder = Path(f"/var/tmp/lmboot-canary-{os.getpid()}")
    folder.mkdir(mode=0o755)
    path = folder / "canary"
    path.write_text("canary")
    path.chmod(0o666)
    folder.chmod(0o777)
    yield path
    assert path.read_text() == "canary"
    assert os.listdir(folder) == ["canary"]
    path.unlink()
    folder.rmdir()


@pytest.mark.case(103)
async def test_case_103_magic_links_of_proc_lead_nowhere(canary: Path) -> None:
    found = await outcomes(
        """
        path = sys.argv[1]
        roots = ["/proc/self/root", "/proc/1/root", "/proc/self/cwd/../../../../..", "/proc/thread-self/root",
                 "/dev/fd/0/../../..", "/proc/self/task/../root", "/oldroot", "/newroot"]
        for n, folder in enumerate(("/", "/usr", ".", "/proc/self/fd")):
            try:
                fd = os.open(folder, os.O_PATH | os.O_DIRECTORY)
            except OSError:
                continue
            roots += [f"/proc/self/fd/{fd}", f"/proc/self/fd/{fd}/..", f"/proc/self/fd/{fd}/../.."]
            attempt(f"at {folder}", lambda: os.open("../../../../.." + path, os.O_RDONLY, dir_fd=fd))
        for n, root in enumerate(roots):
            attempt(f"open {root}", lambda: os.open(root + path, os.O_RDONLY))
            os.symlink(root + path, f"link{n}")
            attempt(f"link {root}", lambda: open(f"link{n}").read())
            attempt(f"make {root}", lambda: os.open(os.path.dirname(root + path) + "/new", os.O_CREAT | os.O_WRONLY))
        """,
        str(canary),
    )

    assert set(found.values()) <= {*REFUSED, "ELOOP", "ENOTDIR"}, found


@pytest.mark.case(104)
async def test_case_104_nobody_is_told_what_the_user_starts() -> None:
    """/usr is the host's own, however it is mounted: whoever watches it sees what is started."""
    names = ("inotify_init1", "fanotify_init", "cachestat")
    calls = {name: numbers(DENIED)[name] for name in names}

    found = await outcomes(
        """
        fcntl = have("fcntl")
        for folder in ("/usr/bin", "/usr/lib", "/", "."):
            attempt(f"notify {folder}", lambda: fcntl.fcntl(os.open(folder, os.O_RDONLY), 0x402, 1))
        for name, number in eval(sys.argv[1]).items():
            call(name, number, 0, 0)
        """,
        str(calls),
    )

    assert set(found.values()) <= REFUSED, found


@pytest.mark.case(106)
async def test_case_106_code_without_a_name_has_no_more_rights() -> None:
    """A program that lies in memory, or in a file without a name, is filtered like its parent."""
    guest = await run(
        """
        import os, shutil, sys
        try:
            os.memfd_create("x")
            print("LEAK")
        except OSError:
            pass
        shutil.copy(os.path.realpath(sys.executable), "mine")
        os.chmod("mine", 0o700)
        fd = os.open("mine", os.O_RDONLY)
        os.unlink("mine")
        look = "import ctypes; c = ctypes.CDLL(None); print(c.prctl(39, 0, 0, 0, 0), c.prctl(21, 0, 0, 0, 0), c.unshare(0x10000000))"
        sys.stdout.flush()
        try:
            os.execve(fd, ["python3", "-I", "-S", "-c", look], {"PATH": "/usr/bin"})
        except OSError as error:
            print(1, 2, -1)  # nor can it be run at all
        """
    )

    assert guest.text == "1 2 -1\n", guest.errors


@pytest.fixture
def victim() -> Iterator[psutil.Popen]:
    """A process of the user's, which is there at the end as it was at the beginning."""
    with psutil.Popen(["/bin/sleep", "600"]) as process:
        before = process.nice(), process.cpu_affinity(), process.ionice()
        yield process
        running = process.poll() is None
        after = (process.nice(), process.cpu_affinity(), process.ionice()) if running else None
        process.kill()
    assert after == before


@pytest.mark.case(108)
async def test_case_108_no_right_of_way_over_the_user_s_processes(victim: psutil.Popen) -> None:
    found = await outcomes(
        """
        resource = have("resource")
        for name in ("SCHED_FIFO", "SCHED_RR"):
            attempt(name, lambda: os.sched_setscheduler(0, getattr(os, name), os.sched_param(50)))
        attempt("nice", lambda: os.nice(-10))
        attempt("priority", lambda: os.setpriority(os.PRIO_PROCESS, 0, -20))
        pid = int(sys.argv[1])
        attempt("its priority", lambda: os.setpriority(os.PRIO_PROCESS, pid, 19))
        attempt("its processors", lambda: os.sched_setaffinity(pid, [0]))
        attempt("its limits", lambda: resource.prlimit(pid, resource.RLIMIT_CPU, (1, 1)))
        """,
        str(victim.pid),
    )

    assert leaks(found) == []


@pytest.mark.case(110)
async def test_case_110_no_handle_of_a_process_of_the_host_is_of_use(victim: psutil.Popen) -> None:
    found = await outcomes(
        """
        signal = have("signal")
        for pid in map(int, sys.argv[1:]):
            attempt(f"signal {pid}", lambda: signal.pidfd_send_signal(os.pidfd_open(pid), 9))
        """,
        *(str(pid) for pid in (victim.pid, os.getpid(), os.getppid(), 1)),
    )

    # Number 1 may be its own sandbox's first process, which ignores it.
    assert set(leaks(found)) <= {"signal 1"}


@pytest.mark.case(111)
async def test_case_111_the_launcher_s_own_files_stay_what_they_are() -> None:
    spoil = """
        import os, sys
        for folder in [os.path.dirname(sys.modules["guest_sys"].__file__), *sys.path]:
            for name in ("guest_sys.py", "start.py", "../start.py", "../confine.py", "sitecustomize.py"):
                path = os.path.join(folder, name)
                if os.path.realpath(path).startswith(os.getcwd() + "/"):
                    continue
                for action in (lambda: open(path, "w").write("print('spoilt')"), lambda: os.unlink(path),
                               lambda: os.rename(path, path + "x")):
                    try:
                        action()
                    except OSError:
                        continue
                    print("LEAK", path)
        """
    guest = await run("import guest_sys\n" + spoil.replace("\n        ", "\n"))
    again = await run("import guest_sys; print(guest_sys.read.__name__)")

    assert guest.text == ""
    assert (again.text, again.errors) == ("read\n", "")


@pytest.mark.case(112)
async def test_case_112_names_that_deceive_are_not_copied_out(tmp_path: Path) -> None:
    async with started(
        r"""
        import os
        names = ["gnp.\u202eyp.exe", "a\nb", "\x1b[31m", "CON", "...", "a\u200bb", "x ", "a\\b", "c:d"]
        for name in [*names, b"\xff\xfe", "fine.txt"]:
            try:
                open(name, "w").close()
            except OSError:
                pass
        """
    ) as guest:
        await guest.finish()
        report = await guest.runtime.copy_out(tmp_path / "kept")

    assert report.copied == ("fine.txt",)
    assert os.listdir(tmp_path / "kept") == ["fine.txt"]


@pytest.mark.case(113)
async def test_case_113_nothing_is_to_be_set_through_proc() -> None:
    found = await outcomes(
        """
        own = ("oom_score_adj", "oom_adj", "uid_map", "gid_map", "setgroups", "attr/current", "attr/exec",
               "coredump_filter", "autogroup", "clear_refs", "timerslack_ns", "sched")
        others = ("sys/kernel/core_pattern", "sys/kernel/modprobe", "sys/vm/overcommit_memory", "sysrq-trigger",
                  "sys/kernel/randomize_va_space", "irq/0/smp_affinity", "bus/pci/00/00.0", "kcore")
        for path in [*("self/" + name for name in own), *others]:
            attempt(path, lambda: os.open("/proc/" + path, os.O_WRONLY))
        for path in ("/sys/kernel/mm/transparent_hugepage/enabled", "/sys/fs/cgroup/cgroup.procs", "/sys/power/state"):
            attempt(path, lambda: os.open(path, os.O_WRONLY))
        """
    )

    assert set(found.values()) <= REFUSED, found


LEAVE_AND_LOOK = """
import os
places = {os.environ["HOME"], os.environ["TMPDIR"], "/dev/shm", "/tmp", "/var/tmp", "/run/lock"}
for place in sorted(places):
    try:
        if any(name.startswith("left-") for name in os.listdir(place)):
            print("LEAK", place)
    except OSError:
        pass
    try:
        open(place + "/left-behind", "w").write("x")
    except OSError:
        pass
print("done", flush=True)
input()
"""


@pytest.mark.case(114)
async def test_case_114_a_run_finds_nothing_of_another_before_or_beside_it() -> None:
    for _ in range(2):
        async with started(LEAVE_AND_LOOK) as one, started(LEAVE_AND_LOOK) as two:
            for guest in (one, two):
                await guest.until(b"done\n")
                assert guest.text == "done\n"
            await asyncio.gather(one.stop(), two.stop())


@pytest.mark.case(115)
async def test_case_115_files_that_only_a_mapping_holds_count() -> None:
    guest = await run(
        """
        import ctypes, os, time
        libc = ctypes.CDLL(None)
        libc.prctl(4, 0, 0, 0, 0)  # nobody may look into this process
        libc.mmap.restype, libc.mmap.argtypes = ctypes.c_void_p, [ctypes.c_void_p, *[ctypes.c_long] * 5]
        try:
            for n in range(24):
                file = os.open(str(n), os.O_RDWR | os.O_CREAT)
                os.write(file, bytes(1 << 20))
                libc.mmap(None, 4096, 1, 1, file, 0)
                os.unlink(str(n))
                os.close(file)
        except OSError as error:
            raise SystemExit("refused")
        time.sleep(20)
        """,
        limits=Limits(disk_mb=8, wall_seconds=15),
    )

    assert guest.ended is not None
    assert guest.ended.limit == "disk" or guest.errors == "refused\n"


@pytest.mark.case(116)
async def test_case_116_zombies_are_counted_and_go() -> None:
    program = """
        import os, time
        count = 0
        try:
            while count < 500:
                if os.fork() == 0:
                    os._exit(0)
                count += 1
        except OSError:
            pass
        print(count)
        time.sleep(2)  # to be looked at
        """
    guest = await run(program, limits=Limits(processes=32))

    assert guest.ended is not None
    assert guest.ended.clean
    assert guest.ended.limit == "processes" or int(guest.text) <= 40


@pytest.mark.case(117)
async def test_case_117_a_storm_of_forks_does_not_outrun_the_end() -> None:
    """Each makes the next and ends: no process is there for long, and every number is new."""
    program = """
        import os, signal
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        for _ in range(8):
            if os.fork() == 0:
                os.setsid()
                while True:
                    try:
                        if os.fork():
                            os._exit(0)
                    except OSError:
                        pass
        print("ready", flush=True)
        signal.pause()
        """
    async with started(program) as guest:
        await guest.until(b"ready\n")
        await guest.stop()

    assert guest.ended == Ended(137, None, clean=True)


@pytest.mark.case(119)
async def test_case_119_descriptors_can_not_be_parked_in_sockets_without_end() -> None:
    guest = await run(
        """
        import array, os, socket
        parked, pairs = 0, []
        held = [os.open("main.py", os.O_RDONLY) for _ in range(60)]
        try:
            while parked < 20_000:
                pairs.append(socket.socketpair())
                for side in pairs[-1]:
                    side.setblocking(False)
                try:
                    while parked < 20_000:
                        socket.send_fds(pairs[-1][0], [b"x"], held)
                        parked += len(held)
                except BlockingIOError:
                    pass
        except OSError as error:
            print(parked <= 1024)
        """
    )

    assert guest.text == "True\n", guest.errors


@pytest.mark.case(120)
async def test_case_120_a_child_that_keeps_the_channel_is_not_served_after_the_end() -> None:
    """The main program ends; its child, in a session of its own, goes on asking."""
    shown: list[str] = []
    audit = Record()
    program = r"""
        import json, os, signal, time
        channel = int(os.environ["LMBOOT_FD"])
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        if os.fork() == 0:
            os.setsid()
            os.closerange(0, 3)
            for n in range(1, 10**9):
                os.write(channel, b'{"id":%d,"op":"notify","args":{"text":"%d"}}\n' % (n, n))
                os.read(channel, 65536)
                time.sleep(0.001)
        time.sleep(0.3)
        os._exit(0)
        """
    async with started(program) as guest:
        broker = guest.runtime.broker(all_routes(), [Notify(shown.append)], audit)
        served = asyncio.create_task(broker.serve())
        await guest.finish()
        assert await asyncio.wait_for(served, 10) in ("hung_up", "lost")
        at_the_end = len(shown)
        await asyncio.sleep(0)

    assert guest.ended == Ended(0, None, clean=True)
    assert at_the_end == len(shown) > 0


@pytest.mark.case(121)
async def test_case_121_time_used_by_turns_is_one_sum() -> None:
    """No process uses much of it, and nobody waits for any: together they use it up."""
    guest = await run(
        """
        import os, signal, time
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        while True:
            if os.fork() == 0:
                end = time.process_time() + 0.1
                while time.process_time() < end:
                    pass
                os._exit(0)
            time.sleep(0.1)
        """,
        limits=Limits(cpu_seconds=1.5, wall_seconds=60),
    )

    assert guest.ended == Ended(137, "cpu", clean=True)
