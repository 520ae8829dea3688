"""An issuer: one RSA key, its key set as a file, and tokens of about 630 bytes, the size numbers are quoted for.

The payload is what an identity provider typically sends: subject, session, roles, a jti.
"""

import json
import time
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm

ISSUER: Final = "https://idp.example/shop"
AUDIENCE: Final = "shop"
KEY_ID: Final = "bench"
USER: Final = "alice"
LIFETIME_S: Final = 3600


@dataclass(frozen=True, slots=True)
class Token:
    """A bearer token, and the names it can be revoked by."""

    text: str
    token_id: str
    session: str


class Issuer:
    """Signs tokens, and publishes its key as a file."""

    __slots__ = ("_key", "key_set_path")

    def __init__(self, folder: Path) -> None:
        self._key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        public = RSAAlgorithm.to_jwk(self._key.public_key(), as_dict=True)
        self.key_set_path = folder / "jwks.json"
        self.key_set_path.write_text(json.dumps({"keys": [{**public, "kid": KEY_ID, "alg": "RS256", "use": "sig"}]}))

    def mint(self, user: str = USER) -> Token:
        """A token valid from now, with a `jti` and a `sid` nobody else has."""
        now = int(time.time())
        token_id, session = uuid.uuid4().hex, uuid.uuid4().hex[:8]
        claims = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": user,
            "jti": token_id,
            "sid": session,
            "iat": now,
            "exp": now + LIFETIME_S,
            "roles": ["staff"],
        }
        text = jwt.encode(claims, self._key, algorithm="RS256", headers={"kid": KEY_ID})
        return Token(text, token_id, session)
