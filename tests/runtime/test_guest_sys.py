"""The guest's library with a broker at the other end of its descriptor; real processes."""

from __future__ import annotations

import asyncio
import signal
import socket
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import pytest

from lmboot import runtime
from lmboot.runtime.broker import Broker
from lmboot.runtime.granted import operations
from lmboot.runtime.grants import Grants
from lmboot.runtime.operations import Env, Notify, Operation, Refused, Time
from lmboot.runtime.policy import OPERATIONS
from lmboot.runtime.routes import Routes
from tests.runtime.brokers import Raising, Record, Waiting, all_routes, until

LIBRARY = Path(runtime.__file__).parent / "guest"


@dataclass
class Program:
    """A program that runs, and its broker."""

    process: asyncio.subprocess.Process
    broker: Broker
    shown: list[str]

    async def lines(self) -> list[str]:
        """Return what it wrote, once it has ended well."""
        async with asyncio.timeout(30):
            out, err = await self.process.communicate()
        assert err.decode().splitlines() == []
        assert self.process.returncode == 0
        return out.decode().splitlines()


def start_of(text: str) -> str:
    return "import guest_sys as g, os, sys\n" + textwrap.dedent(text)


@asynccontextmanager
async def program(
    text: str, *operations: Operation, routes: Routes | None = None
) -> AsyncIterator[Program]:
    """Run a program beside a broker; afterwards both have ended."""
    ours, theirs = socket.socketpair()
    shown: list[str] = []
    given: list[Operation] = [Time(), Env(granted={"LANG"}), Notify(shown.append), *operations]
    broker = Broker(ours, routes or all_routes(), given, Record())
    table = " ".join(f"{op}={route}" for op, route in broker.routes.table().items())
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", start_of(text)),
        env={
            "LMBOOT_FD": str(theirs.fileno()),
            "LMBOOT_ROUTES": table,
            "PYTHONPATH": str(LIBRARY),
        },
        pass_fds=[theirs.fileno()],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        # What runs the tests in the background may have had them ignore it.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    theirs.close()
    served = asyncio.create_task(broker.serve())
    try:
        yield Program(process, broker, shown)
    finally:
        broker.close()
        await served
        if process.returncode is None:
            process.kill()
            await process.communicate()


async def run(text: str, *operations: Operation, routes: Routes | None = None) -> list[str]:
    async with program(text, *operations, routes=routes) as it:
        return await it.lines()


async def test_a_program_asks_its_host() -> None:
    async with program(
        """
        print(g.call("time")["unix"] > 1e9)
        print(g.call("notify", text="naïve"))
        """
    ) as it:
        assert await it.lines() == ["True", "{'shown': True}"]
        assert it.shown == ["naïve"]


async def test_what_the_library_does_not_emulate_is_emulated_by_the_broker() -> None:
    lines = await run(
        """
        print(g.call("time"), g.call("env", name="USER"))
        print(g.write("a", "text"), g.read("a"))
        """,
        routes=all_routes("EMULATE"),
    )

    assert lines == ["{'unix': 946684800.0, 'utc_offset_seconds': 0} guest", "4 text"]


async def test_a_reply_tells_who_was_asked() -> None:
    routes = all_routes("HOST").flip("env", "EMULATE").flip("fetch", "EMULATE")
    lines = await run(
        """
        for op, args in ("time", {}), ("env", {"name": "USER"}), ("fetch", {"url": "x:"}):
            told = g.reply(op, **args)
            print(sorted(told), told["route"], told["emulated"])
        """,
        routes=routes,
    )

    assert lines == [
        "['emulated', 'result', 'route'] HOST False",
        "['emulated', 'result', 'route'] EMULATE True",
        "['emulated', 'result', 'route'] EMULATE True",
    ]


TEXTS = {  # what each of them costs in a frame, by the character: 1, 2, 6, and 2 to 4 bytes
    "plain": "x" * 3_000_000,
    "lines": "\n" * 2_500_000,
    "controls": "\x01" * 700_000,
    "letters": "aé\u20ac\U0001f40e" * 150_000,
    "few_lines": "\n" * 600_000,  # less than 1 MiB, but not as JSON
}


