"""The long runs of tests/soak, once each with a small count; what they find fails here too."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.figures import programs
from tests.soak import cancel, confined, frames, launch, parser, sessions, window, worker

SOAKS = Path(__file__).parent / "soak"


@pytest.fixture(autouse=True)
def _own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


def test_every_soak_can_be_run_by_its_name() -> None:
    found = programs(SOAKS)

    known = {
        "cancel",
        "confined",
        "frames",
        "launch",
        "parser",
        "seed",
        "sessions",
        "window",
        "worker",
    }
    assert known <= set(found)


@pytest.mark.engine
def test_answers_that_are_left_leave_nothing_behind() -> None:
    figures = cancel.main(12)

    assert figures["server left"] > 0
    assert figures["engine left"] > 0


def test_nothing_leaves_a_granted_folder_by_a_link_that_was_swapped_in() -> None:
    figures = confined.main(1)

    assert figures["openat2 reads"] > 0
    assert figures["walking reads"] > 0


def test_damaged_replies_are_judged_and_cut_off_ones_refused() -> None:
    figures = parser.main(3000)

    assert 0 < figures["accepted"] < 3000


def test_damaged_frames_are_faults_and_good_ones_requests() -> None:
    figures = frames.main(3000)

    assert figures["requests"] > 2500
    assert figures["faults"] > 200
    assert figures["channels"] > 2


@pytest.mark.sandbox
def test_sessions_by_pipe_leave_nothing_behind() -> None:
    assert sessions.main(2)["sessions"] == 2


@pytest.mark.sandbox
def test_launches_leave_nothing_behind() -> None:
    figures = launch.main(8)

    assert figures["stopped"] == 2


@pytest.mark.sandbox
def test_calls_and_lost_workers_leave_nothing_behind() -> None:
    figures = worker.main(200, 20)

    assert figures["lost"] == 10
    assert 0 < figures["replaced"] <= 10


@pytest.mark.sandbox
@pytest.mark.engine
def test_a_window_that_is_used_for_long_holds_no_more_than_at_first() -> None:
    figures = window.main(4)

    assert figures["rounds"] == 4
