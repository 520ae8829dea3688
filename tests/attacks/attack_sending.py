"""Sending a case to the gateway and reading everything that comes back, strictly.

The client half-closes nothing and gives up nothing: it sends, and reads until the gateway closes. A case is refused only when
that happens, so a connection that stays open is a failure by itself (the read has a deadline).
"""

from dataclasses import dataclass

from attack_backend import ByteBackend
from attack_corpus import Case
from data_plane import DataPlane
from patience import PATIENCE_S

CANARY = b"GET /public/canary HTTP/1.1\r\nHost: shop.example\r\nConnection: close\r\n\r\n"
FRONT = b"GET /public/front HTTP/1.1\r\nHost: shop.example\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer of the gateway's, complete."""

    status: int
    head: bytes
    body: bytes


class NotAnAnswer(Exception):
    """What came back is not a sequence of complete answers."""


def answers(raw: bytes) -> list[Answer]:
    """All answers in `raw`, each with a length. Raises NotAnAnswer for anything else."""
    found: list[Answer] = []
    while raw:
        head, end, rest = raw.partition(b"\r\n\r\n")
        fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
        if not end or not head.startswith(b"HTTP/1.1 ") or b"content-length" not in fields:
            raise NotAnAnswer(raw[:200])
        length = int(fields[b"content-length"])
        if len(rest) < length:
            raise NotAnAnswer(raw[:200])
        found.append(Answer(int(head[9:12]), head, rest[:length]))
        raw = rest[length:]
    return found


async def converse(gateway: DataPlane, data: bytes, *, patience_s: float = PATIENCE_S) -> list[Answer]:
    """Send `data` on a fresh connection and read until it is closed."""
    client = await gateway.connect()
    try:
        client.writer.write(data)
        return answers(await client.read_to_end(patience_s))
    except TimeoutError:
        raise NotAnAnswer(b"the connection stays open") from None
    finally:
        client.close()


async def complaint(gateway: DataPlane, backend: ByteBackend, case: Case, *, front: bytes = b"") -> str | None:
    """What is wrong with how the gateway treats a case, behind `front` and with a canary behind it; None when nothing is."""
    backend.taken()
    try:
        got = await converse(gateway, front + case.raw + CANARY)
    except NotAnAnswer as error:
        return f"{case}: {error}"
    received, requests = backend.taken()
    if front:
        if not got or got[0].status != 200 or not requests or requests[0].target != b"/public/front":
            return f"{case}: the request in front was not served: {got}"
        received = received.partition(b"\r\n\r\n")[2]
        got, requests = got[1:], requests[1:]
    if case.is_accepted:
        return _not_accepted(case, got, requests)
    return _not_refused(case, got, received)


def _not_refused(case: Case, got: list[Answer], received: bytes) -> str | None:
    if len(got) != 1 or got[0].status != case.status:
        return f"{case}: expected one {case.status}, got {[answer.status for answer in got]}"
    head = got[0].head
    if b"\r\nConnection: close" not in head or b"\r\nX-Gateway-Reason: " not in head:
        return f"{case}: the refusal is incomplete: {head!r}"
    if received:
        return f"{case}: the backend got {received[:300]!r}"
    return None


def _not_accepted(case: Case, got: list[Answer], requests: list) -> str | None:
    if [answer.status for answer in got] != [200, 200]:
        return f"{case}: expected to be served, and the canary behind it, got {[(a.status, a.body[:120]) for a in got]}"
    if len(requests) != 2 or requests[1].target != b"/public/canary":
        return f"{case}: the backend saw {requests}"
    return None


async def complaints(gateway: DataPlane, backend: ByteBackend, cases: list[Case], *, front: bytes = b"") -> list[str]:
    """All complaints about all cases."""
    found = [await complaint(gateway, backend, case, front=front) for case in cases]
    # Whatever is still on its way to the backend has arrived once this has: one loop serves both ends.
    probe = Case("---", "probe", b"GET /public/probe HTTP/1.1\r\nHost: shop.example\r\n\r\n", 0)
    found.append(await complaint(gateway, backend, probe))
    return [text for text in found if text is not None]


async def closes_without_serving(gateway: DataPlane, backend: ByteBackend, case: Case) -> str | None:
    """For a case that never ends: the gateway closes after its deadline, and nothing complete reached the backend."""
    backend.taken()
    try:
        got = await converse(gateway, case.raw)
    except NotAnAnswer as error:
        return f"{case}: {error}"
    _, requests = backend.taken()
    return f"{case}: {got} {requests}" if got or requests else None
