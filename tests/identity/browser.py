"""A browser, as far as the gateway can see: a cookie jar, a User-Agent, fetch metadata; one connection per request.

    alice = Browser(wire)
    alice.register("alice@example.com")
    alice.sign_in("alice@example.com")
    alice.get("/who").status
    thief = alice.stolen(agent=ANDROID)          the same cookies in another browser

Written on sockets and not on an HTTP library, because a library would have opinions about cookies.
"""

import base64
import itertools
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

from attacks.wire_gateway import ROUTES, Answer, Wire
from live.running_gateway import CALM_STORE

ACCOUNTS: dict[str, Any] = {
    "public_url": "https://shop.example",
    "accounts": {"database": "sqlite+aiosqlite:///accounts.db", "registration": "open"},
    "trusted_proxies": ["127.0.0.0/8"],
    "routes": ROUTES,
}
"""A gateway with accounts, behind a proxy that tests may pretend to be."""
CALM = ACCOUNTS | {"store": CALM_STORE}
"""The same for tests that are not about outages."""

_numbers = itertools.count(1)

PASSWORD = "correct horse battery"
FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:132.0) Gecko/20100101 Firefox/132.0"
ANDROID = "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0.0.0 Mobile Safari/537.36"


@dataclass(frozen=True)
class Reply:
    """One answer, read."""

    answer: Answer

    @property
    def status(self) -> int:
        return self.answer.status

    @property
    def reason(self) -> str:
        return self.answer.reason

    @property
    def told(self) -> str:
        return self.answer.told

    @property
    def text(self) -> str:
        return self.answer.body.decode()

    def json(self) -> Any:
        return json.loads(self.answer.body)

    def fields(self, name: str) -> list[str]:
        """All values of a field."""
        lines = self.answer.head.decode("latin-1").split("\r\n")[1:]
        pairs = [line.partition(": ") for line in lines]
        return [value for key, _, value in pairs if key.lower() == name.lower()]

    @property
    def cookies(self) -> dict[str, str]:
        """What it sets, by name; empty: it clears it."""
        found = {}
        for line in self.fields("set-cookie"):
            name, _, value = line.partition(";")[0].partition("=")
            found[name.removeprefix("__Host-")] = value
        return found


@dataclass
class Browser:
    """`cookies` are the gateway's own by their short names, `address` what a trusted proxy says about the client."""

    wire: Wire
    agent: str | None = FIREFOX
    address: str = ""
    cookies: dict[str, str] = field(default_factory=dict)
    email: str = ""

    def ask(
        self,
        method: str,
        path: str,
        *lines: str,
        body: bytes | None = None,
        document: Any = None,
        form: Mapping[str, str] | None = None,
        is_kept: bool = True,
        without: tuple[str, ...] = (),
    ) -> Reply:
        """One request. `lines` are further header lines, `without` names cookies to leave out.

        `is_kept`: the jar takes what is set.
        """
        raw = self.raw(method, path, *lines, body=body, document=document, form=form, without=without)
        reply = Reply(self.wire.send(raw))
        if is_kept:
            self.keep(reply)
        return reply

    def raw(
        self,
        method: str,
        path: str,
        *lines: str,
        body: bytes | None = None,
        document: Any = None,
        form: Mapping[str, str] | None = None,
        without: tuple[str, ...] = (),
    ) -> bytes:
        """The request's bytes."""
        head = [f"{method} {path} HTTP/1.1", "Host: shop.example", "Connection: close"]
        if self.agent is not None:
            head.append(f"User-Agent: {self.agent}")
        if self.address:
            head.append(f"X-Forwarded-For: {self.address}")
        pairs = "; ".join(f"__Host-{name}={value}" for name, value in self.cookies.items() if name not in without)
        if pairs:
            head.append(f"Cookie: {pairs}")
        if document is not None:
            body = json.dumps(document).encode()
            head.append("Content-Type: application/json")
        if form is not None:
            body = urlencode(form).encode()
            head.append("Content-Type: application/x-www-form-urlencoded")
        if body is not None:
            head.append(f"Content-Length: {len(body)}")
        return "\r\n".join([*head, *lines, "", ""]).encode() + (body or b"")

    def keep(self, reply: Reply) -> None:
        """Put what an answer sets into the jar."""
        for name, value in reply.cookies.items():
            if value:
                self.cookies[name] = value
                self.wire.gateway.shown.append(value)
            else:
                self.cookies.pop(name, None)

    def get(self, path: str, *lines: str, **options: Any) -> Reply:
        return self.ask("GET", path, *lines, **options)

    def open(self, path: str, *lines: str, **options: Any) -> Reply:
        """Navigate there, as a person does."""
        return self.ask(
            "GET", path, "Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: document", "Accept: text/html", *lines, **options
        )

    def post(self, path: str, document: Any = None, *lines: str, **options: Any) -> Reply:
        """From a page of this site."""
        return self.ask("POST", path, "Sec-Fetch-Site: same-origin", *lines, document=document, **options)

    def delete(self, path: str) -> Reply:
        return self.ask("DELETE", path, "Sec-Fetch-Site: same-origin")

    def register(self, email: str, password: str = PASSWORD) -> Reply:
        """From a network of its own, unless the browser has one: they are limited by network, and one gateway serves many."""
        number = next(_numbers)
        elsewhere = () if self.address else (f"X-Forwarded-For: 10.{number >> 8 & 255}.{number & 255}.1",)
        return self.post("/auth/register", {"email": email, "password": password}, *elsewhere)

    def sign_in(self, email: str = "", password: str = PASSWORD, **more: str) -> Reply:
        """Log in; registers first when nobody did."""
        email = email or self.email
        if not self.email:
            assert self.register(email, password).status in (201, 409)
        reply = self.post("/auth/login", {"email": email, "password": password, **more})
        assert reply.status == 200, reply.text
        self.email = email
        return reply

    def stolen(self, **changes: Any) -> "Browser":
        """Another browser with a copy of these cookies."""
        return Browser(
            self.wire,
            **({"agent": self.agent, "address": self.address, "email": self.email} | changes),
            cookies=dict(self.cookies),
        )

    def everywhere(self, path: str = "/who", times: int = 24, **options: Any) -> set[str]:
        """What every worker says to these cookies. The jar stays as it is."""
        return {self.get(path, is_kept=False, **options).told for _ in range(times)}

    def claims(self, name: str = "access") -> dict[str, Any]:
        """What the token in a cookie says."""
        return claims_of(self.cookies[name])


NewBrowser = Callable[..., Browser]
"""What the fixture `browser` gives: one in which a new user is signed in."""


def claims_of(token: str) -> dict[str, Any]:
    """A token's payload, unverified."""
    part = token.split(".")[1]
    claims: dict[str, Any] = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    return claims
