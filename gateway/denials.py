"""What a refusal tells whoever watches: the use of something revoked as its own signal, the log line, the audit event.

    use of what was revoked      counted by kind and age: `tail`, or `replay`, the alarm [B6]; one line in the sources' pattern
    a signature that is not      one line; after a key was retired its tokens are told here too
    another device, network…     counted by signal and action; one event
    any refusal                  one audit event, aggregated [B1]

A tail is what was on its way: within ten seconds of the revocation, or the same device after its user signed out there, whose
other tabs do not know it yet."""

from typing import Final, NamedTuple

from gateway.audit.event import Action, Event, Outcome
from gateway.audit.trail import Trail
from gateway.enforce.notice import Fingerprints, Notice
from gateway.enforce.shown import Shown, shown_by
from gateway.enforce.verdict import Deny
from gateway.enforce.verified import Verified
from gateway.reasons import Reason
from gateway.revocation.entry import Kind
from gateway.telemetry.log import SecurityLog
from gateway.telemetry.metrics import WorkerMetrics
from gateway.wire.head import RequestHead

TAIL_S: Final = 10
MOST_DEPARTED: Final = 10_000

_USE_KINDS: Final = {Kind.TOKEN: "token", Kind.SESSION: "session", Kind.USER: "version", Kind.VERSION: "version", Kind.KEY: "key"}
_SUSPICIOUS: Final = frozenset((Reason.BAD_SIGNATURE, Reason.UNKNOWN_KEY, Reason.RETIRED_KEY))


class Asker(NamedTuple):
    """Who was refused: the address, the request's id, and what the request shows of its client."""

    address: str
    request_id: str
    client: RequestHead | Shown | None


class Denials:
    """Per worker: tells of refusals. `departed` are sessions that their users ended lately, with the device they did it on."""

    def __init__(
        self, metrics: WorkerMetrics, security: SecurityLog, fingerprints: Fingerprints, trail: Trail | None = None
    ) -> None:
        self._metrics = metrics
        self._security = security
        self._fingerprints = fingerprints
        self._trail = trail
        self._departed: dict[str, str] = {}

    def departed(self, sid: str, device: str) -> None:
        """A user signed out of this session, on a device of this class."""
        if len(self._departed) >= MOST_DEPARTED:
            for oldest in list(self._departed)[: MOST_DEPARTED // 2]:
                del self._departed[oldest]
        self._departed[sid] = device

    def tell(self, verdict: Deny, asker: "Asker", route: str, now: float) -> None:
        """A request was refused at `now`, wall time."""
        token = verdict.token
        action = Action.REFUSAL
        if verdict.kind in _USE_KINDS and token is not None:
            age = self._age(verdict, asker, now)
            action = Action.REPLAY if age == "replay" else action
            self._metrics.revoked_use(_USE_KINDS[verdict.kind], age)
            self._tell_use(verdict, asker, route, age)
        if verdict.reason is Reason.REFRESH_REUSED and token is not None:
            self._tell_refresh(token, verdict, asker)
        if verdict.reason in _SUSPICIOUS:
            self._security.bad_signature(
                reason=verdict.reason.value,
                issuer=token.issuer if token is not None else verdict.issuer,
                key_id=token.key_id if token is not None else verdict.key_id,
                route=route,
                client=asker.address,
                request_id=asker.request_id,
            )
        if self._trail is not None:
            self._trail.refused(
                now,
                verdict.reason.value,
                self._fingerprints.reader.networks.prefix_of(asker.address),
                user=token.user if token is not None else "",
                session=(token.session or "") if token is not None else "",
                route=route,
                token_id=(token.token_id or "") if token is not None else "",
                request_id=asker.request_id,
                action=action,
            )

    def tell_noticed(self, now: float) -> None:
        """Sessions were seen from other clients: what the decision noted since the last time."""
        noticed, self._fingerprints.noticed = self._fingerprints.noticed, []
        for notice in noticed:
            self._metrics.mismatch(notice.signal, notice.action if notice.is_enforced else "observe")
            if self._trail is not None:
                self._trail.record(_event_of(notice, now))

    def _tell_use(self, verdict: Deny, asker: "Asker", route: str, age: str) -> None:
        token = verdict.token
        assert token is not None
        if token.own is not None and token.own.is_refresh:
            self._tell_refresh(token, verdict, asker)
        self._security.revoked_token(
            reason=verdict.reason.value,
            user=token.user,
            age=age,
            route=route,
            client=asker.address,
            request_id=asker.request_id,
            token_id=token.token_id,
            session=token.session,
            version=token.version,
            expected_version=verdict.revoked_at if verdict.kind is Kind.VERSION else None,
        )

    def _tell_refresh(self, token: Verified, verdict: Deny, asker: "Asker") -> None:
        self._security.refresh_after_revocation(
            user=token.user,
            session=token.session or "",
            reason=verdict.reason.value,
            client=asker.address,
            request_id=asker.request_id,
        )

    def _age(self, verdict: Deny, asker: "Asker", now: float) -> str:
        token = verdict.token
        if verdict.kind is not Kind.VERSION and now - verdict.revoked_at <= TAIL_S:
            return "tail"
        if verdict.kind is Kind.KEY and token is not None and token.expires_at < verdict.revoked_at:
            return "tail"  # it was of no use any more when the key went: somebody forgot it, nobody replays it
        sid = verdict.token.session if verdict.token is not None else None
        device = self._departed.get(sid) if sid is not None else None
        return "tail" if device and device == self._device_of(asker) else "replay"

    def _device_of(self, asker: "Asker") -> str:
        if asker.client is None:
            return ""
        shown = asker.client if isinstance(asker.client, Shown) else shown_by(asker.client)
        device = self._fingerprints.signs(shown, asker.address).device
        return "" if device is None else device.text


def _event_of(notice: Notice, now: float) -> Event:
    token = notice.token
    return Event(
        now,
        Action.FINGERPRINT,
        Outcome.DENIED if notice.is_enforced and notice.action in ("deny", "end_session") else Outcome.OBSERVED,
        reason=f"{notice.signal}-changed",
        user=token.user,
        session=token.session or "",
        network=notice.signs.network,
        device=notice.signs.device.text if notice.signs.device is not None else "",
        text=notice.action,
    )
