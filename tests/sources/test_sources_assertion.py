"""The signed word about the user that a backend may verify: what it says, for whom, for how long, and who can send one."""

import importlib.util
import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import httpx
import jwt
import pytest
from live.running_gateway import RunningGateway, environment, eventually
from old_shop import OldShop
from ports import free_port
from shops import Shop, started

HEADER = "X-Gateway-Assertion"


def verified(shop: RunningGateway, assertion: str, *, audience: str, issuer: str) -> dict[str, Any]:
    """As a backend verifies it: with the published keys, and every claim."""
    keys = jwt.PyJWKSet.from_dict(shop.ask("/.well-known/jwks.json").json())
    header = jwt.get_unverified_header(assertion)
    assert header == {"alg": "ES256", "kid": header["kid"], "typ": "assertion+jwt"}
    claims: dict[str, Any] = jwt.decode(assertion, keys[header["kid"]], ["ES256"], audience=audience, issuer=issuer)
    return claims


class Person:
    """Somebody with a token of their own and one connection, so that one worker answers."""

    def __init__(self, shop: Shop, email: str) -> None:
        self.shop = shop
        self.email = email
        shop.register(email)
        self.token = shop.login(email, delivery="token")["access_token"]
        shop.shown.append(self.token)
        self.client = httpx.Client(base_url=shop.url, headers={"Authorization": f"Bearer {self.token}"}, trust_env=False)

    def served(self, path: str) -> httpx.Response:
        """The answer to somebody who signs in again whenever the token has expired meanwhile."""

        def ask() -> httpx.Response | None:
            answer = self.client.get(path)
            if answer.headers.get("X-Gateway-Reason") == "expired-token":
                self.token = self.shop.login(self.email, delivery="token")["access_token"]
                self.shop.shown.append(self.token)
                self.client.headers["Authorization"] = f"Bearer {self.token}"
            return answer if answer.status_code == 200 else None

        return cast(httpx.Response, eventually(ask))

    def assertion(self, path: str = "/who") -> str:
        """What the application was told on this path."""
        answer = self.client.get(path)
        assert answer.status_code == 200, answer.text
        told = answer.json()["assertion"]
        assert told is None or isinstance(told, str)
        return told or ""


def test_its_claims_are_about_the_user_and_for_one_route(shop: Shop) -> None:
    alice = Person(shop, "alice@assertion.example")
    shop.call("PUT", f"/v1/users/{alice.email}/groups", json={"groups": ["staff", "a,b", "Größe"]})
    access = jwt.decode(alice.token, options={"verify_signature": False})
    for path, route in (("/who", "app"), ("/staff/who", "staff"), ("/bearer/who", "bearer")):
        claims = verified(shop, alice.assertion(path), audience=route, issuer=shop.public_url)
        assert claims.pop("exp") - claims["iat"] == 60
        assert abs(claims.pop("iat") - time.time()) <= 31
        assert claims == {
            "iss": shop.public_url,
            "aud": route,
            "sub": access["sub"],
            "user": alice.email,
            "groups": sorted(["staff", "a,b", "Größe"]),
            "sid": access["sid"],
        }


def test_it_lives_no_longer_than_the_token_it_speaks_of(quick_shop: Shop) -> None:
    bob = Person(quick_shop, "bob@assertion.example")
    claims = jwt.decode(bob.assertion(), options={"verify_signature": False})
    expires = jwt.decode(bob.token, options={"verify_signature": False})["exp"]
    assert claims["exp"] <= expires + 1, "a second, because whole ones are told"


def test_it_is_made_once_per_session_and_route(shop: Shop) -> None:
    carol, dave = Person(shop, "carol@assertion.example"), Person(shop, "dave@assertion.example")
    first = carol.assertion()
    assert [carol.assertion() for _ in range(5)] == [first] * 5
    assert carol.assertion("/bearer/who") not in ("", first)
    assert dave.assertion() not in ("", first)
    assert carol.assertion() == first


def test_what_has_changed_about_the_user_is_in_the_next_one(shop: Shop) -> None:
    erin = Person(shop, "erin@assertion.example")
    assert verified(shop, erin.assertion(), audience="app", issuer=shop.public_url)["groups"] == []
    shop.call("PUT", f"/v1/users/{erin.email}/groups", json={"groups": ["staff"]})
    assert verified(shop, erin.assertion(), audience="app", issuer=shop.public_url)["groups"] == ["staff"]


