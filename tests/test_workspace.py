from __future__ import annotations

import fcntl
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

import pytest

from lmboot import workspace
from lmboot.errors import SandboxFault, UsageFault
from lmboot.removal import remove_tree
from lmboot.workspace import (
    CopyReport,
    Workspace,
    check_target,
    copy_out,
    private_folder,
    write_files,
)
from tests.leaks import wait_until


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    folder.mkdir()
    return folder


def copied(source: Path, target: Path, known: dict[str, bytes] | None = None) -> CopyReport:
    folder = os.open(source, os.O_RDONLY | os.O_DIRECTORY)
    try:
        return copy_out(folder, known or {}, target)
    finally:
        os.close(folder)


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


# ---------------------------------------------------------------- a folder of our own


def test_a_workspace_is_private_and_goes_with_all_that_is_in_it(tmp_path: Path) -> None:
    made = Workspace.create(tmp_path / "base")
    (made.app / "sub").mkdir()
    (made.app / "sub" / "file").write_text("x")
    modes = [path.stat().st_mode & 0o777 for path in (made.path, made.app, made.tmp)]

    assert made.remove()
    assert made.remove()

    assert modes == [0o700] * 3
    assert [path.name for path in (tmp_path / "base").iterdir()] == ["lock"]


def test_two_workspaces_are_two(tmp_path: Path) -> None:
    first, second = Workspace.create(tmp_path), Workspace.create(tmp_path)

    assert first.path != second.path
    assert first.remove()
    assert second.path.exists()
    assert second.remove()


def left_by_a_dead_run(base: Path, files: int) -> Path:
    """Return the folder of a run whose lmboot ended without a word."""
    script = (
        "import os, pathlib, sys\n"
        "from lmboot.workspace import Workspace\n"
        "made = Workspace.create(pathlib.Path(sys.argv[1]))\n"
        "for number in range(int(sys.argv[2])):\n"
        "    (made.app / str(number)).touch()\n"
        "os._exit(9)\n"
    )
    subprocess.run([sys.executable, "-c", script, base, str(files)], check=False)
    (found,) = (path for path in base.glob("run-*") if path.suffix != ".lock")
    return found


def test_what_a_dead_run_left_is_removed_after_the_next_start(tmp_path: Path) -> None:
    left = left_by_a_dead_run(tmp_path, 1)

    Workspace.create(tmp_path).remove()

    assert wait_until(lambda: not left.exists() and not any(tmp_path.glob("run-*")))


def test_nobody_waits_for_what_a_dead_run_left(tmp_path: Path) -> None:
    left = left_by_a_dead_run(tmp_path, 20_000)

    first, second = Workspace.create(tmp_path), Workspace.create(tmp_path)
    assert first.remove()
    assert second.remove()

    assert left.exists()
    assert wait_until(lambda: not any(tmp_path.glob("run-*")), 60)


def test_of_very_many_dead_runs_each_start_removes_some(tmp_path: Path) -> None:
    """All at once would be more descriptors than a process may have."""
    for number in range(workspace.MAX_REAPED + 5):
        (tmp_path / f"run-{number}").mkdir()
        (tmp_path / f"run-{number}.lock").touch()

    Workspace.create(tmp_path).remove()
    assert wait_until(lambda: len(list(tmp_path.glob("run-*.lock"))) == 5)
    Workspace.create(tmp_path).remove()

    assert wait_until(lambda: not any(tmp_path.glob("run-*")))


def test_a_run_is_removed_while_another_starts(tmp_path: Path) -> None:
    made = Workspace.create(tmp_path)

    with open(tmp_path / "lock") as starting:
        fcntl.flock(starting, fcntl.LOCK_EX)

        assert made.remove()


def test_what_a_living_run_uses_is_left_alone(tmp_path: Path) -> None:
    living = Workspace.create(tmp_path)

    Workspace.create(tmp_path).remove()

    assert living.app.exists()
    living.remove()


