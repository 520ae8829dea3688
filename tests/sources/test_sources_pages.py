"""What people see and do: sign in, register, their devices, leaving, and what meets whoever tries to use their session.

Each in a real browser against two workers, in the words of the page.
"""

import asyncio

import pytest
from live.running_gateway import eventually
from playwright.async_api import Page, expect
from shops import Shop, Visit
from visitor import PASSWORD, PHONE, Visitor, everywhere, is_said

pytestmark = pytest.mark.asyncio(loop_scope="session")


def button(tab: Page, name: str):  # type: ignore[no-untyped-def]
    return tab.get_by_role("button", name=name, exact=True)


# Coming in.


async def test_a_page_leads_to_the_login_and_back_to_where_a_person_wanted_to_go(enter: Visit, shop: Shop) -> None:
    shop.register("returning@example.com")
    visitor = await enter()
    await visitor.open("/orders/7?page=2&sort=a%2Fb")
    assert visitor.tab.url == f"{shop.url}/auth/login?return_to=%2Forders%2F7%3Fpage%3D2%26sort%3Da%252Fb"
    await visitor.fill_in("Returning@Example.com ")
    await visitor.tab.wait_for_url("**/orders/7?page=2&sort=a%2Fb")
    await expect(visitor.tab.get_by_role("heading")).to_have_text("Orders of returning@example.com")
    await visitor.remember()
    assert visitor.complaints == []


async def test_going_back_after_signing_in_sends_nothing_a_second_time(visit: Visit) -> None:
    visitor = await visit()
    await visitor.open("/orders/8")
    await visitor.tab.go_back()
    assert "/orders/8" not in visitor.tab.url
    await visitor.tab.go_forward()
    await expect(visitor.tab.get_by_role("heading")).to_have_text(f"Orders of {visitor.email}")


async def test_a_wrong_password_is_said_beside_the_form_and_the_address_is_kept(enter: Visit, shop: Shop) -> None:
    shop.register("forgetful@example.com")
    visitor = await enter()
    await visitor.open("/orders/9")
    await visitor.fill_in("forgetful@example.com", "not the right one")
    tab = visitor.tab
    await is_said(tab, "The address and the password do not belong together.")
    await expect(tab.get_by_label("E-mail address")).to_have_value("forgetful@example.com")
    await expect(tab.get_by_label("Password", exact=True)).to_be_focused()
    await expect(tab.get_by_label("Password", exact=True)).to_have_value("")
    assert await visitor.cookies() == {}
    await visitor.fill_in("forgetful@example.com")
    await tab.wait_for_url("**/orders/9")
    await visitor.remember()


async def test_an_unknown_address_is_told_the_same_as_a_wrong_password(enter: Visit, shop: Shop) -> None:
    shop.register("somebody@example.com")
    visitor = await enter()
    said = []
    for email in ("somebody@example.com", "nobody-at-all@example.com"):
        await visitor.open("/auth/login")
        await visitor.fill_in(email, "not the right one")
        said.append((await visitor.tab.get_by_role("alert").inner_text(), await visitor.tab.title()))
    assert said[0] == said[1]


async def test_registering_leads_to_the_login_and_then_to_where_a_person_wanted_to_go(enter: Visit) -> None:
    visitor = await enter()
    await visitor.open("/orders/10?page=3")
    await visitor.tab.get_by_role("link", name="Create an account").click()
    await visitor.fill_in("newcomer@example.com")
    await is_said(visitor.tab, "Your account is ready. Sign in to use it.")
    assert await visitor.cookies() == {}, "registering does not sign in"
    await visitor.fill_in("newcomer@example.com")
    await visitor.tab.wait_for_url("**/orders/10?page=3")
    await visitor.remember()


