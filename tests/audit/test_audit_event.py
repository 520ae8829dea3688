"""An event in the bytes of the store, and what never gets into them."""

import json
from dataclasses import replace

import pytest
from auditing import ALICE, NETWORK, NOON
from hypothesis import given
from hypothesis import strategies as st

from gateway.audit.event import AGGREGATED, Action, Event, Outcome, decode, encode, needs_no_credential

REQUEST = "0123456789abcdef0123456789abcdef"
FULL = Event(
    time=NOON + 0.125,
    action=Action.REVOCATION,
    outcome=Outcome.SUCCESS,
    reason="session",
    user=ALICE,
    session="session-1",
    token_id="token-1",
    network=NETWORK,
    device="Firefox|Linux|desktop",
    route="app",
    source="api",
    request_id=REQUEST,
    target="3f" * 16,
    text="a lost phone",
    count=3,
    since=NOON,
)
TOKEN = "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJhIn0.c2lnbmF0dXJl"


def test_an_event_comes_back_as_it_went_in():
    assert decode(encode(FULL), ALICE) == FULL


@pytest.mark.parametrize("action", Action)
def test_every_action_comes_back(action: Action):
    event = Event(NOON, action, Outcome.SUCCESS)
    assert decode(encode(event), "") == event


def test_what_is_empty_takes_no_place():
    assert json.loads(encode(Event(NOON, Action.PURGE))) == {"t": NOON, "a": "purge", "o": "success"}


NAMES = st.emails() | st.text(st.characters(categories=("L", "N")), min_size=4)


@given(user=NAMES, before=st.text(max_size=40), after=st.text(max_size=40))
def test_privacy_no_field_holds_the_name(user: str, before: str, after: str):
    fields = dict.fromkeys(("session", "token_id", "device", "source", "target", "text"), before + user + after)
    stored = json.loads(encode(replace(FULL, user=user, **fields)))
    assert [letter for letter in "sjdbgx" if user in stored[letter]] == []


def test_privacy_a_name_in_capitals_is_a_name():
    stored = encode(replace(FULL, text="Alice@Example.com called, alice@example.com did not"))
    assert b"xample" not in stored
    assert decode(stored, ALICE).text == f"{ALICE} called, {ALICE} did not"  # type: ignore[union-attr]
    assert decode(stored, "~pseudonym").text == "~pseudonym called, ~pseudonym did not"  # type: ignore[union-attr]


def test_privacy_nobody_can_write_the_mark_that_stands_for_a_name():
    for user in ("", ALICE):
        assert decode(encode(replace(FULL, user=user, text="\x01 did it")), ALICE).text == "\ufffd did it"  # type: ignore[union-attr]


@pytest.mark.parametrize("address", ["192.0.2.7", "2001:db8::7", "192.0.2.7:443", "somewhere/24", "alice"])
def test_privacy_a_whole_address_is_not_kept(address: str):
    assert address.encode() not in encode(replace(FULL, network=address))


@pytest.mark.parametrize("network", ["192.0.2.0/24", "2001:db8::/48"])
def test_a_prefix_is_kept(network: str):
    assert decode(encode(replace(FULL, network=network)), ALICE).network == network  # type: ignore[union-attr]


@pytest.mark.parametrize("field", ["session", "token_id", "device", "route", "source", "target", "text"])
def test_privacy_a_token_is_not_kept(field: str):
    for value in (TOKEN, f"see {TOKEN}", "x" * 200 + TOKEN):
        assert b"eyJzdWIi" not in encode(replace(FULL, **{field: value}))


@pytest.mark.parametrize("request_id", ["alice.smith", "my-password", "a" * 65, "0123"])
def test_privacy_a_request_id_that_a_client_made_of_words_is_not_kept(request_id: str):
    assert request_id.encode() not in encode(replace(FULL, request_id=request_id))


@pytest.mark.parametrize("request_id", [REQUEST, "123e4567-e89b-12d3-a456-426614174000"])
def test_a_request_id_of_digits_is_kept(request_id: str):
    assert request_id.encode() in encode(replace(FULL, request_id=request_id))


@pytest.mark.parametrize("action", sorted(AGGREGATED))
def test_privacy_what_a_stranger_typed_is_not_kept(action: Action):
    typed = dict.fromkeys(("session", "token_id", "device", "target", "text"), "TYPED")
    event = replace(FULL, action=action, user="", **typed)
    assert b"TYPED" not in encode(event)
    kept = decode(encode(event), "")
    assert kept is not None
    assert (kept.reason, kept.network, kept.route, kept.request_id) == ("session", NETWORK, "app", REQUEST)


def test_privacy_a_failed_login_tells_nothing_typed_even_of_an_existing_account():
    event = replace(FULL, action=Action.LOGIN_FAILED, text="TYPED", device="TYPED")
    assert needs_no_credential(event.action, event.user)
    assert b"TYPED" not in encode(event)


def test_privacy_a_flood_of_logins_is_a_strangers_even_when_it_is_about_an_account():
    event = replace(FULL, action=Action.LOGIN_FLOOD, text="TYPED", device="TYPED")
    assert needs_no_credential(event.action, event.user)
    assert b"TYPED" not in encode(event)


def test_what_needs_a_credential_is_told_apart():
    assert not needs_no_credential(Action.REFUSAL, ALICE)
    assert not needs_no_credential(Action.PURGE, "")
    assert needs_no_credential(Action.REFUSAL, "")


def test_a_reason_is_a_word():
    assert b"sentence" not in encode(replace(FULL, reason="a whole sentence"))
    assert decode(encode(replace(FULL, reason="a whole sentence")), ALICE).reason == "other"  # type: ignore[union-attr]


@given(text=st.text(st.characters(), max_size=2000), user=st.text(st.characters(), max_size=400))
def test_whatever_the_text_it_can_be_stored_and_read(text: str, user: str):
    event = replace(FULL, text=text, session=text, user=user, device=text, target=text)
    read = decode(encode(event), "~p")
    assert read is not None
    assert len(read.text.replace("~p", "_")) <= 512


def test_texts_are_cut():
    read = decode(encode(replace(FULL, text="x" * 5000, session="y" * 5000)), ALICE)
    assert read is not None
    assert (len(read.text), len(read.session)) == (512, 256)


@pytest.mark.parametrize(
    "raw", [b"", b"[]", b"null", b'{"a":"login"}', b'{"t":"x","a":"login","o":"success"}', b"\xff", b'{"t":1,"a":1}']
)
def test_bytes_that_are_not_ours_are_nothing(raw: bytes):
    assert decode(raw, "") is None


def test_words_of_a_later_version_are_told_as_they_are():
    read = decode(b'{"t":1,"a":"teleported","o":"delayed","zz":1}', "")
    assert read is not None
    assert (read.action, read.outcome) == ("teleported", "delayed")
