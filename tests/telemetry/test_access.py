"""Access lines: what they hold, what they never hold, and that writing one never waits."""

import json
import os
import shlex
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from patience import PATIENCE_S

from gateway.reasons import Reason
from gateway.telemetry.access import PATH_LIMIT, AccessLog
from gateway.telemetry.lines import CHUNK_BYTES, LIMIT_BYTES, LineWriter
from gateway.telemetry.metrics import ALLOW, DENY

NOON = 1_735_732_800.0
JWT = b"eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJhbGljZSJ9.c2lnbmF0dXJl"

TEXT_FIELDS = [
    "route", "decision", "user", "session", "client", "duration_ms", "upstream_ms", "request_id", "trace_id", "upstream",
]  # fmt: skip


class Collected(list[bytes]):
    """A writer that keeps its lines."""

    def write(self, line: bytes) -> None:
        self.append(line)

    def close(self) -> None:
        pass


def write(log: AccessLog, **changes: object) -> None:
    fields: dict[str, object] = {
        "now": NOON, "route": "app", "method": b"GET", "path": b"/orders", "status": 200, "decision": ALLOW,
        "reason": None, "user": "alice", "session": "s-1", "client": "192.0.2.7", "duration_s": 0.0012345,
        "upstream_s": 0.001, "request_id": b"r-1", "trace_id": b"0af7651916cd43dd8448eb211c80319c", "upstream": "shop",
        "cut_by": None,
    }  # fmt: skip
    log.write(**(fields | changes))  # type: ignore[arg-type]


def line(is_text: bool = False, **changes: object) -> bytes:
    lines = Collected()
    write(AccessLog(lines, is_text), **changes)  # type: ignore[arg-type]
    assert len(lines) == 1
    assert lines[0].endswith(b"\n")
    assert lines[0].count(b"\n") == 1
    assert lines[0].isascii()
    return lines[0]


def test_a_line_holds_every_field():
    assert json.loads(line()) == {
        "time": "2025-01-01T12:00:00.000Z",
        "route": "app",
        "method": "GET",
        "path": "/orders",
        "code": 200,
        "decision": "allow",
        "reason": None,
        "user": "alice",
        "session": "s-1",
        "client": "192.0.2.7",
        "duration_ms": 1.234,
        "upstream_ms": 1.0,
        "request_id": "r-1",
        "trace_id": "0af7651916cd43dd8448eb211c80319c",
        "upstream": "shop",
    }


@pytest.mark.parametrize("is_text", [False, True])
@pytest.mark.parametrize("path", [b"/orders", b"/an odd one"])
def test_a_line_says_what_cut_it_and_nothing_when_it_was_not(is_text: bool, path: bytes):
    told = line(is_text, path=path, cut_by="stale")
    assert (b"cut_by=stale" in told) if is_text else json.loads(told)["cut_by"] == "stale"
    assert b"cut_by" not in line(is_text, path=path)


def test_a_refusal_names_its_reason_and_no_upstream():
    told = json.loads(line(status=401, decision=DENY, reason=Reason.REVOKED_TOKEN, upstream_s=-1.0, upstream=None))
    assert (told["decision"], told["reason"], told["upstream"], told["upstream_ms"]) == ("deny", "revoked-token", None, None)


@pytest.mark.parametrize(
    ("now", "told"),
    [
        (NOON + 0.0004, "2025-01-01T12:00:00.000Z"),
        (NOON + 0.9996, "2025-01-01T12:00:00.999Z"),
        (NOON + 61.25, "2025-01-01T12:01:01.250Z"),
    ],
)
def test_the_stamp_is_to_the_millisecond(now: float, told: str):
    assert json.loads(line(now=now))["time"] == told


def test_the_kept_stamp_is_renewed():
    lines = Collected()
    log = AccessLog(lines)  # type: ignore[arg-type]
    for now in (NOON, NOON + 0.001, NOON + 1.0, NOON):
        write(log, now=now)
    assert [json.loads(each)["time"][17:] for each in lines] == ["00.000Z", "00.001Z", "01.000Z", "00.000Z"]


@pytest.mark.parametrize("is_text", [False, True])
@pytest.mark.parametrize(
    "hostile",
    [
        "a\r\nb", "\x1b[31mred", '","user":"root', "\x9b31m", "\u202edlrow", "\u2028", "\ud800", "\x00", "\x7f",
        "alice status=200", "\\", "é" * 5000, "x" * 100_000,
    ],
)  # fmt: skip
def test_O03_hostile_text_is_one_escaped_bounded_line(hostile: str, is_text: bool):
    path = b"/" + hostile.encode("utf-8", "surrogatepass")
    told = line(is_text, user=hostile, session=hostile, path=path)
    assert len(told) < 16 * 1024
    assert b"\x1b" not in told
    if is_text:
        _, _, _, status, *fields = shlex.split(told.decode())
        assert status == "200"
        assert [field.partition("=")[0] for field in fields] == TEXT_FIELDS
    else:
        assert json.loads(told)["code"] == 200