@pytest.mark.parametrize(
    ("email", "password", "said"),
    [
        ("taken@example.com", "a fine long phrase", "There is an account with this address already."),
        ("fresh@example.com", "password1", "This password is among the first that are tried"),
        ("fresh@example.com", "fresh@example.com", "The password is too close to your e-mail address."),
    ],
)
async def test_what_cannot_be_registered_is_said(enter: Visit, shop: Shop, email: str, password: str, said: str) -> None:
    if email.startswith("taken"):
        shop.register(email)
    visitor = await enter()
    await visitor.open("/auth/register")
    await visitor.fill_in(email, password)
    await is_said(visitor.tab, said)
    await expect(visitor.tab.get_by_label("E-mail address")).to_have_value(email)


async def test_many_wrong_passwords_are_asked_to_wait(enter: Visit, shop: Shop) -> None:
    shop.register("impatient@example.com")
    visitor = await enter(address="203.0.113.77")
    await visitor.open("/auth/login")
    for _ in range(12):
        async with visitor.tab.expect_navigation():
            await visitor.fill_in("impatient@example.com", "not the right one")
    await is_said(visitor.tab, "Too many attempts. Please wait a minute, then try again.")


@pytest.mark.parametrize("target", ["//evil.example", "https://evil.example/", "javascript:alert(1)", "/\\evil.example"])
async def test_a_login_leads_nowhere_else(enter: Visit, shop: Shop, target: str) -> None:
    email = f"lured-{abs(hash(target))}@example.com"
    shop.register(email)
    visitor = await enter()
    await visitor.open(f"/auth/login?return_to={target}")
    await visitor.fill_in(email)
    await visitor.tab.wait_for_url(lambda url: "/auth/" not in url)
    assert visitor.tab.url.startswith(f"{shop.url}/")
    await expect(visitor.tab.get_by_role("heading")).to_have_text(f"Orders of {email}")
    await visitor.remember()


# In other words, and by other means.


async def test_the_pages_speak_french(enter: Visit, shop: Shop) -> None:
    shop.register("francoise@example.com")
    visitor = await enter(locale="fr-CA")
    tab = visitor.tab
    await visitor.open("/auth/login?return_to=/auth/devices")
    assert await tab.locator("html").get_attribute("lang") == "fr"
    await tab.get_by_label("Adresse e-mail").fill("francoise@example.com")
    await tab.get_by_label("Mot de passe", exact=True).fill("faux faux faux")
    await button(tab, "Se connecter").click()
    await is_said(tab, "L’adresse et le mot de passe ne correspondent pas.")
    await tab.get_by_label("Mot de passe", exact=True).fill(PASSWORD)
    await button(tab, "Se connecter").click()
    await expect(tab.get_by_role("heading", name="Vos appareils")).to_be_visible()
    await expect(tab.get_by_text("Chrome sur Linux")).to_be_visible()
    await visitor.remember()
    assert await visitor.told("/staff/") == "403 forbidden"
    await expect(tab.get_by_role("heading")).to_have_text("Vous n’y avez pas accès")


@pytest.mark.parametrize(("scheme", "is_dark"), [("light", False), ("dark", True)])
async def test_the_pages_are_dark_where_a_person_wants_them_dark(visit: Visit, scheme: str, is_dark: bool) -> None:
    visitor = await visit(color_scheme=scheme)
    for path in ("/auth/devices", "/auth/login", "/staff/"):
        await visitor.open(path)
        ground = await visitor.tab.evaluate("getComputedStyle(document.documentElement).backgroundColor")
        red, green, blue = map(int, ground.removeprefix("rgb(").rstrip(")").split(","))
        assert (red + green + blue < 3 * 64) is is_dark, (path, ground)


