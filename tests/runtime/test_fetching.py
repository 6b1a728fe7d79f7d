"""Fetching for a runtime: sandbox.md, cases 85 to 90, against real servers on loopback.

The gate sees public addresses; only behind it do they lead to the servers of this machine.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import gzip
import ipaddress
import socket
import ssl
import time
import tracemalloc
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from functools import partial
from ipaddress import ip_address
from pathlib import Path

import httpcore
import psutil
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from lmboot.app.records import row_of
from lmboot.errors import OperationRefused
from lmboot.runtime.fetching import Fetched, FetchLimits, fetch, is_own, system_resolver
from lmboot.runtime.granted import Fetch
from lmboot.runtime.grants import Grants
from lmboot.runtime.permits import Permits
from lmboot.runtime.urls import Address, FetchPolicy
from lmboot.runtime.vault import Vault
from tests.leaks import descriptors
from tests.runtime.audits import Logs, MemoryKeychain, records
from tests.runtime.brokers import codes, scene, until
from tests.runtime.persons import Person

PUBLIC, OTHER = "93.184.216.34", "2606:4700::6810:84e5"
OPEN = FetchPolicy(hosts=frozenset({"*"}))
OK = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello"
PACKED = gzip.compress(b"abc", mtime=0)  # the same name for its tests in every process

Serve = Callable[[asyncio.StreamWriter, bytes], Awaitable[None]]


class World(httpcore.AsyncNetworkBackend):
    """Names, addresses, and what answers there; remembers who was asked for what."""

    def __init__(self) -> None:
        self.names: dict[str, list[Sequence[str]]] = {}
        self.ports: dict[tuple[str, int], int] = {}
        self.asked: list[str] = []
        self.dialled: list[str] = []
        self.requests: list[bytes] = []
        self._real = httpcore.AnyIOBackend()

    def name(self, host: str, *answers: Sequence[str]) -> None:
        """Let a name mean other addresses each time; the last ones for ever."""
        self.names[host] = list(answers)

    async def resolve(self, host: str, _port: int) -> Sequence[Address]:
        self.asked.append(host)
        answers = self.names.get(host, [()])
        return [ip_address(text) for text in (answers.pop(0) if answers[1:] else answers[0])]

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        self.dialled.append(host)
        if (host, port) not in self.ports:
            raise httpcore.ConnectError
        return await self._real.connect_tcp("127.0.0.1", self.ports[host, port], timeout)

    @contextlib.asynccontextmanager
    async def serving(
        self, answer: bytes | Serve, address: str = PUBLIC, tls: ssl.SSLContext | None = None
    ) -> AsyncIterator[None]:
        """Answer every request at an address."""

        handlers: set[asyncio.Task[None]] = set()

        async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            assert task is not None
            handlers.add(task)
            with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
                request = await reader.readuntil(b"\r\n\r\n")
                self.requests.append(request)
                if isinstance(answer, bytes):
                    writer.write(answer)
                    await writer.drain()
                else:
                    await answer(writer, request)
                    await writer.drain()
                writer.close()
                await writer.wait_closed()
            writer.transport.abort()

        server = await asyncio.start_server(handle, "127.0.0.1", 0, ssl=tls)
        self.ports[address, 443 if tls else 80] = server.sockets[0].getsockname()[1]
        async with server:
            yield
            for task in handlers:
                task.cancel()
            await asyncio.gather(*handlers, return_exceptions=True)

    async def fetch(
        self, url: str = "http://a.org/", policy: FetchPolicy = OPEN, **more: object
    ) -> Fetched:
        options: dict[str, object] = {"resolve": self.resolve, "network": self, **more}
        return await fetch(url, policy, **options)  # type: ignore[arg-type]

    async def refused(
        self, url: str = "http://a.org/", policy: FetchPolicy = OPEN, **more: object
    ) -> str:
        with pytest.raises(OperationRefused) as error:
            await self.fetch(url, policy, **more)
        return error.value.code


@pytest.fixture
def world() -> World:
    """A network in which a.org has a public address."""
    found = World()
    found.name("a.org", [PUBLIC])
    return found


def moved(location: str, status: int = 302) -> bytes:
    head = f"HTTP/1.1 {status} Moved\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n"
    return head.encode()


# ---------------------------------------------------------------- what works


async def test_an_answer_is_returned_whatever_its_status(world: World) -> None:
    async with world.serving(OK.replace(b"200 OK", b"404 No")):
        found = await world.fetch("http://a.org/x?y")

    assert (found.status, found.text) == (404, "hello")
    assert found.headers == {"content-type": "text/plain"}
    assert world.requests[0].startswith(b"GET /x?y HTTP/1.1\r\n")
    assert b"\r\nhost: a.org\r\n" in world.requests[0].lower()


async def test_a_packed_body_is_unpacked(world: World) -> None:
    body = gzip.compress(b"x" * 1000, mtime=0)
    head = f"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {len(body)}\r\n\r\n"
    async with world.serving(head.encode() + body):
        assert (await world.fetch()).body == b"x" * 1000


@pytest.mark.parametrize(
    ("kind", "body", "text"),
    [("text/html; charset=ISO-8859-1", b"\xe9", "é"), ("text/html", b"\xc3\xa9", "é"),
     ("text/html; charset=utf-8", b"\xff", "�"), ("text/html; charset=zlib_codec", b"a", "a")],
)  # fmt: skip
async def test_text_is_decoded_by_few_rules(
    world: World, kind: str, body: bytes, text: str
) -> None:
    head = f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nConnection: close\r\n\r\n"
    async with world.serving(head.encode() + body):
        assert (await world.fetch()).text == text


async def test_the_next_address_is_tried_when_one_is_dead(world: World) -> None:
    world.name("a.org", [OTHER, PUBLIC])
    async with world.serving(OK):
        assert (await world.fetch()).status == 200
    assert world.dialled == [OTHER, PUBLIC]


async def test_where_nobody_answers_that_is_said(world: World) -> None:
    assert await world.refused() == "no_connection"
    assert await world.refused("http://unknown.org/") == "no_such_host"


# ---------------------------------------------------------------- the gate


async def test_what_is_not_granted_is_not_even_looked_up(world: World) -> None:
    for policy in (FetchPolicy(), FetchPolicy(hosts=frozenset({"b.org"}))):
        assert await world.refused("https://secret.a.org/", policy) == "not_granted"
    assert (world.asked, world.dialled) == ([], [])


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "10.1.2.3", "169.254.169.254", "100.64.0.1", "0.0.0.0", "::1", "fd00::1",
     "::ffff:127.0.0.1", "64:ff9b::7f00:1", "fe80::1", "224.0.0.1", "ff02::1"],
)  # fmt: skip
@pytest.mark.case(85)
async def test_a_name_that_leads_inside_is_refused(world: World, address: str) -> None:
    """Case 85."""
    world.name("a.org", [address])

    assert await world.refused() == "address_refused"
    assert world.dialled == []


@pytest.mark.parametrize(
    "url",
    ["http://127.0.0.1/", "http://[::1]/", "http://[::ffff:7f00:1]/", "http://[64:ff9b::7f00:1]/",
     "http://10.0.0.1", "http://0.0.0.0/", "http://localhost/", "http://localhost./",
     "http://127.1/", "http://0x7f.1/", "http://2130706433/", "http://0/"],
)  # fmt: skip
@pytest.mark.case(85)
async def test_every_spelling_of_loopback_is_refused(world: World, url: str) -> None:
    """Case 85, by the system's own resolver."""
    code = await world.refused(url, resolve=system_resolver)

    assert code in ("address_refused", "bad_url")
    assert world.dialled == []


