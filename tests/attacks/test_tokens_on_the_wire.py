"""Tokens as an attacker sends them, over real sockets to two workers: what is told, and that the application never hears of it.

What a token may look like is judged in `tests/enforce/test_verify.py`, at the level of one function. Here is what only the
whole program can show: the header field around the token, sizes, keys that come and go, one-time tokens asked for by many at
once, and the key endpoint of an issuer that misbehaves.
"""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from issuing import OMITTED, Provider, base64url, compact, ec_signer, hs_signer, key_set, rsa_signer, unbase64url, write_key_set
from live.running_gateway import CALM_STORE, ISSUER, eventually
from wire_gateway import PARTNER, PARTNER_SIGNER, Background, Wire, at_once, issuer, wire

pytestmark = pytest.mark.xdist_group("live2")

"""A key-set file is looked at every second; the rest is for a busy machine."""


@pytest.fixture(scope="module")
def attacked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Wire]:
    with wire(tmp_path_factory.mktemp("tokens"), store=CALM_STORE) as running:
        yield running


@pytest.fixture
def provider(attacked: Wire) -> Provider:
    return Provider(ISSUER, "shop", attacked.gateway.signers[0], now=int(time.time()))


def forged(provider: Provider) -> dict[str, str]:
    """One token of each family that a careless gateway lets in."""
    good = provider.token(sub="mallory")
    head, payload, signature = good.split(".")
    claims, now = provider.claims(sub="mallory"), int(provider.now)
    public_pem = json.dumps(provider.signer.jwk()).encode()
    stranger = rsa_signer("stranger")
    return {
        "J01 none": compact({"alg": "none"}, claims, b""),
        "J01 none with a signature": compact({"alg": "nOnE", "kid": "key-1"}, claims, unbase64url(signature)),
        "J02 no signature": f"{head}.{payload}.",
        "J03 two parts": f"{head}.{payload}",
        "J04 another payload": f"{head}.{base64url(json.dumps(claims | {'sub': 'root'}).encode())}.{signature}",
        "J05 the public key as a secret": compact({"alg": "HS256", "kid": "key-1"}, claims, hs_signer(public_pem)),
        "J08 a key it brings": compact({"alg": "RS256", "jwk": stranger.jwk()}, claims, stranger),
        "J11 a kid of a file": compact({"alg": "HS256", "kid": "../../dev/null"}, claims, hs_signer(b"\0")),
        "J13 a kid that is a list": provider.token(header={"kid": ["key-1"]}),
        "J21 no raw ECDSA": compact({"alg": "ES256", "kid": "key-1"}, claims, bytes(64)),
        "J24 padding": f"{head}.{payload}.{signature}==",
        "J26 NaN": provider.sign(provider.header(), json.dumps(claims | {"exp": float("nan")}).encode()),
        "J27 a huge number": provider.sign(provider.header(), b'{"exp":' + b"9" * 4400 + b"}"),
        "J28 no exp": provider.token(exp=OMITTED),
        "J29 of tomorrow": provider.token(iat=now + 86400, exp=now + 86460),
        "J30 for ten years": provider.token(exp=now + 10 * 365 * 86400),
        "J31 of yesterday": provider.token(iat=now - 86400, exp=now - 86000),
        "J32 two subjects": provider.sign(provider.header(), json.dumps(claims)[:-1].encode() + b',"sub":"root"}'),
        "J33 a line break in sub": provider.token(sub="mallory\r\nX-User: root"),
        "J33 a surrogate in sub": provider.sign(provider.header(), json.dumps(claims).replace("mallory", "\\ud800").encode()),
        "J34 sub is a number": provider.token(sub=0),
        "J35 deep": provider.sign(provider.header(), b'{"a":' + b"[" * 2000 + b"]" * 2000 + b"}"),
        "J36 a list": provider.sign(provider.header(), b"[]"),
        "J39 crit": provider.token(header={"crit": ["exp"]}),
        "J40 b64": provider.token(header={"b64": False}),
        "J41 zip": provider.token(header={"zip": "DEF"}),
        "J42 five parts": f"{head}.{payload}.{payload}.{payload}.{signature}",
        "J47 nested": provider.token(header={"cty": "JWT"}),
        "J48 a refresh token": provider.token(header={"typ": "rt+jwt"}),
        "J49 another issuer": provider.token(iss=f"{ISSUER}/"),
        "J49 another issuer's key": Provider(PARTNER, "partner", provider.signer, now=now).token(),
        "J50 for another service": provider.token(aud="shopping"),
        "J64 a listed algorithm of another key": compact({"alg": "ES256", "kid": "key-1"}, claims, ec_signer("key-1")),
    }