async def test_everything_can_be_done_with_the_keyboard(visit: Visit, shop: Shop) -> None:
    visitor = await visit()
    phone = shop.login(visitor.email)
    tab = visitor.tab
    await visitor.open("/auth/devices")

    async def tab_to(name: str) -> None:
        for _ in range(20):
            await tab.keyboard.press("Tab")
            focused = await tab.evaluate("document.activeElement.innerText || document.activeElement.id")
            outline = await tab.evaluate("getComputedStyle(document.activeElement).outlineStyle")
            if focused.strip() == name:
                assert outline != "none", f"{name}: where the keyboard is cannot be seen"
                return
        raise AssertionError(f"{name} is not reached")

    await tab_to("Sign out")
    await tab_to("Sign out")  # of the other device
    await tab.keyboard.press("Enter")
    await is_said(tab, "The device is signed out.")
    assert everywhere(shop, "/who", {"Cookie": f"access={phone['cookies']['access']}"}) == {"401 revoked-session"}
    await tab_to("Change the password")
    await tab.keyboard.press("Enter")
    await tab_to("current")
    await tab.keyboard.type(PASSWORD)
    await tab_to("new")
    await tab.keyboard.type("another fine phrase")
    await tab.keyboard.press("Enter")
    await expect(tab.get_by_text("Your password is changed, and every other device is signed out.")).to_be_visible()
    await visitor.remember()
    await tab_to("Sign out")
    await tab.keyboard.press("Space")
    await is_said(tab, "You are signed out.")
    await tab_to_login(tab, visitor.email, "another fine phrase")
    await tab.wait_for_url(f"{shop.url}/")
    await visitor.remember()


async def tab_to_login(tab: Page, email: str, password: str) -> None:
    """The form has the focus already."""
    await tab.keyboard.type(email)
    await tab.keyboard.press("Tab")
    await tab.keyboard.type(password)
    await tab.keyboard.press("Enter")


async def test_everything_can_be_done_without_javascript(enter: Visit, shop: Shop) -> None:
    visitor = await enter(java_script_enabled=False)
    tab = visitor.tab
    await visitor.open("/auth/register?return_to=/auth/devices")
    await visitor.fill_in("plain@example.com", "wrong")  # the browser itself refuses less than 8 characters
    await visitor.fill_in("plain@example.com")
    await is_said(tab, "Your account is ready. Sign in to use it.")
    phone = shop.login("plain@example.com")
    await visitor.fill_in("plain@example.com")
    await expect(tab.get_by_role("heading", name="Your devices")).to_be_visible()
    await visitor.remember()
    await tab.get_by_role("listitem").get_by_role("button", name="Sign out").click()
    await is_said(tab, "The device is signed out.")
    assert everywhere(shop, "/who", {"Cookie": f"access={phone['cookies']['access']}"}) == {"401 revoked-session"}
    await tab.get_by_text("Change the password").first.click()
    await tab.get_by_label("Current password").fill("not the right one")
    await tab.get_by_label("New password").fill("another fine phrase")
    await button(tab, "Change the password").click()
    await is_said(tab, "The current password is not right.")
    await tab.get_by_label("Current password").fill(PASSWORD)
    await tab.get_by_label("New password").fill("another fine phrase")
    await button(tab, "Change the password").click()
    await expect(tab.get_by_text("Your password is changed, and every other device is signed out.")).to_be_visible()
    await visitor.remember()
    await button(tab, "Sign out everywhere").click()
    await is_said(tab, "You are signed out on all devices.")
    assert await visitor.cookies() == {}


# Devices, and leaving.


async def test_the_devices_of_a_person_are_listed_and_one_is_signed_out(visit: Visit, shop: Shop) -> None:
    laptop = await visit(address="203.0.113.7")
    phone = await laptop_and(laptop, PHONE, "198.51.100.9")
    assert await phone.told("/orders") == "200"
    await laptop.open("/auth/devices")
    rows = laptop.tab.get_by_role("listitem")
    await expect(rows).to_have_count(2)
    await expect(rows.first).to_contain_text("Chrome on Linux")
    await expect(rows.first).to_contain_text("This device")
    await expect(rows.first).to_contain_text("203.0.113.0/24")
    await expect(rows.last).to_contain_text("Chrome on Android")
    await expect(rows.last).to_contain_text("198.51.100.0/24")
    await rows.last.get_by_role("button", name="Sign out").click()
    await expect(rows).to_have_count(1)
    assert await phone.everywhere() == {"401 revoked-session"}
    assert await phone.told("/orders") == "401 revoked-session"
    await expect(phone.tab.get_by_role("heading")).to_have_text("This device was signed out")
    assert await laptop.told("/orders") == "200"
    assert laptop.complaints == []


