"""The chapter on revocation (11.3), demand by demand.

    four strategies side by side      deny list, version per user, rotation with short tokens, rotation of keys; what each costs
    immediate effect                  theft, logout, a blocked account, changed rights, a leaver
    detection                         a revoked token in use, another IP, another country, an expired token in a loop
    log patterns                      version mismatch, refresh after revocation, signature mismatch after a key rotation

"Each raises an alert by itself" needs rules, which have tests of their own; judged here is that each moves a counter that
no other event moves.
"""

import time
from collections.abc import Callable

import pytest
from live.running_gateway import eventually
from patience import PATIENCE_S
from playwright.async_api import expect
from shops import Shop, Visit
from store_process import StoreProcess
from visitor import LAPTOP, PHONE, WINDOWS, Visitor, everywhere, is_said

pytestmark = pytest.mark.asyncio(loop_scope="session")

LISTEN = """(path) => new Promise((resolve, reject) => {
  const socket = new WebSocket(location.origin.replace("http", "ws") + path);
  window.over = new Promise((done) => socket.onclose = (event) => done([event.code, event.reason]));
  socket.onmessage = () => resolve();
})"""


class Counter:
    """What has been counted since it was made."""

    def __init__(self, shop: Shop) -> None:
        self._shop = shop
        self._before = shop.metrics()

    def rose(self, series: str) -> bool:
        return self._shop.metrics()[series] > self._before.get(series, 0.0)

    def rises(self, series: str) -> None:
        eventually(lambda: self.rose(series))


def logged(shop: Shop, *words: str) -> Callable[[], bool]:
    """Whether one line has all of these."""
    return lambda: any(all(word in message["message"] for word in words) for message in shop.messages())


async def another_device(visitor: Visitor, agent: str = WINDOWS) -> Visitor:
    """Of the same person, signed in."""
    other = await Visitor.enter(visitor.browser, visitor.gateway, agent)
    await other.sign_in(visitor.email)
    return other


# The four strategies.


async def test_revocation_chapter_deny_list_one_token_is_refused_and_its_neighbours_are_not(visit: Visit, shop: Shop) -> None:
    laptop, somebody = await visit(), await visit()
    desktop = await another_device(laptop)
    shop.revoke(token_id=(await laptop.claims())["jti"])
    assert await laptop.everywhere() == {"401 revoked-token"}
    assert await desktop.everywhere() == await somebody.everywhere() == {"200"}


async def test_revocation_chapter_version_one_number_refuses_all_tokens_of_a_user(visit: Visit, shop: Shop) -> None:
    laptop, somebody = await visit(), await visit()
    desktop = await another_device(laptop)
    shop.revoke(user=laptop.email)
    assert await laptop.everywhere() == await desktop.everywhere() == {"401 old-version"}
    assert await somebody.everywhere() == {"200"}
    await laptop.sign_in()
    assert (await laptop.claims())["ver"] == 2
    assert await laptop.everywhere() == {"200"}, "a login in the same second is a new version"


async def test_revocation_chapter_rotation_a_stolen_short_token_is_soon_worth_nothing(enter: Visit, quick_shop: Shop) -> None:
    quick_shop.register("short@example.com")
    laptop = await enter(at=quick_shop)
    await laptop.sign_in("short@example.com")
    thief = await laptop.robbed()
    await thief.forget("refresh")
    assert (await thief.open("/orders")).status == 200
    await thief.tab.wait_for_timeout(2300)
    assert (await thief.fetch("/who")).told == "401 expired-token"
    assert (await laptop.fetch("/who")).told == "200"
    await laptop.remember()


async def test_revocation_chapter_rotation_a_stolen_refresh_token_betrays_the_thief(visit: Visit, shop: Shop) -> None:
    laptop = await visit()
    thief = await laptop.robbed()
    await thief.forget("access")
    for _ in range(2):  # the thief renews first; now the owner holds the older copy
        await thief.open("/orders")
        await thief.forget("access")
    await laptop.forget("access")
    assert await laptop.told("/orders") == "401 refresh-reused"
    assert await thief.everywhere() == {"401 revoked-session"}


async def test_revocation_chapter_keys_another_one_signs_and_nobody_notices(visit: Visit, rough_shop: Shop) -> None:
    laptop = await visit(at=rough_shop)
    before = published(rough_shop)
    assert rough_shop.call("POST", "/v1/keys/rotate").json()["complete"]
    assert await laptop.everywhere() == {"200"}
    fresh = await another_device(laptop)
    assert header_of(await laptop.cookies()) != header_of(await fresh.cookies())
    assert before < published(rough_shop), "the older one still verifies"


