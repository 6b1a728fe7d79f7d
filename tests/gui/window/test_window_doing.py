"""What the buttons, menus, keys and lines of the real window ask of the worker."""

from __future__ import annotations

import tkinter as tk
from collections.abc import Iterator
from tkinter import filedialog

import pytest

from lmboot.gui import messages as m
from lmboot.gui.modelrows import model_row
from tests.gui import tkroot
from tests.gui.windows import (
    ANSWER,
    CONSENT,
    LARGE,
    LISTED,
    LOADED,
    ONLY_SEED,
    ROWS,
    SEED,
    SEED_FILE,
    SERVER,
    STARTED,
    WRITING,
    Stand,
    ended,
    idle,
    loading,
    reach,
    running,
    streaming,
    texts,
)

LARGE_ID = f"acme/large-70b\n{SERVER}"
SEED_ID = "seed\n"


@pytest.fixture
def stand(session_root: tk.Tk) -> Iterator[Stand]:
    with Stand() as stand:
        yield stand


BEGUN = "a session of its own"  # stands for the number of a session that a button begins
# state, button -> what the worker is asked, the state after it
BUTTONS: dict[tuple[str, str], tuple[list[tuple[object, ...]], str]] = {
    ("no server", "Retry now"): ([("desk.look", "")], "looking"),
    ("no server", "Bootstrap the seed"): ([("bootstrap", BEGUN, SEED)], "loading"),
    ("token", "Go on without"): ([], "no model"),
    ("ready", "Refresh"): ([("desk.look", "")], "ready"),
    ("ready", "Bootstrap"): ([("bootstrap", BEGUN, LOADED)], "loading"),
    ("loading", "Cancel"): ([("desk.cancel",)], "ready"),
    ("streaming", "Cancel"): ([("desk.cancel",)], "ready"),
    ("stalled", "Cancel"): ([("desk.cancel",)], "ready"),
    ("rejected", "Ask model to repair"): ([("mend", BEGUN)], "loading"),
    ("rejected", "Ask again"): ([("bootstrap", BEGUN, LOADED)], "loading"),
    ("rejected", "Bootstrap"): ([("bootstrap", BEGUN, LOADED)], "loading"),
    ("rejected", "Back"): ([], "ready"),
    ("review", "Back"): ([("answer", ANSWER, False)], "ready"),
    ("replacing", "Back"): ([("answer", ANSWER, False)], "running"),
    ("writing", "Cancel"): ([("desk.cancel",)], "stopping"),
    ("running", "Interrupt"): ([("desk.interrupt",)], "running"),
    ("running", "Stop"): ([("desk.stop",)], "stopping"),
    ("stopping", "Kill now"): ([("desk.kill",)], "stopping"),
    ("ended", "Run again"): ([("run_again", BEGUN)], "writing"),
    ("ended", "Back"): ([("desk.cancel",)], "ready"),
    ("crashed", "Run again"): ([("run_again", BEGUN)], "writing"),
    ("crashed", "Back"): ([("desk.cancel",)], "ready"),
    ("closing", "Kill now"): ([("desk.kill",)], "closing"),
}
KEYS = {
    ("ready", "<Control-b>"): ("ready", "Bootstrap"),
    ("ready", "<Control-B>"): ("ready", "Bootstrap"),
    ("ready", "<F5>"): ("ready", "Refresh"),
    ("streaming", "<Escape>"): ("streaming", "Cancel"),
    ("review", "<Escape>"): ("review", "Back"),
    ("rejected", "<Escape>"): ("rejected", "Back"),
    ("rejected", "<space>"): ("rejected", "Ask model to repair"),
    ("running", "<Control-period>"): ("running", "Stop"),
    ("running", "<Control-c>"): ("running", "Interrupt"),
    ("stopping", "<Control-K>"): ("stopping", "Kill now"),
}


