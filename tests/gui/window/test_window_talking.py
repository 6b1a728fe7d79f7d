"""Lines to and fro in the real window: what is typed, floods, strangers' texts, our own errors."""

from __future__ import annotations

import tkinter as tk
from collections.abc import Iterator
from typing import Any

import pytest

from lmboot.connections.interface import Model
from lmboot.gui import messages as m
from lmboot.gui.lastline import Run
from lmboot.gui.modelrows import model_row
from lmboot.gui.outbox import Budget
from lmboot.gui.shown import for_review
from lmboot.gui.textstyle import Style
from lmboot.text import hidden_in
from tests.gui import tkroot
from tests.gui.windows import (
    CONSENT,
    LISTED,
    READY,
    SERVER,
    STARTED,
    Stand,
    ended,
    idle,
    reach,
    running,
    streaming,
    texts,
    token,
)


@pytest.fixture
def stand(session_root: tk.Tk) -> Iterator[Stand]:
    with Stand() as stand:
        yield stand


@pytest.fixture
def talk(stand: Stand) -> Stand:
    """A window whose runtime runs, with the keyboard where one writes."""
    reach(stand, "running")
    return stand


def sent(stand: Stand) -> list[object]:
    """The lines that were handed over."""
    return [call[1] for call in stand.calls if call[0] == "desk.send"]


# ---------------------------------------------------------------------- what is typed


LINES = {
    "help": ":rt help",
    ":rt ls": ":rt ls",
    ":ai hello": ":ai hello",
    ":ai+ why?": ":ai+ why?",
    "::x": ":rt :x",
    "::": ":rt :",
    ":save /tmp/new": ":save /tmp/new",
    ":help": ":help",
    ":nonsense": ":nonsense",
    "  two  words ": ":rt   two  words ",
}


@pytest.mark.parametrize("typed", LINES)
def test_a_line_goes_where_it_says_else_where_the_last_one_went(talk: Stand, typed: str) -> None:
    talk.type(typed)

    assert sent(talk) == [LINES[typed]]
    assert talk.window.frame.session.entry.typed == ""


def test_a_bare_line_goes_where_the_last_one_went(talk: Stand) -> None:
    for line in (":ai hello", "and you?", "::colon", ":rt ls", "help"):
        talk.type(line)

    assert sent(talk) == [":ai hello", ":ai and you?", ":ai :colon", ":rt ls", ":rt help"]


def test_the_target_can_be_chosen(talk: Stand) -> None:
    talk.window.frame.session.entry.target.set(":ai")

    talk.type("hello")

    assert sent(talk) == [":ai hello"]


def test_an_empty_line_goes_nowhere(talk: Stand) -> None:
    talk.type("")

    assert sent(talk) == []


def test_clear_empties_the_session_and_tells_nobody(talk: Stand) -> None:
    assert talk.transcript

    talk.type(":clear")

    assert talk.transcript == ""
    assert talk.calls == []


def test_stop_and_quit_end_the_runtime(talk: Stand) -> None:
    talk.type(":stop")
    assert (talk.state, talk.calls) == ("stopping", [("desk.stop",)])


def test_quit_ends_the_runtime_by_its_line_and_then_leaves_the_session(talk: Stand) -> None:
    talk.type(":quit")
    assert (talk.state, sent(talk)) == ("stopping", [":quit"])
    talk.tell(ended(143))
    assert talk.state == "ended"
    talk.forget_calls()

    talk.type(":quit")

    assert (talk.state, talk.calls) == ("ready", [("desk.cancel",)])


def test_restart_runs_it_again_once_it_has_ended_and_says_so_before(talk: Stand) -> None:
    talk.type(":restart")
    assert (talk.state, talk.calls) == ("running", [])
    assert talk.notice == ":restart: not while it is running"

    talk.tell(ended(0))
    talk.type(":restart")

    assert talk.state == "writing"
    assert [call[0] for call in talk.calls] == ["run_again"]


def test_nothing_is_sent_while_it_stops_and_what_is_half_typed_stays(talk: Stand) -> None:
    talk.window.frame.session.entry.typed = "half"
    talk.press("Stop")
    talk.forget_calls()

    talk.key("<Return>")

    assert talk.calls == []
    assert talk.window.frame.session.entry.typed == "half"


def test_what_was_typed_comes_back_by_what_it_begins_with(talk: Stand) -> None:
    entry = talk.window.frame.session.entry
    for line in ("add oak", "list", "add glue", ":ai add?"):
        talk.type(line)
    entry.show_target(":rt")
    entry.typed = "add"

    shown = []
    for key in ("<Up>", "<Up>", "<Up>", "<Down>", "<Down>"):
        talk.key(key)
        shown.append(entry.typed)

    assert shown == ["add glue", "add oak", "add oak", "add glue", "add"]