async def test_revocation_chapter_keys_a_retired_one_takes_its_tokens_along(visit: Visit, rough_shop: Shop) -> None:
    laptop = await visit(at=rough_shop)
    kid = header_of(await laptop.cookies())
    rough_shop.call("POST", "/v1/keys/rotate")
    fresh = await another_device(laptop)
    receipt = rough_shop.call("DELETE", f"/v1/keys/{kid}")
    assert (receipt.status_code, receipt.json()["complete"]) == (200, True)
    assert await laptop.everywhere() == {"401 retired-key"}
    assert await laptop.everywhere(without=("access",)) == {"401 retired-key"}
    assert await fresh.everywhere() == {"200"}
    assert kid not in published(rough_shop)
    assert await laptop.told("/orders/after") == "401 retired-key"
    await laptop.tab.get_by_role("link", name="Sign in").click()
    await laptop.fill_in(laptop.email)
    await laptop.tab.wait_for_url("**/orders/after")
    await laptop.remember()


async def test_revocation_chapter_no_strategy_asks_the_store_about_a_request(
    visit: Visit, rough_shop: Shop, rough_store: StoreProcess
) -> None:
    """What each costs: nothing on the way of a request, and one fact in the memory of each worker."""
    good, denied, old, keyed = [await visit(at=rough_shop) for _ in range(4)]
    for visitor in (good, denied, old, keyed):
        assert await visitor.everywhere() == {"200"}, "each worker has met it"
    entries = 'gateway_replica_entries{worker="0"}'
    before = rough_shop.metrics()[entries]
    rough_shop.revoke(token_id=(await denied.claims())["jti"])
    rough_shop.revoke(user=old.email)
    kid = header_of(await keyed.cookies())
    jars = [visitor.everywhere for visitor in (good, denied, old)]
    rough_store.freeze()
    try:
        told = [await everywhere() for everywhere in jars]
    finally:
        rough_store.thaw()
    assert told == [{"200"}, {"401 revoked-token"}, {"401 old-version"}]
    eventually(lambda: rough_shop.metrics()[entries] - before <= 4)
    rough_shop.call("POST", "/v1/keys/rotate")
    rough_shop.call("DELETE", f"/v1/keys/{kid}")
    rough_store.freeze()
    try:
        assert await keyed.everywhere() == {"401 retired-key"}
    finally:
        rough_store.thaw()


# Immediate effect.


async def test_revocation_chapter_theft_the_owner_ends_the_thiefs_device_while_it_is_used(visit: Visit, shop: Shop) -> None:
    laptop = await visit()
    thief = await another_device(laptop, PHONE)  # who knows the password
    await thief.tab.evaluate(LISTEN, "/live/socket")
    await laptop.open("/auth/devices")
    row = laptop.tab.get_by_role("listitem").filter(has_text="Chrome on Android")
    await row.get_by_role("button", name="Sign out").click()
    await expect(row).to_have_count(0)  # it is answered when every worker enforces it
    assert await thief.outcome("over") == [1008, "session ended"]
    assert (await thief.fetch("/who")).told == "401 revoked-session"
    assert await thief.everywhere() == {"401 revoked-session"}
    assert await laptop.everywhere() == {"200"}


async def test_revocation_chapter_logout_every_copy_is_refused_at_once(visit: Visit) -> None:
    laptop = await visit()
    copy = await laptop.robbed()
    await copy.open("/orders")
    await copy.tab.evaluate(LISTEN, "/live/socket")
    await laptop.open("/auth/devices")
    await laptop.tab.get_by_role("button", name="Sign out", exact=True).first.click()
    await is_said(laptop.tab, "You are signed out.")
    assert await copy.outcome("over") == [1008, "session ended"]
    assert await copy.everywhere() == {"401 revoked-session"}
    assert await copy.everywhere(without=("access",)) == {"401 revoked-session"}


