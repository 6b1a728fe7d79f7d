from __future__ import annotations

import tkinter as tk
from collections.abc import Iterator
from time import monotonic
from typing import NamedTuple

import pytest

from lmboot.gui import messages as m
from lmboot.gui.memory import Memory
from lmboot.gui.state import Action, State
from tests.gui import tkroot
from tests.gui.windows import (
    CONSENT,
    LISTED,
    ONLY_SEED,
    SERVER,
    STARTED,
    WAYS,
    WRITING,
    Stand,
    ended,
    idle,
    loading,
    reach,
    review,
    running,
    streaming,
    texts,
    writing,
)

SIZES = {"usual": (1040, 700), "least": (720, 480)}
FIRST = ["Open .gguf…", "Refresh models", "Bootstrap"]
AFTER = ["Open .gguf…", "Refresh models", "Keep files…", "Bootstrap", "Run again", "Back"]


class Shown(NamedTuple):
    """What a state looks like: its words, where it is, and what can be done."""

    title: str
    status: str
    page: str
    keyboard: str
    buttons: list[str]
    menus: list[str]


SHOWN = {
    "looking": Shown(
        "lmboot — looking",
        "Looking for model servers",
        "Session: card",
        "the window",
        [],
        ["Open .gguf…"],
    ),
    "no server": Shown(
        "lmboot — no server",
        "No server · next try in 4 s",
        "Session: card",
        "Bootstrap",
        ["Bootstrap", "Bootstrap the seed", "Retry now"],
        FIRST,
    ),
    "no model": Shown(
        "lmboot — no model",
        "Connected · 0 models",
        "Session: card",
        "Bootstrap",
        ["Bootstrap", "Bootstrap the seed", "Retry now"],
        FIRST,
    ),
    "token": Shown(
        "lmboot — no model",
        f"Token wanted · {SERVER}",
        "Session: token",
        "the token's field",
        ["Bootstrap", "Use the token", "Go on without"],
        FIRST,
    ),
    "ready": Shown(
        "lmboot — ready",
        "Ready · tiny-4b",
        "Session: welcome",
        "Bootstrap",
        ["Bootstrap"],
        FIRST,
    ),
    "loading": Shown(
        "lmboot — loading",
        "Waiting for tiny-4b · 0 s",
        "Payload",
        "Bootstrap",
        ["Cancel"],
        ["Cancel"],
    ),
    "streaming": Shown(
        "lmboot — streaming",
        "Streaming · 12.4 kB · 812 tok · ~41 tok/s · first after 0.8 s · 0 s",
        "Payload",
        "Bootstrap",
        ["Cancel"],
        ["Cancel"],
    ),
    "stalled": Shown(
        "lmboot — stalled",
        "Stalled · nothing for 15 s",
        "Payload",
        "Bootstrap",
        ["Cancel"],
        ["Cancel"],
    ),
    "rejected": Shown(
        "lmboot — rejected",
        "Payload rejected · 2 problems",
        "Files: problems",
        "Ask model to repair",
        ["Bootstrap", "Ask model to repair", "Ask again", "Save reply…", "Back", "line 3"],
        [
            *("Open .gguf…", "Refresh models", "Save reply…", "Bootstrap"),
            *("Ask model to repair", "Ask again", "Back"),
        ],
    ),
    "review": Shown(
        "lmboot — review",
        "Needs your consent · notebook · 2 files",
        "Files: review",
        "the file",
        ["Back"],
        ["Save reply…", "Back"],
    ),
    "replacing": Shown(
        "lmboot — replacing",
        "Needs your consent · other · 2 files · notebook still runs",
        "Files: review",
        "the file",
        ["Back"],
        ["Save reply…", "Back"],
    ),
    "writing": Shown(
        "lmboot — writing — notebook",
        "Writing and starting notebook · 2 files",
        "Session: talk",
        "the line to write in",
        ["Cancel"],
        ["Cancel"],
    ),
    "running": Shown(
        "lmboot — running — notebook",
        "Running · notebook · bubblewrap · 0 s",
        "Session: talk",
        "the line to write in",
        ["Interrupt", "Stop", "Keep files…", "Send"],
        ["Keep files…", "Interrupt", "Stop"],
    ),
    "stopping": Shown(
        "lmboot — stopping — notebook",
        "Stopping · asked 0 s ago",
        "Session: talk",
        "the line to write in",
        ["Kill now"],
        ["Kill now"],
    ),
    "ended": Shown(
        "lmboot — ended — notebook",
        "Ended · notebook · status 143",
        "Session: talk",
        "the line to write in",
        ["Keep files…", "Run again", "Back", "Send"],
        AFTER,
    ),
    "crashed": Shown(
        "lmboot — crashed — notebook",
        "Crashed · notebook · status 3",
        "Session: talk",
        "the line to write in",
        ["Keep files…", "Run again", "Back", "Send"],
        AFTER,
    ),
    "closing": Shown(
        "lmboot — closing",
        "Closing",
        "Session: welcome",
        "Bootstrap",
        ["Kill now"],
        ["Kill now"],
    ),
}


