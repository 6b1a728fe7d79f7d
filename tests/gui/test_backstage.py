"""The window's own files, and a session as the window's jobs begin it."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import stat
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import keyring
import keyring.backends.null
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmboot.app.view import Shown
from lmboot.connections import servers
from lmboot.errors import SandboxFault
from lmboot.gui import bordermessages as b
from lmboot.gui import history as past
from lmboot.gui import memory as memories
from lmboot.gui import messages as m
from lmboot.gui.backstage import HISTORY, Backstage, copy_transcript
from lmboot.gui.history import History
from lmboot.gui.memory import Memory
from lmboot.gui.outbox import Budget, Item, Outbox
from lmboot.runtime import posture
from lmboot.runtime.backends import Backend
from lmboot.runtime.registry import Entry
from lmboot.settings import Settings
from tests.cli.program import ECHO, payload
from tests.connections.lookalike import Lookalike
from tests.soak.held import held, nothing_beyond

SECONDS = 60.0


class Stage:
    """A backstage, and what it has told so far."""

    def __init__(self) -> None:
        self.outbox = Outbox[m.Message]()
        self.told: list[m.Message] = []
        self.text: dict[str, str] = {}
        self.backstage = Backstage(self.outbox)

    def look(self) -> None:
        drained = self.outbox.drain(Budget(1 << 30, 1 << 30, 1e9))
        self.told += drained.messages
        for item in drained.items:
            assert isinstance(item, Item)
            self.text[item.stream] = self.text.get(item.stream, "") + item.run.text

    async def until(self, ready: Callable[[], object]) -> None:
        async with asyncio.timeout(SECONDS):
            self.look()
            while not ready():
                await asyncio.sleep(0.005)  # what is told comes by no event
                self.look()

    async def first(self, kind: type[m.Message]) -> m.Message:
        """Wait for a message, and return the first of its kind."""
        found: list[m.Message] = []

        def came() -> bool:
            found[:] = [each for each in self.told if isinstance(each, kind)]
            return bool(found)

        await self.until(came)
        return found[0]

    async def close(
        self, memory: Memory | None = None, histories: dict[str, History] | None = None
    ) -> None:
        self.backstage.close(memory or Memory(), histories or {})
        async with asyncio.timeout(SECONDS):
            await self.backstage.closed.wait()


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One cache for the session, so that one proof of the sandbox serves all."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def _own_world(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in ("CONFIG", "DATA", "STATE"):
        monkeypatch.setenv(f"XDG_{name}_HOME", str(tmp_path / name.lower()))
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("LMSTUDIO_BASE_URL", "LLM_BASE_URL", "LLM_API_KEY", "LM_API_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(servers, "DEFAULT_PORTS", {})
    before = keyring.get_keyring()
    keyring.set_keyring(keyring.backends.null.Keyring())  # type: ignore[no-untyped-call]
    yield
    keyring.set_keyring(before)


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    before = held()
    stage = Stage()
    yield stage
    if not stage.backstage.closed.is_set():
        await stage.close()
    await nothing_beyond(before)


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """The folder of what the window keeps."""
    return tmp_path / "state" / "lmboot"


def keep(state: Path, text: str) -> Path:
    """Keep this as what was typed."""
    state.mkdir(parents=True, exist_ok=True)
    (state / HISTORY).write_text(text)
    return state / HISTORY


def names_in(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir())


def write_settings(tmp_path: Path, text: str) -> None:
    file = tmp_path / "config" / "lmboot" / "settings.toml"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


# ---------------------------------------------------------------- the beginning


async def test_it_begins_with_settings_history_and_places(
    tmp_path: Path, state: Path, stage: Stage
) -> None:
    stage.look()

    (ready,) = stage.told
    assert isinstance(ready, m.Ready)
    assert (ready.history, ready.has_lms) == ("", False)
    assert ready.settings["window.theme"] == "system"
    assert ready.settings["path"] == str(tmp_path / "config" / "lmboot" / "settings.toml")
    assert ready.settings["transcripts_path"] == str(state / "transcripts")


async def test_settings_that_can_not_be_taken_are_told(tmp_path: Path) -> None:
    write_settings(tmp_path, "warm = 7")
    stage = Stage()
    stage.look()

    assert [type(each) for each in stage.told] == [m.Said, m.Ready]
    assert "settings" in str(stage.told[0])
    await stage.close()


async def test_settings_that_were_saved_are_taken_anew(tmp_path: Path, stage: Stage) -> None:
    write_settings(tmp_path, "warm = false\ncontext = 4096\n[window]\ntheme = 'dark'\n")

    stage.backstage.use_settings()
    stage.look()

    *_, ready = stage.told
    assert isinstance(ready, m.Ready)
    assert (ready.settings["context"], ready.settings["window.theme"]) == (4096, "dark")
    assert stage.backstage.desk.settings.warm is False


class Imaged(Entry):
    """podman, which takes a while to be made ready, and has none of the user's images."""

    async def prepare(self, say: Callable[[str], None]) -> None:
        say("preparing it, once")

    def find(self, image: str | None = None) -> Backend:
        raise SandboxFault(f"there is no image {image}")


