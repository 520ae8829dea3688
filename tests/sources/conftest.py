"""Gateways with accounts, two workers each, in front of one application that records; and one Chromium for all tests.

shop        http on loopback, and the defaults of the product; no test may hurt it
quick_shop  access tokens of two seconds, and sessions that end after a few more
strict_shop https, so the cookies are `__Host-` ones; another network or country ends a session
"""

import itertools
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from enforce.mmdb import write
from old_shop import OldShop
from playwright.async_api import Browser
from shops import Shop, StartShop, Visit, self_signed, started
from store_process import StoreProcess
from visitor import LAPTOP, Visitor

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def old_shop() -> Iterator[OldShop]:
    old = OldShop()
    yield old
    old.close()


@pytest.fixture(scope="session")
def shop(tmp_path_factory: pytest.TempPathFactory, old_shop: OldShop) -> Iterator[Shop]:
    yield from started(tmp_path_factory.mktemp("shop"), old_shop)


@pytest.fixture(scope="session")
def quick_shop(tmp_path_factory: pytest.TempPathFactory, old_shop: OldShop) -> Iterator[Shop]:
    tokens = {"access_ttl": "2s", "refresh_ttl": "6s", "session_ttl": "14s"}
    folder = tmp_path_factory.mktemp("quick")
    yield from started(folder, old_shop, tokens=tokens, sessions={"grace": "1s"}, purge={"every": "1m"})


@pytest.fixture(scope="session")
def strict_shop(tmp_path_factory: pytest.TempPathFactory, old_shop: OldShop) -> Iterator[Shop]:
    folder = tmp_path_factory.mktemp("strict")
    write(folder / "countries.mmdb", {net: {"country": {"iso_code": code}} for net, code in COUNTRIES.items()})
    fingerprint = {"network": {"changed": "end_session"}, "country": {"database": "countries.mmdb"}}
    yield from started(folder, old_shop, fingerprint=fingerprint, tls=self_signed(folder))


@pytest.fixture(scope="session")
def rough_store() -> Iterator[StoreProcess]:
    process = StoreProcess().start()
    yield process
    process.close()


@pytest.fixture(scope="session")
def rough_shop(tmp_path_factory: pytest.TempPathFactory, old_shop: OldShop, rough_store: StoreProcess) -> Iterator[Shop]:
    store = {"url": rough_store.url, "max_staleness": "10s"}
    yield from started(tmp_path_factory.mktemp("rough"), old_shop, store=store)
    rough_store.thaw()


COUNTRIES = {"203.0.113.0/24": "DE", "198.51.100.0/24": "DE", "2001:db8:99::/48": "BR"}


@pytest.fixture
def start_shop(tmp_path: Path, old_shop: OldShop) -> Iterator[StartShop]:
    """Starts a gateway for one test; arguments are keys of its configuration."""
    running: list[Iterator[Shop]] = []

    def start(**settings: Any) -> Shop:
        folder = tmp_path / f"shop-{len(running)}"
        folder.mkdir()
        running.append(started(folder, old_shop, **settings))
        return next(running[-1])

    yield start
    for one in running:
        next(one, None)


@pytest_asyncio.fixture(loop_scope="session")
async def enter(chromium: Browser, shop: Shop) -> AsyncIterator[Visit]:
    """A fresh browser at a gateway (the shared one, unless `at` names another); nobody is signed in."""
    entered: list[Visitor] = []

    async def make(agent: str = LAPTOP, *, at: Shop = shop, **settings: Any) -> Visitor:
        entered.append(await Visitor.enter(chromium, at, agent, **settings))
        return entered[-1]

    yield make
    for context in chromium.contexts:
        await context.close()


@pytest_asyncio.fixture(loop_scope="session")
async def visit(enter: Visit) -> Visit:
    """The same with a new account, signed in."""

    async def make(agent: str = LAPTOP, **settings: Any) -> Visitor:
        visitor = await enter(agent, **settings)
        visitor.email = f"user-{next(_numbers)}@example.com"
        visitor.gateway.register(visitor.email)  # type: ignore[attr-defined]
        await visitor.sign_in()
        return visitor

    return make
