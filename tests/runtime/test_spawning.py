"""A program of the host's, run for a runtime in a second sandbox; real sandboxes."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from lmboot.errors import OperationRefused, SandboxFault
from lmboot.runtime.grants import Grants
from lmboot.runtime.launcher import Launcher
from lmboot.runtime.operations import Permit, checked
from lmboot.runtime.policy import Limits
from lmboot.runtime.programs import located, runs_others
from lmboot.runtime.shares import MOST_LIVE, OUTPUT_BYTES
from lmboot.runtime.spawning import Spawn
from tests.leaks import nothing_left
from tests.runtime.brokers import codes, until
from tests.runtime.persons import asked

pytestmark = pytest.mark.sandbox

SORT, SLEEP = (os.path.realpath(f"/usr/bin/{name}") for name in ("sort", "sleep"))


class Free:
    """A request that rests on nothing and may have its effect."""

    permit: Permit | None = None

    def commit(self) -> None:
        return

    def redirected(self, url: str) -> None:
        return


@pytest.fixture(autouse=True)
def _clean() -> Iterator[None]:
    with nothing_left():
        yield


@pytest.fixture(params=["bubblewrap", "landlock"])
async def spawn(request: pytest.FixtureRequest) -> AsyncIterator[Spawn]:
    """Spawn beside a runtime's own sandbox, of either kind."""
    launcher = await Launcher.prepare(request.param)
    spawn = Spawn(Grants(), launcher.beside, Limits(memory_mb=256), lambda text: None)
    yield spawn
    await spawn.close()
    await launcher.close()


def children_named(name: str) -> bool:
    return any(each.name() == name for each in psutil.Process().children(recursive=True))


async def run(spawn: Spawn, *argv: str, **others: Any) -> dict[str, Any]:
    return await spawn.perform(checked(spawn.arguments, {"argv": [*argv], **others}), Free())


async def test_a_program_reads_what_it_is_given_and_its_answer_comes_back(spawn: Spawn) -> None:
    sorted_ = await run(spawn, SORT, "-r", stdin="elm\noak\nash\n")
    counted = await run(spawn, "/usr/bin/wc", "-c", "a/b.txt", files={"a/b.txt": "naïve"})
    failed = await run(spawn, "/usr/bin/cat", "no such file")

    assert sorted_ == {"code": 0, "stdout": "oak\nelm\nash\n", "stderr": ""}
    assert counted["stdout"].split() == ["6", "a/b.txt"]
    assert (failed["code"], failed["stdout"]) == (1, "")
    assert "no such file" in failed["stderr"]


