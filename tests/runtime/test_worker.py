"""A worker in a real sandbox: calls, and what becomes of it when one goes wrong."""

from __future__ import annotations

import asyncio
import os
import socket
from pathlib import Path
from typing import Any

import pytest

from lmboot.errors import (
    CallFailed,
    CallLimit,
    ConsentImpossible,
    SandboxFault,
    UsageFault,
    WorkerFault,
)
from lmboot.process import Ended
from lmboot.runtime import life as lives
from lmboot.runtime import posture
from lmboot.runtime.broker import Broker
from lmboot.runtime.life import Life
from lmboot.runtime.operations import Notify, Time
from lmboot.runtime.policy import Limits
from lmboot.runtime.run import Box
from lmboot.runtime.worker import MAX_LOST, MAX_WAITING, REST_SECONDS, Worker
from tests import leaks
from tests.runtime.brokers import Record, all_routes, until
from tests.runtime.guests import job
from tests.runtime.workers import SECONDS, Printed, working

pytestmark = pytest.mark.sandbox

PARTS = """
    import os, sys, time

    calls = 0

    def echo(*args, **named):
        return [list(args), named]

    def counted():
        global calls
        calls += 1
        return calls

    def sleep(seconds):
        time.sleep(seconds)
    """


@pytest.fixture(params=["bubblewrap", "landlock"])
def sandbox(request: pytest.FixtureRequest) -> str:
    return str(request.param)


# ---------------------------------------------------------------- values


async def test_values_go_in_and_come_back_as_they_are(sandbox: str) -> None:
    values: list[Any] = [
        None,
        True,
        0,
        -(2**53),
        0.1,
        1e300,
        "",
        "é\U0001f600\u202e\n\x00",
        [],
        [[]],
        {"": {}},
    ]
    async with working(PARTS, sandbox) as it:
        assert await it.call("m:echo", *values) == [values, {}]
        assert await it.call("m:echo", named={"a": values, "b c": 1}) == [
            [],
            {"a": values, "b c": 1},
        ]


async def test_megabytes_go_both_ways(sandbox: str) -> None:
    text = "x" * (15 << 20)
    async with working("def size(text): return [len(text), text]", sandbox) as it:
        size, back = await it.call("m:size", text)

        assert (size, back == text) == (len(text), True)


@pytest.mark.parametrize(
    "expression",
    [
        "float('nan')",
        "2**53 + 1",
        "{1: 2}",
        "{1, 2}",
        "b'x'",
        "'\\ud800'",
        "object()",
        "[0] * 200_000",
        "'x' * (17 << 20)",
    ],
)
async def test_a_result_that_can_t_be_told_is_an_error_and_not_the_end(expression: str) -> None:
    async with working(PARTS + f"\n    def bad():\n        return {expression}") as it:
        with pytest.raises(CallFailed, match="can't be told") as failed:
            await it.call("m:bad")

        assert failed.value.kind == "ValueError"
        assert await it.call("m:echo") == [[], {}]
        assert it.replaced == 0


async def test_arguments_that_can_t_be_told_call_nothing() -> None:
    async with working(PARTS) as it:
        with pytest.raises(UsageFault, match="can't be told"):
            await it.call("m:counted", float("nan"))

        assert await it.call("m:counted") == 1


@pytest.mark.parametrize("seconds", [0, -1, float("nan")])
async def test_a_call_gets_some_time_or_is_not_made(seconds: float) -> None:
    async with working(PARTS) as it:
        with pytest.raises(UsageFault, match="seconds"):
            await it.call("m:counted", seconds=seconds)

        assert await it.call("m:counted") == 1


async def test_a_worker_remembers_from_call_to_call(sandbox: str) -> None:
    async with working(PARTS, sandbox) as it:
        assert [await it.call("m:counted") for _ in range(3)] == [1, 2, 3]
        assert it.replaced == 0


async def test_modules_of_packages_are_called_too() -> None:
    files = {"tools/__init__.py": b"", "tools/text.py": b"def up(t): return t.upper()"}
    it = await Worker.start(files)
    try:
        assert await it.call("tools.text:up", "abc") == "ABC"
    finally:
        await it.close()


