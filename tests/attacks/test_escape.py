"""Getting out, and looking around: cases 28 to 54, in every back end."""
# ruff: noqa: E501, ASYNC240 (programs that are easier to read unbroken; nothing else in the loop)

from __future__ import annotations

import errno
import hashlib
import os
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from lmboot.process import UIDS
from lmboot.runtime import seccomp
from tests.attacks.probes import REFUSED, leaks, numbers, outcomes
from tests.runtime.guests import run, started

pytestmark = [
    pytest.mark.attack,
    pytest.mark.sandbox,
    pytest.mark.usefixtures("sandbox"),
]


@pytest.fixture
def canary(tmp_path: Path) -> Iterator[Path]:
    path = Path.home() / f".lmboot-canary-{os.getpid()}"
    path.write_text("canary")
    path.chmod(0o644)
    yield path
    path.unlink()


@pytest.mark.case(28)
async def test_case_28_secrets_of_the_user(canary: Path) -> None:
    found = await outcomes(
        """
        for path in sys.argv[1:]:
            attempt(path, lambda: open(path).read())
            attempt(path + "/", lambda: os.listdir(path))
        """,
        *(str(canary), str(Path.home()), "/root/.ssh", "/root/.aws", "/home", "/mnt", "/work"),
    )

    assert set(found.values()) <= {*REFUSED, "ENOTDIR"}, found


@pytest.mark.case(29)
async def test_case_29_files_of_the_system() -> None:
    names = ["passwd", "shadow", "machine-id", "hostname", "resolv.conf", "hosts", "ssl", "fstab"]
    found = await outcomes(
        "for n in sys.argv[1:]: attempt(n, lambda: os.stat('/etc/' + n))\n"
        "for n in ('boot', 'var', 'home', 'opt', 'srv'): attempt(n, lambda: os.stat('/' + n))\n"
        "def one_of(names):\n    if not names: raise OSError(errno.ENOENT, '')\n"
        "attempt('sys', lambda: one_of(os.listdir('/sys')))",
        *names,
    )

    assert leaks(found) == []


@pytest.mark.case(30)
async def test_case_30_writing_where_nothing_may_be_written(canary: Path) -> None:
    before = canary.stat()
    found = await outcomes(
        """
        home = os.path.dirname(sys.argv[1])
        for path in ("/usr/x", "/usr/bin/python3", "/usr/lib/x", "/etc/x", "/x", "/bin/x", "/run/x",
                     "/run/lmboot/start.py", "/run/lmboot/lib/guest_sys.py", "/dev/x", "/root/x",
                     "/proc/sys/kernel/core_pattern", "/proc/sysrq-trigger", "/proc/self/oom_score_adj",
                     sys.argv[1], home + "/.bashrc", home + "/.config/autostart/x.desktop"):
            attempt(path, lambda: os.open(path, os.O_WRONLY | os.O_CREAT))
        attempt("rename", lambda: os.rename("/run/lmboot/start.py", "/run/lmboot/x"))
        attempt("unlink", lambda: os.unlink("/run/lmboot/start.py"))
        attempt("unlink canary", lambda: os.unlink(sys.argv[1]))
        attempt("take canary", lambda: os.rename(sys.argv[1], "taken"))
        attempt("link canary", lambda: os.link(sys.argv[1], "linked"))
        for action in (lambda: os.chmod(sys.argv[1], 0o777), lambda: os.utime(sys.argv[1], (0, 0))):
            try:
                action()  # that nothing is said proves nothing: the host looks at the file
            except (OSError, AttributeError):
                pass
        """,
        str(canary),
    )

    assert leaks(found) == []
    assert canary.read_text() == "canary"
    after = canary.stat()
    assert (after.st_mode, after.st_mtime_ns) == (before.st_mode, before.st_mtime_ns)
    assert after.st_nlink == 1


ENVIRONMENT = """
import os
try:
    import ctypes
except ImportError:
    print(*os.environ, sep="\\n")
    raise SystemExit
start = ctypes.c_void_p.in_dll(ctypes.CDLL(None), "environ").value  # what the process was given
while ctypes.c_char_p.from_address(start).value is not None:
    print(ctypes.c_char_p.from_address(start).value.decode())
    start += ctypes.sizeof(ctypes.c_char_p)
"""