def asked_for(stand: Stand, calls: list[tuple[object, ...]]) -> list[tuple[object, ...]]:
    """Return the calls with the number of the session that is shown now."""
    number = stand.window.outbox.generation
    return [tuple(number if each is BEGUN else each for each in call) for call in calls]


@pytest.mark.parametrize(("name", "label"), BUTTONS, ids=" - ".join)
def test_a_button_asks_the_worker_for_what_it_says(stand: Stand, name: str, label: str) -> None:
    reach(stand, name)
    calls, state = BUTTONS[name, label]

    stand.press(label)

    assert stand.calls == asked_for(stand, calls)
    assert stand.state == state


@pytest.mark.parametrize(("name", "key"), KEYS, ids=" - ".join)
def test_a_key_does_what_its_button_does(stand: Stand, name: str, key: str) -> None:
    reach(stand, name)
    calls, state = BUTTONS[KEYS[name, key]]

    stand.key(key)

    assert stand.calls == asked_for(stand, calls)
    assert stand.state == state


@pytest.mark.parametrize("name", ["looking", "streaming", "review", "running", "closing"])
def test_a_key_whose_action_the_state_does_not_know_does_nothing(stand: Stand, name: str) -> None:
    reach(stand, name)

    stand.key("<Control-b>", "<F5>", "<Control-K>" if name != "closing" else "<F5>")

    assert stand.calls == []


# ---------------------------------------------------------------------- asking


def test_what_is_cancelled_is_told_with_what_had_come(stand: Stand) -> None:
    streaming(stand)
    stand.press("Cancel")
    assert stand.notice == "Stopped at your request after 812 tokens"

    stand.press("Bootstrap")
    stand.tell(m.Asked(0, ""))
    stand.press("Cancel")

    assert stand.notice == "Stopped at your request after no tokens"


def test_an_asking_that_fails_leads_back_and_says_why(stand: Stand) -> None:
    streaming(stand)

    stand.tell(m.Over("the connection was lost. Start the server again.", rejected=False))

    assert stand.state == "ready"
    assert stand.notice == "The connection was lost. Start the server again."


def test_why_it_asks_once_more_is_told(stand: Stand) -> None:
    streaming(stand)

    stand.tell(m.Asked(1, "asked to mend manifest: a name is missing"))

    assert stand.state == "loading"
    assert stand.notice == "Asked to mend manifest: a name is missing"


def test_the_elapsed_time_is_that_of_all_rounds(stand: Stand) -> None:
    loading(stand)
    stand.seconds += 30

    stand.tell(WRITING, m.Asked(1, "asked to mend"), WRITING)

    stand.wait(lambda: stand.status.endswith("30 s"))


def test_a_kept_payload_is_run_without_asking_the_model(stand: Stand) -> None:
    idle(stand)
    kept = ("notebook 1.2", "2026-11-20 · 2 files", "9c41e7d0")
    stand.tell(m.KeptPayloads(ROWS[0].id, [kept]))
    stand.forget_calls()

    stand.press("Run")

    assert stand.calls == asked_for(stand, [("run_kept", BEGUN, "9c41e7d0")])
    assert stand.title == "lmboot — writing — payload 9c41e7d0"


def test_a_kept_payload_that_was_not_agreed_to_is_shown_first(stand: Stand) -> None:
    idle(stand)
    stand.window.run_kept("9c41e7d0")

    stand.tell(CONSENT)
    assert stand.state == "review"
    stand.read_all()
    stand.wait(lambda: stand.window.asking.can_agree)
    stand.press("Write & run")

    assert stand.title == "lmboot — writing — notebook"


# ---------------------------------------------------------------------- the runtime


