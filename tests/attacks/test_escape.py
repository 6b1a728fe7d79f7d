"""Escape and snooping: sandbox.md, cases 28 to 54, against the real sandbox."""
# ruff: noqa: E501, ASYNC240 (programs that are easier to read unbroken; nothing else in the loop)

from __future__ import annotations

import errno
import hashlib
import os
import socket
import textwrap
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from lmboot.process import UIDS
from lmboot.runtime import seccomp
from tests.runtime.guests import run, started

pytestmark = [pytest.mark.attack, pytest.mark.sandbox]

# What only a sandbox with a view of its own can promise: the host's things are not there. Where they
# are refused instead, see tests/runtime/test_landlock.py.
HIDING = pytest.mark.parametrize("sandbox", ["bubblewrap"], indirect=True)

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
    guest = await run({"main.py": TRY + textwrap.dedent(program)}, *arguments)
    assert guest.errors == ""
    return dict(line.split(": ", 1) for line in guest.text.splitlines())


@pytest.fixture
def canary(tmp_path: Path) -> Iterator[Path]:
    path = Path.home() / f".lmboot-canary-{os.getpid()}"
    path.write_text("canary")
    path.chmod(0o644)
    yield path
    path.unlink()


async def test_case_28_secrets_of_the_user(canary: Path, sandbox: str) -> None:
    found = await outcomes(
        """
        for path in sys.argv[1:]:
            attempt(path, lambda: open(path).read())
            attempt(path + "/", lambda: os.listdir(path))
        """,
        *(str(canary), str(Path.home()), "/root/.ssh", "/root/.aws", "/home", "/mnt", "/work"),
    )

    assert set(found.values()) == {"ENOENT" if sandbox == "bubblewrap" else "EACCES"}


@HIDING
async def test_case_29_files_of_the_system() -> None:
    names = ["passwd", "shadow", "machine-id", "hostname", "resolv.conf", "hosts", "ssl", "fstab"]
    found = await outcomes(
        "for n in sys.argv[1:]: attempt(n, lambda: os.stat('/etc/' + n))\n"
        "for n in ('sys', 'boot', 'var', 'home', 'opt', 'srv'): attempt(n, lambda: os.stat('/' + n))",
        *names,
    )

    assert set(found.values()) == {"ENOENT"}


@HIDING
async def test_case_30_writing_where_nothing_may_be_written() -> None:
    found = await outcomes(
        """
        for path in ("/usr/x", "/usr/bin/python3", "/usr/lib/x", "/etc/x", "/x", "/bin/x", "/run/x",
                     "/run/lmboot/start.py", "/run/lmboot/lib/guest_sys.py", "/dev/x", "/root/x",
                     "/proc/sys/kernel/core_pattern", "/proc/sysrq-trigger", "/proc/self/oom_score_adj"):
            attempt(path, lambda: os.open(path, os.O_WRONLY | os.O_CREAT))
        attempt("chmod", lambda: os.chmod("/run/lmboot/start.py", 0o777))
        attempt("rename", lambda: os.rename("/run/lmboot/start.py", "/run/lmboot/x"))
        attempt("unlink", lambda: os.unlink("/run/lmboot/start.py"))
        """
    )

    assert set(found.values()) <= {"EROFS", "EACCES", "ENOENT", "EPERM"}, found


ENVIRONMENT = """
import ctypes
start = ctypes.c_void_p.in_dll(ctypes.CDLL(None), "environ").value  # what the process was given
while ctypes.c_char_p.from_address(start).value is not None:
    print(ctypes.c_char_p.from_address(start).value.decode())
    start += ctypes.sizeof(ctypes.c_char_p)
"""


async def test_case_31_the_environment(sandbox: str) -> None:
    guest = await run(ENVIRONMENT)

    names = {line.split("=")[0] for line in guest.text.split("\n") if line}
    assert names - {"PWD"} == {"PATH", "LANG", "HOME", "TMPDIR", "LMBOOT_FD", "LMBOOT_ROUTES"}


@HIDING
async def test_case_32_other_processes() -> None:
    guest = await run(
        f"""
        import os
        pids = sorted(int(n) for n in os.listdir("/proc") if n.isdigit())
        print(pids)
        print([open(f"/proc/{{p}}/cmdline").read().split("\\0")[0] for p in pids])
        print(sorted(os.listdir("/proc/self/root/")) == sorted(os.listdir("/")))
        try:
            print(sorted(os.listdir("/proc/1/root/")) == sorted(os.listdir("/")))
        except OSError:
            print(True)
        print(os.path.exists("/proc/{os.getpid()}"))
        """
    )

    assert guest.text.splitlines() == [
        "[1, 2]",
        "['/usr/bin/bwrap', '/usr/bin/python3']",
        "True",
        "True",
        "False",
    ]


