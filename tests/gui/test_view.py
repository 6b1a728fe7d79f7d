"""What the worker tells the window: harmless text in its streams, all else as messages."""

from __future__ import annotations

import asyncio
import gc
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmboot.app.models import Found
from lmboot.app.view import Pane, Shown
from lmboot.bootstrap.handshake import Accepted, Asked, Refused, Repairing, Said, Step, Streaming
from lmboot.bootstrap.judge import judge
from lmboot.bootstrap.library import Kept
from lmboot.bootstrap.payload import Payload
from lmboot.bootstrap.progress import Progress
from lmboot.bootstrap.review import Review
from lmboot.connections.interface import Model
from lmboot.errors import (
    ConnectionLost,
    ConsentImpossible,
    LmbootError,
    NoServer,
    PayloadRejected,
    RuntimeFault,
    TokenRefused,
)
from lmboot.gui import messages as m
from lmboot.gui.fold import LONGEST, WIDTH
from lmboot.gui.lobby import WindowLobby
from lmboot.gui.outbox import Budget, Drained, Item, Outbox
from lmboot.gui.shown import for_review, unescape, visible
from lmboot.gui.textstyle import CUT, FOLDED
from lmboot.gui.view import FIGURES_SECONDS, PAYLOAD, WindowView
from lmboot.runtime.policy import Limits
from tests.fakes import GOOD, REPLY, FakeView, model

ALL = Budget(1 << 30, 1 << 30, 1e9)
PANES: list[Pane] = ["you", "ai", "rt", "rt!", "sys"]
# A NUL, lone surrogates, what reorders or hides, escape sequences, and lines that do not end.
HOSTILE = (
    "a\0b",
    "\ud800lone\udfff",
    "safe\u202eexe.gpj\u2066\u2069",
    "zero\u200b\u200d\u2060\ufeffwidth",
    "\x1b[31mred\x1b[0m \x1b]0;title\x07 \x9b5A \x1bc",
    "\r\x08\x7f\x85\u2028\u2029",
    "\U000e0041\U000e007f\ufff9",
    "x" * 1_000_000,
    "y\n" * 50_000,
)
hostile = pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))


class Hall:
    """A view, a lobby and the outbox that both put into."""

    def __init__(self, outbox: Outbox[m.Message] | None = None) -> None:
        self.outbox = outbox or Outbox[m.Message](room=1 << 40, scrollback=1 << 40)
        self.generation = self.outbox.begin()
        self.now = 100.0
        self.view = WindowView(self.outbox, self.generation, lambda: self.now)
        self.lobby = WindowLobby(self.outbox)

    def drain(self) -> Drained[m.Message]:
        return self.outbox.drain(ALL)

    def items(self) -> list[tuple[str, str]]:
        """Return what came out, neighbours of one stream joined."""
        found: list[tuple[str, str]] = []
        for item in self.drain().items:
            assert isinstance(item, Item)
            if found and found[-1][0] == item.stream and not item.run.back:
                found[-1] = item.stream, found[-1][1] + item.run.text
            else:
                found.append((item.stream, item.run.text))
        return found

    async def show(self, pane: Pane, text: str, **others: Any) -> None:
        await self.view.show(Shown(pane, text, **others))

    async def steps(self, *steps: Step) -> list[m.Message]:
        for step in steps:
            await self.view.step(step)
        return self.drain().messages


@pytest.fixture
def hall() -> Hall:
    return Hall()


async def turns(count: int = 5) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


def accepted(payload: dict[str, Any] | None = None) -> Payload:
    found = judge(json.dumps(payload or GOOD)).payload
    assert found is not None
    return found


def review_of(payload: Payload, **others: Any) -> Review:
    verdict = judge(json.dumps(payload.normalised()))
    about = Review(
        payload=payload,
        verdict=verdict,
        model="tiny",
        sandbox="bubblewrap",
        command="python3 a.py",
        limits=Limits(),
        routes=payload.routes,
        warnings=(),
    )
    return replace(about, **others)


# ---------------------------------------------------------------- the panes


@hostile
@pytest.mark.parametrize("pane", PANES)
async def test_what_reaches_a_pane_is_harmless_and_no_row_is_longer_than_tk_can_bear(
    hall: Hall, pane: Pane, text: str
) -> None:
    await hall.show(pane, text)
    await hall.view.answered()

    shown = "".join(text for _, text in hall.items())
    assert shown == visible(shown)
    assert max(map(len, shown.split("\n"))) <= WIDTH
    assert {stream for stream, _ in hall.items()} <= {pane}


