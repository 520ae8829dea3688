"""Whether a refresh token may be rotated: everything that can be said before the store is asked [R3].

    key, token, version, session, block: the facts of the log     ->  their reasons
    expired, or older than what the log is complete since         ->  expired-token, unknown-session
    the replica is not fresh: nothing is asked of a lost store    ->  store-unavailable
    the session's record                                          ->  NeedsSession, unknown-session
    another device, network, country                              ->  barred: the store still judges the generation, which is
                                                                      told first

Which generation may be rotated is not judged here: only the store knows it, and its script decides and writes in one step [R2].
"""

from typing import TYPE_CHECKING

from gateway.enforce.fingerprint import compare, is_another_browser, is_same_device
from gateway.enforce.revoked import first_fact
from gateway.enforce.session import with_entry
from gateway.enforce.shown import Shown
from gateway.enforce.signs import Signs
from gateway.enforce.verdict import Deny, NeedsRefresh, NeedsSession
from gateway.enforce.verified import Verified, judge_time
from gateway.reasons import Reason
from gateway.revocation.entry import Kind
from gateway.sessions.cache import Entry
from gateway.sessions.model import COOKIE, Record
from gateway.sessions.rotation import Presented

if TYPE_CHECKING:
    from gateway.enforce.known import Known


def judge_refresh(
    refresh: Verified, known: "Known", now: float, boot: float, shown: Shown, address: str
) -> Deny | NeedsSession | NeedsRefresh:
    """Judge a genuine refresh token, shown from `address` by a client that shows itself as `shown`."""
    view = known.replica
    fact = first_fact(refresh, view, 0.0)
    if fact is not None and fact[1] is Kind.KEY:
        return Deny(fact[0], "", refresh, fact[1], fact[2])
    if (out_of_time := judge_time(refresh, known.refresh_issuers[refresh.issuer], now)) is not None:
        return Deny(out_of_time, "", refresh)
    if fact is not None:
        return Deny(fact[0], "", refresh, fact[1], fact[2])
    if refresh.issued_at < view.complete_since:
        return Deny(Reason.UNKNOWN_SESSION, "revocations of the time before this token may have been lost", refresh)
    if not view.is_fresh(boot, known.max_staleness_s):  # a store that is not the one we knew must not say who is signed in
        return Deny(Reason.STORE_UNAVAILABLE, "", refresh)
    found = with_entry(refresh, known, boot)
    if not isinstance(found, Verified):
        return found
    fact = first_fact(found, view, 0.0)  # now also a block: it is under the user's name, which only the record knows
    if fact is not None:
        return Deny(fact[0], "", found, fact[1], fact[2])
    assert found.entry is not None
    return NeedsRefresh(found, known.fingerprint.judge(found, found.entry, shown, address, now, is_refresh=True))


def presented_by(verdict: NeedsRefresh, signs: Signs, *, delivery: str = "") -> Presented:
    """The refresh token as the rules of rotation see it. `delivery`: the only kind of session that may be rotated; empty: any."""
    refresh = verdict.token
    assert refresh.own is not None and refresh.entry is not None
    mismatches = compare(refresh.entry.record, signs)
    return Presented(
        generation=refresh.own.generation,
        version=refresh.version or 0,
        network=signs.network,
        delivery=delivery,
        is_same_device=is_same_device(mismatches),
        is_recognised=is_another_browser(mismatches, signs),
        may_rotate=verdict.barred is None,
        device="" if signs.device is None else signs.device.text,
    )


def is_renewed_unseen(entry: Entry) -> bool:
    """Whether the session is one whose refresh nobody has to see: the others call `/auth/refresh` themselves [R6]."""
    return isinstance(entry.record, Record) and entry.record.delivery == COOKIE
