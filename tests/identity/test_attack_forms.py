"""Another site's page, and what a browser can be made to do for it: forms, values that are planted, ways that lead elsewhere."""

from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest
from attacks.wire_gateway import Wire, wire
from browser import CALM, PASSWORD, Browser, NewBrowser

SAME_ORIGIN = "Sec-Fetch-Site: same-origin"
ELSEWHERE = {
    "cross-site": ("Sec-Fetch-Site: cross-site",),
    "same-site": ("Sec-Fetch-Site: same-site",),
    "typed": ("Sec-Fetch-Site: none",),
    "junk": ("Sec-Fetch-Site: SAME-ORIGIN",),
    "both, one good": ("Sec-Fetch-Site: same-origin", "Sec-Fetch-Site: cross-site"),
    "another origin": ("Origin: https://evil.example",),
    "no origin": ("Origin: null",),
    "the plain scheme": ("Origin: http://shop.example",),
    "another port": ("Origin: https://shop.example:8443",),
    "a longer name": ("Origin: https://shop.example.evil.example",),
    "a sibling": ("Origin: https://evil.shop.example",),
    "a trailing dot": ("Origin: https://shop.example.",),
    "upper case": ("Origin: HTTPS://SHOP.EXAMPLE",),
    "two origins": ("Origin: https://shop.example", "Origin: https://evil.example"),
    "two in one": ("Origin: https://shop.example, https://evil.example",),
    "good origin, bad fetch": ("Origin: https://shop.example", "Sec-Fetch-Site: cross-site"),
    "a good referer only": ("Origin: null", "Referer: https://shop.example/"),
}


@pytest.mark.parametrize("name", ELSEWHERE)
@pytest.mark.parametrize("path", ["/auth/login", "/auth/register"])
@pytest.mark.parametrize("kind", ["json", "form"])
def test_S18_S31_no_other_sites_page_signs_a_browser_in(
    shop: Wire, resident: NewBrowser, name: str, path: str, kind: str
) -> None:
    """Login CSRF: the victim would go on in the attacker's account."""
    mallory = resident()
    fields = {"email": mallory.email if path == "/auth/login" else f"new-{len(name)}@example.com", "password": PASSWORD}
    body: dict[str, Any] = {"document": fields} if kind == "json" else {"form": fields}
    victim = Browser(shop)
    reply = victim.ask("POST", path, *ELSEWHERE[name], **body)
    assert reply.told == "403 csrf" and not victim.cookies
    page = Browser(shop).ask("POST", path, *ELSEWHERE[name], "Sec-Fetch-Mode: navigate", form=fields)
    assert page.told == "403 csrf" and not page.fields("set-cookie")


@pytest.mark.parametrize("name", ELSEWHERE)
@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "PROPPATCH"])
def test_S29_S31_C1_a_cookie_alone_changes_nothing(shop: Wire, resident: NewBrowser, name: str, method: str) -> None:
    alice = resident()
    path = f"/change/{alice.email}"
    for lines in (ELSEWHERE[name], (*ELSEWHERE[name], f"X-CSRF-Token: {alice.cookies['csrf']}")):
        assert alice.ask(method, path, *lines, body=b"", is_kept=False).told == "403 csrf"
    assert not shop.reached(path)


@pytest.mark.parametrize(
    "kind",
    [
        "text/plain",
        "multipart/form-data; boundary=x",
        "application/x-www-form-urlencoded",
        "application/json",
        "application/csp-report",
        "",
    ],
)
@pytest.mark.parametrize("override", ["", "X-HTTP-Method-Override: GET", "X-Method-Override: HEAD", "X-HTTP-Method: OPTIONS"])
def test_S29_no_kind_of_body_and_no_claim_of_another_method_goes_past(
    shop: Wire, resident: NewBrowser, kind: str, override: str
) -> None:
    alice = resident()
    lines = [line for line in (f"Content-Type: {kind}" if kind else "", override) if line]
    assert alice.ask("POST", "/change/kind?_method=GET", *lines, body=b"a=1&_method=GET", is_kept=False).told == "403 csrf"
    assert not shop.reached("/change/kind")