@given(st.lists(st.tuples(st.sampled_from(PANES), st.text(max_size=20), st.booleans())))
def test_whatever_comes_in_whatever_order_is_harmless(
    pieces: list[tuple[Pane, str, bool]],
) -> None:
    async def show() -> str:
        hall = Hall()
        for pane, text, partial in pieces:
            await hall.show(pane, text, partial=partial)
        return "".join(text for _, text in hall.items())

    shown = asyncio.run(show())

    assert shown == visible(shown)
    assert "\r" not in shown
    assert "\x1b" not in shown


@pytest.mark.parametrize("pane", PANES)
async def test_of_a_long_line_the_beginning_is_shown_in_rows_and_the_rest_counted(
    hall: Hall, pane: Pane
) -> None:
    await hall.show(pane, "x" * 1_000_000)
    await hall.view.answered()

    runs = [item.run for item in hall.drain().items if isinstance(item, Item)]
    assert sum(run.text.count("x") for run in runs) == LONGEST
    assert {run.style for run in runs if run.text == "\n"} >= {FOLDED}
    (cut,) = [run.text for run in runs if run.style == CUT]
    assert f"{1_000_000 - LONGEST:,} more of 1,000,000" in cut


async def test_the_runtimes_colours_are_kept_and_nobody_elses(hall: Hall) -> None:
    for pane in PANES:
        await hall.show(pane, "\x1b[31mred")

    coloured = {
        item.stream
        for item in hall.drain().items
        if isinstance(item, Item) and item.run.style.foreground is not None
    }
    assert coloured == {"rt", "rt!", "ai"}


async def test_lines_end_and_half_ones_do_not(hall: Hall) -> None:
    await hall.show("rt", "one")
    await hall.show("rt", "two ", partial=True)
    await hall.show("rt", "halves")
    await hall.show("rt", "> ", partial=True)

    assert hall.items() == [("rt", "one\ntwo halves\n> ")]


async def test_another_pane_between_two_halves_leaves_the_first_as_it_is(hall: Hall) -> None:
    await hall.show("rt", "10 %", partial=True)
    await hall.show("sys", "something")
    await hall.show("rt", "\r20 %", partial=True)
    await hall.show("rt", "\r30 %", partial=True)
    items = [item for item in hall.drain().items if isinstance(item, Item)]

    assert [(item.stream, item.run.text, item.run.back) for item in items] == [
        ("rt", "10 %", 0),
        ("rt", "\n", 0),
        ("sys", "something\n", 0),
        ("rt", "20 %", 0),
        ("rt", "30 %", 4),
    ]


async def test_an_answer_and_the_runtime_take_turns_without_writing_into_each_others_lines(
    hall: Hall,
) -> None:
    for text in ("Hel", "lo."):
        await hall.show("ai", text)
        await hall.show("rt", "tick")
    await hall.view.answered()

    assert hall.items() == [("ai", "Hel\n"), ("rt", "tick\n"), ("ai", "lo.\n"), ("rt", "tick\n")]


@pytest.mark.parametrize("answer", ["Hi.", "Hi.\n", "Hi.\n\n", "\x1b[31mHi.\n\x1b[0m"])
async def test_an_answer_ends_its_line_once(hall: Hall, answer: str) -> None:
    await hall.show("ai", answer)
    await hall.view.answered()
    await hall.show("ai", "Next.")
    await hall.view.answered()

    shown = "".join(text for _, text in hall.items())
    assert shown == "Hi.\n" + "\n" * (answer.count("\n") - 1) + "Next.\n"


async def test_no_answer_is_no_line(hall: Hall) -> None:
    await hall.view.answered()

    assert hall.items() == []


async def test_the_end_of_a_cut_answer_is_told_though_another_pane_wrote(hall: Hall) -> None:
    await hall.show("ai", "x" * 50_000)
    await hall.show("rt", "tick")
    await hall.view.answered()

    last = hall.items()[-1]
    assert last[0] == "ai"
    assert "30,000 more of 50,000" in last[1]


