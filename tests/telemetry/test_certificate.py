"""Until when a certificate file is good."""

import logging
from pathlib import Path

import pytest
from proxy.certificates import Certificate, authority, issued

from gateway.telemetry.certificate import expiry_of


@pytest.mark.parametrize("certificate", [issued(), issued(is_expired=True)], ids=["good", "expired"])
def test_it_is_the_first_one_of_the_chain(tmp_path: Path, certificate: Certificate) -> None:
    chain = tmp_path / "chain.pem"
    chain.write_bytes(certificate.key_pem + certificate.pem + authority().pem)
    assert expiry_of(chain) == certificate.certificate.not_valid_after_utc.timestamp()


@pytest.mark.parametrize("content", [None, b"", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"])
def test_what_cannot_be_read_is_told_and_not_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, content: bytes | None
) -> None:
    chain = tmp_path / "chain.pem"
    if content is not None:
        chain.write_bytes(content)
    with caplog.at_level(logging.WARNING):
        assert expiry_of(chain) == 0.0
    assert len(caplog.messages) == 1