async def test_a_file_of_any_size_is_read_by_pieces(tmp_path: Path) -> None:
    for name, text in TEXTS.items():
        (tmp_path / name).write_bytes(text.encode())
    grants = Grants()
    await grants.add_folder(tmp_path, "read", name="notes")

    lines = await run(
        """
        import hashlib
        for name in sys.stdin.read().split():
            print(name, hashlib.sha256(g.read("notes/" + name).encode()).hexdigest())
        try:
            g.call("fs.read_text", path="notes/plain")
        except g.HostError as error:
            print(error.code)
        """.replace("sys.stdin.read()", repr(" ".join(TEXTS))),
        *operations(grants),
    )

    digests = {name: sha256(text.encode()).hexdigest() for name, text in TEXTS.items()}
    assert lines == [*(f"{name} {digest}" for name, digest in digests.items()), "too_large"]
    grants.close()


async def test_the_emulator_has_the_same_pieces(tmp_path: Path) -> None:
    grants, text = Grants(), "aé€\U0001f40e" * 3 + "z"
    (tmp_path / "a").write_bytes(text.encode())
    await grants.add_folder(tmp_path, "read", name="notes")
    source = f"""
        g.call("fs.list") or g.write("notes/a", {text!r})
        for length in (4, 5, 6, 7, 0):
            offset, pieces = 0, []
            while not pieces or pieces[-1]:
                pieces.append(g.call("fs.read_text", path="notes/a", offset=offset, length=length))
                offset += len(pieces[-1].encode())
            print(length, ascii(pieces))
        for offset, length in ((1, 1), (200, 4)):
            try:
                print(ascii(g.call("fs.read_text", path="notes/a", offset=offset, length=length)))
            except g.HostError as error:
                print(error.code)
        """

    by_host = await run(source, *operations(grants))
    emulated = await run(source, routes=all_routes("EMULATE"))

    assert by_host == emulated
    assert by_host[5:] == ["not_text", "''"]
    grants.close()


async def test_what_may_be_written_at_once_is_written(tmp_path: Path) -> None:
    grants = Grants()
    await grants.add_folder(tmp_path, "write", name="notes")

    lines = await run(
        """
        print(g.write("notes/a", "x" * ((1 << 20) - 1000)))
        try:
            g.write("notes/a", "x" * (1 << 20))
        except g.HostError as error:
            print(error.code)
        """,
        *operations(grants),
    )

    assert lines == [str((1 << 20) - 1000), "too_large"]
    assert (tmp_path / "a").stat().st_size == (1 << 20) - 1000
    grants.close()


@pytest.mark.parametrize(
    ("call", "told"),
    [
        ("'spawn'", "Denied denied"),
        ("'made.up'", "Denied denied"),
        ("'env', name='TOKEN'", "HostError not_granted"),
        ("'env'", "HostError bad_argument"),
        ("'notify', text='a' * 5000", "HostError bad_argument"),
        ("'notify', text='a' * 2000000", "HostError too_large"),
        ("'notify', text=b'bytes'", "HostError bad_argument"),
        ("'notify', text=float('nan')", "HostError bad_argument"),
        ("'notify', text='\\ud800'", "HostError bad_argument"),
        ("'notify', text=[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]",
         "HostError too_deep"),
        ("'notify', text=[0] * 20000", "HostError too_big"),
        ("'reload_model'", "HostUnavailable unavailable"),
        ("'tokenize'", "HostError quota"),
    ],
)  # fmt: skip
async def test_what_is_not_done_says_why_and_the_next_call_works(call: str, told: str) -> None:
    spent = Raising(Refused("quota", "the quota is spent"))
    lines = await run(
        f"""
        try:
            print(g.call({call}))
        except OSError as error:
            print(type(error).__name__, error.code)
        print(g.call("time")["unix"] > 0)
        """,
        spent,
        routes=all_routes(spawn="DENY"),
    )

    assert lines == [told, "True"]


async def test_a_flip_reaches_a_program_that_runs() -> None:
    async with program(
        """
        print(g.routes()["time"], g.call("time")["unix"] > 1e9, flush=True)
        sys.stdin.readline()
        print(g.routes()["time"], g.routes()["fs.list"])
        for name in "time", "fs.list":
            try:
                g.call(name)
            except g.Denied as error:
                print(error)
        """,
        routes=all_routes("HOST", {"fs.list": "EMULATE"}),
    ) as it:
        assert it.process.stdout is not None
        assert (await it.process.stdout.readline()).decode() == "HOST True\n"
        it.broker.flip("time", "DENY")
        it.broker.flip("fs.list", "DENY")
        await asyncio.sleep(0.05)
        assert it.process.stdin is not None
        it.process.stdin.write(b"\n")
        assert await it.lines() == ["DENY DENY", "time is denied", "fs.list is denied"]