def test_O03_a_long_path_is_cut():
    assert json.loads(line(path=b"/" + b"a" * 100_000))["path"] == "/" + "a" * (PATH_LIMIT - 1)


@pytest.mark.parametrize("path", [b"/reset/" + JWT, b"/x" * 300 + b"/" + JWT + b"/y", b"/" + b"a" * (PATH_LIMIT - 20) + JWT])
def test_O04_a_token_in_the_path_is_replaced(path: bytes):
    told = line(path=path)
    assert b"eyJhbG" not in told
    assert b"[token]" in told


def test_the_text_format_is_for_people():
    assert line(is_text=True).decode() == (
        "2025-01-01T12:00:00.000Z GET /orders 200 route=app decision=allow user=alice session=s-1 client=192.0.2.7 "
        "duration_ms=1.234 upstream_ms=1.0 request_id=r-1 trace_id=0af7651916cd43dd8448eb211c80319c upstream=shop\n"
    )


class Drops:
    """Counts lost lines, and says when the first was lost."""

    def __init__(self) -> None:
        self.lines = 0
        self.some = threading.Event()

    def __call__(self, lines: int) -> None:
        self.lines += lines
        self.some.set()


def test_lines_arrive_complete_and_in_order():
    reader, writer_fd = os.pipe()
    writer = LineWriter(writer_fd, Drops())
    for number in range(2000):
        writer.write(b"%d\n" % number)
    with os.fdopen(reader, "rb") as arrived:
        assert [int(arrived.readline()) for _ in range(2000)] == list(range(2000))
        writer.write(b"after a pause\n")
        assert arrived.readline() == b"after a pause\n"
        writer.close()
    os.close(writer_fd)


def test_a_reader_that_stopped_costs_lines_and_nothing_else():
    reader, writer_fd = os.pipe()
    drops = Drops()
    writer = LineWriter(writer_fd, drops)
    line = b"x" * 1023 + b"\n"
    written = LIMIT_BYTES // 1024 * 2
    for _ in range(written):
        writer.write(line)
    assert drops.lines >= written - (LIMIT_BYTES + CHUNK_BYTES * 2) // 1024
    writer.close(timeout_s=0.01)
    arrived = bytearray()
    while len(arrived) < (written - drops.lines) * 1024:
        arrived += os.read(reader, CHUNK_BYTES)
    assert arrived == line * (written - drops.lines)
    os.close(reader)
    os.close(writer_fd)


def test_a_reader_that_left_costs_lines_and_nothing_else():
    reader, writer_fd = os.pipe()
    os.close(reader)
    drops = Drops()
    writer = LineWriter(writer_fd, drops)
    writer.write(b"one\n")
    assert drops.some.wait(PATIENCE_S)
    writer.close()
    assert drops.lines == 1
    os.close(writer_fd)


def test_a_line_longer_than_a_write_is_dropped():
    drops = Drops()
    with Path(os.devnull).open("wb") as nowhere:
        writer = LineWriter(nowhere.fileno(), drops)
        writer.write(b"x" * CHUNK_BYTES + b"\n")
        writer.close()
    assert drops.lines == 1


WRITE_LONG_LINES = """
import sys
from gateway.telemetry.lines import LineWriter
writer = LineWriter(1, print, int(sys.argv[2]))
for _ in range(60):
    writer.write(sys.argv[1].encode() * 20_000 + b"\\n")
writer.close(timeout_s=30)
"""


def test_processes_do_not_tear_each_others_lines():
    """Lines far beyond PIPE_BUF, from three writers of one pipe."""
    lock = os.memfd_create("lock")
    reader, writer_fd = os.pipe()
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITE_LONG_LINES, name, str(lock)], stdout=writer_fd, pass_fds=[lock])
        for name in "abc"
    ]
    os.close(writer_fd)
    with os.fdopen(reader, "rb") as arrived:
        lines = arrived.read().splitlines()
    assert [writer.wait() for writer in writers] == [0, 0, 0]
    assert sorted(lines) == [name * 20_000 for name in (b"a", b"b", b"c") for _ in range(60)]
    os.close(lock)