async def test_case_33_descriptors() -> None:
    guest = await run(
        """
        import os
        for n in range(4096):
            try:
                os.fstat(n)
            except OSError:
                continue
            print(n, os.readlink(f"/proc/self/fd/{n}").split(":")[0])
        """
    )

    assert guest.text.splitlines() == ["0 pipe", "1 pipe", "2 pipe", "3 socket"]


CALL = """
import ctypes, errno
libc = ctypes.CDLL(None, use_errno=True)
def call(name, number, *arguments):
    ctypes.set_errno(0)
    result = libc.syscall(ctypes.c_long(number), *map(ctypes.c_long, arguments))
    print(f"{name}: {errno.errorcode[ctypes.get_errno()] if result < 0 else 'LEAK'}")
"""


async def test_cases_34_41_42_44_every_call_of_the_tables() -> None:
    column = seccomp.ARCHES[os.uname().machine].column
    numbers = {
        name: row[column]
        for name, row in {**seccomp.DENIED, **seccomp.ABSENT}.items()
        if row[column] is not None
    }
    guest = await run(
        CALL + "\n".join(f"call({n!r}, {k}, 0, 0, 0, 0)" for n, k in numbers.items())
    )

    found = dict(line.split(": ") for line in guest.text.splitlines())
    expected = {name: "ENOSYS" if name in seccomp.ABSENT else "EPERM" for name in numbers}
    assert found == expected


@HIDING
async def test_case_35_signals_to_everybody() -> None:
    guest = await run(
        f"""
        import os, signal
        for pid in ({os.getpid()}, {os.getppid()}):
            try:
                os.kill(pid, 9)
                print("LEAK")
            except ProcessLookupError:
                print("none")
        print("last")
        try:
            os.kill(-1, 9)
        except ProcessLookupError:
            print("alone")
        """
    )

    assert guest.text == "none\nnone\nlast\nalone\n"


@pytest.fixture
def visits() -> Iterator[tuple[int, list[object]]]:
    """A server on the host's loopback that notes who comes."""
    came: list[object] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            try:
                while True:
                    came.append(server.accept())
            except OSError:
                return

        thread = threading.Thread(target=serve)
        thread.start()
        yield server.getsockname()[1], came
        server.shutdown(socket.SHUT_RDWR)
        thread.join()


async def test_case_36_servers_of_the_host_and_of_the_net(
    visits: tuple[int, list[object]],
) -> None:
    port, came = visits
    found = await outcomes(
        f"""
        import socket, urllib.request
        for address in ("127.0.0.1", "169.254.169.254", "192.168.0.1", "8.8.8.8"):
            attempt(address, lambda: socket.create_connection((address, {port}), 1))
        attempt("::1", lambda: socket.create_connection(("::1", {port}), 1))
        attempt("url", lambda: urllib.request.urlopen("http://127.0.0.1:{port}/"))
        """
    )

    assert "LEAK" not in found.values()
    assert came == []


async def test_case_37_every_family_of_sockets() -> None:
    found = await outcomes(
        """
        import socket
        for family in range(46):
            for kind in (1, 2, 3, 5):
                attempt(f"{family}/{kind}", lambda: socket.socket(family, kind))
        """
    )

    assert set(found.values()) == {"EAFNOSUPPORT"}


async def test_cases_38_39_sockets_of_the_desktop(tmp_path: Path) -> None:
    abstract = f"lmboot-attack-{os.getpid()}"
    with socket.socket(socket.AF_UNIX) as one, socket.socket(socket.AF_UNIX) as two:
        one.bind(f"\0{abstract}")
        two.bind(str(tmp_path / "socket"))
        one.listen()
        two.listen()
        found = await outcomes(
            """
            import socket
            def connect(address):
                with socket.socket(socket.AF_UNIX) as s:
                    s.connect(address)
            attempt("abstract", lambda: connect("\\0" + sys.argv[1]))
            attempt("path", lambda: connect(sys.argv[2]))
            for path in ("/tmp/.X11-unix", "/run/user", "/run/dbus", "/var/run/docker.sock", sys.argv[2]):
                attempt(path, lambda: os.open(path, os.O_RDONLY))
            """,
            abstract,
            str(tmp_path / "socket"),
        )

    assert set(found.values()) <= {"EAFNOSUPPORT", "ENOENT", "EACCES", "ENXIO"}
    assert (found["abstract"], found["path"]) == ("EAFNOSUPPORT", "EAFNOSUPPORT")


