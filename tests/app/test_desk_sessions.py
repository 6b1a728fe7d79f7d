"""Sessions at a desk, from the asking to the end, with the real sandbox behind them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from time import monotonic
from typing import Any

import psutil
import pytest

from lmboot.app.desk import Desk
from lmboot.app.models import EngineConnection, open_model, seed_row
from lmboot.bootstrap import prompts
from lmboot.bootstrap.handshake import Asked, Refused, Repairing, Streaming
from lmboot.connections.interface import Connection
from lmboot.errors import (
    ConnectionLost,
    EngineFailed,
    FileUnreadable,
    PayloadRejected,
    TokenRefused,
    UsageFault,
)
from tests.app.bureau import (
    LARGE,
    REPLY,
    SEED_LIKE,
    TINY,
    Bureau,
    at_work,
    places_in,
    transcript,
    turns,
)
from tests.cli.program import payload
from tests.fakes import FakeView

pytestmark = pytest.mark.sandbox

WRITER = payload("""\
import sys
print("ready", flush=True)
for line in sys.stdin:
    open("note.txt", "a").write(line)
    print("wrote", line.strip(), flush=True)
""")
STUBBORN = payload("""\
import signal, time
for number in (signal.SIGTERM, signal.SIGINT):
    signal.signal(number, signal.SIG_IGN)
print("ready", flush=True)
while True:
    time.sleep(60)
""")
FLOOD = payload("""\
print("ready", flush=True)
while True:
    print("x" * 100)
