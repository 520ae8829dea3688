"""What is fuzzed: each target takes any bytes, and raises AssertionError, or anything that is not ours, when a promise is broken.

    head        no exception but ours; what is accepted goes on in one reading, which h11 shares, and is read the same again
    chunked     the same body and the same end however it is cut; what goes on is read by h11 as that body
    answer      no exception but ours; the client's copy has one length; the body ends at the same byte however it is cut
    path        canonical once is canonical twice; no dot segment, no separator in disguise is left
    forwarded   addresses in canonical form only, the peer last, no more than the chain that is believed
    cookies     none of ours is left in what goes on
    frames      where a WebSocket frame ends does not depend on how its bytes are cut
    token       a refusal of the table, whatever is shown
    json        no exception but ours; what is accepted the standard library reads alike, and no name is doubled
    keys        no exception but ours
    settings    no exception but ours, each problem one line with a place
    said        Accept-Language, the User-Agent and its hints, Origin, traceparent, tracestate: read as far as they make sense

The same functions are driven three ways: by `test_fuzz_targets.py` with a few mutations of the seeds, by `make fuzz` with many,
and by coverage with `python tests/fuzz/guided.py` where atheris is installed. A find becomes a file of
`tests/corpus/finds/TARGET/`, which is a seed from then on.
"""

import json
from collections.abc import Callable
from functools import cache
from ipaddress import ip_address
from pathlib import Path
from typing import Final

import h11
from attacks.attack_corpus import from_files
from issuing import NOW, Provider, key_set, rsa_signer

from gateway.config.load import load
from gateway.enforce.csrf import Csrf
from gateway.enforce.device import Devices
from gateway.enforce.extract import MalformedCredential, bearer
from gateway.enforce.issuer import Issuer
from gateway.enforce.shown import Shown
from gateway.enforce.verify import Refused, verify
from gateway.errors import BadRequest, ClientError, ConfigurationError, KeySetError, UpstreamBroken
from gateway.portal.language import Language, language_of
from gateway.reasons import Reason
from gateway.tokens.jwk import parse_key_set
from gateway.tokens.strict_json import NotStrictJSON, loads_object
from gateway.wire.answer import AnswerMemory, AnswerReader
from gateway.wire.cookies import CookieNames
from gateway.wire.fields import RoleMemory, fold
from gateway.wire.forwarded import TrustedProxies
from gateway.wire.framing import LAST_CHUNK, ChunkedDecoder, Decoder, chunk
from gateway.wire.head import HeadReader, RequestHead, refuse_hopeless
from gateway.wire.path import canonical, split_target, without_parameters
from gateway.wire.rewrite import forwarded_lines, to_client, to_upstream
from gateway.wire.trace import read_traceparent, read_tracestate, trace_lines
from gateway.wire.websocket import FrameCounter

FINDS: Final = Path(__file__).parent.parent / "corpus" / "finds"
NAMES: Final = CookieNames.of(is_secure=True)
TRUSTED: Final = TrustedProxies(["127.0.0.0/8", "10.0.0.0/8"])
DEVICES: Final = Devices()
IDENTITY: Final = b"X-User: alice\r\n"
END: Final = trace_lines(b"0" * 32, b"00-%b-%b-00" % (b"1" * 32, b"2" * 16), None)
_GENEROUS: Final = 1 << 20


def head(data: bytes) -> None:
    end = data.find(b"\r\n\r\n")
    try:
        if end < 0:
            if data:
                refuse_hopeless(data)
            return
        raw = data[: end + 4]
        read = _read_head(raw)
    except ClientError:
        return
    sent = to_upstream(read, b"app", (forwarded_lines(read, b"192.0.2.1", b"http", is_trusted=False), IDENTITY)) + END
    _assert_that_h11_reads_it_so(read, sent)
    assert _read_head(raw).lines == read.lines
    identities = [line for line in sent.split(b"\r\n") if fold(line.partition(b":")[0]) == b"x-user"]
    assert identities == [IDENTITY[:-2]], "nobody but the gateway says who the user is"


