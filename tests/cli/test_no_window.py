"""`lmboot` where no window can be: one line that says so, and the session in the terminal."""

from __future__ import annotations

import pytest

from lmboot.__main__ import is_window
from tests.cli.program import ROOT, Bench
from tests.connections.lookalike import Lookalike

BOTH = "; here is the terminal session\n"


@pytest.mark.parametrize("display", [None, "", ":4242"])
async def test_without_a_display_it_says_so_in_one_line_and_goes_on(
    bench: Bench, display: str | None
) -> None:
    if display is not None:
        bench.env["DISPLAY"] = display

    done = await bench.run()

    first, *rest = done.err.splitlines(keepends=True)
    assert first == f"lmboot: there is no display for the window{BOTH}"
    assert "no model server was found" in "".join(rest)
    assert done.code == 3


async def test_without_tk_the_package_is_named(bench: Bench) -> None:
    missing = bench.folder / "missing" / "tkinter"
    missing.mkdir(parents=True)
    (missing / "__init__.py").write_text("raise ImportError('no _tkinter')")
    bench.env |= {"DISPLAY": ":4242", "PYTHONPATH": f"{missing.parent}:{ROOT}"}

    done = await bench.run()

    first = done.err.splitlines(keepends=True)[0]
    assert "python3-tk" in first
    assert first.endswith(BOTH)


async def test_the_session_asks_the_model_that_is_named(bench: Bench) -> None:
    async with Lookalike(reply="no") as server:
        bench.env["LMSTUDIO_BASE_URL"] = server.base

        done = await bench.run()

    assert len(server.chats) >= 1
    assert done.code == 1


async def test_a_package_can_not_be_opened_yet(bench: Bench) -> None:
    done = await bench.run("a.4dllm")

    assert "can't open .4dllm packages yet" in done.err
    assert done.code == 2


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        ([], True),
        (["a.gguf"], True),
        (["A.GGUF"], True),
        (["boot"], False),
        (["--help"], False),
        (["a.gguf", "b.gguf"], False),
        (["a.4dllm"], False),
    ],
)
def test_the_window_is_for_no_words_or_one_file(words: list[str], wanted: bool) -> None:
    assert is_window(words) is wanted


async def test_nothing_dear_is_imported_before_the_window_is_there(bench: Bench) -> None:
    program = (
        "import sys, lmboot.gui.start, lmboot.gui.window\n"
        "dear = {'asyncio', 'click', 'dataclasses', 'httpx', 'pydantic', 'platformdirs'}\n"
        "print(sorted(dear & set(sys.modules)))\n"
    )
    bench.program = ["-c", program]

    done = await bench.run()

    assert (done.out, done.err) == ("[]\n", "")