ENDS: dict[str, tuple[list[m.Message], str]] = {
    "by itself": ([ended(0)], "Ended · notebook · status 0"),
    "with a status": ([ended(3)], "Crashed · notebook · status 3"),
    "by a signal": ([ended(137)], "Crashed · notebook · killed by signal 9"),
    "by a limit": (
        [m.Happened("limit", "over its limit of memory", {"limit": "memory"}), ended(137)],
        "Crashed · notebook · it used more memory than it may",
    ),
    "by a limit that is not known": (
        [m.Happened("limit", "over its limit of sorrow", {"limit": "sorrow"}), ended(137)],
        "Crashed · notebook · it went over its limit of sorrow",
    ),
    "uncleanly": (
        [m.Happened("unclean", "UNCLEAN", {}), ended(0)],
        "Crashed · notebook · not all of its processes could be ended",
    ),
    "with its session": (
        [m.Over("the disk is full", rejected=False)],
        "Crashed · notebook · the disk is full",
    ),
}


@pytest.mark.parametrize("how", ENDS)
def test_how_the_runtime_ended_is_said(stand: Stand, how: str) -> None:
    running(stand)
    messages, words = ENDS[how]

    stand.tell(*messages)

    assert stand.status == words


@pytest.mark.parametrize("code", [0, 1, 143])
def test_what_was_told_to_end_has_not_crashed(stand: Stand, code: int) -> None:
    running(stand)
    stand.press("Stop")

    stand.tell(ended(code))

    assert stand.state == "ended"


def test_a_notice_says_what_a_flip_met(stand: Stand) -> None:
    running(stand)
    stand.tell(m.Happened("route", "fs.list is DENY now", {"op": "fs.list"}))
    assert "DENY" not in stand.notice

    stand.tell(m.Happened("route", "fs.list is DENY now; 2 withdrawn", {"withdrawn": 2}))

    assert stand.notice == "fs.list is DENY now; 2 withdrawn"


def test_a_limit_of_one_run_is_forgotten_in_the_next(stand: Stand) -> None:
    running(stand)
    stand.tell(m.Happened("limit", "over its limit of memory", {"limit": "memory"}), ended(137))
    stand.press("Run again")

    stand.tell(STARTED, ended(0))

    assert stand.state == "ended"


def test_a_launch_that_is_called_off_is_over_when_nothing_runs_any_more(stand: Stand) -> None:
    reach(stand, "writing")
    stand.press("Cancel")
    assert stand.state == "stopping"

    stand.tell(m.Over("", rejected=False))

    assert stand.state == "ready"


def test_a_runtime_that_ends_while_another_is_reviewed_leaves_the_review(stand: Stand) -> None:
    reach(stand, "replacing")

    stand.tell(ended(0))

    assert stand.state == "review"
    assert stand.page == "Files: review"


def test_a_session_that_breaks_while_another_payload_is_reviewed_is_over(stand: Stand) -> None:
    reach(stand, "replacing")

    stand.tell(m.Over("the disk is full", rejected=False))

    assert stand.status == "Crashed · notebook · the disk is full"


def test_what_runs_again_has_the_name_of_what_ran(stand: Stand) -> None:
    reach(stand, "replacing")
    stand.press("Back")
    stand.tell(ended(0))

    stand.press("Run again")

    assert stand.title == "lmboot — writing — notebook"
    assert stand.status == "Writing and starting notebook"


# ---------------------------------------------------------------------- models and servers


def test_the_model_that_is_chosen_is_opened_ahead_of_need_once_one_stays_with_it(
    stand: Stand,
) -> None:
    idle(stand)
    tree = stand.window.frame.models.tree
    stand.wait(lambda: stand.opened == [LOADED])

    for row in (SEED_ID, LARGE_ID, ROWS[0].id, LARGE_ID):
        tree.selection_set(row)
        stand.root.update()

    stand.wait(lambda: len(stand.opened) > 1)
    assert stand.opened == [LOADED, LARGE]
    assert stand.window.memory.model == LARGE_ID


def test_while_a_model_is_asked_no_other_can_be_chosen(stand: Stand) -> None:
    streaming(stand)
    models = stand.window.frame.models

    models.tree.selection_set(LARGE_ID)
    tkroot.settle(stand.root)

    assert models.selected == ROWS[0].id
    stand.press("Cancel")
    assert stand.status == "Ready · tiny-4b"


