"""The decision as a table of situations: who passes, who does not, and which reason is told."""

from math import inf

import pytest
from deciding import (
    BOOT,
    IDP,
    MAX_STALENESS_S,
    OTHER_IDP,
    REQUIRED,
    STALE_LIMIT_S,
    World,
    live_view,
    route,
    trusting,
)
from issuing import NOW, OMITTED, Provider, ec_signer, key_set, rsa_signer

from gateway.enforce.verdict import Allow, Deny, NeedsClaim
from gateway.reasons import Reason
from gateway.revocation.entry import Kind, everybody_key
from gateway.revocation.state import Event
from gateway.revocation.view import View
from gateway.routes.route import Access, OnOutage, Route
from gateway.tokens.jwk import parse_key_set

PUBLIC, OPTIONAL = route(Access.PUBLIC), route(Access.OPTIONAL)
STAFF = route(groups=frozenset(("staff", "boss")))
ONCE = route(is_once=True)
DENY, STALE, ALLOW = route(), route(on_outage=OnOutage.STALE), route(on_outage=OnOutage.ALLOW)


@pytest.fixture
def world() -> World:
    return World()


# Who is asked for a token.


@pytest.mark.parametrize(
    ("authorization", "public", "optional", "required"),
    [
        (None, "allow", "allow", "no-token"),
        ("Basic dXNlcjpwYXNz", "allow", "allow", "no-token"),
        ("Bearer", "allow", "malformed-token", "malformed-token"),
        ("Bearer a b", "allow", "malformed-token", "malformed-token"),
        ("Bearer nonsense", "allow", "malformed-token", "malformed-token"),
    ],
)
def test_access_says_who_needs_a_token(
    world: World, authorization: str | None, public: str, optional: str, required: str
) -> None:
    asked = [world.ask(authorization=authorization, on=on) for on in (PUBLIC, OPTIONAL, REQUIRED)]
    assert asked == [public, optional, required]


def test_a_good_token_passes_everywhere_and_has_a_name_where_it_was_judged(world: World) -> None:
    token = world.token(sub="alice")
    assert world.allowed(token).user == "alice"
    assert world.allowed(token, on=OPTIONAL).user == "alice"
    assert world.verdict(token, on=PUBLIC) == Allow()


def test_a_bad_token_is_refused_on_an_optional_route_and_not_taken_for_none(world: World) -> None:
    assert world.ask(world.token(exp=NOW - 3600, iat=NOW - 3900), on=OPTIONAL) == "expired-token"


def test_a_refusal_of_a_genuine_token_says_whose_it_is_and_of_another_what_it_claims(world: World) -> None:
    world.revoke(Kind.SESSION, "session-1")
    verdict = world.verdict(world.token(sub="alice"))
    assert isinstance(verdict, Deny)
    assert verdict.token is not None
    assert (verdict.token.user, verdict.kind, verdict.revoked_at) == ("alice", Kind.SESSION, NOW)
    forged = world.verdict(world.token(header={"kid": "stranger"}))
    assert isinstance(forged, Deny)
    assert (forged.reason, forged.token, forged.issuer, forged.key_id) == (Reason.UNKNOWN_KEY, None, IDP, "stranger")


def test_a_refusal_for_an_old_version_says_which_one_is_expected() -> None:
    world = World({IDP: trusting(IDP, rsa_signer(), version_claim="ver")})
    world.revoke(Kind.VERSION, "alice", value=2)
    verdict = world.verdict(world.token(ver=1))
    assert isinstance(verdict, Deny)
    assert verdict.token is not None
    assert (verdict.reason, verdict.kind, verdict.token.version, verdict.revoked_at) == (Reason.OLD_VERSION, Kind.VERSION, 1, 2)


# Issuers, users and groups.


def two_issuers(**settings: object) -> World:
    ours = {name: trusting(name, signer, **settings) for name, signer in ((IDP, rsa_signer()), (OTHER_IDP, ec_signer()))}
    return World(ours)


