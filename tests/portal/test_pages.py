"""The pages as a browser reads them: whole, labelled, self-contained, and deaf to what strangers put into them."""

import re
from base64 import b64encode
from dataclasses import replace
from hashlib import sha256

import pytest
from every_page import DEVICES, EMAIL, HERE, NOW, PHONE, REQUEST_ID, STATUSES, Reader, every_page, forms, pages, refusals
from hypothesis import given
from hypothesis import strategies as st

from gateway.portal.language import Language
from gateway.portal.pages import Device, Page, Pages
from gateway.portal.refusal_words import TOLD, TOLD_BY_STATUS, Action
from gateway.portal.words import SAID, Kind
from gateway.reasons import REFUSALS, Reason
from gateway.sessions.model import Record

PAGES = pages()
EN, FR = Language.EN, Language.FR
ALL = [(f"{language} {name}", page) for language in Language for name, page in every_page(PAGES, language)]


def policy(page: Page) -> dict[str, str]:
    directives = page.headers["Content-Security-Policy"].split("; ")
    return {name: value for name, _, value in (directive.partition(" ") for directive in directives)}


# -- form


def test_every_page_is_whole() -> None:
    for name, page in ALL:
        read = Reader(page)
        ids = [element.attributes["id"] for element in read.elements if "id" in element.attributes]
        assert len(set(ids)) == len(ids), name
        assert len(read.all("h1")) == len(read.all("main")) == len(read.all("title")) == 1, name
        assert read.one("html").attributes["lang"] == page.headers["Content-Language"] == name[:2], name


def test_every_input_has_a_label_and_what_is_referred_to_exists() -> None:
    for name, page in ALL:
        read = Reader(page)
        ids = {element.attributes.get("id") for element in read.elements}
        labelled = [element.attributes["for"] for element in read.all("label")]
        for entry in read.all("input"):
            if entry.attributes.get("type") != "hidden":
                assert labelled.count(entry.attributes["id"]) == 1, (name, entry)
        for element in read.elements:
            for reference in (element.attributes.get("aria-describedby") or "").split():
                assert reference in ids, (name, reference)
            if (field := element.attributes.get("data-reveal")) is not None:
                assert field in ids, name


def test_every_button_and_link_says_what_it_does_in_words() -> None:
    for name, page in ALL:
        read = Reader(page)
        for element in (*read.all("button"), *read.all("a"), *read.all("h1"), *read.all("title"), *read.all("label")):
            assert element.text.strip(), (name, element)


def test_pictures_are_hidden_from_those_who_hear_the_page() -> None:
    for name, page in ALL:
        assert all(picture.attributes["aria-hidden"] == "true" for picture in Reader(page).all("svg")), name


# -- what a page may do


def test_nothing_is_fetched_from_elsewhere() -> None:
    for name, page in ALL:
        text = page.body.decode()
        assert re.findall(r"(?:https?:)?//[\w.]+", re.sub(r"^\s*// .*$", "", text, flags=re.M)) == ["http://www.w3.org"], name
        assert "@import" not in text and "url(" not in text, name
        for element in Reader(page).elements:
            for attribute in ("src", "href", "action", "formaction", "srcset", "poster", "data"):
                if (value := element.attributes.get(attribute)) is not None:
                    assert re.fullmatch(r"|/|/[^/\\].*|data:image/svg\+xml,.*", value), (name, value)


def test_a_page_with_a_form_allows_only_blocks_with_the_nonce_of_this_answer() -> None:
    for language in Language:
        for name, page in forms(PAGES, language):
            nonce = policy(page)["script-src"].removeprefix("'nonce-").removesuffix("'")
            assert re.fullmatch(r"[A-Za-z0-9_-]{22}", nonce), name
            assert policy(page)["style-src"] == policy(page)["script-src"] == f"'nonce-{nonce}'", name
            read = Reader(page)
            blocks = [*read.all("style"), *read.all("script")]
            assert blocks and all(block.attributes["nonce"] == nonce for block in blocks), name
    assert policy(PAGES.login(EN))["script-src"] != policy(PAGES.login(EN))["script-src"]


def test_a_refusal_allows_only_the_blocks_that_stand_in_it() -> None:
    for language in Language:
        for name, page in refusals(PAGES, language):
            for directive, tag in (("style-src", "style"), ("script-src", "script")):
                hashes = [
                    f"'sha256-{b64encode(sha256(block.text.encode()).digest()).decode()}'" for block in Reader(page).all(tag)
                ]
                assert policy(page)[directive] == (" ".join(hashes) or "'none'"), name


