"""The proof of concept with an access and a refresh token, demand by demand.

/login returns a pair                 access for the page's memory and `Authorization: Bearer`, refresh in an HttpOnly cookie
both on record, with a time to live   in a fast key-value store; what is there is the session, and no token
/refresh · /logout                    the next pair · this browser only
/logout-all-devices                   every browser
after a leak                          all keys deleted and another secret
"""

import pytest
from live.running_gateway import eventually
from shops import Shop, Visit
from store_process import StoreProcess
from visitor import PASSWORD, PHONE, Visitor, claims_of, everywhere

pytestmark = pytest.mark.asyncio(loop_scope="session")

LOGIN = """async ([email, password]) => {
  const answer = await fetch("/auth/login", {
    method: "POST", headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ email, password, delivery: "token" }),
  });
  return [answer.status, await answer.json(), document.cookie];
}"""


async def log_in(visitor: Visitor, email: str) -> dict[str, str]:
    """As a page does that holds its access token itself; the document it gets."""
    visitor.email = email
    await visitor.open("/public/single-page")
    status, document, seen = await visitor.tab.evaluate(LOGIN, [email, PASSWORD])
    assert status == 200, document
    assert document["access_token"] not in seen
    visitor.gateway.shown.append(document["access_token"])
    await visitor.remember()
    return dict(document)


def bearer(document: dict[str, str]) -> dict[str, str]:
    return {"Authorization": f"Bearer {document['access_token']}"}


async def test_access_refresh_login_returns_a_pair(enter: Visit, shop: Shop) -> None:
    shop.register("pair@example.com")
    visitor = await enter()
    document = await log_in(visitor, "pair@example.com")
    assert (document["token_type"], document["expires_in"]) == ("Bearer", 300)
    jar = await visitor.jar()
    assert set(jar) == {"refresh"} and jar["refresh"]["httpOnly"]
    access, refresh = claims_of(document["access_token"]), claims_of(jar["refresh"]["value"])
    assert access["sid"] == refresh["sid"] and access["jti"] != refresh["jti"]


async def test_access_refresh_the_page_sends_its_token_as_a_bearer(enter: Visit, shop: Shop) -> None:
    shop.register("bearer@example.com")
    visitor = await enter()
    document = await log_in(visitor, "bearer@example.com")
    assert (await visitor.fetch("/who", headers=bearer(document))).json()["user"] == "bearer@example.com"
    assert (await visitor.fetch("/orders", "POST", body="1 book", headers=bearer(document))).told == "200"
    assert (await visitor.fetch("/who")).told == "401 no-token", "the refresh cookie alone opens nothing"


async def test_access_refresh_both_are_on_record_and_live_no_longer_than_they_may(
    enter: Visit, rough_shop: Shop, rough_store: StoreProcess
) -> None:
    rough_shop.register("recorded@example.com")
    visitor = await enter(at=rough_shop)
    document = await log_in(visitor, "recorded@example.com")
    sid = claims_of(document["access_token"])["sid"]
    key = f"gateway:session:{{{sid.partition('.')[0]}}}:{sid}"
    left_s = rough_store.command("TTL", key)
    week_s = 7 * 86400
    assert isinstance(left_s, int) and week_s - 60 <= left_s <= week_s + 3600


async def test_access_refresh_the_store_holds_no_token_and_no_name_of_a_cookie_in_clear(
    enter: Visit, rough_shop: Shop, rough_store: StoreProcess
) -> None:
    """Whoever reads the store signs in as nobody."""
    rough_shop.register("clear@example.com")
    visitor = await enter(at=rough_shop)
    document = await log_in(visitor, "clear@example.com")
    tokens = [document["access_token"], (await visitor.cookies())["refresh"]]
    secrets = [*tokens, *(token.rpartition(".")[2] for token in tokens), PASSWORD]
    keys = rough_store.command("KEYS", "*")
    assert isinstance(keys, list) and len(keys) > 5
    dump = b"".join(bytes(rough_store.command("DUMP", key) or b"") for key in keys)  # type: ignore[arg-type]
    assert not [secret for secret in secrets if secret.encode() in dump]


