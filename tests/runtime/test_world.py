"""The runtime's world, as CONTRACT describes it, seen from inside a real sandbox."""

from __future__ import annotations

import json

import pytest

from lmboot.process import UIDS
from lmboot.runtime.policy import Limits
from tests.runtime.guests import in_each, run, started

pytestmark = pytest.mark.sandbox
EVERY = in_each("bubblewrap", "landlock", "podman", "none")


@in_each("bubblewrap", "podman")
async def test_the_environment_is_the_literal_set(sandbox: str) -> None:
    program = "import os, json; print(json.dumps(dict(os.environ)))"

    guest = await run(program, sandbox=sandbox)

    assert json.loads(guest.out) == {
        "PATH": "/usr/bin",
        "LANG": "C.UTF-8",
        "HOME": "/app",
        "TMPDIR": "/tmp",
        "LMBOOT_FD": "3",
        "LMBOOT_ROUTES": "",
    }


@EVERY
async def test_nothing_of_the_host_s_environment_comes_along(
    sandbox: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET_TOKEN", "canary")
    monkeypatch.setenv("LD_PRELOAD", "")

    guest = await run(
        """
        import os
        print(sorted(name for name in os.environ if not name.startswith("LMBOOT_")))
        try:
            print(b"canary" in open("/proc/self/environ", "rb").read())
        except PermissionError:  # landlock: no /proc at all
            print(False)
        """,
        sandbox=sandbox,
    )

    assert guest.text == "['HOME', 'LANG', 'PATH', 'TMPDIR']\nFalse\n"


@EVERY
async def test_the_only_descriptors_are_the_streams_and_the_channel(sandbox: str) -> None:
    guest = await run(
        """
        import os
        def is_open(number):
            try:
                os.fstat(number)
            except OSError:
                return False
            return True
        print([n for n in range(4096) if is_open(n)], os.environ["LMBOOT_FD"])
        """,
        sandbox=sandbox,
    )

    assert guest.text == "[0, 1, 2, 3] 3\n"


async def test_the_runtime_is_nobody_on_a_machine_called_lmboot() -> None:
    guest = await run(
        """
        import os, socket
        print(os.getcwd(), os.getuid(), os.getgid(), os.getgroups(), socket.gethostname())
        print(sorted(os.listdir("/")), os.listdir("/etc"))
        """
    )

    assert guest.text.splitlines() == [
        "/app 65534 65534 [] lmboot",
        str(sorted(["app", "bin", "dev", "etc", "lib", "lib64", "proc", "run", "tmp", "usr"]))
        + " ['ld.so.cache']",
    ]


async def test_a_file_in_a_folder_has_that_folder_then_the_workspace_then_the_library() -> None:
    guest = await run(
        {
            "sub/main.py": "import sys; print(sys.path[:3], sys.argv, __file__)",
            "other.py": "",
        },
        "one",
        "two words",
    )

    assert guest.text == (
        "['/app/sub', '/app', '/run/lmboot/lib'] ['sub/main.py', 'one', 'two words'] "
        "/app/sub/main.py\n"
    )


@EVERY
async def test_files_import_each_other_from_their_folder_and_from_the_workspace(
    sandbox: str,
) -> None:
    guest = await run(
        {
            "app/main.py": "import beside, shared, pack.inner; print(beside.x, shared.x)",
            "app/beside.py": "x = 1",
            "shared.py": "x = 2",
            "pack/__init__.py": "",
            "pack/inner.py": "from pack import __name__",
        },
        sandbox=sandbox,
    )

    assert (guest.text, guest.errors) == ("1 2\n", "")


async def test_the_host_s_library_is_there_with_the_routes() -> None:
    guest = await run(
        """
        import guest_sys
        print(guest_sys.write("a.txt", "hi"), guest_sys.read("a.txt"), guest_sys.routes())
        """,
        routes={"fs.write_text": "EMULATE", "fs.read_text": "EMULATE", "fetch": "DENY"},
    )

    assert guest.text == (
        "2 hi {'fs.write_text': 'EMULATE', 'fs.read_text': 'EMULATE', 'fetch': 'DENY'}\n"
    )


@EVERY
@pytest.mark.case(24)
async def test_a_payload_s_own_guest_sys_wins(sandbox: str) -> None:
    guest = await run(
        {"main.py": "import guest_sys; print(guest_sys.mine)", "guest_sys.py": "mine = True"},
        sandbox=sandbox,
    )

    assert guest.text == "True\n"


@EVERY
@pytest.mark.parametrize(
    "name", ["json", "socket", "os", "resource", "builtins", "sitecustomize", "usercustomize"]
)
@pytest.mark.case(24)
async def test_a_payload_s_own_standard_module_disturbs_only_the_payload(
    sandbox: str, name: str
) -> None:
    guest = await run(
        {"main.py": "print('fine')", f"{name}.py": "raise SystemExit('taken over')"},
        sandbox=sandbox,
    )

    assert (guest.text, guest.errors, guest.code) == ("fine\n", "", 0)


@EVERY
async def test_main_is_a_real_main_that_can_be_pickled(sandbox: str) -> None:
    guest = await run(
        """
        import pickle, sys
        class Thing:
            pass
        again = pickle.loads(pickle.dumps(Thing()))
        print(type(again) is Thing, Thing.__module__, sys.modules["__main__"].Thing is Thing)
        print(sorted(name for name in globals() if name.startswith("__")))
        """,
        sandbox=sandbox,
    )

    assert guest.text.splitlines() == [
        "True __main__ True",
        "['__annotations__', '__builtins__', '__cached__', '__doc__', '__file__', '__loader__', "
        "'__name__', '__package__', '__spec__']",
    ]


async def test_children_of_multiprocessing_find_their_main() -> None:
    guest = await run(
        """
        import multiprocessing
        def double(n):
            return 2 * n
        if __name__ == "__main__":
            for method in ("fork", "spawn"):
                with multiprocessing.get_context(method).Pool(2) as pool:
                    print(method, pool.map(double, range(3)))
        """
    )

    assert (guest.text, guest.errors) == ("fork [0, 2, 4]\nspawn [0, 2, 4]\n", "")


# ---------------------------------------------------------------- errors and exit codes


@EVERY
async def test_a_traceback_begins_with_the_payload(sandbox: str) -> None:
    guest = await run("def f():\n    1 / 0\nf()\n", sandbox=sandbox)

    lines = guest.errors.splitlines()
    assert lines[0] == "Traceback (most recent call last):"
    assert lines[1].endswith('main.py", line 3, in <module>')
    assert "start.py" not in guest.errors
    assert (lines[-1], guest.code) == ("ZeroDivisionError: division by zero", 1)


async def test_a_syntax_error_is_shown_as_python_shows_it() -> None:
    guest = await run("x = 1\nif x\n")

    assert guest.errors == (
        "  File \"/app/main.py\", line 2\n    if x\n        ^\nSyntaxError: expected ':'\n"
    )
    assert guest.code == 1


async def test_a_payload_s_own_excepthook_sees_no_frame_of_ours() -> None:
    guest = await run(
        """
        import sys, traceback
        def hook(kind, error, trace):
            print(kind.__name__, [frame.filename for frame in traceback.extract_tb(trace)])
        sys.excepthook = hook
        raise KeyError("x")
        """
    )

    assert (guest.text, guest.errors, guest.code) == ("KeyError ['/app/main.py']\n", "", 1)


async def test_an_excepthook_that_fails_is_shown_with_the_original() -> None:
    guest = await run(
        """
        import sys
        def hook(*_):
            raise OSError("hook")
        sys.excepthook = hook
        raise KeyError("x")
        """
    )

    assert "start.py" not in guest.errors
    assert guest.errors.startswith("Error in sys.excepthook:\n")
    assert "OSError: hook\n\nOriginal exception was:\n" in guest.errors
    assert guest.errors.endswith("KeyError: 'x'\n")


@pytest.mark.parametrize(
    ("program", "code", "errors"),
    [
        ("", 0, ""),
        ("raise SystemExit", 0, ""),
        ("raise SystemExit(3)", 3, ""),
        ("exit(4)", 4, ""),
        ("quit()", 0, ""),
        ("import sys; sys.exit('bye')", 1, "bye\n"),
        ("import os; os._exit(7)", 7, ""),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", 137, ""),
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", 139, ""),
        ("import os; os.abort()", 134, ""),
    ],
)
@EVERY
async def test_the_runtime_s_own_status_is_reported(
    sandbox: str, program: str, code: int, errors: str
) -> None:
    guest = await run(program, sandbox=sandbox)

    assert (guest.code, guest.errors) == (code, errors)
    assert guest.ended is not None
    assert (guest.ended.limit, guest.ended.clean) == (None, True)


async def test_what_is_registered_for_the_end_runs_and_threads_are_waited_for() -> None:
    guest = await run(
        """
        import atexit, threading, time
        atexit.register(print, "last")
        def work():
            time.sleep(0.1)
            print("thread")
        threading.Thread(target=work).start()
        print("main")
        """
    )

    assert guest.text == "main\nthread\nlast\n"


@pytest.mark.parametrize(
    "source",
    [
        "# -*- coding: latin-1 -*-\nprint('é')\n".encode("latin-1"),
        "\ufeffprint('é')\n".encode(),
        b"x = 1\r\nprint('\\u00e9')\r\n",
        "print('é')".encode(),
    ],
    ids=["cookie", "bom", "crlf", "no newline"],
)
async def test_sources_are_decoded_as_python_does(source: bytes) -> None:
    guest = await run({"main.py": source})

    assert (guest.text, guest.errors) == ("é\n", "")


# ---------------------------------------------------------------- the streams


@EVERY
async def test_lines_go_in_and_half_lines_come_out_at_once(sandbox: str) -> None:
    program = """
        name = input("AI-RT> ")
        print("hello", name)
        import sys
        for line in sys.stdin:
            print("got", line, end="")
        print("end of input")
        """
    async with started(program, sandbox=sandbox) as guest:
        await guest.until(b"AI-RT> ")
        await guest.runtime.send("Zoë\n".encode())
        await guest.until("hello Zoë\n".encode())
        await guest.runtime.send(b"a\nb\n")
        await guest.until(b"got a\ngot b\n")

        await guest.stop()

    assert guest.text.endswith("end of input\n")
    assert guest.code == 0


@EVERY
async def test_an_interrupt_is_a_keyboard_interrupt(sandbox: str) -> None:
    program = """
        import time
        try:
            print("ready")
            while True:
                time.sleep(1)
        except KeyboardInterrupt:
            print("interrupted")
        """
    async with started(program, sandbox=sandbox) as guest:
        await guest.until(b"ready\n")

        guest.runtime.interrupt()

        await guest.finish()
    assert (guest.text, guest.code) == ("ready\ninterrupted\n", 0)


async def test_an_interrupt_that_nobody_catches_ends_it_as_in_a_shell() -> None:
    async with started("import time; print('ready'); time.sleep(60)") as guest:
        await guest.until(b"ready\n")

        guest.runtime.interrupt()

        await guest.finish()
    assert guest.code == 130
    assert "start.py" not in guest.errors
    assert guest.errors.endswith("KeyboardInterrupt\n")


async def test_binary_output_comes_as_it_was_written() -> None:
    guest = await run("import sys; sys.stdout.buffer.write(bytes(range(256)) * 1000)")

    assert guest.out == bytes(range(256)) * 1000


async def test_standard_input_survives_bytes_that_are_no_utf8() -> None:
    guest = await run("import sys; print(ascii(input()))", lines=b"a\xff\n")

    assert guest.text == "'a\\udcff'\n"


# ---------------------------------------------------------------- setting up


async def test_two_hundred_files_of_any_kind_arrive_whole() -> None:
    files: dict[str, str | bytes] = {
        "main.py": "import pathlib; print(sum(p.stat().st_size for p in pathlib.Path().rglob('*')"
        " if p.is_file()))"
    }
    files |= {f"f{n % 7}/g{n % 3}/d{n}.bin": bytes([n]) * (n * 100) for n in range(200)}
    files |= {"leer": b"", "ünï/文.txt": b"1:x,"}

    guest = await run(files)

    assert int(guest.text) == sum(len(content) for content in files.values())


async def test_files_are_the_runtime_s_alone_and_not_executable() -> None:
    guest = await run(
        {
            "main.py": """
                import os
                print([oct(os.stat(path).st_mode) for path in ("main.py", "d", "d/x")])
                """,
            "d/x": "",
        }
    )

    assert guest.text == "['0o100600', '0o40700', '0o100600']\n"


async def test_another_disk_size_than_prepared_for_is_no_obstacle() -> None:
    from lmboot.runtime.launcher import Launcher
    from tests.runtime.guests import Guest, job

    launcher = await Launcher.prepare()
    try:
        program = "import os; s = os.statvfs('.'); print(s.f_frsize * s.f_blocks)"
        runtime = await launcher.launch(job(program, limits=Limits(disk_mb=2)))
        guest = await Guest(runtime).finish()
    finally:
        await launcher.close()

    assert guest.text == f"{2 << 20}\n"


async def test_as_root_the_runtime_belongs_to_a_user_that_nobody_is() -> None:
    import os

    import psutil

    if os.geteuid() != 0:
        pytest.skip("lmboot is not root here")
    async with started("print('ready'); input()") as guest:
        await guest.until(b"ready\n")

        users = {
            user
            for child in psutil.Process().children(recursive=True)
            for user in child.uids()
            if child.name() != psutil.Process().name()  # or it is a copy of this process yet
        }

    assert len(users) == 1
    assert users <= set(UIDS)
