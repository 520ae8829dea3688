"""The pages in a real browser: what they look like where it can be measured, and what their scripts send.

A small server stands where the gateway will: it serves the pages and writes down what the browser sends.
"""

import re
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import web
from browsing import in_chromium
from every_page import DEVICES, EMAIL, NOW, REQUEST_ID, Reader, every_page, forms, pages
from playwright.async_api import Browser, BrowserContext, expect

from gateway.portal.language import Language
from gateway.portal.pages import Page
from gateway.reasons import Reason

pytestmark = in_chromium
PAGES = pages()
EN, FR = Language.EN, Language.FR


@dataclass
class Site:
    """`pages` by path; everything else that is asked for goes through `answer`."""

    pages: dict[str, Page] = field(default_factory=dict)
    answer: Callable[[web.Request], web.Response] = lambda request: web.Response(status=204)
    asked: list[tuple[str, str, dict[str, str], str]] = field(default_factory=list)  # method, path, fields, body
    port: int = 0

    async def serve(self, request: web.Request) -> web.Response:
        if request.method == "GET" and (page := self.pages.get(request.path)) is not None:
            return web.Response(body=page.body, headers=page.headers)
        self.asked.append((request.method, request.path_qs, dict(request.headers), await request.text()))
        return self.answer(request)

    @property
    def paths(self) -> list[str]:
        """What was asked for, but for the icon that a browser wants for an answer that is not ours."""
        return [path for _, path, _, _ in self.asked if path != "/favicon.ico"]

    def at(self, path: str, host: str = "localhost") -> str:
        return f"http://{host}:{self.port}{path}"


def redirect(status: int, to: str) -> web.Response:
    return web.Response(status=status, headers={"Location": to})


@pytest_asyncio.fixture(loop_scope="session")
async def site() -> AsyncIterator[Site]:
    site = Site()
    runner = web.ServerRunner(web.Server(site.serve))
    await runner.setup()
    listener = web.TCPSite(runner, "127.0.0.1", 0)
    await listener.start()
    site.port = runner.addresses[0][1]
    yield site
    await runner.cleanup()


async def opened(context: BrowserContext, site: Site, path: str) -> Any:
    tab = await context.new_page()
    await tab.goto(site.at(path))
    return tab


async def reader_of(browser: Browser, **settings: Any) -> tuple[BrowserContext, list[str]]:
    """A person with a fresh browser, and what it complains about: a policy, a script."""
    context = await browser.new_context(**settings)
    complaints: list[str] = []
    context.on("console", lambda message: complaints.append(message.text))
    context.on("weberror", lambda error: complaints.append(str(error.error)))
    return context, complaints


# The colours of a text and of what lies behind it, of everything that can be seen.
MEASURE = """() => {
  const numbers = (colour) => colour.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => {
    const [x, y, z] = [r, g, b].map((c) => ((c /= 255) <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));
    return 0.2126 * x + 0.7152 * y + 0.0722 * z;
  };
  const behind = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const ground = numbers(getComputedStyle(at).backgroundColor);
      if (ground.length === 3) return ground;
      if (ground[3] !== 0) throw new Error("half transparent: " + at.outerHTML);
    }
    throw new Error("nothing behind");
  };
  const poor = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  let count = 0;
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || !element.checkVisibility()) continue;
    const [a, b] = [light(numbers(getComputedStyle(element).color)), light(behind(element))];
    const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    count += 1;
    if (contrast < 4.5) poor.push([contrast, walker.currentNode.data.trim()]);
  }
  return { poor, count };
}"""


BUTTONS = """() => [...document.querySelectorAll("button, .button")].filter((button) => button.checkVisibility())
  .map((button) => button.getBoundingClientRect()).map((box) => [box.height, box.right])"""
STILL = [page for name, page in every_page(PAGES, EN) if name != "onward"]  # that one leaves by itself


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_every_text_can_be_read_and_nothing_is_refused_by_the_policy(browser: Browser, site: Site, scheme: str) -> None:
    context, complaints = await reader_of(browser, color_scheme=scheme)
    tab = await context.new_page()
    shapes = {str(Reader(page).skeleton) + str(re.findall('class="[^"]*"', page.body.decode())): page for page in STILL}
    for page in shapes.values():
        site.pages = {"/": page}
        await tab.goto(site.at("/"))
        measured = await tab.evaluate(MEASURE)
        assert measured["count"] >= 3 and measured["poor"] == [], page.body.decode()
    assert complaints == []
    assert site.asked == []  # not even an icon


