"""podman without its service and its registries: a container of the host's own /usr, or an image.

All that podman keeps of a container lies in the run's own folder and goes with it, and what it
leaves running around the container is ended once that stands. So no record, mount or process of
podman's outlives a run, and none that others started is touched. Linux.
"""

from __future__ import annotations

import base64
import os
import platform
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from lmboot import system
from lmboot.errors import SandboxFault
from lmboot.runtime import seccomp
from lmboot.runtime.backends import Plan
from lmboot.runtime.backends.bubblewrap import Kernel, interpreter, kernel, no_namespaces
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
from lmboot.runtime.backends.programs import trusted_program
from lmboot.text import brief

HYBRID = "/sys/fs/cgroup/unified/cgroup.controllers"
DRIVERS = ("overlay", "btrfs", "vfs")
PRESERVED = ERR - 2
_HIDDEN = ("/sys", "/run/.containerenv")
# Instead of the machine's and the user's: nothing that they mount, set or hook in comes along.
_CONFIGURATION = b"""\
[containers]
default_sysctls = []
env = []
volumes = []
[engine]
events_logger = "none"
lock_type = "file"
hooks_dir = []
"""


@dataclass(frozen=True, slots=True)
class Store:
    """An image of the user's own, and where podman keeps it."""

    image: str
    driver: str
    folder: str


@dataclass(frozen=True, slots=True)
class Podman:
    """podman as it is on this machine, with the interpreter that it will start."""

    name: ClassVar[str] = "podman"
    isolates: ClassVar[bool] = True
    on_disk: ClassVar[bool] = True
    short_paths: ClassVar[bool] = True

    binary: str
    crun: str
    python: str
    prefix: str | None  # where the interpreter's files lie if not under /usr
    folders: tuple[str, ...]  # of the system, beside /usr
    hybrid: bool  # crun refuses cgroups of both kinds at once unless it does not see the second
    filter: bytes
    enter: bytes  # guest/enter.py
    start: bytes  # guest/start.py
    library: bytes  # guest/guest_sys.py
    store: Store | None = None  # the image to run in; None: the host's /usr

    def plan(self, *, disk_bytes: int, workspace: str) -> Plan:
        """Return what to start; podman keeps its own things in the workspace, a short path."""
        launch, own = f"{workspace}/launch", f"{workspace}/tmp"
        podman = (self.binary, *_storage(workspace, self.store), "--runtime", self.crun)
        hidden = (HYBRID, f"{launch}/nothing") if self.hybrid else ()
        return Plan(
            argv=(
                *(*podman, "unshare", self.python, "-I", "-S", "-B", f"{launch}/enter.py"),
                *(str(OUT), str(ERR), *hidden, "--", *podman),
                *("run", "--name", "lmboot", "--preserve-fds", str(PRESERVED)),
                *_separated(self.filter),
                *_writable(disk_bytes),
                *("--workdir", "/app", "--volume", f"{launch}/inside:{INSIDE}:ro"),
                *(self._own(workspace) if self.store is None else _of_image(self.store)),
                *(*FLAGS, f"{INSIDE}/start.py", str(LIFE), str(OUT), str(ERR)),
            ),
            env={
                "PATH": "/usr/bin:/bin:/usr/sbin:/sbin",
                "LANG": "C.UTF-8",
                **dict.fromkeys(("HOME", "TMPDIR", "XDG_RUNTIME_DIR"), own),
                "CONTAINERS_CONF": f"{launch}/containers.conf",
            },
            library=f"{INSIDE}/lib",
            contents={},
            info=LIFE,
            folders=WRITABLE,
            files={
                "launch/containers.conf": _CONFIGURATION,
                "launch/enter.py": self.enter,
                "launch/nothing": b"",
                "launch/inside/start.py": self.start,
                "launch/inside/lib/guest_sys.py": self.library,
            },
            scaffold=True,
        )

    def _own(self, workspace: str) -> tuple[str, ...]:
        """Return what makes a container of this machine: what is seen of it, up to its Python.

        One user, of a user namespace of its own. The empty `app` of the workspace is the root.
        """
        paths = shown(self.folders, self.prefix)
        binds = [("--volume", f"{path}:{path}:ro") for path in paths]
        return (
            *(word for bind in binds for word in bind),
            *("--uidmap", "65534:0:1", "--gidmap", "65534:0:1", "--user", "65534:65534"),
            *("--security-opt", "mask=/etc", *_environment(of_image=False)),
            *("--rootfs", f"{workspace}/app", self.python),
        )

    def remedy(self, said: str) -> tuple[str, str]:
        """Return (what a failure to start means, what to do)."""
        return diagnose(said, kernel(), self.store.image if self.store else None)


