"""What the window is told of a runtime's border."""

from __future__ import annotations

from pathlib import Path

import pytest

from lmboot.app.border import Beside, Border, agreed_routes
from lmboot.errors import AuditFault
from lmboot.gui import bordermessages as b
from lmboot.gui import messages as m
from lmboot.gui.outbox import Budget, Outbox
from lmboot.gui.watching import BorderWatch, posture, shown_border, shown_routes
from lmboot.runtime.policy import OPERATIONS, Limits, Route, Rule, effective_routes
from lmboot.runtime.routes import Routes
from tests.fakes import unheard

ALL = Budget(1 << 30, 1 << 30, 1e9)
ASKED: dict[str, Route] = {"fs.open": "EMULATE", "fs.read_text": "HOST", "fetch": "HOST"}


ALONE = Beside(
    model=lambda: None,
    tell=lambda text, event=None, **details: None,
    note=unheard,
    inject=lambda text: None,
    ask=None,
    sandbox="there is none",
    limits=Limits(),
)


def routes(**rules: Rule) -> Routes:
    return agreed_routes(effective_routes(ASKED), rules)


def border(fault: AuditFault | None = None) -> Border:
    """A border whose runtime is not there yet."""
    made = Border(fault or AuditFault("no room"), routes(), ALONE)
    made.backend, made.properties = "bubblewrap", {"net_ip": "enforced", "pids": "partial"}
    return made


def row(found: tuple[b.Route, ...], op: str) -> b.Route:
    (row,) = [each for each in found if each.op == op]
    return row


def test_every_operation_is_told_with_the_routes_that_a_flip_can_not_reach() -> None:
    found = shown_routes(routes(fetch="DENY"))

    assert [each.op for each in found] == list(OPERATIONS)
    assert row(found, "fs.read_text") == ("fs.read_text", "HOST", ())
    held = dict(row(found, "fs.open").held)
    assert held == {"HOST": "the payload asked for no more than EMULATE"}
    held = dict(row(found, "fetch").held)
    assert held["HOST"] == "the policy allows no more than DENY"


def test_what_a_flip_has_closed_can_be_opened_again() -> None:
    found = row(shown_routes(routes().flip("fs.read_text", "DENY")), "fs.read_text")

    assert (found.route, list(found.held)) == ("DENY", [])


def test_what_is_not_enforced_comes_first_and_what_nobody_has_proven_is_not() -> None:
    levels = [level for level, _ in posture({"net_ip": "enforced", "pids": "partial"})]

    assert set(levels[:-2]) == {"absent"}
    assert levels[-2:] == ["partial", "enforced"]


def test_what_holds_in_part_says_what_remains_possible() -> None:
    words = "its processes are limited (by looking: more of them may be there for a moment)"

    assert ("partial", words) in posture({"pids": "partial"})


async def test_grants_are_told_by_the_name_that_takes_them_back(tmp_path: Path) -> None:
    here = border()
    (tmp_path / "no\u202etes").mkdir()
    name = (await here.grants.add_folder(tmp_path / "no\u202etes", "write")).name
    here.grants.add("fetch", "Example.org")

    folder, host = shown_border(here).grants

    assert folder == ("write", name, "notes/", "until it ends", None)
    assert host == ("fetch", "example.org", "example.org", "until it ends", None)
    assert here.grants.remove(folder[1])
    assert [each.kind for each in shown_border(here).grants] == ["fetch"]
    here.grants.close()


def test_that_nothing_can_be_recorded_is_told() -> None:
    told = shown_border(border(AuditFault("the audit log can't be written: no room")))

    assert told.unrecorded.startswith("the audit log can't be written: no room")


class Watched:
    """A watch, and what it told."""

    def __init__(self) -> None:
        self.border: Border | None = None
        self.outbox = Outbox[m.Message]()
        self.watch = BorderWatch(self.outbox, lambda: self.border)

    def told(self) -> list[b.Border | None]:
        messages = self.outbox.drain(ALL).messages
        return [each.border for each in messages if isinstance(each, b.Bordered)]


@pytest.fixture
def watched() -> Watched:
    return Watched()


def test_only_changes_are_told(watched: Watched) -> None:
    watched.watch.look()
    assert watched.told() == []

    watched.border = border()
    watched.watch.look()
    watched.watch.look()
    assert len(watched.told()) == 1

    watched.border.grants.add("fetch", "example.org")
    watched.watch.look()
    (told,) = watched.told()
    assert told is not None
    assert [each.name for each in told.grants] == ["example.org"]

    watched.border = None
    watched.watch.look()
    assert watched.told() == [None]
