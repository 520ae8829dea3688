"""The JTI note, demand by demand.

    every token has a `jti` on record         replay of a used token is detected · revocation before expiry · audit of its use
    the access cookie lives for an hour       and is renewed by itself, unseen, up to seven days
    a purge on schedule, also for the GDPR    what expired leaves the store; a person is erased
    another IP or device than at login        the token is revoked

What a replay raises is a rule over `gateway_revoked_use_total`: the counter is judged here, the alert where the rules are.
"""

import time

import httpx
import pytest
from live.running_gateway import eventually
from patience import PATIENCE_S
from playwright.async_api import expect
from shops import Shop, StartShop, Visit
from visitor import PHONE, WINDOWS, Visitor, is_said

pytestmark = pytest.mark.asyncio(loop_scope="session")


def audit(shop: Shop, user: str) -> list[dict[str, str]]:
    """The events of a user, newest first."""
    events: list[dict[str, str]] = shop.call("GET", "/v1/audit", params={"user": user}).json()["events"]
    return events


async def test_jti_note_every_token_has_a_jti_on_record(visit: Visit, shop: Shop) -> None:
    visitor = await visit()
    seen = set()
    for _ in range(3):
        await visitor.fetch("/who")
        access, refresh = await visitor.claims(), await visitor.claims("refresh")
        assert access["jti"].startswith(access["sid"] + ".") and refresh["jti"].startswith(access["sid"] + ".")
        seen |= {access["jti"], refresh["jti"]}
        await visitor.forget("access")
    assert len(seen) == 6, "another one for each token"
    on_record = shop.call("GET", f"/v1/users/{visitor.email}/sessions").json()["sessions"]
    assert [session["id"] for session in on_record] == [access["sid"]]


async def test_jti_note_a_used_token_is_detected_when_it_is_shown_again(visit: Visit, shop: Shop) -> None:
    """The refresh token is used up by its rotation; whoever shows it later has a copy, and the family ends."""
    laptop = await visit()
    thief = await laptop.robbed()
    for _ in range(2):
        await laptop.forget("access")
        await laptop.open("/orders")
    await thief.forget("access")
    assert await thief.told("/orders") == "401 refresh-reused"
    await expect(thief.tab.get_by_role("heading")).to_have_text("You were signed out for your safety")
    assert await laptop.everywhere() == {"401 revoked-session"}
    eventually(lambda: shop.metrics()['gateway_refreshes_total{outcome="reused"}'] >= 1)


async def test_jti_note_a_used_token_is_refused_where_a_token_serves_once(visit: Visit, shop: Shop) -> None:
    laptop = await visit()
    thief = await laptop.robbed()
    assert (await laptop.fetch("/once/transfer-1", "POST", body="100 to Bob")).told == "200"
    for again in (laptop, thief):
        if again is thief:
            await thief.open("/auth/devices")
        assert (await again.fetch("/once/transfer-1", "POST", body="100 to Bob")).told == "401 replayed-token"
    assert len(shop.old.reached("/once/transfer-1")) == 1


async def test_jti_note_a_token_is_revoked_before_it_expires(visit: Visit, shop: Shop) -> None:
    visitor = await visit()
    claims = await visitor.claims()
    assert claims["exp"] - time.time() > 200
    shop.revoke(token_id=claims["jti"])
    assert await visitor.everywhere() == {"401 revoked-token"}
    assert await visitor.everywhere(without=("access",)) == {"401 revoked-session"}, "its refresh cookie travels with it"
    assert await visitor.told("/orders") == "401 revoked-token"


async def test_jti_note_the_use_of_a_revoked_token_is_a_signal_of_its_own(visit: Visit, shop: Shop) -> None:
    laptop = await visit()
    thief = await laptop.robbed(WINDOWS)
    await thief.open("/public/")
    await laptop.fetch("/auth/logout", "POST")
    replay = 'gateway_revoked_use_total{age="replay",kind="session"}'
    tail = 'gateway_revoked_use_total{age="tail",kind="session"}'
    before = shop.metrics()
    await thief.fetch("/who")
    eventually(lambda: shop.metrics()[tail] > before[tail])  # it may have been on its way
    before = shop.metrics()
    time.sleep(10.1)  # the tail, by the wall
    await thief.fetch("/who")
    eventually(lambda: shop.metrics()[replay] > before[replay])


