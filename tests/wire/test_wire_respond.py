"""What the gateway itself says: the same word to programs and to people, and nothing of the request in it."""

import json
import re

import pytest

from gateway.reasons import REFUSALS, Reason
from gateway.wire.fields import RoleMemory
from gateway.wire.head import HeadReader, RequestHead
from gateway.wire.respond import PROBLEM_TYPE, refusal, wants_page

REQUEST_ID = b"0af7651916cd43dd8448eb211c80319c"


def told(reason: Reason, **changes: object) -> tuple[int, dict[str, str], bytes]:
    """A refusal's status, fields by lower-case name, and body."""
    form = {"status": None, "request_id": REQUEST_ID, "detail": "", "page": False, "is_head": False, "close": False} | changes
    head, _, body = refusal(reason, **form).partition(b"\r\n\r\n")
    line, *lines = head.decode("ascii").split("\r\n")
    fields = dict(part.split(": ", 1) for part in lines)
    assert len(fields) == len(lines)
    return int(line.split(" ")[1]), {name.lower(): value for name, value in fields.items()}, body


def request(*lines: str) -> RequestHead:
    return HeadReader(RoleMemory(), 100, 8192).read("\r\n".join(["GET / HTTP/1.1", "Host: a", *lines, "", ""]).encode())


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


@pytest.mark.parametrize("page", [False, True])
@pytest.mark.parametrize("reason", Reason)
def test_each_refusal_says_its_word_its_length_and_that_it_is_not_to_be_kept(reason: Reason, page: bool) -> None:
    _, fields, body = told(reason, page=page)
    assert fields["x-gateway-reason"] == reason.value
    assert fields["x-request-id"] == REQUEST_ID.decode()
    assert fields["cache-control"] == "no-store"
    assert int(fields["content-length"]) == len(body)


@pytest.mark.parametrize("reason", Reason)
def test_each_refusal_is_a_page_for_people(reason: Reason) -> None:
    status, fields, body = told(reason, page=True)
    text = body.decode()
    assert fields["content-type"] == "text/html; charset=utf-8"
    assert "default-src 'none'" in fields["content-security-policy"]
    assert f"<h1>{REFUSALS[reason].title}</h1>" in text
    assert f"{status} · {reason.value} · {REQUEST_ID.decode()}" in text
    assert "{" not in re.sub(r"<style>.*</style>", "", text, flags=re.DOTALL)


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
    for page in (False, True):
        found, fields, _ = told(reason, status=status, page=page)
        assert found == status
        assert ("allow" in fields) == (status == 405)
    assert json.loads(told(reason, status=status)[2])["status"] == status


def test_a_detail_is_told_to_programs_only() -> None:
    assert json.loads(told(Reason.BAD_REQUEST, detail="the why")[2])["detail"] == "the why"
    assert b"the why" not in told(Reason.BAD_REQUEST, detail="the why", page=True)[2]


def test_the_answer_to_HEAD_is_the_same_head_without_the_body() -> None:
    whole, headless = (
        refusal(Reason.NO_ROUTE, status=None, request_id=REQUEST_ID, detail="", page=False, is_head=is_head, close=False)
        for is_head in (False, True)
    )
    assert whole.startswith(headless)
    assert headless.endswith(b"\r\n\r\n")


def test_the_end_of_the_connection_is_announced() -> None:
    assert told(Reason.NO_TOKEN, close=True)[1]["connection"] == "close"
    assert "connection" not in told(Reason.NO_TOKEN)[1]


@pytest.mark.parametrize(
    ("lines", "is_page"),
    [
        (["Sec-Fetch-Mode: navigate", "Accept: application/json"], True),
        (["Sec-Fetch-Mode: cors", "Accept: text/html"], False),
        (["Sec-Fetch-Mode: websocket"], False),
        (["Accept: text/html,application/xhtml+xml"], True),
        (["Accept: application/json"], False),
        (["Accept: */*"], False),
        ([], False),
    ],
)
def test_a_person_is_who_navigates(lines: list[str], is_page: bool) -> None:
    assert wants_page(request(*lines)) is is_page