""")
CRASH = payload("print('ready', flush=True)\nraise SystemExit(3)\n")


async def becomes_ready(view: FakeView) -> None:
    await view.until(lambda: "ready" in view.pane("rt"))


# ---------------------------------------------------------------- one session


async def test_a_bootstrap_leads_to_a_review_and_into_a_session(bureau: Bureau) -> None:
    connection = await bureau.chosen()
    view = await bureau.session()

    bureau.desk.send("hello")
    await view.until(lambda: "you said hello" in view.pane("rt"))
    connection.enqueue(["Hi."])
    bureau.desk.send(":ai who are you?")
    await view.until(lambda: view.answers == 1)

    assert [review.model for review in view.reviews] == ["tiny"]
    assert view.events == ["payload", "started"]
    assert view.pane("you", "ai") == ["hello", ":ai who are you?", "Hi."]
    assert bureau.ends_of(view) == []


async def test_all_of_it_is_in_the_transcript_at_once(bureau: Bureau) -> None:
    assert bureau.desk.transcript() is None
    view = await bureau.session()

    assert transcript(bureau.desk.transcript()) == [each.text for each in view.shown]


async def test_what_was_agreed_to_before_is_reviewed_all_the_same_when_a_model_wrote_it(
    bureau: Bureau,
) -> None:
    bureau.keep(agreed=True)

    view = await bureau.session()

    assert [review.agreed_before for review in view.reviews] == [True]


async def test_nothing_runs_without_consent(bureau: Bureau) -> None:
    view = FakeView(agrees=False)
    (await bureau.chosen()).enqueue([REPLY])

    bureau.desk.bootstrap(view)

    assert await bureau.over(view) is None
    assert (view.events, view.pane("rt")) == (["payload"], [])


async def test_a_payload_is_offered_again_once_its_session_is_over(bureau: Bureau) -> None:
    view = await bureau.session()

    bureau.desk.cancel()
    await bureau.over(view)
    await bureau.lobby.until(lambda: len(bureau.lobby.of("kept")) == 2)

    _, after = bureau.lobby.of("kept")
    assert [each.agreed for each in after[1]] == [True]


async def test_quitting_ends_the_runtime_and_its_files_and_the_model_are_still_there(
    bureau: Bureau, tmp_path: Path
) -> None:
    view = await bureau.session(WRITER)
    bureau.desk.send("oak")
    await view.until(lambda: "wrote oak" in view.pane("rt"))

    bureau.desk.send(":quit")
    await view.until(lambda: "ended" in view.events)
    bureau.desk.send(f":save {tmp_path / 'out'}")
    await view.until(lambda: "copied to" in view.pane("sys")[-1])
    bureau.connections[0].enqueue(["Bye."])
    bureau.desk.send(":ai bye")
    await view.until(lambda: view.answers == 1)

    assert (tmp_path / "out" / "note.txt").read_text() == "oak\n"
    assert view.pane("ai") == ["Bye."]
    assert bureau.ends_of(view) == []


async def test_questions_are_answered_one_after_another_and_the_runtime_does_not_wait_for_them(
    bureau: Bureau,
) -> None:
    view = await bureau.session()
    (connection,) = bureau.connections
    thinks = asyncio.Event()
    connection.enqueue(["one", thinks, " more"])
    connection.enqueue(["two"])

    for line in (":ai first", ":ai second", ":rt hello"):
        bureau.desk.send(line)
    await view.until(lambda: "you said hello" in view.pane("rt"))
    assert (view.pane("ai"), view.answers, len(connection.asks)) == (["one"], 0, 2)

    thinks.set()
    await view.until(lambda: view.answers == 2)
    assert view.pane("ai") == ["one", " more", "two"]


async def test_an_answer_can_be_broken_off_and_the_next_one_comes(bureau: Bureau) -> None:
    view = await bureau.session()
    (connection,) = bureau.connections
    connection.enqueue(["one", asyncio.Event()])
    connection.enqueue(["two"])
    bureau.desk.send(":ai first")
    bureau.desk.send(":ai second")
    await view.until(lambda: view.pane("ai") == ["one"])

    bureau.desk.interrupt()

    await view.until(lambda: view.answers == 1)
    assert view.pane("ai") == ["one", "two"]
    assert "interrupted" in view.pane("sys")


async def test_a_crash_leaves_the_session_and_what_was_written(bureau: Bureau) -> None:
    view = await bureau.session(CRASH)
    await view.until(lambda: "ended" in view.events)

    bureau.desk.send("hello?")
    await view.until(lambda: "has ended" in view.pane("sys")[-1])

    assert [str(each) for each in view.complaints] == ["the runtime ended by itself with status 3"]
    assert bureau.ends_of(view) == []


# ---------------------------------------------------------------- stop, kill, cancel


async def test_stopping_ends_the_runtime_and_not_the_session(bureau: Bureau) -> None:
    view = await bureau.session(WRITER)

    bureau.desk.stop()
    await view.until(lambda: "ended" in view.events)

    assert view.complaints == []
    assert bureau.ends_of(view) == []


async def test_killing_does_not_wait_for_a_runtime_that_does_not_want_to_end(
    bureau: Bureau,
) -> None:
    view = await bureau.session(STUBBORN)
    began = monotonic()

    bureau.desk.stop()
    bureau.desk.kill()
    await view.until(lambda: "ended" in view.events)

    assert monotonic() - began < 1  # stopping alone takes longer
    assert view.complaints == []


async def test_an_asking_can_be_cancelled(bureau: Bureau) -> None:
    view = FakeView()
    connection = await bureau.chosen()
    connection.enqueue(["{", asyncio.Event()])
    bureau.desk.bootstrap(view)
    await view.until(lambda: any(isinstance(step, Streaming) for step in view.steps))

    bureau.desk.cancel()

    assert await bureau.over(view) is None
    assert (connection.closed, connection.is_open) == (1, True)


@pytest.mark.parametrize("count", [0, 1, 2, 5, 10, 30, 100, 300, 1000])
async def test_a_launch_can_be_cancelled_at_any_time(bureau: Bureau, count: int) -> None:
    view = FakeView()
    (await bureau.chosen()).enqueue([REPLY])
    bureau.desk.bootstrap(view)
    await view.until(lambda: bool(view.reviews))
    await turns(count)

    bureau.desk.cancel()

    assert await bureau.over(view) is None


async def test_a_session_is_ended_once_however_often_it_is_cancelled(bureau: Bureau) -> None:
    view = await bureau.session(STUBBORN)

    for _ in range(4):
        bureau.desk.cancel()
        await turns(20)

    assert await bureau.over(view) is None
    assert view.events[-1] == "ended"


async def test_a_session_can_be_cancelled_before_it_began(bureau: Bureau) -> None:
    running, view = await bureau.session(), FakeView()

    bureau.desk.bootstrap(view)
    bureau.desk.cancel()

    assert await bureau.over(view) is None
    assert await bureau.over(running) is None
    assert running.events[-1] == "ended"


async def test_with_no_session_there_is_nothing_to_stop(bureau: Bureau) -> None:
    for what in (
        bureau.desk.stop,
        bureau.desk.kill,
        bureau.desk.cancel,
        bureau.desk.interrupt,
        lambda: bureau.desk.send("x"),
    ):
        what()

    assert bureau.lobby.told == []


# ---------------------------------------------------------------- one after another


async def test_a_new_session_begins_when_the_one_before_has_ended(bureau: Bureau) -> None:
    first = await bureau.session(STUBBORN)

    second = await bureau.session(REPLY)

    assert first.events[-1] == "ended"
    assert await bureau.over(first) is None
    assert bureau.ends_of(second) == []


async def test_of_sessions_that_are_begun_at_once_the_last_one_runs(bureau: Bureau) -> None:
    connection, views = await bureau.chosen(), [FakeView() for _ in range(4)]
    connection.enqueue([REPLY])

    for view in views:
        bureau.desk.bootstrap(view)
    await becomes_ready(views[-1])

    assert [bureau.ends_of(view) for view in views] == [[None], [None], [None], []]
    assert len(connection.asks) == 1


async def test_what_ran_can_run_again_without_the_model(bureau: Bureau) -> None:
    first, second = await bureau.session(), FakeView()

    bureau.desk.run_again(second)
    await becomes_ready(second)

    assert await bureau.over(first) is None
    assert (second.reviews, second.steps) == ([], [])
    assert len(bureau.connections[0].asks) == 1
    bureau.connections[0].enqueue(["Hi."])
    bureau.desk.send(":ai hello")
    await second.until(lambda: second.pane("ai") == ["Hi."])


async def test_each_session_has_a_transcript_of_its_own(bureau: Bureau) -> None:
    await bureau.session()
    first, second = bureau.desk.transcript(), FakeView()

    bureau.desk.run_again(second)
    await becomes_ready(second)

    assert bureau.desk.transcript() != first
    assert transcript(bureau.desk.transcript()) == [each.text for each in second.shown]
    assert "error" not in second.events


@pytest.mark.parametrize("agreed", [True, False])
async def test_a_payload_that_was_kept_runs_without_the_model_but_not_without_consent(
    bureau: Bureau, agreed: bool
) -> None:
    kept, view = bureau.keep(by="large", agreed=agreed), FakeView()
    connection = await bureau.chosen()

    bureau.desk.run_kept(view, kept.sha256)
    await becomes_ready(view)

    assert [review.model for review in view.reviews] == ([] if agreed else ["large"])
    assert connection.asks == []


async def test_a_payload_that_was_kept_runs_with_the_model_that_was_let_go_for_a_token(
    bureau: Bureau,
) -> None:
    kept, view = bureau.keep(), FakeView()
    await bureau.chosen()
    bureau.desk.give_token("http://127.0.0.1:9", "x", "http://127.0.0.1:9")
    await bureau.lobby.until(lambda: bureau.lobby.of("unreachable"))

    bureau.desk.run_kept(view, kept.sha256)
    await becomes_ready(view)

    assert bureau.openings == ["tiny", "tiny"]


async def test_a_payload_that_is_damaged_or_not_there_is_told_as_the_sessions_end(
    bureau: Bureau,
) -> None:
    damaged, none = FakeView(), FakeView()
    kept = bureau.keep()
    (file,) = bureau.places.payloads.iterdir()
    file.write_text(file.read_text().replace("ready", "reedy"))
    await bureau.chosen()

    bureau.desk.run_kept(damaged, kept.sha256)
    bureau.desk.run_kept(none, "ab" * 32)

    assert isinstance(await bureau.over(damaged), FileUnreadable)
    assert type(await bureau.over(none)) is UsageFault


@pytest.mark.parametrize("begin", ["bootstrap", "run_again", "run_kept"])
async def test_what_can_not_begin_is_told_as_over(bureau: Bureau, begin: str) -> None:
    kept, view = bureau.keep(), FakeView()

    {
        "bootstrap": lambda: bureau.desk.bootstrap(view),
        "run_again": lambda: bureau.desk.run_again(view),
        "run_kept": lambda: bureau.desk.run_kept(view, kept.sha256),
    }[begin]()

    assert type(await bureau.over(view)) is UsageFault


# ---------------------------------------------------------------- what goes wrong


async def test_a_reply_that_is_no_payload_is_told_and_can_be_mended(bureau: Bureau) -> None:
    connection, first, second = await bureau.chosen(), FakeView(), FakeView()
    for _ in range(3):
        connection.enqueue(["I'd rather not."])
    bureau.desk.bootstrap(first)
    assert isinstance(await bureau.over(first), PayloadRejected)
    refused = first.steps[-1]
    assert isinstance(refused, Refused)

    connection.enqueue([REPLY])
    bureau.desk.mend(second, refused)
    await becomes_ready(second)

    roles = [message.role for message in connection.asks[-1].messages]
    assert roles == ["system", "user", "assistant", "user"]
    assert [type(step) for step in second.steps[:2]] == [Repairing, Asked]


async def test_a_failed_opening_is_told_and_tried_anew_by_the_next_bootstrap(
    bureau: Bureau,
) -> None:
    bureau.failures = [EngineFailed("it could not load"), EngineFailed("nor now")]
    views = [FakeView() for _ in range(3)]
    bureau.desk.choose(SEED_LIKE)
    for view in views[:2]:
        bureau.desk.bootstrap(view)
        assert isinstance(await bureau.over(view), EngineFailed)
    assert bureau.openings == ["own", "own"]

    bureau.desk.choose(SEED_LIKE)
    await bureau.lobby.until(lambda: bureau.lobby.of("opened"))
    bureau.connections[0].enqueue([REPLY])
    bureau.desk.bootstrap(views[2])
    await becomes_ready(views[2])

    assert [str(error) for error in bureau.lobby.of("complain")] == [
        "it could not load",
        "nor now",
    ]


@pytest.mark.parametrize("fault", [TokenRefused("it wants a token"), ConnectionLost("cut")])
async def test_a_failure_of_the_model_is_the_end_and_a_token_is_asked_for(
    bureau: Bureau, fault: Any
) -> None:
    view = FakeView()
    (await bureau.chosen()).enqueue([fault])

    bureau.desk.bootstrap(view)

    assert await bureau.over(view) is fault
    locked = [(TINY.server, fault)] if isinstance(fault, TokenRefused) else []
    assert bureau.lobby.of("locked") == locked
    assert bureau.openings == ["tiny"]


async def test_a_model_stays_open_as_long_as_a_session_uses_it(bureau: Bureau) -> None:
    view = await bureau.session()
    (first,) = bureau.connections

    await bureau.chosen(LARGE)
    first.enqueue(["I am here."])
    bureau.desk.send(":ai are you there?")
    await view.until(lambda: view.pane("ai") == ["I am here."])
    assert first.is_open

    bureau.desk.cancel()
    await bureau.over(view)
    await turns(3)
    assert [each.is_open for each in bureau.connections] == [False, True]


async def test_the_model_of_the_first_session_serves_the_next_one_too(bureau: Bureau) -> None:
    await bureau.session()
    await bureau.session()

    assert bureau.openings == ["tiny"]


async def killed(opened: Connection) -> None:
    """Kill the engine behind it, and wait until that was seen."""
    for child in psutil.Process().children():
        if "engine_child" in " ".join(child.cmdline()):
            child.kill()
    assert isinstance(opened, EngineConnection)
    async with asyncio.timeout(10):
        while not opened.died:
            await turns(1)


@pytest.mark.engine
async def test_an_engine_that_dies_in_a_session_fails_one_question_and_is_replaced_by_the_next(
    tmp_path: Path, own_world: None
) -> None:
    opened: list[Connection] = []

    async def opening(*given: Any, **named: Any) -> Connection:
        opened.append(await open_model(*given, **named))
        return opened[-1]

    view = FakeView()
    async with at_work(Bureau(places_in(tmp_path))) as bureau:
        bureau.desk = Desk(bureau.lobby, bureau.settings, bureau.places, {}, opening)
        bureau.desk.choose(seed_row())
        bureau.desk.bootstrap(view)
        await view.until(lambda: any("AI-RT> ready" in text for text in view.pane("rt")))
        await killed(opened[0])

        bureau.desk.send(":ai what can you do?")
        bureau.desk.send(":ai what can you do?")
        await view.until(lambda: bool(view.pane("ai")))

    assert [each.event for each in view.shown].count("error") == 1
    assert any("started anew" in text for text in view.pane("sys"))
    assert len(opened) == 1


@pytest.mark.engine
async def test_an_engine_that_died_is_started_anew_for_the_next_session(
    tmp_path: Path, own_world: None
) -> None:
    opened: list[Connection] = []

    async def opening(*given: Any, **named: Any) -> Connection:
        opened.append(await open_model(*given, **named))
        return opened[-1]

    async with at_work(Bureau(places_in(tmp_path))) as bureau:
        bureau.desk = Desk(bureau.lobby, bureau.settings, bureau.places, {}, opening)
        bureau.desk.look()
        await bureau.lobby.until(lambda: bureau.lobby.of("listed"))
        bureau.desk.choose(bureau.lobby.of("listed")[0].models[-1])
        await bureau.lobby.until(lambda: bureau.lobby.of("opened"))
        await killed(opened[0])
        view = FakeView()

        bureau.desk.bootstrap(view)
        await view.until(lambda: any("AI-RT> ready" in text for text in view.pane("rt")))

        assert len(opened) == 2


# ---------------------------------------------------------------- the end, in every moment


async def opening(bureau: Bureau, view: FakeView) -> None:
    bureau.door = asyncio.Event()
    bureau.desk.choose(TINY)
    bureau.desk.bootstrap(view)


async def asking(bureau: Bureau, view: FakeView) -> None:
    (await bureau.chosen()).enqueue([REPLY[:20], asyncio.Event()])
    bureau.desk.bootstrap(view)
    await view.until(lambda: any(isinstance(step, Streaming) for step in view.steps))


async def reviewing(bureau: Bureau, view: FakeView) -> None:
    view.thinks_it_over = asyncio.Event()
    (await bureau.chosen()).enqueue([REPLY])
    bureau.desk.bootstrap(view)
    await view.until(lambda: bool(view.reviews))


async def running(bureau: Bureau, view: FakeView) -> None:
    await bureau.session(view=view)


async def running_stubbornly(bureau: Bureau, view: FakeView) -> None:
    await bureau.session(STUBBORN, view)


async def flooding(bureau: Bureau, view: FakeView) -> None:
    await bureau.session(FLOOD, view)
    await view.until(lambda: len(view.shown) > 500)


async def answering(bureau: Bureau, view: FakeView) -> None:
    await running(bureau, view)
    for _ in range(2):
        bureau.connections[0].enqueue(["one", asyncio.Event()])
        bureau.desk.send(":ai hello")
    await view.until(lambda: view.pane("ai") == ["one"])


async def stopping(bureau: Bureau, view: FakeView) -> None:
    await running_stubbornly(bureau, view)
    bureau.desk.stop()
    await turns(3)


async def quitting(bureau: Bureau, view: FakeView) -> None:
    await running_stubbornly(bureau, view)
    bureau.desk.send(":quit")
    await view.until(lambda: ":quit" in view.pane("you"))
    await turns(3)


async def cancelling(bureau: Bureau, view: FakeView) -> None:
    await running_stubbornly(bureau, view)
    bureau.desk.cancel()
    await turns(3)


async def ended(bureau: Bureau, view: FakeView) -> None:
    await bureau.session(CRASH, view)
    await view.until(lambda: "ended" in view.events)


async def saving(bureau: Bureau, view: FakeView) -> None:
    await ended(bureau, view)
    bureau.desk.send(f":save {bureau.places.payloads.parent / 'out'}")
    await view.until(lambda: any(":save" in line for line in view.pane("you")))
    await turns(3)


async def reviewing_another(bureau: Bureau, view: FakeView) -> None:
    await running(bureau, view)
    view.thinks_it_over = asyncio.Event()
    bureau.connections[0].enqueue([REPLY])
    bureau.desk.send(f":ai {prompts.TRIGGER}")
    await view.until(lambda: len(view.reviews) == 2)


async def replacing(bureau: Bureau, view: FakeView) -> None:
    await running_stubbornly(bureau, view)
    bureau.connections[0].enqueue([REPLY])
    bureau.desk.send(f":ai {prompts.TRIGGER}")
    await view.until(lambda: len(view.reviews) == 2)
    await turns(20)


async def following(bureau: Bureau, view: FakeView) -> None:
    """Wait for the end of a session before."""
    await bureau.session(STUBBORN)
    bureau.desk.run_again(view)
    await turns(20)


Moment = Callable[[Bureau, FakeView], Awaitable[None]]
MOMENTS: list[Moment] = [
    opening,
    asking,
    reviewing,
    running,
    running_stubbornly,
    flooding,
    answering,
    stopping,
    quitting,
    cancelling,
    ended,
    saving,
    reviewing_another,
    replacing,
    following,
]


@pytest.mark.parametrize("moment", MOMENTS, ids=lambda moment: moment.__name__)
async def test_closing_leaves_nothing_at_any_moment(bureau: Bureau, moment: Moment) -> None:
    view = FakeView()
    await moment(bureau, view)
    began = monotonic()

    await bureau.desk.close()

    assert monotonic() - began < 4
    assert await bureau.over(view) is None
    assert asyncio.all_tasks() == {asyncio.current_task()}


@pytest.mark.parametrize("count", [0, 1, 3, 10, 30, 100, 300, 1000, 3000])
async def test_closing_leaves_nothing_while_a_sandbox_is_set_up(
    bureau: Bureau, count: int
) -> None:
    view = FakeView()
    (await bureau.chosen()).enqueue([REPLY])
    bureau.desk.bootstrap(view)
    await turns(count)

    await bureau.desk.close()

    assert len(bureau.ends_of(view)) == 1


@pytest.mark.parametrize("count", [0, 1, 3, 10, 30, 100, 300, 1000, 3000])
async def test_closing_leaves_nothing_while_a_program_is_launched(
    bureau: Bureau, count: int
) -> None:
    view = FakeView()
    (await bureau.chosen()).enqueue([REPLY])
    bureau.desk.bootstrap(view)
    await view.until(lambda: bool(view.reviews))
    await turns(count)

    await bureau.desk.close()

    assert len(bureau.ends_of(view)) == 1


async def test_closing_twice_is_closing(bureau: Bureau) -> None:
    view = await bureau.session(STUBBORN)

    await asyncio.gather(bureau.desk.close(), bureau.desk.close())

    assert await bureau.over(view) is None


async def test_the_next_program_runs_in_the_sandbox_that_is_wanted_or_not_at_all(
    bureau: Bureau,
) -> None:
    await bureau.chosen()
    bureau.desk.sandbox = "nonsense"
    view = FakeView()
    bureau.desk.bootstrap(view)

    failure = await bureau.over(view)
    assert isinstance(failure, UsageFault)
    assert "nonsense" in str(failure)
    assert view.reviews == []
