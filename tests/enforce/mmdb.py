"""A writer of small MaxMind databases, for tests (MaxMind DB file format 2.0). IPv6 trees, 24-bit records, maps of strings.

    write(path, {"203.0.113.0/24": {"country": {"iso_code": "DE"}}, "2001:db8::/32": {...}})

A node of the tree is two records, for bit 0 and bit 1. A record less than the number of nodes leads on; that number itself
says "nothing here"; a greater one is the offset of a value. IPv4 lives under ::/96.
"""

import ipaddress
from pathlib import Path
from typing import Any

Value = dict[str, Any] | str | int | list[Any]


def write(path: Path, networks: dict[str, Value], *, kind: str = "Test-Country", ip_version: int = 6) -> None:
    """Write the file; a network that lies in another must come later."""
    path.write_bytes(database(networks, kind=kind, ip_version=ip_version))


def database(networks: dict[str, Value], *, kind: str = "Test-Country", ip_version: int = 6) -> bytes:
    """The bytes of a database."""
    nodes: list[list[int | None]] = [[None, None]]
    data = b""
    for text, value in networks.items():
        offset = len(data)
        data += _encode(value)
        _insert(nodes, _bits(text, ip_version), ~offset)
    metadata: Value = {
        "binary_format_major_version": _Small(2),
        "binary_format_minor_version": _Small(0),
        "build_epoch": _Large(1),
        "database_type": kind,
        "description": {"en": kind},
        "ip_version": _Small(ip_version),
        "languages": [],
        "node_count": len(nodes),
        "record_size": _Small(24),
    }
    tree = b"".join(_record(side, len(nodes)) for node in nodes for side in node)
    return tree + bytes(16) + data + b"\xab\xcd\xefMaxMind.com" + _encode(metadata)


class _Small(int):
    """A number of 16 bits; others have 32."""


class _Large(int):
    """A number of 64 bits."""


def _bits(text: str, ip_version: int) -> str:
    network = ipaddress.ip_network(text)
    bits = f"{int(network.network_address):0{network.max_prefixlen}b}"[: network.prefixlen]
    return "0" * 96 + bits if ip_version == 6 and network.version == 4 else bits


def _insert(nodes: list[list[int | None]], bits: str, value: int) -> None:
    at = 0
    for bit in bits[:-1]:
        following = nodes[at][int(bit)]
        if following is None or following < 0:
            nodes.append([following, following])
            nodes[at][int(bit)] = following = len(nodes) - 1
        at = following
    nodes[at][int(bits[-1])] = value


def _record(side: int | None, count: int) -> bytes:
    number = count if side is None else side if side >= 0 else count + 16 + ~side
    return number.to_bytes(3, "big")


def _encode(value: Value) -> bytes:
    if isinstance(value, dict):
        return bytes([7 << 5 | len(value)]) + b"".join(_encode(key) + _encode(item) for key, item in value.items())
    if isinstance(value, list):
        return bytes([len(value), 11 - 7]) + b"".join(map(_encode, value))
    if isinstance(value, str):
        return bytes([2 << 5 | len(value.encode())]) + value.encode()
    if isinstance(value, _Small):
        return bytes([5 << 5 | 2]) + value.to_bytes(2, "big")
    if isinstance(value, _Large):
        return bytes([8, 9 - 7]) + value.to_bytes(8, "big")
    return bytes([6 << 5 | 4]) + value.to_bytes(4, "big")
