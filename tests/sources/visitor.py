"""A person with a real browser: Chromium, a cookie jar of their own, and the User-Agent of what they hold in their hands.

    laptop = await visit("alice@example.com")           a new account, signed in through the page
    thief = await laptop.robbed(PHONE)                  another browser, with a copy of the cookies
    await thief.fetch("/who")                           what a script of a page gets

`everywhere` asks beside the browser, with its cookies and its User-Agent, on so many connections that both workers answer.
"""

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from live.running_gateway import CONNECTIONS, RunningGateway
from patience import PATIENCE_S
from playwright.async_api import Browser, BrowserContext, Page, Response, expect

PASSWORD = "correct horse battery"
LAPTOP = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Safari/537.36"
WINDOWS = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Safari/537.36"
PHONE = "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Mobile Safari/537.36"
NAMES = {"access", "refresh", "csrf"}

FETCH = """async ([path, options]) => {
  const answer = await fetch(path, options);
  return { status: answer.status, reason: answer.headers.get("X-Gateway-Reason") || "", text: await answer.text(),
           headers: Object.fromEntries(answer.headers) };
}"""


@dataclass(frozen=True)
class Fetched:
    """What a script got."""

    status: int
    reason: str
    text: str
    headers: dict[str, str]

    @property
    def told(self) -> str:
        return f"{self.status} {self.reason}".strip()

    def json(self) -> Any:
        return json.loads(self.text)


@dataclass
class Visitor:
    """One browser context with one tab."""

    browser: Browser
    gateway: RunningGateway
    context: BrowserContext
    tab: Page
    agent: str
    email: str = ""
    complaints: list[str] = field(default_factory=list)

    @classmethod
    async def enter(cls, browser: Browser, gateway: RunningGateway, agent: str = LAPTOP, **settings: Any) -> "Visitor":
        """A fresh browser."""
        address = settings.pop("address", "")
        defaults = {"locale": "en-GB", "base_url": gateway.url, "user_agent": agent, "ignore_https_errors": True}
        context = await browser.new_context(**(defaults | settings))
        context.set_default_timeout(PATIENCE_S * 1000)
        visitor = cls(browser, gateway, context, await context.new_page(), agent)
        if address:
            await visitor.move_to(address)
        context.on("console", lambda message: visitor.complaints.append(message.text) if message.type == "error" else None)
        context.on("weberror", lambda error: visitor.complaints.append(str(error.error)))
        return visitor

    async def move_to(self, address: str) -> None:
        """Come from another network: what a proxy that is trusted says of this browser."""
        await self.context.set_extra_http_headers({"X-Forwarded-For": address})

    async def open(self, path: str) -> Response:
        """Navigate there; the last answer, redirects followed."""
        answer = await self.tab.goto(path)
        assert answer is not None
        return answer

    async def told(self, path: str) -> str:
        """Navigate there; status and reason."""
        answer = await self.open(path)
        return f"{answer.status} {answer.headers.get('x-gateway-reason', '')}".strip()

    async def fill_in(self, email: str, password: str = PASSWORD) -> None:
        """Fill in the form that is shown, and send it."""
        await self.tab.get_by_label("E-mail address").fill(email)
        await self.tab.get_by_label("Password", exact=True).fill(password)
        await self.tab.locator("main form button:not([type])").click()

    async def sign_in(self, email: str = "", password: str = PASSWORD, *, then: str = "/") -> None:
        """Through the page, and on to where they wanted to go."""
        self.email = email or self.email
        await self.open(f"/auth/login?return_to={then}")
        await self.fill_in(self.email, password)
        await self.tab.wait_for_url(f"**{then}")
        await self.remember()

    async def remember(self) -> None:
        """What is in the jar must never be in an output of the gateway."""
        self.gateway.shown += [value for name, value in (await self.cookies()).items() if name != "csrf"]

    async def fetch(self, path: str, method: str = "GET", **options: Any) -> Fetched:
        """What a script in this page gets. `document`: sent as JSON."""
        if "document" in options:
            options["body"] = json.dumps(options.pop("document"))
            options["headers"] = {"Content-Type": "application/json", **options.get("headers", {})}
        return Fetched(**await self.tab.evaluate(FETCH, [path, {"method": method, **options}]))

    async def outcome(self, name: str) -> Any:
        """What the promise of this name in the page came to; `pending` when nothing came of it in time."""
        late = f'new Promise((done) => setTimeout(() => done("pending"), {PATIENCE_S * 1000}))'
        return await self.tab.evaluate(f"Promise.race([window.{name}, {late}])")

    async def jar(self) -> dict[str, Mapping[str, Any]]:
        """The gateway's cookies, with their attributes, by their short names."""
        cookies = await self.context.cookies(self.gateway.url)
        named = {str(cookie["name"]).removeprefix("__Host-"): cookie for cookie in cookies}
        return {name: cookie for name, cookie in named.items() if name in NAMES}  # type: ignore[misc]

    async def cookies(self) -> dict[str, str]:
        """Their values."""
        return {name: str(cookie["value"]) for name, cookie in (await self.jar()).items()}

    async def forget(self, *names: str) -> None:
        """Take cookies out of the jar, by their short names; nothing named: all of ours."""
        for name in names or NAMES:
            for spelled in (name, f"__Host-{name}"):
                await self.context.clear_cookies(name=spelled)

    async def claims(self, name: str = "access") -> dict[str, Any]:
        """What the token in a cookie says."""
        return claims_of((await self.cookies())[name])

    async def robbed(self, agent: str = "", **settings: Any) -> "Visitor":
        """Another browser with a copy of these cookies."""
        thief = await Visitor.enter(self.browser, self.gateway, agent or self.agent, **settings)
        thief.email = self.email
        await thief.context.add_cookies(await self.context.cookies(self.gateway.url))  # type: ignore[arg-type]
        return thief

    async def everywhere(self, path: str = "/who", without: tuple[str, ...] = ()) -> set[str]:
        """What every worker says to these cookies from this device. What they set is not kept."""
        jar = [cookie for name, cookie in (await self.jar()).items() if name not in without]
        cookies = "; ".join(f"{cookie['name']}={cookie['value']}" for cookie in jar)
        return everywhere(self.gateway, path, {"Cookie": cookies, "User-Agent": self.agent})


async def is_said(tab: Page, text: str) -> None:
    """The page says this, now or in a moment: one that is about to leave may still be there."""
    await expect(tab.locator("[role=status], [role=alert]").filter(has_text=text)).to_be_visible()


def everywhere(gateway: RunningGateway, path: str, headers: Mapping[str, str]) -> set[str]:
    """What every worker says: one connection per request, because the kernel spreads connections."""
    told = set()
    for _ in range(CONNECTIONS):
        answer = gateway.ask(path, headers=headers)
        told.add(f"{answer.status_code} {answer.headers.get('X-Gateway-Reason', '')}".strip())
    return told


def claims_of(token: str) -> dict[str, Any]:
    """A token's payload, unverified."""
    part = token.split(".")[1]
    claims: dict[str, Any] = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    return claims