async def test_the_pair_of_sockets_that_is_needed_can_be_made() -> None:
    guest = await run(
        """
        import asyncio, socket
        a, b = socket.socketpair()
        a.send(b"x")
        print(b.recv(1))
        asyncio.run(asyncio.sleep(0))
        try:
            socket.socketpair(socket.AF_INET)
        except OSError as error:
            print(error.strerror)
        """
    )

    assert guest.text == "b'x'\nAddress family not supported by protocol\n"


async def test_case_43_namespaces() -> None:
    column = seccomp.ARCHES[os.uname().machine].column
    unshare = seccomp.DENIED["unshare"][column]
    clone = seccomp.ARCHES[os.uname().machine].clone
    flags = [0x20000, 0x10000000, 0x20000000, 0x40000000, 0x4000000, 0x8000000, 0x2000000]
    lines = [f"call('unshare {flag:x}', {unshare}, {flag})" for flag in flags]
    lines += [f"call('clone {flag:x}', {clone}, {flag | 17}, 0, 0, 0, 0)" for flag in flags]
    lines += [
        "print('filters:', libc.prctl(21, 0, 0, 0, 0))",  # PR_GET_SECCOMP
    ]

    guest = await run(CALL + "\n".join(lines))

    found = dict(line.split(": ") for line in guest.text.splitlines())
    assert found.pop("filters") == "2"
    assert set(found.values()) == {"EPERM"}


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="of x86_64 alone")
async def test_case_45_calls_in_other_dialects() -> None:
    guest = await run(CALL + "print('before')\ncall('x32', 0x40000000 | 39)\nprint('after')")

    assert guest.text == "before\n"
    assert guest.code == 128 + 31  # SIGSYS


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="of x86_64 alone")
async def test_case_45_calls_of_the_old_architecture() -> None:
    guest = await run(
        """
        import ctypes, mmap
        # mov eax, 20 (getpid); int 0x80; ret
        code = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
        code.write(b"\\xb8\\x14\\x00\\x00\\x00\\xcd\\x80\\xc3")
        address = ctypes.addressof(ctypes.c_char.from_buffer(code))
        print("before")
        print("after", ctypes.CFUNCTYPE(ctypes.c_int)(address)())
        """
    )

    assert guest.text == "before\n"
    assert guest.code in (128 + 31, 128 + 11)  # SIGSYS; SIGSEGV where the kernel has no 32 bits


@HIDING
async def test_case_46_typing_into_the_host_s_terminal() -> None:
    found = await outcomes(
        """
        import fcntl, pty, termios
        attempt("tty", lambda: os.open("/dev/tty", os.O_RDWR))
        attempt("console", lambda: os.open("/dev/console", os.O_RDWR))
        mine, its = pty.openpty()
        attempt("TIOCSTI", lambda: fcntl.ioctl(its, termios.TIOCSTI, b"x"))
        attempt("TIOCSTI with more bits", lambda: fcntl.ioctl(0, termios.TIOCSTI, b"x"))
        attempt("TIOCLINUX", lambda: fcntl.ioctl(its, 0x541C, b"\\x03"))
        """
    )

    assert found == {
        "tty": "ENXIO",
        "console": "ENOENT",
        "TIOCSTI": "EPERM",
        "TIOCSTI with more bits": "EPERM",
        "TIOCLINUX": "EPERM",
    }


async def test_case_47_programs_with_their_owner_s_rights(sandbox: str) -> None:
    guest = await run(
        """
        import ctypes, os, shutil, subprocess
        print(ctypes.CDLL(None).prctl(39, 0, 0, 0, 0))  # PR_GET_NO_NEW_PRIVS
        for name in ("su", "sudo", "mount", "passwd", "newgrp"):
            path = shutil.which(name)
            if path:
                done = subprocess.run([path], stdin=subprocess.DEVNULL, capture_output=True)
                print(name, done.returncode == 0 and name not in ("mount",))
        try:
            os.setuid(0)
        except OSError as error:
            print(error.errno)
        """
    )

    lines = guest.text.splitlines()
    assert lines[0] == "1"
    assert not any(line.endswith("True") for line in lines[1:])
    # In a user namespace there is no such user; outside, he may not become him.
    assert lines[-1] == str(errno.EINVAL if sandbox == "bubblewrap" else errno.EPERM)


async def test_case_48_links_to_the_host_left_for_the_next_run(tmp_path: Path) -> None:
    target = tmp_path / "host"
    target.mkdir(mode=0o777)
    target.chmod(0o777)
    program = f"""
        import os
        for name, to in (("subdir", "/oldroot{target}"), ("l", "{target}"), ("p", "/proc/self/root")):
            os.symlink(to, name)
        print(os.path.exists("/oldroot"), os.path.exists("l/"))
        """

    for _ in range(2):
        guest = await run(program)
        assert (guest.text, guest.errors) == ("False False\n", "")

    assert list(target.iterdir()) == []