@pytest.fixture
def stand(session_root: tk.Tk) -> Iterator[Stand]:
    """A window in a root of its own, over that of the session."""
    with Stand() as stand:
        yield stand


# ---------------------------------------------------------------------- what each state shows


@pytest.mark.parametrize("name", WAYS)
def test_every_state_has_its_words_its_place_and_what_can_be_done(stand: Stand, name: str) -> None:
    reach(stand, name)

    assert SHOWN[name] == (
        stand.title,
        stand.status,
        stand.page,
        stand.keyboard,
        stand.buttons,
        stand.menus,
    )
    for label, item in (("Open .gguf…", "Open .gguf…"), ("Refresh", "Refresh models")):
        offered = stand.button(label).instate(["!disabled"])
        assert offered == (item in SHOWN[name].menus)


def test_every_state_can_be_reached() -> None:
    assert {state for state, _ in WAYS.values()} == set(State)


@pytest.mark.parametrize("scale", [1.0, 2.0], ids=["scale-1", "scale-2"])
@pytest.mark.parametrize("name", WAYS)
def test_nothing_is_cut_off_in_any_state(session_root: tk.Tk, name: str, scale: float) -> None:
    with Stand(scale=scale) as stand:
        reach(stand, name)
        for size, theme in zip(SIZES.values(), ("light", "dark"), strict=True):
            stand.size(*size)
            stand.look.use(theme)
            tkroot.settle(stand.root)

            assert tkroot.clipped(stand.root) == []
            assert tkroot.outside(stand.root) == []


def test_a_state_brings_its_tab_to_the_front_once_and_then_leaves_the_choice(stand: Stand) -> None:
    streaming(stand)
    stand.window.frame.tabs.show("Log")

    stand.tell(WRITING)

    assert stand.page == "Log"


def test_what_is_typed_from_the_first_moment_of_a_page_goes_where_it_begins(stand: Stand) -> None:
    """The next key may be pressed already while the page is drawn."""
    review(stand, CONSENT._replace(agreed_before=True))

    stand.window.act(Action.WRITE_AND_RUN)

    assert (stand.state, stand.keyboard) == ("writing", "the line to write in")
    assert stand.title == "lmboot — writing — notebook"


def test_the_line_has_the_keyboard_after_a_runtime_that_ends_at_once(stand: Stand) -> None:
    """It ends before the window had a moment to show that it ran."""
    writing(stand)

    stand.tell(STARTED, ended(0))

    assert (stand.state, stand.keyboard) == ("ended", "the line to write in")


def test_at_first_it_begins_with_what_is_to_be_done(session_root: tk.Tk) -> None:
    """A newcomer without any server has the seed model before him, not what is missing."""
    with Stand(memory=Memory()) as stand:
        stand.tell(ONLY_SEED, m.Unreachable("", "no model server was found", 2.0))

        assert (stand.state, stand.page) == ("ready", "Session: welcome")
        assert stand.keyboard == "Bootstrap"
        assert "Ready · seed" in stand.status


def test_the_runtime_s_time_goes_on_while_another_payload_is_reviewed(stand: Stand) -> None:
    running(stand)
    stand.seconds += 192
    stand.tell(CONSENT._replace(name="other", summary="other · 2 files"))

    stand.press("Back")

    stand.wait(lambda: "3:12 min" in stand.status)
    assert stand.title == "lmboot — running — notebook"