async def test_where_it_runs_is_looked_at_with_the_image_of_the_settings_and_again_with_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(posture, "BACKENDS", {"podman": Imaged("container", takes_image=True)})
    write_settings(tmp_path, 'container_image = "one"\n')
    stage = Stage()

    def troubles() -> list[str]:
        found = [each for each in stage.told if isinstance(each, b.Sandboxes)]
        return [each.container.trouble for each in found]

    stage.backstage.prepare()
    await stage.until(troubles)
    write_settings(tmp_path, 'warm = false\ncontainer_image = "two"\n')
    stage.backstage.use_settings()
    await stage.until(lambda: len(troubles()) == 2)
    write_settings(tmp_path, 'container_image = "two"\n')
    stage.backstage.use_settings()
    await stage.close()
    stage.look()

    assert troubles() == ["there is no image one.", "there is no image two."]
    assert b.Preparing("Preparing it, once") in stage.told


async def test_what_was_typed_before_comes_back_unless_that_is_not_wanted(
    tmp_path: Path, state: Path
) -> None:
    for wanted in (True, False):
        write_settings(tmp_path, f"[window]\nremember_input = {str(wanted).lower()}\n")
        keep(state, '{"pane": "rt", "text": "hello"}\n')
        stage = Stage()

        ready = await stage.first(m.Ready)

        assert isinstance(ready, m.Ready)
        assert bool(ready.history) == wanted
        await stage.close()


# ---------------------------------------------------------------- texts


@pytest.mark.parametrize("text", ["", "reply\n", "a\r\nb\r", "\0\ud800\u202e", "é" * 100_000])
async def test_a_text_is_written_as_it_is(tmp_path: Path, stage: Stage, text: str) -> None:
    file = tmp_path / "a reply\u202e.txt"

    stage.backstage.save_text(str(file), text)

    assert await stage.first(m.Done) == m.Done(f"{file} was written")
    assert file.read_bytes() == text.encode("utf-8", "surrogatepass")


@pytest.mark.parametrize(
    ("target", "why"),
    [
        ("no/such/folder/x.txt", errno.ENOENT),
        (".", errno.EISDIR),
        ("/dev/full", errno.ENOSPC),
        ("x" * 300, errno.ENAMETOOLONG),
    ],
)
async def test_a_text_that_can_not_be_written_is_told_with_the_reason(
    tmp_path: Path, stage: Stage, target: str, why: int
) -> None:
    stage.backstage.save_text(str(tmp_path / target), "x")

    told = await stage.first(m.Complained)
    assert isinstance(told, m.Complained)
    assert f"could not be written: {os.strerror(why)}" in told.text
    assert "Choose another place" in told.text
    assert not any(isinstance(each, m.Done) for each in stage.told)


async def test_what_is_being_written_is_written_before_the_end(
    tmp_path: Path, stage: Stage
) -> None:
    for number in range(20):
        stage.backstage.save_text(str(tmp_path / str(number)), "x" * 100_000)

    await stage.close()

    assert {(tmp_path / str(number)).stat().st_size for number in range(20)} == {100_000}


# ---------------------------------------------------------------- transcripts

