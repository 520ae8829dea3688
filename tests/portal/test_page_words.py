"""Nothing is said in one language only, and the language is the reader's."""

import re

import pytest
from every_page import DEVICES, EMAIL, REQUEST_ID, STATUSES, Reader, every_page, pages
from hypothesis import given
from hypothesis import strategies as st

from gateway.login.refused import Refused
from gateway.portal.language import Language, date, exactly, language_of, when
from gateway.portal.refusal_words import TOLD, TOLD_BY_STATUS
from gateway.portal.templating import SHIPPED
from gateway.portal.words import NBSP, SAID, TEXTS, Text
from gateway.reasons import REFUSALS, Reason

EN, FR = Language.EN, Language.FR
EVERY_TEXT: list[Text] = [
    *TEXTS.values(),
    *(said.text for page in SAID.values() for said in page.values()),
    *(text for told in (*TOLD.values(), *TOLD_BY_STATUS.values()) for text in (told.title, told.advice)),
]


def test_every_text_is_there_in_both_languages_and_differs() -> None:
    for text in EVERY_TEXT:
        assert text.en.strip() and text.fr.strip() and text.en != text.fr, text


def test_every_reason_is_told() -> None:
    assert set(TOLD) == set(Reason) == set(REFUSALS)


def test_every_refusal_of_an_address_or_a_password_is_said_where_it_is_typed() -> None:
    passwords = {why.word for why in Refused if why.word.startswith("password-")}
    assert {why.word for why in Refused} <= set(SAID["register"])
    assert passwords <= set(SAID["devices"])


def test_every_code_that_a_handler_gives_is_known_to_a_page() -> None:
    source = "".join(path.read_text() for path in SHIPPED.parent.glob("*.py"))
    given = set(re.findall(r'said="([a-z-]+)"', source)) | set(re.findall(r"\?said=([a-z-]+)", source))
    assert given and given <= {code for page in SAID.values() for code in page}


def test_every_text_is_used_and_every_text_that_is_used_is_there() -> None:
    source = "".join(path.read_text() for path in SHIPPED.glob("*.html"))
    used = set(re.findall(r'\bt\("([^"]+)"\)', source))
    in_code = {"devices.name", "devices.unknown"}
    assert used | in_code == set(TEXTS)


def test_templates_hold_no_words_of_their_own() -> None:
    for path in SHIPPED.glob("*.html"):
        bare = re.sub(
            r'\{% block shape %\}wide|\{#.*?#\}|\{%.*?%\}|\{\{.*?\}\}|<[^>]*>| [a-z-]+="[^"]*"', "", path.read_text(), flags=re.S
        )
        assert not re.search(r"[^\W\d_]", bare), path.name


SHOWN = {"shop.example", EMAIL, REQUEST_ID, *Reason, *map(str, STATUSES)}
SHOWN |= {text for device in DEVICES for text in (device.country, device.network)}
NAMES = {
    EN: {"Firefox on Linux", "Safari on iPhone", "Chrome on Android"},
    FR: {"Firefox sur Linux", "Safari sur iPhone", "Chrome sur Android"},
}
MOMENT = {
    EN: re.compile(r"just now|\d+ (minute|hour|day)s? ago|on \d+ [A-Z][a-z][a-z] 20\d\d"),
    FR: re.compile(r"à l’instant|il y a \d+ (minute|heure|jour)s?|le \d+ [a-zéû]{3,5}\.? 20\d\d"),
}


def test_a_page_says_nothing_in_the_other_language() -> None:
    for language in Language:
        known = {text.to(language) for text in EVERY_TEXT} | NAMES[language] | SHOWN
        for name, page in every_page(pages(), language):
            read = Reader(page)
            aloud = [element.attributes[key] or "" for element in read.elements for key in SPOKEN if key in element.attributes]
            for text in (*read.texts, *aloud):
                for part in re.split(" · | – ", text.strip("()")):
                    assert part in known or MOMENT[language].fullmatch(part), (name, text)


SPOKEN = ("data-show", "data-hide", "data-ended", "data-failed", "aria-label", "placeholder", "alt")


def test_french_is_set_as_french_is_set() -> None:
    for text in EVERY_TEXT:
        assert "'" not in text.fr and '"' not in text.fr, text.fr
        assert not re.search(rf"[^{NBSP}][?!:;]", text.fr), text.fr


def test_english_is_set_with_typographic_apostrophes() -> None:
    for text in EVERY_TEXT:
        assert "'" not in text.en and '"' not in text.en, text.en


@pytest.mark.parametrize(
    ("field", "language"),
    [
        (None, EN),
        ("", EN),
        ("fr", FR),
        ("fr-CA", FR),
        ("FR-ca", FR),
        ("en-GB,en;q=0.9", EN),
        ("fr-CH, fr;q=0.9, en;q=0.8, de;q=0.7, *;q=0.5", FR),
        ("en;q=0.5, fr;q=0.6", FR),
        ("fr;q=0.5, en", EN),
        ("en, fr", EN),
        ("fr, en", FR),
        ("de, fr", FR),
        ("de-AT, it;q=0.8", EN),
        ("*", EN),
        ("en;q=0, *", FR),
        ("fr;q=0", EN),
        ("fr;q=0, en;q=0", EN),
        ("fr-CA;q=0, fr", FR),
        ("en;q=0.1, *;q=0.9", FR),
        ("fr ; q=0.3 , en ; q=0.2", FR),
        ("frx, fr_FR, fr;q=2, fr;level=1, ;;;, en", EN),
        (b"fr", FR),
        (b"\xff\xfe, fr", FR),
        ("x" * 10_000 + ",fr", EN),
    ],
)
def test_the_language_is_the_one_the_browser_prefers(field: str | bytes | None, language: Language) -> None:
    assert language_of(field) is language


@given(st.text(st.sampled_from("frenq=0.1;,-* \tx"), max_size=60) | st.binary(max_size=400))
def test_no_field_makes_the_choice_fail(field: str | bytes) -> None:
    assert language_of(field) in Language


DAY = 86400
NOW = 1_764_100_000.0


@pytest.mark.parametrize(
    ("past_s", "english", "french"),
    [
        (-90, "just now", "à l’instant"),
        (0, "just now", "à l’instant"),
        (59.9, "just now", "à l’instant"),
        (60, "1 minute ago", "il y a 1 minute"),
        (3599, "59 minutes ago", "il y a 59 minutes"),
        (3600, "1 hour ago", "il y a 1 heure"),
        (2 * 3600, "2 hours ago", "il y a 2 heures"),
        (DAY, "1 day ago", "il y a 1 jour"),
        (7 * DAY - 1, "6 days ago", "il y a 6 jours"),
        (7 * DAY, "on 18 Nov 2025", "le 18 nov. 2025"),
        (24 * DAY, "on 1 Nov 2025", "le 1er nov. 2025"),
    ],
)
def test_a_moment_is_said_as_people_say_it(past_s: float, english: str, french: str) -> None:
    assert when(NOW - past_s, NOW, EN) == english
    assert when(NOW - past_s, NOW, FR) == french


def test_a_moment_can_be_told_to_the_minute() -> None:
    assert exactly(NOW, EN) == "25 Nov 2025, 19:46 UTC"
    assert exactly(NOW, FR) == "25 nov. 2025, 19:46 UTC"


@pytest.mark.parametrize("at", [float("nan"), float("inf"), -1.0, 1e300])
def test_a_moment_that_cannot_be_does_not_break_a_page(at: float) -> None:
    for language in Language:
        assert when(at, NOW, language) and exactly(at, language) and date(at, language)