def test_a_base_that_is_a_link_or_another_s_is_refused(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")

    with pytest.raises(SandboxFault, match="is not a folder of yours"):
        private_folder(tmp_path / "link")
    if os.geteuid() == 0:
        os.chown(tmp_path / "real", 61184, 61184)
        with pytest.raises(SandboxFault, match="is not a folder of yours"):
            private_folder(tmp_path / "real")


def test_a_base_that_others_could_enter_is_closed(tmp_path: Path) -> None:
    (tmp_path / "base").mkdir(mode=0o755)

    assert private_folder(tmp_path / "base").stat().st_mode & 0o777 == 0o700


def test_files_are_written_new_private_and_with_their_folders(source: Path) -> None:
    folder = os.open(source, os.O_RDONLY)

    write_files(folder, [("a/b/c.py", b"1"), ("a/d", b"2"), ("e", b"")])

    os.close(folder)
    assert contents(source) == {"a/b/c.py": b"1", "a/d": b"2", "e": b""}
    assert (source / "e").stat().st_mode & 0o777 == 0o600
    assert (source / "a/b").stat().st_mode & 0o777 == 0o700


def test_writing_follows_no_link(source: Path, tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (source / "folder").symlink_to(tmp_path / "outside")
    (source / "file").symlink_to(tmp_path / "outside/file")
    folder = os.open(source, os.O_RDONLY)

    with pytest.raises(OSError, match="Not a directory"):
        write_files(folder, [("folder/x", b"1")])
    with pytest.raises(FileExistsError):
        write_files(folder, [("file", b"1")])

    os.close(folder)
    assert list((tmp_path / "outside").iterdir()) == []


@pytest.fixture
def quick(tmp_path: Path) -> Iterator[Path]:
    """A folder in memory where there is one: tens of thousands of files cost a disk minutes."""
    base = "/dev/shm" if os.path.isdir("/dev/shm") else str(tmp_path)
    with tempfile.TemporaryDirectory(dir=base, prefix="lmboot-test-") as name:
        yield Path(name)


# ---------------------------------------------------------------- removing what a stranger built


@pytest.fixture
def parent(tmp_path: Path) -> Iterator[int]:
    descriptor = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    yield descriptor
    os.close(descriptor)


def test_a_tree_ten_thousand_folders_deep_is_removed(quick: Path) -> None:
    (quick / "tree").mkdir()
    current = os.open(quick / "tree", os.O_RDONLY)
    for _ in range(10_000):
        os.mkdir("d", dir_fd=current)
        below = os.open("d", os.O_RDONLY, dir_fd=current)
        os.close(current)
        current = below
    os.close(current)
    parent = os.open(quick, os.O_RDONLY)

    while not remove_tree(parent, "tree", seconds=1):
        assert [path.name for path in quick.iterdir()] == ["tree"]

    os.close(parent)
    assert list(quick.iterdir()) == []


def test_locked_folders_links_and_odd_files_are_removed_and_nothing_outside(
    tmp_path: Path, parent: int
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "canary").write_text("x")
    tree = tmp_path / "tree"
    (tree / "locked" / "deeper").mkdir(parents=True)
    (tree / "locked" / "deeper" / "file").write_text("x")
    (tree / "link").symlink_to(outside)
    (tree / "locked" / "up").symlink_to("../..")
    os.mkfifo(tree / "fifo")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tree / "s"))
    for folder in (tree / "locked" / "deeper", tree / "locked", tree):
        folder.chmod(0)

    assert remove_tree(parent, "tree")

    assert not tree.exists()
    assert (outside / "canary").exists()


def test_a_link_in_place_of_the_tree_is_not_followed(tmp_path: Path, parent: int) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "canary").write_text("x")
    (tmp_path / "tree").symlink_to(tmp_path / "outside")

    assert not remove_tree(parent, "tree")

    assert (tmp_path / "outside" / "canary").exists()


