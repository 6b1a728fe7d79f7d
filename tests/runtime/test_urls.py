"""Which URLs and addresses may be fetched: sandbox.md, section 3.6, cases 85, 87 and 89."""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmboot.errors import OperationRefused
from lmboot.runtime.urls import (
    Address,
    FetchPolicy,
    Target,
    check_address,
    check_redirect,
    check_url,
    embedded,
    host_named,
    host_to_grant,
)

ANY = FetchPolicy(hosts=frozenset({"*"}), ports=frozenset({80, 443, 8080}))


def refused(text: str, policy: FetchPolicy = ANY) -> str:
    with pytest.raises(OperationRefused) as error:
        check_url(text, policy)
    return error.value.code


# ---------------------------------------------------------------- URLs


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("http://a.org", ("http", "a.org", 80, "/")),
        ("HTTPS://A.Org./x?y=1#z", ("https", "a.org", 443, "/x?y=1")),
        ("http://a.org:8080?q", ("http", "a.org", 8080, "/?q")),
        ("http://a.org:080/", ("http", "a.org", 80, "/")),
        ("http://[2606:4700::0001]/", ("http", "2606:4700::1", 80, "/")),
        ("http://8.8.8.8/", ("http", "8.8.8.8", 80, "/")),
        ("https://de.wikipedia.org/wiki/Ö", ("https", "de.wikipedia.org", 443, "/wiki/%C3%96")),
        ("http://xn--bcher-kva.example/", ("http", "xn--bcher-kva.example", 80, "/")),
        ("http://a.org/a/./b/../c", ("http", "a.org", 80, "/a/c")),
        ("http://a.org/../../x/..", ("http", "a.org", 80, "/")),
        ("http://a.org/x@y:z", ("http", "a.org", 80, "/x@y:z")),
        ("http://localhost.", ("http", "localhost", 80, "/")),
    ],
)
def test_a_url_is_read_in_one_way(text: str, expected: tuple[str, str, int, str]) -> None:
    target = check_url(text, ANY)

    assert (target.scheme, target.host, target.port, target.path) == expected
    assert check_url(target.url, ANY) == target


@pytest.mark.parametrize(
    "text",
    [
        "", "a.org", "//a.org", "http:/a.org", "http:a.org", "http://", "http:///x", "http://:80",
        "http://user@a.org", "http://user:pw@a.org", "http://good.org@evil.org",
        "http://good.org\\@evil.org", "http://a.org\\x", "http://a.org/\\..",
        "http://a.org/\r\nHost: b", "http://a.org/ x", "http://a.org\t", " http://a.org",
        "http://a.org/\0", "http://a.org\n", "http://a.org/\u202e", "http://a\u200b.org",
        "http://ä.org", "http://a。org", "http://ⓐ.org", "http://a.org:", "http://a.org:0",
        "http://a.org:65536", "http://a.org:8٠", "http://a.org:-1", "http://a.org:80:80",
        "http://[::1", "http://::1/", "http://[1.2.3.4]/", "http://[fe80::1%25eth0]/",
        "http://[v1.x]/", "http://a..org", "http://.org", "http://-a.org", "http://a-.org",
        "http://a%2eorg", "http://127.1", "http://0x7f.1", "http://2130706433", "http://0",
        "http://0177.0.0.1", "http://127.0.0.0x1", "http://1.2.3.4.5", "http://0x",
        "http://a.org/\ud800", "http://" + "a" * 64 + ".org", "http://" + "a." * 127 + "org",
        "http://a.org/" + "x" * 2048, "http://a.org%0d%0ax",
    ],
)  # fmt: skip
@pytest.mark.case(89)
def test_what_can_be_read_in_two_ways_is_not_read(text: str) -> None:
    """Cases 85 and 89."""
    assert refused(text) == "bad_url"


@pytest.mark.parametrize("scheme", ["file", "ftp", "gopher", "ws", "data", "jar", "dict", "ldap"])
@pytest.mark.case(87)
def test_only_http_is_fetched(scheme: str) -> None:
    assert refused(f"{scheme}://a.org/") == "not_granted"


@pytest.mark.parametrize("port", [22, 1234, 11434, 8000, 65535])
def test_a_port_must_be_granted(port: int) -> None:
    assert refused(f"http://a.org:{port}/") == "not_granted"


@pytest.mark.parametrize(
    ("granted", "host", "yes"),
    [
        ({"a.org"}, "a.org", True),
        ({"a.org"}, "A.ORG.", True),
        ({"a.org"}, "b.a.org", False),
        ({"a.org"}, "xa.org", False),
        ({".a.org"}, "a.org", True),
        ({".a.org"}, "c.b.a.org", True),
        ({".a.org"}, "xa.org", False),
        ({".a.org"}, "a.org.evil.com", False),
        ({"*.a.org"}, "b.a.org", False),
        ({"*"}, "anything.example", True),
        ({"8.8.8.8"}, "8.8.8.8", True),
        (set(), "a.org", False),
    ],
)
def test_a_host_is_granted_by_whole_labels(granted: set[str], host: str, yes: bool) -> None:
    policy = FetchPolicy(hosts=frozenset(granted))

    if yes:
        assert check_url(f"http://{host}/", policy)
    else:
        assert refused(f"http://{host}/", policy) == "not_granted"


