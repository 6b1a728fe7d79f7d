"""docker: what its service is asked, who gets the descriptors, and what of it goes wrong.

The service is one by hand (`fake_docker.py`), whose containers are bubblewrap's; a real one is
tried by `python -m tests.soak docker`.
"""
# ruff: noqa: E501 (programs stay unbroken)

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from lmboot import service
from lmboot.errors import SandboxFault
from lmboot.inside import hold
from lmboot.process import Ended
from lmboot.runtime.backends import Plan, docker
from lmboot.runtime.backends.docker import EMPTY, MASKED, NOTHING, Docker, address, diagnose
from lmboot.runtime.posture import choose, prove
from lmboot.runtime.run import Box
from lmboot.served import Door
from lmboot.service import NoAnswer, Request, Service, described
from tests import leaks
from tests.runtime.fake_docker import EMPTY_LAYER, Container, FakeDocker, serving
from tests.runtime.guests import run, started

ROOT = Path(__file__).parents[2]


# ---------------------------------------------------------------- the plan, as a value


def a_docker(**given: Any) -> Docker:
    return replace(
        Docker(
            socket="/s",
            versions=("Engine 20.10",),
            rootless=False,
            limited=True,
            python="/usr/bin/python3",
            prefix=None,
            folders=("/lib",),
            filter=b"FILTER",
            admit=b"ADMIT",
            start=b"START",
            library=b"LIBRARY",
        ),
        **given,
    )


def bound(source: str, target: str) -> dict[str, object]:
    return {
        "Type": "bind",
        "Source": source,
        "Target": target,
        "ReadOnly": True,
        "BindOptions": {"NonRecursive": True},
    }


def test_docker_is_asked_for_exactly_this() -> None:
    plan = a_docker().plan(disk_bytes=64 << 20, workspace="/w/run-1")

    own = "rw,exec,nosuid,nodev,mode=0700,size="
    assert plan == Plan(
        argv=(
            *("/usr/bin/python3", "-I", "-S", "-B", "-u", "-X", "utf8", "/run/lmboot/admit.py"),
            *("/run/door/socket", "/run/lmboot/filter", "/run/lmboot/start.py", "6", "7", "8"),
        ),
        env={
            "PATH": "/usr/bin",
            "LANG": "C.UTF-8",
            "HOME": "/app",
            "TMPDIR": "/tmp",
            "LMBOOT_FD": "3",
        },
        library="/run/lmboot/lib",
        contents={},
        info=6,
        folders=("/app", "/tmp", "/dev/shm"),
        files={
            "launch/inside/admit.py": b"ADMIT",
            "launch/inside/filter": b"FILTER",
            "launch/inside/start.py": b"START",
            "launch/inside/lib/guest_sys.py": b"LIBRARY",
        },
        grouped=False,
        request=Request(
            socket="/s",
            name="lmboot-run-1",
            body={
                "Image": "lmboot-nothing:1",
                "WorkingDir": "/app",
                "Hostname": "lmboot",
                "Labels": {"lmboot": "/w/run-1"},
                "Healthcheck": {"Test": ["NONE"]},
                "HostConfig": {
                    "AutoRemove": True,
                    "CapDrop": ["ALL"],
                    "CgroupnsMode": "private",
                    "Init": False,
                    "IpcMode": "private",
                    "LogConfig": {"Type": "none"},
                    "NetworkMode": "none",
                    "ReadonlyRootfs": True,
                    "Runtime": "runc",
                    "SecurityOpt": ["no-new-privileges", "label=disable"],
                    "Ulimits": [{"Name": "nofile", "Soft": 256, "Hard": 256}],
                    "UsernsMode": "host",
                    "Mounts": [
                        bound("/usr", "/usr"),
                        bound("/lib", "/lib"),
                        bound("/w/run-1/launch/inside", "/run/lmboot"),
                        bound("/w/run-1/launch/door", "/run/door"),
                    ],
                    "Tmpfs": {
                        "/dev": "ro,exec,nosuid,dev,mode=0755,size=65536",
                        "/app": f"{own}{64 << 20}",
                        "/tmp": f"{own}{16 << 20}",
                        "/dev/shm": f"{own}{16 << 20}",
                    },
                    "MaskedPaths": [*MASKED, "/etc"],
                },
            },
            door="/w/run-1/launch/door/socket",
            handed=(3, 4, 5, 6, 1, 2),
            limited=True,
        ),
    )


