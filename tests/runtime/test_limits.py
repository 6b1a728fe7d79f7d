"""Every limit of a run, exceeded for real."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from lmboot import cgroups
from lmboot.errors import SandboxFault
from lmboot.runtime.policy import Limits
from tests.runtime.guests import in_each, run, started

pytestmark = pytest.mark.sandbox
EVERY = in_each("bubblewrap", "landlock", "podman", "none")
CONTAINED = in_each("bubblewrap", "podman")
BOTH_WAYS = pytest.mark.usefixtures("whoever_keeps_them")


@pytest.fixture(scope="module", params=["by the kernel", "by looking"])
def whoever_keeps_them(request: pytest.FixtureRequest) -> Iterator[None]:
    """Have the limits kept in a control group, then as on a machine where none can be had."""
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "by looking":
            patch.setattr(cgroups, "find", lambda: ())
        yield


@EVERY
@BOTH_WAYS
async def test_memory_of_one_process(sandbox: str) -> None:
    guest = await run(
        "held = bytearray(200 << 20)\nprint('held')\nimport time; time.sleep(60)",
        limits=Limits(memory_mb=100),
        sandbox=sandbox,
    )

    assert guest.ended is not None
    assert (guest.ended.limit, guest.ended.clean) == ("memory", True)


@EVERY
@BOTH_WAYS
async def test_memory_of_many_processes_that_are_each_within_it(sandbox: str) -> None:
    guest = await run(
        """
        import os, time
        for _ in range(12):
            if os.fork() == 0:
                held = bytearray(20 << 20)
                time.sleep(60)
        time.sleep(60)
        """,
        limits=Limits(memory_mb=128),
        sandbox=sandbox,
    )

    assert guest.ended is not None
    assert (guest.ended.limit, guest.ended.clean) == ("memory", True)


@EVERY
@BOTH_WAYS
async def test_memory_that_is_shared_counts_once(sandbox: str) -> None:
    guest = await run(
        """
        import os, time
        held = bytearray(60 << 20)
        children = []
        for _ in range(8):
            if os.fork() == 0:
                time.sleep(1)
                os._exit(0)
        for _ in range(8):
            os.wait()
        print("done")
        """,
        limits=Limits(memory_mb=150),
        sandbox=sandbox,
    )

    assert (guest.text, guest.code) == ("done\n", 0)


async def test_memory_that_can_t_be_had_at_all_is_a_memory_error() -> None:
    guest = await run("bytearray(4 << 30)")

    assert guest.errors.endswith("MemoryError\n")
    assert guest.code == 1


@EVERY
@BOTH_WAYS
async def test_cpu_time_of_one_process(sandbox: str) -> None:
    guest = await run("while True: pass", limits=Limits(cpu_seconds=0.5), sandbox=sandbox)

    assert guest.ended is not None
    assert guest.ended.limit == "cpu"


@EVERY
@BOTH_WAYS
async def test_cpu_time_of_children_that_were_waited_for(sandbox: str) -> None:
    guest = await run(
        """
        import os
        while True:
            if os.fork() == 0:
                for _ in range(2_000_000): pass
                os._exit(0)
            os.wait()
        """,
        limits=Limits(cpu_seconds=0.7),
        sandbox=sandbox,
    )

    assert guest.ended is not None
    assert guest.ended.limit == "cpu"


@BOTH_WAYS
@pytest.mark.parametrize("turns", [5_000_000, 300_000], ids=["long lives", "short lives"])
async def test_cpu_time_of_children_whose_end_nobody_wants_to_know(turns: int) -> None:
    guest = await run(
        f"""
        import os, signal, time
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        while True:
            child = os.fork()
            if child == 0:
                for _ in range({turns}): pass
                os._exit(0)
            try:
                os.waitpid(child, 0)
            except ChildProcessError:
                pass
        """,
        limits=Limits(cpu_seconds=1, wall_seconds=20),
    )

    assert guest.ended is not None
    assert guest.ended.limit == "cpu"


@EVERY
@BOTH_WAYS
async def test_wall_clock(sandbox: str) -> None:
    guest = await run(
        "import os, time; os.close(1); time.sleep(60)",
        limits=Limits(wall_seconds=0.3),
        sandbox=sandbox,
    )

    assert guest.ended is not None
    assert (guest.ended.limit, guest.code) == ("wall", 137)


async def test_a_wall_clock_that_is_not_there_ends_nothing() -> None:
    guest = await run("import time; time.sleep(0.5); print('done')")

    assert guest.text == "done\n"


@CONTAINED
async def test_processes(sandbox: str) -> None:
    guest = await run(
        """
        import os, time
        count = 0
        try:
            while count < 500:
                if os.fork() == 0:
                    time.sleep(60)
                count += 1
        except BlockingIOError as error:
            print(count, error.strerror)
        """,
        limits=Limits(processes=64),
        sandbox=sandbox,
    )

    count, _, error = guest.text.partition(" ")
    assert 55 <= int(count) <= 63  # with the main process at most 64
    assert error == "Resource temporarily unavailable\n"


async def test_processes_without_a_border_are_counted_and_the_run_is_ended(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(cgroups, "find", lambda: ())
    guest = await run(
        """
        import os, time
        for _ in range(40):
            if os.fork() == 0:
                time.sleep(60)
        time.sleep(60)
        """,
        limits=Limits(processes=20),
        sandbox="none",
    )

    assert guest.ended is not None
    assert (guest.ended.limit, guest.ended.clean) == ("processes", True)


FILL = """
    import os, sys
    def fill(folder, size):
        written = number = 0
        try:
            while written < 200 << 20:
                with open(f"{folder}/fill-{number}", "wb", buffering=0) as file:
                    for _ in range(8):
                        written += file.write(bytes(size))
                number += 1
        except OSError as error:
            return written >> 20, error.strerror
    """


@pytest.mark.parametrize(("folder", "megabytes"), [("/app", 64), ("/tmp", 16), ("/dev/shm", 16)])
@CONTAINED
async def test_disk(sandbox: str, folder: str, megabytes: int) -> None:
    guest = await run(FILL + f"\n    print(fill({folder!r}, 1 << 20))", sandbox=sandbox)

    assert guest.text in {
        f"({size}, 'No space left on device')\n" for size in (megabytes - 1, megabytes)
    }


async def test_disk_can_be_lower_but_not_too_low_for_the_payload() -> None:
    with pytest.raises(
        SandboxFault, match="needs 2,097,152 bytes of disk, and its limit is 1 MB"
    ) as caught:
        await run({"main.py": "x", "big": bytes((2 << 20) - 4096)}, limits=Limits(disk_mb=1))

    assert "the manifest or your settings" in caught.value.hint  # by either it may be that low


async def test_a_disk_that_the_payload_fills_to_the_last_page_is_enough() -> None:
    guest = await run(
        {"main.py": "print('fine')", "big": bytes((1 << 20) - 4096)}, limits=Limits(disk_mb=1)
    )

    assert guest.text == "fine\n"


@CONTAINED
async def test_nothing_else_is_writable(sandbox: str) -> None:
    guest = await run(
        """
        import os
        found = []
        for folder, folders, files in os.walk("/"):
            if folder.startswith("/proc/"):
                folders.clear()
                continue
            try:
                os.close(os.open(f"{folder}/canary", os.O_CREAT | os.O_WRONLY))
                found.append(folder)
                os.unlink(f"{folder}/canary")
            except OSError:
                pass
            if folder.startswith("/usr/"):
                folders.clear()
        print(sorted(found))
        """,
        sandbox=sandbox,
    )

    assert guest.text == "['/app', '/dev/shm', '/tmp']\n"


async def test_a_multitude_of_empty_files_is_too_much_disk() -> None:
    guest = await run(
        "for n in range(10**6): open(f'f{n}', 'w').close()", limits=Limits(wall_seconds=60)
    )

    assert guest.ended is not None
    assert guest.ended.limit == "disk"


async def test_a_limit_that_the_caller_judges() -> None:
    async with started("while True: print('x' * 1000)") as guest:
        await guest.until(b"xxx")

        await guest.runtime.end("output_mb")

        await guest.finish()
    assert guest.ended is not None
    assert (guest.ended.limit, guest.ended.clean) == ("output_mb", True)


async def test_a_limit_is_judged_from_the_start_of_the_payload_only() -> None:
    import asyncio

    from lmboot.runtime.launcher import Launcher
    from tests.runtime.guests import Guest, job

    limits = Limits(wall_seconds=0.6)
    launcher = await Launcher.prepare(limits=limits)
    try:
        await asyncio.sleep(0.7)  # the model is still answering
        runtime = await launcher.launch(job("print('done')", limits=limits))
        guest = await Guest(runtime).finish()
    finally:
        await launcher.close()

    assert (guest.text, guest.code) == ("done\n", 0)


@pytest.mark.skipif(not cgroups.find(), reason="no control groups can be had here")
async def test_what_the_kernel_can_take_back_is_no_memory(tmp_path: Path) -> None:
    """A file that is read fills the cache, in the group's account too; that kills nobody."""
    file = tmp_path / "large"
    with file.open("wb") as writing:
        for _ in range(400):
            writing.write(bytes(1 << 20))
        writing.flush()
        os.fsync(writing.fileno())
        os.posix_fadvise(writing.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    program = f"""
        total = 0
        with open({str(file)!r}, "rb", buffering=0) as file:
            while data := file.read(1 << 20):
                total += len(data)
        print(total >> 20)
        """

    guest = await run(program, limits=Limits(memory_mb=64, disk_mb=4), sandbox="none")

    assert (guest.text, guest.code) == ("400\n", 0)


async def test_files_in_memory_are_no_memory_of_the_programs() -> None:
    program = """
        for folder, size in (("/app", 60), ("/tmp", 15), ("/dev/shm", 15)):
            with open(folder + "/full", "wb") as file:
                file.write(bytes(size << 20))
        held = bytearray(60 << 20)
        import time; time.sleep(1)
        print("fine")
        """

    guest = await run(program, limits=Limits(memory_mb=100, disk_mb=64))

    assert (guest.text, guest.code) == ("fine\n", 0)
