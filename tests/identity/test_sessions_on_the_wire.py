"""Signing in and out, on two workers: old copies are refused at once and everywhere, and nobody ends another's session."""

import time

import pytest
from attacks.wire_gateway import Wire
from browser import ANDROID, FIREFOX, PASSWORD, Browser, NewBrowser
from live.running_gateway import eventually


def test_signing_in_sets_three_cookies_and_tells_no_token(shop: Wire) -> None:
    alice = Browser(shop)
    alice.register("alice@example.com")
    reply = alice.post("/auth/login", {"email": " Alice@EXAMPLE.com ", "password": PASSWORD})
    assert (reply.status, reply.json()["user"]) == (200, "alice@example.com")
    assert set(reply.cookies) == {"access", "refresh", "csrf"}
    assert reply.cookies["csrf"] == reply.json()["csrf_token"]
    assert "access_token" not in reply.json()
    assert not any(value in reply.text for value in (reply.cookies["access"], reply.cookies["refresh"]))
    for line in reply.fields("set-cookie"):
        assert "; Secure" in line and "Path=/" in line and "Domain" not in line and "SameSite=Lax" in line
        assert ("HttpOnly" in line) == ("csrf" not in line)
        assert "Max-Age=604800" in line


def test_the_claims_are_those_of_the_public_surface(browser: NewBrowser) -> None:
    alice = browser()
    assert list(alice.claims()) == ["iss", "aud", "sub", "name", "jti", "sid", "ver", "gen", "iat", "exp", "groups", "csrf"]
    assert list(alice.claims("refresh")) == ["iss", "aud", "sub", "jti", "sid", "ver", "gen", "iat", "exp"]
    claims = alice.claims()
    assert (claims["iss"], claims["aud"], claims["name"]) == ("https://shop.example", "gateway", alice.email)
    assert (claims["ver"], claims["gen"], claims["exp"] - claims["iat"]) == (1, 1, 300)


def test_a_session_is_good_at_every_worker(browser: NewBrowser) -> None:
    assert browser().everywhere() == {"200"}


def test_our_cookies_never_reach_a_backend_and_others_do(shop: Wire, browser: NewBrowser) -> None:
    alice = browser()
    for path in ("/who?private", "/public/who", "/optional/who"):
        raw = alice.raw("GET", path).replace(b"Cookie: ", b"Cookie: theme=dark; ")
        assert shop.send(raw).status == 200
        assert shop.reached(path)[-1].values("cookie") == [b"theme=dark"]


def test_a_token_of_ours_never_passes_on_public_routes_neither(shop: Wire, browser: NewBrowser) -> None:
    alice = browser()
    for token in (alice.cookies["access"], alice.cookies["refresh"]):
        shop.get("/public/own", f"Authorization: Bearer {token}")
        assert not shop.reached("/public/own")[-1].values("authorization")
    shop.get("/public/own", "Authorization: Bearer somebody-elses")
    assert shop.reached("/public/own")[-1].values("authorization") == [b"Bearer somebody-elses"]


def test_X10_a_backend_cannot_set_our_cookies(shop: Wire, browser: NewBrowser) -> None:
    from backends import plain

    alice = browser()
    before = shop.background.backend.answer
    shop.background.backend.answer = plain(
        "200 OK", b"{}", "Set-Cookie: __Host-access=planted; Path=/", "Set-Cookie: theme=dark", "set-cookie: __Host-refresh = x"
    )
    try:
        reply = alice.get("/planted")
    finally:
        shop.background.backend.answer = before
    assert reply.fields("set-cookie") == ["theme=dark"]


# Leaving.


def test_S15_after_a_logout_old_copies_are_refused_at_once_on_every_worker(shop: Wire, browser: NewBrowser) -> None:
    alice = browser()
    copy = alice.stolen()
    reply = alice.post("/auth/logout")
    assert (reply.status, reply.text) == (204, "")
    assert not alice.cookies
    assert copy.everywhere() == {"401 revoked-session"}
    assert copy.everywhere(without=("access",)) == {"401 revoked-session"}
    assert copy.post("/auth/refresh", is_kept=False).told == "401 revoked-session"
    assert copy.get("/auth/me").told == "401 revoked-session"
    assert copy.get("/who", f"X-CSRF-Token: {copy.cookies.get('csrf', '')}").reason == "revoked-session"


@pytest.mark.parametrize("without", [("access",), ("refresh",)])
def test_R5_a_logout_works_with_either_cookie_alone(browser: NewBrowser, without: tuple[str, ...]) -> None:
    alice = browser()
    copy = alice.stolen()
    assert alice.post("/auth/logout", without=without).status == 204
    assert copy.get("/who").told == "401 revoked-session"