LINES = [
    Shown("sys", "runtime started", "started"),
    Shown("rt", "ready"),
    Shown("rt", "> ", partial=True),
    Shown("you", ":ai hello\u2028there"),
    Shown("ai", "Hel"),
    Shown("ai", "lo.\nWell"),
    Shown("rt", "tick"),
    Shown("ai", "!"),
    Shown("rt!", "é 🙂"),
    Shown("rt", "half", partial=True),
    Shown("rt", " and half"),
    Shown("rt", "", partial=False),
    Shown("rt", "end", partial=True),
]


def transcript_of(folder: Path, lines: list[Shown]) -> Path:
    file = folder / "session.jsonl"
    file.write_text("".join(each.as_json() + "\n" for each in lines), encoding="utf-8")
    return file


def test_as_text_each_line_begins_with_its_pane_and_halves_are_joined(tmp_path: Path) -> None:
    copy_transcript(transcript_of(tmp_path, LINES), tmp_path / "session.txt")

    assert (tmp_path / "session.txt").read_text("utf-8").split("\n") == [
        "sys| runtime started",
        "rt| ready",
        "rt| > ",
        "you| :ai hello\u2028there",
        "ai| Hello.",
        "ai| Well",
        "rt| tick",
        "ai| !",
        "rt!| é 🙂",
        "rt| half and half",
        "rt| ",
        "rt| end",
        "",
    ]


@pytest.mark.parametrize("name", ["copy.jsonl", "a.b.jsonl"])
def test_as_json_lines_it_is_the_very_same(tmp_path: Path, name: str) -> None:
    source = transcript_of(tmp_path, LINES)

    copy_transcript(source, tmp_path / name)

    assert (tmp_path / name).read_bytes() == source.read_bytes()


@pytest.mark.parametrize("name", ["copy.jsonl", "copy.txt"])
def test_a_line_that_is_being_written_is_left_out(tmp_path: Path, name: str) -> None:
    source = transcript_of(tmp_path, LINES[:2])
    with source.open("ab") as file:
        file.write('{"pane": "rt", "text": "é'.encode()[:-1])

    copy_transcript(source, tmp_path / name)

    assert (tmp_path / name).read_bytes().count(b"\n") == 2
    assert (tmp_path / name).read_bytes().endswith(b"\n")


def test_copying_a_transcript_over_itself_leaves_it_as_it_is(tmp_path: Path) -> None:
    source = transcript_of(tmp_path, LINES)
    before = source.read_bytes()
    (tmp_path / "link.txt").symlink_to(source)

    copy_transcript(source, source)
    copy_transcript(source, tmp_path / "link.txt")

    assert source.read_bytes() == before


PANES = st.sampled_from(["you", "ai", "rt", "rt!", "sys"])


@given(
    lines=st.lists(
        st.builds(Shown, PANES, st.text("ab\r\n\u2028é", max_size=5), partial=st.booleans())
    )
)
def test_as_text_nothing_is_lost(
    tmp_path_factory: pytest.TempPathFactory, lines: list[Shown]
) -> None:
    folder = tmp_path_factory.mktemp("t")
    copy_transcript(transcript_of(folder, lines), folder / "x.txt")

    found = (folder / "x.txt").read_bytes().decode()

    for pane in ("you", "ai", "rt", "rt!", "sys"):
        mine = [row for row in found.split("\n") if row.startswith(f"{pane}| ")]
        written = "".join(each.text for each in lines if each.pane == pane)
        assert "".join(row.removeprefix(f"{pane}| ") for row in mine) == written.replace("\n", "")


async def test_without_a_session_there_is_no_transcript(tmp_path: Path, stage: Stage) -> None:
    stage.backstage.save_transcript(str(tmp_path / "x.txt"))
    stage.look()

    assert stage.told[-1] == m.Said("note", "there is no transcript yet")
    assert not (tmp_path / "x.txt").exists()


# ---------------------------------------------------------------- a session


