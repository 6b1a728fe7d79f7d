"""Which models a desk lists and opens; sessions are in test_desk_sessions."""

from __future__ import annotations

import asyncio
import socket
import zipfile
from collections.abc import Iterator
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from time import monotonic
from typing import Any

import pytest

from lmboot.app import desk as desk_module
from lmboot.app.models import Found
from lmboot.connections import servers
from lmboot.errors import EngineFailed, FileUnreadable, NoServer
from lmboot.settings import Settings, WindowSettings
from tests.app.bureau import LARGE, TINY, Bureau, at_work, places_in, rest, turns
from tests.connections.lookalike import Lookalike
from tests.connections.tiny_gguf import write_tiny_gguf
from tests.fakes import FakeView

BY_SERVER = ["acme/tiny-4b", "acme/large-70b"]


def ids(found: Found) -> list[str]:
    return [model.id for model in found.models]


@pytest.fixture
def dead() -> Iterator[str]:
    """An address where nobody answers, and nobody else will."""
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{nobody.getsockname()[1]}"


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look again after milliseconds in the place of seconds."""
    for name in ("FIRST_RETRY", "LAST_RETRY"):
        monkeypatch.setattr(desk_module, name, getattr(desk_module, name) / 1000)


def found_by_itself(monkeypatch: pytest.MonkeyPatch, *bases: str) -> None:
    """Let servers listen where lmboot looks."""
    ports = tuple(int(base.rpartition(":")[2]) for base in bases)
    monkeypatch.setattr(servers, "DEFAULT_PORTS", {"lmstudio": ports})


# ---------------------------------------------------------------- looking for servers


async def test_every_servers_models_are_listed_then_opened_files_then_the_seed_model(
    bureau: Bureau, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write_tiny_gguf(tmp_path / "mine.gguf")
    bureau.desk.open_file(str(file))
    await rest()
    async with Lookalike("plain") as one, Lookalike("plain") as other:
        found_by_itself(monkeypatch, one.base, other.base)

        bureau.desk.look()
        await rest()

    (found,) = bureau.lobby.of("listed")
    assert ids(found) == [*BY_SERVER, *BY_SERVER, str(file), "seed"]
    assert list(found.tokens) == [one.base, other.base]
    assert [what for what, *_ in bureau.lobby.told] == ["added", "looking", "listed"]


async def test_a_server_that_was_named_is_the_only_one_that_is_listed(
    bureau: Bureau, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Lookalike("plain") as one, Lookalike("plain") as other:
        found_by_itself(monkeypatch, one.base)

        bureau.desk.look(other.base)
        await rest()

    (found,) = bureau.lobby.of("listed")
    assert {model.server for model in found.models} == {other.base, ""}
    assert ids(found)[-1] == "seed"


async def test_while_nothing_answers_it_is_looked_for_ever_more_rarely(
    bureau: Bureau, dead: str, hasty: None
) -> None:
    times: list[float] = []
    told = bureau.lobby.unreachable

    def timed(*values: Any) -> None:
        times.append(monotonic())
        told(*values)

    bureau.lobby.unreachable = timed  # type: ignore[method-assign, assignment]

    bureau.desk.look(dead)
    await bureau.lobby.until(lambda: len(times) >= 6)

    waits = [seconds for _, _, seconds in bureau.lobby.of("unreachable")]
    assert [round(1000 * seconds) for seconds in waits[:6]] == [2, 4, 8, 16, 30, 30]
    between = [later - earlier for earlier, later in pairwise(times)]
    assert all(passed >= told for passed, told in zip(between, waits, strict=False))


async def test_while_nothing_answers_the_seed_model_and_the_reason_are_there(
    bureau: Bureau, dead: str
) -> None:
    bureau.desk.look(dead)
    await bureau.lobby.until(lambda: bureau.lobby.of("unreachable"))

    assert [what for what, *_ in bureau.lobby.told] == ["looking", "listed", "unreachable"]
    assert [ids(found) for found in bureau.lobby.of("listed")] == [["seed"]]
    ((server, error, _),) = bureau.lobby.of("unreachable")
    assert server == dead
    assert isinstance(error, NoServer)


async def test_looking_ends_when_a_server_appears(
    bureau: Bureau, dead: str, hasty: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    found_by_itself(monkeypatch, dead)
    bureau.desk.look()
    await bureau.lobby.until(lambda: len(bureau.lobby.of("unreachable")) == 2)
    async with Lookalike("plain") as server:
        found_by_itself(monkeypatch, server.base)

        await rest()

    *_, last = bureau.lobby.told
    assert ids(last[1]) == [*BY_SERVER, "seed"]
    assert [server for server, _, _ in bureau.lobby.of("unreachable")] == [None, None]


async def test_a_server_that_can_not_list_its_models_is_asked_again(
    bureau: Bureau, hasty: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    lists = asyncio.Event()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        greeting = b"greeting" in await reader.readline()
        good = greeting or lists.is_set()
        body = b'{"lmstudio": true}' if greeting else b'{"data": []}'
        head = "HTTP/1.1 {}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n"
        while await reader.readline() > b"\r\n":
            pass
        writer.write(head.format("200 OK" if good else "500 Oh", len(body)).encode() + body)
        writer.close()
        with suppress(ConnectionError):  # a look whether anybody listens asks nothing
            await writer.wait_closed()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        found_by_itself(monkeypatch, f"x:{server.sockets[0].getsockname()[1]}")
        bureau.desk.look()
        await bureau.lobby.until(lambda: len(bureau.lobby.of("unreachable")) >= 2)
        lists.set()
        await rest()

    assert "was found" not in str(bureau.lobby.of("unreachable")[0][1])
    assert bureau.lobby.of("listed")[-1].tokens


async def test_a_new_look_takes_the_place_of_the_one_before(
    bureau: Bureau, dead: str, hasty: None
) -> None:
    bureau.desk.look(dead)
    await bureau.lobby.until(lambda: bureau.lobby.of("unreachable"))
    async with Lookalike("plain") as server:
        bureau.desk.look(dead)
        bureau.desk.look(server.base)

        await rest()

    assert ids(bureau.lobby.told[-1][1]) == [*BY_SERVER, "seed"]


@pytest.mark.parametrize("named", ["option", "environment"])
async def test_an_address_that_is_none_is_told_and_the_seed_model_is_there_all_the_same(
    tmp_path: Path, own_world: None, named: str
) -> None:
    environ = {} if named == "option" else {"LMSTUDIO_BASE_URL": "http://"}
    async with at_work(Bureau(places_in(tmp_path), environ=environ)) as bureau:
        bureau.desk.look("ftp://here" if named == "option" else None)
        await rest()

        assert [error.exit_code for error in bureau.lobby.of("complain")] == [2]
        assert [ids(found) for found in bureau.lobby.of("listed")] == [["seed"]]


async def test_the_server_in_the_settings_comes_before_those_that_are_found(
    tmp_path: Path, own_world: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Lookalike("plain") as own, Lookalike("plain") as other:
        found_by_itself(monkeypatch, other.base)
        settings = Settings(window=WindowSettings(server=own.base))
        async with at_work(Bureau(places_in(tmp_path), settings=settings)) as bureau:
            bureau.desk.look()
            await rest()

            assert list(bureau.lobby.of("listed")[0].tokens) == [own.base]


async def test_where_the_server_in_the_settings_does_not_answer_others_are_looked_for(
    tmp_path: Path, own_world: None, monkeypatch: pytest.MonkeyPatch, dead: str
) -> None:
    async with Lookalike("plain") as other:
        found_by_itself(monkeypatch, other.base)
        settings = Settings(window=WindowSettings(server=dead))
        async with at_work(Bureau(places_in(tmp_path), settings=settings)) as bureau:
            bureau.desk.look()
            await rest()

            assert list(bureau.lobby.of("listed")[0].tokens) == [other.base]
            assert "others are looked for" in bureau.lobby.of("note")[0]


# ---------------------------------------------------------------- tokens


async def test_the_server_in_the_settings_may_want_a_token_too(
    tmp_path: Path, own_world: None
) -> None:
    async with Lookalike("plain", token="right") as own:
        settings = Settings(window=WindowSettings(server=own.base))
        async with at_work(Bureau(places_in(tmp_path), settings=settings)) as bureau:
            bureau.desk.look()
            await rest()
            assert [base for base, _ in bureau.lobby.of("locked")] == [own.base]

            bureau.desk.give_token(own.base, "right", None)
            await rest()

            assert ids(bureau.lobby.told[-1][1]) == [*BY_SERVER, "seed"]


@pytest.mark.parametrize("named", [True, False])
async def test_a_server_that_wants_a_token_is_locked_until_it_is_given(
    bureau: Bureau, monkeypatch: pytest.MonkeyPatch, named: bool
) -> None:
    async with Lookalike("plain", token="right") as server:
        found_by_itself(monkeypatch, server.base)
        looked_for = server.base if named else None
        bureau.desk.look(looked_for)
        await rest()
        assert [base for base, _ in bureau.lobby.of("locked")] == [server.base]
        assert [ids(found) for found in bureau.lobby.of("listed")] == [["seed"]]
        assert bureau.lobby.of("unreachable") == []

        bureau.desk.give_token(server.base, "right", looked_for)
        await rest()

    assert ids(bureau.lobby.of("listed")[-1]) == [*BY_SERVER, "seed"]
    assert bureau.lobby.of("listed")[-1].tokens == {server.base: "right"}
    assert "no keyring" in bureau.lobby.of("note")[0]


async def test_a_token_that_is_wrong_locks_it_again(bureau: Bureau) -> None:
    async with Lookalike("plain", token="right") as server:
        bureau.desk.look(server.base)
        await rest()

        bureau.desk.give_token(server.base, "wrong", server.base)
        await rest()

    assert [base for base, _ in bureau.lobby.of("locked")] == [server.base] * 2


async def test_a_token_that_is_given_counts_more_than_the_environments(
    tmp_path: Path, own_world: None
) -> None:
    environ = {"LLM_API_KEY": "old"}
    async with (
        Lookalike("plain", token="right") as server,
        at_work(Bureau(places_in(tmp_path), environ=environ)) as bureau,
    ):
        bureau.desk.look(server.base)
        await rest()
        assert bureau.lobby.of("locked")

        bureau.desk.give_token(server.base, "right", server.base)
        await rest()

        assert ids(bureau.lobby.told[-1][1]) == [*BY_SERVER, "seed"]


# ---------------------------------------------------------------- LM Studio's own command


async def test_a_server_that_can_not_be_started_is_told(
    bureau: Bureau, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")

    bureau.desk.start_server()
    await rest()

    assert bureau.lobby.of("status") == ["starting LM Studio's server"]
    assert "`lms` was not found" in str(bureau.lobby.of("complain")[0])
    assert bureau.lobby.of("looking") == []


async def test_a_server_that_was_started_is_listed(
    bureau: Bureau, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lms = tmp_path / "lms"
    lms.write_text("#!/bin/sh\n")
    lms.chmod(0o700)
    monkeypatch.setenv("PATH", str(tmp_path))
    async with Lookalike("plain") as server:
        found_by_itself(monkeypatch, server.base)

        bureau.desk.start_server()
        await rest()

    assert ids(bureau.lobby.told[-1][1]) == [*BY_SERVER, "seed"]


# ---------------------------------------------------------------- files


async def test_a_file_is_listed_by_its_header(bureau: Bureau, tmp_path: Path) -> None:
    file = write_tiny_gguf(tmp_path / "a model.gguf")

    bureau.desk.open_file(str(file))
    await rest()

    (row,) = bureau.lobby.of("added")
    assert (row.id, row.name, row.kind, row.state) == (str(file), "tiny", "file", "available")
    assert (row.context, row.architecture, row.quantization) == (256, "llama", "F32")


async def test_a_file_by_a_relative_path_is_known_by_its_whole_one(
    bureau: Bureau, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_tiny_gguf(tmp_path / "m.gguf")
    monkeypatch.chdir(tmp_path)

    bureau.desk.open_file("m.gguf")
    bureau.desk.open_file(str(tmp_path / "m.gguf"))
    await rest()

    assert {row.id for row in bureau.lobby.of("added")} == {str(tmp_path / "m.gguf")}


def zipped(path: Path) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("model.bin", b"weights")
    return path


def folder(path: Path) -> Path:
    path.mkdir()
    return path


def unheard_of(path: Path) -> Path:
    path.write_bytes(b"GGUF\xff\xff\xff\xff")
    return path


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (zipped, "zip archive"),
        (folder, "folder"),
        (lambda path: path, "no such file|does not exist|not found"),
        (unheard_of, "version"),
        (lambda path: Path(f"{path}\0"), ""),
        (lambda path: Path(f"{path}\udcff\x1b[31m\u202e"), ""),
        (lambda path: path / ("x" * 5000), ""),
    ],
)
async def test_what_is_no_model_is_told_and_not_listed(
    bureau: Bureau, tmp_path: Path, make: Any, words: str
) -> None:
    path = make(tmp_path / "m.gguf")

    bureau.desk.open_file(str(path))
    await rest()

    (error,) = bureau.lobby.of("complain")
    assert isinstance(error, FileUnreadable)
    assert any(word in str(error).lower() for word in words.split("|"))
    assert bureau.lobby.of("added") == []


async def test_a_package_of_a_later_version_is_told_as_such(bureau: Bureau) -> None:
    bureau.desk.open_file("/models/x.4DLLM")
    await rest()

    (error,) = bureau.lobby.of("complain")
    assert "4dllm" in str(error)
    assert error.hint == "Give it a .gguf file."


async def test_a_name_that_is_no_text_is_refused_before_it_can_be_chosen(
    bureau: Bureau, tmp_path: Path
) -> None:
    file = write_tiny_gguf(tmp_path / "m.gguf").rename(tmp_path / "\udcff.gguf")

    bureau.desk.open_file(str(file))
    await rest()

    assert [type(error) for error in bureau.lobby.of("complain")] == [FileUnreadable]
    assert bureau.lobby.of("added") == []


# ---------------------------------------------------------------- the model that is open


async def test_a_model_is_opened_ahead_of_need_and_only_once(bureau: Bureau) -> None:
    for _ in range(3):
        bureau.desk.choose(TINY)
    await rest()
    bureau.desk.choose(TINY)
    await rest()

    assert bureau.openings == ["tiny"]
    assert bureau.lobby.of("opened") == [TINY]


async def test_choosing_another_closes_the_one_before(bureau: Bureau) -> None:
    first = await bureau.chosen(TINY)

    second = await bureau.chosen(LARGE)
    await rest()

    assert bureau.openings == ["tiny", "large"]
    assert (first.is_open, second.is_open) == (False, True)


async def test_an_opening_that_nobody_waits_for_any_more_is_broken_off(bureau: Bureau) -> None:
    bureau.door = asyncio.Event()
    for row in (TINY, LARGE, TINY):
        bureau.desk.choose(row)
        await turns(3)

    bureau.door.set()
    await rest()

    assert bureau.openings == ["tiny", "large", "tiny"]
    assert len(bureau.connections) == 1
    assert bureau.lobby.of("opened") == [TINY]
    assert bureau.lobby.of("complain") == []


@pytest.mark.parametrize("warm", [True, False])
async def test_a_model_is_warmed_when_that_is_wanted(
    tmp_path: Path, own_world: None, warm: bool
) -> None:
    async with at_work(Bureau(places_in(tmp_path), settings=Settings(warm=warm))) as bureau:
        connection = await bureau.chosen()
        await rest()

        assert connection.warmed == warm


async def test_a_model_elsewhere_is_told_as_such(bureau: Bureau) -> None:
    bureau.local = False

    await bureau.chosen()

    assert bureau.lobby.of("note") == ["tiny runs on another machine: http://127.0.0.1:1"]


async def test_a_failed_opening_is_told_and_tried_anew_when_it_is_chosen_again(
    bureau: Bureau,
) -> None:
    bureau.failures = [EngineFailed("it could not load")]
    bureau.desk.choose(TINY)
    await rest()
    assert [str(error) for error in bureau.lobby.of("complain")] == ["it could not load"]

    await bureau.chosen()

    assert bureau.openings == ["tiny", "tiny"]


async def test_the_payloads_that_a_model_wrote_are_told_the_newest_first(bureau: Bureau) -> None:
    for number in range(6):
        bureau.keep(PAYLOADS[number], "large" if number == 5 else "tiny")
    damaged = next(bureau.places.payloads.iterdir())
    damaged.write_text("{}")

    await bureau.chosen()
    await rest()

    ((row, kept),) = bureau.lobby.of("kept")
    assert row == TINY
    assert 3 <= len(kept) <= desk_module.MOST_KEPT
    assert {each.model for each in kept} == {"tiny"}
    times = [each.time for each in kept]
    assert times == sorted(times, reverse=True)


PAYLOADS = [
    f'{{"manifest": {{"name": "p{number}"}}, "files": [{{"path": "a.py", "content": ""}}], '
    '"entrypoint": "python a.py"}'
    for number in range(6)
]


# ---------------------------------------------------------------- the end


async def test_closing_breaks_off_what_only_waits(
    bureau: Bureau, dead: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lms = tmp_path / "lms"
    lms.write_text("#!/bin/sh\nexec sleep 1000\n")
    lms.chmod(0o700)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    bureau.door = asyncio.Event()
    bureau.desk.look(dead)
    bureau.desk.choose(TINY)
    bureau.desk.start_server()
    bureau.desk.give_token(dead, "x", dead)
    await bureau.lobby.until(lambda: bureau.lobby.of("unreachable"))

    async with asyncio.timeout(5):
        await bureau.desk.close()

    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_after_the_end_nothing_is_begun_any_more(bureau: Bureau, dead: str) -> None:
    view = FakeView()
    await bureau.chosen()
    await bureau.desk.close()
    told = len(bureau.lobby.told)

    bureau.desk.look(dead)
    bureau.desk.choose(LARGE)
    bureau.desk.open_file("x.gguf")
    bureau.desk.give_token(dead, "x", dead)
    bureau.desk.start_server()
    bureau.desk.bootstrap(view)
    await turns(3)

    assert asyncio.all_tasks() == {asyncio.current_task()}
    assert bureau.lobby.told[told:] == [("over", view, None)]
    assert bureau.openings == ["tiny"]