@pytest.mark.parametrize("language", list(Language))
async def test_every_page_fits_a_small_phone(browser: Browser, site: Site, language: Language) -> None:
    context, _ = await reader_of(browser, viewport={"width": 320, "height": 640})
    tab = await context.new_page()
    for name, page in (*forms(PAGES, language), ("refusal", PAGES.refusal(language, Reason.REFRESH_REUSED, "x" * 64))):
        if name == "onward":
            continue
        site.pages = {"/": page}
        await tab.goto(site.at("/"))
        assert await tab.evaluate("document.documentElement.scrollWidth") <= 320, name
        for height, right in await tab.evaluate(BUTTONS):
            assert height >= 24 and right <= 320, name  # WCAG 2.2: 2.5.8


async def test_a_device_is_signed_out_without_leaving_the_page(browser: Browser, site: Site) -> None:
    context, complaints = await reader_of(browser)
    site.pages = {"/auth/devices": pages(csrf_cookie="csrf").devices(EN, user=EMAIL, devices=DEVICES, now=NOW)}
    await context.add_cookies([{"name": "csrf", "value": "a-b=c", "url": site.at("/")}])
    tab = await opened(context, site, "/auth/devices")
    row = tab.get_by_role("listitem").filter(has_text="Safari on iPhone")
    await row.get_by_role("button", name="Sign out").click()
    await expect(row).to_have_count(0)
    await expect(tab.get_by_role("status").filter(has_text="The device is signed out.")).to_be_visible()
    await expect(tab.get_by_role("heading", name="Your devices")).to_be_focused()
    ((method, path, fields, _),) = site.asked
    assert (method, path) == ("DELETE", "/auth/sessions/AAAAAAAAAAAAAAAA.C")
    assert (fields["X-CSRF-Token"], fields["Sec-Fetch-Site"], fields["Origin"]) == (
        "a-b=c",
        "same-origin",
        f"http://localhost:{site.port}",
    )
    await expect(tab.get_by_text("No other device is signed in.")).to_be_hidden()
    for left in (2, 1):
        await tab.get_by_role("listitem").get_by_role("button", name="Sign out").first.click()
        await expect(tab.get_by_role("listitem")).to_have_count(left)
    await expect(tab.get_by_text("No other device is signed in.")).to_be_visible()
    assert complaints == []


async def test_a_device_that_could_not_be_signed_out_stays_and_says_so(browser: Browser, site: Site) -> None:
    context, _ = await reader_of(browser)
    site.pages = {"/auth/devices": PAGES.devices(FR, user=EMAIL, devices=DEVICES, now=NOW)}
    site.answer = lambda request: web.Response(status=503)
    tab = await opened(context, site, "/auth/devices")
    await tab.get_by_role("button", name="Déconnecter", exact=True).first.click()
    await expect(tab.get_by_text("Cela n’a pas fonctionné.")).to_be_visible()
    await expect(tab.get_by_role("listitem")).to_have_count(4)
    site.answer = lambda request: web.Response(status=404)  # ended meanwhile, which is what was wanted
    await tab.get_by_role("button", name="Déconnecter", exact=True).first.click()
    await expect(tab.get_by_role("listitem")).to_have_count(3)
    await expect(tab.get_by_text("Cela n’a pas fonctionné.")).to_have_count(0)


async def test_who_is_signed_out_meanwhile_is_led_to_the_login_page(browser: Browser, site: Site) -> None:
    context, _ = await reader_of(browser)
    site.pages = {"/auth/devices": PAGES.devices(EN, user=EMAIL, devices=DEVICES, now=NOW)}

    def answer(request: web.Request) -> web.Response:
        site.pages = {"/auth/login": PAGES.login(EN)}
        return web.Response(status=401) if request.method == "DELETE" else redirect(303, "/auth/login")

    site.answer = answer
    tab = await opened(context, site, "/auth/devices")
    await tab.get_by_role("listitem").get_by_role("button").first.click()
    await tab.wait_for_url(site.at("/auth/login"))


async def test_a_device_is_signed_out_by_a_plain_form_without_scripts(browser: Browser, site: Site) -> None:
    context, _ = await reader_of(browser, java_script_enabled=False)
    site.pages = {"/auth/devices": PAGES.devices(EN, user=EMAIL, devices=DEVICES, now=NOW)}
    site.answer = lambda request: redirect(303, "/auth/devices?said=session-ended")
    tab = await opened(context, site, "/auth/devices")
    await tab.get_by_role("listitem").get_by_role("button").first.click()
    await tab.wait_for_url("**/auth/devices?said=session-ended")
    ((method, path, fields, _),) = site.asked
    assert (method, path) == ("POST", "/auth/sessions/AAAAAAAAAAAAAAAA.D/end")
    assert (fields["Origin"], fields["Sec-Fetch-Site"]) == (f"http://localhost:{site.port}", "same-origin")
    await expect(tab.get_by_role("button", name="Show")).to_have_count(0)  # it would do nothing