def _storage(workspace: str, store: Store | None) -> tuple[str, ...]:
    """Return where podman keeps what it keeps: nowhere but in the run's own folder.

    The user's own store is looked into for the image, and not written to.
    """
    driver = "vfs" if store is None else store.driver
    also = () if store is None else ("--storage-opt", f"{driver}.imagestore={store.folder}")
    return (
        *("--root", f"{workspace}/s", "--runroot", f"{workspace}/r"),
        *("--tmpdir", f"{workspace}/tmp", "--storage-driver", driver, *also),
        *("--cgroup-manager", "cgroupfs", "--log-level", "fatal"),
    )


def _separated(program: bytes) -> tuple[str, ...]:
    """Return what takes rights away.

    No cgroup of podman's: the container stays in the supervisor's. SELinux would keep a container
    from the host's /usr, which is all that this one is made of.
    """
    encoded = base64.b64encode(program).decode()
    return (
        *("--network", "none", "--ipc", "private", "--pid", "private", "--uts", "private"),
        *("--cap-drop", "all", "--security-opt", "no-new-privileges"),
        *("--security-opt", "label=disable", "--security-opt", f"mask={':'.join(_HIDDEN)}"),
        # What the kernel lets every process set of itself there, it need not.
        *("--security-opt", "proc-opts=ro,nosuid,nodev,noexec"),
        *("--annotation", f"run.oci.seccomp_bpf_data={encoded}"),
        *("--cgroups", "disabled", "--ulimit", f"nofile={OPEN_FILES}:{OPEN_FILES}"),
        *("--log-driver", "none", "--hostname", "lmboot", "--no-hosts", "--http-proxy=false"),
    )


def _writable(disk_bytes: int) -> tuple[str, ...]:
    """Return the mounts that can be written to, and /dev, which can't."""
    mounts = ["destination=/dev,ro=true,tmpfs-mode=0755"]
    mounts += [f"destination={at},tmpfs-size={size}" for at, size in sizes(disk_bytes).items()]
    return (
        *("--read-only", "--read-only-tmpfs=false"),
        *(word for mount in mounts for word in ("--mount", f"type=tmpfs,{mount}")),
    )


def _of_image(store: Store) -> tuple[str, ...]:
    """Return what makes a container of an image, up to its Python.

    Its files would have to be copied to belong to another user inside: so the runtime is what the
    image's owner is there, without his rights.
    """
    return (
        *("--pull", "never", "--image-volume", "ignore", "--no-healthcheck"),
        *("--user", "0:0", *_environment(of_image=True)),
        *("--entrypoint", "", store.image, "python3"),
    )


def _environment(*, of_image: bool) -> tuple[str, ...]:
    own = own_environment(of_image=of_image)
    return tuple(word for name, value in own.items() for word in ("--env", f"{name}={value}"))


def find(image: str | None = None) -> Podman:
    """Return podman as it is here; raise SandboxFault with the remedy where it isn't.

    `image` is one of the user's own, to be run in instead of the host's /usr.
    """
    machine = platform.machine()
    binary = trusted_program("podman") if sys.platform.startswith("linux") else None
    if binary is None:
        raise SandboxFault(
            "podman is not installed",
            hint="Run `sudo apt install podman` (Fedora: `sudo dnf install podman`).",
        )
    if machine not in seccomp.ARCHES:
        raise SandboxFault(
            f"lmboot has no system call filter for {machine} yet, and runs nothing without one",
            hint="Use a machine with an x86_64 or aarch64 processor.",
        )
    crun = trusted_program("crun")
    if crun is None:
        raise SandboxFault(
            "podman is installed without crun, which starts its containers",
            hint="Run `sudo apt install crun` (Fedora: `sudo dnf install crun`).",
        )
    python, prefix = interpreter()
    return Podman(
        binary=binary,
        crun=crun,
        python=python,
        prefix=prefix,
        folders=folders_of_the_system(),
        hybrid=_is_hybrid(),
        filter=seccomp.build(machine),
        enter=(GUEST / "enter.py").read_bytes(),
        start=(GUEST / "start.py").read_bytes(),
        library=(GUEST / "guest_sys.py").read_bytes(),
        store=None if image is None else _store(image),
    )


