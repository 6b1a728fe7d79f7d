"""The one place where HTTP clients are made, and where httpx's exceptions end."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx

from lmboot.connections.addresses import is_loopback
from lmboot.connections.fields import read_json
from lmboot.connections.refusals import WRONG_ADDRESS
from lmboot.errors import ConnectionFault, ConnectionLost, NoServer, TokenRefused
from lmboot.text import brief

CONNECT_SECONDS = 3.0
WRITE_SECONDS = 60.0  # a long prompt over a slow network
LIST_SECONDS = 10.0  # LM Studio answers lists late while it loads a model
MAX_LIST_BYTES = 8 << 20

# Everything that httpx raises for a request; both are its own roots.
FOREIGN = (httpx.HTTPError, httpx.InvalidURL)


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole answer to a short request."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> object:
        """Return the body's value, None where it is not JSON."""
        return read_json(self.body)


def open_client(
    base: str, token: str | None = None, *, connect_seconds: float = CONNECT_SECONDS
) -> httpx.AsyncClient:
    """Return a client for one server; reading has no timeout, since prompts can take minutes.

    Proxies of the environment are not asked for this machine's own servers, redirects are not
    followed (they would carry the token elsewhere), and bodies are asked for uncompressed.
    """
    headers = {"Accept-Encoding": "identity"}
    if token:
        headers["Authorization"] = f"Bearer {_sendable(token, base)}"
    plain = base.startswith("http:")
    return httpx.AsyncClient(
        base_url=base + "/",
        headers=headers,
        timeout=httpx.Timeout(None, connect=connect_seconds, write=WRITE_SECONDS),
        trust_env=not is_loopback(base),
        # Without TLS the system's certificates need not be read; this context trusts nobody.
        verify=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT) if plain else True,
    )


def encoded(body: Mapping[str, Any]) -> bytes:
    """Return a request's JSON; half a surrogate pair becomes a question mark."""
    return json.dumps(body, ensure_ascii=False).encode("utf-8", "replace")


async def fetch(
    client: httpx.AsyncClient,
    method: str,
    path: str,
    *,
    body: Mapping[str, Any] | None = None,
    seconds: float = LIST_SECONDS,
) -> Reply:
    """Return a short request's whole answer whatever its status; NoServer where none comes."""
    content = None if body is None else encoded(body)
    headers = {} if body is None else {"Content-Type": "application/json"}
    base = str(client.base_url).rstrip("/")
    try:
        async with (
            asyncio.timeout(seconds),
            client.stream(method, path.lstrip("/"), content=content, headers=headers) as response,
        ):
            received = await read_at_most(response, MAX_LIST_BYTES)
    except TimeoutError as error:
        raise NoServer(
            f"{base} does not answer within {seconds:g} s", hint="Is the server busy or stopped?"
        ) from error
    except httpx.RemoteProtocolError as error:
        raise _not_http(base) from error
    except FOREIGN as error:
        raise fault_of_transport(error, base) from error
    return Reply(response.status_code, response.headers, received)


async def read_at_most(response: httpx.Response, limit: int) -> bytes:
    """Return the beginning of a body, the whole of it if it has no more than `limit` bytes."""
    received = bytearray()
    async for chunk in response.aiter_raw():
        received += chunk
        if len(received) >= limit:
            break
    return bytes(received[:limit])


def fault_of_transport(error: Exception, base: str) -> ConnectionFault:
    """Return what a failure below HTTP means: nobody there, or a connection that broke."""
    if isinstance(error, (httpx.ConnectError, httpx.ConnectTimeout, httpx.ProxyError)):
        why = f" ({brief(str(error), 120)})" if "CERTIFICATE" in str(error) else ""
        return NoServer(
            f"nothing answers at {base}{why}",
            hint="Start the server (in LM Studio: Developer, Start server), or name another one "
            "(in a terminal: --server URL).",
        )
    if isinstance(error, (httpx.InvalidURL, httpx.UnsupportedProtocol, httpx.DecodingError)):
        return NoServer(f"{base} can't be asked", hint=WRONG_ADDRESS)
    if isinstance(error, httpx.RemoteProtocolError) and "illegal" in str(error):
        return _not_http(base)
    return ConnectionLost(
        f"the connection to {base} broke", hint="Look whether the server still runs; ask again."
    )


def _not_http(base: str) -> NoServer:
    return NoServer(f"something else than a model server answers at {base}", hint=WRONG_ADDRESS)


def _sendable(token: str, base: str) -> str:
    if token.isascii() and token.isprintable() and " " not in token:
        return token
    raise TokenRefused(
        f"the token for {base} has characters that no token has",
        hint="Copy it again, without spaces and line breaks.",
    )
