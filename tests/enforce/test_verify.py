"""Tokens of other issuers: what makes one genuine, and the reason for each way of not being.

The numbers are those of the catalogue of attacks on JSON Web Tokens that the documentation lists: J01, J02...
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from issuing import (
    NOW,
    OMITTED,
    Provider,
    Signer,
    base64url,
    compact,
    ec_signer,
    hs_signer,
    key_set,
    resign,
    rsa_signer,
    signer_for,
    unbase64url,
)
from malformed_json import EVERY_BODY

from gateway.config.schema import IssuerConfig
from gateway.enforce.issuer import Issuer
from gateway.enforce.verified import Verified, judge_time
from gateway.enforce.verify import MAX_TOKEN_BYTES, Refused, authenticate, verify
from gateway.errors import KeySetError
from gateway.reasons import Reason
from gateway.tokens.jwk import ALGORITHMS, parse_key_set

MALFORMED, BAD_SIGNATURE, UNKNOWN_KEY = Reason.MALFORMED_TOKEN, Reason.BAD_SIGNATURE, Reason.UNKNOWN_KEY
WRONG_ISSUER, WRONG_AUDIENCE = Reason.WRONG_ISSUER, Reason.WRONG_AUDIENCE
EXPIRED, NOT_YET_VALID, TOO_LONG = Reason.EXPIRED_TOKEN, Reason.NOT_YET_VALID, Reason.LIFETIME_TOO_LONG

PROVIDER = Provider()


def trusting(provider: Provider, *more: Signer, **settings: Any) -> dict[str, Issuer]:
    """The issuers of a gateway that trusts one provider and knows its key."""
    algorithms = settings.pop("algorithms", {signer.algorithm for signer in (provider.signer, *more)})
    issuer = Issuer(provider.issuer, frozenset({"shop"}), frozenset(algorithms), **settings)
    issuer.adopt(parse_key_set(key_set(provider.signer, *more), sorted(algorithms)))
    return {issuer.name: issuer}


def outcome(token: str | bytes, issuers: dict[str, Issuer] | None = None, now: float = NOW) -> Reason | None:
    """The reason for refusing, or None when the token is accepted."""
    raw = token.encode() if isinstance(token, str) else token
    verdict = verify(raw, issuers or trusting(PROVIDER), now)
    return verdict.reason if isinstance(verdict, Refused) else None


def accepted(token: str, issuers: dict[str, Issuer] | None = None, now: float = NOW) -> Verified:
    verdict = verify(token.encode(), issuers or trusting(PROVIDER), now)
    assert isinstance(verdict, Verified), verdict
    return verdict


# ── a good token ─────────────────────────────────────────────────────────────


@pytest.mark.parametrize("algorithm", sorted(ALGORITHMS))
def test_a_good_token_of_every_algorithm_is_accepted(algorithm: str) -> None:
    provider = Provider(signer=signer_for(algorithm))
    assert accepted(provider.token(), trusting(provider)).algorithm == algorithm


def test_what_is_known_of_an_accepted_token() -> None:
    issuers = trusting(
        PROVIDER, user_prefix="shop|", groups_claim="roles", name_claim="name", email_claim="email", version_claim="ver"
    )
    token = PROVIDER.token(
        sub="u-1", roles=["b", "a", "b"], name="Ålice", email="a@example.org", ver=7, jti="t", nbf=NOW - 5, groups=OMITTED
    )
    verified = accepted(token, issuers)
    assert (verified.issuer, verified.subject, verified.user) == (PROVIDER.issuer, "u-1", "shop|u-1")
    assert (verified.groups, verified.name, verified.email, verified.version) == (("b", "a"), "Ålice", "a@example.org", 7)
    assert (verified.token_id, verified.session, verified.key_id) == ("t", "session-1", "key-1")
    assert (verified.issued_at, verified.not_before, verified.expires_at) == (NOW, NOW - 5, NOW + 300)
    assert verified.usable_until == NOW + 330
    assert verified.generation == issuers[PROVIDER.issuer].generation


def test_the_user_may_be_another_claim_than_sub() -> None:
    verified = accepted(PROVIDER.token(sub="u-1", preferred="bob"), trusting(PROVIDER, user_claim="preferred"))
    assert (verified.subject, verified.user) == ("u-1", "bob")
    assert accepted(PROVIDER.token(sub=OMITTED, preferred="bob"), trusting(PROVIDER, user_claim="preferred")).subject == "bob"


def test_a_claim_may_be_named_by_its_path_and_a_name_with_dots_is_a_name_first() -> None:
    issuers = trusting(PROVIDER, groups_claim="realm_access.roles")
    assert accepted(PROVIDER.token(realm_access={"roles": ["staff"]}), issuers).groups == ("staff",)
    assert accepted(PROVIDER.token(**{"realm_access.roles": "boss", "realm_access": {"roles": ["x"]}}), issuers).groups == (
        "boss",
    )
    assert accepted(PROVIDER.token(realm_access=["roles"]), issuers).groups == ()


def test_without_jti_sid_and_groups_a_token_is_accepted() -> None:
    verified = accepted(PROVIDER.token(jti=OMITTED, sid=OMITTED, groups=OMITTED))
    assert (verified.token_id, verified.session, verified.groups) == (None, None, ())


def test_one_issuer_of_several_is_found_by_its_name() -> None:
    other = Provider("https://other.example", signer=ec_signer())
    issuers = trusting(PROVIDER) | trusting(other)
    assert accepted(other.token(), issuers).issuer == other.issuer
    assert accepted(PROVIDER.token(), issuers).issuer == PROVIDER.issuer
    forged = Provider(other.issuer, signer=PROVIDER.signer)  # an issuer cannot speak for another one
    assert outcome(forged.token(), issuers) is BAD_SIGNATURE


def configured(**changes: Any) -> IssuerConfig:
    settings = {"issuer": PROVIDER.issuer, "audience": "shop", "jwks": "https://idp.example/keys"} | changes
    return IssuerConfig.model_validate(settings, context={"directory": Path("/etc/gateway")})


def test_an_issuer_is_built_from_its_configuration() -> None:
    claims = {"user": "login", "groups": "realm.roles", "session": None, "version": "ver", "name": None, "email": "mail"}
    times = {"max_lifetime": "2h", "session_lifetime": "7d", "leeway": "10s", "skew": "5s"}
    more = {"algorithms": ["ES256", "RS256"], "user_prefix": "shop|", "types": ["application/AT+JWT", None]}
    issuer = Issuer.from_config(configured(audience=["shop", "web"], claims=claims, **times, **more))
    assert (issuer.name, issuer.audiences, issuer.algorithms) == (PROVIDER.issuer, {"shop", "web"}, {"ES256", "RS256"})
    assert (issuer.user_claim, issuer.groups_claim, issuer.session_claim) == ("login", "realm.roles", None)
    assert (issuer.version_claim, issuer.name_claim, issuer.email_claim) == ("ver", None, "mail")
    assert (issuer.max_lifetime, issuer.session_lifetime, issuer.leeway, issuer.skew) == (7200, 7 * 86400, 10, 5)
    assert (issuer.user_prefix, issuer.types, issuer.keys, issuer.generation) == ("shop|", {"at+jwt", None}, None, 0)


def test_J05_J15_an_issuer_of_secrets_from_a_url_or_among_public_keys_is_refused() -> None:
    for changes in ({"algorithms": ["HS256"]}, {"algorithms": ["HS256", "RS256"], "jwks": "keys.json"}):
        with pytest.raises(KeySetError):
            Issuer.from_config(IssuerConfig.model_construct(**configured().model_dump() | changes))
    assert Issuer.from_config(configured(algorithms=["HS256"], jwks="keys.json")).algorithms == {"HS256"}


# ── J01 to J25: signatures, algorithms, keys, spellings ──────────────────────


@pytest.mark.parametrize("algorithm", ["none", "None", "NONE", "nOnE", "none ", ""])
@pytest.mark.parametrize("is_signature_kept", [False, True])
def test_J01_an_unsigned_token_is_a_bad_signature(algorithm: str, is_signature_kept: bool) -> None:
    signature = unbase64url(PROVIDER.token().split(".")[2]) if is_signature_kept else b""
    assert outcome(compact(PROVIDER.header(alg=algorithm), PROVIDER.claims(), signature)) is BAD_SIGNATURE
    assert outcome(compact({"alg": algorithm}, PROVIDER.claims(), signature)) is BAD_SIGNATURE


@pytest.mark.parametrize("algorithm", sorted(ALGORITHMS))
def test_J02_an_emptied_signature_is_a_bad_signature(algorithm: str) -> None:
    provider = Provider(signer=signer_for(algorithm))
    assert outcome(provider.token().rpartition(".")[0] + ".", trusting(provider)) is BAD_SIGNATURE


def test_J03_a_token_without_three_parts_is_malformed() -> None:
    head, payload, signature = PROVIDER.token().split(".")
    tokens = ["", ".", "..", "...", head, f"{head}.{payload}", f"{head}{payload}{signature}"]
    tokens += [f".{payload}.{signature}", f"{head}..{signature}", f"..{signature}", f".{payload}."]
    tokens += [f"{head}.{payload}.{signature}.", f".{head}.{payload}.{signature}", f"{head}.{payload}.{signature}.x"]
    for token in tokens:
        assert outcome(token) is MALFORMED


def test_J04_a_flipped_bit_anywhere_is_refused() -> None:
    token = PROVIDER.token()
    issuers = trusting(PROVIDER)
    reasons = set()
    for position in range(len(token)):
        for bit in (1, 4, 32):
            changed = bytearray(token.encode())
            changed[position] ^= bit
            reasons.add(outcome(bytes(changed), issuers))
    assert None not in reasons
    assert {BAD_SIGNATURE, MALFORMED} <= reasons


def test_J04_a_cut_signature_is_a_bad_signature() -> None:
    for algorithm in ("RS256", "PS256", "ES256", "EdDSA", "HS256"):
        provider = Provider(signer=signer_for(algorithm))
        assert outcome(provider.token()[:-4], trusting(provider)) in (BAD_SIGNATURE, MALFORMED)
        assert outcome(with_signature(provider, lambda raw: raw[:-3]), trusting(provider)) is BAD_SIGNATURE


def public_key_spellings() -> Iterator[bytes]:
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    public = PROVIDER.signer.private.public_key()
    for form in (PublicFormat.SubjectPublicKeyInfo, PublicFormat.PKCS1):
        pem = public.public_bytes(Encoding.PEM, form)
        yield from (pem, pem.rstrip(b"\n"), public.public_bytes(Encoding.DER, form))
    yield public.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
    yield from (key_set(PROVIDER.signer), key_set(PROVIDER.signer)[10:-2])


def test_J05_a_public_key_is_not_a_secret() -> None:
    for secret in public_key_spellings():
        forged = Provider(signer=hs_signer(secret))
        assert outcome(forged.token()) is BAD_SIGNATURE
        assert outcome(forged.token({"alg": "RS256"})) is BAD_SIGNATURE
        assert outcome(forged.token({"kid": OMITTED})) is BAD_SIGNATURE


@pytest.mark.parametrize("secret", [b"", b"\0", b"secret", b"password", b"your-256-bit-secret", b"changeme", b"key"])
def test_J06_J07_J11_a_guessed_secret_is_a_bad_signature(secret: bytes) -> None:
    provider = Provider(signer=hs_signer())
    assert outcome(Provider(signer=hs_signer(secret)).token(), trusting(provider)) is BAD_SIGNATURE


@pytest.mark.parametrize("parameter", ["jwk", "jku", "x5u", "x5c", "x5t", "x5t#S256"])
def test_J08_J09_J10_a_key_that_the_token_brings_or_points_to_is_never_looked_at(parameter: str) -> None:
    attacker = Provider(signer=rsa_signer("attacker"))
    urls = ["https://attacker.example/keys", "http://169.254.169.254/keys", "file:///etc/passwd", "data:,x", "ftp://x/"]
    values: list[Any] = [attacker.signer.jwk(), ["MIIB"], 1, None, *urls]
    for value in values:
        assert outcome(attacker.token({parameter: value})) is UNKNOWN_KEY
        assert outcome(attacker.token({parameter: value, "kid": "key-1"})) is BAD_SIGNATURE
        assert outcome(PROVIDER.token({parameter: value})) is None  # issuers do send them beside a good signature


HOSTILE_KIDS = ["../../../../dev/null", "/dev/null", "/invalid_path", "x' UNION SELECT '1';--", "; sleep 10", "|sleep 10"]
HOSTILE_KIDS += ["a\r\nb", "a\0b", "*", ":", "a:b:c", "{log}", "ключ", "KEY-1", "key-1 ", " key-1", "key-1\0", "k" * 256]


@pytest.mark.parametrize("kid", HOSTILE_KIDS, ids=ascii)
def test_J11_J12_a_kid_is_only_ever_looked_up_in_memory(kid: str) -> None:
    assert outcome(PROVIDER.token({"kid": kid})) is UNKNOWN_KEY


@pytest.mark.parametrize(
    "kid", ["", 1, 1.5, ["key-1"], {"key-1": 1}, None, True, "k" * 257, "k" * 10_000], ids=lambda kid: repr(kid)[:20]
)
def test_J13_a_kid_that_is_no_short_string_is_malformed(kid: Any) -> None:
    assert outcome(PROVIDER.token({"kid": kid})) is MALFORMED


def test_J13_without_a_kid_only_one_key_may_fit() -> None:
    token = PROVIDER.token({"kid": OMITTED})
    assert outcome(token) is None
    assert outcome(token, trusting(PROVIDER, ec_signer("another"))) is None  # its algorithm tells it apart
    assert outcome(token, trusting(PROVIDER, rsa_signer("another"))) is UNKNOWN_KEY


def test_a_key_without_a_kid_is_known_by_its_thumbprint() -> None:
    provider = Provider(signer=rsa_signer(None))
    verified = accepted(provider.token(), trusting(provider))
    assert verified.key_id == verified.thumbprint
    assert outcome(provider.token({"kid": "invented"}), trusting(provider)) is UNKNOWN_KEY


@pytest.mark.parametrize("algorithm", ["RS384", "RS512", "PS256"])
def test_J19_the_algorithm_is_the_keys_own_though_another_is_allowed(algorithm: str) -> None:
    forged = Provider(signer=Signer(algorithm, PROVIDER.signer.private))
    issuers = trusting(PROVIDER, algorithms={"RS256", algorithm})
    assert outcome(forged.token(), issuers) is BAD_SIGNATURE
    assert outcome(PROVIDER.token({"alg": algorithm}), issuers) is BAD_SIGNATURE  # though the key's own algorithm made it
    assert outcome(PROVIDER.token(), issuers) is None


def with_signature(provider: Provider, change: Callable[[bytes], bytes]) -> str:
    signing_input, _, signature = provider.token().rpartition(".")
    return f"{signing_input}.{base64url(change(unbase64url(signature)))}"


P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


@pytest.mark.parametrize("r", [0, 1, P256_ORDER - 1, P256_ORDER, 2**256 - 1])
@pytest.mark.parametrize("s", [0, 1, P256_ORDER - 1, P256_ORDER, 2**256 - 1])
def test_J20_psychic_signatures_are_bad_signatures(r: int, s: int) -> None:
    provider = Provider(signer=ec_signer())
    forged = r.to_bytes(32, "big") + s.to_bytes(32, "big")
    assert outcome(with_signature(provider, lambda _: forged), trusting(provider)) is BAD_SIGNATURE


def test_J21_an_ecdsa_signature_has_one_length_and_one_form() -> None:
    from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

    provider = Provider(signer=ec_signer())
    changes: list[Callable[[bytes], bytes]] = [
        lambda raw: raw + b"\0",
        lambda raw: raw + b"\0" * 64,
        lambda raw: b"\0" + raw,
        lambda raw: raw[:32] + b"\0" + raw[32:],
        lambda raw: b"\0" + raw[:32] + b"\0" + raw[32:],
        lambda raw: raw[:-1],
        lambda raw: raw * 40,
        lambda raw: encode_dss_signature(int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big")),
    ]
    for change in changes:
        assert outcome(with_signature(provider, change), trusting(provider)) is BAD_SIGNATURE


def test_J25_the_mirrored_ecdsa_signature_is_another_spelling_of_the_same_token() -> None:
    # s and n - s are both valid, so a token must never be known by its bytes: the jti is what is revoked.
    provider = Provider(signer=ec_signer())
    token = provider.token()
    signing_input, _, signature = token.rpartition(".")
    raw = unbase64url(signature)
    mirrored = raw[:32] + (P256_ORDER - int.from_bytes(raw[32:], "big")).to_bytes(32, "big")
    other = f"{signing_input}.{base64url(mirrored)}"
    assert other != token
    assert accepted(other, trusting(provider)).token_id == accepted(token, trusting(provider)).token_id


SHA256_PREFIX = bytes.fromhex("3031300d060960864801650304020105000420")


def pkcs1_forgeries(digest: bytes) -> Iterator[bytes]:
    """Encoded messages of 256 bytes that a careless reader takes for PKCS #1 v1.5 padding."""

    def padded(block_type: bytes, fill: bytes, tail: bytes, separator: bytes = b"\0") -> bytes:
        return b"\0" + block_type + fill * (256 - 2 - len(separator) - len(tail)) + separator + tail

    good = SHA256_PREFIX + digest
    yield padded(b"\x02", b"\xff", good)
    yield padded(b"\x00", b"\x00", good)
    yield padded(b"\x01", b"\xfe", good)
    yield padded(b"\x01", b"\xff", good, b"\x01")
    yield padded(b"\x01", b"\xff", digest)  # no DigestInfo
    yield padded(b"\x01", b"\xff", SHA256_PREFIX + digest[:-1])
    yield padded(b"\x01", b"\xff", bytes.fromhex("302f300b0609608648016503040201") + b"\x04\x20" + digest)  # no NULL
    yield padded(b"\x01", b"\xff", SHA256_PREFIX.replace(b"\x05\x00", b"\x05\x01") + digest)
    yield padded(b"\x01", b"\xff", SHA256_PREFIX.replace(b"\x30\x31", b"\x30\x80") + digest + b"\0\0")
    yield padded(b"\x01", b"\xff", b"\x30\x81\x31" + SHA256_PREFIX[2:] + digest)  # long-form length
    yield padded(b"\x01", b"\xff", SHA256_PREFIX.replace(b"\x02\x01\x05", b"\x02\x03\x05") + digest)  # SHA-512's name
    yield b"\0\x01" + b"\xff" * 8 + b"\0" + good + b"\x5a" * (256 - 11 - len(good))  # Bleichenbacher 2006: rubbish behind
    yield b"\0\x01\0" + good + b"\0" * (256 - 3 - len(good))