async def test_the_library_s_modules_are_safe_from_files_of_the_same_name() -> None:
    names = ("array", "json", "math", "os", "socket", "traceback", "linecache", "selectors")
    files = {f"{name}.py": b"raise SystemExit(f'{__name__} was taken')" for name in names}
    it = await Worker.start({**files, "m.py": b"def f(): return 1\ndef g(): raise OSError"})
    try:
        assert await it.call("m:f") == 1
        with pytest.raises(CallFailed, match="OSError"):
            await it.call("m:g")
    finally:
        await it.close()


# ---------------------------------------------------------------- exceptions


async def test_an_exception_comes_back_with_the_function_s_own_frames(sandbox: str) -> None:
    source = """
        def outer():
            try:
                inner()
            except KeyError as error:
                raise ValueError("no\\x1b[2J way") from error

        def inner():
            return {}["missing"]
        """
    async with working(source, sandbox) as it:
        with pytest.raises(CallFailed) as failed:
            await it.call("m:outer")

        error = failed.value
        assert str(error) == "m:outer raised ValueError: no way"
        assert error.kind == "ValueError"
        assert error.traceback.count("m.py") == 3
        assert '{}["missing"]' in error.traceback
        assert "serve.py" not in error.traceback
        assert it.replaced == 0


@pytest.mark.parametrize(
    ("function", "kind"),
    [
        ("m:missing", "AttributeError"),
        ("nowhere:f", "ModuleNotFoundError"),
        ("m:number", "TypeError"),
        ("m:one", "TypeError"),
        ("broken:f", "SyntaxError"),
        ("failing:f", "ZeroDivisionError"),
        ("m:interrupted", "KeyboardInterrupt"),
        ("m:deep", "RecursionError"),
        ("m:starving", "MemoryError"),
    ],
)
async def test_whatever_is_raised_is_an_answer(function: str, kind: str) -> None:
    source = b"""
number = 1
def one(argument): pass
def interrupted(): raise KeyboardInterrupt
def deep(): deep()
def starving(): bytearray(1 << 40)
"""
    it = await Worker.start({"m.py": source, "broken.py": b"def", "failing.py": b"1 / 0"})
    try:
        with pytest.raises(CallFailed) as failed:
            await it.call(function)

        assert failed.value.kind == kind
        assert "importlib" not in failed.value.traceback
        assert it.replaced == 0
        assert await it.call("m:one", 1) is None
    finally:
        await it.close()


# ---------------------------------------------------------------- the worker's end


@pytest.mark.parametrize(
    ("statement", "told"),
    [
        ("sys.exit(3)", "with status 3"),
        ("sys.exit()", "with status 0"),
        ("sys.exit('words')", "with status 1: words"),
        ("os._exit(7)", "with status 7"),
        ("os.kill(os.getpid(), 11)", "by SIGSEGV"),
        ("os.abort()", "by SIGABRT"),
        ("os.close(3); time.sleep(60)", "by SIGKILL"),
    ],
)
async def test_a_worker_that_ends_fails_the_call_and_is_replaced(
    sandbox: str, statement: str, told: str
) -> None:
    async with working(PARTS + f"\n    def end():\n        {statement}", sandbox) as it:
        await it.call("m:counted")

        with pytest.raises(WorkerFault, match=f"m:end: the worker ended {told}"):
            await it.call("m:end")

        assert await it.call("m:counted") == 1
        assert it.replaced == 1


async def test_a_thread_does_not_hold_up_an_exit() -> None:
    source = """
        import sys, threading, time
        def end():
            threading.Thread(target=time.sleep, args=[600]).start()
            sys.exit(4)
        """
    async with working(source) as it:
        with pytest.raises(WorkerFault, match="status 4"):
            await it.call("m:end", seconds=SECONDS)


async def test_a_worker_that_ends_between_two_calls_is_replaced_at_the_next(sandbox: str) -> None:
    source = PARTS + "\n    def pid():\n        return os.getpid()"
    async with working(source, sandbox) as it:
        await it.call("m:counted")
        assert it._life is not None
        it._life._runtime._child._supervisor._process.kill()
        life = it._life
        await until(lambda: life.over is not None)

        assert await it.call("m:counted") == 1
        assert it.replaced == 1


async def test_a_call_that_takes_too_long_is_ended_with_all_that_it_started(sandbox: str) -> None:
    source = """
        import os, signal, time
        def hang():
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            if os.fork() == 0:
                os.setsid()
            while True:
                time.sleep(1)
        def fine():
            return "fine"
        """
    async with working(source, sandbox) as it:
        with pytest.raises(CallLimit, match=r"seconds: 0\.5") as failed:
            await it.call("m:hang", seconds=0.5)

        assert failed.value.limit == "seconds"
        assert await it.call("m:fine") == "fine"
        assert it.replaced == 1


