"""docker's service as far as lmboot asks it, by hand: containers are made by bubblewrap.

What is told and refused can be changed by a test; `containers` holds what there is now.
"""

from __future__ import annotations

import atexit
import functools
import json
import os
import shutil
import socketserver
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any, cast
from urllib.parse import parse_qs, urlsplit

from lmboot.runtime.backends.docker import EMPTY, NOTHING
from tests.leaks import wait_until

VERSION = {
    "Version": "20.10.0",
    "ApiVersion": "1.41",
    "Components": [{"Name": "Engine", "Version": "20.10.0"}],
}
INFO = {
    "OSType": "linux",
    "MemoryLimit": False,
    "PidsLimit": False,
    "CgroupVersion": "2",
    "CgroupDriver": "none",
    "SecurityOptions": ["name=seccomp,profile=default"],
}
EMPTY_LAYER = "sha256:5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef"


@dataclass
class Container:
    """One container: what was asked for, and the processes that are it."""

    body: dict[str, Any]
    process: subprocess.Popen[bytes] | None = None
    pid: int = 0
    state: str = "created"
    removed: threading.Event = field(default_factory=threading.Event)

    @property
    def door(self) -> Path:
        """The folder, of the host's, in which the first process finds its descriptors."""
        mounts = self.body["HostConfig"]["Mounts"]
        return Path(next(each["Source"] for each in mounts if each["Target"] == "/run/door"))


class FakeDocker(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    """A service; give it away with `serving`."""

    daemon_threads = True

    def __init__(self, path: str) -> None:
        super().__init__(path, _Handler)
        self.path = path
        self.containers: dict[str, Container] = {}
        self.asked: list[str] = []
        self.version: dict[str, Any] = dict(VERSION)
        self.info: dict[str, Any] = dict(INFO)
        self.images: dict[str, dict[str, Any]] = {}
        self.refused: dict[str, str] = {}  # the end of a path, and what is said then
        self.command: list[str] | None = None  # instead of the one that was asked for
        self.before_start: Callable[[Container], None] = lambda _: None
        self.told_pid: int | None = None

    def start(self, name: str, container: Container) -> None:
        """Make the container run; its record goes when it has ended."""
        self.before_start(container)
        reading, writing = os.pipe()
        uid, gid = map(int, container.body["User"].split(":"))
        another = {"user": uid, "group": gid, "extra_groups": []} if os.geteuid() == 0 else {}
        container.process = subprocess.Popen(
            _bubblewrap(container.body, self.command, writing),
            pass_fds=[writing],
            stdin=subprocess.DEVNULL,
            **cast(Any, another),
        )
        os.close(writing)
        with open(reading) as told:
            container.pid = json.loads(told.read())["child-pid"]
        container.state = "running"
        threading.Thread(target=self._collect, args=(name, container), daemon=True).start()

    def _collect(self, name: str, container: Container) -> None:
        assert container.process is not None
        container.process.wait()
        self.containers.pop(name, None)
        container.removed.set()


def _bubblewrap(body: dict[str, Any], command: list[str] | None, told: int) -> list[str]:
    """Return what makes such a container, as far as it matters here."""
    words = ["bwrap", "--unshare-all", "--as-pid-1", "--info-fd", str(told), "--cap-drop", "ALL"]
    words += ["--proc", "/proc", "--dev", "/dev", "--clearenv", "--hostname", body["Hostname"]]
    for mount in body["HostConfig"]["Mounts"]:
        words += ["--ro-bind", mount["Source"], mount["Target"]]
    for path, options in body["HostConfig"]["Tmpfs"].items():
        size = dict(option.partition("=")[::2] for option in options.split(","))["size"]
        words += [] if path == "/dev" else ["--size", size, "--tmpfs", path]
    words += ["--remount-ro", "/dev", "--remount-ro", "/", "--chdir", body["WorkingDir"]]
    for variable in body["Env"]:
        name, _, value = variable.partition("=")
        words += ["--setenv", name, value]
    return [*words, "--", *(command or body["Entrypoint"])]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: FakeDocker

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def _answer(self, status: int, value: object = None) -> None:
        data = b"" if value is None else json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _serve(self) -> None:
        length = int(self.headers.get("Content-Length", 0))
        data = self.rfile.read(length)
        parts = urlsplit(self.path)
        self.server.asked.append(f"{self.command} {parts.path}")
        for end, said in self.server.refused.items():
            if parts.path.endswith(end):
                self._answer(500, {"message": said})
                return
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        kind, *rest = parts.path.strip("/").split("/", 1)
        getattr(self, f"_{kind}")(rest[0] if rest else "", query, data)

    do_GET = do_POST = do_DELETE = _serve  # noqa: N815 (the standard library's names)

    def _version(self, *_: object) -> None:
        self._answer(200, self.server.version)

    def _info(self, *_: object) -> None:
        self._answer(200, self.server.info)

    def _images(self, what: str, query: dict[str, str], data: bytes) -> None:
        if what == "create":
            assert data == EMPTY
            layers = {"RootFS": {"Layers": [EMPTY_LAYER]}, "Config": {"Env": None}}
            self.server.images[f"{query['repo']}:{query['tag']}"] = layers
            self._answer(200, {"status": "done"})
            return
        name = what.removesuffix("/json")
        found = self.server.images.get(name)
        self._answer(200 if found else 404, found or {"message": f"No such image: {name}"})

    def _containers(self, what: str, query: dict[str, str], data: bytes) -> None:
        there = self.server.containers
        if what == "json":
            self._answer(200, [_listed(name, each) for name, each in there.items()])
        elif what == "create":
            there[query["name"]] = Container(json.loads(data))
            assert there[query["name"]].body["Image"] == NOTHING
            self._answer(201, {"Id": query["name"]})
        else:
            name, _, action = what.partition("/")
            if name not in there:
                self._answer(404, {"message": f"No such container: {name}"})
            else:
                self._of_one(name, there[name], action)

    def _of_one(self, name: str, container: Container, action: str) -> None:
        if action == "start":
            self.server.start(name, container)
            self._answer(204)
        elif action == "json":
            told = self.server.told_pid
            pid = container.pid if told is None else told
            self._answer(200, {"State": {"Pid": pid}})
        elif action == "wait":
            container.removed.wait(20)
            self._answer(200, {"StatusCode": 0})
        else:
            if container.process is not None:
                container.process.kill()
                with suppress(ProcessLookupError):
                    os.kill(container.pid, 9)
                container.removed.wait(20)
            self.server.containers.pop(name, None)
            self._answer(204)


def _listed(name: str, container: Container) -> dict[str, Any]:
    return {"Id": name, "State": container.state, "Labels": container.body["Labels"]}


@functools.cache
def _folder() -> Path:
    """Return where it listens: always there, because a proof holds for one service's socket."""
    folder = Path(tempfile.mkdtemp(prefix="lmboot-test-", dir="/tmp"))
    folder.chmod(0o755)
    atexit.register(shutil.rmtree, folder)
    return folder


@contextmanager
def serving() -> Iterator[FakeDocker]:
    """Serve until the end, by when all that was started must be gone."""
    path = _folder() / "s"
    with FakeDocker(str(path)) as docker:
        thread = threading.Thread(target=docker.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield docker
            assert wait_until(lambda: docker.containers == {}, 20), docker.containers
        finally:
            docker.shutdown()
            thread.join()
            path.unlink()
