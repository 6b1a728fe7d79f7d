"""Windows' sandbox, as values: nothing of it can run here, and nothing of it was ever run."""

from __future__ import annotations

import ctypes
import importlib.util
import os
import struct
import subprocess
import sys
import threading
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from lmboot import system, windows
from lmboot.errors import SandboxFault, UsageFault
from lmboot.process import StartFailed
from lmboot.runtime.backends import Plan, appcontainer
from lmboot.runtime.backends.appcontainer import AppContainer
from lmboot.runtime.policy import Limits
from lmboot.runtime.run import Job, packed
from lmboot.windows import Container
from lmboot.windows_child import Limits as Watched
from lmboot.windows_child import Lines, held_in
from lmboot.windows_workspace import Workspace, copy_out

PYTHON = "C:\\Users\\u\\AppData\\Local\\Programs\\Python\\Python312"
WORKSPACE = "C:\\Users\\u s\\AppData\\Local\\lmboot\\Cache\\workspaces\\run-1a2b"
SID = "S-1-15-2-1-2-3-4-5-6-7"


def a_container() -> AppContainer:
    return AppContainer(
        python=f"{PYTHON}\\python.exe",
        prefix=PYTHON,
        system_root="C:\\Windows",
        pipes=b"PIPES",
        start=b"START",
        library=b"LIBRARY",
    )


def test_what_is_started_in_the_container_is_exactly_this() -> None:
    plan = a_container().plan(disk_bytes=64 << 20, workspace=WORKSPACE)

    assert plan == Plan(
        argv=(
            *(f"{PYTHON}\\python.exe", "-I", "-S", "-B", "-u", "-X", "utf8"),
            f"{WORKSPACE}\\launch\\pipes.py",
        ),
        env={
            "PATH": "C:\\Windows\\System32;C:\\Windows",
            "LANG": "C.UTF-8",
            "HOME": f"{WORKSPACE}\\app",
            "TMPDIR": f"{WORKSPACE}\\tmp",
            "TEMP": f"{WORKSPACE}\\tmp",
            "TMP": f"{WORKSPACE}\\tmp",
            "SYSTEMROOT": "C:\\Windows",
            "LMBOOT_FD": "3",
        },
        library=f"{WORKSPACE}\\launch\\lib",
        contents={},
        files={
            "launch/pipes.py": b"PIPES",
            "launch/start.py": b"START",
            "launch/lib/guest_sys.py": b"LIBRARY",
        },
        cwd=f"{WORKSPACE}\\app",
        folders=(f"{WORKSPACE}\\app", f"{WORKSPACE}\\tmp"),
        bounds=(64 << 20, 16 << 20),
        container=Container(
            name="lmboot.run-1a2b",
            readable=(PYTHON, f"{WORKSPACE}\\launch"),
            writable=(f"{WORKSPACE}\\app", f"{WORKSPACE}\\tmp"),
        ),
    )


def test_a_container_s_name_is_one_that_windows_takes() -> None:
    container = a_container().plan(disk_bytes=1, workspace="C:\\w\\run-" + "f" * 16).container

    assert container is not None
    assert len(container.name) <= 64
    assert set(container.name) <= set("abcdefghijklmnopqrstuvwxyz0123456789.-")


def test_the_grants_are_for_this_container_alone_and_are_taken_back() -> None:
    container = Container("lmboot.run-1", readable=("C:\\p",), writable=("C:\\w (x)\\app",))
    icacls = "C:\\Windows\\System32\\icacls.exe"

    assert list(windows.grants(container, SID, icacls=icacls)) == [
        (icacls, "C:\\p", "/grant", f"*{SID}:(OI)(CI)(RX)", "/Q"),
        (icacls, "C:\\w (x)\\app", "/grant", f"*{SID}:(OI)(CI)(M)", "/Q"),
    ]
    assert list(windows.revocations(container, SID, icacls=icacls)) == [
        (icacls, "C:\\p", "/remove:g", f"*{SID}", "/Q"),
    ]


# ---------------------------------------------------------------- structures and values


@pytest.mark.skipif(ctypes.sizeof(ctypes.c_void_p) != 8, reason="the sizes are of 64 bits")
@pytest.mark.parametrize(
    ("structure", "size"),
    [
        (windows.BasicLimits, 64),
        (windows.ExtendedLimits, 144),
        (windows.CpuRate, 8),
        (windows.CompletionPort, 16),
        (windows.Accounting, 48),
        (windows.SecurityCapabilities, 24),
        (windows.StartupInfo, 104),
        (windows.StartupInfoEx, 112),
        (windows.ProcessInformation, 24),
    ],
)
def test_structures_have_the_sizes_of_the_sdk(
    structure: type[ctypes.Structure], size: int
) -> None:
    assert ctypes.sizeof(structure) == size


