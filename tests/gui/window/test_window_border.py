"""The border in the real window: routes, grants and what the sandbox enforces, live."""

from __future__ import annotations

import tkinter as tk
from collections.abc import Iterator
from tkinter import filedialog, ttk

import pytest

from lmboot.app.border import agreed_routes
from lmboot.gui import bordermessages as b
from lmboot.gui import messages as m
from lmboot.gui.bordercolumn import BorderColumn
from lmboot.gui.routes import Pills
from lmboot.gui.watching import posture, shown_routes
from lmboot.runtime.kinds import may
from lmboot.runtime.policy import OPERATIONS, Route, effective_routes
from lmboot.runtime.properties import IN_WORDS
from tests.gui.tkroot import clipped, mapped, settle
from tests.gui.windows import STARTED, Stand, ended, reach, texts

ASKED: dict[str, Route] = {
    "fs.open": "EMULATE",
    "fs.read_text": "HOST",
    "fetch": "HOST",
    "query_model": "HOST",
}
ROUTES = agreed_routes(effective_routes(ASKED), {})
LEVELS = {**dict.fromkeys(IN_WORDS, "enforced"), "unix_path": "absent", "mem_total": "partial"}
NOTES = b.Grant("read", "notes", "notes/", "until it ends")
HOST = b.Grant("fetch", "example.org", "example.org", "for a while", 772)
BORDER = b.Border("bubblewrap", posture(LEVELS), shown_routes(ROUTES), (NOTES, HOST), "")


@pytest.fixture
def stand(session_root: tk.Tk) -> Iterator[Stand]:
    with Stand() as stand:
        reach(stand, "running")
        stand.tell(b.Bordered(BORDER))
        yield stand


def column(stand: Stand) -> BorderColumn:
    return stand.window.frame.session.border


def pills(stand: Stand) -> dict[str, Pills]:
    """Every operation's pills that are shown, by its name."""
    found = [each for each in mapped(column(stand).routes) if isinstance(each, Pills)]
    return dict(zip(column(stand).routes.names, found, strict=True))


def segment(stand: Stand, op: str, route: str) -> ttk.Radiobutton:
    for each in pills(stand)[op].winfo_children():
        if isinstance(each, ttk.Radiobutton) and each["text"] == route:
            return each
    raise AssertionError(f"{op} has no {route}")


