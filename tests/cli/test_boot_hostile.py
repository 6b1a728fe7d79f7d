"""Programs that do what no program should: each ends in time, tells why, and leaves nothing."""

from __future__ import annotations

import os
from time import monotonic

import pytest

from tests.cli.program import Bench, Done

pytestmark = pytest.mark.attack


async def boot(
    bench: Bench, program: str, *lines: str, wait: str = "0.5", **manifest: object
) -> Done:
    file = bench.payload(program, **manifest)
    command = ("boot", "--payload", file, "--yes", "--json", "--wait", wait)
    return await bench.run(*command, lines=lines)


async def test_a_runtime_that_never_answers(bench: Bench) -> None:
    done = await boot(bench, "import time\ntime.sleep(1000)", ":rt x", ":rt y")

    assert (done.code, done.events.count("wait")) == (0, 3)


async def test_a_runtime_that_exits_at_once(bench: Bench) -> None:
    done = await boot(bench, "", ":rt x")

    assert (done.code, done.event("ended")["code"]) == (0, 0)
    assert "has ended" in done.pane("sys")[-1]


@pytest.mark.case(60)
async def test_a_runtime_that_prints_bytes_of_all_kinds(bench: Bench) -> None:
    program = "import os, sys\nos.write(1, bytes(range(256)) * 1000 + b'\\n')\nsys.stdin.read()"

    done = await boot(bench, program, ":rt x")

    assert done.code == 0
    assert len(done.pane("rt")) == 1001
    assert done.pane("rt")[0] == "".join(map(chr, range(10)))


@pytest.mark.parametrize("end", ["\\n", ""])
async def test_a_runtime_that_prints_for_ever(bench: Bench, end: str) -> None:
    program = f"import os\nwhile True: os.write(1, b'x' * 999 + b'{end}')"

    done = await boot(bench, program, ":rt x", limits={"output_mb": 2})

    written = sum(len(text) for text in done.pane("rt"))
    assert (done.code, done.event("limit")["limit"]) == (5, "output")
    assert 1 << 20 < written < 4 << 20


async def test_a_runtime_that_does_not_read(bench: Bench) -> None:
    program = "print('ready', flush=True)\nimport time\ntime.sleep(1000)"

    done = await boot(bench, program, *(":rt " + "x" * (1 << 20) for _ in range(4)), wait="0.1")

    assert done.code == 0
    assert any("was not sent" in text for text in done.pane("sys"))


@pytest.mark.parametrize("closed", ["0", "1", "2", "0, 1, 2"])
async def test_a_runtime_that_closes_its_streams(bench: Bench, closed: str) -> None:
    program = (
        "import os, time\nprint('ready', flush=True)\n"
        f"for number in [{closed}]: os.close(number)\ntime.sleep(1000)"
    )

    done = await boot(bench, program, ":rt x")

    assert done.code == 0
    assert done.pane("rt") == ["ready"]


async def test_a_runtime_that_ignores_every_signal(bench: Bench) -> None:
    program = """\
import signal, time
for number in range(1, 65):
    try:
        signal.signal(number, signal.SIG_IGN)
    except (OSError, ValueError):
        pass
print("ready", flush=True)
while True:
    time.sleep(1000)
"""

    done = await boot(bench, program, ":quit")

    assert (done.code, done.event("ended")["code"]) == (0, 137)


async def test_daemons_end_with_the_runtime(bench: Bench) -> None:
    program = """\
import os, time
for _ in range(20):
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            while True:
                time.sleep(1)
        os._exit(0)
print("ready", flush=True)
"""

    done = await boot(bench, program, ":rt x")

    assert done.code == 0
    assert done.events[-1] == "ended"


async def test_a_bomb_of_forks_ends_by_its_limit_or_by_quit(bench: Bench) -> None:
    program = """\
import os
print("ready", flush=True)
while True:
    try:
        os.fork()
    except OSError:
        pass
"""

    done = await boot(bench, program, ":quit", limits={"processes": 20})

    assert done.code in (0, 5)
    assert done.events[-1] == "ended"


async def test_a_runtime_that_fills_the_memory(bench: Bench) -> None:
    program = "print('ready', flush=True)\nx = []\nwhile True: x.append(b'x' * (1 << 20))"

    done = await boot(bench, program, ":rt x", wait="20", limits={"memory_mb": 64})

    assert done.code == 5
    assert done.event("limit")["limit"] == "memory" or "MemoryError" in str(done.pane("rt!"))


async def test_a_runtime_that_fills_the_disk(bench: Bench) -> None:
    program = """\
try:
    with open("big", "wb") as file:
        while True:
            file.write(b"x" * (1 << 20))
except OSError as error:
    print(type(error).__name__, flush=True)
input()
"""

    done = await boot(bench, program, ":rt x", limits={"disk_mb": 2})

    assert done.code == 0
    assert done.pane("rt") == ["OSError"]


async def test_a_runtime_that_burns_the_processor(bench: Bench) -> None:
    program = "print('ready', flush=True)\nwhile True: pass"

    done = await boot(bench, program, ":rt x", wait="20", limits={"cpu_seconds": 1})

    assert (done.code, done.event("limit")["limit"]) == (5, "cpu")


@pytest.mark.case(62)
async def test_a_runtime_that_writes_lines_for_our_json(bench: Bench) -> None:
    forged = '{"pane": "sys", "text": "forged", "event": "grant"}'
    program = f"print({forged!r} + chr(0x2028) + chr(13) + {forged!r}, flush=True)\ninput()"

    done = await boot(bench, program, ":quit")

    assert "grant" not in done.events
    assert len(done.pane("rt")) == 1


async def test_an_end_takes_no_longer_than_the_contract_says(bench: Bench) -> None:
    """Not a measurement: ten times what it may take would be a hang."""
    stubborn = "import signal\nsignal.signal(15, signal.SIG_IGN)\nprint('x', flush=True)\n"
    began = monotonic()

    done = await boot(bench, stubborn + "while True: signal.pause()", ":quit")

    assert done.code == 0
    assert monotonic() - began < 30


async def test_a_keep_folder_takes_nothing_that_leads_outside(bench: Bench) -> None:
    program = """\
import os
os.symlink("/etc/passwd", "a")
os.symlink("..", "b")
os.mkfifo("c")
os.link("main.py", "d")
open("e\\n\\x1b[31m", "w").write("x")
os.makedirs("f/" * 40)
print("ready", flush=True)
input()
"""
    folder = bench.folder / "kept"
    file = bench.payload(program)
    command = ("boot", "--payload", file, "--yes", "--json", "--keep", str(folder))

    done = await bench.run(*command, lines=[":quit"])

    assert done.code == 0
    assert not {"a", "b", "c"} & set(os.listdir(folder))
    assert "\x1b" not in "".join(done.pane("sys"))
