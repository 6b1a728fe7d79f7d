"""Asking for what nobody has granted: one question, its answer, its time, its end."""

from __future__ import annotations

import asyncio
from functools import partial
from pathlib import Path

import pytest

from lmboot.runtime.asking import Answer, Question
from lmboot.runtime.confined import AT_ONCE_BYTES
from lmboot.runtime.operations import Notify, Time
from lmboot.runtime.permits import (
    MOST_REFUSED,
    MOST_WAITING,
    TRIES,
    command_for,
)
from tests.runtime.brokers import codes, until
from tests.runtime.persons import Asked, Person, Wanting, asked

ONCE, WHILE, ALWAYS, NO = (Answer(scope) for scope in ("once", "while", "always", "no"))
QUARTER = 15 * 60


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    folder = tmp_path / "other name"
    folder.mkdir()
    (folder / "a.txt").write_text("oak")
    return folder


async def question(it: Asked, count: int = 1) -> Question:
    """Wait until so many questions were put; return the last."""
    await until(lambda: len(it.person.asked) >= count)
    return it.person.asked[-1]


async def test_once_is_for_the_request_that_asked_and_no_other() -> None:
    wanting = Wanting()
    wanting.gate.set()
    async with asked(wanting) as it:
        await it.scene.guest.ask("query_model")
        assert await question(it) == Question("query_model")
        assert wanting.begun == 0
        it.person.answer(ONCE)
        assert codes([await it.scene.guest.answer()]) == ["ok"]
        await it.scene.guest.ask("query_model")
        await question(it, 2)
        it.person.answer(NO)

        assert codes([await it.scene.guest.answer()]) == ["not_granted"]
        assert wanting.effects == 1
        assert it.grants.shown() == []


async def test_the_same_question_at_the_same_time_is_one_question() -> None:
    wanting = Wanting()
    wanting.gate.set()
    async with asked(wanting) as it:
        for _ in range(5):
            await it.scene.guest.ask("query_model")
        await question(it)
        await until(lambda: it.scene.broker._under_way() == 5)
        it.person.answer(WHILE)

        assert codes([await it.scene.guest.answer() for _ in range(5)]) == ["ok"] * 5
        assert len(it.person.asked) == 1


async def test_what_is_granted_once_goes_to_one_of_those_that_wait() -> None:
    wanting = Wanting()
    wanting.gate.set()
    async with asked(wanting) as it:
        numbers = [await it.scene.guest.ask("query_model") for _ in range(3)]
        await question(it)
        await until(lambda: it.scene.broker._under_way() == 3)
        it.person.answer(ONCE)
        first = await it.scene.guest.answer()
        await question(it, 2)
        it.person.answer(NO)
        others = [await it.scene.guest.answer() for _ in range(2)]

        assert (first["id"], codes([first])) == (numbers[0], ["ok"])
        assert codes(others) == ["not_granted"] * 2
        assert wanting.effects == 1


async def test_what_is_granted_once_goes_to_the_operation_that_was_shown(notes: Path) -> None:
    """They are one kind, but once is that one request: the other is asked for by itself."""
    async with asked() as it:
        await it.scene.guest.ask("fs.stat", path="notes/a.txt")
        await question(it)
        number = await it.scene.guest.ask("fs.read_text", path="notes/a.txt")
        await until(lambda: it.scene.broker._under_way() == 2)
        it.person.answer(Answer("once", str(notes)))
        assert codes([await it.scene.guest.answer()]) == ["ok"]
        assert (await question(it, 2)).op == "fs.read_text"
        it.person.answer(NO)
        answer = await it.scene.guest.answer()

        assert (answer["id"], codes([answer])) == (number, ["not_granted"])


async def test_what_is_granted_once_to_one_that_has_gone_goes_to_nobody(notes: Path) -> None:
    async with asked() as it:
        await it.scene.guest.ask("fs.stat", path="notes/a.txt")
        await question(it)
        await it.scene.guest.ask("fs.read_text", path="notes/a.txt")
        await until(lambda: it.scene.broker._under_way() == 2)
        it.scene.broker.flip("fs.stat", "DENY")
        assert codes([await it.scene.guest.answer()]) == ["route_changed"]
        it.person.answer(Answer("once", str(notes)))

        assert (await question(it, 2)).op == "fs.read_text"
        it.person.answer(NO)
        assert codes([await it.scene.guest.answer()]) == ["not_granted"]