async def test_case_80_a_program_is_told_that_its_route_was_changed_on_the_way() -> None:
    fetch = Waiting()
    async with program(
        """
        try:
            g.call("fetch", url="http://a")
        except g.Denied as error:
            print(error.code, g.routes()["fetch"])
        """,
        fetch,
    ) as it:
        await until(lambda: fetch.begun)
        it.broker.flip("fetch", "DENY")

        assert await it.lines() == ["route_changed DENY"]
        assert fetch.effects == 0


async def test_threads_share_the_channel_one_at_a_time() -> None:
    lines = await run(
        """
        import threading
        done = []
        def work():
            for _ in range(50):
                done.append(g.call("time")["unix"] > 0)
                g.routes()
        threads = [threading.Thread(target=work) for _ in range(8)]
        [each.start() for each in threads]
        [each.join() for each in threads]
        print(len(done), all(done))
        """
    )

    assert lines == ["400 True"]


async def test_a_forked_child_is_refused_and_its_parent_goes_on() -> None:
    lines = await run(
        """
        g.call("time")
        for _ in range(3):
            child = os.fork()
            if child == 0:
                try:
                    g.routes()
                    g.call("time")
                except g.HostUnavailable as error:
                    print(error, g.write("a", "bc"), flush=True)
                os._exit(0)
            print(os.waitpid(child, 0)[1], g.call("time")["unix"] > 0, flush=True)
        """,
        routes=all_routes("HOST", {"fs.write_text": "EMULATE"}),
    )

    refusal = "time: only the process that lmboot started can ask the host 2"
    assert lines == [refusal, "0 True"] * 3


async def test_another_program_that_is_started_does_not_get_the_descriptor() -> None:
    lines = await run(
        """
        import subprocess
        inner = '''
        import guest_sys as g
        try:
            g.call("time")
        except g.HostUnavailable as error:
            print(error)
        '''.replace("\\n        ", "\\n")
        subprocess.run([sys.executable, "-c", inner], close_fds=False, check=True)
        print(g.call("time")["unix"] > 0)
        """
    )

    assert lines == ["time is routed to the host, but no broker answers", "True"]


async def test_an_interrupted_call_does_not_disturb_the_next() -> None:
    fetch = Waiting()
    async with program(
        """
        try:
            g.call("fetch", url="first")
        except KeyboardInterrupt:
            print("interrupted", flush=True)
        sys.stdin.readline()
        print(g.call("fetch", url="second"))
        """,
        fetch,
    ) as it:
        await until(lambda: fetch.begun)
        it.process.send_signal(signal.SIGINT)
        assert it.process.stdout is not None
        assert await it.process.stdout.readline() == b"interrupted\n"
        fetch.gate.set()
        await until(lambda: fetch.effects)
        assert it.process.stdin is not None
        it.process.stdin.write(b"\n")

        assert await it.lines() == ["second"]


async def test_a_signal_handler_that_asks_while_its_thread_asks_is_refused() -> None:
    fetch = Waiting()
    async with program(
        """
        import signal
        def handler(*_):
            try:
                g.call("time")
            except g.HostUnavailable as error:
                print(error, flush=True)
        signal.signal(signal.SIGUSR1, handler)
        print(g.call("fetch", url="done"))
        """,
        fetch,
    ) as it:
        await until(lambda: fetch.begun)
        it.process.send_signal(signal.SIGUSR1)
        await asyncio.sleep(0.1)
        fetch.gate.set()

        assert await it.lines() == ["time: this thread is asking the host already", "done"]


async def test_a_broker_that_hangs_up_is_told_and_files_in_memory_go_on() -> None:
    fetch = Waiting()
    async with program(
        """
        for name in "fetch", "time":
            try:
                g.call(name)
            except OSError as error:
                print(type(error).__name__, error.code)
        print(g.write("a", "bc"))
        """,
        fetch,
        routes=all_routes("HOST", {"fs.write_text": "EMULATE"}),
    ) as it:
        await until(lambda: fetch.begun)
        it.broker.close()

        lines = await it.lines()
        assert lines in (
            ["HostError lost", "HostUnavailable unavailable", "2"],
            ["HostError closed", "HostUnavailable unavailable", "2"],
        )


