"""The network of an address: what a client keeps while its address changes, in whatever spelling."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.enforce.network import Networks, is_same_network


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("203.0.113.7", "203.0.113.0/24"),
        ("203.0.113.255", "203.0.113.0/24"),
        ("::ffff:203.0.113.7", "203.0.113.0/24"),
        ("::FFFF:cb00:7107", "203.0.113.0/24"),
        ("203.0.113.7:4711", "203.0.113.0/24"),
        ("2001:db8:12:34:abcd:ef01:2345:6789", "2001:db8:12::/48"),
        ("2001:0DB8:0012::1", "2001:db8:12::/48"),
        ("2001:db8::1", "2001:db8::/48"),
        ("[2001:db8:12::1]:443", "2001:db8:12::/48"),
        ("fe80::1%eth0", "fe80::/48"),
        ("::1", "::/48"),
        ("", ""),
        ("unix:", ""),
        ("203.0.113.007", ""),
        ("203.0.113", ""),
        ("everywhere", ""),
    ],
)
def test_H17_an_address_has_one_network_in_every_spelling(address: str, network: str) -> None:
    networks = Networks()
    assert networks.prefix_of(address) == network
    assert networks.prefix_of(address) == network


def test_S2_privacy_addresses_of_a_day_and_of_the_next_are_of_one_network() -> None:
    of_a_household = ["2001:db8:12:3400:8d1:7c44:92ab:1", "2001:db8:12:3400:f00d::77", "2001:db8:12:34ff:1111:2222:3333:4444"]
    assert {Networks().prefix_of(address) for address in of_a_household} == {"2001:db8:12::/48"}


@pytest.mark.parametrize(
    ("ipv4", "ipv6", "expected"),
    [
        (32, 128, ("203.0.113.7/32", "2001:db8:12:34::7/128")),
        (16, 32, ("203.0.0.0/16", "2001:db8::/32")),
        (25, 56, ("203.0.113.0/25", "2001:db8:12::/56")),
        (0, 0, ("0.0.0.0/0", "::/0")),
    ],
)
def test_the_operator_says_how_many_bits_make_a_network(ipv4: int, ipv6: int, expected: tuple[str, str]) -> None:
    networks = Networks(ipv4, ipv6)
    assert (networks.prefix_of("203.0.113.7"), networks.prefix_of("2001:db8:12:34::7")) == expected


@given(st.ip_addresses(), st.integers(0, 32), st.integers(0, 128))
def test_a_network_holds_its_address_and_is_its_own_network(address: object, ipv4: int, ipv6: int) -> None:
    networks = Networks(ipv4, ipv6)
    network = networks.prefix_of(str(address))
    assert networks.prefix_of(network.partition("/")[0]) == network
    assert is_same_network(network, network)


def test_B1_the_memory_of_networks_is_bounded() -> None:
    networks = Networks()
    for number in range(10_000):
        networks.prefix_of(f"10.0.{number >> 8}.{number & 255}")
    assert len(networks._memory) <= 4096


@pytest.mark.parametrize(
    ("one", "other", "is_same"),
    [
        ("203.0.113.0/24", "203.0.113.0/24", True),
        ("203.0.113.0/24", "203.0.114.0/24", False),
        ("203.0.113.0/24", "203.0.0.0/16", True),
        ("203.0.0.0/16", "203.0.113.0/24", True),
        ("203.0.113.0/24", "198.51.0.0/16", False),
        ("203.0.113.0/24", "2001:db8::/48", False),
        ("2001:db8:12::/48", "2001:db8::/32", True),
        ("2001:db8:12::/48", "2001:db9::/32", False),
        ("0.0.0.0/0", "203.0.113.0/24", True),
        ("nonsense", "203.0.113.0/24", False),
        ("nonsense/x", "203.0.113.0/24", False),
    ],
)
def test_a_session_is_older_than_a_change_of_the_number_of_bits(one: str, other: str, is_same: bool) -> None:
    assert is_same_network(one, other) is is_same
