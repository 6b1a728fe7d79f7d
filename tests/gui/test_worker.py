"""The thread that works: in goes what is posted, and whatever happens is told."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lmboot.gui import backstage
from lmboot.gui import messages as m
from lmboot.gui.backstage import Backstage
from lmboot.gui.memory import Memory
from lmboot.gui.outbox import Outbox
from lmboot.gui.worker import Worker
from tests.leaks import wait_until

SECONDS = 20.0


class Post:
    """A worker and what it has told so far."""

    def __init__(self) -> None:
        self.outbox = Outbox[m.Message]()
        self.worker = Worker(self.outbox)
        self._told: list[m.Message] = []

    @property
    def told(self) -> list[m.Message]:
        self._told += self.outbox.drain().messages
        return self._told

    def until(self, condition: Callable[[], object]) -> None:
        assert wait_until(lambda: bool(condition()), SECONDS)

    def done(self, job: Callable[[Backstage], object] = lambda _: None) -> None:
        """Post a job and wait until it was done."""
        over = threading.Event()

        def marked(stage: Backstage) -> None:
            job(stage)
            over.set()

        self.worker.post(marked)
        assert over.wait(SECONDS)

    def close(self) -> None:
        self.worker.post(lambda stage: stage.close(Memory(), {}))


@pytest.fixture(autouse=True)
def _own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CONFIG", "DATA", "STATE", "CACHE"):
        monkeypatch.setenv(f"XDG_{name}_HOME", str(tmp_path / name.lower()))
    monkeypatch.setenv("HOME", str(tmp_path))


@pytest.fixture
def idle() -> Iterator[Post]:
    """A worker that was not started yet."""
    post = Post()
    yield post
    if not post.worker.join(0):
        post.close()
        assert post.worker.join(SECONDS)


@pytest.fixture
def post(idle: Post) -> Post:
    idle.worker.start()
    return idle


# ---------------------------------------------------------------- jobs


def test_what_is_posted_before_the_start_waits_and_comes_first(idle: Post) -> None:
    done: list[int] = []
    for number in range(3):
        idle.worker.post(lambda _, n=number: done.append(n))  # type: ignore[misc]
    assert not wait_until(lambda: bool(done), 0.05)

    idle.worker.start()
    for number in range(3, 6):
        idle.worker.post(lambda _, n=number: done.append(n))  # type: ignore[misc]
    idle.done()

    assert done == list(range(6))


def test_jobs_are_done_in_the_workers_thread_and_loop(post: Post) -> None:
    where: list[object] = []

    post.done(lambda _: where.append(threading.current_thread().name))
    post.done(lambda stage: where.append(type(stage)))
    post.done(lambda _: where.append(asyncio.get_running_loop().is_running()))

    assert where == ["worker", Backstage, True]


def test_the_first_that_is_told_is_that_work_can_begin(post: Post) -> None:
    post.done()

    assert isinstance(post.told[0], m.Ready)


def test_jobs_of_many_threads_are_each_done_once_and_in_their_threads_order(post: Post) -> None:
    done: list[tuple[int, int]] = []

    def send(thread: int) -> None:
        for number in range(200):
            post.worker.post(lambda _, n=number: done.append((thread, n)))  # type: ignore[misc]

    threads = [threading.Thread(target=send, args=[number]) for number in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SECONDS)
    post.done()

    assert sorted(done) == [(which, number) for which in range(5) for number in range(200)]
    for sender in range(5):
        assert [number for which, number in done if which == sender] == list(range(200))


# ---------------------------------------------------------------- what goes wrong


def test_an_error_in_a_job_is_told_and_the_next_job_is_done(post: Post) -> None:
    done: list[str] = []

    def bad(_: Backstage) -> None:
        raise ValueError("so bad")

    post.worker.post(bad)
    post.done(lambda _: done.append("next"))

    sentence = "an error in lmboot itself: ValueError: so bad. Please report it."
    assert m.Complained(sentence) in post.told
    assert done == ["next"]


def test_an_error_outside_of_any_job_is_told(post: Post) -> None:
    def later() -> None:
        raise KeyError("gone")

    async def lost() -> None:
        raise ZeroDivisionError("in a task")

    def job(_: Backstage) -> None:
        loop = asyncio.get_running_loop()
        loop.call_soon(later)
        loop.call_soon(loop.create_task, lost())
        loop.call_soon(loop.call_exception_handler, {"message": "without an exception"})

    post.worker.post(job)

    post.until(lambda: len([each for each in post.told if isinstance(each, m.Complained)]) == 3)
    words = "".join(each.text for each in post.told if isinstance(each, m.Complained))
    assert "KeyError: 'gone'" in words
    assert "ZeroDivisionError: in a task" in words
    assert "without an exception" in words


def test_a_worker_that_can_not_begin_tells_why_and_ends(
    idle: Post, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nowhere() -> None:
        raise RuntimeError("there is no home")

    monkeypatch.setattr(backstage, "places", nowhere)

    idle.worker.post(lambda _: None)
    idle.worker.start()

    assert idle.worker.join(SECONDS)
    assert [type(each) for each in idle.told] == [m.Complained, m.Closed]
    assert "there is no home" in str(idle.told[0])
    idle.worker.post(lambda _: None)


# ---------------------------------------------------------------- the end


def test_closing_ends_the_thread_and_is_the_last_that_is_told(post: Post) -> None:
    post.worker.post(lambda stage: stage.save_text("/nowhere/x", ""))
    post.close()

    assert post.worker.join(SECONDS)
    assert post.told[-1] == m.Closed()
    assert [type(each) for each in post.told].count(m.Closed) == 1


def test_a_worker_that_was_never_started_has_ended(idle: Post) -> None:
    assert idle.worker.join(0)
    assert idle.told == []


def test_a_worker_that_works_has_not_ended(post: Post) -> None:
    assert not post.worker.join(0)


def test_what_is_posted_after_the_end_is_not_done_and_raises_nothing(post: Post) -> None:
    done: list[int] = []
    post.close()
    assert post.worker.join(SECONDS)

    post.worker.post(lambda _: done.append(1))

    assert done == []


def test_what_is_posted_while_the_loop_goes_raises_nothing(
    idle: Post, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[int] = []
    raised: list[BaseException] = []

    class Going(asyncio.SelectorEventLoop):
        """A loop that is posted to in its last moment, as another thread may do."""

        def close(self) -> None:
            super().close()
            try:
                idle.worker.post(lambda _: done.append(1))
            except RuntimeError as error:
                raised.append(error)

    monkeypatch.setattr(asyncio.events, "new_event_loop", Going)

    idle.worker.start()
    idle.close()

    assert idle.worker.join(SECONDS)
    assert (raised, done) == ([], [])
