"""Every page that people can see, with plain values; and a strict reader of pages."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from html.parser import HTMLParser

from gateway.portal.language import Language
from gateway.portal.pages import Device, Page, Pages
from gateway.portal.words import SAID
from gateway.reasons import Reason

NOW = 1_764_100_000.0  # 25 November 2025, 19:46:40 UTC
STATUSES = (400, 401, 403, 404, 405, 409, 413, 414, 418, 422, 429, 431, 500, 501, 502, 503, 504)
HERE = Device("AAAAAAAAAAAAAAAA.B", True, "Firefox", "Linux", "desktop", "203.0.113.0/24", "FR", NOW - 3 * 86400, NOW - 20)
PHONE = Device(
    "AAAAAAAAAAAAAAAA.C", False, "Safari", "iPhone", "phone", "2001:db8:42::/48", "DE", NOW - 40 * 86400, NOW - 3 * 3600
)
TABLET = Device("AAAAAAAAAAAAAAAA.D", False, "Chrome", "Android", "tablet", "198.51.100.0/24", "", NOW - 600, NOW - 5)
TOOL = Device("AAAAAAAAAAAAAAAA.E", False, "", "", "", "", "", NOW - 30 * 86400, NOW - 9 * 86400)
DEVICES = (TOOL, PHONE, HERE, TABLET)
EMAIL = "alice@example.org"
REQUEST_ID = "7f3a9c0e5b1d4f60a2c8"


def pages(**settings: object) -> Pages:
    return Pages("shop.example", **{"is_registration_open": True, **settings})  # type: ignore[arg-type]


def forms(made: Pages, language: Language) -> Iterator[tuple[str, Page]]:
    for said in ("", *SAID["login"]):
        yield f"login {said}", made.login(language, said=said, email=EMAIL if said else "", return_to="/a?b=c&d=e")
    for said in ("", *SAID["register"]):
        yield f"register {said}", made.register(language, said=said, email=EMAIL if said else "", return_to="/a?b=c&d=e")
    for said in ("", *SAID["devices"]):
        yield f"devices {said}", made.devices(language, user=EMAIL, devices=DEVICES, now=NOW, said=said)
    yield "devices alone", made.devices(language, user=EMAIL, devices=[HERE], now=NOW)
    yield "onward", made.onward(language, "/a?b=c&d=e")


def refusals(made: Pages, language: Language) -> Iterator[tuple[str, Page]]:
    for reason in Reason:
        yield f"refusal {reason}", made.refusal(language, reason, REQUEST_ID)
        for status in STATUSES:
            yield f"refusal {reason} {status}", made.refusal(language, reason, REQUEST_ID, status)
    for status in STATUSES:
        yield f"error {status}", made.error(language, status, REQUEST_ID)


def every_page(made: Pages, language: Language) -> Iterator[tuple[str, Page]]:
    yield from forms(made, language)
    yield from refusals(made, language)


@dataclass
class Element:
    tag: str
    attributes: dict[str, str | None]
    inside: list[str]  # the tags around it
    text: str = ""  # its own and its children's


_EMPTY = frozenset(("meta", "link", "input", "br", "path", "rect"))
_MAY_STAND_ALONE = frozenset(("path", "rect"))  # of SVG


class Reader(HTMLParser):
    """Reads a page and complains about what a browser would silently mend."""

    def __init__(self, page: Page | str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[Element] = []
        self.texts: list[str] = []
        self._open: list[Element] = []
        self.feed(page if isinstance(page, str) else page.body.decode())
        self.close()
        assert not self._open, f"never closed: {self._open[-1].tag}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = [name for name, _ in attrs]
        assert len(set(names)) == len(names), f"{tag} has an attribute twice: {names}"
        element = Element(tag, dict(attrs), [around.tag for around in self._open])
        self.elements.append(element)
        if tag not in _EMPTY:
            self._open.append(element)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in _MAY_STAND_ALONE, f"<{tag}/>"
        self.handle_starttag(tag, attrs)

    def handle_endtag(self, tag: str) -> None:
        assert self._open and self._open[-1].tag == tag, f"</{tag}> inside {[element.tag for element in self._open]}"
        self._open.pop()

    def handle_data(self, data: str) -> None:
        for element in self._open:
            element.text += data
        if data.strip() and not (self._open and self._open[-1].tag in ("style", "script")):
            self.texts.append(re.sub(r"[ \n]+", " ", data).strip(" "))  # NB: not \s, a space that does not break is a letter here

    def all(self, tag: str, **attributes: str) -> list[Element]:
        return [
            element
            for element in self.elements
            if element.tag == tag and all(element.attributes.get(name) == value for name, value in attributes.items())
        ]

    def one(self, tag: str, **attributes: str) -> Element:
        (found,) = self.all(tag, **attributes)
        return found

    @property
    def skeleton(self) -> list[tuple[str, tuple[str, ...]]]:
        """Tags and names of attributes: what values must never change."""
        return [(element.tag, tuple(element.attributes)) for element in self.elements]
