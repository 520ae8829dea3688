"""The decision about those who are signed in at this gateway: cookies, their refresh, their session, who sent the request."""

from dataclasses import replace

import pytest
from deciding import IDP, OURS, REQUIRED, STALE_LIMIT_S, route
from signed_in import ACCESS_S, ANDROID, FIREFOX, HOME, REFRESH_S, OwnWorld

from gateway.enforce.decide import Done
from gateway.enforce.verdict import Allow, Deny, NeedsRefresh, NeedsSession
from gateway.revocation.entry import Kind
from gateway.revocation.state import Event
from gateway.routes.route import Access, OnOutage
from gateway.sessions.model import TOKEN

OPTIONAL, PUBLIC = route(Access.OPTIONAL), route(Access.PUBLIC)


@pytest.fixture
def world() -> OwnWorld:
    return OwnWorld()


# Cookies.


def test_a_cookie_lets_in_and_says_who_by_the_accounts_name(world: OwnWorld) -> None:
    verdict = world.decides(world.sign_in())
    assert isinstance(verdict, Allow) and verdict.token is not None
    assert (verdict.token.user, verdict.token.groups) == ("alice@example.com", ("staff",))
    assert b"X-User: alice@example.com\r\nX-User-Groups: staff\r\n" in verdict.token.identity


def test_a_bearer_token_wins_and_the_cookies_beside_it_are_no_fallback(world: OwnWorld) -> None:
    alice = world.sign_in()
    assert world.asks(alice, bearer=world.token(sub="bob").encode()) == "allow"
    assert world.asks(alice, bearer=b"nonsense") == "malformed-token"
    expired = world.token(exp=int(world.now) - 3600, iat=int(world.now) - 3900)
    assert world.asks(alice, bearer=expired.encode()) == "expired-token"


def test_another_scheme_is_the_applications_and_the_cookie_counts(world: OwnWorld) -> None:
    alice = world.sign_in()
    assert world.asks(alice) == "allow"
    assert world.asks(None) == "no-token"


@pytest.mark.parametrize("on", [REQUIRED, OPTIONAL])
def test_S19_a_cookie_of_ours_that_comes_twice_is_refused(world: OwnWorld, on: object) -> None:
    from gateway.enforce.decide import decide
    from gateway.wire.head import RequestHead

    head = RequestHead(b"GET", b"/", b"", 1, [])
    head.access_cookie, head.has_doubled_cookie = world.sign_in().minted.access, True
    verdict = decide(head, HOME, on, world.known, world.now, world.boot)  # type: ignore[arg-type]
    assert isinstance(verdict, Deny) and verdict.reason.value == "malformed-token"


def test_a_cookie_of_ours_holds_no_other_issuers_token_and_no_refresh_token(world: OwnWorld) -> None:
    alice = world.sign_in()
    assert world.asks(alice, access=world.token().encode()) == "wrong-issuer"
    assert world.asks(alice, access=alice.minted.refresh) == "malformed-token"
    assert world.asks(alice, access=None, refresh=alice.minted.access) == "malformed-token"


def test_a_refresh_token_is_no_bearer_token(world: OwnWorld) -> None:
    assert world.asks(None, bearer=world.sign_in().minted.refresh) == "malformed-token"


def test_a_public_route_asks_nobody(world: OwnWorld) -> None:
    alice = world.sign_in()
    world.end(alice)
    assert world.asks(alice, on=PUBLIC) == "allow"


# Refresh.


def test_an_expired_or_missing_access_cookie_beside_a_good_refresh_cookie_is_renewed(world: OwnWorld) -> None:
    alice = world.sign_in()
    assert world.asks(alice, access=None) == "needs-refresh"
    world.now += ACCESS_S + 1
    assert world.asks(alice) == "needs-refresh"
    assert world.asks(alice, on=OPTIONAL) == "needs-refresh"


def test_exp_of_our_own_tokens_has_no_leeway(world: OwnWorld) -> None:
    alice = world.sign_in()
    world.now += ACCESS_S
    assert world.asks(alice, refresh=None) == "allow"
    world.now += 0.01
    assert world.asks(alice, refresh=None) == "expired-token"


def test_T6_iat_has_leeway_because_another_clock_made_it(world: OwnWorld) -> None:
    alice = world.sign_in()
    world.now -= 1.9
    assert world.asks(alice) == "allow"
    world.now -= 1.1
    assert world.asks(alice) == "not-yet-valid"