def test_the_model_that_the_user_chose_comes_back_with_its_server(stand: Stand) -> None:
    idle(stand)
    stand.window.choosing.choose(LARGE_ID)
    stand.tell(ONLY_SEED, m.Unreachable("", "no server", 2.0))
    assert stand.status == "Ready · seed"

    stand.tell(LISTED)

    assert stand.status == "Ready · large-70b"


def test_an_address_is_remembered_and_looked_at(stand: Stand) -> None:
    idle(stand)
    stand.forget_calls()
    field = stand.window.frame.server.field
    field.set("http://10.0.0.2:8080")
    field.focus_set()

    stand.key("<Return>")

    assert stand.calls == [("desk.look", "http://10.0.0.2:8080")]
    assert stand.window.memory.addresses == ("http://10.0.0.2:8080",)
    offered = stand.root.tk.splitlist(field["values"])
    assert offered == ("any server here", "http://10.0.0.2:8080")


def test_a_token_goes_to_the_server_that_wanted_it(stand: Stand) -> None:
    reach(stand, "token")
    stand.window.frame.session.token.field.insert(0, "open-sesame")

    stand.key("<Return>")

    assert stand.calls == [("desk.give_token", SERVER, "open-sesame", None)]
    assert stand.page == "Session: card"


def test_a_file_that_was_opened_is_chosen(stand: Stand) -> None:
    idle(stand)
    file = model_row(SEED_FILE)

    stand.tell(m.Added(file))

    assert stand.status == "Ready · mein Modell.gguf"
    assert stand.window.frame.models.selected == file.id
    assert [row.name for row in stand.window.choosing.rows.values()][-2:] == [file.name, "seed"]


def test_a_file_that_was_opened_while_something_runs_is_listed_only(stand: Stand) -> None:
    streaming(stand)

    stand.tell(m.Added(model_row(SEED_FILE)))

    assert stand.window.frame.models.selected == ROWS[0].id
    assert len(stand.window.choosing.rows) == 4


def test_files_that_are_dropped_are_opened_unless_something_is_under_way(stand: Stand) -> None:
    idle(stand)
    stand.forget_calls()
    stand.window.choosing.dropped(["/models/a.gguf", "/models/b.gguf"])
    opened = [("desk.open_file", "/models/a.gguf"), ("desk.open_file", "/models/b.gguf")]
    assert stand.calls == opened

    stand.press("Bootstrap")
    stand.forget_calls()
    stand.window.choosing.dropped(["/models/c.gguf"])

    assert stand.calls == []
    assert stand.notice.startswith("Not now")


@pytest.mark.parametrize(("server", "words"), [(SERVER, "no answer"), ("", "no server found")])
def test_a_server_that_was_named_is_missed_more_than_one_that_was_only_looked_for(
    stand: Stand, server: str, words: str
) -> None:
    stand.tell(ONLY_SEED, m.Unreachable(server, "nothing answers", 2.0))

    assert words in [each.strip() for each in texts(stand.window.frame.server)]


def test_a_server_that_was_found_but_gives_no_list_is_no_server(stand: Stand) -> None:
    stand.tell(m.Listed(ROWS[-1:], 0, [], ["http://127.0.0.1:1234 answered nonsense"]))

    assert stand.state == "no server"
    assert stand.notice == "http://127.0.0.1:1234 answered nonsense"


# ---------------------------------------------------------------------- what is kept


def test_what_the_program_wrote_is_kept_where_the_user_says(
    stand: Stand, monkeypatch: pytest.MonkeyPatch
) -> None:
    reach(stand, "ended")
    monkeypatch.setattr(filedialog, "askdirectory", lambda **_: "/home/me/my notes")

    stand.press("Keep files…")

    assert stand.calls == [("desk.send", ":save /home/me/my notes")]
    assert stand.window.memory.folder == "/home/me"


