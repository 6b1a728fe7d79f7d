from __future__ import annotations

import tkinter as tk
from collections.abc import Iterator
from pathlib import Path

import pytest

from lmboot.gui.bars import ServerLine, StatusLine
from lmboot.gui.codeview import CodeView
from lmboot.gui.frame import Frame, build_frame
from lmboot.gui.lastline import Run
from lmboot.gui.look import Look
from lmboot.gui.routes import Routes
from lmboot.gui.transcript import TranscriptPane
from lmboot.gui.widgets import Box, Flow, nothing
from tests.gui import tkroot
from tests.gui.test_widgets_frame import SIZES, STATES, everywhere, picture
from tests.gui.tkroot import clipped, mapped, settle, wait_until


@pytest.fixture
def frame(session_root: tk.Tk) -> Iterator[Frame]:
    root = tk.Tk(className="Lmboot")
    raised: list[object] = []
    root.report_callback_exception = lambda kind, error, where: raised.append(error)
    root.withdraw()
    made = build_frame(root, Look(root, "light", 1.0))
    everywhere(made)
    yield made
    root.destroy()
    assert raised == []


@pytest.mark.parametrize("factor", [1.25, 1.5])
@pytest.mark.parametrize("state", STATES)
def test_nothing_is_cut_off_in_a_small_window_with_larger_texts(
    frame: Frame, tmp_path: Path, state: str, factor: float
) -> None:
    look, root = frame.look, frame.root
    root.geometry("{}x{}+0+0".format(*SIZES["least"]))
    STATES[state](frame)
    root.deiconify()
    tkroot.settle(root)
    look.zoom(factor)

    for theme in ("light", "dark"):
        look.use(theme)
        tkroot.settle(root)
        picture(frame, tmp_path / f"{state}-{theme}-{factor}.png")

        assert clipped(root) == []


def test_a_window_comes_to_rest_after_zooming(frame: Frame) -> None:
    frame.root.deiconify()
    for state in STATES.values():
        state(frame)
    settle(frame.root)
    frame.look.zoom(1.5)
    settle(frame.root)
    settle(frame.root)
    changes: list[str] = []
    frame.root.bind_all("<Configure>", lambda event: changes.append(str(event.widget)))

    settle(frame.root)

    assert changes == []


@pytest.fixture
def wide(base: Box) -> Iterator[Box]:
    yield base
    base.look.zoom(1.0)


def texts_of(canvas: tk.Canvas) -> list[tuple[int, int, int, int]]:
    """Return where the words on a canvas are drawn."""
    call = canvas.tk.call
    items = [item for item in canvas.find_all() if call(canvas, "type", item) == "text"]
    return [canvas.bbox(item) for item in items]


@pytest.mark.parametrize("factor", [0.8, 1.0, 1.5, 2.5])
def test_a_time_does_not_run_into_who_said_it(wide: Box, factor: float) -> None:
    pane = TranscriptPane(wide, clock=lambda: "12:34:56")
    pane.pack(fill="both", expand=True)
    pane.append("you", [Run("hello\n")])
    wide.look.zoom(factor)
    settle(wide)

    time, prefix = sorted(texts_of(pane.gutter))

    assert 0 < time[0] < time[2] < prefix[0] < prefix[2] < pane.gutter.winfo_width()


def test_line_numbers_have_room(wide: Box) -> None:
    code = CodeView(wide)
    code.pack(fill="both", expand=True)
    code.show("a.txt", "\n" * 9999)
    wide.look.zoom(2.0)
    wait_until(wide, lambda: not code.busy)
    code.text.yview_moveto(1)
    settle(wide)

    lefts = [box[0] for box in texts_of(code.gutter)]

    assert len(lefts) > 3
    assert min(lefts) >= 0


def test_buttons_that_grew_take_the_room_they_need(wide: Box, root: tk.Tk) -> None:
    root.geometry("420x300")
    flow = Flow(wide)
    flow.pack(fill="x")
    for number in range(4):
        flow.add(flow.button(f"Button {number}", nothing))
    settle(wide)
    before = flow.winfo_height()

    wide.look.zoom(2.0)

    wait_until(root, lambda: flow.winfo_height() > 2 * before)
    assert clipped(root) == []


def test_the_server_line_keeps_its_buttons_before_its_words(wide: Box, root: tk.Tk) -> None:
    line = ServerLine(wide)
    line.pack(fill="x")
    line.show_state("ok", "connected · LM Studio")
    settle(wide)
    words = [str(each["text"]).strip() for each in mapped(line) if each.winfo_class() == "TLabel"]

    root.geometry("640x300")
    wide.look.zoom(1.5)
    settle(wide)

    assert "connected · LM Studio" in words
    assert clipped(root) == []


def test_the_status_line_has_one_height_at_every_size(wide: Box) -> None:
    status = StatusLine(wide)
    status.pack(fill="x")
    wide.look.zoom(1.75)
    settle(wide)
    before = status.winfo_height()

    status.set_actions([("Stop", nothing, True)])
    settle(wide)

    assert status.winfo_height() == before


def test_a_route_without_room_is_shown_alone(wide: Box) -> None:
    column = Box(wide, width=150, height=300)
    column.pack_propagate(False)
    column.pack(side="left")
    routes = Routes(column)
    routes.pack(fill="x")
    routes.show([("fs.open", "HOST")])
    wide.look.zoom(1.5)
    settle(wide)

    words = [str(each["text"]) for each in mapped(routes) if each.winfo_class() == "TRadiobutton"]

    assert words == ["HOST"]
    assert clipped(wide) == []