def test_T3_nothing_but_age_is_healed_by_a_refresh_cookie(world: OwnWorld) -> None:
    alice, bob = world.sign_in(), world.sign_in()
    assert world.asks(alice, access=alice.minted.access[:-4] + b"AAAA") == "bad-signature"
    assert world.asks(alice, access=b"nonsense") == "malformed-token"
    world.apply(Kind.TOKEN, _token_key(world, alice.minted.access), int(world.now))
    assert world.asks(alice) == "revoked-token"
    world.end(bob)
    assert world.asks(bob) == "revoked-session"
    assert world.asks(bob, access=None) == "revoked-session"


def test_S08_cookies_of_two_sessions_are_refused(world: OwnWorld) -> None:
    alice, other = world.sign_in(), world.sign_in()
    world.now += ACCESS_S + 1
    assert world.asks(alice, refresh=other.minted.refresh) == "malformed-token"


def test_R6_a_session_whose_client_holds_its_token_is_never_renewed_unseen(world: OwnWorld) -> None:
    alice = world.sign_in(delivery=TOKEN)
    assert world.asks(alice, access=None) == "no-token"
    assert world.asks(alice, access=None, on=OPTIONAL) == "allow"
    world.now += ACCESS_S + 1
    assert world.asks(alice) == "expired-token"


def test_an_expired_refresh_token_is_expired(world: OwnWorld) -> None:
    alice = world.sign_in()
    world.now += REFRESH_S + 1
    assert world.asks(alice, access=None) == "expired-token"


@pytest.mark.parametrize("what", ["version", "block", "session", "token"])
def test_R3_what_refuses_the_refresh_token_is_found_before_the_store_is_asked_to_rotate(world: OwnWorld, what: str) -> None:
    alice = world.sign_in()
    match what:
        case "version":
            world.raise_version(alice, 2)
        case "block":
            world.revoke(Kind.BLOCK, "alice@example.com", "")
        case "session":
            world.end(alice)
        case "token":
            world.apply(Kind.TOKEN, _token_key(world, alice.minted.refresh, is_refresh=True), int(world.now))
    expected = {"version": "old-version", "block": "blocked-user", "session": "revoked-session", "token": "revoked-token"}
    assert world.asks(alice, access=None) == expected[what]


def test_R3_C1_who_sent_it_is_asked_before_the_rotation(world: OwnWorld) -> None:
    alice = world.sign_in()
    assert world.asks(alice, "POST", access=None, Sec_Fetch_Site="cross-site") == "csrf"
    assert world.asks(alice, "POST", access=None, Sec_Fetch_Site="same-origin") == "needs-refresh"


def test_after_a_refresh_the_new_access_token_is_judged_and_not_taken_for_shown(world: OwnWorld) -> None:
    alice = world.rotate(world.sign_in())
    verdict = world.decides(alice, access=None)
    assert isinstance(verdict, NeedsRefresh)
    from gateway.enforce.session import prepare
    from gateway.enforce.verified import Verified
    from gateway.enforce.verify import authenticate

    access = authenticate(alice.minted.access, world.known.issuers)
    assert isinstance(access, Verified)
    access.is_from_cookie = True
    access.entry = verdict.token.entry
    prepare(alice.minted.access, access, world.known)
    assert world.asks(alice, access=None, done=Done(renewed=access)) == "allow"
    assert isinstance(world.decides(alice), NeedsSession), "[R2] the browser's first use of it is still told to the store"


# The session's record.


def test_S1_a_session_that_this_worker_does_not_know_is_fetched_first(world: OwnWorld) -> None:
    alice = world.sign_in(is_known=False)
    assert world.asks(alice) == "needs-session"
    assert world.asks(alice, access=None) == "needs-session"
    world.fetch(alice.record)
    assert world.asks(alice) == "allow"


def test_S1_a_session_that_the_store_does_not_know_is_unknown(world: OwnWorld) -> None:
    alice = world.sign_in(is_known=False)
    world.fetch(None, alice.record.sid)
    assert world.asks(alice) == "unknown-session"
    assert world.asks(alice, access=None) == "unknown-session"


def test_S1_a_record_that_the_log_called_changed_is_fetched_again(world: OwnWorld) -> None:
    alice = world.sign_in()
    assert world.asks(alice) == "allow"
    world.known.sessions.evict(alice.record.sid)
    assert world.asks(alice) == "needs-session"
    world.fetch(replace(alice.record, groups=("boss",), revision=2))
    verdict = world.decides(alice)
    assert isinstance(verdict, Allow) and verdict.token is not None and verdict.token.groups == ("boss",)
    assert b"X-User-Groups: boss" in verdict.token.identity


