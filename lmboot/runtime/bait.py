"""What the host puts up for the probe to go for: a secret, a server, sockets like a desktop's."""

from __future__ import annotations

import contextlib
import os
import platform
import secrets
import shutil
import socket
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from platformdirs import user_cache_path

from lmboot import system
from lmboot.errors import SandboxFault
from lmboot.runtime import desktop
from lmboot.workspace import private_folder


class Bait:
    """What is laid out; `arguments` are what the probe is told of it."""

    def __init__(self, folder: Path, secret: Path) -> None:
        """Open the servers; the sockets that have a path go with `folder`, or at `close`."""
        self.nonce = secrets.token_hex(16)
        abstract = f"lmboot-{secrets.token_hex(8)}"
        self._servers = [_listening(socket.AF_INET, ("127.0.0.1", 0))]
        self._paths: list[Path] = []
        if sys.platform != "win32":
            self._servers.append(_listening(socket.AF_UNIX, str(folder / "socket")))
        if sys.platform == "linux":
            self._servers.append(_listening(socket.AF_UNIX, f"\0{abstract}"))
        self.arguments = {
            "nonce": self.nonce,
            "canary": secret,
            "home": os.path.expanduser("~"),  # Path.home() raises where there is none
            "port": self._servers[0].getsockname()[1],
            "socket": folder / "socket",
            "abstract": abstract,
            "pid": os.getpid(),
            "users": _identity("/etc/passwd"),
            "machine": _identity("/etc/machine-id"),
            "host": platform.node(),
            "desktop": "\n".join([*self._like_a_desktop(), *_of_the_desktop()]),
        }

    def _like_a_desktop(self) -> list[str]:
        """Listen where a desktop's servers would, so that one is there to reach; return where.

        What cannot be made there, cannot be made by a desktop of this user's either.
        """
        made: list[str] = []
        if sys.platform != "win32":
            for address in desktop.like(os.environ, _word()):
                with contextlib.suppress(OSError):  # no such folder, or no such sockets
                    self._servers.append(_listening(socket.AF_UNIX, desktop.unwritten(address)))
                    self._paths += [] if address.startswith("@") else [Path(address)]
                    made.append(address)
        return made

    def visited(self) -> bool:
        """Say whether anybody came to one of the servers."""
        for server in self._servers:
            with contextlib.suppress(BlockingIOError):
                server.accept()[0].close()
                return True
        return False

    def close(self) -> None:
        """Take it all away."""
        for server in self._servers:
            server.close()
        for path in self._paths:
            path.unlink(missing_ok=True)


def _of_the_desktop() -> tuple[str, ...]:
    displays: list[str] = []
    with contextlib.suppress(OSError):
        displays = sorted(os.listdir(desktop.DISPLAYS))
    return desktop.addresses(os.environ, displays)


def _identity(path: str) -> str:
    """Return what tells a file from another of the same path in another file system."""
    try:
        found = os.stat(path)
    except OSError:
        return ""
    return f"{found.st_dev}:{found.st_ino}"


def _listening(family: int, address: Any) -> socket.socket:
    server = socket.socket(family)
    try:
        server.bind(address)
        if isinstance(address, str) and not address.startswith("\0"):
            os.chmod(address, 0o777)  # what keeps anybody from it must not be its mode  # noqa: S103
        server.listen()
        server.setblocking(False)
    except BaseException:
        server.close()
        raise
    return server


@contextlib.contextmanager
def bait_laid_out() -> Iterator[Bait]:
    """Lay it out for a block; raise SandboxFault where nothing can be written."""
    _sweep()
    with tempfile.TemporaryDirectory(prefix=f"lmboot-probe-{os.getpid()}-") as name:
        folder = Path(name)
        folder.chmod(0o755)  # what hides the secret must be the sandbox, not the folder's mode
        secret = _secret(folder)
        bait = Bait(folder, secret)
        try:
            yield bait
        finally:
            bait.close()
            secret.unlink()


def _word() -> str:
    """Return a name that tells whose it is."""
    return f"{os.getpid()}-{secrets.token_hex(8)}"


def _sweep() -> None:
    """Remove what probes of this user have left that were killed."""
    places = {tempfile.gettempdir(), str(user_cache_path("lmboot")), desktop.DISPLAYS}
    places |= {os.environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir()}
    for path in (path for place in places for path in Path(place).glob("lmboot-probe-*-*")):
        pid = path.name.split("-")[2]
        with contextlib.suppress(OSError):
            if not pid.isdecimal() or system.lives(int(pid)):
                continue
            if path.lstat().st_uid != system.user():
                continue
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()


def _secret(otherwise: Path) -> Path:
    """Write a file that must not be readable: in the user's home if that can be written to."""
    name = f"lmboot-probe-{_word()}"
    for folder in (user_cache_path("lmboot"), otherwise):
        with contextlib.suppress(OSError, SandboxFault):
            path = private_folder(folder) / name if folder != otherwise else folder / name
            path.write_text(secrets.token_hex(16))
            return path
    raise SandboxFault(f"{otherwise} can't be written to", hint="Make room on the disk.")
