"""Signed as Standard Webhooks 1.0 says."""

import pytest
from webhook.receiving import OLDER, SECRET, Message

from gateway.webhook.signature import key_of, signed


def test_the_example_that_the_standards_own_libraries_are_tested_with() -> None:
    headers = signed(
        ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"], "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}'
    )
    assert headers == {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }


def test_with_two_secrets_whoever_knows_one_of_them_can_verify() -> None:
    message = Message("", signed([SECRET, OLDER], "id", 1, b"{}"), b"{}", 0.0)
    assert message.is_signed_with(SECRET)
    assert message.is_signed_with(OLDER)
    assert not message.is_signed_with("whsec_AAAA")


def test_a_secret_is_its_bytes() -> None:
    assert key_of(SECRET) == bytes(range(32))


def test_an_id_that_could_pass_for_more_is_a_defect_of_ours() -> None:
    with pytest.raises(AssertionError):
        signed([SECRET], "1.2", 1, b"{}")
