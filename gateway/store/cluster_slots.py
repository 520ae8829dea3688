"""Which node of a cluster has which of the 16384 slots, and which slot a command is about. Pure.

A key's slot is a checksum of what stands in its first braces, or of all of it. `CLUSTER NODES` is read, and not `CLUSTER SLOTS`,
because it tells the epochs: of two nodes that disagree after a failover, the one with the newer epoch is right.

    07c3… 10.0.0.1:6379@16379,name master - 0 1426238317239 4 connected 0-5460 5462 [93-<-292f…]
    id    address                  flags            epoch ──┘           slots       being moved: whose it is until then
"""

from binascii import crc_hqx
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

SLOTS: Final = 16384
Address = tuple[str, int]

_ABOUT_NO_KEY: Final = frozenset(
    ("PING", "ECHO", "TIME", "INFO", "ROLE", "WAIT", "SCRIPT", "CONFIG", "CLIENT", "CLUSTER", "DBSIZE")
)


@dataclass(frozen=True, slots=True)
class Map:
    """`nodes[slot]` is the address of the master that has it; None: nobody has. `names`: what else an address is called."""

    epoch: int
    nodes: tuple[Address | None, ...]
    names: Mapping[Address, Address]

    def masters(self) -> tuple[Address, ...]:
        """Every node that has a slot."""
        return tuple(dict.fromkeys(node for node in self.nodes if node is not None))


def slot_of(key: bytes | str) -> int:
    """The slot of a key."""
    raw = key.encode() if isinstance(key, str) else key
    _, brace, rest = raw.partition(b"{")
    tag, end, _ = rest.partition(b"}")
    return crc_hqx(tag if brace and end and tag else raw, 0) % SLOTS


def slot_of_command(parts: Sequence[object]) -> int | None:
    """The slot of the first key, or None for a command about none. All keys of a command of ours lie in one slot [L8]."""
    name = str(parts[0]).upper().partition(" ")[0]
    if name in _ABOUT_NO_KEY:
        return None
    if name in ("EVAL", "EVALSHA"):
        return slot_of(_key(parts[3])) if int(str(parts[2])) else None
    if name == "XREAD":
        return slot_of(_key(parts[[str(part).upper() for part in parts].index("STREAMS") + 1]))
    return slot_of(_key(parts[1]))


def read_nodes(text: str, asked: Address, *, by_name: bool = False) -> Map:
    """The answer of `CLUSTER NODES` by the node `asked`. Raises ValueError.

    `by_name`: nodes that announce a host name (`cluster-announce-hostname`) are called by it.
    """
    nodes: list[Address | None] = [None] * SLOTS
    names: dict[Address, Address] = {}
    newest = 0
    for line in text.splitlines():
        _, address, flags, _, _, _, epoch, _, *ranges = line.split(" ")
        newest = max(newest, int(epoch))
        endpoint, _, announced = address.partition("@")
        host, _, port = endpoint.rpartition(":")
        node = (host or asked[0], int(port))
        _, name, *_ = (*announced.split(","), "")
        if by_name and name:
            node = names.setdefault(node, (name, node[1]))
        if "master" not in flags.split(",") or "noaddr" in flags:
            continue
        for first, last in map(_range, (found for found in ranges if not found.startswith("["))):
            nodes[first : last + 1] = [node] * (last + 1 - first)
    return Map(newest, tuple(nodes), names)


def _key(part: object) -> bytes | str:
    return part if isinstance(part, bytes) else str(part)


def _range(text: str) -> tuple[int, int]:
    first, _, last = text.partition("-")
    return int(first), int(last or first)