def test_fields_lie_where_the_sdk_has_them() -> None:
    offsets = {
        (windows.BasicLimits, "limit_flags"): 16,
        (windows.BasicLimits, "active_process_limit"): 40,
        (windows.ExtendedLimits, "process_memory_limit"): 112,
        (windows.ExtendedLimits, "job_memory_limit"): 120,
        (windows.Accounting, "active_processes"): 40,
        (windows.StartupInfo, "flags"): 60,
        (windows.StartupInfo, "stdin"): 80,
        (windows.StartupInfoEx, "attributes"): 104,
        (windows.SecurityCapabilities, "count"): 16,
        (windows.ProcessInformation, "pid"): 16,
    }

    assert {key: getattr(key[0], key[1]).offset for key in offsets} == offsets


def test_a_job_bounds_the_tree_ends_with_its_last_handle_and_can_t_be_left() -> None:
    limits = windows.extended_limits(memory=512 << 20, processes=64, cpu=600)

    assert limits.basic.limit_flags == 0x2000 | 0x400 | 0x200 | 0x100 | 0x8 | 0x4
    assert limits.basic.limit_flags & (0x800 | 0x1000) == 0  # neither breakaway
    assert (limits.job_memory_limit, limits.process_memory_limit) == (512 << 20, 512 << 20)
    assert limits.basic.active_process_limit == 64
    assert limits.basic.per_job_user_time == 600 * 10**7


def test_a_job_without_limits_still_ends_with_its_last_handle() -> None:
    limits = windows.extended_limits(memory=None, processes=None, cpu=None)

    assert limits.basic.limit_flags == 0x2000 | 0x400


def test_the_processors_are_capped_and_all_of_the_user_s_desk_is_out_of_reach() -> None:
    assert bytes(windows.cpu_rate()) == struct.pack("=II", 0x1 | 0x4, 9000)
    assert windows.ALL_UI_RESTRICTIONS == 0x1 | 0x2 | 0x4 | 0x8 | 0x10 | 0x20 | 0x40 | 0x80


def test_a_process_is_created_suspended_and_without_a_window() -> None:
    assert windows.creation(contained=True) == 0x4 | 0x200 | 0x400 | 0x00080000 | 0x08000000
    # Without a console: whose process would be one more in the job.
    assert windows.creation(contained=False) == 0x4 | 0x200 | 0x400 | 0x00080000 | 0x8


def test_an_environment_is_a_block_of_what_was_given_and_nothing_else() -> None:
    assert windows.environment_block({"b": "2 ü", "A": "=x"}) == "A==x\0b=2 ü\0"


@pytest.mark.parametrize("env", [{"": "x"}, {"A=B": "x"}, {"A": "x\0SECRET=1"}, {"A\0B": "x"}])
def test_nothing_slips_into_an_environment(env: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="can't be an environment's variable"):
        windows.environment_block(env)


# ---------------------------------------------------------------- where it can't be used


def test_elsewhere_it_is_told_what_it_is() -> None:
    with pytest.raises(SandboxFault, match="part of Windows"):
        appcontainer.find()


@pytest.mark.parametrize(
    ("facts", "means"),
    [
        ({"version": (6, 3)}, "older than Windows 10"),
        ({"there": False}, "is not there"),
        ({"python": "C:\\Windows\\py.exe"}, "no python.exe that could be contained"),
        ({"python": "C:\\Program Files\\WindowsApps\\P\\python.exe"}, "Microsoft Store"),
    ],
)
def test_a_machine_that_can_t_contain_it_is_told_so(facts: dict[str, object], means: str) -> None:
    here: dict[str, object] = {
        "version": (10, 0),
        "python": f"{PYTHON}\\python.exe",
        "there": True,
        "system_root": "C:\\Windows",
    }

    with pytest.raises(SandboxFault, match=means) as caught:
        appcontainer.found(**{**here, **facts})  # type: ignore[arg-type]  # a table of facts

    assert caught.value.hint


def test_a_python_of_the_user_s_own_is_taken_as_it_is() -> None:
    taken = appcontainer.found(
        version=(10, 0), python=f"{PYTHON}\\python.exe", there=True, system_root="C:\\Windows"
    )

    assert (taken.python, taken.prefix) == (f"{PYTHON}\\python.exe", PYTHON)
    assert b"LMBOOT_PIPES" in taken.pipes


