"""docker: the same container as podman's, asked of the service that holds it, and taken over.

docker's command hands no descriptors on, and a container is no child of whoever asks. So lmboot
asks the service itself, over its socket, and its first process takes what it is to have at a door
that opens once: see `lmboot/served.py`. Only a service of this very machine will do. Linux.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
import platform
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar
from urllib.parse import quote

from lmboot.errors import SandboxFault
from lmboot.runtime import seccomp
from lmboot.runtime.backends import CHANNEL, PAYLOAD, STDIN, Plan
from lmboot.runtime.backends.bubblewrap import interpreter
from lmboot.runtime.backends.containers import (
    ERR,
    FLAGS,
    GUEST,
    INSIDE,
    LIFE,
    NO_PYTHON,
    OPEN_FILES,
    OUT,
    WRITABLE,
    folders_of_the_system,
    own_environment,
    shown,
    sizes,
)
from lmboot.service import NOT_FOUND, NoAnswer, Request, Service
from lmboot.text import brief

OLDEST, OLDEST_TEXT = (1, 41), "20.10"  # of its API; the first with control groups of their own
NOTHING = "lmboot-nothing:1"  # an image of our own in which there is nothing
LABEL = "lmboot"  # of all that is lmboot's in a service
DOOR = "/run/door"
SOCKET = "/var/run/docker.sock"  # where docker's service listens unless somebody has it elsewhere
EMPTY = bytes(1024)  # the end of an archive, and nothing before it

# docker's own list, and what would tell of the machine beside.
MASKED = (
    *("/proc/acpi", "/proc/asound", "/proc/interrupts", "/proc/kcore", "/proc/keys"),
    *("/proc/latency_stats", "/proc/sched_debug", "/proc/scsi", "/proc/timer_list"),
    *("/proc/timer_stats", "/sys"),
)
NAMES = "/etc/resolv.conf"  # docker puts the machine's there
_OWN = "rw,exec,nosuid,nodev"


@dataclass(frozen=True, slots=True)
class Docker:
    """docker's service as it is on this machine, with the interpreter that it will start."""

    name: ClassVar[str] = "docker"
    isolates: ClassVar[bool] = True
    on_disk: ClassVar[bool] = True
    short_paths: ClassVar[bool] = True

    socket: str
    versions: tuple[str, ...]  # of its parts: a proof holds for these
    rootless: bool  # the service is the user's own, and root inside is he
    limited: bool  # it has control groups, which keep the limits
    python: str
    prefix: str | None  # where the interpreter's files lie if not under /usr
    folders: tuple[str, ...]  # of the system, beside /usr
    filter: bytes
    admit: bytes  # guest/admit.py
    start: bytes  # guest/start.py
    library: bytes  # guest/guest_sys.py
    image: str | None = None  # the image to run in; None: the host's /usr
    volumes: tuple[str, ...] = ()  # that the image would have, on disk and without a bound

    def plan(self, *, disk_bytes: int, workspace: str) -> Plan:
        """Return what to start; the first step inside lies in the workspace, a short path."""
        python = self.python if self.image is None else "python3"
        step = (f"{INSIDE}/admit.py", f"{DOOR}/socket", f"{INSIDE}/filter", f"{INSIDE}/start.py")
        return Plan(
            argv=(python, *FLAGS, *step, str(LIFE), str(OUT), str(ERR)),
            env=own_environment(of_image=self.image is not None),
            library=f"{INSIDE}/lib",
            contents={},
            info=LIFE,
            folders=WRITABLE,
            files={
                "launch/inside/admit.py": self.admit,
                "launch/inside/filter": self.filter,
                "launch/inside/start.py": self.start,
                "launch/inside/lib/guest_sys.py": self.library,
            },
            grouped=False,
            request=Request(
                socket=self.socket,
                name=f"lmboot-{os.path.basename(workspace)}",
                body=self._described(disk_bytes, workspace),
                door=f"{workspace}/launch/door/socket",
                handed=(CHANNEL, PAYLOAD, STDIN, LIFE, 1, 2),
                as_root=self.rootless,
                limited=self.limited,
            ),
        )

    def _described(self, disk_bytes: int, workspace: str) -> dict[str, Any]:
        return {
            "Image": self.image or NOTHING,
            "WorkingDir": "/app",
            "Hostname": "lmboot",
            "Labels": {LABEL: workspace},
            "Healthcheck": {"Test": ["NONE"]},
            "HostConfig": {
                **_separated(),
                "Mounts": self._mounts(workspace),
                "Tmpfs": {**self._covered(), **_writable(disk_bytes)},
                "MaskedPaths": [*MASKED, "/etc" if self.image is None else NAMES],
            },
        }

    def _mounts(self, workspace: str) -> list[Mapping[str, Any]]:
        """Return what is seen of this machine, read-only, and nothing that is mounted beneath.

        A service without root's rights may not leave the latter out.
        """
        own = () if self.image is not None else shown(self.folders, self.prefix)
        launch = f"{workspace}/launch"
        pairs = [*((path, path) for path in own), (f"{launch}/inside", INSIDE)]
        return [
            {
                "Type": "bind",
                "Source": source,
                "Target": target,
                "ReadOnly": True,
                "BindOptions": {"NonRecursive": not self.rootless},
            }
            for source, target in [*pairs, (f"{launch}/door", DOOR)]
        ]

    def _covered(self) -> dict[str, str]:
        return dict.fromkeys(self.volumes, "ro,noexec,nosuid,nodev,size=4096")

    def remedy(self, said: str) -> tuple[str, str]:
        """Return (what a failure to start means, what to do)."""
        return diagnose(said, self.image)


