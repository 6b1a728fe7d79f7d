"""Which addresses of the network a runtime may have fetched for it; pure, the only parser of URLs.

A URL is taken apart once, here; what connects gets the parts, never the text. Names are judged by
what the user granted, and what they resolve to by the table below, which no grant opens but one
that names the very address. `ipaddress` only parses: its is_private and is_global leave gaps.

Refusals are OperationRefused with the code bad_url (it can't be read in one way only) or
not_granted (it can, and the policy does not name it).
"""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from lmboot.errors import OperationRefused
from lmboot.text import brief, is_hidden

Address = IPv4Address | IPv6Address

MAX_URL_CHARACTERS = 2048
MAX_HOST_CHARACTERS = 253
DEFAULT_PORTS = {"http": 80, "https": 443}

_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://([^/?#]*)([^?#]*)(\?[^#]*)?(?:#.*)?", re.ASCII)
_AUTHORITY = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([^\[\]:]+))(?::([0-9]{1,5}))?", re.ASCII)
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:", re.ASCII)
_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?", re.ASCII)
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*", re.ASCII)


@dataclass(frozen=True, slots=True)
class FetchPolicy:
    """What the user granted. Empty `hosts`: nothing at all.

    A host is a name (that name only), `.name` (it and all beneath it) or `*` (all of them). An
    address that the table forbids is reached only if it is in `addresses`; a name needs both.
    """

    hosts: frozenset[str] = frozenset()
    ports: frozenset[int] = frozenset({80, 443})
    addresses: frozenset[Address] = frozenset()

    def names(self, host: str) -> bool:
        """Say whether a host was granted; whole labels count, not the ends of letters."""
        above = host.split(".")
        suffixes = {"." + ".".join(above[n:]) for n in range(len(above))}
        return "*" in self.hosts or host in self.hosts or not suffixes.isdisjoint(self.hosts)