@pytest.mark.parametrize("op", ["time", "notify"])
async def test_the_clock_and_a_notice_need_a_grant_and_their_stand_ins_none(op: str) -> None:
    shown: list[str] = []
    args = {"text": "x"} if op == "notify" else {}
    async with asked(Time(), Notify(shown.append)) as it:
        await it.scene.guest.ask(op, **args)
        assert await question(it) == Question(op)
        it.person.answer(NO)
        assert codes([await it.scene.guest.answer()]) == ["not_granted"]
        assert shown == []
        it.scene.broker.flip(op, "EMULATE")
        assert codes([await it.scene.guest.call(op, **args)]) == ["ok"]
        assert shown == []
        it.scene.broker.flip(op, "HOST")
        it.grants.add(op, op)

        assert codes([await it.scene.guest.call(op, **args)]) == ["ok"]
        assert len(it.person.asked) == 1


async def test_a_while_is_a_quarter_of_an_hour_by_a_clock_that_never_runs_back() -> None:
    wanting = Wanting()
    wanting.gate.set()
    async with asked(wanting) as it:
        await it.scene.guest.ask("query_model")
        await question(it)
        it.person.answer(WHILE)
        await it.scene.guest.answer()
        (grant,) = it.grants.shown()
        assert (grant.kind, grant.name, grant.scope) == ("query_model", "query_model", "while")
        assert grant.seconds_left == QUARTER
        it.clock.now += QUARTER - 1
        assert codes([await it.scene.guest.call("query_model")]) == ["ok"]
        it.clock.now += 1
        await it.scene.guest.ask("query_model")

        await question(it, 2)
        assert it.grants.shown() == []


@pytest.mark.parametrize("how", ["revoked", "expired"])
async def test_a_grant_that_ends_takes_what_rests_on_it_along(how: str) -> None:
    wanting = Wanting()
    async with asked(wanting) as it:
        await it.scene.guest.ask("query_model")
        await question(it)
        it.person.answer(WHILE)
        await until(lambda: wanting.begun)
        if how == "revoked":
            assert [held.name for held in it.grants.remove("query_model")] == ["query_model"]
        else:
            it.clock.now += QUARTER
            assert it.grants.shown() == []

        assert codes([await it.scene.guest.answer()]) == ["not_granted"]
        assert wanting.effects == 0


async def test_a_grant_that_has_expired_is_noticed_at_the_commit_at_the_latest() -> None:
    wanting = Wanting(cancellable=False)
    async with asked(wanting) as it:
        await it.scene.guest.ask("query_model")
        await question(it)
        it.person.answer(WHILE)
        await until(lambda: wanting.begun)
        it.clock.now += QUARTER
        wanting.gate.set()

        assert codes([await it.scene.guest.answer()]) == ["not_granted"]
        assert wanting.effects == 0


async def test_what_has_had_its_effect_and_can_not_be_cancelled_ends_as_it_would() -> None:
    wanting = Wanting(cancellable=False)
    wanting.gate.set()
    wanting.after.clear()
    async with asked(wanting) as it:
        await it.scene.guest.ask("query_model")
        await question(it)
        it.person.answer(ALWAYS)
        await until(lambda: wanting.effects)
        it.grants.remove("query_model")
        wanting.after.set()

        assert codes([await it.scene.guest.answer()]) == ["ok"]


@pytest.mark.parametrize("cancellable", [True, False])
async def test_a_stricter_route_withdraws_the_question(cancellable: bool) -> None:
    wanting = Wanting(cancellable=cancellable)
    async with asked(wanting) as it:
        number = await it.scene.guest.ask("query_model")
        await question(it)
        flip = it.scene.broker.flip("query_model", "DENY")

        assert codes([await it.scene.guest.answer()]) == ["route_changed"]
        assert flip.withdrawn == (number,)
        await until(lambda: it.person.withdrawn)
        assert not it.person.questions


