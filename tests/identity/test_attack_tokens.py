"""A token of one kind shown as another, in every place a token can be shown in, to a worker that has met it before.

What a worker remembers of a token must not be found under another name: the bytes of a refresh cookie are not an access token
because they were genuine once. So every confusion is asked twice, of a worker that knows nothing yet and of one that has just
accepted the token in its own place. Each time the backend says who it was told.
"""

import pytest
from attacks.wire_gateway import Wire
from browser import FIREFOX, Browser, NewBrowser, Reply
from kept import Kept

PLACES = {
    "access cookie": "Cookie: __Host-access={}",
    "refresh cookie": "Cookie: __Host-refresh={}",
    "both cookies": "Cookie: __Host-access={0}; __Host-refresh={0}",
    "bearer": "Authorization: Bearer {}",
    "field without a scheme": "Authorization: {}",
    "cookie with a scheme": "Cookie: __Host-access=Bearer {}",
    "refresh cookie with a scheme": "Cookie: __Host-refresh=Bearer {}",
    "csrf cookie": "Cookie: __Host-csrf={}",
}
RIGHT = {"access": {"access cookie", "both cookies", "bearer"}, "refresh": {"refresh cookie"}}


def shown(place: str, token: str, path: str) -> bytes:
    lines = [f"GET {path} HTTP/1.1", "Host: shop.example", f"User-Agent: {FIREFOX}", PLACES[place].format(token), "", ""]
    return "\r\n".join(lines).encode()


def use_in_its_places(line: Kept, alice: Browser) -> None:
    """The worker accepts every token where it belongs, and remembers that."""
    for raw in (
        alice.raw("GET", "/who"),
        alice.raw("GET", "/who", f"Authorization: Bearer {alice.cookies['access']}", without=("access", "refresh", "csrf")),
        alice.raw("GET", "/who", without=("access",)),
    ):
        assert line.ask(raw).status == 200


@pytest.mark.parametrize("is_known", [False, True], ids=["to a worker that never met it", "to one that knows it"])
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("kind", ["access", "refresh"])
def test_J48_a_token_is_good_in_its_own_place_only(
    shop: Wire, browser: NewBrowser, kind: str, place: str, is_known: bool
) -> None:
    alice = browser()
    mark = f"/places/{alice.email}"
    with Kept(shop) as line:
        if is_known:
            use_in_its_places(line, alice)
        reply = line.ask(shown(place, alice.cookies[kind], mark))
    if place in RIGHT[kind]:
        assert reply.status == 200 and shop.reached(mark)[0].values("x-user") == [alice.email.encode()]
    else:
        assert reply.status == 401 and reply.reason in ("malformed-token", "no-token")
        assert not reply.cookies, "nothing was renewed"
        assert not shop.reached(mark)


@pytest.mark.parametrize("kind", ["access", "refresh"])
@pytest.mark.parametrize("place", PLACES)
def test_J48_no_place_smuggles_a_token_of_ours_to_an_application(shop: Wire, browser: NewBrowser, kind: str, place: str) -> None:
    """Where nobody has to show a token either: what was not judged is looked at before it travels on."""
    alice = browser()
    token = alice.cookies[kind]
    with Kept(shop) as line:
        use_in_its_places(line, alice)
        for route in ("public", "optional", "open", "stale"):
            line.ask(shown(place, token, f"/{route}/smuggled/{alice.email}"))
    for arrived in shop.reached(f"smuggled/{alice.email}"):
        assert token.encode() not in arrived.raw_head


@pytest.mark.parametrize("form", ["Token {}", "DPoP {}", "Basic x, Bearer {}", 'Digest nonce="{}"', "bearer\t{}", "{0} {0}"])
def test_J48_nor_under_the_name_of_another_scheme(shop: Wire, browser: NewBrowser, form: str) -> None:
    alice = browser()
    field = f"Authorization: {form.format(alice.cookies['access'])}"
    for route in ("public", "optional"):
        shop.get(f"/{route}/scheme/{alice.email}", field)
    for arrived in shop.reached(f"scheme/{alice.email}"):
        assert alice.cookies["access"].encode() not in arrived.raw_head


def test_C1_a_bearer_token_that_was_met_is_not_a_cookie_that_needs_no_proof(shop: Wire, browser: NewBrowser) -> None:
    """A cookie is sent by any page; the Authorization field is not. The first must not pass for the second."""
    alice = browser()
    bearer = f"Bearer {alice.cookies['access']}"
    with Kept(shop) as line:
        assert line.ask(alice.raw("GET", "/who", f"Authorization: {bearer}", without=("access", "refresh"))).status == 200
        forged = alice.raw(
            "POST", "/upload/planted", "Sec-Fetch-Site: cross-site", f"Cookie: __Host-access={bearer}",
            body=b"x", without=("access", "refresh", "csrf"),
        )  # fmt: skip
        assert line.ask(forged).told == "401 malformed-token"
    assert not shop.reached("/upload/planted")


def test_J48_another_issuers_token_is_no_cookie_of_ours_even_after_it_served_as_bearer(shop: Wire) -> None:
    token = shop.gateway.token(sub="mallory")
    with Kept(shop) as line:
        assert line.ask(shown("bearer", token, "/who")).status == 200
        for place in ("access cookie", "refresh cookie", "both cookies", "cookie with a scheme"):
            assert line.ask(shown(place, token, "/foreign-cookie")).status == 401
    assert not shop.reached("/foreign-cookie")


def test_J48_an_access_token_buys_no_refresh_token_at_the_endpoint(shop: Wire, browser: NewBrowser) -> None:
    alice = browser()
    with Kept(shop) as line:
        use_in_its_places(line, alice)
        for cookie in (f"__Host-refresh={alice.cookies['access']}", f"__Host-access={alice.cookies['refresh']}"):
            reply: Reply = line.ask(
                alice.raw("POST", "/auth/refresh", f"Cookie: {cookie}", body=b"", without=("access", "refresh", "csrf"))
            )
            assert reply.status == 401 and not any(reply.cookies.values())
