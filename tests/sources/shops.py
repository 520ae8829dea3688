"""A gateway that people sign in at, in front of the old application, and what tests call its visitors.

`Shop` is a process of its own with two workers; its configuration is the product's defaults but for the address, an open
registration, an assertion for the application, and a proxy on loopback that is believed (a test says by `X-Forwarded-For` from
where a browser comes).
"""

import datetime
import ipaddress
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from live.running_gateway import CALM_STORE, RunningGateway
from old_shop import OldShop
from patience import PATIENCE_S
from ports import free_port
from visitor import PASSWORD, Visitor

ROUTES: list[dict[str, Any]] = [
    {"name": "public", "path": "/public/", "access": "public", "upstream": "app"},
    {"name": "staff", "path": "/staff/", "groups": ["staff"], "upstream": "app"},
    {"name": "once", "path": "/once/", "token_use": "once", "upstream": "app"},
    {"name": "bearer", "path": "/bearer/", "forward_token": "authorization", "upstream": "app"},
    {"name": "x-access-token", "path": "/x-access-token/", "forward_token": "x-access-token", "upstream": "app"},
    {"name": "app", "path": "/", "upstream": "app"},
]


class Shop(RunningGateway):
    """A gateway that people sign in at. `url` is the address that they type."""

    def __init__(self, folder: Path, old: OldShop, **settings: Any) -> None:
        port = free_port()
        scheme = "https" if settings.get("tls") else "http"
        defaults: dict[str, Any] = {
            "listen": f"127.0.0.1:{port}",
            "public_url": f"{scheme}://127.0.0.1:{port}",
            "cookies": {"secure": scheme == "https"},
            "accounts": {"database": "sqlite+aiosqlite:///accounts.db", "registration": "open"},
            "trusted_proxies": ["127.0.0.0/8"],
            "issuers": [],
            "identity": {"assertion": "X-Gateway-Assertion"},
            "store": CALM_STORE,
        }
        routes = settings.pop("routes", ROUTES)
        upstreams = {"app": old.url, **settings.pop("upstreams", {})}
        super().__init__(folder, upstreams, routes, **(defaults | settings))
        self._client = httpx.Client(
            timeout=PATIENCE_S, trust_env=False, verify=False, limits=httpx.Limits(max_keepalive_connections=0)
        )
        self.old = old
        self.elsewhere = f"http://localhost:{old.port}"  # another site: its name differs
        self.public_url = str((defaults | settings)["public_url"])

    def _announced(self) -> str:
        """Its own address: the one it announces when it is plain HTTP."""
        said = [message["message"] for message in self.messages()[self._said :]]
        return self.public_url if any(line.startswith("Listening on ") for line in said) else ""

    def ask(self, path: str, token: str | None = None, method: str = "GET", **options: Any) -> httpx.Response:
        """One request on a connection of its own, with no cookies but those that are passed."""
        self._client.cookies.clear()
        return super().ask(path, token, method, **options)

    def register(self, email: str, password: str = PASSWORD) -> None:
        """An account, without a browser."""
        answer = self.ask("/auth/register", method="POST", json={"email": email, "password": password})
        assert answer.status_code == 201, answer.text

    def login(self, email: str, password: str = PASSWORD, **more: str) -> dict[str, Any]:
        """A login of a program: the answer's document and the cookies it sets."""
        answer = self.ask("/auth/login", method="POST", json={"email": email, "password": password, **more})
        assert answer.status_code == 200, answer.text
        self.shown += answer.cookies.values()
        return {**answer.json(), "cookies": dict(answer.cookies)}


StartShop = Callable[..., Shop]
Visit = Callable[..., Awaitable[Visitor]]


def started(folder: Path, old: OldShop, **settings: Any) -> Iterator[Shop]:
    """One that runs; when it has ended no output may hold a token [O04]."""
    shop = Shop(folder, old, **settings)
    try:
        if "store" in settings:  # one that is not the gateway's own has to be declared
            shop.write()
            assert shop.command("store init").returncode == 0
        yield shop.start()  # type: ignore[misc]
    finally:
        shop.stop()
    assert not shop.leaks()


def self_signed(folder: Path) -> dict[str, str]:
    """A certificate for 127.0.0.1 and its key, as `tls` names them in a configuration."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "the shop")])
    now = datetime.datetime.now(datetime.UTC)
    builder = x509.CertificateBuilder(
        name, name, key.public_key(), x509.random_serial_number(), now, now + datetime.timedelta(days=1)
    )
    builder = builder.add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False)
    (folder / "certificate.pem").write_bytes(builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    form = serialization.PrivateFormat.PKCS8
    (folder / "key.pem").write_bytes(key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()))
    (folder / "key.pem").chmod(0o600)
    return {"certificate": "certificate.pem", "key": "key.pem"}
