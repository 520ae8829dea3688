"""Which facts of the revocation log speak of a token, and what they say.

A fact is found by a digest of what it names. Each can be revoked for one issuer or, under the issuer "", for all: so a
token has up to fifteen digests. They are computed once, when the token is verified.

A token of ours is judged by its version and not by `iat`: a login in the second of a revocation must not fail [T2].
"""

from collections.abc import Iterator

from gateway.enforce.verified import Verified
from gateway.reasons import Reason
from gateway.revocation.entry import Kind, fact_key
from gateway.revocation.view import View

# In the order of judgement (`reasons.py`). The key comes before time: a token of a retired key is told so even when expired.
_REASONS = {
    Kind.KEY: Reason.RETIRED_KEY,
    Kind.TOKEN: Reason.REVOKED_TOKEN,
    Kind.VERSION: Reason.OLD_VERSION,
    Kind.USER: Reason.OLD_VERSION,
    Kind.SESSION: Reason.REVOKED_SESSION,
    Kind.BLOCK: Reason.BLOCKED_USER,
}
_ORDER = {kind: position for position, kind in enumerate(_REASONS)}


def fact_keys(token: Verified) -> tuple[tuple[Kind, bytes], ...]:
    """The digests under which this token could be revoked, in the order of judgement."""
    facts: list[tuple[Kind, tuple[str, ...]]] = [
        (Kind.KEY, (token.key_id,)),
        (Kind.KEY, (token.key_id, token.thumbprint)),
        (Kind.BLOCK, (token.user,)),
    ]
    if token.own is None:
        facts.append((Kind.USER, (token.user,)))
        facts.append((Kind.USER, ()))  # everybody: what the facts about tokens fold into when the replica is full [L9]
    if token.version is not None:
        # An account of ours is known by its subject, which is never reused: a name may be, after an erasure [T1].
        facts.append((Kind.VERSION, (token.user if token.own is None else token.subject,)))
    if token.session is not None:
        facts.append((Kind.SESSION, (token.session,)))
    keys = [(kind, fact_key(kind, issuer, *names)) for issuer in (token.issuer, "") for kind, names in facts]
    if token.token_id is not None:
        keys.append((Kind.TOKEN, fact_key(Kind.TOKEN, token.issuer, token.token_id)))
    return tuple(sorted(keys, key=lambda entry: _ORDER[entry[0]]))


def first_fact(token: Verified, view: View, skew_s: float) -> tuple[Reason, Kind, int] | None:
    """The first fact that refuses the token: its reason, its kind, its value (see `revocation/entry.py`). None: not revoked."""
    find = view.find
    for kind, key in token.fact_keys:
        value = find(key)
        if value and _refuses(kind, value, token, skew_s):
            return _REASONS[kind], kind, value
    return None


def every_fact(token: Verified, view: View, skew_s: float) -> Iterator[tuple[Reason, Kind, int]]:
    """The same for every fact that refuses it."""
    for kind, key in token.fact_keys:
        value = view.find(key)
        if value and _refuses(kind, value, token, skew_s):
            yield _REASONS[kind], kind, value


def _refuses(kind: Kind, value: int, token: Verified, skew_s: float) -> bool:
    if kind is Kind.USER:
        return token.issued_at <= value + skew_s  # [T2] the second of the revocation included: `iat` counts whole seconds
    if kind is Kind.VERSION:
        return token.version is not None and token.version < value
    return True