def test_J22_no_forged_padding_is_taken_for_a_signature() -> None:
    from hashlib import sha256

    numbers = PROVIDER.signer.private.private_numbers()
    modulus = numbers.public_numbers.n
    signing_input = PROVIDER.token().rpartition(".")[0]
    good = PROVIDER.signer.sign(signing_input.encode())
    for encoded in pkcs1_forgeries(sha256(signing_input.encode()).digest()):
        assert len(encoded) == 256
        forged = pow(int.from_bytes(encoded, "big") % modulus, numbers.d, modulus).to_bytes(256, "big")
        assert outcome(f"{signing_input}.{base64url(forged)}") is BAD_SIGNATURE
    # The same tool with the right padding makes the right signature: the forgeries fail for their padding.
    right = b"\0\x01" + b"\xff" * 202 + b"\0" + SHA256_PREFIX + sha256(signing_input.encode()).digest()
    assert pow(int.from_bytes(right, "big"), numbers.d, modulus).to_bytes(256, "big") == good


@pytest.mark.parametrize("algorithm", ["RS256", "PS256"])
def test_J22_J23_an_rsa_signature_has_one_length_and_is_reduced(algorithm: str) -> None:
    provider = Provider(signer=rsa_signer("numbers", algorithm))
    modulus = provider.signer.private.public_key().public_numbers().n

    def unreduced(raw: bytes) -> bytes:
        return (int.from_bytes(raw, "big") + modulus).to_bytes(257, "big")

    changes: list[Callable[[bytes], bytes]] = [lambda raw: b"\0" + raw, lambda raw: raw + b"\0", lambda raw: raw[1:], unreduced]
    changes += [lambda _, n=number: n.to_bytes(256, "big") for number in (0, 1, modulus - 1, modulus)]  # type: ignore[misc]
    for change in changes:
        assert outcome(with_signature(provider, change), trusting(provider)) is BAD_SIGNATURE


