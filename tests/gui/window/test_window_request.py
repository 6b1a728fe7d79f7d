"""What a program asks for, in the real window: who answers, when, and what is no answer."""

from __future__ import annotations

import asyncio
import subprocess
import threading
import tkinter as tk
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from shutil import which
from tkinter import filedialog, ttk
from typing import Any, cast

import pytest

from lmboot.gui import bordermessages as b
from lmboot.gui.backstage import Backstage
from lmboot.gui.view import WindowView
from lmboot.gui.worker import Job
from lmboot.runtime.asking import Answer, Question
from lmboot.runtime.kinds import KINDS, consent
from tests.gui.tkroot import clipped, mapped, outside, settle
from tests.gui.windows import Stand, reach, texts

FETCH = b.Wanted(1, "fetch", "api.example.org", False, 15, object())
READ = b.Wanted(2, "fs.read_text", "notes/today.txt", True, 15, object())
GRANTING = ["Once", "For 15 minutes", "Always for this payload"]


@pytest.fixture
def stand(session_root: tk.Tk) -> Iterator[Stand]:
    """A window in which a program runs."""
    with Stand() as stand:
        reach(stand, "running")
        yield stand


def shown(stand: Stand) -> list[str]:
    """The words of the request on the screen."""
    return texts(stand.window.frame.request) if "request" in vars(stand.window.frame) else []


def armed(stand: Stand) -> bool:
    return stand.button("No").winfo_ismapped() and "Once" in [x.rstrip("…") for x in stand.buttons]


def answers(stand: Stand) -> list[tuple[object, ...]]:
    return [call[1:] for call in stand.calls if call[0] == "allow"]


def test_a_request_says_what_is_asked_and_what_it_means(stand: Stand) -> None:
    stand.tell(FETCH)

    assert "notebook asks for fetch" in shown(stand)
    assert "api.example.org" in shown(stand)
    assert consent("fetch") in shown(stand)


@pytest.mark.parametrize("chooses_folder", [True, False])
def test_a_grant_that_lets_more_through_than_was_asked_for_says_so(
    stand: Stand, chooses_folder: bool
) -> None:
    stand.tell(READ._replace(op="fs.list", chooses_folder=chooses_folder))

    (means,) = [words for words in shown(stand) if words.startswith("Once is this request alone")]
    assert "may read everything in " in means
    assert "databases too" in means
    assert ("that you choose" in means) is chooses_folder


def test_nothing_is_granted_before_the_answers_are_armed(stand: Stand) -> None:
    stand.tell(FETCH)
    stand.press("Once")
    assert answers(stand) == []

    stand.wait(lambda: armed(stand))
    stand.press("Once")

    assert answers(stand) == [(FETCH.answer, "once", "")]
    assert shown(stand) == []


@pytest.mark.parametrize(
    ("label", "scope"), list(zip(GRANTING, ["once", "while", "always"], strict=True))
)
def test_each_answer_is_what_its_button_says(stand: Stand, label: str, scope: str) -> None:
    stand.tell(FETCH)
    stand.wait(lambda: armed(stand))
    stand.press(label)

    assert answers(stand) == [(FETCH.answer, scope, "")]


def test_no_can_be_said_at_once(stand: Stand) -> None:
    stand.tell(FETCH)
    stand.press("No")

    assert answers(stand) == [(FETCH.answer, "no", "")]


def test_escape_is_no_and_nothing_else(stand: Stand) -> None:
    stand.tell(FETCH)
    stand.key("<Escape>")

    assert answers(stand) == [(FETCH.answer, "no", "")]
    assert stand.state == "running"


def test_a_request_leaves_the_keyboard_where_it_is(stand: Stand) -> None:
    """What is typed while it appears must not answer it."""
    before = stand.keyboard
    stand.tell(FETCH)
    stand.wait(lambda: armed(stand))
    stand.key("<Key-o>", "<space>", "<Return>")

    assert stand.keyboard == before == "the line to write in"
    assert answers(stand) == []


def test_the_keyboard_comes_to_it_by_a_key_and_begins_with_no(stand: Stand) -> None:
    stand.tell(FETCH)
    stand.key("<Control-j>")
    assert stand.keyboard == "No"

    stand.key("<Return>")

    assert answers(stand) == [(FETCH.answer, "no", "")]
    assert stand.keyboard == "the line to write in"


def test_requests_wait_for_their_turn_and_each_is_armed_anew(stand: Stand) -> None:
    stand.tell(FETCH, READ._replace(chooses_folder=False))
    assert "1 more waits" in shown(stand)
    stand.wait(lambda: armed(stand))
    stand.press("Once")

    assert "notebook asks for fs.read_text" in shown(stand)
    assert not armed(stand)
    stand.press("Once")
    assert answers(stand) == [(FETCH.answer, "once", "")]


def test_what_nobody_waits_for_any_more_vanishes(stand: Stand) -> None:
    stand.tell(FETCH, READ)
    stand.tell(b.Withdrawn(READ.number))
    assert "1 more waits" not in shown(stand)
    stand.tell(b.Withdrawn(FETCH.number))

    assert shown(stand) == []
    stand.key("<Escape>")
    assert answers(stand) == []
    assert "withdrawn: fetch api.example.org" in stand.log