@pytest.mark.sandbox
async def test_a_session_as_the_window_has_it(tmp_path: Path, stage: Stage) -> None:
    async with Lookalike("plain", reply=payload(ECHO)) as server:
        stage.backstage.desk.look(server.base)
        listed = await stage.first(m.Listed)
        assert isinstance(listed, m.Listed)
        stage.backstage.bootstrap(stage.outbox.begin(), listed.rows[0].model)
        wanted = await stage.first(m.ConsentWanted)
        assert isinstance(wanted, m.ConsentWanted)
        assert "rt" not in stage.text
        stage.backstage.answer(wanted.answer, True)
        stage.backstage.answer(wanted.answer, False)  # too late: it was answered
        await stage.until(lambda: "ready" in stage.text.get("rt", ""))

        stage.backstage.desk.send("hello")
        await stage.until(lambda: "you said hello" in stage.text["rt"])
        stage.backstage.save_transcript(str(tmp_path / "session.txt"))
        await stage.first(m.Done)
        stage.backstage.desk.send(":quit")
        await stage.until(lambda: "runtime ended" in stage.text["sys"])
        again = stage.outbox.begin()
        stage.backstage.run_again(again)
        await stage.until(lambda: stage.text["rt"].count("ready") == 2)
        await stage.close()

    assert "you| hello\nrt| you said hello\n" in (tmp_path / "session.txt").read_text()


@pytest.mark.sandbox
async def test_routes_and_grants_are_changed_by_clicks_and_by_lines_alike(
    tmp_path: Path, stage: Stage
) -> None:
    def told() -> b.Border | None:
        found = [each.border for each in stage.told if isinstance(each, b.Bordered)]
        return found[-1] if found else None

    def routes() -> dict[str, str]:
        border = told()
        return {op: route for op, route, _ in border.routes} if border else {}

    def grants() -> list[tuple[str, str]]:
        border = told()
        return [(kind, name) for kind, name, *_ in border.grants] if border else []

    (tmp_path / "notes ").mkdir()
    reply = payload(ECHO, routes={"fetch": "HOST", "env": "HOST"})
    async with Lookalike("plain", reply=reply) as server:
        stage.backstage.desk.look(server.base)
        listed = await stage.first(m.Listed)
        assert isinstance(listed, m.Listed)
        stage.backstage.bootstrap(stage.outbox.begin(), listed.rows[0].model)
        wanted = await stage.first(m.ConsentWanted)
        assert isinstance(wanted, m.ConsentWanted)
        stage.backstage.answer(wanted.answer, True)
        await stage.until(lambda: routes().get("fetch") == "HOST")
        stage.backstage.desk.send(":route fetch DENY")
        await stage.until(lambda: routes()["fetch"] == "DENY")

        stage.backstage.change_border("route", "fetch HOST")
        stage.backstage.change_border("grant", f"read {tmp_path}/notes /")
        await stage.until(lambda: routes()["fetch"] == "HOST" and grants())
        assert grants() == [("read", "notes ")]
        stage.backstage.change_border("revoke", "notes ")
        stage.backstage.change_border("grant", "fetch no host!")
        await stage.until(lambda: not grants() and "a host is named alone" in stage.text["sys"])
        stage.backstage.desk.send(":quit")
        await stage.until(lambda: told() is None)

    assert "fetch is HOST now" in stage.text["sys"]


@pytest.mark.sandbox
async def test_what_was_refused_can_be_mended(stage: Stage) -> None:
    async with Lookalike("plain", reply=["no", "no", "no", payload(ECHO)]) as server:
        stage.backstage.desk.settings = Settings(warm=False)
        stage.backstage.desk.look(server.base)
        listed = await stage.first(m.Listed)
        assert isinstance(listed, m.Listed)
        stage.backstage.bootstrap(stage.outbox.begin(), listed.rows[0].model)
        await stage.first(m.Refused)

        stage.backstage.mend(stage.outbox.begin())

        wanted = await stage.first(m.ConsentWanted)
        assert isinstance(wanted, m.ConsentWanted)
        assert [each["role"] for each in server.chats[-1]["messages"]][-2] == "assistant"
        stage.backstage.answer(wanted.answer, False)
        await stage.close()


