"""The attacks that can be tried in the portable sandbox, alone and within bubblewrap.

Inside there are no processes and no system calls, only what Python's own library offers; what
can't even be begun there is in `tests.attacks.cases`.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from lmboot.runtime.launcher import Launcher
from lmboot.runtime.policy import Limits
from tests import leaks, portable
from tests.runtime.guests import job, run, started
from tests.runtime.test_lifecycle import remove_what_the_dead_left

pytestmark = [pytest.mark.attack, pytest.mark.sandbox, pytest.mark.timeout(portable.SECONDS)]
ROOT = Path(__file__).resolve().parents[2]
WAYS = ("wasm", "wasm in bubblewrap")

TRY = r"""
import json, os, sys

canary = sys.argv[1]
tried = {}


def attempt(name, action):
    try:
        tried[name] = f"LEAK {action()!r}"
    except (OSError, AttributeError, ImportError, RuntimeError, NotImplementedError) as error:
        tried[name] = type(error).__name__


def connect(family, address):
    import socket

    socket.socket(getattr(socket, family)).connect(address)


def overwrite(path):
    with open(path, "wb") as file:
        file.write(b"x")


home = os.path.dirname(canary)
for path in (canary, "/etc/passwd", "/etc/shadow", "/etc/machine-id", "/etc/resolv.conf"):
    attempt(f"read {path}", lambda: open(path).read())
for path in (home, "/root", "/home", "/proc", "/proc/1", "/sys", "/dev", "/dev/shm", "/run"):
    attempt(f"list {path}", lambda: os.listdir(path))
for path in ("../" * 12 + "etc/passwd", "/app/../../etc/passwd", "/tmp/../etc/passwd"):
    attempt(f"read {path}", lambda: open(path).read())
for path in ("/usr/x", "/etc/x", "/x", canary, sys.executable or "/python", os.__file__):
    attempt(f"write {path}", lambda: overwrite(path))
for path in ("/proc/self/mem", "/proc/self/exe", "/proc/self/fd/3", "/proc/self/root/etc/passwd"):
    attempt(f"open {path}", lambda: open(path, "rb").read(1))
attempt("tcp", lambda: connect("AF_INET", ("127.0.0.1", 80)))
attempt("tcp6", lambda: connect("AF_INET6", ("::1", 80)))
attempt("unix", lambda: connect("AF_UNIX", "/tmp/.X11-unix/X0"))
attempt("abstract", lambda: connect("AF_UNIX", "\0/tmp/.X11-unix/X0"))
attempt("resolve", lambda: __import__("socket").getaddrinfo("localhost", 80))
for family in ("AF_NETLINK", "AF_PACKET", "AF_VSOCK", "AF_ALG", "AF_BLUETOOTH"):
    attempt(family, lambda: connect(family, ("", 0)))
attempt("fork", lambda: os.fork())
attempt("spawn", lambda: __import__("subprocess").run(["/bin/sh", "-c", "id"]))
attempt("exec", lambda: os.execv("/bin/sh", ["sh"]))
attempt("system", lambda: os.system("id"))
attempt("su", lambda: os.posix_spawn("/bin/su", ["su"], {}))
attempt("kill", lambda: os.kill(1, 9))
attempt("thread", lambda: __import__("threading").Thread(target=print).start())
attempt("dlopen", lambda: __import__("ctypes").CDLL(None))
attempt("memfd", lambda: os.memfd_create("x"))
attempt("link out", lambda: (os.symlink("/etc/passwd", "/app/out"), open("/app/out").read())[1])
attempt("link hard", lambda: os.link(canary, "/app/hard"))
attempt("chroot", lambda: os.chroot("/"))
for number in range(3, 64):
    attempt(f"tell {number}", lambda: os.write(number, b"FAULT forged\nRUN\nREADY\n"))
attempt("core", lambda: __import__("resource").setrlimit(4, (-1, -1)))
attempt("terminal", lambda: os.ttyname(0))
attempt("mmap exec", lambda: __import__("mmap").mmap(-1, 4096, prot=7))
tried["host"] = os.uname().nodename
tried["env"] = sorted(os.environ)
tried["fds"] = []
for number in range(3, 300):
    try:
        os.fstat(number)
        tried["fds"].append(number)
    except OSError:
        pass