async def laptop_and(laptop: Visitor, agent: str, address: str) -> Visitor:
    """Another device of the same person, signed in."""
    other = await Visitor.enter(laptop.browser, laptop.gateway, agent, address=address)
    await other.sign_in(laptop.email)
    return other


async def test_signing_out_leaves_nothing_for_whoever_sits_there_next(visit: Visit, shop: Shop) -> None:
    """Not a cookie, and no page in the browser's memory that Back would show."""
    visitor = await visit()
    copy = await visitor.robbed()
    await visitor.open("/orders/private")
    await visitor.open("/auth/devices")
    await button(visitor.tab, "Sign out").first.click()
    await is_said(visitor.tab, "You are signed out.")
    assert await visitor.cookies() == {}
    for _ in range(3):
        await visitor.tab.go_back()
        assert "/auth/login" in visitor.tab.url or visitor.tab.url == "about:blank"
        await expect(visitor.tab.get_by_text("Orders of")).to_have_count(0)
    assert await copy.everywhere() == {"401 revoked-session"}


async def test_signing_out_by_a_script_of_the_application_leaves_nothing_either(visit: Visit) -> None:
    visitor = await visit()
    await visitor.open("/orders/private-too")
    await visitor.open("/")
    assert (await visitor.fetch("/auth/logout", "POST")).told == "204"
    assert await visitor.cookies() == {}
    await visitor.tab.go_back()
    assert "/auth/login" in visitor.tab.url


async def test_signing_out_everywhere_ends_the_other_device_while_it_is_looked_at(visit: Visit) -> None:
    laptop = await visit()
    phone = await laptop_and(laptop, PHONE, "198.51.100.9")
    await laptop.open("/auth/devices")
    await button(laptop.tab, "Sign out everywhere").click()
    await is_said(laptop.tab, "You are signed out on all devices.")
    assert (await phone.fetch("/who")).told == "401 revoked-session"
    assert await phone.everywhere() == {"401 revoked-session"}


async def test_a_second_tab_goes_on_with_the_session_and_learns_of_its_end(visit: Visit) -> None:
    visitor = await visit()
    other = await visitor.context.new_page()
    await other.goto("/orders/in-the-other-tab")
    await visitor.open("/auth/devices")
    await visitor.tab.get_by_text("Change the password").first.click()
    await visitor.tab.get_by_label("Current password").fill(PASSWORD)
    await visitor.tab.get_by_label("New password").fill("another fine phrase")
    await button(visitor.tab, "Change the password").click()
    await expect(visitor.tab.get_by_text("Your password is changed")).to_be_visible()
    await visitor.remember()
    answer = await other.reload()
    assert answer is not None and answer.status == 200, "the jar is shared: the new cookies are this tab's too"
    await button(visitor.tab, "Sign out").first.click()
    await is_said(visitor.tab, "You are signed out.")
    await other.reload()
    assert "/auth/login" in other.url


async def test_two_tabs_that_both_sign_in_end_with_one_session(enter: Visit, shop: Shop) -> None:
    shop.register("twice@example.com")
    visitor = await enter()
    other = await visitor.context.new_page()
    await other.goto("/auth/login?return_to=/orders/other")
    await visitor.sign_in("twice@example.com")
    first = await visitor.robbed()
    await other.get_by_label("E-mail address").fill("twice@example.com")
    await other.get_by_label("Password", exact=True).fill(PASSWORD)
    await button(other, "Sign in").click()
    await other.wait_for_url("**/orders/other")
    await visitor.remember()
    assert (await visitor.fetch("/who")).told == "200"
    assert await first.everywhere() == {"401 revoked-session"}
    assert len(shop.call("GET", "/v1/users/twice@example.com/sessions").json()["sessions"]) == 1