def test_the_policy_of_every_page_is_strict() -> None:
    for name, page in ALL:
        told = policy(page)
        assert told["default-src"] == told["base-uri"] == told["frame-ancestors"] == "'none'", name
        assert told["form-action"] == ("'none'" if "refusal" in name or "error" in name else "'self'"), name
        assert told.get("connect-src") == ("'self'" if "devices" in name else None), name
        assert "unsafe" not in page.headers["Content-Security-Policy"], name
        for element in Reader(page).elements:
            assert not [attribute for attribute in element.attributes if attribute == "style" or attribute.startswith("on")], name


def test_C1_our_own_forms_keep_their_origin() -> None:
    """With `Referrer-Policy: no-referrer` browsers send `Origin: null`, and the gateway would refuse its own forms."""
    assert {page.headers["Referrer-Policy"] for _, page in ALL} == {"same-origin"}


def test_no_page_is_kept_by_anybody() -> None:
    assert {page.headers["Cache-Control"] for _, page in ALL} == {"no-store"}


# -- values of strangers

POISON = (
    "</title></style></script><script>alert(1)</script>",
    "\"'><img src=x onerror=alert(1)>",
    "{{ 7 * 7 }}{% include 'theme.css' %}",
    "javascript:alert(1)",
    "0;url=//evil.example",
    "&lt;b&gt; &amp; &#x27;",
    "\u202egnp.exe \u2066\x7f",
)
values = st.lists(st.sampled_from(POISON) | st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=9), max_size=3).map(
    "".join
)


@given(user=values, browser=values, system=values, network=values, country=values, sid=values)
def test_B3_what_a_client_sent_is_only_ever_text_on_the_page_of_devices(
    user: str, browser: str, system: str, network: str, country: str, sid: str
) -> None:
    def shown(**sent: str) -> Reader:
        return Reader(PAGES.devices(EN, user=sent.pop("user"), devices=[HERE, replace(PHONE, **sent)], now=NOW))  # type: ignore[arg-type]

    sent = {"browser": browser or "-", "system": system or "-", "network": network or "-", "country": country or "-"}
    read = shown(user=user, id=sid, **sent)
    assert read.skeleton == shown(user="u", id="i", browser="b", system="s", network="n", country="c").skeleton
    assert read.one("input", id="account").attributes["value"] == user
    form = next(form for form in read.all("form") if "data-session" in form.attributes)
    assert form.attributes["data-session"] == sid
    assert re.fullmatch(r"/auth/sessions/[\w.~%/-]*/end", form.attributes["action"] or "")
    if len(network) < 100:
        assert read.all("bdi")[-1].text == sent["network"]


@given(email=values, return_to=values)
def test_B3_what_a_client_sent_is_only_ever_text_on_the_pages_with_forms(email: str, return_to: str) -> None:
    for page in (PAGES.login, PAGES.register):
        read = Reader(page(EN, email=email or "-", return_to=return_to or "-", said="wrong"))
        assert read.skeleton == Reader(page(EN, email="e", return_to="r", said="wrong")).skeleton
        assert read.one("input", name="email").attributes["value"] == (email or "-")
        assert read.one("input", name="return_to").attributes["value"] == (return_to or "-")
    assert Reader(PAGES.onward(EN, return_to)).skeleton == Reader(PAGES.onward(EN, "/")).skeleton


@given(request_id=values, said=values)
def test_B3_a_request_id_is_only_ever_text_and_a_code_is_not_even_that(request_id: str, said: str) -> None:
    read = Reader(PAGES.refusal(EN, Reason.NO_TOKEN, request_id))
    assert read.skeleton == Reader(PAGES.refusal(EN, Reason.NO_TOKEN, "id")).skeleton
    assert read.one("code").text == request_id
    plain = pages(new_nonce=lambda: "nonce")
    assert plain.login(EN, said=said) == plain.login(EN)


def test_a_very_long_name_is_cut() -> None:
    page = PAGES.devices(EN, user=EMAIL, devices=[replace(PHONE, browser="x" * 5000, network="y" * 5000)], now=NOW)
    assert b"x" * 121 not in page.body and b"y" * 121 not in page.body


# -- signing in and registering


def test_the_form_to_sign_in_asks_for_what_the_endpoint_takes() -> None:
    read = Reader(PAGES.login(EN, return_to="/cart?id=1&x=2"))
    form = read.one("form")
    assert (form.attributes["method"], form.attributes["action"]) == ("post", "/auth/login")
    fields = {entry.attributes["name"]: entry.attributes for entry in read.all("input")}
    assert set(fields) == {"email", "password", "return_to"}
    assert fields["return_to"]["value"] == "/cart?id=1&x=2"
    assert fields["email"]["autocomplete"] == "username"
    assert (fields["password"]["type"], fields["password"]["autocomplete"]) == ("password", "current-password")
    assert [entry.attributes["name"] for entry in Reader(PAGES.login(EN)).all("input")] == ["email", "password"]


