"""What is recorded of a trace, and which traces are: a span as plain values, and the sampler.

Nothing here knows OpenTelemetry: spans wait in `trace_queue.py` and become its objects in `trace_otlp.py`, which is imported only
where spans are sent.
"""

from enum import Enum
from hashlib import blake2b
from typing import Final, NamedTuple, TypeAlias

Attributes: TypeAlias = dict[str, str | int]

_ALL: Final = 1 << 64


class Kind(Enum):
    """Which side of an exchange a span tells of: that of the asked, that of the asking, or neither."""

    SERVER = "server"
    CLIENT = "client"
    INTERNAL = "internal"


class Span(NamedTuple):
    """One span of a trace that is recorded. Times are nanoseconds since 1970; ids are numbers."""

    name: str
    kind: Kind
    trace_id: int
    span_id: int
    parent_id: int | None
    is_parent_remote: bool
    start_ns: int
    end_ns: int
    attributes: Attributes
    is_error: bool = False


class Sampler:
    """Decides by the trace's id, so that all its requests here are recorded, or none.

    Ids of our own are random and decide by themselves. A stranger chooses his: he would choose those that are recorded, so they
    decide through a secret that gateways of one store share.
    """

    __slots__ = ("_bound", "_secret", "first_unwanted")

    def __init__(self, ratio: float, secret: bytes) -> None:
        self._bound = int(ratio * _ALL)
        self._secret = secret
        #: An id of our own is recorded when its last 16 digits come before these: digits compare as the numbers that they tell.
        self.first_unwanted = b"g" if self._bound == _ALL else b"%016x" % self._bound

    def wants(self, trace_id: bytes, *, is_ours: bool) -> bool:
        """Whether the trace is recorded. `trace_id`: 32 hexadecimal digits."""
        if is_ours:
            return trace_id[16:] < self.first_unwanted
        if self._bound in (0, _ALL):
            return self._bound == _ALL
        return int.from_bytes(blake2b(trace_id, digest_size=8, key=self._secret).digest(), "big") < self._bound