async def test_it_sees_nothing_but_its_own_files(spawn: Spawn, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("hidden")

    listed = await run(spawn, "/usr/bin/ls", "-A", files={"own.txt": "x"})
    read = await run(spawn, "/usr/bin/cat", str(secret))
    env = await run(spawn, "/usr/bin/env")
    open_ = await run(spawn, "/usr/bin/ls", "-1", "/proc/self/fd")

    assert listed["stdout"].split() == ["own.txt"]
    assert (read["code"], "hidden" in read["stdout"]) == (1, False)
    assert "LMBOOT" not in env["stdout"]
    assert len(open_["stdout"].split()) <= 4  # 0, 1, 2, and the folder that ls reads


async def test_arguments_are_arguments_and_no_shell_sees_them(spawn: Spawn) -> None:
    told = await run(spawn, "/usr/bin/echo", "$(id)", "; rm -rf /", "`x`", "a b")

    assert told["stdout"] == "$(id) ; rm -rf / `x` a b\n"


async def test_too_much_output_ends_it(spawn: Spawn) -> None:
    with pytest.raises(OperationRefused, match="limit of output"):
        await run(spawn, "/usr/bin/yes")
    just = await run(spawn, "/usr/bin/head", "-c", str(OUTPUT_BYTES), "/dev/zero")
    assert len(just["stdout"]) == OUTPUT_BYTES


async def test_the_wall_clock_ends_it() -> None:
    launcher = await Launcher.prepare("bubblewrap")
    spawn = Spawn(Grants(), launcher.beside, Limits(wall_seconds=0.5), lambda text: None)
    try:
        with pytest.raises(OperationRefused, match="limit of wall"):
            await run(spawn, "/usr/bin/sleep", "60")
    finally:
        await spawn.close()
        await launcher.close()


# ---------------------------------------------------------------- one run's limits for them all


@asynccontextmanager
async def spawning(limits: Limits) -> AsyncIterator[Spawn]:
    launcher = await Launcher.prepare("bubblewrap")
    spawn = Spawn(Grants(), launcher.beside, limits, lambda text: None)
    try:
        yield spawn
    finally:
        await spawn.close()
        await launcher.close()


async def test_programs_one_after_another_use_up_one_sum_of_cpu_time() -> None:
    refused: list[OperationRefused] = []
    async with spawning(Limits(cpu_seconds=1)) as spawn:
        while not refused or refused[-1].code == "limit":
            with pytest.raises(OperationRefused) as one:
                await run(spawn, "/usr/bin/sha256sum", "/dev/zero")
            refused.append(one.value)

        with pytest.raises(OperationRefused, match="used up its limit of CPU time"):
            await run(spawn, "/usr/bin/echo")

    assert {str(each) for each in refused[:-1]} == {
        "the program went over its limit of cpu and was ended"
    }
    assert (refused[-1].code, 1 <= len(refused[:-1]) <= MOST_LIVE) == ("quota", True)


async def test_what_a_program_did_not_use_is_left_for_the_next_ones(spawn: Spawn) -> None:
    share = spawn._shares._cpu.total // MOST_LIVE
    for count in range(MOST_LIVE + 1):  # as many whole shares there are not
        assert (await run(spawn, "/usr/bin/echo"))["code"] == 0
        assert count < spawn._shares._cpu.taken < share
    assert spawn._shares._output.taken == MOST_LIVE + 1


async def test_two_that_live_at_once_share_the_memory() -> None:
    keeps = ("/usr/bin/head", "-c", f"-{160 << 20}", "/dev/zero")  # in memory, before it prints
    async with spawning(Limits(memory_mb=256)) as spawn:
        ended = await asyncio.gather(*[run(spawn, *keeps) for _ in "12"], return_exceptions=True)

    assert {str(each) for each in ended} == {
        "the program went over its limit of memory and was ended"
    }


async def test_what_could_not_be_set_up_used_nothing_and_what_is_withdrawn_its_whole_share() -> (
    None
):
    async def broken(limits: Limits) -> Any:
        raise SandboxFault("no room")

    spawn = Spawn(Grants(), broken, Limits(cpu_seconds=4), lambda text: None)
    with pytest.raises(OperationRefused, match="could not be set up"):
        await run(spawn, "/usr/bin/echo")
    assert (spawn._shares._cpu.taken, spawn._shares._output.taken) == (0, 0)

    async with spawning(Limits(cpu_seconds=4)) as spawn:
        running = asyncio.create_task(run(spawn, "/usr/bin/sleep", "600"))
        await until(lambda: children_named("sleep"), 60)
        running.cancel()
        await spawn.close()
        assert spawn._shares._cpu.taken == 1000


async def test_it_is_asked_for_granted_and_ended_by_a_stricter_route() -> None:
    launcher = await Launcher.prepare("bubblewrap")
    try:
        async with asked() as it:
            spawn = Spawn(it.grants, launcher.beside, Limits(), it.person.tell)
            it.scene.broker._operations["spawn"] = spawn
            it.grants.add("spawn", SLEEP)
            await it.scene.guest.ask("spawn", argv=["/usr/bin/sleep", "600"])
            await until(lambda: spawn._live, 60)
            it.scene.broker.flip("spawn", "EMULATE")

            assert codes([await it.scene.guest.answer()]) == ["route_changed"]
            await spawn.close()
    finally:
        await launcher.close()


async def test_four_run_at_once_and_no_fifth() -> None:
    launcher = await Launcher.prepare("bubblewrap")
    try:
        async with asked() as it:
            spawn = Spawn(it.grants, launcher.beside, Limits(), it.person.tell)
            it.scene.broker._operations["spawn"] = spawn
            it.grants.add("spawn", SLEEP)
            for _ in range(5):
                await it.scene.guest.ask("spawn", argv=["/usr/bin/sleep", "600"])

            assert codes([await it.scene.guest.answer()]) == ["busy"]
            await spawn.close()
    finally:
        await launcher.close()


# ---------------------------------------------------------------- which programs


def test_a_program_is_known_by_where_it_really_lies() -> None:
    assert located("/bin/sort") == located("/usr/bin/sort") == SORT


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("sort", "bad_argument"),
        ("./sort", "bad_argument"),
        ("", "bad_argument"),
        ("/usr/bin/../bin/sort", "bad_argument"),
        ("/usr/bin/sort\0", "bad_argument"),
        ("/usr/bin/so\u202ert", "bad_argument"),
        ("/usr/bin", "bad_program"),
        ("/usr/bin/no-such-program", "not_found"),
        ("/etc/passwd", "bad_program"),
        ("/proc/self/exe/x", "not_found"),
        ("C:\\Windows\\cmd.exe", "bad_argument"),
        ("run.bat", "bad_argument"),
    ],
)
def test_what_is_no_program_to_run_is_refused(path: str, code: str) -> None:
    with pytest.raises(OperationRefused) as refused:
        located(path)

    assert refused.value.code == code


