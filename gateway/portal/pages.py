"""The pages that people see: sign in, register, their devices, and why they were refused.

Rendering is pure: values in, bytes and header fields out; statuses, cookies and redirects belong to the handlers. Every value
is escaped, whoever sent it. Nothing is fetched from elsewhere: the stylesheet and the script are part of the page, and the
policy allows only them.

    page with a form     its blocks carry a nonce, new for each answer: values of strangers stand in these pages
    refusal              its blocks are allowed by their hashes, so one rendering serves everybody, with a place for the
                         request id; no value of a request stands in it, so nothing but the template's can be hashed

An operator's folder of templates overrides the ones beside this file, file by file; `gateway/login.html` names the
overridden one, to extend it. A template of his that fails gives way to ours, and he is told: a refusal never becomes a 500.

It owns the compiled templates. Jinja costs 24 ms to import, so it is imported when the first page is wanted.
"""

import re
import secrets
import traceback
from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Self

from gateway.portal.language import Language, exactly, machine_readable, when
from gateway.portal.refusal_words import Action, told
from gateway.portal.words import SAID, TEXTS, Said
from gateway.reasons import REFUSALS, Reason
from gateway.sessions.model import Record

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup

TEMPLATES: Final = Path(__file__).with_name("templates")
NAMES: Final = ("login.html", "register.html", "devices.html", "refusal.html", "error.html")
MOST_PROBLEMS: Final = 20  # of an operator's templates, told once each
LONGEST_SHOWN: Final = 120  # of a device's name or a network: both come from a request
_INLINE: Final = re.compile(r"<(style|script)\b[^>]*>(.*?)</\1>", re.DOTALL)


class Page(NamedTuple):
    """A rendered page and the header fields that go with it; the status is the handler's."""

    body: bytes
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Device:
    """One session as the page of devices shows it. Times are seconds since 1970."""

    id: str
    is_current: bool
    name: str  # "Firefox on Linux"; empty: unknown
    form: str  # desktop, phone, tablet; anything else gets a picture of its own
    network: str
    country: str  # ISO 3166 code, or empty
    created: float
    last_seen: float

    @classmethod
    def of(cls, record: Record, current: str) -> Self:
        """From a session's record; `current` is the id of the session that asks."""
        return cls(
            id=record.sid,
            is_current=record.sid == current,
            name=record.agent,
            form=record.device.rpartition("|")[2],
            network=record.last_network or record.network,
            country=record.country,
            created=record.created,
            last_seen=max(record.last_seen, record.created),
        )