async def test_revocation_chapter_blocked_account_is_out_until_it_is_lifted(visit: Visit, shop: Shop) -> None:
    visitor = await visit()
    await visitor.tab.evaluate(LISTEN, "/live/socket")
    blocked = shop.call("POST", f"/v1/users/{visitor.email}/block", json={"reason": "unpaid"})
    assert (blocked.status_code, blocked.json()["complete"]) == (201, True)
    assert await visitor.outcome("over") == [1008, "session ended"]
    assert await visitor.everywhere() == {"403 blocked-user"}
    assert await visitor.told("/orders") == "403 blocked-user"
    await expect(visitor.tab.get_by_role("heading")).to_have_text("This account is blocked")
    elsewhere = await Visitor.enter(visitor.browser, shop, WINDOWS)
    await elsewhere.open("/auth/login")
    await elsewhere.fill_in(visitor.email)
    await is_said(elsewhere.tab, "This account is blocked.")
    assert shop.call("DELETE", f"/v1/users/{visitor.email}/block").status_code == 200
    assert await visitor.everywhere() == {"200"}


async def test_revocation_chapter_changed_rights_hold_from_the_next_request_on(visit: Visit, shop: Shop) -> None:
    visitor = await visit()
    assert await visitor.everywhere("/staff/who") == {"403 forbidden"}
    for groups, told in ((["staff", "buyers"], "200"), (["buyers"], "403 forbidden")):
        receipt = shop.call("PUT", f"/v1/users/{visitor.email}/groups", json={"groups": groups})
        assert (receipt.status_code, receipt.json()["complete"]) == (200, True)
        assert await visitor.everywhere("/staff/who") == {told}, "without signing in again"
        assert (await visitor.fetch("/who")).json()["groups"] == ",".join(sorted(groups))


async def test_revocation_chapter_leaver_is_out_of_every_session_and_cannot_return(visit: Visit, shop: Shop) -> None:
    laptop = await visit()
    phone = await another_device(laptop, PHONE)
    assert shop.call("POST", f"/v1/users/{laptop.email}/block", json={"reason": "left"}).status_code == 201
    assert shop.call("DELETE", f"/v1/users/{laptop.email}/sessions").json()["sessions"] == 2
    for device in (laptop, phone):
        assert await device.everywhere() <= {"401 revoked-session", "403 blocked-user"}
    shop.call("DELETE", f"/v1/users/{laptop.email}/block")
    for device in (laptop, phone):
        assert await device.everywhere() == {"401 revoked-session"}, "the sessions do not come back with the name"


# Detection.


async def test_revocation_chapter_a_revoked_token_in_use_is_noticed(visit: Visit, shop: Shop) -> None:
    visitor = await visit()
    jti = (await visitor.claims())["jti"]
    counter = Counter(shop)
    shop.revoke(token_id=jti)
    assert (await visitor.fetch("/who")).told == "401 revoked-token"
    counter.rises('gateway_revoked_use_total{age="tail",kind="token"}')
    eventually(logged(shop, f"Token revoked rejected sub={visitor.email} jti={jti}", "reason=revoked-token", "client="))


async def test_revocation_chapter_another_ip_is_noticed(visit: Visit, shop: Shop) -> None:
    visitor = await visit(address="203.0.113.7")
    counter = Counter(shop)
    await visitor.move_to("198.51.100.7")
    assert (await visitor.fetch("/who")).told == "200"
    counter.rises('gateway_fingerprint_mismatches_total{action="alert",signal="network"}')

    def on_record() -> bool:
        events = shop.call("GET", "/v1/audit", params={"user": visitor.email, "action": "fingerprint"}).json()["events"]
        return any((event["reason"], event["network"]) == ("network-changed", "198.51.100.0/24") for event in events)

    eventually(on_record)


async def test_revocation_chapter_another_country_is_noticed_and_ends_the_session(visit: Visit, strict_shop: Shop) -> None:
    """From IPv4 to IPv6, which is no other network by itself: clients that have both change between them."""
    visitor = await visit(at=strict_shop, address="203.0.113.7")
    thief = await visitor.robbed(address="2001:db8:99::1")
    counter = Counter(strict_shop)
    assert await thief.told("/orders") == "401 country-changed"
    await expect(thief.tab.get_by_role("heading")).to_have_text("You were signed out for your safety")
    counter.rises('gateway_fingerprint_mismatches_total{action="end_session",signal="country"}')
    deadline = time.monotonic() + PATIENCE_S
    while (told := await visitor.everywhere()) != {"401 revoked-session"}:
        assert time.monotonic() < deadline, told


