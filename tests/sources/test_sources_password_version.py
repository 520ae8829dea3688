"""The passwordVersion slides, demand by demand.

register and log in                       through the pages
an access token of five minutes           the slides keep the version out of it; ours carries it, which is why a change of
a refresh token of two days               password is enforced at once and not when the access token has run out
changing the password counts up           every other session is over
the thief's refresh is refused            at once, and so is his access token
"""

import time

import pytest
from live.running_gateway import eventually
from playwright.async_api import expect
from shops import Shop, StartShop, Visit
from visitor import PASSWORD, WINDOWS, Visitor, is_said

pytestmark = pytest.mark.asyncio(loop_scope="session")

NEW = "another fine phrase"


async def change_password(visitor: Visitor, current: str = PASSWORD, new: str = NEW) -> None:
    """On the page of devices."""
    await visitor.open("/auth/devices")
    await visitor.tab.get_by_text("Change the password").first.click()
    await visitor.tab.get_by_label("Current password").fill(current)
    await visitor.tab.get_by_label("New password").fill(new)
    await visitor.tab.get_by_role("button", name="Change the password").click()
    await is_said(visitor.tab, "Your password is changed")
    await visitor.remember()


async def test_password_version_slides_register_and_log_in(enter: Visit) -> None:
    visitor = await enter()
    await visitor.open("/auth/register")
    await visitor.fill_in("slides@example.com")
    await is_said(visitor.tab, "Your account is ready. Sign in to use it.")
    await visitor.sign_in("slides@example.com")
    await expect(visitor.tab.get_by_role("heading")).to_have_text("Orders of slides@example.com")


async def test_password_version_slides_access_for_five_minutes_and_refresh_for_two_days(
    enter: Visit, start_shop: StartShop
) -> None:
    shop = start_shop(tokens={"access_ttl": "5m", "refresh_ttl": "2d"})
    shop.register("lifetimes@example.com")
    visitor = await enter(at=shop)
    await visitor.sign_in("lifetimes@example.com")
    access, refresh = await visitor.claims(), await visitor.claims("refresh")
    assert access["exp"] - access["iat"] == 5 * 60
    assert refresh["exp"] - refresh["iat"] == 2 * 86400
    assert refresh["ver"] == 1


async def test_password_version_slides_changing_the_password_counts_the_version_up(visit: Visit, shop: Shop) -> None:
    visitor = await visit()
    assert ((await visitor.claims())["ver"], (await visitor.claims("refresh"))["ver"]) == (1, 1)
    await change_password(visitor)
    assert ((await visitor.claims())["ver"], (await visitor.claims("refresh"))["ver"]) == (2, 2)
    assert await visitor.everywhere() == {"200"}, "the session that changed it goes on"
    await change_password(visitor, NEW, PASSWORD)
    assert (await visitor.claims())["ver"] == 3
    fresh = await Visitor.enter(visitor.browser, shop)
    await fresh.sign_in(visitor.email)
    assert (await fresh.claims())["ver"] == 3


async def test_password_version_slides_the_thiefs_refresh_is_refused_at_once(visit: Visit, shop: Shop) -> None:
    laptop = await visit()
    thief = await laptop.robbed()
    assert await thief.told("/orders") == "200"
    assert (await laptop.claims())["exp"] - time.time() > 200, "not because anything has run out"
    await change_password(laptop)
    assert (await thief.fetch("/auth/refresh", "POST")).told == "401 old-version"
    line = f"Token revoked rejected sub={laptop.email} tokenVersion=1 (expected 2) reason=old-version"
    eventually(lambda: any(message["message"].startswith(line) for message in shop.messages()))


async def test_password_version_slides_the_thiefs_access_token_is_refused_at_once_too(visit: Visit, shop: Shop) -> None:
    laptop = await visit()
    thief = await laptop.robbed()
    await thief.open("/orders")
    await change_password(laptop)
    assert (await thief.fetch("/who")).told == "401 old-version"
    assert await thief.everywhere() == {"401 old-version"}
    assert await thief.everywhere(without=("access",)) == {"401 old-version"}
    assert await thief.told("/orders") == "401 old-version"
    await expect(thief.tab.get_by_role("heading")).to_have_text("Please sign in again")
    line = f"Token revoked rejected sub={laptop.email} tokenVersion=1 (expected 2)"
    eventually(lambda: any(message["message"].startswith(line) for message in shop.messages()))


async def test_password_version_slides_the_other_devices_of_the_owner_sign_in_anew(visit: Visit, shop: Shop) -> None:
    laptop = await visit()
    desktop = await Visitor.enter(laptop.browser, shop, WINDOWS)
    await desktop.sign_in(laptop.email)
    await change_password(laptop)
    assert await desktop.told("/orders/after") == "401 old-version"
    await desktop.tab.get_by_role("link", name="Sign in").click()
    await desktop.fill_in(laptop.email, PASSWORD)
    await is_said(desktop.tab, "The address and the password do not belong together.")
    await desktop.fill_in(laptop.email, NEW)
    await desktop.tab.wait_for_url("**/orders/after")
    await desktop.remember()


async def test_password_version_slides_whoever_lacks_the_current_password_changes_nothing(visit: Visit, shop: Shop) -> None:
    """A thief with the cookies alone cannot lock the owner out."""
    laptop = await visit()
    thief = await laptop.robbed()
    await thief.open("/auth/devices")
    refused = await thief.fetch("/auth/password", "POST", document={"current": "not the right one", "new": NEW})
    assert refused.status == 401
    assert (await laptop.fetch("/who")).told == "200"
    assert (await laptop.claims())["ver"] == 1
