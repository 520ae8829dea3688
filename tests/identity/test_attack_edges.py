"""What is at the edges of a session: the client that it was given to, and the keys that everybody may see."""

import json
from collections.abc import Iterator

import httpx
import jwt
import pytest
from attacks.wire_gateway import Wire, wire
from browser import ANDROID, CALM, FIREFOX, NewBrowser
from live.running_gateway import eventually

UPDATED = FIREFOX.replace("132.0", "133.0")
CHROME = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0.0.0 Safari/537.36"


def mismatches(running: Wire) -> dict[str, float]:
    return {name: value for name, value in running.gateway.metrics().items() if name.startswith("gateway_fingerprint_mism")}


def test_H24_what_changes_about_a_browser_by_itself_changes_nothing(shop: Wire, browser: NewBrowser) -> None:
    alice = browser(address="203.0.113.7")
    before = mismatches(shop)
    for changed in (
        alice.stolen(agent=UPDATED),
        alice.stolen(address="203.0.113.250"),
        alice.stolen(agent=UPDATED, address="203.0.113.1"),
    ):
        assert changed.everywhere(times=8) == {"200"}
    shuffled = alice.raw("GET", "/who", "Accept: */*", "Accept-Language: fr", "DNT: 1").split(b"\r\n")
    reordered = b"\r\n".join([shuffled[0], *reversed(shuffled[1:-2]), b"", b""])
    assert shop.send(reordered).status == 200
    assert mismatches(shop) == before


def test_H24_another_network_of_either_kind_is_told_and_locks_nobody_out(shop: Wire, browser: NewBrowser) -> None:
    for home, near, far in (
        ("203.0.113.7", "203.0.113.99", "198.51.100.9"),
        ("2001:db8:1:2::3", "2001:db8:1:ffff::9", "2001:db8:2::1"),
    ):
        alice = browser(address=home)
        before = mismatches(shop)
        assert alice.stolen(address=near).everywhere(times=8) == {"200"}
        assert mismatches(shop) == before
        assert alice.stolen(address=far).everywhere(times=8) == {"200"}
        name = 'gateway_fingerprint_mismatches_total{action="alert",signal="network"}'
        assert eventually(lambda: mismatches(shop)[name] > before[name])  # noqa: B023
        assert alice.everywhere(times=8) == {"200"}


def test_H24_S2_whoever_shows_a_stolen_cookie_locks_its_owner_out_by_a_page_of_a_known_browser_only(
    shop: Wire, browser: NewBrowser
) -> None:
    alice = browser()
    for agent in (ANDROID, CHROME, "curl/8.5.0", None, "", "x" * 600):
        assert alice.stolen(agent=agent).get("/who").told == "401 device-changed"
    for agent in ("curl/8.5.0", None, "AppleCoreMedia/1.0.0.21"):
        thief = alice.stolen(agent=agent)
        assert thief.open("/who").status == 401
        assert thief.get("/who", without=("access",), is_kept=False).told == "401 device-changed"
        assert thief.post("/auth/refresh", is_kept=False).told == "401 device-changed"
    assert alice.everywhere(times=8) == {"200"}

    def reasons() -> set[str | None]:
        events = shop.gateway.call("GET", "/v1/audit", params={"user": alice.email}).json()["events"]
        return {event.get("reason") for event in events}

    eventually(lambda: "device-changed" in reasons())
    assert alice.stolen(agent=CHROME).open("/who").told == "401 device-changed"
    assert eventually(lambda: alice.everywhere(times=8) == {"401 revoked-session"})


def test_H24_no_redirect_loop_for_a_browser_that_is_not_the_one(shop: Wire, browser: NewBrowser) -> None:
    """A page with its status and no 303: it would come back with the same cookies for ever."""
    alice = browser()
    other = alice.stolen(agent=ANDROID)
    assert other.open("/who").status == 401
    assert other.open("/auth/login").status == 200
    other.sign_in()
    assert other.open("/who").status == 200


