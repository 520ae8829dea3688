"""The demo's identity provider: two RSA keys made at start, a key set file, and tokens for whoever is named.

One of the keys is called `leaked`: somebody else has it too. `MintingDesk` lets a person with curl sign in again:

    GET /USER/SESSION          Authorization: Bearer eyJ…

There is no password, and it listens on loopback for as long as the demo runs.
"""

import json
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from pathlib import Path
from threading import Thread
from typing import Any, Final

import jwt
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from jwt.algorithms import RSAAlgorithm

NAME: Final = "https://idp.example"
AUDIENCE: Final = "demo"
LIFETIME_S: Final = 8 * 3600
GOOD_KEY: Final = "good"
LEAKED_KEY: Final = "leaked"


class Issuer:
    """Per process: the private keys, and a number for each token."""

    def __init__(self) -> None:
        self._keys = {name: generate_private_key(65537, 2048) for name in (GOOD_KEY, LEAKED_KEY)}
        self._serial = count(1)

    def write_key_set(self, path: Path) -> None:
        """Publish the public halves."""
        path.write_text(json.dumps({"keys": [_public(name, key) for name, key in self._keys.items()]}))

    def token(self, user: str, session: str, key: str = GOOD_KEY) -> str:
        """A token of the user, valid from now. Its id is the session's name and a number: `phone-1`."""
        now = int(time.time())
        claims = {
            "iss": NAME,
            "aud": AUDIENCE,
            "sub": user,
            "sid": session,
            "jti": f"{session}-{next(self._serial)}",
            "iat": now,
            "exp": now + LIFETIME_S,
        }
        return jwt.encode(claims, self._keys[key], "RS256", {"kid": key, "typ": "at+jwt"})


class MintingDesk:
    """Mints over HTTP on a free loopback port, in a thread, until the process ends."""

    def __init__(self, issuer: Issuer) -> None:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                user, _, session = self.path.strip("/").partition("/")
                body = f"Authorization: Bearer {issuer.token(user or 'alice', session or 'phone')}\n".encode()
                self.send_response(200)
                self.send_header("Content-Type", "text/plain")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:
                """Nothing: a line would hold a name that somebody typed."""

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{server.server_port}"
        Thread(target=server.serve_forever, daemon=True).start()


def token_id(token: str) -> str:
    """The `jti` of a token of ours."""
    return str(jwt.decode(token, options={"verify_signature": False})["jti"])


def _public(name: str, key: RSAPrivateKey) -> dict[str, Any]:
    members: dict[str, Any] = RSAAlgorithm.to_jwk(key.public_key(), as_dict=True)
    members.pop("key_ops", None)
    return members | {"kid": name, "use": "sig", "alg": "RS256"}