async def test_case_49_overwriting_what_runs() -> None:
    paths = [Path("/usr/bin/python3").resolve(), Path("/usr/bin/bwrap")]
    before = [hashlib.sha256(path.read_bytes()).digest() for path in paths]

    found = await outcomes(
        """
        for path in ("/proc/self/exe", "/proc/1/exe", "/usr/bin/bwrap", os.path.realpath("/usr/bin/python3")):
            attempt(path, lambda: os.open(path, os.O_WRONLY))
            attempt("a" + path, lambda: os.open(path, os.O_RDWR | os.O_APPEND))
        """
    )

    assert set(found.values()) <= {"ETXTBSY", "EROFS", "EACCES"}
    assert [hashlib.sha256(path.read_bytes()).digest() for path in paths] == before


async def test_case_50_a_folder_swapped_for_a_link_before_it_is_copied(tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "canary").write_text("canary")
    program = f"""
        import os
        os.mkdir("d")
        open("d/canary", "w").write("mine")
        os.rename("d", "old")
        os.symlink("{tmp_path}/outside", "d")
        """
    async with started(program) as guest:
        await guest.finish()
        report = await guest.runtime.copy_out(tmp_path / "keep")

    assert report.copied == ("old/canary",)
    assert [name for name, _ in report.refused] == ["d"]


@HIDING
async def test_case_51_shared_memory_with_the_host() -> None:
    path = Path(f"/dev/shm/lmboot-canary-{os.getpid()}")
    path.write_text("canary")
    try:
        guest = await run(
            """
            import os
            print(os.listdir("/dev/shm"), os.path.exists("/dev/mqueue"))
            print(open("/proc/sysvipc/shm").read().count("\\n") if os.path.exists("/proc/sysvipc/shm") else 1)
            """
        )
    finally:
        path.unlink()

    assert guest.text == "[] False\n1\n"


async def test_case_52_core_dumps() -> None:
    guest = await run(
        "import os, resource; print(resource.getrlimit(resource.RLIMIT_CORE)); os.abort()"
    )

    assert (guest.text, guest.code) == ("(0, 0)\n", 134)


async def test_case_53_native_code_has_no_more_rights(sandbox: str) -> None:
    guest = await run(
        """
        import ctypes
        print(ctypes.CFUNCTYPE(ctypes.c_int)(lambda: 42)(), ctypes.CDLL(None).getuid())
        """
    )

    number, user = map(int, guest.text.split())
    assert number == 42
    assert user == 65534 or (sandbox == "landlock" and user in {*UIDS, os.geteuid()} - {0})


@HIDING
async def test_case_54_what_the_machine_is_called_and_asks() -> None:
    guest = await run(
        """
        import os, socket
        print(os.uname().nodename, socket.gethostname(), os.path.exists("/etc/resolv.conf"))
        try:
            socket.getaddrinfo("localhost", 80)
            print("LEAK")
        except OSError:
            print("none")
        try:
            socket.sethostname("mine")
        except OSError as error:
            print(error.strerror)
        """
    )

    assert guest.text.splitlines()[0] == "lmboot lmboot False"
    assert guest.text.splitlines()[-1] == "Operation not permitted"


async def test_limits_can_t_be_raised_from_inside() -> None:
    guest = await run(
        """
        import resource
        for name in ("NPROC", "AS", "CPU", "FSIZE", "NOFILE", "CORE"):
            which = getattr(resource, "RLIMIT_" + name)
            soft, hard = resource.getrlimit(which)
            try:
                resource.setrlimit(which, (hard + 1, hard + 1))
                print("LEAK", name)
            except (OSError, ValueError):
                print("refused")
        """
    )

    assert guest.text == "refused\n" * 6


async def test_the_channel_to_the_host_obeys_nothing_a_payload_says() -> None:
    guest = await run(
        r"""
        import os, socket, array
        channel = int(os.environ["LMBOOT_FD"])
        os.set_blocking(channel, False)
        for text in (b"GO\n", b"READY x\n", b"FAULT x\n", b"RUN\n", b'{"do":"end","limit":"x"}\n'):
            os.write(channel, text)
        with socket.socket(fileno=os.dup(channel)) as s:
            folder = os.open(".", os.O_RDONLY)
            try:
                for _ in range(20):
                    socket.send_fds(s, [b"x"], [folder] * 50)
            except OSError as error:
                print(error.strerror)
        try:
            while True:
                os.write(channel, bytes(65536))
        except BlockingIOError:
            print("full")
        """
    )

    assert guest.text.splitlines()[-1] == "full"
    assert guest.code == 0