def test_J01_to_J50_J64_no_forged_token_reaches_the_application(attacked: Wire, provider: Provider):
    told = {name: attacked.show(token, "/forged") for name, token in forged(provider).items()}
    assert {name: answer.told for name, answer in told.items() if answer.status != 401} == {}
    assert all(b"www-authenticate: bearer" in answer.head.lower() for answer in told.values())
    assert not attacked.reached("/forged")


def test_J09_J10_a_location_in_the_header_is_never_called(attacked: Wire, provider: Provider):
    trap = Background()
    try:
        url = f"http://127.0.0.1:{trap.backend.port}/keys.json"
        stranger = rsa_signer("stranger")
        for parameter in ("jku", "x5u"):
            token = compact({"alg": "RS256", "kid": "stranger", parameter: url}, provider.claims(), stranger)
            assert attacked.everywhere(token) == {"401 unknown-key"}
        assert trap.backend.connections == 0
    finally:
        trap.close()


ACCEPTED_FIELDS = [b"Bearer %b", b"bearer %b", b"BEARER %b", b"   Bearer %b", b"Bearer %b \t"]
REFUSED_FIELDS = {
    b"Bearer": "401 malformed-token",
    b"Bearer  %b": "401 malformed-token",
    b"Bearer\t%b": "401 malformed-token",
    b"Bearer %b, Bearer %b": "401 malformed-token",
    b'Bearer "%b"': "401 malformed-token",
    b"Bearer %b;a=b": "401 malformed-token",
    b"Bearer %b %b": "401 malformed-token",
    b"Basic %b": "401 no-token",
    b"%b": "401 no-token",
    b"Bearer:%b": "401 no-token",
    b"": "401 no-token",
    b"Bearer %b\x01": "400 bad-request",
    b"Bearer %b\0": "400 bad-request",
    b"Bearer %b\r": "400 bad-request",
}


@pytest.mark.parametrize("form", ACCEPTED_FIELDS)
def test_J51_the_scheme_has_no_case_and_space_around_the_field_is_no_part_of_it(attacked: Wire, provider: Provider, form: bytes):
    token = provider.token(sub="alice").encode()
    assert attacked.get("/form", b"Authorization: " + form.replace(b"%b", token)).told == "200"
    assert attacked.arrived[-1].values("X-User") == [b"alice"]
    assert attacked.arrived[-1].values("Authorization") == []


@pytest.mark.parametrize(("form", "told"), REFUSED_FIELDS.items())
def test_J51_every_other_form_of_the_field_is_refused(attacked: Wire, provider: Provider, form: bytes, told: str):
    field = b"Authorization: " + form.replace(b"%b", provider.token().encode())
    assert attacked.get("/another-form", field).told == told
    optional = attacked.get("/optional/another-form", field)
    assert optional.told == ("200" if told == "401 no-token" else told)
    assert not attacked.reached("/another-form") or attacked.arrived[-1].values("X-User") == []


@pytest.mark.parametrize("second", [b"Authorization: %b", b"authorization: Basic YTpi", b"AUTHORIZATION:"])
def test_J52_J57_two_fields_are_a_bad_request_on_every_route(attacked: Wire, provider: Provider, second: bytes):
    token = b"Bearer " + provider.token().encode()
    for path in ("/doubled", "/optional/doubled", "/public/doubled"):
        fields = b"Authorization: " + token, second.replace(b"%b", token)
        assert attacked.get(path, *fields).told == "400 bad-request"
        assert attacked.get(path, *reversed(fields)).told == "400 bad-request"
    assert not attacked.reached("doubled")


def test_J53_a_cookie_beside_a_bearer_token_changes_nobodys_identity(attacked: Wire, provider: Provider):
    cookie = f"Cookie: __Host-access={provider.token(sub='bob')}; access={provider.token(sub='bob')}"
    assert attacked.get("/mixed", f"Authorization: Bearer {provider.token(sub='alice')}", cookie).told == "200"
    assert attacked.reached("/mixed")[0].values("X-User") == [b"alice"]
    assert attacked.get("/mixed", "Authorization: Bearer junk", cookie).told == "401 malformed-token"
    assert len(attacked.reached("/mixed")) == 1