async def test_an_event_is_a_message_with_its_details_and_a_line(hall: Hall) -> None:
    await hall.show("sys", "runtime ended", event="ended", details={"code": 3})

    drained = hall.drain()
    assert drained.messages == [m.Happened("ended", "runtime ended", {"code": 3})]
    assert [item.run.text for item in drained.items if isinstance(item, Item)] == [
        "runtime ended\n"
    ]


# ---------------------------------------------------------------- a pane that is full


@pytest.fixture
def narrow() -> Hall:
    """A hall whose streams are full after a few lines."""
    return Hall(Outbox[m.Message](room=1000))


async def full(hall: Hall, pane: Pane = "rt") -> asyncio.Task[None]:
    """Fill a pane, and return the showing that waits for room."""
    waiting = asyncio.create_task(hall.show(pane, "x" * 2000))
    await turns()
    assert not waiting.done()
    return waiting


async def test_showing_waits_while_its_pane_is_full_and_goes_on_when_it_is_drained(
    narrow: Hall,
) -> None:
    waiting = await full(narrow)

    narrow.outbox.drain(Budget(characters=100))
    await turns()
    assert not waiting.done()
    narrow.drain()
    await waiting

    await asyncio.wait_for(narrow.show("rt", "more"), 5)


async def test_a_full_pane_holds_no_other(narrow: Hall) -> None:
    waiting = await full(narrow)

    for pane in ("you", "ai", "sys"):
        await asyncio.wait_for(narrow.show(pane, "there is room"), 5)

    narrow.drain()
    await waiting


async def test_a_reply_that_comes_too_fast_waits_too(narrow: Hall) -> None:
    progress = Progress()
    waiting = asyncio.create_task(narrow.view.step(Streaming(progress, "x" * 2000)))
    await turns()
    assert not waiting.done()

    narrow.drain()

    await waiting


async def test_a_session_that_is_not_shown_any_more_never_waits(narrow: Hall) -> None:
    waiting = await full(narrow)

    narrow.outbox.begin()
    await waiting

    for _ in range(100):
        await asyncio.wait_for(narrow.show("rt", "x" * 2000), 5)
    assert narrow.drain().items == []


async def test_a_showing_that_is_broken_off_is_woken_in_vain_and_harmlessly(narrow: Hall) -> None:
    waiting = await full(narrow)

    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    narrow.drain()
    await turns()


def test_a_loop_that_is_gone_is_woken_in_vain_and_harmlessly() -> None:
    narrow = Hall(Outbox[m.Message](room=1000))

    async def leave() -> None:
        (await full(narrow)).cancel()

    asyncio.run(leave())

    narrow.drain()


# ---------------------------------------------------------------- the asking


async def test_each_step_is_a_message(hall: Hall) -> None:
    verdict = judge("no")
    messages = await hall.steps(
        Asked(0, 100), Said("loading"), Repairing(verdict.problems), Asked(1, 100)
    )

    why = f"asked to mend reply: {verdict.problems[0].message}"
    assert messages == [
        m.Asked(0, ""),
        m.Said("note", "loading"),
        m.Said("repair", why),
        m.Asked(1, why),
    ]


async def test_a_reply_that_was_cut_off_is_told_as_such(hall: Hall) -> None:
    messages = await hall.steps(Repairing(judge("{").problems, longer=True), Asked(0, 200))

    assert "cut off" in str(messages[0])
    assert messages[1] == m.Asked(0, "its reply was cut off; asked again with more room")


async def test_the_reply_comes_without_the_thinking_and_harmless_in_a_stream_of_its_own(
    hall: Hall,
) -> None:
    progress = Progress()
    for piece in ('{"a":\n', "1}\0", "\u202e"):
        await hall.view.step(Streaming(progress, piece))
        await hall.view.step(Streaming(progress, "Hm.", thinking=True))

    assert hall.items() == [(PAYLOAD, '{"a":\n1}␀⟦U+202E⟧')]


async def test_figures_come_at_most_four_times_a_second_and_the_last_ones_at_the_end(
    hall: Hall,
) -> None:
    progress, told = Progress(), list[m.Message]()
    for number in range(1000):
        hall.now = 100 + number / 100  # ten seconds
        progress.feed("x")
        told += await hall.steps(Streaming(progress, "x"))
    writing = [message for message in told if isinstance(message, m.Writing)]
    assert FIGURES_SECONDS == 0.25
    assert 38 <= len(writing) <= 41

    (last, *_) = await hall.steps(Refused(judge("x"), "x"))

    assert isinstance(last, m.Writing)
    assert (last.characters, last.tokens) == (1000, 1000)
    assert last.rate == pytest.approx(100, rel=0.05)