def test_whoever_asks_is_whom_the_runtime_is_and_whose_the_folders_are() -> None:
    body = {"Image": "x", "HostConfig": {"Tmpfs": {"/app": "rw,size=1"}, "Init": False}}

    assert described(body, ("python", "a b"), {"A": "1"}, 7, 8) == {
        "Image": "x",
        "Entrypoint": ["python", "a b"],
        "Cmd": [],
        "Env": ["A=1"],
        "User": "7:8",
        "HostConfig": {"Tmpfs": {"/app": "rw,size=1,uid=7,gid=8"}, "Init": False},
    }


def test_a_service_without_root_s_rights_runs_it_as_its_own_root_who_is_the_user() -> None:
    request = a_docker(rootless=True).plan(disk_bytes=1, workspace="/w").request

    assert request is not None
    assert request.as_root
    mounts = request.body["HostConfig"]["Mounts"]
    assert not any(mount["BindOptions"]["NonRecursive"] for mount in mounts)


def test_of_an_image_nothing_is_written_but_in_memory_and_nothing_of_the_host_is_seen() -> None:
    backend = a_docker(image="mine:1", volumes=("/data",))
    request = backend.plan(disk_bytes=1, workspace="/w").request

    assert request is not None
    host = request.body["HostConfig"]
    assert request.body["Image"] == "mine:1"
    assert [mount["Target"] for mount in host["Mounts"]] == ["/run/lmboot", "/run/door"]
    assert host["Tmpfs"]["/data"].startswith("ro,")
    assert "/etc" not in host["MaskedPaths"]
    assert "/etc/resolv.conf" in host["MaskedPaths"], "the machine's own is put there"
    assert backend.plan(disk_bytes=1, workspace="/w").argv[0] == "python3"


def test_a_python_outside_usr_is_shown_with_its_prefix() -> None:
    request = a_docker(prefix="/opt/python").plan(disk_bytes=1, workspace="/w").request

    assert request is not None
    assert bound("/opt/python", "/opt/python") in request.body["HostConfig"]["Mounts"]


@pytest.mark.parametrize(
    ("said", "means", "hint"),
    [
        ("/var/run/docker.sock: No such file or directory", "not installed", "apt install docker.io"),
        ("/var/run/docker.sock: Connection refused", "does not run", "systemctl start docker"),
        ("/var/run/docker.sock: Permission denied", "as good as root", "--sandbox podman"),
        ("/s is another user's, who could look", "only root's", "DOCKER_HOST"),
        ("the container's first process is not among this machine's", "virtual machine", "DOCKER_HOST"),
        ("invalid mount config: bind source path does not exist: /w", "virtual machine", "this very machine"),
        ("[Errno 1] Operation not permitted", "other users", "userns-remap"),
        ("somebody else than the sandbox came to its door", "other users", "podman"),
        ("No such image: mine", "no such image", "docker pull mine"),
        ("write /x: no space left on device", "no room", "/var/lib/docker"),
        ("ModuleNotFoundError(\"No module named '_ctypes'\")", "lacks a part", "python:3-slim"),
        ("docker's service does not answer: timeout", "broken", "docker info"),
        ('exec: "python3": executable file not found in $PATH', "holds no python3", "python:3-slim"),
        ("something else", "something else", "lmboot doctor"),
    ],
)  # fmt: skip
def test_a_failure_is_explained_with_its_remedy(said: str, means: str, hint: str) -> None:
    told = diagnose(said, "mine")

    assert means in told[0]
    assert hint in told[1]


# ---------------------------------------------------------------- which service


def test_the_socket_is_docker_host_s_or_the_user_s_own_or_root_s(tmp_path: Path) -> None:
    (tmp_path / "docker.sock").touch()

    assert address({"DOCKER_HOST": "unix:///x/y"}) == "/x/y"
    assert address({"XDG_RUNTIME_DIR": str(tmp_path)}) == str(tmp_path / "docker.sock")
    assert address({"XDG_RUNTIME_DIR": "/nowhere"}) == "/var/run/docker.sock"
    assert address({}) == "/var/run/docker.sock"