OTHER = Provider(OTHER_IDP, signer=ec_signer())


def test_a_route_may_accept_some_issuers_only() -> None:
    world = two_issuers()
    only = route(issuers=frozenset((OTHER_IDP,)))
    assert world.ask(OTHER.token(), on=only) == "allow"
    assert world.ask(world.token(), on=only) == "wrong-issuer"
    assert world.ask(world.token(), on=REQUIRED) == "allow"


def test_T1_a_user_is_one_of_an_issuer_and_its_namesake_is_another() -> None:
    world = two_issuers()
    world.revoke(Kind.USER, "alice", OTHER_IDP)
    assert world.ask(OTHER.token(sub="alice")) == "old-version"
    assert world.ask(world.token(sub="alice")) == "allow"
    world.revoke(Kind.BLOCK, "alice", IDP)
    assert world.ask(world.token(sub="alice", iat=NOW + 1, exp=NOW + 300)) == "blocked-user"
    assert world.ask(OTHER.token(sub="alice", iat=NOW + 1, exp=NOW + 300)) == "allow"


def test_T1_a_revocation_for_every_issuer_reaches_every_namesake() -> None:
    world = two_issuers()
    world.revoke(Kind.USER, "alice", "")
    assert world.ask(OTHER.token(sub="alice")) == world.ask(world.token(sub="alice")) == "old-version"
    assert world.ask(world.token(sub="bob")) == "allow"


def test_T1_a_prefix_keeps_namesakes_apart_under_the_name_that_the_backend_sees() -> None:
    world = World({IDP: trusting(IDP, rsa_signer(), user_prefix="shop|"), OTHER_IDP: trusting(OTHER_IDP, ec_signer())})
    assert world.allowed(world.token(sub="alice")).user == "shop|alice"
    world.revoke(Kind.USER, "alice", "")
    assert world.ask(world.token(sub="alice")) == "allow"
    assert world.ask(OTHER.token(sub="alice")) == "old-version"
    world.revoke(Kind.USER, "shop|alice", "")
    assert world.ask(world.token(sub="alice")) == "old-version"


@pytest.mark.parametrize(
    ("groups", "verdict"),
    [(["staff"], "allow"), (["boss", "x"], "allow"), (["Staff"], "forbidden"), (["staffing"], "forbidden"), ([], "forbidden")],
)
def test_a_route_with_groups_asks_for_one_of_them(world: World, groups: list[str], verdict: str) -> None:
    assert world.ask(world.token(groups=groups), on=STAFF) == verdict


def test_J62_one_token_on_two_routes_is_judged_for_each(world: World) -> None:
    token = world.token(groups=["guests"])
    assert [world.ask(token, on=on) for on in (REQUIRED, STAFF, REQUIRED, STAFF)] == ["allow", "forbidden"] * 2


# Time, and what arrives from the log.


@pytest.mark.parametrize(
    ("revoked_at", "skew", "issued_at", "verdict"),
    [
        (NOW, 0, NOW - 1, "old-version"),
        (NOW, 0, NOW, "old-version"),
        (NOW, 0, NOW + 1, "allow"),
        (NOW, 10, NOW + 9, "old-version"),
        (NOW, 10, NOW + 10, "old-version"),
        (NOW, 10, NOW + 11, "allow"),
        (NOW, 0, NOW + 0.5, "allow"),
        (NOW, 0.5, NOW + 0.5, "old-version"),
    ],
)
def test_T2_a_not_before_refuses_its_own_second_and_the_issuers_skew(
    revoked_at: int, skew: float, issued_at: float, verdict: str
) -> None:
    world = World({IDP: trusting(IDP, rsa_signer(), skew=skew)})
    world.revoke(Kind.USER, "alice", value=revoked_at)
    assert world.ask(world.token(iat=issued_at, exp=NOW + 300)) == verdict


