"""The same over TLS: framing does not change, an answer that breaks off still shows it, and nothing else is spoken there."""

import asyncio
import datetime
import ipaddress
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from attack_backend import ByteBackend
from attack_corpus import from_files
from attack_families import get, post
from attack_sending import CANARY, FRONT, answers, complaints
from backends import RecordingBackend, raw
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from data_plane import DataPlane, configuration, data_plane
from patience import PATIENCE_S

pytestmark = pytest.mark.asyncio(loop_scope="module")


def self_signed(folder: Path) -> dict[str, str]:
    """A certificate for 127.0.0.1 and its key, as `tls` names them in a configuration."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "gateway under test")])
    now = datetime.datetime.now(datetime.UTC)
    builder = x509.CertificateBuilder(
        name, name, key.public_key(), x509.random_serial_number(), now, now + datetime.timedelta(days=1)
    )
    builder = builder.add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False)
    builder = builder.add_extension(x509.BasicConstraints(True, None), True)
    (folder / "certificate.pem").write_bytes(builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    form = serialization.PrivateFormat.PKCS8
    secret = key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())
    (folder / "key.pem").write_bytes(secret)
    (folder / "key.pem").chmod(0o600)
    return {"certificate": "certificate.pem", "key": "key.pem"}


async def secured(port: int, folder: Path) -> AsyncIterator[DataPlane]:
    path = configuration(
        folder, f"http://127.0.0.1:{port}", tls=self_signed(folder), timeouts={"tls_handshake": "2s", "head": "2s"}
    )
    async with data_plane(path) as running:
        running.trust = ssl.create_default_context(cafile=str(folder / "certificate.pem"))
        yield running


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def tls_gateway(byte_backend: ByteBackend, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[DataPlane]:
    async for running in secured(byte_backend.port, tmp_path_factory.mktemp("tls")):
        yield running


@pytest.mark.parametrize("front", [b"", FRONT], ids=["fresh", "behind a good request"])
async def test_F01_to_F41_the_corpus_has_the_same_outcomes_over_tls(
    front: bytes, tls_gateway: DataPlane, byte_backend: ByteBackend
) -> None:
    cases = [case for case in from_files() if case.status >= 0]
    assert len(cases) > 150
    assert await complaints(tls_gateway, byte_backend, cases, front=front) == []


async def test_the_backend_is_told_that_it_was_https(tls_gateway: DataPlane, byte_backend: ByteBackend) -> None:
    byte_backend.taken()
    assert (await tls_gateway.ask(get(b"X-Forwarded-Proto: http"))).status == 200
    (request,) = byte_backend.taken()[1]
    assert request.values(b"x-forwarded-proto") == [b"https"]


async def test_F32_plain_http_on_the_tls_port_is_closed(tls_gateway: DataPlane, byte_backend: ByteBackend) -> None:
    byte_backend.taken()
    for data in (get(), CANARY * 100, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"\x16\x03\x01", b""):
        reader, writer = await asyncio.open_connection("127.0.0.1", tls_gateway.port)
        writer.write(data)
        try:
            got = await asyncio.wait_for(reader.read(), PATIENCE_S)
        except ConnectionError:
            got = b""
        assert b"HTTP/1.1" not in got
        writer.transport.abort()
    assert byte_backend.taken() == (b"", [])


async def test_only_http_1_1_is_offered(tls_gateway: DataPlane) -> None:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["h2", "http/1.1"])
    _, writer = await asyncio.open_connection("127.0.0.1", tls_gateway.port, ssl=context)
    assert writer.get_extra_info("ssl_object").selected_alpn_protocol() == "http/1.1"
    writer.transport.abort()


async def test_F29_pipelining_and_bodies_over_tls(tls_gateway: DataPlane, byte_backend: ByteBackend) -> None:
    byte_backend.taken()
    body = bytes(range(256)) * 4000
    client = await tls_gateway.connect()
    data = get() * 500 + post(b"Content-Length: %d" % len(body), body=body) + CANARY
    sending = asyncio.create_task(client.send(data))
    got = answers(await client.read_to_end())
    await sending
    assert [answer.status for answer in got] == [200] * 502
    assert byte_backend.taken()[1][500].body == body
    client.close()


@pytest.mark.parametrize("version", [b"HTTP/1.1", b"HTTP/1.0"])
async def test_X07_an_answer_that_is_cut_short_does_not_look_complete_over_tls(version: bytes, tmp_path: Path) -> None:
    async with RecordingBackend(raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")) as backend:
        async for gateway in secured(backend.port, tmp_path):
            client = await gateway.connect()
            await client.send(get(version=version))
            with pytest.raises((asyncio.IncompleteReadError, ConnectionError, ssl.SSLError)):
                await client.read_reply()
            client.close()
