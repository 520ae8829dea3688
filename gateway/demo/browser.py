"""A browser without a window: it opens pages, follows where they lead, sends forms, keeps cookies, and says what a real one says.

    navigate    a person opens a page          Sec-Fetch-Mode: navigate, Accept: text/html; where it leads, it goes
    submit      … sends a form                 the same, with Origin
    fetch       a script of the page asks      Sec-Fetch-Mode: cors, Origin, the echo of the CSRF cookie

Requests go over sockets to the running gateway, each on a connection of its own so that either worker may get it. The gateway
learns the client's address from X-Forwarded-For, because the demo's configuration trusts loopback to tell it.

Owns its jars and the list of what it did. It judges nothing.
"""

import http.client
import json
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlencode, urlsplit

from gateway.demo.jar import Jar
from gateway.demo.reading import Reading
from gateway.demo.talk import TIMEOUT_S

MOST_REMEMBERED: Final = 12
LONGEST_ANSWER: Final = 256 * 1024
LONGEST_SHOWN: Final = 2000
_MOST_REDIRECTS: Final = 5
_PAGE: Final = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"


@dataclass(frozen=True, slots=True)
class Kind:
    """A make of browser: its name for people, and the fields by which it shows itself."""

    name: str
    fields: tuple[tuple[str, str], ...]


FIREFOX: Final = Kind(
    "Firefox on Linux",
    (
        ("User-Agent", "Mozilla/5.0 (X11; Linux x86_64; rv:143.0) Gecko/20100101 Firefox/143.0"),
        ("Accept-Language", "en-GB,en;q=0.8"),
    ),
)
CHROME: Final = Kind(
    "Chrome on Android",
    (
        (
            "User-Agent",
            "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Mobile Safari/537.36",
        ),
        ("Accept-Language", "en-US,en;q=0.9"),
        ("Sec-CH-UA", '"Google Chrome";v="141", "Not?A_Brand";v="8", "Chromium";v="141"'),
        ("Sec-CH-UA-Mobile", "?1"),
        ("Sec-CH-UA-Platform", '"Android"'),
    ),
)


@dataclass(frozen=True, slots=True)
class Exchange:
    """One request and its answer. `cookies`: what the answer did to the jar, by name, a `-` before what it took away."""

    at: float
    method: str
    path: str
    sent: tuple[tuple[str, str], ...]
    status: int
    reason: str
    location: str
    text: str
    cookies: tuple[str, ...]
    onward: str = ""  # where the page itself leads at once

    @property
    def told(self) -> str:
        """In a few words: the status, and its reason, or where it leads, or the first line of what was said."""
        said = next(iter(self.text.splitlines()), "")
        leads_to = urlsplit(self.location)._replace(scheme="", netloc="").geturl()
        return f"{self.status} {self.reason or leads_to or said}".strip()


@dataclass(slots=True)
class Browser:
    """Per person. `kind` is what it pretends to be, which a thief may change."""

    owner: str
    kind: Kind
    address: str
    jars: dict[str, Jar] = field(default_factory=dict)
    history: deque[Exchange] = field(default_factory=lambda: deque(maxlen=MOST_REMEMBERED))

    def jar(self, site: str) -> Jar:
        """The cookies for a site, `host:port`. NB: a real browser does not tell ports apart; two sites here are two hosts."""
        return self.jars.setdefault(site, Jar())

    def navigate(self, site: str, path: str) -> list[Exchange]:
        """Open a page, and go where it leads. Raises OSError."""
        return self._follow(site, self._ask(site, "GET", path, self._of_a_page("none")))

    def submit(self, site: str, path: str, form: Mapping[str, str]) -> list[Exchange]:
        """Send a form of a page of this site, and go where it leads. Raises OSError."""
        lines = [*self._of_a_page("same-origin"), ("Origin", f"http://{site}")]
        kind = "application/x-www-form-urlencoded"
        return self._follow(site, self._ask(site, "POST", path, lines, urlencode(form).encode(), kind))

    def fetch(self, site: str, method: str, path: str, body: object = None) -> Exchange:
        """What a script of a page sends. Raises OSError."""
        lines = [("Accept", "application/json"), *_metadata("same-origin", "cors", "empty")]
        if method != "GET":
            lines += [("Origin", f"http://{site}"), ("X-CSRF-Token", self.jar(site).value("csrf"))]
        raw = b"" if body is None else json.dumps(body).encode()
        return self._ask(site, method, path, lines, raw, "application/json" if raw else "")

    def _of_a_page(self, origin: str) -> list[tuple[str, str]]:
        return [("Accept", _PAGE), ("Upgrade-Insecure-Requests", "1"), *_metadata(origin, "navigate", "document")]

    def _follow(self, site: str, first: Exchange) -> list[Exchange]:
        done = [first]
        for _ in range(_MOST_REDIRECTS):
            parts = urlsplit(done[-1].location or done[-1].onward)
            if not parts.path or parts.netloc not in ("", site):  # nowhere, or not ours to visit
                break
            path = parts.path + (f"?{parts.query}" if parts.query else "")
            done.append(self._ask(site, "GET", path, self._of_a_page("same-origin")))
        return done

    def _ask(
        self, site: str, method: str, path: str, lines: list[tuple[str, str]], body: bytes = b"", kind: str = ""
    ) -> Exchange:
        jar = self.jar(site)
        sent = [("Host", site), *self.kind.fields, *lines]
        if kind:
            sent.append(("Content-Type", kind))
        if cookies := jar.header():
            sent.append(("Cookie", cookies))
        connection = http.client.HTTPConnection(site, timeout=TIMEOUT_S)
        try:
            connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
            for name, value in (*sent, ("X-Forwarded-For", self.address)):
                connection.putheader(name, value)
            if body or method == "POST":
                connection.putheader("Content-Length", str(len(body)))
            connection.endheaders(body or None)
            response = connection.getresponse()
            exchange = self._read(response, method, path, sent, jar)
        except http.client.HTTPException as error:
            raise OSError(f"not an HTTP answer: {error!r}") from error
        finally:
            connection.close()
        self.history.append(exchange)
        return exchange

    def _read(
        self, response: http.client.HTTPResponse, method: str, path: str, sent: list[tuple[str, str]], jar: Jar
    ) -> Exchange:
        text = response.read(LONGEST_ANSWER).decode("utf-8", "replace")
        headers = response.headers
        onward = ""
        if headers.get_content_type() == "text/html":
            page = Reading.of(text)
            text, onward = page.text, page.onward
        return Exchange(
            time.time(),
            method,
            path,
            tuple((name, _without_secrets(name, value, jar)) for name, value in sent),
            response.status,
            headers.get("X-Gateway-Reason", ""),
            headers.get("Location", ""),
            text.strip()[:LONGEST_SHOWN],
            jar.take(headers.get_all("Set-Cookie") or ()),
            onward,
        )


def _metadata(site: str, mode: str, destination: str) -> list[tuple[str, str]]:
    """What a browser says of the page that asks (Fetch Metadata); no script can write these."""
    fields = [("Sec-Fetch-Site", site), ("Sec-Fetch-Mode", mode), ("Sec-Fetch-Dest", destination)]
    return [*fields, ("Sec-Fetch-User", "?1")] if mode == "navigate" else fields


def _without_secrets(name: str, value: str, jar: Jar) -> str:
    """As it may be shown: the cookies by their names and a few characters."""
    return "; ".join(f"{cookie.name}={cookie.short}" for cookie in jar.cookies.values()) if name == "Cookie" else value
