"""Our reading of a request against h11's, over the whole corpus: both accept or both refuse, or the difference is listed here.

h11 is an independent parser of the same RFCs, written to be correct and not to be a gateway. Where it is more lenient the table says
why we are not; where both accept, they must agree on where the body is and what follows it, which is what smuggling is made of.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import h11
import pytest
from attack_corpus import Case, from_files
from attack_families import families

from gateway.errors import ClientError
from gateway.wire.fields import RoleMemory
from gateway.wire.framing import ChunkedDecoder, LengthDecoder
from gateway.wire.head import HeadReader, refuse_hopeless

HEAD_LIMIT = 32 * 1024


@dataclass(frozen=True, slots=True)
class Reading:
    """What a parser makes of some bytes. `body` and `rest` count when it accepts."""

    verdict: str  # "accepted", "refused", "unfinished"
    body: bytes = b""
    rest: bytes = b""

    def __str__(self) -> str:
        return self.verdict


def ours(raw: bytes) -> Reading:
    """As a connection reads it: see `gateway/proxy/client.py`."""
    raw = raw.removeprefix(b"\r\n")
    end = raw.find(b"\r\n\r\n")
    try:
        if end < 0 or end + 4 > HEAD_LIMIT:
            refuse_hopeless(raw[:HEAD_LIMIT])
            return Reading("refused" if len(raw) > HEAD_LIMIT else "unfinished")
        head = HeadReader(RoleMemory(), 100, 8192).read(raw[: end + 4])
        decoder = ChunkedDecoder() if head.chunked else LengthDecoder(head.content_length or 0)
        pieces, rest = decoder.feed(raw[end + 4 :])
    except ClientError:
        return Reading("refused")
    return Reading("accepted", b"".join(pieces), rest) if decoder.is_done else Reading("unfinished")


def h11s(raw: bytes) -> Reading:
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=HEAD_LIMIT)
    body = b""
    try:
        connection.receive_data(raw)
        while True:
            event = connection.next_event()
            if event is h11.NEED_DATA:
                return Reading("unfinished")
            if isinstance(event, h11.Data):
                body += event.data
            elif isinstance(event, h11.EndOfMessage):
                return Reading("accepted", body, connection.trailing_data[0])
            elif event is h11.PAUSED:  # behind a CONNECT or an upgrade
                return Reading("accepted", body, connection.trailing_data[0])
    except h11.RemoteProtocolError:
        return Reading("refused")


ALL = [*from_files(), *families()]


def differing() -> dict[str, list[tuple[Case, Reading, Reading]]]:
    """Where the verdicts differ, by case."""
    found: dict[str, list[tuple[Case, Reading, Reading]]] = {}
    for case in ALL:
        mine, theirs = ours(case.raw), h11s(case.raw)
        if mine.verdict != theirs.verdict:
            found.setdefault(case.case, []).append((case, mine, theirs))
    return found
