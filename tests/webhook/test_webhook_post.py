"""One POST to a receiver that does what it wants."""

import asyncio
from pathlib import Path

import pytest
from patience import PATIENCE_S
from proxy.certificates import Certificate, authority, issued, self_signed
from webhook.receiving import CLOSE, HANG, Receiver

from gateway.webhook.post import TAKEN, Answer, Poster, judge, read_retry_after

NOW = 1_800_000_000.0


async def sent(receiver: Receiver, url: str = "", *, ca: Path | None = None, deadline_s: float = 10.0) -> Answer:
    poster = Poster(url or receiver.url, ca, deadline_s=deadline_s)
    try:
        return await poster.post({"webhook-id": "m-1"}, b'{"type":"replay"}', NOW)
    finally:
        await poster.close()


async def test_what_is_sent_is_one_post_of_json() -> None:
    async with Receiver() as receiver:
        assert await sent(receiver) == TAKEN
    (message,) = receiver.messages
    assert message.line == "POST /hooks?of=gateway HTTP/1.1"
    assert (message.body, message.id) == (b'{"type":"replay"}', "m-1")
    assert message.headers["content-type"] == "application/json"
    assert "cookie" not in message.headers
    assert "Python" not in message.headers["user-agent"]


async def test_messages_do_not_share_a_connection_that_may_be_closed_under_them() -> None:
    async with Receiver() as receiver:
        poster = Poster(receiver.url, None)
        for _ in range(3):
            assert await poster.post({"webhook-id": "m"}, b"{}", NOW) == TAKEN
        await poster.close()
    assert len(receiver.messages) == 3


async def test_a_receiver_that_refuses_the_connection_is_away() -> None:
    async with Receiver() as receiver:
        url = receiver.url
    answer = await sent(receiver, url)
    assert (answer.is_away, answer.is_final) == (True, False)
    assert answer.why


@pytest.mark.parametrize("how", [HANG, CLOSE])
async def test_a_receiver_that_hangs_or_closes_in_the_middle_is_away(how: str) -> None:
    async with Receiver(lambda message: how) as receiver:
        answer = await sent(receiver, deadline_s=0.2)
    assert (answer.is_away, answer.is_final, len(receiver.messages)) == (True, False, 1)


@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "307 Temporary Redirect", "308 Permanent Redirect"])
async def test_a_redirect_is_not_followed(status: str) -> None:
    async with Receiver() as elsewhere, Receiver(lambda message: f"{status}\r\nLocation: {elsewhere.url}") as receiver:
        answer = await sent(receiver)
    assert answer == Answer(f"it answered {status[:3]}")
    assert elsewhere.messages == []


async def test_a_cookie_is_not_kept_and_an_answer_without_an_end_not_read() -> None:
    async with Receiver(lambda message: "200 OK\r\nSet-Cookie: a=b\r\nContent-Encoding: gzip\r\nX: " + "x" * 4000) as receiver:
        poster = Poster(receiver.url, None)
        for _ in range(2):
            assert await poster.post({"webhook-id": "m"}, b"{}", NOW) == TAKEN
        await poster.close()
    assert all("cookie" not in message.headers for message in receiver.messages)


async def test_a_proxy_of_the_environment_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    async with Receiver() as receiver:
        assert await sent(receiver) == TAKEN


@pytest.mark.parametrize(
    ("certificate", "is_trusted"),
    [(issued(), True), (issued("other.example"), False), (issued(is_expired=True), False), (self_signed(), False)],
    ids=["issued", "for another name", "expired", "self-signed"],
)
async def test_a_certificate_is_verified(tmp_path: Path, certificate: Certificate, is_trusted: bool) -> None:
    ca = authority().written(tmp_path, "authority")[0]
    async with Receiver(context=certificate.server_context(tmp_path)) as receiver:
        answer = await sent(receiver, ca=ca)
        assert (await sent(receiver)).is_away, "the system does not know this authority"
    assert (answer == TAKEN) is is_trusted
    assert len(receiver.messages) == int(is_trusted)


async def test_authorities_that_cannot_be_read_are_told(tmp_path: Path) -> None:
    async with Receiver() as receiver:
        answer = await sent(receiver, ca=tmp_path / "nowhere.pem")
    assert "FileNotFoundError" in answer.why


@pytest.mark.parametrize(
    ("status", "is_taken", "is_away", "is_final"),
    [
        (200, True, False, False),
        (202, True, False, False),
        (204, True, False, False),
        (304, False, False, False),
        (400, False, False, False),
        (401, False, False, False),
        (404, False, False, False),
        (408, False, True, False),
        (410, False, False, True),
        (425, False, True, False),
        (429, False, True, False),
        (500, False, False, False),
        (502, False, True, False),
        (503, False, True, False),
        (504, False, True, False),
    ],
)
def test_what_a_status_says(status: int, is_taken: bool, is_away: bool, is_final: bool) -> None:
    answer = judge(status, "", NOW)
    assert (not answer.why, answer.is_away, answer.is_final) == (is_taken, is_away, is_final)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("120", 120),
        ("0", 0),
        ("", 0),
        ("-5", 0),
        ("1.5", 0),
        ("soon", 0),
        ("٣", 0),
        ("9" * 40, 0),
        ("Fri, 15 Jan 2027 08:00:30 GMT", 30),
        ("Fri, 15 Jan 2027 07:00:00 GMT", 0),
        ("Fri, 99 Jan 2027 08:00:30 GMT", 0),
    ],
)
def test_what_retry_after_says(text: str, seconds: float) -> None:
    assert read_retry_after(text, NOW) == seconds


async def test_it_can_be_ended_in_the_middle() -> None:
    async with Receiver(lambda message: HANG) as receiver:
        poster = Poster(receiver.url, None)
        attempt = asyncio.create_task(poster.post({"webhook-id": "m"}, b"{}", NOW))
        async with asyncio.timeout(PATIENCE_S):
            while not receiver.messages:
                await asyncio.sleep(0.005)
        attempt.cancel()
        await asyncio.gather(attempt, return_exceptions=True)
        await poster.close()
    assert attempt.cancelled()