def _read_head(raw: bytes) -> RequestHead:
    return HeadReader(RoleMemory(), 100, 8192, NAMES).read(raw)


def _assert_that_h11_reads_it_so(read: RequestHead, sent: bytes) -> None:
    assert sent.count(b"\r\n\r\n") == 1 and b"\0" not in sent
    assert sent.count(b"\n") == sent.count(b"\r\n") == sent.count(b"\r")
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=_GENEROUS)
    connection.receive_data(sent)
    event = connection.next_event()
    assert isinstance(event, h11.Request)
    assert (event.method, event.target) == (read.method, read.path + read.query)
    lengths = [value for name, value in event.headers if name == b"content-length"]
    codings = [value for name, value in event.headers if name == b"transfer-encoding"]
    assert codings == ([b"chunked"] if read.chunked else [])
    assert lengths == ([] if read.content_length is None else [b"%d" % read.content_length])


def chunked(data: bytes) -> None:
    at_once = _decoded(ChunkedDecoder(), [data])
    cuts = [_decoded(ChunkedDecoder(), _cut(data, size)) for size in (1, 2, 3, 7)]
    for most in (1, 2):
        decoder = ChunkedDecoder()
        decoder.most = most
        cuts.append(_decoded(decoder, [data]))
    assert all(cut == at_once for cut in cuts), (at_once, cuts)
    if at_once is None or not at_once[1]:
        return
    body, _, rest = at_once
    sent = b"".join([*chunk([body]), LAST_CHUNK])
    assert _decoded(ChunkedDecoder(), [sent + b"GET /"]) == (body, True, b"GET /")
    assert data.endswith(rest)
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=_GENEROUS)
    connection.receive_data(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + sent)
    connection.next_event()
    received = b""
    while isinstance(event := connection.next_event(), h11.Data):
        received += event.data
    assert isinstance(event, h11.EndOfMessage) and received == body


def _decoded(decoder: Decoder, pieces: list[bytes]) -> tuple[bytes, bool, bytes] | None:
    """Body, whether it is whole, and what follows it; None: refused."""
    body: list[bytes] = []
    rest = b""
    try:
        for number, piece in enumerate(pieces):
            found, rest = decoder.feed(piece)
            body += found
            while isinstance(decoder, ChunkedDecoder) and decoder.has_more:
                found, rest = decoder.feed(b"")
                body += found
            if decoder.is_done:
                return b"".join(body), True, rest + b"".join(pieces[number + 1 :])
    except ClientError:
        return None
    return b"".join(body), False, rest


def _cut(data: bytes, size: int) -> list[bytes]:
    return [data[at : at + size] for at in range(0, len(data), size)]


def answer(data: bytes) -> None:
    at = data.find(b"\r\n\r\n") + 4
    if at < 4:
        return
    try:
        read = AnswerReader(AnswerMemory(NAMES)).read(data[:at])
    except UpstreamBroken:
        return
    if read.status < 200:
        return
    sent = to_client(read, has_body=True, is_chunked=False, is_persistent=True, minor=1, is_private=True)
    assert sent.count(b"\r\n\r\n") == 1 and sent.endswith(b"\r\n\r\n")
    assert sent.count(b"\n") == sent.count(b"\r\n") == sent.count(b"\r")
    names = [line.partition(b":")[0].lower() for line in sent.split(b"\r\n")]
    assert names.count(b"content-length") <= 1 and b"transfer-encoding" not in names
    at_once = _decoded(read.decoder(), [data[at:]])
    assert _decoded(read.decoder(), _cut(data[at:], 3)) == at_once