def test_an_empty_policy_grants_nothing() -> None:
    assert refused("https://a.org/", FetchPolicy()) == "not_granted"


@pytest.mark.parametrize(
    ("location", "expected"),
    [
        ("/y", "https://a.org/y"),
        ("y", "https://a.org/d/y"),
        ("../y", "https://a.org/y"),
        ("?z", "https://a.org/d/x?z"),
        ("//b.org/y", "https://b.org/y"),
        ("https://b.org", "https://b.org/"),
    ],
)
def test_a_redirect_may_be_relative(location: str, expected: str) -> None:
    base = Target("https", "a.org", 443, "/d/x?q=/1")

    assert check_redirect(base, location, ANY).url == expected


@pytest.mark.parametrize(
    ("location", "code"),
    [
        ("http://a.org/", "not_granted"),
        ("file:///etc/passwd", "not_granted"),
        ("ftp://a.org", "not_granted"),
        ("javascript:alert(1)", "bad_url"),
        ("https://a.org:22/", "not_granted"),
        ("//user@b.org/", "bad_url"),
        ("\\\\evil.org", "bad_url"),
        ("/x\r\nSet-Cookie: y", "bad_url"),
    ],
)
def test_a_redirect_passes_the_same_gate(location: str, code: str) -> None:
    """Case 87."""
    with pytest.raises(OperationRefused) as error:
        check_redirect(Target("https", "a.org", 443, "/"), location, ANY)

    assert error.value.code == code


@given(
    st.text(max_size=40) | st.text("htp:/@\\[]?#.%a1-\r\n ", max_size=40).map("http://".__add__)
)
def test_any_text_is_a_canonical_target_or_refused(text: str) -> None:
    try:
        target = check_url(text, ANY)
    except OperationRefused:
        return
    assert check_url(target.url, ANY) == target
    assert target.url.isascii()
    assert not {"\r", "\n", " ", "\\"} & set(target.url)


# ---------------------------------------------------------------- what may be granted


@pytest.mark.parametrize(
    ("text", "host"),
    [
        ("example.org", "example.org"), ("Example.ORG.", "example.org"),
        (".Example.org", ".example.org"), ("a_b.example", "a_b.example"),
        ("9.9.9.9", "9.9.9.9"), ("9.9.9.9.", "9.9.9.9"),
        ("2620:fe::0:fe", "2620:fe::fe"), ("[2620:fe::fe]", "2620:fe::fe"),
    ],
)  # fmt: skip
def test_a_host_is_granted_by_the_name_that_an_address_of_it_has(text: str, host: str) -> None:
    assert host_named(text) == host
    beneath = f"www{host}" if host.startswith(".") else f"[{host}]" if ":" in host else host

    assert host_to_grant(f"https://{beneath}/", FetchPolicy(frozenset({host}))) is None


@pytest.mark.parametrize(
    "text",
    [
        "127.0.0.1", "127.1", "0x7f.1", "0x7f000001", "2130706433", "0177.0.0.1", "127.0.0.1.",
        "10.0.0.1", "192.168.1.9", "172.16.0.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "0",
        "::1", "[::1]", "::", "::ffff:127.0.0.1", "::ffff:a00:1", "fe80::1", "fe80::1%eth0",
        "fd00::1", "localhost", "LocalHost", "localhost.", "a.localhost", ".localhost",
        "localdomain", "ip6-localhost", "nas.local", ".local", "printer.LOCAL.",
        "router.home.arpa", "metadata.google.internal", "134744072", "8.8.2056", "08.8.8.8",
        "１２７.0.0.1",
        "*", "*.example.org", ".", "..", "", " ", ".org", ".9.9.9.9", ".::1", "a..b",
        "a b", "a/b", "a@b", "https://example.org/", "example.org:443", "[9.9.9.9]",
        "[2620:fe::fe", "2620:fe::fe]", "exämple.org", "a\u202eb.org", "a\nb.org",
        "a" * 64 + ".org", "a." * 130 + "org",
    ],
)  # fmt: skip
def test_what_can_never_be_fetched_from_is_not_granted_in_any_spelling(text: str) -> None:
    with pytest.raises(OperationRefused):
        host_named(text)


@given(st.text(max_size=60) | st.ip_addresses().map(str))
def test_whatever_is_granted_can_be_asked_for_and_nothing_else_is_raised(text: str) -> None:
    try:
        host = host_named(text)
    except OperationRefused:
        return
    inside = host.removeprefix(".")

    url = f"http://[{inside}]/" if ":" in inside else f"http://{inside}/"
    assert host_to_grant(url, FetchPolicy()) == inside


# ---------------------------------------------------------------- addresses