@pytest.mark.parametrize(
    ("statement", "limit"),
    [
        ("held = bytearray(120 << 20); time.sleep(60)", "memory_mb"),
        ("any(iter(int, 1))", "cpu_seconds"),
        ("print('x' * (3 << 20)); time.sleep(60)", "output_mb"),
    ],
)
async def test_a_limit_of_the_worker_ends_it_by_name(
    sandbox: str, statement: str, limit: str
) -> None:
    limits = Limits(memory_mb=80, cpu_seconds=1, output_mb=2)
    async with working(
        PARTS + f"\n    def end():\n        {statement}", sandbox, limits=limits
    ) as it:
        with pytest.raises(CallLimit) as failed:
            await it.call("m:end", seconds=SECONDS)

        assert failed.value.limit == limit
        assert await it.call("m:counted") == 1


async def test_a_child_that_a_function_forked_does_not_answer_too(sandbox: str) -> None:
    source = PARTS + "\n    def fork():\n        return os.fork() != 0"
    async with working(source, sandbox) as it:
        assert [await it.call("m:fork") for _ in range(10)] == [True] * 10
        assert await it.call("m:counted") == 1
        assert it.replaced == 0


# ---------------------------------------------------------------- output and input


async def test_all_that_a_call_printed_is_there_when_it_returns(sandbox: str) -> None:
    source = """
        import sys
        def say(number):
            print("out", number)
            print("err", number, file=sys.stderr)
        """
    printed = Printed()
    async with working(source, sandbox, output=printed) as it:
        for number in range(20):
            await it.call("m:say", number)
            assert printed.out.endswith(f"out {number}\n".encode())
            assert printed.err.endswith(f"err {number}\n".encode())


async def test_megabytes_of_output_hold_nobody_up(sandbox: str) -> None:
    printed = Printed()
    source = "def say(): print('x' * (5 << 20)); return 1"
    async with working(source, sandbox, output=printed) as it:
        assert await it.call("m:say") == 1

        assert len(printed.out) == (5 << 20) + 1


async def test_what_was_printed_is_counted_anew_for_each_call() -> None:
    async with working("def say(): print('x' * 700_000)", limits=Limits(output_mb=1)) as it:
        for _ in range(5):
            await it.call("m:say")

        assert it.replaced == 0


@pytest.mark.parametrize("seconds", [0, 600])
async def test_a_taker_of_output_that_fails_is_heard_of(seconds: int) -> None:
    """Whether the output is taken at the call's end, or long before."""

    def take(_: object) -> None:
        raise ZeroDivisionError

    source = b"import time\ndef say(seconds): print(1); time.sleep(seconds)"
    it = await Worker.start({"m.py": source}, output=take)
    with pytest.raises(ZeroDivisionError):
        await it.call("m:say", seconds, seconds=SECONDS)
    await it.close()


async def test_nobody_types_for_a_function() -> None:
    async with working("def ask(): return input()") as it:
        with pytest.raises(CallFailed, match="EOFError"):
            await it.call("m:ask")


# ---------------------------------------------------------------- descriptors

READ = """
    import os

    def read(descriptors):
        return [os.read(each, 100).decode() for each in descriptors]

    def write(text, descriptors):
        os.write(descriptors[0], text.encode())

    def opened():
        return sorted(int(name) for name in os.listdir("/proc/self/fd"))

    def numbers():
        found = []
        for number in range(64):
            try:
                os.fstat(number)
            except OSError:
                continue
            found.append(number)
        return found

    def replace(descriptors):
        os.close(descriptors[0])
        global kept
        kept = os.open("m.py", os.O_RDONLY)
        return kept == descriptors[0]

    def still_there():
        return os.read(kept, 4) is not None
    """


