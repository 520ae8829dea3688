"""Key sets: which are refused whole, which keys are passed over, and what a key is worth."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from issuing import OMITTED, Signer, base64url, ec_signer, ed25519_signer, hs_signer, key_set, rsa_signer, signer_for, unbase64url
from malformed_json import EVERY_BODY

from gateway.errors import KeySetError
from gateway.tokens.jwk import ALGORITHMS, MAX_BYTES, KeySet, parse_key_set, refuse_secrets_from_url

PUBLIC = ["RS256", "ES256", "EdDSA"]
SECRET = ["HS256"]


def parse(*keys: Signer | dict[str, Any], algorithms: list[str] | None = None) -> KeySet:
    return parse_key_set(key_set(*keys), algorithms or PUBLIC)


def refusal(*keys: Signer | dict[str, Any], algorithms: list[str] | None = None) -> str:
    with pytest.raises(KeySetError) as refused:
        parse(*keys, algorithms=algorithms)
    return str(refused.value)


# ── what is accepted ─────────────────────────────────────────────────────────


@pytest.mark.parametrize("algorithm", sorted(ALGORITHMS))
def test_a_key_of_every_algorithm_verifies_what_it_signed_and_nothing_else(algorithm: str) -> None:
    signer = signer_for(algorithm)
    [key] = parse(signer, algorithms=[algorithm]).keys.values()
    assert (key.kid, key.algorithm) == ("key-1", algorithm)
    assert key.verifies(b"a.b", signer.sign(b"a.b"))
    assert not key.verifies(b"a.c", signer.sign(b"a.b"))


def test_a_set_may_hold_several_keys_of_several_types() -> None:
    keys = parse(rsa_signer("r"), ec_signer("e"), ed25519_signer("o")).keys
    assert {kid: key.algorithm for kid, key in keys.items()} == {"r": "RS256", "e": "ES256", "o": "EdDSA"}


def test_the_thumbprint_is_that_of_rfc_7638() -> None:
    modulus = (
        "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMs"
        "tn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajr"
        "n1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw"
    )
    [key] = parse({"kty": "RSA", "n": modulus, "e": "AQAB", "alg": "RS256", "kid": "2011-04-29"}).keys.values()
    assert key.thumbprint == "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"


def test_a_leading_zero_in_the_modulus_makes_no_other_key() -> None:
    signer = rsa_signer()
    number = signer.private.public_key().public_numbers().n.to_bytes(257, "big")
    assert parse(signer.jwk(n=base64url(number))) == parse(signer)


def test_labels_are_optional_where_only_one_algorithm_fits() -> None:
    bare = {"alg": OMITTED, "use": OMITTED, "kid": OMITTED}
    [key] = parse(rsa_signer().jwk(**bare)).keys.values()
    assert (key.kid, key.algorithm) == (None, "RS256")
    assert parse(ec_signer().jwk(**bare), algorithms=["ES256", "ES384"]).find(None, "ES256")
    assert "RS256 and PS256 would fit" in refusal(rsa_signer().jwk(**bare), algorithms=["RS256", "PS256"])


@pytest.mark.parametrize(
    "twin",
    [
        {"use": "enc", "alg": "RSA-OAEP"},
        {"use": "enc", "alg": OMITTED},
        {"use": "tls", "alg": OMITTED},
        {"use": OMITTED, "alg": OMITTED, "key_ops": ["encrypt"]},
        {"alg": "RS512"},
        {"alg": "RS1"},
        {"alg": "RSA-OAEP-256", "use": OMITTED},
        {"kty": "AKP", "alg": "ML-DSA-44"},
    ],
    ids=str,
)
def test_a_sound_key_that_is_not_for_us_is_passed_over(twin: dict[str, Any]) -> None:
    keys = parse(rsa_signer("ours"), rsa_signer("twin").jwk(**twin))
    assert list(keys.keys) == ["ours"]
    assert len(keys.passed_over) == 1
    assert "no usable key" in refusal(rsa_signer("twin").jwk(**twin))


@pytest.mark.parametrize("curve", ["secp256k1", "P-384", "P-521"])
def test_a_curve_that_no_algorithm_of_ours_uses_is_passed_over(curve: str) -> None:
    assert parse(rsa_signer("ours"), ec_signer("other").jwk(crv=curve, alg=OMITTED)).passed_over


def test_key_sets_are_equal_when_their_keys_are() -> None:
    assert parse(rsa_signer("a"), ec_signer("b")) == parse(ec_signer("b"), rsa_signer("a"))
    assert parse(rsa_signer("a")) != parse(rsa_signer("b"))


def test_a_secret_does_not_show_in_the_text_of_a_key() -> None:
    secret = b"a secret of thirty-two bytes....."
    keys = parse(hs_signer(secret), algorithms=SECRET)
    assert "secret of thirty" not in repr(keys)
    assert base64url(secret) not in repr(keys)


# ── what is refused whole ────────────────────────────────────────────────────


@pytest.mark.parametrize("body", EVERY_BODY, ids=lambda body: repr(body[:24]))
def test_J37_a_set_that_is_no_strict_json_is_refused(body: bytes) -> None:
    with pytest.raises(KeySetError):
        parse_key_set(body, PUBLIC)


@pytest.mark.parametrize(
    "document",
    [{}, {"keys": None}, {"keys": {}}, {"keys": []}, {"keys": [1]}, {"keys": [[]]}, {"keys": [{}]}, {"KEYS": []}],
    ids=str,
)
def test_a_document_that_is_no_key_set_is_refused(document: Any) -> None:
    with pytest.raises(KeySetError):
        parse_key_set(json.dumps(document).encode(), PUBLIC)


def test_a_set_is_bounded_in_bytes_and_keys() -> None:
    with pytest.raises(KeySetError, match="larger than"):
        parse_key_set(b" " * (MAX_BYTES + 1), PUBLIC)
    assert "more than 100 keys" in refusal(*(rsa_signer().jwk(kid=str(number)) for number in range(101)))
    assert len(parse(*(rsa_signer().jwk(kid=str(number)) for number in range(100))).keys) == 100


def test_J14_two_keys_with_one_kid_are_refused() -> None:
    assert "same kid" in refusal(rsa_signer("a"), ec_signer("a"))
    assert "same kid" in refusal(rsa_signer("a"), rsa_signer("a"))
    assert "same kid" in refusal(rsa_signer("a"), ec_signer("a").jwk(alg=OMITTED), algorithms=["RS256"])
    assert "without a kid" in refusal(rsa_signer(None), ec_signer(None))
    assert parse(rsa_signer("a"), rsa_signer("a").jwk(use="enc", alg=OMITTED)).passed_over  # two purposes, one name


def test_J15_secrets_and_public_keys_in_one_set_are_refused() -> None:
    for algorithms in (PUBLIC, SECRET):
        assert "mixes secrets" in refusal(rsa_signer("a"), hs_signer(kid="b"), algorithms=algorithms)
    assert "secrets (oct)" in refusal(hs_signer(), algorithms=PUBLIC)
    assert "public keys" in refusal(rsa_signer(), algorithms=SECRET)
    assert "cannot be mixed" in refusal(rsa_signer(), algorithms=["RS256", "HS256"])


@pytest.mark.parametrize(
    "labels",
    [
        {"use": "enc"},
        {"use": "enc", "key_ops": ["verify"]},
        {"key_ops": ["encrypt"]},
        {"key_ops": ["encrypt"], "alg": OMITTED},
        {"use": "enc", "key_ops": ["verify"], "alg": OMITTED},
        {"use": OMITTED, "key_ops": ["encrypt"]},
        {"key_ops": ["sign"]},
        {"key_ops": []},
        {"key_ops": ["verify", "verify"]},
        {"key_ops": "verify"},
        {"key_ops": [1]},
        {"key_ops": None},
        {"use": 1},
        {"use": None},
        {"use": "SIG"},
    ],
    ids=str,
)
def test_J16_a_signing_key_with_a_label_that_says_otherwise_is_refused(labels: dict[str, Any]) -> None:
    assert refusal(rsa_signer("good"), rsa_signer("bad").jwk(**labels))


@pytest.mark.parametrize("bits", [512, 1024, 2040])
def test_J17_a_short_rsa_key_is_refused(bits: int) -> None:
    number = (1 << (bits - 1)) + 12345
    assert "bits" in refusal(rsa_jwk(number if number % 2 else number + 1))


def test_J17_an_enormous_rsa_key_is_refused() -> None:
    assert "bits" in refusal(rsa_jwk((1 << 16000) + 1))


@pytest.mark.parametrize("exponent", [0, 1, 2, 3, 65536, 65538, 2**64 + 1])
def test_J17_an_rsa_exponent_out_of_bounds_is_refused(exponent: int) -> None:
    modulus = rsa_signer().private.public_key().public_numbers().n
    assert "exponent" in refusal(rsa_jwk(modulus, exponent))


def test_J17_an_rsa_modulus_with_a_small_factor_is_refused() -> None:
    for factor in (2, 3, 7, 167):
        modulus = (1 << 2047) + 1
        while modulus % factor or (factor > 2 and modulus % 2 == 0):
            modulus += 1
        assert "small factor" in refusal(rsa_jwk(modulus))


def test_J17_a_roca_key_is_refused() -> None:
    assert "ROCA" in refusal(rsa_jwk(roca_prime(1) * roca_prime(2)))


@pytest.mark.parametrize(("algorithm", "least"), [("HS256", 32), ("HS384", 48), ("HS512", 64)])
def test_J07_J17_a_secret_shorter_than_its_hash_is_refused(algorithm: str, least: int) -> None:
    def with_length(length: int) -> dict[str, Any]:
        return hs_signer(bytes(range(length)), algorithm=algorithm).jwk()

    assert parse(with_length(least), algorithms=[algorithm]).keys
    for length in (0, 1, 16, least - 1):
        assert refusal(with_length(length), algorithms=[algorithm])


@pytest.mark.parametrize("secret", [b"\0" * 64, b"a" * 64, b"abc" * 32, b" " * 40])
def test_J06_a_blank_or_repeated_secret_is_refused(secret: bytes) -> None:
    assert "repeated" in refusal(hs_signer(secret), algorithms=SECRET)


def test_a_secret_never_comes_from_a_url() -> None:
    with pytest.raises(KeySetError, match="from a file"):
        refuse_secrets_from_url("https://idp.example/keys", SECRET)
    refuse_secrets_from_url("/etc/gateway/secret.json", SECRET)
    refuse_secrets_from_url("https://idp.example/keys", PUBLIC)


MISLABELLED: dict[str, Callable[[], dict[str, Any]]] = {
    "RSA with an EC algorithm": lambda: rsa_signer().jwk(alg="ES256"),
    "RSA with a secret's algorithm": lambda: rsa_signer().jwk(alg="HS256"),
    "EC with an RSA algorithm": lambda: ec_signer().jwk(alg="RS256"),
    "EC with another curve's algorithm": lambda: ec_signer().jwk(alg="ES384"),
    "EC called P-384": lambda: ec_signer().jwk(crv="P-384"),
    "EC called Ed25519": lambda: ec_signer().jwk(crv="Ed25519"),
    "EC without a curve": lambda: ec_signer().jwk(crv=OMITTED),
    "EC with a curve that is no string": lambda: ec_signer().jwk(crv=256),
    "EC called RSA": lambda: ec_signer().jwk(kty="RSA"),
    "RSA called EC": lambda: rsa_signer().jwk(kty="EC"),
    "RSA with a curve": lambda: rsa_signer().jwk(crv="P-256"),
    "OKP called P-256": lambda: ed25519_signer().jwk(crv="P-256"),
    "OKP called Ed448": lambda: ed25519_signer().jwk(crv="Ed448"),
    "OKP called X25519": lambda: ed25519_signer().jwk(crv="X25519"),
    "an unknown type with our algorithm": lambda: rsa_signer().jwk(kty="rsa"),
    "no type": lambda: rsa_signer().jwk(kty=OMITTED),
    "a type that is no string": lambda: rsa_signer().jwk(kty=["RSA"]),
    "an algorithm that is no string": lambda: rsa_signer().jwk(alg=["RS256"]),
    "a null algorithm": lambda: rsa_signer().jwk(alg=None),
    "an AES key": lambda: {"kty": "oct", "k": base64url(bytes(range(32))), "alg": "A256KW", "kid": "aes"},
}


@pytest.mark.parametrize("name", MISLABELLED)
def test_J18_a_key_labelled_against_its_material_is_refused(name: str) -> None:
    assert refusal(rsa_signer("good"), MISLABELLED[name]() | {"kid": "bad"})


def test_J18_a_point_that_is_not_on_the_curve_is_refused() -> None:
    good = ec_signer().jwk()
    for x, y in ((good["y"], good["x"]), (base64url(bytes(32)), base64url(bytes(32))), (base64url(b"\xff" * 32), good["y"])):
        assert "not on the curve" in refusal(good | {"x": x, "y": y})


def test_J18_a_coordinate_of_another_length_is_refused() -> None:
    good = ec_signer().jwk()
    x = unbase64url(good["x"])
    for other in (x[:-1], x[1:], b"\0" + x, x + b"\0", bytes(33)):
        assert "length" in refusal(good | {"x": base64url(other)})


def test_J18_the_small_order_points_of_ed25519_are_refused() -> None:
    small = ["0100" + "00" * 30, "ecff" + "ff" * 29 + "7f", "00" * 32, "00" * 31 + "80"]
    small += ["26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"]
    small += ["26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85"]
    small += ["c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a"]
    small += ["c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa"]
    for point in small:
        assert "small order" in refusal(ed25519_signer().jwk(x=base64url(bytes.fromhex(point))))
    for point in ("ee" + "ff" * 30 + "7f", "ff" * 32, "0200" + "00" * 30):  # second spellings of 1 and beyond; no point
        assert "not a point" in refusal(ed25519_signer().jwk(x=base64url(bytes.fromhex(point))))
    assert "32 bytes" in refusal(ed25519_signer().jwk(x=base64url(bytes(31))))


@pytest.mark.parametrize("signer", [rsa_signer, ec_signer, ed25519_signer], ids=lambda make: make.__name__)
def test_J56_a_published_private_key_is_refused(signer: Callable[..., Signer]) -> None:
    assert "private" in refusal(signer().private_jwk())
    assert "private" in refusal(
        signer("good"), signer("leaked").private_jwk() | {"use": "enc", "alg": "RSA-OAEP", "key_ops": ["decrypt"]}
    )
    for member in ("d", "p", "q", "dp", "dq", "qi", "oth", "k", "priv"):
        assert "private" in refusal(signer().jwk(**{member: "AQAB"}))


@pytest.mark.parametrize("kid", ["", 1, None, ["a"], "a\r\nb", "a\0", "x" * 257], ids=lambda kid: repr(kid)[:12])
def test_a_kid_that_is_no_short_printable_string_is_refused(kid: Any) -> None:
    assert "kid" in refusal(rsa_signer().jwk(kid=kid))


@pytest.mark.parametrize("value", [OMITTED, "", None, 1, "A", "AQAB=", "AQ AB", "+/", "é", ["AQAB"]], ids=repr)
@pytest.mark.parametrize(
    ("signer", "member"), [(rsa_signer, "n"), (rsa_signer, "e"), (ec_signer, "x"), (ec_signer, "y"), (ed25519_signer, "x")]
)
def test_a_number_in_another_spelling_is_refused(signer: Callable[[], Signer], member: str, value: Any) -> None:
    assert refusal(signer().jwk(**{member: value}))


@pytest.mark.parametrize("algorithms", [[], ["none"], ["RS256", "none"], ["rs256"], ["ES256K"]], ids=str)
def test_an_unknown_algorithm_of_the_issuer_is_refused(algorithms: list[str]) -> None:
    with pytest.raises(KeySetError):
        parse_key_set(key_set(rsa_signer()), algorithms)


def rsa_jwk(modulus: int, exponent: int = 65537) -> dict[str, Any]:
    def number(value: int) -> str:
        return base64url(value.to_bytes(max(1, (value.bit_length() + 7) // 8), "big"))

    return {"kty": "RSA", "kid": "weak", "alg": "RS256", "n": number(modulus), "e": number(exponent)}


def roca_prime(seed: int) -> int:
    """A prime as the flawed chips made them: k·M + (65537^a mod M), M the product of the first 126 primes."""
    product = 1
    for candidate in range(2, 702):
        if all(candidate % divisor for divisor in range(2, int(candidate**0.5) + 1)):
            product *= candidate
    factor = (3 << 1022) // product + 1 + seed * 1000
    for power in range(1, 100_000):
        candidate = (factor + power) * product + pow(65537, power, product)
        if pow(2, candidate - 1, candidate) == 1:
            return candidate
    raise AssertionError("no prime found")


def test_the_tool_that_makes_roca_keys_makes_real_ones() -> None:
    # Else the test above would pass for any odd number: the product must be an RSA modulus that a library can use.
    p, q = roca_prime(1), roca_prime(2)
    private = rsa.RSAPrivateNumbers(
        p,
        q,
        pow(65537, -1, (p - 1) * (q - 1)),
        pow(65537, -1, p - 1),
        pow(65537, -1, q - 1),
        pow(q, -1, p),
        rsa.RSAPublicNumbers(65537, p * q),
    ).private_key()
    assert private.key_size == 2048
