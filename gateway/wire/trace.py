"""What travels of a trace: `traceparent` and `tracestate` (W3C Trace Context, level 2), read and written.

    00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01
    │  trace id                         parent: who asks │
    version                                              flags: 01 sampled, 02 the trace id is random

A value of a later version is read as far as this one goes and goes on as version 00 (§4.3); flags that this version does not
know are cleared. What is malformed, or said twice, is said by nobody: a new trace begins, and the `tracestate` of the old one
goes with it.

NB: a trace that begins here does not set the flag 02, though its id is random. A decade of SDKs for Go refuses a sampled header
with it, and the application would be torn out of the trace; a flag that came is passed on, as it must be.

Owns no data. Whose trace is continued, and what is sampled, is not decided here.
"""

import re
from random import getrandbits
from typing import Final

SAMPLED: Final = 0x01
KNOWN_FLAGS: Final = 0x03
MOST_MEMBERS: Final = 32
LONGEST_STATE: Final = 512
_LONG_MEMBER: Final = 128

_TRACEPARENT: Final = re.compile(
    rb"(?!ff)(?P<version>[0-9a-f]{2})-(?P<ids>(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16})-(?P<flags>[0-9a-f]{2})(?P<more>-.*)?\Z"
)
_MEMBER: Final = re.compile(rb"[a-z0-9][a-z0-9_*/@-]{0,255}=[\x20-\x2b\x2d-\x3c\x3e-\x7e]{0,255}[\x21-\x2b\x2d-\x3c\x3e-\x7e]\Z")


def new_span_id() -> int:
    return getrandbits(64) or 1


def read_traceparent(value: bytes) -> bytes | None:
    """The value as this version writes it, or None when it names no trace."""
    found = _TRACEPARENT.match(value)
    if found is None or (found["version"] == b"00" and found["more"] is not None):
        return None
    return b"00-%b-%02x" % (found["ids"], int(found["flags"], 16) & KNOWN_FLAGS)


def read_tracestate(value: bytes) -> bytes | None:
    """The members that go on, or None. Of a list that is malformed, or too long to be one, nothing goes on.

    Beyond 512 bytes the long members go first, then the last ones (§3.3.1.5).
    """
    members = [member.strip(b" \t") for member in value.split(b",")]
    members = [member for member in members if member]
    keys = {member.partition(b"=")[0] for member in members}
    if len(members) > MOST_MEMBERS or len(keys) < len(members) or not all(map(_MEMBER.match, members)):
        return None
    if _length(members) > LONGEST_STATE:
        members = [member for member in members if len(member) <= _LONG_MEMBER]
    while _length(members) > LONGEST_STATE:
        members.pop()
    return b",".join(members) or None


def new_traceparent(trace_id: bytes) -> bytes:
    """Of a request that came without one, and that nobody samples."""
    return b"00-%b-%016x-00" % (trace_id, new_span_id())


def trace_lines(request_id: bytes, traceparent: bytes, tracestate: bytes | None) -> bytes:
    """The end of a request head: X-Request-Id, traceparent and tracestate."""
    if tracestate is None:
        return b"X-Request-Id: %b\r\ntraceparent: %b\r\n\r\n" % (request_id, traceparent)
    return b"X-Request-Id: %b\r\ntraceparent: %b\r\ntracestate: %b\r\n\r\n" % (request_id, traceparent, tracestate)


def _length(members: list[bytes]) -> int:
    return sum(map(len, members)) + len(members) - 1