async def test_one_that_goes_leaves_the_question_to_the_others() -> None:
    person, wanting, other = Person(), Wanting(), Wanting("logits")
    async with asked(wanting, other, person=person) as it:
        await it.scene.guest.ask("query_model")
        await it.scene.guest.ask("logits")
        await question(it, 2)
        it.scene.broker.flip("logits", "DENY")
        await it.scene.guest.answer()
        await until(lambda: person.withdrawn)

        assert [each[0].op for each in person.questions] == ["query_model"]


async def test_the_end_of_the_channel_withdraws_the_question() -> None:
    async with asked(Wanting()) as it:
        await it.scene.guest.ask("query_model")
        await question(it)
        it.scene.broker.close()
        await it.scene.served

        assert it.person.withdrawn == [Question("query_model")]
        assert it.scene.audit.outcomes == {0: "closed"}


async def test_a_no_holds_until_the_run_ends_and_a_grant_of_the_persons_own_undoes_it() -> None:
    wanting = Wanting()
    wanting.gate.set()
    async with asked(wanting) as it:
        await it.scene.guest.ask("query_model")
        await question(it)
        it.person.answer(NO)
        answers = [await it.scene.guest.answer()]
        answers += [await it.scene.guest.call("query_model") for _ in range(3)]
        assert codes(answers) == ["not_granted"] * 4
        assert len(it.person.asked) == 1
        it.grants.add("query_model", "query_model")

        assert codes([await it.scene.guest.call("query_model")]) == ["ok"]


async def test_a_guest_that_floods_different_questions_is_cut_off() -> None:
    async with asked() as it:
        for number in range(MOST_REFUSED):
            await it.scene.guest.ask("fetch", url=f"http://h{number}.example/")
            await question(it, number + 1)
            it.person.answer(NO)
            await it.scene.guest.answer()
        for number in range(50):
            answer = await it.scene.guest.call("fetch", url=f"http://x{number}.example/")
            assert codes([answer]) == ["not_granted"]

        assert len(it.person.asked) == MOST_REFUSED
        assert len(it.person.told) == 1


async def test_only_a_few_different_questions_wait_at_once() -> None:
    async with asked() as it:
        for number in range(MOST_WAITING + 3):
            await it.scene.guest.ask("fetch", url=f"http://h{number}.example/")
        answers = [await it.scene.guest.answer() for _ in range(3)]

        assert codes(answers) == ["not_granted"] * 3
        assert len(it.person.asked) == MOST_WAITING


async def test_where_nobody_can_be_asked_the_answer_is_no_and_a_way_is_told() -> None:
    async with asked(person=Person(absent=True)) as it:
        for _ in range(3):
            answer = await it.scene.guest.call("fetch", url="http://oak.example/a")
            assert codes([answer]) == ["not_granted"]

        (told,) = it.person.told
        assert "`:grant fetch oak.example`" in told


async def test_what_can_not_be_recorded_is_not_asked_and_not_granted() -> None:
    async with asked(Wanting(), person=Person(full=True)) as it:
        answer = await it.scene.guest.call("query_model")

        assert codes([answer]) == ["not_recorded"]
        assert it.person.asked == []


# ---------------------------------------------------------------- folders and hosts


async def test_the_answer_names_the_folder_and_the_guest_its_name(notes: Path) -> None:
    async with asked() as it:
        await it.scene.guest.ask("fs.read_text", path="notes/a.txt")
        assert await question(it) == Question("fs.read_text", "notes", chooses_folder=True)
        it.person.answer(Answer("while", str(notes)))
        assert (await it.scene.guest.answer())["result"] == "oak"
        assert (await it.scene.guest.call("fs.list"))["result"] == ["notes/"]
        (grant,) = it.grants.shown()

        assert (grant.kind, grant.name, grant.path) == ("read", "notes", str(notes))
        assert it.person.recorded == [
            ("fs.read_text", "notes", "asked"), ("fs.read_text", "notes", "while"),
        ]  # fmt: skip


