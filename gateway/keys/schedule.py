"""When which step of a key's life is due. Pure: it is told the ring and the time, and answers with one thing to do.

    nobody signs, the signing key is condemned or of another algorithm      SUCCESSION     now
    a next key has been published for as long as others keep our key set    SUCCESSION
    the signing key has nearly reached its age                              ANNOUNCEMENT   a next key, published ahead
    a retiring key's last token has expired; a gone one is old; a secret
    was replaced                                                            TIDYING

A key is published before it signs, so that whoever keeps our key set for its `max-age` never meets an unknown key.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Self

from gateway.config.schema import Config
from gateway.tokens.ring import KEY_SET_MAX_AGE_S, Ring, State

MARGIN_S: Final = 60
"""Added to the life of a retiring key: clocks may differ, and a worker signs with it until it has read the ring."""

MOST_KEYS: Final = 100
"""Alive at a time. Beyond it no key is announced: a pace that no ring could hold rotates slower instead."""


class Due(StrEnum):
    """What is to be done."""

    NOTHING = "nothing"
    ANNOUNCEMENT = "announcement"
    SUCCESSION = "succession"
    TIDYING = "tidying"


@dataclass(frozen=True, slots=True)
class Pace:
    """What the configuration says about the life of keys, in seconds."""

    algorithm: str
    every_s: float
    retiring_s: float  # until the last token that a key signed has expired
    gone_s: float

    @classmethod
    def of(cls, config: Config) -> Self:
        """As configured."""
        tokens = config.tokens
        retiring_s = max(tokens.refresh_ttl, tokens.access_ttl) + MARGIN_S
        return cls(tokens.algorithm, tokens.rotate_keys_every, retiring_s, tokens.session_ttl)


def due(ring: Ring, now: float, pace: Pace, *, has_old_seals: bool = False) -> Due:
    """The most urgent step."""
    signing, successor = ring.signing, ring.next
    if signing is None or signing.state is State.CONDEMNED or signing.algorithm != pace.algorithm:
        return Due.SUCCESSION
    if successor is not None and successor.algorithm != pace.algorithm:
        return Due.ANNOUNCEMENT
    if successor is not None and now - successor.since >= KEY_SET_MAX_AGE_S:
        return Due.SUCCESSION
    if successor is None and now - signing.since >= pace.every_s - KEY_SET_MAX_AGE_S and not _is_full(ring):
        return Due.ANNOUNCEMENT
    if has_old_seals or ring.tidy(now, pace.retiring_s, pace.gone_s) != ring:
        return Due.TIDYING
    return Due.NOTHING


def _is_full(ring: Ring) -> bool:
    return sum(key.state is not State.GONE for key in ring.keys) >= MOST_KEYS
