"""The application's log on stderr, and the security lines in it.

Everything goes through the standard `logging` under the name `gateway`; this file gives it a handler that never blocks
(`lines.py`), one line per record, JSON or text. A traceback is one field of its line, never lines of its own.

The security lines are what alert rules and log searches look for, so their words are part of the public surface:

    Token revoked rejected sub=alice tokenVersion=1 (expected 2) …
    Token revoked rejected sub=alice jti=… age=replay …
    Token signature mismatch iss=https://idp.example kid=k1 …
    Refresh after revocation rejected sub=alice sid=… …
    Expired token in a loop sub=alice jti=… …
    Session used by another client sub=alice sid=… signal=device action=end_session …
    Admitted although revoked sub=alice jti=… sid=… reason=revoked-session route=app requests=3
    Failed logins by the hundred by=account user=alice@example.com count=100 window=600s …
    Revocation accepted kind=user subject=alice id=… …

Text that a client or an issuer chose is written as one escaped word (`access.word`), cut at 256 characters. Lines that a
stranger can cause are limited per kind; what was left out is counted and told by the next line of that kind. The
metrics count every one.
"""

import json
import logging
import time
from collections.abc import Callable
from typing import Final, Protocol

from gateway.telemetry.access import TEXT_LIMIT, word

LOGGER_NAME: Final = "gateway"
LINES_PER_SECOND: Final = 20.0
BURST_LINES: Final = 100.0
_MESSAGE_LIMIT: Final = 4096
_TRACEBACK_LIMIT: Final = 16384


class Writer(Protocol):
    """Where lines go: a `LineWriter`, or a list in a test."""

    def write(self, line: bytes) -> None: ...


class LineHandler(logging.Handler):
    """One record, one line. `process` says who speaks: `supervisor`, or `worker 0`."""

    def __init__(self, writer: Writer, process: str, is_text: bool) -> None:
        super().__init__()
        self._writer = writer
        self._process = process
        self._is_text = is_text

    def emit(self, record: logging.LogRecord) -> None:
        try:
            fields = _fields(record, self._process)
            self._writer.write(_as_text(fields) if self._is_text else _as_json(fields))
        except Exception:
            self.handleError(record)


def configure(level: str, style: str, process: str, writer: Writer) -> None:
    """Give the logger `gateway` its one handler. `style` is `json` or `text`. Other libraries speak up from WARNING on.

    aiohttp's server is silenced: it writes a traceback with the sender's bytes for every malformed request [O05].
    """
    handler = LineHandler(writer, process, style == "text")
    for name, threshold in ((LOGGER_NAME, level.upper()), ("", "WARNING")):
        logger = logging.getLogger(name)
        logger.handlers[:] = [handler]
        logger.setLevel(threshold)
    logging.getLogger(LOGGER_NAME).propagate = False
    logging.getLogger("aiohttp.server").setLevel(logging.CRITICAL + 1)


