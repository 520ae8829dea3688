"""Who the client is: the walk from the right through proxies that are trusted, and one spelling for each address."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.wire.forwarded import TrustedProxies, parse_address

NOBODY = TrustedProxies([])
OURS = TrustedProxies(["10.0.0.0/8", "fd00::/8", "192.0.2.7/32"])


def test_H15_nobody_is_trusted_by_default() -> None:
    assert NOBODY.client_address("203.0.113.9", b"127.0.0.1") == "203.0.113.9"
    assert NOBODY.client_address("127.0.0.1", b"6.6.6.6") == "127.0.0.1"


@pytest.mark.parametrize(
    ("peer", "forwarded_for", "client"),
    [
        # No, one, two and three trusted hops; what stands left of the first untrusted one is invented.
        ("203.0.113.9", b"6.6.6.6", "203.0.113.9"),
        ("10.0.0.1", b"203.0.113.9", "203.0.113.9"),
        ("10.0.0.1", b"6.6.6.6, 203.0.113.9", "203.0.113.9"),
        ("10.0.0.1", b"6.6.6.6, 203.0.113.9, 10.0.0.2", "203.0.113.9"),
        ("10.0.0.1", b"6.6.6.6,203.0.113.9,10.0.0.3,10.0.0.2", "203.0.113.9"),
        ("10.0.0.1", b"127.0.0.1, 203.0.113.9", "203.0.113.9"),
        # A trusted address that a client invented stands left of the client's own and is never reached.
        ("10.0.0.1", b"10.9.9.9, 203.0.113.9, 10.0.0.2", "203.0.113.9"),
        # The chain may end inside our own network.
        ("10.0.0.1", b"10.0.0.3, 10.0.0.2", "10.0.0.3"),
        ("10.0.0.1", None, "10.0.0.1"),
        ("10.0.0.1", b"", "10.0.0.1"),
        # What is not an address ends the walk at the last address that was believed.
        ("10.0.0.1", b"203.0.113.9, unknown", "10.0.0.1"),
        ("10.0.0.1", b"203.0.113.9, _hidden, 10.0.0.2", "10.0.0.2"),
        ("10.0.0.1", b"203.0.113.9, , 10.0.0.2", "10.0.0.2"),
        ("10.0.0.1", b"203.0.113.9,", "10.0.0.1"),
        ("10.0.0.1", b"<script>, \xff\xfe", "10.0.0.1"),
        # Ports are no part of an address.
        ("10.0.0.1", b"203.0.113.9:4711, 10.0.0.2:1", "203.0.113.9"),
        ("10.0.0.1", b"[2001:db8::1]:443", "2001:db8::1"),
        ("10.0.0.1", b"  203.0.113.9 \t", "203.0.113.9"),
        ("fd00::1", b"2001:DB8:0:0::1", "2001:db8::1"),
        ("192.0.2.7", b"192.0.2.8", "192.0.2.8"),
        ("192.0.2.8", b"192.0.2.7", "192.0.2.8"),
    ],
)
def test_H14_the_client_is_the_first_from_the_right_that_is_not_trusted(
    peer: str, forwarded_for: bytes | None, client: str
) -> None:
    assert OURS.client_address(peer, forwarded_for) == client


@pytest.mark.parametrize(
    ("peer", "forwarded_for", "chain"),
    [
        ("203.0.113.9", b"6.6.6.6", ["203.0.113.9"]),
        ("10.0.0.1", b"6.6.6.6, 203.0.113.9, 10.0.0.2", ["203.0.113.9", "10.0.0.2", "10.0.0.1"]),
        ("10.0.0.1", b"::ffff:203.0.113.9, 10.0.0.2:80", ["203.0.113.9", "10.0.0.2", "10.0.0.1"]),
        ("10.0.0.1", b"6.6.6.6, unknown, 10.0.0.2", ["10.0.0.2", "10.0.0.1"]),
        ("10.0.0.1", b"nonsense", ["10.0.0.1"]),
        ("10.0.0.1", None, ["10.0.0.1"]),
    ],
)
def test_H14_of_the_way_here_only_the_believed_part_remains(peer: str, forwarded_for: bytes | None, chain: list[str]) -> None:
    assert OURS.chain(peer, forwarded_for) == chain
    assert OURS.chain(peer, ", ".join(chain[:-1]).encode()) == chain, "read again, it says the same"


@pytest.mark.parametrize(
    ("spelled", "address"),
    [
        ("::ffff:10.0.0.1", "10.0.0.1"),
        ("::FFFF:0a00:0001", "10.0.0.1"),
        ("[::ffff:10.0.0.1]:80", "10.0.0.1"),
        ("fe80::1%eth0", "fe80::1"),
        ("FE80:0:0:0:0:0:0:1", "fe80::1"),
        ("10.0.0.1:65535", "10.0.0.1"),
        ("[::1]:80", "::1"),
    ],
)
def test_H17_each_client_has_one_spelling(spelled: str, address: str) -> None:
    assert str(parse_address(spelled)) == address


@pytest.mark.parametrize(
    "text",
    [
        "",
        "010.0.0.1",
        "10.0.0",
        "10.0.0.1.",
        "0x0a.0.0.1",
        "167772161",
        "10.0.0.256",
        "[::1",
        "::1]",
        "[::1]",
        "10.0.0.1:",
        "10.0.0.1:x",
        "localhost",
        "1::2::3",
        "\uff11.1.1.1",
    ],
)
def test_H17_what_is_no_address_is_none(text: str) -> None:
    assert parse_address(text) is None


def test_H17_a_mapped_address_of_a_trusted_proxy_is_that_proxy() -> None:
    assert OURS.judge("::ffff:10.0.0.1") == ("10.0.0.1", True)
    assert OURS.judge("::ffff:203.0.113.9") == ("203.0.113.9", False)


def test_what_is_not_an_address_is_never_trusted() -> None:
    assert TrustedProxies(["0.0.0.0/0", "::/0"]).judge("unknown") == ("", False)


@given(st.one_of(st.ip_addresses(), st.ip_addresses(v=6)), st.binary(max_size=60))
def test_whatever_a_client_writes_the_answer_is_an_address(peer: object, forwarded_for: bytes) -> None:
    everybody = TrustedProxies(["0.0.0.0/0", "::/0"])
    for trusted in (OURS, everybody):
        ipaddress.ip_address(trusted.client_address(str(peer), forwarded_for))


def test_a_chain_of_trusted_addresses_is_walked_only_so_far() -> None:
    chain = b", ".join([b"203.0.113.9"] + [b"10.0.0.2"] * 31)
    assert OURS.client_address("10.0.0.1", chain) == "203.0.113.9"
    assert OURS.client_address("10.0.0.1", chain + b", 10.0.0.2") == "10.0.0.2"


def test_what_was_judged_is_remembered_up_to_a_bound_and_judged_the_same() -> None:
    trusted = TrustedProxies(["10.0.0.0/8"])
    for number in range(10_000):
        first, second = divmod(number, 256)
        assert trusted.judge(f"10.1.{first}.{second}")[1]
        assert not trusted.judge(f"11.1.{first}.{second}")[1]
