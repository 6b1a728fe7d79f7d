"""podman: what it is told, what is seen inside, and that nothing of it outlives a run."""
# ruff: noqa: E501 (programs stay unbroken)

from __future__ import annotations

import asyncio
import base64
import errno
import os
import platform
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from lmboot.errors import SandboxFault
from lmboot.runtime import seccomp
from lmboot.runtime.backends import Plan, container
from lmboot.runtime.backends.bubblewrap import Kernel
from lmboot.runtime.backends.container import HYBRID, Podman, Store, diagnose
from lmboot.runtime.posture import prove
from lmboot.runtime.run import Box
from tests import leaks
from tests.runtime.guests import run, started

ROOT = Path(__file__).parents[2]


# ---------------------------------------------------------------- the plan, as a value


def a_podman(
    prefix: str | None = None, *, hybrid: bool = False, store: Store | None = None
) -> Podman:
    return Podman(
        binary="/usr/bin/podman",
        crun="/usr/bin/crun",
        python="/usr/bin/python3",
        prefix=prefix,
        folders=("/lib", "/bin"),
        hybrid=hybrid,
        filter=b"FILTER",
        enter=b"ENTER",
        start=b"START",
        library=b"LIBRARY",
        store=store,
    )


STORAGE = (
    *("/usr/bin/podman", "--root", "/w/s", "--runroot", "/w/r", "--tmpdir", "/w/tmp"),
    *("--storage-driver", "vfs", "--cgroup-manager", "cgroupfs", "--log-level", "fatal"),
    *("--runtime", "/usr/bin/crun"),
)
OWN = (
    *("--env", "LANG=C.UTF-8", "--env", "HOME=/app", "--env", "TMPDIR=/tmp"),
    *("--env", "LMBOOT_FD=3"),
)


def test_podman_is_told_exactly_this() -> None:
    plan = a_podman().plan(disk_bytes=64 << 20, workspace="/w")

    assert plan == Plan(
        argv=(
            *(*STORAGE, "unshare", "/usr/bin/python3", "-I", "-S", "-B", "/w/launch/enter.py"),
            *("7", "8", "--", *STORAGE, "run", "--name", "lmboot", "--preserve-fds", "6"),
            *("--network", "none", "--ipc", "private", "--pid", "private", "--uts", "private"),
            *("--cap-drop", "all", "--security-opt", "no-new-privileges"),
            *("--security-opt", "label=disable"),
            *("--security-opt", "mask=/sys:/run/.containerenv"),
            *("--security-opt", "proc-opts=ro,nosuid,nodev,noexec"),
            *("--annotation", f"run.oci.seccomp_bpf_data={base64.b64encode(b'FILTER').decode()}"),
            *("--cgroups", "disabled", "--ulimit", "nofile=256:256"),
            *("--log-driver", "none", "--hostname", "lmboot", "--no-hosts", "--http-proxy=false"),
            *("--read-only", "--read-only-tmpfs=false"),
            *("--mount", "type=tmpfs,destination=/dev,ro=true,tmpfs-mode=0755"),
            *("--mount", "type=tmpfs,destination=/app,tmpfs-size=67108864"),
            *("--mount", "type=tmpfs,destination=/tmp,tmpfs-size=16777216"),
            *("--mount", "type=tmpfs,destination=/dev/shm,tmpfs-size=16777216"),
            *("--workdir", "/app", "--volume", "/w/launch/inside:/run/lmboot:ro"),
            *("--volume", "/usr:/usr:ro", "--volume", "/lib:/lib:ro", "--volume", "/bin:/bin:ro"),
            *("--uidmap", "65534:0:1", "--gidmap", "65534:0:1", "--user", "65534:65534"),
            *("--security-opt", "mask=/etc", "--env", "PATH=/usr/bin", *OWN),
            *("--rootfs", "/w/app", "/usr/bin/python3"),
            *("-I", "-S", "-B", "-u", "-X", "utf8", "/run/lmboot/start.py", "6", "7", "8"),
        ),
        env={
            "PATH": "/usr/bin:/bin:/usr/sbin:/sbin",
            "LANG": "C.UTF-8",
            "HOME": "/w/tmp",
            "TMPDIR": "/w/tmp",
            "XDG_RUNTIME_DIR": "/w/tmp",
            "CONTAINERS_CONF": "/w/launch/containers.conf",
        },
        library="/run/lmboot/lib",
        contents={},
        cwd="/",
        info=6,
        folders=("/app", "/tmp", "/dev/shm"),
        files={
            "launch/containers.conf": container._CONFIGURATION,
            "launch/enter.py": b"ENTER",
            "launch/nothing": b"",
            "launch/inside/start.py": b"START",
            "launch/inside/lib/guest_sys.py": b"LIBRARY",
        },
        scaffold=True,
    )