@pytest.mark.case(31)
async def test_case_31_the_environment() -> None:
    guest = await run(ENVIRONMENT)

    names = {line.split("=")[0] for line in guest.text.split("\n") if line}
    assert names - {"PWD"} == {"PATH", "LANG", "HOME", "TMPDIR", "LMBOOT_FD", "LMBOOT_ROUTES"}


@pytest.mark.case(32)
async def test_case_32_other_processes(secret_child: subprocess.Popen[bytes]) -> None:
    guest = await run(
        f"""
        import os
        found = [n for n in (os.listdir("/proc") if os.path.isdir("/proc") else []) if n.isdigit()]
        said = b""
        for pid in found:
            for name in ("cmdline", "environ", "maps"):
                try:
                    said += open(f"/proc/{{pid}}/{{name}}", "rb").read()
                except OSError:
                    pass
        print(len(found) <= 4, b"lmboot-secret" in said)
        for root in ("/proc/1/root/", "/proc/self/root/"):
            try:
                print(sorted(os.listdir(root)) == sorted(os.listdir("/")))
            except OSError:
                print(True)
        print(any(os.path.exists(f"/proc/{{pid}}") for pid in ({os.getpid()}, {secret_child.pid})))
        """
    )

    assert guest.text.splitlines() == ["True False", "True", "True", "False"]


@pytest.fixture
def secret_child() -> Iterator[subprocess.Popen[bytes]]:
    """A process of the user's, with a secret in its arguments and in its environment."""
    words = ["/bin/sh", "-c", "sleep 600; : lmboot-secret"]
    with subprocess.Popen(words, env={"TOKEN": "lmboot-secret"}) as process:
        yield process
        process.kill()


@pytest.mark.case(33)
async def test_case_33_descriptors() -> None:
    guest = await run(
        """
        import os, stat
        for n in range(4096):
            try:
                kind = stat.S_IFMT(os.fstat(n).st_mode)
            except OSError:
                continue
            print(n, {stat.S_IFIFO: "pipe", stat.S_IFSOCK: "socket"}.get(kind, oct(kind)))
        """
    )

    assert guest.text.splitlines() == ["0 pipe", "1 pipe", "2 pipe", "3 socket"]


@pytest.mark.case(34, 41, 42, 44)
async def test_cases_34_41_42_44_every_call_of_the_tables() -> None:
    tried = numbers(seccomp.DENIED, seccomp.ABSENT)

    found = await outcomes("".join(f"call({n!r}, {k}, 0, 0, 0, 0)\n" for n, k in tried.items()))

    assert set(found.values()) <= {"EPERM", "ENOSYS", "ABSENT"}, found


@pytest.mark.case(35)
async def test_case_35_signals_to_everybody(secret_child: subprocess.Popen[bytes]) -> None:
    found = await outcomes(
        """
        for pid in map(int, sys.argv[1:]):
            attempt(f"kill {pid}", lambda: os.kill(pid, 9))
            attempt(f"group {pid}", lambda: os.killpg(pid, 9))
        for number in (15, 9):
            try:
                os.kill(-1, number)  # only its own die of it
            except (OSError, AttributeError):
                pass
        """,
        *(str(pid) for pid in {os.getpid(), os.getppid(), secret_child.pid} - {1}),
    )

    assert leaks(found) == []
    assert secret_child.poll() is None


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


@pytest.mark.case(36)
async def test_case_36_servers_of_the_host_and_of_the_net(
    visits: tuple[int, list[object]],
) -> None:
    port, came = visits
    found = await outcomes(
        f"""
        socket = have("socket")
        for address in ("127.0.0.1", "169.254.169.254", "192.168.0.1", "8.8.8.8"):
            attempt(address, lambda: socket.create_connection((address, {port}), 1))
        attempt("::1", lambda: socket.create_connection(("::1", {port}), 1))
        attempt("url", lambda: have("urllib.request").request.urlopen("http://127.0.0.1:{port}/"))
        """
    )

    assert leaks(found) == []
    assert came == []