def test_what_was_typed_in_earlier_sessions_comes_back(session_root: tk.Tk) -> None:
    with Stand() as stand:
        stand.window.setting.values = {}  # as before the worker said it is there
        stand.tell(READY._replace(history='{"pane": ":rt", "text": "help"}\n'))
        running(stand)

        stand.key("<Up>")

        assert stand.window.frame.session.entry.typed == "help"


def test_tab_completes_commands_and_words_else_goes_on(talk: Stand) -> None:
    entry = talk.window.frame.session.entry
    talk.type("carpenter notes.json")
    completed = {}
    for typed in (":s", ":res", ":a", "open note"):
        entry.typed = typed
        talk.key("<Tab>")
        completed[typed] = entry.typed

    assert completed == {
        ":s": ":s",
        ":res": ":restart ",
        ":a": ":ai",
        "open note": "open notes.json ",
    }
    assert talk.keyboard == "the line to write in"
    entry.typed = "nothing begins like this: xyz"
    talk.key("<Tab>")
    assert talk.keyboard != "the line to write in"


def test_who_sends_a_line_sees_what_comes_of_it_wherever_he_was_reading(talk: Stand) -> None:
    text = talk.window.frame.session.transcript.text
    talk.put("rt", *[f"line {number}\n" for number in range(300)])
    text.yview_moveto(0)
    text.tag_add("sel", "2.0", "3.0")
    tkroot.settle(talk.root)

    talk.type("help")
    talk.put("rt", *[f"help {number}\n" for number in range(300)])

    assert text.dlineinfo("end-1c") is not None
    assert talk.keyboard == "the line to write in"


def test_copying_is_what_ctrl_c_means_while_something_is_selected(talk: Stand) -> None:
    entry = talk.window.frame.session.entry
    entry.typed = "notes"
    entry.entry.selection_range(0, "end")

    talk.key("<Control-c>")

    assert talk.root.clipboard_get() == "notes"
    assert talk.calls == []


# ---------------------------------------------------------------------- floods


def test_a_flood_is_drawn_in_small_helpings_and_keys_come_between(talk: Stand) -> None:
    helpings: list[list[Run]] = []
    pane = talk.window.frame.session.transcript
    draw = pane.insert_batch

    def noting(batch: Any) -> None:
        helpings.append([run for _, runs in batch for run in runs])
        draw(batch)

    pane.insert_batch = noting  # type: ignore[method-assign]
    runs = [Run(f"line {number}\n", Style(number % 8)) for number in range(9_000)]
    talk.window.outbox.put("rt", runs, lambda: None)
    talk.focused.event_generate("<Key-x>", when="tail")

    talk.wait(lambda: talk.window.frame.session.entry.typed == "x")
    drawn = sum(map(len, helpings))
    talk.wait(lambda: "line 8999" in pane.text.get("end-3l", "end"))

    assert drawn < len(runs)
    assert max(map(len, helpings)) <= Budget().runs
    assert max(sum(len(run.text) for run in runs) for runs in helpings) <= Budget().characters


def test_of_more_than_the_pane_holds_only_the_tail_is_drawn_and_a_row_says_so(
    talk: Stand,
) -> None:
    talk.window.outbox.scrollback = 100
    talk.window.outbox.put("rt", [Run(f"{n}\n") for n in range(1000)], lambda: None)

    talk.tell()

    assert "… 901 lines skipped, the full text is in the transcript" in talk.transcript
    assert talk.transcript.endswith("\n998\n999")


def test_a_thousand_messages_at_once_are_all_followed(stand: Stand) -> None:
    streaming(stand)
    pieces = [m.Writing(n, n, 40.0, 0.5, 0, [("main.py", n)]) for n in range(1000)]

    stand.tell(*pieces, CONSENT)

    assert stand.state == "review"


# ---------------------------------------------------------------------- strangers' texts


