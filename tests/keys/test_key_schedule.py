"""Which step is due: a table of rings, ages and answers."""

import pytest
from ring_worker import DAY_S, configuration

from gateway.keys.schedule import MARGIN_S, MOST_KEYS, Due, Pace, due
from gateway.tokens.ring import KEY_SET_MAX_AGE_S, Event, Ring, SigningKey, new_key

NOW = 1_800_000_000.0
PACE = Pace.of(configuration())
SIGNED_S = 7 * DAY_S + MARGIN_S
AHEAD_S = KEY_SET_MAX_AGE_S


def key(*events: Event, age_s: float = 0.0, algorithm: str = "ES256") -> SigningKey:
    made = new_key(algorithm, NOW - age_s)
    for event in events:
        made = made.after(event, NOW - age_s)
    return made


def signing(age_s: float = 0.0, algorithm: str = "ES256") -> SigningKey:
    return key(Event.PROMOTED, age_s=age_s, algorithm=algorithm)


def retiring(age_s: float) -> SigningKey:
    return key(Event.PROMOTED, Event.SUCCEEDED, age_s=age_s)


def gone(age_s: float) -> SigningKey:
    return key(Event.RETIRED, age_s=age_s)


CASES = {
    "an empty ring needs a key now": ((), Due.SUCCESSION),
    "a first key that never got to sign goes on": ((key(),), Due.SUCCESSION),
    "a young key needs nothing": ((signing(),), Due.NOTHING),
    "a key is announced ahead": ((signing(7 * DAY_S - AHEAD_S),), Due.ANNOUNCEMENT),
    "and not earlier": ((signing(7 * DAY_S - AHEAD_S - 1),), Due.NOTHING),
    "a key just announced waits": ((signing(7 * DAY_S), key(age_s=AHEAD_S - 1)), Due.NOTHING),
    "until it was published long enough": ((signing(7 * DAY_S), key(age_s=AHEAD_S)), Due.SUCCESSION),
    "also one that a command left": ((signing(), key(age_s=AHEAD_S)), Due.SUCCESSION),
    "a condemned key is succeeded now": ((key(Event.PROMOTED, Event.CONDEMNED),), Due.SUCCESSION),
    "whether or not the next one is there": ((key(Event.PROMOTED, Event.CONDEMNED), key()), Due.SUCCESSION),
    "another algorithm takes over now": ((signing(algorithm="EdDSA"),), Due.SUCCESSION),
    "a next key of another algorithm is replaced": ((signing(), key(algorithm="EdDSA")), Due.ANNOUNCEMENT),
    "a retiring key is kept while its tokens live": ((signing(), retiring(SIGNED_S - 1)), Due.NOTHING),
    "and is gone afterwards": ((signing(), retiring(SIGNED_S)), Due.TIDYING),
    "a gone key is kept for a session's life": ((signing(), gone(30 * DAY_S - 1)), Due.NOTHING),
    "and is forgotten afterwards": ((signing(), gone(30 * DAY_S)), Due.TIDYING),
    "a full ring gets no further key": ((*(retiring(0) for _ in range(MOST_KEYS - 1)), signing(8 * DAY_S)), Due.NOTHING),
    "gone keys do not fill it": ((*(gone(0) for _ in range(MOST_KEYS)), signing(8 * DAY_S)), Due.ANNOUNCEMENT),
    "nor does that keep a condemned one": (
        (*(retiring(0) for _ in range(MOST_KEYS)), key(Event.PROMOTED, Event.CONDEMNED)),
        Due.SUCCESSION,
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_T4_what_is_due(case: str) -> None:
    keys, expected = CASES[case]
    assert due(Ring(1, keys), NOW, PACE) is expected


def test_a_replaced_secret_makes_the_ring_be_sealed_anew() -> None:
    assert due(Ring(1, (signing(),)), NOW, PACE, has_old_seals=True) is Due.TIDYING
    assert due(Ring(1, (signing(),)), NOW, PACE) is Due.NOTHING


def test_T4_a_retiring_key_outlives_the_longest_of_its_tokens() -> None:
    assert Pace.of(configuration(access_ttl="5m", refresh_ttl="7d")).retiring_s == 7 * DAY_S + 60
    assert Pace.of(configuration(access_ttl="1d", refresh_ttl="1h", session_ttl="9d")).retiring_s == DAY_S + 60
