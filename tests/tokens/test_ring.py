"""The ring of our own keys: which states lead where, who signs, who verifies, what is shown to everybody."""

import json

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, SECP384R1, generate_private_key
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import KeySetError
from gateway.tokens import base64url
from gateway.tokens.issue import ACCESS, sign
from gateway.tokens.jwk import parse_key_set, read_key
from gateway.tokens.material import ALGORITHMS, as_jwk, read_private, read_public, write_private, write_public
from gateway.tokens.ring import TRANSITIONS, Change, Event, Ring, SigningKey, State, new_key, new_kid

NOW = 1_800_000_000.0
ALL = sorted(ALGORITHMS)
KEYS = {algorithm: new_key(algorithm, NOW) for algorithm in ALL}

# How a key gets into each state.
WAYS: dict[State, tuple[Event, ...]] = {
    State.NEXT: (),
    State.SIGNING: (Event.PROMOTED,),
    State.CONDEMNED: (Event.PROMOTED, Event.CONDEMNED),
    State.RETIRING: (Event.PROMOTED, Event.SUCCEEDED),
    State.GONE: (Event.PROMOTED, Event.SUCCEEDED, Event.EXPIRED),
}


def key_in(state: State, algorithm: str = "ES256", now: float = NOW) -> SigningKey:
    key = new_key(algorithm, now)
    for event in WAYS[state]:
        key = key.after(event, now)
    assert key.state is state
    return key


def ring_of(*states: State) -> Ring:
    return Ring(1, tuple(key_in(state) for state in states))


@pytest.mark.parametrize("state", list(State))
@pytest.mark.parametrize("event", list(Event))
def test_T4_a_pair_that_is_not_in_the_table_raises_with_both_names(state: State, event: Event) -> None:
    key = key_in(state)
    if event in TRANSITIONS[state]:
        assert key.after(event, NOW).state is TRANSITIONS[state][event]
    else:
        with pytest.raises(ValueError, match=f"{state} cannot be {event}"):
            key.after(event, NOW)


def test_L7_no_way_leads_from_signing_to_gone_in_one_step() -> None:
    assert State.GONE not in TRANSITIONS[State.SIGNING].values()
    with pytest.raises(ValueError, match="signing cannot be retired"):
        key_in(State.SIGNING).after(Event.RETIRED, NOW)


def test_L7_a_signing_key_that_is_retired_signs_until_its_successor_does_and_is_gone_in_that_step() -> None:
    ring = ring_of(State.NEXT, State.SIGNING)
    successor, key = ring.keys
    ring = ring.retire(key.kid, NOW)
    assert ring.signing is not None
    assert ring.signing.kid == key.kid
    assert sign(ring.signing, ACCESS, {})
    ring = ring.promote(successor.kid, NOW)
    assert [(k.kid, k.state) for k in ring.keys] == [(successor.kid, State.SIGNING), (key.kid, State.GONE)]


def test_T4_a_successor_takes_over_in_one_step_and_the_old_key_goes_on_verifying() -> None:
    ring = ring_of(State.SIGNING, State.NEXT)
    old, new = ring.keys
    after = ring.promote(new.kid, NOW + 5)
    assert [(key.kid, key.state, key.since) for key in after.keys] == [
        (old.kid, State.RETIRING, NOW + 5),
        (new.kid, State.SIGNING, NOW + 5),
    ]
    assert after.key_set() == ring.key_set()


def test_T4_a_key_that_was_not_announced_cannot_be_promoted() -> None:
    for state in (State.RETIRING, State.GONE, State.SIGNING, State.CONDEMNED):
        ring = ring_of(state)
        with pytest.raises(ValueError, match="promoted"):
            ring.promote(ring.keys[0].kid, NOW)


def test_the_first_key_of_all_has_nobody_to_succeed() -> None:
    ring = Ring().with_next(new_key("ES256", NOW), NOW)
    assert ring.signing is None
    assert ring.next is not None
    assert ring.promote(ring.next.kid, NOW).signing is not None