async def test_somebody_else_who_signs_in_here_gets_nothing_of_the_one_before(enter: Visit, shop: Shop) -> None:
    for email in ("before@example.com", "after@example.com"):
        shop.register(email)
    visitor = await enter()
    await visitor.sign_in("before@example.com")
    before = await visitor.robbed()
    await visitor.sign_in("after@example.com")
    assert (await visitor.fetch("/who")).json()["user"] == "after@example.com"
    assert await before.everywhere() == {"401 revoked-session"}


async def test_a_device_page_that_stood_open_says_so_when_its_session_has_ended(visit: Visit, shop: Shop) -> None:
    visitor = await visit()
    shop.login(visitor.email)
    await visitor.open("/auth/devices")
    assert shop.call("DELETE", f"/v1/users/{visitor.email}/sessions").status_code == 200
    await visitor.tab.get_by_role("listitem").get_by_role("button", name="Sign out").click()
    await expect(visitor.tab.get_by_role("heading", name="This device was signed out")).to_be_visible()


async def test_a_wrong_new_password_changes_nothing(visit: Visit) -> None:
    visitor = await visit()
    await visitor.open("/auth/devices")
    await visitor.tab.get_by_text("Change the password").first.click()
    await visitor.tab.get_by_label("Current password").fill(PASSWORD)
    await visitor.tab.get_by_label("New password").fill("password1")
    await button(visitor.tab, "Change the password").click()
    await is_said(visitor.tab, "This password is among the first that are tried")
    await expect(visitor.tab.get_by_label("New password")).to_be_focused()
    assert (await visitor.claims())["ver"] == 1


# Refusals.


async def test_the_page_of_a_refusal_says_why_and_leads_back(visit: Visit, shop: Shop) -> None:
    visitor = await visit()
    shop.revoke(session=(await visitor.claims())["sid"])
    assert await visitor.told("/orders/11?page=2") == "401 revoked-session"
    await expect(visitor.tab.get_by_role("heading")).to_have_text("This device was signed out")
    assert await visitor.cookies() == {}, "they are of no use to anybody"
    await visitor.tab.get_by_role("link", name="Sign in").click()
    await visitor.fill_in(visitor.email)
    await visitor.tab.wait_for_url("**/orders/11?page=2")
    await visitor.remember()
    assert all("Failed to load resource" in complaint for complaint in visitor.complaints), "and nothing is against its policy"


async def test_nothing_is_here_is_a_page_too(visit: Visit) -> None:
    visitor = await visit()
    assert await visitor.told("/auth/nothing") == "404 no-route"
    await expect(visitor.tab.get_by_role("heading")).to_have_text("There is nothing at this address")


async def test_a_script_gets_a_problem_and_its_cookies_stay(visit: Visit) -> None:
    visitor = await visit()
    refused = await visitor.fetch("/staff/x")
    problem = refused.json()
    assert (refused.told, refused.headers["content-type"]) == ("403 forbidden", "application/problem+json")
    assert (problem["status"], problem["reason"]) == (403, "forbidden") and problem["request_id"]
    assert set(await visitor.cookies()) == {"access", "refresh", "csrf"}


# Refreshing, and other networks.