def test_a_python_outside_usr_is_bound_read_only_with_its_prefix() -> None:
    argv = a_podman("/opt/python").plan(disk_bytes=1, workspace="/w").argv

    assert "/opt/python:/opt/python:ro" in argv


def test_every_volume_is_read_only_and_none_lies_beneath_the_workspace_s_mounts() -> None:
    argv = a_podman("/opt/python").plan(disk_bytes=1, workspace="/w").argv
    volumes = [argv[at + 1] for at, word in enumerate(argv) if word == "--volume"]

    assert len(volumes) == 5
    assert all(volume.endswith(":ro") for volume in volumes)
    assert [volume for volume in volumes if ":/app" in volume] == []


def test_of_mixed_control_groups_the_second_kind_is_hidden_from_crun() -> None:
    argv = a_podman(hybrid=True).plan(disk_bytes=1, workspace="/w").argv

    at = argv.index("/w/launch/enter.py")
    assert argv[at + 1 : at + 6] == ("7", "8", HYBRID, "/w/launch/nothing", "--")


def test_an_image_is_looked_for_in_the_user_s_store_and_never_pulled() -> None:
    store = Store("localhost/mine:1", "overlay", "/home/u/images")
    argv = a_podman(store=store).plan(disk_bytes=1, workspace="/w").argv

    text = " ".join(argv)
    assert "--storage-driver overlay --storage-opt overlay.imagestore=/home/u/images" in text
    assert "--pull never --image-volume ignore --no-healthcheck --user 0:0" in text
    assert argv[argv.index("localhost/mine:1") + 1] == "python3"
    assert "--rootfs" not in argv
    assert [word for word in argv if word.startswith("/usr:")] == []


@pytest.mark.parametrize(
    ("said", "settings", "means", "hint"),
    [
        ("crun: cgroups in hybrid mode not supported, drop", Kernel(), "both kinds", "unified"),
        ('exec: "newuidmap": executable file not found', Kernel(), "user numbers", "apt install uidmap"),
        ("could not find a working conmon binary", Kernel(), "conmon", "apt install conmon"),
        ("Error: unknown flag: --pull", Kernel(), "too old", "4.3"),
        ("Error: mine: image not known", Kernel(), "no such image", "podman pull IMAGE"),
        ("write x: no space left on device", Kernel(), "no room", "Make room"),
        ("mkdir /x: read-only file system", Kernel(), "can't be written", "TMPDIR"),
        ("runroot is longer than 50 characters", Kernel(), "too long a path", "TMPDIR"),
        ("cannot clone: Operation not permitted", Kernel(apparmor_restricts=True), "AppArmor", "/usr/bin/podman"),
        ("cannot clone: permission denied", Kernel(container=True), "container around", "--security-opt"),
        ("cannot clone", Kernel(no_user_namespaces=True), "is 0", "max_user_namespaces=10000"),
        ("cannot clone", Kernel(clone_forbidden=True), "ordinary users", "userns_clone=1"),
        ("something else", Kernel(), "something else", "lmboot doctor"),
    ],
)  # fmt: skip
def test_a_failure_is_explained_with_its_remedy(
    said: str, settings: Kernel, means: str, hint: str
) -> None:
    told = diagnose(said, settings)

    assert means in told[0]
    assert hint in told[1]