def test_T2_a_token_issued_later_passes_a_not_before_and_no_other_fact(world: World) -> None:
    later = world.token(iat=NOW + 1, exp=NOW + 300, jti="one")
    world.revoke(Kind.USER, "alice")
    assert world.ask(later) == "allow"
    for kind, name, reason in [
        (Kind.SESSION, "session-1", "revoked-session"),
        (Kind.TOKEN, "one", "revoked-token"),
        (Kind.KEY, "key-1", "retired-key"),
        (Kind.BLOCK, "alice", "blocked-user"),
    ]:
        entry = world.revoke(kind, name)
        assert world.ask(later) == reason
        world.lift(entry)
        assert world.ask(later) == "allow"


def test_a_version_refuses_the_older_and_says_nothing_of_tokens_without_one() -> None:
    world = World({IDP: trusting(IDP, rsa_signer(), version_claim="ver"), OTHER_IDP: trusting(OTHER_IDP, ec_signer())})
    world.revoke(Kind.VERSION, "alice", "", value=2)
    assert [world.ask(world.token(ver=version)) for version in (0, 1, 2, 3)] == ["old-version", "old-version", "allow", "allow"]
    assert world.ask(world.token(sub="bob", ver=1)) == "allow"
    assert world.ask(OTHER.token(ver=1)) == "allow"


def test_a_key_is_retired_by_name_or_by_name_and_thumbprint(world: World) -> None:
    token = world.token()
    thumbprint = world.allowed(token).thumbprint
    other_key = world.revoke(Kind.KEY, "key-1", thumbprint="another")
    assert world.ask(token) == "allow"
    exact = world.revoke(Kind.KEY, "key-1", thumbprint=thumbprint)
    assert world.ask(token) == "retired-key"
    world.lift(exact)
    assert world.ask(token) == "allow"
    world.revoke(Kind.KEY, "key-1", "")
    assert world.ask(token) == "retired-key"
    assert other_key.key != exact.key


def test_a_key_is_retired_for_its_issuer_only() -> None:
    world = two_issuers()
    world.revoke(Kind.KEY, "key-1", OTHER_IDP)
    assert world.ask(OTHER.token()) == "retired-key"
    assert world.ask(world.token()) == "allow"


def test_L9_a_not_before_for_everybody_of_an_issuer_refuses_everybody_of_it() -> None:
    world = two_issuers()
    world.apply(Kind.USER, everybody_key(IDP), NOW)
    assert [world.ask(world.token(sub=user)) for user in ("alice", "bob")] == ["old-version"] * 2
    assert world.ask(OTHER.token()) == "allow"
    assert world.ask(world.token(iat=NOW + 1, exp=NOW + 300)) == "allow"
    world.apply(Kind.USER, everybody_key(""), NOW)
    assert world.ask(OTHER.token()) == "old-version"


def test_J63_names_that_only_concatenate_to_the_same_are_different_facts(world: World) -> None:
    world.revoke(Kind.SESSION, "ab", IDP + "x")
    world.revoke(Kind.SESSION, "xab", IDP)
    assert world.ask(world.token(sid="ab")) == "allow"
    assert world.ask(world.token(sid="xab")) == "revoked-session"


def test_a_session_revocation_says_nothing_of_a_user_or_token_of_that_name(world: World) -> None:
    world.revoke(Kind.SESSION, "same")
    assert world.ask(world.token(sub="same", jti="same", sid="other")) == "allow"
    assert world.ask(world.token(sid="same")) == "revoked-session"
    assert world.ask(world.token(sid=OMITTED, jti=OMITTED)) == "allow"


def test_what_was_issued_before_the_log_is_complete_is_an_unknown_session(world: World) -> None:
    world.view.adopt("epoch", NOW)
    assert world.ask(world.token(iat=NOW - 1)) == "unknown-session"
    assert world.ask(world.token(iat=NOW)) == "allow"