@pytest.mark.parametrize("descriptor", [None, "-1", "0", "999", "silent"])
def test_without_a_broker_the_host_is_unavailable_and_the_rest_works(
    descriptor: str | None,
) -> None:
    ours, theirs = socket.socketpair()
    if descriptor == "silent":
        descriptor = str(theirs.fileno())
    text = """
    g.BROKER_SECONDS = g._broker._patience = 0.05
    for op in "time", "time", "env":
        try:
            g.call(op)
        except OSError as error:
            print(type(error).__name__, error)
    print(g.write("a", "bc"), len(g.routes()))
    """
    env = {"LMBOOT_ROUTES": "time=HOST env=DENY fs.write_text=EMULATE", "PYTHONPATH": str(LIBRARY)}
    with ours, theirs:
        done = subprocess.run(
            [sys.executable, "-c", start_of(text)],
            env=env if descriptor is None else {**env, "LMBOOT_FD": descriptor},
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )

    no = "HostUnavailable time is routed to the host, but no broker answers"
    assert (done.stdout.splitlines(), done.stderr) == ([no, no, "Denied env is denied", "2 3"], "")


def test_the_library_imports_nothing_that_takes_long_before_it_is_used() -> None:
    done = subprocess.run(
        [sys.executable, "-S", "-c", "import sys, guest_sys; print('json' in sys.modules)"],
        env={"PYTHONPATH": str(LIBRARY)},
        capture_output=True,
        text=True,
        check=True,
    )

    assert done.stdout == "False\n"


# ---------------------------------------------------------------- what nobody is asked for


EMULATED: list[tuple[str, dict[str, object]]] = [
    ("fs.open", {"path": "a"}),
    ("fs.write_text", {"path": "a", "text": "b"}),
    ("fs.read_text", {"path": "a"}),
    ("fs.list", {}),
    ("fs.stat", {"path": "a"}),
    ("fs.remove", {"path": "a"}),
    ("fetch", {"url": "http://a.example/x"}),
    ("spawn", {"argv": ["true"]}),
    ("code.exec_python", {"code": "1"}),
    ("query_model", {"prompt": "x"}),
    ("inject_prompt", {"text": "x"}),
    ("tokenize", {"text": "x"}),
    ("logits", {"text": "x"}),
    ("reload_model", {}),
    ("database_query", {"path": "w.db", "sql": "select 1"}),
]


def test_the_library_and_the_broker_have_a_stand_in_for_every_operation() -> None:
    by_broker = {operation.name for operation in (Time, Env, Notify) if operation.emulates}

    assert {op for op, _ in EMULATED} | by_broker == set(OPERATIONS)


def test_what_is_emulated_says_so_and_needs_no_host() -> None:
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            start_of(
                f"""
                EMULATED = {EMULATED}
                print(g.fetch("http://a.example/x")["text"].splitlines())
                print(g.query_model("A wood?"))
                print(g.call("inject_prompt", text="x"), g.call("reload_model"))
                print(g.call("tokenize", text="four"), g.call("logits", text="x"))
                ask = lambda sql, *values: g.call(
                    "database_query", path="w.db", sql=sql, parameters=values
                )
                ask("create table wood (name text)")
                print(ask("insert into wood values (?)", "oak"), ask("select * from wood"))
                for op, args in EMULATED:
                    assert g.reply(op, **args)["emulated"] is True, op
                for wrong in "nonsense", "attach 'x.db' as x":
                    try:
                        ask(wrong)
                    except g.HostError as error:
                        print(error.code)
                """
            ),
        ],
        env={
            "LMBOOT_ROUTES": " ".join(f"{op}=EMULATE" for op in OPERATIONS),
            "PYTHONPATH": str(LIBRARY),
        },
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.stderr == ""
    assert done.stdout.splitlines() == [
        "['http://a.example/x', 'This page is emulated: nothing was fetched.']",
        "This answer is emulated: no model was asked.",
        "{'added': False} {'reloaded': False}",
        "{'tokens': 1} {'tokens': [{'text': ' emulated', 'probability': 1.0}]}",
        "{'columns': [], 'rows': [], 'changed': 1, 'more': False} "
        "{'columns': ['name'], 'rows': [['oak']], 'changed': 0, 'more': False}",
        "sql",
        "sql",
    ]
