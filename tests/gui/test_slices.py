from __future__ import annotations

import tkinter as tk
from collections.abc import Iterator
from time import perf_counter

import pytest

from lmboot.gui import slices as module
from lmboot.gui.slices import BUDGET_SECONDS, Slices
from tests.gui.tkroot import settle, wait_until


def counting(done: list[int], most: int) -> Iterator[None]:
    for number in range(most):
        done.append(number)
        end = perf_counter() + BUDGET_SECONDS / 3
        while perf_counter() < end:
            pass
        yield


@pytest.fixture
def slices(root: tk.Tk) -> Slices:
    return Slices(tk.Frame(root))


def test_what_is_short_is_done_at_once(slices: Slices, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BUDGET_SECONDS", 60.0)  # whatever else the machine does
    done: list[int] = []

    slices.start(counting(done, 2))

    assert done == [0, 1]
    assert not slices.busy


def test_what_is_long_leaves_turns_to_others(slices: Slices, root: tk.Tk) -> None:
    done: list[int] = []
    others: list[int] = []
    slices.start(counting(done, 40))
    early = len(done)
    root.after(1, lambda: others.append(len(done)))

    wait_until(root, lambda: not slices.busy)

    assert early <= 4
    assert done == list(range(40))
    assert others[0] < 40


def test_new_work_takes_the_place_of_the_old(slices: Slices, root: tk.Tk) -> None:
    old: list[int] = []
    new: list[int] = []
    slices.start(counting(old, 1000))

    slices.start(counting(new, 20))
    wait_until(root, lambda: not slices.busy)

    assert len(old) <= 4
    assert len(new) == 20


def test_nothing_is_done_for_a_widget_that_has_gone(root: tk.Tk) -> None:
    done: list[int] = []
    widget = tk.Frame(root)
    slices = Slices(widget)
    slices.start(counting(done, 1000))

    widget.destroy()
    settle(root)

    assert len(done) <= 4
    assert not slices.busy