def click(stand: Stand, widget: tk.Misc) -> None:
    """Press and let go of the mouse in the middle of something."""
    middle = {"x": widget.winfo_width() // 2, "y": widget.winfo_height() // 2}
    for event in ("<Enter>", "<Button-1>", "<ButtonRelease-1>"):
        widget.event_generate(event, **middle)  # type: ignore[arg-type]
        settle(stand.root)


def changed(stand: Stand) -> list[tuple[object, ...]]:
    return [call[1:] for call in stand.calls if call[0] == "change_border"]


def test_what_can_be_done_to_an_operation_is_shown_the_rest_is_one_row(stand: Stand) -> None:
    assert {op: each.route for op, each in pills(stand).items()} == ASKED
    stand.press("and 14 more, all DENY")

    assert len(pills(stand)) == len(OPERATIONS)
    assert pills(stand)["spawn"].route == "DENY"
    stand.press("Show fewer")
    assert set(pills(stand)) == set(ASKED)


def test_a_click_asks_for_a_route_and_what_holds_is_what_is_shown(stand: Stand) -> None:
    click(stand, segment(stand, "fetch", "DENY"))

    assert changed(stand) == [("route", "fetch DENY")]
    assert pills(stand)["fetch"].route == "HOST"
    stand.tell(b.Bordered(BORDER._replace(routes=shown_routes(ROUTES.flip("fetch", "DENY")))))
    assert pills(stand)["fetch"].route == "DENY"


def test_a_flip_that_is_held_back_is_told_and_shows_what_holds(stand: Stand) -> None:
    held = segment(stand, "fs.open", "HOST")
    assert held.instate(["readonly"])

    click(stand, held)

    assert changed(stand) == [("route", "fs.open HOST")]
    assert pills(stand)["fs.open"].route == "EMULATE"
    assert "asked for no more than EMULATE" in stand.notice


def test_the_route_that_holds_already_is_not_asked_for(stand: Stand) -> None:
    click(stand, segment(stand, "fetch", "HOST"))

    assert changed(stand) == []


def test_by_the_keyboard_only_a_key_of_its_own_changes_a_route(stand: Stand) -> None:
    """The arrows pass by HOST on the way from EMULATE to DENY."""
    stand.key("<F6>")
    assert stand.focused is segment(stand, "fs.open", "EMULATE")

    stand.key("<Right>", "<Right>")
    assert changed(stand) == []
    assert stand.focused is segment(stand, "fs.open", "DENY")
    stand.key("<space>")

    assert changed(stand) == [("route", "fs.open DENY")]


def test_what_is_granted_can_be_taken_back(stand: Stand) -> None:
    shown = texts(column(stand).grants)
    assert [word for word in shown if word in ("notes/", "example.org")] == [
        "notes/",
        "example.org",
    ]
    assert "Fetch from it  ·  for a while, 12:52 min left" in shown
    assert "Read everything in it, databases too  ·  until it ends" in shown
    _, revoke = revokes(stand)

    revoke.invoke()

    assert changed(stand) == [("revoke", "fetch example.org")]


def revokes(stand: Stand) -> list[ttk.Button]:
    buttons = [each for each in mapped(column(stand)) if isinstance(each, ttk.Button)]
    return [each for each in buttons if each["text"] == "Revoke"]


def test_a_grant_that_only_grows_older_keeps_its_row(stand: Stand) -> None:
    before, _ = revokes(stand)

    stand.tell(b.Bordered(BORDER._replace(grants=(NOTES, HOST._replace(seconds=9)))))

    assert before.winfo_exists()
    assert "Fetch from it  ·  for a while, 0:09 min left" in texts(column(stand).grants)


def test_a_host_is_granted_by_its_name(stand: Stand) -> None:
    stand.press("Grant a host…")
    assert isinstance(stand.focused, ttk.Entry)
    stand.focused.insert(0, " api.example.org ")
    stand.key("<Return>")

    assert changed(stand) == [("grant", "fetch api.example.org")]
    assert "Grant a host…" in stand.buttons


def test_nothing_is_granted_where_no_host_was_named(stand: Stand) -> None:
    stand.press("Grant a host…")
    stand.press("Grant")
    stand.key("<Escape>")

    assert changed(stand) == []
    assert stand.keyboard == "Grant a folder…"


@pytest.mark.parametrize(("words", "verb"), [("Read", "read"), ("Change too", "write")])
def test_a_folder_is_granted_by_choosing_it(
    stand: Stand, monkeypatch: pytest.MonkeyPatch, words: str, verb: str
) -> None:
    monkeypatch.setattr(filedialog, "askdirectory", lambda **_: "/home/me/my notes ")
    stand.press("Grant a folder…")
    choices = [each for each in mapped(column(stand).grants) if isinstance(each, ttk.Radiobutton)]
    (choice,) = [each for each in choices if each["text"] == words]
    choice.invoke()
    (note,) = [each for each in texts(column(stand).grants) if "Names that begin" in each]
    assert may(verb, "this folder") in note
    stand.press("Choose folder…")

    assert changed(stand) == [("grant", f"{verb} /home/me/my notes /")]


def test_a_folder_that_was_not_chosen_is_not_granted(
    stand: Stand, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(filedialog, "askdirectory", lambda **_: "")
    stand.press("Grant a folder…")
    stand.press("Choose folder…")

    assert changed(stand) == []
    assert "Choose folder…" in stand.buttons  # another try is at hand


def test_only_a_grant_without_a_route_to_use_it_is_told_beside_its_line(stand: Stand) -> None:
    details = {"grant": "fetch", "what": "example.org"}
    stand.tell(m.Happened("grant", "the runtime may fetch from example.org", details))
    assert stand.notice == ""

    but = {**details, "but": "not before `:route fetch HOST`"}
    stand.tell(m.Happened("grant", "the runtime may fetch from example.org", but))
    assert "Granted, but not before `:route fetch HOST`" in stand.notice


def test_the_posture_is_told_in_words_and_never_by_a_colour_alone(stand: Stand) -> None:
    shown = texts(column(stand))

    assert "What the sandbox enforces: bubblewrap" in shown
    assert f"Not enforced: {IN_WORDS['unix_path']}" in shown
    assert any(words.startswith(f"Only in part: {IN_WORDS['mem_total']} (") for words in shown)
    assert "Can't read your files" in shown
    signs = [words for words in shown if words.startswith(("Not enforced", "Only in part"))]
    assert len(signs) == 2


def test_that_nothing_is_recorded_stands_first(stand: Stand) -> None:
    stand.tell(b.Bordered(BORDER._replace(unrecorded="the audit log can't be written: no room")))
    assert texts(column(stand))[0] == "the audit log can't be written: no room"

    stand.tell(b.Bordered(BORDER))
    assert "the audit log can't be written: no room" not in texts(column(stand))


def test_the_column_goes_with_the_runtime_and_what_was_asked_in_it(stand: Stand) -> None:
    stand.press("Grant a host…")
    stand.tell(ended(0), b.Bordered(None))
    assert not column(stand).winfo_ismapped()

    stand.press("Run again")
    stand.tell(STARTED, b.Bordered(BORDER))

    assert column(stand).winfo_ismapped()
    assert "Grant a host…" in stand.buttons


def test_the_column_can_be_put_away(stand: Stand) -> None:
    stand.choose("View", "Routes and grants")
    assert not column(stand).winfo_ismapped()

    stand.tell(b.Bordered(BORDER._replace(grants=())))
    assert not column(stand).winfo_ismapped()
    stand.choose("View", "Routes and grants")

    assert column(stand).winfo_ismapped()


def test_no_column_is_there_before_a_runtime_is(session_root: tk.Tk) -> None:
    with Stand() as stand:
        reach(stand, "ready")
        stand.choose("View", "Routes and grants")

        assert "while a program runs" in stand.notice


@pytest.mark.parametrize("wide", [720, 1040])
@pytest.mark.parametrize("scale", [1.0, 2.0])
def test_nothing_is_cut_off(session_root: tk.Tk, scale: float, wide: int) -> None:
    with Stand(scale=scale) as stand:
        stand.size(wide, 700)
        reach(stand, "running")
        stand.tell(b.Bordered(BORDER))

        assert column(stand).winfo_ismapped()
        assert clipped(stand.root) == []
        stand.press("Grant a folder…")
        assert clipped(stand.root) == []
        (change,) = (
            each
            for each in mapped(column(stand).grants)
            if isinstance(each, ttk.Radiobutton) and each["text"] == "Change too"
        )
        change.invoke()
        settle(stand.root)
        assert clipped(stand.root) == []