def test_groups_are_those_of_the_record_and_not_of_the_token(world: OwnWorld) -> None:
    alice = world.sign_in()
    on = route(groups=frozenset(("boss",)))
    assert world.asks(alice, on=on) == "forbidden"
    world.known.sessions.evict(alice.record.sid)
    world.fetch(replace(alice.record, groups=("boss",), revision=2))
    assert world.asks(alice, on=on) == "allow"


def test_R2_a_generation_that_was_never_seen_is_told_to_the_store_at_once(world: OwnWorld) -> None:
    alice = world.rotate(world.sign_in())
    assert world.asks(alice) == "needs-session"
    world.fetch(replace(alice.record, used=alice.record.generation, revision=3))
    assert world.asks(alice) == "allow"


def test_an_older_generation_is_good_until_it_expires(world: OwnWorld) -> None:
    alice = world.sign_in()
    world.now += 10
    world.rotate(alice)
    assert world.asks(alice) == "allow"


# Facts and their order.


def test_T2_an_own_token_is_judged_by_its_version_alone_and_not_by_the_second(world: OwnWorld) -> None:
    alice = world.sign_in(version=3)
    world.revoke(Kind.USER, "alice@example.com", OURS)
    world.revoke(Kind.USER, "alice@example.com", "")
    assert world.asks(alice) == "allow"
    world.raise_version(alice, 3)
    assert world.asks(alice) == "allow"
    world.raise_version(alice, 4)
    assert world.asks(alice) == "old-version"


def test_T1_a_version_belongs_to_the_account_and_not_to_its_name(world: OwnWorld) -> None:
    erased, again = world.sign_in(), world.sign_in()
    world.raise_version(erased, 9)
    assert world.asks(erased) == "old-version"
    assert world.asks(again) == "allow"


def test_another_issuers_session_of_the_same_name_is_not_ours(world: OwnWorld) -> None:
    alice = world.sign_in()
    world.revoke(Kind.SESSION, alice.record.sid, IDP)
    assert world.asks(alice) == "allow"
    assert world.asks(None, bearer=world.token(sid=alice.record.sid).encode()) == "revoked-session"


@pytest.mark.parametrize("state", [Event.BROKEN, None])
def test_L3_when_the_log_cannot_be_checked_our_sessions_are_unavailable_and_nothing_is_asked(
    world: OwnWorld, state: Event | None
) -> None:
    known, unknown = world.sign_in(), world.sign_in(is_known=False)
    assert world.asks(known) == "allow"
    world.boot += 3
    if state is not None:
        world.view.meet(state)
    assert world.asks(known) == "store-unavailable"
    assert world.asks(unknown) == "store-unavailable"


def test_B5_what_a_route_goes_on_with_is_what_it_knows(world: OwnWorld) -> None:
    known, unknown = world.sign_in(), world.sign_in(is_known=False)
    stale, allow = route(on_outage=OnOutage.STALE), route(on_outage=OnOutage.ALLOW)
    assert world.asks(known) == "allow"
    world.boot += 3
    assert world.asks(known, on=stale) == "stale"
    assert world.asks(unknown, on=stale) == "store-unavailable"
    assert world.asks(unknown, on=allow) == "stale"
    world.boot += STALE_LIMIT_S
    assert world.asks(known, on=stale) == "store-unavailable"


def test_L5_a_token_older_than_what_the_log_is_complete_since_is_of_an_unknown_session(world: OwnWorld) -> None:
    alice = world.sign_in()
    world.view.complete_since = world.now + 1
    assert world.asks(alice) == "unknown-session"
    assert world.asks(alice, access=None) == "unknown-session"


def test_a_route_may_leave_our_issuer_out(world: OwnWorld) -> None:
    alice = world.sign_in()
    assert world.asks(alice, on=route(issuers=frozenset((IDP,)))) == "wrong-issuer"
    assert world.asks(alice, on=route(issuers=frozenset((OURS,)))) == "allow"


# Who sent it [C1].


