"""Certificates for tests: an authority of one's own, and servers that it vouches for, or does not."""

import datetime
import ssl
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

NOW = datetime.datetime.now(datetime.UTC)
DAY = datetime.timedelta(days=1)


@dataclass(frozen=True)
class Certificate:
    """A certificate and its private key, as PEM."""

    pem: bytes
    key_pem: bytes
    certificate: Any
    key: Any

    def written(self, folder: Path, name: str) -> tuple[Path, Path]:
        """The files of the certificate and of the key."""
        certificate, key = folder / f"{name}.pem", folder / f"{name}.key"
        certificate.write_bytes(self.pem)
        key.write_bytes(self.key_pem)
        key.chmod(0o600)
        return certificate, key

    def server_context(self, folder: Path) -> ssl.SSLContext:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(*self.written(folder, f"server-{self.certificate.serial_number}"))
        return context


def _issue(name: str, *, issuer: Certificate | None, is_authority: bool, until: datetime.datetime) -> Certificate:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    signer = issuer.key if issuer else key
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.certificate.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(until - 30 * DAY)
        .not_valid_after(until)
        .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([_named(name)]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
    )
    certificate = builder.sign(signer, hashes.SHA256())
    return Certificate(
        certificate.public_bytes(serialization.Encoding.PEM),
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()),
        certificate,
        key,
    )


def _named(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)


@lru_cache
def authority() -> Certificate:
    return _issue("Test Authority", issuer=None, is_authority=True, until=NOW + DAY)


@lru_cache
def issued(name: str = "localhost", *, is_expired: bool = False) -> Certificate:
    """A server's certificate that the authority signed, for a host name or an address."""
    return _issue(name, issuer=authority(), is_authority=False, until=NOW - DAY if is_expired else NOW + DAY)


@lru_cache
def self_signed(name: str = "localhost") -> Certificate:
    return _issue(name, issuer=None, is_authority=False, until=NOW + DAY)