def test_J54_a_token_anywhere_else_is_no_token(attacked: Wire, provider: Provider):
    token = provider.token()
    body = f"access_token={token}".encode()
    form = b"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
    places = [
        attacked.get(f"/elsewhere?access_token={token}"),
        attacked.get("/elsewhere", f"X-Access-Token: {token}"),
        attacked.get("/elsewhere", f"Proxy-Authorization: Bearer {token}"),
        attacked.get("/elsewhere", f"Cookie: access={token}; access_token={token}; session={token}"),
        attacked.get("/elsewhere", "Upgrade: websocket", f"Sec-WebSocket-Protocol: bearer, {token}"),
        attacked.send(b"POST /elsewhere HTTP/1.1\r\nHost: shop.example\r\nConnection: close\r\n" + form),
    ]
    assert {answer.told for answer in places} == {"401 no-token"}
    for cookie in ("__Host-access", "__Host-refresh"):  # those are for our own tokens
        assert attacked.get("/elsewhere", f"Cookie: {cookie}={token}").told == "401 wrong-issuer"
    assert not attacked.reached("/elsewhere")


@pytest.mark.parametrize(
    ("token", "told"),
    [
        (b"." * 100_000, "431 too-large"),
        (b"." * 16_000, "401 malformed-token"),
        (b"a" * 8_193, "401 malformed-token"),
        (b"eyJ." * 4_000, "401 malformed-token"),
        (b"a" * (1 << 20), "431 too-large"),
    ],
    ids=["100k dots", "16k dots", "8k", "16k", "1M"],
)
def test_J38_a_monstrous_token_is_refused(attacked: Wire, token: bytes, told: str):
    assert attacked.show(token, "/monstrous").told == told
    assert not attacked.reached("/monstrous")


def test_J38_five_hundred_cookies_with_a_token_each_are_refused(attacked: Wire, provider: Provider):
    cookies = [f"Cookie: c{number}={provider.token()}" for number in range(500)]
    assert attacked.get("/cookies", *cookies).told == "431 too-large"


def test_J25_J60_every_spelling_of_a_revoked_token_is_refused(attacked: Wire, provider: Provider):
    gateway = attacked.gateway
    partner = Provider(PARTNER, "partner", PARTNER_SIGNER, now=int(time.time()))
    same_name, token = partner.token(jti="spelt"), provider.token(jti="spelt")
    assert attacked.everywhere(token) == attacked.everywhere(same_name, "/partner/who") == {"200"}
    gateway.revoke(token_id="spelt", issuer=ISSUER)
    again = provider.token(jti="spelt", sub="another payload")
    for form in (b"Bearer %b", b"bearer %b", b"BEARER %b "):
        for spelt in (token, again):
            assert attacked.get("/who", b"Authorization: " + form.replace(b"%b", spelt.encode())).told == "401 revoked-token"
    assert attacked.show(token[:-1] + ("B" if token[-1] == "A" else "A")).told in ("401 malformed-token", "401 bad-signature")
    assert attacked.everywhere(same_name, "/partner/who") == {"200"}


def test_J60_a_token_id_alone_means_our_own_issuer_and_spares_everybody_elses(attacked: Wire, provider: Provider):
    attacked.gateway.revoke(token_id="whose")
    assert attacked.everywhere(provider.token(jti="whose")) == {"200"}


def test_J61_J63_names_that_run_together_are_not_mixed_up(attacked: Wire, provider: Provider):
    attacked.gateway.revoke(session="ab")
    attacked.gateway.revoke(user="c\u00e9")
    for claims in (
        {"sid": "a", "sub": "b"},
        {"sid": "a", "jti": "b"},
        {"sub": "ab"},
        {"jti": "ab"},
        {"sub": "ce\u0301"},
        {"sid": "AB"},
    ):
        assert attacked.show(provider.token(**claims)).told == "200"
    assert attacked.show(provider.token(sid="ab")).told == "401 revoked-session"
    assert attacked.show(provider.token(sub="c\u00e9")).told == "401 old-version"