async def test_revocation_chapter_an_expired_token_in_a_loop_is_noticed(enter: Visit, quick_shop: Shop) -> None:
    quick_shop.register("looping@example.com")
    login = quick_shop.login("looping@example.com", delivery="token")
    token = login["access_token"]
    quick_shop.shown.append(token)
    visitor = await enter(at=quick_shop)
    await visitor.open("/public/page")
    counter = Counter(quick_shop)
    await visitor.tab.wait_for_timeout(2300)
    script = """async (token) => {
      const told = [];
      for (let n = 0; n < 30; n++) told.push((await fetch("/who", { headers: { Authorization: "Bearer " + token } })).status);
      return told;
    }"""
    assert await visitor.tab.evaluate(script, token) == [401] * 30
    counter.rises("gateway_expired_token_loops_total")
    eventually(logged(quick_shop, "Expired token in a loop sub=looping@example.com jti="))


async def test_revocation_chapter_a_page_that_lets_its_session_run_out_is_in_no_loop(visit: Visit, shop: Shop) -> None:
    visitor = await visit()
    counter = Counter(shop)
    await visitor.forget("access")
    for _ in range(3):
        await visitor.open("/orders")
    await visitor.tab.wait_for_timeout(400)
    assert not counter.rose("gateway_expired_token_loops_total")


# Log patterns.


async def test_revocation_chapter_log_an_old_version_is_told_with_both_numbers(visit: Visit, shop: Shop) -> None:
    visitor = await visit()
    shop.revoke(user=visitor.email)
    assert await visitor.everywhere() == {"401 old-version"}
    eventually(logged(shop, f"Token revoked rejected sub={visitor.email} tokenVersion=1 (expected 2)"))


async def test_revocation_chapter_log_a_refresh_after_revocation_is_told_each_time(visit: Visit, shop: Shop) -> None:
    visitor = await visit()
    refresh, sid = (await visitor.cookies())["refresh"], (await visitor.claims())["sid"]
    shop.revoke(session=sid)
    line = f"Refresh after revocation rejected sub={visitor.email} sid={sid} reason=revoked-session"
    for times in (1, 2, 3):
        assert (await visitor.fetch("/auth/refresh", "POST")).told == "401 revoked-session"
        eventually(lambda: sum(message["message"].startswith(line) for message in shop.messages()) >= times)  # noqa: B023
        await visitor.context.add_cookies([{"name": "refresh", "value": refresh, "url": shop.url}])  # it was cleared


async def test_revocation_chapter_log_a_refresh_on_the_way_of_a_page_is_told_too(enter: Visit, quick_shop: Shop) -> None:
    quick_shop.register("unseen@example.com")
    visitor = await enter(at=quick_shop)
    await visitor.sign_in("unseen@example.com")
    claims = await visitor.claims()
    sid = claims["sid"]
    quick_shop.revoke(session=sid)
    await visitor.tab.wait_for_timeout(max(0.0, claims["exp"] + 0.2 - time.time()) * 1000)
    assert (await visitor.fetch("/who")).told == "401 revoked-session"
    line = f"Refresh after revocation rejected sub=unseen@example.com sid={sid} reason=revoked-session"
    eventually(logged(quick_shop, line))


async def test_revocation_chapter_log_a_signature_of_a_retired_key_is_told(visit: Visit, rough_shop: Shop) -> None:
    visitor = await visit(at=rough_shop)
    kid = header_of(await visitor.cookies())
    rough_shop.call("POST", "/v1/keys/rotate")
    rough_shop.call("DELETE", f"/v1/keys/{kid}")
    assert await visitor.everywhere() == {"401 retired-key"}
    line = f"Token signature mismatch iss={rough_shop.public_url} kid={kid} reason=retired-key"
    eventually(logged(rough_shop, line))


async def test_revocation_chapter_log_a_forged_signature_is_told(visit: Visit, shop: Shop) -> None:
    visitor = await visit()
    token = (await visitor.cookies())["access"]
    forged = token[:-10] + ("A" * 10 if token[-10:] != "A" * 10 else "B" * 10)
    assert everywhere(shop, "/who", {"Cookie": f"access={forged}", "User-Agent": LAPTOP}) == {"401 bad-signature"}
    eventually(logged(shop, f"Token signature mismatch iss={shop.public_url}", "reason=bad-signature"))


def header_of(cookies: dict[str, str]) -> str:
    """The id of the key that signed the access token."""
    import jwt

    return str(jwt.get_unverified_header(cookies["access"])["kid"])


def published(shop: Shop) -> set[str]:
    """The ids of the keys that anybody may verify with."""
    return {key["kid"] for key in shop.ask("/.well-known/jwks.json").json()["keys"]}
