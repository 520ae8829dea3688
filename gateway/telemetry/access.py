"""The access log: one JSON line per request, never a token.

    {"time":"2025-01-01T12:00:00.000Z","route":"app","method":"GET","path":"/orders","code":200,"decision":"allow",
     "reason":null,"user":"alice","session":"s-1","client":"192.0.2.7","duration_ms":1.234,"upstream_ms":1.2,
     "request_id":"…","trace_id":"…","upstream":"app"}

Of an exchange that the gateway tore, `cut_by` says why, behind all that.
The path comes without its query, which is where tokens travel, and anything in it that looks like a JWT is replaced.
Every line is printable ASCII: what a client sent cannot end a line, colour a terminal or reorder the text [O03].

Owns the time stamp of the current millisecond and a `LineWriter`. Does not decide what is logged.
"""

import json
import re
import time
from typing import Final

from gateway.telemetry.lines import LineWriter
from gateway.telemetry.metrics import DECISIONS

PATH_LIMIT: Final = 1024
TEXT_LIMIT: Final = 256

# A JOSE header begins with `{"`, which is `eyJ` in base64url.
_JWT_MARK: Final = b"eyJ"
_JWT: Final = re.compile(rb"eyJ[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]*)*")
# What a JSON text holds as it is, and a path mostly consists of.
_PLAIN: Final = bytes(c for c in range(0x21, 0x7F) if c not in b'"\\')
FRAMES_LIMIT: Final = 4096

_Key = tuple[str, bytes, int, int, str | None, str | None, str | None, str, str | None, str | None]
_Frame = tuple[bytes, bytes, bytes]


class AccessLog:
    """Per process: the writer and the stamp. `write` costs about 0.9 µs, measured by `python -m bench.telemetry`."""

    __slots__ = ("_frames", "_is_text", "_millisecond", "_second", "_stamp", "_stamp_bytes", "_stamp_to_second", "_writer")

    def __init__(self, writer: LineWriter, is_text: bool = False) -> None:
        self._writer = writer
        self._is_text = is_text
        self._millisecond = -1
        self._second = -1
        self._stamp = ""
        self._stamp_bytes = b""
        self._stamp_to_second = ""
        self._frames: dict[_Key, _Frame] = {}

    def write(
        self,
        now: float,
        route: str,
        method: bytes,
        path: bytes,
        status: int,
        decision: int,
        reason: str | None,
        user: str | None,
        session: str | None,
        client: str,
        duration_s: float,
        upstream_s: float,
        request_id: bytes,
        trace_id: bytes,
        upstream: str | None,
        cut_by: str | None,
    ) -> None:
        """Write one line. `now` is wall clock, `path` without query, `upstream_s` negative when none was asked.

        `decision` is a place in DECISIONS, as for `RouteMetrics.finish`.
        """
        millisecond = int(now * 1000)
        if millisecond != self._millisecond:
            self._new_stamp(millisecond)
        key = (route, method, status, decision, reason, user, session, client, upstream, cut_by)
        is_plain = not path.translate(None, _PLAIN) and _JWT_MARK not in path and len(path) <= PATH_LIMIT
        if not is_plain or self._is_text:
            self._write_with_care(key, path, duration_s, upstream_s, request_id, trace_id)
            return
        frame = self._frames.get(key)
        if frame is None:
            frame = self._new_frame(key)
        before_path, after_path, end = frame
        upstream_ms = b"%.3f" % (upstream_s * 1e3) if upstream_s >= 0.0 else b"null"
        self._writer.write(
            b'{"time":"%b%b%b%b%.3f,"upstream_ms":%b,"request_id":"%b","trace_id":"%b%b'
            % (self._stamp_bytes, before_path, path, after_path, duration_s * 1e3, upstream_ms, request_id, trace_id, end)
        )

    def _write_with_care(
        self, key: "_Key", path: bytes, duration_s: float, upstream_s: float, request_id: bytes, trace_id: bytes
    ) -> None:
        """A line for people, or one whose path needs escaping, cutting or redacting."""
        route, method, status, decision, reason, user, session, client, upstream, cut_by = key
        fields: dict[str, object] = {
            "time": self._stamp,
            "route": route,
            "method": method.decode("ascii", "backslashreplace"),
            "path": redact(path).decode("ascii", "backslashreplace"),
            "code": status,
            "decision": DECISIONS[decision],
            "reason": reason,
            "user": user,
            "session": session,
            "client": client,
            "duration_ms": int(duration_s * 1e6) / 1000,
            "upstream_ms": int(upstream_s * 1e6) / 1000 if upstream_s >= 0.0 else None,
            "request_id": request_id.decode("ascii"),
            "trace_id": trace_id.decode("ascii"),
            "upstream": upstream,
        }
        if cut_by is not None:
            fields["cut_by"] = cut_by
        self._writer.write(text_line(fields) if self._is_text else careful_line(fields))

    def _new_frame(self, key: "_Key") -> "_Frame":
        """The parts of a line that the next request of the same user and route repeats, escaped as in `careful_line`."""
        route, method, status, decision, reason, user, session, client, upstream, cut_by = key

        def text(name: str, value: object) -> str:
            return f'"{name}":{json.dumps(_cut(name, value))}'

        before = f'",{text("route", route)},{text("method", method.decode("ascii", "backslashreplace"))},"path":"'
        last = text("upstream", upstream) + (f",{text('cut_by', cut_by)}" if cut_by is not None else "")
        values = {"decision": DECISIONS[decision], "reason": reason, "user": user, "session": session, "client": client}
        middle = ",".join(text(name, value) for name, value in values.items())
        frame = (
            before.encode(),
            f'","code":{status},{middle},"duration_ms":'.encode(),
            f'",{last}}}\n'.encode(),
        )
        if len(self._frames) >= FRAMES_LIMIT:
            self._frames.clear()
        self._frames[key] = frame
        return frame

    def close(self) -> None:
        self._writer.close()

    def _new_stamp(self, millisecond: int) -> None:
        """Make the time stamp of another millisecond; the part up to the second is kept for as long as it lasts."""
        second, thousandths = divmod(millisecond, 1000)
        if second != self._second:
            self._second = second
            self._stamp_to_second = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
        self._millisecond = millisecond
        self._stamp = f"{self._stamp_to_second}.{thousandths:03d}Z"
        self._stamp_bytes = self._stamp.encode()