def test_T4_after_the_keys_changed_it_is_signed_anew(rough_shop: Shop) -> None:
    frank = Person(rough_shop, "frank@assertion.example")
    before = jwt.get_unverified_header(frank.assertion())["kid"]
    assert rough_shop.call("POST", "/v1/keys/rotate").json()["complete"]
    after = frank.assertion()
    assert jwt.get_unverified_header(after)["kid"] != before
    verified(rough_shop, after, audience="app", issuer=rough_shop.public_url)
    gina = Person(rough_shop, "gina@assertion.example")
    kid = jwt.get_unverified_header(gina.assertion())["kid"]
    rough_shop.call("DELETE", f"/v1/keys/{kid}")
    assert gina.client.get("/who").headers["X-Gateway-Reason"] == "retired-key"


def test_J48_the_gateway_takes_none_for_a_token(shop: Shop) -> None:
    henry = Person(shop, "henry@assertion.example")
    assertion = henry.assertion()
    assert shop.told_everywhere("/who", assertion) == {"401 malformed-token"}
    assert shop.told_everywhere("/auth/me", assertion) == {"401 malformed-token"}
    for cookie in ("access", "refresh"):
        answer = shop.ask("/who", headers={"Cookie": f"{cookie}={assertion}"})
        assert (answer.status_code, answer.headers["X-Gateway-Reason"]) == (401, "malformed-token")
    answer = shop.ask("/auth/refresh", method="POST", headers={"Cookie": f"refresh={assertion}"})
    assert (answer.status_code, answer.headers["X-Gateway-Reason"]) == (401, "malformed-token")


SPELLINGS = [
    "X-Gateway-Assertion",
    "x-gateway-assertion",
    "X_Gateway_Assertion",
    "X-Gateway_Assertion",
    "X.Gateway.Assertion",
    "X--Gateway--Assertion",
    "X-Gateway-Assertion_",
    "X-GATEWAY~ASSERTION",
    "X-Gateway-Anything-Else",
]


@pytest.mark.parametrize("name", SPELLINGS)
@pytest.mark.parametrize("path", ["/who", "/public/who"])
def test_H25_a_client_sends_none_in_any_spelling(shop: Shop, path: str, name: str) -> None:
    irene = Person(shop, f"irene-{path.strip('/').replace('/', '-')}-{SPELLINGS.index(name)}@assertion.example")
    planted = irene.assertion("/bearer/who")  # a genuine one, for another route
    answer = irene.client.get(path, headers={name: planted})
    assert answer.status_code == 200, answer.text
    arrived = [value for key, value in answer.json()["headers"] if value == planted or "gateway" in key.lower()]
    assert planted not in arrived
    assert len(arrived) == (0 if path.startswith("/public") else 1)


def test_who_is_nobody_gets_none(shop: Shop) -> None:
    assert shop.ask("/public/who").json()["assertion"] is None
    assert Person(shop, "judy@assertion.example").assertion("/public/who") == "", "on a public route nobody is asked"


def test_a_handshake_carries_it_too(shop: Shop) -> None:
    kate = Person(shop, "kate@assertion.example")
    head = (
        f"GET /kate/socket HTTP/1.1\r\nHost: {shop.url[7:]}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
        f"User-Agent: {kate.client.headers['User-Agent']}\r\nAuthorization: Bearer {kate.token}\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", shop.port)) as client:
        client.sendall(head.encode())
        assert client.recv(12) == b"HTTP/1.1 101"
    (arrived,) = shop.old.reached("/kate/socket")
    assert verified(shop, arrived.values(HEADER)[0], audience="app", issuer=shop.public_url)["user"] == kate.email


def test_an_answer_does_not_repeat_it(shop: Shop) -> None:
    lou = Person(shop, "lou@assertion.example")
    answer = lou.client.get("/page")
    assert not [name for name in answer.headers if name.lower().startswith("x-gateway-")]