def test_a_token_that_passed_is_an_unknown_session_when_the_log_turns_out_incomplete(world: World) -> None:
    token = world.token(iat=NOW - 10)
    assert world.ask(token) == "allow"
    world.view.adopt("another epoch", NOW)
    assert world.ask(token) == "unknown-session"


# Which reason is told when several hold: product.md's order.

RETIRED, EXPIRED = "retired-key", "expired-token"
LADDER = [
    RETIRED,
    EXPIRED,
    "revoked-token",
    "old-version",
    "revoked-session",
    "blocked-user",
    "unknown-session",
    "forbidden",
    "store-unavailable",
    "claim",
]


@pytest.mark.parametrize("first", range(len(LADDER)), ids=LADDER)
def test_of_several_reasons_the_first_of_the_order_is_told(first: int) -> None:
    """Everything from `first` on holds, nothing before it."""
    world = World()
    holds = set(LADDER[first:])
    times = {"iat": NOW - 900, "exp": NOW - 600} if EXPIRED in holds else {"iat": NOW - 10, "exp": NOW + 290}
    token = world.token(jti="one", groups=[] if "forbidden" in holds else ["staff"], **times)
    for reason, kind, name in [
        (RETIRED, Kind.KEY, "key-1"),
        ("revoked-token", Kind.TOKEN, "one"),
        ("old-version", Kind.USER, "alice"),
        ("revoked-session", Kind.SESSION, "session-1"),
        ("blocked-user", Kind.BLOCK, "alice"),
    ]:
        if reason in holds:
            world.revoke(kind, name)
    if "unknown-session" in holds:
        world.view.adopt("epoch", NOW)
    if "store-unavailable" in holds:
        world.boot = BOOT + 3600
    asked = route(groups=frozenset(("staff",)), is_once=True)
    assert world.ask(token, on=asked) == LADDER[first]
    assert world.ask(token, on=asked) == LADDER[first], "a second request is told the same"


def test_a_wrong_issuer_or_audience_is_told_before_a_retired_key(world: World) -> None:
    world.revoke(Kind.KEY, "key-1")
    assert world.ask(world.token(aud="other")) == "wrong-audience"
    assert world.ask(world.token(), on=route(issuers=frozenset(("https://else.example",)))) == "wrong-issuer"
    assert world.ask(world.token(iss="https://else.example")) == "wrong-issuer"


# One-time tokens.


def test_T5_a_one_time_route_asks_for_the_claim_and_passes_when_it_is_made(world: World) -> None:
    token = world.token()
    verdict = world.verdict(token, on=ONCE)
    assert isinstance(verdict, NeedsClaim)
    assert verdict.token.token_id is not None
    assert world.ask(token, on=ONCE) == "claim", "asking claims nothing"
    assert world.ask(token, on=ONCE, is_claimed=True) == "allow"
    assert world.ask(token, on=REQUIRED) == "allow"


def test_T5_a_token_without_a_name_cannot_serve_once(world: World) -> None:
    token = world.token(jti=OMITTED)
    assert world.ask(token, on=ONCE) == "malformed-token"
    assert world.ask(token, on=REQUIRED) == "allow"


@pytest.mark.parametrize("situation", ["expired", "revoked", "forbidden", "stale", "unknown"])
def test_T5_a_token_that_does_not_pass_is_not_claimed(world: World, situation: str) -> None:
    token = world.token(groups=[], iat=NOW - 10)
    if situation == "expired":
        world.now = NOW + 3600
    elif situation == "revoked":
        world.revoke(Kind.SESSION, "session-1")
    elif situation == "stale":
        world.boot += 3600
    elif situation == "unknown":
        world.view.adopt("epoch", NOW)
    once = route(is_once=True, groups=frozenset(("staff",)) if situation == "forbidden" else frozenset())
    assert isinstance(world.verdict(token, on=once), Deny)


