"""What a runtime wrote, out of a sandbox whose processes are all dead."""

from __future__ import annotations

from pathlib import Path

import pytest

from lmboot.errors import UsageFault
from lmboot.runtime.policy import Limits
from tests.runtime.guests import started

pytestmark = pytest.mark.sandbox
EVERY = pytest.mark.parametrize("sandbox", ["bubblewrap", "landlock", "none"])


@EVERY
async def test_what_was_written_is_there_after_the_end(sandbox: str, tmp_path: Path) -> None:
    program = """
        import os
        os.makedirs("out/deep")
        open("out/deep/result.txt", "w").write("42")
        open("main.py", "a").write("# changed")
        os.chmod("out/deep/result.txt", 0)
        os.chmod("out", 0)
        os.symlink("/etc/passwd", "link")
        os.mkfifo("fifo")
        open("/tmp/elsewhere" if os.getcwd() == "/app" else "../tmp/elsewhere", "w").close()
        """
    async with started({"main.py": program, "untouched": "x"}, sandbox=sandbox) as guest:
        await guest.finish()

        report = await guest.runtime.copy_out(tmp_path / "keep")

    assert sorted(report.copied) == ["main.py", "out/deep/result.txt"]
    assert sorted(name for name, _ in report.refused) == ["fifo", "link"]
    assert (tmp_path / "keep/out/deep/result.txt").read_text() == "42"


@EVERY
async def test_what_was_written_survives_a_kill(sandbox: str, tmp_path: Path) -> None:
    program = "open('a', 'w').write('x'); print('ready'); import time; time.sleep(60)"
    async with started(program, sandbox=sandbox) as guest:
        await guest.until(b"ready\n")
        await guest.stop()

        report = await guest.runtime.copy_out(tmp_path / "keep")

    assert report.copied == ("a",)


async def test_a_runtime_that_wrote_nothing_leaves_an_empty_folder(tmp_path: Path) -> None:
    async with started("print()") as guest:
        await guest.finish()

        report = await guest.runtime.copy_out(tmp_path / "keep")

    assert (report.copied, report.refused, report.problem) == ((), (), None)


async def test_a_folder_in_use_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("x")
    async with started("print()") as guest:
        await guest.finish()

        with pytest.raises(UsageFault):
            await guest.runtime.copy_out(tmp_path)


async def test_a_hostile_tree_is_bounded(tmp_path: Path) -> None:
    program = """
        import os
        for n in range(3000):
            os.close(os.open(f"f{n}", os.O_CREAT))
        here = os.open(".", os.O_RDONLY)
        for n in range(10000):
            os.mkdir("d", dir_fd=here)
            below = os.open("d", os.O_RDONLY, dir_fd=here)
            os.close(here)
            here = below
        try:
            with open("sparse", "wb") as file:
                file.truncate(1 << 40)
        except OSError as error:
            print(error.strerror)
        """
    async with started(program, limits=Limits()) as guest:
        await guest.finish()

        report = await guest.runtime.copy_out(tmp_path / "keep")

    assert guest.text == "File too large\n"
    assert len(report.copied) == 3001
    assert len(report.refused) == 1
