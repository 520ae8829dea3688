"""What a client can make grow: keys in the store, memory of a worker, series of metrics, lines of the log, guesses.

Everything that he may invent, in thousands: names, passwords, kids, session ids, user agents, addresses, paths, methods, cookies.
"""

import base64
import json
import os
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from attacks.wire_gateway import Wire, wire
from browser import ANDROID, CALM, FIREFOX, PASSWORD, Browser, NewBrowser
from issuing import Provider
from kept import Kept
from live.running_gateway import ISSUER, PATIENT, eventually
from store_process import StoreProcess

NUMBER = 1000
GROWTH_MIB = 20  # of 16 times as many requests


@pytest.fixture(scope="module")
def store() -> Iterator[StoreProcess]:
    process = StoreProcess().start()
    yield process
    process.close()


@pytest.fixture(scope="module")
def grown(store: StoreProcess, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Wire]:
    """One worker, so that its memory is all there is. Whoever says where he comes from is believed, as behind a proxy."""
    with wire(
        tmp_path_factory.mktemp("grown"), is_awaited=False, **CALM | {"store": PATIENT | {"url": store.url}}, workers=1
    ) as running:
        assert running.gateway.command("store init").returncode == 0
        eventually(running.gateway.is_ready)
        eventually(lambda: running.gateway.call("GET", "/v1/keys").json()["keys"])
        yield running


def word(length: int = 12) -> str:
    return base64.urlsafe_b64encode(os.urandom(length)).decode().strip("=-_").replace("-", "a").replace("_", "b")


def address() -> str:
    return ".".join(str(random.randint(1, 223)) for _ in range(4))


def request(*lines: str, method: str = "GET", path: str = "/who", body: bytes = b"") -> bytes:
    head = [f"{method} {path} HTTP/1.1", "Host: shop.example", *lines, f"Content-Length: {len(body)}", "", ""]
    return "\r\n".join(head).encode() + body


def flood(running: Wire, make: Callable[[], bytes], number: int = NUMBER) -> Counter[str]:
    """So many requests, each another one; what they were told."""
    told: Counter[str] = Counter()
    left = number
    while left > 0:
        with Kept(running) as line:
            raws = [make() for _ in range(min(left, 40))]
            line.send(*raws)
            for raw in raws:
                reply = line.answer(is_head=raw.startswith(b"HEAD "))
                if not reply.status:
                    break
                told[reply.told] += 1
                left -= 1
            left -= not told
    return told


def memory_mib(running: Wire) -> int:
    (worker,) = running.gateway.workers()
    line = next(line for line in Path(f"/proc/{worker}/status").read_text().splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) // 1024


def series(running: Wire) -> set[str]:
    """But for the codes of answers and our own keys, which are few, and seen when they are first met."""
    return {name for name in running.gateway.metrics() if 'code="' not in name and "kid=" not in name and "_bucket" not in name}


def keys(store: StoreProcess) -> list[bytes]:
    found = store.command("KEYS", "*")
    assert isinstance(found, list)
    return found


def token_like(**claims: object) -> str:
    parts = ({"alg": "RS256", "kid": word(), "typ": "JWT"}, {"iss": ISSUER, "aud": "shop", "iat": 1, "exp": 2, **claims})
    return ".".join(base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts) + ".AAAA"


def sign_in_as(email: str, *lines: str) -> bytes:
    body = json.dumps({"email": email, "password": word(12)}).encode()
    return request("Content-Type: application/json", *lines, method="POST", path="/auth/login", body=body)


