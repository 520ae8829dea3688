"""The pages that people see: sign in, register, their devices, and why they were refused.

Rendering is pure: values in, bytes and header fields out; statuses, cookies and redirects belong to the handlers. Every value
is escaped, whoever sent it. Nothing is fetched from elsewhere: the stylesheet and the script are part of the page, and the
policy allows only them.

    page with a form     its blocks carry a nonce, new for each answer: values of strangers stand in these pages
    refusal              its blocks are allowed by their hashes, so one rendering serves everybody, with a place for the
                         request id; no value of a request stands in it, so nothing but the template's can be hashed

It owns no data but its templates.
"""

import secrets
from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Final, NamedTuple, Self

from gateway.enforce.device import OTHER
from gateway.portal.language import Language, exactly, machine_readable, when
from gateway.portal.refusal_words import Action, told
from gateway.portal.templating import Templates
from gateway.portal.words import SAID, TEXTS, Said
from gateway.reasons import REFUSALS, Reason
from gateway.sessions.model import Record

NAMES: Final = ("login.html", "register.html", "devices.html", "onward.html", "refusal.html", "error.html")
LONGEST_SHOWN: Final = 120  # of a device's name or a network: both come from a request


class Page(NamedTuple):
    """A rendered page and the header fields that go with it; the status is the handler's."""

    body: bytes
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Device:
    """One session as the page of devices shows it. Times are seconds since 1970; an empty text is not known."""

    id: str
    is_current: bool
    browser: str  # "Firefox"
    system: str  # "Linux"
    form: str  # desktop, phone, tablet; anything else gets a picture of its own
    network: str
    country: str  # ISO 3166 code
    created: float
    last_seen: float

    @classmethod
    def of(cls, record: Record, current: str) -> Self:
        """From a session's record; `current` is the id of the session that asks."""
        browser, system, form = _parts(record)
        return cls(
            id=record.sid,
            is_current=record.sid == current,
            browser=browser,
            system=system,
            form=form,
            network=record.last_network or record.network,
            country=record.country,
            created=record.created,
            last_seen=max(record.last_seen, record.created),
        )


class Pages:
    """All pages of one gateway. Made once per process; cheap until the first page is asked for.

    `service` is the site's name for people. `templates` is the operator's folder. `on_problem` is told about a template of his
    that failed. `has_login` is false where people sign in elsewhere.
    """

    def __init__(
        self,
        service: str,
        *,
        templates: Path | None = None,
        is_registration_open: bool = False,
        has_login: bool = True,
        csrf_cookie: str = "__Host-csrf",
        on_problem: Callable[[str], None] = lambda text: None,
        new_nonce: Callable[[], str] = lambda: secrets.token_urlsafe(16),
    ) -> None:
        # per process
        self._service = service
        self._templates = Templates(templates, on_problem)
        self._is_registration_open = is_registration_open
        self._has_login = has_login
        self._csrf_cookie = csrf_cookie
        self._new_nonce = new_nonce

    def prepare(self) -> None:
        """Import the template engine and compile every page now (0.1 s, once), so that no later answer waits for it.

        May be called from a thread, before the first page is asked for.
        """
        for name in NAMES:
            self._templates.compile(name)

    def login(self, language: Language, *, said: str = "", return_to: str = "", email: str = "") -> Page:
        """The page to sign in. `said` is the code of the query, `return_to` a path of this site that was judged [C3]."""
        return self._form("login", language, said, return_to=return_to, email=email)

    def register(self, language: Language, *, said: str = "", return_to: str = "", email: str = "") -> Page:
        """The page to create an account."""
        return self._form("register", language, said, return_to=return_to, email=email)

    def devices(self, language: Language, *, user: str, devices: Sequence[Device], now: float, said: str = "") -> Page:
        """The page of a user's sessions: the one that asks first, then by last use."""
        order = sorted(devices, key=lambda device: (not device.is_current, -device.last_seen))
        return self._form(
            "devices",
            language,
            said,
            user=user,
            devices=[_shown(device, now, language) for device in order],
            has_others=any(not device.is_current for device in order),
            csrf_cookie=self._csrf_cookie,
        )

    def onward(self, language: Language, to: str) -> Page:
        """The answer (200, with cookies) to a form that signed in: leads to `to`, a path of this site that was judged [C3].

        A redirect would do, but Chrome applies the form's `form-action` to every redirect that follows: an application that
        sends on to another origin would leave the person before a button that does nothing.
        """
        return self._form("onward", language, "", to=to)

    def refusal(self, language: Language, reason: Reason, request_id: str, status: int | None = None) -> Page:
        """The page of a refusal. `status` overrides the reason's own (405, 413, 414, 429).

        A cache may pass any text of plain characters in the place of the request id, and replace it later: the id stands
        once in the body and in no block that is hashed.
        """
        return self._refusal("refusal", language, reason, REFUSALS[reason].status if status is None else status, request_id)

    def error(self, language: Language, status: int, request_id: str) -> Page:
        """The page of an answer that has a status and no reason: 404, 405, 429, 500, 503 of the gateway's own endpoints."""
        return self._refusal("error", language, None, status, request_id)

    def _form(self, page: str, language: Language, said: str, **values: object) -> Page:
        nonce = self._new_nonce()
        message = _message(SAID.get(page, {}).get(said), language)
        text = self._render(page, language, nonce=nonce, said=message, is_registration_open=self._is_registration_open, **values)
        connect = "; connect-src 'self'" if page == "devices" else ""
        policy = f"style-src 'nonce-{nonce}'; script-src 'nonce-{nonce}'; form-action 'self'{connect}"
        return Page(text.encode(), _headers(language, policy))

    def _refusal(self, page: str, language: Language, reason: Reason | None, status: int, request_id: str) -> Page:
        words = told(reason, status)
        text = self._render(
            page,
            language,
            nonce="",
            title=words.title.to(language),
            advice=words.advice.to(language),
            action=Action.NONE if words.action is Action.SIGN_IN and not self._has_login else words.action,
            status=status,
            reason="" if reason is None else reason.value,
            request_id=request_id,
        )
        policy = f"style-src {_hashes(text, 'style')}; script-src {_hashes(text, 'script')}; form-action 'none'"
        return Page(text.encode(), _headers(language, policy))

    def _render(self, page: str, language: Language, **values: object) -> str:
        def t(key: str) -> str:
            return TEXTS[key].to(language)

        return self._templates.render(f"{page}.html", {**values, "t": t, "language": language.value, "service": self._service})


