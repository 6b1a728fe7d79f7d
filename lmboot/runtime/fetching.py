"""Fetch a URL for a runtime: resolved once, judged, and connected to exactly what was judged.

Nothing of the user's takes part: httpcore is used bare, which knows no proxies, no cookies, no
netrc and no redirects. Redirects are followed here, each through the whole gate again.

Refusals are OperationRefused with the codes of `urls` and: bad_argument, no_such_host,
address_refused, no_connection, too_many_redirects, too_large, bad_answer, timeout. An allowed host
can be told anything by the path that is asked for: a grant is a way out for what a runtime knows.
"""

from __future__ import annotations

import asyncio
import functools
import re
import socket
import ssl
import zlib
from collections.abc import AsyncIterable, Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_address

import httpcore
import httpx

from lmboot.errors import OperationRefused
from lmboot.runtime.urls import (
    Address,
    FetchPolicy,
    Target,
    absolute,
    check_address,
    check_redirect,
    check_url,
    embedded,
)
from lmboot.text import brief

Resolver = Callable[[str, int], Awaitable[Sequence[Address]]]
Headers = Sequence[tuple[bytes, bytes]]
Redirected = Callable[[str], object]

CONNECT_SECONDS = 3.0  # for one address, that a dead one leaves time for the next
MAX_ADDRESSES = 64  # of one name
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_TOLD = ("content-type", "content-language", "etag", "last-modified", "retry-after")
_CHARSET = re.compile(r"charset=\"?([A-Za-z0-9_.:-]{1,40})", re.ASCII)


@dataclass(frozen=True, slots=True)
class FetchLimits:
    """The ceiling of one fetch, all hops together; `body_bytes` counts what was unpacked.

    No more than that fits into the frame which brings it to the runtime.
    """

    seconds: float = 10.0
    body_bytes: int = 1 << 20
    header_bytes: int = 64 << 10
    headers: int = 100
    redirects: int = 3


@dataclass(frozen=True, slots=True)
class Fetched:
    """An answer, whatever its status."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def text(self) -> str:
        """Return the body as text; what is none in its character set becomes U+FFFD."""
        named = _CHARSET.search(self.headers.get("content-type", ""))
        charset = named[1].lower() if named else "utf-8"
        # Python's names are too many, and some of its codecs are no character sets.
        western = charset in ("iso-8859-1", "windows-1252", "us-ascii")
        return self.body.decode("cp1252" if western else "utf-8", "replace")


async def fetch(
    url: str,
    policy: FetchPolicy,
    *,
    limits: FetchLimits | None = None,
    resolve: Resolver | None = None,
    network: httpcore.AsyncNetworkBackend | None = None,
    tls: ssl.SSLContext | None = None,
    redirected: Redirected = lambda url: None,
) -> Fetched:
    """Ask for a URL with GET, follow redirects, and return what came.

    `resolve` says what a name means, `network` makes connections, `tls` says whom to trust: the
    system, the system, and certifi, unless given. `redirected` is told where each redirect leads,
    before that is judged.
    """
    limits = limits or FetchLimits()
    hop = _Hop(policy, limits, resolve or system_resolver, network, tls, redirected)
    try:
        async with asyncio.timeout(limits.seconds):
            return await _follow(check_url(url, policy), hop)
    except TimeoutError:
        raise OperationRefused(
            f"there was no whole answer within {limits.seconds:g} s", code="timeout"
        ) from None


async def system_resolver(host: str, port: int) -> Sequence[Address]:
    """Return the addresses that this machine knows a name by; none when it knows none."""
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return ()
    return tuple(dict.fromkeys(ip_address(entry[4][0]) for entry in found))


def is_own(address: Address) -> bool:
    """Say whether an address is this machine's: only one's own can be bound.

    So there is no list to read that could be out of date. Where binding others' addresses is
    allowed (ip_nonlocal_bind), all are taken for our own, and nothing is fetched.
    """
    address = embedded(address)
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind((str(address), 0))
    except OSError:
        return False
    return True


# ---------------------------------------------------------------- hops


@dataclass(frozen=True, slots=True)
class _Hop:
    """What every hop shares."""

    policy: FetchPolicy
    limits: FetchLimits
    resolve: Resolver
    network: httpcore.AsyncNetworkBackend | None
    tls: ssl.SSLContext | None
    redirected: Redirected


async def _follow(target: Target, hop: _Hop) -> Fetched:
    redirects = 0
    while True:
        status, got, body = await _ask(target, hop)
        location = _value(got, b"location") if status in _REDIRECTS else None
        if location is None:
            return Fetched(status, _told(got), body)
        hop.redirected(absolute(target, location))
        redirects += 1
        if redirects > hop.limits.redirects:
            raise OperationRefused(
                f"there were more than {hop.limits.redirects} redirects",
                code="too_many_redirects",
            )
        target = check_redirect(target, location, hop.policy)


async def _ask(target: Target, hop: _Hop) -> tuple[int, Headers, bytes]:
    """Return status, headers, and the body unless we are sent on."""
    network = _Vetted(await _vetted(target, hop), hop.network or httpcore.AnyIOBackend())
    host = target.host.encode()
    url = httpcore.URL(
        scheme=target.scheme.encode(), host=host, port=target.port, target=target.path.encode()
    )
    tls = hop.tls or _trust() if target.scheme == "https" else None
    try:
        async with (
            httpcore.AsyncHTTPConnection(url.origin, ssl_context=tls, network_backend=network) as (
                connection
            ),
            connection.stream("GET", url, headers=_sent(target)) as response,
        ):
            _check_size(response.headers, hop.limits)
            if response.status in _REDIRECTS:
                return response.status, response.headers, b""
            body = await _body(response, hop.limits)
            return response.status, response.headers, body
    except (httpcore.ConnectError, httpcore.ConnectTimeout):
        raise OperationRefused(
            f"no connection to {target.authority}, or none that is safe", code="no_connection"
        ) from None
    except (
        httpcore.NetworkError,
        httpcore.ProtocolError,
        httpcore.TimeoutException,
        ssl.SSLError,
    ):
        raise _bad_answer("broke off, or is not HTTP") from None


async def _vetted(target: Target, hop: _Hop) -> Sequence[Address]:
    """Return what a host's name means; one address that must not be reached refuses all."""
    try:
        addresses: Sequence[Address] = (ip_address(target.host),)
    except ValueError:
        addresses = await hop.resolve(target.host, target.port)
    shown = repr(brief(target.host, 100))
    if not addresses or len(addresses) > MAX_ADDRESSES:
        raise OperationRefused(f"nobody knows the host {shown}", code="no_such_host")
    for address in addresses:
        why = None if address in hop.policy.addresses else _forbidden(address)
        if why is not None:
            raise OperationRefused(
                f"the host {shown} has an address that {why}", code="address_refused"
            )
    return addresses