def test_J62_a_verdict_on_one_route_is_no_verdict_on_another(attacked: Wire, provider: Provider):
    token = provider.token(groups=["guests"], sid="kept")
    told = {path: attacked.everywhere(token, path) for path in ("/who", "/staff/who", "/partner/who", "/who")}
    assert told == {"/who": {"200"}, "/staff/who": {"403 forbidden"}, "/partner/who": {"401 wrong-issuer"}}
    attacked.gateway.revoke(session="kept")
    assert attacked.everywhere(token) == {"401 revoked-session"}
    assert not attacked.reached("/staff/who") and not attacked.reached("/partner/who?")


def test_J31_J62_a_token_that_is_remembered_ends_in_time(attacked: Wire, provider: Provider):
    now = int(time.time())
    token = provider.token(iat=now - 60, exp=now - 28)  # 30 seconds of leeway
    assert attacked.show(token).told == "200"
    assert eventually(lambda: attacked.everywhere(token) == {"401 expired-token"})


def test_T2_who_was_revoked_in_a_second_is_refused_with_a_token_of_that_second(attacked: Wire, provider: Provider):
    attacked.gateway.revoke(user="hasty")
    second = int(time.time())
    assert attacked.everywhere(provider.token(sub="hasty", iat=second - 1)) == {"401 old-version"}
    eventually(lambda: int(time.time()) > second)
    provider.now = int(time.time())
    assert attacked.everywhere(provider.token(sub="hasty")) == {"200"}


def test_J62_a_revocation_twice_is_undone_only_when_both_are(attacked: Wire, provider: Provider):
    gateway, token = attacked.gateway, provider.token(sid="twice")
    first, second = gateway.revoke(session="twice"), gateway.revoke(session="twice", issuer=ISSUER)
    assert first["id"] != second["id"]
    gateway.undo(first)
    assert attacked.everywhere(token) == {"401 revoked-session"}
    gateway.undo(second)
    assert attacked.everywhere(token) == {"200"}
    assert gateway.call("DELETE", f"/v1/revocations/{first['id']}").status_code == 200  # repeating it is safe, and does nothing
    gateway.revoke(session="twice")
    gateway.undo(first)
    assert attacked.everywhere(token) == {"401 revoked-session"}


def test_T5_of_fifty_at_once_a_one_time_token_serves_one(attacked: Wire, provider: Provider):
    for number in range(3):
        token = provider.token(jti=f"once-{number}")
        told = [answer.told for answer in at_once(50, lambda _, token=token: attacked.show(token, "/once/pay"))]
        assert sorted(told) == ["200"] + ["401 replayed-token"] * 49
    assert len(attacked.reached("/once/pay")) == 3
    assert attacked.show(provider.token(jti=OMITTED), "/once/pay").told == "401 malformed-token"


def test_J58_J59_a_rotated_key_overlaps_and_a_withdrawn_one_is_refused_by_every_worker(attacked: Wire, provider: Provider):
    keys = attacked.gateway.folder / "keys.json"
    old, fresh = rsa_signer("retiring"), rsa_signer("fresh")
    of_old, of_fresh = (Provider(ISSUER, "shop", signer, now=int(time.time())).token() for signer in (old, fresh))
    everyday = attacked.gateway.signers[0]
    write_key_set(keys, everyday, old)
    eventually(lambda: attacked.everywhere(of_old) == {"200"})
    assert attacked.everywhere(of_fresh) == {"401 unknown-key"}
    write_key_set(keys, everyday, old, fresh)
    eventually(lambda: attacked.everywhere(of_fresh) == {"200"})
    assert attacked.everywhere(of_old) == {"200"}
    write_key_set(keys, everyday, fresh)
    eventually(lambda: attacked.everywhere(of_old) == {"401 unknown-key"})
    assert attacked.everywhere(of_fresh) == {"200"}
    keys.write_bytes(b'{"keys": [')  # half written
    write_key_set(keys, everyday, rsa_signer("weak", bits=1024), fresh.private_jwk())
    assert attacked.everywhere(provider.token()) == {"200"}
    write_key_set(keys, everyday, another_key_under("fresh"))
    eventually(lambda: attacked.everywhere(of_fresh) == {"401 bad-signature"})
    write_key_set(keys, everyday)
    eventually(lambda: attacked.everywhere(of_fresh) == {"401 unknown-key"})
    assert attacked.everywhere(provider.token()) == {"200"}


def another_key_under(kid: str) -> Any:
    """Another key under a name that is taken."""
    return rsa_signer("another-key").jwk(kid=kid)