def test_of_an_image_it_is_told_which_one_and_what_it_lacks() -> None:
    absent = diagnose("Error: mine: image not known", Kernel(), "mine")
    no_python = diagnose("crun: executable file `python3` not found in $PATH", Kernel(), "mine")

    assert absent[1].startswith("Run `podman pull mine`")
    assert "holds no python3" in no_python[0]


# ---------------------------------------------------------------- which podman


@pytest.mark.parametrize(
    ("lacks", "means", "hint"),
    [
        ("podman", "podman is not installed", "apt install podman"),
        ("crun", "without crun", "apt install crun"),
    ],
)
def test_what_is_not_installed_is_told_with_the_way_to_get_it(
    lacks: str, means: str, hint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = {"podman": "/usr/bin/podman", "crun": "/usr/bin/crun", lacks: None}
    monkeypatch.setattr(container, "trusted_program", there.__getitem__)

    with pytest.raises(SandboxFault, match=means) as caught:
        container.find()

    assert hint in caught.value.hint


@pytest.mark.skipif(os.geteuid() != 0, reason="only root is refused")
def test_as_root_an_image_is_refused_with_the_reason() -> None:
    with pytest.raises(SandboxFault, match="can't read root's images") as caught:
        container.find("mine")

    assert "container_image" in caught.value.hint


# ---------------------------------------------------------------- for real


@pytest.mark.sandbox
async def test_podman_proves_itself_here() -> None:
    proven = await prove(container.find())

    assert (proven.usable, proven.reason, proven.remedy) == (True, "", "")
    watched = {name for name, level in proven.properties.items() if level != "enforced"}
    assert watched == {"mem_total", "cpu_rate"}  # without a control group


@pytest.mark.sandbox
async def test_without_the_filter_podman_is_not_enough() -> None:
    """An empty program that allows all; a crun that ignored ours would be no better."""
    backend = replace(container.find(), filter=b"\x06\x00\x00\x00\x00\x00\xff\x7f")

    proven = await prove(backend)

    assert not proven.usable
    assert "net_ip" in proven.reason
    assert proven.properties["syscalls"] == "absent"


@pytest.mark.sandbox
async def test_every_call_of_the_filter_s_tables_is_refused_inside() -> None:
    """By number, so that nothing rests on which names a library knows."""
    column = seccomp.ARCHES[platform.machine()].column
    refused = {name: row[column] for name, row in seccomp.DENIED.items()}
    absent = {name: row[column] for name, row in seccomp.ABSENT.items()}
    program = f"""
        import ctypes, json
        libc = ctypes.CDLL(None, use_errno=True)
        found = {{}}
        for name, number in {[(n, c) for n, c in {**refused, **absent}.items() if c is not None]!r}:
            ctypes.set_errno(0)
            result = libc.syscall(ctypes.c_long(number), *[ctypes.c_long(0)] * 6)
            found[name] = ctypes.get_errno() if result < 0 else "done"
        print(json.dumps(found))
        """

    guest = await run(program, sandbox="podman")

    assert guest.errors == ""
    assert eval(guest.text) == {
        **{name: errno.EPERM for name, number in refused.items() if number is not None},
        **{name: errno.ENOSYS for name, number in absent.items() if number is not None},
    }


@pytest.mark.sandbox
async def test_inside_nothing_is_seen_but_what_the_plan_names() -> None:
    guest = await run(
        """
        import os, socket
        print(os.getcwd(), os.getuid(), os.getgid(), socket.gethostname())
        for path in ("/", "/etc", "/sys", "/run", "/run/lmboot"):
            print(path, sorted(os.listdir(path)))
        print(repr(open("/run/.containerenv").read()))
        """,
        sandbox="podman",
    )

    folders = {path[1:] for path in container.find().folders}
    every = sorted({*folders, "app", "dev", "etc", "proc", "run", "sys", "tmp", "usr"})
    assert guest.text.splitlines() == [
        "/app 65534 65534 lmboot",
        f"/ {every}",
        "/etc []",
        "/sys []",
        "/run ['.containerenv', 'lmboot']",
        "/run/lmboot ['lib', 'start.py']",
        "''",
    ]


@pytest.mark.sandbox
async def test_the_process_that_looks_after_the_runtime_is_out_of_its_reach() -> None:
    guest = await run(
        """
        import os, time
        def attempt(action):
            try:
                return action()
            except OSError as error:
                return type(error).__name__
        deadline = time.monotonic() + 20  # it closes itself while the program begins already
        while attempt(lambda: os.listdir("/proc/1/fd")) != "PermissionError":
            assert time.monotonic() < deadline
        print(attempt(lambda: open("/proc/1/mem", "r+b")))
        os.kill(1, 9)
        os.kill(1, 15)
        print("alive", os.getppid())
        """,
        sandbox="podman",
    )

    assert (guest.text, guest.errors) == ("PermissionError\nalive 1\n", "")


@pytest.mark.sandbox
async def test_nothing_of_podman_s_is_left_around_a_container_that_stands() -> None:
    async with started("print('ready'); input()", sandbox="podman") as guest:
        await guest.until(b"ready\n")
        below = psutil.Process().children(recursive=True)

        names = sorted({Path(process.cmdline()[0]).name for process in below if process.cmdline()})

    assert [name for name in names if not name.startswith("python")] == []


@pytest.mark.sandbox
async def test_the_user_s_own_containers_and_settings_play_no_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A configuration that would mount a folder and set a variable for every container."""
    conf = tmp_path / "containers.conf"
    conf.write_text(f'[containers]\nvolumes = ["{tmp_path}:/mine"]\nenv = ["MINE=1"]\n')
    monkeypatch.setenv("CONTAINERS_CONF", str(conf))

    guest = await run(
        "import os; print(os.path.exists('/mine'), b'MINE' in open('/proc/self/environ', 'rb').read())",
        sandbox="podman",
    )

    assert guest.text == "False False\n"


@pytest.mark.sandbox
async def test_closed_stdin_is_noticed_by_whoever_sends() -> None:
    """Nobody around the container holds the pipe open."""
    program = "import os; os.close(0); print('closed', flush=True); import time; time.sleep(600)"
    async with started(program, sandbox="podman") as guest:
        await guest.until(b"closed\n")

        assert not await guest.runtime.send(b"x")


@pytest.mark.sandbox
async def test_orphans_are_collected_as_in_any_system() -> None:
    guest = await run(
        """
        import os, time
        for _ in range(20):
            if os.fork() == 0:
                if os.fork() == 0:
                    os._exit(0)
                os._exit(0)
            os.wait()
        deadline = time.monotonic() + 20
        while len([n for n in os.listdir("/proc") if n.isdigit()]) > 2:
            assert time.monotonic() < deadline
        print("gone")
        """,
        sandbox="podman",
    )

    assert (guest.text, guest.errors) == ("gone\n", "")


# ---------------------------------------------------------------- when something is killed

PARENT = """
import asyncio, sys
from lmboot.runtime.launcher import Job, Launcher
from lmboot.runtime.policy import Limits

async def main():
    launcher = await Launcher.prepare("podman")
    program = b"print('ready', flush=True)\\nimport time; time.sleep(600)"
    runtime = await launcher.launch(Job((("main.py", program),), ("main.py",), Limits(), {}))
    async for event in runtime.events():
        print(event, flush=True)

asyncio.run(main())
"""


@pytest.mark.sandbox
def test_a_container_ends_by_itself_when_all_that_watched_it_are_killed() -> None:
    before = leaks.processes()
    lmboot = subprocess.Popen(
        [sys.executable, "-c", PARENT],
        stdout=subprocess.PIPE,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    with lmboot:
        assert lmboot.stdout is not None
        assert b"ready" in lmboot.stdout.readline()
        tree = psutil.Process(lmboot.pid).children(recursive=True)
        supervisors = [each for each in tree if any("supervisor.py" in w for w in each.cmdline())]

        lmboot.send_signal(signal.SIGSTOP)  # so that it can't do what the supervisor would have
        for each in supervisors:
            each.kill()
        lmboot.kill()
        lmboot.wait()

        assert len(tree) > len(supervisors) > 0
        assert leaks.wait_until(
            lambda: (
                not any(
                    each.is_running() and each.status() != psutil.STATUS_ZOMBIE for each in tree
                )
            ),
            20,
        )
    assert leaks.wait_until(lambda: leaks.processes() <= before)
    asyncio.run(remove_what_the_dead_left())


async def remove_what_the_dead_left() -> None:
    """Do what whoever comes next does."""
    await run("print(1)", sandbox="podman")


@pytest.mark.sandbox
async def test_a_scaffold_that_dies_before_the_container_stands_is_a_fault_that_leaves_nothing(
    tmp_path: Path,
) -> None:
    crun = tmp_path / "crun"
    crun.write_text("#!/bin/sh\necho no container today >&2\nexit 1\n")
    crun.chmod(0o755)
    for folder in (tmp_path, *tmp_path.parents):
        if "pytest" in str(folder):
            folder.chmod(0o755)
    backend = replace(container.find(), crun=str(crun))

    with pytest.raises(SandboxFault, match="podman could not set up"):
        await Box.open(backend)


@pytest.mark.sandbox
async def test_a_podman_that_starts_what_it_is_given_is_refused(tmp_path: Path) -> None:
    """Sandbox.md case 100: no process space of its own, no sandbox."""
    lie = tmp_path / "podman"
    start = Path(container.__file__).parents[1] / "guest" / "start.py"
    (tmp_path / "start.py").write_bytes(start.read_bytes())
    lie.write_text(f"#!/bin/sh\nexec /usr/bin/python3 {tmp_path}/start.py\n")
    lie.chmod(0o755)
    for folder in (tmp_path, *tmp_path.parents):
        if "pytest" in str(folder):
            folder.chmod(0o755)
    backend = replace(container.find(), binary=str(lie))

    proven = await prove(backend)

    assert not proven.usable


@pytest.mark.sandbox
@pytest.mark.case(29, 30, 113, sandbox="podman")
async def test_proc_can_be_read_and_sys_is_empty() -> None:
    """Neither can be left out of a container; what is in them leads nowhere."""
    program = """
        import os

        def outcome(path):
            try:
                os.close(os.open(path, os.O_WRONLY))
            except OSError as error:
                return type(error).__name__
            return "open"

        print(os.listdir("/sys"), [name for name in ("boot", "home", "root", "srv", "var")
                                   if os.path.exists("/" + name) and os.listdir("/" + name)])
        for path in ("sys/kernel/core_pattern", "sys/kernel/modprobe", "sysrq-trigger", "kcore",
                     "sys/vm/overcommit_memory", "irq/0/smp_affinity", "1/oom_score_adj", "1/mem",
                     "self/oom_score_adj", "self/uid_map", "self/mem", "self/comm",
                     "self/timerslack_ns", "self/coredump_filter"):
            print(outcome("/proc/" + path))
        """
    guest = await run(program, sandbox="podman")

    first, *others = guest.text.splitlines()
    assert first == "[] []"
    assert set(others) <= {"OSError", "PermissionError", "FileNotFoundError"}
    assert others[-6:] == ["OSError"] * 6  # EROFS
