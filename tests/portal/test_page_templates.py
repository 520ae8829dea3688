"""An operator's folder of templates: it overrides file by file, may extend what it overrides, and cannot break a page."""

from pathlib import Path

import pytest
from every_page import DEVICES, EMAIL, NOW, REQUEST_ID, Reader, every_page, pages

from gateway.portal.language import Language
from gateway.portal.pages import Page, problems_of
from gateway.reasons import Reason

EN = Language.EN


def refusal(folder: Path, problems: list[str] | None = None) -> Page:
    told = [] if problems is None else problems
    return pages(templates=folder, on_problem=told.append).refusal(EN, Reason.NO_TOKEN, REQUEST_ID)


def ours() -> Page:
    return pages().refusal(EN, Reason.NO_TOKEN, REQUEST_ID)


def test_an_empty_folder_changes_nothing(tmp_path: Path) -> None:
    nonce = {"new_nonce": lambda: "nonce"}
    for language in Language:
        assert list(every_page(pages(templates=tmp_path, **nonce), language)) == list(every_page(pages(**nonce), language))
    assert problems_of(tmp_path) == []


def test_one_page_is_overridden_and_the_others_stay(tmp_path: Path) -> None:
    (tmp_path / "refusal.html").write_text("<!doctype html><p>{{ title }} {{ reason }} {{ request_id }}</p>")
    made = pages(templates=tmp_path)
    assert made.refusal(EN, Reason.NO_TOKEN, "id").body == b"<!doctype html><p>Please sign in no-token id</p>"
    assert made.login(EN).body.startswith(b"<!doctype html>\n<html lang")


def test_a_page_may_extend_the_one_it_overrides(tmp_path: Path) -> None:
    (tmp_path / "base.html").write_text(
        '{% extends "gateway/base.html" %}{% block who %}'
        '<a href="/help">{{ {"en": "Help", "fr": "Aide"}[language] }}</a>{% endblock %}'
    )
    read = Reader(refusal(tmp_path))
    assert read.all("a")[0].text == "Help"
    assert read.skeleton != Reader(ours()).skeleton


def test_the_colours_are_a_file_of_their_own(tmp_path: Path) -> None:
    (tmp_path / "theme.css").write_text(":root { --accent: rebeccapurple } /* {# not a template {{ }} */")
    page = refusal(tmp_path)
    assert b"rebeccapurple" in page.body and b"{# not a template {{ }}" in page.body and b"#0d655a;" not in page.body
    assert problems_of(tmp_path) == []


def test_blocks_of_an_overridden_refusal_are_allowed_too(tmp_path: Path) -> None:
    (tmp_path / "refusal.html").write_text('<!doctype html><style>p { color: red }</style><p>{{ title }}</p><script>"x"</script>')
    policy = refusal(tmp_path).headers["Content-Security-Policy"]
    assert "style-src 'sha256-ngewhhP73WDIbgwseeu52VAAJgKdGUsu1IUQQsAm8m4='" in policy  # openssl dgst -sha256 -binary | base64
    assert "script-src 'sha256-" in policy


@pytest.mark.parametrize(
    ("template", "problem"),
    [
        ("<p>{{ no_such_value }}</p>", "refusal.html:1: UndefinedError: 'no_such_value' is undefined"),
        ("<p>\n{% if %}</p>", "refusal.html:2: TemplateSyntaxError: "),
        ("<p>\n\n{{ t('no-such-text') }}</p>", "refusal.html:3: KeyError: 'no-such-text'"),
        ("{% include 'no-such-file.html' %}", "refusal.html:1: TemplateNotFound: "),
        ("{{ 1 // 0 }}", "refusal.html:1: ZeroDivisionError: "),
        ("{% include 'refusal.html' %}", "RecursionError: "),
        ("{{ file('/etc/passwd') }}", "refusal.html:1: TemplateNotFound: "),
        ("{{ file('../secret') }}", "refusal.html:1: TemplateNotFound: "),
    ],
)
def test_a_template_that_fails_gives_way_to_ours_and_the_operator_is_told_once(
    tmp_path: Path, template: str, problem: str
) -> None:
    (tmp_path / "refusal.html").write_text(template)
    problems: list[str] = []
    made = pages(templates=tmp_path, on_problem=problems.append)
    for _ in range(3):
        assert made.refusal(EN, Reason.NO_TOKEN, REQUEST_ID) == ours()
    (told,) = problems
    assert problem in told and (told.startswith(str(tmp_path)) or "Recursion" in told)
    assert problem in problems_of(tmp_path)[0]


def test_a_file_that_is_not_text_gives_way_to_ours(tmp_path: Path) -> None:
    (tmp_path / "base.html").write_bytes(b"\xff\xfe\x00")
    problems: list[str] = []
    assert refusal(tmp_path, problems) == ours()
    assert len(problems) == 1


def test_a_template_that_fails_for_some_values_only_is_found_beforehand(tmp_path: Path) -> None:
    (tmp_path / "devices.html").write_text("{% for device in devices %}{{ device.colour }}{% endfor %}")
    assert "devices.html:1: UndefinedError" in problems_of(tmp_path)[0]
    made = pages(templates=tmp_path)
    assert b"<h1" not in made.devices(EN, user=EMAIL, devices=[], now=NOW).body
    assert b"<h1" in made.devices(EN, user=EMAIL, devices=DEVICES, now=NOW).body


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    assert problems_of(tmp_path / "nowhere") == [f"{tmp_path}/nowhere: is not a folder"]
    assert refusal(tmp_path / "nowhere") == ours()


def test_what_the_operator_is_told_has_an_end(tmp_path: Path) -> None:
    (tmp_path / "login.html").write_text("{{ {}[email] }}{{ nothing[email] }}")
    problems: list[str] = []
    made = pages(templates=tmp_path, on_problem=problems.append)
    for number in range(100):
        made.login(EN, email=str(number))
    assert len(problems) <= 20