def test_reply_and_transcript_are_saved_where_the_user_says(
    stand: Stand, monkeypatch: pytest.MonkeyPatch
) -> None:
    reach(stand, "review")
    monkeypatch.setattr(filedialog, "asksaveasfilename", lambda **_: "/home/me/it.txt")

    stand.choose("File", "Save reply…")
    stand.key("<Control-s>")

    assert stand.calls == [
        ("save_text", "/home/me/it.txt", CONSENT.reply),
        ("save_transcript", "/home/me/it.txt"),
    ]


def test_a_dialog_that_is_closed_without_an_answer_does_nothing(
    stand: Stand, monkeypatch: pytest.MonkeyPatch
) -> None:
    reach(stand, "ended")
    for name in ("askdirectory", "asksaveasfilename", "askopenfilename"):
        monkeypatch.setattr(filedialog, name, lambda **_: ())  # what Tk gives then

    stand.key("<Control-s>", "<Control-o>")
    stand.press("Keep files…")

    assert stand.calls == []


# ---------------------------------------------------------------------- the end


def dialogs(stand: Stand) -> list[tk.Toplevel]:
    return [each for each in stand.root.winfo_children() if isinstance(each, tk.Toplevel)]


def close(stand: Stand) -> None:
    """Do what the window manager does when its cross is pressed."""
    stand.root.tk.call(stand.root.protocol("WM_DELETE_WINDOW"))
    tkroot.settle(stand.root)


def closing(stand: Stand) -> list[str]:
    return [str(call[0]) for call in stand.calls]


@pytest.mark.parametrize("name", ["looking", "ready", "streaming", "review", "stopping", "ended"])
def test_it_is_closed_without_a_question_while_nothing_runs(stand: Stand, name: str) -> None:
    reach(stand, name)

    close(stand)

    assert closing(stand) == ["close"]
    assert stand.title == "lmboot — closing"


@pytest.mark.parametrize("name", ["writing", "running", "replacing"])
def test_it_asks_while_something_runs(stand: Stand, name: str) -> None:
    reach(stand, name)

    close(stand)

    assert len(dialogs(stand)) == 1
    assert stand.calls == []
    assert "“notebook” still runs" in " ".join(texts(dialogs(stand)[0]))
    stand.press("Stay")
    assert dialogs(stand) == []
    assert stand.state == name
    close(stand)
    stand.press("Quit")
    assert closing(stand) == ["close"]


def test_who_closes_it_once_more_is_not_asked_again(stand: Stand) -> None:
    reach(stand, "running")

    close(stand)
    close(stand)
    close(stand)

    assert closing(stand) == ["close", "desk.kill"]
    assert dialogs(stand) == []


def test_what_it_remembers_is_handed_over_with_its_place(stand: Stand) -> None:
    idle(stand)
    stand.window.choosing.choose(LARGE_ID)
    stand.size(900, 600)

    close(stand)

    memory = stand.calls[-1][1]
    assert memory.model == LARGE_ID  # type: ignore[attr-defined]
    assert memory.geometry.startswith("900x600+")  # type: ignore[attr-defined]


def test_leaving_the_search_in_a_file_does_not_refuse_the_payload(stand: Stand) -> None:
    reach(stand, "review")

    stand.key("<Control-f>", "<Key-p>", "<Escape>")

    assert (stand.state, stand.keyboard, stand.calls) == ("review", "the file", [])


# ---------------------------------------------------------------------- from pane to pane


PANES = {
    "ready": ["the models", "Bootstrap"],
    "streaming": ["the models", "Bootstrap", "the stream"],
    "rejected": ["the models", "Bootstrap", "the reply"],
    "review": ["the files", "the file"],
    "running": ["the transcript", "the line to write in"],
}


@pytest.mark.parametrize("name", PANES)
def test_f6_goes_through_what_is_on_the_screen(stand: Stand, name: str) -> None:
    reach(stand, name)
    visited = set()

    for _ in range(2 * len(PANES[name])):
        stand.key("<F6>")
        visited.add(stand.keyboard)

    assert visited == set(PANES[name])