def path(data: bytes) -> None:
    try:
        found, query = split_target(data)
    except BadRequest:
        return
    assert found.startswith(b"/") and canonical(found) == found
    assert split_target(found + query) == (found, query)
    assert data.endswith(query)
    for reading in (found, without_parameters(found)):
        segments = reading.upper().split(b"/")
        assert b"." not in segments and b".." not in segments and b"" not in segments[1:-1]
        assert not any(mark in reading.upper() for mark in (b"%2F", b"%5C", b"\\", b"%00", b"%2E", b"#", b"?", b" "))


def forwarded(data: bytes) -> None:
    chain = TRUSTED.chain("127.0.0.1", data)
    assert chain[-1] == "127.0.0.1" and len(chain) <= 33
    assert all(str(ip_address(address)) == address for address in chain)
    assert all(TRUSTED.judge(address)[1] for address in chain[1:]), "beyond the first stranger nobody is believed"
    address, way = TRUSTED.believe("127.0.0.1", data)
    assert address == chain[0]
    assert way is None or TRUSTED.believe("127.0.0.1", way) == (address, way), "what was believed is believed again"
    assert TRUSTED.chain("192.0.2.1", data) == ["192.0.2.1"]


def cookies(data: bytes) -> None:
    taken = NAMES.take(data)
    if taken is None:
        left = data
    else:
        left = taken.rest
        assert len(taken.rest) + sum(len(value) for _, value in taken.found) < len(data)
    for pair in left.split(b";"):
        assert pair.partition(b"=")[0].strip(b" \t") not in (NAMES.access, NAMES.refresh, NAMES.csrf)
    assert NAMES.take(left) is None


def frames(data: bytes) -> None:
    def ends(size: int) -> bool:
        counter = FrameCounter()
        for piece in _cut(data, size):
            counter.feed(piece)
        return counter.is_between_frames

    assert len({ends(size) for size in (1, 2, 5, len(data) or 1)}) == 1


REASONS: Final = {
    Reason.MALFORMED_TOKEN,
    Reason.BAD_SIGNATURE,
    Reason.UNKNOWN_KEY,
    Reason.WRONG_ISSUER,
    Reason.WRONG_AUDIENCE,
    Reason.EXPIRED_TOKEN,
    Reason.NOT_YET_VALID,
    Reason.LIFETIME_TOO_LONG,
}


@cache
def _provider() -> Provider:
    return Provider("https://idp.example", signer=rsa_signer())


@cache
def _issuers() -> dict[str, Issuer]:
    provider = _provider()
    issuer = Issuer(provider.issuer, frozenset({"shop"}), frozenset({"RS256"}))
    issuer.adopt(parse_key_set(key_set(provider.signer), ["RS256"]))
    return {issuer.name: issuer}


@cache
def _good_token() -> bytes:
    return _provider().token().encode()


def token(data: bytes) -> None:
    try:
        shown = bearer(data)
    except MalformedCredential:
        return
    if shown is None:
        return
    verdict = verify(shown, _issuers(), NOW)
    if not isinstance(verdict, Refused):
        assert shown == _good_token(), "nobody but the issuer makes a token"
        return
    assert verdict.reason in REASONS


def json_object(data: bytes) -> None:
    try:
        value = loads_object(data)
    except NotStrictJSON:
        return
    assert value == json.loads(data, object_pairs_hook=_once_each)


def _once_each(pairs: list[tuple[str, object]]) -> dict[str, object]:
    assert len(dict(pairs)) == len(pairs)
    return dict(pairs)


def keys(data: bytes) -> None:
    for algorithms in (["RS256", "ES256"], ["HS256"]):
        try:
            found = parse_key_set(data, algorithms)
        except KeySetError as error:
            assert str(error).isprintable()
            continue
        assert all(key.algorithm in algorithms for key in found.keys.values())


def settings(data: bytes) -> None:
    try:
        load("/nowhere/gateway.yaml", {}, text=data.decode("utf-8", "replace"))
    except ConfigurationError as error:
        assert error.problems
        assert all(problem.startswith("/nowhere/gateway.yaml:") for problem in error.problems)
        assert all("\n" not in problem and "\0" not in problem for problem in error.problems)