def test_the_form_to_register_asks_for_a_new_password() -> None:
    read = Reader(PAGES.register(EN))
    assert (read.one("form").attributes["method"], read.one("form").attributes["action"]) == ("post", "/auth/register")
    password = read.one("input", name="password").attributes
    assert (password["autocomplete"], password["minlength"]) == ("new-password", "8")
    assert "maxlength" not in password  # it would silently cut what a password manager pastes


def test_the_way_to_register_is_shown_only_where_registration_is_open() -> None:
    assert b"/auth/register" in pages(is_registration_open=True).login(EN).body
    assert b"/auth/register" not in pages(is_registration_open=False).login(EN).body


def test_the_way_back_is_kept_between_signing_in_and_registering() -> None:
    for page, other in ((PAGES.login, "/auth/register"), (PAGES.register, "/auth/login")):
        links = [link.attributes["href"] for link in Reader(page(EN, return_to="/a?b=c&d=é")).all("a")]
        assert links == [f"{other}?return_to=/a%3Fb%3Dc%26d%3D%C3%A9"]
        assert [link.attributes["href"] for link in Reader(page(EN)).all("a")] == [other]


def test_the_cursor_waits_where_something_is_to_be_typed() -> None:
    def focused(page: Page) -> list[str | None]:
        return [entry.attributes["name"] for entry in Reader(page).all("input") if "autofocus" in entry.attributes]

    assert focused(PAGES.login(EN)) == ["email"]
    assert focused(PAGES.login(EN, email=EMAIL, said="wrong")) == ["password"]
    assert focused(PAGES.devices(EN, user=EMAIL, devices=[HERE], now=NOW)) == []
    assert focused(PAGES.devices(EN, user=EMAIL, devices=[HERE], now=NOW, said="password-wrong")) == ["current"]


# -- what is said


@pytest.mark.parametrize(("name", "code"), [(name, code) for name in SAID for code in SAID[name]])
def test_every_message_is_said_once_and_marks_the_field_at_fault(name: str, code: str) -> None:
    said = SAID[name][code]
    for language in Language:
        page = (
            PAGES.devices(language, user=EMAIL, devices=DEVICES, now=NOW, said=code)
            if name == "devices"
            else getattr(PAGES, name)(language, said=code)
        )
        read = Reader(page)
        message = read.one("p", id="said")
        assert message.text == said.text.to(language)
        assert message.attributes["role"] == ("alert" if said.kind is Kind.PROBLEM else "status")
        wrong = [entry.attributes for entry in read.all("input") if "aria-invalid" in entry.attributes]
        assert [entry["name"] for entry in wrong] == ([said.field] if said.field else [])
        assert all("said" in (entry["aria-describedby"] or "").split() for entry in wrong)
        assert read.one("title").text.startswith(("Problem – ", "Problème – ")) == (said.kind is Kind.PROBLEM)
        if name == "devices":
            assert ("open" in read.one("details").attributes) == bool(said.field)


def test_a_code_of_another_page_says_nothing() -> None:
    assert not Reader(PAGES.login(EN, said="password-changed")).all("p", id="said")


# -- devices


def test_devices_stand_in_the_order_of_use_with_this_one_first() -> None:
    read = Reader(PAGES.devices(EN, user=EMAIL, devices=DEVICES, now=NOW))
    assert [" ".join(name.text.split()) for name in read.all("h3")] == [
        "Firefox on Linux This device",
        "Chrome on Android",
        "Safari on iPhone",
        "Unknown browser",
    ]


def test_every_device_but_this_one_can_be_signed_out_by_a_plain_form() -> None:
    read = Reader(PAGES.devices(EN, user=EMAIL, devices=DEVICES, now=NOW))
    assert [form.attributes["action"] for form in read.all("form")] == [
        "/auth/logout",
        "/auth/sessions/AAAAAAAAAAAAAAAA.D/end",
        "/auth/sessions/AAAAAAAAAAAAAAAA.C/end",
        "/auth/sessions/AAAAAAAAAAAAAAAA.E/end",
        "/auth/logout-all",
        "/auth/password",
    ]
    assert {form.attributes["method"] for form in read.all("form")} == {"post"}


def test_the_form_for_a_new_password_sends_what_the_endpoint_takes() -> None:
    read = Reader(PAGES.devices(EN, user=EMAIL, devices=[HERE], now=NOW))
    assert [entry.attributes.get("name") for entry in read.all("input")] == [None, "current", "new"]


def test_the_page_says_when_no_other_device_is_signed_in() -> None:
    def is_hidden(*devices: Device) -> bool:
        return "hidden" in Reader(PAGES.devices(EN, user=EMAIL, devices=devices, now=NOW)).one("p", id="only").attributes

    assert not is_hidden(HERE) and not is_hidden()
    assert is_hidden(HERE, PHONE)


