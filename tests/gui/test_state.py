from __future__ import annotations

from collections.abc import Iterable
from string import Formatter

import pytest

from lmboot.gui import state
from lmboot.gui.state import FIRST, LAST, ROWS, Action, Event, State, Trigger, after, enabled

TRIGGERS: tuple[Trigger, ...] = (*Action, *Event)
ALIVE = {State.WRITING, State.RUNNING, State.STOPPING, State.REPLACING}
BUSY = {State.LOADING, State.STREAMING, State.STALLED}
STARTING = {Action.BOOTSTRAP, Action.RESTART, Action.RETRY, Action.REPAIR, Action.WRITE_AND_RUN}
FACTS = {
    "server", "model", "retry", "elapsed", "size", "tokens", "rate", "first", "quiet", "problem",
    "problems", "payload", "runtime", "sandbox", "code", "reason",
}  # fmt: skip


def reachable(start: State, triggers: Iterable[Trigger]) -> set[State]:
    found, waiting = {start}, [start]
    while waiting:
        here = waiting.pop()
        following = {after(here, each) for each in triggers} - found
        found |= following
        waiting += following
    return found


@pytest.mark.parametrize("here", State)
def test_every_state_has_words_that_say_what_happened_what_it_means_and_what_to_do(
    here: State,
) -> None:
    row = ROWS[here]

    assert row.status
    for sentence in row.card:
        assert sentence.endswith(".")
        assert "Oops" not in sentence
    assert not row.status.endswith(".")


@pytest.mark.parametrize("here", State)
def test_the_words_use_facts_that_the_window_gives(here: State) -> None:
    row = ROWS[here]
    names = {name for text in (row.status, *row.card) for _, name, _, _ in Formatter().parse(text)}

    assert names - {None} <= FACTS


@pytest.mark.parametrize("here", [each for each in State if each is not LAST])
def test_every_state_has_a_way_out_that_is_enabled_or_comes_by_itself(here: State) -> None:
    ways = [each for each in TRIGGERS if each is not Action.CLOSE and after(here, each) != here]

    assert any(isinstance(each, Event) or enabled(here, each) for each in ways)


@pytest.mark.parametrize("here", [each for each in State if each is not LAST])
def test_every_state_has_something_that_the_user_can_do(here: State) -> None:
    assert ROWS[here].actions - {Action.SETTINGS, Action.CLOSE}


def test_every_state_is_reached_from_the_first() -> None:
    assert reachable(FIRST, TRIGGERS) == set(State)


@pytest.mark.parametrize("here", [each for each in State if each is not LAST])
def test_from_every_state_there_is_a_way_to_ready(here: State) -> None:
    assert State.IDLE in reachable(here, [each for each in TRIGGERS if each is not Action.CLOSE])


def test_the_table_is_total() -> None:
    assert set(ROWS) == set(State)
    for here in State:
        for trigger in TRIGGERS:
            assert isinstance(after(here, trigger), State)


@pytest.mark.parametrize("here", State)
def test_what_is_not_enabled_leads_nowhere(here: State) -> None:
    for action in Action:
        if not enabled(here, action) and action is not Action.CLOSE:
            assert after(here, action) == here


@pytest.mark.parametrize("here", sorted(ALIVE - {State.REPLACING}, key=str))
def test_nothing_starts_a_second_run_while_there_is_one(here: State) -> None:
    assert not ROWS[here].actions & STARTING


def test_a_run_is_replaced_only_with_consent() -> None:
    assert ROWS[State.REPLACING].actions & STARTING == {Action.WRITE_AND_RUN}


@pytest.mark.parametrize("here", sorted(BUSY, key=str))
def test_what_asks_can_be_cancelled_and_asks_once(here: State) -> None:
    assert not ROWS[here].actions & STARTING
    assert enabled(here, Action.CANCEL)
    assert after(here, Action.CANCEL) is State.IDLE


def test_only_consent_leads_from_a_review_to_writing() -> None:
    for here in (State.REVIEW, State.REPLACING):
        assert [each for each in TRIGGERS if after(here, each) is State.WRITING] == [
            Action.WRITE_AND_RUN
        ]


def test_the_window_can_be_closed_in_every_state_and_stays_closing() -> None:
    for here in set(State) - {LAST}:
        assert enabled(here, Action.CLOSE)
        assert after(here, Action.CLOSE) is LAST
    assert reachable(LAST, TRIGGERS) == {LAST}
    assert enabled(LAST, Action.KILL)


def test_a_whole_session_goes_through_the_states_that_one_expects() -> None:
    steps: list[tuple[Trigger, State]] = [
        (Event.SERVER_GONE, State.NO_SERVER),
        (Event.NO_MODELS, State.NO_MODEL),
        (Event.MODELS_LISTED, State.IDLE),
        (Action.BOOTSTRAP, State.LOADING),
        (Event.PIECE, State.STREAMING),
        (Event.QUIET, State.STALLED),
        (Event.PIECE, State.STREAMING),
        (Event.REFUSED, State.INVALID),
        (Action.REPAIR, State.LOADING),
        (Event.PIECE, State.STREAMING),
        (Event.CONSENT_WANTED, State.REVIEW),
        (Action.WRITE_AND_RUN, State.WRITING),
        (Event.STARTED, State.RUNNING),
        (Event.CONSENT_WANTED, State.REPLACING),
        (Action.BACK, State.RUNNING),
        (Event.CRASHED, State.CRASHED),
        (Action.RESTART, State.WRITING),
        (Event.STARTED, State.RUNNING),
        (Action.STOP, State.STOPPING),
        (Event.ENDED, State.ENDED),
        (Action.BACK, State.IDLE),
        (Action.CLOSE, State.CLOSING),
    ]
    here = FIRST
    for trigger, expected in steps:
        here = after(here, trigger)
        assert here is expected


def test_a_launch_that_is_called_off_must_be_gone_before_another_can_begin() -> None:
    assert after(State.WRITING, Action.CANCEL) is State.STOPPING
    assert after(State.STOPPING, Event.STARTED) is State.STOPPING
    assert after(State.STOPPING, Event.CANCELLED) is State.IDLE


def test_the_status_line_has_the_facts_and_a_dash_for_what_is_not_known() -> None:
    facts = {"size": "12.4 KB", "tokens": "812", "first": "0.8 s", "elapsed": "20 s"}

    line = state.status(State.STREAMING, facts)

    assert line == "12.4 KB · 812 tok · — tok/s · first after 0.8 s · 20 s"


def test_a_stranger_s_name_stays_one_short_line_and_is_no_template() -> None:
    facts = {"model": "a\n{server}\u202e\x00" + "b" * 1000}

    words = state.card(State.IDLE, facts).happened

    assert words.startswith("a {server}bbb")
    assert words.isprintable()
    assert len(words) < 320


def test_a_review_beside_a_runtime_that_runs_leaves_it_alone_unless_it_ends_itself() -> None:
    assert after(State.REPLACING, Event.FAILED) is State.RUNNING
    assert after(State.REPLACING, Event.CRASHED) is State.REVIEW
    assert after(State.WRITING, Event.CONSENT_WANTED) is State.REVIEW
