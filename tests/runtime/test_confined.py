"""A granted folder under attack: sandbox.md, cases 50 and 82 to 84, and section 3.5."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmboot.errors import OperationRefused, UsageFault
from lmboot.runtime import beneath, confined
from lmboot.runtime.beneath import (
    Opener,
    by_openat2,
    by_walking,
    has_openat2,
    open_beneath,
)
from lmboot.runtime.cached import is_local
from lmboot.runtime.confined import Folder
from lmboot.runtime.quota import Quota
from tests.leaks import descriptors
from tests.soak import confined as race

CANARY = "the canary outside"
ROOT = Path(__file__).parents[2]


@pytest.fixture(params=[by_openat2, by_walking], ids=["openat2", "walking"])
def opener(request: pytest.FixtureRequest) -> Opener:
    """Everything here holds for both ways of opening."""
    chosen: Opener = request.param
    return chosen


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder to grant, beside a canary that must not be reached."""
    (tmp_path / "canary").write_text(CANARY)
    folder = tmp_path / "granted"
    folder.mkdir()
    (folder / "a.txt").write_text("hello")
    (folder / "deep").mkdir()
    (folder / "deep" / "b.txt").write_text("below")
    return folder


@pytest.fixture
def granted(root: Path, opener: Opener) -> Iterator[Folder]:
    """The folder, granted for writing; no descriptor may be left by whatever is done."""
    before = descriptors()
    with Folder.open(root, writable=True, opener=opener) as folder:
        yield folder
    assert descriptors() <= before


def code(act: Callable[[], object]) -> str:
    with pytest.raises(OperationRefused) as refused:
        act()
    assert CANARY not in str(refused.value)
    return refused.value.code


# ---------------------------------------------------------------- what works


def test_a_file_is_read_whole_or_in_parts(granted: Folder) -> None:
    assert granted.read_text("a.txt") == ("hello", 5, 5)
    assert granted.read_text("deep/b.txt", 2, 2) == ("lo", 4, 5)
    assert granted.read_text("a.txt", 99) == ("", 99, 99)


