"""Every trick by which a name or an address is made to look like another one."""

from __future__ import annotations

import ipaddress
import socket

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stead.sandbox.box import Host
from stead.sandbox.egress_hosts import (
    Kind,
    Private,
    Refused,
    Target,
    allowing,
    check_addresses,
    judge,
    read_host,
    read_target,
)


@pytest.mark.parametrize(
    "text",
    [
        "", ".", "..", "a..b", ".a", "a.b..", "-a.example", "a-.example", "a b.example", "a\tb",
        "a\0b.example", "good.example\0.evil.example", "good.example%00.evil.example", "a%2eb",
        "a/b", "a\\b", "a#b", "a?b", "a@b", "user:pass@a.example", "a,b", "a;b", "a\nb", "a\r\nb",
        "x" * 64 + ".example", ".".join(["abcdefgh"] * 30),
        # Letters and digits of other scripts, which some readers fold into ASCII.
        "\u24d4xample.com", "\uff11\uff12\uff17.0.0.1", "127\u30020\u30020\u30021",
        "exam\u00adple.com", "l\u043ecalhost",
        "\uff4cocalhost", "example\u3002com", "\u2460\u2461\u2466.0.0.1", "xn--\u00e9.example",
        # One and the same address in odd forms.
        "2130706433", "0x7f000001", "0x7f.0.0.1", "0x7f.1", "127.1", "127.0.1", "0177.0.0.1",
        "017700000001", "127.0.0.01", "127.0.0.0x1", "1.2.3.4.5", "256.1.1.1", "1.2.3", "0x",
        "example.0x7f", "example.123", "127.0.0.1.0", "00000000127.0.0.1", "+127.0.0.1",
        "[::1", "::1]", "[::1%lo]", "[::1%25lo]", "[fe80::1%eth0]", "[1.2.3.4]", "[::ffff:1.2.3]",
        "[]", "[g::]", "::1",
    ],
)  # fmt: skip
def test_odd_hosts_are_refused(text: str) -> None:
    """What two readers might take for two different hosts is taken for none."""
    with pytest.raises(Refused):
        read_host(text)


@pytest.mark.parametrize(
    ("text", "host"),
    [
        ("EXAMPLE.com", "example.com"), ("example.com.", "example.com"), ("nas", "nas"),
        ("xn--mller-kva.example", "xn--mller-kva.example"), ("_dmarc.example", "_dmarc.example"),
        ("1.2.3.4.example", "1.2.3.4.example"), ("127.0.0.1", "127.0.0.1"),
        ("127.0.0.1.", "127.0.0.1"), ("[::1]", "::1"), ("[0:0::0:1]", "::1"),
        ("[::FFFF:7f00:1]", "::ffff:127.0.0.1"), ("0x7f.example", "0x7f.example"),
    ],
)  # fmt: skip
def test_each_host_has_one_form(text: str, host: str) -> None:
    """Case, a dot at the end and ways to write IPv6 do not make another host."""
    name, address = read_host(text)
    assert (name if address is None else str(address)) == str(
        ipaddress.ip_address(host) if address is not None else host
    )


@pytest.mark.parametrize(
    "text",
    [
        "a.example:0", "a.example:65536", "a.example:", "a.example:+80", "a.example: 80",
        "a.example:80:80", "a.example:8e1", "a.example:-1", "u@a.example:80", "u:p@a.example:80",
        "a.example:80@b.example:80", "[::1]80", "[::1]:", "a.example:٣", "a.example",
    ],
)  # fmt: skip
def test_odd_ports_are_refused(text: str) -> None:
    """A port is one to five digits; user names are no part of a target."""
    with pytest.raises(Refused):
        read_target(text)


@given(st.text(max_size=40))
def test_no_text_breaks_the_reader(text: str) -> None:
    """Whatever is asked for is read as one host or refused, never anything else."""
    try:
        name, address = read_host(text)
    except Refused:
        return
    assert name == name.lower() and name.isascii() and "\0" not in name
    assert address is not None or not name.rpartition(".")[2].isdigit()
    assert read_host(f"[{name}]" if ":" in name else name) == (name, address)


@pytest.mark.parametrize(
    ("kind", "addresses"),
    [
        (Kind.LOOPBACK, "127.0.0.1 127.255.255.254 ::1 ::ffff:127.0.0.1 64:ff9b::7f00:1"),
        (
            Kind.PRIVATE,
            "10.0.0.1 172.16.0.1 172.31.255.255 192.168.1.1 100.64.0.1 100.127.255.255 169.254.1.1"
            " fc00::1 fd12:3456::1 fe80::1 ::ffff:10.0.0.1 64:ff9b::c0a8:101",
        ),
        (
            Kind.NEVER,
            "0.0.0.0 0.1.2.3 169.254.169.254 169.254.170.2 168.63.129.16 100.100.100.200"
            " 192.0.0.192 192.0.2.1 192.88.99.1 198.18.0.1 198.51.100.1 203.0.113.1 224.0.0.1"
            " 239.255.255.250 240.0.0.1 255.255.255.255 :: ::ffff:0.0.0.0 ::ffff:169.254.169.254"
            " ::7f00:1 ::1.2.3.4"
            " 2002:7f00:1:: 2002:808:808:: 2001::1 2001:10::1 2001:20::1 2001:db8::1 3fff::1"
            " ff02::1 ff0e::1 fd00:ec2::254 fd20:ce::254 64:ff9b:1::1 64:ff9b::a9fe:a9fe 100::1"
            " 5f00::1 4000::1 ::ffff:0:7f00:1 fec0::1",
        ),
        (
            Kind.PUBLIC,
            "1.1.1.1 8.8.8.8 100.63.255.255 100.128.0.1 172.15.0.1 172.32.0.1 11.0.0.1 128.0.0.1"
            " 2606:4700:4700::1111 2a00:1450::1 ::ffff:8.8.8.8 64:ff9b::808:808",
        ),
    ],
)
def test_addresses_are_what_they_are_in_every_form(kind: Kind, addresses: str) -> None:
    """Loopback, private, special and public ones are told apart, also inside IPv6."""
    told = {text: judge(ipaddress.ip_address(text)) for text in addresses.split()}
    assert told == dict.fromkeys(told, kind)