def test_O01_B1_whatever_is_invented_makes_no_series_no_key_and_no_memory(
    grown: Wire, browser: NewBrowser, store: StoreProcess
) -> None:
    alice = browser(wire=grown)
    signed = f"Cookie: __Host-access={alice.cookies['access']}"
    provider = Provider(ISSUER, "shop", grown.gateway.signers[0], now=int(time.time()))
    sids = [provider.token(sub="bob", sid=word()) for _ in range(300)]
    grown.gateway.shown += sids
    for _ in range(2):  # the first of each makes what is made once
        flood(grown, lambda: request(signed, f"User-Agent: {FIREFOX}"), 40)
    before_series, before_keys, before_memory = series(grown), len(keys(store)), memory_mib(grown)
    invented: dict[str, Callable[[], bytes]] = {
        "kids and subjects": lambda: request(f"Authorization: Bearer {token_like(sub=word())}", f"X-Forwarded-For: {address()}"),
        "issuers": lambda: request(f"Authorization: Bearer {token_like(iss='https://' + word())}"),
        "user agents": lambda: request(signed, f"User-Agent: Mozilla/5.0 ({word()}) Firefox/{random.random()}"),
        "client hints": lambda: request(signed, f"User-Agent: {FIREFOX}", f'Sec-CH-UA: "{word()}";v="1"'),
        "addresses": lambda: request(signed, f"User-Agent: {FIREFOX}", f"X-Forwarded-For: {address()}"),
        "IPv6": lambda: request(signed, f"User-Agent: {FIREFOX}", f"X-Forwarded-For: 2001:db8:{random.getrandbits(16):x}::1"),
        "paths": lambda: request(path=f"/{word()}/{word()}"),
        "our paths": lambda: request(path=f"/auth/{word()}"),
        "methods": lambda: request(method="X" + "".join(random.choices("ABCDEFGHIJ", k=12))),
        "fields": lambda: request(f"X-{word(6)}: {word()}", f"X-Request-Id: {word()}"),
        "cookies": lambda: request(f"Cookie: {word(6)}={word()}; __Host-access={word()}.{word()}.{word()}"),
        "languages": lambda: request(f"Accept-Language: {word(4)};q=0.5", path="/auth/login"),
        "ways back": lambda: request(path=f"/auth/login?return_to=/{word()}&said={word()}"),
        "reset sessions": lambda: request(signed, f"User-Agent: {FIREFOX}", method="DELETE", path=f"/auth/sessions/{word()}"),
        "sessions of one user elsewhere": lambda: request(
            f"Authorization: Bearer {random.choice(sids)}", f"User-Agent: {FIREFOX}"
        ),
        "names from one network": lambda: sign_in_as(f"{word()}@example.com", "X-Forwarded-For: 203.0.113.1"),
    }
    for name, make in invented.items():
        told = flood(grown, make)
        assert not any(one.startswith(("500", "0")) for one in told), (name, told)
    assert series(grown) == before_series
    assert len(keys(store)) - before_keys < 200
    assert memory_mib(grown) - before_memory < GROWTH_MIB
    assert alice.get("/who", is_kept=False).status == 200


def test_L11_names_and_networks_leave_only_keys_that_end(grown: Wire, browser: NewBrowser, store: StoreProcess) -> None:
    """Every key that anybody can cause has an end; those that have none are as many after a flood as before."""
    alice, phone = browser(wire=grown), Browser(grown, agent=ANDROID)
    phone.sign_in(alice.email)
    flood(grown, lambda: sign_in_as(f"{word()}@example.com", f"X-Forwarded-For: {address()}"), 120)
    flood(grown, lambda: sign_in_as("x" * 300 + word(), f"X-Forwarded-For: {address()}"), 40)
    alice.get("/who", without=("access",))
    alice.post("/auth/password", {"current": "not this one", "new": PASSWORD})
    phone.post("/auth/logout")
    flood(grown, lambda: request(f"Authorization: Bearer {grown.gateway.token(sub=word(), sid=word())}"), 120)
    flood(grown, lambda: request(f"Authorization: Bearer {grown.gateway.token(jti=word())}", path="/once/x"), 40)
    without_end = {key.decode() for key in keys(store) if store.command("TTL", key) == -1}
    kept = {"gateway:sessions:all", "gateway:{audit}:trail", "gateway:{audit}:strangers", "gateway:{audit}:people",
            "gateway:{audit}:names", "gateway:{audit}:seen", "gateway:{audit}:erased"}  # fmt: skip
    assert {key for key in without_end if not key.startswith("gateway:{log}:")} <= kept
    names = {key.split(":")[2] for key in without_end if key.startswith("gateway:{log}:")}
    assert names <= {"record", "entries", "states", "facts", "revocations", "workers", "ring"}