@pytest.mark.parametrize(("said", "hint"), [("icacls.exe failed", "just for me"), ("x", "doctor")])
def test_a_failure_is_told_with_its_remedy(said: str, hint: str) -> None:
    means, remedy = a_container().remedy(said)

    assert said in means
    assert hint in remedy


# ---------------------------------------------------------------- what is watched


@pytest.mark.parametrize(
    ("now", "cpu", "held", "limit"),
    [
        (11.0, 1.0, {"app": 5}, None),
        (21.0, 1.0, {}, "wall"),
        (11.0, 3.0, {}, "cpu"),
        (11.0, 0.0, {"app": 11}, "disk"),
        (11.0, 0.0, {"other": 99}, None),
    ],
)
def test_time_and_disk_are_judged_here(
    now: float, cpu: float, held: dict[str, int], limit: str | None
) -> None:
    watched = Watched({"wall": 10.0, "cpu": 2.0, "memory": 1.0}, born=10.5)

    assert watched.exceeded(now, cpu=cpu, held=held, bounds={"app": 10}) == limit


def test_a_limit_that_is_none_is_none() -> None:
    watched = Watched({"wall": None, "cpu": None}, born=0.0)

    assert watched.exceeded(1e9, cpu=1e9, held={}, bounds={}) is None


def test_what_a_folder_holds_is_counted_and_no_link_is_followed(tmp_path: Path) -> None:
    (tmp_path / "in/deep").mkdir(parents=True)
    (tmp_path / "in/deep/file").write_bytes(bytes(70_000))
    before = held_in(str(tmp_path / "in"))
    (tmp_path / "in/link").symlink_to(tmp_path)

    assert 70_000 <= before < 100_000
    assert held_in(str(tmp_path / "in")) < before + 1000
    assert held_in(str(tmp_path / "absent")) == 0


def test_lines_are_taken_whole_and_what_is_behind_them_is_kept() -> None:
    lines = Lines()

    lines.feed(b"READY a")
    assert lines.take() is None
    lines.feed(b"b\nRUN\nrest")
    assert (lines.take(), lines.take(), lines.take()) == (b"READY ab", b"RUN", None)
    assert lines.rest == b"rest"


@pytest.mark.parametrize("data", [b"", bytes(1 << 18)])
def test_a_line_that_never_ends_is_no_sign_of_life(data: bytes) -> None:
    with pytest.raises(StartFailed, match="no proper sign of life"):
        Lines().feed(data)


# ---------------------------------------------------------------- the launcher inside


@pytest.fixture
def pipes() -> ModuleType:
    """The launcher's twin as a module: all but what only Windows has runs anywhere."""
    place = Path(appcontainer.__file__).parents[1] / "guest/pipes.py"
    spec = importlib.util.spec_from_file_location("pipes_under_test", place)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


LAUNCH = """
import os, sys
sys.path.insert(0, sys.argv[1])
import pipes, start
library, limits = pipes.prepare(int(sys.argv[2]), int(sys.argv[3]), start.unpack)
print(library, sys.argv, os.environ["LMBOOT_FD"], os.environ["LMBOOT_ROUTES"], os.listdir("."))
"""


def launched(folder: Path, data: bytes, announced: int | None = None) -> tuple[bytes, str, str]:
    """Let the launcher talk to a host over two pipes; return (what it said, stdout, the fds)."""
    guest = Path(appcontainer.__file__).parents[1] / "guest"
    (reading, to_guest), (from_guest, writing) = os.pipe(), os.pipe()
    child = subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", LAUNCH, str(guest), str(reading), str(writing)],
        pass_fds=[reading, writing],
        cwd=folder,
        stdout=subprocess.PIPE,
        text=True,
    )
    os.close(reading)
    os.close(writing)
    count = len(data) if announced is None else announced
    with open(to_guest, "wb") as host, open(from_guest, "rb") as heard, child:
        host.write(b"nonce\nGO %d\n" % count + data)
        host.close()
        said = heard.read()
        assert child.stdout is not None
        out = child.stdout.read()
    return said, out, f"{reading},{writing}"


def a_payload() -> bytes:
    files = (("main.py", b"print(1)"), ("in/deep.txt", b"a\r\nb"))
    job = Job(files, ("main.py", "x y"), Limits(), {"time": "HOST"})
    return b"n" * 32 + packed(job, Plan(argv=(), env={}, library="LIB", contents={}), unpack=True)