@pytest.mark.case(37)
async def test_case_37_every_family_of_sockets() -> None:
    found = await outcomes(
        """
        socket = have("socket")
        for family in range(46):
            for kind in (1, 2, 3, 5):
                attempt(f"{family}/{kind}", lambda: socket.socket(family, kind))
        """
    )

    assert set(found.values()) <= REFUSED, found


@pytest.mark.case(38, 39)
async def test_cases_38_39_sockets_of_the_desktop(tmp_path: Path) -> None:
    abstract = f"lmboot-attack-{os.getpid()}"
    with socket.socket(socket.AF_UNIX) as one, socket.socket(socket.AF_UNIX) as two:
        one.bind(f"\0{abstract}")
        two.bind(str(tmp_path / "socket"))
        one.listen()
        two.listen()
        found = await outcomes(
            """
            socket = have("socket")
            def connect(address):
                with socket.socket(socket.AF_UNIX) as s:
                    s.connect(address)
            user = f"/run/user/{sys.argv[3]}"
            for name in ("\\0" + sys.argv[1], "\\0/tmp/.X11-unix/X0", "\\0/tmp/dbus-x"):
                attempt("abstract " + name[1:], lambda: connect(name))
            for path in (sys.argv[2], "/tmp/.X11-unix/X0", user + "/wayland-0", user + "/bus",
                         user + "/pipewire-0", "/var/run/docker.sock", "/run/podman/podman.sock",
                         user + "/gnupg/S.gpg-agent", "/run/systemd/private", "/run/dbus/system_bus_socket"):
                attempt("connect " + path, lambda: connect(path))
                attempt("open " + path, lambda: os.open(path, os.O_RDWR))
            """,
            *(abstract, str(tmp_path / "socket"), str(os.getuid())),
        )
        for server in (one, two):
            server.setblocking(False)
            with pytest.raises(BlockingIOError):
                server.accept()

    assert set(found.values()) <= REFUSED, found


@pytest.mark.case(40)
async def test_case_40_the_screen_and_the_keyboard(display: str) -> None:
    found = await outcomes(
        """
        socket = have("socket")
        def knock(family, address):
            with socket.socket(family, socket.SOCK_STREAM) as s:
                s.connect(address)
                s.send(b"l\\0\\x0b\\0\\0\\0" + bytes(6))
        for n in {*range(10), int(sys.argv[1])}:
            attempt(f"path {n}", lambda: knock(socket.AF_UNIX, f"/tmp/.X11-unix/X{n}"))
            attempt(f"abstract {n}", lambda: knock(socket.AF_UNIX, f"\\0/tmp/.X11-unix/X{n}"))
            attempt(f"port {n}", lambda: knock(socket.AF_INET, ("127.0.0.1", 6000 + n)))
        for path in (sys.argv[2], sys.argv[3] + "/.Xauthority", "/dev/dri/card0", "/dev/fb0", "/dev/uinput",
                     "/dev/input/event0", "/dev/input/mice", "/dev/snd/pcmC0D0c", "/dev/video0", "/dev/vcs1"):
            attempt(path, lambda: os.open(path, os.O_RDONLY))
        """,
        *(display, f"/run/user/{os.getuid()}/gdm/Xauthority", str(Path.home())),
    )

    assert set(found.values()) <= REFUSED, found


@pytest.fixture
def display() -> Iterator[str]:
    """Stand in for an X server on its abstract socket, by its number; nobody may come to it."""
    number = 60_000 + os.getpid() % 1000
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(f"\0/tmp/.X11-unix/X{number}")
        server.listen()
        server.setblocking(False)
        yield str(number)
        with pytest.raises(BlockingIOError):
            server.accept()


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


X32 = """
import ctypes
libc = ctypes.CDLL(None)
print("before")
print("after", libc.syscall(ctypes.c_long(0x40000000 | 39)))
"""
INT_80 = """
import ctypes, mmap
# mov eax, 20 (getpid); int 0x80; ret
code = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
code.write(bytes.fromhex("b814000000cd80c3"))
address = ctypes.addressof(ctypes.c_char.from_buffer(code))
print("before")
print("after", ctypes.CFUNCTYPE(ctypes.c_int)(address)())
"""