async def test_when_the_reply_pauses_the_last_figures_are_told_all_the_same(hall: Hall) -> None:
    progress = Progress()
    told = await hall.steps(*[Streaming(progress, "x")] * 3)
    assert [each.tokens for each in told if isinstance(each, m.Writing)] == [1]

    told.clear()

    async with asyncio.timeout(10):
        while not told:
            await turns()
            told += hall.drain().messages
    assert [each.tokens for each in told if isinstance(each, m.Writing)] == [3]


async def test_figures_that_were_told_are_not_told_again_at_the_end(hall: Hall) -> None:
    progress = Progress()
    await hall.steps(Asked(0, 1), Streaming(progress, "x"))

    messages = await hall.steps(Accepted(accepted(), judge(REPLY), REPLY))

    assert messages == []


async def test_figures_begin_anew_with_each_question(hall: Hall) -> None:
    progress = Progress()
    await hall.steps(Asked(0, 1), *[Streaming(progress, "x")] * 50)
    hall.now += 7

    messages = await hall.steps(Asked(1, 1), Streaming(Progress(), "{"))

    assert isinstance(messages[-1], m.Writing)
    assert (messages[-1].tokens, messages[-1].first) == (1, 0.0)


async def test_figures_tell_the_files_and_when_the_first_piece_came(hall: Hall) -> None:
    progress = Progress()
    await hall.steps(Asked(0, 1))
    hall.now += 3
    progress.feed('{"files": [{"path": "a\\u202e.py", "content": "12345')

    (told,) = await hall.steps(Streaming(progress, "x"))

    assert isinstance(told, m.Writing)
    assert (told.first, told.files, told.rate) == (3.0, [("a.py", 5)], None)


@hostile
async def test_a_refusal_is_told_with_everything_made_visible(hall: Hall, text: str) -> None:
    files = [{"path": text, "content": ""}]
    reply = json.dumps({**GOOD, "files": files, text[:50]: 1}, ensure_ascii=False)
    verdict = judge(reply)
    assert verdict.payload is None

    (told,) = await hall.steps(Refused(verdict, reply))

    assert isinstance(told, m.Refused)
    assert told.reply == reply
    assert unescape(told.shown) == reply
    for code, place, words, _ in told.problems:
        for part in (code, place, words):
            assert part == visible(part)
            assert "\n" not in part
            assert len(part) <= 500
    assert hall.view.refused == Refused(verdict, reply)


async def test_of_very_many_problems_the_first_hundred_are_told(hall: Hall) -> None:
    files = [{"path": f"../{number}", "content": ""} for number in range(200)]
    verdict = judge(json.dumps({**GOOD, "files": files}))

    (told,) = await hall.steps(Refused(verdict, ""))

    assert isinstance(told, m.Refused)
    assert len(told.problems) == 100


async def test_a_problem_knows_the_line_of_the_reply_that_it_is_in(hall: Hall) -> None:
    reply = '{"manifest": {"name": "x"},\n"files": \'no\'}'

    (told,) = await hall.steps(Refused(judge(reply), reply))

    assert isinstance(told, m.Refused)
    assert [line for _, _, _, line in told.problems] == [2]


# ---------------------------------------------------------------- what is said


async def test_what_an_event_has_said_is_not_said_again(hall: Hall) -> None:
    fault = RuntimeFault("it went over its limit", hint="Raise it.")

    await hall.show("sys", str(fault), event="limit")
    hall.view.complain(fault)

    assert hall.items() == [("sys", "it went over its limit\nRaise it.\n")]


@pytest.mark.parametrize("said", ["", "something else"])
async def test_what_nobody_has_said_is_said_in_full(hall: Hall, said: str) -> None:
    if said:
        await hall.show("sys", said)

    hall.view.complain(ConnectionLost("the stream ended", hint="Try again."))

    drained = hall.drain()
    assert drained.messages == [m.Said("error", "the stream ended. Try again.")]
    texts = [item.run.text for item in drained.items if isinstance(item, Item)]
    assert "".join(texts).endswith("the stream ended. Try again.\n")


