"""What the log says about single facts, as an operator asks for them."""

from gateway.clock import Clock
from gateway.revocation.entry import PERMANENT, Kind, Revocation
from gateway.revocation.log import RevocationLog
from gateway.store.client import Store

VERSION = Revocation(Kind.VERSION, "aSubjectOf16Char", "https://gateway.example", value=7, expires_at=2**33)
BLOCK = Revocation(Kind.BLOCK, "alice")
NEVER = Revocation(Kind.BLOCK, "bob")


async def test_facts_are_told_with_their_value_and_end_until_they_are_lifted(store: Store, clock: Clock) -> None:
    log = RevocationLog(store, clock, 2.0)
    await log.declare()
    await log.revoke(VERSION, BLOCK)
    version, block, never = await log.find((VERSION, BLOCK, NEVER))
    assert version == (7, 2**33)
    assert (block.value > 1_000_000_000, block.expires_at) == (True, PERMANENT)
    assert never == (0, 0)
    await log.clear(BLOCK)
    assert [said.value for said in await log.find((VERSION, BLOCK))] == [7, 0]
    assert await log.find(()) == ()


async def test_a_fact_that_has_expired_says_nothing(store: Store, clock: Clock) -> None:
    log = RevocationLog(store, clock, 2.0)
    await log.declare()
    await log.revoke(Revocation(Kind.SESSION, "s-1", expires_at=1.0))
    assert await log.find((Revocation(Kind.SESSION, "s-1"),)) == ((0, 0),)