def _forbidden(address: Address) -> str | None:
    return check_address(address) or ("is this machine's own" if is_own(address) else None)


class _Vetted(httpcore.AsyncNetworkBackend):
    """Connects to the addresses that were judged, whatever name it is asked for."""

    def __init__(self, addresses: Iterable[Address], below: httpcore.AsyncNetworkBackend) -> None:
        self._addresses = addresses
        self._below = below

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 (httpcore's)
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        for address in self._addresses:
            try:
                return await self._below.connect_tcp(str(address), port, CONNECT_SECONDS)
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                continue
        raise httpcore.ConnectError


@functools.cache
def _trust() -> ssl.SSLContext:
    return httpx.create_ssl_context(trust_env=False)


# ---------------------------------------------------------------- headers and bodies


def _sent(target: Target) -> list[tuple[str, str]]:
    return [
        ("host", target.authority),
        ("user-agent", "lmboot"),
        ("accept", "*/*"),
        ("accept-encoding", "gzip"),
        ("connection", "close"),
    ]


def _check_size(headers: Headers, limits: FetchLimits) -> None:
    size = sum(len(name) + len(value) for name, value in headers)
    if len(headers) > limits.headers or size > limits.header_bytes:
        raise OperationRefused("the answer's headers are too large", code="too_large")


def _value(headers: Headers, name: bytes) -> str | None:
    """Return a header as text; None when it is missing. Twice, or no ASCII: a bad answer."""
    found = [value for key, value in headers if key.lower() == name]
    if len(found) > 1 or not all(map(bytes.isascii, found)):
        raise _bad_answer(f"has a header {name.decode()} that can't be read")
    return found[0].decode() if found else None


def _told(headers: Headers) -> dict[str, str]:
    return {
        name: brief(value.decode("latin-1"), 200)
        for name in _TOLD
        for key, value in headers
        if key.lower() == name.encode()
    }


async def _body(response: httpcore.Response, limits: FetchLimits) -> bytes:
    coding = (_value(response.headers, b"content-encoding") or "identity").lower()
    if coding not in ("identity", "gzip", "x-gzip"):
        raise _bad_answer("is packed in a way that was not asked for")
    assert isinstance(response.stream, AsyncIterable)  # noqa: S101 (a promise of httpcore's)
    body = _Body(limits.body_bytes, packed=coding != "identity")
    async for data in response.stream:
        body.feed(data)
    return body.end()


class _Body:
    """Collects a body, unpacked only as far as its limit goes."""

    def __init__(self, limit: int, *, packed: bool) -> None:
        self._limit = limit
        self._seen = 0
        self._data = bytearray()
        self._unpacker = zlib.decompressobj(wbits=31) if packed else None

    def feed(self, data: bytes) -> None:
        self._seen += len(data)
        # What is packed can be endless and yet unpack to nothing.
        if self._seen > self._limit + (64 << 10):
            raise _too_large(self._limit)
        self._data += self._unpacked(data)
        if len(self._data) > self._limit:
            raise _too_large(self._limit)

    def _unpacked(self, data: bytes) -> bytes:
        if self._unpacker is None:
            return data
        try:
            return self._unpacker.decompress(data, self._limit + 1 - len(self._data))
        except zlib.error:
            raise _bad_answer("is damaged") from None

    def end(self) -> bytes:
        unpacker = self._unpacker
        if unpacker is not None and self._seen and (not unpacker.eof or unpacker.unused_data):
            raise _bad_answer("is damaged")
        return bytes(self._data)


def _bad_answer(why: str) -> OperationRefused:
    return OperationRefused(f"the answer {why}", code="bad_answer")


def _too_large(limit: int) -> OperationRefused:
    return OperationRefused(f"the answer is larger than {limit:,} bytes", code="too_large")
