"""Use of a revoked session renews its denial, in the background and not too often [L6]."""

import asyncio

from store_process import StoreProcess

from gateway.clock import Clock
from gateway.revocation.entry import Kind, Revocation, fact_key
from gateway.revocation.keys import FACTS
from gateway.revocation.lifetimes import Lifetimes
from gateway.revocation.log import RevocationLog
from gateway.revocation.renewal import Renewals
from gateway.store.client import Store, command, connect


def log_of(store: Store, clock: Clock, session_lifetime_s: float) -> RevocationLog:
    return RevocationLog(store, clock, 2.0, issuers={"i": Lifetimes(session_lifetime_s=session_lifetime_s)})


async def test_L6_use_of_a_revoked_session_keeps_it_revoked(store: Store, clock: Clock) -> None:
    short, long = log_of(store, clock, 10), log_of(store, clock, 10_000)
    await short.declare()
    await short.revoke(Revocation(Kind.SESSION, "s", "i"))
    before = float(await command(store, "ZSCORE", FACTS, fact_key(Kind.SESSION, "i", "s")))
    renewals = Renewals(long, asyncio.get_running_loop())
    renewals.session_used("i", "s")
    await asyncio.gather(*renewals._tasks)
    after = float(await command(store, "ZSCORE", FACTS, fact_key(Kind.SESSION, "i", "s")))
    assert after > before + 9000
    renewals.session_used("i", "s")
    assert not renewals._tasks, "asked once an hour"


async def test_L6_a_question_without_an_answer_is_asked_again(store_process: StoreProcess, clock: Clock) -> None:
    store = connect(store_process.url)
    log = log_of(store, clock, 10)
    await log.declare()
    renewals = Renewals(log, asyncio.get_running_loop())
    store_process.kill()
    renewals.session_used("i", "s")
    await asyncio.gather(*renewals._tasks)
    renewals.session_used("i", "s")
    assert len(renewals._tasks) == 1
    await renewals.close()
    await store.aclose()
