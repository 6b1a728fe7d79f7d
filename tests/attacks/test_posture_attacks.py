"""Posture: sandbox.md, cases 98 to 101, and 56 and 71 where the kernel keeps the limits."""
# ruff: noqa: ASYNC240 (small files of the test's own; nothing else runs in its loop)

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from lmboot import cgroups
from lmboot.cgroups import Place
from lmboot.errors import SandboxFault
from lmboot.process import Ended
from lmboot.runtime.backends import bubblewrap
from lmboot.runtime.launcher import Launcher
from lmboot.runtime.policy import Limits
from lmboot.runtime.posture import choose, prove
from lmboot.runtime.run import Box, contained_bytes
from tests.runtime.guests import run, started
from tests.runtime.test_lifecycle import ROOT

pytestmark = [pytest.mark.attack, pytest.mark.sandbox]
PLACES = cgroups.find()
USES = {use for place in PLACES for use in place.uses}
IN_A_GROUP = pytest.mark.skipif(
    not {"memory", "pids"} <= USES, reason=f"this machine gives only {USES}"
)


@pytest.fixture(autouse=True)
def sandbox() -> str:
    """Have each of these once: they name their back ends themselves."""
    return "bubblewrap"


# ---------------------------------------------------------------- what stands in for bubblewrap


def a_fake(folder: Path, marker: Path) -> Path:
    """Put a bwrap into a folder that tells when it is run."""
    folder.mkdir(exist_ok=True)
    fake = folder / "bwrap"
    fake.write_text(f"#!/bin/sh\ntouch {marker}\nexit 0\n")
    fake.chmod(0o755)
    return fake


@pytest.mark.case(98)
async def test_case_98_a_bwrap_that_stands_first_in_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    marker = tmp_path / "was run"
    a_fake(tmp_path / "first", marker)
    monkeypatch.setenv("PATH", f"{tmp_path / 'first'}:{os.environ['PATH']}")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    guest = await run("print('fine')")

    assert (guest.text, marker.exists()) == ("fine\n", False)


