"""One real root for all tests of the window; whatever Tk complains about fails the test."""

from __future__ import annotations

import logging
import tkinter as tk
from collections.abc import Iterator

import pytest

from lmboot.gui.look import Look
from lmboot.gui.widgets import Box
from tests.gui import tkroot


@pytest.fixture(scope="session")
def session_root() -> Iterator[tk.Tk]:
    with tkroot.display() as name:
        if not name:
            pytest.skip("no display, and no Xvfb to start one")
        root = tk.Tk(className="Lmboot")
        root.geometry("1040x700+0+0")
        yield root
        root.destroy()


@pytest.fixture(scope="session")
def look(session_root: tk.Tk) -> Look:
    made = Look(session_root, "light", 1.0)
    made.finish()
    return made


@pytest.fixture
def root(session_root: tk.Tk, monkeypatch: pytest.MonkeyPatch) -> Iterator[tk.Tk]:
    """The root, empty before and after; callbacks that raised and timers that stayed fail."""
    raised: list[object] = []
    monkeypatch.setattr(
        tk.Tk, "report_callback_exception", lambda _, kind, error, where: raised.append(error)
    )
    yield session_root
    for child in session_root.winfo_children():
        child.destroy()
    session_root.tk.call(".", "configure", "-menu", "")
    tkroot.settle(session_root)
    left = session_root.tk.splitlist(session_root.tk.call("after", "info"))
    for timer in left:
        session_root.after_cancel(timer)
    assert raised == []
    assert list(left) == []


@pytest.fixture
def base(root: tk.Tk, look: Look) -> Box:
    """A box that fills the window, for one widget under test."""
    look.use("light")
    box = Box(None, "main", look=look)
    box.pack(fill="both", expand=True)
    root.geometry("1040x700+0+0")
    tkroot.settle(root)
    return box


@pytest.fixture(params=[1.0, 1.5, 2.0], ids=["scale-1", "scale-1.5", "scale-2"])
def scaled(request: pytest.FixtureRequest, session_root: tk.Tk) -> Iterator[Box]:
    """A box that fills a window of its own: a scale belongs to a root for good."""
    tkroot.settle(session_root)  # else its window comes later, and above
    root = tk.Tk(className="Lmboot")
    raised: list[object] = []
    root.report_callback_exception = lambda kind, error, where: raised.append(error)
    box = Box(None, "main", look=Look(root, "light", request.param))
    box.pack(fill="both", expand=True)
    yield box
    root.destroy()
    assert raised == []


@pytest.fixture(autouse=True)
def nothing_is_logged_as_an_error(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    yield
    assert [each.message for each in caplog.records if each.levelno >= logging.ERROR] == []
