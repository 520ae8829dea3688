"""An expired token is told to be in a loop at its tenth use within a minute, once for that minute."""

from gateway.enforce.loops import MOST_TOKENS, USES, WINDOW_S, ExpiredLoops
from gateway.enforce.verified import Verified


def token(jti: str | None = "t-1", shown_as: bytes = b"a.b.c") -> Verified:
    return Verified(
        issuer="https://idp.example", subject="alice", user="alice", groups=(), name=None, email=None, token_id=jti,
        session=None, version=None, key_id="k", thumbprint="", algorithm="RS256", issued_at=0.0, not_before=None,
        expires_at=1.0, usable_from=0.0, usable_until=1.0, generation=0, shown_as=shown_as,
    )  # fmt: skip


def told(seen: ExpiredLoops, uses: int, now: float = 0.0, one: Verified | None = None) -> list[int]:
    """At which of so many uses at this moment it was told."""
    one = one or token()
    return [use for use in range(1, uses + 1) if seen.note(one, now)]


def test_it_is_told_at_the_tenth_use_and_once_in_a_minute() -> None:
    seen = ExpiredLoops()
    assert told(seen, 100) == [USES]
    assert told(seen, 100, now=WINDOW_S - 0.1) == []
    assert told(seen, 100, now=WINDOW_S) == [USES]


def test_a_client_that_asks_now_and_then_is_in_no_loop() -> None:
    seen = ExpiredLoops()
    assert not any(seen.note(token(), minute * 7.0) for minute in range(100))


def test_tokens_are_told_apart_by_issuer_and_id_and_those_without_one_by_their_bytes() -> None:
    seen = ExpiredLoops()
    others = [token("t-2"), token(None), token(None, b"d.e.f")]
    foreign = token()
    foreign.issuer = "https://other.example"
    for one in [*others, foreign]:
        assert told(seen, USES - 1, one=one) == []
    assert told(seen, USES - 1) == []


def test_another_spelling_of_a_token_is_the_same_token() -> None:
    seen = ExpiredLoops()
    told(seen, USES - 1)
    assert seen.note(token(shown_as=b"a.b.C"), 0.0)


def test_the_memory_is_bounded_and_the_oldest_leave() -> None:
    seen = ExpiredLoops()
    told(seen, USES - 1)
    for number in range(MOST_TOKENS - 1):
        seen.note(token(f"other-{number}"), 0.0)
    assert len(seen._seen) == MOST_TOKENS
    seen.note(token("one more"), 0.0)
    assert len(seen._seen) == MOST_TOKENS // 2 + 1
    assert told(seen, 1) == [], "it was forgotten"
