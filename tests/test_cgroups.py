"""Control groups: where they may be, where they really are, and that nothing of them stays."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from lmboot import cgroups
from lmboot.cgroups import Group, NoGroup, Place, candidates, discard, find, new_name, reap
from tests.leaks import wait_until

V1 = """\
24 23 0:21 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755
25 24 0:22 / /sys/fs/cgroup/unified rw,nosuid - cgroup2 cgroup2 rw,nsdelegate
26 24 0:23 / /sys/fs/cgroup/memory rw,nosuid shared:9 - cgroup cgroup rw,memory
27 24 0:24 / /sys/fs/cgroup/cpu\\040acct rw - cgroup cgroup rw,cpu,cpuacct
28 24 0:25 /docker/ab /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids
29 24 0:26 / /sys/fs/cgroup/freezer rw - cgroup cgroup rw,freezer
"""
V1_OWN = "5:memory:/jobs/one\n4:cpu,cpuacct:/\n3:pids:/docker/ab\n2:freezer:/\n0::/\n"


def test_version_1_has_a_place_for_each_controller_in_one_s_own_group() -> None:
    assert candidates(V1, V1_OWN) == [
        Place("/sys/fs/cgroup/unified", 2),
        Place("/sys/fs/cgroup/memory/jobs/one", 1),
        Place("/sys/fs/cgroup/cpu acct", 1),
        Place("/sys/fs/cgroup/pids", 1),
    ]


def test_version_2_has_one_s_own_group_and_all_above_it() -> None:
    mounts = "30 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n"

    assert [place.folder for place in candidates(mounts, "0::/user/me/app/x.scope\n")] == [
        "/sys/fs/cgroup/user/me/app/x.scope",
        "/sys/fs/cgroup/user/me/app",
        "/sys/fs/cgroup/user/me",
        "/sys/fs/cgroup/user",
        "/sys/fs/cgroup",
    ]


@pytest.mark.parametrize(
    ("mounts", "own"),
    [
        ("", ""),
        ("", "0::/\n"),
        ("30 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n", ""),
        ("30 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n", "0::/../other\n"),
        ("30 23 0:26 /docker/ab /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n", "0::/docker/abc\n"),
    ],
    ids=["no mounts", "not mounted", "no membership", "outside of one's view", "another's mount"],
)
def test_what_one_is_not_in_or_does_not_see_is_no_place(mounts: str, own: str) -> None:
    assert candidates(mounts, own) == []


# ---------------------------------------------------------------- a tree that behaves like one

FILES = {
    "memory": (
        "memory.max",
        "memory.swap.max",
        "memory.stat",
        "memory.events",
        "memory.oom.group",
    ),
    "pids": ("pids.max", "pids.current"),
    "": ("cgroup.procs", "cgroup.kill", "cpu.stat"),
}
MOUNTED = "30 23 0:26 / {} rw - cgroup2 cgroup2 rw\n"


class Tree:
    """Folders in which new folders have a control group's files, as the kernel would do it."""

    def __init__(self, root: Path, controllers: dict[str, str]) -> None:
        """Take what is delegated to whom: {path beneath the root: controllers of its groups}."""
        self.root = root
        self.controllers = controllers
        self.broken: dict[str, str] = {}  # file: what stands in its place
        for path in controllers:
            (root / path).mkdir(parents=True, exist_ok=True)
            (root / path / "cgroup.procs").touch()

    def mkdir(self, path: str, mode: int = 0o777) -> None:
        folder = Path(path)
        self._mkdir(path, mode)
        if folder.name.startswith(cgroups.PREFIX):
            above = str(folder.parent.relative_to(self.root))
            words = self.controllers["" if above == "." else above].split()
            for name in [name for word in ["", *words] for name in FILES[word]]:
                if name in self.broken:
                    (folder / name).symlink_to(self.broken[name])
                else:
                    (folder / name).write_text("oom_kill 0\n" if "events" in name else "")

    def rmdir(self, path: str) -> None:
        for file in Path(path).iterdir():
            file.unlink()
        self._rmdir(path)

    _mkdir, _rmdir = staticmethod(os.mkdir), staticmethod(os.rmdir)

    @contextmanager
    def standing(self) -> Iterator[None]:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(os, "mkdir", self.mkdir)
            patch.setattr(os, "rmdir", self.rmdir)
            yield

    def find(self, own: str) -> tuple[Place, ...]:
        with self.standing():
            return find(MOUNTED.format(self.root), f"0::{own}\n")


def test_the_nearest_group_that_gives_the_controllers_is_taken(tmp_path: Path) -> None:
    """One's own holds processes, so that it gives none; what is above is delegated."""
    delegated = {"": "", "u": "memory pids", "u/app": "memory pids", "u/app/x.scope": ""}
    tree = Tree(tmp_path, delegated)

    assert tree.find("/u/app/x.scope") == (
        Place(f"{tmp_path}/u/app", 2, ("memory", "pids", "kill")),
    )


def test_without_controllers_a_group_is_good_for_killing(tmp_path: Path) -> None:
    assert Tree(tmp_path, {"": ""}).find("/") == (Place(str(tmp_path), 2, ("kill",)),)


def test_where_nobody_may_enter_is_no_place(tmp_path: Path) -> None:
    tree = Tree(tmp_path, {"": "memory pids"})
    (tmp_path / "cgroup.procs").unlink()

    assert tree.find("/") == ()


