"""Addresses of servers: which one the user named, how it is written, whether it is local."""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Mapping
from functools import lru_cache
from urllib.parse import SplitResult, urlsplit

from lmboot.errors import UsageFault
from lmboot.text import brief

NAMING_VARIABLES = ("LMSTUDIO_BASE_URL", "LLM_BASE_URL")

# What people copy along with an address: an API's root or one of its endpoints.
_API_PATH = re.compile(r"(?:(?:/api)?/v[01])+(?:/(?:models|(?:chat/)?completions))?$")
_LABEL = "[a-z0-9_][a-z0-9_-]{0,62}"
_HOST_NAME = re.compile(rf"(?=.{{1,253}}$){_LABEL}(?:\.{_LABEL})*\.?")
_HINT = "Write it like http://127.0.0.1:1234 or http://my-server:1234/prefix."


def named_server(option: str | None, environ: Mapping[str, str]) -> str | None:
    """Return the base address that the user named: by --server, else by the environment."""
    sources = [("--server", option), *((name, environ.get(name)) for name in NAMING_VARIABLES)]
    for source, value in sources:
        if value is not None and value.strip():
            return _normalised(value, source)
    return None


def normalise_base(url: str) -> str:
    """Return an address as `scheme://host[:port][/prefix]`; UsageFault where it is none.

    `http://` is added where no scheme stands; `/v1`, `/api/v1`, endpoints and slashes at the end
    are dropped.
    """
    return _normalised(url, "the server's address")


def _normalised(url: str, source: str) -> str:
    text = url.strip()
    try:
        parts = urlsplit(text if "://" in text else f"http://{text}")
        netloc = _netloc(parts)
    except ValueError as error:
        raise _fault(source, text, str(error)) from error
    if parts.scheme not in ("http", "https"):
        raise _fault(source, text, "only http and https can be spoken")
    if parts.query or parts.fragment:
        raise _fault(source, text, "it has a query or a fragment")
    return f"{parts.scheme}://{netloc}{_path(parts.path, source, text)}"


def _netloc(parts: SplitResult) -> str:
    if "@" in parts.netloc:
        raise ValueError("a user or password does not belong into an address")
    host = (parts.hostname or "").lower()
    if ":" in host:
        host = f"[{ipaddress.IPv6Address(host)}]"
    elif not host.isascii() or "xn--" in host:
        import idna  # what httpx encodes names with; hardly any server needs it

        host = idna.encode(host, uts46=True).decode("ascii")
    if not host.startswith("[") and not _HOST_NAME.fullmatch(host):
        raise ValueError("it has no usable host name")
    if parts.port == 0:
        raise ValueError("no server listens on port 0")
    return host if parts.port is None else f"{host}:{parts.port}"


def _path(path: str, source: str, text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9/_.~%+-]*", path):
        raise _fault(source, text, "its path has characters that an address can't have")
    path = re.sub("/+", "/", path).rstrip("/")
    return _API_PATH.sub("", path)


def _fault(source: str, text: str, why: str) -> UsageFault:
    shown = re.sub(r"//[^/@]*@", "//…@", brief(text, 120))  # a password is not repeated
    return UsageFault(f"{source} is no address of a server: {shown!r} ({why})", hint=_HINT)


def host_of(base: str) -> str:
    """Return the host name or address of a normalised base, without brackets."""
    return urlsplit(base).hostname or ""


def is_loopback(base: str) -> bool:
    """Say whether an address never leaves this machine, whatever its network is."""
    host = host_of(base)
    if host == "localhost" or host.endswith(".localhost"):
        return True
    address = _ip(host)
    return address is not None and (address.is_loopback or address.is_unspecified)


def is_local(base: str) -> bool:
    """Say whether an address is this machine: loopback, its own name, or one of its addresses."""
    if is_loopback(base):
        return True
    names, addresses = _own_names_and_addresses()
    host = host_of(base)
    return host in names or str(_ip(host) or "") in addresses


def _ip(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


@lru_cache(maxsize=1)
def _own_names_and_addresses() -> tuple[frozenset[str], frozenset[str]]:
    name = socket.gethostname().lower()
    try:
        found = {str(info[4][0]) for info in socket.getaddrinfo(name, None)}
    except OSError:
        found = set()
    return frozenset({name, f"{name}.local"} - {""}), frozenset(found)
