"""Who the client is, and what the backend is told about the way here.

`X-Forwarded-*` is a claim that anybody can make. It is believed only when the peer is a trusted proxy, and then only as far
as the chain of trusted proxies reaches: the list is walked from the right, and the first address that is not a trusted
proxy is the client. Whatever stands left of it was written by the client.

    X-Forwarded-For: 6.6.6.6, 203.0.113.9, 10.0.0.2        peer 10.0.0.1, trusted 10.0.0.0/8
                     invented  the client  our proxy
"""

import ipaddress
import re
from collections.abc import Iterable
from typing import Final

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address
_WITH_PORT: Final = re.compile(r"(?:\[([^\]]+)\]|([0-9.]+)):[0-9]{1,5}\Z")
_LONGEST_CHAIN: Final = 32
_MEMORY: Final = 4096


class TrustedProxies:
    """The networks whose `X-Forwarded-*` is believed. Nobody's by default."""

    __slots__ = ("_memory", "_networks")

    def __init__(self, networks: Iterable[str]) -> None:
        self._networks = tuple(ipaddress.ip_network(network) for network in networks)
        self._memory: dict[str, tuple[str, bool]] = {}

    def judge(self, address: str) -> tuple[str, bool]:
        """An address in its canonical form, and whether it is a trusted proxy. What is not an address is ("", False)."""
        known = self._memory.get(address)
        if known is None:
            if len(self._memory) >= _MEMORY:
                self._memory.clear()
            known = self._memory[address] = self._judge(address)
        return known

    def client_address(self, peer: str, forwarded_for: bytes | None) -> str:
        """The address of the client behind trusted proxies."""
        return self.chain(peer, forwarded_for)[0]

    def believe(self, peer: str, forwarded_for: bytes) -> tuple[str, bytes | None]:
        """The client's address, and what of the way here stands in front of the peer; None when nothing of it is believed."""
        address, *proxies = self.chain(peer, forwarded_for)
        return address, ", ".join([address, *proxies[:-1]]).encode() if proxies else None

    def chain(self, peer: str, forwarded_for: bytes | None) -> list[str]:
        """The believed part of the way here, in canonical form: the client first, the peer last.

        An entry that is not an address ends the walk. What stands left of the client was written by the client, and many
        applications read the list from the left: so it is not in here.
        """
        address, is_trusted = self.judge(peer)
        believed = [address]
        if is_trusted and forwarded_for:
            for entry in reversed(forwarded_for.decode("latin-1").split(",")[-_LONGEST_CHAIN:]):
                address, is_trusted = self.judge(entry.strip())
                if not address:
                    break
                believed.append(address)
                if not is_trusted:
                    break
        believed.reverse()
        return believed

    def _judge(self, text: str) -> tuple[str, bool]:
        parsed = parse_address(text)
        if parsed is None:
            return "", False
        return str(parsed), any(parsed.version == network.version and parsed in network for network in self._networks)


def parse_address(text: str) -> _Address | None:
    """An address without port, zone and IPv4 mapping, so that one client has one spelling. None when it is none."""
    match = _WITH_PORT.match(text)
    if match:
        text = match.group(1) or match.group(2)
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address