def test_L06_L11_guesses_are_counted_by_name_and_by_network_whatever_a_client_says_of_itself(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """Nobody is trusted here to say where he comes from."""
    settings = CALM | {"trusted_proxies": [], "workers": 1}
    with wire(tmp_path_factory.mktemp("untrusting"), **settings) as running:
        spoofs = (
            "X-Forwarded-For",
            "X-Real-IP",
            "Forwarded",
            "CF-Connecting-IP",
            "True-Client-IP",
            "X-Client-IP",
            "X-Gateway-Client",
        )
        told = flood(running, lambda: sign_in_as(f"{word()}@example.com", *(f"{name}: {address()}" for name in spoofs)), 70)
        assert 50 <= told["401"] <= 60 and told["429"] >= 10, told
        assert set(told) == {"401", "429"}


def test_L06_spellings_of_one_name_are_one_name_to_the_counter(grown: Wire, browser: NewBrowser) -> None:
    alice = browser(wire=grown, address="192.0.2.1")
    local, _, domain = alice.email.partition("@")
    spellings = [
        alice.email,
        alice.email.upper(),
        f" {alice.email} ",
        f"{local}@{domain.upper()}",
        alice.email.replace("e", "\uff45"),
    ]
    told: Counter[str] = Counter()
    for number in range(20):
        body = json.dumps({"email": spellings[number % 5], "password": word()}).encode()
        lines = ("Content-Type: application/json", f"X-Forwarded-For: 10.{number}.1.1")
        told += flood(grown, lambda body=body, lines=lines: request(*lines, method="POST", path="/auth/login", body=body), 1)
    assert told == {"401": 10, "429": 10}
    # Strangers used it up; she comes from where she was before [B2].
    again = Browser(grown, address="192.0.2.1")
    assert again.post("/auth/login", {"email": alice.email, "password": PASSWORD}).status == 200


@pytest.mark.parametrize("password", [PASSWORD, "wrong wrong wrong"])
def test_L01_L03_nobody_learns_who_has_an_account(grown: Wire, browser: NewBrowser, password: str) -> None:
    """By status, by body, by any field: whoever is asked about, an answer is the same but for its id and its date."""
    alice = browser(wire=grown)
    blocked = browser(wire=grown)
    grown.gateway.call("POST", f"/v1/users/{blocked.email}/block")
    answers = set()
    names = ["nobody@example.com", "no address", "a@b@c", "x" * 600, "\u212aelvin@example.com", "admin@example.com"]
    if password != PASSWORD:
        names += [alice.email, blocked.email, alice.email.upper()]
    for number, name in enumerate(names):
        reply = Browser(grown, address=f"10.77.{number}.1").post("/auth/login", {"email": name, "password": password})
        head = sorted(
            line for line in reply.answer.head.decode().split("\r\n") if not line.lower().startswith(("date", "x-request-id"))
        )
        document = {key: value for key, value in reply.json().items() if key != "request_id"}
        answers.add((reply.status, tuple(head), json.dumps(document, sort_keys=True)))
        assert not reply.fields("set-cookie")
    assert len(answers) == 1 and next(iter(answers))[0] == 401
    grown.gateway.call("DELETE", f"/v1/users/{blocked.email}/block")


def test_L07_a_name_is_one_account_or_none(grown: Wire) -> None:
    place = Browser(grown, address="10.78.0.1")
    assert place.register("Admin@Example.com").status == 201
    same = ["admin@example.com", " admin@example.com", "ADMIN@EXAMPLE.COM", "\uff41dmin@example.com", "admin@\u24d4xample.com"]
    refused = ["admin\0@example.com", "admin@example.com\n", "admin@@example.com", "admin@example.com@evil.example"]
    refused += ["adm\u0131n@example.com", "\u0430dmin@example.com", "admin\u200b@example.com", "admin@exam\u00adple.com\r\nX: y"]
    refused += ['"admin"@example.com', "admin", "@", "", "admin@", "@example.com", "a" * 65 + "@example.com"]
    refused += ["admin@" + "a" * 250 + ".com", "admin@-example.com", "admin@exa mple.com"]
    for name in same:
        assert place.register(name).status == 409, name
    for name in refused:
        reply = place.register(name)
        assert reply.status == 422 and "email" in reply.json()["errors"], (name, reply)


def test_L08_nobody_registers_with_more_than_a_name(grown: Wire) -> None:
    place = Browser(grown, address="10.79.0.1")
    for more in (
        {"groups": ["staff"]},
        {"role": "admin"},
        {"is_admin": True},
        {"version": 9},
        {"sub": "x"},
        {"token_version": 0},
    ):
        reply = place.post("/auth/register", {"email": "more@example.com", "password": PASSWORD, **more})
        assert reply.status == 422
    place.sign_in("more@example.com")
    assert place.get("/auth/me").json()["groups"] == []
    assert place.get("/staff/who").told == "403 forbidden"


def test_L04_passwords_that_nobody_can_have_are_refused_before_they_cost_anything(grown: Wire) -> None:
    place = Browser(grown, address="10.80.0.1")
    for password in ("x" * 257, "\0" * 12, "a" + "\u0301" * 1100, "short", "", "password1", "poor@example.com1"):
        reply = place.post("/auth/register", {"email": "poor@example.com", "password": password})
        assert reply.status == 422 and "password" in reply.json()["errors"], password
    assert place.post("/auth/register", {"email": "poor@example.com", "password": "\ud800" * 12}).status == 400
    common = "the same seventy-two bytes, and then what makes them two, but not before"
    assert len(common) == 72
    place.register("long@example.com", common + "!")
    assert (
        Browser(grown, address="10.80.0.1").post("/auth/login", {"email": "long@example.com", "password": common}).status == 401
    )
    composed, decomposed = "caf\u00e9 au lait, s'il vous pla\u00eet", "cafe\u0301 au lait, s'il vous plai\u0302t"
    place.register("accent@example.com", composed)
    reply = Browser(grown, address="10.80.0.1").post("/auth/login", {"email": "accent@example.com", "password": decomposed})
    assert reply.status == 200


def test_L10_of_forty_registrations_of_one_name_at_once_one_wins(shop: Wire) -> None:
    from attacks.wire_gateway import at_once

    replies = at_once(20, lambda place: Browser(shop, address=f"10.81.{place}.1").register("wanted@example.com"))
    assert sorted(reply.status for reply in replies) == [201] + [409] * 19


def test_S38_session_ids_are_long_and_random(grown: Wire, browser: NewBrowser) -> None:
    alice = browser(wire=grown)
    sids = set()
    for _ in range(30):
        one = Browser(grown)
        one.sign_in(alice.email)
        sids.add(one.claims()["sid"])
        assert one.claims()["jti"].startswith(one.claims()["sid"] + ".")
    tails = {sid.partition(".")[2] for sid in sids}
    assert len(tails) == 30 and {len(tail) for tail in tails} == {22}
    for place in range(21):  # no character of it is always the same
        assert len({tail[place] for tail in tails}) > 5


def test_O03_O04_nothing_that_was_typed_is_in_the_log_the_metrics_or_the_trail_but_as_one_escaped_word(
    grown: Wire, browser: NewBrowser
) -> None:
    alice = browser(wire=grown)
    secret = f"never-{word()}-seen"
    evil = f"\x1b[31m{word()}\u202e\u2028"
    forged = "\nToken revoked rejected sub=root"
    Browser(grown, address="10.82.0.1").post("/auth/login", {"email": alice.email, "password": secret})
    Browser(grown, address="10.82.0.1").post("/auth/login", {"email": f"{secret}@example.com", "password": evil + forged})
    Browser(grown, address="10.82.0.1", agent="x\x7f".replace("\x7f", "") + "%0aforged").get("/auth/login")
    alice.get(f"/who?password={secret}", f"X-Anything: {secret}", f"Referer: https://x/{secret}", is_kept=False)
    alice.delete(f"/auth/sessions/{quoted(evil)}")
    alice.delete(f"/auth/sessions/{secret}")
    alice.post("/auth/password", {"current": secret, "new": secret + secret})
    events = json.dumps(eventually(lambda: grown.gateway.call("GET", "/v1/audit", params={"limit": 1000}).json()["events"]))
    outputs = {name: grown.gateway.path(name).read_bytes().decode() for name in ("access", "messages")}
    outputs |= {"audit": events, "metrics": "\n".join(grown.gateway.metrics())}
    for name, text in outputs.items():
        shown = text.replace(f"/auth/sessions/{secret}", "")  # the path is the one thing that a line repeats
        assert secret not in shown, name
        assert "\x1b" not in text and "\u202e" not in text, name
    assert not any(line.startswith("Token revoked") for line in outputs["messages"].splitlines())


def quoted(text: str) -> str:
    from urllib.parse import quote

    return quote(text.replace("\x1b", "\u009b"), safe="")