@pytest.mark.case(86)
async def test_one_bad_address_among_good_ones_refuses_all(world: World) -> None:
    """Case 86: a mixed set."""
    world.name("a.org", [PUBLIC, "127.0.0.1"])

    assert await world.refused() == "address_refused"
    assert world.dialled == []


@pytest.mark.case(86)
async def test_a_name_that_changes_its_mind_is_believed_once(world: World) -> None:
    """Case 86: rebinding. What was judged is what is connected to."""
    world.name("a.org", [PUBLIC], ["127.0.0.1"])
    async with world.serving(OK):
        assert (await world.fetch()).status == 200

        assert await world.refused() == "address_refused"
    assert (world.asked, world.dialled) == (["a.org", "a.org"], [PUBLIC])


@pytest.mark.case(86)
async def test_a_hop_to_the_same_name_is_judged_anew(world: World) -> None:
    world.name("a.org", [PUBLIC], ["127.0.0.1"])
    async with world.serving(moved("http://a.org/again")):
        assert await world.refused() == "address_refused"
    assert world.dialled == [PUBLIC]


async def test_this_machines_own_addresses_are_refused(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A public address may be this machine's; then its local services answer there."""
    monkeypatch.setattr("lmboot.runtime.fetching.is_own", lambda address: str(address) == PUBLIC)

    assert await world.refused() == "address_refused"


def test_own_addresses_are_known() -> None:
    for addresses in psutil.net_if_addrs().values():
        for each in addresses:
            if each.family == socket.AF_INET:
                assert is_own(ip_address(each.address))
    assert is_own(ip_address("::ffff:127.0.0.1"))
    assert is_own(ip_address("64:ff9b::7f00:1"))
    assert not is_own(ip_address(PUBLIC))
    assert not is_own(ip_address(OTHER))


async def test_an_address_that_was_granted_by_itself_is_reached(world: World) -> None:
    inside = FetchPolicy(
        hosts=frozenset({"nas.lan"}), addresses=frozenset({ip_address("192.168.1.9")})
    )
    world.name("nas.lan", ["192.168.1.9"], ["192.168.1.10"])
    async with world.serving(OK, "192.168.1.9"):
        assert (await world.fetch("http://nas.lan/", inside)).status == 200

        assert await world.refused("http://nas.lan/", inside) == "address_refused"


async def test_a_name_with_endless_addresses_is_refused(world: World) -> None:
    world.name("a.org", [f"93.184.216.{n}" for n in range(65)])

    assert await world.refused() == "no_such_host"


# ---------------------------------------------------------------- redirects


async def test_redirects_are_followed_and_told(world: World) -> None:
    async def serve(writer: asyncio.StreamWriter, request: bytes) -> None:
        writer.write(OK if b" /c " in request else moved("c" if b" /b " in request else "/b"))

    async with world.serving(serve):
        led: list[str] = []
        found = await world.fetch("http://a.org/a", redirected=led.append)

    assert led == ["http://a.org/b", "http://a.org/c"]
    assert found.body == b"hello"


@pytest.mark.parametrize(
    ("location", "code"),
    [
        ("http://127.0.0.1/", "address_refused"),
        ("http://[::1]/", "address_refused"),
        ("http://localhost/", "no_such_host"),
        ("http://inside.org/", "address_refused"),
        ("http://a.org:1234/", "not_granted"),
        ("file:///etc/passwd", "not_granted"),
        ("gopher://a.org/", "not_granted"),
        ("http://user:pw@a.org/", "bad_url"),
        ("http://2130706433/", "bad_url"),
        ("//a.org\\@127.0.0.1/", "bad_url"),
        ("/caf\u00e9", "bad_answer"),
    ],
)
@pytest.mark.case(87)
async def test_a_redirect_passes_the_whole_gate(world: World, location: str, code: str) -> None:
    """Case 87."""
    world.name("inside.org", ["10.0.0.1"])
    async with world.serving(moved(location)):
        assert await world.refused() == code
    assert world.dialled == [PUBLIC]


async def test_a_redirect_to_a_host_that_was_not_granted_is_refused(world: World) -> None:
    async with world.serving(moved("http://b.org/")):
        assert await world.refused(policy=FetchPolicy(frozenset({"a.org"}))) == "not_granted"
    assert world.asked == ["a.org"]


@pytest.mark.case(87)
async def test_case_87_where_a_redirect_led_is_on_file_without_its_secrets(
    world: World, tmp_path: Path
) -> None:
    """Also where it was refused; through the whole broker."""

    async def serve(writer: asyncio.StreamWriter, request: bytes) -> None:
        token = "a1B2" * 8
        refused = f"http://bob:hunter2@127.0.0.1/{token}?key=hunter2&q#hunter2"
        writer.write(moved(refused if b" /next" in request else "/next?password=hunter2"))

    grants, logs = Grants(), Logs(Vault(tmp_path / "audit", MemoryKeychain()))
    grants.add("fetch", "a.org")
    get = partial(fetch, resolve=world.resolve, network=world)
    gate = Permits(grants, Person(absent=True))
    with logs.open() as log:
        async with world.serving(serve), scene(Fetch(grants, get), gate=gate, audit=log) as it:
            assert codes([await it.guest.call("fetch", url="http://a.org/")]) == ["bad_url"]
            await until(lambda: len(records(log.path)) > 2)

    intent, outcome = records(log.path)[1:3]
    assert (intent["kind"], outcome["reason"]) == ("intent", "bad_url")
    assert outcome["hops"] == [
        "http://a.org/next?password=[redacted]",
        "http://[redacted]@127.0.0.1/[redacted]?key=[redacted]&[redacted]#[redacted]",
    ]
    assert "hunter2" not in log.path.read_text()
    assert row_of(outcome).endswith("#[redacted]")


@pytest.mark.case(87)
async def test_a_circle_of_redirects_ends(world: World) -> None:
    """Case 87."""
    async with world.serving(moved("/")):
        assert await world.refused() == "too_many_redirects"
    assert len(world.requests) == 4


async def test_two_locations_are_one_too_many(world: World) -> None:
    async with world.serving(moved("/x\r\nLocation: http://127.0.0.1/")):
        assert await world.refused() == "bad_answer"


# ---------------------------------------------------------------- what comes back


def bomb(megabytes: int) -> bytes:
    """Return zeros in gzip's form: the same megabyte, packed once, again and again."""
    packer = zlib.compressobj(9, wbits=31)
    first = packer.compress(bytes(1 << 20)) + packer.flush(zlib.Z_FULL_FLUSH)
    again = packer.compress(bytes(1 << 20)) + packer.flush(zlib.Z_FULL_FLUSH)
    return first + again * (megabytes - 1)


@pytest.mark.case(88)
async def test_a_bomb_is_unpacked_no_further_than_its_limit(world: World) -> None:
    """Case 88: a gigabyte of zeros; the process must not grow by them."""
    answer = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n" + bomb(1024)
    async with world.serving(answer):
        tracemalloc.start()
        assert await world.refused() == "too_large"
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()

    assert len(answer) < 2 << 20
    assert peak < 16 << 20


@pytest.mark.case(88)
async def test_packed_nothing_without_end_is_cut(world: World) -> None:
    async def serve(writer: asyncio.StreamWriter, _request: bytes) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n")
        writer.write(zlib.compressobj(wbits=31).flush(zlib.Z_SYNC_FLUSH)[:10])
        while True:  # empty stored blocks
            writer.write(b"\0\0\0\xff\xff" * 1000)
            await writer.drain()

    async with world.serving(serve):
        assert await world.refused() == "too_large"


@pytest.mark.case(88)
async def test_chunks_without_end_are_cut(world: World) -> None:
    """Case 88."""

    async def serve(writer: asyncio.StreamWriter, _request: bytes) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while True:
            writer.write(b"400\r\n" + b"x" * 1024 + b"\r\n")
            await writer.drain()

    async with world.serving(serve):
        assert await world.refused() == "too_large"


async def test_a_body_of_exactly_the_limit_is_whole(world: World) -> None:
    head = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"
    limits = FetchLimits(body_bytes=1000)
    async with world.serving(head + b"x" * 1000):
        assert len((await world.fetch(limits=limits)).body) == 1000
    async with world.serving(head + b"x" * 1001):
        assert await world.refused(limits=limits) == "too_large"


@pytest.mark.parametrize("head", [b"", b"HTTP/1.1 200 OK\r\n\r\n", b"HTTP/1.1 200 OK\r\nX: "])
@pytest.mark.case(88)
async def test_drops_do_not_hold_us(world: World, head: bytes) -> None:
    """Case 88: a byte now and then, for ever."""

    async def serve(writer: asyncio.StreamWriter, _request: bytes) -> None:
        writer.write(head)
        while True:
            writer.write(b"H")
            await writer.drain()
            await asyncio.sleep(0.05)

    async with world.serving(serve):
        began = time.monotonic()
        assert await world.refused(limits=FetchLimits(seconds=0.5)) == "timeout"

        assert time.monotonic() - began < 2


async def test_the_time_is_for_all_hops_together(world: World) -> None:
    async def serve(writer: asyncio.StreamWriter, _request: bytes) -> None:
        await asyncio.sleep(0.2)
        writer.write(moved("/"))

    async with world.serving(serve):
        limits = FetchLimits(seconds=0.5, redirects=50)
        assert await world.refused(limits=limits) == "timeout"


async def test_a_resolver_that_hangs_is_left(world: World) -> None:
    async def hang(_host: str, _port: int) -> Sequence[Address]:
        await asyncio.sleep(60)
        return ()

    assert await world.refused(limits=FetchLimits(seconds=0.1), resolve=hang) == "timeout"


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        (b"X: " + b"y" * (1 << 20) + b"\r\n", "bad_answer"),
        (b"X: " + b"y" * (65 << 10) + b"\r\n", "too_large"),
        (b"X: y\r\n" * 101, "too_large"),
    ],
)
@pytest.mark.case(88)
async def test_huge_headers_are_refused(world: World, headers: bytes, code: str) -> None:
    """Case 88."""
    async with world.serving(b"HTTP/1.1 200 OK\r\n" + headers + b"\r\n"):
        assert await world.refused() == code


