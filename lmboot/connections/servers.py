"""Which servers are there: a table of the known ones, told apart by what only they answer.

An open port or a status means nothing: other software uses the same ports, LM Studio answers 200
to every path, and KoboldCpp and llama-server imitate Ollama. So the most specific fingerprint
comes first, and only a positive one counts.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import httpx

from lmboot.connections.addresses import host_of, is_local
from lmboot.connections.fields import count, identifier, mapping, read_json, rows
from lmboot.connections.interface import Kind
from lmboot.connections.listing import Server, models_in, unlistable
from lmboot.connections.transport import Reply, fetch, open_client
from lmboot.errors import ConnectionFault

PROBE_SECONDS = 0.5  # a server on this machine answers in a few milliseconds
NAMED_SECONDS = 6.0  # one that the user named may be busy, or far away
_MAX_CONFIG_BYTES = 64 << 10


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """One request, and what in its answer proves that this kind of server gave it."""

    kind: Kind
    path: str
    proves: Callable[[Reply], bool]


def _is_lmstudio(reply: Reply) -> bool:
    body = mapping(reply.json)
    # Older ones do not know the greeting, but say so in words that are theirs alone.
    unknown_path = str(body.get("error", "")).startswith("Unexpected endpoint or method")
    wants_token = reply.status == 401 and b"LM Studio" in reply.body
    return body.get("lmstudio") is True or unknown_path or wants_token


def _is_koboldcpp(reply: Reply) -> bool:
    return mapping(reply.json).get("result") == "KoboldCpp"


def _is_ollama(reply: Reply) -> bool:
    return reply.body.strip() == b"Ollama is running"


def _is_llamacpp(reply: Reply) -> bool:
    return reply.headers.get("server", "").lower() == "llama.cpp"


def _has_llamacpp_props(reply: Reply) -> bool:
    return {"build_info", "default_generation_settings"} <= mapping(reply.json).keys()


def _lists_as(owner: str) -> Callable[[Reply], bool]:
    def proves(reply: Reply) -> bool:
        listed = rows(mapping(reply.json).get("data"))
        return any(identifier(row.get("id")) and row.get("owned_by") == owner for row in listed)

    return proves


def _titled(pattern: str) -> Callable[[Reply], bool]:
    def proves(reply: Reply) -> bool:
        title = mapping(mapping(reply.json).get("info")).get("title")
        return isinstance(title, str) and re.search(pattern, title[:200]) is not None

    return proves


# Most specific first; the first that proves itself decides.
FINGERPRINTS = (
    Fingerprint("lmstudio", "/lmstudio-greeting", _is_lmstudio),
    Fingerprint("koboldcpp", "/api/extra/version", _is_koboldcpp),
    Fingerprint("ollama", "/", _is_ollama),
    Fingerprint("llamacpp", "/health", _is_llamacpp),
    Fingerprint("llamacpp", "/props", _has_llamacpp_props),
    Fingerprint("llamacpp", "/v1/models", _lists_as("llamacpp")),
    Fingerprint("vllm", "/v1/models", _lists_as("vllm")),
    Fingerprint("gpt4all", "/v1/models", _lists_as("humanity")),
    Fingerprint("jan", "/openapi.json", _titled(r"\bJan\b")),
    Fingerprint("openai", "/openapi.json", _titled(r"llama\.cpp Python API")),
)

DEFAULT_PORTS: dict[Kind, tuple[int, ...]] = {
    "lmstudio": (1234,),
    "koboldcpp": (5001,),
    "ollama": (11434,),
    "llamacpp": (9931, 8080),  # the new one and the one before
    "vllm": (8000,),
    "gpt4all": (4891,),
    "jan": (1337,),
}


async def discover(home: Path | None = None, ports: Iterable[int] | None = None) -> list[Server]:
    """Return the servers that run on this machine, LM Studio first; no token is sent to any.

    `home` is where LM Studio's configuration is looked for, `ports` are those to look at.
    """
    configured = await asyncio.to_thread(lmstudio_ports, home or Path.home())
    known = [port for ports_of_kind in DEFAULT_PORTS.values() for port in ports_of_kind]
    wanted = dict.fromkeys([*configured, *(known if ports is None else ports)])
    found = await asyncio.gather(*(_probe(f"http://127.0.0.1:{port}") for port in wanted))
    servers = [server for server in found if server is not None]
    order = [fingerprint.kind for fingerprint in FINGERPRINTS]
    return sorted(servers, key=lambda server: order.index(server.kind))


async def identify(base: str, token: str | None = None) -> Server:
    """Return what answers at an address that the user named; the token is sent there.

    A server of no known kind that lists models is an `openai` one. NoServer where nothing or
    something else answers, TokenRefused where a server of no known kind wants a token.
    """
    local = await asyncio.to_thread(is_local, base)
    async with open_client(base, token) as client:
        kind = await _kind(client, NAMED_SECONDS)
        if kind is None:
            listed = await fetch(client, "GET", "/v1/models", seconds=NAMED_SECONDS)
            if models_in(listed) is None:
                raise unlistable(listed, base)
    return Server(base, kind or "openai", local)


async def _probe(base: str) -> Server | None:
    if not await _listens(base):
        return None
    async with open_client(base, connect_seconds=PROBE_SECONDS) as client:
        try:
            kind = await _kind(client, PROBE_SECONDS)
        except ConnectionFault:
            return None
    return None if kind is None else Server(base, kind)


async def _listens(base: str) -> bool:
    """Say whether the port is open: one refused connection instead of eight."""
    port = httpx.URL(base).port
    try:
        async with asyncio.timeout(PROBE_SECONDS):
            _, writer = await asyncio.open_connection(host_of(base), port)
    except (OSError, TimeoutError):
        return False
    writer.close()
    return True


async def _kind(client: httpx.AsyncClient, seconds: float) -> Kind | None:
    """Return what answers, None where nothing proves itself; NoServer where nothing answers."""
    # LM Studio logs an error for every path that it does not know, so it is asked alone first.
    first, *others = FINGERPRINTS
    if first.proves(await fetch(client, "GET", first.path, seconds=seconds)):
        return first.kind
    paths = list(dict.fromkeys(fingerprint.path for fingerprint in others))
    found = await asyncio.gather(*(_ask(client, path, seconds) for path in paths))
    replies = dict(zip(paths, found, strict=True))
    for fingerprint in others:
        reply = replies[fingerprint.path]
        if reply is not None and fingerprint.proves(reply):
            return fingerprint.kind
    return None


async def _ask(client: httpx.AsyncClient, path: str, seconds: float) -> Reply | None:
    try:
        return await fetch(client, "GET", path, seconds=seconds)
    except ConnectionFault:
        return None


# ---------------------------------------------------------------------- LM Studio's own files


def lmstudio_ports(home: Path) -> list[int]:
    """Return the port that LM Studio's own configuration names, if it has one; starts nothing."""
    config = lmstudio_home(home) / ".internal" / "http-server-config.json"
    port = count(mapping(read_json(_beginning(config))).get("port"))
    return [port] if port is not None and port < 1 << 16 else []


def lmstudio_home(home: Path) -> Path:
    """Return LM Studio's folder: where its pointer leads, its old place, else its usual one."""
    pointer = _beginning(home / ".lmstudio-home-pointer").decode("utf-8", "replace").strip()
    if pointer and "\0" not in pointer:
        return Path(pointer)
    old = home / ".cache" / "lm-studio"
    return old if old.is_dir() else home / ".lmstudio"


def _beginning(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(_MAX_CONFIG_BYTES)
    except OSError:
        return b""