async def test_fifty_tabs_that_refresh_at_once_are_one_rotation(visit: Visit, shop: Shop) -> None:
    visitor = await visit()
    await visitor.forget("access")
    before = shop.metrics()
    script = """() => Promise.all([...Array(50)].map((_, n) => fetch("/who?tab=" + n).then((answer) => answer.status)))"""
    assert await visitor.tab.evaluate(script) == [200] * 50
    assert (await visitor.claims())["gen"] == 2
    await visitor.remember()
    assert (await visitor.fetch("/who")).told == "200"

    def counted() -> bool:
        now = shop.metrics()
        grown = {name: now[name] - before[name] for name in now if name.startswith("gateway_refreshes_total")}
        return grown['gateway_refreshes_total{outcome="rotated"}'] == 1 and not any(
            grown[f'gateway_refreshes_total{{outcome="{bad}"}}'] for bad in ("reused", "refused", "expired", "unavailable")
        )

    eventually(counted)


async def test_real_tabs_that_reload_at_once_all_stay_signed_in(visit: Visit) -> None:
    visitor = await visit()
    tabs = [visitor.tab, *[await visitor.context.new_page() for _ in range(5)]]
    for tab in tabs:
        await tab.goto("/orders/tabs")
    await visitor.forget("access")
    answers = await asyncio.gather(*(tab.reload() for tab in tabs))
    assert [answer.status for answer in answers if answer] == [200] * 6
    await visitor.remember()
    assert (await visitor.claims())["gen"] == 2
    assert await visitor.everywhere() == {"200"}


async def test_a_session_seen_from_another_network_goes_on_and_the_device_list_tells_where(visit: Visit, shop: Shop) -> None:
    visitor = await visit(address="203.0.113.7")
    signal = 'gateway_fingerprint_mismatches_total{action="alert",signal="network"}'
    before = shop.metrics()[signal]
    await visitor.move_to("198.51.100.200")
    assert await visitor.told("/orders") == "200"
    eventually(lambda: shop.metrics()[signal] > before)

    def networks() -> set[str]:
        sessions = shop.call("GET", f"/v1/users/{visitor.email}/sessions").json()["sessions"]
        return {session["network"] for session in sessions}

    eventually(lambda: networks() == {"198.51.100.0/24"})  # uses are written every few seconds
    await visitor.open("/auth/devices")
    await expect(visitor.tab.get_by_role("listitem")).to_contain_text("198.51.100.0/24")


async def test_a_websocket_ends_with_the_session_and_says_why(visit: Visit, shop: Shop) -> None:
    visitor = await visit()
    script = """() => new Promise((resolve) => {
      const socket = new WebSocket(location.origin.replace("http", "ws") + "/live/socket");
      window.heard = [];
      socket.onmessage = (event) => { window.heard.push(event.data); resolve(); };
      window.ended = new Promise((done) => socket.onclose = (event) => done([event.code, event.reason]));
      window.socket = socket;
    })"""
    await visitor.tab.evaluate(script)
    assert await visitor.tab.evaluate("window.heard") == [f"user {visitor.email}"]
    shop.revoke(session=(await visitor.claims())["sid"])
    assert await visitor.outcome("ended") == [1008, "session ended"]


async def test_an_event_stream_ends_with_the_session(visit: Visit, shop: Shop) -> None:
    visitor = await visit()
    script = """() => new Promise((resolve) => {
      const stream = new EventSource("/live/ticks");
      stream.onmessage = () => resolve();
      window.ended = new Promise((done) => stream.onerror = () => done(stream.readyState));
    })"""
    await visitor.tab.evaluate(script)
    shop.revoke(session=(await visitor.claims())["sid"])
    assert await visitor.outcome("ended") in (0, 2)
    assert await visitor.tab.evaluate('fetch("/live/ticks").then((answer) => answer.status)') == 401


async def test_a_phone_of_320_pixels_shows_all_of_the_device_page(visit: Visit) -> None:
    visitor = await visit(PHONE, viewport={"width": 320, "height": 640}, is_mobile=True, has_touch=True)
    for path in ("/auth/devices", "/auth/login", "/staff/", "/auth/nothing"):
        await visitor.open(path)
        assert await visitor.tab.evaluate("document.documentElement.scrollWidth") <= 320, path