def said(data: bytes) -> None:
    assert language_of(data) in Language
    agent = DEVICES.of_agent(data)
    hints = DEVICES.of_hints(data, data, data)
    for device in (agent, hints):
        assert device is None or (device.text.isprintable() and len(device.text) < 300 and device.display.isprintable())
    shown = Shown([(b"Origin", data)])
    is_ours = Csrf.of("https://shop.example", [], [b"k"], is_enabled=True).is_from_here(shown)
    assert not is_ours or data.strip(b" \t") == b"https://shop.example"
    parent = read_traceparent(data)
    assert parent is None or read_traceparent(parent) == parent
    state = read_tracestate(data)
    assert state is None or (len(state) <= 512 and read_tracestate(state) == state)


Target = Callable[[bytes], None]
TARGETS: Final[dict[str, Target]] = {
    "head": head,
    "chunked": chunked,
    "answer": answer,
    "path": path,
    "forwarded": forwarded,
    "cookies": cookies,
    "frames": frames,
    "token": token,
    "json": json_object,
    "keys": keys,
    "settings": settings,
    "said": said,
}

CONFIGURATION: Final = b"""\
listen: [127.0.0.1:8080, "unix:/run/gateway.sock"]
admin: {token: "${file:/nowhere}"}
store: {url: embedded, max_staleness: 2s}
issuers:
  - {issuer: https://idp.example, audience: shop, jwks: https://idp.example/jwks, user_prefix: "shop|", algorithms: [RS256]}
upstreams:
  app: {url: http://127.0.0.1:8000, read_timeout: ${T:-60s}}
routes:
  - {name: pay, path: /pay, methods: [POST], token_use: once, upstream: app}
  - {name: app, path: /, upstream: app}
limits: {head: 32KiB}
"""

GROWING: Final[dict[str, list[tuple[bytes, bytes]]]] = {
    "head": [(b"GET / HTTP/1.1\r\n", b"A: b\r\n"), (b"GET /", b"//"), (b"GET / HTTP/1.1\r\nConnection: ", b"a,")],
    "chunked": [(b"", b"1\r\nx\r\n"), (b"", b"1;\r\nx\r\n"), (b"0\r\n", b"a:\r\n"), (b"ffffff\r\n", b"x")],
    "path": [(b"/", b"%61"), (b"/", b"//"), (b"/", b";/"), (b"/", b"/.a")],
    "forwarded": [(b"", b"10.0.0.1,"), (b"", b",")],
    "cookies": [(b"__Host-access=a", b";"), (b"__Host-access=", b"__Host-access=;"), (b"", b"a=b;")],
    "json": [(b'{"a":', b"["), (b'{"a":"', b"\\u0061"), (b'{"a":', b"1"), (b'{"a":[', b"1,")],
    "keys": [(b'{"keys":[', b'{"kty":"oct"},')],
    "settings": [(b"issuers:\n", b"  - {name: app}\n"), (b"routes:\n", b"- {}\n"), (b"a: ", b"["), (b"a: ", b"${A:-${A")],
    "said": [(b"", b"en;q=0.1,"), (b"", b'"a";'), (b"", b"a=b,"), (b"Mozilla/5.0 ", b"Chrome/1 ")],
}
"""What is read piece by piece: a beginning, and the piece that comes again and again. Its time must grow with its length."""


@cache
def seeds(name: str) -> tuple[bytes, ...]:
    """Good and nearly good input, and what was found before."""
    found = sorted((FINDS / name).glob("*"))
    return (*_SEEDS[name](), *(file.read_bytes() for file in found))