async def test_jti_note_what_is_done_with_a_users_tokens_can_be_read_afterwards(visit: Visit, shop: Shop) -> None:
    visitor = await visit(address="203.0.113.7")
    claims = await visitor.claims()
    for number in range(3):
        await visitor.fetch(f"/who?audited={number}")
    await visitor.forget("access")
    await visitor.fetch("/who")
    renewed = await visitor.claims()
    shop.revoke(token_id=renewed["jti"])
    await visitor.fetch("/who")

    def told() -> bool:
        events = audit(shop, visitor.email)
        return {"registered", "login", "refresh", "refusal"} <= {event["action"] for event in events}

    eventually(told)
    refusal = next(event for event in audit(shop, visitor.email) if event["action"] in ("refusal", "replay"))
    assert (refusal["user"], refusal["session"], refusal["reason"]) == (visitor.email, claims["sid"], "revoked-token")
    assert (refusal["token_id"], refusal["network"]) == (renewed["jti"], "203.0.113.0/24")
    lines = [line for line in shop.access_lines() if line.get("session") == claims["sid"]]
    assert len(lines) >= 5 and {line["user"] for line in lines} == {visitor.email}, "each request, with its user and session"


async def test_jti_note_an_access_cookie_may_live_an_hour_and_its_session_seven_days(enter: Visit, start_shop: StartShop) -> None:
    shop = start_shop(tokens={"access_ttl": "1h", "refresh_ttl": "7d", "session_ttl": "7d"})
    shop.register("hourly@example.com")
    visitor = await enter(at=shop)
    await visitor.sign_in("hourly@example.com")
    access, refresh = await visitor.claims(), await visitor.claims("refresh")
    assert access["exp"] - access["iat"] == 3600
    assert refresh["exp"] - refresh["iat"] == 7 * 86400
    for cookie in (await visitor.jar()).values():
        assert abs(cookie["expires"] - time.time() - 7 * 86400) < 60
    await visitor.forget("access")
    assert (await visitor.fetch("/who")).told == "200", "renewed unseen, whenever it is missing or old"
    again = await visitor.claims("refresh")
    assert again["gen"] == 2 and again["exp"] <= refresh["exp"] + 1, "seven days from the login, and never more"


async def test_jti_note_the_access_cookie_is_renewed_unseen_until_the_session_ends(enter: Visit, quick_shop: Shop) -> None:
    """The same in seconds: access 2, idle 6, absolute 14."""
    quick_shop.register("watching@example.com")
    visitor = await enter(at=quick_shop)
    await visitor.sign_in("watching@example.com")
    began = time.monotonic()
    script = """async (until_ms) => {
      const told = new Set();
      for (const end = performance.now() + until_ms; performance.now() < end; await new Promise((go) => setTimeout(go, 250)))
        told.add((await fetch("/who")).status);
      return [...told];
    }"""
    assert await visitor.tab.evaluate(script, 9000) == [200], "longer than an access token lives, and than an idle session"
    assert (await visitor.claims())["gen"] >= 4
    assert await visitor.told("/orders") == "200"
    await visitor.remember()
    await visitor.tab.wait_for_timeout(max(0.0, 15.1 - (time.monotonic() - began)) * 1000)
    await visitor.open("/orders/late")
    assert "/auth/login?return_to=%2Forders%2Flate" in visitor.tab.url
    assert await visitor.cookies() == {}


async def test_jti_note_a_session_that_is_not_used_ends(enter: Visit, quick_shop: Shop) -> None:
    quick_shop.register("idle@example.com")
    visitor = await enter(at=quick_shop)
    await visitor.sign_in("idle@example.com")
    sid = (await visitor.claims())["sid"]
    await visitor.tab.wait_for_timeout(6500)
    assert await visitor.everywhere() <= {"401 expired-token", "401 no-token"}
    await visitor.open("/orders")
    assert "/auth/login" in visitor.tab.url
    listed = quick_shop.call("GET", "/v1/users/idle@example.com/sessions").json()["sessions"]
    assert sid not in {session["id"] for session in listed}