@pytest.mark.parametrize("begin", ["run_again", "run_kept"])
async def test_what_can_not_begin_is_told_as_over(stage: Stage, begin: str) -> None:
    generation = stage.outbox.begin()
    if begin == "run_again":
        stage.backstage.run_again(generation)
    else:
        stage.backstage.run_kept(generation, "ab" * 32)
    stage.look()

    assert isinstance(stage.told[-1], m.Over)
    assert stage.told[-1].text


# ---------------------------------------------------------------- what is kept


def mode(file: Path) -> int:
    return stat.S_IMODE(file.stat().st_mode)


async def test_memory_and_history_are_kept_for_the_user_alone_and_come_back(
    state: Path, stage: Stage
) -> None:
    memory = Memory("1040x700+0+0", "/home/me\u3000", "tiny\nhttp://x", ("http://x",), True)
    histories = {"rt": History(["one", "twö\u2028"]), "ai": History(["hello"])}

    await stage.close(memory, histories)

    assert (mode(state), mode(state / memories.NAME), mode(state / HISTORY)) == (
        0o700,
        0o600,
        0o600,
    )
    assert memories.load(str(state / memories.NAME)) == memory._replace(folder="")
    found = await Stage().first(m.Ready)
    assert isinstance(found, m.Ready)
    back = past.load(found.history)
    assert {pane: each.entries for pane, each in back.items()} == {
        "rt": ("one", "twö\u2028"),
        "ai": ("hello",),
    }


async def test_what_was_kept_before_is_replaced_whole_and_becomes_private(
    state: Path, stage: Stage
) -> None:
    keep(state, "x" * 10_000).chmod(0o644)

    await stage.close(histories={"rt": History(["one"])})

    assert (state / HISTORY).read_text() == '{"pane": "rt", "text": "one"}\n'
    assert mode(state / HISTORY) == 0o600
    assert names_in(state) == [HISTORY, memories.NAME]


async def test_nothing_that_was_typed_is_kept_where_that_is_not_wanted(
    tmp_path: Path, state: Path
) -> None:
    write_settings(tmp_path, "[window]\nremember_input = false\n")
    stage = Stage()

    await stage.close(histories={"rt": History(["secret"])})

    assert names_in(state) == [memories.NAME]


async def test_what_can_not_be_kept_is_noted_and_the_end_comes_all_the_same(
    tmp_path: Path, stage: Stage
) -> None:
    (tmp_path / "state").write_text("")

    await stage.close(histories={"rt": History(["one"])})
    stage.look()

    notes = [each.text for each in stage.told if isinstance(each, m.Said)]
    assert [note.split(" ")[0] for note in notes] == [memories.NAME, HISTORY]


async def test_what_was_typed_can_be_forgotten(state: Path, stage: Stage) -> None:
    stage.backstage.forget_history()
    keep(state, "secret")

    stage.backstage.forget_history()
    stage.look()

    assert names_in(state) == []
    assert not any(isinstance(each, m.Complained) for each in stage.told)


async def test_what_can_not_be_forgotten_is_told(state: Path, stage: Stage) -> None:
    (state / HISTORY / "folder").mkdir(parents=True)

    stage.backstage.forget_history()
    stage.look()

    assert isinstance(stage.told[-1], m.Complained)


async def test_a_history_that_is_no_text_is_none(state: Path) -> None:
    (state / HISTORY).mkdir(parents=True)
    found = await Stage().first(m.Ready)
    assert isinstance(found, m.Ready)
    assert found.history == ""

    (state / HISTORY).rmdir()
    (state / HISTORY).write_bytes(b'\xff\xfe\n{"pane": "rt", "text": "x"}\n')
    found = await Stage().first(m.Ready)

    assert isinstance(found, m.Ready)
    assert json.loads(found.history.split("\n")[1]) == {"pane": "rt", "text": "x"}


def test_nothing_that_only_a_session_needs_is_imported_before_the_models_are_listed() -> None:
    """The payload's schema alone takes longer than a server needs to list its models."""
    program = "import sys, lmboot.gui.backstage; print(*sys.modules)"

    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )

    dear = {"pydantic", "lmboot.app.boot", "lmboot.gui.view", "pygments", "tomlkit", "keyring"}
    assert dear & set(done.stdout.split()) == set()