def _separated() -> dict[str, Any]:
    """Return what takes rights away.

    Its control groups are the service's. SELinux would keep a container from the host's /usr;
    docker's own filter and profile stay, as a second line.
    """
    return {
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
        "Ulimits": [{"Name": "nofile", "Soft": OPEN_FILES, "Hard": OPEN_FILES}],
        "UsernsMode": "host",
    }


def _writable(disk_bytes: int) -> dict[str, str]:
    """Return the file systems in memory: those that can be written to, and /dev, which can't."""
    own = {path: f"{_OWN},mode=0700,size={size}" for path, size in sizes(disk_bytes).items()}
    return {"/dev": "ro,exec,nosuid,dev,mode=0755,size=65536", **own}


# ---------------------------------------------------------------- the service


def find(image: str | None = None) -> Docker:
    """Return docker as it is here; raise SandboxFault with the remedy where it isn't.

    `image` is one of the user's own, to be run in instead of the host's /usr.
    """
    machine = platform.machine()
    if machine not in seccomp.ARCHES:
        raise SandboxFault(
            f"lmboot has no system call filter for {machine} yet, and runs nothing without one",
            hint="Use a machine with an x86_64 or aarch64 processor.",
        )
    with _asked(image) as (path, service):
        versions, about = _looked_at(service)
        volumes = () if image is None else _volumes(service, image)
    python, prefix = interpreter()
    return Docker(
        socket=path,
        versions=versions,
        rootless=any(word.startswith("name=rootless") for word in about["SecurityOptions"]),
        limited=about["MemoryLimit"] is True and about["PidsLimit"] is True,
        python=python,
        prefix=prefix,
        folders=folders_of_the_system(),
        filter=seccomp.build(machine),
        admit=(GUEST / "admit.py").read_bytes(),
        start=(GUEST / "start.py").read_bytes(),
        library=(GUEST / "guest_sys.py").read_bytes(),
        image=image,
        volumes=volumes,
    )


async def prepare(say: Callable[[str], None]) -> None:
    """Put the image in which there is nothing into docker's store, where it is not there yet.

    What dead runs have left in the service is removed. Raises SandboxFault.
    """
    await asyncio.to_thread(_make_ready, say)


def _make_ready(say: Callable[[str], None]) -> None:
    with _asked() as (_, service):
        _looked_at(service)
        _reap(service)
        if not _has_nothing(service):
            say(f"docker gets an empty image, {NOTHING}")
            name, _, tag = NOTHING.partition(":")
            service.told("POST", f"/images/create?fromSrc=-&repo={name}&tag={tag}", EMPTY)


def _has_nothing(service: Service) -> bool:
    """Say whether the empty image is there; raise SandboxFault where its name is another's."""
    service.ask("GET", f"/images/{NOTHING}/json")
    status, found = service.answer()
    if status == NOT_FOUND:
        return False
    layers = found["RootFS"]["Layers"]
    if layers != [f"sha256:{hashlib.sha256(EMPTY).hexdigest()}"] or found["Config"].get("Env"):
        raise SandboxFault(
            f"docker's image {NOTHING} is not the empty one that lmboot makes",
            hint=f"Run `docker rmi {NOTHING}`: lmboot makes it anew.",
        )
    return True


def _reap(service: Service) -> None:
    """Remove the containers of runs whose folder is gone; of none that still runs."""
    wanted = quote(json.dumps({"label": [LABEL]}))
    for container in service.told("GET", f"/containers/json?all=1&filters={wanted}"):
        try:
            os.stat(container["Labels"][LABEL])
        except FileNotFoundError:
            if container["State"] != "running":
                service.ask("DELETE", f"/containers/{container['Id']}?v=1")
                service.answer()  # another may have been first
        except OSError:
            continue  # it is another user's