HOSTILE = "a\0b\u202ec\ud800d\x1b[31me\x1b]0;f\x07\r\n[g]{h}$i;\\" + "x" * 400
NAME = f"name {HOSTILE}"
ODD = Model(
    id=f"id {HOSTILE}",
    name=NAME,
    server=f"http://{HOSTILE}",
    kind="lmstudio",
    state="loaded",
    quantization=HOSTILE,
    architecture=HOSTILE,
    context=1 << 62,
    size_bytes=1 << 62,
)
ODD_FILE = Model(id=f"/{HOSTILE}", name=HOSTILE, server=f"/{HOSTILE}", kind="file")
SHOWN = for_review(HOSTILE)
ODD_CONSENT = m.ConsentWanted(
    name=NAME,
    summary=NAME,
    question=f"Write and run {SHOWN}?",
    files=[(SHOWN, SHOWN, SHOWN), ("a/" * 40 + "b", "1 kB", SHOWN)],
    facts=[("Program", SHOWN), ("SHA-256", SHOWN)],
    routes=[(SHOWN, "DENY")],
    borders=[SHOWN],
    warnings=[SHOWN] * 30,
    flags={SHOWN: [1, 99]},
    first=SHOWN,
    agreed_before=False,
    sandbox=HOSTILE,
    reply=HOSTILE,
    answer=None,
)
ODDITIES: dict[str, tuple[str, list[m.Message]]] = {
    "listed": (
        "looking",
        [
            m.Listed(
                [model_row(ODD), model_row(ODD_FILE)],
                1,
                [(f"http://{HOSTILE}", HOSTILE)],
                [HOSTILE],
            )
        ],
    ),
    "unreachable": ("looking", [m.Unreachable(HOSTILE, HOSTILE, 1e12)]),
    "locked": ("looking", [m.Locked(HOSTILE, HOSTILE)]),
    "added": ("ready", [m.Added(model_row(ODD_FILE))]),
    "opened": ("ready", [m.Added(model_row(ODD_FILE)), m.Opened(model_row(ODD_FILE))]),
    "kept": ("ready", [m.KeptPayloads(f"acme/tiny-4b\n{SERVER}", [(HOSTILE, HOSTILE, HOSTILE)])]),
    "said": ("ready", [m.Said(HOSTILE, HOSTILE)]),
    "complained": ("ready", [m.Complained(HOSTILE)]),
    "done": ("ready", [m.Done(HOSTILE)]),
    "asked": ("loading", [m.Asked(3, HOSTILE)]),
    "writing": (
        "loading",
        [m.Writing(1 << 40, 1 << 40, 1e9, 1e9, 1 << 40, [(HOSTILE, 1 << 24)] * 40)],
    ),
    "refused": (
        "streaming",
        [m.Refused([(HOSTILE, HOSTILE, HOSTILE, 1 << 62)] * 99, HOSTILE, SHOWN)],
    ),
    "consent": ("streaming", [ODD_CONSENT]),
    "happened": ("running", [m.Happened(HOSTILE, HOSTILE, {HOSTILE: HOSTILE})]),
    "limit": ("running", [m.Happened("limit", HOSTILE, {"limit": HOSTILE}), ended(137)]),
    "over": ("running", [m.Over(HOSTILE, rejected=False)]),
}


@pytest.mark.parametrize("name", ODDITIES)
def test_strangers_texts_are_shown_harmless_and_cut_nothing_off(stand: Stand, name: str) -> None:
    before, messages = ODDITIES[name]
    reach(stand, before)

    stand.tell(*messages)

    for tab in ("Log", "Files", "Payload", "Session"):
        stand.window.frame.tabs.show(tab)
        stand.size(720, 480)
        for words in (stand.title, *texts(stand.root)):
            assert hidden_in(words) == {}
        assert tkroot.outside(stand.root) == []


def test_a_runtime_s_name_can_not_break_title_or_question(stand: Stand) -> None:
    streaming(stand)
    stand.tell(ODD_CONSENT._replace(agreed_before=True))
    stand.key("<Control-Return>")
    stand.tell(STARTED)
    assert stand.state == "running"

    stand.window.leaving.ask()
    tkroot.settle(stand.root)

    for words in (stand.title, *texts(stand.root)):
        assert hidden_in(words) == {}
    assert "\n" not in stand.title
    for child in stand.root.winfo_children():
        assert child.winfo_width() <= stand.root.winfo_screenwidth()


# ---------------------------------------------------------------------- errors of our own


def fails(_: object) -> None:
    raise RuntimeError("of our own")


def test_a_message_that_breaks_is_told_and_costs_no_other(stand: Stand) -> None:
    stand.may_fail = True
    stand.window.take({m.Done: fails})

    stand.tell(m.Done("x"), LISTED)
    stand.tell(m.Complained("the next one"))

    assert "an error in lmboot itself: RuntimeError: of our own" in stand.log
    assert stand.state == "ready"
    assert stand.notice == "The next one"


def test_a_button_that_breaks_is_told_and_the_ticking_goes_on(stand: Stand) -> None:
    stand.may_fail = True
    idle(stand)
    stand.window.frame.server.on_settings = lambda: fails(None)

    stand.press("Settings")

    assert stand.notice.startswith("An error in lmboot itself: RuntimeError: of our own")
    assert "Please report it" in stand.notice
    assert "RuntimeError" in stand.log
    stand.seconds += 21
    stand.wait(lambda: not stand.notice)


def test_a_clock_that_breaks_does_not_end_the_ticking(stand: Stand) -> None:
    stand.may_fail = True
    standing, show = stand.window.standing, stand.window.standing.show
    standing.show = lambda: fails(None)  # type: ignore[method-assign]
    stand.seconds += 1
    stand.wait(lambda: stand.errors)
    standing.show = show  # type: ignore[method-assign]

    stand.tell(LISTED)

    assert stand.status == "Ready · tiny-4b"


def test_a_token_is_never_shown_and_never_logged(stand: Stand) -> None:
    token(stand)
    stand.window.frame.session.token.field.insert(0, "open-sesame")
    stand.key("<Return>")
    stand.window.frame.tabs.show("Log")
    tkroot.settle(stand.root)

    assert "open-sesame" not in " ".join([stand.title, stand.notice, *texts(stand.root)])
