"""How many connections there may be: of all clients together, and of each one.

    limits.connections   all of a worker; trusted proxies count
    limits.per_client    one client's: an IPv4 address, a /64 of IPv6, which one customer is given whole. Trusted proxies are not
                         limited: behind each of them stand many clients

A connection that is one too many is closed without an answer, which costs less than any. Owns the counts; its memory is bounded
by `limits.connections`, since a client that has no connection is not in it.
"""

from ipaddress import IPv6Address
from typing import TYPE_CHECKING, Final

from gateway.config.schema import Limits

if TYPE_CHECKING:
    from gateway.proxy.client import ClientConnection

_HOST_BYTES: Final = 8  # of an IPv6 address: whoever has a /64 has all of them


class Admission:
    """The connections of one worker, by client."""

    __slots__ = ("_by_client", "_connections", "_count", "_per_client")

    def __init__(self, limits: Limits) -> None:
        self._connections = limits.connections
        self._per_client = limits.per_client
        self._count = 0
        self._by_client: dict[str, int] = {}

    def __repr__(self) -> str:
        return f"<Admission {self._count} connections of {len(self._by_client)} clients>"

    def admit(self, client: "ClientConnection") -> bool:
        """Count one more connection; whether it is allowed. It counts until `dismiss`, allowed or not."""
        self._count += 1
        if not self._per_client or client.is_trusted:
            return self._count <= self._connections
        name = client_of(client.peer)
        count = self._by_client[name] = self._by_client.get(name, 0) + 1
        return self._count <= self._connections and count <= self._per_client

    def dismiss(self, client: "ClientConnection") -> None:
        """The connection is closed."""
        self._count -= 1
        if not self._per_client or client.is_trusted:
            return
        name = client_of(client.peer)
        count = self._by_client.get(name, 0) - 1
        if count > 0:
            self._by_client[name] = count
        else:
            self._by_client.pop(name, None)


def client_of(address: str) -> str:
    """What counts as one client.

    >>> client_of("2001:db8::1"), client_of("203.0.113.9")
    ('20010db800000000', '203.0.113.9')
    """
    return IPv6Address(address).packed[:_HOST_BYTES].hex() if ":" in address else address
