"""What the store holds of a key: nobody who reads it can sign, and nobody who moves its parts about gets a key of it."""

import hmac

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.serialization import load_der_private_key, load_der_public_key
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import KeySetError
from gateway.tokens import base64url
from gateway.tokens.issue import ACCESS, sign
from gateway.tokens.material import ALGORITHMS, write_private
from gateway.tokens.ring import Event, SigningKey, new_key
from gateway.tokens.seal import derived, seal, time_text, unseal

NOW = 1_800_000_000.123456
NEW, OLD, OTHER = bytes(range(32)), bytes(range(1, 33)), bytes(range(2, 34))
ALL = sorted(ALGORITHMS)
SIGNING = {algorithm: new_key(algorithm, NOW).after(Event.PROMOTED, NOW) for algorithm in ALL}


def row(key: SigningKey, *secrets: bytes) -> str:
    return f"{key.state} {time_text(key.since)} {seal(key, secrets or (NEW,))}"


def gone(algorithm: str) -> SigningKey:
    return SIGNING[algorithm].after(Event.CONDEMNED, NOW).after(Event.SUCCEEDED, NOW)


def opened(box: str, secret: bytes, key: SigningKey) -> bytes:
    """Below the level of the code under test."""
    raw = base64url.decode(box.encode())
    parts = [part.encode() for part in (key.kid, key.algorithm, time_text(key.created))]
    bound = b"".join(len(part).to_bytes(4, "big") + part for part in parts)
    return AESGCM(derived(secret, b"gateway ring")).decrypt(raw[:12], raw[12:], bound)


@pytest.mark.parametrize("algorithm", ALL)
def test_T4_a_key_comes_back_from_its_row_and_signs(algorithm: str) -> None:
    key = SIGNING[algorithm]
    found, is_newest = unseal(key.kid, row(key), (NEW,))
    assert (found, is_newest) == (key, True)
    assert found.jwk == key.jwk
    signing_input, _, signature = sign(found, ACCESS, {}).rpartition(b".")
    assert key.verifier.verifies(signing_input, base64url.decode(signature))


@pytest.mark.parametrize("algorithm", ALL)
def test_T4_nothing_of_the_private_half_stands_in_the_row(algorithm: str) -> None:
    key = SIGNING[algorithm]
    private = write_private(key.private)
    text = row(key)
    assert private not in base64url.decode(text.split(" ")[-1].encode())
    assert base64url.encode(private).decode()[4:40] not in text
    assert row(key) != row(key), "a nonce is used once"


@pytest.mark.parametrize("algorithm", sorted(ALGORITHMS - {"HS256"}))
def test_T4_of_a_key_that_is_gone_even_the_secret_opens_only_the_public_half(algorithm: str) -> None:
    key = gone(algorithm)
    plain = opened(row(key).split(" ")[-1], NEW, key)
    assert plain[:1] == b"v"
    assert load_der_public_key(plain[1:])
    with pytest.raises(ValueError):
        load_der_private_key(plain[1:], None)
    found, _ = unseal(key.kid, row(key), (NEW,))
    assert found == key
    assert found.private is None


@pytest.mark.parametrize("algorithm", ALL)
def test_T4_a_row_opens_only_as_the_key_it_was_sealed_as(algorithm: str) -> None:
    key = SIGNING[algorithm]
    state, since, named, created, box = row(key).split(" ")
    other = next(name for name in ALL if name != algorithm)
    for kid, changed in (
        (new_key("EdDSA", NOW).kid, row(key)),
        (key.kid, f"{state} {since} {other} {created} {box}"),
        (key.kid, f"{state} {since} {named} {time_text(key.created + 1)} {box}"),
    ):
        with pytest.raises(KeySetError, match=r"tokens\.secrets"):
            unseal(kid, changed, (NEW,))
    assert unseal(key.kid, f"{state} {time_text(NOW + 9)} {named} {created} {box}", (NEW,)).key.since == NOW + 9