async def test_access_refresh_refresh_gives_the_next_pair(enter: Visit, shop: Shop) -> None:
    shop.register("next@example.com")
    visitor = await enter()
    document = await log_in(visitor, "next@example.com")
    before = (await visitor.cookies())["refresh"]
    renewed = await visitor.fetch("/auth/refresh", "POST")
    assert renewed.told == "200"
    after = renewed.json()
    shop.shown.append(after["access_token"])
    await visitor.remember()
    assert claims_of(after["access_token"])["gen"] == 2 and (await visitor.cookies())["refresh"] != before
    for pair in (document, after):
        assert (await visitor.fetch("/who", headers=bearer(pair))).told == "200", "until the first one expires"


async def test_access_refresh_logout_is_for_this_browser_only(enter: Visit, shop: Shop) -> None:
    shop.register("here@example.com")
    laptop, phone = await enter(), await enter(PHONE)
    here, there = await log_in(laptop, "here@example.com"), await log_in(phone, "here@example.com")
    assert (await laptop.fetch("/auth/logout", "POST")).told == "204"
    assert await laptop.cookies() == {}
    assert (await laptop.fetch("/who", headers=bearer(here))).told == "401 revoked-session"
    assert everywhere(shop, "/who", bearer(here) | {"User-Agent": laptop.agent}) == {"401 revoked-session"}
    assert (await phone.fetch("/who", headers=bearer(there))).told == "200"


async def test_access_refresh_logout_all_devices_is_for_every_browser(enter: Visit, shop: Shop) -> None:
    shop.register("all@example.com")
    laptop, phone = await enter(), await enter(PHONE)
    here, there = await log_in(laptop, "all@example.com"), await log_in(phone, "all@example.com")
    assert (await laptop.fetch("/auth/logout-all", "POST", headers=bearer(here))).told == "204"
    for visitor, pair in ((laptop, here), (phone, there)):
        assert everywhere(shop, "/who", bearer(pair) | {"User-Agent": visitor.agent}) == {"401 revoked-session"}
    assert (await phone.fetch("/auth/refresh", "POST")).told == "401 revoked-session"
    line = "Refresh after revocation rejected sub=all@example.com sid="
    eventually(lambda: any(message["message"].startswith(line) for message in shop.messages()))


async def test_access_refresh_after_a_leak_all_keys_go_and_everybody_signs_in_again(
    visit: Visit, enter: Visit, rough_shop: Shop, rough_store: StoreProcess
) -> None:
    laptop = await visit(at=rough_shop)
    rough_shop.register("leaked@example.com")
    page = await enter(at=rough_shop)
    document = await log_in(page, "leaked@example.com")
    before = {key["kid"] for key in rough_shop.ask("/.well-known/jwks.json").json()["keys"]}
    receipt = rough_shop.call("POST", "/v1/keys/rotate", json={"compromised": True})
    assert receipt.json()["complete"], receipt.text
    assert everywhere(rough_shop, "/who", bearer(document)) == {"401 retired-key"}
    assert await laptop.everywhere() == {"401 retired-key"}
    assert await laptop.everywhere(without=("access",)) == {"401 retired-key"}
    assert (await page.fetch("/auth/refresh", "POST")).told == "401 retired-key"
    after = {key["kid"] for key in rough_shop.ask("/.well-known/jwks.json").json()["keys"]}
    assert after and not before & after
    eventually(lambda: rough_store.command("KEYS", "gateway:session:*") == [])
    assert await laptop.told("/orders/after-the-leak") == "401 retired-key"
    await laptop.tab.get_by_role("link", name="Sign in").click()
    await laptop.fill_in(laptop.email)
    await laptop.tab.wait_for_url("**/orders/after-the-leak")
    await laptop.remember()