def test_R5_an_expired_access_token_is_enough_to_leave(quick_shop: Wire, browser: NewBrowser) -> None:
    alice = browser(wire=quick_shop)
    copy = alice.stolen()
    time.sleep(2.1)
    assert alice.post("/auth/logout", without=("refresh",)).status == 204
    assert copy.get("/who").told == "401 revoked-session"


def test_a_logout_ends_this_session_only(browser: NewBrowser, shop: Wire) -> None:
    laptop = browser()
    phone = Browser(shop, agent=ANDROID)
    phone.sign_in(laptop.email)
    assert laptop.post("/auth/logout").status == 204
    assert phone.everywhere() == {"200"}


def test_S16_logout_all_ends_every_session_of_the_user_and_nobody_elses(browser: NewBrowser, shop: Wire) -> None:
    laptop, other = browser(), browser()
    phone = Browser(shop, agent=ANDROID)
    phone.sign_in(laptop.email)
    copy = laptop.stolen()
    assert laptop.post("/auth/logout-all").status == 204
    assert copy.everywhere() == {"401 revoked-session"}
    assert phone.everywhere() == {"401 revoked-session"}
    assert other.get("/who").status == 200


@pytest.mark.parametrize("path", ["/auth/logout", "/auth/logout-all", "/auth/password"])
@pytest.mark.parametrize("lines", [("Sec-Fetch-Site: cross-site",), ("Origin: https://evil.example",), ()])
def test_S17_another_site_signs_nobody_out(browser: NewBrowser, path: str, lines: tuple[str, ...]) -> None:
    alice = browser()
    assert alice.ask("POST", path, *lines, document={"current": PASSWORD, "new": "another phrase"}).told == "403 csrf"
    assert alice.get("/who").status == 200


def test_S17_the_echo_of_the_csrf_cookie_suffices_where_the_browser_says_nothing(browser: NewBrowser) -> None:
    alice = browser()
    assert alice.ask("POST", "/auth/logout", f"X-CSRF-Token: {alice.cookies['csrf']}").status == 204


def test_devices_are_listed_and_ended_one_by_one(browser: NewBrowser, shop: Wire) -> None:
    laptop = browser(agent=FIREFOX, address="203.0.113.7")
    phone = Browser(shop, agent=ANDROID, address="198.51.100.9")
    phone.sign_in(laptop.email)
    sessions = laptop.get("/auth/sessions").json()["sessions"]
    assert [(one["current"], one["device"], one["network"]) for one in sessions] == [
        (True, "Firefox on Linux", "203.0.113.0/24"),
        (False, "Chrome on Android", "198.51.100.0/24"),
    ]
    assert laptop.delete(f"/auth/sessions/{sessions[1]['id']}").status == 204
    assert phone.everywhere() == {"401 revoked-session"}
    assert len(laptop.get("/auth/sessions").json()["sessions"]) == 1
    assert laptop.delete(f"/auth/sessions/{sessions[1]['id']}").told == "404 no-route"


def test_nobody_ends_or_finds_the_session_of_another(browser: NewBrowser) -> None:
    alice, mallory = browser(), browser()
    assert mallory.delete(f"/auth/sessions/{alice.claims()['sid']}").told == "404 no-route"
    assert alice.get("/who").status == 200


def test_one_user_has_at_most_ten_sessions_and_the_oldest_goes(browser: NewBrowser, shop: Wire) -> None:
    oldest = browser()
    for _ in range(10):
        Browser(shop).sign_in(oldest.email)
    assert oldest.everywhere() == {"401 revoked-session"}


def test_S13_S14_signing_in_again_ends_the_session_of_this_browser_and_merges_nothing(browser: NewBrowser, shop: Wire) -> None:
    alice, bob = browser(), browser()
    planted = Browser(shop, cookies=dict(bob.cookies))
    planted.sign_in(alice.email)
    assert planted.get("/auth/me").json()["user"] == alice.email
    assert planted.claims()["sid"] != bob.claims()["sid"]
    assert bob.everywhere() == {"401 revoked-session"}


# Password.


def test_a_changed_password_leaves_one_session_and_makes_all_else_an_old_version(browser: NewBrowser, shop: Wire) -> None:
    laptop = browser()
    phone = Browser(shop, agent=ANDROID)
    phone.sign_in(laptop.email)
    thief = laptop.stolen()
    reply = laptop.post("/auth/password", {"current": PASSWORD, "new": "another good phrase"})
    assert reply.status == 204 and set(reply.cookies) == {"access", "refresh", "csrf"}
    assert laptop.everywhere() == {"200"}
    assert laptop.claims()["ver"] == 2
    assert thief.everywhere() == phone.everywhere() == {"401 old-version"}
    assert thief.post("/auth/refresh", is_kept=False).told == "401 old-version"
    assert thief.get("/who", without=("access",)).told == "401 old-version"
    again = Browser(shop)
    assert again.post("/auth/login", {"email": laptop.email, "password": PASSWORD}).status == 401
    assert again.sign_in(laptop.email, "another good phrase").status == 200
    line = f"Token revoked rejected sub={laptop.email} tokenVersion=1 (expected 2)"
    assert eventually(lambda: any(line in message["message"] for message in shop.gateway.messages()))