async def test_times_and_countries_are_told_in_the_readers_own_terms(browser: Browser, site: Site) -> None:
    context, _ = await reader_of(browser, timezone_id="America/Montreal")
    site.pages = {"/": PAGES.devices(FR, user=EMAIL, devices=DEVICES, now=NOW)}
    tab = await opened(context, site, "/")
    await expect(tab.get_by_text("Allemagne")).to_be_visible()
    await expect(tab.locator("time").first).to_have_attribute("title", "22 novembre 2025 à 14:46")


async def test_a_form_is_sent_once_and_its_password_as_a_password(browser: Browser, site: Site) -> None:
    context, complaints = await reader_of(browser)
    site.pages = {"/auth/login": PAGES.login(EN, return_to="/cart?id=1")}
    tab = await opened(context, site, "/auth/login")
    password = tab.get_by_label("Password", exact=True)
    await tab.get_by_label("E-mail address").fill(EMAIL)
    await password.fill("a+b c&d")
    await tab.get_by_role("button", name="Show").click()
    await expect(password).to_have_attribute("type", "text")
    await tab.get_by_role("button", name="Hide").click()
    await expect(password).to_have_attribute("type", "password")
    await tab.get_by_role("button", name="Show").click()
    await tab.get_by_role("button", name="Sign in").dblclick()
    await expect(password).to_have_attribute("type", "password")
    ((method, path, fields, body),) = site.asked
    assert (method, path) == ("POST", "/auth/login")
    assert body == "return_to=%2Fcart%3Fid%3D1&email=alice%40example.org&password=a%2Bb+c%26d"
    assert fields["Origin"] == f"http://localhost:{site.port}"
    assert complaints == []


async def test_after_signing_in_a_person_comes_back_to_the_page_that_was_refused(browser: Browser, site: Site) -> None:
    context, complaints = await reader_of(browser)
    site.pages = {"/cart": PAGES.refusal(EN, Reason.REVOKED_SESSION, REQUEST_ID)}
    tab = await opened(context, site, "/cart?id=1&x=é")
    href = await tab.get_by_role("link", name="Sign in").get_attribute("href")
    assert href is not None and href.endswith("/auth/login?return_to=%2Fcart%3Fid%3D1%26x%3D%25C3%25A9")
    assert complaints == []


async def test_trying_again_asks_for_the_same_address(browser: Browser, site: Site) -> None:
    context, _ = await reader_of(browser)
    site.pages = {"/cart": PAGES.refusal(EN, Reason.STORE_UNAVAILABLE, REQUEST_ID)}
    tab = await opened(context, site, "/cart?id=1")
    site.pages = {}
    site.answer = lambda request: web.Response(text="back")
    await tab.get_by_role("link", name="Try again").click()
    await expect(tab.get_by_text("back")).to_be_visible()
    assert site.paths == ["/cart?id=1"]


@pytest.mark.parametrize("with_scripts", [True, False])
async def test_after_signing_in_an_application_may_lead_to_another_origin(
    browser: Browser, site: Site, with_scripts: bool
) -> None:
    """Chrome applies `form-action` to every redirect behind a form; a page in between ends the chain."""
    context, complaints = await reader_of(browser, java_script_enabled=with_scripts)

    def answer(request: web.Request) -> web.Response:
        if request.method == "POST":
            page = PAGES.onward(EN, "/app?a=1&b='2;3")
            return web.Response(body=page.body, headers=page.headers)
        if request.host.startswith("localhost"):
            return redirect(302, site.at("/elsewhere", host="127.0.0.1"))
        return web.Response(text="elsewhere")

    site.pages, site.answer = {"/auth/login": PAGES.login(EN)}, answer
    tab = await opened(context, site, "/auth/login")
    await tab.get_by_label("E-mail address").fill(EMAIL)
    await tab.get_by_label("Password", exact=True).fill("correct horse")
    await tab.get_by_role("button", name="Sign in").click()
    await expect(tab.get_by_text("elsewhere")).to_be_visible()
    assert site.paths == ["/auth/login", "/app?a=1&b=%272;3", "/elsewhere"]
    assert complaints == []