class SecurityLog:
    """Writes the security lines; holds one limit per kind. `seconds` is any clock that does not go back."""

    __slots__ = ("_limits", "_logger", "_seconds")

    def __init__(self, seconds: Callable[[], float], logger: logging.Logger | None = None) -> None:
        self._logger = logger or logging.getLogger("gateway.security")
        self._seconds = seconds
        self._limits: dict[str, _Limit] = {}

    def revoked_token(
        self,
        *,
        reason: str,
        user: str,
        age: str,
        route: str,
        client: str,
        request_id: str,
        token_id: str | None = None,
        session: str | None = None,
        version: int | None = None,
        expected_version: int | None = None,
    ) -> None:
        """Somebody used a token after it was revoked. With both versions known, they are told as the sources do."""
        suppressed = self._admit("revoked-token")
        if suppressed is None:
            return
        if version is not None and expected_version is not None:
            found = f"tokenVersion={version} (expected {expected_version}) "
        else:
            found = _words(jti=token_id, sid=session)
        self._write(
            f"Token revoked rejected {_words(sub=user)}{found}"
            f"{_words(reason=reason, age=age, route=route, client=client, request_id=request_id)}",
            suppressed,
        )

    def bad_signature(
        self, *, reason: str, issuer: str | None, key_id: str | None, keys: str, route: str, client: str, request_id: str
    ) -> None:
        """A token whose signature does not match, or whose key is unknown or retired: forged, or from before a rotation.

        `keys`: whether the issuer's have changed lately, `rotated` or `settled`.
        """
        suppressed = self._admit("bad-signature")
        if suppressed is not None:
            self._write(
                "Token signature mismatch "
                + _words(iss=issuer, kid=key_id, reason=reason, keys=keys, route=route, client=client, request_id=request_id),
                suppressed,
            )

    def refresh_after_revocation(self, *, user: str, session: str, reason: str, client: str, request_id: str) -> None:
        """A refresh token was shown after its session, or an ancestor of it, had been ended."""
        suppressed = self._admit("refresh")
        if suppressed is not None:
            self._write(
                "Refresh after revocation rejected "
                + _words(sub=user, sid=session, reason=reason, client=client, request_id=request_id),
                suppressed,
            )

    def expired_loop(
        self, *, user: str, token_id: str | None, session: str | None, route: str, client: str, request_id: str
    ) -> None:
        """A token that has expired is shown again and again."""
        suppressed = self._admit("expired-loop")
        if suppressed is not None:
            self._write(
                "Expired token in a loop "
                + _words(sub=user, jti=token_id, sid=session, route=route, client=client, request_id=request_id),
                suppressed,
            )

    def another_client(self, *, user: str, session: str | None, signal: str, action: str, device: str, client: str) -> None:
        """A session was seen from another device, network or country than at its login."""
        suppressed = self._admit("another-client")
        if suppressed is not None:
            self._write(
                "Session used by another client "
                + _words(sub=user, sid=session, signal=signal, action=action, device=device or None, client=client),
                suppressed,
            )

    def admitted_revoked(
        self, *, user: str, token_id: str | None, session: str | None, reason: str, route: str, requests: int
    ) -> None:
        """After an outage it turned out that a token was let in that had been revoked."""
        suppressed = self._admit("admitted-revoked")
        if suppressed is not None:
            words = _words(sub=user, jti=token_id, sid=session, reason=reason, route=route, requests=requests)
            self._write("Admitted although revoked " + words, suppressed)

    def not_looked_at(self, *, requests: int) -> None:
        """So many requests were let in during an outage that some cannot be looked at again. Never limited: once an outage."""
        self._logger.warning("Admissions of the outage not looked at again requests=%d", requests)

    def login_flood(self, *, by: str, user: str | None, count: int, window_s: int, network: str, request_id: str) -> None:
        """Logins failed by the hundred. `user` is an account's name, never what somebody typed."""
        suppressed = self._admit("login-flood")
        if suppressed is not None:
            self._write(
                "Failed logins by the hundred "
                + _words(
                    by=by, user=user, count=count, window=f"{window_s}s", client_network=network or None, request_id=request_id
                ),
                suppressed,
            )

    def revocation(self, *, kind: str, subject: str, by: str, receipt: str, is_complete: bool) -> None:
        """An operator revoked something, or undid it. Never limited."""
        complete = str(is_complete).lower()
        self._logger.warning(
            "Revocation accepted %s", _words(kind=kind, subject=subject, id=receipt, complete=complete, by=by).rstrip()
        )

    def _admit(self, kind: str) -> int | None:
        """How many lines of this kind were left out before this one; None: this one is left out too.

        Asked before a line is made: under attack making them cost 14 µs of every refusal, to throw them away.
        """
        now = self._seconds()
        limit = self._limits.get(kind)
        if limit is None:
            limit = self._limits[kind] = _Limit(now)
        if not limit.is_allowed(now):
            return None
        suppressed, limit.suppressed = limit.suppressed, 0
        return suppressed

    def _write(self, line: str, suppressed: int) -> None:
        self._logger.warning("%s", (line + _words(suppressed=suppressed or None)).rstrip())


class _Limit:
    """A token bucket: BURST_LINES at once, LINES_PER_SECOND in the long run."""

    __slots__ = ("_allowance", "_seen_at", "suppressed")

    def __init__(self, now: float) -> None:
        self._allowance = BURST_LINES
        self._seen_at = now
        self.suppressed = 0

    def is_allowed(self, now: float) -> bool:
        self._allowance = min(BURST_LINES, self._allowance + (now - self._seen_at) * LINES_PER_SECOND)
        self._seen_at = now
        if self._allowance < 1.0:
            self.suppressed += 1
            return False
        self._allowance -= 1.0
        return True


def _words(**values: object) -> str:
    """`name=value ` for each value that is known."""
    return "".join(f"{name}={word(str(value)[:TEXT_LIMIT])} " for name, value in values.items() if value is not None)


def _fields(record: logging.LogRecord, process: str) -> dict[str, str]:
    fields = {
        "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z",
        "level": record.levelname.lower(),
        "logger": record.name,
        "process": process,
        "message": record.getMessage()[:_MESSAGE_LIMIT],
    }
    if record.exc_info:
        fields["exception"] = logging.Formatter().formatException(record.exc_info)[-_TRACEBACK_LIMIT:]
    return fields


def _as_json(fields: dict[str, str]) -> bytes:
    return json.dumps(fields, separators=(",", ":")).encode() + b"\n"


def _as_text(fields: dict[str, str]) -> bytes:
    line = f"{fields['time']} {fields['level'].upper()} {fields['process']}: {fields['message']}"
    if "exception" in fields:
        line += " | " + fields["exception"]
    # JSON's escapes without its quotes: one line, printable ASCII, whatever the message holds.
    return json.dumps(line)[1:-1].replace('\\"', '"').replace("\x7f", "\\u007f").encode() + b"\n"