def test_a_wrong_password_or_a_poor_new_one_changes_nothing(browser: NewBrowser) -> None:
    alice = browser()
    assert alice.post("/auth/password", {"current": "wrong wrong", "new": "another good phrase"}).status == 401
    poor = alice.post("/auth/password", {"current": PASSWORD, "new": "password1"})
    assert poor.status == 422 and "new" in poor.json()["errors"]
    assert alice.claims()["ver"] == 1
    assert alice.get("/who").status == 200


# The fingerprint, on the wire.


def test_a_stolen_cookie_on_another_device_is_refused_and_a_page_ends_the_session(browser: NewBrowser) -> None:
    alice = browser()
    thief = alice.stolen(agent=ANDROID)
    assert thief.get("/who").told == "401 device-changed"
    assert alice.get("/who").status == 200
    assert thief.open("/who").told == "401 device-changed"
    assert thief.cookies == {}, "what has ended is taken away with the answer that ends it"
    assert eventually(lambda: alice.everywhere() == {"401 revoked-session"})


def test_an_unrecognised_agent_is_refused_and_ends_nothing(browser: NewBrowser) -> None:
    alice = browser()
    assert alice.stolen(agent="curl/8.5.0").open("/who").told == "401 device-changed"
    assert alice.stolen(agent=None).get("/who").told == "401 device-changed"
    assert alice.get("/who").status == 200


def test_another_network_is_an_alert_by_default(browser: NewBrowser, shop: Wire) -> None:
    alice = browser(address="203.0.113.7")
    before = shop.gateway.metrics()['gateway_fingerprint_mismatches_total{action="alert",signal="network"}']
    assert alice.stolen(address="198.51.100.9").get("/who").status == 200
    assert alice.stolen(address="203.0.113.99").get("/who").status == 200, "the same /24"
    eventually(
        lambda: shop.gateway.metrics()['gateway_fingerprint_mismatches_total{action="alert",signal="network"}'] == before + 1
    )


# What a person meets.


def test_a_navigation_without_a_session_goes_to_the_login_page_and_comes_back(shop: Wire) -> None:
    alice = Browser(shop)
    reply = alice.open("/orders/7?x=1&y=%2F")
    assert (reply.status, reply.reason) == (303, "no-token")
    assert reply.fields("location") == ["https://shop.example/auth/login?return_to=%2Forders%2F7%3Fx%3D1%26y%3D%252F"]
    page = alice.open("/auth/login?return_to=%2Forders%2F7%3Fx%3D1")
    assert page.status == 200 and 'value="/orders/7?x=1"' in page.text


def test_redirects_are_never_built_from_the_host_field(shop: Wire) -> None:
    raw = b"GET /orders HTTP/1.1\r\nHost: evil.example\r\nSec-Fetch-Mode: navigate\r\nConnection: close\r\n\r\n"
    assert b"Location: https://shop.example/auth/login" in shop.send(raw).head


def test_a_refused_navigation_is_a_page_and_takes_dead_cookies_away(browser: NewBrowser) -> None:
    alice = browser()
    copy = alice.stolen()
    alice.post("/auth/logout")
    reply = copy.open("/who", "Accept-Language: fr")
    assert (reply.told, reply.fields("content-language")) == ("401 revoked-session", ["fr"])
    assert reply.cookies == {"access": "", "refresh": "", "csrf": ""}
    late = alice.stolen()
    late.cookies = {"access": "x.y.z"}
    assert not late.get("/who").cookies, "[R4] never by a late 401 to a script"


@pytest.mark.parametrize(
    "target",
    [
        "//evil.example",
        "https://evil.example",
        "/\\evil.example",
        "/%09/evil.example",
        "javascript:alert(1)",
        "https:evil",
        "/a/../b",
    ],
)
def test_S32_C3_a_login_leads_to_paths_of_this_site_only(shop: Wire, target: str) -> None:
    alice = Browser(shop)
    alice.sign_in("returning@example.com")
    page = Browser(shop).ask(
        "POST",
        "/auth/login",
        "Sec-Fetch-Site: same-origin",
        "Sec-Fetch-Mode: navigate",
        form={"email": "returning@example.com", "password": PASSWORD, "return_to": target},
    )
    assert page.status == 200 and set(page.cookies) == {"access", "refresh", "csrf"}
    assert not any(word in page.text for word in ("//evil", "https:evil", "\\evil", "javascript:", "url=."))
