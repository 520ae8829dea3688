"""TLS towards clients: how much more CPU does a request cost than in plain HTTP, on kept-alive connections?"""

import contextlib
import datetime
import ipaddress
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from bench.budgets import Verdict, at_most, taken_beside
from bench.loads import Options
from bench.loads.requests import Figures, measure_one, median_of
from bench.place import Place, Running
from bench.report import Report
from bench.systems import gateway, nginx

_OURS: Final = "this gateway"
_THEIRS: Final = "nginx, plain proxy"
_BUDGET_PERCENT: Final = 35.0


def measure(place: Place, options: Options) -> Report:
    """Plain and TLS in turn, for nginx and for this gateway."""
    certificate, key = _certificate(place.folder)
    rounds: dict[tuple[str, str], list[Figures]] = {}
    for _ in range(options.rounds):
        for name, scheme, start in _starts(place, certificate, key):
            with start as running:
                rounds.setdefault((name, scheme), []).append(measure_one(running, options, scheme=scheme))
    medians = {which: median_of(figures) for which, figures in rounds.items()}
    more = {
        name: (medians[name, "https"].cpu_us / medians[name, "http"].cpu_us - 1) * 100
        for name in dict.fromkeys(name for name, _ in medians)
    }
    return Report(
        title=f"TLS towards clients, {options.connections} kept-alive connections; {options.rounds} rounds, medians",
        columns=("system", "plain, µs CPU", "TLS, µs CPU", "more", "TLS, requests/s"),
        rows=tuple(
            (
                name,
                f"{medians[name, 'http'].cpu_us:.1f}",
                f"{medians[name, 'https'].cpu_us:.1f}",
                f"{percent:.0f} %",
                f"{medians[name, 'https'].requests_per_second:.0f}",
            )
            for name, percent in more.items()
        ),
        verdicts=_verdicts(medians, more),
        values={"more_percent": more},
    )


def _verdicts(medians: dict[tuple[str, str], Figures], more: dict[str, float]) -> tuple[Verdict, ...]:
    if _OURS not in more:
        return ()
    others = max(medians[_OURS, scheme].others_percent for scheme in ("http", "https"))
    return taken_beside(others, (at_most("more CPU with TLS", more[_OURS], _BUDGET_PERCENT, "%"),))


def _starts(place: Place, certificate: Path, key: Path) -> Iterator[tuple[str, str, AbstractContextManager[Running]]]:
    if nginx.missing() is None:
        directives = f"ssl_certificate {certificate}; ssl_certificate_key {key};"
        yield _THEIRS, "http", nginx.plain(place)
        yield _THEIRS, "https", nginx.plain(place, listen="ssl", server=directives)
    if gateway.missing() is None:
        yield _OURS, "http", _gateway(place, gateway.WITHOUT_TLS)
        yield _OURS, "https", _gateway(place, f"{{certificate: {certificate}, key: {key}}}")


@contextlib.contextmanager
def _gateway(place: Place, tls: str) -> Iterator[Running]:
    with gateway.ready(place, tls=tls) as ready:
        yield Running(ready.port, ready.process, ready.token.text)


def _certificate(folder: Path) -> tuple[Path, Path]:
    """A self-signed P-256 certificate for 127.0.0.1, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "bench")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    certificate_path, key_path = folder / "certificate.pem", folder / "key.pem"
    certificate_path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    key_path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    key_path.chmod(0o600)
    return certificate_path, key_path