@pytest.mark.parametrize("host", ["tcp://10.0.0.1:2375", "ssh://me@there", "unix://relative", "x"])
def test_a_docker_of_another_machine_is_refused_before_anybody_is_asked(
    host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", host)

    with pytest.raises(SandboxFault, match="this very machine") as caught:
        docker.find()

    assert "DOCKER_HOST" in caught.value.hint


async def test_without_docker_it_is_told_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none")

    with pytest.raises(SandboxFault, match="not installed") as caught:
        await choose("docker", no_border=False)

    assert "apt install docker.io" in caught.value.hint


@pytest.fixture
def short_path() -> Iterator[Path]:
    """A folder in which sockets can be made, and to which everybody can go."""
    folder = Path(tempfile.mkdtemp(prefix="lmboot-test-", dir="/tmp"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeDocker]:
    """A service by hand, where lmboot looks for docker's."""
    with serving() as found:
        monkeypatch.setenv("DOCKER_HOST", f"unix://{found.path}")
        yield found


def test_one_that_says_nothing_is_given_up(
    short_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "ANSWER_SECONDS", 0.1)
    monkeypatch.setenv("DOCKER_HOST", f"unix://{short_path}/s")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"{short_path}/s")
        listener.listen()

        with pytest.raises(SandboxFault, match="does not answer") as caught:
            docker.find()

    assert "docker info" in caught.value.hint


@pytest.mark.parametrize(
    "said",
    [b"SSH-2.0-OpenSSH\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n{", b""],
)
def test_one_that_speaks_something_else_is_a_fault(
    said: bytes, short_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{short_path}/s")

    def speak(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(4096)
            connection.sendall(said)

    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"{short_path}/s")
        listener.listen()
        thread = threading.Thread(target=speak, args=(listener,))
        thread.start()
        with pytest.raises(SandboxFault, match="docker"):
            docker.find()
        thread.join()


@pytest.mark.parametrize(
    ("version", "info"), [({}, {}), ({"ApiVersion": "x"}, {}), (None, None), ({}, [])]
)
def test_one_that_answers_otherwise_than_docker_is_a_fault(
    version: Any, info: Any, fake: FakeDocker
) -> None:
    fake.version, fake.info = version, info

    with pytest.raises(SandboxFault, match="does not answer as docker does"):
        docker.find()


def test_an_old_one_is_told_from_a_new_one(fake: FakeDocker) -> None:
    fake.version["ApiVersion"] = "1.40"

    with pytest.raises(SandboxFault, match="too old") as caught:
        docker.find()

    assert "20.10" in caught.value.hint


def test_one_of_windows_containers_is_refused(fake: FakeDocker) -> None:
    fake.info["OSType"] = "windows"

    with pytest.raises(SandboxFault, match="virtual machine"):
        docker.find()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can pose as another user")
def test_another_user_s_is_not_trusted(short_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{short_path}/s")
    short_path.chmod(0o777)
    listen = "import socket, sys; s = socket.socket(socket.AF_UNIX); s.bind(sys.argv[1]); s.listen(); print(flush=True); input()"
    other = subprocess.Popen(
        ["/usr/bin/python3", "-c", listen, f"{short_path}/s"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, user=54321, group=54321, extra_groups=[],
    )  # fmt: skip
    with other:
        assert other.stdout is not None
        other.stdout.readline()
        with pytest.raises(SandboxFault, match="is another user's"):
            docker.find()
        other.kill()


def test_what_the_service_has_decides_what_is_relied_on(fake: FakeDocker) -> None:
    without = docker.find()
    fake.info |= {"MemoryLimit": True, "PidsLimit": True}
    fake.info["SecurityOptions"] = ["name=rootless"]
    with_all = docker.find()

    assert (without.limited, without.rootless) == (False, False)
    assert (with_all.limited, with_all.rootless) == (True, True)
    assert without.versions != with_all.versions, "a proof of one is none of the other"


# ---------------------------------------------------------------- what is made ready, and removed


def test_the_empty_image_is_empty() -> None:
    assert f"sha256:{hashlib.sha256(EMPTY).hexdigest()}" == EMPTY_LAYER


async def test_the_empty_image_is_made_once(fake: FakeDocker) -> None:
    said: list[str] = []

    await docker.prepare(said.append)
    await docker.prepare(said.append)

    assert list(fake.images) == [NOTHING]
    assert said == [f"docker gets an empty image, {NOTHING}"]


@pytest.mark.parametrize(
    "image",
    [
        {"RootFS": {"Layers": ["sha256:00"]}, "Config": {}},
        {"RootFS": {"Layers": [EMPTY_LAYER, "sha256:00"]}, "Config": {}},
        {"RootFS": {"Layers": [EMPTY_LAYER]}, "Config": {"Env": ["LD_PRELOAD=/x"]}},
    ],
)
async def test_another_image_of_its_name_is_refused(
    image: dict[str, Any], fake: FakeDocker
) -> None:
    fake.images[NOTHING] = image

    with pytest.raises(SandboxFault, match="not the empty one") as caught:
        await docker.prepare(print)

    assert f"docker rmi {NOTHING}" in caught.value.hint


def test_an_image_s_volumes_are_known_and_one_that_is_not_there_is_never_fetched(
    fake: FakeDocker,
) -> None:
    fake.images["mine:1"] = {"Config": {"Volumes": {"/data": {}, "/more": {}}}}

    assert docker.find("mine:1").volumes == ("/data", "/more")
    with pytest.raises(SandboxFault, match="no such image") as caught:
        docker.find("other")
    assert "docker pull other" in caught.value.hint
    assert not any("create" in each for each in fake.asked)


async def test_records_of_runs_whose_folder_is_gone_are_removed_and_no_others(
    fake: FakeDocker, tmp_path: Path
) -> None:
    dead = Container({"Labels": {"lmboot": f"{tmp_path}/gone"}})
    fake.containers = {
        "dead": dead,
        "runs": Container(dead.body, state="running"),
        "waits": Container({"Labels": {"lmboot": str(tmp_path)}}),
    }

    await docker.prepare(print)

    assert sorted(fake.containers) == ["runs", "waits"]
    fake.containers.clear()


# ---------------------------------------------------------------- whole runs

pytest_sandbox = pytest.mark.sandbox


@pytest_sandbox
async def test_a_program_runs_and_nothing_is_left(fake: FakeDocker) -> None:
    guest = await run(
        """
        import os, sys
        print(os.getcwd(), os.getpid() != 1, os.listdir("/run/door"), input())
        print("an error", file=sys.stderr)
        sys.exit(3)
        """,
        lines=b"a line\n",
        sandbox="docker",
    )

    assert (guest.text, guest.errors) == ("/app True [] a line\n", "an error\n")
    assert guest.ended == Ended(3, None, clean=True)
    assert leaks.wait_until(lambda: fake.containers == {})


@pytest_sandbox
async def test_a_killed_program_has_the_status_of_its_signal(fake: FakeDocker) -> None:
    guest = await run("import os; os.kill(os.getpid(), 11)", sandbox="docker")

    assert guest.ended == Ended(128 + 11, None, clean=True)


@pytest_sandbox
async def test_what_ignores_everything_is_killed_and_gone(fake: FakeDocker) -> None:
    program = """
        import os, signal, time
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        for _ in range(5):
            if os.fork() == 0:
                os.setsid()
        print("ready", flush=True)
        time.sleep(600)
        """
    async with started(program, sandbox="docker") as guest:
        await guest.until(b"ready\n")
        await guest.stop()

    assert guest.ended == Ended(137, None, clean=True)
    assert fake.containers == {}, "who has been released has also been forgotten by docker"


@pytest_sandbox
async def test_the_hand_over_gives_away_none_of_the_properties(fake: FakeDocker) -> None:
    """The container is bubblewrap's here; the filter, the descriptors and the end are docker's."""
    await docker.prepare(print)

    proven = await prove(docker.find())

    assert (proven.usable, proven.reason) == (True, "")
    # Without groups of the service's, memory and processes are bounded by looking, and processors
    # are shared evenly; in /proc it may set what is its own. On a busy machine a look at the
    # processes may come when the disk is tried already.
    short = {name for name, level in proven.properties.items() if level != "enforced"}
    own = {"mem_total", "pids", "disk_total", "cpu_rate", "fs_write"}
    assert short <= own, json.dumps(dict(proven.tried))


@pytest_sandbox
async def test_the_process_that_looks_after_the_runtime_has_none_of_its_streams(
    fake: FakeDocker,
) -> None:
    program = "import os; os.close(1); os.close(2); os.close(0); import time; time.sleep(600)"
    async with started(program, sandbox="docker") as guest:
        while await guest.runtime.send(b"x"):  # until nobody has the other end
            pass


# ---------------------------------------------------------------- who comes to the door


async def refused(fake: FakeDocker, match: str, **changes: Any) -> None:
    """See that a sandbox can't be set up, for this reason, and that nothing is left."""
    await docker.prepare(print)

    with pytest.raises(SandboxFault, match=match):
        await Box.open(replace(docker.find(), **changes))

    assert fake.containers == {}


@pytest_sandbox
async def test_somebody_else_at_the_door_is_refused_and_the_container_ended(
    fake: FakeDocker,
) -> None:
    """He who is first has spoilt it for all."""
    came = socket.socket(socket.AF_UNIX)

    def come(container: Container) -> None:
        came.connect(str(container.door / "socket"))

    fake.before_start = come
    with came:
        await refused(fake, "somebody else than the sandbox")
        came.settimeout(20)
        try:
            said, given, _, _ = socket.recv_fds(came, 16, 16)
        except ConnectionResetError:
            said, given = b"", []

    assert (said, given) == (b"", [])


def children_of(process: subprocess.Popen[bytes]) -> list[psutil.Process]:
    return psutil.Process(process.pid).children()


@pytest_sandbox
async def test_another_process_than_the_service_tells_of_is_refused_and_not_killed(
    fake: FakeDocker,
) -> None:
    """A service elsewhere tells numbers that are somebody else's here."""
    other = subprocess.Popen(  # noqa: ASYNC220 (a fork; there is nothing to wait for)
        [
            "bwrap",
            "--unshare-all",
            "--as-pid-1",
            "--die-with-parent",
            "--ro-bind",
            "/",
            "/",
            "sleep",
            "60",
        ]
    )
    try:
        # Not before it is what it will be: until then it would outlive the process above it.
        assert leaks.wait_until(lambda: "sleep" in map(psutil.Process.name, children_of(other)))
        fake.told_pid = children_of(other)[0].pid
        await refused(fake, "docker could not set up")

        assert other.poll() is None
    finally:
        other.kill()
        other.wait()


@pytest_sandbox
@pytest.mark.parametrize("pid", [0, os.getpid(), 4_000_000], ids=["none", "our own", "nobody"])
async def test_a_number_that_is_no_container_s_here_is_refused_at_once(
    fake: FakeDocker, pid: int
) -> None:
    fake.told_pid = pid

    await refused(fake, "not among this machine's.*virtual machine")


@pytest_sandbox
async def test_nobody_at_the_door_is_noticed_when_the_container_has_ended(
    fake: FakeDocker,
) -> None:
    fake.command = ["/usr/bin/sleep", "0.5"]

    await refused(fake, "the sandbox ended with status 137")


PEER = """
import os, socket, sys, time
door = socket.socket(socket.AF_UNIX)
door.connect("/run/door/socket")
if sys.argv[1] == "leaves":
    door.close()
    time.sleep(600)
_, given, _, _ = socket.recv_fds(door, 1, 16)
os.read(given[1], 32)
os.write(given[0], sys.argv[1].encode())
time.sleep(600)
"""


@pytest_sandbox
@pytest.mark.parametrize(
    ("says", "match"),
    [
        ("leaves", "the sandbox ended"),
        ("READY 0123456789abcdef0123456789abcdef\n", "no proper sign of life"),
        ("READY\n", "no proper sign of life"),
        ("FAULT no filter\n", "no filter"),
        ("GO\n", "no proper sign of life"),
    ],
)
async def test_a_first_process_that_is_not_ours_is_refused(
    fake: FakeDocker, says: str, match: str
) -> None:
    fake.command = ["/usr/bin/python3", "-I", "-S", "-c", PEER, says]

    await refused(fake, match)


@pytest_sandbox
async def test_without_the_filter_nothing_begins(fake: FakeDocker) -> None:
    await refused(fake, "the filter is refused", filter=b"\0" * 8)


@pytest_sandbox
@pytest.mark.parametrize("step", ["create", "start"])
async def test_what_the_service_refuses_is_told_in_its_words(fake: FakeDocker, step: str) -> None:
    fake.refused[f"/{step}"] = "not today"
    fake.images[NOTHING] = {"RootFS": {"Layers": [EMPTY_LAYER]}, "Config": {}}

    await refused(fake, "not today")


@pytest_sandbox
async def test_limits_that_are_promised_and_not_there_are_a_fault(fake: FakeDocker) -> None:
    """The service says that it has control groups, and has put the container into none."""
    fake.info |= {"MemoryLimit": True, "PidsLimit": True}

    await refused(fake, "control group")


@pytest.fixture
def door(short_path: Path) -> Iterator[Door]:
    with_path = Door(f"{short_path}/door/socket")
    yield with_path
    with_path.close()


@pytest.fixture
def ourselves() -> Iterator[int]:
    handle = hold(os.getpid())
    yield handle
    os.close(handle)


def test_the_door_opens_once_and_is_gone_then(
    door: Door, short_path: Path, ourselves: int
) -> None:
    with (
        socket.socket(socket.AF_UNIX) as first,
        socket.socket(socket.AF_UNIX) as second,
        open("/dev/null") as file,
    ):
        first.connect(f"{short_path}/door/socket")
        second.connect(f"{short_path}/door/socket")
        door.hand_over(os.getpid(), ourselves, [file.fileno()])

        _, given, _, _ = socket.recv_fds(first, 1, 4)
        assert len(given) == 1
        os.close(given[0])
        with pytest.raises(ConnectionResetError):
            second.recv(1)
        assert list(short_path.iterdir()) == []


def test_who_has_left_before_he_was_let_in_gets_nothing(
    door: Door, short_path: Path, ourselves: int
) -> None:
    with pytest.raises(NoAnswer):
        door.hand_over(os.getpid(), ourselves, [])


def test_a_process_that_has_ended_is_nobody_even_if_its_number_comes(
    door: Door, short_path: Path
) -> None:
    child = subprocess.Popen(["true"])
    ended = hold(child.pid)
    child.wait()
    with socket.socket(socket.AF_UNIX) as first:
        first.connect(f"{short_path}/door/socket")
        with pytest.raises(NoAnswer, match="somebody else"):
            door.hand_over(os.getpid(), ended, [])
    os.close(ended)


def test_a_folder_that_is_there_already_is_no_door(short_path: Path) -> None:
    (short_path / "door").mkdir()

    with pytest.raises(NoAnswer, match="door"):
        Door(f"{short_path}/door/socket")


# ---------------------------------------------------------------- the conversation


def test_a_connection_that_ended_is_not_made_anew(fake: FakeDocker) -> None:
    asked = Service(fake.path)
    assert asked.told("GET", "/version")["ApiVersion"] == "1.41"
    asked.close()

    with pytest.raises(NoAnswer):
        asked.told("GET", "/version")
    with pytest.raises(NoAnswer):
        asked.fileno()


def test_an_answer_that_nobody_took_is_not_mistaken_for_the_next(fake: FakeDocker) -> None:
    asked = Service(fake.path)
    asked.ask("GET", "/version")

    assert asked.told("GET", "/info")["OSType"] == "linux"
    asked.close()


# ---------------------------------------------------------------- when something is killed

PARENT = """
import asyncio
from lmboot.runtime.launcher import Job, Launcher
from lmboot.runtime.policy import Limits

async def main():
    launcher = await Launcher.prepare("docker")
    program = b"print('ready', flush=True)\\nimport time; time.sleep(600)"
    runtime = await launcher.launch(Job((("main.py", program),), ("main.py",), Limits(), {}))
    async for event in runtime.events():
        print(event, flush=True)

asyncio.run(main())
"""


@pytest_sandbox
@pytest.mark.parametrize("both", [False, True])
def test_a_container_ends_by_itself_when_all_that_watched_it_are_killed(
    fake: FakeDocker, both: bool
) -> None:
    lmboot = subprocess.Popen(
        [sys.executable, "-c", PARENT],
        stdout=subprocess.PIPE,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    with lmboot:
        assert lmboot.stdout is not None
        assert b"ready" in lmboot.stdout.readline()
        below = psutil.Process(lmboot.pid).children(recursive=True)
        if both:
            lmboot.send_signal(
                signal.SIGSTOP
            )  # so that it can't do what the supervisor would have
            for each in below:
                each.kill()
        assert len(fake.containers) == 1
        lmboot.kill()
        lmboot.wait()

        assert leaks.wait_until(lambda: fake.containers == {}, 20)
    asyncio.run(run("print('who comes next removes what the dead have left')", sandbox="docker"))


@pytest_sandbox
async def test_a_supervisor_that_is_killed_takes_the_container_along(fake: FakeDocker) -> None:
    async with started("print('ready'); input()", sandbox="docker") as guest:
        await guest.until(b"ready\n")
        for each in psutil.Process().children():
            if any("supervisor.py" in word for word in each.cmdline()):
                each.kill()
        await guest.finish()

    assert guest.ended == Ended(137, None, clean=True)
    assert leaks.wait_until(lambda: fake.containers == {}, 20)