@pytest.mark.parametrize("mode", [0o757, 0o775, 0o777], ids=oct)
@pytest.mark.case(98)
async def test_case_98_a_bwrap_that_others_can_write(
    mode: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    marker = tmp_path / "was run"
    a_fake(tmp_path / "trusted", marker).chmod(mode)
    monkeypatch.setattr(bubblewrap._binary, "__defaults__", ((str(tmp_path / "trusted"),),))

    with pytest.raises(SandboxFault, match="can be changed by others than root") as caught:
        await Launcher.prepare("bubblewrap")

    assert "chmod 755" in caught.value.hint
    assert not marker.exists()
    assert (await choose("auto", no_border=False)).backend.name == "landlock"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
@pytest.mark.case(98)
async def test_case_98_a_bwrap_that_is_another_user_s(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.chown(a_fake(tmp_path / "trusted", tmp_path / "was run"), 54321, 54321)
    monkeypatch.setattr(bubblewrap._binary, "__defaults__", ((str(tmp_path / "trusted"),),))

    with pytest.raises(SandboxFault, match="can be changed by others than root"):
        await Launcher.prepare("bubblewrap")


# ---------------------------------------------------------------- no namespaces to be had

# A user namespace of its own, in which no further one can be made: as in a container, or where
# the system's settings forbid it. All of this machine's users are the same in it.
ENCLOSED = 'read go; exec sh -c \'echo 0 >/proc/sys/user/max_user_namespaces; exec "$@"\' sh "$@"'
CHOICE = """
import asyncio, json, sys
from lmboot.errors import SandboxFault
from lmboot.runtime.backends import landlock
from lmboot.runtime.launcher import Job, Launcher
from lmboot.runtime.policy import Limits
from lmboot.runtime.registry import BACKENDS
from lmboot.runtime.run import Job

async def main(sandbox, without_others):
    if without_others:
        landlock.version = lambda: 5
        del BACKENDS["wasm"]  # it needs nothing of the system
    try:
        launcher = await Launcher.prepare(sandbox)
    except SandboxFault as fault:
        return {"refused": str(fault), "hint": fault.hint}
    await launcher.close()
    return {"chosen": launcher.backend}

print(json.dumps(asyncio.run(main(sys.argv[1], len(sys.argv) > 2))))
"""


def chosen_without_namespaces(cache: Path, *words: str) -> dict[str, str]:
    process = subprocess.Popen(
        ["unshare", "--user", "sh", "-c", ENCLOSED, "sh", sys.executable, "-c", CHOICE, *words],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "XDG_CACHE_HOME": str(cache)},
    )
    own = os.readlink("/proc/self/ns/user")
    with process:
        assert process.stdin is not None
        assert process.stdout is not None
        while os.readlink(f"/proc/{process.pid}/ns/user") == own:
            pass
        for kind in ("uid_map", "gid_map"):
            Path(f"/proc/{process.pid}/{kind}").write_text("0 0 65536")
        said, _ = process.communicate(b"go\n", timeout=100)
    return dict(json.loads(said))


ROOT_ONLY = pytest.mark.skipif(os.geteuid() != 0, reason="only root can map all users")


@ROOT_ONLY
@pytest.mark.case(99)
def test_case_99_without_namespaces_the_next_back_end_is_taken(tmp_path: Path) -> None:
    assert chosen_without_namespaces(tmp_path, "auto") == {"chosen": "landlock"}


@ROOT_ONLY
def test_case_99_what_was_named_is_refused_with_the_remedy(tmp_path: Path) -> None:
    found = chosen_without_namespaces(tmp_path, "bubblewrap")

    assert "user.max_user_namespaces is 0" in found["refused"]
    assert "sysctl user.max_user_namespaces" in found["hint"]


@ROOT_ONLY
@pytest.mark.case(99)
def test_case_99_where_nothing_is_left_nothing_is_run(tmp_path: Path) -> None:
    found = chosen_without_namespaces(tmp_path, "auto", "without others")

    assert found["refused"].startswith("no sandbox is usable here; bubblewrap: ")
    assert "landlock: " in found["refused"]


# ---------------------------------------------------------------- what only says that it isolates

LIES = {
    "starts what it is given": (
        '#!/bin/sh\nwhile [ "$1" != -- ]; do shift; done\nshift\nexec "$@"\n'
    ),
    "starts the launcher itself": (
        "#!/bin/sh\ncat <&8 >$TMPDIR/lie.py\nexec /usr/bin/python3 $TMPDIR/lie.py\n"
    ),
    "tells a wrong inside": (
        "#!/bin/sh\necho '{\"child-pid\": 1}' >&7\ncat <&8 >/tmp/lie.py\n"
        "exec /usr/bin/python3 /tmp/lie.py\n"
    ),
    "does nothing": "#!/bin/sh\nexit 0\n",
    "is ready at once": "#!/bin/sh\necho READY >&3\nexit 0\n",
}


@pytest.mark.parametrize("lie", LIES)
@pytest.mark.case(100)
async def test_case_100_a_back_end_that_lies_is_refused(lie: str, tmp_path: Path) -> None:
    wrapper = tmp_path / "bwrap"
    wrapper.write_text(LIES[lie].replace("$TMPDIR", "/tmp"))
    wrapper.chmod(0o755)
    for folder in (tmp_path, *tmp_path.parents):
        if folder.owner() == "root" and folder != Path("/tmp") and "pytest" in str(folder):
            folder.chmod(0o755)
    backend = replace(bubblewrap.find(), binary=str(wrapper))

    proven = await prove(backend)

    Path("/tmp/lie.py").unlink(missing_ok=True)
    assert not proven.usable
    assert proven.reason


# ---------------------------------------------------------------- limits that can't be set


@pytest.mark.parametrize("name", ["bubblewrap", "landlock"])
@pytest.mark.case(101)
async def test_case_101_where_no_group_can_be_made_the_posture_says_so(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was found, and can't be had when it counts: what is proven is proven without."""
    monkeypatch.setattr(cgroups, "find", lambda: (Place(str(tmp_path), 1, ("memory", "pids")),))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    chosen = await choose(name, no_border=False)

    assert chosen.properties["mem_total"] == "partial"
    assert chosen.places == ()


@pytest.mark.case(101)
async def test_case_101_a_run_never_goes_on_with_less_than_was_proven(tmp_path: Path) -> None:
    with pytest.raises(SandboxFault, match=r"cgroup\.procs"):
        await Box.open(bubblewrap.find(), places=(Place(str(tmp_path), 1, ("memory",)),))

    assert list(tmp_path.iterdir()) in ([], [tmp_path / "cgroup.procs"])


@IN_A_GROUP
@pytest.mark.case(101)
async def test_case_101_where_the_kernel_keeps_them_the_posture_says_so_too() -> None:
    proven = await prove(bubblewrap.find(), PLACES)

    assert (proven.grouped, proven.properties["mem_total"]) == (True, "enforced")
    assert proven.tried["ended"] == "by the kernel: memory"


# ---------------------------------------------------------------- limits that the kernel keeps

BURST = """
import os
for _ in range(8):
    if os.fork() == 0:
        held = bytearray(150 << 20)
        os.write(1, b"held")
        os._exit(0)
for _ in range(8):
    os.wait()
"""


@IN_A_GROUP
@pytest.mark.parametrize("name", ["bubblewrap", "landlock", "none"])
@pytest.mark.case(56)
async def test_case_56_a_burst_between_two_looks_is_stopped_by_the_kernel(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody looks in this run: eight times 150 MB never stand at once beside 100 allowed."""
    limits = Limits(memory_mb=100)
    monkeypatch.setattr("lmboot.runtime.run.watched", lambda limits, engine: unwatched(limits))

    guest = await run(BURST, limits=limits, sandbox=name)

    assert guest.ended == Ended(137, "memory", clean=True)
    assert guest.text.count("held") < 8


def unwatched(limits: Limits) -> dict[str, float | None]:
    """Return limits that nobody watches; the kernel's are among them."""
    rest = dict.fromkeys(("memory", "cpu", "wall", "inodes"))
    return {**rest, "contained": contained_bytes(limits), "processes": limits.processes}


@IN_A_GROUP
@pytest.mark.case(56)
async def test_case_56_memory_that_no_process_has_mapped_is_counted() -> None:
    """Shared anonymous pages, dropped from the page tables: no /proc of a process shows them."""
    program = """
        import mmap, time
        MADV_DONTNEED = 4
        held = [mmap.mmap(-1, 8 << 20) for _ in range(40)]
        for each in held:
            each.write(bytes(8 << 20))
            each.madvise(MADV_DONTNEED)
        time.sleep(60)
        """

    guest = await run(program, limits=Limits(memory_mb=128, wall_seconds=50))

    assert guest.ended == Ended(137, "memory", clean=True)


@pytest.mark.skipif("cpu" not in USES, reason=f"this machine gives only {USES}")
@pytest.mark.case(71)
async def test_case_71_whatever_spins_has_the_share_of_one() -> None:
    """However many they are: they are in a group, which is one among the others."""
    program = (
        "import os\nprint('ready', flush=True)\nwhile True: os.fork() if os.getpid() < 9 else 0"
    )
    async with started(program, limits=Limits(cpu_seconds=60)) as guest:
        await guest.until(b"ready\n")
        below = await asyncio.to_thread(psutil.Process().children, recursive=True)
        groups = [_cpu_group(process.pid) for process in below]

        await guest.stop()

    inside = [group for group in groups if cgroups.PREFIX in group]
    assert len(inside) >= 3  # bubblewrap's two, and the runtime's
    assert len(set(inside)) == 1
    assert len(groups) > len(inside)  # the supervisor, which stays outside


def _cpu_group(pid: int) -> str:
    """Return the path of a process's group of the CPU's controller."""
    try:
        lines = Path(f"/proc/{pid}/cgroup").read_text().splitlines()
    except OSError:
        return ""
    found = [line.split(":", 2) for line in lines]
    return next((path for _, names, path in found if "cpu" in names.split(",")), found[-1][2])