def test_T5_L5_a_token_whose_use_a_lost_store_may_have_forgotten_serves_nothing_once(world: World) -> None:
    token = world.token(iat=NOW - 10)
    world.view.adopt("epoch", 0.0, uses_since=NOW - 10)
    assert world.ask(token, on=ONCE) == "claim"
    world.view.adopt("epoch", 0.0, uses_since=NOW - 9)
    assert world.ask(token, on=ONCE) == "unknown-session"
    assert world.ask(token, on=REQUIRED) == "allow"


def test_T5_W4_a_claim_does_not_outlive_what_arrives_while_it_is_made(world: World) -> None:
    token = world.token()
    assert world.ask(token, on=ONCE) == "claim"
    world.revoke(Kind.USER, "alice")
    assert world.ask(token, on=ONCE, is_claimed=True) == "old-version"
    assert World(view=View()).ask(token, on=ONCE, is_claimed=True) == "store-unavailable"


# Freshness.


@pytest.mark.parametrize(
    ("age_s", "deny", "stale", "allow"),
    [
        (-1.0, "allow", "allow", "allow"),
        (0.0, "allow", "allow", "allow"),
        (MAX_STALENESS_S, "allow", "allow", "allow"),
        (MAX_STALENESS_S + 0.001, "store-unavailable", "stale", "stale"),
        (STALE_LIMIT_S, "store-unavailable", "stale", "stale"),
        (STALE_LIMIT_S + 0.001, "store-unavailable", "store-unavailable", "stale"),
        (1e9, "store-unavailable", "store-unavailable", "stale"),
    ],
)
def test_L3_W4_B5_the_age_of_the_proof_is_computed_at_each_request(
    world: World, age_s: float, deny: str, stale: str, allow: str
) -> None:
    token = world.token()
    assert world.ask(token) == "allow"
    world.boot = BOOT + age_s
    assert [world.ask(token, on=on) for on in (DENY, STALE, ALLOW)] == [deny, stale, allow]
    world.view.proven_at = world.boot
    assert [world.ask(token, on=on) for on in (DENY, STALE, ALLOW)] == ["allow"] * 3


def at_state(*events: Event) -> View:
    view = View()
    for event in events:
        view.meet(event)
    view.proven_at = BOOT
    return view


@pytest.mark.parametrize(
    ("events", "deny", "stale", "allow"),
    [
        ((), "store-unavailable", "store-unavailable", "stale"),
        ((Event.DECLARED,), "store-unavailable", "store-unavailable", "stale"),
        ((Event.BROKEN,), "store-unavailable", "store-unavailable", "stale"),
        ((Event.DECLARED, Event.BROKEN), "store-unavailable", "store-unavailable", "stale"),
        ((Event.DECLARED, Event.GRANTED), "allow", "allow", "allow"),
        ((Event.DECLARED, Event.GRANTED, Event.BROKEN), "store-unavailable", "stale", "stale"),
        ((Event.DECLARED, Event.GRANTED, Event.BELOW_FLOOR), "store-unavailable", "stale", "stale"),
        ((Event.DECLARED, Event.GRANTED, Event.BROKEN, Event.RETURNED), "store-unavailable", "stale", "stale"),
    ],
)
def test_L2_B5_only_a_live_replica_is_read_as_not_revoked(events: tuple[Event, ...], deny: str, stale: str, allow: str) -> None:
    world = World(view=at_state(*events))
    token = world.token()
    assert [world.ask(token, on=on) for on in (DENY, STALE, ALLOW)] == [deny, stale, allow]


@pytest.mark.parametrize("on", [DENY, STALE, ALLOW])
@pytest.mark.parametrize("is_lost", [False, True])
def test_a_known_revocation_is_told_also_by_a_replica_that_is_stale_or_lost(world: World, on: Route, is_lost: bool) -> None:
    world.revoke(Kind.USER, "alice")
    if is_lost:
        world.view.meet(Event.BROKEN)
    world.boot = BOOT + 60
    assert world.ask(world.token(), on=on) == "old-version"