def _looked_at(service: Service) -> tuple[tuple[str, ...], Mapping[str, Any]]:
    """Return (its parts with their versions, what it says of itself); raise SandboxFault."""
    said = service.told("GET", "/version")
    if tuple(int(part) for part in said["ApiVersion"].split(".")) < OLDEST:
        raise SandboxFault(
            f"docker {said['Version']} is too old: {OLDEST_TEXT} is the oldest that will do",
            hint=f"Install docker {OLDEST_TEXT} or newer.",
        )
    about = service.told("GET", "/info")
    if about["OSType"] != "linux":
        raise _fault(_ELSEWHERE)
    parts = (f"{part['Name']} {part['Version']}" for part in said["Components"])
    groups = f"cgroup v{about['CgroupVersion']} by {about['CgroupDriver']}"
    return (*parts, groups, *about["SecurityOptions"]), about


def _volumes(service: Service, image: str) -> tuple[str, ...]:
    """Return what an image would have written beside its own files."""
    found = service.told("GET", f"/images/{quote(image, safe='/:@')}/json")
    return tuple(sorted(found["Config"].get("Volumes") or ()))


@contextlib.contextmanager
def _asked(image: str | None = None) -> Iterator[tuple[str, Service]]:
    """Give the path of the service's socket and a connection to it; raise SandboxFault."""
    path = address(os.environ)
    try:
        with contextlib.closing(Service(path)) as service:
            yield path, service
    except NoAnswer as failure:
        raise _fault(str(failure), image) from None
    except (ValueError, LookupError, TypeError, AttributeError):
        raise SandboxFault(
            f"what listens at {path} does not answer as docker does",
            hint="Let DOCKER_HOST name docker's socket, or use --sandbox auto.",
        ) from None


def address(environ: Mapping[str, str]) -> str:
    """Return the path of docker's socket on this machine; raise SandboxFault for another's.

    DOCKER_HOST counts; without it, a docker of the user's own comes before root's. Nothing else
    of docker's configuration is looked at.
    """
    host = environ.get("DOCKER_HOST", "")
    if host.startswith("unix:///"):
        return host.removeprefix("unix://")
    if host:
        raise SandboxFault(
            f"DOCKER_HOST is {brief(host)}: lmboot hands open files to what it starts, which only "
            "a docker of this very machine can take",
            hint="Take DOCKER_HOST out of the environment, or use --sandbox auto.",
        )
    own = f"{environ.get('XDG_RUNTIME_DIR', '')}/docker.sock"
    return own if own.startswith("/") and own != "/docker.sock" and os.path.exists(own) else SOCKET


# ---------------------------------------------------------------- why it did not start

_ELSEWHERE = "the container's first process is not among this machine's"
# What the service and the supervisor say, what that means, what to do.
_KNOWN = (
    (
        ("no such file or directory", "connection refused"),
        "docker is not installed, or its service does not run",
        "Run `sudo apt install docker.io` (Fedora: `sudo dnf install moby-engine`), then "
        "`sudo systemctl start docker`.",
    ),
    (
        ("is another user's",),
        "only root's docker and your own are trusted",
        "Let DOCKER_HOST name one of these.",
    ),
    (
        ("permission denied",),
        "you may not ask docker's service, whose users are as good as root",
        "Use --sandbox podman, which needs no such right; or, if that is what you want, run "
        "`sudo usermod -aG docker $USER` and log in anew.",
    ),
    (
        (_ELSEWHERE, "source path does not exist"),
        "this docker runs in a virtual machine, in a container or with files of its own",
        "Let DOCKER_HOST name the socket of a docker of this very machine, or use --sandbox auto.",
    ),
    (
        ("somebody else than", "operation not permitted"),
        "this docker runs programs as other users than it was asked to",
        "Use --sandbox podman; or take `userns-remap` out of docker's daemon.json.",
    ),
    (
        ("no such image",),
        "docker has no such image",
        "Run `docker pull IMAGE`, or take `container_image` out of the settings.",
    ),
    (
        ("no space left on device",),
        "there is no room for what docker keeps of a container",
        "Make room where docker keeps its containers, /var/lib/docker, then try again.",
    ),
    (
        ("no module named", "importerror"),
        "the image's Python lacks a part that lmboot needs",
        "Use an image with all of Python, such as docker.io/library/python:3-slim.",
    ),
    (
        ("does not answer", "does not listen", "hung up"),
        "its service is at work on something else, or broken",
        "Run `docker info`; if that does not answer either, `sudo systemctl restart docker`.",
    ),
)


def _fault(said: str, image: str | None = None) -> SandboxFault:
    means, hint = diagnose(said, image)
    return SandboxFault(means, hint=hint)


def diagnose(said: str, image: str | None = None) -> tuple[str, str]:
    """Return (what a failure means, what to do), from what was said; pure."""
    means = f"docker could not set up the sandbox: {brief(said)}"
    if image is not None and '"python3": executable' in said:
        return f"{means}; {NO_PYTHON[0]}", NO_PYTHON[1]
    for words, why, hint in _KNOWN:
        if any(word in said.lower() for word in words):
            return f"{means}; {why}", hint.replace("IMAGE", image or "IMAGE")
    return means, "Run `lmboot doctor`, which tries the sandbox and tells what is missing."
