"""The ring: our own signing keys, each in one state, and the only ways from one state to the next [T4, L7].

    next ──promoted──▶ signing ──succeeded──▶ retiring ──expired──▶ gone
      │                   │                      │                   ▲
      │               condemned                  └─────retired───────┤
      │                   ▼                                          │
      │               condemned ──succeeded──────────────────────────┤
      └───retired────────────────────────────────────────────────────┘

    next        published and verified with, so that everybody has it before the first token it signs
    signing     signs; there is at most one
    condemned   signs still, because nobody else does, and is gone the moment its successor signs
    retiring    signs nothing new; what it signed is good until it expires
    gone        its private half is erased. It goes on verifying: whatever it signed is refused by the log's fact about the
                key, under the name `retired-key`. Without that a leaked key's tokens would only be `unknown-key`

No way leads from signing to gone at once: the last signing key is not retired before its successor signs [L7].

`SigningKey` and `Ring` are immutable; each change makes another ring. Nothing here waits, reads a clock or writes. Storing is
in `seal.py` and `keys/store.py`, the order of the steps in `keys/rotation.py`.
"""

import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from gateway.tokens import base64url
from gateway.tokens.jwk import Key, KeySet, read_key
from gateway.tokens.material import SYMMETRIC, as_jwk, generate, public_half

KEY_SET_MAX_AGE_S: Final = 300
"""How long others may keep `/.well-known/jwks.json`. So long the schedule lets a key be published before it signs."""

KEY_SET_HEADERS: Final = MappingProxyType(
    {"Content-Type": "application/jwk-set+json", "Cache-Control": f"public, max-age={KEY_SET_MAX_AGE_S}"}
)

_KID_BYTES: Final = 9


class State(StrEnum):
    """What a key does."""

    NEXT = "next"
    SIGNING = "signing"
    CONDEMNED = "condemned"
    RETIRING = "retiring"
    GONE = "gone"


class Event(StrEnum):
    """What happens to a key."""

    PROMOTED = "promoted"
    SUCCEEDED = "succeeded"
    CONDEMNED = "condemned"
    EXPIRED = "expired"
    RETIRED = "retired"


TRANSITIONS: Final[Mapping[State, Mapping[Event, State]]] = {
    State.NEXT: {Event.PROMOTED: State.SIGNING, Event.RETIRED: State.GONE},
    State.SIGNING: {Event.SUCCEEDED: State.RETIRING, Event.CONDEMNED: State.CONDEMNED},
    State.CONDEMNED: {Event.SUCCEEDED: State.GONE, Event.CONDEMNED: State.CONDEMNED},
    State.RETIRING: {Event.EXPIRED: State.GONE, Event.RETIRED: State.GONE},
    State.GONE: {},
}
SIGNS: Final = (State.SIGNING, State.CONDEMNED)


@dataclass(frozen=True, slots=True)
class SigningKey:
    """One of our own keys. `created` and `since` (when it came into its state) are seconds since 1970 by the store's clock.

    `private` signs, and is None when the key is gone. `jwk` verifies; for HS256 it is the secret.
    """

    kid: str
    algorithm: str
    created: float
    state: State
    since: float
    verifier: Key
    jwk: Mapping[str, str] = field(compare=False, repr=False)
    private: Any = field(compare=False, repr=False)

    @property
    def thumbprint(self) -> str:
        """RFC 7638, SHA-256, base64url: what a fact about the key names beside its kid."""
        return self.verifier.thumbprint

    @property
    def signs(self) -> bool:
        """Whether new tokens are signed with it."""
        return self.state in SIGNS

    def after(self, event: Event, now: float) -> "SigningKey":
        """The key after `event`. Raises ValueError for an event that cannot happen to a key in its state."""
        state = TRANSITIONS[self.state].get(event)
        if state is None:
            raise ValueError(f"a key that is {self.state} cannot be {event}")
        if state is self.state:
            return self
        return replace(self, state=state, since=now, private=None if state is State.GONE else self.private)


class Change(NamedTuple):
    """What became of one key from one ring to another. None: it was not there, it is not there any more."""

    kid: str
    before: SigningKey | None
    after: SigningKey | None