def test_an_address_of_this_machine_is_not_public() -> None:
    """Whatever its number: services that listen on all addresses listen on this one."""
    own = [
        ipaddress.ip_address(place.address.partition("%")[0])
        for places in psutil.net_if_addrs().values()
        for place in places
        if place.family in (socket.AF_INET, socket.AF_INET6)
    ]
    assert own and all(judge(address) is not Kind.PUBLIC for address in own)


@pytest.mark.parametrize(
    ("names", "allowed", "refused"),
    [
        (["a.example"], ["a.example", "A.EXAMPLE."], ["b.example", "x.a.example", "aa.example"]),
        (
            ["*.a.example"],
            ["x.a.example", "y.x.a.example"],
            ["a.example", "xa.example", "x.a.example.evil.example", "1.2.3.4"],
        ),
        (["*"], ["a.example", "1.2.3.4", "[2606::1]"], []),
        (["1.2.3.4"], ["1.2.3.4"], ["1.2.3.5", "1.2.3.4.example"]),
        (["2606::1"], ["[2606:0::1]"], ["[2606::2]"]),
        ([], [], ["a.example", "localhost"]),
    ],
)
def test_only_named_hosts(names: list[str], allowed: list[str], refused: list[str]) -> None:
    """A name is itself; ``*.`` is what lies below it; ``*`` is any."""
    hosts = [Host(name) for name in names]
    for text in allowed:
        assert allowing(hosts, read_target(text, 443)).name in names
    for text in refused:
        with pytest.raises(Refused):
            allowing(hosts, read_target(text, 443))


def test_only_named_ports() -> None:
    """Without a port 80 and 443; with one, that alone."""
    assert allowing([Host("a.example")], Target("a.example", 80))
    assert allowing([Host("a.example", 22)], Target("a.example", 22))
    for hosts, port in (([Host("a.example")], 22), ([Host("a.example", 22)], 443)):
        with pytest.raises(Refused, match=f"port {port}"):
            allowing(hosts, Target("a.example", port))


@pytest.mark.parametrize(
    ("entry", "target", "address", "holds"),
    [
        ("nas.home", "nas.home:80", "192.168.1.5", True),
        ("nas.home", "nas.home:80", "127.0.0.1", False),
        ("nas.home:8080", "nas.home:8080", "127.0.0.1", True),
        ("nas.home:8080", "nas.home:80", "192.168.1.5", False),
        ("nas.home", "evil.example:80", "192.168.1.5", False),
        ("192.168.1.0/24", "x.example:80", "192.168.1.5", True),
        ("192.168.1.0/24", "x.example:80", "192.168.2.5", False),
        ("192.168.1.0/24", "x.example:80", "::ffff:192.168.1.5", True),
        ("127.0.0.1:8080", "127.0.0.1:8080", "127.0.0.1", True),
        ("127.0.0.1:8080", "127.0.0.1:8081", "127.0.0.1", False),
        ("[fd00::5]:443", "[fd00::5]:443", "fd00::5", True),
    ],
)
def test_what_is_named_as_private_may_be_reached(
    entry: str, target: str, address: str, holds: bool
) -> None:
    """The owner's exceptions hold for what they name, and this machine only with its port."""
    ip = ipaddress.ip_address(address)
    one = Private.read(entry)
    assert one.holds(read_target(target), ip) is holds
    if not holds:
        with pytest.raises(Refused, match="the owner can name it"):
            check_addresses(read_target(target), Host("*"), [ip], [one])


@pytest.mark.parametrize("entry", ["127.0.0.1", "[::1]", "127.0.0.0/8", "0.0.0.0/0", "a b", "1.2.3",
                                   "::/0", "http://nas", "192.168.1.1/24", ""])  # fmt: skip
def test_exceptions_that_open_too_much_are_refused(entry: str) -> None:
    """This machine itself is opened port by port; what is no host or network is said."""
    with pytest.raises(ValueError, match=r".+"):
        Private.read(entry)


def test_no_exception_opens_what_tells_secrets() -> None:
    """Where clouds tell machines their keys stays shut, whatever is named."""
    metadata = ipaddress.ip_address("169.254.169.254")
    for host in (Host("*"), Host("169.254.169.254", private=True)):
        with pytest.raises(Refused):
            check_addresses(
                read_target("169.254.169.254:80"), host, [metadata],
                [Private.read("169.254.0.0/16")],
            )  # fmt: skip


def test_one_private_address_among_public_ones_is_enough() -> None:
    """A name that has both is a name that rebinds."""
    both = [ipaddress.ip_address("1.1.1.1"), ipaddress.ip_address("10.0.0.1")]
    with pytest.raises(Refused, match="private network"):
        check_addresses(Target("a.example", 443), Host("*"), both, [])