# IANA's special-purpose address registries (snapshot of July 2026): each block, and whether it is
# globally reachable; neither yes nor no counts as no.
REGISTRY = """
0.0.0.0/8 no          0.0.0.0/32 no         10.0.0.0/8 no         100.64.0.0/10 no
127.0.0.0/8 no        169.254.0.0/16 no     172.16.0.0/12 no      192.0.0.0/24 no
192.0.0.0/29 no       192.0.0.8/32 no       192.0.0.9/32 yes      192.0.0.10/32 yes
192.0.0.170/32 no     192.0.0.171/32 no     192.0.2.0/24 no       192.31.196.0/24 yes
192.52.193.0/24 yes   192.88.99.0/24 no     192.88.99.2/32 no     192.168.0.0/16 no
192.175.48.0/24 yes   198.18.0.0/15 no      198.51.100.0/24 no    203.0.113.0/24 no
240.0.0.0/4 no        255.255.255.255/32 no
::1/128 no            ::/128 no             64:ff9b:1::/48 no     100::/64 no
100:0:0:1::/64 no     2001::/23 no          2001::/32 no          2001:1::1/128 yes
2001:1::2/128 yes     2001:1::3/128 yes     2001:2::/48 no        2001:3::/32 yes
2001:4:112::/48 yes   2001:10::/28 no       2001:20::/28 yes      2001:30::/28 yes
2001:db8::/32 no      2002::/16 no          2620:4f:8000::/48 yes 3fff::/20 no
5f00::/16 no          fc00::/7 no           fe80::/10 no
"""
# Of registries of their own.
OTHERS = "224.0.0.0/4 no  ff00::/8 no  fec0::/10 no"
BLOCKS = re.findall(r"(\S+) (yes|no)", REGISTRY + OTHERS)
FORBIDDEN = [block for block, reachable in BLOCKS if reachable == "no"]


@pytest.mark.parametrize("block", FORBIDDEN)
def test_nothing_special_is_reached_at_either_end_of_its_block(block: str) -> None:
    network = ip_network(block)
    middle = network[network.num_addresses // 2]

    for address in (network[0], middle, network[-1]):
        assert check_address(address) is not None, address


@pytest.mark.parametrize("block", [block for block, reachable in BLOCKS if reachable == "yes"])
def test_what_serves_protocols_is_not_reached_though_it_could_be(block: str) -> None:
    """Stricter than the registry: no web server lives there."""
    assert check_address(ip_network(block)[0]) is not None


def neighbours() -> list[Address]:
    """Return the addresses just outside each special block that lie in no other one."""
    found: list[Address] = []
    every = [ip_network(block) for block, _ in BLOCKS]
    for network in every:
        for number in (int(network[0]) - 1, int(network[-1]) + 1):
            kind = IPv4Address if network.version == 4 else IPv6Address
            if 0 <= number < 1 << network.max_prefixlen:
                address = kind(number)
                if not any(address in other for other in every):
                    found.append(address)
    return found


@pytest.mark.parametrize("address", neighbours(), ids=str)
def test_what_lies_beside_a_special_block_is_reached_if_it_is_given_out(address: Address) -> None:
    given_out = address.version == 4 or address in ip_network("2000::/3")

    assert (check_address(address) is None) is given_out


@pytest.mark.parametrize(
    "text",
    ["8.8.8.8", "1.1.1.1", "93.184.216.34", "223.255.255.255", "2606:4700::1", "2a00:1450::5",
     "::ffff:8.8.8.8"],
)  # fmt: skip
def test_public_addresses_are_reached(text: str) -> None:
    assert check_address(ip_address(text)) is None


@pytest.mark.parametrize(
    "text",
    ["::ffff:7f00:1", "::ffff:10.0.0.1", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "::7f00:1",
     "64:ff9b:1::808:808", "2002:7f00:1::", "2001:0:7f00:1::", "fe80::1%eth0", "::ffff:0:7f00:1",
     "fd00:ec2::254", "64:ff9b::8.8.8.8", "64:ff9b::",
     "168.63.129.16", "100.100.100.200", "ff0e::1", "2000::1%1"],
)  # fmt: skip
@pytest.mark.case(85)
def test_addresses_within_addresses_are_judged_by_what_is_within(text: str) -> None:
    """Case 85 and finding 9."""
    assert check_address(ip_address(text)) is not None


@given(st.integers(0, (1 << 32) - 1))
def test_a_mapped_address_is_as_good_as_itself_and_a_translated_one_is_refused(
    number: int,
) -> None:
    plain, mapped, translated = IPv4Address(number), 0xFFFF << 32, 0x64_FF9B << 96

    assert check_address(IPv6Address(mapped | number)) == check_address(plain)
    assert check_address(IPv6Address(translated | number)) is not None
    assert embedded(IPv6Address(mapped | number)) == plain
    assert embedded(IPv6Address(translated | number)) == plain
    assert embedded(plain) == plain


@given(st.ip_addresses())
def test_whatever_python_holds_for_special_is_refused(address: Address) -> None:
    inside = getattr(address, "ipv4_mapped", None)
    if inside is None and not address.is_global:
        assert check_address(address) is not None