async def test_a_refused_payload_is_not_complained_of_in_the_session(hall: Hall) -> None:
    hall.view.complain(PayloadRejected("no valid payload came"))

    assert hall.items() == []


async def test_a_complaint_does_not_go_on_in_somebody_elses_line(hall: Hall) -> None:
    await hall.show("rt", "AI-RT> ", partial=True)
    hall.view.complain(RuntimeFault("it ended"))
    await hall.show("rt", "late")

    assert hall.items() == [("rt", "AI-RT> \n"), ("sys", "it ended.\n"), ("rt", "late\n")]


@hostile
async def test_complaints_are_harmless(hall: Hall, text: str) -> None:
    hall.view.complain(RuntimeFault(text, hint=text))

    shown = "".join(text for _, text in hall.items())
    assert shown == visible(shown)
    assert max(map(len, shown.split("\n"))) <= WIDTH


def test_what_goes_on_is_passing_and_a_note_is_not(hall: Hall) -> None:
    for speaker in (hall.view, hall.lobby):
        speaker.status("loading")
        speaker.note("loaded")

    assert (
        hall.drain().messages
        == [
            m.Said("status", "loading", passing=True),
            m.Said("note", "loaded"),
        ]
        * 2
    )


# ---------------------------------------------------------------- consent


async def asked(hall: Hall, review: Review) -> tuple[m.ConsentWanted, asyncio.Task[bool]]:
    asking = asyncio.create_task(hall.view.consent(review))
    async with asyncio.timeout(10):
        while not (messages := hall.drain().messages):  # noqa: ASYNC110 - it comes by a thread
            await asyncio.sleep(0)
    (wanted,) = messages
    assert isinstance(wanted, m.ConsentWanted)
    return wanted, asking


@pytest.mark.parametrize("agreed", [True, False])
async def test_consent_is_what_the_user_answers(hall: Hall, agreed: bool) -> None:
    await hall.steps(Accepted(accepted(), judge(REPLY), "the reply"))
    wanted, asking = await asked(hall, review_of(accepted()))
    assert (wanted.reply, asking.done()) == ("the reply", False)

    wanted.answer.set_result(agreed)

    assert await asking is agreed


CONTENTS = st.text(st.characters(codec="utf-8"), max_size=60) | st.sampled_from(
    [text[:2000].encode("utf-8", "replace").decode() for text in HOSTILE]
    + ["␀⟦U+202E⟧", "a\u2400", "\ufe0f", "a\r\nb\rc\x0bd", "⟦U+41⟧"]
)


@given(st.lists(CONTENTS, min_size=1, max_size=4))
def test_what_is_shown_for_consent_stands_for_the_very_bytes_that_will_be_written(
    contents: list[str],
) -> None:
    files = [{"path": f"{number}.py", "content": text} for number, text in enumerate(contents)]
    payload = accepted({**GOOD, "files": files, "entrypoint": "python 0.py"})

    async def shown() -> m.ConsentWanted:
        wanted, asking = await asked(Hall(), review_of(payload))
        wanted.answer.set_result(False)
        await asking
        return wanted

    wanted = asyncio.run(shown())

    back = tuple((unescape(path), unescape(text)) for path, _, text in wanted.files)
    assert back == payload.files
    assert all(text == visible(text) for _, _, text in wanted.files)


async def test_a_question_that_is_not_waited_for_any_more_can_not_be_answered(hall: Hall) -> None:
    wanted, asking = await asked(hall, review_of(accepted()))

    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)

    assert wanted.answer.done()


async def test_without_a_sandbox_nothing_runs_in_a_window(hall: Hall) -> None:
    with pytest.raises(ConsentImpossible):
        await hall.view.consent_without_border(review_of(accepted()))

    assert hall.drain() == ([], [], False)


# ---------------------------------------------------------------- another session came


async def test_nothing_of_an_older_session_arrives(hall: Hall) -> None:
    hall.outbox.begin()
    progress = Progress()

    for step in (
        Asked(0, 1),
        Streaming(progress, "x"),
        Said("x"),
        Repairing(judge("").problems),
        Accepted(accepted(), judge(REPLY), REPLY),
        Refused(judge(""), ""),
    ):
        await hall.view.step(step)
    for pane in PANES:
        await hall.show(pane, "x", event="error")
    await hall.view.answered()
    hall.view.status("x")
    hall.view.note("x")
    hall.view.complain(RuntimeFault("x"))
    hall.lobby.over(hall.view, RuntimeFault("x"))
    asking = asyncio.create_task(hall.view.consent(review_of(accepted())))
    await asyncio.to_thread(gc.collect)
    await turns()
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)

    assert hall.drain() == ([], [], False)