def test_removing_takes_bounded_time_and_can_be_taken_up_again(
    tmp_path: Path, parent: int
) -> None:
    (tmp_path / "tree").mkdir()
    for number in range(100):
        (tmp_path / "tree" / str(number)).write_text("")

    assert not remove_tree(parent, "tree", seconds=-1)
    assert remove_tree(parent, "tree")


# ---------------------------------------------------------------- the way out


def test_new_and_changed_files_are_copied_and_the_payload_s_own_are_not(
    source: Path, tmp_path: Path
) -> None:
    (source / "sub").mkdir()
    for name, text in {"main.py": "same", "data": "new", "sub/out": "x", "empty": ""}.items():
        (source / name).write_text(text)

    report = copied(source, tmp_path / "keep", {"main.py": b"same", "data": b"old", "gone": b""})

    assert sorted(report.copied) == ["data", "empty", "sub/out"]
    assert (report.refused, report.unlisted, report.problem) == ((), 0, None)
    assert contents(tmp_path / "keep") == {"data": b"new", "empty": b"", "sub/out": b"x"}


def test_what_is_no_regular_file_is_named_and_not_copied(source: Path, tmp_path: Path) -> None:
    (source / "link").symlink_to("/etc/passwd")
    (source / "folder-link").symlink_to("/etc")
    os.mkfifo(source / "fifo")

    report = copied(source, tmp_path / "keep")

    assert report.copied == ()
    assert sorted(name for name, _ in report.refused) == ["fifo", "folder-link", "link"]
    assert {why for _, why in report.refused} == {"is no regular file"}


@pytest.mark.parametrize(
    ("name", "why"),
    [
        (b"a:b", "has a colon"),
        (b"nul.txt", "device name"),
        (b"ends.", "ends with a dot"),
        (b"back\\slash", "backslash"),
        ("rtl\u202e".encode(), "control, bidirectional"),
        (b"new\nline", "control"),
        (b"bad\xff", "surrogate"),
        (b"x" * 101, "more than 100 bytes"),
    ],
)
def test_a_name_that_the_rules_refuse_is_listed(
    source: Path, tmp_path: Path, name: bytes, why: str
) -> None:
    with open(os.path.join(os.fsencode(source), name), "w") as file:
        file.write("x")

    report = copied(source, tmp_path / "keep")

    assert report.copied == ()
    assert [why in refusal[1] for refusal in report.refused] == [True]
    report.refused[0][0].encode()  # it can be shown


def test_names_that_are_one_file_elsewhere_are_copied_once(source: Path, tmp_path: Path) -> None:
    (source / "Readme").write_text("1")
    (source / "README").write_text("2")

    report = copied(source, tmp_path / "keep")

    assert len(report.copied) == 1
    assert [("is the same file as" in why) for _, why in report.refused] == [True]


def test_a_tree_deeper_than_the_rules_is_refused_where_it_gets_too_deep(
    source: Path, tmp_path: Path
) -> None:
    deep = source.joinpath(*["d"] * 40)
    deep.mkdir(parents=True)
    (deep / "x").write_text("x")

    report = copied(source, tmp_path / "keep")

    assert report.copied == ()
    assert ["deeper than 16 folders" in why for _, why in report.refused] == [True]


def test_locked_files_and_folders_of_ours_are_copied(source: Path, tmp_path: Path) -> None:
    (source / "d").mkdir()
    (source / "d" / "f").write_text("x")
    (source / "d" / "f").chmod(0)
    (source / "d").chmod(0)

    report = copied(source, tmp_path / "keep")

    assert report.copied == ("d/f",)


def test_hard_links_are_copied_as_files_of_their_own(source: Path, tmp_path: Path) -> None:
    (source / "a").write_text("x")
    os.link(source / "a", source / "b")

    copied(source, tmp_path / "keep")

    assert (tmp_path / "keep" / "a").stat().st_nlink == 1
    assert contents(tmp_path / "keep") == {"a": b"x", "b": b"x"}