def test_a_next_key_that_is_replaced_is_gone_and_a_known_key_is_not_a_new_one() -> None:
    first, second = new_key("ES256", NOW), new_key("ES256", NOW)
    ring = Ring().with_next(first, NOW).with_next(second, NOW)
    assert [key.state for key in ring.keys] == [State.GONE, State.NEXT]
    for stranger in (second, key_in(State.SIGNING)):
        with pytest.raises(ValueError, match="not a new one"):
            ring.with_next(stranger, NOW)


def test_T4_after_a_leak_everything_is_gone_but_the_key_that_still_has_to_sign() -> None:
    ring = ring_of(*State).retire_all(NOW + 1)
    assert [key.state for key in ring.keys] == [State.GONE, State.CONDEMNED, State.CONDEMNED, State.GONE, State.GONE]
    assert ring.retire_all(NOW + 2) == ring, "a second time changes nothing"


def test_retiring_a_key_that_is_gone_changes_nothing_and_an_unknown_one_is_an_error() -> None:
    ring = ring_of(State.GONE)
    assert ring.retire(ring.keys[0].kid, NOW + 9) == ring
    with pytest.raises(KeyError):
        ring.retire("unknown", NOW)


def test_T4_a_retiring_key_is_gone_when_its_last_token_has_expired_and_not_a_moment_earlier() -> None:
    ring = ring_of(State.SIGNING, State.RETIRING)
    assert ring.tidy(NOW + 659.9, 660, 1000) == ring
    assert [key.state for key in ring.tidy(NOW + 660, 660, 1000).keys] == [State.SIGNING, State.GONE]


def test_a_gone_key_is_forgotten_later_and_nothing_else_is() -> None:
    ring = ring_of(*State)
    assert ring.tidy(NOW + 999, 10_000, 1000) == ring
    assert [key.state for key in ring.tidy(NOW + 1000, 10_000, 1000).keys] == list(State)[:-1]


@pytest.mark.parametrize("algorithm", ALL)
def test_T4_a_gone_key_cannot_sign_and_still_verifies_what_it_signed(algorithm: str) -> None:
    key = key_in(State.SIGNING, algorithm)
    signing_input, _, signature = sign(key, ACCESS, {"sub": "alice"}).rpartition(b".")
    ring = Ring(1, (key, new_key(algorithm, NOW)))
    gone = ring.retire(key.kid, NOW).promote(ring.keys[1].kid, NOW).find(key.kid)
    assert gone is not None
    assert gone.private is None
    found = Ring(2, (gone,)).key_set().find(key.kid, algorithm)
    assert found is not None
    assert found.verifies(signing_input, base64url.decode(signature))
    assert not found.verifies(signing_input + b"x", base64url.decode(signature))


def test_what_is_published_is_what_signs_or_did_or_will_and_never_what_is_gone() -> None:
    ring = ring_of(*State)
    shown = {jwk["kid"] for jwk in ring.published()["keys"]}
    assert shown == {key.kid for key in ring.keys if key.state is not State.GONE}


@pytest.mark.parametrize("algorithm", sorted(ALGORITHMS - {"HS256"}))
def test_what_is_published_is_a_key_set_that_we_would_accept_ourselves(algorithm: str) -> None:

    ring = Ring(1, (KEYS[algorithm],))
    keys = parse_key_set(json.dumps(ring.published()).encode(), [algorithm])
    assert keys == ring.key_set()
    assert keys.keys[KEYS[algorithm].kid].thumbprint == KEYS[algorithm].thumbprint


def test_a_secret_is_never_published_nor_shown() -> None:
    key = KEYS["HS256"]
    ring = Ring(1, (key, KEYS["ES256"]))
    assert [jwk["kid"] for jwk in ring.published()["keys"]] == [KEYS["ES256"].kid]
    for shown in (repr(ring), repr(key), repr(ring.key_set()), repr(Change(key.kid, None, key))):
        assert key.jwk["k"] not in shown
        assert repr(key.private) not in shown


@pytest.mark.parametrize("algorithm", ALL)
def test_nothing_that_is_published_is_a_private_member(algorithm: str) -> None:
    (*shown,) = Ring(1, (KEYS[algorithm],)).published()["keys"]
    for jwk in shown:
        assert not {"d", "p", "q", "dp", "dq", "qi", "k"} & set(jwk)