def test_J65_a_thousand_bad_signatures_are_a_few_lines_and_hurt_nobody(attacked: Wire, provider: Provider):
    gateway, token = attacked.gateway, provider.token()
    before = len(gateway.messages())
    bad = token[:-8] + "AAAAAAAA"
    with ThreadPoolExecutor(8) as threads:
        told = {answer.told for answer in threads.map(lambda _: attacked.show(bad, "/forced"), range(1000))}
    assert told == {"401 bad-signature"}
    assert attacked.everywhere(token) == {"200"}
    assert len(gateway.messages()) - before < 400
    assert not attacked.reached("/forced")


Behaviour = Callable[[asyncio.StreamWriter], Awaitable[None]]


class KeyServer:
    """An issuer's key endpoint: at each path it does what `behaviours` says. Counts what it was asked for."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.behaviours: dict[str, Behaviour] = {}
        self._background = Background()
        self._background.backend.answer = self._answer
        self.port = self._background.backend.port

    async def _answer(self, request: Any, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        path = request.target.decode()
        self.asked.append(path)
        await self.behaviours[path](writer)
        return False

    def close(self) -> None:
        self._background.close()


def says(status: str, body: bytes, *lines: str) -> Behaviour:
    async def behave(writer: asyncio.StreamWriter) -> None:
        further = "".join(f"{line}\r\n" for line in lines)
        writer.write(f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n{further}\r\n".encode() + body)
        await writer.drain()

    return behave


async def pour(writer: asyncio.StreamWriter) -> None:
    """A gigabyte, or as much of it as somebody takes."""
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1073741824\r\n\r\n")
    for _ in range(1024):
        writer.write(bytes(1 << 20))
        await writer.drain()


async def hang_up(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{")


SIGNER = rsa_signer("remote")
FAULTS: dict[str, Behaviour] = {
    "/error": says("500 No", key_set(SIGNER)),
    "/page": says("200 OK", b"<html>"),
    "/empty": says("200 OK", b""),
    "/cut": hang_up,
    "/private": says("200 OK", json.dumps({"keys": [SIGNER.private_jwk()]}).encode()),
    "/moved": says("302 Found", b"", "Location: /internal"),
    "/gigabyte": pour,
}


@pytest.fixture(scope="module")
def key_server() -> Iterator[KeyServer]:
    server = KeyServer()
    yield server
    server.close()


def test_J55_J56_J57_a_key_endpoint_that_misbehaves_is_neither_believed_nor_stormed(
    key_server: KeyServer, tmp_path_factory: pytest.TempPathFactory
):
    key_server.behaviours.update(FAULTS)
    key_server.behaviours["/good"] = key_server.behaviours["/internal"] = says("200 OK", key_set(SIGNER))
    issuers = [
        issuer(f"https://idp.example{path}", f"http://127.0.0.1:{key_server.port}{path}", user_prefix=f"{path[1:]}|")
        for path in ("/good", *FAULTS)
    ]
    tokens = {path: Provider(f"https://idp.example{path}", "shop", SIGNER, now=int(time.time())) for path in ("/good", *FAULTS)}
    routes = [{"name": "app", "path": "/", "upstream": "app"}]
    with wire(tmp_path_factory.mktemp("remote"), issuers=issuers, routes=routes, store=CALM_STORE) as attacked:
        eventually(lambda: attacked.everywhere(tokens["/good"].token()) == {"200"})
        assert {path: attacked.everywhere(tokens[path].token(), times=12) for path in FAULTS} == {
            path: {"401 unknown-key"} for path in FAULTS
        }
        assert "/internal" not in key_server.asked
        fetched = key_server.asked.count("/good")
        with ThreadPoolExecutor(8) as threads:
            storm = threads.map(lambda n: attacked.show(tokens["/good"].token(header={"kid": f"random-{n}"})).told, range(600))
            assert {attacked.show(tokens["/good"].token()).told for _ in range(50)} == {"200"}
            assert set(storm) == {"401 unknown-key"}
        assert key_server.asked.count("/good") == fetched == 2  # one by each worker, at its start
        for path in FAULTS:
            key_server.behaviours[path] = key_server.behaviours["/good"]
        eventually(lambda: all(attacked.everywhere(tokens[path].token(), times=12) == {"200"} for path in FAULTS))
