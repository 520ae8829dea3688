"""What a refusal tells whoever watches: the use of something revoked as its own signal, the log line, the audit event.

    use of what was revoked      counted by kind and age: `tail`, or `replay`, the alarm [B6]
    a refresh after revocation   the same with a refresh token: counted as a refresh, too
    a refresh token, twice       reuse; its rotation counted it
    an expired token, in a loop  once a minute
    a signature that is not      counted by whose it claims to be, and whether those keys changed lately
    another device, network…     counted by signal and action
    logins failed, by the hundred
    let in, although revoked     found out after an outage, on routes that go on meanwhile: once for each token and route
    any other refusal            one audit event

Each has a counter, a line and an audit event: docs/reference/security-events.md is the table. Lines are limited by their kind,
events aggregated [B1], and a repetition costs a fraction of a microsecond.

A tail is what was on its way: within ten seconds of the revocation, or the same device after its user signed out there, whose
other tabs do not know it yet."""

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from gateway.audit.event import Action, Event, Outcome
from gateway.audit.trail import Trail
from gateway.enforce.loops import ExpiredLoops
from gateway.enforce.notice import Fingerprints, Notice
from gateway.enforce.shown import Shown, shown_by
from gateway.enforce.signs import Signs
from gateway.enforce.unchecked import Wrongly
from gateway.enforce.verdict import Deny
from gateway.enforce.verified import Verified
from gateway.login.limits import FLOOD_FAILURES, FLOOD_WINDOW_S
from gateway.reasons import Reason
from gateway.revocation.entry import Entry, Kind
from gateway.telemetry.log import SecurityLog
from gateway.telemetry.metrics import WorkerMetrics
from gateway.wire.head import RequestHead

if TYPE_CHECKING:
    from gateway.enforce.known import Known

TAIL_S: Final = 10
AFTER_ROTATION_S: Final = 86_400.0
"""So long an issuer's keys count as rotated: whoever comes back the next morning still shows what an older key signed."""
MOST_REMEMBERED: Final = 10_000

_USE_KINDS: Final = {Kind.TOKEN: "token", Kind.SESSION: "session", Kind.USER: "version", Kind.VERSION: "version", Kind.KEY: "key"}
_ADMITTED_KINDS: Final = {**_USE_KINDS, Kind.BLOCK: "block"}
_SUSPICIOUS: Final = frozenset((Reason.BAD_SIGNATURE, Reason.UNKNOWN_KEY, Reason.RETIRED_KEY))
_JUST_REFUSED: Final = (Action.REFUSAL,)


class Asker(NamedTuple):
    """Who was refused: the address, the request's id, and what the request shows of its client."""

    address: str
    request_id: str
    client: RequestHead | Shown | None