async def test_files_of_all_sizes_are_read_and_each_is_recorded(notes: Path) -> None:
    """Small ones are served in the event loop, larger ones in a thread."""
    sizes = (0, 1, 1000, AT_ONCE_BYTES, AT_ONCE_BYTES + 1, 500_000)
    for size in sizes:
        (notes / str(size)).write_text("x" * size)
    async with asked() as it:
        await it.grants.add_folder(notes, "read", name="notes")
        for size in sizes * 20:
            await it.scene.guest.ask("fs.read_text", path=f"notes/{size}")
        answers = [await it.scene.guest.answer() for _ in sizes * 20]

        answers.sort(key=lambda each: int(each["id"]))
        assert [len(each["result"]) for each in answers] == [*sizes] * 20
        assert {each["version"] for each in answers} == {1}
        assert it.scene.audit.outcomes == dict.fromkeys(range(120), "ok")


async def test_what_is_served_at_once_obeys_route_and_record(notes: Path) -> None:
    async with asked() as it:
        await it.grants.add_folder(notes, "read", name="notes")
        stat = partial(it.scene.guest.call, "fs.stat", path="notes/a.txt")
        assert (await stat())["result"]["size"] == 3

        it.scene.broker.flip("fs.stat", "DENY")
        assert codes([await stat()]) == ["denied"]
        it.scene.broker.flip("fs.stat", "HOST")
        it.scene.audit.full = True
        assert codes([await stat()]) == ["not_recorded"]
        it.scene.audit.full = False
        it.grants.remove("notes")
        await it.scene.guest.ask("fs.stat", path="notes/a.txt")
        assert await question(it) == Question("fs.stat", "notes", chooses_folder=True)


async def test_a_folder_that_may_be_read_is_asked_for_once_more_to_be_written(
    notes: Path,
) -> None:
    async with asked() as it:
        await it.scene.guest.ask("fs.list", path="notes")
        await question(it)
        it.person.answer(Answer("while", str(notes)))
        await it.scene.guest.answer()
        await it.scene.guest.ask("fs.write_text", path="notes/b.txt", text="elm")
        assert await question(it, 2) == Question("fs.write_text", "notes")
        it.person.answer(ONCE)

        assert codes([await it.scene.guest.answer()]) == ["ok"]
        assert (notes / "b.txt").read_text() == "elm"
        assert [(each.kind, each.name) for each in it.grants.shown()] == [("read", "notes")]


async def test_a_no_to_one_way_of_reading_is_a_no_to_all() -> None:
    async with asked() as it:
        await it.scene.guest.ask("fs.list", path="notes")
        await question(it)
        it.person.answer(NO)
        await it.scene.guest.answer()
        answers = [
            await it.scene.guest.call("fs.read_text", path="notes/a.txt"),
            await it.scene.guest.call("fs.stat", path="notes/a.txt"),
        ]

        assert codes(answers) == ["not_granted"] * 2
        assert len(it.person.asked) == 1


async def test_a_folder_that_can_not_be_used_is_asked_for_again_and_no_more_than_that() -> None:
    async with asked() as it:
        await it.scene.guest.ask("fs.read_text", path="notes/a.txt")
        for number in range(TRIES):
            await question(it, number + 1)
            it.person.answer(Answer("always", "/no/such/folder"))

        assert codes([await it.scene.guest.answer()]) == ["not_granted"]
        assert len(it.person.told) == TRIES
        assert it.grants.shown() == []


@pytest.mark.parametrize(
    ("op", "args", "code"),
    [
        ("fetch", {"url": "http://127.0.0.1/"}, "address_refused"),
        ("fetch", {"url": "http://[::1]/"}, "address_refused"),
        ("fetch", {"url": "http://LocalHost./"}, "address_refused"),
        ("fetch", {"url": "http://nas.local/"}, "address_refused"),
        ("fetch", {"url": "http://a.example:22/"}, "not_granted"),
        ("fetch", {"url": "file:///etc/passwd"}, "not_granted"),
        ("fetch", {"url": "http://good@evil/"}, "bad_url"),
        ("fs.read_text", {"path": "../x"}, "bad_path"),
        ("fs.read_text", {"path": "a\u202eb/x"}, "bad_path"),
        ("fs.read_text", {"path": ""}, "bad_path"),
    ],
)
async def test_nobody_is_asked_for_what_no_grant_would_allow(
    op: str, args: dict[str, str], code: str
) -> None:
    async with asked() as it:
        assert codes([await it.scene.guest.call(op, **args)]) == [code]
        assert it.person.asked == []