class Pages:
    """All pages of one gateway. Made once per process; cheap until the first page is asked for.

    `service` is the site's name for people. `templates` is the operator's folder. `on_problem` is told, once per template
    and text, about a template of his that failed. `has_login` is false where people sign in elsewhere.
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
        self._folder = templates
        self._is_registration_open = is_registration_open
        self._has_login = has_login
        self._csrf_cookie = csrf_cookie
        self._on_problem = on_problem
        self._new_nonce = new_nonce
        self._made: tuple[Environment, ...] = ()
        self._told: set[str] = set()

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

    def refusal(self, language: Language, reason: Reason, request_id: str, status: int | None = None) -> Page:
        """The page of a refusal. `status` overrides the reason's own (405, 413, 414, 429).

        A cache may pass any text of plain characters in the place of the request id, and replace it later: the id stands
        once in the body and in no block that is hashed.
        """
        return self._refusal("refusal.html", language, reason, REFUSALS[reason].status if status is None else status, request_id)

    def error(self, language: Language, status: int, request_id: str) -> Page:
        """The page of an answer that has a status and no reason: 404, 405, 429, 500, 503 of the gateway's own endpoints."""
        return self._refusal("error.html", language, None, status, request_id)

    def problems(self) -> list[str]:
        """What is wrong with the operator's templates, one printable line each: every page is rendered once, in each language."""
        found: list[str] = []
        mine = Pages(
            self._service,
            templates=self._folder,
            is_registration_open=True,
            has_login=self._has_login,
            csrf_cookie=self._csrf_cookie,
            on_problem=found.append,
        )
        mine.prepare()
        device = Device("id", False, "Firefox on Linux", "desktop", "203.0.113.0/24", "FR", 0.0, 0.0)
        for language in Language:
            for said in ("", *SAID["login"]):
                mine.login(language, said=said, return_to="/", email="a@example.org")
            for said in ("", *SAID["register"]):
                mine.register(language, said=said, return_to="/", email="a@example.org")
            for said in ("", *SAID["devices"]):
                mine.devices(language, user="a@example.org", devices=[device], now=1.0, said=said)
            for reason in Reason:
                mine.refusal(language, reason, "id")
            mine.error(language, 500, "id")
        return found

    def prepare(self) -> None:
        """Import the template engine and compile every page now, so that no later answer waits for it."""
        for environment in self._environments():
            for name in NAMES:
                try:
                    environment.get_template(name)
                except Exception as error:
                    self._tell(name, error)

    # -- rendering

    def _form(self, page: str, language: Language, said: str, **values: object) -> Page:
        nonce = self._new_nonce()
        connect = "; connect-src 'self'" if page == "devices" else ""
        text = self._render(
            f"{page}.html",
            language,
            nonce=nonce,
            said=_message(SAID[page].get(said), language),
            is_registration_open=self._is_registration_open,
            **values,
        )
        policy = f"style-src 'nonce-{nonce}'; script-src 'nonce-{nonce}'; form-action 'self'{connect}"
        return Page(text.encode(), _headers(language, policy))

    def _refusal(self, name: str, language: Language, reason: Reason | None, status: int, request_id: str) -> Page:
        words = told(reason, status)
        text = self._render(
            name,
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

    def _render(self, name: str, language: Language, **values: object) -> str:
        def t(key: str) -> str:
            return TEXTS[key].to(language)

        values.update(t=t, language=language.value, service=self._service)
        *own, ours = self._environments()
        for environment in own:
            try:
                return environment.get_template(name).render(values)
            except Exception as error:  # an operator's template may raise anything
                self._tell(name, error)
        return ours.get_template(name).render(values)

    def _environments(self) -> "tuple[Environment, ...]":
        """The operator's, if he has a folder, then ours."""
        if not self._made:
            folders = [[], [self._folder]] if self._folder is not None else [[]]
            self._made = tuple(_environment(folder) for folder in reversed(folders))
        return self._made

    def _tell(self, name: str, error: Exception) -> None:
        text = f"{self._place(error) or name}: {type(error).__name__}: {error}"
        if text not in self._told and len(self._told) < MOST_PROBLEMS:
            self._told.add(text)
            self._on_problem(text)

    def _place(self, error: Exception) -> str:
        """`file:line` in the operator's folder, where one can be named: Jinja puts its templates into the traceback."""
        if (line := getattr(error, "lineno", None)) is not None and (file := getattr(error, "filename", None)):
            return f"{file}:{line}"
        frames = traceback.extract_tb(error.__traceback__)
        return next((f"{frame.filename}:{frame.lineno}" for frame in reversed(frames) if self._is_own(frame.filename)), "")

    def _is_own(self, file: str) -> bool:
        return self._folder is not None and Path(file).is_relative_to(self._folder)


def _environment(own: Sequence[Path]) -> "Environment":
    from jinja2 import ChoiceLoader, Environment, FileSystemLoader, PrefixLoader, StrictUndefined

    shipped = FileSystemLoader(TEMPLATES)
    environment = Environment(
        loader=ChoiceLoader([*(FileSystemLoader(folder) for folder in own), PrefixLoader({"gateway": shipped}), shipped]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
        cache_size=-1,
    )
    # NB: a stylesheet or script is not a template: `{#` and `{{` mean something of their own there.
    environment.globals["file"] = lru_cache(lambda name: _source(environment, name))
    return environment


def _source(environment: "Environment", name: str) -> "Markup":
    from markupsafe import Markup

    assert environment.loader is not None
    return Markup(environment.loader.get_source(environment, name)[0].strip())  # noqa: S704  the operator's or ours


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
    """The blocks of a page as sources of a policy (CSP 3 §2.3.1)."""
    blocks = [match[2] for match in _INLINE.finditer(text) if match[1] == element]
    return " ".join(f"'sha256-{b64encode(sha256(block.encode()).digest()).decode()}'" for block in blocks) or "'none'"


def _message(said: Said | None, language: Language) -> dict[str, str] | None:
    return None if said is None else {"kind": said.kind.value, "text": said.text.to(language), "field": said.field}


def _shown(device: Device, now: float, language: Language) -> dict[str, Any]:
    return {
        "id": device.id,
        "is_current": device.is_current,
        "name": _short(device.name),
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