def test_an_outage_is_nothing_to_routes_that_ask_nobody(world: World) -> None:
    world.boot = BOOT + 1e6
    assert world.ask(on=PUBLIC) == "allow"
    assert world.ask(on=OPTIONAL) == "allow"
    assert world.ask(on=REQUIRED) == "no-token"
    assert world.ask(world.token(), on=OPTIONAL) == "store-unavailable"


def test_a_replica_that_was_never_proven_is_not_fresh_whatever_it_says(world: World) -> None:
    world.view.proven_at = -inf
    assert world.ask(world.token()) == "store-unavailable"
    assert world.ask(world.token(), on=STALE) == "store-unavailable"


# What is remembered of a token outlives nothing that it rests on.


def test_a_token_is_verified_once_and_judged_each_time(world: World) -> None:
    token = world.token()
    first = world.verdict(token)
    assert world.verdict(token) is first, "the second request finds what the first has made"
    assert len(world.known.tokens) == 1


def test_J62_a_remembered_token_does_not_outlive_its_expiry(world: World) -> None:
    token = world.token()
    assert world.ask(token) == "allow"
    leeway = world.issuers[IDP].leeway
    world.now = NOW + 300 + leeway
    assert world.ask(token) == "allow"
    world.now = NOW + 300 + leeway + 0.001
    assert world.ask(token) == "expired-token"


@pytest.mark.parametrize(
    ("kind", "name", "reason"),
    [
        (Kind.TOKEN, "one", "revoked-token"),
        (Kind.SESSION, "session-1", "revoked-session"),
        (Kind.USER, "alice", "old-version"),
        (Kind.BLOCK, "alice", "blocked-user"),
        (Kind.KEY, "key-1", "retired-key"),
    ],
)
def test_J62_a_remembered_token_does_not_outlive_a_revocation_and_a_lift_brings_it_back(
    world: World, kind: Kind, name: str, reason: str
) -> None:
    token = world.token(jti="one")
    assert world.ask(token) == "allow"
    entry = world.revoke(kind, name)
    assert [world.ask(token), world.ask(token)] == [reason] * 2
    world.lift(entry)
    assert [world.ask(token), world.ask(token)] == ["allow"] * 2
    assert len(world.known.tokens) == 1


def test_a_revocation_of_somebody_else_changes_nothing(world: World) -> None:
    token = world.token()
    assert world.ask(token) == "allow"
    for number in range(50):
        world.revoke(Kind.USER, f"user-{number}")
        assert world.ask(token) == "allow"


def test_J58_a_remembered_token_does_not_outlive_its_key(world: World) -> None:
    token = world.token()
    assert world.ask(token) == "allow"
    successor = rsa_signer("key-2")
    world.issuers[IDP].adopt(parse_key_set(key_set(successor), ["RS256"]))
    world.known.tokens.clear()
    assert world.ask(token) == "unknown-key"
    assert world.ask(Provider(IDP, signer=successor).token()) == "allow"


def test_a_refused_token_is_not_remembered(world: World) -> None:
    for token in (world.token(aud="other"), world.token(iss="https://else.example"), "a.b.c", world.token(header={"kid": "x"})):
        assert world.ask(token) != "allow"
    assert len(world.known.tokens) == 0


def test_the_facts_of_a_token_hold_for_every_spelling_of_its_field(world: World) -> None:
    token = world.token(jti="one")
    for scheme in ("Bearer", "bearer", "BEARER"):
        assert world.ask(authorization=f"{scheme} {token}") == "allow"
    world.revoke(Kind.TOKEN, "one")
    for scheme in ("Bearer", "bearer", "BEARER", "bEARER"):
        assert world.ask(authorization=f"{scheme} {token}") == "revoked-token"


def test_two_workers_with_the_same_facts_decide_the_same() -> None:
    one, other = World(), World(view=live_view())
    token = one.token()
    for world in (one, other):
        world.revoke(Kind.USER, "alice")
    assert one.ask(token) == other.ask(token) == "old-version"