# ---------------------------------------------------------------- the lobby


async def test_what_the_lobby_tells_arrives_whatever_session_is_shown(hall: Hall) -> None:
    hall.lobby.looking()
    hall.lobby.unreachable(None, NoServer("none", hint="Start one."), 4.0)
    hall.lobby.unreachable("http://x", NoServer("none"), 8.0)
    hall.lobby.locked("http://x", TokenRefused("it wants one", hint="Give it."))
    hall.lobby.complain(NoServer("none"))
    hall.outbox.begin()

    assert hall.drain().messages == [
        m.Looking(),
        m.Unreachable("", "none. Start one.", 4.0),
        m.Unreachable("http://x", "none.", 8.0),
        m.Locked("http://x", "it wants one"),
        m.Complained("none."),
    ]


def test_the_list_counts_what_servers_have_and_names_their_kinds(hall: Hall) -> None:
    served = model()
    file = replace(served, id="/a.gguf", server="/a.gguf", kind="file")
    seed = replace(served, id="seed", server="", kind="seed")
    found = Found([served, file, seed], {served.server: None, "http://empty": None})
    found.complaints.append(NoServer("one did not answer"))

    hall.lobby.listed(found)

    (told,) = hall.drain().messages
    assert isinstance(told, m.Listed)
    assert [row.model for row in told.rows] == [served, file, seed]
    assert told.served == 1
    assert told.servers == [(served.server, "LM Studio"), ("http://empty", "")]
    assert told.complaints == ["one did not answer."]


Tell = Callable[[Hall, Model], None]


@hostile
@pytest.mark.parametrize(
    "tell",
    [
        lambda hall, row: hall.lobby.listed(Found([row], {row.server: None})),
        lambda hall, row: hall.lobby.added(row),
        lambda hall, row: hall.lobby.opened(row),
    ],
)
def test_a_models_row_is_harmless_whatever_it_calls_itself(
    hall: Hall, tell: Tell, text: str
) -> None:
    row = model(quantization=text, architecture=text)
    tell(hall, replace(row, name=text, server=text))

    (told,) = hall.drain().messages
    assert isinstance(told, m.Listed | m.Added | m.Opened)
    (shown,) = told.rows if isinstance(told, m.Listed) else [told.row]
    for cell in (*shown.cells[1:], shown.server):
        assert cell == visible(cell)
        assert "\n" not in cell
        assert 0 < len(cell) <= 60


@pytest.mark.parametrize("time", [0.0, 1e300, float("nan"), float("-inf"), -1e12])
def test_a_payload_that_was_kept_is_told_whatever_its_time(hall: Hall, time: float) -> None:
    payload = accepted()

    hall.lobby.kept(model(), [Kept(payload, "tiny", time, agreed=True)])

    (told,) = hall.drain().messages
    assert isinstance(told, m.KeptPayloads)
    ((name, facts, sha256),) = told.payloads
    assert (name, sha256) == ("shell", payload.sha256)
    assert f"1 file · {payload.sha256[:12]} · agreed to" in facts


@pytest.mark.parametrize(
    ("failure", "told"),
    [
        (None, m.Over("", False)),
        (ConnectionLost("lost", hint="Again."), m.Over("lost. Again.", False)),
        (PayloadRejected("none came"), m.Over("none came.", True)),
    ],
)
def test_the_end_of_a_session_is_told_with_its_failure(
    hall: Hall, failure: LmbootError | None, told: m.Over
) -> None:
    hall.lobby.over(hall.view, failure)

    assert hall.drain().messages == [told]


def test_the_end_of_a_view_that_is_no_windows_is_told_too(hall: Hall) -> None:
    hall.lobby.over(FakeView(), None)

    assert hall.drain().messages == [m.Over("", False)]


def test_what_is_shown_for_review_hides_nothing_that_harmless_text_shows() -> None:
    assert all(visible(for_review(text)) == for_review(text) for text in HOSTILE)