@given(
    text=st.text(st.characters(exclude_categories=["Cs"]), max_size=60),
    length=st.integers(min_value=4, max_value=30),
)
def test_parts_join_to_the_whole_wherever_they_are_cut(
    text: str, length: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("parts")
    (path / "t").write_bytes(text.encode())
    joined, offset = "", 0
    with Folder.open(path) as folder:
        while (part := folder.read_text("t", offset, length)).text:
            joined, offset = joined + part.text, part.next_offset

    assert (joined, offset) == (text, len(text.encode()))


def test_a_new_file_is_written_with_its_folders(granted: Folder, root: Path) -> None:
    assert granted.write_text("new/er/c.txt", "é") == 2

    assert (root / "new/er/c.txt").read_text() == "é"
    assert (root / "new/er/c.txt").stat().st_mode & 0o111 == 0


def test_a_file_is_replaced_only_where_that_was_asked_for(granted: Folder, root: Path) -> None:
    (root / "a.txt").chmod(0o640)

    assert code(lambda: granted.write_text("a.txt", "other")) == "exists"
    assert (root / "a.txt").read_text() == "hello"
    granted.write_text("a.txt", "other", overwrite=True)
    granted.write_text("fresh.txt", "x", overwrite=True)

    assert (root / "a.txt").read_text() == "other"
    assert stat.S_IMODE((root / "a.txt").stat().st_mode) == 0o640
    assert sorted(os.listdir(root)) == ["a.txt", "deep", "fresh.txt"]


def test_where_nameless_files_are_unknown_a_passing_name_serves(
    granted: Folder, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.open

    def refuse(path: str, flags: int, *rest: int, dir_fd: int | None = None) -> int:
        if flags & os.O_TMPFILE == os.O_TMPFILE:
            raise OSError(errno.EOPNOTSUPP, "")
        return real(path, flags, *rest, dir_fd=dir_fd)

    monkeypatch.setattr(os, "open", refuse)

    granted.write_text("new.txt", "x")
    granted.write_text("a.txt", "y", overwrite=True)
    assert code(lambda: granted.write_text("a.txt", "z")) == "exists"

    assert (root / "new.txt").read_text() + (root / "a.txt").read_text() == "xy"
    assert sorted(os.listdir(root)) == ["a.txt", "deep", "new.txt"]


def test_a_list_names_what_can_be_opened_and_nothing_else(granted: Folder, root: Path) -> None:
    (root / ".env").write_text("secret")
    (root / "link").symlink_to("a.txt")
    os.mkfifo(root / "fifo")
    (root / "back\\slash").write_text("x")
    (Path(os.fsdecode(os.fsencode(root) + b"/\xff"))).write_text("x")

    assert granted.list() == ["a.txt", "deep/"]
    assert granted.list("deep") == ["b.txt"]


def test_stat_tells_kind_size_and_time(granted: Folder, root: Path) -> None:
    os.utime(root / "a.txt", (5, 7))

    assert granted.stat("a.txt") == {"kind": "file", "size": 5, "modified": 7.0}
    assert granted.stat()["kind"] == granted.stat("deep")["kind"] == "folder"


def test_a_file_is_removed_and_a_folder_is_not(granted: Folder, root: Path) -> None:
    granted.remove("deep/b.txt")

    assert not (root / "deep/b.txt").exists()
    assert code(lambda: granted.remove("deep")) == "not_a_file"
    assert code(lambda: granted.remove("deep/b.txt")) == "not_found"


# ---------------------------------------------------------------- text of paths


@pytest.mark.parametrize(
    "path",
    ["../canary", "deep/../../canary", "/etc/passwd", "a\0b", "a.txt\0", "c:x", "a\\b", "CON", "",
     "deep//b.txt", "./a.txt", "a.txt/", "deep/.", "．．/canary", "x" * 101, "d/" * 17 + "x"],
)  # fmt: skip
@pytest.mark.case(1, 2, 8)
def test_a_path_that_leaves_or_misleads_is_refused_before_any_call(
    granted: Folder, path: str
) -> None:
    """Cases 1 to 8 and 11, for every operation."""
    acts: list[Callable[[], object]] = [
        lambda: granted.read_text(path),
        lambda: granted.write_text(path, "x", overwrite=True),
        lambda: granted.remove(path),
    ]
    if path:
        acts += [lambda: granted.list(path), lambda: granted.stat(path)]

    assert {code(act) for act in acts} == {"bad_path"}


@pytest.mark.parametrize("way", [by_openat2, by_walking, open_beneath])
@pytest.mark.case(8)
def test_a_nul_never_reaches_the_system(root: Path, way: Opener) -> None:
    """Finding 8: the kernel would open what stands before the NUL."""
    descriptor = os.open(root, os.O_RDONLY)
    try:
        with pytest.raises(OSError, match="Invalid"):
            way(descriptor, "a.txt\0b", os.O_RDONLY)
    finally:
        os.close(descriptor)


@pytest.mark.parametrize("path", ["../canary", "/etc/passwd"])
def test_even_unchecked_paths_do_not_leave_by_openat2(root: Path, path: str) -> None:
    descriptor = os.open(root, os.O_RDONLY)
    try:
        with pytest.raises(OSError, match="cross-device"):
            by_openat2(descriptor, path, os.O_RDONLY)
    finally:
        os.close(descriptor)


@pytest.mark.parametrize("path", [".env", ".ssh/key", "deep/.hidden", ".git/hooks/post-commit"])
def test_what_begins_with_a_dot_is_out_of_reach(root: Path, path: str, opener: Opener) -> None:
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_text("secret")
    with Folder.open(root, writable=True, opener=opener) as folder:
        assert code(lambda: folder.read_text(path)) == "hidden"
        assert code(lambda: folder.write_text(path, "x", overwrite=True)) == "hidden"
        assert code(lambda: folder.remove(path)) == "hidden"


@pytest.mark.parametrize("name", ["autorun.inf", "deep/run.desktop", "x.lnk", "e.pth", "run.sh"])
def test_names_that_systems_obey_are_not_written_but_can_be_removed(
    root: Path, granted: Folder, name: str
) -> None:
    assert code(lambda: granted.write_text(name, "x")) == "bad_path"
    assert not (root / name).exists()
    (root / name).write_text("of the person's")
    assert code(lambda: granted.write_text(name, "x", overwrite=True)) == "bad_path"
    assert granted.read_text(name).text == "of the person's"
    granted.remove(name)
    assert not (root / name).exists()


# ---------------------------------------------------------------- what lies in the folder


@pytest.fixture
def trapped(root: Path, tmp_path: Path) -> Path:
    """The folder with every trap that its owner, or another program, may have left in it."""
    (root / "link").symlink_to("../canary")
    (root / "inner").symlink_to("a.txt")
    (root / "up").symlink_to("..")
    (root / "proc").symlink_to("/proc/self/root")
    (root / "dangling").symlink_to(tmp_path / "made")
    os.link(tmp_path / "canary", root / "hard")
    os.mkfifo(root / "fifo")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(root / "sock"))
    return root


TRAPS = {
    "link": "link", "inner": "link", "up/canary": "link", "proc/etc/passwd": "link",
    "dangling": "link", "hard": "link", "fifo": "not_a_file", "sock": "not_a_file",
    "deep": "not_a_file", "a.txt/x": "not_a_folder", "none": "not_found", "none/x": "not_found",
}  # fmt: skip


@pytest.mark.parametrize(("path", "expected"), TRAPS.items())
@pytest.mark.case(83)
def test_only_a_regular_file_with_one_name_is_read(
    trapped: Path, granted: Folder, path: str, expected: str
) -> None:
    """Case 83: and nothing waits for a FIFO's other end."""
    assert code(lambda: granted.read_text(path)) == expected


@pytest.mark.parametrize(
    ("path", "expected"), [item for item in TRAPS.items() if "none" not in item[0]]
)
def test_nothing_but_a_regular_file_is_replaced_or_removed(
    trapped: Path, granted: Folder, path: str, expected: str, tmp_path: Path
) -> None:
    """Cases 50 and 83."""
    assert code(lambda: granted.write_text(path, "owned", overwrite=True)) == expected
    assert code(lambda: granted.remove(path)) == expected
    assert (tmp_path / "canary").read_text() == CANARY
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize(("path", "expected"), [*TRAPS.items(), ("deep", "")])
def test_links_are_not_even_looked_at(
    trapped: Path, granted: Folder, path: str, expected: str
) -> None:
    if path == "deep":
        assert granted.stat(path)["kind"] == "folder"
    else:
        assert code(lambda: granted.stat(path)) == expected


@pytest.mark.case(83)
def test_a_device_is_no_file(root: Path, granted: Folder) -> None:
    """Case 83."""
    if os.geteuid() != 0:
        pytest.skip("only root can make a device")
    os.mknod(root / "zero", 0o666 | stat.S_IFCHR, os.makedev(1, 5))

    assert code(lambda: granted.read_text("zero")) == "not_a_file"
    assert granted.list() == ["a.txt", "deep/"]


def test_another_file_system_is_not_entered(opener: Opener) -> None:
    """A mount within the folder: `/` has /proc."""
    root = os.open("/", os.O_RDONLY)
    try:
        for path in ("proc/self/environ", "proc/1/root/etc/passwd", "proc"):
            with pytest.raises(OSError, match="cross-device"):
                opener(root, path, os.O_RDONLY)
    finally:
        os.close(root)


# ---------------------------------------------------------------- at once


@pytest.fixture
def cached(root: Path) -> Iterator[Folder]:
    """The folder where the kernel can tell what it has in memory; no descriptor may be left."""
    before = descriptors()
    with Folder.open(root) as folder:
        try:
            folder.stat_at_once("a.txt")
        except BlockingIOError:
            pytest.skip("nothing is known to be in memory here")
        yield folder
    assert descriptors() <= before


def at_once(act: Callable[[], object]) -> object:
    """Return what it does as soon as it has not to wait: others rename things on this machine."""
    for _ in range(1000):
        with contextlib.suppress(BlockingIOError):
            return act()
    pytest.fail("it is never done at once")


def test_what_is_done_at_once_is_what_a_thread_does(root: Path, cached: Folder) -> None:
    (root / "small").write_bytes("aé€".encode() * 5000)
    for path in ("", "deep", "a.txt", "deep/b.txt"):
        assert at_once(partial(cached.stat_at_once, path)) == cached.stat(path)
    if cached_reads(cached):
        for path, offset, length in [("a.txt", 0, 99), ("small", 0, 1 << 20), ("small", 3, 5)]:
            part = at_once(partial(cached.read_text_at_once, path, offset, length))
            assert part == cached.read_text(path, offset, length)


def cached_reads(folder: Folder) -> bool:
    """Say whether this file system tells what of a file is in memory; tmpfs does not."""
    try:
        return at_once(lambda: folder.read_text_at_once("a.txt")) is not None
    except pytest.fail.Exception:
        return False


def test_what_would_wait_is_not_done_at_once(root: Path, cached: Folder) -> None:
    (root / "large").write_bytes(b"x" * (confined.AT_ONCE_BYTES + 1))
    os.mkfifo(root / "pipe")
    (root / "link").symlink_to("a.txt")
    os.link(root / "a.txt", root / "second")
    for path in ("large", "link", "none", "deep/none"):
        with pytest.raises(BlockingIOError):
            cached.read_text_at_once(path)
    for path, why in [("pipe", "not_a_file"), ("second", "link"), ("../canary", "bad_path")]:
        assert code(partial(at_once, partial(cached.read_text_at_once, path))) == why
    cached.close()
    with pytest.raises(BlockingIOError):
        cached.stat_at_once("a.txt")


@pytest.mark.parametrize("path", ["/proc", "/sys"])
def test_only_known_file_systems_are_taken_for_local(path: str, root: Path) -> None:
    for folder, known in [(root, True), (Path(path), False)]:
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            assert is_local(descriptor) <= known
        finally:
            os.close(descriptor)


def test_what_is_opened_part_by_part_is_never_at_once(root: Path) -> None:
    with Folder.open(root, opener=by_walking) as folder, pytest.raises(BlockingIOError):
        folder.stat_at_once("a.txt")


# ---------------------------------------------------------------- grants


def test_a_folder_granted_for_reading_is_not_written(root: Path, opener: Opener) -> None:
    with Folder.open(root, opener=opener) as folder:
        assert code(lambda: folder.write_text("new", "x")) == "read_only"
        assert code(lambda: folder.remove("a.txt")) == "read_only"
        assert folder.read_text("a.txt").text == "hello"


def test_a_link_to_a_folder_is_not_granted(root: Path, tmp_path: Path) -> None:
    (tmp_path / "alias").symlink_to(root)
    for path in (tmp_path / "alias", root / "a.txt", tmp_path / "none"):
        with pytest.raises(UsageFault):
            Folder.open(path)


@pytest.mark.parametrize("path", ["/proc", "/proc/self", "/sys", "/dev"])
@pytest.mark.case(83)
def test_the_systems_own_folders_are_not_granted(path: str) -> None:
    before = descriptors()
    with pytest.raises(UsageFault):
        Folder.open(Path(path).resolve())
    assert descriptors() <= before


def test_a_grant_is_of_the_folder_that_was_there(root: Path, granted: Folder) -> None:
    """Renaming another folder into its place changes nothing."""
    root.rename(root.with_name("moved"))
    root.mkdir()
    (root / "a.txt").write_text("impostor")

    assert granted.read_text("a.txt").text == "hello"
    found = root.with_name("moved").stat()
    assert granted.identity == (found.st_dev, found.st_ino)


def test_nothing_is_done_after_the_end_of_a_grant(granted: Folder) -> None:
    granted.close()
    granted.close()

    assert code(lambda: granted.read_text("a.txt")) == "closed"
    assert code(lambda: granted.write_text("x", "x")) == "closed"


# ---------------------------------------------------------------- bounds


def test_reads_are_bounded(granted: Folder, root: Path) -> None:
    (root / "big").write_bytes(b"x" * (confined.MAX_READ_BYTES + 1))

    part = granted.read_text("big")

    assert (len(part.text), part.size) == (confined.MAX_READ_BYTES, confined.MAX_READ_BYTES + 1)
    assert granted.read_text("big", part.next_offset).text == "x"
    for offset, length in [(-1, 1), (0, 0), (0, -1), (0, confined.MAX_READ_BYTES + 1)]:
        assert code(lambda: granted.read_text("big", offset, length)) == "bad_argument"  # noqa: B023


@pytest.mark.parametrize("data", [b"\xff", b"abc\xff", b"\xed\xa0\x80", b"ok\xc3"])
def test_what_is_no_text_is_said_to_be_none(granted: Folder, root: Path, data: bytes) -> None:
    (root / "binary").write_bytes(data)

    assert code(lambda: granted.read_text("binary")) == "not_text"


def test_half_a_surrogate_pair_is_not_written(granted: Folder, root: Path) -> None:
    assert code(lambda: granted.write_text("half", "\ud800")) == "not_text"
    assert not (root / "half").exists()


def test_writes_are_bounded(granted: Folder, root: Path) -> None:
    assert code(lambda: granted.write_text("big", "x" * (confined.MAX_FILE_BYTES + 1))) == (
        "too_large"
    )
    assert not (root / "big").exists()


def test_lists_are_bounded(granted: Folder, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(confined, "MAX_ENTRIES", 2)
    assert len(granted.list()) == 2
    (root / "third").touch()
    assert code(granted.list) == "too_large"
    monkeypatch.setattr(confined, "MAX_SEEN_ENTRIES", 2)
    assert code(granted.list) == "too_large"


def test_what_failed_is_not_charged(root: Path, opener: Opener) -> None:
    quota = Quota(10)
    with Folder.open(root, writable=True, quota=quota, opener=opener) as folder:
        assert code(lambda: folder.write_text("a.txt", "ten bytes!")) == "exists"
        assert code(lambda: folder.write_text("new", "eleven bytes")) == "quota"
        folder.write_text("new", "ten bytes!")
        assert code(lambda: folder.write_text("newer", "x")) == "quota"


def test_many_writers_never_exceed_what_may_be_written(root: Path, opener: Opener) -> None:
    """Case 84: 64 writers race for 1 MiB."""
    total, piece = 1 << 20, "x" * 10_000
    quota = Quota(total)
    ready = threading.Barrier(64)

    def write(number: int) -> int:
        ready.wait()
        done = 0
        for turn in range(4):
            with contextlib.suppress(OperationRefused):
                done += folder.write_text(f"w/{number}-{turn}", piece)
        return done

    with (
        Folder.open(root, writable=True, quota=quota, opener=opener) as folder,
        ThreadPoolExecutor(64) as pool,
    ):
        written = sum(pool.map(write, range(64)))

    assert written == total // len(piece) * len(piece)
    assert written == sum(path.stat().st_size for path in (root / "w").iterdir())


# ---------------------------------------------------------------- races


def test_one_of_many_that_make_the_same_file_succeeds(root: Path, opener: Opener) -> None:
    def write(number: int) -> bool:
        try:
            folder.write_text("same", str(number))
        except OperationRefused as refused:
            return refused.code != "exists"
        return True

    with (
        Folder.open(root, writable=True, opener=opener) as folder,
        ThreadPoolExecutor(16) as pool,
    ):
        won = [number for number, ok in enumerate(pool.map(write, range(64))) if ok]

    assert (root / "same").read_text() == str(won[0])
    assert len(won) == 1


@pytest.mark.parametrize("way", ["openat2", "walking"])
@pytest.mark.case(82)
def test_links_swapped_in_while_we_look_lead_nowhere(way: str, tmp_path: Path) -> None:
    """Case 82, for two seconds; tests/soak/confined.py runs it for longer."""
    figures = race.race(tmp_path, {"openat2": by_openat2, "walking": by_walking}[way], 2.0)

    assert figures["escapes"] == 0
    assert figures["reads"] > 0
    assert figures["refused"] > 0


@pytest.mark.case(82)
def test_the_race_is_one_that_a_careless_opener_loses(tmp_path: Path) -> None:
    def careless(root: int, path: str, flags: int) -> int:
        return os.open(path or ".", flags, dir_fd=root)

    assert race.race(tmp_path, careless, 1.0)["escapes"] > 0


def test_without_openat2_the_walk_answers(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A kernel before 5.6 says ENOSYS, the filter of a container EPERM."""
    for problem in (errno.ENOSYS, errno.EPERM):
        monkeypatch.setattr(beneath, "_call_openat2", lambda *_, p=problem: (-1, p))
        with Folder.open(root) as folder:
            assert folder.read_text("deep/b.txt").text == "below"


@pytest.mark.parametrize(
    ("system_name", "machine", "there"),
    [
        ("linux", "x86_64", True),
        ("linux", "aarch64", True),
        ("linux", "riscv64", False),
        ("darwin", "x86_64", False),
        ("darwin", "arm64", False),
        ("win32", "AMD64", False),
    ],
)
def test_no_other_system_is_called_by_linux_numbers(
    system_name: str, machine: str, there: bool
) -> None:
    assert has_openat2(system_name, machine) is there


@pytest.mark.sandbox
def test_without_proc_and_without_openat2_a_folder_is_granted_as_ever(
    root: Path, tmp_path: Path
) -> None:
    """What macOS does not have, taken from this system for real: see `without_proc.py`."""
    (root / "gone.txt").write_text("x")
    (root / "link").symlink_to("a.txt")
    (root / "out").symlink_to(tmp_path)
    os.mkfifo(root / "fifo")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(root / "socket"))

    done = subprocess.run(
        [
            *("/usr/bin/unshare", "--map-root-user", "--mount"),
            *(sys.executable, "-m", "tests.runtime.without_proc", str(root)),
        ],
        capture_output=True,
        check=False,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )

    assert done.returncode == 0, done.stderr.decode()
    found = json.loads(done.stdout)
    left = ["a.txt", "deep", "fifo", "link", "new", "out", "socket"]
    assert (found.pop("openat2"), found.pop("leaked")) == (errno.ENOSYS, 0)
    assert {name: found.pop(name) for name in ("list", "read", "stat", "left")} == {
        "list": ["a.txt", "deep/", "gone.txt"],
        "read": "below",
        "stat": 5,
        "left": left,
    }
    assert found.pop("new") == 3
    assert (found.pop("again"), found.pop("over"), found.pop("remove")) == ("exists", 4, None)
    assert (found.pop("link"), found.pop("beneath a link")) == ("link", "link")
    assert (found.pop("fifo"), found.pop("socket")) == ("not_a_file", "not_a_file")
    assert (found.pop("program"), found.pop("pipe")) == ("unavailable", None)
    assert "neither a file nor a pipe" in found.pop("named pipe")
    assert all("belongs to the system" in found.pop(path) for path in ("/dev", "/proc", "/sys"))
    assert all("Not a directory" in found.pop(path) for path in ("/out", "/a.txt"))
    assert "is no path" in found.pop("a\0b")
    assert found == {}


def test_a_folder_that_nobody_can_grant_leaves_no_descriptor(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its name is asked for by descriptor; without an answer, its path must lead there still."""
    before = descriptors()
    with monkeypatch.context() as patch:
        patch.setattr(os, "readlink", lambda *_, **__: (_ for _ in ()).throw(OSError(2, "no")))
        Folder.open(root).close()
        patch.setattr(os.path, "samestat", lambda *_: False)
        with pytest.raises(UsageFault, match="just been moved"):
            Folder.open(root)
    for path in ("/proc/self", "nul\0", "/" + "x" * 5000, "\ud800"):
        with pytest.raises(UsageFault):
            Folder.open(Path(path))
    assert descriptors() == before


def test_a_tree_that_never_rests_is_given_up(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[object] = []

    def restless(*arguments: object) -> tuple[int, int]:
        calls.append(arguments)
        return -1, errno.EAGAIN

    monkeypatch.setattr(beneath, "_call_openat2", restless)
    with Folder.open(root) as folder:
        assert code(lambda: folder.read_text("a.txt")) == "failed"
    assert len(calls) == 8
