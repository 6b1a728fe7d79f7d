"""The rules of a session, with a runtime and a model that the test plays."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lmboot.app import talk as talk_module
from lmboot.app.keeping import keep_folder
from lmboot.app.talk import FLUSH_SECONDS, QUIET_SECONDS, Talk
from lmboot.app.transcript import KEPT, Transcript
from lmboot.app.view import Shown
from lmboot.bootstrap.prompts import LAST_LINES
from lmboot.connections.interface import Notice, Thinking
from lmboot.errors import ConnectionLost, LmbootError, PayloadRejected, RuntimeFault, UsageFault
from tests.fakes import FakeRuntime, FakeView, ScriptedConnection, model

TRIGGER = "### GO ###"


@dataclass
class Stage:
    """A session, what it shows, and the two that it talks to."""

    talk: Talk
    view: FakeView
    runtime: FakeRuntime
    connection: ScriptedConnection
    bootstraps: list[str]
    refusal: LmbootError | None = None

    async def bootstrap_anew(self) -> None:
        self.bootstraps.append(TRIGGER)
        if self.refusal:
            raise self.refusal

    async def begin(self, runtime: FakeRuntime | None = None, *, output_mb: float = 256) -> None:
        self.runtime = runtime or self.runtime
        await self.talk.run(self.runtime, "the system text", output_mb)  # type: ignore[arg-type]

    async def until(self, *, shown: int) -> None:
        """Wait until so much stands in the panes of the runtime."""
        await self.view.until(lambda: len(self.view.pane("rt", "rt!")) >= shown)


def stage_in(
    folder: Path,
    wait_seconds: float = 5.0,
    *,
    live: bool = False,
    view: FakeView | None = None,
) -> Stage:
    view = view or FakeView()
    stage: Stage
    talk = Talk(
        view,
        Transcript(folder),
        wait_seconds=wait_seconds,
        is_trigger=lambda text: text == TRIGGER,
        bootstrap_anew=lambda: stage.bootstrap_anew(),
        live=live,
    )
    stage = Stage(talk, view, FakeRuntime(), ScriptedConnection(), [])
    talk.connection = stage.connection
    return stage


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    made = stage_in(tmp_path / "transcripts")
    yield made
    await made.talk.close()


@pytest.fixture
async def hasty(tmp_path: Path) -> AsyncIterator[Stage]:
    """A session that waits next to no time."""
    made = stage_in(tmp_path / "transcripts", wait_seconds=0.05)
    yield made
    await made.talk.close()


@pytest.fixture
async def live(tmp_path: Path) -> AsyncIterator[Stage]:
    """A session whose model answers while other lines are taken."""
    made = stage_in(tmp_path / "transcripts", live=True)
    yield made
    await made.talk.close()
    assert asyncio.all_tasks() == {asyncio.current_task()}


# ---------------------------------------------------------------- the first line


@pytest.mark.parametrize("first", [("ready\n", False), ("> ", False), ("warning\n", True)])
async def test_the_first_line_waits_for_output_and_quiet(
    stage: Stage, first: tuple[str, bool]
) -> None:
    text, error = first
    await stage.begin()
    stage.runtime.write(text, error=error)
    began = monotonic()

    await stage.talk.ready()

    assert monotonic() - began >= QUIET_SECONDS
    assert stage.view.pane("rt", "rt!") == [text.rstrip("\n")]
    assert stage.view.events == []


async def test_output_during_the_quiet_begins_it_anew(stage: Stage) -> None:
    await stage.begin()
    stage.runtime.write("one\n")
    ready = asyncio.create_task(stage.talk.ready())
    await asyncio.sleep(QUIET_SECONDS / 2)
    stage.runtime.write("two\n")

    await ready

    assert stage.view.pane("rt") == ["one", "two"]


async def test_a_runtime_that_prints_nothing_is_waited_for_as_long_as_was_said(
    hasty: Stage,
) -> None:
    await hasty.begin()

    await hasty.talk.ready()

    assert hasty.view.events == ["wait"]
    assert "0.05 seconds" in hasty.view.pane("sys")[0]


async def test_a_runtime_that_ended_is_not_waited_for(stage: Stage) -> None:
    await stage.begin()
    stage.runtime.finish()

    await stage.talk.ready()

    assert stage.view.events == ["ended"]


# ---------------------------------------------------------------- :rt


async def test_a_line_is_over_after_an_answer_and_quiet(stage: Stage) -> None:
    await stage.begin(FakeRuntime({"cat a": b"no file\n> "}))
    began = monotonic()

    await stage.talk.take(":rt cat a", paced=True)

    assert monotonic() - began >= QUIET_SECONDS
    assert stage.runtime.sent == [b"cat a\n"]
    assert [(each.text, each.partial) for each in stage.view.shown] == [
        (":rt cat a", False),
        ("no file", False),
        ("> ", True),
    ]


async def test_half_a_line_is_no_answer(hasty: Stage) -> None:
    await hasty.begin(FakeRuntime({"x": b"half"}))

    await hasty.talk.take(":rt x", paced=True)

    assert hasty.view.events == ["wait"]


async def test_a_runtime_that_is_never_quiet_does_not_hold_the_session(hasty: Stage) -> None:
    await hasty.begin()

    async def print_on() -> None:
        while True:
            hasty.runtime.write("on and on\n")
            await asyncio.sleep(0.01)

    printing = asyncio.create_task(print_on())
    await hasty.talk.take(":rt go", paced=True)
    printing.cancel()

    assert hasty.view.events == ["wait"]
    assert "was not quiet" in hasty.view.pane("sys")[0]


async def test_a_terminal_does_not_wait_for_an_answer(stage: Stage) -> None:
    await stage.begin()

    assert await stage.talk.take(":rt x")
    assert stage.view.events == []


async def test_the_end_of_the_runtime_ends_a_line(stage: Stage) -> None:
    await stage.begin()
    taking = asyncio.create_task(stage.talk.take(":rt exit", paced=True))
    await asyncio.sleep(0)
    stage.runtime.finish()

    assert await taking
    assert stage.view.events == ["ended"]


async def test_after_the_end_a_line_says_so_and_the_model_still_answers(stage: Stage) -> None:
    await stage.begin()
    stage.runtime.finish()
    await stage.talk.ready()
    stage.connection.enqueue(["Hello."])

    await stage.talk.take(":rt x", paced=True)
    await stage.talk.take(":ai x", paced=True)

    assert "has ended" in stage.view.pane("sys")[-1]
    assert stage.view.pane("ai") == ["Hello."]
    assert stage.runtime.sent == []


async def test_a_runtime_that_reads_no_more_is_told(stage: Stage) -> None:
    class Deaf(FakeRuntime):
        async def send(self, data: bytes) -> bool:
            return False

    await stage.begin(Deaf())

    await stage.talk.take(":rt x", paced=True)

    assert "was not sent" in stage.view.pane("sys")[0]


# ---------------------------------------------------------------- lines and halves


async def test_a_prompt_is_shown_and_its_newline_is_an_object_of_its_own(stage: Stage) -> None:
    await stage.begin()
    stage.runtime.write("AI-RT> ")
    await stage.until(shown=1)
    stage.runtime.write("\n")
    await stage.until(shown=2)

    assert [json.loads(each.as_json()) for each in stage.view.shown] == [
        {"pane": "rt", "text": "AI-RT> ", "partial": True},
        {"pane": "rt", "text": ""},
    ]


async def test_a_half_line_is_shown_though_the_other_stream_writes_after_it(stage: Stage) -> None:
    await stage.begin()
    stage.runtime.write("prompt> ")
    await asyncio.sleep(0.02)
    stage.runtime.write("warning\n", error=True)

    await stage.until(shown=2)

    assert sorted(stage.view.pane("rt", "rt!")) == ["prompt> ", "warning"]


async def test_half_lines_of_both_streams_are_shown(stage: Stage) -> None:
    await stage.begin()
    stage.runtime.write("out")
    stage.runtime.write("err", error=True)

    await stage.until(shown=2)

    assert {(each.pane, each.partial) for each in stage.view.shown} == {
        ("rt", True),
        ("rt!", True),
    }


def joined(shown: list[Shown], pane: str) -> str:
    """Return what the pieces of a pane give when they are put together again."""
    pieces = [each for each in shown if each.pane == pane]
    return "".join(each.text + ("" if each.partial else "\n") for each in pieces)


OUTPUTS = st.lists(
    st.tuples(st.booleans(), st.sampled_from(["a", "\n", "é🙂", "x" * 70_000, "", "b\nc"])),
    max_size=12,
)


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(outputs=OUTPUTS, cut=st.integers(1, 5))
async def test_joining_what_is_shown_gives_back_what_was_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, outputs: list[tuple[bool, str]], cut: int
) -> None:
    monkeypatch.setattr(talk_module, "HALF_LINE_SECONDS", 0.001)
    stage = stage_in(tmp_path / "transcripts")
    await stage.begin()

    for number, (error, text) in enumerate(outputs):
        data = text.encode()
        for part in (data[:cut], data[cut:]):
            stage.runtime.write(part, error=error)
        if number % 3 == 0:
            await asyncio.sleep(0.002)
    await stage.talk.close()

    for pane, error in (("rt", False), ("rt!", True)):
        written = "".join(text for each, text in outputs if each is error)
        assert joined(stage.view.shown, pane) in (written, written + "\n")


async def test_a_very_long_line_comes_in_partial_pieces(stage: Stage) -> None:
    await stage.begin()
    stage.runtime.write("x" * 100_000 + "\n")

    await stage.until(shown=2)

    assert [(len(each.text), each.partial) for each in stage.view.shown] == [
        (65_536, True),
        (100_000 - 65_536, False),
    ]


# ---------------------------------------------------------------- :ai


def sent(stage: Stage) -> list[tuple[str, str]]:
    return [(message.role, message.text) for message in stage.connection.asks[-1].messages]


async def test_an_answer_is_shown_in_its_pieces_and_remembered(stage: Stage) -> None:
    await stage.begin()
    stage.connection.enqueue(["Hel", "lo."])
    stage.connection.enqueue(["Bye."])

    await stage.talk.take(":ai hi")
    await stage.talk.take("and now?")

    assert stage.view.pane("ai") == ["Hel", "lo.", "Bye."]
    assert sent(stage) == [
        ("system", "the system text"),
        ("user", "hi"),
        ("assistant", "Hello."),
        ("user", "and now?"),
    ]


async def test_thinking_is_no_part_of_the_answer(stage: Stage) -> None:
    await stage.begin()
    stage.connection.enqueue([Thinking("Hm."), "<thi", "nk>Hm.</think>", "\n\n", "Hi."])
    stage.connection.enqueue(["x"])

    await stage.talk.take(":ai hi")
    await stage.talk.take(":ai more")

    assert "".join(stage.view.pane("ai")) == "Hi.x"
    assert ("assistant", "Hi.") in sent(stage)


async def test_a_notice_is_shown_beside_the_answer(stage: Stage) -> None:
    stage.connection.enqueue([Notice("another model answers"), "Hi."])

    await stage.talk.take(":ai hi")

    assert stage.view.pane("sys") == ["another model answers"]


async def test_ai_plus_adds_the_last_lines_of_the_runtime(stage: Stage) -> None:
    await stage.begin()
    stage.runtime.write("".join(f"line {number}\n" for number in range(30)))
    await stage.until(shown=30)
    stage.connection.enqueue(["So."])

    await stage.talk.take(":ai+ why?")

    lines = sent(stage)[-1][1].splitlines()
    assert lines[:3] == ["why?", "", LAST_LINES]
    assert lines[3:] == [f"line {number}" for number in range(10, 30)]


async def test_what_ai_plus_adds_is_remembered_without_it(stage: Stage) -> None:
    await stage.begin()
    stage.runtime.write("secret\n")
    await stage.until(shown=1)
    stage.connection.enqueue(["So."])
    stage.connection.enqueue(["So."])

    await stage.talk.take(":ai+ why?")
    await stage.talk.take(":ai and?")

    assert ("user", "why?") in sent(stage)


async def test_old_turns_are_left_out_when_the_context_is_full(stage: Stage) -> None:
    stage.talk.connection = stage.connection = ScriptedConnection(model(2048))
    for _ in range(3):
        stage.connection.enqueue(["y" * 1500])

    for number in range(3):
        await stage.talk.take(f":ai {number} " + "x" * 900)

    questions = [text[0] for role, text in sent(stage) if role == "user"]
    assert questions == ["1", "2"]


async def test_a_failure_is_an_event_and_the_session_goes_on(stage: Stage) -> None:
    await stage.begin()
    stage.connection.enqueue(["Hel", ConnectionLost("the stream ended", hint="Try again.")])
    stage.connection.enqueue(["Hello."])

    assert await stage.talk.take(":ai hi")
    await stage.talk.take(":ai hi")

    assert stage.view.events == ["error"]
    assert [str(each) for each in stage.view.complaints] == ["the stream ended"]
    assert stage.talk.failure is not None
    assert stage.talk.failure.exit_code == 3
    assert sent(stage)[1:] == [("user", "hi")]  # half an answer is not remembered


@pytest.mark.parametrize("first", ["runtime", "model"])
async def test_a_failure_of_the_runtime_counts_more_than_one_of_the_model(
    stage: Stage, first: str
) -> None:
    await stage.begin()
    stage.connection.enqueue([ConnectionLost("lost")])
    if first == "runtime":
        stage.runtime.finish(1)
        await stage.talk.ready()

    await stage.talk.take(":ai hi")
    if first == "model":
        stage.runtime.finish(1)
        await stage.talk.ready()

    assert isinstance(stage.talk.failure, RuntimeFault)


async def test_without_a_model_it_is_said_that_there_is_none(stage: Stage) -> None:
    stage.talk.connection = None

    await stage.talk.take(":ai hi")

    assert stage.view.pane("sys") == ["there is no model in this session"]
    assert stage.talk.failure is None


@pytest.mark.parametrize("line", [":ai", ":ai  ", ":ai+"])
async def test_nothing_is_sent_when_there_is_nothing_to_send(stage: Stage, line: str) -> None:
    await stage.talk.take(line)

    assert stage.connection.asks == []
    assert "nothing to send" in stage.view.pane("sys")[0]


async def test_an_answer_can_be_interrupted_without_the_session(stage: Stage) -> None:
    await stage.begin()
    stage.connection.enqueue(["word "] * 10_000)
    stage.connection.enqueue(["Hello."])

    taking = asyncio.create_task(stage.talk.take(":ai hi"))
    await stage.view.until(lambda: bool(stage.view.pane("ai")))
    interrupted = stage.talk.interrupt()
    went_on = await taking

    assert (interrupted, went_on) == (True, True)
    assert (stage.connection.closed, stage.runtime.interrupts) == (1, 0)
    assert (stage.view.pane("sys"), stage.talk.failure) == (["interrupted"], None)


async def test_with_no_answer_under_way_the_runtime_is_interrupted(stage: Stage) -> None:
    assert not stage.talk.interrupt()

    await stage.begin()
    assert stage.talk.interrupt()
    assert stage.runtime.interrupts == 1

    stage.runtime.finish()
    await stage.talk.ready()
    assert not stage.talk.interrupt()


@pytest.mark.parametrize("pieces", [["Hi.", " You."], [], ["<think>Hm."]])
async def test_the_end_of_an_answer_is_told_once(stage: Stage, pieces: list[str]) -> None:
    stage.connection.enqueue(pieces)

    await stage.talk.take(":ai hi")

    assert stage.view.answers == 1


async def test_of_an_answer_that_was_broken_off_no_end_is_told(stage: Stage) -> None:
    stage.connection.enqueue(["Hel", ConnectionLost("lost")])
    stage.connection.enqueue(["Hel", asyncio.Event()])

    await stage.talk.take(":ai hi")
    taking = asyncio.create_task(stage.talk.take(":ai hi"))
    await stage.view.until(lambda: len(stage.view.pane("ai")) == 2)
    stage.talk.interrupt()
    await taking

    assert stage.view.answers == 0


# ---------------------------------------------------------------- :ai beside other lines


async def test_lines_are_taken_while_the_model_answers(live: Stage) -> None:
    thinks = asyncio.Event()
    live.connection.enqueue([thinks, "Hi."])
    await live.begin()

    await live.talk.take(":ai hi")
    await live.talk.take(":rt one")
    assert (live.runtime.sent, live.view.answers) == ([b"one\n"], 0)
    thinks.set()

    await live.view.until(lambda: live.view.answers == 1)
    assert live.view.pane("you", "ai") == [":ai hi", ":rt one", "Hi."]


async def test_in_the_transcript_two_answers_in_a_row_do_not_run_together(live: Stage) -> None:
    live.connection.enqueue(["one"])
    live.connection.enqueue(["two\n"])

    await live.talk.take(":ai first")
    await live.talk.take(":ai second")
    await live.view.until(lambda: live.view.answers == 2)

    file = live.talk.transcript()
    assert file is not None
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert "".join(line["text"] for line in lines if line["pane"] == "ai") == "one\ntwo\n"
    assert live.view.pane("ai") == ["one", "two\n"]


async def test_questions_wait_for_their_turn_and_know_the_answers_before(live: Stage) -> None:
    thinks = asyncio.Event()
    live.connection.enqueue(["one", thinks])
    live.connection.enqueue(["two"])

    await live.talk.take(":ai first")
    await live.talk.take(":ai second")
    await live.view.until(lambda: live.view.pane("ai") == ["one"])
    assert len(live.connection.asks) == 1
    thinks.set()

    await live.view.until(lambda: live.view.answers == 2)
    assert sent(live) == [("user", "first"), ("assistant", "one"), ("user", "second")]


async def test_a_trigger_waits_for_its_turn_too(live: Stage) -> None:
    thinks = asyncio.Event()
    live.connection.enqueue([thinks, "one"])

    await live.talk.take(":ai first")
    await live.talk.take(f":ai {TRIGGER}")
    await live.talk.take(":help")
    assert live.bootstraps == []
    thinks.set()

    await live.view.until(lambda: live.view.answers == 1)
    await live.talk.take(":help")
    assert live.bootstraps == [TRIGGER]


async def test_an_interruption_ends_the_answer_that_comes_and_not_those_that_wait(
    live: Stage,
) -> None:
    live.connection.enqueue(["one", asyncio.Event()])
    live.connection.enqueue(["two"])
    await live.talk.take(":ai first")
    await live.talk.take(":ai second")
    await live.view.until(lambda: live.view.pane("ai") == ["one"])

    assert live.talk.interrupt()

    await live.view.until(lambda: live.view.answers == 1)
    assert live.view.pane("ai") == ["one", "two"]
    assert live.view.pane("sys") == ["interrupted"]


async def test_a_failure_beside_other_lines_is_an_event_and_the_next_question_is_answered(
    live: Stage,
) -> None:
    live.connection.enqueue(["Hel", ConnectionLost("lost")])
    live.connection.enqueue(["two"])

    await live.talk.take(":ai first")
    await live.talk.take(":ai second")

    await live.view.until(lambda: live.view.answers == 1)
    assert live.view.events == ["error"]
    assert isinstance(live.talk.failure, ConnectionLost)


async def test_the_end_breaks_off_the_answer_and_all_that_wait(live: Stage) -> None:
    live.connection.enqueue(["one", asyncio.Event()])
    for line in (":ai first", ":ai second", f":ai {TRIGGER}"):
        await live.talk.take(line)
    await live.view.until(lambda: live.view.pane("ai") == ["one"])

    await live.talk.close()

    assert (live.connection.closed, len(live.connection.asks)) == (1, 1)
    assert live.bootstraps == []
    assert asyncio.all_tasks() == {asyncio.current_task()}


# ---------------------------------------------------------------- triggers


async def test_a_text_that_is_exactly_a_trigger_bootstraps_anew(stage: Stage) -> None:
    await stage.talk.take(f":ai {TRIGGER}")

    assert stage.bootstraps == [TRIGGER]
    assert stage.connection.asks == []


@pytest.mark.parametrize("line", [f":ai please {TRIGGER}", f":rt {TRIGGER}"])
async def test_any_other_text_does_not(stage: Stage, line: str) -> None:
    await stage.begin()
    stage.connection.enqueue(["No."])

    await stage.talk.take(line)

    assert stage.bootstraps == []


async def test_a_new_bootstrap_that_fails_leaves_the_session_as_it_was(stage: Stage) -> None:
    await stage.begin(FakeRuntime({"x": b"y\n"}))
    stage.refusal = PayloadRejected("no valid payload came")

    assert await stage.talk.take(f":ai {TRIGGER}")
    await stage.talk.take(":rt x", paced=True)

    assert stage.view.pane("rt") == ["y"]
    assert stage.talk.failure is stage.refusal


# ---------------------------------------------------------------- ends


@pytest.mark.parametrize("line", [":quit", ":quit now"])
async def test_quit_ends_the_session(stage: Stage, line: str) -> None:
    assert not await stage.talk.take(line)


async def test_whatever_the_status_after_quit_nothing_failed(stage: Stage) -> None:
    class Sulky(FakeRuntime):
        async def stop(self) -> None:
            self.write("bye\n")
            self.finish(143)

    await stage.begin(Sulky())

    await stage.talk.stop()

    assert stage.talk.failure is None
    assert stage.view.pane("rt") == ["bye"]
    assert stage.view.shown[-1].details == {"code": 143}


async def test_what_a_runtime_wrote_is_there_until_it_is_released(stage: Stage) -> None:
    await stage.begin()
    await stage.talk.stop()
    assert (stage.runtime.stopped, stage.runtime.closed) == (True, False)

    await stage.talk.release()

    assert stage.runtime.closed
    assert stage.talk.runtime is None


@pytest.mark.parametrize(("code", "failed"), [(0, False), (1, True), (137, True)])
async def test_a_runtime_that_ends_by_itself_failed_unless_its_status_is_0(
    stage: Stage, code: int, failed: bool
) -> None:
    await stage.begin()
    stage.runtime.finish(code)

    await stage.talk.ready()

    assert isinstance(stage.talk.failure, RuntimeFault) == failed
    assert [each.details for each in stage.view.shown] == [{"code": code}]


@pytest.mark.parametrize("leaving", [True, False])
async def test_a_limit_is_a_failure_at_any_time(stage: Stage, leaving: bool) -> None:
    class Greedy(FakeRuntime):
        async def stop(self) -> None:
            self.finish(137, limit="memory")

    await stage.begin(Greedy())

    if leaving:
        await stage.talk.stop()
    else:
        stage.runtime.finish(137, limit="memory")
        await stage.talk.ready()

    assert isinstance(stage.talk.failure, RuntimeFault)
    assert stage.view.events == ["limit", "ended"]
    assert stage.view.shown[0].details == {"limit": "memory"}


async def test_an_unclean_stop_is_a_failure(stage: Stage) -> None:
    class Stubborn(FakeRuntime):
        async def stop(self) -> None:
            self.finish(0, clean=False)

    await stage.begin(Stubborn())

    await stage.talk.stop()

    assert isinstance(stage.talk.failure, RuntimeFault)
    assert stage.view.events == ["unclean", "ended"]
    assert stage.view.pane("sys")[0].startswith("UNCLEAN")


async def test_too_much_output_ends_the_run_once(stage: Stage) -> None:
    await stage.begin(output_mb=0.001)
    for _ in range(20):
        stage.runtime.write("x" * 100 + "\n")

    await stage.talk.ready()

    assert stage.runtime.limit == "output"
    assert stage.view.events == ["limit", "ended"]
    assert len(stage.view.pane("rt")) >= 11


async def test_notices_are_output_and_end_the_run_like_it(stage: Stage) -> None:
    await stage.begin(output_mb=0.001)

    await stage.talk.note("n" * 500)
    assert stage.view.events == []
    await stage.talk.note("n" * 600)
    await stage.view.until(lambda: "ended" in stage.view.events)

    assert stage.runtime.limit == "output"
    assert stage.view.pane("sys")[0] == "the runtime notes: " + "n" * 500
    assert stage.view.events == ["limit", "ended"]


async def test_a_notice_waits_for_its_reader_and_is_shown_though_nobody_waits(
    tmp_path: Path,
) -> None:
    class Slow(FakeView):
        async def show(self, shown: Shown) -> None:
            await reads.wait()
            await super().show(shown)

    reads, stage = asyncio.Event(), stage_in(tmp_path / "transcripts", view=Slow())
    await stage.begin()
    patient, gone = (asyncio.create_task(stage.talk.note(name)) for name in ("one", "two"))
    await asyncio.sleep(0)
    gone.cancel()
    await asyncio.wait([gone])
    assert not patient.done()

    reads.set()
    await patient
    await stage.talk.close()

    told = [text for text in stage.view.pane("sys") if "notes" in text]
    assert told == ["the runtime notes: one", "the runtime notes: two"]


async def test_output_up_to_the_limit_is_no_failure(stage: Stage) -> None:
    await stage.begin(output_mb=1 / 1024)
    stage.runtime.write("x" * 1023 + "\n")
    stage.runtime.finish()

    await stage.talk.ready()

    assert stage.talk.failure is None


async def test_a_runtime_that_is_killed_did_not_fail(stage: Stage) -> None:
    await stage.begin()
    stage.runtime.write("half")

    await stage.talk.kill()
    await stage.view.until(lambda: "ended" in stage.view.events)

    assert (stage.runtime.stopped, stage.runtime.limit) == (False, "")
    assert (stage.talk.failure, stage.view.events) == (None, ["ended"])
    assert stage.view.pane("rt") == ["half"]
    assert stage.view.shown[-1].details == {"code": 137}


async def test_killing_what_is_not_there_or_has_ended_does_nothing(stage: Stage) -> None:
    await stage.talk.kill()
    await stage.begin()
    stage.runtime.finish()
    await stage.talk.ready()

    await stage.talk.kill()

    assert stage.runtime.limit is None
    assert stage.view.events == ["ended"]


async def test_what_was_wanted_of_one_runtime_is_not_wanted_of_the_next(stage: Stage) -> None:
    await stage.begin()
    await stage.talk.kill()
    await stage.talk.release()

    await stage.begin(FakeRuntime())
    stage.runtime.finish(3)
    await stage.talk.ready()

    assert isinstance(stage.talk.failure, RuntimeFault)


class FullView(FakeView):
    """A view whose pane of the runtime has no room until it is drained."""

    def __init__(self) -> None:
        super().__init__()
        self.drained = asyncio.Event()

    async def show(self, shown: Shown) -> None:
        if shown.pane == "rt":
            await self.drained.wait()
        await super().show(shown)


async def test_a_stop_that_is_broken_off_loses_nothing_and_the_runtime_is_released(
    tmp_path: Path,
) -> None:
    stage = stage_in(tmp_path / "transcripts", view=(view := FullView()))
    await stage.begin()
    stage.runtime.write("one\ntwo\n")
    stopping = asyncio.create_task(stage.talk.stop())
    for _ in range(5):
        await asyncio.sleep(0)
    stopping.cancel()
    await asyncio.gather(stopping, return_exceptions=True)
    view.drained.set()

    await stage.talk.close()

    assert view.pane("rt") == ["one", "two"]
    assert (stage.runtime.closed, view.events) == (True, ["ended"])


# ---------------------------------------------------------------- :save, :help, others


async def test_files_are_copied_out_when_the_runtime_has_ended(
    stage: Stage, tmp_path: Path
) -> None:
    await stage.begin()

    await stage.talk.take(f":save {tmp_path / 'out'}")
    await stage.talk.stop()

    assert "goes to" in stage.view.pane("sys")[0]
    assert stage.view.pane("sys")[-1].startswith("0 files that the runtime wrote copied to")


async def test_files_can_be_saved_after_the_end(stage: Stage, tmp_path: Path) -> None:
    await stage.begin()
    stage.runtime.finish()
    await stage.talk.ready()

    await stage.talk.take(f":save {tmp_path / 'out'}")

    assert "copied to" in stage.view.pane("sys")[-1]


async def test_a_folder_that_is_not_empty_is_not_saved_to(stage: Stage, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").write_text("")
    await stage.begin()

    await stage.talk.take(f":save {tmp_path / 'out'}")

    assert stage.talk.keep is None
    with pytest.raises(UsageFault):
        keep_folder(str(tmp_path / "out"))


async def test_a_copy_that_fails_is_an_event_and_the_runtime_is_released(
    stage: Stage, tmp_path: Path
) -> None:
    class Late(FakeRuntime):
        async def copy_out(self, folder: Path) -> object:  # type: ignore[override]
            raise UsageFault(f"{folder} is not empty")

    await stage.begin(Late())
    stage.talk.keep = tmp_path / "out"

    await stage.talk.release()

    assert stage.view.events == ["error", "ended"] or stage.view.events == ["ended", "error"]
    assert stage.runtime.closed


async def test_help_lists_the_commands_and_an_unknown_word_is_told(stage: Stage) -> None:
    await stage.talk.take(":help")
    await stage.talk.take(":frobnicate")

    assert any(line.startswith(":save DIR") for line in stage.view.pane("sys"))
    assert ":frobnicate" in stage.view.pane("sys")[-1]


# ---------------------------------------------------------------- what is printed


@pytest.mark.parametrize("text", ["a\u2028b", "a\x85b", "a\u2029b", "\r\n\x0b\x0c\x1c", "é🙂"])
def test_an_object_is_one_line_for_every_reader(text: str) -> None:
    line = Shown("rt", text).as_json()

    assert line.splitlines() == [line]
    assert json.loads(line) == {"pane": "rt", "text": text}


# ---------------------------------------------------------------- the transcript


async def test_the_transcript_has_all_that_was_shown(stage: Stage, tmp_path: Path) -> None:
    await stage.begin(FakeRuntime({"x": b"y\n"}))

    await stage.talk.take(":rt x", paced=True)
    await stage.talk.close()

    (file,) = (tmp_path / "transcripts").iterdir()
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.read_text().splitlines() == [each.as_json() for each in stage.view.shown]


def lines_in(folder: Path) -> list[str]:
    return [line for file in folder.glob("*.jsonl") for line in file.read_text().splitlines()]


async def test_what_was_shown_is_on_disk_soon_however_much_follows(
    stage: Stage, tmp_path: Path
) -> None:
    await stage.talk.show("sys", "first")
    began = monotonic()

    async with asyncio.timeout(10):
        while not lines_in(tmp_path / "transcripts"):
            await stage.talk.show("sys", "")
            await asyncio.sleep(0.01)

    assert monotonic() - began < FLUSH_SECONDS + 0.5
    assert "first" in lines_in(tmp_path / "transcripts")[0]


async def test_whoever_asks_for_the_transcript_finds_all_of_it(
    stage: Stage, tmp_path: Path
) -> None:
    assert stage.talk.transcript() is None
    await stage.talk.show("sys", "first")

    file = stage.talk.transcript()

    assert file is not None
    assert len(lines_in(tmp_path / "transcripts")) == 1
    await stage.talk.show("sys", "last")
    await stage.talk.close()
    assert stage.talk.transcript() == file
    assert [json.loads(line)["text"] for line in lines_in(file.parent)] == ["first", "last"]


async def test_sessions_in_the_same_moment_have_a_transcript_each(tmp_path: Path) -> None:
    stages = [stage_in(tmp_path / "transcripts") for _ in range(5)]

    for stage in stages:
        await stage.talk.show("sys", "mine")
        await stage.talk.close()

    assert len({stage.talk.transcript() for stage in stages}) == 5
    assert [stage.view.events for stage in stages] == [[]] * 5


async def test_a_transcript_that_can_not_be_written_is_told_once(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    stage = stage_in(tmp_path / "file" / "transcripts")

    for _ in range(3):
        await stage.talk.take(":help")

    complaints = [each for each in stage.view.shown if each.event == "error"]
    assert len(complaints) == 1
    assert "transcript" in complaints[0].text


def test_only_the_newest_transcripts_are_kept(tmp_path: Path) -> None:
    for number in range(KEPT + 5):
        (tmp_path / f"2020010{number // 10}-00000{number % 10}-1.jsonl").write_text("")

    transcript = Transcript(tmp_path)
    transcript.write("{}")
    transcript.close()

    assert len(list(tmp_path.iterdir())) == KEPT
    assert transcript.path.exists()


def test_an_old_transcript_that_is_not_there_any_more_keeps_nothing_from_being_written(
    tmp_path: Path,
) -> None:
    for number in range(KEPT + 1):
        (tmp_path / f"20200101-{number:06}-1.jsonl").symlink_to(tmp_path / "nowhere")

    transcript = Transcript(tmp_path)

    assert transcript.write("{}") is None
    assert transcript.flushed() == transcript.path
    transcript.close()
