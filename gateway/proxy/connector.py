"""How one address of an upstream is connected to: over TCP or a unix socket, with TLS or without, verified by which name.

A connector is made once for an upstream: its TLS context takes longer to make than a turn of the loop may. It chooses no address,
keeps no connection and waits for as long as it takes: deadlines are the caller's.
"""

import asyncio
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TypeVar

from gateway.config.address import Address
from gateway.config.schema import Upstream

P = TypeVar("P", bound=asyncio.BaseProtocol)


@dataclass(frozen=True, slots=True)
class Place:
    """Where to connect, and by which name: a host's address may have been looked up, `named` is what is configured."""

    address: Address
    named: Address

    @property
    def authority(self) -> bytes:
        """What `Host` says there."""
        return b"localhost" if self.named.is_unix else str(self.named).encode()


class Connects(Protocol):
    """What a pool asks for a connection."""

    async def connect(self, place: Place, make: Callable[[], P]) -> tuple[asyncio.Transport, P]:
        """What `make` made, connected. Raises OSError, also for TLS, and UnicodeError for a host that no name can be."""


class Connector:
    """To the addresses of one upstream of the configuration."""

    def __init__(self, config: Upstream, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._tls = tls_context(config)
        self._server_name = config.tls.server_name

    async def connect(self, place: Place, make: Callable[[], P]) -> tuple[asyncio.Transport, P]:
        address = place.address
        if address.is_unix:
            return await self._loop.create_unix_connection(make, address.path)
        assert address.host is not None and address.port is not None
        server_name = (self._server_name or place.named.host) if self._tls is not None else None
        return await self._loop.create_connection(make, address.host, address.port, ssl=self._tls, server_hostname=server_name)


def tls_context(config: Upstream) -> ssl.SSLContext | None:
    """How to verify the upstream: by default fully, against the system's authorities."""
    if not config.is_tls:
        return None
    context = ssl.create_default_context(cafile=str(config.tls.ca) if config.tls.ca else None)
    if not config.tls.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