def test_the_launcher_unpacks_what_comes_over_the_pipe(tmp_path: Path) -> None:
    said, out, ends = launched(tmp_path, a_payload())

    assert said == b"READY nonce\nRUN\n"
    assert out == f"LIB ['main.py', 'x y'] {ends} time=HOST {os.listdir(tmp_path)}\n"
    assert (tmp_path / "in/deep.txt").read_bytes() == b"a\r\nb"


def test_a_payload_that_is_none_is_told_as_a_fault_and_nothing_runs(tmp_path: Path) -> None:
    said, out, _ = launched(tmp_path, b"n" * 32 + b"7:broken")

    assert said.startswith(b"READY nonce\nFAULT ")
    assert (out, os.listdir(tmp_path)) == ("", [])


def test_a_host_that_hangs_up_halfway_ends_the_launcher(tmp_path: Path) -> None:
    said, out, _ = launched(tmp_path, a_payload()[:50], announced=10_000)

    assert (said, out, os.listdir(tmp_path)) == (b"READY nonce\n", "", [])


def test_a_line_is_read_to_its_end_and_not_one_byte_further(pipes: ModuleType) -> None:
    reading, writing = os.pipe()
    threading.Thread(target=lambda: os.write(writing, b"one\ntwo")).start()

    assert pipes.line(reading) == b"one"
    assert pipes.exactly(reading, 3) == b"two"
    os.close(reading)
    os.close(writing)


# ---------------------------------------------------------------- the workspace by paths


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace.create(tmp_path / "base")


def test_a_workspace_is_made_filled_and_removed(workspace: Workspace) -> None:
    workspace.place({"launch/lib/x.py": b"X"})
    workspace.write([("a/b.txt", b"B"), ("main.py", b"M")])
    assert (workspace.path / "launch/lib/x.py").read_bytes() == b"X"
    assert (workspace.app / "a/b.txt").read_bytes() == b"B"

    assert workspace.remove()
    assert workspace.remove()
    assert not workspace.path.exists()
    assert list(workspace.path.parent.iterdir()) == []


def test_what_a_dead_run_left_is_removed_and_a_living_one_s_is_not(
    workspace: Workspace, tmp_path: Path
) -> None:
    dead = tmp_path / "base/run-dead"
    (dead / "app/deep").mkdir(parents=True)
    (tmp_path / "base/run-dead.lock").touch()

    other = Workspace.create(tmp_path / "base")

    assert not dead.exists()
    assert workspace.app.is_dir()
    assert other.remove()
    assert workspace.remove()


def test_removing_a_workspace_leaves_what_its_links_lead_to(
    workspace: Workspace, tmp_path: Path
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "file").write_text("kept")
    (workspace.app / "link").symlink_to(outside)
    (workspace.app / "file").symlink_to(outside / "file")
    (workspace.app / "locked").write_text("x")
    (workspace.app / "locked").chmod(0o400)

    mode = (outside / "file").stat().st_mode

    assert workspace.remove()
    assert (outside / "file").read_text() == "kept"
    assert (outside / "file").stat().st_mode == mode


def test_what_was_written_comes_out_and_nothing_else(workspace: Workspace, tmp_path: Path) -> None:
    (workspace.app / "d").mkdir()
    (workspace.app / "d/new").write_bytes(b"new\r\n")
    (workspace.app / "same").write_bytes(b"as it was")
    (workspace.app / "changed").write_bytes(b"now")
    (workspace.app / "link").symlink_to("/etc/passwd")
    (workspace.app / "con.txt").write_bytes(b"x")
    known = {"same": b"as it was", "changed": b"then"}

    report = workspace.copy_out(known, tmp_path / "out")

    assert sorted(report.copied) == ["changed", "d/new"]
    assert sorted(name for name, _ in report.refused) == ["con.txt", "link"]
    assert (tmp_path / "out/d/new").read_bytes() == b"new\r\n"
    assert report.problem is None
    workspace.remove()


def test_two_names_that_windows_takes_for_one_are_not_both_copied(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for name in ("a.txt", "A.txt"):
        (tmp_path / "in" / name).write_text(name)

    report = copy_out(tmp_path / "in", {}, tmp_path / "out")

    assert (len(report.copied), len(report.refused)) == (1, 1)


def test_nothing_is_copied_over_what_is_there(workspace: Workspace, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out/mine").touch()

    with pytest.raises(UsageFault, match="is not empty"):
        workspace.copy_out({}, tmp_path / "out")
    workspace.remove()


def test_a_junction_is_told_by_its_attribute() -> None:
    class Junction:
        st_mode = 0o040777
        st_file_attributes = 0x410

    junction: Any = Junction()  # what only Windows can make
    assert system.leads_elsewhere(junction)
    assert not system.leads_elsewhere(os.stat("/"))