def _store(image: str) -> Store:
    """Return where the user's images are; podman is not asked, because that leaves a process."""
    if system.is_root():
        raise SandboxFault(
            "as root, lmboot runs containers as another user, who can't read root's images",
            hint="Run lmboot as the user whose image it is, or take `container_image` out of the "
            "settings: then the container is made of this machine's own /usr.",
        )
    data = os.environ.get("XDG_DATA_HOME") or os.path.expanduser("~/.local/share")
    folder = _configured() or f"{data}/containers/storage"
    for driver in DRIVERS:
        if os.path.exists(f"{folder}/{driver}-images/images.json"):
            return Store(image, driver, folder)
    raise SandboxFault(
        f"podman has no images in {folder}, and {image} is to be run in",
        hint=f"Run `podman pull {image}`, or take `container_image` out of the settings.",
    )


def _configured() -> str | None:
    """Return where the user's own configuration has podman keep images."""
    config = os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")
    try:
        with open(f"{config}/containers/storage.conf", "rb") as file:
            storage = tomllib.load(file).get("storage", {})
    except (OSError, ValueError):
        return None
    named = storage.get("graphroot") or storage.get("rootless_storage_path")
    return named if isinstance(named, str) else None


def _is_hybrid() -> bool:
    try:
        return bool(Path(HYBRID).read_text().strip())
    except OSError:
        return False


# ---------------------------------------------------------------- why it did not start

# What podman and crun say, what that means, what to do.
_KNOWN = (
    (
        "cgroups in hybrid mode",
        "this system has control groups of both kinds at once, which crun refuses",
        "Start Linux with `systemd.unified_cgroup_hierarchy=1`, or use --sandbox auto.",
    ),
    (
        "newuidmap",
        "podman gives you further user numbers, and the program for that is not installed",
        "Run `sudo apt install uidmap` (Fedora: `sudo dnf install shadow-utils`).",
    ),
    (
        "newgidmap",
        "podman gives you further group numbers, and the program for that is not installed",
        "Run `sudo apt install uidmap` (Fedora: `sudo dnf install shadow-utils`).",
    ),
    (
        "conmon",
        "conmon, a part of podman, is missing or does not start",
        "Run `sudo apt install conmon` (Fedora: `sudo dnf install conmon`).",
    ),
    (
        "unknown flag",
        "this podman is too old",
        "Install podman 4.3 or newer.",
    ),
    (
        "image not known",
        "you have no such image",
        "Run `podman pull IMAGE`, or take `container_image` out of the settings.",
    ),
    (
        "no space left on device",
        "there is no room for what podman keeps of a container",
        "Make room where XDG_RUNTIME_DIR or TMPDIR is, then try again.",
    ),
    (
        "read-only file system",
        "what podman keeps of a container can't be written",
        "Let XDG_RUNTIME_DIR or TMPDIR name a folder that can be written to.",
    ),
    (
        "longer than 50 characters",
        "the folder for what podman keeps of a container has too long a path",
        "Let TMPDIR name a folder with a short path, such as /tmp.",
    ),
)


def diagnose(said: str, settings: Kernel, image: str | None = None) -> tuple[str, str]:
    """Return (what a failure means, what to do), from what was said and the settings; pure."""
    means = f"podman could not set up the sandbox: {brief(said)}"
    forbidden = no_namespaces(said, settings, "/usr/bin/podman")
    if forbidden is not None:
        return f"{means}; {forbidden[0]}", forbidden[1]
    if image is not None and "python3" in said:
        return f"{means}; {NO_PYTHON[0]}", NO_PYTHON[1]
    for words, why, hint in _KNOWN:
        if words in said.lower():
            return f"{means}; {why}", hint.replace("IMAGE", image or "IMAGE")
    return means, "Run `lmboot doctor`, which tries the sandbox and tells what is missing."