print(json.dumps(tried))
"""


@pytest.fixture(scope="module", autouse=True)
def _engine(own_cache: Path) -> None:
    portable.lend(own_cache)


@pytest.fixture
def canary(tmp_path: Path) -> Iterator[Path]:
    """A secret of the user's, in a folder that anybody may enter."""
    for folder in (tmp_path, *tmp_path.parents):
        if "pytest" in str(folder):
            folder.chmod(0o755)
    file = tmp_path / "canary"
    file.write_text("secret")
    file.chmod(0o644)
    yield file
    assert file.read_text() == "secret"


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.case(28, 29, 30, 31, 32, 33, 36, 37, 38, 39, 40, 46, 47, 49, 53, 54, sandbox="wasm")
@pytest.mark.case(55, 65, 103, 105, 106, 111, 113, sandbox="wasm")
async def test_there_is_no_way_out_of_it(way: str, canary: Path) -> None:
    guest = await run(TRY, str(canary), sandbox=way)

    tried = json.loads(guest.text)
    environment, descriptors = tried.pop("env"), tried.pop("fds")
    assert tried.pop("host") == "(none)"
    assert {name: outcome for name, outcome in tried.items() if "LEAK" in outcome} == {}
    assert len(tried) > 50
    assert set(environment) <= {"PATH", "LANG", "HOME", "TMPDIR", "LMBOOT_FD", "LMBOOT_ROUTES"}
    # The engine opens its own three folders, and Python two; none of them leads anywhere else.
    assert len(descriptors) <= 8
    assert guest.ended is not None
    assert guest.ended.clean


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.case(56, sandbox="wasm")
async def test_a_memory_bomb(way: str) -> None:
    program = """
    held = []
    try:
        while True:
            held.append(bytearray(1 << 20))
    except MemoryError:
        count = len(held)
        held.clear()
        print("stopped", count)
    """
    guest = await run(program, limits=Limits(memory_mb=192), sandbox=way)

    word, count = guest.text.split()
    assert (word, guest.code) == ("stopped", 0)
    assert int(count) < 192


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.case(57, sandbox="wasm")
async def test_a_full_disk_a_hole_and_files_without_number(way: str) -> None:
    program = """
    import os
    def refused(action):
        try:
            action()
        except OSError as error:
            return error.strerror
    def fill():
        with open("big", "wb") as file:
            while True:
                file.write(bytes(1 << 20))
                file.flush()
                os.fsync(file.fileno())
    def hole():
        with open("hole", "wb") as file:
            file.truncate(1 << 40)
    def many():
        for number in range(1_000_000):
            open(str(number), "w").close()
    print(bool(refused(fill)))
    if os.path.exists("big"):
        os.unlink("big")
    print(bool(refused(hole)))
    print(bool(refused(many)))
    """
    guest = await run(program, limits=Limits(disk_mb=4, wall_seconds=60), sandbox=way)

    assert guest.ended is not None
    assert guest.ended.clean
    assert guest.text == "True\nTrue\nTrue\n" or guest.ended.limit in ("disk", "wall")
    remove_what_the_dead_left()


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.case(58, 60, sandbox="wasm")
async def test_what_it_prints_without_end_waits_for_its_reader(way: str) -> None:
    program = """
    import sys
    line = bytes(range(128, 256)) * 512
    while True:
        sys.stdout.buffer.write(line)
    """
    async with started(program, sandbox=way) as guest:
        await guest.until(bytes(range(128, 256)) * 4)
        await guest.stop()

    assert guest.ended is not None
    assert guest.ended.clean
    assert set(guest.out) == set(range(128, 256))


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.case(59, 61, 62, sandbox="wasm")
async def test_what_it_prints_arrives_as_it_is(way: str) -> None:
    """What a pane makes of it is no sandbox's: it is told by the other back ends' tests."""
    text = "\x1b]52;c;aGk=\x07\x1b[6n\x1bc\x9b2J\u202e\u0301\r\b[HOST] approved\n:quit\n"

    guest = await run(f"import sys; sys.stdout.write({text!r})", sandbox=way)

    assert (guest.out, guest.code) == (text.encode(), 0)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.case(63, sandbox="wasm")
async def test_input_that_it_never_reads_is_no_burden(way: str) -> None:
    async with started("print('ready')\nwhile True: pass", sandbox=way) as guest:
        await guest.until(b"ready\n")
        taken = [await guest.runtime.send(bytes(1 << 16)) for _ in range(160)]
        await guest.stop()

    assert taken[0]
    assert not taken[-1]
    assert guest.ended is not None
    assert guest.ended.clean


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.case(64, sandbox="wasm")
async def test_closed_output_does_not_hide_it_from_the_clock(way: str) -> None:
    program = "import os, sys\nsys.stdout.close()\nwhile True: pass"

    guest = await run(program, limits=Limits(wall_seconds=1), sandbox=way)

    assert guest.ended is not None
    assert (guest.ended.limit, guest.ended.clean) == ("wall", True)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.case(71, sandbox="wasm")