@pytest.mark.parametrize("mode", [0o777, 0o775, 0o644, 0o4755, 0o2755])
def test_a_program_that_others_can_change_or_that_changes_rights_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: int
) -> None:
    program = tmp_path / "tool"
    program.write_text("#!/bin/true")
    monkeypatch.setattr("lmboot.runtime.programs.WITHIN", f"{os.path.realpath(tmp_path)}/")
    program.chmod(0o755)
    assert located(str(program)) == str(program)
    program.chmod(mode)

    with pytest.raises(OperationRefused, match="this program"):
        located(str(program))


@pytest.mark.parametrize(
    "name",
    ["sh", "bash", "dash", "python3", "python3.11", "perl5.36.0", "node", "env", "xargs", "find",
     "busybox", "mawk", "sed", "ld-linux-x86-64.so.2", "git", "vim.basic", "flock", "ionice",
     "taskset", "chrt", "setarch", "linux32", "x86_64", "setpriv", "prlimit", "choom", "run-parts",
     "dbus-run-session", "fakeroot", "fakeroot-sysv", "bwrap", "podman", "docker", "tmux",
     "screen", "npx", "npm", "pip3", "pipx", "cmake", "ninja", "make", "split", "tar", "parallel",
     "watch", "entr", "script", "expect", "ssh", "socat", "ncat", "nc.openbsd", "rsync", "gdb",
     "strace", "ltrace", "perf", "perf_6.1", "valgrind", "toybox", "openvt", "systemd-run", "at",
     "batch", "nsenter", "unshare", "chroot", "capsh", "su", "sudo", "doas", "pkexec", "runuser",
     "setsid", "nohup", "timeout", "time", "nice", "stdbuf", "vi", "ed", "less", "more", "man",
     "gawk", "ruby3.1", "lua5.4", "php8.2", "tclsh8.6", "x86_64-linux-gnu-gcc-12", "gcc", "g++",
     "clang++-14", "m4", "dc", "openssl", "wget", "R", "Rscript", "xvfb-run", "start-stop-daemon"],
)  # fmt: skip
def test_what_runs_others_is_known(name: str) -> None:
    assert runs_others(f"/usr/bin/{name}")


@pytest.mark.parametrize(
    "option", ["--compress-program=sh", "--compress-program", "--comp=sh", "--com", "--c=x"]
)
def test_an_option_that_would_run_another_is_refused_even_where_the_program_is_granted(
    option: str,
) -> None:
    grants = Grants()
    grants.add("spawn", SORT)
    spawn = Spawn(grants, _no_sandbox, Limits(), lambda text: None)

    with pytest.raises(OperationRefused, match="another program"):
        spawn.needs({"argv": [SORT, option, "sh"]})
    assert spawn.needs({"argv": [SORT, "-c", "-", "--", "--reverse"]})


async def _no_sandbox(limits: Limits) -> Any:
    raise AssertionError("nothing is run here")


@pytest.mark.parametrize(
    "name",
    ["sort", "wc", "grep", "cat", "jq", "date", "hash", "shred", "sha256sum", "gzip", "xz", "cut",
     "tr", "uniq", "head", "ls", "diff", "base64", "tee", "echo", "file", "unzip", "[", "7z"],
)  # fmt: skip
def test_what_does_one_thing_is_not(name: str) -> None:
    assert not runs_others(f"/usr/bin/{name}")