def test_J23_a_pss_signature_has_one_salt_length_and_one_hash() -> None:
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import padding

    provider = Provider(signer=rsa_signer("pss", "PS256"))
    signing_input = provider.token().rpartition(".")[0]

    def sign(mask: hashes.HashAlgorithm, salt: int, digest: hashes.HashAlgorithm) -> Reason | None:
        pss = padding.PSS(padding.MGF1(mask), salt)
        raw = provider.signer.private.sign(signing_input.encode(), pss, digest)
        return outcome(f"{signing_input}.{base64url(raw)}", trusting(provider))

    assert sign(hashes.SHA256(), 32, hashes.SHA256()) is None
    for salt in (0, 20, 31, 33, 64, 222):
        assert sign(hashes.SHA256(), salt, hashes.SHA256()) is BAD_SIGNATURE
    assert sign(hashes.SHA1(), 32, hashes.SHA256()) is BAD_SIGNATURE
    assert sign(hashes.SHA512(), 32, hashes.SHA512()) is BAD_SIGNATURE


@pytest.mark.parametrize("foreign", [" ", "?", "#", "+", "/", "=", "==", "\n", "\r\n", "\t", "\0", "%3D", "é", ","], ids=ascii)
def test_J24_foreign_characters_in_any_part_are_malformed(foreign: str) -> None:
    parts = PROVIDER.token().split(".")
    for index in range(3):
        for position in (0, len(parts[index]) // 2, len(parts[index])):
            changed = [*parts]
            changed[index] = parts[index][:position] + foreign + parts[index][position:]
            assert outcome(".".join(changed)) is MALFORMED


def test_J24_a_signed_part_in_the_standard_alphabet_or_padded_is_malformed() -> None:
    # Even when the issuer itself signed that spelling.
    payload = compact({}, PROVIDER.claims(sub="??>>??>>~~"), b"").split(".")[1]
    head = compact(PROVIDER.header(), {}, b"").split(".")[0]
    assert "_" in payload or "-" in payload
    for spelled in (payload.replace("-", "+").replace("_", "/"), payload + "="):
        assert outcome(resign(f"{head}.{spelled}".encode(), PROVIDER.signer)) is MALFORMED


def test_J25_a_second_spelling_of_the_last_character_is_malformed() -> None:
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    issuers = trusting(PROVIDER)
    token = PROVIDER.token()  # 256 bytes of signature: four bits of the last character are unused
    assert len(unbase64url(token.split(".")[2])) % 3 == 1
    outcomes = {last: outcome(token[:-1] + last, issuers) for last in alphabet}
    assert [last for last, reason in outcomes.items() if reason is None] == [token[-1]]
    assert sum(reason is MALFORMED for reason in outcomes.values()) == 60


# ── J26 to J37: times, names, JSON ───────────────────────────────────────────

NO_DATES = [
    "NaN",
    "Infinity",
    "1e999",
    "null",
    "true",
    "[]",
    "{}",
    '"1800000300"',
    '""',
    "-1",
    "-0.5",
    "1e15",
    "9" * 400,
    "9" * 4400,
]
NO_DATES += ["253402300800", "1800000300000"]


@pytest.mark.parametrize("claim", ["exp", "iat", "nbf"])
@pytest.mark.parametrize("value", NO_DATES, ids=lambda value: value[:12])
def test_J26_J27_J29_a_time_that_is_no_number_between_1970_and_9999_is_malformed(claim: str, value: str) -> None:
    payload = compact({}, PROVIDER.claims(**{claim: 123454321}), b"").split(".")[1]
    changed = unbase64url(payload).replace(b"123454321", value.encode())
    assert outcome(PROVIDER.sign(PROVIDER.header(), changed)) is MALFORMED


@pytest.mark.parametrize("value", [NOW + 60.5, float(NOW + 60)])
def test_J27_a_time_may_have_a_fraction(value: float) -> None:
    assert accepted(PROVIDER.token(exp=value)).expires_at == value


@pytest.mark.parametrize("claim", ["exp", "iat", "sub"])
def test_J28_without_a_required_claim_a_token_is_malformed(claim: str) -> None:
    assert outcome(PROVIDER.token(**{claim: OMITTED})) is MALFORMED


@pytest.mark.parametrize("claim", ["nbf", "iat"])
def test_J29_a_token_of_the_future_is_not_yet_valid_but_for_the_leeway(claim: str) -> None:
    assert outcome(PROVIDER.token(**{claim: NOW + 30})) is None
    assert outcome(PROVIDER.token(**{claim: NOW + 30.5})) is NOT_YET_VALID
    assert outcome(PROVIDER.token(**{claim: NOW + 31}), now=NOW + 1) is None


def test_J30_a_lifetime_over_the_limit_is_too_long_even_when_it_is_nearly_over() -> None:
    issuers = trusting(PROVIDER, max_lifetime=3600)
    assert outcome(PROVIDER.token(exp=NOW + 3600), issuers) is None
    assert outcome(PROVIDER.token(exp=NOW + 3601), issuers) is TOO_LONG
    assert outcome(PROVIDER.token(exp=NOW + 10 * 365 * 86400), issuers) is TOO_LONG
    assert outcome(PROVIDER.token(iat=NOW - 7200, exp=NOW + 1), issuers) is TOO_LONG


def test_J31_the_last_second_of_exp_and_leeway_still_passes() -> None:
    token = PROVIDER.token(exp=NOW + 100)
    issuers = trusting(PROVIDER, leeway=30)
    assert outcome(token, issuers, NOW + 100) is None
    assert outcome(token, issuers, NOW + 130) is None
    assert outcome(token, issuers, NOW + 130.001) is EXPIRED
    assert outcome(token, issuers, NOW + 131) is EXPIRED
    assert outcome(token, trusting(PROVIDER, leeway=0), NOW + 100) is None
    assert outcome(token, trusting(PROVIDER, leeway=0), NOW + 100.001) is EXPIRED


def test_J31_J62_a_token_kept_is_judged_by_the_time_of_each_request() -> None:
    issuers = trusting(PROVIDER)
    verified = accepted(PROVIDER.token(exp=NOW + 100), issuers)
    issuer = issuers[PROVIDER.issuer]
    assert judge_time(verified, issuer, NOW + 130) is None
    assert judge_time(verified, issuer, NOW + 131) is EXPIRED
    assert judge_time(verified, issuer, NOW - 31) is NOT_YET_VALID


def test_authenticate_knows_no_time() -> None:
    verdict = authenticate(PROVIDER.token(iat=NOW - 9000, exp=NOW - 8700).encode(), trusting(PROVIDER))
    assert isinstance(verdict, Verified)
    assert judge_time(verdict, trusting(PROVIDER)[PROVIDER.issuer], NOW) is EXPIRED


def test_J32_equal_names_are_malformed_in_header_and_payload() -> None:
    good_head, good_payload = b'{"alg":"RS256","kid":"key-1"}', compact({}, PROVIDER.claims(), b"").split(".")[1]
    payload = unbase64url(good_payload)
    assert outcome(PROVIDER.sign(good_head, payload)) is None
    assert outcome(PROVIDER.sign(good_head, payload[:-1] + b',"sub":"admin"}')) is MALFORMED
    assert outcome(PROVIDER.sign(b'{"alg":"none","alg":"RS256","kid":"key-1"}', payload)) is MALFORMED
    assert outcome(PROVIDER.sign(b'{"alg":"RS256","kid":"key-1","kid":"key-1"}', payload)) is MALFORMED


NO_USERS: list[Any] = [
    "",
    "a\r\nX-Admin: 1",
    "a\0b",
    "a\tb",
    "\x1b[31m",
    "a\x7f",
    "a\x85b",
    " alice",
    "alice ",
    "\u00a0alice",
    "a\u2028b",
]
NO_USERS += ["alice,admin", "alice\u202egnp", "\u200fx", "\u2066x", "\ufeffalice", "a\u200bb", "x" * 256, "é" * 128, "x" * 7000]
NO_USERS += [1, 1.5, True, None, ["alice"], {"name": "alice"}]


@pytest.mark.parametrize("user", NO_USERS, ids=lambda user: ascii(user)[:24])
def test_J33_J34_a_user_that_cannot_be_shown_is_malformed(user: Any) -> None:
    assert outcome(PROVIDER.token(sub=user)) is MALFORMED
    assert outcome(PROVIDER.token(login=user), trusting(PROVIDER, user_claim="login")) is MALFORMED


def test_J33_a_lone_surrogate_is_malformed() -> None:
    payload = unbase64url(compact({}, PROVIDER.claims(sub="alice"), b"").split(".")[1])
    assert outcome(PROVIDER.sign(PROVIDER.header(), payload.replace(b"alice", b"\\ud800"))) is MALFORMED


@pytest.mark.parametrize(
    "user", ["alice", "alice smith", "a@example.org", "José", "李", "auth0|5f7c", "100%", 'a"b', "x" * 255, "é" * 127]
)
def test_J33_a_user_may_be_any_text_for_people(user: str) -> None:
    assert accepted(PROVIDER.token(sub=user)).user == user


@pytest.mark.parametrize("claim", ["jti", "sid"])
@pytest.mark.parametrize("value", [1, "", [], {}, True, "a\r\nb", "a\0", " a", "x" * 256], ids=lambda value: repr(value)[:12])
def test_an_identifier_has_one_shape(claim: str, value: Any) -> None:
    assert outcome(PROVIDER.token(**{claim: value})) is MALFORMED


@pytest.mark.parametrize(
    "value", [1, True, {}, [1], ["a", None], ["a", ""], ["a\r\n"], [["a"]], "", [" a"], ["x" * 256], ["g"] * 257], ids=str
)
def test_groups_have_one_shape(value: Any) -> None:
    assert outcome(PROVIDER.token(groups=value)) is MALFORMED


def test_groups_may_be_one_string_and_hold_commas() -> None:
    assert accepted(PROVIDER.token(groups="a,b c")).groups == ("a,b c",)
    assert accepted(PROVIDER.token(groups=None)).groups == ()
    assert accepted(PROVIDER.token(groups=[])).groups == ()


@pytest.mark.parametrize("name", ["a\r\nb", "", None, 1, ["x"], "x" * 256])
def test_a_display_name_that_cannot_be_shown_is_left_out_and_nobody_refused(name: Any) -> None:
    assert accepted(PROVIDER.token(name=name), trusting(PROVIDER, name_claim="name")).name is None


@pytest.mark.parametrize("version", [OMITTED, None, -1, 1.0, "1", True, 2**53 + 1, 2**63, [1]], ids=str)
def test_J60_a_version_that_is_named_must_be_a_whole_number(version: Any) -> None:
    assert outcome(PROVIDER.token(ver=version), trusting(PROVIDER, version_claim="ver")) is MALFORMED
    assert outcome(PROVIDER.token(ver=version)) is None  # and is ignored when it is not named


def test_J35_deep_nesting_is_malformed() -> None:
    deep = b"[" * 2900 + b"]" * 2900
    assert outcome(PROVIDER.sign(PROVIDER.header(), b'{"a":' + deep + b"}")) is MALFORMED
    assert outcome(PROVIDER.sign(b'{"a":' + deep + b"}", PROVIDER.claims())) is MALFORMED


@pytest.mark.parametrize("body", EVERY_BODY, ids=lambda body: repr(body[:24]))
def test_J36_J37_a_signed_body_that_is_no_strict_object_is_malformed(body: bytes) -> None:
    assert outcome(PROVIDER.sign(PROVIDER.header(), body)) is MALFORMED
    assert outcome(PROVIDER.sign(body, PROVIDER.claims())) is MALFORMED


# ── J38 to J50: size, extensions, other kinds of token, issuer, audience ─────


def test_J38_a_token_is_at_most_8_kilobytes() -> None:
    filler = MAX_TOKEN_BYTES - len(PROVIDER.token(filler=""))
    just = PROVIDER.token(filler="x" * (filler * 3 // 4 - 8))
    assert MAX_TOKEN_BYTES - 20 < len(just) <= MAX_TOKEN_BYTES
    assert outcome(just) is None
    assert outcome(PROVIDER.token(filler="x" * filler)) is MALFORMED


@pytest.mark.parametrize("token", [b"." * 100_000, b"a" * 65536, b"a." * 500_000, b"\0" * 9000, b"e30." * 2000])
def test_J38_long_rubbish_is_malformed(token: bytes) -> None:
    assert outcome(token) is MALFORMED


EXTENSIONS = [{"crit": value} for value in (["exp"], ["x-unknown"], [], "exp", ["b64"], ["alg"], ["a", "a"], None, {})]
EXTENSIONS += [{"b64": False}, {"b64": True}, {"b64": False, "crit": ["b64"]}, {"zip": "DEF"}, {"enc": "A128GCM"}]
EXTENSIONS += [{"cty": "JWT"}, {"cty": "jwt"}, {"cty": "application/jwt"}, {"cty": None}]


@pytest.mark.parametrize("extension", EXTENSIONS, ids=str)
def test_J39_J40_J41_J47_an_extension_of_the_header_is_malformed(extension: dict[str, Any]) -> None:
    assert outcome(PROVIDER.token(extension)) is MALFORMED


def test_J40_a_detached_payload_is_malformed() -> None:
    head, _, signature = PROVIDER.token().split(".")
    assert outcome(f"{head}..{signature}") is MALFORMED


def test_J42_J43_J44_an_encrypted_token_is_malformed_and_nothing_is_decrypted() -> None:
    for head in (
        {"alg": "RSA-OAEP", "enc": "A128GCM"},
        {"alg": "PBES2-HS256+A128KW", "p2c": 2147483647, "enc": "A128GCM"},
        {"alg": "dir"},
    ):
        part = compact(head, b"", b"").split(".")[0]
        assert outcome(f"{part}.AAAA.AAAA.AAAA.AAAA") is MALFORMED
        assert outcome(f"{part}..AAAA.AAAA.AAAA") is MALFORMED


def test_J45_J46_the_json_serialization_is_malformed() -> None:
    head, payload, signature = PROVIDER.token().split(".")
    flattened = f'{{"protected":"{head}","payload":"{payload}","signature":"{signature}"}}'
    unprotected = f'{{"header":{{"alg":"RS256","kid":"key-1"}},"payload":"{payload}","signature":"{signature}"}}'
    general = f'{{"payload":"{payload}","signatures":[{{"protected":"{head}","signature":"{signature}"}}]}}'
    polyglot = f'{{"x":"{head}.{payload}.{signature}"}}'
    for text in (flattened, unprotected, general, polyglot, f'{{"payload":"{payload}","signatures":[]}}'):
        assert outcome(text) is MALFORMED


@pytest.mark.parametrize(
    "type_", ["at+jwt", "AT+JWT", "application/at+jwt", "Application/AT+JWT", "JWT", "jwt", "application/jwt", OMITTED], ids=str
)
def test_J48_the_types_of_access_tokens_are_compared_as_media_types(type_: Any) -> None:
    assert outcome(PROVIDER.token({"typ": type_})) is None


REFUSED_TYPES = [
    "rt+jwt",
    "dpop+jwt",
    "logout+jwt",
    "secevent+jwt",
    "id+jwt",
    "",
    " JWT",
    "JWT ",
    "text/jwt",
    "application/application/jwt",
]
REFUSED_TYPES += ["application/x/jwt", 1, None, ["JWT"], True]


@pytest.mark.parametrize("type_", REFUSED_TYPES, ids=repr)
def test_J48_another_kind_of_token_is_malformed(type_: Any) -> None:
    assert outcome(PROVIDER.token({"typ": type_})) is MALFORMED


def test_J48_only_a_lone_application_prefix_is_left_out() -> None:
    assert outcome(PROVIDER.token({"typ": "application/x/jwt"}), trusting(PROVIDER, types=frozenset({"x/jwt"}))) is MALFORMED


def test_J48_no_typ_is_accepted_only_when_configured() -> None:
    assert outcome(PROVIDER.token({"typ": OMITTED}), trusting(PROVIDER, types=frozenset({"at+jwt"}))) is MALFORMED
    assert outcome(PROVIDER.token(), trusting(PROVIDER, types=frozenset({None}))) is MALFORMED


OTHER_ISSUERS = ["https://idp.example/realms/shop/", "https://idp.example/realms/sho", "https://idp.example/realms/shopping"]
OTHER_ISSUERS += [
    "HTTPS://idp.example/realms/shop",
    "https://idp.example/realms/Shop",
    "",
    " https://idp.example/realms/shop",
    "shop",
]


@pytest.mark.parametrize("issuer", [*OTHER_ISSUERS, OMITTED], ids=str)
def test_J49_any_other_spelling_of_the_issuer_is_the_wrong_issuer(issuer: Any) -> None:
    assert outcome(PROVIDER.token(iss=issuer)) is WRONG_ISSUER


@pytest.mark.parametrize("issuer", [["https://idp.example/realms/shop"], None, 1, {}, True], ids=str)
def test_J49_an_issuer_that_is_no_string_is_malformed(issuer: Any) -> None:
    assert outcome(PROVIDER.token(iss=issuer)) is MALFORMED


@pytest.mark.parametrize("audience", [OMITTED, "shopping", "sho", "SHOP", "", [], ["other"], "other shop", ["shop "]], ids=str)
def test_J50_a_token_for_somebody_else_has_the_wrong_audience(audience: Any) -> None:
    assert outcome(PROVIDER.token(aud=audience)) is WRONG_AUDIENCE


@pytest.mark.parametrize("audience", [1, None, {"shop": 1}, [["shop"]], ["shop", 1], True], ids=str)
def test_J50_an_audience_of_another_shape_is_malformed(audience: Any) -> None:
    assert outcome(PROVIDER.token(aud=audience)) is MALFORMED


def test_J50_a_list_that_holds_ours_among_others_is_accepted() -> None:
    assert outcome(PROVIDER.token(aud=["other", "shop"])) is None


# ── J55 to J64: keys over time, algorithms ───────────────────────────────────


def test_J55_only_an_unknown_key_asks_for_newer_keys() -> None:
    verdict = verify(PROVIDER.token({"kid": "new"}).encode(), trusting(PROVIDER), NOW)
    assert verdict == Refused(UNKNOWN_KEY, "no such key in the issuer's set", PROVIDER.issuer, "new")


def test_J57_before_the_first_key_set_every_key_is_unknown() -> None:
    issuer = Issuer(PROVIDER.issuer, frozenset({"shop"}), frozenset({"RS256"}))
    assert [outcome(PROVIDER.token(), {issuer.name: issuer}) for _ in range(2)] == [UNKNOWN_KEY, UNKNOWN_KEY]


def test_J58_J59_rotation_overlap_withdrawal_and_the_future_key() -> None:
    old, new = Provider(signer=rsa_signer("old")), Provider(signer=rsa_signer("new"))
    issuers = trusting(old)
    issuer = issuers[old.issuer]
    assert (outcome(old.token(), issuers), outcome(new.token(), issuers)) == (None, UNKNOWN_KEY)
    kept = accepted(old.token(), issuers)
    issuer.adopt(parse_key_set(key_set(old.signer, new.signer), ["RS256"]))
    assert (outcome(old.token(), issuers), outcome(new.token(), issuers)) == (None, None)
    issuer.adopt(parse_key_set(key_set(new.signer), ["RS256"]))
    assert (outcome(old.token(), issuers), outcome(new.token(), issuers)) == (UNKNOWN_KEY, None)
    assert issuer.has_withdrawn(kept)


def test_J59_a_key_that_stays_in_a_newer_set_is_not_withdrawn() -> None:
    old, new = Provider(signer=rsa_signer("old")), Provider(signer=rsa_signer("new"))
    issuers = trusting(old)
    issuer, kept = issuers[old.issuer], accepted(old.token(), issuers)
    assert not issuer.has_withdrawn(kept)
    issuer.adopt(parse_key_set(key_set(old.signer, new.signer), ["RS256"]))
    assert not issuer.has_withdrawn(kept)


def test_J58_another_key_under_the_same_kid_does_not_verify_old_tokens() -> None:
    stolen, fresh = Provider(signer=rsa_signer("key-1", bits=2048)), Provider(signer=rsa_signer("key-1", bits=2056))
    assert outcome(stolen.token(), trusting(fresh)) is BAD_SIGNATURE


@pytest.mark.parametrize(
    "algorithm", ["ES256K", "EdDSA", "HS384", "hs256", "rs256", "RS256 ", "RS1", "Ed25519", "ES256", "HS256"]
)
def test_J64_an_algorithm_outside_the_list_is_a_bad_signature(algorithm: str) -> None:
    assert outcome(PROVIDER.token({"alg": algorithm})) is BAD_SIGNATURE


@pytest.mark.parametrize("algorithm", [["RS256"], None, 256, True, {}, OMITTED], ids=str)
def test_J64_an_algorithm_that_is_no_string_is_malformed(algorithm: Any) -> None:
    assert outcome(PROVIDER.token({"alg": algorithm})) is MALFORMED


# ── the order in which reasons are told ──────────────────────────────────────


def test_of_several_reasons_the_first_of_the_order_is_told() -> None:
    stranger = Provider(signer=rsa_signer("key-1", bits=2064))
    everything = {"aud": "other", "iat": NOW - 90_000, "exp": NOW - 1000}
    assert outcome(stranger.token(**everything, sub="")) is MALFORMED
    assert outcome(stranger.token(**everything)) is BAD_SIGNATURE
    assert outcome(stranger.token({"kid": "x"}, **everything)) is UNKNOWN_KEY
    assert outcome(stranger.token(**everything, iss="x")) is WRONG_ISSUER
    assert outcome(PROVIDER.token(**everything)) is WRONG_AUDIENCE
    assert outcome(PROVIDER.token(**everything | {"aud": "shop"})) is EXPIRED
    assert outcome(PROVIDER.token(iat=NOW + 60, exp=NOW + 90_000)) is NOT_YET_VALID
    assert outcome(PROVIDER.token(exp=NOW + 90_000)) is TOO_LONG


def test_a_refusal_never_repeats_the_token() -> None:
    marker = "MARKER"
    for token in (PROVIDER.token(sub=f"{marker}\n"), PROVIDER.token({"alg": marker}), PROVIDER.token({"typ": marker}), marker):
        verdict = verify(token.encode(), trusting(PROVIDER), NOW)
        assert isinstance(verdict, Refused)
        assert marker not in verdict.detail
