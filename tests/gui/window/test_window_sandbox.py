"""The switch for containers in the real window, and what the sandbox enforces."""

from __future__ import annotations

import tkinter as tk
from collections.abc import Iterator
from tkinter import ttk

import pytest

from lmboot.gui import bordermessages as b
from lmboot.gui.memory import Memory
from lmboot.gui.watching import posture
from lmboot.runtime.properties import IN_WORDS
from tests.gui.tkroot import clipped, mapped, settle
from tests.gui.windows import USED, Stand, loading, reach, texts

ALL_WELL = posture(dict.fromkeys(IN_WORDS, "enforced"))
IN_PART = posture(dict.fromkeys(IN_WORDS, "enforced") | {"mem_total": "partial"})
USUAL, PODMAN = b.Sandbox("bubblewrap", IN_PART), b.Sandbox("podman", ALL_WELL)
NO_PODMAN = b.Sandbox("", (), "podman is not installed. Install it: sudo apt-get install podman")
BOTH, NO_CONTAINER = b.Sandboxes(USUAL, PODMAN), b.Sandboxes(USUAL, NO_PODMAN)


@pytest.fixture
def stand(session_root: tk.Tk) -> Iterator[Stand]:
    with Stand() as stand:
        reach(stand, "ready")
        yield stand


def switch(stand: Stand) -> ttk.Checkbutton:
    (found,) = [each for each in mapped(stand.root) if isinstance(each, ttk.Checkbutton)]
    return found


def words(stand: Stand) -> str:
    return "\n".join(texts(stand.window.frame.session.welcome))


def test_it_is_off_and_says_where_programs_run(stand: Stand) -> None:
    stand.tell(BOTH)

    assert "Off: the next program runs in bubblewrap" in words(stand)
    assert "What the sandbox enforces here: bubblewrap" in words(stand)
    assert f"Only in part: {IN_WORDS['mem_total']}" in words(stand)


def test_a_click_has_the_next_program_run_in_a_container(stand: Stand) -> None:
    stand.tell(BOTH)
    switch(stand).invoke()
    settle(stand.root)
    assert stand.calls == [("use_container", True)]
    assert "On: the next program runs in a container of podman." in words(stand)
    assert "What the sandbox enforces here: podman" in words(stand)
    assert stand.window.memory.container

    switch(stand).invoke()

    assert stand.calls[1:] == [("use_container", False)]
    assert not stand.window.memory.container


def test_where_there_is_none_the_reason_and_the_remedy_are_said(stand: Stand) -> None:
    stand.tell(NO_CONTAINER)

    assert switch(stand).instate(["disabled"])
    assert "podman is not installed. Install it: sudo apt-get install podman" in words(stand)


def test_where_nothing_is_usable_that_is_said(stand: Stand) -> None:
    stand.tell(b.Sandboxes(b.Sandbox("", (), "no user namespaces"), NO_PODMAN))

    assert "no sandbox is usable: no user namespaces" in words(stand)
    assert "What the sandbox enforces here" not in words(stand)


def test_while_one_is_made_ready_that_is_said_and_nothing_else(stand: Stand) -> None:
    stand.tell(b.Preparing("Preparing the portable sandbox, once: about a minute"))
    assert "Preparing the portable sandbox, once" in words(stand)
    assert switch(stand).instate(["disabled"])

    stand.tell(BOTH)
    assert "Off: the next program runs in bubblewrap" in words(stand)
    assert "Preparing" not in words(stand)
    assert switch(stand).instate(["!disabled"])

    stand.tell(b.Preparing("Preparing it once more"))
    assert "bubblewrap" not in words(stand)
    assert "Preparing it once more" in words(stand)


def test_the_wish_is_kept_and_told_before_the_first_session(session_root: tk.Tk) -> None:
    stand = Stand(memory=USED._replace(container=True))
    posted: list[tuple[object, ...]] = stand._worker.calls
    stand.forget_calls = lambda: None  # type: ignore[method-assign] # what comes first counts
    with stand:
        assert ("use_container", True) in posted


def test_who_wished_for_one_that_has_gone_is_told_and_can_switch_it_off(
    session_root: tk.Tk,
) -> None:
    """Nothing else is taken in its place: that would be a weaker border than was asked for."""
    with Stand(memory=Memory(seen=True, container=True)) as stand:
        reach(stand, "ready")
        stand.tell(NO_CONTAINER)
        assert "On, but the next program could not start." in words(stand)
        switch(stand).invoke()
        settle(stand.root)

        assert stand.calls == [("use_container", False)]
        assert "Off: the next program runs in bubblewrap" in words(stand)


def test_the_switch_keeps_the_keyboard(stand: Stand) -> None:
    stand.tell(BOTH)
    switch(stand).focus_set()
    settle(stand.root)
    stand.key("<space>", "<space>", "<space>")

    assert [call[1] for call in stand.calls] == [True, False, True]


def test_what_is_told_during_an_asking_is_there_afterwards(stand: Stand) -> None:
    loading(stand)
    stand.tell(BOTH)
    stand.press("Cancel")

    assert "Off: the next program runs in bubblewrap" in words(stand)


@pytest.mark.parametrize("scale", [1.0, 2.0])
@pytest.mark.parametrize("size", [(720, 480), (1040, 700)])
def test_nothing_is_cut_off(session_root: tk.Tk, scale: float, size: tuple[int, int]) -> None:
    with Stand(scale=scale) as stand:
        stand.size(*size)
        reach(stand, "ready")
        stand.tell(NO_CONTAINER)

        assert clipped(stand.root) == []