def test_A03_the_key_set_is_public_halves_and_for_a_while(shop: Wire, browser: NewBrowser) -> None:
    alice = browser()
    for method in ("GET", "HEAD"):
        answer = shop.send(f"{method} /.well-known/jwks.json HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        assert answer.status == 200 and b"max-age=300" in answer.head and b"set-cookie" not in answer.head.lower()
    keys = shop.get("/.well-known/jwks.json")
    document = json.loads(keys.body)
    assert document["keys"]
    for key in document["keys"]:
        assert set(key) <= {"kty", "crv", "x", "y", "n", "e", "kid", "alg", "use"} and key["use"] == "sig"
    claims = jwt.decode(
        alice.cookies["access"],
        jwt.PyJWKSet.from_dict(document)[jwt.get_unverified_header(alice.cookies["access"])["kid"]].key,
        algorithms=["ES256"],
        audience="gateway",
    )
    assert claims["name"] == alice.email
    with_cookies = alice.get("/.well-known/jwks.json")
    assert json.loads(with_cookies.text) == document and not with_cookies.cookies


def test_A03_a_key_that_is_gone_is_published_no_more(shop: Wire, browser: NewBrowser) -> None:
    def published() -> set[str]:
        return {key["kid"] for key in json.loads(shop.get("/.well-known/jwks.json").body)["keys"]}

    before = published()
    assert shop.gateway.call("POST", "/v1/keys/rotate").json()["complete"]
    assert eventually(lambda: len(published() - before)) == 1
    assert before <= published(), "what it signed is still good"
    gone = sorted(before)[0]
    assert shop.gateway.call("DELETE", f"/v1/keys/{gone}").json()["complete"]
    assert eventually(lambda: gone not in published())


@pytest.fixture(scope="module")
def symmetric(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Wire]:
    with wire(tmp_path_factory.mktemp("symmetric"), **CALM, tokens={"algorithm": "HS256"}) as running:
        yield running


def test_A03_a_secret_is_never_published(symmetric: Wire, browser: NewBrowser) -> None:
    alice = browser(wire=symmetric)
    assert jwt.get_unverified_header(alice.cookies["access"])["alg"] == "HS256"
    answer = symmetric.get("/.well-known/jwks.json")
    assert json.loads(answer.body) == {"keys": []}
    assert alice.everywhere(times=8) == {"200"}
    for secret in ("secret" * 8, "gateway" * 8, "https://shop.example" * 2, answer.body.decode() * 4):
        forged = jwt.encode(alice.claims(), secret, algorithm="HS256", headers={"typ": "at+jwt"})
        assert symmetric.show(forged).status == 401


@pytest.mark.parametrize("algorithm", ["RS256", "EdDSA"])
def test_a_session_is_good_under_every_algorithm_and_survives_its_change(
    tmp_path_factory: pytest.TempPathFactory, browser: NewBrowser, algorithm: str
) -> None:
    with wire(tmp_path_factory.mktemp(algorithm), **CALM, tokens={"algorithm": algorithm}) as running:
        alice = browser(wire=running)
        assert jwt.get_unverified_header(alice.cookies["access"])["alg"] == algorithm
        assert alice.everywhere(times=8) == {"200"}
        alice.get("/who", without=("access",))
        assert alice.claims()["gen"] == 2


@pytest.mark.parametrize("length", [20, 60, 255])
@pytest.mark.parametrize("letter", ["x", '"', "\u00e9", "\U0001f600"])
def test_no_groups_that_an_account_may_have_lock_its_owner_out(shop: Wire, browser: NewBrowser, letter: str, length: int) -> None:
    """They travel in a cookie, and browsers drop one of more than 4096 bytes."""
    alice = browser()
    groups: list[str] = []
    while True:
        wanted = [*groups, f"{len(groups):03}" + letter * ((length - 3) // len(letter.encode()))]
        answer = shop.gateway.call("PUT", f"/v1/users/{alice.email}/groups", json={"groups": wanted})
        if answer.status_code != 200:
            break
        groups = wanted
    assert answer.status_code == 422 and groups
    reply = alice.sign_in()
    assert max(len(line) for line in reply.fields("set-cookie")) < 4096
    assert alice.get("/who").status == alice.get("/who", without=("access",)).status == 200
    assert alice.get("/auth/me").json()["groups"] == groups


@pytest.mark.parametrize("path", ["/metrics", "/livez", "/readyz", "/v1/status", "/v1/keys", "/v1/audit", "/openapi.json"])
@pytest.mark.parametrize(
    "way", ["{}", "/auth{}", "/auth/..{}", "/.well-known{}", "//x/..{}", "/public/..{}", "http://127.0.0.1:9090{}"]
)
def test_O02_A01_the_admin_port_is_nowhere_on_the_public_one(shop: Wire, browser: NewBrowser, path: str, way: str) -> None:
    alice = browser()
    for lines in ((), ("Authorization: Bearer an-admin-token-for-tests-of-32-bytes-or-more",)):
        reply = alice.get(way.format(path), *lines, is_kept=False)
        assert b"gateway_requests_total" not in reply.answer.body and b'"workers"' not in reply.answer.body
        assert reply.status in (200, 400, 401, 404)
        if reply.status == 200:  # then the application said it
            assert reply.text == '{"ok":true}'


@pytest.mark.parametrize(
    "path", ["/v1/status", "/v1/sessions/x", "/v1/users/alice@example.com/sessions", "/v1/keys", "/v1/audit"]
)
def test_A01_a_session_of_ours_is_no_key_to_the_admin_port(shop: Wire, browser: NewBrowser, path: str) -> None:
    alice = browser()
    cookie = {"Cookie": "; ".join(f"__Host-{name}={value}" for name, value in alice.cookies.items())}
    with httpx.Client(trust_env=False) as client:
        for headers in (
            {},
            {"Authorization": f"Bearer {alice.cookies['access']}"},
            {"Authorization": f"Bearer {alice.cookies['refresh']}"},
        ):
            for method in ("GET", "POST", "DELETE", "PUT"):
                answer = client.request(method, f"{shop.gateway.admin}{path}", headers=headers | cookie)
                assert answer.status_code in (401, 403, 404, 405), (method, path, answer.text)
                assert "workers" not in answer.text


def test_O05_ten_thousand_malformed_requests_leave_no_traceback(shop: Wire) -> None:
    """At our own endpoints too, which are served by a library that has logs of its own."""
    import socket

    raws = [
        b"POST /auth/login HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nContent-Type: application/json\r\n\r\n{{{",
        b"POST /auth/login HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nContent-Type: application/x-www-form-urlencoded\r\n\r\n%%",
        b"GET /auth/login?said=%ff%00 HTTP/1.1\r\nHost: x\r\nAccept-Language: \xff;q=x\r\nCookie: __Host-access=\xff\r\n\r\n",
        b"POST /auth/refresh HTTP/1.1\r\nHost: x\r\nCookie: __Host-refresh=a.b.c\r\nContent-Length: 0\r\n\r\n",
    ]
    for number in range(40):
        with socket.create_connection(("127.0.0.1", shop.gateway.port), 10) as client:
            client.sendall(raws[number % 4] * 50 + b"GET / HTTP/9\r\n\r\n")
            shop.rest_of(client)
    lines = shop.gateway.messages()
    assert not any("exception" in line or "Traceback" in line["message"] for line in lines)
