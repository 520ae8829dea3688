"""The network an address belongs to: `203.0.113.0/24`, `2001:db8:12::/48`.

A client keeps its network while its address changes: a privacy extension makes a new IPv6 address each day (RFC 8981), a
provider or an office hands out neighbours. A phone that changes cells changes its network too; that is why it is a signal
and no proof. How many bits make a network is the operator's choice, `fingerprint.network`.

Owns a bounded memory of results. It does not decide whose address it is: `wire/forwarded.py` does.
"""

import ipaddress
from typing import Final

from gateway.wire.forwarded import parse_address

_MEMORY: Final = 4096


class Networks:
    """Prefixes of addresses, by the configured lengths. One per worker."""

    __slots__ = ("_ipv4", "_ipv4_mask", "_ipv6", "_ipv6_mask", "_memory")

    def __init__(self, ipv4: int = 24, ipv6: int = 48) -> None:
        self._ipv4 = ipv4
        self._ipv6 = ipv6
        self._ipv4_mask = ~0 << (32 - ipv4)
        self._ipv6_mask = ~0 << (128 - ipv6)
        self._memory: dict[str, str] = {}

    def prefix_of(self, address: str) -> str:
        """The network of an address in any spelling, IPv4 mapped into IPv6 too; empty for what is none (a unix socket)."""
        prefix = self._memory.get(address)
        if prefix is None:
            if len(self._memory) >= _MEMORY:
                self._memory.clear()
            prefix = self._memory[address] = self._prefix_of(address)
        return prefix

    def _prefix_of(self, text: str) -> str:
        address = parse_address(text)
        if address is None:
            return ""
        if address.version == 4:
            return f"{ipaddress.IPv4Address(int(address) & self._ipv4_mask)}/{self._ipv4}"
        return f"{ipaddress.IPv6Address(int(address) & self._ipv6_mask)}/{self._ipv6}"


def is_same_network(one: str, other: str) -> bool:
    """Whether two prefixes may be the same network. The shorter decides: a session is older than a change of configuration.

    >>> is_same_network("203.0.113.0/24", "203.0.0.0/16")
    True
    """
    if one == other:
        return True
    if one.rpartition("/")[2] == other.rpartition("/")[2]:
        return False
    try:
        return ipaddress.ip_network(one).overlaps(ipaddress.ip_network(other))
    except (ValueError, TypeError):  # not a network; IPv4 beside IPv6
        return False