def test_T4_every_bit_of_a_box_counts() -> None:
    key = SIGNING["EdDSA"]
    *head, box = row(key).split(" ")
    raw = base64url.decode(box.encode())
    for position in range(len(raw)):
        changed = raw[:position] + bytes([raw[position] ^ 1]) + raw[position + 1 :]
        with pytest.raises(KeySetError):
            unseal(key.kid, " ".join([*head, base64url.encode(changed).decode()]), (NEW,))
    for length in (0, 5, 12, 27, len(raw) - 1):
        with pytest.raises(KeySetError):
            unseal(key.kid, " ".join([*head, base64url.encode(raw[:length]).decode()]), (NEW,))


def test_T4_a_key_that_is_gone_does_not_sign_again_when_the_store_says_so_nor_the_other_way_round() -> None:
    for key, said in ((gone("ES256"), "signing"), (gone("ES256"), "next"), (SIGNING["ES256"], "gone")):
        changed = f"{said} {row(key).partition(' ')[2]}"
        with pytest.raises(KeySetError, match="not what was sealed"):
            unseal(key.kid, changed, (NEW,))


def test_T4_the_newest_secret_seals_and_any_of_the_list_opens() -> None:
    key = SIGNING["ES256"]
    assert unseal(key.kid, row(key, NEW, OLD), (NEW,)) == (key, True)
    assert unseal(key.kid, row(key, OLD), (NEW, OLD)) == (key, False)
    with pytest.raises(KeySetError):
        unseal(key.kid, row(key, NEW, OLD), (OLD,))


def test_a_wrong_secret_is_told_to_the_operator_with_what_to_do() -> None:
    key = SIGNING["ES256"]
    with pytest.raises(KeySetError, match=rf"{key.kid}.*tokens\.secrets.*--compromised"):
        unseal(key.kid, row(key), (OTHER, OLD))


@pytest.mark.parametrize("algorithm", ALL)
def test_T4_the_public_half_comes_from_what_was_sealed_and_from_nowhere_else(algorithm: str) -> None:
    key = SIGNING[algorithm]
    text = row(key)
    assert all(value not in text for name, value in key.jwk.items() if name in ("n", "x", "y", "k"))
    assert key.thumbprint not in text


@given(st.text(max_size=200), st.text(max_size=20))
def test_a_row_that_is_none_is_an_error_of_ours(text: str, kid: str) -> None:
    for name in (kid, SIGNING["ES256"].kid):
        with pytest.raises(KeySetError):
            unseal(name, text, (NEW,))


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text + "\n",
        lambda text: text + "=",
        lambda text: text.replace(" ", "  ", 1),
        lambda text: text.replace("signing", "Signing"),
        lambda text: text.replace("signing", "lost"),
        lambda text: text.replace("ES256", "ES384"),
        lambda text: text.replace(".", ",", 1),
        lambda text: "signing nan " + text.split(" ", 2)[2],
        lambda text: "signing ١٢٣.123456 " + text.split(" ", 2)[2],
    ],
)
def test_rows_are_read_strictly(change) -> None:
    key = SIGNING["ES256"]
    with pytest.raises(KeySetError, match="cannot be read"):
        unseal(key.kid, change(row(key)), (NEW,))


def test_what_is_derived_for_one_purpose_is_nothing_else_s() -> None:
    secrets = {derived(secret, purpose) for secret in (NEW, OLD) for purpose in (b"gateway ring", b"gateway csrf", b"")}
    assert len(secrets) == 6
    assert all(len(secret) == 32 for secret in secrets)


def test_derivation_is_that_of_RFC_5869() -> None:

    extracted = hmac.digest(bytes(32), NEW, "sha256")
    assert derived(NEW, b"purpose") == hmac.digest(extracted, b"purpose\x01", "sha256")


@given(st.floats(min_value=0, max_value=4e9))
def test_a_time_survives_the_row_so_that_a_key_can_be_sealed_anew(seconds: float) -> None:
    text = time_text(seconds)
    assert time_text(float(text)) == text