def test_a_folder_is_chosen_before_it_is_granted(
    stand: Stand, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = iter(["", "/home/me/notes"])
    monkeypatch.setattr(filedialog, "askdirectory", lambda **_: next(chosen))
    stand.tell(READ)
    stand.wait(lambda: armed(stand))
    stand.press("For 15 minutes…")
    assert answers(stand) == []
    assert "notebook asks for fs.read_text" in shown(stand)
    stand.press("For 15 minutes…")

    assert answers(stand) == [(READ.answer, "while", "/home/me/notes")]


def test_a_folder_that_was_chosen_too_late_is_not_granted_to_the_next(
    stand: Stand, monkeypatch: pytest.MonkeyPatch
) -> None:
    def choose(**_: object) -> str:
        stand.window._handler(b.Withdrawn)(b.Withdrawn(READ.number))
        return "/home/me/notes"

    monkeypatch.setattr(filedialog, "askdirectory", choose)
    stand.tell(READ, FETCH)
    stand.wait(lambda: armed(stand))
    stand.press("Always for this payload…")

    assert answers(stand) == []
    assert "notebook asks for fetch" in shown(stand)


def test_a_program_can_not_draw_such_a_card(stand: Stand) -> None:
    """It stands beside the tabs, not in them, and is there whichever is in front."""
    stand.tell(FETCH)
    card = stand.window.frame.request
    assert not str(card).startswith(str(stand.window.frame.tabs))

    for tab in ("Payload", "Log"):
        stand.window.frame.tabs.show(tab)
        settle(stand.root)
        assert card.winfo_viewable()


@pytest.mark.parametrize("scale", [1.0, 2.0])
@pytest.mark.parametrize("size", [(720, 480), (1040, 700)])
def test_it_has_room_in_any_window(
    session_root: tk.Tk, scale: float, size: tuple[int, int]
) -> None:
    with Stand(scale=scale) as stand:
        stand.size(*size)
        reach(stand, "running")
        for kind in KINDS.values():
            op = list(kind.opens)[-1]
            stand.tell(READ._replace(op=op, what="W" * 200, chooses_folder=kind.is_folder), FETCH)

            assert clipped(stand.window.frame.request) == []
            assert outside(stand.window.frame.request) == []
            stand.tell(b.Withdrawn(READ.number), b.Withdrawn(FETCH.number))


# ---------------------------------------------------------------------- with a worker that asks


class Driver:
    """A thread with a loop in which a session's view asks, as a broker would have it."""

    def __init__(self, stand: Stand) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever)
        self._thread.start()
        self.view = WindowView(stand.window.outbox, stand.window.outbox.generation)
        stand.window.worker.post = self._post  # type: ignore[method-assign]

    def _post(self, job: Job) -> None:
        self.loop.call_soon_threadsafe(job, cast(Any, Backstage))  # what it answers with is static

    def ask(self, question: Question) -> Future[Answer]:
        return asyncio.run_coroutine_threadsafe(self.view.ask(question), self.loop)

    def end(self) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        self.loop.close()


@pytest.fixture
def driver(stand: Stand) -> Iterator[Driver]:
    driver = Driver(stand)
    yield driver
    driver.end()


def asked(stand: Stand, what: str) -> Callable[[], bool]:
    return lambda: any(what in words for words in shown(stand))


HOSTILE = "evil.example\x00\u202egro.doog\n\x1b[2J" + "x" * 5000


def test_who_asks_gets_the_answer_of_the_person(stand: Stand, driver: Driver) -> None:
    first, second = (driver.ask(Question("fetch", f"{name}.example")) for name in ("one", "two"))
    stand.wait(asked(stand, "one.example"))
    stand.wait(lambda: armed(stand))
    stand.press("For 15 minutes")
    stand.wait(first.done)
    stand.wait(asked(stand, "two.example"))
    stand.key("<Escape>")
    stand.wait(second.done)

    assert (first.result(), second.result()) == (Answer("while"), Answer("no"))


def test_who_stops_waiting_takes_the_request_away(stand: Stand, driver: Driver) -> None:
    waits = driver.ask(Question("fetch", "one.example"))
    stand.wait(asked(stand, "one.example"))
    waits.cancel()

    stand.wait(lambda: not shown(stand))
    assert waits.cancelled()


def test_what_a_program_wrote_is_shown_harmless(stand: Stand, driver: Driver) -> None:
    waits = driver.ask(Question("fetch", HOSTILE))
    stand.wait(asked(stand, "evil.example"))
    (words,) = [words for words in shown(stand) if "evil.example" in words]
    stand.press("No")
    stand.wait(waits.done)

    assert words.startswith("evil.examplegro.doog")
    assert len(words) < 300
    assert "\n" not in words


def test_a_session_gone_by_asks_nobody(stand: Stand, driver: Driver) -> None:
    stand.window.outbox.begin()

    assert driver.ask(Question("fetch", "one.example")).result(30) == Answer("no")
    stand.tell()
    assert shown(stand) == []


@pytest.mark.skipif(which("xdotool") is None, reason="no xdotool to move a mouse with")
def test_a_real_click_grants_only_what_was_there_to_be_seen(stand: Stand, driver: Driver) -> None:
    waits = driver.ask(Question("fetch", "one.example"))
    stand.wait(asked(stand, "one.example"))
    click(stand, stand.button("Once"))
    assert not waits.done()
    stand.wait(lambda: armed(stand))
    click(stand, stand.button("Once"))
    stand.wait(waits.done)

    assert waits.result() == Answer("once")


def click(stand: Stand, button: ttk.Button) -> None:
    """Move the real pointer to the middle of a button and press it."""
    assert button in list(mapped(stand.root))
    x = button.winfo_rootx() + button.winfo_width() // 2
    y = button.winfo_rooty() + button.winfo_height() // 2
    pressed: list[object] = []
    button.bind("<ButtonRelease-1>", pressed.append, add=True)
    subprocess.run(["xdotool", "mousemove", str(x), str(y), "click", "1"], check=True)
    stand.wait(lambda: pressed)
    settle(stand.root)