def redact(path: bytes) -> bytes:
    """The path cut to its limit, with anything that looks like a JWT replaced. Cut last: half a token is one too."""
    return _JWT.sub(b"[token]", path[: 8 * PATH_LIMIT])[:PATH_LIMIT]


def careful_line(fields: dict[str, object]) -> bytes:
    """The same line when a value is long or not ASCII: cut, and everything beyond ASCII escaped.

    JSON leaves U+0085, U+009B (a terminal's escape in one character), U+2028 and the marks that turn text around as
    they are, and so does orjson; a reader of JSON gets the same text back from `\\u009b`.
    """
    return json.dumps({name: _cut(name, value) for name, value in fields.items()}, separators=(",", ":")).encode() + b"\n"


def text_line(fields: dict[str, object]) -> bytes:
    """The line for people: `log.format: text`."""
    shown = {name: _cut(name, value) for name, value in fields.items() if value is not None}
    time_text, method, path, status = (shown.pop(name) for name in ("time", "method", "path", "code"))
    rest = " ".join(f"{name}={word(value)}" for name, value in shown.items())
    return f"{time_text} {word(method)} {word(path)} {status} {rest}\n".encode()


def word(value: object) -> str:
    """One printable ASCII word; quoted and escaped as JSON when it holds a space, a quote, or anything unprintable.

    So `alice status=200` cannot pass itself off as two fields.
    """
    text = str(value)
    if text.isascii() and text.isprintable() and text and not any(mark in text for mark in ' "=\\'):
        return text
    return json.dumps(text).replace("\x7f", "\\u007f")


def _cut(name: str, value: object) -> object:
    if isinstance(value, str):
        return value[: PATH_LIMIT if name == "path" else TEXT_LIMIT]
    return value