async def test_a_folder_granted_once_is_let_go_of(notes: Path) -> None:
    async with asked() as it:
        await it.scene.guest.ask("fs.read_text", path="notes/a.txt")
        await question(it)
        it.person.answer(Answer("once", str(notes)))
        assert (await it.scene.guest.answer())["result"] == "oak"

        assert it.grants.folders == {}
        assert (await it.scene.guest.call("fs.list"))["result"] == []


async def test_a_host_is_asked_for_by_its_name_and_granted_by_that() -> None:
    async with asked() as it:
        await it.scene.guest.ask("fetch", url="https://Oak.example:443/a?b")
        assert await question(it) == Question("fetch", "oak.example")
        it.person.answer(WHILE)
        answer = await it.scene.guest.answer()

        assert codes([answer]) == ["no_such_host"]  # it was tried
        assert it.grants.policy.names("oak.example")
        assert not it.grants.policy.names("x.oak.example")


@pytest.mark.parametrize(
    ("question", "command"),
    [
        (Question("fetch", "a.example"), ":grant fetch a.example"),
        (Question("fs.list", "notes", chooses_folder=True), ":grant read DIR as notes"),
        (Question("fs.remove", "notes"), ":grant write DIR as notes"),
        (Question("query_model"), ":grant query_model"),
        (Question("tokenize"), ":grant query_model"),
        (Question("time"), ":grant time"),
        (Question("spawn", "/usr/bin/sort"), ":grant spawn /usr/bin/sort"),
        (Question("fetch", "a\x1b[2J\u202e"), ":grant fetch a"),
    ],
)
def test_the_command_that_would_allow_it(question: Question, command: str) -> None:
    assert command_for(question) == command


async def test_no_grant_is_left_to_nobody_when_the_request_goes_as_the_answer_comes(
    notes: Path,
) -> None:
    async with asked() as it:
        await it.scene.guest.ask("fs.read_text", path="notes/a.txt")
        await question(it)
        it.person.answer(Answer("once", str(notes)))
        it.scene.broker.flip("fs.read_text", "DENY")
        assert codes([await it.scene.guest.answer()]) == ["route_changed"]
        await asyncio.sleep(0)

        assert it.grants.folders == {}


# ---------------------------------------------------------------- where nobody is to be asked


async def test_what_the_policy_lets_nobody_be_asked_for_is_refused_and_told_once() -> None:
    wanting = Wanting()
    async with asked(wanting, unasked={"query_model"}) as it:
        answers = [await it.scene.guest.call("query_model") for _ in range(3)]

        assert codes(answers) == ["not_granted"] * 3
        assert it.person.asked == []
        (told,) = it.person.told
        assert told.endswith("refuses without a question; `:grant query_model` allows it")


async def test_a_grant_counts_where_nobody_is_to_be_asked() -> None:
    wanting = Wanting()
    wanting.gate.set()
    async with asked(wanting, unasked={"query_model"}) as it:
        it.grants.add("query_model", "query_model")

        assert codes([await it.scene.guest.call("query_model")]) == ["ok"]
        assert (it.person.asked, it.person.told) == ([], [])


async def test_what_was_refused_unasked_is_not_held_against_a_question(notes: Path) -> None:
    async with asked(unasked={"fs.read_text"}) as it:
        for number in range(2 * MOST_REFUSED):
            await it.scene.guest.call("fs.read_text", path=f"n{number}/a.txt")
        await it.scene.guest.ask("fs.list", path="n0")
        assert await question(it) == Question("fs.list", "n0", chooses_folder=True)
        it.person.answer(Answer("while", str(notes)))

        assert codes([await it.scene.guest.answer()]) == ["ok"]
        assert len(it.person.told) == MOST_REFUSED
