"""What a refusal tells whoever watches: the use of something revoked as its own signal, the log line, the audit event.

    use of what was revoked      counted by kind and age: `tail`, or `replay`, the alarm [B6]; one line in the sources' pattern
    a signature that is not      one line; after a key was retired its tokens are told here too
    an expired token, in a loop  counted, and one line, once a minute
    another device, network…     counted by signal and action; one event
    any refusal                  one audit event, aggregated [B1]

A tail is what was on its way: within ten seconds of the revocation, or the same device after its user signed out there, whose
other tabs do not know it yet."""

from typing import Any, Final, NamedTuple

from gateway.audit.event import Action, Event, Outcome
from gateway.audit.trail import Trail
from gateway.enforce.loops import ExpiredLoops
from gateway.enforce.notice import Fingerprints, Notice
from gateway.enforce.shown import Shown, shown_by
from gateway.enforce.verdict import Deny
from gateway.enforce.verified import Verified
from gateway.reasons import Reason
from gateway.revocation.entry import Entry, Kind
from gateway.telemetry.log import SecurityLog
from gateway.telemetry.metrics import WorkerMetrics
from gateway.wire.head import RequestHead

TAIL_S: Final = 10
MOST_REMEMBERED: Final = 10_000

_USE_KINDS: Final = {Kind.TOKEN: "token", Kind.SESSION: "session", Kind.USER: "version", Kind.VERSION: "version", Kind.KEY: "key"}
_SUSPICIOUS: Final = frozenset((Reason.BAD_SIGNATURE, Reason.UNKNOWN_KEY, Reason.RETIRED_KEY))


class Asker(NamedTuple):
    """Who was refused: the address, the request's id, and what the request shows of its client."""

    address: str
    request_id: str
    client: RequestHead | Shown | None


class Denials:
    """Per worker: tells of refusals.

    `_departed`: sessions that their users ended lately, with the device they did it on. `_raised`: when accounts got their
    present version; the fact itself says which, not when.
    """

    def __init__(
        self, metrics: WorkerMetrics, security: SecurityLog, fingerprints: Fingerprints, trail: Trail | None = None
    ) -> None:
        self._metrics = metrics
        self._security = security
        self._fingerprints = fingerprints
        self._trail = trail
        self._departed: dict[str, str] = {}
        self._raised: dict[bytes, float] = {}
        self._loops = ExpiredLoops()

    def learn(self, entry: Entry) -> None:
        """What an entry of the log says about the uses that will follow it."""
        if entry.kind is Kind.SESSION and entry.source == "logout" and entry.device:
            _remember(self._departed, entry.name, entry.device)
        elif entry.kind is Kind.VERSION:
            _remember(self._raised, entry.key, entry.appended_at)

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
        if verdict.reason is Reason.EXPIRED_TOKEN and token is not None and self._loops.note(token, now):
            self._metrics.expired_loop()
            self._security.expired_loop(
                user=token.user,
                token_id=token.token_id,
                session=token.session,
                route=route,
                client=asker.address,
                request_id=asker.request_id,
            )
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
            if age == "replay":
                self._metrics.refresh("revoked")
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
        assert token is not None
        revoked_at: float = verdict.revoked_at
        if verdict.kind is Kind.VERSION:
            revoked_at = max(self._raised.get(key, 0.0) for kind, key in token.fact_keys if kind is Kind.VERSION)
        if now - revoked_at <= TAIL_S:
            return "tail"
        if verdict.kind is Kind.KEY and token.expires_at < revoked_at:
            return "tail"  # it was of no use any more when the key went: somebody forgot it, nobody replays it
        sid = token.session
        device = self._departed.get(sid) if sid is not None else None
        return "tail" if device and device == self._device_of(asker) else "replay"

    def _device_of(self, asker: "Asker") -> str:
        if asker.client is None:
            return ""
        shown = asker.client if isinstance(asker.client, Shown) else shown_by(asker.client)
        device = self._fingerprints.signs(shown, asker.address).device
        return "" if device is None else device.text


def _remember(memory: "dict[Any, Any]", key: object, value: object) -> None:
    """Bounded: when it is full the older half goes."""
    if len(memory) >= MOST_REMEMBERED:
        for oldest in list(memory)[: MOST_REMEMBERED // 2]:
            del memory[oldest]
    memory[key] = value


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