@pytest.mark.case(43, 107)
async def test_case_43_namespaces() -> None:
    arch = seccomp.ARCHES[os.uname().machine]
    unshare = numbers(seccomp.DENIED)["unshare"]
    bits = [flag for n in range(32) if (flag := 1 << n) & seccomp.NAMESPACES]
    calls = [f"call('unshare {flag:x}', {unshare}, {flag})" for flag in bits]
    # As a call of clone, the lowest byte is the signal: a clock's namespace can't be asked for.
    calls += [
        f"call('clone {flag:x}', {arch.clone}, {flag | 17}, 0, 0, 0, 0)" for flag in bits[1:]
    ]
    calls += [
        "attempt('filter', lambda: have('ctypes').CDLL(None).prctl(21, 0, 0, 0, 0) == 2 or 1/0)"
    ]

    found = await outcomes("\n".join(calls))

    assert found.pop("filter") in ("LEAK", "ABSENT")  # that there is one
    assert bits[0] == 0x80
    assert set(found.values()) <= {"EPERM", "ENOSYS", "ABSENT"}, found


if os.uname().machine == "x86_64":  # no other machine has a second set of calls

    @pytest.mark.case(45)
    @pytest.mark.parametrize("call", [X32, INT_80], ids=["x32", "int 0x80"])
    async def test_case_45_calls_in_another_dialect_are_the_end(call: str) -> None:
        guest = await run(call)

        assert guest.text == "before\n"
        assert guest.code in (128 + 31, 128 + 11)  # SIGSYS; SIGSEGV where there are no 32 bits


@pytest.mark.case(46)
async def test_case_46_typing_into_the_host_s_terminal() -> None:
    found = await outcomes(
        """
        fcntl, pty, termios = have("fcntl"), have("pty"), have("termios")
        for path in ("/dev/tty", "/dev/console", "/dev/tty0", "/dev/tty1", "/dev/pts/0", "/dev/pts/1"):
            attempt(path, lambda: os.open(path, os.O_RDWR))
        try:
            own = pty.openpty()[1]  # one of its own it may have
        except (OSError, ImportError):
            own = 0
        for number in (own, 0, 1, 2):
            attempt(f"TIOCSTI {number}", lambda: fcntl.ioctl(number, 0x5412, b"x"))
            attempt(f"TIOCLINUX {number}", lambda: fcntl.ioctl(number, 0x541C, b"\\x03"))
        """
    )

    assert set(found.values()) <= {*REFUSED, "ENXIO", "EIO"}, found


@pytest.mark.case(47)
async def test_case_47_programs_with_their_owner_s_rights() -> None:
    guest = await run(
        """
        import ctypes, os, shutil, subprocess
        print(ctypes.CDLL(None).prctl(39, 0, 0, 0, 0))  # PR_GET_NO_NEW_PRIVS
        for name in ("su", "sudo", "mount", "passwd", "newgrp", "firejail", "fusermount3", "pkexec"):
            path = shutil.which(name)
            if path:
                done = subprocess.run([path], stdin=subprocess.DEVNULL, capture_output=True)
                print(name, done.returncode == 0 and name not in ("mount", "firejail"))
        try:
            os.setuid(0)
        except OSError as error:
            print(error.errno)
        """
    )

    lines = guest.text.splitlines()
    assert lines[0] == "1"
    assert not any(line.endswith("True") for line in lines[1:])
    # In a user namespace there may be no such user; outside, he may not become him.
    assert int(lines[-1]) in (errno.EINVAL, errno.EPERM)


@pytest.mark.case(48)
async def test_case_48_links_to_the_host_left_for_the_next_run(tmp_path: Path) -> None:
    target = tmp_path / "host"
    target.mkdir(mode=0o777)
    target.chmod(0o777)
    program = f"""
        import os
        for name, to in (("subdir", "/oldroot{target}"), ("l", "{target}"), ("p", "/proc/self/root")):
            os.symlink(to, name)
        def reaches(action):
            try:
                action()
            except OSError:
                return False
            return True
        print(os.path.exists("/oldroot"), reaches(lambda: os.listdir("l/")), reaches(lambda: os.mkdir("l/x")))
        """

    for _ in range(2):
        guest = await run(program)
        assert (guest.text, guest.errors) == ("False False False\n", "")

    assert list(target.iterdir()) == []