def record(**changes: object) -> Record:
    record = Record(
        sid="S", sub="U", user=EMAIL, version=1, groups=(), delivery="cookie", created=NOW - 60, ends=NOW, generation=1, used=0,
        rotated_at=NOW, access_expires=NOW, refresh_expires=NOW, secret=b"", revision=1, network="192.0.2.0/24",
        device="Firefox|Linux|desktop", agent="Firefox on Linux", country="FR",
    )  # fmt: skip
    return replace(record, **changes)  # type: ignore[arg-type]


def test_a_device_is_what_the_sessions_record_says() -> None:
    assert Device.of(record(), "S") == Device("S", True, "Firefox", "Linux", "desktop", "192.0.2.0/24", "FR", NOW - 60, NOW - 60)
    assert not Device.of(record(), "another").is_current
    moved = Device.of(record(last_network="198.51.100.0/24", last_seen=NOW), "S")
    assert (moved.network, moved.last_seen) == ("198.51.100.0/24", NOW)


@pytest.mark.parametrize(
    ("device", "agent", "names"),
    [
        ("Firefox|Linux|desktop", "", ("Firefox on Linux", "Firefox sur Linux")),
        ("Safari|iOS|phone", "", ("Safari on iPhone", "Safari sur iPhone")),
        ("Safari|iOS|tablet", "", ("Safari on iPad", "Safari sur iPad")),
        ("curl|Other|other", "", ("curl", "curl")),
        ("Other|Windows|desktop", "", ("Unknown browser on Windows", "Navigateur inconnu sur Windows")),
        ("Other|Other|other", "", ("Unknown browser", "Navigateur inconnu")),
        ("", "", ("Unknown browser", "Navigateur inconnu")),
        ("", "Firefox on Linux", ("Firefox on Linux", "Firefox on Linux")),
        ("not a device", "", ("Unknown browser", "Navigateur inconnu")),
    ],
)
def test_a_device_is_named_in_the_readers_language(device: str, agent: str, names: tuple[str, str]) -> None:
    shown = [Device.of(record(device=device, agent=agent), "another")]
    for language, name in zip((EN, FR), names, strict=True):
        assert Reader(PAGES.devices(language, user=EMAIL, devices=shown, now=NOW)).one("h3").text == name


# -- refusals


def test_every_reason_has_a_page_of_its_own() -> None:
    for language in Language:
        seen = set()
        for reason in Reason:
            read = Reader(PAGES.refusal(language, reason, REQUEST_ID))
            assert read.one("h1").text == TOLD[reason].title.to(language)
            assert TOLD[reason].advice.to(language) in read.texts
            assert {REQUEST_ID, reason.value, str(REFUSALS[reason].status)} <= set(read.texts)
            seen.add((read.one("h1").text, TOLD[reason].advice.to(language)))
        assert len(seen) == len(Reason)


@pytest.mark.parametrize(
    ("reason", "status"),
    [(Reason.BAD_REQUEST, 405), (Reason.TOO_LARGE, 413), (Reason.TOO_LARGE, 414), (Reason.TOO_LARGE, 429)],
)
def test_a_status_that_is_not_the_reasons_own_says_more_than_the_reason(reason: Reason, status: int) -> None:
    read = Reader(PAGES.refusal(EN, reason, REQUEST_ID, status))
    assert read.one("h1").text == TOLD_BY_STATUS[status].title.en != TOLD[reason].title.en
    assert {str(status), reason.value} <= set(read.texts)


def test_an_error_has_a_page_for_every_status() -> None:
    for status in STATUSES:
        read = Reader(PAGES.error(EN, status, REQUEST_ID))
        assert str(status) in read.texts
        known = TOLD_BY_STATUS.get(status) or TOLD_BY_STATUS[500 if status >= 500 else 400]
        assert read.one("h1").text == known.title.en


def test_a_place_for_the_request_id_can_be_filled_in_later() -> None:
    place = "\x7f" * len(REQUEST_ID)
    for reason in Reason:
        prepared, real = PAGES.refusal(FR, reason, place), PAGES.refusal(FR, reason, REQUEST_ID)
        assert prepared.body.count(place.encode()) == 1
        assert (prepared.body.replace(place.encode(), REQUEST_ID.encode()), prepared.headers) == real


def test_what_can_be_done_is_offered() -> None:
    def offered(made: Pages, reason: Reason) -> list[str | None]:
        return [link.attributes["href"] for link in Reader(made.refusal(EN, reason, REQUEST_ID)).all("a")]

    hrefs = {Action.SIGN_IN: ["/auth/login"], Action.RETRY: [""], Action.START: ["/"], Action.NONE: []}
    elsewhere = pages(has_login=False)
    for reason in Reason:
        action = TOLD[reason].action
        assert offered(PAGES, reason) == hrefs[action]
        assert offered(elsewhere, reason) == ([] if action is Action.SIGN_IN else hrefs[action])