class Denials:
    """Per worker: tells of refusals.

    `_departed`: sessions that their users ended lately, with the device they did it on. `_raised`: when accounts got their
    present version; the fact itself says which, not when. `_rotated`: when issuers' keys changed last, wall time.
    """

    def __init__(
        self,
        metrics: WorkerMetrics,
        security: SecurityLog,
        fingerprints: Fingerprints,
        own_issuer: str,
        trail: Trail | None = None,
    ) -> None:
        self._metrics = metrics
        self._security = security
        self._fingerprints = fingerprints
        self._own_issuer = own_issuer
        self._trail = trail
        self._departed: dict[str, str] = {}
        self._raised: dict[bytes, float] = {}
        self._rotated: dict[str, float] = {}
        self._loops = ExpiredLoops()

    def learn(self, entry: Entry) -> None:
        """What an entry of the log says about the uses that will follow it."""
        if entry.kind is Kind.SESSION and entry.source == "logout" and entry.device:
            _remember(self._departed, entry.name, entry.device)
        elif entry.kind is Kind.VERSION:
            _remember(self._raised, entry.key, entry.appended_at)

    def keys_changed(self, issuer: str, at: float) -> None:
        """An issuer of the configuration has other keys than before, since `at`, wall time."""
        self._rotated[issuer] = at

    def tell(self, verdict: Deny, asker: "Asker", route: str, now: float) -> None:
        """A request was refused at `now`, wall time."""
        token, reason = verdict.token, verdict.reason
        found: list[Action] = []
        age = ""
        if token is not None:
            if verdict.kind in _USE_KINDS:
                age = self._age(token, verdict, asker, now)
                found += self._tell_use(token, verdict, asker, route, age)
            elif reason is Reason.REFRESH_REUSED:
                self._tell_refresh(token, verdict, asker)
                found.append(Action.REFRESH_REUSE)
            elif reason is Reason.EXPIRED_TOKEN and self._loops.note(token, now):
                self._tell_loop(token, asker, route)
                found += (Action.EXPIRED_LOOP, Action.REFUSAL)
        if reason in _SUSPICIOUS:
            found += self._tell_signature(verdict, asker, route, age, now)
        for action in found or _JUST_REFUSED:
            self._record(action, verdict, asker, route, now)

    def tell_noticed(self, now: float) -> None:
        """Sessions were seen from other clients: what the decision noted since the last time."""
        noticed, self._fingerprints.noticed = self._fingerprints.noticed, []
        for notice in noticed:
            action = notice.action if notice.is_enforced else "observe"
            self._metrics.mismatch(notice.signal, action)
            self._security.another_client(
                user=notice.token.user,
                session=notice.token.session,
                signal=notice.signal,
                action=action,
                device=_device_text(notice.signs),
                client=notice.address,
            )
            if self._trail is not None:
                self._trail.record(_event_of(notice, now))

    def tell_flood(self, by: str, user: str, network: str, request_id: str, now: float) -> None:
        """Logins failed by the hundred. `user` is an account's name, or empty: what somebody typed is told nowhere."""
        self._metrics.login_flood(by)
        self._security.login_flood(
            by=by, user=user or None, count=FLOOD_FAILURES, window_s=FLOOD_WINDOW_S, network=network, request_id=request_id
        )
        if self._trail is not None:
            self._trail.record(
                Event(
                    now,
                    Action.LOGIN_FLOOD,
                    Outcome.OBSERVED,
                    reason=by,
                    user=user,
                    network=network,
                    request_id=request_id,
                )
            )

    def look_again(self, known: "Known", now: float) -> None:
        """The replica is fresh: of those that were let in while it was not, tell who had been revoked. Some at a time."""
        for wrongly in known.unchecked.judge(known.replica, known.issuers):
            self._tell_admitted(wrongly, now)
        passed_over, known.unchecked.passed_over = known.unchecked.passed_over, 0
        if passed_over:
            self._security.not_looked_at(requests=passed_over)

    def _tell_admitted(self, wrongly: Wrongly, now: float) -> None:
        admission, token = wrongly.admission, wrongly.admission.token
        self._metrics.admitted_revoked(_ADMITTED_KINDS[wrongly.kind])
        self._security.admitted_revoked(
            user=token.user,
            token_id=token.token_id,
            session=token.session,
            reason=wrongly.reason.value,
            route=admission.route,
            requests=admission.requests,
        )
        if self._trail is not None:
            self._trail.record(
                Event(
                    now,
                    Action.ADMITTED_REVOKED,
                    Outcome.OBSERVED,
                    reason=wrongly.reason.value,
                    user=token.user,
                    session=token.session or "",
                    token_id=token.token_id or "",
                    route=admission.route,
                    count=admission.requests,
                    since=admission.since,
                )
            )

    def _tell_use(self, token: Verified, verdict: Deny, asker: "Asker", route: str, age: str) -> tuple[Action, ...]:
        assert verdict.kind is not None
        is_replay = age == "replay"
        is_refresh = token.own is not None and token.own.is_refresh
        self._metrics.revoked_use(_USE_KINDS[verdict.kind], age)
        if is_refresh:
            if is_replay:
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
        if not is_replay:
            return ()
        return (Action.REPLAY, Action.REFRESH_AFTER_REVOCATION) if is_refresh else (Action.REPLAY,)

    def _tell_refresh(self, token: Verified, verdict: Deny, asker: "Asker") -> None:
        self._security.refresh_after_revocation(
            user=token.user,
            session=token.session or "",
            reason=verdict.reason.value,
            client=asker.address,
            request_id=asker.request_id,
        )

    def _tell_loop(self, token: Verified, asker: "Asker", route: str) -> None:
        self._metrics.expired_loop()
        self._security.expired_loop(
            user=token.user,
            token_id=token.token_id,
            session=token.session,
            route=route,
            client=asker.address,
            request_id=asker.request_id,
        )

    def _tell_signature(self, verdict: Deny, asker: "Asker", route: str, age: str, now: float) -> tuple[Action, ...]:
        token = verdict.token
        issuer, key_id = (token.issuer, token.key_id) if token is not None else (verdict.issuer, verdict.key_id)
        is_rotated = verdict.kind is Kind.KEY or now - self._rotated.get(issuer or "", -AFTER_ROTATION_S) < AFTER_ROTATION_S
        keys = "rotated" if is_rotated else "settled"
        self._security.bad_signature(
            reason=verdict.reason.value,
            issuer=issuer,
            key_id=key_id,
            keys=keys,
            route=route,
            client=asker.address,
            request_id=asker.request_id,
        )
        if age == "tail":
            return ()
        self._metrics.signature_failure("own" if issuer == self._own_issuer else "other", verdict.reason.value, keys)
        return (Action.SIGNATURE_FAILURE,)

    def _record(self, action: Action, verdict: Deny, asker: "Asker", route: str, now: float) -> None:
        if self._trail is None:
            return
        token = verdict.token
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

    def _age(self, token: Verified, verdict: Deny, asker: "Asker", now: float) -> str:
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
        return _device_text(self._fingerprints.signs(shown, asker.address))


def _remember(memory: "dict[Any, Any]", key: object, value: object) -> None:
    """Bounded: when it is full the older half goes."""
    if len(memory) >= MOST_REMEMBERED:
        for oldest in list(memory)[: MOST_REMEMBERED // 2]:
            del memory[oldest]
    memory[key] = value


def _device_text(signs: Signs) -> str:
    return "" if signs.device is None else signs.device.text


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
        device=_device_text(notice.signs),
        text=notice.action,
    )
