"""What the gateway itself says: the same word to programs and to people, and nothing of the request in it."""

import json
from typing import Any

import pytest

from gateway.portal.language import Language
from gateway.portal.pages import Pages
from gateway.reasons import REFUSALS, Reason
from gateway.wire.respond import PROBLEM_TYPE, Form, Page, Refusals, to_login

REQUEST_ID = b"0af7651916cd43dd8448eb211c80319c"
PAGES = Pages("shop.example")
REFUSED = Refusals(
    lambda reason, status, language, request_id: Page(*PAGES.refusal(Language(language), reason, request_id, status))
)


def told(reason: Reason, **changes: Any) -> tuple[int, dict[str, str], bytes]:
    """A refusal's status, fields by lower-case name, and body."""
    head, _, body = REFUSED.answer(Form(reason, **changes), REQUEST_ID).partition(b"\r\n\r\n")
    line, *lines = head.decode("ascii").split("\r\n")
    fields = dict(part.split(": ", 1) for part in lines)
    assert len(fields) == len(lines)
    return int(line.split(" ")[1]), {name.lower(): value for name, value in fields.items()}, body


@pytest.mark.parametrize("reason", Reason)
def test_each_refusal_is_a_problem_for_programs(reason: Reason) -> None:
    status, fields, body = told(reason)
    assert status == REFUSALS[reason].status
    assert fields["content-type"] == "application/problem+json"
    assert json.loads(body) == {
        "type": PROBLEM_TYPE + reason.value,
        "title": REFUSALS[reason].title,
        "status": status,
        "reason": reason.value,
        "request_id": REQUEST_ID.decode(),
    }


@pytest.mark.parametrize("language", ["", "en", "fr"])
@pytest.mark.parametrize("reason", Reason)
def test_each_refusal_says_its_word_its_length_and_that_it_is_not_to_be_kept(reason: Reason, language: str) -> None:
    _, fields, body = told(reason, language=language)
    assert fields["x-gateway-reason"] == reason.value
    assert fields["x-request-id"] == REQUEST_ID.decode()
    assert fields["cache-control"] == "no-store"
    assert int(fields["content-length"]) == len(body)


@pytest.mark.parametrize("reason", Reason)
def test_each_refusal_is_a_page_for_people(reason: Reason) -> None:
    status, fields, body = told(reason, language="fr")
    text = body.decode()
    assert fields["content-type"] == "text/html; charset=utf-8"
    assert fields["content-language"] == "fr"
    assert "default-src 'none'" in fields["content-security-policy"]
    assert str(status) in text and reason.value in text and text.count(REQUEST_ID.decode()) == 1
    assert "\x7f" not in text


@pytest.mark.parametrize("reason", [reason for reason in Reason if REFUSALS[reason].status == 401])
def test_a_401_names_the_scheme_and_an_error_unless_no_token_was_shown(reason: Reason) -> None:
    challenge = told(reason)[1]["www-authenticate"]
    assert challenge.startswith('Bearer realm="gateway"')
    if reason is Reason.NO_TOKEN:
        assert "error" not in challenge
    else:
        assert f'error="invalid_token", error_description="{REFUSALS[reason].title}"' in challenge


def test_a_403_for_missing_groups_says_insufficient_scope_and_a_blocked_user_is_not_asked_to_sign_in() -> None:
    assert 'error="insufficient_scope"' in told(Reason.FORBIDDEN)[1]["www-authenticate"]
    assert "www-authenticate" not in told(Reason.BLOCKED_USER)[1]


def test_only_an_outage_of_the_store_says_when_to_come_back() -> None:
    assert int(told(Reason.STORE_UNAVAILABLE)[1]["retry-after"]) > 0
    assert [reason for reason in Reason if "retry-after" in told(reason)[1]] == [Reason.STORE_UNAVAILABLE]


@pytest.mark.parametrize(("status", "reason"), [(405, Reason.BAD_REQUEST), (413, Reason.TOO_LARGE), (414, Reason.TOO_LARGE)])
def test_a_status_may_be_closer_than_the_reasons_own(status: int, reason: Reason) -> None:
    for language in ("", "en"):
        found, fields, _ = told(reason, status=status, language=language)
        assert found == status
        assert ("allow" in fields) == (status == 405)
    assert json.loads(told(reason, status=status)[2])["status"] == status


def test_a_detail_is_told_to_programs_only() -> None:
    assert json.loads(told(Reason.BAD_REQUEST, detail="the why")[2])["detail"] == "the why"
    assert b"the why" not in told(Reason.BAD_REQUEST, detail="the why", language="en")[2]


def test_the_answer_to_HEAD_is_the_same_head_without_the_body() -> None:
    whole, headless = (REFUSED.answer(Form(Reason.NO_ROUTE, is_head=is_head), REQUEST_ID) for is_head in (False, True))
    assert whole.startswith(headless)
    assert headless.endswith(b"\r\n\r\n")


def test_the_end_of_the_connection_is_announced() -> None:
    assert told(Reason.NO_TOKEN, close=True)[1]["connection"] == "close"
    assert "connection" not in told(Reason.NO_TOKEN)[1]


def test_R4_cookies_stand_among_the_fields_of_one_answer_and_are_not_kept_for_the_next() -> None:
    form = Form(Reason.FORBIDDEN)
    with_cookies = REFUSED.answer(form, REQUEST_ID, b"Set-Cookie: a=b\r\n")
    assert with_cookies.startswith(b"HTTP/1.1 403 Forbidden\r\nSet-Cookie: a=b\r\n")
    assert with_cookies.replace(b"Set-Cookie: a=b\r\n", b"") == REFUSED.answer(form, REQUEST_ID)


@pytest.mark.parametrize("request_id", [b"a", b"0123456789", b"~.~"])
def test_every_request_id_finds_its_place(request_id: bytes) -> None:
    for language in ("", "en"):
        answer = REFUSED.answer(Form(Reason.NO_TOKEN, language=language), request_id)
        assert b"X-Request-Id: " + request_id + b"\r\n" in answer
        assert b"\x7f" not in answer


def test_C3_the_way_to_the_login_is_built_from_the_configuration_and_leads_back() -> None:
    answer = to_login(
        "https://shop.example/auth/login", b"/a/%C3%A9", b"?x=1&y=/b", Reason.NO_TOKEN, REQUEST_ID, cookies=b"", close=False
    )
    assert answer.startswith(b"HTTP/1.1 303 See Other\r\n")
    assert b"Location: https://shop.example/auth/login?return_to=%2Fa%2F%25C3%25A9%3Fx%3D1%26y%3D%2Fb\r\n" in answer
    assert b"X-Gateway-Reason: no-token\r\n" in answer and b"Cache-Control: no-store\r\n" in answer