async def test_files_and_pipes_can_be_handed_over(sandbox: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("from a file")
    reading, writing = os.pipe()
    os.write(writing, b"from a pipe")
    async with working(READ, sandbox) as it:
        with (tmp_path / "file").open("rb") as opened:
            numbers = await it.call("m:numbers")
            for _ in range(3):
                os.write(writing, b"from a pipe")
                given = [opened.fileno(), reading]
                texts = await it.call("m:read", descriptors=given)
                assert texts == ["from a file", "from a pipe" * (len(texts[1]) // 11)]
            await it.call("m:write", "back", descriptors=[writing])

            assert os.read(reading, 100) == b"back"
            assert await it.call("m:numbers") == numbers
    os.close(reading)
    os.close(writing)


async def test_eight_descriptors_come_in_their_order() -> None:
    pipes = [os.pipe() for _ in range(8)]
    for number, (_, writing) in enumerate(pipes):
        os.write(writing, str(number).encode())
    async with working(READ) as it:
        texts = await it.call("m:read", descriptors=[reading for reading, _ in pipes])

    assert texts == list("01234567")
    for each in pipes:
        os.close(each[0])
        os.close(each[1])


async def test_a_number_that_the_function_closed_itself_is_not_closed_again() -> None:
    async with working(READ) as it:
        opened = os.open("/proc/self/stat", os.O_RDONLY)
        assert await it.call("m:replace", descriptors=[opened])
        os.close(opened)

        assert await it.call("m:still_there")


async def test_what_can_t_be_handed_over_calls_nothing(tmp_path: Path) -> None:
    async with working(PARTS) as it:
        folder = os.open(tmp_path, os.O_RDONLY)
        with pytest.raises(UsageFault, match="neither a file nor a pipe"):
            await it.call("m:counted", descriptors=[folder])
        os.close(folder)

        assert await it.call("m:counted") == 1


# ---------------------------------------------------------------- many calls at once, and none


async def test_calls_are_served_one_after_another_in_their_order(sandbox: str) -> None:
    source = """
        import time
        order = []
        def note(number):
            order.append(number)
            time.sleep(0.001)
            order.append(number)
            return order
        """
    async with working(source, sandbox) as it:
        *_, last = await asyncio.gather(*(it.call("m:note", number) for number in range(20)))

    assert last == [number for number in range(20) for _ in "ab"]


async def test_only_so_many_calls_may_wait() -> None:
    async with working(PARTS) as it:
        calls = [asyncio.create_task(it.call("m:counted")) for _ in range(MAX_WAITING + 1)]
        results = await asyncio.gather(*calls, return_exceptions=True)

        assert results[:-1] == [*range(1, MAX_WAITING + 1)]
        assert isinstance(results[-1], WorkerFault)
        assert await it.call("m:counted") == MAX_WAITING + 1


async def test_a_call_that_is_cancelled_ends_the_worker_and_no_other_call(sandbox: str) -> None:
    printed = Printed()
    source = PARTS + "\n    def begun():\n        print('begun'); time.sleep(600)"
    async with working(source, sandbox, output=printed) as it:
        running = asyncio.create_task(it.call("m:begun", seconds=SECONDS))
        waiting = asyncio.create_task(it.call("m:counted"))
        await until(lambda: b"begun" in printed.out)

        running.cancel()

        assert await waiting == 1
        assert running.cancelled()
        assert it.replaced == 1


async def test_a_call_that_is_cancelled_before_its_turn_was_never_there() -> None:
    async with working(PARTS) as it:
        running = asyncio.create_task(it.call("m:sleep", 0.2))
        waiting = asyncio.create_task(it.call("m:counted"))
        await asyncio.sleep(0)

        waiting.cancel()
        await asyncio.wait([running, waiting])

        assert running.exception() is None
        assert await it.call("m:counted") == 1
        assert it.replaced == 0


async def test_cancelling_at_any_moment_leaves_nothing(sandbox: str) -> None:
    await (await Worker.start({}, sandbox=sandbox)).close()
    tasks = asyncio.all_tasks()
    before = leaks.descriptors()
    for delay in (0, 0.001, 0.005, 0.01, 0.02, 0.04, 0.08, 0.16):
        starting = asyncio.create_task(Worker.start({"m.py": b"x = 1"}, sandbox=sandbox))
        await asyncio.sleep(delay)
        starting.cancel()
        await asyncio.wait([starting])
        if not starting.cancelled():
            await starting.result().close()

    assert leaks.descriptors() == before
    assert asyncio.all_tasks() == tasks


async def test_cancelling_a_call_that_gets_a_new_process_leaves_nothing(sandbox: str) -> None:
    async with working(PARTS + "\n    def end():\n        os._exit(1)", sandbox) as it:
        for delay in (0, 0.001, 0.003, 0.01, 0.03):
            with pytest.raises(WorkerFault):
                await it.call("m:end")
            calling = asyncio.create_task(it.call("m:sleep", 600, seconds=SECONDS))
            await asyncio.sleep(delay)
            calling.cancel()
            await asyncio.wait([calling])

            assert calling.cancelled()
            assert await it.call("m:counted") == 1


async def test_closing_ends_the_call_under_way_and_refuses_those_to_come(sandbox: str) -> None:
    async with working(PARTS, sandbox) as it:
        running = asyncio.create_task(it.call("m:sleep", 600, seconds=SECONDS))
        waiting = asyncio.create_task(it.call("m:counted"))
        await asyncio.sleep(0.05)

        await it.close()
        await it.close()

        with pytest.raises(WorkerFault, match="closed"):
            await running
        with pytest.raises(WorkerFault, match="closed"):
            await waiting
        with pytest.raises(WorkerFault, match="closed"):
            await it.call("m:counted")


async def test_closing_while_a_lost_worker_is_replaced_leaves_nothing(sandbox: str) -> None:
    for delay in (0, 0.001, 0.01, 0.02):
        it = await Worker.start({"m.py": b"import os\ndef end(): os._exit(1)"}, sandbox=sandbox)
        with pytest.raises(WorkerFault):
            await it.call("m:end")
        calling = asyncio.create_task(it.call("time:sleep", 600, seconds=SECONDS))
        await asyncio.sleep(delay)

        async with asyncio.timeout(SECONDS / 2):
            await it.close()

        with pytest.raises(WorkerFault, match="closed"):
            await calling


async def test_many_calls_and_lives_cost_no_descriptors(sandbox: str) -> None:
    before = leaks.descriptors()
    async with working(PARTS, sandbox) as it:
        for _ in range(5):
            await it.call("m:counted")
            with pytest.raises(CallLimit):
                await it.call("m:sleep", 60, seconds=0.02)

    assert leaks.descriptors() == before


# ---------------------------------------------------------------- starting


async def test_a_system_that_sends_no_descriptors_has_no_workers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    backend = (await posture.choose("bubblewrap", no_border=False)).backend
    box = await Box.open(backend)
    monkeypatch.setattr("lmboot.system.can_send", False)

    with pytest.raises(SandboxFault, match="no functions can be called"):
        await Life.begin(box, job("print('ran')"), print)


async def test_workers_that_end_again_and_again_get_a_rest() -> None:
    now = 0.0
    source = "import os\ndef end(): os._exit(1)\ndef fine(): return 1"
    async with working(source, clock=lambda: now) as it:
        for _ in range(MAX_LOST):
            with pytest.raises(WorkerFault, match="status 1"):
                await it.call("m:end")
        for _ in range(3):
            with pytest.raises(WorkerFault, match="5 processes in a row"):
                await it.call("m:fine")
        assert it.replaced == MAX_LOST - 1
        now = REST_SECONDS

        assert await it.call("m:fine") == 1
        with pytest.raises(WorkerFault, match="status 1"):
            await it.call("m:end")
        assert await it.call("m:fine") == 1


async def test_a_program_that_does_not_answer_is_no_worker(sandbox: str) -> None:
    chosen = await posture.choose(sandbox, no_border=False)
    box = await Box.open(chosen.backend)

    with pytest.raises(
        WorkerFault, match="the start of a worker: the worker ended with status 3: no"
    ):
        await Life.begin(box, job("import sys\nprint('no', file=sys.stderr)\nsys.exit(3)"), print)


@pytest.mark.parametrize(
    "said", [b'{"id":0,"value":1}', b'{"id":1,"value":null}', b"hello", b'{"id":0,"value":null}\n']
)
async def test_a_first_answer_that_is_none_is_the_end(said: bytes) -> None:
    chosen = await posture.choose("auto", no_border=False)
    box = await Box.open(chosen.backend)
    program = f"import os\nos.read(3, 100)\nos.write(3, {said!r} + b'\\n')\nos.read(3, 100)"

    with pytest.raises(WorkerFault, match="broke the protocol"):
        await Life.begin(box, job(program), print)


async def test_a_program_that_never_answers_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lives, "START_SECONDS", 0.3)
    chosen = await posture.choose("auto", no_border=False)
    box = await Box.open(chosen.backend)

    with pytest.raises(CallLimit, match="the start of a worker"):
        await Life.begin(box, job("import time; time.sleep(600)"), print)


async def test_no_sandbox_no_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConsentImpossible):
        await Worker.start({}, sandbox="none")
    with pytest.raises(UsageFault, match="no sandbox"):
        await Worker.start({}, sandbox="imaginary")

    async def unusable(*_: object, **__: object) -> Any:
        raise SandboxFault("none is usable here")

    monkeypatch.setattr(posture, "choose", unusable)
    with pytest.raises(SandboxFault, match="usable"):
        await Worker.start({})


async def test_without_a_border_it_works_where_that_was_asked_for() -> None:
    async with working(PARTS, "none", no_border=True) as it:
        assert await it.call("m:counted") == 1
        with pytest.raises(CallLimit):
            await it.call("m:sleep", 60, seconds=0.1)
        assert await it.call("m:counted") == 1


async def test_lmboot_s_own_folder_is_not_for_a_worker_s_files() -> None:
    with pytest.raises(UsageFault, match="_lmboot"):
        await Worker.start({"_lmboot/serve.py": b""})


async def test_a_sandbox_that_can_t_be_set_up_any_more_is_told_and_tried_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with working(PARTS + "\n    def end():\n        os._exit(1)") as it:
        with pytest.raises(WorkerFault):
            await it.call("m:end")
        box, opened = await it._spare, Box.open  # type: ignore[misc]  # it stands
        await box.close()

        async def full(*_: object) -> Box:
            raise SandboxFault("no room")

        it._spare = None
        monkeypatch.setattr(Box, "open", full)
        with pytest.raises(SandboxFault, match="no room"):
            await it.call("m:counted")
        monkeypatch.setattr(Box, "open", opened)

        assert await it.call("m:counted") == 1


async def test_a_spare_sandbox_that_died_is_no_obstacle(sandbox: str) -> None:
    async with working(PARTS + "\n    def end():\n        os._exit(1)", sandbox) as it:
        assert it._spare is not None
        spare = await asyncio.shield(it._spare)
        assert spare._standby is not None
        spare._standby.child._supervisor._process.kill()

        with pytest.raises(WorkerFault):
            await it.call("m:end")

        assert await it.call("m:counted") == 1


# ---------------------------------------------------------------- what it asks of its host


async def test_a_function_asks_its_host_in_mid_call(sandbox: str) -> None:
    source = """
        import guest_sys, os
        def ask(text):
            guest_sys.write("a", "bc")
            shown = guest_sys.call("notify", text=text)
            return [guest_sys.call("time")["unix"] > 1e9, shown, guest_sys.read("a")]
        def end():
            os._exit(1)
        """
    shown: list[str] = []
    ended: list[str] = []

    async def serve(connection: socket.socket) -> None:
        broker = Broker(connection, routes, [Time(), Notify(shown.append)], Record())
        ended.append(await broker.serve())

    routes = all_routes("HOST", {"fs.write_text": "EMULATE", "fs.read_text": "EMULATE"})
    table = routes.table()
    async with working(source, sandbox, operations=serve, routes=table) as it:
        assert await it.call("m:ask", "one") == [True, {"shown": True}, "bc"]
        assert await it.call("m:ask", "two") == [True, {"shown": True}, "bc"]
        with pytest.raises(WorkerFault):
            await it.call("m:end")
        assert await it.call("m:ask", "three") == [True, {"shown": True}, "bc"]

    assert shown == ["one", "two", "three"]
    assert ended == ["hung_up", "hung_up"]


async def test_without_operations_the_host_does_nothing_and_nobody_waits() -> None:
    source = "import guest_sys\ndef ask(): return guest_sys.call('time')"
    async with working(source) as it:
        with pytest.raises(CallFailed, match="Denied"):
            await it.call("m:ask")
    async with working(source, routes={"time": "HOST"}) as it:
        with pytest.raises(CallFailed, match="HostUnavailable"):
            await it.call("m:ask")


async def test_operations_that_do_not_end_are_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lives, "SERVING_SECONDS", 0.05)
    cancelled = asyncio.Event()

    async def forever(connection: socket.socket) -> None:
        with connection:
            try:
                await asyncio.Event().wait()
            finally:
                cancelled.set()

    async with working(PARTS, operations=forever) as it:
        assert await it.call("m:counted") == 1

    async with asyncio.timeout(SECONDS):
        await cancelled.wait()


async def test_an_end_that_is_not_clean_is_told() -> None:
    async with working(PARTS) as it:
        assert it._life is not None
        life = it._life
        await life.close()
        life._ended = Ended(137, None, clean=False)

        assert "not all that it had started" in str(await life.fault("m:f"))