@pytest.mark.parametrize("stands", ["/dev/full", "/dev/null"], ids=["refused", "ignored"])
def test_a_limit_that_is_refused_or_ignored_is_none(tmp_path: Path, stands: str) -> None:
    """Sandbox.md case 101: the write fails, or claims to have worked."""
    tree = Tree(tmp_path, {"": "memory pids"})
    tree.broken = {"memory.max": stands}

    assert tree.find("/") == (Place(str(tmp_path), 2, ("pids", "kill")),)


def test_trying_leaves_nothing(tmp_path: Path) -> None:
    Tree(tmp_path, {"": "memory pids"}).find("/")

    assert [path.name for path in tmp_path.iterdir()] == ["cgroup.procs"]


def test_a_group_that_does_not_hold_its_process_is_told(tmp_path: Path) -> None:
    tree = Tree(tmp_path, {"": "memory pids"})
    with tree.standing():
        group = Group.make([Place(str(tmp_path), 2, ("memory",))], new_name())

        with pytest.raises(NoGroup, match="are not in"):
            group.check([os.getpid()])

        assert group.remove()


def test_no_proc_is_no_place(monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(path: str) -> str:
        raise FileNotFoundError(path)

    monkeypatch.setattr(cgroups, "_text", gone)

    assert find() == ()


# ---------------------------------------------------------------- the kernel's own

HERE = find()
USES = {use for place in HERE for use in place.uses}


def needs(*uses: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(not set(uses) <= USES, reason=f"this machine gives only {USES}")


@pytest.fixture
def group() -> Iterator[Group]:
    group = Group.make(HERE, new_name())
    folders = list(group.folders)
    yield group
    assert group.remove()
    assert not any(map(os.path.exists, folders))


def inside(group: Group, program: Callable[[], object]) -> int:
    """Run a function in a process that is in the group; return its number."""
    pid = os.fork()
    if pid == 0:
        try:
            group.enter()
            program()
        finally:
            os._exit(0)
    return pid


def two() -> None:
    os.fork()
    signal.pause()


@needs("kill")
def test_whoever_enters_is_in_it_with_all_that_comes_from_it(group: Group) -> None:
    pid = inside(group, two)
    assert wait_until(lambda: len(group.members()) == 2)

    group.check([pid])
    group.kill()

    assert os.waitpid(pid, 0)[1] == signal.SIGKILL
    assert wait_until(lambda: group.members() == set())
    with pytest.raises(NoGroup, match="are not in"):
        group.check([os.getpid()])


@needs("memory")
def test_more_memory_than_the_limit_is_killed_for(group: Group) -> None:
    group.limit(memory=64 << 20)

    pid = inside(group, lambda: bytearray(256 << 20))

    assert os.waitpid(pid, 0)[1] == signal.SIGKILL
    assert group.killed()


@needs("memory")
def test_memory_is_counted(group: Group) -> None:
    def hold() -> None:
        held = bytearray(48 << 20)
        signal.pause()
        del held

    pid = inside(group, hold)

    assert wait_until(lambda: (group.memory() or 0) > 48 << 20)
    assert not group.killed()

    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


@needs("pids")
def test_more_processes_than_the_limit_are_refused(group: Group) -> None:
    group.limit(pids=5)

    def fork_on() -> None:
        try:
            while os.fork():
                pass
        except OSError:
            pass
        signal.pause()

    pid = inside(group, fork_on)

    assert wait_until(lambda: group.processes() == 5)
    group.kill()
    os.waitpid(pid, 0)


@needs("kill")
def test_cpu_time_is_counted_with_that_of_the_dead(group: Group) -> None:
    def spin() -> None:
        until = time.process_time() + 0.2
        while time.process_time() < until:
            pass

    os.waitpid(inside(group, spin), 0)

    assert wait_until(lambda: (group.cpu_seconds() or 0) >= 0.2)


@needs("memory", "pids")
def test_a_limit_that_can_t_be_is_told(group: Group) -> None:
    with pytest.raises(NoGroup, match="pids can't be limited"):
        group.limit(pids=-5)


@needs("kill")
def test_what_a_dead_keeper_left_is_removed_and_the_living_one_s_is_not(group: Group) -> None:
    folder = Path(group.folders[0])
    dead = folder.with_name(new_name())
    dead.mkdir()
    pid = os.fork()
    if pid == 0:
        (dead / "cgroup.procs").write_text("0")
        signal.pause()
    assert wait_until(lambda: str(pid) in (dead / "cgroup.procs").read_text().split())

    reap(str(folder.parent))

    assert os.waitpid(pid, 0)[1] == signal.SIGKILL
    assert (dead.exists(), folder.exists()) == (False, True)


@needs("kill")
def test_a_group_is_removed_by_its_name_even_if_it_is_gone_already() -> None:
    name = new_name()
    Path(HERE[0].folder, name).mkdir()

    assert discard(HERE, name)
    assert discard(HERE, name)
    assert not Path(HERE[0].folder, name).exists()


def test_a_group_that_can_t_be_made_is_told_and_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(NoGroup, match=r"cgroup\.procs"):
        Group.make([Place(str(tmp_path), 1, ("memory",))], "lmboot-x")
