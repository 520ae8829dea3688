"""Where a listener listens: `host:port`, `[v6]:port` or `unix:PATH`.

Owns the spelling. Binding and connecting happen elsewhere.
"""

import ipaddress
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_LONGEST_UNIX_PATH: Final = 107  # bytes: sun_path of Linux, less its NUL
_HOST: Final = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,252})")


@dataclass(frozen=True, slots=True)
class Address:
    """A TCP address (`host`, `port`; port 0 lets the system choose) or a unix socket (`path`)."""

    host: str | None = None
    port: int | None = None
    path: str | None = None

    @property
    def is_unix(self) -> bool:
        return self.path is not None

    @property
    def is_loopback(self) -> bool:
        """Cannot be reached from another machine. A unix socket counts."""
        if self.host is None or self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    @property
    def is_wildcard(self) -> bool:
        """Listens on every interface."""
        return self.host in {"0.0.0.0", "::"}  # noqa: S104 - compared, not bound

    def __str__(self) -> str:
        if self.path is not None:
            return f"unix:{self.path}"
        return f"[{self.host}]:{self.port}" if self.host and ":" in self.host else f"{self.host}:{self.port}"


def parse_address(text: str, directory: Path) -> Address:
    """Read `127.0.0.1:8080`, `[::1]:8080`, `name:8080` or `unix:PATH` (relative to `directory`). Raises ValueError."""
    if text.startswith("unix:"):
        return _unix(text.removeprefix("unix:"), directory)
    host, colon, port = text.rpartition(":")
    if not text.isascii():
        raise ValueError("must be host:port, [v6]:port or unix:PATH, in ASCII")
    if not colon and text.isdigit():
        raise ValueError(f"needs a host before the port; write 127.0.0.1:{text}, or 0.0.0.0:{text} for every interface")
    if not port.isdigit() or int(port) > 65535:
        raise ValueError("must be host:port, [v6]:port or unix:PATH, with a port from 0 to 65535")
    if host in {"", "*"}:
        raise ValueError(f"names no interface; write 127.0.0.1:{port}, or 0.0.0.0:{port} for every interface")
    return Address(host=_host(host), port=int(port))


def _host(host: str) -> str:
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    if ":" in bare:
        if bare == host:
            raise ValueError("an IPv6 address is written in brackets, as in [::1]:8080")
        return str(ipaddress.IPv6Address(bare))
    if bare != host or not _HOST.fullmatch(host):
        raise ValueError("must be host:port, [v6]:port or unix:PATH")
    if host.replace(".", "").isdigit():
        return str(ipaddress.IPv4Address(host))
    return host.lower()


def _unix(spelled: str, directory: Path) -> Address:
    path = str(directory / spelled)
    if not spelled or "\0" in spelled:
        raise ValueError("unix: needs the path of a socket")
    if len(path.encode()) > _LONGEST_UNIX_PATH:
        raise ValueError(f"the path of a unix socket ends at {_LONGEST_UNIX_PATH} bytes; choose a shorter folder")
    return Address(path=path)
