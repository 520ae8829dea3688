"""Fixtures every test may use: a real store process, shared and emptied before each test, or private for the rough ones.

And how tests are spread over processes: those that start whole gateways run in one of them, one after another, because a
machine may have two processors and a gateway wants both.
"""

from collections.abc import AsyncIterator, Iterator

import hypothesis
import pytest
from store_process import StoreProcess
from xdist.scheduler import LoadScopeScheduling

from gateway.clock import Clock
from gateway.store.client import Store, connect

hypothesis.settings.register_profile("untimed", deadline=None)  # another process may have the processor
hypothesis.settings.load_profile("untimed")

TOGETHER = (
    "tests/live/",
    "tests/demo/",
    "tests/docs/test_start.py",
)
TOGETHER_TOO = (
    "tests/attacks/test_tokens_on_the_wire.py",
    "tests/attacks/test_outages_on_the_wire.py",
    "tests/attacks/test_admin_under_attack.py",
    "tests/attacks/test_flooding.py",
    "tests/admin/test_admin_acts.py",
    "tests/admin/test_admin_commands.py",
    "tests/admin/test_admin_faults.py",
)


class Spread(LoadScopeScheduling):
    """Every test for itself, those of TOGETHER as one. The largest group starts first.

    NB: the mark `xdist_group` is not used: what xdist 3.8 writes into a test's id is not read by pytest 9.2 any more.
    """

    def _split_scope(self, nodeid: str) -> str:
        if nodeid.startswith(TOGETHER):
            return "together"
        return "together too" if nodeid.startswith(TOGETHER_TOO) else nodeid


def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> Spread | None:
    return Spread(config, log) if config.getvalue("dist") == "loadgroup" else None


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