def test_holes_stay_holes(source: Path, tmp_path: Path) -> None:
    with open(source / "sparse", "wb") as file:
        file.seek(1 << 30)
        file.write(b"end")
        file.truncate(1 << 34)

    report = copied(source, tmp_path / "keep")

    found = (tmp_path / "keep" / "sparse").stat()
    assert report.copied == ("sparse",)
    assert found.st_size == 1 << 34
    assert found.st_blocks * 512 < 1 << 20
    with open(tmp_path / "keep" / "sparse", "rb") as file:
        file.seek(1 << 30)
        assert file.read(4) == b"end\0"


def test_the_number_of_files_is_bounded_and_the_rest_is_counted(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workspace, "MAX_COPIED_FILES", 5)
    monkeypatch.setattr(workspace, "MAX_SEEN_ENTRIES", 20)
    for number in range(30):
        (source / f"f{number}").write_text("x")

    report = copied(source, tmp_path / "keep")

    assert (len(report.copied), len(report.refused), report.unlisted) == (5, 5, 20)


def test_the_bytes_are_bounded(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workspace, "MAX_COPIED_BYTES", 8192)
    for number in range(4):
        (source / f"f{number}").write_bytes(b"x" * 4096)

    report = copied(source, tmp_path / "keep")

    assert len(report.copied) == 2
    assert ["does not fit" in why for _, why in report.refused] == [True, True]


def test_twenty_thousand_files_are_bounded(quick: Path) -> None:
    source = quick / "source"
    source.mkdir()
    for folder in range(20):
        (source / str(folder)).mkdir()
        for number in range(1000):
            os.close(os.open(source / str(folder) / str(number), os.O_CREAT))

    report = copied(source, quick / "keep")

    assert len(report.copied) == workspace.MAX_COPIED_FILES
    assert len(report.refused) + report.unlisted == 20_000 - workspace.MAX_COPIED_FILES


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a full disk")
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs a tmpfs")
def test_a_full_disk_is_told_and_leaves_no_half_file(source: Path, tmp_path: Path) -> None:
    (source / "a").write_bytes(b"x" * 5000)
    (source / "b").write_bytes(b"x" * (3 << 20))
    full = tmp_path / "full"
    full.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(full)]
    if subprocess.run(mount, check=False).returncode:
        pytest.skip("no mounts here")
    try:
        report = copied(source, full / "keep")

        assert report.problem is not None
        assert "No space left on device" in report.problem
        assert set(contents(full / "keep")) == set(report.copied) <= {"a"}
    finally:
        subprocess.run(["umount", str(full)], check=True)


def test_a_folder_that_holds_something_is_no_target(source: Path, tmp_path: Path) -> None:
    (tmp_path / "keep").mkdir()
    check_target(tmp_path / "keep")
    (tmp_path / "keep" / "mine").write_text("x")

    with pytest.raises(UsageFault, match="is not empty"):
        check_target(tmp_path / "keep")
    with pytest.raises(UsageFault, match="is not empty"):
        copied(source, tmp_path / "keep")
    with pytest.raises(UsageFault, match="Not a directory"):
        check_target(tmp_path / "keep" / "mine")
    check_target(tmp_path / "new")


def test_a_target_that_can_t_be_made_is_told(source: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")

    with pytest.raises(UsageFault):
        copied(source, tmp_path / "file" / "keep")


def test_the_lock_of_a_workspace_is_not_inherited(tmp_path: Path) -> None:
    made = Workspace.create(tmp_path)
    child = subprocess.Popen(["/bin/sleep", "30"], close_fds=False)
    lock = next(tmp_path.glob("run-*.lock"))

    os.close(made._lock)
    with open(lock) as file:
        assert wait_until(lambda: _can_be_taken(file))  # the child's exec closes its copy

    child.kill()
    child.wait()


def _can_be_taken(file: TextIO) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