async def test_jti_note_gdpr_what_has_expired_leaves_by_a_purge_on_schedule(quick_shop: Shop) -> None:
    """Every minute here, the shortest that can be configured."""
    quick_shop.register("purged@example.com")
    quick_shop.login("purged@example.com")

    def purged() -> bool:
        return any(message["message"].startswith("Purged: ") for message in quick_shop.messages())

    eventually(purged, 75)
    events = quick_shop.call("GET", "/v1/audit", params={"action": "purge"}).json()["events"]
    assert events and events[0]["source"] == "schedule"


async def test_jti_note_gdpr_a_person_is_erased_and_nothing_leads_back_to_the_name(visit: Visit, shop: Shop) -> None:
    visitor = await visit()
    claims = await visitor.claims()
    eventually(lambda: "login" in {event["action"] for event in audit(shop, visitor.email)})
    receipt = shop.call("DELETE", f"/v1/users/{visitor.email}")
    assert receipt.status_code == 200, receipt.text
    assert receipt.json()["erased"] | {"first_uses": []} == {
        "account": True,
        "sessions": 1,
        "known_devices": True,
        "first_uses": [],
        "name_in_audit": True,
    }
    assert await visitor.everywhere() == {"401 old-version"}
    assert audit(shop, visitor.email) == []
    everything = shop.call("GET", "/v1/audit", params={"limit": "1000"}).json()["events"]
    mine = [event for event in everything if event.get("session") == claims["sid"]]
    assert mine and visitor.email not in str(mine), "the events stay, under a pseudonym that leads nowhere"
    assert shop.call("GET", f"/v1/users/{visitor.email}").status_code == 404
    await visitor.open("/auth/login")
    await visitor.fill_in(visitor.email)
    await is_said(visitor.tab, "The address and the password do not belong together.")


async def test_jti_note_a_token_from_another_device_than_the_logins_is_revoked(visit: Visit) -> None:
    laptop = await visit(WINDOWS)
    thief = await laptop.robbed(PHONE)
    await thief.open("/public/")
    assert (await thief.fetch("/who")).told == "401 device-changed", "a script is refused"
    assert (await laptop.fetch("/who")).told == "200"
    assert await thief.told("/orders") == "401 device-changed"
    await expect(thief.tab.get_by_role("heading")).to_have_text("You were signed out for your safety")
    await ended_everywhere(laptop)


async def test_jti_note_a_token_from_another_ip_than_the_logins_is_revoked(visit: Visit, strict_shop: Shop) -> None:
    laptop = await visit(at=strict_shop, address="203.0.113.7")
    await laptop.move_to("203.0.113.99")
    assert await laptop.told("/orders") == "200", "a neighbour in the same network"
    thief = await laptop.robbed(address="198.51.100.9")
    assert await thief.told("/orders") == "401 network-changed"
    await ended_everywhere(laptop)
    assert await laptop.told("/orders") == "401 revoked-session"


async def ended_everywhere(visitor: Visitor) -> None:
    """The thief is refused at once; that the session has ended is known everywhere within milliseconds."""
    deadline = time.monotonic() + PATIENCE_S
    while (told := await visitor.everywhere()) != {"401 revoked-session"}:
        assert time.monotonic() < deadline, told


async def test_jti_note_nothing_else_than_the_networks_of_trusted_proxies_is_believed_about_an_ip(
    visit: Visit, strict_shop: Shop
) -> None:
    """The left part of the field is what a client wrote itself."""
    laptop = await visit(at=strict_shop, address="203.0.113.7")
    cookies = "; ".join(f"__Host-{name}={value}" for name, value in (await laptop.cookies()).items())
    forged = {"Cookie": cookies, "User-Agent": laptop.agent, "X-Forwarded-For": "203.0.113.7, 198.51.100.9"}
    answer = httpx.get(f"{strict_shop.url}/who", headers=forged, trust_env=False, verify=False)
    assert (answer.status_code, answer.headers["X-Gateway-Reason"]) == (401, "network-changed")