def test_after_a_change_of_algorithm_each_key_verifies_with_its_own() -> None:
    ring = Ring(1, tuple(KEYS.values()))
    assert ring.algorithms == ALGORITHMS
    for algorithm, key in KEYS.items():
        found = ring.key_set().find(key.kid, algorithm)
        assert found is not None
        assert found.algorithm == algorithm


def test_changes_are_told_key_by_key() -> None:
    before = ring_of(State.SIGNING, State.NEXT, State.GONE)
    old, new, gone = before.keys
    after = before.promote(new.kid, NOW).tidy(NOW + 100, 1000, 100)
    told = {change.kid: (change.before, change.after) for change in after.changes_since(before)}
    assert told == {old.kid: (old, after.find(old.kid)), new.kid: (new, after.find(new.kid)), gone.kid: (gone, None)}
    assert after.changes_since(after) == ()


def test_a_kid_is_never_taken_for_an_option_of_a_command() -> None:
    kids = {new_kid() for _ in range(2000)}
    assert len(kids) == 2000
    assert all(len(kid) == 12 and not kid.startswith("-") for kid in kids)


@pytest.mark.parametrize("algorithm", ALL)
def test_material_is_read_back_as_it_was_written(algorithm: str) -> None:
    key = KEYS[algorithm]
    private = read_private(algorithm, write_private(key.private))
    public = read_public(algorithm, write_public(key.verifier.material))
    assert write_private(private) == write_private(key.private)
    assert read_key(as_jwk(public), algorithm).thumbprint == key.thumbprint


@pytest.mark.parametrize("algorithm", ALL)
@pytest.mark.parametrize("other", ALL)
def test_material_of_one_algorithm_is_not_taken_for_another(algorithm: str, other: str) -> None:
    if algorithm == other:
        return
    with pytest.raises(KeySetError):
        read_private(algorithm, write_private(KEYS[other].private))
    with pytest.raises(KeySetError):
        read_public(algorithm, write_public(KEYS[other].verifier.material))


def test_material_of_another_curve_is_refused() -> None:

    with pytest.raises(KeySetError):
        read_private("ES256", write_private(generate_private_key(SECP384R1())))


def test_a_coordinate_keeps_its_leading_zeros() -> None:
    while (public := generate_private_key(SECP256R1()).public_key()).public_numbers().x >> 248:
        pass
    assert len(base64url.decode(as_jwk(public)["x"].encode())) == 32
    assert read_key(as_jwk(public), "ES256")


def test_there_is_no_key_for_an_algorithm_that_is_not_ours() -> None:
    for stranger in ("none", "ES384", "HS512", ""):
        with pytest.raises(ValueError, match="not an algorithm"):
            new_key(stranger, NOW)


@given(st.lists(st.sampled_from(["next", "promote", "retire", "leak", "tidy"]), max_size=30), st.randoms())
def test_T4_L7_whatever_happens_one_key_signs_at_most_and_once_one_signs_one_always_does(steps, random) -> None:
    ring, now, was_signing, gone = Ring(), NOW, False, set()
    spare = iter([KEYS["ES256"], KEYS["EdDSA"]] + [new_key("EdDSA", NOW) for _ in range(steps.count("next"))])
    for step in steps:
        now += random.choice([1, 400])
        match step:
            case "next":
                ring = ring.with_next(next(spare), now)
            case "promote" if ring.next is not None:
                ring = ring.promote(ring.next.kid, now)
            case "retire" if ring.keys:
                ring = ring.retire(random.choice(ring.keys).kid, now)
            case "leak":
                ring = ring.retire_all(now)
            case "tidy":
                ring = ring.tidy(now, 1000, 3000)
        assert sum(key.signs for key in ring.keys) <= 1
        assert sum(key.state is State.NEXT for key in ring.keys) <= 1
        assert ring.signing is not None or not was_signing
        was_signing = ring.signing is not None
        assert all((key.private is None) == (key.state is State.GONE) for key in ring.keys)
        now_gone = {key.kid for key in ring.keys if key.state is State.GONE}
        assert not {key.kid for key in ring.keys} & gone - now_gone, "nothing comes back"
        gone |= now_gone