def test_users_of_other_issuers_have_one_too_where_nobody_can_sign_in(old_shop: OldShop, tmp_path: Path) -> None:
    routes = [{"name": "app", "path": "/", "upstream": "app"}]
    port = free_port()
    settings: dict[str, Any] = {
        "listen": f"127.0.0.1:{port}",
        "public_url": "https://shop.example",
        "identity": {"assertion": HEADER, "preset": "remote-user"},
    }
    gateway = RunningGateway(tmp_path, {"app": old_shop.url}, routes, **settings)
    try:
        gateway.start()
        assert gateway.told("/auth/login") == "404 no-route"
        told = gateway.ask("/who", gateway.token(sub="mallory", sid="s-1", groups=["x"])).json()
        claims = verified(gateway, told["assertion"], audience="app", issuer="https://shop.example")
        assert (claims["sub"], claims["user"], claims["groups"], claims["sid"]) == ("mallory", "mallory", ["x"], "s-1")
        without_session = gateway.ask("/who", gateway.token(sub="mallory")).json()["assertion"]
        assert "exp" in jwt.decode(without_session, options={"verify_signature": False})
    finally:
        gateway.stop()
    assert not gateway.leaks()


# The examples of the page, run as they are written there.


@pytest.fixture(scope="module", params=["django", "flask"])
def example(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, old_shop: OldShop) -> Iterator["Example"]:
    """One of them behind a gateway of its own; a route has its name."""
    if importlib.util.find_spec(request.param) is None:
        pytest.skip(f"{request.param} is not installed")
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command = [sys.executable, str(Path(__file__).with_name("assertion_application.py")), request.param, url, url]
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment())
    assert child.stdout is not None
    direct = f"http://127.0.0.1:{json.loads(child.stdout.readline())['http']}"
    routes = [
        {"name": request.param, "path": "/example/", "upstream": "example"},
        {"name": "app", "path": "/", "upstream": "app"},
    ]
    settings: dict[str, Any] = {
        "listen": f"127.0.0.1:{port}",
        "public_url": url,
        "identity": {"assertion": HEADER},
        "tokens": {"access_ttl": "5s"},
        "routes": routes,
        "upstreams": {"example": direct},
    }
    gateways = started(tmp_path_factory.mktemp(request.param), old_shop, **settings)
    yield Example(next(gateways), direct)
    child.kill()
    child.communicate()
    next(gateways, None)


class Example:
    def __init__(self, shop: Shop, direct: str) -> None:
        self.shop = shop
        self.direct = direct

    def around(self, headers: dict[str, str]) -> int:
        """The status of a request that does not go through the gateway."""
        return httpx.get(f"{self.direct}/example/x", headers=headers, trust_env=False).status_code


def test_the_example_of_the_page_knows_the_user_and_the_groups(example: Example) -> None:
    nina = Person(example.shop, "nina@assertion.example")
    example.shop.call("PUT", f"/v1/users/{nina.email}/groups", json={"groups": ["staff"]})
    told = nina.served("/example/x").json()
    assert (told["user"], told["groups"]) == (nina.email, ["staff"])


def test_the_example_of_the_page_believes_nobody_around_the_gateway(example: Example) -> None:
    oscar = Person(example.shop, "oscar@assertion.example")
    mine = oscar.assertion("/who")  # for the route `app`
    forged = mine[:-8] + "AAAAAAAA"
    assert example.around({}) == 401
    assert example.around({"X-User": "root", "Remote-User": "root"}) == 401
    for planted in ("", "a.b.c", "not-a-token", mine, forged, oscar.token):
        assert example.around({HEADER: planted}) == 401


def test_the_example_of_the_page_refuses_an_assertion_that_has_expired(example: Example) -> None:
    """Of the right route, caught on its way: good for as long as it lives, and no longer."""
    paula = Person(example.shop, "paula@assertion.example")
    caught = paula.assertion("/example/x")
    assert example.around({HEADER: caught}) == 200
    eventually(lambda: example.around({HEADER: caught}) == 401)  # 5 s, and the 5 of leeway


def test_the_example_of_the_page_goes_on_when_the_keys_change(example: Example) -> None:
    quinn = Person(example.shop, "quinn@assertion.example")
    quinn.served("/example/x")
    assert example.shop.call("POST", "/v1/keys/rotate").json()["complete"]
    rita = Person(example.shop, "rita@assertion.example")
    rita.served("/example/x")  # PyJWT asks again for an unknown key after 30 s at most