@dataclass(frozen=True, slots=True)
class Ring:
    """All our keys at one time, oldest first. `revision` grows with every change in the store; 0: nothing is there yet."""

    revision: int = 0
    keys: tuple[SigningKey, ...] = ()

    @property
    def signing(self) -> SigningKey | None:
        """The key that signs new tokens, condemned or not."""
        return next((key for key in self.keys if key.signs), None)

    @property
    def next(self) -> SigningKey | None:
        """The key that will sign."""
        return next((key for key in self.keys if key.state is State.NEXT), None)

    @property
    def algorithms(self) -> frozenset[str]:
        """Those of all keys: after a change of algorithm the tokens of both are good."""
        return frozenset(key.algorithm for key in self.keys)

    def find(self, kid: str) -> SigningKey | None:
        """The key of that name."""
        return next((key for key in self.keys if key.kid == kid), None)

    def key_set(self) -> KeySet:
        """What our own tokens are verified with: every key, also one that is gone."""
        keys: dict[str | None, Key] = {key.kid: key.verifier for key in self.keys}
        return KeySet(MappingProxyType(keys))

    def published(self) -> dict[str, list[dict[str, str]]]:
        """The JWK Set for everybody (RFC 7517): public halves of what signs, will sign or did sign. Never a secret."""
        shown = (key for key in self.keys if key.state is not State.GONE and key.algorithm != SYMMETRIC)
        return {"keys": [dict(key.jwk) for key in shown]}

    def changes_since(self, before: "Ring") -> tuple[Change, ...]:
        """Key by key, what differs from `before`."""
        kids = dict.fromkeys(key.kid for key in (*before.keys, *self.keys))
        changes = (Change(kid, before.find(kid), self.find(kid)) for kid in kids)
        return tuple(change for change in changes if change.before != change.after)

    def with_next(self, key: SigningKey, now: float) -> "Ring":
        """`key` becomes the next one; a next one that is there already is retired."""
        if key.state is not State.NEXT or self.find(key.kid) is not None:
            raise ValueError(f"the key {key.kid} is not a new one")
        others = self._each(lambda old: old.after(Event.RETIRED, now) if old.state is State.NEXT else old)
        return replace(others, keys=(*others.keys, key))

    def promote(self, kid: str, now: float) -> "Ring":
        """The next key signs, and the one that did is succeeded. Only after a complete receipt for the next one [T4]."""
        return self._each(lambda key: _promoted(key, kid, now))

    def retire(self, kid: str, now: float) -> "Ring":
        """The key is refused from now on; the one that signs, as soon as its successor does. KeyError: there is none."""
        if self.find(kid) is None:
            raise KeyError(kid)
        return self._each(lambda key: _retired(key, now) if key.kid == kid else key)

    def retire_all(self, now: float) -> "Ring":
        """After a leak: every key as by `retire`."""
        return self._each(lambda key: _retired(key, now))

    def tidy(self, now: float, retiring_s: float, gone_s: float) -> "Ring":
        """Retiring keys whose last token has expired are gone; those that were gone for long are forgotten."""
        kept = tuple(key for key in self.keys if key.state is not State.GONE or now - key.since < gone_s)
        return replace(self, keys=kept)._each(lambda key: _expired(key, now, retiring_s))

    def _each(self, change: Callable[[SigningKey], SigningKey]) -> "Ring":
        return replace(self, keys=tuple(change(key) for key in self.keys))


def new_key(algorithm: str, now: float) -> SigningKey:
    """A key of our own that is to be the next one. NB: RS256 takes 50 to 500 ms; not on an event loop."""
    private = generate(algorithm)
    return signing_key(new_kid(), algorithm, now, State.NEXT, now, public_half(private), private)


def signing_key(
    kid: str, algorithm: str, created: float, state: State, since: float, public: Any, private: Any = None
) -> SigningKey:
    """A key put together from its material. Raises `KeySetError` for material that must not be trusted."""
    jwk = as_jwk(public) | {"kid": kid, "alg": algorithm, "use": "sig"}
    return SigningKey(kid, algorithm, created, state, since, read_key(jwk, algorithm), MappingProxyType(jwk), private)


def new_kid() -> str:
    """Twelve random characters, the first of them not a dash: a kid is also an argument of a command."""
    while (kid := base64url.encode(secrets.token_bytes(_KID_BYTES)).decode()).startswith("-"):
        pass
    return kid


def sorted_keys(keys: Sequence[SigningKey]) -> tuple[SigningKey, ...]:
    """In the ring's order."""
    return tuple(sorted(keys, key=lambda key: (key.created, key.kid)))


def _promoted(key: SigningKey, kid: str, now: float) -> SigningKey:
    if key.kid == kid:
        return key.after(Event.PROMOTED, now)
    return key.after(Event.SUCCEEDED, now) if key.signs else key


def _retired(key: SigningKey, now: float) -> SigningKey:
    if key.state is State.GONE:
        return key
    return key.after(Event.CONDEMNED if key.signs else Event.RETIRED, now)


def _expired(key: SigningKey, now: float, retiring_s: float) -> SigningKey:
    is_over = key.state is State.RETIRING and now - key.since >= retiring_s
    return key.after(Event.EXPIRED, now) if is_over else key