@pytest.mark.parametrize(
    "answer",
    [
        b"", b"SSH-2.0-OpenSSH_9.2\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", b"HTTP/9.9 abc\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\nnot packed",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n" + PACKED[:-4],
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n" + PACKED + b"more",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: br\r\n\r\nx",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip, gzip\r\n\r\nx",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ],
)  # fmt: skip
async def test_what_is_no_answer_is_said_to_be_none(world: World, answer: bytes) -> None:
    async with world.serving(answer):
        assert await world.refused() == "bad_answer"


async def test_nothing_is_left_open(world: World) -> None:
    async with world.serving(b"HTTP/1.1 200 OK\r\nContent-Encoding: br\r\n\r\nx"):
        await world.refused()
        before = len(descriptors())
        for _ in range(20):
            await world.refused()
        await asyncio.sleep(0.1)  # for the server's ends

        assert len(descriptors()) <= before + 1


# ---------------------------------------------------------------- what we say


@pytest.mark.parametrize(
    "url",
    ["http://a.org/\r\nX: y", "http://a.org/%\n", "http://good@a.org/", "http://good\\@a.org"],
)
@pytest.mark.case(89)
async def test_a_url_that_would_be_two_lines_is_refused(world: World, url: str) -> None:
    """Case 89."""
    assert await world.refused(url) == "bad_url"
    assert world.asked == []


@pytest.mark.case(90)
async def test_nothing_of_the_users_takes_part(
    world: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Case 90: proxies, netrc and cookies."""
    (tmp_path / "netrc").write_text("machine a.org login me password secret")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    cookie = OK.replace(b"\r\n\r\n", b"\r\nSet-Cookie: id=7\r\n\r\n")
    async with world.serving(cookie):
        await world.fetch()
        found = await world.fetch()

    assert world.dialled == [PUBLIC, PUBLIC]
    assert b"authorization" not in world.requests[0].lower()
    assert b"cookie" not in world.requests[1].lower()
    assert "set-cookie" not in found.headers


# ---------------------------------------------------------------- TLS


def certificate(folder: Path, name: str) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Return a server's context with a certificate for a name, and a client's that trusts it."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    built = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(7)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = built.public_bytes(serialization.Encoding.PEM)
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    (folder / "both.pem").write_bytes(private + pem)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(folder / "both.pem")
    return server, ssl.create_default_context(cadata=pem.decode())


async def test_tls_is_for_the_name_though_the_address_is_dialled(
    world: World, tmp_path: Path
) -> None:
    server, trusting = certificate(tmp_path, "a.org")
    names: list[str | None] = []
    server.sni_callback = lambda _socket, name, _context: names.append(name)
    async with world.serving(OK, tls=server):
        found = await world.fetch("https://a.org/", tls=trusting)

    assert (found.body, names, world.dialled) == (b"hello", ["a.org"], [PUBLIC])


async def test_a_certificate_for_another_name_is_refused(world: World, tmp_path: Path) -> None:
    server, trusting = certificate(tmp_path, "b.org")
    async with world.serving(OK, tls=server):
        assert await world.refused("https://a.org/", tls=trusting) == "no_connection"
        assert await world.refused("https://a.org/") == "no_connection"
    assert world.requests == []


@pytest.mark.case(87)
async def test_a_redirect_from_https_to_http_is_refused(world: World, tmp_path: Path) -> None:
    server, trusting = certificate(tmp_path, "a.org")
    async with world.serving(moved("http://a.org/"), tls=server), world.serving(OK):
        assert await world.refused("https://a.org/", tls=trusting) == "not_granted"
    assert len(world.requests) == 1


def test_the_addresses_of_these_tests_are_public() -> None:
    assert ipaddress.ip_address(PUBLIC).is_global
    assert ipaddress.ip_address(OTHER).is_global