_SEEDS: Final[dict[str, Callable[[], list[bytes]]]] = {
    "head": lambda: [
        *(case.raw for case in from_files()),
        b"GET /a?b HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: upgrade\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nX-User: eve\r\nx_user: eve\r\n"
        b"Connection: X-Real, close\r\nX-Real: 1\r\n"
        b"Cookie: a=b; __Host-access=c\r\nX-Forwarded-For: 1.2.3.4\r\nVia: 1.1 a\r\ntraceparent: 00-" + b"1" * 32 + b"-"
        b"2222222222222222-01\r\n\r\n",
    ],
    "chunked": lambda: [
        b"5\r\nhello\r\n0\r\n\r\nGET / HTTP/1.1\r\n",
        b"1;a=b\r\nx\r\nA ; c\r\n0123456789\r\n0;x\r\nTrailer: y\r\nOther: z\r\n\r\n",
        b"00000000000000a\r\n0123456789\r\n1\r\n\r\r\n0\r\n\r\n",
    ],
    "answer": lambda: [
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Type: text/html\r\n\r\nhello and more",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nCache-Control: public, s-maxage=9\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        b"HTTP/1.0 302 Found\r\nLocation: /\r\nSet-Cookie: __Host-access=x; Path=/\r\n"
        b"Set-Cookie: a=b\r\nConnection: close, x\r\n\r\nend",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n\x81\x01a",
    ],
    "path": lambda: [
        b"/",
        b"/a//b/%62;x=1/c?d=%zz",
        b"/%2e%2E/a",
        b"/a/..;/b",
        b"/%c3%a9/%C0%AE",
        b"/a%3Bb/%5C/%2f",
        b"/.well-known/x",
    ],
    "forwarded": lambda: [
        b"203.0.113.9, 10.0.0.2",
        b"6.6.6.6, 2001:db8::1, ::ffff:10.0.0.1",
        b'"[2001:db8::1]:80", [::1]:8, 10.0.0.1:99, fe80::1%eth0',
        b"unknown, _hidden, 10.0.0.2 , 010.0.0.1",
    ],
    "cookies": lambda: [
        b"theme=dark; __Host-access=eyJ; lang=fr; __Host-refresh=x",
        b'__Host-csrf = "a;b" ;__Host-access\t=;; =__Host-access',
        b"__Host-access=a; __Host-access=b",
    ],
    "frames": lambda: [
        b"\x81\x05hello\x88\x02\x03\xe8",
        b"\x82\x7e\x00\x05hello\x89\x85abcdefghi",
        b"\x82\x7f" + bytes(7) + b"\x03abc",
    ],
    "token": lambda: [b"Bearer " + _good_token(), b"bearer a.b.c", b"Basic dXNlcjpwYXNz", b"Bearer\t" + _good_token()],
    "json": lambda: [
        b'{"iss":"a","exp":1.5,"n":[1,-2,3e5,null,true],"o":{"a":{"b":"\\u00e9"}}}',
        b'{"a": 18446744073709551615, "b": -9223372036854775808, "a\\u0000": "\\ud83d\\ude00"}',
        b'{"a":1,"\\u0061":2}',
    ],
    "keys": lambda: [
        key_set(rsa_signer()),
        b'{"keys":[{"kty":"EC","crv":"P-256","kid":"a","use":"sig","x":"' + b"A" * 43 + b'","y":"' + b"A" * 43 + b'"}]}',
        b'{"keys":[{"kty":"oct","k":"' + b"A" * 43 + b'","alg":"HS256"},{"kty":"OKP","crv":"Ed25519","x":"' + b"A" * 43 + b'"}]}',
    ],
    "settings": lambda: [CONFIGURATION],
    "said": lambda: [
        b"fr-CA, fr;q=0.9, *;q=0.1",
        b"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0.0.0 Safari/537.36",
        b'"Not?A_Brand";v="8", "Chromium";v="120", "Google Chrome";v="120"',
        b"https://shop.example",
        b"00-" + b"1" * 32 + b"-2222222222222222-01",
        b"a=1, b@c=2,d=",
    ],
}