@pytest.mark.parametrize(
    ("method", "fields", "expected"),
    [
        ("GET", {"Sec_Fetch_Site": "cross-site"}, "allow"),
        ("HEAD", {}, "allow"),
        ("OPTIONS", {}, "allow"),
        ("POST", {}, "csrf"),
        ("PUT", {}, "csrf"),
        ("PATCH", {}, "csrf"),
        ("DELETE", {}, "csrf"),
        ("PROPFIND", {}, "csrf"),
        ("POST", {"Sec_Fetch_Site": "same-origin"}, "allow"),
        ("POST", {"Sec_Fetch_Site": "same-site", "Origin": OURS}, "csrf"),
        ("POST", {"Sec_Fetch_Site": "cross-site", "Origin": OURS}, "csrf"),
        ("POST", {"Sec_Fetch_Site": "none"}, "csrf"),
        ("POST", {"Sec_Fetch_Site": ""}, "csrf"),
        ("POST", {"Origin": OURS}, "allow"),
        ("POST", {"Origin": "null"}, "csrf"),
        ("POST", {"Origin": OURS + ".evil.example"}, "csrf"),
        ("POST", {"Origin": OURS.replace("https", "http")}, "csrf"),
        ("POST", {"X_CSRF_Token": "wrong"}, "csrf"),
        ("POST", {"X_CSRF_Token": ""}, "csrf"),
    ],
)
def test_C1_a_cookie_borne_request_that_changes_something_must_come_from_here(
    world: OwnWorld, method: str, fields: dict[str, str], expected: str
) -> None:
    assert world.asks(world.sign_in(), method, **fields) == expected


def test_C1_the_echo_of_this_sessions_value_passes_and_of_anothers_does_not(world: OwnWorld) -> None:
    alice, bob = world.sign_in(), world.sign_in()
    assert world.asks(alice, "POST", X_CSRF_Token=alice.minted.csrf) == "allow"
    assert world.asks(alice, "POST", X_CSRF_Token=bob.minted.csrf) == "csrf"
    assert world.asks(alice, "POST", X_CSRF_Token=alice.minted.csrf, Origin="https://evil.example") == "csrf"
    assert world.asks(alice, "POST", access=None, X_CSRF_Token=alice.minted.csrf) == "needs-refresh"


def test_C1_the_value_is_one_per_session_and_survives_rotation(world: OwnWorld) -> None:
    alice = world.sign_in()
    assert world.rotate(alice).minted.csrf == alice.minted.csrf != world.sign_in().minted.csrf


def test_C1_an_upgrade_is_asked_though_it_is_a_GET(world: OwnWorld) -> None:
    alice = world.sign_in()
    assert world.asks(alice, upgrade=b"websocket", Origin="https://evil.example") == "csrf"
    assert world.asks(alice, upgrade=b"websocket", Origin=OURS) == "allow"


def test_S30_a_bearer_token_is_not_asked(world: OwnWorld) -> None:
    alice = world.sign_in(delivery=TOKEN)
    assert world.asks(None, "POST", bearer=alice.minted.access, Sec_Fetch_Site="cross-site") == "allow"


# Another client [S2].


def test_S2_another_device_is_refused_and_a_page_it_opens_ends_the_session(world: OwnWorld) -> None:
    alice = world.sign_in()
    refused = world.decides(alice, agent=ANDROID)
    assert isinstance(refused, Deny) and (refused.reason.value, refused.ends_session) == ("device-changed", False)
    page = world.decides(alice, agent=ANDROID, Sec_Fetch_Mode="navigate")
    assert isinstance(page, Deny) and (page.reason.value, page.ends_session) == ("device-changed", True)
    assert world.asks(alice) == "allow"


def test_S2_another_network_is_told_and_let_in(world: OwnWorld) -> None:
    alice = world.sign_in()
    assert world.asks(alice, address="198.51.100.9") == "allow"
    (notice,) = world.known.fingerprint.noticed
    assert (notice.signal, notice.action) == ("network", "alert")
    assert world.asks(alice, address="198.51.100.9") == "allow"
    assert len(world.known.fingerprint.noticed) == 1, "once per client, not per request"


def test_S2_an_update_of_the_browser_is_the_same_device(world: OwnWorld) -> None:
    assert world.asks(world.sign_in(), agent=FIREFOX.replace("132", "133")) == "allow"


def test_at_a_refresh_the_generation_is_judged_first_so_a_changed_device_only_bars_it(world: OwnWorld) -> None:
    assert world.asks(world.sign_in(), access=None, agent=ANDROID) == "barred: device-changed"


def test_facts_are_told_before_the_fingerprint(world: OwnWorld) -> None:
    alice = world.sign_in()
    world.end(alice)
    assert world.asks(alice, agent=ANDROID) == "revoked-session"


def _token_key(world: OwnWorld, token: bytes, *, is_refresh: bool = False) -> bytes:
    from gateway.enforce.verified import Verified
    from gateway.enforce.verify import authenticate
    from gateway.revocation.entry import fact_key

    verified = authenticate(token, world.known.refresh_issuers if is_refresh else world.known.issuers)
    assert isinstance(verified, Verified) and verified.token_id is not None
    return fact_key(Kind.TOKEN, OURS, verified.token_id)