def test_S27_S28_only_the_value_of_this_session_is_an_echo(shop: Wire, browser: NewBrowser) -> None:
    """A sibling domain may plant the cookie and the attacker knows his own value: neither is this session's."""
    alice, mallory = browser(), browser()
    mine, his = alice.cookies["csrf"], mallory.cookies["csrf"]
    before = browser()
    old = before.cookies["csrf"]
    before.sign_in()
    values = [
        "",
        " ",
        "x",
        "0",
        his,
        old,
        mine[:-1],
        mine + "A",
        mine.swapcase(),
        f"{mine} {mine}",
        f"{mine},{mine}",
        f'"{mine}"',
        "A" * 22,
    ]
    for value in values:
        planted = {**alice.cookies, "csrf": value}
        one = Browser(shop, cookies=planted)
        assert one.ask("POST", "/change/echo", f"X-CSRF-Token: {value}", body=b"", is_kept=False).told == "403 csrf", value
    for lines in (
        (f"X-CSRF-Token: {mine}", f"X-CSRF-Token: {mine}"),
        (f"X-CSRF-Token: {mine}", f"X-CSRF-Token: {his}"),
        (f"X_CSRF_Token: {mine}",),
        (f"X-XSRF-Token: {mine}",),
    ):
        assert alice.ask("POST", "/change/echo", *lines, body=b"", is_kept=False).told == "403 csrf", lines
    assert alice.ask("POST", f"/change/echo?csrf={mine}", body=f"csrf={mine}".encode(), is_kept=False).told == "403 csrf"
    assert alice.ask("POST", "/change/echo", f"X-CSRF-Token: {'A' * 40_000}", body=b"").told == "431 too-large"
    assert not shop.reached("/change/echo")
    assert alice.ask("POST", "/change/good", f"X-CSRF-Token: {mine}", body=b"", without=("csrf",)).status == 200


def test_S28_the_value_of_a_session_that_is_over_is_worth_nothing(shop: Wire, browser: NewBrowser) -> None:
    alice = browser()
    copy = alice.stolen()
    assert alice.post("/auth/logout").status == 204
    alice.sign_in()
    echo = f"X-CSRF-Token: {copy.cookies['csrf']}"
    assert alice.ask("POST", "/change/over", echo, body=b"", is_kept=False).told == "403 csrf"
    assert copy.ask("POST", "/change/over", echo, body=b"", is_kept=False).told == "401 revoked-session"


