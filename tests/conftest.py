"""Fixtures every test may use: a real store process, shared and emptied before each test, or private for the rough ones."""

from collections.abc import AsyncIterator, Iterator

import pytest
from store_process import StoreProcess

from gateway.clock import Clock
from gateway.store.client import Store, connect


@pytest.fixture(scope="session")
def shared_store_process() -> Iterator[StoreProcess]:
    """One server per test process. Use `store_url`: it is empty then."""
    process = StoreProcess().start()
    yield process
    process.close()


@pytest.fixture
def store_url(shared_store_process: StoreProcess) -> str:
    """The URL of an empty, undeclared store."""
    shared_store_process.flush()
    return shared_store_process.url


@pytest.fixture
async def store(store_url: str) -> AsyncIterator[Store]:
    """A client of an empty, undeclared store."""
    client = connect(store_url)
    yield client
    await client.aclose()


@pytest.fixture
def store_process() -> Iterator[StoreProcess]:
    """A private server that a test may freeze, kill, wipe and roll back."""
    process = StoreProcess().start()
    yield process
    process.close()


@pytest.fixture
def clock() -> Clock:
    return Clock()
