"""What makes a message ours: the headers of Standard Webhooks 1.0 (https://www.standardwebhooks.com). Pure.

webhook-id          the same for every attempt: whoever has seen it has the message
webhook-timestamp   of this attempt, so that nobody can show it again next week
webhook-signature   v1,<base64 of HMAC-SHA256(secret, "id.timestamp.body")>, one for each secret
"""

import hmac
from base64 import b64decode, b64encode
from collections.abc import Sequence
from typing import Final

_PREFIX: Final = "whsec_"


def signed(secrets: Sequence[str], message_id: str, timestamp: int, body: bytes) -> dict[str, str]:
    """The three headers. `message_id` holds no full stop: it would let bytes of one part pass for another's."""
    assert "." not in message_id
    content = f"{message_id}.{timestamp}.".encode() + body
    signatures = (b64encode(hmac.digest(key_of(secret), content, "sha256")).decode() for secret in secrets)
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(f"v1,{signature}" for signature in signatures),
    }


def key_of(secret: str) -> bytes:
    """The bytes that a secret of the configuration stands for."""
    return b64decode(secret.removeprefix(_PREFIX))