@dataclass(frozen=True, slots=True)
class Target:
    """A URL, taken apart: `host` in lower case without brackets, `path` with its query, ASCII."""

    scheme: str
    host: str
    port: int
    path: str

    @property
    def authority(self) -> str:
        """Return what a Host header says."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def url(self) -> str:
        """Return it as text again; reading that gives this target."""
        return f"{self.scheme}://{self.authority}{self.path}"


def check_url(text: str, policy: FetchPolicy) -> Target:
    """Take a URL apart and hold it against the policy."""
    target = _parsed(text)
    if target.port not in policy.ports:
        raise _not_granted(f"port {target.port} is not granted")
    if not policy.names(target.host):
        raise _not_granted(f"the host {brief(target.host, 100)!r} is not granted")
    return target


def host_to_grant(text: str, policy: FetchPolicy) -> str | None:
    """Return the host that must be granted for a URL; None where the policy names it.

    Refuses what no grant of a host opens: what can't be read, other ports, forbidden addresses.
    """
    target = check_url(text, replace(policy, hosts=frozenset({"*"})))
    if policy.names(target.host):
        return None
    _check_host(target.host, policy)
    return target.host


def host_named(text: str) -> str:
    """Return the host that a person names, or `.host` (it and all beneath it), as URLs have it.

    Refuses what no grant opens, in any spelling, and what names more than one could oversee: `*`,
    or all beneath a label such as `.org`.
    """
    if text == "*":
        raise _not_granted("every host is too much to grant")
    beneath, name = text.startswith("."), text.removeprefix(".")
    try:
        host = _address(_unwrapped(name), 6) if ":" in name else _name(name)
    except OperationRefused:
        raise _not_granted(_SPELLING if _ends_in_a_number(name) else _NO_HOST) from None
    _check_host(host, FetchPolicy())
    if beneath and ("." not in host or ":" in host or _ends_in_a_number(host)):
        raise _not_granted("what lies beneath it does not belong together")
    return "." * beneath + host


def _unwrapped(name: str) -> str:
    return name[1:-1] if (name[:1], name[-1:]) == ("[", "]") else name


def _ends_in_a_number(name: str) -> bool:
    return _NUMBER.fullmatch(name.lower().removesuffix(".").split(".")[-1]) is not None


def _check_host(host: str, policy: FetchPolicy) -> None:
    """Refuse what is never fetched from; other names are judged by what they resolve to."""
    if any(host == own or host.endswith(f".{own}") for own in _OWN_NAMES):
        raise OperationRefused(f"{host} is {_OWN}", code="address_refused")
    with suppress(ValueError):
        address = ip_address(host)
        if address not in policy.addresses and (why := check_address(address)):
            raise OperationRefused(f"{host} {why}", code="address_refused")


def check_redirect(base: Target, location: str, policy: FetchPolicy) -> Target:
    """Do the same with where a server sends us; an address may be relative to the last one."""
    target = check_url(absolute(base, location), policy)
    if (base.scheme, target.scheme) == ("https", "http"):
        raise _not_granted("a redirect leads from https to http")
    return target


def absolute(base: Target, location: str) -> str:
    """Return where a server sends us as a whole address, not yet judged."""
    origin = f"{base.scheme}://{base.authority}"
    folder = base.path.partition("?")[0].rpartition("/")[0]
    if _SCHEME.match(location):
        return location
    if location.startswith("//"):
        return f"{base.scheme}:{location}"
    if location.startswith("/"):
        return origin + location
    if location.startswith("?"):
        return origin + base.path.partition("?")[0] + location
    return f"{origin}{folder}/{location}"


def _parsed(text: str) -> Target:
    if len(text) > MAX_URL_CHARACTERS:
        raise _bad(f"is longer than {MAX_URL_CHARACTERS} characters")
    if any(character.isspace() or is_hidden(character) for character in text):
        raise _bad("has a space, or a control, bidirectional or zero-width character")
    if "\\" in text:
        raise _bad("has a backslash, which some take for a slash")
    parts = _URL.fullmatch(text)
    if parts is None:
        raise _bad("is not of the form http://host/path")
    scheme, authority, path, query = parts[1].lower(), parts[2], parts[3], parts[4] or ""
    if scheme not in DEFAULT_PORTS:
        raise _not_granted("only http and https are fetched")
    host, port = _host_and_port(authority, DEFAULT_PORTS[scheme])
    return Target(scheme, host, port, _quoted((_without_dots(path) or "/") + query))


def _host_and_port(authority: str, otherwise: int) -> tuple[str, int]:
    if "@" in authority:
        raise _bad("has a user name or password before the host")
    parts = _AUTHORITY.fullmatch(authority)
    if parts is None:
        raise _bad("has no host, or one that can't be read")
    port = int(parts[3]) if parts[3] else otherwise
    if not 0 < port < 1 << 16:
        raise _bad("has a port that does not exist")
    return _address(parts[1], 6) if parts[1] else _name(parts[2]), port


def _address(text: str, version: int) -> str:
    try:
        found = ip_address(text)
    except ValueError:
        raise _bad("has an address that can't be read") from None
    if found.version != version:
        raise _bad("has an address in the wrong form")
    return str(found)


def _name(text: str) -> str:
    """Return a name in lower case; one whose last label is a number must be a whole address.

    Names beyond ASCII are refused rather than translated: there are several ways to.
    """
    if not text.isascii():
        raise _bad("has a host with letters beyond ASCII; write it in its xn-- form")
    name = text.lower().removesuffix(".")
    labels = name.split(".")
    if _ends_in_a_number(name):
        return _address(name, 4)
    if len(name) > MAX_HOST_CHARACTERS or not all(map(_LABEL.fullmatch, labels)):
        raise _bad("has a host that is no name")
    return name


def _without_dots(path: str) -> str:
    """Resolve the parts . and .., so that no server sees other than what is written down here."""
    if not re.search(r"/\.{1,2}(?:/|$)", path):
        return path
    kept: list[str] = []
    parts = path.split("/")[1:]
    for part in parts:
        if part == "..":
            del kept[-1:]
        elif part != ".":
            kept.append(part)
    if parts[-1] in (".", ".."):
        kept.append("")
    return "/" + "/".join(kept)


def _quoted(text: str) -> str:
    try:
        data = text.encode()
    except UnicodeEncodeError:
        raise _bad("has half of a surrogate pair") from None
    return "".join(chr(byte) if byte < 0x80 else f"%{byte:02X}" for byte in data)


def _bad(why: str) -> OperationRefused:
    return OperationRefused(f"the address {why}", code="bad_url")


def _not_granted(why: str) -> OperationRefused:
    return OperationRefused(why, code="not_granted")


# ---------------------------------------------------------------- addresses

_V4 = {
    "0.0.0.0/8": "this network",
    "10.0.0.0/8": "private",
    "100.64.0.0/10": "shared by a provider's customers",
    "127.0.0.0/8": "loopback",
    "168.63.129.16/32": "a cloud's own, seen from its machines",
    "169.254.0.0/16": "link-local",
    "172.16.0.0/12": "private",
    "192.0.0.0/24": "for protocols",
    "192.0.2.0/24": "for documentation",
    "192.31.196.0/24": "for protocols",
    "192.52.193.0/24": "for protocols",
    "192.88.99.0/24": "a 6to4 relay",
    "192.168.0.0/16": "private",
    "192.175.48.0/24": "for protocols",
    "198.18.0.0/15": "for benchmarks",
    "198.51.100.0/24": "for documentation",
    "203.0.113.0/24": "for documentation",
    "224.0.0.0/4": "multicast",
    "240.0.0.0/4": "reserved",
}
# Only 2000::/3 is given out at all: whatever is not in it is refused, the rest of it less these.
_V6 = {
    "2001::/23": "for protocols",  # Teredo, ORCHID, benchmarks
    "2001:db8::/32": "for documentation",
    "2002::/16": "6to4, which leads to any other",
    "2620:4f:8000::/48": "for protocols",
    "3fff::/20": "for documentation",
}
_V6_TOLD = {  # for the reason's sake
    "::/128": "unspecified",
    "::1/128": "loopback",
    "64:ff9b::/96": "a translation, which leads to any other",
    "64:ff9b:1::/48": "a translation of this network's own",
    "fc00::/7": "private",
    "fe80::/10": "link-local",
    "fec0::/10": "site-local",
    "ff00::/8": "multicast",
}
_GIVEN_OUT = IPv6Network("2000::/3")
# Names that stand for this machine or its network wherever they are resolved (RFC 6761, 6762,
# 8375; `.internal` by ICANN's resolution of 2024; the others are in Linux' tables of hosts).
_OWN_NAMES = (
    *("localhost", "localhost.localdomain", "localdomain", "ip6-localhost", "ip6-loopback"),
    *("local", "internal", "home.arpa"),
)
_NO_HOST = "a host is named alone: no scheme, no port, no path, its letters in ASCII (xn-- form)"
_SPELLING = "this spelling of an address is never fetched; it is four numbers, as 9.9.9.9"
_OWN = "a name of this machine or its network, which is never fetched from"
_MAPPED = IPv6Network("::ffff:0:0/96")  # as good as the IPv4 address that it ends in
_TRANSLATED = IPv6Network("64:ff9b::/96")  # ends in one, but who translates it decides
_FORBIDDEN: dict[int, list[tuple[IPv4Network | IPv6Network, str]]] = {
    4: [(ip_network(block), why) for block, why in _V4.items()],
    6: [(ip_network(block), why) for block, why in (_V6 | _V6_TOLD).items()],
}


def embedded(address: Address) -> Address:
    """Return the IPv4 address that an IPv6 one leads to, else the address itself."""
    if isinstance(address, IPv6Address) and (address in _MAPPED or address in _TRANSLATED):
        return IPv4Address(int(address) & 0xFFFF_FFFF)
    return address


def check_address(address: Address) -> str | None:
    """Return why an address must never be reached, as the end of a sentence; None if it may."""
    if isinstance(address, IPv6Address):
        if address.scope_id is not None:
            return "is link-local"
        if address in _MAPPED:
            return check_address(embedded(address))
    for block, why in _FORBIDDEN[address.version]:
        if address in block:
            return f"is {why}"
    if isinstance(address, IPv6Address) and address not in _GIVEN_OUT:
        return "is of a kind that nobody is given"
    return None