async def test_who_spins_alone_uses_up_its_time(way: str) -> None:
    """It can't become sixty: no process, no thread."""
    program = """
    import os, threading
    for action in (lambda: os.fork(), lambda: threading.Thread(target=print).start()):
        try:
            action()
            print("LEAK")
        except (OSError, AttributeError, RuntimeError):
            print("alone", flush=True)
    while True: pass
    """
    guest = await run(program, limits=Limits(cpu_seconds=2, wall_seconds=60), sandbox=way)

    assert guest.text == "alone\nalone\n"
    assert guest.ended is not None  # by the kernel, or by who looks: whoever comes first
    assert (guest.ended.limit, guest.ended.clean) == ("cpu", True)


PARENT = """
import asyncio, sys
from lmboot.runtime.launcher import Launcher
from tests.runtime.guests import job

async def main():
    launcher = await Launcher.prepare(sys.argv[1])
    runtime = await launcher.launch(job("print('ready', flush=True)\\nwhile True: pass"))
    async for event in runtime.events():
        sys.stdout.buffer.write(event.data)
        sys.stdout.flush()

asyncio.run(main())
"""


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.case(68, sandbox="wasm")
def test_lmboot_killed_in_the_middle(way: str) -> None:
    before = leaks.processes()
    lmboot = subprocess.Popen(
        [sys.executable, "-c", PARENT, way],
        stdout=subprocess.PIPE,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    with lmboot:
        assert lmboot.stdout is not None
        assert b"ready" in lmboot.stdout.readline()

        lmboot.kill()

        assert leaks.wait_until(lambda: leaks.processes() - {lmboot.pid} <= before, 2.0)
    remove_what_the_dead_left()


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.case(69, sandbox="wasm")
async def test_stopping_at_every_moment_of_a_launch(way: str) -> None:
    await (await Launcher.prepare(way)).close()
    before = leaks.descriptors()
    for number in range(6):
        launcher = await Launcher.prepare(way)
        launch = asyncio.create_task(launcher.launch(job("while True: pass")))
        for _ in range(number):
            await asyncio.sleep(0)
        if number % 2:
            launch.cancel()
        await asyncio.wait([launch])
        await launcher.close()

    assert leaks.descriptors() == before


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.case(48, 114, sandbox="wasm")
async def test_nothing_of_a_run_is_there_for_the_next(way: str) -> None:
    program = """
    import os
    print(sorted(os.listdir("/app")), sorted(os.listdir("/tmp")))
    for name in ("/app/left", "/tmp/left"):
        open(name, "w").close()
    for target in ("/etc", "../../.."):
        try:
            os.symlink(target, "/app/subdir")
            print("LEAK", os.listdir("/app/subdir"))
        except OSError:
            pass
    """
    for _ in range(2):
        guest = await run(program, sandbox=way)

        assert (guest.text, guest.code) == ("['main.py'] []\n", 0)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.case(50, sandbox="wasm")
async def test_a_folder_can_not_be_swapped_for_a_link_before_it_is_copied(
    way: str, tmp_path: Path
) -> None:
    """No link can be made inside, wherever it leads."""
    (tmp_path / "outside").mkdir(mode=0o755)
    (tmp_path / "outside" / "canary").write_text("canary")
    program = f"""
    import os
    os.mkdir("d")
    with open("d/canary", "w") as file:
        file.write("mine")
    os.rename("d", "old")
    outside = "{tmp_path}/outside"
    for name, target in (("d", outside), ("e", "../" * 12 + outside[1:]), ("f", "old")):
        try:
            os.symlink(target, name)
            print(name)
        except OSError:
            pass
    print("done")
    """
    async with started(program, sandbox=way) as guest:
        await guest.finish()
        report = await guest.runtime.copy_out(tmp_path / "keep")

    *made, done = guest.text.split()
    assert (done, guest.errors) == ("done", "")
    assert report.copied == ("old/canary",)
    assert (tmp_path / "keep/old/canary").read_text() == "mine"
    assert (made, report.refused) == ([], ())


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.case(112, sandbox="wasm")
async def test_names_that_deceive_are_not_copied_out(way: str, tmp_path: Path) -> None:
    program = r"""
    names = ["gnp.\u202eyp.exe", "a\nb", "\x1b[31m", "CON", "...", "a\u200bb", "x ", "a\\b"]
    made = 0
    for name in [*names, "c:d", b"\xff\xfe", "fine.txt"]:
        try:
            open(name, "w").close()
            made += 1
        except (OSError, ValueError):
            pass
    print(made)
    """
    async with started(program, sandbox=way) as guest:
        await guest.finish()
        report = await guest.runtime.copy_out(tmp_path / "kept")

    assert int(guest.text) > 5, guest.errors
    assert report.copied == ("fine.txt",)
    assert os.listdir(tmp_path / "kept") == ["fine.txt"]
    assert len(report.refused) == int(guest.text) - 1
