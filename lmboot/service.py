"""Docker's service, asked over its own socket: HTTP and JSON, with no client in between.

So nothing of a user's configuration, proxies, plugins or credentials comes along, nothing is ever
pulled, and whoever has opened the connection can hand it on. Standard library only: the supervisor
imports it, too.
"""

from __future__ import annotations

import contextlib
import json
import socket
import struct
import sys
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from lmboot import system

OK, NO_CONTENT, BAD_REQUEST, NOT_FOUND, CONFLICT = 200, 204, 400, 404, 409
CONNECT_SECONDS = 2.0  # on this machine; a service that takes longer is not there
ANSWER_SECONDS = 20.0  # for one answer; to start a container on a busy disk takes about one
MAX_ANSWER_BYTES = 4 << 20

_CREDENTIALS = struct.Struct("3i")  # the kernel's struct ucred: process, user, group


class NoAnswer(Exception):
    """The service can't be reached, or refuses; the text says why."""


class Request(NamedTuple):
    """One container, as a service is asked for it: a pure value.

    `socket` is the service's; `name` is the container's. `body` is docker's own description, but
    for the command, its environment and the user, whom `described` puts in: `as_root` the
    service's own (a service without root's rights is the user himself), else whoever asks. `door`
    is the path, of this machine, of the socket at which the container's first process finds its
    descriptors; `handed` are their numbers in a plan, in the order in which it takes them.
    `limited`: the service has control groups, which keep the limits.
    """

    socket: str
    name: str
    body: Mapping[str, Any]
    door: str
    handed: tuple[int, ...]
    as_root: bool = False
    limited: bool = False


def described(
    body: Mapping[str, Any], argv: Iterable[str], env: Mapping[str, str], uid: int, gid: int
) -> dict[str, Any]:
    """Return what to ask for: a container that runs this command as this user; pure.

    What can be written to belongs to the user, whatever an image has in its place.
    """
    host = body["HostConfig"]
    owned = {path: f"{how},uid={uid},gid={gid}" for path, how in host["Tmpfs"].items()}
    return {
        **body,
        "Entrypoint": list(argv),
        "Cmd": [],
        "Env": [f"{name}={value}" for name, value in env.items()],
        "User": f"{uid}:{gid}",
        "HostConfig": {**host, "Tmpfs": owned},
    }


class Service:
    """A connection to docker's service: one question, its answer, then the next."""

    def __init__(self, path: str) -> None:
        """Connect; raise NoAnswer, too where it is neither root's nor one's own."""
        import http.client  # slow, and most supervisors need none of it

        connection = _connected(path)
        connection.settimeout(ANSWER_SECONDS)
        self._http = http.client.HTTPConnection("docker")
        self._http.auto_open = 0  # a connection that has ended is not made anew, to elsewhere
        self._http.sock = connection
        self._asked = False

    def fileno(self) -> int:
        """Return the descriptor on which an answer comes; raise NoAnswer when it has ended."""
        if self._http.sock is None:
            raise NoAnswer("docker's service has hung up")
        return int(self._http.sock.fileno())

    def ask(self, method: str, path: str, body: Mapping[str, Any] | bytes | None = None) -> None:
        """Ask, and do not wait; an answer that nobody has taken is taken first."""
        if self._asked:
            self.answer()
        import http.client

        kind = "application/x-tar" if isinstance(body, bytes) else "application/json"
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        try:
            self._http.request(method, path, data, {} if data is None else {"Content-Type": kind})
        except (OSError, http.client.HTTPException) as error:
            raise NoAnswer(f"docker's service does not listen: {error!r}") from None
        self._asked = True

    def answer(self) -> tuple[int, Any]:
        """Wait for the answer; return (status, what JSON it holds, if any)."""
        import http.client

        self._asked = False
        try:
            response = self._http.getresponse()
            data = response.read(MAX_ANSWER_BYTES)
            response.close()
            return response.status, _decoded(data)
        except (OSError, http.client.HTTPException) as error:
            self._http.close()
            raise NoAnswer(f"docker's service does not answer: {error!r}") from None

    def told(self, method: str, path: str, body: Mapping[str, Any] | bytes | None = None) -> Any:
        """Ask and return what it answers; raise NoAnswer when it refuses."""
        self.ask(method, path, body)
        return accepted(self.answer())

    def close(self) -> None:
        """Hang up; idempotent."""
        self._http.close()


def accepted(answer: tuple[int, Any]) -> Any:
    """Return what an answer holds; raise NoAnswer, in the service's own words, for a refusal."""
    status, found = answer
    if status < BAD_REQUEST:
        return found
    said = found.get("message") if isinstance(found, dict) else None
    raise NoAnswer(str(said or f"docker's service answers with {status}"))


def _decoded(data: bytes) -> Any:
    """Return the first value of an answer; None where it holds no JSON."""
    with contextlib.suppress(ValueError):
        return json.JSONDecoder().raw_decode(data.decode())[0]
    return None


def _connected(path: str) -> socket.socket:
    """Return a connection to the service; raise NoAnswer."""
    if sys.platform == "linux":
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(CONNECT_SECONDS)
        try:
            connection.connect(path)
            size = _CREDENTIALS.size
            peer = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size)
        except OSError as error:
            connection.close()
            raise NoAnswer(f"{path}: {error.strerror or error}") from None
        if _CREDENTIALS.unpack(peer)[1] not in {0, system.user()}:
            connection.close()
            raise NoAnswer(f"{path} is another user's, who could look into what is run")
        return connection
    else:
        raise NoAnswer("only Linux' own docker can be asked")
