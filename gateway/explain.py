"""`gateway explain`: what would happen to one request, told by the same code that serves real ones.

Nothing listens and nothing is asked but the issuers' key sets; so revocations are not looked at, and the explanation says so.
"""

import asyncio
from dataclasses import dataclass, field
from math import inf
from urllib.parse import urlsplit

from gateway.clock import Clock
from gateway.config.load import Loaded
from gateway.enforce.decide import Done, decide
from gateway.enforce.known import Known
from gateway.enforce.verdict import Allow, Deny
from gateway.enforce.verified import Verified
from gateway.errors import ClientError
from gateway.proxy.outgoing import application_lines
from gateway.reasons import REFUSALS, Reason
from gateway.revocation.state import Event
from gateway.revocation.view import View
from gateway.routes.compile import compile_routes
from gateway.routes.own import OwnEndpoints
from gateway.routes.route import Route
from gateway.tokens.jwks import KeySetSource
from gateway.wire.cookies import CookieNames
from gateway.wire.fields import RoleMemory
from gateway.wire.forwarded import TrustedProxies
from gateway.wire.head import HeadReader, RequestHead
from gateway.wire.rewrite import forwarded_lines, to_upstream
from gateway.wire.trace import new_traceparent, trace_lines


@dataclass(slots=True)
class Explanation:
    """What was found out, in the order in which it was found. `status` is None where the application answers."""

    verdict: str = ""
    reason: str | None = None
    status: int | None = None
    detail: str = ""
    path: str | None = None
    route: str | None = None
    upstream: str | None = None
    user: str | None = None
    issuer: str | None = None
    backend: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def lines(self) -> list[str]:
        """For people."""
        verdict = f"{self.verdict} ({self.reason}, {self.status})" if self.reason else self.verdict
        pairs = [
            ("path", self.path),
            ("route", f"{self.route} -> {self.upstream}" if self.route else None),
            ("verdict", verdict),
            ("because", self.detail or None),
            ("user", f"{self.user} of {self.issuer}" if self.user else None),
        ]
        told = [f"{name + ':':<9} {value}" for name, value in pairs if value is not None]
        if self.backend:
            told += ["backend:", *(f"  {line}" for line in self.backend)]
        return told + [f"note:     {note}" for note in self.notes]


def explain(
    loaded: Loaded, method: str, url: str, token: str | None, address: str, headers: list[tuple[str, str]]
) -> Explanation:
    """Judge one request of the configuration in `loaded`. `address` is the peer's, `url` absolute or a path."""
    found = Explanation()
    try:
        head = _read_head(loaded, method, url, token, headers)
        found.path = head.path.decode("ascii")
        own = OwnEndpoints(loaded.config.own_issuer, has_accounts=loaded.config.has_accounts)
        route = compile_routes(loaded.config.routes, own).match(head.method, head.path)
    except ClientError as error:
        _refuse(found, Reason.TOO_LARGE if error.status in (413, 414, 431) else Reason.BAD_REQUEST, str(error))
        found.status = error.status
        return found
    if route is None:
        _refuse(found, Reason.NO_ROUTE, "no route has this path and method")
        return found
    found.route, found.upstream = route.name, route.upstream
    known = asyncio.run(_known_with_keys(loaded, found))
    clock = Clock()
    done = Done(is_claimed=True, is_without_record=True)
    verdict = decide(head, address, route, known, clock.wall(), clock.boot(), done)
    bearer = verdict.token
    if bearer is not None:
        found.user, found.issuer = bearer.user, bearer.issuer
    if head.access_cookie or head.refresh_cookie:
        found.notes.append("the gateway's own signing keys are in its store; here its own tokens are of an unknown key")
    if isinstance(verdict, Deny):
        _refuse(found, verdict.reason, verdict.detail)
        return found
    assert isinstance(verdict, Allow), "own tokens need a key to get any further"
    found.verdict = "allow"
    if bearer is not None:
        found.notes.append("revocations and sessions were not looked at; a running gateway knows them")
    if route.is_once:
        found.notes.append("this route takes each token once; whether this one was used was not looked at")
    found.backend = _backend_lines(loaded, head, route, bearer, address)
    return found


def _read_head(loaded: Loaded, method: str, url: str, token: str | None, headers: list[tuple[str, str]]) -> RequestHead:
    parts = urlsplit(url)
    host = parts.netloc or urlsplit(loaded.config.public_url).netloc
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    lines = [f"{method} {target} HTTP/1.1"]
    if not any(name.lower() == "host" for name, _ in headers):
        lines.append(f"Host: {host}")
    lines += [f"{name}: {value}" for name, value in headers]
    if token is not None:
        lines.append(f"Authorization: Bearer {token}")
    limits = loaded.config.limits
    raw = "\r\n".join([*lines, "", ""]).encode("utf-8", "surrogateescape")
    cookies = CookieNames.of(is_secure=loaded.config.cookies.secure)
    return HeadReader(RoleMemory(), limits.headers, limits.uri, cookies).read(raw)


async def _known_with_keys(loaded: Loaded, found: Explanation) -> Known:
    """The issuers with their keys as of now, and a replica that knows no revocation."""
    view = View()
    view.meet(Event.DECLARED)
    view.meet(Event.GRANTED)
    view.proven_at = inf
    known = Known.of(loaded.config, view, (b"explain",))
    for config in loaded.config.issuers:
        source = KeySetSource(config, loaded.directory, known.issuers[config.issuer].adopt)
        await source.start()
        await source.close()
        if source.error is not None:
            found.notes.append(f"the key set of {config.issuer} cannot be used: {source.error}")
    return known


def _refuse(found: Explanation, reason: Reason, detail: str) -> None:
    found.verdict, found.reason = "deny", reason.value
    found.status, found.detail = REFUSALS[reason].status, detail or REFUSALS[reason].title


def _backend_lines(loaded: Loaded, head: RequestHead, route: Route, token: Verified | None, address: str) -> list[str]:
    trusted = TrustedProxies(map(str, loaded.config.trusted_proxies))
    peer, is_trusted = trusted.judge(address)
    if is_trusted and head.forwarded_for is not None:
        _, head.forwarded_for = trusted.believe(peer, head.forwarded_for)
    scheme = b"https" if loaded.config.tls else b"http"
    added = [forwarded_lines(head, peer.encode(), scheme, is_trusted=is_trusted)]
    added += application_lines(head, route, token, loaded.config.own_issuer)
    traceparent = head.traceparent or new_traceparent(b"<trace id>")
    request_id = head.request_id or b"<request id>"
    raw = to_upstream(head, b"localhost", tuple(added)) + trace_lines(request_id, traceparent, head.tracestate)
    return raw.decode("utf-8", "backslashreplace").rstrip("\r\n").split("\r\n")