def test_it_counts_down_to_the_next_look_for_servers(stand: Stand) -> None:
    stand.tell(ONLY_SEED, m.Unreachable(SERVER, "it refused the connection", 30.0))
    assert "next try in 30 s" in stand.status

    stand.seconds += 30

    stand.wait(lambda: "next try in a moment" in stand.status)


def test_what_can_be_read_in_peace_stays_only_for_a_while_above_the_status_line(
    stand: Stand,
) -> None:
    stand.tell(m.Done("reply.txt was written"))
    assert stand.notice == "reply.txt was written"

    stand.seconds += 21

    stand.wait(lambda: not stand.notice)
    assert "reply.txt" not in stand.log  # it was passing


# ---------------------------------------------------------------------- the consent


def test_nobody_can_agree_before_each_file_was_seen(
    stand: Stand, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lmboot.gui.asking.ARMED_MS", 1)
    review(stand)
    stand.wait(lambda: "_arm" not in stand.timers())
    stand.forget_calls()

    stand.key("<Control-Return>")

    assert (stand.buttons, stand.calls) == (["Back"], [])
    stand.read_all()
    assert stand.buttons == ["Write & run", "Back"]
    assert "Write & run" in stand.menus


def test_nobody_can_agree_before_the_moment_of_arming(
    stand: Stand, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A click or a key that was meant for what stood there before must not agree."""
    monkeypatch.setattr("lmboot.gui.asking.ARMED_MS", 60_000)
    review(stand)
    stand.read_all()
    stand.forget_calls()

    stand.key("<Control-Return>")

    assert (stand.state, stand.buttons, stand.calls) == ("review", ["Back"], [])
    assert "Write & run" not in stand.menus


def test_a_second_later_who_has_seen_all_can_agree(stand: Stand) -> None:
    began = monotonic()
    review(stand)
    stand.read_all()
    stand.wait(lambda: stand.window.asking.can_agree)
    assert monotonic() - began >= 1
    assert "Write & run" in stand.menus
    stand.forget_calls()

    stand.key("<Control-Return>")

    assert stand.calls == [("answer", CONSENT.answer, True)]
    assert stand.state == "writing"


def test_what_was_agreed_to_before_can_be_agreed_to_at_once(stand: Stand) -> None:
    review(stand, CONSENT._replace(agreed_before=True))
    stand.forget_calls()

    stand.key("<Control-Return>")

    assert stand.calls == [("answer", CONSENT.answer, True)]


def test_the_moment_of_one_question_does_not_arm_the_next(stand: Stand) -> None:
    review(stand)
    stand.tell(m.Over("the server is gone", rejected=False))
    assert stand.state == "ready"

    stand.tell(CONSENT)

    assert stand.state == "review"
    assert stand.timers().count("_arm") == 1


def test_a_file_of_the_payload_before_does_not_count_as_seen_in_the_next(stand: Stand) -> None:
    """It may have the same name, and be on the screen when the next payload comes."""
    review(stand)
    stand.read_all()
    stand.window.frame.files.review.files.select("data/notes.json")
    tkroot.settle(stand.root)
    stand.press("Back")
    stand.press("Bootstrap")

    stand.tell(CONSENT)
    tkroot.settle(stand.root)

    assert "0 of 2 files seen: read each one to its end first." in texts(stand.root)


def test_an_answer_is_given_once(stand: Stand) -> None:
    review(stand, CONSENT._replace(agreed_before=True))
    stand.forget_calls()

    stand.key("<Control-Return>", "<Control-Return>", "<Escape>")

    answers = [call for call in stand.calls if call[0] == "answer"]
    assert answers == [("answer", CONSENT.answer, True)]


def test_the_keyboard_is_never_on_the_button_that_agrees(stand: Stand) -> None:
    review(stand, CONSENT._replace(agreed_before=True))
    stand.forget_calls()

    stand.key("<space>", "<Return>")

    assert stand.state == "review"
    assert stand.calls == []


def test_a_question_that_comes_while_the_program_is_ended_is_answered_no(stand: Stand) -> None:
    """A trigger was typed, and then Stop pressed: nothing may wait for ever, or run unseen."""
    running(stand)
    stand.press("Stop")
    stand.forget_calls()

    stand.tell(CONSENT, ended(143))

    assert stand.state == "ended"
    assert stand.calls == [("answer", CONSENT.answer, False)]


# ---------------------------------------------------------------------- what is too late


LATE: dict[str, tuple[m.Message, ...]] = {
    "asked": (m.Asked(0, "asked to mend"),),
    "writing": (m.Asked(0, ""), WRITING),
    "refused": (m.Asked(0, ""), WRITING, m.Refused([("x", "y", "z", 1)], "reply", "reply")),
    "consent": (CONSENT,),
    "started": (STARTED,),
    "ended": (ended(3),),
    "over": (m.Over("the connection was lost", rejected=False),),
    "said": (m.Said("note", "something"),),
}


@pytest.mark.parametrize("name", LATE)
def test_what_comes_of_an_older_session_changes_nothing(stand: Stand, name: str) -> None:
    streaming(stand)
    old = stand.window.outbox.generation
    stand.press("Cancel")
    before = (stand.title, stand.status, stand.page, stand.notice, stand.log, stand.calls)

    stand.tell(*LATE[name], generation=old)
    stand.put("rt", "late\n", generation=old)

    after = (stand.title, stand.status, stand.page, stand.notice, stand.log, stand.calls)
    assert before == after
    assert stand.transcript == ""


def test_what_waits_already_when_one_cancels_is_not_shown_any_more(stand: Stand) -> None:
    streaming(stand)
    outbox = stand.window.outbox
    outbox.tell(CONSENT, generation=outbox.generation)

    stand.press("Cancel")
    stand.tell()

    assert stand.state == "ready"


# ---------------------------------------------------------------------- what does not come


def test_after_fifteen_seconds_without_a_piece_it_says_so_and_a_piece_brings_it_back(
    stand: Stand,
) -> None:
    streaming(stand)
    stand.seconds += 14
    stand.wait(lambda: stand.status.endswith("14 s"))
    assert stand.state == "streaming"

    stand.seconds += 1
    stand.wait(lambda: stand.state == "stalled")
    stand.seconds += 5
    stand.wait(lambda: stand.status == "Stalled · nothing for 20 s")
    stand.put("payload", "more")

    assert stand.state == "streaming"
    assert stand.page == "Payload"


def test_a_model_that_loads_for_long_is_not_called_stalled(stand: Stand) -> None:
    loading(stand)

    stand.seconds += 300

    stand.wait(lambda: stand.status == "Waiting for tiny-4b · 5:00 min")
    assert stand.state == "loading"


def test_a_worker_that_does_not_end_is_left_behind_after_six_seconds(stand: Stand) -> None:
    idle(stand)
    ends: list[bool] = []
    stand.root.quit = lambda: ends.append(True)  # type: ignore[method-assign]
    stand.window.act(Action.CLOSE)
    stand.tell()
    assert ends == []

    stand.seconds += 6.1

    stand.wait(lambda: ends)


@pytest.mark.parametrize("name", ["ready", "review", "running", "closing"])
def test_no_timer_is_left_when_it_is_closed(stand: Stand, name: str) -> None:
    reach(stand, name)
    stand.root.quit = lambda: None  # type: ignore[method-assign]
    stand.window.frame.models.tree.selection_set(f"acme/large-70b\n{SERVER}")
    stand.root.update()

    stand.window.leaving.destroy()

    assert stand.window.closed
    tkroot.settle(stand.root)
    assert stand.timers() == []


def test_a_worker_that_can_not_begin_leaves_its_reason_to_be_read(stand: Stand) -> None:
    stand.tell(m.Complained("there is no room for another thread"), m.Closed())

    assert not stand.window.closed
    assert "no room" in stand.window.frame.notice.words
    assert "start it again" in stand.log


def test_models_that_are_listed_while_something_runs_do_not_change_what_runs(stand: Stand) -> None:
    running(stand)

    stand.tell(ONLY_SEED, m.Unreachable(SERVER, "it is gone", 2.0), LISTED)

    assert stand.state == "running"
    assert "asked 4" not in stand.status
    chosen = stand.window.choosing.chosen
    assert chosen is not None
    assert chosen.name == "tiny-4b"