@pytest.mark.case(49)
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

    assert set(found.values()) <= {*REFUSED, "ETXTBSY"}, found
    assert [hashlib.sha256(path.read_bytes()).digest() for path in paths] == before


@pytest.mark.case(50)
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


@pytest.mark.case(51)
async def test_case_51_shared_memory_with_the_host() -> None:
    path = Path(f"/dev/shm/lmboot-canary-{os.getpid()}")
    path.write_text("canary")
    path.chmod(0o666)
    try:
        found = await outcomes(
            """
            attempt("read", lambda: open(sys.argv[1]).read())
            attempt("write", lambda: open(sys.argv[1], "r+"))
            attempt("queues", lambda: os.listdir("/dev/mqueue"))
            for name, number in eval(sys.argv[2]).items():
                call(name, number, 0, 4096, 0o600)
            """,
            *(
                str(path),
                str({name: numbers(seccomp.ABSENT)[name] for name in ("shmget", "msgget")}),
            ),
        )
        assert path.read_text() == "canary"
    finally:
        path.unlink()

    assert set(found.values()) <= REFUSED, found


@pytest.mark.case(52)
async def test_case_52_core_dumps() -> None:
    guest = await run(
        "import os, resource; print(resource.getrlimit(resource.RLIMIT_CORE)); os.abort()"
    )

    assert (guest.text, guest.code) == ("(0, 0)\n", 134)


@pytest.mark.case(53)
async def test_case_53_native_code_has_no_more_rights() -> None:
    """A library of the payload's own may be loaded; what it calls is refused like anything else."""
    guest = await run(
        """
        import ctypes, os, shutil
        shutil.copy(os.path.realpath("/lib/x86_64-linux-gnu/libm.so.6" if os.path.exists(
            "/lib/x86_64-linux-gnu/libm.so.6") else "/lib/aarch64-linux-gnu/libm.so.6"), "mine.so")
        print(ctypes.CDLL("./mine.so").abs is not None, ctypes.CFUNCTYPE(ctypes.c_int)(lambda: 42)())
        print(ctypes.CDLL(None).getuid(), ctypes.CDLL(None).unshare(0x10000000))
        """
    )

    loaded, number, user, refused = guest.text.split()
    assert (loaded, number, refused) == ("True", "42", "-1"), guest.errors
    assert int(user) in {65534, *UIDS, os.geteuid()} - {0}


@pytest.mark.case(54)
async def test_case_54_what_the_machine_is_called_and_asks() -> None:
    guest = await run(
        """
        import os, socket
        print(os.uname().nodename, socket.gethostname(), os.path.exists("/etc/resolv.conf"))
        for action in (lambda: socket.getaddrinfo("localhost", 80), lambda: socket.sethostname("mine")):
            try:
                action()
                print("LEAK")
            except OSError:
                print("refused")
        """
    )

    assert guest.text == "lmboot lmboot False\nrefused\nrefused\n"
    assert os.uname().nodename != "mine"


@pytest.mark.case(54, sandbox="landlock")
async def test_case_54_no_name_is_resolved_and_the_machine_keeps_its_own() -> None:
    found = await outcomes(
        """
        socket = have("socket")
        def resolve(name):
            try:
                socket.getaddrinfo(name, 80)
            except socket.gaierror:
                raise OSError(errno.EACCES, "")
        for name in ("localhost", "example.org"):
            attempt(name, lambda: resolve(name))
        attempt("rename", lambda: socket.sethostname("mine"))
        for path in ("/etc/resolv.conf", "/etc/hosts", "/etc/hostname"):
            attempt(path, lambda: open(path).read())
        """
    )

    assert set(found.values()) <= REFUSED, found


@pytest.mark.case(109)
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


@pytest.mark.case(105)
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