@pytest.mark.parametrize("path", ["/auth/logout", "/auth/logout-all", "/auth/password", "/auth/sessions/{}/end"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_S17_no_image_and_no_link_signs_anybody_out(shop: Wire, resident: NewBrowser, path: str, method: str) -> None:
    alice = resident()
    target = path.format(alice.claims()["sid"])
    for lines in (
        ("Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: no-cors"),
        ("Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: navigate"),
        (),
    ):
        assert alice.ask(method, target, *lines, is_kept=False).status in (404, 405)
    assert alice.get("/who").status == 200


@pytest.mark.parametrize("name", ELSEWHERE)
def test_S17_no_form_of_another_site_ends_a_session(shop: Wire, resident: NewBrowser, name: str) -> None:
    alice = resident()
    sid = alice.claims()["sid"]
    for path in ("/auth/logout", "/auth/logout-all", f"/auth/sessions/{sid}/end"):
        for kept in ((), ("access",), ("refresh",)):
            reply = alice.ask("POST", path, *ELSEWHERE[name], "Sec-Fetch-Mode: navigate", form={}, without=kept, is_kept=False)
            assert reply.told == "403 csrf" or (reply.status == 303 and "access" in kept and not any(reply.cookies.values()))
    assert alice.ask("DELETE", f"/auth/sessions/{sid}", *ELSEWHERE[name], is_kept=False).told == "403 csrf"
    assert alice.get("/who").status == 200


@pytest.fixture(scope="module")
def trusting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Wire]:
    """Another origin may send what browsers without fetch metadata send."""
    settings = CALM | {"csrf": {"trusted_origins": ["https://app.example"]}}
    with wire(tmp_path_factory.mktemp("trusting"), **settings) as running:
        yield running


def test_C1_a_trusted_origin_is_trusted_where_the_browser_says_no_more(trusting: Wire, browser: NewBrowser) -> None:
    alice = browser(wire=trusting)
    assert alice.ask("POST", "/change/trusted", "Origin: https://app.example", body=b"").status == 200
    for origin in ("https://app.example.evil.example", "https://evil.example", "http://app.example", "https://app.example/"):
        assert alice.ask("POST", "/change/trusted", f"Origin: {origin}", body=b"", is_kept=False).told == "403 csrf"
    lines = ("Origin: https://app.example", "Sec-Fetch-Site: cross-site")
    assert alice.ask("POST", "/change/trusted", *lines, body=b"", is_kept=False).told == "403 csrf"


# Where a login leads [C3].

TARGETS = [
    "//evil.example",
    "///evil.example",
    "////evil.example",
    "/\\evil.example",
    "\\/evil.example",
    "\\\\evil.example",
    "/\\/evil.example",
    "/%5Cevil.example",
    "/%5c%5cevil.example",
    "/%2F%2Fevil.example",
    "/%2f/evil.example",
    "%2F%2Fevil.example",
    "//%2Fevil.example",
    "/%09/evil.example",
    "/%0A/evil.example",
    "/%0D%0A/evil.example",
    "/%0d%0aSet-Cookie:%20a=b",
    "/%00/evil.example",
    "/\t/evil.example",
    "\t//evil.example",
    " //evil.example",
    "/ /evil.example",
    "/./evil.example",
    "/.//evil.example",
    "/..//evil.example",
    "/../evil.example",
    "/a/..//evil.example",
    "/%2e%2e//evil.example",
    "/.evil.example/..",
    "https://evil.example",
    "https:evil.example",
    "https:/evil.example",
    "https:///evil.example",
    "http://evil.example",
    "HTTPS://EVIL.EXAMPLE",
    "//shop.example@evil.example",
    "https://shop.example@evil.example",
    "https://shop.example.evil.example",
    "https://evil.example/https://shop.example",
    "//evil.example\\@shop.example",
    "//evil%E3%80%82example",
    "//evil。example",
    "/∕evil.example",
    "javascript:alert(1)",
    "JaVaScRiPt:alert(1)",
    "java\tscript:alert(1)",
    "javascript://shop.example/%0aalert(1)",
    "data:text/html,<script>alert(1)</script>",
    "vbscript:x",
    "blob:https://evil.example",
    "file:///etc/passwd",
    "?next=//evil.example",
    "#//evil.example",
    ";//evil.example",
    "@evil.example",
    ".evil.example",
    "evil.example",
    "<script>alert(1)</script>",
    '"><script>alert(1)</script>',
    '/x"onmouseover="alert(1)',
    "/x'onmouseover='alert(1)",
    "/x;url=https://evil.example",
    "/;//evil.example",
    "/%3B//evil.example",
]


def leads(text: str) -> list[str]:
    """Everywhere a page leads to."""
    import html
    import re

    found = re.findall(r'(?:href|action|value|content|src)="([^"]*)"', text)
    return [html.unescape(target).removeprefix("0;url=") for target in found]


@pytest.mark.parametrize("target", TARGETS, ids=range(len(TARGETS)))
def test_S32_C3_no_way_back_leads_off_this_site(shop: Wire, resident: NewBrowser, target: str) -> None:
    alice = resident()
    pages = [
        Browser(shop).open(f"/auth/login?return_to={quote(target, safe='')}"),
        Browser(shop).open(f"/auth/register?return_to={quote(target, safe='')}"),
        Browser(shop).ask("POST", "/auth/login", SAME_ORIGIN, "Sec-Fetch-Mode: navigate",
                          form={"email": alice.email, "password": PASSWORD, "return_to": target}),
        Browser(shop).ask("POST", "/auth/register", SAME_ORIGIN, "Sec-Fetch-Mode: navigate",
                          form={"email": alice.email, "password": PASSWORD, "return_to": target}),
    ]  # fmt: skip
    for page in pages:
        assert page.status in (200, 303, 400, 409, 429), page
        assert "<script>alert" not in page.text and 'onmouseover="' not in page.text
        for led in [*leads(page.text), *page.fields("location")]:
            here = led.removeprefix("https://shop.example")
            is_here = not led or (here.startswith("/") and not here.startswith(("//", "/\\")))
            assert is_here or not any(word in led.lower() for word in ("evil", "script:", "data:text", "file:")), led
            assert not any(character in led for character in "\r\n\t\0")
        assert "a=b" not in "".join(page.fields("set-cookie"))


def test_S32_a_way_back_of_ten_kilobytes_is_a_page_all_the_same(shop: Wire) -> None:
    assert Browser(shop).open("/auth/login?return_to=/" + "a" * 7000).status == 200
    reply = Browser(shop).open("/" + "a" * 7000)
    assert reply.status == 303 and len(reply.fields("location")[0]) > 7000
    assert Browser(shop).open("/auth/login?return_to=/" + "a" * 12_000).told == "414 too-large"


@pytest.mark.parametrize(
    "host", ["evil.example", "shop.example.evil.example", "shop.example:1234", "localhost", "[::1]", "127.0.0.1"]
)
@pytest.mark.parametrize(
    "more", ["", "X-Forwarded-Host: evil.example", "Forwarded: host=evil.example", "X-Original-URL: //evil.example"]
)
def test_C3_what_the_gateway_leads_to_does_not_depend_on_host(shop: Wire, resident: NewBrowser, host: str, more: str) -> None:
    alice = resident()
    for method, path in (("GET", "/orders"), ("POST", "/auth/logout")):
        raw = alice.raw(
            method, path, SAME_ORIGIN, "Sec-Fetch-Mode: navigate", *([more] if more else []), without=("access", "refresh")
        )
        answer = shop.send(raw.replace(b"Host: shop.example", b"Host: " + host.encode()))
        if answer.status == 303:
            assert b"\r\nlocation: https://shop.example/auth/login" in answer.head.replace(b"Location", b"location")
        assert b"evil.example" not in answer.head and (host == "localhost" or b"//" + host.encode() not in answer.head)