def problems_of(folder: Path) -> list[str]:
    """What is wrong with an operator's templates, one printable line each: every page is rendered, in each language."""
    if not folder.is_dir():
        return [f"{folder}: is not a folder"]
    found: list[str] = []
    pages = Pages("example.org", templates=folder, is_registration_open=True, on_problem=found.append)
    pages.prepare()
    device = Device("id", False, "Firefox", "Linux", "desktop", "203.0.113.0/24", "FR", 0.0, 0.0)
    for language in Language:
        for said in ("", *SAID["login"]):
            pages.login(language, said=said, return_to="/", email="a@example.org")
        for said in ("", *SAID["register"]):
            pages.register(language, said=said, return_to="/", email="a@example.org")
        for said in ("", *SAID["devices"]):
            pages.devices(language, user="a@example.org", devices=[device], now=1.0, said=said)
        for reason in Reason:
            pages.refusal(language, reason, "id")
        pages.error(language, 500, "id")
        pages.onward(language, "/")
    return found


def _headers(language: Language, policy: str) -> dict[str, str]:
    return {
        "Content-Type": "text/html; charset=utf-8",
        "Content-Language": language.value,
        "Cache-Control": "no-store",
        "Content-Security-Policy": (f"default-src 'none'; img-src data:; {policy}; base-uri 'none'; frame-ancestors 'none'"),
        # NB: with `no-referrer` a browser sends `Origin: null` with our own forms, and they would be refused [C1].
        "Referrer-Policy": "same-origin",
        "Cross-Origin-Opener-Policy": "same-origin",
        "X-Content-Type-Options": "nosniff",
    }


def _hashes(text: str, element: str) -> str:
    """The blocks of a page as sources of a policy (CSP 3 §2.3.1). NB: a regular expression for this costs 0.4 ms."""
    opened = (part.partition(">")[2] for part in text.split(f"<{element}")[1:])
    blocks = [rest.partition(f"</{element}>")[0] for rest in opened]
    return " ".join(f"'sha256-{b64encode(sha256(block.encode()).digest()).decode()}'" for block in blocks) or "'none'"


def _message(said: Said | None, language: Language) -> dict[str, str] | None:
    return None if said is None else {"kind": said.kind.value, "text": said.text.to(language), "field": said.field}


def _parts(record: Record) -> tuple[str, str, str]:
    """Browser, system and form of a record's device; where it has none, what was noted for people, if anything."""
    parts = record.device.split("|")
    if len(parts) != 3:
        return record.agent, "", ""
    browser, system, form = parts
    if system == "iOS":
        system = {"tablet": "iPad", "phone": "iPhone"}.get(form, system)
    return "" if browser == OTHER else browser, "" if system == OTHER else system, form


def _name(device: Device, language: Language) -> str:
    browser = device.browser or TEXTS["devices.unknown"].to(language)
    return TEXTS["devices.name"].to(language).format(browser=browser, system=device.system) if device.system else browser


def _shown(device: Device, now: float, language: Language) -> dict[str, object]:
    return {
        "id": device.id,
        "is_current": device.is_current,
        "name": _short(_name(device, language)),
        "form": device.form,
        "network": _short(device.network),
        "country": _short(device.country),
        "since": _time(device.created, now, language),
        "seen": _time(device.last_seen, now, language),
    }


def _time(at: float, now: float, language: Language) -> dict[str, str]:
    return {"text": when(at, now, language), "exact": exactly(at, language), "machine": machine_readable(at)}


def _short(text: str) -> str:
    return text if len(text) <= LONGEST_SHOWN else text[: LONGEST_SHOWN - 1] + "…"
